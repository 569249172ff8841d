"""Hooks of the real kernel: a program's descriptor and a Hook in, a link out.

Invariant: a link holds exactly the descriptors that keep the attachment alive; closing them detaches,
and so does the end of the process. Nothing is written to tracefs and nothing is pinned, so a killed
process leaves no probe behind.

Tracepoint: a perf event of the tracepoint's id with the program set on it; the program then runs on
every CPU although the event names CPU 0. Raw tracepoint: BPF_RAW_TRACEPOINT_OPEN. Kprobe and
kretprobe: the kprobe PMU where the kernel has it (the older way through kprobe_events is not used,
for its definitions outlive the process); uprobe and uretprobe: the uprobe PMU, which also keeps the
counter of a USDT probe.

Source: kernel/trace/bpf_trace.c, perf_event_attach_bpf_prog; kernel/events/core.c, perf_kprobe_event_init."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import socket
from collections.abc import Callable

from bcc_py.errors import AttachError, NotSupportedError
from bcc_py.linux import feature, sys
from bcc_py.spec import Hook, HookKind
from cfront.uapi import ProgType

__all__ = ["LinuxLink", "attach", "list_events", "tracepoint_directory"]

_PERF_TYPE_TRACEPOINT = 2
_XDP_MODES = 0xE  # XDP_FLAGS_SKB_MODE, _DRV_MODE, _HW_MODE
_ETH_P_ALL, _SO_ATTACH_BPF = 3, 50
_NAME = re.compile(r"[A-Za-z0-9_.-]+$")
_PROGRAM_TYPES = {
    HookKind.TRACEPOINT: ProgType.TRACEPOINT, HookKind.RAW_TRACEPOINT: ProgType.RAW_TRACEPOINT,
    HookKind.KPROBE: ProgType.KPROBE, HookKind.KRETPROBE: ProgType.KPROBE, HookKind.BTF_TRACEPOINT: ProgType.TRACING,
    HookKind.FENTRY: ProgType.TRACING, HookKind.FEXIT: ProgType.TRACING, HookKind.LSM: ProgType.LSM, HookKind.ITER: ProgType.TRACING,
    HookKind.UPROBE: ProgType.KPROBE, HookKind.URETPROBE: ProgType.KPROBE,
    HookKind.PERF_EVENT: ProgType.PERF_EVENT, HookKind.XDP: ProgType.XDP, HookKind.SOCKET: ProgType.SOCKET_FILTER,
}
# a program for one of these names its target when it is loaded
_LOADED_FOR = (HookKind.BTF_TRACEPOINT, HookKind.FENTRY, HookKind.FEXIT, HookKind.LSM)


class LinuxLink:
    """One attachment. fds: what keeps it. close() detaches, once."""

    def __init__(self, hook: Hook, *fds: int, detach: Callable[[], None] | None = None) -> None:
        self.hook = hook
        self.fds = fds
        self._detach = detach

    def close(self) -> None:
        detach, self._detach = self._detach, None
        if detach is not None:
            detach()
        fds, self.fds = self.fds, ()
        for fd in fds:
            sys.close(fd)


def attach(program_fd: int, type: ProgType, hook: Hook) -> LinuxLink:
    """The link of a loaded program to a hook. Raises AttachError, NotSupportedError."""
    wanted = _PROGRAM_TYPES.get(hook.kind, type)
    if type != wanted:
        raise AttachError(f"attaching to {hook}: it takes a program of type {wanted.name}, not {type.name}", str(hook))
    if hook.kind is HookKind.ITER:
        raise NotSupportedError(f"attaching to {hook}: on Linux, reading iterators is not supported yet", "iterator")
    if hook.kind is HookKind.PERF_EVENT:
        return LinuxLink(hook, *_attach_perf_event(program_fd, hook))
    if hook.kind is HookKind.XDP:
        return LinuxLink(hook, sys.device_link(program_fd, _device(hook), hook.flags & _XDP_MODES, str(hook)))
    if hook.kind is HookKind.SOCKET:
        return LinuxLink(hook, _attach_socket(program_fd, hook))
    if hook.kind is HookKind.TARGET:
        return _attach_target(program_fd, hook)
    if hook.kind in _LOADED_FOR:
        return LinuxLink(hook, sys.raw_tracepoint_open(program_fd, "", str(hook), hook.cookie))
    if hook.kind is HookKind.TRACEPOINT:
        return LinuxLink(hook, *_attach_tracepoint(program_fd, hook))
    if hook.kind is HookKind.RAW_TRACEPOINT:
        return LinuxLink(hook, sys.raw_tracepoint_open(program_fd, hook.name, str(hook), hook.cookie))
    if hook.kind in (HookKind.UPROBE, HookKind.URETPROBE):
        return LinuxLink(hook, *_attach_uprobe(program_fd, hook))
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


def _attach_perf_event(program_fd: int, hook: Hook) -> tuple[int, ...]:
    """An event for each CPU."""
    event = hook.event
    if event is None:
        raise AttachError(f"attaching to {hook}: it says of no event which", str(hook))
    fds: list[int] = []
    try:
        for cpu in (event.cpu,) if event.cpu >= 0 else sys.online_cpus():
            fds.append(sys.perf_event_open(event.attr, event.pid, cpu, str(hook), event.group_fd))
            sys.perf_set_bpf(fds[-1], program_fd, str(hook))
    except (AttachError, NotSupportedError):
        for fd in fds:
            sys.close(fd)
        raise
    return tuple(fds)


def _device(hook: Hook) -> int:
    """Its index."""
    try:
        return socket.if_nametoindex(hook.name)
    except OSError as error:
        near = difflib.get_close_matches(hook.name, [name for _, name in socket.if_nameindex()], 1)
        raise AttachError(
            f"attaching to {hook}: there is no such device{f' (did you mean {near[0]}?)' if near else ''}", str(hook),
            error.errno or errno.ENODEV) from error


def _attach_socket(program_fd: int, hook: Hook) -> int:
    """A socket that receives what the program lets through of the packets on a device, or on all: the descriptor."""
    if hook.name:
        _device(hook)
    try:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.htons(_ETH_P_ALL))
        try:
            if hook.name:
                made.bind((hook.name, 0))
            made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program_fd)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise sys.link_refusal(str(hook), error.errno or 0) from error
    return made.detach()


def _attach_target(program_fd: int, hook: Hook) -> LinuxLink:
    """The link keeps descriptors of its own of both, so that it can detach whatever became of the user's."""
    words = str(hook)
    try:
        target, program = os.dup(int(hook.name)), os.dup(program_fd)
    except OSError as error:
        raise AttachError(f"attaching to {hook}: {error.strerror}", words, error.errno or 0) from error
    link = LinuxLink(hook, target, program)
    try:
        sys.prog_attach(target, program, hook.attach_type, hook.flags, words)
    except (AttachError, NotSupportedError):
        link.close()
        raise

    def detach() -> None:
        with contextlib.suppress(AttachError):  # somebody else has detached it
            sys.prog_detach(target, program, hook.attach_type, words)

    return LinuxLink(hook, target, program, detach=detach)


def _did_you_mean(name: str) -> str:
    category = name.partition(":")[0]
    events = list_events()
    near = difflib.get_close_matches(name, [one for one in events if one.startswith(f"{category}:")] or events, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _attach_kprobe(program_fd: int, hook: Hook) -> tuple[int, ...]:
    feature.require("kprobe", f"attaching to {hook}")
    pmu_type = _pmu_type(feature.KPROBE_PMU, hook)
    config = int(hook.kind is HookKind.KRETPROBE) << _pmu_bit(feature.KPROBE_PMU, "retprobe", hook)
    event_fd = sys.probe_event_open(pmu_type, config, hook.name.encode("utf-8"), hook.offset, -1, str(hook))
    return _event_with_program(event_fd, program_fd, hook)


def _attach_uprobe(program_fd: int, hook: Hook) -> tuple[int, ...]:
    feature.require("uprobe", f"attaching to {hook}")
    pmu_type = _pmu_type(feature.UPROBE_PMU, hook)
    config = int(hook.kind is HookKind.URETPROBE) << _pmu_bit(feature.UPROBE_PMU, "retprobe", hook)
    if hook.counter_offset:
        feature.require("uprobe reference counter", f"attaching to {hook}")
        config |= hook.counter_offset << _pmu_bit(feature.UPROBE_PMU, "ref_ctr_offset", hook)
    event_fd = sys.probe_event_open(pmu_type, config, os.fsencode(hook.name), hook.offset, hook.pid, str(hook))
    return _event_with_program(event_fd, program_fd, hook)


def _pmu_type(pmu: str, hook: Hook) -> int:
    try:
        with open(f"{pmu}/type", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError) as error:
        raise AttachError(f"attaching to {hook}: reading {pmu}/type: {error}", str(hook)) from error


def _pmu_bit(pmu: str, field: str, hook: Hook) -> int:
    """Where in config the field begins ("config:0", "config:32-63")."""
    try:
        with open(f"{pmu}/format/{field}", encoding="ascii") as file:
            return int(file.read().partition(":")[2].partition("-")[0])
    except (OSError, ValueError) as error:
        raise AttachError(f"attaching to {hook}: reading {pmu}/format/{field}: {error}", str(hook)) from error
