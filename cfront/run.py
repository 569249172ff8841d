"""A program for this machine, run: native object with main() -> the status it ends with.

The object is linked against the C library of this process by LLVM's JIT linker and main() is called in a forked
child, so that whatever it does ends only the child; its input, output and errors are this process's. Functions
that neither the object nor the C library defines are named before anything runs."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence

import llvmlite.binding as llvm

from cfront.emit import symbols
from cfront.errors import CompileError, Diagnostic

__all__ = ["run_main"]


def _require(content: bytes, filename: str) -> None:
    """Raises CompileError without main() or with functions that nothing defines."""
    library = ctypes.CDLL(None)
    rows = list(symbols(content))
    missing = sorted({one.name for one in rows if one.name and not one.is_defined and not hasattr(library, one.name)})
    if missing:
        words = ", ".join(missing)
        raise CompileError([Diagnostic(f"running {filename}: neither it nor the C library defines {words}", None)])
    if not any(one.name == "main" and one.is_defined and one.is_function for one in rows):
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
