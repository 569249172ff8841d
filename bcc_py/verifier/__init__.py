"""The verifier: a program, before it runs, is shown to be safe, or refused with a reason.

Input: a ProgramSpec whose map loads name descriptors, and a VerifierEnv that says which maps those are.
Output: a VerifiedProgram, or a VerifierError in Linux's words. Invariant: whatever is accepted, run with
any context and any map contents, reads and writes only its own stack, its context, map values, ring
buffer records and packets inside their bounds, calls helpers with the arguments they ask for, releases
what it reserves and ends. What this verifier does not know it refuses.

Three questions, three files: rules.py, what must hold before an instruction; domain.py, what a register
may be after one; explore.py, which states reach it. state.py holds the states and compares them; prune.py and
precision.py say when a path may end because the rest of it is known.

Without a complaint no log is written: a refusal is found again with the log on, which costs one more
exploration and gives the same answer, since exploration is deterministic."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bcc_py.errors import VerifierError
from bcc_py.isa import PSEUDO_CALL, Insn
from bcc_py.spec import LineInfo, ProgramSpec
from bcc_py.verifier.env import ALL_PRIVILEGES, NO_PRIVILEGES, Privileges, VerifierEnv
from bcc_py.verifier.explore import MAX_FRAMES, MAX_STACK_BYTES, Explorer, Finding
from bcc_py.verifier.rules import CONTEXTS, Refusal, Shape, check_form, shape_of

__all__ = ["ALL_PRIVILEGES", "NO_PRIVILEGES", "Extent", "Privileges", "VerifiedProgram", "VerifierEnv", "verify"]

_LOG_LINES = 20_000
_CALL = 0x85


@dataclass(frozen=True, slots=True)
class Extent:
    """A function of the program: slots start to end (exclusive), and bytes of stack it uses, a multiple of 8."""

    start: int
    end: int
    stack_bytes: int


@dataclass(frozen=True, slots=True)
class VerifiedProgram:
    """A program that was accepted. functions: ascending, the main one first. stack_bytes: of the deepest chain
    of calls. insns_processed: as Linux counts, on all paths. memory_kinds: slot of each load and store that
    is reached -> "fp", "ctx", "map_value", "ringbuf_mem", "pkt", "pkt_meta", or several joined by "|".
    reached: slots that some path executes; what is not among them never runs and may be left out. log: ""
    unless VerifierEnv.has_log."""

    spec: ProgramSpec
    insns: tuple[Insn, ...]
    functions: tuple[Extent, ...]
    stack_bytes: int
    insns_processed: int
    memory_kinds: Mapping[int, str]
    reached: frozenset[int]
    log: str = ""


def verify(program: ProgramSpec, env: VerifierEnv) -> VerifiedProgram:
    """Shows that program is safe to run.

    Raises VerifierError: its message is the reason in Linux's words with the C line; insn, span and log
    say where and how the path got there."""
    log = _Log(env.has_log)
    slot = 0
    explorer = None
    try:
        shape = _shape(program)
        explorer = Explorer(program, shape, env, log.add if log.is_on else None)
        finding = explorer.run()
        depth = _stack_depth(program.insns, shape, finding)
    except Refusal as refusal:
        slot = refusal.insn if refusal.insn >= 0 else explorer.slot if explorer else 0
        if explorer is not None and not env.has_log:
            log = _log_of_refusal(program, env)
        raise _error(program, refusal, slot, log, explorer) from refusal
    log.add(f"processed {finding.insns_processed} insns (limit {env.insn_limit}) peak_states {finding.peak_states}")
    ends = (*shape.starts[1:], len(program.insns))
    functions = tuple(
        Extent(start, end, stack) for start, end, stack in zip(shape.starts, ends, finding.stack_bytes, strict=True)
    )
    return VerifiedProgram(
        program, program.insns, functions, depth, finding.insns_processed, finding.kinds, frozenset(finding.reached),
        log.text() if env.has_log else "",
    )


class _Log:
    """Lines, of which the last _LOG_LINES are kept."""

    def __init__(self, is_on: bool) -> None:
        self.rows: deque[str] = deque(maxlen=_LOG_LINES)
        self.is_on = is_on

    def add(self, row: str) -> None:
        self.rows.append(row)

    def text(self) -> str:
        return "\n".join(self.rows) + "\n"


def _shape(program: ProgramSpec) -> Shape:
    if program.type not in CONTEXTS:
        raise Refusal(f"programs of type {program.type.name} are not supported by this verifier yet", insn=0)
    check_form(program.insns)
    return shape_of(program.insns)


def _log_of_refusal(program: ProgramSpec, env: VerifierEnv) -> _Log:
    log = _Log(True)
    try:
        Explorer(program, shape_of(program.insns), env, log.add).run()
    except Refusal:
        pass  # the same as before: it is the log that is wanted
    return log


def _error(program: ProgramSpec, refusal: Refusal, slot: int, log: _Log, explorer: Explorer | None) -> VerifierError:
    for sentence in refusal.sentences:
        log.add(sentence)
    if explorer is not None:
        log.add(f"processed {explorer.finding.insns_processed} insns (limit {explorer.insn_limit})")
    line = _line_of(program.lines, slot)
    span = f"{line.file}:{line.line}:{line.col}" if line else ""
    place = f" at {line.file.rpartition('/')[2]}:{line.line}: {line.text}" if line else ""
    message = f"verifying {program.name}: {refusal.sentences[-1]} (insn {slot}{place})"
    return VerifierError(message, program.name, slot, span, log.text())


def _line_of(lines: Sequence[LineInfo], slot: int) -> LineInfo | None:
    found = None
    for one in lines:
        if one.slot > slot:
            break
        found = one
    return found


def _stack_depth(insns: Sequence[Insn], shape: Shape, finding: Finding) -> int:
    """Bytes of the deepest chain of calls, each frame rounded up to 16. Raises Refusal above 512 bytes, and
    for a chain of more than 8 frames (recursion has no end, so it is one)."""
    calls: dict[int, list[tuple[int, int]]] = {}
    for slot, insn in enumerate(insns):
        if insn.code == _CALL and insn.src == PSEUDO_CALL:
            callee = shape.function_of[slot + 1 + insn.imm]
            calls.setdefault(shape.function_of[slot], []).append((slot, callee))
    deepest = 0
    waiting = [(0, 0, 1, 0)]
    done: dict[tuple[int, int], int] = {}
    while waiting:
        function, above, frames, slot = waiting.pop()
        if frames > MAX_FRAMES:
            raise Refusal(f"the call stack of {frames} frames is too deep !", insn=slot)
        total = above + (max(finding.stack_bytes[function], 1) + 15 & ~15)
        if total > MAX_STACK_BYTES:
            raise Refusal(f"combined stack size of {frames} calls is {total}. Too large", insn=slot)
        deepest = max(deepest, total)
        if done.get((function, frames), -1) >= above:
            continue
        done[function, frames] = above
        waiting += [(callee, total, frames + 1, at) for at, callee in calls.get(function, ())]
    return deepest
