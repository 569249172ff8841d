"""ELF files as processes map them: executables and shared libraries.

Input: a path (or the bytes of an image that is only in memory). Output: an Image, which answers for segments,
functions by name and address, notes, the build id, and where the separate debug information is.

An address here is one of the file's own (st_value, p_vaddr): what a linker wrote, before anything was loaded. A
file offset counts bytes in the file; the kernel places uprobes by it. Segments say how one becomes the other, so
it matters to nobody whether a file is position independent, prelinked or was given an unusual text segment.

Every offset in the file is checked before it is used, whatever is malformed is an ObjectError, and what is read is
bounded by the file's size. Both classes (32 and 64 bits) and both byte orders are read. "archive.apk!/lib/x.so" names an
uncompressed member of a zip archive, as Android's linker maps it.

Source: System V ABI, chapters 4 and 5; bfd/opncls.c (CRC of .gnu_debuglink); gdb's manual, "Separate Debug Files"."""

from __future__ import annotations

import bisect
import functools
import importlib
import os
import stat
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cfront.errors import ObjectError

__all__ = ["FUNCTION_TYPES", "FunctionTable", "Image", "Note", "Section", "Segment", "Symbol"]

_PT_LOAD, _PT_NOTE = 1, 4
_SHT_SYMTAB, _SHT_NOTE, _SHT_NOBITS, _SHT_DYNSYM = 2, 7, 8, 11
FUNCTION_TYPES = (2, 10)  # STT_FUNC, STT_GNU_IFUNC
_NT_GNU_BUILD_ID = 3
_PF_X = 1
_MAX_HEADERS = 1 << 16
_MAX_UNPACKED_BYTES = 256 << 20
_DEBUG_ROOT = "/usr/lib/debug"
_ZIP_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Symbol(NamedTuple):
    """A function. name: as the file has it, in no particular encoding."""

    name: bytes
    address: int
    size: int


class Note(NamedTuple):
    """One note. name: whose it is, without the closing zero."""

    name: bytes
    type: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """What is mapped: file_bytes bytes of the file from offset, at address."""

    address: int
    offset: int
    file_bytes: int
    is_executable: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A section's header. link: the number of the section that this one refers to."""

    name: bytes
    type: int
    address: int
    offset: int
    size: int
    link: int


class FunctionTable:
    """Functions by address. rows: (address, size, where the name is); they may lie within each other."""

    def __init__(self, rows: list[tuple[int, int, bytes | tuple[bytes, int]]]) -> None:
        self._rows = sorted(rows, key=lambda row: row[0])
        self._starts = [row[0] for row in self._rows]
        self._reach: list[int] = []  # how far any function up to here goes
        reach = 0
        for start, size, _ in self._rows:
            reach = max(reach, start + size)
            self._reach.append(reach)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, address: int) -> tuple[bytes, int] | None:
        """(name, bytes into it) of the innermost function around the address; of several names the plainest."""
        at = bisect.bisect_right(self._starts, address) - 1
        while at >= 0 and self._reach[at] > address:
            start, size, _ = self._rows[at]
            if address < start + size:
                return self._plainest(start, address), address - start
            at -= 1
        return None

    def _plainest(self, start: int, address: int) -> bytes:
        first = bisect.bisect_left(self._starts, start)
        last = bisect.bisect_right(self._starts, start)
        names = [_name(name) for _, size, name in self._rows[first:last] if address < start + size]
        return min(names, key=lambda name: (len(name) - len(name.lstrip(b"_")), len(name), name))


def _name(given: bytes | tuple[bytes, int]) -> bytes:
    if isinstance(given, bytes):
        return given
    strings, at = given
    return strings[at : strings.find(b"\0", at)]


class Image:
    """One file. path: as a process names it; root: what stands before it here (/proc/PID/root for a process that sees
    other files, else ""). content: the image itself, for one that is in no file.

    Raises ObjectError for what is no ELF file, OSError where the file cannot be read."""

    def __init__(self, path: str, root: str = "", content: bytes | None = None) -> None:
        self.path = path
        self.root = root
        self._content = content
        self._start, self._bytes = 0, len(content or b"")
        if content is None:
            self._start, self._bytes = _extent(root + path)
        self._header()

    # -- bytes

    def _error(self, cause: str, section: str = "", offset: int = 0) -> ObjectError:
        return ObjectError(f"reading {self.path}: {cause}", section, offset)

    def _read(self, offset: int, size: int, what: str) -> bytes:
        if offset < 0 or size < 0 or offset + size > self._bytes:
            raise self._error(f"{what} ({size} bytes from {offset}) is not within the file's {self._bytes} bytes", what, offset)
        if self._content is not None:
            return self._content[offset : offset + size]
        with open(self.file, "rb", buffering=0) as file:
            file.seek(self._start + offset)
            got = file.read(size)
        if len(got) != size:
            raise self._error(f"the file ends within {what}", what, offset)
        return got

    @property
    def file(self) -> str:
        """The file as it is opened here."""
        return self.root + self.path.partition("!/")[0]

    @property
    def start_bytes(self) -> int:
        """Where the image begins in its file: 0 but in an archive. The kernel's file offsets count from the file's start."""
        return self._start

    # -- headers

    def _header(self) -> None:
        ident = self._read(0, min(16, self._bytes), "the ELF header")
        if len(ident) < 16 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise self._error("not an ELF file")
        self.address_bytes = 4 * ident[4]
        self.byte_order = "<" if ident[5] == 1 else ">"
        word = "Q" if self.address_bytes == 8 else "I"
        form = struct.Struct(f"{self.byte_order}HHI3{word}I6H")
        fields = form.unpack(self._read(16, form.size, "the ELF header"))
        self.type, self.machine = fields[0], fields[1]
        self._segments_at, self._sections_at = fields[4], fields[5]
        self._segment_bytes, self._segment_count, self._section_bytes, self._section_count, self._names_index = fields[8:13]
        self._word = word

    @property
    def is_fixed(self) -> bool:
        """Whether its addresses are those that it is loaded at (ET_EXEC)."""
        return bool(self.type == 2)

    @functools.cached_property
    def segments(self) -> list[Segment]:
        """What is mapped, in the file's order."""
        return [one for type, one in self._program_headers() if type == _PT_LOAD]

    def _program_headers(self) -> list[tuple[int, Segment]]:
        form = struct.Struct(self.byte_order + ("IIQQQQQQ" if self._word == "Q" else "8I"))
        found = []
        for row in self._table(self._segments_at, self._segment_bytes, self._segment_count, form, "the program headers"):
            if self._word == "Q":
                type, flags, offset, address, _, size = row[:6]
            else:
                type, offset, address, _, size, _, flags = row[:7]
            found.append((type, Segment(address, offset, size, bool(flags & _PF_X))))
        return found

    def _table(self, offset: int, row_bytes: int, count: int, form: struct.Struct, what: str) -> list[tuple[int, ...]]:
        if not count or not offset:
            return []
        if row_bytes < form.size or count > _MAX_HEADERS:
            raise self._error(f"{what} are {count} rows of {row_bytes} bytes")
        content = self._read(offset, row_bytes * count, what)
        return [form.unpack_from(content, at * row_bytes) for at in range(count)]

    @functools.cached_property
    def sections(self) -> list[Section]:
        """Every section, in the file's order; [] for a file without section headers."""
        form = struct.Struct(f"{self.byte_order}II4{self._word}II2{self._word}")
        count = self._section_count
        if not count and self._sections_at:  # too many for the header: the first section's size says how many
            count = form.unpack(self._read(self._sections_at, form.size, "the section headers"))[5]
        rows = self._table(self._sections_at, self._section_bytes, count, form, "the section headers")
        names_at = rows[0][6] if rows and self._names_index == 0xFFFF else self._names_index
        names = self._read(rows[names_at][4], rows[names_at][5], "the sections' names") if names_at < len(rows) else b""
        return [Section(_string(names, row[0]), row[1], row[3], row[4], row[5], row[6]) for row in rows]

    def section(self, name: bytes) -> Section | None:
        """The first section of that name."""
        return next((one for one in self.sections if one.name == name), None)

    def section_content(self, section: Section) -> bytes:
        """A section's bytes. Raises ObjectError."""
        if section.type == _SHT_NOBITS:
            return b""
        return self._read(section.offset, section.size, f"section {section.name.decode('utf-8', 'replace')}")

    # -- addresses

    def offset_of(self, address: int) -> int | None:
        """The file offset that this address is loaded from; None for one that nothing is loaded at."""
        for one in self.segments:
            if one.address <= address < one.address + one.file_bytes:
                return address - one.address + one.offset + self._start
        return None

    def address_of(self, offset: int) -> int | None:
        """The address that this file offset is loaded at, in the code where two segments share a page."""
        offset -= self._start
        inside = [one for one in self.segments if one.offset <= offset < one.offset + one.file_bytes]
        found = next((one for one in inside if one.is_executable), inside[0] if inside else None)
        return None if found is None else offset - found.offset + found.address

    # -- functions

    def functions(self) -> Iterator[Symbol]:
        """Every function of the file's tables (.symtab and .dynsym, so some twice), of its debug file's before them."""
        for address, size, name in self._function_rows():
            yield Symbol(_name(name), address, size)

    @functools.cached_property
    def function_table(self) -> FunctionTable:
        """The functions by address. Not of what they are called: names are read when they are asked for."""
        return FunctionTable(list(self._function_rows()))

    def address(self, name: bytes, types: Collection[int] = FUNCTION_TYPES) -> int | None:
        """The address of the first symbol of that name and of one of these types."""
        wanted = name + b"\0"
        return next((at for at, _, (strings, place) in self._function_rows(types) if strings.startswith(wanted, place)), None)

    def _function_rows(self, types: Collection[int] = FUNCTION_TYPES) -> Iterator[tuple[int, int, tuple[bytes, int]]]:
        for image in (*self._debug_images(), self):
            yield from image._own_function_rows(types)

    def _own_function_rows(self, types: Collection[int]) -> Iterator[tuple[int, int, tuple[bytes, int]]]:
        for section in self.sections:
            if section.type in (_SHT_SYMTAB, _SHT_DYNSYM) and section.link < len(self.sections):
                strings = self.section_content(self.sections[section.link]) + b"\0"
                for address, size, type, name in self._symbol_rows(section):
                    if address and name < len(strings) and strings[name] and type in types:
                        yield address, size, (strings, name)

    def data_address(self, name: bytes) -> int | None:
        """The address of the first symbol of that name, of any type."""
        for section in self.sections:
            if section.type in (_SHT_SYMTAB, _SHT_DYNSYM) and section.link < len(self.sections):
                strings = self.section_content(self.sections[section.link])
                for address, _, _, at in self._symbol_rows(section):
                    if address and strings.startswith(name + b"\0", at):
                        return address
        return None

    def _symbol_rows(self, section: Section) -> Iterator[tuple[int, int, int, int]]:
        """(address, size, type, offset of the name)"""
        content = self.section_content(section)
        if self._word == "Q":
            for name, kind, _, _, address, size in struct.iter_unpack(f"{self.byte_order}IBBHQQ", content[: len(content) // 24 * 24]):
                yield address, size, kind & 15, name
        else:
            for name, address, size, kind, _, _ in struct.iter_unpack(f"{self.byte_order}IIIBBH", content[: len(content) // 16 * 16]):
                yield address, size, kind & 15, name

    # -- notes

    def notes(self, name: bytes = b"") -> list[Note]:
        """The notes of the section of that name; without one, those of the segments that are mapped for it."""
        if name:
            return [one for section in self.sections if section.name == name and section.type == _SHT_NOTE
                    for one in self._notes(self.section_content(section))]
        return [one for type, segment in self._program_headers() if type == _PT_NOTE
                for one in self._notes(self._read(segment.offset, segment.file_bytes, "a note segment"))]

    def _notes(self, content: bytes) -> Iterator[Note]:
        form, at = struct.Struct(f"{self.byte_order}III"), 0
        while at + form.size <= len(content):
            name_bytes, content_bytes, type = form.unpack_from(content, at)
            name_at = at + form.size
            start = name_at + (name_bytes + 3 & ~3)
            if start + content_bytes > len(content):
                raise self._error("a note goes on beyond its section", "notes", at)
            yield Note(content[name_at : name_at + name_bytes].rstrip(b"\0"), type, content[start : start + content_bytes])
            at = start + (content_bytes + 3 & ~3)

    @functools.cached_property
    def build_id(self) -> bytes:
        """What the linker called this build, b"" where it did not."""
        notes = self.notes() + self.notes(b".note.gnu.build-id")
        return next((one.content for one in notes if one.name == b"GNU" and one.type == _NT_GNU_BUILD_ID), b"")

    # -- separate debug information

    @functools.cached_property
    def debug_file(self) -> str | None:
        """The path of the file that was split off this one, by its build id, else by name and CRC."""
        for path in self._debug_by_build_id():
            if os.path.isfile(self.root + path):
                return path
        return self._debug_by_link()

    def _debug_by_build_id(self) -> list[str]:
        id = self.build_id.hex()
        return [f"{_DEBUG_ROOT}/.build-id/{id[:2]}/{id[2:]}.debug"] if len(id) > 2 else []

    def _debug_by_link(self) -> str | None:
        section = self.section(b".gnu_debuglink")
        content = self.section_content(section) if section else b""
        name, _, _ = content.partition(b"\0")
        if len(content) < 8 or not name or b"/" in name:
            return None
        crc = int.from_bytes(content[-4:], "little" if self.byte_order == "<" else "big")
        folder, file = os.path.dirname(self.path), os.fsdecode(name)
        for path in (f"{folder}/{file}", f"{folder}/.debug/{file}", f"{_DEBUG_ROOT}{folder}/{file}"):
            if path != self.path and _has_crc(self.root + path, crc):
                return path
        return None

    def _debug_images(self) -> list[Image]:
        """The images whose symbols are this one's: what was split off, and the small table that some distributions keep
        compressed in the file. One that cannot be read is none."""
        found = []
        try:
            if self.debug_file is not None:
                found.append(Image(self.debug_file, self.root))
            section = self.section(b".gnu_debugdata")
            if section is not None:
                found.append(Image(f"{self.path} (.gnu_debugdata)", "", _unpacked(self.section_content(section))))
        except (ObjectError, OSError):
            return found
        return found


def _unpacked(content: bytes) -> bytes:
    """At most so much of an xz stream as a symbol table may be."""
    lzma = importlib.import_module("lzma")
    try:
        return bytes(lzma.LZMADecompressor().decompress(content, _MAX_UNPACKED_BYTES))
    except lzma.LZMAError as error:
        raise ObjectError(f"unpacking .gnu_debugdata: {error}", ".gnu_debugdata") from error


def _string(strings: bytes, at: int) -> bytes:
    end = strings.find(b"\0", at)
    return strings[at:] if end < 0 else strings[at:end]


def _has_crc(path: str, crc: int) -> bool:
    try:
        with open(path, "rb") as file:
            value = 0
            while chunk := file.read(1 << 20):
                value = zlib.crc32(chunk, value)
    except OSError:
        return False
    return value == crc


def _extent(path: str) -> tuple[int, int]:
    """(first byte, size) of what path names in its file."""
    file, mark, member = path.partition("!/")
    status = os.stat(file)
    if not stat.S_ISREG(status.st_mode):
        raise ObjectError(f"reading {file}: not a regular file")
    return _member(file, member, status.st_size) if mark else (0, status.st_size)


def _member(file: str, name: str, size: int) -> tuple[int, int]:
    zipfile = importlib.import_module("zipfile")
    try:
        with zipfile.ZipFile(file) as archive:
            row = archive.getinfo(name)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ObjectError(f"reading {file}!/{name}: {error}") from error
    if row.compress_type:
        raise ObjectError(f"reading {file}!/{name}: it is compressed (only what is stored as it is can be mapped)")
    with open(file, "rb") as opened:
        opened.seek(row.header_offset)
        head = opened.read(_ZIP_LOCAL_HEADER.size)
    if len(head) < _ZIP_LOCAL_HEADER.size:
        raise ObjectError(f"reading {file}!/{name}: the archive ends within its header")
    _, name_bytes, extra_bytes = _ZIP_LOCAL_HEADER.unpack(head)
    start = row.header_offset + _ZIP_LOCAL_HEADER.size + name_bytes + extra_bytes
    if start + row.file_size > size:
        raise ObjectError(f"reading {file}!/{name}: the archive ends within it")
    return start, row.file_size
