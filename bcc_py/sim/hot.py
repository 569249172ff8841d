"""What of the runtime may be put in programs instead of being called.

Input: the runtime as optimised LLVM text. Output: by name, the text of functions that stand on their own: those named
hot_NAME (and lock_NAME, which they use), and helpers of a few instructions; and the declarations of what these call. A
function that needs something internal to the runtime cannot leave it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bcc_py.errors import LoadError

__all__ = ["hot_functions", "with_constants"]

_MAX_LINES = 24
_HOT = ("hot_", "lock_")  # these may name each other
_DEFINITION = re.compile(r"^define (?P<how>[^@\n]*?)@(?P<name>[\w.]+)\((?P<params>[^\n]*)\) [^\n]*\{\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_DECLARATION = re.compile(r"^declare [^\n]*?@([\w.]+)\([^\n]*\)", re.MULTILINE)
_REFERENCE = re.compile(r"@([\w.]+)")
_ATTACHED = re.compile(r"(?: #\d+|, ![\w.]+(?: !\d+)?)+$", re.MULTILINE)
_NOISE = re.compile(r"\s*;[^\n]*$|\b(?:dso_local|fastcc|noundef|internal|local_unnamed_addr|unnamed_addr)\s+", re.MULTILINE)
_RANGE = re.compile(r"\brange\([^)]*\)\s*")
_DEFINED = re.compile(r"^define internal (?P<result>\w+) @[\w.]+\((?P<params>[^)]*)\)")
_PARAMETER = re.compile(r"\b(ptr|i\d+)\b[^%]*(%[\w.]+)")


def hot_functions(ir: str) -> dict[str, str]:
    """By name. Raises LoadError for a function named hot_NAME that cannot leave the runtime."""
    definitions = {found["name"]: found for found in _DEFINITION.finditer(ir)}
    declared = {found[1]: _clean(found[0]) for found in _DECLARATION.finditer(ir)}
    made: dict[str, str] = {}
    for name, found in definitions.items():
        is_hot = name.startswith(_HOT)
        if not is_hot and not (name.startswith("bpf_") and found["body"].count("\n") <= _MAX_LINES):
            continue
        outside = [one for one in _REFERENCE.findall(found["body"]) if not _may_be_named(one, definitions, declared)]
        if outside and is_hot:
            raise LoadError(f"the runtime's {name} names {', '.join(outside)}, which is internal")
        if not outside:
            made[name] = _definition(name, found)
    for name in {one for text in made.values() for one in _REFERENCE.findall(text)} - made.keys():
        made[name] = declared.get(name) or _declaration(name, definitions[name])
    return made


def with_constants(texts: Mapping[str, str], function: str, constants: tuple[int, ...], name: str) -> str:
    """A module in which name does what function does with constants as its last arguments. texts: of hot_functions."""
    found = _DEFINED.search(texts[function])
    assert found is not None, f"{function} is a definition"
    params = _PARAMETER.findall(found["params"])
    kept, fixed = params[: len(params) - len(constants)], params[len(params) - len(constants) :]
    given = [f"{type} {value}" for type, value in kept] + [f"{type} {value}" for (type, _), value in zip(fixed, constants, strict=True)]
    head = ", ".join(f"{type} {value}" for type, value in kept)
    needed, left = {}, [function]
    while left:
        one = left.pop()
        if one in texts and one not in needed:
            needed[one] = texts[one]
            left += _REFERENCE.findall(texts[one])
    result = found["result"]
    body = (f"  call void @{function}({', '.join(given)})\n  ret void\n" if result == "void"
            else f"  %given = call {result} @{function}({', '.join(given)})\n  ret {result} %given\n")
    return "\n".join([*needed.values(), f"define {result} @{name}({head}) {{\n{body}}}"])


def _may_be_named(name: str, definitions: Mapping[str, re.Match[str]], declared: Mapping[str, str]) -> bool:
    return name in declared or name.startswith(_HOT) or (name in definitions and "internal" not in definitions[name]["how"])


def _definition(name: str, found: re.Match[str]) -> str:
    body = _clean(found["body"])
    params = ", ".join(f"{type} {given}" for type, given in _PARAMETER.findall(found["params"]))
    return f"define internal {_result(found)} @{name}({params}) alwaysinline nounwind {{\n{body}}}"


def _declaration(name: str, found: re.Match[str]) -> str:
    types = ", ".join(type for type, _ in _PARAMETER.findall(found["params"]))
    return f"declare {_result(found)} @{name}({types})"


def _result(found: re.Match[str]) -> str:
    return _RANGE.sub("", _clean(found["how"])).split()[-1]


def _clean(text: str) -> str:
    """Without what belongs to the module it came from: groups of attributes, metadata, linkage, comments."""
    return _RANGE.sub("", _NOISE.sub("", _ATTACHED.sub("", text)))
