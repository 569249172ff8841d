"""What BCC adds to C: tables and their methods, program functions and their bound parameters, printk.

Input: the AST of a call or declaration that plain C does not explain. Output: typed nodes of tree.py, no
text and no rewriting. A table is declared by the macros of include/bcc/prelude.h as a struct with the
members key and leaf and the attribute bpf_table(type, max_entries, flags[, scope]); a method call is
NAME.method(...). type is "KIND", "KIND:PIN PATH" or "KIND$INNER TABLE"; a table of kind "extern" is another
text's, whose type is known only when it is loaded, so every method may be called on it. A function's name says
where it is attached (kprobe__, tracepoint__, ...). A register of struct pt_regs has a name that is the same on
every machine, PT_REGS_PARM1(ctx) being ctx->__bcc_reg_parm1; what members the struct has says which machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pycparser import c_ast

from cfront.btf import TypeSource
from cfront.builtin import BuiltinChecker
from cfront.check_type import Attributes, Table
from cfront.ctype import (
    CHAR,
    INT,
    LONG,
    ULLONG,
    ULONG,
    VOID,
    Array,
    CType,
    Enum,
    Field,
    Integer,
    Pointer,
    Record,
    is_scalar,
    value_type,
)
from cfront.errors import counted
from cfront.preprocess import Token
from cfront.source import Span
from cfront.tree import (
    AddressOf,
    Assign,
    Atomic,
    Binary,
    Block,
    CallFunction,
    CallHelper,
    Cast,
    Const,
    CopyRecord,
    Declare,
    Deref,
    Expr,
    ExprStmt,
    FunctionDef,
    If,
    Load,
    LocalVar,
    MapAddress,
    MapDef,
    MemberRef,
    PointerAdd,
    Return,
    Stmt,
    StmtExpr,
    StringAddress,
    Unary,
    Update,
    VarRef,
)
from cfront.uapi import HELPER_IDS, MapType

__all__ = ["PROGRAM_PREFIXES", "DialectChecker", "section_from_name"]

_BPF_ANY, _BPF_NOEXIST = 0, 1
_CURRENT_CPU = 0xFFFFFFFF

_MAP_TYPES = {
    "hash": MapType.HASH,
    "array": MapType.ARRAY,
    "percpu_hash": MapType.PERCPU_HASH,
    "percpu_array": MapType.PERCPU_ARRAY,
    "lru_hash": MapType.LRU_HASH,
    "lru_percpu_hash": MapType.LRU_PERCPU_HASH,
    "lpm_trie": MapType.LPM_TRIE,
    "perf_output": MapType.PERF_EVENT_ARRAY,
    "perf_array": MapType.PERF_EVENT_ARRAY,
    "ringbuf": MapType.RINGBUF,
    "histogram": MapType.HASH,
    "stacktrace": MapType.STACK_TRACE,
    "prog": MapType.PROG_ARRAY,
    "cgroup_array": MapType.CGROUP_ARRAY,
    "queue": MapType.QUEUE,
    "stack": MapType.STACK,
    "devmap": MapType.DEVMAP,
    "cpumap": MapType.CPUMAP,
    "xskmap": MapType.XSKMAP,
    "sockmap": MapType.SOCKMAP,
    "sockhash": MapType.SOCKHASH,
    "sk_storage": MapType.SK_STORAGE,
    "inode_storage": MapType.INODE_STORAGE,
    "task_storage": MapType.TASK_STORAGE,
    "cgroup_storage": MapType.CGROUP_STORAGE,
    "percpu_cgroup_storage": MapType.PERCPU_CGROUP_STORAGE,
    "array_of_maps": MapType.ARRAY_OF_MAPS,
    "hash_of_maps": MapType.HASH_OF_MAPS,
    "extern": MapType.UNSPEC,
}
_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
_KEYLESS = (MapType.QUEUE, MapType.STACK)
_STORAGES = (MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGROUP_STORAGE,
             MapType.PERCPU_CGROUP_STORAGE)
_NO_PREALLOC = 1
_STACK_DEPTH = 127
# of a table of stacks: (the leaf's member, the struct that it is an array of, "" for an address)
_STACK_LEAVES = {"bpf_stacktrace": ("ip", ""), "bpf_stacktrace_buildid": ("trace", "bpf_stack_build_id")}

PROGRAM_PREFIXES = {
    "kprobe__": "kprobe/",
    "kretprobe__": "kretprobe/",
    "tracepoint__": "tracepoint/",
    "raw_tracepoint__": "raw_tracepoint/",
    "kfunc__": "fentry/",
    "kretfunc__": "fexit/",
    "kmod_ret__": "fmod_ret/",
    "lsm__": "lsm/",
    "bpf_iter__": "iter/",
}
_TYPED_CONTEXT = ("kfunc__", "kretfunc__", "kmod_ret__", "lsm__")
_REGISTER = "__bcc_reg_"  # before the name that a register has on every machine


@dataclass(frozen=True, slots=True)
class _Machine:
    """Where struct pt_regs has what, in C's words behind "regs->". params: of a function call, in order;
    fourth: of a system call instead of the fourth of these; is_wrapped: the function of a system call gets
    the address of the caller's registers. Source: the kernel's arch/*/include/asm/ptrace.h and its calling conventions."""

    params: tuple[str, ...]
    rc: str
    ip: str
    sp: str
    ret: str = ""
    fp: str = ""
    fourth: str = ""
    is_wrapped: bool = False

    def place(self, name: str) -> str:
        """The register that is called name on every machine, "" if this one has none."""
        if name == "parm4_syscall" and self.fourth:
            return self.fourth
        parameter = re.fullmatch(r"parm([1-6])(_syscall)?", name)
        if parameter is not None:
            return self.params[int(parameter[1]) - 1] if int(parameter[1]) <= len(self.params) else ""
        return {"rc": self.rc, "ip": self.ip, "sp": self.sp, "ret": self.ret, "fp": self.fp}.get(name, "")


def _row(first: int, count: int, name: str = "regs") -> tuple[str, ...]:
    return tuple(f"{name}[{at}]" for at in range(first, first + count))


# by members that only this machine's struct pt_regs has
_MACHINES = {
    ("di", "r10"): _Machine(("di", "si", "dx", "cx", "r8", "r9"), "ax", "ip", "sp", "sp", "bp", "r10", True),
    ("regs", "pstate"): _Machine(_row(0, 6), "regs[0]", "pc", "sp", "regs[30]", "regs[29]", is_wrapped=True),
    ("epc", "a0"): _Machine(("a0", "a1", "a2", "a3", "a4", "a5"), "a0", "epc", "sp", "ra", "s0", is_wrapped=True),
    ("gpr", "nip"): _Machine(_row(3, 6, "gpr"), "gpr[3]", "nip", "gpr[1]"),
    ("gprs", "psw"): _Machine(_row(2, 5, "gprs"), "gprs[2]", "psw.addr", "gprs[15]", "gprs[14]", "gprs[11]"),
    ("regs", "csr_era"): _Machine(_row(4, 6), "regs[4]", "csr_era", "regs[3]", "regs[1]", "regs[22]"),
    ("regs", "cp0_epc"): _Machine(_row(4, 6), "regs[2]", "cp0_epc", "regs[29]", "regs[31]", "regs[30]"),
}
_MAX_BOUND = 6


def section_from_name(name: str) -> str:
    """The ELF section of a program function: its name's prefix says the hook, else bpf/NAME."""
    for prefix, section in PROGRAM_PREFIXES.items():
        if name.startswith(prefix):
            return section + _target(prefix, name.removeprefix(prefix))
    return "bpf/" + name


def _target(prefix: str, target: str) -> str:
    """What the rest of a program's name asks for, as a section's name has it: module__function of the kfuncs."""
    if prefix == "tracepoint__":
        return target.replace("__", "/", 1)
    if prefix in ("kfunc__", "kretfunc__") and "__" in target:
        module, function = target.split("__", 1)
        return function if module == "vmlinux" else f"{module}:{function}" if module else target
    return target


class DialectChecker(BuiltinChecker):
    """Tables, programs, printk."""

    function: FunctionDef | None = None  # the one being checked

    def __init__(
        self, tokens: list[Token], sources: dict[str, str], filename: str, types: TypeSource | None, target: str
    ) -> None:
        super().__init__(tokens, sources, filename, types, target)
        self.inner_names: dict[str, tuple[str, Any]] = {}  # by the table that holds such: the inner table's name, and where

    def lookup_tag(self, tag: str, name: str) -> Record | Enum | None:
        """A tag of the text, of the kernel, or of BCC: the leaves of tables of stacks."""
        found = super().lookup_tag(tag, name)
        if found is not None or name not in _STACK_LEAVES:
            return found
        member, inner = _STACK_LEAVES[name]
        element = self.lookup_tag("struct", inner) if inner else ULLONG
        if element is None:
            return None
        fields = [Field(member, Array(element, _STACK_DEPTH), 0)]
        made = self.tags[0][name] = Record("struct", name, fields, _STACK_DEPTH * element.size, element.align)
        return made

    # -- tables

    def declare_table(self, name: str, record: CType, attributes: Attributes, span: Span, node: Any) -> Table:
        """The table that a BPF_* macro declares."""
        assert attributes.table is not None
        if not isinstance(record, Record) or record.member("key") is None or record.member("leaf") is None:
            self.error("a table is a struct with the members key and leaf", node, "use one of the BPF_ macros, e.g. BPF_HASH")
        if len(attributes.table) not in (3, 4):
            self.error("bpf_table takes a type, a number of entries, flags and perhaps a scope", node, "use one of the BPF_ macros")
        type_node, size_node, flags_node, *scope_nodes = attributes.table
        text, *scopes = (self.table_word(one, node) for one in (type_node, *scope_nodes))
        head, _, pin = text.partition(":")
        kind, _, inner = head.partition("$")
        key, value = record.member("key"), record.member("leaf")
        assert key is not None and value is not None
        type = self.map_type(kind, key.type, value.type, node)
        entries, flags = self.constant(size_node, "a table's size"), self.constant(flags_node, "a table's flags")
        if not 0 <= entries < 1 << 32:
            self.error(f"table '{name}' cannot have {entries} entries", node)
        if not 0 <= flags < 1 << 32:
            self.error(f"table '{name}' cannot have the flags {flags:#x}, at most 32 bits", node)
        if entries == 0 and kind not in ("perf_output", "extern") and type not in _STORAGES:
            self.error(f"table '{name}' needs at least one entry", node)
        if type is MapType.STACK_TRACE:
            entries = 1 << (entries - 1).bit_length()
        if type is MapType.LPM_TRIE or type in (MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE):
            flags |= _NO_PREALLOC
        if type is MapType.RINGBUF:
            entries *= 4096
            if entries & (entries - 1) or not entries:
                self.error(f"ring buffer '{name}' needs a power of two of pages", node)
        if entries >= 1 << 32:
            self.error(f"table '{name}' cannot have {entries} {'bytes' if type is MapType.RINGBUF else 'entries'}", node)
        buffer = type in (MapType.RINGBUF, MapType.PERF_EVENT_ARRAY)
        keyless = buffer or type in _KEYLESS or (kind == "extern" and not key.type.size)
        map = MapDef(name, type, None if keyless else key.type, None if buffer else value.type, entries, flags, span, kind)
        self.check_table_sizes(map, node)
        if type in _OF_MAPS:
            self.inner_names[name] = inner, node
        map.notes = (*scopes, *(["extern"] if kind == "extern" else []), *([f"pin={pin}"] if pin else []))
        if ":" in text and (not pin.startswith("/") or "\n" in pin or "\0" in pin):
            self.error(f"table '{name}' is pinned at '{pin}', which is not an absolute path", node, "e.g. /sys/fs/bpf/NAME")
        self.unit.maps.append(map)
        return Table(map, record)

    def table_word(self, word: Any, node: Any) -> str:
        """A string in the attribute of a table."""
        if not isinstance(word, c_ast.Constant) or word.type != "string":
            self.error("a table's type is a string literal", node, 'e.g. BPF_TABLE("hash", u32, u64, NAME, 1024)')
        return self.string_bytes(word).decode("utf-8", "surrogateescape")

    def finish_tables(self) -> None:
        """Gives every table of tables the table that those it holds are like, which may stand behind it in the text."""
        maps = {one.name: one for one in self.unit.maps}
        for name, (inner_name, node) in self.inner_names.items():
            with self.recovering():
                inner = maps.get(inner_name)
                if inner is None:
                    self.error(f"table '{name}' holds tables like '{inner_name}', which is not declared", node,
                               self.did_you_mean(inner_name, maps) or f"declare it, e.g. BPF_ARRAY({inner_name or 'NAME'}, u64, 16)")
                if inner_name in self.inner_names:
                    self.error(f"inner map {inner_name} has inner map {self.inner_names[inner_name][0]}", node,
                               "a table of tables cannot hold tables of tables")
                if inner.type is MapType.UNSPEC:
                    self.error(f"inner map {inner_name} is extern", node, "declare one with a type of its own")
                maps[name].inner = inner

    def map_type(self, kind: str, key: CType, value: CType, node: Any) -> MapType:
        type = _MAP_TYPES.get(kind)
        if type is None:
            self.error(f"unknown table type '{kind}'", node, self.did_you_mean(kind, _MAP_TYPES))
        if kind == "histogram":
            if value_type(value) not in (ULLONG, ULONG):
                self.error(f"a histogram's leaf is u64, not '{value}'", node)
            return MapType.ARRAY if key == INT else MapType.HASH
        return type

    def check_table_sizes(self, map: MapDef, node: Any) -> None:
        for what, type in (("key", map.key), ("leaf", map.value)):
            if type is not None and not type.size:
                self.error(f"table '{map.name}' has a {what} of no size ('{type}')", node)
        if map.key is not None and map.key.size > 512:
            self.error(f"table '{map.name}' has a key of {map.key.size} bytes, at most 512 fit the stack", node)

    def address_of(self, node: c_ast.UnaryOp, span: Span) -> Expr:
        if isinstance(node.expr, c_ast.ID):
            symbol = self.lookup(node.expr.name)
            if isinstance(symbol, Table):
                return MapAddress(Pointer(VOID), span, symbol.map)
        return super().address_of(node, span)

    # -- calls

    def dialect_call(self, node: c_ast.FuncCall) -> Expr | None:
        callee = node.name
        if isinstance(callee, c_ast.StructRef) and callee.type == "." and isinstance(callee.name, c_ast.ID):
            symbol = self.lookup(callee.name.name)
            if isinstance(symbol, Table):
                return self.method_call(symbol, callee.field, node)
            if symbol is None and self.types is not None and self.types.enumerator(callee.name.name) is None:
                known = [name for scope in self.scopes for name, one in scope.items() if isinstance(one, Table)]
                self.error(f"unknown table '{callee.name.name}'", callee.name, self.did_you_mean(callee.name.name, known))
        if isinstance(callee, c_ast.ID) and self.lookup(callee.name) is None:
            if callee.name == "bpf_trace_printk":
                return self.printk(node)
            if callee.name == "bpf_usdt_readarg":
                return self.usdt_argument(node)
            if callee.name == "bpf_usdt_readarg_p":
                return self.usdt_string(node)
            if callee.name == "bpf_num_cpus":
                self.error("the number of CPUs is not known here", node, 'define it, e.g. -D"bpf_num_cpus()=4"')
        return None

    # -- USDT: enabling a probe puts a reader for each of its arguments before the text

    def usdt_argument(self, node: c_ast.FuncCall) -> Expr:
        """bpf_usdt_readarg(N, ctx, &v): a call of the reader; -1 where there is none."""
        number, context, address = self.exactly(node, 3)
        reader = self.usdt_reader(number, node)
        if reader is None:
            return Const(INT, self.span(node), -1)
        target = self.value(address)
        if not isinstance(target.type, Pointer):
            self.error(f"the third argument is an address, this is '{target.type}'", address, "write &")
        return self.read_usdt(reader, self.value(context), target, self.span(node))

    def usdt_string(self, node: c_ast.FuncCall) -> Expr:
        """bpf_usdt_readarg_p(N, ctx, buffer, length): length bytes of the user's memory that the argument points at."""
        number, context, buffer, length = self.exactly(node, 4)
        reader, span = self.usdt_reader(number, node), self.span(node)
        if reader is None:
            return Const(LONG, span, -1)
        keep, address = self.set_local(ULLONG, self.number(0, span), span)
        read = self.read_usdt(reader, self.value(context), self.address(address), span)
        copy = self.helper("probe_read_user", LONG, span, self.pointer_argument(buffer, VOID, "the buffer"),
                           self.size_argument(length), self.load(address))
        return StmtExpr(LONG, span, (keep, ExprStmt(span, read)), copy)

    def usdt_reader(self, number_node: Any, node: c_ast.FuncCall) -> FunctionDef | None:
        """The reader of an argument of the function's probe. None, with a warning, where it has no probe: a script may well
        enable only some of the probes that its text has functions for."""
        number = self.constant(number_node, "the argument's number")
        program = self.function.name if self.function is not None else ""
        reader = self.lookup(f"_bpf_readarg_{program}_{number}")
        if isinstance(reader, FunctionDef) and len(reader.type.params) == 3:
            return reader
        known = [one for one in self.scopes[0] if one.startswith(f"_bpf_readarg_{program}_")]
        if known:
            self.error(f"the USDT probe of '{program}' has {counted(len(known), 'argument')}, there is no argument {number}", node)
        self.warn(f"function '{program}' has no USDT probe enabled: reading its arguments gives -1", self.span(node), "bcc-usdt",
                  f'enable one: USDT(...).enable_probe("PROBE", "{program}"), and give it to BPF as usdt_contexts')
        return None

    def read_usdt(self, reader: FunctionDef, context: Expr, target: Expr, span: Span) -> Expr:
        assert isinstance(target.type, Pointer)
        values = (context, target, Const(ULONG, span, target.type.target.size))
        args = tuple(self.convert(one, param.type, f"argument {at + 1} of '{reader.name}'")
                     for at, (one, param) in enumerate(zip(values, reader.type.params, strict=True)))
        self.note_call(reader, span)
        return CallFunction(reader.type.result, span, reader, args)

    # -- tables' methods

    def method_call(self, table: Table, name: c_ast.ID, node: c_ast.FuncCall) -> Expr:
        row = _METHODS_OF_TABLES.get(name.name)
        if row is None:
            hint = self.did_you_mean(name.name, _METHODS_OF_TABLES)
            self.error(f"table '{table.map.name}' has no method '{name.name}'", name, hint)
        method, types = row
        if table.map.type not in types and table.map.type is not MapType.UNSPEC:
            self.error(f"method '{name.name}' is not for a table of type '{table.map.kind}'", name)
        if table.map.key is None and types >= _ELEMENTS:
            self.error(f"method '{name.name}' needs a key, and table '{table.map.name}' has none", name)
        if self.unevaluated and name.name.startswith("lookup"):
            leaf = table.record.member("leaf")
            assert leaf is not None
            return Const(Pointer(leaf.type), self.span(node), 0)
        return method(self, table.map, node)

    def pointer_argument(self, node: c_ast.Node, wanted: CType, what: str) -> Expr:
        expr = self.value(node)
        if not isinstance(expr.type, Pointer):
            self.error(f"{what} is passed by address, this is '{expr.type}'", node, "write &" if is_scalar(expr.type) else "")
        target = expr.type.target
        if target is not VOID and target.is_complete and target.size < wanted.size:
            self.error(f"{what} is '{wanted}' ({wanted.size} bytes), this points at '{target}' ({target.size} bytes)", node,
                       f"declare what it points at as '{wanted}'")
        return expr

    def count(self, node: c_ast.FuncCall, low: int, high: int | None = None) -> list[c_ast.Node]:
        nodes = self.args_of(node)
        high = low if high is None else high
        if not low <= len(nodes) <= high:
            wanted = counted(low, "argument") if low == high else f"{low} to {high} arguments"
            self.error(f"'{node.name.field.name}' takes {wanted}, {len(nodes)} given", node)
        return nodes

    @staticmethod
    def helper(name: str, type: CType, span: Span, *args: Expr) -> CallHelper:
        return CallHelper(type, span, HELPER_IDS[name], args)

    @staticmethod
    def number(value: int, span: Span) -> Const:
        return Const(ULLONG, span, value)

    def lookup_call(self, map: MapDef, key: Expr, span: Span) -> Expr:
        """The leaf's address; of a table of tables, what bpf_map_lookup_elem and its kin take for a table."""
        assert map.value is not None
        found = VOID if map.type in _OF_MAPS else map.value
        return self.helper("map_lookup_elem", Pointer(found), span, self.map_address(map, span), key)

    @staticmethod
    def map_address(map: MapDef, span: Span) -> MapAddress:
        return MapAddress(Pointer(VOID), span, map)

    def lookup_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        assert map.key is not None
        (key,) = self.count(node, 1)
        return self.lookup_call(map, self.pointer_argument(key, map.key, f"the key of '{map.name}'"), self.span(node))

    def update_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        assert map.key is not None and map.value is not None
        key, value = self.count(node, 2)
        insert = node.name.field.name == "insert"
        span = self.span(node)
        if insert and map.type in (MapType.ARRAY, MapType.PERCPU_ARRAY):
            self.warn("all elements of an array exist already: insert() has no effect", span, "bcc-insert")
        return self.helper(
            "map_update_elem", LONG, span, self.map_address(map, span),
            self.pointer_argument(key, map.key, f"the key of '{map.name}'"),
            self.pointer_argument(value, map.value, f"the leaf of '{map.name}'"),
            self.number(_BPF_NOEXIST if insert else _BPF_ANY, span),
        )

    def delete_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        assert map.key is not None
        (key,) = self.count(node, 1)
        span = self.span(node)
        pointer = self.pointer_argument(key, map.key, f"the key of '{map.name}'")
        return self.helper("map_delete_elem", LONG, span, self.map_address(map, span), pointer)

    def temporary(self, type: CType, span: Span) -> tuple[LocalVar, VarRef]:
        var = self.new_local("", type, span)
        return var, VarRef(type, span, var)

    def address(self, place: Expr) -> Expr:
        self.note_address(place)
        return AddressOf(Pointer(place.type), place.span, place)

    def set_local(self, type: CType, value: Expr, span: Span) -> tuple[Declare, VarRef]:
        """A new local that holds value."""
        var, ref = self.temporary(type, span)
        if isinstance(type, Record):
            return Declare(span, var, (CopyRecord(type, span, ref, value),)), ref
        return Declare(span, var, (Assign(value_type(type), span, ref, self.cast(value, value_type(type), span)),)), ref

    def lookup_or_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        """lookup_or_try_init, and lookup_or_init, which returns 0 from the program where that fails."""
        assert map.key is not None and map.value is not None
        key_node, value_node = self.count(node, 2)
        span = self.span(node)
        key_pointer = self.pointer_argument(key_node, map.key, f"the key of '{map.name}'")
        value_pointer = self.pointer_argument(value_node, map.value, f"the leaf of '{map.name}'")
        keep_key, key = self.set_local(key_pointer.type, key_pointer, span)
        leaf_type = Pointer(map.value)
        keep_leaf, leaf = self.set_local(leaf_type, self.lookup_call(map, self.load(key), span), span)
        insert = self.helper("map_update_elem", LONG, span, self.map_address(map, span), self.load(key), value_pointer,
                             self.number(_BPF_NOEXIST, span))
        again = Assign(leaf_type, span, leaf, self.lookup_call(map, self.load(key), span))
        missing = If(span, self.is_zero(leaf, span), Block(span, (ExprStmt(span, insert), ExprStmt(span, again))), None)
        body: list[Stmt] = [keep_key, keep_leaf, missing]
        if node.name.field.name == "lookup_or_init":
            body.append(If(span, self.is_zero(leaf, span), Return(span, self.zero_result(span)), None))
        return StmtExpr(leaf_type, span, tuple(body), self.load(leaf))

    def zero_result(self, span: Span) -> Expr | None:
        result = self.function.type.result if self.function else INT
        return None if result is VOID else Const(value_type(result), span, 0)

    @staticmethod
    def load(place: Expr) -> Expr:
        return Load(value_type(place.type), place.span, place)

    def is_zero(self, place: Expr, span: Span) -> Expr:
        return Unary(INT, span, "!", self.load(place))

    def increment_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        """increment and atomic_increment: adds to the leaf, which a plain hash gets if it has none."""
        assert map.key is not None and map.value is not None
        nodes = self.count(node, 1, 2)
        span = self.span(node)
        type = value_type(map.value)
        if not isinstance(type, Integer):
            self.error(f"'{node.name.field.name}' needs an integer leaf, '{map.name}' has '{map.value}'", node)
        key_value = self.convert(self.value(nodes[0]), map.key, f"the key of '{map.name}'")
        amount = self.integer(self.value(nodes[1]), "increment") if len(nodes) > 1 else Const(INT, span, 1)
        is_atomic = node.name.field.name == "atomic_increment"
        if is_atomic and type.size not in (4, 8):
            self.error(f"atomic_increment needs a leaf of 4 or 8 bytes, '{map.name}' has {type.size}", node)
        keep_key, key = self.set_local(map.key, key_value, span)
        keep_amount, amount_ref = self.set_local(type, amount, span)
        keep_leaf, leaf = self.set_local(Pointer(map.value), self.lookup_call(map, self.address(key), span), span)
        target = Deref(map.value, span, self.load(leaf))
        added: Expr
        if is_atomic:
            added = Atomic(type, span, "add", self.load(leaf), (self.load(amount_ref),))
        else:
            added = Update(type, span, target, "+", self.load(amount_ref), type)
        missing: Stmt | None = None
        if map.type in (MapType.HASH, MapType.UNSPEC):
            first = self.helper("map_update_elem", LONG, span, self.map_address(map, span), self.address(key),
                                self.address(amount_ref), self.number(_BPF_NOEXIST, span))
            missing = ExprStmt(span, first)
        choice = If(span, self.load(leaf), ExprStmt(span, added), missing)
        return StmtExpr(VOID, span, (keep_key, keep_amount, keep_leaf, choice), None)

    # -- buffers

    def output_event(self, map: MapDef, pointer: Expr) -> None:
        if isinstance(pointer.type, Pointer) and pointer.type.target is not VOID:
            target = pointer.type.target
            map.event = target.element if isinstance(target, Array) and isinstance(target.element, Record) else target

    def size_argument(self, node: c_ast.Node) -> Expr:
        return self.to_u64(self.integer(self.value(node), "size"))

    def perf_submit_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        ctx, data, size = self.count(node, 3)
        span = self.span(node)
        pointer = self.pointer_argument(data, VOID, "the event")
        self.output_event(map, pointer)
        return self.helper("perf_event_output", LONG, span, self.to_u64(self.value(ctx)), self.map_address(map, span),
                           self.number(_CURRENT_CPU, span), pointer, self.size_argument(size))

    def ringbuf_output_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        data, size, flags = self.count(node, 3)
        span = self.span(node)
        pointer = self.pointer_argument(data, VOID, "the event")
        self.output_event(map, pointer)
        return self.helper("ringbuf_output", LONG, span, self.map_address(map, span), pointer, self.size_argument(size),
                           self.size_argument(flags))

    def ringbuf_reserve_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        (size,) = self.count(node, 1)
        span = self.span(node)
        length = self.constant(size, "the size to reserve")
        return self.helper("ringbuf_reserve", Pointer(VOID), span, self.map_address(map, span), self.number(length, span),
                           self.number(0, span))

    def ringbuf_finish_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        data, flags = self.count(node, 2)
        pointer = self.pointer_argument(data, VOID, "the record")
        submit = node.name.field.name == "ringbuf_submit"
        if submit:
            self.output_event(map, pointer)
        name = "ringbuf_submit" if submit else "ringbuf_discard"
        return self.helper(name, VOID, self.span(node), pointer, self.size_argument(flags))

    def ringbuf_query_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        (flags,) = self.count(node, 1)
        span = self.span(node)
        return self.helper("ringbuf_query", ULLONG, span, self.map_address(map, span), self.size_argument(flags))

    def perf_submit_skb_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        """perf_event_output of a record and behind it the packet's first bytes."""
        skb, length, data, size = self.count(node, 4)
        span = self.span(node)
        pointer = self.pointer_argument(data, VOID, "the event")
        self.output_event(map, pointer)
        wide = Binary(ULLONG, span, "<<", self.size_argument(length), Const(INT, span, 32))
        flags = Binary(ULLONG, span, "|", wide, self.number(_CURRENT_CPU, span))
        return self.helper("perf_event_output", LONG, span, self.to_u64(self.value(skb)), self.map_address(map, span), flags,
                           pointer, self.size_argument(size))

    # -- other tables: one helper each

    def helper_method(self, map: MapDef, node: c_ast.FuncCall) -> Expr:
        """A method that is a helper with the map put at its place among the arguments."""
        row = _HELPER_METHODS[node.name.field.name]
        span = self.span(node)
        nodes = self.count(node, row.count)
        args: list[Expr] = [self.to_u64(self.value(one)) for one in nodes]
        args.insert(row.map_at, self.map_address(map, span))
        type: CType = LONG
        if row.gives_leaf:
            assert map.value is not None
            type = Pointer(map.value)
        call = self.helper(row.helper, type, span, *args)
        return Cast(VOID, span, call) if row.helper == "tail_call" else call

    # -- printk

    def printk(self, node: c_ast.FuncCall) -> Expr:
        nodes = self.args_of(node)
        if not nodes or not isinstance(nodes[0], c_ast.Constant) or nodes[0].type != "string":
            if len(nodes) >= 2 and isinstance(self.value(nodes[0]).type, Pointer):
                return self.helper_call("bpf_trace_printk", node)
            self.error("bpf_trace_printk needs a literal format", node)
        if len(nodes) > 4:
            self.error("bpf_trace_printk takes a format and at most 3 values", nodes[4], "split it into two calls")
        span = self.span(node)
        content = self.string_bytes(nodes[0]) + b"\0"
        self.check_format(content[:-1].decode("utf-8", "replace"), len(nodes) - 1, nodes[0])
        type = Array(CHAR, len(content))
        _, place = self.temporary(type, span)
        literal = Deref(type, span, StringAddress(Pointer(CHAR), span, content))
        keep = Declare(span, place.var, (CopyRecord(type, span, place, literal),))  # type: ignore[arg-type]
        values = [self.to_u64(self.value(one)) for one in nodes[1:]]
        self.note_address(place)
        address = AddressOf(Pointer(CHAR), span, place)
        call = self.helper("trace_printk", LONG, span, address, self.number(len(content), span), *values)
        return StmtExpr(LONG, span, (keep,), call)

    def check_format(self, text: str, given: int, node: c_ast.Node) -> None:
        span = self.span(node)
        words = re.findall(r"%[-+ #0]*\d*(?:\.\d+)?((?:hh|h|ll|l|z)?[a-zA-Z%])", text)
        words = [one for one in words if one != "%"]
        bad = [one for one in words if one not in _PRINTK_WORDS]
        if bad:
            self.warn(f"only {_PRINTK_SHOWN} conversion specifiers allowed, not %{bad[0]}", span, "format")
        if len(words) > 3:
            self.warn("cannot use more than 3 conversion specifiers", span, "format")
        if sum(one == "s" for one in words) > 1:
            self.warn("cannot use several %s conversion specifiers", span, "format")
        if len(words) != given:
            self.warn(f"bpf_trace_printk: {len(words)} conversion specifiers, {given} values", span, "format")

    # -- programs

    def bind_parameters(self, function: FunctionDef, used: set[LocalVar]) -> list[Stmt]:
        """The declarations that give a program's second and later parameters their values."""
        rest = function.params[1:]
        if not rest:
            return []
        if function.name.startswith(_TYPED_CONTEXT):
            return self.bind_typed(function, used)
        if len(rest) > _MAX_BOUND:
            self.error("too many arguments: only those in registers can be bound", function.span,
                       f"a program takes ctx and at most {_MAX_BOUND} more")
        context = function.params[0]
        regs = context.type.target if isinstance(context.type, Pointer) else None
        if isinstance(regs, Record) and regs.name == "pt_regs" and not regs.is_complete:
            self.error(f"the parameters of '{function.name}' need 'struct pt_regs', which is not defined", function.span,
                       "compile with a kernel's types")
        machine = _machine(regs) if isinstance(regs, Record) else None
        if machine is None or not isinstance(regs, Record):
            self.error(f"the parameters of '{function.name}' can only be bound when its first is 'struct pt_regs *ctx'",
                       function.span, "make it static inline if it is no program of its own")
        is_syscall = function.name.startswith(("syscall__", "kprobe____x64_sys_"))
        statements: list[Stmt] = []
        for at, var in enumerate(rest, 1):
            if var in used:
                name = f"parm{at}_syscall" if is_syscall else f"parm{at}"
                statements.append(self.bind(var, context, regs, machine, name))
        return statements

    def bind_typed(self, function: FunctionDef, used: set[LocalVar]) -> list[Stmt]:
        """The parameters of a fentry, fexit or LSM program: ctx is an array of 64-bit words."""
        context, *rest = function.params
        word = Pointer(ULLONG)
        if not isinstance(context.type, Pointer) or context.type.target.size != 8:
            self.error(f"the first parameter of '{function.name}' is 'unsigned long long *ctx'", function.span)
        statements: list[Stmt] = []
        for at, var in enumerate(rest):
            if var not in used:
                continue
            if not is_scalar(var.type):
                self.error(f"parameter '{var.name}' is '{var.type}', which no register holds", var.span, "make it a pointer")
            span = var.span
            base: Expr = Load(word, span, VarRef(context.type, span, context))
            if at:
                base = PointerAdd(word, span, base, Const(LONG, span, at), 8)
            value = self.cast(Load(ULLONG, span, Deref(ULLONG, span, base)), value_type(var.type), span)
            place = VarRef(var.type, span, var)
            statements.append(Declare(span, var, (Assign(value_type(var.type), span, place, value),)))
        return statements

    def bind(self, var: LocalVar, context: LocalVar, regs: Record, machine: _Machine, name: str) -> Stmt:
        span = var.span
        if not is_scalar(var.type):
            self.error(f"parameter '{var.name}' is '{var.type}', which no register holds", span, "make it a pointer")
        base: Expr = Deref(regs, span, Load(context.type, span, VarRef(context.type, span, context)))
        if name.endswith("_syscall") and machine.is_wrapped:
            wrapper = self.load(self.register(base, regs, machine, "parm1", span))
            base = Deref(regs, span, Cast(Pointer(regs), span, wrapper))
        value = self.cast(self.load(self.register(base, regs, machine, name, span)), value_type(var.type), span)
        return Declare(span, var, (Assign(value_type(var.type), span, VarRef(var.type, span, var), value),))

    # -- registers

    def register(self, base: Expr, regs: Record, machine: _Machine, name: str, span: Span) -> MemberRef:
        """The place of the register called name in base, a struct pt_regs."""
        path = machine.place(name)
        if not path:
            self.error(f"this machine has no register for {_spelling(name)}", span)
        words = re.findall(r"\w+", path)
        type: CType = regs
        offset = 0
        for word in words:
            if isinstance(type, Array):
                offset, type = offset + int(word) * type.element.size, type.element
                continue
            found = type.member(word) if isinstance(type, Record) else None
            if found is None:
                self.error(f"'{regs}' has no register '{path}'", span)
            offset, type = offset + found.offset, found.type
        return MemberRef(type, span, base, offset)

    def member_of(self, base: Expr, record: Record, name: str, node: c_ast.Node) -> Expr:
        """A member; and a register by the name that it has on every machine."""
        if not name.startswith(_REGISTER):
            return super().member_of(base, record, name, node)
        register, span = name.removeprefix(_REGISTER), self.span(node)
        machine = _machine(record)
        if machine is None:
            if not record.is_complete:
                return super().member_of(base, record, name, node)
            self.error(f"{_spelling(register)} needs a 'struct pt_regs', this is '{record}'", node)
        if register != "syscall":
            return self.register(base, record, machine, register, span)
        if machine.is_wrapped:
            return self.register(base, record, machine, "parm1", span)
        return self.address(base)


def _machine(regs: Record) -> _Machine | None:
    """The machine whose struct pt_regs has the members of regs."""
    return next((one for members, one in _MACHINES.items() if all(regs.member(name) for name in members)), None)


def _spelling(register: str) -> str:
    """The macro that asks for a register."""
    return "PT_REGS_SYSCALL_CTX" if register == "syscall" else f"PT_REGS_{register.upper()}"


_PRINTK_SHOWN = "%d %u %x %ld %lu %lx %lld %llu %llx %p %s"  # scripts look for this sentence; %i and %c are taken too
_PRINTK_WORDS = ("d", "u", "x", "i", "ld", "lu", "lx", "lld", "llu", "llx", "p", "s", "c")
_Method = Callable[[DialectChecker, MapDef, c_ast.FuncCall], Expr]
_ELEMENTS = frozenset({
    MapType.HASH, MapType.ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH,
    MapType.LPM_TRIE, MapType.SOCKMAP, MapType.SOCKHASH, MapType.DEVMAP, MapType.CPUMAP})
_PERF, _RING = frozenset({MapType.PERF_EVENT_ARRAY}), frozenset({MapType.RINGBUF})
_STACKS, _PROGRAMS = frozenset({MapType.STACK_TRACE}), frozenset({MapType.PROG_ARRAY})
_QUEUES = frozenset({MapType.QUEUE, MapType.STACK})
_REDIRECTS = frozenset({MapType.DEVMAP, MapType.CPUMAP, MapType.XSKMAP})


@dataclass(frozen=True, slots=True)
class _HelperMethod:
    """A table method that is one helper. count: of its arguments, the map not counted; map_at: where the map
    goes among them; gives_leaf: the result points at a leaf."""

    helper: str
    count: int
    map_at: int
    types: frozenset[MapType]
    gives_leaf: bool = False


_HELPER_METHODS: dict[str, _HelperMethod] = {
    "get_stackid": _HelperMethod("get_stackid", 2, 1, _STACKS),
    "call": _HelperMethod("tail_call", 2, 1, _PROGRAMS),
    "perf_read": _HelperMethod("perf_event_read", 1, 0, _PERF),
    "perf_counter_value": _HelperMethod("perf_event_read_value", 3, 0, _PERF),
    "check_current_task": _HelperMethod("current_task_under_cgroup", 1, 0, frozenset({MapType.CGROUP_ARRAY})),
    "redirect_map": _HelperMethod("redirect_map", 2, 0, _REDIRECTS),
    "push": _HelperMethod("map_push_elem", 2, 0, _QUEUES),
    "pop": _HelperMethod("map_pop_elem", 1, 0, _QUEUES),
    "peek": _HelperMethod("map_peek_elem", 1, 0, _QUEUES),
    "sk_storage_get": _HelperMethod("sk_storage_get", 3, 0, frozenset({MapType.SK_STORAGE}), True),
    "sk_storage_delete": _HelperMethod("sk_storage_delete", 1, 0, frozenset({MapType.SK_STORAGE})),
    "inode_storage_get": _HelperMethod("inode_storage_get", 3, 0, frozenset({MapType.INODE_STORAGE}), True),
    "inode_storage_delete": _HelperMethod("inode_storage_delete", 1, 0, frozenset({MapType.INODE_STORAGE})),
    "task_storage_get": _HelperMethod("task_storage_get", 3, 0, frozenset({MapType.TASK_STORAGE}), True),
    "task_storage_delete": _HelperMethod("task_storage_delete", 1, 0, frozenset({MapType.TASK_STORAGE})),
    "get_local_storage": _HelperMethod(
        "get_local_storage", 1, 0, frozenset({MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE}), True),
    "sock_map_update": _HelperMethod("sock_map_update", 3, 1, frozenset({MapType.SOCKMAP})),
    "sock_hash_update": _HelperMethod("sock_hash_update", 3, 1, frozenset({MapType.SOCKHASH})),
    "msg_redirect_hash": _HelperMethod("msg_redirect_hash", 3, 1, frozenset({MapType.SOCKHASH})),
    "sk_redirect_hash": _HelperMethod("sk_redirect_hash", 3, 1, frozenset({MapType.SOCKHASH})),
}
_METHODS_OF_TABLES: dict[str, tuple[_Method, frozenset[MapType]]] = {
    "lookup": (DialectChecker.lookup_method, _ELEMENTS | {*_OF_MAPS, MapType.XSKMAP}),
    "update": (DialectChecker.update_method, _ELEMENTS),
    "insert": (DialectChecker.update_method, _ELEMENTS),
    "delete": (DialectChecker.delete_method, _ELEMENTS),
    "lookup_or_try_init": (DialectChecker.lookup_or_method, _ELEMENTS),
    "lookup_or_init": (DialectChecker.lookup_or_method, _ELEMENTS),
    "increment": (DialectChecker.increment_method, _ELEMENTS),
    "atomic_increment": (DialectChecker.increment_method, _ELEMENTS),
    **{name: (DialectChecker.helper_method, row.types) for name, row in _HELPER_METHODS.items()},
    "perf_submit": (DialectChecker.perf_submit_method, _PERF),
    "perf_submit_skb": (DialectChecker.perf_submit_skb_method, _PERF),
    "ringbuf_output": (DialectChecker.ringbuf_output_method, _RING),
    "ringbuf_reserve": (DialectChecker.ringbuf_reserve_method, _RING),
    "ringbuf_submit": (DialectChecker.ringbuf_finish_method, _RING),
    "ringbuf_discard": (DialectChecker.ringbuf_finish_method, _RING),
    "ringbuf_query": (DialectChecker.ringbuf_query_method, _RING),
}
