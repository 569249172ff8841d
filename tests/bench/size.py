"""python -m tests.bench.size [NAME...]: how many instructions our compiler makes of 30 programs, and clang of the same.

The texts in texts/size are plain C for tracing and packets; the two preludes below give them maps and helpers, libbpf's
way for clang-19 -O2 -target bpf -mcpu=v3 and BCC's for ours. A row is a text: 8-byte slots of code of both and their
ratio; behind them the median and the largest ratio. Needs clang-19; without it only our own column is printed."""

from __future__ import annotations

import io
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

import cfront

TEXTS = Path(__file__).parent / "texts" / "size"
CLANG = "clang-19"
_EXECUTABLE = 4  # SHF_EXECINSTR

_BOTH = """
struct regs { u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss; };
"""
_OURS = """
struct bpf_stacktrace { u64 ip[127]; };
#define BPF_TABLE_ARRAY(name, leaf, size) BPF_ARRAY(name, leaf, size)
#define BPF_TABLE_PERCPU(name, leaf, size) BPF_PERCPU_ARRAY(name, leaf, size)
#define BPF_EVENTS(name) BPF_PERF_OUTPUT(name)
#define BPF_RING(name, bytes) BPF_RINGBUF_OUTPUT(name, (bytes) / 4096)
#define BPF_STACKS(name) BPF_STACK_TRACE(name, 1024)
"""
_CLANGS = """
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64;
enum { BPF_ANY, BPF_NOEXIST, BPF_EXIST };
#define BPF_F_CURRENT_CPU 0xffffffffULL
#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define BPF_MAP(name, kind, k, v, n) \\
    struct { int (*type)[kind]; k *key; v *value; int (*max_entries)[n]; } name __attribute__((section(".maps"), used))
#define BPF_HASH(name, k, v, n) BPF_MAP(name, 1, k, v, n)
#define BPF_TABLE_ARRAY(name, v, n) BPF_MAP(name, 2, u32, v, n)
#define BPF_TABLE_PERCPU(name, v, n) BPF_MAP(name, 6, u32, v, n)
#define BPF_EVENTS(name) BPF_MAP(name, 4, u32, u32, 128)
#define BPF_STACKS(name) BPF_MAP(name, 7, u32, u64, 1024)
#define BPF_RING(name, bytes) BPF_MAP(name, 27, u32, u32, bytes)
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_uid_gid)(void) = (void *)15;
static long (*bpf_get_current_comm)(void *buf, u32 size) = (void *)16;
static long (*bpf_perf_event_output)(void *ctx, void *map, u64 flags, void *data, u64 size) = (void *)25;
static long (*bpf_get_stackid)(void *ctx, void *map, u64 flags) = (void *)27;
static long (*bpf_probe_read_kernel)(void *dst, u32 size, const void *src) = (void *)113;
static long (*bpf_probe_read_user_str)(void *dst, u32 size, const void *src) = (void *)114;
static void *(*bpf_ringbuf_reserve)(void *map, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
"""


def _slots(object_file: bytes) -> int:
    """The instructions of all code sections, in slots of eight bytes."""
    sections = ELFFile(io.BytesIO(object_file)).iter_sections()
    return sum(int(one["sh_size"]) // 8 for one in sections if one["sh_flags"] & _EXECUTABLE)


def ours(text: str) -> bytes:
    """Our object of one of the texts."""
    return cfront.compile(_BOTH + _OURS + text)


def clangs(text: str, folder: Path) -> bytes:
    """clang's."""
    source, made = folder / "size.c", folder / "size.o"
    source.write_text(_CLANGS + _BOTH + text)
    subprocess.run([CLANG, "-w", "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-c", source, "-o", made], check=True)
    return made.read_bytes()


def main(names: list[str]) -> None:
    has_clang = shutil.which(CLANG) is not None
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(TEXTS.glob("*.c")):
            if names and path.stem not in names:
                continue
            text = path.read_text()
            count = _slots(ours(text))
            if not has_clang:
                print(f"{path.stem:20} {count:5}")
                continue
            theirs = _slots(clangs(text, Path(folder)))
            ratios[path.stem] = count / theirs
            print(f"{path.stem:20} {count:5} {theirs:5} {ratios[path.stem]:6.3f}")
    if ratios:
        worst = max(ratios, key=lambda name: ratios[name])
        print(f"median {statistics.median(ratios.values()):.3f}, worst {ratios[worst]:.3f} ({worst})")
    else:
        print(f"{CLANG} is not installed: it is what the sizes are compared with")


if __name__ == "__main__":
    main(sys.argv[1:])
