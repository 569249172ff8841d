"""The passes in order: preprocess, parse, check, provenance, lower, emit.

compile() and its kin take a text and give an object, or what one of the passes made of it. Types come from a
TypeSource (a kernel's BTF), code generation from LLVM's BPF target inside llvmlite. The only module that knows
all passes; users reach it through the package."""

from __future__ import annotations

import functools
import io
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from cfront.btf import TypeSource, btf_from_types
from cfront.check import Checker, check
from cfront.check_type import BUILTIN_TYPEDEFS, Typedef
from cfront.ctype import CType, Enum, Record
from cfront.debug import Debug
from cfront.emit import FunctionPlace, emit, emit_host_parts
from cfront.errors import CompileError, Diagnostic
from cfront.lower import lower
from cfront.parse import parse
from cfront.pause import collector_paused
from cfront.preprocess import (
    Flags,
    Preprocessed,
    Token,
    host_headers,
    macro_names,
    parse_flags,
    preprocess,
    shipped_tokens,
)
from cfront.provenance import called_functions, instantiate
from cfront.source import Span
from cfront.tree import FunctionDef, LocalVar, Unit

__all__ = ["CPUS", "Compiled", "checked", "compile", "compile_host", "compile_host_parts", "compile_unit", "syntax_tree", "types_from_c"]

CPUS = ("v1", "v2", "v3", "v4")
_PRELUDE = "bcc/prelude.h"
_INLINE = "bcc/inline.h"
_PREDEFINED = "host/predefined.h"
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv"}  # as C calls them
_RECURSION = 20_000  # Python frames; the passes recurse on the depth of the text


@dataclass(frozen=True, slots=True)
class Compiled:
    """An object and what was said about its text. warnings: diagnostics of severity "warning"."""

    object: bytes
    warnings: tuple[Diagnostic, ...]


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Lets the recursive passes go as deep as any sane text is nested; pure Python frames cost no C stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@functools.cache
def _inline_functions() -> dict[str, list[Token]]:
    """The tokens of each function in bcc/inline.h by name, in order."""
    groups: dict[str, list[Token]] = {}
    group: list[Token] = []
    depth = 0
    for token in shipped_tokens(_INLINE):
        group.append(token)
        depth += {"{": 1, "}": -1}.get(token.text, 0)
        if token.text == "}" and depth == 0:
            name = next(one.text for at, one in enumerate(group) if one.kind == "id" and group[at + 1].text == "("
                        and one.text not in ("__attribute__",) and not one.text.endswith("inline"))
            groups[name] = group
            group = []
    return groups


def _declared(tokens: list[Token], names: set[str]) -> set[str]:
    """Of names the functions that the text itself declares: outside braces, a name before a parenthesis is one."""
    found: set[str] = set()
    depth = 0
    for one, after in pairwise(tokens):
        depth += {"{": 1, "}": -1}.get(one.text, 0)
        if not depth and after.text == "(" and one.text in names:
            found.add(one.text)
    return found


def _with_inline(tokens: list[Token]) -> list[Token]:
    """tokens behind the shipped functions that they name and do not define themselves."""
    groups = _inline_functions()
    named = {one.text for one in tokens if one.kind == "id" and one.text in groups}
    if not named:
        return tokens
    named -= _declared(tokens, named)
    wanted: list[str] = []
    for name in reversed(list(groups)):
        if name in named:
            wanted.append(name)
            named |= {one.text for one in groups[name] if one.text in groups}
    return [token for name in reversed(wanted) for token in groups[name]] + tokens


def _parsed(
    text: str, filename: str, flags: Flags, defines: Mapping[str, str] | None, types: TypeSource | None, target: str,
    headers: Mapping[str, str] | None,
) -> tuple[Any, list[Token], Preprocessed]:
    """(AST, the tokens that its places count, what the preprocessor gave)."""
    prelude = _PRELUDE if target == "bpf" else _PREDEFINED
    if target == "host":
        headers = {**host_headers(), **(headers or {})}
        machine = platform.machine().lower()
        defines = {f"__{_ARCHES.get(machine, machine)}__": "1", **(defines or {})}
    made = preprocess(text, filename=filename, flags=flags, defines=defines, prelude=prelude, headers=headers)
    tokens = _with_inline(made.tokens) if target == "bpf" else made.tokens

    def is_type(name: str) -> bool:
        return name in BUILTIN_TYPEDEFS or (types is not None and types.find("typedef", name) is not None)

    def is_struct(name: str) -> bool:
        return types is not None and types.find("struct", name) is not None

    names = [*BUILTIN_TYPEDEFS, *(macro_names(_PRELUDE) if target == "bpf" else ())]
    return parse(tokens, filename=filename, is_type=is_type, sources=made.sources, types=names, is_struct=is_struct), tokens, made


def _front(
    text: str, filename: str, flags: Flags, defines: Mapping[str, str] | None, types: TypeSource | None, target: str,
    headers: Mapping[str, str] | None = None,
) -> tuple[Unit, Checker, Preprocessed]:
    ast, tokens, made = _parsed(text, filename, flags, defines, types, target, headers)
    macros = macro_names(_PRELUDE) if target == "bpf" else ()
    unit, checker = check(ast, tokens=tokens, sources=made.sources, filename=filename, types=types, target=target, macros=macros)
    return unit, checker, made


@contextmanager
def _within_depth(filename: str) -> Iterator[None]:
    """Lets the passes recurse deeply, and turns what is deeper still into a CompileError."""
    try:
        with collector_paused(), _deep_recursion():
            yield
    except RecursionError:
        raise CompileError([Diagnostic("the text is nested too deeply", Span(filename, 1, 1))]) from None


def syntax_tree(
    text: str, *, filename: str = "<text>", cflags: Iterable[str] = (), types: TypeSource | None = None, target: str = "bpf"
) -> str:
    """The AST of a text, as an indented list of its nodes. Raises CompileError."""
    shown = io.StringIO()
    with _within_depth(filename):
        ast, _, _ = _parsed(text, filename, parse_flags(cflags), None, types, target, None)
        ast.show(buf=shown, attrnames=True)
    return shown.getvalue()


def checked(
    text: str, *, filename: str = "<text>", cflags: Iterable[str] = (), types: TypeSource | None = None, target: str = "bpf"
) -> tuple[Unit, tuple[Diagnostic, ...]]:
    """The typed tree of a text, and its warnings. Raises CompileError."""
    flags = parse_flags(cflags)
    with _within_depth(filename):
        unit, checker, made = _front(text, filename, flags, None, types, target)
    return unit, _warnings(flags, checker, made)


def _warnings(flags: Flags, checker: Checker, made: Preprocessed) -> tuple[Diagnostic, ...]:
    """What is warned of, as the flags have it: a later flag rules over an earlier one. Raises CompileError with what -Werror
    makes an error of."""
    if flags.is_quiet:
        return ()
    found = [(one, _severity(one.group, flags.warnings)) for one in (*made.warnings, *checker.warnings.values())]
    errors = [replace(one, severity="error", group=f"error,-W{one.group}") for one, severity in found if severity == "error"]
    if errors:
        raise CompileError(errors)
    return tuple(one for one, severity in found if severity)


def _severity(group: str, words: Iterable[str]) -> str:
    """"warning", "error" or, for what is silenced, "", by the words behind each -W."""
    is_shown, is_error = True, False
    for one in words:
        if one in ("error", "no-error", f"error={group}", f"no-error={group}"):
            is_error = not one.startswith("no-")
            is_shown |= one == f"error={group}"
        elif one in (group, f"no-{group}"):
            is_shown = one == group
    return ("error" if is_error else "warning") if is_shown else ""


def _places(functions: Iterable[FunctionDef], sources: Mapping[str, str]) -> dict[str, FunctionPlace]:
    """Where each function is, with its largest locals and those of what it calls."""
    made: dict[str, FunctionPlace] = {}
    large: dict[str, list[LocalVar]] = {}
    for one in functions:  # callees first
        found = {var for var in (*one.params, *one.locals) if var.name and var.type.size >= 32}
        for callee in called_functions(one):
            found |= set(large.get(callee, ()))
        large[one.name] = sorted(found, key=lambda var: (-var.type.size, var.span))[:3]
        words = ", ".join(f"'{var.name}' {var.type.size}" for var in large[one.name])
        lines = sources.get(one.span.file, "").split("\n")
        line = lines[one.span.line - 1] if 0 < one.span.line <= len(lines) else ""
        made[one.name] = FunctionPlace(one.span, line, f"its largest variables take {words} bytes" if words else "")
    return made


def compile_unit(
    text: str, *, filename: str = "<text>", cflags: Iterable[str] = (), types: TypeSource | None = None,
    defines: Mapping[str, str] | None = None, target: str = "bpf", cpu: str = "v3", form: str = "obj",
    headers: Mapping[str, str] | None = None,
) -> Compiled:
    """compile() with the warnings. target: "bpf" or "host"; form: "obj", "asm", "ir" (optimised) or
    "raw-ir" (as lower.py wrote it); headers: the text of "file" includes by name, of "<name>" what stands before the text."""
    if cpu not in CPUS:
        raise ValueError(f"cpu {cpu!r} is none of {', '.join(CPUS)}")
    flags = parse_flags(cflags)
    with _within_depth(filename):
        unit, checker, made = _front(text, filename, flags, defines, types, target, headers)
        if target == "bpf":
            functions = instantiate(unit, made.sources, checker.is_program)
            debug: Debug | None = Debug(filename, made.sources)
        else:
            functions, debug = list(unit.functions), None
        ir = lower(unit, functions, target=target, cpu=cpu, debug=debug)
    warnings = _warnings(flags, checker, made)
    if form == "raw-ir":
        return Compiled(ir.encode(), warnings)
    content = emit(ir, target=target, cpu=cpu, form=form, places=lambda: _places(functions, made.sources))
    return Compiled(content, warnings)


def compile(
    text: str, *, filename: str = "<text>", cflags: Iterable[str] = (), types: TypeSource | None = None,
    defines: Mapping[str, str] | None = None, cpu: str = "v3",
) -> bytes:
    """The eBPF ELF object of a text in BCC's dialect: code by section, .maps, license, .BTF, .BTF.ext.

    cflags: -D, -U, -I, -w in clang's spelling; types: the kernel's types, asked for what the text does not
    define; defines: macros beforehand (LINUX_VERSION_CODE); cpu: the BPF instruction set, "v1" to "v4".
    Raises CompileError with up to 20 diagnostics."""
    return compile_unit(text, filename=filename, cflags=cflags, types=types, defines=defines, cpu=cpu).object


def compile_host(
    text: str, *, filename: str = "<text>", defines: Mapping[str, str] | None = None, include: Mapping[str, str] | None = None
) -> bytes:
    """The native relocatable object of plain C for this machine. include: the text of "file" includes by
    name. Undeclared libraries are not linked: functions that the text declares are resolved by who loads it."""
    return compile_unit(text, filename=filename, defines=defines, target="host", headers=include).object


def compile_host_parts(text: str, *, filename: str = "<text>") -> tuple[bytes, str]:
    """compile_host() with the optimised LLVM IR text that the object was made from."""
    return emit_host_parts(compile_unit(text, filename=filename, target="host", form="raw-ir").object.decode())


def types_from_c(text: str, filename: str = "<header>") -> bytes:
    """The BTF bytes of every struct, union, enum and typedef that a header declares at its top level."""
    with _deep_recursion():
        _, checker, _ = _front(text, filename, Flags(), None, None, "host")
    types: list[CType] = [one for one in checker.tags[0].values() if isinstance(one, (Record, Enum))]
    loose = checker.loose_enums
    typedefs = {name: one.type for name, one in checker.scopes[0].items() if isinstance(one, Typedef)}
    functions = {one.name: one.type for one in checker.declared_functions()}
    return btf_from_types([*types, *loose], typedefs, functions)


