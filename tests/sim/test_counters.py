"""Reading the counters of a perf event array: the same answers as Linux's, with an event there, without, and on another CPU."""

from __future__ import annotations

import os

import pytest

from bcc_py.bpf import BPF, kernel_from_spec
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel

_TEXT = """
BPF_PERF_ARRAY(counters, 8);
BPF_ARRAY(said, s64, 32);
static void say(int at, s64 value) { s64 *place = said.lookup(&at); if (place) *place = value; }
TRACEPOINT_PROBE(syscalls, sys_enter_getppid)
{
    if (bpf_get_current_pid_tgid() >> 32 != WANTED) return 0;
    u64 row[3] = {7, 7, 7};
    say(0, bpf_perf_event_read(&counters, 0xffffffff));
    say(1, bpf_perf_event_read(&counters, 0));
    say(2, bpf_perf_event_read(&counters, 1));
    say(3, bpf_perf_event_read(&counters, 8));
    say(4, bpf_perf_event_read(&counters, 1ull << 40));
    say(5, bpf_perf_event_read_value(&counters, 0xffffffff, (void *)row, 24));
    say(6, row[0]);
    say(7, bpf_perf_event_read_value(&counters, 0xffffffff, (void *)row, 16));
    say(8, row[0] + row[1]);
    row[0] = 7;
    say(9, bpf_perf_event_read_value(&counters, 1, (void *)row, 24));
    say(10, row[0]);
    return 0;
}
"""


def _fire(kernel: Kernel) -> None:
    if isinstance(kernel, SimKernel):
        kernel.set_context(0, 0, kernel.tasks.get(os.getpid()))
        kernel.syscall_enter(110, (0, 0, 0, 0, 0, 0))
    else:
        os.getppid()


def _answers(kernel: Kernel) -> list[int]:
    """Without an event, then with one on each CPU."""
    found = []
    for is_open in (False, True):
        with BPF(text=_TEXT.replace("WANTED", str(os.getpid())), kernel=kernel) as bpf:
            if is_open:
                kernel.open_perf_buffer(bpf._maps["counters"], lambda cpu, record: None, lambda cpu, count: None)
            _fire(kernel)
            found += [bpf["said"][at].value for at in range(11)]
    return found


def test_counters_answer_as_documented() -> None:
    kernel = kernel_from_spec("sim")
    assert isinstance(kernel, SimKernel)
    kernel.tasks.spawn(os.getpid(), "python", parent=kernel.tasks.init)
    assert _answers(kernel) == [-2, -2, -2, -7, -22, -2, 0, -22, 0, -2, 0] + [0, 0, -22, -7, -22, 0, 0, -22, 0, -22, 0]
    kernel.close()


@pytest.mark.linux
def test_linux_answers_the_same() -> None:
    before = os.sched_getaffinity(0)
    ours = kernel_from_spec("sim")
    linux = LinuxKernel()
    assert isinstance(ours, SimKernel)
    ours.tasks.spawn(os.getpid(), "python", parent=ours.tasks.init)
    try:
        os.sched_setaffinity(0, {0})
        assert _answers(linux) == _answers(ours)
    finally:
        os.sched_setaffinity(0, before)
        linux.close()
        ours.close()
