"""Arenas: pages that programs take and give back, and what an access finds, in a simulated kernel and on Linux."""

from __future__ import annotations

import contextlib
import mmap
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcc_py.errors import FaultError, MapError, VerifierError
from bcc_py.isa import Insn
from bcc_py.kernel import Kernel, Map, Program
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.maps import SimMap
from bcc_py.spec import ProgramSpec
from cfront.uapi import ProgType
from tests.sim.arena_programs import (
    ATOMICS,
    NO_USER_CONV,
    OPERATIONS,
    PAGE,
    SEGV_ON_FAULT,
    ArenaModel,
    arena_program,
    arena_spec,
    ask,
)
from tests.sim.quiet import Script

_USER = 0x7E0010003000
_BOTH = ["sim", pytest.param("linux", marks=pytest.mark.linux)]
_FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_M32 = 0xFFFFFFFF


@pytest.fixture(scope="module", params=_BOTH)
def machine(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    made = SimKernel(Script(), spec="sim:test") if request.param == "sim" else LinuxKernel()
    yield made
    made.close()


@contextlib.contextmanager
def _arena(kernel: Kernel, pages: int, user: int = _USER, flags: int = 0) -> Iterator[tuple[Map, Program]]:
    with contextlib.closing(kernel.create_map(arena_spec(pages, user, flags))) as map, \
            contextlib.closing(kernel.load_program(arena_program(map.fd))) as program:
        yield map, program


def _memory(map: Map, pages: int, stack: contextlib.ExitStack) -> memoryview | mmap.mmap:
    """The arena as a process has it."""
    if isinstance(map, SimMap):
        return map.view()
    return stack.enter_context(mmap.mmap(map.fd, pages * PAGE, mmap.MAP_SHARED))


_page, _count = st.integers(0, 9), st.integers(0, 5)
_place = st.builds(lambda page, at: page * PAGE + at, st.integers(0, 9), st.sampled_from((0, 0, 0, 8, 2048, PAGE - 8, PAGE - 3, PAGE - 1)))
_value = st.sampled_from((0, 1, 5, 0x80, 0x8000, 0xFFFFFFFF, 0x80000000, 0x1122334455667788, 0xFEDCBA9876543210, (1 << 64) - 1))
_ACCESSES = [one for one in OPERATIONS if one not in ("alloc", "free", "reserve", "value", "to_user")]
_aligned = st.builds(lambda page, at: page * PAGE + at, st.integers(0, 9), st.sampled_from((0, 0, 8, 2048)))
_MOVES = st.one_of(
    st.tuples(st.just("alloc"), _page, _count), st.tuples(st.just("any"), st.just(0), _count), st.tuples(st.just("any"), st.just(0), _count),
    st.tuples(st.just("free"), _page, _count), st.tuples(st.just("free"), _page, _count), st.tuples(st.just("reserve"), _page, _count))
_PLAIN = st.tuples(st.sampled_from([one for one in _ACCESSES if not one.startswith((*ATOMICS, "acquire", "release"))]), _place, _value, _value)
_SHARED = st.tuples(st.sampled_from([one for one in _ACCESSES if one.startswith((*ATOMICS, "acquire", "release"))]), _aligned, _value, _value)


def _move(program: Program, model: ArenaModel, verb: str, page: int, count: int) -> None:
    address = model.user + page * PAGE
    if verb == "free":
        ask(program, "free", address, count)
        model.release(page, count)
    elif verb == "reserve":
        assert ask(program, "reserve", address, count)[0] & _M32 == -model.reserve(page, count) & _M32
    else:
        wanted = model.alloc(None if verb == "any" else page, count)
        got = ask(program, "alloc", 0 if verb == "any" else address, count)[0]
        assert got == (0 if wanted is None else model.user + wanted * PAGE), model.free


@given(steps=st.lists(st.one_of(_MOVES, _MOVES, _PLAIN, _SHARED), max_size=60))
@_FEW
def test_an_arena_does_what_the_model_does(machine: Kernel, steps: list[tuple[str, int, int] | tuple[str, int, int, int]]) -> None:
    model = ArenaModel(8, _USER)
    with _arena(machine, 8) as (_, program):
        for step in steps:
            if len(step) == 3:
                _move(program, model, *step)
                continue
            operation, at, value, expected = step
            assert ask(program, operation, _USER + at, value, expected) == model.access(operation, at, value, expected), (step, model.free)


@given(steps=st.lists(st.one_of(_MOVES, st.tuples(st.sampled_from(("touch", "look")), st.integers(0, 7), _count)), max_size=40))
@_FEW
def test_a_process_allocates_what_it_touches(machine: Kernel, steps: list[tuple[str, int, int]]) -> None:
    """Its pages are a program's, and a program's are its. Pages that it touched one after the other, with nobody asking in
    between, are taken in another order by a simulated kernel: each is asked for at once."""
    with contextlib.ExitStack() as stack:
        map = stack.enter_context(contextlib.closing(machine.create_map(arena_spec(8))))
        memory = _memory(map, 8, stack)
        program = stack.enter_context(contextlib.closing(machine.load_program(arena_program(map.fd))))
        start = ask(program, "value")[0] - 40
        model = ArenaModel(8, start)
        for verb, page, count in steps:
            if verb not in ("touch", "look"):
                _move(program, model, verb, page, count)
                continue
            model.touch(page)
            if verb == "touch":
                memory[page * PAGE + count] = count
                model.write(page * PAGE + count, 1, count)
            else:
                assert memory[page * PAGE] == model.read(page * PAGE, 1)
            assert ask(program, "store1", start + page * PAGE, count)[1] == count
            model.write(page * PAGE, 1, count)
            assert memory[page * PAGE] == count


def test_a_page_in_front_of_the_arena_is_as_far_behind_it(machine: Kernel) -> None:
    """Freeing one adds it to what is free, of which the smallest range is taken first."""
    with _arena(machine, 8) as (_, program):
        assert ask(program, "alloc", 0, 2)[0] == _USER
        ask(program, "free", _USER - PAGE, 1)
        assert [ask(program, "alloc", 0, 1)[0] for _ in range(2)] == [_USER - PAGE, _USER + 2 * PAGE]
        ask(program, "store8", _USER - PAGE, 7)
        assert ask(program, "load8", _USER - PAGE)[0] == 7


def test_an_address_has_32_bits(machine: Kernel) -> None:
    """An instruction's offset leads out of the window, where nothing is, on either side; the window's ends are not joined."""
    with _arena(machine, 1 << 20, 1 << 32) as (_, program):
        last = (1 << 33) - PAGE
        assert ask(program, "alloc", last, 1)[0] == last
        assert ask(program, "alloc", 0, 1)[0] == 1 << 32
        ask(program, "store8", last + PAGE - 8, 11)
        ask(program, "store8", 8, 12)
        assert ask(program, "load8+8", 0)[0] == 12
        assert ask(program, "load8-8", 16)[0] == 12
        assert ask(program, "load8", PAGE * ((1 << 20) - 1) + PAGE - 8)[0] == 11
        for operation, at in (("load8-8", 0), ("load8+8", last + PAGE - 8), ("load8+32767", last + PAGE - 8), ("load8-32768", 0)):
            assert ask(program, operation, at)[0] == 0
            ask(program, operation.replace("load", "store"), at, 5)
            assert ask(program, operation, at)[0] == 0


@pytest.mark.parametrize("flags", [0, NO_USER_CONV])
def test_an_address_is_a_process_s_or_a_program_s(machine: Kernel, flags: int) -> None:
    with _arena(machine, 8, _USER, flags) as (_, program):
        assert ask(program, "to_user", _USER + 5)[0] == (_USER & _M32 if flags else _USER) + 5
        assert ask(program, "to_user", 1 << 32)[0] == 0
        assert ask(program, "value")[0] == _USER + 40


def test_what_is_no_address_gives_no_pages(machine: Kernel) -> None:
    with _arena(machine, 8) as (_, program):
        assert ask(program, "alloc", _USER + 1, 1)[0] == ask(program, "alloc", 0, 1, 1)[0] == ask(program, "alloc", 0, 9)[0] == 0
        assert ask(program, "alloc", _USER - PAGE, 1)[0] == ask(program, "alloc", _USER + 8 * PAGE, 1)[0] == 0
        assert ask(program, "reserve", _USER + 1, 99)[0] == ask(program, "reserve", _USER - PAGE, 0)[0] == 0
        assert ask(program, "reserve", _USER - PAGE, 1)[0] & _M32 == ask(program, "reserve", _USER + 7 * PAGE, 2)[0] & _M32 == -22 & _M32
        ask(program, "free", _USER + 8 * PAGE, 1)
        assert ask(program, "alloc", 5 << 40 | _USER & _M32, 8)[0] == _USER  # 32 bits count
        ask(program, "free", (_USER & _M32) + 3 * PAGE + 8, 1)
        assert ask(program, "alloc", 0, 1)[0] == _USER + 3 * PAGE


_SHAPES = {(1 << 20, 0): 0, (1 << 20, 1 << 32): 0, (1 << 20, (1 << 32) + PAGE): 34, (16, (1 << 32) - 8 * PAGE): 34, (1 << 20, PAGE): 34,
           ((1 << 20) + 1, 0): 7, (8, 1): 22, (8, PAGE): 0, (0, 0): 22}


@pytest.mark.parametrize("shape", _SHAPES, ids=lambda one: f"{one[0]}-{one[1]:#x}")
def test_an_arena_lies_within_4_gib(machine: Kernel, shape: tuple[int, int]) -> None:
    try:
        machine.create_map(arena_spec(*shape)).close()
        code = 0
    except MapError as error:
        code = error.errno
    assert code == _SHAPES[shape]


@pytest.mark.parametrize("operation", [0x41, 0x51, 0xA1])
def test_what_a_fault_could_not_skip_is_refused(machine: Kernel, operation: int) -> None:
    with contextlib.closing(machine.create_map(arena_spec(8, _USER))) as map:
        insns = (Insn(0x18, 1, 1, 0, map.fd), Insn(0), Insn(0xB7, 2), Insn(0xBF, 2, 2, 1, 1), Insn(0xB7, 3), Insn(0xDB, 2, 3, 0, operation),
                 Insn(0xB7), Insn(0x95))
        with pytest.raises(VerifierError, match="BPF_ATOMIC stores into R2 arena is not allowed"):
            machine.load_program(ProgramSpec("p", "GPL", ProgType.SYSCALL, insns, flags=1 << 4))


def test_a_large_arena_finds_pages_far_apart(machine: Kernel) -> None:
    """Ranges of many sizes among a million pages: the smallest that is large enough, whatever is around it."""
    with _arena(machine, 1 << 20, 1 << 32) as (_, program):
        model = ArenaModel(1 << 20, 1 << 32)
        dice = random.Random(1)
        for _ in range(300):
            page = dice.choice((0, 63, 64, 4095, 4096, 262143, 262144, dice.randrange(1 << 20)))
            count = dice.choice((1, 2, 63, 64, 65, 300))
            verb = dice.choice(("alloc", "any", "reserve", "free"))
            if verb == "free":
                ask(program, "free", model.user + page * PAGE, count)
                model.release(page, count)
            elif verb == "reserve":
                assert ask(program, "reserve", model.user + page * PAGE, count)[0] & _M32 == -model.reserve(page, count) & _M32
            else:
                wanted = model.alloc(None if verb == "any" else page, count)
                model.content.clear()
                got = ask(program, "alloc", 0 if verb == "any" else model.user + page * PAGE, count)[0]
                assert got == (0 if wanted is None else model.user + wanted * PAGE)


# ---- what only a simulated kernel has


def test_what_a_view_shows_without_a_page_is_not_allocated(kernel: SimKernel) -> None:
    """Linux ends the process there."""
    with _arena(kernel, 8, 0, SEGV_ON_FAULT) as (map, program):
        assert isinstance(map, SimMap)
        assert map.view()[3 * PAGE] == 0
        start = ask(program, "alloc", 0, 8)[0]
        assert start
        ask(program, "store8", start + 3 * PAGE, 9)
        assert map.view()[3 * PAGE] == 9


def test_threads_get_pages_of_their_own(kernel: SimKernel) -> None:
    """Each takes pages, marks them as its own, and finds its marks when it gives them back."""
    map = kernel.create_map(arena_spec(64))
    assert isinstance(map, SimMap)
    ffi, code = kernel.runtime.ffi, native.kernel_functions()
    alloc = ffi.cast("u64 (*)(void *, void *, u64, u64, u64, u64)", code["bpf_arena_alloc_pages"].address)
    free = ffi.cast("void (*)(void *, void *, u64, u64)", code["bpf_arena_free_pages"].address)

    def work(number: int) -> int:
        dice, cpu, mine, found = random.Random(number), kernel.cpu(number % kernel.cpus).pointer, [], 0
        for _ in range(400):
            if dice.random() < 0.6:
                start, count = int(alloc(cpu, map.pointer, 0, size := dice.randrange(1, 5), 0, 0)), size
                for at in range(start, start + count * PAGE if start else start, PAGE):
                    page = ffi.cast("u64 *", at)
                    found += int(page[0])
                    page[0] = number
                mine += [(start, count)] if start else []
            elif mine:
                start, count = mine.pop(dice.randrange(len(mine)))
                found += sum(int(ffi.cast("u64 *", at)[0]) != number for at in range(start, start + count * PAGE, PAGE))
                free(cpu, map.pointer, start, count)
        for start, count in mine:
            free(cpu, map.pointer, start, count)
        return found

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(1, 5))) == [0] * 4
    assert alloc(kernel.cpu(0).pointer, map.pointer, 0, 64, 0, 0)
    map.close()


def test_a_checked_program_ends_where_no_page_is() -> None:
    """As Linux says it in the program's stream, with the address that a process would have."""
    with contextlib.closing(SimKernel(Script(), spec="sim:checked", checked=True)) as checked, _arena(checked, 8) as (_, program):
        assert ask(program, "alloc", 0, 2)[0] == _USER
        ask(program, "store8", _USER + 8, 5)
        ask(program, "add8", _USER + 8, 5)
        assert ask(program, "load8", _USER + 8)[0] == 10
        for operation, at in (("load8", 2 * PAGE - 4), ("store1", 2 * PAGE), ("fetch_add4", 5 * PAGE), ("load8-8", 0)):
            with pytest.raises(FaultError) as caught:
                ask(program, operation, _USER + at, 1)
            assert caught.value.address == _USER + at - (8 if operation == "load8-8" else 0)
        assert ask(program, "load8", _USER + PAGE)[0] == 0
