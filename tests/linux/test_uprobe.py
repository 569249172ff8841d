"""Functions of user programs: who calls them is this test's own child, which says how often it did."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from bcc_py import BPF
from bcc_py.errors import AttachError, NotSupportedError, SymbolError
from bcc_py.linux import feature
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.user_function import resolve_symbol
from tests.programs import ask, build, need, run, running

LIBRARY = """
int called(int a) { return a + 1; }
int called_too(int a) { return a + 2; }
static int hidden(int a) { return a + 3; }
int call_hidden(int a) { return hidden(a); }
"""
PROGRAM = """
#include <stdio.h>
extern int called(int), called_too(int), call_hidden(int);
int main(void) {
    puts("ready"); fflush(stdout);
    while (getchar() != EOF) { printf("%d\\n", called(4) + called_too(5) + call_hidden(6)); fflush(stdout); }
    return 0;
}
"""
TEXT = """
BPF_HASH(entries, u64);
BPF_HASH(returns, u64);
int at_entry(struct pt_regs *ctx) { entries.increment(PT_REGS_PARM1(ctx) & 0xffffffff); return 0; }
int at_return(struct pt_regs *ctx) { returns.increment(PT_REGS_RC(ctx) & 0xffffffff); return 0; }
"""


@pytest.fixture(autouse=True)
def linux() -> None:
    LinuxKernel().close()
    feature.require("uprobe", "testing uprobes")


def made(folder: Path, *flags: str) -> tuple[Path, Path]:
    """(program, library)"""
    library = build(folder, "libprobed.so", LIBRARY, "-shared", "-fPIC", "-O0", *flags)
    return build(folder, "program", PROGRAM, "-O0", f"-L{folder}", "-lprobed", f"-Wl,-rpath,{folder}"), library


def counts(bpf: BPF, name: str) -> dict[int, int]:
    return {key.value: leaf.value for key, leaf in bpf[name].items()}


def started(child: subprocess.Popen[bytes]) -> None:
    assert child.stdout is not None
    child.stdout.readline()


@pytest.mark.linux
@pytest.mark.parametrize("flags", [(), ("-Wl,-Ttext-segment,0x2000000",)])
def test_entry_and_return_of_a_function(tmp_path: Path, flags: tuple[str, ...]) -> None:
    path, library = made(tmp_path, *flags)
    with running(path) as child, running(path) as other, BPF(text=TEXT, kernel="linux") as bpf:
        started(child)
        started(other)
        bpf.attach_uprobe(name=os.fsencode(library), sym=b"called", fn_name=b"at_entry", pid=child.pid)
        bpf.attach_uretprobe(name=str(library), sym="called", fn_name="at_return", pid=child.pid)
        assert bpf.num_open_uprobes() == 2 and bpf.num_open_kprobes() == 0
        for one in (child, child, other, child):
            assert ask(one) == b"21\n"
        assert counts(bpf, "entries") == {4: 3} and counts(bpf, "returns") == {5: 3}
        bpf.detach_uretprobe(name=library.as_posix(), sym=b"called", pid=child.pid)
        bpf.detach_uprobe(name=str(library), sym="called", pid=child.pid)
        ask(child)
        assert counts(bpf, "entries") == {4: 3} and bpf.num_open_uprobes() == 0
        with pytest.raises(AttachError, match=r"^Uprobe p_libprobed_so_0x[0-9a-f]+ is not attached"):
            bpf.detach_uprobe(name=str(library), sym="called")


@pytest.mark.linux
def test_every_process_by_address_offset_and_pattern(tmp_path: Path) -> None:
    need("nm")
    path, library = made(tmp_path)
    address = next(int(row[0], 16) for row in map(str.split, run("nm", library).splitlines()) if row[-1] == "hidden")
    with running(path) as child, BPF(text=TEXT, kernel="linux") as bpf:
        started(child)
        bpf.attach_uprobe(name=str(library), addr=address, fn_name="at_entry")
        bpf.attach_uprobe(name=str(library), sym_re="called", fn_name="at_entry")
        assert bpf.num_open_uprobes() == 3
        ask(child)
        assert counts(bpf, "entries") == {4: 1, 5: 1, 6: 1}
        bpf.detach_uprobe(name=str(library), addr=address)
        for one in list(bpf.uprobe_fds):
            assert re.fullmatch(rb"p_libprobed_so_0x[0-9a-f]+", one)
            bpf.detach_uprobe_event(one)
        ask(child)
        assert counts(bpf, "entries") == {4: 1, 5: 1, 6: 1}
        bpf.attach_uprobe(name=str(library), sym="call_hidden", sym_off=4, fn_name="at_entry")  # behind push and mov, %edi is kept
        ask(child)
        assert counts(bpf, "entries")[6] == 2
        bpf.detach_uprobe(name=str(library), sym="call_hidden", sym_off=4)


@pytest.mark.linux
def test_library_by_its_name_and_of_the_process() -> None:
    with BPF(text=TEXT, kernel="linux") as bpf:
        bpf.attach_uprobe(name="c", sym="malloc_stats", fn_name="at_entry", pid=os.getpid())
        child = subprocess.run(["cat"], input=b"", check=True, capture_output=True)
        assert child.returncode == 0
        (event,) = bpf.uprobe_fds
        assert event.startswith(b"p_libc_so_6_0x") and event.endswith(b"_%d" % os.getpid())
        ctypes.CDLL(None).getpid()


@pytest.mark.linux
def test_what_cannot_be_attached_to(tmp_path: Path) -> None:
    _, library = made(tmp_path)
    with BPF(text=TEXT, kernel="linux") as bpf:
        for given, words in (
            ({"name": str(library), "sym": "absent"}, "could not determine address of symbol absent in .*it has no such function"),
            ({"name": "nosuchlibrary", "sym": "x"}, "could not determine address of symbol x in nosuchlibrary: no such library"),
            ({"name": "/no/such/file", "sym": "x"}, "could not determine address .*No such file"),
            ({"name": "/etc/passwd", "sym": "x"}, "not an ELF file"),
            ({"name": str(library), "addr": 1 << 40}, "nothing of the file is loaded at 0x10000000000"),
        ):
            with pytest.raises(SymbolError, match=words):
                bpf.attach_uprobe(fn_name="at_entry", **given)
        with pytest.raises(AttachError, match=r"no function of .* matches 'absent'"):
            bpf.attach_uprobe(name=str(library), sym_re="absent", fn_name="at_entry")
        for wrong in ({"sym": "called", "sym_off": -1}, {"addr": 0x1000, "sym_off": 1}):
            with pytest.raises(ValueError, match="sym_off"):
                bpf.attach_uprobe(name=str(library), fn_name="at_entry", **wrong)
        bpf.attach_uprobe(name=str(library), sym="called", fn_name="at_entry")
        with pytest.raises(AttachError, match="attached there already"):
            bpf.attach_uprobe(name=str(library), sym="called", fn_name="at_entry")


@pytest.mark.linux
def test_nothing_is_written_to_tracefs(tmp_path: Path) -> None:
    """And nothing stays when the object goes."""
    _, library = made(tmp_path)
    events = Path(feature.tracefs()) / "uprobe_events"
    before = events.read_text() if events.exists() else ""
    with BPF(text=TEXT, kernel="linux") as bpf:
        bpf.attach_uprobe(name=str(library), sym="called", fn_name="at_entry")
        assert (events.read_text() if events.exists() else "") == before


@pytest.mark.linux
def test_file_that_only_the_process_sees(tmp_path: Path) -> None:
    need("unshare", "mount")
    path, library = made(tmp_path)
    script = f'mount -t tmpfs tmpfs /mnt && cp "{library}" /mnt/ && LD_LIBRARY_PATH=/mnt exec "{path}"'
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode or not os.path.isdir("/mnt"):
        pytest.skip("no mount namespaces for this user")
    path = build(tmp_path, "program", PROGRAM, "-O0", f"-L{tmp_path}", "-lprobed")
    child = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        started(child)
        with BPF(text=TEXT, kernel="linux") as bpf:
            bpf.attach_uprobe(name="/mnt/libprobed.so", sym="called", fn_name="at_entry", pid=child.pid)
            bpf.attach_uprobe(name="probed", sym="called_too", fn_name="at_entry", pid=child.pid)
            ask(child)
            assert counts(bpf, "entries") == {4: 1, 5: 1}
    finally:
        child.communicate()


def test_functions_of_files(tmp_path: Path) -> None:
    need("nm")
    _, library = made(tmp_path)
    listed = {row[-1].encode(): int(row[0], 16) for row in map(str.split, run("nm", library).splitlines()) if row[-2] in "tT"}
    wanted = {b"called", b"called_too", b"call_hidden"}
    assert BPF.get_user_functions(str(library), "call") == wanted
    assert BPF.get_user_addresses(os.fsencode(library), b"call") == {listed[one] for one in wanted}
    assert dict(BPF.get_user_functions_and_addresses(str(library), ".*idden$")) == {one: listed[one] for one in (b"hidden", b"call_hidden")}
    assert BPF.find_library("c") == os.fsencode(os.fsdecode(BPF.find_library(b"c") or b"")) and BPF.find_exe(b"sh") == BPF.find_exe("sh")
    with pytest.raises(SymbolError):
        BPF.get_user_functions("/no/such/file", ".*")
    chosen = build(tmp_path, "libchosen.so", """
        static int first(void) { return 1; }
        static void *choose(void) { return first; }
        int picked(void) __attribute__((ifunc("choose")));""", "-shared", "-fPIC", "-Wl,-Ttext-segment,0x2000000")
    address = next(int(row[0], 16) for row in map(str.split, run("nm", chosen).splitlines()) if row[-2:] == ["i", "picked"])
    assert resolve_symbol(str(chosen), "picked", types=(10,)) == (str(chosen), address - 0x2000000)
    with pytest.raises(SymbolError, match="it has no such symbol"):
        resolve_symbol(str(chosen), "picked", types=(2,))


def test_simulated_kernels_have_no_user_programs(tmp_path: Path) -> None:
    _, library = made(tmp_path)
    with BPF(text=TEXT, kernel="sim") as bpf, pytest.raises(NotSupportedError, match="a simulated kernel has no uprobes"):
        bpf.attach_uprobe(name=str(library), sym="called", fn_name="at_entry")
