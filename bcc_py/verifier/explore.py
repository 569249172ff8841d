"""Follows every path of a program and holds each instruction to the rules.

Input: well-formed instructions (rules.check_form, rules.shape_of) and the maps they name. Output: a
Finding of what was seen, or the Refusal of the first rule that a path breaks. Invariant: an instruction
is only passed when every concrete execution that reaches it obeys the rules; a state that a path leaves
is a superset of the concrete ones.

Algorithm, as in Linux: depth first. At a branch whose outcome the ranges do not decide, the state is
copied and both ways are followed, each with what the comparison teaches. Where paths meet, the state is
compared with those already finished there (prune.py): if one of them subsumes it, the path ends. Only numbers
that decided something count in that (precision.py). A state that comes back to a place on its own path
unchanged is an infinite loop. Loops are otherwise walked as often as they turn; exploration ends because the
number of instructions looked at is limited.

A call of a function in the program is followed like a jump, with a frame of its own; its r0 comes back.
Deterministic: the same program gives the same log. Not done: callbacks, kernel functions, sockets,
dynptrs, map-in-map; each is refused in words.

Source: kernel/bpf/verifier.c of Linux 6.18 (behaviour and sentences), written anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bcc_py.isa import PSEUDO_CALL, PSEUDO_MAP_FD, Insn, text_of
from bcc_py.spec import MapSpec
from bcc_py.verifier.domain import (
    UNKNOWN,
    UNKNOWN32,
    ZERO,
    Pointer,
    Scalar,
    Value,
    alu,
    branch_outcome,
    cast_signed,
    const,
    low_bytes,
    refine,
    signed_range,
    unsigned_range,
    with_id,
)
from bcc_py.verifier.flow import LOAD_ACQUIRE, STORE_RELEASE
from bcc_py.verifier.precision import Checkpoint, inherit, need, remember
from bcc_py.verifier.prune import Pruner
from bcc_py.verifier.rules import (
    BPF_F_RDONLY_PROG,
    BPF_F_WRONLY_PROG,
    PACKET_CHANGERS,
    Refusal,
    Shape,
    check_helper,
    check_map_and_helper,
    context_access,
    helper_text,
)
from bcc_py.verifier.state import SPILLED, Frame, Slot, State
from cfront.uapi import HELPER_IDS, Arg, Helper, MapType, ProgType, Ret

__all__ = ["MAX_FRAMES", "MAX_STACK_BYTES", "Explorer", "Finding"]

MAX_STACK_BYTES = 512
MAX_FRAMES = 8
_MAX_VAR_OFF = 1 << 29
_MAX_PENDING = 8192
_MAX_ERRNO = 4095
_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_LDDW, _CALL, _EXIT, _JA, _GOTOL = 0x18, 0x85, 0x95, 0x05, 0x06
_ADD, _SUB, _MOV, _NEG, _END = 0x00, 0x10, 0xB0, 0x80, 0xD0
_EQ, _NE = 0x10, 0x50
_LOADED = {1: unsigned_range(0, 0xFF), 2: unsigned_range(0, 0xFFFF), 4: UNKNOWN32, 8: UNKNOWN}
_PATH_ENDS = -1
_ALU_TEXT = {0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=",
             0x90: "%=", 0xA0: "^=", 0xC0: "s>>="}
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
_NEVER_NULL = frozenset(("map_value", "map_ptr", "ringbuf_mem"))
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


@dataclass(slots=True)
class Finding:
    """What exploration learnt. insns_processed: instructions looked at, on all paths; stack_bytes: depth for
    each function, a multiple of 8; kinds: slot of a load or store -> kind of memory ("fp", "ctx",
    "map_value", "ringbuf_mem", "pkt", ...; several joined by "|"); reached: slots some path executes."""

    insns_processed: int = 0
    peak_states: int = 0
    stack_bytes: list[int] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)


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


def _linked_sum(op: int, left: Scalar, right: Scalar, result: Scalar, is_wide: bool) -> Scalar:
    """result, what left becomes by op with right, still linked to the copies of left if a constant was added to it for
    the first time."""
    if left.plus or right.mask or op not in (_ADD, _SUB) or not (is_wide or left.umax <= _M32):
        return result
    added = right.smin if is_wide else right.s32min
    added = -added if op == _SUB else added
    return with_id(result, left.id, (added, is_wide)) if -(1 << 31) <= added < 1 << 31 else result


class Explorer:
    """One exploration of one program. run() does it once."""

    def __init__(
        self, insns: Sequence[Insn], shape: Shape, type: ProgType, is_gpl: bool, maps: Mapping[int, MapSpec],
        insn_limit: int, allow_uninit_stack: bool, cpus: int, log: Callable[[str], None] | None,
        line_at: Mapping[int, str],
    ) -> None:
        self.insns = insns
        self.shape = shape
        self.weighed = shape.weighed
        self.type = type
        self.is_gpl = is_gpl
        self.maps = maps
        self.insn_limit = insn_limit
        self.allow_uninit_stack = allow_uninit_stack
        self.cpus = cpus
        self.log = log
        self.line_at = line_at
        self.finding = Finding(stack_bytes=[0] * len(shape.starts))
        self.slot = 0
        self._ids = 0
        self._pruner = Pruner(shape)
        self._met: set[int] = set()
        self._parent: Checkpoint | None = None
        self._pending: list[tuple[State, int, int, Checkpoint | None]] = []
        self._jumps = 0
        self._last_jumps = 0
        self._last_insns = 0
        self._classes: tuple[Callable[[Insn], int], ...] = (
            self._load_immediate, self._load, self._store, self._store, self._alu, self._jump, self._jump, self._alu,
        )
        regs: list[Value | None] = [None] * 11
        regs[1] = Pointer("ctx")
        regs[10] = Pointer("fp")
        self.state = State([Frame(regs, {}, -1, 0, [0] * 11, {})])
        self.frame = self.state.frames[0]
        self.regs = regs
        self.sources = self.frame.sources
        self._loaded_from = 0

    # ---- the walk

    def run(self) -> Finding:
        """Explores everything. Raises Refusal."""
        if self.log:
            self._log_state("func#0 @0", 0)
        insns, points, classes, finding = self.insns, self.shape.prune_points, self._classes, self.finding
        slot = 0
        while True:
            self.slot = slot
            finding.insns_processed += 1
            if finding.insns_processed > self.insn_limit:
                raise Refusal(f"BPF program is too large. Processed {finding.insns_processed} insn")
            if slot in points and self._is_seen(slot):
                if self.log:
                    self.log(f"{slot}: safe")
                slot = _PATH_ENDS
            else:
                insn = insns[slot]
                finding.reached.add(slot)
                if self.log:
                    slot = self._logged_step(insn, slot)
                else:
                    slot = classes[insn.code & 7](insn)
            if slot == _PATH_ENDS:
                slot = self._next_path()
                if slot == _PATH_ENDS:
                    finding.peak_states = self._pruner.peak
                    return finding

    def _next_path(self) -> int:
        """Ends the current path; the slot where the most recent one left over goes on."""
        one = self._parent
        while one is not None:
            one.unfinished -= 1
            if one.unfinished:
                break
            self._pruner.finish(one)
            one = one.parent
        if not self._pending:
            return _PATH_ENDS
        self.state, origin, slot, self._parent = self._pending.pop()
        self._enter_frame()
        if self.log:
            self._log_state(f"from {origin} to {slot}", slot)
        return slot

    def _enter_frame(self) -> None:
        self.frame = self.state.frames[-1]
        self.regs = self.frame.regs
        self.sources = self.frame.sources

    def _push(self, state: State, slot: int) -> None:
        if len(self._pending) >= _MAX_PENDING:
            raise Refusal(f"The sequence of {len(self._pending)} jumps is too complex.")
        self._pending.append((state, self.slot, slot, self._parent))
        if self._parent is not None:
            self._parent.unfinished += 1

    def _is_seen(self, slot: int) -> bool:
        """True when a finished state here stands for the current one; otherwise this one may be remembered."""
        state, pruner = self.state, self._pruner
        self._jumps += 1
        if pruner.is_circle(slot, state):
            raise Refusal(f"infinite loop detected at insn {slot}")
        finished = pruner.covering(slot, state)
        if finished is not None:
            inherit(self._parent, state, finished)
            return True
        insns = self.finding.insns_processed
        if slot not in self._met or (self._jumps - self._last_jumps >= 2 and insns - self._last_insns >= 8):
            self._met.add(slot)
            self._last_jumps, self._last_insns = self._jumps, insns
            self._parent = remember(slot, state, self._parent)
            pruner.add(self._parent)
        return False

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    # ---- registers

    def _read(self, number: int) -> Value:
        value = self.regs[number]
        if value is None:
            raise Refusal(f"R{number} !read_ok")
        return value

    def _check_writable(self, number: int) -> None:
        if number == 10:
            raise Refusal("frame pointer is read only")

    def _need(self, regno: int) -> None:
        """The number in this register decides something."""
        places = self.sources[regno]
        if places:
            need(self._parent, places)

    # ---- arithmetic

    def _alu(self, insn: Insn) -> int:
        code, dst = insn.code, insn.dst
        op, is_wide = code & 0xF0, code & 7 == 7
        if op == _MOV:
            self._move(insn, is_wide)
        elif op in (_NEG, _END):
            value = self._read(dst)
            self._check_writable(dst)
            if op == _NEG and isinstance(value, Scalar):
                self.regs[dst] = alu(_SUB, ZERO, value, is_wide)
            else:
                self.regs[dst] = UNKNOWN
                self.sources[dst] = 0
        else:
            right = self._read(insn.src) if code & 8 else const(insn.imm)
            left = self._read(dst)
            self._check_writable(dst)
            if isinstance(left, Scalar) and isinstance(right, Scalar):
                if self.weighed[self.slot + 1] >> dst & 1:
                    result = alu(op, left, right, is_wide)
                else:
                    result = UNKNOWN if is_wide else UNKNOWN32
                self.regs[dst] = _linked_sum(op, left, right, result, is_wide) if left.id else result
                # a number that may be any was computed from nothing
                self.sources[dst] = 0 if result is UNKNOWN else self.sources[dst] | (self.sources[insn.src] if code & 8 else 0)
            else:
                self.regs[dst] = self._pointer_alu(op, insn, left, right, is_wide)
                self.sources[dst] = 0
        return self.slot + 1

    def _move(self, insn: Insn, is_wide: bool) -> None:
        dst, src, cast = insn.dst, insn.src, insn.off
        if not insn.code & 8:
            self._check_writable(dst)
            self.regs[dst] = const(insn.imm if is_wide else insn.imm & _M32)
            self.sources[dst] = 0
            return
        value = self._read(src)
        self._check_writable(dst)
        self.sources[dst] = self.sources[src]
        if isinstance(value, Pointer):
            self.regs[dst] = (UNKNOWN if cast else value) if is_wide else UNKNOWN32
            return
        if cast:
            wider = cast_signed(value, cast // 8)
            self.regs[dst] = wider if is_wide else low_bytes(with_id(wider, 0), 4)
            return
        if value.mask and (not value.id or value.plus) and (is_wide or value.umax <= _M32):
            value = with_id(value, self._new_id())
            self.regs[src] = value
        self.regs[dst] = value if is_wide else low_bytes(value, 4)

    def _pointer_alu(self, op: int, insn: Insn, left: Value, right: Value, is_wide: bool) -> Value:
        dst, src = insn.dst, insn.src
        if isinstance(left, Pointer) and isinstance(right, Pointer):
            if op == _SUB:
                return UNKNOWN
            raise Refusal(f"R{dst} pointer {_ALU_TEXT[op]} pointer prohibited")
        if isinstance(left, Pointer):
            pointer, number, regno = left, right, dst
        else:
            assert isinstance(right, Pointer), "one of the two is a pointer"
            pointer, number, regno = right, left, src
        assert isinstance(number, Scalar), "the other is a number"
        if not is_wide:
            if op == _SUB:
                return UNKNOWN
            raise Refusal(f"R{dst} 32-bit pointer arithmetic prohibited")
        if pointer.is_maybe_null:
            raise Refusal(f"R{dst} pointer arithmetic on {pointer.kind} prohibited, null-check it first")
        if pointer.kind in ("pkt_end", "map_ptr"):
            raise Refusal(f"R{dst} pointer arithmetic on {pointer.kind} prohibited")
        if op == _SUB and left is number:
            raise Refusal(f"R{dst} tried to subtract pointer from scalar")
        if op == _SUB and pointer.kind == "fp":
            raise Refusal(f"R{dst} subtraction from stack pointer prohibited")
        if op in (0x40, 0x50, 0xA0):
            raise Refusal(f"R{dst} bitwise operator {_ALU_TEXT[op]} on pointer prohibited")
        if op not in (_ADD, _SUB):
            raise Refusal(f"R{dst} pointer arithmetic with {_ALU_TEXT[op]} operator prohibited")
        if number is right and insn.code & 8:
            self._need(src)
        elif number is left:
            self._need(dst)
        return self._moved(op, pointer, number, regno)

    def _moved(self, op: int, pointer: Pointer, number: Scalar, regno: int) -> Pointer:
        self._check_sane(pointer.kind, number)
        if not number.mask:
            off = pointer.off + (number.smin if op == _ADD else -number.smin)
            if not -_MAX_VAR_OFF < off < _MAX_VAR_OFF:
                raise Refusal(f"{pointer.kind} pointer offset {off} is not allowed")
            return _with_offset(pointer, off, pointer.var, pointer.id, pointer.range)
        var = with_id(alu(op, pointer.var or ZERO, number, True), 0)
        self._check_sane(pointer.kind, var)
        is_packet = pointer.kind in ("pkt", "pkt_meta")
        return _with_offset(pointer, pointer.off, var, self._new_id() if is_packet else pointer.id, 0)

    def _check_sane(self, kind: str, number: Scalar) -> None:
        if not number.mask:
            if not -_MAX_VAR_OFF < number.smin < _MAX_VAR_OFF:
                raise Refusal(f"math between {kind} pointer and {number.smin} is not allowed")
        elif number.smin == -(1 << 63):
            raise Refusal(f"math between {kind} pointer and register with unbounded min value is not allowed")
        elif not -_MAX_VAR_OFF < number.smin < _MAX_VAR_OFF:
            raise Refusal(f"value {number.smin} makes {kind} pointer be out of bounds")

    # ---- loads and stores

    def _load_immediate(self, insn: Insn) -> int:
        upper = self.insns[self.slot + 1].imm
        self.sources[insn.dst] = 0
        if insn.src == 0:
            self.regs[insn.dst] = const((upper & _M32) << 32 | insn.imm & _M32)
            return self.slot + 2
        spec = self.maps.get(insn.imm)
        if spec is None:
            raise Refusal(f"fd {insn.imm} is not pointing to valid bpf_map")
        if insn.src == PSEUDO_MAP_FD:
            self.regs[insn.dst] = Pointer("map_ptr", map=spec, fd=insn.imm)
            return self.slot + 2
        off = upper & _M32
        if spec.type is not MapType.ARRAY or spec.max_entries != 1:
            raise Refusal("no direct value access support for this map type")
        if off >= spec.value_size:
            raise Refusal(f"invalid access to map value pointer, value_size={spec.value_size} off={off}")
        self.regs[insn.dst] = Pointer("map_value", off=off, map=spec, fd=insn.imm, size=spec.value_size)
        return self.slot + 2

    def _load(self, insn: Insn) -> int:
        size = _SIZES[insn.code & 0x18]
        self._read(insn.src)
        self._check_writable(insn.dst)
        value = self._access(insn.src, insn.off, size, None)
        if insn.code & 0xE0 == 0x80:
            value = cast_signed(value, size) if isinstance(value, Scalar) else UNKNOWN
        self.regs[insn.dst] = value
        self.sources[insn.dst] = self._loaded_from
        return self.slot + 1

    def _store(self, insn: Insn) -> int:
        size = _SIZES[insn.code & 0x18]
        if insn.code & 7 == 2:
            self._read(insn.dst)
            self._access(insn.dst, insn.off, size, const(insn.imm))
        elif insn.code & 0xE0 == 0x60:
            value = self._read(insn.src)
            self._read(insn.dst)
            self._access(insn.dst, insn.off, size, value, self.sources[insn.src])
        else:
            self._atomic(insn, size)
        return self.slot + 1

    def _atomic(self, insn: Insn, size: int) -> None:
        if insn.imm == LOAD_ACQUIRE:
            self._read(insn.src)
            self._check_writable(insn.dst)
            self._check_atomic_target(insn.src, insn.off, size)
            self.regs[insn.dst] = self._access(insn.src, insn.off, size, None)
            self.sources[insn.dst] = self._loaded_from
            return
        value = self._read(insn.src)
        self._read(insn.dst)
        if insn.imm == STORE_RELEASE:
            self._check_atomic_target(insn.dst, insn.off, size)
            self._access(insn.dst, insn.off, size, value, self.sources[insn.src])
            return
        if insn.imm == 0xF1:
            compared = self._read(0)
            if isinstance(compared, Pointer):
                raise Refusal("R0 leaks addr into mem")
        if isinstance(value, Pointer):
            raise Refusal(f"R{insn.src} leaks addr into mem")
        fetched = 0 if insn.imm == 0xF1 else insn.src if insn.imm & 1 else -1
        if fetched == 10:
            raise Refusal("frame pointer is read only")
        self._check_atomic_target(insn.dst, insn.off, size)
        loaded = self._access(insn.dst, insn.off, size, None)
        if isinstance(loaded, Pointer):
            raise Refusal(f"R{insn.dst} leaks addr into mem")
        self._access(insn.dst, insn.off, size, _LOADED[size])
        if fetched >= 0:
            # never the number that lay there: flow.py does not weigh memory for atomics
            self.regs[fetched] = _LOADED[size]
            self.sources[fetched] = 0

    def _check_atomic_target(self, regno: int, off: int, size: int) -> None:
        base = self.regs[regno]
        if not isinstance(base, Pointer):
            return
        if base.kind in ("ctx", "pkt", "pkt_meta"):
            raise Refusal(f"BPF_ATOMIC stores into R{regno} {base.kind} is not allowed")
        self._check_aligned(base, off, size, {"map_value": "value ", "fp": "stack "}.get(base.kind, ""))

    def _check_aligned(self, base: Pointer, off: int, size: int, what: str) -> None:
        var = base.var or ZERO
        known = var.value + base.off + off
        if (var.mask | known) & size - 1:
            text = f"{var.value:#x}" if not var.mask else f"({var.value:#x}; {var.mask:#x})"
            raise Refusal(f"misaligned {what}access off {text if var.mask or var.value else 0}+{base.off}+{off} size {size}")

    def _access(self, regno: int, off: int, size: int, store: Value | None, sources: int = 0) -> Value:
        """Loads size bytes (store is None), or stores a value that was computed from sources. Gives what was
        loaded, and leaves in _loaded_from what that was computed from."""
        base = self.regs[regno]
        self._loaded_from = 0
        if not isinstance(base, Pointer):
            raise Refusal(f"R{regno} invalid mem access 'scalar'")
        kind = base.kind
        self._note_kind(kind)
        if kind == "fp":
            return self._access_stack(regno, base, off, size, store, sources)
        if kind == "map_value":
            return self._access_map_value(regno, base, off, size, store)
        if kind == "ringbuf_mem":
            self._check_region(regno, base, off, size)
        elif kind == "ctx":
            return self._access_context(regno, base, off, size, store)
        elif kind in ("pkt", "pkt_meta"):
            if store is not None and self.type not in (ProgType.XDP, ProgType.SCHED_CLS, ProgType.SCHED_ACT):
                raise Refusal("cannot write into packet")
            self._check_packet(regno, base, off, size)
        else:
            if kind.startswith("trusted_ptr_"):
                raise Refusal(f"reading through R{regno}, a {kind}, is not supported by this verifier yet")
            raise Refusal(f"R{regno} invalid mem access '{kind}'")
        return _LOADED[size]

    def _note_kind(self, kind: str) -> None:
        kinds = self.finding.kinds
        before = kinds.get(self.slot)
        if before is None:
            kinds[self.slot] = kind
        elif kind not in before.split("|"):
            if "ctx" in (kind, before):
                raise Refusal("same insn cannot be used with different pointers")
            kinds[self.slot] = f"{before}|{kind}"

    def _check_region(self, regno: int, base: Pointer, off: int, size: int, is_zero_ok: bool = False) -> None:
        """Bytes off..off+size from base lie in its size bytes."""
        var, fixed = base.var, base.off + off
        low = fixed + var.smin if var else fixed
        if var and var.smin < 0 and low < 0:
            raise Refusal(
                f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            )
        fits = size > 0 or is_zero_ok
        if low < 0 or not fits or low + size > base.size:
            raise Refusal(self._outside(base, low, size), f"R{regno} min value is outside of the allowed memory range")
        if var is None:
            return
        if var.umax >= _MAX_VAR_OFF:
            raise Refusal(f"R{regno} unbounded memory access, make sure to bounds check any such access")
        high = fixed + var.umax
        if high < 0 or high + size > base.size:
            raise Refusal(self._outside(base, high, size), f"R{regno} max value is outside of the allowed memory range")

    def _outside(self, base: Pointer, off: int, size: int) -> str:
        if base.kind == "map_value":
            return f"invalid access to map value, value_size={base.size} off={off} size={size}"
        return f"invalid access to memory, mem_size={base.size} off={off} size={size}"

    def _access_map_value(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        spec = base.map
        assert spec is not None, "a map value belongs to a map"
        if store is not None and spec.flags & BPF_F_RDONLY_PROG:
            raise Refusal(f"write into map forbidden, value_size={base.size} off={base.off + off} size={size}")
        if store is None and spec.flags & BPF_F_WRONLY_PROG:
            raise Refusal(f"read from map forbidden, value_size={base.size} off={base.off + off} size={size}")
        self._check_region(regno, base, off, size)
        if store is None and spec.initial and spec.flags & BPF_F_RDONLY_PROG and base.var is None:
            at = base.off + off
            return const(int.from_bytes(spec.initial[at : at + size], "little"))
        return _LOADED[size]

    def _access_context(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        if base.var is not None:
            raise Refusal(f"variable ctx access var_off=({base.var.value:#x}; {base.var.mask:#x}) disallowed")
        if base.off:
            raise Refusal(f"dereference of modified ctx ptr R{regno} off={base.off} disallowed")
        if isinstance(store, Pointer):
            raise Refusal(f"R{regno} leaks addr into ctx")
        kind = context_access(self.type, off, size, store is not None)
        return Pointer(kind) if kind else _LOADED[size]

    def _check_packet(self, regno: int, base: Pointer, off: int, size: int, is_zero_ok: bool = False) -> None:
        if base.var is not None and base.var.smin < 0:
            raise Refusal(
                f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            )
        at = base.off + off
        if at < 0 or size < 0 or (not size and not is_zero_ok) or at + size > base.range:
            raise Refusal(
                f"invalid access to packet, off={at} size={size}, R{regno}(id={base.id},off={base.off},r={base.range})",
                f"R{regno} offset is outside of the packet",
            )

    # ---- the stack

    def _access_stack(
        self, regno: int, base: Pointer, off: int, size: int, store: Value | None, sources: int
    ) -> Value:
        self._check_aligned(base, off, size, "stack ")
        low, high = self._stack_range(regno, base, off, size, " read from" if store is None else " write to")
        frame = self.state.frames[base.frame]
        self._deepen(frame, low)
        if store is None:
            if low != high:
                self._check_initialised(regno, base, frame, low, high - low + size, is_indirect=False)
                return _LOADED[size]
            value = self._fill(frame, low, size)
            if value is not _LOADED[size]:
                self._loaded_from = frame.sources_of_slot(base.frame, (-low - 1) // 8)
            return value
        if isinstance(store, Pointer) and store.kind == "fp" and base.frame != len(self.state.frames) - 1:
            raise Refusal("cannot spill pointers to stack into stack frame of the caller")
        if low != high:
            for at in range(low, high + size):
                self._smear(frame, at)
        else:
            number = (-low - 1) // 8
            frame.written[number] = sources if size == 8 else sources | frame.sources_of_slot(base.frame, number)
            self._spill(frame, low, size, store)
        return ZERO

    def _stack_range(self, regno: int, base: Pointer, off: int, size: int, what: str) -> tuple[int, int]:
        """The least and greatest first byte of an access, relative to the frame's r10."""
        fixed = base.off + off
        if base.var is None:
            if not -MAX_STACK_BYTES <= fixed <= -size:
                raise Refusal(f"invalid{what} stack R{regno} off={fixed} size={size}")
            return fixed, fixed
        var = base.var
        if var.smax >= _MAX_VAR_OFF or var.smin <= -_MAX_VAR_OFF:
            raise Refusal(f"invalid unbounded variable-offset{what} stack R{regno}")
        low, high = fixed + var.smin, fixed + var.smax
        if low < -MAX_STACK_BYTES or high + size > 0:
            tnum = f"({var.value:#x}; {var.mask:#x})"
            raise Refusal(f"invalid variable-offset{what} stack R{regno} var_off={tnum} off={low} size={size}")
        return low, high

    def _deepen(self, frame: Frame, low: int) -> None:
        depth = -low + 7 & ~7
        if depth > self.finding.stack_bytes[frame.function]:
            self.finding.stack_bytes[frame.function] = depth

    def _spill(self, frame: Frame, at: int, size: int, value: Value) -> None:
        number, first = (-at - 1) // 8, at & 7
        if size == 8:
            if isinstance(value, Scalar) and value.mask and (not value.id or value.plus):
                value = self._linked(value)
            frame.stack[number] = (SPILLED, value)
            return
        if isinstance(value, Pointer):
            raise Refusal("invalid size of register spill")
        types, _ = frame.stack.get(number, ("--------", None))
        types = types.replace("r", "m")
        if first == 0:
            frame.stack[number] = ("r" * size + types[size:], low_bytes(value, size))
            return
        mark = "0" if value is ZERO else "m"
        frame.stack[number] = (types[:first] + mark * size + types[first + size :], None)

    def _linked(self, value: Scalar) -> Scalar:
        """The stored number under an id that its register carries too."""
        insn = self.insns[self.slot]
        if insn.code & 7 != 3 or self.regs[insn.src] is not value:
            return value
        value = with_id(value, self._new_id())
        self.regs[insn.src] = value
        return value

    def _fill(self, frame: Frame, at: int, size: int) -> Value:
        number, first = (-at - 1) // 8, at & 7
        types, spilled = frame.stack.get(number, ("--------", None))
        count = types.count("r")
        if spilled is not None and count:
            if size == count == 8:
                return spilled
            if isinstance(spilled, Pointer):
                raise Refusal("invalid size of register fill")
            if first == 0 and size <= count:
                return low_bytes(spilled, size)
        wanted = types[first : first + size]
        missing = wanted.find("-")
        if missing >= 0 and not self.allow_uninit_stack:
            raise Refusal(f"invalid read from stack off {at}+{missing} size {size}")
        if wanted == "0" * size or ("r" * size == wanted and spilled is ZERO):
            return ZERO
        return _LOADED[size]

    def _smear(self, frame: Frame, at: int) -> None:
        """A byte that may have been written: something, if it was anything."""
        number, first = (-at - 1) // 8, at & 7
        slot = frame.stack.get(number)
        if slot is None:
            if self.allow_uninit_stack:
                frame.stack[number] = ("-" * first + "m" + "-" * (7 - first), None)
            return
        types = slot[0].replace("r", "m")
        if types[first] != "-" or self.allow_uninit_stack:
            types = types[:first] + "m" + types[first + 1 :]
        frame.stack[number] = (types, None)

    def _check_initialised(
        self, regno: int, base: Pointer, frame: Frame, low: int, size: int, is_indirect: bool = True
    ) -> None:
        if self.allow_uninit_stack:
            return
        for at in range(low, low + size):
            types, _ = frame.stack.get((-at - 1) // 8, ("--------", None))
            if types[at & 7] == "-":
                var = base.var
                if var is None:
                    raise Refusal(f"invalid read from stack R{regno} off {low}+{at - low} size {size}")
                tnum = f"({var.value:#x}; {var.mask:#x})"
                raise Refusal(f"invalid read from stack R{regno} var_off {tnum}+{at - low} size {size}")

    def _overwrite(self, frame: Frame, low: int, size: int) -> None:
        """A call filled these bytes."""
        for number in range((-low - size) // 8, (-low - 1) // 8 + 1):
            start = -8 * (number + 1)
            types, _ = frame.stack.get(number, ("--------", None))
            types = types.replace("r", "m")
            first, last = max(low - start, 0), min(low + size - start, 8)
            frame.stack[number] = (types[:first] + "m" * (last - first) + types[last:], None)

    # ---- jumps

    def _jump(self, insn: Insn) -> int:
        code = insn.code
        if code == _CALL:
            return self._call_function(insn) if insn.src == PSEUDO_CALL else self._call_helper(insn)
        if code == _EXIT:
            return self._exit()
        if code == _JA:
            return self.slot + 1 + insn.off
        if code == _GOTOL:
            return self.slot + 1 + insn.imm
        return self._branch(insn)

    def _branch(self, insn: Insn) -> int:
        op, is_wide = insn.code & 0xF0, insn.code & 7 == 5
        right = self._read(insn.src) if insn.code & 8 else const(insn.imm)
        left = self._read(insn.dst)
        target, fall = self.slot + 1 + insn.off, self.slot + 1
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            return self._branch_numbers(op, left, right, is_wide, target, fall)
        if is_wide and isinstance(left, Pointer) and isinstance(right, Scalar) and right is ZERO and op in (_EQ, _NE):
            if insn.code & 8:
                self._need(insn.src)
            if left.is_maybe_null:
                return self._branch_null(left, target, fall, null_at=target if op == _EQ else fall)
            if left.kind in _NEVER_NULL:
                return fall if op == _EQ else target
        other = self.state.copy()
        if is_wide and isinstance(left, Pointer) and isinstance(right, Pointer):
            self._learn_packet(op, left, right, taken=other, fallen=self.state)
        self._push(other, target)
        return fall

    def _branch_numbers(self, op: int, left: Scalar, right: Scalar, is_wide: bool, target: int, fall: int) -> int:
        insn = self.insns[self.slot]
        by_reg = bool(insn.code & 8)
        sources = self.sources[insn.dst] | (self.sources[insn.src] if by_reg else 0)
        outcome = branch_outcome(op, left, right, is_wide)
        if outcome is not None:
            if sources:
                need(self._parent, sources)
            return target if outcome else fall
        taken = refine(op, left, right, is_wide, True)
        fallen = refine(op, left, right, is_wide, False)
        if taken is None or fallen is None:
            # the ranges together decide what they did not decide one by one; neither way: no execution gets here
            need(self._parent, sources)
            return target if taken is not None else fall if fallen is not None else _PATH_ENDS
        other = self.state.copy()
        self._learn(other, insn, by_reg, left, right, taken, sources)
        self._learn(self.state, insn, by_reg, left, right, fallen, sources)
        self._push(other, target)
        return fall

    def _learn(
        self, state: State, insn: Insn, by_reg: bool, left: Scalar, right: Scalar, after: tuple[Scalar, Scalar],
        sources: int,
    ) -> None:
        frame = state.frames[-1]
        if after[0] is not left:
            frame.regs[insn.dst] = after[0]
            frame.sources[insn.dst] = sources
            if left.id:
                state.spread(left.id, after[0], sources)
        if by_reg and after[1] is not right:
            frame.regs[insn.src] = after[1]
            frame.sources[insn.src] = sources
            if right.id:
                state.spread(right.id, after[1], sources)

    def _branch_null(self, pointer: Pointer, target: int, fall: int, null_at: int) -> int:
        other = self.state.copy()
        null, some = (other, self.state) if null_at == target else (self.state, other)
        solid = Pointer(pointer.kind.removesuffix("_or_null"), pointer.off, pointer.var, pointer.map, pointer.fd,
                        pointer.size, pointer.frame, 0, pointer.ref, pointer.range)
        some.replace(lambda value: solid if isinstance(value, Pointer) and value.id == pointer.id and value.kind == pointer.kind else value)
        null.replace(lambda value: ZERO if isinstance(value, Pointer) and value.id == pointer.id and value.kind == pointer.kind else value)
        if pointer.ref:
            null.refs = tuple(one for one in null.refs if one[0] != pointer.ref)
        self._push(other, target)
        return fall

    def _learn_packet(self, op: int, left: Pointer, right: Pointer, taken: State, fallen: State) -> None:
        """`if data + n > data_end`: on the way where it is not, n bytes are there."""
        if right.kind != "pkt_end":
            if left.kind != "pkt_end":
                return
            left, right = right, left
            op = {0x20: 0xA0, 0xA0: 0x20, 0x30: 0xB0, 0xB0: 0x30}.get(op, 0)
        if left.kind != "pkt" or op not in (0x20, 0x30, 0xA0, 0xB0):
            return
        state = fallen if op in (0x20, 0x30) else taken
        # < and its inverse mean one byte more than <= does
        is_strict = op in (0x30, 0xA0)
        if left.off < 0 or (left.off == 0 and not is_strict) or (left.var is not None and left.var.umax > 0xFFFF):
            return
        reach = left.off + (1 if is_strict else 0)
        if left.var is not None and left.var.umax + left.off > 0xFFFF:
            return

        def widen(value: Value) -> Value:
            if isinstance(value, Pointer) and value.kind == "pkt" and value.id == left.id and value.range < reach:
                return _with_offset(value, value.off, value.var, value.id, reach)
            return value

        state.replace(widen)

    # ---- calls

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
        return _PATH_ENDS

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
            if value.value > _M32 >> 1:
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
        if size.umax >= _MAX_VAR_OFF:
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

    # ---- the log

    def _logged_step(self, insn: Insn, slot: int) -> int:
        assert self.log is not None, "only called with a log"
        line = self.line_at.get(slot)
        if line is not None:
            self.log(line)
        text = f"{slot}: {text_of(self.insns, slot)}"
        frame, before = self.frame, self.regs.copy()
        try:
            after = self._classes[insn.code & 7](insn)
        except Refusal:
            self.log(text)
            raise
        regs = frame.regs
        changed = [f"R{i}_w={_text(regs[i])}" for i in range(11) if regs[i] is not before[i] and regs[i] is not None]
        self.log(f"{text:<38}; {' '.join(changed)}" if changed else text)
        return after

    def _log_state(self, why: str, slot: int) -> None:
        assert self.log is not None, "only called with a log"
        self.log("")
        rows = [f"R{i}={_text(value)}" for i, value in enumerate(self.regs) if value is not None]
        rows += [f"fp-{8 * number + 8}={_slot_text(one)}" for number, one in sorted(self.frame.stack.items())]
        depth = len(self.state.frames) - 1
        self.log(f"{why}:{f' frame{depth}:' if depth else ''} {' '.join(rows)}")


_VALUE_MAPS = frozenset((
    MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, MapType.LPM_TRIE, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY,
    MapType.LRU_PERCPU_HASH, MapType.TASK_STORAGE,
))


def _text(value: Value | None) -> str:
    if isinstance(value, Pointer) and value.kind == "fp" and not value.off and value.var is None:
        return f"fp{value.off}"
    return str(value)


def _slot_text(slot: Slot) -> str:
    types, value = slot
    return str(value) if types == SPILLED else types if value is None else f"{types}:{value}"


def _with_offset(pointer: Pointer, off: int, var: Scalar | None, id: int, range: int) -> Pointer:
    if var is not None and not var.mask:
        off, var = off + var.smin, None
    return Pointer(pointer.kind, off, var, pointer.map, pointer.fd, pointer.size, pointer.frame, id, pointer.ref, range)


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
