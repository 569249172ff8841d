"""Where the members of structs and unions lie: seeded random records against gcc.

gcc's program fills each member with ones in zeroed memory and prints the first and the number of the bits
that are set, with the record's size and alignment; ours are those of the BTF that the compiler writes."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from cfront import Btf, checked, types_from_c
from cfront.ctype import CType, Record

_SCALARS = {
    "signed char": 8, "unsigned char": 8, "short": 16, "unsigned short": 16, "int": 32, "unsigned int": 32, "long": 64,
    "unsigned long long": 64, "_Bool": 8, "void *": 64, "enum E": 32,
}
_FIELDS = [one for one in _SCALARS if one != "void *"]
COUNT = 220


def _member(chance: random.Random, name: str, inner: list[str]) -> str:
    kind = chance.random()
    packed = " __attribute__((packed))" if chance.random() < 0.05 else ""
    aligned = f" __attribute__((aligned({chance.choice([2, 4, 8, 16, 32])})))" if chance.random() < 0.06 else ""
    if kind < 0.4:
        type = chance.choice(_FIELDS)
        bits = 1 if type == "_Bool" else _SCALARS[type]
        return f"{type} {name} : {chance.randrange(1, bits + 1)}{packed};"
    if kind < 0.45:
        return f"{chance.choice(_FIELDS[:6])} : {chance.choice([0, 0, 3, 7])};"
    if kind < 0.55 and inner:
        return f"{chance.choice(inner)} {name}{chance.choice(['', '[2]'])}{aligned};"
    if kind < 0.62:
        tag = chance.choice(["struct", "union"])
        return f"{tag} {{ char {name}a; {chance.choice(list(_SCALARS))} {name}b; int {name}c : 5; }}{packed};"
    return f"{chance.choice(list(_SCALARS))} {name}{chance.choice(['', '', '', '[3]'])}{packed}{aligned};"


def _records(seed: int) -> tuple[str, list[str]]:
    """(C text, the records' names with their tags)."""
    chance = random.Random(seed)
    rows, names = ["enum E { E1, E2 };"], []
    for number in range(COUNT):
        tag = "union" if chance.random() < 0.2 else "struct"
        members = " ".join(_member(chance, f"m{at}", names[-20:]) for at in range(chance.randrange(1, 8)))
        end = chance.choice(["", "", "", "", " __attribute__((packed))", " __attribute__((aligned(16)))", " __attribute__((packed, aligned(4)))"])
        rows.append(f"{tag} r{number} {{ {members} }}{end};")
        if chance.random() < 0.15:
            rows[-2] += f' _Pragma("pack(push, {chance.choice([1, 2, 4, 8])})")'
            rows[-1] += ' _Pragma("pack(pop)")'
        names.append(f"{tag} r{number}")
    return "\n".join(rows) + "\n", names


def _members(record: Record, base: int = 0) -> list[tuple[str, int, int]]:
    """(name, first bit, bits) of every named member, those of unnamed records in their place."""
    found = []
    for one in record.fields or ():
        first = base + one.offset * 8 + one.bit_offset
        if not one.name:
            assert isinstance(one.type, Record)
            found += _members(one.type, first)
        else:
            bits = one.type.size * 8 if one.bit_size is None else one.bit_size
            found.append((one.name, first if bits else -1, bits))
    return found


def _gcc(text: str, layouts: dict[str, list[tuple[str, int, int]]], folder: Path) -> dict[str, list[int]]:
    main = "#include <stdio.h>\n#include <string.h>\n" + text + "static void show(unsigned char *p, unsigned long n) {\n"
    main += "long first = -1, count = 0; for (unsigned long i = 0; i < n * 8; i++) if (p[i / 8] >> i % 8 & 1) { if (first < 0) first = i; count++; }\n"
    main += 'printf(" %ld %ld", first, count); }\n'
    for number, (name, members) in enumerate(layouts.items()):
        main += f"static void f{number}(void) {{ static union {{ {name} r; unsigned char b[sizeof({name})]; }} u;\n"
        main += f'printf("%lu %lu", sizeof({name}), _Alignof({name}));\n'
        for member, _, _ in members:
            is_field = f"{member} :" in text.split(f"{name} {{")[1].split("};\n")[0].split("\n")[0]
            fill = f"u.r.{member} = -1;" if is_field else f"memset(&u.r.{member}, 255, sizeof(u.r.{member}));"
            main += f"memset(u.b, 0, sizeof u.b); {fill} show(u.b, sizeof u.b);\n"
        main += 'puts(""); }\n'
    main += "int main(void) {" + "".join(f"f{number}();" for number in range(len(layouts))) + "return 0; }\n"
    (folder / "main.c").write_text(main)
    subprocess.run(["gcc", "-w", "-O0", "-o", folder / "main", folder / "main.c"], check=True, timeout=120)
    printed = subprocess.run([folder / "main"], check=True, capture_output=True, text=True, timeout=60).stdout
    return {name: [int(word) for word in row.split()] for name, row in zip(layouts, printed.splitlines(), strict=True)}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: it is what is compared with")
@pytest.mark.parametrize("seed", [1, 2])
def test_layouts_equal_gcc(seed: int, tmp_path: Path) -> None:
    text, names = _records(seed)
    types = Btf(types_from_c(text))
    layouts: dict[str, list[tuple[str, int, int]]] = {}
    ours: dict[str, list[int]] = {}
    for name in names:
        tag, _, word = name.partition(" ")
        record: CType | None = types.find(tag, word)
        assert isinstance(record, Record), name
        layouts[name] = _members(record)
        ours[name] = [record.size, record.align, *(number for _, *place in layouts[name] for number in place)]
    expected = _gcc(text, layouts, tmp_path)
    for row in text.splitlines()[1:]:
        name = " ".join(row.split()[:2])
        # BTF has no alignment: what its reader infers is not compared, what the compiler laid out is
        assert ours[name][:1] + ours[name][2:] == expected[name][:1] + expected[name][2:], row


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: it is what is compared with")
def test_alignments_equal_gcc(tmp_path: Path) -> None:
    text, names = _records(3)
    pairs = ", ".join(f"sizeof({one}), _Alignof({one})" for one in names)
    source = f"{text}unsigned long numbers[] = {{ {pairs} }};\n"
    (tmp_path / "t.c").write_text(source + "int printf(const char *, ...); int main(void) { for (unsigned i = 0; i < sizeof numbers / 8; i++)"
                                  ' printf("%lu ", numbers[i]); }\n')
    subprocess.run(["gcc", "-w", "-o", tmp_path / "t", tmp_path / "t.c"], check=True, timeout=60)
    expected = subprocess.run([tmp_path / "t"], check=True, capture_output=True, text=True, timeout=60).stdout.split()

    unit, _ = checked(source, target="host")
    (numbers,) = [one for one in unit.globals if one.name == "numbers"]
    assert numbers.init is not None
    found = [int.from_bytes(numbers.init[at : at + 8], "little") for at in range(0, len(numbers.init), 8)]
    for at in range(len(names)):
        assert found[2 * at : 2 * at + 2] == [int(one) for one in expected[2 * at : 2 * at + 2]], text.splitlines()[at + 1]
