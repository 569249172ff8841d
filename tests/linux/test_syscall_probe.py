"""Kprobes on system calls of a kernel without kprobes: what a process does is what they see."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcc_py.bpf import BPF
from bcc_py.errors import AttachError, NotSupportedError
from bcc_py.linux import feature

pytestmark = pytest.mark.linux

_TEXT = """
struct seen { u64 ip; u64 si; u64 nr; s64 mode; char path[64]; };
BPF_HASH(seen, u32, struct seen);
BPF_HASH(ended, u32, s64);
int enter(struct pt_regs *ctx)
{
    u32 key = 0;
    struct seen one = {};
    if (bpf_get_current_pid_tgid() >> 32 != WANTED) return 0;
    struct pt_regs *regs = (struct pt_regs *)PT_REGS_PARM1(ctx);
    one.ip = PT_REGS_IP(ctx);
    one.si = PT_REGS_PARM2(ctx);
    one.nr = ctx->orig_ax;
    one.mode = PT_REGS_PARM2(regs);
    bpf_probe_read_user_str(one.path, sizeof(one.path), (void *)PT_REGS_PARM1(regs));
    seen.update(&key, &one);
    return 0;
}
int leave(struct pt_regs *ctx)
{
    u32 key = 0;
    s64 ret = PT_REGS_RC(ctx);
    if (bpf_get_current_pid_tgid() >> 32 == WANTED) ended.update(&key, &ret);
    return 0;
}
"""


@pytest.fixture
def bpf() -> Iterator[BPF]:
    if feature.has("kprobe"):
        pytest.skip("this kernel has kprobes")
    with BPF(text=_TEXT.replace("WANTED", str(os.getpid())), kernel="linux") as made:
        yield made


def test_arguments_and_the_value_returned(bpf: BPF) -> None:
    function = bpf.get_syscall_fnname("mkdir")
    bpf.attach_kprobe(event=function, fn_name="enter")
    bpf.attach_kretprobe(event=function, fn_name="leave")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/one"
        os.mkdir(path, 0o750)
        os.getppid()  # another call is no event
        assert bpf["ended"][0].value == 0
        with pytest.raises(FileExistsError):
            os.mkdir(path, 0o700)
    one = bpf["seen"][0]
    assert (one.path, one.mode, one.nr, one.si) == (path.encode()[:63], 0o700, 83, 0)
    address = next(int(line.split()[0], 16) for line in Path("/proc/kallsyms").read_text().splitlines()
                   if line.split()[2] == function.decode())
    assert one.ip == address
    assert bpf["ended"][0].value == -17


def test_detaching_ends_it(bpf: BPF) -> None:
    function = bpf.get_syscall_fnname("rmdir")
    bpf.attach_kretprobe(event=function, fn_name="leave")
    assert bpf.num_open_kprobes() == 1
    bpf.detach_kretprobe(function)
    with pytest.raises(FileNotFoundError):
        os.rmdir("/nowhere/at/all")
    assert bpf.num_open_kprobes() == 0 and 0 not in bpf["ended"]


def test_a_forks_child_is_not_its_return(bpf: BPF) -> None:
    """A kretprobe of clone fires in the parent alone; the tracepoint in both."""
    for name in ("clone", "clone3", "fork", "vfork"):
        bpf.attach_kretprobe(event=bpf.get_syscall_fnname(name), fn_name="leave")
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert bpf["ended"][0].value == child


def test_arguments_by_name() -> None:
    """A function called syscall__NAME has the system call's arguments."""
    if feature.has("kprobe"):
        pytest.skip("this kernel has kprobes")
    text = """
    BPF_HASH(masks, u32, u32);
    int syscall__umask(struct pt_regs *ctx, int mask)
    {
        u32 pid = bpf_get_current_pid_tgid() >> 32, value = mask;
        if (pid == WANTED) masks.update(&pid, &value);
        return 0;
    }"""
    with BPF(text=text.replace("WANTED", str(os.getpid())), kernel="linux") as made:
        made.attach_kprobe(event=made.get_syscall_fnname("umask"), fn_name="syscall__umask")
        before = os.umask(0o27)
        assert made["masks"][os.getpid()].value == 0o27
        os.umask(before)
        assert made["masks"][os.getpid()].value == before


def test_functions_that_are_no_system_calls(bpf: BPF) -> None:
    with pytest.raises(NotSupportedError, match="only the beginnings and ends of system calls are served without"):
        bpf.attach_kprobe(event="vfs_read", fn_name="enter")
    with pytest.raises(AttachError, match="this kernel has no such function"):
        bpf.attach_kprobe(event="__x64_sys_nothing_like_it", fn_name="enter")
    with pytest.raises(NotSupportedError, match="only the beginnings"):
        bpf.attach_kprobe(event=bpf.get_syscall_fnname("mkdir"), event_off=4, fn_name="enter")
