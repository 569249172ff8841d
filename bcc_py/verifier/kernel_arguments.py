"""What a kernel function asks of its arguments: its prototype, the ends of its parameters' names, and its traits.

Input: a call's function and prototype, the registers. Output: a KernelCall, with what the arguments told. Invariant: a
parameter whose kind is not known is refused.

Source: kernel/bpf/verifier.c of Linux 6.18, check_kfunc_args and what it calls (behaviour and sentences);
Documentation/bpf/kfuncs.rst (names of parameters)."""

from __future__ import annotations

from dataclasses import dataclass, field

from bcc_py.verifier.arguments import Call
from bcc_py.verifier.domain import UNKNOWN, ZERO, Pointer, Scalar, Value
from bcc_py.verifier.functions import is_context
from bcc_py.verifier.graphs import Graphs, Root
from bcc_py.verifier.kernel_functions_table import KernelFunction, Trait
from bcc_py.verifier.objects import STRUCT_OF, embeds, is_allocated, is_object, is_trusted, names_of_type, type_word
from bcc_py.verifier.rules import Refusal
from cfront import ctype
from cfront.ctype import Array, CType, Enum, Function, Integer, Param, Record, Void
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, AttachType, ProgType

__all__ = ["KernelArguments", "KernelCall", "is_plain"]

_MAX_ARGUMENTS = 5
_MAX_DEPTH = 3
# what a kernel function is, to the checks of memory
_NO_HELPER = HELPER_BY_ID[HELPER_IDS["map_update_elem"]]
_READABLE = frozenset((
    "fp", "pkt", "pkt_meta", "map_key", "map_value", "mem", "rdonly_mem", "ringbuf_mem", "buf", "rdonly_buf",
))
# program types whose context is memory to the kernel too
_PLAIN_CONTEXTS = frozenset((
    ProgType.SYSCALL, ProgType.TRACING, ProgType.RAW_TRACEPOINT, ProgType.RAW_TRACEPOINT_WRITABLE, ProgType.KPROBE,
    ProgType.TRACEPOINT, ProgType.LSM, ProgType.STRUCT_OPS, ProgType.LIRC_MODE2, ProgType.EXT,
))
# objects of which a part may be meant
_SHIFTABLE = frozenset(("ptr_", "trusted_ptr_", "rcu_ptr_"))
# a program's view of a struct, and the struct
_PROJECTIONS = {"__sk_buff": "sk_buff", "xdp_md": "xdp_buff"}
_NEW_DYNPTRS = {
    "bpf_dynptr_from_skb": "dynptr_skb", "bpf_dynptr_from_xdp": "dynptr_xdp", "bpf_dynptr_from_skb_meta": "dynptr_skb_meta",
}


# functions of something in a map's value, which are told the map too
_IN_VALUES = {
    "bpf_wq_init": "workqueue", "bpf_task_work_schedule_signal_impl": "bpf_task_work",
    "bpf_task_work_schedule_resume_impl": "bpf_task_work",
}
# what nobody wrote is a pointer of no kind that is known
_UNWRITTEN = Pointer("?", var=UNKNOWN)


@dataclass(slots=True)
class KernelCall:
    """What a kernel function's arguments told. release: the register whose reference ends here; ref: the reference among
    the arguments; constant: the one constant argument; buffer: (bytes, is read only) of what is returned; iterator: (depth
    of the frame, number of the lowest slot, slots); dynptr: the initialised one; object: the last pointer to an object; root: the list or tree; callback: the index of the function given;
    writes: (register, bytes) of memory the call fills."""

    function: KernelFunction
    proto: Function
    release: int = 0
    ref: int = 0
    constant: int | None = None
    buffer: tuple[int, bool] | None = None
    iterator: tuple[int, int, int] | None = None
    dynptr: Pointer | None = None
    object: Pointer | None = None
    root: Root | None = None
    callback: int = -1
    writes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.function.name


class KernelArguments(Graphs):
    """Holds a kernel function's arguments to its prototype."""

    def _check_kernel_arguments(self, call: KernelCall) -> None:
        params = call.proto.params
        if len(params) > _MAX_ARGUMENTS:
            raise Refusal(f"Function {call.name} has {len(params)} > {_MAX_ARGUMENTS} args")
        index = 0
        while index < len(params):
            one = params[index]
            if one.name.endswith(("__ign", "__prog")):
                index += 1
                continue
            if isinstance(one.type, Integer | Enum):
                self._number_argument(call, index, one)
            elif isinstance(one.type, ctype.Pointer):
                if self._kernel_pointer(call, index, one, one.type.target):
                    index += 1  # the size behind it was looked at too
            else:
                raise Refusal(f"Unrecognized arg#{index} type {type_word(one.type)}")
            index += 1
        if call.function.has(Trait.RELEASE) and not call.release:
            raise Refusal(f"release kernel function {call.name} expects refcounted PTR_TO_BTF_ID")

    # ---- numbers

    def _number_argument(self, call: KernelCall, index: int, param: Param) -> None:
        regno = index + 1
        value = self.regs[regno]
        if not isinstance(value, Scalar):
            raise Refusal(f"R{regno} is not a scalar")
        if param.name.endswith("__k"):
            call.constant = self._constant_argument(regno, value)
        elif param.name in ("rdonly_buf_size", "rdwr_buf_size"):
            if value.mask:
                raise Refusal(f"R{regno} is not a const")
            if value.value > 0xFFFFFFFF:
                raise Refusal(f"R{regno} rdonly/rdwr_buf_size exceeds u32 max")
            self._need(regno)
            call.buffer = value.value, param.name == "rdonly_buf_size"

    def _constant_argument(self, regno: int, value: Scalar) -> int:
        if value.mask:
            raise Refusal(f"R{regno} must be a known constant")
        self._need(regno)
        return value.value

    # ---- pointers

    def _kernel_pointer(self, call: KernelCall, index: int, param: Param, target: CType) -> bool:
        """One pointer; True where the next argument, its size, belongs to it."""
        regno, function, name = index + 1, call.function, param.name
        value = self.regs[regno] or _UNWRITTEN
        if isinstance(value, Scalar):
            self._need(regno)
        is_nullable = name.endswith("__nullable")
        if function.has(Trait.TRUSTED | Trait.RCU | Trait.RELEASE) and not is_nullable and (
                value is ZERO or (isinstance(value, Pointer) and value.is_maybe_null)):
            raise Refusal(f"Possibly NULL pointer passed to trusted arg{index}")
        if isinstance(value, Pointer) and value.ref and value.kind not in ("fp",):
            call.ref = value.ref
            if function.has(Trait.RELEASE):
                call.release = regno
        if is_context(target, self.type) or call.name == "bpf_cast_to_kern_ctx":
            self._offset_of(call, regno, value)
            if not isinstance(value, Pointer) or value.kind != "ctx":
                raise Refusal(f"arg#{index} expected pointer to ctx, but got {_text(value)}")
            return False
        if is_nullable and value is ZERO:
            return False
        return self._kind_of_pointer(call, index, param, target, value)

    def _kind_of_pointer(self, call: KernelCall, index: int, param: Param, target: CType, value: Value) -> bool:
        regno, name = index + 1, param.name
        struct = target.name if isinstance(target, Record) else ""
        if name.endswith("__alloc"):
            if not isinstance(value, Pointer):
                raise Refusal(f"R{regno} must be referenced or trusted")
            self._check_trust(call, regno, value)
            self._offset_of(call, regno, value)
            call.object = self._dropped_argument(index, value, call.name)
        elif name.endswith("__refcounted_kptr"):
            self._offset_of(call, regno, value)
            call.object = self._counted_argument(index, value)
        elif struct in ("bpf_list_head", "bpf_rb_root"):
            self._offset_of(call, regno, value)
            call.root = self._root_argument(index, struct, value)
        elif struct in ("bpf_list_node", "bpf_rb_node"):
            self._offset_of(call, regno, value)
            assert call.root is not None, "the root comes first"
            call.object = self._node_argument(call.name, index, struct, value, call.root)
        elif struct == "bpf_dynptr":
            self._offset_of(call, regno, value)
            self._kernel_dynptr(call, regno, name, value)
        elif self._is_iterator_argument(call, index, struct) or name.endswith("__iter"):
            self._offset_of(call, regno, value)
            self._iterator_argument(call, regno, struct, value)
        elif name.endswith("__str"):
            self._offset_of(call, regno, value)
            if not isinstance(value, Pointer) or value.kind != "map_value":
                raise Refusal(f"arg#{index} doesn't point to a const string")
            self._check_string(regno, value)
        elif name.endswith("__map"):
            self._map_of_kernel(call, index, value)
        elif struct in ("bpf_wq", "bpf_task_work"):
            self._offset_of(call, regno, value)
            self._queue_argument(call, index, struct, value)
        elif name.endswith("__irq_flag"):
            self._offset_of(call, regno, value)
            if not isinstance(value, Pointer) or value.kind != "fp":
                raise Refusal(f"arg#{index} doesn't point to an irq flag on stack")
            self._flag_argument(call.name, regno, value)
        elif struct == "bpf_res_spin_lock":
            self._offset_of(call, regno, value)
            self._resilient_lock_argument(call.name, index, value)
        elif isinstance(value, Pointer) and (is_object(value) or value.kind.removesuffix("_or_null") in STRUCT_OF):
            self._object_argument(call, index, target, value)
        elif isinstance(target, Function):
            self._offset_of(call, regno, value)
            if not isinstance(value, Pointer) or value.kind != "func":
                raise Refusal(f"arg{index} expected pointer to func")
            call.callback = value.frame
        else:
            return self._memory_argument(call, index, target, value)
        return False

    def _offset_of(self, call: KernelCall, regno: int, value: Value) -> None:
        """How far a pointer may have been moved."""
        if not isinstance(value, Pointer):
            return
        if call.release == regno:
            if value.off:
                raise Refusal(f"R{regno} must have zero offset when passed to release func or trusted arg to kfunc")
        elif value.kind in _READABLE:
            return
        elif is_object(value) and value.off > 0 and not value.is_maybe_null and value.kind_text in _SHIFTABLE:
            value = value.placed(0, value.var, value.id, value.range)
        self._check_plain(regno, value)

    def _check_trust(self, call: KernelCall, regno: int, value: Pointer) -> None:
        function = call.function
        if not function.has(Trait.TRUSTED | Trait.RCU | Trait.RELEASE) or is_trusted(value):
            return
        if not function.has(Trait.RCU):
            raise Refusal(f"R{regno} must be referenced or trusted")
        if "rcu_" not in value.kind:
            raise Refusal(f"R{regno} must be a rcu pointer")

    def _object_argument(self, call: KernelCall, index: int, target: CType, value: Pointer) -> None:
        regno, wanted = index + 1, target.name if isinstance(target, Record) else ""
        if not isinstance(target, Record):
            raise Refusal(f"kernel function {call.name} args#{index} pointer type {type_word(target)} {names_of_type(target)} is not supported")
        self._check_trust(call, regno, value)
        self._offset_of(call, regno, value)
        self._check_object_kind(index, value)
        have = value.type if is_object(value) else STRUCT_OF[value.kind.removesuffix("_or_null")]
        call.object = value
        if _PROJECTIONS.get(wanted) == have:
            return
        is_strict = (call.function.has(Trait.RELEASE) and bool(value.ref)) or wanted == f"{have}___init" or have == f"{wanted}___init"
        types = self.types
        if is_allocated(value) or types is None or not embeds(types, have, value.off, wanted, is_strict):
            raise Refusal(f"kernel function {call.name} args#{index} expected pointer to {type_word(target)} {wanted} "
                          f"but R{regno} has a pointer to STRUCT {have}")

    def _check_object_kind(self, index: int, value: Pointer) -> None:
        kind = value.kind
        if kind.removesuffix("_or_null") in STRUCT_OF or kind in ("ptr", "trusted_ptr", "alloc_ptr", "nonown_ptr", "nonown_rcu_ptr") or "rcu_" in kind:
            return
        expected = "trusted_ptr_" if "trusted_ptr" in kind and "untrusted" not in kind else "ptr_"
        raise Refusal(f"arg#{index} is {value.kind_text} expected {expected} or socket")

    def _map_of_kernel(self, call: KernelCall, index: int, value: Value) -> None:
        regno = index + 1
        if not isinstance(value, Pointer) or (value.map is None and not is_object(value)):
            raise Refusal(f"pointer in R{regno} isn't map pointer")
        self._check_trust(call, regno, value)
        self._offset_of(call, regno, value)
        held = call.object
        what = _IN_VALUES.get(call.name)
        if held is not None and what is not None and (held.map is not value.map or held.uid != value.uid):
            raise Refusal(f"{what} pointer in R{index} map_uid={held.uid} doesn't match map pointer in R{regno} map_uid={value.uid}")
        if is_object(value):
            self._check_object_kind(index, value)
            if value.type != "bpf_map":
                raise Refusal(f"kernel function {call.name} args#{index} expected pointer to STRUCT bpf_map "
                              f"but R{regno} has a pointer to STRUCT {value.type}")
        elif value.kind != "map_ptr":
            raise Refusal(f"arg#{index} is {value.kind_text} expected {value.kind_text} or socket")
        call.object = value

    def _queue_argument(self, call: KernelCall, index: int, struct: str, value: Value) -> None:
        if not isinstance(value, Pointer) or value.kind != "map_value":
            raise Refusal(f"arg#{index} doesn't point to a map value")
        self._field_at(index + 1, value, struct)
        call.object = value

    def _flag_argument(self, name: str, regno: int, value: Pointer) -> None:
        kind = "irq_lock" if "res_spin" in name else "irq_native"
        if name.endswith(("_save", "_irqsave")):
            self._save_interrupts(regno, value, kind)
        else:
            self._restore_interrupts(regno, value, kind)

    def _kernel_dynptr(self, call: KernelCall, regno: int, name: str, value: Value) -> None:
        if not isinstance(value, Pointer):
            raise Refusal(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
        if not name.endswith("__uninit"):
            call.dynptr = self._take_dynptr(regno, value)
            return
        parent = call.dynptr if call.name == "bpf_dynptr_clone" else None
        kind = parent.kind if parent is not None else _NEW_DYNPTRS.get(call.name, "dynptr_local")
        self._new_dynptr(regno, value, kind, parent.ref if parent is not None else 0)

    # ---- iterators

    def _is_iterator_argument(self, call: KernelCall, index: int, struct: str) -> bool:
        is_one = call.function.has(Trait.ITER_NEW | Trait.ITER_NEXT | Trait.ITER_DESTROY)
        return is_one and not index and struct.startswith("bpf_iter_")

    def _iterator_argument(self, call: KernelCall, regno: int, struct: str, value: Value) -> None:
        if call.name == "bpf_iter_css_task_new" and not (
                self.type is ProgType.LSM or self.attach_type is AttachType.TRACE_ITER or self.is_sleepable):
            raise Refusal("css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs")
        if not isinstance(value, Pointer) or value.kind != "fp":
            raise Refusal(f"arg#{regno - 1} expected pointer to an iterator on stack")
        record = self.types.find("struct", struct) if self.types is not None else None
        if record is None or not struct.startswith("bpf_iter_"):
            raise Refusal(f"expected valid iter pointer as arg #{regno - 1}")
        kind, slots = struct.removeprefix("bpf_iter_"), record.size // 8
        if call.function.has(Trait.ITER_NEW):
            self._new_iterator(regno, value, kind, slots, call.function.has(Trait.PROTECTED))
            return
        _, number = self._iterator(regno, value, kind, slots, call.name)
        call.iterator = value.frame, number, slots

    # ---- memory

    def _memory_argument(self, call: KernelCall, index: int, target: CType, value: Value) -> bool:
        """True where the size behind it says how many bytes are meant."""
        params, regno = call.proto.params, index + 1
        after = params[index + 1] if regno < len(params) else None
        has_size = after is not None and after.name.endswith(("__sz", "__szk")) and isinstance(self.regs[regno + 1], Scalar)
        if not is_plain(target) and not (has_size and isinstance(target, Void)):
            also = "void, " if has_size else ""
            words = f"{type_word(target)} {names_of_type(target)}"
            raise Refusal(f"arg#{index} pointer type {words} must point to {also}scalar, or struct with scalar")
        self._offset_of(call, regno, value)
        if has_size and after is not None:
            self._sized_memory(call, index, params[index].name, after.name, value)
            return True
        if value is not ZERO:
            self._check_kernel_memory(call, regno, value, target.size, False)
        return False

    def _sized_memory(self, call: KernelCall, index: int, name: str, size_name: str, value: Value) -> None:
        size = self.regs[index + 2]
        assert isinstance(size, Scalar), "the caller saw to it"
        self._need(index + 2)
        if value is not ZERO or not name.endswith("__opt"):
            try:
                self._check_size(index + 2, size)
                self._check_kernel_memory(call, index + 1, value, size.umax, True)
            except Refusal as refusal:
                raise Refusal(
                    *refusal.sentences, f"arg#{index} arg#{index + 1} memory, len pair leads to invalid memory access") from refusal
        if size_name.endswith("__szk"):
            call.constant = self._constant_argument(index + 2, size)

    def _check_size(self, regno: int, size: Scalar) -> None:
        if size.smin < 0:
            raise Refusal(f"R{regno} min value is negative, either use unsigned or 'var &= const'")
        if size.umax >= 1 << 29:
            raise Refusal(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")

    def _check_kernel_memory(self, call: KernelCall, regno: int, value: Value, size: int, is_zero_ok: bool) -> None:
        """The function may read and write size bytes there."""
        if value is ZERO and is_zero_ok and not size:
            return
        if isinstance(value, Pointer) and value.kind == "ctx" and self.type in _PLAIN_CONTEXTS:
            if size:
                self._access(regno, size - 1, 1, None)
                self._access(regno, size - 1, 1, UNKNOWN)
            return
        if not isinstance(value, Pointer) or value.kind.removesuffix("_or_null") not in _READABLE:
            raise Refusal(f"R{regno} type={_text(value)} expected=fp")
        memory = Call(_NO_HELPER)
        self._check_memory(memory, regno, value, size, is_zero_ok, False, False)
        self._check_memory(memory, regno, value, size, is_zero_ok, True, False)
        call.writes.append((regno, size))


def _text(value: Value) -> str:
    return value.kind_text if isinstance(value, Pointer) else "scalar"


def is_plain(type: CType, depth: int = 0) -> bool:
    """A number, or a struct of nothing else."""
    if isinstance(type, Integer | Enum):
        return True
    if not isinstance(type, Record) or depth > _MAX_DEPTH:
        return False
    for one in type.fields or ():
        inner = one.type
        if isinstance(inner, Array):
            if not inner.count or not isinstance(inner.element, Integer | Enum):
                return False
        elif not is_plain(inner, depth + 1):
            return False
    return True
