"""Where a thing came from. A Span is kept from the first token to the debug lines of the object."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Span"]


class Span(NamedTuple):
    """A place in C text. line and col count from 1; macro: the macros whose expansion put the token there, the outermost
    first and blanks between, "" if there is none (the place is then that of the outermost one's use)."""

    file: str
    line: int
    col: int
    macro: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"
