"""Tables whose keys are whatever the program says: hashes, tries, and what is kept with kernel objects."""

from __future__ import annotations

import ctypes
from typing import Any

from bcc_py.errors import NotSupportedError
from bcc_py.table.mapping import Table
from bcc_py.table.view import descriptor_of

__all__ = ["CgroupStorage", "DevMapHash", "HashTable", "LocalStorage", "LpmTrie", "LruHash", "MapInMapHash", "SockHash", "StructOps"]


class HashTable(Table):
    """A hash map."""


class LruHash(HashTable):
    """A hash map that forgets what was used longest ago."""


class DevMapHash(HashTable):
    """Network devices by any number: values are their interface numbers."""


class CgroupStorage(HashTable):
    """What programs keep for each control group that they are attached to."""


class MapInMapHash(HashTable):
    """Maps by any key. A value is set as a table or a descriptor, and read as the map's id."""

    def _leaf_bytes(self, leaf: Any) -> bytes:
        return super()._leaf_bytes(descriptor_of(leaf))


class SockHash(HashTable):
    """Sockets by any key. A value is set as a socket or a descriptor; only where values have 8 bytes can they be read,
    as the sockets' cookies."""

    def _leaf_bytes(self, leaf: Any) -> bytes:
        return super()._leaf_bytes(descriptor_of(leaf))


class StructOps(HashTable):
    """The struct of functions that a struct_ops map registers with the kernel; its one key is 0."""


class LpmTrie(Table):
    """Longest-prefix matching: a key is a 32-bit number of bits, and so many bits that count. What a key that is too short
    lacks is zero."""

    def _bytes_of(self, given: Any, kind: Any, what: str) -> bytes:
        size = ctypes.sizeof(kind)
        if what == "key" and isinstance(given, (ctypes.Structure, ctypes.Array, bytes)) and 4 <= len(bytes(given)) < size:
            given = bytes(given).ljust(size, b"\0")
        return super()._bytes_of(given, kind, what)


class LocalStorage(Table):
    """What programs keep with sockets, tasks, inodes or control groups. A key is a descriptor of such an object, or what has
    one: a socket, a pidfd, an open file, a control group's directory. There is no way to list them."""

    _has_batches = False

    def _key_bytes(self, key: Any) -> bytes:
        return super()._key_bytes(descriptor_of(key))

    def _raw_keys(self) -> list[bytes]:
        raise NotSupportedError(
            f"iterating over table {self.name}: the kernel does not list what has storage (ask for an object by its descriptor)",
            self.map.spec.type.name)

    def _first_contents(self, count: int) -> list[str]:
        return []
