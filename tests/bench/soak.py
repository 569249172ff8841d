"""python -m tests.bench.soak [MILLIONS]: a hundred million events through a hash, a per-CPU array and a ring, on two CPUs, the
ring read in batches meanwhile. Counts must be exact, and memory flat: the resident set after a tenth of the events and
after all of them is printed. Exits 1 if a count is wrong or memory grew by more than 4 MiB."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from bcc_py.bpf import BPF

_TEXT = """
struct event { u64 id; };
BPF_HASH(by_id, u32, u64, 1024);
BPF_PERCPU_ARRAY(mine, u64, 1);
BPF_RINGBUF_OUTPUT(events, 1024);
TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    u32 id = args->id;
    u64 zero_count = 0, *count = by_id.lookup_or_try_init(&id, &zero_count);
    int zero = 0;
    if (count) __sync_fetch_and_add(count, 1);
    u64 *own = mine.lookup(&zero);
    if (own) *own += 1;
    struct event *e = events.ringbuf_reserve(sizeof(*e));
    if (!e) return 0;
    e->id = id;
    events.ringbuf_submit(e, 0);
    return 0;
}"""
_BATCH = 500_000
_GROWTH_KIB = 4096


def _contexts() -> bytes:
    made = bytearray(64 * _BATCH)
    words = memoryview(made).cast("Q")
    for at in range(_BATCH):
        words[8 * at + 1] = at % 500
    return bytes(made)


def _resident_kib() -> int:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def main() -> int:
    total = int(sys.argv[1] if len(sys.argv) > 1 else 100) * 1_000_000
    contexts = _contexts()
    read = fired = early = 0
    begin = time.monotonic()
    with BPF(text=_TEXT, kernel="sim:shell,cpus=2") as bpf:
        hook = bpf.kernel.hook("tracepoint", "raw_syscalls:sys_enter")  # type: ignore[attr-defined]
        ring = bpf["events"]
        while fired < total:
            fired += hook.fire_batch(contexts, 64, cpus=2)
            read += len(ring.read_batch())
            if not early and fired >= total // 10:
                early = _resident_kib()
        late = _resident_kib()
        lost = ring.lost
        by_id = [int(one.value) for one in bpf["by_id"].values()]
        own = sum(int(one) for one in bpf["mine"].getvalue(0))
    seconds = time.monotonic() - begin
    is_exact = sum(by_id) == own == read + lost == fired and set(by_id) == {fired // 500}
    print(f"{fired} events in {seconds:.0f} s; counted {sum(by_id)} by id, {own} by CPU; {read} read and {lost} lost; "
          f"resident {early} KiB after a tenth, {late} KiB at the end")
    return int(not is_exact or late - early > _GROWTH_KIB)


if __name__ == "__main__":
    sys.exit(main())
