"""Calls of the kernel's own functions (kfuncs).

Input: a call by name, the registers. Output: what the function gives, and what it changes of the path's state: references,
RCU read sections, preemption, interrupts, iterators. Invariant: a function that the kernel would not let this program
call, or whose prototype is not known, is refused.

Source: kernel/bpf/verifier.c of Linux 6.18, check_kfunc_call (behaviour and sentences)."""

from __future__ import annotations

from bcc_py.isa import Insn
from bcc_py.verifier.callgraph import check_throws
from bcc_py.verifier.calls import MAX_FRAMES
from bcc_py.verifier.domain import UNKNOWN, ZERO, Pointer, Value, signed_range
from bcc_py.verifier.fields import struct_fields
from bcc_py.verifier.kernel_arguments import KernelArguments, KernelCall, is_plain
from bcc_py.verifier.kernel_functions_table import KernelFunction, Trait, kernel_function
from bcc_py.verifier.machine import PATH_ENDS
from bcc_py.verifier.memory import PACKET_WRITERS
from bcc_py.verifier.objects import names_of_type, type_word
from bcc_py.verifier.rules import Refusal
from bcc_py.verifier.state import Frame, State
from cfront import ctype
from cfront.btf import Btf
from cfront.ctype import CType, Function, Record, Void
from cfront.uapi import ProgType

__all__ = ["KernelFunctions"]

_P = ProgType
# what a program's context is to the kernel
_SKB = (_P.SOCKET_FILTER, _P.SCHED_CLS, _P.SCHED_ACT, _P.CGROUP_SKB, _P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT, _P.LWT_SEG6LOCAL, _P.SK_SKB)
_KERNEL_CONTEXT = {
    **dict.fromkeys(_SKB, "sk_buff"), _P.XDP: "xdp_buff", _P.FLOW_DISSECTOR: "bpf_flow_dissector", _P.KPROBE: "pt_regs",
    _P.PERF_EVENT: "bpf_perf_event_data_kern", _P.RAW_TRACEPOINT: "bpf_raw_tracepoint_args", _P.CGROUP_SOCK: "sock",
    _P.CGROUP_SOCK_ADDR: "bpf_sock_addr_kern", _P.SOCK_OPS: "bpf_sock_ops_kern", _P.SK_MSG: "sk_msg",
    _P.CGROUP_SYSCTL: "bpf_sysctl_kern", _P.CGROUP_SOCKOPT: "bpf_sockopt_kern", _P.SK_REUSEPORT: "sk_reuseport_kern",
    _P.SK_LOOKUP: "bpf_sk_lookup_kern", _P.NETFILTER: "bpf_nf_ctx",
}
_SLICE_OF = {"dynptr_skb": "skb", "dynptr_xdp": "xdp", "dynptr_skb_meta": "skb_meta"}
_UNBOUNDED = 1 << 29
_TRY_LOCK = "bpf_res_spin_lock"
_ERROR = signed_range(-4095, -1)
_MAX_PER_CPU_BYTES = 512
# functions that have one of the program's called later
_LATER = frozenset(("bpf_wq_set_callback_impl", "bpf_task_work_schedule_signal_impl", "bpf_task_work_schedule_resume_impl"))


class KernelFunctions(KernelArguments):
    """One call after another. _has_lost_call: a call that names no function was reached."""

    _has_lost_call = False

    def _call_kernel(self, insn: Insn) -> int:
        if not insn.imm and not insn.off:
            self._has_lost_call = True
            return self.slot + 1
        call = self._new_call(insn)
        function, name = call.function, call.name
        if name.startswith(_TRY_LOCK):
            self._leave_unlocked()
        self._check_kernel_arguments(call)
        self._overwrite_memory(call)
        if function.has(Trait.PROTECTED) and not self._is_in_rcu():
            raise Refusal(f"kernel func {name} requires RCU critical section protection")
        if call.callback >= 0:
            self._call_back_kernel(call)
        self._change_regions(function)
        self._release_objects(call)
        if name == "bpf_throw":
            self._throw()
            return PATH_ENDS
        self._finish_call(call)
        return self.slot + 1

    def _new_call(self, insn: Insn) -> KernelCall:
        """The function that is called, with its prototype. Raises Refusal if this program may not call it here."""
        name = self.program.kernel_functions.get(self.slot, "")
        if name.startswith("bpf_xdp_metadata_"):
            raise Refusal("metadata kfuncs require device-bound program")
        function = kernel_function(name, self.type, self.attach_type)
        if self.state.lock is not None and (function is None or not function.has(Trait.LOCKED)):
            raise Refusal("function calls are not allowed while holding a lock")
        if function is None:
            raise Refusal(f"calling kernel function {name or f'#{insn.imm}'} is not allowed")
        proto = self.types.function(name) if self.types is not None else None
        if proto is None:
            raise Refusal(f"kernel function {name} is not in this kernel's types")
        if name == "__bpf_trap":
            raise Refusal("unexpected __bpf_trap() due to uninitialized variable?")
        if function.has(Trait.DESTRUCTIVE) and not self.privileges.sys_admin:
            raise Refusal("destructive kfunc calls require CAP_SYS_BOOT capability")
        if function.has(Trait.SLEEPS) and not self._may_sleep():
            raise Refusal(f"program must be sleepable to call sleepable kfunc {name}")
        return KernelCall(function, proto)

    def _release_objects(self, call: KernelCall) -> None:
        """What the call takes away is the program's own no more."""
        if call.release:
            held = self.regs[call.release]
            assert isinstance(held, Pointer), "only pointers are released"
            self._release(held.ref)
        if call.root is not None and call.name.endswith(("_push_front_impl", "_push_back_impl", "_add_impl")):
            assert call.object is not None, "the node was checked"
            self._link(call.object.ref)

    # ---- functions of the program that the kernel calls

    def _call_back_kernel(self, call: KernelCall) -> None:
        """Leaves the way through the function that a kernel function was given for later."""
        self.finding.callbacks.add(call.callback)
        if call.name == "bpf_rbtree_add_impl":
            state = self._comparing(call)
        elif call.name in _LATER:
            state = self._later(call)
        else:
            raise Refusal(f"the callback of kernel function {call.name} is not known to this verifier")
        self._push(state, self.shape.starts[call.callback])

    def _comparing(self, call: KernelCall) -> State:
        """The state in which a tree's objects are compared: two of them, and the lock is held."""
        assert call.root is not None, "the first argument is a tree"
        state = self.state.copy()
        depth = len(state.frames)
        if depth >= MAX_FRAMES:
            raise Refusal(f"the call stack of {depth + 1} frames is too deep")
        node = self._looked_at(call.root)
        regs: list[Value | None] = [None, node, node, *[None] * 7, Pointer("fp", frame=depth)]
        state.frames.append(Frame(regs, {}, self.slot, call.callback, [0] * 11, {}, is_callback=True))
        state.turn += 1
        return state

    def _later(self, call: KernelCall) -> State:
        """The state in which work begins that was put off: the map, the key and the value."""
        where = call.object
        assert where is not None and where.map is not None, "an argument lies in a map's value"
        spec, fd, uid = where.map, where.fd, where.uid
        regs: list[Value | None] = [
            None, Pointer("map_ptr", map=spec, fd=fd, uid=uid), Pointer("map_key", map=spec, fd=fd, size=spec.key_size, uid=uid),
            Pointer("map_value", map=spec, fd=fd, size=spec.value_size, uid=uid), *[None] * 6, Pointer("fp"),
        ]
        state = State([Frame(regs, {}, -1, call.callback, [0] * 11, {})])
        state.is_async = True
        self.finding.async_functions.add(call.callback)
        return state

    # ---- the call itself

    def _throw(self) -> None:
        """The program ends here, whatever calls there are; what it throws is what it gives, where nobody catches it."""
        if self.catcher < 0:
            self._check_return(1)
        for one in self.state.refs:
            raise Refusal(f"Unreleased reference id={one.id} alloc_insn={one.slot}", "bpf_throw would lead to reference leak")
        self._check_nothing_held("bpf_throw", True)

    def _check_catcher(self, index: int) -> None:
        """The function that catches exceptions takes what was thrown. Raises Refusal."""
        one = self.globals.get(index)
        if one is not None and one.fault:
            raise Refusal(one.fault)
        if one is None or len(one.parameters) != 1 or one.parameters[0].kind != "scalar":
            raise Refusal("exception cb only supports single integer argument")

    def _check_kernel_calls(self) -> None:
        """What can only be said when every path is known. Raises Refusal."""
        if self._has_lost_call:
            raise Refusal("invalid kernel function call not eliminated in verifier pass")
        callbacks = self.finding.callbacks | ({self.catcher} if self.catcher >= 0 else set())
        check_throws(self.program, self.shape, callbacks, self.catcher)

    def _leave_unlocked(self) -> None:
        """The way on which the lock is not taken is left for later."""
        other = self.state.copy()
        frame = other.frames[-1]
        frame.regs[:6] = [_ERROR, *[None] * 5]
        frame.sources[0] = 0
        self._push(other, self.slot + 1)

    def _may_sleep(self) -> bool:
        return self.is_sleepable and not self.state.is_async

    def _overwrite_memory(self, call: KernelCall) -> None:
        for regno, size in call.writes:
            base = self.regs[regno]
            if isinstance(base, Pointer) and base.kind == "fp" and size:
                low = base.off + (base.var.smin if base.var else 0)
                spread = base.var.smax - base.var.smin if base.var else 0
                self._overwrite(self.state.frames[base.frame], low, size + spread)

    def _finish_call(self, call: KernelCall) -> None:
        gives = self._kernel_result(call)
        self.regs[:6] = [None] * 6
        self.regs[0] = gives
        self.sources[0] = 0
        if call.name == "bpf_xdp_pull_data":
            self._forget_packets()
        if call.iterator is None:
            return
        depth, number, slots = call.iterator
        if call.function.has(Trait.ITER_DESTROY):
            self._end_iterator(self.state.frames[depth], number, slots)
        elif call.function.has(Trait.ITER_NEXT):
            assert isinstance(gives, Pointer), "an iterator gives pointers"
            self._turn_iterator(depth, number, slots, gives)

    def _is_turning(self, slot: int) -> bool:
        """The loop that turns at slot may turn once more; an iterator only if it is not drained."""
        name = self.program.kernel_functions.get(slot, "")
        return not name.startswith("bpf_iter_") or self._is_active(self.regs[1])

    # ---- regions

    def _change_regions(self, function: KernelFunction) -> None:
        state, name, sleeps = self.state, function.name, function.has(Trait.SLEEPS)
        if name.startswith("bpf_rcu_read_") and self._is_adding():
            raise Refusal("Calling bpf_rcu_read_{lock,unlock} in unnecessary rbtree callback")
        if name == "bpf_rcu_read_lock":
            if state.rcu:
                raise Refusal(f"nested rcu read lock (kernel function {name})")
            state.rcu = 1
        elif name == "bpf_rcu_read_unlock":
            if not state.rcu:
                raise Refusal(f"unmatched rcu read unlock (kernel function {name})")
            state.rcu = 0
            state.replace(_unprotected)
        elif state.rcu and sleeps:
            raise Refusal(f"kernel func {name} is sleepable within rcu_read_lock region")
        if name == "bpf_preempt_disable":
            state.preempt += 1
        elif name == "bpf_preempt_enable":
            if not state.preempt:
                raise Refusal(f"unmatched attempt to enable preemption (kernel function {name})")
            state.preempt -= 1
        elif state.preempt and sleeps:
            raise Refusal(f"kernel func {name} is sleepable within non-preemptible region")
        if state.irqs and sleeps:
            raise Refusal(f"kernel func {name} is sleepable within IRQ-disabled region")

    # ---- results

    def _kernel_result(self, call: KernelCall) -> Value | None:
        result, function = call.proto.result, call.function
        if function.has(Trait.ITER_NEW | Trait.ITER_DESTROY) or isinstance(result, Void):
            return UNKNOWN if not isinstance(result, Void) else None
        if not isinstance(result, ctype.Pointer):
            return ZERO if call.name.startswith(_TRY_LOCK) else UNKNOWN
        found = self._returned_pointer(call, result.target)
        if not isinstance(found, Pointer):
            return found
        is_nullable = self._may_be_null(call)
        id, ref = self._new_id() if is_nullable else 0, found.ref
        if function.has(Trait.ACQUIRE):
            ref = self._acquire()
            id = ref if is_nullable else 0
        return found.named(f"{found.kind}_or_null" if is_nullable else found.kind, id, ref)

    def _may_be_null(self, call: KernelCall) -> bool:
        if call.name == "bpf_refcount_acquire_impl":
            return call.object is not None and not call.object.ref
        return call.function.has(Trait.NULL)

    def _returned_pointer(self, call: KernelCall, target: CType) -> Value:
        """The pointer that a function gives, before it is said whether it is acquired and may be 0."""
        if call.name == "bpf_cast_to_kern_ctx":
            return self._kernel_context()
        if call.name == "bpf_rdonly_cast":
            return self._cast(call)
        if call.name.startswith("bpf_dynptr_slice"):
            return self._slice(call)
        if call.name in ("bpf_obj_new_impl", "bpf_percpu_obj_new_impl"):
            return self._new_object(call)
        if call.name == "bpf_refcount_acquire_impl":
            assert call.object is not None, "its argument is an object"
            return Pointer("alloc_ptr", type=call.object.type)
        if call.root is not None:
            if call.function.has(Trait.ACQUIRE):
                return Pointer("alloc_ptr", off=call.root.node_off, type=call.root.struct)
            return self._looked_at(call.root)
        if isinstance(target, Void):
            return UNKNOWN
        if not isinstance(target, Record):
            return self._returned_memory(call, target)
        return Pointer(self._kind_of_result(call), type=target.name)

    def _kind_of_result(self, call: KernelCall) -> str:
        if call.name == "bpf_get_kmem_cache":
            return "untrusted_ptr"
        if call.iterator is not None and call.function.has(Trait.ITER_NEXT):
            depth, number, _ = call.iterator
            held = self.state.frames[depth].stack[number][1]
            assert isinstance(held, Pointer), "an iterator was found there"
            return "rcu_ptr" if held.kind.startswith("rcu_") else "trusted_ptr"
        return "ptr"

    def _returned_memory(self, call: KernelCall, target: CType) -> Pointer:
        size, is_read_only = call.buffer if call.buffer is not None else (target.size, True)
        if call.name == "bpf_session_cookie":
            size, is_read_only = 8, False
        if isinstance(target, Function) or not size:
            words = f"{type_word(target)} {names_of_type(target)}"
            raise Refusal(f"kernel function {call.name} returns pointer type {words} is not supported")
        return Pointer("rdonly_mem" if is_read_only else "mem", size=size, ref=call.ref)

    def _new_object(self, call: KernelCall) -> Pointer:
        """An object of a struct of the program's, by the id of its type."""
        name, id, types = call.name.removesuffix("_impl"), call.constant or 0, self.own_types
        if id >> 32:
            raise Refusal("local type ID argument must be in range [0, U32_MAX]")
        if types is None:
            raise Refusal("bpf_obj_new/bpf_percpu_obj_new requires prog BTF")
        struct = types.type(id) if id < len(types) else None
        if not isinstance(struct, Record) or struct.tag != "struct":
            raise Refusal("bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct")
        if name == "bpf_obj_new":
            return Pointer("alloc_ptr", type=struct.name)
        if struct.size > _MAX_PER_CPU_BYTES:
            raise Refusal(f"bpf_percpu_obj_new type size ({struct.size}) is greater than {_MAX_PER_CPU_BYTES}")
        if not is_plain(struct):
            raise Refusal("bpf_percpu_obj_new type ID argument must be of a struct of scalars")
        if struct_fields(self.program.btf, struct.name):
            raise Refusal("bpf_percpu_obj_new type ID argument must not contain special fields")
        return Pointer("alloc_percpu_ptr", type=struct.name)

    def _kernel_context(self) -> Pointer:
        return Pointer("trusted_ptr", type=_KERNEL_CONTEXT.get(self.type, ""))

    def _cast(self, call: KernelCall) -> Pointer:
        kind, name = self._kernel_type(call.constant or 0)
        if not kind:
            id = (call.constant or 0) & 0xFFFFFFFF
            raise Refusal(f"Unknown type ID {id - (id >> 31 << 32)} passed to kfunc bpf_rdonly_cast")
        if kind == "struct":
            return Pointer("untrusted_ptr", type=name)
        if kind == "void":
            return Pointer("rdonly_untrusted_mem", size=_UNBOUNDED)
        raise Refusal("kfunc bpf_rdonly_cast type ID argument must be of a struct or void")

    def _kernel_type(self, id: int) -> tuple[str, str]:
        """("struct", its name), also for a union, or ("void", "") or another kind, of the kernel's type with that id."""
        if not id:
            return "void", ""
        found = self.types.type(id) if isinstance(self.types, Btf) and id < len(self.types) else None
        if isinstance(found, Record):
            return "struct", found.name
        return type_word(found) if found is not None else "", ""

    def _slice(self, call: KernelCall) -> Pointer:
        held = call.dynptr
        assert held is not None and call.constant is not None, "the arguments were checked"
        if call.name == "bpf_dynptr_slice_rdwr" and self.type not in PACKET_WRITERS:
            raise Refusal("the prog does not allow writes to packet data")
        kind = "rdonly_mem" if call.name == "bpf_dynptr_slice" else "mem"
        return Pointer(kind, size=call.constant, type=_SLICE_OF.get(held.kind, ""), uid=held.id)


def _unprotected(value: Value) -> Value:
    """value when RCU protects nothing any more."""
    if not isinstance(value, Pointer) or "rcu_" not in value.kind:
        return value
    if "iter_" in value.kind:
        return value.named(value.kind.replace("rcu_", "untrusted_"))
    return value.named(value.kind.replace("rcu_", "untrusted_").removesuffix("_or_null"), 0)
