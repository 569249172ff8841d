"""bcc.syscall: system calls by number, as bytes."""

from __future__ import annotations

from bcc_py.syscalls import SYSCALL_NAMES

__all__ = ["syscall_name", "syscalls"]

syscalls: dict[int, bytes] = {number: name.encode() for number, name in SYSCALL_NAMES.items()}


def syscall_name(syscall_num: int) -> bytes:
    """The name of a system call; of a number that is none, words that say so."""
    return syscalls.get(syscall_num, b"[unknown: %d]" % syscall_num)
