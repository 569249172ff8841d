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
    "CallExtern",
    "CallFunction",
    "CallHelper",
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


class LocalVar:
    """A local variable or parameter."""

    __slots__ = ("is_address_taken", "is_param", "name", "span", "type")

    def __init__(self, name: str, type: CType, span: Span, is_param: bool = False) -> None:
        self.name = name
        self.type = type
        self.span = span
        self.is_param = is_param
        self.is_address_taken = False


class GlobalVar:
    """A global. init: its bytes, None for zeros; relocations inside are (offset, GlobalVar | bytes literal)."""

    __slots__ = ("addresses", "init", "is_const", "is_extern", "name", "section", "span", "type")

    def __init__(self, name: str, type: CType, span: Span, is_const: bool = False, is_extern: bool = False) -> None:
        self.name = name
        self.type = type
        self.span = span
        self.is_const = is_const
        self.is_extern = is_extern
        self.section = ""
        self.init: bytes | None = None
        self.addresses: list[tuple[int, GlobalVar | FunctionDef, int]] = []


class MapDef:
    """A table of the text. event: the type that its last output call carries, None if there is none."""

    __slots__ = ("event", "flags", "key", "kind", "max_entries", "name", "span", "type", "value")

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


class FunctionDef:
    """A function with a body. section: where a program goes, "" for a function that programs call."""

    __slots__ = ("body", "is_noinline", "is_static", "locals", "name", "params", "section", "span", "type")

    def __init__(self, name: str, type: Function, span: Span, is_static: bool) -> None:
        self.name = name
        self.type = type
        self.span = span
        self.is_static = is_static
        self.is_noinline = False
        self.section = ""
        self.params: list[LocalVar] = []
        self.locals: list[LocalVar] = []
        self.body: Block | None = None




@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """An integer, or a null or constant pointer. value is in the range of the type."""

    type: CType
    span: Span
    value: int


@dataclass(frozen=True, slots=True, eq=False)
class StringAddress:
    """The address of a string literal's bytes, terminator included."""

    type: CType
    span: Span
    content: bytes


@dataclass(frozen=True, slots=True, eq=False)
class VarRef:
    type: CType
    span: Span
    var: LocalVar | GlobalVar


@dataclass(frozen=True, slots=True, eq=False)
class Deref:
    """The object that pointer points at."""

    type: CType
    span: Span
    pointer: Expr


@dataclass(frozen=True, slots=True, eq=False)
class MemberRef:
    """A member of the record at base (a place), offset bytes in; a bit-field if bit_size is not None."""

    type: CType
    span: Span
    base: Expr
    offset: int
    bit_offset: int = 0
    bit_size: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """The scalar in place."""

    type: CType
    span: Span
    place: Expr


@dataclass(frozen=True, slots=True, eq=False)
class KernelRead:
    """The object at place, whose address is a kernel pointer, read by a helper; a place if type is a record."""

    type: CType
    span: Span
    place: Expr


@dataclass(frozen=True, slots=True, eq=False)
class AddressOf:
    type: CType
    span: Span
    place: Expr


@dataclass(frozen=True, slots=True, eq=False)
class MapAddress:
    type: CType
    span: Span
    map: MapDef


@dataclass(frozen=True, slots=True, eq=False)
class FunctionAddress:
    type: CType
    span: Span
    function: FunctionDef


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """operand as another scalar type; to void: evaluated and dropped."""

    type: CType
    span: Span
    operand: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Unary:
    """op: "-", "~" on an integer, or "!" on any scalar."""

    type: CType
    span: Span
    op: str
    operand: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """op: + - * / % & | ^ << >> on integers of .type (a shift's right side may differ), or a comparison
    of two operands of the same type giving int."""

    type: CType
    span: Span
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class PointerAdd:
    """pointer + index * scale bytes; index is a 64-bit integer."""

    type: CType
    span: Span
    pointer: Expr
    index: Expr
    scale: int


@dataclass(frozen=True, slots=True, eq=False)
class PointerDiff:
    type: CType
    span: Span
    left: Expr
    right: Expr
    scale: int


@dataclass(frozen=True, slots=True, eq=False)
class Logical:
    """op: "&&" or "||"."""

    type: CType
    span: Span
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Conditional:
    """yes is None for `condition ?: no`."""

    type: CType
    span: Span
    condition: Expr
    yes: Expr | None
    no: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Assign:
    """Stores a scalar; its value is what was stored."""

    type: CType
    span: Span
    place: Expr
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class CopyRecord:
    """Copies the record at source (a place) to place; denotes place."""

    type: CType
    span: Span
    place: Expr
    source: Expr


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
class Comma:
    type: CType
    span: Span
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class CallFunction:
    """A call of a function of the text. A record result is denoted by a temporary."""

    type: CType
    span: Span
    function: FunctionDef
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CallHelper:
    """A helper by number; every argument is a pointer or a 64-bit integer."""

    type: CType
    span: Span
    id: int
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CallExtern:
    """Host target: a call of a function that the process has."""

    type: CType
    span: Span
    name: str
    function: Function
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Intrinsic:
    """An operation that LLVM has: name is its own word ("memcpy", "bswap16", ...)."""

    type: CType
    span: Span
    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Atomic:
    """op: add, sub, and, or, xor, xchg (value: the operand) or cmpxchg (value: expected, desired). Gives the
    old value, or with is_new the new one."""

    type: CType
    span: Span
    op: str
    pointer: Expr
    values: tuple[Expr, ...]
    is_new: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class StmtExpr:
    """body, then result; a place if result is one."""

    type: CType
    span: Span
    body: tuple[Stmt, ...]
    result: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Zero:
    """Fills place with zeros (an initialiser's first step)."""

    type: CType
    span: Span
    place: Expr


Expr = (
    Const | StringAddress | VarRef | Deref | MemberRef | Load | KernelRead | AddressOf | MapAddress |
    FunctionAddress | Cast | Unary | Binary | PointerAdd | PointerDiff | Logical | Conditional | Assign |
    CopyRecord | Update | Comma | CallFunction | CallHelper | CallExtern | Intrinsic | Atomic | StmtExpr | Zero
)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    span: Span
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Declare:
    """A local begins to live; init: the expressions that initialise it, in order."""

    span: Span
    var: LocalVar
    init: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ExprStmt:
    span: Span
    expr: Expr


@dataclass(frozen=True, slots=True, eq=False)
class If:
    span: Span
    condition: Expr
    yes: Stmt
    no: Stmt | None


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A range of values (low == high for a single one) that enters the switch here; None: default."""

    span: Span
    low: int | None
    high: int | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Switch:
    """body holds Cases at its top level."""

    span: Span
    value: Expr
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Break:
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Continue:
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Goto:
    span: Span
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    span: Span
    name: str
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Return:
    span: Span
    value: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
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
