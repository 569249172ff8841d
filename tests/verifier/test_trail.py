"""A log read back: the steps of the refused path, and where values on it came from."""

from __future__ import annotations

import pytest

from bcc_py.errors import VerifierError
from bcc_py.isa import assemble
from bcc_py.spec import ProgramSpec
from bcc_py.verdict import verify
from bcc_py.verifier.trail import Origin, Trail, read_trail
from cfront.uapi import ProgType
from tests.verifier.linux_oracle import load


def _trail(code: str, has_all: bool = False) -> Trail:
    with pytest.raises(VerifierError) as caught:
        verify(code, "socket_filter")
    error = caught.value
    return read_trail(error.log if has_all else error.path, error.spec)


BRANCHES = """call bpf_get_prandom_u32#7
if r0 > 5 goto a
r0 = 1
exit
a:
if r0 == 9 goto b
r0 = 2
exit
b:
r0 = *(u64 *)(r7 +0)
exit"""


@pytest.mark.parametrize("has_all", [False, True])
def test_steps_are_those_of_the_refused_path(has_all: bool) -> None:
    trail = _trail(BRANCHES, has_all)
    assert [one.slot for one in trail.steps] == [0, 1, 4, 7]
    assert [(jump.slot, after.slot) for jump, after in trail.branches()] == [(1, 4), (4, 7)]
    assert trail.value(0, 2).startswith("scalar(umin=6") and trail.value(0, 3) == "9" and trail.value(7, 3) == ""


@pytest.mark.linux
@pytest.mark.parametrize("log_level", [1, 2])
def test_logs_of_linux_give_the_same_steps(linux: None, log_level: int) -> None:
    log = load(assemble(BRANCHES), ProgType.SOCKET_FILTER, log_level=log_level).log
    for spec in (ProgramSpec("p", "", ProgType.SOCKET_FILTER, assemble(BRANCHES)), None):
        assert [one.slot for one in read_trail(log, spec).steps] == [0, 1, 4, 7]


def test_a_value_is_followed_through_copies_and_spills() -> None:
    trail = _trail("call bpf_get_prandom_u32#7\nr6 = r0\n*(u64 *)(r10 -8) = r6\nr6 = 0\nr3 = *(u64 *)(r10 -8)\nw4 = w3\nr0 = *(u8 *)(r4 +0)\nexit")
    assert trail.maker(4, 6) == Origin(5, 4) and trail.origin(4, 6) == Origin(0, 0)
    assert trail.origin(6, 6) == Origin(3, 6)


def test_arguments_and_results_are_followed_through_calls() -> None:
    code = "call bpf_ktime_get_ns#5\nr1 = r0\ncall f\nr1 = r0\ncall g\nexit\nf:\nr0 = r1\nexit\ng:\nr2 = r1\nr0 = *(u8 *)(r2 +0)\nexit"
    trail = _trail(code)
    assert [one.depth for one in trail.steps] == [0, 0, 0, 1, 1, 0, 0, 1, 1]
    assert trail.origin(2, len(trail.steps) - 1) == Origin(0, 0)


def test_what_was_there_at_the_beginning_has_no_maker() -> None:
    trail = _trail("r6 = r1\nr0 = *(u64 *)(r6 +4000)\nexit")
    assert trail.origin(6, 1) == Origin(-1, 1) and trail.value(6, 1) == "ctx()"


def test_an_empty_log_is_an_empty_trail() -> None:
    trail = read_trail("", None)
    assert trail.steps == [] and trail.origin(3, 0) == Origin(-1, 3) and trail.value(3, 0) == "" and not list(trail.branches())
