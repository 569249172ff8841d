"""Tables whose keys are 0 to max_entries - 1: plain arrays, and arrays of what the kernel knows by descriptor."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Any

from bcc_py.errors import KeyNotFound, MapError
from bcc_py.table.mapping import Table
from bcc_py.table.view import descriptor_of, number_of

__all__ = ["Array", "ArrayBase", "CgroupArray", "CpuMap", "DescriptorArray", "DevMap", "MapInMapArray", "ProgArray",
           "ReusePortSockArray", "SockMap", "XskMap"]


class ArrayBase(Table):
    """Maps whose keys are 0 to max_entries - 1. An index is an int (negative: from the end) or a ctypes integer."""

    def _key_bytes(self, key: Any) -> bytes:
        if isinstance(key, bytes):
            return super()._key_bytes(key)
        index = number_of(key)
        if index is None:
            raise IndexError("Array index must be an integer type")
        index = index + self.max_entries if index < 0 else index
        if not 0 <= index < self.max_entries:
            raise IndexError("Array index out of range")
        return index.to_bytes(4, sys.byteorder)

    def __len__(self) -> int:
        return self.max_entries

    def _raw_keys(self) -> list[bytes]:
        return [index.to_bytes(4, sys.byteorder) for index in range(self.max_entries)]

    def clearitem(self, key: Any) -> None:
        """Makes the value zero bytes."""
        self[key] = self.Leaf()


class Array(ArrayBase):
    """An array map."""

    def __delitem__(self, key: Any) -> None:
        """Makes the value zero bytes: an array's entries are always there."""
        self.clearitem(key)


class DescriptorArray(ArrayBase):
    """Arrays of what has a descriptor: a value is set as such an object or as a descriptor. del empties the place."""

    def _leaf_bytes(self, leaf: Any) -> bytes:
        return super()._leaf_bytes(descriptor_of(leaf))


class ProgArray(DescriptorArray):
    """Programs to tail-call: `t[i] = function`, or its descriptor. Read as the programs' ids."""


class MapInMapArray(DescriptorArray):
    """Maps: `t[i] = table`, or its descriptor. Read as the maps' ids."""


class XskMap(DescriptorArray):
    """AF_XDP sockets."""


class SockMap(DescriptorArray):
    """Sockets; only where values have 8 bytes can they be read, as the sockets' cookies."""

    def __delitem__(self, key: Any) -> None:
        raw = self._key_bytes(key)
        try:
            self.map.delete(raw)
        except MapError as error:
            if error.errno != errno.EINVAL:  # the kernel's word for an empty place
                raise
            raise KeyNotFound(f"deleting from map {self.name}: no socket at {int.from_bytes(raw, sys.byteorder)}", self.name, raw) from error


class ReusePortSockArray(DescriptorArray):
    """Sockets that share a port, for a program to choose from."""


class CgroupArray(DescriptorArray):
    """Control groups: `t[i] = path`, or a descriptor. Cannot be read."""

    def __setitem__(self, key: Any, leaf: Any) -> None:
        if not isinstance(leaf, (str, bytes, os.PathLike)):
            if not isinstance(descriptor_of(leaf), (int, ctypes._SimpleCData)):
                raise MapError("Cgroup array key must be either FD or cgroup path", self.name)
            super().__setitem__(key, leaf)
            return
        try:
            fd = os.open(leaf, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise MapError(f"updating map {self.name}: opening control group {os.fsdecode(leaf)}", self.name, error.errno or 0) from error
        try:
            super().__setitem__(key, fd)
        finally:
            os.close(fd)


class DevMap(ArrayBase):
    """Network devices: values are their interface numbers."""


class CpuMap(ArrayBase):
    """CPUs to send packets to: values are the lengths of their queues."""
