"""Texts that are refused: every diagnostic with its exact place, sentence and hint, in the order of the text."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from bcc_py.sim.native import kernel_types
from cfront import CompileError, compile, compile_unit
from cfront.errors import MAX_DIAGNOSTICS, Diagnostic
from tests.cfront.cases import Case, read_cases


def _said(text: str, **options: object) -> list[str]:
    with pytest.raises(CompileError) as caught:
        compile_unit(text, types=kernel_types(), **options)  # type: ignore[arg-type]
    return _rows(caught.value.diagnostics)


def _rows(diagnostics: Iterable[Diagnostic]) -> list[str]:
    rows = []
    for one in diagnostics:
        assert one.span is not None, one
        rows.append(f"{one.span.line}:{one.span.col}: {one.message}")
        rows[-1] += f" [-W{one.group}]" if one.group else ""
        rows += [f"hint: {one.hint}"] if one.hint else []
    return rows


@pytest.mark.parametrize("case", read_cases("reject.case"), ids=lambda one: one.name)
def test_refused_with_a_place_and_a_sentence(case: Case) -> None:
    assert _said(case.c, target=case.target) == case.reject


@pytest.mark.parametrize("case", read_cases("warn.case"), ids=lambda one: one.name)
def test_warned_of_with_a_place_and_a_sentence(case: Case) -> None:
    made = compile_unit(case.c, types=kernel_types(), target=case.target)
    assert made.object
    assert _rows(made.warnings) == case.reject
    assert compile_unit(case.c, types=kernel_types(), target=case.target, cflags=["-w"]).warnings == ()


_CLANG = "clang-19"
_BY_ANOTHER_NAME = {  # groups that clang splits further
    "pointer-to-int-cast": "void-pointer-to-int-cast", "int-to-pointer-cast": "int-to-void-pointer-cast",
}
_CLANGS_TYPES = """typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64; typedef _Bool bool;
u64 bpf_ktime_get_ns(void); u32 bpf_get_prandom_u32(void);
"""


@pytest.mark.skipif(shutil.which(_CLANG) is None, reason=f"{_CLANG} is not installed: it is what is compared with")
@pytest.mark.parametrize("case", [one for one in read_cases("warn.case") if "BPF_" not in one.c and "printk" not in one.c], ids=lambda one: one.name)
def test_clang_warns_of_the_same(case: Case, tmp_path: Path) -> None:
    """In the same lines, in the same groups, at the same number of places; with what BCC has it silence."""
    (tmp_path / "types.h").write_text(_CLANGS_TYPES)
    (tmp_path / "x.c").write_text(case.c)
    run = subprocess.run([_CLANG, "-target", "bpf", "-std=gnu11", "-fsyntax-only", "-fno-caret-diagnostics", "-Wno-pointer-sign", "-include", "types.h", "x.c"],
                         cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    theirs = sorted((int(line), group) for line, group in re.findall(r"x\.c:(\d+):\d+: (?:warning|error): .*\[-W([\w#-]+)", run.stderr))
    ours = sorted((one.span.line, one.group) for one in compile_unit(case.c, target=case.target).warnings if one.span)
    assert [(line, _BY_ANOTHER_NAME.get(group, group)) for line, group in ours] == [
        (line, _BY_ANOTHER_NAME.get(group, group)) for line, group in theirs], run.stderr


def test_the_caret_stands_under_the_name() -> None:
    with pytest.raises(CompileError) as caught:
        compile("#define USE(x) ((x) + countt)\nint p(void *ctx) {\n\tint count = 1;\n\treturn USE(count);\n}\n", filename="my.c")
    assert str(caught.value).splitlines() == [
        "my.c:4:9: error: use of undeclared name 'countt'",
        "     return USE(count);",
        "            ^",
        "    in expansion of macro USE",
        "    hint: did you mean 'count'?",
    ]


def test_an_error_in_nested_macros_names_them_from_the_inside() -> None:
    text = "#define INNER(x) ((x)->nothing)\n#define OUTER(x) (1 + INNER(x))\nint p(void *ctx) {\n\treturn OUTER((struct pt_regs *)ctx);\n}\n"
    with pytest.raises(CompileError) as caught:
        compile(text, filename="my.c", types=kernel_types())
    assert str(caught.value).splitlines() == [
        "my.c:4:9: error: no member named 'nothing' in 'struct pt_regs'",
        "     return OUTER((struct pt_regs *)ctx);",
        "            ^",
        "    in expansion of macro INNER, of OUTER",
    ]


def test_at_most_twenty_diagnostics_are_reported() -> None:
    text = "int p(void *ctx) {\n" + "".join(f"    unknown{number}();\n" for number in range(30)) + "    return 0;\n}\n"
    with pytest.raises(CompileError) as caught:
        compile(text)
    assert [one.span.line for one in caught.value.diagnostics if one.span] == list(range(2, 2 + MAX_DIAGNOSTICS))


def test_a_refused_declaration_is_not_reported_again_where_its_name_is_used() -> None:
    text = "BPF_TABLE(\"hsh\", int, int, t, 1);\nint p(void *ctx) { struct no g; int k = 0; g.x = 1; t.lookup(&k); return g.y; }\n"
    assert [one for one in _said(text) if not one.startswith("hint")] == [
        "1:28: unknown table type 'hsh'", "2:30: 'g' has incomplete type 'struct no'"]


def test_an_error_in_an_include_names_the_include(tmp_path: Path) -> None:
    (tmp_path / "mine.h").write_text("\n\nstatic int broken(void) { return nothing; }\n")
    with pytest.raises(CompileError) as caught:
        compile('#include "mine.h"\nint p(void *ctx) { return broken(); }\n', cflags=[f"-I{tmp_path}"])
    (one,) = caught.value.diagnostics
    assert str(one.span) == f"{tmp_path}/mine.h:3:34"
    assert one.source_line == "static int broken(void) { return nothing; }"


@pytest.mark.parametrize("flags, sentence", [
    (["-x"], "unknown flag -x"), (["-D"], "flag -D needs a value"), (["-DX=1", "--frob"], "unknown flag --frob"),
])
def test_flags_are_checked(flags: list[str], sentence: str) -> None:
    with pytest.raises(CompileError, match=sentence):
        compile("int p(void *ctx) { return 0; }", cflags=flags)


@pytest.mark.parametrize("text, sentence", [
    ("int p(void *ctx) { char c = 3; return c == 100, ctx == 0; }", None),
    ("int p(void *ctx) { int *x = 5; return *x; }", "initialiser: integer 'int' made 'int *' without a cast"),
    ('int p(void *ctx) { bpf_trace_printk("%d"); return 0; }', "bpf_trace_printk: 1 conversion specifiers, 0 values"),
    ("#warning look here\nint p(void *ctx) { return 0; }", "#warning look here"),
])
def test_warnings_are_kept_and_can_be_silenced(text: str, sentence: str | None) -> None:
    said = [one.message for one in compile_unit(text).warnings]
    assert said == ([] if sentence is None else [sentence])
    assert compile_unit(text, cflags=["-w"]).warnings == ()
