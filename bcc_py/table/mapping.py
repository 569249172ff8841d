"""Table: a map as a MutableMapping of ctypes instances, and its rows in batches.

Iteration goes over the keys that there were when it began, in the kernel's order, each once, although a key that a program
deletes meanwhile makes the kernel's walk begin again."""

from __future__ import annotations

import ctypes
import errno
import functools
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from bcc_py.errors import KeyNotFound, MapError
from bcc_py.kernel import Kernel, Map, MapBatch
from bcc_py.table.histogram import Histograms
from bcc_py.table.view import MapView
from cfront.ctype import CType

__all__ = ["Table"]

_BATCH_ROWS = 4096  # asked for at once
_SMALL_BYTES = 512  # values that may be read along with the keys
_NO_BATCHES = (errno.EINVAL, errno.EOPNOTSUPP, 524)  # what kernels say that cannot read such a map in batches; 524 is their own


class Table(MapView, Histograms, MutableMapping[Any, Any]):
    """What all tables have that hold values under keys. Every access raises MapError on what the kernel refuses.

    reducer: makes one value of a per-CPU leaf, as functools.reduce's. event_type: the C type of what a buffer carries."""

    _has_batches = True  # as far as we know

    def __init__(
        self, map: Map, kernel: Kernel, key_type: CType | None = None, leaf_type: CType | None = None,
        event_type: CType | None = None, reducer: Callable[[Any, Any], Any] | None = None, **more: Any,
    ) -> None:
        super().__init__(map, kernel, key_type, leaf_type, **more)
        self._event_type = event_type
        self.reducer = reducer

    def __getitem__(self, key: Any) -> Any:
        return self._reduced(self._leaf(self._lookup(key)))

    def _reduced(self, leaf: Any) -> Any:
        return functools.reduce(self.reducer, leaf) if self.reducer is not None else leaf

    def _lookup(self, key: Any) -> bytes:
        raw = self._key_bytes(key)
        value = self.map.lookup(raw)
        if value is None:
            raise KeyNotFound(f"looking up in map {self.name}: no such key {raw.hex()}", self.name, raw)
        return value

    def __setitem__(self, key: Any, leaf: Any) -> None:
        self.map.update(self._key_bytes(key), self._leaf_bytes(leaf))

    def __delitem__(self, key: Any) -> None:
        self.map.delete(self._key_bytes(key))

    def __contains__(self, key: object) -> bool:
        return self.map.lookup(self._key_bytes(key)) is not None

    def __iter__(self) -> Iterator[Any]:
        """The keys there were when iteration began, in the map's order."""
        return iter(self.keys())

    @property
    def _most_entries(self) -> int:
        """More there cannot be; storages say 0 and hold what there is."""
        return self.max_entries or 1 << 20

    def _raw_keys(self) -> list[bytes]:
        """Every key once, although a key deleted by a program meanwhile makes the walk start again."""
        rows = self._batched() if self.map.spec.value_size <= _SMALL_BYTES else None
        if rows is not None:
            return [key for key, _ in rows]
        found: dict[bytes, None] = {}
        raw = self.map.next_key(None)
        steps = 4 * self._most_entries + 16
        while raw is not None and steps:
            found[raw] = None
            raw = self.map.next_key(raw)
            steps -= 1
        return list(found)

    def _raw_items(self) -> list[tuple[bytes, bytes]]:
        """(key, value) of every entry, in the map's order; one that is deleted meanwhile is left out."""
        rows = self._batched()
        if rows is not None:
            return rows
        return [(raw, value) for raw in self._raw_keys() if (value := self.map.lookup(raw)) is not None]

    def _batched(self) -> list[tuple[bytes, bytes]] | None:
        """The same read in batches, which takes a tenth of the time; None where the kernel cannot."""
        if not self._has_batches:
            return None
        try:
            return self._read_all(self.map.lookup_batch, [])
        except MapError as error:
            if error.errno not in _NO_BATCHES:
                raise
            self._has_batches = False
            return None

    def __len__(self) -> int:
        return len(self._raw_keys())

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def next(self, key: Any) -> Any:
        """The key behind key (None: the first). Raises StopIteration at the end."""
        raw = self.map.next_key(None if key is None else self._key_bytes(key))
        if raw is None:
            raise StopIteration
        return self.Key.from_buffer_copy(raw)

    def iter(self) -> Iterator[Any]:
        return iter(self.keys())

    # BCC gives lists, and iterators under the names of Python 2
    def keys(self) -> list[Any]:  # type: ignore[override]
        return [self.Key.from_buffer_copy(raw) for raw in self._raw_keys()]

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        """(Key, Leaf) of every entry; one that is deleted meanwhile is left out."""
        return list(self.iteritems())

    def values(self) -> list[Any]:  # type: ignore[override]
        return [leaf for _, leaf in self.iteritems()]

    def itervalues(self) -> Iterator[Any]:
        return (leaf for _, leaf in self.iteritems())

    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        return ((self.Key.from_buffer_copy(key), self._reduced(self._leaf(value))) for key, value in self._raw_items())

    def clear(self) -> None:
        """Deletes every entry (of an array: zeroes it)."""
        for key in self.keys():
            try:
                del self[key]
            except KeyNotFound:
                continue

    def zero(self) -> None:
        """Makes every value zero bytes."""
        for key in self.keys():
            self[key] = self.Leaf()

    def _first_contents(self, count: int) -> list[str]:
        found: list[str] = []
        raw = self.map.next_key(None)
        while raw is not None and len(found) < count:
            value = self.map.lookup(raw)
            if value is not None:
                found.append(f"{_plainly(self.Key.from_buffer_copy(raw))}: {_plainly(self._leaf(value))}")
            raw = self.map.next_key(raw)
        return found

    # -- batches

    def items_lookup_batch(self) -> Iterator[tuple[Any, Any]]:
        """(Key, Leaf) of every entry, read many at a time; a later entry may be newer. Raises MapError, also where the
        kernel cannot read such a map so."""
        yield from self._rows(self.map.lookup_batch)

    def items_lookup_and_delete_batch(self) -> Iterator[tuple[Any, Any]]:
        """The same, and the entries are out of the map when the first is given."""
        yield from self._rows(self.map.lookup_and_delete_batch)

    def items_delete_batch(self, ct_keys: Any = None) -> None:
        """Deletes these keys (a ctypes array of Key), or every entry. Raises KeyNotFound at the first that is not there."""
        if ct_keys is None:
            for _ in self.items_lookup_and_delete_batch():
                pass
            return
        self._check_arrays(ct_keys)
        if len(ct_keys):
            self.map.delete_batch(_elements(ct_keys, self.Key))

    def items_update_batch(self, ct_keys: Any, ct_values: Any) -> None:
        """Stores the values at the keys: ctypes arrays of Key and Leaf, of the same length."""
        self._check_arrays(ct_keys, ct_values)
        if len(ct_keys):
            values = [self._leaf_bytes(one) for one in _elements(ct_values, self.Leaf)]
            self.map.update_batch(list(zip(_elements(ct_keys, self.Key), values, strict=True)))

    def _check_arrays(self, *arrays: Any) -> None:
        for one, kind in zip(arrays, (self.Key, self.Leaf), strict=False):
            if not isinstance(one, ctypes.Array):
                raise TypeError(f"a batch of table {self.name} takes ctypes arrays, not {type(one).__name__}")
            if len(one) > self.max_entries:
                raise ValueError("Array's length is wrong")
            if ctypes.sizeof(one._type_) != ctypes.sizeof(kind):
                raise TypeError(f"a batch of table {self.name} takes arrays of {kind.__name__}, not of {one._type_.__name__}")
        if len({len(one) for one in arrays}) > 1:
            raise ValueError("keys array length != values array length")

    def _rows(self, read: Callable[[bytes | None, int], MapBatch]) -> Iterator[tuple[Any, Any]]:
        rows: list[tuple[bytes, bytes]] = []
        try:
            self._read_all(read, rows)
        except MapError:
            yield from self._typed(rows)  # they may be nowhere else by now
            raise
        yield from self._typed(rows)

    def _read_all(
        self, read: Callable[[bytes | None, int], MapBatch], rows: list[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """rows, with the map's added, no more than there can be at once: programs may add some all the time."""
        most = self._most_entries
        count = min(most, _BATCH_ROWS)
        cursor: bytes | None = None
        while len(rows) < most:
            try:
                batch = read(cursor, count)
            except MapError as error:
                if error.errno != errno.ENOSPC or count >= most:
                    raise
                count = min(2 * count, most)  # more rows lie together than were asked for
                continue
            rows += batch.rows
            cursor = batch.cursor
            if cursor is None:
                break
        return rows

    def _typed(self, rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[Any, Any]]:
        return ((self.Key.from_buffer_copy(key), self._leaf(value)) for key, value in rows)


def _elements(array: Any, kind: Any) -> list[bytes]:
    raw, size = bytes(array), ctypes.sizeof(kind)
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def _plainly(value: Any) -> str:
    """A ctypes value for people: a number without its class."""
    if isinstance(value, ctypes._SimpleCData):
        return repr(value.value)
    return f"[{', '.join(_plainly(one) for one in value)}]" if isinstance(value, ctypes.Array) else repr(value)
