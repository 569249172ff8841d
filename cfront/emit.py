"""LLVM IR -> optimised object file, for the BPF target or for this machine.

LLVM's BPF target ends the process on what it cannot do. check.py and lower.py leave nothing of the kind
known to us in the IR; the stack limit is raised here and checked afterwards on the instructions, so an
overflow is our own error with the function's name. The optimiser can make what the text did not hold: a
64-bit product with an overflow flag is put back into plain arithmetic, and a module in which anything else
is doubtful (integers beyond 64 bits, floats, vectors, large frames, code near the 16-bit branch range) is
emitted in a forked child, whose last words become a CompileError at the place that they name."""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import llvmlite.binding as llvm

from cfront.errors import CompileError, Diagnostic
from cfront.source import Span

__all__ = ["STACK_BYTES", "FunctionPlace", "ObjectSymbol", "emit", "optimise", "symbols"]

STACK_BYTES = 512
_LARGE_IR = 400_000  # characters before optimisation; in-process below
_MANY_INSNS = 16_000  # an estimate; branches reach 32,767
_LARGE_FRAME = 16_000  # bytes; the offsets of the encoding reach 32,768
_INSNS_OF_COPY = 128 * 2
_DOUBTFUL = re.compile(
    r"\bi(?:6[5-9]|[7-9]\d|\d{3,})\b|(?<![@%.\w])(?:half|float|double|fp128)\b|<\d+ x |\bmusttail\b|@llvm\.\w+\.fix\b"
)
_SIGNED_DIVISION = re.compile(r"= s(?:div|rem) ")
_ATOMIC = re.compile(r"\b(?:atomicrmw|cmpxchg)\b|\b(?:load|store) atomic\b")
_ALLOCA = re.compile(r"= alloca (?:\[(\d+) x i8\]|\w+)")
_LAST_WORDS = re.compile(r"error: (.*?):(\d+):(\d+): in function (\S+) .*?\): (.*)")
_LIBRARY_CALL = re.compile(r"A call to built-in function '(\w+)'")
_LIBRARY = {
    "__multi3": "a 128-bit product", "__ashlti3": "a 128-bit shift by a variable", "__lshrti3": "a 128-bit shift by a variable",
    "__ashrti3": "a 128-bit shift by a variable", "__divti3": "128-bit division", "__udivti3": "128-bit division",
    "__modti3": "128-bit division", "__umodti3": "128-bit division", "memcpy": "a long copy", "memset": "a long fill",
    "memmove": "a long copy",
}


@dataclass(frozen=True, slots=True)
class FunctionPlace:
    """Where a function is, for diagnostics about its code. advice: what takes its stack."""

    span: Span
    source_line: str
    advice: str = ""


Places = Callable[[], Mapping[str, FunctionPlace]]


def _no_places() -> Mapping[str, FunctionPlace]:
    return {}


@functools.cache
def _code_pages() -> tuple[tuple[int, int], ...]:
    """(address, bytes) of LLVM's machine code in this process's memory; none where the system does not say."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file if "libllvmlite" in line and " r-xp " in line]
    except OSError:
        return ()
    spans = [[int(one, 16) for one in row[0].split("-")] for row in rows]
    return tuple((start, end - start) for start, end in spans)


@functools.cache
def _give_back(after: str) -> None:
    """Unmaps LLVM's code, once in a process after each stage; the system maps again from the file what runs again.
    What ran only once (the start of a hundred targets, and after the first text most of the passes) would be half
    the memory of a process that compiled one text and goes on tracing."""
    for address, size in _code_pages():
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), 4)  # MADV_DONTNEED


@functools.cache
def _initialise() -> None:
    _give_back("loading")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.set_option("cfront", "-bpf-stack-size=32760")
    _give_back("initialising")


@functools.cache
def _machine(target: str, cpu: str) -> Any:
    _initialise()
    if target == "bpf":
        return llvm.Target.from_triple("bpfel").create_target_machine(cpu=cpu, opt=2)
    triple = llvm.get_process_triple()
    return llvm.Target.from_triple(triple).create_target_machine(opt=2, reloc="pic", codemodel="default")


def _module(ir: str, target: str, cpu: str) -> Any:
    machine = _machine(target, cpu)
    try:
        module = llvm.parse_assembly(ir)
    except RuntimeError as error:
        raise CompileError([Diagnostic(f"internal: LLVM does not take the code made of this text: {_first_reason(str(error))}", None,
                                       hint="please report it, with the text")]) from error
    module.triple = "bpfel" if target == "bpf" else llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    return module


def _first_reason(said: str) -> str:
    """The sentence in what LLVM's parser says."""
    found = re.search(r"error: (.*)", said)
    return found[1] if found else said.strip()


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
    _give_back("optimising")
    return module


def _code(module: Any, target: str, cpu: str, form: str) -> bytes:
    machine = _machine(target, cpu)
    made = machine.emit_assembly(module).encode() if form == "asm" else machine.emit_object(module)
    _give_back("emitting")
    return bytes(made)


def _emit_in_child(make: Callable[[], bytes], places: Places) -> bytes:
    """make(), in a forked child; CompileError with LLVM's reason if LLVM ends it."""
    if not hasattr(os, "fork"):
        raise CompileError([Diagnostic("LLVM's BPF target may not be able to generate code for this text", None,
                                       hint="use integers of at most 64 bits and smaller functions")])
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as words:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                faulthandler.disable()  # its end is expected, and no crash of the user's process
                os.close(reader)
                os.dup2(words.fileno(), 2)
                with open(writer, "wb") as pipe:
                    pipe.write(make())
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        with open(reader, "rb") as pipe:
            content = pipe.read()
        _, status = os.waitpid(child, 0)
        words.seek(0)
        said = words.read().decode("utf-8", "replace")
    if status or not content:
        raise CompileError([_reason(said, places())])
    return content


def _reason(said: str, places: Mapping[str, FunctionPlace]) -> Diagnostic:
    """What LLVM said before it ended its process, in our words."""
    match = _LAST_WORDS.search(said)
    if match is None:
        return Diagnostic("LLVM's BPF target cannot generate code for this text", None, hint="make its functions smaller")
    file, line, col, name, sentence = match.groups()
    place = places.get(name)
    if "stack limit" in sentence:
        return Diagnostic(f"function '{name}' needs more stack than the {STACK_BYTES} bytes that BPF has", place.span if place else None,
                          hint=_stack_hint(place), source_line=place.source_line if place else "")
    span = Span(file, int(line), int(col)) if int(line) else place.span if place else None
    if "XADD return value" in sentence:
        return Diagnostic(f"function '{name}' uses the result of an atomic operation, which cpu v1 and v2 do not give", span,
                          hint="compile for cpu v3, or do not use the result")
    call = _LIBRARY_CALL.search(sentence)
    if call:
        word = _LIBRARY.get(call.group(1), f"'{call.group(1)}'")
        return Diagnostic(f"function '{name}' needs {word}, which is not supported in BPF", span,
                          hint="use 64-bit arithmetic and constant lengths")
    return Diagnostic(f"function '{name}': {sentence.strip()}", span)


def emit(
    ir: str, *, target: str, cpu: str, form: str = "obj", places: Places = _no_places
) -> bytes:
    """The object file (form "obj"), assembly text ("asm") or optimised IR ("ir") of LLVM IR text. places:
    where each function is, asked when something is wrong. Raises CompileError where a function needs more
    stack than BPF has."""
    if target != "bpf":
        module = optimise(ir, target=target, cpu=cpu)
        return str(module).encode() if form == "ir" else _code(module, target, cpu, form)
    if len(ir) > _LARGE_IR:
        content = _emit_in_child(lambda: _emit_bpf(ir, cpu, form, None), places)
    else:
        content = _emit_bpf(ir, cpu, form, places)
    if form == "obj":
        content = _with_frame_adds(content)
        _check_stack(content, places)
    return content


def emit_host_parts(ir: str) -> tuple[bytes, str]:
    """(the object of LLVM IR text for this machine, the optimised text it was made from)."""
    module = optimise(ir, target="host", cpu="")
    return _code(module, "host", "", "obj"), str(module)


def _emit_bpf(ir: str, cpu: str, form: str, places: Places | None) -> bytes:
    """Optimises and emits; places: those for _emit_in_child, None where this is a child already."""
    module = optimise(ir, target="bpf", cpu=cpu)
    text = str(module)
    if "mul.with.overflow.i64" in text:
        module = _without_wide_products(text, cpu)
        text = str(module)
    if form == "ir":
        return text.encode()
    if places is not None and _is_doubtful(text, cpu):
        return _emit_in_child(lambda: _code(module, "bpf", cpu, form), places)
    return _code(module, "bpf", cpu, form)


def _is_doubtful(text: str, cpu: str) -> bool:
    """Whether LLVM might end the process on optimised IR."""
    # between the head, whose data layout names i128, and the metadata, which quotes the user's text
    text = text.partition("\ntarget triple")[2].partition("\n!")[0]
    if _DOUBTFUL.search(text) or (cpu in ("v1", "v2") and _ATOMIC.search(text)) or (cpu != "v4" and _SIGNED_DIVISION.search(text)):
        return True
    if text.count("\n") + _INSNS_OF_COPY * text.count(" @llvm.mem") > _MANY_INSNS:
        return True
    return any(
        sum(int(one.group(1) or 16) for one in _ALLOCA.finditer(body)) > _LARGE_FRAME for body in text.split("\ndefine ")
    )


# What InstCombine makes of m = a * b, m / a != b. The BPF target would call a 128-bit product for it.
_PRODUCT = """
define internal {{ i64, i1 }} @cfront.{sign}mulo(i64 %a, i64 %b) alwaysinline nounwind "no-builtins" {{
  %m = mul i64 %a, %b
  %z = icmp eq i64 %a, 0
  %d = select i1 %z, i64 1, i64 %a
{quotient}
  %n = icmp ne i64 %q, %b
  %w = xor i1 %z, true
  %o = and i1 %n, %w
{extra}
  %r = insertvalue {{ i64, i1 }} poison, i64 %m, 0
  %s = insertvalue {{ i64, i1 }} %r, i1 %p, 1
  ret {{ i64, i1 }} %s
}}
"""
_UNSIGNED_PRODUCT = _PRODUCT.format(sign="u", quotient="  %q = udiv i64 %m, %d", extra="  %p = or i1 %o, false")
_SIGNED_PRODUCT = _PRODUCT.format(
    sign="s",
    # -1 is no divisor: the least number over it is not defined
    quotient="  %t = icmp eq i64 %a, -1\n  %e = select i1 %t, i64 1, i64 %d\n  %u = sdiv i64 %m, %e\n"
             "  %v = sub i64 0, %m\n  %q = select i1 %t, i64 %v, i64 %u",
    extra="  %l = icmp eq i64 %b, -9223372036854775808\n  %k = and i1 %t, %l\n  %p = or i1 %o, %k",
)


def _without_wide_products(text: str, cpu: str) -> Any:
    """The module of text with every 64-bit product with overflow flag written in 64-bit operations."""
    for sign, body in (("u", _UNSIGNED_PRODUCT), ("s", _SIGNED_PRODUCT)):
        name = f"@llvm.{sign}mul.with.overflow.i64("
        if name in text:
            text = re.sub(rf"^declare [^\n]*{re.escape(name)}[^\n]*\n", "", text, flags=re.MULTILINE)
            text = text.replace(name, f"@cfront.{sign}mulo(") + body
    module = _module(text, "bpf", cpu)
    builder = llvm.create_pass_builder(_machine("bpf", cpu), llvm.create_pipeline_tuning_options(speed_level=1))
    manager = llvm.create_new_module_pass_manager()
    manager.add_always_inliner_pass()
    manager.add_global_dead_code_eliminate_pass()
    manager.run(module, builder)
    return module


def _with_frame_adds(content: bytes) -> bytes:
    """content with every `|=` on a stack address made a `+=`.

    LLVM writes base + index as base | index where it knows that no bit is common, as for an aligned array on
    the stack; the kernel's verifier knows no pointer |= number. The two are equal there, and a text that means
    `|` on such an address was refused in provenance.py."""
    patched = bytearray(content)
    for _, start, size in _function_extents(content):
        code = [(content[at], content[at + 1], *struct.unpack_from("<hi", content, at + 2)) for at in range(start, start + size, 8)]
        if not any(one[0] in (_OR, _OR_IMM) for one in code):
            continue
        for at in _frame_ors(code):
            patched[start + 8 * at] = 0x0F if code[at][0] == _OR else 0x07
    return bytes(patched)


_COPY, _OR, _OR_IMM, _ADD, _ADD_IMM, _SPILL, _FILL = 0xBF, 0x4F, 0x47, 0x0F, 0x07, 0x7B, 0x79


def _frame_ors(code: list[tuple[int, int, int, int]]) -> set[int]:
    """The slots of those |= that have a stack address on one side. A forward analysis of which registers and
    spill slots (by their offset) may hold one; what is live holds an address on all paths or on none."""
    held: list[frozenset[int] | None] = [None] * len(code)
    waiting: list[tuple[int, frozenset[int]]] = [(0, frozenset([10]))]
    found: set[int] = set()
    while waiting:
        at, frame = waiting.pop()
        before = held[at] if at < len(code) else frame
        if before is not None and frame <= before:
            continue
        frame = held[at] = frame | (before or frozenset())
        op, registers, off, imm = code[at]
        target, source = registers & 15, registers >> 4
        if op in (_OR, _OR_IMM) and (target in frame or (op == _OR and source in frame)):
            found.add(at)
        following = at + (2 if op == 0x18 else 1)
        if op == 0x95:
            continue
        if op & 7 in (5, 6) and op != 0x85:
            waiting.append((at + 1 + (imm if op == 0x06 else off), frame))
            if op in (0x05, 0x06):
                continue
        waiting.append((following, _frame_after(frame, op, target, source, off)))
    return found


def _frame_after(frame: frozenset[int], op: int, target: int, source: int, off: int) -> frozenset[int]:
    """frame after an instruction."""
    if op == 0x85:
        return frame - {0, 1, 2, 3, 4, 5}
    if op == _SPILL:
        return frame | {off} if source in frame and target == 10 else frame - {off} if target == 10 else frame
    if op & 7 not in (0, 1, 4, 7):
        return frame
    is_address = (op == _COPY and source in frame) or (op == _FILL and source == 10 and off in frame) or (
        op in (_ADD, _OR) and (source in frame or target in frame)) or (op in (_ADD_IMM, _OR_IMM) and target in frame)
    return frame | {target} if is_address else frame - {target}


def _stack_hint(place: FunctionPlace | None) -> str:
    advice = place.advice + "; " if place and place.advice else ""
    return advice + "keep large values in a BPF_PERCPU_ARRAY, or send them in pieces"


def _check_stack(content: bytes, places: Places) -> None:
    """Refuses functions that reach below r10 - 512."""
    found = []
    for name, code in _functions(content):
        lowest = _lowest_stack(code)
        if -lowest > STACK_BYTES:
            place = places().get(name)
            found.append(Diagnostic(
                f"function '{name}' needs {-lowest} bytes of stack, BPF has {STACK_BYTES}", place.span if place else None,
                hint=_stack_hint(place), source_line=place.source_line if place else "",
            ))
    if found:
        raise CompileError(found)


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
    """(name, offset in the file, bytes) of every function that the object defines."""
    return [(one.name, one.start, one.size) for one in symbols(content) if one.is_function and one.is_defined]


class ObjectSymbol(NamedTuple):
    """A symbol of an object. start: its offset in the file, if it is defined; size: in bytes."""

    name: str
    is_function: bool
    is_defined: bool
    start: int
    size: int


def symbols(content: bytes) -> Iterator[ObjectSymbol]:
    """The symbols of an ELF64 little-endian relocatable object of our own making."""
    shoff, = struct.unpack_from("<Q", content, 40)
    shentsize, shnum = struct.unpack_from("<HH", content, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", content, shoff + at * shentsize) for at in range(shnum)]
    for section in sections:
        if section[1] != 2:  # SHT_SYMTAB
            continue
        strings = sections[section[6]][4]
        for at in range(section[4] + 24, section[4] + section[5], 24):
            name, info, _, index, value, size = struct.unpack_from("<IBBHQQ", content, at)
            start = sections[index][4] + value if 0 < index < shnum else 0
            end = content.index(b"\0", strings + name)
            yield ObjectSymbol(content[strings + name : end].decode(), info & 15 == 2, index != 0, start, size)  # STT_FUNC, SHN_UNDEF
