"""The JIT computes what Linux computes: the same bytecode, the same r0.

isa_results.txt holds what Linux 6.18 answered (BPF_PROG_TEST_RUN as a socket filter); a test under the
linux mark asks the running kernel again."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bcc_py.errors import LoadError, NotSupportedError
from bcc_py.isa import Insn, encode
from bcc_py.jit import NativeHelper, NativeLibrary, NativeMap, NativeTarget, compile_program, llvm_ir, native_assembly
from bcc_py.jit.link import make_object
from bcc_py.linux import sys as linux_sys
from bcc_py.spec import ProgramSpec
from cfront.uapi import ProgType
from tests.isa_programs import cases, wide

_RESULTS = {line[11:]: int(line[:10], 16) for line in (Path(__file__).parent / "data/isa_results.txt").read_text().splitlines()}
_STATE = ctypes.create_string_buffer(64)
_ADDRESS = ctypes.addressof(_STATE)
CPU_FIELDS = {"stack_top": 0, "number": 8, "tail_calls": 12, "fault": 16}


@dataclass(frozen=True)
class _Extent:
    start: int
    end: int
    stack_bytes: int = 512


@dataclass(frozen=True)
class _Accepted:
    """Stands for what the verifier gives. extra: where functions begin that nobody calls by a call."""

    insns: tuple[Insn, ...]
    extra: tuple[int, ...] = ()
    nospec: frozenset[int] = frozenset()
    nospec_after: frozenset[int] = frozenset()
    masks: Mapping[int, tuple[bool, bool, bool, int]] = field(default_factory=dict)

    @property
    def spec(self) -> ProgramSpec:
        return ProgramSpec("case", "socket", ProgType.SOCKET_FILTER, self.insns)

    @property
    def functions(self) -> Sequence[_Extent]:
        starts = sorted({0, *self.extra} | {at + 1 + one.imm for at, one in enumerate(self.insns) if one.code == 0x85 and one.src == 1})
        return [_Extent(start, end) for start, end in zip(starts, [*starts[1:], len(self.insns)], strict=True)]

    @property
    def reached(self) -> frozenset[int]:
        return frozenset(range(len(self.insns)))

    @property
    def call_maps(self) -> Mapping[int, int]:
        """Every call is about the one map that is named."""
        fds = [one.imm for one in self.insns if one.code == 0x18 and one.src == 1]
        return {slot: fds[0] for slot, one in enumerate(self.insns) if one.code == 0x85 and fds}

    memory_kinds: ClassVar[Mapping[int, str]] = {}


def _target(helpers: dict[int, NativeHelper] | None = None, maps: dict[int, NativeMap] | None = None) -> NativeTarget:
    return NativeTarget(CPU_FIELDS, helpers or {}, maps or {})


def _run(insns: Sequence[Insn], ctx: int = 0, target: NativeTarget | None = None) -> int:
    made = compile_program(_Accepted(tuple(insns)), target or _target())
    try:
        return made.run(_ADDRESS, ctx)
    finally:
        made.close()


def test_every_case_has_a_result() -> None:
    names = [name for name, _ in cases()]
    assert len(names) == len(set(names)) >= 1000
    assert set(names) == set(_RESULTS)


def _joined(group: Sequence[tuple[str, tuple[Insn, ...]]]) -> tuple[Insn, ...]:
    """One program that runs case number r1 of group: compiled once, they cost a tenth."""
    calls: list[Insn] = []
    bodies: list[Insn] = []
    head = 3 * len(group) + 2
    for at, (_, insns) in enumerate(group):
        slot = len(calls) + 1
        calls += [Insn(0x55, 1, 0, 2, at), Insn(0x85, 0, 1, 0, head + len(bodies) - slot - 1), Insn(0x95)]
        bodies += insns
    return (*calls, Insn(0xB7), Insn(0x95), *bodies)


def _with_own_callees(group: Sequence[tuple[str, tuple[Insn, ...]]]) -> list[tuple[str, tuple[Insn, ...]]]:
    return [one for one in group if not any(insn.code == 0x85 for insn in one[1])]


def test_the_machine_computes_what_linux_computed() -> None:
    every = cases()
    group = _with_own_callees(every)
    wrong = []
    for first in range(0, len(group), 128):
        part = group[first : first + 128]
        made = compile_program(_Accepted(_joined(part)), _target())
        wrong += [name for at, (name, _) in enumerate(part) if made.run(_ADDRESS, at) & 0xFFFFFFFF != _RESULTS[name]]
        made.close()
    wrong += [name for name, insns in every if (name, insns) not in group and _run(insns) & 0xFFFFFFFF != _RESULTS[name]]
    assert wrong == []


@pytest.mark.linux
def test_linux_still_computes_the_same(linux_sys_ready: None) -> None:
    wrong = []
    for name, insns in cases():
        fd = linux_sys.prog_load(ProgType.SOCKET_FILTER, encode(insns))
        try:
            if linux_sys.prog_test_run(fd, bytes(64)).retval != _RESULTS[name]:
                wrong.append(name)
        finally:
            linux_sys.close(fd)
    assert wrong == []


@pytest.fixture
def linux_sys_ready() -> None:
    linux_sys.close(linux_sys.prog_load(ProgType.SOCKET_FILTER, encode((Insn(0xB7), Insn(0x95)))))


def test_all_64_bits_of_r0_come_back() -> None:
    assert _run([*wide(0, 0xFEDCBA9876543210), Insn(0x95)]) == 0xFEDCBA9876543210


@pytest.mark.parametrize("old", [5, 6])
def test_a_narrow_exchange_clears_r0s_upper_half(old: int) -> None:
    """Whether it succeeds or not (RFC 9669, section 5.3); 6.18 forgets it in some programs."""
    insns = [*wide(0, 1 << 32 | 5), Insn(0x62, 10, 0, -4, old), Insn(0xB7, 1, 0, 0, 9),
             Insn(0xC3, 10, 1, -4, 0xF1), Insn(0x95)]
    assert _run(insns) == old


def test_the_context_is_native_memory() -> None:
    ctx = ctypes.create_string_buffer(bytes(range(16)))
    assert _run([Insn(0x79, 0, 1, 8), Insn(0x95)], ctypes.addressof(ctx)) == int.from_bytes(range(8, 16), "little")


def test_unwritten_stack_reads_as_zeros() -> None:
    insns = [Insn(0x79, 0, 10, -512), Insn(0x79, 1, 10, -8), Insn(0x4F, 0, 1), Insn(0x95)]
    assert _run(insns) == 0


def test_an_array_lookup_is_inlined_and_bounded() -> None:
    values = (ctypes.c_uint64 * 4)(10, 11, 12, 13)
    array = NativeMap(0, True, ctypes.addressof(values), 4, 8)
    target = _target(maps={7: array})

    def lookup(index: int) -> list[Insn]:
        return [Insn(0x62, 10, 0, -4, index), Insn(0x18, 1, 1, 0, 7), Insn(0), Insn(0xBF, 2, 10), Insn(0x07, 2, 0, 0, -4),
                Insn(0x85, 0, 0, 0, 1), Insn(0x15, 0, 0, 1, 0), Insn(0x79, 0, 0), Insn(0x95)]

    assert [_run(lookup(index), target=target) for index in (0, 3, 4, -1)] == [10, 13, 0, 0]


def test_a_per_cpu_array_gives_this_cpus_value() -> None:
    values = (ctypes.c_uint64 * 4)(10, 11, 12, 13)
    target = _target(maps={7: NativeMap(0, True, ctypes.addressof(values), 2, 16, 8)})
    insns = [Insn(0x62, 10, 0, -4, 1), Insn(0x18, 1, 1, 0, 7), Insn(0), Insn(0xBF, 2, 10), Insn(0x07, 2, 0, 0, -4),
             Insn(0x85, 0, 0, 0, 1), Insn(0x79, 0, 0), Insn(0x95)]
    ctypes.c_uint32.from_address(_ADDRESS + 8).value = 1
    assert _run(insns, target=target) == 13
    ctypes.c_uint32.from_address(_ADDRESS + 8).value = 0
    assert _run(insns, target=target) == 12


def test_a_map_value_address_is_a_constant() -> None:
    values = (ctypes.c_uint64 * 4)(10, 11, 12, 13)
    target = _target(maps={7: NativeMap(0, True, ctypes.addressof(values), 1, 32)})
    assert _run([Insn(0x18, 1, 2, 0, 7), Insn(0, 0, 0, 0, 16), Insn(0x79, 0, 1), Insn(0x95)], target=target) == 12


def test_slots_that_no_path_reaches_are_left_out() -> None:
    class Partly(_Accepted):
        @property
        def reached(self) -> frozenset[int]:
            return frozenset({0, 1, 3})

    made = compile_program(Partly((Insn(0xB7, 0, 0, 0, 4), Insn(0x15, 0, 0, 1, 4), Insn(0x85, 0, 0, 0, 9999), Insn(0x95))), _target())
    assert made.run(_ADDRESS, 0) == 4


@pytest.mark.parametrize(("insns", "words"), [
    ([Insn(0x85, 0, 0, 0, 180), Insn(0x95)], "insn 0: helper bpf_find_vma#180 does not exist there yet"),
    ([Insn(0x85, 0, 0, 0, 9999), Insn(0x95)], "insn 0: helper bpf_unknown#9999"),
    ([Insn(0x85, 0, 2, 0, 5), Insn(0x95)], "the kernel has no function of that BTF id for programs"),
    ([Insn(0x18, 1, 3, 0, 5), Insn(0), Insn(0x95)], "a 64-bit load of kind 3"),
    ([Insn(0x18, 1, 1, 0, 5), Insn(0), Insn(0x95)], "fd 5 is not a map"),
    ([Insn(0x20, 0, 0, 0, 5), Insn(0x95)], "the kernel has no packet_load"),
    ([Insn(0x38, 0, 0, 0, 5), Insn(0x95)], "unknown opcode 0x38"),
    ([Insn(0xDB, 10, 1, -8, 0x33), Insn(0x95)], "unknown atomic operation 0x33"),
])
def test_what_has_no_native_form_is_refused_in_words(insns: list[Insn], words: str) -> None:
    with pytest.raises(NotSupportedError, match="compiling case for the simulated kernel") as caught:
        llvm_ir(_Accepted(tuple(insns)), _target())
    assert words in str(caught.value)


def test_code_pages_are_not_writable() -> None:
    made = compile_program(_Accepted((Insn(0xB7), Insn(0x95))), _target())
    address = int(made._engine.get_function_address("enter"))
    rows = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    here = [row[1] for row in rows if int(row[0].split("-")[0], 16) <= address < int(row[0].split("-")[1], 16)]
    assert here == ["r-xp"]


def test_a_closed_program_can_be_closed_again() -> None:
    made = compile_program(_Accepted((Insn(0xB7), Insn(0x95))), _target())
    made.close()
    made.close()


def test_bytes_that_are_no_object_are_refused() -> None:
    with pytest.raises(LoadError, match="linking a native object"):
        NativeLibrary(b"no ELF at all")


# ---- what a loader without privileges gets

_SECRET = 0x12345678


def _hardened(insns: Sequence[Insn], **more: Any) -> Any:
    return compile_program(replace(_Accepted(tuple(insns)), **more), replace(_target(), is_hardened=True))


@pytest.mark.parametrize("insns", [
    [Insn(0xB7, 0, 0, 0, _SECRET), Insn(0x95)],
    [Insn(0xB4, 0, 0, 0, _SECRET), Insn(0x95)],
    [Insn(0x18, 0, 0, 0, _SECRET), Insn(0, 0, 0, 0, _SECRET), Insn(0x95)],
    [Insn(0x62, 10, 0, -4, _SECRET), Insn(0x61, 0, 10, -4), Insn(0x95)],
    [Insn(0xBF, 0, 1), Insn(0x07, 0, 0, 0, _SECRET), Insn(0x95)],
    [Insn(0xBF, 0, 1), Insn(0x15, 0, 0, 1, _SECRET), Insn(0xB7), Insn(0x95)],
])
def test_a_hardened_programs_constants_are_not_in_its_code(insns: list[Insn]) -> None:
    plain, hidden = _code_of(insns, False), _code_of(insns, True)
    assert _SECRET.to_bytes(4, "little") in plain
    assert _SECRET.to_bytes(4, "little") not in hidden
    assert _hardened(insns).run(_ADDRESS, _SECRET) == _run(insns, _SECRET)


def _code_of(insns: Sequence[Insn], is_hardened: bool) -> bytes:
    return make_object(llvm_ir(_Accepted(tuple(insns)), replace(_target(), is_hardened=is_hardened))).content


def test_a_hardened_machine_computes_what_linux_computed() -> None:
    group = _with_own_callees(cases())[::7]
    wrong = []
    for first in range(0, len(group), 64):
        part = group[first : first + 64]
        made = _hardened(_joined(part))
        wrong += [name for at, (name, _) in enumerate(part) if made.run(_ADDRESS, at) & 0xFFFFFFFF != _RESULTS[name]]
    assert wrong == []


@pytest.mark.parametrize(("op", "is_negative", "limit", "number", "moved"), [
    (0x0F, False, 16, 0, 0), (0x0F, False, 16, 16, 16), (0x0F, False, 16, 17, 0), (0x0F, False, 16, -1, 0),
    (0x0F, True, 16, -16, -16), (0x0F, True, 16, -17, 0), (0x0F, True, 16, 1, 0), (0x0F, False, 0, 1, 0),
    (0x1F, False, 16, 8, -8), (0x1F, False, 16, 17, 0), (0x1F, True, 16, -8, 8), (0x1F, True, 16, -17, 0),
])
def test_a_masked_sum_stays_within_its_limit(op: int, is_negative: bool, limit: int, number: int, moved: int) -> None:
    insns = (Insn(0xB7, 0, 0, 0, 1000), Insn(op, 0, 1), Insn(0x95))
    made = _hardened(insns, masks={1: (is_negative, False, True, limit)})
    assert made.run(_ADDRESS, number & (1 << 64) - 1) == 1000 + moved


def test_a_masked_sum_whose_pointer_is_the_source() -> None:
    insns = (Insn(0xB7, 2, 0, 0, 1000), Insn(0xBF, 0, 1), Insn(0x0F, 0, 2), Insn(0x95))
    made = _hardened(insns, masks={2: (False, False, False, 8)})
    assert [made.run(_ADDRESS, number) for number in (3, 8, 9)] == [1003, 1008, 1000]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the barrier's name is this machine's")
def test_barriers_stand_where_the_verifier_wants_them() -> None:
    insns = (Insn(0x7B, 10, 1, -8), Insn(0x79, 0, 10, -8), Insn(0x95))
    assert "lfence" not in native_assembly(_Accepted(insns), _target())
    for where in ({"nospec": frozenset({1})}, {"nospec_after": frozenset({0})}):
        assert native_assembly(replace(_Accepted(insns), **where), _target()).count("lfence") >= 1


def test_may_goto_ends_a_loop() -> None:
    insns = (Insn(0xB7), Insn(0x07, 0, 0, 0, 1), Insn(0xE5, 0, 0, 1), Insn(0x05, 0, 0, -3), Insn(0x95))
    assert _run(insns) == (1 << 23) + 1


def test_a_loop_helper_calls_back() -> None:
    """r0 = bpf_loop(5, function, &sum, 0), plus what the function summed up."""
    main = [Insn(0x7A, 10, 0, -8, 100), Insn(0xB7, 1, 0, 0, 5), Insn(0x18, 2, 4, 0, 8), Insn(0), Insn(0xBF, 3, 10),
            Insn(0x07, 3, 0, 0, -8), Insn(0xB7, 4), Insn(0x85, 0, 0, 0, 181), Insn(0x79, 1, 10, -8), Insn(0x0F, 0, 1), Insn(0x95)]
    called = [Insn(0x79, 3, 2), Insn(0x0F, 3, 1), Insn(0x7B, 2, 3), Insn(0xB7, 0), Insn(0x55, 1, 0, 1, 3), Insn(0xB7, 0, 0, 0, 1),
              Insn(0x95)]
    program = _Accepted((*main, *called), extra=(11,))
    made = compile_program(program, _target())
    assert made.run(_ADDRESS, 0) == 4 + 100 + 0 + 1 + 2 + 3


def test_the_same_object_serves_other_maps() -> None:
    """Objects hold no addresses: what was made for one map's memory runs on another's."""
    kept: dict[tuple[str, ...], bytes] = {}

    def keep(kind: str, parts: tuple[str, ...], build: Callable[[], bytes]) -> bytes:
        return kept.setdefault((kind, *parts), build()) if (kind, *parts) not in kept else kept[(kind, *parts)]

    insns = (Insn(0x18, 1, 2, 0, 7), Insn(0), Insn(0x79, 0, 1), Insn(0x95))
    results = []
    for number in (11, 12):
        values = (ctypes.c_uint64 * 1)(number)
        made = compile_program(_Accepted(insns), _target(maps={7: NativeMap(0, True, ctypes.addressof(values), 1, 8)}), keep)
        results.append(made.run(_ADDRESS, 0))
    assert results == [11, 12] and len(kept) == 1
