"""The tools on the running Linux, watching only processes that the tests start; what they must say is what
the tests did, or what strace counts of the same command."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bcc_py.bpf import BPF
from bcc_py.linux import feature
from bcc_py.tools import execsnoop, exitsnoop, syscount, tcpstates
from tests.tools.runs import TOOLS, run, start, totals

pytestmark = pytest.mark.linux
SECONDS = 30


@pytest.fixture(scope="module", autouse=True)
def _linux() -> None:
    """Asks for what the tools need, once; a test is skipped where the kernel lacks it (tests/conftest.py)."""
    BPF(text="TRACEPOINT_PROBE(sched, sched_process_exec) { return 0; }", kernel="linux").close()


@contextmanager
def tracing(tool: str, *options: str) -> Iterator[Callable[[], str]]:
    """The tool at work; the function ends it and gives what it printed."""
    process = start(tool, *options, kernel="linux")

    def finish() -> str:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0 and errors == ""
        return head + output

    try:
        assert process.stdout is not None
        # everything is attached before the first line is printed, but for syscount's and the rings' opening
        head = process.stdout.readline()
        time.sleep(0.3)
        yield finish
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def shell(script: str) -> subprocess.Popen[str]:
    """A shell that waits for a line before it does script, so that its pid is known before anything happens."""
    return subprocess.Popen(["/bin/sh", "-c", f"read go; {script}"], stdin=subprocess.PIPE, text=True)


def test_execsnoop_shows_children_started_meanwhile() -> None:
    with tracing("execsnoop", "-x", "-P", str(os.getpid())) as finish:
        subprocess.run(["/bin/echo", "one", "two words", "tab\there"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([shutil.which("sleep") or "sleep", "0"], check=True)
        with pytest.raises(FileNotFoundError):
            subprocess.run(["/no/such/program", "argument"], check=False)
        time.sleep(0.3)
        rows = finish().splitlines()[1:]
    parts = [row.split(None, 4) for row in rows]
    assert [(one[2], one[3], one[4]) for one in parts] == [
        (str(os.getpid()), "0", r"/bin/echo one two words tab\there"), (str(os.getpid()), "0", f"{shutil.which('sleep')} 0"),
        (str(os.getpid()), str(-errno.ENOENT), "/no/such/program argument")]
    assert [one[0] for one in parts[:2]] == ["echo", "sleep"]


def test_exitsnoop_shows_codes_signals_and_ages() -> None:
    children = [shell("exit 0"), shell("exit 3"), shell("kill -KILL $$"), shell("kill -SEGV $$")]
    with tracing("exitsnoop") as finish:
        for child in children:
            child.communicate("go\n")
        time.sleep(0.3)
        rows = finish().splitlines()[1:]
    found = {row.split()[1]: row.split(None, 5) for row in rows}
    reasons = [found[str(child.pid)][5] for child in children]
    assert reasons[:3] == ["0", "code 3", "signal 9 (KILL)"]
    assert reasons[3].startswith("signal 11 (SEGV)")
    for child in children:
        assert found[str(child.pid)][2] == str(os.getpid())
        assert 0.3 <= float(found[str(child.pid)][4]) < SECONDS


def test_exitsnoop_of_one_process() -> None:
    child = shell("exit 7")
    with tracing("exitsnoop", "-p", str(child.pid), "-x") as finish:
        subprocess.run(["/bin/true"], check=True)
        child.communicate("go\n")
        time.sleep(0.3)
        rows = finish().splitlines()[1:]
    assert [row.split(None, 5)[1::4] for row in rows] == [[str(child.pid), "code 7"]]


def test_syscount_counts_what_a_child_did() -> None:
    command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=512", "count=1000", "status=none"]
    child = shell("exec " + " ".join(command))
    with tracing("syscount", "-p", str(child.pid), "-T", "400") as finish:
        child.communicate("go\n")
        counts = totals(finish())
    strace = shutil.which("strace")
    if strace is None:
        assert counts["read"] >= 1000 and counts["write"] == 1000
        return
    got = subprocess.run([strace, "-f", "-c", "-U", "calls,name", *command], stderr=subprocess.PIPE, text=True, check=True)
    traced = {name: int(count) for count, name in re.findall(r"^\s+(\d+)\s+(\w+)$", got.stderr, re.M)}
    del traced["total"]
    assert counts["write"] == traced["write"] == 1000
    # the shell in front reads its line byte by byte: "go" and the end of the line
    assert counts["read"] == traced["read"] + 3
    assert {name: counts.get(name) for name in ("openat", "lseek", "dup2")} == {name: traced.get(name) for name in ("openat", "lseek", "dup2")}


def test_syscount_failures_of_a_child() -> None:
    child = shell("for i in 1 2 3 4 5 6 7; do cat /no/such/file; done 2>/dev/null")
    with tracing("syscount", "-c", str(child.pid), "-e", "ENOENT", "-s", "openat") as finish:
        child.communicate("go\n")
        output = finish()
    # each cat may miss catalogues of messages besides its file
    assert totals(output)["openat"] >= 7 and totals(output)["openat"] % 7 == 0


def test_tcpstates_of_an_own_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with tracing("tcpstates", "-s", "-D", str(port)) as finish:
            with socket.create_connection(("127.0.0.1", port)) as client:
                local = client.getsockname()[1]
                peer, _ = server.accept()
            peer.close()
            time.sleep(0.3)
            rows = [row.split(",") for row in finish().splitlines()[1:]]
    assert [(row[7], row[8]) for row in rows][:3] == [("CLOSE", "SYN_SENT"), ("SYN_SENT", "ESTABLISHED"), ("ESTABLISHED", "FIN_WAIT1")]
    assert rows[-1][8] == "CLOSE"
    assert rows[0][1] == str(os.getpid())
    assert {tuple(row[3:7:2]) for row in rows} == {("127.0.0.1", "127.0.0.1")}
    assert {row[4] for row in rows[1:]} == {str(local)}
    assert len({row[0] for row in rows}) == 1  # one socket


MACROS = {
    execsnoop: [("MAX_WORDS=1", "MAX_WORDS=20", "MAX_WORDS=60"), ("", "ONLY_UID=0"), ("", "ONLY_PPID=1")],
    exitsnoop: [("", "ONLY_PID=1"), ("", "ONLY_FAILED=1"), ("", "EACH_THREAD=1")],
    syscount: [("", "ONLY_PID=1"), ("", "ONLY_TID=1"), ("", "ONLY_PPID=1"), ("", "ONLY_SYSCALL=0"), ("", "ONLY_FAILED=1", "ONLY_ERRNO=2"),
               ("", "LATENCY=1"), ("", "BY_PROCESS=1")],
    tcpstates: [("", "ONLY_FAMILY=2", "ONLY_FAMILY=10"), ("", "LOCAL_PORTS=port==80||port==443"), ("", "REMOTE_PORTS=port==80")],
}


@pytest.mark.parametrize("module", MACROS, ids=lambda one: one.__name__.rpartition(".")[2])
@pytest.mark.parametrize("kernel", ["sim", "linux"])
def test_every_program_with_every_macro_loads(module: object, kernel: str) -> None:
    """Each macro alone and all together; both verifiers must take all of them."""
    axes = MACROS[module]  # type: ignore[index]
    choices = [tuple(axis[0] for axis in axes), tuple(axis[-1] for axis in axes)]
    choices += [tuple(one if at == place else axis[0] for at, axis in enumerate(axes)) for place, row in enumerate(axes) for one in row[1:]]
    for choice in dict.fromkeys(choices):
        with BPF(text=module.TEXT, cflags=[f"-D{one}" for one in choice if one], kernel=kernel) as bpf:  # type: ignore[attr-defined]
            assert bpf.funcs


@pytest.mark.parametrize("tool", TOOLS)
def test_a_termination_is_the_usual_end(tool: str) -> None:
    process = start(tool, kernel="linux")
    assert process.stdout is not None and process.stdout.readline()
    process.terminate()
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can stop being root")
@pytest.mark.parametrize("tool", TOOLS)
def test_without_root_a_tool_says_so_in_one_line(tool: str) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        feature.has.cache_clear()  # what root could do
        os.setgid(65534)
        os.setuid(65534)
        got = run(tool, kernel="linux")
        os.write(writer, f"{got.status} {len(got.stdout)} {got.stderr}".encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        status, printed, errors = pipe.read().split(" ", 2)
    os.waitpid(child, 0)
    assert (status, printed) == ("1", "0")
    assert errors.startswith(f"{tool}: ") and errors.count("\n") == 1 and "run as root" in errors
