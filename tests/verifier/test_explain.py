"""What explain() says, for C programs and for instructions, of our refusals and of Linux's for the same code.

Each story is kept under tests/cases/explain, with what str() says; Linux's log has to give the very same story."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cfront
from bcc_py.elf import read_object
from bcc_py.errors import VerifierError
from bcc_py.isa import assemble
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import load_maps, relocate
from bcc_py.spec import MapSpec, ProgramSpec
from bcc_py.verdict import map_from_text, program_type, verify, verify_object
from bcc_py.verifier.explain import explain
from bcc_py.verifier.trail import read_trail
from cfront.uapi import ProgType
from tests.verifier import test_cases

STORIES = Path(__file__).parents[1] / "cases" / "explain"
XDP = """struct xdp_md { u32 data; u32 data_end; };
#define XDP_PASS 2
"""
PROGRAMS: dict[str, tuple[str, str]] = {
    "null": ("kprobe", """BPF_HASH(seen, u32);
int p(void *ctx) {
    u32 key = 1;
    if (bpf_get_prandom_u32() > 3)
        key = 2;
    u64 *leaf = seen.lookup(&key);
    *leaf += 1;
    return 0;
}
"""),
    "null on one way": ("kprobe", """BPF_HASH(seen, u32);
int p(void *ctx) {
    u32 key = 1;
    u64 *leaf = seen.lookup(&key);
    if (bpf_get_prandom_u32() > 3) {
        if (!leaf)
            return 0;
    }
    bpf_get_prandom_u32();
    *leaf = 5;
    return 0;
}
"""),
    "index without bound": ("kprobe", """struct row { u64 cells[16]; };
BPF_ARRAY(rows, struct row, 1);
int p(void *ctx) {
    u32 zero = 0;
    u32 i = bpf_get_prandom_u32();
    struct row *row = rows.lookup(&zero);
    if (!row) return 0;
    row->cells[i] = 1;
    return 0;
}
"""),
    "index one too far": ("kprobe", """struct row { u64 cells[16]; };
BPF_ARRAY(rows, struct row, 1);
int p(void *ctx) {
    u32 zero = 0;
    u32 i = bpf_get_prandom_u32();
    struct row *row = rows.lookup(&zero);
    if (!row) return 0;
    if (i > 16) return 0;
    row->cells[i] = 1;
    return 0;
}
"""),
    "index behind other members": ("kprobe", """struct row { u32 a, b; u8 name[24]; };
BPF_HASH(rows, u32, struct row);
int p(void *ctx) {
    u32 zero = 0;
    struct row *row = rows.lookup(&zero);
    if (!row) return 0;
    u32 at = row->a & 31;
    row->name[at] = 1;
    return 0;
}
"""),
    "negative index": ("kprobe", """struct row { u64 cells[16]; };
BPF_ARRAY(rows, struct row, 1);
int p(struct pt_regs *ctx) {
    u32 zero = 0;
    int i = PT_REGS_PARM1(ctx);
    struct row *row = rows.lookup(&zero);
    if (!row) return 0;
    if (i > 15) return 0;
    row->cells[i] = 1;
    return 0;
}
"""),
    "packet": ("xdp", XDP + """int p(struct xdp_md *ctx) {
    u8 *data = (void *)(long)ctx->data;
    u8 *data_end = (void *)(long)ctx->data_end;
    if (data + 14 > data_end)
        return XDP_PASS;
    if (data[33] == 6)
        return 1;
    return XDP_PASS;
}
"""),
    "packet without comparison": ("tc", """struct __sk_buff { u32 before[19]; u32 data; };
int p(struct __sk_buff *skb) {
    u8 *first = (void *)(long)skb->data;
    return first[12];
}
"""),
    "record forgotten": ("kprobe", """struct event { u32 a; u32 b; };
BPF_RINGBUF_OUTPUT(events, 8);
int p(void *ctx) {
    struct event *e = events.ringbuf_reserve(sizeof(*e));
    if (!e)
        return 0;
    e->a = bpf_get_prandom_u32();
    if (e->a > 5)
        return 0;
    events.ringbuf_submit(e, 0);
    return 0;
}
"""),
    "record used when submitted": ("kprobe", """struct event { u32 a; u32 b; };
BPF_RINGBUF_OUTPUT(events, 8);
int p(void *ctx) {
    struct event *e = events.ringbuf_reserve(sizeof(*e));
    if (!e)
        return 0;
    events.ringbuf_submit(e, 0);
    e->a = 1;
    return 0;
}
"""),
    "endless loop": ("kprobe", """int p(void *ctx) {
    u32 n = 0;
    while (1) {
        n = bpf_get_prandom_u32();
        if (n == 5)
            break;
    }
    return 0;
}
"""),
    "size without bound": ("kprobe", """int p(struct pt_regs *ctx) {
    char buf[32];
    u32 n = PT_REGS_PARM1(ctx);
    bpf_probe_read_kernel(buf, n, (void *)PT_REGS_PARM2(ctx));
    return buf[0];
}
"""),
    "negative size": ("kprobe", """int p(struct pt_regs *ctx) {
    char buf[32];
    int n = PT_REGS_PARM1(ctx);
    if (n > 32) return 0;
    bpf_probe_read_kernel(buf, n, (void *)PT_REGS_PARM2(ctx));
    return buf[0];
}
"""),
    "not for this type": ("xdp", XDP + """int p(struct xdp_md *ctx) {
    u64 x;
    bpf_probe_read(&x, 8, ctx);
    return XDP_PASS;
}
"""),
    "license": ("kprobe", """#define BPF_LICENSE Proprietary
int p(void *ctx) {
    bpf_trace_printk("hi");
    return 0;
}
"""),
    "context": ("xdp", """int p(void *ctx) {
    return *(u32 *)((char *)ctx + 40);
}
"""),
    "wrong map": ("kprobe", """BPF_HASH(seen, u32);
int p(void *ctx) {
    void *e = bpf_ringbuf_reserve(&seen, 8, 0);
    if (e) bpf_ringbuf_discard(e, 0);
    return 0;
}
"""),
}
@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    from bcc_py import kernel_from_spec

    made = kernel_from_spec("sim")
    yield made
    made.close()


def _object(name: str, kernel: Kernel) -> bytes:
    return cfront.compile(PROGRAMS[name][1], filename="p.c", types=kernel.types)


def _refused(name: str, kernel: Kernel) -> VerifierError:
    (verdict,) = verify_object(_object(name, kernel), PROGRAMS[name][0], has_log=False)
    assert verdict.error is not None, "the program was to be refused"
    return verdict.error


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_story(name: str, kernel: Kernel, same_as_golden: Callable[[Path, str], None]) -> None:
    error = _refused(name, kernel)
    same_as_golden(STORIES / f"{name.replace(' ', '-')}.txt", f"{error}\n\n{error.explain()}\n")


@pytest.mark.linux
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_story_is_the_same_from_linux(name: str, kernel: Kernel) -> None:
    spec = read_object(_object(name, kernel))
    type, attach_type = program_type(PROGRAMS[name][0])
    (program,) = spec.programs.values()
    linux = LinuxKernel()
    try:
        maps = load_maps(spec, linux)
        with pytest.raises(VerifierError) as caught:
            linux.load_program(relocate(dataclasses.replace(program, type=type, expected_attach_type=attach_type), maps))
    finally:
        linux.close()
    ours = _refused(name, kernel)
    assert caught.value.sentence == ours.sentence and caught.value.span.split(":")[1] == ours.span.split(":")[1]
    assert caught.value.explain() == ours.explain()


def test_a_full_log_tells_the_same_story_as_the_path_alone(kernel: Kernel) -> None:
    for name in PROGRAMS:
        content, type = _object(name, kernel), PROGRAMS[name][0]
        (short,) = verify_object(content, type, has_log=False)
        (full,) = verify_object(content, type, has_log=True)
        assert short.error is not None and full.error is not None
        assert full.error.explain() == short.error.explain() and len(full.error.log) >= len(short.error.log)


@pytest.mark.parametrize(("code", "words"), [
    ("r0 = r5\nexit", ["r5 is used at instruction 0", "nothing was written to it"]),
    ("call bpf_ktime_get_ns#5\nr0 = r1\nexit", ["the call at instruction 0: `call bpf_ktime_get_ns#5` left nothing in it"]),
    ("call bpf_get_prandom_u32#7\nr6 = r0\nr0 = *(u32 *)(r6 +16)\nexit",
     ["r6 is a number, not a pointer", "bpf_get_prandom_u32() gave at instruction 0", "bpf_probe_read_kernel(&copy"]),
    ("*(u64 *)(r10 -8) = 0\nr1 = map[fd:0]\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem#1\nif r0 != 0 goto pc+1\n"
     "r1 = *(u64 *)(r0 +0)\nr0 = 0\nexit", ["r0 is NULL at instruction 7", "found to be it", "instruction 6: `if r0 != 0x0 goto pc+1` does not jump"]),
    ("exit", ["the program ends without a value at instruction 0", "`return 0;`"]),
    ("r2 = r10\nr2 += -8\n*(u32 *)(r2 +4) = 1\nr1 = map[fd:0]\ncall bpf_map_lookup_elem#1\nr0 = 0\nexit",
     ["the stack byte r10-8 is read at instruction 5", "byte 0 of the 8", "memset"]),
    ("r0 = *(u64 *)(r10 -520)\nexit", ["outside of the function's stack", "8 bytes at r10-520"]),
    ("r0 = 0\ngoto pc+1\nr0 = 1\nexit", ["no way leads to instruction 2: `r0 = 1`"]),
    ("r0 = 0\ngoto pc+5\nexit", ["do not stay inside it"]),
    ("*(u8 *)(r10 -1) = 0\nr0 = *(u16 *)(r10 -3)\nexit", ["2 bytes are used at an address that is not a multiple of 2"]),
    ("r1 = 0\nr2 = r10\nr2 += -8\n*(u64 *)(r10 -8) = 0\ncall bpf_map_lookup_elem#1\nr0 = 0\nexit",
     ["argument 1 of bpf_map_lookup_elem() is of the wrong kind", "a number, and should be one of: a map"]),
    ("r1 += 8\nr0 = *(u32 *)(r1 +0)\nexit", ["the context is used at another address"]),
    ("r1 = r10\nr1 &= 7\nr0 = 0\nexit", ["arithmetic that would make a pointer useless"]),
    ("a:\nr0 = 0\nif r0 == 0 goto a\nexit", ["a loop that never ends", "the loop is instruction 0 to instruction 1"]),
])
def test_without_lines_instructions_are_named(code: str, words: list[str]) -> None:
    with pytest.raises(VerifierError) as caught:
        verify(code, "socket_filter", ["hash,8,8,4"], privileges=["bpf"] if "+= -8\n*(u32" in code else None)
    told = caught.value.explain()
    assert all(one in told for one in words), told
    assert str(caught.value).count("\n") == 0


def test_functions_on_the_stack_are_listed(kernel: Kernel) -> None:
    text = """static __attribute__((noinline)) int deep(u64 at) {
    u64 a[44];
    bpf_probe_read_kernel(a, sizeof(a), (void *)at);
    return a[at & 31];
}
int p(void *ctx) {
    u64 b[30];
    bpf_probe_read_kernel(b, sizeof(b), ctx);
    return deep(b[bpf_get_prandom_u32() & 7]) + deep(b[1]);
}
"""
    (verdict,) = verify_object(cfront.compile(text, types=kernel.types), "xdp")
    assert verdict.error is not None and "combined stack size" in verdict.error.sentence
    told = verdict.error.explain()
    assert "p(): 240 bytes" in told and "deep(): 352 bytes" in told


def test_every_refused_case_has_a_story() -> None:
    """No refusal is left with the words that fit everything, but for those that name themselves."""
    plain = []
    for case in test_cases.ALL:
        if case.is_accepted or case.limit != 1_000_000 or "func[" in case.asm:
            continue
        specs = [dataclasses.replace(one, name="m") for one in case.maps]
        try:
            verify(re.sub(r"map\[fd:(\d+)\]", lambda m: f"map[fd:{int(m[1]) - 1}]", case.asm), case.type, specs, case.license, case.attach_type)
        except VerifierError as error:
            told = error.explain()
            assert told and "\n\n" not in told and not told.startswith(" ")
            if told.startswith("the verifier refuses"):
                plain.append(error.sentence)
    assert len(plain) < 45, plain


@given(st.text(st.sampled_from("0123456789:()bf R=r+-*;\nfromtscalid_, x"), max_size=400), st.integers(-2, 9))
@settings(max_examples=300, deadline=None)
def test_any_log_gives_some_story(log: str, slot: int) -> None:
    spec = ProgramSpec("p", "", ProgType.XDP, assemble("r0 = 0\ncall pc+1\nexit\nr6 = r1\nr0 = *(u64 *)(r10 -8)\nexit"))
    for one in (spec, None):
        assert explain(VerifierError("refused", "p", slot, "", log, sentence=log[-60:], spec=one))


@given(st.integers(0, 1 << 32))
@settings(max_examples=200, deadline=None)
def test_mangled_logs_give_some_story(seed: int) -> None:
    dice = random.Random(seed)
    case = dice.choice([one for one in test_cases.ALL if not one.is_accepted and one.limit == 1_000_000])
    try:
        verify(re.sub(r"map\[fd:(\d+)\]", lambda m: f"map[fd:{int(m[1]) - 1}]", case.asm), case.type, case.maps, case.license)
    except VerifierError as error:
        rows = error.log.splitlines()
        for _ in range(dice.randrange(4)):
            at = dice.randrange(len(rows))
            rows[at] = dice.choice(("", rows[dice.randrange(len(rows))], rows[at][: dice.randrange(len(rows[at]) + 1)]))
        error.path = "\n".join(rows)
        assert explain(error)
        assert read_trail(error.path, None).steps is not None


def test_maps_are_named_in_the_log() -> None:
    spec: MapSpec = map_from_text("hash,4,8,16", "counts")
    with pytest.raises(VerifierError) as caught:
        verify("r1 = map[fd:0]\nr0 = *(u64 *)(r2 +0)\nexit", "kprobe", [spec])
    assert "map_ptr(map=counts,ks=4,vs=8)" in caught.value.log
