"""How deep the stack gets, and what functions must be like that load from packets or call the tail of another program.

Input: the instructions, their shape, the bytes of stack each function uses. Output: bytes of the deepest chain, or a
Refusal. Source: kernel/bpf/verifier.c of Linux 6.18, check_max_stack_depth, check_abnormal_return."""

from __future__ import annotations

from collections.abc import Sequence

from bcc_py.isa import PSEUDO_CALL, Insn
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.form import Shape, callee_of
from bcc_py.verifier.functions import returns_int
from bcc_py.verifier.machine import MAX_STACK_BYTES
from bcc_py.verifier.rules import Refusal
from cfront.uapi import HELPER_IDS, ProgType

__all__ = ["MAX_FRAMES", "check_returns", "stack_depth"]

MAX_FRAMES = 8
_MAX_ABOVE_TAIL_CALL = 256
_CALL = 0x85
_TAIL_CALL = HELPER_IDS["tail_call"]
# of these each function of 64 bytes or more has a stack of its own
_PRIVATE = frozenset((ProgType.KPROBE, ProgType.TRACEPOINT, ProgType.PERF_EVENT, ProgType.RAW_TRACEPOINT, ProgType.TRACING))
_PRIVATE_BYTES = 64


def check_returns(program: ProgramSpec, shape: Shape) -> None:
    """Functions that may end their caller's run return an int. Raises Refusal."""
    for slot, insn in enumerate(program.insns):
        index = shape.function_of[slot]
        is_load = insn.code & 7 == 0 and insn.code & 0xE0 in (0x20, 0x40)
        is_tail_call = insn.code == _CALL and not insn.src and insn.imm == _TAIL_CALL
        if not index or not (is_load or is_tail_call):
            continue
        name = "LD_ABS" if is_load else "tail_call"
        known = returns_int(program, shape, index)
        if known is None:
            raise Refusal(f"{name} is not allowed in subprogs without BTF", insn=slot)
        if not known:
            raise Refusal(f"{name} is only allowed in functions that return 'int'.", insn=slot)


def stack_depth(
    insns: Sequence[Insn], shape: Shape, stack_bytes: Sequence[int], type: ProgType, async_functions: frozenset[int]
) -> int:
    """Bytes of the deepest chain of calls, each frame rounded up to 16. Raises Refusal above 512 bytes, and for a chain
    of more than 8 frames (recursion has no end, so it is one). async_functions: those that run on their own, later."""
    calls: dict[int, list[tuple[int, int, bool]]] = {}
    tail_callers = set()
    for slot, insn in enumerate(insns):
        callee = callee_of(insns, slot)
        if callee is not None:
            way = (slot, shape.function_of[callee], insn.code == _CALL and insn.src == PSEUDO_CALL)
            calls.setdefault(shape.function_of[slot], []).append(way)
        elif insn.code == _CALL and not insn.src and insn.imm == _TAIL_CALL:
            tail_callers.add(shape.function_of[slot])
    is_private = type in _PRIVATE and not tail_callers
    deepest = 0
    waiting = [(start, 0, 1, 0) for start in (0, *sorted(async_functions))]
    done: dict[tuple[int, int], int] = {}
    while waiting:
        function, above, frames, slot = waiting.pop()
        if frames > MAX_FRAMES:
            raise Refusal(f"the call stack of {MAX_FRAMES} frames is too deep !", insn=slot)
        if function and function in tail_callers and above >= _MAX_ABOVE_TAIL_CALL:
            raise Refusal(f"tail_calls are not allowed when call stack of previous frames is {above} bytes. Too large", insn=slot)
        own = stack_bytes[function] + 15 & ~15
        if is_private and own >= _PRIVATE_BYTES:
            if own > MAX_STACK_BYTES:
                raise Refusal(f"stack size of subprog {function} is {own}. Too large", insn=slot)
            own = 0
        total = above + own
        if total > MAX_STACK_BYTES:
            raise Refusal(f"combined stack size of {frames} calls is {total}. Too large", insn=slot)
        deepest = max(deepest, total)
        if done.get((function, frames), -1) >= above:
            continue
        done[function, frames] = above
        waiting += [
            (callee, total, frames + 1, at) for at, callee, is_call in calls.get(function, ())
            if is_call or callee not in async_functions
        ]
    return deepest
