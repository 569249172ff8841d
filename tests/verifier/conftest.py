"""The running Linux as an oracle."""

from __future__ import annotations

import pytest

from bcc_py.errors import NotSupportedError
from tests.verifier.linux_oracle import is_permitted


@pytest.fixture(scope="session")
def linux() -> None:
    """Asks once whether bpf(2) is permitted; a test is skipped where it is not (tests/conftest.py)."""
    if not is_permitted():
        raise NotSupportedError("bpf(2) is not permitted here", feature="bpf")
