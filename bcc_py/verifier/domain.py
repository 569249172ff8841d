"""What a register may hold: scalars and pointers, and how arithmetic and comparisons change them.

A Scalar stands for a set of 64-bit values, as the intersection of a tristate number (bits known to be
0 or 1, and a mask of unknown ones) and four ranges: signed and unsigned, of all 64 and of the low 32
bits. Invariant: the set is never empty and every operation's result contains every value that the
machine could compute from members of its operands (div and mod and byte swaps simply forget). A
Pointer is a base (kind and what it belongs to), a constant offset and a Scalar of variable offset.
Both are immutable and shared freely; None stands for a register nobody has written.

Algorithm: make() closes the ranges under each other: bounds from bits, low half from the whole and
back, signed from unsigned and back, bits from bounds. Constants, the usual case, take a short way.

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


def make(
    value: int, mask: int, smin: int, smax: int, umin: int, umax: int,
    s32min: int = S32_MIN, s32max: int = S32_MAX, u32min: int = 0, u32max: int = M32, id: int = 0,
) -> Scalar | None:
    """The Scalar of everything that obeys all of these, None if nothing does."""
    for _ in range(2):
        # bounds from bits
        umin = max(umin, value)
        umax = min(umax, value | mask)
        smin = max(smin, _signed64(value | mask & _SIGN64))
        smax = min(smax, _signed64(value | mask & ~_SIGN64))
        low, low_mask = value & M32, mask & M32
        u32min = max(u32min, low)
        u32max = min(u32max, low | low_mask)
        s32min = max(s32min, _signed32(low | low_mask & _SIGN32))
        s32max = min(s32max, _signed32(low | low_mask & ~_SIGN32))
        # the low half from the whole
        if umin >> 32 == umax >> 32:
            u32min = max(u32min, umin & M32)
            u32max = min(u32max, umax & M32)
        if smin >> 32 == smax >> 32:
            u32min = max(u32min, smin & M32)
            u32max = min(u32max, smax & M32)
        if smin >= S32_MIN and smax <= S32_MAX:
            s32min = max(s32min, smin)
            s32max = min(s32max, smax)
        # signed and unsigned of the low half
        if u32min >> 31 == u32max >> 31:
            s32min = max(s32min, _signed32(u32min))
            s32max = min(s32max, _signed32(u32max))
        if s32min >> 31 == s32max >> 31:
            u32min = max(u32min, s32min & M32)
            u32max = min(u32max, s32max & M32)
        elif u32max < s32min & M32:
            s32min, u32max = max(s32min, 0), min(u32max, s32max)
        elif u32min > s32max:
            s32max, u32min = min(s32max, -1), max(u32min, s32min & M32)
        if u32min > u32max or s32min > s32max:
            return None
        # signed and unsigned of the whole
        if umin >> 63 == umax >> 63:
            smin = max(smin, _signed64(umin))
            smax = min(smax, _signed64(umax))
        if smin >> 63 == smax >> 63:
            umin = max(umin, smin & M64)
            umax = min(umax, smax & M64)
        elif umax < smin & M64:  # the signed range goes through 0, and of the two parts one is out
            smin, umax = max(smin, 0), min(umax, smax)
        elif umin > smax:
            smax, umin = min(smax, -1), max(umin, smin & M64)
        if umin > umax or smin > smax:
            return None
        # the whole from the low half
        low, high = umin & M32, umin >> 32
        if low < u32min:
            umin = high << 32 | u32min
        elif low > u32max:
            umin = high + 1 << 32 | u32min
        low, high = umax & M32, umax >> 32
        if low > u32max:
            umax = high << 32 | u32max
        elif low < u32min:
            umax = (high - 1 << 32) + u32max
        smin = max(smin, smin & ~M32 | u32min)
        smax = min(smax, smax & ~M32 | u32max)
        if umin > umax or smin > smax:
            return None
        if smin >= S32_MIN and smax <= S32_MAX:
            smin = max(smin, s32min)
            smax = min(smax, s32max)
        # bits from bounds
        rv, rm = _range_bits(umin, umax)
        if (value ^ rv) & ~mask & ~rm:
            return None
        value, mask = value | rv, mask & rm
        value &= ~mask
        rv, rm = _range_bits(u32min, u32max)
        rm |= M64 ^ M32
        if (value ^ rv) & ~mask & ~rm:
            return None
        value, mask = value | rv, mask & rm
        value &= ~mask
        if not mask:
            if not (umin <= value <= umax and smin <= _signed64(value) <= smax):
                return None
            return const(value)
    if umin > umax or smin > smax:
        return None
    return Scalar(value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max, id)


def unsigned_range(umin: int, umax: int) -> Scalar:
    """All x with umin <= x <= umax."""
    one = make(0, M64, S64_MIN, S64_MAX, umin, umax)
    assert one is not None, "a range that is not empty"
    return one


def signed_range(smin: int, smax: int) -> Scalar:
    one = make(0, M64, smin, smax, 0, M64)
    assert one is not None, "a range that is not empty"
    return one


def with_id(scalar: Scalar, id: int, plus: tuple[int, bool] | None = None) -> Scalar:
    """The same set under another id; constants need none."""
    if (scalar.id == id and scalar.plus == plus) or not scalar.mask:
        return scalar
    return Scalar(scalar.value, scalar.mask, scalar.smin, scalar.smax, scalar.umin, scalar.umax,
                  scalar.s32min, scalar.s32max, scalar.u32min, scalar.u32max, id, plus)


def with_low(scalar: Scalar, low: int) -> Scalar:
    """scalar with its low 32 bits known."""
    return make(scalar.value & ~M32 | low, scalar.mask & ~M32, scalar.smin, scalar.smax, scalar.umin, scalar.umax) or UNKNOWN


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
        one = make(value, mask, S64_MIN, S64_MAX, scalar.u32min, scalar.u32max, scalar.s32min, scalar.s32max,
                   scalar.u32min, scalar.u32max)
        return one or UNKNOWN32
    umin, umax = 0, top
    if scalar.umin & ~top == scalar.umax & ~top:
        umin, umax = scalar.umin & top, scalar.umax & top
    # a set that is empty although nobody has noticed belongs to a path that no execution takes: any answer will do
    return make(value, mask, S64_MIN, S64_MAX, umin, umax) or unsigned_range(0, top)


def cast_signed(scalar: Scalar, size: int, is_wide: bool = True) -> Scalar:
    """The low size bytes, sign-extended to 64 bits, or to 32 with zeros above.

    Source: kernel/bpf/verifier.c, coerce_reg_to_size_sx: a range survives if all of it agrees above the cut."""
    if size == 8:
        return scalar
    bits = 8 * size
    half = 1 << bits - 1
    if scalar.umax < half:
        return with_id(signed_range(scalar.smin, scalar.smax), scalar.id, scalar.plus)
    if not scalar.mask:
        low = scalar.value & (1 << bits) - 1
        wider = low - (1 << bits) if low & half else low
        return const(wider if is_wide else wider & M32)
    least, most = (scalar.smin, scalar.smax) if is_wide else (scalar.s32min, scalar.s32max)
    if least >> bits == most >> bits:
        ends = [(one + half & (1 << bits) - 1) - half for one in (least, most)]
        least, most = min(ends), max(ends)
    if least >> bits != most >> bits or (least < 0) != (most < 0):
        least, most = -half, half - 1
    if is_wide:
        return signed_range(least, most)
    return make(0, M32, 0, M32, 0, M32, least, most) or UNKNOWN32


def byte_swapped(scalar: Scalar, bits: int, is_swap: bool) -> Scalar:
    """The low bits, in the other order of bytes if is_swap; zeros above."""
    if not is_swap:
        return scalar if bits == 64 else with_id(low_bytes(scalar, bits // 8), 0)
    size, top = bits // 8, (1 << bits) - 1
    value, mask = (int.from_bytes((one & top).to_bytes(size, "little"), "big") for one in (scalar.value, scalar.mask))
    return make(value, mask, S64_MIN, S64_MAX, 0, top) or UNKNOWN


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


# ---- arithmetic: each operation on one width gives (value, mask, smin, smax, umin, umax) of that width

_Part = tuple[int, int, int, int, int, int]
_ADD, _SUB, _MUL, _OR, _AND, _LSH, _RSH, _XOR, _ARSH = 0x00, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xC0
_FORGETFUL = frozenset((0x30, 0x90))  # div, mod


def alu(op: int, left: Scalar, right: Scalar, is_wide: bool) -> Scalar:
    """What `left op= right` leaves. op: code & 0xf0 of an arithmetic instruction, not a move; is_wide: on 64
    bits, otherwise on 32 with the upper half cleared. Shifts by the width or more are unknown."""
    if op in _FORGETFUL:
        return UNKNOWN  # at either width, as Linux has it
    bits = 64 if is_wide else 32
    if not left.mask and not right.mask:
        return _alu_const(op, left.value, right.value, bits)
    if is_wide:
        a: _Part = (left.value, left.mask, left.smin, left.smax, left.umin, left.umax)
        b: _Part = (right.value, right.mask, right.smin, right.smax, right.umin, right.umax)
    else:
        a = (left.value & M32, left.mask & M32, left.s32min, left.s32max, left.u32min, left.u32max)
        b = (right.value & M32, right.mask & M32, right.s32min, right.s32max, right.u32min, right.u32max)
    if op in (_LSH, _RSH, _ARSH):
        part = _shift(op, a, b, bits)
    else:
        part = _LINEAR[op](a, b, bits)
    value, mask, smin, smax, umin, umax = part
    if is_wide and op in _LINEAR:
        return _with_low_half(op, left, right, part)
    if is_wide:
        if op == _LSH and right.umin == right.umax == 32:
            smin, smax = left.s32min << 32, left.s32max << 32  # as in `<<= 32, s>>= 32`
        return make(value, mask, smin, smax, umin, umax) or UNKNOWN
    return make(value, mask, S64_MIN, S64_MAX, umin, umax, smin, smax, umin, umax) or UNKNOWN32


def _with_low_half(op: int, left: Scalar, right: Scalar, part: _Part) -> Scalar:
    """The 64-bit result, of which the low half is also known from the low halves."""
    value, mask, smin, smax, umin, umax = part
    if (left.u32max - left.u32min == M32 and left.s32max - left.s32min == M32) or (
        right.u32max - right.u32min == M32 and right.s32max - right.s32min == M32
    ):
        return make(value, mask, smin, smax, umin, umax) or UNKNOWN
    a = (left.value & M32, left.mask & M32, left.s32min, left.s32max, left.u32min, left.u32max)
    b = (right.value & M32, right.mask & M32, right.s32min, right.s32max, right.u32min, right.u32max)
    low = _LINEAR[op](a, b, 32)
    return make(value, mask, smin, smax, umin, umax, *low[2:]) or UNKNOWN


def _alu_const(op: int, a: int, b: int, bits: int) -> Scalar:
    top = (1 << bits) - 1
    a, b = a & top, b & top
    if op in (_LSH, _RSH, _ARSH):
        if b >= bits:
            return UNKNOWN if bits == 64 else UNKNOWN32
        signed = a - (1 << bits) if a >> bits - 1 else a
        return const((a << b if op == _LSH else a >> b if op == _RSH else signed >> b) & top)
    if op == _ADD:
        return const(a + b & top)
    if op == _SUB:
        return const(a - b & top)
    if op == _MUL:
        return const(a * b & top)
    return const(a | b if op == _OR else a & b if op == _AND else a ^ b)


def _wrap(low: int, high: int, bits: int) -> tuple[int, int]:
    """An unsigned range after arithmetic in the integers, modulo 2**bits."""
    if low >> bits == high >> bits:
        top = (1 << bits) - 1
        return low & top, high & top
    return 0, (1 << bits) - 1


def _wrap_signed(low: int, high: int, bits: int) -> tuple[int, int]:
    half = 1 << bits - 1
    low, high = _wrap(low + half, high + half, bits)
    return low - half, high - half


def _add(a: _Part, b: _Part, bits: int) -> _Part:
    top = (1 << bits) - 1
    total = a[0] + b[0]
    carried = (total + a[1] + b[1]) ^ total | a[1] | b[1]
    return (total & ~carried & top, carried & top,
            *_wrap_signed(a[2] + b[2], a[3] + b[3], bits), *_wrap(a[4] + b[4], a[5] + b[5], bits))


def _sub(a: _Part, b: _Part, bits: int) -> _Part:
    top = (1 << bits) - 1
    difference = a[0] - b[0]
    borrowed = (difference + a[1]) ^ (difference - b[1]) | a[1] | b[1]
    return (difference & ~borrowed & top, borrowed & top,
            *_wrap_signed(a[2] - b[3], a[3] - b[2], bits), *_wrap(a[4] - b[5], a[5] - b[4], bits))


def _product_bits(a: _Part, b: _Part, top: int) -> tuple[int, int]:
    """Known and unknown bits of a product: b is added for each bit of a that is, or may be, 1."""
    if a[1] == top:
        known_or_not = b[0] | b[1]
        return 0, top & -(known_or_not & -known_or_not) if known_or_not else 0
    value = mask = 0
    (a_value, a_mask), (b_value, b_mask) = a[:2], b[:2]
    while a_value or a_mask:
        if (a_value | a_mask) & 1:
            total = value + b_value
            carried = (total + mask + b_mask) ^ total | mask | b_mask
            sum_value, sum_mask = total & ~carried & top, carried & top
            if a_value & 1:
                value, mask = sum_value, sum_mask
            else:
                mask |= sum_mask | value ^ sum_value
                value &= sum_value & ~mask
        a_value, a_mask = a_value >> 1, a_mask >> 1
        b_value, b_mask = b_value << 1 & top, b_mask << 1 & top
    return value, mask


def _mul(a: _Part, b: _Part, bits: int) -> _Part:
    top = (1 << bits) - 1
    half = 1 << bits - 1
    umin, umax = a[4] * b[4], a[5] * b[5]
    if umax > top:
        umin, umax = 0, top
    products = (a[2] * b[2], a[2] * b[3], a[3] * b[2], a[3] * b[3])
    smin, smax = min(products), max(products)
    if smin < -half or smax >= half:
        smin, smax = -half, half - 1
    return *_product_bits(a, b, top), smin, smax, umin, umax


def _any_signed(bits: int) -> tuple[int, int]:
    return -(1 << bits - 1), (1 << bits - 1) - 1


def _and(a: _Part, b: _Part, bits: int) -> _Part:
    value = a[0] & b[0]
    mask = (a[0] | a[1]) & (b[0] | b[1]) & ~value
    return value, mask, *_any_signed(bits), value, min(a[5], b[5])


def _or(a: _Part, b: _Part, bits: int) -> _Part:
    value = a[0] | b[0]
    mask = (a[1] | b[1]) & ~value
    return value, mask, *_any_signed(bits), max(a[4], b[4]), value | mask


def _xor(a: _Part, b: _Part, bits: int) -> _Part:
    mask = a[1] | b[1]
    value = (a[0] ^ b[0]) & ~mask
    return value, mask, *_any_signed(bits), value, value | mask


_LINEAR = {_ADD: _add, _SUB: _sub, _MUL: _mul, _AND: _and, _OR: _or, _XOR: _xor}


def _shift(op: int, a: _Part, b: _Part, bits: int) -> _Part:
    top = (1 << bits) - 1
    least, most = b[4], b[5]
    if most >= bits:
        return 0, top, *_any_signed(bits), 0, top
    is_fixed = least == most
    if op == _LSH:
        value, mask = (a[0] << least & top, a[1] << least & top) if is_fixed else (0, top)
        fits = a[5] <= 1 << bits - 1 - most
        return value, mask, *_any_signed(bits), *((a[4] << least, a[5] << most) if fits else (0, top))
    if op == _RSH:
        value, mask = (a[0] >> least, a[1] >> least) if is_fixed else (0, top)
        return value, mask, *_any_signed(bits), a[4] >> most, a[5] >> least
    half = 1 << bits - 1
    value, mask = 0, top
    if is_fixed:
        signed_value = a[0] - (1 << bits) if a[0] & half else a[0]
        signed_mask = a[1] - (1 << bits) if a[1] & half else a[1]
        value, mask = signed_value >> least & top, signed_mask >> least & top
    smin = a[2] >> (least if a[2] < 0 else most)
    smax = a[3] >> (most if a[3] < 0 else least)
    return value, mask, smin, smax, 0, top


# ---- comparisons

_EQ, _GT, _GE, _SET, _NE, _SGT, _SGE, _LT, _LE, _SLT, _SLE = (
    0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0)
_NOT_SET = 0x1000  # no opcode: the other branch of _SET
_INVERSE = {_EQ: _NE, _NE: _EQ, _GT: _LE, _LE: _GT, _GE: _LT, _LT: _GE, _SGT: _SLE, _SLE: _SGT, _SGE: _SLT,
            _SLT: _SGE, _SET: _NOT_SET}
_SWAPPED = {_LT: _GT, _LE: _GE, _SLT: _SGT, _SLE: _SGE}


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
        if umin == umax == other_umin == other_umax:
            return op == _EQ
        apart = (umin > other_umax or umax < other_umin or smin > other_smax or smax < other_smin
                 or (left.value ^ right.value) & ~left.mask & ~right.mask & low)
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
        return None
    if left.value & right.value & low:
        return True
    return None if (left.value | left.mask) & right.value & low else False


def refine(op: int, left: Scalar, right: Scalar, is_wide: bool, is_taken: bool) -> tuple[Scalar, Scalar] | None:
    """Both operands after `if left op right` was taken or not; None if that cannot happen."""
    if not is_taken:
        op = _INVERSE[op]
    if op in _SWAPPED:
        swapped = refine(_SWAPPED[op], right, left, is_wide, True)
        return swapped and (swapped[1], swapped[0])
    a, b = _fields(left), _fields(right)
    u, s = (4, 2) if is_wide else (8, 6)
    if op == _EQ:
        if not _equal(a, b, is_wide):
            return None
    elif op == _NE:
        _unequal(a, b, u, s)
        _unequal(b, a, u, s)
    elif op in (_GT, _SGT, _GE, _SGE):
        at = u if op in (_GT, _GE) else s
        step = 1 if op in (_GT, _SGT) else 0
        a[at] = max(a[at], b[at] + step)
        b[at + 1] = min(b[at + 1], a[at + 1] - step)
        if a[at] > a[at + 1] or b[at] > b[at + 1]:
            return None
    elif not right.mask & (M64 if is_wide else M32):
        _bits(a, right.value & (M64 if is_wide else M32), op == _SET)
    x, y = _close(left, a), _close(right, b)
    return (x, y) if x is not None and y is not None else None


def _fields(one: Scalar) -> list[int]:
    return [one.value, one.mask, one.smin, one.smax, one.umin, one.umax, one.s32min, one.s32max, one.u32min, one.u32max]


def _close(before: Scalar, fields: list[int]) -> Scalar | None:
    if fields == _fields(before):
        return before
    one = make(*fields)
    return with_id(one, before.id, before.plus) if one is not None else None


def _equal(a: list[int], b: list[int], is_wide: bool) -> bool:
    low = M64 if is_wide else M32
    if (a[0] ^ b[0]) & ~a[1] & ~b[1] & low:
        return False
    value, mask = (a[0] | b[0]) & low, a[1] & b[1] & low
    for one in (a, b):
        one[0] = one[0] & ~low | value & ~mask
        one[1] = one[1] & ~low | mask
    for at in (2, 4, 6, 8) if is_wide else (6, 8):
        a[at] = b[at] = max(a[at], b[at])
        a[at + 1] = b[at + 1] = min(a[at + 1], b[at + 1])
        if a[at] > a[at + 1]:
            return False
    return True


def _unequal(a: list[int], b: list[int], u: int, s: int) -> None:
    """Cuts the one value of b off the ends of a."""
    if b[u] != b[u + 1]:
        return
    for at in (u, s):
        if a[at] == b[at] and a[at] < a[at + 1]:
            a[at] += 1
        elif a[at + 1] == b[at] and a[at] < a[at + 1]:
            a[at + 1] -= 1


def _bits(a: list[int], wanted: int, is_set: bool) -> None:
    if not is_set:
        a[0] &= ~wanted
        a[1] &= ~wanted
    elif not wanted & wanted - 1 and wanted:
        a[0] |= wanted
        a[1] &= ~wanted


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
