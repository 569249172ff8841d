"""What C means: every case gives, as native code of ours and as BPF on both kernels, what gcc's code gives.

A case defines `static u64 f(u64 a, u64 b)`. gcc compiles all of them into one program that prints their
values for a list of arguments; ours run as native code and as raw tracepoint programs, whose context carries
the arguments and whose 32-bit result is the value's halves, one and the other."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from bcc_py import BPF
from bcc_py.jit import NativeLibrary
from bcc_py.kernel import Kernel
from cfront import compile_host
from tests.cfront.cases import Case, read_cases
from tests.cfront.random_c import random_function

M = (1 << 64) - 1
ARGUMENTS = [
    (0, 0), (1, 2), (3, 1), (M, M), (1 << 63, 1), (M, 1), (0x80000000, 0x7FFFFFFF), (0xFFFFFFFF, 0xFFFF),
    (0x123456789ABCDEF0, 0x0FEDCBA987654321), (77, 1 << 40), (0xDEADBEEF, 13), (5, M - 6), (127, 128), (255, 32768),
]
TYPES = (
    "typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;"
    "typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64; typedef _Bool bool;\n"
)
CASES = read_cases("run.case")
# RANDOM_PROGRAMS=360 is the long run
RANDOM = [Case(f"random {seed}", random_function(random.Random(seed))) for seed in range(int(os.environ.get("RANDOM_PROGRAMS", "60")))]
ALL = CASES + RANDOM
# our verifier walks loops one by one: the simulated kernel gets the cases and a few of the random programs
RUNS = [
    *(pytest.param("sim", one, id=f"sim-{one.name}") for one in CASES + RANDOM[:6]),
    *(pytest.param("linux", one, id=f"linux-{one.name}", marks=pytest.mark.linux) for one in ALL),
]


def _gcc(cases: list[Case], folder: Path) -> list[list[int]]:
    """f's values for ARGUMENTS, by case. Every case is a file of its own, so that names cannot clash."""
    files = []
    for number, one in enumerate(cases):
        path = folder / f"case{number}.c"
        path.write_text(f"{TYPES}{one.c}\nu64 case{number}(u64 a, u64 b) {{ return f(a, b); }}\n")
        files.append(path)
    names = [f"case{number}" for number in range(len(cases))]
    main = TYPES + "int printf(const char *, ...);\n" + "".join(f"u64 {one}(u64, u64);\n" for one in names)
    main += "static const u64 args[][2] = {" + ",".join(f"{{{a}ULL,{b}ULL}}" for a, b in ARGUMENTS) + "};\nint main(void) {\n"
    for one in names:
        main += f'for (int i = 0; i < {len(ARGUMENTS)}; i++) printf("%llu ", {one}(args[i][0], args[i][1])); printf("\\n");\n'
    (folder / "main.c").write_text(main + "return 0; }\n")
    command = ["gcc", "-w", "-O1", "-fwrapv", "-fno-strict-aliasing", "-o", folder / "all", folder / "main.c", *files]
    subprocess.run(command, check=True, timeout=300)
    printed = subprocess.run([folder / "all"], check=True, capture_output=True, text=True, timeout=60).stdout
    return [[int(word) for word in line.split()] for line in printed.splitlines()]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: it is what the results are compared with")
    values = _gcc(ALL, tmp_path_factory.mktemp("gcc"))
    return {one.name: row for one, row in zip(ALL, values, strict=True)}


@pytest.mark.parametrize("case", ALL, ids=lambda one: one.name)
def test_native_code_equals_gcc(case: Case, expected: dict[str, list[int]]) -> None:
    text = f"{TYPES}{case.c}\nu64 run(u64 a, u64 b) {{ return f(a, b); }}\n"
    library = NativeLibrary(compile_host(text, filename=case.name))
    run = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(library.address("run"))
    assert [run(a, b) for a, b in ARGUMENTS] == expected[case.name]


PROGRAM = """
int low(struct bpf_raw_tracepoint_args *ctx) { return (int)f(ctx->args[0], ctx->args[1]); }
int high(struct bpf_raw_tracepoint_args *ctx) { return (int)(f(ctx->args[0], ctx->args[1]) >> 32); }
"""


@pytest.mark.parametrize("kernel, case", RUNS, indirect=["kernel"])
def test_bpf_equals_gcc(case: Case, expected: dict[str, list[int]], kernel: Kernel) -> None:
    with BPF(text=case.c + PROGRAM, kernel=kernel) as bpf:
        low, high = (bpf.load_func(name, BPF.RAW_TRACEPOINT).program for name in ("low", "high"))
        values = []
        for arguments in ARGUMENTS:
            context = struct.pack("<2Q", *arguments) + bytes(80)
            halves = [one.test_run(ctx=context).retval & 0xFFFFFFFF for one in (high, low)]
            values.append(halves[0] << 32 | halves[1])
        assert values == expected[case.name]


def test_calls_through_pointers_on_the_host() -> None:
    text = """
    static long add(long a, long b) { return a + b; }
    static long mul(long a, long b) { return a * b; }
    typedef long (*op)(long, long);
    struct row { char name; op run; };
    static const struct row rows[] = { { '+', add }, { '*', &mul } };
    static long twice(long (*f)(long, long), long a) { return f(a, 1) * 10 + (*f)(a, 2); }
    long run(long a, long b) { op p = a > b ? add : mul; return p(a, b) * 1000 + rows[a & 1].run(a, b) * 100 + twice(p, a); }
    """
    library = NativeLibrary(compile_host(text))
    run = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_long)(library.address("run"))
    assert run(7, 5) == 12 * 1000 + 35 * 100 + 8 * 10 + 9
    assert run(4, 6) == 24 * 1000 + 10 * 100 + 4 * 10 + 8


@pytest.mark.parametrize("kernel", ["sim", pytest.param("linux", marks=pytest.mark.linux)], indirect=True)
def test_division_by_a_constant_zero_is_what_bpf_makes_of_it(kernel: Kernel) -> None:
    text = """int f(struct bpf_raw_tracepoint_args *ctx) {
        u64 x = ctx->args[0], y = x, z = x;
        y /= 0;
        z %= 0;
        return x / 0 * 1000 + x % 0 * 100 + y * 10 + z;
    }"""
    with BPF(text=text, kernel=kernel, cflags=["-w"]) as bpf:
        context = struct.pack("<12Q", 7, *[0] * 11)
        assert bpf.load_func("f", BPF.RAW_TRACEPOINT).program.test_run(ctx=context).retval == 707
