"""bcc.libbcc: the few attributes of BCC's C library that scripts touch."""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["bcc_stacktrace_build_id", "bcc_symbol", "bcc_symbol_option", "lib"]

_STT_GNU_IFUNC, _STT_FUNC = 10, 2


class bcc_symbol(ctypes.Structure):
    """A symbol: its names, its module's path and its offset."""

    _fields_ = [("name", ctypes.c_char_p), ("demangle_name", ctypes.c_char_p), ("module", ctypes.c_char_p), ("offset", ctypes.c_ulonglong)]


class bcc_symbol_option(ctypes.Structure):
    """What symbols are looked for. use_symbol_type: a bit for each ELF type."""

    _fields_ = [
        ("use_debug_file", ctypes.c_int), ("check_debug_file_crc", ctypes.c_int), ("lazy_symbolize", ctypes.c_int),
        ("use_symbol_type", ctypes.c_uint)]


class _BuildIdOffset(ctypes.Union):
    _fields_ = [("offset", ctypes.c_uint64), ("ip", ctypes.c_uint64)]


class bcc_stacktrace_build_id(ctypes.Structure):
    """struct bpf_stack_build_id of include/uapi/linux/bpf.h."""

    _fields_ = [("status", ctypes.c_uint32), ("build_id", ctypes.c_ubyte * 20), ("u", _BuildIdOffset)]


class _Library:
    """What stands for libbcc.so."""

    @staticmethod
    def bpf_module_rw_engine_enabled() -> bool:
        """Keys and leaves can be had as text, always."""
        return True

    @staticmethod
    def bpf_table_fd(module: Any, name: bytes) -> int:
        """The descriptor of a table. module: what BPF.module is."""
        return int(module.bpf[name].map_fd)


lib = _Library()
