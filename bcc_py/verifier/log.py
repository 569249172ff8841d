"""The log's words for values and states."""

from __future__ import annotations

from bcc_py.verifier.domain import Pointer, Value
from bcc_py.verifier.state import SPILLED, Slot

__all__ = ["slot_text", "value_text"]


def value_text(value: Value | None) -> str:
    if isinstance(value, Pointer) and value.kind == "fp" and not value.off and value.var is None:
        return f"fp{value.off}"
    return str(value)


def slot_text(slot: Slot) -> str:
    types, value = slot
    return str(value) if types == SPILLED else types if value is None else f"{types}:{value}"
