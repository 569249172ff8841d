"""Verified BPF -> native code, through LLVM; and the linking of native objects.

Input: a VerifiedProgram (anything with .spec and .insns: slots whose map loads name fds) and a
NativeTarget: where the kernel's helpers, its maps and its state are in this process. Output: a
NativeProgram, whose run(ctx) is one call into machine code.

Invariant: what the verifier proved is all that keeps the code in bounds; nothing is checked again here.
What the verifier does not decide (arithmetic) follows RFC 9669 exactly: division by zero gives 0, modulo
by zero leaves the destination, INT_MIN / -1 is INT_MIN, shifts use the low 5 or 6 bits of the count.
A BPF pointer is a native pointer.

Algorithm: each BPF function becomes an LLVM function with a 64-bit stack slot for each register and 512
bytes of stack, of which the used ones are zeroed (so that what a program sends without having written it
is the same in every run); LLVM's O2 pipeline turns the slots into values. A helper is a direct call to its
address with the CPU as the first argument; a look-up in an array whose map is known at the call is
inlined. Code pages are not writable once linked (LLVM's own memory manager sees to it).

What it cannot compile it refuses with NotSupportedError before any code exists: callbacks, kernel
functions, packet loads of classic BPF, helpers the target lacks."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cffi

from bcc_py.errors import LoadError, NotSupportedError
from bcc_py.isa import PSEUDO_CALL, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn
from bcc_py.spec import ProgramSpec
from cfront.uapi import HELPER_IDS

__all__ = ["NativeHelper", "NativeLibrary", "NativeMap", "NativeProgram", "NativeTarget", "Verified", "compile_program",
           "host_name", "llvm_ir", "native_assembly"]

STACK_BYTES = 512
_OBJECT_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe")  # ELF, Mach-O

_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
_BITS = {0x00: 32, 0x08: 16, 0x10: 8, 0x18: 64}  # the size bits of a load or store
_IMM, _ABS, _IND, _MEM, _MEMSX, _ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0
_LDDW, _CALL, _EXIT, _JA, _JA32 = 0x18, 0x85, 0x95, 0x05, 0x06
_REG = 0x08  # operand is a register

_PLAIN = {0x00: "add", 0x10: "sub", 0x20: "mul", 0x40: "or", 0x50: "and", 0xA0: "xor"}
_SHIFT = {0x60: "shl", 0x70: "lshr", 0xC0: "ashr"}
_DIV, _NEG, _MOD, _MOV, _END = 0x30, 0x80, 0x90, 0xB0, 0xD0
_COMPARE = {0x10: "eq", 0x20: "ugt", 0x30: "uge", 0x50: "ne", 0x60: "sgt", 0x70: "sge", 0xA0: "ult", 0xB0: "ule",
            0xC0: "slt", 0xD0: "sle"}
_JSET = 0x40
_RMW = {0x00: "add", 0x40: "or", 0x50: "and", 0xA0: "xor", 0xE0: "xchg"}
_FETCH, _XCHG, _CMPXCHG, _LOAD_ACQUIRE, _STORE_RELEASE = 0x01, 0xE1, 0xF1, 0x100, 0x110

_HELPER_NAMES = {number: name for name, number in HELPER_IDS.items()}
_MAP_LOOKUP = HELPER_IDS["map_lookup_elem"]

_ffi = cffi.FFI()
_lock = threading.Lock()
_is_ready = False


class Extent(Protocol):
    """A function: slots start to end (exclusive) and the bytes of stack it uses."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def stack_bytes(self) -> int: ...


class Verified(Protocol):
    """What the JIT asks of a verified program. functions: ascending, the main one first. reached: the slots that
    some path executes; no code is made for others."""

    @property
    def spec(self) -> ProgramSpec: ...
    @property
    def insns(self) -> Sequence[Insn]: ...
    @property
    def functions(self) -> Sequence[Extent]: ...
    @property
    def reached(self) -> frozenset[int]: ...


@dataclass(frozen=True, slots=True)
class NativeHelper:
    """A helper's machine code. It takes the CPU and then arity arguments."""

    address: int
    arity: int


@dataclass(frozen=True, slots=True)
class NativeMap:
    """A map in this process. address: what helpers take. An array also says where its values are, how far
    apart its slots are and, if per CPU, how far apart a slot's values are, all in bytes."""

    address: int
    is_array: bool = False
    values: int = 0
    max_entries: int = 0
    slot_size: int = 0
    cpu_stride: int = 0


@dataclass(frozen=True, slots=True)
class NativeTarget:
    """The kernel that code is compiled for. Code runs on a CPU of it, a struct that every helper gets first.
    stack_top: the place in that struct where the entry stores the address its stack frames are below; number: the
    place of the CPU's number (u32); both in bytes."""

    stack_top: int
    number: int
    helpers: Mapping[int, NativeHelper]
    maps: Mapping[int, NativeMap]


def _llvm() -> Any:
    """llvmlite's binding, imported when code is first made: a program on the real kernel needs none."""
    return importlib.import_module("llvmlite.binding")


def _prepare() -> None:
    global _is_ready
    with _lock:
        if not _is_ready:
            _llvm().initialize_native_target()
            _llvm().initialize_native_asmprinter()
            _is_ready = True


def host_name() -> str:
    """The machine code is made for, in words that differ when the code would: triple, CPU, LLVM version."""
    version = ".".join(map(str, _llvm().llvm_version_info))
    return f"{_llvm().get_process_triple()} {_llvm().get_host_cpu_name()} llvm-{version}"


def _target_machine() -> Any:
    _prepare()
    target = _llvm().Target.from_triple(_llvm().get_process_triple())
    features = _llvm().get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=_llvm().get_host_cpu_name(), features=features, opt=2, jit=True)


class NativeLibrary:
    """Machine code in this process, from a relocatable object (ELF on Linux). Symbols that the object lacks
    are looked for in the process (memcpy and its like).

    The object must come from our own compiler: LLVM trusts what is in it. Raises LoadError for bytes that are no
    object at all."""

    def __init__(self, content: bytes) -> None:
        if content[:4] not in _OBJECT_MAGIC:  # LLVM ends the process on anything else
            raise LoadError(f"linking a native object: it begins with {content[:4]!r}")
        machine = _target_machine()
        empty = _llvm().parse_assembly("")
        empty.triple = _llvm().get_process_triple()
        self._engine: Any = _llvm().create_mcjit_compiler(empty, machine)
        self._engine.add_object_file(_llvm().ObjectFileRef.from_data(content))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where the function is. Raises LoadError if there is none."""
        where = int(self._engine.get_function_address(name))
        if not where:
            raise LoadError(f"linking a native object: it has no function {name}")
        return where


class NativeProgram:
    """Machine code of one program. run may be called until close; target's kernel must be alive."""

    def __init__(self, spec: ProgramSpec, engine: Any) -> None:
        self.spec = spec
        self._engine: Any = engine
        self._entry: Any = _ffi.cast("unsigned long long (*)(unsigned long long, unsigned long long)", engine.get_function_address("run"))
        self._repeat: Any = _ffi.cast(
            "unsigned long long (*)(unsigned long long, unsigned long long, unsigned long long)",
            engine.get_function_address("repeat"))

    def run(self, cpu_address: int, ctx_address: int) -> int:
        """r0 (64 bits) of one run on this CPU, on the context at this native address."""
        return int(self._entry(cpu_address, ctx_address))

    def repeat(self, cpu_address: int, ctx_address: int, count: int) -> int:
        """r0 of the last of count runs (at least one), without Python in between."""
        return int(self._repeat(cpu_address, ctx_address, count))

    def close(self) -> None:
        """Gives the code back. Idempotent."""
        self._entry = self._repeat = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def compile_program(program: Verified, target: NativeTarget) -> NativeProgram:
    """Machine code for program on target. Raises NotSupportedError for what has no native form."""
    machine = _target_machine()
    module = _llvm().parse_assembly(llvm_ir(program, target))
    module.triple = _llvm().get_process_triple()
    module.data_layout = str(machine.target_data)
    _optimise(module, machine)
    engine = _llvm().create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return NativeProgram(program.spec, engine)


def native_assembly(program: Verified, target: NativeTarget) -> str:
    """The assembly text compile_program would link, for people."""
    machine = _target_machine()
    module = _llvm().parse_assembly(llvm_ir(program, target))
    module.triple = _llvm().get_process_triple()
    _optimise(module, machine)
    return str(machine.emit_assembly(module))


def _optimise(module: Any, machine: Any) -> None:
    options = _llvm().create_pipeline_tuning_options(speed_level=2)
    builder = _llvm().create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def llvm_ir(program: Verified, target: NativeTarget) -> str:
    """LLVM's text for the whole program: @run(ctx), and a function for each BPF function."""
    texts = [_Function(program, extent, target).text() for extent in program.functions]
    return "\n".join([
        *(f"declare i{bits} @llvm.bswap.i{bits}(i{bits})" for bits in (16, 32, 64)),
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        "declare ptr @llvm.frameaddress.p0(i32)",
        "define i64 @run(i64 %cpu, i64 %ctx) nounwind noinline {",
        "  %frame = call ptr @llvm.frameaddress.p0(i32 0)",
        "  %top = ptrtoint ptr %frame to i64",
        f"  %place = add i64 %cpu, {target.stack_top}",
        "  %stack_top = inttoptr i64 %place to ptr",
        "  store i64 %top, ptr %stack_top",
        "  %r0 = call i64 @f0(i64 %cpu, i64 %ctx, i64 0, i64 0, i64 0, i64 0)",
        "  ret i64 %r0",
        "}",
        "define i64 @repeat(i64 %cpu, i64 %ctx, i64 %count) nounwind {",
        "  br label %again",
        "again:",
        "  %done = phi i64 [0, %0], [%more, %again]",
        "  %r0 = call i64 @run(i64 %cpu, i64 %ctx)",
        "  %more = add i64 %done, 1",
        "  %is_over = icmp uge i64 %more, %count",
        "  br i1 %is_over, label %end, label %again",
        "end:",
        "  ret i64 %r0",
        "}",
        *texts,
    ])


class _Function:
    """One BPF function, slots start <= n < end. lines grows; every _emit_* method appends and returns nothing."""

    def __init__(self, program: Verified, extent: Extent, target: NativeTarget) -> None:
        self.program = program.spec.name
        self.insns = program.insns
        self.reached = program.reached
        self.start = extent.start
        self.end = extent.end
        self.stack_bytes = min(max(extent.stack_bytes, 0), STACK_BYTES)
        self.target = target
        self.lines: list[str] = []
        self.count = 0
        self.known_maps: dict[int, int] = {}  # register -> fd, within a block

    def text(self) -> str:
        leaders = self._leaders()
        self._emit_entry()
        slot, is_open = self.start, True
        while slot < self.end:
            if slot in leaders:
                if is_open:
                    self._line(f"br label %b{slot}")
                self.lines.append(f"b{slot}:")
                self.known_maps.clear()
                is_open = True
            insn = self.insns[slot]
            if is_open and slot not in self.reached:
                self._line("ret i64 0")
                is_open = False
            elif is_open:
                is_open = self._emit(slot, insn)
            slot += 2 if insn.code == _LDDW else 1
        if is_open:
            self._line("ret i64 0")
        self.lines.append("}")
        return "\n".join(self.lines)

    # -- shape

    def _leaders(self) -> set[int]:
        leaders = {self.start}
        for slot in range(self.start, self.end):
            one = self.insns[slot]
            if one.code & 7 in (_JMP, _JMP32) and one.code not in (_CALL, _EXIT):
                leaders.add(self._jump_target(slot, one))
                leaders.add(slot + 1)
        leaders.discard(self.end)
        return leaders

    @staticmethod
    def _jump_target(slot: int, insn: Insn) -> int:
        return slot + 1 + (insn.imm if insn.code == _JA32 else insn.off)

    def _emit_entry(self) -> None:
        arguments = ", ".join(["i64 %cpu", *(f"i64 %a{n}" for n in range(1, 6))])
        self.lines.append(f"define internal i64 @f{self.start}({arguments}) nounwind {{")
        self.lines.append("entry:")
        for n in range(11):
            self._line(f"%r{n} = alloca i64, align 8")
        self._line(f"%stack = alloca [{STACK_BYTES} x i8], align 16")
        self._line(f"%used = getelementptr i8, ptr %stack, i64 {STACK_BYTES - self.stack_bytes}")
        self._line(f"call void @llvm.memset.p0.i64(ptr align 8 %used, i8 0, i64 {self.stack_bytes}, i1 false)")
        for n in range(10):
            self._line(f"store i64 {f'%a{n}' if 1 <= n <= 5 else 0}, ptr %r{n}")
        self._line(f"%stack_end = getelementptr i8, ptr %stack, i64 {STACK_BYTES}")
        self._line("%fp = ptrtoint ptr %stack_end to i64")
        self._line("store i64 %fp, ptr %r10")

    def _line(self, text: str) -> None:
        self.lines.append("  " + text)

    def _value(self, text: str) -> str:
        self.count += 1
        self._line(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def _refuse(self, slot: int, what: str, feature: str) -> NotSupportedError:
        message = f"compiling {self.program} for the simulated kernel: insn {slot}: {what}"
        return NotSupportedError(message, feature)

    # -- registers and memory

    def _get(self, reg: int, bits: int = 64) -> str:
        whole = self._value(f"load i64, ptr %r{reg}")
        return whole if bits == 64 else self._value(f"trunc i64 {whole} to i{bits}")

    def _set(self, reg: int, value: str, bits: int = 64, extend: str = "zext") -> None:
        if bits < 64:
            value = self._value(f"{extend} i{bits} {value} to i64")
        self._line(f"store i64 {value}, ptr %r{reg}")
        self.known_maps.pop(reg, None)

    def _place(self, reg: int, off: int) -> str:
        if reg == 10:
            return self._value(f"getelementptr i8, ptr %stack, i64 {STACK_BYTES + off}")
        base = self._value(f"inttoptr i64 {self._get(reg)} to ptr")
        return self._value(f"getelementptr i8, ptr {base}, i64 {off}") if off else base

    def _operand(self, insn: Insn, bits: int) -> str:
        return self._get(insn.src, bits) if insn.code & _REG else str(insn.imm)

    # -- one instruction; whether control goes on to the next

    def _emit(self, slot: int, insn: Insn) -> bool:
        kind = insn.code & 7
        if kind in (_ALU, _ALU64):
            self._emit_alu(slot, insn, 64 if kind == _ALU64 else 32)
        elif kind in (_JMP, _JMP32):
            return self._emit_jump(slot, insn, 64 if kind == _JMP else 32)
        elif kind == _LD:
            self._emit_wide(slot, insn)
        elif kind == _LDX:
            self._emit_load(slot, insn)
        elif insn.code & 0xE0 == _MEM:
            self._emit_store(insn, kind)
        elif kind == _STX and insn.code & 0xE0 == _ATOMIC:
            self._emit_atomic(slot, insn)
        else:
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")
        return True

    def _emit_wide(self, slot: int, insn: Insn) -> None:
        if insn.code != _LDDW:
            raise self._refuse(slot, "classic BPF packet loads are not there (use direct packet access)", "ld_abs")
        high = self.insns[slot + 1].imm
        if insn.src == 0:
            self._set(insn.dst, str((high & 0xFFFFFFFF) << 32 | insn.imm & 0xFFFFFFFF))
        elif insn.src == PSEUDO_MAP_FD:
            self._set(insn.dst, str(self._map(slot, insn.imm).address))
            self.known_maps[insn.dst] = insn.imm
        elif insn.src == PSEUDO_MAP_VALUE:
            one = self._map(slot, insn.imm)
            if not one.is_array:
                raise self._refuse(slot, f"fd {insn.imm} is not an array: its values have no fixed address", "map value")
            self._set(insn.dst, str(one.values + (high & 0xFFFFFFFF)))
        else:
            raise self._refuse(slot, f"a 64-bit load of kind {insn.src} (callbacks and kernel variables)", "pseudo load")

    def _map(self, slot: int, fd: int) -> NativeMap:
        if fd not in self.target.maps:
            raise self._refuse(slot, f"fd {fd} is not a map of this kernel", "map")
        return self.target.maps[fd]

    # -- arithmetic

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
            other = self._operand(insn, bits)
            self._set(insn.dst, self._value(f"{_PLAIN[op]} i{bits} {self._get(insn.dst, bits)}, {other}"), bits)
        else:
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")

    def _emit_move(self, insn: Insn, bits: int) -> None:
        if not insn.code & _REG:
            self._set(insn.dst, str(insn.imm), bits)
            return
        known = self.known_maps.get(insn.src)
        if insn.off in (8, 16, 32):
            narrow = self._get(insn.src, insn.off)
            self._set(insn.dst, self._value(f"sext i{insn.off} {narrow} to i{bits}") if insn.off < bits else narrow, bits)
        else:
            self._set(insn.dst, self._get(insn.src, bits), bits)
            if bits == 64 and known is not None:
                self.known_maps[insn.dst] = known

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

    # -- loads and stores

    def _emit_load(self, slot: int, insn: Insn) -> None:
        mode, bits = insn.code & 0xE0, _BITS[insn.code & 0x18]
        if mode not in (_MEM, _MEMSX):
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")
        value = self._value(f"load i{bits}, ptr {self._place(insn.src, insn.off)}, align 1")
        self._set(insn.dst, value, bits, "sext" if mode == _MEMSX else "zext")

    def _emit_store(self, insn: Insn, kind: int) -> None:
        bits = _BITS[insn.code & 0x18]
        value = self._get(insn.src, bits) if kind == _STX else str(_signed(insn.imm, bits))
        self._line(f"store i{bits} {value}, ptr {self._place(insn.dst, insn.off)}, align 1")

    def _emit_atomic(self, slot: int, insn: Insn) -> None:
        bits, op = _BITS[insn.code & 0x18], insn.imm
        align = f"align {bits // 8}"
        if op == _LOAD_ACQUIRE:
            place = self._place(insn.src, insn.off)
            self._set(insn.dst, self._value(f"load atomic i{bits}, ptr {place} acquire, {align}"), bits)
            return
        place = self._place(insn.dst, insn.off)
        if op == _STORE_RELEASE:
            self._line(f"store atomic i{bits} {self._get(insn.src, bits)}, ptr {place} release, {align}")
        elif op == _CMPXCHG:
            expected, new = self._get(0, bits), self._get(insn.src, bits)
            pair = self._value(f"cmpxchg ptr {place}, i{bits} {expected}, i{bits} {new} seq_cst seq_cst, {align}")
            self._set(0, self._value(f"extractvalue {{ i{bits}, i1 }} {pair}, 0"), bits)
        elif op & ~_FETCH in _RMW and op != _XCHG & ~_FETCH and bits >= 32:
            verb = _RMW[op & ~_FETCH]
            old = self._value(f"atomicrmw {verb} ptr {place}, i{bits} {self._get(insn.src, bits)} seq_cst, {align}")
            if op & _FETCH:
                self._set(insn.src, old, bits)
        else:
            raise self._refuse(slot, f"unknown atomic operation {op:#x}", "opcode")

    # -- jumps and calls

    def _emit_jump(self, slot: int, insn: Insn, bits: int) -> bool:
        if insn.code == _EXIT:
            self._line(f"ret i64 {self._get(0)}")
            return False
        if insn.code == _CALL:
            self._emit_call(slot, insn)
            return True
        goal = f"%b{self._jump_target(slot, insn)}"
        if insn.code in (_JA, _JA32):
            self._line(f"br label {goal}")
            return False
        op = insn.code & 0xF0
        one, other = self._get(insn.dst, bits), self._operand(insn, bits)
        if op == _JSET:
            both = self._value(f"and i{bits} {one}, {other}")
            taken = self._value(f"icmp ne i{bits} {both}, 0")
        elif op in _COMPARE:
            taken = self._value(f"icmp {_COMPARE[op]} i{bits} {one}, {other}")
        else:
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")
        self._line(f"br i1 {taken}, label {goal}, label %b{slot + 1}")
        return False

    def _emit_call(self, slot: int, insn: Insn) -> None:
        if insn.src == PSEUDO_CALL:
            arguments = ", ".join(["i64 %cpu", *(f"i64 {self._get(n)}" for n in range(1, 6))])
            self._set(0, self._value(f"call i64 @f{slot + 1 + insn.imm}({arguments})"))
        elif insn.src:
            raise self._refuse(slot, "a call of a kernel function by its BTF id", "kfunc")
        elif insn.imm == _MAP_LOOKUP and self._is_array_known():
            self._set(0, self._array_lookup(self.target.maps[self.known_maps[1]]))
        else:
            self._emit_helper(slot, insn.imm)
        for reg in range(1, 6):
            self.known_maps.pop(reg, None)

    def _emit_helper(self, slot: int, number: int) -> None:
        helper = self.target.helpers.get(number)
        if helper is None:
            name = f"bpf_{_HELPER_NAMES.get(number, 'unknown')}"
            raise self._refuse(slot, f"helper {name}#{number} does not exist there yet", name)
        arguments = ", ".join(["i64 %cpu", *(f"i64 {self._get(n)}" for n in range(1, helper.arity + 1))])
        self._set(0, self._value(f"call i64 inttoptr (i64 {helper.address} to ptr)({arguments})"))

    def _is_array_known(self) -> bool:
        fd = self.known_maps.get(1)
        return fd is not None and fd in self.target.maps and self.target.maps[fd].is_array

    def _array_lookup(self, array: NativeMap) -> str:
        key = self._value(f"inttoptr i64 {self._get(2)} to ptr")
        index = self._value(f"load i32, ptr {key}, align 1")
        is_in = self._value(f"icmp ult i32 {index}, {array.max_entries & 0xFFFFFFFF}")
        wide = self._value(f"zext i32 {index} to i64")
        value = self._value(f"add i64 {array.values}, {self._value(f'mul i64 {wide}, {array.slot_size}')}")
        if array.cpu_stride:
            place = self._value(f"inttoptr i64 {self._value(f'add i64 %cpu, {self.target.number}')} to ptr")
            cpu = self._value(f"load i32, ptr {place}, align 4")
            skip = self._value(f"mul i64 {self._value(f'zext i32 {cpu} to i64')}, {array.cpu_stride}")
            value = self._value(f"add i64 {value}, {skip}")
        return self._value(f"select i1 {is_in}, i64 {value}, i64 0")


def _signed(value: int, bits: int) -> int:
    """value's low bits, read as a signed number."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


