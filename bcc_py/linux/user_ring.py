"""The writing side of a user ring buffer of the running Linux, which programs drain (bpf_user_ringbuf_drain).

The pages of such a map: where its reader is (ours to read), where its writer is, and the ring, mapped twice in a row so
that no sample wraps; each sample begins with its length in a word of 8 bytes. A sample is there once the writer's position
lies behind it.

Source: kernel/bpf/ringbuf.c, ringbuf_map_mmap_user and __bpf_user_ringbuf_peek."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable

from bcc_py.errors import MapError
from bcc_py.linux import sys
from bcc_py.linux.map import Closable
from cfront.ctype import round_up

__all__ = ["UserRing"]

_PAGE = mmap.PAGESIZE
_HEADER = 8


class UserRing:
    """Writes samples. size: bytes, as the map has. One writer at a time. Raises MapError."""

    def __init__(self, map_fd: int, name: str, size: int, forget: Callable[[Closable], None]) -> None:
        self._name = name
        self._size = size
        self._forget = forget
        self._is_open = True
        self._reader = sys.Mapping(map_fd, _PAGE, 0, False, f"user ring buffer {name}")
        try:
            self._ring = sys.Mapping(map_fd, _PAGE + 2 * size, _PAGE, True, f"user ring buffer {name}")
        except MapError:
            self._reader.close()
            raise

    def write(self, content: bytes) -> bool:
        """Puts in one sample; False where there is no room for it now. Raises MapError (E2BIG) for one that never has room."""
        if not self._is_open:
            raise MapError(f"writing to user ring buffer {self._name}: it is closed", self._name, errno.EBADF)
        needed = round_up(len(content) + _HEADER, 8)
        if needed > self._size:
            raise MapError(f"writing {len(content)} bytes to user ring buffer {self._name}", self._name, errno.E2BIG)
        at = self._ring.load_acquire(0)
        if at - self._reader.load_acquire(0) + needed > self._size:
            return False
        start = _PAGE + (at & (self._size - 1))
        self._ring.view[start : start + _HEADER] = len(content).to_bytes(_HEADER, "little")
        self._ring.view[start + _HEADER : start + _HEADER + len(content)] = content
        self._ring.store_release(0, at + needed)
        return True

    def close(self) -> None:
        """Unmaps, once; what was written stays for programs."""
        if self._is_open:
            self._is_open = False
            self._reader.close()
            self._ring.close()
            self._forget(self)
