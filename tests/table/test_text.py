"""Keys and leaves as text: what scanf takes, and that nothing else than a value or None comes of any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcc_py.table.text import text_of_value, value_of_text
from cfront import ctype
from cfront.ctype import Array, CType, Enum, Pointer, Record, RecordMember, lay_out


def _struct(*members: tuple[str, CType]) -> Record:
    fields, size, align = lay_out("struct", [RecordMember(*one) for one in members])
    return Record("struct", "s", fields, size, align)


PAIR = _struct(("a", ctype.UINT), ("b", ctype.UINT))
NAMED = _struct(("name", Array(ctype.CHAR, 8)), ("ids", Array(ctype.USHORT, 2)), ("in", PAIR))
SCALARS = [ctype.CHAR, ctype.SHORT, ctype.UINT, ctype.ULLONG, ctype.INT128, ctype.BOOL, Pointer(ctype.INT), Enum("e", {}, ctype.UINT)]


@pytest.mark.parametrize("type", SCALARS, ids=str)
@given(number=st.integers(0, 2**128 - 1))
def test_numbers(type: CType, number: int) -> None:
    value = (number & (1 << type.size * 8) - 1).to_bytes(type.size, "little")
    text = text_of_value(type, value)
    assert re.fullmatch(rb"0x[0-9a-f]+", text) and int(text, 16) == int.from_bytes(value, "little")
    assert value_of_text(type, text) == value


@given(st.integers(-(2**40), 2**40), st.sampled_from([b"%d", b" %d", b"%+d", b"\n%d }"]))
def test_numbers_as_people_write_them(number: int, form: bytes) -> None:
    """%i of the C library: decimal, octal and hexadecimal, cut to the width."""
    wanted = (number & 0xFFFFFFFF).to_bytes(4, "little")
    assert value_of_text(ctype.UINT, form % number) == wanted
    if number >= 0:
        assert value_of_text(ctype.UINT, b"0%o" % number) == value_of_text(ctype.UINT, b"0X%X" % number) == wanted


@given(st.binary(max_size=7).filter(lambda one: not set(one) & set(b' \0"')), st.tuples(*[st.integers(0, 65535)] * 4))
def test_structs_both_ways(name: bytes, ids: tuple[int, int, int, int]) -> None:
    value = name.ljust(8, b"\0") + b"".join(one.to_bytes(2, "little") for one in ids[:2]) + b"".join(
        one.to_bytes(4, "little") for one in ids[2:])
    text = text_of_value(NAMED, value)
    assert text == b'{ "%s" [ 0x%x 0x%x ] { 0x%x 0x%x } }' % (name, *ids)
    assert value_of_text(NAMED, text) == value_of_text(NAMED, text.replace(b" ", b"\t ")) == value


@pytest.mark.parametrize("text", [b"", b"{ 1", b"{ 1 x }", b"1 2", b"{ 0x 2 }"[:4], b"[ 1 2 ]", b"{ , }"])
def test_what_is_no_pair(text: bytes) -> None:
    assert value_of_text(PAIR, text) is None


@given(st.one_of(st.binary(max_size=40), st.text('{}[]" 0x19-+ab', max_size=40).map(str.encode)))
def test_any_text_is_a_value_or_none(text: bytes) -> None:
    for type in (PAIR, NAMED, ctype.UINT, Array(ctype.CHAR, 3), Array(PAIR, 2), Array(PAIR, 0), ctype.VOID):
        value = value_of_text(type, text)
        assert value is None or len(value) == type.size
