"""What class BPF offers of user space: programs, libraries, their functions, uprobes, names of addresses.

Input: names as scripts give them, text or bytes; what is told is bytes, as with BCC. The work is done by search_path.py,
user_function.py and symbols.py; this is how it is spelled.

Symbols of processes are kept for the life of this process, as BCC keeps them (symbols.py says what is looked at again)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, Self

from bcc_py.asking import Question, current_kernel
from bcc_py.attaching import Attaching, as_text
from bcc_py.errors import AttachError
from bcc_py.kernel import Kernel, Link
from bcc_py.search_path import find_exe, find_library, find_mapped_library
from bcc_py.spec import HookKind
from bcc_py.symbols import BuildIdSymbols, SymbolCache, is_build_id_element, symbol_text
from bcc_py.user_function import event_name, uprobe_hook, user_functions

__all__ = ["UserSpace"]

_KINDS = (HookKind.UPROBE, HookKind.URETPROBE)


@functools.cache
def _build_id_symbols() -> BuildIdSymbols:
    return BuildIdSymbols()


@functools.lru_cache(maxsize=256)
def _process_symbols(pid: int) -> SymbolCache:
    return SymbolCache(pid)


class _Sym:
    """The method sym of class BPF and of its objects. It needs a kernel only for the kernel's addresses."""

    def __get__(self, instance: Attaching | None, owner: type[Attaching]) -> Callable[..., bytes]:
        def sym(addr: Any, pid: int, show_module: bool = False, show_offset: bool = False, demangle: bool = True) -> bytes:
            """The function that an address of a process is in: b"name+0x12 [libc.so.6]", b"[unknown]". pid: below 0, the
            kernel. addr: an address, or an element of a stack that names files by build ids, which add_module made known.
            demangle: whether C++ names are made readable."""
            if is_build_id_element(addr):
                resolved = _build_id_symbols().resolve(addr)
            elif pid >= 0:
                resolved = _process_symbols(pid).resolve(addr, demangle)
            else:
                resolved = SymbolCache(-1, current_kernel() if instance is None else instance.kernel).resolve(addr, demangle)
            return symbol_text(resolved, show_module, show_offset)

        return sym


class UserSpace(Attaching):
    """The part of class BPF that knows user space."""

    # -- files and functions

    @staticmethod
    def find_exe(bin_path: str | bytes) -> bytes | None:
        """The path of an executable: the first of that name in PATH, or the path given, where it is one."""
        found = find_exe(as_text(bin_path))
        return None if found is None else os.fsencode(found)

    @staticmethod
    def find_library(libname: str | bytes, pid: int = 0) -> bytes | None:
        """The path of the shared library lib{libname}: what the dynamic linker would take, or what the process has mapped."""
        name = as_text(libname)
        found = find_mapped_library(name, pid) if pid > 0 else find_library(name)
        return None if found is None else os.fsencode(found)

    @staticmethod
    def get_user_functions_and_addresses(name: str | bytes, sym_re: str | bytes) -> list[tuple[bytes, int]]:
        """(function, address) of the functions of a program or library whose names begin with what sym_re matches."""
        return user_functions(as_text(name), sym_re)

    @staticmethod
    def get_user_functions(name: str | bytes, sym_re: str | bytes) -> set[bytes]:
        """The names alone."""
        return {function for function, _ in user_functions(as_text(name), sym_re)}

    @staticmethod
    def get_user_addresses(name: str | bytes, sym_re: str | bytes) -> set[int]:
        """The addresses alone: a function may have several names."""
        return {address for _, address in user_functions(as_text(name), sym_re)}

    # -- uprobes

    def attach_uprobe(
        self, name: str | bytes = "", sym: str | bytes = "", sym_re: str | bytes = "", addr: int | None = None,
        fn_name: str | bytes = "", pid: int = -1, sym_off: int = 0, *, semaphore: int = 0,
    ) -> Self:
        """Attaches fn_name to a user function: sym_off bytes into sym, or at addr, or to all whose names sym_re matches.

        name: a library without lib ("c"), or a path; addr: as the file's symbol table has it; pid: only in this process,
        which the name is then looked up for. semaphore: the address of a USDT probe's, which the kernel counts up meanwhile.
        Raises SymbolError, AttachError, NotSupportedError."""
        return self._attach_user(HookKind.UPROBE, name, sym, sym_re, addr, fn_name, pid, sym_off, semaphore)

    def attach_uretprobe(
        self, name: str | bytes = "", sym: str | bytes = "", sym_re: str | bytes = "", addr: int | None = None,
        fn_name: str | bytes = "", pid: int = -1,
    ) -> Self:
        """Attaches fn_name to the return of a user function; else as attach_uprobe."""
        return self._attach_user(HookKind.URETPROBE, name, sym, sym_re, addr, fn_name, pid)

    def _attach_user(
        self, kind: HookKind, name: str | bytes, sym: str | bytes, sym_re: str | bytes, addr: int | None, fn_name: str | bytes,
        pid: int, sym_off: int = 0, semaphore: int = 0,
    ) -> Self:
        file, function = as_text(name), as_text(fn_name)
        if sym_re:
            addresses = sorted({address for _, address in user_functions(file, sym_re, pid)})
            hooks = dict.fromkeys(uprobe_hook(kind, file, "", one, pid) for one in addresses)
            self._attach_any(list(hooks), function, f"function of {file} matches {as_text(sym_re)!r}")
        else:
            self._attach(uprobe_hook(kind, file, as_text(sym), addr, pid, sym_off, semaphore), function)
        return self

    def detach_uprobe(
        self, name: str | bytes = "", sym: str | bytes = "", addr: int | None = None, pid: int = -1, sym_off: int = 0
    ) -> None:
        """Detaches from a user function, which is named as it was for attach_uprobe."""
        self.detach_uprobe_event(event_name(uprobe_hook(HookKind.UPROBE, as_text(name), as_text(sym), addr, pid, sym_off)))

    def detach_uretprobe(self, name: str | bytes = "", sym: str | bytes = "", addr: int | None = None, pid: int = -1) -> None:
        """Detaches from the return of a user function."""
        self.detach_uprobe_event(event_name(uprobe_hook(HookKind.URETPROBE, as_text(name), as_text(sym), addr, pid)))

    def detach_uprobe_event(self, ev_name: str | bytes) -> None:
        """Detaches what uprobe_fds has under this name."""
        wanted = os.fsencode(ev_name)
        keys = [key for key in self._links if key[0].kind in _KINDS and event_name(key[0]) == wanted]
        if not keys:
            raise AttachError(f"Uprobe {as_text(wanted)} is not attached", as_text(wanted))
        self._close_links(keys, f"uprobe {as_text(wanted)}")

    @property
    def uprobe_fds(self) -> dict[bytes, Link]:
        """The links of uprobes and uretprobes, by what BCC calls their events."""
        return {event_name(hook): link for (hook, _), link in self._links.items() if hook.kind in _KINDS}

    def num_open_uprobes(self) -> int:
        """How many functions' entries and returns in user programs are attached to."""
        return self._count(*_KINDS)

    # -- names of addresses

    sym = _Sym()

    @Question
    def ksym(kernel: Kernel, addr: int, show_module: bool = False, show_offset: bool = False) -> bytes:
        """The kernel's function that an address is in: b"default_idle+0x0 [kernel]"."""
        return symbol_text(SymbolCache(-1, kernel).resolve(addr, False), show_module, show_offset)

    @Question
    def ksymname(kernel: Kernel, name: str | bytes) -> int:
        """The address of a function of the kernel, -1 if there is none of that name."""
        return SymbolCache(-1, kernel).resolve_name(None, name)

    @staticmethod
    def add_module(modname: str | bytes) -> None:
        """Makes a file known by its build id, for sym(). Raises SymbolError where it has none or cannot be read."""
        _build_id_symbols().add(as_text(modname))
