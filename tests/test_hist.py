"""Histograms against what BCC's own bcc.table printed for the same random counts (tests/data/hist.json)."""

from __future__ import annotations

import json
from pathlib import Path

from bcc_py.hist import linear_hist, log2_hist

GOLDEN = json.loads((Path(__file__).parent / "data" / "hist.json").read_text())


def test_text_is_what_bcc_prints() -> None:
    for kind, values, val_type, strip, text in GOLDEN:
        lines = (log2_hist if kind == "log2" else linear_hist)(values, val_type, strip)
        assert "".join(f"{line}\n" for line in lines) == text, (kind, values)


def test_documented_example() -> None:
    assert log2_hist([9, 3, 0, 10, 100, 7, 0, 0], "usecs") == [
        "     usecs               : count     distribution",
        "         0 -> 1          : 3        |*                                       |",
        "         2 -> 3          : 0        |                                        |",
        "         4 -> 7          : 10       |****                                    |",
        "         8 -> 15         : 100      |****************************************|",
        "        16 -> 31         : 7        |**                                      |",
    ]


def test_nothing_is_printed_for_nothing() -> None:
    assert log2_hist([0] * 65) == linear_hist([0] * 65) == log2_hist([]) == linear_hist([]) == []
    assert log2_hist([5]) == []
