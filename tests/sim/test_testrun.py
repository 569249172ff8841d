"""Test runs take and give back what BPF_PROG_TEST_RUN takes and gives back, for every type of program.

Each program reads its context field by field into what it returns; contexts and packets are random, good ones and ones
that are refused. testruns.txt is what Linux 6.18 answered, a digest for each program; a test under the linux mark asks the
running kernel again."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from bcc_py.errors import LoadError, NotSupportedError
from bcc_py.isa import assemble
from bcc_py.kernel import Kernel, Program
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import ProgramSpec
from cfront.uapi import AttachType, ProgType
from tests.sim.packet_programs import packet

_STORED = Path(__file__).parent.parent / "data" / "testruns.txt"
_P, _A = ProgType, AttachType
_SLEEPABLE = 1 << 4
_RUNS = 40
# types that have no test run, with an attach type that they take
_WITHOUT = {
    _P.SOCK_OPS: _A.NONE, _P.SK_SKB: _A.NONE, _P.CGROUP_DEVICE: _A.NONE, _P.SK_MSG: _A.NONE, _P.CGROUP_SOCK: _A.NONE,
    _P.CGROUP_SOCK_ADDR: _A.CGROUP_INET4_BIND, _P.LWT_SEG6LOCAL: _A.NONE, _P.SK_REUSEPORT: _A.NONE, _P.CGROUP_SYSCTL: _A.NONE,
    _P.CGROUP_SOCKOPT: _A.CGROUP_SETSOCKOPT, _P.RAW_TRACEPOINT_WRITABLE: _A.NONE,
}


def _sum(loads: list[str], head: str = "", end: str = "") -> str:
    """A program that folds what these loads give."""
    parts = "\n".join(f"{one}\nr7 *= 31\nr7 += r1" for one in loads)
    return f"r6 = r1\nr7 = 0\n{head}\n{parts}\n{end or 'r0 = r7'}\nexit"


def _word(off: int, width: int = 32, base: str = "r6") -> str:
    return f"r1 = *(u{width} *)({base} +{off})"


def _stores(widths: dict[int, int]) -> str:
    return "\n".join(f"*(u{width} *)(r8 +{off}) = {off * 7 % 251}" for off, width in widths.items())


_LOOKUP_FIELDS = [_word(off) for off in (8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64)]
# name -> type, attach type, flags, text
_PROGRAMS: dict[str, tuple[ProgType, AttachType, int, str]] = {
    "flow": (_P.FLOW_DISSECTOR, _A.NONE, 0, _sum(
        [_word(off, 16, "r8") for off in range(0, 56, 2)], "r8 = *(u64 *)(r6 +144)", "r0 = 0")),
    "flow_writes": (_P.FLOW_DISSECTOR, _A.NONE, 0, _sum(
        [], "r8 = *(u64 *)(r6 +144)\n" + _stores({0: 16, 2: 16, 4: 16, 6: 8, 9: 8, 12: 16, 16: 32, 32: 64, 52: 32}), "r0 = 2")),
    "flow_packet": (_P.FLOW_DISSECTOR, _A.NONE, 0, """
        r8 = *(u64 *)(r1 +144)
        r2 = *(u32 *)(r1 +76)
        r3 = *(u32 *)(r1 +80)
        r4 = r2
        r4 += 34
        r0 = 129
        if r4 > r3 goto end
        r5 = *(u16 *)(r2 +16)
        *(u16 *)(r8 +2) = r5
        r5 = *(u64 *)(r2 +26)
        *(u64 *)(r8 +16) = r5
        r0 = 0
        end:
        exit"""),
    "lookup": (_P.SK_LOOKUP, _A.SK_LOOKUP, 0, _sum([*_LOOKUP_FIELDS, _word(36, 16), _word(60, 16), _word(21, 8)], "", "r0 = r7\nr0 &= 1")),
    "lookup_none": (_P.SK_LOOKUP, _A.SK_LOOKUP, 0, """
        r6 = r1
        r2 = 0
        r3 = 0
        call bpf_sk_assign#124
        r7 = r0
        r1 = r6
        r2 = 0
        r3 = 4
        call bpf_sk_assign#124
        r0 += r7
        r7 = *(u64 *)(r6 +0)
        if r7 == 0 goto none
        r0 += 1
        none:
        r0 &= 1
        exit"""),
    "raw": (_P.RAW_TRACEPOINT, _A.NONE, 0, _sum([_word(off, 64) for off in (0, 8, 40)])),
    "raw_none": (_P.RAW_TRACEPOINT, _A.NONE, 0, "r0 = 9\nexit"),
    "syscall": (_P.SYSCALL, _A.NONE, _SLEEPABLE, _sum([_word(off, width) for off, width in ((0, 32), (8, 64), (20, 32), (24, 8))], "", """
        *(u64 *)(r6 +8) = r7
        *(u8 *)(r6 +25) = 77
        r0 = r7""")),
}


def _spec(name: str) -> ProgramSpec:
    type, attach_type, flags, text = _PROGRAMS[name]
    lines = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return ProgramSpec(name, "", type, assemble(lines), expected_attach_type=attach_type, flags=flags)


def _flow(dice: random.Random) -> tuple[bytes, bytes]:
    data = packet(dice.getrandbits(30)) if dice.random() < 0.9 else bytes(dice.choice((0, 13, 4096, 4097)))
    keys = bytearray(56)
    keys[48:52] = dice.getrandbits(3 if dice.random() < 0.7 else 32).to_bytes(4, "little")
    if dice.random() < 0.15:
        keys[dice.randrange(56)] = 1
    return data, bytes(keys) if dice.random() < 0.7 else b""


def _lookup(dice: random.Random) -> tuple[bytes, bytes]:
    image = bytearray(dice.randbytes(64) + bytes(8))
    image[:8] = bytes(8)
    image[8:12] = dice.choice((2, 2, 10, 10, 1, 0x10002)).to_bytes(4, "little")
    image[12:16] = dice.choice((6, 17, 0x10006)).to_bytes(4, "little")
    image[60:64] = dice.choice((80, 80, 0xFFFF, 0x10000)).to_bytes(4, "little")
    if dice.random() < 0.15:
        image[dice.choice((0, 7, 64, 71))] = 1
    given = bytes(image)[: dice.choice((72, 72, 72, 64, 40))] + bytes(dice.choice((0, 0, 8)))
    return dice.choice((b"", b"", b"", b"", bytes(64))), dice.choice((given, given, given, b""))


def _arguments(dice: random.Random) -> tuple[bytes, bytes]:
    sizes = (0, 8, 16, 24, 25, 26, 28, 40, 44, 47, 48, 49, 64, 96, 97, 104)
    return dice.choice((b"", b"", b"", b"", b"", bytes(64))), dice.randbytes(dice.choice(sizes))


def _inputs(name: str, dice: random.Random) -> tuple[bytes, bytes]:
    if name.startswith("flow"):
        return _flow(dice)
    return _lookup(dice) if name.startswith("lookup") else _arguments(dice)


def _answer(program: Program, data: bytes, ctx: bytes) -> tuple[object, ...]:
    try:
        made = program.test_run(data, ctx)
    except LoadError as error:
        return ("errno", error.errno)
    return (made.retval & 0xFFFFFFFF, made.data.hex(), made.ctx.hex())


def _answers(kernel: Kernel, name: str) -> list[tuple[object, ...]]:
    program = kernel.load_program(_spec(name))
    dice = random.Random(name)
    rows = [_answer(program, *_inputs(name, dice)) for _ in range(_RUNS)]
    program.close()
    return rows


def _digest(rows: list[tuple[object, ...]]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", _PROGRAMS)
def test_test_runs_are_as_linux_had_them(kernel: SimKernel, name: str) -> None:
    stored = dict(line.split() for line in _STORED.read_text().splitlines())
    assert _digest(_answers(kernel, name)) == stored[name]


@pytest.mark.linux
@pytest.mark.parametrize("name", _PROGRAMS)
def test_test_runs_are_as_linux_has_them(kernel: SimKernel, name: str) -> None:
    live = LinuxKernel()
    assert _answers(kernel, name) == _answers(live, name)
    live.close()


@pytest.mark.linux
def test_what_is_stored_is_what_linux_says(request: pytest.FixtureRequest) -> None:
    live = LinuxKernel()
    text = "".join(f"{name} {_digest(_answers(live, name))}\n" for name in _PROGRAMS)
    live.close()
    if request.config.getoption("--update"):
        _STORED.write_text(text)
    assert text == _STORED.read_text()


def _refusal(kernel: Kernel, type: ProgType) -> str:
    program = kernel.load_program(ProgramSpec("none", "", type, assemble("r0 = 1\nexit"), expected_attach_type=_WITHOUT[type]))
    try:
        program.test_run(bytes(64))
    except NotSupportedError as error:
        return error.feature
    finally:
        program.close()
    return ""


@pytest.mark.parametrize("type", _WITHOUT, ids=lambda one: one.name)
def test_other_types_have_no_test_run(kernel: SimKernel, type: ProgType) -> None:
    assert _refusal(kernel, type) == "prog_test_run"


@pytest.mark.linux
@pytest.mark.parametrize("type", _WITHOUT, ids=lambda one: one.name)
def test_nor_have_they_on_linux(type: ProgType) -> None:
    live = LinuxKernel()
    assert _refusal(live, type) == "prog_test_run"
    live.close()
