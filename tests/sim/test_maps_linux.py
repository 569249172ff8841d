"""Maps: the same operations on the simulated kernel's and on Linux's own: the same values, the same errno, the same keys."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator

import pytest

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.kernel import Map
from bcc_py.linux import sys as linux_sys
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.creation import creation_errno
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import MapSpec
from cfront.uapi import MapType
from tests.sim.map_operations import apply, keys_of, operations, value_of
from tests.sim.quiet import Script

pytestmark = pytest.mark.linux

_M = MapType
_SPECS = [
    MapSpec("m", _M.HASH, 4, 12, 6), MapSpec("m", _M.HASH, 8, 8, 6), MapSpec("m", _M.HASH, 5, 3, 40), MapSpec("m", _M.HASH, 20, 100, 6, 1),
    MapSpec("m", _M.PERCPU_HASH, 4, 12, 6), MapSpec("m", _M.PERCPU_HASH, 16, 4, 6, 1),
    MapSpec("m", _M.ARRAY, 4, 12, 6), MapSpec("m", _M.ARRAY, 4, 8, 6, 1 << 10), MapSpec("m", _M.PERCPU_ARRAY, 4, 12, 6),
    MapSpec("m", _M.LRU_HASH, 4, 8, 5), MapSpec("m", _M.LRU_HASH, 8, 8, 64), MapSpec("m", _M.LRU_HASH, 4, 4, 700),
    MapSpec("m", _M.LRU_HASH, 4, 8, 7, 2), MapSpec("m", _M.LRU_HASH, 4, 8, 100, 2),
    MapSpec("m", _M.LRU_PERCPU_HASH, 4, 8, 9), MapSpec("m", _M.LRU_PERCPU_HASH, 4, 8, 40, 2),
    MapSpec("m", _M.LPM_TRIE, 5, 4, 12, 1), MapSpec("m", _M.LPM_TRIE, 8, 8, 40, 1), MapSpec("m", _M.LPM_TRIE, 20, 8, 40, 1),
    MapSpec("m", _M.QUEUE, 0, 4, 5), MapSpec("m", _M.STACK, 0, 12, 5), MapSpec("m", _M.STACK_TRACE, 4, 80, 5),
    MapSpec("m", _M.BLOOM_FILTER, 0, 8, 50), MapSpec("m", _M.RINGBUF, 0, 0, 4096), MapSpec("m", _M.USER_RINGBUF, 0, 0, 4096),
    MapSpec("m", _M.HASH, 4, 8, 6, 8), MapSpec("m", _M.HASH, 4, 8, 6, 16), MapSpec("m", _M.ARRAY, 4, 8, 6, 8), MapSpec("m", _M.QUEUE, 0, 4, 5, 16),
    MapSpec("m", _M.PROG_ARRAY, 4, 4, 4), MapSpec("m", _M.CGROUP_ARRAY, 4, 4, 4), MapSpec("m", _M.PERF_EVENT_ARRAY, 4, 4, 4),
    MapSpec("m", _M.ARRAY_OF_MAPS, 4, 4, 4, inner=MapSpec("i", _M.ARRAY, 4, 4, 1)),
    MapSpec("m", _M.HASH_OF_MAPS, 4, 4, 4, inner=MapSpec("i", _M.HASH, 4, 4, 1)),
    MapSpec("m", _M.DEVMAP, 4, 4, 4), MapSpec("m", _M.DEVMAP_HASH, 4, 8, 4), MapSpec("m", _M.CPUMAP, 4, 4, 4),
    MapSpec("m", _M.XSKMAP, 4, 4, 4), MapSpec("m", _M.SOCKMAP, 4, 4, 4), MapSpec("m", _M.SOCKMAP, 4, 8, 4), MapSpec("m", _M.SOCKHASH, 8, 8, 4),
    MapSpec("m", _M.REUSEPORT_SOCKARRAY, 4, 8, 4), MapSpec("m", _M.REUSEPORT_SOCKARRAY, 4, 4, 4),
]
_UNORDERED = (_M.HASH, _M.PERCPU_HASH, _M.LRU_HASH, _M.LRU_PERCPU_HASH, _M.HASH_OF_MAPS, _M.DEVMAP_HASH, _M.SOCKHASH)


def _name(spec: MapSpec) -> str:
    return f"{spec.type.name.lower()}-{spec.key_size}-{spec.value_size}-{spec.max_entries}-{spec.flags}"


@pytest.fixture(scope="module")
def linux() -> Iterator[LinuxKernel]:
    """Linux, with this thread on one CPU: whose free nodes an LRU hash takes is the CPU's."""
    made = LinuxKernel()
    made.create_map(MapSpec("m", _M.HASH, 4, 4, 1)).close()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield made
    os.sched_setaffinity(0, before)
    made.close()


@pytest.fixture(scope="module")
def sim(linux: LinuxKernel) -> Iterator[SimKernel]:
    made = SimKernel(Script(), spec="sim:test", cpus=linux.cpus)
    yield made
    made.close()


@pytest.mark.parametrize("spec", _SPECS, ids=_name)
def test_maps_do_what_linux_does(sim: SimKernel, linux: LinuxKernel, spec: MapSpec) -> None:
    draw = random.Random(_name(spec))
    with contextlib.closing(sim.create_map(spec)) as ours, contextlib.closing(linux.create_map(spec)) as theirs:
        for at, one in enumerate(operations(spec, draw, 1200, spec.max_entries + 3 if spec.max_entries < 200 else 1500)):
            if one.verb == "next" and spec.type in _UNORDERED:
                continue
            if one.verb == "lookup" and spec.type is _M.BLOOM_FILTER:  # may be wrong, by a seed that Linux draws
                continue
            mine, real = apply(ours, one, sim.cpus), apply(theirs, one, linux.cpus)
            assert mine == real, (at, one)
            if not at % 16 and spec.key_size and not spec.flags & 16:
                assert _keys(ours) == _keys(theirs), (at, one)


def _keys(map: Map) -> list[bytes]:
    keys = keys_of(map)
    return sorted(keys) if map.spec.type in _UNORDERED else keys


_SIZES = (0, 1, 3, 4, 5, 7, 8, 12, 16, 20, 32, 64, 255, 260, 261, 512, 513, 1016, 1024, 4096, 32768, 32769, 65375, 65376, 70000,
          4194048, 4194208, 4194256, 4194300, 4194304, 4194305, 1 << 24, 0x7FFFFFFF, 0x80000000)
_ENTRY_COUNTS = (0, 1, 2, 3, 4, 100, 4096, 5000, 8192, 8193, 12288, 1 << 20, (1 << 20) + 1)


def _random_spec(draw: random.Random) -> MapSpec:
    kind = MapType(draw.choice([one for one in MapType if one not in (_M.UNSPEC, _M.STRUCT_OPS)]))
    flags = 0
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 3))):
        flags |= 1 << draw.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, draw.randrange(19)))
    key = draw.choice((4, 4, 4, 0, 8, draw.choice(_SIZES)))
    value = draw.choice((4, 4, 8, 0, draw.choice(_SIZES)))
    entries = draw.choice((1, 4, 0, 4096, draw.choice(_ENTRY_COUNTS)))
    inner = MapSpec("i", _M.ARRAY, 4, 4, 1) if kind in (_M.ARRAY_OF_MAPS, _M.HASH_OF_MAPS) else None
    return MapSpec("m", kind, key, value, entries, flags, inner=inner, extra=draw.choice((0, 0, 0, 0, 3, 16)))


def test_creation_fails_as_on_linux(linux: LinuxKernel) -> None:
    """Random attributes: the same errno. What only differs in how much memory there is, is not compared."""
    draw = random.Random(6)
    inner = linux_sys.map_create(_M.ARRAY, 4, 4, 1)
    compared = 0
    for _ in range(30000):
        spec = _random_spec(draw)
        if (spec.key_size + spec.value_size) * spec.max_entries > 1 << 26:
            continue
        wanted = creation_errno(spec, linux.cpus)
        try:
            fd = linux_sys.map_create(spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags,
                                      inner_fd=inner if spec.inner else 0, extra=spec.extra)
            linux_sys.close(fd)
            got = 0
        except MapError as error:
            got = error.errno
        except NotSupportedError:
            continue
        compared += 1
        assert wanted == got, spec
    linux_sys.close(inner)
    assert compared > 20000


def _all_rows(map: Map, count: int, take: bool) -> tuple[list[tuple[bytes, bytes]], int]:
    """All rows, by batches of count, and the errno that ended it (0: none)."""
    rows: list[tuple[bytes, bytes]] = []
    cursor: bytes | None = None
    try:
        while True:
            batch = map.lookup_and_delete_batch(cursor, count) if take else map.lookup_batch(cursor, count)
            rows += batch.rows
            cursor = batch.cursor
            if cursor is None or not count:
                return rows, 0
    except MapError as error:
        return rows, error.errno


@pytest.mark.parametrize("spec", _SPECS, ids=_name)
def test_batches_are_what_linux_gives(sim: SimKernel, linux: LinuxKernel, spec: MapSpec) -> None:
    """All rows by batches, with and without deleting, and rows written by batches: the same rows, the same errno."""
    draw = random.Random(_name(spec))
    with contextlib.closing(sim.create_map(spec)) as ours, contextlib.closing(linux.create_map(spec)) as theirs:
        for take, count in ((False, 0), (False, 64), (True, 0), (True, 64)):
            for one in operations(spec, draw, 60, min(spec.max_entries + 3, 50)):
                if one.verb == "update":
                    apply(ours, one, sim.cpus)
                    apply(theirs, one, linux.cpus)
            mine, real = _all_rows(ours, count, take), _all_rows(theirs, count, take)
            if spec.type in _UNORDERED:
                assert (sorted(mine[0]), mine[1]) == (sorted(real[0]), real[1])
            else:
                assert mine == real
        keys = [one.key for one in operations(spec, draw, 4, 3)]
        value = b"\xff" * len(value_of(spec, 0, sim.cpus))
        assert _write(ours, keys, value) == _write(theirs, keys, value)


def _write(map: Map, keys: list[bytes], value: bytes) -> list[object]:
    """What batches of updates and deletions with these keys give: an errno, None for none."""
    answers: list[object] = []
    for flags in (0, 1, 4):
        answers.append(_errno(lambda flags=flags: map.update_batch([(key, value) for key in keys], flags)))
    for some in (keys[:1], keys):
        answers.append(_errno(lambda some=some: map.delete_batch(some)))
    return answers


def _errno(call: Callable[[], None]) -> object:
    try:
        return call()
    except KeyNotFound as error:
        return ("no such key", error.key)
    except MapError as error:
        return error.errno
