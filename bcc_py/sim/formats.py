"""The tracepoints that the simulated kernel's workloads fire: their formats, and records laid out by them.

Input: formats.txt (the kernel's format files, one after the other) and syscalls.txt (the declared arguments
of every system call, from which syscalls:sys_enter_NAME and sys_exit_NAME follow). Output: KernelFormats, a
mapping from "category:event" to TracepointFormat that parses an event's text when it is first asked for.

record() packs named values into the bytes of one record; dynamic strings (__data_loc) go behind the fixed
part, their offset in the low and their length, with the zero byte, in the high 16 bits."""

from __future__ import annotations

import functools
import hashlib
import re
import struct
from collections.abc import Iterator, Mapping
from importlib import resources

from bcc_py.syscalls import SYSCALL_NAMES, kernel_name
from cfront.tracepoint import TracepointFormat, parse_format

__all__ = ["KernelFormats", "kernel_functions", "record"]

_FIRST_SYSCALL_ID = 3000
_COMMON = """\
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:int __syscall_nr;	offset:8;	size:4;	signed:1;
"""


class KernelFormats(Mapping[str, TracepointFormat]):
    """All formats by "category:event"."""

    def __init__(self) -> None:
        self._texts = _format_texts()
        self._parsed: dict[str, TracepointFormat] = {}

    @property
    def key(self) -> str:
        """A digest of all formats, without parsing one."""
        return hashlib.sha256(repr(sorted(self._texts.items())).encode()).hexdigest()

    def __getitem__(self, name: str) -> TracepointFormat:
        hit = self._parsed.get(name)
        if hit is None:
            hit = self._parsed[name] = parse_format(self._texts[name], name.partition(":")[0])
        return hit

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, name: object) -> bool:
        return name in self._texts


def _lines(name: str) -> list[str]:
    text = resources.files("bcc_py.sim").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


@functools.cache
def kernel_functions() -> tuple[str, ...]:
    """The kernel's functions beside those that system calls begin with."""
    return tuple(_lines("functions.txt"))


@functools.cache
def _format_texts() -> dict[str, str]:
    texts: dict[str, str] = {}
    for part in "\n".join(_lines("formats.txt")).split("category: ")[1:]:
        category, _, text = part.partition("\n")
        event = re.search(r"^name: (\w+)$", text, re.MULTILINE)
        assert event, "each part of formats.txt names its event"
        texts[f"{category}:{event[1]}"] = text
    return {**texts, **_syscall_texts()}


def _syscall_texts() -> dict[str, str]:
    texts: dict[str, str] = {}
    declared = dict(line.split(":", 1) for line in _lines("syscalls.txt"))
    named = (name for nr in sorted(SYSCALL_NAMES) if (name := kernel_name(nr)) in declared)
    for at, name in enumerate(named):
        fields = [one.strip() for one in declared[name].split(";") if one.strip()]
        texts[f"syscalls:sys_enter_{name}"] = _enter_text(name, _FIRST_SYSCALL_ID + 2 * at, fields)
        texts[f"syscalls:sys_exit_{name}"] = (
            f"name: sys_exit_{name}\nID: {_FIRST_SYSCALL_ID + 2 * at + 1}\nformat:\n{_COMMON}"
            '\tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;\n\nprint fmt: "0x%lx", REC->ret\n')
    return texts


def _enter_text(name: str, id: int, fields: list[str]) -> str:
    rows = "".join(f"\tfield:{one};\toffset:{16 + 8 * at};\tsize:8;\tsigned:0;\n" for at, one in enumerate(fields))
    names = [one.split()[-1].lstrip("*") for one in fields]
    text = ", ".join(f"{one}: 0x%08lx" for one in names)
    values = "".join(f", ((unsigned long)(REC->{one}))" for one in names)
    return f'name: sys_enter_{name}\nID: {id}\nformat:\n{_COMMON}{rows}\nprint fmt: "{text}"{values}\n'


_INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def record(fmt: TracepointFormat, common: bytes, values: Mapping[str, int | bytes]) -> bytes:
    """The bytes of one record. common: its first eight bytes. values: numbers, bytes of arrays (padded with
    zeros), and strings of dynamic arrays without their zero byte. Raises KeyError for a value the format lacks."""
    made = bytearray(fmt.size)
    made[: len(common)] = common
    for name, value in values.items():
        field = fmt.field(name)
        if field is None:
            raise KeyError(f"{fmt.full_name} has no field {name}")
        if field.is_data_loc and isinstance(value, bytes):
            struct.pack_into("<HH", made, field.offset, len(made), len(value) + 1)
            made += value + b"\0"
        elif isinstance(value, bytes):
            made[field.offset : field.offset + field.size] = value[: field.size].ljust(field.size, b"\0")
        else:
            struct.pack_into("<" + _INTEGERS[field.size], made, field.offset, value & ((1 << 8 * field.size) - 1))
    return bytes(made)
