"""kernel.h: laid out as another compiler lays it out, and named as Linux names it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from importlib import resources
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bcc_py.sim import native
from cfront.btf import Btf
from cfront.ctype import Record

_TEXT = resources.files("bcc_py.sim").joinpath("kernel.h").read_text(encoding="utf-8")
_NAMES = re.findall(r"^struct (\w+) \{", _TEXT, re.MULTILINE)


def _record(types: Btf, name: str) -> Record | None:
    found = types.find("struct", name)
    return found if isinstance(found, Record) and found.is_complete else None


def _members(record: Record) -> list[str]:
    """Fields that offsetof takes: no bit-fields."""
    return [name for name in record.member_names() if (one := record.member(name)) and one.bit_size is None]


def test_every_struct_is_described() -> None:
    assert len(_NAMES) > 80
    assert [name for name in _NAMES if _record(native.kernel_types(), name) is None] == []
    assert native.kernel_types().enumerator("TASK_COMM_LEN") == 16
    assert native.kernel_types().find("typedef", "pid_t") is not None


@pytest.mark.skipif(shutil.which("gcc") is None, reason="compares with gcc")
def test_layouts_are_gccs(tmp_path: Path) -> None:
    """Size of every struct and offset of every field."""
    types = native.kernel_types()
    wanted, rows = [], []
    for name in _NAMES:
        record = _record(types, name)
        assert record is not None
        wanted.append((name, "", record.size))
        rows.append(f"sizeof(struct {name})")
        for field in _members(record):
            member = record.member(field)
            assert member is not None
            wanted.append((name, field, member.offset))
            rows.append(f"__builtin_offsetof(struct {name}, {field})")
    text = f"{_TEXT}\nconst unsigned long table[] = {{{', '.join(rows)}}};"
    made = tmp_path / "layouts.o"
    subprocess.run(["gcc", "-std=gnu99", "-w", "-c", "-xc", "-", "-o", str(made)], input=text.encode(), check=True)
    section = ELFFile(BytesIO(made.read_bytes())).get_section_by_name(".rodata")
    values = struct.unpack(f"<{len(rows)}Q", section.data()[: 8 * len(rows)])
    assert [(*one[:2], value) for one, value in zip(wanted, values, strict=True)] == wanted
    assert len(rows) > 500


# sizes that differ on purpose: [1] here, a flexible array there; as many CPUs as there may be; structs of fewer fields
_OTHER_SIZE = {("pid", "numbers"), ("cpumask", "bits"), ("pglist_data", "node_zones")}


@pytest.mark.linux
def test_fields_are_named_and_sized_as_in_linux() -> None:
    """Every field exists in the running kernel's struct of that name, with the same size if it is no struct."""
    path = Path("/sys/kernel/btf/vmlinux")
    if not path.exists():
        pytest.skip("this machine has no BTF of its kernel")
    ours, theirs = native.kernel_types(), Btf(path.read_bytes())
    wrong = []
    for name in _NAMES:
        mine, real = _record(ours, name), _record(theirs, name)
        assert mine is not None
        for field in mine.member_names() if real else ():
            one, other = mine.member(field), real.member(field) if real else None
            assert one is not None
            if other is None:
                wrong.append((name, field, "is not there"))
            elif one.bit_size != other.bit_size or (
                    one.type.size != other.type.size and not isinstance(one.type, Record) and (name, field) not in _OTHER_SIZE):
                wrong.append((name, field, f"{one.type} for {other.type}"))
    assert wrong == []


def test_registers_are_linuxs() -> None:
    record = _record(native.kernel_types(), "pt_regs")
    assert record is not None
    assert record.size == 168
    assert [record.member(name).offset for name in ("di", "si", "dx", "cx", "r8", "r9", "ax", "orig_ax", "ip", "sp")] == [  # type: ignore[union-attr]
        112, 104, 96, 88, 72, 64, 80, 120, 128, 152]
