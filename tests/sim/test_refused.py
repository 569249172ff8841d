"""What a simulated kernel's programs can call, and what they are refused by name: docs/refused_helpers.md is whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.isa import Insn
from bcc_py.jit import NativeTarget, llvm_ir
from bcc_py.kernel import with_kernel_ids
from bcc_py.sim import native
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.helpers import HELPERS_BY_TYPE, helpers_of
from bcc_py.verifier.kernel_functions_table import _FUNCTIONS, kernel_function
from cfront.btf import Btf
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, HELPERS, AttachType, ProgType

_PAGE = (Path(__file__).parents[2] / "docs" / "refused_helpers.md").read_text()
_ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", _PAGE, re.MULTILINE))
_FUNCTIONS_AT = _PAGE.index("## Kernel functions")
REFUSED = [name for name in _ROWS if _PAGE.index(f"`{name}`") < _FUNCTIONS_AT]
REFUSED_FUNCTIONS = [name for name in _ROWS if name not in REFUSED]
# a jump, which the compiler of native code makes itself
_MADE_BY_THE_JIT = {"tail_call"}


@dataclass(frozen=True)
class _Accepted:
    """Stands for what the verifier gives."""

    insns: tuple[Insn, ...]
    spec: ProgramSpec
    functions: Sequence[Any]
    reached: frozenset[int]
    call_maps: Mapping[int, int] = field(default_factory=dict)
    memory_kinds: Mapping[int, str] = field(default_factory=dict)
    nospec: frozenset[int] = frozenset()
    nospec_after: frozenset[int] = frozenset()
    masks: Mapping[int, tuple[bool, bool, bool, int]] = field(default_factory=dict)


def _calls(insn: Insn, name: str = "") -> _Accepted:
    insns = (insn, Insn(0x95))
    spec = ProgramSpec("case", "", ProgType.KPROBE, insns, kernel_functions={0: name} if name else {})
    return _Accepted(insns, spec, [SimpleNamespace(start=0, end=2, stack_bytes=0)], frozenset((0, 1)))


def _missing(type: ProgType) -> set[str]:
    """The helpers that the verifier allows programs of this type, and that are not there."""
    allowed = set().union(*(helpers_of(type, one) for one in AttachType))
    there = set(native.helpers(type)) | {HELPER_IDS[one] for one in _MADE_BY_THE_JIT}
    return {f"bpf_{HELPER_BY_ID[number].name}" for number in allowed - there}


_TYPES = [one for one in ProgType if one in HELPERS_BY_TYPE]


@pytest.mark.parametrize("type", _TYPES, ids=lambda one: one.name)
def test_each_helper_is_there_or_refused(type: ProgType) -> None:
    assert _missing(type) <= set(REFUSED)


def test_nothing_that_is_there_is_called_missing() -> None:
    assert set(REFUSED) == set().union(*(_missing(one) for one in _TYPES))
    assert [name for name in REFUSED_FUNCTIONS if name in native.kernel_functions()] == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_missing_helper_is_refused_by_name(name: str) -> None:
    number = HELPER_IDS[name.removeprefix("bpf_")]
    type = next(one for one in _TYPES if name in _missing(one))
    target = NativeTarget(helpers=native.helpers(type), cpu_fields={"stack_top": 0, "number": 8, "tail_calls": 12, "fault": 16})
    with pytest.raises(NotSupportedError, match=rf"{name}#{number} does not exist there yet"):
        llvm_ir(_calls(Insn(0x85, 0, 0, 0, number)), target)


@pytest.mark.parametrize("name", REFUSED_FUNCTIONS)
def test_a_missing_kernel_function_is_refused_by_name(name: str) -> None:
    assert any(kernel_function(name, type, hook) for type in ProgType for hook in AttachType)
    spec = _calls(Insn(0x85, 0, 1, 0, -1), name).spec
    with pytest.raises(NotSupportedError, match=f"this kernel has no {name} "):
        with_kernel_ids(spec, native.kernel_types())


def test_each_kernel_function_is_there_or_refused() -> None:
    """And what is there is declared with as many parameters as it takes."""
    types = native.kernel_types()
    there = native.kernel_functions()
    assert {name: len(proto.params) if (proto := types.function(name)) else -1 for name in there} == {
        name: one.arity for name, one in there.items()}
    assert set(_FUNCTIONS) - set(there) == set(REFUSED_FUNCTIONS)


def test_the_table_of_helpers_is_whole() -> None:
    assert [one.id for one in HELPERS] == list(range(1, len(HELPER_IDS) + 1))
    assert all(HELPER_IDS[one.name] == one.id for one in HELPERS)


@pytest.mark.linux
def test_linux_numbers_its_helpers_so() -> None:
    path = Path("/sys/kernel/btf/vmlinux")
    if not path.exists():
        pytest.skip("this machine has no BTF of its kernel")
    running = Btf(path.read_bytes())
    assert {name: running.enumerator(f"BPF_FUNC_{name}") for name in HELPER_IDS} == HELPER_IDS
    assert running.enumerator("__BPF_FUNC_MAX_ID") == len(HELPER_IDS) + 1


@pytest.mark.linux
def test_linux_declares_its_kernel_functions_so() -> None:
    """Names, and names of parameters, which the verifier goes by."""
    path = Path("/sys/kernel/btf/vmlinux")
    if not path.exists():
        pytest.skip("this machine has no BTF of its kernel")
    ours, running = native.kernel_types(), Btf(path.read_bytes())
    for name in native.kernel_functions():
        mine, theirs = ours.function(name), running.function(name)
        assert mine is not None and theirs is not None, name
        assert [one.name for one in mine.params] == [one.name for one in theirs.params], name
        assert [str(one.type) for one in mine.params] == [str(one.type) for one in theirs.params], name
        assert str(mine.result) == str(theirs.result), name
