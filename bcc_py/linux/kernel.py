"""LinuxKernel: bcc_py.kernel.Kernel on the running Linux, through bpf(2), perf_event_open(2) and tracefs.

Input: specs; output: live handles whose descriptors this process owns. Invariant: every handle is known
to its kernel until it is closed, and closing the kernel closes them all; a method that raises leaves no
descriptor behind.

Loading: the kernel's verifier judges. A program goes in with its BTF, functions and lines where the
object has them, so that the log and bpftool show C; a kernel that refuses those records without having
looked at an instruction gets the program again without them. A refusal becomes a VerifierError whose text
is the verifier's sentence and the C line, and whose .log is everything."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import importlib
import mmap
import os
import re
import select
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import BinaryIO, cast

from bcc_py import isa
from bcc_py.cache import cached
from bcc_py.errors import AttachError, LoadError, MapError, NotSupportedError, ObjectError, VerifierError
from bcc_py.kallsyms import running_kernel
from bcc_py.kernel import (
    Counters,
    KernelSymbol,
    Link,
    Map,
    Program,
    Ring,
    RunStats,
    TestRun,
    TraceLine,
    UserRing,
    check_pinned,
    shared_spec,
    undefined_table,
    with_kernel_ids,
)
from bcc_py.linux import attach, feature, sys
from bcc_py.linux.btf_walk import loadable
from bcc_py.linux.config import config
from bcc_py.linux.counter import PerfCounters
from bcc_py.linux.map import Closable, LinuxMap
from bcc_py.linux.ring import PerfBuffer, RingBuffer
from bcc_py.linux.user_ring import UserRing as MappedUserRing
from bcc_py.rings import Records
from bcc_py.spec import Hook, HookKind, MapSpec, ProgramSpec, Sharing
from cfront.btf import Btf, JoinedTypes, TypeSource
from cfront.tracepoint import TracepointFormat, TracepointTypes, parse_format
from cfront.uapi import AttachType, MapType, ProgType

__all__ = ["LinuxKernel", "LinuxMap", "LinuxProgram"]

_RDONLY_PROG = 1 << 7  # BPF_F_RDONLY_PROG
_ENOTSUPP = 524  # the kernel's own, for a map type that takes no BTF
_SYSCALL_PREFIXES = ("sys_", "__x64_sys_", "__x32_compat_sys_", "__ia32_compat_sys_", "__arm64_sys_", "__s390x_sys_",
                     "__s390_sys_", "__riscv_sys_", "__loongarch_sys_")
_TRACE_LINE = re.compile(
    r"\s*(?P<comm>.+)-(?P<pid>\d+)\s+(?:\(.{1,7}\)\s+)?\[(?P<cpu>\d+)\]\s+(?P<flags>\S+)\s+(?P<s>\d+)\.(?P<us>\d{6}):"
    r"\s+(?:\S+: )?(?P<message>.*)")
# what hooks of a kind need; the others are there as bpf(2) is
_FEATURES = {
    HookKind.KPROBE: "kprobe", HookKind.KRETPROBE: "kprobe", HookKind.FENTRY: "fentry", HookKind.FEXIT: "fentry",
    HookKind.FMOD_RET: "fmod_ret", HookKind.LSM: "lsm", HookKind.RAW_TRACEPOINT: "raw tracepoints", HookKind.UPROBE: "uprobe",
    HookKind.URETPROBE: "uprobe",
}
_INSN_LINE = re.compile(r"(?P<slot>\d+): \([0-9a-f]{2}\)", re.MULTILINE)


class LinuxProgram:
    """A loaded program."""

    def __init__(self, spec: ProgramSpec, fd: int, forget: Callable[[Closable], None]) -> None:
        self.spec = spec
        self.fd = fd
        self._forget = forget

    def test_run(self, data: bytes = b"", ctx: bytes = b"", repeat: int = 1) -> TestRun:
        """Runs it in the kernel. Raises LoadError, NotSupportedError (its type has no test run)."""
        if self.fd < 0:
            raise LoadError(f"running program {self.spec.name}: it is closed", self.spec.name)
        return sys.prog_test_run(self.fd, data, ctx, repeat)

    @property
    def stats(self) -> RunStats:
        """How often it ran, and for how long, while has_stats of a kernel or anybody else's wish was on. Raises LoadError."""
        if self.fd < 0:
            raise LoadError(f"asking how often program {self.spec.name} ran: it is closed", self.spec.name)
        return sys.prog_stats(self.fd, self.spec.name)

    def close(self) -> None:
        """Gives the descriptor back, once; links keep the program alive in the kernel."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._forget(self)
            sys.close(fd)


class _Owned:
    """A link or ring that its kernel forgets when it is closed."""

    def __init__(self, inner: Closable, forget: Callable[[Closable], None]) -> None:
        self.inner = inner
        self._forget = forget

    def close(self) -> None:
        self._forget(self)
        self.inner.close()


class _Link(_Owned):
    def __init__(self, inner: attach.LinuxLink, forget: Callable[[Closable], None]) -> None:
        super().__init__(inner, forget)
        self.hook = inner.hook
        self.fds = inner.fds


class _Ring(_Owned):
    inner: PerfBuffer | RingBuffer

    @property
    def fds(self) -> list[int]:
        return self.inner.fds

    @property
    def on_records(self) -> Callable[[Records], bool]:
        return self.inner.on_records

    @on_records.setter
    def on_records(self, deliver: Callable[[Records], bool]) -> None:
        self.inner.on_records = deliver

    @property
    def lost(self) -> int:
        return self.inner.lost

    @lost.setter
    def lost(self, count: int) -> None:
        self.inner.lost = count

    def consume(self) -> int:
        return self.inner.consume()

    def take_all(self) -> list[Records]:
        return self.inner.take_all()


class LinuxKernel:
    """The running Linux. Raises NotSupportedError where this is not Linux or bpf(2) is not permitted."""

    def __init__(self) -> None:
        self.spec = "linux"
        self.release = os.uname().release
        self.is_simulated = False
        if not sys.is_linux():
            raise NotSupportedError("using --kernel linux: this is not Linux (use --kernel sim)", "linux")
        feature.require_bpf("using --kernel linux")
        self.cpus = sys.possible_cpus()
        self._live: set[Closable] = set()
        self._btf_fds: dict[bytes, int] = {}
        self._stats_fd = -1
        self._trace_fd = -1
        self._trace_bytes = b""

    # ---- types ----

    @functools.cached_property
    def types(self) -> TypeSource:
        """vmlinux's BTF, and struct tracepoint__CATEGORY__EVENT from tracefs, read when named."""
        btf = _vmlinux()
        return JoinedTypes(TracepointTypes(self.tracepoint_format, btf), btf)

    @property
    def types_key(self) -> str:
        """The running kernel's build and boot: its types and event formats change with neither."""
        return " ".join((*os.uname(), _boot()))

    def tracepoint_format(self, category: str, event: str) -> TracepointFormat | None:
        """How tracefs describes the event, None if there is none."""
        directory = attach.tracepoint_directory(category, event)
        if directory is None:
            return None
        with open(f"{directory}/format", encoding="utf-8", errors="replace") as file:
            return parse_format(file.read(), category)

    # ---- maps and programs ----

    def create_map(self, spec: MapSpec) -> Map:
        """A live map, holding spec.initial if there is any; one that exists already where spec is extern or its pin is
        taken. Public maps are public to all of this process. Raises MapError, NotSupportedError."""
        wanted = _as_linux_has_it(spec)
        if wanted.sharing is Sharing.EXTERN:
            wanted, fd = _opened_public(wanted)
        elif wanted.pin:
            fd = self._pinned(wanted)
        else:
            fd = self._create(wanted)
        made = LinuxMap(wanted, fd, self._live.discard)
        self._live.add(made)
        if wanted.sharing is Sharing.PUBLIC:
            _PUBLIC[wanted.name] = made
        if wanted.initial:
            try:
                made.update(bytes(wanted.key_size), wanted.initial)
            except MapError:
                made.close()
                raise
            if wanted.flags & _RDONLY_PROG:
                with contextlib.suppress(MapError):  # a kernel that cannot takes the values as unknown
                    sys.map_freeze(fd)
        return made

    def _pinned(self, spec: MapSpec) -> int:
        """The descriptor of the map at spec.pin, which is made and pinned if there is none."""
        fd = sys.obj_get(spec.pin, spec.name)
        if fd < 0:
            fd = self._create(spec)
            try:
                _pin(fd, spec)
                return fd
            except MapError as error:
                sys.close(fd)
                fd = sys.obj_get(spec.pin, spec.name) if error.errno == errno.EEXIST else -1  # somebody was faster
                if fd < 0:
                    raise
        try:
            type, key_size, value_size, entries, _ = sys.map_info(fd)
            found = dataclasses.replace(spec, key_size=key_size, value_size=value_size, max_entries=entries)
            check_pinned(spec, found, type)
        except MapError:
            sys.close(fd)
            raise
        return fd

    def _create(self, spec: MapSpec) -> int:
        """A new map's descriptor. A map of maps is shown a map like those it will hold, which it need not keep."""
        if spec.inner is None:
            return self._create_like(spec, 0)
        inner = self._create(_as_linux_has_it(spec.inner))
        try:
            return self._create_like(spec, inner)
        finally:
            sys.close(inner)

    def _create_like(self, spec: MapSpec, inner_fd: int) -> int:
        """The map's descriptor; with the types of key and value, unless the kernel takes such a map without only."""
        sizes = (spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags, spec.name)
        if spec.kernel_value:
            return sys.map_create(*sizes, btf_fd=self._btf_fd(spec.btf), kernel_value_type=_vmlinux().struct_id(spec.kernel_value) or 0)
        btf_fd = self._btf_fd(spec.btf) if spec.key_type and spec.value_type else -1
        if btf_fd >= 0:
            try:
                return sys.map_create(
                    *sizes, btf_fd=btf_fd, key_type=spec.key_type, value_type=spec.value_type, inner_fd=inner_fd,
                    extra=spec.extra)
            except MapError as error:
                if error.errno not in (errno.EINVAL, _ENOTSUPP):
                    raise
        return sys.map_create(*sizes, inner_fd=inner_fd, extra=spec.extra)

    def _btf_fd(self, btf: bytes) -> int:
        """The descriptor of an object's BTF, loaded once; -1 if there is none or the kernel does not take it."""
        if not btf:
            return -1
        if btf not in self._btf_fds:
            try:
                self._btf_fds[btf] = sys.btf_load(loadable(btf))
            except (LoadError, NotSupportedError, ObjectError):
                self._btf_fds[btf] = -1
        return self._btf_fds[btf]

    def config(self, names: Iterable[str]) -> dict[str, str]:
        return config(names, self.types)

    def load_program(self, spec: ProgramSpec) -> Program:
        """A program that the kernel's verifier took. Raises VerifierError, LoadError, NotSupportedError."""
        spec = with_kernel_ids(spec, _vmlinux()) if spec.kernel_functions or spec.kernel_variables else spec
        fd = self._load(spec)
        made = LinuxProgram(spec, fd, self._live.discard)
        self._live.add(made)
        return made

    def _load(self, spec: ProgramSpec) -> int:
        debug = self._debug_records(spec)
        if debug is not None:
            try:
                return _prog_load(spec, *debug)
            except (LoadError, NotSupportedError) as error:
                if isinstance(error, NotSupportedError) or _is_about_insns(error):
                    raise _explained(error, spec) from error
        try:
            return _prog_load(spec)
        except (LoadError, NotSupportedError) as error:
            raise _explained(error, spec) from error

    def _debug_records(self, spec: ProgramSpec) -> tuple[int, bytes, bytes] | None:
        """(BTF descriptor, func_info, line_info); None if the object has none or the kernel takes no BTF."""
        if not spec.btf or not spec.functions or not all(one.type_id for one in spec.functions):
            return None
        fd = self._btf_fd(spec.btf)
        functions = b"".join(struct.pack("<II", one.slot, one.type_id) for one in spec.functions)
        lines = b"".join(
            struct.pack("<IIII", one.slot, one.file_off, one.text_off, one.line << 10 | one.col & 1023) for one in spec.lines)
        return (fd, functions, lines) if fd >= 0 else None

    def attach(self, program: Program, hook: Hook) -> Link:
        """A link. Where the kernel has no kprobes, one on a system call is served by raw_syscalls (syscall_probe.py).
        Raises AttachError, NotSupportedError."""
        if program.spec.type is ProgType.KPROBE and hook.kind in (HookKind.KPROBE, HookKind.KRETPROBE) and not feature.has("kprobe"):
            return self._attach_made_over(program, hook)
        link = _Link(attach.attach(program.fd, program.spec.type, hook), self._live.discard)
        self._live.add(link)
        return link

    def _attach_made_over(self, program: Program, hook: Hook) -> Link:
        if hook.name not in self._symbols:
            raise AttachError(f"attaching to {hook}: this kernel has no such function", str(hook))
        maps = {one.fd: one.spec for one in self._live if isinstance(one, LinuxMap)}
        made_over = importlib.import_module("bcc_py.linux.syscall_probe").made_over  # which brings the verifier
        spec, place = made_over(program.spec, hook, self._symbols[hook.name], maps, self.types)
        other = self.load_program(spec)
        try:
            link = _Link(attach.attach(other.fd, other.spec.type, place), self._live.discard)
        finally:
            other.close()  # its link keeps it
        link.hook = hook
        self._live.add(link)
        return link

    # ---- rings ----

    def open_perf_buffer(
        self, map: Map, callback: Callable[[int, memoryview], None], lost: Callable[[int, int], None], pages: int = 8
    ) -> Ring:
        """The rings of a perf event array, one for each online CPU. pages: a power of two, of the machine's page size."""
        ring = _Ring(PerfBuffer(map.fd, map.spec.name, callback, lost, pages), self._live.discard)
        self._live.add(ring)
        return ring

    def open_ring_buffer(self, map: Map, callback: Callable[[memoryview], object]) -> Ring:
        """The reading side of a ring buffer."""
        ring = _Ring(RingBuffer(map.fd, map.spec.name, map.spec.max_entries, callback), self._live.discard)
        self._live.add(ring)
        return ring

    def open_user_ring_buffer(self, map: Map) -> UserRing:
        """The writing side of a user ring buffer. Raises MapError."""
        made = MappedUserRing(map.fd, map.spec.name, map.spec.max_entries, self._live.discard)
        self._live.add(made)
        return made

    def open_perf_event(self, map: Map, type: int, config: int, pid: int = -1) -> Counters:
        """A counter on each online CPU. Raises AttachError, NotSupportedError."""
        made = PerfCounters(map.fd, map.spec.name, type, config, pid, self._live.discard)
        self._live.add(made)
        return made

    def poll(self, rings: Sequence[Ring], timeout_ms: int) -> int:
        """Waits until one of rings has something or the time is over (-1: no limit); the number of records.

        What is there already is handed over without waiting; if that was only what programs discarded, 0 at once. A signal
        does not end the wait early. Without rings it only waits, and not at all without a limit."""
        if not rings:
            self.sleep(timeout_ms / 1000)
            return 0
        with select.epoll() as waiting:
            for ring in rings:
                for fd in cast(_Ring, ring).fds:
                    waiting.register(fd, select.EPOLLIN)
            ready = waiting.poll(0)
            count = _consume_all(rings)
            if count or ready:
                return count
            ready = waiting.poll(None if timeout_ms < 0 else timeout_ms / 1000)
        return _consume_all(rings) if ready else 0

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, 0))

    @property
    def is_finished(self) -> bool:
        return False

    def now_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    @property
    def has_stats(self) -> bool:
        """Whether programs' runs and their time are counted (LinuxProgram.stats) because this kernel's user wants it;
        kernel.bpf_stats_enabled may say so for all. Raises NotSupportedError when set."""
        return self._stats_fd >= 0

    @has_stats.setter
    def has_stats(self, is_wanted: bool) -> None:
        if is_wanted and self._stats_fd < 0:
            self._stats_fd = sys.enable_stats()
        elif not is_wanted and self._stats_fd >= 0:
            fd, self._stats_fd = self._stats_fd, -1
            sys.close(fd)

    # ---- trace_pipe ----

    def read_trace_pipe(self, timeout_ms: int) -> TraceLine | None:
        """The next line of trace_pipe that some program printed, None when there is none in time (-1: no limit).

        Raises NotSupportedError if tracefs is not mounted or trace_pipe may not be read."""
        deadline = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000
        while True:
            while b"\n" in self._trace_bytes:
                line, _, self._trace_bytes = self._trace_bytes.partition(b"\n")
                found = _trace_line(line.decode("utf-8", "replace"))
                if found is not None:
                    return found
            if not self._fill_trace(deadline):
                return None

    def _fill_trace(self, deadline: float | None) -> bool:
        if self._trace_fd < 0:
            path = f"{feature.tracefs()}/trace_pipe"
            try:
                self._trace_fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise NotSupportedError(f"reading {path}: {error.strerror} (run as root)", "trace_pipe") from error
        waiting = select.poll()
        waiting.register(self._trace_fd, select.POLLIN)
        left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        if not waiting.poll(left):
            return False
        try:
            self._trace_bytes += os.read(self._trace_fd, 1 << 16)
        except BlockingIOError:
            pass
        return True

    # ---- names ----

    @property
    def _symbols(self) -> dict[str, int]:
        """The addresses of the kernel's functions (0 where they are hidden)."""
        return running_kernel().functions

    def syscall_prefix(self) -> str:
        """What the names of the entry functions of system calls begin with; "sys_" if it cannot be told."""
        return next((one for one in _SYSCALL_PREFIXES if f"{one}bpf" in self._symbols), _SYSCALL_PREFIXES[0])

    def has_function(self, name: str) -> bool:
        return name in self._symbols

    def functions(self) -> Iterable[str]:
        return self._symbols.keys()

    def probe_functions(self) -> Iterable[str]:
        """Without those on the kernel's list of what kprobes must keep away from, and, where tracefs says what can be
        traced, only those."""
        refused = feature.names_in(f"{feature.KPROBE_LIST}/blacklist")
        traced = feature.names_in(f"{feature.tracefs()}/available_filter_functions") if feature.has_tracefs() else frozenset()
        return [one for one in self._symbols if one not in refused and (not traced or one in traced)]

    def file(self, path: str) -> bytes | None:
        return None  # this machine's files are its own

    def directory(self, path: str) -> list[str] | None:
        return None

    def supports(self, kind: HookKind) -> bool:
        name = _FEATURES.get(kind)
        return name is None or feature.has(name)

    def has_tracepoint(self, category: str, event: str) -> bool:
        return attach.tracepoint_directory(category, event) is not None

    def tracepoints(self) -> Iterable[str]:
        return attach.list_events()

    def ksym(self, address: int) -> KernelSymbol | None:
        """Where a kernel address is; None outside the kernel's text, or where addresses are hidden."""
        return running_kernel().at(address)

    def function_address(self, name: str) -> int:
        return running_kernel().addresses.get(name, 0)

    def close(self) -> None:
        """Closes every handle that is still open, links first."""
        for handle in sorted(self._live, key=lambda one: isinstance(one, (LinuxMap, LinuxProgram))):
            handle.close()
        self.has_stats = False
        for fd in self._btf_fds.values():
            if fd >= 0:
                sys.close(fd)
        self._btf_fds.clear()
        if self._trace_fd >= 0:
            sys.close(self._trace_fd)
            self._trace_fd = -1


@functools.cache
def _vmlinux() -> Btf:
    """The running kernel's types, opened once: they do not change. Raises NotSupportedError where it shows none."""
    try:
        with open(feature.VMLINUX_BTF, "rb") as file:
            content = _mapped(file)
    except OSError as error:
        row = feature.FEATURES["btf"]
        raise NotSupportedError(f"reading the kernel's types: {error} ({row.hint})", "btf", row.since) from error
    return Btf(content, cached("btf-index", (*os.uname(), str(len(content)), _boot()), lambda: Btf(content).index()))


def _mapped(file: BinaryIO) -> memoryview:
    """A file's bytes, of which only those are read that are used, where the kernel can (since Linux 6.16 it can)."""
    size = os.fstat(file.fileno()).st_size
    try:
        return sys.Mapping(file.fileno(), size, 0, False, feature.VMLINUX_BTF, is_shared=False).view
    except MapError:
        return memoryview(file.read())


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _consume_all(rings: Sequence[Ring]) -> int:
    return sum(ring.consume() for ring in rings)


def _as_linux_has_it(spec: MapSpec) -> MapSpec:
    """spec with the sizes that the kernel insists on."""
    if spec.type is MapType.PERF_EVENT_ARRAY:
        return dataclasses.replace(spec, key_size=4, value_size=4, max_entries=spec.max_entries or sys.possible_cpus())
    if spec.type is MapType.RINGBUF:
        size = max(spec.max_entries, mmap.PAGESIZE)
        return dataclasses.replace(spec, key_size=0, value_size=0, max_entries=1 << (size - 1).bit_length())
    return spec


# the public maps of this process by name, of whatever LinuxKernel; a closed one is no longer there
_PUBLIC: dict[str, LinuxMap] = {}


def _pin(fd: int, spec: MapSpec) -> None:
    """Pins a map at spec.pin, in directories that are the owner's alone where they are new. Raises MapError, and then
    leaves none of them."""
    made: list[str] = []
    try:
        for one in reversed(PurePath(spec.pin).parents):
            if not os.path.isdir(one):
                os.mkdir(one, 0o700)
                made.append(str(one))
        sys.obj_pin(fd, spec.pin, spec.name)
    except (OSError, MapError) as error:
        with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
            for path in reversed(made):
                os.rmdir(path)
        if isinstance(error, MapError):
            raise
        raise MapError(f"pinning map {spec.name} at {spec.pin}: {error.strerror}", spec.name) from error


def _opened_public(spec: MapSpec) -> tuple[MapSpec, int]:
    """(what the public map of this name is, a descriptor of it)."""
    live = {name: one for name, one in _PUBLIC.items() if one.fd >= 0}
    found = live.get(spec.name)
    if found is None:
        raise MapError(undefined_table(spec.name, live), spec.name)
    return shared_spec(spec, found.spec), os.dup(found.fd)


def _prog_load(spec: ProgramSpec, btf_fd: int = 0, func_info: bytes = b"", line_info: bytes = b"") -> int:
    return sys.prog_load(
        spec.type, isa.encode(spec.insns), license=spec.license.encode(), name=spec.name, flags=spec.flags,
        expected_attach_type=max(spec.expected_attach_type, AttachType.CGROUP_INET_INGRESS),
        btf_fd=btf_fd, func_info=func_info, line_info=line_info, attach_btf_id=_target_id(spec))


def _target_id(spec: ProgramSpec) -> int:
    """The kernel's id of the function that a program is loaded for (its section names it), 0 for programs that are for
    none. Raises LoadError, NotSupportedError."""
    name = spec.attach_to
    if not name:
        return 0
    if ":" in name:
        raise NotSupportedError(f"loading program {spec.name}: functions of modules ({name}) cannot be looked up yet", "module BTF")
    is_tracepoint = spec.expected_attach_type is AttachType.TRACE_RAW_TP
    found = _vmlinux().id_of("typedef", f"btf_trace_{name}") if is_tracepoint else _vmlinux().function_id(name)
    if found is None:
        raise LoadError(f"loading program {spec.name}: {name} is not found in vmlinux BTF", spec.name)
    return found


def _is_about_insns(error: LoadError) -> bool:
    """Whether the verifier had begun with the instructions, so that the debug records are not what it refuses."""
    return isinstance(error, VerifierError) and bool(_INSN_LINE.search(error.log))


def _explained(error: LoadError | NotSupportedError, spec: ProgramSpec) -> LoadError | NotSupportedError:
    """A verifier's refusal with its instruction and C line; other errors as they are."""
    if not isinstance(error, VerifierError):
        return error
    named = re.search(r"\binsn (\d+)", error.sentence)
    slots = [int(named[1])] if named else [int(found["slot"]) for found in _INSN_LINE.finditer(error.log)]
    return VerifierError.at(
        f"loading program {spec.name}", error.sentence, spec, slots[-1] if slots else -1, error.log, error.errno)


def _trace_line(text: str) -> TraceLine | None:
    """A line of trace_pipe; None for the kernel's notes about lost events and what else is no event."""
    found = _TRACE_LINE.match(text)
    if not found:
        return None
    time_ns = int(found["s"]) * 10**9 + int(found["us"]) * 1000
    return TraceLine(found["comm"].strip(), int(found["pid"]), int(found["cpu"]), found["flags"], time_ns, found["message"])
