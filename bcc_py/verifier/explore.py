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
Deterministic: the same program gives the same log. Not done: callbacks, kernel functions, sockets,
dynptrs, map-in-map; each is refused in words.

Source: kernel/bpf/verifier.c of Linux 6.18 (behaviour and sentences), written anew."""

from __future__ import annotations

from collections.abc import Callable

from bcc_py.isa import PSEUDO_CALL, Insn, text_of
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.calls import MAX_FRAMES, Calls
from bcc_py.verifier.env import VerifierEnv
from bcc_py.verifier.log import slot_text, value_text
from bcc_py.verifier.machine import MAX_STACK_BYTES, PATH_ENDS, Finding
from bcc_py.verifier.precision import inherit, remember
from bcc_py.verifier.rules import Refusal, Shape

__all__ = ["MAX_FRAMES", "MAX_STACK_BYTES", "Explorer", "Finding"]

_CALL, _EXIT, _JA, _GOTOL = 0x85, 0x95, 0x05, 0x06


class Explorer(Calls):
    """One exploration of one program. run() does it once."""

    def __init__(self, program: ProgramSpec, shape: Shape, env: VerifierEnv, log: Callable[[str], None] | None) -> None:
        super().__init__(program, shape, env, log)
        self.line_at = {
            one.slot: f"; {one.text} @ {one.file.rpartition('/')[2]}:{one.line}:{one.col}" for one in program.lines
        } if log else {}
        self._classes: tuple[Callable[[Insn], int], ...] = (
            self._load_immediate, self._load, self._store, self._store, self._alu, self._jump, self._jump, self._alu,
        )

    # ---- the walk

    def run(self) -> Finding:
        """Explores everything. Raises Refusal."""
        if self.log:
            self._log_state("func#0 @0", 0)
        insns, points, classes, finding = self.insns, self.shape.prune_points, self._classes, self.finding
        slot = 0
        while True:
            self.slot = slot
            finding.insns_processed += 1
            if finding.insns_processed > self.insn_limit:
                raise Refusal(f"BPF program is too large. Processed {finding.insns_processed} insn")
            if slot in points and self._is_seen(slot):
                if self.log:
                    self.log(f"{slot}: safe")
                slot = PATH_ENDS
            else:
                insn = insns[slot]
                finding.reached.add(slot)
                if self.log:
                    slot = self._logged_step(insn, slot)
                else:
                    slot = classes[insn.code & 7](insn)
            if slot == PATH_ENDS:
                slot = self._next_path()
                if slot == PATH_ENDS:
                    finding.peak_states = self._pruner.peak
                    return finding

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
            self._log_state(f"from {origin} to {slot}", slot)
        return slot

    def _is_seen(self, slot: int) -> bool:
        """True when a finished state here stands for the current one; otherwise this one may be remembered."""
        state, pruner = self.state, self._pruner
        self._jumps += 1
        if pruner.is_circle(slot, state):
            raise Refusal(f"infinite loop detected at insn {slot}")
        finished = pruner.covering(slot, state)
        if finished is not None:
            inherit(self._parent, state, finished)
            return True
        insns = self.finding.insns_processed
        if slot not in self._met or (self._jumps - self._last_jumps >= 2 and insns - self._last_insns >= 8):
            self._met.add(slot)
            self._last_jumps, self._last_insns = self._jumps, insns
            self._parent = remember(slot, state, self._parent)
            pruner.add(self._parent)
        return False

    def _jump(self, insn: Insn) -> int:
        code = insn.code
        if code == _CALL:
            return self._call_function(insn) if insn.src == PSEUDO_CALL else self._call_helper(insn)
        if code == _EXIT:
            return self._exit()
        if code == _JA:
            return self.slot + 1 + insn.off
        if code == _GOTOL:
            return self.slot + 1 + insn.imm
        return self._branch(insn)

    # ---- the log

    def _logged_step(self, insn: Insn, slot: int) -> int:
        assert self.log is not None, "only called with a log"
        line = self.line_at.get(slot)
        if line is not None:
            self.log(line)
        text = f"{slot}: {text_of(self.insns, slot)}"
        frame, before = self.frame, self.regs.copy()
        try:
            after = self._classes[insn.code & 7](insn)
        except Refusal:
            self.log(text)
            raise
        regs = frame.regs
        changed = [f"R{i}_w={value_text(regs[i])}" for i in range(11) if regs[i] is not before[i] and regs[i] is not None]
        self.log(f"{text:<38}; {' '.join(changed)}" if changed else text)
        return after

    def _log_state(self, why: str, slot: int) -> None:
        assert self.log is not None, "only called with a log"
        self.log("")
        rows = [f"R{i}={value_text(value)}" for i, value in enumerate(self.regs) if value is not None]
        rows += [f"fp-{8 * number + 8}={slot_text(one)}" for number, one in sorted(self.frame.stack.items())]
        depth = len(self.state.frames) - 1
        self.log(f"{why}:{f' frame{depth}:' if depth else ''} {' '.join(rows)}")
