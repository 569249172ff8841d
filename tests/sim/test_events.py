"""Hooks fired by hand: what programs see, in which order, on which CPU, and what is refused."""

from __future__ import annotations

import _thread
import struct
import threading
import time
from array import array
from typing import Any

import pytest

from bcc_py.bpf import BPF
from bcc_py.errors import AttachError, FaultError, LoadError
from bcc_py.isa import Insn
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import Hook, HookKind, ProgramSpec
from bcc_py.verifier import Extent, VerifiedProgram
from cfront.uapi import ProgType
from tests.sim.quiet import Script

_SWITCH = "raw_syscalls:sys_enter"
_TEXT = """
struct seen { u64 at; u64 id; u64 far; u32 pid; u32 cpu; char comm[16]; };
BPF_PERCPU_ARRAY(count, u64, 1);
BPF_ARRAY(total, u64, 1);
BPF_QUEUE(log, struct seen, 4096);
TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    struct seen one = { .at = bpf_ktime_get_ns(), .id = args->id, .far = args->args[5], .pid = bpf_get_current_pid_tgid(),
                        .cpu = bpf_get_smp_processor_id() };
    bpf_get_current_comm(&one.comm, 16);
    log.push(&one, 0);
    int zero = 0;
    u64 *own = count.lookup(&zero);
    if (own) *own += 1;
    total.atomic_increment(0);
    return 0;
}"""


class _Fixture:
    def __init__(self, cpus: int = 4) -> None:
        self.kernel = SimKernel(Script(cpus=cpus), spec="sim:test")
        self.bpf = BPF(text=_TEXT, kernel=self.kernel)
        self.hook = self.kernel.hook("tracepoint", _SWITCH)

    def rows(self) -> list[tuple[int, int, int, int, int, bytes]]:
        """(time, id, last argument, pid, cpu, comm) in the order of the queue."""
        found = []
        queue = self.bpf._maps["log"]
        while True:
            row = self.pop(queue)
            if row is None:
                return found
            at, id, far, pid, cpu, comm = struct.unpack("<QQQII16s", row)
            found.append((at, id, far, pid, cpu, comm.rstrip(b"\0")))

    @staticmethod
    def pop(queue: Any) -> bytes | None:
        row: bytes | None = queue.lookup_and_delete(b"")
        return row


@pytest.fixture
def fixture() -> Any:
    made = _Fixture()
    yield made
    made.bpf.cleanup()
    made.kernel.close()


def _contexts(ids: list[int]) -> bytes:
    """Records of raw_syscalls:sys_enter; the last argument is the id, negated."""
    return b"".join(struct.pack("<8xQ40xq", id, -id) for id in ids)


def test_one_event_runs_every_program(fixture: Any) -> None:
    assert fixture.hook.fire(_contexts([7])) == 1
    assert [(row[1], row[2]) for row in fixture.rows()] == [(7, 2**64 - 7)]


def test_a_batch_keeps_order_time_and_task(fixture: Any) -> None:
    tasks = [fixture.kernel.tasks.spawn(pid, name) for pid, name in ((100, "one"), (200, "two"))]
    times = array("Q", [50, 60, 55, 90])
    ran = fixture.hook.fire_batch(_contexts([1, 2, 3, 4]), 64, times=times, tasks=(tasks, array("I", [0, 1, 1, 0])))
    assert ran == 4
    assert [(at, id, pid, comm) for at, id, _, pid, _, comm in fixture.rows()] == [
        (50, 1, 100, b"one"), (60, 2, 200, b"two"), (60, 3, 200, b"two"), (90, 4, 100, b"one")]
    assert fixture.kernel.now_ns() == 90


def test_contexts_of_any_size_lie_between_offsets(fixture: Any) -> None:
    """One that is shorter than what the program reads is followed by zeros, not by the next one."""
    content = _contexts([1]) + _contexts([2])[:24] + _contexts([3])
    fixture.hook.fire_batch(content, offsets=array("Q", [0, 64, 88, 152]))
    assert [row[1:3] for row in fixture.rows()] == [(1, 2**64 - 1), (2, 0), (3, 2**64 - 3)]


def test_short_contexts_at_the_arrays_end(fixture: Any) -> None:
    fixture.hook.fire_batch(b"".join(_contexts([id])[:16] for id in (5, 6)), 16)
    assert [row[1:3] for row in fixture.rows()] == [(5, 0), (6, 0)]
    fixture.hook.fire(struct.pack("<8xQ", 9))
    assert [row[1:3] for row in fixture.rows()] == [(9, 0)]


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_a_number_of_cpus_shares_events_evenly(fixture: Any, cpus: int) -> None:
    assert fixture.hook.fire_batch(_contexts(list(range(1000))), 64, cpus=cpus) == 1000
    counts = [int(one) for one in fixture.bpf["count"].getvalue(0)]
    assert counts == [1000 // cpus] * cpus + [0] * (4 - cpus)
    rows = fixture.rows()
    for cpu in range(cpus):
        own = [row[1] for row in rows if row[4] == cpu]
        assert own == list(range(1000 * cpu // cpus, 1000 * (cpu + 1) // cpus))


def test_each_event_on_its_own_cpu(fixture: Any) -> None:
    cpus = array("I", [3, 1, 1, 3, 0])
    fixture.hook.fire_batch(_contexts([1, 2, 3, 4, 5]), 64, cpus=cpus)
    by_cpu: dict[int, list[int]] = {}
    for row in fixture.rows():
        by_cpu.setdefault(row[4], []).append(row[1])
    assert by_cpu == {0: [5], 1: [2, 3], 3: [1, 4]}


def test_several_threads_lose_no_count(fixture: Any) -> None:
    contexts = _contexts([3]) * 50_000
    threads = [threading.Thread(target=fixture.hook.fire_batch, args=(contexts, 64), kwargs={"cpus": 4}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(fixture.bpf["total"][0].value) == 100_000
    assert sum(int(one) for one in fixture.bpf["count"].getvalue(0)) == 100_000


def test_a_task_of_a_batch_lies_as_in_a_cpu(kernel: SimKernel) -> None:
    """The runtime copies struct who over struct cpu's fields from pid on."""
    ffi = kernel.runtime.ffi
    fields = [name for name, _ in ffi.typeof("struct who").fields]
    begin = ffi.offsetof("struct cpu", "pid")
    assert len(fields) > 8
    assert [ffi.offsetof("struct who", name) for name in fields] == [ffi.offsetof("struct cpu", name) - begin for name in fields]


def test_nobody_attached_is_no_error(kernel: SimKernel) -> None:
    hook = kernel.hook(HookKind.TRACEPOINT, _SWITCH)
    assert hook.fire(bytes(64)) == 0 and hook.fire_batch(bytes(128), 64) == 2 and hook.fire_batch(b"", 64) == 0


@pytest.mark.parametrize(("size", "more", "words"), [
    (0, {}, "contexts of 0 bytes"), (63, {}, "128 bytes were given"), (-1, {}, "contexts of -1 bytes"),
    (64, {"times": array("Q", [1])}, "times has 1 numbers, expected 2"),
    (64, {"cpus": 5}, "on 5 CPUs: sim:test has 4"), (64, {"cpus": 0}, "on 0 CPUs"),
    (64, {"cpus": array("I", [0, 4])}, "a CPU's number is not below 4"),
    (64, {"tasks": ([], array("I", [0, 0]))}, "a task's number is not below 0"),
    (0, {"offsets": array("Q", [0, 200, 128])}, "offsets must ascend"),
    (0, {"offsets": array("Q", [0, 64, 129])}, "end within the 128 bytes"),
])
def test_arrays_that_do_not_fit_are_refused(fixture: Any, size: int, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fixture.hook.fire_batch(bytes(128), size, **more)
    assert fixture.rows() == []


def test_hooks_that_do_not_exist(kernel: SimKernel) -> None:
    with pytest.raises(AttachError, match="did you mean"):
        kernel.hook("tracepoint", "raw_syscalls:sys_entre")
    with pytest.raises(ValueError, match="no such kind"):
        kernel.hook("no such kind", "x")


def test_runs_and_times_are_counted(fixture: Any) -> None:
    program = fixture.bpf.funcs["tracepoint__raw_syscalls__sys_enter"].program
    fixture.hook.fire_batch(_contexts([1]) * 10, 64)
    assert (program.stats.runs, program.stats.run_time_ns) == (10, 0)
    fixture.kernel.has_stats = True
    fixture.hook.fire_batch(_contexts([1]) * 1000, 64)
    fixture.hook.fire(_contexts([1]))
    assert program.stats.runs == 1011 and program.stats.run_time_ns > 0
    assert fixture.kernel.runs == 1011


def test_an_interrupt_stops_a_batch_and_leaves_all_well(fixture: Any) -> None:
    contexts = _contexts([1]) * 1_000_000
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            fixture.hook.fire_batch(contexts, 64, cpus=2)
    timer.join()
    before = int(fixture.bpf["total"][0].value)
    time.sleep(0.05)
    assert int(fixture.bpf["total"][0].value) == before == sum(int(one) for one in fixture.bpf["count"].getvalue(0))
    assert fixture.hook.fire_batch(_contexts([1]), 64) == 1


def test_closing_waits_for_a_batch(fixture: Any) -> None:
    contexts = _contexts([1]) * 300_000
    ends: list[object] = []

    def fire() -> None:
        try:
            while True:
                fixture.hook.fire_batch(contexts, 64, cpus=2)
        except LoadError as error:
            ends.append(error)

    thread = threading.Thread(target=fire)
    thread.start()
    time.sleep(0.1)
    fixture.bpf.cleanup()
    fixture.kernel.close()
    thread.join(30)
    assert not thread.is_alive() and "is closed" in str(ends[0])


def test_a_checked_kernel_tells_what_an_unsound_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier is made to say yes to a program that reads behind its context."""
    kernel = SimKernel(Script(), spec="sim:test", checked=True)
    insns = (Insn(0x18, 2, 0, 0, 1 << 20), Insn(0), Insn(0x0F, 1, 2), Insn(0x79, 0, 1), Insn(0x95))
    spec = ProgramSpec("unsound", "", ProgType.TRACEPOINT, insns)
    monkeypatch.setattr("bcc_py.sim.kernel.verified_for_sim", lambda *_: VerifiedProgram(
        spec, insns, (Extent(0, 5, 0),), 0, 0, {3: "ctx"}, frozenset(range(5))))
    kernel.attach(kernel.load_program(spec), Hook(HookKind.TRACEPOINT, _SWITCH))
    hook = kernel.hook("tracepoint", _SWITCH)
    for fire in (lambda: hook.fire(bytes(64)), lambda: hook.fire_batch(bytes(6400), 64), lambda: hook.fire_batch(bytes(6400), 64, cpus=2)):
        with pytest.raises(FaultError, match="insn 3: an access of 8 bytes at 0x"):
            fire()
    kernel.close()


def test_a_full_ring_loses_what_it_says(kernel: SimKernel) -> None:
    """Produced is consumed and lost together, exactly, with two producers and a reader at the same time."""
    pytest.importorskip("numpy", reason="NumPy is optional")
    text = """
    struct one { u64 id; };
    BPF_RINGBUF_OUTPUT(events, 1);
    TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
        struct one *e = events.ringbuf_reserve(sizeof(*e));
        if (!e) return 0;
        e->id = args->id;
        events.ringbuf_submit(e, 0);
        return 0;
    }"""
    with BPF(text=text, kernel=kernel) as bpf:
        hook = kernel.hook("tracepoint", _SWITCH)
        ring, contexts, seen = bpf["events"], _contexts(list(range(1000))), 0
        producer = threading.Thread(target=lambda: [hook.fire_batch(contexts, 64, cpus=2) for _ in range(300)])
        producer.start()
        while producer.is_alive():
            seen += len(ring.read_batch())
        producer.join()
        seen += len(ring.read_batch())
        ring.read_batch()
        assert seen + ring.lost == 300_000 and ring.lost > 0 and seen > 0
