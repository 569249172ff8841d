"""The reading side of the kernel's two event buffers.

PerfBuffer: one ring for each online CPU, filled by bpf_perf_event_output; records are struct
perf_event_header and a body, and may wrap around the end. RingBuffer: one for all CPUs, filled by
bpf_ringbuf_*; its pages are mapped twice in a row, so no record wraps, and each begins with its length
and the busy and discard bits.

Invariant: records are copied out, many at a time, and the position moved past them, before any callback runs
(bcc_py/rings.py). consume() stops at the head it found when it began, so it ends however fast the kernel writes.

Source: kernel/events/ring_buffer.c and the comment on struct perf_event_mmap_page in
include/uapi/linux/perf_event.h; kernel/bpf/ringbuf.c."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable

from bcc_py.errors import AttachError, MapError, NotSupportedError
from bcc_py.linux import sys
from bcc_py.rings import Reader, Records, each, each_of_cpu

__all__ = ["PerfBuffer", "RingBuffer"]

_PAGE = mmap.PAGESIZE

_TYPE_SOFTWARE, _BPF_OUTPUT, _SAMPLE_RAW = 1, 10, 1 << 10
_DATA_HEAD, _DATA_TAIL = 1024, 1032  # bytes into struct perf_event_mmap_page
_RECORD_LOST, _RECORD_SAMPLE = 2, 9
_HEADER = struct.Struct("<IHH")

_LARGEST_RECORD = 65536  # of a perf ring
_SPARE = 16  # bytes behind the records that were copied (Records.stride)
_BUSY, _DISCARD, _LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1


class _CpuRing:
    """One CPU's perf ring: its descriptor, its mapping, and where reading goes on."""

    __slots__ = ("_mask", "cpu", "fd", "mapping", "position")

    def __init__(self, cpu: int, pages: int, what: str) -> None:
        attr = sys.perf_event_attr(_TYPE_SOFTWARE, _BPF_OUTPUT, sample_type=_SAMPLE_RAW, sample_period=1, wakeup_events=1)
        self.cpu = cpu
        self.fd = sys.perf_event_open(attr, -1, cpu, f"{what} on cpu {cpu}")
        try:
            self.mapping = sys.Mapping(self.fd, (1 + pages) * _PAGE, 0, True, what)
            self.position = self.mapping.load_acquire(_DATA_TAIL)
        except MapError:
            sys.close(self.fd)
            raise
        self._mask = pages * _PAGE - 1

    def copy(self, position: int, size: int) -> bytes:
        """size bytes of the ring from position on, across its end where need be."""
        start, room = position & self._mask, self._mask + 1
        view = self.mapping.view[_PAGE:]
        if start + size <= room:
            return bytes(view[start : start + size])
        return bytes(view[start:room]) + bytes(view[: size - (room - start)])

    @property
    def size(self) -> int:
        return self._mask + 1

    def close(self) -> None:
        self.mapping.close()
        sys.close(self.fd)


class PerfBuffer(Reader):
    """A perf event array's rings. callback(cpu, record): record has the size the kernel gives it, that is
    round_up(size + 4, 8) - 4 bytes, the last of them padding; lost(cpu, count). pages: for each CPU."""

    def __init__(
        self, map_fd: int, name: str, callback: Callable[[int, memoryview], None], lost: Callable[[int, int], None], pages: int
    ) -> None:
        super().__init__(each_of_cpu(callback), lost)
        if pages < 1 or pages & (pages - 1):
            raise MapError(f"opening perf buffer {name}: {pages} pages is not a power of two", name)
        self._name, self._map_fd = name, map_fd
        self._rings: list[_CpuRing] = []
        self._is_closed = False
        try:
            for cpu in sys.online_cpus():
                self._open(cpu, pages)
        except (AttachError, MapError, NotSupportedError):
            self.close()
            raise

    def _open(self, cpu: int, pages: int) -> None:
        ring = _CpuRing(cpu, pages, f"perf buffer {self._name}")
        self._rings.append(ring)
        sys.map_update(self._map_fd, struct.pack("=I", cpu), struct.pack("=I", ring.fd), 0, self._name)
        sys.ioctl(ring.fd, sys.IOC_ENABLE, 0, f"perf buffer {self._name}")

    @property
    def fds(self) -> list[int]:
        """What to poll."""
        return [one.fd for one in self._rings]

    @property
    def is_open(self) -> bool:
        return not self._is_closed

    def _ends(self) -> list[int]:
        return [ring.mapping.load_acquire(_DATA_HEAD) for ring in self._rings]

    def _take(self, at: int, end: int, room: int) -> Records | None:
        ring = self._rings[at]
        begin = ring.position
        size = min(end - begin, ring.size)
        if size <= 0:
            return None
        memory = bytearray(ring.copy(begin, min(size, max(room, _LARGEST_RECORD)) if room else size)) + bytearray(_SPARE)
        offsets, sizes, used, lost = self._walk(ring, memory, size, room)
        ring.position = begin + used
        ring.mapping.store_release(_DATA_TAIL, ring.position)
        stride, length = _alike(offsets, sizes, 12)
        return Records(ring.cpu, memory, len(offsets), lambda: (offsets, sizes), first=offsets[0] if offsets else 0, size=length,
                       stride=stride, lost=lost)

    def _walk(self, ring: _CpuRing, memory: bytearray, size: int, room: int) -> tuple[list[int], list[int], int, int]:
        """(offsets and sizes of the samples, bytes gone through, records lost behind them). What tells of losses ends it."""
        offsets: list[int] = []
        sizes: list[int] = []
        at, end = 0, len(memory) - _SPARE
        while at + 8 <= end and (not room or at < room):
            kind, _, total = _HEADER.unpack_from(memory, at)
            if total < 8 or total > size - at:
                ring.position += size
                ring.mapping.store_release(_DATA_TAIL, ring.position)
                raise MapError(f"reading perf buffer {self._name}: a record of {total} bytes on cpu {ring.cpu}", self._name)
            if at + total > end:
                break
            if kind == _RECORD_SAMPLE and total >= 12:
                offsets.append(at + 12)
                sizes.append(min(int.from_bytes(memory[at + 8 : at + 12], "little"), total - 12))
            at += total
            if kind == _RECORD_LOST and total >= 24:
                return offsets, sizes, at, int.from_bytes(memory[at - total + 16 : at - total + 24], "little")
        return offsets, sizes, at, 0

    def close(self) -> None:
        """Takes the rings out of the map and unmaps them, once."""
        if self._is_closed:
            return
        self._is_closed = True
        self.forget_kept()
        for ring in self._rings:
            try:
                sys.map_delete(self._map_fd, struct.pack("=I", ring.cpu), self._name)
            except MapError:  # never put in, or the map is closed, which empties it
                pass
            ring.close()
        self._rings.clear()


class RingBuffer(Reader):
    """A BPF ring buffer. callback(record); an int below zero ends this consume(). size: bytes, as the map has."""

    def __init__(self, map_fd: int, name: str, size: int, callback: Callable[[memoryview], object]) -> None:
        super().__init__(each(callback))
        self._name, self._fd = name, map_fd
        self._size = size
        self._is_closed = False
        self._consumer = sys.Mapping(map_fd, _PAGE, 0, True, f"ring buffer {name}")
        try:
            self._producer = sys.Mapping(map_fd, _PAGE + 2 * size, _PAGE, False, f"ring buffer {name}")
        except MapError:
            self._consumer.close()
            raise

    @property
    def fds(self) -> list[int]:
        """What to poll."""
        return [] if self._is_closed else [self._fd]

    @property
    def is_open(self) -> bool:
        return not self._is_closed

    def _ends(self) -> list[int]:
        return [self._producer.load_acquire(0)]

    def _take(self, at: int, end: int, room: int) -> Records | None:
        begin = self._consumer.load_acquire(0)
        start = _PAGE + (begin & (self._size - 1))
        offsets: list[int] = []
        sizes: list[int] = []
        used = 0
        while begin + used < end and (not room or used < room):
            word = self._producer.load_acquire_u32(start + used)
            if word & _BUSY:
                break
            length = word & _LENGTH
            if not word & _DISCARD:
                offsets.append(used + 8)
                sizes.append(length)
            used += -(-(length + 8) // 8) * 8
        if not used:
            return None
        memory = bytearray(self._producer.view[start : start + used]) + bytearray(_SPARE)
        self._consumer.store_release(0, begin + used)
        stride, size = _alike(offsets, sizes, 8)
        return Records(0, memory, len(offsets), lambda: (offsets, sizes), first=offsets[0] if offsets else 0, size=size, stride=stride)

    def close(self) -> None:
        """Unmaps, once; the map itself stays open."""
        if not self._is_closed:
            self._is_closed = True
            self.forget_kept()
            self._consumer.close()
            self._producer.close()


def _alike(offsets: list[int], sizes: list[int], head: int) -> tuple[int, int]:
    """(bytes from each record to the next, bytes of each), (0, 0) if they are not all alike. head: bytes in front of one."""
    if not sizes:
        return 0, 0
    size = sizes[0]
    stride = offsets[1] - offsets[0] if len(offsets) > 1 else -(-(size + head) // 8) * 8
    is_even = offsets[-1] - offsets[0] == stride * (len(offsets) - 1) and sizes.count(size) == len(sizes)
    return (stride, size) if is_even and len(set(map(int.__sub__, offsets[1:], offsets[:-1]))) <= 1 else (0, 0)
