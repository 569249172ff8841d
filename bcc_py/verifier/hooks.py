"""What a hook of the kernel hands to a program whose context its types describe, and what it takes back.

Input: a program's type, attach type and the name of what it is attached to, the kernel's types. Output: a Hook: the
arguments one by one, as a program may load them. Invariant: an argument whose type is not known is refused.

TRACING programs get the arguments of a function (fentry, fexit, fmod_ret), of a tracepoint (typedef btf_trace_NAME) or of
an iterator (struct bpf_iter__NAME); LSM programs those of a hook (bpf_lsm_NAME); STRUCT_OPS programs those of a member of a
struct of functions. What may be 0 was read off Linux 6.18, argument by argument.

Source: kernel/bpf/btf.c of Linux 6.18, btf_ctx_access (behaviour and sentences)."""

from __future__ import annotations

from dataclasses import dataclass

from bcc_py.spec import ProgramSpec
from bcc_py.verifier.objects import names_of_type, type_word
from bcc_py.verifier.rules import GPL_LICENSES, Refusal
from cfront.btf import TypeSource
from cfront.ctype import CType, Enum, Function, Integer, Pointer, Record, Void
from cfront.uapi import AttachType, ProgType

__all__ = ["MAX_HOOK_ARGUMENTS", "SLEEPABLE_LSM", "Argument", "Hook", "check_hook", "hook_of"]

_A, _P = AttachType, ProgType
MAX_HOOK_ARGUMENTS = 12
_TRACE_PREFIX, _LSM_PREFIX = "btf_trace_", "bpf_lsm_"
# arguments of tracepoints that may be 0, by position
_NULL: dict[str, tuple[int, ...]] = {
    **dict.fromkeys((
        "tmigr_update_events", "mm_page_alloc", "mm_page_alloc_zone_locked", "mm_page_pcpu_drain",
        "mm_collapse_huge_page_isolate", "xfs_inodegc_flush", "xfs_inodegc_push", "xfs_inodegc_start", "xfs_inodegc_stop",
        "xfs_inodegc_queue", "xfs_inodegc_throttle", "xfs_fs_sync_fs", "xfs_blockgc_start", "xfs_blockgc_stop",
        "xfs_blockgc_worker", "xfs_blockgc_flush_all", "xfs_defer_create_intent", "xfs_defer_cancel_list",
        "xfs_defer_pending_finish", "xfs_defer_pending_abort", "xfs_defer_relog_intent", "xfs_defer_isolate_paused",
        "xfs_defer_item_pause", "xfs_defer_item_unpause", "xfs_defer_add_item", "xfs_defer_cancel_item",
        "xfs_defer_finish_item", "sched_process_wait", "afs_protocol_error", "cachefiles_unlink", "cachefiles_rename",
        "cachefiles_prep_read", "cachefiles_mark_active", "cachefiles_mark_failed", "cachefiles_mark_inactive",
        "cachefiles_vfs_error", "cachefiles_io_error", "cachefiles_lookup", "rxrpc_recvdata", "xs_stream_read_data",
    ), (0,)),
    **dict.fromkeys((
        "sched_pi_setprio", "mm_khugepaged_scan_pmd", "mm_khugepaged_scan_file", "mm_khugepaged_collapse_file",
        "writeback_dirty_folio", "folio_wait_writeback", "posix_lock_inode", "fcntl_setlk", "locks_remove_posix",
        "flock_lock_inode", "break_lease_noblock", "break_lease_block", "break_lease_unblock", "generic_delete_lease",
        "time_out_leases", "ext4_mballoc_discard", "ext4_mballoc_free", "hugetlbfs_alloc_inode", "xfs_ioc_free_eofblocks",
        "xfs_blockgc_free_space", "afs_make_fs_call", "afs_make_fs_calli", "afs_make_fs_call1", "afs_make_fs_call2",
        "afs_flock_ev", "device_pm_callback_start", "netfs_failure", "rxrpc_resend", "xprt_reserve_cong",
        "xprt_release_cong", "xprt_get_cong", "xprt_put_cong",
    ), (1,)),
    **dict.fromkeys(("sched_stick_numa", "sched_swap_numa", "xfs_btree_updkeys", "xfs_btree_overlapped_query_range",
                     "tcp_sendmsg_locked", "fib_table_lookup", "tegra_dma_tx_status"), (2,)),
    "kfree_skb": (3,), "qdisc_dequeue": (3,), "host1x_cdma_push_gather": (4,), "xfs_map_blocks_found": (4,),
    "xfs_map_blocks_alloc": (4,), "tcp_send_reset": (0, 1),
}
# arguments that may be an error number in a pointer's place
_ERRORS: dict[str, tuple[int, ...]] = {
    "cachefiles_lookup": (2,), "mr_integ_alloc": (3,),
}
# what iterators hand out behind their first argument: the kind of pointer, by its parameter; others are trusted
_ITERATED: dict[str, dict[str, str]] = {
    "bpf_link": {"link": "ptr_or_null"}, "bpf_map": {"map": "trusted_ptr_or_null"},
    "bpf_map_elem": {"key": "rdonly_buf_or_null", "value": "buf_or_null"}, "bpf_prog": {"prog": "ptr_or_null"},
    "bpf_sk_storage_map": {"sk": "ptr_or_null", "value": "buf_or_null"}, "cgroup": {"cgroup": "trusted_ptr_or_null"},
    "dmabuf": {"dmabuf": "ptr_or_null"}, "ipv6_route": {"rt": "ptr_or_null"}, "kmem_cache": {"s": "trusted_ptr_or_null"},
    "ksym": {"ksym": "ptr_or_null"}, "netlink": {"sk": "ptr_or_null"},
    "sockmap": {"key": "rdonly_buf_or_null", "sk": "ptr_or_null"}, "task": {"task": "trusted_ptr_or_null"},
    "task_file": {"task": "ptr_or_null", "file": "ptr_or_null"}, "task_vma": {"task": "ptr_or_null", "vma": "ptr_or_null"},
    "tcp": {"sk_common": "trusted_ptr_or_null"}, "udp": {"udp_sk": "trusted_ptr_or_null"}, "unix": {"unix_sk": "ptr_or_null"},
}
# hooks that see objects before they are made or after they have ended
_UNTRUSTED_LSM = frozenset((
    "bpf_map_free", "bpf_prog_free", "file_alloc_security", "file_free_security", "sk_alloc_security", "sk_free_security",
    "task_free",
))
_BOOL_LSM = frozenset(("xfrm_state_pol_flow_match", "audit_rule_known", "inode_xattr_skipcap"))
# hooks whose caller may sleep, and hooks that programs must leave alone
SLEEPABLE_LSM = frozenset(["bpf", "bpf_map", "bpf_map_create", "bpf_map_free", "bpf_prog", "bpf_prog_load", "bpf_token_capable", "bpf_token_cmd", "bpf_token_create", "bpf_token_free", "bprm_check_security", "bprm_committed_creds", "bprm_committing_creds", "bprm_creds_for_exec", "bprm_creds_from_file", "capget", "capset", "cred_prepare", "current_getsecid_subj", "file_ioctl", "file_lock", "file_open", "file_post_open", "file_receive", "inode_create", "inode_free_security", "inode_getattr", "inode_getxattr", "inode_mknod", "inode_need_killpriv", "inode_post_setxattr", "inode_readlink", "inode_rename", "inode_rmdir", "inode_setattr", "inode_setxattr", "inode_symlink", "inode_unlink", "kernel_module_request", "kernel_read_file", "kernfs_init_security", "mmap_file", "netlink_send", "path_chmod", "path_chown", "path_link", "path_mkdir", "path_notify", "path_rename", "path_rmdir", "path_symlink", "path_truncate", "path_unlink", "release_secctx", "sb_alloc_security", "sb_eat_lsm_opts", "sb_kern_mount", "sb_mount", "sb_remount", "sb_set_mnt_opts", "sb_show_options", "sb_statfs", "sb_umount", "settime", "socket_accept", "socket_bind", "socket_connect", "socket_create", "socket_getpeername", "socket_getpeersec_dgram", "socket_getsockname", "socket_getsockopt", "socket_listen", "socket_post_create", "socket_recvmsg", "socket_sendmsg", "socket_shutdown", "socket_socketpair", "syslog", "task_alloc", "task_getsecid_obj", "task_prctl", "task_setscheduler", "userns_create"])
_DISABLED_LSM = frozenset(["audit_rule_match", "getprocattr", "getselfattr", "inode_copy_up_xattr", "inode_getsecurity", "inode_listsecurity", "inode_need_killpriv", "ismaclabel", "key_getsecurity", "setprocattr", "vm_enough_memory", "xfrm_decode_session"])
# members of structs of functions that may sleep, where the struct says so
_SLEEPING_MEMBERS = {"bpf_dummy_ops": frozenset(("test_sleepable",))}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. off: in the context; kind: "" a number, else the kind of pointer; struct: what it points to; fault: why
    it cannot be loaded."""

    off: int
    kind: str = ""
    struct: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    """name: as sentences call it; arguments; result: what the function gives back; is_last_result: the program gets that
    too, behind the arguments; gives: what a program may give back, "int", "bool" or "void"."""

    name: str
    arguments: tuple[Argument, ...]
    result: CType
    result_off: int
    is_last_result: bool = False
    gives: str = "int"

    def argument_at(self, off: int, size: int) -> Argument:
        """What size bytes at off of the context are. Raises Refusal."""
        if off % 8:
            raise Refusal(f"func '{self.name}' offset {off} is not multiple of 8")
        for index, one in enumerate(self.arguments):
            end = self.arguments[index + 1].off if index + 1 < len(self.arguments) else self.result_off
            if one.off <= off < end:
                return self._checked(one, size)
        if off == self.result_off and self.is_last_result:
            return self._checked(_argument(self.name, len(self.arguments), off, self.result, "ptr"), size)
        raise Refusal(f"func '{self.name}' doesn't have {len(self.arguments) + 1}-th argument")

    def _checked(self, one: Argument, size: int) -> Argument:
        if one.fault:
            raise Refusal(one.fault)
        if one.kind and size != 8:
            raise Refusal(f"func '{self.name}' size {size} must be 8")
        return one


def hook_of(program: ProgramSpec, types: TypeSource) -> Hook | None:
    """The hook that program is attached to, None where the kernel has none of that name."""
    type, attach_type, name = program.type, program.expected_attach_type, program.attach_to
    if type is _P.STRUCT_OPS:
        return _member_hook(types, name, attach_type)
    if type is _P.TRACING and attach_type is _A.TRACE_RAW_TP:
        return _trace_hook(types, name.removeprefix(_TRACE_PREFIX))
    proto = types.function(name) if type is not _P.EXT else None
    if proto is None:
        return None
    if type is _P.LSM:
        return _security_hook(name, proto, attach_type)
    if attach_type is _A.TRACE_ITER:
        kinds = _ITERATED.get(name.removeprefix("bpf_iter_"), {})
        return _hook(name, [(one.type, kinds.get(one.name, "trusted_ptr")) for one in proto.params], proto.result)
    has_result = attach_type in (_A.TRACE_FEXIT, _A.MODIFY_RETURN)
    return _hook(name, [(one.type, "ptr") for one in proto.params], proto.result, has_result)


def _trace_hook(types: TypeSource, name: str) -> Hook | None:
    """A tracepoint: its first argument is the kernel's own."""
    proto = types.find("typedef", _TRACE_PREFIX + name)
    proto = proto.target if isinstance(proto, Pointer) else proto
    if not isinstance(proto, Function):
        return None
    nulls, errors = _NULL.get(name, ()), _ERRORS.get(name, ())
    rows = [
        (one.type, "" if at in errors else "trusted_ptr_or_null" if at in nulls or one.name.endswith("__nullable") else "trusted_ptr")
        for at, one in enumerate(proto.params[1:])
    ]
    return _hook(name, rows, proto.result)


def _security_hook(name: str, proto: Function, attach_type: AttachType) -> Hook:
    short = name.removeprefix(_LSM_PREFIX)
    kind = "ptr" if short in _UNTRUSTED_LSM else "trusted_ptr"
    gives = "void" if isinstance(proto.result, Void) else "bool" if short in _BOOL_LSM else "int"
    rows = [(one.type, f"{kind}_or_null" if one.name.endswith("__nullable") else kind) for one in proto.params]
    return _hook(name, rows, proto.result, True, gives)


def _member_hook(types: TypeSource, name: str, index: int) -> Hook | None:
    """The index-th member of a struct of functions."""
    record = types.find("struct", name)
    fields = (record.fields or ()) if isinstance(record, Record) else ()
    if not 0 <= index < len(fields):
        return None
    member = fields[index]
    proto = member.type.target if isinstance(member.type, Pointer) else None
    if not isinstance(proto, Function):
        return None
    rows = [(one.type, "trusted_ptr") for one in proto.params]
    return _hook(member.name, rows, proto.result, False, "void" if isinstance(proto.result, Void) else "int")


def check_hook(program: ProgramSpec, types: TypeSource, is_sleepable: bool) -> None:
    """A program like this may be attached to what it names. Raises Refusal."""
    name = program.attach_to
    if not name and program.type in (_P.TRACING, _P.LSM, _P.EXT):
        raise Refusal("Tracing programs must provide btf_id", insn=0)
    if program.type is _P.LSM:
        _check_security_hook(program, name.removeprefix(_LSM_PREFIX), is_sleepable)
    allowed, hook = _SLEEPING_MEMBERS.get(name), hook_of(program, types)
    if is_sleepable and program.type is _P.STRUCT_OPS and allowed is not None and hook is not None and hook.name not in allowed:
        raise Refusal(f"attach to unsupported member {hook.name} of struct {name}", insn=0)


def _check_security_hook(program: ProgramSpec, short: str, is_sleepable: bool) -> None:
    if program.license not in GPL_LICENSES:
        raise Refusal("LSM programs must have a GPL compatible license", insn=0)
    if short in _DISABLED_LSM:
        raise Refusal(f"attach_btf_id of {program.attach_to} points to disabled hook {program.attach_to}", insn=0)
    if is_sleepable and program.expected_attach_type is _A.LSM_MAC and short not in SLEEPABLE_LSM:
        raise Refusal(f"{program.attach_to} is not sleepable", insn=0)


def _hook(
    name: str, rows: list[tuple[CType, str]], result: CType, is_last_result: bool = False, gives: str = "int"
) -> Hook:
    arguments, off = [], 0
    for index, (type, kind) in enumerate(rows):
        arguments.append(_argument(name, index, off, type, kind))
        off += max(type.size + 7 & ~7, 8)
    return Hook(name, tuple(arguments), result, off, is_last_result, gives)


def _argument(name: str, index: int, off: int, type: CType, kind: str) -> Argument:
    if isinstance(type, Integer | Enum | Record | Void):
        return Argument(off)
    if not isinstance(type, Pointer):
        words = f"'{names_of_type(type)}' has type {type_word(type)}"
        return Argument(off, fault=f"func '{name}' arg{index} {words}. Only pointer access is allowed")
    target = type.target
    if "buf" in kind:
        return Argument(off, kind)
    if isinstance(target, Void | Integer):
        return Argument(off)
    if not isinstance(target, Record):
        return Argument(off, fault=f"func '{name}' arg{index} type {type_word(target)} is not a struct")
    return Argument(off, kind, target.name)


