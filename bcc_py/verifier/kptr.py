"""Pointers to the kernel's objects that lie in map values: kptrs.

Input: a field of a map's value, what is loaded or stored there. Output: the pointer that is loaded. Invariant: what a
reference may be hidden in is only exchanged, by bpf_kptr_xchg(); what is loaded is good for as long as RCU protects it, or not
trusted; what is put in is of the field's type.

Source: kernel/bpf/verifier.c of Linux 6.18, check_map_kptr_access, map_kptr_match_type, process_kptr_func (behaviour and
sentences)."""

from __future__ import annotations

from bcc_py.verifier.domain import ZERO, Pointer, Value, tnum_text
from bcc_py.verifier.dynptr import Dynptrs
from bcc_py.verifier.fields import PERCPU_KPTR, UNTRUSTED_KPTR, UPTR, Special, special_fields, struct_fields
from bcc_py.verifier.objects import embeds, is_allocated
from bcc_py.verifier.rules import Refusal

__all__ = ["Kptrs"]

_STORE, _MEM = 2, 0x60
_OBJECTS = ("ptr", "trusted_ptr", "rcu_ptr")
# objects that live on for as long as someone may read them under RCU
_RCU_PROTECTED = frozenset(("prog_test_ref_kfunc", "cgroup", "bpf_cpumask", "task_struct", "bpf_crypto_ctx"))


class Kptrs(Dynptrs):
    """Kernel pointers in map values."""

    def _kptr_touched(self, fields: tuple[Special, ...], base: Pointer, off: int, size: int, is_direct: bool) -> Special | None:
        """The kptr among a value's fields that an access is of, None if it is of none. Raises Refusal for one that touches what
        belongs to the kernel otherwise."""
        low = base.off + off + (base.var.smin if base.var else 0)
        high = base.off + off + (base.var.umax if base.var else 0) + size
        for one in fields:
            if not (low < one.off + one.size and one.off < high):
                continue
            if not one.is_pointer:
                raise Refusal(f"{one.kind} cannot be accessed directly by load/store")
            if not is_direct:
                raise Refusal(f"{one.name} cannot be accessed indirectly by helper")
            if base.var is not None:
                raise Refusal(f"{one.name} access cannot have variable offset")
            if one.off != low:
                raise Refusal(f"{one.name} access misaligned expected={one.off} off={low}")
            if size != one.size:
                raise Refusal(f"{one.name} access size must be BPF_DW")
            return one
        return None

    def _access_kptr(self, field: Special, store: Value | None) -> Value:
        """Loads what lies in a field, or stores to it."""
        insn = self.insns[self.slot]
        if insn.code & 0xE0 != _MEM:
            raise Refusal(f"{field.name} in map can only be accessed using BPF_MEM instruction mode")
        if store is None:
            return self._loaded_kptr(field)
        if field.kind == UPTR:
            raise Refusal("store to uptr disallowed")
        if field.kind != UNTRUSTED_KPTR:
            raise Refusal("store to referenced kptr disallowed")
        if insn.code & 7 == _STORE:
            if insn.imm:
                raise Refusal(f"BPF_ST imm must be 0 when storing to kptr at off={field.off}")
        elif store is ZERO:
            self._need(insn.src)
        else:
            self._check_kptr_type(field, insn.src, store)
        return ZERO

    def _loaded_kptr(self, field: Special) -> Pointer:
        id = self._new_id()
        if field.kind == UPTR:
            return Pointer("mem_or_null", size=field.target_bytes, id=id)
        is_kernel = self._is_kernel_struct(field.target)
        is_safe = field.kind == PERCPU_KPTR or (
            field.kind != UNTRUSTED_KPTR and (not is_kernel or field.target in _RCU_PROTECTED))
        if not (is_safe and self._is_in_rcu()):
            return Pointer("untrusted_ptr_or_null", type=field.target, id=id)
        if field.kind == PERCPU_KPTR:
            return Pointer("percpu_rcu_ptr_or_null", type=field.target, id=id)
        return Pointer("rcu_ptr_or_null" if is_kernel else "alloc_rcu_ptr_or_null", type=field.target, id=id)

    def _check_kptr_type(self, field: Special, regno: int, value: Value) -> None:
        """value may be put into the field. Raises Refusal."""
        is_free = field.kind == UNTRUSTED_KPTR
        wrong = f"expected=ptr_{field.target}" + (f" or untrusted_ptr_{field.target}" if is_free else "")
        if not isinstance(value, Pointer) or "ptr" not in value.kind or value.kind in ("map_ptr", "dynptr_ptr"):
            kind = value.kind_text if isinstance(value, Pointer) else "scalar"
            raise Refusal(f"invalid kptr access, R{regno} type={kind} {wrong}")
        kind = value.kind.removesuffix("_or_null")
        own = "alloc_percpu_ptr" if field.kind == PERCPU_KPTR else "alloc_ptr"
        if kind == own or (field.kind != PERCPU_KPTR and kind in _OBJECTS) or (is_free and kind == "untrusted_ptr"):
            self._check_object_offset(regno, value)
            if self._is_object(value, field.target, is_strict=not is_free):
                return
            raise Refusal(f"invalid kptr access, R{regno} type={value.kind_text}{value.type} {wrong}")
        raise Refusal(f"invalid kptr access, R{regno} type={value.kind_text} {wrong}")

    def _check_object_offset(self, regno: int, value: Pointer) -> None:
        if value.off < 0:
            raise Refusal(f"negative offset {value.kind_text} ptr R{regno} off={value.off} disallowed")
        if value.var is not None:
            raise Refusal(f"variable {value.kind_text} access var_off={tnum_text(value.var)} disallowed")

    def _is_object(self, value: Pointer, wanted: str, is_strict: bool) -> bool:
        if is_allocated(value) or self.types is None:
            return value.type == wanted and not value.off and not self._is_kernel_struct(wanted)
        return embeds(self.types, value.type, value.off, wanted, is_strict)

    def _is_kernel_struct(self, name: str) -> bool:
        return self.types is not None and self.types.find("struct", name) is not None

    def _is_in_rcu(self) -> bool:
        """RCU protects what is read here."""
        state = self.state
        return bool(state.rcu or state.lock is not None or not self.is_sleepable or state.is_async)

    def _kptr_destination(self, regno: int, value: Pointer) -> Special:
        """The field that value, in this register, points to, for an exchange. Raises Refusal."""
        spec = value.map
        if spec is not None and not spec.btf:
            raise Refusal(f"map '{spec.name}' has to have BTF in order to use bpf_kptr_xchg")
        if value.var is not None:
            raise Refusal(f"R{regno} doesn't have constant offset. kptr has to be at the constant offset")
        fields = [one for one in self._fields_of(value) if one.is_pointer and one.kind != UPTR]
        if not fields:
            raise Refusal(f"R{regno} has no valid kptr")
        field = next((one for one in fields if one.off == value.off), None)
        if field is None:
            raise Refusal(f"off={value.off} doesn't point to kptr")
        if field.kind == UNTRUSTED_KPTR:
            raise Refusal(f"off={value.off} kptr isn't referenced kptr")
        return field

    def _fields_of(self, value: Pointer) -> tuple[Special, ...]:
        """What belongs to the kernel where value points to."""
        return special_fields(value.map) if value.map is not None else struct_fields(self.program.btf, value.type)
