"""bcc.disassembler: instructions and tables as text."""

from __future__ import annotations

from bcc_py.listing import decode_map, disassemble_prog, disassemble_str

__all__ = ["decode_map", "disassemble_prog", "disassemble_str"]
