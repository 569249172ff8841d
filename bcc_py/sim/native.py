"""The simulator's C, compiled by our own front end: the runtime's machine code and the kernel's BTF.

Input: runtime/*.h and *.c beside this module, joined into one text in a fixed order, and kernel.h. Output:
a Runtime (one for the process) and BTF bytes. Both are made once a machine: what was compiled is kept
under the user's cache directory, named by a digest of everything it was made from (text, versions, host),
written to a temporary file and renamed, with a digest of its own in front that is checked on reading. A
file that does not check is made anew; a directory that cannot be written only costs the time.

The helpers a program may call are those the runtime defines as bpf_NAME, with as many arguments as are
defined there."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path

from bcc_py.jit import NativeHelper, NativeLibrary, host_name
from bcc_py.sim.memory import Runtime
from cfront import compile_host, types_from_c
from cfront.btf import Btf
from cfront.uapi import HELPER_IDS

__all__ = ["helpers", "kernel_btf", "kernel_types", "runtime", "runtime_text"]

_HEADERS = ("state.h", "api.h")
_SOURCES = ("maps.c", "rings.c", "access.c", "print.c", "helpers.c")
_DIGEST_BYTES = 32
# a helper's definition: its name, and its parameters after the kernel
_HELPER = re.compile(r"^[\w ]+\**\bbpf_(\w+)\(struct sim \*sim([^)]*)\)$", re.MULTILINE)


def _text(name: str) -> str:
    return resources.files("bcc_py.sim").joinpath(name).read_text(encoding="utf-8")


def runtime_text() -> str:
    """The whole runtime as one C text."""
    return "\n".join(_text(f"runtime/{name}") for name in (*_HEADERS, *_SOURCES))


@functools.cache
def runtime() -> Runtime:
    """The runtime of this process, compiled at the first call."""
    text = runtime_text()
    native = _cached("runtime", (text, host_name()), lambda: compile_host(text, filename="runtime.c"))
    return Runtime(_text("runtime/state.h"), _text("runtime/api.h"), NativeLibrary(native))


@functools.cache
def helpers() -> dict[int, NativeHelper]:
    """The helpers that exist, by number."""
    code = runtime()
    defined = {name: params.count(",") for name, params in _HELPER.findall(runtime_text())}
    return {HELPER_IDS[name]: NativeHelper(code.address(f"bpf_{name}"), arity) for name, arity in defined.items()}


@functools.cache
def kernel_btf() -> bytes:
    """The BTF of kernel.h."""
    text = _text("kernel.h")
    return _cached("kernel", (text,), lambda: types_from_c(text, "kernel.h"))


@functools.cache
def kernel_types() -> Btf:
    """The types of kernel.h, by name."""
    return Btf(kernel_btf())


# ---- the cache of compiled things


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "bcc_py"


@functools.cache
def _versions() -> str:
    names = ("bcc_py", "llvmlite", "pycparser", "pcpp")
    return " ".join(f"{name}-{_version(name)}" for name in names) + " python-" + sys.version.split()[0]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "source"


@functools.cache
def _compiler_digest() -> str:
    """Of the compiler's own sources: a changed compiler must not find what the old one made."""
    digest = hashlib.sha256()
    for entry in sorted(resources.files("cfront").iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".py"):
            digest.update(entry.read_bytes())
    return digest.hexdigest()


def _cached(kind: str, parts: tuple[str, ...], build: Callable[[], bytes]) -> bytes:
    """What build gives, kept on disk by everything it depends on."""
    key = hashlib.sha256("\0".join((kind, _versions(), _compiler_digest(), *parts)).encode()).hexdigest()
    path = _cache_directory() / f"{kind}-{key[:40]}"
    kept = _read_checked(path)
    if kept is None:
        kept = build()
        _write_whole(path, hashlib.sha256(kept).digest() + kept)
    return kept


def _read_checked(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, kept = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return kept if hashlib.sha256(kept).digest() == digest else None


def _write_whole(path: Path, content: bytes) -> None:
    """All of content or nothing. A cache that cannot be written is no error."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
