"""Verified BPF -> native code, through LLVM; and the linking of native objects.

Input: a VerifiedProgram and a NativeTarget: where the kernel's helpers, its maps and its state are in this process.
Output: a NativeProgram, whose run(cpu, ctx) is one call into machine code.

Invariant: what the verifier proved is all that keeps the code in bounds; nothing is checked again here, unless the target
asks for checked code. A BPF pointer is a native pointer, but for pointers to the kernel's objects, which are addresses of
the simulated machine.

What it cannot compile it refuses with NotSupportedError before any code exists: the kernel's variables, and helpers and
kernel functions that the target lacks.

target.py: what code is made for; arith.py, memory.py, function.py: a BPF function as LLVM's text, floor by floor;
module.py: the program; link.py: LLVM; program.py: all of it in order."""

from __future__ import annotations

from bcc_py.jit.link import NativeLibrary, host_name, optimised_text
from bcc_py.jit.module import llvm_ir
from bcc_py.jit.program import NativeProgram, compile_program, native_assembly
from bcc_py.jit.target import Extent, Inline, NativeHelper, NativeMap, NativeTarget, Verified

__all__ = ["Extent", "Inline", "NativeHelper", "NativeLibrary", "NativeMap", "NativeProgram", "NativeTarget", "Verified",
           "compile_program", "host_name", "llvm_ir", "native_assembly", "optimised_text"]
