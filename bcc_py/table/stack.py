"""Stack traces, and maps without keys: queues, stacks and Bloom filters."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from typing import Any

from bcc_py.errors import KeyNotFound
from bcc_py.table.mapping import Table
from bcc_py.table.view import MapView

__all__ = ["Arena", "BloomFilter", "QueueStack", "StackTrace"]

_IP = struct.Struct("=Q")


class _Place(ctypes.Union):
    _fields_ = [("offset", ctypes.c_ulonglong), ("ip", ctypes.c_ulonglong)]


class bpf_stack_build_id(ctypes.Structure):
    """The kernel's struct of that name, by which BCC's sym() knows it: the offset in the file with this build id."""

    _anonymous_ = ("__anon0",)
    _fields_ = [("status", ctypes.c_int), ("build_id", ctypes.c_ubyte * 20), ("__anon0", _Place)]


class StackTrace(Table):
    """Stacks by their ids (bpf_get_stackid). An id below zero is an errno, and of no stack."""

    MAX_DEPTH = 127
    BPF_F_STACK_BUILD_ID = 1 << 5
    BPF_STACK_BUILD_ID_EMPTY = 0  # the stack ends here
    BPF_STACK_BUILD_ID_VALID = 1
    BPF_STACK_BUILD_ID_IP = 2  # the file is not known: an address only

    def walk(self, stack_id: Any, resolve: Callable[[Any], Any] | None = None) -> Iterator[Any]:
        """The addresses of a stack, innermost first, or what resolve makes of each. Of a map with build ids they are
        struct bpf_stack_build_id, up to the first whose file is not known. Raises KeyNotFound at once."""
        value = self._lookup(stack_id)
        found = self._files(value) if self.flags & self.BPF_F_STACK_BUILD_ID else self._addresses(value)
        return map(resolve, found) if resolve is not None else found

    def _addresses(self, value: bytes) -> Iterator[int]:
        for (ip,) in _IP.iter_unpack(value[: self.MAX_DEPTH * 8]):
            if not ip:
                return
            yield ip

    def _files(self, value: bytes) -> Iterator[Any]:
        for one in (bpf_stack_build_id * min(self.MAX_DEPTH, len(value) // ctypes.sizeof(bpf_stack_build_id))).from_buffer_copy(value):
            if one.status != self.BPF_STACK_BUILD_ID_VALID:
                return
            yield one

    def clear(self) -> None:
        """Does nothing, as in BCC: counts kept elsewhere name stacks by their ids. del empties one place."""


class QueueStack(MapView):
    """BPF_QUEUE and BPF_STACK: values without keys."""

    BPF_EXIST = 2  # flag of push: drops the oldest value where there is no room

    def push(self, leaf: Any, flags: int = 0) -> None:
        """Puts a value in. Raises MapError (E2BIG) where there is no room."""
        self.map.update(b"", self._leaf_bytes(leaf), flags)

    def pop(self) -> Any:
        """Takes the next value out. Raises KeyNotFound where there is none."""
        value = self.map.lookup_and_delete(b"")
        if value is None:
            raise KeyNotFound("Could not pop from table", self.name)
        return self._leaf(value)

    def peek(self) -> Any:
        """The next value, which stays. Raises KeyNotFound where there is none."""
        value = self.map.lookup(b"")
        if value is None:
            raise KeyNotFound("Could not peek table", self.name)
        return self._leaf(value)

    def itervalues(self) -> Iterator[Any]:
        """Takes values out until there is none, at most as many as there is room for: programs may push meanwhile."""
        for _ in range(self.max_entries):
            value = self.map.lookup_and_delete(b"")
            if value is None:
                return
            yield self._leaf(value)

    def values(self) -> list[Any]:
        """All values, taken out."""
        return list(self.itervalues())


class BloomFilter(MapView):
    """Values that were put in: `leaf in t` is True for those, and seldom for others."""

    def add(self, leaf: Any) -> None:
        """Puts a value in, for good."""
        self.map.update(b"", self._leaf_bytes(leaf))

    push = add

    def __contains__(self, leaf: object) -> bool:
        return self.map.contains(self._leaf_bytes(leaf))


class Arena(MapView):
    """Memory that programs share; its contents are not read through keys."""
