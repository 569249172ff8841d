"""bcc.utils: printing bytes, lists of CPUs, the language of a process, string comparisons in filters."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from pathlib import Path
from typing import IO, Any

__all__ = [
    "FILESYSTEMENCODING", "ArgString", "StrcmpRewrite", "detect_language", "get_online_cpus", "get_possible_cpus", "printb", "warn_with_traceback",
]

FILESYSTEMENCODING = sys.getfilesystemencoding()
_CPUS = Path("/sys/devices/system/cpu")


def _cpu_list(name: str) -> list[int]:
    """The CPUs of a list like "0-3,5". A machine that shows none has those that Python counts."""
    try:
        text = (_CPUS / name).read_text().strip()
    except OSError:
        return list(range(os.cpu_count() or 1))
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def get_online_cpus() -> list[int]:
    """The numbers of the CPUs that are online."""
    return _cpu_list("online")


def get_possible_cpus() -> list[int]:
    """The numbers of the CPUs that there may ever be."""
    return _cpu_list("possible")


def detect_language(candidates: list[str], pid: int) -> str | None:
    """Which of these languages a process's program speaks: "c" for one that has none of the others' libraries."""
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        maps = Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape")
    except OSError:
        return None
    found = next((one for one in candidates if one in program), None)
    if found is None:
        libraries = {os.path.basename(line.split()[-1]) for line in maps.splitlines() if "/" in line}
        found = next((one for one in candidates if any(f"lib{one}" in name for name in libraries)), None)
    return found or ("c" if "c" in candidates else None)


def printb(s: bytes, file: IO[Any] | None = None, nl: int = 1) -> None:
    """Writes bytes to a stream (None: standard output), and a line's end if nl, and flushes it."""
    stream: Any = sys.stdout if file is None else file
    stream.flush()
    content = s + (b"\n" if nl else b"")
    binary: Any = getattr(stream, "buffer", None)
    if binary is not None:
        binary.write(content)
    else:  # a stream of text alone, or of bytes alone
        stream.write(content.decode("utf-8", "surrogateescape") if isinstance(stream, io.TextIOBase) else content)
    stream.flush()


class ArgString:
    """An argument of the command line as text and as bytes."""

    def __init__(self, arg: str | bytes) -> None:
        self.bytes = os.fsencode(arg)
        self.str = os.fsdecode(arg)

    def __bytes__(self) -> bytes:
        return self.bytes

    def __str__(self) -> str:
        return self.str


def warn_with_traceback(message: str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """A warning with the calls that led to it, for warnings.showwarning."""
    stream = file if hasattr(file, "write") else sys.stderr
    stream.write(warnings.formatwarning(message, category, filename, lineno, line))


class StrcmpRewrite:
    """STRCMP("text", EXPRESSION) in a filter becomes the call of a function that compares byte by byte."""

    _CALL = re.compile(r'STRCMP\("(?P<text>[^"]*)",(?P<rest>.*)', re.DOTALL)

    @staticmethod
    def rewrite_expr(
        expr: str, bin_cmp: bool, is_user: Any, probe_user_list: set[str], streq_functions: str, probeid: int
    ) -> dict[str, Any]:
        """{"expr": the expression with calls, "streq_functions": the C of all functions so far, "probeid": the number of the
        next}. bin_cmp: the whole literal is compared, zero bytes and all, else its text with the zero behind it. is_user: the
        strings are in the process's memory, as are those of the arguments in probe_user_list."""
        done = ""
        while (found := StrcmpRewrite._CALL.search(expr)) is not None:
            text, rest = found["text"], found["rest"]
            end = _closing(rest)
            argument = rest[:end].strip()
            name = f"streq_{probeid}"
            probeid += 1
            reads_user = bool(is_user) or argument in probe_user_list
            streq_functions += _streq(name, text, bin_cmp, reads_user)
            done += f"{expr[: found.start()]}{name}((char *){argument})"
            expr = rest[end + 1 :]
        return {"expr": done + expr, "streq_functions": streq_functions, "probeid": probeid}


def _closing(text: str) -> int:
    """Where the parenthesis that is open at the beginning of text closes."""
    depth = 0
    for at, one in enumerate(text):
        if one == "(":
            depth += 1
        elif one == ")":
            if not depth:
                return at
            depth -= 1
    return len(text)


def _streq(name: str, text: str, is_binary: bool, is_user: bool) -> str:
    """C that says whether what an address points to is text."""
    read = "bpf_probe_read_user" if is_user else "bpf_probe_read_kernel"
    size = f"sizeof(wanted){' - 1' if is_binary else ''}"
    return f"""
static inline bool {name}(char const *address)
{{
    char wanted[] = "{text}";
    char found[sizeof(wanted)] = {{}};
    {read}(found, {size}, (void *)address);
    for (int at = 0; at < {size}; at++)
        if (wanted[at] != found[at])
            return false;
    return true;
}}
"""
