"""Straight code with branches forward: every arithmetic, jump, load, store and atomic instruction of RFC 9669.

program(seed) begins with r0-r8 set to constants or to what the map `state` holds (which no verifier knows), works on
them and on 128 bytes of stack, and ends with all of them in the map and folded into r0: what it computes can be
compared. Nearly a quarter have one mistake in them, a rule broken or an index too wide."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cfront.uapi import ProgType
from tests.differential.writer import JUMPS, STATE_BYTES, Sample, Writer

__all__ = ["program"]

_REGS = range(9)  # r9 is the map's value all the time
_STACK_BYTES = 128
_DUMP_OFF = STATE_BYTES - 8 * len(_REGS)
_ALU = ("+=", "-=", "*=", "/=", "|=", "&=", "^=", "%=", "s/=", "s%=", "<<=", ">>=", "s>>=")
_NARROWER = {64: (8, 16, 32), 32: (8, 16)}
_FETCHING = ("fetch_add", "fetch_or", "fetch_and", "fetch_xor", "xchg")
_BROKEN = (
    "r10 += 1", "r10 = 5", "r{a} <<= 64", "w{a} >>= 32", "w{a} s>>= -1", "r{a} /= 0", "w{a} %= 0", "w{a} = (s32)w{b}",
    "r{a} = *(u64 *)(r10 -12)", "*(u32 *)(r10 -2) = 1", "r{a} = *(u8 *)(r10 +0)", "*(u8 *)(r10 -513) = 1", "(bf) .insn {a} 11 0 0",
    "r{a} = *(u8 *)(r9 +256)", "*(u64 *)(r9 -8) = 1", "r{a} = *(u64 *)(r9 +249)", "r{a} = *(u32 *)(r{b} +0)",
    "lock *(u8 *)(r9 +0) += r{a}", "lock *(u64 *)(r10 -12) += r{a}", "r{a} = load_acquire((u64 *)(r10 -12))",
    "r{a} = load_acquire((u32 *)(r{b} +0))", "store_release((u64 *)(r10 -520), r{a})", "lock *(u32 *)(r{b} +0) |= r{a}",
    "goto +2000", "goto -1", "gotol +90000", "if r{a} == 1 goto -1", "if w{a} & 3 goto +3000", "call unknown#9999", "exit",
    # accepted, some of them: what must not be compared goes away again
    "r{a} = *(u64 *)(r10 -400)\nr{a} = 1", "r{a} = r10\nr{a} = 1", "w{a} = w10\nr{a} = 1", "r{a} = r9\nr{a} += 300\nr{a} = 1",
    "r{a} = r9\nr{a} *= 8", "r{a} = r9\nw{a} += 4",
    "r{a} = be24 r{a}", "(d7) .insn {a} 0 0 8", "(df) .insn {a} 0 0 16", "(07) .insn {a} {b} 0 4", "(0f) .insn {a} {b} 2 0",
    "(bf) .insn {a} {b} 24 0", "(bf) .insn {a} {b} 0 7", "(87) .insn {a} 0 0 3", "(8f) .insn {a} 0 0 0", "(37) .insn {a} 0 2 5",
    "(05) .insn 0 0 1 1", "(06) .insn 0 0 1 0", "(15) .insn {a} {b} 1 1", "(1d) .insn {a} {b} 1 1", "(95) .insn 1 0 0 0",
    "(61) .insn {a} 9 0 4", "(72) .insn 9 {a} 0 1", "(99) .insn {a} 9 0 0", "(db) .insn 9 {a} 0 2", "(c3) .insn 9 {a} 0 256",
    "(18) .insn {a} 0 0 1", "(18) .insn {a} 0 1 1", "(00) .insn 0 0 0 0", "(40) .insn {a} 0 0 0", "(e7) .insn {a} 0 0 0",
    "(8d) .insn {a} 0 0 0", "(20) .insn 0 0 0 0", "(63) .insn 9 {a} 0 1", "(0f) .insn {a} 12 0 0", "(07) .insn 13 0 0 1",
)


class _Writer(Writer):
    def reg(self) -> int:
        return self.dice.choice(_REGS)

    def letter(self) -> str:
        return self.dice.choice("rrw")

    def wide(self) -> int:
        """A number of 64 bits, most often near an edge of a width."""
        edge = 1 << self.dice.choice((0, 7, 8, 15, 16, 31, 32, 33, 47, 63))
        return (self.dice.choice((edge, -edge, self.dice.getrandbits(64))) + self.dice.choice((-2, -1, 0, 1))) & (1 << 64) - 1

    def steps(self, depth: int, count: int) -> None:
        for _ in range(count):
            self.step(depth)

    def step(self, depth: int) -> None:
        kinds: list[Callable[[], None]] = [self.alu] * 5
        kinds += [self.move, self.unary, self.store, self.load, self.atomic, self.ordered, self.touch]
        if depth < 3:
            kinds += [partial(self.branch, depth)] * 4
        self.dice.choice(kinds)()

    def alu(self) -> None:
        letter, dst, sign = self.letter(), self.reg(), self.dice.choice(_ALU)
        is_shift = sign.endswith((">>=", "<<="))
        if self.dice.random() < 0.5:
            self.put(f"{letter}{dst} {sign} {letter}{self.reg()}")
        elif is_shift:
            self.put(f"{letter}{dst} {sign} {self.dice.randrange(64 if letter == 'r' else 32)}")
        else:
            number = self.number()
            self.put(f"{letter}{dst} {sign} {number or 1 if sign.endswith(('/=', '%=')) else number}")

    def move(self) -> None:
        letter, dst = self.letter(), self.reg()
        kind = self.dice.randrange(4)
        if kind == 0:
            self.put(f"{letter}{dst} = {self.number()}")
        elif kind == 1:
            self.put(f"r{dst} = {self.wide():#x} ll")
        elif kind == 2:
            self.put(f"{letter}{dst} = {letter}{self.reg()}")
        else:
            bits = self.dice.choice(_NARROWER[64 if letter == "r" else 32])
            self.put(f"{letter}{dst} = (s{bits}){letter}{self.reg()}")

    def unary(self) -> None:
        letter, dst = self.letter(), self.reg()
        if self.dice.random() < 0.4:
            self.put(f"{letter}{dst} = -{letter}{dst}")
        else:
            self.put(f"r{dst} = {self.dice.choice(('le', 'be', 'bswap'))}{self.dice.choice((16, 32, 64))} r{dst}")

    def place(self, size: int) -> str:
        """An aligned address of size bits in the stack or in the map's value, before the dump."""
        if self.dice.random() < 0.7:
            return f"(r10 {-self.dice.randrange(1, _STACK_BYTES * 8 // size + 1) * size // 8:+d})"
        return f"(r9 {self.dice.randrange(_DUMP_OFF * 8 // size) * size // 8:+d})"

    def size(self) -> int:
        return self.dice.choice((8, 16, 32, 64, 64))

    def store(self) -> None:
        size = self.size()
        value = f"r{self.reg()}" if self.dice.random() < 0.7 else str(self.number())
        self.put(f"*(u{size} *){self.place(size)} = {value}")

    def load(self) -> None:
        size = self.size()
        sign = self.dice.choice("us") if size < 64 else "u"
        self.put(f"r{self.reg()} = *({sign}{size} *){self.place(size)}")

    def atomic(self) -> None:
        size, reg = self.dice.choice((32, 64)), self.reg()
        where, wide = f"(u{size} *){self.place(size)}", "64" if size == 64 else ""
        kind = self.dice.randrange(4)
        if kind == 0:
            self.put(f"lock *{where} {self.dice.choice(('+=', '|=', '&=', '^='))} r{reg}")
        elif kind == 1:
            self.put(f"r0 = atomic{wide}_cmpxchg({where}, r0, r{reg})")
        else:
            self.put(f"r{reg} = atomic{wide}_{self.dice.choice(_FETCHING)}({where}, r{reg})")

    def ordered(self) -> None:
        """Load-acquire and store-release."""
        size, reg = self.size(), self.reg()
        where = f"(u{size} *){self.place(size)}"
        self.put(f"r{reg} = load_acquire({where})" if self.dice.random() < 0.5 else f"store_release({where}, r{reg})")

    def touch(self) -> None:
        """An access to the map's value where a number says: the number's bounds decide. r5 is a number again after it."""
        out, reg, size = self.label(), self.dice.choice((0, 1, 2, 3, 4, 6, 7, 8)), self.size()
        if self.dice.random() < 0.95:
            self.bound(reg, self.dice.choice((15, 31, 63, 100)), out)
        base, off = self.dice.choice((("r9", 0), ("r9", 0), ("r10", -_STACK_BYTES)))
        if base == "r10" and self.dice.random() < 0.9:
            size = 8  # anything wider is misaligned at some offset
        self.put(f"r5 = {base}", f"r5 {'+=' if self.dice.random() < 0.95 else '-='} r{reg}")
        where = f"*(u{size} *)(r5 {off + self.dice.choice((0, 0, 0, 8, 32, 64)):+d})"
        # what lies below the bytes that are set is nobody's number: it is read, and not kept
        kept = reg if base == "r9" else 5
        self.put(f"r{kept} = {where}" if self.dice.random() < 0.6 else f"{where} = {self.number()}")
        self.put(f"{out}:", "r5 = 3")

    def branch(self, depth: int) -> None:
        out, letter = self.label(), self.letter()
        right = f"{letter}{self.reg()}" if self.dice.random() < 0.4 else str(self.number())
        self.put(f"if {letter}{self.reg()} {self.dice.choice(JUMPS)} {right} goto {out}")
        self.steps(depth + 1, self.dice.randrange(1, 4))
        if self.dice.random() < 0.3:
            end = self.label()
            self.put(f"{self.dice.choice(('goto', 'gotol'))} {end}", f"{out}:")
            self.steps(depth + 1, self.dice.randrange(1, 3))
            self.put(f"{end}:")
        else:
            self.put(f"{out}:")

    def begin(self) -> None:
        self.put("r9 = map[fd:4][0]+0")
        self.put(*(f"*(u64 *)(r10 {off:+d}) = {self.number()}" for off in range(-_STACK_BYTES, 0, 8)))
        for reg in _REGS:
            kind = self.dice.randrange(4)
            size = self.dice.choice((8, 16, 32)) if kind == 1 else 64
            sign = self.dice.choice("us") if kind == 1 else "u"
            self.put(f"r{reg} = {self.wide():#x} ll" if kind == 0 else f"r{reg} = *({sign}{size} *)(r9 {8 * reg:+d})")

    def end(self) -> None:
        self.put(*(f"*(u64 *)(r9 {_DUMP_OFF + 8 * reg:+d}) = r{reg}" for reg in _REGS))
        self.put(*(f"r0 ^= r{reg}" for reg in _REGS[1:]), "r1 = r0", "r1 >>= 32", "r0 ^= r1", "exit")

    def break_a_rule(self) -> None:
        row = self.dice.choice(_BROKEN)
        self.put(row.format(a=self.reg(), b=self.reg()))


def program(seed: int) -> Sample:
    writer = _Writer(seed)
    writer.begin()
    count = writer.dice.randrange(4, 24)
    writer.steps(0, count)
    if writer.dice.random() < 0.15:
        writer.break_a_rule()
        writer.steps(0, writer.dice.randrange(3))
    writer.end()
    return Sample("straight", seed, ProgType.SOCKET_FILTER, writer.text)
