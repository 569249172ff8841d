"""Branches: which ways a comparison leaves open, and what it teaches on each."""

from __future__ import annotations

from bcc_py.isa import Insn
from bcc_py.verifier.arith import with_offset
from bcc_py.verifier.domain import ZERO, Pointer, Scalar, Value, branch_outcome, const, refine
from bcc_py.verifier.machine import PATH_ENDS
from bcc_py.verifier.memory import Memory
from bcc_py.verifier.precision import need
from bcc_py.verifier.state import State

__all__ = ["Branches"]

_EQ, _NE = 0x10, 0x50
_NEVER_NULL = frozenset(("map_value", "map_ptr", "ringbuf_mem"))


class Branches(Memory):
    """Conditional jumps."""

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
            return target if taken is not None else fall if fallen is not None else PATH_ENDS
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
                return with_offset(value, value.off, value.var, value.id, reach)
            return value

        state.replace(widen)
