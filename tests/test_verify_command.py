"""bccpy verify: what it prints and how it ends, for all kinds of input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cfront
from bcc_py.cli import main
from bcc_py.isa import assemble, encode

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "tests" / "data" / "tools.o"
GOOD = "b7000000000000009500000000000000"
BAD = "7920000000000000 9500000000000000"
UNCHECKED = """BPF_HASH(seen, u32);
int p(void *ctx) {
    u32 key = 1;
    u64 *leaf = seen.lookup(&key);
    *leaf += 1;
    return 0;
}
int fine(void *ctx) {
    return 0;
}
"""


def _run(*arguments: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["verify", *arguments], input=given)


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("verify") / "unchecked.o"
    path.write_bytes(cfront.compile(UNCHECKED, filename="u.c"))
    return str(path)


def test_instructions_in_hexadecimal() -> None:
    got = _run("--hex", GOOD)
    assert (got.exit_code, got.stderr) == (0, "")
    assert got.stdout.splitlines()[:4] == [
        "func#0 @0", "0: R1=ctx() R10=fp0", "0: (b7) r0 = 0                        ; R0=0", "1: (95) exit"]


def test_instructions_from_standard_input() -> None:
    assert _run("--hex", "-", given=f"{GOOD[:20]}\n  {GOOD[20:]}\n".encode()).stdout == _run("--hex", GOOD).stdout
    assert _run("--asm", "-", given=b"r0 = 0\nexit\n").stdout == _run("--hex", GOOD).stdout


def test_a_refusal_ends_with_1_and_its_sentence() -> None:
    got = _run("--hex", BAD)
    assert (got.exit_code, got.stderr) == (1, "") and got.stdout.splitlines()[-2] == "R2 !read_ok"


def test_an_explanation_follows_the_log() -> None:
    got = _run("--asm", "r0 = *(u64 *)(r2 +0)\nexit", "--explain", "-q")
    assert got.exit_code == 1
    assert got.stdout.splitlines()[:2] == [
        "program (xdp): rejected: R2 !read_ok (insn 0)",
        "r2 is used at instruction 0: `r0 = *(u64 *)(r2 +0)`, but nothing was written to it on this way"]


def test_maps_have_the_descriptors_0_and_1() -> None:
    code = encode(assemble("r1 = map[fd:1]\nr2 = r10\nr2 += -4\n*(u32 *)(r10 -4) = 0\ncall bpf_map_lookup_elem#1\nr0 = 0\nexit")).hex()
    got = _run("--type", "kprobe", "--hex", code, "--map", "array,4,4,1", "--map", "hash,4,8,16")
    assert got.exit_code == 0 and "R1=map_ptr(map=map1,ks=4,vs=8)" in got.stdout
    assert _run("--type", "kprobe", "--hex", code, "--map", "array,4,4,1").exit_code == 1


def test_every_program_of_an_object() -> None:
    got = _run(str(TOOLS), "-q")
    assert got.exit_code == 0
    rows = got.stdout.splitlines()
    assert len(rows) > 10 and all(": accepted, " in row for row in rows)
    assert rows[0].startswith("tp_enter (tracepoint): accepted, ")


def test_an_object_with_a_program_that_is_refused(unchecked: str) -> None:
    got = _run(unchecked, "-q")
    assert got.exit_code == 1
    assert got.stdout.splitlines()[0].startswith("p (kprobe): rejected: R0 invalid mem access 'map_value_or_null' (insn 7 at u.c:5:")
    assert got.stdout.splitlines()[1].startswith("fine (kprobe): accepted")
    full = _run(unchecked, "--name", "p", "--explain")
    assert "; *leaf += 1; @ u.c:5" in full.stdout and "add `if (!leaf) return 0;` after line 4" in full.stdout
    assert _run(unchecked, "--name", "fine").exit_code == 0


def test_json_is_one_object_a_line(unchecked: str) -> None:
    got = _run(unchecked, "--json", "--explain")
    refused, accepted = (json.loads(row) for row in got.stdout.splitlines())
    assert refused["verdict"] == "rejected" and refused["sentence"] == "R0 invalid mem access 'map_value_or_null'"
    assert refused["place"].startswith("u.c:5:") and refused["insn"] == 7 and "if (!leaf)" in refused["explanation"]
    assert accepted["verdict"] == "accepted" and accepted["insns_processed"] == 2 and accepted["time_ms"] >= 0
    assert (accepted["program"], accepted["section"], accepted["type"]) == ("fine", "bpf/fine", "kprobe")


def test_the_type_of_an_object_can_be_another(unchecked: str) -> None:
    assert _run(unchecked, "--name", "fine", "--type", "xdp", "-q").stdout.startswith("fine (xdp): accepted")


@pytest.mark.parametrize(("arguments", "words"), [
    (("--hex", "b7"), "2 hexadecimal digits are not whole instructions"), (("--hex", "zz"), "'z' is no hexadecimal digit"),
    (("--hex", ""), "no instructions to verify"), (("--asm", "r0 == 1"), "line 1: 'r0 == 1' is not an instruction"),
    (("--hex", GOOD, "--type", "nope"), "'nope' is no program type"), (("--hex", GOOD, "--map", "nope,1,2,3"), "'nope' is no map type"),
    (("--hex", GOOD, "--privileges", "root"), "'root' is no capability"), (("--hex", GOOD, "--attach-type", "x"), "'x' is no attach type"),
    ((str(ROOT / "README.md"),), "not a little-endian 64-bit ELF file"), (("/nonexistent.o",), "/nonexistent.o: No such file"),
    ((str(ROOT),), "Is a directory"), (("/dev/zero",), "more than 64 MiB is no program"),
    ((str(TOOLS), "--name", "nosuch"), "the object has no program nosuch"), (("-",), "file+0x0: ends 64 bytes too early"),
    ((), "Give one of"), ((str(TOOLS), "--hex", GOOD), "Give one of"), ((str(TOOLS), "--map", "hash,4,4,4"), "an object says such things"),
    (("--hex", GOOD, "--name", "p"), "--name is for"), (("--nope",), "No such option"),
])
def test_unusable_input_ends_with_2_and_words_on_standard_error(arguments: tuple[str, ...], words: str) -> None:
    got = _run(*arguments)
    assert (got.exit_code, got.stdout) == (2, "") and words in got.stderr and "Traceback" not in got.stderr


def test_no_privileges() -> None:
    assert _run("--type", "socket", "--privileges", "none", "--asm", "r0 = r10\nexit", "-q").exit_code == 1
    assert _run("--type", "socket", "--privileges", "bpf,perfmon", "--asm", "r0 = r10\nexit", "-q").exit_code == 0


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; from bcc_py.cli import main; main(['verify', sys.argv[1]])"
    got = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{code}" {TOOLS} | head -1'], capture_output=True, text=True, check=True)
    assert got.stdout.startswith("tp_enter") and got.stderr == ""


def test_help_names_every_option_of_the_man_page() -> None:
    text = (ROOT / "man" / "man8" / "bccpy-verify.8").read_text().replace("\\-", "-")
    shown = _run("--help").stdout
    section = text.partition(".SH OPTIONS")[2].partition(".SH ")[0]
    in_page = {word for line in section.splitlines() if line.startswith(".BR ") for word in re.findall(r"--[a-z-]+", line)}
    in_help = {word for line in shown.splitlines() if line.startswith("  -") for word in re.findall(r"^  (?:-., )?(--[a-z-]+)", line)}
    assert in_page == in_help and len(in_page) > 10
