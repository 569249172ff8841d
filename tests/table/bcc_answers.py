"""python3 bcc_answers.py: what BCC itself makes of the questions on standard input, as JSON on standard output.

Run by the system's Python, which has BCC. Questions: {"hist": [...], "insns": [...], "types": [...]}; the answers have the
same shape. Types need BCC to compile, for which it must find kernel headers (BCC_KERNEL_SOURCE); without, they are null."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import sys
import time

from bcc import BPF, disassembler, table  # type: ignore[import-not-found]
from bcc.libbcc import lib  # type: ignore[import-not-found]

NOW = "2026-01-02 03:04:05"


class _Plain(table.TableBase):
    """A table whose rows are given."""

    Key = ctypes.c_int

    def __init__(self, rows: list) -> None:
        self.rows = rows

    def items(self) -> list:
        return self.rows

    def __len__(self) -> int:
        return len(self.rows)


class _Bucket(ctypes.Structure):
    _fields_ = [("bucket", ctypes.c_uint), ("__pad_1", ctypes.c_char * 4), ("slot", ctypes.c_ulonglong)]


class _Named(ctypes.Structure):
    _fields_ = [("bucket", ctypes.c_char * 8), ("slot", ctypes.c_ulonglong)]


def histogram(question: dict) -> str:
    """What print_KIND_hist prints for these rows."""
    key_class = {"slot": ctypes.c_int, "number": _Bucket, "name": _Named}[question["key"]]
    rows = []
    for bucket, slot, count in question["rows"]:
        if key_class is ctypes.c_int:
            key = key_class(slot)
        else:
            key = key_class(bucket=bucket.encode() if isinstance(bucket, str) else bucket, slot=slot)
        rows.append((key, ctypes.c_ulonglong(count)))
    one = _Plain(rows)
    one.Key = key_class
    named = {"val_type": question["val_type"], "section_header": question["header"]}
    if question["is_grouped"]:
        named["bucket_fn"] = lambda bucket: bucket % 3 if isinstance(bucket, int) else bucket[:1]
        named["section_print_fn"] = lambda bucket: f"<{bucket}>"
        named["bucket_sort_fn"] = sorted
    if question["kind"] != "json":
        named["strip_leading_zero"] = question["is_stripped"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        getattr(one, f"print_{question['kind']}_hist")(**named)
    return out.getvalue()


def types(questions: list) -> list | None:
    """For each declaration: the text of a value, what that text is read as, the layout, the members of the class."""
    tables = "".join(f"BPF_ARRAY(t{at}, {one['name']}, 1);\n" for at, one in enumerate(questions))
    try:
        bpf = BPF(text="".join(one["declaration"] + "\n" for one in questions) + tables)
    except Exception:
        return None
    return [_answer(bpf, b"t%d" % at, bytes.fromhex(one["value"])) for at, one in enumerate(questions)]


def _answer(bpf: BPF, name: bytes, value: bytes) -> dict:
    number = lib.bpf_table_id(bpf.module, name)
    text, given = ctypes.create_string_buffer(len(value) * 64 + 64), ctypes.create_string_buffer(value, len(value) + 8)
    assert lib.bpf_table_leaf_snprintf(bpf.module, number, text, len(text), ctypes.byref(given)) == 0
    back = ctypes.create_string_buffer(len(value) + 8)
    code = lib.bpf_table_leaf_sscanf(bpf.module, number, text.value, ctypes.byref(back))
    made = bpf.get_table(name)
    places = [[row[0], getattr(made.Leaf, row[0]).offset] for row in getattr(made.Leaf, "_fields_", [])]
    layouts = [bpf.decode_table(name, sizeinfo=is_sized).partition("\n")[2] for is_sized in (False, True)]
    return {"text": text.value.hex(), "back": back.raw[: len(value)].hex() if code == 0 else None, "layouts": layouts,
            "size": ctypes.sizeof(made.Leaf), "places": places}


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # BCC's library speaks there
    table.strftime = lambda form: time.strftime(form, time.strptime(NOW, "%Y-%m-%d %H:%M:%S"))
    asked = json.load(sys.stdin)
    answers = {
        "hist": [histogram(one) for one in asked["hist"]],
        "insns": [disassembler.disassemble_prog(b"f", bytes.fromhex(one)) for one in asked["insns"]],
        "types": types(asked["types"]),
    }
    json.dump(answers, out)
    out.close()


if __name__ == "__main__":
    main()
