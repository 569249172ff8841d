"""One CPU of the simulated kernel, as Python sees it: the runtime's struct cpu and the page for contexts.

A program runs on a CPU: its clock, its current task and what it was given are the CPU's. At most one thread
runs on a CPU at a time; SimCpu.lock is held by whoever does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from bcc_py.errors import FaultError
from bcc_py.sim.memory import Runtime
from bcc_py.sim.task import Task

__all__ = ["CPU_FIELDS", "SimCpu", "describe"]

CPU_FIELDS = ("stack_top", "number", "tail_calls", "fault")  # what machine code reaches in struct cpu

_COMM_BYTES = 15
_MASK64 = (1 << 64) - 1


class SimCpu:
    """pointer: the struct cpu. address: of it, which is what programs are run with."""

    def __init__(self, runtime: Runtime, pointer: Any) -> None:
        self.lock = threading.RLock()
        self.pointer = pointer
        self._runtime = runtime
        self.address = runtime.address_of(pointer)
        self.page_address = runtime.address_of(pointer.page)
        self._page: Any = runtime.ffi.buffer(pointer.page, pointer.page_size)
        self._null: Any = runtime.ffi.NULL
        self._used = 0
        self._stacks: tuple[Any, Any] = (None, None)

    def enter(self, task: Task, time_ns: int) -> None:
        """From now on it is this time, and task runs here."""
        self.pointer.time_ns = time_ns
        describe(task, self.pointer, self._null)

    def see_memory(self, task: Task) -> None:
        """User addresses are task's."""
        _show_memory(task, self.pointer, self._null)

    def set_stack(self, kernel_ips: Sequence[int], user_ips: Sequence[int]) -> None:
        """The stacks of what happens here, innermost address first."""
        state = self.pointer
        kernel = self._runtime.ffi.new("u64[]", [ip & _MASK64 for ip in kernel_ips])
        user = self._runtime.ffi.new("u64[]", [ip & _MASK64 for ip in user_ips])
        self._stacks = kernel, user  # the struct only points at them
        state.kernel_ips, state.kernel_depth = kernel, len(kernel)
        state.user_ips, state.user_depth = user, len(user)

    def at_function(self, address: int, arguments: int = 0, has_result: bool = False) -> None:
        """What happens here is the entry or the return of this function; how many arguments the context holds, and whether
        its result follows them."""
        state = self.pointer
        state.function, state.arguments, state.has_result = address, arguments, has_result

    def put(self, content: bytes) -> None:
        """Lays out what the next program gets; what an earlier, longer context left behind becomes zeros. Raises
        ValueError for a context that is longer than the page."""
        size = len(content)
        if size > len(self._page):
            raise ValueError(f"a context of {size} bytes (at most {len(self._page)})")
        stale = self._used - size
        self._page[:size] = content
        if stale > 0:
            self._page[size : size + stale] = bytes(stale)
        self._used = size
        self.pointer.context = self.pointer.page
        self.pointer.context_size = self.pointer.page_size

    def note_used(self, size: int) -> None:
        """size bytes of the page were written to by a batch."""
        self._used = max(self._used, size)
    def show(self, context: Any | None) -> None:
        """What the running program was given, which probe_read may read: a struct of the runtime, None for the page."""
        ffi, state = self._runtime.ffi, self.pointer
        state.context = state.page if context is None else ffi.cast("u8 *", context)
        state.context_size = state.page_size if context is None else ffi.sizeof(context[0])

    def content(self, size: int) -> bytes:
        """The first size bytes of the page."""
        return bytes(self._page[:size])

    def raise_fault(self, name: str) -> NoReturn:
        """Raises the FaultError of a checked program, and forgets it. name: of the program."""
        state = self.pointer
        slot, address, size = int(state.fault_slot), int(state.fault_address), int(state.fault_bytes)
        state.fault = 0
        what = f"an access of {size} bytes at {address:#x} that it may not make" if size else "it does not end"
        raise FaultError(f"running {name}: insn {slot}: {what}", address, size)


def describe(task: Task, row: Any, null: Any) -> None:
    """Writes who runs: task. row: a struct who or a struct cpu."""
    row.pid, row.tgid, row.uid, row.gid = task.pid, task.tgid, task.uid, task.gid
    row.task = task.address
    row.comm = task.comm.encode(errors="surrogateescape")[:_COMM_BYTES].ljust(16, b"\0")
    _show_memory(task, row, null)


def _show_memory(task: Task, row: Any, null: Any) -> None:
    memory = task.memory
    row.user = memory.segments if memory is not None else null
    row.user_count = memory.count if memory is not None else 0
    row.files = memory.files if memory is not None else null
    row.file_count = memory.file_count if memory is not None else 0
