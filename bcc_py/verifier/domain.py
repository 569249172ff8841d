"""What a register may hold: scalars and pointers, and how arithmetic and comparisons change them.

A Scalar stands for a set of 64-bit values, as the intersection of a tristate number (bits known to be
0 or 1, and a mask of unknown ones) and four ranges: signed and unsigned, of all 64 and of the low 32
bits. Invariant: every operation's result contains every value that the machine could compute from members
of its operands (div and mod simply forget), and is no smaller than what Linux makes of it. A
Pointer is a base (kind and what it belongs to), a constant offset and a Scalar of variable offset.
Both are immutable and shared freely; None stands for a register nobody has written.

Algorithm: make() closes the ranges under each other: bounds from bits, low half from the whole and
back, signed from unsigned and back, bits from bounds; in Linux's order and no further, for what it does
not see a program may not rely on. Constants, the usual case, take a short way.

Source: Documentation/bpf/verifier.rst of Linux 6.18, "Register value tracking"; Vishwanathan et al.,
"Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers", CGO 2022; kernel/bpf/tnum.c of 6.18."""

from __future__ import annotations

from bcc_py.spec import MapSpec

__all__ = ["UNKNOWN", "UNKNOWN32", "ZERO", "Pointer", "Scalar", "Value", "alu", "branch_outcome", "byte_swapped", "cast_signed", "const", "covers",
           "low_bytes", "make", "refine", "tnum_text",
           "unsigned_range", "with_id", "with_low"]

M64 = (1 << 64) - 1
M32 = (1 << 32) - 1
S64_MIN, S64_MAX = -(1 << 63), (1 << 63) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
_SIGN64, _SIGN32 = 1 << 63, 1 << 31


class Scalar:
    """A set of 64-bit values. value, mask: known bits and unknown bits, disjoint. id: nonzero and shared
    by registers that hold the same number; what a branch teaches of one it teaches of all. plus: (n, is it
    64 bits wide) where a constant n was added since to what the others with this id hold."""

    __slots__ = ("id", "mask", "plus", "s32max", "s32min", "smax", "smin", "u32max", "u32min", "umax", "umin", "value")

    def __init__(
        self, value: int, mask: int, smin: int, smax: int, umin: int, umax: int,
        s32min: int, s32max: int, u32min: int, u32max: int, id: int = 0, plus: tuple[int, bool] | None = None,
    ) -> None:
        self.value = value
        self.mask = mask
        self.smin = smin
        self.smax = smax
        self.umin = umin
        self.umax = umax
        self.s32min = s32min
        self.s32max = s32max
        self.u32min = u32min
        self.u32max = u32max
        self.id = id
        self.plus = plus

    def same_set(self, other: Scalar) -> bool:
        return (
            self.value == other.value and self.mask == other.mask and self.smin == other.smin
            and self.smax == other.smax and self.umin == other.umin and self.umax == other.umax
            and self.s32min == other.s32min and self.s32max == other.s32max
            and self.u32min == other.u32min and self.u32max == other.u32max
        )

    def __str__(self) -> str:
        if not self.mask:
            return f"{self.smin}" if abs(self.smin) < 1 << 20 else f"{self.value:#x}"
        parts = []
        if self.id:
            parts.append(f"id={self.id}")
        if self.smin == self.umin and self.smax == self.umax:
            if self.smin:
                parts.append(f"smin=umin={self.smin}")
            parts.append(f"smax=umax={self.smax:#x}")
        else:
            parts += [f"smin={self.smin}"] if self.smin != S64_MIN else []
            parts += [f"smax={self.smax:#x}"] if self.smax != S64_MAX else []
            parts += [f"umin={self.umin}"] if self.umin else []
            parts += [f"umax={self.umax:#x}"] if self.umax != M64 else []
        if self.mask != M64:
            parts.append(f"var_off=({self.value:#x}; {self.mask:#x})")
        return f"scalar({','.join(parts)})"


def _signed64(value: int) -> int:
    return value - (1 << 64) if value & _SIGN64 else value


def _signed32(value: int) -> int:
    return value - (1 << 32) if value & _SIGN32 else value


def _const(value: int) -> Scalar:
    value &= M64
    low = value & M32
    signed, signed_low = _signed64(value), _signed32(low)
    return Scalar(value, 0, signed, signed, value, value, signed_low, signed_low, low, low)


_CONSTS = {value: _const(value) for value in range(-512, 4097)}
ZERO = _CONSTS[0]
UNKNOWN = Scalar(0, M64, S64_MIN, S64_MAX, 0, M64, S32_MIN, S32_MAX, 0, M32)
UNKNOWN32 = Scalar(0, M32, 0, M32, 0, M32, S32_MIN, S32_MAX, 0, M32)


def const(value: int) -> Scalar:
    """The one value; any int, taken modulo 2**64."""
    return _CONSTS.get(value) or _const(value)


def _range_bits(low: int, high: int) -> tuple[int, int]:
    """The tristate number of all x with low <= x <= high: the common leading bits."""
    mask = (1 << (low ^ high).bit_length()) - 1
    return low & ~mask, mask


# ---- closing the ranges under each other

# [value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max]
_Fields = list[int]
_TWO32, _TWO64 = 1 << 32, 1 << 64
# bounds that say nothing
_ANY = (S64_MIN, S64_MAX, 0, M64, S32_MIN, S32_MAX, 0, M32)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _bounds_from_bits(f: _Fields) -> None:
    value, mask = f[0], f[1]
    f[2] = max(f[2], _signed64(value | mask & _SIGN64))
    f[3] = min(f[3], _signed64(value | mask & ~_SIGN64))
    f[4] = max(f[4], value)
    f[5] = min(f[5], value | mask)
    low, low_mask = value & M32, mask & M32
    f[6] = max(f[6], _signed32(low | low_mask & _SIGN32))
    f[7] = min(f[7], _signed32(low | low_mask & ~_SIGN32))
    f[8] = max(f[8], low)
    f[9] = min(f[9], low | low_mask)


def make(
    value: int, mask: int, smin: int, smax: int, umin: int, umax: int,
    s32min: int = S32_MIN, s32max: int = S32_MAX, u32min: int = 0, u32max: int = M32, id: int = 0,
) -> Scalar:
    """The Scalar of what obeys all of these, closed as far as Linux closes them (no further: what it does not see we may
    not rely on). Where nothing obeys them, which happens on paths that no execution takes, the bits alone count.

    Source: kernel/bpf/verifier.c of Linux 6.18, reg_bounds_sync, reg_bounds_sanity_check."""
    f = [value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max]
    _bounds_from_bits(f)
    for _ in range(3):
        before = f
        f = _deduced(*f)
        if f == before:
            break
    value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max = f
    # bits from bounds
    unknown = (1 << (umin ^ umax).bit_length()) - 1 if umin >= 0 and umax >= 0 else M64
    mask &= unknown
    value = (value | umin & ~unknown) & ~mask
    unknown = (1 << (u32min ^ u32max).bit_length()) - 1
    low_mask = mask & M32 & unknown
    value = value & ~M32 | (value & M32 | u32min & ~unknown) & ~low_mask
    mask = mask & ~M32 | low_mask
    if not mask:
        return const(value)
    f[0], f[1] = value, mask
    _bounds_from_bits(f)
    if _is_contradiction(f):
        f[2:] = _ANY
    return Scalar(f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9], id)


def _deduced(
    value: int, mask: int, smin: int, smax: int, umin: int, umax: int, s32min: int, s32max: int, u32min: int, u32max: int,
) -> _Fields:
    """One round of learning each from the others; plain comparisons in one long function, for much time is spent here."""
    # the low half from the whole, whose upper half stays or grows by one
    for low, high in ((umin, umax), (smin, smax)):
        grows = (high >> 32) - (low >> 32)
        if not grows:
            low, high = low & M32, high & M32
            if low <= high:
                if low > u32min:
                    u32min = low
                if high < u32max:
                    u32max = high
            low = low - _TWO32 if low & _SIGN32 else low
            high = high - _TWO32 if high & _SIGN32 else high
            if low <= high:
                if low > s32min:
                    s32min = low
                if high < s32max:
                    s32max = high
        elif grows == 1 and low & _SIGN32 and not high & _SIGN32:
            s32min = max(s32min, (low & M32) - _TWO32)
            s32max = min(s32max, high & M32)
    # signed and unsigned bounds of the low half from each other
    low = u32min - _TWO32 if u32min & _SIGN32 else u32min
    high = u32max - _TWO32 if u32max & _SIGN32 else u32max
    if low <= high:
        if low > s32min:
            s32min = low
        if high < s32max:
            s32max = high
    low, high = s32min & M32, s32max & M32
    if low <= high:
        if low > u32min:
            u32min = low
        if high < u32max:
            u32max = high
    elif u32max < low:
        # the signed range is in two pieces, and only that of the positive numbers meets the unsigned one
        s32min, u32max = _signed32(u32min), min(u32max, high)
    elif high < u32min:
        s32max, u32min = _signed32(u32max), max(u32min, low)
    # the same of the whole
    low = umin - _TWO64 if umin & _SIGN64 else umin
    high = umax - _TWO64 if umax & _SIGN64 else umax
    if low <= high:
        if low > smin:
            smin = low
        if high < smax:
            smax = high
    low, high = smin & M64, smax & M64
    if low <= high:
        if low > umin:
            umin = low
        if high < umax:
            umax = high
    elif umax < low:
        smin, umax = _signed64(umin), min(umax, high)
    elif high < umin:
        smax, umin = _signed64(umax), max(umin, low)
    # the whole from the low half, under the upper halves that its bounds have
    low, high = s32min & M32, s32max & M32
    low, high = (low, high) if u32min <= low <= high <= u32max else (u32min, u32max)
    if umin & M32 < low:
        umin = umin & ~M32 | low
    if umax & M32 > high:
        umax = umax & ~M32 | high
    if smin & M32 < low:
        smin = smin & ~M32 | low
    if smax & M32 > high:
        smax = smax & ~M32 | high
    if s32min >= 0 and smin >= S32_MIN and smax <= S32_MAX:
        # a sign-extended number of 32 bits that is positive: Linux takes the bounds of the low half as they are, even
        # where more was known of the whole
        smin, smax, umin, umax = s32min, s32max, s32min, s32max
        unknown = (1 << (s32min ^ s32max).bit_length()) - 1
        mask &= unknown
        value = (value | s32min & ~unknown) & ~mask
    return [value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max]


def _is_contradiction(f: _Fields) -> bool:
    if f[2] > f[3] or f[4] > f[5] or f[6] > f[7] or f[8] > f[9]:
        return True
    return not f[1] & M32 and (f[6] != f[7] or f[8] != f[9] or f[8] != f[0] & M32)


def unsigned_range(umin: int, umax: int) -> Scalar:
    """All x with umin <= x <= umax."""
    return make(0, M64, S64_MIN, S64_MAX, umin, umax)


def signed_range(smin: int, smax: int) -> Scalar:
    return make(0, M64, smin, smax, 0, M64)


def with_id(scalar: Scalar, id: int, plus: tuple[int, bool] | None = None) -> Scalar:
    """The same set under another id; constants need none."""
    if (scalar.id == id and scalar.plus == plus) or not scalar.mask:
        return scalar
    return Scalar(scalar.value, scalar.mask, scalar.smin, scalar.smax, scalar.umin, scalar.umax,
                  scalar.s32min, scalar.s32max, scalar.u32min, scalar.u32max, id, plus)


def with_low(scalar: Scalar, low: int) -> Scalar:
    """scalar with its low 32 bits known."""
    return make(scalar.value & ~M32 | low, scalar.mask & ~M32, scalar.smin, scalar.smax, scalar.umin, scalar.umax,
                _signed32(low), _signed32(low), low, low)


def tnum_text(scalar: Scalar) -> str:
    """Known and unknown bits as Linux writes them."""
    if scalar.mask:
        return f"({scalar.value:#x}; {scalar.mask:#x})"
    return f"{scalar.value:#x}" if scalar.value else "0"


def linked_by(known: Scalar, one: Scalar) -> Scalar:
    """What is known of one, which has known's id, from known: it differs by the constants added to each."""
    if one.plus == known.plus:
        return known
    there, here = one.plus or (0, True), known.plus or (0, True)
    if one.plus and known.plus and there[1] != here[1]:
        return one  # sums of 32 and of 64 bits wrap differently
    moved = alu(0, known, const(there[0] - here[0]), True)
    if not (there[1] and here[1]):
        moved = low_bytes(moved, 4)
    return one if covers(moved, one) else with_id(moved, one.id, one.plus)


def low_bytes(scalar: Scalar, size: int) -> Scalar:
    """The low size bytes, zero-extended. Keeps the id if no value changes."""
    if size == 8:
        return scalar
    top = (1 << 8 * size) - 1
    if scalar.umax <= top:
        return scalar
    if not scalar.mask:
        return const(scalar.value & top)
    value, mask = scalar.value & top, scalar.mask & top
    if size == 4:
        return _extended(value, mask, scalar.s32min, scalar.s32max, scalar.u32min, scalar.u32max)
    umin, umax = 0, top
    if scalar.umin & ~top == scalar.umax & ~top:
        umin, umax = scalar.umin & top, scalar.umax & top
    return make(value, mask, umin, umax, umin, umax)


def cast_signed(scalar: Scalar, size: int, is_wide: bool = True) -> Scalar:
    """The low size bytes, sign-extended to 64 bits, or to 32 with zeros above. Linux looks at the signed range only.

    Source: kernel/bpf/verifier.c, coerce_reg_to_size_sx, coerce_subreg_to_size_sx."""
    if not is_wide:
        return _cast_signed_low(scalar, size)
    bits = 8 * size
    if size == 8:
        return scalar
    half = 1 << bits - 1
    if not scalar.mask:
        low = scalar.value & (1 << bits) - 1
        return const(low - (1 << bits) if low & half else low)
    if scalar.smin >> bits == scalar.smax >> bits:
        ends = [(one & (half << 1) - 1 ^ half) - half for one in (scalar.smin, scalar.smax)]
        if (ends[0] >= 0) == (ends[1] >= 0):
            return with_id(signed_range(min(ends), max(ends)), scalar.id if scalar.umax < half else 0)
    return signed_range(-half, half - 1)


def _cast_signed_low(scalar: Scalar, size: int) -> Scalar:
    """The low size bytes, sign-extended to 32 bits, then zero-extended."""
    bits = 8 * size
    half = 1 << bits - 1
    if not scalar.mask:
        low = scalar.value & (1 << bits) - 1
        return const((low - (1 << bits) if low & half else low) & M32)
    low, high = -half, half - 1
    if (scalar.s32min & M32) >> bits == (scalar.s32max & M32) >> bits:
        ends = [(one & (half << 1) - 1 ^ half) - half for one in (scalar.s32min, scalar.s32max)]
        if (ends[0] >= 0) == (ends[1] >= 0):
            low, high = min(ends), max(ends)
            value, mask = _range_bits(low & M32, high & M32) if low >= 0 or high < 0 else (0, M32)
            return _extended(value, mask, low, high, low & M32, high & M32)
    return _extended(0, M32, low, high, 0, M32)


def _extended(value: int, mask: int, s32min: int, s32max: int, u32min: int, u32max: int) -> Scalar:
    """A number of 32 bits, zero-extended."""
    smin, smax = (s32min, s32max) if s32min >= 0 and s32max >= 0 else (0, M32)
    return make(value, mask, smin, smax, u32min, u32max, s32min, s32max, u32min, u32max)


def byte_swapped(scalar: Scalar, bits: int, is_swap: bool) -> Scalar:
    """The low bits, in the other order of bytes if is_swap; zeros above."""
    if not is_swap:
        return scalar if bits == 64 else with_id(low_bytes(scalar, bits // 8), 0)
    size, top = bits // 8, (1 << bits) - 1
    value, mask = (int.from_bytes((one & top).to_bytes(size, "little"), "big") for one in (scalar.value, scalar.mask))
    return make(value, mask, *_ANY)


def covers(wide: Scalar, narrow: Scalar) -> bool:
    """True when every value of narrow is one of wide."""
    return (
        wide is narrow
        or (wide.umin <= narrow.umin and narrow.umax <= wide.umax
        and wide.smin <= narrow.smin and narrow.smax <= wide.smax
        and wide.u32min <= narrow.u32min and narrow.u32max <= wide.u32max
        and wide.s32min <= narrow.s32min and narrow.s32max <= wide.s32max
        and not narrow.mask & ~wide.mask
        and wide.value == narrow.value & ~wide.mask)
    )


# ---- arithmetic

_ADD, _SUB, _MUL, _OR, _AND, _LSH, _RSH, _XOR, _ARSH = 0x00, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xC0
_FORGETFUL = frozenset((0x30, 0x90))  # div, mod
_Bits = tuple[int, int]


def _fields(one: Scalar) -> _Fields:
    return [one.value, one.mask, one.smin, one.smax, one.umin, one.umax, one.s32min, one.s32max, one.u32min, one.u32max]


def alu(op: int, left: Scalar, right: Scalar, is_wide: bool) -> Scalar:
    """What `left op= right` leaves. op: code & 0xf0 of an arithmetic instruction, not a move; is_wide: on 64
    bits, otherwise on 32 with the upper half cleared."""
    if op in _FORGETFUL:
        return UNKNOWN
    bits = 64 if is_wide else 32
    is_shift = op in (_LSH, _RSH, _ARSH)
    if is_shift and (right.mask & (M64 if is_wide else M32) or right.umax >= bits):
        return UNKNOWN  # at either width, as Linux has it
    if not left.mask and not right.mask:
        return _alu_const(op, left.value, right.value, bits)
    f = _fields(left)
    if is_shift:
        (_shift_wide if is_wide else _shift_low)(op, f, right.umax)
    else:
        g = _fields(right)
        f[0], f[1] = _BITS[op]((left.value, left.mask), (right.value, right.mask))
        _BOUNDS[op](f, g, 6, 8, 32)
        if is_wide:
            _BOUNDS[op](f, g, 2, 4, 64)
    if not is_wide:
        f[0], f[1] = f[0] & M32, f[1] & M32
        f[4], f[5] = f[8], f[9]
        f[2], f[3] = (f[6], f[7]) if f[6] >= 0 and f[7] >= 0 else (0, M32)
    return make(*f)


def _alu_const(op: int, a: int, b: int, bits: int) -> Scalar:
    top = (1 << bits) - 1
    a, b = a & top, b & top
    if op in (_LSH, _RSH, _ARSH):
        return const((a << b if op == _LSH else a >> b if op == _RSH else _signed(a, bits) >> b) & top)
    if op == _ADD:
        return const(a + b & top)
    if op == _SUB:
        return const(a - b & top)
    if op == _MUL:
        return const(a * b & top)
    return const(a | b if op == _OR else a & b if op == _AND else a ^ b)


def _add_bits(a: _Bits, b: _Bits) -> _Bits:
    total = a[0] + b[0]
    carried = (total + a[1] + b[1]) ^ total | a[1] | b[1]
    return total & ~carried & M64, carried & M64


def _sub_bits(a: _Bits, b: _Bits) -> _Bits:
    difference = a[0] - b[0]
    borrowed = (difference + a[1]) ^ (difference - b[1]) | a[1] | b[1]
    return difference & ~borrowed & M64, borrowed & M64


def _mul_bits(a: _Bits, b: _Bits) -> _Bits:
    """Sums of b, shifted, for the bits of a; where a bit may be 0 or 1, what holds of both sums."""
    value, mask = 0, 0
    av, am = a
    bv, bm = b
    while av or am:
        if (av | am) & 1:
            sv, sm = _add_bits((value, mask), (bv, bm))
            if not av & 1:
                sm |= value ^ sv | mask
                sv &= value & ~sm
            value, mask = sv, sm & M64
        av, am, bv, bm = av >> 1, am >> 1, bv << 1 & M64, bm << 1 & M64
        if not bv | bm:
            break
        least = mask & -mask
        if mask == M64 & -least and mask and (bv | bm) & (least - 1) == 0:
            break
    return value, mask


def _and_bits(a: _Bits, b: _Bits) -> _Bits:
    value = a[0] & b[0]
    return value, (a[0] | a[1]) & (b[0] | b[1]) & ~value


def _or_bits(a: _Bits, b: _Bits) -> _Bits:
    value = a[0] | b[0]
    return value, (a[1] | b[1]) & ~value


def _xor_bits(a: _Bits, b: _Bits) -> _Bits:
    mask = a[1] | b[1]
    return (a[0] ^ b[0]) & ~mask, mask


def _add_bounds(f: _Fields, g: _Fields, s: int, u: int, bits: int) -> None:
    _signed_sum(f, s, bits, f[s] + g[s], f[s + 1] + g[s + 1])
    f[u], f[u + 1] = _wrap(f[u] + g[u], f[u + 1] + g[u + 1], bits)


def _sub_bounds(f: _Fields, g: _Fields, s: int, u: int, bits: int) -> None:
    _signed_sum(f, s, bits, f[s] - g[s + 1], f[s + 1] - g[s])
    f[u], f[u + 1] = _wrap(f[u] - g[u + 1], f[u + 1] - g[u], bits)


def _signed_sum(f: _Fields, s: int, bits: int, low: int, high: int) -> None:
    half = 1 << bits - 1
    low, high = _wrap(low + half, high + half, bits)
    f[s], f[s + 1] = low - half, high - half


def _wrap(low: int, high: int, bits: int) -> tuple[int, int]:
    """An unsigned range after arithmetic in the integers, modulo 2**bits."""
    if low >> bits == high >> bits:
        top = (1 << bits) - 1
        return low & top, high & top
    return 0, (1 << bits) - 1


def _mul_bounds(f: _Fields, g: _Fields, s: int, u: int, bits: int) -> None:
    half, top = 1 << bits - 1, (1 << bits) - 1
    low, high = f[u] * g[u], f[u + 1] * g[u + 1]
    f[u], f[u + 1] = (low, high) if high <= top else (0, top)
    products = (f[s] * g[s], f[s] * g[s + 1], f[s + 1] * g[s], f[s + 1] * g[s + 1])
    low, high = min(products), max(products)
    f[s], f[s + 1] = (low, high) if -half <= low and high < half else (-half, half - 1)


def _signed_of(f: _Fields, s: int, u: int, bits: int) -> None:
    """Signed bounds from the unsigned ones, if they are in order."""
    low, high = _signed(f[u], bits), _signed(f[u + 1], bits)
    half = 1 << bits - 1
    f[s], f[s + 1] = (low, high) if low <= high else (-half, half - 1)


def _and_bounds(f: _Fields, g: _Fields, s: int, u: int, bits: int) -> None:
    f[u], f[u + 1] = f[0] & (1 << bits) - 1, min(f[u + 1], g[u + 1])
    _signed_of(f, s, u, bits)


def _or_bounds(f: _Fields, g: _Fields, s: int, u: int, bits: int) -> None:
    f[u], f[u + 1] = max(f[u], g[u]), (f[0] | f[1]) & (1 << bits) - 1
    _signed_of(f, s, u, bits)


def _xor_bounds(f: _Fields, g: _Fields, s: int, u: int, bits: int) -> None:
    f[u], f[u + 1] = f[0] & (1 << bits) - 1, (f[0] | f[1]) & (1 << bits) - 1
    _signed_of(f, s, u, bits)


_BITS = {_ADD: _add_bits, _SUB: _sub_bits, _MUL: _mul_bits, _AND: _and_bits, _OR: _or_bits, _XOR: _xor_bits}
_BOUNDS = {_ADD: _add_bounds, _SUB: _sub_bounds, _MUL: _mul_bounds, _AND: _and_bounds, _OR: _or_bounds, _XOR: _xor_bounds}


def _left(f: _Fields, u: int, n: int, bits: int) -> None:
    if n > bits - 1 or f[u + 1] > 1 << bits - 1 - n:
        f[u], f[u + 1] = 0, (1 << bits) - 1
    else:
        f[u], f[u + 1] = f[u] << n, f[u + 1] << n


def _shift_low(op: int, f: _Fields, n: int) -> None:
    value, mask = f[0] & M32, f[1] & M32
    if op == _LSH:
        f[6:8] = S32_MIN, S32_MAX
        _left(f, 8, n, 32)
        f[0], f[1] = value << n & M32, mask << n & M32
    elif op == _RSH:
        f[6:8] = S32_MIN, S32_MAX
        f[8], f[9] = f[8] >> n, f[9] >> n
        f[0], f[1] = value >> n, mask >> n
    else:
        f[6], f[7] = f[6] >> n, f[7] >> n
        f[8:10] = 0, M32
        f[0], f[1] = _signed32(value) >> n & M32, _signed32(mask) >> n & M32
    f[2:6] = _ANY[:4]
    low, low_mask = f[0], f[1]
    f[6] = max(f[6], _signed32(low | low_mask & _SIGN32))
    f[7] = min(f[7], _signed32(low | low_mask & ~_SIGN32))
    f[8] = max(f[8], low)
    f[9] = min(f[9], low | low_mask)


def _shift_wide(op: int, f: _Fields, n: int) -> None:
    if op == _LSH:
        f[2], f[3] = (f[6] << 32, f[7] << 32) if n == 32 else (S64_MIN, S64_MAX)
        _left(f, 4, n, 64)
        f[6:8] = S32_MIN, S32_MAX
        _left(f, 8, n, 32)
        f[0], f[1] = f[0] << n & M64, f[1] << n & M64
    elif op == _RSH:
        f[2:4] = S64_MIN, S64_MAX
        f[0], f[1] = f[0] >> n, f[1] >> n
        f[4], f[5] = f[4] >> n, f[5] >> n
        f[6:] = _ANY[4:]
    else:
        f[2], f[3] = f[2] >> n, f[3] >> n
        f[0], f[1] = _signed64(f[0]) >> n & M64, _signed64(f[1]) >> n & M64
        f[4:6] = 0, M64
        f[6:] = _ANY[4:]
    _bounds_from_bits(f)


# ---- comparisons

_EQ, _GT, _GE, _SET, _NE, _SGT, _SGE, _LT, _LE, _SLT, _SLE = (
    0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0)
_NOT_SET = 0x1000  # no opcode: the other branch of _SET
_INVERSE = {_EQ: _NE, _NE: _EQ, _GT: _LE, _LE: _GT, _GE: _LT, _LT: _GE, _SGT: _SLE, _SLE: _SGT, _SGE: _SLT,
            _SLT: _SGE, _SET: _NOT_SET}
_SWAPPED = {_LT: _GT, _LE: _GE, _SLT: _SGT, _SLE: _SGE}
_SWAPPED_BACK = {there: here for here, there in _SWAPPED.items()}


def branch_outcome(op: int, left: Scalar, right: Scalar, is_wide: bool) -> bool | None:
    """Whether `if left op right` is taken: always, never, or None: it depends."""
    if op in _SWAPPED:
        return branch_outcome(_SWAPPED[op], right, left, is_wide)
    low = M64 if is_wide else M32
    if is_wide:
        umin, umax, smin, smax = left.umin, left.umax, left.smin, left.smax
        other_umin, other_umax, other_smin, other_smax = right.umin, right.umax, right.smin, right.smax
    else:
        umin, umax, smin, smax = left.u32min, left.u32max, left.s32min, left.s32max
        other_umin, other_umax, other_smin, other_smax = right.u32min, right.u32max, right.s32min, right.s32max
    if op in (_EQ, _NE):
        if not (left.mask | right.mask) & low:
            return ((left.value ^ right.value) & low == 0) == (op == _EQ)
        apart = (umin > other_umax or umax < other_umin or smin > other_smax or smax < other_smin
                 or (left.value ^ right.value) & ~left.mask & ~right.mask & low
                 or left.u32min > right.u32max or left.u32max < right.u32min
                 or left.s32min > right.s32max or left.s32max < right.s32min)
        return op == _NE if apart else None
    if op == _GT:
        return True if umin > other_umax else False if umax <= other_umin else None
    if op == _GE:
        return True if umin >= other_umax else False if umax < other_umin else None
    if op == _SGT:
        return True if smin > other_smax else False if smax <= other_smin else None
    if op == _SGE:
        return True if smin >= other_smax else False if smax < other_smin else None
    if right.mask & low:
        left, right = right, left
        if right.mask & low:
            return None
    if left.value & right.value & low:
        return True
    return None if (left.value | left.mask) & right.value & low else False


def refine(op: int, left: Scalar, right: Scalar, is_wide: bool, is_taken: bool, is_same: bool = False) -> tuple[Scalar, Scalar]:
    """Both operands after `if left op right` was taken or not. is_same: they are one register, of which both sides are
    learned, one after the other, as Linux does it.

    Source: kernel/bpf/verifier.c, regs_refine_cond_op."""
    if not is_taken:
        op = _INVERSE[op]
    a = _fields(left)
    b = a if is_same else _fields(right)
    _learn(op, a, b, is_wide)
    x = _close(left, a)
    return x, x if is_same else _close(right, b)


def _learn(op: int, a: _Fields, b: _Fields, is_wide: bool) -> None:
    if op in (_GT, _GE, _SGT, _SGE):
        op, a, b = _SWAPPED_BACK[op], b, a
    u, s = (4, 2) if is_wide else (8, 6)
    low = M64 if is_wide else M32
    if op == _EQ:
        _equal(a, b, is_wide)
    elif op in (_LE, _SLE, _LT, _SLT):
        at = u if op in (_LE, _LT) else s
        step = 1 if op in (_LT, _SLT) else 0
        a[at + 1] = min(a[at + 1], b[at + 1] - step)
        b[at] = max(a[at] + step, b[at])
    else:
        if b[1] & low:
            a, b = b, a
        if b[1] & low:
            return
        known = b[0] & low
        if op == _NE:
            _unequal(a, known, u, s, low)
        elif op == _SET:
            if known and not known & known - 1:
                a[0] |= known
                a[1] &= ~known
        else:
            a[2:] = _ANY  # Linux forgets the bounds here, lest they contradict the bits
            a[0] &= ~known
            a[1] &= ~known


def _close(before: Scalar, fields: _Fields) -> Scalar:
    if fields == _fields(before):
        return before
    return with_id(make(*fields), before.id, before.plus)


def _equal(a: _Fields, b: _Fields, is_wide: bool) -> None:
    low = M64 if is_wide else M32
    mask = a[1] & b[1] & low
    value = (a[0] | b[0]) & low & ~mask
    for at in (2, 4) if is_wide else (6, 8):
        a[at] = b[at] = max(a[at], b[at])
        a[at + 1] = b[at + 1] = min(a[at + 1], b[at + 1])
    for one in (a, b):
        one[0] = one[0] & ~low | value
        one[1] = one[1] & ~low | mask


def _unequal(a: _Fields, known: int, u: int, s: int, low: int) -> None:
    """Cuts the one value off the ends of a."""
    signed = known - low - 1 if known > low >> 1 else known
    for at, one in ((u, known), (s, signed)):
        if a[at] == one:
            a[at] += 1
        if a[at + 1] == one:
            a[at + 1] -= 1


# ---- pointers


class Pointer:
    """An address; immutable. kind: as Linux prints it ("fp", "ctx", "map_ptr", "map_value", "map_key", "ringbuf_mem",
    "mem", "rdonly_mem", "buf", "pkt", "pkt_meta", "pkt_end", "sock", "func", ...), with "_or_null" while it has not been
    compared with 0; for a pointer to a kernel object "ptr", "trusted_ptr", "untrusted_ptr", "rcu_ptr".

    off: bytes from the base, var: what varies in addition (None: nothing). map, fd: of map_ptr, map_value, map_key.
    size: bytes of memory. frame: whose stack; of "func" the function's index. id: shared by copies of one result that may
    be null, by packet pointers with the same variable part, and by pointers to one map value that holds a lock. ref: what
    has to be released, 0 if nothing. range: bytes behind a packet pointer's base that are known to lie before the
    packet's end, -1 or -2 if it is known to lie at or behind the end. type: the struct's name, of a kernel object.
    uid: which of the maps that a map of maps holds, 0 for a map that the program names."""

    __slots__ = ("fd", "frame", "id", "kind", "map", "off", "range", "ref", "size", "type", "uid", "var")

    def __init__(
        self, kind: str, off: int = 0, var: Scalar | None = None, map: MapSpec | None = None, fd: int = 0, size: int = 0,
        frame: int = 0, id: int = 0, ref: int = 0, range: int = 0, type: str = "", uid: int = 0,
    ) -> None:
        self.kind = kind
        self.off = off
        self.var = var
        self.map = map
        self.fd = fd
        self.size = size
        self.frame = frame
        self.id = id
        self.ref = ref
        self.range = range
        self.type = type
        self.uid = uid

    @property
    def is_maybe_null(self) -> bool:
        return self.kind.endswith("_or_null")

    @property
    def kind_text(self) -> str:
        """The kind in Linux's sentences."""
        kind = self.kind.removeprefix("alloc_").removeprefix("nonown_")
        return f"{kind}_" if "ptr" in kind and kind not in ("map_ptr", "dynptr_ptr") else kind

    def placed(self, off: int, var: Scalar | None, id: int, range: int) -> Pointer:
        """The same base at another offset."""
        if var is not None and not var.mask:
            off, var = off + var.smin, None
        return Pointer(self.kind, off, var, self.map, self.fd, self.size, self.frame, id, self.ref, range, self.type, self.uid)

    def named(self, kind: str, id: int | None = None, ref: int | None = None) -> Pointer:
        """The same address as another kind."""
        return Pointer(kind, self.off, self.var, self.map, self.fd, self.size, self.frame, self.id if id is None else id,
                       self.ref if ref is None else ref, self.range, self.type, self.uid)

    def __str__(self) -> str:
        parts = [f"id={self.id}"] if self.id else []
        if self.map is not None:
            parts.append(f"map={self.map.name},ks={self.map.key_size},vs={self.map.value_size}")
        if self.off and self.kind != "fp":
            parts.append(f"off={self.off}")
        if self.var is not None:
            parts.append(f"smin={self.var.smin},smax={self.var.smax:#x}")
        off = f"{self.off}" if self.kind == "fp" else ""
        return f"{self.kind}{off}" + (f"({','.join(parts)})" if parts else "" if self.kind == "fp" else "()")


Value = Scalar | Pointer
