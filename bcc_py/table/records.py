"""Tables that carry records: perf event arrays and ring buffers.

Invariant: what a table gives back is a copy, which nothing in the ring changes afterwards (records are copied many at a
time: bcc_py/rings.py). An event class knows typedefs, nested structs and enums, which BCC's does not."""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import errno
import functools
import importlib
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from bcc_py.errors import AttachError, KeyNotFound, MapError, NotSupportedError
from bcc_py.kernel import Counters, Ring, UserRing
from bcc_py.rings import Records
from bcc_py.table.address import memory_at
from bcc_py.table.array import DescriptorArray
from bcc_py.table.ctype_class import ctypes_from_ctype, is_hidden
from bcc_py.table.mapping import Table
from bcc_py.table.view import MapView

__all__ = ["PerfEventArray", "RingBuf", "UserRingBuf"]

_KEPT_CHUNKS = 16  # of records: addresses that a callback kept are good for about a million bytes more
_BATCH_PAGES = 64  # of each CPU's perf ring that is only read in batches or by iteration
_STEP_MS = 1000  # of virtual time, after which an `async for` lets others run


class _Records(Table):
    """A table that carries records. `ring` is its reading side once it is opened, for Kernel.poll. lost: how many records
    found no room since then."""

    ring: Ring | None = None
    _has_batches = False

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._now: Records | None = None  # what is being handed over
        self._slots: Any = None  # its records as ctypes, where all are alike
        self._base = 0  # address of the first one's bytes
        self._recent: deque[Records] = deque(maxlen=_KEPT_CHUNKS)  # addresses in them are good for a while
        self._slot_classes: dict[tuple[int, int], Any] = {}
        self._waiting: deque[Any] = deque()  # events that iteration took out and did not give yet

    @functools.cached_property
    def Event(self) -> Any:
        """The ctypes class of a record. Raises MapError where the object does not say what the buffer carries."""
        if self._event_type is None:
            raise MapError(
                f"reading a record of {self.name}: its type is not known (cast the data to a ctypes structure of your own)",
                self.name)
        return ctypes_from_ctype(self._event_type)

    @property
    def lost(self) -> int:
        return self.ring.lost if self.ring is not None else 0

    def event(self, data: Any) -> Any:
        """The record at data (what a callback was given), as an instance of its C type: a view that may be kept.

        data: the callback's argument, or any address or ctypes pointer to enough bytes, which are copied. What a program sent
        less than its type (it may cut a record short) is zero, in a copy. Raises MapError for an address where nothing is."""
        now = self._now
        if now is not None:
            at = now.done - 1
            if self._slots is not None and data == self._base + at * now.stride:
                return self._slots[at].event
            if isinstance(data, int) and 0 <= data - now.address < len(now.memory):
                return self._view(now, data - now.address)
        return self.Event.from_buffer_copy(self._memory_at(data, ctypes.sizeof(self.Event)))

    def _memory_at(self, data: Any, size: int) -> bytes:
        """size bytes of this process at an address that somebody gave us."""
        address = data if isinstance(data, int) else ctypes.cast(data, ctypes.c_void_p).value or 0
        for one in self._recent:
            if 0 <= address - one.address <= len(one.memory) - size:
                return bytes(one.memory[address - one.address :][:size])
        found = memory_at(address, size)
        if len(found) < size:
            raise MapError(f"reading a record of {self.name}: {size} bytes at address {address:#x} cannot be read", self.name)
        return found

    def _view(self, records: Records, offset: int) -> Any:
        offsets, sizes = records.places
        at = bisect.bisect_right(offsets, offset) - 1
        room = offsets[at] + sizes[at] - offset if at >= 0 else 0
        size = ctypes.sizeof(self.Event)
        if room <= 0:
            raise MapError(f"reading a record of {self.name}: there is none at byte {offset} of what was read", self.name)
        if room < size:
            return self.Event.from_buffer_copy(bytes(records.memory[offset : offset + room]).ljust(size, b"\0"))
        return self.Event.from_buffer(records.memory, offset)

    def _show(self, records: Records) -> None:
        """From now on event() is asked about these."""
        self._now, self._slots = records, None
        self._recent.append(records)
        if records.stride and self._event_type is not None and records.size >= ctypes.sizeof(self.Event):
            kind = self._slot_class(records.stride, records.size)
            if kind is not None:
                self._slots = (kind * records.count).from_buffer(records.memory, records.first)
                self._base = records.address + records.first

    def _slot_class(self, stride: int, size: int) -> Any:
        """A record and what lies between it and the next; None for a plain number, which ctypes would give as an int."""
        if issubclass(self.Event, ctypes._SimpleCData):
            return None
        made = self._slot_classes.get((stride, size))
        if made is None:
            gap = stride - ctypes.sizeof(self.Event)
            rows = [("event", self.Event), *([("gap", ctypes.c_char * gap)] if gap else [])]
            made = self._slot_classes[stride, size] = type("Slot", (ctypes.Structure,), {"_pack_": 1, "_layout_": "ms", "_fields_": rows})
        return made

    def _opened(self, ring: Ring, deliver: Callable[[Records], bool]) -> None:
        if self.ring is not None:
            self.ring.close()
        ring.on_records = deliver
        self.ring = ring

    def __iter__(self) -> Iterator[Any]:
        """Every record as it comes, as an instance of its C type (as bytes, where that is not known), until the kernel has
        none any more. Opens the buffer if nobody has; while it goes on, callbacks get nothing."""
        with self._collecting() as ring:
            while True:
                while self._waiting:
                    yield self._waiting.popleft()
                if self.ring is not ring or (not self.kernel.poll([ring], -1) and self.kernel.is_finished):
                    return

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The same for `async for`; other tasks run while it waits."""
        asyncio = importlib.import_module("asyncio")
        with self._collecting() as ring:
            while True:
                while self._waiting:
                    yield self._waiting.popleft()
                if self.ring is not ring:
                    return
                if ring.fds:
                    if not self.kernel.poll([ring], 0):  # a perf ring says only once that there is something
                        await _readable(asyncio.get_running_loop(), ring.fds)
                elif not self.kernel.poll([ring], _STEP_MS) and self.kernel.is_finished:
                    return
                await asyncio.sleep(0)

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[Ring]:
        """The reading side, whose records are kept in _waiting meanwhile."""
        if self.ring is None:
            self._open_for_batches()
        ring = self.ring
        assert ring is not None, "it was opened"
        before, ring.on_records = ring.on_records, self._collect
        try:
            yield ring
        finally:
            if self.ring is ring:
                ring.on_records = before

    def _collect(self, records: Records) -> bool:
        self._show(records)
        offsets, sizes = records.places
        while records.done < records.count:
            at = records.done
            records.done = at + 1
            if self._slots is not None:
                self._waiting.append(self._slots[at].event)
            elif self._event_type is not None:
                self._waiting.append(self._view(records, offsets[at]))
            else:
                self._waiting.append(bytes(records.memory[offsets[at] : offsets[at] + sizes[at]]))
        return True

    def read_batch(self) -> Any:
        """Every record that is there, taken out of the ring: a NumPy structured array, one element a record, with the
        fields of its C type, in order (of several CPUs: one CPU's after the other's). What a callback would have got, it
        then does not get. Opens the buffer if nobody has. `lost` says how many found no room.

        What a program sent less than the type is zero. Raises NotSupportedError without NumPy (pip install numpy)."""
        numpy = _numpy()
        if self.ring is None:
            self._open_for_batches()
        assert self.ring is not None, "it was opened"
        dtype = _dtype_of(numpy, self.Event)
        parts = [self._as_array(numpy, dtype, one) for one in self.ring.take_all()]
        return numpy.concatenate(parts) if len(parts) > 1 else parts[0] if parts else numpy.empty(0, dtype)

    def _as_array(self, numpy: Any, dtype: Any, records: Records) -> Any:
        count = records.count - records.done
        if records.stride and records.size >= dtype.itemsize:
            first = records.first + records.done * records.stride
            # as plain bytes: NumPy copies a structure field by field
            raw = numpy.ndarray((count,), f"V{dtype.itemsize}", records.memory, first, (records.stride,)).copy()
            return raw.view(dtype)
        made = numpy.empty(count, dtype)
        for at, record in enumerate(records):
            made[at] = numpy.frombuffer(bytes(record[: dtype.itemsize]).ljust(dtype.itemsize, b"\0"), dtype)[0]
        return made

    def _open_for_batches(self) -> None:
        """Opens the reading side for whoever wants no callback."""

    def close(self) -> None:
        """Closes the reading side, once."""
        ring, self.ring = self.ring, None
        if ring is not None:
            ring.close()


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        raise NotSupportedError("reading records in a batch needs NumPy (pip install numpy)", "numpy") from error


def _dtype_of(numpy: Any, kind: Any) -> Any:
    """NumPy's type of a ctypes class: text is bytes without the zeros behind it, padding has no name, a union is raw bytes."""
    if issubclass(kind, ctypes.Array):
        if kind._type_ is ctypes.c_char:
            return numpy.dtype(f"S{kind._length_}")
        return numpy.dtype((_dtype_of(numpy, kind._type_), (kind._length_,)))
    if issubclass(kind, ctypes.Union):
        return numpy.dtype(f"V{ctypes.sizeof(kind)}")
    if not issubclass(kind, ctypes.Structure):
        return numpy.dtype(kind)
    rows = [(name, _dtype_of(numpy, type), getattr(kind, name).offset) for name, type, *_ in kind._fields_
            if not is_hidden(name)]
    names, formats, offsets = ([row[at] for row in rows] for at in range(3))
    return numpy.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": ctypes.sizeof(kind)})


async def _readable(loop: Any, fds: list[int]) -> None:
    """Waits until one of the descriptors can be read."""
    there = loop.create_future()

    def tell() -> None:
        if not there.done():
            there.set_result(None)

    for fd in fds:
        loop.add_reader(fd, tell)
    try:
        await there
    finally:
        for fd in fds:
            loop.remove_reader(fd)


class PerfEventArray(_Records, DescriptorArray):
    """BPF_PERF_OUTPUT: records by CPU. BPF_PERF_ARRAY: counters by CPU."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._counters: Counters | None = None

    def open_perf_buffer(
        self, callback: Callable[[int, Any, int], object], page_cnt: int = 8, lost_cb: Callable[[int], object] | None = None,
        wakeup_events: int = 1,
    ) -> None:
        """Has polling call callback(cpu, data, size) for every record, and lost_cb(count) when some were lost (without
        it, a line on stderr). data: the record's address, for event(); size: in bytes, the kernel's padding included.
        page_cnt: for each CPU, a power of two. wakeup_events is accepted for BCC's sake."""
        if page_cnt < 1 or page_cnt & (page_cnt - 1):
            raise MapError(f"opening perf buffer {self.name}: page_cnt {page_cnt} is not a power of two", self.name)

        def lost(cpu: int, count: int) -> None:
            if lost_cb is not None:
                lost_cb(count)
            else:
                sys.stderr.write(f"Possibly lost {count} samples\n")

        def deliver(records: Records) -> bool:
            self._show(records)
            offsets, sizes = records.places
            cpu, base = records.cpu, records.address
            while records.done < records.count:
                at = records.done
                records.done = at + 1
                callback(cpu, base + offsets[at], sizes[at])
                if self._now is not records:  # the callback has read on
                    self._show(records)
            return True

        self._opened(self.kernel.open_perf_buffer(self.map, _nobody, lost, page_cnt), deliver)

    def _open_for_batches(self) -> None:
        self.open_perf_buffer(_nobody, _BATCH_PAGES, _nobody)

    def open_perf_event(self, typ: int, config: int, pid: int = -1) -> None:
        """Opens a counter on each online CPU, which programs read with perf_read(). typ, config: of perf_event_attr
        (PerfType, PerfHWConfig, PerfSWConfig). pid: of the process to count, -1 for all.

        Raises NotSupportedError, AttachError; then ctypes.get_errno() is the errno, which BCC's scripts look at."""
        self._close_counters()
        try:
            self._counters = self.kernel.open_perf_event(self.map, int(typ), int(config), pid)
        except (AttachError, NotSupportedError) as error:
            ctypes.set_errno(getattr(error, "errno", 0) or errno.ENOENT)
            raise

    def __delitem__(self, key: Any) -> None:
        """Empties a CPU's place and closes its counter; nothing where nothing was opened."""
        raw = self._key_bytes(key)
        if self._counters is not None:
            self._counters.close_cpu(int.from_bytes(raw, sys.byteorder))
        elif self.ring is not None:
            with contextlib.suppress(KeyNotFound):
                self.map.delete(raw)

    def _first_contents(self, count: int) -> list[str]:
        return []  # they cannot be read from here

    def _close_counters(self) -> None:
        counters, self._counters = self._counters, None
        if counters is not None:
            counters.close()

    def close(self) -> None:
        """Closes the reading side and the counters, once."""
        super().close()
        self._close_counters()


class RingBuf(_Records):
    """BPF_RINGBUF_OUTPUT: records of all CPUs in one order."""

    def open_ring_buffer(self, callback: Callable[[Any, Any, int], object], ctx: Any = None) -> None:
        """Has polling call callback(ctx, data, size) for every record; an int below zero ends that poll."""

        def deliver(records: Records) -> bool:
            self._show(records)
            offsets, sizes = records.places
            base = records.address
            while records.done < records.count:
                at = records.done
                records.done = at + 1
                answer = callback(ctx, base + offsets[at], sizes[at])
                if answer is not None and isinstance(answer, int) and answer < 0:
                    return False
                if self._now is not records:  # the callback has read on
                    self._show(records)
            return True

        self._opened(self.kernel.open_ring_buffer(self.map, _nobody), deliver)

    def _open_for_batches(self) -> None:
        self.open_ring_buffer(_nobody)

    def __len__(self) -> int:
        return 0

    def _raw_keys(self) -> list[bytes]:
        return []

    def _first_contents(self, count: int) -> list[str]:
        return []


class UserRingBuf(MapView):
    """A ring that Python writes and programs drain (bpf_user_ringbuf_drain)."""

    _ring: UserRing | None = None

    def submit(self, sample: Any) -> bool:
        """Puts in one sample: bytes, or a ctypes instance. False where there is no room for it now. Raises MapError for one
        that never has room."""
        if self._ring is None:
            self._ring = self.kernel.open_user_ring_buffer(self.map)
        return self._ring.write(bytes(sample))

    def close(self) -> None:
        """Closes the writing side, once; samples stay for programs."""
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.close()


def _nobody(*given: object) -> None:
    """Takes what nobody waits for."""
