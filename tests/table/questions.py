"""Random questions for BCC and for us: histograms, instructions, and C types with a value. The seed says which."""

from __future__ import annotations

import random
from typing import Any

NOW = "2026-01-02 03:04:05"  # by the clock of histograms
_WORDS = ["usecs", "value", "size", "", "runqlen", "a word that is longer than its column"]
_NAMES = ["sh", "bash", "kworker", "x", "zz top"]

# what BCC's disassembler knows, by what stands in the fields
_ALU = [op | source | width for op in (0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xA0, 0xB0, 0xC0)
        for source in (0, 8) for width in (4, 7)]
_JUMPS = [op | source | 5 for op in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0) for source in (0, 8)]
_MEMORY = [0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x58, 0x61, 0x62, 0x63, 0x69, 0x6A, 0x6B, 0x71, 0x72, 0x73, 0x79, 0x7A, 0x7B]
OPCODES = [*_ALU, *_JUMPS, *_MEMORY, 0x05, 0x84, 0x87, 0x85, 0x95, 0xDC]

_SCALARS = ["char", "u8", "short", "u16", "int", "u32", "s64", "u64", "bool", "unsigned long"]


def questions(seed: int, count: int) -> dict[str, list[Any]]:
    """What bcc_answers.py takes, count of each kind."""
    rng = random.Random(seed)
    return {"hist": [_histogram(rng) for _ in range(count)], "insns": [_program(rng) for _ in range(count)],
            "types": [_type(rng, at) for at in range(count)]}


def _histogram(rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(["log2", "linear", "json"])
    key = rng.choice(["slot", "number", "name"])
    top = rng.choice([5, 31, 34, 64]) if kind != "linear" else rng.choice([3, 60, 1024 if key == "slot" else 60])
    seen = {}
    for _ in range(rng.choice([0, 1, 5, 40])):
        bucket = 0 if key == "slot" else rng.randrange(6) if key == "number" else rng.choice(_NAMES)
        seen[bucket, rng.randrange(top + 1)] = rng.choice([0, 1, rng.randrange(100), rng.randrange(1 << 40)])
    return {"kind": kind, "key": key, "rows": [[*place, count] for place, count in seen.items()], "val_type": rng.choice(_WORDS),
            "header": rng.choice(["Bucket ptr", "disk"]), "is_grouped": key != "slot" and rng.random() < 0.5,
            "is_stripped": rng.choice([None, True, False])}


def _program(rng: random.Random) -> str:
    code = bytearray()
    for _ in range(rng.randrange(1, 30)):
        op = rng.choice(OPCODES)
        off = 0 if op & 7 in (4, 7) else rng.randrange(-(1 << 15), 1 << 15)  # in arithmetic it means more than BCC knows
        src, imm = rng.randrange(16), rng.choice([0, 1, -1, rng.randrange(-(1 << 31), 1 << 31)])
        if op == 0x85:
            src, imm = rng.choice([(0, rng.randrange(92)), (1, rng.randrange(-100, 100))])
        code += _slot(op, rng.randrange(16), src, off, imm)
        if rng.random() < 0.1:
            code += rng.choice([_slot(0x18, 3, 1, 0, rng.randrange(100)) + bytes(8),
                                _slot(0x18, 4, 0, 0, rng.randrange(1 << 31)) + _slot(0, 0, 0, 0, rng.randrange(1, 1 << 31))])
    return (code + _slot(0x95, 0, 0, 0, 0)).hex()


def _slot(op: int, dst: int, src: int, off: int, imm: int) -> bytes:
    return bytes([op, src << 4 | dst]) + off.to_bytes(2, "little", signed=True) + imm.to_bytes(4, "little", signed=True)


def _type(rng: random.Random, at: int) -> dict[str, Any]:
    """A declaration. has_bits, has_rows: what BCC's listing of layouts does not get right."""
    name = f"T{at}"
    kind = rng.choice(["scalar", "struct", "struct", "struct", "bits", "union"])
    if kind == "scalar":
        declaration = f"typedef {rng.choice(_SCALARS)} {name};"
    else:
        body = _body(rng, 0, kind == "bits", kind == "union")
        packed = " __attribute__((packed))" if kind == "struct" and rng.random() < 0.2 else ""
        declaration = f"typedef {'union' if kind == 'union' else 'struct'} {{ {body} }}{packed} {name};"
    value = bytes(rng.choice([0, 1, 0x41, 0x42, 0x7A, rng.randrange(0x20, 0x7F)]) for _ in range(4096)).replace(b'"', b"'")
    return {"name": name, "declaration": declaration, "value": value.hex()}


def _body(rng: random.Random, depth: int, has_bits: bool, is_union: bool) -> str:
    rows = []
    for number in range(rng.randrange(1, 7)):
        word = rng.random()
        member = f"m{depth}{number}{'abc'[rng.randrange(3)]}"
        if has_bits and not is_union and word < 0.5:
            unit, width = rng.choice([("u8", 8), ("u16", 16), ("u32", 32), ("u64", 64)])
            rows.append(f"{unit} {member}:{rng.randrange(1, width + 1)};")
        elif word < 0.6 or depth > 1:
            rows.append(f"{rng.choice(_SCALARS)} {member};")
        elif word < 0.8:
            rows.append(f"{rng.choice(_SCALARS)} {member}[{rng.randrange(1, 9)}];")
        else:
            inner = rng.choice(["struct", "struct", "union"])
            times = f"[{rng.randrange(1, 4)}]" if rng.random() < 0.3 else ""
            rows.append(f"{inner} {{ {_body(rng, depth + 1, has_bits and rng.random() < 0.3, inner == 'union')} }} {member}{times};")
    return " ".join(rows)
