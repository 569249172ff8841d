"""The kernels that compiled programs are handed to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bcc_py import kernel_from_spec
from bcc_py.kernel import Kernel


@pytest.fixture(scope="module", params=["sim", pytest.param("linux", marks=pytest.mark.linux)])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """Both kernels, one after the other; a test that chooses itself parametrizes this indirectly."""
    opened = kernel_from_spec(request.param)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def linux() -> Iterator[Kernel]:
    """The running Linux, for a test that is marked linux."""
    opened = kernel_from_spec("linux")
    yield opened
    opened.close()
