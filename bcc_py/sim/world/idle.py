"""A machine on which nothing happens by itself: for tests that make its events."""

from __future__ import annotations

from collections.abc import Mapping

from bcc_py.sim.formats import KernelFormats
from bcc_py.sim.kernel import SimKernel
from cfront.tracepoint import TracepointFormat

__all__ = ["IdleWorkload"]


class IdleWorkload:
    """An EventSource without events. cpus: how many the machine has."""

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus

    def start(self, kernel: SimKernel) -> None:
        """Nothing runs."""

    def next_time_ns(self) -> int | None:
        return None

    def step(self, kernel: SimKernel) -> None:
        raise AssertionError("there is no event")

    def tracepoint_formats(self) -> Mapping[str, TracepointFormat]:
        return KernelFormats()
