"""bcc.table: the classes of tables, and map types by BCC's names."""

from __future__ import annotations

from typing import Any

from bcc_py.hist import LINEAR_SLOTS, LOG2_SLOTS
from bcc_py.listing import get_table_type_name
from bcc_py.table import (
    Array,
    ArrayBase,
    CgroupArray,
    CpuMap,
    DevMap,
    HashTable,
    LpmTrie,
    LruHash,
    LruPerCpuHash,
    MapInMapArray,
    MapInMapHash,
    PerCpuArray,
    PerCpuHash,
    PerfEventArray,
    ProgArray,
    QueueStack,
    RingBuf,
    StackTrace,
    XskMap,
)
from bcc_py.table import Table as TableBase
from cfront.uapi import MapType

__all__ = [
    "Array", "ArrayBase", "CgroupArray", "CpuMap", "DevMap", "HashTable", "LpmTrie", "LruHash", "LruPerCpuHash", "MapInMapArray",
    "MapInMapHash", "PerCpuArray", "PerCpuHash", "PerfEventArray", "ProgArray", "QueueStack", "RingBuf", "StackTrace", "Table",
    "TableBase", "XskMap", "get_table_type_name", "linear_index_max", "log2_index_max", "map_type_name", "stars_max",
]

map_type_name: dict[int, str] = {int(one): one.name for one in MapType if one}
globals().update({f"BPF_MAP_TYPE_{one.name}": int(one) for one in MapType})

stars_max, log2_index_max, linear_index_max = 40, LOG2_SLOTS, LINEAR_SLOTS


def Table(bpf: Any, map_id: int, map_fd: int, keytype: Any, leaftype: Any, name: str | bytes, **kwargs: Any) -> Any:
    """The table of that name of a BPF, with keys and leaves of these ctypes classes (None: of their C types)."""
    return bpf.get_table(name, keytype, leaftype, kwargs.get("reducer"))
