"""The verifier's own door: instructions or an object in, the verifier's word on them out; no kernel is opened.

verify() takes one program as bytes, text or Insns and the maps it may name as short texts; verify_object() takes the
bytes of an ELF object and gives a Verdict for each of its programs. Maps have the descriptors 0, 1, ... in their order.
Invariant: whatever comes in, the answer is a verdict, or ValueError (LoadError, ObjectError for an object) with a
sentence that says what is wrong with the input; nothing is executed."""

from __future__ import annotations

import dataclasses
import re
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bcc_py.elf import read_object
from bcc_py.errors import VerifierError
from bcc_py.isa import Insn, assemble, decode, encode
from bcc_py.load import with_descriptors
from bcc_py.spec import MapSpec, ProgramSpec
from bcc_py.verifier import ALL_PRIVILEGES, Privileges, VerifierEnv
from bcc_py.verifier import verify as _verify
from bcc_py.verifier.limits import map_fault
from cfront.uapi import SECTIONS, AttachType, MapType, ProgType

__all__ = ["Verdict", "map_from_text", "program_from", "program_type", "verify", "verify_object", "verify_program"]

# bpftool's names that are neither the kernel's nor a section's
_ALIASES = {"action": ProgType.SCHED_ACT, "cgroup/skb": ProgType.CGROUP_SKB, "uprobe": ProgType.KPROBE,
            "uretprobe": ProgType.KPROBE}
_MAP_FIELDS = ("key size", "value size", "number of entries", "flags")
_PROCESSED = re.compile(r"^processed (\d+) insns", re.M)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier says of one program. error: why it was refused, None if it was accepted. log: "" where none was
    asked for. insns_processed: instructions looked at, on all paths. time_ns: what that took."""

    program: ProgramSpec
    error: VerifierError | None
    log: str
    insns_processed: int
    time_ns: int


def verify(
    code: bytes | str | Sequence[Insn], prog_type: str | ProgType = "xdp", maps: Iterable[str | MapSpec] = (),
    license: str = "GPL", attach_type: str | AttachType | None = None, privileges: Iterable[str] | None = None,
) -> str:
    """The verifier's log for a program that it accepts.

    code: 8 bytes for each instruction, text in the kernel's syntax, or Insns; map loads name 0, 1, ... for maps in their
    order. prog_type: "xdp", "kprobe", "tc", ... maps: each "TYPE,KEY,VALUE,ENTRIES" or with ",FLAGS", sizes in bytes, or
    a MapSpec. attach_type: such as "cgroup_inet4_connect", where the type has several. privileges: the loader's
    capabilities ("bpf", "perfmon", "net_admin", "sys_admin"); None for all of them.

    Raises VerifierError, whose log, insn and explain() say why, for a program that is refused; ValueError for input
    that is none."""
    program = program_from(code, prog_type, license, attach_type)
    specs = [one if isinstance(one, MapSpec) else map_from_text(one, f"map{number}") for number, one in enumerate(maps)]
    verdict = verify_program(program, specs, _privileges(privileges))
    if verdict.error is not None:
        raise verdict.error
    return verdict.log


def verify_object(
    content: bytes, prog_type: str | ProgType | None = None, privileges: Iterable[str] | None = None, has_log: bool = True,
    name: str | None = None,
) -> Iterator[Verdict]:
    """A verdict for each program of an ELF object, in its order.

    prog_type: of all programs, whatever their sections say; None: as their sections say, KPROBE (as BCC has it) where
    they say nothing. privileges: as verify(). name: of the only program that is wanted. Raises ObjectError, LoadError for
    an object that cannot be read or linked, ValueError for unknown words; all before the first verdict."""
    rights = _privileges(privileges)
    forced = None if prog_type is None else program_type(prog_type)
    spec = read_object(content)
    fds = {name: fd for fd, name in enumerate(spec.maps)}
    if name is not None and name not in spec.programs:
        raise ValueError(f"the object has no program {name} (it has {', '.join(spec.programs) or 'none'})")
    wanted = [one for one in spec.programs.values() if name in (None, one.name)]
    programs = [with_descriptors(_typed(one, forced), fds) for one in wanted]
    return (verify_program(one, list(spec.maps.values()), rights, has_log) for one in programs)


def program_from(
    code: bytes | str | Sequence[Insn], prog_type: str | ProgType, license: str = "GPL",
    attach_type: str | AttachType | None = None,
) -> ProgramSpec:
    """The program that verify() makes of these. Raises ValueError."""
    type, usual_attach_type = program_type(prog_type)
    attach = usual_attach_type if attach_type is None else _attach_type(attach_type)
    return ProgramSpec("program", "", type, _insns(code), license, attach)


def verify_program(
    program: ProgramSpec, maps: Sequence[MapSpec], privileges: Privileges | None = None, has_log: bool = True
) -> Verdict:
    """The verdict on a program whose map loads name 0, 1, ... for maps in their order."""
    rights = ALL_PRIVILEGES if privileges is None else privileges
    env = VerifierEnv(dict(enumerate(maps)), privileges=rights, has_log=has_log)
    start = time.perf_counter_ns()
    try:
        verified = _verify(program, env)
    except VerifierError as error:
        counted = _PROCESSED.search(error.log)
        return Verdict(program, error, error.log, int(counted[1]) if counted else 0, time.perf_counter_ns() - start)
    return Verdict(program, None, verified.log, verified.insns_processed, time.perf_counter_ns() - start)


def program_type(name: str | ProgType) -> tuple[ProgType, AttachType]:
    """The program type that a name stands for, with the attach type that goes with the name: the kernel's names
    ("sched_cls"), those of sections ("tc", "fentry") and bpftool's ("classifier"). Raises ValueError."""
    if isinstance(name, ProgType):
        return name, AttachType.NONE
    word = name.strip().lower().removeprefix("bpf_prog_type_")
    rule = next((one for one in SECTIONS if one.prefix.rstrip("/") == word and one.type is not ProgType.UNSPEC), None)
    if rule is not None:
        return rule.type, rule.attach_type
    found = ProgType.__members__.get(word.upper(), _ALIASES.get(word))
    if not found:
        names = ", ".join(one.name.lower() for one in ProgType if one)
        raise ValueError(f"{name!r} is no program type (write one of {names})")
    return found, AttachType.NONE


def map_from_text(text: str, name: str) -> MapSpec:
    """"hash,4,8,16" as a map called name: type, size of keys and of values in bytes, entries and, if any, flags. Raises
    ValueError."""
    kind, *numbers = (one.strip() for one in text.split(","))
    type = MapType.__members__.get(kind.upper().removeprefix("BPF_MAP_TYPE_"))
    if not type:
        names = ", ".join(one.name.lower() for one in MapType if one)
        raise ValueError(f"map {text!r}: {kind!r} is no map type (write one of {names})")
    if not 3 <= len(numbers) <= 4:
        raise ValueError(f"map {text!r}: write TYPE,KEY,VALUE,ENTRIES or TYPE,KEY,VALUE,ENTRIES,FLAGS, e.g. hash,4,8,16")
    key, value, entries, flags = (
        _u32(one, f"map {text!r}: {what}") for what, one in zip(_MAP_FIELDS, [*numbers, "0"][:4], strict=True))
    spec = MapSpec(name, type, key, value, entries, flags)
    if fault := map_fault(spec):
        raise ValueError(f"map {text!r}: no kernel makes such a map: {fault}")
    return spec


def _u32(text: str, what: str) -> int:
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", text):
        raise ValueError(f"{what} {text!r} is no number (write a decimal or hexadecimal one)")
    number = int(text, 16 if text[1:2] in ("x", "X") else 10)
    if number >> 32:
        raise ValueError(f"{what} {text} does not fit 32 bits")
    return number


def _attach_type(name: str | AttachType) -> AttachType:
    if isinstance(name, AttachType):
        return name
    found = AttachType.__members__.get(name.strip().upper().removeprefix("BPF_"))
    if found is None:
        names = ", ".join(one.lower() for one in AttachType.__members__)
        raise ValueError(f"{name!r} is no attach type (write one of {names})")
    return found


def _privileges(names: Iterable[str] | None) -> Privileges | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise ValueError(f"privileges are several names, not one text (write [{names!r}])")
    return Privileges.of(names)


def _insns(code: bytes | str | Sequence[Insn]) -> tuple[Insn, ...]:
    if isinstance(code, str):
        insns = assemble(code)
    elif isinstance(code, (bytes, bytearray, memoryview)):
        insns = decode(bytes(code))
    else:
        try:
            insns = decode(encode(code))
        except (struct.error, AttributeError, TypeError) as error:
            raise ValueError(f"not all of these are instructions: {error}") from error
    if not insns:
        raise ValueError("no instructions to verify (a program ends with exit at least)")
    return insns


def _typed(program: ProgramSpec, forced: tuple[ProgType, AttachType] | None) -> ProgramSpec:
    if forced is not None:
        return dataclasses.replace(program, type=forced[0], expected_attach_type=forced[1])
    if program.type is ProgType.UNSPEC:
        return dataclasses.replace(program, type=ProgType.KPROBE)
    return program
