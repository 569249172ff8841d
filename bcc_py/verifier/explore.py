"""Follows every path of a program and holds each instruction to the rules.

Input: well-formed instructions (rules.check_form, rules.shape_of) and the maps they name. Output: a
Finding of what was seen, or the Refusal of the first rule that a path breaks. Invariant: an instruction
is only passed when every concrete execution that reaches it obeys the rules; a state that a path leaves
is a superset of the concrete ones.

Algorithm, as in Linux: depth first. At a branch whose outcome the ranges do not decide, the state is
copied and both ways are followed, each with what the comparison teaches. Where paths meet, the state is
compared with those already finished there (prune.py): if one of them subsumes it, the path ends. Only numbers
that decided something count in that (precision.py). A state that comes back to a place on its own path
unchanged is an infinite loop. Loops are otherwise walked as often as they turn; exploration ends because the
number of instructions looked at is limited.

A call of a function in the program is followed like a jump, with a frame of its own; its r0 comes back.
Deterministic: the same program gives the same log.

Source: kernel/bpf/verifier.c of Linux 6.18 (behaviour and sentences), written anew."""

from __future__ import annotations

from collections.abc import Callable

from bcc_py.isa import PSEUDO_CALL, PSEUDO_KFUNC_CALL, Insn
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.calls import MAX_FRAMES
from bcc_py.verifier.domain import UNKNOWN, Pointer, Value
from bcc_py.verifier.env import VerifierEnv
from bcc_py.verifier.form import Shape, faults
from bcc_py.verifier.kernel_functions import KernelFunctions
from bcc_py.verifier.log import Log
from bcc_py.verifier.machine import MAX_STACK_BYTES, PATH_ENDS, Finding
from bcc_py.verifier.precision import close_loop, inherit, remember
from bcc_py.verifier.rules import Refusal
from bcc_py.verifier.state import Frame, State

__all__ = ["MAX_FRAMES", "MAX_STACK_BYTES", "Explorer", "Finding"]

_LDDW, _CALL, _EXIT, _JA, _GOTOL, _MAY_GOTO = 0x18, 0x85, 0x95, 0x05, 0x06, 0xE5
# what a path may bring together (arrivals, spills, fills) before its state is remembered
_MAX_HISTORY = 40


class Explorer(KernelFunctions):
    """One exploration of one program. run() does it once."""

    def __init__(self, program: ProgramSpec, shape: Shape, env: VerifierEnv, log: Log | None) -> None:
        super().__init__(program, shape, env, log)
        self._classes: tuple[Callable[[Insn], int], ...] = (
            self._load_special, self._load, self._store, self._store, self._alu, self._jump, self._jump, self._alu,
        )
        self._faults = faults(program.insns)
        if self._faults:
            self._sound, self._classes = self._classes, (self._step_or_fault,) * 8

    def _step_or_fault(self, insn: Insn) -> int:
        if self.slot in self._faults:
            raise Refusal(self._faults[self.slot])
        return self._sound[insn.code & 7](insn)

    # ---- the walk

    def run(self) -> Finding:
        """Explores everything: the main function, then each global one that is called. Raises Refusal."""
        if self.log:
            self.log.begin(self.shape.starts)
        self._explore(0)
        if self.catcher >= 0:
            self.called_globals.append(self.catcher)
        done = 0
        while done < len(self.called_globals):
            start = self.shape.starts[self.called_globals[done]]
            self._begin_global(self.called_globals[done])
            if self.log:
                self.log.validate(start)
            self._explore(start)
            if self.log:
                self.log.validated(start)
            done += 1
        self._check_kernel_calls()
        self.finding.peak_states = self._pruner.peak
        return self.finding

    def _begin_global(self, index: int) -> None:
        """The state in which a global function starts: any arguments that fit its prototype."""
        if index == self.catcher:
            self._check_catcher(index)
        regs: list[Value | None] = [None] * 11
        for regno, one in enumerate(self.globals[index].parameters, 1):
            if one.kind == "scalar":
                regs[regno] = UNKNOWN
            else:
                id = self._new_id() if one.kind.endswith("_or_null") or one.kind == "dynptr" else 0
                kind = "dynptr_ptr" if one.kind == "dynptr" else one.kind
                regs[regno] = Pointer(kind, size=one.size, type=one.type, id=id)
        regs[10] = Pointer("fp")
        self.state = State([Frame(regs, {}, -1, index, [0] * 11, {})])
        self._parent = None
        self._enter_frame()

    def _explore(self, slot: int) -> None:
        """Every path from slot on, in the current state."""
        insns, points, classes, finding = self.insns, self.shape.prune_points, self._classes, self.finding
        reached = finding.reached
        while True:
            self.slot = slot
            finding.insns_processed += 1
            if finding.insns_processed > self.insn_limit:
                raise Refusal(f"BPF program is too large. Processed {finding.insns_processed} insn")
            if slot in points and self._is_seen(slot):
                if self.log:
                    self.log.safe(self.state, slot)
                slot = PATH_ENDS
            elif self.state.is_speculative:
                slot = self._guess(slot)
            else:
                insn = insns[slot]
                reached.add(slot)
                if self.log:
                    slot = self.log.step(self.state, slot, insn, classes[insn.code & 7])
                else:
                    slot = classes[insn.code & 7](insn)
            if slot == PATH_ENDS:
                slot = self._next_path()
                if slot == PATH_ENDS:
                    return

    def _guess(self, slot: int) -> int:
        """One step that only a processor's guess gets to. What it must not do there, a barrier before it prevents."""
        if slot in self.finding.nospec:
            return PATH_ENDS
        insn = self.insns[slot]
        run = self._classes[insn.code & 7]
        try:
            after = self.log.step(self.state, slot, insn, run) if self.log else run(insn)
        except Refusal:
            self.finding.nospec.add(slot)
            return PATH_ENDS
        return PATH_ENDS if slot in self.finding.nospec_after else after

    def _next_path(self) -> int:
        """Ends the current path; the slot where the most recent one left over goes on."""
        one = self._parent
        while one is not None:
            one.unfinished -= 1
            if one.unfinished:
                break
            self._pruner.finish(one)
            one = one.parent
        if not self._pending:
            return PATH_ENDS
        self.state, origin, slot, self._parent = self._pending.pop()
        self._enter_frame()
        if self.log:
            self.log.resume(len(self._pending), origin, slot)
        return slot

    def _is_seen(self, slot: int) -> bool:
        """True when another state here stands for the current one; otherwise this one may be remembered."""
        state, pruner = self.state, self._pruner
        is_turn = slot in self.shape.turns
        if is_turn:
            head = pruner.head_of(slot, state) if self._is_turning(slot) else None
            if head is not None:
                close_loop(self._parent, state, head, head)
                return True
        if (not is_turn or self.insns[slot].code == _MAY_GOTO) and pruner.is_circle(slot, state):
            raise Refusal(f"infinite loop detected at insn {slot}")
        finished = pruner.covering(slot, state)
        if finished is not None:
            head = finished.open_head()
            if head is not None:
                close_loop(self._parent, state, finished, head)
            inherit(self._parent, state, finished)
            return True
        insns = self.finding.insns_processed
        jumps = self._jumps - self._last_jumps
        gone = insns - self._last_insns
        if is_turn or self.is_frequent or state.history > _MAX_HISTORY or (
            jumps >= 2 and gone >= 8 and (jumps >= 20 or gone >= 100 or not pruner.is_on_path(slot))
        ):
            state.history = 0
            self._last_jumps, self._last_insns = self._jumps, insns
            self._parent = remember(slot, state, self._parent)
            pruner.add(self._parent)
        if slot in self.shape.arrivals:
            state.history += 1
        return False

    def _may_goto(self, insn: Insn) -> int:
        """A loop that the kernel ends after very many turns: once more, or out."""
        state = self.state.copy()
        state.turn += 1
        before = self._parent.parent if self._parent is not None and self._parent.slot == self.slot else self._parent
        self._widen_from(before, state, self.slot)
        self._push(state, self.slot + 1)
        return self.slot + 1 + insn.off

    def _load_special(self, insn: Insn) -> int:
        return self._load_immediate(insn) if insn.code == _LDDW else self._load_packet(insn)

    def _jump(self, insn: Insn) -> int:
        code = insn.code
        self._jumps += 1
        if code == _CALL:
            if insn.src == PSEUDO_KFUNC_CALL:
                return self._call_kernel(insn)
            return self._call_function(insn) if insn.src == PSEUDO_CALL else self._call_helper(insn)
        if code == _EXIT:
            return self._exit()
        if code == _JA:
            return self.slot + 1 + insn.off
        if code == _GOTOL:
            return self.slot + 1 + insn.imm
        return self._may_goto(insn) if code == _MAY_GOTO else self._branch(insn)
