"""Typed tracepoints, fentry and fexit, and what helpers say where they fire."""

from __future__ import annotations

import dataclasses
import os
import struct
import time
from collections.abc import Iterator

import pytest

import cfront
from bcc_py.elf import read_object
from bcc_py.errors import AttachError, LoadError, NotSupportedError, VerifierError
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import Loaded, load
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.memory import Fields, UserMemory
from bcc_py.spec import Hook, HookKind
from cfront.ctype import Record
from cfront.uapi import ProgType
from tests.sim.quiet import Script

_HEAD = """
BPF_ARRAY(said, u64, 16);
static void say(int at, u64 value) { u64 *place = said.lookup(&at); if (place) *place = value; }
"""


@pytest.fixture
def kernel() -> Iterator[SimKernel]:
    made = SimKernel(_Named(), spec="sim:test")
    yield made
    made.close()


class _Named(Script):
    """Nothing happens, and three functions are there."""

    def functions(self) -> tuple[str, ...]:
        return ("filp_close", "tcp_set_state", "tcp_v4_connect")


def _loaded(kernel: Kernel, text: str, types: dict[str, ProgType] | None = None) -> Loaded:
    return load(read_object(cfront.compile(_HEAD + text, filename="t.c", types=kernel.types)), kernel, types)


def _attached(kernel: Kernel, text: str, **change: int) -> Loaded:
    loaded = _loaded(kernel, text)
    for one in loaded.programs.values():
        assert one.spec.hook is not None
        kernel.attach(one, dataclasses.replace(one.spec.hook, **change))
    return loaded


def _said(loaded: Loaded, count: int) -> list[int]:
    values = (loaded.maps["said"].lookup(struct.pack("<I", at)) for at in range(count))
    return [int.from_bytes(value or b"", "little") for value in values]


# the arguments of the running switch, and what lies behind the second of them
_SWITCH = """
SEC("tp_btf/sched_switch") int switched(u64 *ctx)
{
    struct task_struct *prev = (void *)ctx[1], *next = (void *)ctx[2];
    if (WANTED) {
        say(0, prev->pid); say(1, next->pid); say(2, prev->real_parent->tgid); say(3, prev->comm[0]); say(4, ctx[3]);
        say(5, bpf_get_current_pid_tgid() >> 32);
    }
    return 0;
}
"""


def test_a_typed_tracepoint_follows_pointers(kernel: SimKernel) -> None:
    shell = kernel.tasks.spawn(700, "zsh", parent=kernel.tasks.init)
    child = kernel.tasks.fork(shell, 701)
    loaded = _attached(kernel, _SWITCH.replace("WANTED", "1"))
    kernel.set_context(0, 5, child)
    kernel.fire_raw_tracepoint("sched_switch", (0, child.address, shell.address, 2))
    assert _said(loaded, 6) == [701, 700, 700, ord("z"), 2, 701]


@pytest.mark.linux
def test_the_same_program_runs_on_linux() -> None:
    linux = LinuxKernel()
    try:
        loaded = _attached(linux, _SWITCH.replace("WANTED", f"prev->tgid == {os.getpid()}"))
        time.sleep(0.02)
        said = _said(loaded, 6)
        assert said[0] and said[1] != said[0] and said[2] and said[5] == os.getpid()
    finally:
        linux.close()


def test_what_is_not_there_reads_as_nothing(kernel: SimKernel) -> None:
    """As behind a pointer that Linux's exception tables have caught."""
    loaded = _attached(kernel, """
SEC("tp_btf/sched_switch") int switched(u64 *ctx)
{
    struct task_struct *prev = (void *)ctx[1];
    say(0, 1 + prev->mm->start_stack); say(1, 1 + prev->nsproxy->net_ns->ns.inum); say(2, 7);
    return 0;
}
""")
    kernel.fire_raw_tracepoint("sched_switch", (0, 0xFFFF_9999_0000_0000, 0, 0))
    kernel.fire_raw_tracepoint("sched_switch", (0, kernel.tasks.idle.address, 0, 0))
    assert _said(loaded, 3) == [1, 1 + 0xF0000098, 7]


_CONNECT = """
SEC("fentry/tcp_v4_connect") int entered(u64 *ctx)
{
    u64 third = 0;
    struct sock *sk = (void *)ctx[0];
    say(0, bpf_get_func_arg_cnt(ctx)); say(1, bpf_get_func_arg(ctx, 2, &third)); say(2, third); say(3, bpf_get_func_ip(ctx));
    say(4, bpf_get_func_arg(ctx, 3, &third)); say(5, sk->__sk_common.skc_family); say(6, bpf_get_attach_cookie(ctx));
    return 0;
}
SEC("fexit/tcp_v4_connect") int left(u64 *ctx)
{
    u64 result = 0;
    say(7, bpf_get_func_ret(ctx, &result)); say(8, result); say(9, ctx[2]); say(10, ctx[3]); say(11, bpf_get_func_arg_cnt(ctx));
    return 0;
}
"""


def test_functions_show_their_arguments_and_their_result(kernel: SimKernel) -> None:
    loaded = _attached(kernel, _CONNECT, cookie=77)
    sock = kernel.memory.take(512)
    kernel.fire_kretprobe("tcp_v4_connect", {"ax": 5})  # a call that nobody saw begin
    assert _said(loaded, 12)[7:] == [0, 0, 0, 0, 0]
    kernel.fire_kprobe("tcp_v4_connect", {"di": sock, "si": 1, "dx": 16})
    kernel.fire_kretprobe("tcp_v4_connect", {"ax": -111 & (1 << 64) - 1})
    refused = -22 & (1 << 64) - 1
    failed = -111 & (1 << 64) - 1
    assert _said(loaded, 12) == [3, 0, 16, kernel.function_address("tcp_v4_connect"), refused, 0, 77, 0, failed, 16, failed, 3]


def test_a_kprobe_knows_its_function(kernel: SimKernel) -> None:
    loaded = _attached(kernel, 'SEC("kprobe/tcp_set_state") int f(void *ctx) { say(0, bpf_get_func_ip(ctx)); '
                               "say(1, bpf_get_attach_cookie(ctx)); return 0; }", cookie=9)
    kernel.fire_kprobe("tcp_set_state", {"si": 1})
    assert _said(loaded, 2) == [kernel.function_address("tcp_set_state"), 9]


def test_stacks_are_the_events(kernel: SimKernel) -> None:
    loaded = _attached(kernel, """
SEC("kprobe/tcp_set_state") int f(void *ctx)
{
    u64 ips[4] = {};
    say(0, bpf_get_stack(ctx, ips, sizeof(ips), 0)); say(1, ips[0]); say(2, ips[2]);
    say(3, bpf_get_stack(ctx, ips, sizeof(ips), 1)); say(4, ips[0]); say(5, bpf_get_stack(ctx, ips, sizeof(ips), 4));
    say(6, bpf_get_stack(ctx, ips, sizeof(ips), 256)); say(7, ips[0]); say(8, bpf_get_stack(ctx, ips, 12, 0));
    say(9, bpf_get_task_stack((void *)bpf_get_current_task_btf(), ips, sizeof(ips), 0));
    return 0;
}
""")
    kernel.set_stack([0xFFFFFFFF81000000, 0xFFFFFFFF81000040, 0xFFFFFFFF81000080], [0x400000])
    kernel.fire_kprobe("tcp_set_state", {})
    fault, invalid = -14 & (1 << 64) - 1, -22 & (1 << 64) - 1
    assert _said(loaded, 10) == [24, 0xFFFFFFFF81000000, 0xFFFFFFFF81000080, 16, 0xFFFFFFFF81000040, fault, 8, 0x400000, invalid, 24]


def test_signals_are_recorded(kernel: SimKernel) -> None:
    _attached(kernel, 'SEC("kprobe/tcp_set_state") int f(void *ctx) { bpf_send_signal(9); bpf_send_signal_thread(70); '
                      "bpf_send_signal_thread(10); return 0; }")
    kernel.fire_kprobe("tcp_set_state", {})  # the idle task takes none
    process = kernel.tasks.spawn(800, "a", parent=kernel.tasks.init)
    thread = kernel.tasks.fork(process, 801, tgid=800)
    kernel.set_context(0, 1, thread)
    kernel.fire_kprobe("tcp_set_state", {})
    assert kernel.take_signals() == [(800, 9), (801, 10)]
    assert kernel.take_signals() == []


def test_tasks_are_iterated_over(kernel: SimKernel) -> None:
    """Processes in the order in which they began, each with its threads."""
    process = kernel.tasks.spawn(900, "a", parent=kernel.tasks.init)
    kernel.tasks.spawn(950, "b", parent=kernel.tasks.init)
    kernel.tasks.fork(process, 901, tgid=900)
    loaded = _attached(kernel, """
extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, unsigned int flags) __ksym;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __ksym;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
SEC("tp_btf/sched_switch") int f(u64 *ctx)
{
    struct bpf_iter_task it;
    struct task_struct *one;
    u64 all = 0, processes = 0, own = 0;
    bpf_rcu_read_lock();
    bpf_iter_task_new(&it, 0, 1);
    while ((one = bpf_iter_task_next(&it)))
        all = all * 1000 + one->pid;
    bpf_iter_task_destroy(&it);
    bpf_iter_task_new(&it, 0, 0);
    while ((one = bpf_iter_task_next(&it)))
        processes = processes * 1000 + one->pid;
    bpf_iter_task_destroy(&it);
    bpf_iter_task_new(&it, (void *)ctx[1], 2);
    while ((one = bpf_iter_task_next(&it)))
        own = own * 1000 + one->pid;
    bpf_iter_task_destroy(&it);
    bpf_rcu_read_unlock();
    say(0, all); say(1, processes); say(2, own);
    return 0;
}
""")
    kernel.fire_raw_tracepoint("sched_switch", (0, process.address, process.address, 0))
    assert _said(loaded, 3) == [1_900_901_950, 1_900_950, 900_901]


def test_what_does_not_fit_is_refused(kernel: SimKernel) -> None:
    loaded = _loaded(kernel, _CONNECT)
    with pytest.raises(AttachError, match="loaded for TRACE_FENTRY tcp_v4_connect"):
        kernel.attach(loaded.programs["entered"], Hook(HookKind.FENTRY, "tcp_set_state"))
    with pytest.raises(AttachError, match="no such raw tracepoint"):
        kernel.attach(loaded.programs["entered"], Hook(HookKind.BTF_TRACEPOINT, "no_such"))
    with pytest.raises(NotSupportedError, match="nothing in a simulated kernel calls iterators"):
        kernel.attach(loaded.programs["entered"], Hook(HookKind.ITER, "task"))
    with pytest.raises(VerifierError):
        _loaded(kernel, 'SEC("fentry/no_such_function") int f(u64 *ctx) { return ctx[0]; }')
    with pytest.raises(NotSupportedError, match="has no no_such_function"):
        _loaded(kernel, 'extern void no_such_function(void) __ksym; SEC("kprobe/tcp_set_state") int f(void *ctx) { no_such_function(); return 0; }')


def test_a_program_may_say_what_a_function_returns(kernel: SimKernel) -> None:
    _attached(kernel, 'SEC("kprobe/tcp_set_state") int f(void *ctx) { bpf_override_return(ctx, -12); return 0; }')
    assert kernel.take_override() is None
    kernel.fire_kprobe("tcp_set_state", {})
    assert kernel.take_override() == -12 & (1 << 64) - 1
    assert kernel.take_override() is None


def test_user_memory_is_read_and_written(kernel: SimKernel) -> None:
    task = kernel.tasks.spawn(1000, "a", parent=kernel.tasks.init)
    task.memory = UserMemory(kernel.runtime, [(0x400000, b"before\0\0")])
    loaded = _attached(kernel, """
SEC("kprobe/tcp_set_state") int f(void *ctx)
{
    char text[8] = "after";
    u64 seen = 0;
    say(0, bpf_probe_write_user((void *)0x400000, text, 6)); say(1, bpf_probe_write_user((void *)0x400004, text, 6));
    bpf_probe_read_user(&seen, 8, (void *)0x400000); say(2, seen);
    return 0;
}
""")
    kernel.fire_kprobe("tcp_set_state", {})
    assert _said(loaded, 2) == [-1 & (1 << 64) - 1] * 2  # the idle task has no memory
    kernel.set_context(0, 1, task)
    kernel.fire_kprobe("tcp_set_state", {})
    assert _said(loaded, 3) == [0, -14 & (1 << 64) - 1, int.from_bytes(b"after\0\0\0", "little")]
    assert task.memory.read(0x400000, 6) == b"after\0"


def test_a_task_has_its_user_registers_at_the_end_of_its_stack(kernel: SimKernel) -> None:
    task = kernel.tasks.spawn(1000, "a", parent=kernel.tasks.init)
    loaded = _attached(kernel, """
SEC("tp_btf/sys_enter") int f(u64 *ctx)
{
    struct pt_regs *regs = (void *)bpf_task_pt_regs((void *)bpf_get_current_task_btf());
    say(0, (u64)regs == ctx[0]); say(1, regs->si);
    return 0;
}
""")
    kernel.set_context(0, 1, task)
    kernel.syscall_enter(257, (1, 2, 3, 4, 5, 6))
    assert _said(loaded, 2) == [1, 2]


def test_a_path_is_spelt_from_the_root(kernel: SimKernel) -> None:
    layouts = {name: Fields(record) for name in ("file", "dentry") if isinstance(record := kernel.types.find("struct", name), Record)}

    def dentry(name: bytes, parent: int) -> int:
        text = kernel.memory.take_bytes(name + b"\0")
        made = kernel.memory.take(layouts["dentry"].size)
        kernel.memory.write(made, layouts["dentry"].image(d_name__name=text, d_name__len=len(name), d_parent=parent or made))
        return made

    leaf = dentry(b"passwd", dentry(b"etc", dentry(b"/", 0)))
    file = kernel.memory.take_bytes(layouts["file"].image(f_path__dentry=leaf))
    loaded = _attached(kernel, """
SEC("fentry/filp_close") int f(u64 *ctx)
{
    struct file *file = (void *)ctx[0];
    char text[16] = {};
    say(0, bpf_d_path(&file->f_path, text, sizeof(text))); say(1, *(u64 *)text); say(2, *(u64 *)(text + 8));
    say(3, bpf_d_path(&file->f_path, text, 8));
    return 0;
}
""")
    kernel.fire_kprobe("filp_close", {"di": file})
    said = _said(loaded, 4)
    assert said[0] == 12 and struct.pack("<2Q", *said[1:3])[:12] == b"/etc/passwd\0"
    assert said[3] == -36 & (1 << 64) - 1


def test_a_pointer_may_be_cast(kernel: SimKernel) -> None:
    """To one of the kernel's structs, by its id; a context to what the kernel has it as."""
    id = native.kernel_types().id_of("struct", "task_struct")
    task = kernel.tasks.spawn(1000, "a", parent=kernel.tasks.init)
    loaded = _attached(kernel, f"""
extern void *bpf_rdonly_cast(const void *obj__ign, u32 btf_id__k) __ksym;
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;
SEC("kprobe/tcp_set_state") int f(void *ctx)
{{
    struct task_struct *task = bpf_rdonly_cast((void *)bpf_get_current_task(), {id});
    struct pt_regs *regs = bpf_cast_to_kern_ctx(ctx);
    say(0, task->pid); say(1, regs->si); say(2, 1 + ((struct task_struct *)bpf_rdonly_cast((void *)8, {id}))->pid);
    return 0;
}}
""")
    kernel.set_context(0, 1, task)
    kernel.fire_kprobe("tcp_set_state", {"si": 55})
    assert _said(loaded, 3) == [1000, 55, 1]
    with pytest.raises(NotSupportedError, match="bpf_cast_to_kern_ctx: a simulated kernel has no other context"):
        _loaded(kernel, """
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;
SEC("xdp") int f(void *ctx) { return bpf_cast_to_kern_ctx(ctx) != 0; }
""")


def test_control_groups_are_walked(kernel: SimKernel) -> None:
    """The root and one below it, in which every task is."""
    task = kernel.tasks.spawn(1000, "a", parent=kernel.tasks.init)
    loaded = _attached(kernel, """
extern struct cgroup *bpf_cgroup_from_id(u64 cgid) __ksym;
extern struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level) __ksym;
extern void bpf_cgroup_release(struct cgroup *cgrp) __ksym;
extern long bpf_task_under_cgroup(struct task_struct *task, struct cgroup *ancestor) __ksym;
extern int bpf_iter_css_new(struct bpf_iter_css *it, struct cgroup_subsys_state *start, unsigned int flags) __ksym;
extern struct cgroup_subsys_state *bpf_iter_css_next(struct bpf_iter_css *it) __ksym;
extern void bpf_iter_css_destroy(struct bpf_iter_css *it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
static u64 levels(struct cgroup *from, unsigned int flags)
{
    struct bpf_iter_css it;
    struct cgroup_subsys_state *css;
    u64 found = 0;
    bpf_rcu_read_lock();
    bpf_iter_css_new(&it, &from->self, flags);
    while ((css = bpf_iter_css_next(&it)))
        found = found * 10 + 1 + css->cgroup->level;
    bpf_iter_css_destroy(&it);
    bpf_rcu_read_unlock();
    return found;
}
SEC("tp_btf/sched_switch") int f(u64 *ctx)
{
    struct cgroup *own = bpf_cgroup_from_id(bpf_get_current_cgroup_id()), *root, *none = bpf_cgroup_from_id(12345);
    if (none)
        bpf_cgroup_release(none);
    say(6, none != 0);
    if (!own)
        return 0;
    root = bpf_cgroup_ancestor(own, 0);
    if (root) {
        say(0, own->level); say(1, root->level); say(2, bpf_task_under_cgroup((void *)ctx[1], own));
        say(3, levels(root, 2)); say(4, levels(root, 3)); say(5, levels(own, 4)); say(7, levels(own, 2));
        bpf_cgroup_release(root);
    }
    root = bpf_cgroup_ancestor(own, 2);
    say(8, root != 0);
    if (root)
        bpf_cgroup_release(root);
    bpf_cgroup_release(own);
    return 0;
}
""")
    kernel.fire_raw_tracepoint("sched_switch", (0, task.address, task.address, 0))
    assert _said(loaded, 9) == [1, 0, 1, 12, 21, 21, 0, 2, 0]


@pytest.mark.linux
@pytest.mark.parametrize("section", ["raw_tp/sys_enter", "tp/syscalls/sys_enter_getppid", "tp_btf/sys_enter"])
def test_linux_hands_the_cookie_back(section: str) -> None:
    linux = LinuxKernel()
    try:
        loaded = _attached(linux, f"""
SEC("{section}") int f(u64 *ctx)
{{
    if (bpf_get_current_pid_tgid() >> 32 == {os.getpid()})
        say(0, bpf_get_attach_cookie(ctx));
    return 0;
}}
""", cookie=0x1234567890)
        os.getppid()
        assert _said(loaded, 1) == [0x1234567890]
    finally:
        linux.close()


def test_a_closed_kernel_is_left_alone(kernel: SimKernel) -> None:
    task = kernel.tasks.spawn(1000, "a", parent=kernel.tasks.init)
    kernel.close()
    assert kernel.take_signals() == []
    for late in (lambda: kernel.set_stack([1]), kernel.take_override):
        with pytest.raises(LoadError, match="is closed"):
            late()
    with pytest.raises(ValueError, match="closed"):
        kernel.tasks.spawn(1001, "b")
    kernel.tasks.reap(task)


def test_hooks_are_fired_by_hand(kernel: SimKernel) -> None:
    """One after the other, and by the thousand on two CPUs at the same time, where masks are made and given back."""
    loaded = _attached(kernel, _CONNECT.split("SEC(\"fexit")[0], cookie=5)
    hook = kernel.hook(HookKind.FENTRY, "tcp_v4_connect")
    assert hook.fire(struct.pack("<3Q", 0, 1, 99)) == 1
    assert _said(loaded, 4)[:4] == [3, 0, 99, kernel.function_address("tcp_v4_connect")] and _said(loaded, 7)[6] == 5
    masks = _attached(kernel, """
extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym;
extern void bpf_cpumask_release(struct bpf_cpumask *cpumask) __ksym;
extern void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym;
extern u32 bpf_cpumask_weight(const struct cpumask *cpumask) __ksym;
BPF_HASH(seen, u32, u64);
SEC("tp_btf/sched_switch") int f(u64 *ctx)
{
    struct bpf_cpumask *a = bpf_cpumask_create(), *b = bpf_cpumask_create();
    u32 weight = 0;
    if (a && b) {
        bpf_cpumask_set_cpu(0, a);
        bpf_cpumask_set_cpu(1, b);
        weight = bpf_cpumask_weight((void *)a) + bpf_cpumask_weight((void *)b);
    }
    if (a)
        bpf_cpumask_release(a);
    if (b)
        bpf_cpumask_release(b);
    u64 zero = 0, *count = seen.lookup_or_try_init(&weight, &zero);
    if (count) __sync_fetch_and_add(count, 1);
    return 0;
}
""")
    switches = kernel.hook(HookKind.BTF_TRACEPOINT, "sched_switch")
    assert switches.fire_batch(bytes(96) * 40_000, 96, cpus=2) == 40_000
    assert masks.maps["seen"].lookup(struct.pack("<I", 2)) == struct.pack("<Q", 40_000)
    assert kernel._state.heap.blocks == 0


def test_different_cookies_at_one_hook(kernel: SimKernel) -> None:
    """Each its own where an event is fired; by hand they cannot be told apart."""
    text = 'SEC("kprobe/tcp_set_state") int f(void *ctx) { say(bpf_get_attach_cookie(ctx) & 15, 1); return 0; }'
    loaded = _attached(kernel, text, cookie=3)
    kernel.attach(loaded.programs["f"], Hook(HookKind.KPROBE, "tcp_set_state", cookie=4))
    kernel.fire_kprobe("tcp_set_state", {})
    assert _said(loaded, 6) == [0, 0, 0, 1, 1, 0]
    with pytest.raises(NotSupportedError, match="different cookies"):
        kernel.hook(HookKind.KPROBE, "tcp_set_state").fire(bytes(168))


def test_stacks_have_ids(kernel: SimKernel) -> None:
    loaded = _attached(kernel, """
BPF_STACK_TRACE(stacks, 16);
SEC("kprobe/tcp_set_state") int f(void *ctx)
{
    say(0, stacks.get_stackid(ctx, 0)); say(1, stacks.get_stackid(ctx, 0)); say(2, bpf_get_stackid(ctx, &stacks, 3));
    say(3, bpf_get_stackid(ctx, &stacks, 1 << 11)); say(4, stacks.get_stackid(ctx, 256));
    return 0;
}
""")
    kernel.set_stack([0xFFFFFFFF81000000, 0xFFFFFFFF81000040, 0xFFFFFFFF81000080])
    kernel.fire_kprobe("tcp_set_state", {})
    said = _said(loaded, 5)
    fault, invalid = -14 & (1 << 64) - 1, -22 & (1 << 64) - 1
    assert said[0] == said[1] < 1 << 31 and said[2:] == [fault, invalid, fault]
    stored = loaded.maps["stacks"].lookup(struct.pack("<I", said[0])) or b""
    assert struct.unpack_from("<4Q", stored) == (0xFFFFFFFF81000000, 0xFFFFFFFF81000040, 0xFFFFFFFF81000080, 0)


def test_a_short_context_holds_no_more_arguments(kernel: SimKernel) -> None:
    """Fired by hand with one argument of three: the others read as nothing, wherever the contexts end."""
    loaded = _attached(kernel, """
BPF_HASH(seen, u64, u64);
SEC("fentry/tcp_v4_connect") int f(u64 *ctx)
{
    u64 third = 7;
    bpf_get_func_arg(ctx, 2, &third);
    seen.atomic_increment(third);
    return 0;
}
""")
    assert kernel.hook(HookKind.FENTRY, "tcp_v4_connect").fire_batch(b"\xff" * 8 * 1000, 8) == 1000
    assert loaded.maps["seen"].lookup(bytes(8)) == struct.pack("<Q", 1000)
