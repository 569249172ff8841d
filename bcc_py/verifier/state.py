"""What is true at one point of one path: registers and stack of each frame, and references not yet released.

A State is changed in place while its path is followed; copy() is taken at branches and checkpoints, and
Values in it are shared, since they never change. A stack slot is 8 bytes: a type for each byte ("r" of a
spilled register, "d" of a dynptr, "m" something, "0" zero, "-" never written) and the spilled Value, which is in the
lowest bytes. Slots nobody wrote are absent.

subsumes(old, new) is the reason why exploration ends: if nothing bad can follow old, and every concrete
state that new stands for is one that old stands for, nothing bad can follow new. Registers that are not
read before they are written do not count (Shape.live).

Source: kernel/bpf/verifier.c of Linux 6.18, states_equal, regsafe, stacksafe; written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from bcc_py.verifier.domain import ZERO, Pointer, Scalar, Value, covers, linked_by
from bcc_py.verifier.flow import SLOT_BIT

__all__ = ["PLACES", "Frame", "Ref", "Slot", "State", "subsumes"]

Slot = tuple[str, Value | None]
SPILLED = "rrrrrrrr"
# slots that are more than bytes: of a dynptr, an iterator, a saved interrupt state
SPECIAL = "dif"
# registers and stack slots of one frame, as bits (flow.py)
PLACES = SLOT_BIT + 64


class Frame:
    """One function's activation. regs: r0-r10; stack: slot number (0 is the one below r10) -> Slot;
    call_slot: where the caller's call is, -1 in the main function; function: index in Shape.starts.
    is_callback: a helper calls it, as often as it likes, and it returns to that call; turns: how often that was, counted
    in the frame of the caller.

    sources: for each register, and written: for each stack slot written since the path's latest checkpoint,
    the places there that its number was computed from (precision.py); a slot not in it is as it was."""

    __slots__ = ("call_slot", "function", "is_callback", "regs", "sources", "stack", "turns", "written")

    def __init__(
        self, regs: list[Value | None], stack: dict[int, Slot], call_slot: int, function: int,
        sources: list[int], written: dict[int, int], is_callback: bool = False, turns: int = 0,
    ) -> None:
        self.regs = regs
        self.stack = stack
        self.call_slot = call_slot
        self.function = function
        self.sources = sources
        self.written = written
        self.is_callback = is_callback
        self.turns = turns

    def copy(self) -> Frame:
        return Frame(
            self.regs.copy(), self.stack.copy(), self.call_slot, self.function, self.sources.copy(), self.written.copy(),
            self.is_callback, self.turns,
        )

    def sources_of_slot(self, depth: int, number: int) -> int:
        """What the number in this stack slot was computed from; depth: the index of this frame."""
        found = self.written.get(number)
        return 1 << PLACES * depth + SLOT_BIT + number if found is None else found


class Ref(NamedTuple):
    """Something to be released. slot: the call that gave it."""

    id: int
    slot: int


class State:
    """frames: the main function first. refs: what is not released yet. lock: what the held spin lock is part of (a
    map's descriptor, the map's uid, the value's id), of the latest where several are held; lower_locks: the others. rcu, preempt, irqs: how many RCU read sections, regions without
    preemption and (which) regions without interrupts the path is in. turn: how many times the path went round an open-ended
    loop. history: what Linux would have noted
    of the path since its latest checkpoint. is_speculative: no execution gets here, but a processor may, for a moment. is_async: begun by a timer."""

    __slots__ = ("frames", "history", "irqs", "is_async", "is_speculative", "lock", "lower_locks", "preempt", "rcu", "refs", "turn")

    def __init__(self, frames: list[Frame], refs: tuple[Ref, ...] = ()) -> None:
        self.frames = frames
        self.refs = refs
        self.lock: tuple[int, int, int] | None = None
        self.lower_locks: tuple[tuple[int, int, int], ...] = ()
        self.rcu = 0
        self.preempt = 0
        self.irqs: tuple[Ref, ...] = ()
        self.turn = 0
        self.history = 0
        self.is_speculative = False
        self.is_async = False

    def copy(self) -> State:
        one = State([frame.copy() for frame in self.frames], self.refs)
        one.lock = self.lock
        one.lower_locks = self.lower_locks
        one.rcu = self.rcu
        one.preempt = self.preempt
        one.irqs = self.irqs
        one.turn = self.turn
        one.history = self.history
        one.is_speculative = self.is_speculative
        one.is_async = self.is_async
        return one

    def replace(self, change: Callable[[Value], Value | None]) -> None:
        """Puts change(value) for each value in a register or spilled."""
        for frame in self.frames:
            regs = frame.regs
            for index, value in enumerate(regs):
                if value is not None:
                    new = change(value)
                    if new is not value:
                        regs[index] = new
            for number, (types, value) in list(frame.stack.items()):
                if value is not None:
                    new = change(value)
                    if new is None:
                        frame.stack[number] = (types.replace("r", "-"), None)
                    elif new is not value:
                        frame.stack[number] = (types, new)

    def spread(self, id: int, known: Scalar, sources: int) -> None:
        """Every copy of the number that has this id is known, which the numbers at these places taught; what differs
        from it by a constant is known by it."""
        for depth, frame in enumerate(self.frames):
            regs = frame.regs
            for index, value in enumerate(regs):
                if value is not None and value.id == id and isinstance(value, Scalar):
                    regs[index] = linked_by(known, value)
                    frame.sources[index] |= sources
            for number, (types, value) in frame.stack.items():
                if value is not None and value.id == id and isinstance(value, Scalar):
                    frame.stack[number] = (types, linked_by(known, value))
                    frame.written[number] = frame.sources_of_slot(depth, number) | sources

    def values(self) -> Iterator[Value]:
        for frame in self.frames:
            yield from (value for value in frame.regs if value is not None)
            yield from (value for _, value in frame.stack.values() if value is not None)


class _Ids:
    """A one-to-one map between the ids of two states, built while they are compared."""

    __slots__ = ("back", "lone", "there")

    def __init__(self) -> None:
        self.there: dict[int, int] = {}
        self.back: dict[int, int] = {}
        self.lone = 0

    def match_scalar(self, old: int, new: int) -> bool:
        """old: not 0. A new scalar without an id is linked to no other, so it gets an id nobody has."""
        if not new:
            self.lone -= 1
            new = self.lone
        return self.match(old, new)

    def match(self, old: int, new: int) -> bool:
        return self.there.setdefault(old, new) == new and self.back.setdefault(new, old) == old


# by a set of r0-r9 as bits, their numbers
_REGISTERS = tuple(tuple(number for number in range(10) if bits >> number & 1) for bits in range(1 << 10))


def subsumes(
    old: State, new: State, live: int, weighed: int, after_call: Callable[[Frame], tuple[int, int]], needed: int = 0,
    is_exact: bool = False, is_lax: bool = False, has_same_numbers: bool = False,
) -> bool:
    """True when old stands for every concrete state that new stands for; with is_exact, for the very same ones.

    live, weighed: what counts in the innermost frame (flow.py); after_call(callee): the same for a caller;
    needed: places whose numbers decided something on the ways on from old (precision.py). Numbers that are
    not weighed or not needed are all alike, unless is_exact. is_lax: stack bytes that nobody wrote may be read.
    has_same_numbers: numbers must not be narrower either."""
    if (len(old.frames) != len(new.frames) or len(old.refs) != len(new.refs)
            or (old.is_speculative and not new.is_speculative) or old.is_async != new.is_async
            or (old.lock is None) != (new.lock is None) or len(old.lower_locks) != len(new.lower_locks) or old.rcu != new.rcu or old.preempt != new.preempt
            or len(old.irqs) != len(new.irqs)):
        return False
    ids = _Ids()
    last = len(old.frames) - 1
    for depth, (a, b) in enumerate(zip(old.frames, new.frames, strict=True)):
        if a.call_slot != b.call_slot or a.function != b.function or a.is_callback != b.is_callback or a.turns > b.turns:
            return False
        bits, numbers = (live, weighed) if depth == last else after_call(new.frames[depth + 1])
        weighty = -1 if is_exact or not is_lax else numbers >> SLOT_BIT
        numbers = -1 if is_exact else numbers & needed >> PLACES * depth
        for number in _REGISTERS[bits & 0x3FF]:
            left, right = a.regs[number], b.regs[number]
            if not numbers >> number & 1 and left.__class__ is Scalar and right.__class__ is Scalar:
                continue
            if not _value(left, right, ids, is_exact):
                return False
            if has_same_numbers and isinstance(left, Scalar) and isinstance(right, Scalar) and not left.same_set(right):
                return False
        if not _stack(a.stack, b.stack, ids, is_exact, numbers >> SLOT_BIT, weighty):
            return False
    if old.lock is not None and new.lock is not None and not _same_lock(old.lock, new.lock, ids):
        return False
    if not all(_same_lock(a, b, ids) for a, b in zip(old.lower_locks, new.lower_locks, strict=True)):
        return False
    return all(ids.match(x.id, y.id) for x, y in zip(old.refs + old.irqs, new.refs + new.irqs, strict=True))


def _same_lock(old: tuple[int, int, int], new: tuple[int, int, int], ids: _Ids) -> bool:
    return old[0] == new[0] and all(ids.match(a, b) if a and b else a == b for a, b in zip(old[1:], new[1:], strict=True))


def _value(old: Value | None, new: Value | None, ids: _Ids, is_exact: bool) -> bool:
    if old is None:
        return new is None or not is_exact
    if isinstance(old, Scalar):
        if not isinstance(new, Scalar):
            return False
        if old is new and not old.id:
            return True
        if not (old.same_set(new) if is_exact else covers(old, new)):
            return False
        # a link between two registers of old is knowledge: new must have it too
        return not old.id or (old.plus == new.plus and ids.match_scalar(old.id, new.id))
    if not isinstance(new, Pointer):
        return False
    return _pointer(old, new, ids, is_exact)


def _pointer(old: Pointer, new: Pointer, ids: _Ids, is_exact: bool) -> bool:
    if (old.kind != new.kind or old.off != new.off or old.fd != new.fd or old.size != new.size
            or old.frame != new.frame or old.map is not new.map or bool(old.ref) != bool(new.ref)
            or old.type != new.type):
        return False
    if (old.uid or new.uid) and not ids.match(old.uid, new.uid):
        return False
    if (old.id or new.id) and not ids.match(old.id, new.id):
        return False
    if old.ref and not ids.match(old.ref, new.ref):
        return False
    if old.range > new.range or (is_exact and old.range != new.range):
        return False
    if old.var is None or new.var is None:
        return old.var is new.var
    return old.var.same_set(new.var) if is_exact else covers(old.var, new.var)


def _stack(
    old: dict[int, Slot], new: dict[int, Slot], ids: _Ids, is_exact: bool, needed: int, weighed: int
) -> bool:
    """needed: slots whose numbers must be covered; weighed: those that matter at all, -1 where bytes that nobody wrote
    must not be read."""
    if is_exact and old.keys() != new.keys():
        return False
    is_lax = weighed >= 0
    for number, slot in old.items():
        other = new.get(number)
        types, value = slot
        if other is slot and (
            value is None or (not value.id and (isinstance(value, Scalar) or not (value.ref or value.uid)))
        ):
            continue
        if not weighed >> number & 1 and types[0] not in SPECIAL and (other is None or not isinstance(other[1], Pointer)):
            continue
        if other is None:
            return False
        if not needed >> number & 1 and not isinstance(value, Pointer) and not isinstance(other[1], Pointer):
            # only whether a byte was written counts
            if not is_lax and "-" in other[0] and any(
                have == "-" != want for want, have in zip(types, other[0], strict=True)
            ):
                return False
        elif not _slot(slot, other, ids, is_exact, is_lax):
            return False
    return True


def _special(old: Value | None, new: Value | None, ids: _Ids, is_exact: bool) -> bool:
    """What the kernel keeps in a slot: a dynptr, an iterator, an interrupt state."""
    if not isinstance(old, Pointer) or not isinstance(new, Pointer):
        return old is new
    if old.kind != new.kind or old.type != new.type or old.size != new.size or (is_exact and old.range != new.range):
        return False
    return all(ids.match(a, b) if a and b else a == b for a, b in ((old.id, new.id), (old.ref, new.ref)))


def _slot(old: Slot, new: Slot, ids: _Ids, is_exact: bool, is_lax: bool) -> bool:
    types, have_types = old[0], new[0]
    if types == have_types:
        if types[0] in SPECIAL:
            return _special(old[1], new[1], ids, is_exact)
        return old[1] is None or _value(old[1], new[1], ids, is_exact)
    if is_exact or types[0] in SPECIAL:
        return False
    if old[1] is not None and (have_types.count("r") != types.count("r") or not _value(old[1], new[1], ids, is_exact)):
        return False
    for want, have in zip(types, have_types, strict=True):
        if want == have or want == "-":
            continue
        if want == "m" and (have == "0" or isinstance(new[1], Scalar) or (is_lax and have == "-")):
            continue
        if want == "0" and have == "r" and new[1] is ZERO:
            continue
        return False
    return True
