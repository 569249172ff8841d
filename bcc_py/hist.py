"""Histograms as text, line for line as BCC prints them.

Input: counts by slot. Output: lines without newlines; none if all counts are zero. Slot i of a log2
histogram counts values in [2^(i-1), 2^i - 1]; slot 0 is never shown and slot 1 begins at 0. Slot i of a
linear one counts the value i.

Invariant: a bar is as long as the greatest whole number of stars that does not exceed
width * count / greatest count, computed in floating point as BCC does. When a slot above 32 is used the
log2 columns are twice as wide and the bars half as long, so that a line still fits a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["LINEAR_SLOTS", "LOG2_SLOTS", "json_hist", "linear_hist", "log2_hist"]

LOG2_SLOTS = 65
LINEAR_SLOTS = 1025

_BAR_WIDTH = 40


def _bar(count: int, greatest: int, width: int) -> str:
    """The stars of one line: one for each i in 0, 1, ... with i <= width * count / greatest - 1."""
    length = width * count / greatest
    return "*" * max(0, min(int(length), width))


def _rows(slots: Iterable[int], values: Sequence[int], strip_leading_zero: bool) -> list[int]:
    """The slots to show: all of them, or from the first that counts something."""
    shown = list(slots)
    while strip_leading_zero and shown and not values[shown[0]]:
        shown.pop(0)
    return shown


def _last_used(values: Sequence[int]) -> int:
    return max((slot for slot, count in enumerate(values) if count > 0), default=-1)


def log2_hist(values: Sequence[int], val_type: str = "value", strip_leading_zero: bool = False) -> list[str]:
    """The lines of a power-of-two histogram. val_type: the word over the ranges; strip_leading_zero: leave out
    the empty lines before the first that is not."""
    last = _last_used(values)
    if last <= 0:
        return []
    number_width, title_width, title_indent, width = (10, 19, 5, _BAR_WIDTH) if last <= 32 else (20, 29, 15, _BAR_WIDTH // 2)
    greatest = max(values)
    lines = [f"{'':{title_indent}}{val_type:<{title_width}} : count     distribution"]
    for slot in _rows(range(1, last + 1), values, strip_leading_zero):
        low, high = (1 << slot) >> 1 if slot > 1 else 0, (1 << slot) - 1
        bar = _bar(values[slot], greatest, width)
        lines.append(f"{low:{number_width}d} -> {high:<{number_width}d} : {values[slot]:<8d} |{bar:<{width}}|")
    return lines


def linear_hist(values: Sequence[int], val_type: str = "value", strip_leading_zero: bool = False) -> list[str]:
    """The lines of a linear histogram; the arguments as of log2_hist."""
    last = _last_used(values)
    if last < 0:
        return []
    greatest = max(values)
    lines = [f"     {val_type:<13} : count     distribution"]
    for slot in _rows(range(last + 1), values, strip_leading_zero):
        bar = _bar(values[slot], greatest, _BAR_WIDTH)
        lines.append(f"        {slot:<10d} : {values[slot]:<8d} |{bar:<{_BAR_WIDTH}}|")
    return lines


def json_hist(values: Sequence[int], val_type: str, time: str, section: tuple[str, Any] | None = None) -> dict[str, Any]:
    """A power-of-two histogram as a dict, of the slots up to the last that is used. time: when it was taken, as text;
    section: the name and the value of its bucket."""
    last = max((slot for slot, count in enumerate(values) if count), default=0)
    rows = [{"interval-start": 0 if slot == 1 else 1 << slot - 1, "interval-end": (1 << slot) - 1, "count": int(values[slot])}
            for slot in range(1, last + 1)]
    made: dict[str, Any] = {"ts": time, "val_type": val_type, "data": rows}
    if section is not None:
        made[section[0]] = section[1]
    return made
