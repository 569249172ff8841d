"""Addresses of processes and of kernels, against the dynamic linker, the programs' own words, and BCC where it is installed."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from bcc_py import BPF
from bcc_py.errors import SymbolError
from bcc_py.kallsyms import KernelFunctions
from bcc_py.symbols import BuildIdSymbols, SymbolCache, symbol_text
from tests.programs import build, need, run, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="symbols of processes are read from Linux's /proc")

PROGRAM = """
#include <stdio.h>
#include <unistd.h>
namespace some { int function(int a, long b) { asm volatile(""); return a + b; } }
extern "C" int plain(int a) { asm volatile(""); return a; }
int main() {
    printf("%p %p\\n", (void *)some::function, (void *)plain); fflush(stdout);
    while (getchar() != EOF) { puts("."); fflush(stdout); }
    return some::function(1, 2) + plain(3);
}
"""
MANGLED, READABLE = b"_ZN4some8functionEil", b"some::function(int, long)"


def told(child: subprocess.Popen[bytes]) -> list[int]:
    """The addresses that a program prints."""
    assert child.stdout is not None
    return [int(one, 16) for one in child.stdout.readline().split()]


@pytest.mark.parametrize("flags", [("-pie", "-fPIE"), ("-no-pie",), ("-no-pie", "-Wl,-Ttext-segment,0x2000000"), ("-Wl,-z,noseparate-code",)])
def test_functions_of_a_process(tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = build(tmp_path, "program", PROGRAM, *flags, language="c++")
    with running(path) as child:
        function, plain = told(child)
        cache = SymbolCache(child.pid)
        module = os.fsencode(path)
        assert cache.resolve(function, False) == (MANGLED, 0, module)
        assert cache.resolve(function + 3, True) == (READABLE, 3, module)
        assert cache.resolve(plain + 1, True) == (b"plain", 1, module)
        assert cache.resolve_name(str(path), "plain") == plain
        assert cache.resolve_name(module, MANGLED) == function
        assert cache.resolve_name(module, "absent") == cache.resolve_name("/absent", "plain") == -1
        assert cache.resolve(8, True) == (None, 8, None)
        assert BPF.sym(function + 3, child.pid, show_module=True, show_offset=True) == READABLE + b"+0x3 [program]"
        assert BPF.sym(function, child.pid, demangle=False) == MANGLED
        assert BPF.sym(8, child.pid, True, True) == b"[unknown]"
    assert cache.resolve(function, False) == (MANGLED, 0, module), "what is known of a process stays known when it has ended"


def test_address_in_a_file_but_in_no_function(tmp_path: Path) -> None:
    need("strip")
    path = build(tmp_path, "program", PROGRAM, language="c++")
    run("strip", path)
    with running(path) as child:
        function, _ = told(child)
        name, offset, module = SymbolCache(child.pid).resolve(function, True)
        assert name is None and module == os.fsencode(path)
        assert symbol_text((name, offset, module), True, True) == b"[unknown] [program]"
        assert symbol_text((name, offset, module), False, True) == b"[unknown]"


def test_libraries_as_the_dynamic_linker_sees_them() -> None:
    libc = ctypes.CDLL(None)
    cache = SymbolCache(os.getpid())
    for name in ("malloc", "getpid", "printf", "strtoul"):
        place = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value
        assert place is not None
        found, offset, module = cache.resolve(place, True)
        assert found is not None and offset == 0 and module is not None
        assert cache.resolve_name(module, found) == place


def test_kernels_own_library() -> None:
    cache = SymbolCache(os.getpid())
    with open("/proc/self/maps") as file:
        start = next((int(line.split("-")[0], 16) for line in file if "[vdso]" in line), None)
    if start is None:
        pytest.skip("this process has no vdso")
    place = cache.resolve_name("[vdso]", "__vdso_clock_gettime" if os.uname().machine == "x86_64" else "__kernel_clock_gettime")
    assert place > start and cache.resolve(place + 1, True)[1:] == (1, b"[vdso]")


def test_library_that_came_later_and_one_whose_file_is_gone(tmp_path: Path) -> None:
    cache = SymbolCache(os.getpid())
    library = build(tmp_path, "liblate.so", "int late(void) { return 1; }", "-shared", "-fPIC")
    place = ctypes.cast(ctypes.CDLL(str(library)).late, ctypes.c_void_p).value
    assert place is not None
    library.unlink()
    assert cache.resolve(place, True) == (b"late", 0, os.fsencode(library))


def test_process_that_runs_another_program(tmp_path: Path) -> None:
    second = build(tmp_path, "second", PROGRAM.replace("plain", "other"), language="c++")
    first = build(tmp_path, "first", f"""
        #include <stdio.h>
        #include <unistd.h>
        int main() {{ puts("1"); fflush(stdout); getchar(); execl("{second}", "second", (char *)0); return 1; }}""")
    with running(first) as child:
        assert child.stdout is not None
        child.stdout.readline()
        cache = SymbolCache(child.pid)
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        _, other = told(child)
        assert cache.resolve(other, True) == (b"other", 0, os.fsencode(second))


def test_functions_made_at_run_time() -> None:
    """/tmp/perf-PID.map, as just-in-time compilers write it; it grows."""
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    try:
        path.write_text("10000 40 first one\nrubbish\n10010 8 within\nzz 8 x\n")
        cache = SymbolCache(os.getpid())
        module = os.fsencode(path)
        assert cache.resolve(0x10008, True) == (b"first one", 8, module)
        assert cache.resolve(0x10012, True) == (b"within", 2, module)
        assert cache.resolve(0x10020, True) == (b"first one", 32, module)
        assert cache.resolve(0x10040, True) == (None, 0x10040, None)
        with path.open("a") as file:
            file.write("10040 10 later\n")
        assert cache.resolve(0x10040, True) == (b"later", 0, module)
    finally:
        path.unlink()


def test_process_that_sees_other_files(tmp_path: Path) -> None:
    """In a mount namespace of its own, where /tmp is another one."""
    need("unshare", "mount")
    path = build(tmp_path, "program", PROGRAM, language="c++")
    script = f'mount -t tmpfs tmpfs /mnt && cp "{path}" /mnt/hidden && exec /mnt/hidden'
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode or not os.path.isdir("/mnt"):
        pytest.skip("no mount namespaces for this user")
    child = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        function, _ = told(child)
        assert not os.path.exists("/mnt/hidden")
        assert SymbolCache(child.pid).resolve(function, True) == (READABLE, 0, b"/mnt/hidden")
    finally:
        child.communicate()


def test_process_that_is_not_there() -> None:
    cache = SymbolCache(1 << 30)
    assert cache.resolve(0x1000, True) == (None, 0x1000, None) and cache.resolve_name("/x", "y") == -1


def test_symbols_by_build_id(tmp_path: Path) -> None:
    class Element(ctypes.Structure):
        _fields_ = [("status", ctypes.c_int), ("build_id", ctypes.c_ubyte * 20), ("offset", ctypes.c_ulonglong)]

    library = build(tmp_path, "lib.so", "int there(void) { return 1; }", "-shared", "-fPIC", "-Wl,-Ttext-segment,0x2000000", "-Wl,--build-id=sha1")
    id = bytes.fromhex(next(line.split()[-1] for line in run("readelf", "-n", library).splitlines() if "Build ID" in line))
    offset = next(int(row[0], 16) for row in map(str.split, run("nm", library).splitlines()) if row[-1] == "there") - 0x2000000
    element = Element(1, (ctypes.c_ubyte * 20)(*id), offset + 2)
    assert BPF.sym(element, -1, True, True) == b"[unknown]"
    BPF.add_module(str(library))
    assert BPF.sym(element, -1, True, True) == b"there+0x2 [lib.so]"
    assert BPF.sym(Element(2, (ctypes.c_ubyte * 20)(), 0x400000), -1, True, True) == b"[unknown]"
    without = build(tmp_path, "without.so", "int there(void) { return 1; }", "-shared", "-fPIC", "-Wl,--build-id=none")
    for path, words in ((without, "has no build id"), ("/absent", "No such file")):
        with pytest.raises(SymbolError, match=words):
            BuildIdSymbols().add(str(path))


# ---- the kernel's

LIST = textwrap.dedent("""\
    ffffffff81000000 t local_name
    ffffffff81000000 T __ia32_sys_call
    ffffffff81000000 T __x64_sys_call
    ffffffff81000100 D some_data
    ffffffff81000200 W weak_one
    ffffffffc0000000 t in_module\t[some_module]
    ffffffffc0000100 t last\t[some_module]
    broken
    """)


def test_list_of_a_kernel(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(LIST)
    found = KernelFunctions(str(tmp_path / "list"))
    assert found.at(0xFFFFFFFF81000004) == ("__x64_sys_call", 4, "kernel")
    assert found.at(0xFFFFFFFF81000104) == ("__x64_sys_call", 0x104, "kernel"), "data is no function"
    assert found.at(0xFFFFFFFFC0000008) == ("in_module", 8, "some_module")
    assert found.at(0xFFFFFFFF80000000) is None and found.at(0xFFFFFFFFC0000101) is None
    assert found.at(0xFFFFFFFFC0000100) == ("last", 0, "some_module")
    assert "some_data" not in found.addresses and found.addresses["local_name"] == 0xFFFFFFFF81000000
    assert set(found.functions) == {"local_name", "__ia32_sys_call", "__x64_sys_call", "weak_one", "in_module", "last"}


def test_list_without_addresses_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("0000000000000000 T hidden\n0000000000000000 T too\n")
    found = KernelFunctions(str(tmp_path / "list"))
    assert found.at(0) is None and found.at(0x1000) is None and "hidden" in found.functions

    class Kernel:
        ksym = staticmethod(found.at)

        def has_function(self, name: str) -> bool:
            return name in found.functions

        def function_address(self, name: str) -> int:
            return found.addresses.get(name, 0)

    assert SymbolCache(-1, Kernel()).resolve_name(None, "hidden") == 0, "scripts ask whether there is such a function"
    assert SymbolCache(-1, Kernel()).resolve_name(None, "absent") == -1


@pytest.mark.linux
def test_running_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCC_PY_KERNEL", "linux")
    with open("/proc/kallsyms") as file:
        rows = [line.split() for line in file if " T " in line]
    address, _, name = next(row for row in rows if row[2] == "tcp_v4_connect")[:3]
    if not int(address, 16):
        pytest.skip("the kernel hides its addresses from this user")
    assert BPF.ksymname(name) == BPF.ksymname(name.encode()) == SymbolCache(-1).resolve_name(None, name) == int(address, 16)
    assert BPF.ksym(int(address, 16) + 5, show_module=True, show_offset=True) == b"tcp_v4_connect+0x5 [kernel]"
    assert BPF.sym(int(address, 16), -1) == BPF.sym(int(address, 16), -7) == b"tcp_v4_connect"
    assert BPF.ksymname("no such function") == -1 and BPF.ksym(16) == b"[unknown]"


def test_simulated_kernels_have_their_own() -> None:
    with BPF(text="int f(void *ctx) { return 0; }", kernel="sim") as bpf:
        at = bpf.ksymname("__x64_sys_execve")
        assert at == bpf.kernel.function_address("__x64_sys_execve") > 0
        assert bpf.ksym(at + 2, show_module=True, show_offset=True) == b"__x64_sys_execve+0x2 [kernel]"
        assert bpf.sym(at, -1) == b"__x64_sys_execve" and bpf.ksymname("tcp_nothing") == -1


# ---- BCC, where it is installed

_ASK_BCC = """
import json, sys
try:
    from bcc import BPF, SymbolCache
except ImportError:
    sys.exit(3)
pid, rows = json.load(sys.stdin)
cache = SymbolCache(pid)
text = lambda one: None if one is None else one.decode("utf-8", "surrogateescape")
json.dump([[text(name), offset, text(module)] for name, offset, module in (cache.resolve(at, True) for at in rows)], sys.stdout)
"""


def ask_bcc(script: str, *given: Any) -> Any:
    """What python3-bpfcc says."""
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("no system Python")
    done = subprocess.run([python, "-W", "ignore", "-c", script], input=json.dumps(given), text=True, capture_output=True,
                          env={"PATH": os.environ["PATH"]})
    if done.returncode == 3:
        pytest.skip("python3-bpfcc is not installed")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_as_bcc_names_random_addresses_of_a_process() -> None:
    """Of several names of one function each may choose its own; what it is in, and where, is the same."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        deadline = time.monotonic() + 10
        while b"libc" not in Path(f"/proc/{child.pid}/maps").read_bytes() and time.monotonic() < deadline:
            pass
        addresses: list[int] = []
        rng = random.Random(7)
        for line in Path(f"/proc/{child.pid}/maps").read_text().splitlines():
            words = line.split()
            if "x" in words[1] and words[-1].startswith("/"):
                start, end = (int(one, 16) for one in words[0].split("-"))
                addresses += [rng.randrange(start, end) for _ in range(200)]
        cache = SymbolCache(child.pid)
        theirs = ask_bcc(_ASK_BCC, child.pid, addresses)
        for address, (name, offset, module) in zip(addresses, theirs, strict=True):
            ours = cache.resolve(address, True)
            assert (ours[0] is None, ours[1], os.fsdecode(ours[2] or b"")) == (name is None, offset, module), hex(address)
            if name is not None and ours[0] != name.encode():
                assert cache.resolve_name(module, name) in (-1, address - offset)
    finally:
        child.kill()
        child.wait()
