"""What class BPF answers about a kernel: its functions, tracepoints, structs, and what it can do.

The questions are asked of a BPF object, and are then about its kernel, or of the class, as BCC has them: they are then about
the kernel that BPF() would take (current_kernel), which this process opens once for them."""

from __future__ import annotations

import atexit
import functools
import os
import re
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from bcc_py.errors import NotSupportedError
from bcc_py.kernel import Kernel
from bcc_py.spec import HookKind
from cfront.ctype import Enum, Record

__all__ = ["DEFAULT_KERNEL", "Asking", "Question", "current_kernel", "default_spec", "functions_matching", "set_kernel_opener", "use_kernel"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

DEFAULT_KERNEL = "sim"
_SYSCALL_PREFIXES = ("sys_", "__x64_sys_", "__x32_compat_sys_", "__ia32_compat_sys_", "__arm64_sys_", "__s390x_sys_",
                     "__s390_sys_", "__riscv_sys_")
# functions that the kernel's symbols list and that nothing can be attached to
_NOT_PROBED = re.compile(r"_kbl_addr_|__perf|perf_|__SCT__|.*\.cold(?:\.\d+)?$")

_opener: Callable[[str], Kernel] | None = None
_current: dict[str, Kernel] = {}


def set_kernel_opener(opener: Callable[[str], Kernel]) -> None:
    """How a kernel is opened by its words: the one that class BPF knows."""
    global _opener
    _opener = opener


def default_spec() -> str:
    """The words of the kernel that BPF() takes."""
    return os.environ.get("BCC_PY_KERNEL") or DEFAULT_KERNEL


def current_kernel() -> Kernel:
    """The kernel that questions of the class are about: of $BCC_PY_KERNEL, else "sim", or what use_kernel gave. It is closed
    when the process ends. Raises as kernel_from_spec."""
    spec = default_spec()
    if "" in _current:
        return _current[""]
    if spec not in _current:
        assert _opener is not None, "class BPF sets it"
        _current[spec] = _opener(spec)
    return _current[spec]


def use_kernel(kernel: Kernel | None) -> None:
    """From now on kernel is the current one, and stays its owner's; None: the one of the environment again."""
    _current.pop("", None)
    if kernel is not None:
        _current[""] = kernel


@atexit.register
def _close_current() -> None:
    _current.pop("", None)
    for one in _current.values():
        one.close()
    _current.clear()


class Question(Generic[_P, _R]):
    """A function of a kernel as a method of the class and of its objects."""

    def __init__(self, function: Callable[Concatenate[Kernel, _P], _R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Callable[_P, _R]: ...
    @overload
    def __get__(self, instance: Any, owner: type[Any]) -> Callable[_P, _R]: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Callable[_P, _R]:
        @functools.wraps(self._function)
        def ask(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return self._function(instance.kernel if instance is not None else current_kernel(), *args, **kwargs)

        del ask.__dict__["__wrapped__"]  # whose first parameter is the kernel
        ask.__text_signature__ = self._signature  # type: ignore[attr-defined]
        return ask

    @functools.cached_property
    def _signature(self) -> str:
        code = self._function.__code__
        return f"({', '.join(code.co_varnames[1 : code.co_argcount])})"


def functions_matching(kernel: Kernel, pattern: str) -> set[str]:
    """The kernel's functions that probes may be asked for and whose whole names match."""
    found = re.compile(pattern)
    return {one for one in kernel.probe_functions() if found.fullmatch(one) and not _NOT_PROBED.match(one)}


class Asking:
    """The part of class BPF that asks."""

    @Question
    def get_kprobe_functions(kernel: Kernel, event_re: str | bytes) -> set[bytes]:
        """The kernel's functions whose whole names match, without those that cannot be probed."""
        return {os.fsencode(one) for one in functions_matching(kernel, os.fsdecode(event_re))}

    @Question
    def get_tracepoints(kernel: Kernel, tp_re: str | bytes) -> list[bytes]:
        """The tracepoints, as "category:event", that begin with what matches."""
        found = re.compile(os.fsdecode(tp_re))
        return [os.fsencode(one) for one in kernel.tracepoints() if found.match(one)]

    @Question
    def tracepoint_exists(kernel: Kernel, category: str | bytes, event: str | bytes) -> bool:
        return kernel.has_tracepoint(os.fsdecode(category), os.fsdecode(event))

    @Question
    def kernel_struct_has_field(kernel: Kernel, struct_name: str | bytes, field_name: str | bytes) -> int:
        """1 if the struct has a member of this name, in an anonymous one too, 0 if not, -1 if there is no such struct or the
        kernel does not show its types."""
        try:
            found = kernel.types.find("struct", os.fsdecode(struct_name))
        except NotSupportedError:
            return -1
        return -1 if not isinstance(found, Record) else int(_has_member(found, os.fsdecode(field_name)))

    @Question
    def kernel_enum_has_val(kernel: Kernel, enum_name: str | bytes, value_name: str | bytes) -> int:
        """The same for an enum and one of its names."""
        try:
            found = kernel.types.find("enum", os.fsdecode(enum_name))
        except NotSupportedError:
            return -1
        return -1 if not isinstance(found, Enum) else int(os.fsdecode(value_name) in (found.values or ()))

    @Question
    def support_kfunc(kernel: Kernel) -> bool:
        """Whether functions can be attached to by their types (fentry, fexit)."""
        return kernel.supports(HookKind.FENTRY)

    @Question
    def support_fmod_ret(kernel: Kernel) -> bool:
        """Whether what functions return can be changed (fmod_ret)."""
        return kernel.supports(HookKind.FMOD_RET)

    @Question
    def support_lsm(kernel: Kernel) -> bool:
        """Whether security hooks can be attached to."""
        return kernel.supports(HookKind.LSM)

    @Question
    def support_raw_tracepoint(kernel: Kernel) -> bool:
        return kernel.supports(HookKind.RAW_TRACEPOINT)

    @Question
    def support_raw_tracepoint_in_module(kernel: Kernel) -> bool:
        """Whether raw tracepoints of modules can be attached to as well."""
        return kernel.supports(HookKind.RAW_TRACEPOINT) and kernel.has_function("bpf_get_raw_tracepoint")

    @Question
    def get_syscall_prefix(kernel: Kernel) -> bytes:
        """What the kernel puts before a system call's name in the name of its entry function."""
        return kernel.syscall_prefix().encode()

    @Question
    def get_syscall_fnname(kernel: Kernel, name: str | bytes) -> bytes:
        """The entry function of a system call."""
        return kernel.syscall_prefix().encode() + os.fsencode(name)

    @Question
    def fix_syscall_fnname(kernel: Kernel, name: str | bytes) -> bytes:
        """name, with another architecture's system-call prefix replaced by this kernel's."""
        text = os.fsdecode(name)
        found = next((one for one in _SYSCALL_PREFIXES if text.startswith(one)), None)
        return os.fsencode(text if found is None else kernel.syscall_prefix() + text.removeprefix(found))


def _has_member(record: Record, name: str) -> bool:
    """In record or in what is anonymous in it."""
    return any(
        one.name == name or (not one.name and isinstance(one.type, Record) and _has_member(one.type, name))
        for one in record.fields or ())
