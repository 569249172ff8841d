"""What a map's value holds that the kernel keeps for itself: locks, timers, lists, pointers to objects.

Input: a MapSpec with the BTF of its value. Output: the fields by kind and offset. A map without BTF has none, as for
the kernel. Source: kernel/bpf/btf.c of Linux 6.18, btf_parse_fields."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from bcc_py.spec import MapSpec
from cfront.btf import Btf
from cfront.ctype import Array, CType, Pointer, Record

__all__ = ["KPTR", "PERCPU_KPTR", "UNTRUSTED_KPTR", "UPTR", "Special", "has_lock", "special_fields"]

_KINDS = frozenset((
    "bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node",
    "bpf_refcount", "bpf_task_work",
))
# pointers to objects, by the tag of their type -> their name in Linux's sentences
KPTR, PERCPU_KPTR, UNTRUSTED_KPTR, UPTR = "kptr", "percpu_kptr", "kptr_untrusted", "uptr"
_POINTERS = frozenset((KPTR, PERCPU_KPTR, UNTRUSTED_KPTR, UPTR))
_MAX_DEPTH = 8
_MAX_FIELDS = 11


@dataclass(frozen=True, slots=True)
class Special:
    """A field of the kernel's. kind: the struct's name, or the tag of a pointer ("kptr", "percpu_kptr", "kptr_untrusted",
    "uptr"); off, size: bytes; target: the struct that a pointer points to, and its bytes in the map's types."""

    kind: str
    off: int
    size: int
    target: str = ""
    target_bytes: int = 0

    @property
    def is_pointer(self) -> bool:
        return self.kind in _POINTERS

    @property
    def name(self) -> str:
        """As Linux's sentences call it."""
        return KPTR if self.kind == UNTRUSTED_KPTR else self.kind


def special_fields(spec: MapSpec) -> tuple[Special, ...]:
    """The fields of spec's value that programs may only hand to the kernel, by offset."""
    if not spec.btf or not spec.value_type:
        return ()
    return _fields(spec.btf, spec.value_type)


@functools.lru_cache(maxsize=256)
def _fields(btf: bytes, value_type: int) -> tuple[Special, ...]:
    source = Btf(btf)
    variables = source.section(value_type) or [(source.type(value_type), 0)]
    found = [one for type, off in variables for one in _walk(type, off, 0)]
    # where there are more, the kernel knows of none
    return tuple(sorted(found, key=lambda one: one.off)) if len(found) <= _MAX_FIELDS else ()


def _walk(type: CType, base: int, depth: int) -> Iterator[Special]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(type, Pointer) and type.tag in _POINTERS and isinstance(type.target, Record):
        yield Special(type.tag, base, 8, type.target.name, type.target.size)
    if isinstance(type, Array) and isinstance(type.element, Record | Pointer | Array):
        for index in range(min(type.count or 0, 64)):
            yield from _walk(type.element, base + index * type.element.size, depth + 1)
    if not isinstance(type, Record):
        return
    if type.name in _KINDS:
        yield Special(type.name, base, type.size)
        return
    for one in type.fields or ():
        if one.bit_size is None:
            yield from _walk(one.type, base + one.offset, depth + 1)


@functools.lru_cache(maxsize=256)
def struct_fields(btf: bytes, struct: str) -> tuple[Special, ...]:
    """The fields of a struct of the program's that belong to the kernel, by offset."""
    type = Btf(btf).find("struct", struct) if btf else None
    return tuple(sorted(_walk(type, 0, 0), key=lambda one: one.off)) if type is not None else ()


def has_lock(spec: MapSpec) -> bool:
    """Two pointers to values of such a map are told apart."""
    return any(one.kind in ("bpf_spin_lock", "bpf_res_spin_lock") for one in special_fields(spec))
