"""What both accept computes the same: programs of the straight kind, run by Linux (BPF_PROG_TEST_RUN) and as the native
code that jit.py makes, with the same bytes in the map `state`; r0 and the map's bytes afterwards are compared.

Native code is made for many programs at once, each a function of one program that calls the one it is told: LLVM is
started once for all of them."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bcc_py.isa import Insn
from bcc_py.jit import NativeMap, NativeTarget, compile_program
from bcc_py.linux import sys as linux_sys
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import Extent
from cfront.uapi import ProgType
from tests.differential.compare import Outcome
from tests.differential.writer import MAPS, STATE_BYTES

__all__ = ["BATCH", "Result", "linux_result", "native_results"]

BATCH = 64
_STATE_MAP = next(at for at, one in enumerate(MAPS) if one.name == "state")
_FIRST = b"\0\0\0\0"  # the array's only key
_PACKET = bytes(64)
_CPU_FIELDS = {"stack_top": 0, "number": 8, "tail_calls": 12, "fault": 16}
_RUN = 3  # slots of the head for each program: is it this one, call it, end


@dataclass(frozen=True, slots=True)
class Result:
    """r0: its low 32 bits, which are all that a test run tells. state: the map's bytes."""

    r0: int
    state: bytes


@dataclass(frozen=True, slots=True)
class _Joined:
    """What the JIT asks of a verified program."""

    spec: ProgramSpec
    insns: tuple[Insn, ...]
    functions: tuple[Extent, ...]
    reached: frozenset[int]
    memory_kinds: Mapping[int, str] = field(default_factory=dict)
    call_maps: Mapping[int, int] = field(default_factory=dict)
    nospec: frozenset[int] = frozenset()
    nospec_after: frozenset[int] = frozenset()
    masks: Mapping[int, tuple[bool, bool, bool, int]] = field(default_factory=dict)


def _input(seed: int) -> bytes:
    """What the map holds at first."""
    dice = random.Random(seed)
    edges = (0, 1, 7, 8, 63, 64, 255, 256, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, (1 << 64) - 8)
    words = [dice.choice(edges) if dice.random() < 0.6 else dice.getrandbits(64) for _ in range(STATE_BYTES // 8)]
    return b"".join(word.to_bytes(8, "little") for word in words)


def linux_result(outcome: Outcome, fds: Sequence[int]) -> Result:
    """Runs the outcome's descriptor."""
    fd = fds[_STATE_MAP]
    linux_sys.map_update(fd, _FIRST, _input(outcome.sample.seed))
    r0 = linux_sys.prog_test_run(outcome.fd, _PACKET).retval & 0xFFFFFFFF
    state = linux_sys.map_lookup(fd, _FIRST, STATE_BYTES)
    assert state is not None, "an array's element is always there"
    return Result(r0, state)


def native_results(outcomes: Sequence[Outcome], fds: Sequence[int]) -> list[Result]:
    """Runs what our verifier accepted."""
    memory = ctypes.create_string_buffer(STATE_BYTES)
    scratch = ctypes.create_string_buffer(64)
    values = ctypes.addressof(memory)
    maps = {fds[_STATE_MAP]: NativeMap(values, is_array=True, values=values, max_entries=1, slot_size=STATE_BYTES)}
    state = ctypes.addressof(scratch)
    made = compile_program(_joined(outcomes), NativeTarget(_CPU_FIELDS, {}, maps))
    results = []
    try:
        for at, one in enumerate(outcomes):
            ctypes.memmove(memory, _input(one.sample.seed), STATE_BYTES)
            r0 = made.run(state, at) & 0xFFFFFFFF
            results.append(Result(r0, memory.raw))
    finally:
        made.close()
    return results


def _joined(outcomes: Sequence[Outcome]) -> _Joined:
    """One program that runs number r1 of them."""
    head: list[Insn] = []
    bodies: list[Insn] = []
    start = _RUN * len(outcomes) + 2
    functions = [Extent(0, start, 0)]
    reached = set(range(start))
    for at, one in enumerate(outcomes):
        assert one.verified is not None and len(one.verified.functions) == 1, "the straight kind calls nothing"
        base = start + len(bodies)
        head += [Insn(0x55, 1, 0, 2, at), Insn(0x85, 0, 1, 0, base - len(head) - 2), Insn(0x95)]
        bodies += one.verified.insns
        functions.append(Extent(base, base + len(one.verified.insns), one.verified.functions[0].stack_bytes))
        reached |= {base + slot for slot in one.verified.reached}
    insns = (*head, Insn(0xB7), Insn(0x95), *bodies)
    spec = ProgramSpec("joined", "", ProgType.SOCKET_FILTER, insns)
    return _Joined(spec, insns, tuple(functions), frozenset(reached))
