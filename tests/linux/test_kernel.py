"""LinuxKernel against the kernel itself: maps, loading, hooks of this process only, rings, descriptors."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from bcc_py.errors import AttachError, KeyNotFound, LoadError, MapError, NotSupportedError, VerifierError
from bcc_py.isa import assemble
from bcc_py.kernel import Map
from bcc_py.linux import feature, sys
from bcc_py.linux.kernel import LinuxKernel, _trace_line
from bcc_py.spec import Hook, HookKind, LineInfo, MapSpec, ProgramSpec
from cfront.ctype import Record
from cfront.uapi import MapType, ProgType
from tests.linux.conftest import END, ONLY_ME, hash_spec, open_descriptors, program

pytestmark = pytest.mark.linux

GETPPID = Hook(HookKind.TRACEPOINT, "syscalls:sys_enter_getppid")
COUNT = ONLY_ME + """
    *(u32 *)(r10 -4) = 7
    r2 = r10
    r2 += -4
    r1 = $counts
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
""" + END
SEND = ONLY_ME + """
    r1 = LENGTH
    *(u64 *)(r10 -32) = r1
    r1 = 0x1122334455667788 ll
    *(u64 *)(r10 -24) = r1
    *(u64 *)(r10 -16) = r1
    *(u64 *)(r10 -8) = r1
    r1 = r6
    r2 = $events
    w3 = -1
    r4 = r10
    r4 += -32
    r5 = LENGTH
    call bpf_perf_event_output#25
""" + END
RING = ONLY_ME + """
    r1 = $events
    r2 = 24
    r3 = 0
    call bpf_ringbuf_reserve#131
    if r0 == 0 goto out
    r1 = r0
    r2 = 42
    *(u64 *)(r1 +0) = r2
    *(u64 *)(r1 +8) = r2
    *(u64 *)(r1 +16) = r2
    r2 = 0
    call bpf_ringbuf_FATE
""" + END


def run_getppid(times: int) -> None:
    for _ in range(times):
        os.getppid()


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """This thread stays on one CPU: what a CPU's buffer lost is told by the next record of that CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


# ---- maps ----


def test_hash_map_keeps_finds_walks_and_deletes(kernel: LinuxKernel) -> None:
    made = kernel.create_map(hash_spec())
    expected = {i.to_bytes(4, "little"): (i * i).to_bytes(8, "little") for i in range(20)}
    for key, value in expected.items():
        made.update(key, value)
    found, key = {}, made.next_key(None)
    while key is not None:
        found[key] = made.lookup(key)
        key = made.next_key(key)
    assert found == expected
    made.delete(bytes(4))
    assert made.lookup(bytes(4)) is None
    with pytest.raises(KeyNotFound, match="deleting from map counts: no such key 00000000"):
        made.delete(bytes(4))


def test_map_refuses_wrong_lengths_a_full_map_and_use_after_close(kernel: LinuxKernel) -> None:
    made = kernel.create_map(hash_spec(entries=1))
    with pytest.raises(MapError, match="a key of 3 bytes \\(it takes 4\\)"):
        made.lookup(b"abc")
    with pytest.raises(MapError, match="a value of 9 bytes \\(it takes 8\\)"):
        made.update(bytes(4), bytes(9))
    made.update(bytes(4), bytes(8))
    with pytest.raises(MapError, match="the map is full") as caught:
        made.update(b"1234", bytes(8))
    assert caught.value.errno == 7
    made.close()
    made.close()
    with pytest.raises(MapError, match="it is closed"):
        made.lookup(bytes(4))


def test_per_cpu_values_have_a_slot_for_each_possible_cpu(kernel: LinuxKernel) -> None:
    made = kernel.create_map(MapSpec("percpu", MapType.PERCPU_ARRAY, 4, 4, 3))
    value = b"".join(cpu.to_bytes(8, "little") for cpu in range(1, kernel.cpus + 1))
    made.update(bytes(4), value)
    assert made.lookup(bytes(4)) == value


def test_initial_contents_are_there_and_read_only_data_are_frozen(kernel: LinuxKernel) -> None:
    data = kernel.create_map(MapSpec(".data", MapType.ARRAY, 4, 8, 1, initial=b"12345678"))
    assert data.lookup(bytes(4)) == b"12345678"
    rodata = kernel.create_map(MapSpec(".rodata", MapType.ARRAY, 4, 8, 1, flags=1 << 7, initial=b"abcdefgh"))
    with pytest.raises(MapError):
        rodata.update(bytes(4), bytes(8))
    assert rodata.lookup(bytes(4)) == b"abcdefgh"


def test_impossible_map_is_an_error_with_the_sizes(kernel: LinuxKernel) -> None:
    with pytest.raises(MapError, match=r"creating map bad .type 1, key 0 bytes, value 8 bytes, 10 entries.*errno 22"):
        kernel.create_map(MapSpec("bad", MapType.HASH, 0, 8, 10))


def test_ring_sizes_are_rounded_up(kernel: LinuxKernel) -> None:
    assert kernel.create_map(MapSpec("r", MapType.RINGBUF, 0, 0, 5000)).spec.max_entries == 8192
    assert kernel.create_map(MapSpec("p", MapType.PERF_EVENT_ARRAY, 0, 0, 0)).spec.max_entries == kernel.cpus


# ---- loading ----


def test_loaded_program_runs_in_the_kernel(kernel: LinuxKernel) -> None:
    made = kernel.load_program(ProgramSpec("seven", "", ProgType.SOCKET_FILTER, assemble("r0 = 7\nexit")))
    assert made.test_run(bytes(64)).retval == 7
    made.close()
    with pytest.raises(LoadError, match="it is closed"):
        made.test_run(bytes(64))


def test_refused_program_tells_the_sentence_the_place_and_the_log(kernel: LinuxKernel) -> None:
    lines = (LineInfo(0, "x.c", 3, 5, "int f() {"), LineInfo(1, "x.c", 4, 9, "  return *p;"), LineInfo(9, "x.c", 9, 9, "no"))
    spec = ProgramSpec("bad", "", ProgType.KPROBE, assemble("r1 = 0\nr0 = *(u64 *)(r1 +0)\nexit"), lines=lines)
    with pytest.raises(VerifierError) as caught:
        kernel.load_program(spec)
    error = caught.value
    assert str(error) == (
        "loading program bad: R1 invalid mem access 'scalar' (insn 1 at x.c:4)\n      return *p;\n" + " " * 12 + "^")
    assert error.sentence == "R1 invalid mem access 'scalar'" and "r1 is NULL at line 4" in error.explain()
    assert (error.insn, error.span, error.program) == (1, "x.c:4:9", "bad")
    assert "0: (b7) r1 = 0" in error.log and "processed 2 insns" in error.log


def test_kprobe_type_loads_even_without_kprobes(kernel: LinuxKernel) -> None:
    kernel.load_program(ProgramSpec("a_name_that_is_longer_than_fifteen", "", ProgType.KPROBE, assemble("r0 = 0\nexit")))


def test_btf_that_the_kernel_does_not_take_is_left_out(kernel: LinuxKernel) -> None:
    from bcc_py.spec import FuncInfo

    spec = ProgramSpec("f", "", ProgType.SOCKET_FILTER, assemble("r0 = 3\nexit"), functions=(FuncInfo(0, "f", 1),), btf=b"junk")
    assert kernel.load_program(spec).test_run(bytes(64)).retval == 3


def test_program_of_no_bytes_is_refused(kernel: LinuxKernel) -> None:
    with pytest.raises(LoadError, match="0 bytes are not instructions"):
        kernel.load_program(ProgramSpec("f", "", ProgType.KPROBE, ()))


# ---- hooks ----


def counting(kernel: LinuxKernel) -> tuple[Map, ProgramSpec]:
    counts = kernel.create_map(hash_spec())
    counts.update((7).to_bytes(4, "little"), bytes(8))
    return counts, program(COUNT, maps={"counts": counts.fd})


def count(counts: Map) -> int:
    value = counts.lookup((7).to_bytes(4, "little"))
    assert value is not None
    return int.from_bytes(value, "little")


def test_tracepoint_counts_every_call_until_it_is_detached(kernel: LinuxKernel) -> None:
    counts, spec = counting(kernel)
    link = kernel.attach(kernel.load_program(spec), GETPPID)
    run_getppid(100)
    assert count(counts) == 100
    link.close()
    link.close()
    run_getppid(10)
    assert count(counts) == 100


def test_raw_tracepoint_sees_this_process(kernel: LinuxKernel) -> None:
    counts, _ = counting(kernel)
    raw = program(COUNT, ProgType.RAW_TRACEPOINT, maps={"counts": counts.fd})
    link = kernel.attach(kernel.load_program(raw), Hook(HookKind.RAW_TRACEPOINT, "sys_enter"))
    run_getppid(50)
    link.close()
    assert count(counts) >= 50


def test_unknown_hooks_are_refused_with_a_guess(kernel: LinuxKernel) -> None:
    made = kernel.load_program(counting(kernel)[1])
    with pytest.raises(AttachError, match=r"no such tracepoint .did you mean syscalls:sys_enter_getppid"):
        kernel.attach(made, Hook(HookKind.TRACEPOINT, "syscalls:sys_enter_getppidd"))
    with pytest.raises(AttachError, match="no such tracepoint"):
        kernel.attach(made, Hook(HookKind.TRACEPOINT, "../../etc:passwd"))
    with pytest.raises(AttachError, match="it takes a program of type RAW_TRACEPOINT, not TRACEPOINT"):
        kernel.attach(made, Hook(HookKind.RAW_TRACEPOINT, "sys_enter"))
    raw = kernel.load_program(ProgramSpec("r", "", ProgType.RAW_TRACEPOINT, assemble("r0 = 0\nexit")))
    with pytest.raises(AttachError, match="no such raw tracepoint"):
        kernel.attach(raw, Hook(HookKind.RAW_TRACEPOINT, "no_such_thing"))


def test_a_kprobe_of_a_system_call_is_served_where_there_are_no_kprobes(kernel: LinuxKernel) -> None:
    made = kernel.load_program(ProgramSpec("k", "", ProgType.KPROBE, assemble("r0 = 0\nexit")))
    hook = Hook(HookKind.KPROBE, "__x64_sys_getppid")
    link = kernel.attach(made, hook)
    assert link.hook == hook
    link.close()


# ---- rings ----


@pytest.mark.parametrize("length", [1, 4, 5, 8, 12, 31, 32])
def test_perf_buffer_delivers_what_was_sent(kernel: LinuxKernel, length: int) -> None:
    events = kernel.create_map(MapSpec("events", MapType.PERF_EVENT_ARRAY, 4, 4, 0))
    got: list[bytes] = []
    ring = kernel.open_perf_buffer(events, lambda cpu, record: got.append(bytes(record)), lambda cpu, count: None, 1)
    link = kernel.attach(kernel.load_program(program(SEND.replace("LENGTH", str(length)), maps={"events": events.fd})), GETPPID)
    run_getppid(40)
    assert kernel.poll([ring], 1000) == 40
    sent = length.to_bytes(8, "little") + bytes.fromhex("8877665544332211") * 3
    assert len(got) == 40 and all(one[:length] == sent[:length] for one in got)
    assert all(len(one) == -(-(length + 4) // 8) * 8 - 4 for one in got)
    link.close()


def test_perf_buffer_wraps_and_tells_what_was_lost(kernel: LinuxKernel, one_cpu: None) -> None:
    events = kernel.create_map(MapSpec("events", MapType.PERF_EVENT_ARRAY, 4, 4, 0))
    got: list[int] = []
    lost: list[int] = []
    ring = kernel.open_perf_buffer(
        events, lambda cpu, record: got.append(int.from_bytes(record[:8], "little")), lambda cpu, count: lost.append(count), 1)
    kernel.attach(kernel.load_program(program(SEND.replace("LENGTH", "20"), maps={"events": events.fd})), GETPPID)
    for _ in range(30):  # 32 bytes a record: wraps a page ten times
        run_getppid(50)
        ring.consume()
    assert got == [20] * 1500 and not lost
    run_getppid(1000)
    kernel.poll([ring], 100)
    run_getppid(1)
    kernel.poll([ring], 100)
    assert len(got) - 1500 + sum(lost) == 1001 and lost


@pytest.mark.parametrize(("fate", "expected"), [("submit#132", 30), ("discard#133", 0)])
def test_ring_buffer_delivers_what_was_submitted(kernel: LinuxKernel, fate: str, expected: int) -> None:
    events = kernel.create_map(MapSpec("events", MapType.RINGBUF, 0, 0, 4096))
    got: list[bytes] = []
    ring = kernel.open_ring_buffer(events, lambda record: got.append(bytes(record)))
    kernel.attach(kernel.load_program(program(RING.replace("FATE", fate), maps={"events": events.fd})), GETPPID)
    total = 0
    for _ in range(20):  # 32 bytes a record: wraps four times
        run_getppid(30)
        total += kernel.poll([ring], 0 if not expected else 1000)
    assert total == expected * 20
    assert got == [(42).to_bytes(8, "little") * 3] * total


def test_callbacks_may_raise_stop_and_close(kernel: LinuxKernel) -> None:
    events = kernel.create_map(MapSpec("events", MapType.RINGBUF, 0, 0, 4096))
    answers = iter([0, -1, ValueError, 0, "close"])
    seen: list[memoryview] = []

    def callback(record: memoryview) -> object:
        seen.append(record)
        answer = next(answers)
        if answer is ValueError:
            raise ValueError("of the callback")
        if answer == "close":
            ring.close()
        return answer

    ring = kernel.open_ring_buffer(events, callback)
    kernel.attach(kernel.load_program(program(RING.replace("FATE", "submit#132"), maps={"events": events.fd})), GETPPID)
    run_getppid(6)
    assert ring.consume() == 2
    with pytest.raises(ValueError, match="of the callback"):
        ring.consume()
    assert ring.consume() == 2
    assert ring.consume() == 0
    assert [bytes(one) for one in seen] == [(42).to_bytes(8, "little") * 3] * 5


def test_poll_waits_no_longer_than_asked_and_wakes_up(kernel: LinuxKernel) -> None:
    events = kernel.create_map(MapSpec("events", MapType.RINGBUF, 0, 0, 4096))
    ring = kernel.open_ring_buffer(events, lambda record: None)
    assert kernel.poll([ring], 10) == 0
    kernel.attach(kernel.load_program(program(RING.replace("FATE", "submit#132"), maps={"events": events.fd})), GETPPID)
    later = threading.Timer(0.05, os.getppid)
    later.start()
    assert kernel.poll([ring], 10_000) == 1
    later.join()


def test_bad_page_count_is_refused(kernel: LinuxKernel) -> None:
    events = kernel.create_map(MapSpec("events", MapType.PERF_EVENT_ARRAY, 4, 4, 0))
    for pages in (0, 3, -8):
        with pytest.raises(MapError, match="not a power of two"):
            kernel.open_perf_buffer(events, lambda cpu, record: None, lambda cpu, count: None, pages)
    before = open_descriptors()
    with pytest.raises(MapError):  # more than may be locked or than there is
        kernel.open_perf_buffer(events, lambda cpu, record: None, lambda cpu, count: None, 1 << 30)
    assert open_descriptors() == before


# ---- names and types ----


def test_types_hold_vmlinux_and_tracepoint_structs(kernel: LinuxKernel) -> None:
    task = kernel.types.find("struct", "task_struct")
    assert isinstance(task, Record) and task.member("real_parent") is not None
    fork = kernel.types.find("struct", "tracepoint__sched__sched_process_fork")
    assert isinstance(fork, Record) and fork.member("child_pid") is not None
    assert kernel.types.find("struct", "tracepoint__no__such") is None
    assert kernel.types.enumerator("BPF_MAP_TYPE_HASH") == 1


def test_functions_and_their_addresses(kernel: LinuxKernel) -> None:
    assert kernel.has_function("tcp_v4_connect") and not kernel.has_function("no_such_function")
    assert kernel.has_function(kernel.syscall_prefix() + "openat")
    by_hand = {}
    with open("/proc/kallsyms") as file:
        for line in file:
            address, _, name = line.split()[:3]
            by_hand[name] = int(address, 16)
    if by_hand["tcp_v4_connect"]:
        assert kernel.ksym(by_hand["tcp_v4_connect"] + 4) == ("tcp_v4_connect", 4, "kernel")
        assert kernel.function_address("tcp_v4_connect") == by_hand["tcp_v4_connect"]
    assert kernel.ksym(5) is None and kernel.ksym(1 << 64) is None


def test_tracepoints(kernel: LinuxKernel) -> None:
    names = set(kernel.tracepoints())
    assert "sched:sched_switch" in names and "syscalls:sys_enter_openat" in names
    assert kernel.has_tracepoint("sched", "sched_switch")
    assert not kernel.has_tracepoint("sched", "no_such") and not kernel.has_tracepoint("..", "..")


# ---- trace_pipe, time, privilege ----


def test_trace_pipe_gives_what_a_program_printed(kernel: LinuxKernel) -> None:
    text = ONLY_ME + f"""
        r1 = {int.from_bytes(b"three %d", "little")} ll
        *(u64 *)(r10 -16) = r1
        r1 = 0
        *(u64 *)(r10 -8) = r1
        r1 = r10
        r1 += -16
        r2 = 9
        r3 = 33
        call bpf_trace_printk#6
    """ + END
    kernel.read_trace_pipe(0)
    kernel.attach(kernel.load_program(program(text)), GETPPID)
    os.getppid()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        line = kernel.read_trace_pipe(1000)
        if line is not None and line.pid == threading.get_native_id():
            assert line.message == "three 33"
            assert abs(line.time_ns - kernel.now_ns()) < 60 * 10**9
            return
    pytest.fail("nothing came out of trace_pipe")


def test_trace_lines() -> None:
    line = _trace_line("           <...>-1234    [001] d..31  1234.567890: bpf_trace_printk: hello: world")
    assert line is not None
    assert (line.comm, line.pid, line.cpu, line.flags) == ("<...>", 1234, 1, "d..31")
    assert (line.time_ns, line.message) == (1234567890000, "hello: world")
    line = _trace_line("  a-b c-d-77      [000] .....  0.000001: bpf_trace_printk: x")
    assert line is not None and (line.comm, line.pid) == ("a-b c-d", 77)
    assert _trace_line("CPU:1 [LOST 42 EVENTS]") is None


def test_without_privilege_it_says_what_to_do() -> None:
    code = """
import os
from bcc_py.errors import NotSupportedError
from bcc_py.linux import sys
from bcc_py.linux.kernel import LinuxKernel
sys._c()  # while its modules can be read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    LinuxKernel()
except NotSupportedError as error:
    print(error)
"""
    if os.getuid() != 0:
        pytest.skip(str(NotSupportedError("dropping privilege: not root")))
    import sys as python

    done = subprocess.run([python.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False,
                          env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert "run as root or with CAP_BPF and CAP_PERFMON, or use --kernel sim" in done.stdout, done.stderr


def test_features_have_answers() -> None:
    assert all(isinstance(feature.has(name), bool) for name in feature.FEATURES)
    assert sys.possible_cpus() >= len(sys.online_cpus())


def test_runs_are_counted_while_wanted() -> None:
    """As the sysctl says it, whose value stays."""
    with open("/proc/sys/kernel/bpf_stats_enabled", encoding="ascii") as file:
        before = file.read()
    kernel = LinuxKernel()
    counted = kernel.load_program(program("r0 = 0\nexit", ProgType.SOCKET_FILTER))
    counted.test_run(bytes(64), repeat=5)
    unasked = 5 if before.strip() == "1" else 0
    assert (counted.stats.runs, kernel.has_stats) == (unasked, False)
    kernel.has_stats = kernel.has_stats = True
    counted.test_run(bytes(64), repeat=1000)
    assert counted.stats.runs == unasked + 1000 and counted.stats.run_time_ns > 0
    kernel.has_stats = False
    counted.test_run(bytes(64), repeat=5)
    assert counted.stats.runs == unasked * 2 + 1000
    kernel.has_stats = True
    kernel.close()
    assert not kernel.has_stats
    with pytest.raises(LoadError, match="it is closed"):
        _ = counted.stats
    with open("/proc/sys/kernel/bpf_stats_enabled", encoding="ascii") as file:
        assert file.read() == before
