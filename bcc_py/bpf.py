"""class BPF: BCC's public surface over one object on one kernel, and the words that name a kernel.

BPF compiles its text against the kernel's types, loads maps at once and programs when they are needed,
attaches the functions whose names ask for it, and hands out tables. This file alone names the simulated
and the real kernel, and alone calls the compiler for a user. It is thin: what it does is in kernel.py's
implementations, load.py, table.py and cfront."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cfront
from bcc_py.asking import DEFAULT_KERNEL, default_spec, set_kernel_opener
from bcc_py.attaching import BY_TYPES, PREFIXES, Function, as_text, program_kind
from bcc_py.cache import cached
from bcc_py.elf import read_object
from bcc_py.errors import CompileError, LoadError
from bcc_py.isa import Insn, disassemble, encode
from bcc_py.kernel import Kernel, Link, Map, Program, Ring, TraceLine
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.listing import decode_map
from bcc_py.load import load_maps, relocate
from bcc_py.spec import Hook, HookKind, ObjectSpec, ProgramSpec
from bcc_py.table import MapView, PerfEventArray, RingBuf, UserRingBuf, table_for
from bcc_py.usdt import USDT, usdt_text
from bcc_py.user_space import UserSpace
from cfront.btf import Btf
from cfront.ctype import CType
from cfront.uapi import AttachType, ProgType, version_code

__all__ = ["BPF", "DEFAULT_KERNEL", "Function", "kernel_from_spec"]

_ATTACHED_LATER = frozenset(("bpf_iter__",))  # names that only say what to load a function as


def kernel_from_spec(spec: str) -> Kernel:
    """The kernel that spec names: "sim" or "sim:WORKLOAD,...", "replay:FILE", "linux". The simulator, which brings
    the verifier and the JIT, is imported when it is first asked for.

    Raises ValueError for other words, NotSupportedError where the kernel is not to be had here, ObjectError for
    a recording that cannot be opened or read."""
    kind, _, rest = spec.partition(":")
    kernel: Kernel
    if spec == "linux":
        kernel = LinuxKernel()
    elif kind == "replay" and rest:
        kernel = importlib.import_module("bcc_py.sim.replay.source").replay_kernel(rest)
    elif kind.partition(",")[0] == "sim":
        kernel = importlib.import_module("bcc_py.sim.world").sim_kernel_from_spec(spec)
    else:
        raise ValueError(f"no kernel is called {spec!r} (write sim, sim:shell, replay:FILE or linux)")
    return kernel


def _found_file(name: str) -> str:
    """A source file as named from the current directory, else from the script's."""
    beside = Path(sys.argv[0]).resolve().parent / name
    found = next((one for one in (Path(name), beside) if one.is_file()), None)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "no such file here or beside the script", name)
    return str(found)


set_kernel_opener(kernel_from_spec)


class BPF(UserSpace):
    """One compiled text, live on a kernel.

    text or src_file: C in BCC's dialect. cflags: -D, -U, -I and -w. kernel: a spec ("sim", "replay:FILE",
    "linux"), or a Kernel, which then stays open when this closes; by default $BCC_PY_KERNEL, else "sim". hdr_file, debug,
    allow_rlimit and device are accepted for BCC's sake and do nothing. Functions named kprobe__F,
    kretprobe__F, tracepoint__CAT__EVENT (TRACEPOINT_PROBE), raw_tracepoint__EVENT, kfunc__MODULE__F and kretfunc__MODULE__F
    (KFUNC_PROBE, KRETFUNC_PROBE), kmod_ret__F and lsm__HOOK are attached at once, in alphabetical order.

    warnings: what the compiler found doubtful in the text, as texts; they also go to the logger "bcc_py", which
    prints them to stderr unless logging is configured otherwise. The flag -w asks for none.

    Raises CompileError, VerifierError, LoadError, AttachError, MapError, NotSupportedError, ValueError."""

    SOCKET_FILTER = ProgType.SOCKET_FILTER
    KPROBE = ProgType.KPROBE
    SCHED_CLS = ProgType.SCHED_CLS
    SCHED_ACT = ProgType.SCHED_ACT
    TRACEPOINT = ProgType.TRACEPOINT
    XDP = ProgType.XDP
    PERF_EVENT = ProgType.PERF_EVENT
    CGROUP_SKB = ProgType.CGROUP_SKB
    CGROUP_SOCK = ProgType.CGROUP_SOCK
    LWT_IN = ProgType.LWT_IN
    LWT_OUT = ProgType.LWT_OUT
    LWT_XMIT = ProgType.LWT_XMIT
    SOCK_OPS = ProgType.SOCK_OPS
    SK_SKB = ProgType.SK_SKB
    CGROUP_DEVICE = ProgType.CGROUP_DEVICE
    SK_MSG = ProgType.SK_MSG
    RAW_TRACEPOINT = ProgType.RAW_TRACEPOINT
    CGROUP_SOCK_ADDR = ProgType.CGROUP_SOCK_ADDR
    CGROUP_SOCKOPT = ProgType.CGROUP_SOCKOPT
    TRACING = ProgType.TRACING
    LSM = ProgType.LSM
    # enum xdp_action, and how attach_xdp attaches
    XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)
    XDP_FLAGS_UPDATE_IF_NOEXIST, XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_REPLACE = (
        1 << bit for bit in range(5))
    CLOCK_MONOTONIC = time.CLOCK_MONOTONIC
    _cpus: tuple[str, ...] = ("v3",)  # BPF instruction sets to compile for, the first that does

    def __init__(
        self, src_file: str | bytes = "", hdr_file: str | bytes = "", text: str | bytes | None = None, debug: int = 0,
        cflags: Sequence[str | bytes] = (), usdt_contexts: Sequence[USDT] = (), allow_rlimit: bool = True,
        device: str | bytes | None = None, attach_usdt_ignore_pid: bool = False, *, kernel: Kernel | str | None = None,
    ) -> None:
        if bool(src_file) == (text is not None):
            raise ValueError("BPF() takes either text or src_file")
        self.debug = debug
        filename = _found_file(as_text(src_file)) if src_file else "<text>"
        content = Path(filename).read_text(errors="surrogateescape") if src_file else as_text(text or "")
        self._owns_kernel = kernel is None or isinstance(kernel, str)
        self.kernel = self._open_kernel(kernel)
        self.warnings: tuple[str, ...] = ()
        self.tables: dict[str, MapView] = {}
        self._buffers: list[PerfEventArray | RingBuf | UserRingBuf] = []  # all that were handed out
        self.funcs: dict[str, Function] = {}
        self._maps: dict[str, Map] = {}
        self._links: dict[tuple[Hook, str], Link] = {}
        self._is_closed = False
        try:
            self._spec: ObjectSpec = self._compile(content, filename, [as_text(one) for one in cflags], usdt_text(usdt_contexts))
            self._btf = Btf(self._spec.btf) if self._spec.btf else None
            self._maps = load_maps(self._spec, self.kernel)
            for one in usdt_contexts:
                one.attach_uprobes(self, attach_usdt_ignore_pid)
            self._autoload()
        except BaseException:  # an interrupt too must leave nothing attached
            self.close()
            raise

    @staticmethod
    def _open_kernel(kernel: Kernel | str | None) -> Kernel:
        if kernel is None:
            kernel = default_spec()
        return kernel_from_spec(kernel) if isinstance(kernel, str) else kernel

    def _compile(self, text: str, filename: str, cflags: list[str], before: str) -> ObjectSpec:
        """The object of text, from the cache if the same text met the same kernel before. before: C in front of it."""
        defines = self._defines(" ".join((text, *cflags)))
        parts = (before, text, filename, *cflags, *self._cpus, self.kernel.types_key, *(f"{name}={value}" for name, value in defines.items()))

        def build() -> bytes:
            made = self._compiled(text, filename, cflags, defines, before)
            said = "\0".join(str(one) for one in made.warnings).encode("utf-8", "surrogateescape")
            return len(said).to_bytes(4, "little") + said + made.object

        reads_files = any(one.startswith("-I") for one in cflags) or '#include "' in text
        content = build() if reads_files else cached("unit", parts, build)
        end = 4 + int.from_bytes(content[:4], "little")
        self.warnings = tuple(content[4:end].decode("utf-8", "surrogateescape").split("\0")) if end > 4 else ()
        for one in self.warnings:
            self._warn(one)
        return read_object(content[end:])

    def _compiled(self, text: str, filename: str, cflags: list[str], defines: dict[str, str], before: str) -> cfront.Compiled:
        """The object for the first of _cpus that can run it, else what the last one lacks."""
        for cpu in self._cpus[:-1]:
            with contextlib.suppress(CompileError):
                return cfront.compile_unit(
                    text, filename=filename, cflags=cflags, types=self.kernel.types, defines=defines, headers={"<usdt>": before}, cpu=cpu)
        return cfront.compile_unit(
            text, filename=filename, cflags=cflags, types=self.kernel.types, defines=defines, headers={"<usdt>": before},
            cpu=self._cpus[-1])

    def _warn(self, words: str) -> None:
        importlib.import_module("logging").getLogger("bcc_py").warning("%s", words)

    def _defines(self, words: str) -> dict[str, str]:
        """The macros that this kernel answers for, of those that are named in words."""
        defines = {"LINUX_VERSION_CODE": str(version_code(self.kernel.release))}
        if "bpf_num_cpus" in words:
            defines["bpf_num_cpus()"] = str(self.kernel.cpus)
        if "CONFIG_" in words:
            named = sorted(set(re.findall(r"\bCONFIG_\w+", words)))
            defines |= self.kernel.config([*named, *(f"{one}_MODULE" for one in named)])
        return defines

    # -- programs

    def load_func(
        self, func_name: str | bytes, prog_type: int = ProgType.KPROBE, device: str | bytes | None = None, attach_type: int = -1
    ) -> Function:
        """Loads a function of the text as a program of this type, once. attach_type: BPFAttachType, for types that must know
        when loaded what they will be attached as. The function's section, or a name that asks for a hook by types
        (kfunc__ and so on), goes before both. Raises LoadError if there is no such function."""
        name = as_text(func_name)
        known = self.funcs.get(name)
        if known is None:
            program = self._load_program(relocate(self._typed(name, prog_type, attach_type), self._maps))
            known = self.funcs[name] = self._function(name, program)
        return known

    def _load_program(self, spec: ProgramSpec) -> Program:
        return self.kernel.load_program(spec)

    def _function(self, name: str, program: Program) -> Function:
        return Function(self, name, program)

    def _typed(self, name: str, prog_type: int, attach_type: int) -> ProgramSpec:
        """The function as it is to be loaded."""
        spec = self._spec.programs.get(name)
        if spec is None:
            raise LoadError(f"Unknown program {name} (the text has {self._names()})", name)
        if spec.type is not ProgType.UNSPEC:
            return spec
        kind = next((kind for prefix, kind in PREFIXES.items() if name.startswith(prefix)), None)
        if kind in BY_TYPES:
            prefix = next(one for one in PREFIXES if name.startswith(one))
            type, needed = program_kind(kind)
            target = self._named_hook(kind, name.removeprefix(prefix)).name
            return dataclasses.replace(
                spec, type=type, expected_attach_type=needed, attach_to=f"bpf_lsm_{target}" if kind is HookKind.LSM else target)
        wanted = AttachType(attach_type) if attach_type >= 0 else spec.expected_attach_type
        return dataclasses.replace(spec, type=ProgType(prog_type), expected_attach_type=wanted)

    def load_funcs(self, prog_type: int = ProgType.KPROBE) -> list[Function]:
        """Loads every function of the text."""
        return [self.load_func(one, prog_type) for one in self._spec.programs]

    def _names(self) -> str:
        return ", ".join(self._spec.programs) or "none"

    def dump_func(self, func_name: str | bytes) -> bytes:
        """The instructions of a function, 8 bytes each, with the descriptors of its maps in them; it need not be loaded."""
        return encode(self._insns(func_name))

    def disassemble_func(self, func_name: str | bytes) -> str:
        """The instructions of a function in the kernel's syntax, one a line."""
        return "\n".join(disassemble(self._insns(func_name)))

    def _insns(self, func_name: str | bytes) -> tuple[Insn, ...]:
        name = as_text(func_name)
        known = self.funcs.get(name)
        return known.program.spec.insns if known is not None else relocate(self._typed(name, ProgType.KPROBE, -1), self._maps).insns

    def _autoload(self) -> None:
        for name in sorted(self._spec.programs):
            prefix = next((one for one in PREFIXES if name.startswith(one)), "")
            if prefix and prefix not in _ATTACHED_LATER:
                self._attach(self._named_hook(PREFIXES[prefix], name.removeprefix(prefix)), name)

    # -- tables

    def __getitem__(self, key: str | bytes) -> Any:
        """The table of that name, of the class in bcc_py.table for its map's type. Raises KeyError if there is none."""
        name = as_text(key)
        found = self.tables.get(name)
        if found is None:
            found = self.tables[name] = self.get_table(name)
        return found

    def get_table(
        self, name: str | bytes, keytype: Any = None, leaftype: Any = None, reducer: Callable[[Any, Any], Any] | None = None
    ) -> Any:
        """A new view of a table. keytype, leaftype: ctypes classes for its keys and leaves, instead of those of their C
        types; reducer: as functools.reduce's, for per-CPU leaves."""
        key = as_text(name)
        map = self._maps.get(key)
        if map is None:
            raise KeyError(key)
        spec = self._spec.maps[key]
        types = (self._type(spec.key_type), self._type(spec.value_type), self._type(spec.event_type))
        number = list(self._maps).index(key)
        made = table_for(map, self.kernel, *types, reducer, key_class=keytype, leaf_class=leaftype, bpf=self, map_id=number)
        if isinstance(made, (PerfEventArray, RingBuf, UserRingBuf)):
            self._buffers.append(made)
        return made

    def decode_table(self, table_name: str | bytes, sizeinfo: bool = False) -> str:
        """The layout of a table's keys and values as C. sizeinfo: with the offset and size of every member, in bytes."""
        name = as_text(table_name)
        table = self[name]
        return decode_map(name.encode(), table, table.ttype, sizeinfo)

    def _type(self, id: int) -> CType | None:
        return self._btf.type(id) if id and self._btf is not None else None

    def __len__(self) -> int:
        return len(self._maps)

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __contains__(self, name: object) -> bool:
        return name in self._maps

    # -- output

    def _rings(self, *kinds: type[PerfEventArray] | type[RingBuf]) -> list[Ring]:
        """The reading sides of the opened buffers of these kinds."""
        return [one.ring for one in self._buffers if isinstance(one, kinds) and one.ring is not None]

    def perf_buffer_poll(self, timeout: int = -1) -> int:
        """Waits for records in any opened perf buffer, at most timeout ms (-1: without limit), and hands all that
        are there to the callbacks; how many. On a simulated kernel virtual time goes on instead."""
        return self._poll(self._rings(PerfEventArray), timeout)

    def _poll(self, rings: Sequence[Ring], timeout: int) -> int:
        return self.kernel.poll(rings, timeout)

    kprobe_poll = perf_buffer_poll

    def perf_buffer_consume(self) -> int:
        """Hands over what is in the perf buffers now."""
        return sum(one.consume() for one in self._rings(PerfEventArray))

    def ring_buffer_poll(self, timeout: int = -1) -> int:
        """perf_buffer_poll for ring buffers. Raises LoadError if none is opened."""
        return self._poll(self._needed_rings(), timeout)

    def ring_buffer_consume(self) -> int:
        """Hands over what is in the ring buffers now."""
        return sum(one.consume() for one in self._needed_rings())

    def _needed_rings(self) -> list[Ring]:
        rings = self._rings(RingBuf)
        if not rings:
            raise LoadError("No ring buffers to poll")
        return rings

    def poll(self, timeout: int = -1) -> int:
        """perf_buffer_poll and ring_buffer_poll as one."""
        return self._poll(self._rings(PerfEventArray, RingBuf), timeout)

    def sleep(self, seconds: float) -> None:
        """Lets the kernel's time go by: virtual on a simulated kernel."""
        self.kernel.sleep(seconds)

    @property
    def is_finished(self) -> bool:
        """True when the kernel will never have another event (a recording at its end, a workload that is over)."""
        return self.kernel.is_finished

    def trace_line(self, timeout_ms: int = -1) -> TraceLine | None:
        """The next line of bpf_trace_printk; None if there is none in time."""
        return self.kernel.read_trace_pipe(timeout_ms)

    def trace_open(self, nonblocking: bool = False) -> TracePipe:
        """trace_pipe as a file to read lines from; each is bytes."""
        return TracePipe(self, nonblocking)

    def trace_fields(self, nonblocking: bool = False) -> tuple[bytes, int, int, bytes, float, bytes] | tuple[None, ...]:
        """(task, pid, cpu, flags, seconds, message) of the next line of bpf_trace_printk; six Nones without one."""
        line = self.trace_line(0 if nonblocking else -1)
        if line is None:
            return (None,) * 6
        return (line.comm.encode(), line.pid, line.cpu, line.flags.encode(), line.time_ns / 1e9, line.message.encode())

    def trace_readline(self, nonblocking: bool = False) -> bytes | None:
        """The next line of bpf_trace_printk as trace_pipe prints it."""
        line = self.trace_line(0 if nonblocking else -1)
        return None if line is None else _pipe_text(line).encode()

    def trace_print(self, fmt: str | None = None) -> None:
        """Prints lines of bpf_trace_printk until interrupted or finished. fmt: over the six fields, e.g. "{1} {5}"."""
        while (line := self.trace_line()) is not None:
            values = (line.comm, line.pid, line.cpu, line.flags, line.time_ns / 1e9, line.message)
            print(fmt.format(*values) if fmt else _pipe_text(line), flush=True)

    # -- the end

    def cleanup(self) -> None:
        """Detaches everything and closes all that this object opened. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        for link in self._links.values():
            link.close()
        for buffer in self._buffers:
            buffer.close()
        for function in self.funcs.values():
            function.program.close()
        for map in self._maps.values():
            map.close()
        self._links.clear()
        if self._owns_kernel:
            self.kernel.close()

    close = cleanup

    def __enter__(self) -> BPF:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()


class TracePipe:
    """Lines of bpf_trace_printk, as trace_pipe prints them. Iterating ends when nothing will ever come."""

    def __init__(self, bpf: BPF, is_nonblocking: bool) -> None:
        self._bpf = bpf
        self._is_nonblocking = is_nonblocking

    def readline(self, size: int = -1) -> bytes:
        """The next line with its end; b"" if there is none, or none yet where it does not block."""
        line = self._bpf.trace_readline(self._is_nonblocking)
        return b"" if line is None else line + b"\n"

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def close(self) -> None:
        """Nothing is held: the kernel's trace_pipe is its own."""


def _pipe_text(line: TraceLine) -> str:
    return f"{line.comm:>16}-{line.pid:<7} [{line.cpu:03}] {line.flags} {line.time_ns / 1e9:.6f}: bpf_trace_printk: {line.message}"
