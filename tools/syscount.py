"""syscount: how often each system call returned, or which processes called, and how long they took.

A call is counted where it returns (raw_syscalls:sys_exit), so that its result is known; one that never
returns (exit_group) or began before the tool did has no latency. Calls by processes are counted the same way."""

from __future__ import annotations

import errno as errno_names
from typing import Any

import click

from bcc_py import cli
from bcc_py.bpf import BPF
from bcc_py.cli import clock_text, flag_values, number_of, opened, running, shown, tool
from bcc_py.syscalls import SYSCALL_NAMES, SYSCALL_NUMBERS

__all__ = ["main"]

TEXT = r"""
struct total_t {
    u64 count;
    u64 time_ns;
};

#ifdef LATENCY
BPF_HASH(start, u64, u64);
#endif
BPF_HASH(totals, u32, struct total_t);
BPF_HASH(names, u32, struct { char comm[TASK_COMM_LEN]; });

static inline int is_wanted(u64 id)
{
#ifdef ONLY_PID
    if (id >> 32 != ONLY_PID)
        return 0;
#endif
#ifdef ONLY_TID
    if ((u32)id != ONLY_TID)
        return 0;
#endif
#ifdef ONLY_PPID
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    if (task->real_parent->tgid != ONLY_PPID)
        return 0;
#endif
    return 1;
}

#ifdef LATENCY
TRACEPOINT_PROBE(raw_syscalls, sys_enter)
{
    u64 id = bpf_get_current_pid_tgid();
    if (!is_wanted(id))
        return 0;
    u64 now = bpf_ktime_get_ns();
    start.update(&id, &now);
    return 0;
}
#endif

TRACEPOINT_PROBE(raw_syscalls, sys_exit)
{
    u64 id = bpf_get_current_pid_tgid();
    if (!is_wanted(id))
        return 0;
#ifdef ONLY_SYSCALL
    if (args->id != ONLY_SYSCALL)
        return 0;
#endif
#ifdef ONLY_FAILED
    if (args->ret >= 0)
        return 0;
#endif
#ifdef ONLY_ERRNO
    if (args->ret != -ONLY_ERRNO)
        return 0;
#endif
    u64 time_ns = 0;
#ifdef LATENCY
    u64 *began = start.lookup(&id);
    if (!began)
        return 0;
    time_ns = bpf_ktime_get_ns() - *began;
    start.delete(&id);
#endif
#ifdef BY_PROCESS
    u32 key = id >> 32;
    struct { char comm[TASK_COMM_LEN]; } name = {};
    bpf_get_current_comm(&name.comm, sizeof(name.comm));
    names.update(&key, &name);
#else
    u32 key = args->id;
#endif
    struct total_t zero = {};
    struct total_t *total = totals.lookup_or_try_init(&key, &zero);
    if (total) {
        lock_xadd(&total->count, 1);
        lock_xadd(&total->time_ns, time_ns);
    }
    return 0;
}
"""


def _errno(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """An errno by number or name."""
    if value is None:
        return None
    number = number_of(value, 4096) or getattr(errno_names, value.upper(), None)
    if not number:
        raise click.BadParameter(f"{value!r} is no errno (write a name such as ENOENT, or a number)")
    return number


def _syscall(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A system call by number or name."""
    if value is None:
        return None
    number = SYSCALL_NUMBERS.get(value, number_of(value, 1 << 31))
    if number is None:
        raise click.BadParameter(f"no system call is called {value!r} (see syscount --list)")
    return number


def _list(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        for number, name in sorted(SYSCALL_NAMES.items()):
            print(f"{number:4} {name}")
        ctx.exit()


def _label(bpf: BPF, key: int, by_process: bool) -> str:
    if not by_process:
        return f"{SYSCALL_NAMES.get(key, f'[unknown: {key}]'):22}"
    found = bpf["names"].get(bpf["names"].Key(key))
    comm = shown(bytes(found)) if found is not None else "[unknown]"
    return f"{key:<6} {comm:15}"


def _print_totals(bpf: BPF, top: int, by_process: bool, latency: bool, milliseconds: bool) -> None:
    rows = [(leaf.time_ns if latency else leaf.count, key.value, leaf) for key, leaf in bpf["totals"].items()]
    rows.sort(key=lambda one: (-one[0], one[1]))
    print(f"[{clock_text(bpf)}]")
    unit = "ms" if milliseconds else "us"
    head = f"{'PID':6} {'COMM':15}" if by_process else f"{'SYSCALL':22}"
    print(f"{head} {'COUNT':>8}" + (f" {f'TIME ({unit})':>16}" if latency else ""))
    for _, key, leaf in rows[:top]:
        time: Any = f" {leaf.time_ns / (1e6 if milliseconds else 1e3):>16.3f}" if latency else ""
        print(f"{_label(bpf, key, by_process)} {leaf.count:>8}{time}")
    print(flush=True)
    bpf["totals"].clear()


@tool()
@click.option("-p", "--pid", type=cli.pid, help="Only this process.")
@click.option("-t", "--tid", type=cli.pid, help="Only this thread.")
@click.option("-c", "--ppid", type=cli.pid, help="Only children of this process.")
@click.option("-i", "--interval", type=cli.seconds, help="Print and start anew every this many seconds.")
@click.option("-d", "--duration", type=cli.seconds, help="Stop after this many seconds.")
@click.option("-T", "--top", type=click.IntRange(1), default=10, show_default=True, metavar="N", help="Print only this many rows.")
@click.option("-x", "--failures", is_flag=True, help="Only calls that failed.")
@click.option("-e", "--errno", metavar="ERRNO", callback=_errno, help="Only calls that failed with this errno (ENOENT, 2).")
@click.option("-L", "--latency", is_flag=True, help="Show the time spent in each call, and sort by it.")
@click.option("-m", "--milliseconds", is_flag=True, help="Show times in milliseconds, not microseconds.")
@click.option("-P", "--process", "by_process", is_flag=True, help="Count by process, not by system call.")
@click.option("-s", "--syscall", metavar="SYSCALL", callback=_syscall, help="Only this system call, by name or number.")
@click.option("-l", "--list", is_flag=True, expose_value=False, is_eager=True, callback=_list,
              help="Print the system calls and exit.")
def main(
    kernel: str, pid: int | None, tid: int | None, ppid: int | None, interval: float | None, duration: float | None, top: int,
    failures: bool, errno: int | None, latency: bool, milliseconds: bool, by_process: bool, syscall: int | None,
) -> None:
    """Count system calls by name, or by the process that makes them."""
    flags = flag_values(
        ONLY_PID=pid, ONLY_TID=tid, ONLY_PPID=ppid, ONLY_SYSCALL=syscall, ONLY_ERRNO=errno,
        ONLY_FAILED=1 if failures else None, LATENCY=1 if latency else None, BY_PROCESS=1 if by_process else None,
    )
    what = "processes" if by_process else "syscalls"
    with opened("syscount", TEXT, kernel, flags) as bpf:
        click.echo(f"Tracing {what}, printing top {top}... Ctrl+C to quit.")
        end = None if duration is None else bpf.kernel.now_ns() + int(duration * 1e9)
        try:
            while not bpf.is_finished:
                left = None if end is None else (end - bpf.kernel.now_ns()) / 1e9
                if left is not None and left <= 0:
                    break
                wait = min((one for one in (interval, left) if one is not None), default=None)
                for _ in running(bpf, wait):
                    pass
                if interval is not None:
                    _print_totals(bpf, top, by_process, latency, milliseconds)
        except KeyboardInterrupt:
            print()
        if interval is None or len(bpf["totals"]):
            _print_totals(bpf, top, by_process, latency, milliseconds)


if __name__ == "__main__":
    main()
