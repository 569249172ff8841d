"""A whole program as LLVM's text.

@enter(cpu, r1 to r5) is the main function: what whoever runs the program calls, and what a tail call calls. Behind it stand
a function for each other BPF function, and of NativeTarget.hot what they use, down to what is only declared."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable

from bcc_py.isa import PSEUDO_MAP_FD, PSEUDO_MAP_VALUE
from bcc_py.jit.function import Function, is_jump, jump_target
from bcc_py.jit.target import NativeTarget, Verified

__all__ = ["is_straight", "llvm_ir", "map_numbers"]

_LDDW = 0x18
_NAME = re.compile(r"@\"?([\w.]+)\"?")
_INTRINSICS = {
    **{f"llvm.bswap.i{bits}": f"declare i{bits} @llvm.bswap.i{bits}(i{bits})" for bits in (16, 32, 64)},
    "llvm.memset.p0.i64": "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
}
_BARRIERS = {
    "x86_64": ("declare void @llvm.x86.sse2.lfence()", "call void @llvm.x86.sse2.lfence()"),
    "aarch64": ("declare void @llvm.aarch64.isb(i32)", "call void @llvm.aarch64.isb(i32 15)"),
}


def map_numbers(program: Verified) -> dict[int, int]:
    """The descriptors of maps that the code names, each with its number, which its symbols carry."""
    fds = dict.fromkeys(
        one.imm for slot, one in enumerate(program.insns)
        if one.code == _LDDW and one.src in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE) and slot in program.reached)
    return {fd: number for number, fd in enumerate(fds)}


def is_straight(program: Verified) -> bool:
    """Whether the program is one function without a jump back."""
    return len(program.functions) == 1 and not any(
        jump_target(slot, one) <= slot for slot, one in enumerate(program.insns)
        if slot in program.reached and is_jump(one))


def llvm_ir(program: Verified, target: NativeTarget) -> str:
    """LLVM's text for the whole program. Raises NotSupportedError for what has no native form."""
    numbers = map_numbers(program)
    functions = [Function(program, extent, target, numbers) for extent in program.functions]
    texts = [one.text() for one in functions]
    declared: dict[str, str] = dict(_INTRINSICS)
    for one in functions:
        declared |= one.symbols
    declared |= _hot_closure({name for one in functions for name in one.hot}, target)
    declared |= _barrier()
    globals_ = [f"@{kind}_{number} = external global i8" for fd, number in numbers.items() for kind in _symbols(target, fd)]
    if target.observe:
        globals_.append("@observed = internal global [11 x i64] zeroinitializer")
    return "\n".join([*globals_, *declared.values(), *texts])


def _symbols(target: NativeTarget, fd: int) -> tuple[str, ...]:
    """What code may name of a map."""
    return ("map", "values", "user") if fd in target.maps and target.maps[fd].is_arena else ("map", "values")


def _barrier() -> dict[str, str]:
    declaration, call = _BARRIERS.get(platform.machine(), ("", "fence seq_cst"))
    text = f"define internal void @speculation_barrier() alwaysinline nounwind {{\n  {call}\n  ret void\n}}"
    name = _NAME.search(declaration)
    return {**({name[1]: declaration} if name else {}), "speculation_barrier": text}


def _hot_closure(wanted: Iterable[str], target: NativeTarget) -> dict[str, str]:
    """wanted and whatever they name, by name."""
    found: dict[str, str] = {}
    left = list(wanted)
    while left:
        name = left.pop()
        text = target.hot.get(name)
        if name in found or text is None:
            continue
        found[name] = text
        left += _NAME.findall(text)
    return found
