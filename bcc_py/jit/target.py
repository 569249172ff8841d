"""What code is made for: the kernel's helpers, maps and state as machine code reaches them; and what the code
generator asks of a verified program.

Everything is inert. Addresses are of this process; they reach the code as symbols when it is linked, so that what is
kept on disk holds none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bcc_py.isa import Insn
from bcc_py.spec import ProgramSpec

__all__ = ["Extent", "Inline", "NativeHelper", "NativeMap", "NativeTarget", "Verified"]


class Extent(Protocol):
    """A function: slots start to end (exclusive) and the bytes of stack it uses."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def stack_bytes(self) -> int: ...


class Verified(Protocol):
    """What code is made from. functions: ascending, the main one first. reached: the slots that some path executes; no
    code is made for others. memory_kinds: slot of a load or store -> kind of memory. call_maps: slot of a helper's call ->
    fd of the map it is about. nospec, nospec_after, masks: the defences that code for a loader without CAP_PERFMON needs
    (bcc_py.verifier.VerifiedProgram)."""

    @property
    def spec(self) -> ProgramSpec: ...
    @property
    def insns(self) -> Sequence[Insn]: ...
    @property
    def functions(self) -> Sequence[Extent]: ...
    @property
    def reached(self) -> frozenset[int]: ...
    @property
    def memory_kinds(self) -> Mapping[int, str]: ...
    @property
    def call_maps(self) -> Mapping[int, int]: ...
    @property
    def nospec(self) -> frozenset[int]: ...
    @property
    def nospec_after(self) -> frozenset[int]: ...
    @property
    def masks(self) -> Mapping[int, tuple[bool, bool, bool, int]]: ...


@dataclass(frozen=True, slots=True)
class NativeHelper:
    """Machine code that programs call. It takes the CPU and then arity numbers, and gives one."""

    address: int
    arity: int


@dataclass(frozen=True, slots=True)
class Inline:
    """A function of NativeTarget.hot that does what a helper does, for one map: it takes the CPU (if takes_cpu), the
    helper's arguments, and then these numbers, which are constants for the map."""

    function: str
    constants: tuple[int, ...] = ()
    takes_cpu: bool = True


@dataclass(frozen=True, slots=True)
class NativeMap:
    """A map in this process. address: what helpers take. An array also says where its values are, how far
    apart its slots are and, if per CPU, how far apart a slot's values are, all in bytes; an arena where its window
    begins (values), how far in front of that a byte for each of its pages says that it is there (table_bytes), the address
    of its first page as processes have it (user), and whether a cast makes such addresses (is_converted). inline:
    helper's name -> what is put in the program instead of the call."""

    address: int
    is_array: bool = False
    values: int = 0
    max_entries: int = 0
    slot_size: int = 0
    cpu_stride: int = 0
    is_arena: bool = False
    table_bytes: int = 0
    user: int = 0
    is_converted: bool = False
    inline: Mapping[str, Inline] = field(default_factory=dict)


def _no_function(name: str) -> int:
    raise LookupError(f"the target has no function {name}")


@dataclass(frozen=True, slots=True)
class NativeTarget:
    """The kernel that code is compiled for. Code runs on a CPU of it, a struct that every helper gets first; cpu_fields:
    places in that struct, in bytes ("stack_top": u64, the address that the program's stack frames are below; "number":
    u32; "tail_calls": u32, how many were made; "fault": u32, set when a checked access failed).

    helpers: by number; kernel_functions: by name. function: address of a function of the runtime that code calls without
    the program's asking (kernel_load, kernel_store, packet_load, arena_has, arena_fault, check_access, check_enter, check_leave). hot: LLVM's
    text of functions that may be put in programs, by name. key: words that differ whenever the runtime does.

    wide_fields: (offset, bytes) of a context's field that stands for an address -> place in the context of its 64 bits.
    is_hardened: no constant of the program appears in the code, and what verification marks is defended. is_checked:
    every access to memory asks check_access, and loops are bounded. observe: called with (slot, the eleven registers)
    before every instruction, for tests; 0: nobody. fill: the byte that unwritten stack holds."""

    cpu_fields: Mapping[str, int] = field(default_factory=dict)
    helpers: Mapping[int, NativeHelper] = field(default_factory=dict)
    maps: Mapping[int, NativeMap] = field(default_factory=dict)
    kernel_functions: Mapping[str, NativeHelper] = field(default_factory=dict)
    function: Callable[[str], int] = _no_function
    hot: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    wide_fields: Mapping[tuple[int, int], int] = field(default_factory=dict)
    is_hardened: bool = False
    is_checked: bool = False
    observe: int = 0
    fill: int = 0
