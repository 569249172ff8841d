"""Calls: of functions in the program, and of helpers, which may call back.

A function's frame is put on top and followed; its r0 comes back. A function that is global is verified on its own, by
its prototype, and its calls are only held to that. A helper with a callback goes on in two ways: the callback runs and
comes back to the call, or the helper returns; so any number of turns is covered.

Source: kernel/bpf/verifier.c of Linux 6.18, check_helper_call, check_func_call, prepare_func_exit (behaviour and
sentences)."""

from __future__ import annotations

from collections.abc import Mapping

from bcc_py.isa import Insn
from bcc_py.verifier.arguments import Arguments, Call
from bcc_py.verifier.contexts import BTF_CONTEXTS
from bcc_py.verifier.domain import UNKNOWN, ZERO, Pointer, Scalar, Value, signed_range, unsigned_range
from bcc_py.verifier.dynptr import PACKET_DYNPTRS
from bcc_py.verifier.fields import PERCPU_KPTR, has_lock
from bcc_py.verifier.functions import Parameter
from bcc_py.verifier.helpers import check_format, check_helper, check_map_and_helper, helper_text
from bcc_py.verifier.limits import return_range
from bcc_py.verifier.machine import PATH_ENDS, SEVERAL_MAPS
from bcc_py.verifier.precision import Checkpoint
from bcc_py.verifier.rules import Refusal
from bcc_py.verifier.state import Frame, State
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Arg, AttachType, Helper, MapType, ProgType, Ret

__all__ = ["MAX_FRAMES", "Calls"]

MAX_FRAMES = 8
_MAX_ERRNO = 4095
_STR_HELPERS = frozenset(
    HELPER_IDS[name]
    for name in ("probe_read_str", "probe_read_user_str", "probe_read_kernel_str", "get_stack", "get_task_stack")
)
# what may be called while a lock is held
_UNDER_LOCK = frozenset((HELPER_IDS["spin_unlock"], HELPER_IDS["kptr_xchg"]))
# the results that are pointers of one kind
_GIVES: Mapping[Ret, str] = {
    Ret.SOCKET_OR_NULL: "sock_or_null", Ret.SOCK_COMMON_OR_NULL: "sock_common_or_null", Ret.TCP_SOCK_OR_NULL: "tcp_sock_or_null",
    Ret.BTF: "ptr", Ret.BTF_OR_NULL: "ptr_or_null", Ret.BTF_TASK: "trusted_ptr",
}
# maps over whose entries a callback can go
_ITERABLE = frozenset((
    MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH, MapType.ARRAY, MapType.PERCPU_ARRAY,
))
# what a call of a global function is, to the checks of memory
_NO_HELPER = HELPER_BY_ID[HELPER_IDS["map_update_elem"]]
_ASYNC = "timer_set_callback"


class Calls(Arguments):
    """Frames come and go, results are made."""

    # ---- functions of the program

    def _call_function(self, insn: Insn) -> int:
        target = self.slot + 1 + insn.imm
        index = self.shape.function_of[target]
        if index in self.globals:
            return self._call_global(index)
        if len(self.state.frames) >= MAX_FRAMES:
            raise Refusal(f"the call stack of {len(self.state.frames) + 1} frames is too deep")
        depth = len(self.state.frames)
        regs: list[Value | None] = [None, *self.regs[1:6], None, None, None, None, Pointer("fp", frame=depth)]
        sources = [0, *self.sources[1:6], 0, 0, 0, 0, 0]
        self.regs[:6] = [None] * 6
        self.state.frames.append(Frame(regs, {}, self.slot, index, sources, {}))
        self._enter_frame()
        return target

    def _call_global(self, index: int) -> int:
        """Only the arguments are looked at: the function is verified on its own."""
        if self.state.lock is not None:
            raise Refusal("global function calls are not allowed while holding a lock,", "use static function instead")
        state = self.state
        if index in self.sleepers and (state.rcu or state.preempt or state.irqs or not self.is_sleepable or state.is_async):
            raise Refusal("global functions that may sleep are not allowed in non-sleepable context,",
                          "i.e., in a RCU/IRQ/preempt-disabled section, or in", "a non-sleepable BPF program context")
        one = self.globals[index]
        try:
            if one.fault:
                raise Refusal(one.fault)
            for regno, parameter in enumerate(one.parameters, 1):
                self._check_global_argument(regno, parameter)
        except Refusal as refusal:
            raise Refusal(*refusal.sentences, f"Caller passes invalid args into func#{index} ('{one.name}')") from refusal
        if index not in self.called_globals:
            self.called_globals.append(index)
        if index in self.shape.packet_movers:
            self._forget_packets()
        self.regs[:6] = [None] * 6
        self.regs[0] = UNKNOWN
        self.sources[0] = 0
        return self.slot + 1

    def _check_global_argument(self, regno: int, parameter: Parameter) -> None:
        value, kind = self._read(regno), parameter.kind
        if kind == "scalar":
            if isinstance(value, Pointer):
                raise Refusal(f"R{regno} is not a scalar")
        elif kind == "ctx":
            if not isinstance(value, Pointer) or value.kind != "ctx":
                raise Refusal(f"arg#{regno - 1} expects pointer to ctx")
            self._check_plain(regno, value)
        elif kind in ("mem", "mem_or_null"):
            self._check_global_memory(regno, parameter, value)
        elif kind == "arena":
            if isinstance(value, Pointer) and value.kind != "arena":
                raise Refusal(f"R{regno} is not a pointer to arena or scalar.")
        elif kind.startswith("trusted_ptr"):
            if value is ZERO and kind.endswith("_or_null"):
                return
            have = value.kind if isinstance(value, Pointer) else "scalar"
            if kind.endswith("_or_null"):
                have = have.removesuffix("_or_null")
            if not isinstance(value, Pointer) or have not in ("ptr", "trusted_ptr", "rcu_ptr"):
                text = value.kind_text if isinstance(value, Pointer) else "scalar"
                raise Refusal(f"R{regno} type={text} expected=ptr_, trusted_ptr_, rcu_ptr_")
            if not self._is_object(value, parameter.type, is_strict=False):
                raise Refusal(f"R{regno} is of type {value.type} but {parameter.type} is expected")
        elif kind == "dynptr":
            if not isinstance(value, Pointer) or value.kind not in ("fp", "dynptr_ptr"):
                text = value.kind_text if isinstance(value, Pointer) else "scalar"
                raise Refusal(f"R{regno} type={text} expected=fp, dynptr_ptr")
            if value.kind == "dynptr_ptr":
                self._check_plain(regno, value)
            self._take_dynptr(regno, value)

    def _check_global_memory(self, regno: int, parameter: Parameter, value: Value) -> None:
        """Memory that the function may read and write, or 0."""
        if value is ZERO:
            if parameter.kind == "mem":
                raise Refusal(f"arg#{regno - 1} is expected to be non-NULL")
            return
        if not isinstance(value, Pointer):
            raise Refusal(f"R{regno} type=scalar expected=fp")
        call = Call(_NO_HELPER)
        self._check_memory(call, regno, value, parameter.size, False, False, False)
        self._check_memory(call, regno, value, parameter.size, False, True, False)
        if parameter.kind == "mem" and value.is_maybe_null:
            raise Refusal(f"arg#{regno - 1} is expected to be non-NULL")
        call.writes.append((regno, parameter.size))
        self._overwrite_arguments(call)

    def _exit(self) -> int:
        frames = self.state.frames
        frame = frames[-1]
        is_main = len(frames) == 1
        self._check_nothing_held("BPF_EXIT instruction in main prog", is_main)
        if is_main:
            self._check_return()
            return PATH_ENDS
        result = self.regs[0]
        if isinstance(result, Pointer) and result.kind == "fp":
            raise Refusal("cannot return stack pointer to the caller")
        if frame.is_callback:
            return self._return_from_callback(frame, result)
        sources = self.sources[0]
        frames.pop()
        self._enter_frame()
        self.regs[0] = result
        self.sources[0] = sources
        return frame.call_slot + 1

    def _return_from_callback(self, frame: Frame, result: Value | None) -> int:
        if not isinstance(result, Scalar):
            raise Refusal("R0 not a scalar value")
        self._need(0)
        if not 0 <= result.smin <= result.smax <= 1:
            raise Refusal(f"At callback return the register R0 has {range_text(result)} should have been in [0, 1]")
        self.state.frames.pop()
        self._enter_frame()
        self._widen(frame.call_slot)
        return frame.call_slot

    def _check_nothing_held(self, doing: str, is_all: bool) -> None:
        """Raises Refusal if something is held where the program, or a callback, may end."""
        state = self.state
        if is_all and state.lock is not None:
            raise Refusal(f"{doing} cannot be used inside bpf_spin_lock-ed region")
        if state.refs and (is_all or state.frames[-1].is_callback):
            self._check_no_reference(state, doing)
        if is_all and state.irqs:
            raise Refusal(f"{doing} cannot be used inside bpf_local_irq_save-ed region")
        if is_all and state.rcu:
            raise Refusal(f"{doing} cannot be used inside bpf_rcu_read_lock-ed region")
        if is_all and state.preempt:
            raise Refusal(f"{doing} cannot be used inside bpf_preempt_disable-ed region")

    def _check_return(self, regno: int = 0) -> None:
        """What the main function, a global one or a timer's callback gives, in this register."""
        gives = self.hook.gives if self.type in BTF_CONTEXTS and self.hook is not None else "int"
        if gives == "void" and not self.frame.function and self.attach_type is not AttachType.LSM_CGROUP:
            return
        result = self._read(regno)
        if isinstance(result, Pointer) and not self.may_leak:
            raise Refusal(f"R{regno} leaks addr as return value")
        doing = "At program exit"
        if self.state.is_async:
            wanted: tuple[int, int] | None = (0, 0)
            doing = "At async callback return"
        elif self.frame.function and self.frame.function != self.catcher:
            if isinstance(result, Pointer):
                raise Refusal(f"At subprogram exit the register R{regno} is not a scalar value ({result.kind_text})")
            return
        else:
            wanted = return_range(self.type, self.attach_type, gives)
        if wanted is None:
            return
        if isinstance(result, Pointer):
            raise Refusal(f"{doing} the register R{regno} is not a known value ({result.kind_text})")
        self._need(regno)
        if not wanted[0] <= result.smin <= result.smax <= wanted[1]:
            raise Refusal(f"{doing} the register R{regno} has {range_text(result)} should have been in [{wanted[0]}, {wanted[1]}]")

    # ---- packet loads of classic BPF, which are calls

    def _load_packet(self, insn: Insn) -> int:
        if self.type not in (ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT):
            raise Refusal("BPF_LD_[ABS|IND] instructions not allowed for this program type")
        if any(one.is_callback for one in self.state.frames):
            raise Refusal("cannot use BPF_LD_[ABS|IND] within callback")
        is_indirect = insn.code & 0xE0 == 0x40
        if insn.dst or insn.off or insn.code & 0x18 == 0x18 or (insn.src and not is_indirect):
            raise Refusal("BPF_LD_[ABS|IND] uses reserved fields")
        context = self._read(6)
        self._check_nothing_held("BPF_LD_[ABS|IND]", True)
        if not (isinstance(context, Pointer) and context.kind == "ctx"):
            raise Refusal("at the time of BPF_LD_ABS|IND R6 != pointer to skb")
        if is_indirect:
            self._read(insn.src)
        self._check_plain(6, context)
        self.regs[:6] = [None] * 6
        self.regs[0] = UNKNOWN
        self.sources[0] = 0
        if len(self.state.frames) > 1:
            # behind the packet's end the function returns 0 at once
            self._push(self.state.copy(), self.slot + 1)
            self.regs[0] = ZERO
            return self._exit()
        return self.slot + 1

    # ---- helpers

    def _call_helper(self, insn: Insn) -> int:
        state = self.state
        if state.lock is not None and insn.imm not in _UNDER_LOCK:
            raise Refusal("function calls are not allowed while holding a lock")
        helper = check_helper(
            insn.imm, self.type, self.attach_type, self.is_gpl, is_sleepable=self.is_sleepable and not state.is_async,
            privileges=self.privileges, hook=self.program.attach_to,
        )
        if helper.sleeps:
            self._check_may_sleep(helper)
        call = self._check_arguments(helper)
        self._overwrite_arguments(call)
        if helper.releases >= 0:
            self._release_argument(call)
        way = self._before_return(call)
        self.regs[:6] = [None] * 6
        self.regs[0] = self._result(call)
        self.sources[0] = 0
        if call.map is not None:
            check_map_and_helper(call.map.type, call.map.flags, helper.id, self.type, self.attach_type)
            fd = call.fd if not call.uid else SEVERAL_MAPS
            if self.finding.call_maps.setdefault(self.slot, fd) != fd:
                self.finding.call_maps[self.slot] = SEVERAL_MAPS
        if helper.name == "tail_call":
            return self._after_tail_call(way)
        if helper.moves_packet or (helper.name == "dynptr_write" and call.dynptr and call.dynptr.kind in PACKET_DYNPTRS):
            self._forget_packets()
        return way

    def _after_tail_call(self, way: int) -> int:
        """A tail call that fails goes on behind it. In a function one that succeeds ends the function, with any result, and
        the other program may have done anything to the packet."""
        if len(self.state.frames) == 1:
            return way
        self._push(self.state.copy(), way)
        self._forget_packets()
        self.regs[0] = UNKNOWN
        return self._exit()

    def _check_may_sleep(self, helper: Helper) -> None:
        for is_held, where in ((self.state.rcu, "rcu_read_lock region"), (self.state.preempt, "non-preemptible region"),
                               (self.state.irqs, "IRQ-disabled region")):
            if is_held:
                raise Refusal(f"sleepable helper {helper_text(helper.id)} in {where}")

    def _overwrite_arguments(self, call: Call) -> None:
        """Memory on the stack that the helper fills."""
        for regno, size in call.writes:
            base = self.regs[regno]
            if isinstance(base, Pointer) and base.kind == "fp" and size:
                low = base.off + (base.var.smin if base.var else 0)
                spread = base.var.smax - base.var.smin if base.var else 0
                if not self.may_leak:
                    self._check_no_pointers(self.state.frames[base.frame], low, size + spread)
                self._overwrite(self.state.frames[base.frame], low, size + spread)

    def _check_no_pointers(self, frame: Frame, low: int, size: int) -> None:
        for number in range((-low - size) // 8, (-low - 1) // 8 + 1):
            if isinstance(frame.stack.get(number, ("", None))[1], Pointer):
                raise Refusal("attempt to corrupt spilled pointer on stack")

    def _release_argument(self, call: Call) -> None:
        if call.release:
            if call.kptr is not None and self._is_in_rcu():
                self.state.replace(lambda value: self._shared(value, call.release))
            self._release(call.release)
        elif self.regs[call.helper.releases + 1] is not ZERO:
            raise Refusal(f"func {helper_text(call.helper.id)} reference has not been acquired before")

    def _release(self, ref: int) -> None:
        """What belongs to a reference that ends is nothing any more."""
        self.state.refs = tuple(one for one in self.state.refs if one.id != ref)

        def without(value: Value) -> Value | None:
            return None if isinstance(value, Pointer) and value.ref == ref else value

        for frame in self.state.frames:
            for index, value in enumerate(frame.regs):
                if value is not None and without(value) is None:
                    frame.regs[index] = self._nothing
            for number, (types, value) in list(frame.stack.items()):
                if value is not None and without(value) is None:
                    left = "m" if self.may_leak else "-"
                    frame.stack[number] = ("--------" if types[0] == "d" else types.replace("r", left), None)

    def _shared(self, value: Value, ref: int) -> Value:
        """value when what it belongs to was put into a map: per-CPU memory can be read on under RCU."""
        if isinstance(value, Pointer) and value.ref == ref and value.kind == "alloc_percpu_ptr":
            return value.named("percpu_rcu_ptr", 0, 0)
        return value

    def _before_return(self, call: Call) -> int:
        """What single helpers ask beyond their prototype; the slot where the path goes on."""
        helper, name = call.helper, call.helper.name
        if name == "tail_call":
            if call.map is None or call.map.type is not MapType.PROG_ARRAY:
                raise Refusal("expected prog array map for tail call")
            self._check_nothing_held("tail_call", True)
        elif name == "get_local_storage":
            self._need(2)
            if self.regs[2] is not ZERO:
                raise Refusal("get_local_storage() doesn't support non-zero flags")
        elif name == "snprintf":
            self._check_format(helper)
        elif name == "dynptr_from_mem":
            base = self.regs[1]
            if not isinstance(base, Pointer) or base.kind != "map_value":
                raise Refusal(f"Unsupported reg type {base.kind_text if isinstance(base, Pointer) else 'scalar'} "
                              "for bpf_dynptr_from_mem data")
        elif Arg.FUNC in helper.args:
            self._call_back(call)
        return self.slot + 1

    def _check_format(self, helper: Helper) -> None:
        """snprintf's format fits the number of its arguments."""
        text, size = self.regs[3], self.regs[5]
        assert isinstance(text, Pointer) and text.map is not None and isinstance(size, Scalar), "the arguments were checked"
        if size.value % 8:
            raise Refusal(f"R5 is not a multiple of 8: {size.value} bytes of arguments for {helper_text(helper.id)}")
        format = text.map.initial[text.off :].partition(b"\0")[0]
        if check_format(format, size.value // 8):
            raise Refusal("Invalid format string")

    # ---- callbacks

    def _call_back(self, call: Call) -> None:
        """Leaves the way through the callback for later."""
        name, frame = call.helper.name, self.frame
        if name == "loop":
            count = self.regs[1]
            self._need(1)
            if not isinstance(count, Scalar):
                raise Refusal("verifier bug: backtracking misuse")  # in Linux's words; it takes any value, but needs a number
            if frame.turns >= count.umax:
                frame.turns = 0
                return
        if name == "for_each_map_elem" and (call.map is None or call.map.type not in _ITERABLE):
            raise Refusal("callback function not allowed for map")
        start = self.shape.starts[call.function]
        self.finding.callbacks.add(call.function)
        regs, sources = self._callback_arguments(call)
        state = self.state.copy()
        if name == _ASYNC:
            regs[10] = Pointer("fp")
            state = State([Frame(regs, {}, -1, call.function, sources, {})])
            state.is_async = True
            self.finding.async_functions.add(call.function)
        else:
            if len(state.frames) >= MAX_FRAMES:
                raise Refusal(f"the call stack of {len(state.frames) + 1} frames is too deep")
            regs[10] = Pointer("fp", frame=len(state.frames))
            state.frames[-1].turns += 1
            state.frames.append(Frame(regs, {}, self.slot, call.function, sources, {}, is_callback=True))
            state.turn += 1
        self._push(state, start)
        frame.turns = 0

    def _callback_arguments(self, call: Call) -> tuple[list[Value | None], list[int]]:
        """r0-r10 of the callback, and what they were computed from."""
        name, caller, from_ = call.helper.name, self.regs, self.sources
        regs: list[Value | None] = [None] * 11
        sources = [0] * 11
        if name == "loop":
            regs[1:3], sources[2] = [UNKNOWN, caller[3]], from_[3]
        elif name == "for_each_map_elem":
            regs[1:5] = [caller[1], *self._entry_of(call), caller[3]]
            sources[4] = from_[3]
        elif name == _ASYNC:
            regs[1:4] = [Pointer("map_ptr", map=call.map, fd=call.fd, uid=call.uid), *self._entry_of(call)]
        elif name == "find_vma":
            regs[1:4], sources[3] = [caller[1], Pointer("ptr", type="vm_area_struct"), caller[4]], from_[4]
        else:  # user_ringbuf_drain
            regs[1:3], sources[2] = [Pointer("dynptr_ptr", id=self._new_id()), caller[3]], from_[3]
        return regs, sources

    def _entry_of(self, call: Call) -> tuple[Pointer, Pointer]:
        spec = call.map
        assert spec is not None, "the argument was a map"
        return (Pointer("map_key", map=spec, fd=call.fd, size=spec.key_size, uid=call.uid),
                Pointer("map_value", map=spec, fd=call.fd, size=spec.value_size, uid=call.uid))

    def _widen(self, call_slot: int) -> None:
        """What differs from the turn before, and has decided nothing yet, may be any number: so that turns become alike.

        Source: kernel/bpf/verifier.c, widen_imprecise_scalars."""
        self._widen_from(self._parent, self.state, call_slot)

    def _widen_from(self, before: Checkpoint | None, state: State, slot: int) -> None:
        calls = [one.call_slot for one in state.frames]
        while before is not None and not (before.slot == slot and [one.call_slot for one in before.state.frames] == calls):
            before = before.parent
        if before is not None:
            before.widen(state)

    # ---- results

    def _result(self, call: Call) -> Value | None:
        helper = call.helper
        ret = helper.ret
        if ret is Ret.VOID:
            return None
        if ret in (Ret.INTEGER, Ret.KERNEL_ADDRESS):
            return self._number(call)
        if ret in (Ret.MAP_VALUE_OR_NULL, Ret.MAP_VALUE):
            return self._entry(call)
        if ret is Ret.RINGBUF_MEM_OR_NULL:
            ref = self._acquire()
            return Pointer("ringbuf_mem_or_null", size=call.alloc_size, id=ref, ref=ref)
        if ret is Ret.DYNPTR_MEM_OR_NULL:
            held = call.dynptr
            assert held is not None, "the first argument is a dynptr"
            return Pointer("mem_or_null", size=call.alloc_size, id=self._new_id(), ref=held.ref, uid=held.id)
        if ret in (Ret.MEM_OR_BTF, Ret.MEM_OR_BTF_OR_NULL):
            return self._this_cpus(call)
        if ret is Ret.KPTR_OR_NULL:
            return self._exchanged(call)
        kind = _GIVES.get(ret)
        if kind is None:
            raise Refusal(f"what {helper_text(helper.id)} returns is not supported by this verifier yet")
        id = self._new_id() if kind.endswith("_or_null") else 0
        ref = call.ref if helper.is_cast else 0
        if helper.acquires:
            id = ref = self._acquire()
        return Pointer(kind, id=id, ref=ref, type="task_struct" if ret is Ret.BTF_TASK else helper.ret_btf)

    def _this_cpus(self, call: Call) -> Pointer:
        """One CPU's copy of what was given."""
        base = call.percpu
        assert base is not None, "the first argument is per CPU"
        if "rcu" in base.kind:
            return Pointer("alloc_rcu_ptr", type=base.type)
        is_nullable = call.helper.ret is Ret.MEM_OR_BTF_OR_NULL
        id, end = (self._new_id(), "_or_null") if is_nullable else (0, "")
        if base.type:
            return Pointer(f"ptr{end}", type=base.type, id=id)
        return Pointer(f"rdonly_mem{end}", size=base.size, id=id)

    def _exchanged(self, call: Call) -> Pointer:
        """What lay in a map's value: the program's now."""
        field = call.kptr
        assert field is not None, "the first argument is a kptr"
        ref = self._acquire()
        percpu = "percpu_" if field.kind == PERCPU_KPTR else ""
        own = "" if self._is_kernel_struct(field.target) else "alloc_"
        return Pointer(f"{own}{percpu}ptr_or_null", type=field.target, id=ref, ref=ref)

    def _number(self, call: Call) -> Scalar:
        helper = call.helper
        if helper.id in _STR_HELPERS:
            return signed_range(-_MAX_ERRNO, call.size_max)
        if helper.name == "get_smp_processor_id" and self.cpus:
            return unsigned_range(0, self.cpus - 1)
        return UNKNOWN

    def _entry(self, call: Call) -> Pointer:
        spec = call.map
        assert spec is not None, "helpers that give map values take a map"
        is_lookup = call.helper.name == "map_lookup_elem"
        if (call.has_entry and is_lookup) or call.helper.ret is Ret.MAP_VALUE:
            return Pointer("map_value", map=spec, fd=call.fd, size=spec.value_size, uid=call.uid,
                           id=self._new_id() if has_lock(spec) else 0)
        ref = 0
        if is_lookup and spec.type in (MapType.SOCKMAP, MapType.SOCKHASH):
            ref = self._acquire()
        return Pointer("map_value_or_null", map=spec, fd=call.fd, size=spec.value_size, id=ref or self._new_id(), ref=ref, uid=call.uid)


def range_text(one: Scalar) -> str:
    """A number that is out of range, in Linux's words."""
    if one.smin == -(1 << 63) and one.smax == (1 << 63) - 1:
        return "unknown scalar value"
    parts = [f"smin={one.smin}"] if one.smin > -(1 << 63) else []
    parts += [f"smax={one.smax}"] if one.smax < (1 << 63) - 1 else []
    return " ".join(parts)
