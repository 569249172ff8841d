"""Pointer-heavy programs: blocks of code a compiler might emit, with a mistake now and then. The stack at variable
offsets, map values, ring buffer records, spilled pointers, and packets in two of three programs.

program(seed) is for a kprobe, a classifier or an XDP program, in turns. About half of them are accepted. The context
is kept at r10-56, a pointer of the moment at r10-64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cfront.uapi import ProgType
from tests.differential.writer import JUMPS, Sample, Writer

__all__ = ["program"]

_ALU = ("+=", "-=", "*=", "|=", "&=", "^=", "/=", "%=")
# offsets of data, data_end, data_meta in the context
_PACKET = {ProgType.SCHED_CLS: (76, 80, 140), ProgType.XDP: (0, 4, 8)}
_FIELDS = {ProgType.SCHED_CLS: (0, 4, 8, 16, 24, 40, 48, 52, 60, 64, 68, 72, 88, 148, 152, 160, 164, 168, 176, 184, 192),
           ProgType.XDP: (12, 16, 20, 24)}
_CHECKS = ("if r4 > r3 goto {out}", "if r3 < r4 goto {out}", "if r4 >= r3 goto {out}", "if r3 <= r4 goto {out}",
           "if r4 <= r3 goto pc+1\ngoto {out}", "if r3 >= r4 goto pc+1\ngoto {out}", "if r4 < r3 goto pc+1\ngoto {out}",
           "if r3 > r4 goto pc+1\ngoto {out}")


class _Writer(Writer):
    """For a kprobe."""

    type = ProgType.KPROBE

    def reg(self) -> int:
        return self.dice.choice((6, 7, 8) if self.dice.random() < 0.985 else (0, 1, 5, 9, 10))

    def block(self, depth: int) -> None:
        kinds: list[Callable[[], None]] = [
            self.alu, self.alu, self.alu, self.move, self.spill, self.index, self.index, self.look_up, self.branch, self.branch,
            self.ring, self.call_random, self.context, self.read_stack, self.sized, self.slot_index, self.atomic, self.keep,
            self.kept, self.late_check, self.update, self.record, self.pointer_alu]
        if depth < 3:
            kinds += [partial(self.guarded, depth), partial(self.guarded, depth), partial(self.loop, depth)]
        self.dice.choice(kinds)()

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
        off = self.dice.choice((0, 0, 0, 0, 0, 0, 4, 8, 1, -1) if which == 2 else (0, 0, 0, 0, 0, 0, 0, 0, 0, 1))
        if self.dice.random() < 0.5:
            self.put(f"*(u{size} *)(r0 {off:+d}) = r{self.reg()}")
        else:
            self.put(f"r{self.reg()} = *(u{size} *)(r0 {off:+d})")
        self.put(f"{out}:")

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
        self.bound(reg, self.dice.choice((16, 24, 32)), out)
        self.put("r1 = r10", f"r1 += {self.dice.choice((-40, -40, -40, -24))}", f"r2 = r{reg}", "r3 = 0",
                 self.dice.choice(("call probe_read_kernel", "call get_current_comm", "call probe_read_kernel_str")))
        self.put(f"r{self.reg()} = r0", f"{out}:")

    def atomic(self) -> None:
        reg = self.reg()
        self.put("*(u64 *)(r10 -16) = 1", f"r{reg} = atomic64_{self.dice.choice(('fetch_add', 'xchg', 'fetch_or'))}((u64 *)(r10 -16), r{reg})")

    def branch(self) -> None:
        out = self.label()
        letter = self.dice.choice("rrw")
        right = f"{letter}{self.reg()}" if self.dice.random() < 0.3 else str(self.number())
        self.put(f"if {letter}{self.reg()} {self.dice.choice(JUMPS)} {right} goto {out}")
        for _ in range(self.dice.randrange(3)):
            self.dice.choice((self.alu, self.move, self.spill))()
        self.put(f"{out}:")

    def guarded(self, depth: int) -> None:
        other, out = self.label(), self.label()
        self.put(f"if r{self.reg()} {self.dice.choice(JUMPS)} {self.number()} goto {other}")
        self.block(depth + 1)
        self.put(f"goto {out}", f"{other}:")
        self.block(depth + 1)
        self.put(f"{out}:")

    def loop(self, depth: int) -> None:
        again = self.label()
        self.put("r9 = 0", f"{again}:")
        self.block(max(depth, 2) + 1)
        self.put("r9 += 1", f"if r9 < {self.dice.choice((2, 5, 9))} goto {again}")

    def look_up_value(self, out: str) -> None:
        """r0 is the array's value, 64 bytes."""
        self.put("r1 = map[fd:2]")
        self.key()
        self.put("call map_lookup_elem")
        if self.dice.random() < 0.95:
            self.put(f"if r0 == 0 goto {out}")

    def keep(self) -> None:
        """A pointer goes to the stack, and something may be written over a part of it."""
        out = self.label()
        kind = self.dice.randrange(4)
        if kind == 0:
            self.put("r3 = r10", f"r3 += {self.dice.choice((-16, -40, -8))}")
        elif kind == 1:
            self.put("r3 = map[fd:2]")
        else:
            self.look_up_value(out)
            self.put(f"r0 += {self.dice.choice((0, 8, 32))}", "r3 = r0")
        self.put("*(u64 *)(r10 -64) = r3")
        if self.dice.random() < 0.1:
            self.put(f"*(u8 *)(r10 {self.dice.choice((-64, -60, -57))}) = 1")
        self.put(f"{out}:")

    def kept(self) -> None:
        """The pointer that keep() left, if it did."""
        size, off = self.dice.choice((64, 32, 8)), self.dice.choice((0, 0, 4, 8, 24, -8))
        self.put("r3 = *(u64 *)(r10 -64)")
        if self.dice.random() < 0.7:
            out = self.label()
            self.put(f"if r3 == 0 goto {out}", f"r{self.reg()} = *(u{size} *)(r3 {off:+d})", f"{out}:")
        else:
            self.put(f"*(u{size} *)(r3 {off:+d}) = {self.dice.choice(('r6', '0', '-1'))}")

    def late_check(self) -> None:
        """One of two copies of a pointer is compared with null, the other is used."""
        out = self.label()
        self.put("r1 = map[fd:1]")
        self.key()
        self.put("call map_lookup_elem", "r3 = r0", "*(u64 *)(r10 -64) = r0")
        checked, used = self.dice.choice((("r3", "r0"), ("r0", "r3"), ("r0", "r4"), ("r4", "r3")))
        self.put("r4 = *(u64 *)(r10 -64)", f"if {checked} {self.dice.choice(('==', '==', '=='))} 0 goto {out}")
        self.put(f"r{self.reg()} = *(u64 *)({used} +0)", f"{out}:")

    def update(self) -> None:
        """A map gets a value from the stack or from another map's value."""
        out = self.label()
        if self.dice.random() < 0.4:
            self.look_up_value(out)
            self.put("r3 = r0", f"r3 += {self.dice.choice((0, 8, 56, 57))}")
        else:
            self.put("r3 = r10", f"r3 += {self.dice.choice((-16, -40, -8, -4))}")
        self.put("r1 = map[fd:1]")
        self.key()
        self.put("r4 = 0", "call map_update_elem", f"r{self.reg()} = r0", f"{out}:")

    def record(self) -> None:
        """A byte of a ring buffer's record at an index; the record is given back on all ways, nearly."""
        out, skip, reg = self.label(), self.label(), self.reg()
        self.put("r1 = map[fd:3]", "r2 = 32", "r3 = 0", "call ringbuf_reserve", f"if r0 == 0 goto {out}", f"r3 = r{reg}")
        self.bound(3, self.dice.choice((15, 31, 31, 32)), skip if self.dice.random() < 0.95 else out)
        self.put("r4 = r0", "r4 += r3", f"*(u8 *)(r4 +0) = {self.dice.choice((0, 7))}", f"{skip}:")
        self.put("r1 = r0", "r2 = 0", self.dice.choice(("call ringbuf_submit", "call ringbuf_discard")), f"{out}:")

    def pointer_alu(self) -> None:
        """Sums and differences of pointers and numbers, of pointers and pointers."""
        dice, out = self.dice, self.label()
        if dice.random() < 0.4:
            self.put("r0 = r10", "r0 += -40")
        else:
            self.look_up_value(out)
        step = dice.choice(("r0 += {n}", "r0 -= {n}", "r0 += r{a}", "r0 -= r{a}", "r3 = r0\nr3 -= r0\nr0 += r3", "r3 = r{a}\nr3 += r0\nr0 = r3",
                            "r0 &= {n}", "w0 += 1", "r0 += {n}\nr0 -= {n}", "r3 = r10\nr3 -= r0", "if r0 > r10 goto " + out))
        if "{a}" in step:
            self.bound(7, 31, out)
        self.put(step.format(n=self.number(), a=7), f"r{self.reg()} = *(u8 *)(r0 {dice.choice((0, 0, 8, -8))})", f"{out}:")

    def ring(self) -> None:
        out = self.label()
        self.put("r1 = map[fd:3]", "r2 = 16", "r3 = 0", "call ringbuf_reserve")
        if self.dice.random() < 0.95:
            self.put(f"if r0 == 0 goto {out}")
        self.put(f"*(u64 *)(r0 {self.dice.choice((0, 8, 8, 8, 8, 8, 8, 12)):+d}) = r{self.reg()}")
        if self.dice.random() < 0.95:
            self.put("r1 = r0", "r2 = 0", self.dice.choice(("call ringbuf_submit", "call ringbuf_discard")))
        self.put(f"{out}:")

    def call_random(self) -> None:
        self.put("call get_prandom_u32", f"r{self.reg()} = r0")

    def context(self) -> None:
        self.put("r1 = *(u64 *)(r10 -56)", f"r{self.reg()} = *(u64 *)(r1 {8 * self.dice.randrange(22):+d})")


class _Packet(_Writer):
    """For a program with a packet."""

    def __init__(self, seed: int, type: ProgType) -> None:
        super().__init__(seed)
        self.type = type

    def block(self, depth: int) -> None:
        if self.dice.random() < 0.5:
            self.dice.choice((self.packet, self.packet, self.packet, self.at_index, self.meta, self.lent, self.moved))()
        else:
            super().block(depth)

    def context(self) -> None:
        size, off = self.nearly(32, (64, 16, 8)), self.dice.choice(_FIELDS[self.type]) + self.nearly(0, (2, 4))
        self.put("r1 = *(u64 *)(r10 -56)")
        if self.dice.random() < 0.8:
            self.put(f"r{self.reg()} = *(u{size} *)(r1 {off:+d})")
        else:
            self.put(f"*(u{size} *)(r1 {off:+d}) = {self.dice.choice(('r6', '1'))}")

    def bounds(self, has_meta: bool = False) -> None:
        """r2: the packet (or what stands before it), r3: its end."""
        data, end, meta = _PACKET[self.type]
        self.put("r1 = *(u64 *)(r10 -56)", f"r2 = *(u32 *)(r1 {meta if has_meta else data:+d})",
                 f"r3 = *(u32 *)(r1 {data if has_meta else end:+d})")

    def check(self, out: str) -> None:
        self.put(self.dice.choice(_CHECKS).format(out=out))

    def packet(self) -> None:
        dice, out = self.dice, self.label()
        size, room = dice.choice((64, 32, 16, 8)), dice.choice((8, 14, 20, 34))
        self.bounds()
        self.put("r4 = r2", f"r4 += {room}")
        self.check(out)
        self.touch(size, self.nearly(dice.choice((0, room - size // 8)), (room - size // 8 + 1, -1)))
        self.put(f"{out}:")

    def nearly(self, right: int, wrong: tuple[int, ...]) -> int:
        return right if self.dice.random() < 0.95 else self.dice.choice(wrong)

    def touch(self, size: int, off: int) -> None:
        where = f"*(u{size} *)(r2 {off:+d})"
        self.put(f"r{self.reg()} = {where}" if self.dice.random() < 0.7 else f"{where} = {self.dice.choice(('r6', '0'))}")

    def at_index(self) -> None:
        """At a variable offset, which the packet's own bytes may give."""
        dice, out, reg = self.dice, self.label(), self.reg()
        self.bounds()
        if dice.random() < 0.5:
            self.put("r4 = r2", "r4 += 14")
            self.check(out)
            self.put(f"r{reg} = *(u8 *)(r2 {dice.choice((0, 13))})")
        if dice.random() < 0.9:
            self.bound(reg, dice.choice((60, 255, 0xFFFF)), out)
        self.put(f"r2 += r{reg}", "r4 = r2", "r4 += 8")
        self.check(out)
        self.touch(dice.choice((32, 32, 64, 8)), self.nearly(0, (4, 8)))
        self.put(f"{out}:")

    def meta(self) -> None:
        """Between the metadata and the packet."""
        out = self.label()
        self.bounds(has_meta=True)
        self.put("r4 = r2", "r4 += 4")
        self.check(out)
        self.touch(self.nearly(32, (8, 64)), 0)
        self.put(f"{out}:")

    def lent(self) -> None:
        """The packet is a helper's argument."""
        dice, out = self.dice, self.label()
        self.bounds()
        self.put("r4 = r2", f"r4 += {self.nearly(8, (4, 7))}")
        self.check(out)
        if dice.random() < 0.5:
            self.put("r1 = map[fd:1]", "call map_lookup_elem", f"if r0 == 0 goto {out}", f"r{self.reg()} = *(u64 *)(r0 +0)")
        else:
            self.put("r3 = r2", "r1 = map[fd:1]")
            self.key()
            self.put("r4 = 0", "call map_update_elem")
        self.put(f"{out}:")

    def moved(self) -> None:
        """The packet is used after a helper that may have moved it."""
        out = self.label()
        self.bounds()
        self.put("r9 = r2", "r4 = r2", "r4 += 8")
        self.check(out)
        if self.type == ProgType.XDP:
            self.put("r2 = 0", self.dice.choice(("call xdp_adjust_head", "call xdp_adjust_meta", "call xdp_adjust_tail", "call get_prandom_u32")))
        else:
            self.put("r2 = 0", self.dice.choice(("call skb_pull_data", "call skb_change_head\nr9 = r9", "call get_prandom_u32", "call get_hash_recalc")))
        if self.dice.random() < 0.8:
            self.bounds()
            self.put("r4 = r2", "r4 += 8")
            self.check(out)
        else:
            self.put("r2 = r9")
        self.touch(64, 0)
        self.put(f"{out}:")


def program(seed: int) -> Sample:
    type = (ProgType.KPROBE, ProgType.SCHED_CLS, ProgType.XDP)[seed % 3]
    writer = _Writer(seed) if type == ProgType.KPROBE else _Packet(seed, type)
    writer.put("*(u64 *)(r10 -56) = r1", "*(u64 *)(r10 -64) = 0", "call get_prandom_u32", "r7 = r0", "r6 = r0", "r8 = 5")
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
    return Sample("pointers", seed, type, writer.text)
