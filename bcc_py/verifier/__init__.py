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

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bcc_py.errors import VerifierError
from bcc_py.isa import PSEUDO_CALL, PSEUDO_FUNC, Insn
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.contexts import BTF_CONTEXTS, CONTEXTS
from bcc_py.verifier.env import ALL_PRIVILEGES, NO_PRIVILEGES, Privileges, VerifierEnv
from bcc_py.verifier.explore import MAX_FRAMES, MAX_STACK_BYTES, Explorer, Finding
from bcc_py.verifier.form import Shape, check_form, shape_of
from bcc_py.verifier.limits import (
    MAX_INSNS,
    MAX_UNPRIVILEGED_INSNS,
    attach_type_of,
    check_sleepable,
    load_errno,
    needed_privileges,
)
from bcc_py.verifier.log import Log
from bcc_py.verifier.machine import BPF_F_SLEEPABLE
from bcc_py.verifier.rules import Refusal

__all__ = ["ALL_PRIVILEGES", "NO_PRIVILEGES", "Extent", "Privileges", "VerifiedProgram", "VerifierEnv", "verify"]

_CALL, _LDDW = 0x85, 0x18


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
    log = Log(program, has_all=True) if env.has_log else None
    slot = 0
    explorer = None
    try:
        program = _admitted(program, env)
        shape = _shape(program, env)
        explorer = Explorer(program, shape, env, log)
        finding = explorer.run()
        depth = _stack_depth(program.insns, shape, finding)
    except Refusal as refusal:
        slot = refusal.insn if refusal.insn >= 0 else explorer.slot if explorer else 0
        raise _error(program, refusal, slot, log or _log_of_refusal(program, env, explorer), explorer) from refusal
    if log is not None:
        log.add(_statistics(explorer))
    ends = (*shape.starts[1:], len(program.insns))
    functions = tuple(
        Extent(start, end, stack) for start, end, stack in zip(shape.starts, ends, finding.stack_bytes, strict=True)
    )
    return VerifiedProgram(
        program, program.insns, functions, depth, finding.insns_processed, finding.kinds, frozenset(finding.reached),
        log.text() if log else "",
    )


def _admitted(program: ProgramSpec, env: VerifierEnv) -> ProgramSpec:
    """The program with the attach type that it gets. Raises Refusal where it is not even looked at."""
    type, wanted = program.type, program.expected_attach_type
    error = load_errno(type, wanted, len(program.insns), env.privileges)
    if error == errno.E2BIG:
        limit = MAX_INSNS if env.privileges.bpf else MAX_UNPRIVILEGED_INSNS
        raise Refusal(f"a program of {len(program.insns)} instructions (write 1 to {limit})", insn=0)
    if error == errno.EPERM:
        raise Refusal(f"loading a program of type {type.name} needs {needed_privileges(type)}", insn=0)
    attach_type = attach_type_of(type, wanted)
    if error or attach_type is None:
        raise Refusal(f"a program of type {type.name} cannot be for {wanted.name}", insn=0)
    check_sleepable(type, attach_type, bool(program.flags & BPF_F_SLEEPABLE))
    return program if attach_type is wanted else replace(program, expected_attach_type=attach_type)


def _shape(program: ProgramSpec, env: VerifierEnv) -> Shape:
    if program.type not in CONTEXTS and program.type not in BTF_CONTEXTS:
        raise Refusal(f"programs of type {program.type.name} are not supported by this verifier yet", insn=0)
    if not env.privileges.bpf:
        for slot, insn in enumerate(program.insns):
            if (insn.code == _CALL and insn.src) or (insn.code == _LDDW and insn.src == PSEUDO_FUNC):
                raise Refusal("loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN", insn=slot)
    check_form(program.insns)
    return shape_of(program.insns, program.kernel_functions, are_loops_allowed=env.privileges.bpf)


def _log_of_refusal(program: ProgramSpec, env: VerifierEnv, explorer: Explorer | None) -> Log:
    """The log of the path to a refusal, which explorer found without one."""
    log = Log(program, has_all=False)
    if explorer is not None:
        try:
            Explorer(program, explorer.shape, env, log).run()
        except Refusal:
            pass  # the same as before: it is the log that is wanted
    return log


def _error(program: ProgramSpec, refusal: Refusal, slot: int, log: Log, explorer: Explorer | None) -> VerifierError:
    for sentence in refusal.sentences:
        log.add(sentence)
    log.add(_statistics(explorer))
    return VerifierError.at(f"verifying {program.name}", refusal.sentences[-1], program, slot, log.text(), path=log.path())


def _statistics(explorer: Explorer | None) -> str:
    """The last line of Linux's log; what we do not count is 0."""
    finding, limit = (explorer.finding, explorer.insn_limit) if explorer else (Finding(), 1_000_000)
    peak = finding.peak_states
    return (f"processed {finding.insns_processed} insns (limit {limit}) max_states_per_insn 0 total_states {peak} "
            f"peak_states {peak} mark_read 0")


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
