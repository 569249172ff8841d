"""The loader of tests/cases/cfront: `-- name`, then `-- c` and a text, then for refused texts one `-- reject` with
`LINE:COL: sentence` for each diagnostic, or one `-- warn` for each warning, and under it `-- hint` where it has one.
`-- target host` before the text makes it one for this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).parents[1] / "cases" / "cfront"


@dataclass
class Case:
    name: str
    c: str = ""
    reject: list[str] = field(default_factory=list)  # "LINE:COL: sentence", and "hint: ..." behind it
    target: str = "bpf"


def read_cases(name: str) -> list[Case]:
    """The cases of one file. Raises AssertionError where it is not in the form above."""
    cases: list[Case] = []
    body: list[str] = []
    for line in [*(CASES / name).read_text().splitlines(), "-- name END"]:
        word = re.match(r"-- (name|target|c|reject|warn|hint)\b ?(.*)", line)
        if word is None:
            body.append(line)
            continue
        kind, rest = word.groups()
        if kind not in ("c", "target") and cases and not cases[-1].c:
            cases[-1].c = "\n".join(body).strip("\n") + "\n"
        if kind == "name":
            cases.append(Case(rest))
        elif kind == "target":
            cases[-1].target = rest
        elif kind == "c":
            body = []
        else:
            cases[-1].reject.append(rest if kind != "hint" else f"hint: {rest}")
    cases.pop()
    assert cases and all(one.c for one in cases), name
    assert len({one.name for one in cases}) == len(cases), f"{name}: two cases of one name"
    return cases
