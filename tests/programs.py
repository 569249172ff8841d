"""User programs for tests: C and assembly built with gcc here, and USDT notes as <sys/sdt.h> would leave them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

# Two symbols that a note is counted from; as in every object with probes, one for the whole file.
BASE = """
    .section .stapsdt.base, "aG", "progbits", .stapsdt.base, comdat
    .weak _.stapsdt.base
    .hidden _.stapsdt.base
_.stapsdt.base: .space 1
    .size _.stapsdt.base, 1
"""


def need(*tools: str) -> None:
    """Skips the test where one of these commands is not installed."""
    missing = [one for one in tools if shutil.which(one) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def run(*command: object) -> str:
    """What the command prints."""
    return subprocess.run([str(one) for one in command], check=True, capture_output=True, text=True).stdout


def build(folder: Path, name: str, source: str, *flags: str, language: str = "c") -> Path:
    """An executable (with -shared, a library) of this text."""
    need("gcc" if language != "c++" else "g++")
    path = folder / name
    compiler = "g++" if language == "c++" else "gcc"
    subprocess.run([compiler, "-x", language, "-o", str(path), "-", *flags], input=source, check=True, text=True, capture_output=True)
    return path


def build_with_assembly(folder: Path, name: str, source: str, assembly: str, *flags: str) -> Path:
    """An executable of a C text and an assembly text."""
    need("gcc")
    (folder / f"{name}.c").write_text(source)
    (folder / f"{name}.s").write_text(assembly)
    run("gcc", "-o", folder / name, folder / f"{name}.c", folder / f"{name}.s", *flags)
    return folder / name


def probe(name: str, arguments: str, semaphore: str = "0", provider: str = "test") -> str:
    """Assembly of a USDT probe: the place, and its note."""
    return f"""
990:    nop
    .pushsection .note.stapsdt, "", "note"
    .balign 4
    .4byte 992f - 991f, 994f - 993f, 3
991:    .asciz "stapsdt"
992:    .balign 4
993:    .8byte 990b, _.stapsdt.base, {semaphore}
    .asciz "{provider}"
    .asciz "{name}"
    .asciz "{arguments}"
994:    .balign 4
    .popsection
"""


@contextmanager
def running(path: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The program, which prints a line when it is ready and ends with its standard input."""
    child = subprocess.Popen([str(path), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        yield child
    finally:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.close()
        child.kill()
        child.wait()
        child.stdout.close()


def ask(child: subprocess.Popen[bytes], line: bytes = b"\n") -> bytes:
    """The program's answer to a line."""
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(line)
    child.stdin.flush()
    return child.stdout.readline()


def rows(text: str) -> Sequence[list[str]]:
    return [line.split() for line in text.splitlines()]
