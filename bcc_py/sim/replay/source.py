"""A recording as a kernel: `replay:FILE`.

Input: a perf.data file with tracepoint samples and their raw payload. Output: a ReplayKernel, in which the
recorded tracepoints fire with the recorded bytes, in the order of time, on the recorded CPU and in the
recorded task. Invariants: a tracepoint program sees byte for byte what was recorded; a clock, a pid or a
comm is never made up; memory stays bounded, for records are read as time goes on (perf_data.py).

What follows from the record and is therefore offered beside it:
- the tree of tasks, from the COMM, FORK and EXIT records (or from sched_process_fork and _exit samples where
  perf was told not to record tasks). A parent that is not in the file is pid 0; uid and gid are 0; so is
  the start time of a task whose fork is not in the file. What a task exited with is in no record: its exit_code
  becomes -1, which no task has on Linux;
- of a recorded syscalls:sys_enter_NAME or sys_exit_NAME: raw_syscalls:sys_enter and sys_exit, the raw
  tracepoints of the same name, and the kprobe or kretprobe of __x64_sys_NAME, with the recorded arguments
  and value in the registers; in Linux's order. Where raw_syscalls itself was recorded, it is what fires;
- of recorded sched:sched_process_fork and sched_process_exit: the raw tracepoints, whose arguments are tasks.

What does not follow is refused when somebody attaches to it: events that are not in the file, functions other
than entries of recorded system calls, raw tracepoints whose arguments are kernel objects nobody recorded.
User memory was not recorded, so reading through a user pointer gives -EFAULT.

Source: kernel/events/core.c (when COMM, FORK and EXIT are written), arch/x86/entry/syscall_64.c."""

from __future__ import annotations

import dataclasses
import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from bcc_py.errors import NotSupportedError, ObjectError
from bcc_py.kernel import Link, Program
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.memory import Fields
from bcc_py.sim.replay.perf_data import Comm, Exit, Fork, Lost, PerfAttr, PerfData, Record, Sample
from bcc_py.sim.task import Task
from bcc_py.spec import Hook, HookKind
from cfront.ctype import Record as RecordType
from cfront.tracepoint import TracepointFormat, parse_format

__all__ = ["PerfSource", "ReplayKernel", "replay_kernel"]

_PREFIX = "__x64_sys_"
_ENTER, _EXIT = "syscalls:sys_enter_", "syscalls:sys_exit_"
_RAW_ENTER, _RAW_EXIT = "raw_syscalls:sys_enter", "raw_syscalls:sys_exit"
_FORK_EVENT, _EXIT_EVENT = "sched:sched_process_fork", "sched:sched_process_exit"
_UNKNOWN_COMM = "<...>"  # as the kernel's own trace calls a task whose name it does not know
_UNKNOWN_EXIT = -1  # no wait status is negative
_ZOMBIES_KEPT = 256
_MAX_CPUS = 1024
_ATTR_TASK = 1 << 13
_DAY_NS = 24 * 3600 * 10**9
_MAX_GAP_NS = 30 * _DAY_NS
_ENOSYS = 38
_MASK64 = (1 << 64) - 1
_USER_CS = 0x33
_NR = struct.Struct("<i")
_WORD = struct.Struct("<Q")

_COMMON_FIELDS = """\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;
"""
_RAW_FORMATS = {
    _RAW_ENTER: "name: sys_enter\nID: 1\nformat:\n" + _COMMON_FIELDS
    + "\tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n",
    _RAW_EXIT: "name: sys_exit\nID: 2\nformat:\n" + _COMMON_FIELDS + "\tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;\n",
}


def replay_kernel(path: str) -> ReplayKernel:
    """The kernel `replay:PATH`.

    Raises ObjectError for a file that is not there, is no recording, is cut off or holds no tracepoint payloads."""
    try:
        recording = PerfData(path)
    except OSError as error:
        raise ObjectError(f"replaying {path}: {error.strerror} (record one: perf record -e ... -o FILE)") from error
    try:
        return ReplayKernel(PerfSource(recording), f"replay:{os.path.basename(path)}")
    except ObjectError:
        recording.close()
        raise


class PerfSource:
    """An EventSource of one recording. lost: how many events the recording says were lost so far."""

    def __init__(self, recording: PerfData) -> None:
        self._recording = recording
        self._formats = _recorded_formats(recording)
        self.cpus = _cpus(recording)
        self.lost = 0
        self._offered = self._formats | _implied_formats(self._formats)
        self._has_tasks = any(attr.flags & _ATTR_TASK for attr in recording.attrs)
        self._by_attr = {id(attr): fmt for attr in recording.attrs if (fmt := recording.format_of(attr)) is not None}
        self._records: Iterator[Record] = recording.records()
        self._next: Sample | None = None
        self._time_ns = 0
        self._zombies: deque[Task] = deque()

    # ---- EventSource

    def start(self, kernel: SimKernel) -> None:
        self._regs = _register_fields(kernel)
        self._read_on(kernel)
        if self._next is not None:
            kernel.set_context(0, self._time_of(self._next), None)

    def next_time_ns(self) -> int | None:
        return None if self._next is None else self._time_of(self._next)

    def step(self, kernel: SimKernel) -> None:
        sample = self._next
        assert sample is not None, "step is called only while there is a next event"
        self._next = None
        self._time_ns = self._time_of(sample)
        try:
            self._fire(kernel, sample)
        finally:
            self._read_on(kernel)

    def tracepoint_formats(self) -> Mapping[str, TracepointFormat]:
        return self._offered

    def raw_tracepoints(self) -> Iterable[str]:
        """Those whose arguments the recording holds."""
        found = {name.partition(":")[2] for name in (_FORK_EVENT, _EXIT_EVENT) if name in self._formats}
        return found | {name.partition(":")[2] for name in (_RAW_ENTER, _RAW_EXIT) if name in self._offered}

    def functions(self) -> Iterable[str]:
        """The entries of the recorded system calls."""
        prefixes = (_ENTER, _EXIT)
        return {_PREFIX + name.removeprefix(one) for one in prefixes for name in self._formats if name.startswith(one)}

    def has_returns_of(self, function: str) -> bool:
        return _EXIT + function.removeprefix(_PREFIX) in self._formats

    def has_calls_of(self, function: str) -> bool:
        return _ENTER + function.removeprefix(_PREFIX) in self._formats

    def close(self) -> None:
        self._next = None
        self._records = iter(())
        self._recording.close()

    # ---- reading on: everything up to the next sample

    def _time_of(self, record: Record) -> int:
        """When a record happens: never before what happened already, nor without a time."""
        return max(record.time_ns, self._time_ns)

    def _read_on(self, kernel: SimKernel) -> None:
        for record in self._records:
            if isinstance(record, Sample):
                if id(record.attr) in self._by_attr and record.raw:
                    self._check_gap(record)
                    self._next = record
                    return
            elif isinstance(record, Comm):
                self._rename(kernel, record)
            elif isinstance(record, Fork):
                self._fork(kernel, record)
            elif isinstance(record, Exit):
                self._exit(kernel, record.of_tid)
            elif isinstance(record, Lost):
                self.lost += record.count
        self._recording.close()

    def _check_gap(self, sample: Sample) -> None:
        """A clock that jumps by weeks is damage; whoever polls second by second would sit through it."""
        if self._time_ns and self._time_of(sample) - self._time_ns > _MAX_GAP_NS:
            days = (sample.time_ns - self._time_ns) // _DAY_NS
            raise ObjectError(f"replaying: {days} days between two events", "data", sample.offset)

    # ---- tasks

    def _task(self, kernel: SimKernel, pid: int, tid: int) -> Task | None:
        """The task with these ids, made if the recording has not spoken of it before; None for the idle task."""
        if tid <= 0:
            return None
        task = kernel.tasks.get(tid)
        if task is None or (task.tgid != pid and pid > 0):
            task = kernel.tasks.spawn(
                tid, _UNKNOWN_COMM, tgid=pid if pid > 0 else tid, parent=kernel.tasks.idle)
        return task

    def _rename(self, kernel: SimKernel, record: Comm) -> None:
        task = self._task(kernel, record.of_pid, record.of_tid)
        if task is not None and record.is_exec:
            kernel.tasks.exec(task, record.comm)
        elif task is not None:
            kernel.tasks.rename(task, record.comm)

    def _fork(self, kernel: SimKernel, record: Fork) -> None:
        parent = self._task(kernel, record.parent_pid, record.parent_tid) or kernel.tasks.idle
        self._make_child(kernel, parent, record.of_pid, record.of_tid, self._time_of(record))

    @staticmethod
    def _make_child(kernel: SimKernel, parent: Task, pid: int, tid: int, time_ns: int) -> Task | None:
        if tid <= 0 or tid == parent.pid:
            return None
        return kernel.tasks.fork(parent, tid, tgid=pid, time_ns=time_ns)

    def _exit(self, kernel: SimKernel, tid: int) -> None:
        task = kernel.tasks.get(tid)
        if task is None or task.is_exited or tid <= 1:
            return
        kernel.tasks.exit(task, _UNKNOWN_EXIT)
        self._zombies.append(task)
        while len(self._zombies) > _ZOMBIES_KEPT:
            kernel.tasks.reap(self._zombies.popleft())

    # ---- firing

    def _fire(self, kernel: SimKernel, sample: Sample) -> None:
        if sample.cpu >= self.cpus:
            raise ObjectError(f"replaying a sample of cpu {sample.cpu}: the machine had {self.cpus}", "data", sample.offset)
        fmt = self._by_attr[id(sample.attr)]
        name = fmt.full_name
        task = self._task(kernel, sample.pid, sample.tid)
        kernel.set_context(max(sample.cpu, 0), self._time_ns, task)
        if name.startswith(_ENTER) or name == _RAW_ENTER:
            self._enter(kernel, sample, fmt)
        elif name.startswith(_EXIT) or name == _RAW_EXIT:
            self._return(kernel, sample, fmt)
        elif name == _FORK_EVENT:
            self._fork_event(kernel, sample, fmt)
        elif name == _EXIT_EVENT:
            self._exit_event(kernel, sample, fmt)
        else:
            kernel.fire_tracepoint(name, sample.raw)

    def _fork_event(self, kernel: SimKernel, sample: Sample, fmt: TracepointFormat) -> None:
        parent, child_pid = kernel.current, _value(fmt, "child_pid", sample)
        child = kernel.tasks.get(child_pid)
        if (child is None or child.is_exited) and not self._has_tasks:
            child = self._make_child(kernel, parent, child_pid, child_pid, self._time_ns)
        if child is not None:
            kernel.fire_raw_tracepoint("sched_process_fork", (parent.address, child.address))
        kernel.fire_tracepoint(_FORK_EVENT, sample.raw)

    def _exit_event(self, kernel: SimKernel, sample: Sample, fmt: TracepointFormat) -> None:
        task = kernel.current
        if task.comm == _UNKNOWN_COMM:
            kernel.tasks.rename(task, _text(fmt, "comm", sample))
            kernel.set_context(max(sample.cpu, 0), self._time_ns, task)
        if task.pid > 0 and not task.is_exited:
            kernel.tasks.set_exit_code(task, _UNKNOWN_EXIT)
        group_dead = _value(fmt, "group_dead", sample) if fmt.field("group_dead") else 0
        kernel.fire_raw_tracepoint("sched_process_exit", (task.address, group_dead))
        kernel.fire_tracepoint(_EXIT_EVENT, sample.raw)
        if not self._has_tasks:
            self._exit(kernel, task.pid)

    def _enter(self, kernel: SimKernel, sample: Sample, fmt: TracepointFormat) -> None:
        nr, args = _nr(sample), _arguments(fmt, sample)
        regs = self._write_regs(kernel, nr, args)
        is_raw = fmt.full_name == _RAW_ENTER
        if is_raw or _RAW_ENTER not in self._formats:
            kernel.fire_raw_tracepoint("sys_enter", (regs, nr))
        if not is_raw and _RAW_ENTER not in self._formats and kernel.wants_tracepoint(_RAW_ENTER):
            kernel.fire_tracepoint(_RAW_ENTER, kernel.common_fields(_RAW_ENTER) + struct.pack("<7Q", nr & _MASK64, *args))
        kernel.fire_tracepoint(fmt.full_name, sample.raw)
        if not is_raw:
            kernel.fire_kprobe(_PREFIX + fmt.name.removeprefix("sys_enter_"), {"di": regs, "ax": nr & _MASK64})

    def _return(self, kernel: SimKernel, sample: Sample, fmt: TracepointFormat) -> None:
        nr, ret = _nr(sample), _value(fmt, "ret", sample)
        regs = kernel.current.regs
        is_raw = fmt.full_name == _RAW_EXIT
        if not is_raw:
            kernel.fire_kretprobe(_PREFIX + fmt.name.removeprefix("sys_exit_"), {"ax": ret, "di": regs})
        kernel.fire_tracepoint(fmt.full_name, sample.raw)
        if not is_raw and _RAW_EXIT not in self._formats and kernel.wants_tracepoint(_RAW_EXIT):
            kernel.fire_tracepoint(_RAW_EXIT, kernel.common_fields(_RAW_EXIT) + struct.pack("<QQ", nr & _MASK64, ret & _MASK64))
        if is_raw or _RAW_EXIT not in self._formats:
            kernel.fire_raw_tracepoint("sys_exit", (regs, ret))

    def _write_regs(self, kernel: SimKernel, nr: int, args: tuple[int, ...]) -> int:
        """Puts the arguments where the kernel keeps the caller's registers; their address (0: the idle task)."""
        where = kernel.current.regs
        if where:
            di, si, dx, r10, r8, r9 = args
            kernel.memory.write(where, self._regs.image(
                di=di, si=si, dx=dx, r10=r10, r8=r8, r9=r9, orig_ax=nr & _MASK64, ax=-_ENOSYS & _MASK64, cs=_USER_CS))
        return where


class ReplayKernel(SimKernel):
    """A SimKernel over a recording. It has the functions of the recorded system calls only, and says of what was
    not recorded that it was not."""

    def __init__(self, source: PerfSource, spec: str) -> None:
        self._recording = source
        super().__init__(source, spec=spec)

    @property
    def lost_events(self) -> int:
        """How many events the recording says were lost, up to now."""
        return self._recording.lost

    def has_function(self, name: str) -> bool:
        return name in self._recording.functions()

    def functions(self) -> Iterable[str]:
        return tuple(sorted(self._recording.functions()))

    def attach(self, program: Program, hook: Hook) -> Link:
        """As SimKernel.attach; NotSupportedError for a hook that is real but not in the recording."""
        self._check_recorded(hook)
        return super().attach(program, hook)

    def _check_recorded(self, hook: Hook) -> None:
        function = hook.name
        if hook.kind is HookKind.KPROBE and function.startswith(_PREFIX) and not self._recording.has_calls_of(function):
            raise self._not_recorded(hook, _ENTER + function.removeprefix(_PREFIX))
        if hook.kind is HookKind.KRETPROBE and function.startswith(_PREFIX) and not self._recording.has_returns_of(function):
            raise self._not_recorded(hook, _EXIT + function.removeprefix(_PREFIX))
        if hook.kind is HookKind.RAW_TRACEPOINT and function not in self._recording.raw_tracepoints():
            recorded = next((name for name in self.tracepoints() if name.endswith(f":{function}")), None)
            if recorded:
                raise NotSupportedError(
                    f"attaching to {hook}: its arguments are kernel objects, which {self.spec} does not hold (attach to tracepoint"
                    f" {recorded})", "raw tracepoint")

    def _not_recorded(self, hook: Hook, event: str) -> NotSupportedError:
        return NotSupportedError(f"attaching to {hook}: {self.spec} holds no {event} (perf record -e {event})", event)

    def close(self) -> None:
        """As SimKernel.close, and closes the file."""
        super().close()
        self._recording.close()


# ---- what a recording offers


def _recorded_formats(recording: PerfData) -> dict[str, TracepointFormat]:
    """The formats of the recorded tracepoints, in the order of the file. Raises ObjectError if there is none."""
    found = {fmt.full_name: fmt for attr in recording.attrs if (fmt := recording.format_of(attr)) is not None}
    if not found:
        raise ObjectError("replaying: it holds no tracepoint (record some: perf record -e sched:sched_process_exec ...)", "attributes")
    bare = next((attr for attr in recording.attrs if recording.format_of(attr) is not None and not _has_raw(attr)), None)
    if bare is not None:
        raise ObjectError(f"replaying: {bare.name or bare.config} was recorded without its payload (record with -R)", "attributes")
    return found


def _has_raw(attr: PerfAttr) -> bool:
    return bool(attr.sample_type & 1 << 10)


def _implied_formats(recorded: Mapping[str, TracepointFormat]) -> dict[str, TracepointFormat]:
    """raw_syscalls:sys_enter and sys_exit where they follow from what was recorded, with ids that are free."""
    implied: dict[str, TracepointFormat] = {}
    free_id = max(fmt.id for fmt in recorded.values()) + 1
    for raw, one in ((_RAW_ENTER, _ENTER), (_RAW_EXIT, _EXIT)):
        if raw not in recorded and any(name.startswith(one) for name in recorded):
            fmt = parse_format(_RAW_FORMATS[raw], "raw_syscalls")
            implied[raw] = dataclasses.replace(fmt, id=free_id + len(implied))
    return implied


def _cpus(recording: PerfData) -> int:
    """How many CPUs the recorded machine had; where the header does not say, how many its records name."""
    cpus = recording.header.cpus_available
    if not cpus:
        cpus = 1 + max((record.cpu for record, _ in recording.records_in_file_order()), default=0)
    if not 1 <= cpus <= _MAX_CPUS:
        raise ObjectError(f"replaying: a machine of {cpus} cpus (at most {_MAX_CPUS} are simulated)", "nrcpus")
    return cpus


def _register_fields(kernel: SimKernel) -> Fields:
    record = kernel.types.find("struct", "pt_regs")
    assert isinstance(record, RecordType), "kernel.h declares struct pt_regs"
    return Fields(record)


# ---- fields of a payload


def _value(fmt: TracepointFormat, name: str, sample: Sample) -> int:
    """The integer field of that name. Raises ObjectError if the event has none or its payload is too short."""
    field = fmt.field(name)
    if field is None or field.end > len(sample.raw):
        raise ObjectError(f"replaying {fmt.full_name}: no field {name} in {len(sample.raw)} bytes", "data", sample.offset)
    return int.from_bytes(sample.raw[field.offset : field.end], "little", signed=field.signed)


def _text(fmt: TracepointFormat, name: str, sample: Sample) -> str:
    """The characters of that field, an array in the record or after it; _UNKNOWN_COMM if it is not there."""
    field = fmt.field(name)
    if field is None or field.end > len(sample.raw):
        return _UNKNOWN_COMM
    start, end = field.offset, field.end
    if field.is_data_loc:
        place = int.from_bytes(sample.raw[start:end], "little")
        start, end = place & 0xFFFF, (place & 0xFFFF) + (place >> 16)
    return sample.raw[start:end].partition(b"\0")[0].decode("utf-8", "surrogateescape") or _UNKNOWN_COMM


def _nr(sample: Sample) -> int:
    """The system call's number, at byte 8 of all four kinds of records."""
    if len(sample.raw) < 12:
        raise ObjectError(f"replaying a system call: a payload of {len(sample.raw)} bytes", "data", sample.offset)
    return int(_NR.unpack_from(sample.raw, 8)[0])


def _arguments(fmt: TracepointFormat, sample: Sample) -> tuple[int, ...]:
    """The six argument registers, as far as the event records them; the rest are 0."""
    first = fmt.field("args")
    if first is not None and first.size == 48:
        places: Iterable[int] = range(first.offset, first.end, 8)
    else:
        places = (one.offset for one in fmt.fields if one.size == 8 and one.offset >= 16 and not one.is_data_loc)
    words = [int(_WORD.unpack_from(sample.raw, at)[0]) for at in places if at + 8 <= len(sample.raw)]
    return tuple((words + [0] * 6)[:6])
