"""Where programs attach in the simulated kernel, and what runs when something happens there.

Input: links made by attach, events fired by a source. A hook is a key (kind, name); its programs run in
the order in which they were attached, each on the same context bytes. Invariant: the list of a hook is
replaced, never changed, so a program may be detached while its hook fires.

Unknown hooks are refused in words, with the nearest names that exist."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Protocol

from bcc_py.errors import AttachError
from bcc_py.sim.cpu import SimCpu
from bcc_py.spec import Hook, HookKind, ProgramSpec
from cfront.uapi import AttachType, ProgType

__all__ = ["ATTACHED_KINDS", "HookTable", "Runnable", "SimLink", "check_program_type", "did_you_mean"]

_EEXIST, _EINVAL = 17, 22
_TYPES = {
    HookKind.TRACEPOINT: ProgType.TRACEPOINT, HookKind.RAW_TRACEPOINT: ProgType.RAW_TRACEPOINT,
    HookKind.KPROBE: ProgType.KPROBE, HookKind.KRETPROBE: ProgType.KPROBE, HookKind.BTF_TRACEPOINT: ProgType.TRACING,
    HookKind.FENTRY: ProgType.TRACING, HookKind.FEXIT: ProgType.TRACING, HookKind.LSM: ProgType.LSM, HookKind.ITER: ProgType.TRACING,
    HookKind.PERF_EVENT: ProgType.PERF_EVENT,
}
# where programs can be attached
ATTACHED_KINDS = frozenset((
    HookKind.TRACEPOINT, HookKind.RAW_TRACEPOINT, HookKind.KPROBE, HookKind.KRETPROBE, HookKind.BTF_TRACEPOINT, HookKind.FENTRY,
    HookKind.FEXIT, HookKind.PERF_EVENT))
# what a program of type TRACING was verified for
_ATTACH_TYPES = {
    HookKind.BTF_TRACEPOINT: AttachType.TRACE_RAW_TP, HookKind.FENTRY: AttachType.TRACE_FENTRY, HookKind.FEXIT: AttachType.TRACE_FEXIT,
}


class Runnable(Protocol):
    """What a hook runs."""

    def run(self, cpu: SimCpu) -> int: ...


class SimLink:
    """One attachment. close detaches; the program stays alive at least as long."""

    fds: tuple[int, ...] = ()

    def __init__(self, hook: Hook, detach: Callable[[SimLink], None]) -> None:
        self.hook = hook
        self._detach: Callable[[SimLink], None] | None = detach

    def close(self) -> None:
        detach, self._detach = self._detach, None
        if detach is not None:
            detach(self)


class HookTable:
    """Programs by hook. is_empty is kept, so that a source's events cost nothing while nobody looks."""

    def __init__(self) -> None:
        self._attached: dict[tuple[HookKind, str], tuple[tuple[SimLink, Runnable], ...]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._attached

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._attached.values())

    def programs(self, kind: HookKind, name: str) -> tuple[tuple[SimLink, Runnable], ...]:
        """What runs there, in order."""
        return self._attached.get((kind, name), ())

    def links(self) -> list[SimLink]:
        """Every link there is."""
        return [link for rows in self._attached.values() for link, _ in rows]

    def add(self, link: SimLink, program: Runnable) -> None:
        """Raises AttachError (EEXIST) for a program that is attached to this tracepoint already."""
        key = (link.hook.kind, link.hook.name)
        rows = self._attached.get(key, ())
        if link.hook.kind is HookKind.TRACEPOINT and any(one is program for _, one in rows):
            raise AttachError(f"attaching to {link.hook}: this program is attached to it already", str(link.hook), _EEXIST)
        self._attached[key] = (*rows, (link, program))

    def remove(self, link: SimLink) -> Runnable | None:
        """Takes a link out; its program, or None if it was not there."""
        key = (link.hook.kind, link.hook.name)
        rows = self._attached.get(key, ())
        left = tuple(row for row in rows if row[0] is not link)
        if left:
            self._attached[key] = left
        else:
            self._attached.pop(key, None)
        return next((program for one, program in rows if one is link), None)


def check_program_type(hook: Hook, program: ProgramSpec) -> None:
    """Raises AttachError (EINVAL) for a program whose type does not fit the hook, or that was verified for another."""
    wanted, type = _TYPES[hook.kind], program.type
    if type is not wanted:
        raise AttachError(
            f"attaching {program.name} to {hook}: it is a {type.name.lower()} program (a {wanted.name.lower()} program fits)",
            str(hook), _EINVAL)
    attach_type = _ATTACH_TYPES.get(hook.kind)
    if attach_type is not None and (program.expected_attach_type, program.attach_to) != (attach_type, hook.name):
        raise AttachError(
            f"attaching {program.name} to {hook}: it was loaded for {program.expected_attach_type.name} {program.attach_to}",
            str(hook), _EINVAL)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """" (did you mean X or Y?)", or "" when nothing is near."""
    near = difflib.get_close_matches(name, list(known), 3, 0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
