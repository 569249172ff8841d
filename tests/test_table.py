"""Tables over a map kept in a dict, and over real maps where bpf(2) is permitted."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.rings import Reader, Records
from bcc_py.spec import MapSpec
from bcc_py.table import (
    Array,
    HashTable,
    MapView,
    PerCpuArray,
    PerCpuHash,
    PerfEventArray,
    RingBuf,
    Table,
    ctypes_from_ctype,
    table_for,
)
from cfront import ctype
from cfront.ctype import Field, Pointer, Record, RecordMember, lay_out
from cfront.uapi import MapType


class DictMap:
    """A map kept in a dict; arrays and per-CPU maps as the kernel has them."""

    def __init__(self, spec: MapSpec, cpus: int) -> None:
        self.spec, self.fd, self.values = spec, 3, {}
        per_cpu = spec.type in (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY)
        self.value_bytes = (spec.value_size + 7) // 8 * 8 * cpus if per_cpu else spec.value_size
        if spec.type in (MapType.ARRAY, MapType.PERCPU_ARRAY):
            self.values: dict[bytes, bytes] = {i.to_bytes(4, "little"): bytes(self.value_bytes) for i in range(spec.max_entries)}

    def lookup(self, key: bytes) -> bytes | None:
        assert len(key) == self.spec.key_size
        return self.values.get(key)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        assert len(key) == self.spec.key_size and len(value) == self.value_bytes
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        if key not in self.values:
            raise KeyNotFound("deleting", self.spec.name, key)
        del self.values[key]

    def next_key(self, key: bytes | None) -> bytes | None:
        keys = list(self.values)
        if key is None or key not in self.values:
            return keys[0] if keys else None
        at = keys.index(key) + 1
        return keys[at] if at < len(keys) else None

    def lookup_batch(self, cursor: bytes | None, count: int) -> Any:
        raise MapError("reading rows of map", self.spec.name, 22)

    def close(self) -> None: ...


class FakeRing(Reader):
    """A ring that tests put records into, as a ring buffer lays them out."""

    def __init__(self, on_lost: Any = None) -> None:
        super().__init__(lambda records: True, on_lost)
        self.waiting: list[Records] = []
        self.is_closed = False

    @property
    def is_open(self) -> bool:
        return not self.is_closed

    def put(self, *records: bytes, cpu: int = 0, lost: int = 0) -> None:
        memory, offsets, sizes = bytearray(), [], [len(one) for one in records]
        for one in records:
            offsets.append(len(memory) + 8)
            memory += bytes(8) + one + bytes(-len(one) % 8)
        is_even = len(set(sizes)) == 1
        self.waiting.append(Records(
            cpu, memory + bytes(16), len(records), lambda: (offsets, sizes), first=8, size=sizes[0] if sizes else 0,
            stride=8 + (sizes[0] + 7) // 8 * 8 if is_even else 0, lost=lost))

    def _ends(self) -> list[int]:
        return [0]

    def _take(self, at: int, end: int, room: int) -> Records | None:
        return self.waiting.pop(0) if self.waiting else None

    def close(self) -> None:
        self.is_closed = True
        self.forget_kept()


class DictKernel:
    cpus = 3

    def create_map(self, spec: MapSpec) -> DictMap:
        return DictMap(spec, self.cpus)

    def open_perf_buffer(self, map: Any, callback: Any, lost: Any, pages: int) -> FakeRing:
        self.pages = pages
        self.ring = FakeRing(lost)
        return self.ring

    def open_ring_buffer(self, map: Any, callback: Any) -> FakeRing:
        self.ring = FakeRing()
        return self.ring

    def close(self) -> None: ...


@pytest.fixture(params=["dict", pytest.param("linux", marks=pytest.mark.linux)])
def kernel(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "dict":
        yield DictKernel()
        return
    made = LinuxKernel()
    yield made
    made.close()


def struct(name: str, *members: tuple[str, ctype.CType], is_packed: bool = False) -> Record:
    fields, size, align = lay_out("struct", [RecordMember(*one) for one in members], is_packed)
    return Record("struct", name, fields, size, align)


KEY = struct("key_t", ("bucket", ctype.UINT), ("slot", ctype.ULLONG))


def table(kernel: Any, type: MapType, key: ctype.CType | None, leaf: ctype.CType | None, entries: int = 100, **more: Any) -> Any:
    spec = MapSpec("t", type, key.size if key else 4, leaf.size if leaf else 4, entries)
    return table_for(kernel.create_map(spec), kernel, key, leaf, **more)


# ---- ctypes


def test_simple_types() -> None:
    pairs = [(ctype.CHAR, ctypes.c_char), (ctype.UCHAR, ctypes.c_ubyte), (ctype.INT, ctypes.c_int), (ctype.ULLONG, ctypes.c_ulonglong),
             (ctype.BOOL, ctypes.c_bool), (Pointer(ctype.CHAR), ctypes.c_ulonglong), (ctype.Enum("e", {}, ctype.UINT), ctypes.c_uint)]
    for ours, theirs in pairs:
        assert ctypes_from_ctype(ours) is theirs
    assert ctypes.sizeof(ctypes_from_ctype(ctype.Array(ctype.Array(ctype.SHORT, 3), 5))) == 30
    assert ctypes.sizeof(ctypes_from_ctype(ctype.UINT128)) == 16
    assert ctypes.sizeof(ctypes_from_ctype(ctype.VOID)) == 0


def test_padding_is_spelled_out_as_bcc_does() -> None:
    made = ctypes_from_ctype(struct("s", ("a", ctype.CHAR), ("b", ctype.ULLONG), ("c", ctype.USHORT)))
    assert [name for name, *_ in made._fields_] == ["a", "__pad_1", "b", "c", "__pad_end"]
    assert made._pack_ == 1 and ctypes.sizeof(made) == 24


SCALARS = {ctype.CHAR: ctypes.c_char, ctype.UCHAR: ctypes.c_ubyte, ctype.SHORT: ctypes.c_short, ctype.UINT: ctypes.c_uint,
           ctype.LONG: ctypes.c_long, ctype.ULLONG: ctypes.c_ulonglong}


@given(st.lists(st.tuples(st.sampled_from(list(SCALARS)), st.integers(0, 5)), min_size=1, max_size=8))
def test_layout_is_that_of_the_c_compiler(rows: list[tuple[ctype.Integer, int]]) -> None:
    """ctypes' own natural layout is the platform ABI's."""
    members = [(f"m{i}", ctype.Array(one, n) if n else one) for i, (one, n) in enumerate(rows)]
    natural = type("Natural", (ctypes.Structure,), {"_fields_": [
        (f"m{i}", SCALARS[one] * n if n else SCALARS[one]) for i, (one, n) in enumerate(rows)]})
    made = ctypes_from_ctype(struct("s", *members))
    assert ctypes.sizeof(made) == ctypes.sizeof(natural)
    for name, _ in members:
        assert getattr(made, name).offset == getattr(natural, name).offset


def test_nested_anonymous_union_packed_and_flexible() -> None:
    fields, size, align = lay_out("union", [RecordMember("v4", ctype.UINT), RecordMember("v6", ctype.Array(ctype.UCHAR, 16))])
    either = Record("union", "", fields, size, align)
    made = ctypes_from_ctype(struct("s", ("x", ctype.CHAR), ("", either), ("rest", ctype.Array(ctype.CHAR, None)), is_packed=True))
    assert ctypes.sizeof(made) == 17
    one = made(x=b"a", v4=0x01020304)
    assert bytes(one)[1:5] == b"\4\3\2\1" and list(one.v6[:4]) == [4, 3, 2, 1]


def test_bit_fields_that_ctypes_can_and_cannot_do() -> None:
    fields, size, align = lay_out("struct", [RecordMember("a", ctype.UINT, 3), RecordMember("b", ctype.UINT, 5), RecordMember("c", ctype.UINT)])
    made = ctypes_from_ctype(Record("struct", "s", fields, size, align))
    assert bytes(made(a=5, b=17, c=1)) == bytes([5 | 17 << 3, 0, 0, 0, 1, 0, 0, 0])
    odd = Record("struct", "odd", [Field("a", ctype.INT, 0, 0, 3), Field("b", ctype.UINT, 5, 3, 20), Field("c", ctype.UINT, 8)], 12, 4)
    made = ctypes_from_ctype(odd)
    one = made(a=-2, b=0xABCDE, c=7)
    assert (one.a, one.b, one.c) == (-2, 0xABCDE, 7)
    assert bytes(one) == bytes([6, 0, 0, 0, 0, *(0xABCDE << 3).to_bytes(3, "little"), 7, 0, 0, 0])
    assert repr(one) == "odd(a=-2, b=703710, c=7)" and one == made(a=-2, b=0xABCDE, c=7) != made(b=1)


# ---- hash tables


def test_hash_table_is_a_mapping(kernel: Any) -> None:
    t = table(kernel, MapType.HASH, ctype.UINT, ctype.ULLONG)
    assert isinstance(t, HashTable) and len(t) == 0 and not t.items()
    t[t.Key(1)] = t.Leaf(10)
    t[ctypes.c_uint(2)] = ctypes.c_ulonglong(20)
    t[3] = 30
    assert len(t) == 3 and t[t.Key(2)].value == 20 and t.get(t.Key(9)) is None
    assert {key.value: leaf.value for key, leaf in t.items()} == {1: 10, 2: 20, 3: 30}
    assert sorted(key.value for key in t) == [key.value for key in sorted(t.keys(), key=bytes)] == [1, 2, 3]
    assert sorted(leaf.value for leaf in t.values()) == sorted(leaf.value for leaf in t.itervalues()) == [10, 20, 30]
    assert t.Key(1) in t and t.Key(9) not in t
    with pytest.raises(KeyError):
        t[t.Key(9)]
    with pytest.raises(KeyError):
        del t[t.Key(9)]
    assert t.pop(t.Key(1)).value == 10 and len(t) == 2
    t.zero()
    assert [leaf.value for leaf in t.values()] == [0, 0]
    t.update({3: 31, 4: 40})
    assert t.setdefault(t.Key(4), t.Leaf(1)).value == 40
    t.popitem()
    t.clear()
    assert len(t) == 0 and t.max_entries == 100 and t.ttype == 1 and t.get_fd() == t.map_fd


def test_struct_keys_and_leaves(kernel: Any) -> None:
    leaf = struct("leaf_t", ("name", ctype.Array(ctype.CHAR, 6)), ("count", ctype.ULLONG))
    t = table(kernel, MapType.HASH, KEY, leaf)
    t[t.Key(bucket=7, slot=3)] = t.Leaf(name=b"sh", count=5)
    ((key, value),) = t.items()
    assert (key.bucket, key.slot, value.name, value.count) == (7, 3, b"sh", 5)


def test_wrong_keys_are_refused(kernel: Any) -> None:
    t = table(kernel, MapType.HASH, KEY, ctype.ULLONG)
    with pytest.raises(TypeError, match="a key of table t is a key_t, not int"):
        t[5]
    with pytest.raises(MapError, match="a key of 4 bytes \\(it takes 16\\)"):
        t[ctypes.c_uint(4)]
    with pytest.raises(TypeError):
        t[t.Key(1, b"", 1)] = "text"


def test_walk_ends_although_keys_vanish() -> None:
    kernel = DictKernel()
    t = table(kernel, MapType.HASH, ctype.UINT, ctype.ULLONG)
    for i in range(20):
        t[i] = i
    real = t.map.next_key

    def vanishing(key: bytes | None) -> bytes | None:
        t.map.values.pop(key, None)
        return real(key)

    t.map.next_key = vanishing
    assert len(t.keys()) == 20 and t.items() == []


# ---- arrays and per-CPU tables


def test_array(kernel: Any) -> None:
    t = table(kernel, MapType.ARRAY, ctype.UINT, ctype.ULLONG, 5)
    assert isinstance(t, Array) and len(t) == 5
    t[0], t[-1] = 7, t.Leaf(9)
    assert [leaf.value for leaf in t.values()] == [7, 0, 0, 0, 9] and t[ctypes.c_int(4)].value == 9
    del t[0]
    t.clearitem(4)
    assert [leaf.value for leaf in t.values()] == [0] * 5
    for index in (5, -6):
        with pytest.raises(IndexError, match="Array index out of range"):
            t[index]
    with pytest.raises(IndexError, match="Array index must be an integer type"):
        t["x"]
    t[1] = 3
    t.clear()
    assert t[1].value == 0


@pytest.mark.parametrize("leaf", [ctype.ULLONG, ctype.UINT, ctype.INT, ctype.USHORT])
def test_per_cpu_tables(kernel: Any, leaf: ctype.Integer) -> None:
    for kind, cls in ((MapType.PERCPU_HASH, PerCpuHash), (MapType.PERCPU_ARRAY, PerCpuArray)):
        t = table(kernel, kind, ctype.UINT, leaf, 4)
        assert isinstance(t, cls)
        values = [cpu + 1 for cpu in range(kernel.cpus)]
        t[t.Key(2)] = t.Leaf(*values)
        assert list(t[t.Key(2)]) == list(t.getvalue(t.Key(2))) == values
        assert t.sum(t.Key(2)).value == sum(values) and t.max(t.Key(2)).value == kernel.cpus
        assert t.average(t.Key(2)) == sum(values) / kernel.cpus
        t.zero()
        assert list(t[t.Key(2)]) == [0] * kernel.cpus
        t[t.Key(2)] = t.Leaf(*values)
        t.clear()
        assert t.get(t.Key(2)) is None if kind is MapType.PERCPU_HASH else list(t[2]) == [0] * kernel.cpus
        with pytest.raises(KeyNotFound if kind is MapType.PERCPU_HASH else IndexError):
            t.getvalue(t.Key(99))


def test_negative_per_cpu_values_stay_negative(kernel: Any) -> None:
    t = table(kernel, MapType.PERCPU_ARRAY, ctype.UINT, ctype.INT, 1)
    t[0] = t.Leaf(*([-5] * kernel.cpus))
    assert t.sum(0).value == -5 * kernel.cpus


def test_reducer_and_struct_leaves(kernel: Any) -> None:
    t = table(kernel, MapType.PERCPU_ARRAY, ctype.UINT, ctype.ULLONG, 1, reducer=lambda a, b: a + b)
    t[0] = t.Leaf(*([4] * kernel.cpus))
    assert t[0] == 4 * kernel.cpus
    t = table(kernel, MapType.PERCPU_HASH, ctype.UINT, struct("s", ("a", ctype.INT), ("b", ctype.SHORT), ("c", ctype.CHAR)), 4)
    t[t.Key(0)] = t.Leaf(*[t.sLeaf(cpu, 2, b"x") for cpu in range(kernel.cpus)])
    assert [one.a for one in t[t.Key(0)]] == list(range(kernel.cpus))
    with pytest.raises(IndexError, match="must be an integer type"):
        t.sum(t.Key(0))


def test_tables_without_types_are_integers_or_bytes(kernel: Any) -> None:
    t = table(kernel, MapType.HASH, None, None)
    t[1] = 2
    assert t[t.Key(1)].value == 2 and t.Leaf is ctypes.c_uint


# ---- histograms


def test_histogram_of_plain_slots(kernel: Any, capsys: pytest.CaptureFixture[str]) -> None:
    t = table(kernel, MapType.ARRAY, ctype.INT, ctype.ULLONG, 64)
    t[3], t[4] = 10, 100
    t.print_log2_hist("usecs", strip_leading_zero=True)
    assert capsys.readouterr().out == (
        "     usecs               : count     distribution\n"
        "         4 -> 7          : 10       |****                                    |\n"
        "         8 -> 15         : 100      |****************************************|\n")
    t.print_linear_hist()
    assert capsys.readouterr().out.splitlines()[-1] == "        4          : 100      |****************************************|"


def test_histogram_by_bucket(kernel: Any, capsys: pytest.CaptureFixture[str]) -> None:
    t = table(kernel, MapType.HASH, KEY, ctype.ULLONG)
    for bucket, slot, count in ((2, 1, 5), (1, 2, 3), (2, 2, 1)):
        t[t.Key(bucket=bucket, slot=slot)] = count
    t.print_log2_hist("ns", "disk", section_print_fn=lambda one: f"<{one}>", bucket_fn=lambda one: one * 10, bucket_sort_fn=sorted)
    out = capsys.readouterr().out
    assert out.startswith("\ndisk = <10>\n     ns ") and "\ndisk = <20>\n" in out
    assert out.count("distribution") == 2 and "         0 -> 1          : 5 " in out
    t.print_linear_hist("ns")
    assert "\nBucket ptr = 1\n" in capsys.readouterr().out


def test_histogram_with_a_string_bucket_and_a_wild_slot(kernel: Any, capsys: pytest.CaptureFixture[str]) -> None:
    key = struct("k", ("name", ctype.Array(ctype.CHAR, 8)), ("slot", ctype.ULLONG))
    t = table(kernel, MapType.HASH, key, ctype.ULLONG)
    t[t.Key(b"sh", 3)] = 7
    t.print_log2_hist()
    assert "\nBucket ptr = b'sh'\n" in capsys.readouterr().out
    t[t.Key(b"sh", 2000)] = 7
    with pytest.raises(IndexError, match="Index in print_linear_hist\\(\\) of 2000 exceeds max of 1025"):
        t.print_linear_hist()


# ---- records

EVENT = struct("data_t", ("pid", ctype.UINT), ("comm", ctype.Array(ctype.CHAR, 16)))


def test_perf_callbacks_get_an_address_for_event(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = DictKernel()
    t = table(kernel, MapType.PERF_EVENT_ARRAY, None, None, 3, event_type=EVENT)
    assert isinstance(t, PerfEventArray)
    got: list[tuple[int, int, Any]] = []
    t.open_perf_buffer(lambda cpu, data, size: got.append((cpu, size, t.event(data))), page_cnt=64)
    kernel.ring.put((5).to_bytes(4, "little") + b"bash".ljust(16, b"\0") + bytes(4), cpu=1, lost=12)
    assert kernel.ring.consume() == 1
    assert kernel.pages == 64 and got[0][:2] == (1, 24)
    assert (got[0][2].pid, got[0][2].comm) == (5, b"bash")
    assert capsys.readouterr().err == "Possibly lost 12 samples\n" and t.lost == 12
    first, losses = t.ring, []
    t.open_perf_buffer(lambda cpu, data, size: None, lost_cb=losses.append)
    kernel.ring.put(lost=3)
    assert kernel.ring.consume() == 0
    assert losses == [3] and first is not None and first.is_closed
    with pytest.raises(MapError, match="page_cnt 6 is not a power of two"):
        t.open_perf_buffer(lambda cpu, data, size: None, page_cnt=6)


def test_ring_buffer_callbacks_and_their_answer() -> None:
    kernel = DictKernel()
    t = table_for(kernel.create_map(MapSpec("r", MapType.RINGBUF, 0, 0, 4096)), kernel, None, None, EVENT)  # type: ignore[arg-type]
    assert isinstance(t, RingBuf) and len(t) == 0 and t.keys() == []
    seen: list[Any] = []

    def callback(ctx: Any, data: Any, size: int) -> int:
        seen.append((ctx, ctypes.cast(data, ctypes.POINTER(t.Event)).contents.pid, size))
        return -1

    t.open_ring_buffer(callback, "context")
    kernel.ring.put(bytes([9]) + bytes(19), bytes([8]) + bytes(19))
    assert kernel.ring.consume() == 1
    assert seen == [("context", 9, 20)]
    assert kernel.ring.consume() == 1
    assert seen[1:] == [("context", 8, 20)]
    t.close()
    assert t.ring is None


def test_records_that_are_cut_short_or_untyped() -> None:
    kernel = DictKernel()
    t = table_for(kernel.create_map(MapSpec("r", MapType.RINGBUF, 0, 0, 4096)), kernel, None, None, EVENT)  # type: ignore[arg-type]
    assert isinstance(t, RingBuf)
    seen: list[bytes] = []
    t.open_ring_buffer(lambda ctx, data, size: seen.append(bytes(t.event(data))))
    kernel.ring.put(b"\x07" * 7)
    kernel.ring.consume()
    kernel.ring.put(b"\x14" * 20, b"\x08" * 8, b"\xff" * 20)
    kernel.ring.consume()
    assert seen == [b"\x07" * 7 + bytes(13), b"\x14" * 20, b"\x08" * 8 + bytes(12), b"\xff" * 20]
    untyped = table_for(kernel.create_map(MapSpec("r", MapType.RINGBUF, 0, 0, 4096)), kernel)  # type: ignore[arg-type]
    assert isinstance(untyped, RingBuf)
    with pytest.raises(MapError, match="its type is not known"):
        untyped.event(0)


def test_every_map_type_has_a_table() -> None:
    kernel = DictKernel()
    for type in MapType:
        t = table_for(DictMap(MapSpec("t", type, 4, 8, 2), 3), kernel)  # type: ignore[arg-type]
        assert isinstance(t, MapView) and t.ttype == type and f"'t': {type.name.lower()}, 2 entries" in repr(t)
    assert issubclass(HashTable, Table)


def _opened(callback: Any) -> tuple[Any, RingBuf]:
    kernel = DictKernel()
    t = table_for(kernel.create_map(MapSpec("r", MapType.RINGBUF, 0, 0, 4096)), kernel, None, None, EVENT)  # type: ignore[arg-type]
    assert isinstance(t, RingBuf)
    t.open_ring_buffer(lambda ctx, data, size: callback(t, data))
    return kernel.ring, t


def _record(pid: int, extra: int = 0) -> bytes:
    return pid.to_bytes(4, "little") + b"c".ljust(16, b"\0") + bytes(extra)


@pytest.mark.parametrize("extra", [(0, 0, 0), (0, 8, 4)])
def test_events_may_be_kept_after_the_ring_is_gone(extra: tuple[int, ...]) -> None:
    kept: list[Any] = []
    ring, t = _opened(lambda t, data: kept.append(t.event(data)))
    ring.put(*(_record(pid, more) for pid, more in zip((1, 2, 3), extra, strict=True)))
    assert ring.consume() == 3
    ring.put(*(_record(pid) for pid in (4, 5)))
    ring.consume()
    t.close()
    assert [one.pid for one in kept] == [1, 2, 3, 4, 5] and kept[0].comm == b"c"


def test_what_a_callback_raises_at_is_not_seen_again_and_nothing_else_is_lost() -> None:
    seen: list[int] = []

    def callback(t: Any, data: Any) -> None:
        seen.append(t.event(data).pid)
        if seen[-1] == 2:
            raise RuntimeError("two")

    ring, _ = _opened(callback)
    ring.put(_record(1), _record(2), _record(3))
    with pytest.raises(RuntimeError, match="two"):
        ring.consume()
    assert ring.has_kept and ring.consume() == 1 and seen == [1, 2, 3] and not ring.has_kept


def test_a_callback_may_read_on_and_close() -> None:
    seen: list[int] = []

    def callback(t: Any, data: Any) -> None:
        event = t.event(data)
        if event.pid == 1:
            ring.consume()
        if event.pid == 4:
            t.close()
        seen.append(event.pid)
        assert t.event(data).pid == event.pid

    ring, _ = _opened(callback)
    ring.put(_record(1), _record(2))
    ring.put(_record(3))
    ring.consume()
    assert seen == [2, 3, 1]
    ring.put(_record(4), _record(5))
    ring.consume()
    assert seen == [2, 3, 1, 4]


def test_a_batch_is_a_structured_array() -> None:
    numpy = pytest.importorskip("numpy", reason="NumPy is optional")
    ring, t = _opened(lambda t, data: t.event(data))
    ring.put(*(_record(pid) for pid in range(5)), lost=2)
    ring.put(_record(7), _record(8, 12), lost=1)
    rows = t.read_batch()
    assert rows.dtype == numpy.dtype([("pid", "u4"), ("comm", "S16")]) and rows.flags.writeable
    assert rows["pid"].tolist() == [0, 1, 2, 3, 4, 7, 8] and set(rows["comm"].tolist()) == {b"c"}
    assert t.lost == 3 and len(t.read_batch()) == 0
    ring.put(_record(1)[:10])
    assert bytes(t.read_batch()[0]) == _record(1)[:10] + bytes(10)


def test_a_batch_takes_what_a_callback_left() -> None:
    pytest.importorskip("numpy", reason="NumPy is optional")
    ring, t = _opened(lambda t, data: -1)
    ring.put(*(_record(pid) for pid in range(4)))
    assert ring.consume() == 1
    assert t.read_batch()["pid"].tolist() == [1, 2, 3]


def test_without_numpy_a_batch_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    _, t = _opened(lambda t, data: None)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(NotSupportedError, match="pip install numpy"):
        t.read_batch()
