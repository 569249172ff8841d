"""Kernel functions and helpers give what Linux's give: the same bytecode, run by both.

RESULTS is what Linux 6.18 returned (the answers of a case folded into 32 bits); a test under the linux mark asks the running
kernel again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import cfront
from bcc_py.elf import read_object
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import load
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import ObjectSpec
from cfront.uapi import ProgType

_CASES = Path(__file__).with_name("kfuncs.c")
_STORED = Path(__file__).with_name("kfuncs.json")
_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE, which programs of type SYSCALL are


def _cases() -> dict[str, str]:
    """The body of each case by name: kfuncs.c is cut at its lines "// NAME"; what comes before the first goes before each."""
    head, *parts = _CASES.read_text().split("\n// ")
    cases = {}
    for part in parts:
        name, _, body = part.partition("\n")
        cases[name] = f'{head}\nSEC("bpf/run") int run(void *ctx)\n{{\n    s64 r = 0;\n{body}\n    return (int)(r ^ (r >> 32));\n}}\n'
    return cases


CASES = _cases()
RESULTS: dict[str, int] = json.loads(_STORED.read_text()) if _STORED.exists() else {}


def _object(name: str) -> ObjectSpec:
    text = CASES[name] + 'char _license[] SEC("license") = "GPL";\n'
    made = read_object(cfront.compile(text, filename="kfuncs.c", types=native.kernel_types()))
    programs = {one.name: dataclasses.replace(one, type=ProgType.SYSCALL, flags=_SLEEPABLE) for one in made.programs.values()}
    return dataclasses.replace(made, programs=programs)


def _answer(kernel: Kernel, name: str) -> int:
    loaded = load(_object(name), kernel)
    try:
        return loaded.programs["run"].test_run(ctx=bytes(64)).retval
    finally:
        loaded.close()


@pytest.mark.parametrize("name", CASES)
def test_the_simulated_kernel_answers_as_linux_did(kernel: SimKernel, name: str) -> None:
    assert _answer(kernel, name) == RESULTS[name]


@pytest.mark.linux
def test_linux_still_answers_the_same() -> None:
    linux = LinuxKernel()
    try:
        _answer(linux, next(iter(CASES)))
        assert {name: _answer(linux, name) for name in CASES} == RESULTS
    finally:
        linux.close()
