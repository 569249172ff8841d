"""python3 bcc_consumer.py EVENTS (ring|perf): for each line on standard input, what an event costs in BCC from its ring to
the callback as a typed event, ns of this process's own time, over that many events of this machine's Linux.

Run by the system's Python, which has BCC; tests.bench.engine asks it."""

from __future__ import annotations

import os
import sys
import time

from bcc import BPF  # type: ignore[import-not-found]

_TEXT = """
struct event { u32 pid; u32 uid; u64 ts; u64 delta; char comm[16]; };
OUTPUT
TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
    struct event e = {};
    e.pid = bpf_get_current_pid_tgid() >> 32;
    if (e.pid != WANTED) return 0;
    bpf_get_current_comm(&e.comm, sizeof(e.comm));
    SUBMIT
    return 0;
}"""


def main() -> None:
    count, is_ring = int(sys.argv[1]), sys.argv[2] == "ring"
    output, submit = ("BPF_RINGBUF_OUTPUT(events, 1024);", "events.ringbuf_output(&e, sizeof(e), 0);") if is_ring else (
        "BPF_PERF_OUTPUT(events);", "events.perf_submit(args, &e, sizeof(e));")
    bpf = BPF(text=_TEXT.replace("OUTPUT", output).replace("SUBMIT", submit).replace("WANTED", str(os.getpid())))
    table, seen = bpf["events"], []

    def on_event(ctx: object, data: object, size: int) -> None:
        seen.append(table.event(data).pid)

    if is_ring:
        table.open_ring_buffer(on_event)
    else:
        table.open_perf_buffer(on_event, page_cnt=1024)
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(2):  # the first for the caches
            for _ in range(count):
                os.getppid()
            before, begin = len(seen), time.thread_time_ns()
            if is_ring:
                bpf.ring_buffer_consume()
            else:
                bpf.perf_buffer_poll(0)
            took = time.thread_time_ns() - begin
        print(took / max(len(seen) - before, 1), len(seen) - before, flush=True)


if __name__ == "__main__":
    main()
