"""A live map of the running Linux: bpf(2)'s map commands on a descriptor that this process owns.

Lengths are checked here, for the kernel reads and writes as much as the map's sizes say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bcc_py.errors import MapError
from bcc_py.kernel import MapBatch
from bcc_py.linux import sys
from bcc_py.spec import MapSpec
from cfront.ctype import round_up
from cfront.uapi import MapType

__all__ = ["Closable", "LinuxMap"]

_PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH, MapType.PERCPU_CGROUP_STORAGE})


class Closable(Protocol):
    """What its kernel closes in the end."""

    def close(self) -> None: ...


class LinuxMap:
    """A live map; spec holds what the kernel was really asked for (ring sizes rounded up, CPUs counted)."""

    def __init__(self, spec: MapSpec, fd: int, forget: Callable[[Closable], None]) -> None:
        self.spec = spec
        self.fd = fd
        self._forget = forget
        slots = sys.possible_cpus() if spec.type in _PER_CPU else 0
        self.value_bytes = round_up(spec.value_size, 8) * slots if slots else spec.value_size

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value stored at key, or None. Raises MapError."""
        self._check(key)
        return sys.map_lookup(self.fd, key, self.value_bytes, self.spec.name, flags)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value stored at key, which is deleted, or None. Raises MapError."""
        self._check(key)
        return sys.map_take(self.fd, key, self.value_bytes, self.spec.name, flags)

    def contains(self, value: bytes) -> bool:
        """Bloom filter: False if value was never put in. Raises MapError."""
        self._check(None)
        if len(value) != self.value_bytes:
            raise self._wrong("value", len(value), self.value_bytes)
        return sys.map_contains(self.fd, value, self.spec.name)

    def freeze(self) -> None:
        """From now on only programs write to it. Raises MapError."""
        self._check(None)
        sys.map_freeze(self.fd, self.spec.name)

    def lookup_batch(self, cursor: bytes | None, count: int) -> MapBatch:
        """At most count rows after cursor. Raises MapError."""
        return self._batch(cursor, count, is_delete=False)

    def lookup_and_delete_batch(self, cursor: bytes | None, count: int) -> MapBatch:
        """The same, and the rows are deleted. Raises MapError."""
        return self._batch(cursor, count, is_delete=True)

    def _batch(self, cursor: bytes | None, count: int, *, is_delete: bool) -> MapBatch:
        self._check(None)
        return MapBatch(*sys.map_batch(self.fd, cursor, count, self.spec.key_size, self.value_bytes, is_delete, self.spec.name))

    def update_batch(self, rows: Sequence[tuple[bytes, bytes]], flags: int = 0) -> None:
        """Stores all rows, up to the first that fails. Raises MapError."""
        for key, value in rows:
            self._check(key)
            if len(value) != self.value_bytes:
                raise self._wrong("value", len(value), self.value_bytes)
        sys.map_write_batch(self.fd, [key for key, _ in rows], [value for _, value in rows], flags, self.spec.name)

    def delete_batch(self, keys: Sequence[bytes]) -> None:
        """Removes all keys, up to the first that is not there. Raises KeyNotFound, MapError."""
        for key in keys:
            self._check(key)
        sys.map_write_batch(self.fd, keys, None, 0, self.spec.name)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Stores value at key. Raises MapError."""
        self._check(key)
        if len(value) != self.value_bytes:
            raise self._wrong("value", len(value), self.value_bytes)
        sys.map_update(self.fd, key, value, flags, self.spec.name)

    def delete(self, key: bytes) -> None:
        """Removes key. Raises KeyNotFound, MapError."""
        self._check(key)
        sys.map_delete(self.fd, key, self.spec.name)

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after key (None: the first), None at the end. Raises MapError."""
        self._check(key)
        return sys.map_next_key(self.fd, key, self.spec.key_size, self.spec.name)

    def _check(self, key: bytes | None) -> None:
        if self.fd < 0:
            raise MapError(f"using map {self.spec.name}: it is closed", self.spec.name)
        if key is not None and len(key) != self.spec.key_size:
            raise self._wrong("key", len(key), self.spec.key_size)

    def _wrong(self, what: str, given: int, wanted: int) -> MapError:
        return MapError(f"using map {self.spec.name}: a {what} of {given} bytes (it takes {wanted})", self.spec.name)

    def close(self) -> None:
        """Gives the descriptor back, once; programs that use the map keep it alive in the kernel."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._forget(self)
            sys.close(fd)
