"""A source to which tests add events by hand, and small programs in assembly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bcc_py.isa import assemble
from bcc_py.sim.formats import KernelFormats
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import ProgramSpec
from cfront.tracepoint import TracepointFormat
from cfront.uapi import ProgType


class Script:
    """Events in order: (time_ns, what to do)."""

    def __init__(self, *events: tuple[int, Callable[[SimKernel], None]], cpus: int = 2) -> None:
        self.cpus = cpus
        self.events = list(events)

    def start(self, kernel: SimKernel) -> None:
        """Nothing runs yet."""

    def next_time_ns(self) -> int | None:
        return self.events[0][0] if self.events else None

    def step(self, kernel: SimKernel) -> None:
        self.events.pop(0)[1](kernel)

    def tracepoint_formats(self) -> Mapping[str, TracepointFormat]:
        return KernelFormats()


def program(text: str, type: ProgType = ProgType.TRACEPOINT, name: str = "test", **maps: int) -> ProgramSpec:
    """A program from assembly; $NAME stands for the load of that map."""
    for word, fd in maps.items():
        text = text.replace(f"${word}", f"map[fd:{fd}]")
    return ProgramSpec(name, "", type, assemble(text))
