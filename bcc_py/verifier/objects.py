"""The kernel's own structs, as programs may read them through pointers that the verifier knows.

Input: the kernel's types (or a program's), a struct's name, an offset and a width. Output: None for a number, or the
Member whose value is a pointer to a struct, and how far such a pointer may be trusted. Invariant: what does not lie in one
member is refused.

A pointer to an object is of kind "ptr" (nothing is known of it), "trusted_ptr", "rcu_ptr" (good while RCU protects it),
"untrusted_ptr" (reading through it is checked when it happens), "percpu_ptr", or one of what the program allocated:
"alloc_ptr" (its own), "nonown_ptr" (a list's or a tree's), with the same words between.

Source: kernel/bpf/btf.c of Linux 6.18, btf_struct_walk, btf_struct_ids_match; kernel/bpf/verifier.c,
check_ptr_to_btf_access (behaviour and sentences)."""

from __future__ import annotations

from dataclasses import dataclass

from bcc_py.verifier.domain import Pointer
from bcc_py.verifier.rules import Refusal
from cfront import ctype
from cfront.btf import TypeSource
from cfront.ctype import Array, CType, Enum, Function, Integer, Record

__all__ = [
    "STRUCT_OF",
    "Member",
    "embeds",
    "is_allocated",
    "is_object",
    "is_trusted",
    "names_of_type",
    "record_of",
    "struct_access",
    "type_word",
    "walked",
]

_MAX_DEPTH = 32
# pointers of other kinds that stand for one of the kernel's structs
STRUCT_OF = {"sock": "sock", "sock_common": "sock_common", "tcp_sock": "tcp_sock", "map_ptr": "bpf_map"}
_NOT_OBJECTS = frozenset(("map_ptr", "dynptr_ptr"))
# members by which trust is handed on, by struct: (member, struct that it points to)
_TRUSTED = frozenset((
    ("bpf_iter_meta", "seq"), ("bpf_iter__task", "meta"), ("bpf_iter__task", "task"), ("linux_binprm", "file"),
    ("file", "f_inode"), ("dentry", "d_inode"),
))
_TRUSTED_OR_NULL = frozenset((("socket", "sk"), ("vm_area_struct", "vm_mm"), ("vm_area_struct", "vm_file")))
_RCU = frozenset((
    ("task_struct", "cpus_ptr"), ("task_struct", "cgroups"), ("task_struct", "real_parent"), ("task_struct", "group_leader"),
    ("cgroup", "kn"), ("css_set", "dfl_cgrp"), ("cgroup_subsys_state", "cgroup"),
))
_RCU_OR_NULL = frozenset((("mm_struct", "exe_file"), ("sk_buff", "sk"), ("request_sock", "sk")))


@dataclass(frozen=True, slots=True)
class Member:
    """A pointer to a struct. name: the member's, struct: what it points to; is_shared: it lies in a union."""

    name: str
    struct: str
    is_shared: bool = False


# ---- kinds of pointers


def is_object(value: Pointer) -> bool:
    """value points to an object: of the kernel, or one that the program allocated."""
    kind = value.kind.removesuffix("_or_null")
    return kind.endswith("ptr") and kind not in _NOT_OBJECTS


def is_allocated(value: Pointer) -> bool:
    """value points to an object that the program allocated."""
    return value.kind.startswith(("alloc_", "nonown_"))


def is_trusted(value: Pointer) -> bool:
    """The kernel vouches for value as long as it is held."""
    return bool(value.ref) or value.kind in ("trusted_ptr", "alloc_ptr", "nonown_ptr") or value.kind in STRUCT_OF


def walked(base: Pointer, member: Member, is_in_rcu: bool) -> str:
    """The kind of pointer that a load of member through base gives."""
    kind = base.kind
    if "untrusted" in kind:
        return "untrusted_ptr"
    if not is_trusted(base) and "rcu_" not in kind:
        return "untrusted_ptr" if member.is_shared else "ptr"
    place = base.type, member.name
    if place in _TRUSTED:
        return "trusted_ptr"
    if place in _TRUSTED_OR_NULL:
        return "trusted_ptr_or_null"
    if not is_in_rcu or base.is_maybe_null:
        return "untrusted_ptr"
    if place in _RCU:
        return "untrusted_ptr" if member.is_shared else "rcu_ptr"
    if place in _RCU_OR_NULL:
        return "rcu_ptr_or_null"
    return "untrusted_ptr" if member.is_shared else "ptr"


# ---- structs


def record_of(types: TypeSource, name: str) -> Record | None:
    """The struct of that name, else the union."""
    found = types.find("struct", name) or types.find("union", name)
    return found if isinstance(found, Record) else None


def struct_access(types: TypeSource, name: str, off: int, size: int, is_own: bool = False) -> Member | None:
    """What size bytes at off of struct name are: None a number, or the member that points to a struct. is_own: the struct
    is the program's. Raises Refusal."""
    record = record_of(types, name)
    if record is None or record.fields is None:
        raise Refusal(f"Type '{name}' is not a struct")
    if off + size > record.size and (is_own or not _is_open_ended(record)):
        raise Refusal(f"access beyond struct {name} at off {off} size {size}")
    return _Walk(size).through(record, off, 0)


def _is_open_ended(record: Record) -> bool:
    fields = record.fields or ()
    return bool(fields) and isinstance(fields[-1].type, Array) and not fields[-1].type.count


class _Walk:
    """One access of size bytes. is_shared: a union was passed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._is_shared = False

    def through(self, record: Record, off: int, depth: int) -> Member | None:
        fields, size = record.fields or (), self._size
        if record.tag == "union" and len(fields) != 1:
            self._is_shared = True
        for one in fields if depth < _MAX_DEPTH else ():
            if one.bit_size is not None:
                end = (one.offset * 8 + one.bit_offset + one.bit_size + 7) // 8
                if off <= one.offset + one.bit_offset // 8 and end <= off + size:
                    return None
                continue
            if off < one.offset:
                break
            end = one.offset + one.type.size
            if isinstance(one.type, Array) and not one.type.count and one is fields[-1]:
                end = off + size
            if off >= end:
                continue
            return self._inside(record, one, off, end, depth)
        raise Refusal(f"struct {record.name} doesn't have field at offset {off}")

    def _inside(self, record: Record, field: ctype.Field, off: int, end: int, depth: int) -> Member | None:
        type: CType = field.type
        start = field.offset
        while isinstance(type, Array):
            if not type.element.size:
                return None
            start += (off - start) // type.element.size * type.element.size
            type = type.element
        if isinstance(type, Record):
            return self.through(type, off - start, depth + 1)
        if isinstance(type, ctype.Pointer):
            if off != start or self._size != 8:
                raise Refusal(f"cannot access ptr member {field.name} with moff {start} in struct {record.name} "
                              f"with off {off} size {self._size}")
            target = type.target
            if isinstance(target, Record):
                return Member(field.name, target.name, self._is_shared)
        if off + self._size > end and not self._is_shared:
            raise Refusal(f"access beyond the end of member {field.name} (mend:{end}) in struct {record.name} "
                          f"with off {off} size {self._size}")
        return None


def embeds(types: TypeSource, have: str, off: int, wanted: str, is_strict: bool) -> bool:
    """off bytes into struct have lies a struct wanted: with is_strict, that very one, else also one that begins there."""
    if not off and have == wanted:
        return True
    if is_strict:
        return False
    record = record_of(types, have)
    for _ in range(_MAX_DEPTH):
        found = _struct_at(record, off) if record is not None else None
        if found is None:
            return False
        if found.name == wanted:
            return True
        record, off = found, 0
    return False


def _struct_at(record: Record, off: int) -> Record | None:
    """The struct that lies at off, the outermost of those that begin there."""
    for _ in range(_MAX_DEPTH):
        for one in record.fields or ():
            if one.bit_size is not None or not one.offset <= off < one.offset + one.type.size:
                continue
            start, type = one.offset, one.type
            while isinstance(type, Array) and type.element.size:
                start += (off - start) // type.element.size * type.element.size
                type = type.element
            if not isinstance(type, Record):
                return None
            if off == start:
                return type
            record, off = type, off - start
            break
        else:
            return None
    return None


# ---- types in words


def type_word(type: CType) -> str:
    """The kind of a type as BTF calls it."""
    if isinstance(type, Record):
        return "STRUCT" if type.tag == "struct" else "UNION"
    for kind, word in ((Integer, "INT"), (ctype.Pointer, "PTR"), (Array, "ARRAY"), (Enum, "ENUM"), (Function, "FUNC_PROTO")):
        if isinstance(type, kind):
            return word
    return "UNKNOWN"


def names_of_type(type: CType) -> str:
    return str(getattr(type, "name", ""))

