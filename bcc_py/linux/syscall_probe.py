"""Kprobes on system calls where the kernel has no kprobes: the same program, made over for raw_syscalls.

Input: a KPROBE program whose maps are live, and the entry function of a system call (x86-64). Output: a program of another
type that sees the same, and the hook where it belongs:
- at the entry, raw tracepoint sys_enter: its arguments are the caller's registers, which are what the entry function is
  given in di, and the number. Other calls leave at once.
- at the return, tracepoint syscalls:sys_exit_NAME, whose ret is what the function returned in ax.

What a program reads of its registers otherwise is of no meaning there on a kernel with kprobes either, and reads as 0,
but for the instruction pointer, which is the function's address. The verifier says which loads are of the context.

Where this differs from a kprobe: a call that seccomp or a tracer turns away is seen at the entry all the same; a system
call that is called by the kernel itself is not seen.

Source: arch/x86/entry/syscall_64.c, include/trace/events/syscalls.h, kernel/trace/trace_syscalls.c."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from bcc_py.errors import NotSupportedError, VerifierError
from bcc_py.isa import Insn
from bcc_py.spec import Hook, HookKind, MapSpec, ProgramSpec
from bcc_py.syscalls import SYSCALL_NAMES, kernel_name
from bcc_py.verifier import VerifierEnv, verify
from cfront.btf import TypeSource
from cfront.uapi import AttachType, ProgType

__all__ = ["made_over"]

_FUNCTION = re.compile(r"__x64_sys_(?P<name>\w+)$")
_NUMBERS = {name: number for number in SYSCALL_NAMES if (name := kernel_name(number)) is not None}
_FORKS = frozenset(("clone", "clone3", "fork", "vfork"))  # the child too comes out of these, where a kretprobe would not see it
# struct pt_regs, bytes
_AX, _DI, _ORIG_AX, _IP = 80, 112, 120, 128
# the context of raw tracepoint sys_enter, and the record of a sys_exit tracepoint
_ENTER_REGS, _ENTER_NR, _EXIT_RET = 0, 8, 16
_LDX, _DW, _SIZE = 0x61, 0x18, 0x18
_MOV_IMM, _MOV32_IMM, _JEQ_IMM, _JNE_IMM, _EXIT = 0xB7, 0xB4, 0x15, 0x55, 0x95
_LEAVE = (Insn(_MOV_IMM, 0, 0, 0, 0), Insn(_EXIT))


def made_over(
    spec: ProgramSpec, hook: Hook, address: int, maps: Mapping[int, MapSpec], types: TypeSource
) -> tuple[ProgramSpec, Hook]:
    """(program, hook) that stand for spec at hook, a kprobe or kretprobe. address: of the function, 0 if it is not known.
    maps: by the descriptor that spec names. Raises NotSupportedError for what cannot be served."""
    found = _FUNCTION.match(hook.name)
    name = found["name"] if found else ""
    if name not in _NUMBERS or hook.offset:
        raise NotSupportedError(
            f"attaching to {hook}: this kernel has no kprobes (only the beginnings and ends of system calls are served without)",
            "kprobe")
    slots = _context_loads(spec, hook, maps, types)
    is_return = hook.kind is HookKind.KRETPROBE
    insns = list(spec.insns)
    for slot in slots:
        insns[slot] = _load(insns[slot], is_return, address)
    head = _return_head(name) if is_return else _entry_head(_NUMBERS[name])
    moved = _moved(spec, [*head, *insns], len(head))
    if is_return:
        return (dataclasses.replace(moved, type=ProgType.TRACEPOINT, expected_attach_type=AttachType.NONE),
                Hook(HookKind.TRACEPOINT, f"syscalls:sys_exit_{name}", cookie=hook.cookie))
    return (dataclasses.replace(moved, type=ProgType.RAW_TRACEPOINT, expected_attach_type=AttachType.NONE),
            Hook(HookKind.RAW_TRACEPOINT, "sys_enter", cookie=hook.cookie))


def _context_loads(spec: ProgramSpec, hook: Hook, maps: Mapping[int, MapSpec], types: TypeSource) -> list[int]:
    """The slots of loads from the context."""
    try:
        kinds = verify(spec, VerifierEnv(maps, types=types)).memory_kinds
    except VerifierError as error:
        raise NotSupportedError(
            f"attaching to {hook}: this kernel has no kprobes, and {spec.name} cannot be made over for its system calls: {error}",
            "kprobe") from error
    slots = [slot for slot, kind in kinds.items() if kind == "ctx"]
    mixed = next((slot for slot, kind in kinds.items() if "ctx" in kind.split("|") and kind != "ctx"), None)
    if mixed is not None:
        raise NotSupportedError(
            f"attaching to {hook}: insn {mixed} of {spec.name} reads the registers or something else, and this kernel has no"
            " kprobes", "kprobe")
    return slots


def _load(insn: Insn, is_return: bool, address: int) -> Insn:
    """The load of the same number from the other context."""
    places = {_AX: _EXIT_RET} if is_return else {_DI: _ENTER_REGS, _ORIG_AX: _ENTER_NR}
    word, byte = insn.off & ~7, insn.off & 7
    if word in places:
        return insn._replace(off=places[word] + byte)
    bits = {0x00: 32, 0x08: 16, 0x10: 8, 0x18: 64}[insn.code & _SIZE]
    number = address >> 8 * byte & (1 << bits) - 1 if word == _IP and not is_return else 0
    low = number & 0xFFFFFFFF  # the kernel's text is in the top 2 GiB: a whole address is its low half, extended
    return Insn(_MOV_IMM if bits == 64 else _MOV32_IMM, insn.dst, 0, 0, low - (1 << 32) if low >> 31 else low)


def _entry_head(number: int) -> list[Insn]:
    return [Insn(_LDX | _DW, 2, 1, _ENTER_NR), Insn(_JEQ_IMM, 2, 0, len(_LEAVE), number), *_LEAVE]


def _return_head(name: str) -> list[Insn]:
    return [Insn(_LDX | _DW, 2, 1, _EXIT_RET), Insn(_JNE_IMM, 2, 0, len(_LEAVE), 0), *_LEAVE] if name in _FORKS else []


def _moved(spec: ProgramSpec, insns: list[Insn], by: int) -> ProgramSpec:
    """spec with these instructions, of which the first are new: its own stand that many slots further on. Jumps and calls are
    relative, and none goes into what is new."""
    def at(slot: int) -> int:
        return slot + by if slot else 0  # what begins the program still does

    return dataclasses.replace(
        spec, insns=tuple(insns),
        functions=tuple(dataclasses.replace(one, slot=at(one.slot)) for one in spec.functions),
        lines=tuple(dataclasses.replace(one, slot=at(one.slot)) for one in spec.lines),
        kernel_functions={slot + by: name for slot, name in spec.kernel_functions.items()},
        kernel_variables={slot + by: name for slot, name in spec.kernel_variables.items()})
