"""Loading: order, relocation, and that nothing stays open when something is refused."""

from __future__ import annotations

import pytest

from bcc_py import kernel as seam
from bcc_py.errors import LoadError, MapError, VerifierError
from bcc_py.isa import Insn, assemble
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import load, load_maps, relocate
from bcc_py.spec import MapSpec, ObjectSpec, ProgramSpec, Reloc, RelocKind
from cfront.uapi import MapType, ProgType


class FakeHandle:
    def __init__(self, kernel: FakeKernel, spec: MapSpec | ProgramSpec, fd: int) -> None:
        self.kernel, self.spec, self.fd = kernel, spec, fd

    def test_run(self, data: bytes = b"", ctx: bytes = b"", repeat: int = 1) -> seam.TestRun:
        return seam.TestRun(0, b"", b"", 0)

    def close(self) -> None:
        self.kernel.events.append(f"close {self.spec.name}")


class FakeKernel:
    """Writes down what it is asked for; refuses what is called "bad"."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.fd = 40

    def _make(self, doing: str, spec: MapSpec | ProgramSpec, error: Exception) -> FakeHandle:
        self.events.append(f"{doing} {spec.name}")
        if spec.name == "bad":
            raise error
        self.fd += 1
        return FakeHandle(self, spec, self.fd)

    def create_map(self, spec: MapSpec) -> FakeHandle:
        return self._make("map", spec, MapError("creating map bad", "bad"))

    def load_program(self, spec: ProgramSpec) -> FakeHandle:
        return self._make("program", spec, VerifierError("loading program bad", "bad"))


LDDW = (Insn(0x18, 1), Insn(0))
BODY = (*LDDW, *LDDW, *assemble("r0 = 0\nexit"))


def map_spec(name: str) -> MapSpec:
    return MapSpec(name, MapType.ARRAY, 4, 8, 1)


def program_spec(name: str, *relocs: Reloc, type: ProgType = ProgType.KPROBE) -> ProgramSpec:
    return ProgramSpec(name, "s", type, BODY, relocs=relocs)


def object_spec(maps: list[str], programs: list[ProgramSpec]) -> ObjectSpec:
    return ObjectSpec({one.name: one for one in programs}, {name: map_spec(name) for name in maps})


def test_maps_come_first_and_descriptors_go_into_the_loads() -> None:
    kernel = FakeKernel()
    program = program_spec("p", Reloc(0, RelocKind.MAP, "a"), Reloc(2, RelocKind.MAP_VALUE, "b", 16))
    made = load(object_spec(["a", "b"], [program]), kernel)  # type: ignore[arg-type]
    assert kernel.events == ["map a", "map b", "program p"]
    insns = made.programs["p"].spec.insns
    assert insns[:4] == (Insn(0x18, 1, 1, 0, 41), Insn(0), Insn(0x18, 1, 2, 0, 42), Insn(0, imm=16))
    assert made.programs["p"].spec.relocs == ()
    made.close()
    assert kernel.events[3:] == ["close p", "close b", "close a"]


def test_programs_without_a_type_are_loaded_only_as_told() -> None:
    kernel = FakeKernel()
    programs = [program_spec("p", type=ProgType.UNSPEC), program_spec("q", type=ProgType.UNSPEC), program_spec("r")]
    made = load(object_spec([], programs), kernel, {"q": ProgType.TRACEPOINT, "r": ProgType.XDP})  # type: ignore[arg-type]
    assert {name: one.spec.type for name, one in made.programs.items()} == {"q": ProgType.TRACEPOINT, "r": ProgType.KPROBE}


@pytest.mark.parametrize(("maps", "programs", "expected"), [
    (["a", "bad", "c"], ["p"], ["map a", "map bad", "close a"]),
    (["a", "b"], ["p", "bad", "q"], ["map a", "map b", "program p", "program bad", "close p", "close b", "close a"]),
])
def test_a_refusal_closes_everything(maps: list[str], programs: list[str], expected: list[str]) -> None:
    kernel = FakeKernel()
    with pytest.raises((MapError, VerifierError)):
        load(object_spec(maps, [program_spec(one) for one in programs]), kernel)  # type: ignore[arg-type]
    assert kernel.events == expected


@pytest.mark.parametrize(("reloc", "words"), [
    (Reloc(0, RelocKind.MAP, "missing"), "slot 0: the object has no map missing"),
    (Reloc(4, RelocKind.MAP, "a"), "slot 4: not a 64-bit immediate load"), (Reloc(99, RelocKind.MAP, "a"), "not a 64-bit"),
    (Reloc(-1, RelocKind.MAP, "a"), "not a 64-bit"), (Reloc(5, RelocKind.MAP, "a"), "not a 64-bit"),
    (Reloc(0, RelocKind.CALL, "f"), "a call relocation of f is left open"),
    (Reloc(0, RelocKind.MAP_VALUE, "a", -1), "a\\+-1 is outside"), (Reloc(0, RelocKind.MAP_VALUE, "a", 1 << 40), "is outside"),
])
def test_wild_relocations_are_refused(reloc: Reloc, words: str) -> None:
    kernel = FakeKernel()
    maps = load_maps(object_spec(["a"], []), kernel)  # type: ignore[arg-type]
    with pytest.raises(LoadError, match=words):
        relocate(program_spec("p", reloc), maps)


@pytest.mark.linux
def test_the_real_kernel_takes_a_relocated_program() -> None:
    kernel = LinuxKernel()
    spec = ObjectSpec(
        {"p": ProgramSpec("p", "xdp", ProgType.SOCKET_FILTER, (
            *LDDW, *assemble("r0 = *(u64 *)(r1 +0)\nexit")), relocs=(Reloc(0, RelocKind.MAP_VALUE, ".data", 8),))},
        {".data": MapSpec(".data", MapType.ARRAY, 4, 16, 1, initial=bytes(8) + (77).to_bytes(8, "little"))})
    made = load(spec, kernel)
    assert made.programs["p"].test_run(bytes(64)).retval == 77
    made.close()
    kernel.close()
