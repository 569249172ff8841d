"""What files of /proc and tracefs would hold on the simulated machine: for scripts that read them beside calling BPF.

Input: a path. Output: bytes, or the names in a directory; None for what is not the kernel's to say. Only what names the
kernel's parts and its tasks is here: symbols, tracepoints and their formats, what can be probed, and of each task its name,
its program and its parent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from bcc_py.sim.task import Task, TaskTable
from cfront.tracepoint import TracepointField, TracepointFormat

__all__ = ["directory", "file_content"]

_TRACEFS = re.compile(r"/sys/kernel/(?:debug/)?tracing(?:/(?P<rest>.*))?$")
_PROCESS = re.compile(r"/proc/(?P<pid>\d+)(?:/task/(?P<tid>\d+))?/(?P<file>comm|cmdline|status|stat)$")
_KPROBES = re.compile(r"/sys/kernel/debug/kprobes/(?:blacklist|list)$")
_VERSION = re.compile(r"/proc/sys/kernel/osrelease$")


class ShowsFiles(Protocol):
    """The kernel, as its files know it (SimKernel)."""

    release: str
    tasks: TaskTable

    def functions(self) -> Iterable[str]: ...
    def function_address(self, name: str) -> int: ...
    @property
    def formats(self) -> Mapping[str, TracepointFormat]: ...


def file_content(kernel: ShowsFiles, path: str) -> bytes | None:
    """What the file at this absolute path holds; None for a path that says nothing of the kernel."""
    if path == "/proc/kallsyms":
        return "".join(f"{kernel.function_address(one):016x} T {one}\n" for one in kernel.functions()).encode()
    if _KPROBES.match(path):
        return b""
    if _VERSION.match(path):
        return f"{kernel.release}\n".encode()
    traced = _TRACEFS.match(path)
    if traced:
        return _traced(kernel, traced["rest"] or "")
    process = _PROCESS.match(path)
    if process:
        task = kernel.tasks.get(int(process["tid"] or process["pid"]))
        return _of_task(task, process["file"]) if task is not None else None
    return None


def directory(kernel: ShowsFiles, path: str) -> list[str] | None:
    """The names in a directory of tracefs, sorted; None for any other path."""
    found = _TRACEFS.match(path.rstrip("/"))
    if not found:
        return None
    parts = [one for one in (found["rest"] or "").split("/") if one]
    if not parts:
        return ["available_events", "available_filter_functions", "events", "trace_pipe"]
    if parts[0] != "events":
        return None
    names = [one.partition(":") for one in kernel.formats]
    if len(parts) == 1:
        return sorted({category for category, _, _ in names})
    events = sorted(event for category, _, event in names if category == parts[1])
    if len(parts) == 2:
        return events or None
    return ["format", "id"] if len(parts) == 3 and parts[2] in events else None


def _traced(kernel: ShowsFiles, rest: str) -> bytes | None:
    if rest == "available_filter_functions":
        return "".join(f"{one}\n" for one in kernel.functions()).encode()
    if rest == "available_events":
        return "".join(f"{one}\n" for one in sorted(kernel.formats)).encode()
    parts = rest.split("/")
    if len(parts) != 4 or parts[0] != "events":
        return None
    found = kernel.formats.get(f"{parts[1]}:{parts[2]}")
    if found is None or parts[3] not in ("format", "id"):
        return None
    return f"{found.id}\n".encode() if parts[3] == "id" else _format_text(found).encode()


def _format_text(one: TracepointFormat) -> str:
    """As tracefs prints it; the fields that all records share stand in a paragraph of their own."""
    rows = [f"\tfield:{_declaration(field)};\toffset:{field.offset};\tsize:{field.size};\tsigned:{int(field.signed)};\n"
            for field in one.fields]
    common = sum(field.is_common for field in one.fields)
    fields = "".join(rows[:common]) + "\n" + "".join(rows[common:])
    return f"name: {one.name}\nID: {one.id}\nformat:\n{fields}\nprint fmt: {one.print_fmt}\n"


def _declaration(field: TracepointField) -> str:
    if field.is_data_loc or field.is_rel_loc:
        return f"{'__data_loc' if field.is_data_loc else '__rel_loc'} {field.type}[] {field.name}"
    return f"{field.type} {field.name}" + (f"[{field.array}]" if field.array is not None else "")


def _of_task(task: Task, file: str) -> bytes:
    if file == "comm":
        return f"{task.comm}\n".encode("utf-8", "surrogateescape")
    if file == "cmdline":
        return task.comm.encode("utf-8", "surrogateescape") + b"\0"
    if file == "stat":
        return f"{task.pid} ({task.comm}) R {task.ppid}\n".encode("utf-8", "surrogateescape")
    ids = "\t".join([str(task.uid)] * 4)
    groups = "\t".join([str(task.gid)] * 4)
    return (f"Name:\t{task.comm}\nState:\tR (running)\nTgid:\t{task.tgid}\nPid:\t{task.pid}\nPPid:\t{task.ppid}\n"
            f"Uid:\t{ids}\nGid:\t{groups}\n").encode("utf-8", "surrogateescape")
