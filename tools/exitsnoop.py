"""exitsnoop: every process that ends, how old it was and why it ended.

sched_process_exit fires in the dying task, whose task_struct has the exit code and the start time."""

from __future__ import annotations

import signal
from typing import Any

import click

from bcc_py import cli
from bcc_py.cli import clock_text, flag_values, follow, opened, shown, tool

__all__ = ["main"]

TEXT = r"""
struct event_t {
    u64 start_ns;
    u64 end_ns;
    u32 pid;
    u32 tid;
    u32 ppid;
    int exit_code;
    char comm[TASK_COMM_LEN];
};

BPF_RINGBUF_OUTPUT(events, 64);
BPF_PERCPU_ARRAY(lost, u64, 1);

TRACEPOINT_PROBE(sched, sched_process_exit)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u64 id = bpf_get_current_pid_tgid();
    u32 pid = id >> 32, tid = id;
#ifndef EACH_THREAD
    if (pid != tid)
        return 0;
#endif
#ifdef ONLY_PID
    if (pid != ONLY_PID)
        return 0;
#endif
    int exit_code = task->exit_code;
#ifdef ONLY_FAILED
    if (!exit_code)
        return 0;
#endif
    struct event_t event = {.pid = pid, .tid = tid, .exit_code = exit_code};
    event.start_ns = task->start_time;
    event.end_ns = bpf_ktime_get_ns();
    event.ppid = task->real_parent->tgid;
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    if (events.ringbuf_output(&event, sizeof(event), 0)) {
        int zero = 0;
        u64 *count = lost.lookup(&zero);
        if (count)
            *count += 1;
    }
    return 0;
}
"""

_CORE_DUMPED = 0x80
_SIGNAL = 0x7F


def _age(start_ns: int, end_ns: int) -> str:
    """Seconds. The start of a process that is older than the recording is 0."""
    return f"{(end_ns - start_ns) / 1e9:.2f}" if start_ns else "unknown"


def _reason(exit_code: int) -> str:
    """What an exit code says: "0", "code N", "signal N (NAME)". A recording does not know: negative."""
    if exit_code < 0:
        return "unknown"
    number = exit_code & _SIGNAL
    if number:
        try:
            name = f" ({signal.Signals(number).name[3:]})"
        except ValueError:
            name = ""
        return f"signal {number}{name}" + (", core dumped" if exit_code & _CORE_DUMPED else "")
    return f"code {exit_code >> 8}" if exit_code >> 8 else "0"


@tool()
@click.option("-t", "--timestamp", is_flag=True, help="Show the time of day of the exit.")
@click.option("-p", "--pid", type=cli.pid, help="Only this process.")
@click.option("--label", help="Put this word before every row.")
@click.option("-x", "--failed", is_flag=True, help="Only exits with a code other than 0 or by a signal.")
@click.option("--per-thread", is_flag=True, help="Every thread, not only each process's first.")
@click.option("-d", "--duration", type=cli.seconds, help="Stop after this many seconds.")
def main(
    kernel: str, timestamp: bool, pid: int | None, label: str | None, failed: bool, per_thread: bool, duration: float | None
) -> None:
    """Show every process that ends, its age and its exit code."""
    flags = flag_values(ONLY_PID=pid, ONLY_FAILED=1 if failed else None, EACH_THREAD=1 if per_thread else None)
    with opened("exitsnoop", TEXT, kernel, flags) as bpf:
        head = ["TIME    "] * timestamp + ([f"{'LABEL':{max(len(label), 5)}}"] if label else [])
        print(" ".join([*head, f"{'PCOMM':16} {'PID':7} {'PPID':7} {'TID':7} {'AGE(s)':>8} EXIT_CODE"]), flush=True)

        def on_event(_ctx: Any, data: Any, _size: int) -> None:
            event = bpf["events"].event(data)
            comm = shown(event.comm)
            row = [clock_text(bpf)] * timestamp + ([f"{label:{max(len(label), 5)}}"] if label else [])
            age = _age(event.start_ns, event.end_ns)
            row.append(f"{comm:16} {event.pid:<7} {event.ppid:<7} {event.tid:<7} {age:>8} {_reason(event.exit_code)}")
            print(" ".join(row), flush=True)

        bpf["events"].open_ring_buffer(on_event)
        follow("exitsnoop", bpf, duration)


if __name__ == "__main__":
    main()
