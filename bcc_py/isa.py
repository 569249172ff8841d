"""BPF instructions: the value, its 8-byte encoding, and the kernel's text syntax in both directions.

An Insn is one 8-byte slot, exactly as `struct bpf_insn` (include/uapi/linux/bpf.h): a 64-bit
immediate load takes two slots, the second with code 0 and the upper half in imm. All indices in
this project count slots. Opcode numbers are those of RFC 9669.

Text is what Linux's verifier log prints (`0: (b7) r0 = 1`, `(61) r1 = *(u32 *)(r2 +4)`,
`(85) call bpf_map_lookup_elem#1`), with three spellings of our own: a map load is
`r1 = map[fd:3]` or `r1 = map[fd:3][0]+8`, a function's address is `r1 = func[+5]`, and a slot that no
text stands for (unknown opcode, reserved field in use) is `.insn dst src off imm`. So
assemble(disassemble(x)) == x holds for every x whose 64-bit loads are whole, and the assembler reads
a verifier log as well as text written by hand: numbers and opcodes in front are optional, labels may
stand for distances, `;` begins a comment, `r1 = 5 ll` asks for the two-slot load."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cfront.uapi import HELPER_IDS

__all__ = [
    "PSEUDO_BTF_ID",
    "PSEUDO_CALL",
    "PSEUDO_FUNC",
    "PSEUDO_KFUNC_CALL",
    "PSEUDO_MAP_FD",
    "PSEUDO_MAP_VALUE",
    "Insn",
    "assemble",
    "decode",
    "disassemble",
    "encode",
    "text_of",
]

# src_reg of a 64-bit immediate load (code 0x18)
PSEUDO_MAP_FD = 1
PSEUDO_MAP_VALUE = 2
PSEUDO_BTF_ID = 3
PSEUDO_FUNC = 4
# src_reg of a call (code 0x85); 0 is a helper by number
PSEUDO_CALL = 1
PSEUDO_KFUNC_CALL = 2

_INSN = struct.Struct("<BBhi")
_LDDW = 0x18
_M32 = 0xFFFFFFFF

_ALU = {0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=",
        0x90: "%=", 0xA0: "^=", 0xB0: "=", 0xC0: "s>>="}
_SIGNED = {0x30: "s/=", 0x90: "s%="}
_ALU_CODE = {text: code for code, text in _ALU.items()}
_SIGNED_CODE = {text: code for code, text in _SIGNED.items()}
_JMP = {0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>", 0x70: "s>=",
        0xA0: "<", 0xB0: "<=", 0xC0: "s<", 0xD0: "s<="}
_JMP_CODE = {text: code for code, text in _JMP.items()}
_SIZE = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_SIZE_CODE = {text[1:]: code for code, text in _SIZE.items()}
# BPF_ATOMIC without and with BPF_FETCH
_ATOMIC = {0x00: "+=", 0x40: "|=", 0x50: "&=", 0xA0: "^="}
_FETCH = {0x01: "fetch_add", 0x41: "fetch_or", 0x51: "fetch_and", 0xA1: "fetch_xor", 0xE1: "xchg"}
_CMPXCHG, _LOAD_ACQUIRE, _STORE_RELEASE = 0xF1, 0x100, 0x110
_HELPER_NAME = {number: name for name, number in HELPER_IDS.items()}


class Insn(NamedTuple):
    """One slot. dst and src: 0-15; off: signed 16 bits; imm: signed 32 bits."""

    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0


def decode(code: bytes) -> tuple[Insn, ...]:
    """The slots in code, whose length is a multiple of 8. Raises ValueError otherwise."""
    if len(code) % 8:
        raise ValueError(f"decoding instructions: {len(code)} bytes is not a multiple of 8")
    return tuple(Insn(op, regs & 15, regs >> 4, off, imm) for op, regs, off, imm in _INSN.iter_unpack(code))


def encode(insns: Iterable[Insn]) -> bytes:
    """The bytes of insns, 8 for each."""
    return b"".join(_INSN.pack(one.code, one.src << 4 | one.dst, one.off, one.imm) for one in insns)


def disassemble(insns: Sequence[Insn]) -> list[str]:
    """One line for each instruction, `slot: (opcode) text`; the second slot of a 64-bit load has none."""
    rows = []
    slot = 0
    while slot < len(insns):
        rows.append(f"{slot}: {text_of(insns, slot)}")
        slot += 2 if _is_whole_lddw(insns, slot) else 1
    return rows


def text_of(insns: Sequence[Insn], slot: int) -> str:
    """`(opcode) text` of the instruction at slot, as Linux's verifier log has it."""
    insn = insns[slot]
    text = _lddw_text(insns, slot) if insn.code == _LDDW else _slot_text(insn)
    if text is None:
        text = f".insn {insn.dst} {insn.src} {insn.off} {insn.imm}"
    return f"({insn.code:02x}) {text}"


def _is_whole_lddw(insns: Sequence[Insn], slot: int) -> bool:
    return insns[slot].code == _LDDW and _lddw_text(insns, slot) is not None


def _lddw_text(insns: Sequence[Insn], slot: int) -> str | None:
    insn = insns[slot]
    if slot + 1 == len(insns):
        return None
    upper = insns[slot + 1]
    if upper[:4] != (0, 0, 0, 0) or insn.off or insn.dst > 10:
        return None
    if insn.src == 0:
        return f"r{insn.dst} = {(upper.imm & _M32) << 32 | insn.imm & _M32:#x}"
    if insn.src == PSEUDO_MAP_FD and not upper.imm:
        return f"r{insn.dst} = map[fd:{insn.imm}]"
    if insn.src == PSEUDO_MAP_VALUE:
        return f"r{insn.dst} = map[fd:{insn.imm}][0]{upper.imm:+d}"
    if insn.src == PSEUDO_FUNC and not upper.imm:
        return f"r{insn.dst} = func[{insn.imm:+d}]"
    return None


def _slot_text(insn: Insn) -> str | None:
    """The text of a one-slot instruction, None if it has none or a reserved field is in use."""
    if insn.dst > 10 or (insn.src > 10):
        return None
    text = _CLASS_TEXT[insn.code & 7](insn)
    # the one definition of "no reserved field in use": the assembler gives the same slot back
    return text if text is not None and _assemble_line(text, insn.code) == insn else None


def _alu_text(insn: Insn) -> str | None:
    code, dst, src, off, imm = insn
    is_wide = code & 7 == 7
    r = "r" if is_wide else "w"
    op = code & 0xF0
    if op == 0xD0:
        name = "bswap" if is_wide else "be" if code & 8 else "le"
        return f"r{dst} = {name}{imm} r{dst}"
    if op == 0x80:
        return f"{r}{dst} = -{r}{dst}"
    if op not in _ALU:
        return None
    sign = _SIGNED.get(op, _ALU[op]) if off == 1 else _ALU[op]
    if not code & 8:
        return f"{r}{dst} {sign} {imm}"
    cast = f"(s{off})" if op == 0xB0 and off else ""
    return f"{r}{dst} {sign} {cast}{r}{src}"


def _address(insn: Insn, reg: int, signed: bool = False) -> str:
    size = _SIZE[insn.code & 0x18]
    return f"({'s' + size[1:] if signed else size} *)(r{reg} {insn.off:+d})"


def _load_text(insn: Insn) -> str | None:
    mode = insn.code & 0xE0
    if mode not in (0x60, 0x80):
        return None
    return f"r{insn.dst} = *{_address(insn, insn.src, mode == 0x80)}"


def _store_text(insn: Insn) -> str | None:
    mode = insn.code & 0xE0
    if mode == 0x60:
        return f"*{_address(insn, insn.dst)} = {insn.imm if insn.code & 7 == 2 else f'r{insn.src}'}"
    return _atomic_text(insn) if mode == 0xC0 and insn.code & 7 == 3 else None


def _atomic_text(insn: Insn) -> str | None:
    where = _address(insn, insn.dst)
    wide = "64" if insn.code & 0x18 == 0x18 else ""
    if insn.imm in _ATOMIC:
        return f"lock *{where} {_ATOMIC[insn.imm]} r{insn.src}"
    if insn.imm in _FETCH:
        return f"r{insn.src} = atomic{wide}_{_FETCH[insn.imm]}({where}, r{insn.src})"
    if insn.imm == _CMPXCHG:
        return f"r0 = atomic{wide}_cmpxchg({where}, r0, r{insn.src})"
    if insn.imm == _LOAD_ACQUIRE:
        return f"r{insn.dst} = load_acquire({_address(insn, insn.src)})"
    return f"store_release({where}, r{insn.src})" if insn.imm == _STORE_RELEASE else None


def _legacy_text(insn: Insn) -> str | None:
    if insn.code & 0xE0 not in (0x20, 0x40) or insn.code & 0x18 == 0x18:
        return None
    index = f"r{insn.src} + {insn.imm}" if insn.code & 0x40 else f"{insn.imm}"
    return f"r0 = *({_SIZE[insn.code & 0x18]} *)skb[{index}]"


def _jump_text(insn: Insn) -> str | None:
    code, dst, src, off, imm = insn
    if code == 0x95:
        return "exit"
    if code == 0x85:
        return _call_text(insn)
    if code == 0x05:
        return f"goto pc{off:+d}"
    if code == 0x06:
        return f"gotol pc{imm:+d}"
    if code == 0xE5:
        return f"may_goto pc{off:+d}"
    if code & 0xF0 not in _JMP:
        return None
    r = "r" if code & 7 == 5 else "w"
    right = f"{r}{src}" if code & 8 else f"{imm & _M32:#x}"
    return f"if {r}{dst} {_JMP[code & 0xF0]} {right} goto pc{off:+d}"


def _call_text(insn: Insn) -> str | None:
    if insn.src == PSEUDO_CALL:
        return f"call pc{insn.imm:+d}"
    if insn.src == PSEUDO_KFUNC_CALL:
        return f"call kernel-function#{insn.imm}"
    name = _HELPER_NAME.get(insn.imm)
    return f"call bpf_{name}#{insn.imm}" if name else f"call unknown#{insn.imm}"


_CLASS_TEXT: dict[int, Callable[[Insn], str | None]] = {
    0: _legacy_text, 1: _load_text, 2: _store_text, 3: _store_text, 4: _alu_text, 5: _jump_text, 6: _jump_text,
    7: _alu_text,
}

# ---- text -> slots

_NUMBER = r"[+-]?(?:0x[0-9a-fA-F]+|\d+)"
_MEMORY = rf"\(([us])(8|16|32|64) \*\)\(r(\d+) ?({_NUMBER})\)"


class _Bad(ValueError):
    """Text that is no instruction."""


def _int(text: str, bits: int) -> int:
    """A number of bits bits; written unsigned it may reach the upper half, and is stored signed."""
    value = int(text, 0)
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise _Bad(f"{text} does not fit {bits} bits")
    return value - (1 << bits) if value >> bits - 1 > 0 else value


def _reg(text: str) -> int:
    if int(text) > 10:
        raise _Bad(f"register {text} is not one of 0-10")
    return int(text)


def _off(text: str) -> int:
    value = int(text, 0)
    if not -0x8000 <= value < 0x8000:
        raise _Bad(f"offset {text} does not fit 16 bits")
    return value


def _asm_alu(m: re.Match[str]) -> Insn:
    left, dst, sign, cast, right, src, imm = m.groups()
    code = 7 if left == "r" else 4
    off = 1 if sign in _SIGNED_CODE else 0
    code |= _SIGNED_CODE[sign] if off else _ALU_CODE[sign]
    if imm is not None:
        if cast:
            raise _Bad("a cast needs a register")
        return Insn(code, _reg(dst), 0, off, _int(imm, 32))
    if right != left:
        raise _Bad("r and w registers in one instruction")
    if cast:
        if sign != "=":
            raise _Bad("a cast stands in a move only")
        off = int(cast)
    return Insn(code | 8, _reg(dst), _reg(src), off)


def _asm_neg(m: re.Match[str]) -> Insn:
    if m[1] != m[3] or m[2] != m[4]:
        raise _Bad("negation is in place")
    return Insn(0x87 if m[1] == "r" else 0x84, _reg(m[2]))


def _asm_end(m: re.Match[str]) -> Insn:
    if m[1] != m[4]:
        raise _Bad("byte order changes are in place")
    return Insn({"le": 0xD4, "be": 0xDC, "bswap": 0xD7}[m[2]], _reg(m[1]), 0, 0, int(m[3]))


def _asm_load(m: re.Match[str]) -> Insn:
    mode = 0x80 if m[2] == "s" else 0x60
    return Insn(1 | mode | _SIZE_CODE[m[3]], _reg(m[1]), _reg(m[4]), _off(m[5]))


def _asm_store(m: re.Match[str]) -> Insn:
    size, dst, off = _SIZE_CODE[m[2]], _reg(m[3]), _off(m[4])
    if m[5] is not None:
        return Insn(0x63 | size, dst, _reg(m[5]), off)
    return Insn(0x62 | size, dst, 0, off, _int(m[6], 32))


def _asm_lock(m: re.Match[str]) -> Insn:
    ops = {text: code for code, text in _ATOMIC.items()}
    return Insn(0xC3 | _SIZE_CODE[m[2]], _reg(m[3]), _reg(m[6]), _off(m[4]), ops[m[5]])


def _atomic_size(wide: str | None, size: str) -> int:
    if (size == "64") != bool(wide):
        raise _Bad("atomic64 goes with u64, atomic with the others")
    return _SIZE_CODE[size]


def _asm_fetch(m: re.Match[str]) -> Insn:
    ops = {text: code for code, text in _FETCH.items()}
    if m[1] != m[8]:
        raise _Bad("the result goes to the operand's register")
    return Insn(0xC3 | _atomic_size(m[2], m[5]), _reg(m[6]), _reg(m[8]), _off(m[7]), ops[m[3]])


def _asm_cmpxchg(m: re.Match[str]) -> Insn:
    return Insn(0xC3 | _atomic_size(m[1], m[3]), _reg(m[4]), _reg(m[6]), _off(m[5]), _CMPXCHG)


def _asm_acquire(m: re.Match[str]) -> Insn:
    return Insn(0xC3 | _SIZE_CODE[m[3]], _reg(m[1]), _reg(m[4]), _off(m[5]), _LOAD_ACQUIRE)


def _asm_release(m: re.Match[str]) -> Insn:
    return Insn(0xC3 | _SIZE_CODE[m[2]], _reg(m[3]), _reg(m[5]), _off(m[4]), _STORE_RELEASE)


def _asm_legacy(m: re.Match[str]) -> Insn:
    size = _SIZE_CODE[m[1]]
    return Insn(size | (0x40 if m[2] else 0x20), 0, _reg(m[2] or "0"), 0, _int(m[3], 32))


def _asm_if(m: re.Match[str]) -> Insn:
    code = (5 if m[1] == "r" else 6) | _JMP_CODE[m[3]]
    if m[6] is not None:
        return Insn(code, _reg(m[2]), 0, _off(m[7]), _int(m[6], 32))
    if m[4] != m[1]:
        raise _Bad("r and w registers in one instruction")
    return Insn(code | 8, _reg(m[2]), _reg(m[5]), _off(m[7]))


def _asm_goto(m: re.Match[str]) -> Insn:
    if m[1] == "gotol":
        return Insn(0x06, 0, 0, 0, _int(m[2], 32))
    return Insn(0xE5 if m[1] == "may_goto" else 0x05, 0, 0, _off(m[2]))


def _asm_call(m: re.Match[str]) -> Insn:
    name, number = m[1], m[2]
    if name == "kernel-function" and number:
        return Insn(0x85, 0, PSEUDO_KFUNC_CALL, 0, _int(number, 32))
    known = HELPER_IDS.get(name.removeprefix("bpf_"))
    if number is None:
        if known is None:
            raise _Bad(f"{name} is not a helper")
        return Insn(0x85, imm=known)
    return Insn(0x85, imm=_int(number, 32))


def _asm_insn(m: re.Match[str]) -> Insn:
    dst, src = int(m[1]), int(m[2])
    if dst > 15 or src > 15:
        raise _Bad("a register field has four bits")
    return Insn(0, dst, src, _off(m[3]), _int(m[4], 32))


_ATOMIC_CALL = rf"r(\d+) = atomic(64)?_(fetch_(?:add|or|and|xor)|xchg)\({_MEMORY}, r(\d+)\)"
_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Insn]], ...] = tuple(
    (re.compile(pattern), build)
    for pattern, build in (
        (rf"([rw])(\d+) (s?[-+*/|&%^]=|<<=|s?>>=|=) (?:\(s(8|16|32)\))?(?:([rw])(\d+)|({_NUMBER}))", _asm_alu),
        (r"([rw])(\d+) = -([rw])(\d+)", _asm_neg),
        (r"r(\d+) = (le|be|bswap)(\d{1,9}) r(\d+)", _asm_end),
        (rf"r(\d+) = \*{_MEMORY}", _asm_load),
        (rf"\*{_MEMORY} = (?:r(\d+)|({_NUMBER}))", _asm_store),
        (rf"lock \*{_MEMORY} ([+|&^]=) r(\d+)", _asm_lock),
        (_ATOMIC_CALL, _asm_fetch),
        (rf"r0 = atomic(64)?_cmpxchg\({_MEMORY}, r0, r(\d+)\)", _asm_cmpxchg),
        (rf"r(\d+) = load_acquire\({_MEMORY}\)", _asm_acquire),
        (rf"store_release\({_MEMORY}, r(\d+)\)", _asm_release),
        (rf"r0 = \*\(u(8|16|32) \*\)skb\[(?:r(\d+) \+ )?({_NUMBER})\]", _asm_legacy),
        (rf"if ([rw])(\d+) (==|!=|s?[<>]=?|&) (?:([rw])(\d+)|({_NUMBER})) goto (?:pc)?({_NUMBER})", _asm_if),
        (rf"(goto|gotol|may_goto) (?:pc)?({_NUMBER})", _asm_goto),
        (r"exit", lambda m: Insn(0x95)),
        (rf"call (?:pc)?({_NUMBER})", lambda m: Insn(0x85, 0, PSEUDO_CALL, 0, _int(m[1], 32))),
        (r"call ([A-Za-z][\w-]*)(?:#(-?\d+))?", _asm_call),
        (rf"\.insn (\d+) (\d+) ({_NUMBER}) ({_NUMBER})", _asm_insn),
    )
)


def _assemble_line(text: str, code: int | None) -> Insn | None:
    """The slot that text stands for; code: the opcode that was written before it. None if no form fits."""
    for pattern, build in _FORMS:
        match = pattern.fullmatch(text)
        if match:
            try:
                insn = build(match)
            except (_Bad, KeyError):
                return None
            return insn._replace(code=code or 0) if build is _asm_insn else insn
    return None


_LDDW_TEXT = re.compile(
    rf"r(\d+) = (?:(-?(?:0x[0-9a-fA-F]+|\d+))( ll)?|map\[fd:(\d+)\](?:\[0\]({_NUMBER}))?|func\[({_NUMBER})\])"
)
_PREFIX = re.compile(r"(?:\d+: )?(?:\(([0-9a-f]{2})\) )?")
_LABEL = re.compile(r"([A-Za-z_.][\w.]*):")
_NAMED = re.compile(r"(.*\bgoto |gotol |may_goto |call |.*= func\[)(?!pc[+-])([A-Za-z_.][\w.]*)(\]?)")


def _assemble_lddw(text: str, code: int | None) -> tuple[Insn, ...] | None:
    match = _LDDW_TEXT.fullmatch(text)
    if not match or code not in (None, _LDDW):
        return None
    dst, number, suffix, fd, value_off, func = match.groups()
    reg = _reg(dst)
    if number is not None:
        if code is None and not suffix:
            return None
        value = _int(number, 64) & 0xFFFFFFFFFFFFFFFF
        return Insn(_LDDW, reg, 0, 0, _int(hex(value & _M32), 32)), Insn(0, imm=_int(hex(value >> 32), 32))
    if fd is not None:
        pseudo = PSEUDO_MAP_FD if value_off is None else PSEUDO_MAP_VALUE
        return Insn(_LDDW, reg, pseudo, 0, _int(fd, 32)), Insn(0, imm=_int(value_off or "0", 32))
    return Insn(_LDDW, reg, PSEUDO_FUNC, 0, _int(func, 32)), Insn(0)


def _lines_of(text: str) -> Iterable[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        line = " ".join(line.split(";")[0].split())
        if line:
            yield number, line


def assemble(text: str) -> tuple[Insn, ...]:
    """The slots that text stands for: one instruction a line, in the kernel's syntax.

    `name:` on a line of its own is a label, usable where a distance stands (`goto name`, `call name`).
    Raises ValueError with the line's number for what it cannot read."""
    slots: list[Insn] = []
    labels: dict[str, int] = {}
    named: list[tuple[int, int, str]] = []
    for number, line in _lines_of(text):
        label = _LABEL.fullmatch(line)
        if label:
            if label[1] in labels:
                raise ValueError(f"assembling line {number}: label {label[1]} is defined twice")
            labels[label[1]] = len(slots)
            continue
        prefix = _PREFIX.match(line)
        assert prefix is not None, "the pattern matches the empty string"
        code = int(prefix[1], 16) if prefix[1] else None
        body = line[prefix.end():]
        target = _NAMED.fullmatch(body)
        if target and not (target[1] == "call " and target[2].removeprefix("bpf_") in HELPER_IDS):
            named.append((number, len(slots), target[2]))
            body = f"{target[1]}+0{target[3]}"
        slots += _read(number, line, body, code)
    for number, slot, name in named:
        if name not in labels:
            raise ValueError(f"assembling line {number}: label {name} is not defined")
        slots[slot] = _aim(slots[slot], labels[name] - slot - 1, number)
    return tuple(slots)


def _read(number: int, line: str, body: str, code: int | None) -> tuple[Insn, ...]:
    try:
        pair = _assemble_lddw(body, code)
    except _Bad:
        pair = None
    if pair:
        return pair
    one = _assemble_line(body, code)
    if one is None or (code is not None and one.code != code):
        raise ValueError(f"assembling line {number}: '{line}' is not an instruction")
    return (one,)


def _aim(insn: Insn, distance: int, number: int) -> Insn:
    if insn.code in (0x06, 0x85, _LDDW):
        return insn._replace(imm=distance)
    if not -0x8000 <= distance < 0x8000:
        raise ValueError(f"assembling line {number}: the label is {distance} slots away")
    return insn._replace(off=distance)
