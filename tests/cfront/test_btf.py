"""BTF: the running kernel's against `bpftool btf dump`, ours there and back, and damaged bytes."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfront import Btf, ObjectError, types_from_c
from cfront.ctype import Array, CType, Enum, Function, Pointer, Record

VMLINUX = Path("/sys/kernel/btf/vmlinux")
STRUCTS = ["task_struct", "sock", "sock_common", "sk_buff", "inode", "dentry", "file", "path", "qstr", "pt_regs", "thread_struct", "mm_struct", "vm_area_struct", "cred", "request", "bio", "block_device", "gendisk", "net_device", "tcp_sock", "inet_sock", "iphdr", "tcphdr", "list_head", "super_block", "address_space", "page", "kmem_cache", "linux_binprm", "bpf_map", "bpf_prog", "signal_struct", "rq", "cfs_rq", "trace_event_raw_sys_enter", "net", "msghdr", "iov_iter"]
needs_kernel = pytest.mark.skipif(not VMLINUX.exists() or shutil.which("bpftool") is None,
                                  reason="needs the BTF of a running kernel and bpftool to read it")


@functools.cache
def _vmlinux() -> Btf:
    return Btf(VMLINUX.read_bytes())


@functools.cache
def _dump() -> list[dict[str, object]]:
    printed = subprocess.run(["bpftool", "-j", "btf", "dump", "file", VMLINUX], check=True, capture_output=True, timeout=60).stdout
    rows: list[dict[str, object]] = json.loads(printed)["types"]
    return rows


@needs_kernel
def test_structs_of_the_kernel_equal_bpftool() -> None:
    structs = {row["name"]: row for row in reversed(_dump()) if row["kind"] == "STRUCT"}
    compared = 0
    for name in STRUCTS:
        row = structs.get(name)
        found = _vmlinux().find("struct", name)
        if row is None:
            assert found is None
            continue
        assert isinstance(found, Record) and found.fields is not None
        members = row["members"]
        assert isinstance(members, list)
        assert found.size == row["size"]
        ours = [(one.name or "(anon)", one.offset * 8 + one.bit_offset, one.bit_size or 0) for one in found.fields]
        assert ours == [(one["name"], one["bits_offset"], one.get("bitfield_size", 0)) for one in members], name
        compared += 1
    assert compared >= 30


@needs_kernel
def test_enumerators_and_functions_of_the_kernel_equal_bpftool() -> None:
    rows = _dump()
    values = {one["name"]: one["val"] for row in reversed(rows) if row["kind"] == "ENUM" for one in row["values"]}  # type: ignore[attr-defined]
    for name in ("BPF_MAP_TYPE_HASH", "PIDTYPE_TGID", "TCP_ESTABLISHED", "TCP_CLOSE", "XDP_PASS", "HRTIMER_RESTART"):
        assert _vmlinux().enumerator(name) == values[name]
    protos = {row["id"]: row for row in rows if row["kind"] == "FUNC_PROTO"}
    funcs = {row["name"]: protos[row["type_id"]] for row in reversed(rows) if row["kind"] == "FUNC"}
    for name in ("vfs_read", "tcp_v4_connect", "do_exit", "schedule", "wake_up_process"):
        found = _vmlinux().function(name)
        assert found is not None and [one.name for one in found.params] == [one["name"] for one in funcs[name]["params"]]  # type: ignore[attr-defined]


@needs_kernel
def test_every_type_of_the_kernel_can_be_read() -> None:
    btf = _vmlinux()
    skipped = {"DATASEC", "DECL_TAG"}
    for row in _dump()[::37]:
        id = row["id"]
        assert isinstance(id, int)
        if row["kind"] not in skipped:
            type = btf.type(id)
            assert not isinstance(type, Record) or type.fields is None or type.size >= 0


HEADER = """
typedef unsigned int u32; typedef unsigned long long u64; typedef struct { int x, y; } point_t;
enum color { RED, GREEN = 7, BLUE = -1 }; enum big { HUGE_ONE = 0x123456789abcLL };
enum { LOOSE = 3 };
struct node { struct node *next, **prev; union { u64 word; char bytes[8]; }; u32 a : 3, b : 5; enum color c; point_t at[2]; };
union value { int i; void *p; const char *s; int (*call)(struct node *, int, ...); };
struct __attribute__((packed)) tight { char c; u64 w; u32 f : 20; };
struct incomplete; struct user { struct incomplete *hidden; _Bool yes; signed char s; long l; unsigned long ul; __int128 wide; };
int do_something(struct node *first, u32 flags);
"""


def _shape(type: CType, depth: int = 3) -> object:
    """type as plain values, for comparison; pointers are followed only so far."""
    if isinstance(type, Record):
        if depth == 0:
            return type.tag, type.name
        return (type.tag, type.name, type.size, None if type.fields is None else [
            (one.name, one.offset, one.bit_offset, one.bit_size, _shape(one.type, depth - 1)) for one in type.fields])
    if isinstance(type, Pointer):
        return "*", _shape(type.target, max(depth - 1, 0))
    if isinstance(type, Array):
        return type.count, _shape(type.element, depth)
    if isinstance(type, Enum):
        return type.name, type.values, type.size
    if isinstance(type, Function):
        return _shape(type.result, depth), [(one.name, _shape(one.type, max(depth - 1, 0))) for one in type.params], type.is_variadic
    return str(type)


def test_types_come_back_as_they_were_written() -> None:
    first = Btf(types_from_c(HEADER))
    node = first.find("struct", "node")
    assert isinstance(node, Record) and [one.name for one in node.fields or ()] == ["next", "prev", "", "a", "b", "c", "at"]
    assert first.enumerator("BLUE") == -1 and first.enumerator("LOOSE") == 3 and first.enumerator("HUGE_ONE") == 0x123456789ABC
    assert str(first.function("do_something")).startswith("int")
    from cfront.btf import btf_from_types
    names = [("struct", "node"), ("union", "value"), ("struct", "tight"), ("struct", "user"), ("enum", "color"), ("enum", "big")]
    types = [found for one in names if (found := first.find(*one)) is not None]
    again = Btf(btf_from_types(types, {"point_t": first.find("typedef", "point_t") or node}))
    assert len(types) == len(names)
    for one in [*names, ("typedef", "point_t")]:
        assert _shape(again.find(*one)) == _shape(first.find(*one)), one  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed: it is what reads our BTF")
def test_bpftool_reads_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "t.btf").write_bytes(types_from_c(HEADER))
    printed = subprocess.run(["bpftool", "btf", "dump", "file", tmp_path / "t.btf", "format", "c"], check=True, capture_output=True,
                             text=True, timeout=60).stdout
    for piece in ("struct node {", "struct node *next;", "struct node **prev;", "u32 a: 3;", "GREEN = 7", "BLUE = -1", "int (*call)("):
        assert piece.replace("u32 a", "unsigned int a") in printed or piece in printed, printed


SMALL = types_from_c(HEADER)


def _read_everything(content: bytes) -> None:
    try:
        btf = Btf(content)
        for id in range(len(btf)):
            _touch(btf, id)
        for tag in ("struct", "union", "enum", "typedef"):
            btf.find(tag, "node")
        btf.enumerator("RED")
        btf.function("do_something")
    except ObjectError as error:
        assert error.section == ".BTF"


def _touch(btf: Btf, id: int) -> None:
    type = btf.type(id)
    if isinstance(type, Record):
        _ = type.size, type.align, type.fields, type.member("x")
    str(type)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes_are_a_value_or_an_object_error(changes: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL)
    for at, byte in changes:
        content[at] = byte
    _read_everything(bytes(content))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 200), st.sampled_from([0, 1, 2, 5, 6, 100, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x84000001, 0x04000005]))
def test_wild_words_are_a_value_or_an_object_error(word: int, value: int) -> None:
    content = bytearray(SMALL)
    at = 24 + word * 4
    if at + 4 <= len(content):
        content[at : at + 4] = value.to_bytes(4, "little")
    _read_everything(bytes(content))


def test_truncated_btf_is_an_object_error() -> None:
    for end in range(len(SMALL)):
        with pytest.raises(ObjectError):
            Btf(SMALL[:end])
            raise AssertionError(end)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_value_or_an_object_error(content: bytes) -> None:
    _read_everything(content)
    _read_everything(SMALL[:24] + content)
