"""Addresses of a process (or of a kernel) -> the functions that they are in, and back.

SymbolCache is a process as it was when it was last looked at: its executable mappings, the symbols of the files behind
them (image.py), of the kernel's vdso, and of code that was made at run time and told of in /tmp/perf-PID.map. Files are
opened as the process sees them: another mount namespace, or a file that has no path any more, makes no difference.

Invariant: what is answered is about the process as it is now. A process that runs another program is looked at again; an
address that is in nothing known is looked for once more, in the mappings and in a perf map that has grown since. A process
that is gone, or a file that cannot be read, leaves addresses without names, never an error.

BuildIdSymbols does the same for addresses that name their file by its build id.

Source: tools/perf/Documentation/jit-interface.txt (perf-PID.map); include/uapi/linux/bpf.h, struct bpf_stack_build_id."""

from __future__ import annotations

import bisect
import os
from typing import Any, Protocol

from bcc_py import process
from bcc_py.demangle import demangle
from bcc_py.errors import ObjectError, SymbolError
from bcc_py.image import FunctionTable, Image
from bcc_py.kallsyms import running_kernel
from bcc_py.kernel import KernelSymbol
from bcc_py.process import Mapping

__all__ = ["BuildIdSymbols", "KernelNames", "SymbolCache", "is_build_id_element", "symbol_text"]

_VDSO = "[vdso]"
_NO_FILES = ("//anon", "/dev/zero", "/anon_hugepage", "/SYSV", "/memfd:")  # what the kernel calls memory of no file
_UNREAD = -2  # for a perf map's size; one that is not there has -1
_BUILD_ID_VALID = 1  # BPF_STACK_BUILD_ID_VALID
_BUILD_ID_BYTES = 20  # that the kernel keeps

Resolved = tuple[bytes | None, int, bytes | None]  # function, bytes into it, module


class KernelNames(Protocol):
    """A kernel, as far as its functions have names (kernel.Kernel)."""

    def ksym(self, address: int) -> KernelSymbol | None: ...
    def has_function(self, name: str) -> bool: ...
    def function_address(self, name: str) -> int: ...


class _Running:
    """The kernel that this process runs on."""

    def ksym(self, address: int) -> KernelSymbol | None:
        return running_kernel().at(address)

    def has_function(self, name: str) -> bool:
        return name in running_kernel().addresses

    def function_address(self, name: str) -> int:
        return running_kernel().addresses.get(name, 0)


class SymbolCache:
    """Symbols of one process; of the kernel where pid is negative. kernel: which, by default the one that runs here."""

    def __init__(self, pid: int, kernel: KernelNames | None = None) -> None:
        self.pid = pid
        self._kernel = kernel or _Running()
        self._identity: tuple[int, int, int] | None = None
        self._mappings: list[Mapping] = []
        self._starts: list[int] = []
        self._images: dict[tuple[str, int, str], Image | None] = {}
        self._root = ""
        self._perf_path = ""
        self._perf_size = _UNREAD
        self._perf_table = FunctionTable([])
        if pid >= 0:
            self._look_again()

    # -- answers

    def resolve(self, addr: int, demangle: bool) -> Resolved:
        """(function, bytes into it, module). Of an address in a module but in no function of it: (None, the address in the
        module, module); of any other: (None, addr, None). demangle: whether C++ names are made readable."""
        if self.pid < 0:
            found = self._kernel.ksym(addr)
            return (found.name.encode(), found.offset, found.module.encode()) if found else (None, addr, None)
        self._follow()
        name, offset, module = self._resolve_known(addr)
        if name is None and (module is None or self._perf_grew()):
            self._look_again()
            name, offset, module = self._resolve_known(addr)
        return (_readable(name) if demangle and name is not None else name), offset, module

    def resolve_name(self, module: str | bytes | None, name: str | bytes) -> int:
        """The address of a function of a mapped file, -1 if there is none. module: the file's path as the process sees it;
        of a kernel it does not matter."""
        wanted = os.fsencode(name)
        if self.pid < 0:
            known = os.fsdecode(wanted)
            return self._kernel.function_address(known) or (0 if self._kernel.has_function(known) else -1)  # 0: it is hidden
        self._follow()
        path = os.fsdecode(module or b"")
        for one in self._mappings:
            image = self._image(one) if one.path == path else None
            address = image.address(wanted) if image is not None else None
            loaded_at = image.address_of(one.offset) if image is not None else None
            if address is not None and loaded_at is not None:
                return one.start + address - loaded_at
        return -1

    def _resolve_known(self, addr: int) -> Resolved:
        name, offset, module = self._in_mappings(addr)
        if name is None:
            jitted = self._perf_table.find(addr)
            if jitted is not None:
                return jitted[0], jitted[1], os.fsencode(self._perf_path)
        return name, offset, module

    def _in_mappings(self, addr: int) -> Resolved:
        at = bisect.bisect_right(self._starts, addr) - 1
        if at < 0 or addr >= self._mappings[at].end:
            return None, addr, None
        mapping = self._mappings[at]
        image, module = self._image(mapping), os.fsencode(mapping.path)
        place = image.address_of(addr - mapping.start + mapping.offset) if image is not None else None
        if image is None or place is None:
            return None, addr - mapping.start + mapping.offset, module
        found = _function(image, place)
        return (*found, module) if found else (None, place, module)

    # -- what is known

    def _follow(self) -> None:
        """Looks again if the process is not what it was."""
        if self._identity is not None and process.identity(self.pid) not in (self._identity, None):
            self._look_again()

    def _look_again(self) -> None:
        identity = process.identity(self.pid)
        if identity is None:
            return
        if identity != self._identity:
            self._images.clear()
            self._perf_size = _UNREAD
        self._identity = identity
        try:
            self._root = process.root(self.pid)
            self._mappings = [one for one in process.mappings(self.pid) if one.is_executable and _is_file(one.path)]
            self._starts = [one.start for one in self._mappings]
            self._perf_path = f"/tmp/perf-{process.namespace_pid(self.pid)}.map"
        except OSError:  # it has just ended
            return
        if self._perf_grew():
            self._perf_size, self._perf_table = _read_perf_map(f"/proc/{self.pid}/root{self._perf_path}")

    def _perf_grew(self) -> bool:
        return _file_bytes(f"/proc/{self.pid}/root{self._perf_path}") != self._perf_size

    def _image(self, mapping: Mapping) -> Image | None:
        """The file behind a mapping, None if it cannot be read or is no ELF file."""
        key = mapping.device, mapping.inode, mapping.path
        if key not in self._images:
            try:
                self._images[key] = self._open(mapping)
            except (ObjectError, OSError):
                self._images[key] = None
        return self._images[key]

    def _open(self, mapping: Mapping) -> Image:
        if mapping.path == _VDSO:
            size = mapping.end - mapping.start
            return Image(_VDSO, "", process.read_memory(self.pid, mapping.start, size))
        if mapping.is_deleted:
            return Image(f"/proc/{self.pid}/map_files/{mapping.start:x}-{mapping.end:x}")
        return Image(mapping.path, self._root)


class BuildIdSymbols:
    """Symbols of files that are named by their build ids. add() makes one known."""

    def __init__(self) -> None:
        self._images: dict[bytes, Image] = {}

    def add(self, path: str) -> None:
        """Makes an executable or a shared library known. Raises SymbolError where it cannot be read or has no build id."""
        try:
            image = Image(path)
            id = image.build_id
        except (ObjectError, OSError) as error:
            raise SymbolError(f"adding module {path}: {error}") from error
        if not id:
            raise SymbolError(f"adding module {path}: it has no build id (link it with -Wl,--build-id)")
        self._images[id[:_BUILD_ID_BYTES].ljust(_BUILD_ID_BYTES, b"\0")] = image

    def resolve(self, element: Any) -> Resolved:
        """As SymbolCache.resolve. element: a struct bpf_stack_build_id; its offset is one in the file."""
        image = self._images.get(bytes(element.build_id)) if element.status == _BUILD_ID_VALID else None
        if image is None:
            return None, int(element.offset), None
        place = image.address_of(int(element.offset))
        found = _function(image, place) if place is not None else None
        module = os.fsencode(image.path)
        return (*found, module) if found else (None, int(element.offset), module)


def is_build_id_element(address: object) -> bool:
    """Whether what a stack is made of names files by build ids (struct bpf_stack_build_id)."""
    return all(hasattr(address, one) for one in ("status", "build_id", "offset"))


def symbol_text(resolved: Resolved, show_module: bool, show_offset: bool) -> bytes:
    """As BCC prints it: b"name+0x12 [libc.so.6]", b"[unknown]"."""
    name, offset, module = resolved
    text = b"[unknown]" if name is None else name + (b"+0x%x" % offset if show_offset else b"")
    return text + (b" [%s]" % os.path.basename(module) if show_module and module is not None else b"")


def _readable(name: bytes) -> bytes:
    return demangle(name)


def _function(image: Image, address: int) -> tuple[bytes, int] | None:
    try:
        return image.function_table.find(address)
    except (ObjectError, OSError):
        return None


def _is_file(path: str) -> bool:
    return path == _VDSO or (path.startswith("/") and not path.startswith(_NO_FILES))


def _file_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _read_perf_map(path: str) -> tuple[int, FunctionTable]:
    """(the file's size, the functions in it). A line: start and size in hexadecimal digits, the name; others are passed over."""
    rows: list[tuple[int, int, bytes | tuple[bytes, int]]] = []
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return -1, FunctionTable([])
    for line in content.splitlines():
        words = line.split(None, 2)
        try:
            rows.append((int(words[0], 16), int(words[1], 16), words[2].strip()))
        except (IndexError, ValueError):
            continue
    return len(content), FunctionTable(rows)
