"""Uprobes, and with them the call that opens kprobes too: both take the same attribute (a name, an offset, a bit for the
return), and kernels without kprobes still have uprobes. The probed library is this test's own copy."""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bcc_py.errors import AttachError, NotSupportedError
from bcc_py.linux import attach, sys
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.spec import Hook, HookKind
from cfront.uapi import ProgType
from tests.linux.conftest import END, ONLY_ME, hash_spec, open_descriptors, program

PMU = Path("/sys/bus/event_source/devices/uprobe")
COUNT = ONLY_ME + """
    *(u32 *)(r10 -4) = 7
    r2 = r10
    r2 += -4
    r1 = $counts
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
""" + END


def file_offset(library: Path, symbol: str) -> int:
    with library.open("rb") as file:
        elf = ELFFile(file)
        (found,) = elf.get_section_by_name(".dynsym").get_symbol_by_name(symbol)
        address = int(found["st_value"])
        return next(address - one["p_vaddr"] + one["p_offset"] for one in elf.iter_segments("PT_LOAD")
                    if one["p_vaddr"] <= address < one["p_vaddr"] + one["p_memsz"])


@pytest.mark.linux
@pytest.mark.parametrize("is_return", [False, True])
def test_probe_event_runs_its_program_at_entry_and_return(kernel: LinuxKernel, tmp_path: Path, is_return: bool) -> None:
    source = next((one for one in Path("/lib").glob("*-linux-gnu*/libm.so.6")), None)
    if not PMU.exists() or source is None:
        pytest.skip(str(NotSupportedError("probing: no uprobe PMU or no libm here", "uprobe")))
    library = tmp_path / "libcopy.so"
    shutil.copy(source, library)
    counts = kernel.create_map(hash_spec())
    counts.update((7).to_bytes(4, "little"), bytes(8))
    made = kernel.load_program(program(COUNT, ProgType.KPROBE, maps={"counts": counts.fd}))
    hook = Hook(HookKind.URETPROBE if is_return else HookKind.UPROBE, str(library), file_offset(library, "lrint"))
    link = kernel.attach(made, hook)
    function = ctypes.CDLL(str(library)).lrint
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_long
    for _ in range(25):
        assert function(2.6) == 3
    link.close()
    function(2.6)
    assert counts.lookup((7).to_bytes(4, "little")) == (25).to_bytes(8, "little")


@pytest.mark.linux
def test_a_probe_that_is_refused_leaves_no_descriptor(kernel: LinuxKernel) -> None:
    if not PMU.exists():
        pytest.skip(str(NotSupportedError("probing: no uprobe PMU here", "uprobe")))
    before = open_descriptors()
    with pytest.raises(AttachError, match="attaching to x"):
        sys.probe_event_open(int((PMU / "type").read_text()), 0, b"/no/such/library", 0, -1, "x")
    made = kernel.load_program(program("r0 = 0\nexit", ProgType.RAW_TRACEPOINT))
    with pytest.raises(AttachError):
        directory = attach.tracepoint_directory("syscalls", "sys_enter_getppid")
        assert directory is not None
        hook = Hook(HookKind.TRACEPOINT, "syscalls:sys_enter_getppid")
        attach._event_with_program(attach._open_tracepoint(directory, hook), made.fd, hook)
    made.close()
    assert open_descriptors() == before
