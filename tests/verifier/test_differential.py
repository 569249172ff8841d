"""Compiled programs and mutilated ones; random ones against Linux are in tests/differential.

Loops are also held against ourselves: with every number of a remembered state needed, nothing is forgotten
that might decide something, and the verdict must be the same."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.elf import read_object
from bcc_py.errors import VerifierError
from bcc_py.isa import Insn, assemble
from bcc_py.spec import MapSpec, ObjectSpec, ProgramSpec, RelocKind
from bcc_py.verifier import VerifierEnv, explore, verify
from bcc_py.verifier.contexts import CONTEXTS
from bcc_py.verifier.flow import ALL_SLOTS
from bcc_py.verifier.precision import Checkpoint, remember
from bcc_py.verifier.state import PLACES, State
from cfront.uapi import MapType, ProgType
from tests.differential import loops, pointers
from tests.differential.writer import MAPS
from tests.verifier.linux_oracle import load, maps_of, with_fds

TOOLS = Path(__file__).parents[1] / "data" / "tools.o"


def is_accepted(spec: ProgramSpec, env: VerifierEnv) -> bool:
    try:
        verify(spec, env)
    except VerifierError:
        return False
    return True


def test_what_is_forgotten_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    env = VerifierEnv(dict(enumerate(MAPS, 1)), insn_limit=3_000)
    specs = [ProgramSpec("random", "", ProgType.KPROBE, assemble(loops.program(seed).text)) for seed in range(1250, 1350)]
    accepted = [spec for spec in specs if is_accepted(spec, env)]
    assert len(accepted) > 40, "the generator has lost its touch"

    def remember_all(slot: int, state: State, parent: Checkpoint | None) -> Checkpoint:
        point = remember(slot, state, parent)
        for depth in range(len(state.frames)):
            point.needed |= (0x7FF | ALL_SLOTS) << PLACES * depth
        return point

    monkeypatch.setattr(explore, "remember", remember_all)
    for spec in accepted:
        try:
            verify(spec, env)
        except VerifierError as error:
            assert "too large" in str(error)


def placed(spec: ProgramSpec, fds: dict[str, int]) -> ProgramSpec:
    """The program with descriptors in its map loads, as load.py does it."""
    insns = list(spec.insns)
    for one in spec.relocs:
        is_map = one.kind is RelocKind.MAP
        insns[one.slot] = insns[one.slot]._replace(src=1 if is_map else 2, imm=fds[one.symbol])
        if not is_map:
            insns[one.slot + 1] = insns[one.slot + 1]._replace(imm=one.addend)
    return replace(spec, insns=tuple(insns))


@pytest.fixture(scope="module")
def tools() -> ObjectSpec:
    return read_object(TOOLS.read_bytes())


def test_compiled_tools_are_accepted(tools: ObjectSpec) -> None:
    fds = {name: number for number, name in enumerate(tools.maps, 1)}
    env = VerifierEnv({fds[name]: spec for name, spec in tools.maps.items()})
    assert len(tools.programs) == 17
    for spec in tools.programs.values():
        found = verify(placed(spec, fds), env)
        assert found.functions[0].start == 0 and found.functions[-1].end == len(spec.insns)
        assert found.stack_bytes <= 512 and found.log == ""
        assert set(found.memory_kinds) <= found.reached


@pytest.mark.linux
def test_compiled_tools_cost_what_linux_pays(tools: ObjectSpec, linux: None) -> None:
    with maps_of(tools.maps.values()) as numbers:
        fds = dict(zip(tools.maps, numbers, strict=True))
        env = VerifierEnv({fds[name]: spec for name, spec in tools.maps.items()})
        for spec in tools.programs.values():
            ready = placed(spec, fds)
            verdict = load(ready.insns, spec.type, spec.license, log_level=4)
            assert verdict.errno == 0, verdict.log
            theirs = int(verdict.log.split("processed ")[1].split()[0])
            assert verify(ready, env).insns_processed <= 1.25 * theirs


def test_error_names_the_line(tools: ObjectSpec) -> None:
    spec = tools.programs["tp_exit"]
    # the null check of the first look-up goes away
    slot = next(i for i, insn in enumerate(spec.insns) if insn.code == 0x15)
    insns = (*spec.insns[:slot], assemble("r5 = 0")[0], *spec.insns[slot + 1 :])
    fds = {name: number for number, name in enumerate(tools.maps, 1)}
    env = VerifierEnv({fds[name]: one for name, one in tools.maps.items()})
    with pytest.raises(VerifierError) as caught:
        verify(placed(replace(spec, insns=insns), fds), env)
    error = caught.value
    assert "verifying tp_exit: R6 invalid mem access 'map_value_or_null' (insn 12 at tools.c:" in str(error)
    assert error.insn == 12 and error.span.startswith("./tools.c:") and "bpf_ktime_get_ns()-*t" in str(error)
    assert "; u32 pid=bpf_get_current_pid_tgid()>>32;" in error.log


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32))
def test_any_slots_are_accepted_or_refused(seed: int) -> None:
    """Mutilated programs, some of them beyond recognition: a verdict, never another exception."""
    dice = random.Random(seed)
    slots = list(assemble(pointers.program(seed).text))
    for _ in range(dice.choice((1, 2, 5, 40))):
        at = dice.randrange(len(slots))
        slots[at] = Insn(*(
            (dice.randrange(256), dice.randrange(16), dice.randrange(16), dice.randrange(-20, 20), dice.randrange(-9, 99))
            if dice.random() < 0.4 else slots[dice.randrange(len(slots))]
        ))
    type = dice.choice(list(CONTEXTS))
    is_accepted(ProgramSpec("x", "", type, tuple(slots)), VerifierEnv(dict(enumerate(MAPS, 1)), insn_limit=5000))


def test_unknown_program_type_is_refused() -> None:
    spec = ProgramSpec("x", "", ProgType.UNSPEC, assemble("r0 = 0\nexit"))
    with pytest.raises(VerifierError, match="a program of type UNSPEC cannot be for NONE"):
        verify(spec, VerifierEnv())


def test_empty_program_is_refused() -> None:
    with pytest.raises(VerifierError, match="a program of 0 instructions"):
        verify(ProgramSpec("x", "", ProgType.KPROBE, ()), VerifierEnv())


LINK_TEXT = """*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[fd:1]
call map_lookup_elem
if r0 == 0 goto out
r6 = r0
call get_prandom_u32
{number}
{floor}{copy}
{sum}
{check}
r6 += r1
r0 = *(u8 *)(r6 +0)
out:
r0 = 0
exit
"""
LINKS = [
    ["r2 = r0", "w2 = w0", "r2 = r0\nr2 &= 255", "r2 = r0\nw2 &= 1023"],
    ["", "if r2 == 0 goto out\n", "if r2 < 5 goto out\n", "if w2 == 0 goto out\n", "if w2 < 5 goto out\n"],
    ["r1 = r2", "w1 = w2"],
    ["r1 += 1", "r1 += -1", "w1 += 1", "w1 += -1", "w1 += -5", "r1 += -5", "r1 -= 5", "w1 -= 1", "r1 += 1\nr1 += 1", "r3 = 4\nr1 += r3",
     "r1 += 2147483647", "w1 -= -1"],
    ["if r2 > 10 goto out", "if w2 > 10 goto out", "if r1 > 10 goto out\nr1 = r2", "if w1 > 10 goto out\nw1 = w2",
     "r4 = r2\nif r4 > 10 goto out", "r4 = r1\nr4 += 3\nif r2 > 10 goto out\nr1 = r4", "if r2 s> 10 goto out",
     "*(u64 *)(r10 -16) = r1\nif r2 > 10 goto out\nr1 = *(u64 *)(r10 -16)"],
]


@pytest.mark.linux
def test_a_copy_that_a_constant_was_added_to_is_known_as_linux_knows_it(linux: None) -> None:
    """Of the 3,840 ways to copy a number, move it on by a constant and check one of the two, a few hundred."""
    ways = list(itertools.product(*LINKS))
    verdicts = set()
    values = MapSpec("values", MapType.HASH, 4, 64, 4)
    with maps_of([values]) as fds:
        for number, floor, copy, sum, check in random.Random(3).sample(ways, 300):
            text = LINK_TEXT.format(number=number, floor=floor, copy=copy, sum=sum, check=check)
            insns = assemble(text)
            verdict = load(with_fds(insns, fds), ProgType.KPROBE).errno == 0
            assert is_accepted(ProgramSpec("p", "", ProgType.KPROBE, insns), VerifierEnv({1: values})) == verdict, text
            verdicts.add(verdict)
    assert verdicts == {True, False}
