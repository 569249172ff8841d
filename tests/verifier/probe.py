"""Asks the running Linux thousands of small questions: bpf(2) with buffers that are made once.

Input: raw instructions, a program type, an expected attach type. Output: errno and the log's text (at most
LOG_BYTES of it, level 1: only what the kernel says of a fault). Programs are loaded and closed again; nothing is attached.
asked_as() runs a question in a child process that has kept only the capabilities named."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import struct
import sys
from collections.abc import Callable
from typing import Any

from bcc_py.errors import NotSupportedError
from bcc_py.isa import Insn, encode
from cfront.uapi import AttachType, ProgType

LOG_BYTES = 1 << 16
SLEEPABLE = 1 << 4
CAPABILITIES = {"net_admin": 12, "sys_admin": 21, "perfmon": 38, "bpf": 39}
_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 0)
_CAPSET = {"x86_64": 126, "aarch64": 91}.get(platform.machine(), 0)
_CAP_VERSION_3 = 0x20080522
_PROG_LOAD = 5


class Prober:
    """One set of buffers; load() may be called as often as wanted."""

    def __init__(self) -> None:
        if not _SYSCALL or not sys.platform.startswith("linux"):
            raise NotSupportedError("bpf(2) is not on this system", feature="bpf")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._log = ctypes.create_string_buffer(LOG_BYTES)
        self._attr = ctypes.create_string_buffer(144)

    def load(
        self, insns: list[Insn], type: ProgType, attach_type: AttachType = AttachType.NONE, *,
        license: bytes = b"GPL", flags: int = 0, attach_btf_id: int = 0, log_level: int = 1,
    ) -> tuple[int, str]:
        """errno (0: taken) and the log."""
        code = encode(insns)
        text, terms = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(license)
        self._log[0] = b"\0"
        head = struct.pack(
            "<2I2Q2IQ2I16s2I", type, len(code) // 8, ctypes.addressof(text), ctypes.addressof(terms), log_level,
            LOG_BYTES if log_level else 0, ctypes.addressof(self._log) if log_level else 0, 0, flags, b"probe", 0,
            max(attach_type, 0),
        )
        ctypes.memset(self._attr, 0, 144)
        ctypes.memmove(self._attr, head, len(head))
        struct.pack_into("<I", self._attr, 108, attach_btf_id)
        fd = self._libc.syscall(_SYSCALL, _PROG_LOAD, self._attr, 144)
        if fd >= 0:
            os.close(fd)
            return 0, self._log.value.decode("utf-8", "replace")
        return ctypes.get_errno(), self._log.value.decode("utf-8", "replace")


def asked_as(privileges: frozenset[str], question: Callable[[Prober], Any]) -> Any:
    """What question answers (as JSON) in a child process with only these capabilities."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_fd)
            _keep(privileges)
            with os.fdopen(write_fd, "w") as out:
                json.dump(question(Prober()), out)
            status = 0
        finally:
            os._exit(status)
    os.close(write_fd)
    with os.fdopen(read_fd) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(answer)


def _keep(privileges: frozenset[str]) -> None:
    kept = sum(1 << CAPABILITIES[one] for one in privileges)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("<Ii", _CAP_VERSION_3, 0)
    sets = struct.pack("<6I", low, low, 0, high, high, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_CAPSET, ctypes.create_string_buffer(header), ctypes.create_string_buffer(sets)):
        raise NotSupportedError(f"dropping capabilities: {os.strerror(ctypes.get_errno())}", feature="capabilities")
