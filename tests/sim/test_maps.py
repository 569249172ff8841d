"""Maps: against a model of what bpf(2) promises, and the same operations against Linux's own maps."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.kernel import Map
from bcc_py.linux import sys as linux_sys
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import MapSpec
from cfront.uapi import MapType
from tests.sim.map_operations import keys_of
from tests.sim.quiet import Script

_ENTRIES = 6
_KINDS = (MapType.HASH, MapType.ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY)
_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
_PERCPU = (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY)

Operation = tuple[str, int, int, int]
_operations = st.lists(st.tuples(st.sampled_from(("lookup", "update", "update", "delete", "next")), st.integers(0, _ENTRIES + 2),
                                 st.integers(0, 250), st.sampled_from((0, 0, 0, 1, 2, 3))), max_size=60)


@pytest.fixture(scope="module")
def shared() -> Iterator[SimKernel]:
    made = SimKernel(Script(), spec="sim:test")
    yield made
    made.close()


def _spec(kind: MapType, value_size: int = 8) -> MapSpec:
    return MapSpec("m", kind, 4, value_size, _ENTRIES)


def _apply(map: Map, operation: Operation, cpus: int) -> object:
    """What the operation gives: a value, None, or the errno."""
    verb, number, seed, flags = operation
    key = number.to_bytes(4, "little")
    try:
        if verb == "lookup":
            return map.lookup(key)
        if verb == "next":
            return map.next_key(key if number else None)
        if verb == "delete":
            return map.delete(key)
        size = (map.spec.value_size + 7) // 8 * 8 * cpus if map.spec.type in _PERCPU else map.spec.value_size
        content = bytearray(seed + at & 0xFF for at in range(size))
        if map.spec.type in _PERCPU:
            stride = (map.spec.value_size + 7) // 8 * 8
            for at in range(size):
                if at % stride >= map.spec.value_size:
                    content[at] = 0
        return map.update(key, bytes(content), flags)
    except KeyNotFound:
        return errno.ENOENT
    except MapError as error:
        return error.errno


class _Model:
    """bpf(2)'s hash and array, on a dict."""

    def __init__(self, kind: MapType, value_bytes: int) -> None:
        self.is_array = kind in _ARRAYS
        self.rows: dict[int, bytes] = {n: bytes(value_bytes) for n in range(_ENTRIES)} if self.is_array else {}

    def update(self, number: int, content: bytes, flags: int) -> int | None:
        if flags > 2:
            return errno.EINVAL
        if self.is_array and number >= _ENTRIES:
            return errno.E2BIG
        if flags == 1 and number in self.rows:
            return errno.EEXIST
        if flags == 2 and number not in self.rows:
            return errno.ENOENT
        if number not in self.rows and len(self.rows) == _ENTRIES:
            return errno.E2BIG
        self.rows[number] = content
        return None

    def delete(self, number: int) -> int | None:
        if self.is_array:
            return errno.EINVAL
        return None if self.rows.pop(number, None) is not None else errno.ENOENT


@given(kind=st.sampled_from(_KINDS), value_size=st.sampled_from((1, 4, 8, 12, 24)), operations=_operations)
@settings(max_examples=120, deadline=None)
def test_maps_do_what_the_model_does(shared: SimKernel, kind: MapType, value_size: int, operations: list[Operation]) -> None:
    map = shared.create_map(_spec(kind, value_size))
    value_bytes = (value_size + 7) // 8 * 8 * shared.cpus if kind in _PERCPU else value_size
    model = _Model(kind, value_bytes)
    for one in operations:
        verb, number, seed, flags = one
        got = _apply(map, one, shared.cpus)
        if verb == "lookup":
            assert got == model.rows.get(number)
        elif verb == "next":
            assert sorted(keys_of(map)) == sorted(key.to_bytes(4, "little") for key in model.rows)
        elif verb == "delete":
            assert got == model.delete(number)
        else:
            stride = (value_size + 7) // 8 * 8
            content = bytes(0 if kind in _PERCPU and at % stride >= value_size else seed + at & 0xFF for at in range(value_bytes))
            assert got == model.update(number, content, flags)
    map.close()


@pytest.fixture
def linux() -> Iterator[LinuxKernel]:
    made = LinuxKernel()
    made.create_map(_spec(MapType.HASH)).close()
    yield made
    made.close()


_BAD = [
    (MapType.HASH, 0, 8, 4, 0), (MapType.HASH, 4, 0, 4, 0), (MapType.HASH, 4, 8, 0, 0), (MapType.HASH, 4, 1 << 22, 4, 0),
    (MapType.ARRAY, 8, 8, 4, 0), (MapType.ARRAY, 4, 0, 4, 0), (MapType.ARRAY, 4, 8, 0, 0), (MapType.ARRAY, 4, 8, 4, 1),
    (MapType.PERCPU_ARRAY, 4, 40000, 4, 0), (MapType.PERF_EVENT_ARRAY, 8, 4, 4, 0), (MapType.RINGBUF, 0, 0, 5000, 0),
    (MapType.RINGBUF, 4, 0, 4096, 0), (MapType.RINGBUF, 0, 0, 12288, 0), (MapType.QUEUE, 4, 8, 4, 0), (MapType.STACK, 0, 0, 4, 0),
    (MapType.HASH, 4, 8, 4, 0x80000000), (MapType.LRU_HASH, 4, 8, 4, 1),
]


@pytest.mark.parametrize("row", _BAD, ids=str)
def test_impossible_maps_are_refused(kernel: SimKernel, row: tuple[MapType, int, int, int, int]) -> None:
    kind, key, value, entries, flags = row
    with pytest.raises(MapError) as caught:
        kernel.create_map(MapSpec("bad", kind, key, value, entries, flags))
    assert caught.value.errno in (errno.EINVAL, errno.E2BIG, 524)


@pytest.mark.linux
@pytest.mark.parametrize("row", _BAD, ids=str)
def test_linux_refuses_them_with_the_same_errno(kernel: SimKernel, linux: LinuxKernel, row: tuple[MapType, int, int, int, int]) -> None:
    kind, key, value, entries, flags = row
    with pytest.raises(MapError) as ours:
        kernel.create_map(MapSpec("bad", kind, key, value, entries, flags))
    with pytest.raises(MapError) as theirs:
        linux_sys.close(linux_sys.map_create(kind, key, value, entries, flags))
    assert ours.value.errno == theirs.value.errno


def test_a_map_type_that_is_not_there_is_named(kernel: SimKernel) -> None:
    with pytest.raises(NotSupportedError, match="the simulated kernel has no unspec maps"):
        kernel.create_map(MapSpec("ops", MapType.UNSPEC, 4, 8, 1))


def test_wrong_lengths_name_the_map(kernel: SimKernel) -> None:
    map = kernel.create_map(_spec(MapType.HASH))
    with pytest.raises(MapError, match="using map m: a key of 3 bytes, expected 4"):
        map.lookup(b"abc")
    with pytest.raises(MapError, match="updating map m: a value of 2 bytes, expected 8"):
        map.update(b"abcd", b"xy")


def test_a_closed_map_says_so(kernel: SimKernel) -> None:
    map = kernel.create_map(_spec(MapType.HASH))
    map.close()
    map.close()
    with pytest.raises(MapError, match="using map m: it is closed"):
        map.lookup(bytes(4))


def test_iteration_goes_on_when_other_keys_are_deleted(kernel: SimKernel) -> None:
    map = kernel.create_map(MapSpec("m", MapType.HASH, 4, 8, 100))
    for n in range(100):
        map.update(n.to_bytes(4, "little"), bytes(8))
    before = keys_of(map)
    gone = before[1::2]
    seen, key = [], map.next_key(None)
    while key is not None:
        seen.append(key)
        at = before.index(key)
        if at + 1 < len(before):
            map.delete(before[at + 1])
        key = map.next_key(key)
    assert seen == before[::2]
    assert not set(gone) & set(keys_of(map))


def test_iteration_starts_again_after_a_key_that_is_gone(kernel: SimKernel) -> None:
    map = kernel.create_map(MapSpec("m", MapType.HASH, 4, 8, 100))
    for n in range(50):
        map.update(n.to_bytes(4, "little"), bytes(8))
    first = map.next_key(None)
    assert first is not None
    map.delete(keys_of(map)[20])
    assert map.next_key((77).to_bytes(4, "little")) == first


def test_the_order_of_keys_is_the_same_in_every_kernel(kernel: SimKernel) -> None:
    orders = []
    for _ in range(2):
        other = SimKernel(Script(), spec="sim:test", seed=5)
        map = other.create_map(MapSpec("m", MapType.HASH, 8, 8, 100))
        for n in range(100):
            map.update((n * n).to_bytes(8, "little"), bytes(8))
        orders.append(keys_of(map))
        other.close()
    assert orders[0] == orders[1] and len(orders[0]) == 100


def test_queue_and_stack(kernel: SimKernel) -> None:
    for kind, first in ((MapType.QUEUE, b"a"), (MapType.STACK, b"c")):
        map = kernel.create_map(MapSpec("q", kind, 0, 1, 3))
        for value in (b"a", b"b", b"c"):
            map.update(b"", value)
        assert map.lookup(b"") == first
        with pytest.raises(MapError) as caught:
            map.update(b"", b"d")
        assert caught.value.errno == errno.E2BIG


def test_initial_contents_are_there_at_once(kernel: SimKernel) -> None:
    map = kernel.create_map(MapSpec(".rodata", MapType.ARRAY, 4, 5, 1, initial=b"hello"))
    assert map.lookup(bytes(4)) == b"hello"
