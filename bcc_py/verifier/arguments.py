"""What a helper asks of its arguments, and what they tell of the call.

Input: the helper's row, the registers. Output: a Call: which map, how many bytes, what is written, what is released.
Invariant: a kind of argument that is not listed here is refused.

Source: kernel/bpf/verifier.c of Linux 6.18, check_func_arg and what it calls (behaviour and sentences)."""

from __future__ import annotations

from dataclasses import dataclass, field

from bcc_py.spec import MapSpec
from bcc_py.verifier.branch import Branches
from bcc_py.verifier.domain import ZERO, Pointer, Scalar, Value
from bcc_py.verifier.fields import Special, special_fields
from bcc_py.verifier.machine import M32, MAX_VAR_OFF
from bcc_py.verifier.memory import PACKET_READERS
from bcc_py.verifier.precision import need
from bcc_py.verifier.rules import BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, Refusal
from bcc_py.verifier.state import State
from cfront.uapi import HELPER_IDS, Arg, Helper, MapType

__all__ = ["DENSE_MAPS", "Arguments", "Call"]

_MEMORY = ("fp", "pkt", "pkt_meta", "map_key", "map_value", "mem", "ringbuf_mem", "buf", "trusted_ptr")
_SOCK_COMMON = ("sock_common", "sock", "tcp_sock", "xdp_sock")
_OBJECT = ("ptr", "trusted_ptr", "rcu_ptr")
_MEMORY_ARGS = (
    Arg.MAP_KEY, Arg.MAP_VALUE, Arg.MAP_VALUE_OR_NULL, Arg.UNINIT_MAP_VALUE, Arg.MEM, Arg.MEM_OR_NULL, Arg.UNINIT_MEM,
    Arg.MEM_WRITE, Arg.MEM_WRITE_OR_NULL, Arg.FIXED_MEM, Arg.FIXED_WRITE, Arg.UNINIT_LONG,
)
# the kinds of pointers that each kind of argument takes, in the order in which Linux lists them
_TAKES: dict[Arg, tuple[str, ...]] = {
    **dict.fromkeys(_MEMORY_ARGS, _MEMORY),
    Arg.CTX: ("ctx",), Arg.CTX_OR_NULL: ("ctx",), Arg.CONST_MAP_PTR: ("map_ptr",), Arg.ALLOC_MEM: ("ringbuf_mem",),
    Arg.CONST_STR: ("map_value",), Arg.SPIN_LOCK: ("map_value", "alloc_ptr"), Arg.TIMER: ("map_value",),
    Arg.KPTR_DEST: ("map_value", "alloc_ptr"), Arg.KPTR_OR_NULL: _OBJECT,
    Arg.BTF: _OBJECT, Arg.BTF_OR_NULL: _OBJECT,
    Arg.PERCPU_BTF: ("percpu_ptr", "percpu_rcu_ptr", "percpu_trusted_ptr"),
    Arg.SOCK_COMMON: _SOCK_COMMON, Arg.BTF_SOCK_COMMON: (*_SOCK_COMMON, "ptr", "trusted_ptr"),
    Arg.BTF_SOCK_COMMON_OR_NULL: (*_SOCK_COMMON, "ptr", "trusted_ptr"), Arg.SOCKET_OR_NULL: ("sock",),
    Arg.FUNC: ("func",), Arg.STACK_OR_NULL: ("fp",),
    **dict.fromkeys((Arg.DYNPTR, Arg.RINGBUF_DYNPTR, Arg.UNINIT_LOCAL_DYNPTR, Arg.UNINIT_RINGBUF_DYNPTR), ("fp", "dynptr_ptr")),
}
_NULLABLE = frozenset((
    Arg.CTX_OR_NULL, Arg.MAP_VALUE_OR_NULL, Arg.MEM_OR_NULL, Arg.MEM_WRITE_OR_NULL, Arg.KPTR_OR_NULL, Arg.BTF_OR_NULL,
    Arg.BTF_SOCK_COMMON_OR_NULL, Arg.SOCKET_OR_NULL, Arg.STACK_OR_NULL,
))
_DYNPTR_ARGS = frozenset((Arg.DYNPTR, Arg.RINGBUF_DYNPTR, Arg.UNINIT_LOCAL_DYNPTR, Arg.UNINIT_RINGBUF_DYNPTR))
# kinds of pointers that may have been moved when a helper gets them
_MOVABLE = frozenset(("fp", "pkt", "pkt_meta", "map_key", "map_value", "mem", "rdonly_mem", "ringbuf_mem", "buf", "rdonly_buf"))
_MAP_ARGS = (Arg.MAP_KEY, Arg.MAP_VALUE, Arg.MAP_VALUE_OR_NULL)
# what the program allocated, put into a map
_OWN = {"alloc_ptr": "ptr", "alloc_percpu_ptr": "ptr"}
# pointers to objects that may point into one
_HELD = frozenset(("ptr", "trusted_ptr", "rcu_ptr", "alloc_ptr", "nonown_ptr", "nonown_rcu_ptr"))
_READ_ONLY = {"rdonly_mem": "mem", "rdonly_buf": "buf"}
_WRITES = (Arg.UNINIT_MEM, Arg.MEM_WRITE, Arg.MEM_WRITE_OR_NULL, Arg.UNINIT_MAP_VALUE, Arg.UNINIT_LONG, Arg.FIXED_WRITE)
# maps whose every entry below max_entries exists
DENSE_MAPS = frozenset((MapType.ARRAY, MapType.PERCPU_ARRAY))
_TIMERS = frozenset(HELPER_IDS[name] for name in ("timer_init", "timer_set_callback", "timer_start", "timer_cancel"))


@dataclass(slots=True)
class Call:
    """What a helper call's arguments told. map, fd, uid: the map given; size_max: the greatest size argument;
    alloc_size: the constant one; ref: the reference among the arguments; release: the one that ends here; has_entry: the
    key is known to be there; function: the callback's index; dynptr: the dynptr given; kptr: the field of a map's value; percpu: what there is for
    each CPU; writes: (register, bytes) that
    the call fills."""

    helper: Helper
    map: MapSpec | None = None
    fd: int = 0
    uid: int = 0
    size_max: int = 0
    alloc_size: int = 0
    ref: int = 0
    release: int = 0
    has_entry: bool = False
    function: int = -1
    dynptr: Pointer | None = None
    kptr: Special | None = None
    percpu: Pointer | None = None
    writes: list[tuple[int, int]] = field(default_factory=list)


class Arguments(Branches):
    """Holds a helper's arguments to its prototype."""

    def _check_arguments(self, helper: Helper) -> Call:
        call = Call(helper)
        for index, arg in enumerate(helper.args):
            self._argument(call, index, arg)
        return call

    def _argument(self, call: Call, index: int, arg: Arg) -> None:
        helper, regno = call.helper, index + 1
        value = self._read(regno)
        if arg is Arg.UNUSED:
            return
        if arg is Arg.ANYTHING:
            if isinstance(value, Pointer) and not self.may_leak:
                raise Refusal(f"R{regno} leaks addr into helper function")
            return
        if arg in (Arg.SIZE, Arg.SIZE_OR_ZERO):
            self._size_argument(call, regno, arg, helper.args[index - 1])
            return
        if isinstance(value, Pointer) and value.kind in ("pkt", "pkt_meta") and not (
            helper.reads_packet and self.type in PACKET_READERS
        ):
            raise Refusal("helper access to the packet is not allowed")
        if isinstance(value, Scalar):
            self._need(regno)
        if call.map is not None and arg is Arg.MAP_VALUE and call.map.type in (MapType.SOCKMAP, MapType.SOCKHASH):
            arg = Arg.BTF_SOCK_COMMON
        if not (arg in _NULLABLE and value is ZERO):
            self._check_kind(helper, regno, arg, value)
        if arg is Arg.CONST_ALLOC_SIZE:
            self._constant_size(call, regno, value)
        elif isinstance(value, Pointer):
            if call.kptr is not None:
                self._check_kptr_source(regno, call.kptr, value)
            self._check_offset(call, regno, index, arg, value)
            self._pointer_argument(call, regno, index, arg, value)

    def _check_kind(self, helper: Helper, regno: int, arg: Arg, value: Value) -> None:
        """Raises Refusal unless value is of a kind that the argument takes."""
        if isinstance(value, Scalar):
            if arg is Arg.CONST_ALLOC_SIZE:
                return
            raise Refusal(f"R{regno} type=scalar expected={self._expected(arg)}")
        kind = value.kind.removesuffix("_or_null") if arg in _NULLABLE else value.kind
        if arg not in _WRITES and arg in _MEMORY_ARGS:
            kind = _READ_ONLY.get(kind, kind)
        if arg is Arg.KPTR_OR_NULL:
            kind = _OWN.get(kind, kind)
        if arg is Arg.CONST_ALLOC_SIZE or kind not in _TAKES[arg]:
            raise Refusal(f"R{regno} type={value.kind_text} expected={self._expected(arg)}")
        if kind == "trusted_ptr" and (arg in _WRITES or arg in _MAP_ARGS):
            raise Refusal(f"bpf_{helper.name}() may write into memory pointed by R{regno} type={value.kind_text}")

    def _expected(self, arg: Arg) -> str:
        if arg is Arg.CONST_ALLOC_SIZE:
            return "scalar"
        return ", ".join(Pointer(one).kind_text for one in _TAKES[arg])

    def _check_offset(self, call: Call, regno: int, index: int, arg: Arg, value: Pointer) -> None:
        """A pointer whose base is meant must not have been moved; and its type must be the one that is meant."""
        if call.helper.releases == index and arg not in _DYNPTR_ARGS and value.off:
            raise Refusal(f"R{regno} must have zero offset when passed to release func or trusted arg to kfunc")
        if value.kind not in _MOVABLE:
            if value.kind in _HELD:
                if arg in (Arg.BTF, Arg.BTF_OR_NULL):
                    wanted = call.helper.arg_btf
                    if not self._is_object(value, wanted, is_strict=call.helper.releases == index):
                        raise Refusal(f"R{regno} is of type {value.type} but {wanted} is expected")
                if value.off < 0:
                    raise Refusal(f"negative offset {value.kind_text} ptr R{regno} off={value.off} disallowed")
                if value.var is not None:
                    self._check_plain(regno, value)
            else:
                self._check_plain(regno, value)
        if call.helper.releases == index and arg not in _DYNPTR_ARGS and not value.ref:
            raise Refusal(f"R{regno} must be referenced when passed to release function")
        if value.ref and arg is not Arg.KPTR_DEST:
            call.ref = value.ref
            if call.helper.releases == index:
                call.release = value.ref

    def _constant_size(self, call: Call, regno: int, value: Value) -> None:
        assert isinstance(value, Scalar), "_check_kind saw to it"
        if value.mask:
            raise Refusal(f"R{regno} is not a known constant'")
        call.alloc_size = value.value & M32

    def _pointer_argument(self, call: Call, regno: int, index: int, arg: Arg, value: Pointer) -> None:
        helper = call.helper
        if arg is Arg.CONST_MAP_PTR:
            self._map_argument(call, value)
        elif arg is Arg.CONST_STR:
            self._check_string(regno, value)
        elif arg in (Arg.UNINIT_LONG, Arg.FIXED_WRITE, Arg.FIXED_MEM):
            size = 8 if arg is Arg.UNINIT_LONG else helper.arg_bytes[index]
            is_write = arg is not Arg.FIXED_MEM
            self._check_memory(call, regno, value, size, False, is_write, arg is Arg.UNINIT_LONG)
            if is_write:
                self._check_aligned(value, 0, size, {"map_value": "value ", "fp": "stack "}.get(value.kind, ""))
                call.writes.append((regno, size))
        elif arg in (Arg.MAP_KEY, Arg.MAP_VALUE, Arg.UNINIT_MAP_VALUE, Arg.MAP_VALUE_OR_NULL):
            self._entry_argument(call, regno, arg, value)
        elif arg is Arg.SPIN_LOCK:
            self._lock_argument(regno, value, helper.name == "spin_lock")
        elif arg is Arg.TIMER:
            self._timer_argument(call, regno, value)
        elif arg is Arg.FUNC:
            call.function = value.frame
        elif arg in _DYNPTR_ARGS:
            self._dynptr_argument(call, regno, arg, value)
        elif arg is Arg.KPTR_DEST:
            call.map, call.fd, call.uid, call.kptr = value.map, value.fd, value.uid, self._kptr_destination(regno, value)
        elif arg is Arg.PERCPU_BTF:
            call.percpu = value

    def _check_kptr_source(self, regno: int, field: Special, value: Pointer) -> None:
        if value.is_maybe_null:
            raise Refusal(f"Possibly NULL pointer passed to helper arg{regno}")
        self._check_kptr_type(field, regno, value)

    def _map_argument(self, call: Call, value: Pointer) -> None:
        if call.map is not None and call.helper.id in _TIMERS and (call.map is not value.map or call.uid != value.uid):
            raise Refusal(f"timer pointer in R1 map_uid={call.uid} doesn't match map pointer in R2 map_uid={value.uid}")
        call.map, call.fd, call.uid = value.map, value.fd, value.uid

    def _entry_argument(self, call: Call, regno: int, arg: Arg, value: Pointer) -> None:
        if call.map is None:
            raise Refusal(f"invalid map_ptr to access map->{'key' if arg is Arg.MAP_KEY else 'value'}")
        size = call.map.key_size if arg is Arg.MAP_KEY else call.map.value_size
        if arg is not Arg.MAP_KEY and call.map.type is MapType.BLOOM_FILTER and call.helper.name == "map_peek_elem":
            arg = Arg.MAP_VALUE
        is_raw = arg is Arg.UNINIT_MAP_VALUE
        self._check_memory(call, regno, value, size, False, is_raw, is_raw)
        if is_raw:
            call.writes.append((regno, size))
        if arg is Arg.MAP_KEY and call.map.type in DENSE_MAPS:
            call.has_entry = self._is_known_below(value, size, call.map.max_entries)

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

    def _size_argument(self, call: Call, regno: int, arg: Arg, memory: Arg) -> None:
        size, base = self.regs[regno], self.regs[regno - 1]
        self._need(regno)
        if not isinstance(size, Scalar):
            raise Refusal(f"R{regno} type={size.kind_text if size else ''} expected=scalar")
        is_zero_ok = arg is Arg.SIZE_OR_ZERO
        if size.smin < 0:
            raise Refusal(f"R{regno} min value is negative, either use unsigned or 'var &= const'")
        if size.umin == 0 and not is_zero_ok:
            raise Refusal(f"R{regno} invalid zero-sized read: u64=[{size.umin},{size.umax}]")
        if size.umax >= MAX_VAR_OFF:
            raise Refusal(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")
        call.size_max = size.umax
        if not isinstance(base, Pointer):
            if size.umax or not is_zero_ok:
                raise Refusal(f"R{regno - 1} type=scalar expected=fp")
            return
        is_write = memory in _WRITES
        is_raw = memory is Arg.UNINIT_MEM and not size.mask
        self._check_memory(call, regno - 1, base, size.umax, is_zero_ok, is_write, is_raw)
        if is_write:
            call.writes.append((regno - 1, size.umax))

    def _check_memory(
        self, call: Call, regno: int, base: Pointer, size: int, is_zero_ok: bool, is_write: bool, is_raw: bool
    ) -> None:
        """A helper reads (or writes) size bytes at base; is_raw: they need not be initialised."""
        kind = base.kind.removesuffix("_or_null")
        if kind == "fp":
            self._check_stack_memory(regno, base, size, is_zero_ok, is_write, is_raw)
        elif kind in ("pkt", "pkt_meta"):
            self._check_packet(regno, base, 0, size, is_zero_ok)
        elif kind in ("map_key", "rdonly_mem", "rdonly_buf") and is_write:
            raise Refusal(f"R{regno} cannot write into {base.kind_text}")
        elif kind in ("buf", "rdonly_buf"):
            self._check_buffer(regno, base, base.off, size, "rdonly" if kind == "rdonly_buf" else "rdwr")
        elif kind == "trusted_ptr":
            self._note_kind(kind)
            self._access_object(regno, base, 0, size, ZERO if is_write else None)
        else:
            self._check_value_memory(regno, base, size, is_zero_ok, is_write)

    def _check_value_memory(self, regno: int, base: Pointer, size: int, is_zero_ok: bool, is_write: bool) -> None:
        spec = base.map if base.kind == "map_value" else None
        flag, doing = (BPF_F_RDONLY_PROG, "write into") if is_write else (BPF_F_WRONLY_PROG, "read from")
        if spec is not None and spec.flags & flag:
            raise Refusal(f"{doing} map forbidden, value_size={base.size} off={base.off} size={size}")
        self._check_region(regno, base, 0, size, is_zero_ok)
        if spec is not None and spec.btf and size:
            self._kptr_touched(special_fields(spec), base, 0, size, is_direct=False)

    def _check_stack_memory(
        self, regno: int, base: Pointer, size: int, is_zero_ok: bool, is_write: bool, is_raw: bool
    ) -> None:
        if size == 0 and not is_zero_ok:
            raise Refusal("invalid zero-sized read")
        low, high = self._stack_range(regno, base, 0, size, " write to" if is_write else " read from")
        frame = self.state.frames[base.frame]
        self._deepen(frame, low)
        if low != high and not self.is_spec_bypassed:
            assert base.var is not None, "a range has a variable part"
            raise Refusal(f"R{regno} variable offset stack access prohibited for !root, var_off={self._bits(base.var)}")
        if is_raw and low == high:
            for at in range(low, low + size):
                if frame.stack.get((-at - 1) // 8, ("",))[0][at & 7 : (at & 7) + 1] == "d":
                    raise Refusal(f"potential write to dynptr at off={at} disallowed")
            return
        self._check_initialised(regno, base, frame, low, high, size)

    def _bits(self, one: Scalar) -> str:
        return f"({one.value:#x}; {one.mask:#x})"

    def _check_string(self, regno: int, value: Pointer) -> None:
        spec = value.map
        if spec is None or not (spec.flags & BPF_F_RDONLY_PROG and spec.initial):
            raise Refusal(f"R{regno} does not point to a readonly map'")
        if value.var is not None:
            raise Refusal(f"R{regno} is not a constant address'")
        self._check_region(regno, value, 0, 1)
        if b"\0" not in spec.initial[value.off :]:
            raise Refusal("string is not zero-terminated")

    # ---- what lives in map values

    def _field_at(self, regno: int, value: Pointer, kind: str) -> None:
        """value points to the field of this kind in its map's value. Raises Refusal."""
        spec = value.map
        if value.var is not None:
            raise Refusal(f"R{regno} doesn't have constant offset. {kind} has to be at the constant offset")
        if spec is None:
            raise Refusal(f"local 'kptr' has no valid {kind}")
        if not spec.btf:
            raise Refusal(f"map '{spec.name}' has to have BTF in order to use {kind}")
        at = [one.off for one in special_fields(spec) if one.kind == kind]
        if not at:
            raise Refusal(f"map '{spec.name}' has no valid {kind}")
        if at[0] != value.off:
            raise Refusal(f"off {value.off} doesn't point to 'struct {kind}' that is at {at[0]}")

    def _lock_argument(self, regno: int, value: Pointer, is_lock: bool) -> None:
        self._field_at(regno, value, "bpf_spin_lock")
        mine = (value.fd, value.uid, value.id)
        if is_lock:
            if self.state.lock is not None:
                raise Refusal("Locking two bpf_spin_locks are not allowed")
            self.state.lock = mine
            return
        if self.state.lock is None:
            raise Refusal("bpf_spin_unlock without taking a lock")
        if self.state.lock != mine:
            raise Refusal("bpf_spin_unlock of different lock")
        self.state.lock = None

    def _timer_argument(self, call: Call, regno: int, value: Pointer) -> None:
        self._field_at(regno, value, "bpf_timer")
        call.map, call.fd, call.uid = value.map, value.fd, value.uid

    def _dynptr_argument(self, call: Call, regno: int, arg: Arg, value: Pointer) -> None:
        if arg is Arg.UNINIT_LOCAL_DYNPTR:
            self._new_dynptr(regno, value, "dynptr_local")
        elif arg is Arg.UNINIT_RINGBUF_DYNPTR:
            self._new_dynptr(regno, value, "dynptr_ringbuf", is_reference=True)
        elif arg is Arg.RINGBUF_DYNPTR:
            call.release = self._take_reference(regno, value, "dynptr_ringbuf").ref
        else:
            call.dynptr = self._take_dynptr(regno, value)

    def _check_no_reference(self, state: State, doing: str) -> None:
        """Nothing may be held where the program may end; what a function or a callback holds is its caller's. Raises Refusal."""
        if len(state.frames) == 1 and state.refs:
            one = state.refs[0]
            raise Refusal(f"Unreleased reference id={one.id} alloc_insn={one.slot}", f"{doing} would lead to reference leak")
