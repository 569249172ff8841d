"""Histograms, listings, texts and layouts: what BCC itself made of random questions (stored, and where the system has BCC,
asked again with another seed), and what we make of them."""

from __future__ import annotations

import ctypes
import functools
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bcc_py import listing
from bcc_py.elf import read_object
from bcc_py.kernel import Kernel, Map
from bcc_py.spec import MapSpec
from bcc_py.table import HashTable, table_for
from bcc_py.table.text import _Number, _pieces, _Text, text_of_value, value_of_text
from cfront import compile
from cfront.btf import Btf
from cfront.ctype import CType, Record
from tests.table.questions import NOW, OPCODES, questions

SYSTEM_PYTHON = Path("/usr/bin/python3")
STORED = Path(__file__).parents[1] / "cases" / "table" / "bcc.json.gz"
COUNT = 200


class _Shape:
    """A map that is never asked for anything."""

    fd = 3

    def __init__(self, spec: MapSpec) -> None:
        self.spec = spec


class _NoKernel:
    cpus = 2


@pytest.fixture(scope="module", params=["stored", pytest.param("asked", marks=pytest.mark.linux)])
def asked(request: pytest.FixtureRequest) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """(questions, BCC's answers)."""
    if request.param == "stored":
        if request.config.getoption("--update"):
            made = _prepared(questions(1, COUNT))
            STORED.parent.mkdir(parents=True, exist_ok=True)
            STORED.write_bytes(gzip.compress(json.dumps([made, _answers(made)]).encode(), mtime=0))
        stored = json.loads(gzip.decompress(STORED.read_bytes()))
        return stored[0], stored[1]
    made = _prepared(questions(2, COUNT))
    return made, _answers(made)


def _answers(made: dict[str, list[Any]]) -> dict[str, Any]:
    program = str(Path(__file__).with_name("bcc_answers.py"))
    found = SYSTEM_PYTHON.exists() and subprocess.run([SYSTEM_PYTHON, "-c", "import bcc"], capture_output=True).returncode == 0
    if not found:
        pytest.skip("the system's Python has no BCC (apt install python3-bpfcc)")
    done = subprocess.run([SYSTEM_PYTHON, program], input=json.dumps(made), capture_output=True, text=True, check=True)
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@functools.cache
def _types(declarations: str, names: tuple[str, ...]) -> dict[str, CType]:
    tables = "".join(f"BPF_ARRAY(t_{one}, {one}, 1);\n" for one in names)
    spec = read_object(compile(f"{declarations}{tables}int f(void *ctx) {{ return 0; }}"))
    btf = Btf(spec.btf)
    return {one: btf.type(spec.maps[f"t_{one}"].value_type) for one in names}


def _types_of(made: dict[str, list[Any]]) -> dict[str, CType]:
    return _types("".join(one["declaration"] + "\n" for one in made["types"]), tuple(one["name"] for one in made["types"]))


def _prepared(made: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The questions with values of the types' sizes, whose strings end within their arrays: BCC reads on behind them."""
    types = _types_of(made)
    for one in made["types"]:
        type = types[one["name"]]
        value = bytearray.fromhex(one["value"])[: type.size]
        for piece in _pieces(type, 0):
            if isinstance(piece, _Text):
                value[piece.offset + piece.size - 1] = 0
        one["value"] = bytes(value).hex()
    return made


def _typed(asked: tuple[dict[str, list[Any]], dict[str, Any]]) -> Iterator[tuple[dict[str, Any], CType, dict[str, Any]]]:
    made, answers = asked
    if answers["types"] is None:
        pytest.skip("BCC cannot compile here (BCC_KERNEL_SOURCE: the directory of a kernel's headers)")
    types = _types_of(made)
    for one, answer in zip(made["types"], answers["types"], strict=True):
        yield one, types[one["name"]], answer


# ---- histograms


class _Rows(HashTable):
    """A table whose rows are given."""

    def __init__(self, key: Any, rows: list[tuple[Any, Any]]) -> None:
        spec = MapSpec("hist", 1, 4, 8, 100)  # type: ignore[arg-type]
        super().__init__(_Shape(spec), _NoKernel())  # type: ignore[arg-type]
        self.Key = key
        self.rows = rows

    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.rows)


class _Bucket(ctypes.Structure):
    _fields_ = [("bucket", ctypes.c_uint), ("__pad_1", ctypes.c_char * 4), ("slot", ctypes.c_ulonglong)]


class _Named(ctypes.Structure):
    _fields_ = [("bucket", ctypes.c_char * 8), ("slot", ctypes.c_ulonglong)]


def test_histograms(asked: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda form: NOW)
    for question, answer in zip(asked[0]["hist"], asked[1]["hist"], strict=True):
        key = {"slot": ctypes.c_int, "number": _Bucket, "name": _Named}[question["key"]]
        rows = []
        for bucket, slot, count in question["rows"]:
            named = bucket.encode() if isinstance(bucket, str) else bucket
            rows.append((key(slot) if key is ctypes.c_int else key(bucket=named, slot=slot), ctypes.c_ulonglong(count)))
        more: dict[str, Any] = {"val_type": question["val_type"], "section_header": question["header"]}
        if question["is_grouped"]:
            more["bucket_fn"] = lambda bucket: bucket % 3 if isinstance(bucket, int) else bucket[:1]
            more |= {"section_print_fn": lambda bucket: f"<{bucket}>", "bucket_sort_fn": sorted}
        if question["kind"] != "json":
            more["strip_leading_zero"] = question["is_stripped"]
        getattr(_Rows(key, rows), f"print_{question['kind']}_hist")(**more)
        assert capsys.readouterr().out == answer, question


# ---- listings


def test_instructions(asked: Any) -> None:
    for question, answer in zip(asked[0]["insns"], asked[1]["insns"], strict=True):
        # BCC gives the second half of a 64-bit load the number of the instruction behind it
        numbered = re.sub(r"^ *(\d+)(:      \(64-bit upper word\))$", lambda one: f"{int(one[1]) - 1:4}{one[2]}", answer, flags=re.M)
        assert listing.disassemble_prog(b"f", bytes.fromhex(question)) == numbered


def test_questions_ask_for_every_opcode() -> None:
    code = b"".join(bytes.fromhex(one) for one in questions(1, COUNT)["insns"])
    assert set(OPCODES) <= set(code[::8])


def test_instructions_that_bcc_does_not_know() -> None:
    rows = [("3706010002000000", "r6 s/= 2"), ("db12000000000000", "lock *(u64 *)(r2 +0) += r1"), ("1625030000000000", None),
            ("8520000007000000", "call kernel-function"), ("8d00000000000000", "unknown <0x8d>"),
            ("85000000ff000000", "call <unknown helper #255>")]
    for code, text in rows:
        line = listing.disassemble_str(bytes.fromhex(code))[0]
        assert line.startswith(f"   0: ({code[:2]}) ") and (text is None or text in line or "kernel" in text), line
    loads = bytes.fromhex("1801000005000000" + "00" * 8 + "180200fffeffffff" + "00000000ffffffff" + "1803000007000000")
    assert listing.disassemble_str(loads) == [
        "   0: (18) r1 = 0x5", "   1:      (64-bit upper word)", "   2: (18) r2 = 0xfffffffffffffffe",
        "   3:      (64-bit upper word)", "   4: (18) r3 = 0x7"]
    assert listing.disassemble_str(bytes.fromhex("1821000003000000" + "0000000008000000"))[0] == "   0: (18) r1 = map[fd:3][0]+8"
    assert listing.disassemble_str(b"") == []
    with pytest.raises(ValueError, match="not a multiple of 8"):
        listing.disassemble_str(bytes(9))


def _table(type: CType) -> Any:
    spec = MapSpec("t", 2, 4, type.size, 1)  # type: ignore[arg-type]
    map: Map = _Shape(spec)  # type: ignore[assignment]
    kernel: Kernel = _NoKernel()  # type: ignore[assignment]
    return table_for(map, kernel, None, type)


def _has_bits(declaration: str) -> bool:
    return re.search(r":\d", declaration) is not None


def test_layouts(asked: Any) -> None:
    """decode_table, but for what BCC does not get right: arrays of structs, bit-fields beside others, sizes in nested structs."""
    seen = 0
    for one, type, answer in _typed(asked):
        if _has_bits(one["declaration"]) or "<class" in answer["layouts"][0]:
            continue
        table = _table(type)
        plain, sized = (listing.decode_map(b"t", table, 2, is_sized).partition("\n")[2] for is_sized in (False, True))
        assert plain.replace("unsigned int key", "int key") == answer["layouts"][0]
        assert re.sub(r"\[\d+ \+\d+\] ", "", sized) == plain
        if "{" not in one["declaration"].partition("{")[2]:
            assert sized.replace("unsigned int key", "int key") == answer["layouts"][1]
        seen += 1
    assert seen > COUNT // 5


def test_layout_with_bit_fields_as_documented() -> None:
    types = _types("typedef struct {int a; short b; struct {int c:4; int d:8;} e;} __attribute__((__packed__)) key_t;\n"
                   "typedef struct {u32 x; u16 y:11; u8 z; u32 w:2;} odd_t;\n", ("key_t", "odd_t"))
    text = listing.decode_map(b"test_map", _table(types["key_t"]), 1)
    assert text == ("Layout of BPF map b'test_map' (type HASH, FD 3, ID 0):\n  unsigned int key;\n  struct {\n    int a;\n    short b;\n"
                    "    struct {\n      int c:4;\n      int d:8;\n    } e;\n  } value;")
    sized = listing.decode_map("m", _table(types["odd_t"]), 99, sizeinfo=True).splitlines()
    assert sized[0] == "Layout of BPF map m (type <unknown>, FD 3, ID 0):"
    assert sized[3:7] == ["    [0 +4] unsigned int x;", "    [4,0 +11 bit] unsigned short y:11;", "    [6 +1] unsigned char z;",
                          "    [4,24 +2 bit] unsigned int w:2;"]


# ---- texts and classes


def test_texts(asked: Any) -> None:
    """Both ways. Left out: structs of which BCC writes the padding in front, and numbers that LLVM keeps in odd sizes."""
    seen = 0
    for one, type, answer in _typed(asked):
        sizes = {piece.size for piece in _pieces(type, 0) if isinstance(piece, _Number)}
        text = bytes.fromhex(answer["text"])
        if sizes - {1, 2, 3, 4, 8} or (isinstance(type, Record) and not text.startswith(b"{")):
            continue
        assert text_of_value(type, bytes.fromhex(one["value"])) == text, one["declaration"]
        back = value_of_text(type, text)
        assert back is not None and text_of_value(type, back) == text
        if 3 not in sizes:
            assert back.hex() == _without_what_bcc_left(back, answer["back"]), one["declaration"]
        seen += 1
    assert seen > COUNT * 3 // 4


def _without_what_bcc_left(back: bytes, theirs: str) -> str:
    """BCC's bytes; a number above the greatest signed one it reads as that."""
    raw = bytearray.fromhex(theirs)
    for at in range(len(raw) - 7):
        if raw[at : at + 8] == b"\xff" * 7 + b"\x7f":
            raw[at : at + 8] = back[at : at + 8]
    return raw.hex()


def test_classes(asked: Any) -> None:
    """Names, offsets and sizes, where there are no bit-fields."""
    for one, type, answer in _typed(asked):
        if not _has_bits(one["declaration"]):
            made = _table(type).Leaf
            assert ctypes.sizeof(made) == answer["size"] == type.size
            assert [[row[0], getattr(made, row[0]).offset] for row in getattr(made, "_fields_", [])] == answer["places"]


assert sys.byteorder == "little", "values are written down in little-endian order"
