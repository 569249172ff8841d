"""Maps of structs of functions: what a program's author gives the kernel as its own congestion control.

The value is a struct of kernel.h: a state, a count, and the struct of functions, whose members are told as descriptors of
STRUCT_OPS programs. Key 0 is the only one. An update checks every member and registers the struct; a deletion takes it back,
after which the map cannot be used again. Nothing in a simulated kernel calls the functions.

What is not done: maps that are registered by links (BPF_F_LINK) are refused. A registered map ends with its last handle
here; Linux keeps it until it is deleted.

Source: kernel/bpf/bpf_struct_ops.c, net/ipv4/bpf_tcp_ca.c, net/bpf/bpf_dummy_struct_ops.c."""

from __future__ import annotations

import errno
import string
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from bcc_py.errors import MapError, NotSupportedError
from bcc_py.sim.cgroups import Cgroup
from bcc_py.sim.creation import ENOTSUPP, LINK
from bcc_py.sim.inodes import File
from bcc_py.sim.maps import SimMap
from bcc_py.sim.memory import Runtime
from bcc_py.sim.objects import HeldProgram, Named
from bcc_py.sim.sockets import Socket
from bcc_py.spec import MapSpec
from cfront.btf import TypeSource
from cfront.ctype import Function, Pointer, Record
from cfront.uapi import ProgType

__all__ = ["CONGESTION_CONTROLS", "SimStructOpsMap"]

CONGESTION_CONTROLS = frozenset(("cubic", "reno"))  # that a kernel has of its own
_PREFIX = "bpf_struct_ops_"
_TCP, _DUMMY = "tcp_congestion_ops", "bpf_dummy_ops"
_INIT, _IN_USE, _TO_BE_FREED = 0, 1, 2
_COMMON = struct.Struct("<iI")  # references, state
_NAME_LETTERS = frozenset((string.ascii_letters + string.digits + "_.").encode())
_NAME_BYTES, _TCP_FLAGS = 16, 3
_NEEDED = (("ssthresh",), ("undo_cwnd",), ("cong_avoid", "cong_control"))


@dataclass(slots=True)
class _Registration:
    """state: as the value has it. programs: those that its functions are."""

    state: int = _INIT
    value: bytes = b""
    name: str = ""
    programs: list[HeldProgram] = field(default_factory=list)


class SimStructOpsMap(SimMap):
    """find: what the kernel has open under a descriptor. taken: the names of the congestion controls there are."""

    def __init__(
        self, spec: MapSpec, fd: int, runtime: Runtime, state: Any, lock: threading.RLock, cpus: int,
        find: Callable[[int], Named | None], types: TypeSource, taken: set[str],
    ) -> None:
        self._find = find
        self._taken = taken
        self._types = types
        self._own = _Registration()
        super().__init__(spec, fd, runtime, state, lock, cpus)

    def _made(self, cpus: int) -> Any:
        spec = self.spec
        made = super()._made(cpus)
        value = self._types.find("struct", spec.kernel_value)
        is_known = isinstance(value, Record) and spec.kernel_value in (_PREFIX + _TCP, _PREFIX + _DUMMY)
        refused = ENOTSUPP if not is_known else errno.EINVAL if value.size != spec.value_size else 0  # type: ignore[union-attr]
        if refused or spec.flags & LINK:
            self.runtime.map_free(self._state, made)
        if refused:
            raise MapError(f"creating map {spec.name} ({spec.kernel_value or 'no struct'}, {spec.value_size} bytes)", spec.name, refused)
        if spec.flags & LINK:
            raise NotSupportedError(f"creating map {spec.name}: a simulated kernel has no links of structs of functions", "struct_ops link")
        return made

    # -- the seam

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        with self._memory.lock:
            self._check(key)
            self._check_flags(flags, "looking up a key in")
            if any(key):
                return None
            if self._own.state == _INIT:
                return bytes(self.spec.value_size)
            return _COMMON.pack(self._own.state == _IN_USE, self._own.state) + self._own.value[_COMMON.size :]

    def next_key(self, key: bytes | None) -> bytes | None:
        with self._memory.lock:
            self._check(key)
            return bytes(self.spec.key_size) if key is None or any(key) else None

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        with self._memory.lock:
            self._check(key)
            self._check_value(value)
            if flags or any(key):
                self._fail(errno.EINVAL if flags else errno.E2BIG)
            ops, first = self._ops()
            holes = _holes(self._record(self.spec.kernel_value), value) + _holes(ops, value[first:])
            if any(holes) or any(value[: _COMMON.size]):
                self._fail(errno.EINVAL)
            if self._own.state != _INIT:
                self._fail(errno.EBUSY)
            if ops.name == _DUMMY:  # it is for test runs: nobody registers one
                self._fail(errno.EOPNOTSUPP)
            self._register(ops, value, first)

    def delete(self, key: bytes) -> None:
        with self._memory.lock:
            self._check(key)
            if self._own.state == _INIT:
                raise self._no_such(key)
            if self._own.state == _TO_BE_FREED:
                raise MapError(f"deleting a key of map {self.spec.name}", self.spec.name, errno.EINPROGRESS)
            self._own.state = _TO_BE_FREED
            self._taken.discard(self._own.name)

    def freeze(self) -> None:
        with self._memory.lock:
            self._check(None)
            self._raise_for(-ENOTSUPP, "freezing")

    # -- registering

    def _record(self, name: str) -> Record:
        found = self._types.find("struct", name)
        assert isinstance(found, Record), f"kernel.h declares struct {name}"
        return found

    def _ops(self) -> tuple[Record, int]:
        """The struct of functions, and where it is in the value."""
        member = self._record(self.spec.kernel_value).member("data")
        assert member is not None and isinstance(member.type, Record), "the value of a struct of functions has it as data"
        return member.type, member.offset

    def _register(self, ops: Record, value: bytes, first: int) -> None:
        shown = bytearray(value)
        programs: dict[str, HeldProgram] = {}
        name = ""
        for index, one in enumerate(ops.fields or ()):
            at = first + one.offset
            content = value[at : at + one.type.size]
            if one.name == "name":
                name = self._name(content)
            elif one.name == "flags":
                if int.from_bytes(content, "little") & ~_TCP_FLAGS:
                    self._fail(errno.EINVAL)
            elif one.name == "owner" and any(content):
                return  # Linux stops here without an error, and nothing is registered
            elif not (isinstance(one.type, Pointer) and isinstance(one.type.target, Function)):
                if any(content):
                    self._fail(errno.EINVAL)
            elif number := int.from_bytes(content[:4], "little", signed=True):
                programs[one.name] = self._function(number, ops.name, index)
                shown[at : at + 8] = programs[one.name].id.to_bytes(8, "little")
        if not all(any(one in programs for one in names) for names in _NEEDED):
            self._fail(errno.EINVAL)
        if name in self._taken:
            self._fail(errno.EEXIST)
        for held in programs.values():
            held.retain()
        self._taken.add(name)
        self._own.state, self._own.value, self._own.name, self._own.programs = _IN_USE, bytes(shown), name, list(programs.values())

    def _name(self, content: bytes) -> str:
        name, end, _ = content[:_NAME_BYTES].partition(b"\0")
        if not name or not end or not _NAME_LETTERS.issuperset(name):
            self._fail(errno.EINVAL)
        return name.decode()

    def _function(self, fd: int, ops: str, index: int) -> HeldProgram:
        found = self._find(fd) if fd > 0 else None
        if found is None:
            self._fail(errno.EBADF)
        if isinstance(found, (SimMap, Socket, Cgroup, File)) or found.type is not ProgType.STRUCT_OPS:
            self._fail(errno.EINVAL)
        if found.spec.attach_to != ops or found.spec.expected_attach_type != index:
            self._fail(errno.EINVAL)
        return found

    def _clear(self) -> None:
        """Its last user is gone: it is registered no more, and its programs are given back."""
        if self._own.state == _IN_USE:
            self._taken.discard(self._own.name)
        for one in self._own.programs:
            one.release()
        self._own = _Registration()

    def _fail(self, code: int) -> NoReturn:
        raise MapError(f"updating map {self.spec.name}", self.spec.name, code)


def _holes(record: Record, content: bytes) -> bytes:
    """The bytes that belong to no member."""
    covered = {at for one in record.fields or () for at in range(one.offset, one.offset + one.type.size)}
    return bytes(byte for at, byte in enumerate(content[: record.size]) if at not in covered)
