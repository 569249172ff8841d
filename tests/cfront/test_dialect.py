"""BCC's dialect at work: tables of tables, pinned and shared tables, registers of other machines, USDT arguments, the
license, the kernel's configuration, and warnings, each on a kernel that runs it."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcc_py import BPF, CompileError, MapError, NotSupportedError
from bcc_py.elf import read_object
from bcc_py.kernel import Kernel
from bcc_py.linux.config import config
from bcc_py.spec import Sharing
from cfront import compile

# ---- tables of tables

OF_TABLES = """
BPF_ARRAY_OF_MAPS(outer, "one", 4);
BPF_HASH_OF_MAPS(by_key, u64, "one", 4);
BPF_ARRAY(one, u64, 8);
BPF_ARRAY(two, u64, 8);
int f(struct xdp_md *ctx) {
    int at = 1, slot = 3;
    void *inner = outer.lookup(&at);
    if (!inner) return 1;
    u64 *found = bpf_map_lookup_elem(inner, &slot);
    if (!found) return 2;
    *found += 5;
    u64 key = 77;
    inner = by_key.lookup(&key);
    return inner ? 3 : 4;
}
"""


@pytest.mark.linux
def test_table_of_tables_gives_the_table_that_python_put_there(linux: Kernel) -> None:
    with BPF(text=OF_TABLES, kernel=linux) as bpf:
        program = bpf.load_func("f", BPF.XDP).program
        assert program.test_run(bytes(64)).retval == 1
        bpf["outer"][1] = ctypes.c_int(bpf["two"].get_fd())
        assert program.test_run(bytes(64)).retval == 4
        bpf["by_key"][ctypes.c_ulonglong(77)] = ctypes.c_int(bpf["one"].get_fd())
        assert program.test_run(bytes(64)).retval == 3
        assert (bpf["two"][3].value, bpf["one"][3].value) == (10, 0)


def test_object_says_what_an_inner_table_is_like() -> None:
    inner = read_object(compile(OF_TABLES)).maps["outer"].inner
    assert inner is not None and (inner.type.name, inner.key_size, inner.value_size, inner.max_entries) == ("ARRAY", 4, 8, 8)


@pytest.mark.linux
def test_libbpf_makes_our_table_of_tables(linux: Kernel, bpffs: Path, tmp_path: Path) -> None:
    if shutil.which("bpftool") is None:
        pytest.skip("no bpftool")
    program = 'int f(struct xdp_md *ctx) __attribute__((section("xdp")));'
    kept = 'BPF_TABLE_PUBLIC("hash", u32, u32, kept, 4);'
    (tmp_path / "o.o").write_bytes(compile(program + kept + OF_TABLES, types=linux.types))
    loading = ["bpftool", "prog", "loadall", f"{tmp_path}/o.o", f"{bpffs}/all", "pinmaps", f"{bpffs}/maps"]
    made = subprocess.run(loading, capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    assert {one.name for one in (bpffs / "maps").iterdir()} == {"outer", "by_key", "one", "two", "kept"}


# ---- pinned tables


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system of the test's own."""
    place = tmp_path / "bpffs"
    place.mkdir()
    if subprocess.run(["mount", "-t", "bpf", "bpf", place], capture_output=True, check=False, timeout=60).returncode:
        raise NotSupportedError("mounting a BPF file system (run as root)", "bpffs")
    yield place
    subprocess.run(["umount", place], check=True, timeout=60)


@pytest.fixture
def place(kernel: Kernel, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A path where this kernel pins."""
    root = "/sys/fs/bpf/" + tmp_path.name if kernel.is_simulated else request.getfixturevalue("bpffs")
    return f"{root}/some/table"


def pinned(place: str, table: str = '"hash", u32, u64, t, 16') -> str:
    return f'BPF_TABLE_PINNED({table}, "{place}");\nint f(struct xdp_md *ctx) {{ t.increment(3, 2); return 0; }}'


def test_pinned_table_outlives_its_object(kernel: Kernel, place: str) -> None:
    with BPF(text=pinned(place), kernel=kernel) as bpf:
        bpf["t"][ctypes.c_uint(3)] = ctypes.c_ulonglong(40)
    with BPF(text=pinned(place), kernel=kernel) as first, BPF(text=pinned(place), kernel=kernel) as second:
        first.load_func("f", BPF.XDP).program.test_run(bytes(64))
        assert second["t"][ctypes.c_uint(3)].value == 42


@pytest.mark.parametrize(("table", "wrong"), [
    ('"hash", u32, u32, t, 16', "leaf bytes 8, the text says 4"), ('"hash", u64, u64, t, 16', "key bytes 4, the text says 8"),
    ('"hash", u32, u64, t, 17', "entries 16, the text says 17"), ('"percpu_hash", u32, u64, t, 16', "type 1, the text says 5"),
])
def test_pinned_table_must_agree(table: str, wrong: str, kernel: Kernel, place: str) -> None:
    BPF(text=pinned(place), kernel=kernel).close()
    with pytest.raises(MapError) as caught:
        BPF(text=pinned(place, table), kernel=kernel)
    assert str(caught.value) == f"opening map t pinned at {place}: {wrong} (unpin it or change the table)"


@pytest.mark.linux
def test_pins_directory_is_the_owners_alone(linux: Kernel, bpffs: Path) -> None:
    BPF(text=pinned(f"{bpffs}/deep/er/t"), kernel=linux).close()
    assert (bpffs / "deep").stat().st_mode & 0o777 == (bpffs / "deep/er").stat().st_mode & 0o777 == 0o700


@pytest.mark.linux
@pytest.mark.parametrize("path", ["{tmp}/new/er/t", "/proc/none/t", "{tmp}/file/t", "/" + "x" * 300])
def test_pin_that_cannot_be_made_is_said_and_leaves_nothing(path: str, linux: Kernel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(MapError, match=r"t pinned at|pinning map t at"):
        BPF(text=pinned(path.format(tmp=tmp_path)), kernel=linux)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the object's BTF stays with the kernel
    assert os.listdir(tmp_path) == ["file"]


# ---- tables of others

PUBLIC = 'BPF_TABLE_PUBLIC("array", int, int, shared_one, 10);'
EXTERN = 'BPF_TABLE("extern", int, int, shared_one, 10);\nint f(struct xdp_md *ctx) { shared_one.increment(2, 7); return 0; }'


def test_extern_table_is_the_public_one(kernel: Kernel) -> None:
    with BPF(text=PUBLIC, kernel=kernel) as owner:
        with BPF(text=EXTERN, kernel=kernel) as user:
            user["shared_one"][1] = ctypes.c_int(10)
            user.load_func("f", BPF.XDP).program.test_run(bytes(64))
            assert len(user["shared_one"]) == 10
        assert [owner["shared_one"][at].value for at in range(4)] == [0, 10, 7, 0]


def test_extern_table_outlives_the_public_one(kernel: Kernel) -> None:
    owner = BPF(text=PUBLIC, kernel=kernel)
    with BPF(text=EXTERN, kernel=kernel) as user:
        owner.close()
        user["shared_one"][1] = ctypes.c_int(10)
        assert user["shared_one"][1].value == 10


def test_extern_table_that_nobody_has(kernel: Kernel) -> None:
    with BPF(text='BPF_TABLE_PUBLIC("hash", int, int, another, 10);', kernel=kernel), pytest.raises(MapError) as caught:
        BPF(text=EXTERN, kernel=kernel)
    assert str(caught.value) == "reference to undefined table shared_one (public tables: another)"


def test_extern_table_must_agree(kernel: Kernel) -> None:
    with BPF(text=PUBLIC, kernel=kernel), pytest.raises(MapError) as caught:
        BPF(text='BPF_TABLE("extern", int, u64, shared_one, 10);', kernel=kernel)
    assert str(caught.value) == "opening public table shared_one: its leaf is of 4 bytes, the text says 8"


def test_extern_queue(kernel: Kernel) -> None:
    user = 'BPF_QUEUESTACK("extern", q, u64, 4, 0);\nint f(struct xdp_md *ctx) { u64 v = 0; q.pop(&v); q.push(&v, 0); return v; }'
    owner = 'BPF_QUEUESTACK_PUBLIC("queue", q, u64, 4, 0);\nint g(struct xdp_md *ctx) { u64 v = 9; q.push(&v, 0); return 0; }'
    with BPF(text=owner, kernel=kernel) as first, BPF(text=user, kernel=kernel) as second:
        first.load_func("g", BPF.XDP).program.test_run(bytes(64))
        assert second.load_func("f", BPF.XDP).program.test_run(bytes(64)).retval == 9


def test_what_an_object_says_of_its_tables() -> None:
    text = 'BPF_TABLE_SHARED("hash:/a/b", u32, u32, a, 4); BPF_TABLE_PUBLIC("hash", u32, u32, b, 4); BPF_TABLE("extern", u32, u32, c, 4);'
    maps = read_object(compile(text)).maps
    assert [(one.pin, one.sharing) for one in maps.values()] == [("/a/b", Sharing.PUBLIC), ("", Sharing.PUBLIC), ("", Sharing.EXTERN)]


# ---- increment


@pytest.mark.parametrize(("table", "after"), [
    ("BPF_HASH(t, u32)", [1, 6]), ("BPF_ARRAY(t, u64, 8)", [1, 6]), ("BPF_HISTOGRAM(t)", [1, 6]), ("BPF_HISTOGRAM(t, u32)", [1, 6]),
    ('BPF_TABLE("lru_hash", u32, u64, t, 8)', []), ("BPF_PERCPU_HASH(t, u32)", []),
])
@pytest.mark.parametrize("method", ["increment", "atomic_increment"])
def test_increment_makes_an_entry_in_a_plain_hash_only(table: str, after: list[int], method: str, kernel: Kernel) -> None:
    """As BCC has it; also with leaves that exist, which are added to whatever the table."""
    text = f"{table};\nint f(struct xdp_md *ctx) {{ t.{method}(3); t.{method}(5, 6); return 0; }}"
    with BPF(text=text, kernel=kernel) as bpf:
        program = bpf.load_func("f", BPF.XDP).program
        for times in (1, 2):
            program.test_run(bytes(64))
            found = {key.value: leaf for key, leaf in bpf["t"].items()}
            assert [found[one].value for one in (3, 5) if one in found] == [times * one for one in after]


# ---- registers of other machines

_REGS = "regs[{}]".format
MACHINES = {
    "x86": ("unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;",
            ["di", "si", "dx", "cx", "r8", "r9"], {"RC": "ax", "IP": "ip", "SP": "sp", "FP": "bp", "RET": "sp"}, "r10"),
    "arm64": ("union { struct { u64 a; } user_regs; struct { u64 regs[31]; u64 sp, pc, pstate; }; };",
              [_REGS(at) for at in range(6)], {"RC": "regs[0]", "IP": "pc", "SP": "sp", "FP": "regs[29]", "RET": "regs[30]"}, "regs[3]"),
    "riscv": ("unsigned long epc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7;",
              ["a0", "a1", "a2", "a3", "a4", "a5"], {"RC": "a0", "IP": "epc", "SP": "sp", "FP": "s0", "RET": "ra"}, "a3"),
    "powerpc": ("unsigned long gpr[32], nip, msr;", [f"gpr[{at}]" for at in range(3, 9)],
                {"RC": "gpr[3]", "IP": "nip", "SP": "gpr[1]"}, "gpr[6]"),
    "s390": ("unsigned long args[1]; struct { unsigned long mask, addr; } psw; unsigned long gprs[16];",
             [f"gprs[{at}]" for at in range(2, 7)], {"RC": "gprs[2]", "IP": "psw.addr", "SP": "gprs[15]", "RET": "gprs[14]"}, "gprs[5]"),
    "loongarch": ("unsigned long regs[32], orig_a0, csr_era;", [_REGS(at) for at in range(4, 10)],
                  {"RC": "regs[4]", "IP": "csr_era", "SP": "regs[3]", "FP": "regs[22]", "RET": "regs[1]"}, "regs[7]"),
    "mips": ("unsigned long pad0[8], regs[32], cp0_status, hi, lo, cp0_epc;", [_REGS(at) for at in range(4, 10)],
             {"RC": "regs[2]", "IP": "cp0_epc", "SP": "regs[29]", "FP": "regs[30]", "RET": "regs[31]"}, "regs[7]"),
}
WRAPPED = ("x86", "arm64", "riscv")


def insns(fields: str, body: str, name: str = "f", params: str = "") -> object:
    text = f"struct pt_regs {{ {fields} }};\nu64 {name}(struct pt_regs *ctx{params}) {{ return {body}; }}"
    return read_object(compile(text)).programs[name].insns


@pytest.mark.parametrize("machine", MACHINES)
def test_registers_are_those_of_the_machine_whose_struct_it_is(machine: str) -> None:
    fields, params, others, fourth = MACHINES[machine]
    for at, path in enumerate(params, 1):
        assert insns(fields, f"PT_REGS_PARM{at}(ctx)") == insns(fields, f"ctx->{path}")
    for name, path in others.items():
        assert insns(fields, f"PT_REGS_{name}(ctx)") == insns(fields, f"ctx->{path}")
    assert insns(fields, "PT_REGS_PARM4_SYSCALL(ctx)") == insns(fields, f"ctx->{fourth}")
    inner = f"((struct pt_regs *)ctx->{params[0]})" if machine in WRAPPED else "ctx"
    assert insns(fields, "PT_REGS_PARM2_SYSCALL(PT_REGS_SYSCALL_CTX(ctx))") == insns(fields, f"{inner}->{params[1]}")


@pytest.mark.parametrize("machine", MACHINES)
def test_parameters_are_bound_to_the_machines_registers(machine: str) -> None:
    fields, params, _, fourth = MACHINES[machine]
    assert insns(fields, "(int)b + c", params=", int a, int b, u64 c") == insns(fields, f"(int)ctx->{params[1]} + ctx->{params[2]}")
    inner = f"((struct pt_regs *)ctx->{params[0]})" if machine in WRAPPED else "ctx"
    assert insns(fields, "d", "syscall__f", ", int a, int b, int c, u64 d") == insns(fields, f"{inner}->{fourth}")


@pytest.mark.parametrize(("fields", "body", "sentence"), [
    (MACHINES["s390"][0], "PT_REGS_PARM6(ctx)", "this machine has no register for PT_REGS_PARM6"),
    ("int a;", "PT_REGS_IP(ctx)", "PT_REGS_IP needs a 'struct pt_regs', this is 'struct pt_regs'"),
])
def test_register_that_is_not_there(fields: str, body: str, sentence: str) -> None:
    with pytest.raises(CompileError) as caught:
        insns(fields, body)
    assert caught.value.diagnostics[0].message == sentence


# ---- USDT, packets


@pytest.mark.linux
def test_usdt_arguments_are_what_the_reader_gives(linux: Kernel) -> None:
    words = ctypes.create_string_buffer(b"from user space")
    text = f"""
    static inline int _bpf_readarg_f_1(void *ctx, void *dest, size_t len) {{
        if (len != sizeof(s32)) return -1; *(s32 *)dest = -7; return 0; }}
    static inline int _bpf_readarg_f_2(void *ctx, void *dest, size_t len) {{
        if (len != sizeof(u64)) return -1; *(u64 *)dest = {ctypes.addressof(words)}ull; return 0; }}
    int f(struct xdp_md *ctx) {{
        s32 one = 0; u16 wrong = 5; char two[16] = {{}};
        if (bpf_usdt_readarg(1, ctx, &one) || one != -7) return 1;
        if (bpf_usdt_readarg(1, ctx, &wrong) != -1 || wrong != 5) return 2;
        if (bpf_usdt_readarg_p(2, ctx, &two, sizeof(two))) return 3;
        return two[0] << 8 | two[14];
    }}"""
    with BPF(text=text, kernel=linux) as bpf:
        assert bpf.load_func("f", BPF.XDP).program.test_run(bytes(64)).retval == ord("f") << 8 | ord("e")


PACKET = bytes(range(1, 65))


@pytest.mark.linux
@pytest.mark.parametrize(("bit", "bits"), [(0, 8), (0, 4), (3, 5), (2, 3), (0, 16), (4, 12), (5, 7), (0, 32), (6, 20), (0, 64), (8, 48), (7, 41)])
def test_bits_of_a_packet_by_name(bit: int, bits: int, linux: Kernel) -> None:
    """bpf_dext_pkt and bpf_dins_pkt count bits from the first byte's most significant one."""
    offset, mask = 20, (1 << bits) - 1
    text = f"""
    BPF_ARRAY(out, u64, 1);
    int f(struct __sk_buff *skb) {{
        out.update(&(int){{0}}, &(u64){{bpf_dext_pkt(skb, {offset}, {bit}, {bits})}});
        bpf_dins_pkt(skb, {offset}, {bit}, {bits}, 0x5a5a5a5a5a5a5a5aull);
        return 0;
    }}"""
    with BPF(text=text, kernel=linux) as bpf:
        after = bpf.load_func("f", BPF.SCHED_CLS).program.test_run(PACKET).data
        got = bpf["out"][0].value
    shift = 64 - bit - bits
    before = int.from_bytes(PACKET[offset : offset + 8], "big")
    assert got == before >> shift & mask
    expected = before & ~(mask << shift) | (0x5A5A5A5A5A5A5A5A & mask) << shift
    assert after == PACKET[:offset] + expected.to_bytes(8, "big") + PACKET[offset + 8 :]


# ---- the license, the kernel's words


@pytest.mark.parametrize(("text", "words"), [
    ("", "GPL"), ("#define BPF_LICENSE GPL", "GPL"), ("#define BPF_LICENSE Dual BSD/GPL", "Dual BSD/GPL"),
    ("#define BPF_LICENSE Proprietary license, really", "Proprietary license, really"),
    ('char _license[] SEC("license") = "Dual MIT/GPL";', "Dual MIT/GPL"),
])
def test_license(text: str, words: str) -> None:
    spec = read_object(compile(f"int f(void *ctx) {{ return 0; }}\n{text}\n"))
    assert spec.license == spec.programs["f"].license == words


@pytest.mark.linux
def test_linux_refuses_a_gpl_helper_to_another_license(linux: Kernel) -> None:
    body = "int f(struct pt_regs *ctx) { return bpf_get_current_task(); }\n"
    with BPF(text=body + "#define BPF_LICENSE Dual BSD/GPL", kernel=linux) as bpf:
        assert bpf.load_func("f").fd > 0
    with BPF(text=body + "#define BPF_LICENSE Proprietary", kernel=linux) as bpf, pytest.raises(Exception, match="GPL"):
        bpf.load_func("f")


def test_number_of_cpus_is_the_kernels(kernel: Kernel) -> None:
    with BPF(text="int f(struct xdp_md *ctx) { return bpf_num_cpus(); }", kernel=kernel) as bpf:
        assert bpf.load_func("f", BPF.XDP).program.test_run(bytes(64)).retval == kernel.cpus


def test_configuration_and_version_are_the_kernels(kernel: Kernel) -> None:
    text = """
    #if !defined(CONFIG_NET_NS) || !IS_ENABLED(CONFIG_SMP) || IS_MODULE(CONFIG_SMP) || IS_ENABLED(CONFIG_NO_SUCH_THING)
    #error configuration
    #endif
    #if LINUX_VERSION_CODE < KERNEL_VERSION(5, 0, 0)
    #error version
    #endif
    int f(void *ctx) { return IS_BUILTIN(CONFIG_INET); }"""
    BPF(text=text, kernel=kernel).close()


@pytest.mark.linux
def test_configuration_has_numbers_strings_and_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, linux: Kernel) -> None:
    from bcc_py.linux import config as module

    (tmp_path / "config").write_text('CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_HZ=250\nCONFIG_V="x y"\n')
    module._told.cache_clear()
    monkeypatch.setattr(module, "_read", lambda path: (tmp_path / "config").read_text())
    names = ["CONFIG_A", "CONFIG_B", "CONFIG_B_MODULE", "CONFIG_C", "CONFIG_HZ", "CONFIG_V"]
    assert config(names, linux.types) == {"CONFIG_A": "1", "CONFIG_B_MODULE": "1", "CONFIG_HZ": "250", "CONFIG_V": '"x y"'}
    module._told.cache_clear()
    monkeypatch.setattr(module, "_read", lambda path: "")
    told = config(["CONFIG_CGROUPS", "CONFIG_SMP", "CONFIG_NONE"], linux.types)
    module._told.cache_clear()
    assert told.items() <= {"CONFIG_CGROUPS": "1", "CONFIG_SMP": "1"}.items() and "CONFIG_SMP" in told


# ---- warnings

DOUBTFUL = 'int f(struct pt_regs *ctx) { bpf_trace_printk("%d"); return 0; }'


def test_warnings_are_logged_and_kept(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    """Each time, although the second object comes from the cache."""
    for _ in range(2):
        caplog.clear()
        with BPF(text=DOUBTFUL, kernel=kernel) as bpf:
            (warning,) = bpf.warnings
        assert warning.startswith("<text>:1:47: warning: bpf_trace_printk: 1 conversion specifiers, 0 values [-Wformat]\n")
        assert [(one.name, one.levelno, one.getMessage()) for one in caplog.records] == [("bcc_py", logging.WARNING, warning)]
    caplog.clear()
    with BPF(text=DOUBTFUL, kernel=kernel, cflags=["-w"]) as bpf:
        assert not bpf.warnings and not caplog.records


def test_warnings_reach_stderr_once() -> None:
    script = f"from bcc_py import BPF\nBPF(text='''{DOUBTFUL}''').close()\n"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert (run.stdout, run.stderr.count("1 conversion specifiers, 0 values")) == ("", 1)
