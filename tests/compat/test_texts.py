"""C texts that the alias's modules make: they compile, and a kernel takes them."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import pytest

from bcc_py.bpf import BPF
from bcc_py.compat.containers import filter_by_containers
from bcc_py.compat.utils import StrcmpRewrite
from bcc_py.testing import assert_table, in_task, spawn, syscall


def test_string_comparisons_in_filters() -> None:
    made = StrcmpRewrite.rewrite_expr('STRCMP("ls", (char *)c) || (STRCMP("s(h", d(c)) && 1)', False, None, {"d(c)"}, "", 3)
    assert made["expr"] == "streq_3((char *)(char *)c) || (streq_4((char *)d(c)) && 1)" and made["probeid"] == 5
    functions = made["streq_functions"]
    assert "bpf_probe_read_kernel" in functions.partition("streq_4")[0] and "bpf_probe_read_user" in functions.partition("streq_4")[2]


def test_a_comparison_runs() -> None:
    made = StrcmpRewrite.rewrite_expr('STRCMP("ls", task->comm)', False, None, set(), "", 0)
    text = made["streq_functions"] + """
    #include <linux/sched.h>
    BPF_HASH(seen, u32);
    TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
        struct task_struct *task = (struct task_struct *)bpf_get_current_task();
        if (FILTER) seen.increment(bpf_get_current_pid_tgid());
        return 0;
    }""".replace("FILTER", made["expr"])
    with BPF(text=text, kernel="sim:idle") as bpf:
        tasks = [spawn(bpf.kernel, name) for name in ("ls", "lsof", "l")]
        for task in tasks:
            with in_task(bpf.kernel, task):
                syscall(bpf.kernel, "getpid")
        assert_table(bpf["seen"], {tasks[0].pid: 1})


@pytest.mark.linux
@pytest.mark.parametrize("names", [(), ("cgroupmap",), ("mntnsmap",), ("cgroupmap", "mntnsmap")])
def test_filters_by_containers(names: tuple[str, ...]) -> None:
    """With an empty map everybody is left out."""
    mounted = any(line.split()[2] == "bpf" for line in Path("/proc/mounts").read_text().splitlines())
    if names and not mounted:
        pytest.skip("no bpf file system is mounted here")
    pins = {name: f"/sys/fs/bpf/bcc_py_test_{name}" for name in names}
    text = filter_by_containers(Namespace(cgroupmap=None, mntnsmap=None) if not names else Namespace(**pins)) + """
    BPF_ARRAY(out, u64, 2);
    TRACEPOINT_PROBE(syscalls, sys_enter_getppid) { out.increment(container_should_be_filtered() ? 1 : 0); return 0; }"""
    try:
        with BPF(text=text, kernel="linux") as bpf:
            os.getppid()
            seen = [bpf["out"][at].value for at in (0, 1)]
            assert seen[bool(names)] >= 1 and not seen[not names] and len(bpf) == 1 + len(names)
    finally:
        for path in pins.values():
            Path(path).unlink(missing_ok=True)
