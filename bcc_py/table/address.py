"""Bytes of this process at an address that a script gave us, which may be wrong.

Where the system has /proc/self/mem it is asked, for it refuses what is not mapped; a pointer of our own making is followed
nowhere else."""

from __future__ import annotations

import os

__all__ = ["memory_at"]

_LARGEST = 1 << 47  # above it lies nothing of a process


def memory_at(address: int, size: int) -> bytes:
    """size bytes at address, fewer or none where that is not mapped memory."""
    if not 0 < address < _LARGEST:
        return b""
    try:
        fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(fd, size, address)
    except OSError:
        return b""
    finally:
        os.close(fd)
