"""Loads and stores: which memory a register reaches, and what lies there."""

from __future__ import annotations

from bcc_py.isa import Insn
from bcc_py.verifier.contexts import BTF_CONTEXTS, SOCKETS, context_access, flow_keys_access, socket_access
from bcc_py.verifier.domain import (
    UNKNOWN,
    ZERO,
    Pointer,
    Scalar,
    Value,
    cast_signed,
    const,
    low_bytes,
    tnum_text,
    with_id,
)
from bcc_py.verifier.fields import special_fields, struct_fields
from bcc_py.verifier.flow import LOAD_ACQUIRE, STORE_RELEASE
from bcc_py.verifier.hooks import MAX_HOOK_ARGUMENTS
from bcc_py.verifier.kptr import Kptrs
from bcc_py.verifier.machine import LOADED, MAX_STACK_BYTES, MAX_VAR_OFF, SIZES
from bcc_py.verifier.objects import is_allocated, is_object, struct_access, walked
from bcc_py.verifier.rules import BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG, Refusal
from bcc_py.verifier.state import SPILLED, Frame, Slot
from cfront.uapi import MapType, ProgType

__all__ = ["PACKET_READERS", "PACKET_WRITERS", "Memory"]

_CMPXCHG = 0xF1
_UNWRITTEN: Slot = ("--------", None)
# accesses that the kernel writes anew, each in its own way
_TRANSLATED = frozenset((
    "ctx", "sock", "sock_common", "tcp_sock", "xdp_sock", "ptr", "trusted_ptr", "untrusted_ptr", "rcu_ptr", "arena",
))
# what a load or store with ordering may not reach
_NOT_ATOMIC = frozenset(("ctx", "pkt", "pkt_meta", "flow_keys", "sock", "sock_common", "tcp_sock", "xdp_sock"))
# or, and, xor that fetch: x86 has no one instruction for them, so that a fault could not be skipped
_NOT_IN_ARENAS = (0x41, 0x51, 0xA1)
PACKET_WRITERS = frozenset((
    ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.XDP, ProgType.LWT_XMIT, ProgType.SK_SKB, ProgType.SK_MSG, ProgType.CGROUP_SOCKOPT,
))
PACKET_READERS = PACKET_WRITERS | frozenset((
    ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_SEG6LOCAL, ProgType.SK_REUSEPORT, ProgType.FLOW_DISSECTOR, ProgType.CGROUP_SKB,
))
# what a map is to the kernel; the others are struct bpf_array
_HASHES = (MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH, MapType.HASH_OF_MAPS)
_MAP_STRUCTS = {
    **dict.fromkeys(_HASHES, "bpf_htab"), MapType.LPM_TRIE: "lpm_trie", MapType.STACK_TRACE: "bpf_stack_map",
    MapType.QUEUE: "bpf_queue_stack", MapType.STACK: "bpf_queue_stack", MapType.RINGBUF: "bpf_ringbuf_map",
    MapType.USER_RINGBUF: "bpf_ringbuf_map", MapType.BLOOM_FILTER: "bpf_bloom_filter", MapType.DEVMAP: "bpf_dtab",
    MapType.DEVMAP_HASH: "bpf_dtab", MapType.CPUMAP: "bpf_cpu_map", MapType.XSKMAP: "xsk_map", MapType.SOCKMAP: "bpf_stab",
    MapType.SOCKHASH: "bpf_shtab", MapType.REUSEPORT_SOCKARRAY: "reuseport_array", MapType.ARENA: "bpf_arena",
    MapType.STRUCT_OPS: "bpf_struct_ops_map", MapType.CGROUP_STORAGE: "bpf_cgroup_storage_map",
    MapType.PERCPU_CGROUP_STORAGE: "bpf_cgroup_storage_map",
    **dict.fromkeys((MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE), "bpf_local_storage_map"),
}
# the two bytes by which drivers shift a packet, so that its IP header is aligned
_IP_ALIGN = 2
_DESCRIPTIONS = {
    "flow_keys": "flow keys ", "map_key": "key ", "map_value": "value ", "ctx": "context ", "fp": "stack ", "sock": "sock ",
    "sock_common": "sock_common ", "tcp_sock": "tcp_sock ", "xdp_sock": "xdp_sock ",
}


class Memory(Kptrs):
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
            self._check_atomic_target(insn.src, insn.off, size, "loads from")
            self.regs[insn.dst] = self._access(insn.src, insn.off, size, None)
            self.sources[insn.dst] = self._loaded_from
            return
        value = self._read(insn.src)
        self._read(insn.dst)
        if insn.imm == STORE_RELEASE:
            self._check_atomic_target(insn.dst, insn.off, size, "stores into")
            self._access(insn.dst, insn.off, size, value, self.sources[insn.src])
            return
        if insn.imm == _CMPXCHG and isinstance(self._read(0), Pointer) and not self.may_leak:
            raise Refusal("R0 leaks addr into mem")
        if isinstance(value, Pointer) and not self.may_leak:
            raise Refusal(f"R{insn.src} leaks addr into mem")
        fetched = 0 if insn.imm == _CMPXCHG else insn.src if insn.imm & 1 else -1
        if fetched == 10:
            raise Refusal("frame pointer is read only")
        self._check_atomic_target(insn.dst, insn.off, size, "stores into")
        base = self.regs[insn.dst]
        if fetched < 0 and isinstance(base, Pointer) and base.kind == "fp" and base.var is not None:
            raise Refusal(
                "variable offset stack pointer cannot be passed into helper function; "
                f"var_off={tnum_text(base.var)} off={base.off + insn.off} size={size}")
        loaded = self._access(insn.dst, insn.off, size, None)
        sources = self._loaded_from
        if isinstance(loaded, Pointer) and not self.may_leak and isinstance(base, Pointer):
            raise Refusal(f"leaking pointer from stack off {base.off + insn.off}")
        self._access(insn.dst, insn.off, size, LOADED[size])
        if fetched >= 0:
            self.regs[fetched] = loaded
            self.sources[fetched] = sources

    def _check_atomic_target(self, regno: int, off: int, size: int, doing: str) -> None:
        base = self.regs[regno]
        if not isinstance(base, Pointer):
            if isinstance(base, Scalar) and (base.mask | base.value + off) & size - 1:
                raise Refusal(f"misaligned access off {tnum_text(base)}+0+{off} size {size}")
            return
        if base.kind in _NOT_ATOMIC or (base.kind == "arena" and self.insns[self.slot].imm in _NOT_IN_ARENAS):
            raise Refusal(f"BPF_ATOMIC {doing} R{regno} {base.kind_text} is not allowed")
        self._check_aligned(base, off, size, {"map_value": "value ", "fp": "stack "}.get(base.kind, ""))

    def _check_strictly_aligned(self, base: Pointer, off: int, size: int) -> None:
        """What BPF_F_STRICT_ALIGNMENT asks of every access."""
        if base.kind not in ("pkt", "pkt_meta"):
            self._check_aligned(base, off, size, _DESCRIPTIONS.get(base.kind, ""))
            return
        var = base.var or ZERO
        if (var.mask | var.value + base.off + off + _IP_ALIGN) & size - 1:
            raise Refusal(f"misaligned packet access off {_IP_ALIGN}+{tnum_text(var)}+{base.off}+{off} size {size}")

    def _check_aligned(self, base: Pointer, off: int, size: int, what: str) -> None:
        var = base.var or ZERO
        known = var.value + base.off + off
        if (var.mask | known) & size - 1:
            raise Refusal(f"misaligned {what}access off {tnum_text(var)}+{base.off}+{off} size {size}")

    def _access(self, regno: int, off: int, size: int, store: Value | None, sources: int = 0) -> Value:
        """Loads size bytes (store is None), or stores a value that was computed from sources. Gives what was
        loaded, and leaves in _loaded_from what that was computed from."""
        base = self.regs[regno]
        self._loaded_from = 0
        if not isinstance(base, Pointer):
            raise Refusal(f"R{regno} invalid mem access 'scalar'")
        kind = base.kind
        self._note_kind(kind)
        if self.is_strict:
            self._check_strictly_aligned(base, off, size)
        if kind == "fp":
            return self._access_stack(regno, base, off, size, store, sources)
        if kind == "map_value":
            return self._access_map_value(regno, base, off, size, store)
        if kind == "ctx":
            return self._access_context(regno, base, off, size, store)
        return self._access_other(regno, base, off, size, store)

    def _access_other(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        kind, is_write = base.kind, store is not None
        if kind in ("pkt", "pkt_meta"):
            if is_write and self.type not in PACKET_WRITERS:
                raise Refusal("cannot write into packet")
            self._check_leak(store, "packet")
            self._check_packet(regno, base, off, size)
        elif kind in ("ringbuf_mem", "mem", "rdonly_mem"):
            if is_write and kind == "rdonly_mem":
                raise Refusal(f"R{regno} cannot write into {kind}")
            self._check_leak(store, "mem")
            self._check_region(regno, base, off, size)
        elif kind == "map_key":
            if is_write:
                raise Refusal(f"write to change key R{regno} not allowed")
            self._check_region(regno, base, off, size)
        elif kind in ("buf", "rdonly_buf"):
            if is_write and kind == "rdonly_buf":
                raise Refusal(f"R{regno} cannot write into {kind}")
            self._check_buffer(regno, base, off, size, "rdonly" if kind == "rdonly_buf" else "rdwr")
        elif kind == "tp_buffer":
            self._check_buffer(regno, base, off, size, "tracepoint")
        elif kind == "flow_keys":
            self._check_leak(store, "flow keys")
            flow_keys_access(base.off + off, size)
        elif kind in SOCKETS:
            socket_access(kind, base.off + off, size, is_write, regno)
        elif kind == "map_ptr":
            return self._access_map(regno, base, off, size, store)
        elif is_object(base) and not base.is_maybe_null:
            return self._access_object(regno, base, off, size, store)
        elif kind == "arena":
            return LOADED[size]
        elif kind == "rdonly_untrusted_mem":
            if is_write:
                raise Refusal(f"R{regno} cannot write into {kind}")
        else:
            raise Refusal(f"R{regno} invalid mem access '{base.kind_text}'")
        return LOADED[size]

    def _check_leak(self, store: Value | None, into: str) -> None:
        if isinstance(store, Pointer) and not self.may_leak:
            raise Refusal(f"R{self.insns[self.slot].src} leaks addr into {into}")

    def _check_buffer(self, regno: int, base: Pointer, off: int, size: int, what: str) -> None:
        """Memory whose size is known when the program is attached."""
        if off < 0:
            raise Refusal(f"R{regno} invalid {what} buffer access: off={off}, size={size}")
        if base.var is not None:
            raise Refusal(f"R{regno} invalid variable buffer offset: off={off}, var_off={tnum_text(base.var)}")

    def _access_map(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        """A member of the kernel's struct bpf_map."""
        if self.types is None:
            raise Refusal(f"R{regno} invalid mem access 'map_ptr'")
        assert base.map is not None, "a map pointer names its map"
        name = _MAP_STRUCTS.get(base.map.type, "bpf_array")
        if not self.may_leak:
            raise Refusal(f"'struct {name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN")
        if off < 0:
            raise Refusal(f"R{regno} is {name} invalid negative access: off={off}")
        if store is not None:
            raise Refusal(f"only read from {name} is supported")
        return self._member(regno, Pointer("untrusted_ptr", type=name), off, size)

    def _access_object(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        """A member of one of the kernel's objects, or of one that the program allocated."""
        name = base.type
        if not self.may_leak:
            raise Refusal(f"'struct {name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN")
        if not self.is_gpl and not is_allocated(base):
            raise Refusal(f"Cannot access kernel 'struct {name}' from non-GPL compatible program")
        if base.off + off < 0:
            raise Refusal(f"R{regno} is ptr_{name} invalid negative access: off={base.off + off}")
        if base.var is not None:
            raise Refusal(f"R{regno} is ptr_{name} invalid variable offset: off={base.off + off}, var_off={tnum_text(base.var)}")
        if "percpu" in base.kind:
            raise Refusal(f"R{regno} is ptr_{name} access percpu memory: off={base.off + off}")
        if store is not None and ("untrusted" in base.kind or not is_allocated(base)):
            raise Refusal("only read is supported")
        return self._member(regno, base, base.off + off, size)

    def _member(self, regno: int, base: Pointer, off: int, size: int) -> Value:
        is_own = is_allocated(base)
        types = self.own_types if is_own else self.types
        if types is None:
            raise Refusal(f"R{regno} points to struct {base.type}, which is not in this kernel's types")
        if is_own:
            self._check_own_fields(base.type, off, size)
        member = struct_access(types, base.type, off, size, is_own)
        if member is None or not member.struct or is_own:
            return LOADED[size]
        kind = walked(base, member, self._is_in_rcu())
        return Pointer(kind, type=member.struct, id=self._new_id() if kind.endswith("_or_null") else 0)

    def _check_own_fields(self, struct: str, off: int, size: int) -> None:
        """What the kernel keeps in an object that the program allocated is not to be touched."""
        for one in struct_fields(self.program.btf, struct):
            if off < one.off + one.size and one.off < off + size:
                raise Refusal(f"direct access to {one.kind} is disallowed")

    def _note_kind(self, kind: str) -> None:
        kinds = self.finding.kinds
        before = kinds.get(self.slot)
        if before is None:
            kinds[self.slot] = kind
        elif kind != before and kind not in before.split("|"):
            if kind in _TRANSLATED or before in _TRANSLATED:
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
            raise Refusal(self._outside(base, low, size, regno), f"R{regno} min value is outside of the allowed memory range")
        if var is None:
            return
        if var.umax >= MAX_VAR_OFF:
            raise Refusal(f"R{regno} unbounded memory access, make sure to bounds check any such access")
        high = fixed + var.umax
        if high < 0 or high + size > base.size:
            raise Refusal(self._outside(base, high, size, regno), f"R{regno} max value is outside of the allowed memory range")

    def _outside(self, base: Pointer, off: int, size: int, regno: int) -> str:
        if base.kind == "map_value":
            return f"invalid access to map value, value_size={base.size} off={off} size={size}"
        if base.kind == "map_key":
            return f"invalid access to map key, key_size={base.size} off={off} size={size}"
        return f"invalid access to memory, mem_size={base.size} off={off} size={size}"

    def _access_map_value(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        spec = base.map
        assert spec is not None, "a map value belongs to a map"
        self._check_leak(store, "map")
        if store is not None and spec.flags & BPF_F_RDONLY_PROG:
            raise Refusal(f"write into map forbidden, value_size={base.size} off={base.off + off} size={size}")
        if store is None and spec.flags & BPF_F_WRONLY_PROG:
            raise Refusal(f"read from map forbidden, value_size={base.size} off={base.off + off} size={size}")
        self._check_region(regno, base, off, size)
        if spec.btf:
            field = self._kptr_touched(special_fields(spec), base, off, size, is_direct=True)
            if field is not None:
                return self._access_kptr(field, store)
        if store is None and spec.initial and spec.flags & BPF_F_RDONLY_PROG and base.var is None:
            at = base.off + off
            return const(int.from_bytes(spec.initial[at : at + size], "little"))
        return LOADED[size]

    def _check_moved_value(self, regno: int, moved: Pointer) -> None:
        try:
            self._check_region(regno, moved, 0, 1)
            if moved.map is not None and moved.map.btf:
                self._kptr_touched(special_fields(moved.map), moved, 0, 1, is_direct=False)
        except Refusal as refusal:
            raise Refusal(
                *refusal.sentences, f"R{regno} pointer arithmetic of map value goes out of range, prohibited for !root"
            ) from refusal

    def _access_context(self, regno: int, base: Pointer, off: int, size: int, store: Value | None) -> Value:
        self._check_leak(store, "ctx")
        self._check_plain(regno, base)
        is_signed = store is None and self.insns[self.slot].code & 0xE0 == 0x80
        if self.type in BTF_CONTEXTS:
            return self._access_arguments(off, size, store is not None, is_signed)
        access = context_access(self.type, self.attach_type, off, size, store is not None, is_signed, self.privileges)
        self.finding.context_bytes = max(self.finding.context_bytes, off + size)
        if not access.kind:
            return LOADED[size]
        kind = access.kind
        return Pointer(kind, type=access.btf, id=self._new_id() if kind.endswith("_or_null") else 0)

    def _access_arguments(self, off: int, size: int, is_write: bool, is_signed: bool) -> Value:
        """An argument of what the program is attached to."""
        outside = f"invalid bpf_context access off={off} size={size}"
        hook = self.hook
        if hook is None or is_write or off % size or not 0 <= off < 8 * MAX_HOOK_ARGUMENTS:
            raise Refusal(outside)
        try:
            one = hook.argument_at(off, size)
        except Refusal as refusal:
            raise Refusal(*refusal.sentences, outside) from refusal
        if not one.kind:
            return LOADED[size]
        if is_signed:
            raise Refusal(outside)
        return Pointer(one.kind, type=one.struct, id=self._new_id() if one.kind.endswith("_or_null") else 0)

    def _check_plain(self, regno: int, base: Pointer, what: str = "ctx") -> None:
        """A pointer that was not moved."""
        if base.off < 0:
            raise Refusal(f"negative offset {base.kind_text} ptr R{regno} off={base.off} disallowed")
        if base.off:
            raise Refusal(f"dereference of modified {base.kind_text} ptr R{regno} off={base.off} disallowed")
        if base.var is not None:
            raise Refusal(f"variable {base.kind_text} access var_off={tnum_text(base.var)} disallowed")

    def _check_packet(self, regno: int, base: Pointer, off: int, size: int, is_zero_ok: bool = False) -> None:
        if base.var is not None and base.var.smin < 0:
            raise Refusal(
                f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            )
        at = base.off + off
        if at < 0 or size < 0 or (not size and not is_zero_ok) or at + size > base.range:
            raise Refusal(
                f"invalid access to packet, off={at} size={size}, R{regno}(id={base.id},off={at},r={base.range})",
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
                if not self.is_spec_bypassed:
                    assert base.var is not None, "a range has a variable part"
                    raise Refusal(
                        f"R{regno} variable offset stack access prohibited for !root, var_off={tnum_text(base.var)}")
                self._check_initialised(regno, base, frame, low, high, size)
                return ZERO if self._are_zeros(frame, low, high + size) else LOADED[size]
            value = self._fill(frame, low, size)
            if value is not LOADED[size]:
                self.state.history += 1
                self._loaded_from = frame.sources_of_slot(base.frame, (-low - 1) // 8)
            return value
        if self._has_special_slots:
            self._end_dynptrs(frame, low, high + size)
        if isinstance(store, Pointer) and store.kind == "fp" and base.frame != len(self.state.frames) - 1 and low == high:
            if size != 8:
                raise Refusal("invalid size of register spill")
            raise Refusal("cannot spill pointers to stack into stack frame of the caller")
        if low != high:
            for at in range(low, high + size):
                self._smear(frame, at, store is ZERO)
        else:
            number = (-low - 1) // 8
            if not self.is_spec_bypassed:
                self._check_spill(frame, low, size, store)
            if size < 8:
                first, types = low & 7, frame.stack.get(number, _UNWRITTEN)[0]
                if "0" in types[:first] + types[first + size :]:  # all that stays known of the other bytes
                    sources |= frame.sources_of_slot(base.frame, number)
            frame.written[number] = sources
            self._spill(frame, low, size, store)
            self.state.history += 1
        return ZERO

    def _are_zeros(self, frame: Frame, low: int, high: int) -> bool:
        return all(frame.stack.get((-at - 1) // 8, _UNWRITTEN)[0][at & 7] == "0" for at in range(low, high))

    def _check_spill(self, frame: Frame, at: int, size: int, store: Value) -> None:
        """Without CAP_PERFMON: a pointer on the stack is not to be cut, and a processor is not to read what lay there."""
        number, first = (-at - 1) // 8, at & 7
        types, spilled = frame.stack.get(number, _UNWRITTEN)
        if isinstance(spilled, Pointer) and size != 8:
            raise Refusal("attempt to corrupt spilled pointer on stack")
        if isinstance(store, Pointer) or any(one not in "m0" for one in types[first : first + size]):
            self.finding.nospec_after.add(self.slot)

    def _stack_range(self, regno: int, base: Pointer, off: int, size: int, what: str) -> tuple[int, int]:
        """The least and greatest first byte of an access, relative to the frame's r10."""
        fixed = base.off + off
        floor = -MAX_STACK_BYTES
        if not self.allow_uninit_stack and what == " read from":
            floor = -8 * (max(self.state.frames[base.frame].stack, default=-1) + 1)
        if base.var is None:
            if not floor <= fixed <= -(size or 1):
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

    def _spill(self, frame: Frame, at: int, size: int, value: Value) -> None:
        number, first = (-at - 1) // 8, at & 7
        if size == 8 and (isinstance(value, Pointer) or self.privileges.bpf):
            if isinstance(value, Scalar) and value.mask and (not value.id or value.plus):
                value = self._linked(value)
            frame.stack[number] = (SPILLED, value)
            return
        if isinstance(value, Pointer):
            raise Refusal("invalid size of register spill")
        types, _ = frame.stack.get(number, _UNWRITTEN)
        types = types.replace("r", "m")
        if first == 0 and self.privileges.bpf:
            if value.mask and not value.id and value.umax < 1 << 8 * size:
                value = self._linked(value)
            frame.stack[number] = ("r" * size + types[size:], low_bytes(value, size))
            return
        mark = "0" if value is ZERO else "m"
        if value is ZERO and self.insns[self.slot].code & 7 == 3:
            self._need(self.insns[self.slot].src)
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
        types, spilled = frame.stack.get(number, _UNWRITTEN)
        count = types.count("r")
        if spilled is not None and count:
            if size == count == 8:
                return spilled
            if isinstance(spilled, Pointer):
                raise Refusal("invalid size of register fill")
            if first == 0 and size <= count:
                return low_bytes(spilled, size)
        if spilled is not None and not count:
            raise Refusal(f"invalid read from stack off {at}+0 size {size}")
        wanted = types[first : first + size]
        missing = wanted.find("-")
        if missing >= 0 and not self.allow_uninit_stack:
            raise Refusal(f"invalid read from stack off {at}+{missing} size {size}")
        if wanted == "0" * size or ("r" * size == wanted and spilled is ZERO):
            return ZERO
        return LOADED[size]

    def _smear(self, frame: Frame, at: int, is_zero: bool) -> None:
        """A byte that may have been written: something, if it was anything."""
        number, first = (-at - 1) // 8, at & 7
        types, spilled = frame.stack.get(number, _UNWRITTEN)
        if not self.may_leak and types[first] not in "m0":
            if types[first] == "-":
                raise Refusal(f"uninit stack in range of var-offset write prohibited for !root; insn {self.slot}, off: {at}")
            raise Refusal(f"spilled ptr in range of var-offset stack write; insn {self.slot}, ptr off: {at}")
        if is_zero and (types[first] == "0" or (types[first] == "r" and spilled is ZERO)):
            if self.insns[self.slot].code & 7 == 3:
                self._need(self.insns[self.slot].src)
            return
        types = types.replace("r", "m")
        frame.stack[number] = (types[:first] + "m" + types[first + 1 :], None)

    def _check_initialised(self, regno: int, base: Pointer, frame: Frame, low: int, high: int, size: int) -> None:
        """size bytes anywhere from low to high may be read. Raises Refusal."""
        if self.allow_uninit_stack and not self._has_special_slots:
            return
        sound = "m0-" if self.allow_uninit_stack else "m0"
        for at in range(low, high + size):
            types, spilled = frame.stack.get((-at - 1) // 8, _UNWRITTEN)
            if types[at & 7] not in sound and not (types[0] == "r" and (self.may_leak or isinstance(spilled, Scalar))):
                var = base.var
                if var is None:
                    raise Refusal(f"invalid read from stack R{regno} off {low}+{at - low} size {size}")
                tnum = f"({var.value:#x}; {var.mask:#x})"
                raise Refusal(f"invalid read from stack R{regno} var_off {tnum}+{at - low} size {size}")

    def _overwrite(self, frame: Frame, low: int, size: int) -> None:
        """A call filled these bytes."""
        for number in range((-low - size) // 8, (-low - 1) // 8 + 1):
            start = -8 * (number + 1)
            types, _ = frame.stack.get(number, _UNWRITTEN)
            types = types.replace("r", "m")
            first, last = max(low - start, 0), min(low + size - start, 8)
            frame.stack[number] = (types[:first] + "m" * (last - first) + types[last:], None)
