"""What a map's value holds that the kernel keeps for itself: locks, timers, lists.

Input: a MapSpec with the BTF of its value. Output: the fields by kind and offset. A map without BTF has none, as for
the kernel. Source: kernel/bpf/btf.c of Linux 6.18, btf_parse_fields."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from bcc_py.spec import MapSpec
from cfront.btf import Btf
from cfront.ctype import Array, CType, Record

__all__ = ["Special", "has_lock", "special_at", "special_fields"]

_KINDS = frozenset((
    "bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node",
    "bpf_refcount", "bpf_task_work",
))
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Special:
    """A field of the kernel's. kind: the struct's name; off, size: bytes."""

    kind: str
    off: int
    size: int


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
    return tuple(sorted(found, key=lambda one: one.off))


def _walk(type: CType, base: int, depth: int) -> Iterator[Special]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(type, Array) and isinstance(type.element, Record):
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


def has_lock(spec: MapSpec) -> bool:
    """Two pointers to values of such a map are told apart."""
    return any(one.kind in ("bpf_spin_lock", "bpf_res_spin_lock") for one in special_fields(spec))


def special_at(spec: MapSpec, off: int, kind: str) -> bool:
    """A field of this kind begins at off."""
    return any(one.off == off and one.kind == kind for one in special_fields(spec))
