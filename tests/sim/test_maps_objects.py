"""Maps of maps, program arrays, device and CPU maps: what they hold, who keeps it alive, and what they refuse."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

import pytest

from bcc_py.errors import KeyNotFound, MapError
from bcc_py.kernel import Kernel, Map
from bcc_py.linux import sys as linux_sys
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.program import SimProgram
from bcc_py.spec import MapSpec
from cfront.uapi import MapType, ProgType
from tests.sim.quiet import Script, program

_M = MapType
_INNER = MapSpec("inner", _M.ARRAY, 4, 8, 2)


@pytest.fixture(params=["sim", pytest.param("linux", marks=pytest.mark.linux)])
def any_kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    made: Kernel = SimKernel(Script(), spec="sim:test") if request.param == "sim" else LinuxKernel()
    yield made
    made.close()


def _word(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _id(map: Map) -> int:
    return int(getattr(map, "id", 0)) or linux_sys.map_info_id(map.fd)


def _refusal(map: Map, key: bytes, value: bytes, flags: int = 0) -> int:
    with pytest.raises(MapError) as caught:
        map.update(key, value, flags)
    return caught.value.errno


@pytest.mark.parametrize("kind", [_M.ARRAY_OF_MAPS, _M.HASH_OF_MAPS])
def test_a_map_holds_maps(any_kernel: Kernel, kind: MapType) -> None:
    outer = any_kernel.create_map(MapSpec("outer", kind, 4, 4, 3, inner=_INNER))
    inner, other = any_kernel.create_map(_INNER), any_kernel.create_map(_INNER)
    wrong = any_kernel.create_map(MapSpec("wrong", _M.ARRAY, 4, 16, 2))
    larger = any_kernel.create_map(MapSpec("larger", _M.ARRAY, 4, 8, 3))
    assert outer.lookup(_word(1)) is None
    outer.update(_word(1), _word(inner.fd))
    assert outer.lookup(_word(1)) == _word(_id(inner))
    outer.update(_word(1), _word(other.fd))
    assert outer.lookup(_word(1)) == _word(_id(other))
    assert _refusal(outer, _word(1), _word(wrong.fd)) == errno.EINVAL
    assert _refusal(outer, _word(1), _word(larger.fd)) == errno.EINVAL
    assert _refusal(outer, _word(1), _word(1 << 20)) == errno.EBADF
    assert _refusal(outer, _word(1), _word(inner.fd), 1) == (errno.EEXIST if kind is _M.HASH_OF_MAPS else errno.EINVAL)
    if kind is _M.ARRAY_OF_MAPS:
        assert _refusal(outer, _word(3), _word(inner.fd)) == errno.E2BIG
    outer.delete(_word(1))
    assert outer.lookup(_word(1)) is None
    with pytest.raises(KeyNotFound):
        outer.delete(_word(1))


def test_what_is_held_lives(any_kernel: Kernel) -> None:
    """A program finds the inner map and its value though nobody else has it."""
    outer = any_kernel.create_map(MapSpec("outer", _M.HASH_OF_MAPS, 4, 4, 3, inner=_INNER))
    inner = any_kernel.create_map(_INNER)
    inner.update(_word(1), (77).to_bytes(8, "little"))
    outer.update(_word(5), _word(inner.fd))
    inner.close()
    found = any_kernel.load_program(program("""
        *(u32 *)(r10 -4) = 5
        r1 = $outer
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem#1
        if r0 == 0x0 goto +7
        *(u32 *)(r10 -4) = 1
        r1 = r0
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem#1
        if r0 == 0x0 goto +1
        r0 = *(u64 *)(r0 +0)
        exit""", ProgType.XDP, outer=outer.fd))
    assert found.test_run(bytes(64)).retval == 77
    outer.delete(_word(5))
    assert found.test_run(bytes(64)).retval == 0


def test_the_inner_map_ends_with_its_slot() -> None:
    kernel = SimKernel(Script(), spec="sim:test")
    outer = kernel.create_map(MapSpec("outer", _M.ARRAY_OF_MAPS, 4, 4, 3, inner=_INNER))
    for _ in range(5):
        with contextlib.closing(kernel.create_map(_INNER)) as inner:
            outer.update(_word(0), _word(inner.fd))
    assert kernel.live_objects()[0] == 2
    outer.close()
    assert kernel.live_objects()[0] == 0
    kernel.close()


def test_a_program_array_holds_programs(any_kernel: Kernel) -> None:
    array = any_kernel.create_map(MapSpec("programs", _M.PROG_ARRAY, 4, 4, 3))
    first = any_kernel.load_program(program("r0 = 1\nexit", ProgType.XDP))
    other = any_kernel.load_program(program("r0 = 1\nexit", ProgType.TRACEPOINT))
    inner = any_kernel.create_map(_INNER)
    array.update(_word(2), _word(first.fd))
    shown = array.lookup(_word(2))
    assert shown is not None and shown != bytes(4)
    assert _refusal(array, _word(1), _word(other.fd)) == errno.EINVAL
    assert _refusal(array, _word(1), _word(inner.fd)) == errno.EINVAL
    assert _refusal(array, _word(1), _word(1 << 20)) == errno.EBADF
    assert _refusal(array, _word(3), _word(first.fd)) == errno.E2BIG
    assert _refusal(array, _word(1), _word(first.fd), 2) == errno.EINVAL
    array.delete(_word(2))
    assert array.lookup(_word(2)) is None


def test_a_program_lives_as_long_as_its_slot() -> None:
    kernel = SimKernel(Script(), spec="sim:test")
    array = kernel.create_map(MapSpec("programs", _M.PROG_ARRAY, 4, 4, 3))
    made = kernel.load_program(program("r0 = 1\nexit", ProgType.XDP))
    assert isinstance(made, SimProgram)
    array.update(_word(0), _word(made.fd))
    slot = kernel.runtime.ffi.cast("u64 *", array.pointer.slots)  # type: ignore[attr-defined]
    assert slot[0] == made.address
    made.close()
    assert kernel.live_objects() == (1, 1, 0, 0)
    array.close()
    assert kernel.live_objects() == (0, 0, 0, 0)
    kernel.close()


def test_a_device_map_holds_devices(any_kernel: Kernel) -> None:
    """Device 1 is the loopback of both."""
    for kind in (_M.DEVMAP, _M.DEVMAP_HASH):
        map = any_kernel.create_map(MapSpec("devices", kind, 4, 4, 4))
        map.update(_word(2), _word(1))
        assert map.lookup(_word(2)) == _word(1)
        assert map.lookup(_word(3)) is None
        assert _refusal(map, _word(2), _word(1), 1) == errno.EEXIST
        assert _refusal(map, _word(2), _word(1 << 20)) == errno.EINVAL
        map.delete(_word(2))
        assert map.lookup(_word(2)) is None
        map.close()


@pytest.mark.parametrize("kind", [_M.HASH, _M.ARRAY, _M.QUEUE, _M.RINGBUF])
def test_a_frozen_map_is_for_programs_to_change(any_kernel: Kernel, kind: MapType) -> None:
    sizes = {_M.QUEUE: (0, 8, 4), _M.RINGBUF: (0, 0, 4096)}.get(kind, (4, 8, 4))
    map = any_kernel.create_map(MapSpec("frozen", kind, *sizes))
    map.freeze()
    assert _refusal(map, bytes(sizes[0]), bytes(sizes[1])) == errno.EPERM
    with pytest.raises(MapError) as caught:
        map.freeze()
    assert caught.value.errno == errno.EPERM
    with pytest.raises(MapError) as caught:
        map.lookup_and_delete(bytes(sizes[0]))
    assert caught.value.errno == errno.EPERM
    if kind is not _M.RINGBUF:
        assert map.lookup(bytes(sizes[0])) == (bytes(8) if kind is _M.ARRAY else None)


def test_a_tail_call_goes_where_the_array_says(any_kernel: Kernel) -> None:
    array = any_kernel.create_map(MapSpec("programs", _M.PROG_ARRAY, 4, 4, 3))
    target = any_kernel.load_program(program("r0 = 3\nexit", ProgType.XDP))
    caller = any_kernel.load_program(program("""
        r2 = $array
        r3 = 1
        call bpf_tail_call#12
        r0 = 2
        exit""", ProgType.XDP, array=array.fd))
    assert caller.test_run(bytes(64)).retval == 2
    array.update(_word(1), _word(target.fd))
    target.close()
    assert caller.test_run(bytes(64)).retval == 3
    array.delete(_word(1))
    assert caller.test_run(bytes(64)).retval == 2
