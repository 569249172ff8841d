"""Tables: BCC's view of maps from Python, typed by the C types of their keys and values.

Input: a live map, its kernel, and the C types of key, leaf and record. Output: a MutableMapping of ctypes instances
(HashTable, Array, PerCpuHash, ...), a source of records (PerfEventArray, RingBuf), or a queue.

Invariant: a Key, a Leaf and an event class have exactly the size and the offsets of their C types; what a table gives back
is a copy, which nothing in the map or the ring changes afterwards.

The classes have BCC's names and stand to each other as BCC's do; map types for which BCC has none have one of ours.
Differences from BCC, on purpose: keys may also be plain integers or bytes where the C type allows it, a per-CPU leaf of any
size is taken, what the kernel refuses is an error, and structs print and compare by their members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bcc_py.kernel import Kernel, Map
from bcc_py.table.array import (
    Array,
    ArrayBase,
    CgroupArray,
    CpuMap,
    DevMap,
    MapInMapArray,
    ProgArray,
    ReusePortSockArray,
    SockMap,
    XskMap,
)
from bcc_py.table.ctype_class import ctypes_from_ctype
from bcc_py.table.hash import (
    CgroupStorage,
    DevMapHash,
    HashTable,
    LocalStorage,
    LpmTrie,
    LruHash,
    MapInMapHash,
    SockHash,
    StructOps,
)
from bcc_py.table.mapping import Table
from bcc_py.table.percpu import LruPerCpuHash, PerCpuArray, PerCpuCgroupStorage, PerCpuHash
from bcc_py.table.records import PerfEventArray, RingBuf, UserRingBuf
from bcc_py.table.stack import Arena, BloomFilter, QueueStack, StackTrace
from bcc_py.table.view import MapView
from cfront.ctype import CType
from cfront.uapi import MapType

__all__ = [
    "Arena", "Array", "ArrayBase", "BloomFilter", "CgroupArray", "CgroupStorage", "CpuMap", "DevMap", "DevMapHash", "HashTable",
    "LocalStorage", "LpmTrie", "LruHash", "LruPerCpuHash", "MapInMapArray", "MapInMapHash", "MapView", "PerCpuArray",
    "PerCpuCgroupStorage", "PerCpuHash", "PerfEventArray", "ProgArray", "QueueStack", "ReusePortSockArray", "RingBuf",
    "SockHash", "SockMap", "StackTrace", "StructOps", "Table", "UserRingBuf", "XskMap", "ctypes_from_ctype", "table_for",
]

_M = MapType
_CLASSES: dict[MapType, type[Table]] = {
    _M.HASH: HashTable, _M.ARRAY: Array, _M.PROG_ARRAY: ProgArray, _M.PERF_EVENT_ARRAY: PerfEventArray, _M.PERCPU_HASH: PerCpuHash,
    _M.PERCPU_ARRAY: PerCpuArray, _M.STACK_TRACE: StackTrace, _M.CGROUP_ARRAY: CgroupArray, _M.LRU_HASH: LruHash,
    _M.LRU_PERCPU_HASH: LruPerCpuHash, _M.LPM_TRIE: LpmTrie, _M.ARRAY_OF_MAPS: MapInMapArray, _M.HASH_OF_MAPS: MapInMapHash,
    _M.DEVMAP: DevMap, _M.SOCKMAP: SockMap, _M.CPUMAP: CpuMap, _M.XSKMAP: XskMap, _M.SOCKHASH: SockHash,
    _M.CGROUP_STORAGE: CgroupStorage, _M.REUSEPORT_SOCKARRAY: ReusePortSockArray, _M.PERCPU_CGROUP_STORAGE: PerCpuCgroupStorage,
    _M.SK_STORAGE: LocalStorage, _M.DEVMAP_HASH: DevMapHash, _M.STRUCT_OPS: StructOps, _M.RINGBUF: RingBuf,
    _M.INODE_STORAGE: LocalStorage, _M.TASK_STORAGE: LocalStorage, _M.CGRP_STORAGE: LocalStorage,
}
_WITHOUT_KEYS: dict[MapType, type[MapView]] = {
    _M.QUEUE: QueueStack, _M.STACK: QueueStack, _M.BLOOM_FILTER: BloomFilter, _M.ARENA: Arena,
    _M.USER_RINGBUF: UserRingBuf,
}


def table_for(
    map: Map, kernel: Kernel, key_type: CType | None = None, leaf_type: CType | None = None, event_type: CType | None = None,
    reducer: Callable[[Any, Any], Any] | None = None, **more: Any,
) -> MapView:
    """The table of a live map. key_type, leaf_type: its C types; event_type: of what a perf or ring buffer carries. more:
    key_class, leaf_class, bpf and map_id as of MapView."""
    made = _WITHOUT_KEYS.get(map.spec.type)
    if made is not None:
        return made(map, kernel, key_type, leaf_type, **more)
    return _CLASSES.get(map.spec.type, Table)(map, kernel, key_type, leaf_type, event_type, reducer, **more)
