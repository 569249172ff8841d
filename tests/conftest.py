"""What all tests share: the --update option, which rewrites golden files instead of comparing with them, and when a
test of the running Linux is skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from bcc_py import NotSupportedError


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite golden files; review then reads the diff")


@pytest.fixture
def same_as_golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """same_as_golden(path, text) fails unless the file holds exactly text."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run pytest --update"
        assert text == path.read_text()

    return compare


def _skipping_what_linux_lacks(item: pytest.Item) -> Generator[None, object, object]:
    """A test of the running Linux is skipped where that lacks something, and on nothing else; with BCC_PY_LINUX=1 it
    fails there, so that a machine that should have everything cannot pass by skipping."""
    try:
        return (yield)
    except NotSupportedError as error:
        if item.get_closest_marker("linux") is None or os.environ.get("BCC_PY_LINUX") == "1":
            raise
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _skipping_what_linux_lacks(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _skipping_what_linux_lacks(item))
