"""What the running kernel can do: named probes, each found out once by trying.

Input: nothing but the running machine. Output: has(NAME) -> bool, require(NAME) -> None or a
NotSupportedError that names the feature, the first Linux that has it and what to do instead.

Invariant: a probe leaves nothing behind (its descriptors are closed) and is asked at most once in a
process, but for tracefs, which somebody may mount meanwhile. A symbol in kallsyms or a line in the
kernel's configuration is never taken as an answer: kernels exist that list bpf_trampoline_link_prog
and yet refuse every fentry program."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass

from bcc_py.errors import AttachError, LoadError, MapError, NotSupportedError, ObjectError
from bcc_py.linux import sys
from bcc_py.linux.btf_walk import first_function
from cfront.btf import Btf
from cfront.uapi import AttachType, MapType, ProgType

__all__ = ["FEATURES", "KPROBE_LIST", "KPROBE_PMU", "UPROBE_PMU", "VMLINUX_BTF", "Feature", "has", "has_tracefs", "names_in", "require",
           "require_bpf", "tracefs"]

VMLINUX_BTF = "/sys/kernel/btf/vmlinux"
KPROBE_PMU = "/sys/bus/event_source/devices/kprobe"
UPROBE_PMU = "/sys/bus/event_source/devices/uprobe"
KPROBE_LIST = "/sys/kernel/debug/kprobes"
_TRACEFS_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")

_RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit


@dataclass(frozen=True, slots=True)
class Feature:
    """A thing that a kernel may lack. since: the first Linux that has it; hint: what to do without it."""

    name: str
    since: str
    hint: str
    probe: Callable[[], bool]


def _loads(type: ProgType, attach_type: int = 0, btf_id: int = 0) -> bool:
    try:
        fd = sys.prog_load(type, _RETURN_0, name="probe", expected_attach_type=attach_type, attach_btf_id=btf_id)
    except (LoadError, NotSupportedError):
        return False
    sys.close(fd)
    return True


def _creates(type: MapType, key_size: int, value_size: int, max_entries: int) -> bool:
    try:
        fd = sys.map_create(type, key_size, value_size, max_entries, name="probe")
    except (MapError, NotSupportedError):
        return False
    sys.close(fd)
    return True


def _has_raw_tracepoint() -> bool:
    """Opening a raw tracepoint that does not exist says so (ENOENT) where raw tracepoints do."""
    try:
        fd = sys.prog_load(ProgType.RAW_TRACEPOINT, _RETURN_0, name="probe")
    except (LoadError, NotSupportedError):
        return False
    try:
        sys.close(sys.raw_tracepoint_open(fd, "no_such_tracepoint"))
    except AttachError:
        return True
    except NotSupportedError:
        return False
    finally:
        sys.close(fd)
    return True


def _loads_for(type: ProgType, attach_type: AttachType, function: str = "") -> bool:
    """Whether a program for a kernel function (some function, if none is named) loads."""
    try:
        with open(VMLINUX_BTF, "rb") as file:
            content = file.read()
        btf_id = Btf(content).function_id(function) or 0 if function else first_function(content)
    except (OSError, ObjectError):
        return False
    return btf_id > 0 and _loads(type, attach_type, btf_id)


_ROWS = (
    Feature("bpf", "3.18", "run as root or with CAP_BPF and CAP_PERFMON, or use --kernel sim",
            lambda: _loads(ProgType.SOCKET_FILTER)),
    Feature("tracepoint programs", "4.7", "use --kernel sim", lambda: _loads(ProgType.TRACEPOINT)),
    Feature("raw tracepoints", "4.17", "attach to the tracepoint of the same name", _has_raw_tracepoint),
    Feature("kprobe", "4.17", "attach to a tracepoint instead, or run a kernel with CONFIG_KPROBES",
            lambda: os.path.exists(f"{KPROBE_PMU}/type")),
    Feature("uprobe", "4.17", "run a kernel with CONFIG_UPROBE_EVENTS", lambda: os.path.exists(f"{UPROBE_PMU}/type")),
    Feature("uprobe reference counter", "4.20", "name the process, whose semaphores are then written to",
            lambda: os.path.exists(f"{UPROBE_PMU}/format/ref_ctr_offset")),
    Feature("fentry", "5.5", "attach to a tracepoint instead", lambda: _loads_for(ProgType.TRACING, AttachType.TRACE_FENTRY)),
    Feature("fmod_ret", "5.7", "use --kernel sim",
            lambda: _loads_for(ProgType.TRACING, AttachType.MODIFY_RETURN, "security_file_open")),
    Feature("lsm", "5.7", "run a kernel with CONFIG_BPF_LSM", lambda: _loads_for(ProgType.LSM, AttachType.LSM_MAC, "bpf_lsm_bpf")),
    Feature("ring buffer", "5.8", "use BPF_PERF_OUTPUT instead", lambda: _creates(MapType.RINGBUF, 0, 0, 4096)),
    Feature("btf", "5.2", "run a kernel with CONFIG_DEBUG_INFO_BTF, or use --kernel sim",
            lambda: os.access(VMLINUX_BTF, os.R_OK)),
)
FEATURES: dict[str, Feature] = {one.name: one for one in _ROWS}


@functools.cache
def has(name: str) -> bool:
    """Whether the running kernel has the feature of that name (one of FEATURES)."""
    return sys.is_linux() and FEATURES[name].probe()


def require(name: str, doing: str) -> None:
    """Raises NotSupportedError if the running kernel lacks the feature; doing: what it was needed for."""
    if not has(name):
        row = FEATURES[name]
        raise NotSupportedError(f"{doing}: this kernel has no {name} ({row.hint})", name, row.since)


def require_bpf(doing: str) -> None:
    """Raises NotSupportedError with the kernel's own reason if bpf(2) does not take the simplest program."""
    try:
        sys.close(sys.prog_load(ProgType.SOCKET_FILTER, _RETURN_0, name="probe"))
    except (LoadError, NotSupportedError) as error:
        row = FEATURES["bpf"]
        raise NotSupportedError(f"{doing}: {error}", row.name, row.since) from error


def has_tracefs() -> bool:
    return any(os.path.isdir(f"{place}/events") for place in _TRACEFS_PLACES)


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """The functions that one of the kernel's lists names, the last word of each line; none where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return frozenset(words[-1] if words[0].startswith("0x") else words[0] for line in file if (words := line.split()))
    except OSError:
        return frozenset()


def tracefs() -> str:
    """The directory where tracefs is mounted. Raises NotSupportedError with the command that mounts it."""
    for place in _TRACEFS_PLACES:
        if os.path.isdir(f"{place}/events"):
            return place
    closed = next((one for one in _TRACEFS_PLACES if os.path.isdir(one) and not os.access(one, os.R_OK | os.X_OK)), None)
    if closed is not None:
        raise NotSupportedError(f"reading tracepoints: {closed} is not permitted (run as root)", "tracefs", "4.1")
    raise NotSupportedError(
        "reading tracepoints: tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)", "tracefs", "4.1")
