"""The tracepoint formats are Linux's: what this machine's tracefs says, where there is one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bcc_py.linux import feature
from bcc_py.sim.formats import KernelFormats, record
from cfront.tracepoint import parse_format


def test_all_formats_parse_and_have_ids_of_their_own() -> None:
    formats = KernelFormats()
    assert len(formats) > 700
    assert len({one.id for one in formats.values()}) == len(formats)
    assert all(name == one.full_name for name, one in formats.items())


@pytest.mark.linux
def test_formats_are_those_of_linux() -> None:
    """Names, offsets, sizes and signs of every field; events this kernel lacks are left out."""
    root = Path(str(feature.tracefs())) / "events"
    compared = 0
    for name, ours in KernelFormats().items():
        path = root / name.replace(":", "/") / "format"
        if path.exists():
            theirs = parse_format(path.read_text(), ours.category)
            assert [(one.name, one.type, one.offset, one.size, one.signed, one.array) for one in ours.fields] == [
                (one.name, one.type, one.offset, one.size, one.signed, one.array) for one in theirs.fields], name
            compared += 1
    assert compared > 300


def test_records_carry_strings_behind_the_fixed_part() -> None:
    fmt = KernelFormats()["sched:sched_process_exec"]
    made = record(fmt, struct.pack("<HBBi", fmt.id, 0, 0, 7), {"filename": b"/bin/ls", "pid": 7, "old_pid": -1})
    offset, length = struct.unpack_from("<HH", made, 8)
    assert (offset, length, made[offset : offset + length]) == (20, 8, b"/bin/ls\0")
    assert struct.unpack_from("<ii", made, 12) == (7, -1)
    with pytest.raises(KeyError, match="has no field nonsense"):
        record(fmt, b"", {"nonsense": 1})
