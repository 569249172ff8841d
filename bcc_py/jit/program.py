"""A verified program -> a NativeProgram, from the cache if the same was made before.

What the code depends on besides the program (verdict, shapes of the maps, the runtime, this package, the host) is in the
key under which the object is kept; addresses are not, they are symbols."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import cffi

from bcc_py.isa import encode
from bcc_py.jit.link import CodeObject, host_name, link, make_assembly, make_object
from bcc_py.jit.module import is_straight, llvm_ir, map_numbers
from bcc_py.jit.target import NativeMap, NativeTarget, Verified
from bcc_py.spec import ProgramSpec

__all__ = ["NativeProgram", "compile_program", "native_assembly"]

_ffi = cffi.FFI()
_ffi.cdef("typedef unsigned long long u64;")
_Keep = Callable[[str, tuple[str, ...], Callable[[], bytes]], bytes]


class NativeProgram:
    """Machine code of one program. run may be called until close; target's kernel must be alive. entry: of its code, which
    takes the CPU and r1 to r5."""

    def __init__(self, spec: ProgramSpec, engine: Any, launch: Any) -> None:
        self.spec = spec
        self._engine: Any = engine
        self._launch: Any = launch
        self.entry = int(engine.get_function_address("enter"))

    def run(self, cpu_address: int, ctx_address: int) -> int:
        """r0 (64 bits) of one run on this CPU, on the context at this native address."""
        return self.call(cpu_address, ctx_address, 0)

    def repeat(self, cpu_address: int, ctx_address: int, count: int) -> int:
        """r0 of the last of count runs (at least one), without Python in between."""
        return int(self._launch(self.entry, cpu_address, ctx_address, 0, count))

    def call(self, cpu_address: int, r1: int, r2: int) -> int:
        """r0 of one run that begins with these two registers: for programs whose context is not all that they get."""
        return int(self._launch(self.entry, cpu_address, r1, r2, 1))

    def close(self) -> None:
        """Gives the code back. Idempotent."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


# @launch(entry, cpu, r1, r2, count) runs a program: it notes where the program's stack begins, and that no tail call was
# made, and in a checked kernel that a run begins
_LAUNCH = """
declare ptr @llvm.frameaddress.p0(i32)
{begin}
define i64 @launch(ptr %entry, ptr %cpu, i64 %r1, i64 %r2, i64 %count) nounwind {{
  %frame = call ptr @llvm.frameaddress.p0(i32 0)
  %top = ptrtoint ptr %frame to i64
  %stack_top = getelementptr i8, ptr %cpu, i64 {stack_top}
  %tail_calls = getelementptr i8, ptr %cpu, i64 {tail_calls}
  br label %again
again:
  %done = phi i64 [0, %0], [%more, %again]
  store i64 %top, ptr %stack_top
  store i32 0, ptr %tail_calls
  {call}
  %r0 = call i64 %entry(ptr %cpu, i64 %r1, i64 %r2, i64 0, i64 0, i64 0)
  %more = add i64 %done, 1
  %is_over = icmp uge i64 %more, %count
  br i1 %is_over, label %end, label %again
end:
  ret i64 %r0
}}"""
_launchers: dict[tuple[int, int, bool], tuple[Any, Any]] = {}  # with their engines


def _launcher(target: NativeTarget, keep: _Keep | None) -> Any:
    """@launch for target's CPUs, made once."""
    fields = target.cpu_fields
    key = (fields["stack_top"], fields["tail_calls"], target.is_checked)
    known = _launchers.get(key)
    if known is None:
        begin, call = ("declare i64 @check_begin(ptr)", "call i64 @check_begin(ptr %cpu)") if target.is_checked else ("", "")
        text = _LAUNCH.format(stack_top=key[0], tail_calls=key[1], begin=begin, call=call)

        def build() -> bytes:
            return make_object(text).to_bytes()

        kept = build() if keep is None else keep("code", (host_name(), text), build)
        engine = link(CodeObject.from_bytes(kept), functools.partial(_address_of, target, {}))
        code = _ffi.cast("u64 (*)(u64, u64, u64, u64, u64)", engine.get_function_address("launch"))
        known = _launchers[key] = (engine, code)
    return known[1]


def compile_program(program: Verified, target: NativeTarget, keep: _Keep | None = None) -> NativeProgram:
    """Machine code for program on target. keep: bcc_py.cache.cached, or None to make it anew; what is hardened is never
    kept, for its constants are hidden anew each time. Raises NotSupportedError for what has no native form."""
    numbers = map_numbers(program)

    def build() -> bytes:
        return make_object(llvm_ir(program, target), is_straight=is_straight(program)).to_bytes()

    if keep is None or target.is_hardened or target.observe:
        kept = build()
    else:
        kept = keep("code", _key(program, target, numbers), build)
    engine = link(CodeObject.from_bytes(kept), functools.partial(_address_of, target, {n: fd for fd, n in numbers.items()}))
    return NativeProgram(program.spec, engine, _launcher(target, keep))


def native_assembly(program: Verified, target: NativeTarget) -> str:
    """The assembly text compile_program would link, for people."""
    return make_assembly(llvm_ir(program, target), is_straight=is_straight(program))


def _address_of(target: NativeTarget, fds: Mapping[int, int], symbol: str) -> int:
    kind, _, rest = symbol.partition("_")
    if kind in ("map", "values", "user") and rest.isdigit():
        one = target.maps[fds[int(rest)]]
        return {"map": one.address, "values": one.values or one.address, "user": one.user or one.address}[kind]
    if kind == "helper" and rest.isdigit():
        return target.helpers[int(rest)].address
    if kind == "kfunc":
        return target.kernel_functions[rest].address
    try:
        return target.function(symbol)
    except LookupError:
        return 0


def _key(program: Verified, target: NativeTarget, numbers: Mapping[int, int]) -> tuple[str, ...]:
    insns = [one._replace(imm=numbers[one.imm]) if one.code == 0x18 and one.src in (1, 2) and one.imm in numbers else one
             for one in program.insns]
    maps = [_map_key(target.maps[fd]) for fd in numbers if fd in target.maps]
    return (
        host_name(), target.key, program.spec.name, encode(insns).hex(),
        repr([(one.start, one.end, one.stack_bytes) for one in program.functions]), _digest(sorted(program.reached)),
        _digest(sorted(program.memory_kinds.items())), repr(sorted((slot, numbers.get(fd)) for slot, fd in program.call_maps.items())),
        repr((sorted(program.nospec), sorted(program.nospec_after), sorted(program.masks.items()))),
        repr(sorted(program.spec.kernel_functions.items())), repr(sorted(target.wide_fields.items())),
        f"checked={target.is_checked} fill={target.fill}", *maps,
    )


def _map_key(one: NativeMap) -> str:
    rest = (one.is_array, one.max_entries, one.slot_size, one.cpu_stride, one.is_arena, one.table_bytes, one.is_converted,
            sorted(one.inline.items(), key=repr))
    return repr(rest)


def _digest(rows: object) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()
