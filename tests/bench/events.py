"""python -m tests.bench.events: how fast the simulated machine goes, in microseconds of real time per system call.

The same ten minutes of sim:shell and the recorded build are run with nothing attached, with a program on every
system call (syscount's) and with every execution printed through a ring buffer (execsnoop's). The ratio is to the run
with nothing attached: what tracing adds to what making the events costs."""

from __future__ import annotations

import time
from importlib import import_module

from bcc_py.bpf import BPF
from tests.tools.runs import DATA

_NOTHING = "int unused(void *ctx) { return 0; }"
KERNELS = ("sim:shell,seconds=600", f"replay:{DATA / 'build.perf.data'}")
ROUNDS = 3


def _seconds(text: str, flags: list[str], kernel: str) -> float:
    """Real time from attached to finished."""
    with BPF(text=text, cflags=flags, kernel=kernel) as bpf:
        begin = time.perf_counter()
        while not bpf.is_finished:
            bpf.sleep(10)
        return time.perf_counter() - begin


def _calls(kernel: str) -> int:
    """How many system calls return."""
    text = "BPF_ARRAY(n, u64, 1); TRACEPOINT_PROBE(raw_syscalls, sys_exit) { n.increment(0); return 0; }"
    with BPF(text=text, kernel=kernel) as bpf:
        while not bpf.is_finished:
            bpf.sleep(10)
        return int(bpf["n"][0].value)


def main() -> None:
    texts = {"nothing": (_NOTHING, [])} | {
        name: (import_module(f"bcc_py.tools.{name}").TEXT, flags) for name, flags in (("syscount", []), ("execsnoop", ["-DMAX_WORDS=20"]))}
    print(f"{'kernel':24} {'attached':10} {'seconds':>8} {'us/call':>8} {'ratio':>6}")
    for kernel in KERNELS:
        calls = _calls(kernel)
        rounds = [{name: _seconds(text, flags, kernel) for name, (text, flags) in texts.items()} for _ in range(ROUNDS)]
        best = {name: min(one[name] for one in rounds) for name in texts}
        for name, spent in best.items():
            row = f"{kernel.replace(str(DATA) + '/', ''):24} {name:10} {spent:>8.3f} {spent / calls * 1e6:>8.1f}"
            print(f"{row} {spent / best['nothing']:>6.2f}")


if __name__ == "__main__":
    main()
