"""Maps and rings of the simulated kernel, as the seam wants them.

A SimMap owns one struct map of the C runtime, a SimRing the reading side of its rings. Lengths are checked
here, errno values become MapError here; the semantics are in runtime/maps.c and rings.c. The memory is
freed when the last of its users (the map itself, programs that name it, rings) has closed, so no program
can outlive what it points at.

A record is copied and taken out of its ring before the callback sees it: a callback may raise, close the
ring or poll again without harm."""

from __future__ import annotations

import abc
import copy
import threading
from collections.abc import Callable
from typing import Any

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.jit import NativeMap
from bcc_py.sim.memory import Runtime
from bcc_py.spec import MapSpec
from cfront.uapi import MapType

__all__ = ["MAP_TYPES", "SimMap", "SimPerfRing", "SimRing", "SimRingBuffer"]

MAP_TYPES = (
    MapType.HASH, MapType.ARRAY, MapType.PERF_EVENT_ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH, MapType.QUEUE, MapType.STACK, MapType.RINGBUF,
)
_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
_PERCPU = (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH)
_ENOENT, _EBADF = 2, 9
_PAGE = 4096
_LOST, _SAMPLE = 2, 9  # perf record types
_DISCARDED = 2  # ringbuf_next


class _Memory:
    """A struct map of the runtime and how many use it; gone with the last."""

    __slots__ = ("pointer", "users")

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer
        self.users = 0


class SimMap:
    """One handle of a live map. fd: unique in its kernel; programs name it in their map loads."""

    def __init__(self, spec: MapSpec, fd: int, runtime: Runtime, state: Any, lock: threading.RLock) -> None:
        if spec.type not in MAP_TYPES:
            names = ", ".join(one.name.lower() for one in MAP_TYPES)
            raise NotSupportedError(
                f"creating map {spec.name}: the simulated kernel has no {spec.type.name.lower()} maps (it has {names})",
                spec.type.name)
        self.spec = spec
        self.lock = lock
        self.runtime = runtime
        self._state = state
        error = runtime.ffi.new("s32 *")
        self._memory = _Memory(runtime.map_new(
            state, spec.type, _u32(spec.key_size), _u32(spec.value_size), _u32(spec.max_entries), _u32(spec.flags), error))
        if not self.pointer:
            raise MapError(f"creating map {spec.name} ({_shape(spec)})", spec.name, -error[0])
        self._open(fd)
        if spec.initial:
            self.update(bytes(spec.key_size), spec.initial)

    def _open(self, fd: int) -> None:
        """Makes this a handle of its own: a user of the memory, with buffers for keys and values."""
        self.fd = fd
        self._is_open = True
        self._memory.users += 1
        spec, runtime = self.spec, self.runtime
        cpus = self.pointer.cpus if spec.type in _PERCPU else 1
        self.value_bytes = (spec.value_size + 7) // 8 * 8 * cpus if spec.type in _PERCPU else spec.value_size
        self._value = runtime.ffi.new("u8[]", max(self.value_bytes, 1))
        self._key = runtime.ffi.new("u8[]", max(spec.key_size, 1))

    def reopened(self, spec: MapSpec, fd: int) -> SimMap:
        """Another handle of the same map, which is closed on its own. spec: what its user calls it."""
        made = copy.copy(self)
        made.spec = spec
        made._open(fd)
        return made

    @property
    def pointer(self) -> Any:
        """The runtime's struct map, None when the last user is gone."""
        return self._memory.pointer

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def native(self) -> NativeMap:
        """Where it is, for the JIT."""
        address = self.runtime.address_of
        one = self.pointer
        if self.spec.type not in _ARRAYS:
            return NativeMap(address(one))
        per_cpu = one.stride if self.spec.type is MapType.PERCPU_ARRAY else 0
        return NativeMap(address(one), True, address(one.slots), one.max_entries, one.node_size, per_cpu)

    # -- the seam

    def lookup(self, key: bytes) -> bytes | None:
        with self.lock:
            self._check(key)
            code = self.runtime.map_read(self._state, self.pointer, key, self._value)
            if code == -_ENOENT:
                return None
            self._raise_for(code, "looking up a key in")
            return self.runtime.copy_out(self._value, self.value_bytes)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        with self.lock:
            self._check(key)
            if len(value) != self.value_bytes:
                raise MapError(f"updating map {self.spec.name}: a value of {len(value)} bytes, expected {self.value_bytes}",
                               self.spec.name, 22)
            code = self.runtime.map_write(self._state, self.pointer, key, value, flags & 0xFFFFFFFFFFFFFFFF)
            self._raise_for(code, "updating")

    def delete(self, key: bytes) -> None:
        with self.lock:
            self._check(key)
            code = self.runtime.map_remove(self._state, self.pointer, key)
            if code == -_ENOENT:
                raise KeyNotFound(f"deleting a key of map {self.spec.name}: no such key {key.hex()}", self.spec.name, key)
            self._raise_for(code, "deleting a key of")

    def next_key(self, key: bytes | None) -> bytes | None:
        with self.lock:
            self._check(key)
            code = self.runtime.map_next(self.pointer, self.runtime.ffi.NULL if key is None else key, self._key)
            if code == -_ENOENT:
                return None
            self._raise_for(code, "iterating over")
            return self.runtime.copy_out(self._key, self.spec.key_size)

    def close(self) -> None:
        with self.lock:
            if self._is_open:
                self._is_open = False
                self.release()

    # -- its users

    def retain(self) -> None:
        """One more user; each calls release once."""
        self._memory.users += 1

    def release(self) -> None:
        self._memory.users -= 1
        if not self._memory.users:
            self.runtime.map_free(self._state, self.pointer)
            self._memory.pointer = None

    def check_open(self, doing: str) -> None:
        if not self._is_open:
            raise MapError(f"{doing} map {self.spec.name}: it is closed", self.spec.name, _EBADF)

    def _check(self, key: bytes | None) -> None:
        self.check_open("using")
        if key is not None and len(key) != self.spec.key_size:
            raise MapError(f"using map {self.spec.name}: a key of {len(key)} bytes, expected {self.spec.key_size}",
                           self.spec.name, 22)

    def _raise_for(self, code: int, doing: str) -> None:
        if code < 0:
            raise MapError(f"{doing} map {self.spec.name}", self.spec.name, -code)


def _u32(value: int) -> int:
    return min(max(value, 0), 0xFFFFFFFF)


def _shape(spec: MapSpec) -> str:
    return (f"{spec.type.name.lower()}, {spec.key_size} byte keys, {spec.value_size} byte values, "
            f"{spec.max_entries} entries, flags {spec.flags:#x}")


class SimRing(abc.ABC):
    """The reading side of rings: what perf event arrays and ring buffers share."""

    def __init__(self, map: SimMap, rings: list[Any]) -> None:
        self._map = map
        self._rings = rings
        self._is_open = True
        self._record = map.runtime.ffi.new("u8 **")
        self._size = map.runtime.ffi.new("u64 *")
        map.retain()

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def has_records(self) -> bool:
        return self._is_open and any(ring.tail != ring.head for ring in self._rings)

    def consume(self) -> int:
        """Hands over every record that was there at the call; how many."""
        if not self._is_open:
            return 0
        ends = [(at, ring, ring.head) for at, ring in enumerate(self._rings)]  # a callback may close and free them
        return sum(self._consume_one(at, ring, end) for at, ring, end in ends)

    @abc.abstractmethod
    def _consume_one(self, at: int, ring: Any, end: int) -> int:
        """Hands over the records of the at-th ring up to end; how many."""

    def close(self) -> None:
        with self._map.lock:
            if self._is_open:
                self._is_open = False
                self._close_rings()
                self._rings = []
                self._map.release()

    @abc.abstractmethod
    def _close_rings(self) -> None:
        """Undoes what the opening did to the map."""


class SimPerfRing(SimRing):
    """All CPUs' rings of a perf event array. A record has the raw size that perf gives: the bytes, padded so
    that with its 4-byte length it fills 8-byte words."""

    def __init__(
        self, map: SimMap, cpus: int, callback: Callable[[int, memoryview], None], lost: Callable[[int, int], None], pages: int
    ) -> None:
        self._open_count = 0
        self._callback = callback
        self._lost = lost
        super().__init__(map, [])
        for cpu in range(min(cpus, map.spec.max_entries)):
            code = map.runtime.perf_open(map.pointer, cpu, pages * _PAGE)
            if code < 0:
                self.close()
                raise MapError(f"opening the perf buffer of map {map.spec.name} on cpu {cpu} ({pages} pages)", map.spec.name, -code)
            self._open_count += 1
            self._rings.append(map.runtime.ffi.addressof(map.pointer.rings[cpu]))

    def _consume_one(self, at: int, ring: Any, end: int) -> int:
        count = 0
        while True:
            with self._map.lock:
                if not self._is_open:
                    return count
                kind = self._map.runtime.perf_next(ring, end, self._record, self._size)
                if not kind:
                    return count
                content = self._map.runtime.copy_out(self._record[0], self._size[0] - 8)
                self._map.runtime.perf_advance(ring, self._size[0])
            if kind == _SAMPLE:
                count += 1
                self._callback(at, memoryview(bytearray(content))[4:])
            elif kind == _LOST:
                self._lost(at, int.from_bytes(content[8:16], "little"))

    def _close_rings(self) -> None:
        for cpu in range(self._open_count):
            self._map.runtime.perf_close(self._map.pointer, cpu)


class SimRingBuffer(SimRing):
    """A ring buffer map. A callback that returns a negative number stops this round, as libbpf's does."""

    def __init__(self, map: SimMap, callback: Callable[[memoryview], object]) -> None:
        self._callback = callback
        super().__init__(map, [map.pointer.rings])

    def _close_rings(self) -> None:
        """Nothing: the ring is the map's own."""

    def _consume_one(self, at: int, ring: Any, end: int) -> int:
        count = 0
        while True:
            with self._map.lock:
                kind = self._map.runtime.ringbuf_next(ring, end, self._record, self._size) if self._is_open else 0
                if not kind:
                    return count
                content = bytearray(self._map.runtime.copy_out(self._record[0], self._size[0]))
                self._map.runtime.ringbuf_advance(ring, self._size[0])
            if kind != _DISCARDED:
                count += 1
                answer = self._callback(memoryview(content))
                if isinstance(answer, int) and answer < 0:
                    return count
