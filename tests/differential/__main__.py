"""python -m tests.differential --count N --seed S [--kind straight|pointers|loops] [--run]

Makes N programs (of each kind in turn, or of one), asks both verifiers, and prints what they disagree on: the seed and
both sentences; then how many programs there were of each class. --run: what both accept of the straight kind also runs,
in Linux and as native code. --show KIND:SEED: one program and both verdicts. Exits 1 if we accept what Linux refuses,
if anything crashes, or if a run differs."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator

from bcc_py.isa import disassemble
from bcc_py.linux import sys as linux_sys
from tests.differential import KINDS
from tests.differential.compare import NOT_ASKED, Judge, Outcome, judge
from tests.differential.execute import BATCH, linux_result, native_results
from tests.differential.writer import Sample

_CLASSES = ("both accept", "both reject", "other sentence", "we accept", "we reject", "crash", "Linux gives up", NOT_ASKED)


def samples(kinds: list[str], first: int, count: int) -> Iterator[Sample]:
    for number in range(count):
        yield KINDS[kinds[number % len(kinds)]](first + number // len(kinds))


class Tally:
    """What was found, printed as it is found and counted."""

    def __init__(self) -> None:
        self.classes: Counter[tuple[str, str]] = Counter()
        self.causes: Counter[tuple[str, str]] = Counter()
        self.seeds: dict[tuple[str, str], str] = {}
        self.ran = self.wrong = 0

    def add(self, outcome: Outcome) -> None:
        name = f"{outcome.sample.kind}:{outcome.sample.seed}"
        self.classes[outcome.sample.kind, outcome.kind] += 1
        self.causes[outcome.kind, outcome.cause] += 1
        self.seeds.setdefault((outcome.kind, outcome.cause), name)
        if outcome.kind in ("we accept", "crash"):
            print(f"{name}: {outcome.kind}\n  Linux: {outcome.theirs or 'accepted'}\n  ours:  {outcome.ours or 'accepted'}", flush=True)

    def compare_runs(self, outcomes: list[Outcome], fds: list[int]) -> None:
        """Runs them in both, and closes them."""
        try:
            theirs = [linux_result(one, fds) for one in outcomes]
        finally:
            for one in outcomes:
                linux_sys.close(one.fd)
        for one, mine, their in zip(outcomes, native_results(outcomes, fds), theirs, strict=True):
            self.ran += 1
            if mine != their:
                self.wrong += 1
                at = next((at for at in range(len(mine.state)) if mine.state[at] != their.state[at]), -1)
                print(f"{one.sample.kind}:{one.sample.seed}: run differs: r0 {mine.r0:#x} and Linux {their.r0:#x}, state from byte {at}", flush=True)

    def print(self, seconds: float) -> None:
        kinds = sorted({kind for kind, _ in self.classes})
        print(f"\n{sum(self.classes.values())} programs in {seconds:.0f} s\n{'':16}" + "".join(f"{kind:>10}" for kind in kinds))
        for which in _CLASSES:
            print(f"{which:16}" + "".join(f"{self.classes[kind, which]:10}" for kind in kinds))
        if self.ran:
            print(f"{'run in both':16}{self.ran:10}, {self.wrong} differ")
        for which in _CLASSES[1:]:
            rows = [(count, cause) for (kind, cause), count in self.causes.most_common() if kind == which]
            if rows:
                print(f"\n{which}" + (" (Linux's sentence | ours)" if which == "other sentence" else ""))
            for count, cause in rows:
                print(f"{count:7} {cause}   [{self.seeds[which, cause]}]")


def show(judged: Judge, name: str) -> None:
    kind, _, seed = name.partition(":")
    outcome = judged.ask(KINDS[kind](int(seed)))
    print("\n".join(disassemble(outcome.sample.insns(judged.fds))))
    print(f"{outcome.sample.type.name}: {outcome.kind}\n  Linux: {outcome.theirs or 'accepted'}\n  ours:  {outcome.ours or 'accepted'}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    parser.add_argument("--run", action="store_true", help="run what both accept of the straight kind")
    parser.add_argument("--show", metavar="KIND:SEED", help="one program")
    given = parser.parse_args()
    tally = Tally()
    start = time.monotonic()
    with judge() as judged:
        if given.show:
            show(judged, given.show)
            return 0
        waiting: list[Outcome] = []
        for sample in samples(given.kind or list(KINDS), given.seed, given.count):
            outcome = judged.ask(sample, is_kept=given.run and sample.kind == "straight")
            tally.add(outcome)
            if outcome.fd >= 0:
                waiting.append(outcome)
            if len(waiting) == BATCH:
                tally.compare_runs(waiting, list(judged.fds))
                waiting = []
        if waiting:
            tally.compare_runs(waiting, list(judged.fds))
    tally.print(time.monotonic() - start)
    return int(bool(tally.wrong or any(kind in ("we accept", "crash") for kind, _ in tally.causes)))


if __name__ == "__main__":
    sys.exit(main())
