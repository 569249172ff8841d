"""LLVM: text -> machine code in an object -> code in this process.

Objects hold no addresses: what they call and which maps they use are symbols, given when they are linked, so the same
object serves again in another process. Code pages are not writable once linked (LLVM's own memory manager sees to it).

LLVM ends the process on bytes that are no object and on symbols that nobody knows, so both are looked at first."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bcc_py.errors import LoadError

__all__ = ["CodeObject", "NativeLibrary", "host_name", "link", "make_assembly", "make_object", "optimised_text"]

_OBJECT_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe")  # ELF, Mach-O

_lock = threading.Lock()
_of_thread = threading.local()
_is_ready = False


def _llvm() -> Any:
    """llvmlite's binding, imported when code is first made: a program on the real kernel needs none."""
    return importlib.import_module("llvmlite.binding")


def _prepare() -> None:
    global _is_ready
    with _lock:
        if not _is_ready:
            _llvm().initialize_native_target()
            _llvm().initialize_native_asmprinter()
            _is_ready = True


def host_name() -> str:
    """The machine code is made for, in words that differ when the code would: triple, CPU, LLVM version."""
    version = ".".join(map(str, _llvm().llvm_version_info))
    return f"{_llvm().get_process_triple()} {_llvm().get_host_cpu_name()} llvm-{version}"


def _target_machine() -> Any:
    """For making code whose symbols may be anywhere in the address space; this thread's own, which is kept."""
    if not hasattr(_of_thread, "machine"):
        features = _llvm().get_host_cpu_features().flatten()
        _of_thread.machine = _new_machine(cpu=_llvm().get_host_cpu_name(), features=features, opt=2)
    return _of_thread.machine


def _new_machine(**options: Any) -> Any:
    _prepare()
    target = _llvm().Target.from_triple(_llvm().get_process_triple())
    return target.create_target_machine(reloc="static", codemodel="large", jit=True, **options)


@dataclass(frozen=True, slots=True)
class CodeObject:
    """A relocatable object and the symbols that it lacks."""

    content: bytes
    symbols: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """What from_bytes reads."""
        head = json.dumps(self.symbols).encode()
        return len(head).to_bytes(4, "little") + head + self.content

    @classmethod
    def from_bytes(cls, kept: bytes) -> CodeObject:
        end = 4 + int.from_bytes(kept[:4], "little")
        return cls(kept[end:], tuple(json.loads(kept[4:end])))


def _optimised(text: str, machine: Any, *, is_straight: bool = False) -> Any:
    module = _llvm().parse_assembly(text)
    module.triple = _llvm().get_process_triple()
    module.data_layout = str(machine.target_data)
    options = _llvm().create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False
    builder = _llvm().create_pass_builder(machine, options)
    (_short_passes() if is_straight else builder.getModulePassManager()).run(module, builder)
    return module


def _short_passes() -> Any:
    """What brings straight code as far as LLVM's O2 does, in a third of its time."""
    passes = _llvm().create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_dead_store_elimination_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    return passes


def make_object(text: str, *, is_straight: bool = False) -> CodeObject:
    """The object of LLVM's text, optimised. is_straight: its functions do not call each other, nor do they loop, but for
    those that are always inlined and were optimised before."""
    machine = _target_machine()
    module = _optimised(text, machine, is_straight=is_straight)
    lacking = [one.name for kind in (module.functions, module.global_variables) for one in kind if one.is_declaration]
    symbols = tuple(name for name in lacking if not name.startswith("llvm."))
    return CodeObject(machine.emit_object(module), symbols)


def optimised_text(text: str) -> str:
    """LLVM's text, optimised."""
    return str(_optimised(text, _target_machine()))


def make_assembly(text: str, *, is_straight: bool = False) -> str:
    """make_object's code as assembly, for people."""
    machine = _target_machine()
    return str(machine.emit_assembly(_optimised(text, machine, is_straight=is_straight)))


def link(code: CodeObject, address_of: Callable[[str], int]) -> Any:
    """An engine that holds the code. address_of: a symbol's address; 0 where the process knows it itself. Raises LoadError
    for a symbol that nobody knows."""
    if code.content[:4] not in _OBJECT_MAGIC:
        raise LoadError(f"linking a native object: it begins with {code.content[:4]!r}")
    llvm = _llvm()
    machine = _new_machine()  # the engine's, which makes no code
    with _lock:  # symbols are the process's, until they are set again
        for name in code.symbols:
            where = address_of(name)
            if where:
                llvm.add_symbol(name, where)
            elif llvm.address_of_symbol(name) is None:
                raise LoadError(f"linking a native object: nobody knows its symbol {name}")
        empty = llvm.parse_assembly("")
        empty.triple = llvm.get_process_triple()
        engine = llvm.create_mcjit_compiler(empty, machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code.content))
        engine.finalize_object()
    return engine


class NativeLibrary:
    """Machine code in this process, from a relocatable object (ELF on Linux). Symbols that the object lacks
    are looked for in the process (memcpy and its like).

    The object must come from our own compiler: LLVM trusts what is in it. Raises LoadError for bytes that are no
    object at all."""

    def __init__(self, content: bytes) -> None:
        self._engine: Any = link(CodeObject(content, ()), _nowhere)
        self._known: dict[str, int] = {}

    def address(self, name: str) -> int:
        """Where the function is. Raises LoadError if there is none."""
        where = self._known.get(name) or int(self._engine.get_function_address(name))
        if not where:
            raise LoadError(f"linking a native object: it has no function {name}")
        self._known[name] = where
        return where


def _nowhere(name: str) -> int:
    return 0


