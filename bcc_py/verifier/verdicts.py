"""Verdicts as bytes, so that they can be kept: what a program must be like for a verdict to be its own, and what was found.

Input: a program and what its kernel knows, or a VerifiedProgram. Output: words that differ whenever the verdict may, and
bytes that give the same VerifiedProgram again. Descriptors do not count, only what maps they name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from bcc_py.isa import PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn, encode
from bcc_py.spec import MapSpec, ProgramSpec
from bcc_py.verifier import Extent, VerifiedProgram, VerifierEnv

__all__ = ["from_bytes", "key_of", "map_numbers", "to_bytes"]

_LDDW = 0x18


def key_of(program: ProgramSpec, env: VerifierEnv, types_key: str) -> tuple[str, ...]:
    """Everything that the verdict on program depends on. types_key: words for env.types."""
    numbers = map_numbers(program)
    insns = [one._replace(imm=numbers[one.imm]) if _names_map(one) else one for one in program.insns]
    maps = [_map_key(env.maps[fd]) if fd in env.maps else "" for fd in numbers]
    return (
        encode(insns).hex(), program.type.name, program.expected_attach_type.name, program.license,
        str(program.flags), program.attach_to, repr(sorted(program.kernel_functions.items())),
        repr(sorted(program.kernel_variables.items())), repr(program.functions),
        _digest(program.btf), repr(env.privileges), f"{env.insn_limit} {env.cpus}", types_key, *maps,
    )


def map_numbers(program: ProgramSpec) -> dict[int, int]:
    """The descriptors of maps that program names, each with its number, in the order in which they are first named."""
    fds = dict.fromkeys(one.imm for one in program.insns if _names_map(one))
    return {fd: number for number, fd in enumerate(fds)}


def _names_map(insn: Insn) -> bool:
    return insn.code == _LDDW and insn.src in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE)


def _map_key(spec: MapSpec) -> str:
    inner = _map_key(spec.inner) if spec.inner is not None else ""
    return (f"{spec.type.name} {spec.key_size} {spec.value_size} {spec.max_entries} {spec.flags} {spec.value_type} "
            f"{_digest(spec.initial)} {_digest(spec.btf)} [{inner}]")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if content else ""


def to_bytes(verified: VerifiedProgram) -> bytes:
    """What from_bytes reads."""
    numbers = map_numbers(verified.spec)
    return json.dumps({
        "functions": [(one.start, one.end, one.stack_bytes) for one in verified.functions],
        "stack_bytes": verified.stack_bytes, "insns_processed": verified.insns_processed,
        "kinds": sorted(verified.memory_kinds.items()), "reached": sorted(verified.reached),
        "nospec": sorted(verified.nospec), "nospec_after": sorted(verified.nospec_after),
        "masks": sorted(verified.masks.items()),
        "context_bytes": verified.context_bytes,
        "call_maps": sorted((slot, numbers[fd]) for slot, fd in verified.call_maps.items()),
    }).encode()


def from_bytes(program: ProgramSpec, content: bytes) -> VerifiedProgram:
    """The verdict in content, which key_of says is program's."""
    found = json.loads(content)
    kinds: Mapping[int, str] = dict(found["kinds"])
    masks = {slot: (bool(a), bool(b), bool(c), int(d)) for slot, (a, b, c, d) in found["masks"]}
    fds = list(map_numbers(program))
    return VerifiedProgram(
        program, program.insns, tuple(Extent(*one) for one in found["functions"]), found["stack_bytes"],
        found["insns_processed"], kinds, frozenset(found["reached"]), "", frozenset(found["nospec"]),
        frozenset(found["nospec_after"]), masks, {slot: fds[number] for slot, number in found["call_maps"]},
        found["context_bytes"],
    )
