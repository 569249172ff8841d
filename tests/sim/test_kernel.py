"""The simulated kernel through its seam: hooks and what programs get from them, rings, time, the trace pipe."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from bcc_py.errors import AttachError, LoadError, MapError, NotSupportedError, VerifierError
from bcc_py.kernel import Kernel, Link, Program
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.maps import SimMap
from bcc_py.spec import Hook, HookKind, MapSpec
from cfront.uapi import MapType, ProgType
from tests.sim.quiet import Script, program

_PERF = MapSpec("events", MapType.PERF_EVENT_ARRAY, 4, 4, 0)
_TP, _RAW, _KPROBE, _KRETPROBE = HookKind.TRACEPOINT, HookKind.RAW_TRACEPOINT, HookKind.KPROBE, HookKind.KRETPROBE

_SEND_R7_R8 = """
    *(u64 *)(r10 -16) = r7
    *(u64 *)(r10 -8) = r8
    r1 = r6
    r2 = $events
    r3 = 0xffffffff ll
    r4 = r10
    r4 += -16
    r5 = 16
    call bpf_perf_event_output#25
    r0 = 0
    exit
"""


def _watch(kernel: SimKernel, hook: Hook, text: str, type: ProgType) -> list[tuple[int, int, int]]:
    """Attaches a program that sends r7 and r8; the list that poll then fills with (cpu, r7, r8)."""
    events = kernel.create_map(_PERF)
    loaded = kernel.load_program(program("r6 = r1\n" + text + _SEND_R7_R8, type, events=events.fd))
    kernel.attach(loaded, hook)
    got: list[tuple[int, int, int]] = []
    ring = kernel.open_perf_buffer(events, lambda cpu, record: got.append((cpu, *struct.unpack_from("<QQ", record))), lambda *_: None)
    kernel.perf_rings = [ring]  # type: ignore[attr-defined]
    return got


def _poll(kernel: SimKernel) -> None:
    kernel.poll(kernel.perf_rings, 0)  # type: ignore[attr-defined]


def test_a_tracepoint_program_sees_the_record(kernel: SimKernel) -> None:
    got = _watch(kernel, Hook(_TP, "sched:sched_process_exit"), "r7 = *(u32 *)(r6 +24)\nr8 = *(u8 *)(r6 +32)", ProgType.TRACEPOINT)
    kernel.set_context(1, 50, None)
    kernel.fire_tracepoint("sched:sched_process_exit", bytes(24) + struct.pack("<iiB", 4711, 120, 1))
    kernel.fire_tracepoint("sched:sched_process_exec", bytes(33))
    _poll(kernel)
    assert got == [(1, 4711, 1)]


def test_a_shorter_record_is_followed_by_zeros(kernel: SimKernel) -> None:
    got = _watch(kernel, Hook(_TP, "sched:sched_process_exit"), "r7 = *(u64 *)(r6 +8)\nr8 = *(u64 *)(r6 +40)", ProgType.TRACEPOINT)
    kernel.fire_tracepoint("sched:sched_process_exit", b"\xff" * 64)
    kernel.fire_tracepoint("sched:sched_process_exit", b"\xee" * 16)
    _poll(kernel)
    assert got == [(0, 2**64 - 1, 2**64 - 1), (0, 0xEEEEEEEEEEEEEEEE, 0)]


def test_raw_tracepoint_arguments(kernel: SimKernel) -> None:
    got = _watch(kernel, Hook(_RAW, "sched_process_exit"), "r7 = *(u64 *)(r6 +0)\nr8 = *(u64 *)(r6 +8)", ProgType.RAW_TRACEPOINT)
    kernel.fire_raw_tracepoint("sched_process_exit", (-1, 7))
    _poll(kernel)
    assert got == [(0, 2**64 - 1, 7)]


_REGISTERS = "r7 = *(u64 *)(r6 +112)\nr8 = *(u64 *)(r6 +80)"  # di, ax


def test_kprobe_and_kretprobe_registers(kernel: SimKernel) -> None:
    got = _watch(kernel, Hook(_KPROBE, "__x64_sys_kill"), _REGISTERS, ProgType.KPROBE)
    kernel.fire_kprobe("__x64_sys_kill", {"di": 5, "ax": 6})
    kernel.fire_kretprobe("__x64_sys_kill", {"di": 7, "ax": 8})
    _poll(kernel)
    assert got == [(0, 5, 6)]


def test_a_system_call_fires_in_linuxs_order(kernel: SimKernel) -> None:
    order: list[str] = []
    events = kernel.create_map(MapSpec("events", MapType.RINGBUF, 0, 0, 4096))
    hooks = [
        (Hook(_KRETPROBE, "__x64_sys_openat"), ProgType.KPROBE), (Hook(_KPROBE, "__x64_sys_openat"), ProgType.KPROBE),
        (Hook(_TP, "syscalls:sys_exit_openat"), ProgType.TRACEPOINT), (Hook(_TP, "syscalls:sys_enter_openat"), ProgType.TRACEPOINT),
        (Hook(_TP, "raw_syscalls:sys_enter"), ProgType.TRACEPOINT), (Hook(_TP, "raw_syscalls:sys_exit"), ProgType.TRACEPOINT),
        (Hook(_RAW, "sys_enter"), ProgType.RAW_TRACEPOINT), (Hook(_RAW, "sys_exit"), ProgType.RAW_TRACEPOINT),
    ]
    for number, (hook, type) in enumerate(hooks):
        text = f"*(u64 *)(r10 -8) = {number}\nr1 = $events\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\ncall bpf_ringbuf_output#130\nr0 = 0\nexit"
        kernel.attach(kernel.load_program(program(text, type, events=events.fd)), hook)
    ring = kernel.open_ring_buffer(events, lambda record: order.append(str(hooks[record[0]][0])))
    kernel.syscall_enter(257, (1, 2, 3, 4, 5, 6))
    kernel.syscall_exit(257, 3)
    ring.consume()
    assert order == [
        "raw tracepoint sys_enter", "tracepoint raw_syscalls:sys_enter", "tracepoint syscalls:sys_enter_openat",
        "kprobe __x64_sys_openat", "kretprobe __x64_sys_openat", "tracepoint syscalls:sys_exit_openat",
        "tracepoint raw_syscalls:sys_exit", "raw tracepoint sys_exit"]


def test_a_system_calls_arguments_are_behind_di(kernel: SimKernel) -> None:
    """The wrapper's convention: di is the kernel address of the caller's registers; the fourth is r10 (offset 56)."""
    text = """
        r3 = *(u64 *)(r6 +112)
        r3 += 56
        r1 = r10
        r1 += -8
        r2 = 8
        call bpf_probe_read_kernel#113
        r7 = r0
        r8 = *(u64 *)(r10 -8)
    """
    got = _watch(kernel, Hook(_KPROBE, "__x64_sys_openat"), text, ProgType.KPROBE)
    kernel.set_context(0, 1, kernel.tasks.init)
    kernel.syscall_enter(257, (1, 2, 3, 0x44, 5, 6))
    _poll(kernel)
    assert got == [(0, 0, 0x44)]


def test_a_system_calls_tracepoint_record(kernel: SimKernel) -> None:
    got = _watch(kernel, Hook(_TP, "syscalls:sys_enter_openat"), "r7 = *(u64 *)(r6 +24)\nr8 = *(u64 *)(r6 +48)", ProgType.TRACEPOINT)
    kernel.syscall_enter(257, (1, 2, 3, 4, 5, 6))
    _poll(kernel)
    assert got == [(0, 2, 0)]  # filename; behind the record's end is nothing


def test_who_where_and_when(kernel: SimKernel) -> None:
    text = "call bpf_get_current_pid_tgid#14\nr7 = r0\ncall bpf_ktime_get_ns#5\nr8 = r0"
    got = _watch(kernel, Hook(_TP, "raw_syscalls:sys_exit"), text, ProgType.TRACEPOINT)
    task = kernel.tasks.spawn(12, "thread", tgid=10)
    kernel.set_context(1, 123456, task)
    kernel.syscall_exit(39, 10)
    _poll(kernel)
    assert got == [(1, 10 << 32 | 12, 123456)]


def test_the_task_struct_says_what_the_task_says(kernel: SimKernel) -> None:
    """pid of bpf_get_current_task()->real_parent, by kernel reads at BTF offsets."""
    task_struct = kernel.types.find("struct", "task_struct")
    parent_off, tgid_off = task_struct.member("real_parent").offset, task_struct.member("tgid").offset  # type: ignore[union-attr]
    text = f"""
        call bpf_get_current_task#35
        r3 = r0
        r3 += {parent_off}
        r1 = r10
        r1 += -8
        r2 = 8
        call bpf_probe_read_kernel#113
        r7 = r0
        r3 = *(u64 *)(r10 -8)
        r3 += {tgid_off}
        *(u64 *)(r10 -8) = 0
        r1 = r10
        r1 += -8
        r2 = 4
        call bpf_probe_read_kernel#113
        r8 = *(u32 *)(r10 -8)
    """
    got = _watch(kernel, Hook(_TP, "raw_syscalls:sys_exit"), text, ProgType.TRACEPOINT)
    child = kernel.tasks.fork(kernel.tasks.spawn(77, "parent"), 78)
    kernel.set_context(0, 1, child)
    kernel.syscall_exit(39, 78)
    kernel.tasks.exit(kernel.tasks.get(77), 0)  # type: ignore[arg-type]
    kernel.syscall_exit(39, 78)
    _poll(kernel)
    assert got == [(0, 0, 77), (0, 0, 1)]


@pytest.mark.parametrize(("helper", "address", "result"), [
    ("probe_read_kernel#113", "user", -34), ("probe_read_user#112", "user", 0), ("probe_read#4", "user", 0),
    ("probe_read_user#112", "kernel", -14), ("probe_read_kernel#113", "kernel", 0), ("probe_read#4", "kernel", 0),
    ("probe_read_kernel#113", "nowhere", -14), ("probe_read_user#112", "nowhere", -14), ("probe_read#4", "nowhere", -14),
    ("probe_read_kernel#113", "stack", 0), ("probe_read_user#112", "end", -14), ("probe_read_kernel#113", "null", -34),
])
def test_reads_are_checked(kernel: SimKernel, helper: str, address: str, result: int) -> None:
    from bcc_py.sim.memory import UserMemory

    user = UserMemory(kernel.runtime, [(0x10000, b"12345678")])
    task = kernel.tasks.spawn(5, "reader")
    task.memory = user
    places = {"user": 0x10000, "kernel": kernel.memory.take_bytes(b"abcdefgh"), "nowhere": 0xFFFF_F000_0000_0000, "end": 0x10004, "null": 0}
    where = "r3 = r10\nr3 += -16" if address == "stack" else f"r3 = {places[address]:#x} ll"
    text = f"r7 = 0x5555 \n*(u64 *)(r10 -16) = 0\n*(u64 *)(r10 -8) = r7\nr1 = r10\nr1 += -8\nr2 = 8\n{where}\ncall bpf_{helper}\nr7 = r0\nr8 = *(u64 *)(r10 -8)"
    got = _watch(kernel, Hook(_TP, "raw_syscalls:sys_exit"), text, ProgType.TRACEPOINT)
    kernel.set_context(0, 1, task)
    kernel.syscall_exit(39, 5)
    _poll(kernel)
    content = {"user": b"12345678", "kernel": b"abcdefgh"}.get(address, bytes(8)) if not result else bytes(8)
    assert got == [(0, result & (2**64 - 1), int.from_bytes(content, "little"))]


def test_strings_are_read_to_their_end(kernel: SimKernel) -> None:
    place = kernel.memory.take_bytes(b"hello\0world")
    text = f"*(u64 *)(r10 -8) = -1\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = {place:#x} ll\ncall bpf_probe_read_kernel_str#115\nr7 = r0\nr8 = *(u64 *)(r10 -8)"
    got = _watch(kernel, Hook(_TP, "raw_syscalls:sys_exit"), text, ProgType.TRACEPOINT)
    kernel.syscall_exit(39, 5)
    _poll(kernel)
    assert got == [(0, 6, int.from_bytes(b"hello\0\xff\xff", "little"))]


# ---- attaching


def _nothing(kernel: Kernel, type: ProgType = ProgType.TRACEPOINT) -> Program:
    return kernel.load_program(program("r0 = 0\nexit", type))


@pytest.mark.parametrize(("kind", "type", "name", "words"), [
    (_TP, ProgType.TRACEPOINT, "sched:sched_proces_exec", "no such tracepoint (did you mean sched:sched_process_exec"),
    (_TP, ProgType.TRACEPOINT, "zzzz:qqqq", "no such tracepoint"),
    (_RAW, ProgType.RAW_TRACEPOINT, "sys_entr", "no such raw tracepoint (did you mean sys_enter"),
    (_KPROBE, ProgType.KPROBE, "__x64_sys_opeat", "no such function (did you mean __x64_sys_openat"),
    (_TP, ProgType.KPROBE, "sched:sched_switch", "it is a kprobe program (a tracepoint program fits)"),
])
def test_hooks_are_refused_in_words(kernel: SimKernel, kind: HookKind, type: ProgType, name: str, words: str) -> None:
    with pytest.raises(AttachError) as caught:
        kernel.attach(_nothing(kernel, type), Hook(kind, name))
    assert words in str(caught.value)


def test_the_same_program_twice(kernel: SimKernel) -> None:
    """Linux: EEXIST on a tracepoint, a second link elsewhere."""
    one = _nothing(kernel)
    kernel.attach(one, Hook(_TP, "sched:sched_switch"))
    with pytest.raises(AttachError, match="attached to it already"):
        kernel.attach(one, Hook(_TP, "sched:sched_switch"))
    kernel.attach(one, Hook(_TP, "sched:sched_wakeup"))
    probe = _nothing(kernel, ProgType.KPROBE)
    first = kernel.attach(probe, Hook(_KPROBE, "__x64_sys_kill"))
    kernel.attach(probe, Hook(_KPROBE, "__x64_sys_kill"))
    before = kernel.runs
    kernel.fire_kprobe("__x64_sys_kill", {})
    first.close()
    first.close()
    kernel.fire_kprobe("__x64_sys_kill", {})
    assert kernel.runs - before == 3


def test_a_kprobe_inside_a_function_is_refused(kernel: SimKernel) -> None:
    with pytest.raises(NotSupportedError, match="only its entry"):
        kernel.attach(_nothing(kernel, ProgType.KPROBE), Hook(_KPROBE, "__x64_sys_kill", 4))


def test_a_closed_program_stays_until_it_is_detached(kernel: SimKernel) -> None:
    one = _nothing(kernel)
    link = kernel.attach(one, Hook(_TP, "raw_syscalls:sys_exit"))
    one.close()
    before = kernel.runs
    kernel.syscall_exit(1, 0)
    assert kernel.runs == before + 1
    link.close()
    kernel.syscall_exit(1, 0)
    assert kernel.runs == before + 1
    with pytest.raises(LoadError, match="program test is closed"):
        kernel.attach(one, Hook(_TP, "raw_syscalls:sys_exit"))


def test_a_program_of_another_kernel_is_refused(kernel: SimKernel) -> None:
    other = SimKernel(Script(), spec="sim:other")
    with pytest.raises(AttachError, match="another kernel"):
        kernel.attach(_nothing(other), Hook(_TP, "sched:sched_switch"))
    other.close()


def test_nothing_runs_unverified(kernel: SimKernel) -> None:
    with pytest.raises(VerifierError):
        kernel.load_program(program("r0 = *(u64 *)(r3 +0)\nexit"))


def test_rings_of_the_wrong_kind_end_no_process(kernel: SimKernel) -> None:
    """Whoever lets it through: the verifier refuses it, and the runtime would."""
    map = kernel.create_map(MapSpec("m", MapType.HASH, 8, 8, 4))
    with pytest.raises(VerifierError, match="cannot pass map_type"):
        kernel.load_program(program("r1 = $m\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\nr0 = 0\nexit", m=map.fd))


def test_a_helper_that_is_not_there_is_named(kernel: SimKernel) -> None:
    with pytest.raises(NotSupportedError, match="bpf_snprintf_btf#149"):
        kernel.load_program(program("r1 = r10\nr1 += -16\nr2 = 16\nr3 = r1\nr4 = 16\nr5 = 0\ncall bpf_snprintf_btf#149\nr0 = 0\nexit"))


# ---- rings and time


def _counter_events(count: int) -> list[tuple[int, object]]:
    def fire(at: int) -> tuple[int, object]:
        def event(kernel: SimKernel) -> None:
            kernel.set_context(at % 2, 1000 * (at + 1), None)
            kernel.syscall_exit(at, 0)
        return 1000 * (at + 1), event
    return [fire(at) for at in range(count)]


@pytest.fixture
def ticking() -> Iterator[tuple[SimKernel, SimMap]]:
    """100 sys_exit events, 1 us apart, alternating CPUs; each is sent through a perf buffer: its id."""
    kernel = SimKernel(Script(*_counter_events(100)), spec="sim:test")  # type: ignore[arg-type]
    events = kernel.create_map(_PERF)
    text = "r6 = r1\nr7 = *(u64 *)(r6 +8)\nr8 = 0" + _SEND_R7_R8
    kernel.attach(kernel.load_program(program(text, events=events.fd)), Hook(_TP, "raw_syscalls:sys_exit"))
    assert isinstance(events, SimMap)
    yield kernel, events
    kernel.close()


def test_poll_stops_at_the_first_record_and_at_the_timeout(ticking: tuple[SimKernel, SimMap]) -> None:
    kernel, events = ticking
    got: list[tuple[int, int]] = []
    ring = kernel.open_perf_buffer(events, lambda cpu, record: got.append((cpu, record[0])), lambda *_: None)
    assert (kernel.poll([ring], 100), got, kernel.now_ns()) == (1, [(0, 0)], 1000)
    assert (kernel.poll([ring], 0), kernel.now_ns()) == (0, 1000)
    kernel.sleep(0.00001)
    assert kernel.now_ns() == 11000
    assert kernel.poll([ring], 0) == 10
    assert sorted(number for _, number in got) == list(range(11))
    while not kernel.is_finished:
        kernel.poll([ring], -1)
    assert len(got) == 100
    assert kernel.poll([ring], -1) == 0


def test_a_full_perf_buffer_loses_and_says_how_many(ticking: tuple[SimKernel, SimMap]) -> None:
    kernel, events = ticking
    got: list[int] = []
    lost: list[tuple[int, int]] = []
    ring = kernel.open_perf_buffer(events, lambda cpu, record: got.append(record[0]), lambda cpu, count: lost.append((cpu, count)), 1)
    for _ in range(200):  # 32 bytes each on cpu 0, 127 fit into a page less one byte
        kernel.syscall_exit(7, 0)
    assert ring.consume() == 127
    kernel.syscall_exit(8, 0)
    assert ring.consume() == 1
    assert (lost, got[-1]) == ([(0, 73)], 8)


def test_records_have_perfs_padded_size(ticking: tuple[SimKernel, SimMap]) -> None:
    kernel, events = ticking
    sizes: list[int] = []
    ring = kernel.open_perf_buffer(events, lambda cpu, record: sizes.append(len(record)), lambda *_: None)
    kernel.poll([ring], -1)
    assert sizes == [20]  # 16 bytes: round_up(16 + 4, 8) - 4


def test_an_exception_in_a_callback_leaves_the_rest(ticking: tuple[SimKernel, SimMap]) -> None:
    kernel, events = ticking
    got: list[int] = []

    def callback(cpu: int, record: memoryview) -> None:
        got.append(record[0])
        if len(got) == 2:
            raise KeyError("from the callback")

    ring = kernel.open_perf_buffer(events, callback, lambda *_: None)
    kernel.sleep(0.00001)
    with pytest.raises(KeyError, match="from the callback"):
        kernel.poll([ring], 0)
    kernel.poll([ring], 0)
    assert sorted(got) == list(range(10))


def test_a_callback_may_close_poll_and_detach(ticking: tuple[SimKernel, SimMap]) -> None:
    kernel, events = ticking
    got: list[int] = []
    links: list[Link] = []

    def callback(cpu: int, record: memoryview) -> None:
        got.append(record[0])
        if len(got) == 3:
            kernel.poll([ring], 0)
        if len(got) == 8:
            ring.close()

    ring = kernel.open_perf_buffer(events, callback, lambda *_: None)
    links.append(kernel.attach(_nothing(kernel), Hook(_TP, "raw_syscalls:sys_exit")))
    kernel.sleep(0.00002)
    kernel.poll([ring], 0)
    assert len(got) == 8
    assert kernel.poll([ring], 0) == 0
    again = kernel.open_perf_buffer(events, lambda *_: None, lambda *_: None)
    again.close()


def test_a_perf_buffer_is_opened_once(ticking: tuple[SimKernel, SimMap]) -> None:
    kernel, events = ticking
    kernel.open_perf_buffer(events, lambda *_: None, lambda *_: None)
    with pytest.raises(MapError, match="opening the perf buffer of map events"):
        kernel.open_perf_buffer(events, lambda *_: None, lambda *_: None)
    with pytest.raises(MapError, match="3 pages is not a power of two"):
        kernel.open_perf_buffer(events, lambda *_: None, lambda *_: None, 3)


_RING_TEXT = """
    r1 = $ring
    r2 = {size}
    r3 = 0
    call bpf_ringbuf_reserve#131
    if r0 == 0 goto out
    *(u64 *)(r0 +0) = 77
    r1 = r0
    r2 = 0
    call bpf_ringbuf_{end}
out:
    r0 = 0
    exit
"""


@pytest.mark.parametrize(("end", "count"), [("submit#132", 3), ("discard#133", 0)])
def test_ring_buffer_records(kernel: SimKernel, end: str, count: int) -> None:
    ring_map = kernel.create_map(MapSpec("ring", MapType.RINGBUF, 0, 0, 4096))
    text = _RING_TEXT.format(size=1000, end=end)
    kernel.attach(kernel.load_program(program(text, ring=ring_map.fd)), Hook(_TP, "raw_syscalls:sys_exit"))
    got: list[bytes] = []
    ring = kernel.open_ring_buffer(ring_map, lambda record: got.append(bytes(record)))
    for _ in range(50):
        for _ in range(3):
            kernel.syscall_exit(1, 0)
        assert ring.consume() == count
    assert [len(one) for one in got] == [1000] * 50 * count
    assert all(one[0] == 77 for one in got)


def test_a_full_ring_buffer_gives_null(kernel: SimKernel) -> None:
    ring_map = kernel.create_map(MapSpec("ring", MapType.RINGBUF, 0, 0, 4096))
    kernel.attach(kernel.load_program(program(_RING_TEXT.format(size=1000, end="submit#132"), ring=ring_map.fd)),
                  Hook(_TP, "raw_syscalls:sys_exit"))
    ring = kernel.open_ring_buffer(ring_map, lambda record: None)
    for _ in range(9):
        kernel.syscall_exit(1, 0)
    assert ring.consume() == 4  # 1008 bytes each with the header


def test_a_negative_answer_stops_the_round(kernel: SimKernel) -> None:
    ring_map = kernel.create_map(MapSpec("ring", MapType.RINGBUF, 0, 0, 4096))
    kernel.attach(kernel.load_program(program(_RING_TEXT.format(size=8, end="submit#132"), ring=ring_map.fd)),
                  Hook(_TP, "raw_syscalls:sys_exit"))
    ring = kernel.open_ring_buffer(ring_map, lambda record: -1)
    for _ in range(3):
        kernel.syscall_exit(1, 0)
    assert ring.consume() == 1
    assert ring.consume() == 1


# ---- the trace pipe

_FORMATS = [
    ("plain", ()), ("%d", (-5,)), ("%u", (-5,)), ("%x %X", (0xBEEF, 0xBEEF)), ("%ld|%lld", (-5, -6)), ("%lu|%llu", (-5, -6)),
    ("%lx|%llx", (-5, 1 << 40)), ("100%%", ()), ("%c%c", (65, 66)), ("%5d|%-5d|%05d", (42, 42, 42)), 
    ("%+d", (5,)), ("% d", (5,)), ("%8x|%08llx", (0xABC, 0xABC)), ("%i", (-1,)),
    ("%3u|%-3u|", (12345, 1)), ("%d", (1 << 35,)), ("tab\there", ()),
]
_BAD_FORMATS = [("%hhd", (1,)), ("%#x", (1,)), ("%zu", (1,)), ("%.3d", (1,)), ("%o", (1,)), ("%lc", (1,)), ("%d %d %d %d", (1, 2, 3)), ("%q", (1,)), ("%f", (1,)), ("%", ()), ("\x01", ()), ("%n", (1,))]


def _print_program(text: str, values: tuple[int, ...]) -> str:
    content = text.encode() + b"\0"
    room = (len(content) + 7) // 8 * 8
    rows = []
    for at in range(0, room, 8):
        word = int.from_bytes(content[at : at + 8].ljust(8, b"\0"), "little")
        rows += [f"r1 = {word:#x} ll", f"*(u64 *)(r10 -{room - at}) = r1"]
    for reg, value in zip((3, 4, 5), (*values, 0, 0, 0), strict=False):
        rows.append(f"r{reg} = {value & (2**64 - 1):#x} ll")
    return "\n".join([*rows, "r1 = r10", f"r1 += -{room}", f"r2 = {len(content)}", "call bpf_trace_printk#6", "exit"])


@pytest.mark.parametrize(("text", "values"), _FORMATS)
def test_what_is_printed(kernel: SimKernel, text: str, values: tuple[int, ...]) -> None:
    import ctypes

    kernel.load_program(program(_print_program(text, values))).test_run()
    line = kernel.read_trace_pipe(0)
    assert line is not None
    libc = ctypes.CDLL(None)
    wanted = ctypes.create_string_buffer(256)
    libc.snprintf(wanted, 256, text.encode(), *(ctypes.c_uint64(value & (2**64 - 1)) for value in values))
    assert line.message == wanted.value.decode()
    assert (line.comm, line.pid, line.cpu) == ("swapper/0", 0, 0)
    assert kernel.read_trace_pipe(0) is None


@pytest.mark.parametrize(("text", "values"), _BAD_FORMATS)
def test_bad_formats_are_einval(kernel: SimKernel, text: str, values: tuple[int, ...]) -> None:
    assert kernel.load_program(program(_print_program(text, values))).test_run().retval == -22 & 0xFFFFFFFF
    assert kernel.read_trace_pipe(0) is None


@pytest.mark.linux
def test_linux_returns_the_same_for_every_format(kernel: SimKernel) -> None:
    """The length, or -EINVAL: what bpf_trace_printk returns in a test run."""
    linux = LinuxKernel()
    loaded = linux.load_program(program("r0 = 0\nexit", ProgType.SOCKET_FILTER))
    loaded.close()
    for text, values in (*_FORMATS, *_BAD_FORMATS):
        asm = _print_program(text, values)
        real = linux.load_program(program(asm, ProgType.SOCKET_FILTER))
        ours = kernel.load_program(program(asm))
        assert ours.test_run().retval == real.test_run(bytes(64)).retval, text
        real.close()
    linux.close()


def test_strings_and_pointers(kernel: SimKernel) -> None:
    place = kernel.memory.take_bytes(b"a name\0")
    kernel.load_program(program(_print_program("[%s] [%s] %p", (place, 0x1234, 0x1234)))).test_run()
    line = kernel.read_trace_pipe(0)
    assert line is not None
    assert line.message == "[a name] [] 0000000000001234"


# ---- names, ends


def test_symbols(kernel: SimKernel) -> None:
    address = kernel.function_address("__x64_sys_openat")
    assert kernel.ksym(address + 5) == ("__x64_sys_openat", 5, "kernel")
    assert kernel.ksym(5) is None
    assert kernel.has_function("__x64_sys_openat")
    assert not kernel.has_function("__x64_sys_nothing")
    assert kernel.has_tracepoint("syscalls", "sys_enter_mseal")


def test_test_runs(kernel: SimKernel) -> None:
    one = kernel.load_program(program("r0 = *(u64 *)(r1 +8)\nexit"))
    assert one.test_run(ctx=bytes(8) + b"\x05" + bytes(7)).retval == 5
    assert one.test_run().retval == 0
    with pytest.raises(NotSupportedError, match="packet data"):
        one.test_run(data=bytes(64))
    assert kernel.load_program(program("r0 = 7\nexit")).test_run(data=bytes(64)).data == bytes(64)
    with pytest.raises(LoadError, match="repeat -1"):
        one.test_run(repeat=-1)
    one.close()
    with pytest.raises(LoadError, match="closed"):
        one.test_run()


def test_repeated_runs_happen(kernel: SimKernel) -> None:
    counts = kernel.create_map(MapSpec("counts", MapType.ARRAY, 4, 8, 1))
    text = "*(u32 *)(r10 -4) = 0\nr1 = $counts\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem#1\nif r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 +0) += r1\nout:\nr0 = 0\nexit"
    kernel.load_program(program(text, counts=counts.fd)).test_run(repeat=1000)
    assert counts.lookup(bytes(4)) == (1000).to_bytes(8, "little")


def test_a_callback_may_close_the_kernel() -> None:
    kernel = SimKernel(Script(*_counter_events(10)), spec="sim:test")  # type: ignore[arg-type]
    events = kernel.create_map(_PERF)
    kernel.attach(kernel.load_program(program("r6 = r1\nr7 = 1\nr8 = 0" + _SEND_R7_R8, events=events.fd)), Hook(_TP, "raw_syscalls:sys_exit"))
    ring = kernel.open_perf_buffer(events, lambda *_: kernel.close(), lambda *_: None)
    kernel.sleep(1)
    assert kernel.poll([ring], -1) == 1
    assert kernel.is_finished


def test_a_source_that_fails_is_not_hidden() -> None:
    def fail(kernel: SimKernel) -> None:
        raise OSError("the recording went away")

    kernel = SimKernel(Script((5, fail)), spec="sim:test")
    with pytest.raises(OSError, match="went away"):
        kernel.sleep(1)
    kernel.close()


def test_everything_is_given_back() -> None:
    kernel = SimKernel(Script(), spec="sim:test")
    maps = [kernel.create_map(MapSpec("m", kind, 4, 8, 10)) for kind in (MapType.HASH, MapType.ARRAY)]
    events = kernel.create_map(_PERF)
    loaded = kernel.load_program(program("r6 = r1\nr7 = 0\nr8 = 0" + _SEND_R7_R8, events=events.fd))
    link = kernel.attach(loaded, Hook(_TP, "sched:sched_switch"))
    ring = kernel.open_perf_buffer(events, lambda *_: None, lambda *_: None)
    assert kernel.live_objects() == (3, 1, 1, 1)
    for one in (*maps, events, loaded):
        one.close()
    assert kernel.live_objects() == (1, 1, 1, 1)  # the attached program holds its map
    link.close()
    ring.close()
    assert kernel.live_objects() == (0, 0, 0, 0)
    kernel.close()
    kernel.close()
    assert kernel.is_finished
    with pytest.raises(LoadError, match="sim:test is closed"):
        kernel.create_map(_PERF)


def test_close_with_everything_open() -> None:
    kernel = SimKernel(Script(), spec="sim:test")
    events = kernel.create_map(_PERF)
    loaded = kernel.load_program(program("r6 = r1\nr7 = 0\nr8 = 0" + _SEND_R7_R8, events=events.fd))
    link = kernel.attach(loaded, Hook(_TP, "sched:sched_switch"))
    ring = kernel.open_perf_buffer(events, lambda *_: None, lambda *_: None)
    kernel.close()
    link.close()
    ring.close()
    loaded.close()
    events.close()
    assert ring.consume() == 0


@pytest.mark.parametrize("cpus", [0, 2000])
def test_impossible_cpus(cpus: int) -> None:
    with pytest.raises(ValueError, match="cpus"):
        SimKernel(Script(cpus=cpus), spec="sim:test")
