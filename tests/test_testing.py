"""The pytest plugin and what it offers, as a user of the package has them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.testing import assert_table, fire, in_task, spawn, syscall

_TEXT = """
struct key { u32 pid; char comm[16]; };
struct leaf { u64 calls; u64 ns; u32 uid; s64 last; };
BPF_HASH(started, u32, u64);
BPF_HASH(calls, struct key, struct leaf);
BPF_ARRAY(slots, u64, 8);
BPF_PERCPU_ARRAY(by_cpu, u64, 1);
TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    u32 pid = bpf_get_current_pid_tgid(), zero = 0;
    u64 now = bpf_ktime_get_ns();
    started.update(&pid, &now);
    slots.increment(args->id & 7);
    by_cpu.increment(zero);
    return 0;
}
TRACEPOINT_PROBE(raw_syscalls, sys_exit) {
    struct key key = {.pid = bpf_get_current_pid_tgid()};
    struct leaf zero = {}, *leaf;
    u64 *begin = started.lookup(&key.pid);
    bpf_get_current_comm(key.comm, sizeof(key.comm));
    leaf = calls.lookup_or_try_init(&key, &zero);
    if (!leaf || !begin) return 0;
    leaf->calls++;
    leaf->ns += bpf_ktime_get_ns() - *begin;
    leaf->uid = bpf_get_current_uid_gid();
    leaf->last = args->ret;
    return 0;
}"""


def test_system_calls_of_tasks(bpf: Any) -> None:
    b = bpf(_TEXT)
    shell = spawn(b.kernel, "sh", uid=1000)
    child = spawn(b.kernel, "ls", parent=shell, uid=7)
    with in_task(b.kernel, shell):
        syscall(b.kernel, "write", 1, 0, 5, ret=5, took_ns=700)
        syscall(b.kernel, "close", 1, took_ns=300)
        with in_task(b.kernel, child, cpu=1, after_ns=10):
            syscall(b.kernel, "openat", ret=-2)
    assert shell.pid != child.pid and child.ppid == shell.pid
    assert_table(b["calls"], {
        (shell.pid, b"sh"): {"calls": 2, "ns": 1000, "uid": 1000, "last": 0},
        (child.pid, b"ls"): {"calls": 1, "last": -2}})
    assert_table(b["slots"], [0, 2, 0, 1])
    assert_table(b["by_cpu"], {0: [2, 1]})
    with pytest.raises(AssertionError, match="table slots holds"):
        assert_table(b["slots"], [0, 1])
    with pytest.raises(AssertionError, match="table calls holds"):
        assert_table(b["calls"], {})


def test_tracepoints_by_their_fields(bpf: Any) -> None:
    b = bpf("""
    struct event { u32 pid; char name[32]; };
    BPF_RINGBUF_OUTPUT(events, 4);
    TRACEPOINT_PROBE(sched, sched_process_exec) {
        struct event e = {.pid = args->pid};
        TP_DATA_LOC_READ_CONST(&e.name, filename, sizeof(e.name));
        events.ringbuf_output(&e, sizeof(e), 0);
        return 0;
    }""")
    got: list[tuple[int, bytes]] = []
    b["events"].open_ring_buffer(lambda ctx, data, size: got.append((b["events"].event(data).pid, b["events"].event(data).name)))
    fire(b.kernel, "sched:sched_process_exec", pid=77, filename=b"/bin/true")
    b.ring_buffer_consume()
    assert got == [(77, b"/bin/true")]
    with pytest.raises(ValueError, match=r"it has no field nothing \(it has filename, pid, old_pid\)"):
        fire(b.kernel, "sched:sched_process_exec", nothing=1)
    with pytest.raises(ValueError, match="has no such tracepoint"):
        fire(b.kernel, "sched:nothing")
    with pytest.raises(ValueError, match="there is none of that name"):
        syscall(b.kernel, "nothing")
    with pytest.raises(ValueError, match="at most six arguments"):
        syscall(b.kernel, "read", 1, 2, 3, 4, 5, 6, 7)


def test_nothing_happens_by_itself(bpf_kernel: Any) -> None:
    assert bpf_kernel.spec == "sim:idle" and bpf_kernel.is_finished


@pytest.mark.linux
def test_the_real_kernels_tasks_are_its_own() -> None:
    kernel = LinuxKernel()
    try:
        with pytest.raises(NotSupportedError, match="spawning sh on linux"):
            spawn(kernel, "sh")
    finally:
        kernel.close()


def test_pytest_finds_the_plugin(tmp_path: Path) -> None:
    """In a directory of its own, with no conftest, and a kernel by option."""
    (tmp_path / "test_tool.py").write_text("""
def test_one(bpf, bpf_kernel):
    b = bpf("BPF_ARRAY(n, u64, 1); TRACEPOINT_PROBE(sched, sched_process_exec) { n.increment(0); return 0; }")
    bpf_kernel.sleep(30)
    assert bpf_kernel.spec == "sim:shell,seed=3" and b["n"][0].value > 3
""")
    got = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--bpf-kernel", "sim:shell,seed=3"], cwd=tmp_path,
        capture_output=True, text=True, check=False)
    assert got.returncode == 0 and "1 passed" in got.stdout, got.stdout + got.stderr
    got = subprocess.run([sys.executable, "-m", "pytest", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "--bpf-kernel=SPEC" in got.stdout
