"""Recordings as kernels: what programs see in them is what perf says of the same files."""

from __future__ import annotations

import gzip
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.errors import AttachError, NotSupportedError, ObjectError
from bcc_py.isa import assemble
from bcc_py.sim.replay.source import ReplayKernel, replay_kernel
from bcc_py.spec import Hook, HookKind, MapSpec, ProgramSpec
from cfront.ctype import Record
from cfront.uapi import MapType, ProgType
from tests.perf_data_writer import RAW, SAMPLE_ID_ALL, TASK, USUAL, PerfFile, common, format_text

DATA = Path(__file__).parent.parent / "data"
SCRIPT_LINE = re.compile(
    r"\s*(?P<comm>.+?)\s+(?P<pid>\d+)/(?P<tid>\d+)\s+\[(?P<cpu>\d+)\]\s+(?P<s>\d+)\.(?P<ns>\d{9}):\s+(?P<event>\w+:\w+): ")
TYPES = {HookKind.TRACEPOINT: ProgType.TRACEPOINT, HookKind.RAW_TRACEPOINT: ProgType.RAW_TRACEPOINT}

# who, when and where, and the first CTX_BYTES of the context, into a ring buffer
CTX_BYTES = 64
SEEN = struct.Struct(f"<QQQ16s{CTX_BYTES}s")
SEE = """
    r6 = r1
    call bpf_ktime_get_ns#5
    *(u64 *)(r10 -104) = r0
    call bpf_get_current_pid_tgid#14
    *(u64 *)(r10 -96) = r0
    call bpf_get_smp_processor_id#8
    *(u64 *)(r10 -88) = r0
    r1 = r10
    r1 += -80
    r2 = 16
    call bpf_get_current_comm#16
    r1 = r10
    r1 += -64
    r2 = 64
    r3 = r6
    call bpf_probe_read_kernel#113
    COPY
    r1 = map[fd:FD]
    r2 = r10
    r2 += -104
    r3 = 104
    r4 = 0
    call bpf_ringbuf_output#130
    r0 = 0
    exit
"""
COPY = "".join(f"r1 = *(u64 *)(r6 +{at})\n*(u64 *)(r10 -{64 - at}) = r1\n" for at in range(8, CTX_BYTES, 8))


def attach(kernel: ReplayKernel, hook: Hook, text: str, fd: int = 0) -> None:
    program = ProgramSpec("p", "", TYPES.get(hook.kind, ProgType.KPROBE), assemble(text.replace("FD", str(fd))))
    kernel.attach(kernel.load_program(program), hook)


def play(kernel: ReplayKernel) -> None:
    while not kernel.is_finished:
        kernel.poll([], 1000)


def ring(kernel: ReplayKernel) -> tuple[int, list[bytes], Callable[[], None]]:
    """(descriptor, what came out, plays to the end)."""
    made = kernel.create_map(MapSpec("r", MapType.RINGBUF, 0, 0, 1 << 20))
    got: list[bytes] = []
    reader = kernel.open_ring_buffer(made, lambda record: got.append(bytes(record)))

    def run() -> None:
        while not kernel.is_finished:
            kernel.poll([reader], 1000)
        reader.consume()

    return made.fd, got, run


def counters(kernel: ReplayKernel, hooks: Iterable[Hook]) -> Callable[[], dict[str, int]]:
    """Attaches a counter to each hook; the call plays to the end and gives the counts by hook."""
    rows = list(hooks)
    counts = kernel.create_map(MapSpec("c", MapType.ARRAY, 4, 8, len(rows)))
    for index, hook in enumerate(rows):
        attach(kernel, hook, f"""
            *(u32 *)(r10 -4) = {index}
            r2 = r10
            r2 += -4
            r1 = map[fd:FD]
            call bpf_map_lookup_elem#1
            if r0 == 0 goto out
            r1 = 1
            lock *(u64 *)(r0 +0) += r1
        out:
            r0 = 0
            exit""", counts.fd)

    def run() -> dict[str, int]:
        play(kernel)
        values = [counts.lookup(index.to_bytes(4, "little")) or b"" for index in range(len(rows))]
        return {str(hook): int.from_bytes(value, "little") for hook, value in zip(rows, values, strict=True)}

    return run


def tracepoint(name: str) -> Hook:
    return Hook(HookKind.TRACEPOINT, name)


# ---- recordings


@pytest.mark.parametrize("name", ["build", "http"])
def test_programs_see_what_perf_says(name: str) -> None:
    """Time, pid, tid, cpu and comm of every event against `perf script`; the context against the file."""
    lines = gzip.decompress((DATA / f"{name}.perf.script.gz").read_bytes()).decode().splitlines()
    kernel = replay_kernel(str(DATA / f"{name}.perf.data"))
    fd, got, run = ring(kernel)
    recorded = [one for one in kernel.tracepoints() if not one.startswith("raw_syscalls:")]
    for event in recorded:
        attach(kernel, tracepoint(event), SEE.replace("COPY", COPY).replace("call bpf_probe_read_kernel#113", "r0 = 0"), fd)
    run()
    assert len(got) == len(lines)
    ids = {kernel.tracepoint_format(event).id: event for event in recorded}  # type: ignore[union-attr]
    for record, line in zip(got, lines, strict=True):
        time_ns, pid_tgid, cpu, comm, _ = SEEN.unpack(record)
        found = SCRIPT_LINE.match(line)
        assert found
        assert comm.partition(b"\0")[0].decode() == found["comm"], line
        assert (pid_tgid >> 32, pid_tgid & 0xFFFFFFFF, cpu) == (int(found["pid"]), int(found["tid"]), int(found["cpu"])), line
        assert time_ns == int(found["s"]) * 10**9 + int(found["ns"]), line
        assert found["event"] in ids.values()
    kernel.close()


def test_contexts_are_the_recorded_bytes() -> None:
    from bcc_py.sim.replay.perf_data import Sample, read_perf_data

    data = read_perf_data(str(DATA / "build.perf.data"))
    expected = [one.raw[8:CTX_BYTES].ljust(CTX_BYTES - 8, b"\0") for one in data.records() if isinstance(one, Sample)]
    data.close()
    kernel = replay_kernel(str(DATA / "build.perf.data"))
    fd, got, run = ring(kernel)
    for event in kernel.tracepoints():
        if not event.startswith("raw_syscalls:"):
            attach(kernel, tracepoint(event), SEE.replace("COPY", COPY).replace("call bpf_probe_read_kernel#113", "r0 = 0"), fd)
    run()
    assert [SEEN.unpack(one)[4][8:] for one in got] == expected
    kernel.close()


def test_build_fires_what_was_recorded_and_what_follows_from_it() -> None:
    kernel = replay_kernel(str(DATA / "build.perf.data"))
    assert kernel.is_simulated and kernel.spec == "replay:build.perf.data" and kernel.cpus == 2
    hooks = [tracepoint(one) for one in kernel.tracepoints()]
    hooks += [Hook(HookKind.RAW_TRACEPOINT, one) for one in ("sys_enter", "sys_exit", "sched_process_fork", "sched_process_exit")]
    hooks += [Hook(kind, one) for one in kernel.functions() for kind in (HookKind.KPROBE, HookKind.KRETPROBE)]
    assert counters(kernel, hooks)() == {
        "tracepoint sched:sched_process_exec": 34, "tracepoint sched:sched_process_fork": 33,
        "tracepoint sched:sched_process_exit": 34, "tracepoint syscalls:sys_enter_execve": 47,
        "tracepoint syscalls:sys_exit_execve": 48, "tracepoint syscalls:sys_enter_openat": 896,
        "tracepoint syscalls:sys_exit_openat": 896, "tracepoint raw_syscalls:sys_enter": 943,
        "tracepoint raw_syscalls:sys_exit": 944, "raw tracepoint sys_enter": 943, "raw tracepoint sys_exit": 944,
        "raw tracepoint sched_process_fork": 33, "raw tracepoint sched_process_exit": 34, "kprobe __x64_sys_execve": 47,
        "kretprobe __x64_sys_execve": 48, "kprobe __x64_sys_openat": 896, "kretprobe __x64_sys_openat": 896}
    assert kernel.lost_events == 0
    kernel.close()
    kernel.close()


def offset(kernel: ReplayKernel, struct_name: str, member: str) -> int:
    record = kernel.types.find("struct", struct_name)
    assert isinstance(record, Record)
    found = record.member(member)
    assert found is not None
    return found.offset


def test_parents_come_from_the_record() -> None:
    """Each program's (comm, parent's pid) when it was executed, as the FORK records have it."""
    from bcc_py.sim.replay.perf_data import Fork, read_perf_data

    data = read_perf_data(str(DATA / "build.perf.data"))
    parents = {one.of_pid: one.parent_pid for one in data.records() if isinstance(one, Fork)}
    data.close()
    kernel = replay_kernel(str(DATA / "build.perf.data"))
    fd, got, run = ring(kernel)
    attach(kernel, tracepoint("sched:sched_process_exec"), f"""
        call bpf_get_current_task#35
        r3 = r0
        r3 += {offset(kernel, "task_struct", "real_parent")}
        r1 = r10
        r1 += -8
        r2 = 8
        call bpf_probe_read_kernel#113
        r3 = *(u64 *)(r10 -8)
        r3 += {offset(kernel, "task_struct", "tgid")}
        *(u64 *)(r10 -16) = 0
        r1 = r10
        r1 += -16
        r2 = 4
        call bpf_probe_read_kernel#113
        call bpf_get_current_pid_tgid#14
        *(u64 *)(r10 -8) = r0
        r1 = map[fd:FD]
        r2 = r10
        r2 += -16
        r3 = 16
        r4 = 0
        call bpf_ringbuf_output#130
        r0 = 0
        exit""", fd)
    run()
    seen = [struct.unpack("<QQ", one) for one in got]
    assert len(seen) == 34
    assert all(ppid == parents.get(pid_tgid >> 32, 0) for ppid, pid_tgid in seen)
    assert Counter(ppid for ppid, _ in seen)[0] == 1  # the first one's parent was not recorded
    kernel.close()


def test_kprobe_has_the_recorded_arguments_and_user_memory_is_not_there() -> None:
    kernel = replay_kernel(str(DATA / "build.perf.data"))
    fd, got, run = ring(kernel)
    di, si, ax = (offset(kernel, "pt_regs", name) for name in ("di", "si", "ax"))
    attach(kernel, Hook(HookKind.KPROBE, "__x64_sys_openat"), f"""
        r3 = *(u64 *)(r1 +{di})
        r3 += {si}
        r1 = r10
        r1 += -16
        r2 = 8
        call bpf_probe_read_kernel#113
        r1 = r10
        r1 += -8
        r2 = 8
        r3 = *(u64 *)(r10 -16)
        call bpf_probe_read_user#112
        *(u64 *)(r10 -8) = r0
        r1 = map[fd:FD]
        r2 = r10
        r2 += -16
        r3 = 16
        r4 = 0
        call bpf_ringbuf_output#130
        r0 = 0
        exit""", fd)
    attach(kernel, Hook(HookKind.KRETPROBE, "__x64_sys_openat"), f"""
        r1 = *(u64 *)(r1 +{ax})
        *(u64 *)(r10 -8) = r1
        r1 = map[fd:FD]
        r2 = r10
        r2 += -8
        r3 = 8
        r4 = 0
        call bpf_ringbuf_output#130
        r0 = 0
        exit""", fd)
    run()
    lines = [one for one in gzip.decompress((DATA / "build.perf.script.gz").read_bytes()).decode().splitlines() if "openat" in one]
    expected = [
        struct.pack("<Qq", int(found[1], 16), -14) if (found := re.search(r"filename: (0x[0-9a-f]+)", line)) else
        struct.pack("<Q", int(line.rpartition(" ")[2], 16)) for line in lines]
    assert got == expected and len(got) == 1792
    kernel.close()


@pytest.mark.parametrize(("hook", "error", "words"), [
    (Hook(HookKind.KPROBE, "__x64_sys_clone"), NotSupportedError, "holds no syscalls:sys_enter_clone .perf record -e syscalls:sys_enter_clone"),
    (Hook(HookKind.KRETPROBE, "__x64_sys_read"), NotSupportedError, "holds no syscalls:sys_exit_read"),
    (Hook(HookKind.RAW_TRACEPOINT, "sched_process_exec"), NotSupportedError, "its arguments are kernel objects.*sched:sched_process_exec"),
    (Hook(HookKind.RAW_TRACEPOINT, "sched_switch"), AttachError, "no such raw tracepoint"),
    (Hook(HookKind.TRACEPOINT, "sched:sched_switch"), AttachError, "no such tracepoint"),
    (Hook(HookKind.KPROBE, "tcp_v4_connect"), AttachError, "no such function"),
])
def test_what_was_not_recorded_is_refused(hook: Hook, error: type[Exception], words: str) -> None:
    kernel = replay_kernel(str(DATA / "build.perf.data"))
    with pytest.raises(error, match=words):
        attach(kernel, hook, "r0 = 0\nexit")
    assert not kernel.has_function("__x64_sys_clone") and kernel.has_function("__x64_sys_openat")
    kernel.close()


# ---- files of our own


def written(tmp_path: Path, file: PerfFile) -> ReplayKernel:
    path = tmp_path / "own.perf.data"
    path.write_bytes(file.content())
    return replay_kernel(str(path))


def exit_event(file: PerfFile):  # type: ignore[no-untyped-def]
    return file.event("sched", "sched_process_exit", 300, format_text(
        "sched_process_exit", 300, ("char comm[16]", 8, 16), ("pid_t pid", 24, 4), ("bool group_dead", 28, 1)))


def exit_payload(comm: bytes, pid: int) -> bytes:
    return common(300, pid) + comm.ljust(16, b"\0") + struct.pack("<iB", pid, 1) + bytes(7)


def enter_event(file: PerfFile, name: str, event_id: int):  # type: ignore[no-untyped-def]
    return file.event("syscalls", f"sys_enter_{name}", event_id, format_text(
        f"sys_enter_{name}", event_id, ("int __syscall_nr", 8, 4), ("int fd", 16, 8)))


def enter_payload(event_id: int, nr: int, *args: int) -> bytes:
    return common(event_id) + struct.pack(f"<i4x{len(args)}Q", nr, *args) + bytes(4)


def seen_by(kernel: ReplayKernel, hook: Hook) -> list[tuple[int, int, int, bytes]]:
    """(time, tgid, pid, comm) at each time the hook fires."""
    fd, got, run = ring(kernel)
    attach(kernel, hook, SEE.replace("COPY", "").replace("call bpf_probe_read_kernel#113", "r0 = 0").replace("r3 = 104", "r3 = 40"), fd)
    run()
    rows = [struct.unpack("<QQQ16s", one) for one in got]
    return [(t, p >> 32, p & 0xFFFFFFFF, c.partition(b"\0")[0]) for t, p, _, c in rows]


def test_tasks_without_task_records(tmp_path: Path) -> None:
    file = PerfFile(flags=SAMPLE_ID_ALL)
    event = exit_event(file)
    file.sample(event, exit_payload(b"made", 11), pid=11, time_ns=50)
    file.sample(event, exit_payload(b"", 0), pid=0, tid=0, time_ns=60)
    file.sample(event, exit_payload(b"", 0), pid=-1, tid=-1, time_ns=70)
    kernel = written(tmp_path, file)
    assert seen_by(kernel, tracepoint("sched:sched_process_exit")) == [
        (50, 11, 11, b"made"), (60, 0, 0, b"swapper/0"), (70, 0, 0, b"swapper/0")]
    task = kernel.tasks.get(11)
    assert task is not None and task.is_exited
    kernel.close()


def test_pids_come_back_threads_share_a_tgid_and_names_change(tmp_path: Path) -> None:
    file = PerfFile()
    event = enter_event(file, "close", 310)

    def call(pid: int, tid: int, time_ns: int) -> None:
        file.sample(event, enter_payload(310, 3, 5), pid=pid, tid=tid, time_ns=time_ns)

    file.comm(10, 10, "first")
    call(10, 10, 20)
    file.fork(10, 12, 10, 10, time_ns=21)
    call(10, 12, 22)
    file.comm(10, 12, "thread", time_ns=23)
    call(10, 12, 24)
    call(10, 10, 25)
    file.exit(10, 12, 10, 10, time_ns=26)
    file.fork(12, 12, 10, 10, time_ns=27)
    call(12, 12, 28)
    file.comm(12, 12, b"\xff\xfe bytes of 20 long", time_ns=29, is_exec=True)
    call(12, 12, 30)
    call(99, 98, 31)
    file.exit(12, 12, 10, 10, time_ns=32)
    kernel = written(tmp_path, file)
    rows = seen_by(kernel, tracepoint("syscalls:sys_enter_close"))
    assert [row[1:] for row in rows] == [(10, 10, b"first"), (10, 12, b"first"), (10, 12, b"thread"), (10, 10, b"first"), (12, 12, b"first"),
                    (12, 12, b"\xff\xfe bytes of 20 "[:15]), (99, 98, b"<...>")]
    thread_leader = kernel.tasks.get(12)
    assert thread_leader is not None and thread_leader.is_exited
    kernel.close()


def test_recorded_raw_syscalls_do_not_fire_twice(tmp_path: Path) -> None:
    file = PerfFile()
    close = enter_event(file, "close", 310)
    raw = file.event("raw_syscalls", "sys_enter", 311, format_text("sys_enter", 311, ("long id", 8, 8), ("unsigned long args[6]", 16, 48)))
    for time_ns in range(10, 20):
        file.sample(raw, common(311) + struct.pack("<q6Q", 3, 5, 0, 0, 0, 0, 0) + bytes(4), pid=7, time_ns=time_ns * 10)
        file.sample(close, enter_payload(310, 3, 5), pid=7, time_ns=time_ns * 10 + 1)
    kernel = written(tmp_path, file)
    hooks = [tracepoint("raw_syscalls:sys_enter"), tracepoint("syscalls:sys_enter_close"), Hook(HookKind.RAW_TRACEPOINT, "sys_enter"),
             Hook(HookKind.KPROBE, "__x64_sys_close")]
    assert list(counters(kernel, hooks)().values()) == [10, 10, 10, 10]
    kernel.close()


def test_one_system_call_fires_in_the_order_of_linux(tmp_path: Path) -> None:
    file = PerfFile()
    enter = enter_event(file, "close", 310)
    leave = file.event("syscalls", "sys_exit_close", 311, format_text("sys_exit_close", 311, ("int __syscall_nr", 8, 4), ("long ret", 16, 8)))
    file.sample(enter, enter_payload(310, 3, 5), pid=7, time_ns=10)
    file.sample(leave, common(311) + struct.pack("<i4xq", 3, -9) + bytes(4), pid=7, time_ns=20)
    kernel = written(tmp_path, file)
    fd, got, run = ring(kernel)
    order = [Hook(HookKind.RAW_TRACEPOINT, "sys_enter"), tracepoint("raw_syscalls:sys_enter"), tracepoint("syscalls:sys_enter_close"),
             Hook(HookKind.KPROBE, "__x64_sys_close"), Hook(HookKind.KRETPROBE, "__x64_sys_close"), tracepoint("syscalls:sys_exit_close"),
             tracepoint("raw_syscalls:sys_exit"), Hook(HookKind.RAW_TRACEPOINT, "sys_exit")]
    for index, hook in reversed(list(enumerate(order))):
        attach(kernel, hook, f"""
            r1 = {index}
            *(u64 *)(r10 -8) = r1
            r1 = map[fd:FD]
            r2 = r10
            r2 += -8
            r3 = 8
            r4 = 0
            call bpf_ringbuf_output#130
            r0 = 0
            exit""", fd)
    run()
    assert [one[0] for one in got] == list(range(8))
    kernel.close()


def test_time_never_runs_backwards_and_missing_cpus_are_counted(tmp_path: Path) -> None:
    file = PerfFile(cpus=0)
    event = exit_event(file)
    file.sample(event, exit_payload(b"a", 5), pid=5, cpu=3, time_ns=500)
    file.finished_round()
    file.finished_round()
    file.sample(event, exit_payload(b"b", 6), pid=6, cpu=1, time_ns=100)
    kernel = written(tmp_path, file)
    assert kernel.cpus == 4
    assert [row[0] for row in seen_by(kernel, tracepoint("sched:sched_process_exit"))] == [500, 500]
    kernel.close()


def test_losses_are_counted(tmp_path: Path) -> None:
    file = PerfFile()
    event = exit_event(file)
    file.sample(event, exit_payload(b"a", 5), pid=5, time_ns=500)
    file.lost(41, time_ns=600)
    kernel = written(tmp_path, file)
    play(kernel)
    assert kernel.lost_events == 41
    kernel.close()


def damaged_files() -> list[tuple[PerfFile, str]]:
    wrong_cpu = PerfFile()
    wrong_cpu.sample(exit_event(wrong_cpu), exit_payload(b"a", 5), pid=5, cpu=9, time_ns=5)
    short = PerfFile()
    short.sample(enter_event(short, "close", 310), b"1234", pid=5, time_ns=5)
    no_field = PerfFile()
    fork = no_field.event("sched", "sched_process_fork", 300, format_text("sched_process_fork", 300, ("int x", 8, 4)))
    no_field.sample(fork, common(300) + bytes(8), pid=5, time_ns=5)
    no_tracepoint = PerfFile()
    no_tracepoint.sample(no_tracepoint.event("", "cycles", 0, "", type=0), b"", pid=5, time_ns=5)
    no_payload = PerfFile(sample_type=USUAL & ~RAW, flags=SAMPLE_ID_ALL | TASK)
    no_payload.sample(exit_event(no_payload), b"", pid=5, time_ns=5)
    many_cpus = PerfFile(cpus=5000)
    many_cpus.sample(exit_event(many_cpus), exit_payload(b"a", 5), pid=5, time_ns=5)
    jump = PerfFile()
    event = exit_event(jump)
    for time_ns in (5, 6, 1 << 60):
        jump.sample(event, exit_payload(b"a", 5), pid=5, time_ns=time_ns)
    return [(jump, "13343 days between two events"), (wrong_cpu, "a sample of cpu 9: the machine had 2"), (short, "a payload of"), (no_field, "no field child_pid"),
            (no_tracepoint, "holds no tracepoint"), (no_payload, "recorded without its payload"), (many_cpus, "a machine of 5000 cpus")]


@pytest.mark.parametrize("which", range(7))
def test_damaged_recordings_are_errors_with_a_place(tmp_path: Path, which: int) -> None:
    file, words = damaged_files()[which]
    with pytest.raises(ObjectError, match=words) as caught:
        kernel = written(tmp_path, file)
        try:
            play(kernel)
        finally:
            kernel.close()
    assert "+0x" in str(caught.value)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_flipped_recording_plays_or_is_an_error(tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]) -> None:
    file = PerfFile()
    event, enter = exit_event(file), enter_event(file, "close", 310)
    file.comm(10, 10, "sh")
    for time_ns in range(10, 40, 10):
        file.fork(time_ns, time_ns, 10, 10, time_ns=time_ns)
        file.sample(enter, enter_payload(310, 3, 5), pid=time_ns, time_ns=time_ns + 1)
        file.sample(event, exit_payload(b"a", time_ns), pid=time_ns, time_ns=time_ns + 2)
        file.exit(time_ns, time_ns, 10, 10, time_ns=time_ns + 3)
    content = bytearray(file.content())
    for at, value in flips:
        content[at % len(content)] = value
    path = tmp_path_factory.mktemp("flip") / "x.perf.data"
    path.write_bytes(content)
    try:
        kernel = replay_kernel(str(path))
    except ObjectError:
        return
    try:
        counters(kernel, [tracepoint(one) for one in kernel.tracepoints()] + [Hook(HookKind.KPROBE, one) for one in kernel.functions()])()
    except (ObjectError, NotSupportedError):  # the latter: a system call of another name
        pass
    finally:
        kernel.close()


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ObjectError, match=r"No such file or directory .record one: perf record"):
        replay_kernel(str(tmp_path / "nothing"))
    with pytest.raises(ObjectError, match="Is a directory"):
        replay_kernel(str(tmp_path))
