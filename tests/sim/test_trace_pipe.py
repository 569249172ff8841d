"""trace_pipe when several threads print and one reads: a line is whole and in its CPU's order, or it was counted as lost."""

from __future__ import annotations

import threading
from collections import defaultdict

import pytest

from bcc_py.bpf import BPF
from bcc_py.sim.kernel import SimKernel
from tests.sim.quiet import Script

_TEXT = """
TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
    bpf_trace_printk("%d of %d and %s\\n", args->id, bpf_get_smp_processor_id(), "more");
    return 0;
}"""
_CPUS = 4


def _lines(kernel: SimKernel) -> list[tuple[int, int, str]]:
    found = []
    while (line := kernel.read_trace_pipe(0)) is not None:
        number, _, rest = line.message.partition(" ")
        found.append((line.cpu, int(number), rest))
    return found


@pytest.mark.parametrize(("count", "is_read"), [(20_000, True), (120_000, False)])
def test_lines_of_several_threads(count: int, is_read: bool) -> None:
    """Read meanwhile, and only afterwards: then more was printed than there is room for."""
    kernel = SimKernel(Script(cpus=_CPUS), spec="sim:test")
    bpf = BPF(text=_TEXT, kernel=kernel)
    hook = kernel.hook("tracepoint", "raw_syscalls:sys_enter")
    contexts = b"".join(bytes(8) + number.to_bytes(8, "little") + bytes(48) for number in range(count))
    other = threading.Thread(target=hook.fire_batch, args=(contexts, 64), kwargs={"cpus": _CPUS})
    other.start()
    lines: list[tuple[int, int, str]] = []
    while is_read and other.is_alive():
        lines += _lines(kernel)
    other.join()
    lines += _lines(kernel)
    by_cpu: dict[int, list[int]] = defaultdict(list)
    for cpu, number, rest in lines:
        by_cpu[cpu].append(number)
        assert rest == f"of {cpu} and more"
    assert all(numbers == sorted(set(numbers)) for numbers in by_cpu.values())
    assert len(lines) + int(kernel.state.trace.lost) == count
    assert is_read or int(kernel.state.trace.lost) > 0
    bpf.cleanup()
    kernel.close()
