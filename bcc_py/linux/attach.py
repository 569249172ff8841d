"""Hooks of the real kernel: a program's descriptor and a Hook in, a link out.

Invariant: a link holds exactly the descriptors that keep the attachment alive; closing them detaches,
and so does the end of the process. Nothing is written to tracefs and nothing is pinned, so a killed
process leaves no probe behind.

Tracepoint: a perf event of the tracepoint's id with the program set on it; the program then runs on
every CPU although the event names CPU 0. Raw tracepoint: BPF_RAW_TRACEPOINT_OPEN. Kprobe and
kretprobe: the kprobe PMU where the kernel has it (the older way through kprobe_events is not used,
for its definitions outlive the process).

Source: kernel/trace/bpf_trace.c, perf_event_attach_bpf_prog; kernel/events/core.c, perf_kprobe_event_init."""

from __future__ import annotations

import difflib
import os
import re

from bcc_py.errors import AttachError, NotSupportedError
from bcc_py.linux import feature, sys
from bcc_py.spec import Hook, HookKind
from cfront.uapi import ProgType

__all__ = ["LinuxLink", "attach", "list_events", "tracepoint_directory"]

_PERF_TYPE_TRACEPOINT = 2
_NAME = re.compile(r"[A-Za-z0-9_.-]+$")
_PROGRAM_TYPES = {
    HookKind.TRACEPOINT: ProgType.TRACEPOINT, HookKind.RAW_TRACEPOINT: ProgType.RAW_TRACEPOINT,
    HookKind.KPROBE: ProgType.KPROBE, HookKind.KRETPROBE: ProgType.KPROBE, HookKind.BTF_TRACEPOINT: ProgType.TRACING,
    HookKind.FENTRY: ProgType.TRACING, HookKind.FEXIT: ProgType.TRACING, HookKind.LSM: ProgType.LSM, HookKind.ITER: ProgType.TRACING,
}
# a program for one of these names its target when it is loaded
_LOADED_FOR = (HookKind.BTF_TRACEPOINT, HookKind.FENTRY, HookKind.FEXIT, HookKind.LSM)


class LinuxLink:
    """One attachment. close() detaches, once."""

    def __init__(self, hook: Hook, *fds: int) -> None:
        self.hook = hook
        self._fds = fds

    def close(self) -> None:
        fds, self._fds = self._fds, ()
        for fd in fds:
            sys.close(fd)


def attach(program_fd: int, type: ProgType, hook: Hook) -> LinuxLink:
    """The link of a loaded program to a hook. Raises AttachError, NotSupportedError."""
    wanted = _PROGRAM_TYPES[hook.kind]
    if type != wanted:
        raise AttachError(f"attaching to {hook}: it takes a program of type {wanted.name}, not {type.name}", str(hook))
    if hook.kind is HookKind.ITER:
        raise NotSupportedError(f"attaching to {hook}: on Linux, reading iterators is not supported yet", "iterator")
    if hook.kind in _LOADED_FOR:
        return LinuxLink(hook, sys.raw_tracepoint_open(program_fd, "", str(hook), hook.cookie))
    if hook.kind is HookKind.TRACEPOINT:
        return LinuxLink(hook, *_attach_tracepoint(program_fd, hook))
    if hook.kind is HookKind.RAW_TRACEPOINT:
        return LinuxLink(hook, sys.raw_tracepoint_open(program_fd, hook.name, str(hook), hook.cookie))
    return LinuxLink(hook, *_attach_kprobe(program_fd, hook))


def tracepoint_directory(category: str, event: str) -> str | None:
    """Where tracefs describes the event; None if there is no such event. Raises NotSupportedError without tracefs."""
    if not _NAME.match(category) or not _NAME.match(event) or category.startswith(".") or event.startswith("."):
        return None
    path = f"{feature.tracefs()}/events/{category}/{event}"
    return path if os.path.exists(f"{path}/format") else None


def list_events(category: str = "") -> list[str]:
    """All events as "category:event", of one category or of all, sorted."""
    events = f"{feature.tracefs()}/events"
    categories = [category] if category else sorted(os.listdir(events))
    found: list[str] = []
    for one in categories:
        if _NAME.match(one) and os.path.isdir(f"{events}/{one}"):
            names = sorted(os.listdir(f"{events}/{one}"))
            found += [f"{one}:{name}" for name in names if os.path.exists(f"{events}/{one}/{name}/format")]
    return found


def _attach_tracepoint(program_fd: int, hook: Hook) -> tuple[int, ...]:
    category, _, event = hook.name.partition(":")
    directory = tracepoint_directory(category, event)
    if directory is None:
        raise AttachError(f"attaching to {hook}: this kernel has no such tracepoint{_did_you_mean(hook.name)}", str(hook))
    return _event_with_program(_open_tracepoint(directory, hook), program_fd, hook)


def _open_tracepoint(directory: str, hook: Hook) -> int:
    try:
        with open(f"{directory}/id", encoding="ascii") as file:
            event_id = int(file.read())
    except PermissionError as error:
        raise sys.link_refusal(str(hook), error.errno or 0) from error
    except (OSError, ValueError) as error:
        raise AttachError(f"attaching to {hook}: reading its id in tracefs: {error}", str(hook)) from error
    return sys.perf_event_open(sys.perf_event_attr(_PERF_TYPE_TRACEPOINT, event_id, sample_period=1), -1, 0, str(hook))


def _event_with_program(event_fd: int, program_fd: int, hook: Hook) -> tuple[int, ...]:
    """The descriptors to keep open. A cookie needs a link, of which there is one for an event."""
    try:
        if hook.cookie:
            return sys.perf_link(event_fd, program_fd, hook.cookie, str(hook)), event_fd
        sys.perf_set_bpf(event_fd, program_fd, str(hook))
    except (AttachError, NotSupportedError):
        sys.close(event_fd)
        raise
    return (event_fd,)


def _did_you_mean(name: str) -> str:
    category = name.partition(":")[0]
    events = list_events()
    near = difflib.get_close_matches(name, [one for one in events if one.startswith(f"{category}:")] or events, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _attach_kprobe(program_fd: int, hook: Hook) -> tuple[int, ...]:
    feature.require("kprobe", f"attaching to {hook}")
    pmu_type, return_bit = _kprobe_pmu(hook)
    event_fd = sys.kprobe_event_open(
        pmu_type, hook.name, hook.offset, hook.kind is HookKind.KRETPROBE, return_bit, str(hook))
    return _event_with_program(event_fd, program_fd, hook)


def _kprobe_pmu(hook: Hook) -> tuple[int, int]:
    """The PMU's type, and the bit of config that asks for the return ("config:0")."""
    try:
        with open(f"{feature.KPROBE_PMU}/type", encoding="ascii") as file:
            pmu_type = int(file.read())
        with open(f"{feature.KPROBE_PMU}/format/retprobe", encoding="ascii") as file:
            return pmu_type, int(file.read().partition(":")[2])
    except (OSError, ValueError) as error:
        raise AttachError(f"attaching to {hook}: reading the kprobe PMU: {error}", str(hook)) from error
