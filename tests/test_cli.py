"""The bccpy command."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bcc_py import cli
from bcc_py.cli import TOOLS, clock_text, flag_values, main, number_of, shown
from bcc_py.kernel import Kernel
from tests.tools.runs import command_of, run


def test_list_says_what_each_tool_shows() -> None:
    got = CliRunner().invoke(main, ["list"])
    assert got.exit_code == 0
    rows = got.stdout.splitlines()
    assert [row.split()[0] for row in rows] == list(TOOLS)
    for row in rows:
        assert (command_of(row.split()[0]).help or "").startswith(row.split(None, 1)[1][:40])


def test_help_lists_the_tools() -> None:
    got = CliRunner().invoke(main, ["--help"])
    assert got.exit_code == 0 and all(f"\n  {name} " in got.stdout for name in (*TOOLS, "list"))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_is_a_command_of_the_group(tool: str) -> None:
    kernel = "sim:shell,seed=3,seconds=4"
    got = CliRunner().invoke(main, [tool, "--kernel", kernel])
    assert (got.exit_code, got.stdout) == (0, run(tool, kernel=kernel).stdout)


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["nosuchtool"]).exit_code == 2


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"plain\0rest", "plain"), (b"tab\there\nand\x1b[31m", r"tab\there\nand\x1b[31m"), (b"caf\xc3\xa9", "café"), (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
     ("\N{RIGHT-TO-LEFT OVERRIDE}x".encode(), r"\u202ex"), (b"", "")])
def test_what_a_process_calls_itself_stays_on_its_line(raw: bytes, text: str) -> None:
    assert shown(raw) == text


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("65535", 65535), ("65536", None), ("-1", None), ("", None), ("²", None), ("1_0", None), (" 1", None), ("9" * 5000, None)])
def test_numbers_are_plain_and_bounded(text: str, value: int | None) -> None:
    assert number_of(text, 65536) == value


def test_only_values_that_are_set_become_flags() -> None:
    assert flag_values(A=1, B=None, C=0) == ["-DA=1", "-DC=0"]


def test_the_clock_of_a_simulated_kernel_counts_from_its_start() -> None:
    class Fake:
        is_simulated = True

        def now_ns(self) -> int:
            return 3_661_999_999_999

    class Holder:
        kernel: Kernel = Fake()  # type: ignore[assignment]

    assert clock_text(Holder()) == "01:01:01"  # type: ignore[arg-type]


def test_option_types_name_themselves_in_help() -> None:
    assert {one.__name__ for one in (cli.seconds, cli.pid, cli.regex)} == {"seconds", "pid", "regex"}
    text = CliRunner().invoke(command_of("execsnoop"), ["--help"]).stdout
    assert all(word in text for word in ("SECONDS", "PID", "REGEX"))
