"""The verifier: a program, before it runs, is shown to be safe, or refused with a reason.

Input: a ProgramSpec whose map loads name descriptors, and a VerifierEnv that says which maps those are.
Output: a VerifiedProgram, or a VerifierError in Linux's words. Invariant: whatever is accepted, run with
any context and any map contents, reads and writes only its own stack, its context, map values, ring
buffer records and packets inside their bounds, calls helpers with the arguments they ask for, releases
what it reserves and ends. What this verifier does not know it refuses.

form.py holds what must be true of the instructions before any path is looked at, explore.py follows the paths over its
floors (machine, arith, memory, branch, arguments, calls, kernel functions), domain.py says what a register may hold.
state.py holds the states and compares them; prune.py and precision.py say when a path may end because the rest of
it is known.

Without a complaint no log is written: a refusal is found again with the log on, which costs one more
exploration and gives the same answer, since exploration is deterministic."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bcc_py.errors import VerifierError
from bcc_py.isa import PSEUDO_BTF_ID, PSEUDO_FUNC, PSEUDO_KFUNC_CALL, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn
from bcc_py.spec import MapSpec, ProgramSpec
from bcc_py.verifier.arguments import DENSE_MAPS
from bcc_py.verifier.callgraph import catching_slot
from bcc_py.verifier.contexts import BTF_CONTEXTS, CONTEXTS
from bcc_py.verifier.depth import check_returns, stack_depth
from bcc_py.verifier.env import ALL_PRIVILEGES, NO_PRIVILEGES, Privileges, VerifierEnv
from bcc_py.verifier.explore import Explorer, Finding
from bcc_py.verifier.fields import special_fields
from bcc_py.verifier.form import Shape, shape_of
from bcc_py.verifier.hooks import check_hook
from bcc_py.verifier.limits import (
    MAX_INSNS,
    MAX_UNPRIVILEGED_INSNS,
    attach_type_of,
    check_map_and_program,
    check_sleepable,
    load_errno,
    needed_privileges,
)
from bcc_py.verifier.log import Log
from bcc_py.verifier.machine import BPF_F_SLEEPABLE, MAX_VAR_OFF, NO_MASK, SEVERAL_MAPS
from bcc_py.verifier.rules import GPL_LICENSES, Refusal
from cfront.pause import collector_paused
from cfront.uapi import MapType

__all__ = ["ALL_PRIVILEGES", "NO_PRIVILEGES", "Extent", "Privileges", "VerifiedProgram", "VerifierEnv", "verify"]

_CALL, _LDDW = 0x85, 0x18
# a refusal that took longer is not found again for its log
_MAX_LOOKED_AT_TWICE = 200_000


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
    reached: slots that some path executes; what is not among them never runs and may be left out. call_maps: slot of a
    helper's call -> fd of the map it is about, where that is the same on every path. context_bytes: how far
    into its context it reaches. log: ""
    unless VerifierEnv.has_log.

    For a loader without CAP_PERFMON, what the code has to defend against: nospec: slots before which a speculation
    barrier stands; nospec_after: stores behind which one stands; masks: slot of a sum of a pointer and a register -> (is
    the register negative, is it a constant, is the pointer in dst, how far it may move)."""

    spec: ProgramSpec
    insns: tuple[Insn, ...]
    functions: tuple[Extent, ...]
    stack_bytes: int
    insns_processed: int
    memory_kinds: Mapping[int, str]
    reached: frozenset[int]
    log: str = ""
    nospec: frozenset[int] = frozenset()
    nospec_after: frozenset[int] = frozenset()
    masks: Mapping[int, tuple[bool, bool, bool, int]] = field(default_factory=dict)
    call_maps: Mapping[int, int] = field(default_factory=dict)
    context_bytes: int = 0


def verify(program: ProgramSpec, env: VerifierEnv) -> VerifiedProgram:
    """Shows that program is safe to run.

    Raises VerifierError: its message is the reason in Linux's words with the C line; insn, span and log
    say where and how the path got there."""
    with collector_paused():
        return _verify(program, env)


def _verify(program: ProgramSpec, env: VerifierEnv) -> VerifiedProgram:
    log = Log(program, has_all=True) if env.has_log else None
    slot = 0
    explorer = None
    try:
        program = _admitted(program, env)
        shape = _shape(program, env)
        explorer = Explorer(program, shape, env, log)
        check_returns(program, shape)
        finding = explorer.run()
        depth = stack_depth(program.insns, shape, finding.stack_bytes, program.type, frozenset(finding.async_functions))
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
        log.text() if log else "", frozenset(finding.nospec), frozenset(finding.nospec_after),
        {slot: mask for slot, mask in finding.masks.items() if mask != NO_MASK},
        {slot: fd for slot, fd in finding.call_maps.items() if fd != SEVERAL_MAPS}, finding.context_bytes,
    )


def _admitted(program: ProgramSpec, env: VerifierEnv) -> ProgramSpec:
    """The program with the attach type that it gets. Raises Refusal where it is not even looked at."""
    type, wanted = program.type, program.expected_attach_type
    error = load_errno(type, wanted, len(program.insns), env.privileges)
    if error == errno.E2BIG:
        limit = MAX_INSNS if env.privileges.bpf else MAX_UNPRIVILEGED_INSNS
        raise Refusal(f"a program of {len(program.insns)} instructions (write 1 to {limit})", insn=0, errno=error)
    if error == errno.EPERM:
        raise Refusal(f"loading a program of type {type.name} needs {needed_privileges(type)}", insn=0, errno=error)
    attach_type = attach_type_of(type, wanted)
    if error or attach_type is None:
        raise Refusal(f"a program of type {type.name} cannot be for {wanted.name}", insn=0, errno=errno.EINVAL)
    check_sleepable(type, attach_type, bool(program.flags & BPF_F_SLEEPABLE))
    return program if attach_type is wanted else replace(program, expected_attach_type=attach_type)


def _shape(program: ProgramSpec, env: VerifierEnv) -> Shape:
    if program.type not in CONTEXTS and program.type not in BTF_CONTEXTS:
        raise Refusal(f"programs of type {program.type.name} are not supported by this verifier yet", insn=0)
    if program.type in BTF_CONTEXTS and env.types is not None:
        check_hook(program, env.types, bool(program.flags & BPF_F_SLEEPABLE))
    if program.license not in GPL_LICENSES:
        for slot, insn in enumerate(program.insns):
            if insn.code == _CALL and insn.src == PSEUDO_KFUNC_CALL and (insn.imm or insn.off):
                raise Refusal("cannot call kernel function from non-GPL compatible program", insn=slot)
    if not env.privileges.bpf:
        for slot, insn in enumerate(program.insns):
            if (insn.code == _CALL and insn.src) or (insn.code == _LDDW and insn.src == PSEUDO_FUNC):
                raise Refusal("loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN", insn=slot)
    return shape_of(
        program.insns, program.kernel_functions, are_loops_allowed=env.privileges.bpf, catcher=catching_slot(program),
        resolve=lambda slot: _check_map(program, env, slot),
        dense=frozenset(fd for fd, spec in env.maps.items() if spec.type in DENSE_MAPS or spec.inner is not None),
    )


def _check_map(program: ProgramSpec, env: VerifierEnv, slot: int) -> None:
    """The map that the program names is for programs like it, and an address in its value lies there. Raises Refusal."""
    insn = program.insns[slot]
    if insn.src == PSEUDO_BTF_ID:
        _check_variable(program, env, slot)
        return
    spec = env.maps.get(insn.imm)
    if spec is None:
        raise Refusal(f"fd {insn.imm} is not pointing to valid bpf_map", insn=slot)
    fields = {one.kind.removeprefix("bpf_") for one in special_fields(spec)}
    try:
        check_map_and_program(spec.type, fields, program.type, bool(program.flags & BPF_F_SLEEPABLE))
    except Refusal as refusal:
        raise Refusal(*refusal.sentences, insn=slot) from refusal
    if spec.type is MapType.ARENA:
        _check_arena(program, env, slot)
    if insn.src == PSEUDO_MAP_VALUE:
        _check_address(spec, program.insns[slot + 1].imm & 0xFFFFFFFF, slot)


def _check_arena(program: ProgramSpec, env: VerifierEnv, slot: int) -> None:
    others = {
        one.imm for one in program.insns[:slot]
        if one.code == _LDDW and one.src in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE) and one.imm != program.insns[slot].imm
    }
    if any(env.maps[fd].type is MapType.ARENA for fd in others):
        raise Refusal("Only one arena per program", insn=slot, errno=errno.EBUSY)
    if not (env.privileges.bpf and env.privileges.perfmon):
        raise Refusal("CAP_BPF and CAP_PERFMON are required to use arena", insn=slot, errno=errno.EPERM)


def _check_variable(program: ProgramSpec, env: VerifierEnv, slot: int) -> None:
    name = program.kernel_variables.get(slot, "")
    if env.types is None or (env.types.variable(name) is None and env.types.function(name) is None):
        raise Refusal(f"ldimm64 insn specifies invalid btf_id {program.insns[slot].imm}.", insn=slot)


def _check_address(spec: MapSpec, off: int, slot: int) -> None:
    if off >= MAX_VAR_OFF:
        raise Refusal(f"direct value offset of {off} is not allowed", insn=slot)
    if spec.type is MapType.ARENA:
        return
    if spec.type is not MapType.ARRAY or spec.max_entries != 1:
        raise Refusal("no direct value access support for this map type", insn=slot)
    if off >= spec.value_size:
        raise Refusal(f"invalid access to map value pointer, value_size={spec.value_size} off={off}", insn=slot)


def _log_of_refusal(program: ProgramSpec, env: VerifierEnv, explorer: Explorer | None) -> Log:
    """The log of the path to a refusal, which explorer found without one."""
    log = Log(program, has_all=False)
    if explorer is not None and explorer.finding.insns_processed <= _MAX_LOOKED_AT_TWICE:
        try:
            Explorer(program, explorer.shape, env, log).run()
        except Refusal:
            pass  # the same as before: it is the log that is wanted
    return log


def _error(program: ProgramSpec, refusal: Refusal, slot: int, log: Log, explorer: Explorer | None) -> VerifierError:
    for sentence in refusal.sentences:
        log.add(sentence)
    log.add(_statistics(explorer))
    return VerifierError.at(f"verifying {program.name}", refusal.sentences[-1], program, slot, log.text(), refusal.errno, log.path())


def _statistics(explorer: Explorer | None) -> str:
    """The last line of Linux's log; what we do not count is 0."""
    finding, limit = (explorer.finding, explorer.insn_limit) if explorer else (Finding(), 1_000_000)
    peak = finding.peak_states
    return (f"processed {finding.insns_processed} insns (limit {limit}) max_states_per_insn 0 total_states {peak} "
            f"peak_states {peak} mark_read 0")
