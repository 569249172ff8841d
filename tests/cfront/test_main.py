"""python -m cfront: stages, outputs, flags, exit status, where diagnostics go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bcc_py.sim.native import kernel_btf
from cfront import CompileError
from cfront.__main__ import main
from cfront.emit import emit

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: it is what is compared with")
TEXT = """#define KEY 1
BPF_HASH(counts, u32);
static int next(int x) { return x + KEY; }
int kprobe__do_sys_open(struct pt_regs *ctx, int a) { u32 key = next(a); counts.increment(key); return VALUE; }
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kernel.btf").write_bytes(kernel_btf())
    (tmp_path / "x.c").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "x.c"


COMMON = ["x.c", "--types", "kernel.btf", "-DVALUE=0"]


@pytest.mark.parametrize("flags, pieces", [
    (["--stop-after", "preprocess"], ["struct counts_table_t { u32 key; u64 leaf; } counts", "return x +", "return 0"]),
    (["--stop-after", "parse"], ["FuncDef", "Decl: name=next", "FuncCall"]),
    (["--stop-after", "check"], ["x.c:2:10: table counts: HASH, key unsigned int, leaf unsigned long long, 10240 entries",
                                 'x.c:4:5: program "kprobe/do_sys_open" int kprobe__do_sys_open(', "x.c:3:12: function int next(int x)"]),
    (["--stop-after", "ir"], ['section ".maps"', "define dso_local i32 @kprobe__do_sys_open(ptr"]),
    (["--emit", "ir"], ["target triple = \"bpfel\"", "@kprobe__do_sys_open"]),
    (["--emit", "asm"], ["call 1", "exit"]),
])
def test_stages_are_printed(source: Path, capfd: pytest.CaptureFixture[str], flags: list[str], pieces: list[str]) -> None:
    assert main([*COMMON, *flags]) == 0
    printed, said = capfd.readouterr()
    assert said == ""
    for one in pieces:
        assert one in printed, printed


def test_the_object_goes_beside_by_default_or_where_it_is_told(source: Path) -> None:
    assert main(COMMON) == 0
    content = Path("x.o").read_bytes()
    assert content[:4] == b"\x7fELF"
    assert main([*COMMON, "-o", "other.bin", "--cpu", "v3"]) == 0
    assert Path("other.bin").read_bytes() == content
    assert main([*COMMON, "--cpu", "v1", "-o", "v1.o"]) == 0
    assert Path("v1.o").read_bytes() != content


def test_errors_go_to_standard_error_with_status_1(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["x.c", "--types", "kernel.btf"]) == 1
    printed, said = capfd.readouterr()
    assert printed == "" and said.startswith("x.c:4:104: error: use of undeclared name 'VALUE'\n")
    assert not Path("x.o").exists()


@pytest.mark.parametrize("arguments, piece", [
    (["nowhere.c"], "nowhere.c"), (["x.c", "--types", "nowhere.btf"], "nowhere.btf"), (["x.c", "--types", "x.c"], "reading BTF"),
    (["x.c", "--types", "none", "-DVALUE=0"], "'struct pt_regs', which is not defined"),
])
def test_files_that_cannot_be_read(source: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], piece: str) -> None:
    assert main(arguments) == 1
    assert piece in capfd.readouterr().err


def test_warnings_are_printed_unless_silenced(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source.write_text("#warning mind\nint p(void *ctx) { return 0; }\n")
    assert main([*COMMON, "-Wall"]) == 0
    assert "x.c:1:2: warning: #warning mind" in capfd.readouterr().err
    assert main([*COMMON, "-w"]) == 0
    assert capfd.readouterr().err == ""


DOUBTFUL = "int p(void *ctx) { u8 x = 300; }\n"


@pytest.mark.parametrize("flags, status, words", [
    ([], 0, ["warning: 300 does not fit 'unsigned char': it becomes 44 [-Wconstant-conversion]", "warning: 'p' may end"]),
    (["-w"], 0, []), (["-w", "-Werror"], 0, []), (["-Wno-return-type"], 0, ["warning: 300"]),
    (["-Werror"], 1, ["error: 300 does not fit 'unsigned char': it becomes 44 [-Werror,-Wconstant-conversion]", "error: 'p' may end"]),
    (["-Werror=return-type"], 1, ["error: 'p' may end without returning a value [-Werror,-Wreturn-type]"]),
    (["-Werror", "-Wno-error"], 0, ["warning: 300", "warning: 'p'"]), (["-Wno-return-type", "-Wreturn-type"], 0, ["warning: 300", "warning: 'p'"]),
    (["-Wno-such-thing", "-Wall", "-Wextra", "-Werror=such-thing"], 0, ["warning: 300", "warning: 'p'"]),
])
def test_warnings_go_by_their_flags(source: Path, capfd: pytest.CaptureFixture[str], flags: list[str], status: int, words: list[str]) -> None:
    source.write_text(DOUBTFUL)
    assert main(["x.c", "--types", "none", *flags]) == status
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("x.c:")]
    assert len(said) == len(words)
    for line, piece in zip(said, words, strict=True):
        assert piece in line


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the running kernel has no BTF")
def test_the_version_is_the_running_kernels(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source.write_text("int p(void *ctx) { return LINUX_VERSION_CODE; }\n")
    assert main(["x.c", "--stop-after", "preprocess"]) == 0
    major, minor = os.uname().release.split(".")[:2]
    assert int(capfd.readouterr().out.split("return ")[1].split(" ")[0].rstrip(";")) >> 8 == int(major) << 8 | int(minor)
    assert main(["x.c", "--stop-after", "preprocess", "-DLINUX_VERSION_CODE=7"]) == 0
    assert "return 7" in capfd.readouterr().out


@pytest.mark.parametrize("content, piece", [
    (b"int p(\xe5", "stray byte 0xe5 in program"), (b"int p(\x01", "stray character 0x1 in program"),
    (b"\x7fELF\0\0", "x.c: this is no text"), (b"", ""), (b" " * ((1 << 25) + 1), "more than 32 MiB"),
])
def test_what_is_no_text(source: Path, capfd: pytest.CaptureFixture[str], content: bytes, piece: str) -> None:
    source.write_bytes(content)
    assert main(["x.c", "--types", "none"]) == (1 if piece else 0)
    assert piece in capfd.readouterr().err


def test_a_folder_is_no_text(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(source.parent)]) == 1
    assert "Is a directory" in capfd.readouterr().err


def test_an_interrupt_ends_it_without_a_traceback(source: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cfront.__main__.compile_unit", interrupted)
    assert main(["x.c", "--types", "none"]) == 130
    assert capfd.readouterr() == ("", "")


def test_flags_reach_the_preprocessor(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("inc").mkdir()
    Path("inc/mine.h").write_text("#define MINE 77\n")
    source.write_text("#include <mine.h>\nint p(void *ctx) { return MINE + A + KNOWN; }\n")
    assert main(["x.c", "--types", "none", "-I", "inc", "-D", "A=5", "-UKNOWN", "-DKNOWN=6", "--stop-after", "preprocess"]) == 0
    assert "77 + 5 + 6" in " ".join(capfd.readouterr().out.split())


def test_standard_input_and_the_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cfront", "-", "--target", "host", "-o", str(tmp_path / "h.o")]
    run = subprocess.run(command, input=b"int twice(int x) { return 2 * x; }\n", capture_output=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, b"")
    assert (tmp_path / "h.o").read_bytes()[:4] == b"\x7fELF"
    bad = subprocess.run([sys.executable, "-m", "cfront", "-", "--types", "none"], input=b"int p(\xff\n", capture_output=True, check=False, timeout=60)
    assert bad.returncode == 1 and b"<stdin>:1:7: error: stray byte 0xff in program" in bad.stderr


def test_a_wrong_command_line_is_status_2(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["x.c", "--cpu", "v9"])
    assert caught.value.code == 2
    assert "v9" in capfd.readouterr().err


PROGRAM = r"""
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row { const char *name; int32_t count; struct row *next; };
static int by_name(const void *a, const void *b) { return strcmp(*(const char **)a, *(const char **)b); }
static struct row *added(struct row *first, const char *name)
{
	for (struct row *one = first; one; one = one->next)
		if (!strcmp(one->name, name)) { one->count++; return first; }
	struct row *made = malloc(sizeof(*made));
	*made = (struct row){ .name = name, .count = 1, .next = first };
	return made;
}
int main(int argc, char **argv)
{
	bool is_loud = false;
	qsort(argv + 1, argc - 1, sizeof(*argv), by_name);
	struct row *rows = NULL;
	for (int i = 1; i < argc; i++) {
		rows = added(rows, argv[i]);
		is_loud |= isupper(argv[i][0]) != 0;
	}
	int64_t hash = 0;
	for (struct row *one = rows; one; one = one->next) {
		printf("%-8s %d\n", one->name, one->count);
		for (size_t i = 0; i < strlen(one->name); i++) hash = hash * 31 + one->name[i] + INT_MIN;
	}
	printf("%" PRId64 " %u %d\n", hash, UINT32_MAX, is_loud);
	errno = ERANGE;
	fprintf(stderr, "%s\n", strerror(errno));
	assert(argc > 0);
	return argc * 10 + 3;
}
"""


@needs_gcc
def test_run_does_what_gcc_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-w", "-o", tmp_path / "p", tmp_path / "p.c"], check=True, timeout=60)
    words = ["pear", "Apple", "pear", "fig tree", "apple"]
    theirs = subprocess.run([tmp_path / "p", *words], capture_output=True, text=True, timeout=60, check=False)
    ours = subprocess.run([sys.executable, "-m", "cfront", "--run", tmp_path / "p.c", *words], capture_output=True, text=True, timeout=60,
                          check=False)
    assert theirs.returncode == 63 and theirs.stdout
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


CORNERS = r"""
#include <stdio.h>
#include <string.h>
int later();
static int old();
extern int own;
int first(int x), second(int x), count;
void *place = printf;
struct flexible { int n; char text[]; };
struct flexible greeting = { 5, "hello" }, numbers = { 2, { 7, 9 } };
struct list { struct list *next; int *value; } *chain = &(struct list){ &(struct list){ 0, &(int){ 4 } }, &(int){ 3 } };
struct pair { int a; long b; };
static struct pair swapped(struct pair p) { return (struct pair){ p.b, p.a }; }
static int called(int (*f)(), int x) { return f(x) + (*f)(x); }
int main(void)
{
	extern int elsewhere;
	int (*open)() = later, (*say)(const char *) = puts, strlen = 3;
	int (*strings)(const char *, const char *) = &strcmp;
	unsigned __int128 wide;
	__int128 wide_signed;
	long minus = -3;
	unsigned long five = 5, most = -1;
	char room[32];
	say("x");
	printf("%d %d %d %d\n", place == (void *)printf, open == later, strings("a", "b") < 0, called(later, 3));
	printf("%d %d %d %d %d\n", old(-1), first(1), second(2), own, elsewhere);
	printf("%s %d %d %d %d\n", greeting.text, numbers.text[1], *chain->value, *chain->next->value, (int)swapped((struct pair){ 1, 2 }).b);
	printf("%d%d%d%d%d%d\n", __builtin_mul_overflow(minus, five, &wide), __builtin_mul_overflow(minus, five, &wide_signed),
		__builtin_mul_overflow(most, most, &wide_signed), __builtin_mul_overflow(most, most, &wide),
		__builtin_sub_overflow(five, most, &wide), __builtin_sub_overflow(five, most, &wide_signed));
	wide = most;
	int is_over = __builtin_mul_overflow(wide << 64, wide, &wide);
	printf("%d %d\n", is_over, __builtin_add_overflow(five, wide, &wide));
	__builtin_strcat(__builtin_strcpy(room, "ab"), "cd");
	__builtin_printf("%s %d %d %s %d\n", room, (int)__builtin_strlen(room), __builtin_strcmp(room, "abcd"), __builtin_strchr(room, 'c'), strlen);
	printf("%d %d %d\n", __builtin_classify_type(room), __builtin_classify_type(chain[0]), __builtin_classify_type(strlen));
	printf("%d %d\n", _Generic(later, int (*)(int): 1, default: 2), _Generic(room, char *: 3, default: 4));
	__INT_LEAST16_TYPE__ least = __INT16_MAX__;
	printf("%d %d %d %d\n", least, (int)sizeof(__WCHAR_TYPE__), __INT_WIDTH__, (int)sizeof(__UINT_FAST16_TYPE__));
	return 0;
}
int later(int x) { return x * 2; }
static int old(x) int x; { return x + 10; }
int first(int x) { return second(x) + 1; }
int second(int x) { return x * 5; }
int own = 8, elsewhere = 9;
"""


@needs_gcc
def test_functions_and_variables_of_the_file_are_what_gcc_takes_them_for(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(CORNERS)
    subprocess.run(["gcc", "-w", "-o", tmp_path / "p", tmp_path / "p.c"], check=True, timeout=60)
    theirs, ours = (subprocess.run(one, capture_output=True, text=True, timeout=60, check=False)
                    for one in ([tmp_path / "p"], [sys.executable, "-m", "cfront", "-w", "--run", tmp_path / "p.c"]))
    assert theirs.returncode == 0 and theirs.stdout
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, theirs.stdout, "")


def test_code_that_llvm_does_not_take_is_a_compile_error() -> None:
    with pytest.raises(CompileError, match=r"internal: LLVM does not take .*\s.*please report it"):
        emit("define i32 @f() { ret i64 %x }", target="host", cpu="v3")


@pytest.mark.parametrize("text, status, words", [
    ("int main(void) { *(volatile int *)0 = 1; return 0; }", 139, ""),
    ("void abort(void); int main(void) { abort(); return 0; }", 134, ""),
    ("#include <stdio.h>\nint main(void) { return puts(\"x\") < 0; }", 0, "x\n"),
    ("int nowhere(int); int main(void) { return nowhere(1); }", 1, "nowhere"),
    ("int f(void) { return 0; }", 1, "main()"),
    ("int main(void) { return x; }", 1, "undeclared"),
])
def test_run_gives_the_programs_end(source: Path, capfd: pytest.CaptureFixture[str], text: str, status: int, words: str) -> None:
    source.write_text(text)
    assert main(["--run", "x.c"]) == status
    assert words in "".join(capfd.readouterr())


def test_run_needs_a_file() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--run"])
    assert caught.value.code == 2
