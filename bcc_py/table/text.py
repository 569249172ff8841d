"""Keys and leaves as text, in BCC's format: key_sprintf, leaf_scanf and their like.

Input: a C type, and bytes or text; output: the other one. Numbers are `0x2a`; char and byte arrays `"text"` up to the first
zero; other arrays `[ 0x1 0x2 ]`; structs `{ 0x1 "a" }`. Reading takes decimal and octal numbers too, and any white space
between words.

BCC writes what LLVM's type of a struct holds: bit-fields that lie together are one number; of a union the member with the
greatest alignment (of the first such, the largest) is written, and what is left of the union as text; padding is written
only where LLVM cannot leave it to alignment. Differences from BCC, on purpose: a pointer is its number, not `0xlx`; text
ends with its array; 64-bit numbers above the greatest signed one can be read back, and 128-bit numbers are whole.

Source: clang/lib/CodeGen/CGRecordLayoutBuilder.cpp for the units."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from cfront.ctype import Array, CType, Enum, Integer, Pointer, Record, round_up

__all__ = ["text_of_value", "value_of_text"]

_NUMBER = re.compile(rb"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_SPACE = re.compile(rb"\s*")


class _Number(NamedTuple):
    offset: int
    size: int


class _Text(NamedTuple):
    offset: int
    size: int


class _Unit(NamedTuple):
    """An element of LLVM's struct: of a C type, or (type None) a number or bytes that stand for bit-fields or padding."""

    offset: int
    size: int
    align: int
    type: CType | None = None
    is_bytes: bool = False


_Piece = bytes | _Number | _Text


def text_of_value(type: CType, value: bytes) -> bytes:
    """The text of a value of that type."""
    return b"".join(_written(one, value) for one in _pieces(type, 0))


def value_of_text(type: CType, text: bytes) -> bytes | None:
    """The value that text stands for, in as many bytes as the type has; None if it is none. What stands behind the last
    number or string is not looked at."""
    made = bytearray(type.size)
    pieces = list(_pieces(type, 0))
    while pieces and isinstance(pieces[-1], bytes):
        pieces.pop()
    at = 0
    for one in pieces:
        end = _passed(one, text, at) if isinstance(one, bytes) else _read(one, text, at, made)
        if end is None:
            return None
        at = end
    return bytes(made)


def _written(piece: _Piece, value: bytes) -> bytes:
    if isinstance(piece, bytes):
        return piece
    raw = value[piece.offset : piece.offset + piece.size]
    if isinstance(piece, _Text):
        return raw.partition(b"\0")[0]
    return b"0x%x" % int.from_bytes(raw, "little")


def _passed(literal: bytes, text: bytes, at: int) -> int | None:
    """Where text goes on behind literal; white space in it stands for any, or for none."""
    for word in re.findall(rb"\s+|\S", literal):
        if word.isspace():
            at = _end_of(_SPACE.match(text, at))
        elif text.startswith(word, at):
            at += len(word)
        else:
            return None
    return at


def _read(piece: _Number | _Text, text: bytes, at: int, made: bytearray) -> int | None:
    if isinstance(piece, _Text):
        end = text.find(b'"', at)
        if end < 0 or end - at > piece.size:
            return None
        made[piece.offset : piece.offset + end - at] = text[at:end]
        return end
    found = _NUMBER.match(text, at)
    if found is None:
        return None
    digits = found[2].decode()
    number = int(digits, 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10)
    number = -number if found[1] == b"-" else number
    made[piece.offset : piece.offset + piece.size] = (number & ((1 << piece.size * 8) - 1)).to_bytes(piece.size, "little")
    return found.end()


def _end_of(found: re.Match[bytes] | None) -> int:
    assert found is not None, "the pattern takes nothing too"
    return found.end()


# ---- a type as pieces ----


def _pieces(type: CType, offset: int) -> Iterator[_Piece]:
    if isinstance(type, Record) and type.fields is not None:
        yield b"{ "
        for one in _units(type):
            yield from _pieces_of_unit(one, offset)
            yield b" "
        yield b"}"
    elif isinstance(type, Array) and _is_byte(type.element):
        yield from (b'"', _Text(offset, type.size), b'"')
    elif isinstance(type, Array):
        yield b"[ "
        for index in range(type.count or 0):
            yield from _pieces(type.element, offset + index * type.element.size)
            yield b" "
        yield b"]"
    elif isinstance(type, (Integer, Enum, Pointer)):
        yield _Number(offset, type.size)
    else:
        yield from (b'"', _Text(offset, type.size), b'"')


def _pieces_of_unit(unit: _Unit, offset: int) -> Iterator[_Piece]:
    if unit.type is not None:
        yield from _pieces(unit.type, offset + unit.offset)
    elif unit.is_bytes:
        yield from (b'"', _Text(offset + unit.offset, unit.size), b'"')
    else:
        yield _Number(offset + unit.offset, unit.size)


def _is_byte(type: CType) -> bool:
    return isinstance(type, Integer) and type.size == 1


# ---- LLVM's view of a record ----


def _units(record: Record) -> list[_Unit]:
    """The elements of LLVM's struct, explicit padding included."""
    found = _elements(record)
    is_packed = _is_packed(record, found)
    whole: list[_Unit] = []
    end = 0
    for one in found:
        if one.offset != (end if is_packed else round_up(end, one.align)):
            whole.append(_bytes(end, one.offset - end))
        whole.append(one)
        end = one.offset + _stored(one)
    align = 1 if is_packed else max((one.align for one in found), default=1)
    if record.size != round_up(end, align):
        whole.append(_bytes(end, record.size - end))
    return whole


def _is_packed(record: Record, found: list[_Unit]) -> bool:
    """Whether LLVM's alignment cannot give this layout."""
    return any(one.offset % one.align for one in found) or bool(record.size % max((one.align for one in found), default=1))


def _bytes(offset: int, size: int) -> _Unit:
    """One byte is a number, more are an array of bytes."""
    return _Unit(offset, size, 1, is_bytes=size != 1)


def _stored(unit: _Unit) -> int:
    """The bytes that LLVM keeps for it: an integer of 3 bytes lies in 4."""
    return unit.size if unit.type is not None else round_up(unit.size, unit.align)


def _elements(record: Record) -> list[_Unit]:
    """What LLVM's struct holds of the members. A number that would reach into what follows is bytes."""
    if record.tag == "union":
        return _union_units(record)
    found = _struct_units(record)
    ends = [one.offset for one in found[1:]] + [record.size]
    return [_bytes(one.offset, one.size) if one.type is None and one.offset + _stored(one) > end else one
            for one, end in zip(found, ends, strict=True)]


def _struct_units(record: Record) -> list[_Unit]:
    found: list[_Unit] = []
    first = last = 0  # of the run of bit-fields, in bits
    for one in record.fields or ():
        start = one.offset * 8 + one.bit_offset
        if one.bit_size is not None and last > first and start == last:
            last += one.bit_size
            continue
        found += _run(first, last)
        first = last = 0
        if one.bit_size is None:
            found.append(_Unit(one.offset, one.type.size, _align(one.type), one.type))
        else:
            first, last = start, start + one.bit_size
    return found + _run(first, last)


def _run(first: int, last: int) -> list[_Unit]:
    """The number that a run of bit-fields is kept in: as many whole bytes as it needs."""
    size = (last + 7) // 8 - first // 8
    return [_Unit(first // 8, size, _align_of_bytes(size))] if last > first else []


def _union_units(record: Record) -> list[_Unit]:
    rows = [_Unit(0, one.type.size, _align(one.type), one.type) if one.bit_size is None
            else _Unit(0, (one.bit_size + 7) // 8, _align_of_bytes((one.bit_size + 7) // 8)) for one in record.fields or ()]
    rows.sort(key=lambda one: (-one.align, -one.size))  # stable: of equals the first
    return rows[:1]


def _align_of_bytes(size: int) -> int:
    return min(1 << (size - 1).bit_length(), 8)


def _align(type: CType) -> int:
    """LLVM's alignment, which knows no attributes."""
    if isinstance(type, Array):
        return _align(type.element)
    if isinstance(type, Record) and type.fields is not None:
        found = _elements(type)
        return 1 if _is_packed(type, found) else max((one.align for one in found), default=1)
    return max(type.size, 1) if isinstance(type, (Integer, Enum, Pointer)) else 1
