"""What must be known of BTF bytes before the kernel is given them: where the types begin.

Input: BTF as a compiler wrote it. Output: loadable(btf), the same types with the same ids in the form the
kernel takes; first_function(btf), the id of some function.

A compiler leaves the sizes and offsets of data sections to the linker, and the kernel refuses them
unfilled. Nothing of what we hand the kernel BTF for (functions, lines) refers to sections or variables, so
each VAR becomes a 1-byte INT and each DATASEC an unnamed STRUCT of them: both have the same length as what
they replace, and every other type keeps its id. A function that is the kernel's own, which it does not take
either, becomes a TYPEDEF of its prototype. Source: Documentation/bpf/btf.rst."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bcc_py.errors import ObjectError

__all__ = ["first_function", "loadable"]

_INT, _STRUCT, _TYPEDEF, _FUNC, _VAR, _DATASEC = 1, 4, 8, 12, 14, 15
_EXTERN = 2  # the linkage of a function that is somewhere else
# bytes after a type's head of 12, and for each of its members (kinds without members have none)
_EXTRA = {_INT: 4, 3: 12, _VAR: 4, 17: 4}
_EACH = {_STRUCT: 12, 5: 12, 6: 8, 13: 8, _DATASEC: 12, 19: 12}
_BYTE = struct.pack("<III", _INT << 24, 1, 8)  # info, size, bits


def _types(btf: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, kind, number of members) of each type, by id from 1. Raises ObjectError if one is cut off."""
    try:
        magic, header, start, size = struct.unpack_from("<H2xIII", btf)
        if magic != 0xEB9F:
            raise ObjectError(f"reading BTF: magic {magic:#x}", ".BTF")
        at, end = header + start, header + start + size
        while at < end:
            info = struct.unpack_from("<I", btf, at + 4)[0]
            kind, members = info >> 24 & 31, info & 0xFFFF
            following = at + 12 + _EXTRA.get(kind, 0) + _EACH.get(kind, 0) * members
            if following > min(end, len(btf)):
                raise ObjectError(f"reading BTF: a type of kind {kind} is cut off", ".BTF", at)
            yield at, kind, members
            at = following
    except struct.error as error:
        raise ObjectError("reading BTF: cut off", ".BTF") from error


def first_function(btf: bytes) -> int:
    """The id of the first FUNC, 0 if there is none. Raises ObjectError."""
    return next((index for index, (_, kind, _) in enumerate(_types(btf), 1) if kind == _FUNC), 0)


def loadable(btf: bytes) -> bytes:
    """btf with its variables and data sections in a form that the kernel takes. Raises ObjectError."""
    made = bytearray(btf)
    types = list(_types(btf))
    number = next((id for id, (_, kind, _) in enumerate(types, 1) if kind in (_INT, _VAR)), 0)
    for at, kind, members in types:
        if kind == _VAR:
            made[at + 4 : at + 16] = _BYTE
        elif kind == _FUNC and members == _EXTERN:
            made[at + 4 : at + 8] = struct.pack("<I", _TYPEDEF << 24)
        elif kind == _DATASEC:
            made[at : at + 12] = struct.pack("<III", 0, _STRUCT << 24 | members, 4)
            for row in range(at + 12, at + 12 + 12 * members, 12):
                id = struct.unpack_from("<I", btf, row)[0]
                is_function = 0 < id <= len(types) and types[id - 1][1] == _FUNC
                made[row : row + 12] = struct.pack("<III", 0, number if is_function else id, 0)
    return bytes(made)
