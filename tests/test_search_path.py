"""Where programs and libraries are, against ldconfig, the shell and the process's own mappings."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcc_py import search_path
from bcc_py.search_path import find_exe, find_library, find_mapped_library, library_cache
from tests.programs import need, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the dynamic linker's cache is Linux's")


def test_the_cache_is_what_ldconfig_prints() -> None:
    need("ldconfig")
    printed = [line.split() for line in run("ldconfig", "-p").splitlines() if " => " in line]
    ours = {(row[0], row[-1]) for row in printed if "x86-64" in line_kind(row) or "AArch64" in line_kind(row)}
    if not ours:
        pytest.skip("ldconfig tells of no library of this machine's kind")
    assert set(library_cache()) == ours


def line_kind(row: list[str]) -> str:
    return " ".join(row[1:-2])


def test_libraries_by_name() -> None:
    found = find_library("c")
    assert found is not None and os.path.basename(found).startswith("libc.so") and os.path.exists(found)
    assert os.path.basename(found) == ctypes.util.find_library("c")
    assert find_library("nosuchlibrary") is None
    assert find_library("/some/path.so") == "/some/path.so"


def test_library_of_a_process() -> None:
    mapped = find_mapped_library("c", os.getpid())
    with open("/proc/self/maps") as file:
        assert mapped in {line.split()[-1] for line in file}
    assert find_mapped_library("nosuchlibrary", os.getpid()) is None
    assert find_mapped_library("c", 1 << 30) is None
    assert find_mapped_library("/some/path.so", os.getpid()) == "/some/path.so"


def test_without_a_cache_the_directories_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_path, "_CACHE", str(tmp_path / "absent"))
    monkeypatch.setattr(search_path, "_DIRECTORIES", (str(tmp_path),))
    assert find_library("ours") is None
    (tmp_path / "libours.so.2").touch()
    assert find_library("ours") == str(tmp_path / "libours.so.2")


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_exe("sh") == shutil.which("sh")
    script = tmp_path / "command"
    script.touch(stat.S_IRUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_exe("command") is None or find_exe("command") != str(script)
    script.chmod(0o755)
    assert find_exe("command") == str(script) == find_exe(str(script))
    assert find_exe(str(tmp_path)) is None and find_exe("no such command") is None


@given(st.binary(max_size=200), st.sampled_from([b"", b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"]), st.integers(0, 1 << 32 - 1))
def test_damaged_cache_has_rows_or_none(content: bytes, magic: bytes, count: int) -> None:
    rows = list(search_path._rows(magic + count.to_bytes(4, sys.byteorder) + content))
    assert all(isinstance(one, str) for row in rows for one in row)
