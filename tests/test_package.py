"""What pip installs works by itself: a wheel is built, installed into an empty environment, and used from a
directory where the sources are not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("bccpy", "execsnoop", "exitsnoop", "syscount", "tcpstates")
_PIP = ("--disable-pip-version-check", "--quiet", "--no-input")


def _run(*words: object, **settings: object) -> str:
    got = subprocess.run([str(one) for one in words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,  # type: ignore[call-overload]
                         stdin=subprocess.DEVNULL, check=False, **settings)
    assert got.returncode == 0, got.stdout
    return str(got.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build directory appears among the sources."""
    copy = tmp_path_factory.mktemp("source") / "bcc_py"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("bcc_py", "cfront", "tools", "man"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    _run(sys.executable, "-m", "pip", *_PIP, "wheel", "--no-deps", "--wheel-dir", copy / "dist", copy)
    (made,) = (copy / "dist").glob("*.whl")
    return made


def test_every_file_is_in_the_wheel(wheel: Path) -> None:
    assert wheel.name == "bcc_py-0.1.0-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for folder in ("bcc_py", "cfront") for path in (ROOT / folder).rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    sources |= {f"bcc_py/tools/{path.name}" for path in (ROOT / "tools").glob("*.py")}
    assert sources <= names
    sources |= {f"bcc_py-0.1.0.data/data/share/man/man8/{path.name}" for path in (ROOT / "man" / "man8").glob("*.8")}
    assert sources <= names
    rest = {name for name in names - sources if ".dist-info/" not in name}
    assert rest == set()
    assert any(name.endswith("LICENSE") for name in names)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment's directory of commands, with the wheel and what it asks for installed."""
    place = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", place)
    commands = place / ("Scripts" if os.name == "nt" else "bin")
    _run(commands / "python", "-m", "pip", *_PIP, "install", wheel)
    return commands


@pytest.fixture
def clean(tmp_path: Path) -> dict[str, object]:
    """Settings for a process that knows nothing of the sources or of an older cache."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "BCC_PY_KERNEL", "BCC_PY_CACHE")
    variables = {key: value for key, value in os.environ.items() if key not in hidden}
    return {"cwd": tmp_path, "env": {**variables, "XDG_CACHE_HOME": str(tmp_path / "cache")}}


def test_an_installation_works_by_itself(environment: Path, clean: dict[str, object]) -> None:
    """One test, so that one process builds and installs."""
    assert all((environment / name).exists() for name in SCRIPTS)
    _check_execsnoop(environment, clean)
    _check_group(environment, clean)
    _check_version(environment, clean)


def _check_execsnoop(environment: Path, clean: dict[str, object]) -> None:
    output = _run(environment / "execsnoop", "-d", "5", **clean)
    first, header, *rows = output.splitlines()
    assert first == "execsnoop: a simulated system (sim), not this machine; for that use --kernel linux"
    assert header.split() == ["PCOMM", "PID", "PPID", "RET", "ARGS"]
    assert len(rows) > 2
    assert _run(environment / "execsnoop", "-d", "5", **clean) == output  # now from the cache


def _check_group(environment: Path, clean: dict[str, object]) -> None:
    assert [row.split()[0] for row in _run(environment / "bccpy", "list", **clean).splitlines()] == list(SCRIPTS[1:])
    recording = ROOT / "tests" / "data" / "build.perf.data"
    assert len(_run(environment / "bccpy", "execsnoop", "--kernel", f"replay:{recording}", **clean).splitlines()) == 36


def _check_version(environment: Path, clean: dict[str, object]) -> None:
    script = "import bcc_py, importlib.metadata as m; print(bcc_py.__version__, m.version('bcc_py'), bcc_py.__file__)"
    ours, declared, place = _run(environment / "python", "-c", script, **clean).split()
    assert ours == declared == _run(environment / "bccpy", "--version", **clean).split()[-1]
    assert str(environment.parent) in place
