"""The real kernel as a fixture, and programs in assembly that see only this process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bcc_py.isa import PSEUDO_MAP_FD, Insn, assemble
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import MapType, ProgType


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    """A LinuxKernel; the test fails if it leaves a descriptor open."""
    made = LinuxKernel()
    before = open_descriptors()
    try:
        yield made
    finally:
        made.close()
    assert open_descriptors() == before


def program(text: str, type: ProgType = ProgType.TRACEPOINT, name: str = "test", maps: dict[str, int] | None = None) -> ProgramSpec:
    """A program from assembly in which MY_PID stands for this process and $NAME for a map's load."""
    text = text.replace("MY_PID", str(os.getpid()))
    for word, fd in (maps or {}).items():
        text = text.replace(f"${word}", f"map[fd:{fd}]")
    return ProgramSpec(name, "", type, assemble(text))


def map_load(reg: int, fd: int) -> tuple[Insn, Insn]:
    return Insn(0x18, reg, PSEUDO_MAP_FD, 0, fd), Insn(0)


def hash_spec(name: str = "counts", entries: int = 64) -> MapSpec:
    return MapSpec(name, MapType.HASH, 4, 8, entries)


ONLY_ME = """
    r6 = r1
    call bpf_get_current_pid_tgid#14
    r0 >>= 32
    if r0 != MY_PID goto out
"""
END = """
out:
    r0 = 0
    exit
"""
