"""Functions that stay functions in BPF: what helpers call, and what the kernel verifies on its own."""

from __future__ import annotations

import struct

import pytest

from bcc_py import BPF
from bcc_py.errors import VerifierError
from cfront import CompileError, compile

CONTEXT = struct.pack("<2Q", 5, 7) + bytes(80)
HEAD = "struct args { u64 args[12]; };\n"


def returned(text: str) -> int:
    """What the program prog of text returns on Linux."""
    with BPF(text=HEAD + text, kernel="linux") as bpf:
        return bpf.load_func("prog", BPF.RAW_TRACEPOINT).program.test_run(ctx=CONTEXT).retval


@pytest.mark.linux
def test_bpf_loop() -> None:
    text = """
    struct sum { u64 all, even; };
    static int add(u32 at, struct sum *sum) { sum->all += at; if (!(at & 1)) sum->even += at; return at == 20; }
    int prog(struct args *ctx) {
        struct sum sum = { ctx->args[0], 1 };
        long rounds = bpf_loop(100, add, &sum, 0);
        return sum.all * 10000 + sum.even * 100 + rounds;
    }
    """
    assert returned(text) == (5 + 210) * 10000 + 111 * 100 + 21


@pytest.mark.linux
def test_the_same_function_called_and_called_back() -> None:
    text = """
    static int twice(u32 at, u64 *sum) { *sum += 2 * at; return 0; }
    int prog(struct args *ctx) { u64 sum = 0; twice(50, &sum); bpf_loop(4, &twice, &sum, 0); return sum; }
    """
    assert returned(text) == 112


@pytest.mark.linux
def test_bpf_for_each_map_elem() -> None:
    text = """
    BPF_HASH(table, u32, u64, 16);
    struct found { u64 sum; u32 n; };
    static long each(struct bpf_map *map, u32 *key, u64 *value, struct found *found) { found->sum += *key * *value; found->n++; return 0; }
    int prog(struct args *ctx) {
        struct found found = {};
        u32 key = 1;
        u64 value = 10;
        bpf_map_update_elem(&table, &key, &value, BPF_ANY);
        key = 2, value = 20;
        bpf_map_update_elem(&table, &key, &value, BPF_ANY);
        key = 3, value = 30;
        bpf_map_update_elem(&table, &key, &value, BPF_ANY);
        bpf_for_each_map_elem(&table, (void *)each, &found, 0);
        return found.sum * 10 + found.n;
    }
    """
    assert returned(text) == 1403


@pytest.mark.linux
def test_bpf_timer_set_callback() -> None:
    text = """
    struct value { struct bpf_timer timer; u64 fired; };
    BPF_ARRAY(timers, struct value, 1);
    static int fire(void *map, int *key, struct value *value) { value->fired++; return 0; }
    int prog(struct __sk_buff *skb) {
        int key = 0;
        struct value *value = timers.lookup(&key);
        if (!value)
            return 1;
        bpf_timer_init(&value->timer, &timers, 1);
        if (bpf_timer_set_callback(&value->timer, fire))
            return 2;
        return 3;
    }
    """
    with BPF(text=text, kernel="linux") as bpf:
        assert bpf.load_func("prog", BPF.SCHED_CLS).program.test_run(data=bytes(64)).retval == 3


@pytest.mark.linux
@pytest.mark.parametrize("text, value", [
    ("__noinline int g(int a, u32 b) { return a * 3 + b; } int prog(struct args *ctx) { return g(ctx->args[0], ctx->args[1]); }", 22),
    ("struct p { u64 x; u32 y; }; __noinline int g(struct p *p, int a) { if (!p) return 0; p->y++; return p->x + a; }"
     "int prog(struct args *ctx) { struct p p = { ctx->args[0], 3 }; int r = g(&p, 1); return r * 10 + p.y; }", 64),
    ("static __noinline int g(u64 *p, int a) { return *p + a; } int prog(struct args *ctx) { u64 x = 3; return g(&x, 1) + g(&x, 2); }", 9),
])
def test_functions_that_are_not_inlined(text: str, value: int) -> None:
    assert returned(text) == value


@pytest.mark.linux
def test_a_global_function_is_verified_on_its_own() -> None:
    text = """
    struct p { u64 x; };
    __noinline int g(struct p *p) { return p->x; }
    int prog(struct args *ctx) { struct p p = { 1 }; return g(&p); }
    """
    with BPF(text=HEAD + text, kernel="linux") as bpf, pytest.raises(VerifierError, match="mem_or_null"):
        bpf.load_func("prog", BPF.RAW_TRACEPOINT)


@pytest.mark.parametrize("text, sentence", [
    ("int f(u32 i, void *c) { return 0; } int prog(void *ctx) { return bpf_loop(3, f, 0, 0); }",
     "argument 2 of 'bpf_loop': 'f' is not static"),
    ("int prog(void *ctx) { return bpf_loop(3, 0, 0, 0); }", "argument 2 of 'bpf_loop' must be the name of a static function"),
    ("static void f(u32 i, void *c) { } int prog(void *ctx) { return bpf_loop(3, f, 0, 0); }",
     "argument 2 of 'bpf_loop': 'f' must take pointers and integers and return an integer"),
    ("__noinline u64 *g(u64 *p) { return p; } int prog(void *ctx) { u64 x = 0; return *g(&x); }",
     r"noinline function 'g' returns 'unsigned long long \*', and is not static"),
    ("static int f(u32 i, void *c) { return bpf_loop(2, f, c, 0); } int prog(void *ctx) { return bpf_loop(3, f, 0, 0); }",
     "recursion is not supported in BPF: f calls f"),
])
def test_refused(text: str, sentence: str) -> None:
    with pytest.raises(CompileError, match=sentence):
        compile(text)
