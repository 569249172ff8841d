"""Kernel functions in a hash map's operations, and samples in virtual time, held against other counts of the same things."""

from __future__ import annotations

import contextlib
import ctypes
import random
from collections import Counter
from pathlib import Path

import pytest

from bcc_py import BPF
from bcc_py.bpf import kernel_from_spec
from bcc_py.errors import AttachError, NotSupportedError
from bcc_py.sim.formats import kernel_functions

_CALLS = """
struct call { u64 key; u32 what; u32 pad; };
BPF_HASH(calls, struct call, u64);
BPF_HASH(used, u64, u64);
BPF_ARRAY(unseen, u64, 4);
static void note(void *address, u32 what) {
    struct call one = {.what = what};
    bpf_probe_read_kernel(&one.key, sizeof(one.key), address);
    calls.atomic_increment(one);
}
int kprobe__htab_map_lookup_elem(struct pt_regs *ctx, void *map, void *key) { note(key, 0); return 0; }
int kprobe__htab_map_update_elem(struct pt_regs *ctx, void *map, void *key) { note(key, 1); return 0; }
int kprobe__htab_map_delete_elem(struct pt_regs *ctx, void *map, void *key) { note(key, 2); return 0; }
"""


def test_each_operation_calls_its_function_with_its_key() -> None:
    kernel = kernel_from_spec("sim")
    b = BPF(text=_CALLS, kernel=kernel)
    used, rolls, expected = b["used"], random.Random(1), Counter[tuple[int, int]]()
    for _ in range(200):
        key, what = rolls.randrange(6), rolls.randrange(3)
        expected[key, what] += 1
        if what == 0:
            used.get(ctypes.c_ulonglong(key))
        elif what == 1:
            used[ctypes.c_ulonglong(key)] = ctypes.c_ulonglong(1)
        else:
            with contextlib.suppress(KeyError):
                del used[ctypes.c_ulonglong(key)]
    b["unseen"][1] = ctypes.c_ulonglong(7)
    for name in ("lookup", "update", "delete"):
        b.detach_kprobe(f"htab_map_{name}_elem")
    counted = {(key.key, key.what): value.value for key, value in b["calls"].items()}
    assert counted == expected
    b.cleanup()
    kernel.close()


@pytest.mark.linux
def test_linux_has_functions_of_these_names() -> None:
    path = Path("/proc/kallsyms")
    if not path.exists():
        pytest.skip("this machine shows no symbols")
    theirs = {line.split()[2] for line in path.read_text().splitlines()}
    assert [one for one in kernel_functions() if one not in theirs] == []


_SAMPLES = """
BPF_ARRAY(samples, u64, 8);
BPF_ARRAY(switches, u64, 2);
int sampled(struct bpf_perf_event_data *ctx) { samples.atomic_increment(bpf_get_smp_processor_id()); return 0; }
int switched(struct bpf_perf_event_data *ctx) { switches.atomic_increment(0); return 0; }
TRACEPOINT_PROBE(sched, sched_switch) { switches.atomic_increment(1); return 0; }
"""
_SOFTWARE, _CPU_CLOCK, _CONTEXT_SWITCHES = 1, 0, 3


def test_clocks_sample_each_cpu_and_switches_are_counted() -> None:
    kernel = kernel_from_spec("sim:shell,cpus=3")
    b = BPF(text=_SAMPLES, kernel=kernel)
    b.attach_perf_event(ev_type=_SOFTWARE, ev_config=_CPU_CLOCK, fn_name="sampled", sample_freq=50)
    b.attach_perf_event(ev_type=_SOFTWARE, ev_config=_CONTEXT_SWITCHES, fn_name="switched", sample_period=1)
    kernel.sleep(10)
    assert [one.value for one in b["samples"].values()] == [500, 500, 500, 0, 0, 0, 0, 0]
    by_event, by_tracepoint = (one.value for one in b["switches"].values())
    assert by_event == by_tracepoint > 50
    b.detach_perf_event(_SOFTWARE, _CPU_CLOCK)
    kernel.sleep(1)
    assert b["samples"][0].value == 500
    b.attach_perf_event(ev_type=_SOFTWARE, ev_config=_CPU_CLOCK, fn_name="sampled", sample_period=100_000_000, cpu=2)
    kernel.sleep(1)
    assert [b["samples"][cpu].value for cpu in range(3)] == [500, 500, 510]
    b.cleanup()
    kernel.close()


def test_what_a_simulated_kernel_does_not_count_is_refused() -> None:
    kernel = kernel_from_spec("sim")
    b = BPF(text=_SAMPLES, kernel=kernel)
    with pytest.raises(NotSupportedError, match="counts no such perf events"):
        b.attach_perf_event(ev_type=0, ev_config=0, fn_name="sampled", sample_freq=50)
    with pytest.raises(AttachError, match="there is no CPU 2 of 2"):
        b.attach_perf_event(ev_type=_SOFTWARE, ev_config=_CPU_CLOCK, fn_name="sampled", sample_freq=50, cpu=2)
    b.cleanup()
    kernel.close()
