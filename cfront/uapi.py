"""Facts of the BPF ABI, written down once: map, program and attach types, the numbered helpers, and
the ELF section names that say what a function is. Rows, no behaviour.

Source: include/uapi/linux/bpf.h and kernel/bpf/verifier.c of Linux 6.18; sections as libbpf and BCC
write them. Since-versions are those of each helper's first release."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

__all__ = [
    "HELPERS",
    "HELPER_BY_ID",
    "HELPER_IDS",
    "SECTIONS",
    "Arg",
    "AttachType",
    "Helper",
    "MapType",
    "ProgType",
    "Ret",
    "SectionRule",
    "version_code",
]


class MapType(enum.IntEnum):
    """enum bpf_map_type, without its BPF_MAP_TYPE_ prefix."""

    UNSPEC = 0
    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    CGROUP_ARRAY = 8
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    DEVMAP = 14
    SOCKMAP = 15
    CPUMAP = 16
    XSKMAP = 17
    SOCKHASH = 18
    CGROUP_STORAGE = 19
    REUSEPORT_SOCKARRAY = 20
    PERCPU_CGROUP_STORAGE = 21
    QUEUE = 22
    STACK = 23
    SK_STORAGE = 24
    DEVMAP_HASH = 25
    STRUCT_OPS = 26
    RINGBUF = 27
    INODE_STORAGE = 28
    TASK_STORAGE = 29
    BLOOM_FILTER = 30
    USER_RINGBUF = 31
    CGRP_STORAGE = 32
    ARENA = 33


class ProgType(enum.IntEnum):
    """enum bpf_prog_type, without its BPF_PROG_TYPE_ prefix."""

    UNSPEC = 0
    SOCKET_FILTER = 1
    KPROBE = 2
    SCHED_CLS = 3
    SCHED_ACT = 4
    TRACEPOINT = 5
    XDP = 6
    PERF_EVENT = 7
    CGROUP_SKB = 8
    CGROUP_SOCK = 9
    LWT_IN = 10
    LWT_OUT = 11
    LWT_XMIT = 12
    SOCK_OPS = 13
    SK_SKB = 14
    CGROUP_DEVICE = 15
    SK_MSG = 16
    RAW_TRACEPOINT = 17
    CGROUP_SOCK_ADDR = 18
    LWT_SEG6LOCAL = 19
    LIRC_MODE2 = 20
    SK_REUSEPORT = 21
    FLOW_DISSECTOR = 22
    CGROUP_SYSCTL = 23
    RAW_TRACEPOINT_WRITABLE = 24
    CGROUP_SOCKOPT = 25
    TRACING = 26
    STRUCT_OPS = 27
    EXT = 28
    LSM = 29
    SK_LOOKUP = 30
    SYSCALL = 31
    NETFILTER = 32


class AttachType(enum.IntEnum):
    """enum bpf_attach_type, without its BPF_ prefix. NONE: the program type needs none (the kernel's 0)."""

    NONE = -1
    CGROUP_INET_INGRESS = 0
    CGROUP_INET_EGRESS = 1
    CGROUP_INET_SOCK_CREATE = 2
    CGROUP_SOCK_OPS = 3
    SK_SKB_STREAM_PARSER = 4
    SK_SKB_STREAM_VERDICT = 5
    CGROUP_DEVICE = 6
    SK_MSG_VERDICT = 7
    CGROUP_INET4_BIND = 8
    CGROUP_INET6_BIND = 9
    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_INET4_POST_BIND = 12
    CGROUP_INET6_POST_BIND = 13
    CGROUP_UDP4_SENDMSG = 14
    CGROUP_UDP6_SENDMSG = 15
    LIRC_MODE2 = 16
    FLOW_DISSECTOR = 17
    CGROUP_SYSCTL = 18
    CGROUP_UDP4_RECVMSG = 19
    CGROUP_UDP6_RECVMSG = 20
    CGROUP_GETSOCKOPT = 21
    CGROUP_SETSOCKOPT = 22
    TRACE_RAW_TP = 23
    TRACE_FENTRY = 24
    TRACE_FEXIT = 25
    MODIFY_RETURN = 26
    LSM_MAC = 27
    TRACE_ITER = 28
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    CGROUP_INET4_GETSOCKNAME = 31
    CGROUP_INET6_GETSOCKNAME = 32
    XDP_DEVMAP = 33
    CGROUP_INET_SOCK_RELEASE = 34
    XDP_CPUMAP = 35
    SK_LOOKUP = 36
    XDP = 37
    SK_SKB_VERDICT = 38
    SK_REUSEPORT_SELECT = 39
    SK_REUSEPORT_SELECT_OR_MIGRATE = 40
    PERF_EVENT = 41
    TRACE_KPROBE_MULTI = 42
    LSM_CGROUP = 43
    STRUCT_OPS = 44
    NETFILTER = 45
    TCX_INGRESS = 46
    TCX_EGRESS = 47
    TRACE_UPROBE_MULTI = 48
    CGROUP_UNIX_CONNECT = 49
    CGROUP_UNIX_SENDMSG = 50
    CGROUP_UNIX_RECVMSG = 51
    CGROUP_UNIX_GETPEERNAME = 52
    CGROUP_UNIX_GETSOCKNAME = 53
    NETKIT_PRIMARY = 54
    NETKIT_PEER = 55
    TRACE_KPROBE_SESSION = 56
    TRACE_UPROBE_SESSION = 57


_HELPER_NAMES = """
    map_lookup_elem map_update_elem map_delete_elem probe_read ktime_get_ns trace_printk get_prandom_u32
    get_smp_processor_id skb_store_bytes l3_csum_replace l4_csum_replace tail_call clone_redirect
    get_current_pid_tgid get_current_uid_gid get_current_comm get_cgroup_classid skb_vlan_push skb_vlan_pop
    skb_get_tunnel_key skb_set_tunnel_key perf_event_read redirect get_route_realm perf_event_output skb_load_bytes
    get_stackid csum_diff skb_get_tunnel_opt skb_set_tunnel_opt skb_change_proto skb_change_type skb_under_cgroup
    get_hash_recalc get_current_task probe_write_user current_task_under_cgroup skb_change_tail skb_pull_data
    csum_update set_hash_invalid get_numa_node_id skb_change_head xdp_adjust_head probe_read_str get_socket_cookie
    get_socket_uid set_hash setsockopt skb_adjust_room redirect_map sk_redirect_map sock_map_update xdp_adjust_meta
    perf_event_read_value perf_prog_read_value getsockopt override_return sock_ops_cb_flags_set msg_redirect_map
    msg_apply_bytes msg_cork_bytes msg_pull_data bind xdp_adjust_tail skb_get_xfrm_state get_stack
    skb_load_bytes_relative fib_lookup sock_hash_update msg_redirect_hash sk_redirect_hash lwt_push_encap
    lwt_seg6_store_bytes lwt_seg6_adjust_srh lwt_seg6_action rc_repeat rc_keydown skb_cgroup_id
    get_current_cgroup_id get_local_storage sk_select_reuseport skb_ancestor_cgroup_id sk_lookup_tcp sk_lookup_udp
    sk_release map_push_elem map_pop_elem map_peek_elem msg_push_data msg_pop_data rc_pointer_rel spin_lock
    spin_unlock sk_fullsock tcp_sock skb_ecn_set_ce get_listener_sock skc_lookup_tcp tcp_check_syncookie
    sysctl_get_name sysctl_get_current_value sysctl_get_new_value sysctl_set_new_value strtol strtoul sk_storage_get
    sk_storage_delete send_signal tcp_gen_syncookie skb_output probe_read_user probe_read_kernel probe_read_user_str
    probe_read_kernel_str tcp_send_ack send_signal_thread jiffies64 read_branch_records get_ns_current_pid_tgid
    xdp_output get_netns_cookie get_current_ancestor_cgroup_id sk_assign ktime_get_boot_ns seq_printf seq_write
    sk_cgroup_id sk_ancestor_cgroup_id ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query
    csum_level skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock skc_to_tcp_request_sock skc_to_udp6_sock
    get_task_stack load_hdr_opt store_hdr_opt reserve_hdr_opt inode_storage_get inode_storage_delete d_path
    copy_from_user snprintf_btf seq_printf_btf skb_cgroup_classid redirect_neigh per_cpu_ptr this_cpu_ptr
    redirect_peer task_storage_get task_storage_delete get_current_task_btf bprm_opts_set ktime_get_coarse_ns
    ima_inode_hash sock_from_file check_mtu for_each_map_elem snprintf sys_bpf btf_find_by_name_kind sys_close
    timer_init timer_set_callback timer_start timer_cancel get_func_ip get_attach_cookie task_pt_regs
    get_branch_snapshot trace_vprintk skc_to_unix_sock kallsyms_lookup_name find_vma loop strncmp get_func_arg
    get_func_ret get_func_arg_cnt get_retval set_retval xdp_get_buff_len xdp_load_bytes xdp_store_bytes
    copy_from_user_task skb_set_tstamp ima_file_hash kptr_xchg map_lookup_percpu_elem skc_to_mptcp_sock
    dynptr_from_mem ringbuf_reserve_dynptr ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_read dynptr_write
    dynptr_data tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4
    tcp_raw_check_syncookie_ipv6 ktime_get_tai_ns user_ringbuf_drain cgrp_storage_get cgrp_storage_delete
"""
# every helper's number by its name without the bpf_ prefix, 1 to 211
HELPER_IDS: dict[str, int] = {name: number for number, name in enumerate(_HELPER_NAMES.split(), 1)}


class Ret(enum.Enum):
    """What the verifier knows of a helper's r0."""

    INTEGER = enum.auto()
    VOID = enum.auto()
    MAP_VALUE_OR_NULL = enum.auto()  # of the map that was the first argument
    MAP_VALUE = enum.auto()  # the same, never 0
    RINGBUF_MEM_OR_NULL = enum.auto()  # as many bytes as the constant size argument says; must be released
    DYNPTR_MEM_OR_NULL = enum.auto()  # as many bytes as the constant size argument says, while the dynptr lives
    KERNEL_ADDRESS = enum.auto()  # an integer to the verifier, a kernel pointer to the C programmer
    BTF_TASK = enum.auto()  # trusted struct task_struct *
    BTF = enum.auto()  # a pointer to struct ret_btf
    BTF_OR_NULL = enum.auto()
    KPTR_OR_NULL = enum.auto()  # what lay in the kptr field that was the first argument; must be released
    SOCKET_OR_NULL = enum.auto()
    SOCK_COMMON_OR_NULL = enum.auto()
    TCP_SOCK_OR_NULL = enum.auto()
    MEM_OR_BTF = enum.auto()  # read-only: this CPU's copy of the per-CPU variable that was the argument
    MEM_OR_BTF_OR_NULL = enum.auto()


class Arg(enum.Enum):
    """What must be in an argument's register. MEM kinds are followed by a SIZE kind."""

    ANYTHING = enum.auto()  # any initialised scalar or pointer
    UNUSED = enum.auto()  # not looked at, it need not even be initialised
    CTX = enum.auto()
    CTX_OR_NULL = enum.auto()
    CONST_MAP_PTR = enum.auto()
    MAP_KEY = enum.auto()  # key_size readable bytes
    MAP_VALUE = enum.auto()  # value_size readable bytes
    MAP_VALUE_OR_NULL = enum.auto()  # value_size readable bytes, or 0
    UNINIT_MAP_VALUE = enum.auto()  # value_size writable bytes
    MEM = enum.auto()  # readable bytes
    MEM_OR_NULL = enum.auto()
    UNINIT_MEM = enum.auto()  # writable bytes
    MEM_WRITE = enum.auto()  # bytes that must be initialised and are written
    MEM_WRITE_OR_NULL = enum.auto()
    FIXED_MEM = enum.auto()  # arg_bytes readable bytes
    FIXED_WRITE = enum.auto()  # arg_bytes aligned bytes that must be initialised and are written
    UNINIT_LONG = enum.auto()  # 8 writable bytes, aligned
    SIZE = enum.auto()  # > 0
    SIZE_OR_ZERO = enum.auto()
    CONST_ALLOC_SIZE = enum.auto()  # a known constant
    ALLOC_MEM = enum.auto()  # memory from ringbuf_reserve; this call releases it
    CONST_STR = enum.auto()  # a string ending in NUL within a frozen read-only map value
    SPIN_LOCK = enum.auto()  # struct bpf_spin_lock in a map value or an allocated object
    TIMER = enum.auto()  # struct bpf_timer in a map value
    KPTR_DEST = enum.auto()  # a kptr field in a map value or an allocated object
    KPTR_OR_NULL = enum.auto()  # an object of the type of that field, owned; this call releases it
    BTF = enum.auto()  # trusted pointer to struct arg_btf
    BTF_OR_NULL = enum.auto()
    PERCPU_BTF = enum.auto()  # a per-CPU variable of the kernel, or a per-CPU object
    SOCK_COMMON = enum.auto()  # any socket of the BPF kinds
    BTF_SOCK_COMMON = enum.auto()  # the same, or a trusted pointer to one of the kernel's
    BTF_SOCK_COMMON_OR_NULL = enum.auto()
    SOCKET_OR_NULL = enum.auto()  # a full socket
    FUNC = enum.auto()  # the address of a function of the program
    STACK_OR_NULL = enum.auto()  # a place on the stack, which the callback gets
    DYNPTR = enum.auto()  # initialised, of any kind
    RINGBUF_DYNPTR = enum.auto()  # from ringbuf_reserve_dynptr; this call releases it
    UNINIT_LOCAL_DYNPTR = enum.auto()  # 16 bytes of stack that become a dynptr over memory
    UNINIT_RINGBUF_DYNPTR = enum.auto()  # 16 bytes of stack that become one to release


@dataclass(frozen=True, slots=True)
class Helper:
    """A numbered helper. name: without bpf_. prototype: its C type, written with * for the name
    ("long (*)(void *dst, u32 size)"); a program calls it with at most five arguments.

    arg_bytes: how many bytes each FIXED argument has, by position, 0 for the others. arg_btf, ret_btf: the
    struct of its BTF argument and result. releases: the position of the argument whose reference ends here, -1
    for none. acquires: the result is a reference to release (map_lookup_elem: with a map of sockets). is_cast: the result
    is the first argument under another type, and shares its reference. reads_packet: memory arguments may lie in
    the packet. moves_packet: pointers into the packet are invalid afterwards. sleeps: only for sleepable programs."""

    id: int
    name: str
    since: str
    gpl_only: bool
    prototype: str
    ret: Ret
    args: tuple[Arg, ...]
    arg_bytes: tuple[int, ...] = ()
    arg_btf: str = ""
    ret_btf: str = ""
    releases: int = -1
    acquires: bool = False
    is_cast: bool = False
    reads_packet: bool = False
    moves_packet: bool = False
    sleeps: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RELEASING = (Arg.ALLOC_MEM, Arg.KPTR_OR_NULL, Arg.RINGBUF_DYNPTR)
_ACQUIRING = _names("sk_lookup_tcp sk_lookup_udp skc_lookup_tcp ringbuf_reserve kptr_xchg")
_CASTS = _names("""
    sk_fullsock tcp_sock skc_to_tcp_sock skc_to_tcp6_sock skc_to_udp6_sock skc_to_mptcp_sock skc_to_tcp_timewait_sock
    skc_to_tcp_request_sock
""")
_PACKET_READERS = _names("""
    map_lookup_elem map_update_elem map_delete_elem map_push_elem map_lookup_percpu_elem csum_diff sk_lookup_tcp
    sk_lookup_udp skc_lookup_tcp tcp_check_syncookie tcp_gen_syncookie tcp_raw_gen_syncookie_ipv4
    tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6
""")
# a tail call's target may call any of the others
_PACKET_MOVERS = _names("""
    clone_redirect l3_csum_replace l4_csum_replace lwt_push_encap lwt_seg6_action lwt_seg6_adjust_srh
    lwt_seg6_store_bytes msg_pop_data msg_pull_data msg_push_data skb_adjust_room skb_change_head skb_change_proto
    skb_change_tail skb_pull_data skb_store_bytes skb_vlan_pop skb_vlan_push store_hdr_opt xdp_adjust_head
    xdp_adjust_meta xdp_adjust_tail tail_call
""")
_SLEEPERS = _names("""
    copy_from_user copy_from_user_task ima_inode_hash ima_file_hash sys_bpf sys_close btf_find_by_name_kind
""")


def _row(
    name: str, since: str, prototype: str, ret: Ret, *args: Arg, gpl: bool = False, btf: str = "", gives: str = "",
    arg_bytes: tuple[int, ...] = (),
) -> Helper:
    releases = 0 if name == "sk_release" else next((at for at, arg in enumerate(args) if arg in _RELEASING), -1)
    return Helper(
        HELPER_IDS[name], name, since, gpl, prototype, ret, args, arg_bytes, btf, gives, releases, name in _ACQUIRING,
        name in _CASTS, name in _PACKET_READERS, name in _PACKET_MOVERS, name in _SLEEPERS,
    )


HELPERS: tuple[Helper, ...] = (
    _row("map_lookup_elem", "3.19", "void *(*)(void *map, const void *key)", Ret.MAP_VALUE_OR_NULL, Arg.CONST_MAP_PTR, Arg.MAP_KEY),
    _row("map_update_elem", "3.19", "long (*)(void *map, const void *key, const void *value, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.MAP_KEY, Arg.MAP_VALUE, Arg.ANYTHING),
    _row("map_delete_elem", "3.19", "long (*)(void *map, const void *key)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.MAP_KEY),
    _row("probe_read", "4.1", "long (*)(void *dst, u32 size, const void *unsafe_ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("ktime_get_ns", "4.1", "u64 (*)(void)", Ret.INTEGER),
    _row("trace_printk", "4.1", "long (*)(const char *fmt, u32 fmt_size, ...)", Ret.INTEGER, Arg.MEM, Arg.SIZE, gpl=True),
    _row("get_prandom_u32", "4.1", "u32 (*)(void)", Ret.INTEGER),
    _row("get_smp_processor_id", "4.1", "u32 (*)(void)", Ret.INTEGER),
    _row("skb_store_bytes", "4.1", "long (*)(void *skb, u32 offset, const void *from, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.MEM, Arg.SIZE, Arg.ANYTHING),
    _row("l3_csum_replace", "4.1", "long (*)(void *skb, u32 offset, u64 from, u64 to, u64 size)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING),
    _row("l4_csum_replace", "4.1", "long (*)(void *skb, u32 offset, u64 from, u64 to, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING),
    _row("tail_call", "4.2", "long (*)(void *ctx, void *prog_array_map, u32 index)", Ret.VOID, Arg.CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING),
    _row("clone_redirect", "4.2", "long (*)(void *skb, u32 ifindex, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("get_current_pid_tgid", "4.2", "u64 (*)(void)", Ret.INTEGER),
    _row("get_current_uid_gid", "4.2", "u64 (*)(void)", Ret.INTEGER),
    _row("get_current_comm", "4.2", "long (*)(void *buf, u32 size)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE),
    _row("get_cgroup_classid", "4.3", "u32 (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("skb_vlan_push", "4.3", "long (*)(void *skb, u16 vlan_proto, u16 vlan_tci)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("skb_vlan_pop", "4.3", "long (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("skb_get_tunnel_key", "4.3", "long (*)(void *skb, void *key, u32 size, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.UNINIT_MEM, Arg.SIZE, Arg.ANYTHING),
    _row("skb_set_tunnel_key", "4.3", "long (*)(void *skb, void *key, u32 size, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.MEM, Arg.SIZE, Arg.ANYTHING),
    _row("perf_event_read", "4.3", "u64 (*)(void *map, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.ANYTHING, gpl=True),
    _row("redirect", "4.4", "long (*)(u32 ifindex, u64 flags)", Ret.INTEGER, Arg.ANYTHING, Arg.ANYTHING),
    _row("get_route_realm", "4.4", "u32 (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("perf_event_output", "4.4", "long (*)(void *ctx, void *map, u64 flags, void *data, u64 size)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.MEM, Arg.SIZE_OR_ZERO, gpl=True),
    _row("skb_load_bytes", "4.5", "long (*)(const void *skb, u32 offset, void *to, u32 len)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.SIZE),
    _row("get_stackid", "4.6", "long (*)(void *ctx, void *map, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING, gpl=True),
    _row("csum_diff", "4.6", "s64 (*)(u32 *from, u32 from_size, u32 *to, u32 to_size, u32 seed)", Ret.INTEGER, Arg.MEM_OR_NULL, Arg.SIZE_OR_ZERO, Arg.MEM_OR_NULL, Arg.SIZE_OR_ZERO, Arg.ANYTHING),
    _row("skb_get_tunnel_opt", "4.6", "long (*)(void *skb, void *opt, u32 size)", Ret.INTEGER, Arg.CTX, Arg.UNINIT_MEM, Arg.SIZE),
    _row("skb_set_tunnel_opt", "4.6", "long (*)(void *skb, void *opt, u32 size)", Ret.INTEGER, Arg.CTX, Arg.MEM, Arg.SIZE),
    _row("skb_change_proto", "4.8", "long (*)(void *skb, u16 proto, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("skb_change_type", "4.8", "long (*)(void *skb, u32 type)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("skb_under_cgroup", "4.8", "long (*)(void *skb, void *map, u32 index)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING),
    _row("get_hash_recalc", "4.8", "u32 (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("get_current_task", "4.8", "u64 (*)(void)", Ret.KERNEL_ADDRESS, gpl=True),
    _row("probe_write_user", "4.8", "long (*)(void *dst, const void *src, u32 len)", Ret.INTEGER, Arg.ANYTHING, Arg.MEM, Arg.SIZE, gpl=True),
    _row("current_task_under_cgroup", "4.9", "long (*)(void *map, u32 index)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.ANYTHING),
    _row("skb_change_tail", "4.9", "long (*)(void *skb, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("skb_pull_data", "4.9", "long (*)(void *skb, u32 len)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("csum_update", "4.9", "s64 (*)(void *skb, u32 csum)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("set_hash_invalid", "4.9", "void (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("get_numa_node_id", "4.10", "long (*)(void)", Ret.INTEGER),
    _row("skb_change_head", "4.10", "long (*)(void *skb, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("xdp_adjust_head", "4.10", "long (*)(void *xdp_md, int delta)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("probe_read_str", "4.11", "long (*)(void *dst, u32 size, const void *unsafe_ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("get_socket_cookie", "4.12", "u64 (*)(void *sk)", Ret.INTEGER, Arg.CTX),
    _row("get_socket_uid", "4.12", "u32 (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("set_hash", "4.13", "long (*)(void *skb, u32 hash)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("setsockopt", "4.13", "long (*)(void *ctx, int level, int optname, void *optval, int optlen)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.MEM, Arg.SIZE),
    _row("skb_adjust_room", "4.13", "long (*)(void *skb, s32 len_diff, u32 mode, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING),
    _row("redirect_map", "4.14", "long (*)(void *map, u32 key, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.ANYTHING),
    _row("sk_redirect_map", "4.14", "long (*)(void *skb, void *map, u32 key, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.ANYTHING),
    _row("sock_map_update", "4.14", "long (*)(void *skops, void *map, void *key, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.MAP_KEY, Arg.ANYTHING),
    _row("xdp_adjust_meta", "4.15", "long (*)(void *xdp_md, int delta)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("perf_event_read_value", "4.15", "long (*)(void *map, u64 flags, void *buf, u32 buf_size)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.SIZE, gpl=True),
    _row("perf_prog_read_value", "4.15", "long (*)(void *ctx, void *buf, u32 buf_size)", Ret.INTEGER, Arg.CTX, Arg.UNINIT_MEM, Arg.SIZE, gpl=True),
    _row("getsockopt", "4.15", "long (*)(void *ctx, int level, int optname, void *optval, int optlen)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.SIZE),
    _row("override_return", "4.16", "long (*)(void *regs, u64 rc)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, gpl=True),
    _row("sock_ops_cb_flags_set", "4.16", "long (*)(void *skops, int flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("msg_redirect_map", "4.17", "long (*)(void *msg, void *map, u32 key, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.ANYTHING),
    _row("msg_apply_bytes", "4.17", "long (*)(void *msg, u32 bytes)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("msg_cork_bytes", "4.17", "long (*)(void *msg, u32 bytes)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("msg_pull_data", "4.17", "long (*)(void *msg, u32 start, u32 end, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING),
    _row("bind", "4.17", "long (*)(void *ctx, void *addr, int addr_len)", Ret.INTEGER, Arg.CTX, Arg.MEM, Arg.SIZE),
    _row("xdp_adjust_tail", "4.18", "long (*)(void *xdp_md, int delta)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("skb_get_xfrm_state", "4.18", "long (*)(void *skb, u32 index, void *xfrm_state, u32 size, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.SIZE, Arg.ANYTHING),
    _row("get_stack", "4.18", "long (*)(void *ctx, void *buf, u32 size, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("skb_load_bytes_relative", "4.18", "long (*)(const void *skb, u32 offset, void *to, u32 len, u32 start_header)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.SIZE, Arg.ANYTHING),
    _row("fib_lookup", "4.18", "long (*)(void *ctx, void *params, int plen, u32 flags)", Ret.INTEGER, Arg.CTX, Arg.MEM_WRITE, Arg.SIZE, Arg.ANYTHING, gpl=True),
    _row("sock_hash_update", "4.18", "long (*)(void *skops, void *map, void *key, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.MAP_KEY, Arg.ANYTHING),
    _row("msg_redirect_hash", "4.18", "long (*)(void *msg, void *map, void *key, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.MAP_KEY, Arg.ANYTHING),
    _row("sk_redirect_hash", "4.18", "long (*)(void *skb, void *map, void *key, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.MAP_KEY, Arg.ANYTHING),
    _row("lwt_push_encap", "4.18", "long (*)(void *skb, u32 type, void *hdr, u32 len)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.MEM, Arg.SIZE),
    _row("lwt_seg6_store_bytes", "4.18", "long (*)(void *skb, u32 offset, const void *from, u32 len)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.MEM, Arg.SIZE),
    _row("lwt_seg6_adjust_srh", "4.18", "long (*)(void *skb, u32 offset, s32 delta)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("lwt_seg6_action", "4.18", "long (*)(void *skb, u32 action, void *param, u32 param_len)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.MEM, Arg.SIZE),
    _row("rc_repeat", "4.18", "long (*)(void *ctx)", Ret.INTEGER, Arg.CTX, gpl=True),
    _row("rc_keydown", "4.18", "long (*)(void *ctx, u32 protocol, u64 scancode, u32 toggle)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING, gpl=True),
    _row("skb_cgroup_id", "4.18", "u64 (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("get_current_cgroup_id", "4.18", "u64 (*)(void)", Ret.INTEGER),
    _row("get_local_storage", "4.19", "void *(*)(void *map, u64 flags)", Ret.MAP_VALUE, Arg.CONST_MAP_PTR, Arg.ANYTHING),
    _row("sk_select_reuseport", "4.19", "long (*)(void *reuse, void *map, void *key, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.CONST_MAP_PTR, Arg.MAP_KEY, Arg.ANYTHING),
    _row("skb_ancestor_cgroup_id", "4.19", "u64 (*)(void *skb, int ancestor_level)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("sk_lookup_tcp", "4.20", "void *(*)(void *ctx, void *tuple, u32 tuple_size, u64 netns, u64 flags)", Ret.SOCKET_OR_NULL, Arg.CTX, Arg.MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, Arg.ANYTHING),
    _row("sk_lookup_udp", "4.20", "void *(*)(void *ctx, void *tuple, u32 tuple_size, u64 netns, u64 flags)", Ret.SOCKET_OR_NULL, Arg.CTX, Arg.MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, Arg.ANYTHING),
    _row("sk_release", "4.20", "long (*)(void *sock)", Ret.INTEGER, Arg.BTF_SOCK_COMMON),
    _row("map_push_elem", "4.20", "long (*)(void *map, const void *value, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.MAP_VALUE, Arg.ANYTHING),
    _row("map_pop_elem", "4.20", "long (*)(void *map, void *value)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.UNINIT_MAP_VALUE),
    _row("map_peek_elem", "4.20", "long (*)(void *map, void *value)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.UNINIT_MAP_VALUE),
    _row("msg_push_data", "4.20", "long (*)(void *msg, u32 start, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING),
    _row("msg_pop_data", "5.0", "long (*)(void *msg, u32 start, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, Arg.ANYTHING),
    _row("rc_pointer_rel", "5.0", "long (*)(void *ctx, s32 rel_x, s32 rel_y)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING, gpl=True),
    _row("spin_lock", "5.1", "long (*)(void *lock)", Ret.VOID, Arg.SPIN_LOCK),
    _row("spin_unlock", "5.1", "long (*)(void *lock)", Ret.VOID, Arg.SPIN_LOCK),
    _row("sk_fullsock", "5.1", "void *(*)(void *sk)", Ret.SOCKET_OR_NULL, Arg.SOCK_COMMON),
    _row("tcp_sock", "5.1", "void *(*)(void *sk)", Ret.TCP_SOCK_OR_NULL, Arg.SOCK_COMMON),
    _row("skb_ecn_set_ce", "5.1", "long (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("get_listener_sock", "5.1", "void *(*)(void *sk)", Ret.SOCKET_OR_NULL, Arg.SOCK_COMMON),
    _row("skc_lookup_tcp", "5.2", "void *(*)(void *ctx, void *tuple, u32 tuple_size, u64 netns, u64 flags)", Ret.SOCK_COMMON_OR_NULL, Arg.CTX, Arg.MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, Arg.ANYTHING),
    _row("tcp_check_syncookie", "5.2", "long (*)(void *sk, void *iph, u32 iph_len, struct tcphdr *th, u32 th_len)", Ret.INTEGER, Arg.BTF_SOCK_COMMON, Arg.MEM, Arg.SIZE, Arg.MEM, Arg.SIZE, gpl=True),
    _row("sysctl_get_name", "5.2", "long (*)(void *ctx, char *buf, u64 buf_len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.MEM_WRITE, Arg.SIZE, Arg.ANYTHING),
    _row("sysctl_get_current_value", "5.2", "long (*)(void *ctx, char *buf, u64 buf_len)", Ret.INTEGER, Arg.CTX, Arg.UNINIT_MEM, Arg.SIZE),
    _row("sysctl_get_new_value", "5.2", "long (*)(void *ctx, char *buf, u64 buf_len)", Ret.INTEGER, Arg.CTX, Arg.UNINIT_MEM, Arg.SIZE),
    _row("sysctl_set_new_value", "5.2", "long (*)(void *ctx, const char *buf, u64 buf_len)", Ret.INTEGER, Arg.CTX, Arg.MEM, Arg.SIZE),
    _row("strtol", "5.2", "long (*)(const char *buf, u64 buf_len, u64 flags, long *res)", Ret.INTEGER, Arg.MEM, Arg.SIZE, Arg.ANYTHING, Arg.UNINIT_LONG),
    _row("strtoul", "5.2", "long (*)(const char *buf, u64 buf_len, u64 flags, unsigned long *res)", Ret.INTEGER, Arg.MEM, Arg.SIZE, Arg.ANYTHING, Arg.UNINIT_LONG),
    _row("sk_storage_get", "5.2", "void *(*)(void *map, void *sk, void *value, u64 flags)", Ret.MAP_VALUE_OR_NULL, Arg.CONST_MAP_PTR, Arg.BTF_SOCK_COMMON, Arg.MAP_VALUE_OR_NULL, Arg.ANYTHING),
    _row("sk_storage_delete", "5.2", "long (*)(void *map, void *sk)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.BTF_SOCK_COMMON),
    _row("send_signal", "5.3", "long (*)(u32 sig)", Ret.INTEGER, Arg.ANYTHING),
    _row("tcp_gen_syncookie", "5.3", "s64 (*)(void *sk, void *iph, u32 iph_len, struct tcphdr *th, u32 th_len)", Ret.INTEGER, Arg.BTF_SOCK_COMMON, Arg.MEM, Arg.SIZE, Arg.MEM, Arg.SIZE, gpl=True),
    _row("skb_output", "5.5", "long (*)(void *ctx, void *map, u64 flags, void *data, u64 size)", Ret.INTEGER, Arg.BTF, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.MEM, Arg.SIZE_OR_ZERO, gpl=True, btf="sk_buff"),
    _row("probe_read_user", "5.5", "long (*)(void *dst, u32 size, const void *unsafe_ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("probe_read_kernel", "5.5", "long (*)(void *dst, u32 size, const void *unsafe_ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("probe_read_user_str", "5.5", "long (*)(void *dst, u32 size, const void *unsafe_ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("probe_read_kernel_str", "5.5", "long (*)(void *dst, u32 size, const void *unsafe_ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("tcp_send_ack", "5.6", "long (*)(void *tp, u32 rcv_nxt)", Ret.INTEGER, Arg.BTF, Arg.ANYTHING, gpl=True, btf="tcp_sock"),
    _row("send_signal_thread", "5.6", "long (*)(u32 sig)", Ret.INTEGER, Arg.ANYTHING),
    _row("jiffies64", "5.6", "u64 (*)(void)", Ret.INTEGER),
    _row("read_branch_records", "5.6", "long (*)(void *ctx, void *buf, u32 size, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.MEM_WRITE_OR_NULL, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True),
    _row("get_ns_current_pid_tgid", "5.7", "long (*)(u64 dev, u64 ino, void *nsdata, u32 size)", Ret.INTEGER, Arg.ANYTHING, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.SIZE),
    _row("xdp_output", "5.7", "long (*)(void *ctx, void *map, u64 flags, void *data, u64 size)", Ret.INTEGER, Arg.BTF, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.MEM, Arg.SIZE_OR_ZERO, gpl=True, btf="xdp_buff"),
    _row("get_netns_cookie", "5.7", "u64 (*)(void *ctx)", Ret.INTEGER, Arg.CTX_OR_NULL),
    _row("get_current_ancestor_cgroup_id", "5.7", "u64 (*)(int ancestor_level)", Ret.INTEGER, Arg.ANYTHING),
    _row("sk_assign", "5.7", "long (*)(void *ctx, void *sk, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.BTF_SOCK_COMMON, Arg.ANYTHING),
    _row("ktime_get_boot_ns", "5.8", "u64 (*)(void)", Ret.INTEGER),
    _row("seq_printf", "5.8", "long (*)(struct seq_file *m, const char *fmt, u32 fmt_size, const void *data, u32 data_len)", Ret.INTEGER, Arg.BTF, Arg.MEM, Arg.SIZE, Arg.MEM_OR_NULL, Arg.SIZE_OR_ZERO, gpl=True, btf="seq_file"),
    _row("seq_write", "5.8", "long (*)(struct seq_file *m, const void *data, u32 len)", Ret.INTEGER, Arg.BTF, Arg.MEM, Arg.SIZE_OR_ZERO, gpl=True, btf="seq_file"),
    _row("sk_cgroup_id", "5.8", "u64 (*)(void *sk)", Ret.INTEGER, Arg.BTF_SOCK_COMMON),
    _row("sk_ancestor_cgroup_id", "5.8", "u64 (*)(void *sk, int ancestor_level)", Ret.INTEGER, Arg.BTF_SOCK_COMMON, Arg.ANYTHING),
    _row("ringbuf_output", "5.8", "long (*)(void *ringbuf, void *data, u64 size, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING),
    _row("ringbuf_reserve", "5.8", "void *(*)(void *ringbuf, u64 size, u64 flags)", Ret.RINGBUF_MEM_OR_NULL, Arg.CONST_MAP_PTR, Arg.CONST_ALLOC_SIZE, Arg.ANYTHING),
    _row("ringbuf_submit", "5.8", "void (*)(void *data, u64 flags)", Ret.VOID, Arg.ALLOC_MEM, Arg.ANYTHING),
    _row("ringbuf_discard", "5.8", "void (*)(void *data, u64 flags)", Ret.VOID, Arg.ALLOC_MEM, Arg.ANYTHING),
    _row("ringbuf_query", "5.8", "u64 (*)(void *ringbuf, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.ANYTHING),
    _row("csum_level", "5.8", "long (*)(void *skb, u64 level)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING),
    _row("skc_to_tcp6_sock", "5.9", "struct tcp6_sock *(*)(void *sk)", Ret.BTF_OR_NULL, Arg.BTF_SOCK_COMMON, gives="tcp6_sock"),
    _row("skc_to_tcp_sock", "5.9", "struct tcp_sock *(*)(void *sk)", Ret.BTF_OR_NULL, Arg.BTF_SOCK_COMMON, gives="tcp_sock"),
    _row("skc_to_tcp_timewait_sock", "5.9", "struct tcp_timewait_sock *(*)(void *sk)", Ret.BTF_OR_NULL, Arg.BTF_SOCK_COMMON, gives="tcp_timewait_sock"),
    _row("skc_to_tcp_request_sock", "5.9", "struct tcp_request_sock *(*)(void *sk)", Ret.BTF_OR_NULL, Arg.BTF_SOCK_COMMON, gives="tcp_request_sock"),
    _row("skc_to_udp6_sock", "5.9", "struct udp6_sock *(*)(void *sk)", Ret.BTF_OR_NULL, Arg.BTF_SOCK_COMMON, gives="udp6_sock"),
    _row("get_task_stack", "5.9", "long (*)(struct task_struct *task, void *buf, u32 size, u64 flags)", Ret.INTEGER, Arg.BTF, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, btf="task_struct"),
    _row("load_hdr_opt", "5.10", "long (*)(void *skops, void *searchby_res, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.MEM_WRITE, Arg.SIZE, Arg.ANYTHING),
    _row("store_hdr_opt", "5.10", "long (*)(void *skops, const void *from, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.MEM, Arg.SIZE, Arg.ANYTHING),
    _row("reserve_hdr_opt", "5.10", "long (*)(void *skops, u32 len, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("inode_storage_get", "5.10", "void *(*)(void *map, void *inode, void *value, u64 flags)", Ret.MAP_VALUE_OR_NULL, Arg.CONST_MAP_PTR, Arg.BTF_OR_NULL, Arg.MAP_VALUE_OR_NULL, Arg.ANYTHING, btf="inode"),
    _row("inode_storage_delete", "5.10", "int (*)(void *map, void *inode)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.BTF_OR_NULL, btf="inode"),
    _row("d_path", "5.10", "long (*)(void *path, char *buf, u32 sz)", Ret.INTEGER, Arg.BTF, Arg.MEM_WRITE, Arg.SIZE_OR_ZERO, btf="path"),
    _row("copy_from_user", "5.10", "long (*)(void *dst, u32 size, const void *user_ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING),
    _row("snprintf_btf", "5.10", "long (*)(char *str, u32 str_size, void *ptr, u32 btf_ptr_size, u64 flags)", Ret.INTEGER, Arg.MEM_WRITE, Arg.SIZE, Arg.MEM, Arg.SIZE, Arg.ANYTHING),
    _row("seq_printf_btf", "5.10", "long (*)(struct seq_file *m, struct btf_ptr *ptr, u32 ptr_size, u64 flags)", Ret.INTEGER, Arg.BTF, Arg.MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, gpl=True, btf="seq_file"),
    _row("skb_cgroup_classid", "5.10", "u64 (*)(void *skb)", Ret.INTEGER, Arg.CTX),
    _row("redirect_neigh", "5.10", "long (*)(u32 ifindex, void *params, int plen, u64 flags)", Ret.INTEGER, Arg.ANYTHING, Arg.MEM_OR_NULL, Arg.SIZE_OR_ZERO, Arg.ANYTHING),
    _row("per_cpu_ptr", "5.10", "void *(*)(const void *percpu_ptr, u32 cpu)", Ret.MEM_OR_BTF_OR_NULL, Arg.PERCPU_BTF, Arg.ANYTHING),
    _row("this_cpu_ptr", "5.10", "void *(*)(const void *percpu_ptr)", Ret.MEM_OR_BTF, Arg.PERCPU_BTF),
    _row("redirect_peer", "5.10", "long (*)(u32 ifindex, u64 flags)", Ret.INTEGER, Arg.ANYTHING, Arg.ANYTHING),
    _row("task_storage_get", "5.11", "void *(*)(void *map, struct task_struct *task, void *value, u64 flags)", Ret.MAP_VALUE_OR_NULL, Arg.CONST_MAP_PTR, Arg.BTF_OR_NULL, Arg.MAP_VALUE_OR_NULL, Arg.ANYTHING, btf="task_struct"),
    _row("task_storage_delete", "5.11", "long (*)(void *map, struct task_struct *task)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.BTF_OR_NULL, btf="task_struct"),
    _row("get_current_task_btf", "5.11", "struct task_struct *(*)(void)", Ret.BTF_TASK, gpl=True, gives="task_struct"),
    _row("bprm_opts_set", "5.11", "long (*)(struct linux_binprm *bprm, u64 flags)", Ret.INTEGER, Arg.BTF, Arg.ANYTHING, btf="linux_binprm"),
    _row("ktime_get_coarse_ns", "5.11", "u64 (*)(void)", Ret.INTEGER),
    _row("ima_inode_hash", "5.11", "long (*)(struct inode *inode, void *dst, u32 size)", Ret.INTEGER, Arg.BTF, Arg.UNINIT_MEM, Arg.SIZE, btf="inode"),
    _row("sock_from_file", "5.11", "struct socket *(*)(struct file *file)", Ret.BTF_OR_NULL, Arg.BTF, btf="file", gives="socket"),
    _row("check_mtu", "5.12", "long (*)(void *ctx, u32 ifindex, u32 *mtu_len, s32 len_diff, u64 flags)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.FIXED_WRITE, Arg.ANYTHING, Arg.ANYTHING, gpl=True, arg_bytes=(0, 0, 4, 0, 0)),
    _row("for_each_map_elem", "5.13", "long (*)(void *map, void *callback_fn, void *callback_ctx, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.FUNC, Arg.STACK_OR_NULL, Arg.ANYTHING),
    _row("snprintf", "5.13", "long (*)(char *str, u32 str_size, const char *fmt, u64 *data, u32 data_len)", Ret.INTEGER, Arg.MEM_WRITE_OR_NULL, Arg.SIZE_OR_ZERO, Arg.CONST_STR, Arg.MEM_OR_NULL, Arg.SIZE_OR_ZERO, gpl=True),
    _row("sys_bpf", "5.14", "long (*)(u32 cmd, void *attr, u32 attr_size)", Ret.INTEGER, Arg.ANYTHING, Arg.MEM, Arg.SIZE),
    _row("btf_find_by_name_kind", "5.14", "long (*)(char *name, int name_sz, u32 kind, int flags)", Ret.INTEGER, Arg.MEM, Arg.SIZE, Arg.ANYTHING, Arg.ANYTHING),
    _row("sys_close", "5.14", "long (*)(u32 fd)", Ret.INTEGER, Arg.ANYTHING),
    _row("timer_init", "5.15", "long (*)(void *timer, void *map, u64 flags)", Ret.INTEGER, Arg.TIMER, Arg.CONST_MAP_PTR, Arg.ANYTHING, gpl=True),
    _row("timer_set_callback", "5.15", "long (*)(void *timer, void *callback_fn)", Ret.INTEGER, Arg.TIMER, Arg.FUNC, gpl=True),
    _row("timer_start", "5.15", "long (*)(void *timer, u64 nsecs, u64 flags)", Ret.INTEGER, Arg.TIMER, Arg.ANYTHING, Arg.ANYTHING, gpl=True),
    _row("timer_cancel", "5.15", "long (*)(void *timer)", Ret.INTEGER, Arg.TIMER, gpl=True),
    _row("get_func_ip", "5.15", "u64 (*)(void *ctx)", Ret.INTEGER, Arg.CTX, gpl=True),
    _row("get_attach_cookie", "5.15", "u64 (*)(void *ctx)", Ret.INTEGER, Arg.CTX),
    _row("task_pt_regs", "5.15", "long (*)(struct task_struct *task)", Ret.BTF, Arg.BTF, gpl=True, btf="task_struct", gives="pt_regs"),
    _row("get_branch_snapshot", "5.16", "long (*)(void *entries, u32 size, u64 flags)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.UNUSED, gpl=True),
    _row("trace_vprintk", "5.16", "long (*)(const char *fmt, u32 fmt_size, const void *data, u32 data_len)", Ret.INTEGER, Arg.MEM, Arg.SIZE, Arg.MEM_OR_NULL, Arg.SIZE_OR_ZERO, gpl=True),
    _row("skc_to_unix_sock", "5.16", "struct unix_sock *(*)(void *sk)", Ret.BTF_OR_NULL, Arg.BTF_SOCK_COMMON, gives="unix_sock"),
    _row("kallsyms_lookup_name", "5.16", "long (*)(const char *name, int name_sz, int flags, u64 *res)", Ret.INTEGER, Arg.MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, Arg.UNINIT_LONG),
    _row("find_vma", "5.17", "long (*)(struct task_struct *task, u64 addr, void *callback_fn, void *callback_ctx, u64 flags)", Ret.INTEGER, Arg.BTF, Arg.ANYTHING, Arg.FUNC, Arg.STACK_OR_NULL, Arg.ANYTHING, btf="task_struct"),
    _row("loop", "5.17", "long (*)(u32 nr_loops, void *callback_fn, void *callback_ctx, u64 flags)", Ret.INTEGER, Arg.ANYTHING, Arg.FUNC, Arg.STACK_OR_NULL, Arg.ANYTHING),
    _row("strncmp", "5.17", "long (*)(const char *s1, u32 s1_sz, const char *s2)", Ret.INTEGER, Arg.MEM, Arg.SIZE, Arg.CONST_STR),
    _row("get_func_arg", "5.17", "long (*)(void *ctx, u32 n, u64 *value)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.UNINIT_LONG, gpl=True),
    _row("get_func_ret", "5.17", "long (*)(void *ctx, u64 *value)", Ret.INTEGER, Arg.CTX, Arg.UNINIT_LONG),
    _row("get_func_arg_cnt", "5.17", "long (*)(void *ctx)", Ret.INTEGER, Arg.CTX),
    _row("get_retval", "5.18", "int (*)(void)", Ret.INTEGER),
    _row("set_retval", "5.18", "int (*)(int retval)", Ret.INTEGER, Arg.ANYTHING),
    _row("xdp_get_buff_len", "5.18", "u64 (*)(void *xdp_md)", Ret.INTEGER, Arg.CTX),
    _row("xdp_load_bytes", "5.18", "long (*)(void *xdp_md, u32 offset, void *buf, u32 len)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.SIZE),
    _row("xdp_store_bytes", "5.18", "long (*)(void *xdp_md, u32 offset, void *buf, u32 len)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.MEM, Arg.SIZE),
    _row("copy_from_user_task", "5.18", "long (*)(void *dst, u32 size, const void *user_ptr, struct task_struct *tsk, u64 flags)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, Arg.BTF, Arg.ANYTHING, gpl=True, btf="task_struct"),
    _row("skb_set_tstamp", "5.18", "long (*)(void *skb, u64 tstamp, u32 tstamp_type)", Ret.INTEGER, Arg.CTX, Arg.ANYTHING, Arg.ANYTHING),
    _row("ima_file_hash", "5.18", "long (*)(struct file *file, void *dst, u32 size)", Ret.INTEGER, Arg.BTF, Arg.UNINIT_MEM, Arg.SIZE, btf="file"),
    _row("kptr_xchg", "5.19", "void *(*)(void *map_value, void *ptr)", Ret.KPTR_OR_NULL, Arg.KPTR_DEST, Arg.KPTR_OR_NULL),
    _row("map_lookup_percpu_elem", "5.19", "void *(*)(void *map, const void *key, u32 cpu)", Ret.MAP_VALUE_OR_NULL, Arg.CONST_MAP_PTR, Arg.MAP_KEY, Arg.ANYTHING),
    _row("skc_to_mptcp_sock", "5.19", "struct mptcp_sock *(*)(void *sk)", Ret.BTF_OR_NULL, Arg.SOCK_COMMON, gives="mptcp_sock"),
    _row("dynptr_from_mem", "5.19", "long (*)(void *data, u32 size, u64 flags, void *ptr)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING, Arg.UNINIT_LOCAL_DYNPTR),
    _row("ringbuf_reserve_dynptr", "5.19", "long (*)(void *ringbuf, u32 size, u64 flags, void *ptr)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.ANYTHING, Arg.UNINIT_RINGBUF_DYNPTR),
    _row("ringbuf_submit_dynptr", "5.19", "void (*)(void *ptr, u64 flags)", Ret.VOID, Arg.RINGBUF_DYNPTR, Arg.ANYTHING),
    _row("ringbuf_discard_dynptr", "5.19", "void (*)(void *ptr, u64 flags)", Ret.VOID, Arg.RINGBUF_DYNPTR, Arg.ANYTHING),
    _row("dynptr_read", "5.19", "long (*)(void *dst, u32 len, void *src, u32 offset, u64 flags)", Ret.INTEGER, Arg.UNINIT_MEM, Arg.SIZE_OR_ZERO, Arg.DYNPTR, Arg.ANYTHING, Arg.ANYTHING),
    _row("dynptr_write", "5.19", "long (*)(void *dst, u32 offset, void *src, u32 len, u64 flags)", Ret.INTEGER, Arg.DYNPTR, Arg.ANYTHING, Arg.MEM, Arg.SIZE_OR_ZERO, Arg.ANYTHING),
    _row("dynptr_data", "5.19", "void *(*)(void *ptr, u32 offset, u32 len)", Ret.DYNPTR_MEM_OR_NULL, Arg.DYNPTR, Arg.ANYTHING, Arg.CONST_ALLOC_SIZE),
    _row("tcp_raw_gen_syncookie_ipv4", "6.0", "s64 (*)(struct iphdr *iph, struct tcphdr *th, u32 th_len)", Ret.INTEGER, Arg.FIXED_MEM, Arg.MEM, Arg.SIZE_OR_ZERO, gpl=True, arg_bytes=(20, 0, 0)),
    _row("tcp_raw_gen_syncookie_ipv6", "6.0", "s64 (*)(struct ipv6hdr *iph, struct tcphdr *th, u32 th_len)", Ret.INTEGER, Arg.FIXED_MEM, Arg.MEM, Arg.SIZE_OR_ZERO, gpl=True, arg_bytes=(40, 0, 0)),
    _row("tcp_raw_check_syncookie_ipv4", "6.0", "long (*)(struct iphdr *iph, struct tcphdr *th)", Ret.INTEGER, Arg.FIXED_MEM, Arg.FIXED_MEM, gpl=True, arg_bytes=(20, 20)),
    _row("tcp_raw_check_syncookie_ipv6", "6.0", "long (*)(struct ipv6hdr *iph, struct tcphdr *th)", Ret.INTEGER, Arg.FIXED_MEM, Arg.FIXED_MEM, gpl=True, arg_bytes=(40, 20)),
    _row("ktime_get_tai_ns", "6.1", "u64 (*)(void)", Ret.INTEGER),
    _row("user_ringbuf_drain", "6.1", "long (*)(void *map, void *callback_fn, void *ctx, u64 flags)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.FUNC, Arg.STACK_OR_NULL, Arg.ANYTHING),
    _row("cgrp_storage_get", "6.2", "void *(*)(void *map, void *cgroup, void *value, u64 flags)", Ret.MAP_VALUE_OR_NULL, Arg.CONST_MAP_PTR, Arg.BTF_OR_NULL, Arg.MAP_VALUE_OR_NULL, Arg.ANYTHING, btf="cgroup"),
    _row("cgrp_storage_delete", "6.2", "long (*)(void *map, void *cgroup)", Ret.INTEGER, Arg.CONST_MAP_PTR, Arg.BTF_OR_NULL, btf="cgroup"),
)

# all of them, by number
HELPER_BY_ID: dict[int, Helper] = {one.id: one for one in HELPERS}


@dataclass(frozen=True, slots=True)
class SectionRule:
    """A section name's prefix, the program type it asks for, and the word for its hook ("" if none).
    What follows the prefix names the hook: "tracepoint/sched/sched_switch" is sched:sched_switch."""

    prefix: str
    type: ProgType
    hook: str = ""
    attach_type: AttachType = AttachType.NONE


# the longest matching prefix wins
SECTIONS: tuple[SectionRule, ...] = (
    SectionRule("kprobe/", ProgType.KPROBE, "kprobe"),
    SectionRule("kretprobe/", ProgType.KPROBE, "kretprobe"),
    SectionRule("tracepoint/", ProgType.TRACEPOINT, "tracepoint"),
    SectionRule("tp/", ProgType.TRACEPOINT, "tracepoint"),
    SectionRule("raw_tracepoint/", ProgType.RAW_TRACEPOINT, "raw tracepoint"),
    SectionRule("raw_tp/", ProgType.RAW_TRACEPOINT, "raw tracepoint"),
    SectionRule("tp_btf/", ProgType.TRACING, "typed tracepoint", AttachType.TRACE_RAW_TP),
    SectionRule("fentry/", ProgType.TRACING, "fentry", AttachType.TRACE_FENTRY),
    SectionRule("fexit/", ProgType.TRACING, "fexit", AttachType.TRACE_FEXIT),
    SectionRule("fmod_ret/", ProgType.TRACING, "", AttachType.MODIFY_RETURN),
    SectionRule("lsm/", ProgType.LSM, "security hook", AttachType.LSM_MAC),
    SectionRule("iter/", ProgType.TRACING, "iterator", AttachType.TRACE_ITER),
    SectionRule("socket", ProgType.SOCKET_FILTER),
    SectionRule("xdp", ProgType.XDP, "", AttachType.XDP),
    SectionRule("tc", ProgType.SCHED_CLS),
    SectionRule("classifier", ProgType.SCHED_CLS),
    SectionRule("cgroup_skb/", ProgType.CGROUP_SKB),
    SectionRule("perf_event", ProgType.PERF_EVENT),
    # a plain function of a BCC text: its type is what load_func or attach_* says, KPROBE until then
    SectionRule("bpf/", ProgType.UNSPEC),
)


def version_code(release: str) -> int:
    """LINUX_VERSION_CODE of a release such as "6.18.44-generic"."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    major, minor, patch = (int(one or 0) for one in match.groups()) if match else (0, 0, 0)
    return (major << 16) + (minor << 8) + min(patch, 255)
