"""python -m tests.bench.start: from text to attached, for the four tools.

For each tool and kernel, in a process of its own: the seconds BPF() takes with an empty cache (first), with a cache
that has what is made once for a kernel but not this text (new), and with all of it (cached), and the process's peak
memory, first and cached; importing bcc_py is a row of its own. Beside them, where the system's Python has BCC's
bindings, what BCC's BPF() takes for the same text, and the ratio new : BCC. BCC parses kernel headers to compile, so
where there are none its column says "no". The best of three is printed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.tools.runs import ROOT, TOOLS

ROUNDS = 3
SYSTEM_PYTHON = "/usr/bin/python3"
_FLAGS = {"execsnoop": ["-DMAX_WORDS=20"]}

_OURS = """
import importlib, resource, sys, time
tool, kernel, flags = sys.argv[1], sys.argv[2], sys.argv[3:]
text = importlib.import_module(f"bcc_py.tools.{tool}").TEXT
from bcc_py import BPF
begin = time.perf_counter()
bpf = BPF(text=text, cflags=flags, kernel=kernel)
print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
bpf.close()
"""
_THEIRS = """
import resource, sys, time
from bcc import BPF
text, flags = sys.stdin.read(), sys.argv[1:]
begin = time.perf_counter()
bpf = BPF(text=text, cflags=flags)
print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
bpf.cleanup()
"""


@dataclass(frozen=True)
class Start:
    """One start. seconds: of BPF(); mib: the process's peak resident memory."""

    seconds: float
    mib: float


def _measured(words: list[str], text: str = "", cache: str = "") -> Start | None:
    """What the child measured of itself; None if it failed."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache} if cache else None
    got = subprocess.run(words, input=text, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    if got.returncode:
        return None
    seconds, kib = got.stdout.split()[-2:]
    return Start(float(seconds), int(kib) / 1024)


def _best(starts: list[Start | None]) -> Start | None:
    done = [one for one in starts if one is not None]
    return Start(min(one.seconds for one in done), min(one.mib for one in done)) if done else None


def ours(tool: str, kernel: str) -> tuple[Start | None, Start | None, Start | None]:
    """(first, new, cached)."""
    words = [sys.executable, "-c", _OURS, tool, kernel, *_FLAGS.get(tool, [])]
    first, new, cached = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            first.append(_measured(words, cache=cache))
            for one in Path(cache).glob("bcc_py/unit-*"):
                one.unlink()
            new.append(_measured(words, cache=cache))
            cached.append(_measured(words, cache=cache))
    return _best(first), _best(new), _best(cached)


def theirs(tool: str) -> Start | None:
    """BCC's BPF() on the same text; None where it cannot."""
    path = ROOT / "tools" / f"{tool}.py"
    text = path.read_text().partition('TEXT = r"""')[2].partition('"""')[0]
    if not os.path.exists(SYSTEM_PYTHON):
        return None
    return _best([_measured([SYSTEM_PYTHON, "-c", _THEIRS, *_FLAGS.get(tool, [])], text) for _ in range(ROUNDS)])


def import_seconds() -> float:
    """Importing bcc_py and a tool, with Python's own caches warm."""
    script = "import time; begin = time.perf_counter(); import bcc_py.tools.execsnoop; print(time.perf_counter() - begin, 0)"
    best = _best([_measured([sys.executable, "-c", script]) for _ in range(ROUNDS)])
    assert best is not None, "bcc_py can be imported"
    return best.seconds


def main() -> None:
    print(f"importing: {import_seconds():.3f} s")
    print(f"{'tool':10} {'kernel':6} {'first s':>7} {'MiB':>5} {'new s':>7} {'cached s':>9} {'MiB':>5} {'BCC s':>7} {'MiB':>5} {'new/BCC':>8}")
    for tool in TOOLS:
        peer = theirs(tool)
        for kernel in ("sim", "linux"):
            first, new, cached = ours(tool, kernel)
            if first is None or new is None or cached is None:
                print(f"{tool:10} {kernel:6} not to be had here")
                continue
            row = f"{tool:10} {kernel:6} {first.seconds:>7.3f} {first.mib:>5.0f} {new.seconds:>7.3f} {cached.seconds:>9.3f} {cached.mib:>5.0f}"
            told = f"{peer.seconds:>7.3f} {peer.mib:>5.0f} {new.seconds / peer.seconds:>8.2f}" if peer else f"{'no':>7} {'-':>5} {'-':>8}"
            print(f"{row} {told}")


if __name__ == "__main__":
    main()
