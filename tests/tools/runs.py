"""Running a tool: inside this process, where only its output matters, or as the process it is for a user."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from click.testing import CliRunner

TOOLS = ("execsnoop", "exitsnoop", "syscount", "tcpstates")
ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
BUILD = f"replay:{DATA / 'build.perf.data'}"
HTTP = f"replay:{DATA / 'http.perf.data'}"
HEADER_ROWS = {"execsnoop": 1, "exitsnoop": 1, "tcpstates": 1}


@dataclass(frozen=True)
class Output:
    """What a run left. status: of the process."""

    status: int
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[str]:
        """The lines below the header."""
        return self.stdout.splitlines()[1:]


def command_of(tool: str) -> click.Command:
    found: click.Command = importlib.import_module(f"bcc_py.tools.{tool}").main
    return found


def run(tool: str, *options: str, kernel: str = "") -> Output:
    """The tool's command within this process."""
    words = ["--kernel", kernel] if kernel else []
    got = CliRunner().invoke(command_of(tool), [*words, *options], catch_exceptions=False)
    return Output(got.exit_code, got.stdout, got.stderr)


def start(tool: str, *options: str, kernel: str, **settings: object) -> subprocess.Popen[str]:
    """The tool as a process of its own, with pipes for its output."""
    environment = {key: value for key, value in os.environ.items() if key != "BCC_PY_KERNEL"}
    words = [sys.executable, "-m", f"bcc_py.tools.{tool}", "--kernel", kernel, *options]
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        cwd=ROOT, **settings)


def totals(output: str) -> dict[str, int]:
    """syscount's table without latencies: {name: count}."""
    rows = [row.split() for row in output.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
