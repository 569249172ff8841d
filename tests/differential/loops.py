"""Programs full of loops and calls: numbers are carried round in registers and on the stack, a few of them decide
something in the end (an index, a size, a branch, a constant key), most do not.

What a verifier has to get right here is which of the carried numbers it may forget when paths meet. A function, where
there is one, gets a number and a pointer into its caller's stack, from inside of loops too."""

from __future__ import annotations

from cfront.uapi import ProgType
from tests.differential.writer import Sample, Writer

__all__ = ["program"]

_REGS = (6, 7, 8)
_SLOTS = (-8, -16, -24, -32)


class _Writer(Writer):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.has_function = self.dice.random() < 0.4
        self.is_called = False

    def reg(self) -> int:
        return self.dice.choice(_REGS)

    def step(self, depth: int) -> None:
        kinds = [self.change, self.change, self.change, self.swap, self.swap, self.choose, self.choose, self.choose,
                 self.link, self.compare, self.use, self.narrow]
        if self.has_function:
            kinds.append(self.call)
        if depth < 2 and self.dice.random() < 0.3:
            self.dice.choice((self.loop,) * 9 + (self.loop_that_may_end,))(depth + 1)
        else:
            self.dice.choice(kinds)()

    def change(self) -> None:
        """A number becomes another, from itself, a small constant or another register."""
        dice, letter = self.dice, self.dice.choice("rrrw")
        kind = dice.randrange(6)
        if kind < 3:
            self.put(f"{letter}{self.reg()} {dice.choice(('+=', '-=', '*=', '^=', '|=', '&='))} {dice.choice((1, 1, 2, 3, 7, 15, 63, -1))}")
        elif kind == 3:
            self.put(f"{letter}{self.reg()} {dice.choice(('+=', '-=', '^=', '|=', '&='))} {letter}{self.reg()}")
        elif kind == 4:
            self.put(f"{letter}{self.reg()} {dice.choice(('<<=', '>>=', 's>>='))} {dice.choice((1, 1, 2, 4))}")
        else:
            self.put(f"{letter}{self.reg()} = {dice.choice((0, 1, 2, 8, 40, 63, 64, -1))}")

    def swap(self) -> None:
        """To or from the stack, sometimes in part."""
        dice, off = self.dice, self.dice.choice(_SLOTS)
        size = dice.choice((64, 64, 64, 32, 8))
        off += dice.choice((0, 0, 4)) if size < 64 else 0
        if dice.random() < 0.5:
            value = f"r{self.reg()}" if dice.random() < 0.8 else str(dice.choice((0, 1, 16)))
            self.put(f"*(u{size} *)(r10 {off:+d}) = {value}")
        else:
            self.put(f"r{self.reg()} = *(u{size} *)(r10 {off:+d})")

    def choose(self) -> None:
        """Both ways are open, and a number differs by the way taken."""
        out = self.label()
        if self.dice.random() < 0.6:
            self.put("call get_prandom_u32", f"if r0 & {1 << self.dice.randrange(8)} goto {out}")
        else:
            self.put("r1 = *(u64 *)(r10 -40)", f"if r1 & {1 << self.dice.randrange(20)} goto {out}")
        self.dice.choice((self.change, self.change, self.swap))()
        self.put(f"{out}:")

    def link(self) -> None:
        """A copy is compared, the original is meant."""
        out, reg = self.label(), self.reg()
        letter = self.dice.choice("rrw")
        self.put(f"{letter}1 = {letter}{reg}", f"if {letter}1 {self.dice.choice(('>', '<', '==', 's>'))} {self.dice.choice((7, 15, 40, 56))} goto {out}")
        self.dice.choice((self.change, self.swap, self.use))()
        self.put(f"{out}:")

    def compare(self) -> None:
        out = self.label()
        self.put(f"if r{self.reg()} {self.dice.choice(('>', '<', '==', '!=', 's<', '>='))} r{self.reg()} goto {out}")
        self.dice.choice((self.change, self.swap))()
        self.put(f"{out}:")

    def narrow(self) -> None:
        out = self.label()
        self.put(f"if r{self.reg()} > {self.dice.choice((7, 31, 55, 63, 100))} goto {out}")
        self.dice.choice((self.change, self.use, self.use))()
        self.put(f"{out}:")

    def use(self) -> None:
        """A carried number is an index, a size or the key of a look-up."""
        dice, reg, out = self.dice, self.reg(), self.label()
        kind = dice.randrange(5)
        if dice.random() < 0.8:
            limit = dice.choice((7, 7, 31, 55, 56))
            self.put(f"if r{reg} > {limit} goto {out}" if dice.random() < 0.6 else f"r{reg} &= {7 if limit == 7 else 31}")
        if kind == 0:
            self.put("*(u32 *)(r10 -44) = 0", "r2 = r10", "r2 += -44", "r1 = map[fd:2]", "call map_lookup_elem",
                     f"if r0 == 0 goto {out}", f"r0 += r{reg}", f"r{self.reg()} = *(u8 *)(r0 {dice.choice((0, 0, 8, 56)):+d})")
        elif kind == 1:
            self.put("r3 = r10", "r3 += -32", f"r3 += r{reg}",
                     f"r{self.reg()} = *(u8 *)(r3 +0)" if dice.random() < 0.5 else "*(u8 *)(r3 +0) = 1")
        elif kind == 2:
            self.put("r1 = r10", "r1 += -32", f"r2 = r{reg}", "r3 = 0", "call probe_read_kernel")
        elif kind == 3:
            self.put(f"*(u32 *)(r10 -44) = r{reg}", "r2 = r10", "r2 += -44", "r1 = map[fd:2]", "call map_lookup_elem")
            if dice.random() < 0.7:
                self.put(f"if r0 == 0 goto {out}")
            self.put(f"r{self.reg()} = *(u64 *)(r0 +8)")
        else:
            self.put(f"if r{reg} {dice.choice(('!=', '=='))} {dice.choice((0, 3, 5))} goto {out}", "r0 = *(u8 *)(r10 -1)")
        self.put(f"{out}:")

    def call(self) -> None:
        self.is_called = True
        self.put(f"r1 = r{self.reg()}", "r2 = r10", f"r2 += {self.dice.choice(_SLOTS)}", "call f", f"r{self.reg()} = r0")

    def loop_that_may_end(self, depth: int) -> None:
        """The kernel's own count ends it, if nothing else does."""
        again, out = self.label(), self.label()
        self.put(f"{again}:", f"may_goto {out}")
        for _ in range(self.dice.randrange(1, 4)):
            self.step(depth)
        self.put(f"goto {again}", f"{out}:")

    def loop(self, depth: int) -> None:
        """Counted in r9 (the innermost), or in a stack slot of its own."""
        again, slot = self.label(), -48 - 8 * depth
        turns = self.dice.choice((2, 3, 5, 9, 17))
        self.put(f"*(u64 *)(r10 {slot:+d}) = 0", f"{again}:")
        for _ in range(self.dice.randrange(1, 5)):
            self.step(depth)
        self.put(f"r9 = *(u64 *)(r10 {slot:+d})", "r9 += 1", f"*(u64 *)(r10 {slot:+d}) = r9",
                 f"if r9 {self.dice.choice(('<', '!=', 's<'))} {turns} goto {again}")

    def function(self) -> None:
        """Gives something made of its number, may change the slot it is shown."""
        self.put("f:", "r6 = r1", "r7 = r2", "r8 = 1", "*(u64 *)(r10 -8) = r6", "*(u64 *)(r10 -16) = 3",
                 "*(u64 *)(r10 -24) = 0", "*(u64 *)(r10 -32) = r6", "*(u64 *)(r10 -40) = r6")
        if self.dice.random() < 0.5:
            self.put("*(u64 *)(r7 +0) = r6")
        if self.dice.random() < 0.3:
            self.put("r6 = *(u64 *)(r7 +0)")
        for _ in range(self.dice.randrange(1, 3)):
            self.dice.choice((self.change, self.choose, self.link, self.compare))()
        if self.dice.random() < 0.3:
            self.put("r1 = r6", self.dice.choice(("r2 = r7", "r2 = r10\nr2 += -16")), "call g", "r6 += r0")
            self.put("r0 = r6", "exit")
            self.inner_function()
        else:
            self.put("r0 = r6", "exit")

    def inner_function(self) -> None:
        """Changes what it is shown, in whatever frame that is, and may go round it."""
        again = self.label()
        self.put("g:", "r3 = *(u64 *)(r2 +0)", f"r3 {self.dice.choice(('+=', '^=', '-='))} r1", "r0 = 0", f"{again}:", "*(u64 *)(r2 +0) = r3")
        self.put("r3 += 1", "r0 += 1", f"if r0 < {self.dice.choice((1, 2, 4))} goto {again}", "r0 = *(u64 *)(r2 +0)", "exit")


def program(seed: int) -> Sample:
    writer = _Writer(seed)
    writer.put("*(u64 *)(r10 -40) = 0", "r6 = *(u64 *)(r1 +0)", "r7 = 1", "r8 = 0")
    writer.put(*(f"*(u64 *)(r10 {off:+d}) = {writer.dice.choice(('0', '5', 'r6', 'r7'))}" for off in _SLOTS))
    writer.put("call get_prandom_u32", "*(u64 *)(r10 -40) = r0", f"r{writer.reg()} = r0")
    for _ in range(writer.dice.randrange(0, 3)):
        writer.step(3)
    writer.loop(1)
    for _ in range(writer.dice.randrange(0, 3)):
        writer.step(writer.dice.choice((1, 3)))
    writer.dice.choice((writer.use, writer.use, writer.change))()
    writer.put(writer.dice.choice(("r0 = 0", "r0 = r6", "r0 = r8")), "exit")
    if writer.is_called:
        writer.function()
    return Sample("loops", seed, ProgType.KPROBE, writer.text)
