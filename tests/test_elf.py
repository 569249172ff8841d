"""The object reader, on what clang-19 made of tests/data/tools.c, and on damaged bytes."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.elf import read_object
from bcc_py.errors import ObjectError
from bcc_py.spec import Hook, HookKind, MapSpec, ObjectSpec, RelocKind
from cfront.uapi import AttachType, MapType, ProgType

TOOLS = (Path(__file__).parent / "data" / "tools.o").read_bytes()


@pytest.fixture(scope="module")
def tools() -> ObjectSpec:
    return read_object(TOOLS)


def test_programs_are_the_global_functions(tools: ObjectSpec) -> None:
    elf = ELFFile(io.BytesIO(TOOLS))
    sizes = {
        symbol.name: symbol["st_size"]
        for symbol in elf.get_section_by_name(".symtab").iter_symbols()
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_info"]["bind"] == "STB_GLOBAL"
    }
    assert set(tools.programs) == set(sizes)
    for name, spec in tools.programs.items():
        assert spec.functions[0].name == name and spec.functions[0].slot == 0
        own = spec.functions[1].slot if len(spec.functions) > 1 else len(spec.insns)
        assert own * 8 == sizes[name]
        assert spec.license == "GPL" and spec.btf == tools.btf


def test_sections_say_type_and_hook(tools: ObjectSpec) -> None:
    said = {one.name: (one.type, one.hook, one.expected_attach_type) for one in tools.programs.values()}
    none = AttachType.NONE
    assert said["tp_enter"] == (ProgType.TRACEPOINT, Hook(HookKind.TRACEPOINT, "syscalls:sys_enter_openat"), none)
    assert said["kp"] == (ProgType.KPROBE, Hook(HookKind.KPROBE, "do_sys_openat2"), none)
    assert said["latency"] == (ProgType.KPROBE, Hook(HookKind.KRETPROBE, "a3"), none)
    assert said["rawe"] == (ProgType.RAW_TRACEPOINT, Hook(HookKind.RAW_TRACEPOINT, "sys_enter"), none)
    assert said["pe"] == (ProgType.PERF_EVENT, None, none)
    assert said["x"] == (ProgType.XDP, None, AttachType.XDP)


def test_maps(tools: ObjectSpec) -> None:
    def plain(spec: MapSpec) -> tuple[MapType, int, int, int, int]:
        return spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags

    maps = tools.maps
    assert plain(maps["counts"]) == (MapType.HASH, 20, 8, 1024, 0)
    assert plain(maps["hist"]) == (MapType.ARRAY, 4, 8, 64, 0)
    assert plain(maps["heap"]) == (MapType.PERCPU_ARRAY, 4, 168, 1, 0)
    assert plain(maps["rb"]) == (MapType.RINGBUF, 0, 0, 4096, 0)
    assert plain(maps["stacks"]) == (MapType.STACK_TRACE, 4, 1016, 1024, 0)
    assert plain(maps[".rodata"]) == (MapType.ARRAY, 4, 16, 1, 128)
    assert maps["counts"].key_type and maps["counts"].value_type
    assert maps["events"].event_type and not maps["events2"].event_type
    assert maps[".data"].initial == b"\5\0\0\0" and maps[".bss"].initial == bytes(8)


def test_functions_are_linked_behind_their_caller(tools: ObjectSpec) -> None:
    spec = tools.programs["tp_exit"]
    names = [one.name for one in spec.functions]
    assert names == ["tp_exit", "log2l_", "log2_"] and all(one.type_id for one in spec.functions)
    starts = {one.slot for one in spec.functions}
    calls = [(slot, one) for slot, one in enumerate(spec.insns) if one.code == 0x85 and one.src == 1]
    assert len(calls) == 2 and {slot + 1 + one.imm for slot, one in calls} == starts - {0}
    lines = [one.slot for one in spec.lines]
    assert lines == sorted(lines) and starts <= set(lines)
    assert all(one.file == "./tools.c" and one.line and one.text for one in spec.lines if one.slot in starts)


def test_relocations_name_maps_and_data(tools: ObjectSpec) -> None:
    relocs = tools.programs["tp_enter"].relocs
    assert [(one.kind, one.symbol) for one in relocs] == [
        (RelocKind.MAP, "start"), (RelocKind.MAP, "counts"), (RelocKind.MAP, "counts"),
        (RelocKind.MAP_VALUE, ".data"), (RelocKind.MAP_VALUE, ".rodata"), (RelocKind.MAP_VALUE, ".bss"),
    ]
    assert all(tools.programs["tp_enter"].insns[one.slot].code == 0x18 for one in relocs)


def test_same_bytes_same_spec(tools: ObjectSpec) -> None:
    assert read_object(TOOLS) == tools


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "file+0x0: ends 64 bytes too early"),
        (b"\x7fELF", "file+0x0: ends 60 bytes too early"),
        (bytes(64), "file+0x0: not a little-endian 64-bit ELF file"),
        (TOOLS[:16] + b"\2" + TOOLS[17:], "file+0x10: not a relocatable BPF object"),
        (TOOLS[:-100], "file+0xa850: ends 60 bytes too early"),
    ],
)
def test_malformed(data: bytes, sentence: str) -> None:
    with pytest.raises(ObjectError) as caught:
        read_object(data)
    assert str(caught.value).split("+")[0] == sentence.split("+")[0]
    assert str(caught.value).split(": ")[1] == sentence.split(": ")[1] or "too early" in sentence


def read_or_refuse(data: bytes) -> None:
    try:
        spec = read_object(data)
    except ObjectError:
        return
    assert isinstance(spec, ObjectSpec)


def test_truncated_anywhere() -> None:
    for size in range(0, len(TOOLS), 311):
        with pytest.raises(ObjectError):
            read_object(TOOLS[:size])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_damaged_bytes(seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(TOOLS)
    for _ in range(dice.choice((1, 2, 8, 64))):
        at = dice.randrange(len(data))
        data[at] = dice.choice((0, 1, 0x7F, 0xFF, data[at] ^ 1 << dice.randrange(8)))
    read_or_refuse(bytes(data))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_damaged_structure(seed: int) -> None:
    """Hits the headers and the small tables, where most of a file's meaning is."""
    dice = random.Random(seed)
    elf = ELFFile(io.BytesIO(TOOLS))
    data = bytearray(TOOLS)
    places = [(0, 64), (elf["e_shoff"], 64 * elf.num_sections())]
    for name in (".symtab", ".BTF", ".BTF.ext", ".maps", ".reltracepoint/syscalls/sys_exit_openat"):
        section = elf.get_section_by_name(name)
        if section is not None:
            places.append((section["sh_offset"], section["sh_size"]))
    start, size = dice.choice(places)
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = start + dice.randrange(size)
        data[at : at + 1] = bytes((dice.choice((0, 1, 2, 0x7F, 0x80, 0xFF)),))
    read_or_refuse(bytes(data))
