"""The typed tree: what check.py makes of the AST and lower.py turns into LLVM IR.

Every expression has .type and .span. A *place* (VarRef, Deref, MemberRef) denotes storage; scalars are read
from it by an explicit Load, so an expression is either a place or a value and nothing converts silently.
Record values are always denoted by a place: lower.py passes them by address. Table methods, macros and
BCC's pseudo-functions are ordinary nodes by now. Pointers are typed; whether one is native (may be
loaded through) or a kernel pointer (is read by a helper) is found by provenance.py, which replaces Loads by
KernelReads and gives each static function one instance per kind of argument.

Nodes are frozen; variables and functions are compared by identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, dataclass_transform

from cfront.ctype import CType, Function
from cfront.source import Span
from cfront.uapi import MapType

__all__ = [
    "AddressOf",
    "Asm",
    "Assign",
    "Atomic",
    "Binary",
    "Block",
    "Break",
    "CallFunction",
    "CallHelper",
    "CallPointer",
    "Case",
    "Cast",
    "Comma",
    "Conditional",
    "Const",
    "Continue",
    "CopyRecord",
    "Declare",
    "Deref",
    "Expr",
    "ExprStmt",
    "FloatConst",
    "FunctionAddress",
    "FunctionDef",
    "GlobalVar",
    "Goto",
    "If",
    "Intrinsic",
    "KernelRead",
    "Label",
    "Load",
    "LocalVar",
    "Logical",
    "Loop",
    "MapAddress",
    "MapDef",
    "MemberRef",
    "Node",
    "PointerAdd",
    "PointerDiff",
    "Return",
    "Stmt",
    "StmtExpr",
    "StringAddress",
    "Switch",
    "Unary",
    "Unit",
    "Update",
    "VarRef",
    "Zero",
]


_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, eq_default=False)
def node(cls: type[_T]) -> type[_T]:
    """cls as a class of nodes: slots for its annotated names, an __init__ of them, FIELDS, their names.

    What dataclass(frozen=True, slots=True) would make takes three times as long to fill and, for the forty
    classes here, a sixth of the time of a compiler's start. mypy holds nodes frozen, not the interpreter."""
    names = tuple(cls.__annotations__)
    space: dict[str, Any] = {key: value for key, value in vars(cls).items() if key not in ("__dict__", "__weakref__")}
    defaults = {name: space.pop(name) for name in names if name in space}
    params = ", ".join(["self", *(f"{one}=defaults['{one}']" if one in defaults else one for one in names)])
    body = "; ".join(f"self.{one} = {one}" for one in names) or "pass"
    made: dict[str, Any] = {"defaults": defaults}
    exec(f"def __init__({params}): {body}", made)
    space |= {"__slots__": names, "__match_args__": names, "__init__": made["__init__"], "FIELDS": names}
    return cast("type[_T]", type(cls.__name__, cls.__bases__, space))


KERNEL_SECTION = ".ksyms"  # of what a text declares and the kernel has


class LocalVar:
    """A local variable or parameter."""

    __slots__ = ("align", "is_address_taken", "is_param", "is_volatile", "name", "span", "type")

    def __init__(self, name: str, type: CType, span: Span, is_param: bool = False) -> None:
        self.name = name
        self.type = type
        self.span = span
        self.is_param = is_param
        self.is_address_taken = False
        self.is_volatile = False
        self.align = 0  # what an attribute asks for


class GlobalVar:
    """A global. init: its bytes, None for zeros; addresses: by offset, what is pointed into and how far."""

    __slots__ = ("addresses", "align", "init", "is_const", "is_extern", "is_volatile", "is_weak", "name", "section", "span", "type")

    def __init__(self, name: str, type: CType, span: Span, is_const: bool = False, is_extern: bool = False) -> None:
        self.name = name
        self.type = type
        self.span = span
        self.is_const = is_const
        self.is_extern = is_extern
        self.section = ""
        self.is_volatile = False
        self.is_weak = False  # the kernel may lack it
        self.align = 0  # what an attribute asks for
        self.init: bytes | None = None
        self.addresses: dict[int, tuple[GlobalVar | FunctionDef, int]] = {}

    @property
    def is_kernels(self) -> bool:
        """A variable of the kernel's (__ksym)."""
        return self.is_extern and self.section == KERNEL_SECTION


class MapDef:
    """A table of the text. event: the type that its last output call carries, None if there is none; inner: the table
    that those which a table of tables holds are like; notes: what its loader must know besides, e.g. "pin=PATH"."""

    __slots__ = ("event", "flags", "inner", "key", "kind", "max_entries", "name", "notes", "span", "type", "value")

    def __init__(
        self, name: str, type: MapType, key: CType | None, value: CType | None, max_entries: int, flags: int, span: Span,
        kind: str,
    ) -> None:
        self.name = name
        self.type = type
        self.key = key
        self.value = value
        self.max_entries = max_entries
        self.flags = flags
        self.span = span
        self.kind = kind
        self.event: CType | None = None
        self.inner: MapDef | None = None
        self.notes: tuple[str, ...] = ()


class FunctionDef:
    """A function; without a body, it is what this process has (on the host). section: where a program goes, "" for a function that programs call.

    One that is noinline stays a function in BPF; if it is not static either, the kernel verifies it on its own, for
    any arguments of its types."""

    __slots__ = ("body", "is_noinline", "is_static", "is_weak", "locals", "name", "params", "section", "span", "type")

    def __init__(self, name: str, type: Function, span: Span, is_static: bool) -> None:
        self.name = name
        self.type = type
        self.span = span
        self.is_static = is_static
        self.is_noinline = False
        self.is_weak = False  # the kernel may lack it
        self.section = ""
        self.params: list[LocalVar] = []
        self.locals: list[LocalVar] = []
        self.body: Block | None = None

    @property
    def is_global(self) -> bool:
        return self.is_noinline and not self.is_static and not self.section

    @property
    def is_kernels(self) -> bool:
        """A function of the kernel's (__ksym)."""
        return self.body is None and self.section == KERNEL_SECTION




@node
class Const:
    """An integer, or a null or constant pointer. value is in the range of the type."""

    type: CType
    span: Span
    value: int


@node
class FloatConst:
    """A floating constant, which only the checker knows: a Const or a comparison of integers is made of it."""

    type: CType
    span: Span
    value: float


@node
class StringAddress:
    """The address of a string literal's bytes, terminator included."""

    type: CType
    span: Span
    content: bytes


@node
class VarRef:
    type: CType
    span: Span
    var: LocalVar | GlobalVar


@node
class Deref:
    """The object that pointer points at."""

    type: CType
    span: Span
    pointer: Expr


@node
class MemberRef:
    """A member of the record at base (a place), offset bytes in; a bit-field if bit_size is not None."""

    type: CType
    span: Span
    base: Expr
    offset: int
    bit_offset: int = 0
    bit_size: int | None = None
    is_volatile: bool = False


@node
class Load:
    """The scalar in place."""

    type: CType
    span: Span
    place: Expr


@node
class KernelRead:
    """The object at place, whose address is a kernel pointer, read by a helper; a place if type is a record."""

    type: CType
    span: Span
    place: Expr


@node
class AddressOf:
    type: CType
    span: Span
    place: Expr


@node
class MapAddress:
    type: CType
    span: Span
    map: MapDef


@node
class FunctionAddress:
    type: CType
    span: Span
    function: FunctionDef


@node
class Cast:
    """operand as another scalar type; to void: evaluated and dropped."""

    type: CType
    span: Span
    operand: Expr


@node
class Unary:
    """op: "-", "~" on an integer, or "!" on any scalar."""

    type: CType
    span: Span
    op: str
    operand: Expr


@node
class Binary:
    """op: + - * / % & | ^ << >> on integers of .type (a shift's right side may differ), or a comparison
    of two operands of the same type giving int."""

    type: CType
    span: Span
    op: str
    left: Expr
    right: Expr


@node
class PointerAdd:
    """pointer + index * scale bytes; index is a 64-bit integer."""

    type: CType
    span: Span
    pointer: Expr
    index: Expr
    scale: int


@node
class PointerDiff:
    type: CType
    span: Span
    left: Expr
    right: Expr
    scale: int


@node
class Logical:
    """op: "&&" or "||"."""

    type: CType
    span: Span
    op: str
    left: Expr
    right: Expr


@node
class Conditional:
    """yes is None for `condition ?: no`."""

    type: CType
    span: Span
    condition: Expr
    yes: Expr | None
    no: Expr


@node
class Assign:
    """Stores a scalar; its value is what was stored."""

    type: CType
    span: Span
    place: Expr
    value: Expr


@node
class CopyRecord:
    """Copies the record at source (a place) to place; denotes place."""

    type: CType
    span: Span
    place: Expr
    source: Expr


@node
class Update:
    """place = (type)((compute)place op value), or pointer arithmetic with scale bytes; is_post: the
    value is the old one."""

    type: CType
    span: Span
    place: Expr
    op: str
    value: Expr
    compute: CType
    scale: int = 0
    is_post: bool = False


@node
class Comma:
    type: CType
    span: Span
    left: Expr
    right: Expr


@node
class CallFunction:
    """A call of a function of the text. A record result is denoted by a temporary."""

    type: CType
    span: Span
    function: FunctionDef
    args: tuple[Expr, ...]


@node
class CallHelper:
    """A helper by number; every argument is a pointer or a 64-bit integer."""

    type: CType
    span: Span
    id: int
    args: tuple[Expr, ...]


@node
class CallPointer:
    """Host target: a call of the function that a pointer points at."""

    type: CType
    span: Span
    pointer: Expr
    called: Function
    args: tuple[Expr, ...]


@node
class Intrinsic:
    """An operation that LLVM has: name is its own word ("memcpy", "bswap16", ...)."""

    type: CType
    span: Span
    name: str
    args: tuple[Expr, ...]


@node
class Atomic:
    """op: add, sub, and, or, xor, xchg (value: the operand) or cmpxchg (value: expected, desired). Gives the
    old value, or with is_new the new one."""

    type: CType
    span: Span
    op: str
    pointer: Expr
    values: tuple[Expr, ...]
    is_new: bool = False


@node
class StmtExpr:
    """body, then result; a place if result is one."""

    type: CType
    span: Span
    body: tuple[Stmt, ...]
    result: Expr | None


@node
class Zero:
    """Fills place with zeros (an initialiser's first step)."""

    type: CType
    span: Span
    place: Expr


Expr = (
    Const | FloatConst | StringAddress | VarRef | Deref | MemberRef | Load | KernelRead | AddressOf | MapAddress |
    FunctionAddress | Cast | Unary | Binary | PointerAdd | PointerDiff | Logical | Conditional | Assign |
    CopyRecord | Update | Comma | CallFunction | CallHelper | CallPointer | Intrinsic | Atomic | StmtExpr | Zero
)


@node
class Block:
    span: Span
    body: tuple[Stmt, ...]


@node
class Declare:
    """A local begins to live; init: the expressions that initialise it, in order."""

    span: Span
    var: LocalVar
    init: tuple[Expr, ...]


@node
class ExprStmt:
    span: Span
    expr: Expr


@node
class If:
    span: Span
    condition: Expr
    yes: Stmt
    no: Stmt | None


@node
class Loop:
    """for and while (is_post_tested False) and do-while. condition None: for ever. unroll: None, or what a
    pragma asked for: 0 for "as far as possible", 1 for "never", else the count."""

    span: Span
    init: tuple[Stmt, ...]
    condition: Expr | None
    step: Expr | None
    body: Stmt
    is_post_tested: bool = False
    unroll: int | None = None


@node
class Case:
    """A range of values (low == high for a single one) that enters the switch here; None: default."""

    span: Span
    low: int | None
    high: int | None
    body: tuple[Stmt, ...]


@node
class Switch:
    """body holds Cases at its top level."""

    span: Span
    value: Expr
    body: Stmt


@node
class Break:
    span: Span


@node
class Continue:
    span: Span


@node
class Goto:
    span: Span
    name: str


@node
class Label:
    span: Span
    name: str
    body: Stmt


@node
class Return:
    span: Span
    value: Expr | None


@node
class Asm:
    """A compiler barrier; operands: values that it keeps alive (asm volatile("" : : "r"(x)))."""

    span: Span
    operands: tuple[Expr, ...] = ()


Stmt = Block | Declare | ExprStmt | If | Loop | Case | Switch | Break | Continue | Goto | Label | Return | Asm
Node = Expr | Stmt


@dataclass(slots=True)
class Unit:
    """A checked text: its functions with bodies, maps and globals in order."""

    filename: str
    functions: list[FunctionDef] = field(default_factory=list)
    maps: list[MapDef] = field(default_factory=list)
    globals: list[GlobalVar] = field(default_factory=list)
    license: str = "GPL"
