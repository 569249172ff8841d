"""Asks the running Linux for a verdict: bpf(2) through ctypes, nothing shared with the code under test.

load() gives errno and the kernel's log. Only maps and programs are created, nothing is attached, and
every descriptor is closed again. Raises NotSupportedError where bpf(2) is not there or not permitted."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bcc_py.errors import NotSupportedError
from bcc_py.isa import PSEUDO_CALL, PSEUDO_FUNC, Insn, encode
from bcc_py.spec import MapSpec
from cfront.uapi import AttachType, ProgType
from tests.verifier.btf_writer import function_types

_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 0)
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _BTF_LOAD, _MAP_FREEZE = 0, 2, 5, 18, 22
_CAPABILITIES = {"net_admin": 12, "sys_admin": 21, "perfmon": 38, "bpf": 39}
# enough for log level 2 of the programs in the tests
_LOG_BYTES = 1 << 22


@dataclass(frozen=True)
class Verdict:
    """errno: 0 when the kernel took the program."""

    errno: int
    log: str

    @property
    def sentence(self) -> str:
        """The kernel's reason: the last line that is neither a count nor blank."""
        rows = [row for row in self.log.splitlines() if row and not row.startswith(("processed ", "verification time", "stack depth", "mark_precise"))]
        return rows[-1] if rows else ""


def _bpf(command: int, attr: bytes) -> int:
    if not _SYSCALL or not sys.platform.startswith("linux"):
        raise NotSupportedError("bpf(2) is not on this system", feature="bpf")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attr, 144)
    got = libc.syscall(_SYSCALL, command, buffer, 144)
    if got < 0:
        return -ctypes.get_errno()
    return int(got)


def _fill(fd: int, spec: MapSpec) -> None:
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(spec.initial, len(spec.initial))
    _bpf(_MAP_UPDATE, struct.pack("<I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0))
    if spec.flags & 1 << 7:
        _bpf(_MAP_FREEZE, struct.pack("<I", fd))


def _create(spec: MapSpec) -> int:
    """With the types of its value, where the kernel takes them for such a map."""
    attr = struct.pack(
        "<5I8x16s4x", spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags, spec.name.encode()[:15])
    types = _load_types(spec.btf) if spec.btf else -1
    if types < 0:
        return _bpf(_MAP_CREATE, attr)
    fd = _bpf(_MAP_CREATE, attr + struct.pack("<3I", types, spec.key_type, spec.value_type))
    os.close(types)
    return fd if fd >= 0 else _bpf(_MAP_CREATE, attr)


def _load_types(btf: bytes) -> int:
    content = ctypes.create_string_buffer(btf, len(btf))
    return _bpf(_BTF_LOAD, struct.pack("<QQI", ctypes.addressof(content), 0, len(btf)))


@contextmanager
def _described(insns: Sequence[Insn]) -> Iterator[bytes]:
    """What the attributes say of the functions, which a program whose functions' addresses are taken must say."""
    if not has_callbacks(insns):
        yield bytes(20)
        return
    starts = function_starts(insns)
    btf, ids = function_types(len(starts))
    rows = b"".join(struct.pack("<2I", *one) for one in zip(starts, ids, strict=True))
    table = ctypes.create_string_buffer(rows, len(rows))
    types = _load_types(btf)
    try:
        yield struct.pack("<2IQI", types, 8, ctypes.addressof(table), len(starts))
    finally:
        os.close(types)


def has_callbacks(insns: Iterable[Insn]) -> bool:
    return any(one.code == 0x18 and one.src == PSEUDO_FUNC for one in insns)


def function_starts(insns: Sequence[Insn]) -> list[int]:
    """The slots where functions begin."""
    calls = {slot + 1 + one.imm for slot, one in enumerate(insns) if one.code == 0x85 and one.src == PSEUDO_CALL}
    return sorted({0} | calls | {
        slot + 1 + one.imm for slot, one in enumerate(insns) if one.code == 0x18 and one.src == PSEUDO_FUNC})


@contextmanager
def maps_of(specs: Iterable[MapSpec]) -> Iterator[list[int]]:
    """Live maps of the running kernel, one descriptor for each spec."""
    fds: list[int] = []
    try:
        for one in specs:
            fd = _create(one)
            if fd < 0:
                if -fd in (errno.EPERM, errno.ENOSYS):
                    raise NotSupportedError(f"creating a map: {os.strerror(-fd)}", feature="bpf")
                raise OSError(-fd, f"creating {one}")
            fds.append(fd)
            if one.initial:
                _fill(fd, one)
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def load(
    insns: Iterable[Insn], type: ProgType, license: str = "GPL",
    attach_type: AttachType = AttachType.NONE, log_level: int = 2, flags: int = 0,
    capabilities: Sequence[str] | None = None,
) -> Verdict:
    """The kernel's verdict on insns, whose map loads name live descriptors. capabilities: those that the loader has
    ("bpf", "perfmon", ...), all of the process's where None."""
    if capabilities is not None:
        return _in_child(capabilities, lambda: load(insns, type, license, attach_type, log_level, flags))
    insns = tuple(insns)
    code = encode(insns)
    text = ctypes.create_string_buffer(code, max(len(code), 8))
    terms = ctypes.create_string_buffer(license.encode())
    log = ctypes.create_string_buffer(_LOG_BYTES)
    with _described(insns) as functions:
        attr = struct.pack(
            "<2I2Q2IQ2I16s2I", type, len(code) // 8, ctypes.addressof(text), ctypes.addressof(terms), log_level, _LOG_BYTES,
            ctypes.addressof(log), 0, flags, b"oracle", 0, max(attach_type, 0),
        )
        fd = _bpf(_PROG_LOAD, attr + functions)
    if fd >= 0:
        os.close(fd)
    elif fd == -errno.EPERM and not log.value:
        raise NotSupportedError("loading a program is not permitted", feature="bpf")
    return Verdict(max(-fd, 0), log.value.decode("utf-8", "replace"))


def _in_child(capabilities: Sequence[str], ask: Callable[[], Verdict]) -> Verdict:
    """ask() in a child that has given up every other capability."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            _keep(capabilities)
            verdict = ask()
            answer = f"{verdict.errno} {verdict.log}"
        except BaseException as error:  # the child must end here, whatever happens
            answer = f"0 {error!r}"
        with os.fdopen(writing, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number, _, log = pipe.read().partition(" ")
    os.waitpid(child, 0)
    return Verdict(int(number), log)


def _keep(capabilities: Sequence[str]) -> None:
    bits = sum(1 << _CAPABILITIES[one] for one in capabilities)
    header = struct.pack("<II", 0x20080522, 0)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    data = struct.pack("<6I", low, low, 0, high, high, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(data)):
        raise OSError(ctypes.get_errno(), "giving up capabilities")


def with_fds(insns: tuple[Insn, ...], fds: Sequence[int]) -> tuple[Insn, ...]:
    """map[fd:N] becomes the Nth descriptor."""
    return tuple(
        one._replace(imm=fds[one.imm - 1]) if one.code == 0x18 and one.src in (1, 2) and 0 < one.imm <= len(fds) else one
        for one in insns
    )


def is_permitted() -> bool:
    """True when a two-instruction program loads."""
    try:
        return load([Insn(0xB7), Insn(0x95)], ProgType.SOCKET_FILTER).errno == 0
    except NotSupportedError:
        return False
