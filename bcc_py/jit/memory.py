"""Loads, stores and atomics, as LLVM's text.

What the verifier calls the memory behind an access decides what it becomes. The stack, map values, ring records and
contexts are native memory and need one instruction; a field of a context that stands for an address is read from where
its 64 bits are; an arena's address counts from where its window begins, and is accessed if the page is there: otherwise a
load gives 0 and nothing else happens; what is the kernel's is read by kernel_load,
which answers 0 where nothing is mapped, as Linux's exception tables do.

A checked program asks check_access before each access, and ends where it says no."""

from __future__ import annotations

from collections.abc import Callable

from bcc_py.isa import PSEUDO_FUNC, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn
from bcc_py.jit.arith import Arithmetic
from bcc_py.jit.target import NativeMap

__all__ = ["BITS", "Memory", "function_name"]

BITS = {0x00: 32, 0x08: 16, 0x10: 8, 0x18: 64}  # the size bits of a load or store
_STX = 3
_PAGE = 4096
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
            symbol = f"@{'user' if one.is_arena else 'values'}_{self.map_numbers[insn.imm]}"
            values = self._value(f"ptrtoint ptr {symbol} to i64")
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
        else:
            base = self._value(f"inttoptr i64 {self._get(reg)} to ptr")
            place = self._value(f"getelementptr i8, ptr {base}, i64 {off}") if off else base
        if self.target.is_checked:
            self._check(slot, place, bits // 8)
        return place

    # -- arenas

    def _in_arena(self, slot: int, reg: int, off: int, bits: int, access: Callable[[str], None], otherwise: str = "") -> None:
        """access, given the place, if all of it lies in pages that are there; otherwise that line. The arena's table says so of
        a page; where it says no, and of an access over a page's edge, arena_has is asked."""
        number, arena = self._arena()
        low = self._value(f"and i64 {self._get(reg)}, 4294967295")
        at = self._value(f"add i64 {low}, {off}") if off else low
        entry = self._value(f"add i64 {self._value(f'ashr i64 {at}, 12')}, {-arena.table_bytes}")
        there = self._value(f"load atomic i8, ptr {self._value(f'getelementptr i8, ptr @values_{number}, i64 {entry}')} unordered, align 1")
        is_there = self._value(f"icmp ne i8 {there}, 0")
        if bits > 8:
            is_whole = self._value(f"icmp ule i64 {self._value(f'and i64 {at}, {_PAGE - 1}')}, {_PAGE - bits // 8}")
            is_there = self._value(f"and i1 {is_there}, {is_whole}")
        place = self._value(f"getelementptr i8, ptr @values_{number}, i64 {at}")
        self.count += 1
        go, ask, lacks, on = (f"{word}{self.count}" for word in ("go", "ask", "lacks", "on"))
        self._line(f"br i1 {is_there}, label %{go}, label %{ask}")
        self.lines.append(f"{ask}:")
        has = self._value(f"icmp ne i64 {self._ask_arena(slot, number, at, bits // 8)}, 0")
        self._line(f"br i1 {has}, label %{go}, label %{lacks}")
        self.lines.append(f"{lacks}:")
        if self.target.is_checked:
            self._service(slot, "arena_fault", f"ptrtoint (ptr @map_{number} to i64)", at, str(bits // 8), str(slot))
            self._line("br label %fault")
        else:
            self.lines.append(otherwise)
            self._line(f"br label %{on}")
        self.lines.append(f"{go}:")
        access(place)
        self._line(f"br label %{on}")
        self.lines.append(f"{on}:")

    def _ask_arena(self, slot: int, number: int, at: str, size: int) -> str:
        """A call that is seldom made."""
        self.symbols["arena_has"] = "declare i64 @arena_has(ptr, ptr, i64, i64) cold"
        self._knows_function(slot, "arena_has")
        return self._value(f"call i64 @arena_has(ptr %cpu, ptr @map_{number}, i64 {at}, i64 {size})")

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
        if "arena" in self._kinds(slot):
            self._in_arena(slot, insn.src, insn.off, bits, lambda place: self._load_from(insn, place, bits, extend),
                           f"  store i64 0, ptr %r{insn.dst}")
            return
        wide = self.target.wide_fields.get((insn.off, bits // 8)) if "ctx" in self._kinds(slot) else None
        if wide is not None:
            self._set(insn.dst, self._value(f"load i64, ptr {self._place(slot, insn.src, wide, 64)}, align 1"))
            return
        self._load_from(insn, self._place(slot, insn.src, insn.off, bits), bits, extend)

    def _load_from(self, insn: Insn, place: str, bits: int, extend: str) -> None:
        self._set(insn.dst, self._value(f"load i{bits}, ptr {place}, align 1"), bits, extend)

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
        elif "arena" in self._kinds(slot):
            self._in_arena(slot, insn.dst, insn.off, bits, lambda place: self._line(f"store i{bits} {value}, ptr {place}, align 1"))
        else:
            self._line(f"store i{bits} {value}, ptr {self._place(slot, insn.dst, insn.off, bits)}, align 1")

    def _emit_atomic(self, slot: int, insn: Insn) -> None:
        bits = BITS[insn.code & 0x18]
        if self._is_in_kernel(slot):
            raise self._refuse(slot, "an atomic operation on the kernel's memory", "atomic")
        reg = insn.src if insn.imm == _LOAD_ACQUIRE else insn.dst
        if "arena" in self._kinds(slot):
            self._in_arena(slot, reg, insn.off, bits, lambda place: self._atomic_at(slot, insn, place, bits))
        else:
            self._atomic_at(slot, insn, self._place(slot, reg, insn.off, bits), bits)

    def _atomic_at(self, slot: int, insn: Insn, place: str, bits: int) -> None:
        op, align = insn.imm, f"align {bits // 8}"
        if op == _LOAD_ACQUIRE:
            self._set(insn.dst, self._value(f"load atomic i{bits}, ptr {place} acquire, {align}"), bits)
        elif op == _STORE_RELEASE:
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
