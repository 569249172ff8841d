"""The states a program was seen in, so that a path that comes to one of them again can end.

Input: states at the slots where paths meet. Output: the finished checkpoint that stands for a state
(covering), or that a path turned in a circle (is_circle). Invariant: only a finished checkpoint stands for
others, since only then it is known that nothing bad follows it, and which of its numbers were needed.

Algorithm: for an old state to stand for a new one, the numbers that old needed and knew exactly must be the
same in new, and so must the offsets of its pointers. These make a key: a finished checkpoint is filed under
its slot, which places those are, and what they hold, so the turn of a loop finds its like at once among
thousands. The few that share a key are compared one by one (state.subsumes); one that was compared in vain
much more often than it helped is forgotten, as Linux does it.

Source: kernel/bpf/verifier.c of Linux 6.18, is_state_visited; the keys are our own."""

from __future__ import annotations

from collections.abc import Sequence

from bcc_py.verifier.domain import Scalar, Value
from bcc_py.verifier.flow import ALL_SLOTS, SLOT_BIT
from bcc_py.verifier.form import Shape
from bcc_py.verifier.precision import Checkpoint, settle
from bcc_py.verifier.state import PLACES, Frame, State, subsumes

__all__ = ["Pruner"]

# unfinished checkpoints looked at for a circle; keys' shapes for each slot; checkpoints under one key, and in all
_MAX_ON_PATH = 16
# turns looked at for one that stands for another; a loop that has turned so often without one will hardly find one
_MAX_TURNS, _MANY_TURNS = 64, 256
_MAX_SHAPES = 8
_MAX_ALIKE = 64
_MAX_REMEMBERED = 50_000
# comparisons in vain that a checkpoint may cost before it has helped
_PATIENCE = 48

_Key = tuple[int | None, ...]


class Pruner:
    """What was seen in one exploration. is_lax: stack bytes that nobody wrote may be read. peak: the most checkpoints that were kept at once."""

    def __init__(self, shape: Shape, is_lax: bool) -> None:
        self.peak = 0
        self._is_lax = is_lax
        # sums are masked by how far they may go, so paths that differ in a number differ
        self.are_numbers_exact = False
        self._live = shape.live
        self._weighed = shape.weighed
        self._kept = 0
        self._turns = shape.turns
        self._turning: dict[int, list[Checkpoint]] = {}  # of those on the path, at the turns of loops without a bound
        self._mark: _Key | None = None  # of the state that was last looked at
        self._on_path: dict[int, dict[_Key, list[Checkpoint]]] = {}
        self._finished: dict[_Key, list[Checkpoint]] = {}
        # for each slot the shapes of its keys, the latest that was of use first
        self._shapes: dict[int, list[int]] = {}
        self._places: dict[int, tuple[tuple[int, int], ...]] = {}

    def is_circle(self, slot: int, state: State) -> bool:
        """True when the path was here before in the very same state."""
        there = self._on_path.get(slot)
        self._mark = None
        if not there:
            return False
        live, weighed = self._live[slot], self._weighed[slot]
        self._mark = self._print(slot, state)
        for one in there.get(self._mark, ())[:-_MAX_ON_PATH - 1:-1]:
            if one.state.turn == state.turn and subsumes(one.state, state, live, weighed, self._after_call, is_exact=True):
                return True
        return False

    def is_on_path(self, slot: int) -> bool:
        """The path was here before."""
        return slot in self._on_path and bool(self._on_path[slot])

    def head_of(self, slot: int, state: State) -> Checkpoint | None:
        """The checkpoint on the path, at the turn of a loop without a bound, within which state lies."""
        self._mark = None
        live, weighed = self._live[slot], self._weighed[slot]
        near = self._turning.get(slot, ())
        for one in reversed(near[-(_MAX_TURNS if len(near) < _MANY_TURNS else 2):]):
            if one.state.turn != state.turn and subsumes(one.state, state, live, weighed, self._after_call, -1, is_lax=self._is_lax,
                                                         has_same_numbers=self.are_numbers_exact):
                return one
        return None

    def covering(self, slot: int, state: State) -> Checkpoint | None:
        """A finished checkpoint at slot that stands for state."""
        shapes = self._shapes.get(slot)
        if shapes is None:
            return None
        live, weighed = self._live[slot], self._weighed[slot]
        for index, shape in enumerate(shapes):
            key = self._key(slot, shape, state)
            near = self._finished.get(key) if key is not None else None
            if not near:
                continue
            dropped = None
            for one in near:
                is_known = not self.are_numbers_exact and (one.head is None or one.open_head() is None)
                needed = one.needed if is_known else -1
                if subsumes(one.state, state, live, weighed, self._after_call, needed, is_lax=self._is_lax,
                            has_same_numbers=self.are_numbers_exact):
                    one.hits += 1
                    if index:
                        shapes.insert(0, shapes.pop(index))
                    return one
                one.misses += 1
                if one.misses > one.hits * 3 + _PATIENCE:
                    dropped = one
            if dropped is not None:
                near.remove(dropped)
                self._kept -= 1
        return None

    def add(self, point: Checkpoint) -> None:
        """Begins with a checkpoint of the current path."""
        there = self._on_path.setdefault(point.slot, {})
        point.mark = self._mark or self._print(point.slot, point.state)
        there.setdefault(point.mark, []).append(point)
        if point.slot in self._turns:
            self._turning.setdefault(point.slot, []).append(point)
        self._kept += 1
        self.peak = max(self.peak, self._kept)

    def finish(self, point: Checkpoint) -> None:
        """All ways on from a checkpoint are finished: it can stand for others."""
        settle(point)
        there = self._on_path[point.slot]
        mark = point.mark
        _take(there[mark], point)
        if point.slot in self._turns:
            _take(self._turning[point.slot], point)
        if not there[mark]:
            del there[mark]
        if self._kept > _MAX_REMEMBERED:
            self._finished.clear()
            self._shapes.clear()
            self._kept = 0
        shape = self._shape(point)
        shapes = self._shapes.setdefault(point.slot, [])
        if shape not in shapes:
            shapes.insert(0, shape)
            del shapes[_MAX_SHAPES:]
        key = self._key(point.slot, shape, point.state)
        assert key is not None, "a shape is of places that hold known numbers and pointers"
        alike = self._finished.setdefault(key, [])
        alike.insert(0, point)
        if len(alike) > _MAX_ALIKE:
            alike.pop()
            self._kept -= 1

    def _after_call(self, callee: Frame) -> tuple[int, int]:
        """What counts in the frame that called callee: r6-r9, and any stack slot it may be shown. A callback comes back to
        the call itself, which reads its arguments again."""
        if callee.is_callback:
            return self._live[callee.call_slot], self._weighed[callee.call_slot] | ALL_SLOTS
        return self._live[callee.call_slot + 1] & 0x3C0, self._weighed[callee.call_slot + 1] | ALL_SLOTS

    def _print(self, slot: int, state: State) -> _Key:
        """What two equal states at slot have in common: the greatest number in each register that is read, and
        a sum of those on the stack."""
        frame, live = state.frames[-1], self._live[slot]
        total = 0
        for number, (types, value) in frame.stack.items():
            if value.__class__ is Scalar and types[0] == "r":
                total += value.umax * (2 * number + 3)
        return (total, *[
            value.umax if live >> number & 1 and isinstance(value, Scalar) else None
            for number, value in enumerate(frame.regs)
        ])

    def _shape(self, point: Checkpoint) -> int:
        """The places that a state must share with point: needed numbers that are known, and pointers in registers."""
        shape = 0
        frames = point.state.frames
        for depth, frame in enumerate(frames):
            is_last = depth + 1 == len(frames)
            live, weighed = (
                (self._live[point.slot], self._weighed[point.slot]) if is_last
                else self._after_call(frames[depth + 1])
            )
            bits = point.needed >> PLACES * depth & weighed
            here = 0
            for number in range(10):
                value = frame.regs[number]
                if live >> number & 1 and _is_firm(value) and (bits >> number & 1 or not isinstance(value, Scalar)):
                    here |= 1 << number
            for number, (_, value) in frame.stack.items():
                if bits >> SLOT_BIT + number & 1 and _is_firm(value):
                    here |= 1 << SLOT_BIT + number
            shape |= here << PLACES * depth
        return shape

    def _key(self, slot: int, shape: int, state: State) -> _Key | None:
        """What state holds at the places of shape, None if that is not firm."""
        places = self._places.get(shape)
        if places is None:
            places = self._places[shape] = tuple(divmod(at, PLACES) for at in range(shape.bit_length()) if shape >> at & 1)
        frames = state.frames
        key: list[int | None] = [slot, shape]
        for depth, number in places:
            if depth >= len(frames):
                return None
            frame = frames[depth]
            value = frame.regs[number] if number < SLOT_BIT else frame.stack.get(number - SLOT_BIT, _NOTHING)[1]
            if isinstance(value, Scalar):
                if value.mask:
                    return None
                key.append(value.value)
            elif value is None:
                return None
            else:
                key.append(value.off)
        return tuple(key)


_NOTHING: Sequence[None] = (None, None)


def _take(points: list[Checkpoint], point: Checkpoint) -> None:
    """Removes one, most often the last."""
    if points[-1] is point:
        points.pop()
    else:
        points.remove(point)


def _is_firm(value: Value | None) -> bool:
    return value is not None and not (isinstance(value, Scalar) and value.mask)
