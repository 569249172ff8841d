"""Attaching and detaching, as class BPF offers it: every kind of hook, single or by pattern, counted and found again.

Input: a function of the text by name, or a loaded Function, and where it is to run. Invariant: each attachment is a link in
_links under its hook and its function's name until it is detached or the object is closed; a pattern fails only if none of
what it matches could be attached to. What a kernel cannot serve raises NotSupportedError, which names it."""

from __future__ import annotations

import abc
import os
import re
import struct
import weakref
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Self

from bcc_py.asking import Asking, functions_matching
from bcc_py.errors import AttachError, BpfError, NotSupportedError
from bcc_py.kernel import Kernel, Link, Program
from bcc_py.spec import Hook, HookKind, PerfEvent
from cfront.uapi import AttachType, ProgType

__all__ = ["BY_TYPES", "PREFIXES", "PROBE_LIMIT", "Attaching", "Function", "as_text", "open_probes", "probe_limit", "program_kind"]

PROBE_LIMIT = 1000  # of all objects of a process; $BCC_PROBE_LIMIT
# how a function's name asks for a hook
PREFIXES = {
    "kprobe__": HookKind.KPROBE, "kretprobe__": HookKind.KRETPROBE, "tracepoint__": HookKind.TRACEPOINT,
    "raw_tracepoint__": HookKind.RAW_TRACEPOINT, "kfunc__": HookKind.FENTRY, "kretfunc__": HookKind.FEXIT,
    "kmod_ret__": HookKind.FMOD_RET, "lsm__": HookKind.LSM, "bpf_iter__": HookKind.ITER,
}
_PROGRAM_TYPES = {
    HookKind.KPROBE: ProgType.KPROBE, HookKind.KRETPROBE: ProgType.KPROBE, HookKind.TRACEPOINT: ProgType.TRACEPOINT,
    HookKind.RAW_TRACEPOINT: ProgType.RAW_TRACEPOINT, HookKind.FENTRY: ProgType.TRACING, HookKind.FEXIT: ProgType.TRACING,
    HookKind.FMOD_RET: ProgType.TRACING, HookKind.LSM: ProgType.LSM, HookKind.ITER: ProgType.TRACING,
    HookKind.UPROBE: ProgType.KPROBE, HookKind.URETPROBE: ProgType.KPROBE,
}
_ATTACH_TYPES = {
    HookKind.FENTRY: AttachType.TRACE_FENTRY, HookKind.FEXIT: AttachType.TRACE_FEXIT, HookKind.FMOD_RET: AttachType.MODIFY_RETURN,
    HookKind.LSM: AttachType.LSM_MAC, HookKind.ITER: AttachType.TRACE_ITER,
}
BY_TYPES = frozenset(_ATTACH_TYPES)  # kinds whose programs name their target when they are loaded
_PROBES = (HookKind.KPROBE, HookKind.KRETPROBE, HookKind.UPROBE, HookKind.URETPROBE)
# enum perf_type_id
_TYPE_HARDWARE, _TYPE_SOFTWARE, _TYPE_TRACEPOINT, _TYPE_BREAKPOINT = 0, 1, 2, 5
_ATTR_BYTES = 112  # PERF_ATTR_SIZE_VER5
_INHERIT, _FREQ = 1 << 1, 1 << 10  # bits of perf_event_attr's flags


def as_text(given: str | bytes) -> str:
    """A name as text: bytes are taken as the file system's."""
    return os.fsdecode(given)


def program_kind(hook: HookKind) -> tuple[ProgType, AttachType]:
    """What a program is loaded as for hooks of this kind."""
    return _PROGRAM_TYPES[hook], _ATTACH_TYPES.get(hook, AttachType.NONE)


class Function:
    """A loaded program, as load_func gives it. fd: its descriptor on the kernel. sock: the packet socket's descriptor, once
    attach_raw_socket has made one."""

    def __init__(self, bpf: Attaching, name: str, program: Program) -> None:
        self.bpf = bpf
        self.name: Any = name
        self.program = program
        self.sock = -1

    @property
    def fd(self) -> int:
        return self.program.fd


_COUNTED: weakref.WeakSet[Any] = weakref.WeakSet()


def open_probes() -> int:
    """How many kprobes and uprobes all objects of this process have open."""
    return sum(one.open_probes() for one in _COUNTED)


def probe_limit() -> int:
    """How many there may be."""
    text = os.environ.get("BCC_PROBE_LIMIT", "")
    return int(text) if text.isdigit() else PROBE_LIMIT


class Attaching(Asking, abc.ABC):
    """The part of class BPF that attaches."""

    kernel: Kernel
    _links: dict[tuple[Hook, str], Link]

    @abc.abstractmethod
    def load_func(
        self, func_name: str | bytes, prog_type: int = ProgType.KPROBE, device: str | bytes | None = None, attach_type: int = -1
    ) -> Function: ...

    # -- links

    def _attach(self, hook: Hook, name: str) -> Link:
        """The function of that name, loaded as the hook's kind wants it, at the hook."""
        return self._attach_program(hook, name, self.load_func(name, _PROGRAM_TYPES[hook.kind]).program)

    def _attach_program(self, hook: Hook, name: str, program: Program) -> Link:
        if (hook, name) in self._links:
            raise AttachError(f"attaching {name} to {hook}: it is attached there already", hook.name)
        if hook.kind in _PROBES:
            self._check_quota(1)
        _COUNTED.add(self)
        link = self._links[hook, name] = self.kernel.attach(program, hook)
        return link

    @staticmethod
    def _check_quota(more: int) -> None:
        if open_probes() + more > probe_limit():
            raise AttachError(
                f"Number of open probes would exceed global quota ({probe_limit()}; BCC_PROBE_LIMIT=N in the environment raises it)",
                "probes")

    def _attach_matching(self, kind: HookKind, pattern: str, matches: Collection[str], fn_name: str) -> None:
        """Attaches to all of them; an error only if none could be."""
        self._attach_any([Hook(kind, one) for one in sorted(matches)], fn_name, f"{kind.value} matches {pattern!r}")

    def _attach_any(self, hooks: Sequence[Hook], fn_name: str, what: str) -> None:
        if not hooks:
            raise AttachError(f"attaching {fn_name}: no {what}", what)
        if hooks[0].kind in _PROBES:
            self._check_quota(len(hooks))
        failures: list[BpfError] = []
        for one in hooks:
            try:
                self._attach(one, fn_name)
            except (AttachError, NotSupportedError) as error:
                failures.append(error)
        if len(failures) == len(hooks):
            raise failures[0]

    def _detach(self, hook: Hook, fn_name: str = "") -> None:
        self._close_links([key for key in self._links if key[0] == hook and (not fn_name or key[1] == fn_name)], str(hook))

    def _close_links(self, found: Iterable[tuple[Hook, str]], what: str) -> None:
        keys = list(found)
        if not keys:
            raise AttachError(f"detaching {what}: it is not attached", what)
        for key in keys:
            self._links.pop(key).close()

    def _count(self, *kinds: HookKind) -> int:
        return len({hook for hook, _ in self._links if hook.kind in kinds})

    def open_probes(self) -> int:
        """How many functions of the kernel and of programs are attached to."""
        return self._count(*_PROBES)

    # -- kprobes

    def attach_kprobe(
        self, event: str | bytes = "", event_off: int = 0, fn_name: str | bytes = "", event_re: str | bytes = ""
    ) -> Self:
        """Attaches fn_name to the entry of a kernel function (event_off: bytes behind it), or to all that match event_re."""
        return self._attach_function(HookKind.KPROBE, event, event_off, fn_name, event_re)

    def attach_kretprobe(
        self, event: str | bytes = "", fn_name: str | bytes = "", event_re: str | bytes = "", maxactive: int = 0
    ) -> Self:
        """Attaches fn_name to the return of a kernel function, or of all that match event_re. maxactive is accepted for BCC's
        sake: kernels choose it themselves."""
        return self._attach_function(HookKind.KRETPROBE, event, 0, fn_name, event_re)

    def _attach_function(
        self, kind: HookKind, event: str | bytes, offset: int, fn_name: str | bytes, event_re: str | bytes
    ) -> Self:
        if event_re:
            pattern = as_text(event_re)
            self._attach_matching(kind, pattern, functions_matching(self.kernel, pattern), as_text(fn_name))
        else:
            self._attach(Hook(kind, as_text(event), offset), as_text(fn_name))
        return self

    def detach_kprobe(self, event: str | bytes, fn_name: str | bytes | None = None) -> None:
        """Detaches from the entry of a function: this fn_name, or all."""
        self._detach_function(HookKind.KPROBE, event, fn_name)

    def detach_kretprobe(self, event: str | bytes, fn_name: str | bytes | None = None) -> None:
        self._detach_function(HookKind.KRETPROBE, event, fn_name)

    def _detach_function(self, kind: HookKind, event: str | bytes, fn_name: str | bytes | None) -> None:
        name, wanted = as_text(event), as_text(fn_name or "")
        keys = [key for key in self._links if key[0].kind is kind and key[0].name == name and (not wanted or key[1] == wanted)]
        self._close_links(keys, f"{kind.value} {name}")

    def detach_kprobe_event(self, ev_name: str | bytes) -> None:
        """detach_kprobe or detach_kretprobe by BCC's name of the event: p_FUNCTION or r_FUNCTION, with _ for + and dots."""
        self.detach_kprobe_event_by_fn(ev_name, "")

    def detach_kprobe_event_by_fn(self, ev_name: str | bytes, fn_name: str | bytes) -> None:
        """The same for one function of the text."""
        name, wanted = as_text(ev_name), as_text(fn_name)
        keys = [key for key in self._links if _event_name(key[0]) == name and (not wanted or key[1] == wanted)]
        self._close_links(keys, f"kprobe {name}")

    def num_open_kprobes(self) -> int:
        """How many kernel functions' entries and returns are attached to."""
        return self._count(HookKind.KPROBE, HookKind.KRETPROBE)

    # -- tracepoints

    def attach_tracepoint(self, tp: str | bytes = "", tp_re: str | bytes = "", fn_name: str | bytes = "") -> Self:
        """Attaches fn_name to the tracepoint "category:event", or to all that match tp_re."""
        if tp_re:
            pattern = re.compile(as_text(tp_re))
            matches = [one for one in self.kernel.tracepoints() if pattern.match(one)]
            self._attach_matching(HookKind.TRACEPOINT, pattern.pattern, matches, as_text(fn_name))
        else:
            self._attach(Hook(HookKind.TRACEPOINT, as_text(tp)), as_text(fn_name))
        return self

    def attach_raw_tracepoint(self, tp: str | bytes = "", fn_name: str | bytes = "") -> Self:
        """Attaches fn_name to a raw tracepoint, by the event's name, of which each takes one."""
        hook = Hook(HookKind.RAW_TRACEPOINT, as_text(tp))
        if any(one == hook for one, _ in self._links):
            raise AttachError(f"Raw tracepoint {hook.name} has been attached", hook.name)
        self._attach(hook, as_text(fn_name))
        return self

    def detach_tracepoint(self, tp: str | bytes) -> None:
        self._detach(Hook(HookKind.TRACEPOINT, as_text(tp)))

    def detach_raw_tracepoint(self, tp: str | bytes) -> None:
        self._detach(Hook(HookKind.RAW_TRACEPOINT, as_text(tp)))

    def num_open_tracepoints(self) -> int:
        return self._count(HookKind.TRACEPOINT)

    # -- functions by their types: the function's name says where

    def attach_kfunc(self, fn_name: str | bytes = "") -> Self:
        """Attaches kfunc__MODULE__FUNCTION (KFUNC_PROBE; the prefix may be left out) to a kernel function's entry."""
        return self._attach_typed("kfunc__", fn_name, "kernel entry func")

    def attach_kretfunc(self, fn_name: str | bytes = "") -> Self:
        """kretfunc__MODULE__FUNCTION (KRETFUNC_PROBE): to its return."""
        return self._attach_typed("kretfunc__", fn_name, "kernel exit func")

    def attach_fmod_ret(self, fn_name: str | bytes = "") -> Self:
        """kmod_ret__FUNCTION (KMOD_RET): to what it returns."""
        return self._attach_typed("kmod_ret__", fn_name, "fmod_ret")

    def attach_lsm(self, fn_name: str | bytes = "") -> Self:
        """lsm__HOOK (LSM_PROBE): to a security hook."""
        return self._attach_typed("lsm__", fn_name, "LSM")

    def _attach_typed(self, prefix: str, fn_name: str | bytes, what: str) -> Self:
        name = _prefixed(prefix, fn_name)
        hook = self._named_hook(PREFIXES[prefix], name.removeprefix(prefix))
        if any(one == hook for one, _ in self._links):
            raise AttachError(f"{what[0].upper()}{what[1:]} {name} has been attached", name)
        self._attach(hook, name)
        return self

    def detach_kfunc(self, fn_name: str | bytes = "") -> None:
        self._detach_typed("kfunc__", fn_name)

    def detach_kretfunc(self, fn_name: str | bytes = "") -> None:
        self._detach_typed("kretfunc__", fn_name)

    def detach_fmod_ret(self, fn_name: str | bytes = "") -> None:
        self._detach_typed("kmod_ret__", fn_name)

    def detach_lsm(self, fn_name: str | bytes = "") -> None:
        self._detach_typed("lsm__", fn_name)

    def _detach_typed(self, prefix: str, fn_name: str | bytes) -> None:
        name = _prefixed(prefix, fn_name)
        self._detach(self._named_hook(PREFIXES[prefix], name.removeprefix(prefix)), name)

    def _named_hook(self, kind: HookKind, target: str) -> Hook:
        """Where a function whose name is prefix + target belongs."""
        if kind is HookKind.TRACEPOINT:
            return Hook(kind, target.replace("__", ":", 1))
        if kind in (HookKind.KPROBE, HookKind.KRETPROBE):
            target = as_text(self.fix_syscall_fnname(target))
        if kind in (HookKind.FENTRY, HookKind.FEXIT, HookKind.FMOD_RET):
            module, _, function = target.partition("__")
            target = as_text(self.fix_syscall_fnname(function if module == "vmlinux" else target))
        return Hook(kind, target)

    # -- perf events

    def attach_perf_event(
        self, ev_type: int = -1, ev_config: int = -1, fn_name: str | bytes = "", sample_period: int = 0, sample_freq: int = 0,
        pid: int = -1, cpu: int = -1, group_fd: int = -1,
    ) -> None:
        """Runs fn_name each sample_period events, or sample_freq times a second, of a hardware or software event
        (PerfType, PerfHWConfig, PerfSWConfig) of a process (pid; with its children) or of all (-1), on one CPU or on
        all (-1)."""
        if ev_type in (_TYPE_TRACEPOINT, _TYPE_BREAKPOINT):
            raise AttachError(f"attaching {as_text(fn_name)}: perf events of type {ev_type} are attached to by other calls", str(ev_type))
        if bool(sample_period) == bool(sample_freq):
            raise AttachError(f"attaching {as_text(fn_name)}: exactly one of sample_period and sample_freq is needed", str(ev_type))
        flags = (_FREQ if sample_freq else 0) | (_INHERIT if pid > 0 else 0)
        attr = struct.pack(f"<IIQQQQQ{_ATTR_BYTES - 48}x", ev_type, _ATTR_BYTES, ev_config, sample_period or sample_freq, 0, 0, flags)
        self._attach_event(ev_type, ev_config, PerfEvent(attr, pid, cpu, group_fd), fn_name)

    def attach_perf_event_raw(
        self, attr: Any = None, fn_name: str | bytes = "", pid: int = -1, cpu: int = -1, group_fd: int = -1
    ) -> None:
        """The same for an event as perf_event_open(2) takes it. attr: Perf.perf_event_attr, or its bytes."""
        raw = bytes(attr)
        if len(raw) < 64:
            raise AttachError(f"attaching {as_text(fn_name)}: perf_event_attr has 64 bytes or more, this has {len(raw)}", "perf event")
        ev_type, size, ev_config = struct.unpack_from("<IIQ", raw)
        raw = raw if size else raw[:4] + struct.pack("<I", len(raw)) + raw[8:]
        self._attach_event(ev_type, ev_config, PerfEvent(raw, pid, cpu, group_fd), fn_name)

    def _attach_event(self, ev_type: int, ev_config: int, event: PerfEvent, fn_name: str | bytes) -> None:
        name = as_text(fn_name)
        hook = Hook(HookKind.PERF_EVENT, f"{ev_type}:{ev_config}", event=event)
        self._attach_program(hook, name, self.load_func(name, ProgType.PERF_EVENT).program)

    def detach_perf_event(self, ev_type: int = -1, ev_config: int = -1) -> None:
        name = f"{ev_type}:{ev_config}"
        keys = [key for key in self._links if key[0].kind is HookKind.PERF_EVENT and key[0].name == name]
        self._close_links(keys, f"perf event {name}")

    # -- packets: on the kernel of the function

    @staticmethod
    def attach_raw_socket(fn: Function, dev: str | bytes) -> None:
        """Opens a packet socket on a device ("": on all) that receives what fn, a SOCKET_FILTER, lets through; fn.sock is its
        descriptor, which does not block and is closed with fn's BPF."""
        link = fn.bpf._attach_program(Hook(HookKind.SOCKET, as_text(dev)), as_text(fn.name), fn.program)
        fn.sock = link.fds[0]

    @staticmethod
    def attach_xdp(dev: str | bytes, fn: Function, flags: int = 0) -> None:
        """Has fn, an XDP program, look at every packet that the device receives, until remove_xdp or the end of fn's BPF.
        flags: XDP_FLAGS_*_MODE; XDP_FLAGS_REPLACE takes the place of one that this process attached."""
        hook = Hook(HookKind.XDP, as_text(dev), flags=flags)
        if flags & 1 << 4:
            Attaching._remove_xdp(hook.name)
        fn.bpf._attach_program(hook, as_text(fn.name), fn.program)

    @staticmethod
    def remove_xdp(dev: str | bytes, flags: int = 0) -> None:
        """Ends attach_xdp of any BPF of this process. Raises AttachError if there is none."""
        name = as_text(dev)
        if not Attaching._remove_xdp(name):
            raise AttachError(f"detaching device {name}: this process has no program on it", name)

    @staticmethod
    def _remove_xdp(name: str) -> int:
        count = 0
        for one in list(_COUNTED):
            keys = [key for key in one._links if key[0].kind is HookKind.XDP and key[0].name == name]
            for key in keys:
                one._links.pop(key).close()
            count += len(keys)
        return count

    @staticmethod
    def attach_func(fn: Function, attachable_fd: int, attach_type: int, flags: int = 0) -> None:
        """Attaches fn to a control group, a socket map or the like by its descriptor, until detach_func or the end of fn's
        BPF. attach_type: BPFAttachType; flags: BPF_F_ALLOW_MULTI and so on."""
        hook = Hook(HookKind.TARGET, str(attachable_fd), attach_type=AttachType(attach_type), flags=flags)
        fn.bpf._attach_program(hook, as_text(fn.name), fn.program)

    @staticmethod
    def detach_func(fn: Function, attachable_fd: int, attach_type: int) -> None:
        keys = [key for key in fn.bpf._links if key[0].kind is HookKind.TARGET and key[0].name == str(attachable_fd)
                and key[0].attach_type == attach_type and key[1] == as_text(fn.name)]
        fn.bpf._close_links(keys, f"descriptor {attachable_fd}")


def _prefixed(prefix: str, fn_name: str | bytes) -> str:
    name = as_text(fn_name)
    return name if name.startswith(prefix) else prefix + name


def _event_name(hook: Hook) -> str:
    """BCC's name of a kprobe's event."""
    if hook.kind not in (HookKind.KPROBE, HookKind.KRETPROBE):
        return ""
    name = hook.name + (f"+{hook.offset}" if hook.offset else "")
    return ("p_" if hook.kind is HookKind.KPROBE else "r_") + re.sub(r"[+.]", "_", name)
