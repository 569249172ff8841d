"""Random programs, judged by our verifier and by the running Linux, and run by both.

writer.py: what the generators share. straight.py, pointers.py, loops.py: the three kinds, each program(seed) ->
Sample. compare.py: both verdicts on a sample. runs.py: the same r0, packet and maps; derive.py: registers within what was
derived. __main__.py: the command.
The same seed is the same program, for as long as the generator stays as it is."""

from __future__ import annotations

from collections.abc import Callable

from tests.differential import loops, pointers, straight
from tests.differential.writer import Sample

__all__ = ["KINDS"]

KINDS: dict[str, Callable[[int], Sample]] = {
    "straight": straight.program, "pointers": pointers.program, "loops": loops.program,
}
