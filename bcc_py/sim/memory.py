"""Memory of the simulated kernel: the runtime's C structs as Python sees them, kernel and user memory.

Three address spaces meet here. *Kernel addresses* (from KERNEL_START) and *user addresses* are numbers of
the simulated machine, the same in every run; programs reach them with the probe_read helpers, which check
every access (runtime/access.c). *Native addresses* are this process's: the context, map values, rings.

KernelMemory is one reserved region whose pages exist once touched. Blocks are handed out in sizes that are
powers of two, the one freed last first, so the same calls give the same addresses. UserMemory is a few
buffers at chosen addresses. Fields writes and reads the fields of one kernel struct at the offsets that
its BTF gives.

Runtime is the compiled C (state.h, api.h) as callables. This module is where the simulator uses cffi."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cffi

from bcc_py.errors import FaultError, MapError
from cfront.ctype import Record

__all__ = ["KERNEL_START", "Fields", "FilePart", "KernelMemory", "Runtime", "UserMemory"]

KERNEL_START = 0xFFFF888003C00000
KERNEL_BYTES = 256 << 20
_SMALLEST_BLOCK = 64
_BUILD_ID_BYTES = 20

_PROTOTYPE = re.compile(r"^([a-z0-9_]+(?: [a-z0-9_]+)*? \**)([a-z0-9_]+)\((.*)\);$", re.MULTILINE)
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Runtime:
    """The functions of api.h, as attributes, and the structs of state.h. address(name) gives a helper's.

    state_text, api_text: the headers. library: the linked code (anything with .address(name)); it is kept
    alive for as long as this object."""

    def __init__(self, state_text: str, api_text: str, library: Any) -> None:
        self.ffi = cffi.FFI()
        self.ffi.cdef(_without_comments(state_text))
        self._library = library
        for result, name, params in _PROTOTYPE.findall(_without_comments(api_text)):
            pointer = self.ffi.cast(f"{result}(*)({params})", library.address(name))
            setattr(self, name, pointer)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the runtime has no function {name}")

    def address(self, name: str) -> int:
        """Where the native code of a function is."""
        return int(self._library.address(name))

    def address_of(self, pointer: Any, field: str = "") -> int:
        """The native address of what pointer points at, or of that struct's field."""
        base = int(self.ffi.cast("uintptr_t", pointer))
        return base + (self.ffi.offsetof(self.ffi.typeof(pointer).item, field) if field else 0)

    def offset_of(self, struct: str, field: str) -> int:
        """Where in a struct ("struct cpu") a field is, in bytes."""
        return int(self.ffi.offsetof(struct, field))

    def copy_in(self, content: bytes) -> Any:
        """A new u8[] of exactly these bytes."""
        made = self.ffi.new("u8[]", len(content))
        self.ffi.memmove(made, content, len(content))
        return made

    def copy_out(self, pointer: Any, size: int) -> bytes:
        """size bytes from pointer on."""
        return bytes(self.ffi.buffer(pointer, size))


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


class KernelMemory:
    """The memory behind kernel addresses. Every access is checked: FaultError outside what was handed out."""

    def __init__(self, runtime: Runtime) -> None:
        flags = getattr(mmap, "MAP_PRIVATE", 2) | getattr(mmap, "MAP_ANONYMOUS", 0x20) | getattr(mmap, "MAP_NORESERVE", 0)
        self._pages = mmap.mmap(-1, KERNEL_BYTES, flags=flags)
        self.bytes: Any = runtime.ffi.from_buffer("u8[]", self._pages)
        self._runtime = runtime
        self._state: Any = None
        self._end = 0
        self._free: dict[int, list[int]] = {}
        self.blocks = 0  # handed out and not given back

    def bind(self, state: Any) -> None:
        """state: the struct sim that shows programs how far this memory goes."""
        self._state = state

    def take(self, size: int) -> int:
        """The kernel address of size zeroed bytes. Raises MapError (ENOMEM) when the memory is used up."""
        room = _block_size(size)
        free = self._free.get(room)
        if free:
            offset = free.pop()
            self._pages[offset : offset + room] = bytes(room)
        else:
            if self._end + room > KERNEL_BYTES:
                raise MapError(f"taking {size} bytes of simulated kernel memory: {KERNEL_BYTES} bytes are in use", errno=12)
            offset = self._end
            self._end += room
            self._state.kernel_size = self._end
        self.blocks += 1
        return KERNEL_START + offset

    def give(self, address: int, size: int) -> None:
        """Gives back what take(size) gave. The bytes stay readable, as a freed object's do."""
        self._free.setdefault(_block_size(size), []).append(self._offset(address, size))
        self.blocks -= 1

    def write(self, address: int, content: bytes) -> None:
        offset = self._offset(address, len(content))
        self._pages[offset : offset + len(content)] = content

    def read(self, address: int, size: int) -> bytes:
        offset = self._offset(address, size)
        return self._pages[offset : offset + size]

    def take_bytes(self, content: bytes) -> int:
        """The address of a new block that holds content."""
        address = self.take(len(content))
        self.write(address, content)
        return address

    def _offset(self, address: int, size: int) -> int:
        offset = address - KERNEL_START
        if offset < 0 or size < 0 or offset + size > self._end:
            raise FaultError(f"accessing {size} bytes of simulated kernel memory at {address:#x}: not mapped", address, size)
        return offset

    def close(self) -> None:
        """Idempotent. The struct sim must be gone."""
        if self.bytes is not None:
            self._runtime.ffi.release(self.bytes)
            self.bytes = None
            self._pages.close()


def _block_size(size: int) -> int:
    return max(_SMALLEST_BLOCK, 1 << (max(size, 1) - 1).bit_length())


@dataclass(frozen=True, slots=True)
class FilePart:
    """What of a file is mapped at addresses start to end - 1, from offset in the file on. build_id: b"" if it has none."""

    start: int
    end: int
    offset: int
    build_id: bytes
    path: str


class UserMemory:
    """One process's memory: buffers at user addresses. What is not mapped is -EFAULT to programs.

    segments: a struct segment[] for struct sim.user, ascending. files: the parts of files that are mapped, which say
    where code comes from and hold no bytes."""

    def __init__(self, runtime: Runtime, parts: Iterable[tuple[int, bytes]] = ()) -> None:
        self._runtime = runtime
        self._parts: dict[int, Any] = {}
        self._files: list[FilePart] = []
        self.segments: Any = None
        self.count = 0
        self.files: Any = runtime.ffi.NULL
        self.file_count = 0
        for address, content in parts:
            self._parts[address] = runtime.copy_in(content)
        self._publish()

    def map(self, address: int, content: bytes) -> None:
        """Makes content readable from address on. Raises ValueError if it overlaps what is mapped."""
        for start, part in self._parts.items():
            if address < start + len(part) and start < address + len(content):
                raise ValueError(f"mapping {len(content)} bytes at {address:#x}: {start:#x} is mapped there")
        if content:
            self._parts[address] = self._runtime.copy_in(content)
            self._publish()

    def map_file(self, part: FilePart) -> None:
        """Says that a part of a file is mapped. Raises ValueError for one that is empty, overlaps another, or whose build id
        is longer than 20 bytes."""
        if part.end <= part.start or len(part.build_id) > _BUILD_ID_BYTES:
            raise ValueError(f"mapping {part.path} at {part.start:#x} to {part.end:#x}: no such part, or a build id of {len(part.build_id)} bytes")
        for one in self._files:
            if part.start < one.end and one.start < part.end:
                raise ValueError(f"mapping {part.path} at {part.start:#x}: {one.path} is mapped there")
        self._files.append(part)
        self._files.sort(key=lambda one: one.start)
        self.files = self._runtime.ffi.new("struct file_part[]", [
            (one.start, one.end, one.offset, one.build_id.ljust(_BUILD_ID_BYTES, b"\0"), bool(one.build_id)) for one in self._files])
        self.file_count = len(self._files)

    def file_at(self, address: int) -> FilePart | None:
        """The part of a file that is mapped there."""
        return next((one for one in self._files if one.start <= address < one.end), None)

    def write(self, address: int, content: bytes) -> None:
        """Changes mapped bytes. Raises FaultError where they are not within one part."""
        for start, part in self._parts.items():
            if start <= address and address + len(content) <= start + len(part):
                self._runtime.ffi.memmove(part + (address - start), content, len(content))
                return
        raise FaultError(f"writing {len(content)} bytes of user memory at {address:#x}: not mapped", address, len(content))

    def unmap(self, address: int) -> None:
        """Takes away the part that was mapped at exactly address; nothing if there is none."""
        if self._parts.pop(address, None) is not None:
            self._publish()

    def read(self, address: int, size: int) -> bytes | None:
        """size bytes at address, or None where a program would get -EFAULT."""
        for start, part in self._parts.items():
            if start <= address and address + size <= start + len(part):
                return self._runtime.copy_out(part + (address - start), size)
        return None

    def _publish(self) -> None:
        ffi = self._runtime.ffi
        rows = sorted(self._parts.items())
        self.count = len(rows)
        self.segments = ffi.new("struct segment[]", max(len(rows), 1))
        for at, (start, part) in enumerate(rows):
            self.segments[at].start = start
            self.segments[at].end = start + len(part)
            self.segments[at].bytes = part


class Fields:
    """Writes the fields of one struct in kernel memory, by its BTF layout.

    A name is "field" or "outer.inner". Raises KeyError for a name that the struct lacks."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.size = record.size
        self._places: dict[str, tuple[int, int]] = {}

    def place(self, name: str) -> tuple[int, int]:
        """(offset, size) of a field, in bytes."""
        hit = self._places.get(name)
        if hit is None:
            hit = self._places[name] = _find_field(self.record, name)
        return hit

    def pack_into(self, image: bytearray, **values: int | bytes) -> None:
        """Sets fields in image, the struct's bytes. __ in a keyword stands for the dot. Numbers are cut to the
        field's size; bytes are padded with zeros."""
        for keyword, value in values.items():
            offset, size = self.place(keyword.replace("__", ".") if not keyword.startswith("__") else keyword)
            if isinstance(value, bytes):
                image[offset : offset + size] = value[:size].ljust(size, b"\0")
            else:
                struct.pack_into("<" + _FORMATS[size], image, offset, value & ((1 << 8 * size) - 1))

    def image(self, **values: int | bytes) -> bytes:
        """The bytes of a struct with these fields and zeros elsewhere."""
        made = bytearray(self.size)
        self.pack_into(made, **values)
        return bytes(made)


def _find_field(record: Record, name: str) -> tuple[int, int]:
    offset = 0
    parts = name.split(".")
    for at, part in enumerate(parts):
        member = record.member(part)
        if member is None:
            raise KeyError(f"struct {record.name} has no field {name}")
        offset += member.offset
        if at + 1 == len(parts):
            return offset, member.type.size
        if not isinstance(member.type, Record):
            raise KeyError(f"struct {record.name}: {part} of {name} is not a struct")
        record = member.type
    raise KeyError(name)
