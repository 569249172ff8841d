"""The reading side of the simulated kernel's rings.

A SimRing reads rings of the C runtime while programs write them (runtime/taking.c)."""

from __future__ import annotations

import abc
import errno
import functools
from collections.abc import Callable
from typing import Any

from bcc_py.errors import MapError
from bcc_py.rings import Reader, Records, each, each_of_cpu
from bcc_py.sim.maps import SimMap

__all__ = ["SimPerfRing", "SimRing", "SimRingBuffer", "SimUserRing"]

_PAGE = 4096
_SPARE = 16  # bytes behind the records that were copied (Records.stride)


class SimRing(Reader):
    """The reading side of rings: what perf event arrays and ring buffers share."""

    is_perf = False

    def __init__(
        self, map: SimMap, rings: list[Any], on_records: Callable[[Records], bool], on_lost: Callable[[int, int], None] | None
    ) -> None:
        super().__init__(on_records, on_lost)
        self._map = map
        self._rings = rings
        self._is_open = True
        self._taken: Any = map.runtime.ffi.new("struct taken *")
        map.retain()

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def has_records(self) -> bool:
        return self._is_open and (self.has_kept or any(ring.tail != ring.head for ring in self._rings))

    def _ends(self) -> list[int]:
        return [int(ring.head) for ring in self._rings]

    def _take(self, at: int, end: int, room: int) -> Records | None:
        runtime, taken = self._map.runtime, self._taken
        with self._map.lock:
            if not self._is_open or not runtime.ring_look(self._rings[at], self.is_perf, end, room, taken):
                return None
            size = int(taken.bytes)
            memory = bytearray(size + _SPARE)
            runtime.ring_take(self._rings[at], self.is_perf, size, runtime.ffi.from_buffer("u8[]", memory))
            stride = int(taken.stride) if taken.is_even else 0
            count = int(taken.count)
            return Records(at, memory, count, functools.partial(self._places, memory, size, count), first=int(taken.first),
                           size=int(taken.size), stride=stride, lost=int(taken.lost))

    def _places(self, memory: bytearray, size: int, count: int) -> tuple[list[int], list[int]]:
        ffi = self._map.runtime.ffi
        offsets, sizes = ffi.new("u64[]", max(count, 1)), ffi.new("u64[]", max(count, 1))
        self._map.runtime.ring_places(ffi.from_buffer("u8[]", memory), size, self.is_perf, offsets, sizes)
        found: tuple[list[int], list[int]] = ffi.unpack(offsets, count), ffi.unpack(sizes, count)  # type: ignore[assignment]
        return found

    def close(self) -> None:
        with self._map.lock:
            if self._is_open:
                self._is_open = False
                self.forget_kept()
                self._close_rings()
                self._rings = []
                self._map.release()

    @abc.abstractmethod
    def _close_rings(self) -> None:
        """Undoes what the opening did to the map."""


class SimPerfRing(SimRing):
    """All CPUs' rings of a perf event array. A record has the raw size that perf gives: the bytes, padded so
    that with its 4-byte length it fills 8-byte words."""

    is_perf = True

    def __init__(
        self, map: SimMap, cpus: int, callback: Callable[[int, memoryview], None], lost: Callable[[int, int], None], pages: int
    ) -> None:
        self._open_count = 0
        super().__init__(map, [], each_of_cpu(callback), lost)
        for cpu in range(min(cpus, map.spec.max_entries)):
            code = map.runtime.perf_open(map.pointer, cpu, pages * _PAGE)
            if code < 0:
                self.close()
                raise MapError(f"opening the perf buffer of map {map.spec.name} on cpu {cpu} ({pages} pages)", map.spec.name, -code)
            self._open_count += 1
            self._rings.append(map.runtime.ffi.addressof(map.pointer.rings[cpu]))

    def _close_rings(self) -> None:
        for cpu in range(self._open_count):
            self._map.runtime.perf_close(self._map.pointer, cpu)


class SimRingBuffer(SimRing):
    """A ring buffer map. A callback that returns a negative number stops this round, as libbpf's does."""

    def __init__(self, map: SimMap, callback: Callable[[memoryview], object]) -> None:
        super().__init__(map, [map.pointer.rings], each(callback), None)

    def _ends(self) -> list[int]:
        if self._is_open:
            self.lost = int(self._rings[0].lost)  # no record tells of them
        return super()._ends()

    def _close_rings(self) -> None:
        """Nothing: the ring is the map's own."""


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
