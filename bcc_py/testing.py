"""Unit tests of tracing tools: a simulated kernel on which nothing happens but what the test makes happen.

    from bcc_py.testing import assert_table, fire, in_task, spawn, syscall

    def test_execs_are_counted(bpf):
        b = bpf('BPF_HASH(n, u32); TRACEPOINT_PROBE(sched, sched_process_exec) { n.increment(args->pid); return 0; }')
        shell = spawn(b.kernel, "sh", uid=1000)
        with in_task(b.kernel, shell):
            fire(b.kernel, "sched:sched_process_exec", pid=shell.pid, filename=b"/bin/ls")
        assert_table(b["n"], {shell.pid: 1})

The fixtures bpf_kernel and bpf come with the package (pytest_plugin.py). Everything here but assert_table needs a simulated
kernel, and raises NotSupportedError on the real one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from bcc_py.errors import NotSupportedError
from bcc_py.kernel import Kernel
from bcc_py.sim.formats import record
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.task import Task
from bcc_py.syscalls import SYSCALL_NUMBERS

__all__ = ["assert_table", "fire", "in_task", "leaf_value", "spawn", "syscall"]

_FIRST_PID = 1000


def _simulated(kernel: Kernel, doing: str) -> SimKernel:
    if not isinstance(kernel, SimKernel):
        raise NotSupportedError(f"{doing} on {kernel.spec}: its tasks and events are its own (use --bpf-kernel sim:idle)", "simulation")
    return kernel


def spawn(kernel: Kernel, comm: str, *, pid: int = 0, uid: int = 0, gid: int = 0, parent: Task | None = None) -> Task:
    """A new task. pid: 0 takes one that is free; parent: init unless given."""
    on = _simulated(kernel, f"spawning {comm}")
    while not pid or on.tasks.get(pid) is not None:
        pid = max(pid, _FIRST_PID - 1) + 1
    return on.tasks.spawn(pid, comm, parent=parent or on.tasks.init, uid=uid, gid=gid)


@contextmanager
def in_task(kernel: Kernel, task: Task, *, cpu: int = 0, after_ns: int = 0) -> Iterator[None]:
    """What happens inside happens in this task, on this CPU, after_ns later than what happened last."""
    on = _simulated(kernel, f"running {task.comm}")
    before, before_cpu = on.current, int(on.current_cpu.pointer.number)
    on.set_context(cpu, on.now_ns() + after_ns, task)
    try:
        yield
    finally:
        on.set_context(before_cpu, on.now_ns(), None if before is on.tasks.idle else before)


def fire(kernel: Kernel, tracepoint: str, **fields: int | bytes) -> None:
    """A tracepoint ("category:event") happens in the current task. fields: by name; bytes for arrays and strings; what is
    left out is zero. Raises ValueError for a tracepoint or a field that does not exist."""
    on = _simulated(kernel, f"firing {tracepoint}")
    found = on.formats.get(tracepoint)
    if found is None:
        raise ValueError(f"firing {tracepoint}: {on.spec} has no such tracepoint")
    unknown = [name for name in fields if found.field(name) is None]
    if unknown:
        known = ", ".join(one.name for one in found.fields if not one.is_common)
        raise ValueError(f"firing {tracepoint}: it has no field {unknown[0]} (it has {known})")
    on.fire_tracepoint(tracepoint, record(found, on.common_fields(tracepoint), fields))


def syscall(kernel: Kernel, name: str, *args: int, ret: int = 0, took_ns: int = 1000) -> None:
    """The current task makes a system call, which takes took_ns and returns ret (negative errno for a failure): everything
    that Linux fires at its entry and its return happens."""
    on = _simulated(kernel, f"making system call {name}")
    number = SYSCALL_NUMBERS.get(name)
    if number is None or len(args) > 6:
        raise ValueError(f"making system call {name}({', '.join(map(str, args))}): " + (
            "there is none of that name" if number is None else "it has at most six arguments"))
    words = cast(tuple[int, int, int, int, int, int], (*args, *[0] * (6 - len(args))))
    task = None if on.current is on.tasks.idle else on.current
    on.syscall_enter(number, words)
    on.set_context(int(on.current_cpu.pointer.number), on.now_ns() + took_ns, task)
    on.syscall_exit(number, ret)


def leaf_value(leaf: Any) -> Any:
    """A key or leaf as plain Python: numbers, text without its zeros, lists of arrays, dictionaries of structs."""
    if isinstance(leaf, ctypes.Array):
        if leaf._type_ is ctypes.c_char:
            return leaf.value
        return [leaf_value(one) for one in leaf]
    if isinstance(leaf, (ctypes.Structure, ctypes.Union)):
        names = [name for name, *_ in leaf._fields_ if not name.startswith("__pad_")]
        return {name: leaf_value(getattr(leaf, name)) for name in names}
    return leaf.value if isinstance(leaf, ctypes._SimpleCData) else leaf


def _key(value: Any) -> Any:
    """A key's plain form as one of a dictionary: structs and arrays become tuples of their values."""
    if isinstance(value, dict):
        return tuple(_key(one) for one in value.values())
    return tuple(_key(one) for one in value) if isinstance(value, list) else value


def assert_table(table: Any, expected: Mapping[Any, Any] | Sequence[Any]) -> None:
    """Fails unless the table holds exactly this: by key, numbers, bytes, dictionaries of a struct's members (those that are
    named), lists of arrays; a per-CPU leaf is the list of all CPUs' values. A key that is a struct is the tuple of its members.
    A sequence stands for an array's leaves from 0 on, behind which all are zero."""
    found = {_key(leaf_value(key)): leaf_value(leaf) for key, leaf in table.items()}
    if not isinstance(expected, Mapping):
        zero = leaf_value(table.Leaf())
        expected = {**dict.fromkeys(found, zero), **dict(enumerate(expected))}
    shown = {key: _named(found[key], expected[key]) if key in expected else value for key, value in found.items()}
    assert shown == dict(expected), f"table {table.name} holds {shown}, expected {dict(expected)}"


def _named(found: Any, expected: Any) -> Any:
    """Of a struct the members that are expected."""
    return {name: found[name] for name in expected if name in found} if isinstance(found, dict) and isinstance(expected, dict) else found
