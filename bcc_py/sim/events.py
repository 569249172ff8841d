"""Firing a hook by hand, once or by the million.

A SimHook is a place where programs attach. fire() runs them on one context. fire_batch() runs them on an array of
contexts without Python in between, on one CPU or on several, a thread each: native code does not hold the interpreter's
lock, so they run at the same time, and Python may read maps and rings meanwhile.

Invariant: one thread on a CPU at a time (SimCpu.lock); programs that run are kept alive until the batch is over; an
interrupt stops the threads between two events before it goes on."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from bcc_py.sim.cpu import SimCpu
from bcc_py.sim.task import Task
from bcc_py.spec import Hook

__all__ = ["Buffer", "Fires", "SimHook"]

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[Any] | Any"  # whatever shows its bytes: NumPy's arrays too

_SMALL = 20_000  # events that are run where they are: sooner over than a thread has begun
_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class _Arrays:
    """What a batch reads, as native arrays that keep their owners alive; null where there is none."""

    contexts: Any
    offsets: Any
    times: Any
    tasks: Any
    who: Any
    cpus: Any


class Fires(Protocol):
    """The kernel, as a hook that is fired by hand knows it (SimKernel)."""

    spec: str
    cpus: int

    @property
    def runtime(self) -> Any: ...
    @property
    def current_cpu(self) -> SimCpu: ...
    def cpu(self, number: int) -> SimCpu: ...
    def fire(self, hook: Hook, context: bytes) -> int: ...
    def running(self, hook: Hook) -> AbstractContextManager[list[Any]]: ...
    def describe(self, task: Task, row: Any) -> None: ...
    def after_batch(self, cpus: Iterable[SimCpu], runs: int) -> None: ...


class SimHook:
    """A place to attach, to be fired by hand. hook: which."""

    def __init__(self, kernel: Fires, hook: Hook) -> None:
        self.hook = hook
        self._kernel = kernel

    def fire(self, context: bytes) -> int:
        """Runs what is attached on this context, on the current CPU in the current task (SimKernel.set_context); how
        many programs ran. context: byte for byte what a program sees: a tracepoint's record, a raw tracepoint's
        arguments (up to twelve numbers of 64 bits), the registers of a kprobe (struct pt_regs)."""
        return self._kernel.fire(self.hook, context)

    def fire_batch(
        self, contexts: Buffer, size: int = 0, *, offsets: Buffer | None = None, times: Buffer | None = None,
        tasks: tuple[Sequence[Task], Buffer] | None = None, cpus: int | Buffer | None = None,
    ) -> int:
        """Runs what is attached on each of many contexts; how many there were.

        contexts: bytes-like, not copied: contexts of size bytes each, or, with offsets (n + 1 of 64 bits, ascending),
        of any sizes; one that is shorter than what a program reads is followed by zeros. times: ns on the kernel's clock, 64 bits for each event; a clock never runs back. tasks: tasks,
        and 32 bits for each event: which of them it happens in. cpus: None: on the current CPU; a number: on CPUs 0 to
        it, each with an even share in order; or 32 bits for each event: its CPU. CPUs run at the same time; on each,
        events keep their order.

        Raises ValueError for arrays whose lengths do not agree or that name what does not exist, FaultError in a
        checked kernel."""
        ffi = self._kernel.runtime.ffi
        content = ffi.from_buffer("u8[]", contexts)
        count = _count(ffi, len(content), size, offsets)
        arrays = _Arrays(
            content, _array(ffi, "u64[]", offsets, count + 1, "offsets"), _array(ffi, "u64[]", times, count, "times"),
            _array(ffi, "u32[]", None if tasks is None else tasks[1], count, "tasks"), self._who(tasks),
            _array(ffi, "u32[]", None if cpus is None or isinstance(cpus, int) else cpus, count, "cpus"))
        self._check(arrays, count, len(content), tasks)
        if count:
            with self._kernel.running(self.hook) as programs:
                self._run(self._shares(arrays, count, size, cpus), programs, count)
        return count

    # -- what is given

    def _who(self, tasks: tuple[Sequence[Task], Buffer] | None) -> Any:
        ffi = self._kernel.runtime.ffi
        if tasks is None:
            return ffi.NULL
        made = ffi.new("struct who[]", max(len(tasks[0]), 1))
        for at, one in enumerate(tasks[0]):
            self._kernel.describe(one, made[at])
        return made

    def _check(self, arrays: _Arrays, count: int, size: int, tasks: tuple[Sequence[Task], Buffer] | None) -> None:
        runtime = self._kernel.runtime
        if arrays.offsets and runtime.check_offsets(arrays.offsets, count, size):
            raise ValueError(f"firing {self.hook}: offsets must ascend and end within the {size} bytes of contexts")
        if tasks is not None and runtime.check_below(arrays.tasks, count, len(tasks[0])):
            raise ValueError(f"firing {self.hook}: a task's number is not below {len(tasks[0])}")
        if arrays.cpus and runtime.check_below(arrays.cpus, count, self._kernel.cpus):
            raise ValueError(f"firing {self.hook}: a CPU's number is not below {self._kernel.cpus}")

    def _shares(self, arrays: _Arrays, count: int, size: int, cpus: int | Buffer | None) -> list[tuple[SimCpu, Any]]:
        """(CPU, its struct batch) of each thread."""
        kernel = self._kernel
        if cpus is None:
            return [(kernel.current_cpu, self._batch(arrays, size, 0, count))]
        if not isinstance(cpus, int):
            named = {one for one in range(kernel.cpus) if kernel.runtime.is_named(arrays.cpus, count, one)}
            return [(kernel.cpu(one), self._batch(arrays, size, 0, count)) for one in sorted(named)]
        if not 1 <= cpus <= kernel.cpus:
            raise ValueError(f"firing {self.hook} on {cpus} CPUs: {kernel.spec} has {kernel.cpus}")
        ends = [count * at // cpus for at in range(cpus + 1)]
        return [(kernel.cpu(at), self._batch(arrays, size, ends[at], ends[at + 1])) for at in range(cpus)]

    def _batch(self, arrays: _Arrays, size: int, first: int, end: int) -> Any:
        made = self._kernel.runtime.ffi.new("struct batch *")
        made.first, made.end, made.stride = first, end, size
        made.contexts, made.offsets, made.times = arrays.contexts, arrays.offsets, arrays.times
        made.tasks, made.who, made.cpus = arrays.tasks, arrays.who, arrays.cpus
        return made

    # -- running

    def _run(self, shares: list[tuple[SimCpu, Any]], programs: Sequence[Any], count: int) -> None:
        ffi, run = self._kernel.runtime.ffi, self._kernel.runtime.batch_run
        rows = ffi.new("struct program *[]", list(programs) or [ffi.NULL])

        def go(cpu: SimCpu, batch: Any) -> None:
            with cpu.lock:
                run(cpu.pointer, batch)
                cpu.note_used(int(batch.context_bytes))

        for _, batch in shares:
            batch.programs, batch.program_count = rows, len(programs)
            batch.context_bytes = max((int(one.context_bytes) for one in programs), default=0)
        if len(shares) == 1 and count <= _SMALL:
            go(*shares[0])
        else:
            _run_in_threads(go, shares)
        self._kernel.after_batch([cpu for cpu, _ in shares], len(programs) * sum(int(batch.runs) for _, batch in shares))


def _run_in_threads(go: Callable[[SimCpu, Any], None], shares: list[tuple[SimCpu, Any]]) -> None:
    """go(*share), each in a thread. None begins before all are there, so that an interrupt meets either none that runs or
    only such as can be waited for."""
    gate, is_open = threading.Event(), False

    def wait_and_go(cpu: SimCpu, batch: Any) -> None:
        gate.wait()
        if is_open:
            go(cpu, batch)

    threads = [threading.Thread(target=wait_and_go, args=one, daemon=True) for one in shares]
    try:
        for thread in threads:
            thread.start()
        is_open = True
        gate.set()
        for thread in threads:
            while thread.is_alive():
                thread.join(_WAIT_S)
    finally:
        for _, batch in shares:
            batch.must_stop = 1
        gate.set()
        while is_open and any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(_WAIT_S)


def _count(ffi: Any, room: int, size: int, offsets: Buffer | None) -> int:
    """How many contexts there are."""
    if offsets is not None:
        return max(len(ffi.from_buffer("u64[]", offsets)) - 1, 0)
    if size < 1 or room % size:
        raise ValueError(f"firing on contexts of {size} bytes: {room} bytes were given (a multiple of it is needed)")
    return int(room // size)


def _array(ffi: Any, type: str, given: Buffer | None, count: int, what: str) -> Any:
    if given is None:
        return ffi.NULL
    made = ffi.from_buffer(type, given)
    if len(made) != count:
        raise ValueError(f"firing {count if what != 'offsets' else count - 1} events: {what} has {len(made)} numbers, expected {count}")
    return made
