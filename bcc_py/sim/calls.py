"""Calls of the simulated kernel's functions, as programs at their entries and returns see them.

Input: a function's registers at its entry, its result at its return, its prototype in the kernel's types. Output: the
contexts of fentry and fexit programs: the arguments, 64 bits each, and behind them what the function gives.

A return says no arguments, so those of calls whose return somebody waits for are kept until then; a call that was
entered before has no context, as a call that began before Linux's trampoline was there."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from cfront.btf import TypeSource

__all__ = ["Calls"]

_ARGUMENTS = ("di", "si", "dx", "cx", "r8", "r9")
_MASK64 = (1 << 64) - 1


class Calls:
    """The calls that are under way and whose return is waited for."""

    def __init__(self, types: TypeSource) -> None:
        self._types = types
        self._counts: dict[str, int] = {}
        self._entered: dict[tuple[int, str], list[bytes]] = {}

    def enter(self, pid: int, function: str, regs: Mapping[str, int], is_waited_for: bool) -> bytes:
        """The arguments, by the function's prototype; none if it has none."""
        words = [regs.get(name, 0) & _MASK64 for name in _ARGUMENTS[: self.count(function)]]
        arguments = struct.pack(f"<{len(words)}Q", *words)
        if is_waited_for:
            self._entered.setdefault((pid, function), []).append(arguments)
        return arguments

    def leave(self, pid: int, function: str, result: int) -> bytes:
        """The arguments and the result, b"" for a call that was not seen to begin."""
        calls = self._entered.get((pid, function))
        if not calls:
            return b""
        arguments = calls.pop()
        if not calls:
            del self._entered[pid, function]
        return arguments + struct.pack("<Q", result & _MASK64)

    def count(self, function: str) -> int:
        """How many arguments the function takes, as far as is known."""
        found = self._counts.get(function)
        if found is None:
            proto = self._types.function(function)
            found = self._counts[function] = len(proto.params) if proto is not None else 0
        return found
