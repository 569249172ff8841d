"""The compiler as a command: python -m cfront FILE.c [-o OUT].

Input: a text in BCC's dialect (a file, or "-" for standard input) and flags in clang's spelling. Output: the
object, or what a pass before it gives: expanded tokens, the names of the checked functions, tables and
globals, LLVM IR, assembly; with --run, what a program for this machine does. Diagnostics go to standard error;
the exit status is 1 where there is an error, 2 for a wrong command line, and the program's own with --run. With the
running kernel's types LINUX_VERSION_CODE is its version. This is a command: it alone in cfront prints and exits."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cfront import CPUS, Btf, CompileError, Diagnostic, ObjectError, TypeSource, checked, compile_unit, syntax_tree
from cfront.btf import JoinedTypes
from cfront.preprocess import parse_flags, preprocess, text_from_tokens
from cfront.run import run_main
from cfront.tracepoint import TracepointFormat, TracepointTypes, parse_format
from cfront.tree import Unit
from cfront.uapi import version_code

__all__ = ["main"]

_KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
_TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_MAX_BYTES = 1 << 25  # of a text
_INTERRUPTED = 130  # the exit status that a shell gives what Ctrl-C ended
_EXAMPLES = """examples:
  python -m cfront probe.c                      write probe.o, with the running kernel's types
  python -m cfront probe.c --emit asm           print BPF assembly
  python -m cfront probe.c --stop-after check   list programs and tables; nothing is generated
  python -m cfront --run hello.c world          compile for this machine and run main()

exit status: 0, or 1 if the text has errors or a file cannot be read, 2 for a wrong command line,
that of the program with --run"""
_STAGES = ("preprocess", "parse", "check", "ir", "emit")


class _InOrder(argparse.Action):
    """Collects flags with their letters in the order of the command line: -D and -U undo one another."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: str | Sequence[Any] | None, option: str | None = None
    ) -> None:
        namespace.flags = [*namespace.flags, f"{option}{values}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cfront", description="compile a text in BCC's C dialect to an eBPF object",
                                     epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", default="", help='the C text, "-" for standard input')
    parser.add_argument("-o", dest="output", default="", help="where the result goes; the default is FILE.o for an object, else standard output")
    parser.add_argument("--emit", choices=("obj", "asm", "ir"), default="obj", help="what the last pass gives (default: obj)")
    parser.add_argument("--run", nargs=argparse.REMAINDER, metavar="FILE [WORD...]",
                        help="compile FILE for this machine, run its main() with the words, and end with its status")
    parser.add_argument("--stop-after", choices=_STAGES, default="emit", help="print what this pass gives and stop")
    parser.add_argument("--target", choices=("bpf", "host"), default="bpf", help="what to generate code for (default: bpf)")
    parser.add_argument("--cpu", choices=CPUS, default="v3", help="the BPF instruction set (default: v3)")
    parser.add_argument("--types", default="", metavar="vmlinux|FILE|none",
                        help="the kernel's types: BTF (default: the running kernel's, if it has any)")
    for flag, word, what in (("-D", "NAME[=VALUE]", "define a macro"), ("-U", "NAME", "undefine a macro"),
                             ("-I", "FOLDER", "search includes here")):
        parser.add_argument(flag, action=_InOrder, default=[], dest="flags", metavar=word, help=what)
    parser.add_argument("-W", action=_InOrder, default=[], dest="flags", metavar="WARNING", help="as clang's: -Wno-NAME silences the warnings that end in [-WNAME], -Werror makes errors of all, "
                             "-Werror=NAME of some; names that are not known are ignored")
    parser.add_argument("-w", dest="quiet", action="store_true", help="no warnings")
    return parser


def _types(word: str) -> TypeSource | None:
    """The types that --types names; the running kernel's with its tracepoints. Raises OSError, ObjectError."""
    if word == "none" or (not word and not _KERNEL_BTF.exists()):
        return None
    if word not in ("", "vmlinux"):
        return Btf(Path(word).read_bytes())
    btf = Btf(_KERNEL_BTF.read_bytes())
    return JoinedTypes(TracepointTypes(_format, btf), btf)


def _format(category: str, event: str) -> TracepointFormat | None:
    """The running kernel's format of an event; None if it has none, or does not show it to this user."""
    for root in _TRACEFS:
        try:
            return parse_format((root / "events" / category / event / "format").read_text(errors="replace"), category)
        except OSError:
            continue
    return None


def _is_running_kernel(options: argparse.Namespace) -> bool:
    """Whether the types are those of the kernel that runs here."""
    return options.target == "bpf" and (options.types == "vmlinux" or (not options.types and _KERNEL_BTF.exists()))


def _flags(options: argparse.Namespace) -> list[str]:
    version = [f"-DLINUX_VERSION_CODE={version_code(os.uname().release)}"] if _is_running_kernel(options) else []
    return [*version, *options.flags, *(["-w"] if options.quiet else [])]


def _text(name: str) -> str:
    """The text of a file, or of standard input. Raises OSError, also for one that is no text at all."""
    if name == "-":
        content = sys.stdin.buffer.read(_MAX_BYTES + 1)
    else:
        with open(name, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(f"{name}: more than {_MAX_BYTES >> 20} MiB of text")
    if b"\0" in content:
        raise OSError(f"{name}: this is no text: it has a byte of 0")
    return content.decode("utf-8", "surrogateescape")


def _summary(unit: Unit) -> str:
    """The checked text in short: programs, functions, tables and globals with their places."""
    rows = []
    for one in unit.functions:
        kind = f'program "{one.section}"' if one.section else "function"
        params = ", ".join(f"{param.type} {param.name}".strip() for param in one.type.params) or "void"
        rows.append(f"{one.span}: {kind} {one.type.result} {one.name}({params})")
    rows += [f"{one.span}: table {one.name}: {one.type.name}, key {one.key}, leaf {one.value}, {one.max_entries} entries"
             for one in unit.maps]
    rows += [f"{one.span}: global {one.type} {one.name}" for one in unit.globals]
    return "\n".join(rows) + "\n"


def _compile(options: argparse.Namespace, text: str, filename: str) -> tuple[bytes, Sequence[Diagnostic]]:
    cflags = _flags(options)
    stage = options.stop_after
    if stage == "preprocess":
        prelude = "bcc/prelude.h" if options.target == "bpf" else ""
        made = preprocess(text, filename=filename, flags=parse_flags(cflags), prelude=prelude)
        return text_from_tokens(made.tokens).encode(), made.warnings
    types = _types(options.types)
    if stage == "parse":
        return syntax_tree(text, filename=filename, cflags=cflags, types=types, target=options.target).encode(), ()
    if stage == "check":
        unit, warnings = checked(text, filename=filename, cflags=cflags, types=types, target=options.target)
        return _summary(unit).encode(), warnings
    form = "raw-ir" if stage == "ir" else options.emit
    made_unit = compile_unit(text, filename=filename, cflags=cflags, types=types, target=options.target, cpu=options.cpu, form=form)
    return made_unit.object, made_unit.warnings


def _write(options: argparse.Namespace, content: bytes, is_object: bool) -> None:
    output = options.output
    if not output and is_object and options.file != "-":
        output = str(Path(options.file).with_suffix(".o").name)
    if output and output != "-":
        Path(output).write_bytes(content)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _run(content: bytes, words: Sequence[str]) -> int:
    """The status of the program, 1 where it cannot be linked."""
    try:
        return run_main(content, words)
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run:
        options.file, options.target, options.emit, options.stop_after = options.run[0], "host", "obj", "emit"
    if not options.file:
        parser.error("name a file of C")
    filename = "<stdin>" if options.file == "-" else options.file
    try:
        made, warnings = _compile(options, _text(options.file), filename)
        if not options.run:
            _write(options, made, options.stop_after == "emit" and options.emit == "obj")
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, ObjectError) as error:
        print(f"cfront: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    for one in () if options.quiet else warnings:
        print(one, file=sys.stderr)
    return _run(made, options.run) if options.run else 0


if __name__ == "__main__":
    sys.exit(main())
