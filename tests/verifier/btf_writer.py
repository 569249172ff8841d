"""A writer of small BTF, for tests: the struct that a map's value is, and functions.

value_types("lock:bpf_spin_lock n:u64 task:kptr:task_struct") gives the bytes, the id of u32 (a key) and that of the struct,
"struct value". A member is NAME:TYPE, of a type in SIZES, or NAME:TAG:STRUCT, a pointer to a struct whose type has this tag.

function_types(2) gives the bytes, and the ids of two functions, "int f0(void)" and so on, as static ones.
variable_types() gives the bytes of a kernel's: "u64 ticks", "struct queue { u64 length; struct queue *next; } first" and
"int run(void)"."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_INT, _PTR, _STRUCT, _FUNC, _FUNC_PROTO, _VAR, _DECL_TAG, _TYPE_TAG = 1, 2, 4, 12, 13, 14, 17, 18
_MAGIC, _HEADER_BYTES = 0xEB9F, 24
# the kernel's structs: bytes, and how they are aligned
SIZES = {
    "u32": (4, 4), "u64": (8, 8), "bpf_spin_lock": (4, 4), "bpf_timer": (16, 8), "bpf_wq": (16, 8), "bpf_refcount": (4, 4),
}


class _Writer:
    def __init__(self) -> None:
        self.types: list[bytes] = []
        self.strings = bytearray(b"\0")

    def text(self, text: str) -> int:
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at if text else 0

    def add(self, name: str, kind: int, count: int, third: int, rest: bytes = b"") -> int:
        self.types.append(struct.pack("<III", self.text(name), kind << 24 | count, third) + rest)
        return len(self.types)

    def members(self, rows: Sequence[tuple[str, int, int]]) -> bytes:
        return b"".join(struct.pack("<III", self.text(name), type, 8 * off) for name, type, off in rows)

    def content(self) -> bytes:
        types = b"".join(self.types)
        header = struct.pack("<HBBIIIII", _MAGIC, 1, 0, _HEADER_BYTES, 0, len(types), len(types), len(self.strings))
        return header + types + bytes(self.strings)


def value_types(text: str) -> tuple[bytes, int, int]:
    writer = _Writer()
    ids = {name: writer.add(name, _INT, 0, size, struct.pack("<I", 8 * size)) for name, (size, _) in SIZES.items() if name[0] == "u"}
    rows, end = [], 0
    for one in text.split():
        name, word, *target = one.split(":")
        size, align = (8, 8) if target else SIZES[word]
        if target:
            forward = writer.add(target[0], _STRUCT, 1, 8, writer.members([("first", ids["u64"], 0)]))
            type = writer.add("", _PTR, 0, writer.add(word, _TYPE_TAG, 0, forward))
        else:
            if word not in ids:
                part = f"u{8 * align}"
                inside = writer.members([(f"part{at}", ids[part], at * align) for at in range(size // align)])
                ids[word] = writer.add(word, _STRUCT, size // align, size, inside)
            type = ids[word]
        end = end + align - 1 & -align
        rows.append((name, type, end))
        end += size
    value = writer.add("value", _STRUCT, len(rows), end + 7 & ~7, writer.members(rows))
    return writer.content(), ids["u32"], value


def list_types() -> tuple[bytes, int, int]:
    """The bytes, the id of "struct value { struct bpf_spin_lock lock; struct bpf_list_head head; }", whose list is of
    "struct item { u64 key; struct bpf_list_node node; }", and the id of that."""
    writer = _Writer()
    u32, u64 = (writer.add(name, _INT, 0, size, struct.pack("<I", 8 * size)) for name, size in (("u32", 4), ("u64", 8)))
    lock = writer.add("bpf_spin_lock", _STRUCT, 1, 4, writer.members([("val", u32, 0)]))
    head = writer.add("bpf_list_head", _STRUCT, 2, 16, writer.members([("next", u64, 0), ("prev", u64, 8)]))
    node = writer.add("bpf_list_node", _STRUCT, 3, 24, writer.members([("next", u64, 0), ("prev", u64, 8), ("owner", u64, 16)]))
    item = writer.add("item", _STRUCT, 2, 32, writer.members([("key", u64, 0), ("node", node, 8)]))
    value = writer.add("value", _STRUCT, 2, 24, writer.members([("lock", lock, 0), ("head", head, 8)]))
    writer.add("contains:item:node", _DECL_TAG, 0, value, struct.pack("<I", 1))
    return writer.content(), value, item


def function_types(count: int) -> tuple[bytes, list[int]]:
    writer = _Writer()
    proto = writer.add("", _FUNC_PROTO, 0, writer.add("int", _INT, 0, 4, struct.pack("<I", 1 << 24 | 32)))
    ids = [writer.add(f"f{number}", _FUNC, 0, proto) for number in range(count)]
    return writer.content(), ids


def variable_types() -> bytes:
    writer = _Writer()
    number = writer.add("u64", _INT, 0, 8, struct.pack("<I", 64))
    queue = number + 1
    writer.add("queue", _STRUCT, 2, 16, writer.members([("length", number, 0), ("next", queue + 1, 8)]))
    writer.add("", _PTR, 0, queue)
    writer.add("ticks", _VAR, 0, number, struct.pack("<I", 1))
    writer.add("first", _VAR, 0, queue, struct.pack("<I", 1))
    proto = writer.add("", _FUNC_PROTO, 0, writer.add("int", _INT, 0, 4, struct.pack("<I", 1 << 24 | 32)))
    writer.add("run", _FUNC, 1, proto)
    return writer.content()
