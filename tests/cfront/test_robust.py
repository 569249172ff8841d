"""No text ends the process, hangs, or lets anything but CompileError out.

HAZARDS are the ways found in which LLVM's BPF target prints an error and exits, and what lies near them;
the fuzz mutates the texts of the other tests and of the tools. Both run in a child process, which must live.
FINE are hazards that must compile: the dangerous thing is there, and is lowered into what BPF can do."""

from __future__ import annotations

import resource

import pytest

from bcc_py.sim.native import kernel_types
from cfront import CompileError, compile, compile_unit
from tests.cfront.cases import read_cases
from tests.cfront.fuzz import Outcome, compile_all, mutants
from tools import execsnoop, exitsnoop, syscount, tcpstates

NOW = "u64 a = bpf_ktime_get_ns(), b = bpf_get_current_pid_tgid();"
TOOLS = [one.TEXT for one in (execsnoop, exitsnoop, syscount, tcpstates)]


def program(body: str, before: str = "") -> str:
    return f"{before}\nint prog(void *ctx) {{\n    {body}\n}}\n"


def _wide() -> list[str]:
    operators = ("+", "-", "*", "/", "%", "&", "^", "<<", ">>", "<", "==", "&&")
    return [
        *(program(f"{NOW} unsigned __int128 x = a, y = b; y &= 127; return (u64)(x {one} y);") for one in operators),
        *(program(f"{NOW} __int128 x = a, y = b; x {one}= y; return x >> 64;") for one in operators[:9]),
        program(f"{NOW} __int128 x = a; x++; switch (x) {{ case 1: return !x; default: return -x + ~x; }}"),
        program(f"{NOW} return f(a, b);", "static __noinline __int128 f(__int128 a, __int128 b) { return a + b; }"),
        program(f"{NOW} return f(a, b, a);", "static __noinline u64 f(__int128 a, __int128 b, __int128 c) { return a + b + c; }"),
        program(f"{NOW} return f(a, b);", "static __int128 f(__int128 a, __int128 b) { return a + b; }"),
        "__int128 prog(void *ctx) { return 1; }", "int prog(__int128 ctx) { return ctx; }",
        "int prog(struct pt_regs *ctx, __int128 a) { return a; }",
    ]


def _atomics() -> list[str]:
    calls = (
        "__sync_fetch_and_add(&g, v)", "__sync_fetch_and_sub(&g, v)", "__sync_fetch_and_and(&g, v)", "__sync_fetch_and_or(&g, v)",
        "__sync_xor_and_fetch(&g, v)", "__sync_lock_test_and_set(&g, v)", "__sync_val_compare_and_swap(&g, v, v)",
        "__sync_bool_compare_and_swap(&g, v, v)", "__atomic_load_n(&g, 0)", "(__atomic_store_n(&g, v, 5), 1)", "__sync_add_and_fetch(&g)",
    )
    types = ("u8", "u16", "u32", "s64", "_Bool", "enum E", "u64 *", "__int128")
    return [
        program(f"{type} v = ({type})bpf_ktime_get_ns(); {use.format(call)}", f"enum E {{ A, B }}; {type} g;")
        for type in types for call in calls for use in ("{}; return 0;", "return (int)(long){};")
    ]


def _stack() -> list[str]:
    fill = "bpf_get_current_comm({}, 16); return 0;"
    return [
        *(program(f"char a[{size}]; " + fill.format("a")) for size in (512, 513, 40000, 70000, 1 << 28)),
        program("struct { char a[1 << 20]; } x = {}; " + fill.format("&x")),
        program("char a[2000], b[2000]; __builtin_memset(a, 1, 2000); __builtin_memcpy(b, a, 2000); return b[5];"),
        program("u64 a[64]; " + "".join(f"u64 v{at} = bpf_ktime_get_ns();" for at in range(100)) + "return "
                + " + ".join(f"v{at}" for at in range(100)) + ";"),
        program("char a[600]; return f(a);", "static __noinline int f(char *p) { char b[700]; bpf_get_current_comm(b, 16); return p[4]; }"),
        "struct big { char a[100000]; }; BPF_ARRAY(h, struct big, 1);\nint prog(void *ctx) { int k = 0; struct big *b = h.lookup(&k);"
        " if (b) { struct big *c = h.lookup(&k); if (c) *b = *c; } return 0; }",
    ]


def _names() -> list[str]:
    return [
        "int _license(void *c) { return 1; }", "BPF_HASH(_license);", "int _license; int p(void *c) { return 1; }",
        'SEC("a\\"b") int g(void *c) { return 1; }', 'SEC("") int g(void *c) { return 1; }', 'SEC(".maps") int g(void *c) { return 1; }',
        'SEC("x\\0y\\n") int p(void *c) { return 1; }', 'int g SEC("license"); int p(void *c) { return g; }', "int $x(void *c) { return 1; }",
        'char _license[] SEC("license") = "GPL\\"\\x00x"; int p(void *c) { return 1; }', "int entry(void *c) { return 1; }",
        "BPF_HASH(x); int x(void *c) { return 1; }", "int x; BPF_HASH(x);", "int a(void *c) { return 1; } int a(void *c) { return 2; }",
    ]


def _functions() -> list[str]:
    return [
        program("return (int)(long)&g;", "static int g(int x) { return x; }"), program("return (long)prog;"),
        program("return (long)g == 5;", "static __noinline int g(int x) { return x; }"),
        program("return bpf_loop(10, g, 0, 0);", "static int g(int i, void *x) { return 0; }"),
        program("struct b { u64 x[8]; } v = {}; return f(v, v, v, v, v);",
                "struct b; static int f(struct b a, struct b b, struct b c, struct b d, struct b e);"),
        program("struct s x = {}; struct s y = f(f(f(x))); return y.a[0];",
                "struct s { int a[20]; }; static struct s f(struct s x) { x.a[0]++; return x; }"),
        program("return f(1, 2, 3, 4, 5, 6, 7, 8);", "static int f(int a, int b, int c, int d, int e, int g, int h, int i) { return a + i; }"),
        "struct s { int a[4]; }; struct s prog(void *ctx) { struct s x = {}; return x; }", "void prog(void *ctx) { }",
        "struct s { int a[40]; }; int prog(struct s ctx) { return ctx.a[0]; }", "int prog(void) { return 1; }", "int prog() { return 1; }",
        program("struct e x = {}; struct e y; y = x; f(x); return 0;", "struct e { }; static void f(struct e x) { }"),
        "static void f(void) { } int prog(void *c) { f(); return 0; }", "__noinline int g(int x) { return x; } int p(void *c) { return g(3); }",
    ]


def _deep() -> list[str]:
    return [
        "int p(void *c) { return " + "(" * 3000 + "1" + ")" * 3000 + "; }", "int p(void *c) { return " + "~" * 5000 + "1; }",
        "int p(void *c) { return " + "1 + " * 5000 + "1; }", "int p(void *c) { " + "{" * 3000 + "}" * 3000 + " return 1; }",
        "int p(void *c) { " + "if (c) " * 2000 + "return 2; return 1; }", "int " + "*" * 5000 + "x;", "int x" + "[1]" * 5000 + ";",
        "struct a { " * 500 + "int x; " + "}; " * 500, "int p(void *c) { int a = 0; return " + "a = " * 3000 + "1; }",
        "int p(void *c) { " + "".join(f"l{at}: " for at in range(1500)) + "return 1; }",
        "typedef int t0; " + "".join(f"typedef t{at} *t{at + 1}; " for at in range(1000)) + "int p(void *c) { return 1; }",
        "int x[1 << 30] = {1};", "int x[1 << 30];", "int x[1 << 31];", "#define A B B\n#define B A A\nA\n",
        "#define A0 x x\n" + "".join(f"#define A{at + 1} A{at} A{at}\n" for at in range(40)) + "A40\n", "", "\0", "\ufeff", "\x80",
    ]


def _control() -> list[str]:
    return [
        program("while (1); return 0;"), program("for (;;) bpf_ktime_get_ns();"), program("l: goto l;"), program(""),
        program("__builtin_unreachable();"), program("__builtin_trap(); return 1;"), program("int x; return x;"),
        program("*(int *)0 = 1; return *(volatile int *)5;"), program("switch (1) { int q; case 1: q = 3; return q; }"),
        program("return ({ goto l; 3; }); l: return 1;"), program("({ return 3; }); return 4;"),
        program("switch (bpf_ktime_get_ns()) { case 1 ... 5000000000: return 3; default: return 1; }"),
        program("u64 *p = (u64 *)((u64)ctx ^ 5); return *p;"), program("void *a[4] = {ctx}; u64 *q = a[bpf_ktime_get_ns() & 3]; return *q;"),
        program("return (u64)ctx * 3;"), program("u8 *p = ctx; u64 s = 0; for (int i = 0; i < 1000; i++) s += p[i]; return s;"),
        program('char *s = "hello"; s[1] = 2; return s[bpf_get_prandom_u32() & 3];'),
        program("return t[bpf_get_prandom_u32() & 1][0];", 'static const char *const t[] = {"a", "b"};'),
    ]


FINE = {
    "product overflow of 64 bits": program(f"{NOW} u64 m = a * b; return a && m / a != b;"),
    "product overflow by the largest number": program(f"{NOW} return a && (~0ULL / a) < b;"),
    "product overflow of 32 bits": program(f"{NOW} u32 x = a, y = b, m = x * y; return x && m / x != y;"),
    "signed product overflow": program(f"{NOW} s64 x = a, y = b, m = x * y; return x && m / x != y;"),
    "sum overflow": program(f"{NOW} u64 s = a + b; return s < a ? -1 : (a > b ? a - b : 0);"),
    "division of the least number": program("s64 x = 1ULL << 63; s32 y = bpf_ktime_get_ns(); return x / -1 + y / -1 + y % -1;"),
    "signed division": program(f"{NOW} return (int)a / (int)b + (long)a / (long)b + (long)a % 7 + (s8)a / (s8)b;"),
    "rotation": program(f"{NOW} u32 x = a; return (x << 7 | x >> 25) + (a << (b & 63) | a >> (-b & 63));"),
    "byte swaps and counts": program(f"{NOW} return __builtin_bswap16(a) + __builtin_bswap32(a) + __builtin_bswap64(a) + __builtin_clz(a)"
                                     " + __builtin_ctzll(a) + __builtin_popcountll(a);"),
    "population count by a loop": program(f"{NOW} u64 n = 0; while (a) {{ n++; a &= a - 1; }} return n;"),
    "switch of 100 cases": program("switch (bpf_get_prandom_u32()) { " + " ".join(f"case {at}: return {at * 7919 % 1000};" for at in range(100))
                                   + " } return 7;"),
    "array with a variable index": program("u8 a[64] = {}; for (int i = 0; i < 64; i++) a[i] = a[63 - i] * 3 + i; return a[bpf_get_prandom_u32() & 63];"),
    "copies and moves": program("char a[200] = {1}, c[200]; __builtin_memmove(c, a, 100); return __builtin_memcmp(a, c, 100);"),
    "packed members": program("struct __attribute__((packed)) { u8 a; u64 b; u32 c; u16 d; } s = {}; s.b = bpf_ktime_get_ns(); s.c += s.b;"
                              " return s.b + s.c + s.d;"),
    "bit-fields": program("struct { int a : 3; unsigned b : 30; u64 c : 50; _Bool d : 1; int : 0; s64 e : 64; } s = {1, 2, 3, 1, 5};"
                          " s.a += bpf_ktime_get_ns(); s.c = s.a - s.b; s.e = s.c; return s.c + s.d + s.e;"),
    "globals of each kind": program("return x[bpf_get_prandom_u32() & 3] + y + z.b + s[1];",
                                    'int x[4]; static int y = 4; volatile const struct { int a, b; } z = {1, 2}; static const char s[] = "ab";'),
    "static locals": program("static int c; static int d[10] = {1}; c++; d[bpf_get_prandom_u32() % 10]++; return c;"),
    "struct values": program("struct t { u64 a, b, c; }; struct t x = {}, y = {1}; x = bpf_ktime_get_ns() & 1 ? x : y; return ({ x; }).b"
                             " + (struct t){1, 2, 3}.b + (int[]){3, 4}[1];"),
    "a function of 500 calls": program(f"{NOW} " + "".join(f"a = (a ^ bpf_get_prandom_u32()) * {at * 2 + 3};" for at in range(500))
                                        + " return a;"),
}


def _show(bad: list[Outcome]) -> str:
    return "\n".join(f"{one.text}\n=> {one.how}" for one in bad)


HAZARDS = [(one, cpu) for one in (_wide, _atomics, _stack, _names, _functions, _deep, _control) for cpu in ("v1", "v3", "v4")
           if cpu == "v3" or one is _wide or (one in (_atomics, _stack) and cpu == "v1")]


@pytest.mark.parametrize("family, cpu", HAZARDS, ids=lambda one: one if isinstance(one, str) else one.__name__[1:])
def test_hazards_are_compiled_or_refused(family: object, cpu: str) -> None:
    texts = family()  # type: ignore[operator]
    bad, counts = compile_all(texts, types=kernel_types(), cpu=cpu)
    assert not bad, _show(bad)
    assert sum(counts.values()) == len(texts)


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3", "v4"])
def test_fine_hazards_compile(cpu: str) -> None:
    texts = list(FINE.values())
    bad, counts = compile_all(texts, cpu=cpu)
    assert not bad, _show(bad)
    assert counts["compiled"] == len(texts), [name for name, text in FINE.items() if _is_refused(text, cpu)]


def _is_refused(text: str, cpu: str) -> bool:
    try:
        compile_unit(text, cpu=cpu)
    except CompileError:
        return True
    return False


PROGRAMS = """
int low(struct bpf_raw_tracepoint_args *ctx) { return (int)f(ctx->args[0], ctx->args[1]); }
int high(struct bpf_raw_tracepoint_args *ctx) { return (int)(f(ctx->args[0], ctx->args[1]) >> 32); }
"""


@pytest.mark.parametrize("cpu, seed", [("v3", 1), ("v1", 2), ("v4", 3)])
def test_mutants_are_compiled_or_refused(cpu: str, seed: int) -> None:
    texts = [one.c + PROGRAMS for one in read_cases("run.case")] + [one.c for one in read_cases("reject.case")] + TOOLS * 8
    bad, counts = compile_all(list(mutants(seed, 120, texts)), types=kernel_types(), cpu=cpu)
    assert not bad, _show(bad)
    assert all(counts.values()), counts


def test_mutants_of_host_code() -> None:
    texts = [one.c for one in read_cases("run.case")]
    bad, _ = compile_all(list(mutants(4, 100, texts)), target="host")
    assert not bad, _show(bad)


def test_what_llvm_cannot_do_is_refused_at_its_place() -> None:
    """A product that only the optimiser sees: i128 arithmetic is put together from shifts and sums."""
    text = program("unsigned __int128 x = bpf_ktime_get_ns(), y = bpf_get_current_pid_tgid();\n    x = x | x << 64; y = y | y << 64;\n"
                   "    for (int i = 0; i < 100; i++) x += y;\n    return x >> 64;")
    try:
        compile(text)
    except CompileError as error:
        assert all(one.span is not None for one in error.diagnostics), error


def test_atomics_of_an_old_cpu_are_refused_in_words() -> None:
    with pytest.raises(CompileError) as caught:
        compile(program("static u32 g; return __sync_fetch_and_or(&g, 1);"), cpu="v1")
    assert caught.value.diagnostics[0].span is not None


def test_no_descriptor_and_no_child_is_left() -> None:
    import os
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(CompileError):
            compile(program("char a[70000]; bpf_get_current_comm(a, 16); return 0;"))
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 << 20  # KiB
