"""Workloads: programs of a simulated machine, seeded and repeatable, that make the simulated kernel's
events. sim_kernel_from_spec turns the words a user writes into a kernel."""

from __future__ import annotations

import dataclasses

from bcc_py.errors import NotSupportedError
from bcc_py.sim.kernel import EventSource, SimKernel
from bcc_py.sim.world.idle import IdleWorkload
from bcc_py.sim.world.shell import ShellWorkload
from bcc_py.verifier import Privileges
from bcc_py.verifier.env import CAPABILITIES

__all__ = ["Options", "parse_spec", "sim_kernel_from_spec"]


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What a spec may say after its name. seconds: of virtual time; privileges: see SimKernel."""

    seed: int = 0
    seconds: int = 60
    cpus: int = 2
    privileges: tuple[str, ...] = CAPABILITIES


_WORKLOADS = ("shell", "idle")
_LIMITS = {"seed": (0, (1 << 63) - 1), "seconds": (1, 86400), "cpus": (1, 256)}


def parse_spec(text: str) -> tuple[str, Options]:
    """("shell", Options) from "sim", "sim:shell" or "sim:shell,seed=3,seconds=60,cpus=4". "idle" has no events of its own.

    Raises ValueError for words it does not know, NotSupportedError for a workload that does not exist."""
    head, *settings = text.split(",")
    kind, _, workload = head.partition(":")
    if kind != "sim":
        raise ValueError(f"starting {text!r}: a simulated kernel is named sim or sim:WORKLOAD")
    workload = workload or "shell"
    if workload not in _WORKLOADS:
        raise NotSupportedError(f"starting {text}: no workload {workload!r} (there is: {', '.join(_WORKLOADS)})", f"sim:{workload}")
    known: dict[str, int] = {}
    privileges: tuple[str, ...] = CAPABILITIES
    for one in settings:
        name, equals, value = one.partition("=")
        if name == "privileges" and equals and privileges is CAPABILITIES:
            privileges = _privileges(text, value)
            continue
        if not equals or name not in _LIMITS or name in known:
            raise ValueError(f"starting {text!r}: {one!r} (write {', '.join(f'{name}=N' for name in _LIMITS)}, "
                             "privileges=none or privileges=bpf+perfmon, each once)")
        known[name] = _number(text, name, value)
    return workload, Options(**known, privileges=privileges)


def _privileges(text: str, value: str) -> tuple[str, ...]:
    names = () if value == "none" else tuple(value.split("+"))
    try:
        Privileges.of(names)
    except ValueError as error:
        raise ValueError(f"starting {text!r}: {error}, joined by +, or none") from error
    return names


def _number(text: str, name: str, value: str) -> int:
    low, high = _LIMITS[name]
    if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
        raise ValueError(f"starting {text!r}: {name} must be a number from {low} to {high}, not {value!r}")
    return int(value)


def sim_kernel_from_spec(text: str) -> SimKernel:
    """The simulated kernel that text names: see parse_spec. The same text gives the same events."""
    workload, options = parse_spec(text)
    source: EventSource = IdleWorkload(options.cpus)
    if workload == "shell":
        source = ShellWorkload(seed=options.seed, seconds=options.seconds, cpus=options.cpus)
    return SimKernel(source, spec=text, seed=options.seed, privileges=options.privileges)
