"""Storages: a map's value for each task, control group, socket or inode.

Programs find a value by the object's kernel address. Outside programs Linux names the object by a descriptor (a pidfd, a
directory of the cgroup file system, a socket, a file). Here sockets, control groups and files have descriptors of the
simulated kernel (sockets.py, cgroups.py, inodes.py), and a task is named by its pid. What has a descriptor and is no file
has an inode on Linux, and none here: EBADF.

Source: kernel/bpf/bpf_{local,task,cgrp,inode}_storage.c, net/core/bpf_sk_storage.c, kernel/bpf/local_storage.c."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

from bcc_py.sim.creation import ENOTSUPP
from bcc_py.sim.maps import SimMap
from bcc_py.sim.memory import Runtime
from bcc_py.spec import MapSpec
from cfront.uapi import MapType

__all__ = ["CGROUP_STORAGE_TYPES", "STORAGE_TYPES", "SimStorageMap"]

STORAGE_TYPES = (MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE)
CGROUP_STORAGE_TYPES = (MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE)
_OWNER_BYTES = 8


class SimStorageMap(SimMap):
    """owner: the address of the object that a key names, or a negative errno."""

    def __init__(
        self, spec: MapSpec, fd: int, runtime: Runtime, state: Any, lock: threading.RLock, cpus: int,
        owner: Callable[[MapType, int], int],
    ) -> None:
        self._owner = owner
        super().__init__(spec, fd, runtime, state, lock, cpus)

    def drop(self, address: int) -> None:
        """The object at this address is gone."""
        with self._memory.lock:
            if self.pointer is not None:
                self.runtime.storage_drop(self.pointer, address)

    def _runtime_key(self, key: bytes) -> bytes:
        if self.spec.type in CGROUP_STORAGE_TYPES:
            return key[:_OWNER_BYTES]
        address = self._owner(self.spec.type, int.from_bytes(key, "little"))
        self._raise_for(min(address, 0), "naming the owner in")
        return address.to_bytes(_OWNER_BYTES, "little")

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        with self._memory.lock:
            self._check(key)
            return self._lookup_raw(self._runtime_key(key), flags)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        with self._memory.lock:
            self._check(key)
            self._check_value(value)
            self._check_update(flags)
            raw = self._runtime_key(key)
            if self.spec.type in CGROUP_STORAGE_TYPES:
                self._check_exists(raw, flags)
            self._raise_for(self.runtime.map_write(self.pointer, raw, value, flags), "updating")

    def _check_exists(self, raw: bytes, flags: int) -> None:
        """A control group's value is made by its programs only."""
        if flags & ~6 or (flags and self.spec.type is MapType.PERCPU_CGROUP_STORAGE and flags not in (0, 2)):
            self._raise_for(-errno.EINVAL, "updating")
        if self._lookup_raw(raw, 0) is None:
            self._raise_for(-errno.ENOENT, "updating")

    def delete(self, key: bytes) -> None:
        with self._memory.lock:
            self._check(key)
            if self.spec.type in CGROUP_STORAGE_TYPES:
                self._raise_for(-errno.EINVAL, "deleting a key of")
            code = self.runtime.map_take(self.pointer, self._runtime_key(key), self.runtime.ffi.NULL, 0)
            if code == -errno.ENOENT:
                raise self._no_such(key)
            self._raise_for(code, "deleting a key of")

    def next_key(self, key: bytes | None) -> bytes | None:
        with self._memory.lock:
            self._check(key)
            if self.spec.type not in CGROUP_STORAGE_TYPES:
                self._raise_for(-ENOTSUPP, "iterating over")
            following = self._next_raw(None if key is None else key[:_OWNER_BYTES], _OWNER_BYTES)
            return None if following is None else following.ljust(self.spec.key_size, b"\0")
