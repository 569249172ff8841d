"""A program that is not verified, for whoever checks it while it runs (checked code, bcc_py.jit): form only.

What remains to be refused is what checked code cannot see: pointers given to helpers, writes to the frame pointer, and
whatever needs a kernel around it."""

from __future__ import annotations

from bcc_py.errors import VerifierError
from bcc_py.isa import PSEUDO_CALL, Insn
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import Extent, VerifiedProgram
from bcc_py.verifier.form import faults, shape_of
from bcc_py.verifier.rules import Refusal
from cfront.uapi import HELPER_BY_ID

__all__ = ["with_form_only"]

_LDDW, _CALL = 0x18, 0x85
_STACK_BYTES = 512
# what Linux refuses and RFC 9669 gives a meaning: a count of bits is masked, a number divided by zero is zero
_DEFINED = ("invalid shift", "div by zero")
_FETCH, _LOAD_ACQUIRE = 0x01, 0x100


def with_form_only(program: ProgramSpec) -> VerifiedProgram:
    """program as if it had been verified, every instruction reached. Raises VerifierError, in Linux's words where Linux
    has any, for broken form and for maps, packet loads, the kernel's functions, and helpers that take arguments."""
    try:
        shape = shape_of(program.insns)
        broken = {slot: what for slot, what in faults(program.insns).items() if not what.startswith(_DEFINED)}
        for slot, insn in enumerate(program.insns):
            what = broken.get(slot) or _fault(insn)
            if what:
                raise Refusal(what, insn=slot)
    except Refusal as refusal:
        log = "\n".join(refusal.sentences)
        raise VerifierError.at(f"reading {program.name}", refusal.sentences[-1], program, refusal.insn, log, refusal.errno) from refusal
    ends = (*shape.starts[1:], len(program.insns))
    functions = tuple(Extent(start, end, _STACK_BYTES) for start, end in zip(shape.starts, ends, strict=True))
    return VerifiedProgram(program, program.insns, functions, _STACK_BYTES, 0, {}, frozenset(range(len(program.insns))))


def _fault(insn: Insn) -> str:
    """Why checked code cannot run an instruction, "" if it can."""
    if insn.code == _LDDW and insn.src:
        return "a map, or the kernel's variable or function, in a program without a kernel"
    if insn.code & 7 == 0 and insn.code not in (_LDDW, 0):
        return "a packet load in a program without a packet"
    if insn.code == _CALL and insn.src != PSEUDO_CALL:
        helper = HELPER_BY_ID.get(insn.imm) if not insn.src else None
        if helper is None or helper.args:
            return f"invalid func unknown#{insn.imm}" if helper is None else f"helper bpf_{helper.name} takes arguments"
    if _writes_frame_pointer(insn):
        return "frame pointer is read only"
    if insn.code & 7 == 7 and insn.code & 0xF0 == 0xB0 and insn.off == 1:
        return "addr_space_cast insn can only be used in a program that has an associated arena"
    return ""


def _writes_frame_pointer(insn: Insn) -> bool:
    kind = insn.code & 7
    if kind in (1, 4, 7):
        return insn.dst == 10
    if insn.code & 0xE0 == 0xC0 and kind == 3:
        return (insn.imm == _LOAD_ACQUIRE and insn.dst == 10) or (bool(insn.imm & _FETCH) and insn.src == 10)
    return False
