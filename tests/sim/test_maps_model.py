"""Every map type against a plain model of it, by hypothesis: any sequence of operations gives what the model gives."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.errors import MapError
from bcc_py.kernel import Map
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import MapSpec
from cfront.uapi import MapType
from tests.sim.map_operations import PERCPU, Operation, apply, keys_of, value_of
from tests.sim.quiet import Script

_M = MapType
_ENTRIES = 6
_CPUS = 2
_HASHES = (_M.HASH, _M.PERCPU_HASH)
_ARRAYS = (_M.ARRAY, _M.PERCPU_ARRAY)
_LRUS = (_M.LRU_HASH, _M.LRU_PERCPU_HASH)

Rows = dict[bytes, bytes]


class _Keyed:
    """A hash or an array. Its answers are values, None, or an errno."""

    full = errno.E2BIG

    def __init__(self, spec: MapSpec) -> None:
        self.spec = spec
        self.rows: Rows = {}

    def lookup(self, key: bytes) -> object:
        return self.rows.get(key)

    def update(self, key: bytes, value: bytes, flags: int) -> object:
        if flags > 2:
            return errno.EINVAL
        if key in self.rows and flags == 1:
            return errno.EEXIST
        if key not in self.rows and flags == 2:
            return errno.ENOENT
        if key not in self.rows and len(self.rows) == self.spec.max_entries:
            return self.full
        self.rows[key] = value
        return None

    def delete(self, key: bytes) -> object:
        return errno.ENOENT if self.rows.pop(key, None) is None else None

    def take(self, key: bytes) -> object:
        return self.rows.pop(key, None)

    def next(self, key: bytes) -> object:
        return ...  # any order will do

    def keys(self) -> list[bytes]:
        return sorted(self.rows)


class _Array(_Keyed):
    def __init__(self, spec: MapSpec) -> None:
        super().__init__(spec)
        zeros = bytes(len(value_of(spec, 0, _CPUS)))
        self.rows = {n.to_bytes(4, "little"): zeros for n in range(spec.max_entries)}

    def update(self, key: bytes, value: bytes, flags: int) -> object:
        if flags > 2:
            return errno.EINVAL
        if key not in self.rows:
            return errno.E2BIG
        return super().update(key, value, flags)

    def delete(self, key: bytes) -> object:
        return errno.EINVAL

    def take(self, key: bytes) -> object:
        return 524

    def next(self, key: bytes) -> object:
        following = int.from_bytes(key, "little") + 1
        if following == self.spec.max_entries:
            return None
        return (following if following < self.spec.max_entries else 0).to_bytes(4, "little")


class _Trie(_Keyed):
    """The longest of the prefixes that fit, by trying all."""

    full = errno.ENOSPC

    def _bits(self, key: bytes) -> str:
        data = "".join(f"{byte:08b}" for byte in key[4:])
        return data[: int.from_bytes(key[:4], "little")]

    def _is_key(self, key: bytes) -> bool:
        return int.from_bytes(key[:4], "little") <= 8 * (len(key) - 4)

    def _same(self, key: bytes) -> bytes:
        """The key under which the prefix is stored: bits beyond its length do not count."""
        return next((one for one in self.rows if self._bits(one) == self._bits(key)), key)

    def lookup(self, key: bytes) -> object:
        fitting = [one for one in self.rows if self._bits(key).startswith(self._bits(one))] if self._is_key(key) else []
        return self.rows[max(fitting, key=lambda one: len(self._bits(one)))] if fitting else None

    def update(self, key: bytes, value: bytes, flags: int) -> object:
        if not self._is_key(key):
            return errno.EINVAL
        old = self._same(key)
        answer = super().update(old, value, flags)
        if answer is None and old != key:
            self.rows[key] = self.rows.pop(old)
        return answer

    def delete(self, key: bytes) -> object:
        return super().delete(self._same(key)) if self._is_key(key) else errno.EINVAL

    def take(self, key: bytes) -> object:
        return 524


class _Queue(_Keyed):
    def __init__(self, spec: MapSpec) -> None:
        super().__init__(spec)
        self.values: list[bytes] = []

    def update(self, key: bytes, value: bytes, flags: int) -> object:
        if flags not in (0, 2):
            return errno.EINVAL
        if len(self.values) == self.spec.max_entries:
            if not flags:
                return errno.E2BIG
            self.values.pop(0)
        self.values.append(value)
        return None

    @property
    def _at(self) -> int:
        return -1 if self.spec.type is _M.STACK else 0

    def lookup(self, key: bytes) -> object:
        return self.values[self._at] if self.values else None

    def take(self, key: bytes) -> object:
        return self.values.pop(self._at) if self.values else None

    def delete(self, key: bytes) -> object:
        return errno.EINVAL

    def next(self, key: bytes) -> object:
        return errno.EINVAL

    def keys(self) -> list[bytes]:
        return []


_MODELS: dict[MapType, type[_Keyed]] = {
    **dict.fromkeys(_HASHES, _Keyed), **dict.fromkeys(_ARRAYS, _Array), _M.LPM_TRIE: _Trie, _M.QUEUE: _Queue, _M.STACK: _Queue,
}


@pytest.fixture(scope="module")
def shared() -> Callable[[MapSpec], Map]:
    return SimKernel(Script(), spec="sim:test", cpus=_CPUS).create_map


def _key(spec: MapSpec) -> st.SearchStrategy[bytes]:
    if spec.type is _M.LPM_TRIE:
        data = st.lists(st.sampled_from((0, 0x80, 0xC0, 0xFF)), min_size=spec.key_size - 4, max_size=spec.key_size - 4).map(bytes)
        return st.tuples(st.integers(0, 8 * (spec.key_size - 4) + 1), data).map(lambda pair: pair[0].to_bytes(4, "little") + pair[1])
    return st.integers(0, _ENTRIES + 2).map(lambda number: number.to_bytes(max(4, spec.key_size), "little")[: spec.key_size])


@st.composite
def _runs(draw: st.DrawFn, kinds: tuple[MapType, ...]) -> tuple[MapSpec, list[Operation]]:
    kind = draw(st.sampled_from(kinds))
    sizes = {_M.LPM_TRIE: (5, 6, 12), _M.QUEUE: (0,), _M.STACK: (0,)}.get(kind, (4,) if kind in _ARRAYS else (4, 5, 8, 16, 23))
    spec = MapSpec("m", kind, draw(st.sampled_from(sizes)), draw(st.sampled_from((1, 4, 8, 12, 24))), _ENTRIES, int(kind is _M.LPM_TRIE))
    one = st.builds(Operation, st.sampled_from(("lookup", "update", "update", "update", "delete", "take", "next")), _key(spec),
                    st.integers(0, 250), st.sampled_from((0, 0, 0, 1, 2, 3)))
    return spec, draw(st.lists(one, max_size=60))


@given(run=_runs(tuple(_MODELS)))
@settings(max_examples=300, deadline=None)
def test_maps_do_what_the_model_does(shared: Callable[[MapSpec], Map], run: tuple[MapSpec, list[Operation]]) -> None:
    spec, steps = run
    map, model = shared(spec), _MODELS[spec.type](spec)
    for one in steps:
        got = apply(map, one, _CPUS)
        if one.verb == "update":
            assert got == model.update(one.key, value_of(spec, one.seed, _CPUS), one.flags)
        else:
            wanted = getattr(model, one.verb)(one.key)
            assert wanted is ... or got == wanted
    if spec.key_size:
        assert sorted(keys_of(map)) == model.keys()
    map.close()


@given(run=_runs(_LRUS))
@settings(max_examples=100, deadline=None)
def test_an_lru_hash_forgets_and_never_invents(shared: Callable[[MapSpec], Map], run: tuple[MapSpec, list[Operation]]) -> None:
    """What is there has the value written last, and the newest key is there."""
    spec, steps = run
    map = shared(spec)
    written: Rows = {}
    for one in steps:
        got = apply(map, one, _CPUS)
        if one.verb == "update" and got is None:
            written[one.key] = value_of(spec, one.seed, _CPUS)
            assert map.lookup(one.key) == written[one.key]
        elif one.verb == "lookup":
            assert got is None or got == written[one.key]
        elif one.verb in ("delete", "take"):
            written.pop(one.key, None)
    keys = keys_of(map)
    assert set(keys) <= set(written) and len(keys) == len(set(keys)) <= _ENTRIES
    map.close()


@given(values=st.lists(st.binary(min_size=8, max_size=8), max_size=100), others=st.lists(st.binary(min_size=8, max_size=8), max_size=50))
@settings(max_examples=50, deadline=None)
def test_a_bloom_filter_forgets_nothing(shared: Callable[[MapSpec], Map], values: list[bytes], others: list[bytes]) -> None:
    map = shared(MapSpec("m", _M.BLOOM_FILTER, 0, 8, 100, extra=7))
    for one in values:
        map.update(b"", one)
    assert all(map.contains(one) for one in values)
    assert sum(map.contains(one) for one in set(others) - set(values)) <= 5
    map.close()


def test_a_bloom_filter_knows_most_strangers(shared: Callable[[MapSpec], Map]) -> None:
    map = shared(MapSpec("m", _M.BLOOM_FILTER, 0, 8, 1000))
    for number in range(1000):
        map.update(b"", number.to_bytes(8, "little"))
    wrong = sum(map.contains((number + (1 << 40)).to_bytes(8, "little")) for number in range(10000))
    assert wrong < 1000
    with pytest.raises(MapError):
        map.update(b"", bytes(8), 1)
    map.close()


@given(run=st.lists(st.tuples(st.sampled_from(("put", "hold", "drop", "read")), st.integers(0, 900)), max_size=80))
@settings(max_examples=100, deadline=None)
def test_a_ring_buffer_is_a_queue_of_bytes(run: list[tuple[str, int]]) -> None:
    """Records come out as they went in, those that found no room are counted, and discarded ones take room but are not seen."""
    kernel = SimKernel(Script(), spec="sim:test")
    map = kernel.create_map(MapSpec("m", _M.RINGBUF, 0, 0, 4096))
    runtime, pointer = kernel.runtime, map.pointer  # type: ignore[attr-defined]
    got: list[bytes] = []
    ring = kernel.open_ring_buffer(map, lambda record: got.append(bytes(record)))
    reserve, submit, discard = (
        runtime.ffi.cast(kind, runtime.address(f"bpf_ringbuf_{name}")) for kind, name in (
            ("u8 *(*)(struct cpu *, struct map *, u64, u64)", "reserve"), ("void (*)(struct cpu *, u8 *, u64)", "submit"),
            ("void (*)(struct cpu *, u8 *, u64)", "discard")))
    cpu = kernel.cpu(0).pointer
    waiting: list[tuple[int, bytes | None]] = []  # bytes taken, content
    wanted: list[bytes] = []
    lost = 0
    for at, (verb, size) in enumerate(run):
        if verb == "read":
            ring.consume()
            wanted += [content for _, content in waiting if content is not None]
            waiting.clear()
            assert got == wanted
            continue
        room = (size + 8 + 7) // 8 * 8
        place = reserve(cpu, pointer, size, 0)
        assert bool(place) == (sum(one for one, _ in waiting) + room <= 4095)
        if not place:
            lost += 1
            continue
        content = bytes([at % 256]) * size
        runtime.ffi.memmove(place, content, size)
        (discard if verb == "drop" else submit)(cpu, place, 0)
        waiting.append((room, None if verb == "drop" else content))
    assert pointer.rings.lost == lost
    kernel.close()


def test_per_cpu_types_are_those_of_the_kernel() -> None:
    assert {one for one in MapType if "PERCPU" in one.name} - set(PERCPU) == {_M.PERCPU_CGROUP_STORAGE}
