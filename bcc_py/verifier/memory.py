"""Loads and stores: which memory a register reaches, and what lies there."""

from __future__ import annotations

from bcc_py.isa import Insn
from bcc_py.verifier.arith import Arithmetic
from bcc_py.verifier.domain import UNKNOWN, ZERO, Pointer, Scalar, Value, cast_signed, const, low_bytes, with_id
from bcc_py.verifier.flow import LOAD_ACQUIRE, STORE_RELEASE
from bcc_py.verifier.machine import LOADED, MAX_STACK_BYTES, MAX_VAR_OFF, SIZES
from bcc_py.verifier.rules import BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, Refusal, context_access
from bcc_py.verifier.state import SPILLED, Frame
from cfront.uapi import ProgType

__all__ = ["Memory"]


class Memory(Arithmetic):
    """Accesses by instructions; memory given to helpers is held to the same regions."""

    def _load(self, insn: Insn) -> int:
        size = SIZES[insn.code & 0x18]
        self._read(insn.src)
        self._check_writable(insn.dst)
        value = self._access(insn.src, insn.off, size, None)
        if insn.code & 0xE0 == 0x80:
            value = cast_signed(value, size) if isinstance(value, Scalar) else UNKNOWN
        self.regs[insn.dst] = value
        self.sources[insn.dst] = self._loaded_from
        return self.slot + 1

    def _store(self, insn: Insn) -> int:
        size = SIZES[insn.code & 0x18]
        if insn.code & 7 == 2:
            self._read(insn.dst)
            self._access(insn.dst, insn.off, size, const(insn.imm))
        elif insn.code & 0xE0 == 0x60:
            value = self._read(insn.src)
            self._read(insn.dst)
            self._access(insn.dst, insn.off, size, value, self.sources[insn.src])
        else:
            self._atomic(insn, size)
        return self.slot + 1

    def _atomic(self, insn: Insn, size: int) -> None:
        if insn.imm == LOAD_ACQUIRE:
            self._read(insn.src)
            self._check_writable(insn.dst)
            self._check_atomic_target(insn.src, insn.off, size)
            self.regs[insn.dst] = self._access(insn.src, insn.off, size, None)
            self.sources[insn.dst] = self._loaded_from
            return
        value = self._read(insn.src)
        self._read(insn.dst)
        if insn.imm == STORE_RELEASE:
            self._check_atomic_target(insn.dst, insn.off, size)
            self._access(insn.dst, insn.off, size, value, self.sources[insn.src])
            return
        if insn.imm == 0xF1:
            compared = self._read(0)
            if isinstance(compared, Pointer):
                raise Refusal("R0 leaks addr into mem")
        if isinstance(value, Pointer):
            raise Refusal(f"R{insn.src} leaks addr into mem")
        fetched = 0 if insn.imm == 0xF1 else insn.src if insn.imm & 1 else -1
        if fetched == 10:
            raise Refusal("frame pointer is read only")
        self._check_atomic_target(insn.dst, insn.off, size)
        loaded = self._access(insn.dst, insn.off, size, None)
        if isinstance(loaded, Pointer):
            raise Refusal(f"R{insn.dst} leaks addr into mem")
        self._access(insn.dst, insn.off, size, LOADED[size])
        if fetched >= 0:
            # never the number that lay there: flow.py does not weigh memory for atomics
            self.regs[fetched] = LOADED[size]
            self.sources[fetched] = 0

    def _check_atomic_target(self, regno: int, off: int, size: int) -> None:
        base = self.regs[regno]
        if not isinstance(base, Pointer):
            return
        if base.kind in ("ctx", "pkt", "pkt_meta"):
            raise Refusal(f"BPF_ATOMIC stores into R{regno} {base.kind} is not allowed")
        self._check_aligned(base, off, size, {"map_value": "value ", "fp": "stack "}.get(base.kind, ""))

    def _check_aligned(self, base: Pointer, off: int, size: int, what: str) -> None:
        var = base.var or ZERO
        known = var.value + base.off + off
        if (var.mask | known) & size - 1:
            text = f"{var.value:#x}" if not var.mask else f"({var.value:#x}; {var.mask:#x})"
            raise Refusal(f"misaligned {what}access off {text if var.mask or var.value else 0}+{base.off}+{off} size {size}")

    def _access(self, regno: int, off: int, size: int, store: Value | None, sources: int = 0) -> Value:
        """Loads size bytes (store is None), or stores a value that was computed from sources. Gives what was
        loaded, and leaves in _loaded_from what that was computed from."""
        base = self.regs[regno]
        self._loaded_from = 0
        if not isinstance(base, Pointer):
            raise Refusal(f"R{regno} invalid mem access 'scalar'")
        kind = base.kind
        self._note_kind(kind)
        if kind == "fp":
            return self._access_stack(regno, base, off, size, store, sources)
        if kind == "map_value":
            return self._access_map_value(regno, base, off, size, store)
        if kind == "ringbuf_mem":
            self._check_region(regno, base, off, size)
        elif kind == "ctx":
            return self._access_context(regno, base, off, size, store)
        elif kind in ("pkt", "pkt_meta"):
            if store is not None and self.type not in (ProgType.XDP, ProgType.SCHED_CLS, ProgType.SCHED_ACT):
                raise Refusal("cannot write into packet")
            self._check_packet(regno, base, off, size)
        else:
            if kind.startswith("trusted_ptr_"):
                raise Refusal(f"reading through R{regno}, a {kind}, is not supported by this verifier yet")
            raise Refusal(f"R{regno} invalid mem access '{kind}'")
        return LOADED[size]

    def _note_kind(self, kind: str) -> None:
        kinds = self.finding.kinds
        before = kinds.get(self.slot)
        if before is None:
            kinds[self.slot] = kind
        elif kind not in before.split("|"):
            if "ctx" in (kind, before):
                raise Refusal("same insn cannot be used with different pointers")
            kinds[self.slot] = f"{before}|{kind}"

    def _check_region(self, regno: int, base: Pointer, off: int, size: int, is_zero_ok: bool = False) -> None:
        """Bytes off..off+size from base lie in its size bytes."""
        var, fixed = base.var, base.off + off
        low = fixed + var.smin if var else fixed
        if var and var.smin < 0 and low < 0:
            raise Refusal(
                f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            )
        fits = size > 0 or is_zero_ok
        if low < 0 or not fits or low + size > base.size:
            raise Refusal(self._outside(base, low, size), f"R{regno} min value is outside of the allowed memory range")
        if var is None:
            return
        if var.umax >= MAX_VAR_OFF:
            raise Refusal(f"R{regno} unbounded memory access, make sure to bounds check any such access")
        high = fixed + var.umax
        if high < 0 or high + size > base.size:
            raise Refusal(self._outside(base, high, size), f"R{regno} max value is outside of the allowed memory range")

    def _outside(self, base: Pointer, off: int, size: int) -> str:
        if base.kind == "map_value":
            return f"invalid access to map value, value_size={base.size} off={off} size={size}"
        return f"invalid access to memory, mem_size={base.size} off={off} size={size}"

    def _access_map_value(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        spec = base.map
        assert spec is not None, "a map value belongs to a map"
        if store is not None and spec.flags & BPF_F_RDONLY_PROG:
            raise Refusal(f"write into map forbidden, value_size={base.size} off={base.off + off} size={size}")
        if store is None and spec.flags & BPF_F_WRONLY_PROG:
            raise Refusal(f"read from map forbidden, value_size={base.size} off={base.off + off} size={size}")
        self._check_region(regno, base, off, size)
        if store is None and spec.initial and spec.flags & BPF_F_RDONLY_PROG and base.var is None:
            at = base.off + off
            return const(int.from_bytes(spec.initial[at : at + size], "little"))
        return LOADED[size]

    def _access_context(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        if base.var is not None:
            raise Refusal(f"variable ctx access var_off=({base.var.value:#x}; {base.var.mask:#x}) disallowed")
        if base.off:
            raise Refusal(f"dereference of modified ctx ptr R{regno} off={base.off} disallowed")
        if isinstance(store, Pointer):
            raise Refusal(f"R{regno} leaks addr into ctx")
        kind = context_access(self.type, off, size, store is not None)
        return Pointer(kind) if kind else LOADED[size]

    def _check_packet(self, regno: int, base: Pointer, off: int, size: int, is_zero_ok: bool = False) -> None:
        if base.var is not None and base.var.smin < 0:
            raise Refusal(
                f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            )
        at = base.off + off
        if at < 0 or size < 0 or (not size and not is_zero_ok) or at + size > base.range:
            raise Refusal(
                f"invalid access to packet, off={at} size={size}, R{regno}(id={base.id},off={base.off},r={base.range})",
                f"R{regno} offset is outside of the packet",
            )

    # ---- the stack

    def _access_stack(
        self, regno: int, base: Pointer, off: int, size: int, store: Value | None, sources: int
    ) -> Value:
        self._check_aligned(base, off, size, "stack ")
        low, high = self._stack_range(regno, base, off, size, " read from" if store is None else " write to")
        frame = self.state.frames[base.frame]
        self._deepen(frame, low)
        if store is None:
            if low != high:
                self._check_initialised(regno, base, frame, low, high - low + size, is_indirect=False)
                return LOADED[size]
            value = self._fill(frame, low, size)
            if value is not LOADED[size]:
                self._loaded_from = frame.sources_of_slot(base.frame, (-low - 1) // 8)
            return value
        if isinstance(store, Pointer) and store.kind == "fp" and base.frame != len(self.state.frames) - 1:
            raise Refusal("cannot spill pointers to stack into stack frame of the caller")
        if low != high:
            for at in range(low, high + size):
                self._smear(frame, at)
        else:
            number = (-low - 1) // 8
            frame.written[number] = sources if size == 8 else sources | frame.sources_of_slot(base.frame, number)
            self._spill(frame, low, size, store)
        return ZERO

    def _stack_range(self, regno: int, base: Pointer, off: int, size: int, what: str) -> tuple[int, int]:
        """The least and greatest first byte of an access, relative to the frame's r10."""
        fixed = base.off + off
        floor = -MAX_STACK_BYTES
        if not self.allow_uninit_stack and what == " read from":
            floor = -8 * (max(self.state.frames[base.frame].stack, default=-1) + 1)
        if base.var is None:
            if not floor <= fixed <= -size:
                raise Refusal(f"invalid{what} stack R{regno} off={fixed} size={size}")
            return fixed, fixed
        var = base.var
        if var.smax >= MAX_VAR_OFF or var.smin <= -MAX_VAR_OFF:
            raise Refusal(f"invalid unbounded variable-offset{what} stack R{regno}")
        low, high = fixed + var.smin, fixed + var.smax
        if low < floor or high + size > 0:
            tnum = f"({var.value:#x}; {var.mask:#x})"
            raise Refusal(f"invalid variable-offset{what} stack R{regno} var_off={tnum} off={fixed} size={size}")
        return low, high

    def _deepen(self, frame: Frame, low: int) -> None:
        depth = -low + 7 & ~7
        if depth > self.finding.stack_bytes[frame.function]:
            self.finding.stack_bytes[frame.function] = depth

    def _spill(self, frame: Frame, at: int, size: int, value: Value) -> None:
        number, first = (-at - 1) // 8, at & 7
        if size == 8:
            if isinstance(value, Scalar) and value.mask and (not value.id or value.plus):
                value = self._linked(value)
            frame.stack[number] = (SPILLED, value)
            return
        if isinstance(value, Pointer):
            raise Refusal("invalid size of register spill")
        types, _ = frame.stack.get(number, ("--------", None))
        types = types.replace("r", "m")
        if first == 0:
            frame.stack[number] = ("r" * size + types[size:], low_bytes(value, size))
            return
        mark = "0" if value is ZERO else "m"
        frame.stack[number] = (types[:first] + mark * size + types[first + size :], None)

    def _linked(self, value: Scalar) -> Scalar:
        """The stored number under an id that its register carries too."""
        insn = self.insns[self.slot]
        if insn.code & 7 != 3 or self.regs[insn.src] is not value:
            return value
        value = with_id(value, self._new_id())
        self.regs[insn.src] = value
        return value

    def _fill(self, frame: Frame, at: int, size: int) -> Value:
        number, first = (-at - 1) // 8, at & 7
        types, spilled = frame.stack.get(number, ("--------", None))
        count = types.count("r")
        if spilled is not None and count:
            if size == count == 8:
                return spilled
            if isinstance(spilled, Pointer):
                raise Refusal("invalid size of register fill")
            if first == 0 and size <= count:
                return low_bytes(spilled, size)
        wanted = types[first : first + size]
        missing = wanted.find("-")
        if missing >= 0 and not self.allow_uninit_stack:
            raise Refusal(f"invalid read from stack off {at}+{missing} size {size}")
        if wanted == "0" * size or ("r" * size == wanted and spilled is ZERO):
            return ZERO
        return LOADED[size]

    def _smear(self, frame: Frame, at: int) -> None:
        """A byte that may have been written: something, if it was anything."""
        number, first = (-at - 1) // 8, at & 7
        slot = frame.stack.get(number)
        if slot is None:
            if self.allow_uninit_stack:
                frame.stack[number] = ("-" * first + "m" + "-" * (7 - first), None)
            return
        types = slot[0].replace("r", "m")
        if types[first] != "-" or self.allow_uninit_stack:
            types = types[:first] + "m" + types[first + 1 :]
        frame.stack[number] = (types, None)

    def _check_initialised(
        self, regno: int, base: Pointer, frame: Frame, low: int, size: int, is_indirect: bool = True
    ) -> None:
        if self.allow_uninit_stack:
            return
        for at in range(low, low + size):
            types, _ = frame.stack.get((-at - 1) // 8, ("--------", None))
            if types[at & 7] == "-":
                var = base.var
                if var is None:
                    raise Refusal(f"invalid read from stack R{regno} off {low}+{at - low} size {size}")
                tnum = f"({var.value:#x}; {var.mask:#x})"
                raise Refusal(f"invalid read from stack R{regno} var_off {tnum}+{at - low} size {size}")

    def _overwrite(self, frame: Frame, low: int, size: int) -> None:
        """A call filled these bytes."""
        for number in range((-low - size) // 8, (-low - 1) // 8 + 1):
            start = -8 * (number + 1)
            types, _ = frame.stack.get(number, ("--------", None))
            types = types.replace("r", "m")
            first, last = max(low - start, 0), min(low + size - start, 8)
            frame.stack[number] = (types[:first] + "m" * (last - first) + types[last:], None)
