"""Maps whose slots hold objects: programs, maps, devices, CPUs, control groups, sockets.

The runtime's slot has what programs get and the number that a reader is shown; who gives the object back when its slot
changes stands in the map's Memory. An update names an object by a descriptor of this kernel (maps, programs, sockets, control
groups) or by its number (devices, CPUs). Sockets are put in by the runtime (sockmaps.c), for programs do so too. Perf events
have no descriptors here: naming one is EBADF; the rings of perf event arrays put themselves in.

Source: kernel/bpf/{arraymap,map_in_map,hashtab,devmap,cpumap}.c, net/core/sock_map.c, net/xdp/xskmap.c,
kernel/bpf/reuseport_array.c."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, Protocol

from bcc_py.errors import MapError
from bcc_py.sim.cgroups import Cgroup
from bcc_py.sim.creation import INNER_MAP
from bcc_py.sim.inodes import File
from bcc_py.sim.maps import SimMap
from bcc_py.sim.memory import Runtime
from bcc_py.sim.sockets import Socket
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import AttachType, MapType, ProgType

__all__ = ["OBJECT_TYPES", "HeldProgram", "Named", "SimObjectMap"]

_M = MapType
_EXIST, _NOEXIST = 2, 1
_MAX_QUEUE, _MAX_FD = 16384, 0x7FFFFFFF
_U64 = 8
_OBJECT_BYTES = 16  # struct object
_MASK64 = (1 << 64) - 1


class HeldProgram(Protocol):
    """A loaded program, as maps hold it."""

    spec: ProgramSpec

    @property
    def id(self) -> int: ...
    @property
    def address(self) -> int: ...  # of its struct program
    @property
    def type(self) -> ProgType: ...
    def retain(self) -> None: ...
    def release(self) -> None: ...


Named = SimMap | HeldProgram | Socket | Cgroup | File


class SimObjectMap(SimMap):
    """find: what this kernel has open under a descriptor, or None. devices: the numbers of its interfaces."""

    def __init__(
        self, spec: MapSpec, fd: int, runtime: Runtime, state: Any, lock: threading.RLock, cpus: int,
        find: Callable[[int], Named | None], devices: Collection[int],
    ) -> None:
        self._find = find
        self._devices = devices
        self._cpus = cpus
        super().__init__(spec, fd, runtime, state, lock, cpus)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        with self._memory.lock:
            self._check(key)
            self._check_value(value)
            self._check_update(flags)
            _PUT[self.spec.type](self, key, value, flags)

    @property
    def row_bytes(self) -> int:
        return _OBJECT_BYTES

    def _shown(self, value: Any) -> bytes:
        return self.runtime.copy_out(value + 8, self.value_bytes)

    # -- the kinds; each raises MapError

    def _put_program(self, key: bytes, value: bytes, flags: int) -> None:
        self._check_slot(key, flags != 0)
        found = self._named(value)
        if isinstance(found, (SimMap, Socket, Cgroup, File)):
            self._fail(errno.EINVAL)
        if self._memory.owner not in (None, found.type):
            self._fail(errno.EINVAL)
        self._memory.owner = found.type
        found.retain()
        self._hold(key, found.address, found.id, found.release, 0)

    def _put_map(self, key: bytes, value: bytes, flags: int) -> None:
        is_hash = self.spec.type is _M.HASH_OF_MAPS
        if not is_hash:
            self._check_slot(key, flags != 0)
        found = self._named(value)
        if not isinstance(found, SimMap) or not self._is_like_inner(found.spec):
            self._fail(errno.EINVAL)
        if is_hash and not 0 <= flags <= _EXIST:
            self._fail(errno.EINVAL)
        found.retain()
        try:
            self._hold(key, self.runtime.address_of(found.pointer), found.id, found.release, flags)
        except MapError:
            found.release()
            raise

    def _is_like_inner(self, found: MapSpec) -> bool:
        wanted = self.spec.inner
        if wanted is None:
            return False
        is_alike = ((found.type, found.key_size, found.value_size, found.flags)
                    == (wanted.type, wanted.key_size, wanted.value_size, wanted.flags))
        is_sized = found.type is not _M.ARRAY or bool(wanted.flags & INNER_MAP) or found.max_entries == wanted.max_entries
        return is_alike and is_sized

    def _put_device(self, key: bytes, value: bytes, flags: int) -> None:
        ifindex, program = _words(value)
        is_hash = self.spec.type is _M.DEVMAP_HASH
        if not 0 <= flags <= _EXIST or (is_hash and not ifindex):
            self._fail(errno.EINVAL)
        if not is_hash:
            self._check_slot(key, False)
        if flags == _NOEXIST and (not is_hash or super().lookup(key) is not None):
            self._fail(errno.EEXIST)
        if (program > 0 and not ifindex) or (ifindex and ifindex not in self._devices):
            self._fail(errno.EINVAL)
        self._hold_number(key, ifindex, program, AttachType.XDP_DEVMAP, errno.EINVAL)

    def _put_cpu(self, key: bytes, value: bytes, flags: int) -> None:
        size, program = _words(value)
        if not 0 <= flags <= _EXIST:
            self._fail(errno.EINVAL)
        self._check_slot(key, False)
        if flags == _NOEXIST:
            self._fail(errno.EEXIST)
        if not 0 <= size <= _MAX_QUEUE:
            self._fail(errno.EOVERFLOW)
        if int.from_bytes(key, "little") >= self._cpus:
            self._fail(errno.ENODEV)
        self._hold_number(key, size, program if size else 0, AttachType.XDP_CPUMAP, errno.ENOMEM)

    def _hold_number(self, key: bytes, number: int, fd: int, wanted: AttachType, refusal: int) -> None:
        """A device or a queue (0: none), with the program that runs on what is sent there, if fd is positive."""
        if fd <= 0:
            self._hold(key, int(bool(number)), number, None, 0)
            return
        found = self._find(fd)
        if found is None or isinstance(found, (SimMap, Socket, Cgroup, File)):
            self._fail(refusal)
        if found.type is not ProgType.XDP or found.spec.expected_attach_type is not wanted:
            self._fail(refusal)
        found.retain()
        self._hold(key, 1, number | found.id << 32, found.release, 0)

    def _put_cgroup(self, key: bytes, value: bytes, flags: int) -> None:
        self._check_slot(key, flags != 0)
        found = self._named(value)
        if not isinstance(found, Cgroup):
            self._fail(errno.EBADF)
        self._hold(key, found.id, found.id, None, 0)

    def _put_event(self, key: bytes, value: bytes, flags: int) -> None:
        self._check_slot(key, flags != 0)
        self._fail(errno.EBADF)

    def _put_socket(self, key: bytes, value: bytes, flags: int) -> None:
        is_socket_map = self.spec.type in (_M.SOCKMAP, _M.SOCKHASH)
        if not is_socket_map:
            self._check_slot(key, not 0 <= flags <= _EXIST)
        if (len(value) == _U64 or is_socket_map) and int.from_bytes(value, "little") > _MAX_FD:
            self._fail(errno.EINVAL)
        found = self._named(value)
        if not isinstance(found, Socket):
            self._fail(errno.ENOTSOCK)
        code = found.put_in(self.pointer, key, flags & _MASK64)
        if code < 0:
            self._fail(-code)

    # -- slots

    def _named(self, value: bytes) -> Named:
        found = self._find(int.from_bytes(value, "little"))
        if found is None:
            self._fail(errno.EBADF)
        return found

    def _check_slot(self, key: bytes, has_bad_flags: bool) -> None:
        if has_bad_flags:
            self._fail(errno.EINVAL)
        if int.from_bytes(key, "little") >= self.spec.max_entries:
            self._fail(errno.E2BIG)

    def _hold(self, key: bytes, pointer: int, shown: int, give_back: Callable[[], None] | None, flags: int) -> None:
        """The object goes where key says; what was there is given back."""
        code = self.runtime.object_put(self.pointer, key, pointer, shown, flags)
        if code < 0:
            self._fail(-code)
        self._let_go(key)
        if give_back is not None:
            self._memory.objects[key] = give_back

    def _fail(self, code: int) -> NoReturn:
        raise MapError(f"updating map {self.spec.name}", self.spec.name, code)


def _words(value: bytes) -> tuple[int, int]:
    """The first two 32-bit numbers, the second signed."""
    return int.from_bytes(value[:4], "little"), int.from_bytes(value[4:8], "little", signed=True)


_PUT: Mapping[MapType, Callable[[SimObjectMap, bytes, bytes, int], None]] = {
    _M.PROG_ARRAY: SimObjectMap._put_program, _M.ARRAY_OF_MAPS: SimObjectMap._put_map, _M.HASH_OF_MAPS: SimObjectMap._put_map,
    _M.DEVMAP: SimObjectMap._put_device, _M.DEVMAP_HASH: SimObjectMap._put_device, _M.CPUMAP: SimObjectMap._put_cpu,
    _M.CGROUP_ARRAY: SimObjectMap._put_cgroup, _M.PERF_EVENT_ARRAY: SimObjectMap._put_event,
    **dict.fromkeys((_M.XSKMAP, _M.SOCKMAP, _M.SOCKHASH, _M.REUSEPORT_SOCKARRAY), SimObjectMap._put_socket),
}
OBJECT_TYPES = tuple(_PUT)
