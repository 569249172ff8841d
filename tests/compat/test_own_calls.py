"""A script's own calls on a simulated kernel: the system calls that Linux sees the same script make, and children."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bcc_py.compat import alias_path
from bcc_py.linux import feature

# counts system calls of the script's own, by number, while it does some; argv: the numbers that are shown
_SCRIPT = '''
import ctypes, os, sys, time
from bcc import BPF

b = BPF(text="""
BPF_HASH(entered, u64, u64);
BPF_HASH(failed, u64, u64);
TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    u64 nr = args->id;
    if (bpf_get_current_pid_tgid() >> 32 == PID)
        entered.atomic_increment(nr);
    return 0;
}
TRACEPOINT_PROBE(raw_syscalls, sys_exit) {
    u64 nr = args->id;
    if (bpf_get_current_pid_tgid() >> 32 == PID && args->ret < 0)
        failed.atomic_increment(nr);
    return 0;
}
""".replace("PID", str(os.getpid())))
libc = ctypes.CDLL("libc.so.6")
for turn in range(3):
    os.getuid()
    os.getgid()
os.geteuid()
libc.getegid()
fd = os.open("made", os.O_CREAT | os.O_WRONLY)
os.fsync(fd)
os.unlink("made")
for missing in ("none", "neither"):
    try:
        os.rmdir(missing)
    except FileNotFoundError:
        pass
time.sleep(0.01)
time.sleep(0.01)
for table in ("entered", "failed"):
    counts = {key.value: value.value for key, value in b[table].items()}
    print(table, [counts.get(int(nr), 0) for nr in sys.argv[1:]])
'''
# getuid, getgid, geteuid, getegid, fsync, unlink, rmdir, clock_nanosleep
_NUMBERS = ("102", "104", "107", "108", "74", "87", "84", "230")


def _run(tmp_path: Path, text: str, kernel: str, *argv: str) -> list[str]:
    """What a script prints that finds the alias on PYTHONPATH."""
    script = tmp_path / "script.py"
    script.write_text(text)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "BCC_PY_KERNEL": kernel, "PYTHONPATH": os.pathsep.join([alias_path(), root])}
    got = subprocess.run([sys.executable, str(script), *argv], capture_output=True, text=True, timeout=120, check=False,
                         cwd=tmp_path, env=environment)
    assert got.returncode == 0, got.stderr
    return got.stdout.splitlines()


def test_each_function_makes_its_system_call(tmp_path: Path) -> None:
    assert _run(tmp_path, _SCRIPT, "sim", *_NUMBERS) == ["entered [3, 3, 1, 1, 1, 1, 2, 2]", "failed [0, 0, 0, 0, 0, 0, 2, 0]"]


@pytest.mark.linux
def test_linux_sees_the_same_calls(tmp_path: Path) -> None:
    if os.getuid() or feature.tracefs() is None:
        pytest.skip("attaching to tracepoints needs root and tracefs")
    assert _run(tmp_path, _SCRIPT, "linux", *_NUMBERS) == _run(tmp_path, _SCRIPT, "sim", *_NUMBERS)


_CHILDREN = '''
import os, subprocess
from bcc import BPF

b = BPF(text="""
struct seen { u32 cpu; u32 ppid; char name[32]; };
BPF_HASH(execs, u32, struct seen);
BPF_HASH(slept, u32, u32);
BPF_HASH(ended, u32, u32);
TRACEPOINT_PROBE(sched, sched_process_exec) {
    struct seen one = {.cpu = bpf_get_smp_processor_id()};
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u32 pid = args->pid;
    one.ppid = task->real_parent->tgid;
    TP_DATA_LOC_READ_CONST(one.name, filename, 32);
    execs.update(&pid, &one);
    return 0;
}
TRACEPOINT_PROBE(syscalls, sys_enter_clock_nanosleep) {
    u32 pid = bpf_get_current_pid_tgid() >> 32, cpu = bpf_get_smp_processor_id();
    slept.update(&pid, &cpu);
    return 0;
}
TRACEPOINT_PROBE(sched, sched_process_exit) {
    u32 pid = args->pid;
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u32 code = task->exit_code >> 8;
    ended.update(&pid, &code);
    return 0;
}
""")
on_1 = subprocess.Popen(["taskset", "-c", "1", "sleep", "0.01"])
on_1.wait()
fails = subprocess.Popen("exit 3", shell=True)
fails.wait()
os.popen("hostname").read()
forked = os.fork()
if not forked:
    os._exit(5)
os.waitpid(forked, 0)
own = {k.value: v for k, v in b["execs"].items() if v.ppid == os.getpid()}
print(sorted((v.name.decode(), v.cpu) for v in own.values() if v.name != b"/bin/sh"), len(own))
print([b["slept"][b["slept"].Key(on_1.pid)].value, b["ended"][b["ended"].Key(fails.pid)].value, b["ended"][b["ended"].Key(forked)].value])
print(open(f"/proc/{os.getpid()}/stat").read().split()[0] == str(os.getpid()))
'''


def test_children_execute_sleep_and_exit(tmp_path: Path) -> None:
    assert _run(tmp_path, _CHILDREN, "sim") == ["[('hostname', 0), ('sleep', 1)] 3", "[1, 3, 5]", "True"]


_OWN_BPF = '''
from bcc import BPF

b = BPF(text="""
BPF_ARRAY(counts, u64, 2);
BPF_HASH(other, u64, u64);
int enters(struct pt_regs *ctx) { counts.atomic_increment(0); return 0; }
int leaves(struct pt_regs *ctx) { counts.atomic_increment(1); return 0; }
""")
name = b.get_syscall_fnname("bpf")
b.attach_kprobe(event=name, fn_name="enters")
b.attach_kretprobe(event=name, fn_name="leaves")
for key in range(5):
    b["other"][b["other"].Key(key)] = b["other"].Leaf(1)
b.detach_kretprobe(name)
b.detach_kprobe(name)
print([one.value for one in b["counts"].values()])
'''


def test_objects_are_made_and_used_by_bpf(tmp_path: Path) -> None:
    """One program is loaded after the first is attached, and five keys are written, of which each enters and leaves."""
    assert _run(tmp_path, _OWN_BPF, "sim") == ["[6, 5]"]


_OPENED = '''
import os
from bcc import BPF

b = BPF(text="""
struct opened { u64 flags; char name[32]; };
BPF_QUEUE(names, struct opened, 64);
TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
    struct opened one = {.flags = args->flags & 0xfff};
    if (bpf_get_current_pid_tgid() >> 32 == PID) {
        bpf_probe_read_user_str(one.name, sizeof(one.name), args->filename);
        names.push(&one, 0);
    }
    return 0;
}
""".replace("PID", str(os.getpid())))
open("first", "w").close()
open("first", "a+").close()
open("first").close()
os.close(os.open("first", os.O_RDWR))
seen = [one for one in b["names"].values() if one.name == b"first"]
print([(one.name.decode(), one.flags) for one in seen])
'''


@pytest.mark.parametrize("kernel", ["sim", pytest.param("linux", marks=pytest.mark.linux)])
def test_files_are_opened_by_name(tmp_path: Path, kernel: str) -> None:
    """O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_APPEND, O_RDONLY, O_RDWR."""
    if kernel == "linux" and (os.getuid() or feature.tracefs() is None):
        pytest.skip("attaching to tracepoints needs root and tracefs")
    assert _run(tmp_path, _OPENED, kernel) == [str([("first", 0o1101 & 0xFFF), ("first", 0o2102 & 0xFFF), ("first", 0), ("first", 2)])]
