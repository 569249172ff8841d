"""The simulator's C, compiled by our own front end: the runtime's machine code and the kernel's BTF.

Input: runtime/*.h and *.c beside this module, joined into one text in a fixed order, and kernel.h. Output:
a Runtime (one for the process) and BTF bytes. Both are made once a machine: cache.py keeps what was
compiled, by text, versions and host.

The helpers a program may call are those the runtime defines as bpf_NAME, with as many arguments as are
defined there. What a helper does may depend on the program's context: FAMILY_bpf_NAME is bpf_NAME for the types
of that family (contexts.FAMILIES). Kernel functions are kfunc_NAME in the same ways."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from importlib import resources

import cfront
from bcc_py.cache import cached
from bcc_py.errors import LoadError
from bcc_py.jit import Inline, NativeHelper, NativeLibrary, host_name, optimised_text
from bcc_py.sim.contexts import FAMILIES
from bcc_py.sim.hot import hot_functions, with_constants
from bcc_py.sim.memory import Runtime
from bcc_py.syscalls import SYSCALL_NAMES, kernel_name
from cfront.btf import Btf
from cfront.uapi import HELPER_IDS, ProgType

__all__ = ["function", "helpers", "hot", "kernel_btf", "kernel_functions", "kernel_key", "kernel_types", "runtime", "runtime_key",
           "runtime_text", "specialised"]

_SHARED = ("state.h", "net.h")
_HEADERS = (*_SHARED, "api.h", "hot.h")
_SOURCES = ("kinds.c", "own.c", "fields.c", "hash.c", "lru.c", "array.c", "queue.c", "trie.c", "stacks.c", "objects.c", "storage.c",
            "ranges.c", "arena.c", "elements.c", "rings.c", "taking.c", "timers.c", "making.c", "access.c", "print.c", "words.c", "sockets.c",
            "sockmaps.c",
            "packet.c", "checksum.c", "skb.c", "tunnel.c", "xdp.c", "network.c", "routes.c", "options.c", "hooks.c", "cookies.c",
            "time.c", "task.c", "text.c", "stack.c", "perf.c", "dynptr.c", "heap.c", "kfuncs.c", "cpumask.c", "strings.c",
            "helpers.c", "checked.c", "events.c")
# a helper's definition: its family, its name, and its parameters after the CPU
_HELPER = re.compile(r"^[\w ]+\**\b((?:\w+_)?)bpf_(\w+)\(struct cpu \*cpu([^)]*)\)$", re.MULTILINE)
# a kernel function's: the same
_KERNEL_FUNCTION = re.compile(r"^[\w ]+\**\b((?:\w+_)?)kfunc_(\w+)\(struct cpu \*cpu([^)]*)\)$", re.MULTILINE)


def _text(name: str) -> str:
    return resources.files("bcc_py.sim").joinpath(name).read_text(encoding="utf-8")


def runtime_text() -> str:
    """The whole runtime as one C text."""
    return "\n".join(_text(f"runtime/{name}") for name in (*_HEADERS, *_SOURCES))


@functools.cache
def _parts() -> tuple[bytes, dict[str, str]]:
    """The runtime as a native object, and what of it may be put in programs. Compiled once a machine."""
    def build() -> bytes:
        native, ir = cfront.compile_host_parts(runtime_text(), filename="runtime.c")
        inside = json.dumps(hot_functions(ir)).encode()
        return len(inside).to_bytes(4, "little") + inside + native

    kept = cached("runtime", (runtime_text(), host_name(), _text("hot.py")), build)
    end = 4 + int.from_bytes(kept[:4], "little")
    return kept[end:], json.loads(kept[4:end])


@functools.cache
def runtime() -> Runtime:
    """The runtime of this process, compiled at the first call."""
    shared = "\n".join(_text(f"runtime/{name}") for name in _SHARED)
    return Runtime(shared, _text("runtime/api.h"), NativeLibrary(_parts()[0]))


@functools.cache
def helpers(type: ProgType | None = None) -> dict[int, NativeHelper]:
    """The helpers that exist for programs of this type (None: for all types), by number."""
    code = runtime()
    return {HELPER_IDS[name]: NativeHelper(code.address(f"{family}bpf_{name}"), arity)
            for name, (family, arity) in _variants(type).items()}


def _variants(type: ProgType | None) -> dict[str, tuple[str, int]]:
    """By name of a helper: the family ("skb_", or "") whose variant programs of this type call, and how many arguments."""
    return _in_families(type, _HELPER)


def _in_families(type: ProgType | None, definition: re.Pattern[str]) -> dict[str, tuple[str, int]]:
    families = ("", *(f"{one}_" for one in FAMILIES.get(type, ())))
    defined = [(family, name, params.count(",")) for family, name, params in definition.findall(runtime_text())]
    return {name: (family, arity) for wanted in families for family, name, arity in defined if family == wanted}


def function(name: str) -> int:
    """The address of a function of the runtime. Raises LookupError if it has none of that name."""
    try:
        return runtime().address(name)
    except LoadError as error:
        raise LookupError(f"the runtime has no function {name}") from error


@functools.cache
def runtime_key(type: ProgType | None = None) -> str:
    """A digest of the runtime's text and of the host, and of whose helpers programs of this type call."""
    return hashlib.sha256(f"{host_name()}\0{runtime_text()}\0{FAMILIES.get(type)}".encode()).hexdigest()


@functools.cache
def hot(type: ProgType | None = None) -> dict[str, str]:
    """What may be put in programs of this type instead of being called, by name: hot.hot_functions of the runtime."""
    found = _parts()[1]
    others = {f"bpf_{name}" for name, (family, _) in _variants(type).items() if family}
    return {name: text for name, text in found.items() if name not in others}


@functools.cache
def specialised(function: str, constants: tuple[int, ...], takes_cpu: bool) -> tuple[Inline, dict[str, str]]:
    """A hot function with its last parameters fixed, optimised once for all programs: how it is put into one, and the
    texts that it needs, by name."""
    texts = _parts()[1]
    name = "_".join((function, *map(str, constants)))

    def build() -> bytes:
        return json.dumps(hot_functions(optimised_text(with_constants(texts, function, constants, name)))).encode()

    found: dict[str, str] = json.loads(cached("hot", (runtime_text(), host_name(), _text("hot.py"), name), build))
    return Inline(name, (), takes_cpu), found


@functools.cache
def kernel_functions(type: ProgType | None = None) -> dict[str, NativeHelper]:
    """The kernel functions that exist, by name, as programs of this type call them."""
    code = runtime()
    return {name: NativeHelper(code.address(f"{family}kfunc_{name}"), arity)
            for name, (family, arity) in _in_families(type, _KERNEL_FUNCTION).items()}


def _kernel_text() -> str:
    """kernel.h, and the functions that system calls begin with."""
    entries = sorted({name for nr in SYSCALL_NAMES if (name := kernel_name(nr))})
    return _text("kernel.h") + "".join(f"long __x64_sys_{name}(const struct pt_regs *regs);\n" for name in entries)


@functools.cache
def kernel_btf() -> bytes:
    """The BTF of kernel.h."""
    text = _kernel_text()
    return cached("kernel", (text,), lambda: cfront.types_from_c(text, "kernel.h"))


@functools.cache
def kernel_types() -> Btf:
    """The types of kernel.h, by name."""
    return Btf(kernel_btf())


@functools.cache
def kernel_key() -> str:
    """A digest of kernel.h, without compiling it."""
    return hashlib.sha256(_kernel_text().encode()).hexdigest()
