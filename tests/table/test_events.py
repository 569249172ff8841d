"""Events by iteration: on a simulated kernel until its workload is over, on Linux as they come."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest

from bcc_py import BPF, MapError

_TEXT = """
struct event_t { u32 pid; char comm[16]; };
%s
TRACEPOINT_PROBE(sched, sched_process_exec) {
    struct event_t e = {};
    e.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&e.comm, sizeof(e.comm));
    %s
    return 0;
}"""
_PERF = _TEXT % ("BPF_PERF_OUTPUT(events);", "events.perf_submit(args, &e, sizeof(e));")
_RING = _TEXT % ("BPF_RINGBUF_OUTPUT(events, 8);", "events.ringbuf_output(&e, sizeof(e), 0);")
_LINUX = """
struct event_t { u64 number; };
OUTPUT
BPF_ARRAY(count, u64, 1);
TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
    if (bpf_get_current_pid_tgid() >> 32 != WANTED) return 0;
    int at = 0; u64 *number = count.lookup(&at);
    if (!number) return 0;
    struct event_t e = {.number = (*number)++};
    SUBMIT
    return 0;
}"""


def _linux_text(kind: str) -> str:
    output, submit = {"perf": ("BPF_PERF_OUTPUT(events);", "events.perf_submit(args, &e, sizeof(e));"),
                      "ring": ("BPF_RINGBUF_OUTPUT(events, 8);", "events.ringbuf_output(&e, sizeof(e), 0);")}[kind]
    return _LINUX.replace("OUTPUT", output).replace("SUBMIT", submit).replace("WANTED", str(os.getpid()))


def _called_back(text: str, kind: str) -> list[tuple[int, bytes]]:
    """The same events by callback."""
    seen: list[tuple[int, bytes]] = []
    with BPF(text=text, kernel="sim:shell") as bpf:
        events = bpf["events"]

        def callback(first: Any, data: Any, size: int) -> None:
            event = events.event(data)
            seen.append((event.pid, event.comm))

        if kind == "perf":
            events.open_perf_buffer(callback)
        else:
            events.open_ring_buffer(callback)
        while bpf.poll(-1) or not bpf.is_finished:
            pass
    return seen


@pytest.mark.parametrize(("text", "kind"), [(_PERF, "perf"), (_RING, "ring")])
def test_events_of_a_workload(text: str, kind: str) -> None:
    wanted = _called_back(text, kind)
    with BPF(text=text, kernel="sim:shell") as bpf:
        found = [(event.pid, event.comm) for event in bpf["events"]]
        assert bpf.is_finished and list(bpf["events"]) == []
    assert found == wanted and len(found) > 10

    async def collect() -> list[tuple[int, bytes]]:
        rows = []
        with BPF(text=text, kernel="sim:shell") as bpf:
            async for event in bpf["events"]:
                rows.append((event.pid, event.comm))
        return rows

    assert asyncio.run(collect()) == wanted


def test_iteration_goes_on_where_it_stopped() -> None:
    with BPF(text=_RING, kernel="sim:shell") as bpf:
        first = [event.pid for event in itertools.islice(bpf["events"], 3)]
        first += [event.pid for event in itertools.islice(bpf["events"], 5)]
    assert first == [pid for pid, _ in _called_back(_RING, "ring")[:8]]


def test_buffers_of_all_views_are_polled_and_closed() -> None:
    seen: list[str] = []
    with BPF(text=_RING, kernel="sim:shell") as bpf:
        bpf.get_table("events").open_ring_buffer(lambda ctx, data, size: seen.append("own view"))
        while bpf.ring_buffer_poll(-1):
            pass
        assert set(seen) == {"own view"} and bpf.get_table("events").Event is bpf["events"].Event
        (first, *_) = bpf._buffers
    assert first.ring is None


def test_iteration_ends_when_the_buffer_is_closed() -> None:
    with BPF(text=_RING, kernel="sim:shell") as bpf:
        seen = 0
        for _ in bpf["events"]:
            seen += 1
            if seen == 2:
                bpf["events"].close()
                bpf["events"]._waiting.clear()
        assert seen == 2


@pytest.mark.linux
@pytest.mark.parametrize("kind", ["perf", "ring"])
def test_events_of_linux(kind: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with BPF(text=_linux_text(kind), kernel="linux") as bpf:
        numbers: Iterator[Any] = iter(bpf["events"])
        bpf["events"].read_batch()  # opens the buffer
        for _ in range(5):
            os.getppid()
        assert sorted(next(numbers).number for _ in range(5)) == list(range(5))
        numbers.close()  # type: ignore[attr-defined]

        os.getppid()  # is there before anybody waits

        async def collect() -> list[int]:
            others: list[int] = []

            async def ticks() -> None:
                for tick in range(3):
                    await asyncio.sleep(0)
                    others.append(tick)
                    os.getppid()

            task = asyncio.create_task(ticks())
            found = []
            async for event in bpf["events"]:
                found.append(event.number)
                if len(found) == 4:
                    break
            await task
            assert others == [0, 1, 2]
            return found

        assert sorted(asyncio.run(collect())) == [5, 6, 7, 8]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.linux
def test_waiting_can_be_cancelled() -> None:
    async def wait() -> None:
        with BPF(text=_linux_text("ring"), kernel="linux") as bpf:
            async for _ in bpf["events"]:
                raise AssertionError("nobody made an event")

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_events_at_wrong_addresses_are_errors() -> None:
    class Event(ctypes.Structure):
        _fields_ = [("pid", ctypes.c_uint), ("comm", ctypes.c_char * 16)]

    with BPF(text=_PERF, kernel="sim:shell") as bpf:
        events = bpf["events"]
        own = Event(5, b"mine")
        assert events.event(ctypes.addressof(own)).comm == events.event(ctypes.pointer(own)).comm == b"mine"
        for address in (0, 1, 4096, -1, 1 << 63, (1 << 47) - 8, None):
            with pytest.raises((MapError, ctypes.ArgumentError)):
                events.event(address)
