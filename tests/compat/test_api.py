"""Every public name of BCC's Python modules is there under the alias, and takes the same parameters."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from bcc_py.compat import install_as_bcc

_API = Path(__file__).parents[1] / "data" / "bcc_api.txt"
# what is BCC's own machinery, which no tool and no test of upstream's touches
_INTERNAL = {
    "bcc.table": ("FileDesc", "TableBase.decode_c_struct", "get_json_hist"),
    "bcc.exec": ("child_exit",),
    "bcc.perf": ("Perf.NR_PERF_EVENT_OPEN", "Perf.libc", "Perf.syscall", "Perf.ioctl"),
    "bcc.disassembler": ("OffsetUnion", "ImmUnion", "BPFInstrFields", "BPFInstr", "BPFDecoder", "disassemble_instruction", "MapDecoder"),
}


def _rows() -> list[tuple[str, str, list[str] | None]]:
    rows = []
    for line in _API.read_text().splitlines():
        if line.startswith("#"):
            continue
        head, _, given = line.partition(" (")
        module, name = head.split()
        if not any(name == one or name.startswith(f"{one}.") for one in _INTERNAL.get(module, ())):
            rows.append((module, name, [one for one in given.split(", ") if one] if " (" in line else None))
    return rows


def _found(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("module", sorted({module for module, _, _ in _rows()}))
def test_names_and_parameters(module: str) -> None:
    install_as_bcc()
    wrong = []
    for of, name, wanted in _rows():
        if of != module:
            continue
        try:
            found = _found(module, name)
        except AttributeError:
            wrong.append(f"{name} is missing")
            continue
        if wanted is None or inspect.isclass(found):
            continue
        ours = [one.name for one in inspect.signature(found).parameters.values() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        ours = ours[1:] if ours[:1] == ["self"] else ours
        theirs = [one for one in wanted if not one.startswith("*")]
        if ours[: len(theirs)] != theirs:
            wrong.append(f"{name} takes {ours}, BCC's {theirs}")
    assert wrong == []


def test_the_list_is_long_enough_to_mean_something() -> None:
    assert len(_rows()) > 250
