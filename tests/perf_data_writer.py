"""Writes small perf.data files, so that tests say what is in them.

    file = PerfFile(cpus=2)
    switch = file.event("sched", "sched_switch", 314, FORMAT_TEXT)
    file.comm(10, 10, "sh", time_ns=5)
    file.sample(switch, payload, pid=10, tid=10, cpu=1, time_ns=6)
    path.write_bytes(file.content())

Written from tools/perf/Documentation/perf.data-file-format.txt; the check is that perf itself reads it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

IP, TID, TIME, ADDR, READ, CALLCHAIN, ID, CPU, PERIOD, STREAM_ID, RAW = (1 << bit for bit in range(11))
IDENTIFIER = 1 << 16
USUAL = IP | TID | TIME | ID | CPU | PERIOD | RAW
TASK, SAMPLE_ID_ALL = 1 << 13, 1 << 18

COMMON = """\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""


def format_text(name: str, event_id: int, *fields: tuple[str, int, int]) -> str:
    """A format file. fields: (declaration, offset, size)."""
    rows = "".join(f"\tfield:{text};\toffset:{at};\tsize:{size};\tsigned:0;\n" for text, at, size in fields)
    return f'name: {name}\nID: {event_id}\nformat:\n{COMMON}\n{rows}\nprint fmt: ""\n'


def common(event_id: int, pid: int = 0) -> bytes:
    return struct.pack("<HBBi", event_id, 0, 0, pid)


@dataclass
class Event:
    category: str
    name: str
    id: int
    text: str
    ids: list[int]
    type: int = 2


@dataclass
class PerfFile:
    """A recording in the making. cpus: 0 leaves the number out of the header."""

    cpus: int = 2
    sample_type: int = USUAL
    read_format: int = 0
    flags: int = SAMPLE_ID_ALL | TASK
    attr_bytes: int = 128
    events: list[Event] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    extra_features: dict[int, bytes] = field(default_factory=dict)

    def event(self, category: str, name: str, event_id: int, text: str, type: int = 2) -> Event:
        made = Event(category, name, event_id, text, [100 + len(self.events)], type)
        self.events.append(made)
        return made

    # ---- records

    def record(self, kind: int, body: bytes, misc: int = 0) -> int:
        """Appends a record; the offset in the data."""
        at = len(self.data)
        self.data += struct.pack("<IHH", kind, misc, 8 + len(body)) + body
        return at

    def _trailer(self, pid: int, tid: int, cpu: int, time_ns: int, event_id: int) -> bytes:
        if not self.flags & SAMPLE_ID_ALL:
            return b""
        values = {TID: struct.pack("<ii", pid, tid), TIME: struct.pack("<Q", time_ns & (1 << 64) - 1),
                  ID: struct.pack("<Q", event_id), STREAM_ID: bytes(8), CPU: struct.pack("<II", cpu, 0),
                  IDENTIFIER: struct.pack("<Q", event_id)}
        return b"".join(value for bit, value in values.items() if self.sample_type & bit)

    def comm(self, pid: int, tid: int, comm: str | bytes, *, time_ns: int = 0, cpu: int = 0, is_exec: bool = False) -> None:
        text = comm.encode() if isinstance(comm, str) else comm
        name = text + bytes(8 - len(text) % 8)
        self.record(3, struct.pack("<II", pid, tid) + name + self._trailer(pid, tid, cpu, time_ns, self._first_id()),
                    1 << 13 if is_exec else 0)

    def _task(self, kind: int, pid: int, tid: int, ppid: int, ptid: int, time_ns: int) -> None:
        body = struct.pack("<IIIIQ", pid, ppid, tid, ptid, time_ns)
        self.record(kind, body + self._trailer(ppid, ptid, 0, time_ns, self._first_id()))

    def fork(self, pid: int, tid: int, ppid: int, ptid: int, *, time_ns: int) -> None:
        self._task(7, pid, tid, ppid, ptid, time_ns)

    def exit(self, pid: int, tid: int, ppid: int, ptid: int, *, time_ns: int) -> None:
        self._task(4, pid, tid, ppid, ptid, time_ns)

    def lost(self, count: int, *, time_ns: int) -> None:
        self.record(2, struct.pack("<QQ", self._first_id(), count) + self._trailer(0, 0, 0, time_ns, self._first_id()))

    def finished_round(self) -> None:
        self.record(68, b"")

    def sample(self, event: Event, raw: bytes, *, pid: int = 1, tid: int | None = None, cpu: int = 0, time_ns: int = 0,
               read: bytes = b"", callchain: tuple[int, ...] = ()) -> None:
        values = {
            IDENTIFIER: struct.pack("<Q", event.ids[0]), IP: struct.pack("<Q", 0xFFFF), 
            TID: struct.pack("<ii", pid, pid if tid is None else tid), TIME: struct.pack("<Q", time_ns), ADDR: bytes(8),
            ID: struct.pack("<Q", event.ids[0]), STREAM_ID: bytes(8), CPU: struct.pack("<II", cpu, 0),
            PERIOD: struct.pack("<Q", 1), READ: read,
            CALLCHAIN: struct.pack(f"<Q{len(callchain)}Q", len(callchain), *callchain),
            RAW: struct.pack("<I", len(raw)) + raw}
        body = b"".join(value for bit, value in values.items() if self.sample_type & bit)
        self.record(9, body + bytes(-len(body) % 8))

    def _first_id(self) -> int:
        return self.events[0].ids[0] if self.events else 0

    # ---- the file

    def content(self) -> bytes:
        header_bytes, ids_at = 104, 104
        ids = b"".join(struct.pack(f"<{len(one.ids)}Q", *one.ids) for one in self.events)
        attrs_at = ids_at + len(ids)
        attrs, at = b"", ids_at
        for one in self.events:
            attrs += self._attr(one) + struct.pack("<QQ", at, 8 * len(one.ids))
            at += 8 * len(one.ids)
        data_at = attrs_at + len(attrs)
        features = {1: self._tracing_data(), 3: _string("host"), 4: _string("6.18.0"), 6: _string("x86_64"),
                    7: struct.pack("<II", self.cpus, self.cpus),
                    11: struct.pack("<I", 2) + _string("perf") + _string("record"), 12: self._event_desc()}
        if not self.cpus:
            del features[7]
        features |= self.extra_features
        table_at = data_at + len(self.data)
        table, bodies = b"", b""
        for bit in sorted(features):
            table += struct.pack("<QQ", table_at + 16 * len(features) + len(bodies), len(features[bit]))
            bodies += features[bit]
        bits = sum(1 << bit for bit in features)
        head = b"PERFILE2" + struct.pack("<QQQQQQQQ", header_bytes, self.attr_bytes + 16, attrs_at, len(attrs), data_at,
                                         len(self.data), 0, 0) + bits.to_bytes(32, "little")
        assert len(head) == header_bytes
        return head + ids + attrs + bytes(self.data) + table + bodies

    def _attr(self, event: Event) -> bytes:
        fixed = struct.pack("<IIQQQQQ", event.type, self.attr_bytes, event.id, 1, self.sample_type, self.read_format, self.flags)
        return fixed + bytes(self.attr_bytes - len(fixed))

    def _event_desc(self) -> bytes:
        rows = b"".join(
            self._attr(one) + struct.pack("<I", len(one.ids)) + _string(f"{one.category}:{one.name}")
            + struct.pack(f"<{len(one.ids)}Q", *one.ids) for one in self.events)
        return struct.pack("<II", len(self.events), self.attr_bytes) + rows

    def _tracing_data(self) -> bytes:
        def block(text: str) -> bytes:
            return struct.pack("<Q", len(text)) + text.encode()

        by_category: dict[str, list[Event]] = {}
        for one in self.events:
            if one.type == 2:
                by_category.setdefault(one.category, []).append(one)
        made = b"\x17\x08\x44tracing" + b"0.6\0" + struct.pack("<BBI", 0, 8, 4096)
        made += b"header_page\0" + block(_HEADER_PAGE) + b"header_event\0" + block(_HEADER_EVENT) + struct.pack("<I", 0)
        made += struct.pack("<I", len(by_category))
        for category, rows in by_category.items():
            made += category.encode() + b"\0" + struct.pack("<I", len(rows)) + b"".join(block(one.text) for one in rows)
        return made + struct.pack("<IIQ", 0, 0, 0)


_HEADER_PAGE = """\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
"""
_HEADER_EVENT = "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\tarray       :   32 bits\n"


def _string(text: str) -> bytes:
    padded = text.encode() + bytes(64 - len(text) % 64)
    return struct.pack("<I", len(padded)) + padded
