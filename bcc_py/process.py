"""What /proc says of a process: its mappings, which files it sees, what it is called in its own namespace.

Input: a process id (a thread's will do). Invariant: nothing here holds a descriptor, and a process that is gone is an
OSError (ProcessLookupError or FileNotFoundError), never an empty answer; identity() alone asks whether it is.

Source: proc(5), Documentation/filesystems/proc.rst."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

__all__ = ["Mapping", "executable", "identity", "mappings", "namespace_pid", "read_memory", "root"]

_DELETED = " (deleted)"
_ROW = re.compile(r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<mode>\S{4}) (?P<offset>[0-9a-f]+) (?P<device>\S+) (?P<inode>\d+)\s*(?P<path>.*)")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A range of a process's memory. offset: in the file, of its first byte; path: as the process sees it, "" for memory
    of no file, "[vdso]" and the like for the kernel's; is_deleted: the file has no path any more."""

    start: int
    end: int
    is_executable: bool
    offset: int
    device: str
    inode: int
    path: str
    is_deleted: bool = False


def mappings(pid: int) -> list[Mapping]:
    """The mappings of a process, by address."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        rows = [_ROW.match(line.rstrip("\n")) for line in file]
    return [_mapping(row) for row in rows if row]


def _mapping(row: re.Match[str]) -> Mapping:
    path = row["path"].replace("\\012", "\n")
    is_deleted = path.endswith(_DELETED)
    return Mapping(int(row["start"], 16), int(row["end"], 16), "x" in row["mode"], int(row["offset"], 16), row["device"],
                   int(row["inode"]), path.removesuffix(_DELETED), is_deleted)


def root(pid: int) -> str:
    """What to put before a path that this process uses so that it names the same file here; "" where it sees our files."""
    if pid <= 0 or pid == os.getpid():
        return ""
    place = f"/proc/{pid}/root"
    ours, theirs = os.stat("/"), os.stat(place)
    is_ours = os.stat("/proc/self/ns/mnt").st_ino == os.stat(f"/proc/{pid}/ns/mnt").st_ino
    return "" if is_ours and (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) else place


def executable(pid: int) -> str:
    """The path of the program that the process runs, as it sees it."""
    return os.readlink(f"/proc/{pid}/exe").removesuffix(_DELETED)


def identity(pid: int) -> tuple[int, int, int] | None:
    """Numbers that change when another process takes the id, or the process runs another program; None where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            started = int(file.read().rpartition(b")")[2].split()[19])
        program = os.stat(f"/proc/{pid}/exe")
    except (OSError, ValueError, IndexError):
        return None
    return started, program.st_dev, program.st_ino


def namespace_pid(pid: int) -> int:
    """The id by which the process knows itself."""
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"NStgid:"):
                return int(line.split()[-1])
    return pid


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Bytes of the process's memory."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        file.seek(address)
        return file.read(size)
