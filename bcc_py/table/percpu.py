"""Tables with a value for each possible CPU. In the map each CPU's value fills whole 8 bytes."""

from __future__ import annotations

import ctypes
from typing import Any

from bcc_py.kernel import Kernel, Map
from bcc_py.table.array import ArrayBase
from bcc_py.table.hash import HashTable
from bcc_py.table.mapping import Table
from cfront.ctype import round_up

__all__ = ["LruPerCpuHash", "PerCpuArray", "PerCpuCgroupStorage", "PerCpuHash"]


class _PerCpu(Table):
    """Leaf is an array of one sLeaf for each possible CPU. BCC's Leaf of 4-byte numbers is of 64-bit ones: those are taken
    too."""

    def __init__(self, map: Map, kernel: Kernel, *types: Any, **more: Any) -> None:
        super().__init__(map, kernel, *types, **more)
        self.total_cpu = kernel.cpus
        self.Leaf = self.sLeaf * kernel.cpus

    def _leaf(self, value: bytes) -> Any:
        size = ctypes.sizeof(self.sLeaf)
        step = round_up(size, 8)
        return self.Leaf.from_buffer_copy(b"".join(value[at : at + size] for at in range(0, step * self.total_cpu, step)))

    def _leaf_bytes(self, leaf: Any) -> bytes:
        size = ctypes.sizeof(self.sLeaf)
        step = round_up(size, 8)
        if step > size and isinstance(leaf, (ctypes.Array, bytes)) and len(bytes(leaf)) == step * self.total_cpu:
            return bytes(leaf)
        raw = super()._leaf_bytes(leaf)
        pad = bytes(step - size)
        return b"".join(raw[at : at + size] + pad for at in range(0, size * self.total_cpu, size))

    def getvalue(self, key: Any) -> Any:
        """The values of all CPUs, whatever the reducer."""
        return self._leaf(self._lookup(key))

    def sum(self, key: Any) -> Any:
        """The sum over the CPUs, as an sLeaf."""
        return self.sLeaf(sum(self._numbers(key, "sum")))

    def max(self, key: Any) -> Any:
        """The greatest of the CPUs' values, as an sLeaf."""
        return self.sLeaf(max(self._numbers(key, "max")))

    def average(self, key: Any) -> float:
        """The mean over the CPUs."""
        return float(self.sum(key).value / self.total_cpu)

    def _numbers(self, key: Any, what: str) -> list[int]:
        if not issubclass(self.sLeaf, ctypes._SimpleCData):
            raise IndexError(f"Leaf must be an integer type for default {what} functions")
        return list(self.getvalue(key))


class PerCpuHash(_PerCpu, HashTable):
    """A hash map with a value for each CPU."""


class LruPerCpuHash(PerCpuHash):
    """A hash map with a value for each CPU that forgets what was used longest ago."""


class PerCpuCgroupStorage(PerCpuHash):
    """What programs keep for each control group that they are attached to, for each CPU."""


class PerCpuArray(_PerCpu, ArrayBase):
    """An array map with a value for each CPU."""

    def __delitem__(self, key: Any) -> None:
        """Makes every CPU's value zero bytes: an array's entries are always there."""
        self.clearitem(key)
