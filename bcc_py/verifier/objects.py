"""The kernel's own structs, as programs may read them through pointers that the verifier knows.

Input: the kernel's types, a struct's name, an offset and a width. Output: "" for a number, or the name of the struct
that a pointer member points to. Invariant: what does not lie in one member is refused.

Source: kernel/bpf/btf.c of Linux 6.18, btf_struct_walk (behaviour and sentences)."""

from __future__ import annotations

from bcc_py.verifier.rules import Refusal
from cfront.btf import TypeSource
from cfront.ctype import Array, CType, Pointer, Record

__all__ = ["struct_access"]

_MAX_DEPTH = 32


def struct_access(types: TypeSource, name: str, off: int, size: int) -> str:
    """What size bytes at off of struct name are: "" a number, or the struct that a pointer there points to (void gives
    ""). Raises Refusal."""
    record = types.find("struct", name)
    if not isinstance(record, Record) or record.fields is None:
        raise Refusal(f"Type '{name}' is not a struct")
    if off + size > record.size and not _is_open_ended(record):
        raise Refusal(f"access beyond struct {name} at off {off} size {size}")
    return _walk(record, off, size, 0)


def _is_open_ended(record: Record) -> bool:
    fields = record.fields or ()
    return bool(fields) and isinstance(fields[-1].type, Array) and not fields[-1].type.count


def _walk(record: Record, off: int, size: int, depth: int) -> str:
    fields = record.fields or ()
    for one in fields if depth < _MAX_DEPTH else ():
        if one.bit_size is not None:
            if one.offset <= off + size and off < one.offset + one.type.size:
                return ""
            continue
        type = one.type
        end = one.offset + type.size
        if isinstance(type, Array) and not type.count and one is fields[-1]:
            end = off + size
        if not one.offset <= off < end:
            continue
        if off + size > end:
            if record.tag == "union":
                continue
            raise Refusal(f"access beyond the end of member {one.name} (mend:{end}) in struct {record.name} with off {off} size {size}")
        found = _inside(record, one.name, type, off - one.offset, size, depth)
        if found is not None:
            return found
    if record.tag == "union":
        return ""
    raise Refusal(f"struct {record.name} doesn't have field at offset {off}")


def _inside(record: Record, name: str, type: CType, off: int, size: int, depth: int) -> str | None:
    while isinstance(type, Array):
        if not type.element.size:
            return ""
        off %= type.element.size
        type = type.element
    if isinstance(type, Record):
        return _walk(type, off, size, depth + 1)
    if isinstance(type, Pointer):
        if off or size != 8:
            raise Refusal(f"cannot access ptr member {name} with moff {off} in struct {record.name} with off {off} size {size}")
        target = type.target
        return target.name if isinstance(target, Record) and target.tag == "struct" and target.name else ""
    return ""
