"""Programs and tables as BCC lists them: disassemble_func and decode_table, line for line.

Input: instructions as the kernel takes them, or a table; output: text. Names of helpers are Linux's, all of them. What BCC
does not know (32-bit jumps, atomics, calls of kernel functions) is told as in the verifier's log (isa.py).

Differences from BCC, on purpose: a 64-bit constant is a number also where its upper half is 0, which BCC takes for a map; a
struct that has bit-fields and others is listed once; sizes go down into nested structs; arrays of structs are expanded; the
second half of a 64-bit load has its own number. Kept as BCC has it, for scripts
compare it: the right side of `s<=` between registers is the (unused) immediate, and negation is written `~`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from bcc_py.isa import (
    PSEUDO_CALL,
    PSEUDO_FUNC,
    PSEUDO_KFUNC_CALL,
    PSEUDO_MAP_FD,
    PSEUDO_MAP_VALUE,
    Insn,
    decode,
    text_of,
)
from bcc_py.table import MapView
from bcc_py.table.ctype_class import Member, members
from cfront.uapi import HELPER_IDS, MapType

__all__ = ["decode_map", "disassemble_prog", "disassemble_str", "get_table_type_name"]

_LDDW = 0x18
_M32 = 0xFFFFFFFF
_ALU = {0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=",
        0x90: "%=", 0xA0: "^=", 0xB0: "=", 0xC0: "s>>="}
_BITWISE = (0x40, 0x50, 0xA0)  # whose immediates are hexadecimal
_JMP = {0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>", 0x70: "s>=",
        0xA0: "<", 0xB0: "<=", 0xC0: "s<", 0xD0: "s<="}
_SIZES = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_HELPER_NAMES = {0: "unspec"} | {number: name.removeprefix("bpf_") for name, number in HELPER_IDS.items()}


def disassemble_prog(func_name: str | bytes, bpfstr: bytes) -> str:
    """The listing of a program under a line with its name. bpfstr: its instructions, 8 bytes each."""
    name = func_name.encode() if isinstance(func_name, str) else func_name
    return "\n".join([f"Disassemble of BPF program {name!r}:", *disassemble_str(bpfstr)])


def disassemble_str(bpfstr: bytes) -> list[str]:
    """One line for each 8 bytes. Raises ValueError where they are no multiple of 8."""
    insns = decode(bpfstr)
    lines = []
    slot = 0
    while slot < len(insns):
        lines.append(f"{slot:4}: ({insns[slot].code:02x}) {_text(insns, slot)}")
        slot += 1
        if insns[slot - 1].code == _LDDW and slot < len(insns):
            lines.append(f"{slot:4}:      (64-bit upper word)")
            slot += 1
    return lines


def _text(insns: Sequence[Insn], slot: int) -> str:
    insn = insns[slot]
    kind = insn.code & 7
    text = None
    if insn.code == _LDDW:
        text = _lddw_text(insn, insns[slot + 1].imm if slot + 1 < len(insns) else 0)
    elif kind in (4, 7):
        text = _alu_text(insn)
    elif kind == 5:
        text = _jump_text(insn, slot)
    elif kind < 4:
        text = _memory_text(insn)
    if text is None:
        text = text_of(insns, slot).partition(") ")[2]
    return f"unknown <{insn.code:#x}>" if text.startswith(".insn") else text


def _lddw_text(insn: Insn, upper: int) -> str | None:
    if insn.src == PSEUDO_MAP_FD:
        return f"r{insn.dst} = <map at fd #{insn.imm}>"
    if insn.src in (PSEUDO_MAP_VALUE, PSEUDO_FUNC):
        return None
    return f"r{insn.dst} = {(upper & _M32) << 32 | insn.imm & _M32:#x}"


def _alu_text(insn: Insn) -> str | None:
    code, dst, src, off, imm = insn
    op = code & 0xF0
    if code in (0x84, 0x87):
        return f"r{dst} = ~ (u{32 if code & 7 == 4 else 64})r{dst}"
    if code == 0xDC:
        return f"r{dst} endian r{src}"
    is_signed = (op in (0x30, 0x90) and off == 1) or (op == 0xB0 and code & 8 and off in (8, 16, 32))
    if op not in _ALU or is_signed:  # signed division, and moves that extend the sign
        return None
    if code & 8:
        return f"r{dst} {_ALU[op]} r{src}"
    return f"r{dst} {_ALU[op]} {f'{imm & _M32:#x}' if op in _BITWISE else imm}"


def _jump_text(insn: Insn, slot: int) -> str | None:
    code, dst, src, off, imm = insn
    target = f"<{slot + off + 1}>"
    if code == 0x05:
        return f"goto {off:+d} {target}"
    if code == 0x85:
        return _call_text(insn)
    if code == 0x95:
        return "exit"
    if code & 0xF0 not in _JMP:
        return None
    right = f"r{src}" if code & 8 and code != 0xDD else f"{imm}"
    return f"if r{dst} {_JMP[code & 0xF0]} {right} goto pc{off:+d} {target}"


def _call_text(insn: Insn) -> str | None:
    if insn.src == PSEUDO_CALL:
        return f"call {insn.imm:+d}"
    if insn.src == PSEUDO_KFUNC_CALL:
        return None
    name = _HELPER_NAMES.get(insn.imm)
    return f"call bpf_{name}#{insn.imm}" if name else f"call <unknown helper #{insn.imm & _M32}>"


def _memory_text(insn: Insn) -> str | None:
    code, dst, src, off, imm = insn
    mode, size = code & 0xE0, _SIZES[code & 0x18]
    if code & 7 == 0:
        index = {0x20: f"{imm}", 0x40: f"r{src} {imm:+d}"}.get(mode)
        return f"r0 = *({size}*)skb[{index}]" if index else None
    if mode != 0x60:
        return None
    if code & 7 == 1:
        return f"r{dst} = *({size}*)(r{src} {off:+d})"
    return f"*({size}*)(r{dst} {off:+d}) = {imm if code & 7 == 2 else f'r{src}'}"


# ---- tables ----

_NAMES = {
    ctypes.c_bool: "_Bool", ctypes.c_char: "char", ctypes.c_byte: "signed char", ctypes.c_ubyte: "unsigned char",
    ctypes.c_short: "short", ctypes.c_ushort: "unsigned short", ctypes.c_int: "int", ctypes.c_uint: "unsigned int",
    ctypes.c_long: "long", ctypes.c_ulong: "unsigned long", ctypes.c_longlong: "long long",
    ctypes.c_ulonglong: "unsigned long long", ctypes.c_float: "float", ctypes.c_double: "double", ctypes.c_void_p: "void *",
    ctypes.c_longdouble: "long double",
}


def get_table_type_name(ttype: int) -> str:
    """The kernel's name of a map type's number."""
    return MapType(ttype).name if ttype in MapType.__members__.values() and ttype else "<unknown>"


def decode_map(map_name: str | bytes, map_obj: MapView, map_type: int, sizeinfo: bool = False) -> str:
    """The layout of a table's keys and values. sizeinfo: with the offset and size of every member, in bytes."""
    name = get_table_type_name(map_type)
    lines = [f"Layout of BPF map {map_name!s} (type {name}, FD {map_obj.map_fd}, ID {map_obj.map_id}):"]
    for kind, role in ((map_obj.Key, "key"), (map_obj.Leaf, "value")):
        lines += _member_lines(kind, role, "  ", "", sizeinfo, 0)
    return "\n".join(lines)


def _member_lines(kind: Any, name: str, indent: str, size: str, sizeinfo: bool, offset: int) -> list[str]:
    """A member of a type; size: what is said of its place."""
    inner, count = _element(kind)
    if not issubclass(inner, (ctypes.Structure, ctypes.Union)):
        return [f"{indent}{size}{_type_name(kind)} {name};"]
    word = "struct" if issubclass(inner, ctypes.Structure) else "union"
    lines = [f"{indent}{size}{word}{count} {{"]
    for one in members(inner):
        lines += _field_lines(one, f"{indent}  ", sizeinfo, offset)
    return [*lines, f"{indent}}} {name};"]


def _field_lines(one: Member, indent: str, sizeinfo: bool, offset: int) -> list[str]:
    start = offset + one.offset
    if one.width:
        said = f"[{start},{one.bit} +{one.width} bit] " if sizeinfo else ""
        return [f"{indent}{said}{_type_name(one.kind)} {one.name}:{one.width};"]
    said = f"[{start} +{ctypes.sizeof(one.kind)}] " if sizeinfo else ""
    return _member_lines(one.kind, one.name, indent, said, sizeinfo, start)


def _element(kind: Any) -> tuple[Any, str]:
    """What arrays in arrays are of, and their dimensions as C writes them."""
    count = ""
    while issubclass(kind, ctypes.Array):
        count += f"[{kind._length_}]"
        kind = kind._type_
    return kind, count


def _type_name(kind: Any) -> str:
    inner, count = _element(kind)
    return f"{_NAMES.get(inner, inner.__name__)}{count}"
