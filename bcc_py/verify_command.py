"""bccpy verify: the verifier's word on an object's programs, or on instructions written down.

Standard output has the verdicts, standard error what makes the input unusable. Exit status: 0 all accepted, 1 one or
more rejected, 2 input that is no program. Input is read up to a limit, whatever it is (a device, a pipe)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from bcc_py.errors import LoadError, ObjectError, VerifierError
from bcc_py.verdict import Verdict, map_from_text, program_from, verify_object, verify_program
from bcc_py.verifier import Privileges

__all__ = ["main"]

# room for a million instructions as hexadecimal digits, or for a large object with its debug information
_MAX_INPUT_BYTES = 1 << 26
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


@click.command("verify", context_settings=_CONTEXT)
@click.argument("file", required=False, metavar="[FILE.o]")
@click.option("--hex", "hex_text", metavar="TEXT", help="Verify these instructions, as hexadecimal digits; - reads them.")
@click.option("--asm", metavar="TEXT", help="Verify these instructions, in the kernel's syntax; - reads them.")
@click.option("--type", "type_name", metavar="NAME", help="The program type, such as xdp, kprobe or tc.")
@click.option("--attach-type", metavar="NAME", help="The attach type of --hex and --asm, where the type has several.")
@click.option("--map", "maps", metavar="TYPE,KEY,VALUE,ENTRIES[,FLAGS]", multiple=True,
              help="A map for --hex and --asm; the first has the descriptor 0, the next 1, ...")
@click.option("--license", "license_text", metavar="TEXT", default="GPL", help="The license of --hex and --asm (default: GPL).")
@click.option("--privileges", metavar="NAMES", help="What the loader may do: bpf,perfmon,net_admin,sys_admin or none (default: all).")
@click.option("--name", metavar="PROGRAM", help="Only this program of FILE.o.")
@click.option("-q", "--quiet", is_flag=True, help="One line for each program, no log.")
@click.option("--explain", is_flag=True, help="Tell why a program is rejected, and what to write.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line for each program.")
def main(**options: Any) -> None:
    """Verify the programs of FILE.o, or instructions given with --hex or --asm, and print the verifier's log.

    Nothing is loaded and no privilege is needed. Exit status: 0 accepted, 1 rejected, 2 unusable input."""
    try:
        is_accepted = _run(**options)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of our rows has gone: the rest of them has no use
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (LoadError, ObjectError, ValueError, OSError) as error:
        place = f"{options['file']}: " if options["file"] else ""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        click.echo(f"verify: {place}{reason}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if is_accepted else 1)


def _run(
    file: str | None, hex_text: str | None, asm: str | None, type_name: str | None, attach_type: str | None,
    maps: tuple[str, ...], license_text: str, privileges: str | None, name: str | None, quiet: bool, explain: bool,
    is_json: bool,
) -> bool:
    """Verifies and prints; True if everything was accepted."""
    if sum(one is not None for one in (file, hex_text, asm)) != 1:
        raise click.UsageError("Give one of FILE.o, --hex and --asm.")
    if file is not None and (maps or attach_type is not None):
        raise click.UsageError("--map and --attach-type are for --hex and --asm: an object says such things itself.")
    if file is None and name is not None:
        raise click.UsageError("--name is for the programs of FILE.o.")
    rights = None if privileges is None else [one for one in privileges.split(",") if one.strip() not in ("", "none")]
    has_log = not (quiet or is_json)
    verdicts: Iterable[Verdict]
    if file is not None:
        verdicts = verify_object(_content(file), type_name, rights, has_log, name)
    else:
        code = _code(hex_text) if hex_text is not None else _text(asm or "")
        program = program_from(code, type_name or "xdp", license_text, attach_type)
        specs = [map_from_text(one, f"map{number}") for number, one in enumerate(maps)]
        verdicts = [verify_program(program, specs, Privileges.of(rights) if rights is not None else None, has_log)]
    is_accepted = True
    for one in verdicts:
        is_accepted &= one.error is None
        click.echo(json.dumps(_row(one, explain)) if is_json else _words(one, file is not None or quiet, quiet, explain))
    return is_accepted


def _words(verdict: Verdict, has_line: bool, is_quiet: bool, explain: bool) -> str:
    rows = [_line(verdict)] if has_line else []
    if not is_quiet:
        rows.append(verdict.log.rstrip("\n"))
    if explain and verdict.error is not None:
        rows.append(verdict.error.explain())
    return "\n".join(rows)


def _line(verdict: Verdict) -> str:
    name, error = verdict.program.name, verdict.error
    kind = verdict.program.type.name.lower()
    if error is None:
        return f"{name} ({kind}): accepted, {verdict.insns_processed} instructions processed"
    return f"{name} ({kind}): rejected: {error.sentence} ({_place(error)})"


def _place(error: VerifierError) -> str:
    return f"insn {error.insn} at {error.span}" if error.span else f"insn {error.insn}"


def _row(verdict: Verdict, explain: bool) -> dict[str, object]:
    error = verdict.error
    row: dict[str, object] = {
        "program": verdict.program.name, "section": verdict.program.section, "type": verdict.program.type.name.lower(),
        "verdict": "accepted" if error is None else "rejected", "insns_processed": verdict.insns_processed,
        "time_ms": round(verdict.time_ns / 1e6, 3),
    }
    if error is not None:
        row |= {"sentence": error.sentence, "insn": error.insn, "place": error.span}
        if explain:
            row["explanation"] = error.explain()
    return row


def _content(file: str) -> bytes:
    """The file's bytes, or standard input's for "-"."""
    if file == "-":
        content = sys.stdin.buffer.read(_MAX_INPUT_BYTES + 1)
    else:
        with open(file, "rb") as stream:
            content = stream.read(_MAX_INPUT_BYTES + 1)
    if len(content) > _MAX_INPUT_BYTES:
        raise ValueError(f"more than {_MAX_INPUT_BYTES >> 20} MiB is no program")
    return content


def _text(given: str) -> str:
    return _content("-").decode("utf-8", "replace") if given == "-" else given


def _code(given: str) -> bytes:
    """The instructions that hexadecimal digits stand for, with or without white space between them."""
    digits = "".join(_text(given).split())
    if not digits.isascii() or digits.strip("0123456789abcdefABCDEF"):
        wrong = next(one for one in digits if one not in "0123456789abcdefABCDEF")
        raise ValueError(f"{wrong!r} is no hexadecimal digit (write 16 digits for each instruction: b700000000000000 is r0 = 0)")
    if len(digits) % 16:
        raise ValueError(f"{len(digits)} hexadecimal digits are not whole instructions (write 16 digits for each)")
    return bytes.fromhex(digits)
