"""Texts that are refused: every diagnostic with its exact place, sentence and hint, in the order of the text."""

from __future__ import annotations

import pytest

from bcc_py.sim.native import kernel_types
from cfront import CompileError, compile, compile_unit
from cfront.errors import MAX_DIAGNOSTICS
from tests.cfront.cases import Case, read_cases


def _said(text: str, **options: object) -> list[str]:
    with pytest.raises(CompileError) as caught:
        compile(text, types=kernel_types(), **options)  # type: ignore[arg-type]
    rows = []
    for one in caught.value.diagnostics:
        assert one.span is not None, one
        rows.append(f"{one.span.line}:{one.span.col}: {one.message}")
        rows += [f"hint: {one.hint}"] if one.hint else []
    return rows


@pytest.mark.parametrize("case", read_cases("reject.case"), ids=lambda one: one.name)
def test_refused_with_a_place_and_a_sentence(case: Case) -> None:
    assert _said(case.c) == case.reject


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


def test_at_most_twenty_diagnostics_are_reported() -> None:
    text = "int p(void *ctx) {\n" + "".join(f"    unknown{number}();\n" for number in range(30)) + "    return 0;\n}\n"
    with pytest.raises(CompileError) as caught:
        compile(text)
    assert [one.span.line for one in caught.value.diagnostics if one.span] == list(range(2, 2 + MAX_DIAGNOSTICS))


def test_a_refused_declaration_is_not_reported_again_where_its_name_is_used() -> None:
    text = "BPF_TABLE(\"hsh\", int, int, t, 1);\nint p(void *ctx) { struct no g; int k = 0; g.x = 1; t.lookup(&k); return g.y; }\n"
    assert [one for one in _said(text) if not one.startswith("hint")] == [
        "1:28: unknown table type 'hsh'", "2:30: 'g' has incomplete type 'struct no'"]


def test_an_error_in_an_include_names_the_include(tmp_path: object) -> None:
    (tmp_path / "mine.h").write_text("\n\nstatic int broken(void) { return nothing; }\n")  # type: ignore[operator]
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
    ("int p(void *ctx) { char c; return c == 300, ctx == 5; }", None),
    ("int p(void *ctx) { int *x = 5; return *x; }", "initialiser: integer 'int' made 'int *' without a cast"),
    ('int p(void *ctx) { bpf_trace_printk("%d"); return 0; }', "bpf_trace_printk: 1 conversion specifiers, 0 values"),
    ("#warning look here\nint p(void *ctx) { return 0; }", "#warning look here"),
])
def test_warnings_are_kept_and_can_be_silenced(text: str, sentence: str | None) -> None:
    said = [one.message for one in compile_unit(text).warnings]
    assert said == ([] if sentence is None else [sentence])
    assert compile_unit(text, cflags=["-w"]).warnings == ()
