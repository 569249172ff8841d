"""perf.data files: what `perf record -o FILE` wrote, read byte for byte.

Input: a path. Output: PerfData, which holds the header's facts (host, kernel, CPUs, command line, event
attributes with their ids, event formats) and gives the records in the order of time.

Invariants: no size or offset from the file is used before it is checked against what contains it, so any
bytes give records or an ObjectError with the offset; the raw payload of a sample is what the kernel wrote.
Memory is bounded: records are read one after another, and only a window of them is held for sorting.

Algorithm: each CPU's records are in order, but the CPUs' buffers were written one after another. perf ends
a turn through all buffers with FINISHED_ROUND; what happened before the newest record of the round before
the last one cannot be overtaken any more, so a heap is emptied up to that time at each such mark. Where
marks are missing the heap is cut to half when it holds _WINDOW_BYTES. A record without a time is
handed on at once.

Refused in words: the other byte order, compressed and AUX area recordings, piped and directory recordings.

Source: tools/perf/Documentation/perf.data-file-format.txt; include/uapi/linux/perf_event.h;
tools/lib/traceevent's reading of trace-cmd's header in the tracing data; perf's ordered-events.c."""

from __future__ import annotations

import heapq
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bcc_py.errors import ObjectError
from cfront.tracepoint import TracepointFormat, parse_format

__all__ = ["Comm", "Exit", "Fork", "Lost", "Mmap", "Other", "PerfAttr", "PerfData", "PerfHeader", "Record", "Sample", "read_perf_data"]

_MAGIC, _SWAPPED, _VERSION_1 = b"PERFILE2", b"2ELIFREP", b"PERFFILE"
_HEADER_BYTES, _PIPE_HEADER_BYTES = 104, 16
_MIN_ATTR_BYTES, _MAX_ATTR_BYTES = 64, 4096
_WINDOW_BYTES = 64 << 20

# bits of the header's features
_TRACING_DATA, _HOSTNAME, _OSRELEASE, _VERSION, _ARCH, _NRCPUS, _CMDLINE, _EVENT_DESC = 1, 3, 4, 5, 6, 7, 11, 12
_AUXTRACE, _DIR_FORMAT, _COMPRESSED = 18, 24, 27
_REFUSED_FEATURES = {
    _AUXTRACE: "it holds AUX area (hardware) traces, which are not supported",
    _DIR_FORMAT: "it is part of a recording in a directory (record without --threads)",
    _COMPRESSED: "it is compressed (record without -z, or rewrite it with perf inject)",
}

# enum perf_event_type, and perf's own from 64 on
_MMAP, _LOST, _COMM, _EXIT, _FORK, _SAMPLE, _MMAP2 = 1, 2, 3, 4, 7, 9, 10
_FINISHED_ROUND, _AUXTRACE_RECORD, _COMPRESSED_RECORD, _COMPRESSED2_RECORD = 68, 71, 81, 83
_USER_TYPES = 64
_MISC_COMM_EXEC = 1 << 13

# enum perf_event_sample_format
_IP, _TID, _TIME, _ADDR, _READ, _CALLCHAIN, _ID, _CPU, _PERIOD, _STREAM_ID, _RAW = (1 << bit for bit in range(11))
_IDENTIFIER = 1 << 16
_SAMPLE_ID_ALL = 1 << 18  # bit of the attribute's flags
_FORMAT_ENABLED, _FORMAT_RUNNING, _FORMAT_ID, _FORMAT_GROUP, _FORMAT_LOST = (1 << bit for bit in range(5))

_RECORD_HEAD = struct.Struct("<IHH")
_U32, _U64, _U32_PAIR, _U64_PAIR = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<II"), struct.Struct("<QQ")
_TASK = struct.Struct("<IIIIQ")


@dataclass(frozen=True, slots=True)
class PerfAttr:
    """One event that was recorded: the fields of struct perf_event_attr that matter for reading.

    ids: the numbers that its samples carry. name: as perf lists it ("sched:sched_switch"), "" if it does not."""

    type: int
    config: int
    sample_period: int
    sample_type: int
    read_format: int
    flags: int
    ids: tuple[int, ...] = ()
    name: str = ""

    @property
    def has_sample_id(self) -> bool:
        """Whether records other than samples end with who, when and where."""
        return bool(self.flags & _SAMPLE_ID_ALL)


@dataclass(frozen=True, slots=True)
class PerfHeader:
    """What the file says of the machine and the run; "" or 0 where it does not."""

    hostname: str = ""
    os_release: str = ""
    version: str = ""
    arch: str = ""
    cpus_available: int = 0
    cpus_online: int = 0
    command_line: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What all records have. offset: in the file. time_ns, pid, tid, cpu: -1 where they were not recorded."""

    offset: int
    time_ns: int
    pid: int
    tid: int
    cpu: int


@dataclass(frozen=True, slots=True)
class Sample(Record):
    """An event that happened. raw: a tracepoint's record with the kernel's padding at its end, b"" if it has none."""

    attr: PerfAttr
    ip: int
    id: int
    period: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Comm(Record):
    """A task's new name. of_pid, of_tid: the task. is_exec: by executing a program."""

    of_pid: int
    of_tid: int
    comm: str
    is_exec: bool


@dataclass(frozen=True, slots=True)
class Fork(Record):
    """A new task of_pid/of_tid, made by parent_pid/parent_tid."""

    of_pid: int
    of_tid: int
    parent_pid: int
    parent_tid: int


@dataclass(frozen=True, slots=True)
class Exit(Record):
    """A task's end; the fields as of Fork."""

    of_pid: int
    of_tid: int
    parent_pid: int
    parent_tid: int


@dataclass(frozen=True, slots=True)
class Mmap(Record):
    """Executable memory was mapped in of_pid. address and length in bytes."""

    of_pid: int
    of_tid: int
    address: int
    length: int
    page_off: int
    filename: str


@dataclass(frozen=True, slots=True)
class Lost(Record):
    """count events were lost because a buffer was full."""

    id: int
    count: int


@dataclass(frozen=True, slots=True)
class Other(Record):
    """A record of a type that replaying does not need."""

    type: int


class _Cursor:
    """Reads forward through one section that is wholly in memory; refuses what lies outside."""

    def __init__(self, content: bytes, section: str, base: int = 0) -> None:
        self._content = content
        self._section = section
        self._base = base
        self._at = 0

    def malformed(self, message: str) -> ObjectError:
        return ObjectError(f"reading perf.data: {message}", self._section, self._base + self._at)

    def take(self, size: int, what: str) -> bytes:
        if size > len(self._content) - self._at:
            raise self.malformed(f"{what} of {size} bytes, {len(self._content) - self._at} are left")
        self._at += size
        return self._content[self._at - size : self._at]

    def u8(self, what: str) -> int:
        return self.take(1, what)[0]

    def u32(self, what: str) -> int:
        return int(_U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack(self.take(8, what))[0])

    def c_string(self, what: str) -> str:
        end = self._content.find(b"\0", self._at)
        if end < 0:
            raise self.malformed(f"{what} has no end")
        text = self._content[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return text

    def string(self, what: str) -> str:
        """perf's: a 32-bit length, then that many bytes, padded with zeros."""
        return self.take(self.u32(what), what).partition(b"\0")[0].decode("utf-8", "replace")

    def count(self, each_bytes: int, what: str) -> int:
        """A 32-bit number of things, each of at least so many bytes."""
        number = self.u32(what)
        if number * each_bytes > len(self._content) - self._at:
            raise self.malformed(f"{number} {what}, {len(self._content) - self._at} bytes are left")
        return number


class _Layout:
    """Where things are in the samples and the trailers of one attribute, in bytes."""

    __slots__ = ("attr", "fixed_bytes", "offsets", "trailer_bytes", "trailer_offsets")

    def __init__(self, attr: PerfAttr) -> None:
        self.attr = attr
        self.offsets, self.fixed_bytes = _word_offsets(
            attr.sample_type, (_IDENTIFIER, _IP, _TID, _TIME, _ADDR, _ID, _STREAM_ID, _CPU, _PERIOD))
        self.trailer_offsets, self.trailer_bytes = _word_offsets(
            attr.sample_type, (_TID, _TIME, _ID, _STREAM_ID, _CPU, _IDENTIFIER))


def _word_offsets(sample_type: int, order: tuple[int, ...]) -> tuple[dict[int, int], int]:
    present = [bit for bit in order if sample_type & bit]
    return {bit: 8 * index for index, bit in enumerate(present)}, 8 * len(present)


class PerfData:
    """An open recording. records() may be called again, and starts anew.

    Raises ObjectError for a file that is malformed, cut off or of a kind that is not read; OSError as open() does."""

    def __init__(self, path: str) -> None:
        self._file: BinaryIO = open(path, "rb", buffering=1 << 16)  # noqa: SIM115 - closed by close()
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._read_header()
        except ObjectError:
            self._file.close()
            raise

    # ---- the header ----

    def _read_header(self) -> None:
        head = _Cursor(self._at(0, min(_HEADER_BYTES, self._size), "header"), "header")
        self._check_magic(head)
        attr_bytes = self._check_attr_bytes(head)
        attrs, self._data = self._section(head, "attributes"), self._section(head, "data")
        head.take(16, "event types")
        features = int.from_bytes(head.take(32, "features"), "little")
        if not self._data[1]:
            raise head.malformed("there are no data: the recording was not finished")
        self._sections = self._feature_sections(features)
        self.header = self._read_facts()
        names = self._read_names()
        self.attrs = tuple(self._read_attrs(attrs, attr_bytes, names))
        self.formats = self._read_formats()
        self._index_attrs()

    @staticmethod
    def _check_magic(head: _Cursor) -> None:
        magic = head.take(8, "magic")
        if magic == _SWAPPED:
            raise head.malformed("recorded on a big-endian machine, which is not supported")
        if magic == _VERSION_1:
            raise head.malformed("version 1 of the format (before Linux 2.6.35) is not supported")
        if magic != _MAGIC:
            raise head.malformed(f"not a perf.data file: it begins with {magic.hex()}")

    @staticmethod
    def _check_attr_bytes(head: _Cursor) -> int:
        header_bytes = head.u64("header size")
        if header_bytes == _PIPE_HEADER_BYTES:
            raise head.malformed("a piped recording is not supported (record with -o FILE)")
        if header_bytes != _HEADER_BYTES:
            raise head.malformed(f"a header of {header_bytes} bytes (expected {_HEADER_BYTES})")
        attr_bytes = head.u64("attribute size")
        if not _MIN_ATTR_BYTES + 16 <= attr_bytes <= _MAX_ATTR_BYTES:
            raise head.malformed(f"attributes of {attr_bytes} bytes each")
        return attr_bytes

    def _at(self, offset: int, size: int, what: str) -> bytes:
        """size bytes of the file from offset on."""
        if offset + size > self._size:
            raise ObjectError(f"reading perf.data: {what}: {size} bytes end beyond the file's {self._size}", "file", offset)
        self._file.seek(offset)
        content = self._file.read(size)
        if len(content) != size:
            raise ObjectError(f"reading perf.data: {what}: the file ended early", "file", offset + len(content))
        return content

    def _section(self, cursor: _Cursor, what: str) -> tuple[int, int]:
        """A struct perf_file_section: (offset, size), inside the file."""
        offset, size = _U64_PAIR.unpack(cursor.take(16, what))
        if size and offset + size > self._size:
            raise cursor.malformed(f"{what}: bytes {offset} to {offset + size} of a file of {self._size} (cut off?)")
        return offset, size

    def _feature_sections(self, features: int) -> dict[int, tuple[int, int]]:
        for bit, words in _REFUSED_FEATURES.items():
            if features >> bit & 1:
                raise ObjectError(f"reading perf.data: {words}", "header", 72)
        bits = [bit for bit in range(256) if features >> bit & 1]
        start = sum(self._data)
        cursor = _Cursor(self._at(start, 16 * len(bits), "feature table"), "feature table", start)
        return {bit: self._section(cursor, f"feature {bit}") for bit in bits}

    def _feature(self, bit: int, what: str) -> _Cursor | None:
        offset, size = self._sections.get(bit, (0, 0))
        return _Cursor(self._at(offset, size, what), what, offset) if size else None

    def _read_facts(self) -> PerfHeader:
        def text(bit: int, what: str) -> str:
            cursor = self._feature(bit, what)
            return cursor.string(what) if cursor else ""

        cpus, words = self._feature(_NRCPUS, "nrcpus"), self._feature(_CMDLINE, "cmdline")
        return PerfHeader(
            text(_HOSTNAME, "hostname"), text(_OSRELEASE, "osrelease"), text(_VERSION, "version"), text(_ARCH, "arch"),
            cpus.u32("nrcpus") if cpus else 0, cpus.u32("nrcpus") if cpus else 0,
            tuple(words.string("argument") for _ in range(words.count(4, "arguments"))) if words else ())

    def _read_names(self) -> dict[int, str]:
        """The events' names by id, from the event descriptions."""
        cursor = self._feature(_EVENT_DESC, "event_desc")
        if cursor is None:
            return {}
        names: dict[int, str] = {}
        events, attr_bytes = cursor.u32("events"), cursor.u32("attribute size")
        if attr_bytes < _MIN_ATTR_BYTES:
            raise cursor.malformed(f"attributes of {attr_bytes} bytes each")
        for _ in range(events):
            cursor.take(attr_bytes, "attribute")
            ids = cursor.u32("ids")
            name = cursor.string("event name")
            names.update(dict.fromkeys(_u64s(cursor.take(8 * ids, "ids")), name))
        return names

    def _read_attrs(self, section: tuple[int, int], attr_bytes: int, names: dict[int, str]) -> Iterator[PerfAttr]:
        offset, size = section
        if not size or size % attr_bytes:
            raise ObjectError(f"reading perf.data: {size} bytes of attributes, {attr_bytes} each", "header", 24)
        cursor = _Cursor(self._at(offset, size, "attributes"), "attributes", offset)
        held = 0
        for _ in range(size // attr_bytes):
            content = cursor.take(attr_bytes - 16, "attribute")
            where, length = self._section(cursor, "ids")
            held += length
            if length % 8 or held > self._size:
                raise cursor.malformed(f"ids of {length} bytes")
            ids = _u64s(self._at(where, length, "ids")) if length else ()
            kind, _, config, period, sample_type, read_format, flags = struct.unpack_from("<IIQQQQQ", content)
            name = next((names[one] for one in ids if one in names), "")
            yield PerfAttr(kind, config, period, sample_type, read_format, flags, ids, name)

    # ---- the tracing data ----

    def _read_formats(self) -> dict[int, TracepointFormat]:
        """The formats of the recorded tracepoints by id (common_type, and an attribute's config)."""
        cursor = self._feature(_TRACING_DATA, "tracing_data")
        if cursor is None:
            return {}
        self._skip_tracing_head(cursor)
        formats: dict[int, TracepointFormat] = {}
        for _ in range(cursor.count(8, "ftrace formats")):
            self._format(cursor, "ftrace", formats)
        for _ in range(cursor.count(5, "systems")):
            category = cursor.c_string("system")
            for _ in range(cursor.count(8, "events")):
                self._format(cursor, category, formats)
        return formats

    @staticmethod
    def _skip_tracing_head(cursor: _Cursor) -> None:
        if cursor.take(10, "magic") != b"\x17\x08\x44tracing":
            raise cursor.malformed("the tracing data do not begin with their magic")
        version = cursor.c_string("version")
        if version not in ("0.5", "0.6"):
            raise cursor.malformed(f"tracing data of version {version[:20]!r} (0.5 and 0.6 are known)")
        if cursor.u8("byte order"):
            raise cursor.malformed("tracing data of a big-endian machine are not supported")
        if cursor.u8("size of long") != 8:
            raise cursor.malformed("tracing data of a 32-bit machine are not supported")
        cursor.u32("page size")
        for name in ("header_page", "header_event"):
            if cursor.c_string(name) != name:
                raise cursor.malformed(f"expected {name}")
            cursor.take(cursor.u64(name), name)

    @staticmethod
    def _format(cursor: _Cursor, category: str, formats: dict[int, TracepointFormat]) -> None:
        text = cursor.take(cursor.u64("format"), "format").decode("utf-8", "replace")
        fmt = parse_format(text, category)
        formats.setdefault(fmt.id, fmt)

    # ---- records ----

    def _index_attrs(self) -> None:
        self._layouts = [_Layout(attr) for attr in self.attrs]
        self._by_id = {one: layout for layout in self._layouts for one in layout.attr.ids}
        first = self._layouts[0]
        self._id_offset = first.offsets.get(_IDENTIFIER, first.offsets.get(_ID))
        self._id_from_end = _id_from_end(first)
        for one in self._layouts:
            same = one.offsets.get(_IDENTIFIER, one.offsets.get(_ID)) == self._id_offset
            if not same or _id_from_end(one) != self._id_from_end or one.attr.has_sample_id != first.attr.has_sample_id:
                raise ObjectError("reading perf.data: the events' samples hold their ids in different places", "attributes")
        if self._id_offset is None and len({one.attr.sample_type for one in self._layouts}) > 1:
            raise ObjectError("reading perf.data: several events, and samples without ids", "attributes")

    def format_of(self, attr: PerfAttr) -> TracepointFormat | None:
        """The format of a recorded tracepoint; None for other events."""
        return self.formats.get(attr.config) if attr.type == 2 else None

    def records(self) -> Iterator[Record]:
        """All records in the order of time; those without a time where they stand in the file."""
        heap: list[tuple[int, int, int, Record]] = []
        held = newest = flush_to = 0
        for number, (record, size) in enumerate(self.records_in_file_order()):
            if isinstance(record, Other) and record.type == _FINISHED_ROUND:
                while heap and heap[0][0] <= flush_to:
                    held -= heap[0][2]
                    yield heapq.heappop(heap)[3]
                flush_to = newest
            elif record.time_ns <= 0:
                yield record
            else:
                newest = max(newest, record.time_ns)
                heapq.heappush(heap, (record.time_ns, number, size, record))
                held += size
            if held > _WINDOW_BYTES:
                for _ in range(max(len(heap) // 2, 1)):
                    held -= heap[0][2]
                    yield heapq.heappop(heap)[3]
        while heap:
            yield heapq.heappop(heap)[3]

    def records_in_file_order(self) -> Iterator[tuple[Record, int]]:
        """Each record and its size in bytes, as they stand in the file."""
        at, size = self._data
        end = at + size
        while at < end:
            if end - at < 8:
                raise ObjectError(f"reading perf.data: {end - at} bytes are too few for a record", "data", at)
            kind, misc, length = _RECORD_HEAD.unpack(self._at(at, 8, "record"))
            if length < 8 or length > end - at:
                raise ObjectError(f"reading perf.data: a record of {length} bytes, {end - at} are left", "data", at)
            if kind in (_AUXTRACE_RECORD, _COMPRESSED_RECORD, _COMPRESSED2_RECORD):
                feature = _AUXTRACE if kind == _AUXTRACE_RECORD else _COMPRESSED
                raise ObjectError(f"reading perf.data: {_REFUSED_FEATURES[feature]}", "data", at)
            body = self._file.read(length - 8)
            if len(body) != length - 8:
                raise ObjectError("reading perf.data: the file ended early", "data", at + 8 + len(body))
            yield self._record(kind, misc, body, at), length
            at += length

    def _record(self, kind: int, misc: int, body: bytes, at: int) -> Record:
        if kind == _SAMPLE:
            return self._sample(body, at)
        if kind >= _USER_TYPES:
            return Other(at, -1, -1, -1, -1, kind)
        time_ns, pid, tid, cpu, own = self._trailer(body, at)
        try:
            return _side_record(kind, misc, own, (at, time_ns, pid, tid, cpu))
        except struct.error as error:
            raise ObjectError(f"reading perf.data: a record of type {kind} in {len(body) + 8} bytes", "data", at) from error

    def _layout(self, event_id: int | None, at: int, needs_known: bool) -> _Layout:
        if event_id is None or len(self._layouts) == 1:
            return self._layouts[0]
        found = self._by_id.get(event_id)
        if found is None:
            if needs_known:
                raise ObjectError(f"reading perf.data: a sample of event id {event_id}, which no attribute has", "data", at)
            return self._layouts[0]
        return found

    def _trailer(self, body: bytes, at: int) -> tuple[int, int, int, int, bytes]:
        """(time_ns, pid, tid, cpu, the record's own bytes)."""
        if not self._layouts[0].attr.has_sample_id:
            return -1, -1, -1, -1, body
        event_id = None
        if self._id_from_end is not None and len(body) >= self._id_from_end:
            event_id = _U64.unpack_from(body, len(body) - self._id_from_end)[0]
        layout = self._layout(event_id, at, False)
        start = len(body) - layout.trailer_bytes
        if start < 0:
            raise ObjectError(f"reading perf.data: a record of {len(body) + 8} bytes has no room for its trailer", "data", at)
        time_ns, pid, tid, cpu = _who(body, start, layout.trailer_offsets)
        return time_ns, pid, tid, cpu, body[:start]

    def _sample(self, body: bytes, at: int) -> Sample:
        event_id = None
        if self._id_offset is not None:
            if len(body) < self._id_offset + 8:
                raise ObjectError(f"reading perf.data: a sample of {len(body) + 8} bytes has no id", "data", at)
            event_id = _U64.unpack_from(body, self._id_offset)[0]
        layout = self._layout(event_id, at, True)
        if len(body) < layout.fixed_bytes:
            raise ObjectError(f"reading perf.data: a sample of {len(body) + 8} bytes is too short", "data", at)
        time_ns, pid, tid, cpu = _who(body, 0, layout.offsets)
        ip, period = (_U64.unpack_from(body, layout.offsets[bit])[0] if bit in layout.offsets else 0 for bit in (_IP, _PERIOD))
        raw = _raw(body, layout, at) if layout.attr.sample_type & _RAW else b""
        return Sample(at, time_ns, pid, tid, cpu, layout.attr, ip, event_id or 0, period, raw)

    def close(self) -> None:
        """Closes the file, once."""
        self._file.close()


def _u64s(content: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(content) // 8}Q", content)


def _id_from_end(layout: _Layout) -> int | None:
    """How far before a trailer's end the id is."""
    at = layout.trailer_offsets.get(_IDENTIFIER, layout.trailer_offsets.get(_ID))
    return None if at is None else layout.trailer_bytes - at


def _who(body: bytes, base: int, offsets: dict[int, int]) -> tuple[int, int, int, int]:
    """(time_ns, pid, tid, cpu) of the words at base + offsets; all are inside body. A time that no signed
    64-bit number holds was not recorded, and so was a pid of all ones (an event outside any task)."""
    time_ns = pid = tid = cpu = -1
    if _TIME in offsets:
        time_ns = _U64.unpack_from(body, base + offsets[_TIME])[0]
        if time_ns >> 63:
            time_ns = -1
    if _TID in offsets:
        pid, tid = _TASK_ID.unpack_from(body, base + offsets[_TID])
    if _CPU in offsets:
        cpu = _TASK_ID.unpack_from(body, base + offsets[_CPU])[0]
    return time_ns, pid, tid, cpu


_TASK_ID = struct.Struct("<ii")


def _raw(body: bytes, layout: _Layout, at: int) -> bytes:
    """The raw payload behind the fixed words, the counter values and the call chain."""
    offset = layout.fixed_bytes
    try:
        if layout.attr.sample_type & _READ:
            offset += _read_bytes(body, offset, layout.attr.read_format)
        if layout.attr.sample_type & _CALLCHAIN:
            offset += 8 + 8 * int(_U64.unpack_from(body, offset)[0])
        size = int(_U32.unpack_from(body, offset)[0])
    except (struct.error, OverflowError) as error:
        raise ObjectError(f"reading perf.data: a sample of {len(body) + 8} bytes ends before its payload", "data", at) from error
    if size > len(body) - offset - 4:
        raise ObjectError(f"reading perf.data: a payload of {size} bytes in a sample of {len(body) + 8}", "data", at)
    return body[offset + 4 : offset + 4 + size]


def _read_bytes(body: bytes, offset: int, read_format: int) -> int:
    """How long the counter values at offset are (struct read_format)."""
    times = bool(read_format & _FORMAT_ENABLED) + bool(read_format & _FORMAT_RUNNING)
    each = 1 + bool(read_format & _FORMAT_ID) + bool(read_format & _FORMAT_LOST)
    if not read_format & _FORMAT_GROUP:
        return 8 * (times + each)
    return 8 * (1 + times + each * int(_U64.unpack_from(body, offset)[0]))


def _text(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _side_record(kind: int, misc: int, own: bytes, who: tuple[int, int, int, int, int]) -> Record:
    """A record that is not a sample. Raises struct.error if own is too short for its type."""
    if kind == _COMM:
        pid, tid = _U32_PAIR.unpack_from(own)
        return Comm(*who, pid, tid, _text(own[8:]), bool(misc & _MISC_COMM_EXEC))
    if kind in (_FORK, _EXIT):
        pid, parent_pid, tid, parent_tid, time_ns = _TASK.unpack_from(own)
        made = Fork if kind == _FORK else Exit
        at, trailer_ns, on_pid, on_tid, cpu = who
        own_ns = -1 if time_ns >> 63 else time_ns
        return made(at, own_ns if trailer_ns < 0 else trailer_ns, on_pid, on_tid, cpu, pid, tid, parent_pid, parent_tid)
    if kind in (_MMAP, _MMAP2):
        pid, tid, address, length, page_off = struct.unpack_from("<IIQQQ", own)
        return Mmap(*who, pid, tid, address, length, page_off, _text(own[32 if kind == _MMAP else 64:]))
    if kind == _LOST:
        event_id, count = _U64_PAIR.unpack_from(own)
        return Lost(*who, event_id, count)
    return Other(*who, kind)


def read_perf_data(path: str) -> PerfData:
    """The recording at path, opened: see PerfData."""
    return PerfData(path)
