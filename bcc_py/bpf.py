"""class BPF: BCC's public surface over one object on one kernel, and the words that name a kernel.

BPF compiles its text against the kernel's types, loads maps at once and programs when they are needed,
attaches the functions whose names ask for it, and hands out tables. This file alone names the simulated
and the real kernel, and alone calls the compiler for a user. It is thin: what it does is in kernel.py's
implementations, load.py, table.py and cfront."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cfront
from bcc_py.cache import cached
from bcc_py.elf import read_object
from bcc_py.errors import AttachError, BpfError, LoadError, NotSupportedError
from bcc_py.isa import disassemble, encode
from bcc_py.kernel import Kernel, Link, Map, Program, Ring, TraceLine
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import load_maps, relocate, with_type
from bcc_py.spec import Hook, HookKind, ObjectSpec
from bcc_py.table import PerfEventArray, RingBuf, Table, table_for
from cfront.btf import Btf
from cfront.ctype import CType
from cfront.uapi import ProgType, version_code

__all__ = ["BPF", "DEFAULT_KERNEL", "Function", "kernel_from_spec"]

DEFAULT_KERNEL = "sim"
_PREFIXES = {
    "kprobe__": HookKind.KPROBE, "kretprobe__": HookKind.KRETPROBE, "tracepoint__": HookKind.TRACEPOINT,
    "raw_tracepoint__": HookKind.RAW_TRACEPOINT,
}
# names that ask for hooks which no kernel here can serve yet
_LATER_PREFIXES = {"kfunc__": "fentry", "kretfunc__": "fexit", "lsm__": "LSM"}
_PROGRAM_TYPES = {
    HookKind.KPROBE: ProgType.KPROBE, HookKind.KRETPROBE: ProgType.KPROBE, HookKind.TRACEPOINT: ProgType.TRACEPOINT,
    HookKind.RAW_TRACEPOINT: ProgType.RAW_TRACEPOINT,
}
_SYSCALL_PREFIXES = ("sys_", "__x64_sys_", "__x32_compat_sys_", "__ia32_compat_sys_", "__arm64_sys_", "__s390x_sys_",
                     "__s390_sys_", "__riscv_sys_")


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


def _text(given: str | bytes) -> str:
    return given.decode("utf-8", "surrogateescape") if isinstance(given, bytes) else given


def _found_file(name: str) -> str:
    """A source file as named from the current directory, else from the script's."""
    beside = Path(sys.argv[0]).resolve().parent / name
    found = next((one for one in (Path(name), beside) if one.is_file()), None)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "no such file here or beside the script", name)
    return str(found)


class Function:
    """A loaded program, as load_func gives it. fd: its descriptor on the kernel."""

    def __init__(self, bpf: BPF, name: str, program: Program) -> None:
        self.bpf = bpf
        self.name = name
        self.program = program

    @property
    def fd(self) -> int:
        return self.program.fd


class BPF:
    """One compiled text, live on a kernel.

    text or src_file: C in BCC's dialect. cflags: -D, -U, -I and -w. debug: accepted for BCC's sake. kernel: a
    spec ("sim", "replay:FILE", "linux"), or a Kernel, which then stays open when this closes; by default
    $BCC_PY_KERNEL, else "sim". Functions named kprobe__F, kretprobe__F, tracepoint__CAT__EVENT (TRACEPOINT_PROBE)
    and raw_tracepoint__EVENT are attached at once, in alphabetical order.

    warnings: what the compiler found doubtful in the text, as texts; they also go to the logger "bcc_py", which
    prints them to stderr unless logging is configured otherwise. The flag -w asks for none.

    Raises CompileError, VerifierError, LoadError, AttachError, MapError, NotSupportedError, ValueError."""

    SOCKET_FILTER = ProgType.SOCKET_FILTER
    KPROBE = ProgType.KPROBE
    SCHED_CLS = ProgType.SCHED_CLS
    TRACEPOINT = ProgType.TRACEPOINT
    XDP = ProgType.XDP
    PERF_EVENT = ProgType.PERF_EVENT
    RAW_TRACEPOINT = ProgType.RAW_TRACEPOINT

    def __init__(
        self, src_file: str | bytes = "", hdr_file: str | bytes = "", text: str | bytes | None = None, debug: int = 0,
        cflags: Sequence[str | bytes] = (), *, kernel: Kernel | str | None = None,
    ) -> None:
        if bool(src_file) == (text is not None):
            raise ValueError("BPF() takes either text or src_file")
        self.debug = debug
        filename = _found_file(_text(src_file)) if src_file else "<text>"
        content = Path(filename).read_text(errors="surrogateescape") if src_file else _text(text or "")
        self._owns_kernel = kernel is None or isinstance(kernel, str)
        self.kernel = self._open_kernel(kernel)
        self.warnings: tuple[str, ...] = ()
        self.tables: dict[str, Table] = {}
        self.funcs: dict[str, Function] = {}
        self._maps: dict[str, Map] = {}
        self._links: dict[tuple[Hook, str], Link] = {}
        self._is_closed = False
        try:
            self._spec: ObjectSpec = self._compile(content, filename, [_text(one) for one in cflags])
            self._btf = Btf(self._spec.btf) if self._spec.btf else None
            self._maps = load_maps(self._spec, self.kernel)
            self._autoload()
        except BaseException:  # an interrupt too must leave nothing attached
            self.close()
            raise

    @staticmethod
    def _open_kernel(kernel: Kernel | str | None) -> Kernel:
        if kernel is None:
            kernel = os.environ.get("BCC_PY_KERNEL") or DEFAULT_KERNEL
        return kernel_from_spec(kernel) if isinstance(kernel, str) else kernel

    def _compile(self, text: str, filename: str, cflags: list[str]) -> ObjectSpec:
        """The object of text, from the cache if the same text met the same kernel before."""
        defines = self._defines(" ".join((text, *cflags)))
        parts = (text, filename, *cflags, self.kernel.types_key, *(f"{name}={value}" for name, value in defines.items()))

        def build() -> bytes:
            made = cfront.compile_unit(text, filename=filename, cflags=cflags, types=self.kernel.types, defines=defines)
            said = "\0".join(str(one) for one in made.warnings).encode("utf-8", "surrogateescape")
            return len(said).to_bytes(4, "little") + said + made.object

        reads_files = any(one.startswith("-I") for one in cflags) or '#include "' in text
        content = build() if reads_files else cached("unit", parts, build)
        end = 4 + int.from_bytes(content[:4], "little")
        self.warnings = tuple(content[4:end].decode("utf-8", "surrogateescape").split("\0")) if end > 4 else ()
        for one in self.warnings:
            importlib.import_module("logging").getLogger("bcc_py").warning("%s", one)
        return read_object(content[end:])

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

    def load_func(self, func_name: str | bytes, prog_type: int = ProgType.KPROBE) -> Function:
        """Loads a function of the text as a program of this type, once. Raises LoadError if there is none."""
        name = _text(func_name)
        known = self.funcs.get(name)
        if known is None:
            spec = self._spec.programs.get(name)
            if spec is None:
                raise LoadError(f"loading {name}: the text has no such function (it has {self._names()})", name)
            typed = with_type(spec, {name: ProgType(prog_type)})
            program = self.kernel.load_program(relocate(typed, self._maps))
            known = self.funcs[name] = Function(self, name, program)
        return known

    def load_funcs(self, prog_type: int = ProgType.KPROBE) -> list[Function]:
        """Loads every function of the text."""
        return [self.load_func(one, prog_type) for one in self._spec.programs]

    def _names(self) -> str:
        return ", ".join(self._spec.programs) or "none"

    def dump_func(self, func_name: str | bytes) -> bytes:
        """The instructions of a function, 8 bytes each, as loaded."""
        return encode(self.load_func(func_name).program.spec.insns)

    def disassemble_func(self, func_name: str | bytes) -> str:
        """The instructions of a function in the kernel's syntax, one a line."""
        return "\n".join(disassemble(self.load_func(func_name).program.spec.insns))

    def _autoload(self) -> None:
        for name in sorted(self._spec.programs):
            later = next((word for prefix, word in _LATER_PREFIXES.items() if name.startswith(prefix)), "")
            if later:
                raise NotSupportedError(f"attaching {name}: {later} programs are not supported yet (use kprobe__)", later)
            for prefix, kind in _PREFIXES.items():
                if name.startswith(prefix):
                    self._attach(self._named_hook(kind, name.removeprefix(prefix)), name)

    def _named_hook(self, kind: HookKind, target: str) -> Hook:
        if kind is HookKind.TRACEPOINT:
            return Hook(kind, target.replace("__", ":", 1))
        if kind in (HookKind.KPROBE, HookKind.KRETPROBE):
            target = _text(self.fix_syscall_fnname(target))
        return Hook(kind, target)

    # -- attaching

    def _attach(self, hook: Hook, name: str) -> None:
        if (hook, name) in self._links:
            raise AttachError(f"attaching {name} to {hook}: it is attached there already", hook.name)
        program = self.load_func(name, _PROGRAM_TYPES[hook.kind]).program
        self._links[hook, name] = self.kernel.attach(program, hook)

    def _attach_matching(self, kind: HookKind, pattern: str, names: Iterator[str] | Sequence[str], fn_name: str) -> None:
        """Attaches to every name that matches; an error only if none could be."""
        matches = [one for one in names if re.fullmatch(pattern, one)]
        if not matches:
            raise AttachError(f"attaching {fn_name}: no {kind.value} matches {pattern!r}", pattern)
        failures: list[BpfError] = []
        for one in matches:
            try:
                self._attach(Hook(kind, one), fn_name)
            except (AttachError, NotSupportedError) as error:
                failures.append(error)
        if len(failures) == len(matches):
            raise failures[0]

    def _detach(self, hook: Hook, fn_name: str = "") -> None:
        found = [key for key in self._links if key[0] == hook and (not fn_name or key[1] == fn_name)]
        if not found:
            raise AttachError(f"detaching {hook}: it is not attached", hook.name)
        for key in found:
            self._links.pop(key).close()

    def attach_kprobe(
        self, event: str | bytes = "", event_off: int = 0, fn_name: str | bytes = "", event_re: str | bytes = ""
    ) -> BPF:
        """Attaches fn_name to the entry of a kernel function, or to all that match event_re."""
        if event_re:
            self._attach_matching(HookKind.KPROBE, _text(event_re), list(self.kernel.functions()), _text(fn_name))
        else:
            self._attach(Hook(HookKind.KPROBE, _text(event), event_off), _text(fn_name))
        return self

    def attach_kretprobe(
        self, event: str | bytes = "", fn_name: str | bytes = "", event_re: str | bytes = "", maxactive: int = 0
    ) -> BPF:
        """Attaches fn_name to the return of a kernel function, or of all that match event_re."""
        if event_re:
            self._attach_matching(HookKind.KRETPROBE, _text(event_re), list(self.kernel.functions()), _text(fn_name))
        else:
            self._attach(Hook(HookKind.KRETPROBE, _text(event)), _text(fn_name))
        return self

    def attach_tracepoint(self, tp: str | bytes = "", tp_re: str | bytes = "", fn_name: str | bytes = "") -> BPF:
        """Attaches fn_name to the tracepoint "category:event", or to all that match tp_re."""
        if tp_re:
            self._attach_matching(HookKind.TRACEPOINT, _text(tp_re), list(self.kernel.tracepoints()), _text(fn_name))
        else:
            self._attach(Hook(HookKind.TRACEPOINT, _text(tp)), _text(fn_name))
        return self

    def attach_raw_tracepoint(self, tp: str | bytes = "", fn_name: str | bytes = "") -> BPF:
        """Attaches fn_name to a raw tracepoint, by the event's name."""
        self._attach(Hook(HookKind.RAW_TRACEPOINT, _text(tp)), _text(fn_name))
        return self

    def detach_kprobe(self, event: str | bytes, fn_name: str | bytes = "") -> None:
        self._detach(Hook(HookKind.KPROBE, _text(event)), _text(fn_name))

    def detach_kretprobe(self, event: str | bytes, fn_name: str | bytes = "") -> None:
        self._detach(Hook(HookKind.KRETPROBE, _text(event)), _text(fn_name))

    def detach_tracepoint(self, tp: str | bytes) -> None:
        self._detach(Hook(HookKind.TRACEPOINT, _text(tp)))

    def detach_raw_tracepoint(self, tp: str | bytes) -> None:
        self._detach(Hook(HookKind.RAW_TRACEPOINT, _text(tp)))

    def num_open_kprobes(self) -> int:
        """How many kernel functions' entries and returns are attached to."""
        return len({hook for hook, _ in self._links if hook.kind in (HookKind.KPROBE, HookKind.KRETPROBE)})

    def num_open_tracepoints(self) -> int:
        return len({hook for hook, _ in self._links if hook.kind is HookKind.TRACEPOINT})

    def get_syscall_prefix(self) -> bytes:
        """What the kernel puts before a system call's name in the name of its entry function."""
        return self.kernel.syscall_prefix().encode()

    def get_syscall_fnname(self, name: str | bytes) -> bytes:
        """The entry function of a system call."""
        return self.get_syscall_prefix() + _text(name).encode()

    def fix_syscall_fnname(self, name: str | bytes) -> bytes:
        """name, with another architecture's system-call prefix replaced by this kernel's."""
        text = _text(name)
        for prefix in _SYSCALL_PREFIXES:
            if text.startswith(prefix):
                return self.get_syscall_fnname(text.removeprefix(prefix))
        return text.encode()

    # -- tables

    def __getitem__(self, name: str | bytes) -> Any:
        """The table of that name, of the class in table.py for its map's type. Raises KeyError if there is none."""
        key = _text(name)
        found = self.tables.get(key)
        if found is None:
            found = self.tables[key] = self.get_table(key)
        return found

    def get_table(self, name: str | bytes, reducer: Callable[[Any, Any], Any] | None = None) -> Table:
        """A new view of a table; reducer: as functools.reduce's, for per-CPU leaves."""
        key = _text(name)
        map = self._maps.get(key)
        if map is None:
            raise KeyError(key)
        spec = self._spec.maps[key]
        types = (self._type(spec.key_type), self._type(spec.value_type), self._type(spec.event_type))
        return table_for(map, self.kernel, *types, reducer=reducer)

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
        return [one.ring for one in self.tables.values() if isinstance(one, kinds) and one.ring is not None]

    def perf_buffer_poll(self, timeout: int = -1) -> int:
        """Waits for records in any opened perf buffer, at most timeout ms (-1: without limit), and hands all that
        are there to the callbacks; how many. On a simulated kernel virtual time goes on instead."""
        return self.kernel.poll(self._rings(PerfEventArray), timeout)

    kprobe_poll = perf_buffer_poll

    def perf_buffer_consume(self) -> int:
        """Hands over what is in the perf buffers now."""
        return sum(one.consume() for one in self._rings(PerfEventArray))

    def ring_buffer_poll(self, timeout: int = -1) -> int:
        """perf_buffer_poll for ring buffers. Raises LoadError if none is opened."""
        return self.kernel.poll(self._needed_rings(), timeout)

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
        return self.kernel.poll(self._rings(PerfEventArray, RingBuf), timeout)

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
        for table in self.tables.values():
            if isinstance(table, (PerfEventArray, RingBuf)):
                table.close()
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


def _pipe_text(line: TraceLine) -> str:
    return f"{line.comm:>16}-{line.pid:<7} [{line.cpu:03}] {line.flags} {line.time_ns / 1e9:.6f}: bpf_trace_printk: {line.message}"
