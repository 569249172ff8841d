"""Maps as programs use them: the same random operations by the same program on the simulated kernel and on Linux.

A program does what an array tells it: its answer and its map's contents afterwards are the same on both. A look-up in a
program also tells an LRU hash what was used, so that both give up the same keys."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Iterator

import pytest

from bcc_py.elf import read_object
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import Loaded, load
from bcc_py.sim.kernel import SimKernel
from cfront import compile
from cfront.uapi import ProgType
from tests.sim.map_operations import keys_of
from tests.sim.quiet import Script

_KEYED = """
struct order { u64 verb; KEY key; u64 value; u64 flags; u64 got; };
BPF_ARRAY(orders, struct order, 1);
int run(void *ctx) {
    int zero = 0;
    struct order *one = orders.lookup(&zero);
    if (!one) return 0;
    KEY key = one->key;
    u64 value = one->value, *found;
    one->got = 0;
    switch (one->verb) {
    case 0:
        found = bpf_map_lookup_elem(&m, &key);
        if (!found) return -1;
        one->got = *found;
        return 0;
    case 1:
        return bpf_map_update_elem(&m, &key, &value, one->flags);
    case 2:
        return bpf_map_delete_elem(&m, &key);
    case 3:
        found = bpf_map_lookup_elem(&m, &key);
        if (!found) return -1;
        one->got = __sync_fetch_and_add(found, value);
        return bpf_map_update_elem(&m, &key, &value, one->flags) + (*found == value);
    }
    return 77;
}
"""
_QUEUED = """
struct order { u64 verb; u64 key; u64 value; u64 flags; u64 got; };
BPF_ARRAY(orders, struct order, 1);
int run(void *ctx) {
    int zero = 0;
    struct order *one = orders.lookup(&zero);
    if (!one) return 0;
    u64 value = one->value;
    int answer;
    one->got = 0;
    switch (one->verb) {
    case 0: answer = bpf_map_peek_elem(&m, &value); one->got = value; return answer;
    case 1: return bpf_map_push_elem(&m, &value, one->flags);
    case 2: answer = bpf_map_pop_elem(&m, &value); one->got = value; return answer;
    }
    return 77;
}
"""
_TABLES = {
    "hash": ("BPF_HASH(m, u64, u64, 30);", 40), "hash-32": ("BPF_HASH(m, u32, u64, 30);", 40),
    "no-prealloc": ('BPF_F_TABLE("hash", u64, u64, m, 30, BPF_F_NO_PREALLOC);', 40),
    "percpu-hash": ('BPF_TABLE("percpu_hash", u64, u64, m, 30);', 40), "array": ("BPF_ARRAY(m, u64, 30);", 40),
    "percpu-array": ("BPF_PERCPU_ARRAY(m, u64, 30);", 40),
    "lru": ('BPF_TABLE("lru_hash", u64, u64, m, 30);', 60), "lru-large": ('BPF_TABLE("lru_hash", u64, u64, m, 600);', 1500),
    "lru-own": ('BPF_F_TABLE("lru_hash", u64, u64, m, 30, BPF_F_NO_COMMON_LRU);', 60),
    "lru-own-large": ('BPF_F_TABLE("lru_hash", u64, u64, m, 600, BPF_F_NO_COMMON_LRU);', 1500),
    "lru-percpu": ('BPF_TABLE("lru_percpu_hash", u64, u64, m, 30);', 60),
    "queue": ("BPF_QUEUE(m, u64, 5);", 1), "stack": ("BPF_STACK(m, u64, 5);", 1),
}


@pytest.fixture(scope="module")
def kernels() -> Iterator[tuple[SimKernel, LinuxKernel]]:
    """Both with as many CPUs, and this thread on one of them, the first."""
    linux = LinuxKernel()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    sim = SimKernel(Script(), spec="sim:test", cpus=linux.cpus)
    yield sim, linux
    sim.close()
    os.sched_setaffinity(0, before)
    linux.close()


def _loaded(content: bytes, kernel: Kernel) -> Loaded:
    return load(read_object(content), kernel, {"run": ProgType.XDP})


def _orders(draw: random.Random, spread: int, key: str) -> Iterator[bytes]:
    for _ in range(4000 if spread > 100 else 1500):
        verb = draw.choice((0, 0, 0, 1, 1, 1, 1, 2, 3))
        flags = draw.choice((0, 0, 0, 0, 1, 2, 3, 4, 1 << 32))
        yield struct.pack(f"<Q{key}QQQ", verb, draw.randrange(spread), draw.randrange(1 << 40), flags, 0)


@pytest.mark.linux
@pytest.mark.parametrize("name", _TABLES)
def test_programs_find_what_they_find_on_linux(kernels: tuple[SimKernel, LinuxKernel], name: str) -> None:
    definition, spread = _TABLES[name]
    key = "u32" if "BPF_ARRAY" in definition or "PERCPU_ARRAY" in definition or "u32" in definition else "u64"
    text = definition + (_QUEUED if "QUEUE" in definition or "STACK" in definition else _KEYED.replace("KEY", key))
    content = compile(text)
    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(contextlib.closing(_loaded(content, one))) for one in kernels)
        for at, order in enumerate(_orders(random.Random(name), spread, "I4x" if key == "u32" else "Q")):
            mine, real = (_obey(one, order) for one in (ours, theirs))
            assert mine == real, (at, order)
            if not at % 64 and key == "u64" and theirs.maps["m"].spec.key_size:
                assert _rows(ours) == _rows(theirs), at


def _obey(loaded: Loaded, order: bytes) -> tuple[int, bytes | None]:
    """The program's answer, and the order with what it got."""
    loaded.maps["orders"].update(bytes(4), order)
    answer = loaded.programs["run"].test_run(bytes(64)).retval
    return answer, loaded.maps["orders"].lookup(bytes(4))


def _rows(loaded: Loaded) -> list[tuple[bytes, bytes | None]]:
    map = loaded.maps["m"]
    return sorted((key, map.lookup(key)) for key in keys_of(map))
