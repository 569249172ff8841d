"""Registers and arithmetic, as LLVM's text.

Arithmetic follows RFC 9669 exactly: division by zero gives 0, modulo by zero leaves the destination, INT_MIN / -1 is
INT_MIN, shifts use the low 5 or 6 bits of the count.

A register is a 64-bit slot on the native stack, which LLVM turns into a value. In a hardened program a constant is the
sum of two, of which one is random and LLVM may not know the other; and a sum of a pointer and a number that the verifier
marked is held within the pointer's memory by a mask, whatever the processor speculates
(kernel/bpf/verifier.c, do_misc_fixups)."""

from __future__ import annotations

import secrets

from bcc_py.errors import NotSupportedError
from bcc_py.isa import Insn
from bcc_py.jit.target import Extent, NativeMap, NativeTarget, Verified

__all__ = ["STACK_BYTES", "Arithmetic", "signed"]

STACK_BYTES = 512

_REG = 0x08  # operand is a register
_ALU64 = 7
_PLAIN = {0x00: "add", 0x10: "sub", 0x20: "mul", 0x40: "or", 0x50: "and", 0xA0: "xor"}
_SHIFT = {0x60: "shl", 0x70: "lshr", 0xC0: "ashr"}
_ADD, _SUB, _DIV, _NEG, _MOD, _MOV, _END = 0x00, 0x10, 0x30, 0x80, 0x90, 0xB0, 0xD0
_CAST, _TO_KERNEL = 1, 1  # a move's offset that makes it one between address spaces, and its imm for one to the kernel's
_M32, _M64 = 0xFFFFFFFF, (1 << 64) - 1


def signed(value: int, bits: int) -> int:
    """value's low bits, read as a signed number."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


class Arithmetic:
    """One BPF function, slots start <= n < end. lines grows; every _emit_* method appends and returns nothing.

    frame_at: register -> place relative to the frame's top that it holds, as known within a block."""

    def __init__(self, program: Verified, extent: Extent, target: NativeTarget, map_numbers: dict[int, int]) -> None:
        self.program = program
        self.name = program.spec.name
        self.insns = program.insns
        self.start = extent.start
        self.end = extent.end
        self.stack_bytes = min(max(extent.stack_bytes, 0), STACK_BYTES)
        self.target = target
        self.map_numbers = map_numbers
        self.lines: list[str] = []
        self.count = 0
        self.frame_at: dict[int, int] = {}
        self.symbols: dict[str, str] = {}  # name -> declaration, of what the function calls

    def _line(self, text: str) -> None:
        self.lines.append("  " + text)

    def _value(self, text: str) -> str:
        self.count += 1
        self._line(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def _refuse(self, slot: int, what: str, feature: str) -> NotSupportedError:
        return NotSupportedError(f"compiling {self.name} for the simulated kernel: insn {slot}: {what}", feature)

    # -- registers

    def _get(self, reg: int, bits: int = 64) -> str:
        if reg in self.frame_at:
            whole = self._value(f"ptrtoint ptr {self._frame_place(self.frame_at[reg])} to i64")
        else:
            whole = self._value(f"load i64, ptr %r{reg}")
        return whole if bits == 64 else self._value(f"trunc i64 {whole} to i{bits}")

    def _set(self, reg: int, value: str, bits: int = 64, extend: str = "zext") -> None:
        if bits < 64:
            value = self._value(f"{extend} i{bits} {value} to i64")
        self._line(f"store i64 {value}, ptr %r{reg}")
        self.frame_at.pop(reg, None)

    def _set_frame(self, reg: int, off: int) -> None:
        """reg holds this place of the frame from now on; LLVM drops the number if nobody needs it."""
        place = self._value(f"ptrtoint ptr {self._frame_place(off)} to i64")
        self._line(f"store i64 {place}, ptr %r{reg}")
        self.frame_at[reg] = off

    def _frame_place(self, off: int) -> str:
        return self._value(f"getelementptr i8, ptr %stack, i64 {STACK_BYTES + off}")

    def _constant(self, value: int, bits: int) -> str:
        value = signed(value, bits)
        if not self.target.is_hardened:
            return str(value)
        key = secrets.randbits(bits)
        hidden = self._opaque(str(signed((value ^ key) & _M64, bits)), bits)
        return self._value(f"xor i{bits} {hidden}, {signed(key, bits)}")

    def _opaque(self, value: str, bits: int = 64) -> str:
        """value, of which LLVM knows nothing any more."""
        return self._value(f'call i{bits} asm sideeffect "", "=r,0"(i{bits} {value})')

    def _operand(self, insn: Insn, bits: int) -> str:
        return self._get(insn.src, bits) if insn.code & _REG else self._constant(insn.imm, bits)

    # -- one instruction

    def _emit_alu(self, slot: int, insn: Insn, bits: int) -> None:
        op = insn.code & 0xF0
        if op == _END:
            self._emit_swap(slot, insn, bits)
        elif op == _MOV:
            self._emit_move(insn, bits)
        elif op == _NEG:
            self._set(insn.dst, self._value(f"sub i{bits} 0, {self._get(insn.dst, bits)}"), bits)
        elif op in (_DIV, _MOD):
            self._set(insn.dst, self._divide(insn, bits), bits)
        elif op in _SHIFT:
            count = self._operand(insn, bits)
            masked = self._value(f"and i{bits} {count}, {bits - 1}")
            self._set(insn.dst, self._value(f"{_SHIFT[op]} i{bits} {self._get(insn.dst, bits)}, {masked}"), bits)
        elif op in _PLAIN:
            self._emit_plain(slot, insn, bits)
        else:
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")

    def _emit_plain(self, slot: int, insn: Insn, bits: int) -> None:
        op = insn.code & 0xF0
        if insn.dst in self.frame_at and not insn.code & _REG and bits == 64 and op in (_ADD, _SUB):
            self._set_frame(insn.dst, self.frame_at[insn.dst] + (insn.imm if op == _ADD else -insn.imm))
            return
        mask = self.program.masks.get(slot) if bits == 64 and insn.code & _REG and op in (_ADD, _SUB) else None
        if mask is not None:
            self._emit_masked(insn, op, mask)
            return
        other = self._operand(insn, bits)
        self._set(insn.dst, self._value(f"{_PLAIN[op]} i{bits} {self._get(insn.dst, bits)}, {other}"), bits)

    def _emit_masked(self, insn: Insn, op: int, mask: tuple[bool, bool, bool, int]) -> None:
        """dst = pointer +- number where the number is made 0 unless it lies in 0..limit (or -limit..0)."""
        is_negative, is_constant, is_dst, limit = mask
        pointer, number = self._get(insn.dst), self._get(insn.src)
        if not is_dst:
            pointer, number = number, pointer
        number = self._opaque(number)
        if is_constant:
            far = str(limit)
        else:
            size = self._value(f"sub i64 0, {number}") if is_negative else number
            room = self._value(f"or i64 {self._value(f'sub i64 {limit}, {size}')}, {size}")
            keep = self._value(f"ashr i64 {self._value(f'sub i64 0, {room}')}, 63")
            far = self._value(f"and i64 {size}, {keep}")
        verb = {(_ADD, False): "add", (_ADD, True): "sub", (_SUB, False): "sub", (_SUB, True): "add"}[op, is_negative]
        self._set(insn.dst, self._value(f"{verb} i64 {pointer}, {far}"))

    def _emit_move(self, insn: Insn, bits: int) -> None:
        if not insn.code & _REG:
            self._set(insn.dst, self._constant(insn.imm, bits), bits)
        elif insn.off == _CAST and bits == 64:
            self._emit_cast(insn)
        elif insn.off in (8, 16, 32):
            narrow = self._get(insn.src, insn.off)
            self._set(insn.dst, self._value(f"sext i{insn.off} {narrow} to i{bits}") if insn.off < bits else narrow, bits)
        elif bits == 64 and insn.src in self.frame_at:
            self._set_frame(insn.dst, self.frame_at[insn.src])
        else:
            self._set(insn.dst, self._get(insn.src, bits), bits)

    def _emit_cast(self, insn: Insn) -> None:
        """Between the addresses of an arena as the program has them (32 bits count) and as a process does."""
        low = self._value(f"and i64 {self._get(insn.src)}, {_M32}")
        number, arena = self._arena()
        if insn.imm == _TO_KERNEL or not arena.is_converted:
            self._set(insn.dst, low)
            return
        high = self._value(f"and i64 ptrtoint (ptr @user_{number} to i64), {~_M32}")
        whole = self._value(f"or i64 {low}, {high}")
        is_null = self._value(f"icmp eq i64 {low}, 0")
        self._set(insn.dst, self._value(f"select i1 {is_null}, i64 0, i64 {whole}"))

    def _arena(self) -> tuple[int, NativeMap]:
        """The program's arena, with its number."""
        return next((number, one) for fd, number in self.map_numbers.items() if (one := self.target.maps[fd]).is_arena)

    def _divide(self, insn: Insn, bits: int) -> str:
        """RFC 9669, 4.1: no trap, whatever the divisor."""
        is_mod, is_signed = insn.code & 0xF0 == _MOD, insn.off == 1
        over, under = self._get(insn.dst, bits), self._operand(insn, bits)
        is_zero = self._value(f"icmp eq i{bits} {under}, 0")
        bad = is_zero
        if is_signed:
            is_minus = self._value(f"icmp eq i{bits} {under}, -1")
            bad = self._value(f"or i1 {is_zero}, {is_minus}")
        safe = self._value(f"select i1 {bad}, i{bits} 1, i{bits} {under}")
        verb = ("s" if is_signed else "u") + ("rem" if is_mod else "div")
        result = self._value(f"{verb} i{bits} {over}, {safe}")
        if is_signed and not is_mod:
            negative = self._value(f"sub i{bits} 0, {over}")
            result = self._value(f"select i1 {is_minus}, i{bits} {negative}, i{bits} {result}")
        if_zero = over if is_mod else "0"
        return self._value(f"select i1 {is_zero}, i{bits} {if_zero}, i{bits} {result}")

    def _emit_swap(self, slot: int, insn: Insn, bits: int) -> None:
        width = insn.imm
        if width not in (16, 32, 64):
            raise self._refuse(slot, f"byte swap of {width} bits", "opcode")
        value = self._get(insn.dst, width)
        if bits == 64 or insn.code & _REG:  # bswap, or to big endian; the hosts are little endian
            value = self._value(f"call i{width} @llvm.bswap.i{width}(i{width} {value})")
        self._set(insn.dst, value, width)
