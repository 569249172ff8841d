"""The bccpy command, and what the tools share: the --kernel option, opening a BPF with messages a person
can use, loops that end when they should.

A tool's rows go to stdout and everything else to stderr. Exit status: 0 done (an interrupt is the usual end
of a tool), 1 the kernel or the input refused, 2 a bad option (click's own). On a simulated or replayed kernel
the first line on stderr says so and names --kernel linux: nobody may take its rows for their own machine's."""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bcc_py.bpf import BPF, DEFAULT_KERNEL
from bcc_py.errors import BpfError, CompileError, NotSupportedError

__all__ = ["TOOLS", "clock_text", "flag_values", "follow", "main", "number_of", "opened", "pid", "regex", "running", "seconds", "shown", "tool"]

TOOLS = ("execsnoop", "exitsnoop", "syscount", "tcpstates")
_COMMANDS = {"verify": "bcc_py.verify_command", "run": "bcc_py.compat.run_command", "check": "bcc_py.compat.check_command", **{name: f"bcc_py.tools.{name}" for name in TOOLS}}
_MAX_PID = 1 << 22  # PID_MAX_LIMIT
_MISSING_EVENT = re.compile(r"'struct tracepoint__([a-z0-9_]+?)__(\w+)' is not defined")


def seconds(text: str) -> float:
    """An option's number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 1e9:
        raise click.BadParameter(f"{text!r} is no number of seconds above 0")
    return value


def pid(text: str) -> int:
    """An option's process or thread id."""
    value = number_of(text, _MAX_PID + 1)
    if not value:
        raise click.BadParameter(f"{text!r} is no process id (write a number from 1 to {_MAX_PID})")
    return value


def regex(text: str) -> re.Pattern[str]:
    """An option's regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise click.BadParameter(f"{text!r} is no regular expression: {error}") from error


def tool() -> Callable[[Callable[..., None]], click.Command]:
    """A click command that is a tool: --kernel, -h, and errors as one line on stderr."""

    def decorate(function: Callable[..., None]) -> click.Command:
        kernel = click.option(
            "--kernel", metavar="SPEC", default=lambda: os.environ.get("BCC_PY_KERNEL") or DEFAULT_KERNEL,
            help="sim, sim:WORKLOAD, replay:FILE or linux (default: $BCC_PY_KERNEL, else sim).",
        )
        context = {"help_option_names": ["-h", "--help"], "max_content_width": 80}
        name = Path(function.__code__.co_filename).stem
        command: click.Command = click.command(name, context_settings=context)(kernel(_guarded(name, function)))
        return command

    return decorate


def _guarded(name: str, function: Callable[..., None]) -> Callable[..., None]:
    """function with the errors that a user can act on printed, and the usual ways to end taken quietly."""

    def run(*args: Any, **options: Any) -> None:
        try:
            function(*args, **options)
            sys.stdout.flush()
        except (BpfError, ValueError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                # the reader of our rows has gone: the rest of them has no use
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return
            text = error.filename if isinstance(error, OSError) and error.filename else ""
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            click.echo(f"{name}: {text + ': ' if text else ''}{reason}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(0)

    run.__name__ = function.__name__
    run.__doc__ = function.__doc__
    run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    return run


@contextmanager
def opened(name: str, text: str, kernel: str, cflags: Sequence[str] = ()) -> Iterator[BPF]:
    """A BPF over text on the kernel that was asked for, closed at the end; says on stderr if it is no real one."""
    with _terminated_as_interrupted(), _bpf(text, kernel, cflags) as bpf:
        if bpf.kernel.is_simulated:
            kind = "a recording" if kernel.startswith("replay:") else "a simulated system"
            click.echo(f"{name}: {kind} ({kernel}), not this machine; for that use --kernel linux", err=True)
        yield bpf


def _bpf(text: str, kernel: str, cflags: Sequence[str]) -> BPF:
    """BPF(), with the one thing that is not the tool's fault said as such: an event that the kernel does not have."""
    try:
        return BPF(text=text, cflags=cflags, kernel=kernel)
    except CompileError as error:
        missing = _MISSING_EVENT.search(str(error))
        if missing is None:
            raise
        event = ":".join(missing.groups())
        hint = f" (record it: perf record -e {event})" if kernel.startswith("replay:") else ""
        raise NotSupportedError(f"tracing {kernel}: it has no tracepoint {event}{hint}", event) from error


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Lets SIGTERM end a tool as Ctrl-C does, so that everything is detached."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: who runs us there ends us there
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def running(bpf: BPF, seconds: float | None = None) -> Iterator[None]:
    """Polls until the kernel is finished, or for seconds of its time; yields after each round."""
    end = None if seconds is None else bpf.kernel.now_ns() + int(seconds * 1e9)
    while True:
        left = -1 if end is None else max(0, (end - bpf.kernel.now_ns() + 999_999) // 1_000_000)
        bpf.poll(200 if left < 0 else min(left, 200))
        yield
        if bpf.is_finished or (end is not None and bpf.kernel.now_ns() >= end):
            bpf.poll(0)
            yield
            return


def follow(name: str, bpf: BPF, seconds: float | None = None) -> None:
    """Polls to the end as running() does; however that ends, says what the text's table `lost` counted."""
    try:
        for _ in running(bpf, seconds):
            pass
    finally:
        lost = bpf["lost"].sum(0).value
        if lost:
            click.echo(f"{name}: {lost} events were lost: the ring buffer was full", err=True)


def clock_text(bpf: BPF) -> str:
    """HH:MM:SS: of this machine's clock for its own kernel, of the time since the start for another."""
    if not bpf.kernel.is_simulated:
        return time.strftime("%H:%M:%S")
    return time.strftime("%H:%M:%S", time.gmtime(bpf.kernel.now_ns() // 1_000_000_000))


def shown(raw: bytes) -> str:
    """Bytes up to the first zero as text on one line: whatever else would move the cursor is escaped."""
    text = raw.partition(b"\0")[0].decode("utf-8", "replace")
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def number_of(text: str, limit: int) -> int | None:
    """A decimal number below limit, or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 and int(text) < limit else None


def flag_values(**values: int | None) -> list[str]:
    """-DNAME=value for every value that is set."""
    return [f"-D{name}={value}" for name, value in values.items() if value is not None]


class _Tools(click.Group):
    """Subcommands that are imported when named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            found: click.Command = importlib.import_module(_COMMANDS[cmd_name]).main
            return found
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Tools, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bcc_py")
def main() -> None:
    """Trace a simulated, recorded or real Linux kernel with eBPF."""


@main.command("list")
def list_tools() -> None:
    """The tools, one a line with what each shows."""
    for name in TOOLS:
        command: click.Command = importlib.import_module(f"bcc_py.tools.{name}").main
        click.echo(f"{name:12} {command.get_short_help_str(100)}")


