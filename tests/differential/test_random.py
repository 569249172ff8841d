"""A few hundred random programs of each kind: what we accept Linux accepts, nearly the other way round, and both
compute the same. `python -m tests.differential` makes as many as are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from bcc_py.linux import sys as linux_sys
from tests.differential import KINDS
from tests.differential.compare import Judge, judge
from tests.differential.execute import BATCH, linux_result, native_results

COUNT = 300
FIRST = 1_000_000  # seeds that nobody's longer run began with


@pytest.fixture
def judged() -> Iterator[Judge]:
    with judge(2_000) as one:
        yield one


@pytest.mark.linux
@pytest.mark.parametrize("kind", KINDS)
def test_what_we_accept_linux_accepts(kind: str, judged: Judge) -> None:
    count: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + COUNT):
        outcome = judged.ask(KINDS[kind](seed))
        assert outcome.kind not in ("we accept", "crash"), f"{kind}:{seed}: Linux {outcome.theirs!r}, we {outcome.ours!r}"
        count[outcome.kind] += 1
    assert count["both accept"] > COUNT // 4 and count["both reject"] > COUNT // 8, "the generator has lost its touch"
    assert count["we reject"] <= COUNT // 50


@pytest.mark.linux
def test_what_both_accept_computes_the_same(judged: Judge) -> None:
    outcomes = []
    for seed in range(FIRST, FIRST + COUNT):
        outcome = judged.ask(KINDS["straight"](seed), is_kept=True)
        if outcome.fd >= 0:
            outcomes.append(outcome)
    try:
        theirs = [linux_result(one, judged.fds) for one in outcomes]
    finally:
        for one in outcomes:
            linux_sys.close(one.fd)
    ours = [result for at in range(0, len(outcomes), BATCH) for result in native_results(outcomes[at : at + BATCH], judged.fds)]
    assert len(ours) > COUNT // 4, "the generator has lost its touch"
    for one, mine, their in zip(outcomes, ours, theirs, strict=True):
        assert mine == their, f"straight:{one.sample.seed}"
