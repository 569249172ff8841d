"""USDT probes of running programs: what is read is what the program's own assembly put there, and the notes are told of as
readelf and BCC tell of them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bcc_py import BPF, process
from bcc_py.errors import NotSupportedError
from bcc_py.linux import feature
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.usdt import USDT, USDTException, usdt_text
from tests.linux.conftest import open_descriptors
from tests.programs import BASE, ask, build, build_with_assembly, need, probe, run, running
from tests.test_symbols import ask_bcc

X86 = os.uname().machine == "x86_64"
only_x86 = pytest.mark.skipif(not X86, reason="the probed program is x86-64 assembly")

LETTERS = 0x1122334455667788
TABLE = (0x0102030405060708, -2, 0x3333, -0x4444)
# (what is done before, the note's word for the argument, the value)
FORMS = [
    ("", "-4@$-7", -7), ("", "8@$0x1234", 0x1234), ("", "1@$255", 255), ("", "8@$-1", (1 << 64) - 1),
    ("movabsq $LETTERS, %rax", "8@%rax", LETTERS), ("movabsq $LETTERS, %rax", "4@%eax", 0x55667788),
    ("movabsq $LETTERS, %rbx", "2@%bx", 0x7788), ("movabsq $LETTERS, %rcx", "1@%cl", 0x88),
    ("movabsq $LETTERS, %rdx", "1@%dh", 0x77), ("movabsq $LETTERS, %rax", "-1@%al", -0x78),
    ("movl $-9, %r9d", "-4@%r9d", -9), ("movq $-9, %r15", "-8@%r15", -9), ("movl $0x1f0, %esi", "1@%sil", 0xF0),
    ("movl $0x1f1f0, %r12d", "2@%r12w", 0xF1F0), ("movl $0x1f0, %r13d", "-1@%r13b", -16), ("movl $-3, %edi", "-4@%edi", -3),
    ("leaq table(%rip), %rbx", "8@(%rbx)", TABLE[0]), ("leaq table(%rip), %rbx", "-8@8(%rbx)", -2),
    ("leaq table(%rip), %r11", "4@4(%r11)", 0x01020304), ("leaq 16+table(%rip), %rbx", "1@-1(%rbx)", 0xFF),
    ("leaq table(%rip), %rbx; movl $2, %ecx", "8@(%rbx,%rcx,8)", 0x3333), ("leaq table(%rip), %rbx; movl $1, %ecx", "-8@16(%rbx,%rcx,8)", -0x4444),
    ("leaq table(%rip), %rbx; movl $8, %ecx", "-8@(%rbx,%rcx)", -2), ("leaq table(%rip), %rcx; shrq $3, %rcx", "8@16(,%rcx,8)", 0x3333),
    ("movl $77, -8(%rsp)", "-4@-8(%rsp)", 77), ("", "8@table(%rip)", TABLE[0]), ("", "-8@8+table(%rip)", -2),
    ("", "8@table+16(%rip)", 0x3333), ("", "-8@24+table", -0x4444), ("movl $2, %ecx", "8@table(,%rcx,8)", 0x3333),
    ("", "-8@%fs:-8", -55),
]
MAIN = f"""
#include <stdio.h>
long table[4] = {{{", ".join(map(str, TABLE))}}};
__thread long mine = -55;
unsigned short counter __attribute__((section(".probes")));
extern void fire(void);
int main(void) {{
    puts("ready"); fflush(stdout);
    while (getchar() != EOF) {{ if (mine) fire(); printf("%d\\n", counter); fflush(stdout); }}
    return 0;
}}
"""


def fire(body: str) -> str:
    """Assembly of the function that passes by the probes."""
    saved = ("rbx", "rbp", "r12", "r13", "r14", "r15")
    return f"""
    .text
    .globl fire
    .type fire, @function
fire:
{"".join(f"    pushq %{one}" + chr(10) for one in saved)}
{body.replace("LETTERS", hex(LETTERS)).replace("; ", chr(10))}
{"".join(f"    popq %{one}" + chr(10) for one in reversed(saved))}
    ret
    .size fire, . - fire
    .section .note.GNU-stack, "", @progbits
{BASE}"""


def program(folder: Path, body: str, *flags: str) -> Path:
    return build_with_assembly(folder, "program", MAIN, fire(body), *flags)


def value_of(bpf: BPF, key: int) -> tuple[int, int]:
    """(the reader's answer, the value) as a test's text puts them."""
    leaf = bpf["seen"][ctypes.c_uint(key)]
    return leaf.answer, leaf.value


SEEN = "struct seen_t { s64 answer; s64 value; }; BPF_HASH(seen, u32, struct seen_t);\n"


def reader(usdt: USDT, name: str, function: str, key: int, number: int = 1) -> str:
    type = usdt.get_probe_arg_ctype(name, number - 1)
    return (f"int {function}(struct pt_regs *ctx) {{ {type} value = 0; struct seen_t got = {{}}; u32 key = {key};\n"
            f"got.answer = bpf_usdt_readarg({number}, ctx, &value); got.value = value; seen.update(&key, &got); return 0; }}\n")


@pytest.fixture
def linux() -> LinuxKernel:
    """Only to know that there is one: each BPF of a test opens its own, which the test looks for left descriptors of."""
    kernel = LinuxKernel()
    kernel.close()
    feature.require("uprobe", "testing USDT")
    return kernel


@only_x86
@pytest.mark.linux
@pytest.mark.parametrize("flags", [("-pie",), ("-no-pie",)])
@pytest.mark.parametrize("by_pid", [True, False])
def test_every_form_of_argument_is_read(tmp_path: Path, linux: LinuxKernel, flags: tuple[str, ...], by_pid: bool) -> None:
    path = program(tmp_path, "".join(f"    {setup}\n{probe(f'p{at}', word)}" for at, (setup, word, _) in enumerate(FORMS)), *flags)
    before = open_descriptors()
    with running(path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usdt = USDT(pid=child.pid) if by_pid else USDT(path=str(path))
        text = SEEN
        for at in range(len(FORMS)):
            usdt.enable_probe(f"p{at}", f"f{at}")
            text += reader(usdt, f"test:p{at}", f"f{at}", at)
        with BPF(text=text, usdt_contexts=[usdt], kernel="linux") as bpf:
            assert bpf.num_open_uprobes() == len(FORMS)
            ask(child)
            wrong = {word: value_of(bpf, at) for at, (_, word, value) in enumerate(FORMS)
                     if value_of(bpf, at) != (0, value - (1 << 64) if value >= 1 << 63 else value)}
            assert not wrong
    assert open_descriptors() == before


@only_x86
@pytest.mark.linux
def test_an_argument_that_cannot_be_read_gives_minus_one(tmp_path: Path, linux: LinuxKernel) -> None:
    path = program(tmp_path, probe("vector", "8@%xmm0") + "    xorl %ecx, %ecx\n" + probe("fault", "8@(%rcx)"))
    with running(path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usdt = USDT(pid=child.pid)
        text = SEEN
        for at, name in enumerate(("vector", "fault")):
            usdt.enable_probe(name, f"f{at}")
            text += reader(usdt, name, f"f{at}", at)
        with BPF(text=text, usdt_contexts=[usdt], kernel="linux") as bpf:
            ask(child)
            assert value_of(bpf, 0) == value_of(bpf, 1) == (-1, 0)


@only_x86
@pytest.mark.linux
@pytest.mark.parametrize("apart", [0, 4096 - 1])
def test_probe_at_several_places(tmp_path: Path, linux: LinuxKernel, apart: int) -> None:
    """Its argument is elsewhere at each; also where the places are whole pages apart, which takes the process to know."""
    body = (f"    .balign 4096\n    movl $-5, %eax\n    jmp 1f\n    .balign 64\n1:\n{probe('multi', '-4@%eax')}"
            f"    jmp 2f\n    .skip {apart}, 0x90\n" + (".balign 4096\n.skip 64, 0x90\n" if apart else "")
            + "2:  movq $6, -8(%rsp)\n    jmp 3f\n" + ("    .balign 4096\n    .skip 64, 0x90\n" if apart else "") + f"3:\n{probe('multi', '2@-8(%rsp)')}")
    path = program(tmp_path, body)
    with running(path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usdt = USDT(pid=child.pid)
        (found,) = usdt.enumerate_probes()
        places = [found.get_location(at).address for at in range(found.num_locations)]
        assert len(places) == 2 and ((places[0] ^ places[1]) & 0xFFF == 0) == bool(apart)
        assert usdt.get_probe_arg_ctype("multi", 0) == "int32_t"
        usdt.enable_probe("test:multi", "f")
        text = "BPF_HASH(seen, s32);\nint f(struct pt_regs *ctx) { s32 value = 0; bpf_usdt_readarg(1, ctx, &value); seen.increment(value); return 0; }"
        with BPF(text=text, usdt_contexts=[usdt], kernel="linux") as bpf:
            ask(child)
            ask(child)
            assert {key.value: leaf.value for key, leaf in bpf["seen"].items()} == {-5: 2, 6: 2}
    unknown = USDT(path=str(path))
    unknown.enable_probe("multi", "f")
    if apart:
        with pytest.raises(USDTException, match="can't generate USDT probe arguments; possible cause is missing pid"):
            unknown.get_text()
    else:
        assert "& 0xfff" in unknown.get_text()


@only_x86
@pytest.mark.linux
@pytest.mark.parametrize("by_hand", [False, True])
def test_semaphore_is_counted_while_the_probe_is_attached(
    tmp_path: Path, linux: LinuxKernel, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    """By the kernel, or, where that cannot, in the process's memory."""
    path = program(tmp_path, probe("guarded", "-4@$3", "counter"))
    if by_hand:
        has = feature.has
        monkeypatch.setattr(feature, "has", lambda name: name != "uprobe reference counter" and has(name))
    with running(path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usdt = USDT(pid=child.pid)
        assert usdt.enumerate_probes()[0].semaphore == int(re.findall(r"(\w+) \w counter", run("nm", path))[0], 16)
        usdt.enable_probe("guarded", "f")
        assert ask(child) == b"0\n"
        with BPF(text=SEEN + reader(usdt, "guarded", "f", 0), usdt_contexts=[usdt], kernel="linux") as bpf:
            assert ask(child) == b"1\n"
            assert value_of(bpf, 0) == (0, 3)
        usdt.close()
        usdt.close()
        assert ask(child) == b"0\n"


@only_x86
@pytest.mark.linux
def test_semaphore_of_all_processes_needs_the_kernel(
    tmp_path: Path, linux: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path, probe("guarded", "-4@$3", "counter"))
    usdt = USDT(path=str(path))
    usdt.enable_probe("guarded", "f")
    text = SEEN + reader(usdt, "guarded", "f", 0)
    with running(path) as child, BPF(text=text, usdt_contexts=[usdt], kernel="linux"):
        assert child.stdout is not None
        child.stdout.readline()
        assert ask(child) == b"1\n"
    has = feature.has
    monkeypatch.setattr(feature, "has", lambda name: name != "uprobe reference counter" and has(name))
    with pytest.raises(NotSupportedError, match="reference counter"):
        BPF(text=text, usdt_contexts=[usdt], kernel="linux")


@only_x86
@pytest.mark.linux
@pytest.mark.parametrize("ignore_pid", [False, True])
def test_only_the_process_that_was_named(tmp_path: Path, linux: LinuxKernel, ignore_pid: bool) -> None:
    path = program(tmp_path, probe("here", "-4@$3"))
    with running(path) as one, running(path) as other:
        for child in (one, other):
            assert child.stdout is not None
            child.stdout.readline()
        usdt = USDT(pid=one.pid)
        usdt.enable_probe("here", "f")
        text = "BPF_HASH(seen, u32);\nint f(struct pt_regs *ctx) { seen.increment(bpf_get_current_pid_tgid() >> 32); return 0; }"
        with BPF(text=text, usdt_contexts=[usdt], attach_usdt_ignore_pid=ignore_pid, kernel="linux") as bpf:
            ask(one)
            ask(other)
            assert {key.value for key, _ in bpf["seen"].items()} == ({one.pid, other.pid} if ignore_pid else {one.pid})


@only_x86
@pytest.mark.linux
def test_strings_of_the_program(tmp_path: Path, linux: LinuxKernel) -> None:
    path = program(tmp_path, "    leaq words(%rip), %rdi\n" + probe("said", "8@%rdi") + '    .section .rodata\nwords: .asciz "from there"\n    .text\n')
    with running(path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usdt = USDT(pid=child.pid)
        usdt.enable_probe("said", "f")
        text = """struct words_t { char text[16]; }; BPF_HASH(seen, u32, struct words_t);
        int f(struct pt_regs *ctx) { struct words_t words = {}; u32 key = 0;
            bpf_usdt_readarg_p(1, ctx, &words.text, sizeof(words.text)); seen.update(&key, &words); return 0; }"""
        with BPF(text=text, usdt_contexts=[usdt], kernel="linux") as bpf:
            ask(child)
            assert bpf["seen"][ctypes.c_uint(0)].text == b"from there"


@only_x86
@pytest.mark.linux
def test_a_place_in_the_text_is_the_users(tmp_path: Path, linux: LinuxKernel) -> None:
    """The C that reads arguments stands before the text and moves none of its lines."""
    path = program(tmp_path, probe("here", "-4@$3"))
    usdt = USDT(path=str(path))
    usdt.enable_probe("here", "f")
    with pytest.raises(Exception, match="<text>:3:1"):
        BPF(text="#include <uapi/linux/ptrace.h>\n\nunknown_t x;", usdt_contexts=[usdt], kernel="linux")


# ---- what is told of probes


@only_x86
def test_probes_are_told_of_as_they_are(tmp_path: Path) -> None:
    need("readelf")
    path = program(tmp_path, probe("first", "-4@$3 8@-8(%rbp) 8@16(%rax,%rbx,4)", "counter") + probe("second", "", provider="other") + probe("first", "8@%rax"))
    usdt = USDT(path=os.fsencode(path))
    first, second = usdt.enumerate_probes()
    noted = [int(one, 16) for one in re.findall(r"Location: (0x\w+)", run("readelf", "-n", path))]
    assert (first.provider, first.name, first.bin_path, first.num_locations, first.num_arguments) == (b"test", b"first", os.fsencode(path), 2, 3)
    assert [first.get_location(at).address for at in range(2)] == [noted[0], noted[2]]
    assert (second.short_name(), second.num_arguments, second.semaphore) == ("other:second", 0, 0)
    assert str(first) == f"test:first [sema {first.semaphore:#x}]" and str(first.get_location(1)) == f"{path} {noted[2]:#x}"
    arguments = [first.get_location(0).get_argument(at) for at in range(3)]
    assert [str(one) for one in arguments] == ["4 signed   bytes @ 3", "8 unsigned bytes @ *(bp - 8)", "8 unsigned bytes @ *(ax + 16 + bx * 4)"]
    assert (arguments[0].constant, arguments[1].base_register_name, arguments[1].deref_offset, arguments[2].scale) == (3, b"bp", -8, 4)
    assert usdt.get_probe_arg_ctype("first", 0) == "uint64_t" and usdt.get_probe_arg_ctype(b"test:first", 2) == "uint64_t"
    assert usdt.get_context() is usdt


@only_x86
def test_enabled_probes(tmp_path: Path) -> None:
    path = program(tmp_path, probe("first", "-4@$3") + probe("same", "8@%rax") + probe("same", "8@%rax", provider="other"))
    usdt = USDT(path=str(path))
    usdt.enable_probe(probe=b"first", fn_name=b"f")
    usdt.enable_probe("other:same", "g")
    assert [(file, function, pid) for file, function, _, pid in usdt.enumerate_active_probes()] == [
        (os.fsencode(path), b"f", -1), (os.fsencode(path), b"g", -1)]
    assert set(re.findall(r"_bpf_readarg_\w+", usdt.get_text())) == {"_bpf_readarg_f_1", "_bpf_readarg_g_1"}
    assert usdt_text([]) == "" == usdt_text([USDT(path=str(path))])
    for name, words in (("absent", "no such probe"), ("test:absent", "no such probe"), ("same", "several providers"), ("first", "already")):
        with pytest.raises(USDTException, match=f"^Failed to enable USDT probe '{name}':\n.*{words}"):
            usdt.enable_probe(name, "f")
        with pytest.raises(SystemExit, match="Failed to enable USDT probe"):
            usdt.enable_probe_or_bail(name, "f")
    with pytest.raises(USDTException, match="has no argument 5"):
        usdt.get_probe_arg_ctype("first", 5)
    with pytest.raises(USDTException, match="error retrieving probe location 9"):
        usdt.enumerate_probes()[0].get_location(9)
    with pytest.raises(USDTException, match="error retrieving probe argument 9 location 0"):
        usdt.enumerate_probes()[0].get_location(0).get_argument(9)


@pytest.mark.parametrize(("given", "words"), [
    ({}, "either a pid or a binary path must be specified"), ({"pid": 1 << 30}, f"USDT failed to instrument PID {1 << 30}"),
    ({"path": "/no/such/file"}, "USDT failed to instrument path /no/such/file"), ({"path": "/etc/passwd"}, "failed to instrument path"),
    ({"pid": os.getpid(), "path": "relative"}, "not absolute"),
])
def test_what_has_no_probes_to_tell_of(given: dict[str, Any], words: str) -> None:
    with pytest.raises(USDTException, match=words):
        USDT(**given)


@only_x86
def test_process_that_has_ended_is_not_probed(tmp_path: Path) -> None:
    path = program(tmp_path, probe("first", "-4@$3"))
    with running(path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usdt = USDT(pid=child.pid)
        (tmp_path / "link").symlink_to(path)
        for one in (path, tmp_path / "link"):
            (found,) = USDT(pid=child.pid, path=str(one)).enumerate_probes()
            assert found.name == b"first" and found.places[0].mapping is not None
    with pytest.raises(USDTException, match="has ended"):
        usdt.enable_probe("first", "f")
    assert process.identity(1 << 30) is None


@only_x86
def test_probe_of_a_library_that_comes_later(tmp_path: Path) -> None:
    (tmp_path / "late.s").write_text(fire(probe("late", "-4@$3")).replace("table", "elsewhere"))
    need("gcc")
    run("gcc", "-shared", "-o", tmp_path / "late.so", tmp_path / "late.s")
    path = build(tmp_path, "loader", """
        #include <dlfcn.h>
        #include <stdio.h>
        int main(int argc, char **argv) {
            puts("ready"); fflush(stdout);
            while (getchar() != EOF) { puts(dlopen(argv[1], RTLD_NOW) ? "loaded" : dlerror()); fflush(stdout); }
            return 0;
        }""", "-ldl")
    with running(path, str(tmp_path / "late.so")) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usdt = USDT(pid=child.pid)
        with pytest.raises(USDTException, match="no such probe"):
            usdt.enable_probe("late", "f")
        assert ask(child) == b"loaded\n"
        usdt.enable_probe("late", "f")
        assert [file for file, *_ in usdt.enumerate_active_probes()] == [os.fsencode(tmp_path / "late.so")]


_ASK_BCC = """
import json, sys
try:
    from bcc import USDT
except ImportError:
    sys.exit(3)
def told(usdt):
    for probe in usdt.enumerate_probes():
        yield [str(probe), probe.num_locations, probe.num_arguments]
        for at in range(probe.num_locations):
            location = probe.get_location(at)
            yield [str(location), [str(location.get_argument(i)) for i in range(location.num_arguments)]]
        yield [usdt.get_probe_arg_ctype(probe.short_name(), i) for i in range(probe.num_arguments)]
(path,) = json.load(sys.stdin)
json.dump(list(told(USDT(path=path))), sys.stdout)
"""
PROBED = [one for one in ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", shutil.which("python3", path="/usr/bin"), "/usr/lib/postgresql/15/bin/postgres",
                          "/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so") if one and os.path.exists(one)]


def told(usdt: USDT) -> list[list[Any]]:
    found: list[list[Any]] = []
    for one in usdt.enumerate_probes():
        found.append([str(one), one.num_locations, one.num_arguments])
        for at in range(one.num_locations):
            location = one.get_location(at)
            found.append([str(location), [str(location.get_argument(i)) for i in range(location.num_arguments)]])
        found.append([usdt.get_probe_arg_ctype(one.short_name(), i) for i in range(one.num_arguments)])
    return found


@pytest.mark.parametrize("path", PROBED)
def test_probes_of_installed_programs_as_bcc_tells_of_them(path: str) -> None:
    """But for a variable by its name, which BCC means to print as *(&name + 8) and prints as unrecognised."""
    def known(rows: list[list[Any]]) -> list[list[Any]]:
        return [[re.sub(r"\*\(&[^)]*\)|unrecognized argument format, flags 14", "VARIABLE", str(one)) for one in row] for row in rows]

    assert known(told(USDT(path=path))) == known(ask_bcc(_ASK_BCC, path))


def test_damaged_notes_are_passed_over(tmp_path: Path) -> None:
    if not X86:
        pytest.skip("the probed program is x86-64 assembly")
    path = program(tmp_path, probe("first", "-4@$3"))
    content = bytearray(path.read_bytes())
    at = content.index(b"stapsdt\0") - 12
    content[at + 4 : at + 8] = b"\xff\xff\xff\x7f"
    (tmp_path / "damaged").write_bytes(content)
    assert USDT(path=str(tmp_path / "damaged")).enumerate_probes() == []
