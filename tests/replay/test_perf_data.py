"""perf_data against what perf itself says of the same files, against our writer, and against damage."""

from __future__ import annotations

import gzip
import re
import struct
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.errors import ObjectError
from bcc_py.sim.replay import perf_data
from bcc_py.sim.replay.perf_data import Comm, Exit, Fork, Lost, Mmap, Other, PerfData, Record, Sample, read_perf_data
from cfront.tracepoint import TracepointFormat
from tests.perf_data_writer import (
    ADDR,
    CALLCHAIN,
    CPU,
    ID,
    IDENTIFIER,
    IP,
    PERIOD,
    RAW,
    READ,
    STREAM_ID,
    TID,
    TIME,
    Event,
    PerfFile,
    common,
    format_text,
)

DATA = Path(__file__).parent.parent / "data"
# one line of `perf script --ns -F comm,pid,tid,cpu,time,event,trace`
SCRIPT_LINE = re.compile(
    r"\s*(?P<comm>.+?)\s+(?P<pid>\d+)/(?P<tid>\d+)\s+\[(?P<cpu>\d+)\]\s+(?P<s>\d+)\.(?P<ns>\d{9}):\s+(?P<event>\w+:\w+): (?P<trace>.*)")


def small_file(**how: int) -> tuple[PerfFile, Event, Event]:
    file = PerfFile(**how)
    one = file.event("sched", "one", 300, format_text("one", 300, ("int a", 8, 4)))
    two = file.event("net", "two", 301, format_text("two", 301, ("long b", 8, 8)))
    return file, one, two


def read(content: bytes, tmp_path: Path) -> PerfData:
    path = tmp_path / "x.perf.data"
    path.write_bytes(content)
    return read_perf_data(str(path))


def all_of(content: bytes, tmp_path: Path) -> list[Record]:
    data = read(content, tmp_path)
    try:
        return list(data.records())
    finally:
        data.close()


# ---- recordings


def decoded(fmt: TracepointFormat, name: str, raw: bytes) -> int | str:
    field = fmt.field(name)
    assert field is not None
    if field.is_data_loc:
        place = int.from_bytes(raw[field.offset : field.end], "little")
        return raw[place & 0xFFFF : (place & 0xFFFF) + (place >> 16)].rstrip(b"\0").decode()
    if field.array is not None:
        return raw[field.offset : field.end].partition(b"\0")[0].decode()
    return int.from_bytes(raw[field.offset : field.end], "little", signed=field.signed)


def expected_fields(trace: str) -> dict[str, str]:
    """What perf's print of the event says of its fields, by name."""
    if trace.startswith("0x"):
        return {"ret": trace}
    return {name: text for name, text in re.findall(r"(\w+)(?:=|: )([^\s,]+)", trace) if name != "sock_cookie"}  # hexadecimal


@pytest.mark.parametrize("name", ["build", "http"])
def test_every_sample_is_what_perf_says(name: str) -> None:
    lines = gzip.decompress((DATA / f"{name}.perf.script.gz").read_bytes()).decode().splitlines()
    data = read_perf_data(str(DATA / f"{name}.perf.data"))
    samples = [one for one in data.records() if isinstance(one, Sample)]
    assert len(samples) == len(lines)
    checked = 0
    for sample, line in zip(samples, lines, strict=True):
        found = SCRIPT_LINE.match(line)
        assert found, line
        fmt = data.format_of(sample.attr)
        assert fmt is not None and fmt.full_name == found["event"] == sample.attr.name
        assert (sample.pid, sample.tid, sample.cpu) == (int(found["pid"]), int(found["tid"]), int(found["cpu"]))
        assert sample.time_ns == int(found["s"]) * 10**9 + int(found["ns"])
        assert int.from_bytes(sample.raw[:2], "little") == fmt.id == sample.attr.config
        for field, text in expected_fields(found["trace"]).items():
            if fmt.field(field) is None:
                continue
            if re.fullmatch(r"0x[0-9a-f]+|-?\d+", text):
                value = decoded(fmt, field, sample.raw)
                assert isinstance(value, int) and (value - int(text, 0)) % (1 << 64) == 0, line
                checked += 1
            elif field in ("filename", "comm", "child_comm"):
                assert decoded(fmt, field, sample.raw) == text, line
                checked += 1
    assert checked > len(samples)
    data.close()


def test_build_has_the_counts_and_the_header_that_were_recorded() -> None:
    data = read_perf_data(str(DATA / "build.perf.data"))
    counts = Counter(one.attr.name for one in data.records() if isinstance(one, Sample))
    assert counts == {
        "sched:sched_process_exec": 34, "sched:sched_process_fork": 33, "sched:sched_process_exit": 34,
        "syscalls:sys_enter_execve": 47, "syscalls:sys_exit_execve": 48, "syscalls:sys_enter_openat": 896,
        "syscalls:sys_exit_openat": 896}
    header = data.header
    assert (header.hostname, header.os_release, header.version, header.arch) == ("vm", "6.18.44-fc-v657", "6.1.192", "x86_64")
    assert (header.cpus_available, header.cpus_online) == (2, 2)
    assert header.command_line[:3] == ("/usr/bin/perf", "record", "-q") and header.command_line[-2:] == ("--", "./job.sh")
    first = data.attrs[0]
    assert (first.name, first.ids, first.type, first.config, first.sample_period, first.read_format) == (
        "sched:sched_process_exec", (11363, 11364), 2, 0x16D, 1, 0x14)
    assert first.has_sample_id
    data.close()


def test_http_has_the_transitions_that_were_recorded() -> None:
    data = read_perf_data(str(DATA / "http.perf.data"))
    states = ("", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
              "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV")
    found: Counter[str] = Counter()
    for one in data.records():
        if isinstance(one, Sample) and one.attr.name == "sock:inet_sock_set_state":
            fmt = data.format_of(one.attr)
            assert fmt is not None
            old, new = decoded(fmt, "oldstate", one.raw), decoded(fmt, "newstate", one.raw)
            assert isinstance(old, int) and isinstance(new, int)
            found[f"{states[old]}->{states[new]}"] += 1
    assert found == {
        "CLOSE->SYN_SENT": 11, "SYN_SENT->ESTABLISHED": 10, "SYN_SENT->CLOSE": 1, "LISTEN->SYN_RECV": 10,
        "SYN_RECV->ESTABLISHED": 10, "ESTABLISHED->FIN_WAIT1": 10, "ESTABLISHED->CLOSE_WAIT": 10, "FIN_WAIT1->FIN_WAIT1": 10,
        "FIN_WAIT1->FIN_WAIT2": 10, "FIN_WAIT2->CLOSE": 10, "CLOSE_WAIT->LAST_ACK": 10, "LAST_ACK->CLOSE": 10,
        "CLOSE->LISTEN": 1}
    data.close()


def test_records_are_in_the_order_of_time_and_may_be_read_again() -> None:
    data = read_perf_data(str(DATA / "build.perf.data"))
    first = list(data.records())
    times = [one.time_ns for one in first if one.time_ns > 0]
    assert times == sorted(times)
    assert list(data.records()) == first
    assert Counter(type(one).__name__ for one in first) == {"Sample": 1988, "Mmap": 228, "Comm": 35, "Exit": 34, "Fork": 33, "Other": 5}
    data.close()


# ---- what the writer writes


def test_records_come_back_as_written(tmp_path: Path) -> None:
    file, one, two = small_file()
    file.comm(10, 11, "sh")
    file.comm(10, 11, "a name", time_ns=5, cpu=1, is_exec=True)
    file.fork(20, 21, 10, 11, time_ns=6)
    file.exit(20, 21, 10, 11, time_ns=7)
    file.sample(one, common(300) + b"abcdefg", pid=10, tid=11, cpu=1, time_ns=8)
    file.sample(two, b"", pid=-1, tid=-1, cpu=0, time_ns=9)
    file.lost(77, time_ns=10)
    file.record(1, struct.pack("<IIQQQ", 10, 11, 0x1000, 0x2000, 3) + b"/bin/x\0\0" + file._trailer(10, 11, 0, 11, 100))
    file.record(10, struct.pack("<IIQQQ", 10, 11, 0x1000, 0x2000, 3) + bytes(32) + b"/bin/y\0\0" + file._trailer(10, 11, 0, 12, 100))
    file.record(17, bytes(16) + file._trailer(10, 11, 0, 13, 100))
    records = all_of(file.content(), tmp_path)
    comm, renamed, fork, end, sample, empty, lost, mapped, mapped2, other = records
    assert isinstance(comm, Comm) and (comm.of_pid, comm.of_tid, comm.comm, comm.is_exec) == (10, 11, "sh", False)
    assert isinstance(renamed, Comm) and (renamed.comm, renamed.is_exec, renamed.time_ns, renamed.cpu) == ("a name", True, 5, 1)
    assert isinstance(fork, Fork) and (fork.of_pid, fork.of_tid, fork.parent_pid, fork.parent_tid) == (20, 21, 10, 11)
    assert isinstance(end, Exit) and (end.of_pid, end.of_tid, end.time_ns) == (20, 21, 7)
    assert isinstance(sample, Sample) and sample.raw[:15] == common(300) + b"abcdefg"
    assert (sample.pid, sample.tid, sample.cpu, sample.time_ns, sample.id, sample.period, sample.ip) == (10, 11, 1, 8, 100, 1, 0xFFFF)
    assert isinstance(empty, Sample) and (empty.raw, empty.pid, empty.tid, empty.attr.name) == (b"", -1, -1, "net:two")
    assert isinstance(lost, Lost) and lost.count == 77
    assert isinstance(mapped, Mmap) and (mapped.address, mapped.length, mapped.page_off, mapped.filename) == (0x1000, 0x2000, 3, "/bin/x")
    assert isinstance(mapped2, Mmap) and mapped2.filename == "/bin/y"
    assert isinstance(other, Other) and other.type == 17 and other.time_ns == 13


ORDERS = [
    IP | TID | TIME | CPU | PERIOD | RAW | ID, TID | TIME | RAW | IDENTIFIER, IDENTIFIER | IP | TID | TIME | ADDR | ID | STREAM_ID | CPU | RAW,
    TIME | ID | RAW, IP | TID | TIME | ID | CPU | READ | RAW, TID | TIME | ID | CALLCHAIN | RAW, TID | TIME | ID | READ | CALLCHAIN | PERIOD | RAW,
]


@pytest.mark.parametrize("sample_type", ORDERS)
@pytest.mark.parametrize("read_format", [0, 4, 7, 0x14, 8, 0x1F])
def test_every_layout_of_a_sample_finds_its_payload(tmp_path: Path, sample_type: int, read_format: int) -> None:
    file, one, two = small_file(sample_type=sample_type, read_format=read_format)
    times, each = (read_format & 1) + (read_format >> 1 & 1), 1 + (read_format >> 2 & 1) + (read_format >> 4 & 1)
    values = bytes(8 * (times + each)) if not read_format & 8 else struct.pack("<Q", 3) + bytes(8 * (times + 3 * each))
    for index, event in enumerate((one, two, one)):
        file.sample(event, b"payload%d" % index, pid=5, cpu=0, time_ns=index + 1, read=values, callchain=(1, 2, 3))
    samples = all_of(file.content(), tmp_path)
    assert [one.raw[:8] for one in samples if isinstance(one, Sample)] == [b"payload0", b"payload1", b"payload2"]
    assert [one.attr.name for one in samples if isinstance(one, Sample)] == ["sched:one", "net:two", "sched:one"]
    assert [one.time_ns for one in samples] == [1, 2, 3]


def test_rounds_put_the_cpus_in_order_and_the_heap_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, one, _ = small_file()
    for turn in range(200):
        for cpu in (1, 0):
            for step in range(5):
                file.sample(one, common(300), cpu=cpu, time_ns=1 + turn * 100 + step * 10 + cpu)
        file.finished_round()
    content = file.content()
    times = [record.time_ns for record in all_of(content, tmp_path)]
    assert len(times) == 2000 and times == sorted(times)
    # without marks the window is cut; what fits into it is still sorted
    monkeypatch.setattr(perf_data, "_WINDOW_BYTES", 20_000)
    assert [record.time_ns for record in all_of(content, tmp_path)] == times


def test_trailers_are_optional(tmp_path: Path) -> None:
    file, one, _ = small_file(flags=0)
    file.comm(10, 10, "sh", time_ns=5)
    file.fork(11, 11, 10, 10, time_ns=6)
    file.sample(one, b"x", time_ns=7)
    comm, fork, _ = all_of(file.content(), tmp_path)
    assert (comm.time_ns, comm.pid) == (-1, -1) and fork.time_ns == 6


def test_older_and_newer_attributes_are_read(tmp_path: Path) -> None:
    for size in (64, 96, 112, 136, 144):
        file, one, _ = small_file(attr_bytes=size)
        file.sample(one, b"payload", time_ns=1)
        (sample,) = all_of(file.content(), tmp_path)
        assert isinstance(sample, Sample) and sample.raw[:7] == b"payload" and sample.attr.name == "sched:one"


# ---- damage


@pytest.mark.parametrize(("content", "words"), [
    (b"", "magic of 8 bytes"), (b"hello world, this is text", "not a perf.data file"), (b"2ELIFREP" + bytes(96), "big-endian"),
    (b"PERFFILE" + bytes(96), "version 1"), (b"PERFILE2" + struct.pack("<Q", 16), "piped"), (b"PERFILE2" + struct.pack("<Q", 99), "99 bytes"),
])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ObjectError, match=words):
        read(content, tmp_path)


def damaged(offset: int, value: int, size: int = 8) -> bytes:
    file, one, _ = small_file()
    file.comm(10, 10, "sh", time_ns=5)
    file.sample(one, common(300) + bytes(8), time_ns=6)
    content = bytearray(file.content())
    content[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(content)


DATA_AT = 104 + 16 + 2 * 144


@pytest.mark.parametrize(("offset", "value", "size", "words"), [
    (16, 1, 8, "attributes of 1 bytes each"), (16, 1 << 60, 8, "attributes of"), (24, 1 << 62, 8, "cut off"),
    (32, 1 << 62, 8, "attributes"), (32, 0, 8, "0 bytes of attributes"), (40, 1 << 63, 8, "data"), (48, 1 << 63, 8, "data"),
    (48, 0, 8, "not finished"), (72, 1 << 18, 4, "AUX area"), (72, 1 << 24, 4, "directory"), (72, 1 << 27, 4, "compressed"),
    (72, (1 << 64) - 1, 8, "reading perf.data"), (DATA_AT + 6, 0, 2, "a record of 0 bytes"), (DATA_AT + 6, 7, 2, "a record of 7 bytes"),
    (DATA_AT + 6, 65535, 2, "are left"), (DATA_AT + 6, 12, 2, "no room for its trailer"), (DATA_AT, 81, 4, "compressed"),
    (DATA_AT, 71, 4, "AUX area"),
])
def test_wild_sizes_are_refused_with_a_place(tmp_path: Path, offset: int, value: int, size: int, words: str) -> None:
    with pytest.raises(ObjectError, match=words) as caught:
        all_of(damaged(offset, value, size), tmp_path)
    assert "+0x" in str(caught.value)


def test_payload_and_id_of_a_sample_are_checked(tmp_path: Path) -> None:
    whole = damaged(0, int.from_bytes(b"PERFILE2", "little"))
    raw_size_at = whole.index(common(300) + bytes(8)) - 4
    with pytest.raises(ObjectError, match="a payload of 65535 bytes"):
        all_of(whole[:raw_size_at] + struct.pack("<I", 65535) + whole[raw_size_at + 4 :], tmp_path)
    id_at = whole.index(struct.pack("<QQ", 6, 100)) + 8
    with pytest.raises(ObjectError, match="event id 999"):
        all_of(whole[:id_at] + struct.pack("<Q", 999) + whole[id_at + 8 :], tmp_path)


def survives(content: bytes, tmp_path: Path) -> bool:
    """True if it was read to its end, False for an ObjectError; anything else is a failure."""
    try:
        all_of(content, tmp_path)
    except ObjectError as error:
        assert "+0x" in str(error)
        return False
    return True


def test_cut_off_at_every_place_it_is_an_error(tmp_path: Path) -> None:
    file, one, _ = small_file()
    file.comm(10, 10, "sh", time_ns=5)
    file.sample(one, common(300) + bytes(8), time_ns=6)
    content = file.content()
    # perf writes three empty counts at the end of the tracing data, which nobody needs; the event list comes last
    assert not any(survives(content[:size], tmp_path) for size in range(len(content) - 1))
    real = (DATA / "http.perf.data").read_bytes()
    assert not any(survives(real[:size], tmp_path) for size in range(0, 75_000, 997))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_give_records_or_an_error(tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]) -> None:
    content = bytearray(damaged(0, int.from_bytes(b"PERFILE2", "little")))
    for at, value in flips:
        content[at % len(content)] = value
    survives(bytes(content), tmp_path_factory.mktemp("flip"))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 20), st.sampled_from([0, 1, 7, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]),
       st.sampled_from([1, 2, 4, 8]))
def test_wild_words_give_records_or_an_error(tmp_path_factory: pytest.TempPathFactory, at: int, value: int, size: int) -> None:
    content = bytearray(damaged(0, int.from_bytes(b"PERFILE2", "little")))
    at %= len(content) - 8
    content[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    survives(bytes(content), tmp_path_factory.mktemp("wild"))


def test_a_file_that_is_refused_is_closed(tmp_path: Path) -> None:
    import os

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        assert not survives(b"PERFILE2" + bytes(96), tmp_path)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before
