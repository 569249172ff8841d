"""What the tools print, character for character, on workloads and recordings that never change; and that
the rows agree with counts that no tool made: the workload's own, and those of the recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bcc_py.bpf import BPF
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.world.shell import ShellWorkload
from tests.tools.runs import BUILD, HTTP, run, totals

GOLDEN = Path(__file__).parent / "golden"
SIM = "sim:shell,seed=3,seconds=12"
LONGER = "sim:shell,seed=3,seconds=40"  # with a download and two refused connections

CASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "execsnoop_sim": ("execsnoop", SIM, ()),
    "execsnoop_sim_wide": ("execsnoop", SIM, ("-T", "-t", "-U", "-x", "-q", "--max-args", "2")),
    "execsnoop_build": ("execsnoop", BUILD, ()),
    "exitsnoop_sim": ("exitsnoop", SIM, ()),
    "exitsnoop_sim_wide": ("exitsnoop", SIM, ("-t", "--label", "box", "-x")),
    "exitsnoop_build": ("exitsnoop", BUILD, ()),
    "syscount_sim": ("syscount", SIM, ("-T", "400")),
    "syscount_sim_latency": ("syscount", SIM, ("-L", "-m", "-i", "6")),
    "syscount_sim_process": ("syscount", SIM, ("-P", "-T", "5")),
    "syscount_build": ("syscount", BUILD, ()),
    "syscount_build_process": ("syscount", BUILD, ("-P", "-s", "openat", "-T", "100")),
    "tcpstates_sim": ("tcpstates", LONGER, ()),
    "tcpstates_sim_wide": ("tcpstates", LONGER, ("-T", "-t", "-w")),
    "tcpstates_http": ("tcpstates", HTTP, ()),
    "tcpstates_http_csv": ("tcpstates", HTTP, ("-s", "-L", "18080")),
}

# tests/data/http.perf.data, counted by perf script
TRANSITIONS = {
    ("CLOSE", "SYN_SENT"): 11, ("SYN_SENT", "ESTABLISHED"): 10, ("SYN_SENT", "CLOSE"): 1, ("LISTEN", "SYN_RECV"): 10,
    ("SYN_RECV", "ESTABLISHED"): 10, ("ESTABLISHED", "FIN_WAIT1"): 10, ("ESTABLISHED", "CLOSE_WAIT"): 10,
    ("FIN_WAIT1", "FIN_WAIT1"): 10, ("FIN_WAIT1", "FIN_WAIT2"): 10, ("FIN_WAIT2", "CLOSE"): 10,
    ("CLOSE_WAIT", "LAST_ACK"): 10, ("LAST_ACK", "CLOSE"): 10, ("CLOSE", "LISTEN"): 1,
}


@pytest.mark.parametrize("name", CASES)
def test_exact_rows(name: str, same_as_golden: Callable[[Path, str], None]) -> None:
    tool, kernel, options = CASES[name]
    got = run(tool, *options, kernel=kernel)
    assert got.status == 0
    same_as_golden(GOLDEN / f"{name}.txt", got.stdout)


def counted(seconds: int) -> Counter[str]:
    """The events of the workload as it counts them itself, while nobody traces."""
    world = ShellWorkload(seed=3, seconds=seconds)
    kernel = SimKernel(world, spec="sim:shell", seed=3)
    while not kernel.is_finished:
        kernel.sleep(1)
    kernel.close()
    return world.counts


@pytest.fixture(scope="module")
def counts() -> Counter[str]:
    return counted(12)


def test_execsnoop_shows_every_exec_of_the_workload(counts: Counter[str]) -> None:
    assert len(run("execsnoop", kernel=SIM).rows) == counts["sched:sched_process_exec"] > 0
    with_failures = run("execsnoop", "-x", kernel=SIM).rows
    assert len(with_failures) == counts["syscalls:sys_exit_execve"] > counts["sched:sched_process_exec"]


def test_exitsnoop_shows_every_exit_of_the_workload(counts: Counter[str]) -> None:
    assert len(run("exitsnoop", kernel=SIM).rows) == counts["sched:sched_process_exit"] > 0


def test_syscount_counts_every_return_of_the_workload(counts: Counter[str]) -> None:
    prefix = "syscalls:sys_exit_"
    returns = {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
    assert totals(run("syscount", "-T", "400", kernel=SIM).stdout) == returns


def test_tcpstates_shows_every_change_of_the_workload() -> None:
    assert len(run("tcpstates", kernel=LONGER).rows) == counted(40)["sock:inet_sock_set_state"] > 0


def test_the_same_seed_gives_the_same_rows_and_another_does_not() -> None:
    assert run("execsnoop", kernel=SIM) == run("execsnoop", kernel=SIM)
    assert run("execsnoop", kernel="sim:shell,seed=4,seconds=12").rows != run("execsnoop", kernel=SIM).rows


def test_execsnoop_on_the_recorded_build() -> None:
    comms = Counter(row.split()[0] for row in run("execsnoop", kernel=BUILD).rows)
    assert sum(comms.values()) == 34
    assert {name: comms[name] for name in ("cc1", "cc", "as")} == {"cc1": 7, "cc": 7, "as": 7}
    assert all(comms[name] == 1 for name in ("collect2", "ld", "make", "mktemp", "ls", "sort", "head", "rm", "python3"))


def test_exitsnoop_on_the_recorded_build_does_not_know_exit_codes() -> None:
    rows = run("exitsnoop", kernel=BUILD).rows
    assert len(rows) == 34
    assert all(row.endswith(" unknown") for row in rows)
    assert [row for row in rows if row.split()[4] == "unknown"] == [row for row in rows if row.startswith("job.sh") and " 0 " in row]


def test_syscount_on_the_recorded_build_counts_returns() -> None:
    assert totals(run("syscount", kernel=BUILD).stdout) == {"openat": 896, "execve": 48}


def test_syscount_by_process_on_the_recorded_build() -> None:
    by_comm: Counter[str] = Counter()
    for row in run("syscount", "-P", "-s", "openat", "-T", "100", kernel=BUILD).stdout.splitlines():
        words = row.split()
        if len(words) == 3 and words[0].isdigit():
            by_comm[words[1]] += int(words[2])
    assert sum(by_comm.values()) == 896
    # of job.sh's 15, one was made by a child that had another name when it made its last
    expected = {"cc1": 644, "ld": 72, "as": 56, "python3": 55, "cc": 21, "job.sh": 14, "ls": 6, "make": 5, "collect2": 4, "rm": 4}
    assert {name: by_comm[name] for name in expected} == expected


def test_tcpstates_on_the_recorded_connections() -> None:
    rows = [row.split(",") for row in run("tcpstates", "-s", kernel=HTTP).rows]
    assert len(rows) == 113
    assert Counter((row[7], row[8]) for row in rows) == TRANSITIONS


def test_a_map_keeps_its_totals_after_the_workload_has_ended() -> None:
    """What syscount prints at the end is there although the kernel is finished."""
    with BPF(text="BPF_ARRAY(n, u64, 1); TRACEPOINT_PROBE(sched, sched_process_exec) { n.increment(0); return 0; }",
             kernel=SIM) as bpf:
        bpf.sleep(1000)
        assert bpf.is_finished and bpf["n"][0].value > 0
