"""The running Linux as an oracle."""

from __future__ import annotations

import os

import pytest

from bcc_py.errors import NotSupportedError
from tests.verifier.linux_oracle import is_permitted


@pytest.fixture(scope="session")
def linux() -> None:
    """Skips where bpf(2) is not there or not permitted; fails instead if BCC_PY_LINUX=1."""
    if is_permitted():
        return
    error = NotSupportedError("bpf(2) is not permitted here", feature="bpf")
    if os.environ.get("BCC_PY_LINUX") == "1":
        raise error
    pytest.skip(str(error))
