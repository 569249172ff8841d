"""Reading rings: records are taken out of a ring many at a time, and handed over one at a time.

A Reader owns the reading side of a perf event array or a ring buffer; what kind of ring it is, its subclass knows. Records
is what it takes out at once: one copy of the ring's bytes, in which each record is a place. Whoever keeps a record, or
a view of it, keeps that memory and nothing of the ring, so a callback may raise, close the ring or poll again: no record is
seen twice, and none is lost that was there."""

from __future__ import annotations

import abc
import ctypes
from collections.abc import Callable, Iterator

__all__ = ["CHUNK_BYTES", "Reader", "Records", "each", "each_of_cpu"]

CHUNK_BYTES = 65536  # what is taken at once for callbacks: a record that is kept keeps no more


class Records:
    """Records of one CPU's ring, in order. memory: their bytes, with the ring's own headers between them. offsets, sizes: of
    each record in memory, in bytes, asked for when first needed. stride: bytes from each record to the next where they
    are all alike, else 0 (then memory goes on for first bytes behind the last); first, size: the first one's offset and size. lost: how many records were lost behind these.
    done: how many were handed over."""

    __slots__ = ("_address", "_index", "_places", "count", "cpu", "done", "first", "lost", "memory", "size", "stride")

    def __init__(
        self, cpu: int, memory: bytearray, count: int, index: Callable[[], tuple[list[int], list[int]]], *, first: int = 0,
        size: int = 0, stride: int = 0, lost: int = 0,
    ) -> None:
        self.cpu = cpu
        self.memory = memory
        self.count = count
        self.first = first
        self.size = size
        self.stride = stride
        self.lost = lost
        self.done = 0
        self._index = index
        self._places: tuple[list[int], list[int]] | None = None
        self._address = 0

    @property
    def places(self) -> tuple[list[int], list[int]]:
        """(offsets, sizes)."""
        if self._places is None:
            self._places = self._index()
        return self._places

    @property
    def address(self) -> int:
        """Where memory is in this process."""
        if not self._address and self.memory:
            self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        return self._address

    def __iter__(self) -> Iterator[memoryview]:
        """The records that were not handed over yet; each counts as handed over when it is given."""
        whole = memoryview(self.memory)
        offsets, sizes = self.places
        while self.done < self.count:  # whoever gets one may read on himself, or close the ring
            at = self.done
            self.done = at + 1
            yield whole[offsets[at] : offsets[at] + sizes[at]]

    def forget(self) -> None:
        """What was not handed over never will be."""
        self.count = self.done


def each(callback: Callable[[memoryview], object]) -> Callable[[Records], bool]:
    """on_records of a reader that calls back for each record; an int below zero ends that consume()."""

    def deliver(records: Records) -> bool:
        for record in records:
            answer = callback(record)
            if isinstance(answer, int) and answer < 0:
                return False
        return True

    return deliver


def each_of_cpu(callback: Callable[[int, memoryview], object]) -> Callable[[Records], bool]:
    """The same with the CPU in front; nothing ends it."""

    def deliver(records: Records) -> bool:
        for record in records:
            callback(records.cpu, record)
        return True

    return deliver


class Reader(abc.ABC):
    """The reading side of rings. on_records: gets the records and hands over those that are not done; False ends this
    consume() (the rest is kept for the next). on_lost: gets a CPU and a count."""

    def __init__(self, on_records: Callable[[Records], bool], on_lost: Callable[[int, int], None] | None = None) -> None:
        self.on_records = on_records
        self.current: Records | None = None  # what is being handed over
        self.lost = 0  # records that found no room, as far as the reader was told
        self._on_lost = on_lost

    @abc.abstractmethod
    def _ends(self) -> list[int]:
        """Where each ring ends now."""

    @abc.abstractmethod
    def _take(self, at: int, end: int, room: int) -> Records | None:
        """The oldest records of the at-th ring, out of it, up to its place end and at most about room bytes of them (0: no
        limit, one record at least). None if there is none, or its program has not finished it."""

    @property
    @abc.abstractmethod
    def is_open(self) -> bool: ...

    @property
    def fds(self) -> list[int]:
        """What to poll; nothing where time is virtual."""
        return []

    @property
    def has_kept(self) -> bool:
        """Whether records that were taken wait to be handed over."""
        return self.current is not None

    def consume(self) -> int:
        """Hands over every record that was there at the call; how many."""
        if not self.is_open:
            return 0
        count = 0
        if self.current is not None:
            handed, goes_on = self._hand_over(self.current)
            count += handed
            if not goes_on:
                return count
        for at, end in enumerate(self._ends()):
            while self.is_open and (records := self._take(at, end, CHUNK_BYTES)) is not None:
                handed, goes_on = self._hand_over(records)
                count += handed
                if not goes_on:
                    return count
        return count

    def _hand_over(self, records: Records) -> tuple[int, bool]:
        before = records.done
        self.current = records
        goes_on = True
        try:
            if records.done < records.count:
                goes_on = self.on_records(records)
        finally:
            if records.done >= records.count or not self.is_open:
                self.current = None
        if self.current is None and records.lost and self.is_open:
            self._tell_lost(records)
        return records.done - before, goes_on and self.is_open

    def _tell_lost(self, records: Records) -> None:
        self.lost += records.lost
        if self._on_lost is not None:
            self._on_lost(records.cpu, records.lost)

    def forget_kept(self) -> None:
        """For close(): what was taken and not handed over never will be."""
        if self.current is not None:
            self.current.forget()
            self.current = None

    def take_all(self) -> list[Records]:
        """Everything that is there, taken out of the rings and not handed over."""
        found = [] if self.current is None else [self.current]
        self.current = None
        for at, end in enumerate(self._ends() if self.is_open else []):
            while (records := self._take(at, end, 0)) is not None:
                self.lost += records.lost
                found.append(records)
        return found
