"""Arguments of USDT probes: the assembler's words for where a value is -> what it is, and C that reads it.

A probe's note holds a word for each argument, SIZE@OPERAND: the number of bytes (negative: signed), and an operand as the
compiler wrote it for that place: a constant, a register of any width, memory at a base, an index times a scale and a
displacement, or a variable by its name. An operand that no program can read (a vector register, a thread's variable by
name, an unknown machine's) is an argument like any other, whose reading fails in the program.

A variable by name is read relative to the probe's own place, which a program knows: so it is found wherever the file
was loaded, of whatever process.

Source: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation; GNU as, i386 and AArch64 operands."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Operand", "c_statement", "parse_arguments", "register_member"]

_X86, _X86_64, _AARCH64 = 3, 62, 183  # EM_386, EM_X86_64, EM_AARCH64
_MASK = (1 << 64) - 1
_HALVES = {"ax": "a", "bx": "b", "cx": "c", "dx": "d"}
_SIZES = (1, 2, 4, 8)
_NUMBER = r"[+-]?(?:0[xX][0-9a-fA-F]+|\d+)"
_NAME = r"[A-Za-z_.$][\w.$@]*"
_SPLIT = re.compile(r"\s+(?=-?\d+f?@)")
_WORD = re.compile(r"(?P<sign>-?)(?P<bytes>\d+)(?P<float>f?)@(?P<operand>.+)", re.DOTALL)
_X86_MEMORY = re.compile(
    r"(?:%(?P<segment>[fg]s):)?(?P<place>[^()]*)(?:\((?P<base>%\w+)?(?:,(?P<index>%\w+)?(?:,(?P<scale>\d+))?)?\))?")
_PLACE = re.compile(rf"(?P<before>{_NUMBER}(?![\w.]))?\+?(?P<name>{_NAME})?(?P<after>{_NUMBER})?")
_ARM_MEMORY = re.compile(
    rf"\[(?P<base>\w+)(?:,\#?(?P<displacement>{_NUMBER})|,(?P<index>[xw]\w+)(?:,(?P<extend>lsl|[su]xt[wx])(?:\#?(?P<shift>\d))?)?)?\]")


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument at one place. constant: its value, where it is one; base: the register that it is in, or, with a
    displacement, that its address is counted from; index, scale: what is added to that address; extend: how a 32-bit index
    becomes 64 bits (AArch64); symbol: the variable that the displacement is counted from; segment: the x86 segment that
    the address is in. is_readable: whether a program can read it. Registers are named without their widths ("ax");
    shift, bits: which part of the register the value is."""

    size: int
    is_signed: bool
    is_readable: bool = True
    constant: int | None = None
    base: str = ""
    index: str = ""
    scale: int = 1
    displacement: int | None = None
    symbol: str = ""
    segment: str = ""
    extend: str = ""
    shift: int = 0
    bits: int = 64

    @property
    def ctype(self) -> str:
        """The C type of the value."""
        return f"{'' if self.is_signed else 'u'}int{self.size * 8}_t"


def parse_arguments(text: str, machine: int) -> list[Operand]:
    """The arguments of a note, in order. machine: the file's e_machine."""
    return [_parse(word, machine) for word in _SPLIT.split(text.strip()) if word] if text.strip() else []


def _parse(word: str, machine: int) -> Operand:
    match = _WORD.fullmatch(word.strip())
    if match is None or int(match["bytes"]) not in _SIZES:
        return Operand(8, False, is_readable=False)
    size, is_signed = int(match["bytes"]), bool(match["sign"])
    parse = {_X86: _parse_x86, _X86_64: _parse_x86, _AARCH64: _parse_aarch64}.get(machine)
    operand = parse(size, is_signed, re.sub(r"\s+", "", match["operand"])) if parse and not match["float"] else None
    return operand or Operand(size, is_signed, is_readable=False)


# -- x86


@functools.cache
def _x86_registers() -> dict[str, tuple[str, int, int]]:
    """By the assembler's name: (the name without a width, first bit, bits)."""
    found: dict[str, tuple[str, int, int]] = {}
    for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip"):
        found |= {f"r{name}": (name, 0, 64), f"e{name}": (name, 0, 32), name: (name, 0, 16)}
        low = _HALVES.get(name)
        found[f"{low or name}l"] = (name, 0, 8)
        if low:
            found[f"{low}h"] = (name, 8, 8)
    for number in range(8, 16):
        name = f"r{number}"
        found |= {name: (name, 0, 64), f"{name}d": (name, 0, 32), f"{name}w": (name, 0, 16), f"{name}b": (name, 0, 8)}
    return found


def _parse_x86(size: int, is_signed: bool, text: str) -> Operand | None:
    if text.startswith("$"):
        number = re.fullmatch(_NUMBER, text[1:])
        return Operand(size, is_signed, constant=int(text[1:], 0)) if number else None
    registers = _x86_registers()
    if text.startswith("%") and ":" not in text:
        found = registers.get(text[1:])
        return Operand(size, is_signed, base=found[0], shift=found[1], bits=found[2]) if found else None
    memory = _X86_MEMORY.fullmatch(text)
    place = _PLACE.fullmatch(memory["place"]) if memory else None
    if memory is None or place is None or "@" in (place["name"] or ""):
        return None
    names = [registers.get((memory[one] or "")[1:]) for one in ("base", "index")]
    if any(memory[one] and found is None for one, found in zip(("base", "index"), names, strict=True)):
        return None
    base, index = (found[0] if found else "" for found in names)
    displacement = int(place["before"] or "0", 0) + int(place["after"] or "0", 0)
    return Operand(size, is_signed, base=base, index=index, scale=int(memory["scale"] or "1"), displacement=displacement,
                   symbol=place["name"] or "", segment=memory["segment"] or "")


# -- AArch64


@functools.cache
def _arm_registers() -> dict[str, tuple[str, int, int]]:
    found = {f"{kind}{number}": (f"x{number}", 0, bits) for number in range(31) for kind, bits in (("x", 64), ("w", 32))}
    return found | {"sp": ("sp", 0, 64), "wsp": ("sp", 0, 32), "pc": ("pc", 0, 64), "fp": ("x29", 0, 64), "lr": ("x30", 0, 64)}


def _parse_aarch64(size: int, is_signed: bool, text: str) -> Operand | None:
    if re.fullmatch(rf"\#?{_NUMBER}", text):
        return Operand(size, is_signed, constant=int(text.lstrip("#"), 0))
    registers = _arm_registers()
    if text in ("xzr", "wzr"):
        return Operand(size, is_signed, constant=0)
    if text in registers:
        name, shift, bits = registers[text]
        return Operand(size, is_signed, base=name, shift=shift, bits=bits)
    memory = _ARM_MEMORY.fullmatch(text)
    if memory is None or memory["base"] not in registers or (memory["index"] and memory["index"] not in registers):
        return None
    index = registers[memory["index"]] if memory["index"] else ("", 0, 64)
    extend = (memory["extend"] or "") if memory["extend"] != "lsl" else ""
    return Operand(size, is_signed, base=registers[memory["base"]][0], index=index[0], scale=1 << int(memory["shift"] or "0"),
                   displacement=int(memory["displacement"] or "0", 0), extend=extend)


# -- C


def c_statement(operand: Operand, machine: int, address: int, find_symbol: Callable[[str], int | None]) -> str:
    """A statement that puts the argument into `value`, or leaves the function with -1. address: the probe's place in its
    file's addresses; find_symbol: the address of a variable of that file."""
    if not operand.is_readable:
        return "return -1;"
    if operand.constant is not None:
        mask = (1 << 8 * operand.size) - 1
        return f"value = ({operand.ctype}){operand.constant & mask:#x}ULL;"
    if operand.displacement is None:
        part = f"{'' if operand.is_signed else 'u'}int{operand.bits}_t"
        shifted = f"(word >> {operand.shift})" if operand.shift else "word"
        return f"{{ {_kept('word', _register(operand.base, machine))} value = ({operand.ctype})({part}){shifted}; }}"
    terms = list(_address_terms(operand, machine, address, find_symbol))
    if None in terms:
        return "return -1;"
    at = _kept("at", " + ".join(map(str, terms)))
    return f"{{ {operand.ctype} found = 0; {at} if (bpf_probe_read_user(&found, sizeof(found), (void *)at)) return -1; value = found; }}"


def _kept(name: str, value: str) -> str:
    """A variable whose value is taken here. The compiler would else take one of several members of the context by an address
    that it computes, which verifiers refuse."""
    return f'uint64_t {name} = {value}; asm volatile("" : "+r"({name}));'


def _address_terms(
    operand: Operand, machine: int, address: int, find_symbol: Callable[[str], int | None]
) -> Iterator[str | None]:
    """What the address is the sum of; None for what is not known."""
    if operand.symbol:
        at = find_symbol(operand.symbol)
        yield None if at is None else f"PT_REGS_IP(ctx) + {at - address & _MASK:#x}ULL"
    elif operand.base:
        yield _register(operand.base, machine)
    if operand.segment:
        yield f"((struct task_struct *)bpf_get_current_task())->thread.{operand.segment}base"
    if operand.symbol and operand.base not in ("", "ip"):
        yield _register(operand.base, machine)
    if operand.index:
        register = _register(operand.index, machine)
        extended = {"sxtw": f"(int64_t)(int32_t){register}", "uxtw": f"(uint64_t)(uint32_t){register}"}.get(operand.extend, register)
        yield f"{extended} * {operand.scale}"
    yield f"{(operand.displacement or 0) & _MASK:#x}ULL"


def _register(name: str, machine: int) -> str:
    return f"ctx->{register_member(name, machine)}"


def register_member(name: str, machine: int) -> str:
    """The member of the machine's struct pt_regs that holds a register."""
    return f"regs[{name[1:]}]" if machine == _AARCH64 and name.startswith("x") else name
