"""Which maps may be made: the errno that Linux gives for a map's attributes.

Input: a MapSpec. Output: an errno, 0 where the map can be made. The checks stand in Linux's order, for which of two faults is
reported shows. What a loader may do (EPERM) is not asked here.

Source: the map_alloc_check and map_alloc functions of kernel/bpf/*.c, net/core/{sock_map,bpf_sk_storage}.c and
net/xdp/xskmap.c of Linux 6.18; kernel/bpf/syscall.c, map_create."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from bcc_py.spec import MapSpec
from cfront.uapi import MapType

__all__ = ["ENOTSUPP", "INNER_MAP", "LINK", "MMAPABLE", "NO_COMMON_LRU", "NO_PREALLOC", "NO_USER_CONV", "RDONLY",
           "RDONLY_PROG", "WRONLY", "creation_errno"]

ENOTSUPP = 524  # the kernel's own: an operation that the type of a map lacks
NO_PREALLOC, NO_COMMON_LRU, NUMA_NODE, RDONLY, WRONLY, STACK_BUILD_ID, ZERO_SEED, RDONLY_PROG, WRONLY_PROG = (1 << n for n in range(9))
CLONE, MMAPABLE, PRESERVE_ELEMS, INNER_MAP, LINK = (1 << n for n in range(9, 14))
SEGV_ON_FAULT, NO_USER_CONV = 1 << 17, 1 << 18
_ACCESS = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG
_M = MapType

_WORD, _PAGE = 4, 4096
_MAX_KMALLOC = 1 << 22
_MAX_PER_CPU, _MAX_INT = 32768, 0x7FFFFFFF
_HASH_HEAD, _BUCKET = 48, 16  # struct htab_elem, struct bucket
_LPM_MIN, _LPM_MAX, _LPM_NODE = 5, 260, 40
_STACK_DEPTH, _BUILD_ID = 127, 32
_MAX_STORAGE = 65535 - 2 * 80  # BPF_LOCAL_STORAGE_MAX_VALUE_SIZE, by the sizes of its two structs
_MAX_BPF_STACK, _MAX_CPUS = 512, 256  # of the configuration that kernel.h is the structs of
_MAX_BYTES = 4 << 30  # of a map whose memory is taken at once

_LRU = (_M.LRU_HASH, _M.LRU_PERCPU_HASH)
_PERCPU = (_M.PERCPU_HASH, _M.PERCPU_ARRAY, _M.LRU_PERCPU_HASH)


def creation_errno(spec: MapSpec, cpus: int) -> int:
    """What bpf(BPF_MAP_CREATE) fails with for such a map, 0 if it makes one."""
    if spec.extra and spec.type not in (_M.BLOOM_FILTER, _M.ARENA):
        return errno.EINVAL
    if spec.flags & RDONLY and spec.flags & WRONLY:
        return errno.EINVAL
    check = _CHECKS.get(spec.type)
    if check is None:
        return errno.EINVAL
    return check(spec) or _memory_errno(spec, cpus)


def _has_both_prog_flags(spec: MapSpec) -> bool:
    return bool(spec.flags & RDONLY_PROG and spec.flags & WRONLY_PROG)


def _round_up_8(size: int) -> int:
    return (size + 7) // 8 * 8


def _hash(spec: MapSpec) -> int:
    flags, is_lru, is_percpu = spec.flags, spec.type in _LRU, spec.type in _PERCPU
    if flags & ~(NO_PREALLOC | NO_COMMON_LRU | NUMA_NODE | ZERO_SEED | _ACCESS) or _has_both_prog_flags(spec):
        return errno.EINVAL
    if not is_lru and flags & NO_COMMON_LRU:
        return errno.EINVAL
    if is_lru and flags & NO_PREALLOC:
        return ENOTSUPP
    if flags & NUMA_NODE and (is_percpu or flags & NO_COMMON_LRU):
        return errno.EINVAL
    if not (spec.max_entries and spec.key_size and spec.value_size):
        return errno.EINVAL
    if spec.key_size + spec.value_size >= _MAX_KMALLOC - _HASH_HEAD:
        return errno.E2BIG
    if is_percpu and _round_up_8(spec.value_size) > _MAX_PER_CPU:
        return errno.E2BIG
    if spec.max_entries > 1 << 31 or 1 << (spec.max_entries - 1).bit_length() > 0xFFFFFFFF // _BUCKET:
        return errno.E2BIG
    return 0


def _hash_of_fds(spec: MapSpec) -> int:
    return errno.EINVAL if spec.value_size != _WORD else _hash(spec)


def _array(spec: MapSpec) -> int:
    flags = spec.flags
    if not spec.max_entries or spec.key_size != _WORD or not spec.value_size:
        return errno.EINVAL
    if flags & ~(NUMA_NODE | MMAPABLE | PRESERVE_ELEMS | INNER_MAP | _ACCESS) or _has_both_prog_flags(spec):
        return errno.EINVAL
    if spec.type in _PERCPU and flags & NUMA_NODE:
        return errno.EINVAL
    if spec.type is not _M.ARRAY and flags & (MMAPABLE | INNER_MAP):
        return errno.EINVAL
    if spec.type is not _M.PERF_EVENT_ARRAY and flags & PRESERVE_ELEMS:
        return errno.EINVAL
    if spec.value_size > _MAX_INT:
        return errno.E2BIG
    if spec.type in _PERCPU and _round_up_8(spec.value_size) > _MAX_PER_CPU:
        return errno.E2BIG
    return 0


def _array_of_fds(spec: MapSpec) -> int:
    if spec.value_size != _WORD or spec.flags & (RDONLY_PROG | WRONLY_PROG):
        return errno.EINVAL
    return _array(spec)


def _reuseport(spec: MapSpec) -> int:
    return errno.EINVAL if spec.value_size not in (4, 8) else _array(spec)


def _trie(spec: MapSpec) -> int:
    is_bad = (not spec.max_entries or not spec.flags & NO_PREALLOC or spec.flags & ~(NO_PREALLOC | NUMA_NODE | _ACCESS)
              or _has_both_prog_flags(spec) or not _LPM_MIN <= spec.key_size <= _LPM_MAX
              or not 1 <= spec.value_size <= _MAX_KMALLOC - 256 - _LPM_NODE)
    return errno.EINVAL if is_bad else 0


def _queue(spec: MapSpec) -> int:
    if (not spec.max_entries or spec.key_size or not spec.value_size or spec.flags & ~(NUMA_NODE | _ACCESS)
            or _has_both_prog_flags(spec)):
        return errno.EINVAL
    return errno.E2BIG if spec.value_size > _MAX_KMALLOC else 0


def _bloom(spec: MapSpec) -> int:
    if spec.value_size > _MAX_KMALLOC:
        return errno.E2BIG
    is_bad = (spec.key_size or not spec.value_size or not spec.max_entries or spec.flags & ~(NUMA_NODE | ZERO_SEED | _ACCESS)
              or _has_both_prog_flags(spec) or spec.extra & ~0xF)
    return errno.EINVAL if is_bad else 0


def _stacks(spec: MapSpec) -> int:
    unit = _BUILD_ID if spec.flags & STACK_BUILD_ID else 8
    if spec.flags & ~(NUMA_NODE | RDONLY | WRONLY | STACK_BUILD_ID):
        return errno.EINVAL
    if not spec.max_entries or spec.key_size != _WORD or spec.value_size < 8:
        return errno.EINVAL
    if spec.value_size % unit or spec.value_size // unit > _STACK_DEPTH:
        return errno.EINVAL
    return errno.E2BIG if spec.max_entries > 1 << 31 else 0


def _ring(spec: MapSpec) -> int:
    entries = spec.max_entries
    is_ring = entries and not entries & (entries - 1) and not entries % _PAGE
    return errno.EINVAL if spec.flags & ~NUMA_NODE or spec.key_size or spec.value_size or not is_ring else 0


def _devices(spec: MapSpec) -> int:
    if (not spec.max_entries or spec.key_size != _WORD or spec.value_size not in (4, 8)
            or spec.flags & ~(NUMA_NODE | RDONLY | WRONLY)):
        return errno.EINVAL
    return errno.EINVAL if spec.type is _M.DEVMAP_HASH and spec.max_entries > 1 << 31 else 0


def _cpus(spec: MapSpec) -> int:
    if not spec.max_entries or spec.key_size != _WORD or spec.value_size not in (4, 8) or spec.flags & ~NUMA_NODE:
        return errno.EINVAL
    return errno.E2BIG if spec.max_entries > _MAX_CPUS else 0


def _xsk(spec: MapSpec) -> int:
    is_good = spec.max_entries and spec.key_size == _WORD and spec.value_size == _WORD and not spec.flags & ~(NUMA_NODE | RDONLY | WRONLY)
    return 0 if is_good else errno.EINVAL


def _sockets(spec: MapSpec) -> int:
    is_hash = spec.type is _M.SOCKHASH
    is_key = spec.key_size > 0 if is_hash else spec.key_size == _WORD
    if not spec.max_entries or not is_key or spec.value_size not in (4, 8) or spec.flags & ~(NUMA_NODE | RDONLY | WRONLY):
        return errno.EINVAL
    return errno.E2BIG if is_hash and spec.key_size > _MAX_BPF_STACK else 0


def _cgroup_storage(spec: MapSpec) -> int:
    if spec.key_size not in (8, 16) or not spec.value_size:
        return errno.EINVAL
    if spec.value_size > (_MAX_PER_CPU if spec.type is _M.PERCPU_CGROUP_STORAGE else _MAX_STORAGE):
        return errno.E2BIG
    if spec.flags & ~(NUMA_NODE | _ACCESS) or _has_both_prog_flags(spec):
        return errno.EINVAL
    return errno.EINVAL if spec.max_entries else 0


def _storage(spec: MapSpec) -> int:
    flags = spec.flags
    if flags & ~(NO_PREALLOC | CLONE) or not flags & NO_PREALLOC or spec.max_entries or spec.key_size != _WORD or not spec.value_size:
        return errno.EINVAL
    if not (spec.key_type and spec.value_type):
        return errno.EINVAL
    return errno.E2BIG if spec.value_size > _MAX_STORAGE else 0


def _arena(spec: MapSpec) -> int:
    if (spec.key_size or spec.value_size or not spec.max_entries or not spec.flags & MMAPABLE
            or spec.flags & ~(SEGV_ON_FAULT | MMAPABLE | NO_USER_CONV)):
        return errno.EINVAL
    if spec.extra % _PAGE:
        return errno.EINVAL
    size = spec.max_entries * _PAGE
    if size > 4 << 30:
        return errno.E2BIG
    return errno.ERANGE if spec.extra >> 32 != (spec.extra + size - 1) >> 32 else 0


def _struct_ops(spec: MapSpec) -> int:
    is_bad = spec.key_size != _WORD or spec.max_entries != 1 or spec.flags & ~LINK or not spec.kernel_value or spec.key_type or spec.value_type
    return errno.EINVAL if is_bad else 0


_CHECKS: Mapping[MapType, Callable[[MapSpec], int]] = {
    **dict.fromkeys((_M.HASH, _M.PERCPU_HASH, _M.LRU_HASH, _M.LRU_PERCPU_HASH), _hash),
    **dict.fromkeys((_M.ARRAY, _M.PERCPU_ARRAY), _array),
    **dict.fromkeys((_M.PROG_ARRAY, _M.PERF_EVENT_ARRAY, _M.CGROUP_ARRAY, _M.ARRAY_OF_MAPS), _array_of_fds),
    **dict.fromkeys((_M.QUEUE, _M.STACK), _queue),
    **dict.fromkeys((_M.RINGBUF, _M.USER_RINGBUF), _ring),
    **dict.fromkeys((_M.DEVMAP, _M.DEVMAP_HASH), _devices),
    **dict.fromkeys((_M.SOCKMAP, _M.SOCKHASH), _sockets),
    **dict.fromkeys((_M.CGROUP_STORAGE, _M.PERCPU_CGROUP_STORAGE), _cgroup_storage),
    **dict.fromkeys((_M.SK_STORAGE, _M.INODE_STORAGE, _M.TASK_STORAGE, _M.CGRP_STORAGE), _storage),
    _M.HASH_OF_MAPS: _hash_of_fds, _M.REUSEPORT_SOCKARRAY: _reuseport, _M.LPM_TRIE: _trie, _M.BLOOM_FILTER: _bloom,
    _M.STACK_TRACE: _stacks, _M.CPUMAP: _cpus, _M.XSKMAP: _xsk, _M.ARENA: _arena, _M.STRUCT_OPS: _struct_ops,
}


def _memory_errno(spec: MapSpec, cpus: int) -> int:
    """A map whose memory is taken when it is made may not be larger than the memory there is."""
    if spec.flags & NO_PREALLOC or spec.type in (_M.ARENA, _M.CGROUP_STORAGE, _M.PERCPU_CGROUP_STORAGE):
        return 0
    copies = cpus if spec.type in _PERCPU else 1
    if spec.type in (_M.RINGBUF, _M.USER_RINGBUF):
        return errno.ENOMEM if spec.max_entries > _MAX_BYTES // 8 else 0
    return errno.ENOMEM if (spec.key_size + _round_up_8(spec.value_size) * copies) * spec.max_entries > _MAX_BYTES else 0
