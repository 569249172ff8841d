"""What maps of objects can be told of, by name, in a simulated kernel and on Linux: sockets, control groups, programs, maps,
devices, tasks. The same names are the same kinds of objects in both, so operations and their answers can be compared.

A lookup's answer is translated back: a cookie or an id becomes the name of whose it is."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.isa import assemble
from bcc_py.kernel import Kernel, Map, Program
from bcc_py.linux import sys as linux_sys
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.sockets import CLOSE, ESTABLISHED, UDP, Endpoint, Socket
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import AttachType, MapType, ProgType
from tests.sim.quiet import Script

__all__ = ["FILES", "PROGRAMS", "SOCKETS", "LinuxWorld", "SimWorld", "World", "asked", "storage_spec", "word"]

# TCP listening with SO_REUSEPORT, connected, fresh; UDP fresh, bound with SO_REUSEPORT, bound; unix connected, fresh; AF_XDP
SOCKETS = ("listener", "connected", "fresh", "udp", "udp_group", "udp_bound", "unix", "unix_fresh", "xdp")
FILES = ("file", "same_file", "other_file")  # opened anew, the second is another descriptor of the first
PROGRAMS: dict[str, tuple[ProgType, AttachType]] = {
    "xdp_program": (ProgType.XDP, AttachType.XDP), "other_xdp": (ProgType.XDP, AttachType.XDP),
    "device_program": (ProgType.XDP, AttachType.XDP_DEVMAP), "cpu_program": (ProgType.XDP, AttachType.XDP_CPUMAP),
    "tracepoint": (ProgType.TRACEPOINT, AttachType.CGROUP_INET_INGRESS),
}
_MAPS = {
    "array": MapSpec("i", MapType.ARRAY, 4, 8, 2), "other_array": MapSpec("i", MapType.ARRAY, 4, 8, 2),
    "long_array": MapSpec("i", MapType.ARRAY, 4, 8, 3), "hash": MapSpec("i", MapType.HASH, 4, 8, 2),
}
_UNIFIED = Path("/sys/fs/cgroup/unified")
_AF_XDP, _NOT_OPEN = 44, 1 << 20
_BY_COOKIE = (MapType.SOCKMAP, MapType.SOCKHASH, MapType.REUSEPORT_SOCKARRAY)


def word(number: int) -> bytes:
    return struct.pack("<i", number)


def storage_spec(type: MapType, value_size: int = 8) -> MapSpec:
    """A storage of value_size bytes (4 or 8), with the BTF that Linux wants of it."""
    names = b"\0key\0value\0"
    rows = b"".join(struct.pack("<4I", name, 1 << 24, size, 8 * size) for name, size in ((1, 4), (5, value_size)))
    btf = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(rows), len(rows), len(names)) + rows + names
    return MapSpec("m", type, 4, value_size, 0, 1, key_type=1, value_type=2, btf=btf)


def asked(call: Callable[[], object]) -> object:
    """What a call on a map gives: its answer, or the errno."""
    try:
        return call()
    except KeyNotFound:
        return errno.ENOENT
    except MapError as error:
        return error.errno


class World:
    """One kernel with its objects. fd: the descriptor, or number, that an object's name stands for."""

    kernel: Kernel

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.programs = {name: self._program(name) for name in PROGRAMS}
        self.maps = {name: stack.enter_context(contextlib.closing(self.kernel.create_map(spec))) for name, spec in _MAPS.items()}

    def _program(self, name: str) -> Program:
        type, attach = PROGRAMS[name]
        spec = ProgramSpec("p", "", type, assemble("r0 = 0\nexit"), expected_attach_type=attach)
        return self.stack.enter_context(contextlib.closing(self.kernel.load_program(spec)))

    def fd(self, name: str) -> int:
        if name in self.programs:
            return self.programs[name].fd
        if name in self.maps:
            return self.maps[name].fd
        return self._object_fd(name) if name != "nothing" else _NOT_OPEN

    def _object_fd(self, name: str) -> int:
        raise KeyError(name)

    def owner(self, type: MapType, name: str) -> int:
        """What names this object as the owner of a storage's value."""
        return self.fd(name)

    def reopen(self, name: str) -> None:
        """The socket, or the file, is closed, and there is another of its kind."""
        raise KeyError(name)

    def cookie(self, name: str) -> int:
        raise KeyError(name)

    def object_id(self, name: str) -> int:
        """What a lookup shows a program or a map as."""
        raise KeyError(name)

    def name_of(self, spec: MapSpec, value: bytes) -> object:
        """Whom a looked-up value stands for."""
        if spec.type in _BY_COOKIE:
            number = int.from_bytes(value, "little")
            return next((one for one in SOCKETS if self.cookie(one) == number), value.hex())
        if spec.type in (MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.CPUMAP):
            shown = int.from_bytes(value[4:], "little")
            return value[:4], next((one for one in self.programs if self.object_id(one) == shown), shown)
        number = int.from_bytes(value, "little")
        return next((one for one in (*self.programs, *self.maps) if self.object_id(one) == number), value.hex())

    def lookup(self, map: Map, key: bytes) -> object:
        value = asked(lambda: map.lookup(key))
        return self.name_of(map.spec, value) if isinstance(value, bytes) else value


class SimWorld(World):
    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.kernel = self.sim = stack.enter_context(contextlib.closing(SimKernel(Script(), spec="sim:test")))
        super().__init__(stack)
        self._sockets = {name: self._socket(name) for name in SOCKETS}
        self._groups = {"group": self.sim.cgroups.open(), "root": self.sim.cgroups.open(1)}
        file = self.sim.files.create()
        self._files = {"file": file, "same_file": self.sim.files.reopen(file), "other_file": self.sim.files.create()}
        self._tasks = {name: self.sim.tasks.spawn(pid, name).pid for name, pid in (("task", 5000), ("other_task", 5001))}

    def owner(self, type: MapType, name: str) -> int:
        """A task is named by its pid here, not by a descriptor."""
        return self._tasks[name] if name in self._tasks else self.fd(name)

    def _socket(self, name: str) -> Socket:
        add = self.sim.sockets.add
        nowhere, local = Endpoint("", 0), Endpoint("127.0.0.1", 5000 + SOCKETS.index(name))
        made: dict[str, Callable[[], Socket]] = {
            "listener": lambda: self.sim.sockets.listen(local, is_reuseport=1),
            "connected": lambda: self.sim.sockets.connect(local, Endpoint("127.0.0.1", 5000)),
            "fresh": lambda: add(nowhere), "udp": lambda: add(nowhere, protocol=UDP),
            "udp_group": lambda: add(local, protocol=UDP, is_reuseport=1), "udp_bound": lambda: add(local, protocol=UDP),
            "unix": lambda: add(nowhere, family=socket.AF_UNIX, protocol=0, type=1, state=ESTABLISHED),
            "unix_fresh": lambda: add(nowhere, family=socket.AF_UNIX, protocol=0, type=1, state=CLOSE),
            "xdp": lambda: add(nowhere, family=_AF_XDP, protocol=0, type=3),
        }
        return made[name]()

    def socket(self, name: str) -> Socket:
        return self._sockets[name]

    def _object_fd(self, name: str) -> int:
        return {**self._groups, **self._files, **self._sockets}[name].fd

    def reopen(self, name: str) -> None:
        if name in FILES:
            self.sim.files.close(self._files[name])
            self._files[name] = self.sim.files.reopen(self._files["file"]) if name == "same_file" else self.sim.files.create()
            return
        self._sockets[name].close()
        self._sockets[name] = self._socket(name)

    def cookie(self, name: str) -> int:
        return self._sockets[name].cookie

    def object_id(self, name: str) -> int:
        return int(getattr(self.programs.get(name) or self.maps[name], "id"))  # noqa: B009  the seam's types have no id


class LinuxWorld(World):
    """Sockets of the loopback, and a control group of its own, which is removed."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.kernel = stack.enter_context(contextlib.closing(LinuxKernel()))
        super().__init__(stack)
        self._server = stack.enter_context(socket.socket())
        self._server.bind(("127.0.0.1", 0))
        self._server.listen()
        self._sockets = {name: self._socket(name) for name in SOCKETS}
        stack.callback(lambda: [one.close() for one in self._sockets.values()])
        self._groups = stack.enter_context(_control_groups())
        self._files = {name: os.memfd_create(name) for name in ("file", "other_file")}
        self._files["same_file"] = os.dup(self._files["file"])
        stack.callback(lambda: [os.close(one) for one in self._files.values()])
        self._tasks = {name: stack.enter_context(_child()) for name in ("task", "other_task")}

    def owner(self, type: MapType, name: str) -> int:
        return self._tasks[name] if name in self._tasks else self.fd(name)

    def _socket(self, name: str) -> socket.socket:
        if name == "unix":
            mine, other = socket.socketpair()
            self.stack.callback(other.close)
            return mine
        if name.startswith("unix"):
            return socket.socket(socket.AF_UNIX)
        if name == "xdp":
            return socket.socket(_AF_XDP, socket.SOCK_RAW)
        made = socket.socket(type=socket.SOCK_DGRAM if name.startswith("udp") else socket.SOCK_STREAM)
        if name in ("listener", "udp_group"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if name in ("listener", "udp_group", "udp_bound"):
            made.bind(("127.0.0.1", 0))
        if name == "listener":
            made.listen()
        if name == "connected":
            made.connect(self._server.getsockname())
        return made

    def _object_fd(self, name: str) -> int:
        return {**self._groups, **self._files}[name] if name not in self._sockets else self._sockets[name].fileno()

    def reopen(self, name: str) -> None:
        if name in FILES:
            os.close(self._files[name])
            self._files[name] = os.dup(self._files["file"]) if name == "same_file" else os.memfd_create(name)
            return
        self._sockets[name].close()
        self._sockets[name] = self._socket(name)

    def cookie(self, name: str) -> int:
        return struct.unpack("<Q", self._sockets[name].getsockopt(socket.SOL_SOCKET, 57, 8))[0]  # SO_COOKIE

    def object_id(self, name: str) -> int:
        return linux_sys.map_info_id(self.fd(name))


@contextlib.contextmanager
def _child() -> Iterator[int]:
    """A pidfd of a child that waits for its end."""
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    opened = os.pidfd_open(child.pid)
    try:
        yield opened
    finally:
        os.close(opened)
        child.communicate()


@contextlib.contextmanager
def _control_groups() -> Iterator[dict[str, int]]:
    if not (_UNIFIED / "cgroup.procs").exists():
        raise NotSupportedError("making a cgroup: there is no cgroup2 at /sys/fs/cgroup/unified", "cgroup2")
    own = _UNIFIED / f"bcc_py-objects-{os.getpid()}"
    own.mkdir()
    opened = {"group": os.open(own, os.O_RDONLY), "root": os.open(_UNIFIED, os.O_RDONLY)}
    try:
        yield opened
    finally:
        for one in opened.values():
            os.close(one)
        own.rmdir()
