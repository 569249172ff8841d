"""LLVM IR -> optimised object file, for the BPF target or for this machine.

LLVM's BPF target ends the process on what it cannot do. check.py and lower.py leave nothing of the kind
known to us in the IR; the stack limit is raised here and checked afterwards on the instructions, so an
overflow is our own error with the function's name. IR that is large enough to run into limits of the
encoding (16-bit branches) is emitted in a forked child, whose death is an error of ours, not the user's."""

from __future__ import annotations

import functools
import os
import struct
from typing import Any

import llvmlite.binding as llvm

from cfront.errors import CompileError, Diagnostic

__all__ = ["STACK_BYTES", "emit", "optimise"]

STACK_BYTES = 512
_LARGE_IR = 400_000  # characters; in-process below


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.set_option("cfront", "-bpf-stack-size=65536")


@functools.cache
def _machine(target: str, cpu: str) -> Any:
    _initialise()
    if target == "bpf":
        return llvm.Target.from_triple("bpfel").create_target_machine(cpu=cpu, opt=2)
    triple = llvm.get_process_triple()
    return llvm.Target.from_triple(triple).create_target_machine(opt=2, reloc="pic", codemodel="default")


def _module(ir: str, target: str, cpu: str) -> Any:
    machine = _machine(target, cpu)
    module = llvm.parse_assembly(ir)
    module.triple = "bpfel" if target == "bpf" else llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    return module


def optimise(ir: str, *, target: str, cpu: str) -> Any:
    """The module of ir after LLVM's -O2 pipeline with the target's own passes."""
    module = _module(ir, target, cpu)
    machine = _machine(target, cpu)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    if target == "bpf":
        options.loop_vectorization = False
        options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def _emit_here(ir: str, target: str, cpu: str, form: str) -> bytes:
    module = optimise(ir, target=target, cpu=cpu)
    if form == "ir":
        return str(module).encode()
    machine = _machine(target, cpu)
    if form == "asm":
        return bytes(machine.emit_assembly(module).encode())
    return bytes(machine.emit_object(module))


def _emit_in_child(ir: str, target: str, cpu: str, form: str) -> bytes:
    """Emits in a forked child; CompileError if LLVM ends it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            with open(writer, "wb") as pipe:
                pipe.write(_emit_here(ir, target, cpu, form))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not content:
        raise CompileError([Diagnostic("LLVM's BPF target cannot generate code for this text", None,
                                       hint="make its functions smaller")])
    return content


def emit(ir: str, *, target: str, cpu: str, form: str = "obj") -> bytes:
    """The object file (form "obj"), assembly text ("asm") or optimised IR ("ir") of LLVM IR text. Raises
    CompileError where a function needs more stack than BPF has."""
    large = target == "bpf" and len(ir) > _LARGE_IR and hasattr(os, "fork")
    content = (_emit_in_child if large else _emit_here)(ir, target, cpu, form)
    if target == "bpf" and form == "obj":
        content = _with_frame_adds(content)
        _check_stack(content)
    return content


def _with_frame_adds(content: bytes) -> bytes:
    """content with every `|=` on a stack address made a `+=`.

    LLVM writes base + index as base | index where it knows that no bit is common, as for an aligned array on
    the stack; the kernel's verifier knows no pointer |= number. The two are equal there, and a text that means
    `|` on such an address was refused in provenance.py."""
    patched = bytearray(content)
    for _, start, size in _function_extents(content):
        frame: set[int] = set()
        for at in range(start, start + size, 8):
            op, target, source = content[at], content[at + 1] & 15, content[at + 1] >> 4
            if op == 0xBF and (source == 10 or source in frame):
                frame.add(target)
            elif op in (0x4F, 0x47) and target in frame:
                patched[at] = 0x0F if op == 0x4F else 0x07
            elif op == 0x4F and source in frame:
                patched[at] = 0x0F
                frame.add(target)
            elif op & 7 in (5, 6):  # a jump or call: what follows may be reached with other registers
                frame.clear()
            elif op != 0x07 and op & 7 in (0, 1, 4, 7):
                frame.discard(target)
    return bytes(patched)


def _check_stack(content: bytes) -> None:
    """Refuses a function that reaches below r10 - 512."""
    for name, code in _functions(content):
        lowest = _lowest_stack(code)
        if -lowest > STACK_BYTES:
            raise CompileError([
                Diagnostic(
                    f"function '{name}' needs {-lowest} bytes of stack, BPF has {STACK_BYTES}", None,
                    hint="keep large values in a BPF_PERCPU_ARRAY, or send them in pieces",
                )
            ])


def _lowest_stack(code: bytes) -> int:
    """The lowest offset from r10 that any instruction uses."""
    lowest = 0
    frame_copies: dict[int, bool] = {}
    for op, regs, off, imm in struct.iter_unpack("<BBhi", code):
        target, source = regs & 15, regs >> 4
        kind = op & 7
        if (kind == 1 and source == 10) or (kind in (2, 3) and target == 10):  # LDX
            lowest = min(lowest, off)
        elif op == 0xBF and source == 10:  # mov64 from r10
            frame_copies[target] = True
        elif op == 0x07 and frame_copies.get(target):  # add64 imm
            lowest = min(lowest, imm)
            frame_copies[target] = False
    return lowest


def _functions(content: bytes) -> list[tuple[str, bytes]]:
    """(name, code) of every function."""
    return [(name, content[start : start + size]) for name, start, size in _function_extents(content)]


def _function_extents(content: bytes) -> list[tuple[str, int, int]]:
    """(name, offset in the file, bytes) of every function symbol in an ELF64 little-endian relocatable object
    of our own making."""
    shoff, = struct.unpack_from("<Q", content, 40)
    shentsize, shnum = struct.unpack_from("<HH", content, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", content, shoff + at * shentsize) for at in range(shnum)]
    found = []
    for section in sections:
        if section[1] != 2:  # SHT_SYMTAB
            continue
        strings = sections[section[6]]
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, index, value, size = struct.unpack_from("<IBBHQQ", content, at)
            if info & 15 == 2 and 0 < index < shnum:  # STT_FUNC
                start = sections[index][4] + value
                end = content.index(b"\0", strings[4] + name)
                found.append((content[strings[4] + name : end].decode(), start, size))
    return found
