"""Every table macro and method: the object says what it should, and the real kernel makes the map and takes
the program that uses it."""

from __future__ import annotations

import pytest

from bcc_py.elf import read_object
from bcc_py.kernel import Kernel
from bcc_py.load import load
from cfront import compile
from cfront.btf import Btf
from cfront.uapi import MapType, ProgType

# (declaration, type, key bytes, value bytes, entries, flags)
TABLES = [
    ("BPF_HASH(t)", MapType.HASH, 8, 8, 10240, 0),
    ("BPF_HASH(t, u32)", MapType.HASH, 4, 8, 10240, 0),
    ("BPF_HASH(t, u32, struct { u64 a; u64 b; })", MapType.HASH, 4, 16, 10240, 0),
    ("BPF_HASH(t, u32, u8, 7)", MapType.HASH, 4, 1, 7, 0),
    ("BPF_PERCPU_HASH(t, u16, u64, 9)", MapType.PERCPU_HASH, 2, 8, 9, 0),
    ("BPF_ARRAY(t)", MapType.ARRAY, 4, 8, 10240, 0),
    ("BPF_ARRAY(t, u32, 3)", MapType.ARRAY, 4, 4, 3, 0),
    ("BPF_PERCPU_ARRAY(t, u64, 2)", MapType.PERCPU_ARRAY, 4, 8, 2, 0),
    ("BPF_HISTOGRAM(t)", MapType.ARRAY, 4, 8, 64, 0),
    ("BPF_HISTOGRAM(t, u32)", MapType.HASH, 4, 8, 64, 0),
    ("BPF_HISTOGRAM(t, int, 9)", MapType.ARRAY, 4, 8, 9, 0),
    ("BPF_PERF_OUTPUT(t)", MapType.PERF_EVENT_ARRAY, 4, 4, 0, 0),
    ("BPF_PERF_ARRAY(t, 4)", MapType.PERF_EVENT_ARRAY, 4, 4, 4, 0),
    ("BPF_RINGBUF_OUTPUT(t, 8)", MapType.RINGBUF, 0, 0, 8 * 4096, 0),
    ("BPF_STACK_TRACE(t, 100)", MapType.STACK_TRACE, 4, 127 * 8, 128, 0),
    ("BPF_PROG_ARRAY(t, 5)", MapType.PROG_ARRAY, 4, 4, 5, 0),
    ("BPF_CGROUP_ARRAY(t, 2)", MapType.CGROUP_ARRAY, 4, 4, 2, 0),
    ("BPF_LPM_TRIE(t, u64, u32, 4)", MapType.LPM_TRIE, 8, 4, 4, 1),
    ("BPF_QUEUE(t, u32, 4)", MapType.QUEUE, 0, 4, 4, 0),
    ("BPF_STACK(t, u64, 4, 0)", MapType.STACK, 0, 8, 4, 0),
    ("BPF_DEVMAP(t, 2)", MapType.DEVMAP, 4, 4, 2, 0),
    ("BPF_CPUMAP(t, 2)", MapType.CPUMAP, 4, 4, 2, 0),
    ("BPF_SOCKMAP(t, 3)", MapType.SOCKMAP, 4, 4, 3, 0),
    ("BPF_SOCKHASH(t, u64, 3)", MapType.SOCKHASH, 8, 4, 3, 0),
    ("BPF_TASK_STORAGE(t, u64)", MapType.TASK_STORAGE, 4, 8, 0, 1),
    ('BPF_TABLE("lru_hash", u32, u64, t, 6)', MapType.LRU_HASH, 4, 8, 6, 0),
    ('BPF_TABLE("lru_percpu_hash", u32, u64, t, 6)', MapType.LRU_PERCPU_HASH, 4, 8, 6, 0),
    ('BPF_F_TABLE("hash", u32, u64, t, 6, 1)', MapType.HASH, 4, 8, 6, 1),
]


@pytest.mark.parametrize("row", TABLES, ids=lambda one: one[0])
def test_declaration_gives_the_map(row: tuple[str, MapType, int, int, int, int]) -> None:
    text, type, key, value, entries, flags = row
    spec = read_object(compile(text + ";\nint f(void *ctx) { return 0; }")).maps["t"]
    assert (spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags) == (type, key, value, entries, flags)


@pytest.mark.linux
@pytest.mark.parametrize("row", TABLES, ids=lambda one: one[0])
def test_linux_makes_the_map(row: tuple[str, MapType, int, int, int, int], linux: Kernel) -> None:
    loaded = load(read_object(compile(row[0] + ";\nint f(void *ctx) { return 0; }")), linux)
    assert loaded.maps["t"].fd > 0
    loaded.close()


K, X, S = ProgType.KPROBE, ProgType.XDP, ProgType.SCHED_CLS
METHODS = [
    ("BPF_HASH(t, u32, u64);", "u32 k = 1; u64 *v = t.lookup(&k); if (v) *v += 1; t.delete(&k);", K),
    ("BPF_HASH(t, u32, u64);", "u32 k = 1; u64 v = 2; t.update(&k, &v); t.insert(&k, &v);", K),
    ("BPF_HASH(t, u32, u64);", "u32 k = 1; u64 z = 0, *v = t.lookup_or_try_init(&k, &z); if (v) (*v)++;", K),
    ("BPF_HASH(t, u32, u64);", "u32 k = 1; u64 z = 0, *v = t.lookup_or_init(&k, &z); (*v)++;", K),
    ("BPF_HASH(t, u32, u64);", "t.increment(3); t.increment(4, 5); t.atomic_increment(6); t.atomic_increment(7, 2);", K),
    ("struct key_t { u32 a; u32 b; };\nBPF_HASH(t, struct key_t);", "t.increment((struct key_t){1, 2});", K),
    ("BPF_PERCPU_ARRAY(t, u64, 4);", "t.increment(3);", K),
    ("BPF_HISTOGRAM(t);", "t.increment(bpf_log2l(bpf_ktime_get_ns()));", K),
    ("BPF_PERF_OUTPUT(t);", "u64 v = 1; t.perf_submit(ctx, &v, sizeof(v));", K),
    ("BPF_RINGBUF_OUTPUT(t, 2);", "u64 v = 1; t.ringbuf_output(&v, sizeof(v), 0); return t.ringbuf_query(0);", K),
    ("BPF_RINGBUF_OUTPUT(t, 2);", "u64 *v = t.ringbuf_reserve(8); if (!v) return 0; *v = 1; t.ringbuf_submit(v, 0);", K),
    ("BPF_RINGBUF_OUTPUT(t, 2);", "u64 *v = t.ringbuf_reserve(8); if (!v) return 0; t.ringbuf_discard(v, BPF_RB_NO_WAKEUP);", K),
    ("BPF_STACK_TRACE(t, 64);", "return t.get_stackid(ctx, BPF_F_USER_STACK);", K),
    ("BPF_PROG_ARRAY(t, 4);", "t.call(ctx, 2);", K),
    ("BPF_PERF_ARRAY(t, 4);", "return t.perf_read(bpf_get_smp_processor_id());", K),
    ("BPF_CGROUP_ARRAY(t, 1);", "return t.check_current_task(0);", K),
    ("BPF_QUEUE(t, u64, 4);", "u64 v = 1; t.push(&v, 0); t.peek(&v); return t.pop(&v);", K),
    ("BPF_LPM_TRIE(t, u64, u32, 4);", "u64 k = 32; u32 *v = t.lookup(&k); return v ? *v : 0;", K),
    ("BPF_DEVMAP(t, 4);", "return t.redirect_map(1, 0);", X),
    ("BPF_PERF_OUTPUT(t);", "u64 v = 1; return t.perf_submit_skb(ctx, 14, &v, sizeof(v));", S),
    ("BPF_HASH(t, u32, u64);", "u32 k = 1; u64 v = 3; bpf_map_update_elem(&t, &k, &v, BPF_ANY); return bpf_map_delete_elem(&t, &k);", K),
    ("BPF_HASH(t, u32, u64);", "typeof(t.leaf) v = 1; return sizeof(t.key) + sizeof(v);", K),
]
CONTEXT = {K: "struct pt_regs", X: "struct xdp_md", S: "struct __sk_buff"}


@pytest.mark.linux
@pytest.mark.parametrize("row", METHODS, ids=lambda one: one[1][:60])
def test_linux_takes_a_program_that_calls_the_method(row: tuple[str, str, ProgType], linux: Kernel) -> None:
    tables, body, type = row
    text = f"{tables}\nint f({CONTEXT[type]} *ctx) {{ {body} return 0; }}"
    loaded = load(read_object(compile(text, types=linux.types)), linux, {"f": type})
    assert loaded.programs["f"].fd > 0
    loaded.close()


def test_an_event_type_is_that_of_the_last_output() -> None:
    text = """struct one_t { u32 a; }; struct two_t { u64 b; };
    BPF_PERF_OUTPUT(t);
    int f(void *ctx) { struct one_t x = {}; struct two_t y = {}; t.perf_submit(ctx, &x, 4); t.perf_submit(ctx, &y, 8); return 0; }"""
    spec = read_object(compile(text))
    event = Btf(spec.btf).type(spec.maps["t"].event_type)
    assert str(event) == "struct two_t" and event.size == 8
