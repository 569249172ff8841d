"""execsnoop: every program that is executed, with its arguments.

Three tracepoints tell the story: sys_enter_execve has the arguments (user memory), sched_process_exec the
file that was found, sys_exit_execve the result. They go through one ring buffer, which keeps their order
across CPUs; the rows are put together here. Where the arguments cannot be read (a recording has no user
memory) the file stands for them in brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import click

from bcc_py import cli
from bcc_py.cli import clock_text, flag_values, follow, opened, shown, tool

__all__ = ["main"]

TEXT = r"""
#define WORD_BYTES 128

enum { WORD = 0, FILE_FOUND = 1, RESULT = 2 };

struct event_t {
    u64 time_ns;
    u32 pid;
    u32 ppid;
    u32 uid;
    int kind;
    int result;
    int is_last;
    char comm[TASK_COMM_LEN];
    char word[WORD_BYTES];
};

BPF_RINGBUF_OUTPUT(events, 256);
BPF_PERCPU_ARRAY(scratch, struct event_t, 1);
BPF_PERCPU_ARRAY(lost, u64, 1);

static inline struct event_t *new_event(int kind)
{
    int zero = 0;
    struct event_t *event = scratch.lookup(&zero);
    if (!event)
        return 0;
    u32 uid = bpf_get_current_uid_gid();
#ifdef ONLY_UID
    if (uid != ONLY_UID)
        return 0;
#endif
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u32 ppid = task->real_parent->tgid;
#ifdef ONLY_PPID
    if (ppid != ONLY_PPID)
        return 0;
#endif
    event->time_ns = bpf_ktime_get_ns();
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->ppid = ppid;
    event->uid = uid;
    event->kind = kind;
    event->result = 0;
    event->is_last = 0;
    event->word[0] = 0;
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    return event;
}

static inline void send(struct event_t *event)
{
    if (events.ringbuf_output(event, sizeof(*event), 0)) {
        int zero = 0;
        u64 *count = lost.lookup(&zero);
        if (count)
            *count += 1;
    }
}

static inline int send_words(const char *const *words)
{
    struct event_t *event = new_event(WORD);
    if (!event)
        return 0;
#pragma unroll
    for (int i = 0; i < MAX_WORDS; i++) {
        const char *word = 0;
        if (bpf_probe_read_user(&word, sizeof(word), &words[i]) || !word)
            return 0;
        if (bpf_probe_read_user_str(event->word, sizeof(event->word), word) < 0)
            return 0;
        send(event);
    }
    const char *more = 0;
    if (!bpf_probe_read_user(&more, sizeof(more), &words[MAX_WORDS]) && more) {
        event->is_last = 1;
        send(event);
    }
    return 0;
}

static inline int send_result(int result)
{
    struct event_t *event = new_event(RESULT);
    if (!event)
        return 0;
    event->result = result;
    send(event);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_execve)
{
    return send_words((const char *const *)args->argv);
}

TRACEPOINT_PROBE(syscalls, sys_exit_execve)
{
    return send_result(args->ret);
}

#ifdef HAS_EXECVEAT
TRACEPOINT_PROBE(syscalls, sys_enter_execveat)
{
    return send_words((const char *const *)args->argv);
}

TRACEPOINT_PROBE(syscalls, sys_exit_execveat)
{
    return send_result(args->ret);
}
#endif

TRACEPOINT_PROBE(sched, sched_process_exec)
{
    struct event_t *event = new_event(FILE_FOUND);
    if (!event)
        return 0;
    TP_DATA_LOC_READ_STR(event->word, filename, sizeof(event->word));
    send(event);
    return 0;
}
"""


@dataclass(slots=True)
class _Exec:
    """What is known of an execve that has not returned."""

    words: list[str] = field(default_factory=list)
    has_more: bool = False
    file: str = ""


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _arguments(one: _Exec, quote: bool) -> str:
    words = [_quoted(word) for word in one.words] if quote else one.words
    if not words and one.file:
        words = [f"[{one.file}]"]
    return " ".join(words + (["..."] if one.has_more else []))


@tool()
@click.option("-T", "--time", "show_time", is_flag=True, help="Show the time of day (HH:MM:SS).")
@click.option("-t", "--timestamp", is_flag=True, help="Show the seconds since the first row.")
@click.option("-x", "--fails", is_flag=True, help="Show failed executions too.")
@click.option("-u", "--uid", type=click.IntRange(0, (1 << 32) - 1), metavar="UID", help="Only this user id.")
@click.option("-U", "--print-uid", is_flag=True, help="Show the user id.")
@click.option("-P", "--ppid", type=cli.pid, help="Only children of this process.")
@click.option("-n", "--name", type=cli.regex, help="Only commands whose name contains this.")
@click.option("-l", "--line", type=cli.regex, help="Only commands whose arguments contain this.")
@click.option("-q", "--quote", is_flag=True, help="Put each argument in quotation marks.")
@click.option("--max-args", type=click.IntRange(1, 60), default=20, show_default=True, metavar="N", help="Show at most this many arguments.")
@click.option("-d", "--duration", type=cli.seconds, help="Stop after this many seconds.")
def main(
    kernel: str, show_time: bool, timestamp: bool, fails: bool, uid: int | None, print_uid: bool, ppid: int | None,
    name: re.Pattern[str] | None, line: re.Pattern[str] | None, quote: bool, max_args: int, duration: float | None,
) -> None:
    """Show every program that is executed, with its arguments."""
    flags = flag_values(MAX_WORDS=max_args, ONLY_UID=uid, ONLY_PPID=ppid)
    with opened("execsnoop", TEXT, kernel, flags) as bpf:
        header = ["TIME    "] * show_time + ["TIME(s) "] * timestamp + ["UID   "] * print_uid
        print(" ".join([*header, f"{'PCOMM':16} {'PID':7} {'PPID':7} {'RET':>3} ARGS"]), flush=True)
        pending: dict[int, _Exec] = {}
        start = 0

        def on_event(_ctx: Any, data: Any, _size: int) -> None:
            nonlocal start
            event = bpf["events"].event(data)
            one = pending.setdefault(event.pid, _Exec())
            if event.kind == 0 and event.is_last:
                one.has_more = True
            elif event.kind == 0:
                one.words.append(shown(bytes(event.word)))
            elif event.kind == 1:
                one.file = shown(bytes(event.word))
            else:
                del pending[event.pid]
                text = _arguments(one, quote)
                comm = shown(event.comm)
                if (event.result and not fails) or (name and not name.search(comm)) or (
                        line and not line.search(text)):
                    return
                start = start or event.time_ns
                row = [clock_text(bpf)] * show_time + [f"{(event.time_ns - start) / 1e9:<8.3f}"] * timestamp
                row += [f"{event.uid:<6}"] * print_uid
                print(" ".join([*row, f"{comm:16} {event.pid:<7} {event.ppid:<7} {event.result:>3} {text}"]), flush=True)

        bpf["events"].open_ring_buffer(on_event)
        follow("execsnoop", bpf, duration)


if __name__ == "__main__":
    main()
