"""The kernel's functions that programs may call: which program types may, and what the kernel says of each beyond its
prototype.

Input: a name, a program type. Output: a KernelFunction, or None where the kernel would not let such a program call it.
Invariant: a function that is not listed is refused.

Which program may call which was read off Linux 6.18 by loading, for each program type, one program for each function;
what sleeps and what asks for trusted pointers likewise. The rest is by the kernel's source: what is acquired, released
or may be 0, and the program types that are not permitted here (LSM, STRUCT_OPS).

Source: the BTF_KFUNCS_START lists of kernel/bpf/helpers.c, cpumask.c, crypto.c, map_iter.c, arena.c, rqspinlock.c,
fs/bpf_fs_kfuncs.c, kernel/trace/bpf_trace.c, net/core/filter.c, net/netfilter/nf_conntrack_bpf.c, net/core/xdp.c."""

from __future__ import annotations

from dataclasses import dataclass

from cfront.uapi import AttachType, ProgType

__all__ = ["KernelFunction", "Trait", "kernel_function"]


class Trait:
    """What a kernel function does, or asks for. TRUSTED: pointers to objects are trusted and not 0; RCU: trusted or
    under the protection of RCU, and not 0; PROTECTED: what it begins is good while RCU protects it; LOCKED: may be
    called while a spin lock is held. Bits of an int, for enum.Flag costs a microsecond each time it is asked."""

    NONE = 0
    ACQUIRE = 1 << 0
    RELEASE = 1 << 1
    NULL = 1 << 2
    TRUSTED = 1 << 3
    RCU = 1 << 4
    PROTECTED = 1 << 5
    SLEEPS = 1 << 6
    DESTRUCTIVE = 1 << 7
    ITER_NEW = 1 << 8
    ITER_NEXT = 1 << 9
    ITER_DESTROY = 1 << 10
    LOCKED = 1 << 11
    FAST = 1 << 12


@dataclass(frozen=True, slots=True)
class KernelFunction:
    name: str
    traits: int

    def has(self, trait: int) -> bool:
        """Any of these."""
        return bool(self.traits & trait)


_P = ProgType
_TRACING = frozenset((_P.TRACING, _P.TRACEPOINT, _P.PERF_EVENT, _P.LSM))
_CGROUP = frozenset((
    _P.CGROUP_SKB, _P.CGROUP_SOCK, _P.CGROUP_DEVICE, _P.CGROUP_SOCK_ADDR, _P.CGROUP_SOCKOPT, _P.CGROUP_SYSCTL, _P.SOCK_OPS,
))
_LWT = frozenset((_P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT, _P.LWT_SEG6LOCAL))
_EVERY = frozenset(ProgType)
_GENERIC = _TRACING | _CGROUP | {_P.SCHED_CLS, _P.XDP, _P.STRUCT_OPS, _P.SYSCALL}
_MASKS = _TRACING | {_P.STRUCT_OPS, _P.SYSCALL}
_SKB = _TRACING | _CGROUP | _LWT | {_P.SCHED_CLS, _P.SCHED_ACT, _P.SK_SKB, _P.SOCKET_FILTER, _P.NETFILTER}

_ROWS: tuple[tuple[frozenset[ProgType], str], ...] = (
    (_EVERY, """
        __bpf_trap
        bpf_arena_alloc_pages TRUSTED SLEEPS LOCKED
        bpf_arena_free_pages TRUSTED SLEEPS LOCKED
        bpf_arena_reserve_pages TRUSTED SLEEPS LOCKED
        bpf_cast_to_kern_ctx FAST
        bpf_rdonly_cast FAST
        bpf_cgroup_read_xattr RCU
        bpf_copy_from_user_dynptr SLEEPS
        bpf_copy_from_user_str SLEEPS
        bpf_copy_from_user_str_dynptr SLEEPS
        bpf_copy_from_user_task_dynptr TRUSTED SLEEPS
        bpf_copy_from_user_task_str SLEEPS
        bpf_copy_from_user_task_str_dynptr TRUSTED SLEEPS
        bpf_dynptr_adjust
        bpf_dynptr_clone
        bpf_dynptr_copy
        bpf_dynptr_is_null
        bpf_dynptr_is_rdonly
        bpf_dynptr_memset
        bpf_dynptr_size
        bpf_dynptr_slice NULL
        bpf_dynptr_slice_rdwr NULL
        bpf_get_kmem_cache
        bpf_iter_bits_new ITER_NEW
        bpf_iter_bits_next ITER_NEXT NULL
        bpf_iter_bits_destroy ITER_DESTROY
        bpf_iter_css_new ITER_NEW TRUSTED PROTECTED
        bpf_iter_css_next ITER_NEXT NULL
        bpf_iter_css_destroy ITER_DESTROY
        bpf_iter_css_task_new ITER_NEW TRUSTED
        bpf_iter_css_task_next ITER_NEXT NULL
        bpf_iter_css_task_destroy ITER_DESTROY
        bpf_iter_dmabuf_new ITER_NEW SLEEPS
        bpf_iter_dmabuf_next ITER_NEXT NULL SLEEPS
        bpf_iter_dmabuf_destroy ITER_DESTROY SLEEPS
        bpf_iter_kmem_cache_new ITER_NEW SLEEPS
        bpf_iter_kmem_cache_next ITER_NEXT NULL SLEEPS
        bpf_iter_kmem_cache_destroy ITER_DESTROY SLEEPS
        bpf_iter_num_new ITER_NEW LOCKED
        bpf_iter_num_next ITER_NEXT NULL LOCKED
        bpf_iter_num_destroy ITER_DESTROY LOCKED
        bpf_iter_task_new ITER_NEW TRUSTED PROTECTED
        bpf_iter_task_next ITER_NEXT NULL
        bpf_iter_task_destroy ITER_DESTROY
        bpf_iter_task_vma_new ITER_NEW RCU
        bpf_iter_task_vma_next ITER_NEXT NULL
        bpf_iter_task_vma_destroy ITER_DESTROY
        bpf_local_irq_save
        bpf_local_irq_restore
        bpf_map_sum_elem_count TRUSTED
        bpf_modify_return_test_tp
        bpf_preempt_disable
        bpf_preempt_enable
        bpf_probe_read_kernel_dynptr
        bpf_probe_read_kernel_str_dynptr
        bpf_probe_read_user_dynptr
        bpf_probe_read_user_str_dynptr
        bpf_rcu_read_lock
        bpf_rcu_read_unlock
        bpf_res_spin_lock NULL LOCKED
        bpf_res_spin_lock_irqsave NULL LOCKED
        bpf_res_spin_unlock LOCKED
        bpf_res_spin_unlock_irqrestore LOCKED
        bpf_strcasecmp
        bpf_strchr
        bpf_strchrnul
        bpf_strcmp
        bpf_strcspn
        bpf_stream_vprintk_impl TRUSTED
        bpf_strlen
        bpf_strnchr
        bpf_strnlen
        bpf_strnstr
        bpf_strrchr
        bpf_strspn
        bpf_strstr
        bpf_task_work_schedule_resume_impl TRUSTED
        bpf_task_work_schedule_signal_impl TRUSTED
        bpf_wq_init
        bpf_wq_set_callback_impl
        bpf_wq_start
     """),
    (_GENERIC, """
        bpf_cgroup_acquire ACQUIRE RCU NULL
        bpf_cgroup_ancestor ACQUIRE RCU NULL
        bpf_cgroup_from_id ACQUIRE NULL
        bpf_cgroup_release RELEASE
        bpf_key_put RELEASE
        bpf_list_back NULL LOCKED
        bpf_list_front NULL LOCKED
        bpf_list_pop_back ACQUIRE NULL LOCKED
        bpf_list_pop_front ACQUIRE NULL LOCKED
        bpf_list_push_back_impl LOCKED
        bpf_list_push_front_impl LOCKED
        bpf_lookup_system_key ACQUIRE NULL
        bpf_lookup_user_key ACQUIRE NULL SLEEPS
        bpf_obj_drop_impl RELEASE
        bpf_obj_new_impl ACQUIRE NULL
        bpf_percpu_obj_drop_impl RELEASE
        bpf_percpu_obj_new_impl ACQUIRE NULL
        bpf_rbtree_add_impl LOCKED
        bpf_rbtree_first NULL LOCKED
        bpf_rbtree_left NULL LOCKED
        bpf_rbtree_remove ACQUIRE NULL LOCKED
        bpf_rbtree_right NULL LOCKED
        bpf_rbtree_root NULL LOCKED
        bpf_refcount_acquire_impl ACQUIRE NULL RCU LOCKED
        bpf_send_signal_task TRUSTED
        bpf_task_acquire ACQUIRE RCU NULL
        bpf_task_from_pid ACQUIRE NULL
        bpf_task_from_vpid ACQUIRE NULL
        bpf_task_get_cgroup1 ACQUIRE RCU NULL
        bpf_task_release RELEASE
        bpf_task_under_cgroup RCU
        bpf_throw
        bpf_verify_pkcs7_signature SLEEPS
        crash_kexec DESTRUCTIVE
     """),
    (_MASKS, """
        bpf_cpumask_acquire ACQUIRE TRUSTED
        bpf_cpumask_create ACQUIRE NULL
        bpf_cpumask_release RELEASE
        bpf_cpumask_and RCU
        bpf_cpumask_any_and_distribute RCU
        bpf_cpumask_any_distribute RCU
        bpf_cpumask_clear RCU
        bpf_cpumask_clear_cpu RCU
        bpf_cpumask_copy RCU
        bpf_cpumask_empty RCU
        bpf_cpumask_equal RCU
        bpf_cpumask_first RCU
        bpf_cpumask_first_and RCU
        bpf_cpumask_first_zero RCU
        bpf_cpumask_full RCU
        bpf_cpumask_intersects RCU
        bpf_cpumask_or RCU
        bpf_cpumask_populate RCU
        bpf_cpumask_set_cpu RCU
        bpf_cpumask_setall RCU
        bpf_cpumask_subset RCU
        bpf_cpumask_test_and_clear_cpu RCU
        bpf_cpumask_test_and_set_cpu RCU
        bpf_cpumask_test_cpu RCU
        bpf_cpumask_weight RCU
        bpf_cpumask_xor RCU
     """),
    (frozenset((_P.SYSCALL,)), """
        bpf_crypto_ctx_acquire ACQUIRE RCU NULL
        bpf_crypto_ctx_create ACQUIRE NULL SLEEPS
        bpf_crypto_ctx_release RELEASE
     """),
    (frozenset((_P.XDP, _P.SCHED_CLS, _P.SCHED_ACT)), """
        bpf_crypto_decrypt RCU
        bpf_crypto_encrypt RCU
     """),
    (frozenset((_P.XDP, _P.SCHED_CLS)), """
        bpf_ct_change_status TRUSTED
        bpf_ct_change_timeout TRUSTED
        bpf_ct_insert_entry ACQUIRE NULL RELEASE
        bpf_ct_release RELEASE
        bpf_ct_set_nat_info TRUSTED
        bpf_ct_set_status TRUSTED
        bpf_ct_set_timeout TRUSTED
        bpf_skb_ct_alloc ACQUIRE NULL
        bpf_skb_ct_lookup ACQUIRE NULL
        bpf_xdp_ct_alloc ACQUIRE NULL
        bpf_xdp_ct_lookup ACQUIRE NULL
     """),
    (_SKB, "bpf_dynptr_from_skb TRUSTED"),
    (frozenset((_P.SCHED_CLS, _P.SCHED_ACT)), "bpf_dynptr_from_skb_meta TRUSTED"),
    (frozenset((_P.XDP,)), """
        bpf_dynptr_from_xdp
        bpf_xdp_get_xfrm_state ACQUIRE NULL
        bpf_xdp_pull_data
        bpf_xdp_xfrm_state_release RELEASE
     """),
    (_TRACING | {_P.SCHED_CLS, _P.SYSCALL, _P.STRUCT_OPS}, """
        bpf_kfunc_call_memb_release RELEASE
        bpf_kfunc_call_test_release RELEASE
     """),
    (frozenset((_P.SCHED_CLS,)), "bpf_sk_assign_tcp_reqsk TRUSTED"),
    (_CGROUP, """
        bpf_sock_addr_set_sun_path
        bpf_sock_ops_enable_tx_tstamp TRUSTED
     """),
    (_TRACING, """
        bpf_sock_destroy TRUSTED
        css_rstat_flush SLEEPS
        css_rstat_updated
     """),
    (frozenset((_P.LSM,)), """
        bpf_get_dentry_xattr SLEEPS TRUSTED
        bpf_get_file_xattr SLEEPS TRUSTED
        bpf_get_task_exe_file ACQUIRE TRUSTED NULL
        bpf_path_d_path TRUSTED
        bpf_put_file RELEASE
        bpf_remove_dentry_xattr SLEEPS TRUSTED
        bpf_set_dentry_xattr SLEEPS TRUSTED
     """),
    (frozenset((_P.KPROBE,)), """
        bpf_session_cookie
        bpf_session_is_return
     """),
)
# functions that a set's filter lets only some programs of its type call
_ONLY_ITERATORS = frozenset(("bpf_sock_destroy",))
_ONLY_SESSIONS = frozenset(("bpf_session_cookie", "bpf_session_is_return"))
_SESSIONS = (AttachType.TRACE_KPROBE_SESSION, AttachType.TRACE_UPROBE_SESSION)


def _functions() -> tuple[dict[str, KernelFunction], dict[str, frozenset[ProgType]]]:
    functions, types = {}, {}
    for allowed, rows in _ROWS:
        for row in filter(None, map(str.strip, rows.splitlines())):
            name, *words = row.split()
            traits = Trait.NONE
            for word in words:
                traits |= getattr(Trait, word)
            functions[name] = KernelFunction(name, traits)
            types[name] = allowed
    return functions, types


_FUNCTIONS, _TYPES = _functions()


def kernel_function(name: str, type: ProgType, attach_type: AttachType) -> KernelFunction | None:
    """The kernel function of that name, None where a program of this kind may not call it."""
    if type not in _TYPES.get(name, ()):
        return None
    if name in _ONLY_ITERATORS and attach_type is not AttachType.TRACE_ITER:
        return None
    if name in _ONLY_SESSIONS and attach_type not in _SESSIONS:
        return None
    return _FUNCTIONS[name]
