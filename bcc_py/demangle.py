"""C++ names as people write them, from the names in symbol tables.

The C++ library that this process already runs with (libstdc++, or LLVM's libc++abi) has the demangler that C++ itself
uses, __cxa_demangle; it is asked through ctypes. Where there is neither, names stay as they are.

Source: Itanium C++ ABI, section 3.4."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

__all__ = ["demangle"]

_LIBRARIES = ("libstdc++.so.6", "libc++abi.so.1", "libc++.1.dylib")
_PREFIXES = (b"_Z", b"___Z")


def demangle(name: bytes) -> bytes:
    """The C++ name, with its parameters' types; any other name unchanged."""
    return _demangled(name) if name.startswith(_PREFIXES) else name


@functools.lru_cache(maxsize=4096)
def _demangled(name: bytes) -> bytes:
    ask = _demangler()
    return name if ask is None else ask(name) or name


@functools.cache
def _demangler() -> Callable[[bytes], bytes | None] | None:
    """__cxa_demangle of the first library that has it."""
    return next((found for one in _LIBRARIES if (found := _demangler_of(one)) is not None), None)


def _demangler_of(library: str) -> Callable[[bytes], bytes | None] | None:
    try:
        function, free = ctypes.CDLL(library).__cxa_demangle, ctypes.CDLL(None).free
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    function.restype = ctypes.c_void_p
    free.argtypes, free.restype = (ctypes.c_void_p,), None

    def ask(name: bytes) -> bytes | None:
        place = function(name, None, None, None)  # memory that free() takes back
        if not place:
            return None
        text = ctypes.string_at(place)
        free(place)
        return text

    return ask
