"""bcc.exec: a command that waits until whoever traces it is ready.

run_cmd starts it stopped, so that its process id is known before it does anything; cmd_ready lets it go on; cmd_exited says
whether it is over. One command at a time."""

from __future__ import annotations

import os
import shlex
import signal
import sys

__all__ = ["cmd_exited", "cmd_ready", "run_cmd"]

_NOT_RUN = 127
_child = 0


def run_cmd(args: str | list[str]) -> int:
    """Starts a command, which waits for cmd_ready; its process id."""
    global _child
    words = shlex.split(args) if isinstance(args, str) else list(args)
    _child = os.fork()
    if not _child:
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            os.execvp(words[0], words)
        except OSError as error:
            sys.stderr.write(f"{words[0]}: {error.strerror}\n")
        os._exit(_NOT_RUN)
    os.waitpid(_child, os.WUNTRACED)
    return _child


def cmd_ready() -> None:
    """Lets the command run."""
    os.kill(_child, signal.SIGCONT)


def cmd_exited() -> bool:
    """Whether the command is over."""
    try:
        return os.waitpid(_child, os.WNOHANG)[0] == _child
    except ChildProcessError:
        return True
