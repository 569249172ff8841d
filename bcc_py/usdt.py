"""USDT: the probes that programs and libraries were built with, their arguments, and BPF functions on them.

Input: a process, or a file. Its notes (.note.stapsdt) say where each probe is, under which name, how its arguments are
found, and which counter (semaphore) must not be 0 for the program to pass by there. Output: the probes as BCC shows them;
C that reads the arguments (for bpf_usdt_readarg), which stands before a text; uprobes.

A probe may be at many places, of several files, and an argument somewhere else at each: then the C decides by the place
that the program runs at. Where a file is loaded is not known in general, but the lowest twelve bits of an address are
those in the file; only where they do not tell two places apart does it take the process to know.

Semaphores are the kernel's to count (a uprobe's reference counter): so they count down again even if this process is
killed. A kernel that cannot has the process's memory written to, which is undone by close().

Source: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bcc_py import process
from bcc_py.errors import BpfError, NotSupportedError, ObjectError
from bcc_py.image import Image
from bcc_py.process import Mapping
from bcc_py.search_path import find_exe, find_library
from bcc_py.usdt_argument import Operand, c_statement, parse_arguments, register_member

__all__ = ["USDT", "AttachesUprobes", "USDTException", "USDTProbe", "USDTProbeArgument", "USDTProbeLocation", "usdt_text"]

_NOTES, _BASE = b".note.stapsdt", b".stapsdt.base"
_NOTE_TYPE = 3
_PAGE_MASK = 0xFFF
_INSTRUCTION_POINTER = "ip"


class USDTException(BpfError):
    """A process or file without USDT probes that can be had, or a probe that cannot."""


class AttachesUprobes(Protocol):
    """What probes are attached through (BPF)."""

    def attach_uprobe(
        self, name: str | bytes, *, addr: int, fn_name: str | bytes, pid: int, semaphore: int
    ) -> object: ...


@dataclass(frozen=True, slots=True)
class _Place:
    """A probe at one place. address, semaphore: the file's; mapping: of the file's code, where a process was named."""

    image: Image
    address: int
    semaphore: int
    operands: tuple[Operand, ...]
    mapping: Mapping | None

    @property
    def bias(self) -> int | None:
        """What addresses of the file have added to them when it runs; None if that is not known."""
        if self.mapping is not None:
            loaded_at = self.image.address_of(self.mapping.offset)
            return None if loaded_at is None else self.mapping.start - loaded_at
        return 0 if self.image.is_fixed else None

    def statement(self, number: int) -> str:
        """C that puts argument number (from 0) into `value`."""
        if number >= len(self.operands):
            return "return -1;"
        machine = self.image.machine
        return c_statement(self.operands[number], machine, self.address, lambda name: self.image.data_address(os.fsencode(name)))


class USDTProbeArgument:
    """Where an argument is. size: bytes; signed: whether the value may be negative. As far as it has them: constant;
    base_register_name, index_register_name, scale, deref_offset, deref_ident (of what is in memory).

    valid: the flags of those that it has, as BCC numbers them: 1 constant, 2 deref_offset, 4 deref_ident, 8
    base_register_name, 16 index_register_name, 32 scale."""

    def __init__(self, operand: Operand, machine: int) -> None:
        self.size = operand.size
        self.signed = operand.is_signed
        self.valid = 0
        if operand.constant is not None:
            self.constant = operand.constant
            self.valid |= 1
        if operand.displacement is not None:
            self.deref_offset = operand.displacement
            self.valid |= 2
        if operand.symbol:
            self.deref_ident = operand.symbol.encode()
            self.valid |= 4
        if operand.base:
            self.base_register_name = register_member(operand.base, machine).encode()
            self.valid |= 8
        if operand.index:
            self.index_register_name = register_member(operand.index, machine).encode()
            self.valid |= 16
            if operand.scale != 1:
                self.scale = operand.scale
                self.valid |= 32

    def __str__(self) -> str:
        return f"{self.size} {'signed  ' if self.signed else 'unsigned'} bytes @ {self._place()}"

    def _place(self) -> str:
        if self.valid & 1:
            return str(self.constant)
        if not self.valid & 2:
            return self.base_register_name.decode() if self.valid & 8 else "a place that programs cannot read"
        names = [self.base_register_name.decode()] if self.valid & 8 else []
        if self.valid & 4:
            names = ["&" + self.deref_ident.decode(), *(one for one in names if one != _INSTRUCTION_POINTER)]
        offset = f"{'+' if self.deref_offset >= 0 else '-'} {abs(self.deref_offset)}"
        index = f" + {self.index_register_name.decode()}" if self.valid & 16 else ""
        scale = f" * {self.scale}" if self.valid & 32 else ""
        return f"*({' + '.join(names)} {offset}{index}{scale})"


class USDTProbeLocation:
    """One place of a probe. address: in the addresses of the file bin_path."""

    def __init__(self, probe: USDTProbe, index: int, place: _Place) -> None:
        self.probe = probe
        self.index = index
        self.num_arguments = len(place.operands)
        self.address = place.address
        self.bin_path = os.fsencode(place.image.path)
        self._place = place

    def __str__(self) -> str:
        return f"{os.fsdecode(self.bin_path)} {self.address:#x}"

    def get_argument(self, index: int) -> USDTProbeArgument:
        """An argument, from 0. Raises USDTException."""
        if not 0 <= index < self.num_arguments:
            raise USDTException(f"error retrieving probe argument {index} location {self.index}: it has {self.num_arguments}")
        return USDTProbeArgument(self._place.operands[index], self._place.image.machine)


class USDTProbe:
    """A probe: its places in all files that have one of this name. bin_path, semaphore: of the first place."""

    def __init__(self, context: USDT, provider: str, name: str) -> None:
        self.context = context
        self.provider = os.fsencode(provider)
        self.name = os.fsencode(name)
        self.places: list[_Place] = []
        self.functions: list[str] = []  # that are to run there

    def __str__(self) -> str:
        return f"{os.fsdecode(self.short_name())} [sema {self.semaphore:#x}]"

    @property
    def bin_path(self) -> bytes:
        return os.fsencode(self.places[0].image.path)

    @property
    def semaphore(self) -> int:
        return self.places[0].semaphore

    @property
    def num_locations(self) -> int:
        return len(self.places)

    @property
    def num_arguments(self) -> int:
        return len(self.places[0].operands)

    def short_name(self) -> str:
        """provider:name"""
        return f"{os.fsdecode(self.provider)}:{os.fsdecode(self.name)}"

    def get_location(self, index: int) -> USDTProbeLocation:
        """A place, from 0. Raises USDTException."""
        if not 0 <= index < len(self.places):
            raise USDTException(f"error retrieving probe location {index}: {self.short_name()} has {len(self.places)}")
        return USDTProbeLocation(self, index, self.places[index])


class USDT:
    """The probes of a process, or of a file: pid, path or both (that file's, in that process). path: an absolute one, or,
    without a pid, also the name of a command or of a library ("c").

    Raises USDTException where there is no such process or file."""

    def __init__(self, pid: int | None = None, path: str | bytes | None = None) -> None:
        self.pid = pid if pid and pid > 0 else -1
        self.path = os.fsdecode(path) if path else ""
        self._raised: list[tuple[int, int]] = []  # semaphores counted up by hand: process, address
        if self.pid < 0 and not self.path:
            raise USDTException("either a pid or a binary path must be specified")
        self._identity = process.identity(self.pid) if self.pid > 0 else None
        self.probes: dict[tuple[str, str], USDTProbe] = {}
        self._read: set[str] = set()  # paths
        self._look()

    def _subject(self) -> str:
        return f"PID {self.pid}" if self.pid > 0 else f"path {self.path}"

    # -- reading

    def _look(self) -> None:
        """Adds the probes of the files that were not there yet."""
        try:
            files = self._files()
        except (OSError, ObjectError) as error:
            raise USDTException(f"USDT failed to instrument {self._subject()}: {error}") from error
        for image, mapping in files:
            if image.path not in self._read:
                self._read.add(image.path)
                with contextlib.suppress(ObjectError, OSError):  # its notes are malformed, or it is gone: others may be well
                    self._add_probes(image, mapping)

    def _files(self) -> list[tuple[Image, Mapping | None]]:
        if self.pid < 0:
            found = self.path if "/" in self.path else find_exe(self.path) or find_library(self.path) or self.path
            return [(Image(found), None)]
        root = process.root(self.pid)
        if self.path and not self.path.startswith("/"):
            raise USDTException(f"USDT failed to instrument PID {self.pid}: path {self.path} is not absolute")
        code: dict[str, Mapping] = {}
        for one in process.mappings(self.pid):
            if one.is_executable and one.path.startswith("/") and not one.is_deleted:
                code.setdefault(one.path, one)
        if self.path:
            inode = os.stat(root + self.path).st_ino  # the path may be another one of the same file
            return [(Image(self.path, root), next((one for one in code.values() if one.inode == inode), None))]
        # a process that has just been started may not have mapped its own program yet
        paths = dict.fromkeys((*code, process.executable(self.pid)))
        return [(image, code.get(path)) for path in paths if (image := _elf(path, root)) is not None]

    def _add_probes(self, image: Image, mapping: Mapping | None) -> None:
        base = image.section(_BASE)
        form = struct.Struct(image.byte_order + ("3Q" if image.address_bytes == 8 else "3I"))
        for note in image.notes(_NOTES):
            if note.name != b"stapsdt" or note.type != _NOTE_TYPE or len(note.content) < form.size:
                continue
            address, noted_base, semaphore = form.unpack_from(note.content)
            moved = base.address - noted_base if base is not None else 0
            provider, name, arguments = (*(os.fsdecode(one) for one in note.content[form.size :].split(b"\0")), "", "", "")[:3]
            probe = self.probes.setdefault((provider, name), USDTProbe(self, provider, name))
            operands = tuple(parse_arguments(arguments, image.machine))
            probe.places.append(_Place(image, address + moved, semaphore + moved if semaphore else 0, operands, mapping))

    # -- choosing

    def _probe(self, name: str, doing: str) -> USDTProbe:
        found = self._named(name)
        if not found and self.pid > 0:  # in a library that has come meanwhile
            self._look()
            found = self._named(name)
        if not found:
            raise USDTException(
                f"{doing} '{name}':\n{self._subject()} has no such probe. It may not hold the library that brings it, or that"
                f" may have been built without (many need --with-dtrace or --enable-dtrace; tplist lists what there is)")
        if len(found) > 1:
            raise USDTException(f"{doing} '{name}':\nseveral providers have it ({', '.join(one.short_name() for one in found)})")
        return found[0]

    def _named(self, name: str) -> list[USDTProbe]:
        provider, mark, short = name.partition(":")
        return [probe for (owner, called), probe in self.probes.items()
                if (owner == provider and called == short if mark else called == name)]

    def enable_probe(self, probe: str | bytes, fn_name: str | bytes) -> None:
        """Has a function run at a probe, "name" or "provider:name", once a BPF is given this object. Raises USDTException."""
        name, function = os.fsdecode(probe), os.fsdecode(fn_name)
        found = self._probe(name, "Failed to enable USDT probe")
        if self._identity is not None and process.identity(self.pid) != self._identity:
            raise USDTException(f"Failed to enable USDT probe '{name}':\nprocess {self.pid} has ended, or runs another program now")
        if function in found.functions:
            raise USDTException(f"Failed to enable USDT probe '{name}':\nit has the function {function} already")
        found.functions.append(function)

    def enable_probe_or_bail(self, probe: str | bytes, fn_name: str | bytes) -> None:
        """enable_probe for scripts that are of no use without: SystemExit, with the reason, where it cannot be had."""
        try:
            self.enable_probe(probe, fn_name)
        except USDTException as error:
            raise SystemExit(str(error)) from error

    # -- telling

    def get_context(self) -> USDT:
        """What stands for these probes: this object."""
        return self

    def get_text(self) -> str:
        """C that reads the arguments of the enabled probes, for their functions."""
        return usdt_text([self])

    def get_probe_arg_ctype(self, probe_name: str | bytes, arg_index: int) -> str:
        """The C type of an argument (from 0), "uint64_t": the largest of all places'. Raises USDTException."""
        name = os.fsdecode(probe_name)
        found = self._probe(name, "Failed to tell an argument's type of USDT probe")
        operands = [one.operands[arg_index] for one in found.places if 0 <= arg_index < len(one.operands)]
        if not operands:
            raise USDTException(f"probe {name} has no argument {arg_index} (it has {found.num_arguments}, counted from 0)")
        return _widest(operands).ctype

    def enumerate_probes(self) -> list[USDTProbe]:
        """All probes, in the order of the files."""
        return list(self.probes.values())

    def enumerate_active_probes(self) -> list[tuple[bytes, bytes, int, int]]:
        """(file, function, address, process or -1) of every place of the enabled probes."""
        return [(os.fsencode(place.image.path), os.fsencode(function), place.address, self.pid)
                for place, function in self._active()]

    def _active(self) -> list[tuple[_Place, str]]:
        return [(place, function) for probe in self.probes.values() for function in probe.functions for place in probe.places]

    # -- attaching

    def attach_uprobes(self, bpf: AttachesUprobes, attach_usdt_ignore_pid: bool = False) -> None:
        """Attaches the enabled probes' functions: in the process, or, to ignore it, in every process that has the file."""
        pid = -1 if attach_usdt_ignore_pid else self.pid
        for place, function in dict.fromkeys(self._active()):
            name = place.image.path if pid > 0 else place.image.root + place.image.path
            attach = functools.partial(bpf.attach_uprobe, name, addr=place.address, fn_name=function, pid=pid)
            try:
                attach(semaphore=place.semaphore)
            except NotSupportedError as error:
                if error.feature != "uprobe reference counter" or not self._count_up(place):
                    raise
                attach(semaphore=0)

    def _count_up(self, place: _Place) -> bool:
        """Counts a semaphore up in the process's memory; whether that could be done."""
        bias = place.bias
        if self.pid < 0 or bias is None:
            return False
        address = place.semaphore + bias
        _add(self.pid, address, 1)
        self._raised.append((self.pid, address))
        return True

    def close(self) -> None:
        """Counts down what was counted up by hand. Idempotent."""
        raised, self._raised = self._raised, []
        for pid, address in raised:
            if process.identity(pid) == self._identity:
                with contextlib.suppress(OSError):  # it has just ended
                    _add(pid, address, -1)

    def __enter__(self) -> USDT:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_raised", None):
            self.close()


def usdt_text(contexts: Iterable[USDT]) -> str:
    """C that reads the arguments of all enabled probes: for argument N of function F's, _bpf_readarg_F_N(ctx, dest, len),
    which gives -1 where len is not the argument's size or the argument cannot be read. Raises USDTException."""
    places: dict[str, dict[_Place, None]] = {}
    for context in contexts:
        for place, function in context._active():
            places.setdefault(function, {})[place] = None
    readers = [_reader(function, number, list(found)) for function, found in places.items()
               for number in range(max(len(one.operands) for one in found))]
    return "#include <uapi/linux/ptrace.h>\n" + "".join(readers) if readers else ""


def _reader(function: str, number: int, places: Sequence[_Place]) -> str:
    type = _widest([one.operands[number] for one in places if number < len(one.operands)]).ctype
    return (f"static inline int _bpf_readarg_{function}_{number + 1}(struct pt_regs *ctx, void *dest, size_t len)\n{{\n"
            f"    {type} value = 0;\n    if (len != sizeof(value)) return -1;\n{_choice(places, number)}"
            "    __builtin_memcpy(dest, &value, sizeof(value));\n    return 0;\n}\n")


def _choice(places: Sequence[_Place], number: int) -> str:
    """Statements that give the argument its value, by the place that the program runs at where that matters."""
    statements = {place: place.statement(number) for place in places}
    if len(set(statements.values())) == 1:
        return f"    {statements[places[0]]}\n"
    mask, keys = _keys(statements)
    rows = "".join(f"    case {at:#x}ULL: {statement} break;\n" for at, statement in keys.items())
    return f"    switch (PT_REGS_IP(ctx){mask}) {{\n{rows}    default: return -1;\n    }}\n"


def _keys(statements: dict[_Place, str]) -> tuple[str, dict[int, str]]:
    """(what is done to the address, the statement by the outcome)"""
    keys: dict[int, str] = {}
    if all(keys.setdefault(one.address & _PAGE_MASK, statement) == statement for one, statement in statements.items()):
        return f" & {_PAGE_MASK:#x}", keys
    keys = {}
    for one, statement in statements.items():
        bias = one.bias
        if bias is None:
            raise USDTException("can't generate USDT probe arguments; possible cause is missing pid when a probe in a shared object"
                                " has multiple locations")
        keys[one.address + bias] = statement
    return "", keys


def _widest(operands: Sequence[Operand]) -> Operand:
    return max(operands, key=lambda one: one.size)


def _elf(path: str, root: str) -> Image | None:
    try:
        return Image(path, root)
    except (OSError, ObjectError):
        return None


def _add(pid: int, address: int, number: int) -> None:
    """Adds to the 16-bit number at an address of a process."""
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as file:
        file.seek(address)
        value = int.from_bytes(file.read(2), "little")
        file.seek(address)
        file.write((value + number & 0xFFFF).to_bytes(2, "little"))
