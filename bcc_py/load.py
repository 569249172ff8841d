"""From an inert object to live handles: the one place that orders it.

Input: an ObjectSpec and a Kernel. Output: Loaded, its maps and programs by name. Order: all maps, then
each wanted program relocated against them and loaded. Invariant: if anything fails, everything made so far
is closed, in the reverse order, before the error leaves.

Relocation writes a map's descriptor into the two slots of a 64-bit immediate load; for an address inside a
map's value (.data, .rodata, .bss) the second slot carries the offset. Calls were resolved by the reader.
Source: BPF_PSEUDO_MAP_FD and BPF_PSEUDO_MAP_VALUE in include/uapi/linux/bpf.h."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bcc_py.errors import BpfError, LoadError
from bcc_py.isa import PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn
from bcc_py.kernel import Kernel, Map, Program
from bcc_py.spec import ObjectSpec, ProgramSpec, Reloc, RelocKind
from cfront.uapi import ProgType

__all__ = ["Loaded", "load", "load_maps", "relocate", "with_descriptors", "with_type"]

_LDDW = 0x18
_PSEUDO = {RelocKind.MAP: PSEUDO_MAP_FD, RelocKind.MAP_VALUE: PSEUDO_MAP_VALUE}


@dataclass(frozen=True, slots=True)
class Loaded:
    """An object's live maps and programs, by name, in its order. close() closes programs, then maps."""

    maps: dict[str, Map]
    programs: dict[str, Program]

    def close(self) -> None:
        for program in reversed(self.programs.values()):
            program.close()
        for map in reversed(self.maps.values()):
            map.close()


def load(spec: ObjectSpec, kernel: Kernel, types: Mapping[str, ProgType] | None = None) -> Loaded:
    """Everything in spec, live on kernel.

    types: the program types, by program name, of those whose section does not say one (ProgType.UNSPEC); such a
    program that types does not name is not loaded. Raises MapError, LoadError, VerifierError, NotSupportedError."""
    made = Loaded(load_maps(spec, kernel), {})
    try:
        for program in spec.programs.values():
            typed = with_type(program, types or {})
            if typed.type is not ProgType.UNSPEC:
                made.programs[typed.name] = kernel.load_program(relocate(typed, made.maps))
    except BpfError:
        made.close()
        raise
    return made


def load_maps(spec: ObjectSpec, kernel: Kernel) -> dict[str, Map]:
    """The object's maps, live on kernel, by name; those with initial contents hold them."""
    made: dict[str, Map] = {}
    try:
        for one in spec.maps.values():
            made[one.name] = kernel.create_map(one)
    except BpfError:
        Loaded(made, {}).close()
        raise
    return made


def relocate(program: ProgramSpec, maps: Mapping[str, Map]) -> ProgramSpec:
    """program with its map loads naming the descriptors of maps, and no relocation left open. Raises LoadError."""
    return with_descriptors(program, {name: one.fd for name, one in maps.items()})


def with_descriptors(program: ProgramSpec, fds: Mapping[str, int]) -> ProgramSpec:
    """program with its map loads naming these descriptors by map, and no relocation left open. Raises LoadError."""
    insns = list(program.insns)
    for one in program.relocs:
        _patch(insns, one, program, fds)
    return dataclasses.replace(program, insns=tuple(insns), relocs=())


def with_type(program: ProgramSpec, types: Mapping[str, ProgType]) -> ProgramSpec:
    """program with its type from types, if its section did not say one."""
    if program.type is not ProgType.UNSPEC or program.name not in types:
        return program
    return dataclasses.replace(program, type=types[program.name])


def _patch(insns: list[Insn], reloc: Reloc, program: ProgramSpec, fds: Mapping[str, int]) -> None:
    doing = f"relocating program {program.name}: slot {reloc.slot}"
    if reloc.kind not in _PSEUDO:
        raise LoadError(f"{doing}: a {reloc.kind.value} relocation of {reloc.symbol} is left open", program.name)
    if reloc.symbol not in fds:
        raise LoadError(f"{doing}: the object has no map {reloc.symbol}", program.name)
    if not 0 <= reloc.slot < len(insns) - 1 or insns[reloc.slot].code != _LDDW:
        raise LoadError(f"{doing}: not a 64-bit immediate load", program.name)
    if not 0 <= reloc.addend < 1 << 31:
        raise LoadError(f"{doing}: {reloc.symbol}+{reloc.addend} is outside the map's value", program.name)
    first, second = insns[reloc.slot], insns[reloc.slot + 1]
    insns[reloc.slot] = first._replace(src=_PSEUDO[reloc.kind], imm=fds[reloc.symbol])
    insns[reloc.slot + 1] = second._replace(imm=reloc.addend if reloc.kind is RelocKind.MAP_VALUE else 0)
