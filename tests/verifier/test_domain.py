"""The domain against arithmetic: every concrete result lies in the abstract one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.verifier.domain import Scalar, alu, branch_outcome, cast_signed, const, covers, low_bytes, make, refine

M64, M32 = (1 << 64) - 1, (1 << 32) - 1
EDGES = [0, 1, 2, 7, 8, 255, 256, 0x7FFFFFFF, 0x80000000, M32, 1 << 32, (1 << 63) - 1, 1 << 63, M64, M64 - 4]
numbers = st.one_of(st.sampled_from(EDGES), st.integers(0, M64), st.integers(0, 300))
ALU = {0x00: lambda x, y, s: x + y, 0x10: lambda x, y, s: x - y, 0x20: lambda x, y, s: x * y, 0x40: lambda x, y, s: x | y,
       0x50: lambda x, y, s: x & y, 0xA0: lambda x, y, s: x ^ y, 0x60: lambda x, y, s: x << y,
       0x70: lambda x, y, s: x >> y, 0xC0: lambda x, y, s: s >> y}
JMP = {0x10: "==", 0x20: ">", 0x30: ">=", 0x50: "!=", 0x60: "s>", 0x70: "s>=", 0xA0: "<", 0xB0: "<=", 0xC0: "s<", 0xD0: "s<="}


def signed(value: int, bits: int = 64) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[int], Scalar]:
    """A few numbers, and the narrowest Scalar that holds them."""
    base = draw(numbers)
    members = [base] + [(base + draw(st.integers(-20, 20))) & M64 for _ in range(draw(st.integers(0, 2)))]
    members += draw(st.lists(numbers, max_size=1))
    mask = 0
    for one in members:
        mask |= one ^ base
    low = [one & M32 for one in members]
    made = make(
        base & ~mask, mask, min(map(signed, members)), max(map(signed, members)), min(members), max(members),
        min(signed(one, 32) for one in low), max(signed(one, 32) for one in low), min(low), max(low),
    )
    assert made is not None
    return members, made


def holds(one: Scalar, value: int) -> bool:
    return covers(one, const(value))


@settings(max_examples=600, deadline=None)
@given(sets(), sets(), st.sampled_from(sorted(ALU)), st.booleans())
def test_arithmetic(left: tuple[list[int], Scalar], right: tuple[list[int], Scalar], op: int, is_wide: bool) -> None:
    bits = 64 if is_wide else 32
    top = (1 << bits) - 1
    result = alu(op, left[1], right[1], is_wide)
    for x in left[0]:
        for y in right[0]:
            amount = y & (bits - 1) if op in (0x60, 0x70, 0xC0) else y & top
            assert holds(result, ALU[op](x & top, amount, signed(x, bits)) & top)


@settings(max_examples=600, deadline=None)
@given(sets(), sets(), st.sampled_from([*sorted(JMP), 0x40]), st.booleans())
def test_comparison(left: tuple[list[int], Scalar], right: tuple[list[int], Scalar], op: int, is_wide: bool) -> None:
    bits = 64 if is_wide else 32
    outcome = branch_outcome(op, left[1], right[1], is_wide)
    ways = {taken: refine(op, left[1], right[1], is_wide, taken) for taken in (True, False)}
    for x in left[0]:
        for y in right[0]:
            a, b = (signed(x, bits), signed(y, bits)) if JMP.get(op, "").startswith("s") else (x & (1 << bits) - 1, y & (1 << bits) - 1)
            taken = {"==": a == b, "!=": a != b, ">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b, "&": bool(a & b)}[
                JMP.get(op, "&").removeprefix("s")
            ]
            assert outcome in (None, taken)
            after = ways[taken]
            assert after is not None and holds(after[0], x) and holds(after[1], y)


@settings(max_examples=300, deadline=None)
@given(sets(), st.sampled_from([1, 2, 4, 8]))
def test_truncation(one: tuple[list[int], Scalar], size: int) -> None:
    for x in one[0]:
        low = x & (1 << 8 * size) - 1
        assert holds(low_bytes(one[1], size), low)
        assert holds(cast_signed(one[1], size), signed(low, 8 * size) & M64)
