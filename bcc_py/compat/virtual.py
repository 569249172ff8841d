"""A script sees the simulated system: its time goes by as the kernel's does, and the kernel's files are the simulated ones.

What is replaced while simulated() lasts: sleeping and the clocks of the module time, today and now of datetime, and opening,
looking for and listing files that Kernel.file and Kernel.directory answer for; on a workload also the calls by which the
script is a task of it (own_calls.py). The simulated clock begins at a fixed day, so that a run prints the same again.

A script that waits for Ctrl-C gets one (SIGINT) when the time that it was given is over, or when nothing will ever happen
again on the kernel. One that goes on all the same is ended after a few more."""

from __future__ import annotations

import atexit
import builtins
import datetime
import importlib
import io
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bcc_py.asking import current_kernel, default_spec
from bcc_py.kernel import Kernel

__all__ = ["Deadline", "current_deadline", "see_current", "simulated"]

_BEGIN_S = 1_767_225_600  # 2026-01-01 00:00:00 UTC
_PATIENCE = 10
_PROCESS = re.compile(r"/proc/(\d+)/")


class Deadline:
    """Ends a script at a time of its kernel. seconds: how long it may take, None: as long as something happens."""

    def __init__(self, kernel: Kernel, seconds: float | None) -> None:
        self._kernel = kernel
        self._end_ns = None if seconds is None else kernel.now_ns() + int(seconds * 1e9)
        self._interrupts = 0

    def left_s(self, wanted_s: float) -> float:
        """How long of wanted_s may be waited."""
        if self._end_ns is None:
            return wanted_s
        return min(wanted_s, max(self._end_ns - self._kernel.now_ns(), 0) / 1e9)

    def left_ms(self, wanted_ms: int) -> int:
        """How many ms of wanted_ms (-1: without limit) may be waited."""
        if self._end_ns is None:
            return wanted_ms
        left = max(self._end_ns - self._kernel.now_ns() + 999_999, 0) // 1_000_000
        return left if wanted_ms < 0 else min(wanted_ms, left)

    def check(self) -> None:
        """Interrupts the script if its time is over. Raises KeyboardInterrupt unless the script handles SIGINT."""
        is_over = self._end_ns is not None and self._kernel.now_ns() >= self._end_ns
        if is_over or self._kernel.is_finished:
            self._interrupts += 1
            if self._interrupts > _PATIENCE:
                raise SystemExit(0)
            signal.raise_signal(signal.SIGINT)


_current: Deadline | None = None


def current_deadline() -> Deadline | None:
    """The deadline of the script that sees a simulated system now, None if none does."""
    return _current


class _Clock:
    """The module time's functions over a kernel's clock."""

    def __init__(self, kernel: Kernel, deadline: Deadline) -> None:
        self._kernel = kernel
        self._deadline = deadline

    def sleep(self, seconds: float) -> None:
        self._kernel.sleep(self._deadline.left_s(seconds))
        self._deadline.check()

    def now(self) -> float:
        return _BEGIN_S + self._kernel.now_ns() / 1e9

    def replacements(self) -> Iterator[tuple[Any, str, Any]]:
        """(module, name, what stands there)."""
        yield time, "sleep", self.sleep
        yield time, "time", self.now
        yield time, "time_ns", lambda: _BEGIN_S * 10**9 + self._kernel.now_ns()
        for name in ("monotonic", "perf_counter"):
            yield time, name, lambda: self._kernel.now_ns() / 1e9
            yield time, f"{name}_ns", self._kernel.now_ns
        yield time, "clock_gettime", self._clock_gettime
        for name in ("localtime", "gmtime", "ctime"):
            yield time, name, self._of_seconds(getattr(time, name))
        yield time, "strftime", self._strftime
        yield datetime, "datetime", self._datetime()

    def _clock_gettime(self, clock: int, _real: Callable[[int], float] = time.clock_gettime) -> float:
        if clock == time.CLOCK_REALTIME:
            return self.now()
        return self._kernel.now_ns() / 1e9 if clock in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME) else _real(clock)

    def _of_seconds(self, real: Callable[[float], Any]) -> Callable[..., Any]:
        return lambda seconds=None: real(self.now() if seconds is None else seconds)

    def _strftime(self, format: str, moment: Any = None, _real: Callable[..., str] = time.strftime) -> str:
        return _real(format, time.localtime() if moment is None else moment)

    def _datetime(self) -> type:
        clock = self

        class Moment(datetime.datetime):
            """datetime.datetime, whose now is the kernel's."""

            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Any:
                return cls.fromtimestamp(clock.now(), tz)

            @classmethod
            def utcnow(cls) -> Any:
                return cls.fromtimestamp(clock.now(), datetime.UTC).replace(tzinfo=None)

            @classmethod
            def today(cls) -> Any:
                return cls.now()

        return Moment


class _Files:
    """Opening and finding files, of which the kernel's are the simulated ones. is_real: of which processes they are not."""

    def __init__(self, kernel: Kernel, is_real: Callable[[int], bool]) -> None:
        self._kernel = kernel
        self._is_real = is_real

    def _content(self, path: Any) -> bytes | None:
        name = _name(path)
        process = _PROCESS.match(name)
        if process and self._is_real(int(process[1])):
            return None
        return self._kernel.file(name) if name.startswith(("/proc/", "/sys/kernel/")) else None

    def _names(self, path: Any) -> list[str] | None:
        name = _name(path)
        return self._kernel.directory(name) if name.startswith("/sys/kernel/") else None

    def replacements(self) -> Iterator[tuple[Any, str, Any]]:
        """(module, name, what stands there)."""
        real_open = builtins.open

        def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            content = self._content(file) if "r" in mode and "+" not in mode else None
            if content is None:
                return real_open(file, mode, *more, **named)
            return io.BytesIO(content) if "b" in mode else io.StringIO(content.decode("utf-8", "surrogateescape"))

        yield builtins, "open", opened
        yield io, "open", opened
        yield os, "listdir", self._instead(os.listdir, self._names)
        for name in ("exists", "isfile"):
            yield os.path, name, self._instead(getattr(os.path, name), lambda path: None if self._content(path) is None else True)
        yield os.path, "isdir", self._instead(os.path.isdir, lambda path: None if self._names(path) is None else True)

    @staticmethod
    def _instead(real: Callable[..., Any], ours: Callable[[Any], Any]) -> Callable[..., Any]:
        def ask(path: Any = ".") -> Any:
            found = ours(path)
            return real(path) if found is None else found

        return ask


def _name(path: Any) -> str:
    """path as text, "" for a descriptor."""
    return "" if isinstance(path, int) else os.fsdecode(os.fspath(path)) if isinstance(path, (str, bytes, os.PathLike)) else ""


@contextmanager
def simulated(kernel: Kernel, deadline: Deadline) -> Iterator[None]:
    """While this lasts, the process's scripts see kernel's system."""
    global _current
    with ExitStack() as stack:
        stack.callback(_leave, _current)
        _current = deadline
        own = _own_calls(kernel, stack)
        for place in (_Clock(kernel, deadline), _Files(kernel, own.is_real if own is not None else _is_nobody), *filter(None, [own])):
            for module, name, what in list(place.replacements()):
                stack.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, what)
        yield


def _is_nobody(pid: int) -> bool:
    return False


def _own_calls(kernel: Kernel, stack: ExitStack) -> Any:
    """What makes the script a task of kernel, until stack is left. A recording holds what was recorded, and no script."""
    if not _is_workload(kernel.spec):
        return None
    simulated: Any = kernel
    own = importlib.import_module("bcc_py.compat.own_calls").OwnCalls(simulated)
    stack.callback(setattr, simulated.map_calls, "caller", simulated.map_calls.caller)
    simulated.map_calls.caller = own.bpf
    return own


def _is_workload(spec: str) -> bool:
    return spec.partition(":")[0].partition(",")[0] == "sim"


_seen = ExitStack()


def see_current() -> None:
    """From now on, and to its end, the process sees the system of the kernel that its objects are on, if that is simulated."""
    if _current is None and _is_workload(default_spec()):
        kernel = current_kernel()
        _seen.enter_context(simulated(kernel, Deadline(kernel, None)))
        atexit.register(_seen.close)


def _leave(before: Deadline | None) -> None:
    global _current
    _current = before
