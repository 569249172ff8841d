"""The words of USDT notes. That programs read what they mean is tested live, in tests/linux/test_usdt.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcc_py.usdt_argument import Operand, c_statement, parse_arguments

X86, ARM, UNKNOWN = 62, 183, 243

X86_ROWS = [
    ("-4@$5", Operand(4, True, constant=5)),
    ("8@$-1", Operand(8, False, constant=-1)),
    ("2@$0x1f", Operand(2, False, constant=31)),
    ("8@%rax", Operand(8, False, base="ax")),
    ("-4@%edi", Operand(4, True, base="di", bits=32)),
    ("2@%bp", Operand(2, False, base="bp", bits=16)),
    ("1@%ch", Operand(1, False, base="cx", shift=8, bits=8)),
    ("-1@%sil", Operand(1, True, base="si", bits=8)),
    ("4@%r10d", Operand(4, False, base="r10", bits=32)),
    ("8@%rip", Operand(8, False, base="ip")),
    ("-4@-12(%rbp)", Operand(4, True, base="bp", displacement=-12)),
    ("8@(%rdx)", Operand(8, False, base="dx", displacement=0)),
    ("8@0x10(%rax,%rbx,4)", Operand(8, False, base="ax", index="bx", scale=4, displacement=16)),
    ("8@(,%r9,8)", Operand(8, False, index="r9", scale=8, displacement=0)),
    ("8@8(%rax,%rbx)", Operand(8, False, base="ax", index="bx", displacement=8)),
    ("-4@counter(%rip)", Operand(4, True, base="ip", symbol="counter", displacement=0)),
    ("-4@-4+counter(%rip)", Operand(4, True, base="ip", symbol="counter", displacement=-4)),
    ("8@counter.12+24(%rip)", Operand(8, False, base="ip", symbol="counter.12", displacement=24)),
    ("8@counter", Operand(8, False, symbol="counter", displacement=0)),
    ("4@%fs:-4", Operand(4, False, segment="fs", displacement=-4)),
]
ARM_ROWS = [
    ("-4@5", Operand(4, True, constant=5)),
    ("8@#-7", Operand(8, False, constant=-7)),
    ("8@x0", Operand(8, False, base="x0")),
    ("-4@w19", Operand(4, True, base="x19", bits=32)),
    ("8@sp", Operand(8, False, base="sp")),
    ("4@wzr", Operand(4, False, constant=0)),
    ("8@[x1]", Operand(8, False, base="x1", displacement=0)),
    ("-4@[sp, 60]", Operand(4, True, base="sp", displacement=60)),
    ("8@[x29, #-16]", Operand(8, False, base="x29", displacement=-16)),
    ("8@[x0, x1]", Operand(8, False, base="x0", index="x1", displacement=0)),
    ("8@[x0, x1, lsl 3]", Operand(8, False, base="x0", index="x1", scale=8, displacement=0)),
    ("4@[x0, w1, sxtw #2]", Operand(4, False, base="x0", index="x1", scale=4, displacement=0, extend="sxtw")),
    ("4@[x0, w1, uxtw]", Operand(4, False, base="x0", index="x1", displacement=0, extend="uxtw")),
]


@pytest.mark.parametrize(("text", "operand"), X86_ROWS)
def test_operands_of_x86(text: str, operand: Operand) -> None:
    assert parse_arguments(text, X86) == [operand]


@pytest.mark.parametrize(("text", "operand"), ARM_ROWS)
def test_operands_of_arm(text: str, operand: Operand) -> None:
    assert parse_arguments(text, ARM) == [operand]


@pytest.mark.parametrize(("rows", "machine"), [(X86_ROWS, X86), (ARM_ROWS, ARM)])
def test_several_in_a_note(rows: list[tuple[str, Operand]], machine: int) -> None:
    assert parse_arguments("  ".join(text for text, _ in rows), machine) == [operand for _, operand in rows]


@pytest.mark.parametrize(("text", "machine", "size"), [
    ("8f@%xmm0", X86, 8), ("8@%xmm0", X86, 8), ("-4@x@tpoff(%rax)", X86, 4), ("8@%fs:x@tpoff", X86, 8), ("8@%rax", UNKNOWN, 8),
    ("8@d0", ARM, 8), ("8@[q1]", ARM, 8), ("3@%rax", X86, 8), ("gibberish", X86, 8), ("8@", X86, 8), ("8@(%rax", X86, 8),
])
def test_what_no_program_can_read_is_an_argument_still(text: str, machine: int, size: int) -> None:
    (operand,) = parse_arguments(text, machine)
    assert not operand.is_readable and operand.size == size
    assert c_statement(operand, machine, 0, lambda name: 0) == "return -1;"


def test_a_variable_that_is_not_there_cannot_be_read() -> None:
    (operand,) = parse_arguments("8@gone(%rip)", X86)
    assert c_statement(operand, X86, 0x1000, lambda name: None) == "return -1;"
    assert "0x3000ULL" in c_statement(operand, X86, 0x1000, lambda name: 0x4000)


def test_types() -> None:
    assert [one.ctype for one in parse_arguments("-1@%al 2@%ax -4@%eax 8@%rax", X86)] == ["int8_t", "uint16_t", "int32_t", "uint64_t"]
    assert parse_arguments("", X86) == [] == parse_arguments("  ", ARM)


def test_registers_of_arm_are_members_of_its_pt_regs() -> None:
    """Source: arch/arm64/include/asm/ptrace.h, struct pt_regs."""
    given = parse_arguments("8@x3 8@sp 8@[x29, w1, sxtw 2]", ARM)
    texts = [c_statement(one, ARM, 0, lambda name: 0) for one in given]
    assert "ctx->regs[3]" in texts[0] and "ctx->sp" in texts[1]
    assert "ctx->regs[29] + (int64_t)(int32_t)ctx->regs[1] * 4" in texts[2]


@given(st.text(alphabet="-48f@%$#()[],+:raxbp0123spwlk. \t", max_size=40), st.sampled_from([X86, ARM, UNKNOWN, 3]))
def test_any_words_give_operands(text: str, machine: int) -> None:
    for one in parse_arguments(text, machine):
        assert one.size in (1, 2, 4, 8) and c_statement(one, machine, 0, lambda name: 8)
