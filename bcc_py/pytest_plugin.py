"""Fixtures for pytest, which finds this by the package's entry point: bpf_kernel and bpf.

bpf_kernel: a kernel of the test's own, closed behind it: a simulated one on which nothing happens by itself, or what
--bpf-kernel says (sim:shell,seed=3, replay:FILE, linux). A test is skipped where that kernel is not to be had.
bpf: bpf(text, ...) is BPF(text=text, ...) on it, closed before it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

__all__ = ["bpf", "bpf_kernel", "pytest_addoption"]

_DEFAULT = "sim:idle"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bpf-kernel", metavar="SPEC", default=_DEFAULT, help="kernel of the fixture bpf_kernel (default: sim:idle)")


@pytest.fixture
def bpf_kernel(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A kernel for this test alone."""
    public = importlib.import_module("bcc_py")  # not before a test asks for it
    try:
        kernel = public.kernel_from_spec(request.config.getoption("--bpf-kernel"))
    except public.NotSupportedError as error:
        pytest.skip(str(error))
    yield kernel
    kernel.close()


@pytest.fixture
def bpf(bpf_kernel: Any) -> Iterator[Callable[..., Any]]:
    """bpf(text, ...): a BPF object on bpf_kernel."""
    public = importlib.import_module("bcc_py")
    with ExitStack() as stack:

        def opened(text: str, **more: Any) -> Any:
            return stack.enter_context(public.BPF(text=text, kernel=bpf_kernel, **more))

        yield opened
