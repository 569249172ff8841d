"""Which registers and stack slots can still matter at each instruction: two backward data flows.

Input: well-formed instructions and the graph's edges. Output, for each slot, two bit sets. live: registers
that may be read before they are written. weighed: registers (bit 0-9) and stack slots of the frame (bit
16 + number) whose numeric value may still decide something: a comparison, an address, a size. Of a number
that is live but not weighed the verifier need not know which number it is, so paths that differ only in
such numbers are one path. That is known before the first path is walked; which of the numbers that are
weighed did decide something is seen on the way (precision.py).

Invariant: both sets are upper bounds. Stores and loads whose base may be the stack, but is not r10 with
a constant, count for every slot; so do calls that may be given a pointer to the stack.

Source: any text on data flow analysis (Nielson, Nielson, Hankin, "Principles of Program Analysis", 2.1.4;
the second is its strongly live variables)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bcc_py.isa import PSEUDO_CALL, PSEUDO_MAP_FD, Insn
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Arg

__all__ = ["ALL_SLOTS", "LOAD_ACQUIRE", "SLOT_BIT", "STORE_RELEASE", "liveness", "stack_pointers", "weights"]

SLOT_BIT = 16
ALL_SLOTS = ((1 << 64) - 1) << SLOT_BIT
# any slot of a caller's frame, within a function that may have been shown some
_FOREIGN = 1 << SLOT_BIT + 64
_ANY_SLOT = ALL_SLOTS | _FOREIGN
_CALL, _EXIT, _JA, _GOTOL = 0x85, 0x95, 0x05, 0x06
LOAD_ACQUIRE, STORE_RELEASE, _CMPXCHG = 0x100, 0x110, 0xF1
_LDDW, _MOV_REG, _ADD_IMM = 0x18, 0xBF, 0x07
# how far before a call its arguments are made
_NEAR = 16
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_ARGS = 0x3E
_LOOK_UP = HELPER_IDS["map_lookup_elem"]
_CLOBBERED = 0x3F

Edges = Mapping[int, tuple[int, ...]]


def _uses(insn: Insn) -> tuple[int, int]:
    """(registers read, registers written) as bit sets."""
    code, dst, src = insn.code, 1 << insn.dst, 1 << insn.src
    cls = code & 7
    if cls in (4, 7):
        op = code & 0xF0
        reads = src if code & 8 and op not in (0x80, 0xD0) else 0
        return (reads if op == 0xB0 else reads | dst), dst
    if cls == 1:
        return src, dst
    if cls == 2:
        return dst, 0
    if cls == 3:
        return (dst | src, 0) if code & 0xE0 == 0x60 else _atomic_uses(insn)
    if cls == 0:
        return 0, dst
    if code == _CALL:
        helper = HELPER_BY_ID.get(insn.imm) if insn.src == 0 else None
        count = len(helper.args) if helper else 5
        return ((1 << count) - 1) << 1, _CLOBBERED
    if code == _EXIT:
        return 1, 0
    if code in (_JA, _GOTOL):
        return 0, 0
    return dst | (src if code & 8 else 0), 0


def _atomic_uses(insn: Insn) -> tuple[int, int]:
    dst, src = 1 << insn.dst, 1 << insn.src
    if insn.imm == LOAD_ACQUIRE:
        return src, dst
    if insn.imm == 0xF1:
        return dst | src | 1, 1
    return dst | src, src if insn.imm & 1 else 0


def _backward(heads: Sequence[int], edges: Edges, size: int, before: Callable[[int, int], int]) -> tuple[int, ...]:
    """The least sets with sets[slot] == before(slot, union of the successors' sets)."""
    sets = [0] * (size + 1)
    is_changed = True
    while is_changed:
        is_changed = False
        for slot in reversed(heads):
            after = 0
            for other in edges[slot]:
                after |= sets[other]
            new = before(slot, after)
            if new != sets[slot]:
                sets[slot] = new
                is_changed = True
    return tuple(sets)


def liveness(insns: Sequence[Insn], heads: Sequence[int], edges: Edges) -> tuple[int, ...]:
    """For each slot, the registers that may be read before they are written (in this function: those of a
    caller live in the caller's frame)."""
    uses = {slot: _uses(insns[slot]) for slot in heads}

    def before(slot: int, after: int) -> int:
        reads, writes = uses[slot]
        return reads | after & ~writes

    return _backward(heads, edges, len(insns), before)


def stack_pointers(insns: Sequence[Insn], heads: Sequence[int], edges: Edges, starts: Sequence[int]) -> tuple[int, ...]:
    """For each slot, the registers that may hold a pointer into a stack, before it runs."""
    pointers = [0] * (len(insns) + 1)
    for start in starts:
        pointers[start] = 1 << 10 | (_ARGS if start else 0)
    waiting = list(starts)
    while waiting:
        slot = waiting.pop()
        after = _pointers_after(insns[slot], pointers[slot]) | 1 << 10
        for other in edges[slot]:
            if after & ~pointers[other]:
                pointers[other] |= after
                waiting.append(other)
    return tuple(pointers)


def _pointers_after(insn: Insn, pointers: int) -> int:
    code, dst = insn.code, 1 << insn.dst
    cls = code & 7
    has_source = pointers >> insn.src & 1
    if cls in (4, 7):
        if code & 0xF0 == 0xB0:
            return pointers | dst if code & 8 and has_source else pointers & ~dst
        return pointers | dst if code & 8 and has_source else pointers
    if cls == 1:
        # a pointer spilled to the stack may come back
        return pointers | dst if has_source else pointers & ~dst
    if cls == 3 and code & 0xE0 == 0xC0 and insn.imm == LOAD_ACQUIRE:
        return pointers | dst if has_source else pointers & ~dst
    if code == _CALL:
        return pointers & ~_CLOBBERED
    return pointers & ~dst if cls == 0 else pointers


def weights(
    insns: Sequence[Insn], heads: Sequence[int], edges: Edges, starts: Sequence[int], arrivals: frozenset[int],
    dense: frozenset[int] | None,
) -> tuple[int, ...]:
    """For each slot, the registers and stack slots whose numeric value may still decide something. arrivals: where
    jumps lead; dense: descriptors of maps whose entries are there whatever the key, None if that is not known."""
    pointers = stack_pointers(insns, heads, edges, starts)
    keys = {
        slot: _key_slots(insns, slot, arrivals, dense) for slot in heads
        if insns[slot].code == _CALL and insns[slot].imm == _LOOK_UP and not insns[slot].src
    }

    def before(slot: int, after: int) -> int:
        insn = insns[slot]
        cls = insn.code & 7
        if cls in (4, 7):
            return _weigh_alu(insn, after)
        if cls == 1:
            return _weigh_load(insn, after, insn.src, pointers[slot])
        if cls in (2, 3):
            return _weigh_store(insn, after, pointers[slot])
        if cls == 0:
            return after & ~(1 << insn.dst)
        return _weigh_jump(insn, after, pointers[slot], keys.get(slot, 0))

    return _backward(heads, edges, len(insns), before)


def _key_slots(insns: Sequence[Insn], call: int, arrivals: frozenset[int], dense: frozenset[int] | None) -> int:
    """The stack slots in which the key of a look-up may lie, 0 if its number does not matter. What is looked for is
    `r1 = map`, `r2 = r10`, `r2 += n` in the straight code before the call."""
    off, found = 0, _ANY_SLOT
    is_key_known = False
    for slot in range(call - 1, max(call - _NEAR, -1), -1):
        insn = insns[slot]
        if slot + 1 in arrivals or insn.code & 7 in (5, 6):
            break
        if insn.code == _LDDW and insn.dst == 1:
            if insn.src == PSEUDO_MAP_FD and dense is not None and insn.imm not in dense:
                return 0
        elif insn.code & 7 in (1, 4, 7) and insn.dst == 2 and not is_key_known:
            if insn.code == _ADD_IMM:
                off += insn.imm
            elif insn.code == _MOV_REG and insn.src == 10 and -512 <= off < 0:
                found, is_key_known = 1 << SLOT_BIT + (-off - 1) // 8, True
            else:
                is_key_known = True
    return found


def _weigh_alu(insn: Insn, after: int) -> int:
    dst = 1 << insn.dst
    op = insn.code & 0xF0
    if insn.code & 8 and insn.code & 7 == 7 and op in (0x00, 0x10):
        return after | dst | 1 << insn.src  # one may be a pointer, and how far it moves is checked
    if not after & dst:
        return after
    if op == 0xB0:
        return after & ~dst | (1 << insn.src if insn.code & 8 else 0)
    return after | (1 << insn.src if insn.code & 8 and op not in (0x80, 0xD0) else 0)


def _slot_of(insn: Insn, base: int) -> int:
    """The bit of the one stack slot that r10 + off lies in, 0 if the base is another register."""
    if base != 10 or not -512 <= insn.off < 0:
        return 0
    return 1 << SLOT_BIT + (-insn.off - 1) // 8


def _weigh_load(insn: Insn, after: int, base: int, pointers: int) -> int:
    is_wanted = after >> insn.dst & 1
    after = after & ~(1 << insn.dst) | 1 << base
    if is_wanted and pointers >> base & 1:
        after |= _slot_of(insn, base) or _ANY_SLOT
    return after


def _weigh_store(insn: Insn, after: int, pointers: int) -> int:
    dst = 1 << insn.dst
    if insn.code & 0xE0 == 0xC0 and insn.imm == LOAD_ACQUIRE:
        return _weigh_load(insn, after, insn.src, pointers)
    if insn.code & 0xE0 == 0xC0 and insn.imm != STORE_RELEASE:
        # read, change, write: the operands are forgotten, and what lay there unless it is fetched
        fetched = 1 if insn.imm == _CMPXCHG else 1 << insn.src if insn.imm & 1 else 0
        if after & fetched and pointers >> insn.dst & 1:
            after |= _slot_of(insn, insn.dst) or _ANY_SLOT
        return after & ~fetched | dst
    if not pointers >> insn.dst & 1:
        return after | dst
    slot = _slot_of(insn, insn.dst)
    is_wanted = after & (slot or _ANY_SLOT)
    if slot and _SIZES[insn.code & 0x18] == 8:
        after &= ~slot
    return after | dst | (1 << insn.src if is_wanted and insn.code & 7 == 3 else 0)


def _weigh_jump(insn: Insn, after: int, pointers: int, key_slots: int) -> int:
    code = insn.code
    if code == _EXIT:
        return 1 | _FOREIGN
    if code in (_JA, _GOTOL):
        return after
    if code != _CALL:
        return after | 1 << insn.dst | (1 << insn.src if code & 8 else 0)
    after &= ~_CLOBBERED
    if insn.src == PSEUDO_CALL:
        return after | _ARGS | (_ANY_SLOT if pointers & _ARGS else 0)
    helper = HELPER_BY_ID.get(insn.imm) if not insn.src else None
    if helper is None:
        return after | _ARGS | (_ANY_SLOT if pointers & _ARGS else 0)
    for number, arg in enumerate(helper.args, 1):
        if arg is not Arg.ANYTHING:
            after |= 1 << number
    if pointers & 1 << 2:
        after |= key_slots  # a known key in an array
    if Arg.FUNC in helper.args and pointers & _ARGS:
        after |= _ANY_SLOT  # what a callback is shown
    return after
