"""A verifier's log read back: the steps of the path to a refusal, and where a value on it came from.

In: the log's text, ours or Linux's of level 1 or 2, and the program if it is known. Out: a Trail, whose steps are the
instructions of the refused path in their order, each with what the log says of registers after it; origin() follows a
register back through copies, spills and calls of functions to what made it. Invariant: any text gives a Trail;
lines that are not understood are passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bcc_py.errors import line_at, whole_line
from bcc_py.isa import PSEUDO_CALL, Insn, assemble, text_of
from bcc_py.spec import LineInfo, ProgramSpec

__all__ = ["Origin", "Step", "Trail", "read_trail"]

_MAX_CHARS = 1 << 22
_INSN = re.compile(r"(\d+): (\([0-9a-f]{2}\) [^;]*)(.*)")
_STATE = re.compile(r"\d+:(?: frame\d+:)? (?:R\d|fp-)")
_FROM = re.compile(r"from (\d+) to (\d+)")
_VALUE = re.compile(r"R(\d+)(?:_[rwD]+)?=((?:[^\s()]|\((?:[^()]|\([^()]*\))*\))+)")
_CALL, _EXIT, _LDDW = 0x85, 0x95, 0x18
_MAX_LINKS = 64


@dataclass(slots=True)
class Step:
    """One instruction of the path. depth: of its frame; regs: what the log says of registers after it."""

    slot: int
    insn: Insn
    depth: int = 0
    regs: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a value: the step at index in the trail, and the register in question there. index is -1 for what was
    there at the beginning. is_argument: the step is a call, and the register what the function was given."""

    index: int
    regno: int
    is_argument: bool = False


class Trail:
    """The refused path. steps: the last one is the refused instruction, if the refusal is about one."""

    def __init__(self, steps: list[Step], start: dict[int, str], spec: ProgramSpec | None) -> None:
        self.steps = steps
        self.start = start
        self.spec = spec

    # ---- places and words

    def line(self, slot: int) -> LineInfo | None:
        return line_at(self.spec, slot) if self.spec else None

    def c_text(self, slot: int) -> str:
        """The C line of slot as it stands in the file, "" if it is not known."""
        line = self.line(slot)
        return whole_line(self.spec, line) if self.spec and line else ""

    def insn_text(self, slot: int) -> str:
        """The instruction at slot in the kernel's syntax."""
        if self.spec and 0 <= slot < len(self.spec.insns):
            return text_of(self.spec.insns, slot).partition(" ")[2]
        insn = next((one.insn for one in self.steps if one.slot == slot), None)
        return text_of((insn,), 0).partition(" ")[2] if insn else "?"

    # ---- the path

    def value(self, regno: int, index: int) -> str:
        """What the log last said of a register before the step at index; "" if nothing."""
        depth = self.steps[index].depth if 0 <= index < len(self.steps) else 0
        for step in reversed(self.steps[:index] if index >= 0 else []):
            if step.depth == depth and regno in step.regs:
                return step.regs[regno]
        return self.start.get(regno, "") if depth == 0 else ""

    def branches(self) -> Iterator[tuple[Step, Step]]:
        """(conditional jump, the step after it) in the order of the path."""
        for step, after in pairwise(self.steps):
            if step.insn.code & 7 in (5, 6) and step.insn.code & 0xF0 not in (0x00, 0x80, 0x90) and step.insn.code != 0xE5:
                yield step, after

    def maker(self, regno: int, index: int) -> Origin:
        """The last step before index that wrote the register in the same frame; in a function, for what it was given,
        the call. A maker that is a copy is not followed."""
        if not self.steps:
            return Origin(-1, regno)
        depth = self.steps[min(index, len(self.steps) - 1)].depth
        for at in range(index - 1, -1, -1):
            step = self.steps[at]
            if step.depth < depth:
                return Origin(at, regno, is_argument=True)  # the call that began this frame
            if step.depth == depth and regno in written(step.insn):
                return Origin(at, regno)
        return Origin(-1, regno)

    def origin(self, regno: int, index: int) -> Origin:
        """What made the value that a register holds before the step at index: never a copy, a spill or an argument."""
        found = Origin(index, regno)
        for _ in range(_MAX_LINKS):
            made = self.maker(found.regno, found.index)
            if made.index < 0:
                return made
            before = self._passed_on(made)
            if before is None:
                return made
            found = before
        return found

    def _passed_on(self, made: Origin) -> Origin | None:
        """Where the value came from, if the step only passed it on."""
        insn = self.steps[made.index].insn
        if made.is_argument:
            return Origin(made.index, made.regno)
        if insn.code == _CALL and insn.src == PSEUDO_CALL and made.regno == 0:
            return self._returned(made.index)
        if insn.code in (0xBF, 0xBC) and not insn.off:
            return Origin(made.index, insn.src)
        if insn.code == 0x79 and insn.src == 10:
            return self._stored(insn.off, made.index)
        return None

    def _returned(self, call: int) -> Origin | None:
        """r0 at the exit of the function that was called."""
        depth = self.steps[call].depth
        for at in range(call + 1, len(self.steps)):
            if self.steps[at].depth <= depth:
                return Origin(at - 1, 0) if at - 1 > call else None
        return None

    def _stored(self, off: int, index: int) -> Origin | None:
        """The register that was last spilled at r10 + off."""
        depth = self.steps[index].depth
        for at in range(index - 1, -1, -1):
            insn = self.steps[at].insn
            if self.steps[at].depth == depth and insn.code == 0x7B and insn.dst == 10 and insn.off == off:
                return Origin(at, insn.src)
        return None


def written(insn: Insn) -> tuple[int, ...]:
    """The registers that an instruction changes."""
    cls = insn.code & 7
    if insn.code == _CALL:
        return (0, 1, 2, 3, 4, 5)
    if cls in (1, 4, 7) or insn.code == _LDDW:
        return (insn.dst,)
    if cls == 0:
        return (0, 1, 2, 3, 4, 5)
    if cls == 3 and insn.code & 0xE0 == 0xC0:
        if insn.imm == 0x100:
            return (insn.dst,)
        return (0,) if insn.imm == 0xF1 else (insn.src,) if insn.imm & 1 else ()
    return ()


def read_trail(log: str, spec: ProgramSpec | None) -> Trail:
    """The path that a log ends with."""
    trail = Trail([], {}, spec)
    steps = trail.steps
    for line in log[-_MAX_CHARS:].splitlines():
        found = _INSN.match(line)
        if found:
            step = _step(int(found[1]), found[2], spec, _depth_after(steps))
            if step is not None:
                steps.append(step)
                step.regs.update(_values(found[2] + found[3]))
            continue
        back = _FROM.match(line)
        if back:
            _cut(steps, int(back[1]))
        if steps and _STATE.match(line):
            steps[-1].regs.update(_values(line))
        elif _STATE.match(line):
            trail.start.update(_values(line))
    return trail


def _values(text: str) -> dict[int, str]:
    return {int(number): value for number, value in _VALUE.findall(text)}


def _step(slot: int, text: str, spec: ProgramSpec | None, depth: int) -> Step | None:
    if spec is not None:
        return Step(slot, spec.insns[slot], depth) if slot < len(spec.insns) else None
    try:
        return Step(slot, assemble(re.split(r"\s{2,}| \d+: ", text.strip())[0])[0], depth)
    except (ValueError, IndexError):
        return None


def _depth_after(steps: Sequence[Step]) -> int:
    if not steps:
        return 0
    last = steps[-1]
    if last.insn.code == _CALL and last.insn.src == PSEUDO_CALL:
        return last.depth + 1
    return max(last.depth - 1, 0) if last.insn.code == _EXIT else last.depth


def _cut(steps: list[Step], slot: int) -> None:
    """Another path goes on behind the instruction at slot; the return of a function only says where it is."""
    for at in range(len(steps) - 1, -1, -1):
        if steps[at].slot == slot:
            del steps[at + 1 :]
            return
