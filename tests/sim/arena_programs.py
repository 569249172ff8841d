"""One program that does to an arena what its context says, for Linux and for the simulated kernel; and Linux's page
allocator as a plain model.

The context: which operation, three numbers for it, and two numbers that it gives back."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from bcc_py.isa import Insn
from bcc_py.kernel import Program
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import MapType, ProgType

__all__ = ["ATOMICS", "MMAPABLE", "NO_USER_CONV", "OPERATIONS", "PAGE", "SEGV_ON_FAULT", "ArenaModel", "arena_program", "arena_spec", "ask"]

PAGE, MMAPABLE, SEGV_ON_FAULT, NO_USER_CONV = 4096, 1 << 10, 1 << 17, 1 << 18
_SLEEPABLE = 1 << 4
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_CALLS = {"alloc": ("bpf_arena_alloc_pages", 5), "free": ("bpf_arena_free_pages", 3), "reserve": ("bpf_arena_reserve_pages", 3)}
# name -> the operation's number; those that fetch give what was there
ATOMICS = {"add": 0x00, "or": 0x40, "and": 0x50, "xor": 0xA0, "fetch_add": 0x01, "xchg": 0xE1, "cmpxchg": 0xF1}
_CONTEXT = struct.Struct("<IIQQQQQ")
_M64 = (1 << 64) - 1


def _to_kernel(off: int = 0) -> list[Insn]:
    """r2: the address that the context names, as the arena's; r3, r0: the two other numbers."""
    return [Insn(0x79, 2, 6, 8, 0), Insn(0xBF, 2, 2, 1, 1), Insn(0x79, 3, 6, 16, 0), Insn(0x79, 0, 6, 24, 0)]


def _accesses() -> dict[str, list[Insn]]:
    made: dict[str, list[Insn]] = {}
    for size, bits in _SIZES.items():
        made[f"load{size}"] = [Insn(0x61 | bits, 0, 2, 0, 0)]
        made[f"store{size}"] = [Insn(0x63 | bits, 2, 3, 0, 0)]
        made[f"constant{size}"] = [Insn(0x62 | bits, 2, 0, 0, -2)]
        made[f"acquire{size}"] = [Insn(0xC3 | bits, 0, 2, 0, 0x100)]
        made[f"release{size}"] = [Insn(0xC3 | bits, 2, 3, 0, 0x110)]
        if size < 8:
            made[f"signed{size}"] = [Insn(0x81 | bits, 0, 2, 0, 0)]
        if size > 2:
            made |= {f"{name}{size}": [Insn(0xC3 | bits, 2, 3, 0, number)] for name, number in ATOMICS.items()}
    for off in (-32768, -8, 8, 32767):
        made[f"load8{off:+}"] = [Insn(0x79, 0, 2, off, 0)]
        made[f"store8{off:+}"] = [Insn(0x7B, 2, 3, off, 0)]
    made["to_user"] = [Insn(0xBF, 0, 2, 1, 1 << 16)]
    return made


_ACCESSES = _accesses()
OPERATIONS = (*_CALLS, "value", *_ACCESSES)
_END = [Insn(0x7B, 6, 0, 32, 0), Insn(0x7B, 6, 3, 40, 0), Insn(0xB7), Insn(0x95)]


def _call(name: str, fd: int, arity: int) -> list[Insn | str]:
    loads = [Insn(0x79, 2, 6, 8, 0), Insn(0x61, 3, 6, 16, 0), Insn(0xB7, 4, 0, 0, -1), Insn(0x79, 5, 6, 24, 0)]
    has_result = name != "bpf_arena_free_pages"
    return [Insn(0x18, 1, 1, 0, fd), Insn(0), *loads[: arity - 1], name, *([] if has_result else [Insn(0xB7)]), Insn(0xB7, 3), *_END]


def _block(operation: str, fd: int) -> list[Insn | str]:
    if operation in _CALLS:
        return _call(_CALLS[operation][0], fd, _CALLS[operation][1])
    if operation == "value":
        return [Insn(0x18, 0, 2, 0, fd), Insn(0, imm=40), Insn(0xB7, 3), *_END]
    return [*_to_kernel(), *_ACCESSES[operation], *_END]


def arena_program(fd: int) -> ProgramSpec:
    """What ask runs. fd: the arena's."""
    blocks = [_block(operation, fd) for operation in OPERATIONS]
    insns: list[Insn] = [Insn(0xBF, 6, 1), Insn(0x61, 7, 6, 0, 0)]
    at = len(insns) + len(blocks) + 2
    for number, block in enumerate(blocks):
        insns.append(Insn(0x15, 7, 0, at - len(insns) - 1, number))
        at += len(block)
    insns += [Insn(0xB7), Insn(0x95)]
    functions = {}
    for block in blocks:
        for one in block:
            if isinstance(one, str):
                functions[len(insns)] = one
            insns.append(Insn(0x85, 0, 2) if isinstance(one, str) else one)
    return ProgramSpec("arena", "GPL", ProgType.SYSCALL, tuple(insns), flags=_SLEEPABLE, kernel_functions=functions)


def ask(program: Program, operation: str, *numbers: int) -> tuple[int, int]:
    """What the operation gives back."""
    wanted = [one & _M64 for one in (*numbers, 0, 0, 0)[:3]]
    given = program.test_run(ctx=_CONTEXT.pack(OPERATIONS.index(operation), 0, *wanted, 0, 0)).ctx
    first, second = _CONTEXT.unpack(given)[5:]
    return first, second


def arena_spec(pages: int, user: int = 0, flags: int = 0) -> MapSpec:
    """user: where its first page is to be; 0: wherever."""
    return MapSpec("arena", MapType.ARENA, 0, 0, pages, MMAPABLE | flags, extra=user)


@dataclass
class ArenaModel:
    """An arena of so many pages. free: ranges (first page, how many), the one that changed last behind the others; a
    request is taken from the smallest that is large enough, of equal ones from the last. content: of the pages there are."""

    pages: int
    user: int
    free: list[tuple[int, int]] = field(default_factory=list)
    content: dict[int, bytearray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = [(0, self.pages)]

    def _has_free(self, first: int, count: int) -> bool:
        return any(at <= first and first + count <= at + size for at, size in self.free)

    def _remove(self, first: int, count: int) -> None:
        for at, size in sorted(self.free):
            if at < first + count and first < at + size:
                self.free.remove((at, size))
                self.free += [(at, first - at)] if at < first else []
                self.free += [(first + count, at + size - first - count)] if at + size > first + count else []

    def _add(self, first: int, count: int) -> None:
        if self._has_free(first, count):
            return
        self._remove(first, count)
        left = next(((at, size) for at, size in self.free if at + size == first), (first, 0))
        right = next(((at, size) for at, size in self.free if at == first + count), (first + count, 0))
        self.free = [one for one in self.free if one not in (left, right)]
        self.free.append((left[0], left[1] + count + right[1]))

    def alloc(self, page: int | None, count: int) -> int | None:
        """The first of them, None if there are none. page: the wanted one."""
        if not 0 < count <= self.pages or (page is not None and not 0 <= page <= self.pages - count):
            return None
        if page is None:
            fitting = sorted((size, -number, at) for number, (at, size) in enumerate(self.free) if size >= count)
            if not fitting:
                return None
            page = fitting[0][2]
        elif not self._has_free(page, count):
            return None
        self._remove(page, count)
        self.content |= {page + n: bytearray(PAGE) for n in range(count)}
        return page

    def release(self, page: int, count: int) -> None:
        count = min(count, self.pages - page)
        if count > 0:
            self._add(page, count)
            for n in range(page, page + count):
                self.content.pop(n, None)

    def reserve(self, page: int, count: int) -> int:
        """0 or an errno."""
        if not count:
            return 0
        if page + count > self.pages or page < 0:
            return 22
        if not self._has_free(page, count):
            return 16
        self._remove(page, count)
        return 0

    def touch(self, page: int) -> None:
        """A process touches it."""
        if page not in self.content:
            self._remove(page, 1)
            self.content[page] = bytearray(PAGE)

    def read(self, at: int, size: int) -> int | None:
        """at: bytes behind the first page; None where a page of it is not there."""
        if not self._has(at, size):
            return None
        return int.from_bytes(bytes(self.content[n // PAGE][n % PAGE] for n in range(at, at + size)), "little")

    def write(self, at: int, size: int, value: int) -> None:
        if self._has(at, size):
            for n, byte in zip(range(at, at + size), (value & _M64).to_bytes(8, "little"), strict=False):
                self.content[n // PAGE][n % PAGE] = byte

    def _has(self, at: int, size: int) -> bool:
        return at // PAGE in self.content and (at + size - 1) // PAGE in self.content

    def access(self, operation: str, at: int, value: int, expected: int) -> tuple[int, int]:
        """What ask gives for an access that is none of the calls."""
        off = int(operation[5:] or 0) if operation.startswith("load8") else int(operation[6:] or 0) if operation.startswith("store8") else 0
        name, size = (operation[:4] if operation.startswith("load8") else "store", 8) if off else (operation[:-1], int(operation[-1]))
        here = self.read(at + off, size)
        low = (1 << 8 * size) - 1
        if name == "acquire":  # an atomic operation that faults leaves all registers as they are
            return expected if here is None else here, value
        if name == "load":
            return here or 0, value
        if name == "signed":
            return ((here or 0) + (low + 1) // 2) % (low + 1) - (low + 1) // 2 & _M64, value
        if name in ("store", "release", "constant"):
            self.write(at + off, size, -2 if name == "constant" else value)
            return expected, value
        return self._atomic(name, at, size, here, value, expected)

    def _atomic(self, name: str, at: int, size: int, here: int | None, value: int, expected: int) -> tuple[int, int]:
        low = (1 << 8 * size) - 1
        if here is None:
            return expected, value
        if name == "cmpxchg":
            self.write(at, size, value if here == expected & low else here)
            return here, value
        new = {"add": here + value, "fetch_add": here + value, "xchg": value, "or": here | value, "and": here & value, "xor": here ^ value}
        self.write(at, size, new[name])
        return expected, here if name in ("fetch_add", "xchg") else value
