"""Arithmetic: what an ALU instruction makes of numbers and pointers, and what it may not do to a pointer."""

from __future__ import annotations

from bcc_py.isa import PSEUDO_MAP_FD, Insn
from bcc_py.verifier.domain import (
    UNKNOWN,
    UNKNOWN32,
    ZERO,
    Pointer,
    Scalar,
    Value,
    alu,
    cast_signed,
    const,
    low_bytes,
    with_id,
)
from bcc_py.verifier.machine import M32, MAX_VAR_OFF, Machine
from bcc_py.verifier.rules import Refusal
from cfront.uapi import MapType

__all__ = ["Arithmetic", "with_offset"]

_ADD, _SUB, _MOV, _NEG, _END = 0x00, 0x10, 0xB0, 0x80, 0xD0
_ALU_TEXT = {0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=",
             0x90: "%=", 0xA0: "^=", 0xC0: "s>>="}


def with_offset(pointer: Pointer, off: int, var: Scalar | None, id: int, range: int) -> Pointer:
    if var is not None and not var.mask:
        off, var = off + var.smin, None
    return Pointer(pointer.kind, off, var, pointer.map, pointer.fd, pointer.size, pointer.frame, id, pointer.ref, range)

def _linked_sum(op: int, left: Scalar, right: Scalar, result: Scalar, is_wide: bool) -> Scalar:
    """result, what left becomes by op with right, still linked to the copies of left if a constant was added to it for
    the first time."""
    if left.plus or right.mask or op not in (_ADD, _SUB) or not (is_wide or left.umax <= M32):
        return result
    added = right.smin if is_wide else right.s32min
    added = -added if op == _SUB else added
    return with_id(result, left.id, (added, is_wide)) if -(1 << 31) <= added < 1 << 31 else result


class Arithmetic(Machine):
    """Moves, sums, and loads of 64-bit immediates."""

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
            self.regs[dst] = const(insn.imm if is_wide else insn.imm & M32)
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
        if value.mask and (not value.id or value.plus) and (is_wide or value.umax <= M32):
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
            if not -MAX_VAR_OFF < off < MAX_VAR_OFF:
                raise Refusal(f"{pointer.kind} pointer offset {off} is not allowed")
            return with_offset(pointer, off, pointer.var, pointer.id, pointer.range)
        var = with_id(alu(op, pointer.var or ZERO, number, True), 0)
        self._check_sane(pointer.kind, var)
        is_packet = pointer.kind in ("pkt", "pkt_meta")
        return with_offset(pointer, pointer.off, var, self._new_id() if is_packet else pointer.id, 0)

    def _check_sane(self, kind: str, number: Scalar) -> None:
        if not number.mask:
            if not -MAX_VAR_OFF < number.smin < MAX_VAR_OFF:
                raise Refusal(f"math between {kind} pointer and {number.smin} is not allowed")
        elif number.smin == -(1 << 63):
            raise Refusal(f"math between {kind} pointer and register with unbounded min value is not allowed")
        elif not -MAX_VAR_OFF < number.smin < MAX_VAR_OFF:
            raise Refusal(f"value {number.smin} makes {kind} pointer be out of bounds")

    def _load_immediate(self, insn: Insn) -> int:
        upper = self.insns[self.slot + 1].imm
        self.sources[insn.dst] = 0
        if insn.src == 0:
            self.regs[insn.dst] = const((upper & M32) << 32 | insn.imm & M32)
            return self.slot + 2
        spec = self.maps.get(insn.imm)
        if spec is None:
            raise Refusal(f"fd {insn.imm} is not pointing to valid bpf_map")
        if insn.src == PSEUDO_MAP_FD:
            self.regs[insn.dst] = Pointer("map_ptr", map=spec, fd=insn.imm)
            return self.slot + 2
        off = upper & M32
        if spec.type is not MapType.ARRAY or spec.max_entries != 1:
            raise Refusal("no direct value access support for this map type")
        if off >= spec.value_size:
            raise Refusal(f"invalid access to map value pointer, value_size={spec.value_size} off={off}")
        self.regs[insn.dst] = Pointer("map_value", off=off, map=spec, fd=insn.imm, size=spec.value_size)
        return self.slot + 2
