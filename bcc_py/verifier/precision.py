"""Which numbers of a remembered state decided something: only those must be covered when it is met again.

Input: states that are remembered along a path (Checkpoint), and notes of which numbers a decision used
(need). Output: Checkpoint.needed, final once every way on from the checkpoint is finished.

A place is a register or a stack slot of one frame: bit `80 * frame + flow.py's bit`. Each number on a path
carries the set of places, in the path's latest checkpoint, from whose numbers its range was computed
(Frame.sources, Frame.written); results of arithmetic join the sets of their operands, as do two numbers
that were compared with each other. When a range decides (a branch that goes one way only, an address, a
size), its places become needed in that checkpoint, and what they were computed from becomes needed in the
one before, and so on.

Invariant, by induction over the instructions: let a state agree with a finished checkpoint in its needed
places and hold any numbers in the others. Then each of its executions follows a way that was explored from
the checkpoint, and every number whose places are all needed lies in the range found there. So no rule that
was held there can be broken.

Source: kernel/bpf/verifier.c of Linux 6.18 has the same by walking back over the path (mark_chain_precision,
propagate_precision); here it is carried forward, which needs no history of instructions."""

from __future__ import annotations

from bcc_py.verifier.domain import UNKNOWN, Scalar, Value
from bcc_py.verifier.flow import SLOT_BIT
from bcc_py.verifier.state import PLACES, State

__all__ = ["Checkpoint", "close_loop", "inherit", "need", "remember", "settle"]


class Checkpoint:
    """A state seen at a slot. parent: the one before on its path; state's places are those of parent; depth: how many
    there are above it.
    unfinished: ways on from it that are not finished yet. needed: places whose numbers decided something.
    hits, misses: how often it was found to stand for another state, or not; mark: what prune.py files it under.

    Loops without a bound of their own (callbacks, iterators) end where a state lies within one on its own path, the
    head of the loop, of which not everything is known yet. head: the outermost such that needed waits for; backs: of a
    head, the ends that wait for it: (the path's checkpoint, the state, the one that stands for it)."""

    __slots__ = ("backs", "depth", "head", "hits", "is_done", "mark", "misses", "needed", "parent", "slot", "state", "unfinished")

    def __init__(self, slot: int, state: State, parent: Checkpoint | None) -> None:
        self.slot = slot
        self.state = state
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.needed = 0
        self.unfinished = 1
        self.hits = 0
        self.misses = 0
        self.is_done = False
        self.mark: tuple[int | None, ...] = ()
        self.head: Checkpoint | None = None
        self.backs: list[tuple[Checkpoint | None, State, Checkpoint]] = []

    def open_head(self) -> Checkpoint | None:
        """The head whose end needed waits for, None where needed is final."""
        head = self.head
        while head is not None and head.is_done:
            head = head.head
        self.head = head
        return head

    def widen(self, state: State) -> None:
        """Numbers of state that differ from here and decided nothing since may be any number from now on."""
        for depth, (old, new) in enumerate(zip(self.state.frames, state.frames, strict=True)):
            bits = self.needed >> PLACES * depth
            for number in range(10):
                if not bits >> number & 1 and _differ(old.regs[number], new.regs[number]):
                    new.regs[number] = UNKNOWN
                    new.sources[number] = 0
            for number, (types, value) in list(new.stack.items()):
                there = old.stack.get(number)
                if (there is not None and types[0] == "r" and not bits >> SLOT_BIT + number & 1
                        and _differ(there[1], value)):
                    new.stack[number] = (types, UNKNOWN)
                    new.written[number] = 0


def _differ(old: Value | None, new: Value | None) -> bool:
    return isinstance(old, Scalar) and isinstance(new, Scalar) and old is not new and not old.same_set(new)


def remember(slot: int, state: State, parent: Checkpoint | None) -> Checkpoint:
    """A checkpoint of state; from here on each number in state comes from its own place there."""
    point = Checkpoint(slot, state.copy(), parent)
    for depth, frame in enumerate(state.frames):
        base = PLACES * depth
        frame.sources[:] = [1 << base + number for number in range(11)]
        frame.written.clear()
    return point


def need(point: Checkpoint | None, places: int) -> bool:
    """The numbers at these places of point decided something, so what they were computed from did. True if that was not
    known."""
    is_new = False
    while places and point is not None:
        places &= ~point.needed
        if places:
            is_new = True
            point.needed |= places
            places = _sources(point.state, places)
        point = point.parent
    return is_new


def _sources(state: State, places: int) -> int:
    """The union of what the numbers at these places were computed from."""
    found = 0
    for depth, frame in enumerate(state.frames):
        bits = places >> PLACES * depth & (1 << PLACES) - 1
        while bits:
            lowest = bits & -bits
            number = lowest.bit_length() - 1
            bits ^= lowest
            found |= frame.sources[number] if number < SLOT_BIT else frame.sources_of_slot(depth, number - SLOT_BIT)
    return found


def inherit(point: Checkpoint | None, state: State, finished: Checkpoint) -> None:
    """state, on the path from point, ends here because finished stands for it: what finished needed, it needs."""
    need(point, _sources(state, finished.needed))


def close_loop(point: Checkpoint | None, state: State, stands: Checkpoint, head: Checkpoint) -> None:
    """state, on the path from point, ends here because stands does for it, of which not all is known before head ends."""
    head.backs.append((point, state, stands))
    while point is not None and point is not head:
        known = point.open_head()
        if known is None or known.depth > head.depth:
            point.head = head
        point = point.parent


def settle(head: Checkpoint) -> None:
    """All ways on from head are finished: what they needed is needed by the ends that waited for it."""
    head.is_done = True
    if not head.backs:
        return
    is_new = True
    while is_new:
        is_new = False
        for point, state, stands in head.backs:
            is_new |= need(point, _sources(state, stands.needed))
    outer = head.open_head()
    if outer is not None:
        outer.backs += head.backs
    head.backs = []
