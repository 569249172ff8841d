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

from bcc_py.verifier.flow import SLOT_BIT
from bcc_py.verifier.state import PLACES, State

__all__ = ["Checkpoint", "inherit", "need", "remember"]


class Checkpoint:
    """A state seen at a slot. parent: the one before on its path; state's places are those of parent.
    unfinished: ways on from it that are not finished yet. needed: places whose numbers decided something.
    hits, misses: how often it was found to stand for another state, or not."""

    __slots__ = ("hits", "misses", "needed", "parent", "slot", "state", "unfinished")

    def __init__(self, slot: int, state: State, parent: Checkpoint | None) -> None:
        self.slot = slot
        self.state = state
        self.parent = parent
        self.needed = 0
        self.unfinished = 1
        self.hits = 0
        self.misses = 0


def remember(slot: int, state: State, parent: Checkpoint | None) -> Checkpoint:
    """A checkpoint of state; from here on each number in state comes from its own place there."""
    point = Checkpoint(slot, state.copy(), parent)
    for depth, frame in enumerate(state.frames):
        base = PLACES * depth
        frame.sources[:] = [1 << base + number for number in range(11)]
        frame.written.clear()
    return point


def need(point: Checkpoint | None, places: int) -> None:
    """The numbers at these places of point decided something, so what they were computed from did."""
    while places and point is not None:
        places &= ~point.needed
        point.needed |= places
        places = _sources(point.state, places)
        point = point.parent


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
