"""Options: what they filter, and how bad ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.linux.kernel import LinuxKernel
from tests.tools.runs import BUILD, DATA, HTTP, TOOLS, Output, run, totals

SIM = "sim:shell,seed=3,seconds=12"


def column(output: Output, at: int) -> list[str]:
    return [row.split()[at] for row in output.rows]


# -- execsnoop


def test_execsnoop_name_and_line_are_patterns() -> None:
    assert set(column(run("execsnoop", "-n", "^cc1?$", kernel=BUILD), 0)) == {"cc", "cc1"}
    rows = run("execsnoop", "-l", r"ls .*-la", kernel=SIM).rows
    assert rows and all(" ls --color=auto -la" in row for row in rows)


def test_execsnoop_by_parent() -> None:
    assert set(column(run("execsnoop", "-P", "1017", kernel=SIM), 2)) == {"1017"}
    assert run("execsnoop", "-P", "4194304", kernel=SIM).rows == []


def test_execsnoop_by_user() -> None:
    assert run("execsnoop", "-u", "1000", kernel=SIM).rows == run("execsnoop", kernel=SIM).rows
    assert run("execsnoop", "-u", "0", kernel=SIM).rows == []
    assert run("execsnoop", "-u", "4294967295", kernel=SIM).rows == []


def test_execsnoop_failures_are_shown_when_asked_for() -> None:
    results = column(run("execsnoop", "-x", kernel=SIM), 3)
    assert {"0", "-2"} == set(results)
    assert set(column(run("execsnoop", kernel=SIM), 3)) == {"0"}


def test_execsnoop_cuts_long_argument_lists_with_dots() -> None:
    rows = run("execsnoop", "--max-args", "1", "-n", "^ls$", kernel=SIM).rows
    assert rows and all(row.endswith(" ls ...") for row in rows)
    assert all(row.endswith(" ls --color=auto -la") for row in run("execsnoop", "--max-args", "3", "-n", "^ls$", kernel=SIM).rows)


# -- exitsnoop


def test_exitsnoop_shows_codes_and_signals() -> None:
    rows = run("exitsnoop", "-x", kernel="sim:shell,seed=3,seconds=60").rows
    reasons = {" ".join(row.split()[5:]) for row in rows}
    assert {"code 127", "signal 11 (SEGV)", "signal 15 (TERM)"} <= reasons
    assert "0" not in reasons


def test_exitsnoop_by_process() -> None:
    everyone = run("exitsnoop", kernel=SIM).rows
    one = everyone[1].split()[1]
    assert run("exitsnoop", "-p", one, kernel=SIM).rows == [everyone[1]]


def test_exitsnoop_each_thread_of_the_recording_is_a_process() -> None:
    assert run("exitsnoop", "--per-thread", kernel=BUILD).stdout == run("exitsnoop", kernel=BUILD).stdout


# -- syscount


def test_syscount_failures_by_any_or_one_errno() -> None:
    failed = totals(run("syscount", "-x", kernel=SIM).stdout)
    assert failed and failed == totals(run("syscount", "-e", "ENOENT", kernel=SIM).stdout)
    assert failed == totals(run("syscount", "-e", "2", kernel=SIM).stdout)
    assert totals(run("syscount", "-e", "E2BIG", kernel=SIM).stdout) == {}


def test_syscount_one_call_by_name_or_number() -> None:
    every = totals(run("syscount", "-T", "400", kernel=SIM).stdout)
    for word in ("openat", "257"):
        assert totals(run("syscount", "-s", word, kernel=SIM).stdout) == {"openat": every["openat"]}


def test_syscount_top() -> None:
    full = totals(run("syscount", "-T", "400", kernel=SIM).stdout)
    top = totals(run("syscount", "-T", "3", kernel=SIM).stdout)
    assert top == dict(list(full.items())[:3])
    assert list(full.values()) == sorted(full.values(), reverse=True)


def test_syscount_of_a_process_and_of_its_children() -> None:
    every = totals(run("syscount", "-T", "400", kernel=SIM).stdout)
    shell = totals(run("syscount", "-p", "1017", "-T", "400", kernel=SIM).stdout)
    children = totals(run("syscount", "-c", "1017", "-T", "400", kernel=SIM).stdout)
    assert totals(run("syscount", "-t", "1017", "-T", "400", kernel=SIM).stdout) == shell
    assert shell and children
    assert all(shell.get(name, 0) + children.get(name, 0) <= count for name, count in every.items())


def test_syscount_intervals_add_up() -> None:
    output = run("syscount", "-s", "read", "-i", "2", kernel=SIM).stdout
    counts = [int(row.split()[1]) for row in output.splitlines() if row.startswith("read ")]
    assert len(counts) > 3
    assert sum(counts) == totals(run("syscount", "-s", "read", kernel=SIM).stdout)["read"]


def test_syscount_list_needs_no_kernel() -> None:
    rows = run("syscount", "--list", kernel="no kernel at all").stdout.splitlines()
    assert "   0 read" in rows and " 257 openat" in rows and len(rows) > 330


# -- tcpstates


def test_tcpstates_by_port_and_family() -> None:
    every = run("tcpstates", kernel=HTTP)
    here, there = run("tcpstates", "-L", "18080", kernel=HTTP), run("tcpstates", "-D", "18080,18081", kernel=HTTP)
    assert set(column(here, 4)) == {"18080"} and set(column(there, 6)) == {"18080", "18081"}
    assert len(here.rows) + len(there.rows) == len(every.rows)
    assert run("tcpstates", "-4", kernel=HTTP).rows == every.rows
    assert run("tcpstates", "-6", kernel=HTTP).rows == []


# -- all


def test_duration_is_of_the_kernels_time() -> None:
    rows = run("execsnoop", "-d", "5", kernel=SIM).rows
    assert rows == run("execsnoop", kernel=SIM).rows[: len(rows)]
    assert 0 < len(rows) < len(run("execsnoop", kernel=SIM).rows)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kernel", [SIM, BUILD])
def test_nobody_takes_the_rows_for_this_machines(tool: str, kernel: str) -> None:
    if tool == "tcpstates" and kernel == BUILD:
        kernel = HTTP
    first = run(tool, "-d", "1", kernel=kernel).stderr.splitlines()[0]
    kind = "a simulated system" if kernel == SIM else "a recording"
    assert first == f"{tool}: {kind} ({kernel}), not this machine; for that use --kernel linux"


@pytest.mark.parametrize(
    "words",
    [("execsnoop", "-d", "0"), ("execsnoop", "-d", "-1"), ("execsnoop", "-d", "nan"), ("execsnoop", "-d", "inf"), ("execsnoop", "-d", "x"),
     ("execsnoop", "-n", "("), ("execsnoop", "-l", "*"), ("execsnoop", "-P", "0"), ("execsnoop", "-u", "-1"),
     ("execsnoop", "-u", "4294967296"), ("execsnoop", "--max-args", "61"), ("execsnoop", "--nonsense"), ("execsnoop", "word"),
     ("exitsnoop", "-p", "²"), ("exitsnoop", "-p", "99999999999999999999"), ("syscount", "-e", "ENOTHING"), ("syscount", "-e", "0"),
     ("syscount", "-e", "4096"), ("syscount", "-s", "nosuchcall"), ("syscount", "-s", "²"), ("syscount", "-s", "99999999999"),
     ("syscount", "-T", "0"), ("syscount", "-i", "0"), ("tcpstates", "-L", "0"), ("tcpstates", "-L", "65536"), ("tcpstates", "-L", "80,"),
     ("tcpstates", "-D", "80;443"), ("tcpstates", "-4", "-6")],
    ids=" ".join,
)
def test_bad_options_are_a_usage_error(words: tuple[str, ...]) -> None:
    got = run(*words, kernel=SIM)
    assert got.status == 2 and got.stdout == ""
    assert got.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("tool", TOOLS)
def test_an_unknown_kernel_is_one_line(tool: str) -> None:
    got = run(tool, kernel="windows")
    assert (got.status, got.stdout) == (1, "")
    assert got.stderr == f"{tool}: no kernel is called 'windows' (write sim, sim:shell, replay:FILE or linux)\n"


@pytest.mark.parametrize("kernel", ["replay:/no/such.data", f"{BUILD}.missing", "replay:/", "replay:/etc/passwd", "sim:nosuch", "sim:shell,seed=x"])
def test_a_kernel_that_cannot_be_had_is_one_line(kernel: str) -> None:
    got = run("execsnoop", kernel=kernel)
    assert (got.status, got.stdout) == (1, "")
    assert got.stderr.startswith("execsnoop: ") and got.stderr.count("\n") == 1


def test_a_recording_without_the_events_says_which() -> None:
    got = run("tcpstates", kernel=BUILD)
    assert (got.status, got.stdout) == (1, "")
    assert got.stderr == (f"tcpstates: tracing {BUILD}: it has no tracepoint sock:inet_sock_set_state"
                          " (record it: perf record -e sock:inet_sock_set_state)\n")


def test_without_permission_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: LinuxKernel) -> None:
        raise NotSupportedError("opening linux: bpf(2) is not permitted (run as root)", "bpf")

    monkeypatch.setattr(LinuxKernel, "__init__", refuse)
    got = run("execsnoop", kernel="linux")
    assert (got.status, got.stdout) == (1, "")
    assert got.stderr == "execsnoop: opening linux: bpf(2) is not permitted (run as root)\n"


def test_the_kernel_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCC_PY_KERNEL", SIM)
    assert run("execsnoop").stdout == run("execsnoop", kernel=SIM).stdout


def _damaged() -> list[tuple[str, bytes]]:
    """The recorded build, cut off or with a word of its header or records made wild."""
    whole = (DATA / "build.perf.data").read_bytes()
    cuts = [0, 7, 8, 50, 104, 200, 1000, len(whole) // 3, len(whole) // 2, len(whole) - 9]
    wild = [(at, b"\xff" * 8) for at in (8, 16, 24, 32, 40, 48, 72)]
    return [(f"cut at {at}", whole[:at]) for at in cuts] + [
        (f"wild word at {at}", whole[:at] + word + whole[at + len(word):]) for at, word in wild]


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in _damaged()])
def test_a_damaged_recording_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "damaged.data").write_bytes(content)
    got = run("execsnoop", kernel=f"replay:{tmp_path / 'damaged.data'}")
    errors = [row for row in got.stderr.splitlines() if "not this machine" not in row]
    assert got.status == 1 and len(errors) == 1
    assert errors[0].startswith("execsnoop: ")
