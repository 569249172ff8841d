"""Arithmetic: what an ALU instruction makes of numbers and pointers, and what it may not do to a pointer."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod

from bcc_py.isa import PSEUDO_BTF_ID, PSEUDO_FUNC, PSEUDO_MAP_FD, Insn
from bcc_py.verifier.domain import (
    UNKNOWN,
    UNKNOWN32,
    ZERO,
    Pointer,
    Scalar,
    Value,
    alu,
    byte_swapped,
    cast_signed,
    const,
    low_bytes,
    tnum_text,
    with_id,
    with_low,
)
from bcc_py.verifier.form import ADDR_SPACE_CAST
from bcc_py.verifier.machine import M32, MAX_VAR_OFF, NO_MASK, Machine
from bcc_py.verifier.rules import Refusal
from cfront.ctype import Record
from cfront.uapi import MapType

__all__ = ["Arithmetic"]

_ADD, _SUB, _OR, _AND, _XOR, _MOV, _NEG, _END = 0x00, 0x10, 0x40, 0x50, 0xA0, 0xB0, 0x80, 0xD0
# kinds of pointers that must stay as they are
_FIXED = frozenset((
    "pkt_end", "map_ptr", "flow_keys", "sock", "sock_common", "tcp_sock", "xdp_sock", "iter", "arena",
))
_IS_LITTLE = sys.byteorder == "little"
_NOT_FOR_ALL = "pointer arithmetic with it prohibited for !root"
_ALU_TEXT = {0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=",
             0x90: "%=", 0xA0: "^=", 0xC0: "s>>="}


def _linked_sum(op: int, left: Scalar, right: Scalar, result: Scalar, is_wide: bool) -> Scalar:
    """result, what left becomes by op with right, still linked to the copies of left if a constant was added to it for
    the first time."""
    if left.plus or right.mask or op not in (_ADD, _SUB) or not (is_wide or left.umax <= M32):
        return result
    added = right.smin if is_wide else right.s32min
    added = -added if op == _SUB else added
    return with_id(result, left.id, (added, is_wide)) if -(1 << 31) <= added < 1 << 31 else result


class Arithmetic(Machine, ABC):
    """Moves, sums, and loads of 64-bit immediates."""

    def _alu(self, insn: Insn) -> int:
        code, dst = insn.code, insn.dst
        op, is_wide = code & 0xF0, code & 7 == 7
        if op == _MOV:
            self._move(insn, is_wide)
        elif op in (_NEG, _END):
            value = self._read(dst)
            if isinstance(value, Pointer) and not self.may_leak:
                raise Refusal(f"R{dst} pointer arithmetic prohibited")
            self._check_writable(dst)
            if not isinstance(value, Scalar):
                self.regs[dst] = UNKNOWN
                self.sources[dst] = 0
            elif op == _NEG:
                self.regs[dst] = alu(_SUB, ZERO, value, is_wide)
            else:
                self.regs[dst] = byte_swapped(value, insn.imm, is_wide or bool(code & 8) == _IS_LITTLE)
        else:
            right = self._read(insn.src) if code & 8 else const(insn.imm)
            left = self._read(dst)
            self._check_writable(dst)
            if isinstance(left, Scalar) and isinstance(right, Scalar):
                if op in (_AND, _OR) and not right.mask and left.mask:
                    left = self._forked(left, dst)
                if not self.is_spec_bypassed:
                    self._sanitize_numbers(op, insn)
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

    def _forked(self, left: Scalar, dst: int) -> Scalar:
        """left, if it is -1 or 0 (what `s>>= 63` leaves) as -1, with the other way kept for later.

        Source: kernel/bpf/verifier.c, maybe_fork_scalars."""
        if left.smin == -1 and left.smax == 0:
            one, other = const(-1), ZERO
        elif left.s32min == -1 and left.s32max == 0:
            one, other = with_low(left, M32), with_low(left, 0)
        else:
            return left
        self.regs[dst] = other
        self._push(self.state.copy(), self.slot)
        self.regs[dst] = one
        return one

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
        if cast == ADDR_SPACE_CAST:
            self._cast_address(insn)
            return
        if isinstance(value, Pointer):
            if not (self.may_leak or (is_wide and not cast)):
                raise Refusal(f"R{src} {'sign-extension part' if is_wide else 'partial copy'} of pointer")
            self.regs[dst] = (UNKNOWN if cast else value) if is_wide else UNKNOWN32
            return
        if cast:
            keeps = value.umax < 1 << cast - 1
            if keeps and value.mask and not value.id:
                value = with_id(value, self._new_id())
                self.regs[src] = value
            wider = cast_signed(value, cast // 8, is_wide)
            self.regs[dst] = with_id(wider, value.id, value.plus) if keeps else with_id(wider, 0)
            return
        if value.mask and (not value.id or value.plus) and (is_wide or value.umax <= M32):
            value = with_id(value, self._new_id())
            self.regs[src] = value
        self.regs[dst] = value if is_wide else low_bytes(value, 4)

    def _cast_address(self, insn: Insn) -> None:
        """An address in an arena, as the program or as the kernel has it."""
        if not any(one.type is MapType.ARENA for one in self.maps.values()):
            raise Refusal("addr_space_cast insn can only be used in a program that has an associated arena")
        self.regs[insn.dst] = Pointer("arena") if insn.imm == 1 else UNKNOWN
        self.sources[insn.dst] = 0

    def _pointer_alu(self, op: int, insn: Insn, left: Value, right: Value, is_wide: bool) -> Value:
        dst, src = insn.dst, insn.src
        if isinstance(left, Pointer) and left.kind == "arena":
            return left
        if isinstance(left, Pointer) and isinstance(right, Pointer):
            if op == _SUB and self.may_leak:
                return UNKNOWN
            raise Refusal(f"R{dst} pointer {_ALU_TEXT[op]} pointer prohibited")
        if isinstance(left, Pointer):
            pointer, number = left, right
        else:
            assert isinstance(right, Pointer), "one of the two is a pointer"
            pointer, number = right, left
        assert isinstance(number, Scalar), "the other is a number"
        if number is right and insn.code & 8:
            self._need(src)
        elif number is left:
            self._need(dst)
        if not is_wide:
            if op == _SUB and self.may_leak:
                return UNKNOWN
            raise Refusal(f"R{dst} 32-bit pointer arithmetic prohibited")
        kind = pointer.kind
        if pointer.is_maybe_null:
            raise Refusal(f"R{dst} pointer arithmetic on {pointer.kind_text} prohibited, null-check it first")
        if kind in _FIXED and not (
            (kind == "flow_keys" and not number.mask) or (kind in ("flow_keys", "map_ptr") and number is ZERO and op == _ADD)
        ):
            raise Refusal(f"R{dst} pointer arithmetic on {pointer.kind_text} prohibited")
        self._check_sane(pointer, number)
        if op in (_ADD, _SUB):
            return self._moved(op, insn, pointer, number)
        if op in (_AND, _OR, _XOR):
            raise Refusal(f"R{dst} bitwise operator {_ALU_TEXT[op]} on pointer prohibited")
        raise Refusal(f"R{dst} pointer arithmetic with {_ALU_TEXT[op]} operator prohibited")

    def _moved(self, op: int, insn: Insn, pointer: Pointer, number: Scalar) -> Pointer:
        dst = insn.dst
        is_base_left = self.regs[dst] is pointer
        guard = None if self.is_spec_bypassed or not insn.code & 8 else self._sanitize_pointer(op, insn, pointer, number)
        if op == _SUB and not is_base_left:
            raise Refusal(f"R{dst} tried to subtract pointer from scalar")
        if op == _SUB and pointer.kind == "fp":
            raise Refusal(f"R{dst} subtraction from stack pointer prohibited")
        if not number.mask:
            off = pointer.off + (number.smin if op == _ADD else -number.smin)
            if not -MAX_VAR_OFF < off < MAX_VAR_OFF:
                raise Refusal(f"{pointer.kind_text} pointer offset {off} is not allowed")
            moved = pointer.placed(off, pointer.var, pointer.id, pointer.range)
        else:
            var = with_id(alu(op, pointer.var or ZERO, number, True), 0)
            is_packet = pointer.kind in ("pkt", "pkt_meta")
            range = pointer.range if op == _SUB and is_packet and number.smin >= 0 else 0
            moved = pointer.placed(pointer.off, var, self._new_id() if is_packet else pointer.id, range)
            self._check_sane_offset(moved, var)
        if not self.is_spec_bypassed:
            self._check_moved(insn, moved)
            if guard is not None:
                self._commit_guard(op, insn, moved, guard)
        return moved

    def _check_sane(self, pointer: Pointer, number: Scalar) -> None:
        """Neither what is added nor what it is added to is far off."""
        self._check_sane_offset(pointer, number)
        if pointer.var is not None:
            self._check_sane_offset(pointer, pointer.var)

    def _check_sane_offset(self, pointer: Pointer, number: Scalar) -> None:
        kind = pointer.kind_text
        if not number.mask:
            if not -MAX_VAR_OFF < number.smin < MAX_VAR_OFF:
                raise Refusal(f"math between {kind} pointer and {number.smin} is not allowed")
        elif number.plus is not None and not -MAX_VAR_OFF < number.plus[0] < MAX_VAR_OFF:
            raise Refusal(f"{kind} pointer offset {number.plus[0]} is not allowed")
        elif number.smin == -(1 << 63):
            raise Refusal(f"math between {kind} pointer and register with unbounded min value is not allowed")
        elif not -MAX_VAR_OFF < number.smin < MAX_VAR_OFF:
            raise Refusal(f"value {number.smin} makes {kind} pointer be out of bounds")

    # ---- defence against speculation: which sums are to be masked when code is made

    def _sanitize_numbers(self, op: int, insn: Insn) -> None:
        """A sum of numbers at a place where another path adds to a pointer cannot be masked both ways."""
        if op in (_ADD, _SUB) and insn.code & 8 and self.slot not in self.finding.nospec:
            self._note_mask(insn, op, NO_MASK)

    def _sanitize_pointer(self, op: int, insn: Insn, pointer: Pointer, number: Scalar) -> tuple[bool, bool, bool, int] | None:
        """Notes by how far a sum may go, and leaves the way on which the processor takes the sum for one of 0 for later.

        Source: kernel/bpf/verifier.c, sanitize_ptr_alu."""
        if self.slot in self.finding.nospec:
            return None
        is_dst = self.regs[insn.dst] is pointer
        is_to_left = (op == _ADD) == (number.smin < 0)
        guard = None
        if not self.state.is_speculative:
            if number.mask and (number.smin < 0) != (number.smax < 0):
                regno = insn.src if is_dst else insn.dst
                raise Refusal(f"R{regno} has unknown scalar with mixed signed bounds, {_NOT_FOR_ALL}")
            limit = self._limit(op, insn, pointer, is_to_left, is_dst)
            guard = (number.smin < 0, not number.mask, is_dst, limit)
        if number.mask:
            self._pruner.are_numbers_exact = True
            before = self.regs[insn.dst]
            self.regs[insn.dst] = pointer
            self._push_speculative(self.slot + 1)
            self.regs[insn.dst] = before
        return guard

    def _limit(self, op: int, insn: Insn, pointer: Pointer, is_to_left: bool, is_dst: bool) -> int:
        """How far the pointer may move that way within its memory."""
        if pointer.kind == "fp":
            most, limit = 512 + is_to_left, -(pointer.off + (pointer.var.value if pointer.var else 0))
        elif pointer.kind == "map_value":
            var = pointer.var or ZERO
            most, limit = pointer.size, pointer.off + (var.smin if is_to_left else var.umax)
        else:
            regno = insn.dst if is_dst else insn.src
            raise Refusal(f"R{regno} has pointer with unsupported alu operation, {_NOT_FOR_ALL}")
        if not 0 <= limit < most:
            raise Refusal(f"R{insn.dst} tried to {'add' if op == _ADD else 'sub'} beyond pointer bounds, {_NOT_FOR_ALL}")
        return limit

    def _check_moved(self, insn: Insn, moved: Pointer) -> None:
        """Without CAP_PERFMON a sum must stay within its memory, so that a mask can keep it there."""
        if moved.kind == "fp":
            self._check_plain_stack(insn.dst, moved)
        elif moved.kind == "map_value":
            self._check_moved_value(insn.dst, moved)

    def _check_plain_stack(self, regno: int, base: Pointer) -> None:
        if base.var is not None:
            off = (base.off + base.var.value + (1 << 31)) % (1 << 32) - (1 << 31)
            raise Refusal(
                f"R{regno} variable stack access prohibited for !root, var_off={tnum_text(base.var)} off={off}")
        if not -512 <= base.off < 0:
            raise Refusal(f"R{regno} stack pointer arithmetic goes out of range, prohibited for !root; off={base.off}")

    @abstractmethod
    def _check_moved_value(self, regno: int, moved: Pointer) -> None:
        """The same of a pointer to a map's value: the floor above knows what lies there."""

    def _commit_guard(self, op: int, insn: Insn, moved: Pointer, guard: tuple[bool, bool, bool, int]) -> None:
        is_negative, is_constant, is_dst, before = guard
        after = self._limit(op, insn, moved, (op == _ADD) == is_negative, is_dst)
        self._note_mask(insn, op, (is_negative, is_constant, is_dst, abs(before - after)))

    def _note_mask(self, insn: Insn, op: int, mask: tuple[bool, bool, bool, int]) -> None:
        if self.state.is_speculative:
            return
        if self.finding.masks.setdefault(self.slot, mask) != mask:
            raise Refusal(
                f"R{insn.dst} tried to {'add' if op == _ADD else 'sub'} from different maps, paths or scalars, {_NOT_FOR_ALL}")

    # ---- 64-bit immediates

    def _check_callback(self, index: int) -> None:
        """The function's address may be taken."""
        if self.static is None:
            raise Refusal("missing btf func_info")
        if index not in self.static:
            raise Refusal("callback function not static")
        if not index:
            raise Refusal("callback function cannot be the main program")

    def _kernel_variable(self, name: str) -> Pointer:
        """The address of one of the kernel's variables: those that types tell of are per CPU. Of a function nothing is read."""
        assert self.types is not None, "the name was looked up before"
        type = self.types.variable(name)
        if type is None:
            return Pointer("rdonly_mem")
        return Pointer("percpu_ptr", type=type.name if isinstance(type, Record) else "", size=type.size)

    def _load_immediate(self, insn: Insn) -> int:
        upper = self.insns[self.slot + 1].imm
        self.sources[insn.dst] = 0
        if insn.src == 0:
            self.regs[insn.dst] = const((upper & M32) << 32 | insn.imm & M32)
            return self.slot + 2
        if insn.src == PSEUDO_FUNC:
            self._check_callback(self.shape.function_of[self.slot + 1 + insn.imm])
            self.regs[insn.dst] = Pointer("func", frame=self.shape.function_of[self.slot + 1 + insn.imm])
            return self.slot + 2
        if insn.src == PSEUDO_BTF_ID:
            self.regs[insn.dst] = self._kernel_variable(self.program.kernel_variables[self.slot])
            return self.slot + 2
        spec = self.maps[insn.imm]
        if insn.src == PSEUDO_MAP_FD:
            self.regs[insn.dst] = Pointer("map_ptr", map=spec, fd=insn.imm)
            return self.slot + 2
        off = upper & M32
        if spec.type is MapType.ARENA:
            self.regs[insn.dst] = UNKNOWN
            return self.slot + 2
        self.regs[insn.dst] = Pointer("map_value", off=off, map=spec, fd=insn.imm, size=spec.value_size)
        return self.slot + 2
