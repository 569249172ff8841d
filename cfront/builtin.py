"""Functions that need no declaration: the compiler's __builtin_, __sync_ and __atomic_ families, the
memory functions, and the kernel's helpers by name.

Each becomes an Intrinsic, an Atomic or a CallHelper. What BPF has no instruction for is refused here, with
what to write instead: a memset of unknown length, an atomic on a byte."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pycparser import c_ast

from cfront.check_init import InitChecker
from cfront.ctype import (
    INT,
    LLONG,
    LONG,
    UINT,
    ULLONG,
    ULONG,
    USHORT,
    VOID,
    Array,
    CType,
    Enum,
    Integer,
    Pointer,
    Record,
    compatible,
    value_type,
)
from cfront.errors import counted
from cfront.fold import fold
from cfront.tree import (
    AddressOf,
    Atomic,
    Binary,
    CallHelper,
    Cast,
    Const,
    Deref,
    Expr,
    Intrinsic,
    MapAddress,
    PointerAdd,
)
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Arg, Helper

__all__ = ["BuiltinChecker"]

_SYNC = re.compile(r"__sync_(?:fetch_and_(add|sub|and|or|xor)|(add|sub|and|or|xor)_and_fetch)$")
_ATOMIC = re.compile(r"__atomic_(?:fetch_(add|sub|and|or|xor)|(add|sub|and|or|xor)_fetch)$")
_BITS: dict[str, tuple[str, Integer, Integer]] = {
    "__builtin_bswap16": ("bswap", USHORT, USHORT), "__builtin_bswap32": ("bswap", UINT, UINT),
    "__builtin_bswap64": ("bswap", ULONG, ULONG),
    "__builtin_clz": ("ctlz", UINT, INT), "__builtin_clzl": ("ctlz", ULONG, INT), "__builtin_clzll": ("ctlz", ULLONG, INT),
    "__builtin_ctz": ("cttz", UINT, INT), "__builtin_ctzl": ("cttz", ULONG, INT), "__builtin_ctzll": ("cttz", ULLONG, INT),
    "__builtin_popcount": ("ctpop", UINT, INT), "__builtin_popcountl": ("ctpop", ULONG, INT),
    "__builtin_popcountll": ("ctpop", ULLONG, INT),
}
_RETURN_TYPES: dict[str, CType] = {
    "u64": ULLONG, "u32": UINT, "s64": LLONG, "long": LONG, "int": INT, "void": VOID, "void *": Pointer(VOID),
    "__u64": ULLONG, "__s64": LLONG,
}
# a copy or fill of more bytes than this becomes a loop
MAX_MEMORY_BYTES = 1 << 24


class BuiltinChecker(InitChecker):
    """Undeclared functions with a meaning."""

    def known_functions(self) -> list[str]:
        return [*(f"bpf_{name}" for name in HELPER_IDS), *_BUILTINS, *_BITS, *_OWN_NAMES]

    def builtin_call(self, name: str, node: c_ast.FuncCall) -> Expr | None:
        method = _BUILTINS.get(name)
        if method is not None:
            return method(self, node)
        if name in _BITS:
            return self.bit_operation(name, node)
        if name.startswith(("__sync_", "__atomic_")):
            return self.atomic_call(name, node)
        if name.startswith("bpf_") and name[4:] in HELPER_IDS and self.target == "bpf":
            return self.helper_call(name, node)
        return None

    def exactly(self, node: c_ast.FuncCall, count: int) -> list[c_ast.Node]:
        nodes = self.args_of(node)
        if len(nodes) != count:
            self.error(f"'{node.name.name}' takes {counted(count, 'argument')}, {len(nodes)} given", node)
        return nodes

    # -- helpers

    def helper_call(self, name: str, node: c_ast.FuncCall) -> Expr:
        helper = HELPER_BY_ID.get(HELPER_IDS[name[4:]])
        if helper is None:
            self.error(f"helper '{name}' is not supported yet", node)
        nodes = self.args_of(node)
        variadic = "..." in helper.prototype
        needed = 2 if variadic else len(helper.args)
        if len(nodes) < needed or len(nodes) > len(helper.args):
            self.error(f"'{name}' takes {counted(needed, 'argument')}, {len(nodes)} given", node,
                       f"its prototype is {helper.prototype.replace('(*)', name)}")
        args = tuple(self.helper_argument(helper, at, one) for at, one in enumerate(nodes))
        return CallHelper(self.helper_result(helper), self.span(node), helper.id, args)

    def helper_argument(self, helper: Helper, at: int, node: c_ast.Node) -> Expr:
        expr = self.value(node)
        if helper.args[at] is Arg.CONST_MAP_PTR and not isinstance(expr, MapAddress):
            inner = expr.operand if isinstance(expr, Cast) else expr
            if isinstance(inner, MapAddress):
                return inner
        return self.to_u64(expr)

    def helper_result(self, helper: Helper) -> CType:
        text = helper.prototype.split("(*)")[0].strip()
        known = _RETURN_TYPES.get(text)
        if known is not None:
            return known
        match = re.fullmatch(r"struct (\w+) \*", text)
        if match:
            return Pointer(self.lookup_tag("struct", match.group(1)) or Record("struct", match.group(1)))
        return Pointer(VOID) if text.endswith("*") else LONG

    # -- memory

    def memory_length(self, node: c_ast.Node, name: str) -> Expr:
        length = self.cast(self.integer(self.value(node), name), ULONG, self.span(node))
        if self.target == "bpf":
            value = fold(length)
            if value is None:
                self.error(f"'{name}' of variable length is not supported in BPF", node, "give a constant length, or loop over bytes")
            if value > MAX_MEMORY_BYTES:
                self.error(f"'{name}' of {value} bytes is too long", node)
            return Const(ULONG, self.span(node), value)
        return length

    def pointer(self, node: c_ast.Node, name: str) -> Expr:
        expr = self.value(node)
        if not isinstance(expr.type, Pointer):
            return self.convert(expr, Pointer(VOID), f"argument of '{name}'")
        return expr

    def copy_memory(self, node: c_ast.FuncCall) -> Expr:
        name = node.name.name
        to, source, length = self.exactly(node, 3)
        target = self.pointer(to, name)
        word = "memmove" if name.endswith("memmove") else "memcpy"
        return Intrinsic(target.type, self.span(node), word, (target, self.pointer(source, name), self.memory_length(length, name)))

    def fill_memory(self, node: c_ast.FuncCall) -> Expr:
        name = node.name.name
        to, fill, length = self.exactly(node, 3)
        target = self.pointer(to, name)
        byte = self.cast(self.integer(self.value(fill), name), _BYTE, self.span(fill))
        return Intrinsic(target.type, self.span(node), "memset", (target, byte, self.memory_length(length, name)))

    def compare_memory(self, node: c_ast.FuncCall) -> Expr:
        name = node.name.name
        left, right, length = self.exactly(node, 3)
        args = (self.pointer(left, name), self.pointer(right, name), self.memory_length(length, name))
        return Intrinsic(INT, self.span(node), "memcmp", args)

    # -- the compiler's own

    def expect(self, node: c_ast.FuncCall) -> Expr:
        return self.value(self.exactly(node, 2)[0])

    def constant_p(self, node: c_ast.FuncCall) -> Expr:
        self.unevaluated += 1
        try:
            value = fold(self.value(self.exactly(node, 1)[0]))
        finally:
            self.unevaluated -= 1
        return Const(INT, self.span(node), int(value is not None))

    def choose(self, node: c_ast.FuncCall) -> Expr:
        condition, yes, no = self.exactly(node, 3)
        return self.expression(yes if self.constant(condition, "the first argument") else no)

    def same_type(self, node: c_ast.FuncCall) -> Expr:
        one, two = (self.type_of(arg) for arg in self.exactly(node, 2))
        return Const(INT, self.span(node), int(one == two or (isinstance(one, Record) and compatible(one, two))))

    def transparent(self, node: c_ast.FuncCall) -> Expr:
        return self.expression(self.exactly(node, 1)[0])

    def unreachable(self, node: c_ast.FuncCall) -> Expr:
        return Intrinsic(VOID, self.span(node), "unreachable", ())

    def offset_of(self, node: c_ast.FuncCall) -> Expr:
        type_node, designator = self.exactly(node, 2)
        type = self.type_of(type_node)
        base = Deref(type, self.span(node), Const(Pointer(type), self.span(node), 0))
        place = self.designated_place(base, designator)
        value = fold(AddressOf(Pointer(place.type), self.span(node), place))
        if value is None:
            self.error("offsetof needs constant subscripts", node)
        return Const(ULONG, self.span(node), value)

    def designated_place(self, base: Expr, node: Any) -> Expr:
        if isinstance(node, c_ast.ID):
            if not isinstance(base.type, Record):
                self.error(f"'{base.type}' has no members", node)
            return self.member_of(base, base.type, node.name, node)
        if isinstance(node, c_ast.StructRef):
            return self.designated_place(self.designated_place(base, node.name), node.field)
        place = self.designated_place(base, node.name)
        if not isinstance(place.type, Array):
            self.error(f"'{place.type}' cannot be subscripted", node)
        index = self.constant(node.subscript, "the subscript")
        pointer = AddressOf(Pointer(place.type.element), self.span(node), place)
        at = PointerAdd(pointer.type, pointer.span, pointer, Const(LONG, pointer.span, index), place.type.element.size)
        return Deref(place.type.element, pointer.span, at)

    def bit_operation(self, name: str, node: c_ast.FuncCall) -> Expr:
        word, operand_type, result_type = _BITS[name]
        span = self.span(node)
        operand = self.cast(self.integer(self.value(self.exactly(node, 1)[0]), name), operand_type, span)
        value = Intrinsic(operand_type, span, word, (operand,))
        known = fold(operand)
        if known is not None and word == "bswap":
            return Const(result_type, span, int.from_bytes(known.to_bytes(operand_type.size, "little"), "big"))
        return self.cast(value, result_type, span)

    # -- atomics

    def atomic_call(self, name: str, node: c_ast.FuncCall) -> Expr | None:
        span = self.span(node)
        if name in ("__sync_synchronize", "__atomic_thread_fence"):
            return Intrinsic(VOID, span, "fence", ())
        nodes = self.args_of(node)
        match = _SYNC.match(name) or _ATOMIC.match(name)
        if match:
            old, new = match.groups()
            return self.atomic(nodes, old or new, 1, new is not None, node)
        if name in ("__sync_lock_test_and_set", "__atomic_exchange_n"):
            return self.atomic(nodes, "xchg", 1, False, node)
        if name == "__sync_val_compare_and_swap":
            return self.atomic(nodes, "cmpxchg", 2, False, node)
        if name == "__sync_bool_compare_and_swap":
            old = self.atomic(nodes, "cmpxchg", 2, False, node)
            expected = self.cast(self.value(nodes[1]), old.type, span)
            return Binary(INT, span, "==", old, expected)
        if name == "__atomic_load_n":
            pointer = self.atomic_pointer(nodes, node)
            return Intrinsic(value_type(pointer.type.target), span, "atomic_load", (pointer,))  # type: ignore[attr-defined]
        if name == "__atomic_store_n":
            pointer = self.atomic_pointer(nodes, node)
            value = self.convert(self.value(nodes[1]), pointer.type.target, "the value")  # type: ignore[attr-defined]
            return Intrinsic(VOID, span, "atomic_store", (pointer, value))
        return None

    def atomic_pointer(self, nodes: list[c_ast.Node], node: c_ast.FuncCall) -> Expr:
        if not nodes:
            self.error(f"'{node.name.name}' needs a pointer", node)
        pointer = self.value(nodes[0])
        target = pointer.type.target if isinstance(pointer.type, Pointer) else None
        if not isinstance(target, (Integer, Enum, Pointer)):
            self.error(f"'{node.name.name}' needs a pointer to an integer, this is '{pointer.type}'", node)
        if self.target == "bpf" and target.size not in (4, 8):
            self.error(f"atomic operations on {counted(target.size, 'byte')} are not supported in BPF", node, "use a 4- or 8-byte integer")
        return pointer

    def atomic(self, nodes: list[c_ast.Node], op: str, count: int, is_new: bool, node: c_ast.FuncCall) -> Expr:
        pointer = self.atomic_pointer(nodes, node)
        if len(nodes) < count + 1:
            self.error(f"'{node.name.name}' takes {counted(count + 1, 'argument')}, {len(nodes)} given", node)
        assert isinstance(pointer.type, Pointer)
        target = value_type(pointer.type.target)
        # a pointer is exchanged as the number that it is
        type = ULONG if isinstance(target, Pointer) else target
        values = tuple(self.cast(self.convert(self.value(one), target, f"argument {at} of '{node.name.name}'"), type, self.span(one))
                       for at, one in enumerate(nodes[1 : count + 1], 2))
        return self.cast(Atomic(type, self.span(node), op, pointer, values, is_new), target, self.span(node))

    def locked_add(self, node: c_ast.FuncCall) -> Expr:
        nodes = self.exactly(node, 2)
        return Cast(VOID, self.span(node), self.atomic(nodes, "add", 1, False, node))


_BYTE = Integer("unsigned char", 1, False, 1)
_OWN_NAMES = ("bpf_trace_printk", "bpf_log2", "bpf_log2l", "bpf_num_cpus")
_BUILTINS: dict[str, Callable[[BuiltinChecker, c_ast.FuncCall], Expr]] = {
    "__builtin_memcpy": BuiltinChecker.copy_memory, "memcpy": BuiltinChecker.copy_memory,
    "__builtin_memmove": BuiltinChecker.copy_memory, "memmove": BuiltinChecker.copy_memory,
    "__builtin_memset": BuiltinChecker.fill_memory, "memset": BuiltinChecker.fill_memory,
    "__builtin_memcmp": BuiltinChecker.compare_memory, "memcmp": BuiltinChecker.compare_memory,
    "__builtin_expect": BuiltinChecker.expect, "__builtin_constant_p": BuiltinChecker.constant_p,
    "__builtin_choose_expr": BuiltinChecker.choose, "__builtin_types_compatible_p": BuiltinChecker.same_type,
    "__builtin_preserve_access_index": BuiltinChecker.transparent, "__builtin_unreachable": BuiltinChecker.unreachable,
    "__builtin_trap": BuiltinChecker.unreachable, "__builtin_offsetof": BuiltinChecker.offset_of,
    "lock_xadd": BuiltinChecker.locked_add,
}
