"""python -m tests.bench.engine [SECTION...]: what execution costs on the simulated kernel, beside Linux where it has the same.

programs    one run of twelve programs, ns (Linux: BPF_PROG_TEST_RUN's own duration), and the geometric mean of the ratios
operations  one operation on a map within a program, ns: the program loops over it, the empty loop is taken away
replay      events a second through fire_batch, on one CPU and on two
consumers   ns an event from a ring to a Python callback as a typed event, beside BCC on Linux, and in one batch as a NumPy array
code        ms to make a tool's code (of all its programs) with LLVM warm, and to take it from the cache

Each figure is the median of ROUNDS rounds in which both kernels take turns, on the same bytecode. "-" stands where there is
no Linux. All sections by default."""

from __future__ import annotations

import functools
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from bcc_py.bpf import BPF, kernel_from_spec
from bcc_py.elf import read_object
from bcc_py.errors import BpfError, NotSupportedError
from bcc_py.kernel import Kernel
from bcc_py.load import Loaded, load
from cfront import compile
from tests.bench import programs
from tests.bench.compile import SYSTEM_PYTHON, missing_peer

ROUNDS = 7
_TARGET_NS = 60_000_000  # of one measurement
_BATCH = 1_000_000
_RING_EVENTS = 20_000


def _linux() -> Kernel | None:
    try:
        return kernel_from_spec("linux")
    except BpfError as error:
        print(f"no Linux to compare with: {error}")
        return None


# ---- programs and operations: the same bytecode on both kernels


class _Loaded:
    """A program on a kernel, ready to be timed."""

    def __init__(self, content: bytes, kernel: Kernel) -> None:
        spec = read_object(content)
        self._loaded: Loaded = load(spec, kernel, dict.fromkeys(spec.programs, programs.TYPE))
        self._program = self._loaded.programs["run"]
        self._is_simulated = kernel.is_simulated
        if "target" in self._loaded.programs:
            fd = self._loaded.programs["target"].fd
            self._loaded.maps["next"].update((1).to_bytes(4, "little"), fd.to_bytes(4, "little"))
        self.repeat = 1
        took = max(self.ns(), 1)
        self.repeat = 1000
        took = max(self.ns(), 1)
        self.repeat = max(1, min(2_000_000, int(_TARGET_NS / took)))

    def ns(self) -> float:
        """One run, ns. Linux lets nobody else run meanwhile, and counts whole ns: the wall clock is finer where runs are
        short. Ours is a process among others: what counts is its own time."""
        own, wall = time.thread_time_ns(), time.perf_counter_ns()
        made = self._program.test_run(programs.PACKET, repeat=self.repeat)
        own, wall = time.thread_time_ns() - own, time.perf_counter_ns() - wall
        if self._is_simulated:
            return own / self.repeat
        return wall / self.repeat if made.duration_ns < 1000 and self.repeat > 100_000 else made.duration_ns

    def close(self) -> None:
        self._loaded.close()


def _both(texts: dict[str, str], sim: Kernel, linux: Kernel | None) -> dict[str, tuple[float, float]]:
    """(ours, Linux's) ns of each text; 0 where there is none."""
    rows = {}
    types = (linux or sim).types
    for name, text in texts.items():
        content = compile(text, types=types)
        try:
            timed = [_Loaded(content, kernel) for kernel in (sim, linux) if kernel is not None]
        except NotSupportedError as error:
            print(f"{name:28} {error}")
            continue
        rounds = [[one.ns() for one in timed] for _ in range(ROUNDS)]
        ours, *theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
        rows[name] = (ours, theirs[0] if theirs else 0.0)
        for one in timed:
            one.close()
    return rows


def _print_rows(rows: dict[str, tuple[float, float]]) -> list[float]:
    ratios = []
    for name, (ours, theirs) in rows.items():
        ratio = ours / theirs if theirs > 0 else math.nan
        ratios.append(ratio)
        print(f"{name:28} {ours:>10.2f} {theirs or math.nan:>10.2f} {ratio:>8.2f}")
    return ratios


def bench_programs(sim: Kernel, linux: Kernel | None) -> None:
    print(f"{'program':28} {'sim ns':>10} {'linux ns':>10} {'ratio':>8}")
    ratios = _print_rows(_both(programs.PROGRAMS, sim, linux))
    if linux is not None:
        print(f"{'geometric mean':28} {'':>21} {math.exp(statistics.fmean(math.log(max(one, 1e-3)) for one in ratios)):>8.2f}")


def bench_operations(sim: Kernel, linux: Kernel | None) -> None:
    rows = _both(programs.OPERATIONS, sim, linux)
    empty = rows.pop("nothing")
    print(f"{'operation':28} {'sim ns':>10} {'linux ns':>10} {'ratio':>8}")
    _print_rows({name: tuple(max(one - none, 0.0) / programs.ROUNDS for one, none in zip(row, empty, strict=True))  # type: ignore[misc]
                 for name, row in rows.items()})


# ---- replay

_COUNTER = """
BPF_PERCPU_ARRAY(counts, u64, 512);
TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    u32 id = args->id;
    u64 *one = counts.lookup(&id);
    if (one) *one += 1;
    return 0;
}"""
_EXECS = """
struct event { u32 pid; u32 uid; u64 ts; u64 delta; char comm[16]; };
BPF_HASH(started, u32, u64);
BPF_RINGBUF_OUTPUT(events, 4096);
TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    u32 pid = bpf_get_current_pid_tgid() >> 32, id = args->id;
    u64 now = bpf_ktime_get_ns(), *before = started.lookup(&id);
    u64 delta = before ? now - *before : 0;
    started.update(&id, &now);
    struct event *e = events.ringbuf_reserve(sizeof(*e));
    if (!e) return 0;
    e->pid = pid; e->uid = bpf_get_current_uid_gid(); e->ts = now; e->delta = delta;
    bpf_get_current_comm(&e->comm, sizeof(e->comm));
    events.ringbuf_submit(e, 0);
    return 0;
}"""
_CONTEXT_BYTES = 64  # of raw_syscalls:sys_enter


def _contexts(count: int) -> bytes:
    """Records of raw_syscalls:sys_enter, of various system calls."""
    made = bytearray(_CONTEXT_BYTES * count)
    words = memoryview(made).cast("Q")
    for at in range(count):
        words[8 * at + 1] = at * 2654435761 % 397
    return bytes(made)


def bench_replay(sim: Kernel, linux: Kernel | None) -> None:
    contexts = _contexts(_BATCH)
    print(f"{'replay':28} {'million events/s':>18}")
    for name, text in (("per-CPU counter by id", _COUNTER), ("hash and ring output", _EXECS)):
        for cpus in (1, 2):
            with BPF(text=text, kernel="sim:shell,cpus=2") as bpf:
                hook = bpf.kernel.hook("tracepoint", "raw_syscalls:sys_enter")  # type: ignore[attr-defined]
                rates = []
                for _ in range(ROUNDS):
                    if "events" in bpf.tables or text is _EXECS:
                        _drain(bpf)
                    size = 80_000 if text is _EXECS else _BATCH  # what the ring has room for
                    part = contexts[: size * _CONTEXT_BYTES]
                    begin = time.perf_counter()
                    hook.fire_batch(part, _CONTEXT_BYTES, cpus=cpus)
                    rates.append(size / (time.perf_counter() - begin) / 1e6)
                print(f"{name + f', {cpus} CPU':28} {statistics.median(rates):>18.1f}")


def _drain(bpf: BPF) -> None:
    bpf["events"].read_batch()


# ---- consumers


class _Peer:
    """BCC reading the same kind of ring on Linux, where this machine has it."""

    def __init__(self, ring: str) -> None:
        self._child: subprocess.Popen[str] | None = None
        why = missing_peer()
        if not why:
            self._child = subprocess.Popen(
                [SYSTEM_PYTHON, str(Path(__file__).with_name("bcc_consumer.py")), str(_RING_EVENTS), ring],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            why = "" if self._read() else "it does not run here"
        if why:
            print(f"no BCC to compare with: {why}")
            self.close()

    def _read(self) -> str:
        assert self._child is not None and self._child.stdout is not None
        return self._child.stdout.readline()

    def round(self) -> float:
        """ns an event; 0 if there is no peer."""
        if self._child is None or self._child.stdin is None:
            return 0
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        ns, count = self._read().split()
        assert int(count) == _RING_EVENTS, f"BCC saw {count} events"
        return float(ns)

    def close(self) -> None:
        if self._child is not None:
            self._child.communicate()
            self._child = None


def bench_consumers(sim: Kernel, linux: Kernel | None) -> None:
    """Both consumers take turns on one CPU: a slow minute of one is then slow for both."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        _consumers()
    finally:
        os.sched_setaffinity(0, allowed)


def _consumers() -> None:
    contexts = _contexts(_RING_EVENTS)
    perf = _EXECS.replace("BPF_RINGBUF_OUTPUT(events, 4096)", "BPF_PERF_OUTPUT(events)").replace(
        "struct event *e = events.ringbuf_reserve(sizeof(*e));\n    if (!e) return 0;", "struct event one = {}, *e = &one;").replace(
        "events.ringbuf_submit(e, 0)", "events.perf_submit(args, e, sizeof(*e))")
    print(f"{'consumer':28} {'ns/event':>10} {'BCC':>8} {'ratio':>6}")
    for name, text in (("ring buffer", _EXECS), ("perf buffer", perf)):
        with BPF(text=text, kernel="sim:shell") as bpf:
            hook = bpf.kernel.hook("tracepoint", "raw_syscalls:sys_enter")  # type: ignore[attr-defined]
            table = bpf["events"]
            seen: list[int] = []

            def on_ring(ctx: object, data: object, size: int, table: object = table, seen: list[int] = seen) -> None:
                seen.append(table.event(data).pid)  # type: ignore[attr-defined]

            if name == "ring buffer":
                table.open_ring_buffer(on_ring)
                poll: Callable[[], object] = bpf.ring_buffer_consume
            else:
                table.open_perf_buffer(on_ring, page_cnt=4096)
                poll = functools.partial(bpf.perf_buffer_poll, 0)
            times, batches, theirs = [], [], []
            peer = _Peer(name.split()[0])
            for _ in range(ROUNDS):
                for _ in range(2):  # the first for the caches, which are the peer's by now; it does the same
                    hook.fire_batch(contexts, _CONTEXT_BYTES)
                    before, begin = len(seen), time.thread_time_ns()
                    poll()
                times.append((time.thread_time_ns() - begin) / max(len(seen) - before, 1))
                theirs.append(peer.round())
                for _ in range(2):
                    hook.fire_batch(contexts, _CONTEXT_BYTES)
                    begin = time.thread_time_ns()
                    count = len(table.read_batch())
                batches.append((time.thread_time_ns() - begin) / max(count, 1))
            peer.close()
            other = statistics.median(theirs)
            beside = f"{other:>8.0f} {statistics.median(times) / other:>6.2f}" if other else f"{'-':>8} {'-':>6}"
            print(f"{name + ', callback':28} {statistics.median(times):>10.0f} {beside}")
            print(f"{name + ', read_batch':28} {statistics.median(batches):>10.1f}")


# ---- code


def bench_code(sim: Kernel, linux: Kernel | None) -> None:
    """A tool's code is that of all its programs."""
    jit = import_module("bcc_py.jit")
    took: dict[str, dict[str, float]] = {"made": {}, "kept": {}}
    real = jit.program.compile_program
    tool = ""

    def median(program: object, target: object, keep: object) -> float:
        times = []
        for _ in range(ROUNDS):
            begin = time.thread_time()
            code = real(program, target, keep)
            times.append((time.thread_time() - begin) * 1e3)
            code.close()
        return statistics.median(times)

    def timed(program: object, target: object, keep: object = None) -> object:
        for how, one in (("made", None), ("kept", keep)):
            took[how][tool] = took[how].get(tool, 0) + median(program, target, one)
        return real(program, target, keep)

    kernel_module = import_module("bcc_py.sim.kernel")
    before, kernel_module.compile_program = kernel_module.compile_program, timed
    try:
        for tool in ("execsnoop", "exitsnoop", "syscount", "tcpstates"):
            text = import_module(f"bcc_py.tools.{tool}").TEXT
            with BPF(text=text, cflags=["-DMAX_WORDS=20"], kernel="sim"):
                pass
    finally:
        kernel_module.compile_program = before
    print(f"{'code of a tool, ms':28} {'median':>8} " + " ".join(f"{one:>9}" for one in took["made"]))
    for what, rows in took.items():
        print(f"{what:28} {statistics.median(rows.values()):>8.2f} " + " ".join(f"{one:>9.2f}" for one in rows.values()))


SECTIONS: dict[str, Callable[[Kernel, Kernel | None], None]] = {
    "programs": bench_programs, "operations": bench_operations, "replay": bench_replay, "consumers": bench_consumers,
    "code": bench_code,
}


def main() -> None:
    wanted = sys.argv[1:] or list(SECTIONS)
    unknown = [one for one in wanted if one not in SECTIONS]
    if unknown:
        raise SystemExit(f"no section is called {', '.join(unknown)} (there are {', '.join(SECTIONS)})")
    sim, linux = kernel_from_spec("sim"), _linux()
    for one in wanted:
        SECTIONS[one](sim, linux)
        print()
    for kernel in (sim, linux):
        if kernel is not None:
            kernel.close()


if __name__ == "__main__":
    main()
