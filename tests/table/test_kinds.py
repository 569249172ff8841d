"""Every kind of table over the maps of a simulated and of the real kernel: the same calls, the same answers."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcc_py import BPF, AttachError, KeyNotFound, MapError, NotSupportedError
from bcc_py.bpf import kernel_from_spec
from bcc_py.elf import read_object
from bcc_py.kernel import Kernel
from bcc_py.load import load
from bcc_py.spec import MapSpec
from bcc_py.table import (
    BloomFilter,
    CgroupArray,
    LocalStorage,
    LpmTrie,
    LruHash,
    LruPerCpuHash,
    MapInMapArray,
    MapInMapHash,
    ProgArray,
    QueueStack,
    SockMap,
    StackTrace,
    Table,
    UserRingBuf,
    table_for,
)
from cfront import compile, ctype
from cfront.uapi import MapType, ProgType


@pytest.fixture(params=["sim", pytest.param("linux", marks=pytest.mark.linux)])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    made = kernel_from_spec(request.param)
    yield made
    made.close()


def _bpf(kernel: Kernel, text: str) -> BPF:
    return BPF(text=text, kernel=kernel)


# ---- queues and stacks


@pytest.mark.parametrize(("macro", "order"), [("BPF_QUEUE", 1), ("BPF_STACK", -1)])
def test_queue_and_stack(kernel: Kernel, macro: str, order: int) -> None:
    with _bpf(kernel, f"{macro}(t, u64, 4);") as bpf:
        t = bpf["t"]
        assert isinstance(t, QueueStack) and t.max_entries == 4 and t.bpf is bpf
        for number in range(4):
            t.push(number)
        with pytest.raises(MapError) as full:
            t.push(ctypes.c_ulonglong(4))
        assert full.value.errno == errno.E2BIG
        wanted = list(range(4))[::order]
        assert t.peek().value == wanted[0] and t.pop().value == wanted[0]
        t.push(wanted[0])
        t.push(9, QueueStack.BPF_EXIST)
        assert len(t.values()) == 4 and t.values() == []
        with pytest.raises(KeyError, match="Could not pop from table"):
            t.pop()
        with pytest.raises(KeyError, match="Could not peek table"):
            t.peek()
        assert t.leaf_sprintf(t.Leaf(7)) == b"0x7" and t.leaf_scanf("0x7").value == 7
        assert repr(t) == f"<QueueStack 't': {macro[4:].lower()}, 4 entries>"


def test_bloom_filter(kernel: Kernel) -> None:
    map = kernel.create_map(MapSpec("seen", MapType.BLOOM_FILTER, 0, 4, 1000, extra=5))
    t = table_for(map, kernel, None, ctype.UINT)
    assert isinstance(t, BloomFilter)
    for number in range(100):
        t.add(number)
    assert all(number in t for number in range(100))
    assert sum(number in t for number in range(1000, 2000)) < 20


# ---- hashes


def test_prefixes(kernel: Kernel) -> None:
    text = "struct key_v4 { u32 prefixlen; u8 data[4]; }; BPF_LPM_TRIE(trie, struct key_v4, int, 16);"
    with _bpf(kernel, text) as bpf:
        t = bpf["trie"]
        assert isinstance(t, LpmTrie)
        t[t.Key(8, (10,))], t[t.Key(16, (10, 1))] = 8, 16
        t[(24).to_bytes(4, "little") + b"\x0a\x01\x02"] = 24  # the rest of the key is zeros
        found = [t[t.Key(32, address)].value for address in ((10, 2, 2, 2), (10, 1, 9, 9), (10, 1, 2, 3))]
        assert found == [8, 16, 24] and len(t) == 3
        with pytest.raises(KeyNotFound):
            t[t.Key(32, (11, 0, 0, 1))]


def test_least_recently_used(kernel: Kernel) -> None:
    text = 'BPF_F_TABLE("lru_hash", int, u64, lru, 256, BPF_F_NO_COMMON_LRU); BPF_TABLE("lru_percpu_hash", u32, u32, per, 1);'
    with _bpf(kernel, text) as bpf:
        t, per = bpf["lru"], bpf["per"]
        assert isinstance(t, LruHash) and t.flags == 2 and isinstance(per, LruPerCpuHash) and isinstance(t, type(t).__mro__[1])
        for number in range(1000):
            t[ctypes.c_int(number)] = number
        assert 0 < len(t) <= 256 and all(leaf.value == key.value for key, leaf in t.items())
        per[per.Key(1)] = per.Leaf()
        per[per.Key(0)] = (ctypes.c_uint64 * per.total_cpu)(*range(per.total_cpu))  # BCC's Leaf
        assert list(per[per.Key(0)]) == list(range(per.total_cpu)) and per.Key(1) not in per


def test_maps_of_maps(kernel: Kernel) -> None:
    text = """BPF_TABLE("hash", int, int, one, 8); BPF_TABLE("hash", int, int, two, 8); BPF_HASH_OF_MAPS(by_name, int, "one", 4);
    BPF_ARRAY(inner, int, 8); BPF_ARRAY_OF_MAPS(by_number, "inner", 4);"""
    with _bpf(kernel, text) as bpf:
        outer = bpf["by_name"]
        assert isinstance(outer, MapInMapHash) and isinstance(bpf["by_number"], MapInMapArray)
        outer[outer.Key(1)] = ctypes.c_int(bpf["one"].get_fd())
        outer[outer.Key(2)] = bpf["two"]
        ids = [leaf.value for leaf in outer.values()]
        assert len(set(ids)) == 2 and all(one > 0 for one in ids)
        del outer[outer.Key(1)]
        assert [key.value for key in outer] == [2]
        array = bpf["by_number"]
        array[1] = bpf["inner"]
        assert [key.value for key, _ in array.items()] == [1] and len(array) == 4
        del array[1]
        with pytest.raises(KeyError):
            array[1]


def test_classes_of_the_users(kernel: Kernel) -> None:
    class Pair(ctypes.Structure):
        _fields_ = [("low", ctypes.c_ushort), ("high", ctypes.c_ushort)]

    with _bpf(kernel, "BPF_HASH(t, u32, u64);") as bpf:
        t = bpf.get_table("t", keytype=Pair, leaftype=ctypes.c_longlong)
        t[Pair(1, 2)] = -5
        assert bpf["t"][0x20001].value == 2**64 - 5 and t.Key is Pair
        assert [(key.high, leaf.value) for key, leaf in t.items()] == [(2, -5)]
        with pytest.raises(MapError, match=r"a key of type c_long has 8 bytes \(the map's have 4\)"):
            bpf.get_table("t", keytype=ctypes.c_long)


def test_iteration_as_bcc_has_it(kernel: Kernel) -> None:
    with _bpf(kernel, "BPF_HASH(t, u32, u64, 64);") as bpf:
        t = bpf["t"]
        for number in range(20):
            t[number] = number * 10
        walked, key = [], None
        try:
            while True:
                key = t.next(key)
                walked.append(key.value)
        except StopIteration:
            pass
        assert walked == [one.value for one in t.iter()] == [one.value for one in t] and sorted(walked) == list(range(20))
        for key in t:
            del t[key]
            assert t.pop(key, None) is None
        assert len(t) == 0 and list(t.itervalues()) == []
        with pytest.raises(StopIteration):
            t.next(None)


def test_numbers_of_other_widths_are_converted(kernel: Kernel) -> None:
    with _bpf(kernel, "BPF_HASH(t, u64, u64); BPF_HASH(s, u32, struct { u32 a; u32 b; });") as bpf:
        t = bpf["t"]
        t[ctypes.c_int(7)] = ctypes.c_int(-1)
        assert t[7].value == 2**64 - 1
        with pytest.raises(MapError, match=r"a value of 4 bytes \(it takes 8\)"):
            bpf["s"][1] = ctypes.c_int(5)


# ---- batches


def test_batches(kernel: Kernel) -> None:
    with _bpf(kernel, "BPF_TABLE(\"hash\", int, int, t, 1024);") as bpf:
        t = bpf["t"]
        for number in range(1000):
            t[number] = number
        assert sorted((key.value, leaf.value) for key, leaf in t.items_lookup_batch()) == [(one, one) for one in range(1000)]
        keys, leaves = (t.Key * 3)(1, 2, 3), (t.Leaf * 3)(10, 20, 30)
        t.items_update_batch(keys, leaves)
        assert [t[one].value for one in range(5)] == [0, 10, 20, 30, 4]
        t.items_delete_batch(keys)
        assert len(t) == 997 and 1 not in [key.value for key in t]
        with pytest.raises(KeyError):
            t.items_delete_batch(keys)
        assert sum(1 for _ in t.items_lookup_and_delete_batch()) == 997 and len(t) == 0
        t[1] = 1
        t.items_delete_batch()
        assert len(t) == 0 and list(t.items_lookup_batch()) == []


def test_batches_check_their_arguments(kernel: Kernel) -> None:
    with _bpf(kernel, "BPF_TABLE(\"hash\", int, int, t, 4);") as bpf:
        t = bpf["t"]
        with pytest.raises(ValueError, match="Array's length is wrong"):
            t.items_delete_batch((t.Key * 5)())
        with pytest.raises(ValueError, match="keys array length != values array length"):
            t.items_update_batch((t.Key * 2)(), (t.Leaf * 3)())
        for wrong in ([1, 2], (ctypes.c_ulonglong * 2)(), None):
            with pytest.raises(TypeError):
                t.items_update_batch(wrong, (t.Leaf * 2)())
        t.items_delete_batch((t.Key * 0)())


def test_batches_of_per_cpu_tables(kernel: Kernel) -> None:
    with _bpf(kernel, "BPF_PERCPU_HASH(t, u32, u32, 16);") as bpf:
        t = bpf["t"]
        values = list(range(1, t.total_cpu + 1))
        t.items_update_batch((t.Key * 2)(5, 6), (t.Leaf * 2)(t.Leaf(*values), t.Leaf(*values)))
        assert {key.value: list(leaf) for key, leaf in t.items_lookup_batch()} == {5: values, 6: values}
        assert t.sum(t.Key(5)).value == sum(values)


def test_kernels_that_cannot_do_a_batch_say_so(kernel: Kernel) -> None:
    with _bpf(kernel, "BPF_ARRAY(t, int, 4); BPF_STACK_TRACE(s, 16);") as bpf:
        assert len(list(bpf["t"].items_lookup_batch())) == 4
        with pytest.raises(MapError):
            list(bpf["t"].items_lookup_and_delete_batch())
        with pytest.raises(MapError):
            list(bpf["s"].items_lookup_batch())


# ---- what the kernel knows by descriptor


def test_tail_calls(kernel: Kernel) -> None:
    text = """BPF_PROG_ARRAY(progs, 4); BPF_ARRAY(said, u64, 4);
    int second(struct __sk_buff *ctx) { int at = 0; u64 one = 5; said.update(&at, &one); return 7; }
    int first(struct __sk_buff *ctx) { progs.call(ctx, 2); return 1; }"""
    with _bpf(kernel, text) as bpf:
        progs = bpf["progs"]
        first, second = bpf.load_func("first", ProgType.SOCKET_FILTER), bpf.load_func("second", ProgType.SOCKET_FILTER)
        assert isinstance(progs, ProgArray) and first.program.test_run(bytes(64)).retval == 1
        progs[ctypes.c_int(2)] = ctypes.c_int(second.fd)
        assert first.program.test_run(bytes(64)).retval == 7 and bpf["said"][0].value == 5
        assert [key.value for key, id in progs.items() if id.value > 0] == [2]
        del progs[2]
        assert first.program.test_run(bytes(64)).retval == 1
        progs[2] = second
        assert first.program.test_run(bytes(64)).retval == 7
        with pytest.raises(KeyError):
            del progs[3]
        progs.clear()
        assert first.program.test_run(bytes(64)).retval == 1
        with pytest.raises(TypeError):
            progs[0] = "second"


@pytest.mark.linux
def test_control_groups() -> None:
    with BPF(text="BPF_CGROUP_ARRAY(t, 2);", kernel="linux") as bpf:
        t = bpf["t"]
        assert isinstance(t, CgroupArray)
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        root = next((mount[1] for mount in mounts if mount[2] == "cgroup2"), None)
        if root is None:
            raise NotSupportedError("no cgroup2 file system is mounted", "cgroup2")
        before = len(os.listdir("/proc/self/fd"))
        t[0], t[1] = root, root.encode()
        assert len(os.listdir("/proc/self/fd")) == before
        del t[0]
        with pytest.raises(MapError, match="opening control group /nowhere: No such file"):
            t[0] = "/nowhere"
        with pytest.raises(MapError, match="either FD or cgroup path"):
            t[0] = 1.5
        with pytest.raises(MapError):
            t[1]
        assert repr(t) == "<CgroupArray 't': cgroup_array, 2 entries>"


@pytest.mark.linux
def test_sockets_and_their_storage() -> None:
    kernel = kernel_from_spec("linux")
    try:
        with BPF(text="BPF_SK_STORAGE(kept, u64); BPF_SOCKMAP(unread, 4);", kernel=kernel) as bpf, socket.socket() as one:
            kept = bpf["kept"]
            assert isinstance(kept, LocalStorage) and isinstance(bpf["unread"], SockMap)
            kept[one] = 7
            assert kept[one.fileno()].value == 7 and one in kept
            del kept[one]
            with pytest.raises(KeyError):
                kept[one]
            with pytest.raises(NotSupportedError, match="the kernel does not list what has storage"):
                list(kept)
            assert repr(kept) == "<LocalStorage 'kept': sk_storage>"
            with pytest.raises(KeyError):
                del bpf["unread"][0]
            bpf["unread"].clear()
    finally:
        kernel.close()


# ---- stacks


def test_stacks_are_walked() -> None:
    """Over stacks that are given: which the kernels record is their tests' affair."""

    class Stacks:
        fd = 3

        def __init__(self, flags: int, value: bytes) -> None:
            self.spec, self.value = MapSpec("s", MapType.STACK_TRACE, 4, len(value), 16, flags), value

        def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
            return self.value if key == b"\5\0\0\0" else None

        def next_key(self, key: bytes | None) -> bytes | None:
            return b"\5\0\0\0" if key is None else None

    def stack(flags: int, value: bytes) -> StackTrace:
        made = table_for(Stacks(flags, value), kernel_from_spec("sim"))  # type: ignore[arg-type]
        assert isinstance(made, StackTrace)
        return made

    t = stack(0, b"".join(ip.to_bytes(8, "little") for ip in (0xF1, 0xF2, 0xF3, 0)) + bytes(8 * 123))
    assert list(t.walk(5)) == [0xF1, 0xF2, 0xF3] == list(t.walk(t.Key(5)))
    assert list(t.walk(5, hex)) == ["0xf1", "0xf2", "0xf3"]
    for gone in (6, -14):
        with pytest.raises(KeyError):
            t.walk(gone)
    t.clear()
    assert len(t) == 1 and len(list(stack(0, b"\1" * 8 * 127).walk(5))) == 127
    entries = [(1, bytes(range(20)), 0x10), (1, b"b" * 20, 0x20), (2, bytes(20), 0x30)]
    raw = b"".join(status.to_bytes(4, "little") + id + offset.to_bytes(8, "little") for status, id, offset in entries)
    walked = list(stack(1 << 5, raw + bytes(32 * 124)).walk(5))
    assert [(one.status, bytes(one.build_id), one.offset) for one in walked] == entries[:2]
    assert "bpf_stack_build_id" in str(type(walked[0]))


# ---- counters


@pytest.mark.linux
def test_counters_are_read_by_programs() -> None:
    text = """BPF_PERF_ARRAY(clock, NUM_CPUS); BPF_ARRAY(said, s64, 1);
    int f(struct __sk_buff *ctx) { return 0; }
    TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
        if (bpf_get_current_pid_tgid() >> 32 != WANTED) return 0;
        int at = 0; s64 value = clock.perf_read(CUR_CPU_IDENTIFIER); said.update(&at, &value); return 0; }"""
    flags = [f"-DNUM_CPUS={os.cpu_count()}", f"-DWANTED={os.getpid()}"]
    before = len(os.listdir("/proc/self/fd"))
    with BPF(text=text, cflags=flags, kernel="linux") as bpf:
        clock, said = bpf["clock"], bpf["said"]
        os.getppid()
        assert said[0].value == -errno.ENOENT
        clock.open_perf_event(1, 0)  # software, cpu clock
        readings = []
        for _ in range(3):
            os.getppid()
            readings.append(said[0].value)
        assert 0 < readings[0] < readings[1] < readings[2]
        for cpu in range(clock.max_entries):
            del clock[cpu]
        os.getppid()
        assert said[0].value == -errno.ENOENT
        with pytest.raises((AttachError, NotSupportedError)):
            clock.open_perf_event(99, 0)
        assert ctypes.get_errno() == errno.ENOENT
        clock.open_perf_event(1, 0, os.getpid())
        os.getppid()
        assert said[0].value > 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_simulated_kernels_count_nothing() -> None:
    with BPF(text="BPF_PERF_ARRAY(t, 2);", kernel="sim") as bpf, pytest.raises(NotSupportedError, match="counts no events"):
        bpf["t"].open_perf_event(0, 0)


# ---- for people


def test_what_tables_and_structs_look_like(kernel: Kernel) -> None:
    text = """struct leaf_t { char comm[8]; u32 pids[2]; struct { u16 a; } in; union { u8 x; u32 y; }; };
    BPF_HASH(t, u32, struct leaf_t); BPF_ARRAY(a, u64, 9); BPF_PERCPU_ARRAY(p, u32, 1); BPF_HASH(none);"""
    with _bpf(kernel, text) as bpf:
        t = bpf["t"]
        t[1] = leaf = t.Leaf(comm=b"sh", pids=(1, 2), y=7)
        assert repr(leaf) == "leaf_t(comm=b'sh', pids=[1, 2], in=anonymous(a=0), x=7, y=7)"
        assert t[1] == leaf and hash(t[1]) == hash(leaf) and t[1] != t.Leaf() and leaf != 5 and len({t[1], leaf}) == 1
        assert repr(t) == f"<HashTable 't': hash, 10240 entries {{1: {leaf!r}}}>"
        bpf["a"][1] = 5
        assert repr(bpf["a"]) == "<Array 'a': array, 9 entries {0: 0, 1: 5, 2: 0, 3: 0, ...}>"
        zeros = ", ".join("0" * kernel.cpus)
        assert repr(bpf["p"]) == f"<PerCpuArray 'p': percpu_array, 1 entries {{0: [{zeros}]}}>"
        assert repr(bpf["none"]) == "<HashTable 'none': hash, 10240 entries>"
    assert repr(t) == "<HashTable 't': hash, 10240 entries>"  # closed


def test_texts_of_tables(kernel: Kernel) -> None:
    text = "BPF_HASH(stats, int, struct { u64 a; u64 b; u64 c:36; u64 d:28; struct { u32 a; u32 b; } s; }, 10);"
    with _bpf(kernel, text) as bpf:
        t = bpf["stats"]
        assert t.key_sprintf(t.Key(2)) == t.key_sprintf(2) == b"0x2" and t.key_scanf(b" 017").value == 15
        said = t.leaf_sprintf(t.Leaf(2, 3, 4, 1, (5, 6)))
        assert said == b"{ 0x2 0x3 0x1000000004 { 0x5 0x6 } }"
        leaf = t.leaf_scanf(said.decode())
        assert (leaf.a, leaf.b, leaf.c, leaf.d, leaf.s.a, leaf.s.b) == (2, 3, 4, 1, 5, 6)
        for wrong in (b"", b"{ 1 2", b"{ x }", b"1 2 3 4 5"):
            with pytest.raises(MapError, match="Could not scanf leaf"):
                t.leaf_scanf(wrong)
        with pytest.raises(MapError, match="Could not scanf key"):
            t.key_scanf("none")


# ---- rings that programs drain

_DRAIN = """
BPF_TABLE("ringbuf", u32, u32, samples, 1);
BPF_ARRAY(sum, u64, 1);
static long each(struct bpf_dynptr *sample, void *ctx) {
    u64 value = 0; int at = 0;
    bpf_dynptr_read(&value, sizeof(value), sample, 0, 0);
    u64 *total = sum.lookup(&at);
    if (total) *total += value;
    return 0;
}
int f(struct __sk_buff *ctx) { return bpf_user_ringbuf_drain(&samples, each, NULL, 0); }"""


def test_samples_are_drained(kernel: Kernel) -> None:
    spec = read_object(compile(_DRAIN, types=kernel.types))
    samples = dataclasses.replace(spec.maps["samples"], type=MapType.USER_RINGBUF)
    loaded = load(dataclasses.replace(spec, maps={**spec.maps, "samples": samples}), kernel, {"f": ProgType.SOCKET_FILTER})
    t, total = table_for(loaded.maps["samples"], kernel), table_for(loaded.maps["sum"], kernel, None, ctype.ULLONG)
    assert isinstance(t, UserRingBuf) and isinstance(total, Table)
    written = 0
    for _ in range(3):  # three times round the ring
        count = 0
        while t.submit(ctypes.c_ulonglong(count)):
            written += count
            count += 1
        assert count == 4096 // 16
        assert loaded.programs["f"].test_run(bytes(64)).retval == count and total[0].value == written
    with pytest.raises(MapError) as too_large:
        t.submit(bytes(4096))
    assert too_large.value.errno == errno.E2BIG
    t.close()
    assert t.submit(b"12345678")  # opens it again
    t.close()
    loaded.close()


@pytest.mark.parametrize("declaration", [
    "BPF_HASH(t, u32, u64, 3000);", 'BPF_TABLE("lru_hash", u32, u64, t, 3000);', "BPF_PERCPU_HASH(t, u32, u64, 3000);",
    "BPF_ARRAY(t, u64, 900);", "BPF_LPM_TRIE(t, u64, u64, 3000);"])
def test_batches_keep_the_order_of_the_walk(kernel: Kernel, declaration: str) -> None:
    """items() reads in batches where the kernel can; keys come as get_next_key gives them all the same."""
    rng = random.Random(1)
    with _bpf(kernel, declaration) as bpf:
        t = bpf["t"]
        for number in range(800):
            key = {"BPF_LPM": rng.randrange(33) | rng.randrange(1 << 32) << 32, "BPF_ARR": number}.get(declaration[:7], rng.randrange(1 << 32))
            t[key] = t.Leaf(number)
        walked, raw = [], t.map.next_key(None)
        while raw is not None:
            walked.append(raw)
            raw = t.map.next_key(raw)
        assert [bytes(key) for key, _ in t.items()] == [bytes(key) for key in t] == walked and t._has_batches
        t._has_batches = False
        assert [bytes(key) for key, _ in t.items()] == [bytes(key) for key in t.keys()] == walked  # noqa: SIM118
