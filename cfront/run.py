"""A program for this machine, run: native object with main() -> the status it ends with.

The object is linked against the C library of this process by LLVM's JIT linker and main() is called in a forked
child, so that whatever it does ends only the child; its input, output and errors are this process's. Functions
that neither the object nor the C library defines are named before anything runs."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import struct
import sys
from collections.abc import Iterator, Sequence

import llvmlite.binding as llvm

from cfront.errors import CompileError, Diagnostic

__all__ = ["run_main"]

_SHT_SYMTAB, _SHN_UNDEF, _STT_FUNC = 2, 0, 2


def _symbols(content: bytes) -> Iterator[tuple[str, int, bool]]:
    """(name, section index, is it a function) of an ELF64 relocatable object of our own making."""
    shoff, = struct.unpack_from("<Q", content, 40)
    size, count = struct.unpack_from("<HH", content, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", content, shoff + at * size) for at in range(count)]
    for section in sections:
        if section[1] == _SHT_SYMTAB:
            strings = sections[section[6]][4]
            for at in range(section[4] + 24, section[4] + section[5], 24):
                name, info, _, index = struct.unpack_from("<IBBH", content, at)
                end = content.index(b"\0", strings + name)
                yield content[strings + name : end].decode(), index, info & 15 == _STT_FUNC


def _require(content: bytes, filename: str) -> None:
    """Raises CompileError without main() or with functions that nothing defines."""
    library = ctypes.CDLL(None)
    rows = list(_symbols(content))
    missing = sorted({name for name, index, _ in rows if name and index == _SHN_UNDEF and not hasattr(library, name)})
    if missing:
        words = ", ".join(missing)
        raise CompileError([Diagnostic(f"running {filename}: neither it nor the C library defines {words}", None)])
    if not any(name == "main" and index != _SHN_UNDEF and is_function for name, index, is_function in rows):
        raise CompileError([Diagnostic(f"running {filename}: it has no function main()", None)])


def _call_main(content: bytes, words: Sequence[str]) -> None:
    """Links, calls main(argc, argv) and ends the process by exit(3), which flushes what was printed."""
    faulthandler.disable()  # a crash is the program's, not Python's
    for one in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(one, signal.SIG_DFL)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(content))
    engine.finalize_object()
    main = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p))(engine.get_function_address("main"))
    given = (ctypes.c_char_p * (len(words) + 1))(*[os.fsencode(one) for one in words], None)
    ctypes.CDLL(None).exit(main(len(words), given))


def run_main(content: bytes, words: Sequence[str]) -> int:
    """The exit status of the object's main() with the arguments words (the first is the program's name), 128 and
    the signal's number where a signal ended it. Raises CompileError where it cannot be linked."""
    _require(content, words[0])
    if not hasattr(os, "fork"):
        raise CompileError([Diagnostic(f"running {words[0]}: this system cannot fork", None, hint="write the object with -o and link it")])
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            _call_main(content, words)
        finally:
            os._exit(127)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the program, which has it too
    try:
        _, status = os.waitpid(child, 0)
    finally:
        signal.signal(signal.SIGINT, before)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
