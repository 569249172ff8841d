"""C text -> ELF object, without clang and without kernel headers.

compile() gives the eBPF object of a text in BCC's dialect, compile_host() native code of plain C, types_from_c()
the BTF of a header; Btf reads BTF. What compiles is loaded when it is first asked for: a program whose object is
in the cache needs neither the parser nor LLVM.

Nothing here imports bcc_py. Any text is refused with CompileError or compiled; none ends the process."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cfront.btf import Btf, TypeSource
from cfront.errors import BpfError, CompileError, Diagnostic, ObjectError
from cfront.pause import collector_paused
from cfront.source import Span

if TYPE_CHECKING:
    from cfront.driver import (
        CPUS,
        Compiled,
        checked,
        compile,
        compile_host,
        compile_host_parts,
        compile_unit,
        syntax_tree,
        types_from_c,
    )

__all__ = ["CPUS", "BpfError", "Btf", "CompileError", "Compiled", "Diagnostic", "ObjectError", "Span", "TypeSource", "checked",
           "compile", "compile_host", "compile_host_parts", "compile_unit", "syntax_tree", "types_from_c"]

_OF_THE_DRIVER = frozenset(("CPUS", "Compiled", "checked", "compile", "compile_host", "compile_host_parts", "compile_unit", "syntax_tree", "types_from_c"))


def __getattr__(name: str) -> Any:
    if name not in _OF_THE_DRIVER:
        raise AttributeError(f"module 'cfront' has no attribute {name!r}")
    with collector_paused():
        return getattr(importlib.import_module("cfront.driver"), name)
