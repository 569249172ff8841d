"""bcc.perf: perf events as perf_event_open(2) takes them.

Source: struct perf_event_attr in include/uapi/linux/perf_event.h, Linux 6.18."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

from bcc_py.linux import sys as linux_sys

__all__ = ["Perf"]

_U16, _U32, _S32, _U64 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint64
_ATTR_BYTES = 120  # PERF_ATTR_SIZE_VER6
# the bits of the word behind read_format, in order, and how many of each
_BITS = (
    *((name, 1) for name in (
        "disabled", "inherit", "pinned", "exclusive", "exclude_user", "exclude_kernel", "exclude_hv", "exclude_idle", "mmap",
        "comm", "freq", "inherit_stat", "enable_on_exec", "task", "watermark")),
    ("precise_ip", 2),
    *((name, 1) for name in (
        "mmap_data", "sample_id_all", "exclude_host", "exclude_guest", "exclude_callchain_kernel", "exclude_callchain_user",
        "mmap2", "comm_exec", "use_clockid", "context_switch", "write_backward", "namespaces", "ksymbol", "bpf_event",
        "aux_output", "cgroup", "text_poke", "build_id", "inherit_thread", "remove_on_exec", "sigtrap")),
    ("__reserved_1", 26),
)


class _Period(ctypes.Union):
    _fields_ = [("sample_period", _U64), ("sample_freq", _U64)]


class _Wakeup(ctypes.Union):
    _fields_ = [("wakeup_events", _U32), ("wakeup_watermark", _U32)]


class _Config1(ctypes.Union):
    _fields_ = [("bp_addr", _U64), ("kprobe_func", _U64), ("uprobe_path", _U64), ("config1", _U64)]


class _Config2(ctypes.Union):
    _fields_ = [("bp_len", _U64), ("kprobe_addr", _U64), ("probe_offset", _U64), ("config2", _U64)]


class _PerfEventAttr(ctypes.Structure):
    """struct perf_event_attr; size is set."""

    _anonymous_ = ["_period", "_wakeup", "_config1", "_config2"]
    _fields_ = [
        ("type", _U32), ("size", _U32), ("config", _U64), ("_period", _Period), ("sample_type", _U64), ("read_format", _U64),
        *((name, _U64, bits) for name, bits in _BITS),
        ("_wakeup", _Wakeup), ("bp_type", _U32), ("_config1", _Config1), ("_config2", _Config2), ("branch_sample_type", _U64),
        ("sample_regs_user", _U64), ("sample_stack_user", _U32), ("clockid", _S32), ("sample_regs_intr", _U64),
        ("aux_watermark", _U32), ("sample_max_stack", _U16), ("__reserved_2", _U16), ("aux_sample_size", _U32),
        ("__reserved_3", _U32),
    ]

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.size = _ATTR_BYTES

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(self, name):
            warnings.warn(f"perf_event_attr has no {name}: it is set, and the kernel does not see it", stacklevel=2)
        super().__setattr__(name, value)


class Perf:
    """Constants of perf_event_open(2), its attributes, and events that are kept open."""

    perf_event_attr = _PerfEventAttr
    PERF_TYPE_HARDWARE, PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT, PERF_TYPE_HW_CACHE, PERF_TYPE_RAW, PERF_TYPE_BREAKPOINT = range(6)
    PERF_SAMPLE_RAW = 1 << 10
    PERF_FLAG_FD_CLOEXEC = 1 << 3
    PERF_EVENT_IOC_ENABLE = 0x2400
    PERF_EVENT_IOC_SET_FILTER = 0x40082406

    @staticmethod
    def perf_event_open(tpoint_id: int, pid: int = -1, ptype: int = PERF_TYPE_TRACEPOINT, freq: int = 0) -> None:
        """Opens a tracepoint's event (or another ptype's) on every CPU, so that it happens: at each turn, or freq times a
        second. The events stay open as long as the process lives."""
        attr = _PerfEventAttr(type=ptype, config=tpoint_id, sample_type=Perf.PERF_SAMPLE_RAW)
        if freq:
            attr.freq, attr.sample_freq = 1, freq
        else:
            attr.sample_period = 1
        attr.wakeup_events = 0x7FFFFFFF  # nobody reads them, nobody is to be woken
        Perf.perf_custom_event_open(attr, pid)

    @staticmethod
    def perf_custom_event_open(attr: _PerfEventAttr, pid: int = -1) -> None:
        """The same for attributes of one's own. Raises AttachError, NotSupportedError."""
        for cpu in linux_sys.online_cpus():
            fd = linux_sys.perf_event_open(bytes(attr), pid, cpu, f"perf event {attr.type}:{attr.config}")
            linux_sys.ioctl(fd, Perf.PERF_EVENT_IOC_ENABLE, 0, f"perf event {attr.type}:{attr.config}")
