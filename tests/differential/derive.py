"""What the verifier derived for every instruction, and whether a run stayed within it.

The verifier forgets numbers that decide nothing, so that paths that differ in them alone are one: of what it then skips
it has derived nothing. Here it goes over a program again without forgetting: two states are one only where every
number of the older holds those of the newer. Then each register of each run, as far as the program may still read it, has
to lie within what some path derived for that instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bcc_py.isa import Insn
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import VerifierEnv
from bcc_py.verifier.domain import Pointer, Scalar, Value
from bcc_py.verifier.explore import Explorer
from bcc_py.verifier.form import Shape, shape_of
from bcc_py.verifier.rules import Refusal

__all__ = ["Derived", "derive"]

_M64 = (1 << 64) - 1
_Row = tuple[Any, ...]  # the depth of the frame, and what each register holds: Value or None


class _Watching(Explorer):
    """Notes the registers before every instruction."""

    def __init__(self, program: ProgramSpec, shape: Shape, env: VerifierEnv, is_forgetful: bool) -> None:
        super().__init__(program, shape, env, None)
        self.rows: dict[int, dict[tuple[Any, ...], _Row]] = {}
        self._pruner.are_numbers_exact = not is_forgetful
        self._classes = tuple(self._noting(one) for one in self._classes)

    def _noting(self, step: Callable[[Insn], int]) -> Callable[[Insn], int]:
        def run(insn: Insn) -> int:
            row = (len(self.state.frames) - 1, *self.regs)
            self.rows.setdefault(self.slot, {}).setdefault(_print(row), row)
            return step(insn)

        return run


def _print(row: _Row) -> tuple[Any, ...]:
    """What differs where rows do."""
    return tuple(
        (one.value, one.mask, one.smin, one.smax, one.umin, one.umax, one.s32min, one.s32max, one.u32min, one.u32max)
        if isinstance(one, Scalar) else str(one) for one in row)


class Derived:
    """By slot, the states that paths came with."""

    def __init__(self, shape: Shape, rows: dict[int, dict[tuple[Any, ...], _Row]]) -> None:
        self._shape = shape
        self._rows = {slot: list(found.values()) for slot, found in rows.items()}

    def fault(self, slot: int, regs: Sequence[int]) -> str:
        """Why no path came to slot with these eleven registers, "" if one did."""
        rows = self._rows.get(slot)
        if rows is None:
            return f"insn {slot}: no path comes here"
        live = self._shape.live[slot]
        wrong = [self._wrong(row, regs, live) for row in rows]
        if "" in wrong:
            return ""
        return f"insn {slot}: {min(wrong, key=len)} (and {len(wrong) - 1} other states)"

    def reads_addresses(self, insns: Sequence[Insn]) -> bool:
        """Whether a number is made of an address, or an address is compared with a number that is not 0: the kernel's are
        negative, a process's are not."""
        for slot, rows in self._rows.items():
            insn = insns[slot]
            kind, op = insn.code & 7, insn.code & 0xF0
            is_number = kind in (4, 7) and op not in (0x00, 0x10, 0xB0)
            is_comparison = kind in (5, 6) and insn.code not in (0x05, 0x06, 0x85, 0x95) and (op not in (0x10, 0x50) or insn.imm)
            if is_number or is_comparison or kind == 4:
                used = (insn.dst, insn.src) if insn.code & 8 else (insn.dst,)
                if any(isinstance(row[1 + reg], Pointer) for row in rows for reg in used):
                    return True
        return False

    @staticmethod
    def _wrong(row: _Row, regs: Sequence[int], live: int) -> str:
        for number, value in enumerate(row[1:]):
            if value is not None and live >> number & 1 and not _holds(value, regs[number], regs[10], row[0]):
                return f"r{number} is {regs[number]:#x}, derived {value}"
        return ""


def _holds(value: Value, concrete: int, top: int, depth: int) -> bool:
    """top: of the running function's frame, which is the depth-th."""
    if isinstance(value, Scalar):
        return _is_in(value, concrete)
    if value.kind == "fp" and value.frame == depth:
        moved = (concrete - top - value.off) & _M64
        return _is_in(value.var, moved) if value.var is not None else not moved
    return value.kind.endswith("_or_null") or concrete != 0


def _is_in(value: Scalar, concrete: int) -> bool:
    low = concrete & 0xFFFFFFFF
    signed, low_signed = (concrete + (1 << 63)) % (1 << 64) - (1 << 63), (low + (1 << 31)) % (1 << 32) - (1 << 31)
    return (
        concrete & ~value.mask & _M64 == value.value and value.umin <= concrete <= value.umax and value.smin <= signed <= value.smax
        and value.u32min <= low <= value.u32max and value.s32min <= low_signed <= value.s32max
    )


def derive(program: ProgramSpec, env: VerifierEnv, *, is_forgetful: bool = False) -> Derived | None:
    """What is derived for program, which was accepted. None where that takes more than env.insn_limit instructions.
    is_forgetful: as the verifier goes about it, which is enough to know what is an address and what a number."""
    found = shape_of(program.insns)
    shape = found if is_forgetful else replace(found, weighed=(-1,) * len(found.weighed))
    watching = _Watching(program, shape, env, is_forgetful)
    try:
        watching.run()
    except Refusal:
        return None
    return Derived(shape, watching.rows)
