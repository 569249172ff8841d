"""bcc_py.conformance: the plugin protocol, and programs that no verifier has seen. The published suite itself is run by
hand (CONTRIBUTING.md); what is here are the sides of the protocol and what a stranger's bytes may do."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from bcc_py import conformance
from bcc_py.errors import BpfError, FaultError, LoadError, VerifierError
from bcc_py.isa import Insn, assemble, encode
from cfront import compile
from tests.isa_programs import cases

_RESULTS = {line[11:]: int(line[:10], 16) for line in (Path(__file__).parent / "data/isa_results.txt").read_text().splitlines()}


def _code(text: str) -> bytes:
    return encode(assemble(text))


def _plugin(*words: str, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bcc_py.conformance", *words], input=program, capture_output=True, text=True)


def test_a_program_and_its_memory_are_hexadecimal() -> None:
    made = _plugin("01  02  03  04  ", program=_code("r0 = *(u32 *)(r1 +0)\nr0 += r2\nexit").hex(" "))
    assert (made.returncode, made.stdout, made.stderr) == (0, "4030205\n", "")


def test_all_64_bits_of_the_result_are_printed() -> None:
    assert _plugin(program=_code("r0 = -1\nexit").hex()).stdout == "f" * 16 + "\n"


def test_an_object_file_is_run() -> None:
    content = compile("int run(void *ctx) { return 42; }")
    assert _plugin("--elf", program=content.hex()).stdout == "2a\n"


@pytest.mark.parametrize(("program", "words"), [
    ("zz", "reading the program: non-hexadecimal"),
    ("", "a program of 0 bytes"),
    ("b7", "a program of 1 bytes"),
    ("8d00000002000000 9500000000000000", "reading program: unknown opcode 8d (insn 0)"),
    (_code("r0 = *(u64 *)(r1 +0)\nexit").hex(), "running program: insn 0: an access of 8 bytes at 0x0"),
])
def test_what_cannot_be_run_is_said_on_standard_error(program: str, words: str) -> None:
    made = _plugin(program=program)
    assert made.returncode == 1 and made.stdout == ""
    assert words in made.stderr and made.stderr.count("\n") == 1


def test_every_case_gives_what_linux_gave() -> None:
    dice = random.Random(5)
    wrong = [name for name, insns in dice.sample(cases(), 60)
             if conformance.run(encode(insns)) & 0xFFFFFFFF != _RESULTS[name]]
    assert wrong == []


@pytest.mark.parametrize(("text", "bytes"), [
    ("r0 = *(u64 *)(r1 +1)\nexit", 8),  # one byte behind the memory
    ("r0 = *(u8 *)(r1 -1)\nexit", 1),
    ("*(u64 *)(r10 +0) = 1\nexit", 8),
    ("*(u64 *)(r10 -520) = 1\nexit", 8),
    ("r3 = 0xffff000000000000 ll\nr0 = *(u8 *)(r3 +0)\nexit", 1),
])
def test_memory_outside_is_a_fault(text: str, bytes: int) -> None:
    with pytest.raises(FaultError, match="that it may not make") as caught:
        conformance.run(_code(text), b"12345678")
    assert caught.value.size == bytes


def test_a_function_reaches_its_callers_frame_and_not_a_dead_one() -> None:
    give = Insn(0x95)
    assert conformance.run(encode([
        Insn(0x7A, 10, 0, -8, 7), Insn(0xBF, 1, 10), Insn(0x85, 0, 1, 0, 2), Insn(0x79, 0, 10, -8), give,
        Insn(0x7A, 1, 0, -8, 9), give])) == 9
    dead = encode([Insn(0x85, 0, 1, 0, 2), Insn(0x79, 0, 0, -8), give, Insn(0xBF, 0, 10), give])
    with pytest.raises(FaultError, match="an access of 8 bytes"):
        conformance.run(dead)


def test_what_never_ends_is_ended() -> None:
    with pytest.raises(FaultError, match="it does not end"):
        conformance.run(encode([Insn(0xB7), Insn(0x07, 0, 0, 0, 1), Insn(0x55, 0, 0, -2, 0), Insn(0x95)]))


def test_a_function_that_calls_itself_for_ever_is_ended() -> None:
    with pytest.raises((FaultError, VerifierError)):
        conformance.run(encode([Insn(0x85, 0, 1, 0, 1), Insn(0x95), Insn(0x85, 0, 1, 0, -1), Insn(0x95)]))


@pytest.mark.parametrize("insns", [
    [Insn(0xBF, 10, 1), Insn(0x95)], [Insn(0x79, 10, 1), Insn(0x95)], [Insn(0xDB, 1, 10, 0, 1), Insn(0x95)],
    [Insn(0x18, 1, 1, 0, 5), Insn(0), Insn(0x95)], [Insn(0x85, 0, 0, 0, 1), Insn(0x95)], [Insn(0x85, 0, 2, 0, 1), Insn(0x95)],
    [Insn(0x20, 0, 0, 0, 0), Insn(0x95)], [Insn(0x85, 0, 0, 0, 12), Insn(0x95)], [Insn(0xBF, 0, 11), Insn(0x95)],
    [Insn(0xB7)], [Insn(0x05, 0, 0, 5), Insn(0x95)], [Insn(0xD4, 0, 0, 0, 17), Insn(0x95)],
])
def test_what_checked_code_cannot_see_is_refused(insns: list[Insn]) -> None:
    with pytest.raises(VerifierError, match="reading program: "):
        conformance.run(encode(insns))


def _random_insn(dice: random.Random) -> list[Insn]:
    """One instruction, well-formed more often than not."""
    dst, src, off, imm = dice.randrange(11), dice.randrange(11), dice.choice((0, -8, -16, 8, 1, 3)), dice.choice((0, 1, -8, 5, 1 << 30))
    kinds = {
        "immediate": Insn(dice.choice((0x07, 0x17, 0x47, 0xB7, 0xB4, 0x67, 0x37)), dst, 0, 0, imm),
        "register": Insn(dice.choice((0x0F, 0x1F, 0xBF, 0xBC, 0x7F, 0x3F, 0x2F)), dst, src),
        "load": Insn(dice.choice((0x61, 0x69, 0x71, 0x79, 0x81)), dst, dice.choice((1, 10, src)), off),
        "store": Insn(dice.choice((0x63, 0x6B, 0x73, 0x7B)), dice.choice((1, 10, dst)), src, off),
        "atomic": Insn(dice.choice((0xC3, 0xDB)), dice.choice((1, 10, dst)), src, off, dice.choice((0, 1, 0xE1, 0xF1))),
        "jump": Insn(dice.choice((0x15, 0x1D, 0x25, 0x16)), dst, 0, dice.choice((0, 1, -1, -2)), 0),
        "call": Insn(0x85, 0, 0, 0, dice.choice((5, 7, 8, 14, 1))),
        "any": Insn(dice.randrange(256), dst, src, off, imm),
    }
    weights = [4, 4, 4, 4, 2, 2, 1, 1]
    return [kinds[dice.choices(list(kinds), weights)[0]]]


def test_random_programs_end_in_an_error_or_a_number() -> None:
    dice = random.Random(11)
    ends: list[str] = []
    for _ in range(200):
        insns = [one for _ in range(dice.randrange(1, 7)) for one in _random_insn(dice)]
        try:
            conformance.run(encode([*insns, Insn(0xB7), Insn(0x95)]), bytes(16))
            ends.append("ran")
        except BpfError as error:
            ends.append(type(error).__name__)
    assert set(ends) == {"ran", "VerifierError", "FaultError"}


def test_bytes_that_are_no_instructions() -> None:
    with pytest.raises(LoadError, match="7 bytes"):
        conformance.run(b"1234567")
