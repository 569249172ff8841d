"""A typed expression -> the words that a user would know it by: "sk->__sk_common.skc_num".

For diagnostics: short rather than complete; "" where no short words would help. Casts are left out."""

from __future__ import annotations

from cfront.ctype import Array, CType, Record
from cfront.tree import (
    AddressOf,
    CallFunction,
    CallHelper,
    Cast,
    Const,
    Deref,
    Expr,
    KernelRead,
    Load,
    MemberRef,
    PointerAdd,
    VarRef,
)
from cfront.uapi import HELPER_BY_ID

__all__ = ["spelled"]


def spelled(expr: Expr) -> str:
    """The words for an expression, "" if there are none that help."""
    if isinstance(expr, VarRef):
        return expr.var.name
    if isinstance(expr, (Load, KernelRead)):
        return spelled(expr.place)
    if isinstance(expr, Cast):
        return spelled(expr.operand)
    if isinstance(expr, Deref) and isinstance(expr.pointer, PointerAdd):
        inner = spelled(expr.pointer.pointer)
        return inner and f"{inner}[{_index(expr.pointer)}]"
    if isinstance(expr, Deref):
        inner = spelled(expr.pointer)
        return inner and f"*{inner}"
    if isinstance(expr, MemberRef):
        return _member(expr)
    if isinstance(expr, AddressOf):
        inner = spelled(expr.place)
        return inner and (inner if isinstance(expr.place.type, Array) else f"&{inner}")
    if isinstance(expr, PointerAdd):
        inner = spelled(expr.pointer)
        return inner and f"{inner} + {_index(expr)}"
    if isinstance(expr, CallHelper):
        return f"bpf_{HELPER_BY_ID[expr.id].name}()"
    if isinstance(expr, CallFunction):
        return f"{expr.function.name}()"
    return ""


def _index(expr: PointerAdd) -> str:
    index = expr.index.operand if isinstance(expr.index, Cast) else expr.index
    return str(index.value) if isinstance(index, Const) else spelled(index) or "..."


def _member(expr: MemberRef) -> str:
    """base->a.b of a member that may lie in unnamed ones."""
    path = _path(expr.base.type, expr.offset, expr.type, expr.bit_offset if expr.bit_size else None)
    if isinstance(expr.base, Deref):
        base, mark = spelled(expr.base.pointer), "->"
    else:
        base, mark = spelled(expr.base), "."
    return f"{base}{mark}{path}" if base and path else ""


def _path(record: CType, offset: int, type: CType, bit_offset: int | None) -> str:
    """The name of the member of that type at offset, of those in unnamed members too."""
    if not isinstance(record, Record):
        return ""
    for one in record.fields or ():
        if one.name and one.offset == offset and one.type == type and bit_offset in (None, one.bit_offset):
            return one.name
        if not one.name and one.offset <= offset < one.offset + max(one.type.size, 1):
            inner = _path(one.type, offset - one.offset, type, bit_offset)
            if inner:
                return inner
    return ""
