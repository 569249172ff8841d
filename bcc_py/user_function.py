"""Functions of programs and libraries, as uprobes name them: a file and an offset in it.

Input: a name ("c", "/usr/bin/bash", "/x.apk!/lib/y.so"), a symbol or an address of the file, a process. Output: a path that
the kernel can open (through /proc/PID/root where the process sees other files), and the offset.

An address is what the file's symbol table would say, wherever the file is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from bcc_py import process
from bcc_py.errors import ObjectError, SymbolError
from bcc_py.image import FUNCTION_TYPES, Image
from bcc_py.search_path import find_library, find_mapped_library
from bcc_py.spec import Hook, HookKind

__all__ = ["event_name", "resolve_symbol", "uprobe_hook", "user_functions"]


def uprobe_hook(
    kind: HookKind, name: str, symbol: str = "", address: int | None = None, pid: int = -1, symbol_offset: int = 0, semaphore: int = 0
) -> Hook:
    """Where a uprobe or uretprobe goes: symbol_offset bytes into the symbol, or at the address. semaphore: the address of
    the probe's counter, 0 if it has none. Raises SymbolError where there is no such file, symbol or address in it."""
    if symbol_offset < 0 or (address is not None and symbol_offset):
        raise ValueError(f"attaching to {name}: sym_off {symbol_offset} (bytes into a symbol, from 0; with addr there is none)")
    place = f"{symbol}{f'+{symbol_offset:#x}' if symbol_offset else ''}" if address is None else f"{address:#x}"
    with _image(name, pid, place) as image:
        at = image.address(os.fsencode(symbol)) if address is None else address
        if at is None:
            raise SymbolError("it has no such function")
        return Hook(kind, image.file, _offset(image, at + symbol_offset), pid=pid if pid > 0 else -1,
                    counter_offset=_offset(image, semaphore) if semaphore else 0)


def resolve_symbol(name: str, symbol: str, pid: int = -1, types: Collection[int] = FUNCTION_TYPES) -> tuple[str, int]:
    """(path, offset in that file) of a symbol, of one of these ELF types. Raises SymbolError."""
    with _image(name, pid, symbol) as image:
        at = image.address(os.fsencode(symbol), types)
        if at is None:
            raise SymbolError("it has no such symbol")
        return image.path, _offset(image, at)


def _offset(image: Image, address: int) -> int:
    found = image.offset_of(address)
    if found is None:
        raise SymbolError(f"nothing of the file is loaded at {address:#x}")
    return found


def user_functions(name: str, pattern: str | bytes, pid: int = -1) -> list[tuple[bytes, int]]:
    """(function, address) of every function whose name begins with what pattern matches, in the file's order; a function
    that is in two of its tables comes twice. Raises SymbolError where the file cannot be read."""
    matches = re.compile(os.fsencode(pattern)).match
    with _image(name, pid, "functions") as image:
        return [(one.name, one.address) for one in image.functions() if matches(one.name)]


def event_name(hook: Hook) -> bytes:
    """What BCC calls the event of a uprobe: b"p_libc_so_6_0x9d0e0_1234"."""
    file = re.sub(r"[^a-zA-Z0-9_]", "_", os.path.basename(hook.name))
    prefix = "p" if hook.kind is HookKind.UPROBE else "r"
    return os.fsencode(f"{prefix}_{file}_{hook.offset:#x}" + (f"_{hook.pid}" if hook.pid > 0 else ""))


@contextmanager
def _image(name: str, pid: int, what: str) -> Iterator[Image]:
    """The file of that name, as the process sees it if there is one; what goes wrong with it is told as BCC tells it."""
    path = (find_mapped_library(name, pid) if pid > 0 else None) or find_library(name)
    try:
        if path is None:
            raise SymbolError("no such library (write its name without lib and .so, or its path)")
        yield Image(path, process.root(pid))
    except (ObjectError, OSError, SymbolError) as error:
        raise SymbolError(f"could not determine address of symbol {what} in {name}: {error}") from error
