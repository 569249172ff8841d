"""python -m bcc_py.conformance: runs a program that no verifier has seen, and prints its r0.

It speaks the plugin protocol of bpf_conformance (github.com/Alan-Jowett/bpf_conformance, README): the program as
hexadecimal on standard input, its memory as hexadecimal in the first word; r0 as hexadecimal on standard output, or a
sentence on standard error and status 1. --elf: the input is an object file; its first program is run.

r1 is the address of the memory and r2 its length in bytes, as in that suite. What the verifier would have shown is
checked while the program runs: form first, then every access to memory, the depth of calls and the number of turns. A
program may call the helpers that take no arguments, and its own functions."""

from __future__ import annotations

import sys

import click

from bcc_py.elf import read_object
from bcc_py.errors import BpfError, LoadError
from bcc_py.isa import decode
from bcc_py.jit import NativeTarget, compile_program
from bcc_py.sim import native
from bcc_py.sim.cpu import CPU_FIELDS, SimCpu
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.unverified import with_form_only
from cfront.uapi import ProgType

__all__ = ["run"]

_TURNS = 1 << 28
_FAILED = 1


def run(code: bytes, memory: bytes = b"") -> int:
    """r0 (64 bits) of a program: instructions of 8 bytes each, little endian, on a copy of memory.

    Raises VerifierError for instructions that no kernel takes, FaultError for an access outside the program's memory and
    stack or for a program that does not end, LoadError for bytes that are no instructions."""
    if not code or len(code) % 8:
        raise LoadError(f"running a program of {len(code)} bytes: a multiple of 8 is needed")
    return _run(ProgramSpec("program", "", ProgType.SOCKET_FILTER, tuple(decode(code))), memory)


def _run(spec: ProgramSpec, memory: bytes) -> int:
    verified = with_form_only(spec)
    runtime = native.runtime()
    state = runtime.sim_new(1, 0, runtime.ffi.NULL, 0)
    if not state or runtime.sim_check(state, _TURNS):
        raise LoadError("running a program: out of memory", errno=12)
    try:
        target = NativeTarget(
            cpu_fields={name: runtime.offset_of("struct cpu", name) for name in CPU_FIELDS},
            helpers={number: one for number, one in native.helpers().items() if not one.arity},
            function=native.function, key=native.runtime_key(), is_checked=True)
        cpu = SimCpu(runtime, state.cpu)
        given = runtime.copy_in(memory)
        cpu.pointer.context, cpu.pointer.context_size = given, len(memory)
        code = compile_program(verified, target)
        try:
            r0 = code.call(cpu.address, runtime.address_of(given) if memory else 0, len(memory))
        finally:
            code.close()
        if cpu.pointer.fault:
            cpu.raise_fault(spec.name)
        return r0
    finally:
        runtime.sim_free(state)


def _from_hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise LoadError(f"reading {what}: {error}") from error


@click.command(
    help="Run a BPF program given as hexadecimal on standard input, and print r0.",
    context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
@click.option("--elf", is_flag=True, help="The input is an object file, whose first program is run.")
def main(words: tuple[str, ...], elf: bool) -> None:
    try:
        content = _from_hex(sys.stdin.read(), "the program")
        memory = _from_hex(words[0] if words else "", "the memory")
        if elf:
            programs = read_object(content).programs
            if not programs:
                raise LoadError("running an object: it holds no program")
            r0 = _run(next(iter(programs.values())), memory)
        else:
            r0 = run(content, memory)
    except BpfError as error:
        print(error, file=sys.stderr)
        sys.exit(_FAILED)
    print(f"{r0:x}")


if __name__ == "__main__":
    main()
