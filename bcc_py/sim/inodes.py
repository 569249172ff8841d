"""Files of the simulated kernel, as descriptors name them.

A File is what an open file is on Linux: a descriptor of an inode, by which storages of inodes are told whose value is meant.
The files have no name: an inode is gone with its last descriptor, and what storages hold for it goes too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bcc_py.errors import MapError
from bcc_py.sim.memory import Fields, KernelMemory

__all__ = ["File", "FileTable"]

_REGULAR_FILE = 0o100600
_EBADF = 9


@dataclass(frozen=True, slots=True)
class File:
    """A descriptor of an inode. number: i_ino. address: of its struct inode."""

    fd: int
    number: int
    address: int


class FileTable:
    """The open descriptors of files. inode: the layout of struct inode; take_fd: gives a new descriptor; forget: is told the
    address of each inode that goes."""

    def __init__(self, memory: KernelMemory, inode: Fields, take_fd: Callable[[], int], forget: Callable[[int], None]) -> None:
        self._memory = memory
        self._inode = inode
        self._take_fd = take_fd
        self._forget = forget
        self._open: dict[int, File] = {}
        self._count = 0

    def create(self) -> File:
        """A descriptor of a new, empty file. Raises MapError (ENOMEM)."""
        self._count += 1
        image = self._inode.image(i_mode=_REGULAR_FILE, i_ino=self._count)
        return self._add(self._count, self._memory.take_bytes(image))

    def reopen(self, one: File) -> File:
        """Another descriptor of the same file. Raises MapError (EBADF) where one is closed."""
        if one.fd not in self._open:
            raise MapError(f"opening file {one.number} again: descriptor {one.fd} is closed", errno=_EBADF)
        return self._add(one.number, one.address)

    def _add(self, number: int, address: int) -> File:
        made = File(self._take_fd(), number, address)
        self._open[made.fd] = made
        return made

    def find(self, fd: int) -> File | None:
        """What the open descriptor names."""
        return self._open.get(fd)

    def close(self, one: File) -> None:
        """The descriptor is none any more. Idempotent."""
        if self._open.pop(one.fd, None) is None or any(other.address == one.address for other in self._open.values()):
            return
        self._forget(one.address)
        self._memory.give(one.address, self._inode.size)
