"""Control groups of the simulated kernel, as descriptors name them.

There are the root and the one group that tasks are in (task.py makes them). A Cgroup is what a descriptor of a group's
directory is on Linux: cgroup arrays and storages of control groups are told its fd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bcc_py.errors import MapError
from bcc_py.sim.task import CGROUP_ID, ROOT_CGROUP_ID

__all__ = ["Cgroup", "CgroupTable"]

_PLACES = {ROOT_CGROUP_ID: 0, CGROUP_ID: 1}  # in the runtime's list of groups
_ENOENT = 2


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A descriptor of a control group. id: as bpf_get_current_cgroup_id gives it. address: of its struct cgroup."""

    fd: int
    id: int
    address: int


class CgroupTable:
    """The open descriptors of control groups. state: the runtime's struct sim; take_fd: gives a new descriptor."""

    def __init__(self, state: Any, take_fd: Callable[[], int]) -> None:
        self._state = state
        self._take_fd = take_fd
        self._open: dict[int, Cgroup] = {}

    def open(self, id: int = CGROUP_ID) -> Cgroup:
        """A descriptor of the group with this id. Raises MapError (ENOENT) where there is none."""
        if id not in _PLACES:
            raise MapError(f"opening control group {id}: there are {', '.join(map(str, _PLACES))}", errno=_ENOENT)
        made = Cgroup(self._take_fd(), id, int(self._state.cgroups[_PLACES[id]]))
        self._open[made.fd] = made
        return made

    def find(self, fd: int) -> Cgroup | None:
        """The group that the open descriptor names."""
        return self._open.get(fd)

    def close(self, one: Cgroup) -> None:
        """The descriptor is none any more; arrays that hold the group go on holding it. Idempotent."""
        self._open.pop(one.fd, None)
