"""A cache on disk for what is expensive to make: objects, machine code, indices.

Entries live under the user's cache directory ($XDG_CACHE_HOME or ~/.cache, below bcc_py), named by a digest
of everything they were made from. An entry is written to a temporary file and renamed, with a digest of its
own in front that is checked on reading: a file that does not check is made anew, a directory that cannot be
written only costs the time. BCC_PY_CACHE=0 turns it off; deleting the directory is safe at any time."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cfront

__all__ = ["cached", "compiler_digest"]

_DIGEST_BYTES = 32


def _directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "bcc_py"


@functools.cache
def compiler_digest() -> str:
    """Words for the compiler, the verifier and the JIT as they are installed: changed ones must not find what the old ones
    made. Of every file its size and time of change, and where the packages that they are built on lie, which says their
    versions."""
    words = [sys.version.split()[0]]
    for name in ("llvmlite", "pycparser", "pycparserext"):
        found = importlib.util.find_spec(name)
        path = found.origin if found is not None and found.origin else ""
        words.append(_stamp(path, os.stat(path)) if path else name)
    root = os.path.dirname(cfront.__file__)
    folders = [one.path for one in os.scandir(os.path.join(root, "include")) if one.is_dir()]
    folders += [os.path.join(os.path.dirname(__file__), name) for name in ("jit", "verifier")]
    for folder in (root, *folders):
        words += [_stamp(one.path, one.stat()) for one in os.scandir(folder) if one.name.endswith((".py", ".h"))]
    return hashlib.sha256("\n".join(sorted(words)).encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(path: str, found: os.stat_result) -> str:
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def cached(kind: str, parts: tuple[str, ...], build: Callable[[], bytes]) -> bytes:
    """What build gives, kept on disk under kind and everything it was made from."""
    if os.environ.get("BCC_PY_CACHE") == "0":
        return build()
    digest = hashlib.sha256()
    for one in (kind, compiler_digest(), *parts):
        digest.update(f"{len(one)}:{one}".encode("utf-8", "surrogateescape"))
    path = _directory() / f"{kind}-{digest.hexdigest()[:40]}"
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
