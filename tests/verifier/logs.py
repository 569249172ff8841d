"""Linux's log and ours made comparable: what only one of them can know is taken out of both.

Taken out: Linux's notes on its own ways (mark_precise, liveness, loops), maps' addresses and names, the numbers of ids (in
each line they count from 1), which numbers are marked precise, and the statistics but for the instructions processed. A state
that Linux puts on a line of its own, because a note came between, goes behind its instruction again."""

from __future__ import annotations

import difflib
import re

_NOTES = re.compile(
    r"mark_precise|\(\d+(,\d+)*\) |SCC |func#|Live regs|  *\d* +\d+: [.0-9]{10} |cur state|old state|verification time|"
    r"stack depth|propagating|\(\d+ lines|arg#0 reference type|Global function \w+\(\) doesn't return scalar"
)
_STATE = re.compile(r"\d+:( frame\d+:)?( R\d+=.*| fp-\d.*| refs=.*|)$")
_INSN = re.compile(r"\d+: \([0-9a-f]{2}\) ")


def comparable(log: str) -> list[str]:
    """The lines that count."""
    rows: list[str] = []
    has_note = False
    for line in log.splitlines():
        if _NOTES.match(line):
            has_note = True
            continue
        if has_note and _STATE.match(line) and rows and _INSN.match(rows[-1]) and ";" not in rows[-1]:
            rows[-1] = f"{rows[-1]} ;{line.partition(':')[2]}"
        else:
            rows.append(line)
        has_note = False
    return [_plain(row) for row in rows]


def _plain(row: str) -> str:
    row = re.sub(r"=P(?=[-\ds])", "=", row)
    row = re.sub(r"(\(18\) r\d+ = )(0xffff\w+|map\[fd:\d+\]\S*)", r"\1MAP", row)
    row = re.sub(r"map=[\w.]+,", "", row)
    row = re.sub(r" +;", " ;", row)
    ids: dict[str, int] = {}
    row = re.sub(r"(ref_obj_id|dynptr_id|ref_id|\bid|refs)=(\d+)", lambda m: f"{m[1]}={ids.setdefault(m[2], len(ids) + 1)}", row)
    return re.sub(r"^processed (\d+) insns.*", r"processed \1", row)


def equal_lines(left: list[str], right: list[str]) -> tuple[int, int]:
    """(lines in common, in their order; lines in all)."""
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()), max(len(left), len(right))
