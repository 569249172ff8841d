"""Loads, stores and atomics, as LLVM's text.

What the verifier calls the memory behind an access decides what it becomes. The stack, map values, ring records and
contexts are native memory and need one instruction; a field of a context that stands for an address is read from where
its 64 bits are; an arena's address counts from where its window begins; what is the kernel's is read by kernel_load,
which answers 0 where nothing is mapped, as Linux's exception tables do.

A checked program asks check_access before each access, and ends where it says no."""

from __future__ import annotations

from bcc_py.isa import PSEUDO_FUNC, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn
from bcc_py.jit.arith import Arithmetic
from bcc_py.jit.target import NativeMap

__all__ = ["BITS", "Memory", "function_name"]

BITS = {0x00: 32, 0x08: 16, 0x10: 8, 0x18: 64}  # the size bits of a load or store
_STX = 3
_ABS, _IND, _MEM, _MEMSX, _ATOMIC = 0x20, 0x40, 0x60, 0x80, 0xC0
_RMW = {0x00: "add", 0x40: "or", 0x50: "and", 0xA0: "xor", 0xE0: "xchg"}
_FETCH, _XCHG, _CMPXCHG, _LOAD_ACQUIRE, _STORE_RELEASE = 0x01, 0xE1, 0xF1, 0x100, 0x110
# what the verifier calls memory at an address of the simulated kernel
_KERNEL_KINDS = frozenset(("ptr", "trusted_ptr", "untrusted_ptr", "rcu_ptr", "percpu_ptr", "rdonly_untrusted_mem"))


def function_name(start: int) -> str:
    """Of the LLVM function that is made from the BPF function whose first slot this is."""
    return f"f{start}" if start else "enter"


class Memory(Arithmetic):
    """What touches memory."""

    def _emit_wide(self, slot: int, insn: Insn) -> None:
        high = self.insns[slot + 1].imm
        if insn.src == 0:
            self._set(insn.dst, self._constant((high & 0xFFFFFFFF) << 32 | insn.imm & 0xFFFFFFFF, 64))
        elif insn.src == PSEUDO_MAP_FD:
            self._map(slot, insn.imm)
            self._set(insn.dst, self._value(f"ptrtoint ptr @map_{self.map_numbers[insn.imm]} to i64"))
        elif insn.src == PSEUDO_MAP_VALUE:
            one = self._map(slot, insn.imm)
            if not one.is_array and not one.is_arena:
                raise self._refuse(slot, f"fd {insn.imm} is not an array: its values have no fixed address", "map value")
            values = self._value(f"ptrtoint ptr @values_{self.map_numbers[insn.imm]} to i64")
            self._set(insn.dst, self._value(f"add i64 {values}, {high & 0xFFFFFFFF}"))
        elif insn.src == PSEUDO_FUNC:
            self._set(insn.dst, self._value(f"ptrtoint ptr @{function_name(slot + 1 + insn.imm)} to i64"))
        else:
            raise self._refuse(slot, f"a 64-bit load of kind {insn.src} (the kernel's variables)", "pseudo load")

    def _map(self, slot: int, fd: int) -> NativeMap:
        if fd not in self.target.maps:
            raise self._refuse(slot, f"fd {fd} is not a map of this kernel", "map")
        return self.target.maps[fd]

    # -- places

    def _kinds(self, slot: int) -> set[str]:
        return set(self.program.memory_kinds.get(slot, "").split("|"))

    def _is_in_kernel(self, slot: int) -> bool:
        kinds = self._kinds(slot)
        if kinds & _KERNEL_KINDS and kinds - _KERNEL_KINDS:
            raise self._refuse(slot, f"memory of kinds {', '.join(sorted(kinds))} at one instruction", "pointer kind")
        return bool(kinds & _KERNEL_KINDS)

    def _place(self, slot: int, reg: int, off: int, bits: int) -> str:
        """Where an access goes, as a ptr. In a checked program the access is asked for first."""
        if reg in self.frame_at:
            place = self._frame_place(off + self.frame_at[reg])
        elif "arena" in self._kinds(slot):
            low = self._value(f"and i64 {self._get(reg)}, 4294967295")
            window = self._value(f"getelementptr i8, ptr @values_{self._arena_number()}, i64 {low}")
            place = self._value(f"getelementptr i8, ptr {window}, i64 {off}") if off else window
        else:
            base = self._value(f"inttoptr i64 {self._get(reg)} to ptr")
            place = self._value(f"getelementptr i8, ptr {base}, i64 {off}") if off else base
        if self.target.is_checked:
            self._check(slot, place, bits // 8)
        return place

    def _arena_number(self) -> int:
        return next(number for fd, number in self.map_numbers.items() if self.target.maps[fd].is_arena)

    def _check(self, slot: int, place: str, size: int) -> None:
        answer = self._service(slot, "check_access", self._value(f"ptrtoint ptr {place} to i64"), str(size), str(slot))
        self._leave_unless(self._value(f"icmp eq i64 {answer}, 0"))

    def _leave_unless(self, is_good: str) -> None:
        """In a checked program: the function ends here when it may not go on."""
        self.count += 1
        label = f"on{self.count}"
        self._line(f"br i1 {is_good}, label %{label}, label %fault")
        self.lines.append(f"{label}:")

    def _service(self, slot: int, name: str, *arguments: str) -> str:
        """A call of one of the runtime's own functions."""
        self.symbols[name] = f"declare i64 @{name}({', '.join(['ptr', *('i64' for _ in arguments)])})"
        self._knows_function(slot, name)
        return self._value(f"call i64 @{name}({', '.join(['ptr %cpu', *(f'i64 {one}' for one in arguments)])})")

    def _knows_function(self, slot: int, name: str) -> None:
        try:
            self.target.function(name)
        except LookupError:
            raise self._refuse(slot, f"the kernel has no {name}", name) from None

    # -- loads

    def _emit_load(self, slot: int, insn: Insn) -> None:
        mode, bits = insn.code & 0xE0, BITS[insn.code & 0x18]
        if mode not in (_MEM, _MEMSX):
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")
        extend = "sext" if mode == _MEMSX else "zext"
        if self._is_in_kernel(slot):
            address = self._value(f"add i64 {self._get(insn.src)}, {insn.off}")
            whole = self._service(slot, "kernel_load", address, str(bits // 8))
            self._set(insn.dst, whole if bits == 64 else self._value(f"trunc i64 {whole} to i{bits}"), bits, extend)
            return
        wide = self.target.wide_fields.get((insn.off, bits // 8)) if "ctx" in self._kinds(slot) else None
        if wide is not None:
            self._set(insn.dst, self._value(f"load i64, ptr {self._place(slot, insn.src, wide, 64)}, align 1"))
            return
        value = self._value(f"load i{bits}, ptr {self._place(slot, insn.src, insn.off, bits)}, align 1")
        self._set(insn.dst, value, bits, extend)

    def _emit_packet_load(self, slot: int, insn: Insn) -> None:
        """Classic BPF's load from the packet whose context is in r6; where it fails the function gives 0."""
        mode, bits = insn.code & 0xE0, BITS[insn.code & 0x18]
        if mode not in (_ABS, _IND) or bits == 64:
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")
        offset = self._constant(insn.imm, 32)
        if mode == _IND:
            offset = self._value(f"add i32 {offset}, {self._get(insn.src, 32)}")
        wide = self._value(f"sext i32 {offset} to i64")
        loaded = self._value("ptrtoint ptr %loaded to i64")
        answer = self._service(slot, "packet_load", self._get(6), wide, str(bits // 8), loaded)
        is_good = self._value(f"icmp eq i64 {answer}, 0")
        self.count += 1
        label = f"on{self.count}"
        self._line(f"br i1 {is_good}, label %{label}, label %nothing")
        self.lines.append(f"{label}:")
        self._set(0, self._value("load i64, ptr %loaded"))

    # -- stores

    def _emit_store(self, slot: int, insn: Insn, kind: int) -> None:
        bits = BITS[insn.code & 0x18]
        value = self._get(insn.src, bits) if kind == _STX else self._constant(insn.imm, bits)
        if self._is_in_kernel(slot):
            address = self._value(f"add i64 {self._get(insn.dst)}, {insn.off}")
            wide = value if bits == 64 else self._value(f"zext i{bits} {value} to i64")
            self._service(slot, "kernel_store", address, str(bits // 8), wide)
        else:
            self._line(f"store i{bits} {value}, ptr {self._place(slot, insn.dst, insn.off, bits)}, align 1")

    def _emit_atomic(self, slot: int, insn: Insn) -> None:
        bits, op = BITS[insn.code & 0x18], insn.imm
        align = f"align {bits // 8}"
        if self._is_in_kernel(slot):
            raise self._refuse(slot, "an atomic operation on the kernel's memory", "atomic")
        if op == _LOAD_ACQUIRE:
            place = self._place(slot, insn.src, insn.off, bits)
            self._set(insn.dst, self._value(f"load atomic i{bits}, ptr {place} acquire, {align}"), bits)
            return
        place = self._place(slot, insn.dst, insn.off, bits)
        if op == _STORE_RELEASE:
            self._line(f"store atomic i{bits} {self._get(insn.src, bits)}, ptr {place} release, {align}")
        elif op == _CMPXCHG:
            expected, new = self._get(0, bits), self._get(insn.src, bits)
            pair = self._value(f"cmpxchg ptr {place}, i{bits} {expected}, i{bits} {new} seq_cst seq_cst, {align}")
            self._set(0, self._value(f"extractvalue {{ i{bits}, i1 }} {pair}, 0"), bits)
        elif op & ~_FETCH in _RMW and op != _XCHG & ~_FETCH and bits >= 32:
            # without a result an operation orders nothing (Documentation/bpf/standardization, and LKMM's atomics)
            order = "seq_cst" if op & _FETCH else "monotonic"
            verb = _RMW[op & ~_FETCH]
            old = self._value(f"atomicrmw {verb} ptr {place}, i{bits} {self._get(insn.src, bits)} {order}, {align}")
            if op & _FETCH:
                self._set(insn.src, old, bits)
        else:
            raise self._refuse(slot, f"unknown atomic operation {op:#x}", "opcode")
