"""Scripts that say "from bcc import BPF", run and checked by bccpy, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bcc_py.compat import alias_path

_COUNTS = '''
from bcc import BPF
from time import sleep, strftime
import sys, time

b = BPF(text=b"""
BPF_HASH(counts, u32);
TRACEPOINT_PROBE(sched, sched_process_exec) { counts.increment(0); return 0; }
""")
begin = time.time()
print("start", len(sys.argv), sys.argv[1:], __name__)
try:
    sleep(%s)
    print("slept %%.3f" %% (time.time() - begin))
except KeyboardInterrupt:
    print("interrupted after %%.3f" %% (time.time() - begin))
print("execs", b[b"counts"][b["counts"].Key(0)].value > 0)
'''


def _run(tmp_path: Path, text: str, *more: str, command: str = "run", after: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    words = [sys.executable, "-c", "from bcc_py.cli import main; main(prog_name='bccpy')", command, *more, str(script), *after]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)


def test_sleeping_lets_the_simulated_time_go_by(tmp_path: Path) -> None:
    got = _run(tmp_path, _COUNTS % 2, "--kernel", "sim", after=("-x", "--kernel", "12"))
    assert got.returncode == 0, got.stderr
    assert got.stdout.splitlines() == ["start 4 ['-x', '--kernel', '12'] __main__", "slept 2.000", "execs True"]
    assert got.stderr.splitlines() == ["run: sim is not this machine; for that use --kernel linux"]


def test_a_duration_ends_a_script_that_waits_for_ctrl_c(tmp_path: Path) -> None:
    got = _run(tmp_path, _COUNTS % 99999999, "--kernel", "sim", "--duration", "3")
    assert got.returncode == 0, got.stderr
    assert got.stdout.splitlines()[1:] == ["interrupted after 3.000", "execs True"]


def test_two_runs_print_the_same(tmp_path: Path) -> None:
    text = '''
from bcc import BPF
from datetime import datetime
import time
b = BPF(text="""
struct event { u32 pid; char comm[16]; };
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(sched, sched_process_exec) {
    struct event e = {.pid = bpf_get_current_pid_tgid() >> 32};
    bpf_get_current_comm(e.comm, sizeof(e.comm));
    events.perf_submit(args, &e, sizeof(e));
    return 0;
}""")
def show(cpu, data, size):
    event = b["events"].event(data)
    print(time.strftime("%H:%M:%S"), datetime.now().isoformat(), event.pid, event.comm, cpu)
b["events"].open_perf_buffer(show)
while 1:
    try:
        b.perf_buffer_poll()
    except KeyboardInterrupt:
        exit()
'''
    first, second = (_run(tmp_path, text, "--kernel", "sim:shell,seed=7", "--duration", "20") for _ in range(2))
    assert first.returncode == 0, first.stderr
    rows = first.stdout.splitlines()
    assert rows == second.stdout.splitlines() and len(rows) > 3
    assert all(row.startswith("00:0") and "T00:0" in row and "b'" in row for row in rows)


def test_a_script_that_handles_the_interrupt_itself(tmp_path: Path) -> None:
    text = '''
import signal
from bcc import BPF
from time import sleep
is_over = []
signal.signal(signal.SIGINT, lambda *_: is_over.append(1))
b = BPF(text="int f(void *ctx) { return 0; }")
while not is_over:
    sleep(1)
print("over", len(is_over))
'''
    got = _run(tmp_path, text, "--kernel", "sim", "--duration", "5")
    assert (got.returncode, got.stdout) == (0, "over 1\n"), got.stderr


def test_a_script_that_never_ends_is_ended(tmp_path: Path) -> None:
    text = '''
from bcc import BPF
from time import sleep
b = BPF(text="int f(void *ctx) { return 0; }")
while True:
    try:
        sleep(1)
    except KeyboardInterrupt:
        pass
'''
    got = _run(tmp_path, text, "--kernel", "sim", "--duration", "5")
    assert (got.returncode, got.stdout) == (0, ""), got.stderr


def test_files_of_the_kernel_are_the_simulated_ones(tmp_path: Path) -> None:
    text = '''
import os
from bcc import BPF, TRACEFS
symbols = [line.split()[2] for line in open("/proc/kallsyms")]
assert "__x64_sys_execve" in symbols and BPF.ksymname("__x64_sys_execve") == int(
    next(line for line in open("/proc/kallsyms") if line.split()[2] == "__x64_sys_execve").split()[0], 16)
for root in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
    assert "sched" in os.listdir(root + "/events") and "sched_switch" in os.listdir(root + "/events/sched")
    assert os.path.exists(root + "/events/sched/sched_switch/format") and os.path.isdir(root + "/events/sched")
    assert not os.path.exists(root + "/events/sched/no_such_event")
    with open(root + "/events/sched/sched_switch/format", "rb") as file:
        text = file.read()
    assert text.startswith(b"name: sched_switch\\nID: ") and b"field:pid_t prev_pid;" in text
    assert b"sched:sched_switch\\n" in open(root + "/available_events", "rb").read()
assert BPF.tracepoint_exists("sched", "sched_switch") and not BPF.tracepoint_exists(b"sched", b"nothing")
assert b"sched:sched_switch" in BPF.get_tracepoints(b"sched:.*")
assert BPF.get_kprobe_functions(b"__x64_sys_exec.*") == {b"__x64_sys_execve", b"__x64_sys_execveat"}
assert (BPF.kernel_struct_has_field("task_struct", "pid"), BPF.kernel_struct_has_field(b"task_struct", b"nothing"),
        BPF.kernel_struct_has_field("nothing", "pid")) == (1, 0, -1)
assert BPF.support_kfunc() and not BPF.support_lsm() and BPF.support_raw_tracepoint()
print("all", open(__file__).read()[1:10])
'''
    got = _run(tmp_path, text, "--kernel", "sim")
    assert (got.returncode, got.stdout) == (0, "all import os\n"), got.stderr


def test_errors_of_a_script_are_its_own(tmp_path: Path) -> None:
    got = _run(tmp_path, 'from bcc import BPF\nBPF(text="int f(void *ctx) { return nothing; }")\n', "--kernel", "sim")
    assert got.returncode == 1 and "script.py" in got.stderr and "'nothing'" in got.stderr
    got = _run(tmp_path, "", "--kernel", "no-kernel")
    assert got.returncode == 1 and "no kernel is called 'no-kernel'" in got.stderr and "Traceback" not in got.stderr


def test_the_log_of_a_refused_program_is_said(tmp_path: Path) -> None:
    text = '''
from bcc import BPF
b = BPF(text="int f(struct pt_regs *ctx) { u64 *p = 0; return *(volatile u64 *)((u64)ctx->sp | 1); }")
b = BPF(text="BPF_HASH(h); int f(void *ctx) { u64 k = 0, *v = h.lookup(&k); return *v; }")
try:
    b.load_func("f", BPF.KPROBE)
except Exception as error:
    print(type(error).__mro__[-3].__name__, "R0 invalid mem access" in str(error))
'''
    got = _run(tmp_path, text, "--kernel", "sim")
    assert got.stdout == "Exception True\n" and "R0 invalid mem access 'map_value_or_null'" in got.stderr


def test_the_alias_by_pythonpath(tmp_path: Path) -> None:
    """Scripts that are programs of their own: `import bcc` is ours, and all objects are on one kernel."""
    text = '''
import bcc, bcc.utils, bcc.table
from bcc import BPF
a = BPF(text='BPF_TABLE_PUBLIC("hash", u32, u32, shared, 16);')
b = BPF(text='BPF_TABLE("extern", u32, u32, shared, 16);')
a["shared"][a["shared"].Key(1)] = a["shared"].Leaf(7)
print(b["shared"][b["shared"].Key(1)].value, bcc.__name__, a.kernel is b.kernel, type(b.load_funcs()))
'''
    script = tmp_path / "script.py"
    script.write_text(text)
    environment = {**os.environ, "PYTHONPATH": alias_path(), "BCC_PY_KERNEL": "sim"}
    got = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment)
    assert got.stdout == "7 bcc_py.compat.bcc True <class 'list'>\n", got.stderr


def test_checking_runs_nothing(tmp_path: Path) -> None:
    text = '''
import sys
from bcc import BPF
b = BPF(text="""
BPF_HASH(h);
int good(void *ctx) { h.increment(1); return 0; }
int bad(void *ctx) { u64 k = 0, *v = h.lookup(&k); return *v; }
TRACEPOINT_PROBE(sched, sched_switch) { return 0; }
""")
b.attach_kprobe(event="a_function_of_another_kernel", fn_name="good")
print("rows of the script")
if sys.argv[1:] == ["--bad"]:
    b.attach_kprobe(event="vfs_read", fn_name="bad")
b.trace_print()
open("never", "w")
'''
    got = _run(tmp_path, text, "--kernel", "sim", command="check")
    assert got.returncode == 0, got.stderr
    assert [line.split() for line in got.stdout.splitlines()] == [
        ["tracepoint__sched__sched_switch", "TRACEPOINT", "2", "insns", "ok"], ["good", "KPROBE", *got.stdout.splitlines()[1].split()[2:]]]
    assert got.stdout.splitlines()[1].endswith("ok") and "rows of the script" in got.stderr and not (tmp_path / "never").exists()
    got = _run(tmp_path, text, "--kernel", "sim", command="check", after=("--bad",))
    assert got.returncode == 1 and "invalid mem access 'map_value_or_null'" in got.stdout.splitlines()[-1] + got.stdout


@pytest.mark.parametrize(("text", "words"), [
    ("import sys; sys.exit('nothing to do')", "it ends with nothing to do before it loads anything"),
    ("from bcc import BPF\nBPF(text='int f(')", "error:"),
    ("raise LookupError('here')", "LookupError: here"),
])
def test_checking_a_script_that_fails(tmp_path: Path, text: str, words: str) -> None:
    got = _run(tmp_path, text, "--kernel", "sim", command="check")
    assert got.returncode == 1 and words in got.stdout and "Traceback" not in got.stderr
