"""Where programs and shared libraries are: PATH, the dynamic linker's cache, a process's mappings.

Input: a name as people write it ("c", "bash", "/usr/bin/python3"). Output: a path, or None.

The cache is read whole and checked at every offset; one that is malformed or absent (musl has none) leaves the linker's
standard directories.

Source: glibc, sysdeps/generic/dl-cache.h and elf/cache.c."""

from __future__ import annotations

import functools
import os
import platform
import struct
from collections.abc import Iterator

from bcc_py import process

__all__ = ["find_exe", "find_library", "find_mapped_library", "library_cache"]

_CACHE = "/etc/ld.so.cache"
_DIRECTORIES = ("/lib", "/usr/local/lib", "/usr/lib")
_OLD_MAGIC, _NEW_MAGIC = b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"
_OLD_ROW, _NEW_ROW, _COUNT = struct.Struct("=iII"), struct.Struct("=iIIIQ"), struct.Struct("=I")
_NEW_HEADER_BYTES = 48
_TYPE_MASK, _LIBC6 = 0xFF, 3
_ABI_MASK = 0xFF00
# the machine's word in an entry's flags; those of 32 bits have none of their own, or one that no row here names
_ABIS = {"x86_64": 0x0300, "aarch64": 0x0A00, "ppc64le": 0x0500, "s390x": 0x0400, "riscv64": 0x1000, "loongarch64": 0x1200}


def find_exe(name: str) -> str | None:
    """The path of an executable: the first in PATH, or the path given, where it is one."""
    if "/" in name:
        return name if _is_executable(name) else None
    places = (os.path.join(one.strip('"'), name) for one in os.environ.get("PATH", os.defpath).split(os.pathsep))
    return next((one for one in places if _is_executable(one)), None)


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def find_library(name: str) -> str | None:
    """The path of the shared library lib{name}.so*, as the dynamic linker finds it. A path stays one."""
    if "/" in name:
        return name
    begin = f"lib{name}.so"
    found = next((path for library, path in library_cache() if library.startswith(begin)), None)
    return found or next(_in_directories(begin), None)


def find_mapped_library(name: str, pid: int) -> str | None:
    """The path of the shared library that the process has mapped, as the process sees it; None also where it is gone."""
    if "/" in name:
        return name
    try:
        paths = {one.path: None for one in process.mappings(pid) if one.is_executable and ".so" in one.path}
    except OSError:
        return None
    return next((one for one in paths if os.path.basename(one).startswith((f"lib{name}.", f"lib{name}-"))), None)


def _in_directories(begin: str) -> Iterator[str]:
    for directory in _DIRECTORIES:
        if os.path.isdir(directory):
            yield from (os.path.join(directory, one) for one in sorted(os.listdir(directory)) if one.startswith(begin))


@functools.lru_cache(maxsize=1)
def _read_cache(_changed_ns: int) -> tuple[tuple[str, str], ...]:
    with open(_CACHE, "rb") as file:
        return tuple(_rows(file.read()))


def library_cache() -> tuple[tuple[str, str], ...]:
    """(name, path) of every library of this machine's kind in the dynamic linker's cache, in its order."""
    try:
        return _read_cache(os.stat(_CACHE).st_mtime_ns)
    except OSError:
        return ()


def _rows(content: bytes) -> Iterator[tuple[str, str]]:
    strings_at, first, count, row = 0, 0, 0, _NEW_ROW
    new_at = content.find(_NEW_MAGIC)
    if new_at >= 0 and new_at + _NEW_HEADER_BYTES <= len(content):
        count = _COUNT.unpack_from(content, new_at + len(_NEW_MAGIC))[0]
        strings_at, first = new_at, new_at + _NEW_HEADER_BYTES
    elif content.startswith(_OLD_MAGIC) and len(content) >= 16:
        count, first, row = _COUNT.unpack_from(content, len(_OLD_MAGIC))[0], 16, _OLD_ROW
        strings_at = first + count * row.size
    wanted = _ABIS.get(platform.machine())
    for at in range(first, min(first + count * row.size, len(content) - row.size + 1), row.size):
        flags, key, value = row.unpack_from(content, at)[:3]
        if flags & _TYPE_MASK == _LIBC6 and (wanted is None or flags & _ABI_MASK == wanted):
            yield _text(content, strings_at + key), _text(content, strings_at + value)


def _text(content: bytes, at: int) -> str:
    return os.fsdecode(content[at : content.find(b"\0", at)])
