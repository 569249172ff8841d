"""What is C, and probably not what was meant: the questions behind warnings.

Each function takes parts of the typed tree and says whether, or what, a reader should hear of; nothing is
reported here and nothing changed. Where the answer would need more than a look at these parts, it is no: a
warning that is wrong costs more than one that is missing. The names of the groups that the warnings are in are
clang's, whose defaults decide what is asked at all."""

from __future__ import annotations

from collections.abc import Iterable

from cfront.ctype import BOOL, CType, Integer, Pointer, Record, value_type
from cfront.fold import fold, wrap
from cfront.tree import (
    AddressOf,
    Binary,
    Block,
    Break,
    CallFunction,
    Case,
    Cast,
    Comma,
    Const,
    Continue,
    Deref,
    Expr,
    ExprStmt,
    Goto,
    If,
    Intrinsic,
    Label,
    Load,
    LocalVar,
    Loop,
    MemberRef,
    PointerAdd,
    Return,
    Stmt,
    StmtExpr,
    Switch,
    VarRef,
)

__all__ = ["changed_value", "enum_of", "falls_through", "is_decided", "local_behind", "overflowed", "room_in_elements"]

_NEVER_RETURN = frozenset({"abort", "exit", "_exit", "_Exit", "__assert_fail", "longjmp"})


def changed_value(expr: Const, type: CType, bit_size: int | None = None, is_byte_of_list: bool = False) -> int | None:
    """What a constant becomes in an object of this type, if it has not the bits for it; None if it has. A negative
    number in an unsigned object is its complement, and no surprise; nor is a byte over 127 in a list of them."""
    target = value_type(type)
    if not isinstance(target, Integer) or target is BOOL or not isinstance(expr.type, Integer):
        return None
    value, bits = expr.value, target.bits if bit_size is None else bit_size
    needed = value.bit_length() if value >= 0 else (~value).bit_length() + 1
    is_made_negative = target.is_signed and value >= 0 and needed == bits and expr.type.is_signed
    if needed <= bits and (not is_made_negative or (is_byte_of_list and bit_size is None)):
        return None
    return wrap(value, target) if bit_size is None else _low_bits(value, bits, target.is_signed)


def _low_bits(value: int, bits: int, is_signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if is_signed and bits and value >> (bits - 1) else value


def overflowed(expr: Binary) -> bool:
    """Whether signed arithmetic on two constants gives what its type cannot hold."""
    left, right, type = expr.left, expr.right, expr.type
    if expr.op not in "+-*" or not isinstance(left, Const) or not isinstance(right, Const):
        return False
    if not isinstance(type, Integer) or not type.is_signed:
        return False
    exact = {"+": left.value + right.value, "-": left.value - right.value, "*": left.value * right.value}[expr.op]
    return exact != wrap(exact, type)


def is_decided(op: str, left: Expr, right: Expr) -> bool:
    """Whether a comparison compares a constant with what is of a narrower type, whose values all lie on one side of it."""
    if isinstance(left, Const):
        left, right = right, left
    if not isinstance(right, Const) or not isinstance(left, Cast) or not isinstance(right.type, Integer):
        return False
    while isinstance(left, Cast):
        left = left.operand
    type = left.type
    if not isinstance(left, Load) or not isinstance(type, Integer) or type is BOOL or type.size >= right.type.size:
        return False
    if isinstance(left.place, MemberRef) and left.place.bit_size is not None:
        return False
    low = -(1 << (type.bits - 1)) if type.is_signed else 0
    is_negative_of_unsigned = not type.is_signed and right.value < 0
    return not low <= right.value < low + (1 << type.bits) and not is_negative_of_unsigned


def enum_of(expr: Expr) -> CType | None:
    """The type of the object that a value was read from, where that is an enum with a name."""
    while isinstance(expr, Cast):
        expr = expr.operand
    if not isinstance(expr, Load) or value_type(expr.place.type) is expr.place.type:
        return None
    return expr.place.type if getattr(expr.place.type, "name", "") else None


def local_behind(expr: Expr) -> LocalVar | None:
    """The local variable that a pointer points into, None if it is not known to."""
    while isinstance(expr, (Cast, PointerAdd, Comma)):
        expr = expr.operand if isinstance(expr, Cast) else expr.pointer if isinstance(expr, PointerAdd) else expr.right
    if not isinstance(expr, AddressOf) or not isinstance(expr.type, Pointer):
        return None
    place = expr.place
    while isinstance(place, MemberRef):
        place = place.base
    return place.var if isinstance(place, VarRef) and isinstance(place.var, LocalVar) else None


def room_in_elements(pointer: Expr) -> int | None:
    """How many elements the array has that a subscripted pointer is the beginning of; None where that is not sure: the last
    member of a record may be longer than it says."""
    if not isinstance(pointer, AddressOf) or not isinstance(pointer.type, Pointer):
        return None
    place, size = pointer.place, pointer.type.target.size
    if isinstance(place, MemberRef):
        base = place.base
        if not isinstance(base.type, Record) or base.type.tag == "union" or place.offset + place.type.size >= base.type.size:
            return None
    elif not isinstance(place, (VarRef, Deref)):
        return None
    return place.type.size // size if size and place.type.size else None


class _Flow:
    """Walks a body along the ways that control may take."""

    def __init__(self) -> None:
        self.left: list[bool] = []  # of each open loop or switch: whether a break is reached
        self.repeated: list[bool] = []  # of each open loop: whether a continue is reached

    def row(self, body: Iterable[Stmt]) -> bool:
        goes_on = True
        for one in body:
            goes_on = self.falls(one) if goes_on or _has_label(one) else False
        return goes_on

    def falls(self, stmt: Stmt) -> bool:
        """Whether control may reach what follows stmt."""
        if isinstance(stmt, (Return, Goto)):
            return False
        if isinstance(stmt, (Break, Continue)):
            (self.left if isinstance(stmt, Break) else self.repeated)[-1:] = [True]
            return False
        if isinstance(stmt, Block):
            return self.row(stmt.body)
        if isinstance(stmt, Case):
            return self.row(stmt.body)
        if isinstance(stmt, Label):
            return self.falls(stmt.body)
        if isinstance(stmt, If):
            return self.choice(stmt)
        if isinstance(stmt, Loop):
            return self.loop(stmt)
        if isinstance(stmt, Switch):
            return self.switch(stmt)
        return not isinstance(stmt, ExprStmt) or self.returns(stmt.expr)

    def choice(self, stmt: If) -> bool:
        known = fold(stmt.condition)
        yes = self.falls(stmt.yes) if known is None or known or _has_label(stmt.yes) else False
        if stmt.no is None:
            return yes or not known
        no = self.falls(stmt.no) if not known or _has_label(stmt.no) else False
        return yes or no

    def loop(self, stmt: Loop) -> bool:
        known = 1 if stmt.condition is None else fold(stmt.condition)
        self.left.append(False)
        self.repeated.append(False)
        falls = self.falls(stmt.body)
        left, repeated = self.left.pop(), self.repeated.pop()
        if stmt.is_post_tested:
            return left or (not known and (falls or repeated))
        return left or not known

    def switch(self, stmt: Switch) -> bool:
        self.left.append(False)
        falls = self.falls(stmt.body)
        return self.left.pop() or falls or not _has_default(stmt.body)

    def returns(self, expr: Expr) -> bool:
        while isinstance(expr, (Cast, Comma)):
            expr = expr.operand if isinstance(expr, Cast) else expr.right
        if isinstance(expr, StmtExpr):
            return self.row(expr.body)
        if isinstance(expr, CallFunction):
            return expr.function.body is not None or expr.function.name not in _NEVER_RETURN
        return not (isinstance(expr, Intrinsic) and expr.name == "unreachable")


def _parts(stmt: Stmt) -> tuple[Stmt, ...]:
    if isinstance(stmt, (Block, Case)):
        return stmt.body
    if isinstance(stmt, If):
        return (stmt.yes,) if stmt.no is None else (stmt.yes, stmt.no)
    return (stmt.body,) if isinstance(stmt, (Loop, Label, Switch)) else ()


def _has_label(stmt: Stmt) -> bool:
    """Whether control may come into stmt from elsewhere: to a label, or to a case."""
    return isinstance(stmt, (Label, Case)) or (not isinstance(stmt, Switch) and any(_has_label(one) for one in _parts(stmt)))


def _has_default(stmt: Stmt) -> bool:
    if isinstance(stmt, Case) and stmt.low is None:
        return True
    return not isinstance(stmt, Switch) and any(_has_default(one) for one in _parts(stmt))


def falls_through(body: Stmt) -> bool:
    """Whether control may reach the end of a function's body."""
    return _Flow().falls(body)
