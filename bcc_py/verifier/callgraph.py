"""What functions of a program do by way of the functions that they call: sleep, throw, catch.

Input: the program and its shape. Output: the functions that may sleep, the one that catches what bpf_throw() throws; or a
Refusal where a throw would leave a callback. Nothing here looks at what registers hold.

Source: kernel/bpf/verifier.c of Linux 6.18, check_cfg (might_sleep), check_max_stack_depth_subprog; kernel/bpf/btf.c,
bpf_find_exception_callback_insn_off (behaviour and sentences)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bcc_py.isa import PSEUDO_CALL, PSEUDO_KFUNC_CALL
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.form import Shape, callee_of
from bcc_py.verifier.kernel_functions_table import Trait, kernel_function
from bcc_py.verifier.rules import Refusal
from cfront.btf import Btf
from cfront.uapi import HELPER_BY_ID

__all__ = ["catching_slot", "check_throws", "sleepers"]

_CALL = 0x85
_CATCH = "exception_callback:"
_GLOBAL = 1


def sleepers(program: ProgramSpec, shape: Shape) -> frozenset[int]:
    """The functions that call something that may sleep."""
    found, calls = set(), []
    for slot, insn in enumerate(program.insns):
        caller = shape.function_of[slot]
        if insn.code != _CALL:
            continue
        if insn.src == PSEUDO_CALL:
            calls.append((caller, shape.function_of[slot + 1 + insn.imm]))
        elif insn.src == PSEUDO_KFUNC_CALL:
            function = kernel_function(program.kernel_functions.get(slot, ""), program.type, program.expected_attach_type)
            if function is not None and function.has(Trait.SLEEPS):
                found.add(caller)
        elif insn.imm in HELPER_BY_ID and HELPER_BY_ID[insn.imm].sleeps:
            found.add(caller)
    more = set(found)
    while more:
        more = {caller for caller, callee in calls if callee in found} - found
        found |= more
    return frozenset(found)


def catching_slot(program: ProgramSpec) -> int:
    """Where the function begins that the program names to catch exceptions, -1 where it names none. Raises Refusal."""
    if _CATCH.encode() not in program.btf or not program.functions or not program.functions[0].type_id:
        return -1
    btf = Btf(program.btf)
    names = [one.removeprefix(_CATCH) for one in btf.declaration_tags(program.functions[0].type_id) if one.startswith(_CATCH)]
    if len(names) > 1:
        raise Refusal("multiple exception callback tags for main subprog", insn=0)
    if not names:
        return -1
    id = btf.function_id(names[0])
    if id is None:
        raise Refusal(f"exception callback '{names[0]}' could not be found in BTF", insn=0)
    if btf.linkage(id) != _GLOBAL:
        raise Refusal(f"exception callback '{names[0]}' must have global linkage", insn=0)
    slot = next((one.slot for one in program.functions if one.type_id == id), -1)
    if slot < 0:
        raise Refusal(f"exception callback '{names[0]}' not found in func_info", insn=0)
    return slot


def check_throws(program: ProgramSpec, shape: Shape, callbacks: Collection[int], catcher: int) -> None:
    """No callback throws, and nobody calls the function that catches. callbacks, catcher: indices. Raises Refusal."""
    calls: dict[int, list[tuple[int, int]]] = {}
    throws: dict[int, int] = {}
    for slot, insn in enumerate(program.insns):
        caller, callee = shape.function_of[slot], callee_of(program.insns, slot)
        if callee is not None:
            calls.setdefault(caller, []).append((slot, shape.function_of[callee]))
            if catcher >= 0 and shape.function_of[callee] == catcher:
                raise Refusal(f"insn {slot} cannot call exception cb directly", insn=slot)
        elif insn.code == _CALL and insn.src == PSEUDO_KFUNC_CALL and program.kernel_functions.get(slot) == "bpf_throw":
            throws.setdefault(caller, slot)
    for start in sorted(callbacks):
        for function in _reached(calls, start):
            if function in throws:
                slot = throws[function]
                raise Refusal(f"bpf_throw kfunc (insn {slot}) cannot be called from callback subprog {function}", insn=slot)


def _reached(calls: dict[int, list[tuple[int, int]]], start: int) -> Iterator[int]:
    """start, and all that it calls or hands on."""
    seen, waiting = {start}, [start]
    while waiting:
        function = waiting.pop()
        yield function
        for _, callee in calls.get(function, ()):
            if callee not in seen:
                seen.add(callee)
                waiting.append(callee)
