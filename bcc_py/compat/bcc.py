"""The module bcc: the names that scripts import from it, and the class BPF as they know it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from typing import Any

from bcc_py import bpf as _bpf
from bcc_py.asking import current_kernel
from bcc_py.attaching import PROBE_LIMIT as _default_probe_limit
from bcc_py.attaching import Function as _Function
from bcc_py.attaching import open_probes as _get_num_open_probes
from bcc_py.attaching import probe_limit
from bcc_py.compat import disassembler, libbcc, perf, syscall, table, tcp, utils, version
from bcc_py.compat.libbcc import bcc_stacktrace_build_id, bcc_symbol, bcc_symbol_option, lib
from bcc_py.compat.perf import Perf
from bcc_py.compat.table import Table
from bcc_py.compat.utils import ArgString, StrcmpRewrite, get_online_cpus, printb
from bcc_py.compat.virtual import current_deadline
from bcc_py.errors import VerifierError
from bcc_py.kernel import Program, Ring, TraceLine
from bcc_py.listing import decode_map, disassemble_prog
from bcc_py.spec import ProgramSpec
from bcc_py.symbols import SymbolCache
from bcc_py.table import PerfEventArray, RingBuf
from bcc_py.usdt import USDT, USDTException
from cfront.uapi import AttachType, ProgType

__all__ = [
    "BPF", "DEBUGFS", "DEBUG_BPF", "DEBUG_BPF_REGISTER_STATE", "DEBUG_BTF", "DEBUG_LLVM_IR", "DEBUG_PREPROCESSOR", "DEBUG_SOURCE",
    "TRACEFS", "USDT", "ArgString", "BPFAttachType", "BPFProgType", "Perf", "PerfEventArray", "PerfEventSampleFormat", "PerfHWConfig",
    "PerfSWConfig", "PerfType", "RingBuf", "StrcmpRewrite", "SymbolCache", "Table", "USDTException", "XDPAction", "XDPFlags", "__version__",
    "_default_probe_limit", "_get_num_open_probes", "bcc_stacktrace_build_id", "bcc_symbol", "bcc_symbol_option", "decode_map",
    "disassemble_prog", "disassembler", "get_online_cpus", "lib", "libbcc", "perf", "printb", "syscall", "table", "tcp", "utils",
]

__version__ = version.__version__

DEBUG_LLVM_IR, DEBUG_BPF, DEBUG_PREPROCESSOR, DEBUG_SOURCE, DEBUG_BPF_REGISTER_STATE, DEBUG_BTF = (1 << bit for bit in range(6))
DEBUGFS = "/sys/kernel/debug"
TRACEFS = next((one for one in ("/sys/kernel/tracing", f"{DEBUGFS}/tracing") if os.path.exists(f"{one}/events")), "/sys/kernel/tracing")


def _constants(name: str, values: dict[str, int]) -> Any:
    """A class whose attributes are numbers of the kernel."""
    return type(name, (), values)


# enum perf_type_id, perf_hw_id, perf_sw_ids, perf_event_sample_format of include/uapi/linux/perf_event.h
PerfType = _constants("PerfType", {name: at for at, name in enumerate(["HARDWARE", "SOFTWARE", "TRACEPOINT", "HW_CACHE", "RAW", "BREAKPOINT"])})
PerfHWConfig = _constants("PerfHWConfig", {name: at for at, name in enumerate(
    ["CPU_CYCLES", "INSTRUCTIONS", "CACHE_REFERENCES", "CACHE_MISSES", "BRANCH_INSTRUCTIONS", "BRANCH_MISSES", "BUS_CYCLES", "STALLED_CYCLES_FRONTEND", "STALLED_CYCLES_BACKEND", "REF_CPU_CYCLES"])})
PerfSWConfig = _constants("PerfSWConfig", {name: at for at, name in enumerate(
    ["CPU_CLOCK", "TASK_CLOCK", "PAGE_FAULTS", "CONTEXT_SWITCHES", "CPU_MIGRATIONS", "PAGE_FAULTS_MIN", "PAGE_FAULTS_MAJ", "ALIGNMENT_FAULTS", "EMULATION_FAULTS", "DUMMY", "BPF_OUTPUT", "CGROUP_SWITCHES"])})
PerfEventSampleFormat = _constants("PerfEventSampleFormat", {name: 1 << at for at, name in enumerate(
    ["IP", "TID", "TIME", "ADDR", "READ", "CALLCHAIN", "ID", "CPU", "PERIOD", "STREAM_ID", "RAW", "BRANCH_STACK", "REGS_USER", "STACK_USER", "WEIGHT", "DATA_SRC", "IDENTIFIER", "TRANSACTION", "REGS_INTR", "PHYS_ADDR", "AUX", "CGROUP", "DATA_PAGE_SIZE", "CODE_PAGE_SIZE", "WEIGHT_STRUCT"])})
BPFProgType = _constants("BPFProgType", {one.name: int(one) for one in ProgType if one})
BPFAttachType = _constants("BPFAttachType", {one.name: int(one) for one in AttachType if one >= 0})
XDPAction = _constants("XDPAction", {f"XDP_{name}": at for at, name in enumerate(["ABORTED", "DROP", "PASS", "TX", "REDIRECT"])})
XDPFlags = _constants("XDPFlags", {name: 1 << at for at, name in enumerate(["UPDATE_IF_NOEXIST", "SKB_MODE", "DRV_MODE", "HW_MODE", "REPLACE"])})


class _NamedInBytes(_Function):
    """A loaded program whose name is bytes."""

    def __init__(self, bpf: BPF, name: str, program: Program) -> None:
        super().__init__(bpf, name, program)
        self.name = os.fsencode(name)


class _Module:
    """What BPF.module is: for lib.bpf_table_fd."""

    def __init__(self, bpf: BPF) -> None:
        self.bpf = bpf


class BPF(_bpf.BPF):
    """bcc_py.BPF as BCC's scripts know it: every object is on the process's one kernel (current_kernel), programs' names are
    bytes, and the log of a program that is refused goes to stderr."""

    Function = _NamedInBytes
    _cpus = ("v1", "v3")  # BCC compiles for v1, and scripts look at the code
    Table = staticmethod(Table)
    str2ctype = {
        "_Bool": ctypes.c_bool, "char": ctypes.c_char, "wchar_t": ctypes.c_wchar, "unsigned char": ctypes.c_ubyte,
        "short": ctypes.c_short, "unsigned short": ctypes.c_ushort, "int": ctypes.c_int, "unsigned int": ctypes.c_uint,
        "long": ctypes.c_long, "unsigned long": ctypes.c_ulong, "long long": ctypes.c_longlong,
        "unsigned long long": ctypes.c_ulonglong, "float": ctypes.c_float, "double": ctypes.c_double,
        "long double": ctypes.c_longdouble, "__int128": ctypes.c_int64 * 2, "unsigned __int128": ctypes.c_uint64 * 2,
    }
    _auto_includes = {"linux/time.h": ["time"], "linux/fs.h": ["fs", "file"], "linux/blkdev.h": ["bio", "request"],
                      "linux/slab.h": ["alloc"], "linux/netdevice.h": ["sk_buff", "net_device"]}
    _syscall_prefixes = [b"sys_", b"__x64_sys_", b"__x32_compat_sys_", b"__ia32_compat_sys_", b"__arm64_sys_", b"__s390x_sys_",
                         b"__s390_sys_", b"__riscv_sys_"]

    def __init__(
        self, src_file: str | bytes = b"", hdr_file: str | bytes = b"", text: str | bytes | None = None, debug: int = 0,
        cflags: Sequence[str | bytes] = (), usdt_contexts: Sequence[USDT] = (), allow_rlimit: bool = True,
        device: str | bytes | None = None, attach_usdt_ignore_pid: bool = False,
    ) -> None:
        self.module = _Module(self)
        super().__init__(
            src_file, hdr_file, text, debug, cflags, usdt_contexts, allow_rlimit, device, attach_usdt_ignore_pid,
            kernel=current_kernel())

    def _function(self, name: str, program: Program) -> _Function:
        return _NamedInBytes(self, name, program)

    def _load_program(self, spec: ProgramSpec) -> Program:
        try:
            return super()._load_program(spec)
        except VerifierError as error:
            sys.stderr.write(error.log)
            sys.stderr.flush()
            raise

    def _warn(self, words: str) -> None:
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()

    def _poll(self, rings: Sequence[Ring], timeout: int) -> int:
        deadline = current_deadline()
        if deadline is None:
            return super()._poll(rings, timeout)
        count = super()._poll(rings, deadline.left_ms(timeout))
        deadline.check()
        return count

    def trace_line(self, timeout_ms: int = -1) -> TraceLine | None:
        deadline = current_deadline()
        if deadline is None:
            return super().trace_line(timeout_ms)
        line = super().trace_line(deadline.left_ms(timeout_ms))
        if line is None:
            deadline.check()
        return line

    def disassemble_func(self, func_name: str | bytes) -> str:
        """The instructions of a function, under a line with its name."""
        return disassemble_prog(os.fsencode(func_name), self.dump_func(func_name))

    # -- what has nothing to do with an object

    @staticmethod
    def monotonic_time() -> int:
        """CLOCK_MONOTONIC, ns: of the kernel that the process's objects are on."""
        return current_kernel().now_ns()

    @staticmethod
    def add_prefix(prefix: bytes, name: bytes) -> bytes:
        """name with the prefix in front, unless it begins with it."""
        return name if name.startswith(prefix) else prefix + name

    @staticmethod
    def get_probe_limit() -> int:
        """How many probes a process may have open."""
        return probe_limit()

    @staticmethod
    def generate_auto_includes(program_words: Sequence[str]) -> str:
        """#include lines for the headers that words of a program hint at."""
        headers = {header for header, words in BPF._auto_includes.items() if set(words) & set(program_words)}
        return "".join(f"#include <{one}>\n" for one in sorted(headers))

    @staticmethod
    def free_bcc_memory() -> int:
        """BCC gives its compiler's memory back; ours holds none. 0."""
        return 0

    @staticmethod
    def donothing(cpu: int, data: Any, size: int) -> None:
        """A callback that wants nothing."""
