"""What is known of a number after each instruction, beside what the running Linux writes into its log."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from bcc_py.isa import assemble
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import VerifierEnv, verify
from cfront.uapi import ProgType
from tests.verifier.linux_oracle import load

RANDOM = "call get_prandom_u32\n"
NUMBERS = [
    RANDOM, f"{RANDOM}w0 = w0", f"{RANDOM}r0 &= 255", f"{RANDOM}r0 s>>= 40", f"{RANDOM}r0 &= 15\nr0 -= 3", f"{RANDOM}r0 |= 1048576",
    "r0 = 1234567", "r0 = -7", f"{RANDOM}if r0 > 1000 goto +0\nr0 &= 1000\nr0 += 5", f"{RANDOM}r0 &= 65281",
    f"{RANDOM}if r0 > 100 goto out\nif r0 < 10 goto out", f"{RANDOM}if w0 s> 5 goto out\nif w0 s< -20 goto out",
]
WIDE = ["+= 100", "-= 100", "*= 12", "*= -3", "*= 2147483647", "^= 255", "|= 15", "&= -16", "<<= 3", "<<= 31", "<<= 32", ">>= 5", "s>>= 9",
        "s>>= 32", "/= 3", "%= 3", "s/= 3", "s%= 5", "+= r0", "-= r0", "*= r0", "&= r0", "|= r0", "^= r0", "= -r0",
        "= (s8)r0", "= (s16)r0", "= (s32)r0", *(f"= {order}{bits} r0" for order in ("be", "le", "bswap") for bits in (16, 32, 64))]
NARROW = ["+= 100", "-= 100", "+= -1", "*= 12", "^= 255", "|= 15", "&= -16", "<<= 3", ">>= 5", "s>>= 9", "/= 3", "%= 7", "s/= -1",
          "= -w0", "= w0", "= (s8)w0", "= (s16)w0"]
STEPS = [*(f"r0 {one}" for one in WIDE), *(f"w0 {one}" for one in NARROW)]
STATE = re.compile(r"(\d+): \(..\).*?; .*?R0=(\S+)")


def states(log: str) -> dict[int, str]:
    """By slot, r0 after the first time that the instruction was looked at, without ids and Linux's mark of precision."""
    found: dict[int, str] = {}
    for line in log.splitlines():
        match = STATE.match(line)
        if match:
            found.setdefault(int(match[1]), re.sub(r"id=\d+(?:[+-][0-9a-fx]+)?,?|^P", "", match[2]))
    return found


@pytest.mark.linux
def test_numbers_are_known_as_linux_knows_them(linux: None) -> None:
    ways = list(itertools.product(NUMBERS, STEPS, STEPS))
    compared = 0
    for number, first, second in random.Random(5).sample(ways, 1_500):
        text = "\n".join([number, first, second, "if r0 == 5 goto +0", "out:", "r0 = 0", "exit"])
        insns = assemble(text)
        theirs = states(load(insns, ProgType.SOCKET_FILTER).log)
        ours = states(verify(ProgramSpec("p", "", ProgType.SOCKET_FILTER, insns), VerifierEnv(has_log=True)).log)
        for slot in theirs.keys() & ours.keys():
            assert ours[slot] == theirs[slot], f"{text}\nslot {slot}"
            compared += 1
    assert compared > 3_000, "the log is not read any more"
