"""BCC's Python API and C dialect without clang: compile, verify and run eBPF programs on a simulated Linux
kernel (no root, any machine, repeatable) or on the real one.

    from bcc_py import BPF
    b = BPF(text='int kprobe__sys_clone(void *ctx) { bpf_trace_printk("hello\\\\n"); return 0; }', kernel="sim")
    b.trace_print()

BPF and its tables are BCC's; what is new is `kernel`: "sim", "replay:FILE" or "linux". verify() and verify_object()
ask the verifier alone, without a kernel."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bcc_py.bpf import BPF, Function, kernel_from_spec
from bcc_py.errors import (
    AttachError,
    BpfError,
    CompileError,
    FaultError,
    KeyNotFound,
    LoadError,
    MapError,
    NotSupportedError,
    ObjectError,
    SymbolError,
    VerifierError,
)
from bcc_py.symbols import SymbolCache
from bcc_py.table import Table
from bcc_py.usdt import USDT, USDTException

if TYPE_CHECKING:
    from bcc_py.verdict import Verdict, verify, verify_object

__version__ = "0.1.0"
__all__ = [
    "BPF",
    "USDT",
    "AttachError",
    "BpfError",
    "CompileError",
    "FaultError",
    "Function",
    "KeyNotFound",
    "LoadError",
    "MapError",
    "NotSupportedError",
    "ObjectError",
    "SymbolCache",
    "SymbolError",
    "Table",
    "USDTException",
    "Verdict",
    "VerifierError",
    "__version__",
    "kernel_from_spec",
    "verify",
    "verify_object",
]
_LATER = frozenset(("Verdict", "verify", "verify_object"))  # what brings the verifier is imported when first asked for


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(importlib.import_module("bcc_py.verdict"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
