"""The root of the error tree, and what the compiler says about C text.

BpfError is the root of every error that cfront and bcc_py raise; the whole tree is drawn in
bcc_py/errors.py. A CompileError carries up to MAX_DIAGNOSTICS diagnostics; its text is what a
person reads: file:line:col, the sentence, the source line, a caret, the macro it came from, and
a hint that says what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cfront.source import Span

__all__ = ["MAX_DIAGNOSTICS", "BpfError", "CompileError", "Diagnostic", "ObjectError", "counted", "pointed"]

MAX_DIAGNOSTICS = 20
_WINDOW = 160  # columns of a long source line that are shown


def counted(number: int, noun: str) -> str:
    """number and noun, in the plural where it is not one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def pointed(source_line: str, col: int) -> list[str]:
    """A source line and a caret under its column (from 1), indented; of a long line what is around the caret."""
    text, at = source_line.expandtabs(1), max(col - 1, 0)
    if len(text) > _WINDOW:
        start = max(at - _WINDOW // 2, 0)
        text, at = text[start : start + _WINDOW], at - start
    return [f"    {text}", "    " + " " * min(at, len(text)) + "^"]


class BpfError(Exception):
    """Catches every error of cfront and bcc_py; never raised itself."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong with (or doubtful in) C text.

    severity: "error" or "warning". span: where, or None for the text as a whole. source_line: the
    line that span points at, without its newline. hint: what to write instead, or "". group: of a
    warning, X of the flag -Wno-X that silences it, in clang's names."""

    message: str
    span: Span | None
    severity: str = "error"
    hint: str = ""
    source_line: str = ""
    group: str = ""

    def __str__(self) -> str:
        where = f"{self.span}: " if self.span else ""
        flag = f" [-W{self.group}]" if self.group else ""
        rows = [f"{where}{self.severity}: {self.message}{flag}"]
        if self.span and self.source_line:
            rows += pointed(self.source_line, self.span.col)
        if self.span and self.span.macro:
            rows.append("    in expansion of macro " + ", of ".join(reversed(self.span.macro.split(" "))))
        if self.hint:
            rows.append(f"    hint: {self.hint}")
        return "\n".join(rows)


class CompileError(BpfError):
    """C text that cannot become an object. diagnostics: at least one, at most MAX_DIAGNOSTICS, in
    the order of the text."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics[:MAX_DIAGNOSTICS])
        super().__init__("\n".join(str(one) for one in self.diagnostics))


class ObjectError(BpfError):
    """Foreign bytes (ELF, BTF, perf.data) that are malformed. section: the part that is, offset: the
    byte in it (or in the file) where reading stopped."""

    def __init__(self, message: str, section: str = "", offset: int = 0) -> None:
        super().__init__(f"{section or 'file'}+{offset:#x}: {message}")
        self.section = section
        self.offset = offset
