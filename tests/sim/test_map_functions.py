"""What programs call on maps with a callback, and the maps' functions that no helper number stands for: called as a program
would, through their addresses, with callbacks that note what they are given."""

from __future__ import annotations

import dataclasses
import errno
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from bcc_py.elf import read_object
from bcc_py.errors import KeyNotFound, MapError
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.maps import SimMap
from bcc_py.spec import MapSpec
from cfront import compile
from cfront.uapi import MapType
from tests.sim.map_operations import keys_of

_MMAPABLE, _ZERO_SEED = 1 << 10, 1 << 6


def _map(kernel: SimKernel, spec: MapSpec) -> SimMap:
    made = kernel.create_map(spec)
    assert isinstance(made, SimMap)
    return made


def _call(kernel: SimKernel, name: str, *arguments: Any, cpu: int = 0) -> int:
    """The signed answer of a helper, run on a CPU. Arguments: numbers and pointers."""
    runtime = kernel.runtime
    params = ", ".join(["struct cpu *", *("u64" for _ in arguments)])
    words = [one if isinstance(one, int) else runtime.address_of(one) for one in arguments]
    return int(runtime.ffi.cast(f"s64(*)({params})", runtime.address(name))(kernel.cpu(cpu).pointer, *(one % (1 << 64) for one in words)))


def _callback(kernel: SimKernel, called: Callable[[int, int, int, int], int]) -> Any:
    """A native function of a callback's four arguments. Whoever passes it keeps it."""
    return kernel.runtime.ffi.callback(
        "u64(struct cpu *, u64, u64, u64, u64, u64)", lambda cpu, one, two, three, four, five: called(one, two, three, four))


def _bytes(kernel: SimKernel, address: int, size: int) -> bytes:
    return bytes(kernel.runtime.copy_out(kernel.runtime.ffi.cast("u8 *", address), size))


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.ARRAY, MapType.PERCPU_ARRAY])
def test_for_each_sees_every_element(kernel: SimKernel, kind: MapType) -> None:
    map = _map(kernel, MapSpec("m", kind, 4, 8, 20))
    wanted = {}
    for number in range(20):
        key = number.to_bytes(4, "little")
        map.update(key, b"".join((number * 10 + cpu).to_bytes(8, "little") for cpu in range(map.value_bytes // 8)))
        wanted[key] = number * 10 + (1 if map.value_bytes > 8 else 0)
    seen = {}

    def note(map_address: int, key: int, value: int, context: int) -> int:
        assert map_address == kernel.runtime.address_of(map.pointer) and context == 77
        seen[_bytes(kernel, key, 4)] = struct.unpack("<Q", _bytes(kernel, value, 8))[0]
        return 0

    called = _callback(kernel, note)
    assert _call(kernel, "bpf_for_each_map_elem", map.pointer, called, 77, 0, cpu=1) == 20
    assert seen == wanted
    stop = _callback(kernel, lambda *words: 1)
    assert _call(kernel, "bpf_for_each_map_elem", map.pointer, stop, 0, 0) == 1
    assert _call(kernel, "bpf_for_each_map_elem", map.pointer, stop, 0, 1) == -errno.EINVAL


def test_a_callback_may_delete_what_it_is_given(kernel: SimKernel) -> None:
    map = _map(kernel, MapSpec("m", MapType.HASH, 4, 8, 50))
    for number in range(50):
        map.update(number.to_bytes(4, "little"), bytes(8))
    called = _callback(kernel, lambda map_address, key, value, context: _call(kernel, "bpf_map_delete_elem", map_address, key) & 1)
    assert _call(kernel, "bpf_for_each_map_elem", map.pointer, called, 0, 0) == 50
    assert keys_of(map) == []


def test_for_each_takes_no_other_map(kernel: SimKernel) -> None:
    map = _map(kernel, MapSpec("m", MapType.QUEUE, 0, 8, 4))
    assert _call(kernel, "bpf_for_each_map_elem", map.pointer, 0, 0, 0) == -errno.EINVAL


# ---- user ring buffer

def test_a_program_drains_what_was_written(kernel: SimKernel) -> None:
    map = _map(kernel, MapSpec("m", MapType.USER_RINGBUF, 0, 0, 4096))
    ring = kernel.open_user_ring_buffer(map)
    samples = [bytes([n]) * n for n in range(1, 40)]
    got = []

    def note(dynptr: int, context: int, three: int, four: int) -> int:
        address, size, offset = struct.unpack("<QII", _bytes(kernel, dynptr, 16))
        got.append(_bytes(kernel, address + offset, size & 0xFFFFFF))
        return len(got) == 30

    called = _callback(kernel, note)
    for one in samples:
        assert ring.write(one)
    assert _call(kernel, "bpf_user_ringbuf_drain", map.pointer, called, 0, 0) == 30
    assert _call(kernel, "bpf_user_ringbuf_drain", map.pointer, called, 0, 0) == 9
    assert got == samples
    assert _call(kernel, "bpf_user_ringbuf_drain", map.pointer, called, 0, 0) == 0
    assert _call(kernel, "bpf_user_ringbuf_drain", map.pointer, called, 0, 4) == -errno.EINVAL
    ring.close()


def test_a_full_user_ring_buffer_takes_no_more(kernel: SimKernel) -> None:
    map = _map(kernel, MapSpec("m", MapType.USER_RINGBUF, 0, 0, 4096))
    ring = kernel.open_user_ring_buffer(map)
    assert [ring.write(bytes(1000)) for _ in range(6)] == [True] * 4 + [False] * 2
    called = _callback(kernel, lambda *words: 0)
    assert _call(kernel, "bpf_user_ringbuf_drain", map.pointer, called, 0, 0) == 4
    assert ring.write(bytes(1000))
    with pytest.raises(MapError, match="writing 5000 bytes"):
        ring.write(bytes(5000))
    ring.close()
    with pytest.raises(MapError, match="it is closed"):
        ring.write(b"x")


def test_a_ring_buffer_gives_dynptrs(kernel: SimKernel) -> None:
    map = _map(kernel, MapSpec("m", MapType.RINGBUF, 0, 0, 4096))
    got: list[bytes] = []
    ring = kernel.open_ring_buffer(map, lambda record: got.append(bytes(record)))
    made = kernel.runtime.ffi.new("struct dynptr *")
    assert _call(kernel, "bpf_ringbuf_reserve_dynptr", map.pointer, 5, 0, made) == 0
    kernel.runtime.ffi.memmove(kernel.runtime.ffi.cast("u8 *", made.bytes), b"hello", 5)
    assert ring.consume() == 0
    _call(kernel, "bpf_ringbuf_submit_dynptr", made, 0)
    assert made.bytes == 0
    _call(kernel, "bpf_ringbuf_discard_dynptr", made, 0)
    assert _call(kernel, "bpf_ringbuf_reserve_dynptr", map.pointer, 5000, 0, made) == -errno.EINVAL
    assert _call(kernel, "bpf_ringbuf_reserve_dynptr", map.pointer, 1 << 25, 0, made) == -errno.E2BIG
    assert ring.consume() == 1 and got == [b"hello"]


# ---- fields of the kernel's in values

_FIELDS = """
struct bpf_timer { u64 opaque[2]; };
struct bpf_spin_lock { u32 val; };
struct value { u64 first; struct bpf_spin_lock lock; u32 middle; struct bpf_timer timer; u64 last; };
BPF_HASH(table, u32, struct value, 8);
BPF_ARRAY(row, struct value, 4);
int run(void *ctx) { return 0; }
"""


@pytest.fixture(scope="module")
def specs() -> dict[str, MapSpec]:
    return dict(read_object(compile(_FIELDS)).maps)


@pytest.mark.parametrize("name", ["table", "row"])
def test_locks_and_timers_are_not_copied(kernel: SimKernel, specs: dict[str, MapSpec], name: str) -> None:
    map = _map(kernel, specs[name])
    assert {one.kind for one in map.fields} == {"bpf_spin_lock", "bpf_timer"}
    key, content = bytes(4), bytes(range(1, 41))
    map.update(key, content)
    wanted = content[:8] + bytes(4) + content[12:16] + bytes(16) + content[32:]
    assert map.lookup(key) == wanted == map.lookup(key, 4)
    map.update(key, bytes(40), 4)
    assert map.lookup(key) == bytes(40)
    with pytest.raises(MapError) as caught:
        map.freeze()
    assert caught.value.errno == 524


def test_timers_fire_in_order_of_time(kernel: SimKernel, specs: dict[str, MapSpec]) -> None:
    map = _map(kernel, specs["table"])
    fired: list[tuple[int, int]] = []
    cpu = kernel.cpu(0).pointer
    cpu.time_ns = 1000

    def note(map_address: int, key: int, value: int, context: int) -> int:
        fired.append((struct.unpack("<I", _bytes(kernel, key, 4))[0], cpu.time_ns))
        return 0

    called = _callback(kernel, note)
    for number, ns in ((1, 50), (2, 20), (3, 70), (4, 10)):
        key = number.to_bytes(4, "little")
        map.update(key, bytes(40))
        value = _call(kernel, "bpf_map_lookup_elem", map.pointer, kernel.runtime.copy_in(key))
        timer = value + 16
        assert _call(kernel, "bpf_timer_start", timer, 1, 0) == -errno.EINVAL
        assert _call(kernel, "bpf_timer_init", timer, map.pointer, 5) == -errno.EINVAL
        assert _call(kernel, "bpf_timer_init", timer, map.pointer, 1) == 0
        assert _call(kernel, "bpf_timer_init", timer, map.pointer, 1) == -errno.EBUSY
        assert _call(kernel, "bpf_timer_set_callback", timer, called) == 0
        assert _call(kernel, "bpf_timer_start", timer, ns, 0) == 0
        if number == 4:
            assert _call(kernel, "bpf_timer_cancel", timer) == 1
            assert _call(kernel, "bpf_timer_cancel", timer) == 0
    assert kernel.runtime.timers_next(kernel.state, kernel.runtime.ffi.new("u32 *")) == 1020
    map.delete((1).to_bytes(4, "little"))
    assert kernel.runtime.timers_run(cpu, 1019) == 0
    cpu.time_ns = 2000
    assert kernel.runtime.timers_run(cpu, 2000) == 2
    assert fired == [(2, 2000), (3, 2000)]
    assert kernel.runtime.timers_next(kernel.state, kernel.runtime.ffi.new("u32 *")) == (1 << 64) - 1


def test_many_timers_fire_in_order(kernel: SimKernel, specs: dict[str, MapSpec]) -> None:
    """Set, set again, cancelled and dropped at random: by time, and those of one time as they were set."""
    map = _map(kernel, dataclasses.replace(specs["table"], max_entries=400))
    fired: list[int] = []
    cpu = kernel.cpu(0).pointer
    draw = random.Random(7)

    def note(map_address: int, key: int, value: int, context: int) -> int:
        fired.append(struct.unpack("<I", _bytes(kernel, key, 4))[0])
        return 0

    called = _callback(kernel, note)
    due: dict[int, tuple[int, int]] = {}
    places: dict[int, int] = {}
    for turn in range(4000):
        number = draw.randrange(400)
        key = number.to_bytes(4, "little")
        if number not in places:
            map.update(key, bytes(40))
            places[number] = _call(kernel, "bpf_map_lookup_elem", map.pointer, kernel.runtime.copy_in(key)) + 16
            assert _call(kernel, "bpf_timer_init", places[number], map.pointer, 1) == 0
        doing = draw.random()
        if doing < 0.7:
            ns = draw.randrange(300)
            assert _call(kernel, "bpf_timer_set_callback", places[number], called) == 0
            assert _call(kernel, "bpf_timer_start", places[number], ns, 0) == 0
            due[number] = (ns, turn)
        elif doing < 0.9:
            assert _call(kernel, "bpf_timer_cancel", places[number]) == (number in due)
            due.pop(number, None)
        else:
            map.delete(key)
            due.pop(number, None)
            del places[number]
    assert kernel.runtime.timers_run(cpu, 149) == sum(ns < 150 for ns, _ in due.values())
    kernel.runtime.timers_run(cpu, 1000)
    assert fired == sorted(due, key=lambda one: due[one])



# ---- storages, stacks

def _storage(kind: MapType) -> MapSpec:
    return MapSpec("m", kind, 4, 8, 0, 1, key_type=1, value_type=1)


def test_a_task_has_its_value_until_it_ends(kernel: SimKernel) -> None:
    map = _map(kernel, _storage(MapType.TASK_STORAGE))
    task = kernel.tasks.spawn(500, "one")
    first = kernel.runtime.copy_in((7).to_bytes(8, "little"))
    assert _call(kernel, "bpf_task_storage_get", map.pointer, task.address, 0, 0) == 0
    place = _call(kernel, "bpf_task_storage_get", map.pointer, task.address, first, 1)
    assert _bytes(kernel, place, 8) == (7).to_bytes(8, "little") == map.lookup((500).to_bytes(4, "little"))
    assert _call(kernel, "bpf_task_storage_get", map.pointer, task.address, 0, 1) == place
    assert _call(kernel, "bpf_task_storage_get", map.pointer, 0, 0, 1) == 0
    kernel.tasks.reap(task)
    again = kernel.tasks.spawn(501, "two")
    assert map.lookup((501).to_bytes(4, "little")) is None
    assert _call(kernel, "bpf_task_storage_delete", map.pointer, again.address) == -errno.ENOENT
    map.update((501).to_bytes(4, "little"), bytes(8))
    assert _call(kernel, "bpf_task_storage_delete", map.pointer, again.address) == 0
    with pytest.raises(KeyNotFound):
        map.delete((501).to_bytes(4, "little"))
    with pytest.raises(MapError) as caught:
        map.lookup((999).to_bytes(4, "little"))
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("kind", [MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE])
def test_a_control_group_has_its_value(kernel: SimKernel, kind: MapType) -> None:
    map = _map(kernel, MapSpec("m", kind, 8, 8, 0))
    group = int(kernel.cpu(1).pointer.cgroup_id)
    with pytest.raises(MapError) as caught:
        map.update(group.to_bytes(8, "little"), bytes(map.value_bytes))
    assert caught.value.errno == errno.ENOENT
    place = _call(kernel, "bpf_get_local_storage", map.pointer, 0, cpu=1)
    kernel.runtime.ffi.memmove(kernel.runtime.ffi.cast("u8 *", place), b"\x05", 1)
    value = map.lookup(group.to_bytes(8, "little"))
    assert value is not None and value[-8:] == (5).to_bytes(8, "little")
    assert keys_of(map) == [group.to_bytes(8, "little")]


def test_a_stack_has_a_number(kernel: SimKernel) -> None:
    map = _map(kernel, MapSpec("m", MapType.STACK_TRACE, 4, 24, 1000))

    def store(addresses: list[int], flags: int = 0) -> int:
        return int(kernel.runtime.stack_map_store(map.pointer, kernel.runtime.ffi.new("u64[]", addresses), len(addresses), flags))

    first = store([1, 2, 3, 4])
    assert 0 <= first < 1024 and store([1, 2, 3]) == first
    assert map.lookup(first.to_bytes(4, "little")) == struct.pack("<3Q", 1, 2, 3)
    assert keys_of(map) == [first.to_bytes(4, "little")]
    numbers = {store([n, n + 1]) for n in range(3000)}
    assert -errno.EEXIST in numbers and len(numbers) > 900
    assert store([5, 5], 0x400) >= 0
    assert kernel.runtime.stack_map_store(map.pointer, kernel.runtime.ffi.NULL, 0, 0) == -errno.EFAULT


def test_an_mmapable_array_is_seen_in_place(kernel: SimKernel) -> None:
    map = _map(kernel, MapSpec("m", MapType.ARRAY, 4, 8, 4, _MMAPABLE))
    map.view()[8:16] = (9).to_bytes(8, "little")
    assert map.lookup((1).to_bytes(4, "little")) == (9).to_bytes(8, "little")
    with pytest.raises(MapError):
        _map(kernel, MapSpec("n", MapType.ARRAY, 4, 8, 4)).view()


@pytest.mark.linux
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 12])
def test_the_numbers_are_linux_hashes(kernel: SimKernel, depth: int) -> None:
    """A hash map of Linux without a seed is walked in the order of the same hash of the key."""
    linux = LinuxKernel()
    hashes = linux.create_map(MapSpec("m", MapType.HASH, 8 * depth, 8, 4096, _ZERO_SEED))
    stacks = _map(kernel, MapSpec("m", MapType.STACK_TRACE, 4, 8 * depth, 4096))
    for number in range(300):
        hashes.update(struct.pack(f"<{depth}Q", *(0xFFFFFFFF81000000 + number * 4099 + at * 17 for at in range(depth))), bytes(8))
    numbers = []
    for key in keys_of(hashes):
        addresses = kernel.runtime.ffi.new("u64[]", struct.unpack(f"<{depth}Q", key))
        numbers.append(kernel.runtime.stack_map_store(stacks.pointer, addresses, depth, 0x400))
    assert len(set(numbers)) > 200
    assert numbers == sorted(numbers)
    hashes.close()
    linux.close()
