"""The log: against Linux's line by line where bpf(2) is permitted, and its words and bounds everywhere."""

from __future__ import annotations

import time

import pytest

from bcc_py.errors import VerifierError
from bcc_py.isa import assemble
from bcc_py.spec import LineInfo, MapSpec, ProgramSpec
from bcc_py.verifier import VerifierEnv, verify
from bcc_py.verifier.domain import UNKNOWN, Pointer, Scalar, const, make, unsigned_range, with_id
from bcc_py.verifier.log import slot_text, value_text
from cfront.uapi import AttachType, MapType, ProgType
from tests.differential.pointers import program
from tests.differential.writer import MAPS
from tests.verifier import test_cases
from tests.verifier.linux_oracle import load, maps_of, with_fds
from tests.verifier.logs import comparable, equal_lines

HASH = MapSpec("counts_of_all_processes", MapType.HASH, 4, 8, 16)


def _made(**bounds: int) -> Scalar:
    full = {"value": 0, "mask": (1 << 64) - 1, "smin": -(1 << 63), "smax": (1 << 63) - 1, "umin": 0, "umax": (1 << 64) - 1}
    made = make(**{**full, **bounds})
    assert made is not None
    return made


@pytest.mark.parametrize(("value", "text"), [
    (const(0), "0"), (const(-1), "-1"), (const(32767), "32767"), (const(32768), "0x8000"), (const(-32769), "0xffffffffffff7fff"),
    (UNKNOWN, "scalar()"), (with_id(UNKNOWN, 3), "scalar(id=3)"), (with_id(UNKNOWN, 3, (-4, True)), "scalar(id=3-4)"),
    (unsigned_range(0, 255), "scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))"),
    (unsigned_range(1, 5), "scalar(smin=umin=smin32=umin32=1,smax=umax=smax32=umax32=5,var_off=(0x0; 0x7))"),
    (unsigned_range(0, (1 << 32) - 1), "scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))"),
    (unsigned_range(15, (1 << 64) - 1), "scalar(umin=15)"),
    (_made(smin=-1, smax=5), "scalar(smin=smin32=-1,smax=smax32=5)"),
    (Pointer("ctx"), "ctx()"), (Pointer("fp", off=-8), "fp-8"), (Pointer("fp", off=-8, frame=1), "fp[1]-8"),
    (Pointer("fp", off=-8, var=unsigned_range(0, 1)),
     "fp(off=-8,smin=smin32=0,smax=umax=smax32=umax32=1,var_off=(0x0; 0x1))"),
    (Pointer("map_ptr", map=HASH), "map_ptr(map=counts_of_all_p,ks=4,vs=8)"),
    (Pointer("map_value_or_null", map=HASH, size=8, id=2), "map_value_or_null(id=2,map=counts_of_all_p,ks=4,vs=8)"),
    (Pointer("map_value", off=4, map=HASH, size=8), "map_value(map=counts_of_all_p,ks=4,vs=8,off=4)"),
    (Pointer("pkt", off=14, range=14), "pkt(off=14,r=14)"), (Pointer("pkt", id=3, range=0), "pkt(id=3,r=0)"),
    (Pointer("pkt_end"), "pkt_end()"), (Pointer("ringbuf_mem", size=16, ref=2), "ringbuf_mem(ref_obj_id=2,sz=16)"),
])
def test_values(value: Scalar | Pointer, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(("types", "value", "text"), [
    ("rrrrrrrr", const(7), "7"), ("mmmmmmmm", None, "mmmmmmmm"), ("----0000", None, "0000????"),
    ("rrrr----", const(5), "????5"), ("rrrrmmmm", const(5), "mmmm5"), ("mm------", None, "??????mm"),
])
def test_stack_slots_are_shown_from_the_highest_byte_down(types: str, value: Scalar | None, text: str) -> None:
    assert slot_text((types, value)) == text


def _log(code: str, lines: tuple[LineInfo, ...] = (), has_log: bool = True, insn_limit: int = 1_000_000) -> str:
    spec = ProgramSpec("p", "", ProgType.SOCKET_FILTER, assemble(code), lines=lines)
    env = VerifierEnv({1: HASH}, has_log=has_log, insn_limit=insn_limit)
    try:
        return verify(spec, env).log
    except VerifierError as error:
        return error.log


def test_the_format() -> None:
    lines = (LineInfo(0, "a/b.c", 3, 1, "  int x = f();"), LineInfo(1, "a/b.c", 3, 9, "  int x = f();"), LineInfo(2, "a/b.c", 4, 1, "return x;"))
    code = "call bpf_get_prandom_u32#7\nif r0 > 5 goto a\nr0 = 1\nexit\na:\nr0 = 2\nexit"
    told, _, statistics = _log(code, lines).partition("processed ")
    assert statistics.startswith("6 insns (limit 1000000) max_states_per_insn 0 total_states ")
    assert told == """func#0 @0
0: R1=ctx() R10=fp0
; int x = f(); @ b.c:3
0: (85) call bpf_get_prandom_u32#7    ; R0=scalar()
1: (25) if r0 > 0x5 goto pc+2         ; R0=scalar(smin=smin32=0,smax=umax=smax32=umax32=5,var_off=(0x0; 0x7))
; return x; @ b.c:4
2: (b7) r0 = 1                        ; R0=1
3: (95) exit

from 1 to 4: R0=scalar(umin=6) R10=fp0
4: R0=scalar(umin=6) R10=fp0
4: (b7) r0 = 2                        ; R0=2
5: (95) exit
"""


def test_a_refusal_without_a_log_has_that_of_its_path() -> None:
    code = "call bpf_get_prandom_u32#7\nif r0 > 5 goto a\nr0 = 1\nexit\na:\nr0 = *(u64 *)(r5 +0)\nexit"
    full, path = _log(code), _log(code, has_log=False)
    assert "3: (95) exit" in full and "3: (95) exit" not in path
    assert [row for row in path.splitlines() if ": (" in row] == [
        "0: (85) call bpf_get_prandom_u32#7    ; R0=scalar()",
        "1: (25) if r0 > 0x5 goto pc+2         ; R0=scalar(smin=smin32=0,smax=umax=smax32=umax32=5,var_off=(0x0; 0x7))",
        "4: (79) r0 = *(u64 *)(r5 +0)",
    ]
    assert path.splitlines()[-2] == full.splitlines()[-2] == "R5 !read_ok"


def test_of_a_long_path_the_end_is_kept() -> None:
    code = "r6 = 0\na:\nr6 += 1\nr0 = r6\nif r6 < 60000 goto a\nr0 = *(u64 *)(r6 +0)\nexit"
    log = _log(code, has_log=False)
    assert log.startswith("(") and "lines before these are left out)" in log[:60]
    assert "R6 invalid mem access 'scalar'" in log and len(log) < 4_000_000


def test_an_explosion_is_told_in_bounded_room() -> None:
    code = "a:\ncall bpf_get_prandom_u32#7\nr6 += r0\nif r0 > 7 goto a\ngoto a\nexit".replace("r6 += r0\n", "")
    start = time.monotonic()
    log = _log("r6 = 0\n" + code.replace("call", "r6 += 1\nr7 = r6\nr7 &= 1023\ncall"), insn_limit=60_000)
    assert time.monotonic() - start < 60 and len(log) < 40_000_000


def test_calls_and_returns() -> None:
    rows = _log("r6 = 1\nr1 = 2\ncall f\nr0 = r6\nexit\nf:\nr0 = r1\nexit").splitlines()
    start = rows.index("caller:")
    assert rows[start : start + 10] == [
        "caller:", " R6=1 R10=fp0", "callee:", " frame1: R1=2 R10=fp0", "5: frame1: R1=2 R10=fp0",
        "5: (bf) r0 = r1                       ; frame1: R0=2 R1=2", "6: (95) exit", "returning from callee:",
        " frame1: R0=2 R1=2 R10=fp0", "to caller at 3:",
    ]


def _both(
    maps: list[MapSpec], type: ProgType, license: str, code: str, attach_type: AttachType = AttachType.NONE
) -> tuple[list[str], list[str], bool]:
    """(Linux's lines, ours, are the verdicts alike)"""
    with maps_of(maps) as fds:
        insns = with_fds(assemble(code), fds)
        theirs = load(insns, type, license, attach_type)
        spec = ProgramSpec("p", "", type, insns, license, expected_attach_type=attach_type)
        try:
            ours = verify(spec, VerifierEnv(dict(zip(fds, maps, strict=True)), has_log=True)).log
        except VerifierError as error:
            return comparable(theirs.log), comparable(error.log), theirs.errno != 0
    return comparable(theirs.log), comparable(ours), theirs.errno == 0


@pytest.mark.linux
def test_lines_are_those_of_linux(linux: None) -> None:
    """Where both looked at as many instructions they went the same ways, and wrote the same; Linux may say more of numbers
    that decide nothing, which we forget."""
    jobs = [(one.maps, one.type, one.license, one.asm, one.attach_type) for one in test_cases.ALL if one.limit == 1_000_000]
    jobs += [(list(MAPS), one.type, "GPL", one.text, AttachType.NONE) for one in map(program, range(7000, 7120))]
    alike = equal = total = 0
    for job in jobs:
        theirs, ours, is_same_verdict = _both(*job)
        if not is_same_verdict or len(theirs) > 1500 or theirs[-1] != ours[-1]:
            continue
        same, lines = equal_lines(theirs, ours)
        alike, equal, total = alike + 1, equal + same, total + lines
    assert alike > 150 and equal > 0.93 * total, f"{equal} of {total} lines of {alike} programs"
