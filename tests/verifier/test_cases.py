"""Every rule's accept and reject case, as text: against our verifier always, against Linux's when permitted.

A case: `-- name`, `-- type` (a program type, and an attach type where it has some), any number of `-- map type,key,value,entries[,flags]` (named
map[fd:1], map[fd:2], ... in the text), `-- value` before it (what its value is a struct of, btf_writer.py), `-- license`, `-- limit` (instructions, for ours only), `-- privileges` (those of the loader, all without it), `-- asm`, then
`-- accept` or `-- reject` with the sentence, which must be one of the last four lines of the log. `-- linux accept (why)` and
`-- linux reject (why)` mark where Linux differs: in its verdict, or only in its sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bcc_py.errors import VerifierError
from bcc_py.isa import Insn, assemble
from bcc_py.spec import FuncInfo, MapSpec, ProgramSpec
from bcc_py.verifier import ALL_PRIVILEGES, Privileges, VerifierEnv, verify
from cfront.uapi import AttachType, MapType, ProgType
from tests.verifier.btf_writer import function_types, value_types
from tests.verifier.linux_oracle import function_starts, has_callbacks, load, maps_of, with_fds

CASES = Path(__file__).parents[1] / "cases" / "verifier"


@dataclass
class Case:
    name: str
    file: str
    type: ProgType = ProgType.UNSPEC
    attach_type: AttachType = AttachType.NONE
    maps: list[MapSpec] = field(default_factory=list)
    license: str = "GPL"
    limit: int = 1_000_000
    privileges: list[str] | None = None
    value: str = ""
    asm: str = ""
    reject: str = ""
    is_accepted: bool = False
    linux: str = ""

    def program(self, insns: tuple[Insn, ...]) -> ProgramSpec:
        made = ProgramSpec("case", "", self.type, insns, self.license, expected_attach_type=self.attach_type)
        if not has_callbacks(insns):
            return made
        starts = function_starts(insns)
        btf, ids = function_types(len(starts))
        functions = tuple(FuncInfo(slot, f"f{number}", id) for number, (slot, id) in enumerate(zip(starts, ids, strict=True)))
        return replace(made, functions=functions, btf=btf)


def _map(text: str, number: int, value: str) -> MapSpec:
    kind, *numbers = text.split(",")
    spec = MapSpec(f"map{number}", MapType[kind.upper()], *(int(one) for one in numbers))
    if not value:
        return spec
    btf, key_type, value_type = value_types(value)
    return replace(spec, btf=btf, key_type=key_type, value_type=value_type)


def read_cases(path: Path) -> list[Case]:
    cases: list[Case] = []
    lines: list[str] = []
    for line in path.read_text().splitlines():
        directive = re.fullmatch(r"-- (\w+) ?(.*)", line)
        if not directive:
            lines.append(line)
            continue
        word, rest = directive[1], directive[2]
        if word == "name":
            cases.append(Case(rest, path.stem))
            continue
        case = cases[-1]
        if word == "type":
            type, _, hook = rest.upper().partition(" ")
            case.type, case.attach_type = ProgType[type], AttachType[hook or "NONE"]
        elif word == "map":
            case.maps.append(_map(rest, len(case.maps) + 1, case.value))
        elif word == "value":
            case.value = rest
        elif word == "license":
            case.license = rest
        elif word == "limit":
            case.limit = int(rest)
        elif word == "privileges":
            case.privileges = rest.split()
        elif word == "asm":
            lines = []
        elif word in ("accept", "reject"):
            case.asm, case.reject, case.is_accepted = "\n".join(lines), rest, word == "accept"
        elif word == "linux":
            case.linux = rest
        else:
            assert word == "last", f"{path}: '-- {word}' means nothing"
    return cases


ALL = [one for path in sorted(CASES.glob("*.case")) for one in read_cases(path)]


def reasons(log: str) -> list[str]:
    rows = [one for one in log.splitlines() if one and not one.startswith(("processed ", "verification time", "stack depth"))]
    return rows[-4:]


@pytest.mark.parametrize("case", ALL, ids=lambda one: f"{one.file}: {one.name}")
def test_case(case: Case) -> None:
    env = VerifierEnv(dict(enumerate(case.maps, 1)), insn_limit=case.limit, privileges=ALL_PRIVILEGES if case.privileges is None else Privileges.of(case.privileges))
    program = case.program(assemble(case.asm))
    if case.is_accepted:
        assert verify(program, env).insns_processed > 0
        return
    with pytest.raises(VerifierError) as caught:
        verify(program, env)
    wanted = case.reject.replace("1000001", str(case.limit + 1))
    assert wanted in reasons(caught.value.log)
    assert caught.value.insn >= 0


@pytest.mark.linux
@pytest.mark.parametrize("case", ALL, ids=lambda one: f"{one.file}: {one.name}")
def test_case_on_linux(case: Case, linux: None) -> None:
    with maps_of(case.maps) as fds:
        verdict = load(with_fds(assemble(case.asm), fds), case.type, case.license, case.attach_type, log_level=1, capabilities=case.privileges)
    if case.is_accepted or case.linux.startswith("accept"):
        assert verdict.errno == 0, verdict.sentence
    elif case.linux.startswith("reject"):
        assert verdict.errno
    else:
        # Linux may put the sentence behind the instruction on one line
        assert verdict.errno and any(row.endswith(case.reject) for row in reasons(verdict.log))


def test_every_file_has_both_kinds() -> None:
    for path in CASES.glob("*.case"):
        kinds = {one.is_accepted for one in read_cases(path)}
        assert kinds == {True, False}, path.name
