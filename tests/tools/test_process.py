"""A tool as the process a user has: how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.tools.runs import BUILD, HTTP, TOOLS, start

ENDLESS = "sim:shell,seconds=86400"


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_is_the_usual_end(tool: str, number: signal.Signals) -> None:
    process = start(tool, kernel=ENDLESS)
    assert process.stdout is not None
    head = process.stdout.readline()
    process.send_signal(number)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert head and "Traceback" not in rest + errors
    assert len(errors.splitlines()) == 1  # whose rows these are


@pytest.mark.parametrize(("tool", "kernel"), [("execsnoop", BUILD), ("tcpstates", HTTP), ("execsnoop", ENDLESS), ("syscount", BUILD)])
def test_a_reader_that_goes_away_is_no_error(tool: str, kernel: str) -> None:
    process = start(tool, kernel=kernel)
    assert process.stdout is not None and process.stderr is not None
    if tool != "syscount":
        process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 0
    assert len(errors.splitlines()) == 1


def test_a_full_disk_is_said() -> None:
    with open("/dev/full", "w") if Path("/dev/full").exists() else pytest.skip("no /dev/full") as full:
        process = start("execsnoop", kernel=BUILD)
        process.kill()
        process.communicate()
        words = [*process.args, "-d", "5"]  # type: ignore[misc]
        got = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    assert got.returncode == 1
    assert "execsnoop: No space left on device" in got.stderr and "Traceback" not in got.stderr


def test_nothing_is_left_open() -> None:
    """Fifty runs in one process leave as many descriptors as one."""
    from tests.tools.runs import run

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc")
    run("execsnoop", "-d", "1", kernel="sim:shell,seconds=2")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for tool in TOOLS:
            run(tool, "-d", "1", kernel="sim:shell,seconds=2")
    run("execsnoop", kernel=BUILD)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_tool_names_itself_however_it_is_started() -> None:
    process = start("execsnoop", kernel="windows")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and errors.startswith("execsnoop: no kernel is called")
