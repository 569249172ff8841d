"""C types as ctypes classes: of the same size, with every member where C has it.

A record without bit-fields becomes a packed structure whose padding is spelled out as char arrays `__pad_N` (N: the index
of the member behind it) and `__pad_end`, as BCC does, so that any C layout fits; anonymous members are `__anonN`. Bit-fields
are left to ctypes where it puts them where C does, and otherwise are properties over raw bytes named `__bits_N`.

Classes made here print their members and compare by them. They are ctypes structures all the same, so scripts may take
their address, cast them, and build them from positional arguments that count the padding."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Sequence
from typing import Any

from cfront.ctype import Array as ArrayType
from cfront.ctype import CType, Enum, Field, Integer, Pointer, Record

__all__ = ["Member", "ctypes_from_ctype", "is_hidden", "members"]

_SIMPLE: dict[str, Any] = {
    "_Bool": ctypes.c_bool, "char": ctypes.c_char, "signed char": ctypes.c_byte, "unsigned char": ctypes.c_ubyte,
    "short": ctypes.c_short, "unsigned short": ctypes.c_ushort, "int": ctypes.c_int, "unsigned int": ctypes.c_uint,
    "long": ctypes.c_long, "unsigned long": ctypes.c_ulong, "long long": ctypes.c_longlong,
    "unsigned long long": ctypes.c_ulonglong,
}
_PACKED: dict[str, Any] = {"_pack_": 1, "_layout_": "ms"}
_BY_SIZE = {1: (ctypes.c_ubyte, ctypes.c_byte), 2: (ctypes.c_ushort, ctypes.c_short), 4: (ctypes.c_uint, ctypes.c_int),
           8: (ctypes.c_ulonglong, ctypes.c_longlong), 16: (ctypes.c_ulonglong * 2, ctypes.c_longlong * 2)}


def is_hidden(name: str) -> bool:
    """Whether a member of a class made here is none of C's."""
    return name.startswith(("__pad_", "__bits_"))


class Member:
    """A member of a ctypes class. offset: in bytes; of a bit-field that of its unit, bit: from the unit's least significant
    bit, width: in bits (0 for an ordinary member)."""

    __slots__ = ("bit", "kind", "name", "offset", "width")

    def __init__(self, name: str, kind: Any, offset: int, bit: int = 0, width: int = 0) -> None:
        self.name, self.kind, self.offset, self.bit, self.width = name, kind, offset, bit, width


def members(kind: Any) -> list[Member]:
    """The members of a ctypes structure or union, of ours or anybody's, in the order of their places."""
    found = [_member(kind, *row) for row in kind._fields_ if not row[0].startswith("__bits_")]
    found += [Member(name, inner, one.offset, one.bit_offset, one.bit_size or 0) for name, inner, one in getattr(kind, "_bits_", ())]
    return sorted(found, key=lambda one: one.offset * 8 + one.bit) if hasattr(kind, "_bits_") else found


def _member(kind: Any, name: str, inner: Any, width: int = 0) -> Member:
    place = getattr(kind, name)
    return Member(name, inner, place.offset, place.size & 0xFFFF if width else 0, width)


class _Shown:
    """Prints and compares by the members of C. The hash is of what the members are now: do not change a key in use."""

    __slots__ = ()
    _shown_: tuple[str, ...] = ()

    def _values(self) -> tuple[Any, ...]:
        return tuple(_comparable(getattr(self, name)) for name in self._shown_)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Shown):
            return NotImplemented
        return self._shown_ == other._shown_ and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        rows = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self._shown_)
        return f"{type(self).__name__}({rows})"


class _Struct(_Shown, ctypes.Structure):
    """Base of structs."""


class _Union(_Shown, ctypes.Union):
    """Base of unions."""

    def _values(self) -> tuple[Any, ...]:
        return (bytes(self),)


def _comparable(value: Any) -> Any:
    return tuple(_comparable(one) for one in value) if isinstance(value, ctypes.Array) else value


def _shown(value: Any) -> str:
    return f"[{', '.join(_shown(one) for one in value)}]" if isinstance(value, ctypes.Array) else repr(value)


@functools.lru_cache(maxsize=256)
def ctypes_from_ctype(type: CType) -> Any:
    """The ctypes class with the size and layout of a C type, the same one each time. A pointer is an unsigned 64-bit
    integer, an enum its integer, a type without members or size an empty array of bytes."""
    return _class_of(type, {})


def _class_of(type: CType, known: dict[int, Any]) -> Any:
    if isinstance(type, Enum):
        type = type.base
    if isinstance(type, Integer):
        return _SIMPLE[type.name] if type.name in _SIMPLE else _BY_SIZE[type.size][type.is_signed]
    if isinstance(type, Pointer):
        return ctypes.c_ulonglong
    if isinstance(type, ArrayType):
        return _class_of(type.element, known) * (type.count or 0)
    if isinstance(type, Record) and type.fields is not None:
        if id(type) not in known:
            known[id(type)] = _record_class(type, known)
        return known[id(type)]
    return ctypes.c_ubyte * type.size


def _record_class(record: Record, known: dict[int, Any]) -> Any:
    has_bits = any(one.bit_size is not None for one in record.fields or ())
    if has_bits:
        made = _made(record, _rows(record, known, needs_pads=False), {})
        if _is_laid_out(record, made):
            return made
        return _with_bit_properties(record, known)
    if record.tag == "union":
        return _union_class(record, _rows(record, known, needs_pads=False))
    return _made(record, _rows(record, known, needs_pads=True), _PACKED)


def _union_class(record: Record, rows: list[tuple[Any, ...]]) -> Any:
    """A union, whose size ctypes' own alignment mostly gives; otherwise its padding is a member."""
    made = _made(record, rows, {})
    if ctypes.sizeof(made) == record.size:
        return made
    return _made(record, [*rows, ("__pad_end", ctypes.c_char * record.size)], _PACKED)


def _made(record: Record, rows: list[tuple[Any, ...]], body: dict[str, Any]) -> Any:
    anonymous = [name for name, *_ in rows if name.startswith("__anon")]
    shown: list[str] = []
    for name, kind, *_ in rows:
        shown += kind._shown_ if name in anonymous else () if is_hidden(name) else (name,)
    base: Any = _Union if record.tag == "union" else _Struct
    whole = {"_shown_": tuple(shown), **({"_anonymous_": anonymous} if anonymous else {}), **body, "_fields_": rows}
    return type(base)(record.name or "anonymous", (base,), whole)


def _rows(record: Record, known: dict[int, Any], *, needs_pads: bool) -> list[tuple[Any, ...]]:
    """The _fields_ of a record's class."""
    rows: list[tuple[Any, ...]] = []
    anonymous = itertools.count()
    end = 0
    for index, one in enumerate(record.fields or ()):
        if needs_pads and one.offset > end:
            rows.append((f"__pad_{index}", ctypes.c_char * (one.offset - end)))
        kind = _class_of(one.type, known)
        name = one.name or f"__anon{next(anonymous)}"
        rows.append((name, kind) if one.bit_size is None else (name, kind, one.bit_size))
        end = one.offset + ctypes.sizeof(kind)
    if needs_pads and record.size > end:
        rows.append(("__pad_end", ctypes.c_char * (record.size - end)))
    return rows


def _is_laid_out(record: Record, made: Any) -> bool:
    """Whether ctypes put every member where C has it."""
    return ctypes.sizeof(made) == record.size and all(
        _bit_of(getattr(made, one.name), one.bit_size is not None) == one.offset * 8 + one.bit_offset
        for one in record.fields or () if one.name)


def _bit_of(member: Any, is_bits: bool) -> int:
    """The first bit of a member. Of a bit-field, what ctypes calls size is its width and its place in the unit."""
    return int(member.offset) * 8 + (int(member.size) & 0xFFFF if is_bits else 0)


def _with_bit_properties(record: Record, known: dict[int, Any]) -> Any:
    """A class whose bit-fields are properties: what lies between the ordinary members is raw bytes."""
    rows: list[tuple[Any, ...]] = []
    anonymous = itertools.count()
    end = 0
    ordinary = [one for one in record.fields or () if one.bit_size is None]
    is_union = record.tag == "union"
    for index, one in enumerate(ordinary):
        if one.offset > end and not is_union:
            rows.append((f"__bits_{index}", ctypes.c_char * (one.offset - end)))
        kind = _class_of(one.type, known)
        rows.append((one.name or f"__anon{next(anonymous)}", kind))
        end = one.offset + ctypes.sizeof(kind)
    if is_union or record.size > end:
        rows.append(("__bits_end", ctypes.c_char * (record.size if is_union else record.size - end)))
    bits = [one for one in record.fields or () if one.bit_size is not None]
    body: dict[str, Any] = {one.name: _bit_property(one) for one in bits}
    made = _made(record, rows, {**_PACKED, "__init__": _init_with(bits, _Union if is_union else _Struct), **body})
    made._shown_ = _in_order(record, made._shown_, [one.name for one in bits])
    made._bits_ = [(one.name, _class_of(one.type, known), one) for one in bits]
    return made


def _in_order(record: Record, ordinary: Sequence[str], bits: Sequence[str]) -> tuple[str, ...]:
    """The members' names as C has them, those of anonymous members behind the rest."""
    named = [one.name for one in record.fields or () if one.name in ordinary or one.name in bits]
    return (*named, *(one for one in ordinary if one not in named))


def _bit_property(field: Field) -> property:
    first, width = field.offset * 8 + field.bit_offset, field.bit_size or 0
    start, end, shift, mask = first // 8, (first + width + 7) // 8, first % 8, (1 << width) - 1
    kind = field.type.base if isinstance(field.type, Enum) else field.type
    is_signed = isinstance(kind, Integer) and kind.is_signed

    def get(one: Any) -> int:
        value = int.from_bytes(bytes(one)[start:end], "little") >> shift & mask
        return value - (1 << width) if is_signed and value >> (width - 1) else value

    def put(one: Any, value: int) -> None:
        memory = (ctypes.c_ubyte * ctypes.sizeof(one)).from_buffer(one)
        whole = int.from_bytes(bytes(memory[start:end]), "little") & ~(mask << shift) | (value & mask) << shift
        memory[start:end] = list(whole.to_bytes(end - start, "little"))

    return property(get, put)


def _init_with(bits: Sequence[Field], base: Any) -> Any:
    """__init__ that takes the bit-fields by name; the rest as ctypes does."""
    names = {one.name for one in bits}

    def init(self: Any, *given: Any, **named: Any) -> None:
        base.__init__(self, *given, **{name: value for name, value in named.items() if name not in names})
        for name in names & named.keys():
            setattr(self, name, named[name])

    return init
