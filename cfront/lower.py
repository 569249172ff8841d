"""Typed tree -> LLVM IR, as text. Total over the tree: user errors were refused before; a surprise here is
an assertion.

Memory is bytes: every object is an alloca or global of [n x i8] with its alignment, every place a pointer
with a known alignment, every member a byte offset, so LLVM sees no struct types and layout is ours alone.
Scalars are iN and ptr; _Bool is an i8 of 0 or 1. Locals live in allocas, which LLVM promotes.

What the BPF target cannot do is written in what it can: signed division (before cpu v4) as unsigned division
with the signs put back, memory operations beyond what it expands in line as loops, a string that
initialises an array as immediate stores. Functions for BPF carry "no-builtins" and "no-jump-tables", so that no
pass makes a call or a table of its own. Helpers are calls of their number; a KernelRead is a call of
probe_read into a temporary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cfront.ctype import BOOL, Array, CType, Enum, Function, Integer, Pointer, Record, Void
from cfront.debug import Debug
from cfront.source import Span
from cfront.tree import (
    AddressOf,
    Asm,
    Assign,
    Atomic,
    Binary,
    Block,
    Break,
    CallFunction,
    CallHelper,
    CallPointer,
    Case,
    Cast,
    Comma,
    Conditional,
    Const,
    Continue,
    CopyRecord,
    Declare,
    Deref,
    Expr,
    ExprStmt,
    FunctionAddress,
    FunctionDef,
    GlobalVar,
    Goto,
    If,
    Intrinsic,
    KernelRead,
    Label,
    Load,
    LocalVar,
    Logical,
    Loop,
    MapAddress,
    MemberRef,
    PointerAdd,
    PointerDiff,
    Return,
    Stmt,
    StmtExpr,
    StringAddress,
    Switch,
    Unary,
    Unit,
    Update,
    VarRef,
    Zero,
)
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Ret

__all__ = ["lower"]

EVENT_PREFIX = "__event_"  # before a table's name: the variable that names its records' type
NOTES_PREFIX = "__table_"  # before a table's name: the variable with what its loader must know
_MAX_STORES = 128  # what the BPF target expands a memcpy or memset into, at most
_SIGNED = {"<": "slt", ">": "sgt", "<=": "sle", ">=": "sge", "==": "eq", "!=": "ne"}
_UNSIGNED = {"<": "ult", ">": "ugt", "<=": "ule", ">=": "uge", "==": "eq", "!=": "ne"}
_PLAIN = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor", "<<": "shl"}
_PROBE_READ = HELPER_IDS["probe_read"]
_POINTER_HELPERS = (Ret.MAP_VALUE_OR_NULL, Ret.RINGBUF_MEM_OR_NULL, Ret.BTF_TASK)


def ir_type(type: CType) -> str:
    """The LLVM type of a scalar's value."""
    if isinstance(type, Enum):
        type = type.base
    if isinstance(type, Integer):
        return f"i{type.size * 8}"
    if isinstance(type, Void):
        return "void"
    assert isinstance(type, Pointer), f"{type} is not a scalar"
    return "ptr"


def _is_signed(type: CType) -> bool:
    base = type.base if isinstance(type, Enum) else type
    return isinstance(base, Integer) and base.is_signed


def _bytes_text(content: bytes) -> str:
    return 'c"' + "".join(chr(one) if 32 <= one < 127 and one not in (34, 92) else f"\\{one:02X}" for one in content) + '"'


class _Place:
    """An address with what is known of its alignment, and the bits of a bit-field in its unit."""

    __slots__ = ("address", "align", "bit_offset", "bit_size", "is_volatile", "room")

    def __init__(self, address: str, align: int, bit_offset: int = 0, bit_size: int | None = None, room: int = 0,
                 is_volatile: bool = False) -> None:
        self.address = address
        self.align = align
        self.is_volatile = is_volatile
        self.bit_offset = bit_offset
        self.bit_size = bit_size
        self.room = room  # of a bit-field: the bytes up to the end of its record

    @property
    def volatile(self) -> str:
        """The word of a load or store."""
        return "volatile " if self.is_volatile else ""

    def unit_bits(self, type: CType) -> int:
        """How many bits are loaded to get at a bit-field: its type's, or what just covers it, where packing
        made it straddle or its type would reach out of the record."""
        assert self.bit_size is not None
        needed = (self.bit_offset + self.bit_size + 7) // 8 * 8
        return needed if needed > type.size * 8 or type.size > self.room else type.size * 8


class _Module:
    def __init__(self, unit: Unit, target: str, cpu: str, debug: Debug | None) -> None:
        self.unit = unit
        self.target = target
        self.has_signed_division = target == "host" or cpu == "v4"
        self.debug = debug
        self.globals: list[str] = []
        self.events: list[str] = []  # the variables in .bcc.events
        self.functions: list[str] = []
        self.declared: dict[str, str] = {}
        self.strings: dict[bytes, str] = {}
        self.metadata: list[str] = []
        self.global_names: dict[GlobalVar, str] = {}

    def string(self, content: bytes) -> str:
        found = self.strings.get(content)
        if found is None:
            found = self.strings[content] = f"@.str.{len(self.strings)}"
            section = ', section ".rodata"' if self.target == "bpf" else ""
            self.globals.append(f"{found} = internal constant [{len(content)} x i8] {_bytes_text(content)}{section}, align 1")
        return found

    def declare(self, name: str, text: str) -> str:
        self.declared.setdefault(name, text)
        return f"@{name}"

    def function(self, function: FunctionDef) -> str:
        """The symbol of a function, declared if the text does not define it."""
        name = _symbol(function.name)
        if function.body is None:
            result, kinds = _signature(function.type)
            if function.is_kernels:
                note = f"!dbg !{self.debug.kernel_function(function)} " if self.debug else ""
                weak = "extern_weak " if function.is_weak else ""
                self.declare(name, f'declare {note}{weak}{result} @{name}({kinds}) section "{function.section}"')
            else:
                self.declare(name, f"declare {result} @{name}({kinds})")
        return f"@{name}"

    def intrinsic(self, name: str, result: str, *args: str) -> str:
        return self.declare(name, f"declare {result} @{name}({', '.join(args)})")

    def variable(self, var: GlobalVar) -> None:
        name = self.name_of(var)
        content = var.init if var.init is not None else bytes(var.type.size)
        align = _global_align(var)
        if var.is_extern:
            section = f', section "{var.section}"' if var.is_kernels else ""
            note = f", !dbg !{self.debug.kernel_variable(var)}" if self.debug and var.is_kernels else ""
            linkage = "extern_weak" if var.is_weak else "external"
            self.globals.append(f"{name} = {linkage} global i8{section}, align {align}{note}")
            return
        if self.target == "bpf":
            section = var.section or (".rodata" if var.is_const else ".data" if any(content) else ".bss")
            note = f", !dbg !{self.debug.variable(var)}" if self.debug else ""
            kind = "constant" if var.is_const else "global"
            init = _bytes_text(content) if any(content) else "zeroinitializer"
            self.globals.append(
                f'{name} = dso_local {kind} [{len(content)} x i8] {init}, section "{section}", align {align}{note}'
            )
            return
        linkage = "internal" if var.name == "" or "." in var.name else "dso_local"
        kind = "constant" if var.is_const and not var.addresses else "global"
        self.globals.append(f"{name} = {linkage} {kind} {self.initialiser(var, content)}, align {align}")

    def initialiser(self, var: GlobalVar, content: bytes) -> str:
        """Type and value of a global; with addresses, a packed struct of byte runs and pointers."""
        if not var.addresses:
            return f"[{len(content)} x i8] {_bytes_text(content) if any(content) else 'zeroinitializer'}"
        types, values, at = [], [], 0
        for offset, (target, addend) in sorted(var.addresses.items()):
            if offset > at:
                types.append(f"[{offset - at} x i8]")
                values.append(f"[{offset - at} x i8] {_bytes_text(content[at:offset])}")
            symbol = self.function(target) if isinstance(target, FunctionDef) else self.name_of(target)
            types.append("ptr")
            values.append(f"ptr getelementptr (i8, ptr {symbol}, i64 {addend})" if addend else f"ptr {symbol}")
            at = offset + 8
        if at < len(content):
            types.append(f"[{len(content) - at} x i8]")
            values.append(f"[{len(content) - at} x i8] {_bytes_text(content[at:])}")
        return f"<{{ {', '.join(types)} }}> <{{ {', '.join(values)} }}>"

    def name_of(self, var: GlobalVar) -> str:
        found = self.global_names.get(var)
        if found is None:
            name = var.name or f".lit.{len(self.global_names)}"
            found = self.global_names[var] = f"@{name}" if var.name and "." not in name else f'@"{name}"'
            if not var.name:
                self.variable(var)
        return found

    def maps(self) -> None:
        for one in self.unit.maps:
            assert self.debug is not None
            note, size = self.debug.map(one)
            self.globals.append(
                f'@{one.name} = dso_local global [{size} x i8] zeroinitializer, section ".maps", align 8, !dbg !{note}'
            )
            if one.event is not None and one.event.is_complete:
                name = f"{EVENT_PREFIX}{one.name}"
                self.events.append(name)
                self.globals.append(
                    f'@{name} = dso_local global [8 x i8] zeroinitializer, section ".bcc.events", align 8, '
                    f"!dbg !{self.debug.event(one, name)}"
                )
            if one.notes:
                name, content = f"{NOTES_PREFIX}{one.name}", "\n".join(one.notes).encode("utf-8", "surrogateescape") + b"\0"
                self.events.append(name)
                self.globals.append(f'@{name} = dso_local constant [{len(content)} x i8] {_bytes_text(content)}, '
                                    'section ".bcc.tables", align 1')

    def license(self) -> None:
        content = self.unit.license.encode() + b"\0"
        self.globals.append(
            f'@_license = dso_local constant [{len(content)} x i8] {_bytes_text(content)}, section "license", align 1'
        )
        kept = ["@_license", *(f"@{one.name}" for one in self.unit.maps), *(f"@{one}" for one in self.events)]
        self.globals.append(
            f"@llvm.compiler.used = appending global [{len(kept)} x ptr] [{', '.join('ptr ' + one for one in kept)}], "
            'section "llvm.metadata"'
        )

    def text(self) -> str:
        attributes = _ATTRIBUTES if self.target == "bpf" else _HOST_ATTRIBUTES
        parts = [*self.globals, *self.declared.values(), *self.functions, *self.metadata, attributes]
        if self.debug:
            parts.append(self.debug.text())
        return "\n".join(parts) + "\n"


_ATTRIBUTES = (
    'attributes #0 = { nounwind "no-builtins" "no-jump-tables"="true" "frame-pointer"="all" }\n'
    'attributes #1 = { alwaysinline nounwind "no-builtins" "no-jump-tables"="true" "frame-pointer"="all" }\n'
    'attributes #2 = { noinline nounwind "no-builtins" "no-jump-tables"="true" "frame-pointer"="all" }\n'
    "attributes #3 = { nounwind }"
)
# a C library is there, and who is put into whom is LLVM's to say
_HOST_ATTRIBUTES = (
    "attributes #0 = { nounwind }\n"
    "attributes #1 = { alwaysinline nounwind }\n"
    "attributes #2 = { noinline nounwind }\n"
    "attributes #3 = { nounwind }"
)


def _has_label(node: object) -> bool:
    """Whether a label stands in a statement, at any depth."""
    stack: list[object] = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, Label):
            return True
        if isinstance(one, tuple):
            stack += one
        elif hasattr(one, "FIELDS"):
            stack += [getattr(one, name) for name in one.FIELDS]
    return False


class _FunctionLowerer:
    def __init__(self, module: _Module, function: FunctionDef, scope: int | None) -> None:
        self.module = module
        self.function = function
        self.scope = scope
        self.allocas: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.blocks = 0
        self.is_ended = False
        self.vars: dict[LocalVar, _Place] = {}
        self.read_slots: dict[int, str] = {}
        self.note = ""
        self.breaks: list[tuple[str, int]] = []  # where break goes, and how many scopes stay open there
        self.continues: list[tuple[str, int]] = []
        self.scopes: list[list[tuple[str, int]] | None] = []  # of each open block the variables to end, None: none is
        self.has_labels = _has_label(function.body)
        self.switches: list[list[tuple[Case, str]]] = []
        self.labels: dict[str, str] = {}
        self.result_place: str | None = None
        self.result_slot = ""  # where a scalar result goes
        self.exit = ""  # the block that returns, once something jumps there
        self.at(function.span)

    # -- writing

    def at(self, span: Span) -> None:
        if self.scope is not None and self.module.debug is not None:
            self.note = f", !dbg !{self.module.debug.place(span, self.scope)}"

    def write(self, text: str) -> None:
        if self.is_ended:
            self.begin(self.block())
        self.lines.append(f"  {text}{self.note}")

    def value(self, text: str) -> str:
        self.count += 1
        name = f"%v{self.count}"
        self.write(f"{name} = {text}")
        return name

    def block(self) -> str:
        self.blocks += 1
        return f"b{self.blocks}"

    def begin(self, label: str) -> None:
        if not self.is_ended:
            self.lines.append(f"  br label %{label}{self.note}")
        self.lines.append(f"{label}:")
        self.is_ended = False

    def end(self, text: str) -> None:
        """Writes a terminator; one behind another is dead and dropped."""
        if not self.is_ended:
            self.lines.append(f"  {text}{self.note}")
            self.is_ended = True

    def jump(self, label: str) -> None:
        self.end(f"br label %{label}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.end(f"br i1 {condition}, label %{yes}, label %{no}")

    def alloca(self, size: int, align: int) -> str:
        name = f"%a{len(self.allocas)}"
        align = max(align, 8 if size >= 8 else 1)
        self.allocas.append(f"  {name} = alloca [{max(size, 1)} x i8], align {align}")
        return name

    def scalar_alloca(self, type: CType) -> str:
        name = f"%a{len(self.allocas)}"
        self.allocas.append(f"  {name} = alloca {ir_type(type)}, align {type.align}")
        return name

    def local(self, var: LocalVar) -> _Place:
        found = self.vars.get(var)
        if found is None:
            # r10 is aligned to 8 and no more
            asked = min(var.align, 8) if self.module.target == "bpf" else var.align
            if isinstance(var.type, (Record, Array)) or asked > var.type.align:
                align = max(var.type.align, asked, 8 if var.type.size >= 8 else 1)
                found = _Place(self.alloca(var.type.size, align), align)
            else:
                found = _Place(self.scalar_alloca(var.type), var.type.align)
            found.is_volatile = var.is_volatile
            self.vars[var] = found
        return found

    # -- the function

    def run(self, name: str, linkage: str, section: str, attribute: int) -> str:
        function = self.function
        params = function.params[:1] if section else function.params
        result = function.type.result
        signature = []
        if isinstance(result, Record):
            self.result_place = "%result"
            signature.append("ptr %result")
        self.begin_params(params, signature)
        assert function.body is not None
        self.statement(function.body)
        self.finish(result)
        self.leave(result)
        kind = "void" if isinstance(result, (Record, Void)) else ir_type(result)
        if section and isinstance(result, Void):
            kind = "i32"
        place = f' section "{section}"' if section else ""
        debug = f" !dbg !{self.scope}" if self.scope is not None else ""
        head = f"define {linkage} {kind} @{_symbol(name)}({', '.join(signature)}) #{attribute}{place}{debug} {{"
        return "\n".join([head, "entry:", *self.allocas, "  br label %start" + self.note, "start:", *self.lines, "}"])

    def begin_params(self, params: Sequence[LocalVar], signature: list[str]) -> None:
        for at, var in enumerate(params):
            register = f"%p{at}"
            if isinstance(var.type, Record):
                signature.append(f"ptr {register}")
                place = self.local(var)
                self.copy(place, _Place(register, var.type.align), var.type.size)
            else:
                signature.append(f"{ir_type(var.type)} {register}")
                place = self.local(var)
                self.write(f"store {ir_type(var.type)} {register}, ptr {place.address}, align {place.align}")

    def finish(self, result: CType) -> None:
        """Returns without a value: nothing, or zero where a value is due."""
        if not isinstance(result, (Record, Void)):
            self.set_result(result, "null" if isinstance(result, Pointer) else "0")
        self.go_out()

    def set_result(self, type: CType, value: str) -> None:
        self.result_slot = self.result_slot or self.scalar_alloca(type)
        self.write(f"store {ir_type(type)} {value}, ptr {self.result_slot}, align {type.align}")

    def go_out(self) -> None:
        self.exit = self.exit or self.block()
        self.jump(self.exit)

    def leave(self, result: CType) -> None:
        """The one block that returns: with one for each return, LLVM would make one exit of each."""
        self.begin(self.exit)
        if isinstance(result, (Record, Void)):
            self.end("ret i32 0" if self.function.section and isinstance(result, Void) else "ret void")
        else:
            kind = ir_type(result)
            self.end(f"ret {kind} {self.value(f'load {kind}, ptr {self.result_slot}, align {result.align}')}")

    # -- statements

    def statement(self, node: Stmt) -> None:
        self.at(node.span)
        method = getattr(self, "do_" + type(node).__name__)
        method(node)

    def statements(self, nodes: Iterable[Stmt]) -> None:
        for one in nodes:
            self.statement(one)

    def do_Block(self, node: Block) -> None:
        """A scope: LLVM is told where its variables begin and end, so that those of scopes apart share stack. Not where a
        variable may be reached past its declaration, by a label or a case."""
        is_plain = node is self.function.body or self.has_labels or any(isinstance(one, Case) for one in node.body)
        self.scopes.append(None if is_plain else [])
        self.statements(node.body)
        self.end_scopes(len(self.scopes) - 1)
        self.scopes.pop()

    def end_scopes(self, depth: int) -> None:
        """Ends the variables of all scopes but the outer depth ones."""
        if not self.is_ended:
            for scope in self.scopes[depth:]:
                for address, size in scope or ():
                    self.lifetime("end", address, size)

    def lifetime(self, what: str, address: str, size: int) -> None:
        self.write(f"call void {self.module.intrinsic(f'llvm.lifetime.{what}.p0', 'void', 'i64', 'ptr')}(i64 {size}, ptr {address})")

    def do_Declare(self, node: Declare) -> None:
        place = self.local(node.var)
        scope = self.scopes[-1] if self.scopes else None
        if scope is not None and (node.var.is_address_taken or isinstance(node.var.type, (Record, Array))):
            scope.append((place.address, max(node.var.type.size, 1)))
            self.lifetime("start", *scope[-1])
        for one in node.init:
            self.effect(one)

    def do_ExprStmt(self, node: ExprStmt) -> None:
        self.effect(node.expr)

    def do_If(self, node: If) -> None:
        yes, no, done = self.block(), self.block(), self.block()
        self.condition(node.condition, yes, no if node.no is not None else done)
        self.begin(yes)
        self.statement(node.yes)
        self.jump(done)
        if node.no is not None:
            self.begin(no)
            self.statement(node.no)
            self.jump(done)
        self.begin(done)

    def do_Loop(self, node: Loop) -> None:
        self.statements(node.init)
        test, body, step, done = self.block(), self.block(), self.block(), self.block()
        self.jump(body if node.is_post_tested else test)
        self.begin(test)
        self.at(node.span)
        if node.condition is None:
            self.jump(body)
        elif node.is_post_tested:
            self.condition(node.condition, body, done, self.loop_note(node.unroll))
        else:
            self.condition(node.condition, body, done)
        self.begin(body)
        self.breaks.append((done, len(self.scopes)))
        self.continues.append((test if node.is_post_tested else step, len(self.scopes)))
        self.statement(node.body)
        self.breaks.pop()
        self.continues.pop()
        if node.is_post_tested:
            self.jump(test)
            self.begin(step)
            self.end("unreachable")
        else:
            self.begin(step)
            if node.step is not None:
                self.effect(node.step)
            self.end(f"br label %{test}{self.loop_note(node.unroll)}")
        self.begin(done)

    def loop_note(self, unroll: int | None) -> str:
        """The metadata of a back edge for #pragma unroll."""
        debug = self.module.debug
        if unroll is None or debug is None:
            return ""
        words = {0: '!"llvm.loop.unroll.enable"', 1: '!"llvm.loop.unroll.disable"'}
        wish = words.get(unroll, f'!"llvm.loop.unroll.count", i32 {unroll}')
        return f", !llvm.loop !{debug.loop(wish)}"

    def do_Switch(self, node: Switch) -> None:
        value = self.rvalue(node.value)
        type = ir_type(node.value.type)
        done, default = self.block(), self.block()
        at = len(self.lines)
        was_ended, note = self.is_ended, self.note
        self.is_ended = True
        self.switches.append([])
        self.breaks.append((done, len(self.scopes)))
        self.statement(node.body)
        self.breaks.pop()
        cases = self.switches.pop()
        self.jump(done)
        # the dispatch goes in front of the body, now that its cases are known
        body = self.lines[at:]
        del self.lines[at:]
        self.is_ended = was_ended
        if not was_ended:
            self.note = note
            self.dispatch(value, type, _is_signed(node.value.type), cases, default)
        self.lines += body
        self.is_ended = True
        self.begin(default)
        fallback = [label for case, label in cases if case.low is None]
        self.jump(fallback[0] if fallback else done)
        self.begin(done)

    def dispatch(self, value: str, type: str, signed: bool, cases: list[tuple[Case, str]], default: str) -> None:
        ranges = [(case, label) for case, label in cases if case.low is not None and case.low != case.high]
        for case, label in ranges:
            inside, following = self.block(), self.block()
            low = self.value(f"icmp {'sge' if signed else 'uge'} {type} {value}, {case.low}")
            self.branch(low, inside, following)
            self.begin(inside)
            high = self.value(f"icmp {'sle' if signed else 'ule'} {type} {value}, {case.high}")
            self.branch(high, label, following)
            self.begin(following)
        rows = " ".join(f"{type} {case.low}, label %{label}" for case, label in cases if case.low == case.high and
                        case.low is not None)
        self.end(f"switch {type} {value}, label %{default} [ {rows} ]")

    def do_Case(self, node: Case) -> None:
        label = self.block()
        self.switches[-1].append((node, label))
        self.begin(label)
        self.statements(node.body)

    def do_Break(self, node: Break) -> None:
        label, depth = self.breaks[-1]
        self.end_scopes(depth)
        self.jump(label)

    def do_Continue(self, node: Continue) -> None:
        label, depth = self.continues[-1]
        self.end_scopes(depth)
        self.jump(label)

    def do_Goto(self, node: Goto) -> None:
        self.jump(self.label(node.name))

    def do_Label(self, node: Label) -> None:
        self.begin(self.label(node.name))
        self.statement(node.body)

    def label(self, name: str) -> str:
        if name not in self.labels:
            self.labels[name] = self.block()
        return self.labels[name]

    def do_Return(self, node: Return) -> None:
        if node.value is None:
            self.end_scopes(0)
            self.finish(self.function.type.result)
        elif isinstance(node.value.type, Record):
            assert self.result_place is not None
            source = self.place(node.value)
            self.copy(_Place(self.result_place, node.value.type.align), source, node.value.type.size)
            self.end_scopes(0)
            self.go_out()
        else:
            self.set_result(node.value.type, self.rvalue(node.value))
            self.end_scopes(0)
            self.go_out()

    def do_Asm(self, node: Asm) -> None:
        values = [f"{ir_type(one.type)} {self.rvalue(one)}" for one in node.operands]
        constraints = ",".join([*("r" for _ in values), "~{memory}"])
        self.write(f'call void asm sideeffect "", "{constraints}"({", ".join(values)})')

    # -- conditions

    def condition(self, expr: Expr, yes: str, no: str, loop_note: str = "") -> None:
        """Branches on expr; && and || are control flow."""
        if isinstance(expr, Logical):
            middle = self.block()
            if expr.op == "&&":
                self.condition(expr.left, middle, no)
            else:
                self.condition(expr.left, yes, middle)
            self.begin(middle)
            self.condition(expr.right, yes, no, loop_note)
        elif isinstance(expr, Unary) and expr.op == "!":
            self.condition(expr.operand, no, yes, loop_note)
        else:
            truth = self.truth(expr)
            self.end(f"br i1 {truth}, label %{yes}, label %{no}{loop_note}")

    def truth(self, expr: Expr) -> str:
        """expr != 0 as an i1."""
        if isinstance(expr, Binary) and expr.op in _SIGNED:
            return self.comparison(expr)
        if isinstance(expr, Unary) and expr.op == "!":
            inner = self.truth(expr.operand)
            return self.value(f"xor i1 {inner}, true")
        value = self.rvalue(expr)
        zero = "null" if isinstance(expr.type, Pointer) else "0"
        return self.value(f"icmp ne {ir_type(expr.type)} {value}, {zero}")

    def comparison(self, expr: Binary) -> str:
        left, right = self.rvalue(expr.left), self.rvalue(expr.right)
        words = _SIGNED if _is_signed(expr.left.type) else _UNSIGNED
        return self.value(f"icmp {words[expr.op]} {ir_type(expr.left.type)} {left}, {right}")

    # -- places

    def place(self, expr: Expr) -> _Place:
        """The address of a place, or of the temporary that a record value is in."""
        method = getattr(self, "place_" + type(expr).__name__)
        result: _Place = method(expr)
        return result

    def place_VarRef(self, expr: VarRef) -> _Place:
        if isinstance(expr.var, GlobalVar):
            align = expr.var.type.align if expr.var.is_extern else _global_align(expr.var)
            return _Place(self.module.name_of(expr.var), align, is_volatile=expr.var.is_volatile)
        return self.local(expr.var)

    def place_Deref(self, expr: Deref) -> _Place:
        target = expr.type
        if isinstance(expr.pointer, (AddressOf,)):
            return self.place(expr.pointer.place)
        if isinstance(expr.pointer, PointerAdd) and isinstance(expr.pointer.pointer, AddressOf):
            return self.element(expr.pointer, expr.pointer.pointer.place)
        is_volatile = isinstance(expr.pointer.type, Pointer) and expr.pointer.type.is_volatile
        return _Place(self.rvalue(expr.pointer), max(target.align, 1), is_volatile=is_volatile)

    def element(self, pointer: PointerAdd, array: Expr) -> _Place:
        """An element of an array that is a place: no more aligned than the array is, as in a packed record."""
        base, index = self.place(array), self.rvalue(pointer.index)
        align = math.gcd(base.align, pointer.scale) or base.align
        return _Place(self.advance(base.address, index, pointer.scale), align, is_volatile=base.is_volatile)

    def place_MemberRef(self, expr: MemberRef) -> _Place:
        base = self.place(expr.base)
        address = base.address
        if expr.offset:
            address = self.value(f"getelementptr inbounds i8, ptr {address}, i64 {expr.offset}")
        align = math.gcd(base.align, expr.offset) if expr.offset else base.align
        return _Place(address, align, expr.bit_offset, expr.bit_size, expr.base.type.size - expr.offset,
                      base.is_volatile or expr.is_volatile)

    def place_KernelRead(self, expr: KernelRead) -> _Place:
        return self.kernel_read(self.place(expr.place).address, expr.type.size, expr.type.align)

    def place_CallFunction(self, expr: CallFunction) -> _Place:
        result = _Place(self.alloca(expr.type.size, expr.type.align), expr.type.align)
        self.call(expr, result.address)
        return result

    def place_CopyRecord(self, expr: CopyRecord) -> _Place:
        place = self.place(expr.place)
        if isinstance(expr.source, Deref) and isinstance(expr.source.pointer, StringAddress):
            self.store_bytes(place, expr.source.pointer.content)
            return place
        self.copy(place, self.place(expr.source), expr.type.size)
        return place

    def place_Conditional(self, expr: Conditional) -> _Place:
        result = _Place(self.alloca(expr.type.size, expr.type.align), expr.type.align)
        yes, no, done = self.block(), self.block(), self.block()
        assert expr.yes is not None
        self.condition(expr.condition, yes, no)
        self.begin(yes)
        self.copy(result, self.place(expr.yes), expr.type.size)
        self.jump(done)
        self.begin(no)
        self.copy(result, self.place(expr.no), expr.type.size)
        self.jump(done)
        self.begin(done)
        return result

    def place_Comma(self, expr: Comma) -> _Place:
        self.effect(expr.left)
        return self.place(expr.right)

    def place_StmtExpr(self, expr: StmtExpr) -> _Place:
        self.statements(expr.body)
        assert expr.result is not None
        return self.place(expr.result)

    def place_StringAddress(self, expr: StringAddress) -> _Place:
        return _Place(self.module.string(expr.content), 1)

    # -- memory

    def load(self, place: _Place, type: CType) -> str:
        if place.bit_size is None:
            return self.value(f"load {place.volatile}{ir_type(type)}, ptr {place.address}, align {self.align(place, type)}")
        bits = place.unit_bits(type)
        unit = self.value(f"load {place.volatile}i{bits}, ptr {place.address}, align {self.align(place, type)}")
        return self.resize(self.extract(unit, place, type, bits), f"i{bits}", ir_type(type), _is_signed(type))

    def extract(self, unit: str, place: _Place, type: CType, bits: int) -> str:
        assert place.bit_size is not None
        kind = f"i{bits}"
        if type == BOOL or bits == place.bit_size:
            return unit if bits == place.bit_size else self.value(f"and {kind} {self.shifted(unit, place, kind)}, 1")
        left = self.value(f"shl {kind} {unit}, {bits - place.bit_offset - place.bit_size}")
        return self.value(f"{'ashr' if _is_signed(type) else 'lshr'} {kind} {left}, {bits - place.bit_size}")

    def shifted(self, unit: str, place: _Place, kind: str) -> str:
        return self.value(f"lshr {kind} {unit}, {place.bit_offset}") if place.bit_offset else unit

    @staticmethod
    def align(place: _Place, type: CType) -> int:
        return max(1, min(place.align, type.align))

    def store(self, place: _Place, value: str, type: CType) -> None:
        kind, align = ir_type(type), self.align(place, type)
        if place.bit_size is not None and (place.bit_size < type.size * 8 or place.bit_offset):
            mask, bits = (1 << place.bit_size) - 1, place.unit_bits(type)
            value, kind = self.resize(value, kind, f"i{bits}", False), f"i{bits}"
            mask &= (1 << bits) - 1
            old = self.value(f"load {place.volatile}{kind}, ptr {place.address}, align {align}")
            kept = self.value(f"and {kind} {old}, {~(mask << place.bit_offset) & ((1 << bits) - 1)}")
            cut = self.value(f"and {kind} {value}, {mask}")
            moved = self.value(f"shl {kind} {cut}, {place.bit_offset}")
            value = self.value(f"or {kind} {kept}, {moved}")
        self.write(f"store {place.volatile}{kind} {value}, ptr {place.address}, align {align}")

    def store_bytes(self, place: _Place, content: bytes) -> None:
        """Writes constant bytes as immediate stores of the widest aligned pieces."""
        at = 0
        while at < len(content):
            width = next(w for w in (8, 4, 2, 1) if at + w <= len(content) and ((at % w == 0 and place.align % w == 0) or w == 1))
            address = self.offset(place.address, at)
            number = int.from_bytes(content[at : at + width], "little")
            self.write(f"store i{width * 8} {number}, ptr {address}, align {width}")
            at += width

    def offset(self, address: str, count: int) -> str:
        return self.value(f"getelementptr inbounds i8, ptr {address}, i64 {count}") if count else address

    def copy(self, to: _Place, source: _Place, size: int) -> None:
        align = min(to.align, source.align)
        if size == 0 or to.address == source.address:
            return
        if self.module.target == "bpf" and size > _MAX_STORES * align:
            self.memory_loop(to.address, source.address, size, align)
            return
        name = self.module.intrinsic("llvm.memcpy.p0.p0.i64", "void", "ptr", "ptr", "i64", "i1")
        volatile = "true" if to.is_volatile or source.is_volatile else "false"
        self.write(f"call void {name}(ptr align {to.align} {to.address}, ptr align {source.align} {source.address}, "
                   f"i64 {size}, i1 {volatile})")

    def memory_loop(self, to: str, source: str, size: int, align: int, fill: str = "") -> None:
        """Copies, or fills with the byte fill, size bytes in pieces of align, the rest by bytes."""
        width = min(align, 8)
        main, rest = size // width * width, size % width
        if main:
            self.piece_loop(to, source, "0", str(main), width, fill)
        if rest:
            self.piece_loop(to, source, str(main), str(size), 1, fill)

    def byte_loop(self, to: str, source: str, length: str, fill: str = "") -> None:
        """Copies, or fills with the byte fill, a number of bytes that only the run knows."""
        self.piece_loop(to, source, "0", length, 1, fill)

    def piece_loop(self, to: str, source: str, start: str, end: str, step: int, fill: str) -> None:
        """Copies or fills the bytes from start to end in pieces of step."""
        counter = self.scalar_alloca(_I64)
        head, body, done = self.block(), self.block(), self.block()
        self.write(f"store i64 {start}, ptr {counter}, align 8")
        self.begin(head)
        index = self.value(f"load i64, ptr {counter}, align 8")
        more = self.value(f"icmp ult i64 {index}, {end}")
        self.branch(more, body, done)
        self.begin(body)
        target = self.value(f"getelementptr inbounds i8, ptr {to}, i64 {index}")
        kind = f"i{step * 8}"
        if fill:
            piece = fill if step == 1 else self.spread(fill, step)
        else:
            place = self.value(f"getelementptr inbounds i8, ptr {source}, i64 {index}")
            piece = self.value(f"load {kind}, ptr {place}, align {step}")
        self.write(f"store {kind} {piece}, ptr {target}, align {step}")
        following = self.value(f"add i64 {index}, {step}")
        self.write(f"store i64 {following}, ptr {counter}, align 8")
        self.jump(head)
        self.begin(done)

    def spread(self, byte: str, width: int) -> str:
        """A byte repeated over width bytes."""
        if byte == "0":
            return "0"
        wide = self.value(f"zext i8 {byte} to i{width * 8}")
        return self.value(f"mul i{width * 8} {wide}, {int('01' * width, 16)}")

    def fill(self, to: _Place, byte: str, size: int) -> None:
        if size == 0:
            return
        if self.module.target == "bpf" and size > _MAX_STORES * to.align:
            self.memory_loop(to.address, "", size, to.align, byte)
            return
        name = self.module.intrinsic("llvm.memset.p0.i64", "void", "ptr", "i8", "i64", "i1")
        self.write(f"call void {name}(ptr align {to.align} {to.address}, i8 {byte}, i64 {size}, i1 false)")

    def kernel_read(self, address: str, size: int, align: int, slot: str = "") -> _Place:
        place = _Place(slot or self.alloca(size, align), max(align, 8 if size >= 8 else 1))
        self.probe_read(place.address, address, str(size))
        return place

    def read_slot(self, size: int, align: int) -> str:
        """Where kernel reads of scalars go: one place for all, as each is loaded at once."""
        size = max(size, 8)
        found = self.read_slots.get(size)
        if found is None:
            found = self.read_slots[size] = self.alloca(size, max(align, 8))
        return found

    def probe_read(self, to: str, source: str, size: str) -> None:
        self.value(f"call i64 inttoptr (i64 {_PROBE_READ} to ptr)(ptr {to}, i64 {size}, ptr {source})")

    # -- expressions

    def effect(self, expr: Expr) -> None:
        """Evaluates expr for what it does."""
        if isinstance(expr, Zero):
            self.fill(self.place(expr.place), "0", expr.type.size)
        elif isinstance(expr, StmtExpr):
            self.statements(expr.body)
            if expr.result is not None:
                self.effect(expr.result)
        elif isinstance(expr.type, (Record, Array)) or isinstance(expr, (VarRef, Deref, MemberRef)):
            self.place(expr)
        else:
            self.rvalue(expr)

    def rvalue(self, expr: Expr) -> str:
        """The value of a scalar expression; "" for void."""
        note = self.note
        if self.scope is not None:
            self.at(expr.span)
        result: str = getattr(self, "value_" + type(expr).__name__)(expr)
        self.note = note
        return result

    def value_Const(self, expr: Const) -> str:
        if isinstance(expr.type, Pointer):
            return "null" if expr.value == 0 else f"inttoptr (i64 {expr.value} to ptr)"
        return str(expr.value)

    def value_StringAddress(self, expr: StringAddress) -> str:
        return self.module.string(expr.content)

    def value_MapAddress(self, expr: MapAddress) -> str:
        return f"@{expr.map.name}"

    def value_FunctionAddress(self, expr: FunctionAddress) -> str:
        return self.module.function(expr.function)

    def value_Load(self, expr: Load) -> str:
        return self.load(self.place(expr.place), expr.type)

    def value_KernelRead(self, expr: KernelRead) -> str:
        source = self.place(expr.place)
        size, align = expr.type.size, expr.type.align
        size = size if source.bit_size is None else source.unit_bits(expr.type) // 8
        copy = self.kernel_read(source.address, size, align, self.read_slot(size, align))
        copy.bit_offset, copy.bit_size, copy.room = source.bit_offset, source.bit_size, source.room
        return self.load(copy, expr.type)

    def value_AddressOf(self, expr: AddressOf) -> str:
        return self.place(expr.place).address

    def value_Cast(self, expr: Cast) -> str:
        target, source = expr.type, expr.operand.type
        if isinstance(target, Void):
            self.effect(expr.operand)
            return ""
        if target == BOOL:
            truth = self.truth(expr.operand)
            return self.value(f"zext i1 {truth} to i8")
        value = self.rvalue(expr.operand)
        one, two = ir_type(source), ir_type(target)
        if one == two:
            return value
        if two == "ptr":
            if one != "i64":
                value = self.resize(value, one, "i64", _is_signed(source))
            return self.value(f"inttoptr i64 {value} to ptr")
        if one == "ptr":
            number = self.value(f"ptrtoint ptr {value} to i64")
            return self.resize(number, "i64", two, False)
        return self.resize(value, one, two, _is_signed(source))

    def resize(self, value: str, source: str, target: str, signed: bool) -> str:
        if source == target:
            return value
        if int(source[1:]) > int(target[1:]):
            return self.value(f"trunc {source} {value} to {target}")
        return self.value(f"{'sext' if signed else 'zext'} {source} {value} to {target}")

    def value_Unary(self, expr: Unary) -> str:
        if expr.op == "!":
            truth = self.truth(expr)
            return self.value(f"zext i1 {truth} to {ir_type(expr.type)}")
        operand, kind = self.rvalue(expr.operand), ir_type(expr.type)
        return self.value(f"sub {kind} 0, {operand}" if expr.op == "-" else f"xor {kind} {operand}, -1")

    def value_Binary(self, expr: Binary) -> str:
        if expr.op in _SIGNED:
            truth = self.comparison(expr)
            return self.value(f"zext i1 {truth} to {ir_type(expr.type)}")
        left, right = self.rvalue(expr.left), self.rvalue(expr.right)
        if expr.op in ("<<", ">>"):
            right = self.resize(right, ir_type(expr.right.type), ir_type(expr.type), False)
        return self.arithmetic(expr.op, left, right, expr.type)

    def arithmetic(self, op: str, left: str, right: str, type: CType) -> str:
        kind, signed = ir_type(type), _is_signed(type)
        if op in ("/", "%"):
            return self.divide(op, left, right, kind, signed)
        if kind == "i128" and self.module.target == "bpf":
            if op == "*":
                return self.wide_product(left, right)
            if op in ("<<", ">>") and not right.isdigit():
                return self.wide_shift(op, left, right, signed)
        if op == ">>":
            return self.value(f"{'ashr' if signed else 'lshr'} {kind} {left}, {right}")
        return self.value(f"{_PLAIN[op]} {kind} {left}, {right}")

    def divide(self, op: str, left: str, right: str, kind: str, signed: bool) -> str:
        word = "div" if op == "/" else "rem"
        if not signed:
            return self.value(f"u{word} {kind} {left}, {right}")
        if self.module.has_signed_division:
            return self.value(f"s{word} {kind} {left}, {right}")
        one, two = self.magnitude(left, kind), self.magnitude(right, kind)
        result = self.value(f"u{word} {kind} {one}, {two}")
        sign = left if op == "%" else self.value(f"xor {kind} {left}, {right}")
        negative = self.value(f"icmp slt {kind} {sign}, 0")
        negated = self.value(f"sub {kind} 0, {result}")
        return self.value(f"select i1 {negative}, {kind} {negated}, {kind} {result}")

    def halves(self, value: str) -> tuple[str, str]:
        """The low and the high 64 bits of 128."""
        return self.value(f"trunc i128 {value} to i64"), self.value(f"trunc i128 {self.value(f'lshr i128 {value}, 64')} to i64")

    def joined(self, low: str, high: str) -> str:
        wide = self.value(f"shl i128 {self.value(f'zext i64 {high} to i128')}, 64")
        return self.value(f"or i128 {self.value(f'zext i64 {low} to i128')}, {wide}")

    def wide_product(self, left: str, right: str) -> str:
        """The low 128 bits of a product, of which BPF computes 64 at once: schoolbook, in 32-bit digits."""
        (a, a_high), (b, b_high) = self.halves(left), self.halves(right)
        a0, a1, b0, b1 = (self.value(f"{word} i64 {one}, {bits}") for one in (a, b) for word, bits in
                          (("and", 0xFFFFFFFF), ("lshr", 32)))
        # sums of digits stay below 2 ** 64; hidden, for LLVM would find the 128-bit product again and call its library
        low, one, two, high = (self.hidden(self.value(f"mul i64 {x}, {y}")) for x, y in ((a0, b0), (a1, b0), (a0, b1), (a1, b1)))
        middle = self.value(f"add i64 {one}, {self.value(f'lshr i64 {low}, 32')}")
        rest = self.value(f"add i64 {two}, {self.value(f'and i64 {middle}, 4294967295')}")
        carry = self.value(f"add i64 {self.value(f'lshr i64 {middle}, 32')}, {self.value(f'lshr i64 {rest}, 32')}")
        top = self.value(f"add i64 {high}, {carry}")
        for x, y in ((a_high, b), (a, b_high)):
            top = self.value(f"add i64 {top}, {self.value(f'mul i64 {x}, {y}')}")
        return self.joined(self.value(f"mul i64 {a}, {b}"), top)

    def hidden(self, value: str) -> str:
        """value, of which the optimiser no longer knows where it came from."""
        return self.value(f'call i64 asm "", "=r,0"(i64 {value})')

    def wide_shift(self, op: str, value: str, count: str, signed: bool) -> str:
        """A 128-bit value shifted by a variable below 128, in 64-bit pieces."""
        low, high = self.halves(value)
        count = self.value(f"trunc i128 {count} to i64")
        part = self.value(f"and i64 {count}, 63")
        back = self.value(f"xor i64 {part}, 63")
        is_far = self.value(f"icmp uge i64 {count}, 64")
        near, far, toward, away = (low, high, "shl", "lshr") if op == "<<" else (high, low, "ashr" if signed else "lshr", "shl")
        moved = self.value(f"{toward} i64 {near}, {part}")
        # what crosses the middle goes in two steps, for a shift by 64 is none
        crossing = self.value(f"{away} i64 {self.value(f'{away} i64 {near}, 1')}, {back}")
        kept = self.value(f"{'shl' if op == '<<' else 'lshr'} i64 {far}, {part}")
        mixed = self.value(f"or i64 {kept}, {crossing}")
        other = self.value(f"select i1 {is_far}, i64 {moved}, i64 {mixed}")
        empty = self.value(f"ashr i64 {near}, 63") if toward == "ashr" else "0"
        moved = self.value(f"select i1 {is_far}, i64 {empty}, i64 {moved}")
        return self.joined(moved, other) if op == "<<" else self.joined(other, moved)

    def magnitude(self, value: str, kind: str) -> str:
        if value.lstrip("-").isdigit():
            return str(abs(int(value)))
        negative = self.value(f"icmp slt {kind} {value}, 0")
        negated = self.value(f"sub {kind} 0, {value}")
        return self.value(f"select i1 {negative}, {kind} {negated}, {kind} {value}")

    def value_PointerAdd(self, expr: PointerAdd) -> str:
        pointer = self.rvalue(expr.pointer)
        return self.advance(pointer, self.rvalue(expr.index), expr.scale)

    def advance(self, pointer: str, index: str, scale: int) -> str:
        if scale != 1:
            index = str(int(index) * scale) if index.lstrip("-").isdigit() else self.value(f"mul i64 {index}, {scale}")
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {index}")

    def value_PointerDiff(self, expr: PointerDiff) -> str:
        left, right = self.rvalue(expr.left), self.rvalue(expr.right)
        one, two = self.value(f"ptrtoint ptr {left} to i64"), self.value(f"ptrtoint ptr {right} to i64")
        difference = self.value(f"sub i64 {one}, {two}")
        if expr.scale == 1:
            return difference
        if expr.scale & (expr.scale - 1) == 0:
            return self.value(f"ashr i64 {difference}, {expr.scale.bit_length() - 1}")
        return self.divide("/", difference, str(expr.scale), "i64", True)

    def value_Logical(self, expr: Logical) -> str:
        yes, no, done = self.block(), self.block(), self.block()
        self.condition(expr, yes, no)
        self.begin(yes)
        self.jump(done)
        self.begin(no)
        self.jump(done)
        self.begin(done)
        truth = self.value(f"phi i1 [ true, %{yes} ], [ false, %{no} ]")
        return self.value(f"zext i1 {truth} to {ir_type(expr.type)}")

    def value_Conditional(self, expr: Conditional) -> str:
        yes, no, done = self.block(), self.block(), self.block()
        is_void = isinstance(expr.type, Void)
        slot = "" if is_void else self.scalar_alloca(expr.type)
        kind, align = ("", 0) if is_void else (ir_type(expr.type), expr.type.align)
        if expr.yes is None:
            first = self.rvalue(expr.condition)
            zero = "null" if kind == "ptr" else "0"
            self.branch(self.value(f"icmp ne {kind} {first}, {zero}"), yes, no)
        else:
            self.condition(expr.condition, yes, no)
            first = ""
        for label, side in ((yes, expr.yes), (no, expr.no)):
            self.begin(label)
            value = first if side is None else self.rvalue(side)
            if slot:
                self.write(f"store {kind} {value}, ptr {slot}, align {align}")
            self.jump(done)
        self.begin(done)
        return self.value(f"load {kind}, ptr {slot}, align {align}") if slot else ""

    def value_Assign(self, expr: Assign) -> str:
        value = self.rvalue(expr.value)
        place = self.place(expr.place)
        self.store(place, value, expr.place.type)
        if place.bit_size is not None:
            return self.load(place, expr.type)
        return value

    def value_CopyRecord(self, expr: CopyRecord) -> str:
        self.place_CopyRecord(expr)
        return ""

    def value_Update(self, expr: Update) -> str:
        # the right side first, as gcc and clang do: a call there may change what is updated
        value = self.rvalue(expr.value)
        place = self.place(expr.place)
        old = self.load(place, expr.type)
        if isinstance(expr.type, Pointer):
            new = self.advance(old, value, expr.scale)
        else:
            wide = self.widen(old, expr.type, expr.compute)
            if expr.op in ("<<", ">>"):
                value = self.resize(value, ir_type(expr.value.type), ir_type(expr.compute), False)
            new = self.narrow(self.arithmetic(expr.op, wide, value, expr.compute), expr.compute, expr.type)
        self.store(place, new, expr.place.type)
        if expr.is_post:
            return old
        return new if place.bit_size is None else self.load(place, expr.type)

    def widen(self, value: str, source: CType, target: CType) -> str:
        return self.resize(value, ir_type(source), ir_type(target), _is_signed(source))

    def narrow(self, value: str, source: CType, target: CType) -> str:
        if target == BOOL:
            truth = self.value(f"icmp ne {ir_type(source)} {value}, 0")
            return self.value(f"zext i1 {truth} to i8")
        return self.resize(value, ir_type(source), ir_type(target), _is_signed(source))

    def value_Comma(self, expr: Comma) -> str:
        self.effect(expr.left)
        return self.rvalue(expr.right)

    def value_StmtExpr(self, expr: StmtExpr) -> str:
        self.statements(expr.body)
        return "" if expr.result is None else self.rvalue(expr.result)

    def value_Zero(self, expr: Zero) -> str:
        self.effect(expr)
        return ""

    def argument(self, expr: Expr) -> str:
        """A call's argument with its type; a record goes by address."""
        if isinstance(expr.type, Record):
            return f"ptr {self.place(expr).address}"
        return f"{ir_type(expr.type)} {self.rvalue(expr)}"

    def call(self, expr: CallFunction, result: str = "") -> str:
        if expr.function.body is None:
            return self.foreign_call(self.module.function(expr.function), expr.function.type, expr.args)
        args = [f"ptr {result}"] if result else []
        args += [self.argument(one) for one in expr.args]
        text = f"@{_symbol(expr.function.name)}({', '.join(args)})"
        if isinstance(expr.type, (Void, Record)):
            self.write(f"call void {text}")
            return ""
        return self.value(f"call {ir_type(expr.type)} {text}")

    def value_CallFunction(self, expr: CallFunction) -> str:
        return self.call(expr)

    def value_CallPointer(self, expr: CallPointer) -> str:
        return self.foreign_call(self.rvalue(expr.pointer), expr.called, expr.args)

    def foreign_call(self, callee: str, type: Function, given: tuple[Expr, ...]) -> str:
        args = [self.argument(one) for one in given]
        result, kinds = _signature(type)
        text = f"call {f'{result} ({kinds})' if kinds.endswith('...') else result} {callee}({', '.join(args)})"
        if result == "void":
            self.write(text)
            return ""
        return self.value(text)

    def value_CallHelper(self, expr: CallHelper) -> str:
        args = ", ".join(self.argument(one) for one in expr.args)
        callee = f"inttoptr (i64 {expr.id} to ptr)({args})"
        if HELPER_BY_ID[expr.id].ret is Ret.VOID or isinstance(expr.type, Void):
            self.write(f"call void {callee}")
            return "0"  # of those that C declares to give a long, although the kernel leaves r0 alone
        if isinstance(expr.type, Pointer):
            return self.value(f"call ptr {callee}")
        value = self.value(f"call i64 {callee}")
        return self.resize(value, "i64", ir_type(expr.type), False)

    def value_Atomic(self, expr: Atomic) -> str:
        pointer = self.rvalue(expr.pointer)
        values = [self.rvalue(one) for one in expr.values]
        kind = "i64" if isinstance(expr.type, Pointer) else ir_type(expr.type)
        if expr.op == "cmpxchg":
            pair = self.value(f"cmpxchg ptr {pointer}, {kind} {values[0]}, {kind} {values[1]} seq_cst seq_cst")
            return self.value(f"extractvalue {{ {kind}, i1 }} {pair}, 0")
        old = self.value(f"atomicrmw {expr.op} ptr {pointer}, {kind} {values[0]} seq_cst")
        if not expr.is_new:
            return old
        return self.value(f"{expr.op} {kind} {old}, {values[0]}")

    # -- intrinsics

    def value_Intrinsic(self, expr: Intrinsic) -> str:
        result: str = getattr(self, "intrinsic_" + expr.name)(expr)
        return result

    def pointed(self, expr: Expr) -> _Place:
        """What a pointer argument points at, with the alignment that its type or place promises."""
        inner = expr
        while isinstance(inner, Cast) and isinstance(inner.operand.type, Pointer):
            inner = inner.operand
        if isinstance(inner, AddressOf):
            return self.place(inner.place)
        target = inner.type.target if isinstance(inner.type, Pointer) else None
        return _Place(self.rvalue(expr), max(1, target.align if target is not None and target.size else 1))

    def intrinsic_memcpy(self, expr: Intrinsic) -> str:
        to, source = self.pointed(expr.args[0]), self.pointed(expr.args[1])
        length = expr.args[2]
        if isinstance(length, Const):
            self.copy(to, source, length.value)
        elif self.module.target == "bpf":
            self.byte_loop(to.address, source.address, self.rvalue(length))
        else:
            name = self.module.intrinsic("llvm.memcpy.p0.p0.i64", "void", "ptr", "ptr", "i64", "i1")
            self.write(f"call void {name}(ptr {to.address}, ptr {source.address}, i64 {self.rvalue(length)}, i1 false)")
        return to.address

    def intrinsic_memmove(self, expr: Intrinsic) -> str:
        to, source = self.pointed(expr.args[0]), self.pointed(expr.args[1])
        length = expr.args[2]
        if self.module.target == "bpf":
            assert isinstance(length, Const)
            middle = _Place(self.alloca(length.value, 8), 8)
            self.copy(middle, source, length.value)
            self.copy(to, middle, length.value)
        else:
            name = self.module.intrinsic("llvm.memmove.p0.p0.i64", "void", "ptr", "ptr", "i64", "i1")
            self.write(f"call void {name}(ptr {to.address}, ptr {source.address}, i64 {self.rvalue(length)}, i1 false)")
        return to.address

    def intrinsic_memset(self, expr: Intrinsic) -> str:
        to, byte, length = self.pointed(expr.args[0]), self.rvalue(expr.args[1]), expr.args[2]
        if isinstance(length, Const):
            self.fill(to, byte, length.value)
        elif self.module.target == "bpf":
            self.byte_loop(to.address, "", self.rvalue(length), byte)
        else:
            name = self.module.intrinsic("llvm.memset.p0.i64", "void", "ptr", "i8", "i64", "i1")
            self.write(f"call void {name}(ptr {to.address}, i8 {byte}, i64 {self.rvalue(length)}, i1 false)")
        return to.address

    def intrinsic_memcmp(self, expr: Intrinsic) -> str:
        """The difference of the first bytes that differ, else 0."""
        left, right = self.pointed(expr.args[0]).address, self.pointed(expr.args[1]).address
        length = self.rvalue(expr.args[2])
        counter, result = self.scalar_alloca(_I64), self.scalar_alloca(_I32)
        head, body, following, done = self.block(), self.block(), self.block(), self.block()
        self.write(f"store i64 0, ptr {counter}, align 8")
        self.write(f"store i32 0, ptr {result}, align 4")
        self.begin(head)
        index = self.value(f"load i64, ptr {counter}, align 8")
        self.branch(self.value(f"icmp ult i64 {index}, {length}"), body, done)
        self.begin(body)
        bytes_ = []
        for one in (left, right):
            place = self.value(f"getelementptr inbounds i8, ptr {one}, i64 {index}")
            byte = self.value(f"load i8, ptr {place}, align 1")
            bytes_.append(self.value(f"zext i8 {byte} to i32"))
        difference = self.value(f"sub i32 {bytes_[0]}, {bytes_[1]}")
        self.write(f"store i32 {difference}, ptr {result}, align 4")
        more = self.value(f"add i64 {index}, 1")
        self.write(f"store i64 {more}, ptr {counter}, align 8")
        self.branch(self.value(f"icmp eq i32 {difference}, 0"), following, done)
        self.begin(following)
        self.jump(head)
        self.begin(done)
        return self.value(f"load i32, ptr {result}, align 4")

    def intrinsic_kernel_copy(self, expr: Intrinsic) -> str:
        to = self.pointed(expr.args[0]).address
        self.probe_read(to, self.rvalue(expr.args[1]), self.rvalue(expr.args[2]))
        return to

    def counted(self, expr: Intrinsic, extra: str) -> str:
        kind = ir_type(expr.type)
        kinds = [kind, "i1"] if extra else [kind]
        name = self.module.intrinsic(f"llvm.{expr.name}.{kind}", kind, *kinds)
        return self.value(f"call {kind} {name}({kind} {self.rvalue(expr.args[0])}{extra})")

    def intrinsic_ctlz(self, expr: Intrinsic) -> str:
        return self.counted(expr, ", i1 true")

    def intrinsic_cttz(self, expr: Intrinsic) -> str:
        return self.counted(expr, ", i1 true")

    def intrinsic_ctpop(self, expr: Intrinsic) -> str:
        return self.counted(expr, "")

    def intrinsic_bswap(self, expr: Intrinsic) -> str:
        return self.counted(expr, "")

    def intrinsic_bitreverse(self, expr: Intrinsic) -> str:
        return self.counted(expr, "")

    def intrinsic_abs(self, expr: Intrinsic) -> str:
        return self.counted(expr, ", i1 false")

    def intrinsic_ffs(self, expr: Intrinsic) -> str:
        """One more than the number of the lowest bit that is set, 0 if none is."""
        kind, operand = ir_type(expr.type), self.rvalue(expr.args[0])
        name = self.module.intrinsic(f"llvm.cttz.{kind}", kind, kind, "i1")
        number = self.value(f"add {kind} {self.value(f'call {kind} {name}({kind} {operand}, i1 false)')}, 1")
        is_zero = self.value(f"icmp eq {kind} {operand}, 0")
        return self.value(f"select i1 {is_zero}, {kind} 0, {kind} {number}")

    def intrinsic_clrsb(self, expr: Intrinsic) -> str:
        """How many bits below the sign bit are equal to it."""
        kind, operand, bits = ir_type(expr.type), self.rvalue(expr.args[0]), expr.type.size * 8
        sign = self.value(f"ashr {kind} {operand}, {bits - 1}")
        name = self.module.intrinsic(f"llvm.ctlz.{kind}", kind, kind, "i1")
        zeros = self.value(f"call {kind} {name}({kind} {self.value(f'xor {kind} {operand}, {sign}')}, i1 false)")
        return self.value(f"sub {kind} {zeros}, 1")

    def rotated(self, expr: Intrinsic, word: str) -> str:
        kind = ir_type(expr.type)
        operand, count = self.rvalue(expr.args[0]), self.rvalue(expr.args[1])
        name = self.module.intrinsic(f"llvm.{word}.{kind}", kind, kind, kind, kind)
        return self.value(f"call {kind} {name}({kind} {operand}, {kind} {operand}, {kind} {count})")

    def intrinsic_rotateleft(self, expr: Intrinsic) -> str:
        return self.rotated(expr, "fshl")

    def intrinsic_rotateright(self, expr: Intrinsic) -> str:
        return self.rotated(expr, "fshr")

    def intrinsic_expect(self, expr: Intrinsic) -> str:
        kind = ir_type(expr.type)
        value, likely = self.rvalue(expr.args[0]), self.rvalue(expr.args[1])
        name = self.module.intrinsic(f"llvm.expect.{kind}", kind, kind, kind)
        return self.value(f"call {kind} {name}({kind} {value}, {kind} {likely})")

    def intrinsic_add_overflow(self, expr: Intrinsic) -> str:
        return self.overflow(expr, "add", "+")

    def intrinsic_sub_overflow(self, expr: Intrinsic) -> str:
        return self.overflow(expr, "sub", "-")

    def intrinsic_mul_overflow(self, expr: Intrinsic) -> str:
        return self.overflow(expr, "mul", "*")

    def overflow(self, expr: Intrinsic, word: str, op: str) -> str:
        """Stores the result of an operation on two values of a type that holds the operands' and the result's;
        gives whether the object cannot hold it. In BPF, what is 128 bits wide is made of 64-bit values, and does not overflow."""
        left, right = self.rvalue(expr.args[0]), self.rvalue(expr.args[1])
        type, pointer = expr.args[0].type, expr.args[2]
        target = self.rvalue(pointer)
        assert isinstance(pointer.type, Pointer)
        result, kind, signed = pointer.type.target, ir_type(type), _is_signed(type)
        flag = ""
        if kind == "i128" and self.module.target == "bpf":
            value = self.arithmetic(op, left, right, type)
        else:
            name = self.module.intrinsic(f"llvm.{'s' if signed else 'u'}{word}.with.overflow.{kind}", f"{{ {kind}, i1 }}", kind, kind)
            pair = self.value(f"call {{ {kind}, i1 }} {name}({kind} {left}, {kind} {right})")
            value, flag = (self.value(f"extractvalue {{ {kind}, i1 }} {pair}, {at}") for at in (0, 1))
        stored = self.resize(value, kind, ir_type(result), False)
        self.store(_Place(target, max(1, result.align)), stored, result)
        if kind != ir_type(result):
            again = self.resize(stored, ir_type(result), kind, _is_signed(result))
            differs = self.value(f"icmp ne {kind} {again}, {value}")
            flag = self.value(f"or i1 {flag}, {differs}") if flag else differs
        elif signed != _is_signed(result):  # the highest bit is the sign of one of the two
            differs = self.value(f"icmp slt {kind} {value}, 0")
            flag = self.value(f"or i1 {flag}, {differs}") if flag else differs
        return self.value(f"zext i1 {flag or 'false'} to {ir_type(expr.type)}")

    def intrinsic_hide(self, expr: Intrinsic) -> str:
        kind, value = ir_type(expr.type), self.rvalue(expr.args[0])
        if kind == "ptr":
            return self.value(f'call ptr asm sideeffect "", "=r,0"(ptr {value})')
        wide = self.value(f'call i64 asm sideeffect "", "=r,0"(i64 {self.resize(value, kind, "i64", False)})')
        return self.resize(wide, "i64", kind, False)

    def intrinsic_barrier(self, expr: Intrinsic) -> str:
        self.write('call void asm sideeffect "", "~{memory}"()')
        return ""

    def intrinsic_fence(self, expr: Intrinsic) -> str:
        self.write('call void asm sideeffect "", "~{memory}"()' if self.module.target == "bpf" else "fence seq_cst")
        return ""

    def packet_load(self, expr: Intrinsic, word: str) -> str:
        name = self.module.intrinsic(f"llvm.bpf.load.{word}", "i64", "ptr", "i64")
        packet = self.rvalue(expr.args[0])
        return self.value(f"call i64 {name}(ptr {packet}, i64 {self.rvalue(expr.args[1])})")

    def intrinsic_load_byte(self, expr: Intrinsic) -> str:
        return self.packet_load(expr, "byte")

    def intrinsic_load_half(self, expr: Intrinsic) -> str:
        return self.packet_load(expr, "half")

    def intrinsic_load_word(self, expr: Intrinsic) -> str:
        return self.packet_load(expr, "word")

    def intrinsic_unreachable(self, expr: Intrinsic) -> str:
        self.end("unreachable")
        return ""

    def intrinsic_atomic_load(self, expr: Intrinsic) -> str:
        return self.value(f"load volatile {ir_type(expr.type)}, ptr {self.rvalue(expr.args[0])}, align {expr.type.align}")

    def intrinsic_atomic_store(self, expr: Intrinsic) -> str:
        pointer, value = self.rvalue(expr.args[0]), self.rvalue(expr.args[1])
        type = expr.args[1].type
        self.write(f"store volatile {ir_type(type)} {value}, ptr {pointer}, align {type.align}")
        return ""


_I64 = Integer("long", 8, True, 4)
_I32 = Integer("int", 4, True, 3)


def _global_align(var: GlobalVar) -> int:
    return max(var.type.align, var.align, 8 if var.type.size >= 8 else 1)


def _signature(type: Function) -> tuple[str, str]:
    """The result and the parameters of a function of another object; records are refused in its calls."""
    kinds = ["ptr" if isinstance(one.type, Record) else ir_type(one.type) for one in type.params]
    kinds += ["..."] if type.is_variadic or type.is_open else []
    return "void" if isinstance(type.result, (Void, Record)) else ir_type(type.result), ", ".join(kinds)


def _symbol(name: str) -> str:
    return name if name.replace("_", "a").isalnum() else f'"{name}"'


def lower(unit: Unit, functions: Sequence[FunctionDef], *, target: str, cpu: str, debug: Debug | None) -> str:
    """The LLVM IR of functions with unit's maps and globals, as text. target: "bpf" or "host"."""
    module = _Module(unit, target, cpu, debug)
    if target == "bpf":
        module.maps()
        module.license()
    for var in unit.globals:
        module.variable(var)
    for one in functions:
        is_program = bool(one.section) or (target == "host" and not one.is_static)
        is_local = not is_program and not one.is_global
        linkage = "internal" if is_local else "dso_local"
        attribute = 0 if is_program else 2 if one.is_noinline else 0 if target == "host" else 1
        scope = debug.function(one, one.name, is_local) if debug else None
        lowerer = _FunctionLowerer(module, one, scope)
        module.functions.append(lowerer.run(one.name, linkage, one.section if target == "bpf" else "", attribute))
    return module.text()
