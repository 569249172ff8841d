"""A few hundred random programs of each kind: what we accept Linux accepts, nearly the other way round, and both
compute the same. `python -m tests.differential` makes as many as are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.differential import KINDS
from tests.differential.compare import Judge, judge
from tests.differential.runs import Machines, runnable

COUNT = 300
RUNS = 40
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
@pytest.mark.parametrize("kind", KINDS)
def test_what_both_accept_computes_the_same(kind: str) -> None:
    """And touches only what it may, and every register is what the verifier said."""
    machines = Machines()
    count: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS):
        outcome = machines.run(runnable(KINDS[kind](seed)))
        assert outcome.kind in ("same", "refused", "not compared"), f"{kind}:{seed}: {outcome}"
        count[outcome.kind] += 1
    machines.close()
    assert count["same"] > RUNS // 5, "the generator has lost its touch"
