"""The verifier's door for Python: what it takes, what it says no to, and that Linux says the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bcc_py
from bcc_py import ObjectError, VerifierError, verify, verify_object
from bcc_py.isa import Insn, assemble, encode
from bcc_py.spec import MapSpec
from bcc_py.verdict import map_from_text, program_type
from cfront.uapi import AttachType, MapType, ProgType
from tests.verifier.linux_oracle import load, maps_of

TOOLS = (Path(__file__).parent / "data" / "tools.o").read_bytes()
LOOKUP = """*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[fd:1]
call bpf_map_lookup_elem#1
if r0 == 0 goto pc+1
r0 = *(u64 *)(r0 +{off})
r0 = 0
exit"""
MAPS = ["array,4,4,1", "hash,4,8,16"]


@pytest.mark.parametrize("code", [LOOKUP.format(off=0), encode(assemble(LOOKUP.format(off=0))), assemble(LOOKUP.format(off=0))])
def test_code_as_text_bytes_or_instructions(code: str | bytes | tuple[Insn, ...]) -> None:
    log = verify(code, "kprobe", MAPS)
    assert log.startswith("func#0 @0\n0: R1=ctx() R10=fp0\n") and "R0=map_value(map=map1,ks=4,vs=8)" in log
    assert "processed 10 insns (limit 1000000)" in log


def test_a_refusal_is_an_error_with_everything_in_it() -> None:
    with pytest.raises(VerifierError) as caught:
        verify(LOOKUP.format(off=4), "kprobe", MAPS)
    error = caught.value
    assert str(error) == "verifying program: R0 min value is outside of the allowed memory range (insn 7)"
    assert (error.sentence, error.insn) == ("R0 min value is outside of the allowed memory range", 7)
    assert "value_size=8 off=4 size=8" in error.log and "use an offset from 0 to 0" in error.explain()


@pytest.mark.parametrize(("name", "type", "attach_type"), [
    ("xdp", ProgType.XDP, AttachType.XDP), ("XDP", ProgType.XDP, AttachType.XDP), ("tc", ProgType.SCHED_CLS, AttachType.NONE),
    ("sched_cls", ProgType.SCHED_CLS, AttachType.NONE), ("classifier", ProgType.SCHED_CLS, AttachType.NONE),
    ("action", ProgType.SCHED_ACT, AttachType.NONE), ("socket", ProgType.SOCKET_FILTER, AttachType.NONE),
    ("socket_filter", ProgType.SOCKET_FILTER, AttachType.NONE), ("BPF_PROG_TYPE_KPROBE", ProgType.KPROBE, AttachType.NONE),
    ("kretprobe", ProgType.KPROBE, AttachType.NONE), ("uprobe", ProgType.KPROBE, AttachType.NONE),
    ("raw_tp", ProgType.RAW_TRACEPOINT, AttachType.NONE), ("perf_event", ProgType.PERF_EVENT, AttachType.NONE),
    ("cgroup/skb", ProgType.CGROUP_SKB, AttachType.NONE), ("fexit", ProgType.TRACING, AttachType.TRACE_FEXIT),
])
def test_program_types_have_the_names_that_are_in_use(name: str, type: ProgType, attach_type: AttachType) -> None:
    assert program_type(name) == (type, attach_type)


def test_every_program_type_has_its_own_name() -> None:
    for one in ProgType:
        if one:
            assert program_type(one.name)[0] is one and program_type(one) == (one, AttachType.NONE)


@pytest.mark.parametrize(("text", "spec"), [
    ("hash,4,8,16", MapSpec("m", MapType.HASH, 4, 8, 16)), (" LRU_HASH , 0x4,8, 16,2", MapSpec("m", MapType.LRU_HASH, 4, 8, 16, 2)),
    ("BPF_MAP_TYPE_ARRAY,4,8,1,0x80", MapSpec("m", MapType.ARRAY, 4, 8, 1, 128)),
])
def test_maps_as_text(text: str, spec: MapSpec) -> None:
    assert map_from_text(text, "m") == spec


@pytest.mark.parametrize(("arguments", "words"), [
    ((b"\x95" * 7, "xdp"), "7 bytes is not a multiple of 8"), (("", "xdp"), "no instructions to verify"),
    (("r0 = 0\nr0 + 1", "xdp"), "line 2: 'r0 \\+ 1' is not an instruction"), (("exit", "xpd"), "'xpd' is no program type"),
    (("exit", "unspec"), "'unspec' is no program type"), (("exit", ""), "'' is no program type"),
    (("exit", "bpf"), "'bpf' is no program type"), (("exit", "xdp", ["hash"]), "write TYPE,KEY,VALUE,ENTRIES"),
    (("exit", "xdp", ["hash,4,8,16,0,0"]), "write TYPE,KEY,VALUE,ENTRIES"), (("exit", "xdp", [""]), "'' is no map type"),
    (("exit", "xdp", ["hash,0,8,16"]), "no kernel makes such a map: key_size is 0"),
    (("exit", "xdp", ["unspec,4,8,1"]), "'unspec' is no map type"), (("exit", "xdp", ["hash,4,eight,1"]), "value size 'eight' is no number"),
    (("exit", "xdp", ["hash,-4,8,1"]), "key size '-4' is no number"), (("exit", "xdp", ["hash,4,8,4294967296"]), "does not fit 32 bits"),
    (("exit", "xdp", ["hash,4,8,٤"]), "is no number"), (("exit", "xdp", (), "GPL", "nowhere"), "'nowhere' is no attach type"),
    (("exit", "xdp", (), "GPL", None, ["root"]), "'root' is no capability"), (("exit", "xdp", (), "GPL", None, "bpf"), "write \\['bpf'\\]"),
    (([Insn(300, 0, 0, 0, 0)], "xdp"), "not all of these are instructions"), (([5], "xdp"), "not all of these are instructions"),
    (([Insn(0xB7, 0, 0, 1 << 20, 0)], "xdp"), "not all of these are instructions"),
])
def test_what_is_no_input_is_said_in_words(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        verify(*arguments)  # type: ignore[arg-type]


def test_privileges_make_a_difference() -> None:
    code = "r0 = *(u64 *)(r10 -8)\nexit"
    assert verify(code, "socket_filter") and verify(code, "socket_filter", privileges=["CAP_SYS_ADMIN"])
    with pytest.raises(VerifierError, match="invalid read from stack"):
        verify(code, "socket_filter", privileges=[])


def test_every_program_of_an_object() -> None:
    verdicts = list(verify_object(TOOLS))
    assert len(verdicts) > 10 and all(one.error is None for one in verdicts)
    assert all(one.log.splitlines()[-1].startswith(f"processed {one.insns_processed} insns") and one.time_ns > 0 for one in verdicts)
    assert {one.program.name: one.program.type for one in verdicts}["x"] is ProgType.XDP


def test_one_program_of_an_object_as_another_type() -> None:
    (verdict,) = verify_object(TOOLS, "xdp", name="kp", has_log=False)
    assert verdict.program.type is ProgType.XDP and verdict.error is not None and verdict.insns_processed
    with pytest.raises(ValueError, match="no program nosuch \\(it has tp_enter, tp_exit"):
        verify_object(TOOLS, name="nosuch")


@given(st.binary(max_size=400), st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_an_object_or_no_object(noise: bytes, at: int) -> None:
    for content in (noise, TOOLS[: at * 300], TOOLS[: at * 40] + noise + TOOLS[at * 40 + len(noise) :]):
        try:
            verdicts = list(verify_object(content, has_log=False, name=None))
        except (ObjectError, bcc_py.LoadError):
            continue
        assert all(one.error is None or one.error.explain() for one in verdicts)


@given(st.binary(min_size=8, max_size=160), st.sampled_from([one.name for one in ProgType if one]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_get_a_verdict(code: bytes, type: str) -> None:
    try:
        assert verify(code[: len(code) // 8 * 8], type, MAPS)
    except VerifierError as error:
        assert error.explain() and str(error).startswith("verifying program: ")


@pytest.mark.linux
@pytest.mark.parametrize("off", [0, 4])
def test_linux_says_the_same(off: int) -> None:
    code = LOOKUP.format(off=off)
    specs = [map_from_text(one, "m") for one in MAPS]
    with maps_of(specs) as fds:
        insns = tuple(one._replace(imm=fds[one.imm]) if one.code == 0x18 else one for one in assemble(code))
        theirs = load(insns, ProgType.KPROBE)
    try:
        ours = verify(code, "kprobe", MAPS)
        assert theirs.errno == 0 and ours.splitlines()[-1].split(" insns")[0] == theirs.log.splitlines()[-1].split(" insns")[0]
    except VerifierError as error:
        assert error.sentence == theirs.sentence


def test_the_verifier_is_not_imported_before_it_is_asked() -> None:
    code = "import sys, bcc_py; print('bcc_py.verifier' in sys.modules); bcc_py.verify; print('bcc_py.verifier' in sys.modules)"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.split() == ["False", "True"]


def test_other_names_are_still_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'verdikt'"):
        _ = bcc_py.verdikt  # type: ignore[attr-defined]
    assert set(bcc_py.__all__) >= {"verify", "verify_object", "Verdict"} and bcc_py.Verdict.__name__ == "Verdict"
