"""The reading side of the simulated kernel's rings.

A SimRing reads rings of the C runtime while programs write them. A record is copied and taken out of its ring before
the callback sees it: a callback may raise, close the ring or poll again without harm."""

from __future__ import annotations

import abc
import errno
from collections.abc import Callable
from typing import Any

from bcc_py.errors import MapError
from bcc_py.sim.maps import SimMap

__all__ = ["SimPerfRing", "SimRing", "SimRingBuffer", "SimUserRing"]

_PAGE = 4096
_LOST, _SAMPLE = 2, 9  # perf record types
_DISCARDED = 2  # ringbuf_next


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


class SimUserRing:
    """The writing side of a user ring buffer, which programs drain."""

    def __init__(self, map: SimMap) -> None:
        self._map = map
        self._is_open = True
        map.retain()

    def write(self, content: bytes) -> bool:
        """Puts in one sample; False where there is no room for it now. Raises MapError (E2BIG) for one that never has room."""
        runtime = self._map.runtime
        with self._map.lock:
            if not self._is_open:
                raise MapError(f"writing to user ring buffer {self._map.spec.name}: it is closed", self._map.spec.name, errno.EBADF)
            place = runtime.ffi.new("u8 **")
            code = runtime.user_ring_reserve(self._map.pointer.rings, len(content), place)
            if code == -errno.ENOSPC:
                return False
            if code < 0:
                raise MapError(
                    f"writing {len(content)} bytes to user ring buffer {self._map.spec.name}", self._map.spec.name, -code)
            runtime.ffi.memmove(place[0], content, len(content))
            runtime.user_ring_submit(place[0], 0)
            return True

    def close(self) -> None:
        with self._map.lock:
            if self._is_open:
                self._is_open = False
                self._map.release()
