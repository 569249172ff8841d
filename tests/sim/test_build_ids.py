"""Stacks of build ids: the records that Linux writes for the mappings of a process."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

import cfront
from bcc_py.elf import read_object
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import Loaded, load
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.memory import FilePart, UserMemory

_TEXT = """
struct record { s32 status; u8 build_id[20]; u64 offset; };
struct stack { struct record rows[8]; };
BPF_STACK_TRACE_BUILDID(stacks, 16);
BPF_STACK_TRACE_BUILDID(kernel_stacks, 16); /* of its own: two stacks may have the same id, and the second would stay */
BPF_ARRAY(plain, struct stack, 1);
BPF_ARRAY(ips, struct ips { u64 at[8]; }, 1);
BPF_ARRAY(said, s64, 8);
static void say(int at, s64 value) { s64 *place = said.lookup(&at); if (place) *place = value; }
SEC("tracepoint/syscalls/sys_enter_getppid") int run(void *ctx)
{
    int zero = 0;
    struct stack *to = plain.lookup(&zero);
    struct ips *addresses = ips.lookup(&zero);
    if (!to || !addresses || bpf_get_current_pid_tgid() >> 32 != WANTED) return 0;
    say(0, bpf_get_stack(ctx, to, sizeof(*to), 1 << 8 | 1 << 11));
    say(1, bpf_get_stack(ctx, addresses, sizeof(*addresses), 1 << 8));
    say(2, bpf_get_stackid(ctx, &stacks, 1 << 8 | 1 << 10));
    say(3, bpf_get_stackid(ctx, &kernel_stacks, 1 << 10));
    say(4, bpf_get_stackid(ctx, &stacks, 1 << 8 | 1 << 11));
    say(5, bpf_get_stack(ctx, to, 31, 1 << 8 | 1 << 11));
    bpf_get_stack(ctx, to, sizeof(*to), 1 << 8 | 1 << 11);
    return 0;
}
char _license[] SEC("license") = "GPL";
"""
_VALID, _IP = 1, 2
_Row = tuple[int, bytes, int]


def _rows(content: bytes | None) -> list[_Row]:
    """(status, build id, offset or address) of each record that is not empty."""
    found: list[_Row] = [(status, id, at) for status, id, at in struct.iter_unpack("<i20sQ", content or b"")]
    return [one for one in found if one[0]]


def _loaded(kernel: Kernel, pid: int) -> Loaded:
    loaded = load(read_object(cfront.compile(_TEXT.replace("WANTED", str(pid)), filename="t.c", types=native.kernel_types())), kernel)
    program = loaded.programs["run"]
    assert program.spec.hook is not None
    kernel.attach(program, program.spec.hook)
    return loaded


def _got(loaded: Loaded) -> tuple[list[int], list[_Row], list[int], list[_Row], list[_Row]]:
    """What the program said; records of get_stack; its addresses; records under both ids, the user's and the kernel's."""
    zero = bytes(4)
    said = [int.from_bytes(loaded.maps["said"].lookup(struct.pack("<I", at)) or b"", "little", signed=True) for at in range(6)]
    ips = [one for (one,) in struct.iter_unpack("<Q", loaded.maps["ips"].lookup(zero) or b"") if one]
    user, kernel = (_rows(loaded.maps[name].lookup(struct.pack("<I", id)))
                    for name, id in zip(("stacks", "kernel_stacks"), said[2:4], strict=True))
    return said, _rows(loaded.maps["plain"].lookup(zero)), ips, user, kernel


def test_addresses_become_places_in_files(kernel: SimKernel) -> None:
    task = kernel.tasks.spawn(700, "zsh", parent=kernel.tasks.init)
    task.memory = UserMemory(kernel.runtime)
    task.memory.map_file(FilePart(0x7000_0000, 0x7001_0000, 0x2000, bytes(range(1, 21)), "/lib/libc.so.6"))
    task.memory.map_file(FilePart(0x40_0000, 0x40_1000, 0, b"\x07" * 8, "/bin/zsh"))
    task.memory.map_file(FilePart(0x41_0000, 0x41_1000, 0, b"", "/bin/stripped"))
    with pytest.raises(ValueError, match=r"/lib/libc\.so\.6 is mapped there"):
        task.memory.map_file(FilePart(0x7000_F000, 0x7002_0000, 0, b"", "/lib/other"))
    with pytest.raises(ValueError, match="a build id of 21 bytes"):
        task.memory.map_file(FilePart(0x1000, 0x2000, 0, bytes(21), "/lib/other"))
    found = task.memory.file_at(0x40_0FFF)
    assert found is not None and found.path == "/bin/zsh" and task.memory.file_at(0x40_1000) is None
    loaded = _loaded(kernel, 700)
    kernel.set_context(0, 5, task)
    kernel.set_stack([0xFFFFFFFF81000000], [0x7000_0123, 0x40_0FFF, 0x40_1000, 0x41_0010])
    kernel.syscall_enter(110, (0, 0, 0, 0, 0, 0))
    wanted = [(_VALID, bytes(range(1, 21)), 0x2123), (_VALID, b"\x07" * 8 + bytes(12), 0xFFF), (_IP, bytes(20), 0x40_1000),
              (_IP, bytes(20), 0x41_0010)]
    said, plain, _, user, own = _got(loaded)
    assert plain == user == wanted and own == [(_IP, bytes(20), 0xFFFFFFFF81000000)]
    assert said[0] == 128 and said[4:] == [-22, -22]


def _parts(path: str) -> list[FilePart]:
    """This process's mappings of path, with the build id in its notes."""
    content = Path(path).read_bytes()
    at = content.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
    parts = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5] == path:
            start, end = (int(one, 16) for one in words[0].split("-"))
            parts.append(FilePart(start, end, int(words[2], 16), content[at : at + 20], path))
    return parts


@pytest.mark.linux
def test_linux_writes_the_same_records(kernel: SimKernel) -> None:
    """For the stack that Linux saw, and the mappings that this process has where it was innermost."""
    linux = LinuxKernel()
    try:
        loaded = _loaded(linux, os.getpid())
        os.getppid()
        said, plain, ips, user, _ = _got(loaded)
    finally:
        linux.close()
    assert plain and ips
    path = next(line.split(None, 5)[5] for line in Path("/proc/self/maps").read_text().splitlines()
                if int(line.split("-")[0], 16) <= ips[0] < int(line.split("-")[1].split()[0], 16))
    task = kernel.tasks.spawn(os.getpid(), "python", parent=kernel.tasks.init)
    task.memory = UserMemory(kernel.runtime)
    for part in _parts(path):
        task.memory.map_file(part)
    again = _loaded(kernel, os.getpid())
    kernel.set_context(0, 5, task)
    kernel.set_stack([0xFFFFFFFF81000000], ips)
    kernel.syscall_enter(110, (0, 0, 0, 0, 0, 0))
    mine = _got(again)
    known = [at for at, ip in enumerate(ips) if task.memory.file_at(ip)]
    assert known and [mine[1][at] for at in known] == [plain[at] for at in known]
    assert [mine[3][at] for at in known] == [user[at] for at in known] and mine[0][2] == said[2] and mine[0][4:] == said[4:]
