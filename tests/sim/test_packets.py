"""Packet helpers move the bytes that Linux's move: random programs on random packets, byte for byte.

packets.txt is what Linux 6.18 answered, a digest for each program (return value, packet and context of six test runs);
a test under the linux mark asks the running kernel about other programs."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcc_py.errors import LoadError
from bcc_py.kernel import Kernel, Program
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import ProgramSpec
from tests.sim.packet_programs import SKB_TYPES, packet, skb_context, skb_program, xdp_context, xdp_program
from tests.sim.quiet import Script

_STORED = Path(__file__).parent.parent / "data" / "packets.txt"
_PROGRAMS = 120
_LIVE = range(1000, 1060)


def _spec(kind: str, seed: int) -> ProgramSpec:
    return xdp_program(seed) if kind == "xdp" else skb_program(seed, SKB_TYPES[seed % len(SKB_TYPES)])


def _answer(program: Program, data: bytes, ctx: bytes, repeat: int) -> tuple[object, ...]:
    try:
        made = program.test_run(data, ctx, repeat)
    except LoadError as error:
        return ("errno", error.errno)
    return (made.retval & 0xFFFFFFFF, made.data.hex(), made.ctx.hex())


def _answers(kernel: Kernel, kind: str, seed: int) -> list[tuple[object, ...]]:
    program = kernel.load_program(_spec(kind, seed))
    rows = []
    for at in range(6):
        data = packet(seed * 6 + at, 5000 if kind == "xdp" and at == 5 else 300)
        ctx = (xdp_context if kind == "xdp" else skb_context)(seed * 6 + at, len(data))
        rows.append(_answer(program, data, ctx, 1 if at < 4 or kind == "xdp" else 3))
    program.close()
    return rows


def _digest(rows: list[tuple[object, ...]]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def _stored() -> dict[tuple[str, int], str]:
    rows = (line.split() for line in _STORED.read_text().splitlines())
    return {(kind, int(seed)): digest for kind, seed, digest in rows}


@pytest.mark.parametrize("kind", ["skb", "xdp"])
def test_programs_answer_as_linux_did(kernel: SimKernel, kind: str) -> None:
    stored = _stored()
    wrong = [seed for seed in range(_PROGRAMS) if _digest(_answers(kernel, kind, seed)) != stored[kind, seed]]
    assert not wrong


@pytest.fixture
def live() -> Iterator[LinuxKernel]:
    """Linux, for one test at a time: the tunnel that a program sets is a CPU's, and programs of two processes that take
    turns there see each other's."""
    with open(__file__, "rb") as this:
        fcntl.flock(this, fcntl.LOCK_EX)
        made = LinuxKernel()
        yield made
        made.close()


@pytest.mark.linux
@pytest.mark.parametrize("kind", ["skb", "xdp"])
def test_programs_answer_as_linux_does(kernel: SimKernel, live: LinuxKernel, kind: str) -> None:
    for seed in _LIVE:
        assert _answers(kernel, kind, seed) == _answers(live, kind, seed), f"{kind} {seed}"


@pytest.mark.linux
def test_what_is_stored_is_what_linux_says(request: pytest.FixtureRequest, live: LinuxKernel) -> None:
    rows = [(kind, seed, _digest(_answers(live, kind, seed))) for kind in ("skb", "xdp") for seed in range(_PROGRAMS)]
    text = "".join(f"{kind} {seed} {digest}\n" for kind, seed, digest in rows)
    if request.config.getoption("--update"):
        _STORED.write_text(text)
    assert text == _STORED.read_text()


def test_a_checked_kernel_finds_no_fault_in_them() -> None:
    """Whatever the helpers move, a program that was verified touches only what it may."""
    checked = SimKernel(Script(), spec="sim:checked", checked=True)
    stored = _stored()
    for kind in ("skb", "xdp"):
        for seed in range(20):
            assert _digest(_answers(checked, kind, seed)) == stored[kind, seed]
    checked.close()


def test_a_packet_is_shorter_than_a_page(kernel: SimKernel) -> None:
    program = kernel.load_program(skb_program(0, SKB_TYPES[0]))
    for size in (0, 13, 3713):
        with pytest.raises(LoadError) as caught:
            program.test_run(bytes(size))
        assert caught.value.errno == 22
    with pytest.raises(LoadError) as caught:
        program.test_run(bytes(64), bytes(192) + b"\1")
    assert caught.value.errno == 7
