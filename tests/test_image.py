"""ELF files as processes map them, against pyelftools, nm, readelf, objcopy and the dynamic linker."""

from __future__ import annotations

import ctypes
import lzma
import os
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.errors import ObjectError
from bcc_py.image import FunctionTable, Image
from tests.programs import build, need, run

LIBRARY = """
int outer(int a) { return a * 3; }
static int inner(int a) { return a + 1; }
int (*volatile chosen)(int) = inner;
int data = 7;
"""


def _real_files() -> list[Path]:
    """What this interpreter itself has mapped."""
    with open("/proc/self/maps") as file:
        paths = {line.split()[-1] for line in file if "/" in line}
    return [Path(one) for one in sorted(paths) if os.path.isfile(one) and Path(one).open("rb").read(4) == b"\x7fELF"]


REAL = _real_files() if sys.platform == "linux" else []


@pytest.mark.parametrize("path", REAL, ids=lambda one: one.name)
def test_real_files_as_pyelftools_reads_them(path: Path) -> None:
    image = Image(str(path))
    with path.open("rb") as file:
        elf = ELFFile(file)
        tables = [one for one in elf.iter_sections() if isinstance(one, SymbolTableSection)]
        functions = {
            (one.name.encode(), one["st_value"], one["st_size"]) for table in tables for one in table.iter_symbols()
            if one["st_info"]["type"] in ("STT_FUNC", "STT_LOOS") and one["st_value"] and one.name}
        found = {tuple(one) for one in image.functions()}
        assert found >= functions and (found == functions or image.debug_file or image.section(b".gnu_debugdata"))
        loads = [(one["p_vaddr"], one["p_offset"], one["p_filesz"], bool(one["p_flags"] & 1)) for one in elf.iter_segments("PT_LOAD")]
        assert [(one.address, one.offset, one.file_bytes, one.is_executable) for one in image.segments] == loads
        assert [one.name.decode() for one in image.sections] == [one.name for one in elf.iter_sections()]
        notes = elf.get_section_by_name(".note.gnu.build-id")
        ids = [one["n_desc"] for one in notes.iter_notes()] if notes else [""]
        assert image.build_id.hex() == ids[0]


def test_functions_are_those_of_nm(tmp_path: Path) -> None:
    need("nm")
    library = build(tmp_path, "lib.so", LIBRARY, "-shared", "-fPIC")
    listed = {row[2].encode(): int(row[0], 16) for row in map(str.split, run("nm", library).splitlines()) if row[-2] in "tT"}
    image = Image(str(library))
    found = {one.name: one.address for one in image.functions()}
    assert found[b"outer"] == listed[b"outer"] and found[b"inner"] == listed[b"inner"]
    assert set(found) <= set(listed)
    assert image.address(b"outer") == listed[b"outer"] and image.address(b"data") is None and image.address(b"out") is None
    data = next(int(row[0], 16) for row in map(str.split, run("nm", library).splitlines()) if row[-1] == "data")
    assert image.data_address(b"data") == data and image.data_address(b"absent") is None


@pytest.mark.parametrize("flags", [("-shared", "-fPIC"), ("-shared", "-fPIC", "-Wl,-Ttext-segment,0x2000000"), ("-shared", "-fPIC", "-Wl,-z,noseparate-code")])
def test_an_offset_in_the_file_is_where_the_code_is(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The bytes at offset_of are those that the dynamic linker has at the function's address."""
    path = build(tmp_path, "lib.so", LIBRARY, *flags)
    image = Image(str(path))
    address = image.address(b"outer")
    assert address is not None
    offset = image.offset_of(address)
    assert offset is not None and image.address_of(offset) == address
    place = ctypes.cast(ctypes.CDLL(str(path)).outer, ctypes.c_void_p).value
    assert place is not None and path.read_bytes()[offset : offset + 8] == ctypes.string_at(place, 8)
    assert image.offset_of(1 << 60) is None and image.address_of(1 << 60) is None


def test_stripped_file_has_the_functions_of_its_debug_file(tmp_path: Path) -> None:
    need("objcopy", "strip")
    library = build(tmp_path, "lib.so", LIBRARY, "-shared", "-fPIC")
    address = Image(str(library)).address(b"inner")
    run("objcopy", "--only-keep-debug", library, tmp_path / "lib.debug")
    run("strip", library)
    assert Image(str(library)).address(b"inner") is None
    run("objcopy", f"--add-gnu-debuglink={tmp_path / 'lib.debug'}", library)
    assert Image(str(library)).address(b"inner") == address
    (tmp_path / ".debug").mkdir()
    (tmp_path / "lib.debug").rename(tmp_path / ".debug/lib.debug")
    assert Image(str(library)).address(b"inner") == address
    with (tmp_path / ".debug/lib.debug").open("ab") as file:  # another file than the one that the link was made for
        file.write(b"x")
    assert Image(str(library)).address(b"inner") is None


def test_debug_file_by_build_id_in_another_root(tmp_path: Path) -> None:
    need("objcopy", "strip")
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    library = build(root / "lib", "lib.so", LIBRARY, "-shared", "-fPIC", "-Wl,--build-id=0x123456789abc")
    address = Image(str(library)).address(b"inner")
    folder = root / "usr/lib/debug/.build-id/12"
    folder.mkdir(parents=True)
    run("objcopy", "--only-keep-debug", library, folder / "3456789abc.debug")
    run("strip", library)
    image = Image("/lib/lib.so", str(root))
    assert image.build_id.hex() == "123456789abc"
    assert image.debug_file == "/usr/lib/debug/.build-id/12/3456789abc.debug" and image.address(b"inner") == address


def test_small_debug_table_in_the_file_itself(tmp_path: Path) -> None:
    need("objcopy", "strip")
    library = build(tmp_path, "lib.so", LIBRARY, "-shared", "-fPIC")
    address = Image(str(library)).address(b"inner")
    run("objcopy", "--only-keep-debug", library, tmp_path / "small")
    (tmp_path / "small.xz").write_bytes(lzma.compress((tmp_path / "small").read_bytes()))
    run("strip", library)
    run("objcopy", f"--add-section=.gnu_debugdata={tmp_path / 'small.xz'}", library)
    assert Image(str(library)).address(b"inner") == address


def test_member_of_an_archive(tmp_path: Path) -> None:
    library = build(tmp_path, "lib.so", LIBRARY, "-shared", "-fPIC")
    archive = tmp_path / "app.apk"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("first", "something before it")
        file.write(library, "lib/lib.so")
        file.write(library, "small.so", zipfile.ZIP_DEFLATED)
    plain, member = Image(str(library)), Image(f"{archive}!/lib/lib.so")
    address = plain.address(b"outer")
    assert address is not None and member.address(b"outer") == address
    offset, outside = plain.offset_of(address), member.offset_of(address)
    assert offset is not None and outside is not None and outside > offset and member.file == str(archive)
    assert archive.read_bytes()[outside : outside + 16] == library.read_bytes()[offset : offset + 16]
    for name, words in (("small.so", "compressed"), ("absent", "no item named")):
        with pytest.raises(ObjectError, match=words):
            Image(f"{archive}!/{name}")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n", bytes(64), b"\x7fELF\x02\x01\x01" + bytes(20)])
def test_what_is_no_elf_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ObjectError):
        Image(str(tmp_path / "x"))
    with pytest.raises(ObjectError):
        Image("inside", content=content)


def _ask_everything(image: Image) -> None:
    list(image.functions())
    image.function_table.find(0x1000)
    image.data_address(b"x")
    image.notes()
    image.notes(b".note.stapsdt")
    assert image.build_id is not None
    assert image.debug_file is None or image.debug_file


SMALL = (Path(__file__).parent / "data/small.so").read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(SMALL)))
def test_damaged_files_are_errors_and_nothing_else(changes: list[tuple[int, int]], end: int) -> None:
    content = bytearray(SMALL)
    for at, value in changes:
        content[at] = value
    for one in (bytes(content), bytes(content[:end])):
        try:
            _ask_everything(Image("damaged", content=one))
        except ObjectError:
            pass


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 63), st.binary(min_size=1, max_size=8))
def test_damaged_headers_are_errors_and_nothing_else(at: int, value: bytes) -> None:
    try:
        _ask_everything(Image("damaged", content=SMALL[:at] + value + SMALL[at + len(value) :]))
    except ObjectError:
        pass


def test_file_of_32_bits_and_the_other_byte_order() -> None:
    """By hand: a header, one segment, a symbol table with one function and its names."""
    names, strings = b"\0.symtab\0.strtab\0", b"\0there\0"
    symbols = bytes(16) + struct.pack(">IIIBBH", 1, 0x10010, 4, 2, 0, 1)
    at = 52 + 32
    body = names + strings + symbols
    sections_at = at + len(body)
    section = struct.Struct(">10I").pack
    headers = [bytes(40), section(0, 3, 0, 0, at, len(names), 0, 0, 1, 0), section(1, 2, 0, 0, at + len(names) + len(strings), 32, 3, 0, 4, 16),
               section(9, 3, 0, 0, at + len(names), len(strings), 0, 0, 1, 0)]
    head = b"\x7fELF\x01\x02\x01" + bytes(9) + struct.pack(">HHIIIIIHHHHHH", 2, 20, 1, 0, 52, sections_at, 0, 52, 32, 1, 40, 4, 1)
    segment = struct.pack(">8I", 1, 0, 0x10000, 0x10000, 0x200, 0x200, 5, 0x1000)
    image = Image("by hand", content=head + segment + body + b"".join(headers))
    assert [tuple(one) for one in image.functions()] == [(b"there", 0x10010, 4)]
    assert image.is_fixed and image.machine == 20 and image.offset_of(0x10010) == 0x10


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=12), st.integers(0, 80))
def test_innermost_function_is_found(rows: list[tuple[int, int]], address: int) -> None:
    """Against a look at every row: of those around the address one that begins last."""
    table = FunctionTable([(start, size, b"f%d" % at) for at, (start, size) in enumerate(rows)])
    around = [start for start, size in rows if start <= address < start + size]
    found = table.find(address)
    assert (found is None) == (not around)
    if found is not None:
        name, offset = found
        start, size = rows[int(name[1:])]
        assert start == max(around) == address - offset and offset < size
