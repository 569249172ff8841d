"""The simulated kernel: bcc_py.kernel.Kernel over a source of events, virtual time and native programs.

An EventSource (a workload, a recording) makes things happen, one step at a time; SimKernel keeps the
clock, the tasks, the memory and the hooks, runs the programs attached to what happens, and answers the
seam. Time moves only when somebody polls, sleeps or reads the trace pipe, and then from event to event.

Invariants: programs run verified and native, never in Python; between steps nothing is running, so a
callback may attach, detach, poll or raise; a handle in use keeps alive what it points at. The firing
methods are what a source's step calls: set_context first, then fire_* or syscall_*.

A system call fires what Linux fires, in its order: raw tracepoint sys_enter, raw_syscalls:sys_enter,
syscalls:sys_enter_NAME, the kprobe of __x64_sys_NAME; on return its kretprobe, then the exit tracepoints.
The kprobe's first argument (di) is the kernel address of the caller's registers, as with Linux's
CONFIG_ARCH_HAS_SYSCALL_WRAPPER."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import hashlib
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from bcc_py.cache import cached
from bcc_py.errors import AttachError, LoadError, MapError, NotSupportedError
from bcc_py.jit import NativeProgram, NativeTarget, compile_program
from bcc_py.kernel import (
    Counters,
    KernelSymbol,
    Link,
    Map,
    Program,
    Ring,
    TraceLine,
    check_pinned,
    shared_spec,
    undefined_table,
    with_kernel_ids,
)
from bcc_py.sim import native
from bcc_py.sim.calls import Calls
from bcc_py.sim.cgroups import Cgroup, CgroupTable
from bcc_py.sim.cpu import SimCpu, describe
from bcc_py.sim.events import SimHook
from bcc_py.sim.files import directory, file_content
from bcc_py.sim.formats import KernelFormats
from bcc_py.sim.hooks import ATTACHED_KINDS, HookTable, Runnable, SimLink, check_program_type, did_you_mean
from bcc_py.sim.inodes import File, FileTable
from bcc_py.sim.loading import native_target, runnable, verified_for_sim
from bcc_py.sim.map_calls import MapCalls
from bcc_py.sim.maps import SimMap
from bcc_py.sim.memory import KERNEL_START, KernelMemory
from bcc_py.sim.objects import OBJECT_TYPES, SimObjectMap
from bcc_py.sim.program import SimProgram
from bcc_py.sim.rings import SimPerfRing, SimRing, SimRingBuffer, SimUserRing
from bcc_py.sim.sampling import Sampler, check_event
from bcc_py.sim.sockets import Socket, SocketTable
from bcc_py.sim.storage import CGROUP_STORAGE_TYPES, STORAGE_TYPES, SimStorageMap
from bcc_py.sim.struct_ops import CONGESTION_CONTROLS, SimStructOpsMap
from bcc_py.sim.task import CGROUP_ID, PID_NS_INO, Task, TaskTable
from bcc_py.spec import Hook, HookKind, MapSpec, ProgramSpec, Sharing
from bcc_py.syscalls import SYSCALL_NAMES, kernel_name
from bcc_py.verifier import Privileges, VerifierEnv
from bcc_py.verifier.env import CAPABILITIES
from bcc_py.verifier.limits import map_privilege
from bcc_py.verifier.verdicts import map_numbers
from cfront.btf import JoinedTypes, TypeSource
from cfront.tracepoint import TracepointFormat, TracepointTypes
from cfront.uapi import MapType, ProgType

__all__ = ["EventSource", "NamesFunctions", "NamesRawTracepoints", "SimKernel"]

_FIRST_FD = 100
_FUNCTIONS_START = 0xFFFFFFFF81000000
_FUNCTION_BYTES = 64
_PREFIX = "__x64_sys_"
_MAX_CPUS = 1024
_PID_NS_DEV = 4
_TRACE_HEAD = struct.Struct("<QII16s")
_RAW_ARGS = 12
_HEAP_BYTES = 64 << 20
_AT_FUNCTIONS = (HookKind.KPROBE, HookKind.KRETPROBE, HookKind.FENTRY, HookKind.FEXIT)
_EINVAL, _EBADF, _ENOTSOCK = 22, 9, 88
# the fields of struct pt_regs, in its order
_REGS = ("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip", "cs",
         "flags", "sp", "ss")
_REGS_BYTES = struct.Struct("<21Q")
_MASK64 = (1 << 64) - 1
# the options that kernel.h is the structs of, and that programs ask for
_CONFIG = dict.fromkeys(
    ("CONFIG_64BIT", "CONFIG_X86", "CONFIG_X86_64", "CONFIG_SMP", "CONFIG_ARCH_HAS_SYSCALL_WRAPPER", "CONFIG_BPF", "CONFIG_BPF_SYSCALL",
     "CONFIG_BPF_JIT", "CONFIG_CGROUPS", "CONFIG_NAMESPACES", "CONFIG_NET", "CONFIG_INET", "CONFIG_IPV6", "CONFIG_NET_NS",
     "CONFIG_PID_NS", "CONFIG_BLOCK", "CONFIG_MMU", "CONFIG_KPROBES", "CONFIG_TRACEPOINTS"), "1")
_ENOSYS = -38  # what ax holds while a system call runs
# what helpers may read of a context, whatever the program reads
_CONTEXT_BYTES = {ProgType.KPROBE: _REGS_BYTES.size, ProgType.PERF_EVENT: _REGS_BYTES.size + 16, ProgType.RAW_TRACEPOINT: 8 * _RAW_ARGS,
                  ProgType.TRACING: 8 * _RAW_ARGS}
_EPERM = 1
_NEVER = (1 << 64) - 1  # of runtime/timers.c
_CHECKED_TURNS = 1 << 33  # jumps back that a run of a checked program may make
_USER_CS, _KERNEL_CS, _FLAGS = 0x33, 0x10, 0x246


class EventSource(Protocol):
    """What makes things happen: a workload or a recording. cpus: how many CPUs its events name.

    The kernel calls start once, then, each time somebody polls or sleeps, step for as long as
    next_time_ns is within the time that may go by. A step performs one event (or a group with the same
    time) through the firing methods of the kernel it is given. A source may also be a NamesFunctions or
    a NamesRawTracepoints."""

    cpus: int

    def start(self, kernel: SimKernel) -> None:
        """Called once, before anything else: sets the clock and registers the tasks that already run."""

    def next_time_ns(self) -> int | None:
        """When the next event happens, on the kernel's clock; None when nothing will ever happen again."""

    def step(self, kernel: SimKernel) -> None:
        """Performs the next event. Called only while next_time_ns is not None."""

    def tracepoint_formats(self) -> Mapping[str, TracepointFormat]:
        """The tracepoints this kernel has, by "category:event". Asked once, at construction."""


@runtime_checkable
class NamesFunctions(Protocol):
    """A source that fires kprobes of functions other than system calls'."""

    def functions(self) -> Iterable[str]: ...


@runtime_checkable
class NamesRawTracepoints(Protocol):
    """A source that fires only some raw tracepoints. One that does not say fires sys_enter, sys_exit and the
    event of every format."""

    def raw_tracepoints(self) -> Iterable[str]: ...


class SimKernel:
    """A Kernel (bcc_py.kernel) whose events come from source. spec: its name in messages ("sim:shell").

    seed feeds bpf_get_prandom_u32. privileges: the capabilities that whoever loads programs has ("CAP_BPF",
    "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", which implies the others), () for an ordinary user: what Linux refuses
    to such a loader is refused here. checked: programs ask before every access to memory, and FaultError is raised where
    one was not allowed: that is the verifier's or the compiler's fault, and this is how it is found. Raises ValueError for a
    number of CPUs outside 1 to 1024, and for any other capability."""

    is_simulated = True
    release = "6.18.0"  # whose structures kernel.h describes

    def __init__(
        self, source: EventSource, *, spec: str, cpus: int | None = None, seed: int = 0,
        privileges: Iterable[str] = CAPABILITIES, checked: bool = False,
    ) -> None:
        self.spec = spec
        self.is_checked = checked
        self.privileges = Privileges.of(privileges)
        self.cpus = source.cpus if cpus is None else max(cpus, source.cpus)
        if not 1 <= self.cpus <= _MAX_CPUS:
            raise ValueError(f"starting {spec}: {self.cpus} cpus (1 to {_MAX_CPUS} are possible)")
        self._source = source
        self._formats = source.tracepoint_formats()
        self._lock = threading.RLock()
        self._quiet = threading.Condition(self._lock)
        self._batches = 0  # that run now: closing waits for them
        self._runtime = native.runtime()
        self._memory = KernelMemory(self._runtime)
        self._state: Any = self._runtime.sim_new(self.cpus, KERNEL_START, self._memory.bytes, seed & _MASK64)
        if not self._state:
            raise LoadError(f"starting {spec}: out of memory", errno=12)
        self._memory.bind(self._state)
        if checked and self._runtime.sim_check(self._state, _CHECKED_TURNS):
            raise LoadError(f"starting {spec}: out of memory", errno=12)
        self._cpus = [SimCpu(self._runtime, self._state.cpu + number) for number in range(self.cpus)]
        for one in self._cpus:
            one.pointer.cgroup_id = CGROUP_ID
        self._cpu = self._cpus[0]
        self._now_ns = 0
        self._state.pid_ns_dev, self._state.pid_ns_ino = _PID_NS_DEV, PID_NS_INO
        self._hooks = HookTable()
        self.map_calls = MapCalls(self)
        self._sampler = Sampler(self._run_sample, self._sampled_regs)
        self._on_cpu: dict[int, Task] = {}  # who was seen there last
        self._calls = Calls(native.kernel_types())
        self._next_fd = _FIRST_FD
        self._maps: dict[int, SimMap] = {}
        self._programs: dict[int, SimProgram] = {}
        self._rings: list[SimRing] = []
        self._timer_cpu = self._runtime.ffi.new("u32 *")
        self._trace_record = self._runtime.ffi.new("u8 **")
        self._trace_size = self._runtime.ffi.new("u64 *")
        self._functions = sorted({_PREFIX + name for nr in SYSCALL_NAMES if (name := kernel_name(nr))}
                                 | set(source.functions() if isinstance(source, NamesFunctions) else ()))
        self._raw_tracepoints = self._raw_names()
        self._public: dict[str, SimMap] = {}  # by the name that other objects open it by
        self._pins: dict[str, SimMap] = {}  # by path
        self._retired: list[NativeProgram] = []
        self._called_later: list[SimProgram] = []  # by timers, and by nobody else
        self.devices = {1}  # network interfaces, by number
        self._is_open = True
        self.runs = 0  # programs run by events
        self.tasks = TaskTable(self._memory, native.kernel_types(), self._runtime, self._state)
        self.tasks.forget = self._forget_owner
        self.sockets = SocketTable(self._runtime, self._state, self._take_fd, self._forget_owner)
        self._congestion_controls = set(CONGESTION_CONTROLS)  # by name
        self.cgroups = CgroupTable(self._state, self._take_fd)
        self.files = FileTable(self._memory, self.tasks.fields("inode"), self._take_fd, self._forget_owner)
        self._give_heap()
        self.set_context(0, 0, None)
        source.start(self)

    def _give_heap(self) -> None:
        """Sets memory aside for the objects that kernel functions make. Its pages exist once they are touched."""
        heap = self._state.heap
        heap.at = self._memory.take(_HEAP_BYTES) - KERNEL_START
        heap.end = heap.at + _HEAP_BYTES

    def _raw_names(self) -> frozenset[str]:
        if isinstance(self._source, NamesRawTracepoints):
            return frozenset(self._source.raw_tracepoints())
        events = (name.partition(":") for name in self._formats)
        named = {event for category, _, event in events if category not in ("syscalls", "raw_syscalls")}
        return frozenset(named | {"sys_enter", "sys_exit"})

    # ---- the seam: types, maps, programs

    @property
    def types(self) -> TypeSource:
        known = native.kernel_types()
        formats = self._formats

        def find(category: str, event: str) -> TracepointFormat | None:
            return formats.get(f"{category}:{event}")

        return JoinedTypes(known, TracepointTypes(find, known))

    @property
    def types_key(self) -> str:
        """A digest of kernel.h and of the event formats."""
        formats = self._formats
        if isinstance(formats, KernelFormats):
            return f"sim {native.kernel_key()} {formats.key}"
        rows = repr([(name, formats[name]) for name in sorted(formats)])
        return f"sim {native.kernel_key()} {hashlib.sha256(rows.encode()).hexdigest()}"

    @property
    def lock(self) -> threading.RLock:
        """Held while native code runs; for handles of this kernel."""
        return self._lock

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def state(self) -> Any:
        """The runtime's struct sim."""
        return self._state

    @property
    def memory(self) -> KernelMemory:
        """Kernel memory, for sources that fill kernel objects."""
        return self._memory

    @property
    def runtime(self) -> Any:
        """The C runtime, for sources that make UserMemory."""
        return self._runtime

    def create_map(self, spec: MapSpec) -> Map:
        self._check_open("creating a map")
        needed = map_privilege(spec.type)
        if needed and not getattr(self.privileges, needed):
            raise MapError(f"creating map {spec.name}: maps of type {spec.type.name} need CAP_{needed.upper()}", spec.name, _EPERM)
        if spec.type is MapType.PERF_EVENT_ARRAY and not spec.max_entries:
            spec = _with_entries(spec, self.cpus)
        with self.map_calls.made("map_create"), self._lock:
            made = self._opened(spec) or self._new_map(spec)
            made.calls = self.map_calls
            self._maps = {fd: one for fd, one in self._maps.items() if one.pointer is not None}
            self._maps[made.fd] = made
            if spec.sharing is Sharing.PUBLIC:
                self._public[spec.name] = made
            if spec.pin and spec.pin not in self._pins:
                self._pins[spec.pin] = made.reopened(spec, made.fd)
        return made

    def _new_map(self, spec: MapSpec) -> SimMap:
        if spec.type in OBJECT_TYPES:
            return SimObjectMap(spec, self._take_fd(), self._runtime, self._state, self._lock, self.cpus, self._object, self.devices)
        if spec.type is MapType.STRUCT_OPS:
            return SimStructOpsMap(spec, self._take_fd(), self._runtime, self._state, self._lock, self.cpus, self._object,
                                   native.kernel_types(), self._congestion_controls)
        if spec.type in STORAGE_TYPES or spec.type in CGROUP_STORAGE_TYPES:
            return SimStorageMap(spec, self._take_fd(), self._runtime, self._state, self._lock, self.cpus, self._storage_owner)
        return SimMap(spec, self._take_fd(), self._runtime, self._state, self._lock, self.cpus)

    def _storage_owner(self, type: MapType, number: int) -> int:
        """The address of the object that number names: a task by its pid, a control group, a socket or a file's inode by a
        descriptor; a negative errno where there is none. What is no file has no inode here."""
        if type is MapType.TASK_STORAGE:
            task = self.tasks.get(number)
            return task.address if task is not None else -_EBADF
        found = self._object(number)
        if type is MapType.SK_STORAGE and found is not None:
            return found.address if isinstance(found, Socket) else -_ENOTSOCK
        wanted = Cgroup if type is MapType.CGRP_STORAGE else File
        if isinstance(found, wanted):
            return found.address
        return -_EBADF

    def _forget_owner(self, address: int) -> None:
        """What storages hold for the object at this address goes with it."""
        for one in self._maps.values():
            if isinstance(one, SimStorageMap):
                one.drop(address)

    def _object(self, fd: int) -> SimMap | SimProgram | Socket | Cgroup | File | None:
        """What is open under this descriptor."""
        other = self.sockets.find(fd) or self.cgroups.find(fd) or self.files.find(fd)
        if other is not None:
            return other
        found = self._maps.get(fd) or self._programs.get(fd)
        return found if found is not None and found.is_open else None

    def _opened(self, spec: MapSpec) -> SimMap | None:
        """The map that exists already: another object's public one, or the one at spec.pin. None where one is to be made.
        This kernel's names and paths are its own, and end with it."""
        if spec.sharing is Sharing.EXTERN:
            live = {name: one for name, one in self._public.items() if one.is_open}
            if spec.name not in live:
                raise MapError(undefined_table(spec.name, live), spec.name)
            found = live[spec.name]
            return found.reopened(shared_spec(spec, found.spec), self._take_fd())
        pinned = self._pins.get(spec.pin) if spec.pin else None
        if pinned is None:
            return None
        check_pinned(spec, pinned.spec)
        return pinned.reopened(spec, self._take_fd())

    def config(self, names: Iterable[str]) -> dict[str, str]:
        return {one: _CONFIG[one] for one in names if one in _CONFIG}

    def load_program(self, spec: ProgramSpec) -> Program:
        self._check_open("loading a program")
        spec = with_kernel_ids(spec, native.kernel_types())
        with self.map_calls.made("prog_load"), self._lock:
            self._let_go()
            live = {fd: one for fd, one in self._maps.items() if one.pointer is not None}
            env = VerifierEnv({fd: one.spec for fd, one in live.items()}, cpus=self.cpus, privileges=self.privileges,
                              types=native.kernel_types())
            verified = verified_for_sim(spec, env)
            named = {fd: live[fd] for fd in map_numbers(spec)}
            code = compile_program(runnable(verified), self.native_target(spec.type, named), cached)
            made = SimProgram(spec, self._take_fd(), code, list(named.values()), self, verified.context_bytes)
            made.native.context_bytes = max(verified.context_bytes, _CONTEXT_BYTES.get(spec.type, 0))
            self._programs[made.fd] = made
        return made

    def native_target(self, type: ProgType, maps: Mapping[int, SimMap]) -> NativeTarget:
        """What code for programs of this type is made for. maps: by descriptor."""
        return native_target(type, maps, is_hardened=not self.privileges.bpf, is_checked=self.is_checked)

    def attach(self, program: Program, hook: Hook) -> Link:
        self._check_open("attaching")
        if not isinstance(program, SimProgram) or program.kernel is not self:
            raise AttachError(f"attaching to {hook}: the program belongs to another kernel", str(hook), _EINVAL)
        program.check_open(f"attaching {program.spec.name} to {hook}")
        self._check_hook(hook)
        check_program_type(hook, program.spec)
        link = SimLink(hook, self._detach)
        with self._lock:
            self._hooks.add(link, program)
            self.map_calls.is_wanted = True
            if hook.kind is HookKind.PERF_EVENT:
                self._sampler.add(link, program, self.cpus, self._now_ns)
            program.retain()
        return link

    def _detach(self, link: SimLink) -> None:
        with self._lock:
            program = self._hooks.remove(link)
            self._sampler.remove(link)
            self.map_calls.is_wanted = not self._hooks.is_empty
            if isinstance(program, SimProgram):
                program.release()

    def _check_hook(self, hook: Hook) -> None:
        where = f"attaching to {hook}: {self.spec} has no such "
        if hook.kind is HookKind.TRACEPOINT and hook.name not in self._formats:
            raise AttachError(f"{where}tracepoint{did_you_mean(hook.name, self._formats)}", str(hook))
        if hook.kind in (HookKind.LSM, HookKind.ITER, HookKind.FMOD_RET):
            raise NotSupportedError(f"attaching to {hook}: nothing in a simulated kernel calls {hook.kind.value}s", hook.kind.value)
        if hook.kind not in ATTACHED_KINDS:
            raise NotSupportedError(
                f"attaching to {hook}: a simulated kernel has no {hook.kind.value}s that programs attach to yet (run it by"
                " Program.test_run, or use --kernel linux)", hook.kind.value)
        if hook.kind is HookKind.PERF_EVENT:
            check_event(hook, self.cpus)
        if hook.kind in (HookKind.RAW_TRACEPOINT, HookKind.BTF_TRACEPOINT) and hook.name not in self._raw_tracepoints:
            raise AttachError(f"{where}raw tracepoint{did_you_mean(hook.name, self._raw_tracepoints)}", str(hook))
        if hook.kind in (HookKind.KPROBE, HookKind.KRETPROBE, HookKind.FENTRY, HookKind.FEXIT):
            if not self.has_function(hook.name):
                raise AttachError(f"{where}function{did_you_mean(hook.name, self._functions)}", str(hook))
            if hook.offset:
                raise NotSupportedError(
                    f"attaching to {hook}: a simulated function has only its entry (offset 0)", "kprobe offset")

    def _take_fd(self) -> int:
        self._next_fd += 1
        return self._next_fd - 1

    def _check_open(self, doing: str) -> None:
        if not self._is_open:
            raise LoadError(f"{doing}: {self.spec} is closed", errno=_EBADF)

    # ---- the seam: rings and time

    def open_perf_buffer(
        self, map: Map, callback: Callable[[int, memoryview], None], lost: Callable[[int, int], None], pages: int = 8
    ) -> Ring:
        own = self._own_map(map, MapType.PERF_EVENT_ARRAY, "opening a perf buffer of")
        if pages < 1 or pages & (pages - 1):
            raise MapError(f"opening a perf buffer of map {own.spec.name}: {pages} pages is not a power of two", own.spec.name, _EINVAL)
        with self._lock:
            return self._keep(SimPerfRing(own, self.cpus, callback, lost, pages))

    def open_ring_buffer(self, map: Map, callback: Callable[[memoryview], object]) -> Ring:
        own = self._own_map(map, MapType.RINGBUF, "opening ring buffer")
        with self._lock:
            return self._keep(SimRingBuffer(own, callback))

    def open_perf_event(self, map: Map, type: int, config: int, pid: int = -1) -> Counters:
        """None: there is no hardware to count."""
        raise NotSupportedError(f"opening counters of {map.spec.name}: the simulated kernel counts no events (use --kernel linux)", "perf_event")

    def open_user_ring_buffer(self, map: Map) -> SimUserRing:
        """The writing side of a user ring buffer."""
        own = self._own_map(map, MapType.USER_RINGBUF, "opening user ring buffer")
        with self._lock:
            return SimUserRing(own)

    def _own_map(self, map: Map, type: MapType, doing: str) -> SimMap:
        if not isinstance(map, SimMap) or self._maps.get(map.fd) is not map:
            raise MapError(f"{doing} map {map.spec.name}: it belongs to another kernel", map.spec.name, _EINVAL)
        if map.spec.type is not type:
            raise MapError(f"{doing} map {map.spec.name}: it is of type {map.spec.type.name.lower()}", map.spec.name, _EINVAL)
        map.check_open(doing)
        return map

    def _keep(self, ring: SimRing) -> SimRing:
        self._rings = [one for one in self._rings if one.is_open]
        self._rings.append(ring)
        return ring

    def poll(self, rings: Sequence[Ring], timeout_ms: int) -> int:
        own = [one for one in rings if isinstance(one, SimRing)]
        until = None if timeout_ms < 0 else self.now_ns() + timeout_ms * 1_000_000
        self._advance(until, lambda: any(one.has_records for one in own))
        return sum(one.consume() for one in own)

    def sleep(self, seconds: float) -> None:
        """Lets this much virtual time go by. Raises ValueError if it is negative."""
        if not seconds >= 0:
            raise ValueError(f"sleeping {seconds} s: time does not run backwards")
        self._advance(self.now_ns() + round(seconds * 1e9), lambda: False)

    def _advance(self, until_ns: int | None, is_enough: Callable[[], bool]) -> None:
        """Steps until is_enough, nothing is left to happen, or what happens next lies beyond until_ns; in the last case
        the clock is put there. A timer that is due when an event is comes first."""
        while self._is_open and not is_enough():
            with self._lock:
                event, timer = self._source.next_time_ns(), self._next_timer()
                times = [one for one in (event, timer) if one is not None]
                if times and (due := self._sampler.next_ns()) is not None and due <= min(times) and (until_ns is None or due <= until_ns):
                    self._take_samples(due)
                    continue
                if not times or (until_ns is not None and min(times) > until_ns):
                    if until_ns is not None and times:
                        self._now_ns = max(self._now_ns, until_ns)
                    return
                if timer is not None and (event is None or timer <= event):
                    self._run_timers(timer)
                else:
                    self._source.step(self)

    def _next_timer(self) -> int | None:
        """When the next timer is due, None if none is set."""
        due = int(self._runtime.timers_next(self._state, self._timer_cpu))
        return due if due < _NEVER else None

    def _run_timers(self, now_ns: int) -> None:
        """Runs what is due at now_ns on the CPU that set the next timer, in its idle task. Raises FaultError."""
        before, task = self._cpu.pointer.number, self._current
        with self._cpus[self._timer_cpu[0]].lock:
            self.set_context(self._timer_cpu[0], now_ns, None)
            fired = self._cpu
            self.runs += self._runtime.timers_run(fired.pointer, self._now_ns)
            self.set_context(before, self._now_ns, task)
            if fired.pointer.fault:
                fired.raise_fault("a timer")

    def _take_samples(self, now_ns: int) -> None:
        before, task = self._cpu.pointer.number, self._current
        self._sampler.sample(now_ns, lambda cpu: self._on_cpu.get(cpu, self.tasks.idle),
                             lambda cpu, who: self.set_context(cpu, now_ns, who))
        self.set_context(before, now_ns, task)

    def switched(self) -> None:
        """The current task leaves its CPU: for the perf event that counts it."""
        self._sampler.switched(self._cpu, self._current)

    def _sampled_regs(self, task: Task) -> bytes:
        return _pack_regs({"cs": _USER_CS if task is not self.tasks.idle else _KERNEL_CS, "flags": _FLAGS})

    def _run_sample(self, link: SimLink, program: Runnable, context: bytes) -> None:
        with self._lock, self._cpu.lock:
            self._cpu.put(context)
            self._cpu.pointer.cookie = link.hook.cookie
            program.run(self._cpu)
            self.runs += 1

    @property
    def is_finished(self) -> bool:
        return not self._is_open or (self._source.next_time_ns() is None and self._next_timer() is None)

    def now_ns(self) -> int:
        return self._now_ns if self._is_open else 0

    def read_trace_pipe(self, timeout_ms: int) -> TraceLine | None:
        if not self._is_open:
            return None
        trace = self._state.trace
        until = None if timeout_ms < 0 else self.now_ns() + timeout_ms * 1_000_000
        self._advance(until, lambda: trace.head != trace.tail)
        with self._lock:
            return self._take_trace_line()

    def _take_trace_line(self) -> TraceLine | None:
        runtime = self._runtime
        ring: Any = runtime.ffi.addressof(self._state, "trace")
        while kind := runtime.perf_next(ring, ring.head, self._trace_record, self._trace_size):
            content = runtime.copy_out(self._trace_record[0], self._trace_size[0] - 8)
            runtime.perf_advance(ring, self._trace_size[0])
            if kind == 9:
                return _trace_line(content[4:])
        return None

    # ---- the seam: names

    def syscall_prefix(self) -> str:
        return _PREFIX

    def has_function(self, name: str) -> bool:
        at = bisect.bisect_left(self._functions, name)
        return at < len(self._functions) and self._functions[at] == name

    def functions(self) -> Iterable[str]:
        return tuple(self._functions)

    def has_tracepoint(self, category: str, event: str) -> bool:
        return f"{category}:{event}" in self._formats

    def tracepoints(self) -> Iterable[str]:
        return tuple(self._formats)

    def tracepoint_format(self, name: str) -> TracepointFormat | None:
        """The format of "category:event", or None."""
        return self._formats.get(name)

    def ksym(self, address: int) -> KernelSymbol | None:
        index, offset = divmod(address - _FUNCTIONS_START, _FUNCTION_BYTES)
        return KernelSymbol(self._functions[index], offset) if 0 <= index < len(self._functions) else None

    @property
    def formats(self) -> Mapping[str, TracepointFormat]:
        """The formats of its tracepoints, by "category:event"."""
        return self._formats

    def file(self, path: str) -> bytes | None:
        return file_content(self, path)

    def directory(self, path: str) -> list[str] | None:
        return directory(self, path)

    def probe_functions(self) -> Iterable[str]:
        return self.functions()

    def supports(self, kind: HookKind) -> bool:
        return kind in ATTACHED_KINDS

    def function_address(self, name: str) -> int:
        """The address ksym knows the function by, 0 if there is none of that name."""
        if not self.has_function(name):
            return 0
        return _FUNCTIONS_START + bisect.bisect_left(self._functions, name) * _FUNCTION_BYTES

    def live_objects(self) -> tuple[int, int, int, int]:
        """How many maps, programs, links and rings there are: (0, 0, 0, 0) once every handle was closed."""
        with self._lock:
            if self._is_open:
                self._let_go()
        maps = int(self._state.maps) if self._is_open else 0
        return maps, len(self._programs), len(self._hooks), sum(one.is_open for one in self._rings)

    def close(self) -> None:
        """Detaches everything and gives all memory back; handles that are left become closed ones. Idempotent."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            while self._batches:
                self._quiet.wait()
            self.sockets.close()
            for ring in self._rings:
                ring.close()
            for link in self._hooks.links():
                link.close()
            for program in tuple(self._programs.values()):
                program.close()
            for one in (*self._maps.values(), *self._pins.values()):
                one.close()
            for kept in self._called_later:
                kept.release()
            # an interrupt between making a handle and keeping it leaves a map in use by nobody we know; whoever still
            # refers to it must find it, so then the state stays
            if not self._state.maps:
                self._runtime.sim_free(self._state)
            self._state = None
            self.tasks.close()
            self._memory.close()

    # ---- the firing side: called by an EventSource's step

    def set_context(self, cpu: int, time_ns: int, task: Task | None) -> None:
        """From now on, events happen on this CPU, at this time, in this task (None: the idle task, pid 0).

        Time never runs backwards: an earlier time_ns leaves the clock. Raises ValueError for a CPU that does not exist."""
        if not 0 <= cpu < self.cpus:
            raise ValueError(f"cpu {cpu} of {self.spec}: it has {self.cpus}")
        self._current = self._on_cpu[cpu] = self.tasks.idle if task is None else task
        self._now_ns = max(time_ns, self._now_ns)
        self._cpu = self._cpus[cpu]
        self._cpu.enter(self._current, self._now_ns)

    def update_memory(self, task: Task) -> None:
        """Makes the current task's memory what task.memory is now; a source that changed it calls this."""
        if task is self._current:
            self._cpu.see_memory(task)

    def set_stack(self, kernel_ips: Sequence[int], user_ips: Sequence[int] = ()) -> None:
        """The stacks that programs see of what happens on this CPU from now on, innermost address first."""
        self._check_open("giving a stack")
        self._cpu.set_stack(kernel_ips, user_ips)

    def take_signals(self) -> list[tuple[int, int]]:
        """(pid, signal) of the signals that programs sent since they were last asked for, in order."""
        pid, signal = self._runtime.ffi.new("u32 *"), self._runtime.ffi.new("u32 *")
        taken = []
        while self._is_open and self._runtime.signal_take(self._state, pid, signal):
            taken.append((int(pid[0]), int(signal[0])))
        return taken

    def take_override(self) -> int | None:
        """What the function that was entered on this CPU is to return instead of running, if a program said so since this was
        last asked (bpf_override_return); 64 bits."""
        self._check_open("asking for an override")
        state = self._cpu.pointer
        was, state.is_overridden = state.is_overridden, 0
        return int(state.override) if was else None

    @property
    def current(self) -> Task:
        return self._current

    def wants_tracepoint(self, name: str) -> bool:
        """True if a program is attached to "category:event": a source may skip building records otherwise."""
        return bool(self._hooks.programs(HookKind.TRACEPOINT, name))

    def wants_raw_tracepoint(self, event: str) -> bool:
        return any(self._hooks.programs(kind, event) for kind in (HookKind.RAW_TRACEPOINT, HookKind.BTF_TRACEPOINT))

    def wants_function(self, function: str) -> bool:
        """True if a program is attached to function, at its entry or its return."""
        return any(self._hooks.programs(kind, function) for kind in _AT_FUNCTIONS)

    def fire_tracepoint(self, name: str, record: bytes) -> None:
        """Runs what is attached to tracepoint "category:event" on record, byte for byte what a BPF tracepoint
        program sees. Raises ValueError for a record longer than 64 KiB."""
        self._fire(HookKind.TRACEPOINT, name, record)

    def fire_raw_tracepoint(self, event: str, args: tuple[int, ...]) -> None:
        """args: up to twelve numbers or kernel addresses."""
        if self.wants_raw_tracepoint(event):
            words = [value & _MASK64 for value in args]
            words += [0] * (_RAW_ARGS - len(words))
            context = struct.pack(f"<{len(words)}Q", *words)
            self._fire(HookKind.RAW_TRACEPOINT, event, context)
            self._fire(HookKind.BTF_TRACEPOINT, event, context)

    def fire_kprobe(self, function: str, regs: Mapping[str, int]) -> None:
        """regs: x86-64 registers as struct pt_regs names them (di, si, dx, cx, r8, ax, ip, ...); those not named
        are 0, except ip: the function's address."""
        if self._hooks.programs(HookKind.KPROBE, function):
            self._cpu.at_function(self.function_address(function))
            self._fire(HookKind.KPROBE, function, self._regs(function, regs))
        is_waited_for = bool(self._hooks.programs(HookKind.FEXIT, function))
        if is_waited_for or self._hooks.programs(HookKind.FENTRY, function):
            arguments = self._calls.enter(self._current.pid, function, regs, is_waited_for)
            self._cpu.at_function(self.function_address(function), len(arguments) // 8)
            self._fire(HookKind.FENTRY, function, arguments)

    def fire_kretprobe(self, function: str, regs: Mapping[str, int]) -> None:
        """The same on return; ax is the return value."""
        context = self._calls.leave(self._current.pid, function, regs.get("ax", 0))
        if context:
            self._cpu.at_function(self.function_address(function), len(context) // 8 - 1, has_result=True)
            self._fire(HookKind.FEXIT, function, context)
        if self._hooks.programs(HookKind.KRETPROBE, function):
            self._cpu.at_function(self.function_address(function))
            self._fire(HookKind.KRETPROBE, function, self._regs(function, regs))

    def syscall_enter(self, nr: int, args: tuple[int, int, int, int, int, int]) -> None:
        """The current task enters system call nr. args: the six argument registers."""
        if self._hooks.is_empty:
            return
        words = tuple(value & _MASK64 for value in args)
        name = kernel_name(nr)
        regs = self._write_user_regs(nr, words) if self._needs_regs(name) else self._current.regs
        self.fire_raw_tracepoint("sys_enter", (regs, nr))
        if self.wants_tracepoint("raw_syscalls:sys_enter"):
            self._fire_format("raw_syscalls:sys_enter", struct.pack("<q6Q", nr, *words))
        if name is None:
            return
        if self.wants_tracepoint(f"syscalls:sys_enter_{name}"):
            size = self._formats[f"syscalls:sys_enter_{name}"].size - 16
            self._fire_format(f"syscalls:sys_enter_{name}", struct.pack("<i4x6Q", nr, *words)[: size + 8])
        self.fire_kprobe(_PREFIX + name, {"di": regs, "ax": nr & _MASK64})

    def syscall_exit(self, nr: int, ret: int) -> None:
        """System call nr of the current task returns ret (negative errno for a failure)."""
        if self._hooks.is_empty:
            return
        name = kernel_name(nr)
        regs = self._current.regs
        if name is not None:
            self.fire_kretprobe(_PREFIX + name, {"ax": ret, "di": regs})
            if self.wants_tracepoint(f"syscalls:sys_exit_{name}"):
                self._fire_format(f"syscalls:sys_exit_{name}", struct.pack("<i4xq", nr, _as_signed(ret)))
        if self.wants_tracepoint("raw_syscalls:sys_exit"):
            self._fire_format("raw_syscalls:sys_exit", struct.pack("<qq", nr, _as_signed(ret)))
        self.fire_raw_tracepoint("sys_exit", (regs, ret))

    def common_fields(self, name: str) -> bytes:
        """The first eight bytes of a record of "category:event" fired now: its id, flags and the current pid."""
        return struct.pack("<HBBi", self._formats[name].id & 0xFFFF, 0, 0, self._current.pid)

    def _fire_format(self, name: str, fields: bytes) -> None:
        self._fire(HookKind.TRACEPOINT, name, self.common_fields(name) + fields)

    def _needs_regs(self, name: str | None) -> bool:
        """Is anybody told where the registers are?"""
        return (self.wants_raw_tracepoint("sys_enter") or self.wants_raw_tracepoint("sys_exit")
                or (name is not None and self.wants_function(_PREFIX + name)))

    def _write_user_regs(self, nr: int, args: tuple[int, ...]) -> int:
        """The caller's registers, as the kernel keeps them on its stack; their kernel address."""
        di, si, dx, r10, r8, r9 = args
        where = self._current.regs
        if where:
            self._memory.write(where, _pack_regs({
                "di": di, "si": si, "dx": dx, "r10": r10, "r8": r8, "r9": r9, "orig_ax": nr, "ax": _ENOSYS, "cs": _USER_CS,
                "flags": _FLAGS}))
        return where

    def _regs(self, function: str, regs: Mapping[str, int]) -> bytes:
        return _pack_regs({"ip": self.function_address(function), "cs": _KERNEL_CS, "flags": _FLAGS, **regs})

    def _fire(self, kind: HookKind, name: str, context: bytes) -> int:
        rows = self._hooks.programs(kind, name)
        if not rows:
            return 0
        cpu = self._cpu
        with self._lock, cpu.lock:
            for link, program in rows:
                cpu.put(context)
                cpu.pointer.cookie = link.hook.cookie
                program.run(cpu)
                self.runs += 1
        return len(rows)

    # ---- firing by hand (events.py)

    def hook(self, kind: HookKind | str, name: str) -> SimHook:
        """A hook of this kernel, to be fired by hand: hook("tracepoint", "sched:sched_switch"). Raises AttachError where
        there is none of that name, ValueError for a kind that does not exist."""
        hook = Hook(HookKind(kind), name)
        self._check_open("opening a hook")
        self._check_hook(hook)
        return SimHook(self, hook)

    def fire(self, hook: Hook, context: bytes) -> int:
        """Runs what is attached on context, on the current CPU; how many programs ran."""
        self._check_open(f"firing {hook}")
        self._stand_at(hook, (self._cpu,))
        return self._fire(hook.kind, hook.name, context)

    def _stand_at(self, hook: Hook, cpus: Iterable[SimCpu]) -> None:
        """What happens on these CPUs is this hook's. Raises NotSupportedError where its programs have several cookies."""
        cookies = {link.hook.cookie for link, _ in self._hooks.programs(hook.kind, hook.name)} or {0}
        if len(cookies) > 1:
            raise NotSupportedError(
                f"firing {hook}: programs with different cookies ({', '.join(map(str, sorted(cookies)))}) cannot be fired by hand "
                "(attach them to kernels of their own)", "attach cookie")
        address = self.function_address(hook.name) if hook.kind in _AT_FUNCTIONS else 0
        count = self._calls.count(hook.name) if hook.kind in (HookKind.FENTRY, HookKind.FEXIT) else 0
        for one in cpus:
            one.at_function(address, count, hook.kind is HookKind.FEXIT)
            one.pointer.cookie = min(cookies)

    @contextlib.contextmanager
    def running(self, hook: Hook) -> Iterator[list[Any]]:
        """The runtime's structs of the programs attached there, which stay alive meanwhile."""
        with self._lock:
            self._check_open(f"firing {hook}")
            self._stand_at(hook, self._cpus)
            programs = [one for _, one in self._hooks.programs(hook.kind, hook.name) if isinstance(one, SimProgram)]
            for one in programs:
                one.retain()
            self._batches += 1
        try:
            yield [one.native for one in programs]
        finally:
            with self._lock:
                self._batches -= 1
                self._quiet.notify_all()
                for one in programs:
                    one.release()

    @property
    def current_cpu(self) -> SimCpu:
        return self._cpu

    def cpu(self, number: int) -> SimCpu:
        return self._cpus[number]

    def describe(self, task: Task, row: Any) -> None:
        """Writes the struct who of task."""
        describe(task, row, self._runtime.ffi.NULL)
        row.cgroup_id = CGROUP_ID

    def after_batch(self, cpus: Iterable[SimCpu], runs: int) -> None:
        """The clock is where the last of cpus came to, and timers that are due by then fire. runs: how many there were.
        Raises FaultError if a checked program did what it must not."""
        faulty = []
        with self._lock:
            self.runs += runs
        for one in cpus:
            self._now_ns = max(self._now_ns, int(one.pointer.time_ns))
            if one.pointer.fault:
                faulty.append(one)
        if faulty:
            for one in faulty[1:]:
                one.pointer.fault = 0
            faulty[0].raise_fault("a batch")
        with self._lock:
            while self._is_open and (due := self._next_timer()) is not None and due <= self._now_ns:
                self._run_timers(self._now_ns)

    @property
    def has_stats(self) -> bool:
        """Whether the time that programs take is counted (SimProgram.stats)."""
        return bool(self._state.has_stats)

    @has_stats.setter
    def has_stats(self, is_wanted: bool) -> None:
        self._state.has_stats = is_wanted

    # ---- for SimProgram (program.py)

    def retire(self, code: NativeProgram) -> None:
        """Gives code back, which nothing names any more, when no program runs: one may have gone there by a tail call."""
        self._retired.append(code)
        if not self._state.running:
            for one in self._retired:
                one.close()
            self._retired.clear()

    def is_needed(self, program: SimProgram) -> bool:
        """Whether a timer may still call program, which nobody else uses: it then stays until none is left."""
        if program.sets_timers and self._is_open and self._runtime.timers_ready(self._state):
            program.retain()
            self._called_later.append(program)
            return True
        return False

    def _let_go(self) -> None:
        """Ends the programs that only timers used, if no timer is left."""
        if self._called_later and not self._runtime.timers_ready(self._state):
            ended, self._called_later = self._called_later, []
            for one in ended:
                one.release()

    def forget(self, program: SimProgram) -> None:
        self._programs.pop(program.fd, None)


def _with_entries(spec: MapSpec, entries: int) -> MapSpec:
    return dataclasses.replace(spec, max_entries=entries)


def _pack_regs(regs: Mapping[str, int]) -> bytes:
    unknown = set(regs) - set(_REGS)
    if unknown:
        raise ValueError(f"struct pt_regs has no register {', '.join(sorted(unknown))}")
    return _REGS_BYTES.pack(*(regs.get(name, 0) & _MASK64 for name in _REGS))


def _as_signed(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _trace_line(content: bytes) -> TraceLine:
    time_ns, cpu, pid, comm = _TRACE_HEAD.unpack_from(content)
    text = content[_TRACE_HEAD.size :].split(b"\0", 1)[0].decode(errors="replace")
    name = comm.split(b"\0", 1)[0].decode(errors="replace")
    return TraceLine(name, pid, cpu, "...11", time_ns, text.removesuffix("\n"))
