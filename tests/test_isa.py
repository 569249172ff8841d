"""The text of instructions: round trip, and the same words as Linux's verifier log."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.isa import Insn, assemble, decode, disassemble, encode
from cfront.uapi import HELPER_IDS, ProgType
from tests.verifier.conftest import linux  # noqa: F401  (a fixture)
from tests.verifier.linux_oracle import load

insns = st.builds(
    Insn, st.integers(0, 255).filter(lambda code: code != 0x18), st.integers(0, 15), st.integers(0, 15),
    st.one_of(st.sampled_from([0, 1, -1, 8, 16, 32]), st.integers(-0x8000, 0x7FFF)),
    st.one_of(st.sampled_from([0, 1, -1, 16, 32, 64, 0xF1, 0xE1, 0x100, 0x110]), st.integers(-(1 << 31), (1 << 31) - 1)),
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(insns, max_size=4))
def test_round_trip(slots: list[Insn]) -> None:
    assert assemble("\n".join(disassemble(slots))) == tuple(slots)
    assert decode(encode(slots)) == tuple(slots)


@given(st.integers(0, 10), st.integers(0, (1 << 64) - 1))
def test_round_trip_of_wide_loads(dst: int, value: int) -> None:
    low, high = (int.from_bytes((value >> shift & 0xFFFFFFFF).to_bytes(4, "little"), "little", signed=True) for shift in (0, 32))
    pair = (Insn(0x18, dst, 0, 0, low), Insn(0, imm=high))
    if dst <= 10:
        assert disassemble(pair) == [f"0: (18) r{dst} = {value:#x}"]
        assert assemble(disassemble(pair)[0]) == pair
        assert assemble(f"r{dst} = {value:#x} ll") == pair


EVERY_FORM = """
    r6 = r1
    r1 = 0x1122334455667788 ll
    r2 = -5
    w3 = 7
    r3 = (s8)r2
    w3 = (s16)w2
    r3 += r2
    r3 -= 3
    r3 *= 3
    r3 /= 3
    r3 s/= 3
    r3 %= r2
    w3 s%= w2
    r3 |= 1
    r3 &= 255
    r3 ^= r2
    r3 <<= 2
    r3 >>= 1
    r3 s>>= 1
    w3 s>>= 1
    r3 = -r3
    w3 = -w3
    r3 = be16 r3
    r3 = le32 r3
    r3 = bswap64 r3
    *(u64 *)(r10 -8) = r3
    *(u32 *)(r10 -12) = 7
    *(u16 *)(r10 -14) = r3
    *(u8 *)(r10 -15) = -1
    r4 = *(u8 *)(r10 -15)
    r4 = *(s32 *)(r10 -12)
    r4 = *(s8 *)(r10 -15)
    lock *(u64 *)(r10 -8) += r3
    lock *(u32 *)(r10 -8) ^= r3
    r3 = atomic64_fetch_add((u64 *)(r10 -8), r3)
    r3 = atomic_fetch_or((u32 *)(r10 -8), r3)
    r3 = atomic64_xchg((u64 *)(r10 -8), r3)
    r0 = 0
    r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r3)
    r4 = load_acquire((u64 *)(r10 -8))
    store_release((u64 *)(r10 -8), r3)
    call bpf_get_prandom_u32
    r7 = r0
    if r7 == 5 goto next
    if r7 s> -1 goto next
    if w7 <= 0x80000000 goto next
    if r7 & 8 goto next
    if r7 != r6 goto next
next:
    gotol last
last:
    r1 = r7
    call f
    goto pc+0
    exit
f:
    r0 = r1
    exit
"""


@pytest.mark.linux
def test_same_words_as_linux(linux: None) -> None:  # noqa: F811
    slots = assemble(EVERY_FORM)
    verdict = load(slots, ProgType.SOCKET_FILTER, log_level=2)
    assert verdict.errno == 0, verdict.log
    theirs = {int(m[1]): m[2] for m in re.finditer(r"^(\d+): (\([0-9a-f]{2}\) [^;\n]*?) *(?:;|\d+:|$)", verdict.log, re.M)}
    ours = {int(row.split(":")[0]): row.split(": ", 1)[1] for row in disassemble(slots)}
    assert len(theirs) > 45
    for slot, text in theirs.items():
        assert text.strip() == ours[slot]


def test_every_helper_is_called_by_name() -> None:
    for name, number in HELPER_IDS.items():
        assert disassemble([Insn(0x85, imm=number)]) == [f"0: (85) call bpf_{name}#{number}"]
        assert assemble(f"call {name}") == (Insn(0x85, imm=number),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("r0 = 1\nr1 == 2", "assembling line 2: 'r1 == 2' is not an instruction"),
        ("r11 = 1", "assembling line 1: 'r11 = 1' is not an instruction"),
        ("goto nowhere", "assembling line 1: label nowhere is not defined"),
        ("a:\na:", "assembling line 2: label a is defined twice"),
        ("r0 = w1", "assembling line 1: 'r0 = w1' is not an instruction"),
        ("(b7) r0 += 1", "assembling line 1: '(b7) r0 += 1' is not an instruction"),
        ("r0 = 0x1ffffffff", "assembling line 1: 'r0 = 0x1ffffffff' is not an instruction"),
        ("call no_such_thing", "assembling line 1: label no_such_thing is not defined"),
    ],
)
def test_bad_text(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        assemble(text)
    assert str(caught.value) == sentence


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="r0123456789 =+-*()u8{}[]#:;goticalexf\n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        slots = assemble(text)
    except ValueError:
        return
    assert all(isinstance(one, Insn) for one in slots)
