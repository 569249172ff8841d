"""python -m tests.differential --count N --seed S [--kind straight|pointers|loops] [--run]

Makes N programs (of each kind in turn, or of one), asks both verifiers, and prints what they disagree on: the seed and
both sentences; then how many programs there were of each class. --run: they are run instead (runs.py), in Linux, in the
simulated kernel, and there once more as checked code whose registers are held against what the verifier derived. --show
KIND:SEED: one program and both verdicts. --seconds: stops then. Exits 1 if we accept what Linux refuses, if anything
crashes, or if a run differs."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator

from bcc_py.isa import disassemble
from tests.differential import KINDS
from tests.differential.compare import NOT_ASKED, Judge, Outcome, judge
from tests.differential.runs import Machines, runnable
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

    def add(self, outcome: Outcome) -> None:
        name = f"{outcome.sample.kind}:{outcome.sample.seed}"
        self.classes[outcome.sample.kind, outcome.kind] += 1
        self.causes[outcome.kind, outcome.cause] += 1
        self.seeds.setdefault((outcome.kind, outcome.cause), name)
        if outcome.kind in ("we accept", "crash"):
            print(f"{name}: {outcome.kind}\n  Linux: {outcome.theirs or 'accepted'}\n  ours:  {outcome.ours or 'accepted'}", flush=True)

    def print(self, seconds: float) -> None:
        kinds = sorted({kind for kind, _ in self.classes})
        print(f"\n{sum(self.classes.values())} programs in {seconds:.0f} s\n{'':16}" + "".join(f"{kind:>10}" for kind in kinds))
        for which in _CLASSES:
            print(f"{which:16}" + "".join(f"{self.classes[kind, which]:10}" for kind in kinds))
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


_WRONG = ("differs", "fault", "outside")


def run(programs: Iterator[Sample], until: float) -> int:
    """Runs them, prints what went wrong and how many there were of each outcome; 1 if anything did."""
    machines = Machines()
    counts: Counter[tuple[str, str]] = Counter()
    for sample in programs:
        if time.monotonic() > until:
            break
        outcome = machines.run(runnable(sample))
        reason = outcome.words.partition(":")[0] if outcome.kind not in _WRONG else ""
        counts[f"{sample.kind:9} {outcome.kind}", reason] += 1
        if outcome.kind in _WRONG:
            print(f"{sample.kind}:{sample.seed}: {outcome.kind}: {outcome.words}", flush=True)
    machines.close()
    for (what, reason), count in sorted(counts.items()):
        print(f"{count:7} {what}" + (f": {reason}" if reason else ""))
    return int(any(what.split()[1] in _WRONG for what, _ in counts))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    parser.add_argument("--run", action="store_true", help="run them in both kernels")
    parser.add_argument("--show", metavar="KIND:SEED", help="one program")
    given = parser.parse_args()
    tally = Tally()
    start = time.monotonic()
    programs = samples(given.kind or list(KINDS), given.seed, given.count)
    if given.run:
        return run(programs, start + given.seconds)
    with judge() as judged:
        if given.show:
            show(judged, given.show)
            return 0
        for sample in programs:
            if time.monotonic() > start + given.seconds:
                break
            tally.add(judged.ask(sample))
    tally.print(time.monotonic() - start)
    return int(any(kind in ("we accept", "crash") for kind, _ in tally.causes))


if __name__ == "__main__":
    sys.exit(main())
