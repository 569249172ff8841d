"""`import bcc` means bcc_py: the alias under which upstream's scripts run unmodified.

install_as_bcc() puts modules of BCC's names in sys.modules. alias_path() is a directory for PYTHONPATH whose package bcc calls
it, for scripts that are started as programs of their own.

The class BPF of the alias (bcc.py) differs from bcc_py.BPF where scripts rely on BCC's way: all objects of a process are on
one kernel, names come back as bytes, what the compiler and the verifier say goes to stderr."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

__all__ = ["alias_path", "install_as_bcc"]

# BCC's module: ours
_MODULES = {
    "bcc": "bcc_py.compat.bcc", "bcc.containers": "bcc_py.compat.containers", "bcc.disassembler": "bcc_py.compat.disassembler",
    "bcc.exec": "bcc_py.compat.exec", "bcc.libbcc": "bcc_py.compat.libbcc", "bcc.perf": "bcc_py.compat.perf",
    "bcc.syscall": "bcc_py.compat.syscall", "bcc.table": "bcc_py.compat.table", "bcc.tcp": "bcc_py.compat.tcp", "bcc.usdt": "bcc_py.usdt",
    "bcc.utils": "bcc_py.compat.utils", "bcc.version": "bcc_py.compat.version",
}


def install_as_bcc() -> None:
    """From now on `import bcc` and its submodules give bcc_py's, whatever else is installed under that name. Again does
    nothing."""
    for name, ours in _MODULES.items():
        sys.modules[name] = importlib.import_module(ours)
    package = sys.modules["bcc"]
    package.__path__ = []  # a package, whose submodules are all there
    for name in _MODULES:
        if "." in name:
            setattr(package, name.partition(".")[2], sys.modules[name])


def alias_path() -> str:
    """A directory that makes `import bcc` this one where it stands first on PYTHONPATH."""
    return str(Path(__file__).with_name("path"))
