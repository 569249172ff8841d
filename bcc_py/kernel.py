"""The seam: what bcc_py asks of a kernel, simulated or real.

sim.SimKernel (and sim.replay) and linux.LinuxKernel implement Kernel; nothing above this file knows
which one it has. Handles own what they name: close() is idempotent and detaches, unmaps or closes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from bcc_py.errors import MapError, NotSupportedError
from bcc_py.isa import PSEUDO_BTF_ID, PSEUDO_KFUNC_CALL
from bcc_py.rings import Records
from bcc_py.spec import Hook, HookKind, MapSpec, ProgramSpec
from cfront.btf import Btf, TypeSource

__all__ = ["Counters", "Kernel", "KernelSymbol", "Link", "Map", "MapBatch", "Program", "Ring", "RunStats", "TestRun", "TraceLine", "UserRing", "check_pinned", "shared_spec",
           "undefined_table", "with_kernel_ids"]


class Map(Protocol):
    """A live map. Keys and values are exactly spec.key_size and spec.value_size bytes, native endian;
    the value of a per-CPU map is round_up(value_size, 8) * cpus bytes, CPU 0 first.
    Every call raises MapError on a wrong length, a closed map, or the kernel's errno."""

    spec: MapSpec
    fd: int  # what a program's 64-bit load names; a real descriptor on Linux

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None: ...  # flags: BPF_F_LOCK
    def update(self, key: bytes, value: bytes, flags: int = 0) -> None: ...
    def delete(self, key: bytes) -> None: ...  # KeyNotFound
    def next_key(self, key: bytes | None) -> bytes | None: ...  # None -> the first; None when at the end
    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes | None: ...
    def contains(self, value: bytes) -> bool: ...  # bloom filter
    def freeze(self) -> None: ...  # from now on only programs write to it
    def lookup_batch(self, cursor: bytes | None, count: int) -> MapBatch: ...  # at most count rows; None -> from the first
    def lookup_and_delete_batch(self, cursor: bytes | None, count: int) -> MapBatch: ...
    def update_batch(self, rows: Sequence[tuple[bytes, bytes]], flags: int = 0) -> None: ...
    def delete_batch(self, keys: Sequence[bytes]) -> None: ...  # KeyNotFound
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class MapBatch:
    """Rows of a map, (key, value). cursor: where the next batch goes on; None: this was the last."""

    rows: list[tuple[bytes, bytes]]
    cursor: bytes | None


@dataclass(frozen=True, slots=True)
class TestRun:
    """What a test run gave: the program's 32-bit return value, data and context afterwards, ns per run."""

    retval: int
    data: bytes
    ctx: bytes
    duration_ns: int


@dataclass(frozen=True, slots=True)
class RunStats:
    """How often a program ran, and for how many ns in all; time is counted only while the kernel's has_stats is on, and on
    Linux runs too."""

    runs: int
    run_time_ns: int


class Program(Protocol):
    """A live program: verified and ready to attach."""

    spec: ProgramSpec
    fd: int

    @property
    def stats(self) -> RunStats: ...
    def test_run(self, data: bytes = b"", ctx: bytes = b"", repeat: int = 1) -> TestRun: ...
    def close(self) -> None: ...


class Link(Protocol):
    """One attachment of a program to a hook; close() detaches. fds: descriptors that it holds, () in a simulation; that of a
    packet socket is for reading what the program lets through."""

    hook: Hook

    @property
    def fds(self) -> tuple[int, ...]: ...

    def close(self) -> None: ...


class Ring(Protocol):
    """The reading side of one perf event array or ring buffer (rings.py). consume() hands all that is there to the
    callback given at opening and returns how many records it handed over. on_records: gets them many at a time, and
    stands for that callback; lost: how many the reader was told of that found no room; take_all(): all that is there,
    handed to nobody."""

    lost: int

    @property
    def fds(self) -> list[int]: ...  # readable when there is something; none where time is virtual
    @property
    def on_records(self) -> Callable[[Records], bool]: ...
    @on_records.setter
    def on_records(self, deliver: Callable[[Records], bool]) -> None: ...
    def consume(self) -> int: ...
    def take_all(self) -> list[Records]: ...
    def close(self) -> None: ...


class Counters(Protocol):
    """Counters of a perf event array, one for each online CPU. Closing one empties its place in the map."""

    def close_cpu(self, cpu: int) -> None: ...
    def close(self) -> None: ...


class UserRing(Protocol):
    """The writing side of a user ring buffer, which programs drain."""

    def write(self, content: bytes) -> bool: ...  # False: no room now; MapError (E2BIG): there never is for so much
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One line of trace_pipe (bpf_trace_printk). time_ns: the kernel's clock."""

    comm: str
    pid: int
    cpu: int
    flags: str
    time_ns: int
    message: str


class KernelSymbol(NamedTuple):
    """Where a kernel address is: offset bytes into the function name. module: "kernel", or what was loaded later."""

    name: str
    offset: int
    module: str = "kernel"


class Kernel(Protocol):
    """A kernel that programs are loaded into.

    spec: the words that name it ("sim:shell", "replay:build.perf.data", "linux").
    cpus: how many possible CPUs; per-CPU values have this many slots."""

    spec: str
    cpus: int
    release: str  # as uname -r gives it
    is_simulated: bool  # its rows are not this machine's; tools say so
    has_stats: bool  # whether the time that programs take is counted (Program.stats); may be set

    @property
    def types(self) -> TypeSource:
        """The kernel's types for the compiler: its BTF, and struct tracepoint__CAT__EVENT by format."""

    @property
    def types_key(self) -> str:
        """Words that differ whenever types may answer differently: a key for what was compiled against it. Cheap:
        reads no BTF."""

    def create_map(self, spec: MapSpec) -> Map:
        """A live map. One that exists already where spec.sharing is EXTERN (its public namesake) or where something is
        at spec.pin, which must agree with spec. Raises MapError, NotSupportedError."""

    def config(self, names: Iterable[str]) -> dict[str, str]:
        """Of these options of the kernel's configuration (CONFIG_NAME, CONFIG_NAME_MODULE) those that are set, with
        what the kernel's own C sees them as: "1", a number, a string in quotes."""

    def load_program(self, spec: ProgramSpec) -> Program:
        """Verifies and loads; map loads already name fds of this kernel's maps (src=PSEUDO_MAP_FD or
        PSEUDO_MAP_VALUE). Raises VerifierError, LoadError, NotSupportedError."""

    def attach(self, program: Program, hook: Hook) -> Link: ...  # AttachError, NotSupportedError

    def open_perf_buffer(
        self, map: Map, callback: Callable[[int, memoryview], None], lost: Callable[[int, int], None], pages: int = 8
    ) -> Ring:
        """callback(cpu, record), lost(cpu, count). The record is only valid during the callback. pages: per CPU,
        a power of two, of 4096 bytes."""

    def open_ring_buffer(self, map: Map, callback: Callable[[memoryview], object]) -> Ring: ...

    def open_user_ring_buffer(self, map: Map) -> UserRing: ...
    def open_perf_event(self, map: Map, type: int, config: int, pid: int = -1) -> Counters:
        """Counters in a perf event array for programs to read; type and config as in perf_event_attr; pid: of the process to
        count, -1 for all. Raises AttachError, NotSupportedError."""

    def poll(self, rings: Sequence[Ring], timeout_ms: int) -> int:
        """Waits until one of rings has records or the time is over (-1: no limit), then consumes all of them;
        the number of records. A simulated kernel advances its virtual time instead of waiting, and returns 0
        at once when is_finished."""

    def sleep(self, seconds: float) -> None:
        """Lets this much of the kernel's time go by (virtual on a simulated kernel)."""

    @property
    def is_finished(self) -> bool:
        """True when nothing will ever happen again: a recording at its end, a workload that is over."""

    def now_ns(self) -> int: ...  # what bpf_ktime_get_ns would give
    def read_trace_pipe(self, timeout_ms: int) -> TraceLine | None: ...
    def syscall_prefix(self) -> str: ...  # "__x64_sys_"
    def has_function(self, name: str) -> bool: ...  # a kprobe could be asked for there
    def functions(self) -> Iterable[str]: ...
    def probe_functions(self) -> Iterable[str]: ...  # without those that the kernel says it cannot probe
    def file(self, path: str) -> bytes | None: ...  # what a file of /proc or tracefs holds there; None: as on this machine
    def directory(self, path: str) -> list[str] | None: ...  # the names in such a directory
    def supports(self, kind: HookKind) -> bool: ...  # whether programs can be attached to hooks of this kind
    def has_tracepoint(self, category: str, event: str) -> bool: ...
    def tracepoints(self) -> Iterable[str]: ...  # "category:event"
    def ksym(self, address: int) -> KernelSymbol | None: ...
    def function_address(self, name: str) -> int: ...  # what ksym knows it by; 0 if there is none of that name
    def close(self) -> None: ...


def undefined_table(name: str, public: Iterable[str]) -> str:
    """The sentence about an extern table that no object has made public."""
    return f"reference to undefined table {name} (public tables: {', '.join(sorted(public)) or 'none'})"


def shared_spec(wanted: MapSpec, found: MapSpec) -> MapSpec:
    """wanted, an extern table, with what the public map that was found is. Raises MapError where they disagree."""
    for what, here, there in (("key", wanted.key_size, found.key_size), ("leaf", wanted.value_size, found.value_size)):
        if here != there:
            raise MapError(f"opening public table {wanted.name}: its {what} is of {there} bytes, the text says {here}", wanted.name)
    return replace(wanted, type=found.type, max_entries=found.max_entries, flags=found.flags)


def check_pinned(wanted: MapSpec, found: MapSpec, type: int | None = None) -> None:
    """Raises MapError unless the map at wanted.pin is as wanted says. type: the map's, where found has the wanted one's."""
    rows = (("type", int(wanted.type), int(found.type) if type is None else type),
            ("key bytes", wanted.key_size, found.key_size), ("leaf bytes", wanted.value_size, found.value_size),
            ("entries", wanted.max_entries, found.max_entries))
    wrong = [f"{what} {there}, the text says {here}" for what, here, there in rows if here != there]
    if wrong:
        raise MapError(f"opening map {wanted.name} pinned at {wanted.pin}: {'; '.join(wrong)} (unpin it or change the table)", wanted.name)


def with_kernel_ids(spec: ProgramSpec, types: Btf) -> ProgramSpec:
    """spec with the kernel's functions and variables that it names replaced by their ids in the kernel's types; the address
    of what is weak and not there is 0, and a call of it names nothing. Raises NotSupportedError."""
    if not spec.kernel_functions and not spec.kernel_variables:
        return spec
    insns, functions, variables = list(spec.insns), {}, {}
    for slot, name in spec.kernel_functions.items():
        id = _kernel_id(spec, name, types.function_id(name))
        insns[slot] = insns[slot]._replace(src=PSEUDO_KFUNC_CALL, off=0, imm=id)
        if id:
            functions[slot] = name
    for slot, name in spec.kernel_variables.items():
        id = _kernel_id(spec, name, types.function_id(name) or types.variable_id(name))
        insns[slot] = insns[slot]._replace(src=PSEUDO_BTF_ID if id else 0, off=0, imm=id)
        insns[slot + 1] = insns[slot + 1]._replace(imm=0)
        if id:
            variables[slot] = name
    return replace(spec, insns=tuple(insns), kernel_functions=functions, kernel_variables=variables)


def _kernel_id(spec: ProgramSpec, name: str, id: int | None) -> int:
    if id is None and name not in spec.weak:
        raise NotSupportedError(
            f"loading program {spec.name}: this kernel has no {name} (declare it __weak and ask whether its address is 0)", name)
    return id or 0
