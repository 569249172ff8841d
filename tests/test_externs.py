"""What a program names of the kernel's (extern ... __ksym): from C through the object to a kernel, simulated or running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import cfront
from bcc_py.elf import read_object
from bcc_py.errors import NotSupportedError
from bcc_py.isa import PSEUDO_BTF_ID, PSEUDO_KFUNC_CALL
from bcc_py.kernel import Kernel, with_kernel_ids
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import load
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import ProgramSpec
from cfront.errors import CompileError
from tests.sim.quiet import Script

_HEAD = """
struct bpf_iter_num { unsigned long long opaque; };
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;
extern int no_such_function(int x) __ksym __weak;
extern const int no_such_variable __ksym __weak;
char _license[] SEC("license") = "GPL";
"""
_SUM = _HEAD + """
static __noinline int sum(int from, int to)
{
    struct bpf_iter_num it;
    int *value, sum = 0;
    bpf_iter_num_new(&it, from, to);
    while ((value = bpf_iter_num_next(&it)))
        sum += *value;
    bpf_iter_num_destroy(&it);
    return sum;
}
SEC("socket") int run(void *ctx)
{
    int answer = sum(1, 11) * 100;
    if (no_such_function)
        answer += no_such_function(1);
    if (&no_such_variable)
        answer += 1;
    if (bpf_iter_num_destroy)
        answer += 7;
    return answer;
}
"""


def _program(text: str, name: str = "run") -> ProgramSpec:
    return read_object(cfront.compile(text, filename="t.c")).programs[name]


def test_names_are_kept_by_slot() -> None:
    spec = _program(_SUM)
    assert set(spec.kernel_functions.values()) == {
        "bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy", "no_such_function"}
    assert set(spec.kernel_variables.values()) == {"no_such_function", "no_such_variable", "bpf_iter_num_destroy"}
    assert spec.weak == {"bpf_iter_num_destroy", "no_such_function", "no_such_variable"}
    assert all(spec.insns[slot].code == 0x85 for slot in spec.kernel_functions)
    assert all(spec.insns[slot].code == 0x18 for slot in spec.kernel_variables)


def test_ids_take_the_place_of_names() -> None:
    types = native.kernel_types()
    spec = with_kernel_ids(_program(_SUM), types)
    assert set(spec.kernel_functions.values()) == {"bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"}
    for slot, name in spec.kernel_functions.items():
        assert (spec.insns[slot].src, spec.insns[slot].imm) == (PSEUDO_KFUNC_CALL, types.function_id(name))
    assert set(spec.kernel_variables.values()) == {"bpf_iter_num_destroy"}
    for slot in spec.kernel_variables:
        assert spec.insns[slot].src == PSEUDO_BTF_ID
    lost = [slot for slot, one in enumerate(spec.insns) if one.code == 0x85 and one.src == PSEUDO_KFUNC_CALL and not one.imm]
    assert [_program(_SUM).kernel_functions[slot] for slot in lost] == ["no_such_function"]


@pytest.fixture(params=["sim", pytest.param("linux", marks=pytest.mark.linux)])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    made: Kernel = LinuxKernel() if request.param == "linux" else SimKernel(Script(), spec="sim:test")
    yield made
    made.close()


def test_what_is_weak_may_be_missing(kernel: Kernel) -> None:
    loaded = load(read_object(cfront.compile(_SUM.replace('"socket"', '"raw_tp/sys_enter"'), filename="t.c")), kernel)
    assert loaded.programs["run"].test_run(ctx=bytes(96)).retval == 5507
    loaded.close()


@pytest.mark.parametrize("use", ["return missing(1);", "return (long)missing;"])
def test_what_is_not_weak_must_be_there(kernel: Kernel, use: str) -> None:
    spec = _program(f'extern int missing(int x) __ksym; SEC("raw_tp/sys_enter") int run(void *ctx) {{ {use} }}')
    with pytest.raises(NotSupportedError, match="this kernel has no missing"):
        kernel.load_program(spec)


@pytest.mark.parametrize(("text", "sentence"), [
    ("SEC(\"socket\") int run(void *ctx) { return no_such_function(1, 2); }", "takes 1 argument, 2 given"),
    ("extern int six(int a, int b, int c, int d, int e, int f) __ksym; SEC(\"socket\") int run(void *ctx) { return six(1, 2, 3, 4, 5, 6); }",
     "takes 6 arguments, a call in BPF has at most 5"),
    ("extern int other; SEC(\"socket\") int run(void *ctx) { return other; }", "extern variable 'other' has no definition here"),
    ("int other(int x); SEC(\"socket\") int run(void *ctx) { return other(1); }", "cannot call non-static function"),
    ("extern int sorted(int (*by)(int, int)) __ksym; SEC(\"socket\") int run(void *ctx) { return sorted(1); }",
     "argument 1 of 'sorted' must be the name of a static function"),
])
def test_what_c_cannot_say_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(CompileError, match=sentence):
        cfront.compile(_HEAD + text, filename="t.c")
