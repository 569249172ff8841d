"""bccpy run: an upstream script, unmodified, on any kernel."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from contextlib import ExitStack

import click

from bcc_py.asking import default_spec, use_kernel
from bcc_py.bpf import kernel_from_spec
from bcc_py.cli import seconds
from bcc_py.compat import alias_path, install_as_bcc
from bcc_py.compat.virtual import Deadline, simulated
from bcc_py.errors import BpfError
from bcc_py.kernel import Kernel

__all__ = ["main", "run_script"]


@click.command("run", context_settings={
    "help_option_names": ["-h", "--help"], "max_content_width": 80, "ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--kernel", metavar="SPEC", default=default_spec, help="sim, sim:WORKLOAD, replay:FILE or linux (default: $BCC_PY_KERNEL, else sim).")
@click.option("--duration", metavar="SECONDS", type=seconds, help="End the script as Ctrl-C would after so much of the kernel's time.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(kernel: str, duration: float | None, script: str, arguments: tuple[str, ...]) -> None:
    """Run a script that says "from bcc import BPF", unmodified.

    On a simulated kernel or a recording the script's clock and sleep are the kernel's, /proc/kallsyms and tracefs are the
    simulated ones, and Ctrl-C comes by itself when nothing will happen any more."""
    try:
        opened = kernel_from_spec(kernel)
    except (BpfError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    try:
        if opened.is_simulated:
            click.echo(f"run: {kernel} is not this machine; for that use --kernel linux", err=True)
        run_script(opened, kernel, script, arguments, duration)
    except BrokenPipeError:
        # the reader of the script's rows has gone: the rest of them has no use
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        opened.close()


def run_script(kernel: Kernel, spec: str, script: str, arguments: tuple[str, ...], duration: float | None) -> None:
    """Runs a script as a program of its own would be, with `import bcc` meaning bcc_py on this kernel."""
    install_as_bcc()
    use_kernel(kernel)
    # what the script starts finds the alias too, on a kernel of its own
    os.environ["BCC_PY_KERNEL"] = spec
    os.environ["PYTHONPATH"] = os.pathsep.join([alias_path(), *filter(None, [os.environ.get("PYTHONPATH")])])
    with ExitStack() as stack:
        stack.callback(use_kernel, None)
        if kernel.is_simulated:
            stack.enter_context(simulated(kernel, Deadline(kernel, duration)))
        elif duration is not None:
            stack.callback(signal.setitimer, signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
            signal.setitimer(signal.ITIMER_REAL, duration)
        sys.argv = [script, *arguments]
        sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
        runpy.run_path(script, run_name="__main__")
