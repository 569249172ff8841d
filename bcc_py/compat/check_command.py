"""bccpy check: what an upstream script would load, compiled and verified, without running it.

The script's own Python runs up to where it would wait for events: there it ends. Its objects are compiled, its functions are
loaded as what it attaches them as, and nothing is attached. So its arguments are read and its C is put together as ever."""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from bcc_py.asking import default_spec, use_kernel
from bcc_py.bpf import kernel_from_spec
from bcc_py.compat import bcc, install_as_bcc
from bcc_py.errors import BpfError, CompileError
from bcc_py.kernel import Kernel, Link, Program, Ring, TraceLine
from bcc_py.spec import Hook

__all__ = ["Checked", "checked", "main"]

@dataclass(frozen=True, slots=True)
class Checked:
    """One object or program: what it is, and why it was refused ("" if it was not)."""

    name: str
    type: str
    insns: int
    refusal: str


class _Reached(BaseException):
    """The script has come to where it waits."""


class _NoLink:
    """A link that is none."""

    fds: tuple[int, ...] = (-1,)

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def close(self) -> None:
        """Nothing is attached."""


class _Recorded(bcc.BPF):
    """A BPF whose programs are loaded and not attached. rows: of all objects of the script."""

    rows: list[Checked]

    def __init__(self, *given: Any, **more: Any) -> None:
        try:
            super().__init__(*given, **more)
        except CompileError as error:
            self.rows.append(Checked("(text)", "", 0, str(error)))
            raise

    def _load_program(self, spec: Any) -> Program:
        try:
            made = self.kernel.load_program(spec)
        except BpfError as error:
            self.rows.append(Checked(spec.name, spec.type.name, len(spec.insns), str(error)))
            raise
        self.rows.append(Checked(spec.name, spec.type.name, len(spec.insns), ""))
        return made

    def _attach_program(self, hook: Hook, name: str, program: Program) -> Link:
        link = self._links[hook, name] = _NoLink(hook)
        return link

    def _attach_matching(self, kind: Any, pattern: str, matches: Any, fn_name: str) -> None:
        self._attach(Hook(kind, pattern), fn_name)

    def _poll(self, rings: Any, timeout: int) -> NoReturn:
        raise _Reached

    def trace_line(self, timeout_ms: int = -1) -> TraceLine | None:
        raise _Reached

    def _needed_rings(self) -> list[Ring]:
        raise _Reached


def _wait(*given: Any) -> NoReturn:
    """What stands for sleeping and waiting for signals."""
    raise _Reached


def checked(script: str, arguments: tuple[str, ...], kernel: Kernel) -> list[Checked]:
    """What the script would load on kernel, in order. What ends the script early is a row of its own."""
    install_as_bcc()
    use_kernel(kernel)
    rows: list[Checked] = []
    recorded = type("BPF", (_Recorded,), {"rows": rows})
    before = (sys.argv, sys.path[:], bcc.BPF, time.sleep, signal.pause)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    bcc.BPF, time.sleep, signal.pause = recorded, _wait, _wait  # type: ignore[misc, assignment]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the script's rows are not ours
            runpy.run_path(script, run_name="__main__")
    except (_Reached, KeyboardInterrupt):
        pass
    except SystemExit as error:
        if error.code and not rows:
            rows.append(Checked("(script)", "", 0, f"it ends with {error.code} before it loads anything"))
    except BpfError as error:
        if not rows or not rows[-1].refusal:
            rows.append(Checked("(script)", "", 0, str(error)))
    except Exception as error:
        rows.append(Checked("(script)", "", 0, f"{type(error).__name__}: {error}"))
    finally:
        sys.argv, sys.path[:], bcc.BPF, time.sleep, signal.pause = before  # type: ignore[misc]
        use_kernel(None)
    return rows


@click.command("check", context_settings={
    "help_option_names": ["-h", "--help"], "max_content_width": 80, "ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--kernel", metavar="SPEC", default=default_spec, help="sim, sim:WORKLOAD, replay:FILE or linux (default: $BCC_PY_KERNEL, else sim).")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(kernel: str, script: str, arguments: tuple[str, ...]) -> None:
    """Compile and verify what a script that says "from bcc import BPF" would load, and attach nothing.

    The script's own Python runs up to where it would wait for events. One line for each program: its name, its type, its
    instructions, and ok or why it is refused. Exit status 1 if anything is."""
    try:
        opened = kernel_from_spec(kernel)
    except (BpfError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    try:
        rows = checked(script, arguments, opened)
    finally:
        opened.close()
    for one in rows:
        size = f"{one.insns:6} insns" if one.insns else " " * 12
        click.echo(f"{one.name:40} {one.type:14} {size}  {one.refusal.strip() or 'ok'}")
    if not rows:
        click.echo(f"{script}: it loads nothing before it waits or ends", err=True)
    sys.exit(1 if any(one.refusal for one in rows) else 0)
