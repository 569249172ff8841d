"""The reading side of the kernel's two event buffers.

PerfBuffer: one ring for each online CPU, filled by bpf_perf_event_output; records are struct
perf_event_header and a body, and may wrap around the end. RingBuffer: one for all CPUs, filled by
bpf_ringbuf_*; its pages are mapped twice in a row, so no record wraps, and each begins with its length
and the busy and discard bits.

Invariant: every record is copied out, and the position moved past it, before the callback runs: what
a callback keeps, raises or closes cannot make memory be read that is gone, nor a record be seen twice.
consume() stops at the head it found when it began, so it ends however fast the kernel writes.

Source: kernel/events/ring_buffer.c and the comment on struct perf_event_mmap_page in
include/uapi/linux/perf_event.h; kernel/bpf/ringbuf.c."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable

from bcc_py.errors import AttachError, MapError, NotSupportedError
from bcc_py.linux import sys

__all__ = ["PerfBuffer", "RingBuffer"]

_PAGE = mmap.PAGESIZE

_TYPE_SOFTWARE, _BPF_OUTPUT, _SAMPLE_RAW = 1, 10, 1 << 10
_DATA_HEAD, _DATA_TAIL = 1024, 1032  # bytes into struct perf_event_mmap_page
_RECORD_LOST, _RECORD_SAMPLE = 2, 9
_HEADER = struct.Struct("<IHH")

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

    def close(self) -> None:
        self.mapping.close()
        sys.close(self.fd)


class PerfBuffer:
    """A perf event array's rings. callback(cpu, record): record has the size the kernel gives it, that is
    round_up(size + 4, 8) - 4 bytes, the last of them padding; lost(cpu, count). pages: for each CPU."""

    def __init__(
        self, map_fd: int, name: str, callback: Callable[[int, memoryview], None], lost: Callable[[int, int], None], pages: int
    ) -> None:
        if pages < 1 or pages & (pages - 1):
            raise MapError(f"opening perf buffer {name}: {pages} pages is not a power of two", name)
        self._name, self._map_fd, self._callback, self._lost = name, map_fd, callback, lost
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

    def consume(self) -> int:
        return sum(self._consume(ring) for ring in list(self._rings))

    def _consume(self, ring: _CpuRing) -> int:
        if self._is_closed:
            return 0
        head = ring.mapping.load_acquire(_DATA_HEAD)
        count = 0
        try:
            while ring.position < head and not self._is_closed:
                count += self._hand_over(ring, head)
        finally:
            if not self._is_closed:
                ring.mapping.store_release(_DATA_TAIL, ring.position)
        return count

    def _hand_over(self, ring: _CpuRing, head: int) -> int:
        """Moves past one record and gives it to its callback; 1 if it was a sample."""
        kind, _, size = _HEADER.unpack(ring.copy(ring.position, 8))
        if size < 8 or size > head - ring.position:
            ring.position = head
            raise MapError(f"reading perf buffer {self._name}: a record of {size} bytes on cpu {ring.cpu}", self._name)
        body = ring.copy(ring.position + 8, size - 8)
        ring.position += size
        if kind == _RECORD_SAMPLE and len(body) >= 4:
            length = int.from_bytes(body[:4], "little")
            self._callback(ring.cpu, memoryview(body)[4 : 4 + length])
            return 1
        if kind == _RECORD_LOST and len(body) >= 16:
            self._lost(ring.cpu, int.from_bytes(body[8:16], "little"))
        return 0

    def close(self) -> None:
        """Takes the rings out of the map and unmaps them, once."""
        if self._is_closed:
            return
        self._is_closed = True
        for ring in self._rings:
            try:
                sys.map_delete(self._map_fd, struct.pack("=I", ring.cpu), self._name)
            except MapError:  # never put in, or the map is closed, which empties it
                pass
            ring.close()
        self._rings.clear()


class RingBuffer:
    """A BPF ring buffer. callback(record); an int below zero ends this consume(). size: bytes, as the map has."""

    def __init__(self, map_fd: int, name: str, size: int, callback: Callable[[memoryview], object]) -> None:
        self._name, self._fd, self._callback = name, map_fd, callback
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

    def consume(self) -> int:
        if self._is_closed:
            return 0
        position = self._consumer.load_acquire(0)
        head = self._producer.load_acquire(0)
        count = 0
        while position < head and not self._is_closed:
            offset = _PAGE + (position & (self._size - 1))
            word = self._producer.load_acquire_u32(offset)
            if word & _BUSY:
                break
            length = word & _LENGTH
            record = bytes(self._producer.view[offset + 8 : offset + 8 + length])
            position += -(-(length + 8) // 8) * 8
            self._consumer.store_release(0, position)
            if not word & _DISCARD:
                count += 1
                answer = self._callback(memoryview(record))
                if isinstance(answer, int) and answer < 0:
                    break
        return count

    def close(self) -> None:
        """Unmaps, once; the map itself stays open."""
        if not self._is_closed:
            self._is_closed = True
            self._consumer.close()
            self._producer.close()
