"""Seeded random programs that are nearly right: blocks of code a compiler might emit, with a mistake now and then.

program(seed) is text for isa.assemble and needs the three maps of MAPS. About half of them are accepted."""

from __future__ import annotations

import random

from bcc_py.spec import MapSpec
from cfront.uapi import MapType

MAPS = (
    MapSpec("h", MapType.HASH, 4, 8, 16),
    MapSpec("a", MapType.ARRAY, 4, 64, 1),
    MapSpec("rb", MapType.RINGBUF, 0, 0, 4096),
)
_ALU = ("+=", "-=", "*=", "|=", "&=", "^=", "/=", "%=")
_JMP = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
_NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 56, 57, 63, 64, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, -1, -2, -8, -64)


class _Writer:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.rows: list[str] = []
        self.labels = 0
        self.numbers = [6, 7]  # registers that hold a number, mostly

    def put(self, *rows: str) -> None:
        self.rows += rows

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def number(self) -> int:
        return self.dice.choice(_NUMBERS)

    def reg(self) -> int:
        return self.dice.choice((6, 7, 8) if self.dice.random() < 0.95 else (0, 1, 5, 9, 10))

    def block(self, depth: int) -> None:
        kinds = [self.alu, self.alu, self.alu, self.move, self.spill, self.index, self.index, self.look_up,
                 self.branch, self.branch, self.ring, self.call_random, self.context, self.read_stack, self.sized,
                 self.slot_index, self.atomic]
        if depth < 3:
            kinds += [self.guarded, self.guarded, self.loop]
        kind = self.dice.choice(kinds)
        if kind in (self.guarded, self.loop):
            kind(depth)  # type: ignore[call-arg]
        else:
            kind()

    def alu(self) -> None:
        dice, dst = self.dice, self.reg()
        letter = dice.choice("rrw")
        if dice.random() < 0.15:
            shift = dice.choice(("<<=", ">>=", "s>>="))
            self.put(f"{letter}{dst} {shift} {dice.choice((1, 3, 8, 16, 31, 32 if letter == 'r' else 7, 56 if letter == 'r' else 24))}")
        elif dice.random() < 0.5:
            self.put(f"{letter}{dst} {dice.choice(_ALU)} {self.number() or 1}")
        else:
            self.put(f"{letter}{dst} {dice.choice(_ALU)} {letter}{self.reg()}")

    def move(self) -> None:
        dice = self.dice
        letter = dice.choice("rrw")
        if dice.random() < 0.4:
            self.put(f"{letter}{self.reg()} = {self.number()}")
        else:
            cast = dice.choice(("", "", "(s8)", "(s16)"))
            self.put(f"{letter}{self.reg()} = {cast}{letter}{self.reg()}")

    def spill(self) -> None:
        size = self.dice.choice((64, 64, 64, 32, 16, 8))
        off = -8 * self.dice.randrange(1, 6) + (self.dice.choice((0, 0, 0, 2, 4)) if size < 64 else 0)
        self.put(f"*(u{size} *)(r10 {off:+d}) = r{self.reg()}")

    def read_stack(self) -> None:
        size = self.dice.choice((64, 64, 64, 32, 16, 8))
        off = -8 * self.dice.randrange(1, 6) + (self.dice.choice((0, 0, 0, 2, 4)) if size < 64 else 0)
        sign = self.dice.choice("uuus") if size < 64 else "u"
        self.put(f"r{self.reg()} = *({sign}{size} *)(r10 {off:+d})")

    def key(self) -> None:
        self.put("*(u32 *)(r10 -48) = 0", "r2 = r10", "r2 += -48")

    def look_up(self) -> None:
        out, which = self.label(), self.dice.choice((1, 2))
        self.put(f"r1 = map[fd:{which}]")
        self.key()
        self.put("call map_lookup_elem")
        if self.dice.random() < 0.9:
            self.put(f"if r0 == 0 goto {out}")
        size = self.dice.choice((64, 32, 8))
        off = self.dice.choice((0, 0, 0, 4, 8, 1, -1, 60) if which == 2 else (0, 0, 0, 0, 4, 7, 8))
        if self.dice.random() < 0.5:
            self.put(f"*(u{size} *)(r0 {off:+d}) = r{self.reg()}")
        else:
            self.put(f"r{self.reg()} = *(u{size} *)(r0 {off:+d})")
        self.put(f"{out}:")

    def bound(self, reg: int, limit: int, out: str) -> None:
        dice = self.dice
        kind = dice.randrange(7)
        if kind == 0:
            self.put(f"r{reg} &= {dice.choice((limit, limit, 7, 127))}")
        elif kind == 1:
            self.put(f"if r{reg} > {dice.choice((limit, limit, limit + 1, limit * 2))} goto {out}")
        elif kind == 2:
            self.put(f"if r{reg} s> {limit} goto {out}", f"if r{reg} s< {dice.choice((0, 0, -1))} goto {out}")
        elif kind == 3:
            self.put(f"w{reg} = w{reg}", f"if w{reg} >= {dice.choice((limit, limit + 1, limit + 2))} goto {out}")
        elif kind == 4:
            self.put(f"if w{reg} > {limit} goto {out}", f"w{reg} = w{reg}")
        elif kind == 5:
            self.put(f"r{reg} >>= {dice.choice((58, 59, 57, 32))}")
        else:
            self.put(f"r5 = {limit}", f"if r{reg} > r5 goto {out}")

    def index(self) -> None:
        """An access to the array's value at a variable offset, bounded in one of many ways."""
        out, reg, size = self.label(), self.reg(), self.dice.choice((64, 32, 8))
        self.put("r1 = map[fd:2]")
        self.key()
        self.put("call map_lookup_elem", f"if r0 == 0 goto {out}")
        copy = self.dice.random() < 0.3
        if copy:
            self.put(f"r4 = r{reg}")
        self.bound(reg, 64 - size // 8, out)
        used = 4 if copy and self.dice.random() < 0.7 else reg
        self.put(f"r3 = r{used}", "r0 += r3", f"r{self.reg()} = *(u{size} *)(r0 +0)", f"{out}:")

    def slot_index(self) -> None:
        out, reg = self.label(), self.reg()
        self.bound(reg, 7, out)
        self.put("r3 = r10", "r3 += -16", f"r3 += r{reg}", f"r{self.reg()} = *(u8 *)(r3 +0)" if self.dice.random() < 0.6
                 else "*(u8 *)(r3 +0) = 1", f"{out}:")

    def sized(self) -> None:
        """A helper that gets a buffer and a variable size."""
        out, reg = self.label(), self.reg()
        self.bound(reg, self.dice.choice((16, 24, 40)), out)
        self.put("r1 = r10", f"r1 += {self.dice.choice((-40, -40, -24))}", f"r2 = r{reg}", "r3 = 0",
                 self.dice.choice(("call probe_read_kernel", "call get_current_comm", "call probe_read_kernel_str")))
        self.put(f"r{self.reg()} = r0", f"{out}:")

    def atomic(self) -> None:
        reg = self.reg()
        self.put("*(u64 *)(r10 -16) = 1", f"r{reg} = atomic64_{self.dice.choice(('fetch_add', 'xchg', 'fetch_or'))}((u64 *)(r10 -16), r{reg})")

    def branch(self) -> None:
        out = self.label()
        letter = self.dice.choice("rrw")
        right = f"{letter}{self.reg()}" if self.dice.random() < 0.3 else str(self.number())
        self.put(f"if {letter}{self.reg()} {self.dice.choice(_JMP)} {right} goto {out}")
        for _ in range(self.dice.randrange(3)):
            self.dice.choice((self.alu, self.move, self.spill))()
        self.put(f"{out}:")

    def guarded(self, depth: int) -> None:
        other, out = self.label(), self.label()
        self.put(f"if r{self.reg()} {self.dice.choice(_JMP)} {self.number()} goto {other}")
        self.block(depth + 1)
        self.put(f"goto {out}", f"{other}:")
        self.block(depth + 1)
        self.put(f"{out}:")

    def loop(self, depth: int) -> None:
        again = self.label()
        self.put("r9 = 0", f"{again}:")
        self.block(max(depth, 2) + 1)
        self.put("r9 += 1", f"if r9 < {self.dice.choice((2, 5, 9))} goto {again}")

    def ring(self) -> None:
        out = self.label()
        self.put("r1 = map[fd:3]", "r2 = 16", "r3 = 0", "call ringbuf_reserve")
        if self.dice.random() < 0.95:
            self.put(f"if r0 == 0 goto {out}")
        self.put(f"*(u64 *)(r0 {self.dice.choice((0, 8, 8, 12)):+d}) = r{self.reg()}")
        if self.dice.random() < 0.9:
            self.put("r1 = r0", "r2 = 0", self.dice.choice(("call ringbuf_submit", "call ringbuf_discard")))
        self.put(f"{out}:")

    def call_random(self) -> None:
        self.put("call get_prandom_u32", f"r{self.reg()} = r0")

    def context(self) -> None:
        self.put("r1 = *(u64 *)(r10 -56)", f"r{self.reg()} = *(u64 *)(r1 {8 * self.dice.randrange(22):+d})")


def program(seed: int) -> str:
    """The text of one program."""
    writer = _Writer(seed)
    writer.put("*(u64 *)(r10 -56) = r1", "r6 = *(u64 *)(r1 +0)", "call get_prandom_u32", "r7 = r0", "r8 = 5")
    for _ in range(writer.dice.randrange(2, 9)):
        writer.block(0)
    has_function = writer.dice.random() < 0.3
    if has_function:
        writer.put(f"r1 = r{writer.reg()}", "r2 = r10", "r2 += -16", "call f")
    writer.put("r0 = 0", "exit")
    if has_function:
        writer.put("f:", "r6 = r1", "r7 = r2", "r8 = 1")
        if writer.dice.random() < 0.5:
            writer.put("*(u64 *)(r7 +0) = r6")
        for _ in range(writer.dice.randrange(1, 3)):
            writer.dice.choice((writer.alu, writer.branch, writer.look_up, writer.index, writer.slot_index))()
        writer.put("r0 = r6", "exit")
    return "\n".join(writer.rows)
