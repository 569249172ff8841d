"""python -m tests.bench.compile: what compiling costs beside BCC's BPF(), on the same texts and machine.

Each measurement is a process of its own, which imports first and then looks at its clock. Cold: cfront.compile_unit
against the running kernel's types, with an empty cache but for the index of those types. Cached: BPF() that finds
its object where the run before left it. Beside them BPF() of the system's BCC, which parses kernel headers for every
text; BCC_KERNEL_SOURCE names their directory. Seconds are of the processor, which a busy machine bends least, MiB the
process's peak of resident memory, imports included; the best of three is printed, and then the ratios.

The texts are texts/*.c or the files given as arguments: C that nothing attaches by its name."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXTS = Path(__file__).resolve().parent / "texts"
ROUNDS = 3
SYSTEM_PYTHON = "/usr/bin/python3"

_MEASURE = """
import resource, sys, time
text = open(sys.argv[1]).read()
{imports}
begin = time.process_time()
made = {make}
print(time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_COLD = _MEASURE.format(
    imports="""
import cfront.driver, llvmlite.binding
from bcc_py.bpf import BPF, kernel_from_spec
kernel = kernel_from_spec("linux")
kernel.types.find("struct", "task_struct")""",
    make='cfront.compile_unit(text, types=kernel.types, defines={"LINUX_VERSION_CODE": "395264"})',
)
_CACHED = _MEASURE.format(imports="from bcc_py import BPF", make='BPF(text=text, kernel="linux")')
_THEIRS = _MEASURE.format(imports="from bcc import BPF", make="BPF(text=text)")


@dataclass(frozen=True)
class Cost:
    """One process. seconds: of its processor time, without imports; mib: its peak resident memory, with them."""

    seconds: float
    mib: float


@dataclass(frozen=True)
class Row:
    """One text, three ways."""

    name: str
    lines: int
    cold: Cost
    cached: Cost
    theirs: Cost | None


def _measured(python: str, script: str, text: Path, environment: dict[str, str]) -> Cost:
    """What the child measured of itself. Raises CalledProcessError if it failed."""
    words = [python, "-c", script, str(text)]
    got = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, **environment}, cwd=ROOT)
    seconds, kib = got.stdout.split()[-2:]
    return Cost(float(seconds), int(kib) / 1024)


def _best(measure: Callable[[], Cost]) -> Cost:
    costs = [measure() for _ in range(ROUNDS)]
    return Cost(min(one.seconds for one in costs), min(one.mib for one in costs))


def measure(text: Path, cache: str, has_peer: bool) -> Row:
    """The row of a text. cache: a directory for our cache alone."""
    ours = {"XDG_CACHE_HOME": cache}
    _measured(sys.executable, _CACHED, text, ours)  # leaves the index of types and the object behind
    cold = _best(lambda: _measured(sys.executable, _COLD, text, ours))
    cached = _best(lambda: _measured(sys.executable, _CACHED, text, ours))
    theirs = _best(lambda: _measured(SYSTEM_PYTHON, _THEIRS, text, {})) if has_peer else None
    return Row(text.stem, len(text.read_text().splitlines()), cold, cached, theirs)


def missing_peer() -> str:
    """What BCC lacks here to be measured; "" if nothing."""
    command = [SYSTEM_PYTHON, "-c", "import bcc"]
    if not os.path.exists(SYSTEM_PYTHON) or subprocess.run(command, capture_output=True, check=False).returncode:
        return f"{SYSTEM_PYTHON} cannot import bcc (install python3-bpfcc)"
    if not os.environ.get("BCC_KERNEL_SOURCE"):
        return "BCC_KERNEL_SOURCE is not set (the directory of the kernel's headers)"
    return ""


def missing_linux() -> str:
    """Why BPF() cannot load on this machine's kernel; "" if it can."""
    script = 'from bcc_py import BPF; BPF(text="BPF_HASH(h);", kernel="linux").close()'
    got = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    return (got.stderr.strip().splitlines() or ["it failed"])[-1] if got.returncode else ""


def _shown(row: Row) -> str:
    ours = f"{row.cold.seconds:>7.3f} {row.cold.mib:>5.0f} {row.cached.seconds:>9.4f} {row.cached.mib:>5.0f}"
    peer = f"{row.theirs.seconds:>7.3f} {row.theirs.mib:>5.0f}" if row.theirs else f"{'-':>7} {'-':>5}"
    return f"{row.name[:24]:24} {row.lines:>5} {ours} {peer}"


def _summary(label: str, ratios: Sequence[float]) -> str:
    return f"{label:24} median {statistics.median(ratios):.4f}  worst {max(ratios):.4f}"


def _ratios(rows: Sequence[Row]) -> list[str]:
    pairs = [(row, row.theirs) for row in rows if row.theirs is not None]
    if not pairs:
        return []
    return [
        _summary("seconds, cold : BCC", [row.cold.seconds / peer.seconds for row, peer in pairs]),
        _summary("seconds, cached : BCC", [row.cached.seconds / peer.seconds for row, peer in pairs]),
        _summary("memory, cold : BCC", [row.cold.mib / peer.mib for row, peer in pairs]),
        _summary("memory, cached : BCC", [row.cached.mib / peer.mib for row, peer in pairs]),
    ]


def main() -> None:
    unavailable = missing_linux()
    if unavailable:
        print(f"no Linux to compile for here: {unavailable}")
        return
    missing = missing_peer()
    if missing:
        print(f"BCC is left out: {missing}")
    print(f"{'text':24} {'lines':>5} {'cold s':>7} {'MiB':>5} {'cached s':>9} {'MiB':>5} {'BCC s':>7} {'MiB':>5}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as cache:
        for text in [Path(one).resolve() for one in sys.argv[1:]] or sorted(TEXTS.glob("*.c")):
            try:
                rows.append(measure(text, cache, has_peer=not missing))
            except subprocess.CalledProcessError as error:
                said = [line for line in error.stderr.splitlines() if "Error: " in line]
                print(f"{text.stem[:24]:24} failed: {said[0] if said else error}")
                continue
            print(_shown(rows[-1]), flush=True)
    for line in _ratios(rows):
        print(line)


if __name__ == "__main__":
    main()
