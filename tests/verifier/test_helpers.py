"""Which helper goes with which program type and license: our table against Linux, one program for each pair."""

from __future__ import annotations

import pytest

from bcc_py.isa import Insn
from bcc_py.verifier.rules import CONTEXTS, HELPERS_BY_TYPE
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, HELPERS, ProgType
from tests.verifier.linux_oracle import load

# this kernel may lack them by configuration (CONFIG_BPF_KPROBE_OVERRIDE, lockdown)
BY_CONFIGURATION = {HELPER_IDS["override_return"], HELPER_IDS["probe_write_user"]}


def call(number: int) -> list[Insn]:
    return [Insn(0x85, imm=number), Insn(0xB7), Insn(0x95)]


@pytest.mark.linux
@pytest.mark.parametrize("type", list(CONTEXTS), ids=lambda one: one.name)
def test_table_is_linux_s(type: ProgType, linux: None) -> None:
    for number in range(1, max(HELPER_IDS.values()) + 1):
        sentence = load(call(number), type, log_level=1).log
        is_there = "cannot use helper" not in sentence and "not supported for program type" not in sentence
        if number in HELPERS_BY_TYPE[type] and number not in BY_CONFIGURATION:
            assert is_there, f"{type.name}: Linux has no helper {number}"
        helper = HELPER_BY_ID.get(number)
        if is_there and helper is not None and number in HELPERS_BY_TYPE[type]:
            refused = "GPL-restricted" in load(call(number), type, license="Proprietary", log_level=1).log
            # for PERF_EVENT Linux has a few of them without the condition
            assert helper.gpl_only or not refused, helper.name


def test_rows_are_consistent() -> None:
    assert len(HELPER_BY_ID) == len(HELPERS) and [one.id for one in HELPERS] == sorted(HELPER_BY_ID)
    for one in HELPERS:
        named = one.prototype[one.prototype.index("(*)(") + 4 : -1]
        count = 0 if named == "void" else len([part for part in named.split(",") if "..." not in part])
        assert count == len(one.args) <= 5, one.name
