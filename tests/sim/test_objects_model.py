"""Maps of objects and storages against plain models: any sequence of operations gives, in a simulated kernel and on Linux, what
the model gives. A model knows names of objects (object_worlds.py), never descriptors or ids."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcc_py.kernel import Map
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.maps import SimMap
from bcc_py.spec import MapSpec
from cfront.uapi import MapType
from tests.sim.map_operations import keys_of
from tests.sim.object_worlds import FILES, PROGRAMS, SOCKETS, LinuxWorld, SimWorld, World, asked, storage_spec, word
from tests.sim.quiet import Script

_M = MapType
_ENTRIES = 4
_ENOTSUPP = 524
_HASHES = (_M.SOCKHASH, _M.DEVMAP_HASH, _M.HASH_OF_MAPS)
_MAP_NAMES = ("array", "other_array", "long_array", "hash")
_STATED = ("fresh", "udp", "unix_fresh", "xdp")  # sockets that no sockmap takes
_BOUND_GROUP = ("listener", "udp_group")
_NO_INET = ("unix", "unix_fresh", "xdp")


@pytest.fixture(scope="module", params=["sim", pytest.param("linux", marks=pytest.mark.linux)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        yield SimWorld(stack) if request.param == "sim" else LinuxWorld(stack)


@dataclass(frozen=True, slots=True)
class _Step:
    """verb: lookup, update, delete, next, reopen (the socket with that name). number: of a device or a queue."""

    verb: str
    map: int
    key: int
    name: str
    number: int
    flags: int


@dataclass
class _Model:
    """A map of objects: their names by key."""

    spec: MapSpec
    rows: dict[int, object] = field(default_factory=dict)

    def lookup(self, key: int) -> object:
        if self.spec.type in (_M.PERF_EVENT_ARRAY, _M.CGROUP_ARRAY):
            return _ENOTSUPP
        if self.spec.type is _M.XSKMAP:
            return errno.EOPNOTSUPP
        if self.spec.type in _SOCKET_TYPES and self.spec.value_size == 4:
            return errno.ENOSPC
        return self.rows.get(key)

    def next(self, key: int) -> object:
        return word(0) if key >= _ENTRIES else word(key + 1) if key + 1 < _ENTRIES else None

    def delete(self, key: int) -> object:
        kind = self.spec.type
        if kind not in _HASHES and key >= _ENTRIES:
            return errno.EINVAL if kind in (_M.DEVMAP, _M.CPUMAP, _M.XSKMAP, _M.SOCKMAP) else errno.E2BIG
        was_there = self.rows.pop(key, None) is not None
        if was_there or kind in (_M.DEVMAP, _M.CPUMAP, _M.XSKMAP):
            return None
        return errno.EINVAL if kind is _M.SOCKMAP else errno.ENOENT

    def put(self, key: int, name: object, flags: int) -> object:
        """Where the flags say whether key may be there; None or an errno."""
        if flags == 1 and key in self.rows:
            return errno.EEXIST
        if flags == 2 and key not in self.rows:
            return errno.ENOENT
        if self.spec.type in _HASHES and key not in self.rows and len(self.rows) == _ENTRIES:
            return errno.E2BIG
        self.rows[key] = name
        return None


_SOCKET_TYPES = (_M.SOCKMAP, _M.SOCKHASH, _M.REUSEPORT_SOCKARRAY, _M.XSKMAP)


def _put_socket(model: _Model, step: _Step, models: Sequence[_Model]) -> object:
    kind = model.spec.type
    if step.name not in SOCKETS:
        if kind in (_M.REUSEPORT_SOCKARRAY, _M.XSKMAP) and (step.flags > 2 or step.key >= _ENTRIES):
            return errno.EINVAL if step.flags > 2 else errno.E2BIG
        return errno.EBADF if step.name == "nothing" else errno.ENOTSOCK
    is_in = {one.spec.type for one in models if step.name in one.rows.values()}
    if kind in (_M.SOCKMAP, _M.SOCKHASH):
        if step.name in _STATED:
            return errno.EOPNOTSUPP
        if step.flags > 2 or (kind is _M.SOCKMAP and step.key >= _ENTRIES):
            return errno.EINVAL if step.flags > 2 else errno.E2BIG
        return errno.EBUSY if _M.REUSEPORT_SOCKARRAY in is_in else model.put(step.key, step.name, step.flags)
    if step.flags > 2 or step.key >= _ENTRIES:
        return errno.EINVAL if step.flags > 2 else errno.E2BIG
    if kind is _M.XSKMAP:
        if step.name != "xdp":
            return errno.EOPNOTSUPP
        return None if model.rows.get(step.key) == "xdp" else model.put(step.key, step.name, step.flags)
    if step.flags == (1 if step.key in model.rows else 2):
        return errno.EEXIST if step.flags == 1 else errno.ENOENT
    if step.name in _NO_INET:
        return _ENOTSUPP
    if step.name not in _BOUND_GROUP:
        return errno.EINVAL
    return errno.EBUSY if is_in & {_M.REUSEPORT_SOCKARRAY, _M.SOCKMAP, _M.SOCKHASH} else model.put(step.key, step.name, step.flags)


def _put_number(model: _Model, step: _Step, cpus: int) -> object:
    """Devices (only 1 exists) and CPUs, with a program behind the number where values have room."""
    kind, name = model.spec.type, step.name if model.spec.value_size == 8 else ""
    if step.flags > 2 or (kind is _M.DEVMAP_HASH and not step.number):
        return errno.EINVAL
    if kind is not _M.DEVMAP_HASH and step.key >= _ENTRIES:
        return errno.E2BIG
    if step.flags == 1 and (kind is not _M.DEVMAP_HASH or step.key in model.rows):
        return errno.EEXIST
    if kind is _M.CPUMAP:
        if step.number > 16384:
            return errno.EOVERFLOW
        if step.key >= cpus:
            return errno.ENODEV
        if step.number and name not in ("", "cpu_program"):
            return errno.ENOMEM
    elif (step.number and step.number != 1) or (name and (not step.number or name != "device_program")):
        return errno.EINVAL
    if not step.number:
        model.rows.pop(step.key, None)
        return None
    return model.put(step.key, (word(step.number), name or 0), 0)


def _put_object(model: _Model, step: _Step) -> object:
    """Programs, maps, control groups, perf events."""
    kind = model.spec.type
    if kind is not _M.HASH_OF_MAPS and (step.flags or step.key >= _ENTRIES):
        return errno.EINVAL if step.flags else errno.E2BIG
    if step.name == "nothing":
        return errno.EBADF
    if kind in (_M.CGROUP_ARRAY, _M.PERF_EVENT_ARRAY):
        if kind is _M.PERF_EVENT_ARRAY or step.name not in ("group", "root"):
            return errno.EBADF
    elif kind is _M.PROG_ARRAY:
        if step.name not in ("xdp_program", "other_xdp"):
            return errno.EINVAL
    elif step.name not in (("array", "other_array") if kind is _M.ARRAY_OF_MAPS else ("hash",)):
        return errno.EINVAL
    if step.flags > 2:
        return errno.EINVAL
    return model.put(step.key, step.name, step.flags)


def _wanted(model: _Model, step: _Step, models: Sequence[_Model], cpus: int) -> object:
    if step.verb == "lookup":
        return model.lookup(step.key)
    if step.verb == "next":
        return ... if model.spec.type in _HASHES else model.next(step.key)
    if step.verb == "delete":
        return model.delete(step.key)
    if model.spec.type in _SOCKET_TYPES:
        return _put_socket(model, step, models)
    return _put_number(model, step, cpus) if model.spec.type in (_M.DEVMAP, _M.DEVMAP_HASH, _M.CPUMAP) else _put_object(model, step)


def _value(world: World, spec: MapSpec, step: _Step) -> bytes:
    if spec.type not in (_M.DEVMAP, _M.DEVMAP_HASH, _M.CPUMAP):
        return world.fd(step.name).to_bytes(spec.value_size, "little")
    program = word(world.fd(step.name)) if step.name else word(0)
    return (word(step.number) + program)[: spec.value_size]


def _got(world: World, map: Map, step: _Step) -> object:
    key = word(step.key).ljust(map.spec.key_size, b"\0")
    if step.verb == "lookup":
        return world.lookup(map, key)
    if step.verb == "next":
        return asked(lambda: map.next_key(key))
    if step.verb == "delete":
        return asked(lambda: map.delete(key))
    return asked(lambda: map.update(key, _value(world, map.spec, step), step.flags))


def _check(world: World, specs: Sequence[MapSpec], steps: Sequence[_Step]) -> None:
    with contextlib.ExitStack() as stack:
        maps = [stack.enter_context(contextlib.closing(world.kernel.create_map(spec))) for spec in specs]
        models = [_Model(spec) for spec in specs]
        for step in steps:
            if step.verb == "reopen":
                world.reopen(step.name)
                for one in models:
                    one.rows = {key: name for key, name in one.rows.items() if name != step.name}
                continue
            at = step.map % len(maps)
            wanted = _wanted(models[at], step, models, world.kernel.cpus)
            got = _got(world, maps[at], step)
            assert wanted is ... or got == wanted, (specs[at], step, models[at].rows)
        for map, model in zip(maps, models, strict=True):
            if map.spec.type in _HASHES:
                keys = [word(key).ljust(map.spec.key_size, b"\0") for key in model.rows]
                assert sorted(keys_of(map)) == sorted(keys)
            for key in model.rows:  # Linux empties a map that was closed later, and a socket is in one kind of map only
                asked(functools.partial(map.delete, word(key).ljust(map.spec.key_size, b"\0")))


def _steps(names: tuple[str, ...], verbs: tuple[str, ...] = ("lookup", "update", "update", "update", "delete", "next"),
           numbers: tuple[int, ...] = (0,), keys: int = _ENTRIES + 1) -> st.SearchStrategy[list[_Step]]:
    one = st.builds(_Step, st.sampled_from(verbs), st.integers(0, 3), st.integers(0, keys), st.sampled_from(names),
                    st.sampled_from(numbers), st.sampled_from((0, 0, 0, 0, 1, 2, 3)))
    return st.lists(one, max_size=40)


_FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_SOCKET_SPECS = [
    MapSpec("m", _M.SOCKMAP, 4, 8, _ENTRIES), MapSpec("m", _M.SOCKMAP, 4, 4, _ENTRIES), MapSpec("m", _M.SOCKHASH, 8, 8, _ENTRIES),
    MapSpec("m", _M.SOCKHASH, 4, 4, _ENTRIES), MapSpec("m", _M.REUSEPORT_SOCKARRAY, 4, 8, _ENTRIES),
    MapSpec("m", _M.REUSEPORT_SOCKARRAY, 4, 4, _ENTRIES), MapSpec("m", _M.XSKMAP, 4, 4, _ENTRIES),
]
_SOCKET_VERBS = ("lookup", "update", "update", "update", "delete", "next")


@pytest.mark.parametrize("spec", _SOCKET_SPECS, ids=lambda one: f"{one.type.name.lower()}-{one.value_size}")
@given(steps=_steps((*SOCKETS, "listener", "udp_group", "nothing", "array"), _SOCKET_VERBS))
@_FEW
def test_a_map_of_sockets_does_what_the_model_does(world: World, spec: MapSpec, steps: list[_Step]) -> None:
    _check(world, [spec], steps)


@given(steps=_steps((*SOCKETS, "listener", "udp_group", "connected"), (*_SOCKET_VERBS, "reopen")))
@_FEW
def test_sockets_are_in_one_map_or_another_until_they_end(world: World, steps: list[_Step]) -> None:
    """Four maps at once: who is in one kind cannot be in the other; a socket that is closed is in none."""
    _check(world, [_SOCKET_SPECS[0], _SOCKET_SPECS[2], _SOCKET_SPECS[4], _SOCKET_SPECS[6]], steps)


_OBJECT_SPECS = [
    MapSpec("m", _M.PROG_ARRAY, 4, 4, _ENTRIES), MapSpec("m", _M.CGROUP_ARRAY, 4, 4, _ENTRIES),
    MapSpec("m", _M.PERF_EVENT_ARRAY, 4, 4, _ENTRIES),
    MapSpec("m", _M.ARRAY_OF_MAPS, 4, 4, _ENTRIES, inner=MapSpec("i", _M.ARRAY, 4, 8, 2)),
    MapSpec("m", _M.HASH_OF_MAPS, 4, 4, _ENTRIES, inner=MapSpec("i", _M.HASH, 4, 8, 2)),
]


@pytest.mark.parametrize("spec", _OBJECT_SPECS, ids=lambda one: one.type.name.lower())
@given(steps=_steps(("group", "root", "nothing", "connected", *_MAP_NAMES, "xdp_program", "other_xdp")))
@_FEW
def test_a_map_of_objects_does_what_the_model_does(world: World, spec: MapSpec, steps: list[_Step]) -> None:
    _check(world, [spec], steps)


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("kind", [_M.DEVMAP, _M.DEVMAP_HASH, _M.CPUMAP])
@given(steps=_steps(("", "", *PROGRAMS, "nothing", "array", "connected"), numbers=(0, 1, 1, 1, 99999)))
@_FEW
def test_devices_and_cpus_do_what_the_model_does(world: World, kind: MapType, size: int, steps: list[_Step]) -> None:
    _check(world, [MapSpec("m", kind, 4, size, _ENTRIES)], steps)


# ---- storages


@dataclass
class _Storage:
    """A value for each object."""

    names: tuple[str, ...]
    wrong: dict[str, int]
    rows: dict[str, bytes] = field(default_factory=dict)

    def answer(self, step: _Step, value: bytes) -> object:
        if step.verb == "next":
            return _ENOTSUPP
        bad = self.wrong.get(step.name)
        if bad:
            return bad
        if step.verb == "lookup":
            return self.rows.get(step.name)
        if step.verb == "delete":
            return errno.ENOENT if self.rows.pop(step.name, None) is None else None
        if step.flags > 2:
            return errno.EINVAL
        if step.flags == (1 if step.name in self.rows else 2):
            return errno.EEXIST if step.flags == 1 else errno.ENOENT
        self.rows[step.name] = value
        return None


def _storage_answer(world: World, map: Map, step: _Step, key: bytes, value: bytes) -> object:
    if step.verb == "update":
        return asked(lambda: map.update(key, value, step.flags))
    return asked({"lookup": lambda: map.lookup(key), "next": lambda: map.next_key(key), "delete": lambda: map.delete(key)}[step.verb])


_WRONG = {"nothing": errno.EBADF}
_STORAGES = {
    _M.SK_STORAGE: _Storage(("listener", "connected", "fresh", "udp", "unix"), {**_WRONG, "array": errno.ENOTSOCK, "group": errno.ENOTSOCK}),
    _M.CGRP_STORAGE: _Storage(("group", "root"), {**_WRONG, "array": errno.EBADF, "connected": errno.EBADF}),
    _M.TASK_STORAGE: _Storage(("task", "other_task"), {**_WRONG, "array": errno.EBADF}),
}


@pytest.mark.parametrize("kind", list(_STORAGES), ids=lambda one: one.name.lower())
@given(data=st.data())
@_FEW
def test_a_storage_does_what_the_model_does(world: World, kind: MapType, data: st.DataObject) -> None:
    plan = _STORAGES[kind]
    model = _Storage(plan.names, plan.wrong)
    reopen = ("reopen",) if kind is _M.SK_STORAGE else ()
    steps = data.draw(_steps((*plan.names, *plan.wrong), ("lookup", "update", "update", "delete", "next", *reopen)))
    with contextlib.closing(world.kernel.create_map(storage_spec(kind))) as map:
        for at, step in enumerate(steps):
            if step.verb == "reopen":
                if step.name in plan.names:
                    world.reopen(step.name)
                    model.rows.pop(step.name, None)
                continue
            key, value = word(world.owner(kind, step.name)), at.to_bytes(8, "little")
            assert _storage_answer(world, map, step, key, value) == model.answer(step, value), step


@given(steps=_steps((*FILES, "nothing"), ("lookup", "update", "update", "delete", "next", "reopen")))
@_FEW
def test_an_inode_has_one_value_under_each_of_its_descriptors(world: World, steps: list[_Step]) -> None:
    """Its value lasts as long as it has a descriptor. The model names inodes, of which a descriptor has one at a time."""
    for name in FILES:
        world.reopen(name)
    inodes = {"file": "file", "same_file": "file", "other_file": "other_file"}
    model = _Storage((), {"nothing": errno.EBADF})
    with contextlib.closing(world.kernel.create_map(storage_spec(_M.INODE_STORAGE))) as map:
        for at, step in enumerate(steps):
            if step.verb == "reopen":
                if step.name in FILES:
                    _open_anew(world, inodes, model, step.name, f"inode {at}")
                continue
            value = at.to_bytes(8, "little")
            wanted = model.answer(dataclasses.replace(step, name=inodes.get(step.name, step.name)), value)
            assert _storage_answer(world, map, step, word(world.fd(step.name)), value) == wanted, step


def _open_anew(world: World, inodes: dict[str, str], model: _Storage, name: str, new: str) -> None:
    """same_file becomes a descriptor of what file is one of; the others become descriptors of new files."""
    before = inodes[name]
    world.reopen(name)
    inodes[name] = inodes["file"] if name == "same_file" else new
    if before not in inodes.values():
        model.rows.pop(before, None)


@pytest.mark.parametrize("kind", [_M.CGROUP_STORAGE, _M.PERCPU_CGROUP_STORAGE], ids=lambda one: one.name.lower())
@given(steps=_steps(("group",), ("lookup", "update", "delete", "next"), keys=2))
@_FEW
def test_a_groups_older_storage_is_empty_until_its_programs_run(world: World, kind: MapType, steps: list[_Step]) -> None:
    wanted = {"lookup": None, "delete": errno.EINVAL, "next": None}
    with contextlib.closing(world.kernel.create_map(MapSpec("m", kind, 8, 8, 0))) as map:
        value = bytes(8 * (world.kernel.cpus if kind is _M.PERCPU_CGROUP_STORAGE else 1))
        for step in steps:
            key = step.key.to_bytes(8, "little")
            bad = step.flags > 2 or step.flags == 1
            answer = (errno.EINVAL if bad else errno.ENOENT) if step.verb == "update" else wanted[step.verb]
            assert _storage_answer(world, map, step, key, value) == answer, step


# ---- what only a simulated kernel lets us ask for by hand


@given(runs=st.lists(st.tuples(st.sampled_from(("store", "store", "read", "delete", "next")), st.integers(0, 9), st.booleans()), max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_stack_map_keeps_what_was_stored_last(runs: list[tuple[str, int, bool]]) -> None:
    """A number is one stack's until another takes its place, which only BPF_F_REUSE_STACKID (1 << 10) lets it."""
    with contextlib.closing(SimKernel(Script(), spec="sim:test")) as kernel:
        map = kernel.create_map(MapSpec("m", _M.STACK_TRACE, 4, 80, 4))
        assert isinstance(map, SimMap)
        rows: dict[int, bytes] = {}
        numbers: dict[int, int] = {}
        for verb, seed, is_reused in runs:
            if verb == "store":
                ips = [0x1000 + seed, *range(seed)]
                got = int(kernel.runtime.stack_map_store(map.pointer, kernel.runtime.ffi.new("u64[]", ips), len(ips), 1024 if is_reused else 0))
                content = b"".join(one.to_bytes(8, "little") for one in ips).ljust(80, b"\0")
                number = numbers.setdefault(seed, got) if got >= 0 else numbers.get(seed, -1)
                if got < 0:
                    assert got == -errno.EEXIST and not is_reused and rows.get(number, b"") != content
                else:
                    assert got == number < 4 and (is_reused or rows.get(number, content) == content)
                    rows[number] = content
            elif verb == "read":
                assert map.lookup(word(seed)) == rows.get(seed)
            elif verb == "delete":
                wanted = errno.E2BIG if seed > 3 else None if rows.pop(seed, None) is not None else errno.ENOENT
                assert asked(functools.partial(map.delete, word(seed))) == wanted
            else:
                after = min((one for one in rows if one > seed or seed not in rows), default=None)
                assert map.next_key(word(seed)) == (None if after is None else word(after))
