"""The shell workload: repeatable, in Linux's order, and its own counts are what programs count."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.world import Options, parse_spec, sim_kernel_from_spec
from bcc_py.sim.world.shell import ShellWorkload
from bcc_py.spec import Hook, HookKind, MapSpec
from bcc_py.syscalls import SYSCALL_NAMES, kernel_name
from cfront.uapi import MapType, ProgType
from tests.sim.quiet import program

_SECONDS = 30


class Recorder(SimKernel):
    """Keeps every tracepoint as (name, record, cpu, time, pid)."""

    def __init__(self, seed: int, cpus: int = 2, seconds: int = _SECONDS) -> None:
        self.rows: list[tuple[str, bytes, int, int, int]] = []
        self.world = ShellWorkload(seed=seed, seconds=seconds, cpus=cpus)
        super().__init__(self.world, spec="sim:shell")

    def wants_tracepoint(self, name: str) -> bool:
        return True

    def fire_tracepoint(self, name: str, record: bytes) -> None:
        self.rows.append((name, record, self._cpu.pointer.number, self.now_ns(), self.current.pid))

    def run_all(self) -> None:
        while not self.is_finished:
            self.sleep(10)


def _recorded(seed: int, cpus: int = 2) -> Recorder:
    kernel = Recorder(seed, cpus)
    kernel.run_all()
    return kernel


def _digest(kernel: Recorder) -> str:
    return hashlib.sha256(repr(kernel.rows).encode()).hexdigest()


def test_the_same_seed_gives_the_same_bytes() -> None:
    digests = []
    for seed in (3, 3, 4):
        kernel = _recorded(seed)
        digests.append(_digest(kernel))
        kernel.close()
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("seed", range(6))
def test_lives_are_in_order(seed: int) -> None:
    """Fork before exec before exit, once each; time never runs backwards; nobody is left but the shell."""
    kernel = _recorded(seed, cpus=1 + seed % 4)
    forked, executed, exited = set(), set(), set()
    last = 0
    for name, record, cpu, time_ns, pid in kernel.rows:
        assert time_ns >= last
        last = time_ns
        assert 0 <= cpu < kernel.cpus
        if name == "sched:sched_process_fork":
            child = struct.unpack_from("<i", record, 20)[0]
            assert child not in forked
            forked.add(child)
        elif name == "sched:sched_process_exec":
            assert pid in forked
            executed.add(pid)
        elif name == "sched:sched_process_exit":
            assert pid in forked
            assert pid not in exited
            exited.add(pid)
        assert struct.unpack_from("<i", record, 4)[0] == pid
    assert forked == exited >= executed
    assert sorted(task.comm for task in kernel.tasks) == ["bash", "sshd", "swapper/0", "systemd"]
    kernel.close()


def test_kernel_memory_is_given_back() -> None:
    used = set()
    for seconds in (10, 60):
        kernel = Recorder(5, seconds=seconds)
        kernel.run_all()
        used.add(kernel.memory.blocks)
        kernel.close()
    assert len(used) == 1


def test_every_kind_of_event_happens() -> None:
    kernel = Recorder(0, seconds=60)
    kernel.run_all()
    counts = kernel.world.counts
    for name in ("syscalls:sys_enter_execve", "sched:sched_process_exec", "sched:sched_process_exit", "sched:sched_switch",
                 "signal:signal_generate", "signal:signal_deliver", "sock:inet_sock_set_state", "syscalls:sys_enter_kill",
                 "task:task_newtask", "task:task_rename", "sched:sched_process_free"):
        assert counts[name] > 0, name
    assert counts["syscalls:sys_enter_execve"] > counts["sched:sched_process_exec"]
    rows = Counter(row[0] for row in kernel.rows)
    assert rows == {name: count for name, count in counts.items() if not name.startswith("syscalls:")}
    kernel.close()


_LEGAL = {(7, 2), (2, 1), (2, 7), (1, 4), (4, 5), (5, 7)}


def test_tcp_states_follow_each_other() -> None:
    kernel = Recorder(0, seconds=120)
    kernel.run_all()
    state: dict[tuple[int, int], int] = {}
    for name, record, *_ in kernel.rows:
        if name == "sock:inet_sock_set_state":
            address, old, new, sport = struct.unpack_from("<QiiH", record, 8)
            assert (old, new) in _LEGAL
            assert state.get((address, sport), 7) == old
            state[address, sport] = new
    assert set(state.values()) == {7}
    kernel.close()


def test_scheduler_events_fit_together() -> None:
    """On each CPU, who is switched out is who was switched in."""
    kernel = _recorded(7)
    running = dict.fromkeys(range(kernel.cpus), 0)
    for name, record, cpu, _, _ in kernel.rows:
        if name == "sched:sched_switch":
            before, after = struct.unpack_from("<i", record, 24)[0], struct.unpack_from("<i", record, 56)[0]
            assert running[cpu] == before != after
            running[cpu] = after
    kernel.close()


# ---- programs count what the workload counts

_COUNT_IDS = """
    r6 = *(u64 *)(r1 +8)
    *(u64 *)(r10 -8) = r6
    r1 = $counts
    r2 = r10
    r2 += -8
    call bpf_map_lookup_elem#1
    if r0 == 0 goto new
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
    r0 = 0
    exit
new:
    *(u64 *)(r10 -16) = 1
    r1 = $counts
    r2 = r10
    r2 += -8
    r3 = r10
    r3 += -16
    r4 = 1
    call bpf_map_update_elem#2
    r0 = 0
    exit
"""


def _kernel() -> tuple[SimKernel, ShellWorkload]:
    world = ShellWorkload(seed=11, seconds=_SECONDS, cpus=3)
    return SimKernel(world, spec="sim:shell"), world


def _finish(kernel: SimKernel) -> None:
    while not kernel.is_finished:
        kernel.sleep(1)


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.PERCPU_HASH])
def test_system_calls_are_counted(kind: MapType) -> None:
    kernel, world = _kernel()
    counts = kernel.create_map(MapSpec("counts", kind, 8, 8, 512))
    kernel.attach(kernel.load_program(program(_COUNT_IDS, counts=counts.fd)), Hook(HookKind.TRACEPOINT, "raw_syscalls:sys_exit"))
    _finish(kernel)
    got = {}
    key = counts.next_key(None)
    while key is not None:
        value = counts.lookup(key)
        assert value is not None
        got[kernel_name(int.from_bytes(key, "little"))] = sum(struct.unpack(f"<{len(value) // 8}Q", value))
        key = counts.next_key(key)
    assert got == {name.removeprefix("syscalls:sys_exit_"): count for name, count in world.counts.items() if ":sys_exit_" in name}
    kernel.close()


_COUNT_HERE = """
    *(u32 *)(r10 -4) = {slot}
    r1 = $counts
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
out:
    r0 = 0
    exit
"""


def test_each_hook_fires_as_often_as_the_workload_says() -> None:
    kernel, world = _kernel()
    counts = kernel.create_map(MapSpec("counts", MapType.ARRAY, 4, 8, 64))
    events = ("sched:sched_process_exec", "sched:sched_process_fork", "sched:sched_process_exit", "sched:sched_switch",
              "signal:signal_generate", "sock:inet_sock_set_state", "syscalls:sys_enter_openat", "syscalls:sys_exit_execve")
    hooks = [(Hook(HookKind.TRACEPOINT, name), ProgType.TRACEPOINT, name) for name in events]
    hooks += [(Hook(HookKind.RAW_TRACEPOINT, name.partition(":")[2]), ProgType.RAW_TRACEPOINT, name) for name in events[:6]]
    hooks += [(Hook(HookKind.KPROBE, "__x64_sys_openat"), ProgType.KPROBE, "syscalls:sys_enter_openat"),
              (Hook(HookKind.KRETPROBE, "__x64_sys_execve"), ProgType.KPROBE, "syscalls:sys_exit_execve"),
              (Hook(HookKind.KPROBE, "tcp_set_state"), ProgType.KPROBE, "sock:inet_sock_set_state")]
    for slot, (hook, type, _) in enumerate(hooks):
        kernel.attach(kernel.load_program(program(_COUNT_HERE.format(slot=slot), type, counts=counts.fd)), hook)
    _finish(kernel)
    for slot, (hook, _, name) in enumerate(hooks):
        value = counts.lookup(slot.to_bytes(4, "little"))
        assert value is not None
        assert (str(hook), int.from_bytes(value, "little")) == (str(hook), world.counts[name])
    assert world.counts["sock:inet_sock_set_state"] > 0
    kernel.close()


_SEND_ARGV = """
    r6 = *(u64 *)(r1 +24)
    r7 = *(u64 *)(r1 +16)
    *(u64 *)(r10 -16) = 0
    *(u64 *)(r10 -24) = 0
    *(u64 *)(r10 -32) = 0
    *(u64 *)(r10 -40) = 0
    r1 = r10
    r1 += -8
    r2 = 8
    r3 = r6
    r3 += {index}
    call bpf_probe_read_user#112
    r3 = *(u64 *)(r10 -8)
    r1 = r10
    r1 += -40
    r2 = 32
    call bpf_probe_read_user_str#114
    r1 = $lines
    r2 = r10
    r2 += -40
    r3 = 32
    r4 = 0
    call bpf_ringbuf_output#130
    r0 = 0
    exit
"""


def test_arguments_are_in_the_callers_memory() -> None:
    kernel, world = _kernel()
    lines = kernel.create_map(MapSpec("lines", MapType.RINGBUF, 0, 0, 1 << 16))
    for index in (0, 8):
        kernel.attach(kernel.load_program(program(_SEND_ARGV.format(index=index), lines=lines.fd)),
                      Hook(HookKind.TRACEPOINT, "syscalls:sys_enter_execve"))
    words: list[str] = []
    ring = kernel.open_ring_buffer(lines, lambda record: words.append(bytes(record).split(b"\0")[0].decode()))
    while not kernel.is_finished:
        kernel.poll([ring], -1)
    assert len(words) == 2 * world.counts["syscalls:sys_enter_execve"]
    pairs = set(zip(words[::2], words[1::2], strict=True))
    assert {("ls", "--color=auto"), ("git", "status"), ("make", words[words.index("make") + 1])} <= pairs
    assert all(first in ("ls", "cat", "grep", "git", "python3", "make", "cc", "cc1", "as", "sort", "uniq", "sleep", "curl", "env",
                         "./demo", "gti", "sl", "maek", "pyhton") for first, _ in pairs)
    kernel.close()


def test_exit_codes_are_in_the_task_struct() -> None:
    """As exitsnoop reads them: status << 8, or the signal."""
    world = ShellWorkload(seed=0, seconds=240)
    kernel = SimKernel(world, spec="sim:shell")
    offset = kernel.types.find("struct", "task_struct").member("exit_code").offset  # type: ignore[union-attr]
    codes = kernel.create_map(MapSpec("counts", MapType.HASH, 8, 8, 64))
    read = f"""
        r3 = *(u64 *)(r1 +0)
        r3 += {offset}
        *(u64 *)(r10 -24) = 0
        r1 = r10
        r1 += -24
        r2 = 4
        call bpf_probe_read_kernel#113
        r6 = *(u64 *)(r10 -24)
    """
    text = _COUNT_IDS.replace("    r6 = *(u64 *)(r1 +8)\n", read)
    kernel.attach(kernel.load_program(program(text, ProgType.RAW_TRACEPOINT, counts=codes.fd)), Hook(HookKind.RAW_TRACEPOINT, "sched_process_exit"))
    _finish(kernel)
    seen = set()
    key = codes.next_key(None)
    while key is not None:
        seen.add(int.from_bytes(key, "little"))
        key = codes.next_key(key)
    assert seen == {0, 1 << 8, 7 << 8, 127 << 8, 11, 15}
    kernel.close()


# ---- naming a kernel


def test_specs() -> None:
    assert parse_spec("sim") == parse_spec("sim:shell") == ("shell", Options())
    assert parse_spec("sim:shell,seed=3,seconds=60,cpus=4") == ("shell", Options(3, 60, 4))
    kernel = sim_kernel_from_spec("sim,seconds=5,cpus=3")
    assert (kernel.spec, kernel.cpus, kernel.is_simulated) == ("sim,seconds=5,cpus=3", 3, True)
    kernel.close()


@pytest.mark.parametrize("text", ["", "linux", "sim:shell,", "sim:shell,seed", "sim:shell,seed=x", "sim:shell,seconds=0", "sim:shell,cpus=1000",
                                  "sim,seed=1,seed=2", "sim,colour=1", "sim,seed=-1"])
def test_bad_specs(text: str) -> None:
    with pytest.raises(ValueError, match="starting"):
        parse_spec(text)


def test_an_unknown_workload() -> None:
    with pytest.raises(NotSupportedError, match="no workload 'database'"):
        parse_spec("sim:database")


def test_every_system_call_has_a_name() -> None:
    assert SYSCALL_NAMES[59] == "execve"
    assert kernel_name(4) == "newstat"
    assert kernel_name(100000) is None
