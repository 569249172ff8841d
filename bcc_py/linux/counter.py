"""Counters of the running Linux in a perf event array: one for each online CPU, for programs to read.

Source: man perf_event_open(2); kernel/bpf/arraymap.c, perf_event_fd_array_get_ptr."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

from bcc_py.errors import AttachError, MapError, NotSupportedError
from bcc_py.linux import sys
from bcc_py.linux.map import Closable

__all__ = ["PerfCounters"]


class PerfCounters:
    """Open counters. type, config: of perf_event_attr; pid: of the process to count, -1 for all. Raises AttachError,
    MapError, NotSupportedError; then nothing stays open."""

    def __init__(self, map_fd: int, name: str, type: int, config: int, pid: int, forget: Callable[[Closable], None]) -> None:
        self._map_fd = map_fd
        self._name = name
        self._forget = forget
        self._fds: dict[int, int] = {}  # by CPU
        try:
            for cpu in sys.online_cpus():
                self._open(sys.perf_event_attr(type, config), pid, cpu)
        except (AttachError, MapError, NotSupportedError):
            self.close()
            raise

    def _open(self, attr: bytes, pid: int, cpu: int) -> None:
        fd = sys.perf_event_open(attr, pid, cpu, f"a counter of {self._name} on cpu {cpu}")
        self._fds[cpu] = fd
        sys.map_update(self._map_fd, struct.pack("=I", cpu), struct.pack("=I", fd), 0, self._name)

    def close_cpu(self, cpu: int) -> None:
        """Takes the CPU's counter out of the map and closes it; nothing where there is none."""
        fd = self._fds.pop(cpu, -1)
        if fd >= 0:
            with contextlib.suppress(MapError):  # never put in, or the map is closed, which empties it
                sys.map_delete(self._map_fd, struct.pack("=I", cpu), self._name)
            sys.close(fd)

    def close(self) -> None:
        """Closes all, once."""
        for cpu in list(self._fds):
            self.close_cpu(cpu)
        self._forget(self)
