"""C types as values: size, alignment, layout, conversions.

Integers are interned by name; arrays, pointers and functions compare by structure; records and enums by
identity, because C does. A record may be incomplete (fields is None) or lazy (its fields are produced by
a loader on first use, which is how 126,000 types of a kernel cost nothing until they are named).
Qualifiers are not kept, but for volatile, which is said of pointers, members and variables.

Layout follows the System V ABI as gcc and clang implement it for little-endian 64-bit targets, bit-fields
included: a bit-field lies in the storage unit of its type that has room for it, else it starts a new one;
a zero-width one closes the unit; `packed` drops every alignment to one byte and lets bit-fields straddle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "BOOL",
    "CHAR",
    "INT",
    "INT128",
    "LLONG",
    "LONG",
    "SCHAR",
    "SHORT",
    "UCHAR",
    "UINT",
    "UINT128",
    "ULLONG",
    "ULONG",
    "USHORT",
    "VOID",
    "Array",
    "CType",
    "Enum",
    "Field",
    "Function",
    "Integer",
    "Member",
    "Param",
    "Pointer",
    "Record",
    "RecordMember",
    "Void",
    "arithmetic_type",
    "compatible",
    "is_scalar",
    "lay_out",
    "promote",
    "round_up",
    "value_type",
]


def round_up(value: int, align: int) -> int:
    return -(-value // align) * align


class CType:
    """Base of all types. size and align in bytes; size 0 for void, functions and incomplete types."""

    __slots__ = ()
    size: int
    align: int

    @property
    def is_complete(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Void(CType):
    size: int = 0
    align: int = 1

    @property
    def is_complete(self) -> bool:
        return False

    def __str__(self) -> str:
        return "void"


@dataclass(frozen=True, slots=True)
class Integer(CType):
    """An integer type. rank orders conversions (C11 6.3.1.1); name is its spelling."""

    name: str
    size: int
    is_signed: bool
    rank: int

    @property
    def align(self) -> int:  # type: ignore[override]
        return self.size

    @property
    def bits(self) -> int:
        return 1 if self.rank == 0 else self.size * 8

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Pointer(CType):
    """is_volatile: every access through it is to be kept. tag: what BTF says of the target beyond its type ("kptr", "rcu",
    "user", ...); types that differ by it only are the same."""

    target: CType
    size: int = 8
    align: int = 8
    is_volatile: bool = False
    tag: str = field(default="", compare=False)

    def __str__(self) -> str:
        if isinstance(self.target, (Array, Function)):
            return str(self.target).replace("(*)", "(**)", 1) if "(*)" in str(self.target) else _with_star(self.target)
        return f"{self.target} *".replace("* *", "**")


def _with_star(target: CType) -> str:
    if isinstance(target, Array):
        return f"{target.element} (*){target.suffix}"
    assert isinstance(target, Function)
    return f"{target.result} (*)({target.params_text})"


@dataclass(frozen=True, slots=True)
class Array(CType):
    """count is None for a flexible array member or an array whose initialiser decides."""

    element: CType
    count: int | None

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.element.size * (self.count or 0)

    @property
    def align(self) -> int:  # type: ignore[override]
        return self.element.align

    @property
    def is_complete(self) -> bool:
        return self.count is not None

    @property
    def suffix(self) -> str:
        inner = self.element.suffix if isinstance(self.element, Array) else ""
        return f"[{'' if self.count is None else self.count}]{inner}"

    def __str__(self) -> str:
        base: CType = self
        while isinstance(base, Array):
            base = base.element
        return f"{base}{self.suffix}"


class Param(NamedTuple):
    name: str
    type: CType


@dataclass(frozen=True, slots=True)
class Function(CType):
    """is_open: declared with (), which says nothing of its parameters."""

    result: CType
    params: tuple[Param, ...]
    is_variadic: bool = False
    size: int = 0
    align: int = 1
    is_open: bool = False

    @property
    def is_complete(self) -> bool:
        return False

    @property
    def params_text(self) -> str:
        words = [str(one.type) for one in self.params] + (["..."] if self.is_variadic else [])
        return ", ".join(words) or "void"

    def __str__(self) -> str:
        return f"{self.result} ({self.params_text})"


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a record. name is "" for an anonymous one. offset: bytes from the record's start to the
    member (for a bit-field: to its storage unit); bit_size: None for an ordinary member; bit_offset counts
    from the unit's least significant bit."""

    name: str
    type: CType
    offset: int
    bit_offset: int = 0
    bit_size: int | None = None
    is_volatile: bool = False


class Member(NamedTuple):
    """A member found by name: offset counts from the outermost record."""

    offset: int
    type: CType
    bit_offset: int = 0
    bit_size: int | None = None
    is_volatile: bool = False


class Record(CType):
    """A struct or union. tag: "struct" or "union"; name: "" if it has none."""

    __slots__ = ("_align", "_by_name", "_fields", "_loader", "_size", "is_packet", "name", "tag")

    def __init__(
        self,
        tag: str,
        name: str,
        fields: Sequence[Field] | None = None,
        size: int = 0,
        align: int = 1,
        loader: Callable[[], tuple[Sequence[Field], int, int]] | None = None,
    ) -> None:
        self.tag = tag
        self.name = name
        self.is_packet = False  # one of BCC's packet headers: a pointer to it is an offset into the packet
        self._fields: tuple[Field, ...] | None = None if fields is None else tuple(fields)
        self._size = size
        self._align = align
        self._loader = loader
        self._by_name: dict[str, Member] | None = None

    def complete(self, fields: Sequence[Field], size: int, align: int) -> None:
        """Gives an incomplete record its fields, once."""
        assert self._fields is None, f"{self} is already complete"
        self._fields, self._size, self._align = tuple(fields), size, align

    def _load(self) -> None:
        if self._loader is not None:
            loader, self._loader = self._loader, None
            self.complete(*loader())

    @property
    def fields(self) -> tuple[Field, ...] | None:
        """The members in order, None while the record is incomplete."""
        self._load()
        return self._fields

    @property
    def size(self) -> int:  # type: ignore[override]
        self._load()
        return self._size

    @property
    def align(self) -> int:  # type: ignore[override]
        self._load()
        return self._align

    @property
    def is_complete(self) -> bool:
        return self._loader is not None or self._fields is not None

    def member(self, name: str) -> Member | None:
        """The member called name, looking through anonymous members; None if there is none."""
        if self._by_name is None:
            if self.fields is None:
                return None
            self._by_name = dict(_members(self, 0))
        return self._by_name.get(name)

    def member_names(self) -> list[str]:
        self.member("")
        return list(self._by_name or ())

    def __str__(self) -> str:
        return f"{self.tag} {self.name}" if self.name else f"{self.tag} <anonymous>"

    __repr__ = __str__


def _members(record: Record, base: int) -> Iterator[tuple[str, Member]]:
    for one in record.fields or ():
        if one.name:
            yield one.name, Member(base + one.offset, one.type, one.bit_offset, one.bit_size, one.is_volatile)
        elif isinstance(one.type, Record):
            yield from _members(one.type, base + one.offset)


class Enum(CType):
    """An enumeration; values by enumerator, None while it is only declared. Its representation is base."""

    __slots__ = ("base", "name", "values")

    def __init__(self, name: str, values: dict[str, int] | None, base: Integer) -> None:
        self.name = name
        self.values = values
        self.base = base

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.base.size

    @property
    def align(self) -> int:  # type: ignore[override]
        return self.base.size

    @property
    def is_complete(self) -> bool:
        return self.values is not None

    def __str__(self) -> str:
        return f"enum {self.name}" if self.name else "enum <anonymous>"

    __repr__ = __str__


VOID = Void()
BOOL = Integer("_Bool", 1, False, 0)
CHAR = Integer("char", 1, True, 1)
SCHAR = Integer("signed char", 1, True, 1)
UCHAR = Integer("unsigned char", 1, False, 1)
SHORT = Integer("short", 2, True, 2)
USHORT = Integer("unsigned short", 2, False, 2)
INT = Integer("int", 4, True, 3)
UINT = Integer("unsigned int", 4, False, 3)
LONG = Integer("long", 8, True, 4)
ULONG = Integer("unsigned long", 8, False, 4)
LLONG = Integer("long long", 8, True, 5)
ULLONG = Integer("unsigned long long", 8, False, 5)
INT128 = Integer("__int128", 16, True, 6)
UINT128 = Integer("unsigned __int128", 16, False, 6)

_UNSIGNED = {INT: UINT, LONG: ULONG, LLONG: ULLONG, INT128: UINT128}


def value_type(type: CType) -> CType:
    """The type of a value read from an object of this type: an enum reads as its base, an array as a
    pointer to its element, a function as a pointer to it."""
    if isinstance(type, Enum):
        return type.base
    if isinstance(type, Array):
        return Pointer(type.element)
    if isinstance(type, Function):
        return Pointer(type)
    return type


def is_scalar(type: CType) -> bool:
    return isinstance(type, (Integer, Enum, Pointer))


def promote(type: Integer, bit_size: int | None = None) -> Integer:
    """Integer promotion (C11 6.3.1.1): everything that int can hold becomes int, bit-fields of wider types too (as gcc and
    clang have it); one wider than int is of its type (as in clang; gcc has a type for each width)."""
    if type.rank < INT.rank:
        return INT
    if bit_size is not None and bit_size <= 32:
        return INT if bit_size < 32 or type.is_signed else UINT
    return type


def arithmetic_type(left: Integer, right: Integer) -> Integer:
    """The common type of two promoted operands (C11 6.3.1.8)."""
    if left == right:
        return left
    if left.is_signed == right.is_signed:
        return left if left.rank >= right.rank else right
    unsigned, signed = (right, left) if left.is_signed else (left, right)
    if unsigned.rank >= signed.rank:
        return unsigned
    if signed.size > unsigned.size:
        return signed
    return _UNSIGNED[signed]


def compatible(one: CType, other: CType) -> bool:
    """Whether two types are the same for assignment of pointers to them (C11 6.2.7, without qualifiers)."""
    if one is other or one == other:
        return True
    if isinstance(one, Pointer) and isinstance(other, Pointer):
        return compatible(one.target, other.target)
    if isinstance(one, Array) and isinstance(other, Array):
        same_count = one.count is None or other.count is None or one.count == other.count
        return same_count and compatible(one.element, other.element)
    if isinstance(one, Enum) or isinstance(other, Enum):
        return value_type(one) == value_type(other)
    if isinstance(one, Integer) and isinstance(other, Integer):
        return one.size == other.size and one.is_signed == other.is_signed
    if isinstance(one, Record) and isinstance(other, Record):
        return one.tag == other.tag and one.name == other.name and bool(one.name)
    if isinstance(one, Function) and isinstance(other, Function):
        return (
            compatible(one.result, other.result)
            and (one.is_open or other.is_open or (
                len(one.params) == len(other.params)
                and all(compatible(a.type, b.type) for a, b in zip(one.params, other.params, strict=True))))
        )
    return False


class RecordMember(NamedTuple):
    """A member before layout. bit_size: None if it is not a bit-field; align: 0, or what an `aligned`
    attribute asks for; is_packed: it has the `packed` attribute of its own."""

    name: str
    type: CType
    bit_size: int | None = None
    align: int = 0
    is_packed: bool = False
    is_volatile: bool = False


def lay_out(
    tag: str, members: Sequence[RecordMember], is_packed: bool = False, min_align: int = 0, pack: int = 0
) -> tuple[list[Field], int, int]:
    """(fields, size, align) of a record with these members, in bytes. pack: the bound of #pragma pack on the
    alignment of members, 0 for none."""
    fields: list[Field] = []
    bits = 0  # the next free bit (of a union: always 0)
    end = 0
    align = max(1, min_align)
    for one in members:
        natural = 1 if is_packed or one.is_packed else one.type.align
        natural = max(natural, one.align)
        if pack:  # rules over `packed` where a bit-field aligns its record
            natural = min(natural if one.bit_size is None else max(one.type.align, one.align), pack)
        if one.bit_size is None:
            bits = round_up(bits, natural * 8)
            align = max(align, natural)
            fields.append(Field(one.name, one.type, bits // 8, is_volatile=one.is_volatile))
            bits += one.type.size * 8
        elif one.bit_size == 0:
            bits = round_up(bits, one.type.size * 8)
        else:
            field, bits = _place_bits(one, bits, is_packed or one.is_packed or bool(pack))
            if one.name:
                align = max(align, natural)
                fields.append(field)
        end = max(end, bits)
        if tag == "union":
            bits = 0
    return fields, round_up(round_up(end, 8) // 8, align), align


def _place_bits(one: RecordMember, bits: int, is_packed: bool) -> tuple[Field, int]:
    assert one.bit_size is not None
    unit = one.type.size * 8
    if not is_packed and bits // unit != (bits + one.bit_size - 1) // unit:
        bits = round_up(bits, unit)
    start = bits // unit * unit if bits // unit == (bits + one.bit_size - 1) // unit else bits // 8 * 8
    return Field(one.name, one.type, start // 8, bits - start, one.bit_size, one.is_volatile), bits + one.bit_size
