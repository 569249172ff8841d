"""Perf events of the software kind on the simulated kernel: clocks that take samples while the workload runs.

CPU_CLOCK and TASK_CLOCK run the attached program on each CPU that was asked for, whenever the event's period of virtual time
has gone by, in the task that is on that CPU. CONTEXT_SWITCHES runs it at every switch. Of page faults, migrations and
alignment faults the workload has none: they can be attached to, and nothing comes. Counters of the hardware are refused.
Once nothing will happen any more, no sample is taken.
Source: kernel/events/core.c, perf_swevent_init_hrtimer and perf_swevent_start_hrtimer (periods below 10 us become 10 us)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from bcc_py.errors import AttachError, NotSupportedError
from bcc_py.sim.cpu import SimCpu
from bcc_py.sim.hooks import Runnable, SimLink
from bcc_py.sim.task import Task
from bcc_py.spec import Hook

__all__ = ["Sampler", "check_event"]

_SOFTWARE = 1
_CPU_CLOCK, _TASK_CLOCK, _CONTEXT_SWITCHES = 0, 1, 3
# PAGE_FAULTS, CPU_MIGRATIONS, PAGE_FAULTS_MIN, PAGE_FAULTS_MAJ, ALIGNMENT_FAULTS, EMULATION_FAULTS, DUMMY
_SILENT = (2, 4, 5, 6, 7, 8, 9)
_FREQ = 1 << 10  # of the flags
_SHORTEST_NS = 10_000
_EINVAL = 22
_TAIL = struct.Struct("<QQ")


@dataclass(slots=True)
class _Event:
    """period: ns between samples, or switches; 0: never. next_ns: when the next is due. left: switches until then."""

    link: SimLink
    program: Runnable
    config: int
    cpus: tuple[int, ...]
    pid: int
    period: int
    next_ns: int
    left: int


def check_event(hook: Hook, cpus: int) -> None:
    """Raises NotSupportedError for an event that a simulated kernel does not count, AttachError for a CPU that it lacks."""
    type, _, config = hook.name.partition(":")
    if type != str(_SOFTWARE) or int(config) not in (_CPU_CLOCK, _TASK_CLOCK, _CONTEXT_SWITCHES, *_SILENT):
        raise NotSupportedError(
            f"attaching to {hook}: a simulated kernel counts no such perf events (it has software events, type 1; or use --kernel linux)",
            hook.kind.value)
    if hook.event is not None and hook.event.cpu >= cpus:
        raise AttachError(f"attaching to {hook}: there is no CPU {hook.event.cpu} of {cpus}", str(hook), _EINVAL)


def _period(attr: bytes, is_clock: bool) -> int:
    """struct perf_event_attr: sample_period or sample_freq at 16, the flags at 40."""
    period, flags = int.from_bytes(attr[16:24], "little"), int.from_bytes(attr[40:48], "little")
    if is_clock and period:
        return max(1_000_000_000 // period if flags & _FREQ else period, _SHORTEST_NS)
    return 1 if flags & _FREQ and period else period


class Sampler:
    """The perf events that programs are attached to. run: on a CPU, on a context, in whatever is current there."""

    def __init__(self, run: Callable[[SimLink, Runnable, bytes], None], regs: Callable[[Task], bytes]) -> None:
        self._run = run
        self._regs = regs
        self._events: list[_Event] = []

    def add(self, link: SimLink, program: Runnable, cpus: int, now_ns: int) -> None:
        """From now on link's event runs program. cpus: how many there are."""
        event = link.hook.event
        if event is None:
            return
        config = int(link.hook.name.partition(":")[2])
        period = _period(event.attr, config in (_CPU_CLOCK, _TASK_CLOCK))
        wanted = tuple(range(cpus)) if event.cpu < 0 else (event.cpu,)
        self._events.append(_Event(link, program, config, wanted, event.pid, period, now_ns + period, period))

    def remove(self, link: SimLink) -> None:
        self._events = [one for one in self._events if one.link is not link]

    def next_ns(self) -> int | None:
        """When the next sample is due, None if none is."""
        return min((one.next_ns for one in self._events if one.period and one.config in (_CPU_CLOCK, _TASK_CLOCK)), default=None)

    def sample(self, now_ns: int, running: Callable[[int], Task], stand: Callable[[int, Task], None]) -> None:
        """Takes the samples that are due. running: who is on a CPU; stand: makes a CPU and its task the current ones."""
        for one in self._events:
            if not one.period or one.config not in (_CPU_CLOCK, _TASK_CLOCK) or one.next_ns > now_ns:
                continue
            one.next_ns += one.period
            for cpu in one.cpus:
                task = running(cpu)
                if one.pid in (-1, task.pid):
                    stand(cpu, task)
                    self._run(one.link, one.program, self._context(task, one.period))

    def switched(self, cpu: SimCpu, task: Task) -> None:
        """task leaves the CPU, on which it is still the current one."""
        for one in self._events:
            if one.config == _CONTEXT_SWITCHES and one.period and cpu.pointer.number in one.cpus and one.pid in (-1, task.pid):
                one.left -= 1
                if not one.left:
                    one.left = one.period
                    self._run(one.link, one.program, self._context(task, one.period))

    def _context(self, task: Task, period: int) -> bytes:
        """struct bpf_perf_event_data."""
        return self._regs(task) + _TAIL.pack(period, 0)
