"""Dynptrs over packets do what Linux's do: random programs on random packets, some of several buffers.

dynptrs.txt is what Linux 6.18 answered, a digest for each program (return value, packet and context of four test runs, and
what they left in a map); a test under the linux mark asks the running kernel about other programs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bcc_py.errors import LoadError, VerifierError
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from cfront.uapi import ProgType
from tests.sim.dynptr_programs import TYPES, VALUE, dynptr_program, long_packet
from tests.sim.quiet import Script

_STORED = Path(__file__).parent.parent / "data" / "dynptrs.txt"
_PROGRAMS, _LIVE = range(60), range(1000, 1030)


def _answers(kernel: Kernel, type: ProgType, seed: int) -> list[object]:
    rows: list[object] = []
    map = kernel.create_map(VALUE)
    try:
        program = kernel.load_program(dynptr_program(seed, type, map.fd))
    except VerifierError as error:
        map.close()
        return [error.sentence]
    ctx = bytes(24) if type is ProgType.XDP else bytes(192)
    for at in range(4):
        data = long_packet(seed * 4 + at, type)
        given = b"" if type is not ProgType.CGROUP_SKB and at % 2 == 0 else ctx if type is not ProgType.XDP else _xdp_context(len(data))
        try:
            made = program.test_run(data, given)
            rows.append((made.retval & 0xFFFFFFFF, made.data.hex(), made.ctx.hex()))
        except LoadError as error:
            rows.append(error.errno)
        value = map.lookup(bytes(4))
        assert value is not None
        rows.append(value.hex())
        map.update(bytes(4), bytes(range(200)) * 3)
    program.close()
    map.close()
    return rows


def _xdp_context(size: int) -> bytes:
    """The first buffer is 16 bytes of metadata and at most 200 bytes long."""
    return b"".join(one.to_bytes(4, "little") for one in (16, min(size, 200), 0, 0, 0, 0))


def _digest(rows: list[object]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def _stored() -> dict[tuple[str, int], str]:
    rows = (line.split() for line in _STORED.read_text().splitlines())
    return {(kind, int(seed)): digest for kind, seed, digest in rows}


@pytest.mark.parametrize("type", TYPES, ids=lambda one: one.name.lower())
def test_programs_answer_as_linux_did(kernel: SimKernel, type: ProgType) -> None:
    stored = _stored()
    assert [seed for seed in _PROGRAMS if _digest(_answers(kernel, type, seed)) != stored[type.name, seed]] == []


@pytest.mark.linux
@pytest.mark.parametrize("type", TYPES, ids=lambda one: one.name.lower())
def test_programs_answer_as_linux_does(kernel: SimKernel, type: ProgType) -> None:
    live = LinuxKernel()
    try:
        for seed in _LIVE:
            assert _answers(kernel, type, seed) == _answers(live, type, seed), seed
    finally:
        live.close()


@pytest.mark.linux
def test_what_is_stored_is_what_linux_says(request: pytest.FixtureRequest) -> None:
    live = LinuxKernel()
    try:
        text = "".join(f"{type.name} {seed} {_digest(_answers(live, type, seed))}\n" for type in TYPES for seed in _PROGRAMS)
    finally:
        live.close()
    if request.config.getoption("--update"):
        _STORED.write_text(text)
    assert text == _STORED.read_text()


def test_a_checked_kernel_finds_no_fault_in_them() -> None:
    """Slices are the packet's own bytes, or the program's buffer."""
    checked = SimKernel(Script(), spec="sim:checked", checked=True)
    stored = _stored()
    for type in TYPES:
        assert [seed for seed in range(12) if _digest(_answers(checked, type, seed)) != stored[type.name, seed]] == []
    checked.close()
