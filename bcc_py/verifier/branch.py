"""Branches: which ways a comparison leaves open, and what it teaches on each."""

from __future__ import annotations

from bcc_py.isa import Insn
from bcc_py.verifier.domain import UNKNOWN, ZERO, Pointer, Scalar, Value, branch_outcome, const, refine
from bcc_py.verifier.fields import has_lock
from bcc_py.verifier.machine import MAX_VAR_OFF
from bcc_py.verifier.memory import Memory
from bcc_py.verifier.objects import is_object, is_trusted
from bcc_py.verifier.precision import need
from bcc_py.verifier.rules import Refusal
from bcc_py.verifier.state import State
from cfront.uapi import MapType

__all__ = ["Branches"]

_EQ, _NE = 0x10, 0x50
_GT, _GE, _LT, _LE = 0x20, 0x30, 0xA0, 0xB0
_FLIPPED = {_GT: _LT, _LT: _GT, _GE: _LE, _LE: _GE}
# kinds of pointers that are never 0
_NEVER_NULL = frozenset((
    "map_value", "map_key", "map_ptr", "ringbuf_mem", "mem", "rdonly_mem", "buf", "rdonly_buf", "sock", "sock_common",
    "tcp_sock", "xdp_sock",
))
_PACKET_KINDS = frozenset(("pkt", "pkt_meta", "pkt_end"))
_MAPS_OF_MAPS = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
_MAX_PACKET_OFF = 0xFFFF
# Pointer.range of one that is known to lie at, or behind, the packet's end
_AT_END, _BEYOND_END = -1, -2


class Branches(Memory):
    """Conditional jumps."""

    def _branch(self, insn: Insn) -> int:
        op, is_wide = insn.code & 0xF0, insn.code & 7 == 5
        left = self._read(insn.dst)
        right = self._read(insn.src) if insn.code & 8 else const(insn.imm)
        target, fall = self.slot + 1 + insn.off, self.slot + 1
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            return self._branch_numbers(op, left, right, is_wide, target, fall)
        return self._branch_pointers(op, insn, left, right, is_wide, target, fall)

    def _branch_pointers(
        self, op: int, insn: Insn, left: Value, right: Value, is_wide: bool, target: int, fall: int
    ) -> int:
        by_reg = bool(insn.code & 8)
        are_packet = (isinstance(left, Pointer) and left.kind in _PACKET_KINDS
                      and isinstance(right, Pointer) and right.kind in _PACKET_KINDS)
        if isinstance(right, Pointer) and not self.may_leak and not are_packet:
            raise Refusal(f"R{insn.src} pointer comparison prohibited")
        if is_wide:
            outcome = self._pointer_outcome(op, insn, left, right)
            if outcome is not None:
                return self._decided(insn, target if outcome else fall, fall if outcome else target)
        if is_wide and not by_reg and right is ZERO and op in (_EQ, _NE) and isinstance(left, Pointer) and left.is_maybe_null:
            return self._branch_null(left, target, fall, null_at=target if op == _EQ else fall)
        other = self.state.copy()
        if is_wide and by_reg and isinstance(left, Pointer) and isinstance(right, Pointer):
            if op in (_EQ, _NE):
                self._learn_not_null(insn, left, right, other if op == _EQ else self.state)
            if self._learn_packet(op, left, right, taken=other, fallen=self.state):
                self._push(other, target)
                return fall
        if isinstance(left, Pointer) and not self.may_leak:
            raise Refusal(f"R{insn.dst} pointer comparison prohibited")
        self._push(other, target)
        return fall

    def _pointer_outcome(self, op: int, insn: Insn, left: Value, right: Value) -> bool | None:
        """Whether the jump is taken, None if that depends."""
        if isinstance(left, Pointer) and isinstance(right, Pointer):
            if right.kind == "pkt_end":
                packet = left
            elif left.kind == "pkt_end":
                packet, op = right, _FLIPPED.get(op, op)
            else:
                return None
            if packet.range >= 0:
                return None
            if op in (_LE, _GT):
                return op == _GT if packet.range == _BEYOND_END else None
            return op == _GE if op in (_LT, _GE) else None
        pointer, number, regno = (left, right, insn.src) if isinstance(left, Pointer) else (right, left, insn.dst)
        assert isinstance(pointer, Pointer) and isinstance(number, Scalar), "one is a pointer"
        if number is not ZERO or op not in (_EQ, _NE) or not _is_never_null(pointer):
            return None
        if pointer.var is not None and (pointer.var.smin <= -MAX_VAR_OFF or pointer.var.smax >= MAX_VAR_OFF):
            return None
        if insn.code & 8:
            self._need(regno)
        return op == _NE

    def _decided(self, insn: Insn, way: int, other: int) -> int:
        """The one way that is open; a processor may guess the other."""
        if not self.is_spec_bypassed:
            before = self.regs.copy()
            self.regs[insn.dst] = UNKNOWN
            if insn.code & 8:
                self.regs[insn.src] = UNKNOWN
            self._push_speculative(other)
            self.regs[:] = before
        return way

    def _learn_not_null(self, insn: Insn, left: Pointer, right: Pointer, equal: State) -> None:
        """On the way where two pointers are equal, neither is 0 if one of them cannot be."""
        kinds = (left.kind, right.kind)
        if any("ptr" in kind and kind != "map_ptr" for kind in kinds):
            return  # one to a kernel object may be 0 whatever is known of it
        regs = equal.frames[-1].regs
        if left.kind in _NEVER_NULL and right.is_maybe_null:
            regs[insn.src] = self._solid(right)
        elif right.kind in _NEVER_NULL and left.is_maybe_null:
            regs[insn.dst] = self._solid(left)

    def _branch_numbers(self, op: int, left: Scalar, right: Scalar, is_wide: bool, target: int, fall: int) -> int:
        insn = self.insns[self.slot]
        by_reg = bool(insn.code & 8)
        sources = self.sources[insn.dst] | (self.sources[insn.src] if by_reg else 0)
        outcome = branch_outcome(op, left, right, is_wide)
        if outcome is not None:
            if sources:
                need(self._parent, sources)
            if self.is_spec_bypassed:
                return target if outcome else fall
            return self._decided(insn, target if outcome else fall, fall if outcome else target)
        is_same = by_reg and insn.src == insn.dst
        taken = refine(op, left, right, is_wide, True, is_same)
        fallen = refine(op, left, right, is_wide, False, is_same)
        if left.id or right.id:
            self.state.history += 1
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
        id = pointer.id

        def solid(value: Value) -> Value:
            return self._solid(value) if isinstance(value, Pointer) and value.id == id and value.is_maybe_null else value

        def nothing(value: Value) -> Value:
            return ZERO if isinstance(value, Pointer) and value.id == id and value.is_maybe_null else value

        some.replace(solid)
        null.replace(nothing)
        if pointer.ref == id:
            null.refs = tuple(one for one in null.refs if one[0] != id)
        self._push(other, target)
        return fall

    def _solid(self, pointer: Pointer) -> Pointer:
        """The pointer when it is known not to be 0."""
        kind, spec = pointer.kind.removesuffix("_or_null"), pointer.map
        if kind == "map_value" and spec is not None:
            if spec.type in _MAPS_OF_MAPS and spec.inner is not None:
                return Pointer("map_ptr", map=spec.inner, fd=pointer.fd, uid=pointer.id)
            if spec.type is MapType.XSKMAP:
                return Pointer("xdp_sock", ref=pointer.ref)
            if spec.type in (MapType.SOCKMAP, MapType.SOCKHASH):
                return Pointer("sock", ref=pointer.ref)
        if kind == "alloc_ptr":
            return pointer.named(kind)
        return pointer.named(kind, pointer.id if kind == "map_value" and spec is not None and has_lock(spec) else 0)

    def _learn_packet(self, op: int, left: Pointer, right: Pointer, taken: State, fallen: State) -> bool:
        """`if data + n > data_end`: on the way where it is not, n bytes are there. False where it says nothing."""
        is_flipped = not _is_packet_pair(left, right)
        if is_flipped:
            if not _is_packet_pair(right, left):
                return False
            left, right, op = right, left, _FLIPPED.get(op, op)
        if op not in _FLIPPED:
            return False
        # now `packet op end`; where it lies before the end, and whether it is known to lie truly before it
        before, after = (taken, fallen) if op in (_LT, _LE) else (fallen, taken)
        is_strict = op in (_LT, _GE)
        _spread_range(before, left, is_strict)
        if left.kind == "pkt" and right.kind == "pkt_end":
            _mark_end(after, left, _AT_END if is_strict else _BEYOND_END)
        return True


def _is_never_null(pointer: Pointer) -> bool:
    return pointer.kind in _NEVER_NULL or (is_object(pointer) and is_trusted(pointer) and not pointer.is_maybe_null)


def _is_packet_pair(packet: Pointer, end: Pointer) -> bool:
    """A pointer into the packet and the packet's end; or one into its meta data and the packet's first byte."""
    if packet.kind == "pkt":
        return end.kind == "pkt_end"
    return packet.kind == "pkt_meta" and end.kind == "pkt" and not end.id and not end.off and end.var is None


def _spread_range(state: State, packet: Pointer, is_strict: bool) -> None:
    if packet.off < 0 or (packet.off == 0 and is_strict):
        return
    if (packet.var.umax if packet.var is not None else 0) + packet.off > _MAX_PACKET_OFF:
        return
    reach = packet.off + is_strict

    def widen(value: Value) -> Value:
        if isinstance(value, Pointer) and value.kind == packet.kind and value.id == packet.id and value.range < reach:
            return value.placed(value.off, value.var, value.id, reach)
        return value

    state.replace(widen)


def _mark_end(state: State, packet: Pointer, range: int) -> None:
    """Only the register that was compared, as Linux has it."""
    regs = state.frames[-1].regs
    for number, value in enumerate(regs):
        if value is packet:
            regs[number] = packet.placed(packet.off, packet.var, packet.id, range)
            return
