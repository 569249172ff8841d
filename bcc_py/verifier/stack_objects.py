"""Iterators and saved interrupt states: slots of the stack that belong to the kernel.

Input: a register that points to such slots. Output: the iterator there, or a new one. A slot of an iterator has the bytes
"iiiiiiii" and a Pointer of kind "iter_num" (iter_task, ...), before it "rcu_" where RCU protects what it goes over and
"untrusted_" where RCU does so no more; type is "active" or "drained", ref (of its lowest slot only) is what its end releases,
range is how often it has turned. A saved interrupt state is one slot, of bytes "ffffffff" and a Pointer of kind
"irq_native" or "irq_lock" whose ref is its place in State.irqs.

Invariant: what was written over is neither any more, and what begins there ends before the path does.

Source: kernel/bpf/verifier.c of Linux 6.18, process_iter_arg, process_iter_next_call, process_irq_flag (behaviour and
sentences)."""

from __future__ import annotations

from bcc_py.verifier.calls import Calls
from bcc_py.verifier.domain import ZERO, Pointer, Value
from bcc_py.verifier.machine import MAX_STACK_BYTES
from bcc_py.verifier.rules import Refusal
from bcc_py.verifier.state import Frame, Ref, Slot, State

__all__ = ["StackObjects"]

_ENDED: Slot = ("--------", None)
_ITER, _FLAG = "iiiiiiii", "ffffffff"
ACTIVE, DRAINED = "active", "drained"


class StackObjects(Calls):
    """How iterators and saved interrupt states begin, go on and end."""

    def _object_slot(self, value: Pointer, what: str, sentence: str, slots: int) -> int:
        """The number of the lowest of the slots that value points to; sentence: what is said last if there can be none."""
        if value.var is not None:
            raise Refusal(f"{what} has to be at a constant offset", sentence)
        if value.off % 8 or value.off > -8 * slots:
            raise Refusal(f"cannot pass in {what} at an offset={value.off}", sentence)
        return -value.off // 8 - 1

    def _prepare(self, regno: int, value: Pointer, number: int, slots: int) -> Frame:
        """The slots may be written. Raises Refusal."""
        if value.off < -MAX_STACK_BYTES:
            raise Refusal(f"invalid write to stack R{regno} off={value.off} size=8")
        frame = self.state.frames[value.frame]
        self._deepen(frame, value.off)
        self._end_dynptrs(frame, value.off, value.off + 8 * slots)
        self._has_special_slots = True
        for one in range(number - slots + 1, number + 1):
            frame.written[one] = 0
        return frame

    # ---- iterators

    def _new_iterator(self, regno: int, value: Pointer, kind: str, slots: int, is_protected: bool) -> None:
        taken = f"expected uninitialized iter_{kind} as arg #{regno - 1}"
        number = self._object_slot(value, "iter", taken, slots)
        stack = self.state.frames[value.frame].stack
        numbers = range(number, number - slots, -1)
        if any("i" in stack.get(one, _ENDED)[0] for one in numbers):
            raise Refusal(taken)
        frame = self._prepare(regno, value, number, slots)
        guard = ("rcu_" if self._is_in_rcu() else "untrusted_") if is_protected else ""
        ref = self._acquire()
        for one in numbers:
            frame.stack[one] = (_ITER, Pointer(f"{guard}iter_{kind}", type=ACTIVE, ref=ref if one == number else 0))

    def _iterator(self, regno: int, value: Pointer, kind: str, slots: int, function: str) -> tuple[Frame, int]:
        """Where the iterator is that value points to: its frame, the number of its lowest slot."""
        missing = f"expected an initialized iter_{kind} as arg #{regno - 1}"
        number = self._object_slot(value, "iter", missing, slots)
        frame = self.state.frames[value.frame]
        for one in range(number, number - slots, -1):
            types, held = frame.stack.get(one, _ENDED)
            if not isinstance(held, Pointer) or "i" not in types:
                raise Refusal(missing)
            if held.kind.startswith("untrusted_"):
                raise Refusal(f"expected an RCU CS when using {function}")
            is_first = one == number
            if types != _ITER or bool(held.ref) != is_first or held.kind.removeprefix("rcu_") != f"iter_{kind}":
                raise Refusal(missing)
        return frame, number

    def _turn_iterator(self, depth: int, number: int, slots: int, gives: Pointer) -> None:
        """Two ways: the iterator gives something, and may do so again; or it is drained."""
        state = self.state
        held = state.frames[depth].stack[number][1]
        assert isinstance(held, Pointer), "an iterator was found there"
        if held.type == ACTIVE:
            other = state.copy()
            _set_iterator(other, depth, number, slots, ACTIVE, held.range + 1)
            other.frames[-1].regs[0] = gives.named(gives.kind.removesuffix("_or_null"), 0 if gives.ref == 0 else gives.id)
            other.frames[-1].sources[0] = 0
            other.turn += 1
            before = self._parent.parent if self._parent is not None and self._parent.slot == self.slot else self._parent
            self._widen_from(before, other, self.slot)
            self._push(other, self.slot + 1)
        _set_iterator(state, depth, number, slots, DRAINED, held.range)
        self.regs[0] = ZERO
        self.sources[0] = 0

    def _end_iterator(self, frame: Frame, number: int, slots: int) -> None:
        held = frame.stack[number][1]
        assert isinstance(held, Pointer), "an iterator was found there"
        for one in range(number, number - slots, -1):
            frame.stack[one] = _ENDED
            frame.written[one] = 0
        self._release(held.ref)

    def _is_active(self, value: Value | None) -> bool:
        """value points to an iterator that may give something."""
        if not isinstance(value, Pointer) or value.kind != "fp" or value.var is not None or value.off % 8:
            return False
        held = self.state.frames[value.frame].stack.get(-value.off // 8 - 1, _ENDED)[1]
        return isinstance(held, Pointer) and held.type == ACTIVE

    # ---- interrupts

    def _save_interrupts(self, regno: int, value: Pointer, kind: str) -> None:
        taken = f"expected uninitialized irq flag as arg#{regno - 1}"
        number = self._object_slot(value, "irq_flag", taken, 1)
        stack = self.state.frames[value.frame].stack
        if "f" in stack.get(number, _ENDED)[0]:
            raise Refusal(taken)
        frame = self._prepare(regno, value, number, 1)
        id = self._new_id()
        self.state.irqs += (Ref(id, self.slot),)
        frame.stack[number] = (_FLAG, Pointer(kind, ref=id))

    def _restore_interrupts(self, regno: int, value: Pointer, kind: str) -> None:
        missing = f"expected an initialized irq flag as arg#{regno - 1}"
        number = self._object_slot(value, "irq_flag", missing, 1)
        frame = self.state.frames[value.frame]
        types, held = frame.stack.get(number, _ENDED)
        if types != _FLAG or not isinstance(held, Pointer) or not held.ref:
            raise Refusal(missing)
        if held.kind != kind:
            have, used = held.kind.removeprefix("irq_"), kind.removeprefix("irq_")
            raise Refusal(f"irq flag acquired by {have} kfuncs cannot be restored with {used} kfuncs")
        last = self.state.irqs[-1]
        if held.ref != last.id:
            raise Refusal(f"cannot restore irq state out of order, expected id={last.id} acquired at insn_idx={last.slot}")
        self.state.irqs = self.state.irqs[:-1]
        frame.stack[number] = _ENDED
        frame.written[number] = 0


def _set_iterator(state: State, depth: int, number: int, slots: int, type: str, turns: int) -> None:
    stack = state.frames[depth].stack
    for one in range(number, number - slots, -1):
        types, held = stack[one]
        assert isinstance(held, Pointer), "an iterator was found there"
        stack[one] = (types, Pointer(held.kind, type=type, ref=held.ref, range=turns))
