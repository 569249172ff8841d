"""The running kernel's symbols as /proc/kallsyms lists them: functions, their addresses, their modules.

Invariant: a list is read once and kept until modules come or go. Addresses are 0 where the reader may not see them
(kptr_restrict), and then no address has a name.

Source: kernel/kallsyms.c, s_show."""

from __future__ import annotations

import bisect
import functools

from bcc_py.kernel import KernelSymbol

__all__ = ["KernelFunctions", "running_kernel"]

_PATH = "/proc/kallsyms"
_DATA_TYPES = frozenset("bBdDrR")
_FUNCTION_TYPES = frozenset("tTwW")
_KERNEL = "kernel"
_SECOND_NAMES = ("__ia32_", "__pfx_", "__pi_")  # other names of functions that are better known by their first


class KernelFunctions:
    """What one reading of the list found. path: a file in its form."""

    def __init__(self, path: str = _PATH) -> None:
        self.addresses: dict[str, int] = {}  # of every symbol that is no data, by name
        self.functions: dict[str, int] = {}  # of those in text alone
        rows: list[tuple[int, int, str, str]] = []
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if len(words) >= 3 and words[1] not in _DATA_TYPES:
                    address, name = int(words[0], 16), words[2]
                    self.addresses.setdefault(name, address)
                    if words[1] in _FUNCTION_TYPES:
                        self.functions.setdefault(name, address)
                    if address:
                        rank = words[1].islower() + 2 * name.startswith(_SECOND_NAMES)
                        rows.append((address, rank, name, words[3].strip("[]") if len(words) > 3 else _KERNEL))
        rows.sort(key=lambda row: row[:2])  # of an address's names the global ones first
        self._rows = rows
        self._starts = [row[0] for row in rows]

    def at(self, address: int) -> KernelSymbol | None:
        """The symbol that the address is in; None before the first and from the last on, whose end is not known."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at < 0 or (at == len(self._rows) - 1 and address != self._starts[at]):
            return None
        start, _, name, module = self._rows[bisect.bisect_left(self._starts, self._starts[at])]
        return KernelSymbol(name, address - start, module)


def running_kernel() -> KernelFunctions:
    """The list as it is now. Raises OSError where there is none."""
    return _listed(_modules())


@functools.lru_cache(maxsize=1)
def _listed(_modules: bytes) -> KernelFunctions:
    return KernelFunctions()


def _modules() -> bytes:
    """What is loaded and where; a kernel without modules has none to tell of."""
    try:
        with open("/proc/modules", "rb") as file:
            return b" ".join(line.split()[0] + line.split()[-1] for line in file)
    except FileNotFoundError:
        return b""
