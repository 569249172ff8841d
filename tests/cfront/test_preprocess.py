"""The preprocessor: token for token what `gcc -E` gives, and the place of every token."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cfront import CompileError
from cfront.preprocess import Flags, Token, parse_flags, preprocess, text_from_tokens

_TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[A-Za-z_$][\w$]*|\.?\d(?:[eEpP][+-]|[\w.])*|\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|[<>=!+\-*/%&|^]='
    r"|&&|\|\||##|\S")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: it is what is compared with")

# the examples of C11 6.10.3, and each thing that preprocessors get wrong
TEXTS = {
    "objects": "#define A 1\n#define B A + A\nB A B C\n#undef A\nB A\n",
    "own name": "#define f f(1)\n#define g(x) x g(x)\nf g(g(2)) g (3)\n",
    "mutual names": "#define A B C\n#define B A D\nA B\n#define x y\n#define y x\nx y x\n",
    "functions": "#define ADD(a, b) ((a) + (b))\nADD(1, 2) ADD((1, 2), 3) ADD(ADD(1, 2), ADD(3, 4)) ADD ADD (5,\n6)\n",
    "no arguments": "#define F() 7\n#define G(x) [x]\nF() F( ) G() G( ) F (\n) F\n",
    "name without parentheses": "#define F(x) x\nF; F (1) F\n(2) F + (3)\nint (F)(3);\n",
    "nested parentheses and commas": "#define P(a, b) a|b\nP((1,2),(3,(4,5))) P({1, 2) P([1, 2])\n",
    "hide sets of the standard":
        "#define x 3\n#define f(a) f(x * (a))\n#undef x\n#define x 2\n#define g f\n#define z z[0]\n#define h g(~\n#define m(a) a(w)\n"
        "#define w 0,1\n#define t(a) a\n#define p() int\n#define q(x) x\n#define r(x,y) x ## y\n#define str(x) # x\n"
        "f(y+1) + f(f(z)) % t(t(g)(0) + t)(1);\ng(x+(3,4)-w) | h 5) & m\n(f)^m(m);\np() i[q()] = { q(1), r(2,3), r(4,), r(,5), r(,) };\n"
        'char c[2][6] = { str(hello), str() };\n',
    "strings of the standard":
        "#define str(s) # s\n#define xstr(s) str(s)\n#define debug(s, t) printf(\"x\" # s \"= %d, x\" # t \"= %s\", x ## s, x ## t)\n"
        "#define INCFILE(n) vers ## n\n#define glue(a, b) a ## b\n#define xglue(a, b) glue(a, b)\n#define HIGHLOW \"hello\"\n"
        "#define LOW LOW \", world\"\ndebug(1, 2);\nfputs(str(strncmp(\"abc\\0d\", \"abc\", '\\4') == 0) str(: @\\n), s);\n"
        "xstr(INCFILE(2).h)\nglue(HIGH, LOW);\nxglue(HIGH, LOW)\n",
    "pastes of the standard":
        "#define hash_hash # ## #\n#define mkstr(a) # a\n#define in_between(a) mkstr(a)\n#define join(c, d) in_between(c hash_hash d)\n"
        "char p[] = join(x, y);\n#define t(x,y,z) x ## y ## z\nint j[] = { t(1,2,3), t(,4,5), t(6,,7), t(8,9,), t(10,,), t(,11,), t(,,12), t(,,) };\n",
    "variadic of the standard":
        "#define debug(...) fprintf(stderr, __VA_ARGS__)\n#define showlist(...) puts(#__VA_ARGS__)\n"
        "#define report(test, ...) ((test)?puts(#test): printf(__VA_ARGS__))\ndebug(\"Flag\");\ndebug(\"X = %d\\n\", x);\n"
        "showlist(The first, second, and third items.);\nreport(x>y, \"x is %d but y is %d\", x, y);\n",
    "variadic of GNU": "#define e(f, a...) p(f, ## a)\n#define k(f, ...) p(f, ## __VA_ARGS__)\ne(1) e(1,2) e(1,2,3) k(1) k(1,) k(1,2) e() k()\n",
    "variadic, nothing given": "#define V(...) <__VA_ARGS__>\n#define W(a, ...) a|__VA_ARGS__|\nV() V(,) V(1) V(1,2) W(1,) W(1,2,3) W(1)\n",
    "paste keeps no expansion": "#define AB 5\n#define A x\n#define J(a, b) a ## b\n#define K(a, b) J(a, b)\nJ(A, B) K(A, B) J(A B, A B)\n",
    "paste makes operators": "#define J(a, b) a ## b\nJ(+, +) J(<, <=) J(-, >) J(., 5) J(1, .5) J(x, 1) J(0x, ff) J(&, &) J(#, #)\n",
    "paste makes a macro": "#define XY 1\n#define J(a, b) a ## b\nJ(X, Y) J(J, K)(X, Y)\n",
    "stringify": "#define S(x) #x\n#define T(x) S(x)\n#define N 4\nS( a  +\tb ) S(\"a\\n\") S('\"') T(N) S(N) S(a /* c */ b) S() T(T(N)) S(1 ,2)\n".replace(
        " S(1 ,2)", ""),
    "rescan takes what follows": "#define F(x) x\n#define G F\n#define H G(\nG(1) H 2) F(F)(3) F(G)(4)\n",
    "arguments over lines": "#define F(a, b) a-b\nF(1,\n  2) + F(\n3\n,\n4\n)\nafter\n",
    "counter and line": "#define L __LINE__\nL __LINE__\n__COUNTER__ __COUNTER__ L\n\nL\n",
    "line in a macro's arguments": "#define F(x) x __LINE__\nF(__LINE__)\nF(1)\n",
    "if": "#if 1 + 1 == 2 && !(3 < 2) || 0\nyes\n#else\nno\n#endif\n#if -1 > 0u\nunsigned\n#endif\n#if 0x10 == 16 && 010 == 8 && 'a' == 97 && 0b11 == 3\nnumbers\n#endif\n",
    "if, more operators": "#if (7 / 2 == 3) && (-7 / 2 == -3) && (-7 % 3 == -1) && (1 << 4 | 3) == 19 && (~0 == -1) && (5 ^ 1) == 4 && (1 ? 2 : 0)\nyes\n#endif\n",
    "if, unknown names": "#if UNKNOWN\nno\n#elif !UNKNOWN && defined UNKNOWN\nno\n#elif defined(UNKNOWN) == 0\nyes\n#endif\n",
    "if, macros": "#define V(a, b) a * 10 + b\n#define OK defined(V)\n#if V(1, 2) == 12\nyes\n#endif\n#if defined V && OK\nyes\n#endif\n",
    "if, lazy": "#if 0 && (1 / 1)\n#elif 1 || (2 / 1)\nyes\n#endif\n#if 1\na\n#elif 1 / 1\nb\n#endif\n",
    "if, 64 bits": "#if 0x7fffffffffffffff + 0 > 0 && 18446744073709551615u == -1 && 1ULL << 63 > 0\nyes\n#endif\n",
    "nested conditionals": "#if 0\n# if 1\nx\n# else\ny\n# endif\n# bogus line\n'\n#else\nz\n# ifdef NO\n# elif 1\nw\n# endif\n#endif\n",
    "ifdef": "#define A\n#ifdef A\n1\n#endif\n#ifndef A\n2\n#else\n3\n#endif\n#undef A\n#ifdef A\n4\n#endif\n#undef NEVER\n",
    "spaces about the hash": "  #  define  A  1\n\t#\tifdef A\nA\n # endif\n#\n# /* nothing */\n",
    "splices": "#define A 1 \\\n + 2\nA A\\\nB ab\\\ncd \\\n#define no\nx\n".replace("ab\\\ncd", "ab cd").replace("A\\\nB", "A B"),
    "comments": "a/**/b /* \n\n */ c // d\ne /* # */ #f\n/* x */ # define G 1\nG\n\"/*\" '\"' /* \" */ \"//\"\n",
    "comment in a define": "#define A 1 /* one\n and */ + 2 // three\nA\n",
    "numbers": "#define e 5\n1e+5 0x1.8p-3 1.e 1..2 .5.6 0xe+1 1_000 3e 12ab\n",
    "redefinition": "#define A 1\n#define A 1\nA\n#undef A\n#define A 2\nA\n",
    "directive names as names": "#define if 1\nif else define\n#define define x\ndefine\n",
    "pragma": "#pragma once\nx\n".replace("#pragma once\n", ""),
    "guards": "#ifndef G_H\n#define G_H\none\n#endif\n#ifndef G_H\ntwo\n#endif\n",
    "argument named as macro": "#define x 1\n#define F(x) x #x\nF(x) F(2)\n",
    "function macro as argument": "#define F(x) x(1)\n#define G(y) [y]\nF(G) F(F) F(G)(G)\n",
    "argument expanded once": "#define A A B\n#define F(x) x x\nF(A)\n",
    "empty macros": "#define E\n#define F(x) E x E\nE E F(E) F(1)\n#define G(a) a ## E\nG(x)\n",
    "bcc's dispatch": "#define FIFTH(a, b, c, d, e, ...) e\n#define H1(n) one n\n#define H2(n, k) two n k\n#define H3(n, k, l) three n k l\n"
                      "#define HASH(...) FIFTH(__VA_ARGS__, , H3, H2, H1)(__VA_ARGS__)\nHASH(a) HASH(a, b) HASH(a, struct c, d)\n",
    "x macros": "#define LIST X(a, 1) X(b, 2)\n#define X(n, v) int n = v;\nLIST\n#undef X\n#define X(n, v) #n,\nLIST\n",
}


def _ours(text: str, **options: object) -> list[str]:
    return [one.text for one in preprocess(text, filename="t.c", **options).tokens]  # type: ignore[arg-type]


def _gcc(text: str, folder: Path, *flags: str) -> list[str] | None:
    """gcc's tokens; None where gcc refuses the text."""
    path = folder / "t.c"
    path.write_text(text)
    run = subprocess.run(["gcc", "-E", "-P", "-undef", "-std=gnu11", "-nostdinc", *flags, path], capture_output=True, text=True, check=False)
    return _TOKEN.findall(run.stdout) if run.returncode == 0 else None


@needs_gcc
@pytest.mark.parametrize("name", TEXTS)
def test_tokens_equal_gcc(name: str, tmp_path: Path) -> None:
    expected = _gcc(TEXTS[name], tmp_path)
    assert expected is not None, "gcc refuses this text"
    assert _ours(TEXTS[name]) == expected


_NAMES = ("A", "B", "C", "F", "G", "H")
_word = st.sampled_from([*_NAMES, "x", "y", "p", "q", "1", "2", "+", "-", "(", ")", ",", "F(", "G(A,", "H()", "3)", "B)", '"s"'])
_body_word = st.sampled_from([*_NAMES, "p", "q", "1", "+", "(p)", "F(p)", "G(p, q)", "H", "(", ")"])


@st.composite
def _macro_text(draw: st.DrawFn) -> str:
    rows = []
    for name in draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=6)):
        params = {"F": "(p)", "G": "(p, q)", "H": "(...)"}.get(name, "")
        words = draw(st.lists(_body_word, max_size=5))
        if params == "(...)":
            words = ["__VA_ARGS__" if one in ("p", "q") else one.replace("p, q", "__VA_ARGS__").replace("(p)", "(__VA_ARGS__)") for one in words]
        elif params and draw(st.booleans()):
            words = [*words, draw(st.sampled_from(["#p", "p ## 1", "x ## p", "p ## p"]))]
        rows += [f"#undef {name}", f"#define {name}{params} {' '.join(words)}"]
    lines = draw(st.lists(st.lists(_word, max_size=8), min_size=1, max_size=4))
    return "\n".join(rows + [" ".join(one) for one in lines]) + "\n"


@needs_gcc
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_macro_text())
def test_made_macros_equal_gcc(text: str, tmp_path: Path) -> None:
    expected = _gcc(text, tmp_path)
    try:
        found = _ours(text)
    except CompileError:
        assert expected is None, text
        return
    assert expected is None or found == expected, text


@needs_gcc
def test_includes_equal_gcc(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.h").write_text('#pragma once\n#include "deep/b.h"\nint a;\n#define A 1\n')
    (tmp_path / "deep/b.h").write_text('#ifndef B\n#define B 2\n#include "../a.h"\n#include "c.h"\nint b;\n#endif\n')
    (tmp_path / "deep/c.h").write_text("int c;\n")
    text = '#include "a.h"\n#include "a.h"\n#include "deep/c.h"\n#define WHERE "deep/c.h"\n#include WHERE\nA B\n#if __has_include("a.h") && !__has_include("z.h")\nyes\n#endif\n'
    (tmp_path / "t.c").write_text(text)
    expected = _gcc(text, tmp_path)
    found = preprocess(text, filename=str(tmp_path / "t.c"))
    assert [one.text for one in found.tokens] == expected
    assert {Path(one).name for one in found.sources} == {"t.c", "a.h", "b.h", "c.h"}


@needs_gcc
def test_flags_equal_gcc(tmp_path: Path) -> None:
    (tmp_path / "i.h").write_text("int i;\n")
    flags = ["-DA", "-DB=2 + 3", "-D", "C(x)=x*x", "-DD=1", "-UD", f"-I{tmp_path}"]
    text = "A B C(4) D\n#include <i.h>\n"
    assert _ours(text, flags=parse_flags(flags)) == _gcc(text, tmp_path, *flags)


def test_kernel_headers_are_empty_and_their_macros_ours() -> None:
    text = "#include <linux/sched.h>\n#include <uapi/linux/ptrace.h>\n#include <net/sock.h>\nAF_INET\n"
    assert _ours(text, prelude="bcc/prelude.h") == ["2"]


# -- places


def _check_places(text: str) -> list[Token]:
    tokens = preprocess(text, filename="t.c").tokens
    lines = text.split("\n")
    for one in tokens:
        word = one.macro.split(" ")[0] or one.text
        assert lines[one.line - 1][one.col - 1 :].startswith(word), (one, word)
    return tokens


def test_every_token_has_its_place() -> None:
    text = "int a;\n\tint  /* c\n c */ b = 'x' + \"s\" ; // d\n#if 1\n  c >>= 3;\n#endif\n\"a\\\nb\" after\n"
    tokens = _check_places(text.replace('"a\\\nb" after', "z"))
    assert [(one.text, one.line, one.col) for one in tokens][3:6] == [("int", 2, 2), ("b", 3, 7), ("=", 3, 9)]


def test_a_token_of_a_macro_has_the_place_of_its_use_and_an_argument_its_own() -> None:
    text = "#define USE(x) ((x) + one)\n#define TWICE(x) USE(x) USE(x)\nint y = TWICE(  arg);\n"
    tokens = preprocess(text, filename="t.c").tokens
    assert {(one.line, one.col, one.macro) for one in tokens if one.text == "one"} == {(3, 9, "TWICE USE")}
    assert {(one.line, one.col) for one in tokens if one.text == "arg"} == {(3, 17)}
    assert [(one.line, one.col) for one in tokens if one.text == ";"] == [(3, 21)]


def test_places_behind_splices_and_long_comments() -> None:
    tokens = preprocess("a \\\n  b /* 1\n 2\n 3 */ c\n\"x\\\ny\" d\n", filename="t.c").tokens
    assert [(one.text, one.line, one.col) for one in tokens] == [("a", 1, 1), ("b", 2, 3), ("c", 4, 7), ('"xy"', 5, 1), ("d", 6, 4)]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["a", "b1", "+", "->", '"s"', "'c'", "12", "\n", "  ", "\t", "/* x */", "/*\n*/", "// y\n"]), max_size=30))
def test_made_texts_have_places(words: list[str]) -> None:
    _check_places(" ".join(words))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(alphabet=st.sampled_from("ab1 \n\t#()\"'\\/*.,+-<>defin@\0é"), max_size=60))
def test_any_text_gives_tokens_or_a_compile_error(text: str) -> None:
    try:
        preprocess(text, filename="t.c")
    except CompileError as error:
        assert error.diagnostics[0].span is not None


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_tokens_lexes_to_the_same_tokens(name: str) -> None:
    tokens = preprocess(TEXTS[name], filename="t.c").tokens
    if any(one.text in ("##", "#") for one in tokens):
        return  # a hash at the start of a line would be a directive
    again = preprocess(text_from_tokens(tokens), filename="again.c", flags=Flags()).tokens
    assert [one.text for one in again] == [one.text for one in tokens]
