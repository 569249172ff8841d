"""Tables: BCC's view of maps from Python, typed by the C types of their keys and values.

Input: a live map, its kernel, and the C types of key, leaf and record. Output: a MutableMapping of ctypes
instances (HashTable, Array, PerCpuHash, ...), or a source of records (PerfEventArray, RingBuf).

Invariant: a Key, a Leaf and an event class have exactly the size and the offsets of their C types; what a
table gives back is a copy, which nothing in the map or the ring changes afterwards (records are copied many at a time:
rings.py).

Records without bit-fields become packed ctypes structures with their padding spelled out as char arrays
`__pad_N` (N: the index of the member behind it) and `__pad_end`, as BCC does, so that any C layout fits.
Differences from BCC, on purpose: keys may also be plain integers or bytes where the C type allows it, a
per-CPU leaf of any size is taken, and an event class knows typedefs, nested structs and enums."""

from __future__ import annotations

import bisect
import ctypes
import functools
import importlib
import sys
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.hist import LINEAR_SLOTS, LOG2_SLOTS, linear_hist, log2_hist
from bcc_py.kernel import Kernel, Map, Ring
from bcc_py.rings import Records
from cfront.ctype import Array as ArrayType
from cfront.ctype import CType, Enum, Integer, Pointer, Record, round_up
from cfront.uapi import MapType

__all__ = [
    "Array", "ArrayBase", "HashTable", "LruHash", "PerCpuArray", "PerCpuHash", "PerfEventArray", "RingBuf", "Table",
    "ctypes_from_ctype", "table_for",
]

_SIMPLE: dict[str, Any] = {
    "_Bool": ctypes.c_bool, "char": ctypes.c_char, "signed char": ctypes.c_byte, "unsigned char": ctypes.c_ubyte,
    "short": ctypes.c_short, "unsigned short": ctypes.c_ushort, "int": ctypes.c_int, "unsigned int": ctypes.c_uint,
    "long": ctypes.c_long, "unsigned long": ctypes.c_ulong, "long long": ctypes.c_longlong,
    "unsigned long long": ctypes.c_ulonglong,
}
_BY_SIZE = {1: (ctypes.c_ubyte, ctypes.c_byte), 2: (ctypes.c_ushort, ctypes.c_short), 4: (ctypes.c_uint, ctypes.c_int),
            8: (ctypes.c_ulonglong, ctypes.c_longlong), 16: (ctypes.c_ulonglong * 2, ctypes.c_ulonglong * 2)}

_KEPT_CHUNKS = 16  # of records: addresses that a callback kept are good for about a million bytes more
_BATCH_PAGES = 64  # of each CPU's perf ring that is only read in batches


# ---- C types as ctypes classes ----


def ctypes_from_ctype(type: CType) -> Any:
    """The ctypes class with the size and layout of a C type. A pointer is an unsigned 64-bit integer, an enum its
    integer, a type without members or size an empty array of bytes.

    Raises NotSupportedError for a record whose bit-fields ctypes would put elsewhere."""
    return _class_of(type, {})


def _class_of(type: CType, known: dict[int, Any]) -> Any:
    if isinstance(type, Enum):
        type = type.base
    if isinstance(type, Integer):
        return _SIMPLE[type.name] if type.name in _SIMPLE else _BY_SIZE[type.size][type.is_signed]
    if isinstance(type, Pointer):
        return ctypes.c_ulonglong
    if isinstance(type, ArrayType):
        return _class_of(type.element, known) * (type.count or 0)
    if isinstance(type, Record) and type.fields is not None:
        if id(type) not in known:
            known[id(type)] = _record_class(type, known)
        return known[id(type)]
    return ctypes.c_ubyte * type.size


def _record_class(record: Record, known: dict[int, Any]) -> Any:
    has_bits = any(one.bit_size is not None for one in record.fields or ())
    is_union = record.tag == "union"
    rows = _rows(record, known, needs_pads=not has_bits and not is_union)
    names = [name for name, *_ in rows if name.startswith("__anon")]
    body: dict[str, Any] = {} if has_bits else {"_pack_": 1}
    body |= {"_anonymous_": names} if names else {}
    base: Any = ctypes.Union if is_union else ctypes.Structure
    made = type(base)(record.name or "anonymous", (base,), body | {"_fields_": rows})
    _check_layout(record, made)
    return made


def _rows(record: Record, known: dict[int, Any], needs_pads: bool) -> list[tuple[Any, ...]]:
    """The _fields_ of a record's class."""
    rows: list[tuple[Any, ...]] = []
    end = 0
    for index, one in enumerate(record.fields or ()):
        if needs_pads and one.offset > end:
            rows.append((f"__pad_{index}", ctypes.c_char * (one.offset - end)))
        kind = _class_of(one.type, known)
        name = one.name or f"__anon{index}"
        rows.append((name, kind) if one.bit_size is None else (name, kind, one.bit_size))
        end = one.offset + ctypes.sizeof(kind)
    if needs_pads and record.size > end:
        rows.append(("__pad_end", ctypes.c_char * (record.size - end)))
    return rows


def _check_layout(record: Record, made: Any) -> None:
    places = {one.name: one.offset for one in record.fields or () if one.name and one.bit_size is None}
    fits = ctypes.sizeof(made) == record.size and all(getattr(made, name).offset == at for name, at in places.items())
    if not fits:
        raise NotSupportedError(
            f"reading {record} from Python: ctypes lays its bit-fields out differently (read them in C, or give the map"
            " a struct without bit-fields)", "bit-fields")


# ---- tables ----


class Table(MutableMapping[Any, Any]):
    """What all tables have. Key and Leaf: ctypes classes (of a per-CPU table, Leaf is an array of sLeaf, one for each
    CPU). Every access raises MapError on what the kernel refuses."""

    def __init__(
        self, map: Map, kernel: Kernel, key_type: CType | None = None, leaf_type: CType | None = None,
        event_type: CType | None = None, reducer: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.map = map
        self.kernel = kernel
        self.Key = _class_or_bytes(key_type, map.spec.key_size)
        self.sLeaf = _class_or_bytes(leaf_type, map.spec.value_size)
        self.Leaf: Any = self.sLeaf
        self._event_type = event_type
        self._reducer = reducer

    @property
    def name(self) -> str:
        return self.map.spec.name

    @property
    def map_fd(self) -> int:
        return self.map.fd

    def get_fd(self) -> int:
        return self.map.fd

    @property
    def ttype(self) -> int:
        return int(self.map.spec.type)

    @property
    def flags(self) -> int:
        return self.map.spec.flags

    @property
    def max_entries(self) -> int:
        return self.map.spec.max_entries

    # keys and leaves

    def _key_bytes(self, key: Any) -> bytes:
        return _bytes_of(key, self.Key, "key", self.name)

    def _leaf_bytes(self, leaf: Any) -> bytes:
        return _bytes_of(leaf, self.Leaf, "value", self.name)

    def _leaf(self, value: bytes) -> Any:
        return self.Leaf.from_buffer_copy(value)

    def __getitem__(self, key: Any) -> Any:
        raw = self._key_bytes(key)
        value = self.map.lookup(raw)
        if value is None:
            raise KeyNotFound(f"looking up in map {self.name}: no such key {raw.hex()}", self.name, raw)
        leaf = self._leaf(value)
        return functools.reduce(self._reducer, leaf) if self._reducer is not None else leaf

    def __setitem__(self, key: Any, leaf: Any) -> None:
        self.map.update(self._key_bytes(key), self._leaf_bytes(leaf))

    def __delitem__(self, key: Any) -> None:
        self.map.delete(self._key_bytes(key))

    def __contains__(self, key: object) -> bool:
        return self.map.lookup(self._key_bytes(key)) is not None

    def __iter__(self) -> Iterator[Any]:
        """The keys there were when iteration began, in the map's order."""
        return iter([self.Key.from_buffer_copy(raw) for raw in self._raw_keys()])

    def _raw_keys(self) -> list[bytes]:
        """Every key once, although a key deleted by a program meanwhile makes the walk start again."""
        found: dict[bytes, None] = {}
        raw = self.map.next_key(None)
        steps = 4 * self.map.spec.max_entries + 16
        while raw is not None and steps:
            found[raw] = None
            raw = self.map.next_key(raw)
            steps -= 1
        return list(found)

    def __len__(self) -> int:
        return len(self._raw_keys())

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    # BCC gives lists, and iterators under the names of Python 2
    def keys(self) -> list[Any]:  # type: ignore[override]
        return list(self)

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        """(Key, Leaf) of every entry; one that is deleted meanwhile is left out."""
        return list(self.iteritems())

    def values(self) -> list[Any]:  # type: ignore[override]
        return [leaf for _, leaf in self.iteritems()]

    def itervalues(self) -> Iterator[Any]:
        return (leaf for _, leaf in self.iteritems())

    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        for key in self:
            try:
                yield key, self[key]
            except KeyNotFound:
                continue

    def clear(self) -> None:
        """Deletes every entry (of an array: zeroes it)."""
        for key in self:
            try:
                del self[key]
            except KeyNotFound:
                continue

    def zero(self) -> None:
        """Makes every value zero bytes."""
        for key in self:
            self.map.update(bytes(key), bytes(ctypes.sizeof(self.Leaf)))

    # histograms

    def print_log2_hist(
        self, val_type: str = "value", section_header: str = "Bucket ptr",
        section_print_fn: Callable[[Any], Any] | None = None, bucket_fn: Callable[[Any], Any] | None = None,
        strip_leading_zero: bool | None = None, bucket_sort_fn: Callable[[list[Any]], list[Any]] | None = None,
    ) -> None:
        """Prints a power-of-two histogram of the table: its keys are slots (BPF_HISTOGRAM and bpf_log2l), or structs of
        a bucket and a slot, which give one histogram for each bucket under a line of its own.

        val_type: the word over the ranges. section_header: the word before a bucket. section_print_fn: what to print
        for a bucket; bucket_fn: what to group it by; bucket_sort_fn: puts a list of buckets in order."""
        self._print_hist(
            lambda counts: log2_hist(counts, val_type, bool(strip_leading_zero)), LOG2_SLOTS, "print_log2_hist",
            section_header, section_print_fn, bucket_fn, bucket_sort_fn)

    def print_linear_hist(
        self, val_type: str = "value", section_header: str = "Bucket ptr",
        section_print_fn: Callable[[Any], Any] | None = None, bucket_fn: Callable[[Any], Any] | None = None,
        strip_leading_zero: bool | None = None, bucket_sort_fn: Callable[[list[Any]], list[Any]] | None = None,
    ) -> None:
        """Prints a linear histogram; the arguments as of print_log2_hist. At most LINEAR_SLOTS slots: IndexError."""
        self._print_hist(
            lambda counts: linear_hist(counts, val_type, bool(strip_leading_zero)), LINEAR_SLOTS, "print_linear_hist",
            section_header, section_print_fn, bucket_fn, bucket_sort_fn)

    def _print_hist(
        self, lines: Callable[[Sequence[int]], list[str]], slots: int, caller: str, section_header: str,
        section_print_fn: Callable[[Any], Any] | None, bucket_fn: Callable[[Any], Any] | None,
        bucket_sort_fn: Callable[[list[Any]], list[Any]] | None,
    ) -> None:
        out: list[str] = []
        if issubclass(self.Key, ctypes.Structure):
            counts_of = self._counts_by_bucket(slots, caller, bucket_fn)
            buckets = [bucket for bucket, _ in counts_of.values()]
            for bucket in bucket_sort_fn(buckets) if bucket_sort_fn else buckets:
                shown = f"{section_print_fn(bucket)}" if section_print_fn else f"{bucket!r}"
                out += [f"\n{section_header} = {shown}", *lines(counts_of[_identity(bucket)][1])]
        else:
            counts = [0] * slots
            for key, leaf in self.iteritems():
                _count(counts, key.value, leaf, caller)
            out = lines(counts)
        sys.stdout.write("".join(f"{line}\n" for line in out))

    def _counts_by_bucket(
        self, slots: int, caller: str, bucket_fn: Callable[[Any], Any] | None
    ) -> dict[Any, tuple[Any, list[int]]]:
        """(bucket, its counts) by what identifies the bucket. The first member of the key is the bucket, the next one
        that is not padding is the slot."""
        bucket_name, slot_name = [name for name, *_ in self.Key._fields_ if not name.startswith("__pad_")][:2]
        found: dict[Any, tuple[Any, list[int]]] = {}
        for key, leaf in self.iteritems():
            bucket = getattr(key, bucket_name)
            bucket = bucket_fn(bucket) if bucket_fn else bucket
            _, counts = found.setdefault(_identity(bucket), (bucket, [0] * slots))
            _count(counts, getattr(key, slot_name), leaf, caller)
        return found


def _identity(bucket: Any) -> Any:
    """What makes two buckets the same: the bytes of a ctypes value, else the value."""
    return bytes(bucket) if isinstance(bucket, (ctypes.Structure, ctypes.Union, ctypes.Array)) else bucket


def _count(counts: list[int], slot: int, leaf: Any, caller: str) -> None:
    if not 0 <= slot < len(counts):
        raise IndexError(f"Index in {caller}() of {slot} exceeds max of {len(counts)}.")
    counts[slot] = sum(leaf) if isinstance(leaf, ctypes.Array) else leaf.value if hasattr(leaf, "value") else leaf


def _class_or_bytes(type: CType | None, size: int) -> Any:
    """The class of a C type; without one, an integer of that size, or bytes."""
    if type is not None:
        return ctypes_from_ctype(type)
    return _BY_SIZE[size][0] if size in (1, 2, 4, 8) else ctypes.c_ubyte * size


def _bytes_of(given: Any, kind: Any, what: str, name: str) -> bytes:
    """The bytes of a key or value given as a ctypes instance, as bytes, or as what kind's constructor takes."""
    if isinstance(given, (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData, bytes)):
        raw = bytes(given)
    elif isinstance(given, int) and issubclass(kind, ctypes._SimpleCData):
        raw = bytes(kind(given))
    else:
        raise TypeError(f"a {what} of table {name} is a {kind.__name__}, not {type(given).__name__}")
    if len(raw) != ctypes.sizeof(kind):
        raise MapError(f"using map {name}: a {what} of {len(raw)} bytes (it takes {ctypes.sizeof(kind)})", name)
    return raw


class HashTable(Table):
    """A hash map."""


class LruHash(HashTable):
    """A hash map that forgets what was used longest ago."""


class ArrayBase(Table):
    """Maps whose keys are 0 to max_entries - 1. An index is an int (negative: from the end) or a ctypes integer."""

    def _key_bytes(self, key: Any) -> bytes:
        index = key.value if isinstance(key, ctypes._SimpleCData) else key
        if isinstance(index, bytes):
            return index
        if not isinstance(index, int):
            raise IndexError("Array index must be an integer type")
        index = index + self.max_entries if index < 0 else index
        if not 0 <= index < self.max_entries:
            raise IndexError("Array index out of range")
        return index.to_bytes(4, sys.byteorder)

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[Any]:
        return (self.Key(index) for index in range(self.max_entries))

    def __delitem__(self, key: Any) -> None:
        """Makes the value zero bytes: an array's entries are always there."""
        self.map.update(self._key_bytes(key), bytes(ctypes.sizeof(self.Leaf)))

    def clearitem(self, key: Any) -> None:
        del self[key]


class Array(ArrayBase):
    """An array map."""


class _PerCpu(Table):
    """Leaf is an array of one sLeaf for each possible CPU. In the map each CPU's value fills whole 8 bytes."""

    def __init__(self, map: Map, kernel: Kernel, *types: Any, **more: Any) -> None:
        super().__init__(map, kernel, *types, **more)
        self.total_cpu = kernel.cpus
        self.Leaf = self.sLeaf * kernel.cpus

    def _leaf(self, value: bytes) -> Any:
        size = ctypes.sizeof(self.sLeaf)
        step = round_up(size, 8)
        return self.Leaf.from_buffer_copy(b"".join(value[at : at + size] for at in range(0, step * self.total_cpu, step)))

    def _leaf_bytes(self, leaf: Any) -> bytes:
        raw = super()._leaf_bytes(leaf)
        size = ctypes.sizeof(self.sLeaf)
        pad = bytes(round_up(size, 8) - size)
        return b"".join(raw[at : at + size] + pad for at in range(0, size * self.total_cpu, size))

    def zero(self) -> None:
        """Makes every CPU's value zero bytes."""
        for key in self:
            self[key] = self.Leaf()

    def getvalue(self, key: Any) -> Any:
        """The values of all CPUs."""
        raw = self._key_bytes(key)
        value = self.map.lookup(raw)
        if value is None:
            raise KeyNotFound(f"looking up in map {self.name}: no such key {raw.hex()}", self.name, raw)
        return self._leaf(value)

    def sum(self, key: Any) -> Any:
        """The sum over the CPUs, as an sLeaf."""
        return self.sLeaf(sum(self._numbers(key)))

    def max(self, key: Any) -> Any:
        """The greatest of the CPUs' values, as an sLeaf."""
        return self.sLeaf(max(self._numbers(key)))

    def average(self, key: Any) -> float:
        """The mean over the CPUs."""
        return sum(self._numbers(key)) / self.total_cpu

    def _numbers(self, key: Any) -> list[int]:
        if not issubclass(self.sLeaf, ctypes._SimpleCData):
            raise IndexError("Leaf must be an integer type for default sum functions")
        return list(self.getvalue(key))


class PerCpuHash(_PerCpu, HashTable):
    """A hash map with a value for each CPU."""


class PerCpuArray(_PerCpu, ArrayBase):
    """An array map with a value for each CPU."""

    def __delitem__(self, key: Any) -> None:
        self[key] = self.Leaf()


class _Records(Table):
    """A table that carries records. `ring` is its reading side once it is opened, for Kernel.poll. lost: how many records
    found no room since then."""

    ring: Ring | None = None

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._now: Records | None = None  # what is being handed over
        self._slots: Any = None  # its records as ctypes, where all are alike
        self._base = 0  # address of the first one's bytes
        self._recent: deque[Records] = deque(maxlen=_KEPT_CHUNKS)  # addresses in them are good for a while
        self._slot_classes: dict[tuple[int, int], Any] = {}

    @functools.cached_property
    def Event(self) -> Any:
        """The ctypes class of a record. Raises MapError where the object does not say what the buffer carries."""
        if self._event_type is None:
            raise MapError(
                f"reading a record of {self.name}: its type is not known (cast the data to a ctypes structure of your own)",
                self.name)
        return ctypes_from_ctype(self._event_type)

    @property
    def lost(self) -> int:
        return self.ring.lost if self.ring is not None else 0

    def event(self, data: Any) -> Any:
        """The record at data (what a callback was given), as an instance of its C type: a view that may be kept.

        data: the callback's argument, or any address or ctypes pointer to enough bytes, which are copied. Raises MapError
        for a record that is shorter than its type."""
        now = self._now
        if now is not None:
            at = now.done - 1
            if self._slots is not None and data == self._base + at * now.stride:
                return self._slots[at].event
            if isinstance(data, int) and 0 <= data - now.address < len(now.memory):
                return self._view(now, data - now.address)
        return self.Event.from_buffer_copy(ctypes.string_at(data, ctypes.sizeof(self.Event)))

    def _view(self, records: Records, offset: int) -> Any:
        offsets, sizes = records.places
        at = bisect.bisect_right(offsets, offset) - 1
        room = offsets[at] + sizes[at] - offset if at >= 0 else 0
        size = ctypes.sizeof(self.Event)
        if room < size:
            raise MapError(f"reading a record of {self.name}: {max(room, 0)} bytes, its type takes {size}", self.name)
        return self.Event.from_buffer(records.memory, offset)

    def _show(self, records: Records) -> None:
        """From now on event() is asked about these."""
        self._now, self._slots = records, None
        self._recent.append(records)
        if records.stride and self._event_type is not None and records.size >= ctypes.sizeof(self.Event):
            kind = self._slot_class(records.stride, records.size)
            if kind is not None:
                self._slots = (kind * records.count).from_buffer(records.memory, records.first)
                self._base = records.address + records.first

    def _slot_class(self, stride: int, size: int) -> Any:
        """A record and what lies between it and the next; None for a plain number, which ctypes would give as an int."""
        if issubclass(self.Event, ctypes._SimpleCData):
            return None
        made = self._slot_classes.get((stride, size))
        if made is None:
            gap = stride - ctypes.sizeof(self.Event)
            rows = [("event", self.Event), *([("gap", ctypes.c_char * gap)] if gap else [])]
            made = self._slot_classes[stride, size] = type("Slot", (ctypes.Structure,), {"_pack_": 1, "_layout_": "ms", "_fields_": rows})
        return made

    def _opened(self, ring: Ring, deliver: Callable[[Records], bool]) -> None:
        if self.ring is not None:
            self.ring.close()
        ring.on_records = deliver
        self.ring = ring

    def read_batch(self) -> Any:
        """Every record that is there, taken out of the ring: a NumPy structured array, one element a record, with the
        fields of its C type, in order (of several CPUs: one CPU's after the other's). What a callback would have got, it
        then does not get. Opens the buffer if nobody has. `lost` says how many found no room.

        Raises NotSupportedError without NumPy (pip install numpy), MapError for a record that is shorter than its type."""
        numpy = _numpy()
        if self.ring is None:
            self._open_for_batches()
        assert self.ring is not None, "it was opened"
        dtype = _dtype_of(numpy, self.Event)
        parts = [self._as_array(numpy, dtype, one) for one in self.ring.take_all()]
        return numpy.concatenate(parts) if len(parts) > 1 else parts[0] if parts else numpy.empty(0, dtype)

    def _as_array(self, numpy: Any, dtype: Any, records: Records) -> Any:
        count = records.count - records.done
        if records.stride and records.size >= dtype.itemsize:
            first = records.first + records.done * records.stride
            # as plain bytes: NumPy copies a structure field by field
            raw = numpy.ndarray((count,), f"V{dtype.itemsize}", records.memory, first, (records.stride,)).copy()
            return raw.view(dtype)
        made = numpy.empty(count, dtype)
        for at, record in enumerate(records):
            if len(record) < dtype.itemsize:
                raise MapError(f"reading a record of {self.name}: {len(record)} bytes, its type takes {dtype.itemsize}", self.name)
            made[at] = numpy.frombuffer(record[: dtype.itemsize], dtype)[0]
        return made

    def _open_for_batches(self) -> None:
        """Opens the reading side for whoever wants no callback."""

    def close(self) -> None:
        """Closes the reading side, once."""
        ring, self.ring = self.ring, None
        if ring is not None:
            ring.close()


def _dtype_of(numpy: Any, kind: Any) -> Any:
    """NumPy's type of a ctypes class: text is bytes without the zeros behind it, padding has no name, a union is raw bytes."""
    if issubclass(kind, ctypes.Array):
        if kind._type_ is ctypes.c_char:
            return numpy.dtype(f"S{kind._length_}")
        return numpy.dtype((_dtype_of(numpy, kind._type_), (kind._length_,)))
    if issubclass(kind, ctypes.Union):
        return numpy.dtype(f"V{ctypes.sizeof(kind)}")
    if not issubclass(kind, ctypes.Structure):
        return numpy.dtype(kind)
    rows = [(name, _dtype_of(numpy, type), getattr(kind, name).offset) for name, type, *_ in kind._fields_
            if not name.startswith("__pad_")]
    names, formats, offsets = ([row[at] for row in rows] for at in range(3))
    return numpy.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": ctypes.sizeof(kind)})


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        raise NotSupportedError("reading records in a batch needs NumPy (pip install numpy)", "numpy") from error


class PerfEventArray(_Records, ArrayBase):
    """BPF_PERF_OUTPUT: records by CPU."""

    def open_perf_buffer(
        self, callback: Callable[[int, Any, int], object], page_cnt: int = 8, lost_cb: Callable[[int], object] | None = None,
        wakeup_events: int = 1,
    ) -> None:
        """Has polling call callback(cpu, data, size) for every record, and lost_cb(count) when some were lost (without
        it, a line on stderr). data: the record's address, for event(); size: in bytes, the kernel's padding included.
        page_cnt: for each CPU, a power of two. wakeup_events is accepted for BCC's sake."""
        if page_cnt < 1 or page_cnt & (page_cnt - 1):
            raise MapError(f"opening perf buffer {self.name}: page_cnt {page_cnt} is not a power of two", self.name)

        def lost(cpu: int, count: int) -> None:
            if lost_cb is not None:
                lost_cb(count)
            else:
                sys.stderr.write(f"Possibly lost {count} samples\n")

        def deliver(records: Records) -> bool:
            self._show(records)
            offsets, sizes = records.places
            cpu, base = records.cpu, records.address
            while records.done < records.count:
                at = records.done
                records.done = at + 1
                callback(cpu, base + offsets[at], sizes[at])
                if self._now is not records:  # the callback has read on
                    self._show(records)
            return True

        self._opened(self.kernel.open_perf_buffer(self.map, _nobody, lost, page_cnt), deliver)

    def _open_for_batches(self) -> None:
        self.open_perf_buffer(_nobody, _BATCH_PAGES, _nobody)


class RingBuf(_Records):
    """BPF_RINGBUF_OUTPUT: records of all CPUs in one order."""

    def open_ring_buffer(self, callback: Callable[[Any, Any, int], object], ctx: Any = None) -> None:
        """Has polling call callback(ctx, data, size) for every record; an int below zero ends that poll."""

        def deliver(records: Records) -> bool:
            self._show(records)
            offsets, sizes = records.places
            base = records.address
            while records.done < records.count:
                at = records.done
                records.done = at + 1
                answer = callback(ctx, base + offsets[at], sizes[at])
                if answer is not None and isinstance(answer, int) and answer < 0:
                    return False
                if self._now is not records:  # the callback has read on
                    self._show(records)
            return True

        self._opened(self.kernel.open_ring_buffer(self.map, _nobody), deliver)

    def _open_for_batches(self) -> None:
        self.open_ring_buffer(_nobody)

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def _nobody(*given: object) -> None:
    """Takes what nobody waits for."""


_CLASSES: dict[MapType, type[Table]] = {
    MapType.HASH: HashTable, MapType.LRU_HASH: LruHash, MapType.ARRAY: Array, MapType.PERCPU_HASH: PerCpuHash,
    MapType.LRU_PERCPU_HASH: PerCpuHash, MapType.PERCPU_ARRAY: PerCpuArray, MapType.PERF_EVENT_ARRAY: PerfEventArray,
    MapType.RINGBUF: RingBuf, MapType.ARRAY_OF_MAPS: ArrayBase, MapType.HASH_OF_MAPS: HashTable,
}


def table_for(
    map: Map, kernel: Kernel, key_type: CType | None = None, leaf_type: CType | None = None, event_type: CType | None = None,
    reducer: Callable[[Any, Any], Any] | None = None,
) -> Table:
    """The table of a live map. key_type, leaf_type: its C types; event_type: of what a perf or ring buffer carries.

    Raises NotSupportedError for a map type that has no table yet."""
    made = _CLASSES.get(map.spec.type)
    if made is None:
        raise NotSupportedError(
            f"using map {map.spec.name} from Python: {map.spec.type.name} has no table yet", map.spec.type.name)
    return made(map, kernel, key_type, leaf_type, event_type, reducer)
