"""Timers and work queues: the same program on the simulated kernel and on Linux leaves the same map; when they fire is
virtual time's."""

from __future__ import annotations

import dataclasses
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import cfront
from bcc_py.elf import read_object
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import Loaded, load
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import HookKind, ObjectSpec
from cfront.uapi import ProgType
from tests.sim.quiet import Script

_HEAD = """
struct row { u64 count; u64 said; struct bpf_timer timer; };
BPF_ARRAY(rows, struct row, 4);
BPF_HASH(table, u32, struct row, 8);
BPF_ARRAY(said, s64, 16);
static void say(int at, s64 value) { s64 *place = said.lookup(&at); if (place) *place = value; }
static void add(int at, s64 value) { s64 *place = said.lookup(&at); if (place) *place += value; }
"""
_MS = 1_000_000
# by name: callbacks, and what the program does
_CASES = {
    "once": ("static int fired(void *map, int *key, struct row *row) { row->count++; say(0, *key); return 0; }", """
    int key = 2; struct row *row = rows.lookup(&key);
    if (!row) return 1;
    say(1, bpf_timer_init(&row->timer, &rows, 1));
    say(2, bpf_timer_init(&row->timer, &rows, 1));
    say(3, bpf_timer_start(&row->timer, 1000000, 0));
    say(4, bpf_timer_set_callback(&row->timer, fired));
    say(5, bpf_timer_start(&row->timer, 1000000, 4));
    say(6, bpf_timer_start(&row->timer, 1000000, 0));
    say(7, bpf_timer_start(&row->timer, 2000000, 0));"""),
    "again": ("""static int fired(void *map, int *key, struct row *row)
{
    add(0, 1);
    if (++row->count < 5) say(1, bpf_timer_start(&row->timer, 100000, 0));
    else say(2, bpf_timer_cancel(&row->timer));
    return 0;
}""", """
    u32 key = 700; struct row zero = {}; table.update(&key, &zero); struct row *row = table.lookup(&key);
    if (!row) return 1;
    bpf_timer_init(&row->timer, &table, 1);
    bpf_timer_set_callback(&row->timer, fired);
    bpf_timer_start(&row->timer, 1000000, 0);"""),
    "cancelled": ("static int fired(void *map, int *key, struct row *row) { add(0, 1); return 0; }", """
    int key = 1; struct row *row = rows.lookup(&key);
    if (!row) return 1;
    say(1, bpf_timer_cancel(&row->timer));
    bpf_timer_init(&row->timer, &rows, 7);
    say(2, bpf_timer_cancel(&row->timer));
    bpf_timer_set_callback(&row->timer, fired);
    bpf_timer_start(&row->timer, 1000000, 0);
    say(3, bpf_timer_cancel(&row->timer));
    say(4, bpf_timer_cancel(&row->timer));
    say(5, bpf_timer_start(&row->timer, 1000000, 0));"""),
    "deletes itself": ("""static int fired(void *map, int *key, struct row *row)
{
    u32 at = *key; add(0, at); say(1, table.delete(&at)); say(2, table.lookup(&at) != 0); return 0;
}""", """
    u32 key = 9; struct row zero = {}; table.update(&key, &zero); struct row *row = table.lookup(&key);
    if (!row) return 1;
    bpf_timer_init(&row->timer, &table, 1); bpf_timer_set_callback(&row->timer, fired); bpf_timer_start(&row->timer, 1000000, 0);
    key = 10; table.update(&key, &zero); row = table.lookup(&key);
    if (!row) return 1;
    bpf_timer_init(&row->timer, &table, 1); bpf_timer_set_callback(&row->timer, fired); bpf_timer_start(&row->timer, 1000000, 0);
    table.delete(&key);"""),
    "in order": ("static int fired(void *map, int *key, struct row *row) { s64 v = 0; int z = 0; s64 *all = said.lookup(&z);"
                 " if (all) *all = *all * 10 + *key; return 0; }", """
    struct row *row; int key;
#define ARM(K, NS, FLAGS) key = K; row = rows.lookup(&key); if (!row) return 1; bpf_timer_init(&row->timer, &rows, 1); \\
    bpf_timer_set_callback(&row->timer, fired); bpf_timer_start(&row->timer, NS, FLAGS);
    ARM(1, 9000000, 0) ARM(2, 3000000, 2) ARM(3, bpf_ktime_get_ns() + 6000000, 1)"""),
    "never": ("static int fired(void *map, int *key, struct row *row) { add(0, 1); return 0; }", """
    struct row *row; int key;
    key = 1; row = rows.lookup(&key); if (!row) return 1; bpf_timer_init(&row->timer, &rows, 1);
    bpf_timer_set_callback(&row->timer, fired); say(1, bpf_timer_start(&row->timer, -5, 0));
    key = 2; row = rows.lookup(&key); if (!row) return 1; bpf_timer_init(&row->timer, &rows, 1);
    bpf_timer_set_callback(&row->timer, fired); say(2, bpf_timer_start(&row->timer, -5, 1));
    key = 3; row = rows.lookup(&key); if (!row) return 1; bpf_timer_init(&row->timer, &rows, 0);
    bpf_timer_set_callback(&row->timer, fired); say(3, bpf_timer_start(&row->timer, 77, 1));"""),
}
_WORK = """
extern int bpf_wq_init(struct bpf_wq *wq, void *p__map, unsigned int flags) __ksym;
extern int bpf_wq_set_callback_impl(
    struct bpf_wq *wq, int (*callback_fn)(void *, int *, void *), unsigned int flags, void *aux__prog) __ksym;
extern int bpf_wq_start(struct bpf_wq *wq, unsigned int flags) __ksym;
struct job { u64 count; struct bpf_wq work; };
BPF_ARRAY(jobs, struct job, 2);
BPF_ARRAY(said, s64, 16);
static void say(int at, s64 value) { s64 *place = said.lookup(&at); if (place) *place = value; }
static int work(void *map, int *key, void *value)
{
    struct job *job = value;
    if (++job->count < 3) bpf_wq_start(&job->work, 0);
    say(0, job->count); say(1, *key);
    return 0;
}
SEC("xdp") int run(struct xdp_md *ctx)
{
    int key = 1; struct job *job = jobs.lookup(&key);
    if (!job) return 1;
    say(2, bpf_wq_init(&job->work, &jobs, 1));
    say(3, bpf_wq_init(&job->work, &jobs, 0));
    say(4, bpf_wq_init(&job->work, &jobs, 0));
    say(5, bpf_wq_start(&job->work, 0));
    say(6, bpf_wq_set_callback_impl(&job->work, work, 0, 0));
    say(7, bpf_wq_start(&job->work, 1));
    say(8, bpf_wq_start(&job->work, 0));
    return 2;
}
"""


def _text(name: str) -> str:
    callbacks, body = _CASES[name]
    return f'{_HEAD}{callbacks}\nSEC("xdp") int run(struct xdp_md *ctx)\n{{{body}\n    return 2;\n}}\n'


def _object(text: str) -> ObjectSpec:
    made = read_object(cfront.compile(text + 'char _license[] SEC("license") = "GPL";\n', filename="t.c", types=native.kernel_types()))
    programs = {one.name: dataclasses.replace(one, type=ProgType.XDP) for one in made.programs.values()}
    return dataclasses.replace(made, programs=programs)


def _said(loaded: Loaded, count: int = 16) -> list[int]:
    values = (loaded.maps["said"].lookup(struct.pack("<I", at)) for at in range(count))
    return [int.from_bytes(value or b"", "little", signed=True) for value in values]


def _after(kernel: Kernel, text: str, wait: Callable[[Loaded], object]) -> tuple[list[int], dict[str, list[bytes | None]]]:
    """What the program said, and the maps, when it and its timers have run."""
    loaded = load(_object(text), kernel)
    try:
        assert loaded.programs["run"].test_run(bytes(64)).retval == 2
        wait(loaded)
        maps = {name: [loaded.maps[name].lookup(struct.pack("<I", at)) for at in keys]
                for name, keys in (("rows", range(4)), ("table", (9, 10, 700)), ("jobs", range(2))) if name in loaded.maps}
        return _said(loaded), maps
    finally:
        loaded.close()


@pytest.fixture
def checked() -> Iterator[SimKernel]:
    made = SimKernel(Script(), spec="sim:test", checked=True)
    yield made
    made.close()


@pytest.mark.linux
@pytest.mark.parametrize("text", [*map(_text, _CASES), _WORK], ids=[*_CASES, "work"])
def test_linux_leaves_the_same(kernel: SimKernel, text: str) -> None:
    ours = _after(kernel, text, lambda _: kernel.sleep(0.1))
    linux = LinuxKernel()
    try:
        def wait(loaded: Loaded) -> None:
            deadline = time.monotonic() + 2
            while _said(loaded) != ours[0] and time.monotonic() < deadline:
                time.sleep(0.02)
        assert _after(linux, text, wait) == ours
    finally:
        linux.close()


def test_what_fires_and_what_does_not(kernel: SimKernel) -> None:
    """The same cases without Linux: as it was seen to do."""
    got = {name: _after(kernel, _text(name), lambda _: kernel.sleep(0.1))[0] for name in _CASES}
    assert got["once"][:8] == [2, 0, -16, -22, 0, -22, 0, 0]
    assert got["again"][:3] == [5, 0, -35]
    assert got["cancelled"][:6] == [0, -22, 0, 1, 0, -22]
    assert got["deletes itself"][:3] == [9, 0, 0]
    assert got["in order"][0] == 231
    assert got["never"][0] == 1
    assert _after(kernel, _WORK, lambda _: kernel.sleep(0.1))[0][:9] == [3, 1, -22, 0, -16, -22, 0, -22, 0]
    assert kernel.live_objects() == (0, 0, 0, 0)


def test_checked_programs_may_have_timers(checked: SimKernel) -> None:
    assert _after(checked, _text("again"), lambda _: checked.sleep(0.1))[0][0] == 5


_TICK = _HEAD + """
static int fired(void *map, int *key, struct row *row)
{
    add(0, 1); say(1, bpf_ktime_get_ns()); say(2, bpf_get_smp_processor_id()); say(3, bpf_get_current_pid_tgid());
    if (row->said) bpf_timer_start(&row->timer, PERIOD, 0);
    return 0;
}
SEC("xdp") int arm(struct xdp_md *ctx)
{
    int key = 0; struct row *row = rows.lookup(&key);
    if (!row) return 1;
    add(4, 1); say(5, bpf_ktime_get_ns());
    bpf_timer_init(&row->timer, &rows, 1); bpf_timer_set_callback(&row->timer, fired);
    row->said = REPEATS;
    bpf_timer_start(&row->timer, PERIOD, 0);
    return 0;
}
"""


def _ticking(kernel: SimKernel, period_ns: int, is_periodic: bool = True) -> Loaded:
    return load(_object(_TICK.replace("PERIOD", str(period_ns)).replace("REPEATS", str(int(is_periodic)))), kernel)


def _arm(kernel: SimKernel, loaded: Loaded, cpu: int = 0, time_ns: int = 0) -> None:
    kernel.set_context(cpu, time_ns, kernel.tasks.init)
    loaded.programs["arm"].test_run(bytes(64))


def test_timers_and_events_take_turns() -> None:
    """Each at its time, the timer first where both are due; on the CPU that set it, in its idle task."""
    seen: list[tuple[int, list[int]]] = []
    script = Script((5 * _MS, lambda one: _arm(one, loaded, 1, 5 * _MS)), (25 * _MS, lambda one: seen.append((one.now_ns(), _said(loaded, 6)))),
                    (26 * _MS, lambda one: one.set_context(0, 26 * _MS, None)))
    kernel = SimKernel(script, spec="sim:test")
    loaded = _ticking(kernel, 10 * _MS)
    kernel.sleep(0.0251)
    assert seen == [(25 * _MS, [2, 25 * _MS, 1, 0, 1, 5 * _MS])]
    assert not kernel.is_finished
    kernel.sleep(1)  # the source ends, the timer does not
    assert _said(loaded, 2) == [2 + 100, 1025 * _MS] and kernel.now_ns() == 1_025_100_000
    kernel.close()


def test_polling_without_a_limit_waits_for_a_timer(kernel: SimKernel) -> None:
    loaded = _ticking(kernel, 7 * _MS, is_periodic=False)
    _arm(kernel, loaded)
    assert not kernel.is_finished
    kernel.poll([], -1)
    assert _said(loaded, 2) == [1, 7 * _MS] and kernel.is_finished


def test_time_goes_on_however_often_a_timer_is_set(kernel: SimKernel) -> None:
    loaded = _ticking(kernel, 0)
    _arm(kernel, loaded)
    kernel.sleep(0.001)
    assert _said(loaded, 1) == [1001]


def test_after_a_batch_what_came_due_in_it_fires(kernel: SimKernel) -> None:
    loaded = _ticking(kernel, 1000, is_periodic=False)
    _arm(kernel, loaded)
    hook = kernel.hook(HookKind.TRACEPOINT, "sched:sched_switch")
    hook.fire_batch(bytes(128), 64, times=struct.pack("<2Q", 100, 999))
    assert _said(loaded, 2) == [0, 0]
    hook.fire_batch(bytes(192), 64, times=struct.pack("<3Q", 999, 1500, 2000))
    assert _said(loaded, 2) == [1, 2000]


def test_a_timer_keeps_its_program_and_ends_with_its_map(kernel: SimKernel) -> None:
    loaded = _ticking(kernel, _MS)
    _arm(kernel, loaded)
    said = loaded.maps["said"]
    rows = loaded.maps["rows"]
    for one in loaded.programs.values():
        one.close()
    kernel.sleep(0.0035)
    assert int.from_bytes(said.lookup(bytes(4)) or b"", "little") == 3
    rows.close()
    kernel.sleep(0.01)
    assert int.from_bytes(said.lookup(bytes(4)) or b"", "little") == 3 and kernel.is_finished
    loaded.close()
    assert kernel.live_objects() == (0, 0, 0, 0)


_COUNT = """
BPF_ARRAY(seen, u64, 1);
SEC("tracepoint/sched/sched_switch") int count(void *ctx)
{
    int at = 0; u64 *place = seen.lookup(&at);
    if (place) __sync_fetch_and_add(place, 1);
    return 0;
}
"""


def test_timers_fire_beside_batches(kernel: SimKernel) -> None:
    """On one thread, while others run programs on the same CPUs."""
    loaded = _ticking(kernel, 50)
    _arm(kernel, loaded)
    counting = load(read_object(cfront.compile(_COUNT, filename="t.c", types=kernel.types)), kernel)
    program = counting.programs["count"]
    assert program.spec.hook is not None
    kernel.attach(program, program.spec.hook)
    hook = kernel.hook(HookKind.TRACEPOINT, "sched:sched_switch")
    other = threading.Thread(target=lambda: hook.fire_batch(bytes(64 * 60_000), 64, cpus=2))
    other.start()
    for _ in range(100):
        kernel.sleep(0.000_001)
    other.join()
    assert _said(loaded, 1)[0] == 100 and counting.maps["seen"].lookup(bytes(4)) == struct.pack("<Q", 60_000)


@pytest.mark.linux
@pytest.mark.parametrize("name", ["rows", "table"])
@pytest.mark.parametrize("doing", ["update", "delete", "close"])
def test_what_ends_a_timer_is_what_linux_says(kernel: SimKernel, name: str, doing: str) -> None:
    """Writing a value from outside, deleting it, giving up the map: whether its timer fires afterwards."""
    text = _text("once" if name == "rows" else "again").replace("1000000", "300000000").replace("2000000", "300000000")
    key = struct.pack("<I", 2 if name == "rows" else 700)
    linux = LinuxKernel()

    def poke(loaded: Loaded) -> None:
        map = loaded.maps[name]
        if doing == "update":
            map.update(key, bytes(32))
        elif doing == "close":
            map.close()
        elif name == "table":
            map.delete(key)

    def counted(one: Kernel) -> list[int]:
        loaded = load(_object(text), one)
        try:
            assert loaded.programs["run"].test_run(bytes(64)).retval == 2
            poke(loaded)
            one.sleep(0.5)
            return _said(loaded)
        finally:
            loaded.close()
    try:
        assert counted(kernel) == counted(linux)
    finally:
        linux.close()
