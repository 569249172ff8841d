"""Dynptrs: two slots of the stack that stand for memory whose size is known when the program runs.

Input: a register that points to such slots. Output: the dynptr there, or a new one. A slot of a dynptr has the bytes
"dddddddd" and a Pointer of kind "dynptr_local", "dynptr_ringbuf", "dynptr_skb", "dynptr_xdp" or "dynptr_skb_meta": id is the
dynptr's, ref what has to be released, size 1 in the slot that a program points to and 0 in the one above it. A slice of a
dynptr is memory ("mem", "rdonly_mem") whose uid is the dynptr's id, and type "skb", "xdp" or "skb_meta" over a packet. A dynptr that the kernel hands to a callback is a
register of kind "dynptr_ptr".

Invariant: where one slot of a dynptr is written, both end, and so do its slices; one that has to be released is not
written.

Source: kernel/bpf/verifier.c of Linux 6.18, process_dynptr_func, destroy_if_dynptr_stack_slot (behaviour and sentences)."""

from __future__ import annotations

from collections.abc import Callable

from bcc_py.verifier.arith import Arithmetic
from bcc_py.verifier.domain import Pointer
from bcc_py.verifier.machine import MAX_STACK_BYTES
from bcc_py.verifier.rules import Refusal
from bcc_py.verifier.state import Frame, Slot

__all__ = ["PACKET_DYNPTRS", "Dynptrs"]

_BYTES = 16
_ENDED: Slot = ("--------", None)
_SLICES = ("mem", "mem_or_null", "rdonly_mem", "rdonly_mem_or_null")
_PACKETS = ("skb", "xdp", "skb_meta")
# dynptrs through which the packet is written: where it lies may change
PACKET_DYNPTRS = ("dynptr_skb", "dynptr_skb_meta")


class Dynptrs(Arithmetic):
    """How dynptrs begin and end."""

    def _take_dynptr(self, regno: int, value: Pointer, wanted: str = "", is_mutated: bool = False) -> Pointer:
        """The dynptr that value, in this register, points to. wanted: its kind, "" for any; is_mutated: the callee changes
        the dynptr itself. Raises Refusal."""
        if value.kind not in ("fp", "dynptr_ptr"):
            raise Refusal(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
        if value.kind == "dynptr_ptr" and is_mutated:
            raise Refusal("cannot pass pointer to const bpf_dynptr, the helper mutates it")
        missing = f"Expected an initialized dynptr as arg #{regno - 1}"
        held = value
        if value.kind == "fp":
            found = self._dynptr_at(self.state.frames[value.frame], self._slot_of_dynptr(value, missing))
            if found is None:
                raise Refusal(missing)
            held = found
        if wanted and held.kind != wanted:
            raise Refusal(f"Expected a dynptr of type {wanted.removeprefix('dynptr_')} as arg #{regno - 1}")
        return held

    def _take_reference(self, regno: int, value: Pointer, wanted: str) -> Pointer:
        """The dynptr whose reference the call releases. Raises Refusal."""
        if value.kind == "dynptr_ptr":
            raise Refusal("cannot release unowned const bpf_dynptr")
        unowned = f"arg {regno} is an unacquired reference"
        types, held = self.state.frames[value.frame].stack.get(self._slot_of_dynptr(value, unowned), _ENDED)
        if types[0] != "d" or not isinstance(held, Pointer) or not held.ref:
            raise Refusal(unowned)
        return self._take_dynptr(regno, value, wanted, is_mutated=True)

    def _new_dynptr(
        self, regno: int, value: Pointer, kind: str, ref: int = 0, is_reference: bool = False
    ) -> Pointer:
        """The slots that value, in this register, points to become a dynptr. ref: what has to be released, of a clone's
        model; is_reference: it is something new to be released. Raises Refusal."""
        taken = "Dynptr has to be an uninitialized dynptr"
        if value.kind not in ("fp", "dynptr_ptr"):
            raise Refusal(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
        if value.kind == "dynptr_ptr":
            raise Refusal(taken)
        number = self._slot_of_dynptr(value, taken)
        if value.off < -MAX_STACK_BYTES:
            raise Refusal(f"invalid write to stack R{regno} off={value.off} size=8")
        frame = self.state.frames[value.frame]
        self._deepen(frame, value.off)
        self._end_dynptrs(frame, value.off, value.off + _BYTES)
        self._has_special_slots = True
        ref = self._acquire() if is_reference else ref
        id = self._new_id()
        made = Pointer(kind, id=id, ref=ref, size=1)
        frame.stack[number] = ("dddddddd", made)
        frame.stack[number - 1] = ("dddddddd", Pointer(kind, id=id, ref=ref))
        frame.written[number] = frame.written[number - 1] = 0
        return made

    def _slot_of_dynptr(self, value: Pointer, sentence: str) -> int:
        """The number of the lower one of the slots that value points to. sentence: what Linux says last if there can be none."""
        if value.var is not None:
            raise Refusal("dynptr has to be at a constant offset", sentence)
        if value.off % 8 or value.off > -_BYTES:
            raise Refusal(f"cannot pass in dynptr at an offset={value.off}", sentence)
        return -value.off // 8 - 1

    def _dynptr_at(self, frame: Frame, number: int) -> Pointer | None:
        """The dynptr whose lower slot this is."""
        types, held = frame.stack.get(number, _ENDED)
        upper = frame.stack.get(number - 1, _ENDED)[0]
        if types[0] != "d" or upper[0] != "d" or not isinstance(held, Pointer) or not held.size:
            return None
        return held

    def _end_dynptrs(self, frame: Frame, low: int, high: int) -> None:
        """Bytes low..high (exclusive), from the frame's r10, are written: dynptrs there end. Raises Refusal for one that has to
        be released."""
        for number in range((-high) // 8, (-low - 1) // 8 + 1):
            types, held = frame.stack.get(number, _ENDED)
            if types[0] == "d" and isinstance(held, Pointer):
                if held.ref:
                    raise Refusal("cannot overwrite referenced dynptr")
                self._end_dynptr(frame, number if held.size else number + 1, held.id)

    def _end_dynptr(self, frame: Frame, number: int, id: int) -> None:
        """Nothing is left of the dynptr, and its slices are nothing any more."""
        for one in (number, number - 1):
            frame.stack[one] = _ENDED
            frame.written[one] = 0
        self._forget(lambda value: value.uid == id and value.kind in _SLICES)

    def _forget_packets(self) -> None:
        """The packet may lie elsewhere now: pointers into it, and slices of dynptrs over it, are nothing any more."""
        self._forget(lambda value: value.kind.startswith("pkt") or (value.type in _PACKETS and value.kind in _SLICES))

    def _forget(self, is_meant: Callable[[Pointer], bool]) -> None:
        self.state.replace(lambda value: self._nothing if isinstance(value, Pointer) and is_meant(value) else value)
