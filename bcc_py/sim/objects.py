"""Maps whose slots hold objects: programs, maps, devices, CPUs.

The runtime's slot has what programs get and the number that a reader is shown; who gives the object back when its slot
changes stands in the map's Memory. An update names an object by a descriptor of this kernel (maps, programs) or by its number
(devices, CPUs). The simulated kernel has no sockets, control groups or perf events with descriptors of their own: naming
one is EBADF, as with a descriptor that is not open.

Source: kernel/bpf/{arraymap,map_in_map,hashtab,devmap,cpumap}.c, net/core/sock_map.c, net/xdp/xskmap.c,
kernel/bpf/reuseport_array.c."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, Protocol

from bcc_py.errors import MapError
from bcc_py.sim.creation import INNER_MAP
from bcc_py.sim.maps import SimMap
from bcc_py.sim.memory import Runtime
from bcc_py.spec import MapSpec
from cfront.uapi import MapType, ProgType

__all__ = ["OBJECT_TYPES", "HeldProgram", "SimObjectMap"]

_M = MapType
_EXIST, _NOEXIST = 2, 1
_MAX_QUEUE, _MAX_FD = 16384, 0x7FFFFFFF
_U64 = 8
_OBJECT_BYTES = 16  # struct object


class HeldProgram(Protocol):
    """A loaded program, as a program array holds it."""

    @property
    def id(self) -> int: ...
    @property
    def address(self) -> int: ...  # of its struct program
    @property
    def type(self) -> ProgType: ...
    def retain(self) -> None: ...
    def release(self) -> None: ...


class SimObjectMap(SimMap):
    """find: what this kernel has under a descriptor: a map, a program, or None. devices: the numbers of its interfaces."""

    def __init__(
        self, spec: MapSpec, fd: int, runtime: Runtime, state: Any, lock: threading.RLock, cpus: int,
        find: Callable[[int], SimMap | HeldProgram | None], devices: Collection[int],
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
        if isinstance(found, SimMap):
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
        if program > 0 or (ifindex and ifindex not in self._devices):  # a device of the simulated kernel has no program
            self._fail(errno.EINVAL)
        self._hold(key, int(bool(ifindex)), ifindex, None, 0)

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
        if size and program > 0:
            self._fail(errno.EBADF)
        self._hold(key, int(bool(size)), size, None, 0)

    def _put_nothing(self, key: bytes, value: bytes, flags: int) -> None:
        """Of a kind that has no descriptors here."""
        is_socket_map = self.spec.type in (_M.SOCKMAP, _M.SOCKHASH)
        if not is_socket_map:
            is_bad = not 0 <= flags <= _EXIST if self.spec.type in (_M.XSKMAP, _M.REUSEPORT_SOCKARRAY) else flags != 0
            self._check_slot(key, is_bad)
        if (len(value) == _U64 or is_socket_map) and int.from_bytes(value, "little") > _MAX_FD:
            self._fail(errno.EINVAL)
        self._fail(errno.EBADF)

    # -- slots

    def _named(self, value: bytes) -> SimMap | HeldProgram:
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
    **dict.fromkeys((_M.CGROUP_ARRAY, _M.PERF_EVENT_ARRAY, _M.XSKMAP, _M.SOCKMAP, _M.SOCKHASH, _M.REUSEPORT_SOCKARRAY),
                    SimObjectMap._put_nothing),
}
OBJECT_TYPES = tuple(_PUT)
