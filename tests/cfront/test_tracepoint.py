"""Event formats: the kernel's own texts, its BTF as the second opinion, and malformed ones."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcc_py.errors import NotSupportedError, ObjectError
from bcc_py.sim.replay.perf_data import read_perf_data
from cfront.btf import Btf
from cfront.ctype import INT, Array, Pointer, Record
from cfront.tracepoint import TracepointFormat, TracepointTypes, parse_format, record_from_format

DATA = Path(__file__).parents[1] / "data"

COMMON = """\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""


def make(*rows: str, name: str = "ev") -> TracepointFormat:
    fields = "".join(f"\tfield:{row}\n" for row in rows)
    return parse_format(f'name: {name}\nID: 77\nformat:\n{COMMON}\n{fields}\nprint fmt: "a\nname: b", REC->x\n', "cat")


def declarations(fmt: TracepointFormat) -> list[str]:
    fields = record_from_format(fmt).fields
    assert fields is not None
    return [f"{one.offset}: {one.type} {one.name}" for one in fields]


def test_parts_of_a_format() -> None:
    fmt = make("__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;", "pid_t pid;\toffset:12;\tsize:4;\tsigned:1;")
    assert (fmt.name, fmt.category, fmt.id, fmt.full_name, fmt.size) == ("ev", "cat", 77, "cat:ev", 16)
    assert fmt.print_fmt == '"a\nname: b", REC->x'
    assert [one.name for one in fmt.fields if one.is_common] == ["common_type", "common_flags", "common_preempt_count", "common_pid"]
    filename, pid = fmt.fields[-2:]
    assert (filename.name, filename.type, filename.array, filename.is_data_loc) == ("filename", "char", "", True)
    assert (pid.name, pid.type, pid.offset, pid.size, pid.signed, pid.array) == ("pid", "pid_t", 12, 4, True, None)
    assert fmt.field("pid") is pid and fmt.field("nothing") is None


@pytest.mark.parametrize(("row", "expected"), [
    ("__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;", "8: int data_loc_name"),
    ("__rel_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;", "8: int rel_loc_name"),
    ("char comm[16];\toffset:8;\tsize:16;\tsigned:0;", "8: char[16] comm"),
    ("char comm[TASK_COMM_LEN];\toffset:8;\tsize:16;\tsigned:0;", "8: char[16] comm"),
    ("unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;", "16: unsigned long[6] args"),
    ("xfs_ino_t inos[2];\toffset:8;\tsize:16;\tsigned:0;", "8: unsigned long long[2] inos"),
    ("char buf[];\toffset:16;\tsize:0;\tsigned:0;", "16: char[] buf"),
    ("int dfd;\toffset:16;\tsize:8;\tsigned:0;", "16: long long dfd"),
    ("unsigned int flags;\toffset:16;\tsize:8;\tsigned:0;", "16: unsigned long long flags"),
    ("umode_t mode;\toffset:16;\tsize:8;\tsigned:0;", "16: unsigned long long mode"),
    ("const char * filename;\toffset:16;\tsize:8;\tsigned:0;", "16: char * filename"),
    ("const char *const * argv;\toffset:16;\tsize:8;\tsigned:0;", "16: char ** argv"),
    ("const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;", "8: void * skaddr"),
    ("struct sock * sk;\toffset:8;\tsize:8;\tsigned:0;", "8: struct sock * sk"),
    ("bool group_dead;\toffset:8;\tsize:1;\tsigned:0;", "8: _Bool group_dead"),
    ("enum what ever;\toffset:8;\tsize:4;\tsigned:0;", "8: unsigned int ever"),
    ("struct in6_addr addr;\toffset:8;\tsize:16;\tsigned:0;", "8: unsigned char[16] addr"),
    ("__u8 saddr[4];\toffset:8;\tsize:4;\tsigned:0;", "8: unsigned char[4] saddr"),
    ("unsigned long odd;\toffset:12;\tsize:8;\tsigned:0;", "12: unsigned char[8] odd"),
])
def test_c_struct_has_the_field(row: str, expected: str) -> None:
    first, second = declarations(make(row))
    assert first == "0: unsigned long long __do_not_use__"
    assert second == expected


def test_fields_of_the_head_and_overlapping_ones_are_left_out() -> None:
    fmt = make("int common_preempt_lazy;\toffset:8;\tsize:4;\tsigned:1;", "long a;\toffset:16;\tsize:8;\tsigned:1;",
               "int b;\toffset:20;\tsize:4;\tsigned:1;")
    assert [one.split()[-1] for one in declarations(fmt)] == ["__do_not_use__", "a"]


def test_recorded_formats_make_structs_that_fit() -> None:
    for name in ("build", "http"):
        data = read_perf_data(str(DATA / f"{name}.perf.data"))
        for fmt in data.formats.values():
            check_against_format(fmt)
        data.close()


def check_against_format(fmt: TracepointFormat) -> None:
    record = record_from_format(fmt)
    assert record.size >= fmt.size and record.size % 8 == 0
    for field in fmt.fields:
        if field.is_common:
            continue
        prefix = "data_loc_" if field.is_data_loc else "rel_loc_" if field.is_rel_loc else ""
        member = record.member(prefix + field.name)
        assert member is not None and (member.offset, member.type.size) == (field.offset, field.size), (fmt.full_name, field)


@pytest.mark.parametrize(("text", "words"), [
    ("", "needs a name"), ("name: x\nID: 1\nformat:\n", "needs a name"), ("name: x y\n", "is not an event's name"),
    ("name: x\nID: z\n", "is not a number"), ("name: x\nID: 1\nformat:\n\tfield:int a;\n", "cannot read"),
    ("name: x\nID: 1\nformat:\nrubbish\n", "expected a field"),
    ("name: x\nID: 1\nformat:\n\tfield:int;\toffset:0;\tsize:4;\tsigned:1;\n", "cannot read the declaration"),
    ("name: x\nID: 1\nformat:\n\tfield:int a;\toffset:99999999;\tsize:4;\tsigned:1;\n", "beyond any record"),
    ("name: x\nID: 1\nformat:\n\tfield:__data_loc char[] a;\toffset:8;\tsize:8;\tsigned:1;\n", "takes 4 bytes, not 8"),
])
def test_malformed_formats_are_refused_with_a_place(text: str, words: str) -> None:
    with pytest.raises(ObjectError, match=words) as caught:
        parse_format(text)
    assert caught.value.section.startswith("format")


@given(st.text(alphabet="namefieldoffsetsize: ID;\t\n[]*_0123456789", max_size=300))
def test_any_text_is_a_format_or_an_error(text: str) -> None:
    for one in (text, f"name: x\nID: 1\nformat:\n\tfield:{text}"):
        try:
            record_from_format(parse_format(one))
        except ObjectError:
            continue


def test_types_find_structs_whose_names_hold_double_underscores() -> None:
    formats = {("a__b", "c"): make(name="c"), ("x", "y__z"): make(name="y__z")}
    types = TracepointTypes(lambda category, event: formats.get((category, event)))
    assert types.find("struct", "tracepoint__a__b__c") is not None
    assert types.find("struct", "tracepoint__x__y__z") is types.find("struct", "tracepoint__x__y__z") is not None
    assert types.find("struct", "tracepoint__x__y") is None and types.find("union", "tracepoint__x__y__z") is None
    assert types.find("struct", "tracepoint__") is None and types.enumerator("x") is None and types.function("x") is None


# ---- the running kernel


def vmlinux() -> Btf:
    try:
        with open("/sys/kernel/btf/vmlinux", "rb") as file:
            return Btf(file.read())
    except OSError as error:
        raise NotSupportedError(f"reading vmlinux's BTF: {error}", "btf") from error


@pytest.mark.linux
def test_every_event_of_this_kernel_fits_its_format_and_its_btf() -> None:
    """The kernel describes an event's record twice: in the format file and, for events that are a class of their
    own, as struct trace_event_raw_EVENT in its BTF."""
    btf = vmlinux()
    paths = glob.glob("/sys/kernel/tracing/events/*/*/format")
    if not paths:
        raise NotSupportedError("reading event formats: tracefs is not mounted", "tracefs")
    compared = 0
    for path in paths:
        with open(path) as file:
            fmt = parse_format(file.read(), path.split("/")[-3])
        check_against_format(fmt)
        raw = btf.find("struct", f"trace_event_raw_{fmt.name}")
        if isinstance(raw, Record):
            compared += compare_with_btf(record_from_format(fmt, btf), raw, fmt)
    assert compared > 500


def compare_with_btf(ours: Record, raw: Record, fmt: TracepointFormat) -> int:
    for field in fmt.fields:
        if field.is_common:
            continue
        theirs = raw.member(f"__data_loc_{field.name}" if field.is_data_loc else field.name)
        if theirs is None:
            continue
        mine = ours.member(f"data_loc_{field.name}" if field.is_data_loc else field.name)
        assert mine is not None and (mine.offset, mine.type.size) == (theirs.offset, theirs.type.size), (fmt.full_name, field)
        assert isinstance(mine.type, Pointer) == isinstance(theirs.type, Pointer)
        assert mine.type == INT or isinstance(mine.type, Array) == isinstance(theirs.type, (Array, Record)) or mine.type is theirs.type
    return 1
