"""Integer constant arithmetic by C's rules, on the typed tree.

fold(expr) is the value of an integer constant expression, or None if it is not one. Values are Python
ints in the range of their type; conversions wrap as two's complement does."""

from __future__ import annotations

from cfront.ctype import BOOL, CType, Enum, Integer
from cfront.tree import AddressOf, Binary, Cast, Conditional, Const, Deref, Expr, Logical, MemberRef, PointerAdd, Unary

__all__ = ["fold", "wrap"]


def wrap(value: int, type: CType) -> int:
    """value converted to type."""
    if isinstance(type, Enum):
        type = type.base
    if type is BOOL:
        return int(value != 0)
    bits = type.size * 8
    value &= (1 << bits) - 1
    if isinstance(type, Integer) and type.is_signed and value >> (bits - 1):
        value -= 1 << bits
    return value


def _divide(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _binary(op: str, left: int, right: int, type: CType, operand: CType) -> int | None:
    bits = type.size * 8
    if op in ("/", "%"):
        if right == 0:
            return None
        quotient = _divide(left, right)
        return wrap(quotient if op == "/" else left - right * quotient, type)
    if op in ("<<", ">>"):
        if not 0 <= right < bits:
            return None
        return wrap(left << right if op == "<<" else left >> right, type)
    plain = {
        "+": left + right, "-": left - right, "*": left * right, "&": left & right, "|": left | right, "^": left ^ right,
        "<": int(left < right), ">": int(left > right), "<=": int(left <= right), ">=": int(left >= right),
        "==": int(left == right), "!=": int(left != right),
    }
    return wrap(plain[op], type)


def fold(expr: Expr) -> int | None:
    """The value of expr if it is a constant expression; division by zero and over-wide shifts are not."""
    if isinstance(expr, Const):
        return expr.value
    if isinstance(expr, Cast):
        value = fold(expr.operand)
        return None if value is None or expr.type.size == 0 else wrap(value, expr.type)
    if isinstance(expr, Unary):
        value = fold(expr.operand)
        if value is None:
            return None
        return int(not value) if expr.op == "!" else wrap(-value if expr.op == "-" else ~value, expr.type)
    if isinstance(expr, Binary):
        left = fold(expr.left)
        right = None if left is None else fold(expr.right)
        if left is None or right is None:
            return None
        return _binary(expr.op, left, right, expr.type, expr.left.type)
    if isinstance(expr, Logical):
        left = fold(expr.left)
        if left is None:
            return None
        if bool(left) == (expr.op == "||"):
            return int(expr.op == "||")
        right = fold(expr.right)
        return None if right is None else int(right != 0)
    if isinstance(expr, Conditional):
        chosen = fold(expr.condition)
        if chosen is None:
            return None
        return (chosen if expr.yes is None else fold(expr.yes)) if chosen else fold(expr.no)
    if isinstance(expr, PointerAdd):
        base, index = fold(expr.pointer), fold(expr.index)
        return None if base is None or index is None else base + index * expr.scale
    if isinstance(expr, AddressOf):
        return _place_address(expr.place)
    return None


def _place_address(place: Expr) -> int | None:
    """The address of a place below a constant pointer: the classic offsetof, &((T *)0)->member."""
    if isinstance(place, MemberRef):
        base = _place_address(place.base)
        return None if base is None else base + place.offset
    if isinstance(place, Deref):
        return fold(place.pointer)
    return None
