"""python -m tests.bench.arenas: ns of one access to an arena, and of taking pages and giving them back, beside Linux.

load, store, count  one access (count: a load and a store) of 8 bytes, eight to a turn of a loop whose own cost is in it
chain               a load from where the last one led
pages               taking so many pages and giving them back

Each figure is the best of ROUNDS runs on each kernel, in CPU time, on the same bytecode."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from bcc_py.bpf import kernel_from_spec
from bcc_py.errors import BpfError
from bcc_py.isa import Insn
from bcc_py.kernel import Kernel
from bcc_py.spec import ProgramSpec
from cfront.uapi import ProgType
from tests.sim.arena_programs import arena_spec

ROUNDS = 5
_PAGES, _USER, _EACH, _TAKEN = 64, 0x7E0010000000, 8, 4000
_SLEEPABLE = 1 << 4
# r8: where the pages are; r6: how many accesses there were; r1: the next address, in the first 64 KiB
_NEXT = [Insn(0xBF, 1, 6), Insn(0x67, 1, 0, 0, 3), Insn(0x57, 1, 0, 0, 0xFFF8), Insn(0x0F, 1, 8), Insn(0xBF, 1, 1, 1, 1), Insn(0x07, 6, 0, 0, 1)]
_LOAD, _SUM, _STORE = Insn(0x79, 2, 1), Insn(0x0F, 7, 2), Insn(0x7B, 1, 6)
_BODIES: dict[str, list[Insn]] = {
    "load": [*_NEXT, _LOAD, _SUM], "store": [*_NEXT, _STORE], "count": [*_NEXT, _LOAD, Insn(0x07, 2, 0, 0, 1), Insn(0x7B, 1, 2)],
    "chain": [Insn(0x0F, 9, 8), Insn(0xBF, 9, 9, 1, 1), Insn(0x79, 9, 9), Insn(0x07, 6, 0, 0, 1)],
}


def _call(fd: int, pages: int, *, is_free: bool = False) -> list[Insn]:
    """Its last instruction is the call."""
    where = Insn(0xBF, 2, 8) if is_free else Insn(0xB7, 2)
    return [where, Insn(0x18, 1, 1, 0, fd), Insn(0), Insn(0xB7, 3, 0, 0, pages), Insn(0xB7, 4, 0, 0, -1), Insn(0xB7, 5), Insn(0x85, 0, 2)]


def _program(insns: Sequence[Insn], functions: dict[int, str]) -> ProgramSpec:
    return ProgramSpec("arenas", "GPL", ProgType.SYSCALL, tuple(insns), flags=_SLEEPABLE, kernel_functions=functions)


def _accesses(fd: int, body: list[Insn]) -> ProgramSpec:
    insns = [*_call(fd, 16), Insn(0xBF, 8), Insn(0xB7, 6), Insn(0xB7, 7), Insn(0xB7, 9)]
    begin = len(insns)
    insns += body * _EACH
    insns += [Insn(0xE5, 0, 0, 1), Insn(0x05, 0, 0, begin - len(insns) - 2), Insn(0xBF, 0, 6), Insn(0x0F, 0, 7), Insn(0x0F, 0, 9), Insn(0x95)]
    return _program(insns, {6: "bpf_arena_alloc_pages"})


def _taking(fd: int, pages: int) -> ProgramSpec:
    insns = [Insn(0xB7, 6), *_call(fd, pages), Insn(0xBF, 8), *_call(fd, pages, is_free=True), Insn(0x07, 6, 0, 0, 1)]
    insns += [Insn(0x25, 6, 0, 1, _TAKEN - 1), Insn(0x05, 0, 0, 1 - len(insns) - 2), Insn(0xB7), Insn(0x95)]
    return _program(insns, {7: "bpf_arena_alloc_pages", 15: "bpf_arena_free_pages"})


def _ns(kernel: Kernel, row: str) -> float:
    with contextlib.closing(kernel.create_map(arena_spec(_PAGES, _USER))) as map:
        body = _BODIES.get(row)
        spec = _taking(map.fd, int(row.split()[0])) if body is None else _accesses(map.fd, body)
        with contextlib.closing(kernel.load_program(spec)) as program:
            began = time.thread_time_ns()
            made = program.test_run().retval  # all words are 0: how many accesses there were, for Linux ends a loop after 250 ms
            return (time.thread_time_ns() - began) / (_TAKEN if body is None else made)


def main() -> None:
    kernels = {"simulated": kernel_from_spec("sim:shell")}
    try:
        kernels["Linux"] = kernel_from_spec("linux")
    except BpfError as error:
        print(f"no Linux to compare with: {error}")
    for row in (*_BODIES, "1 page", "16 pages"):
        best = {name: min(_ns(kernel, row) for _ in range(ROUNDS)) for name, kernel in kernels.items()}
        print(f"{row:10}", "  ".join(f"{name} {one:10.2f} ns" for name, one in best.items()))
    for kernel in kernels.values():
        kernel.close()


if __name__ == "__main__":
    main()
