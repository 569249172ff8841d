"""Kernels for tests, closed afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bcc_py.sim.kernel import SimKernel
from tests.sim.quiet import Script


@pytest.fixture
def kernel() -> Iterator[SimKernel]:
    """A simulated kernel in which nothing happens."""
    made = SimKernel(Script(), spec="sim:test")
    yield made
    made.close()
