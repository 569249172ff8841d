"""The script as a task of the simulated system: what it asks the system for happens on the simulated kernel too.

The task has the process's pid, its name and its user, and stands on the first CPU of its affinity mask. While a script sees a
simulated system, functions of os and time make their system calls there before and after they do their work; starting a program
(subprocess, os.popen, os.system) makes a child that executes it, and that exits when the script learns that it has.
What maps and programs of the simulated kernel are made and used by are bpf system calls.

Not seen: what C code calls on its own, the C library's functions by ctypes but for a few, threads, and what
children do; of the programs sleep and taskset it is known what they do first."""

from __future__ import annotations

import builtins
import ctypes
import errno
import io
import os
import shlex
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from bcc_py.sim.formats import record
from bcc_py.sim.memory import UserMemory
from bcc_py.sim.task import Task, TaskTable
from bcc_py.syscalls import SYSCALL_NUMBERS
from cfront.tracepoint import TracepointFormat

__all__ = ["OwnCalls"]

_ROOM = 0x55D3C0000000  # where strings lie that system calls are given
_ROOM_BYTES = 1 << 14
_MASK64 = (1 << 64) - 1
_AT_FDCWD = -100
_FORK_FLAGS = 0x1200011  # CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD
_REAL_SLEEP = time.sleep
_SHELL_AT = 8  # of Popen._execute_child's parameters after args
# letters of open()'s mode
_MODES = {"w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL}
# what a shell does itself
_BUILTINS = frozenset([":", ".", "[", "alias", "bg", "cd", "command", "echo", "eval", "exec", "exit", "export", "false", "fc", "fg", "getopts", "hash", "jobs", "kill", "printf", "pwd", "read", "readonly", "return", "set", "shift", "test", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "wait"])
# functions of os without arguments of interest: their system calls
_PLAIN = {"getuid": "getuid", "geteuid": "geteuid", "getgid": "getgid", "getegid": "getegid", "getpid": "getpid", "getppid": "getppid",
          "sync": "sync", "sched_yield": "sched_yield", "uname": "uname", "getpgrp": "getpgrp", "times": "times"}
# of descriptors and numbers
_OF_NUMBERS = {"close": "close", "read": "read", "fsync": "fsync", "fdatasync": "fdatasync", "dup": "dup", "dup2": "dup3", "kill": "kill",
               "setuid": "setuid", "setgid": "setgid", "umask": "umask", "lseek": "lseek", "ftruncate": "ftruncate", "fchmod": "fchmod",
               "getsid": "getsid", "getpgid": "getpgid", "setsid": "setsid"}
# of one path, and of two
_OF_PATHS = {"unlink": "unlink", "remove": "unlink", "rmdir": "rmdir", "mkdir": "mkdir", "chdir": "chdir", "chmod": "chmod",
             "access": "access", "readlink": "readlink", "truncate": "truncate", "rename": "rename", "replace": "rename", "link": "link",
             "symlink": "symlink", "chroot": "chroot", "mkfifo": "mknodat"}


class HasTasks(Protocol):
    """The simulated kernel, as a script that is a task of it knows it."""

    cpus: int
    tasks: TaskTable

    @property
    def runtime(self) -> Any: ...
    @property
    def lock(self) -> threading.RLock: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def formats(self) -> Mapping[str, TracepointFormat]: ...
    def now_ns(self) -> int: ...
    def set_context(self, cpu: int, time_ns: int, task: Task | None) -> None: ...
    def syscall_enter(self, nr: int, args: tuple[int, int, int, int, int, int]) -> None: ...
    def syscall_exit(self, nr: int, ret: int) -> None: ...
    def wants_tracepoint(self, name: str) -> bool: ...
    def fire_raw_tracepoint(self, event: str, args: tuple[int, ...]) -> None: ...
    def fire_tracepoint(self, name: str, record: bytes) -> None: ...
    def common_fields(self, name: str) -> bytes: ...


class OwnCalls:
    """The calls of this process on a kernel, while replacements are in place."""

    def __init__(self, kernel: HasTasks) -> None:
        self._kernel = kernel
        self._task: Task | None = None
        self._is_busy = False
        self._room_at = 0
        self._children: dict[int, Task] = {}
        self._pid = os.getpid()

    def is_real(self, pid: int) -> bool:
        """Whether this process is the script or a child of it, about which the real system says more."""
        return pid == self._pid or pid in self._children

    # -- the task

    def _own(self) -> Task:
        """The script's task. A task of the workload that has its pid already stands for it."""
        tasks = self._kernel.tasks
        found = tasks.get(self._pid)
        if found is None:
            found = tasks.spawn(self._pid, _comm(), parent=tasks.init, uid=_REAL["getuid"](), gid=_REAL["getgid"](),
                                start_time_ns=self._kernel.now_ns())
            found.memory = UserMemory(self._kernel.runtime, [(_ROOM, bytes(_ROOM_BYTES))])
            self._task = found
        return found

    def _cpu(self) -> int:
        """The first CPU that the process may run on."""
        return min(os.sched_getaffinity(0)) % self._kernel.cpus

    def _put(self, task: Task, content: bytes) -> int:
        """content in the task's memory, until 16 KiB more were put; its user address, 0 where it does not fit."""
        if task.memory is None or (task is not self._task and task.pid not in self._children) or len(content) > _ROOM_BYTES:
            return 0
        if self._room_at + len(content) > _ROOM_BYTES:
            self._room_at = 0
        address = _ROOM + self._room_at
        task.memory.write(address, content)
        self._room_at += (len(content) + 7) & ~7
        return address

    def _stand(self, task: Task, cpu: int | None = None) -> None:
        self._kernel.set_context(self._cpu() if cpu is None else cpu, self._kernel.now_ns(), task)

    # -- system calls

    def _is_seen(self) -> bool:
        """Not within a call that is, nor in a process that the script forked, nor when the kernel has gone."""
        return not self._is_busy and self._kernel.is_open and self._pid == _REAL["getpid"]()

    @contextmanager
    def calling(self, name: str, *given: Any) -> Iterator[list[int]]:
        """Around a system call. given: numbers, and bytes that are put into memory. Yields a list whose last number it returns.
        An OSError that comes out of it is what it fails with. Within one nothing else is seen."""
        if not self._is_seen():
            yield [0]
            return
        self._is_busy = True
        result = [0]
        try:
            with self._kernel.lock:
                self._enter(self._own(), name, given)
            try:
                yield result
            except OSError as error:
                result.append(-(error.errno or errno.EIO))
                raise
            finally:
                with self._kernel.lock:
                    if self._kernel.is_open:
                        self._leave(self._own(), name, result[-1])
        finally:
            self._is_busy = False

    def _enter(self, task: Task, name: str, given: Sequence[Any], cpu: int | None = None) -> None:
        self._stand(task, cpu)
        words = [self._put(task, one) if isinstance(one, bytes) else int(one) & _MASK64 for one in given][:6]
        words += [0] * (6 - len(words))
        self._kernel.syscall_enter(SYSCALL_NUMBERS[name], (words[0], words[1], words[2], words[3], words[4], words[5]))

    def _leave(self, task: Task, name: str, result: int, cpu: int | None = None) -> None:
        self._stand(task, cpu)
        self._kernel.syscall_exit(SYSCALL_NUMBERS[name], result)

    def bpf(self, command: int) -> AbstractContextManager[Any]:
        """Around what the script does with the kernel's maps and programs."""
        return self.calling("bpf", command, 0, 0)

    # -- children

    def start(self, pid: int, argv: Sequence[str]) -> None:
        """A child of the script executes a program; without argv it goes on as the script's copy."""
        kernel = self._kernel
        with kernel.lock:
            if not self._is_seen() or kernel.tasks.get(pid) is not None:
                return
            child = self._fork(self._own(), pid)
            if argv:
                self._execute(child, list(argv), self._cpu())

    def _fork(self, parent: Task, pid: int) -> Task:
        kernel = self._kernel
        self._enter(parent, "clone", (_FORK_FLAGS, 0, 0, 0, 0))
        child = kernel.tasks.fork(parent, pid, time_ns=kernel.now_ns())
        child.memory = UserMemory(kernel.runtime, [(_ROOM, bytes(_ROOM_BYTES))])
        self._children[pid] = child
        self._fire("sched:sched_process_fork", (parent.address, child.address), parent_comm=_bytes(parent), parent_pid=parent.pid,
                   child_comm=_bytes(child), child_pid=pid)
        self._leave(child, "clone", 0)
        self._leave(parent, "clone", pid)
        return child

    def _execute(self, child: Task, argv: list[str], cpu: int) -> None:
        """execve of argv, and what is known of the program."""
        path = argv[0]
        texts = [self._put(child, one.encode(errors="surrogateescape") + b"\0") for one in argv]
        table = struct.pack(f"<{len(texts) + 1}Q", *texts, 0)
        self._enter(child, "execve", (path.encode(errors="surrogateescape") + b"\0", table, 0), cpu)
        self._kernel.tasks.rename(child, PurePosixPath(path).name)
        self._stand(child, cpu)
        self._fire("sched:sched_process_exec", None, filename=path.encode(errors="surrogateescape"), pid=child.pid, old_pid=child.pid)
        self._leave(child, "execve", 0, cpu)
        name = PurePosixPath(path).name
        if name in ("sh", "bash") and len(argv) > 2 and argv[1] == "-c":
            self._execute_words(child, argv[2], cpu)
        elif name == "taskset" and len(argv) > 3 and argv[1] == "-c" and argv[2].isdigit():
            self._enter(child, "sched_setaffinity", (0, 8, 0), cpu)
            cpu = int(argv[2]) % self._kernel.cpus
            self._leave(child, "sched_setaffinity", 0, cpu)
            self._execute(child, argv[3:], cpu)
        elif name == "sleep":
            self._enter(child, "clock_nanosleep", (0, 0, 0, 0), cpu)
            self._leave(child, "clock_nanosleep", 0, cpu)

    def _execute_words(self, child: Task, command: str, cpu: int) -> None:
        """A shell executes a simple command itself."""
        try:
            words = shlex.split(command)
        except ValueError:
            return
        if words and words[0] not in _BUILTINS and not set(command) & set("|&;<>()$`\\\"'*?[#~=%!{\n"):
            self._execute(child, words, cpu)

    def end(self, pid: int, status: int) -> None:
        """The script learns that a child has ended. status: as wait gives it."""
        tasks = self._kernel.tasks
        with self._kernel.lock:
            child = self._children.pop(pid, None)
            if not self._is_seen() or child is None or tasks.get(pid) is not child:
                return
            self._enter(child, "exit_group", (status >> 8 & 0xFF,))
            tasks.exit(child, status)
            self._fire("sched:sched_process_exit", (child.address, 1), comm=_bytes(child).ljust(16, b"\0"), pid=pid, prio=120, group_dead=1)
        with self.calling("wait4", pid, 0, 0, 0) as result:
            tasks.reap(child)
            result.append(pid)

    def _fire(self, name: str, raw_args: tuple[int, ...] | None, **values: int | bytes) -> None:
        kernel = self._kernel
        if raw_args is not None:
            kernel.fire_raw_tracepoint(name.partition(":")[2], raw_args)
        if kernel.wants_tracepoint(name):
            kernel.fire_tracepoint(name, record(kernel.formats[name], kernel.common_fields(name), values))

    # -- what stands in for Python's functions

    def replacements(self) -> Iterator[tuple[Any, str, Any]]:
        """(module, name, what stands there). What is there now is called by it."""
        for names, words in ((_PLAIN, _no_words), (_OF_NUMBERS, _numbers), (_OF_PATHS, _paths)):
            for name, call in names.items():
                if hasattr(os, name):
                    yield os, name, self._around(getattr(os, name), call, words)
        yield os, "open", self._around(os.open, "openat", _opening)
        yield builtins, "open", self._around(builtins.open, "openat", _opening_file)
        yield os, "write", self._around(os.write, "write", _writing)
        yield os, "system", self._system(os.system)
        yield os, "fork", self._forking(os.fork)
        yield os, "waitpid", self._waiting(os.waitpid)
        yield time, "sleep", self._around(time.sleep, "clock_nanosleep", lambda given: (1, 0, 0, 0))
        yield ctypes.CDLL, "__init__", self._library(ctypes.CDLL.__init__)
        yield from self._subprocess()

    def _around(self, real: Callable[..., Any], call: str, words: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Callable[..., Any]:
        def function(*given: Any, **named: Any) -> Any:
            if not self._is_seen():
                return real(*given, **named)
            with self.calling(call, *words(given)) as result:
                value = real(*given, **named)
                result.append(_result(value))
            return value

        return function

    def _library(self, real: Callable[..., None]) -> Callable[..., None]:
        """The C library's functions by ctypes: those that are a system call without arguments of interest."""
        own = self

        def opened(self: Any, name: Any = None, *more: Any, **named: Any) -> None:
            real(self, name, *more, **named)
            if name is None or not PurePosixPath(os.fsdecode(name)).name.startswith("libc."):
                return

            class Function(self._FuncPtr):  # type: ignore[misc]
                _flags_, _restype_ = self._func_flags_, self._func_restype_

                def __call__(self, *given: Any) -> Any:
                    if self.__name__ not in _PLAIN:
                        return super().__call__(*given)
                    with own.calling(_PLAIN[self.__name__]):
                        return super().__call__(*given)

            self._FuncPtr = Function

        return opened

    def _system(self, real: Callable[..., int]) -> Callable[..., int]:
        def system(command: str | bytes) -> int:
            status = real(command)
            pid = 1 + max((one.pid for one in self._kernel.tasks), default=0)
            self.start(pid, ["/bin/sh", "-c", os.fsdecode(command)])
            self.end(pid, status)
            return status

        return system

    def _forking(self, real: Callable[[], int]) -> Callable[[], int]:
        def fork() -> int:
            pid = real()
            if pid:
                self.start(pid, ())
            return pid

        return fork

    def _waiting(self, real: Callable[[int, int], tuple[int, int]]) -> Callable[[int, int], tuple[int, int]]:
        def waitpid(pid: int, options: int) -> tuple[int, int]:
            ended, status = real(pid, options)
            if ended and not os.WIFSTOPPED(status) and not os.WIFCONTINUED(status):
                self.end(ended, status)
            return ended, status

        return waitpid

    def _subprocess(self) -> Iterator[tuple[Any, str, Any]]:
        """Starting programs and learning how they ended. Waiting for them takes real time."""
        started: Any = subprocess.Popen._execute_child  # type: ignore[attr-defined]
        ended: Any = subprocess.Popen._handle_exitstatus  # type: ignore[attr-defined]
        own = self

        def execute_child(self: Any, args: Any, *more: Any) -> None:
            own._is_busy, before = True, own._is_busy
            try:
                started(self, args, *more)
            finally:
                own._is_busy = before
            if not before:
                own.start(self.pid, _argv(args, more))

        def handle_exitstatus(self: Any, status: int, *more: Any) -> None:
            ended(self, status, *more)
            own.end(self.pid, status)

        yield subprocess.Popen, "_execute_child", execute_child
        yield subprocess.Popen, "_handle_exitstatus", handle_exitstatus
        yield subprocess, "time", types.SimpleNamespace(sleep=_REAL_SLEEP)


_REAL: dict[str, Callable[[], int]] = {"getpid": os.getpid, "getuid": os.getuid, "getgid": os.getgid}


def _comm() -> str:
    try:
        return Path("/proc/self/comm").read_text().rstrip("\n")
    except OSError:
        return PurePosixPath(sys.executable).name


def _bytes(task: Task) -> bytes:
    return task.comm.encode(errors="surrogateescape")


def _result(value: Any) -> int:
    """What the system call returned, of what Python's function gave."""
    if isinstance(value, io.IOBase):
        return value.fileno() if hasattr(value, "name") else 0
    return value if isinstance(value, int) else len(value) if isinstance(value, bytes) else 0


def _text(path: Any) -> bytes | int:
    return path if isinstance(path, int) else os.fsencode(path) + b"\0"


def _no_words(_given: tuple[Any, ...]) -> tuple[Any, ...]:
    return ()


def _numbers(given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one if isinstance(one, int) else 0 for one in given)


def _paths(given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_text(one) if isinstance(one, (str, bytes, os.PathLike)) else one if isinstance(one, int) else 0 for one in given)


def _opening(given: tuple[Any, ...]) -> tuple[Any, ...]:
    return (_AT_FDCWD, *_paths(given))


def _opening_file(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """openat(2) of what open() is given: its mode as flags."""
    mode = given[1] if len(given) > 1 and isinstance(given[1], str) else "r"
    flags = os.O_RDWR if "+" in mode else os.O_RDONLY if "r" in mode else os.O_WRONLY
    flags |= os.O_CLOEXEC | next((more for letter, more in _MODES.items() if letter in mode), 0)
    return (_AT_FDCWD, *_paths(given[:1]), flags, 0o666)


def _writing(given: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(given) != 2 or not isinstance(given[1], (bytes, bytearray, memoryview)):
        return ()
    content = bytes(given[1])
    return given[0] if isinstance(given[0], int) else 0, content[:_ROOM_BYTES // 2], len(content)


def _argv(args: Any, more: tuple[Any, ...]) -> list[str]:
    """What a Popen of args executes. more: the rest of what Popen._execute_child is given, of which one is shell."""
    words = [os.fsdecode(args)] if isinstance(args, (str, bytes, os.PathLike)) else [os.fsdecode(one) for one in args]
    is_shell = len(more) > _SHELL_AT and bool(more[_SHELL_AT])
    return ["/bin/sh", "-c", *words] if is_shell else words or [""]
