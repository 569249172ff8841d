"""The kernel's own variables, of which there is one for each CPU.

The sentences are by the kernel's source: a kernel without the addresses of its variables (CONFIG_KALLSYMS_ALL) refuses every
such program. The last test asks the running kernel for those of them that it must know, the functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcc_py.errors import NotSupportedError, VerifierError
from bcc_py.isa import PSEUDO_BTF_ID, Insn, assemble
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import VerifierEnv, verify
from cfront.btf import Btf
from cfront.uapi import ProgType
from tests.verifier.btf_writer import variable_types
from tests.verifier.linux_oracle import load

OURS = Btf(variable_types())


def load_of(id: int, rest: str) -> tuple[Insn, ...]:
    return (Insn(0x18, 1, PSEUDO_BTF_ID, 0, id), Insn(0), *assemble(f"{rest}\nr0 = 0\nexit"))


def verdict(name: str, rest: str, types: Btf | None = OURS) -> str:
    program = ProgramSpec("variable", "", ProgType.RAW_TRACEPOINT, load_of(7, rest), kernel_variables={0: name})
    try:
        verify(program, VerifierEnv(types=types))
    except VerifierError as error:
        return error.log.splitlines()[-2]
    return "accepted"


CASES = [
    ("ticks", "call this_cpu_ptr\nr0 = *(u64 *)(r0 +0)", "accepted"),
    ("ticks", "call this_cpu_ptr\nr0 = *(u64 *)(r0 +8)", "R0 min value is outside of the allowed memory range"),
    ("ticks", "call this_cpu_ptr\n*(u64 *)(r0 +0) = 1", "R0 cannot write into rdonly_mem"),
    ("ticks", "r2 = 0\ncall per_cpu_ptr\nr0 = *(u64 *)(r0 +0)", "R0 invalid mem access 'rdonly_mem_or_null'"),
    ("ticks", "r2 = 0\ncall per_cpu_ptr\nif r0 == 0 goto out\nr0 = *(u64 *)(r0 +0)\nout:", "accepted"),
    ("first", "call this_cpu_ptr\nr0 = *(u64 *)(r0 +8)\nr0 = *(u64 *)(r0 +0)", "accepted"),
    ("first", "call this_cpu_ptr\nr0 = *(u64 *)(r0 +16)", "access beyond struct queue at off 16 size 8"),
    ("first", "call this_cpu_ptr\n*(u64 *)(r0 +0) = 1", "only read is supported"),
    ("first", "r2 = 0\ncall per_cpu_ptr\nr0 = *(u64 *)(r0 +0)", "R0 invalid mem access 'ptr_or_null_'"),
    ("first", "r0 = *(u64 *)(r1 +0)", "R1 is ptr_queue access percpu memory: off=0"),
    ("first", "r1 += 8\ncall this_cpu_ptr", "dereference of modified percpu_ptr_ ptr R1 off=8 disallowed"),
    ("run", "r0 = r1", "accepted"),
    ("run", "r0 = *(u64 *)(r1 +0)", "R1 min value is outside of the allowed memory range"),
    ("last", "r0 = r1", "ldimm64 insn specifies invalid btf_id 7."),
]


@pytest.mark.parametrize(("name", "rest", "wanted"), CASES)
def test_a_variable(name: str, rest: str, wanted: str) -> None:
    assert verdict(name, rest) == wanted


def test_without_types_there_is_none() -> None:
    assert verdict("ticks", "r0 = r1", None) == "ldimm64 insn specifies invalid btf_id 7."


def test_a_variable_is_found_by_its_name() -> None:
    assert str(OURS.variable("first")) == "struct queue"
    assert OURS.variable("run") is None and OURS.variable("queue") is None


@pytest.mark.linux
def test_a_function_on_linux(linux: None) -> None:
    path = Path("/sys/kernel/btf/vmlinux")
    if not path.exists():
        raise NotSupportedError("this kernel has no BTF", feature="BTF")
    types = Btf(path.read_bytes())
    id = types.function_id("schedule")
    assert id is not None
    for name, rest, wanted in CASES:
        if name == "run":
            got = load(load_of(id, rest), ProgType.RAW_TRACEPOINT, log_level=1)
            assert (got.sentence if got.errno else "accepted") == wanted
