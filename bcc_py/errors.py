"""The errors of bcc_py, drawn once:

    BpfError(Exception)                       catches all of ours; never raised bare
    +- CompileError .diagnostics              +- ObjectError .section .offset
    +- LoadError .program .errno              +- AttachError .hook .errno
    |  +- VerifierError .sentence .insn .span .log .explain()
    |                                         +- MapError .map .errno  +- KeyNotFound (also KeyError) .key
    +- FaultError .address .size              +- SymbolError (also LookupError)
    +- NotSupportedError .feature .since

BpfError, CompileError and ObjectError live in cfront, which knows nothing of bcc_py. A message is
`<doing> <which>: <cause> (<hint>)`, one line, lower case, values with units."""

from __future__ import annotations

import importlib
import os
import struct

from bcc_py.spec import LineInfo, ProgramSpec
from cfront.errors import BpfError, CompileError, ObjectError, pointed

__all__ = [
    "AttachError", "BpfError", "CompileError", "FaultError", "KeyNotFound", "LoadError", "MapError",
    "NotSupportedError", "ObjectError", "SymbolError", "VerifierError", "line_at", "whole_line",
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
    """The verifier's no. str() is its sentence, and the C line that it is about with a caret; explain() tells the story.

    sentence: the reason in Linux's words, alone. insn: the index (in 8-byte slots) of the refused instruction, -1 if
    none; span: "file:line:col" of its C line, "" without line info. log: what the verifier wrote, path: of that the way to
    the refused instruction alone. spec: the program, None if it is not known."""

    def __init__(
        self, message: str, program: str = "", insn: int = -1, span: str = "", log: str = "", errno: int = 0, *,
        sentence: str = "", path: str = "", spec: ProgramSpec | None = None,
    ) -> None:
        super().__init__(message, program)
        self.errno = errno
        self.insn = insn
        self.span = span
        self.log = log
        self.sentence = sentence or message
        self.path = path or log
        self.spec = spec

    @classmethod
    def at(cls, doing: str, sentence: str, spec: ProgramSpec, slot: int, log: str, errno: int = 0, path: str = "") -> VerifierError:
        """The refusal of spec at slot (-1: of no instruction of its own), with the C line if there is line info."""
        message, span = f"{doing}: {sentence}", ""
        line = line_at(spec, slot)
        if line is not None:
            span = f"{line.file}:{line.line}:{line.col}"
            message += f" (insn {slot} at {line.file.rpartition('/')[2]}:{line.line})"
            text = whole_line(spec, line)
            if text.strip():
                message = "\n".join([message, *pointed(text, line.col)])
        elif slot >= 0:
            message += f" (insn {slot})"
        return cls(message, spec.name, slot, span, log, errno, sentence=sentence, path=path, spec=spec)

    def explain(self) -> str:
        """The refusal in plain words: where the value came from, on which path, which check is missing and what to
        write. Several lines."""
        explained: str = importlib.import_module("bcc_py.verifier.explain").explain(self)
        return explained


def line_at(spec: ProgramSpec, slot: int) -> LineInfo | None:
    """The C line that the instruction at slot comes from, None if that is not known."""
    found = None
    for one in spec.lines:
        if one.slot > slot:
            break
        if one.line:
            found = one
    return found


def whole_line(spec: ProgramSpec, line: LineInfo) -> str:
    """The C line with its indentation, which LineInfo.text may lack and its column counts.

    Source: Documentation/bpf/btf.rst, struct btf_header (hdr_len at 4, str_off at 16)."""
    if len(spec.btf) < 20 or not line.text_off:
        return line.text
    header_len, str_off = struct.unpack_from("<I8xI", spec.btf, 4)
    start = header_len + str_off + line.text_off
    raw = spec.btf[start : start + 4096].partition(b"\0")[0].decode("utf-8", "replace")
    return raw if raw.strip() == line.text.strip() else line.text


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
