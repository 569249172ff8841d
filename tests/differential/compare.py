"""Both verdicts on a sample: ours by verify(), Linux's by BPF_PROG_LOAD of the same instructions.

An Outcome holds "" for accepted, or the sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bcc_py.errors import LoadError, VerifierError
from bcc_py.isa import encode
from bcc_py.linux import sys as linux_sys
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import VerifierEnv, verify
from tests.differential.writer import MAPS, Sample
from tests.verifier.linux_oracle import maps_of

__all__ = ["INSN_LIMIT", "NOT_ASKED", "Judge", "Outcome", "judge"]

INSN_LIMIT = 3_000  # of ours; what needs more, Linux would look at for seconds, and is not asked about
# an instruction's line that Linux had not finished when it gave its reason
_CUT_LINE = re.compile(r"^\d+: \([0-9a-f]{2}\) .* (?=BPF program is too large|infinite loop detected)")
NOT_ASKED = "not asked"
TOO_LARGE = "BPF program is too large"
_CRASHES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Outcome:
    """ours, theirs: "" accepted, or the reason."""

    sample: Sample
    ours: str
    theirs: str

    @property
    def kind(self) -> str:
        if self.ours.startswith("crash: "):
            return "crash"
        if self.theirs == NOT_ASKED:
            return NOT_ASKED
        if not self.ours and self.theirs.startswith((TOO_LARGE, "The sequence of ")):
            return "Linux gives up"
        if not self.theirs:
            return "both accept" if not self.ours else "we reject"
        if not self.ours:
            return "we accept"
        return "both reject" if self.ours == self.theirs else "other sentence"

    @property
    def cause(self) -> str:
        """The sentences without their numbers: outcomes of one cause are counted together."""
        parts = {"both accept": (), "both reject": (self.theirs,), "we accept": (self.theirs,), "we reject": (self.ours,),
                 "Linux gives up": (), "crash": (self.ours,), NOT_ASKED: (self.ours,), "other sentence": (self.theirs, self.ours)}[self.kind]
        return " | ".join(re.sub(r"-?(0x[0-9a-f]+|\d+)", "N", one) for one in parts)


@dataclass(frozen=True, slots=True)
class Judge:
    fds: Sequence[int]
    env: VerifierEnv

    def ask(self, sample: Sample) -> Outcome:
        """The verdicts. Raises NotSupportedError."""
        insns = sample.insns(self.fds)
        ours = ""
        try:
            verify(ProgramSpec("random", "", sample.type, insns), self.env)
        except VerifierError as error:
            ours = error.sentence
        except _CRASHES as error:
            ours = f"crash: {type(error).__name__}: {error}"
        if ours.startswith(TOO_LARGE):
            return Outcome(sample, ours, NOT_ASKED)
        theirs = ""
        try:
            linux_sys.close(linux_sys.prog_load(sample.type, encode(insns)))
        except VerifierError as error:
            theirs = _CUT_LINE.sub("", error.sentence)
        except LoadError as error:
            theirs = f"errno {error.errno}"
        return Outcome(sample, ours, theirs)


@contextmanager
def judge(insn_limit: int = INSN_LIMIT) -> Iterator[Judge]:
    """A judge with live MAPS. insn_limit: of our verifier. Raises NotSupportedError where bpf(2) is not there or not permitted."""
    with maps_of(MAPS) as fds:
        yield Judge(fds, VerifierEnv(dict(zip(fds, MAPS, strict=True)), insn_limit=insn_limit))

