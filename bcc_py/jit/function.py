"""One BPF function as LLVM's text: its frame, its blocks, its jumps and calls.

Each BPF function becomes an LLVM function of the CPU and r1 to r5, with 512 bytes of stack, of which the used ones are
zeroed (so that what a program sends without having written it is the same in every run).

A helper is a call of a symbol. Where the map is known at the call, what the map has for it (NativeMap.inline) is put there
instead, and a look-up in an array becomes arithmetic. A tail call is a call whose result is returned: at most 33 follow
one another, so native frames are bounded."""

from __future__ import annotations

import re

from bcc_py.isa import PSEUDO_CALL, PSEUDO_KFUNC_CALL, Insn
from bcc_py.jit.arith import STACK_BYTES
from bcc_py.jit.memory import Memory, function_name
from bcc_py.jit.target import Inline, NativeMap
from cfront.uapi import HELPER_IDS

__all__ = ["Function", "is_jump", "jump_target"]

_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
_LDDW, _CALL, _EXIT, _JA, _JA32, _MAY_GOTO = 0x18, 0x85, 0x95, 0x05, 0x06, 0xE5
_MEM, _ATOMIC = 0x60, 0xC0
_COMPARE = {0x10: "eq", 0x20: "ugt", 0x30: "uge", 0x50: "ne", 0x60: "sgt", 0x70: "sge", 0xA0: "ult", 0xB0: "ule",
            0xC0: "slt", 0xD0: "sle"}
_JSET = 0x40
_MAX_TAIL_CALLS = 33
_MAX_MAY_GOTO = 1 << 23  # BPF_MAX_LOOPS
_MAX_LOOPS = 1 << 23
_E2BIG, _EINVAL = 7, 22
_NAMES = {number: name for name, number in HELPER_IDS.items()}
_TAIL_CALL, _LOOP = HELPER_IDS["tail_call"], HELPER_IDS["loop"]
_SIGNATURE = re.compile(r"define [^@]*?(void|ptr|i\d+) @\"?([\w.]+)\"?\(([^)]*)\)")
_TYPE = re.compile(r"^(ptr|i\d+)")


def is_jump(insn: Insn) -> bool:
    """Whether control may go on elsewhere than behind it, in the same function."""
    return insn.code & 7 in (_JMP, _JMP32) and insn.code not in (_CALL, _EXIT)


def jump_target(slot: int, insn: Insn) -> int:
    """The slot where the jump in this slot goes to."""
    return slot + 1 + (insn.imm if insn.code == _JA32 else insn.off)


class Function(Memory):
    """The whole function. hot: the functions of NativeTarget.hot that it asks for."""

    def text(self) -> str:
        """The function's definition."""
        leaders = self._leaders()
        self.hot: set[str] = set()
        self._emit_entry()
        slot, is_open = self.start, True
        while slot < self.end:
            if slot in leaders:
                if is_open:
                    self._line(f"br label %b{slot}")
                self.lines.append(f"b{slot}:")
                self._forget_places()
                is_open = True
            if is_open:
                is_open = self._emit_slot(slot, self.insns[slot])
            slot += 2 if self.insns[slot].code == _LDDW else 1
        if is_open:
            self._emit_return("0")
        self.lines.append("nothing:")
        self._emit_return("0")
        if self.target.is_checked:
            self.lines.append("fault:")
            self._emit_return("0")
        self.lines.append("}")
        return "\n".join(self.lines)

    # -- shape

    def _leaders(self) -> set[int]:
        leaders = {self.start}
        for slot in range(self.start, self.end):
            one = self.insns[slot]
            if is_jump(one):
                leaders.add(jump_target(slot, one))
                leaders.add(slot + 1)
        leaders.discard(self.end)
        return leaders

    def _emit_entry(self) -> None:
        arguments = ", ".join(["ptr %cpu", *(f"i64 %a{n}" for n in range(1, 6))])
        linkage = "internal" if self.start else ""
        self.lines.append(f"define {linkage} i64 @{function_name(self.start)}({arguments}) nounwind {{")
        self.lines.append("entry:")
        for n in range(10):
            self._line(f"%r{n} = alloca i64, align 8")
        self._line("%loaded = alloca i64, align 8")
        self._line("%turns = alloca i64, align 8")
        self._line(f"store i64 {_MAX_MAY_GOTO}, ptr %turns")
        self._line(f"%stack = alloca [{STACK_BYTES} x i8], align 16")
        self._line(f"%used = getelementptr i8, ptr %stack, i64 {STACK_BYTES - self.stack_bytes}")
        self._line(f"call void @llvm.memset.p0.i64(ptr align 8 %used, i8 {self.target.fill}, i64 {self.stack_bytes}, i1 false)")
        for n in range(10):
            self._line(f"store i64 {f'%a{n}' if 1 <= n <= 5 else 0}, ptr %r{n}")
        self._forget_places()
        if self.target.is_checked:
            low = self._value("ptrtoint ptr %used to i64")
            answer = self._service(self.start, "check_enter", low, str(self.stack_bytes), str(self.start))
            is_good = self._value(f"icmp eq i64 {answer}, 0")
            self.lines.append(f"  br i1 {is_good}, label %begin, label %deep")
            self.lines += ["deep:", "  ret i64 0", "begin:"]

    def _forget_places(self) -> None:
        """A block begins: only the frame pointer is where it always is."""
        self.frame_at.clear()
        self.frame_at[10] = 0

    def _emit_return(self, value: str) -> None:
        if self.target.is_checked:
            self._service(self.start, "check_leave")
        self._line(f"ret i64 {value}")

    # -- one instruction; whether control goes on to the next

    def _emit_slot(self, slot: int, insn: Insn) -> bool:
        if slot not in self.program.reached:
            self._emit_return("0")
            return False
        if self.target.observe:
            self._emit_observation(slot)
        if slot in self.program.nospec:
            self._emit_barrier()
        goes_on = self._emit(slot, insn)
        if goes_on and slot in self.program.nospec_after:
            self._emit_barrier()
        return goes_on

    def _emit_barrier(self) -> None:
        self._line("call void @speculation_barrier()")

    def _emit_observation(self, slot: int) -> None:
        for n in range(11):
            where = self._value(f"getelementptr i64, ptr @observed, i64 {n}")
            self._line(f"store i64 {self._get(n)}, ptr {where}")
        self._line(f"call void inttoptr (i64 {self.target.observe} to ptr)(i64 {slot}, ptr @observed)")

    def _emit(self, slot: int, insn: Insn) -> bool:
        kind = insn.code & 7
        if kind in (_ALU, _ALU64):
            self._emit_alu(slot, insn, 64 if kind == _ALU64 else 32)
        elif kind in (_JMP, _JMP32):
            return self._emit_jump(slot, insn, 64 if kind == _JMP else 32)
        elif insn.code == _LDDW:
            self._emit_wide(slot, insn)
        elif kind == _LD:
            self._emit_packet_load(slot, insn)
        elif kind == _LDX:
            self._emit_load(slot, insn)
        elif insn.code & 0xE0 == _MEM:
            self._emit_store(slot, insn, kind)
        elif kind == _STX and insn.code & 0xE0 == _ATOMIC:
            self._emit_atomic(slot, insn)
        else:
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")
        return True

    # -- jumps

    def _emit_jump(self, slot: int, insn: Insn, bits: int) -> bool:
        if insn.code == _EXIT:
            self._emit_return(self._get(0))
            return False
        if insn.code == _CALL:
            return self._emit_call(slot, insn)
        goal = jump_target(slot, insn)
        if self.target.is_checked and goal <= slot:
            answer = self._service(slot, "check_turn", str(slot))
            self._leave_unless(self._value(f"icmp eq i64 {answer}, 0"))
        if insn.code in (_JA, _JA32):
            self._line(f"br label %b{goal}")
            return False
        taken = self._may_goto() if insn.code == _MAY_GOTO else self._compare(slot, insn, bits)
        self._line(f"br i1 {taken}, label %b{goal}, label %b{slot + 1}")
        return False

    def _compare(self, slot: int, insn: Insn, bits: int) -> str:
        op = insn.code & 0xF0
        one, other = self._get(insn.dst, bits), self._operand(insn, bits)
        if op == _JSET:
            return self._value(f"icmp ne i{bits} {self._value(f'and i{bits} {one}, {other}')}, 0")
        if op not in _COMPARE:
            raise self._refuse(slot, f"unknown opcode {insn.code:#04x}", "opcode")
        return self._value(f"icmp {_COMPARE[op]} i{bits} {one}, {other}")

    def _may_goto(self) -> str:
        """Goes once the function has used up its turns."""
        left = self._value("load i64, ptr %turns")
        is_over = self._value(f"icmp eq i64 {left}, 0")
        fewer = self._value(f"sub i64 {left}, 1")
        self._line(f"store i64 {self._value(f'select i1 {is_over}, i64 0, i64 {fewer}')}, ptr %turns")
        return is_over

    # -- calls

    def _emit_call(self, slot: int, insn: Insn) -> bool:
        if insn.src == PSEUDO_CALL:
            arguments = ", ".join(["ptr %cpu", *(f"i64 {self._get(n)}" for n in range(1, 6))])
            self._finish_call(self._value(f"call i64 @{function_name(slot + 1 + insn.imm)}({arguments})"))
        elif insn.src == PSEUDO_KFUNC_CALL:
            self._emit_kernel_function(slot)
        elif insn.src:
            raise self._refuse(slot, f"a call of kind {insn.src}", "call")
        elif insn.imm == _TAIL_CALL:
            self._emit_tail_call()
        elif insn.imm == _LOOP and not self.target.is_checked:
            self._emit_loop()
        else:
            self._emit_helper(slot, insn.imm)
        return True

    def _finish_call(self, result: str) -> None:
        self._set(0, result)
        for reg in range(1, 6):
            self.frame_at.pop(reg, None)
        if self.target.is_checked:
            place = self._cpu_place("fault")
            fault = self._value(f"load i32, ptr {place}, align 4")
            self._leave_unless(self._value(f"icmp eq i32 {fault}, 0"))

    def _cpu_place(self, field: str) -> str:
        return self._value(f"getelementptr i8, ptr %cpu, i64 {self.target.cpu_fields[field]}")

    def _emit_kernel_function(self, slot: int) -> None:
        name = self.program.spec.kernel_functions.get(slot, "")
        known = self.target.kernel_functions.get(name)
        if known is None:
            raise self._refuse(slot, f"the kernel has no function {name or 'of that BTF id'} for programs", name or "kfunc")
        self._finish_call(self._call_symbol(f"kfunc_{name}", known.arity))

    def _call_symbol(self, symbol: str, arity: int) -> str:
        self.symbols[symbol] = f"declare i64 @{symbol}({', '.join(['ptr', *['i64'] * arity])})"
        arguments = ", ".join(["ptr %cpu", *(f"i64 {self._get(n)}" for n in range(1, arity + 1))])
        return self._value(f"call i64 @{symbol}({arguments})")

    def _emit_helper(self, slot: int, number: int) -> None:
        name = _NAMES.get(number, "unknown")
        helper = self.target.helpers.get(number)
        one = self.target.maps.get(self.program.call_maps.get(slot, -1))
        if one is not None and one.is_array and name == "map_lookup_elem":
            self._finish_call(self._array_lookup(one, self.map_numbers[self.program.call_maps[slot]]))
        elif helper is None:
            raise self._refuse(slot, f"helper bpf_{name}#{number} does not exist there yet", f"bpf_{name}")
        elif one is not None and name in one.inline:
            self._finish_call(self._call_hot(one.inline[name], helper.arity))
        elif self.target.hot.get(f"bpf_{name}", "").startswith("define"):
            self._finish_call(self._call_hot(Inline(f"bpf_{name}"), helper.arity))
        else:
            self._finish_call(self._call_symbol(f"helper_{number}", helper.arity))

    def _call_hot(self, inline: Inline, arity: int) -> str:
        """A call of a function whose text is known: its parameters are of its own types."""
        self.hot.add(inline.function)
        signature = _SIGNATURE.search(self.target.hot[inline.function])
        assert signature is not None, f"{inline.function} is a definition"
        result, parameters = signature[1], [one.strip() for one in signature[3].split(",") if one.strip()]
        given = [str(one) for one in inline.constants]
        words: list[str] = ["ptr %cpu"] if inline.takes_cpu else []
        for n in range(1, arity + 1):
            words.append(self._as_type(n, parameters[len(words)]))
        words += [f"{_type_of(one)} {value}" for one, value in zip(parameters[len(words) :], given, strict=True)]
        call = f"call {result} @{inline.function}({', '.join(words)})"
        if result == "void":
            self._line(call)
            return "0"
        value = self._value(call)
        if result == "ptr":
            return self._value(f"ptrtoint ptr {value} to i64")
        return value if result == "i64" else self._value(f"sext {result} {value} to i64")

    def _as_type(self, reg: int, parameter: str) -> str:
        type = _type_of(parameter)
        if type != "ptr":
            return f"{type} {self._get(reg, int(type[1:]))}"
        if reg in self.frame_at:
            return f"ptr {self._frame_place(self.frame_at[reg])}"
        return f"ptr {self._value(f'inttoptr i64 {self._get(reg)} to ptr')}"

    def _array_lookup(self, array: NativeMap, number: int) -> str:
        key = self._as_type(2, "ptr")
        index = self._value(f"load i32, {key}, align 1")
        is_in = self._value(f"icmp ult i32 {index}, {array.max_entries & 0xFFFFFFFF}")
        wide = self._value(f"zext i32 {index} to i64")
        skip = self._value(f"mul i64 {wide}, {array.slot_size}")
        if array.cpu_stride:
            cpu = self._value(f"load i32, ptr {self._cpu_place('number')}, align 4")
            own = self._value(f"mul i64 {self._value(f'zext i32 {cpu} to i64')}, {array.cpu_stride}")
            skip = self._value(f"add i64 {skip}, {own}")
        value = self._value(f"getelementptr i8, ptr @values_{number}, i64 {skip}")
        return self._value(f"select i1 {is_in}, i64 {self._value(f'ptrtoint ptr {value} to i64')}, i64 0")

    def _emit_tail_call(self) -> None:
        """r2: the program array, r3: the index. Goes on behind the call if there is no program, or too many were called."""
        self.symbols["tail_target"] = "declare ptr @tail_target(ptr, i64, i32)"
        made_place = self._cpu_place("tail_calls")
        array, index = self._get(2), self._get(3, 32)
        entry = self._value(f"call ptr @tail_target(ptr %cpu, i64 {array}, i32 {index})")
        made = self._value(f"load i32, ptr {made_place}, align 4")
        is_some = self._value(f"icmp ne ptr {entry}, null")
        may_go = self._value(f"and i1 {is_some}, {self._value(f'icmp ult i32 {made}, {_MAX_TAIL_CALLS}')}")
        self.count += 1
        go, stay = f"go{self.count}", f"stay{self.count}"
        self._line(f"br i1 {may_go}, label %{go}, label %{stay}")
        self.lines.append(f"{go}:")
        self._line(f"store i32 {self._value(f'add i32 {made}, 1')}, ptr {made_place}, align 4")
        frame_at = dict(self.frame_at)
        self._emit_return(self._value(f"call i64 {entry}(ptr %cpu, i64 {self._get(1)}, i64 0, i64 0, i64 0, i64 0)"))
        self.lines.append(f"{stay}:")
        self.frame_at = frame_at
        self._finish_call("-22")

    def _emit_loop(self) -> None:
        """bpf_loop: r1 turns of the function in r2 on (turn, r3) until one gives 1; how many were made."""
        turns, function, context, flags = self._get(1, 32), self._get(2), self._get(3), self._get(4)
        callee = self._value(f"inttoptr i64 {function} to ptr")
        self.count += 1
        names = {one: f"{one}{self.count}" for one in ("before", "head", "body", "after")}
        is_many = self._value(f"icmp ugt i32 {turns}, {_MAX_LOOPS}")
        is_bad = self._value(f"icmp ne i64 {flags}, 0")
        refused = self._value(f"or i1 {is_many}, {is_bad}")
        # Linux's own inline code moves -E2BIG as 32 bits
        errno = self._value(f"select i1 {is_bad}, i64 -{_EINVAL}, i64 {-_E2BIG & 0xFFFFFFFF}")
        self._line(f"store i64 {errno}, ptr %loaded")
        self._line(f"br i1 {refused}, label %{names['after']}, label %{names['before']}")
        self.lines.append(f"{names['before']}:")
        self._line("store i64 0, ptr %loaded")
        self._line(f"br label %{names['head']}")
        self.lines.append(f"{names['head']}:")
        done = self._value("load i64, ptr %loaded")
        goes = self._value(f"icmp ult i64 {done}, {self._value(f'zext i32 {turns} to i64')}")
        self._line(f"br i1 {goes}, label %{names['body']}, label %{names['after']}")
        self.lines.append(f"{names['body']}:")
        answer = self._value(f"call i64 {callee}(ptr %cpu, i64 {done}, i64 {context}, i64 0, i64 0, i64 0)")
        self._line(f"store i64 {self._value(f'add i64 {done}, 1')}, ptr %loaded")
        self._line(f"br i1 {self._value(f'icmp eq i64 {answer}, 0')}, label %{names['head']}, label %{names['after']}")
        self.lines.append(f"{names['after']}:")
        self._finish_call(self._value("load i64, ptr %loaded"))


def _type_of(parameter: str) -> str:
    found = _TYPE.match(parameter)
    assert found is not None, f"{parameter} is a pointer or a number"
    return found[1]
