"""Programs that compute, for comparing engines: each touches nothing but registers and its stack, and folds
all it computed into r0, so that the 32 bits a test run returns depend on every register.

cases() is deterministic: a table of operations on chosen operands, then seeded random programs with forward
jumps, stack loads and stores, atomics and calls. Their results on Linux are in tests/data/isa_results.txt."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bcc_py.isa import Insn

_ALU = {"add": 0x00, "sub": 0x10, "mul": 0x20, "div": 0x30, "or": 0x40, "and": 0x50, "lsh": 0x60, "rsh": 0x70, "mod": 0x90,
        "xor": 0xA0, "mov": 0xB0, "arsh": 0xC0}
_JMP = {"eq": 0x10, "gt": 0x20, "ge": 0x30, "set": 0x40, "ne": 0x50, "sgt": 0x60, "sge": 0x70, "lt": 0xA0, "le": 0xB0,
        "slt": 0xC0, "sle": 0xD0}
_ATOMIC = {"add": 0x00, "or": 0x40, "and": 0x50, "xor": 0xA0}
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_PAIRS = (
    (0, 0), (1, 0), (0, 1), (7, 3), (-7, 3), (7, -3), (-1, -1), (1 << 63, (1 << 64) - 1), (0x80000000, 0xFFFFFFFF),
    (0xFFFFFFFF80000000, 0xFFFFFFFFFFFFFFFF), (0x123456789ABCDEF0, 0x0FEDCBA987654321), (0xDEADBEEFCAFEBABE, 65), (3, 0x100000021),
)
_IMMEDIATES = (1, -1, 7, 31, -128, 0x7FFFFFFF, -0x80000000)


def wide(reg: int, value: int) -> list[Insn]:
    """reg = value, 64 bits."""
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    return [Insn(0x18, reg, 0, 0, _s32(low)), Insn(0, 0, 0, 0, _s32(high))]


def _s32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


_FOLD = [Insn(0xBF, 1, 0), Insn(0x77, 1, 0, 0, 32), Insn(0x27, 1, 0, 0, 31), Insn(0x0F, 0, 1), Insn(0x95)]


def _binary(insn: Insn, left: int, right: int) -> tuple[Insn, ...]:
    return (*wide(0, left), *wide(2, right), insn, *_FOLD)


def _alu_cases() -> Iterator[tuple[str, tuple[Insn, ...]]]:
    for name, op in _ALU.items():
        for width, kind in ((64, 7), (32, 4)):
            signed = ((name, 0), ("s" + name, 1)) if name in ("div", "mod") else ((name, 0),)
            for shown, off in signed:
                for at, (left, right) in enumerate(_PAIRS):
                    yield f"{shown}{width} reg {at}", _binary(Insn(op | 8 | kind, 0, 2, off), left, right)
                for imm in _IMMEDIATES:
                    if "sh" not in name or 0 <= imm < width:
                        yield f"{shown}{width} imm {imm}", _binary(Insn(op | kind, 0, 0, off, imm), 0x89ABCDEF01234567, 0)


def _move_cases() -> Iterator[tuple[str, tuple[Insn, ...]]]:
    for at, (value, _) in enumerate((*_PAIRS, (0x8180, 0), (0x12348000, 0), (0x7F, 0))):
        for bits in (8, 16, 32):
            yield f"movs64 {bits} {at}", _binary(Insn(0xBF, 0, 2, bits), 0, value)
        for bits in (8, 16):
            yield f"movs32 {bits} {at}", _binary(Insn(0xBC, 0, 2, bits), 0, value)
        yield f"neg64 {at}", _binary(Insn(0x87, 0), value, 0)
        yield f"neg32 {at}", _binary(Insn(0x84, 0), value, 0)
        for bits in (16, 32, 64):
            for shown, code in (("le", 0xD4), ("be", 0xDC), ("bswap", 0xD7)):
                yield f"{shown}{bits} {at}", _binary(Insn(code, 0, 0, 0, bits), value, 0)


def _jump_cases() -> Iterator[tuple[str, tuple[Insn, ...]]]:
    for name, op in _JMP.items():
        for width, kind in ((64, 5), (32, 6)):
            # r3 counts in bits which pairs jump, all in one program
            insns: list[Insn] = [Insn(0xB7, 3)]
            for at, (left, right) in enumerate(_PAIRS):
                insns += [*wide(0, left), *wide(2, right), Insn(op | 8 | kind, 0, 2, 1), Insn(0x05, 0, 0, 1), Insn(0x47, 3, 0, 0, 1 << at)]
                for bit, imm in enumerate(_IMMEDIATES[:4]):
                    insns += [Insn(op | kind, 0, 0, 1, imm), Insn(0x05, 0, 0, 1), Insn(0x07, 3, 0, 0, (bit + 1) << 16)]
            yield f"j{name}{width}", (*insns, Insn(0xBF, 0, 3), *_FOLD)


def _memory_cases() -> Iterator[tuple[str, tuple[Insn, ...]]]:
    store = [*wide(2, 0x8182838485868788), Insn(0x7B, 10, 2, -8), *wide(2, 0xF1E2D3C4B5A69788), Insn(0x7B, 10, 2, -16)]
    for size, bits in _SIZES.items():
        for mode, shown in ((0x60, "ldx"), (0x80, "ldxs")):
            if mode == 0x80 and size == 8:
                continue
            yield f"{shown}{size}", (*store, Insn(mode | bits | 1, 0, 10, -16 + size), *_FOLD)
        yield f"st{size}", (*store, Insn(0x62 | bits, 10, 0, -16 + size, -0x12345679), Insn(0x79, 0, 10, -16), *_FOLD)
        yield f"stx{size}", (*store, Insn(0x63 | bits, 10, 2, -8 + size % 8), Insn(0x79, 0, 10, -8), *_FOLD)
    yield "ja32", (Insn(0xB7, 0, 0, 0, 5), Insn(0x15, 0, 0, 1, 4), Insn(0x06, 0, 0, 0, 1), Insn(0xB7, 0, 0, 0, 6), *_FOLD)


def _atomic_cases() -> Iterator[tuple[str, tuple[Insn, ...]]]:
    for size in (4, 8):
        code = 0xC3 | _SIZES[size]
        head = [*wide(2, 0x8182838485868788), Insn(0x7B, 10, 2, -8), *wide(3, 0xF0E1D2C3FFFFFFFF), *wide(0, 0x8182838485868788)]
        tail = [Insn(0x79, 4, 10, -8), Insn(0x0F, 0, 3), Insn(0xAF, 0, 4), *_FOLD]
        for name, op in _ATOMIC.items():
            for fetch in (0, 1):
                yield f"atomic_{name}{size * 8} fetch {fetch}", (*head, Insn(code, 10, 3, -8, op | fetch), *tail)
        yield f"xchg{size * 8}", (*head, Insn(code, 10, 3, -8, 0xE1), *tail)
        yield f"cmpxchg{size * 8} equal", (*head, Insn(code, 10, 3, -8, 0xF1), *tail)
        yield f"cmpxchg{size * 8} other", (*head, Insn(0x07, 0, 0, 0, 1), Insn(code, 10, 3, -8, 0xF1), *tail)
    for size, bits in _SIZES.items():
        head = [*wide(2, 0x8182838485868788), Insn(0x7B, 10, 2, -8), Insn(0xB7, 3, 0, 0, -2)]
        yield f"store_release{size}", (*head, Insn(0xC3 | bits, 10, 3, -8, 0x110), Insn(0x79, 0, 10, -8), *_FOLD)
        yield f"load_acquire{size}", (*head, Insn(0xC3 | bits, 0, 10, -8, 0x100), *_FOLD)


def _call_cases() -> Iterator[tuple[str, tuple[Insn, ...]]]:
    """r0 = f(a, b) twice, r6 kept over the call, the callee with a stack of its own; then a loop."""
    main = [*wide(6, 0x1122334455667788), Insn(0xB7, 1, 0, 0, 5), Insn(0xB7, 2, 0, 0, 9), Insn(0x85, 0, 1, 0, 0), Insn(0xBF, 7, 0),
            Insn(0xBF, 1, 7), Insn(0xBF, 2, 6), Insn(0x85, 0, 1, 0, 0), Insn(0x0F, 0, 6), Insn(0xAF, 0, 7), *_FOLD]
    for slot, one in enumerate(main):
        if one.code == 0x85:
            main[slot] = one._replace(imm=len(main) - slot - 1)
    callee = [Insn(0xB7, 6, 0, 0, 3), Insn(0x7B, 10, 1, -8), Insn(0x7B, 10, 2, -16), Insn(0x79, 0, 10, -8), Insn(0x79, 3, 10, -16),
              Insn(0x2F, 0, 6), Insn(0x1F, 0, 3), Insn(0x95)]
    yield "call", (*main, *callee)
    loop = [Insn(0xB7, 0), Insn(0xB7, 1, 0, 0, 20), Insn(0x0F, 0, 1), Insn(0x27, 0, 0, 0, 3), Insn(0x07, 1, 0, 0, -1),
            Insn(0x55, 1, 0, -4, 0), *_FOLD]
    yield "loop", tuple(loop)


def _random_program(seed: int) -> tuple[Insn, ...]:
    draw = random.Random(seed)
    insns: list[Insn] = []
    for reg in range(10):
        insns += wide(reg, draw.choice((draw.getrandbits(64), draw.getrandbits(32), draw.randrange(-9, 9) % 2**64)))
    for slot in range(4):
        insns.append(Insn(0x7B, 10, draw.randrange(10), -8 - 8 * slot))
    body: list[Insn] = []
    for _ in range(40):
        body.append(_random_insn(draw))
    for at, one in enumerate(body):
        if one.code & 7 in (5, 6):
            body[at] = one._replace(off=draw.randrange(0, min(6, len(body) - at)))
    insns += body
    for reg in range(1, 10):
        insns += [Insn(0x27, 0, 0, 0, 31), Insn(0xAF, 0, reg)]
    for slot in range(4):
        insns += [Insn(0x79, 1, 10, -8 - 8 * slot), Insn(0x27, 0, 0, 0, 17), Insn(0x0F, 0, 1)]
    return (*insns, *_FOLD)


def _random_insn(draw: random.Random) -> Insn:
    dst, src, kind = draw.randrange(10), draw.randrange(10), draw.choice((4, 7))
    pick = draw.random()
    if pick < 0.55:
        name = draw.choice(tuple(_ALU))
        off = draw.randrange(2) if name in ("div", "mod") else draw.choice((0, 8, 16)) if name == "mov" else 0
        if draw.random() < 0.5:
            return Insn(_ALU[name] | 8 | kind, dst, src, off)
        imm = draw.randrange(32) if "sh" in name else draw.choice((draw.randrange(1, 99), _s32(draw.getrandbits(32)) or 1))
        return Insn(_ALU[name] | kind, dst, 0, 0 if name == "mov" else off, imm)
    if pick < 0.65:
        return Insn(draw.choice((0xD4, 0xDC, 0xD7)), dst, 0, 0, draw.choice((16, 32, 64)))
    size = draw.choice((1, 2, 4, 8))
    place = -32 + draw.randrange(0, 32 // size) * size
    if pick < 0.75:
        mode = 0x80 if size < 8 and draw.random() < 0.4 else 0x60
        return Insn(mode | _SIZES[size] | 1, dst, 10, place)
    if pick < 0.85:
        return Insn(0x63 | _SIZES[size], 10, src, place)
    if pick < 0.9:
        size = draw.choice((4, 8))
        op = draw.choice((0x00, 0x40, 0x50, 0xA0, 0x01, 0x41, 0x51, 0xA1, 0xE1, 0xF1))
        return Insn(0xC3 | _SIZES[size], 10, src, -32 + draw.randrange(0, 32 // size) * size, op)
    code = draw.choice(tuple(_JMP.values())) | draw.choice((5, 6))
    return Insn(code | 8, dst, src) if draw.random() < 0.5 else Insn(code, dst, 0, 0, draw.randrange(-5, 99))


def cases() -> list[tuple[str, tuple[Insn, ...]]]:
    """(name, program) of every case; names are unique."""
    table = [*_alu_cases(), *_move_cases(), *_jump_cases(), *_memory_cases(), *_atomic_cases(), *_call_cases()]
    return table + [(f"random {seed}", _random_program(seed)) for seed in range(150)]
