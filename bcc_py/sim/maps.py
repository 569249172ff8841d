"""Maps of the simulated kernel, as the seam wants them.

A SimMap is a handle of one struct map of the C runtime. Lengths and what a descriptor allows are checked here, errno values
become MapError here; the semantics are in runtime/*.c, and which maps may be made in creation.py. Programs may run on other
threads meanwhile: the runtime's locks see to that. One lock for each map keeps it alive while Python uses it.

The memory is freed when the last of its users (handles, programs that name it, rings, maps that hold it) has gone, so no
program can outlive what it points at."""

from __future__ import annotations

import copy
import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.jit import Inline, NativeMap
from bcc_py.kernel import MapBatch
from bcc_py.sim.creation import ENOTSUPP, MMAPABLE, NO_COMMON_LRU, NO_USER_CONV, RDONLY, WRONLY, creation_errno
from bcc_py.sim.map_calls import MapCalls
from bcc_py.sim.memory import Runtime
from bcc_py.spec import MapSpec
from bcc_py.verifier.fields import special_fields
from cfront.uapi import MapType, ProgType

__all__ = ["MAP_TYPES", "SimMap"]

_M = MapType
MAP_TYPES = tuple(one for one in _M if one is not _M.UNSPEC)
_ARRAYS = (_M.ARRAY, _M.PERCPU_ARRAY)
_PERCPU = (_M.PERCPU_ARRAY, _M.PERCPU_HASH, _M.LRU_PERCPU_HASH, _M.PERCPU_CGROUP_STORAGE)
_HASHES = (_M.HASH, _M.PERCPU_HASH, _M.LRU_HASH, _M.LRU_PERCPU_HASH)
_BATCHED_READS = (*_HASHES, *_ARRAYS, _M.LPM_TRIE, _M.ARRAY_OF_MAPS, _M.HASH_OF_MAPS)
_BATCHED_WRITES = _BATCHED_READS
_BATCHED_TAKES = (*_HASHES, _M.HASH_OF_MAPS)
_BATCHED_DELETES = (*_HASHES, _M.LPM_TRIE, _M.HASH_OF_MAPS)
# the runtime's look-up for a known map, and whether it asks for the CPU
_INLINE_LOOKUPS: Mapping[MapType, tuple[str, bool]] = {
    _M.HASH: ("hot_hash_lookup", False), _M.LRU_HASH: ("hot_lru_lookup", False),
    _M.PERCPU_HASH: ("hot_percpu_hash_lookup", True), _M.LRU_PERCPU_HASH: ("hot_lru_percpu_hash_lookup", True),
}
_TAKEN = (*_HASHES, _M.QUEUE, _M.STACK, _M.STACK_TRACE)  # what a value can be looked up in and deleted from at once
_HOLDS_MAPS = (_M.ARRAY_OF_MAPS, _M.HASH_OF_MAPS)
# what a type cannot do, by what it is asked for -> errno
_RINGS_LACK = dict.fromkeys(("lookup", "update", "delete", "next"), ENOTSUPP)
_QUEUES_LACK = dict.fromkeys(("delete", "next"), errno.EINVAL)
_LACKS: Mapping[MapType, Mapping[str, int]] = {
    _M.RINGBUF: _RINGS_LACK, _M.ARENA: {"lookup": errno.EINVAL, "update": errno.EOPNOTSUPP, "delete": errno.EOPNOTSUPP, "next": errno.EOPNOTSUPP},
    _M.USER_RINGBUF: _RINGS_LACK, _M.QUEUE: _QUEUES_LACK, _M.STACK: _QUEUES_LACK,
    _M.BLOOM_FILTER: dict.fromkeys(("delete", "next"), errno.EOPNOTSUPP), _M.XSKMAP: {"lookup": errno.EOPNOTSUPP},
    _M.PERF_EVENT_ARRAY: {"lookup": ENOTSUPP}, _M.CGROUP_ARRAY: {"lookup": ENOTSUPP},
}
_COOKIES = (_M.SOCKMAP, _M.SOCKHASH, _M.REUSEPORT_SOCKARRAY)  # whose values are 64-bit cookies to a reader
_DOING = {"lookup": "looking up a key in", "update": "updating", "delete": "deleting a key of", "next": "iterating over"}
_LOCK_FLAG, _PAGE = 4, 4096
_MASK64 = (1 << 64) - 1
# FIELD_* of runtime/fields.c
_FIELD_KINDS = {"bpf_spin_lock": 1, "bpf_res_spin_lock": 1, "bpf_timer": 2, "bpf_wq": 5, "kptr": 3, "percpu_kptr": 3, "kptr_untrusted": 3, "uptr": 3}
_OTHER_FIELD = 4
_NOTHING: AbstractContextManager[None] = nullcontext()


class Memory:
    """A struct map of the runtime, how many use it, and the objects that its slots hold; gone with the last user."""

    __slots__ = ("frozen", "handles", "lock", "objects", "owner", "pointer", "users")

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer
        self.lock = threading.RLock()
        self.users = 0
        self.handles = 0  # of the users, those outside programs
        self.frozen = False
        self.owner: ProgType | None = None  # program array: the type of its programs
        self.objects: dict[bytes, Callable[[], None]] = {}  # by key: what gives the object back


class SimMap:
    """One handle of a live map. fd: unique in its kernel; programs name it in their map loads."""

    def __init__(self, spec: MapSpec, fd: int, runtime: Runtime, state: Any, lock: threading.RLock, cpus: int) -> None:
        if spec.type not in MAP_TYPES:
            names = ", ".join(one.name.lower() for one in MAP_TYPES)
            raise NotSupportedError(
                f"creating map {spec.name}: the simulated kernel has no {spec.type.name.lower()} maps (it has {names})",
                spec.type.name)
        self.spec = spec
        self.lock = lock
        self.runtime = runtime
        self.fields = special_fields(spec)
        self.calls: MapCalls | None = None
        self._state = state
        self._memory = Memory(self._made(cpus))
        self._open(fd)
        if spec.initial:
            self.update(bytes(spec.key_size), spec.initial)

    def _made(self, cpus: int) -> Any:
        """A new struct map. Raises MapError."""
        spec, runtime = self.spec, self.runtime
        refused = creation_errno(spec, cpus)
        if refused:
            raise MapError(f"creating map {spec.name} ({_shape(spec)})", spec.name, refused)
        error = runtime.ffi.new("s32 *")
        made = runtime.map_new(self._state, spec.type, spec.key_size, spec.value_size, _entries(spec, cpus), spec.flags, spec.extra, error)
        if made and self.fields:
            rows = [(_FIELD_KINDS.get(one.kind, _OTHER_FIELD), one.off, one.size, 0) for one in self.fields]
            error[0] = runtime.map_set_fields(made, runtime.ffi.new("struct field[]", rows), len(rows))
            if error[0]:
                runtime.map_free(self._state, made)
        if error[0]:
            raise MapError(f"creating map {spec.name} ({_shape(spec)})", spec.name, -error[0])
        return made

    def _open(self, fd: int) -> None:
        """Makes this a handle of its own: a user of the memory."""
        self.fd = fd
        self._is_open = True
        self._memory.users += 1
        self._memory.handles += 1
        spec = self.spec
        self.value_bytes = (spec.value_size + 7) // 8 * 8 * self.pointer.cpus if spec.type in _PERCPU else spec.value_size

    def reopened(self, spec: MapSpec, fd: int) -> SimMap:
        """Another handle of the same map, which is closed on its own. spec: what its user calls it."""
        made = copy.copy(self)
        made.spec = spec
        with self._memory.lock:
            made._open(fd)
        return made

    @property
    def pointer(self) -> Any:
        """The runtime's struct map, None when the last user is gone."""
        return self._memory.pointer

    @property
    def id(self) -> int:
        """The number under which the kernel lists the map."""
        return int(self.pointer.id)

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def native(self) -> NativeMap:
        """Where it is, for the JIT."""
        address = self.runtime.address_of
        one = self.pointer
        if self.spec.type is MapType.ARENA:
            arena = one.arena
            return NativeMap(address(one), is_arena=True, values=address(arena.window), table_bytes=arena.window - arena.taken,
                             user=arena.user, is_converted=not self.spec.flags & NO_USER_CONV)
        if self.spec.type not in _ARRAYS:
            return NativeMap(address(one), inline=self._inline())
        return NativeMap(address(one), True, address(one.slots), one.max_entries, one.node_size, one.cpu_stride)

    def _inline(self) -> dict[str, Inline]:
        """What programs have instead of a helper's call."""
        kind, value_size = self.spec.type, self.spec.value_size
        if kind in _INLINE_LOOKUPS:
            function, takes_cpu = _INLINE_LOOKUPS[kind]
            return {"map_lookup_elem": Inline(function, (self.spec.key_size,), takes_cpu)}
        if kind in (MapType.QUEUE, MapType.STACK):
            is_stack = int(kind is MapType.STACK)
            return {"map_pop_elem": Inline("hot_queue_take", (value_size, is_stack, 1), False),
                    "map_peek_elem": Inline("hot_queue_take", (value_size, is_stack, 0), False)}
        return {}

    # -- the seam

    def _calling(self, operation: str, key: bytes | None, value: bytes = b"") -> AbstractContextManager[None]:
        """Around an operation that a process asks for."""
        calls = self.calls
        if calls is None or not calls.is_wanted or not self._is_open:
            return _NOTHING
        return calls.around(operation, self.id, self.spec.type, key, value)

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        with self._calling("lookup", key), self._memory.lock:
            self._check(key)
            self._check_access(RDONLY, "looking up a key in")
            self._check_flags(flags, "looking up a key in")
            self._check_lacks("lookup")
            return self._lookup_raw(key, flags)

    def _lookup_raw(self, key: bytes, flags: int) -> bytes | None:
        """The value at the runtime's key."""
        value = self.runtime.ffi.new("u8[]", max(self.value_bytes, 1))
        code = self.runtime.map_read(self.pointer, key, value, flags)
        if code == -errno.ENOENT:
            return None
        self._raise_for(code, "looking up a key in")
        return self.runtime.copy_out(value, self.value_bytes)

    def contains(self, value: bytes) -> bool:
        """Bloom filter: False if value was never put in; True mostly means that it was."""
        with self._memory.lock:
            self._check(None)
            self._check_value(value)
            if self.spec.type is not MapType.BLOOM_FILTER:
                self._raise_for(-errno.EINVAL, "asking for a value of")
            return bool(self.runtime.map_read(self.pointer, b"", self.runtime.copy_in(value), 0) == 0)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        with self._calling("update", key, value), self._memory.lock:
            self._check(key)
            self._check_value(value)
            self._check_update(flags)
            self._raise_for(self.runtime.map_write(self.pointer, key, value, flags & _MASK64), "updating")

    def delete(self, key: bytes) -> None:
        with self._calling("delete", key), self._memory.lock:
            self._check(key)
            self._check_access(WRONLY, "deleting a key of")
            self._check_lacks("delete")
            code = self.runtime.map_take(self.pointer, key, self.runtime.ffi.NULL, 0)
            if code == -errno.ENOENT:
                raise self._no_such(key)
            self._raise_for(code, "deleting a key of")
            self._let_go(key)

    def lookup_and_delete(self, key: bytes, flags: int = 0) -> bytes | None:
        with self._memory.lock:
            self._check(key)
            self._check_access(RDONLY | WRONLY, "taking a key out of")
            if flags and self.spec.type in (MapType.QUEUE, MapType.STACK):
                self._raise_for(-errno.EINVAL, "taking a key out of")
            self._check_flags(flags, "taking a key out of")
            if self.spec.type not in _TAKEN:
                self._raise_for(-ENOTSUPP, "taking a key out of")
            value = self.runtime.ffi.new("u8[]", max(self.value_bytes, 1))
            code = self.runtime.map_take(self.pointer, key, value, flags)
            if code == -errno.ENOENT:
                return None
            self._raise_for(code, "taking a key out of")
            return self.runtime.copy_out(value, self.value_bytes)

    def next_key(self, key: bytes | None) -> bytes | None:
        with self._calling("next", key), self._memory.lock:
            self._check(key)
            self._check_access(RDONLY, "iterating over")
            self._check_lacks("next")
            return self._next_raw(key, self.spec.key_size)

    def _next_raw(self, key: bytes | None, size: int) -> bytes | None:
        """The runtime's key after key."""
        following = self.runtime.ffi.new("u8[]", max(size, 1))
        code = self.runtime.map_next(self.pointer, self.runtime.ffi.NULL if key is None else key, following)
        if code == -errno.ENOENT:
            return None
        self._raise_for(code, "iterating over")
        return self.runtime.copy_out(following, size)

    # -- batches: an element at a time, as Linux makes them, so that what they call holds no lock of a map

    def lookup_batch(self, cursor: bytes | None, count: int) -> MapBatch:
        with self._memory.lock:
            self._check_batch(RDONLY, _BATCHED_READS)
            if self.spec.type in _BATCHED_TAKES:
                return self._buckets(cursor, count, is_delete=False)
        return self._rows_after(cursor, count)

    def lookup_and_delete_batch(self, cursor: bytes | None, count: int) -> MapBatch:
        with self._memory.lock:
            self._check_batch(RDONLY | WRONLY, _BATCHED_TAKES)
            return self._buckets(cursor, count, is_delete=True)

    def update_batch(self, rows: Sequence[tuple[bytes, bytes]], flags: int = 0) -> None:
        with self._memory.lock:
            self._check_batch(WRONLY, _BATCHED_WRITES)
            if flags & ~_LOCK_FLAG:
                self._raise_for(-errno.EINVAL, "updating")
        for key, value in rows:
            self.update(key, value, flags)

    def delete_batch(self, keys: Sequence[bytes]) -> None:
        with self._memory.lock:
            self._check_batch(WRONLY, _BATCHED_DELETES)
        for key in keys:
            self.delete(key)

    def _check_batch(self, access: int, types: tuple[MapType, ...]) -> None:
        self._check(None)
        self._check_access(access, "reading rows of")
        if self.spec.type not in types:
            self._raise_for(-ENOTSUPP, "reading rows of")

    def _buckets(self, cursor: bytes | None, count: int, *, is_delete: bool) -> MapBatch:
        """Rows of whole buckets. Raises MapError (ENOSPC) where one bucket holds more than count."""
        ffi, size = self.runtime.ffi, self.spec.key_size
        number, room = ffi.new("u32 *", int.from_bytes(cursor or b"", "little")), ffi.new("u32 *", count)
        keys, values = ffi.new("u8[]", max(count * size, 1)), ffi.new("u8[]", max(count * self.row_bytes, 1))
        code = self.runtime.map_batch(self.pointer, number, keys, values, room, is_delete) if count else 0
        if code != -errno.ENOENT:
            self._raise_for(code, "reading rows of")
        rows = [(self.runtime.copy_out(keys + at * size, size), self._shown(values + at * self.row_bytes)) for at in range(room[0])]
        for key, _ in rows if is_delete else ():
            self._let_go(key)
        return MapBatch(rows, None if code else number[0].to_bytes(4, "little"))

    def _rows_after(self, cursor: bytes | None, count: int) -> MapBatch:
        rows: list[tuple[bytes, bytes]] = []
        while len(rows) < count:
            key = self.next_key(cursor)
            if key is None:
                return MapBatch(rows, None)
            value = self.lookup(key)
            cursor = key
            if value is not None:
                rows.append((key, value))
        return MapBatch(rows, cursor)

    @property
    def row_bytes(self) -> int:
        """Of one value, as the runtime hands over rows."""
        return self.value_bytes

    def _shown(self, value: Any) -> bytes:
        return self.runtime.copy_out(value, self.value_bytes)

    def view(self) -> memoryview:
        """The memory of an array with BPF_F_MMAPABLE, or of an arena, as programs see it; valid while the map is open. A page
        of an arena that is read or written here is allocated, if it was not, as if a process touched its mapping."""
        with self._memory.lock:
            self._check(None)
            if not self.spec.flags & MMAPABLE:
                self._raise_for(-ENOTSUPP, "mapping")
            if self.spec.type is not MapType.ARENA:
                return memoryview(self.runtime.ffi.buffer(self.pointer.slots, self.spec.max_entries * self.pointer.node_size))
            arena = self.pointer.arena
            arena.is_viewed = 1
            return memoryview(self.runtime.ffi.buffer(arena.window + (arena.user & 0xFFFFFFFF), self.spec.max_entries * _PAGE))

    def freeze(self) -> None:
        with self._memory.lock:
            self._check(None)
            if self.fields:
                self._raise_for(-ENOTSUPP, "freezing")
            self._check_access(WRONLY, "freezing")
            self._memory.frozen = True

    def close(self) -> None:
        with self._memory.lock:
            if self._is_open:
                self._is_open = False
                self._memory.handles -= 1
                if not self._memory.handles and self.spec.type is MapType.PROG_ARRAY:
                    self._clear()
                if not self._memory.handles and self.fields:
                    self.runtime.map_orphan(self._state, self.pointer)
                self.release()

    # -- its users

    def retain(self) -> None:
        """One more user; each calls release once."""
        with self._memory.lock:
            self._memory.users += 1

    def release(self) -> None:
        with self._memory.lock:
            self._memory.users -= 1
            if not self._memory.users:
                self._clear()
                self.runtime.map_free(self._state, self.pointer)
                self._memory.pointer = None

    def check_open(self, doing: str) -> None:
        if not self._is_open:
            raise MapError(f"{doing} map {self.spec.name}: it is closed", self.spec.name, errno.EBADF)

    @property
    def _has_lock(self) -> bool:
        return any(one.kind == "bpf_spin_lock" for one in self.fields)

    def _check(self, key: bytes | None) -> None:
        self.check_open("using")
        if key is not None and len(key) != self.spec.key_size:
            raise MapError(f"using map {self.spec.name}: a key of {len(key)} bytes, expected {self.spec.key_size}",
                           self.spec.name, errno.EINVAL)

    def _check_value(self, value: bytes) -> None:
        if len(value) != self.value_bytes:
            raise MapError(f"updating map {self.spec.name}: a value of {len(value)} bytes, expected {self.value_bytes}",
                           self.spec.name, errno.EINVAL)

    def _check_flags(self, flags: int, doing: str) -> None:
        if flags & ~_LOCK_FLAG or (flags and not self._has_lock):
            self._raise_for(-errno.EINVAL, doing)

    def _check_access(self, only: int, doing: str) -> None:
        """only: the flags of a map whose descriptor lacks what is wanted, WRONLY standing for a write."""
        lacks = (only & RDONLY and self.spec.flags & WRONLY) or (only & WRONLY and (self.spec.flags & RDONLY or self._memory.frozen))
        if lacks:
            self._raise_for(-errno.EPERM, doing)

    def _check_update(self, flags: int) -> None:
        self._check_access(WRONLY, "updating")
        if flags & _LOCK_FLAG and not self._has_lock:
            self._raise_for(-errno.EINVAL, "updating")
        self._check_lacks("update")

    def _check_lacks(self, wanted: str) -> None:
        code = _LACKS.get(self.spec.type, {}).get(wanted, 0)
        if wanted == "lookup" and self.spec.type in _COOKIES and self.spec.value_size != 8:
            code = errno.ENOSPC
        if code:
            self._raise_for(-code, _DOING[wanted])

    def _no_such(self, key: bytes) -> KeyNotFound:
        return KeyNotFound(f"deleting a key of map {self.spec.name}: no such key {key.hex()}", self.spec.name, key)

    def _let_go(self, key: bytes) -> None:
        """What key's slot held is not held any more."""
        give_back = self._memory.objects.pop(key, None)
        if give_back is not None:
            give_back()

    def _clear(self) -> None:
        """Its slots hold nothing any more. A program array nobody can change is emptied, so that its programs end."""
        for key in tuple(self._memory.objects):
            self.runtime.map_take(self.pointer, key, self.runtime.ffi.NULL, 0)
            self._let_go(key)

    def _raise_for(self, code: int, doing: str) -> None:
        if code < 0:
            raise MapError(f"{doing} map {self.spec.name}", self.spec.name, -code)


def _entries(spec: MapSpec, cpus: int) -> int:
    """NO_COMMON_LRU gives each CPU the same number of nodes."""
    if not spec.flags & NO_COMMON_LRU:
        return spec.max_entries
    rounded = -(-spec.max_entries // cpus) * cpus
    return rounded if rounded <= 0xFFFFFFFF else rounded - cpus


def _shape(spec: MapSpec) -> str:
    return (f"{spec.type.name.lower()}, {spec.key_size} byte keys, {spec.value_size} byte values, "
            f"{spec.max_entries} entries, flags {spec.flags:#x}")
