"""The errors of bcc_py, drawn once:

    BpfError(Exception)                       catches all of ours; never raised bare
    +- CompileError .diagnostics              +- ObjectError .section .offset
    +- LoadError .program .errno              +- AttachError .hook .errno
    |  +- VerifierError .insn .span .log      +- MapError .map .errno  +- KeyNotFound (also KeyError) .key
    +- FaultError .address .size              +- SymbolError (also LookupError)
    +- NotSupportedError .feature .since

BpfError, CompileError and ObjectError live in cfront, which knows nothing of bcc_py. A message is
`<doing> <which>: <cause> (<hint>)`, one line, lower case, values with units."""

from __future__ import annotations

import os

from cfront.errors import BpfError, CompileError, ObjectError

__all__ = [
    "AttachError", "BpfError", "CompileError", "FaultError", "KeyNotFound", "LoadError", "MapError",
    "NotSupportedError", "ObjectError", "SymbolError", "VerifierError",
]


def _with_errno(message: str, errno: int) -> str:
    return f"{message}: {os.strerror(errno)} (errno {errno})" if errno else message


class LoadError(BpfError):
    """A program or object that a kernel does not take. errno is 0 where no system call said no."""

    def __init__(self, message: str, program: str = "", errno: int = 0) -> None:
        super().__init__(_with_errno(message, errno))
        self.program = program
        self.errno = errno


class VerifierError(LoadError):
    """The verifier's no. str() is the sentence and the C line it is about; log is everything.

    insn: the index (in 8-byte slots) of the refused instruction, -1 if none; span: "file:line:col" of
    its C line, "" without line info."""

    def __init__(
        self, message: str, program: str = "", insn: int = -1, span: str = "", log: str = "", errno: int = 0
    ) -> None:
        super().__init__(message, program)
        self.errno = errno
        self.insn = insn
        self.span = span
        self.log = log


class AttachError(BpfError):
    """A hook that cannot be attached to. hook: its name as given."""

    def __init__(self, message: str, hook: str = "", errno: int = 0) -> None:
        super().__init__(_with_errno(message, errno))
        self.hook = hook
        self.errno = errno


class MapError(BpfError):
    """A map operation that was refused. map: the map's name."""

    def __init__(self, message: str, map: str = "", errno: int = 0) -> None:
        super().__init__(_with_errno(message, errno))
        self.map = map
        self.errno = errno


class KeyNotFound(MapError, KeyError):
    """The map holds no such key (ENOENT). key: the key's bytes."""

    def __init__(self, message: str, map: str = "", key: bytes = b"") -> None:
        MapError.__init__(self, message, map)
        self.key = key

    def __str__(self) -> str:
        return str(self.args[0])


class FaultError(BpfError):
    """A memory access outside live memory, seen in a checked run."""

    def __init__(self, message: str, address: int = 0, size: int = 0) -> None:
        super().__init__(message)
        self.address = address
        self.size = size


class SymbolError(BpfError, LookupError):
    """A symbol that cannot be found."""


class NotSupportedError(BpfError):
    """This kernel lacks something. feature: its name; since: the first Linux that has it, or ""."""

    def __init__(self, message: str, feature: str = "", since: str = "") -> None:
        super().__init__(message)
        self.feature = feature
        self.since = since
