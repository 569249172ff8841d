"""Which helper goes with which program and which map, and the shape that it has there.

Input: numbers of helpers, program types and attach types, map types, formats. Output: a Helper (the row of
cfront.uapi, or its variant for this program type), or a Refusal with Linux's sentence. Invariant: a helper
that is not listed for a program type is refused.

HELPERS_BY_TYPE was read off Linux 6.18 by loading, for each program type, one program for each helper. By the
kernel's source are: what its configuration left out (LIRC_MODE2, override_return, probe_write_user), what it
does not permit here (the programs whose context BTF describes) and what the unprivileged may call.
Source: the get_func_proto functions of kernel/bpf, kernel/trace/bpf_trace.c and net/core/filter.c;
kernel/bpf/verifier.c, check_helper_call and check_map_func_compatibility; kernel/bpf/helpers.c."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from bcc_py.verifier.env import ALL_PRIVILEGES, Privileges
from bcc_py.verifier.hooks import SLEEPABLE_LSM
from bcc_py.verifier.rules import BPF_F_RDONLY_PROG, Refusal
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Arg, AttachType, Helper, MapType, ProgType

__all__ = [
    "HELPERS_BY_TYPE",
    "check_format",
    "check_helper",
    "check_map_and_helper",
    "helper_text",
    "helpers_of",
]

_A, _P = AttachType, ProgType


def _ids(text: str) -> frozenset[int]:
    return frozenset(HELPER_IDS[name] for name in text.split())


# ---- by program type

_SYS_BPF = HELPER_IDS["sys_bpf"]
_FREE = _ids("""
    map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem map_lookup_percpu_elem
    get_prandom_u32 get_smp_processor_id get_numa_node_id tail_call ktime_get_ns ktime_get_boot_ns ktime_get_tai_ns
    ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query strncmp strtol strtoul
    get_current_pid_tgid get_ns_current_pid_tgid
""")
_FOR_BPF = _ids("""
    spin_lock spin_unlock jiffies64 per_cpu_ptr this_cpu_ptr timer_init timer_set_callback timer_start timer_cancel
    kptr_xchg for_each_map_elem loop user_ringbuf_drain ringbuf_reserve_dynptr ringbuf_submit_dynptr
    ringbuf_discard_dynptr dynptr_from_mem dynptr_read dynptr_write dynptr_data cgrp_storage_get cgrp_storage_delete
    get_current_cgroup_id get_current_ancestor_cgroup_id current_task_under_cgroup get_cgroup_classid
    task_storage_get task_storage_delete get_current_uid_gid
""")
_FOR_PERFMON = _ids("""
    trace_printk trace_vprintk get_current_task get_current_task_btf get_current_comm perf_event_read
    perf_event_read_value probe_read_user probe_read_kernel probe_read_user_str probe_read_kernel_str send_signal
    send_signal_thread snprintf snprintf_btf task_pt_regs get_task_stack get_branch_snapshot find_vma copy_from_user
    copy_from_user_task
""")
_EVERY = _FREE | _FOR_BPF | _FOR_PERFMON
_SOCK_CASTS = _ids("""
    skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock skc_to_tcp_request_sock skc_to_udp6_sock
    skc_to_unix_sock skc_to_mptcp_sock
""")
_SOCK_BASE = _EVERY | _SOCK_CASTS | _ids("ktime_get_coarse_ns")
_OUTPUT = _ids("perf_event_output")
_LOOKUPS = _ids("sk_lookup_tcp sk_lookup_udp skc_lookup_tcp sk_release")
_STORAGE = _ids("sk_storage_get sk_storage_delete")
_SYNCOOKIES = _ids("""
    tcp_check_syncookie tcp_gen_syncookie tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6
    tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6
""")
_RETVAL = _ids("get_retval set_retval")
_CGROUP = _EVERY | _OUTPUT | _ids("get_local_storage")

_TRACING = _EVERY | _OUTPUT | _ids("probe_read probe_read_str get_stackid get_stack probe_write_user")
_PERF = _TRACING | _ids("get_attach_cookie")
_KPROBE = _PERF | _ids("get_func_ip override_return")
_WITH_BTF = _TRACING | _STORAGE | _SOCK_CASTS | _ids("""
    get_socket_cookie skb_output xdp_output d_path sock_from_file xdp_get_buff_len
""")
_TRAMPOLINE = _WITH_BTF | _ids("get_func_ip get_func_arg get_func_ret get_func_arg_cnt get_attach_cookie")
_ITER = _WITH_BTF | _ids("seq_printf seq_write seq_printf_btf")
_LSM = _TRAMPOLINE | _ids("inode_storage_get inode_storage_delete bprm_opts_set ima_inode_hash ima_file_hash")
_SOCKOPTS = _ids("setsockopt getsockopt")
_TCP_CA = _EVERY | _STORAGE | _SOCKOPTS | _ids("tcp_send_ack ktime_get_coarse_ns")

_FILTER = _SOCK_BASE | _OUTPUT | _ids("""
    skb_load_bytes skb_load_bytes_relative get_socket_cookie get_socket_uid get_netns_cookie
""")
_CGROUP_SKB = _FILTER | _LOOKUPS | _STORAGE | _ids("""
    get_local_storage skb_cgroup_id skb_ancestor_cgroup_id sk_cgroup_id sk_ancestor_cgroup_id sk_fullsock tcp_sock
    get_listener_sock skb_ecn_set_ce
""")
_SCHED = _FILTER | _LOOKUPS | _STORAGE | _SYNCOOKIES | _ids("""
    skb_store_bytes skb_pull_data csum_diff csum_update csum_level l3_csum_replace l4_csum_replace clone_redirect
    skb_vlan_push skb_vlan_pop skb_change_proto skb_change_type skb_adjust_room skb_change_tail skb_change_head
    skb_get_tunnel_key skb_set_tunnel_key skb_get_tunnel_opt skb_set_tunnel_opt redirect redirect_neigh redirect_peer
    get_route_realm get_hash_recalc set_hash_invalid set_hash skb_under_cgroup fib_lookup check_mtu sk_fullsock
    skb_get_xfrm_state skb_cgroup_classid skb_cgroup_id skb_ancestor_cgroup_id tcp_sock get_listener_sock
    skb_ecn_set_ce sk_assign skb_set_tstamp
""")
_XDP = _SOCK_BASE | _OUTPUT | _LOOKUPS | _SYNCOOKIES | _ids("""
    csum_diff xdp_adjust_head xdp_adjust_meta xdp_adjust_tail redirect redirect_map xdp_get_buff_len xdp_load_bytes
    xdp_store_bytes fib_lookup check_mtu
""")
_LWT = _SOCK_BASE | _OUTPUT | _ids("""
    skb_load_bytes skb_pull_data csum_diff get_route_realm get_hash_recalc skb_under_cgroup
""")
_LWT_XMIT = _LWT | _ids("""
    skb_get_tunnel_key skb_set_tunnel_key skb_get_tunnel_opt skb_set_tunnel_opt redirect clone_redirect
    skb_change_tail skb_change_head skb_store_bytes csum_update csum_level l3_csum_replace l4_csum_replace
    set_hash_invalid lwt_push_encap
""")
_SOCK_OPS = _SOCK_BASE | _OUTPUT | _STORAGE | _SOCKOPTS | _ids("""
    get_local_storage sock_ops_cb_flags_set sock_map_update sock_hash_update get_socket_cookie get_netns_cookie
    load_hdr_opt store_hdr_opt reserve_hdr_opt tcp_sock
""")
_SK_SKB = _SOCK_BASE | _OUTPUT | _LOOKUPS | _ids("""
    skb_store_bytes skb_load_bytes skb_pull_data skb_change_tail skb_change_head skb_adjust_room get_socket_cookie
    get_socket_uid sk_redirect_map sk_redirect_hash
""")
_SK_MSG = _SOCK_BASE | _OUTPUT | _STORAGE | _ids("""
    msg_redirect_map msg_redirect_hash msg_apply_bytes msg_cork_bytes msg_pull_data msg_push_data msg_pop_data
    get_netns_cookie
""")
_ADDR = _CGROUP | _SOCK_BASE | _LOOKUPS | _STORAGE | _SOCKOPTS | _ids("get_socket_cookie get_netns_cookie")

HELPERS_BY_TYPE: Mapping[ProgType, frozenset[int]] = {
    _P.SOCKET_FILTER: _FILTER,
    _P.KPROBE: _KPROBE,
    _P.SCHED_CLS: _SCHED,
    _P.SCHED_ACT: _SCHED,
    _P.TRACEPOINT: _PERF,
    _P.XDP: _XDP,
    _P.PERF_EVENT: _PERF | _ids("perf_prog_read_value read_branch_records"),
    _P.CGROUP_SKB: _CGROUP_SKB,
    _P.CGROUP_SOCK: _CGROUP | _RETVAL | _ids("get_socket_cookie get_netns_cookie sk_storage_get ktime_get_coarse_ns"),
    _P.LWT_IN: _LWT | _ids("lwt_push_encap"),
    _P.LWT_OUT: _LWT,
    _P.LWT_XMIT: _LWT_XMIT,
    _P.SOCK_OPS: _SOCK_OPS,
    _P.SK_SKB: _SK_SKB,
    _P.CGROUP_DEVICE: _CGROUP,
    _P.SK_MSG: _SK_MSG,
    _P.RAW_TRACEPOINT: _PERF,
    _P.CGROUP_SOCK_ADDR: _ADDR,
    _P.LWT_SEG6LOCAL: _LWT | _ids("lwt_seg6_store_bytes lwt_seg6_action lwt_seg6_adjust_srh"),
    _P.LIRC_MODE2: _EVERY | _ids("rc_repeat rc_keydown rc_pointer_rel get_local_storage"),
    _P.SK_REUSEPORT: _EVERY | _ids("""
        sk_select_reuseport skb_load_bytes skb_load_bytes_relative get_socket_cookie ktime_get_coarse_ns
    """),
    _P.FLOW_DISSECTOR: _SOCK_BASE | _ids("skb_load_bytes"),
    _P.CGROUP_SYSCTL: _CGROUP | _ids("""
        sysctl_get_name sysctl_get_current_value sysctl_get_new_value sysctl_set_new_value ktime_get_coarse_ns
    """),
    _P.RAW_TRACEPOINT_WRITABLE: _PERF,
    _P.CGROUP_SOCKOPT: _CGROUP | _RETVAL | _STORAGE | _ids("get_netns_cookie tcp_sock"),
    _P.TRACING: _TRAMPOLINE,
    _P.STRUCT_OPS: _TCP_CA,
    # of the program that it replaces a function of
    _P.EXT: frozenset(),
    _P.LSM: _LSM,
    _P.SK_LOOKUP: _SOCK_BASE | _OUTPUT | _ids("sk_assign sk_release"),
    _P.SYSCALL: _WITH_BTF | _ids("sys_bpf btf_find_by_name_kind sys_close kallsyms_lookup_name"),
    _P.NETFILTER: _EVERY,
}
_NAMED = (
    _A.CGROUP_UDP4_RECVMSG, _A.CGROUP_UDP6_RECVMSG, _A.CGROUP_UNIX_RECVMSG, _A.CGROUP_INET4_GETPEERNAME,
    _A.CGROUP_INET6_GETPEERNAME, _A.CGROUP_UNIX_GETPEERNAME, _A.CGROUP_INET4_GETSOCKNAME,
    _A.CGROUP_INET6_GETSOCKNAME, _A.CGROUP_UNIX_GETSOCKNAME,
)
_CONNECTS = (_A.CGROUP_INET4_CONNECT, _A.CGROUP_INET6_CONNECT)


@cache
def helpers_of(type: ProgType, attach_type: AttachType) -> frozenset[int]:
    """The numbers of the helpers that a program with every privilege may call."""
    if type is _P.TRACING and attach_type is _A.TRACE_ITER:
        return _ITER | _ids("get_func_ip")
    if type is _P.TRACING and attach_type is _A.TRACE_RAW_TP:
        return _WITH_BTF | _ids("get_func_ip get_attach_cookie")
    if type is _P.LSM and attach_type is _A.LSM_CGROUP:
        return _LSM | _RETVAL | _ids("get_local_storage")
    if type is _P.CGROUP_SOCKOPT and attach_type is _A.CGROUP_SETSOCKOPT:
        return HELPERS_BY_TYPE[type] | _SOCKOPTS
    if type is _P.CGROUP_SOCK_ADDR:
        return (
            _ADDR | (frozenset() if attach_type in _NAMED else _RETVAL)
            | (_ids("bind") if attach_type in _CONNECTS else frozenset())
        )
    return HELPERS_BY_TYPE[type]


def _has_privilege(number: int, type: ProgType, privileges: Privileges) -> bool:
    """The privilege that a helper asks for is there; programs of some types have it anyway."""
    if number in _FOR_PERFMON or number == _SYS_BPF or (number in _SOCK_CASTS and type is not _P.SYSCALL):
        return privileges.perfmon
    return privileges.bpf or number not in _FOR_BPF


# ---- variants: where the same number means another prototype

_KPROBE_MANY = (_A.TRACE_KPROBE_MULTI, _A.TRACE_KPROBE_SESSION, _A.TRACE_UPROBE_MULTI, _A.TRACE_UPROBE_SESSION)
_SKB_CLASS = (_P.SCHED_CLS, _P.SCHED_ACT, _P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT, _P.LWT_SEG6LOCAL)
_BTF_TYPES = (_P.TRACING, _P.LSM, _P.SYSCALL)
_RAW = (_P.RAW_TRACEPOINT, _P.RAW_TRACEPOINT_WRITABLE, *_BTF_TYPES)


def _with_args(helper: Helper, *args: Arg, btf: str = "") -> Helper:
    """The first arguments are others."""
    return replace(helper, args=args + helper.args[len(args) :], arg_btf=btf or helper.arg_btf)


def _variant(helper: Helper, type: ProgType, attach_type: AttachType, is_sleepable: bool) -> Helper:
    name = helper.name
    if name == "get_cgroup_classid" and type not in _SKB_CLASS:
        return replace(helper, args=())
    if name == "get_socket_cookie" and type in (_P.SK_REUSEPORT, *_BTF_TYPES):
        return _with_args(helper, Arg.BTF_SOCK_COMMON_OR_NULL)
    if name in ("setsockopt", "getsockopt") and type in (_P.CGROUP_SOCKOPT, _P.LSM, _P.STRUCT_OPS):
        return _with_args(helper, Arg.BTF_SOCK_COMMON)
    if name == "sk_assign" and type is _P.SK_LOOKUP:
        return _with_args(helper, Arg.CTX, Arg.SOCKET_OR_NULL)
    if name in ("sk_storage_get", "sk_storage_delete") and type in (_P.TRACING, _P.SYSCALL):
        return _with_args(helper, Arg.CONST_MAP_PTR, Arg.BTF_OR_NULL, btf="sock_common")
    if name == "sk_storage_get" and type is _P.CGROUP_SOCK:
        return _with_args(helper, Arg.CONST_MAP_PTR, Arg.CTX)
    if name in ("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp") and type is _P.CGROUP_SOCK_ADDR:
        return replace(helper, reads_packet=False)
    if name == "xdp_get_buff_len" and type in _BTF_TYPES:
        return _with_args(helper, Arg.BTF, btf="xdp_buff")
    if name == "get_func_ip" and type is _P.KPROBE and attach_type in _KPROBE_MANY:
        return replace(helper, gpl_only=False)
    if name == "get_stackid" and type is _P.PERF_EVENT:
        return replace(helper, gpl_only=False)
    if name == "get_task_stack" or (name == "get_stack" and type is _P.KPROBE):
        return replace(helper, sleeps=is_sleepable)
    return helper


_TRACED = (
    _P.TRACEPOINT, _P.PERF_EVENT, _P.RAW_TRACEPOINT, _P.RAW_TRACEPOINT_WRITABLE, _P.SYSCALL, _P.TRACING, _P.LSM,
)
_FUNC_IP_HOOKS = (_A.TRACE_FENTRY, _A.TRACE_FEXIT, _A.MODIFY_RETURN)
# kernel functions whose argument d_path may be given
_PATH_HOOKS = frozenset((
    "security_file_permission", "security_inode_getattr", "security_file_open", "security_path_truncate",
    "vfs_truncate", "vfs_fallocate", "dentry_open", "vfs_getattr", "filp_close",
))
_D_PATH, _FUNC_IP = HELPER_IDS["d_path"], HELPER_IDS["get_func_ip"]
_IMA = _ids("ima_inode_hash ima_file_hash")


def helper_text(number: int) -> str:
    helper = HELPER_BY_ID.get(number)
    return f"bpf_{helper.name}#{number}" if helper else f"unknown#{number}"


def check_helper(
    number: int, type: ProgType, attach_type: AttachType, is_gpl: bool, *, is_sleepable: bool = False,
    privileges: Privileges = ALL_PRIVILEGES, hook: str = "",
) -> Helper:
    """The helper as a program of this type, hook and license sees it. hook: the kernel function that a program
    with a BTF context is attached to. Raises Refusal."""
    helper = HELPER_BY_ID.get(number)
    if helper is None:
        raise Refusal(f"invalid func unknown#{number}")
    is_listed = number in helpers_of(type, attach_type) or (number == _FUNC_IP and type in _TRACED)
    if not is_listed or not _has_privilege(number, type, privileges):
        raise Refusal(f"program of this type cannot use helper {helper_text(number)}")
    helper = _variant(helper, type, attach_type, is_sleepable)
    if helper.gpl_only and not is_gpl:
        raise Refusal("cannot call GPL-restricted function from non-GPL compatible program")
    if not _is_allowed(number, type, attach_type, is_sleepable, hook):
        raise Refusal("helper call is not allowed in probe")
    if helper.sleeps and not is_sleepable:
        raise Refusal("helper call might sleep in a non-sleepable prog")
    if number == _FUNC_IP:
        _check_func_ip(type, attach_type)
    return helper


def _is_allowed(number: int, type: ProgType, attach_type: AttachType, is_sleepable: bool, hook: str) -> bool:
    """False where a helper's own test of the program says no."""
    if number in _IMA:
        return is_sleepable
    if number == _D_PATH:
        if type is _P.LSM:
            return hook.removeprefix("bpf_lsm_") in SLEEPABLE_LSM
        return attach_type is _A.TRACE_ITER or hook in _PATH_HOOKS
    if number in _STORAGE and type in (_P.TRACING, _P.SYSCALL):
        if attach_type in (_A.TRACE_FENTRY, _A.TRACE_FEXIT):
            return not hook.startswith("bpf_sk_storage")
        return attach_type in (_A.TRACE_ITER, _A.TRACE_RAW_TP)
    return True


def _check_func_ip(type: ProgType, attach_type: AttachType) -> None:
    if type is _P.TRACING and attach_type not in _FUNC_IP_HOOKS:
        raise Refusal(f"func {helper_text(_FUNC_IP)} supported only for fentry/fexit/fmod_ret programs")
    if type not in (_P.TRACING, _P.KPROBE):
        raise Refusal(f"func {helper_text(_FUNC_IP)} not supported for program type {type:d}")


# ---- maps

_RINGS = "ringbuf_output ringbuf_reserve ringbuf_query ringbuf_reserve_dynptr ringbuf_submit_dynptr ringbuf_discard_dynptr"
_EVENTS = "perf_event_read perf_event_output skb_output perf_event_read_value xdp_output"
# maps that are good for nothing else
_BY_MAP: Mapping[MapType, frozenset[int]] = {
    MapType.PROG_ARRAY: _ids("tail_call"),
    MapType.PERF_EVENT_ARRAY: _ids(_EVENTS),
    MapType.RINGBUF: _ids(_RINGS),
    MapType.USER_RINGBUF: _ids("user_ringbuf_drain"),
    MapType.STACK_TRACE: _ids("get_stackid"),
    MapType.CGROUP_ARRAY: _ids("skb_under_cgroup current_task_under_cgroup"),
    MapType.CGROUP_STORAGE: _ids("get_local_storage"),
    MapType.PERCPU_CGROUP_STORAGE: _ids("get_local_storage"),
    MapType.DEVMAP: _ids("redirect_map map_lookup_elem"),
    MapType.DEVMAP_HASH: _ids("redirect_map map_lookup_elem"),
    MapType.CPUMAP: _ids("redirect_map"),
    MapType.XSKMAP: _ids("redirect_map map_lookup_elem"),
    MapType.ARRAY_OF_MAPS: _ids("map_lookup_elem"),
    MapType.HASH_OF_MAPS: _ids("map_lookup_elem"),
    MapType.SOCKMAP: _ids("sk_redirect_map sock_map_update msg_redirect_map sk_select_reuseport map_lookup_elem"),
    MapType.SOCKHASH: _ids("sk_redirect_hash sock_hash_update msg_redirect_hash sk_select_reuseport map_lookup_elem"),
    MapType.REUSEPORT_SOCKARRAY: _ids("sk_select_reuseport"),
    MapType.QUEUE: _ids("map_peek_elem map_pop_elem map_push_elem"),
    MapType.STACK: _ids("map_peek_elem map_pop_elem map_push_elem"),
    MapType.SK_STORAGE: _ids("sk_storage_get sk_storage_delete kptr_xchg"),
    MapType.INODE_STORAGE: _ids("inode_storage_get inode_storage_delete kptr_xchg"),
    MapType.TASK_STORAGE: _ids("task_storage_get task_storage_delete kptr_xchg"),
    MapType.CGRP_STORAGE: _ids("cgrp_storage_get cgrp_storage_delete kptr_xchg"),
    MapType.BLOOM_FILTER: _ids("map_peek_elem map_push_elem"),
}


def _maps_by_helper() -> dict[int, frozenset[MapType]]:
    """Helpers that are good for some maps only: those that _BY_MAP names, but for the ones that take plain maps too."""
    plain = _ids("map_lookup_elem kptr_xchg")
    found: dict[int, frozenset[MapType]] = {}
    for type, numbers in _BY_MAP.items():
        for number in numbers - plain:
            found[number] = found.get(number, frozenset()) | {type}
    per_cpu = frozenset((MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH))
    return found | {HELPER_IDS["map_lookup_percpu_elem"]: per_cpu}


_BY_HELPER = _maps_by_helper()
_WRITERS = _ids("map_update_elem map_delete_elem map_push_elem map_pop_elem")
_UPDATE, _DELETE = HELPER_IDS["map_update_elem"], HELPER_IDS["map_delete_elem"]
_SOCK_MAPS = (MapType.SOCKMAP, MapType.SOCKHASH)
_SOCK_MAP_UPDATERS = frozenset((
    _P.SOCKET_FILTER, _P.SCHED_CLS, _P.SCHED_ACT, _P.XDP, _P.SK_REUSEPORT, _P.FLOW_DISSECTOR, _P.SK_LOOKUP,
))


def check_map_and_helper(
    map_type: MapType, flags: int, number: int, type: ProgType, attach_type: AttachType
) -> None:
    """A map of this type and creation flags may be given to this helper, in a program of this type. Raises Refusal."""
    fits = number in _BY_MAP.get(map_type, (number,)) and map_type in _BY_HELPER.get(number, (map_type,))
    if map_type in _SOCK_MAPS and number in (_UPDATE, _DELETE):
        fits = _may_update_sockets(number, type, attach_type)
        sentences: tuple[str, ...] = () if fits else ("cannot update sockmap in this context",)
    else:
        sentences = ()
    if not fits:
        raise Refusal(*sentences, f"cannot pass map_type {map_type:d} into func {helper_text(number)}")
    if number in _WRITERS and flags & BPF_F_RDONLY_PROG:
        raise Refusal("write into map forbidden")


def _may_update_sockets(number: int, type: ProgType, attach_type: AttachType) -> bool:
    if type is _P.TRACING:
        return attach_type is _A.TRACE_ITER
    return type in _SOCK_MAP_UPDATERS or (type is _P.SOCK_OPS and number == _DELETE)


# ---- formats

_BAD_FORMAT = "Invalid format string"
_SPACES, _DIGITS = b" \t\n\v\f\r", b"0123456789"
_PUNCTUATION = bytes(one for one in range(0x21, 0x7F) if not chr(one).isalnum())
_ENDS = b"\0" + _SPACES + _PUNCTUATION


def check_format(text: bytes, args: int) -> str:
    """What is wrong with the format of snprintf, "" if nothing. text: without its final 0; args: how many values there are.

    Source: kernel/bpf/helpers.c, bpf_bprintf_prepare."""
    at = 0
    while at < len(text):
        char = text[at]
        if (char < 0x20 and char not in _SPACES) or char == 0x7F:
            return _BAD_FORMAT
        at += 1
        if char != 0x25:
            continue
        if text[at : at + 1] == b"%":
            at += 1
            continue
        width = _conversion(text[at:] + b"\0\0\0")
        if not args or not width:
            return _BAD_FORMAT
        args -= 1
        at += width
    return ""


def _conversion(rest: bytes) -> int:
    """How many bytes the conversion behind a % has, 0 if it is none. rest: ends in three 0."""
    at = _skipped(rest, 0, b"0+- ")
    if rest[at] in b"123456789":
        at = _skipped(rest, at, _DIGITS)
    letter = rest[at : at + 1]
    if letter == b"p":
        return _pointer_conversion(rest, at + 1)
    if letter == b"s":
        return at + 1 if rest[at + 1] in _ENDS else 0
    if letter == b"c":
        return at + 1
    at = _skipped(rest[: at + 2] + b"\0", at, b"l")
    return at + 1 if rest[at] in b"iduxX" else 0


def _pointer_conversion(rest: bytes, at: int) -> int:
    if rest[at] in _ENDS:
        return at
    if rest[at : at + 2] in (b"ks", b"us"):
        return at + 2 if rest[at + 2] in _ENDS else 0
    if rest[at] in b"KxsSB":
        return at + 1
    return at + 2 if rest[at : at + 2] in (b"i4", b"i6", b"I4", b"I6") else 0


def _skipped(rest: bytes, at: int, chars: Iterable[int]) -> int:
    while rest[at] in chars:
        at += 1
    return at
