"""Programs of every kind run in Linux (BPF_PROG_TEST_RUN) and in the simulated kernel, from the same bytes: r0, the packet
and what the maps hold afterwards are compared; and run once more as checked code, each register of each instruction held
against what the verifier had derived for it.

A sample is made runnable first: what is random becomes a number out of the map `state`, a kprobe becomes a raw
tracepoint (which has test runs), and at the end the registers that carry numbers are stored in `state`, so that what was
computed can be seen. What a program makes of addresses, or of stack that it never wrote, is nobody's to say: a program
whose result depends on where things lie, or on the bytes of unwritten stack, shows it when the simulated kernel runs it
twice, differently, and is not compared."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bcc_py.errors import FaultError, LoadError, MapError, NotSupportedError, VerifierError
from bcc_py.isa import encode
from bcc_py.jit import NativeTarget
from bcc_py.kernel import Map
from bcc_py.linux import sys as linux_sys
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.maps import SimMap
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import VerifierEnv
from cfront.uapi import ProgType
from tests.differential.derive import Derived, derive
from tests.differential.writer import MAPS, STATE_BYTES, Sample
from tests.sim.quiet import Script
from tests.verifier.linux_oracle import maps_of

__all__ = ["Machines", "Outcome", "runnable"]

PACKET = bytes(range(6)) + bytes(range(6, 12)) + b"\x08\x00" + bytes(range(50))
_HASH, _ARRAY, _STATE = 0, 1, 3
_INSN_LIMIT, _MANY_INSNS = 6_000, 200_000
_RANDOM = "r1 = map[fd:4][0]+{at}\nr0 = *(u32 *)(r1 +0)"
_DUMP_AT = STATE_BYTES - 32
_RAW_ARGUMENTS = 96
_ATOMIC32, _CMPXCHG = 0xC3, 0xF1
_NOTE = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64 * 11))


@dataclass(frozen=True, slots=True)
class Result:
    """r0: its low 32 bits. maps: what `h` (key 0), `a` and `state` hold."""

    r0: int
    packet: bytes
    maps: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """kind: "same", "differs", "not compared" (why), "refused" (by a verifier: why), "fault", "outside". words: more."""

    kind: str
    words: str = ""


def runnable(sample: Sample) -> Sample:
    """sample with nothing random in it, of a type that has test runs, and with its numbers stored at the end."""
    dice = random.Random(sample.seed)
    rows = []
    for row in sample.text.split("\n"):
        if row in ("call get_prandom_u32", "call get_hash_recalc"):
            rows += _RANDOM.format(at=8 * dice.randrange(16)).split("\n")
        else:
            rows.append(row)
    if sample.kind != "straight":
        end = next(at for at, row in enumerate(rows) if row == "exit" and rows[at - 1].startswith("r0 = "))
        rows[end - 1 : end - 1] = [f"r1 = map[fd:4][0]+{_DUMP_AT}", *(f"*(u64 *)(r1 +{8 * at}) = r{6 + at}" for at in range(3))]
    type = ProgType.RAW_TRACEPOINT if sample.type == ProgType.KPROBE else sample.type
    return replace(sample, type=type, text="\n".join(rows))


class _Watched(SimKernel):
    """A simulated kernel whose programs report their registers. fill: the byte of unwritten stack."""

    fill = 0
    observe = 0

    def native_target(self, type: ProgType, maps: Mapping[int, SimMap]) -> NativeTarget:
        return replace(super().native_target(type, maps), fill=self.fill, observe=self.observe)


class Machines:
    """Linux, and three simulated kernels: a plain one, one where everything lies elsewhere and unwritten stack is not
    zero, and one whose programs are checked and watched."""

    def __init__(self) -> None:
        self._plain, self._other, self._checked = (
            _Watched(Script(cpus=linux_cpus()), spec="sim:runs", checked=is_checked) for is_checked in (False, False, True))
        self._other.fill = 0xA5
        self._notes: list[tuple[int, tuple[int, ...]]] = []
        self._note = _NOTE(lambda slot, regs: self._notes.append((slot, tuple(regs.contents))))
        self._checked.observe = ctypes.cast(self._note, ctypes.c_void_p).value or 0
        self._thread = ThreadPoolExecutor(1)  # whose stack is not ours
        comm = Path("/proc/self/comm").read_text().strip()
        for kernel in (self._plain, self._other, self._checked):
            kernel.set_context(0, 1000, kernel.tasks.spawn(4711, comm))
            kernel.create_map(MAPS[0])  # so that what is made later lies elsewhere
        self._other.create_map(MAPS[1])

    def close(self) -> None:
        for kernel in (self._plain, self._other, self._checked):
            kernel.close()
        self._thread.shutdown()

    # -- one sample

    def run(self, sample: Sample) -> Outcome:
        """Raises NotSupportedError where bpf(2) is not to be had."""
        if "may_goto" in sample.text:
            return Outcome("not compared", "how often may_goto turns is for the machine to say")
        try:
            mine = self._simulated(self._plain, sample)
        except VerifierError as error:
            return Outcome("refused", f"by us: {error.sentence}")
        except NotSupportedError as error:
            return Outcome("not compared", str(error))
        try:
            theirs = _linux(sample)
        except VerifierError as error:
            return Outcome("refused", f"by Linux: {error.sentence}")
        except LoadError as error:
            return Outcome("not compared", f"Linux does not run it: {error}")
        fds = range(1000, 1000 + len(MAPS))
        spec = ProgramSpec("random", "", sample.type, sample.insns(fds))
        env = VerifierEnv(dict(zip(fds, MAPS, strict=True)), cpus=self._checked.cpus, insn_limit=_INSN_LIMIT)
        outcome = Outcome("differs", _difference(mine, theirs)) if mine != theirs else self._checked_run(sample, mine, derive(spec, env))
        if outcome.kind == "differs" and any(one.code == _ATOMIC32 and one.imm == _CMPXCHG for one in spec.insns):
            # where a path ends in a state that was seen before, 6.18 does not extend r0 (docs/execution.md)
            return Outcome("not compared", "Linux may forget that a 32-bit cmpxchg extends r0")
        if outcome.kind == "differs" and self._is_anybodys(sample, mine, spec, env):
            return Outcome("not compared", "it depends on addresses or on unwritten stack")
        return outcome

    def _is_anybodys(self, sample: Sample, mine: Result, spec: ProgramSpec, env: VerifierEnv) -> bool:
        """Whether the result depends on where things lie, or on unwritten stack."""
        if mine != self._thread.submit(self._simulated, self._other, sample).result():
            return True
        kinds = derive(spec, replace(env, insn_limit=_MANY_INSNS), is_forgetful=True)
        return kinds is not None and kinds.reads_addresses(spec.insns)

    def _checked_run(self, sample: Sample, mine: Result, derived: Derived | None) -> Outcome:
        self._notes.clear()
        try:
            again = self._simulated(self._checked, sample)
        except FaultError as error:
            return Outcome("fault", str(error))
        if again.r0 != mine.r0 or again.packet != mine.packet or again.maps != mine.maps:
            return Outcome("differs", f"checked and plain code: {_difference(again, mine)}")
        if derived is None:
            return Outcome("same", "not held against what was derived: too many states")
        for slot, regs in self._notes:
            fault = derived.fault(slot, regs)
            if fault:
                return Outcome("outside", fault)
        return Outcome("same")

    @staticmethod
    def _simulated(kernel: SimKernel, sample: Sample) -> Result:
        with _maps(kernel) as maps:
            spec = ProgramSpec("random", "", sample.type, sample.insns([one.fd for one in maps]))
            program = kernel.load_program(spec)
            try:
                made = program.test_run(*_given(sample))
                return Result(made.retval, made.data, _contents(maps))
            finally:
                program.close()


def linux_cpus() -> int:
    return linux_sys.possible_cpus()


@contextmanager
def _maps(kernel: SimKernel) -> Iterator[list[Map]]:
    maps = [kernel.create_map(one) for one in MAPS]
    try:
        yield _seeded(maps)
    finally:
        for one in maps:
            one.close()


def _seeded(maps: list[Map]) -> list[Map]:
    maps[_STATE].update(bytes(4), _state())
    return maps


def _state() -> bytes:
    """What `state` holds at first: numbers near edges, and others."""
    dice = random.Random(1)
    edges = (0, 1, 7, 8, 63, 64, 255, 256, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, (1 << 64) - 8)
    words = [dice.choice(edges) if dice.random() < 0.6 else dice.getrandbits(64) for _ in range(STATE_BYTES // 8)]
    return b"".join(word.to_bytes(8, "little") for word in words)


def _contents(maps: list[Map]) -> tuple[bytes | None, ...]:
    return tuple(maps[at].lookup(bytes(4)) for at in (_HASH, _ARRAY, _STATE))


def _given(sample: Sample) -> tuple[bytes, bytes]:
    """(data, ctx)."""
    if sample.type is ProgType.RAW_TRACEPOINT:
        return b"", bytes(range(_RAW_ARGUMENTS))
    return PACKET, b""


def _linux(sample: Sample) -> Result:
    with maps_of(MAPS) as fds:
        linux_sys.map_update(fds[_STATE], bytes(4), _state())
        fd = linux_sys.prog_load(sample.type, encode(sample.insns(fds)))
        try:
            made = linux_sys.prog_test_run(fd, *_given(sample))
        finally:
            linux_sys.close(fd)
        found = []
        for at in (_HASH, _ARRAY, _STATE):
            try:
                found.append(linux_sys.map_lookup(fds[at], bytes(4), MAPS[at].value_size))
            except MapError:
                found.append(None)
        return Result(made.retval & 0xFFFFFFFF, made.data, tuple(found))


def _difference(mine: Result, theirs: Result) -> str:
    if mine.r0 != theirs.r0:
        return f"r0 {mine.r0:#x} and {theirs.r0:#x}"
    if mine.packet != theirs.packet:
        return f"packet {mine.packet.hex()} and {theirs.packet.hex()}"
    for at, one, other in zip((_HASH, _ARRAY, _STATE), mine.maps, theirs.maps, strict=True):
        if one != other:
            return f"map {MAPS[at].name}: {one.hex() if one is not None else None} and {other.hex() if other is not None else None}"
    return "nothing"
