"""What the generators of random programs share: dice, rows of text with labels, numbers that matter, the maps.

A generator is a class above Writer whose methods put rows of the assembler's text; a Sample is what comes out.
Registers 6-8 hold numbers from one block of rows to the next, whatever else a kind of programs keeps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from bcc_py.isa import Insn, assemble
from bcc_py.spec import MapSpec
from cfront.uapi import MapType, ProgType

__all__ = ["MAPS", "STATE_BYTES", "Sample", "Writer"]

STATE_BYTES = 256
MAPS = (
    MapSpec("h", MapType.HASH, 4, 8, 16),
    MapSpec("a", MapType.ARRAY, 4, 64, 1),
    MapSpec("rb", MapType.RINGBUF, 0, 0, 4096),
    MapSpec("state", MapType.ARRAY, 4, STATE_BYTES, 1),
)
NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 56, 57, 63, 64, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, -1, -2, -8, -64)
JUMPS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")


@dataclass(frozen=True, slots=True)
class Sample:
    """One program. Its map loads name MAPS by their place, 1 for the first."""

    kind: str
    seed: int
    type: ProgType
    text: str

    def insns(self, fds: Sequence[int]) -> tuple[Insn, ...]:
        """The slots, with the descriptors of MAPS in the map loads."""
        return tuple(
            one._replace(imm=fds[one.imm - 1]) if one.code == 0x18 and one.src in (1, 2) and 0 < one.imm <= len(fds) else one
            for one in assemble(self.text)
        )


class Writer:
    """The rows of a program in the making."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.rows: list[str] = []
        self.labels = 0

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    def put(self, *rows: str) -> None:
        self.rows += rows

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def number(self) -> int:
        return self.dice.choice(NUMBERS)

    def bound(self, reg: int, limit: int, out: str, scratch: int = 5) -> None:
        """Rows after which reg is mostly at most limit; where it is not, they go to out."""
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
            self.put(f"r{scratch} = {limit}", f"if r{reg} > r{scratch} goto {out}")
