"""The form of instructions and the shape of their graph: what must hold before any path is looked at.

Input: instructions. Output: a Shape, or a Refusal with Linux's sentence. Invariant: an opcode or a reserved
field that is not listed here as allowed is refused.

Source: kernel/bpf/verifier.c of Linux 6.18 (resolve_pseudo_ldimm64, check_subprogs, check_cfg); RFC 9669."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bcc_py.isa import PSEUDO_BTF_ID, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_KFUNC_CALL, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn
from bcc_py.verifier.flow import LOAD_ACQUIRE, STORE_RELEASE, liveness, weights
from bcc_py.verifier.rules import Refusal
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Arg

__all__ = ["ADDR_SPACE_CAST", "Shape", "callee_of", "check_form", "faults", "shape_of"]

_LDDW, _CALL, _EXIT, _JA, _GOTOL, _MAY_GOTO = 0x18, 0x85, 0x95, 0x05, 0x06, 0xE5

# a move between an arena's addresses and the kernel's: its offset, and which way it goes
ADDR_SPACE_CAST = 1
_ADDR_SPACES = (1, 1 << 16)
_SET_CALLBACK = HELPER_IDS["timer_set_callback"]
_ALU_OPS = frozenset(range(0x00, 0xE0, 0x10))
_JMP_OPS = frozenset((0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0))
_ATOMICS = frozenset((0x00, 0x40, 0x50, 0xA0, 0x01, 0x41, 0x51, 0xA1, 0xE1, 0xF1))


def check_form(insns: Sequence[Insn], resolve: Callable[[int], None]) -> None:
    """Every slot is an instruction of RFC 9669, and its 64-bit loads are whole; what else is wrong with an instruction is
    said where a path reaches it (faults). resolve: called with the slot of each load of an address that
    belongs to the kernel. Raises Refusal."""
    slot = 0
    while slot < len(insns):
        insn = insns[slot]
        if insn.code == _LDDW:
            _check_lddw(insns, slot)
            if insn.src in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_BTF_ID):
                resolve(slot)
            slot += 2
            continue
        if insn.code & 7 == 1 and (insn.code & 0xE0 not in (0x60, 0x80) or insn.imm):
            raise Refusal("BPF_LDX uses reserved fields", insn=slot)
        if insn.code not in _KNOWN:
            raise Refusal(f"unknown opcode {insn.code:02x}", insn=slot)
        slot += 1


def faults(insns: Sequence[Insn]) -> dict[int, str]:
    """By slot, what is wrong with the fields of instructions."""
    found = {}
    for slot in _heads(insns):
        insn = insns[slot]
        sentence = "BPF_LD_IMM64 uses reserved fields" if insn.code == _LDDW and insn.off else _fault(insn)
        if sentence:
            found[slot] = sentence
    return found


def _check_lddw(insns: Sequence[Insn], slot: int) -> None:
    insn = insns[slot]
    if slot + 1 >= len(insns) or insns[slot + 1][:4] != (0, 0, 0, 0):
        raise Refusal("invalid bpf_ld_imm64 insn", insn=slot)
    if insn.src not in (0, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_BTF_ID, PSEUDO_FUNC):
        raise Refusal("unrecognized bpf_ld_imm64 insn", insn=slot)
    if insn.src == PSEUDO_MAP_FD and insns[slot + 1].imm:
        raise Refusal("unrecognized bpf_ld_imm64 insn", insn=slot)


_KNOWN = frozenset((
    *(op | cls | by_reg for op in range(0x00, 0xE0, 0x10) if op not in (0x80, 0xD0) for cls in (4, 7) for by_reg in (0, 8)),
    0x84, 0x87, 0xD4, 0xDC, 0xD7,
    *(op | cls | by_reg for op in _JMP_OPS for cls in (5, 6) for by_reg in (0, 8)),
    _JA, _GOTOL, _CALL, _EXIT, _MAY_GOTO, _LDDW,
    *(mode | size for mode in (0x20, 0x40) for size in (0x00, 0x08, 0x10)),
    *(0x60 | size | cls for size in (0x00, 0x08, 0x10, 0x18) for cls in (1, 2, 3)),
    *(0x80 | size | 1 for size in (0x00, 0x08, 0x10)),
    *(0xC0 | size | 3 for size in (0x00, 0x08, 0x10, 0x18)),
))


def _fault(insn: Insn) -> str:
    """What is wrong with the fields of one instruction, "" if nothing."""
    code, dst, src, _, _ = insn
    cls = code & 7
    sentence = ""
    if cls in (4, 7):
        sentence = _alu_fault(insn)
    elif cls in (5, 6):
        sentence = _jump_fault(insn)
    elif cls in (2, 3):
        sentence = _store_fault(insn)
    if sentence:
        return sentence
    if dst > 10 or src > 10:
        return f"R{dst if dst > 10 else src} is invalid"
    if code == _LDDW and dst == 10:
        return "frame pointer is read only"
    return ""


def _alu_fault(insn: Insn) -> str:
    code, _, src, off, imm = insn
    op, is_wide, by_reg = code & 0xF0, code & 7 == 7, code & 8
    if op == 0xD0:
        if src or off or imm not in (16, 32, 64) or (is_wide and by_reg):
            return "BPF_END uses reserved fields"
        return ""
    if op == 0x80:
        return "BPF_NEG uses reserved fields" if src or off or imm or by_reg else ""
    if op not in _ALU_OPS:
        return f"unknown opcode {code:02x}"
    if op == 0xB0:
        if off == ADDR_SPACE_CAST and is_wide and by_reg:
            return "" if imm in _ADDR_SPACES else "addr_space_cast insn can only convert between address space 1 and 0"
        casts = ((0, 8, 16, 32) if is_wide else (0, 8, 16)) if by_reg else (0,)
        return "BPF_MOV uses reserved fields" if off not in casts or (imm if by_reg else src) else ""
    signed_too = (0, 1) if op in (0x30, 0x90) else (0,)
    if off not in signed_too or (imm if by_reg else src):
        return "BPF_ALU uses reserved fields"
    if op in (0x30, 0x90) and not by_reg and not imm:
        return "div by zero"
    if op in (0x60, 0x70, 0xC0) and not by_reg and not 0 <= imm < (64 if is_wide else 32):
        return f"invalid shift {imm}"
    return ""


def _jump_fault(insn: Insn) -> str:
    code, dst, src, off, imm = insn
    if code == _CALL:
        return "BPF_CALL uses reserved fields" if dst or (off and src != 2) or src > 2 else ""
    if code == _EXIT:
        return "BPF_EXIT uses reserved fields" if dst or src or off or imm else ""
    if code == _JA:
        return "BPF_JA uses reserved fields" if dst or src or imm else ""
    if code == _GOTOL:
        return "BPF_JA uses reserved fields" if dst or src or off else ""
    if code == _MAY_GOTO:
        return f"invalid may_goto off {off} imm {imm}" if dst or src or imm or not off else ""
    if code & 0xF0 not in _JMP_OPS:
        return f"unknown opcode {code:02x}"
    return "BPF_JMP/JMP32 uses reserved fields" if (imm if code & 8 else src) else ""


def _store_fault(insn: Insn) -> str:
    code, _, src, _, imm = insn
    mode = code & 0xE0
    if code & 7 == 2:
        if mode != 0x60:
            return f"unknown opcode {code:02x}"
        return "BPF_ST uses reserved fields" if src else ""
    if mode == 0x60:
        return "BPF_STX uses reserved fields" if imm else ""
    if mode != 0xC0:
        return f"unknown opcode {code:02x}"
    if imm in (LOAD_ACQUIRE, STORE_RELEASE):
        return ""
    if imm not in _ATOMICS:
        return f"BPF_ATOMIC uses invalid atomic opcode {imm & 0xFFFFFFFF:02x}"
    return "" if code & 0x18 in (0x00, 0x18) else "invalid atomic operand size"


@dataclass(frozen=True, slots=True)
class Shape:
    """The static structure. starts: first slot of each function, ascending; function_of[slot]: its index
    there; prune_points: slots where states are compared; arrivals: those where paths meet; live[slot]: bit r is set when register r may be read
    before it is written from slot on, within its function (a caller's registers live in the caller's frame);
    weighed[slot]: registers and stack slots whose numeric value may still decide something (flow.py); turns: slots where
    loops turn whose number of turns the program does not say (callbacks, iterators, may_goto); packet_movers: functions that call something after which packet pointers are invalid."""

    starts: tuple[int, ...]
    function_of: tuple[int, ...]
    prune_points: frozenset[int]
    arrivals: frozenset[int]
    live: tuple[int, ...]
    weighed: tuple[int, ...]
    turns: frozenset[int]
    packet_movers: frozenset[int]


def _width(insn: Insn) -> int:
    return 2 if insn.code == _LDDW else 1


def _target(insns: Sequence[Insn], slot: int) -> int | None:
    """Where the jump at slot goes, None if it is no jump."""
    insn = insns[slot]
    if insn.code == _GOTOL:
        return slot + 1 + insn.imm
    if insn.code & 7 in (5, 6) and insn.code not in (_CALL, _EXIT):
        return slot + 1 + insn.off
    return None


def _successors(insns: Sequence[Insn], slot: int) -> tuple[int, ...]:
    code = insns[slot].code
    if code == _EXIT:
        return ()
    target = _target(insns, slot)
    if target is None:
        return (slot + _width(insns[slot]),)
    return (target,) if code in (_JA, _GOTOL) else (slot + 1, target)


def _heads(insns: Sequence[Insn]) -> list[int]:
    heads, slot = [], 0
    while slot < len(insns):
        heads.append(slot)
        slot += _width(insns[slot])
    return heads


def shape_of(
    insns: Sequence[Insn], kernel_functions: Mapping[int, str] | None = None, are_loops_allowed: bool = True,
    resolve: Callable[[int], None] = lambda slot: None, catcher: int = -1, dense: frozenset[int] | None = None,
) -> Shape:
    """The form of insns (check_form), and their graph. Raises Refusal: a jump or call to nowhere, between functions or into
    the middle of a 64-bit load; a function that runs off its end; an instruction no path reaches.

    kernel_functions: the names of the kernel's functions that are called, by slot; resolve: called with the slot of each
    load of a map's address; catcher: where a function begins that the kernel calls, -1 for none."""
    heads = _heads(insns)
    entries = {0} if catcher < 0 else {0, catcher}
    ordered, function_of = _functions(insns, heads, entries)
    check_form(insns, resolve)
    edges = {slot: _successors(insns, slot) for slot in heads}
    if not are_loops_allowed:
        _check_loops(edges, ordered)
    _check_reached(insns, heads, entries)
    branches, arrivals = _prune_points(insns, heads)
    turns = frozenset(slot for slot in heads if _turns(insns[slot], (kernel_functions or {}).get(slot, "")))
    return Shape(
        ordered, tuple(function_of), branches | arrivals | turns, arrivals, liveness(insns, heads, edges),
        weights(insns, heads, edges, ordered, arrivals, dense), turns, _packet_movers(insns, heads, function_of),
    )


def _packet_movers(insns: Sequence[Insn], heads: list[int], function_of: Sequence[int]) -> frozenset[int]:
    movers, calls = set(), []
    for slot in heads:
        insn = insns[slot]
        helper = HELPER_BY_ID.get(insn.imm) if insn.code == _CALL and not insn.src else None
        if helper is not None and helper.moves_packet:
            movers.add(function_of[slot])
        callee = callee_of(insns, slot)
        if callee is not None:
            calls.append((function_of[slot], function_of[callee]))
    is_changed = bool(movers)
    while is_changed:
        more = {caller for caller, callee in calls if callee in movers} - movers
        movers |= more
        is_changed = bool(more)
    return frozenset(movers)


def _functions(insns: Sequence[Insn], heads: list[int], entries: set[int]) -> tuple[tuple[int, ...], list[int]]:
    """Where functions start, and by slot which one it is in. Raises Refusal."""
    starts = set(entries)
    for slot in heads:
        target = callee_of(insns, slot)
        if target is not None:
            if not 0 <= target < len(insns):
                raise Refusal("call to invalid destination", insn=slot)
            starts.add(target)
    ordered = tuple(sorted(starts))
    if len(ordered) > 256:
        raise Refusal("too many subprograms", insn=0)
    function_of: list[int] = []
    for index, start in enumerate(ordered):
        end = ordered[index + 1] if index + 1 < len(ordered) else len(insns)
        function_of += [index] * (end - start)
        _check_function(insns, start, end)
    return ordered, function_of


def _check_loops(edges: Mapping[int, tuple[int, ...]], starts: Sequence[int]) -> None:
    """No way leads back to an instruction on it: what a loader without CAP_BPF is held to. Raises Refusal."""
    on_path: set[int] = set()
    done: set[int] = set()
    waiting = [(start, iter(edges[start])) for start in reversed(starts)]
    on_path.update(start for start in starts)
    while waiting:
        slot, ways = waiting[-1]
        for way in ways:
            if way in on_path and way not in done:
                raise Refusal(f"back-edge from insn {slot} to {way}", insn=slot)
            if way not in done and way in edges:
                on_path.add(way)
                waiting.append((way, iter(edges[way])))
                break
        else:
            done.add(slot)
            on_path.discard(slot)
            waiting.pop()


def callee_of(insns: Sequence[Insn], slot: int) -> int | None:
    """Where the function begins that the instruction at slot calls or takes the address of."""
    insn = insns[slot]
    is_named = (insn.code == _CALL and insn.src == PSEUDO_CALL) or (insn.code == _LDDW and insn.src == PSEUDO_FUNC)
    return slot + 1 + insn.imm if is_named else None


def _turns(insn: Insn, kernel_function: str) -> bool:
    if insn.code == _MAY_GOTO:
        return True
    if insn.code != _CALL:
        return False
    if insn.src == PSEUDO_KFUNC_CALL:
        is_next = kernel_function.startswith("bpf_iter_") and kernel_function.endswith("_next")
        return is_next or kernel_function == "bpf_rbtree_add_impl"
    helper = HELPER_BY_ID.get(insn.imm) if not insn.src else None
    return helper is not None and Arg.FUNC in helper.args and helper.name != "timer_set_callback"


def _check_function(insns: Sequence[Insn], start: int, end: int) -> None:
    """Its jumps stay inside, and it does not run off its end."""
    for slot in range(start, end):
        target = _target(insns, slot)
        if target is not None and not start <= target < end:
            raise Refusal(f"jump out of range from insn {slot} to {target}", insn=slot)
    if insns[end - 1].code not in (_EXIT, _JA, _GOTOL):
        raise Refusal("last insn is not an exit or jmp", insn=end - 1)


def _check_reached(insns: Sequence[Insn], heads: list[int], entries: set[int]) -> None:
    """Every instruction lies on a way from the first one, following calls; none begins inside another."""
    seen: set[int] = set()
    waiting = list(entries)
    while waiting:
        slot = waiting.pop()
        if slot in seen:
            continue
        seen.add(slot)
        waiting += _successors(insns, slot)
        callee = callee_of(insns, slot)
        if callee is not None:
            waiting.append(callee)
    for slot in heads:
        if slot not in seen:
            raise Refusal(f"unreachable insn {slot}", insn=slot)
        if insns[slot].code == _LDDW and slot + 1 in seen:
            raise Refusal(f"jump into the middle of ldimm64 insn {slot}", insn=slot)


def _prune_points(insns: Sequence[Insn], heads: list[int]) -> tuple[frozenset[int], frozenset[int]]:
    """Where states are compared: (at branches and calls of functions, where jumps lead and behind all calls).

    Source: kernel/bpf/verifier.c, visit_insn."""
    branches, arrivals = set(), set()
    for slot in heads:
        insn = insns[slot]
        target, callee = _target(insns, slot), callee_of(insns, slot)
        if target is not None:
            arrivals.add(target)
            if insn.code not in (_JA, _GOTOL):
                branches.add(slot)
        elif callee is not None:
            branches.add(slot)
            arrivals.update((slot + _width(insn), callee))
        elif insn.code == _CALL:
            arrivals.add(slot + 1)
            if not insn.src and insn.imm == _SET_CALLBACK:
                branches.add(slot)
    return frozenset(branches), frozenset(arrivals)
