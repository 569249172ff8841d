"""Calls: of functions in the program, and of helpers with what each asks of its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from bcc_py.isa import Insn
from bcc_py.spec import MapSpec
from bcc_py.verifier.branch import Branches
from bcc_py.verifier.domain import UNKNOWN, ZERO, Pointer, Scalar, Value, signed_range, unsigned_range
from bcc_py.verifier.machine import M32, MAX_VAR_OFF, PATH_ENDS
from bcc_py.verifier.precision import need
from bcc_py.verifier.rules import (
    BPF_F_RDONLY_PROG,
    BPF_F_WRONLY_PROG,
    PACKET_CHANGERS,
    Refusal,
    check_helper,
    check_map_and_helper,
    helper_text,
)
from bcc_py.verifier.state import Frame
from cfront.uapi import HELPER_IDS, Arg, Helper, MapType, Ret

__all__ = ["MAX_FRAMES", "Calls"]

MAX_FRAMES = 8
_MAX_ERRNO = 4095
_STR_HELPERS = frozenset(
    HELPER_IDS[name]
    for name in ("probe_read_str", "probe_read_user_str", "probe_read_kernel_str", "get_stack", "get_task_stack")
)
# helpers that may be given packet memory
_PACKET_READERS = frozenset(
    HELPER_IDS[name]
    for name in ("map_lookup_elem", "map_update_elem", "map_delete_elem", "map_push_elem", "map_lookup_percpu_elem",
                 "csum_diff")
)
_MEMORY = "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"
_EXPECTED = {
    Arg.CTX: "ctx", Arg.CONST_MAP_PTR: "map_ptr", Arg.MAP_KEY: _MEMORY, Arg.MAP_VALUE: _MEMORY,
    Arg.UNINIT_MAP_VALUE: _MEMORY, Arg.MAP_VALUE_OR_NULL: _MEMORY, Arg.MEM: _MEMORY, Arg.MEM_OR_NULL: _MEMORY,
    Arg.UNINIT_MEM: _MEMORY, Arg.MEM_WRITE: _MEMORY, Arg.UNINIT_LONG: _MEMORY,
    Arg.SIZE: "scalar", Arg.SIZE_OR_ZERO: "scalar", Arg.CONST_ALLOC_SIZE: "scalar", Arg.ALLOC_MEM: "ringbuf_mem",
    Arg.CONST_STR: "map_value", Arg.BTF_TASK: "ptr_, trusted_ptr_, rcu_ptr_",
}
# maps whose every entry below max_entries exists
_DENSE_MAPS = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY))
_MEMORY_KINDS = frozenset(("fp", "pkt", "pkt_meta", "map_value", "ringbuf_mem"))

_VALUE_MAPS = frozenset((
    MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, MapType.LPM_TRIE, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY,
    MapType.LRU_PERCPU_HASH, MapType.TASK_STORAGE,
))


@dataclass(slots=True)
class _CallMeta:
    """What a helper call's arguments told. map: the map given; size_max: the greatest size argument;
    alloc_size: the constant one; has_entry: the key is known to be there; writes: (register, bytes) that the
    call fills."""

    map: MapSpec | None = None
    fd: int = 0
    size_max: int = 0
    alloc_size: int = 0
    release: int = 0
    has_entry: bool = False
    writes: list[tuple[int, int]] = field(default_factory=list)

def _fits(arg: Arg, value: Value) -> bool:
    """Whether a value is of a kind that the argument takes."""
    if isinstance(value, Scalar):
        return arg is Arg.CONST_ALLOC_SIZE
    if arg is Arg.CTX:
        return value.kind == "ctx"
    if arg is Arg.CONST_MAP_PTR:
        return value.kind == "map_ptr" and not value.off and value.var is None
    if arg is Arg.ALLOC_MEM:
        return value.kind == "ringbuf_mem"
    if arg is Arg.BTF_TASK:
        return value.kind == "trusted_ptr_task_struct"
    if arg is Arg.CONST_STR:
        return value.kind == "map_value"
    return arg is not Arg.CONST_ALLOC_SIZE and value.kind in _MEMORY_KINDS


class Calls(Branches):
    """Frames come and go, arguments are checked, results are made."""

    def _call_function(self, insn: Insn) -> int:
        frames = self.state.frames
        if len(frames) >= MAX_FRAMES:
            raise Refusal(f"the call stack of {len(frames) + 1} frames is too deep")
        target = self.slot + 1 + insn.imm
        regs: list[Value | None] = [None, *self.regs[1:6], None, None, None, None, Pointer("fp", frame=len(frames))]
        self.regs[:6] = [None] * 6
        frames.append(Frame(regs, {}, self.slot, self.shape.function_of[target], [0, *self.sources[1:6], 0, 0, 0, 0, 0], {}))
        self._enter_frame()
        return target

    def _exit(self) -> int:
        frames = self.state.frames
        result = self.regs[0]
        if len(frames) > 1:
            if isinstance(result, Pointer) and result.kind == "fp":
                raise Refusal("cannot return stack pointer to the caller")
            sources = self.sources[0]
            slot = frames.pop().call_slot + 1
            self._enter_frame()
            self.regs[0] = result
            self.sources[0] = sources
            return slot
        if self.state.refs:
            ref, slot = self.state.refs[0]
            raise Refusal(
                f"Unreleased reference id={ref} alloc_insn={slot}",
                "BPF_EXIT instruction in main prog would lead to reference leak",
            )
        self._read(0)
        return PATH_ENDS

    def _call_helper(self, insn: Insn) -> int:
        helper = check_helper(insn.imm, self.type, self.is_gpl)
        meta = _CallMeta()
        for index, arg in enumerate(helper.args):
            self._argument(helper, index, arg, meta)
        if meta.map is not None:
            check_map_and_helper(meta.map.type, meta.map.flags, helper.id)
        if helper.name in ("map_push_elem", "map_pop_elem", "map_peek_elem") and meta.map is None:
            raise Refusal(f"invalid map_ptr to access map->type in {helper_text(helper.id)}")
        for regno, size in meta.writes:
            base = self.regs[regno]
            if isinstance(base, Pointer) and base.kind == "fp" and size:
                frame = self.state.frames[base.frame]
                low = base.off + (base.var.smin if base.var else 0)
                spread = base.var.smax - base.var.smin if base.var else 0
                self._overwrite(frame, low, size + spread)
        if helper.name == "tail_call" and self.state.refs:
            raise Refusal("tail_call would lead to reference leak")
        if meta.release:
            self._release(meta.release)
        if helper.id in PACKET_CHANGERS:
            self.state.replace(lambda value: UNKNOWN if isinstance(value, Pointer) and value.kind.startswith("pkt") else value)
        self.regs[:6] = [None] * 6
        self.regs[0] = self._result(helper, meta)
        self.sources[0] = 0
        return self.slot + 1

    def _release(self, ref: int) -> None:
        self.state.refs = tuple(one for one in self.state.refs if one[0] != ref)
        self.state.replace(lambda value: UNKNOWN if isinstance(value, Pointer) and value.ref == ref else value)

    def _result(self, helper: Helper, meta: _CallMeta) -> Value | None:
        if helper.ret is Ret.VOID:
            return None
        if helper.ret in (Ret.INTEGER, Ret.KERNEL_ADDRESS):
            if helper.id in _STR_HELPERS:
                return signed_range(-_MAX_ERRNO, meta.size_max)
            if helper.name == "get_smp_processor_id" and self.cpus:
                return unsigned_range(0, self.cpus - 1)
            return UNKNOWN
        if helper.ret is Ret.MAP_VALUE_OR_NULL:
            assert meta.map is not None, "helpers that give map values take a map"
            if meta.map.type not in _VALUE_MAPS:
                raise Refusal(f"values of {meta.map.type.name} maps are not supported by this verifier yet")
            if meta.has_entry and helper.name == "map_lookup_elem":
                return Pointer("map_value", map=meta.map, fd=meta.fd, size=meta.map.value_size)
            return Pointer("map_value_or_null", map=meta.map, fd=meta.fd, size=meta.map.value_size, id=self._new_id())
        if helper.ret is Ret.RINGBUF_MEM_OR_NULL:
            ref = self._new_id()
            self.state.refs += ((ref, self.slot),)
            return Pointer("ringbuf_mem_or_null", size=meta.alloc_size, id=self._new_id(), ref=ref)
        if helper.ret is Ret.BTF_TASK:
            return Pointer("trusted_ptr_task_struct")
        raise Refusal(f"what {helper_text(helper.id)} returns is not supported by this verifier yet")

    def _argument(self, helper: Helper, index: int, arg: Arg, meta: _CallMeta) -> None:
        regno = index + 1
        value = self._read(regno)
        if arg is Arg.ANYTHING:
            return
        if arg is Arg.OTHER:
            raise Refusal(f"argument {regno} of {helper_text(helper.id)} is not supported by this verifier yet")
        if arg in (Arg.SIZE, Arg.SIZE_OR_ZERO):
            self._size_argument(helper, regno, arg, helper.args[index - 1], meta)
            return
        if isinstance(value, Scalar):
            self._need(regno)
        if arg in (Arg.MEM_OR_NULL, Arg.MAP_VALUE_OR_NULL) and value is ZERO:
            return
        if not _fits(arg, value):
            kind = "scalar" if isinstance(value, Scalar) else value.kind
            raise Refusal(f"R{regno} type={kind} expected={_EXPECTED[arg]}")
        if arg is Arg.CONST_ALLOC_SIZE:
            assert isinstance(value, Scalar), "_fits saw to it"
            if value.mask:
                raise Refusal(f"R{regno} is not a known constant'")
            meta.alloc_size = value.value
            if value.value > M32 >> 1:
                raise Refusal(f"R{regno} reserves {value.value} bytes, which is more than a ring buffer holds")
            return
        assert isinstance(value, Pointer), "_fits saw to it"
        self._pointer_argument(helper, regno, arg, value, meta)

    def _pointer_argument(self, helper: Helper, regno: int, arg: Arg, value: Pointer, meta: _CallMeta) -> None:
        if arg is Arg.BTF_TASK and (value.off or value.var is not None):
            raise Refusal(f"R{regno} is of type task_struct but task_struct is expected")
        if arg is Arg.CTX and (value.off or value.var is not None):
            raise Refusal(f"dereference of modified ctx ptr R{regno} off={value.off} disallowed")
        if arg is Arg.CONST_MAP_PTR:
            assert value.map is not None, "a map pointer names its map"
            meta.map, meta.fd = value.map, value.fd
        elif arg is Arg.ALLOC_MEM:
            if value.off or value.var is not None:
                raise Refusal(f"R{regno} must have zero offset when passed to release func or trusted arg to kfunc")
            if all(one[0] != value.ref for one in self.state.refs):
                raise Refusal(f"R{regno} must be referenced when passed to release function")
            meta.release = value.ref
        elif arg is Arg.CONST_STR:
            self._check_string(regno, value)
        elif arg is Arg.UNINIT_LONG:
            self._check_aligned(value, 0, 8, "")
            self._check_memory(helper, regno, value, 8, is_zero_ok=False, is_write=True, is_raw=True)
            meta.writes.append((regno, 8))
        elif arg in (Arg.MAP_KEY, Arg.MAP_VALUE, Arg.UNINIT_MAP_VALUE, Arg.MAP_VALUE_OR_NULL):
            if meta.map is None:
                raise Refusal(f"invalid map_ptr to access map->{'key' if arg is Arg.MAP_KEY else 'value'}")
            size = meta.map.key_size if arg is Arg.MAP_KEY else meta.map.value_size
            is_raw = arg is Arg.UNINIT_MAP_VALUE
            self._check_memory(helper, regno, value, size, is_zero_ok=False, is_write=is_raw, is_raw=is_raw)
            if is_raw:
                meta.writes.append((regno, size))
            if arg is Arg.MAP_KEY and meta.map.type in _DENSE_MAPS:
                meta.has_entry = self._is_known_below(value, size, meta.map.max_entries)

    def _is_known_below(self, key: Pointer, size: int, entries: int) -> bool:
        """The key on the stack is a known number below entries.

        Source: kernel/bpf/verifier.c, get_constant_map_key."""
        if key.kind != "fp" or key.var is not None:
            return False
        number, first = (-key.off - 1) // 8, key.off & 7
        frame = self.state.frames[key.frame]
        types, spilled = frame.stack.get(number, ("", None))
        if types[first : first + size] != "0" * size:
            if first or types.count("r") != size or not isinstance(spilled, Scalar):
                return False
            if spilled.mask or spilled.value >= entries:
                return False
        need(self._parent, frame.sources_of_slot(key.frame, number))
        return True

    def _size_argument(self, helper: Helper, regno: int, arg: Arg, memory: Arg, meta: _CallMeta) -> None:
        size, base = self.regs[regno], self.regs[regno - 1]
        self._need(regno)
        if not isinstance(size, Scalar):
            raise Refusal(f"R{regno} type={size.kind if size else ''} expected=scalar")
        is_zero_ok = arg is Arg.SIZE_OR_ZERO
        if size.smin < 0:
            raise Refusal(f"R{regno} min value is negative, either use unsigned or 'var &= const'")
        if size.umin == 0 and not is_zero_ok:
            raise Refusal(f"R{regno} invalid zero-sized read: u64=[{size.umin},{size.umax}]")
        if size.umax >= MAX_VAR_OFF:
            raise Refusal(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")
        meta.size_max = size.umax
        if not isinstance(base, Pointer):
            if size.umax or not is_zero_ok:
                raise Refusal(f"R{regno - 1} type=scalar expected={_MEMORY}")
            return
        is_write = memory in (Arg.UNINIT_MEM, Arg.MEM_WRITE)
        is_raw = memory is Arg.UNINIT_MEM and not size.mask
        self._check_memory(helper, regno - 1, base, size.umax, is_zero_ok, is_write, is_raw)
        if is_write:
            meta.writes.append((regno - 1, size.umax))

    def _check_memory(
        self, helper: Helper, regno: int, base: Pointer, size: int, is_zero_ok: bool, is_write: bool, is_raw: bool
    ) -> None:
        """A helper reads (or writes) size bytes at base; is_raw: they need not be initialised."""
        if base.kind == "fp":
            self._check_stack_memory(regno, base, size, is_zero_ok, is_raw)
        elif base.kind in ("pkt", "pkt_meta"):
            if helper.id not in _PACKET_READERS or is_write:
                raise Refusal("helper access to the packet is not allowed")
            self._check_packet(regno, base, 0, size, is_zero_ok)
        else:
            spec = base.map
            flag, doing = (BPF_F_RDONLY_PROG, "write into") if is_write else (BPF_F_WRONLY_PROG, "read from")
            if spec is not None and spec.flags & flag:
                raise Refusal(f"{doing} map forbidden, value_size={base.size} off={base.off} size={size}")
            self._check_region(regno, base, 0, size, is_zero_ok)

    def _check_stack_memory(self, regno: int, base: Pointer, size: int, is_zero_ok: bool, is_raw: bool) -> None:
        if size == 0:
            if not is_zero_ok:
                raise Refusal("invalid zero-sized read")
            return
        low, high = self._stack_range(regno, base, 0, size, " write to" if is_raw else " read from")
        frame = self.state.frames[base.frame]
        self._deepen(frame, low)
        if not is_raw or low != high:
            self._check_initialised(regno, base, frame, low, high - low + size)

    def _check_string(self, regno: int, value: Pointer) -> None:
        spec = value.map
        if spec is None or not (spec.flags & BPF_F_RDONLY_PROG and spec.initial):
            raise Refusal(f"R{regno} does not point to a readonly map'")
        if value.var is not None:
            raise Refusal(f"R{regno} is not a constant address'")
        self._check_region(regno, value, 0, 1)
        if b"\0" not in spec.initial[value.off :]:
            raise Refusal("string is not zero-terminated")
