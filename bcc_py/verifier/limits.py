"""What is known of a program before any of its instructions is looked at, and what it may return.

Input: program type, expected attach type, the loader's privileges, maps. Output: an errno, a range, or a
Refusal with Linux's sentence. Invariant: a combination that is not listed is refused.

Source: kernel/bpf/syscall.c (bpf_prog_load, bpf_prog_load_check_attach, map_create and the maps' alloc_check
functions), kernel/bpf/verifier.c (check_return_code, check_attach_btf_id, check_map_prog_compatibility) of Linux 6.18."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping

from bcc_py.spec import MapSpec
from bcc_py.verifier.env import ALL_PRIVILEGES, Privileges
from bcc_py.verifier.rules import Refusal
from cfront.uapi import AttachType, MapType, ProgType

__all__ = ["MAX_INSNS", "MAX_UNPRIVILEGED_INSNS", "attach_type_of", "check_map_and_program", "check_sleepable", "load_errno", "map_fault", "map_privilege", "needed_privileges",
           "return_range"]

MAX_INSNS, MAX_UNPRIVILEGED_INSNS = 1_000_000, 4096
_A, _P, _M = AttachType, ProgType, MapType

# ---- attach types

_RECEIVES = frozenset((_A.CGROUP_UDP4_RECVMSG, _A.CGROUP_UDP6_RECVMSG, _A.CGROUP_UNIX_RECVMSG))
_NAMES = frozenset((
    _A.CGROUP_INET4_GETPEERNAME, _A.CGROUP_INET6_GETPEERNAME, _A.CGROUP_UNIX_GETPEERNAME,
    _A.CGROUP_INET4_GETSOCKNAME, _A.CGROUP_INET6_GETSOCKNAME, _A.CGROUP_UNIX_GETSOCKNAME,
))
_BINDS = frozenset((_A.CGROUP_INET4_BIND, _A.CGROUP_INET6_BIND))
# a program type's attach types; the first one is what 0 stands for, where it stands for one; other types take any
_ATTACH_TYPES: Mapping[ProgType, tuple[AttachType, ...]] = {
    _P.CGROUP_SOCK: (
        _A.CGROUP_INET_SOCK_CREATE, _A.CGROUP_INET_SOCK_RELEASE, _A.CGROUP_INET4_POST_BIND, _A.CGROUP_INET6_POST_BIND,
    ),
    _P.SK_REUSEPORT: (_A.SK_REUSEPORT_SELECT, _A.SK_REUSEPORT_SELECT_OR_MIGRATE),
    _P.CGROUP_SKB: (_A.CGROUP_INET_INGRESS, _A.CGROUP_INET_EGRESS),
    _P.CGROUP_SOCK_ADDR: (
        *sorted(_RECEIVES | _NAMES | _BINDS), _A.CGROUP_INET4_CONNECT, _A.CGROUP_INET6_CONNECT, _A.CGROUP_UNIX_CONNECT,
        _A.CGROUP_UDP4_SENDMSG, _A.CGROUP_UDP6_SENDMSG, _A.CGROUP_UNIX_SENDMSG,
    ),
    _P.CGROUP_SOCKOPT: (_A.CGROUP_SETSOCKOPT, _A.CGROUP_GETSOCKOPT),
    _P.SK_LOOKUP: (_A.SK_LOOKUP,),
    _P.NETFILTER: (_A.NETFILTER,),
    _P.SYSCALL: (_A.NONE,),
    _P.EXT: (_A.NONE,),
}
_HAS_DEFAULT = frozenset((_P.CGROUP_SOCK, _P.SK_REUSEPORT, _P.CGROUP_SKB))


def attach_type_of(type: ProgType, attach_type: AttachType) -> AttachType | None:
    """The attach type that the program gets when it asks for this one; None where it is refused (EINVAL)."""
    allowed = _ATTACH_TYPES.get(type)
    if allowed is None or attach_type in allowed:
        return attach_type
    # the kernel's 0 is CGROUP_INET_INGRESS too
    if attach_type in (_A.NONE, _A.CGROUP_INET_INGRESS):
        return allowed[0] if type in _HAS_DEFAULT or allowed[0] is _A.NONE else None
    return None


_NET_ADMIN = frozenset((
    _P.SCHED_CLS, _P.SCHED_ACT, _P.XDP, _P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT, _P.LWT_SEG6LOCAL, _P.SK_SKB, _P.SK_MSG,
    _P.FLOW_DISSECTOR, _P.CGROUP_DEVICE, _P.CGROUP_SOCK, _P.CGROUP_SOCK_ADDR, _P.CGROUP_SOCKOPT, _P.CGROUP_SYSCTL,
    _P.SOCK_OPS, _P.EXT, _P.NETFILTER,
))
_PERFMON = frozenset((
    _P.KPROBE, _P.TRACEPOINT, _P.PERF_EVENT, _P.RAW_TRACEPOINT, _P.RAW_TRACEPOINT_WRITABLE, _P.TRACING, _P.LSM,
    _P.STRUCT_OPS, _P.EXT,
))
_UNPRIVILEGED = frozenset((_P.SOCKET_FILTER, _P.CGROUP_SKB))


def load_errno(type: ProgType, attach_type: AttachType, insn_count: int, privileges: Privileges = ALL_PRIVILEGES) -> int:
    """What loading fails with before the program is verified, 0 if it goes on (kernel.unprivileged_bpf_disabled is 0)."""
    if not 0 < insn_count <= (MAX_INSNS if privileges.bpf else MAX_UNPRIVILEGED_INSNS):
        return errno.E2BIG
    if type not in _UNPRIVILEGED and not privileges.bpf:
        return errno.EPERM
    if (type in _NET_ADMIN and not privileges.net_admin) or (type in _PERFMON and not privileges.perfmon):
        return errno.EPERM
    return errno.EINVAL if type is _P.UNSPEC or attach_type_of(type, attach_type) is None else 0


def needed_privileges(type: ProgType) -> str:
    """The capabilities that loading a program of this type asks for, in words."""
    names = ["CAP_BPF"] + ["CAP_PERFMON"] * (type in _PERFMON) + ["CAP_NET_ADMIN"] * (type in _NET_ADMIN)
    return " and ".join(names)


_SLEEPABLE_TRACING = (_A.TRACE_FENTRY, _A.TRACE_FEXIT, _A.MODIFY_RETURN, _A.TRACE_ITER)


def check_sleepable(type: ProgType, attach_type: AttachType, is_sleepable: bool) -> None:
    """A program of this type may sleep, or must. Raises Refusal."""
    if type is _P.SYSCALL:
        if not is_sleepable:
            raise Refusal("Syscall programs can only be sleepable", insn=0)
        return
    can_sleep = type in (_P.LSM, _P.KPROBE, _P.STRUCT_OPS) or (type is _P.TRACING and attach_type in _SLEEPABLE_TRACING)
    if is_sleepable and not can_sleep:
        raise Refusal("Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable", insn=0)


# ---- return values

_MAX_ERRNO = 4095
_YES_OR_NO = frozenset((
    _P.CGROUP_SOCK_ADDR, _P.CGROUP_SKB, _P.CGROUP_SOCK, _P.SOCK_OPS, _P.CGROUP_DEVICE, _P.CGROUP_SYSCTL,
    _P.CGROUP_SOCKOPT, _P.SK_LOOKUP, _P.NETFILTER,
))
# the caller is only told an address
_TOLD = _RECEIVES | _NAMES
_FOUR_ANSWERS = frozenset((
    *((_P.CGROUP_SOCK_ADDR, one) for one in _BINDS), (_P.CGROUP_SKB, _A.CGROUP_INET_EGRESS),
))
_SESSIONS = (_A.TRACE_KPROBE_SESSION, _A.TRACE_UPROBE_SESSION)
_LSM_RANGES: Mapping[str, tuple[int, int] | None] = {"int": (-_MAX_ERRNO, 0), "bool": (0, 1), "void": None}


def return_range(type: ProgType, attach_type: AttachType, hook_gives: str = "int") -> tuple[int, int] | None:
    """The least and the greatest value that a program may return, None where any will do.

    hook_gives: what the function that an LSM program is attached to returns: "int", "bool" or "void"."""
    if type is _P.CGROUP_SOCK_ADDR and attach_type in _TOLD:
        return 1, 1
    if (type, attach_type) in _FOUR_ANSWERS:
        return 0, 3
    if type in _YES_OR_NO or (type is _P.KPROBE and attach_type in _SESSIONS):
        return 0, 1
    if type is _P.TRACING:
        if attach_type is _A.TRACE_ITER:
            return 0, 1
        return (0, 0) if attach_type in (_A.TRACE_FENTRY, _A.TRACE_FEXIT) else None
    if type is _P.LSM:
        if attach_type is _A.LSM_CGROUP:
            return (1, 1) if hook_gives == "void" else (0, 1)
        return _LSM_RANGES[hook_gives]
    return None


# ---- maps

_FOR_ANYBODY = frozenset((
    _M.UNSPEC, _M.ARRAY, _M.PERCPU_ARRAY, _M.PROG_ARRAY, _M.PERF_EVENT_ARRAY, _M.CGROUP_ARRAY, _M.ARRAY_OF_MAPS, _M.HASH,
    _M.PERCPU_HASH, _M.HASH_OF_MAPS, _M.RINGBUF, _M.USER_RINGBUF, _M.CGROUP_STORAGE, _M.PERCPU_CGROUP_STORAGE,
))
_FOR_NET_ADMINS = frozenset((_M.SOCKMAP, _M.SOCKHASH, _M.DEVMAP, _M.DEVMAP_HASH, _M.XSKMAP))


def map_privilege(type: MapType) -> str:
    """The privilege (a field of Privileges) that creating a map of this type asks for, "" if none."""
    return "" if type in _FOR_ANYBODY else "net_admin" if type in _FOR_NET_ADMINS else "bpf"


_TRACERS = frozenset((_P.KPROBE, _P.TRACEPOINT, _P.PERF_EVENT, _P.RAW_TRACEPOINT, _P.RAW_TRACEPOINT_WRITABLE))
_FOR_SLEEPERS = frozenset((
    _M.HASH, _M.LRU_HASH, _M.ARRAY, _M.PERCPU_HASH, _M.PERCPU_ARRAY, _M.LRU_PERCPU_HASH, _M.ARRAY_OF_MAPS,
    _M.HASH_OF_MAPS, _M.RINGBUF, _M.USER_RINGBUF, _M.INODE_STORAGE, _M.SK_STORAGE, _M.TASK_STORAGE, _M.CGRP_STORAGE,
    _M.QUEUE, _M.STACK, _M.ARENA,
))


def check_map_and_program(map_type: MapType, fields: Collection[str], type: ProgType, is_sleepable: bool) -> None:
    """A program of this type may name a map of this type. fields: the special structs in its values, without bpf_
    ("spin_lock", "timer", "wq", "list_head", "rb_root"). Raises Refusal."""
    if type in _TRACERS:
        if "list_head" in fields or "rb_root" in fields:
            raise Refusal("tracing progs cannot use bpf_{list_head,rb_root} yet")
        for one in ("spin_lock", "timer", "wq"):
            if one in fields:
                raise Refusal(f"tracing progs cannot use bpf_{one} yet")
    if type is _P.SOCKET_FILTER and "spin_lock" in fields:
        raise Refusal("socket filter progs cannot use bpf_spin_lock yet")
    if map_type is _M.STRUCT_OPS:
        raise Refusal("bpf_struct_ops map cannot be used in prog")
    if is_sleepable and map_type not in _FOR_SLEEPERS:
        raise Refusal("Sleepable programs can only use array, hash, ringbuf and local storage maps")


_NO_PREALLOC, _RDONLY_PROG, _WRONLY_PROG = 1 << 0, 1 << 7, 1 << 8
_WORD_KEYS = frozenset((
    _M.ARRAY, _M.PERCPU_ARRAY, _M.PROG_ARRAY, _M.PERF_EVENT_ARRAY, _M.CGROUP_ARRAY, _M.STACK_TRACE, _M.DEVMAP,
    _M.DEVMAP_HASH, _M.CPUMAP, _M.XSKMAP, _M.SOCKMAP, _M.REUSEPORT_SOCKARRAY, _M.ARRAY_OF_MAPS,
))
_NO_KEYS = frozenset((_M.QUEUE, _M.STACK, _M.BLOOM_FILTER, _M.RINGBUF, _M.USER_RINGBUF))
_VALUE_SIZES: Mapping[MapType, tuple[int, ...]] = {
    **dict.fromkeys((_M.PROG_ARRAY, _M.PERF_EVENT_ARRAY, _M.CGROUP_ARRAY, _M.XSKMAP, _M.ARRAY_OF_MAPS, _M.HASH_OF_MAPS), (4,)),
    **dict.fromkeys((_M.SOCKMAP, _M.SOCKHASH, _M.REUSEPORT_SOCKARRAY), (4, 8)),
    **dict.fromkeys((_M.DEVMAP, _M.DEVMAP_HASH, _M.CPUMAP), (4, 8)),
    **dict.fromkeys((_M.RINGBUF, _M.USER_RINGBUF), (0,)),
}
_STORAGES = frozenset((_M.SK_STORAGE, _M.INODE_STORAGE, _M.TASK_STORAGE, _M.CGRP_STORAGE))
_PAGE_BYTES, _MAX_STACK_DEPTH, _LPM_KEY = 4096, 127, (5, 260)
_MAX_VALUE_BYTES, _MAX_PER_CPU_BYTES = (1 << 22) - 512, 32768
_PER_CPU = (_M.PERCPU_ARRAY, _M.PERCPU_HASH, _M.LRU_PERCPU_HASH)


def map_fault(spec: MapSpec) -> str:
    """Why Linux refuses to create such a map, "" where it does not."""
    if spec.flags & _RDONLY_PROG and spec.flags & _WRONLY_PROG:
        return "a map that programs may neither read nor write"
    return _key_fault(spec) or _value_fault(spec) or _entries_fault(spec)


def _key_fault(spec: MapSpec) -> str:
    size = spec.key_size
    if spec.type in _WORD_KEYS | _STORAGES:
        return "" if size == 4 else f"its keys have 4 bytes, not {size}"
    if spec.type in _NO_KEYS:
        return "" if not size else f"it has no keys: key_size is 0, not {size}"
    if spec.type is _M.LPM_TRIE:
        return "" if _LPM_KEY[0] <= size <= _LPM_KEY[1] else f"its keys have {_LPM_KEY[0]} to {_LPM_KEY[1]} bytes, not {size}"
    return "" if size > 0 else "key_size is 0"


def _value_fault(spec: MapSpec) -> str:
    size, sizes = spec.value_size, _VALUE_SIZES.get(spec.type)
    if sizes is not None:
        return "" if size in sizes else f"its values have {' or '.join(map(str, sizes))} bytes, not {size}"
    if spec.type is _M.STACK_TRACE:
        is_stack = size > 0 and size % 8 == 0 and size // 8 <= _MAX_STACK_DEPTH
        return "" if is_stack else f"its values are 1 to {_MAX_STACK_DEPTH} addresses of 8 bytes, not {size} bytes"
    if size <= 0:
        return "value_size is 0"
    most = _MAX_PER_CPU_BYTES if spec.type in _PER_CPU else _MAX_VALUE_BYTES
    return "" if size <= most else f"its values have at most {most} bytes, not {size}"


def _entries_fault(spec: MapSpec) -> str:
    entries = spec.max_entries
    if spec.type in _STORAGES:
        if entries or not spec.flags & _NO_PREALLOC:
            return "a storage has no max_entries and the flag BPF_F_NO_PREALLOC (1)"
        return ""
    if spec.type in (_M.RINGBUF, _M.USER_RINGBUF):
        is_ring = entries >= _PAGE_BYTES and not entries & (entries - 1)
        return "" if is_ring else f"a ring has a power of two of bytes, at least {_PAGE_BYTES}, not {entries}"
    if spec.type is _M.LPM_TRIE and not spec.flags & _NO_PREALLOC:
        return "a trie needs the flag BPF_F_NO_PREALLOC (1)"
    return "" if entries > 0 else "max_entries is 0"
