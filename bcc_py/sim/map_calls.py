"""What happens in the simulated kernel when a process uses a map, a program or an attachment: bpf(2) and, in a hash map,
the kernel's own functions.

Of maps of type HASH, looking up, updating and deleting fire htab_map_lookup_elem, htab_map_update_elem and
htab_map_delete_elem with the map's address and its key's (and its value's) in kernel memory. They happen on the current CPU, in
the current task: who calls is the owner of the script, whom the kernel does not know unless told (caller). Nothing is done
while no function is attached to.

Linux keeps programs from running in a map's operation that a system call asks for (bpf_disable_instrumentation, since
5.7); here they run, as they did before, so that scripts that trace their own maps see something.
Source: kernel/bpf/hashtab.c, kernel/bpf/syscall.c."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from bcc_py.sim.memory import KernelMemory
from cfront.uapi import MapType

__all__ = ["Caller", "MapCalls"]

_NOTHING: AbstractContextManager[None] = nullcontext()
# command of bpf(2): its number in enum bpf_cmd
_COMMANDS = {"map_create": 0, "lookup": 1, "update": 2, "delete": 3, "next": 4, "prog_load": 5, "take": 21}
_POINTER_BYTES = 8

Caller = Callable[[int], AbstractContextManager[None]]


class FiresFunctions(Protocol):
    """The kernel, as its maps know it (SimKernel)."""

    @property
    def memory(self) -> KernelMemory: ...
    def fire_kprobe(self, function: str, regs: Mapping[str, int]) -> None: ...
    def fire_kretprobe(self, function: str, regs: Mapping[str, int]) -> None: ...
    def function_address(self, name: str) -> int: ...
    def set_stack(self, kernel_ips: Sequence[int], user_ips: Sequence[int] = ()) -> None: ...
    def has_function(self, name: str) -> bool: ...


class MapCalls:
    """is_wanted: somebody may be attached to what happens. caller: enters bpf(2) with a command's number for whoever calls."""

    def __init__(self, kernel: FiresFunctions) -> None:
        self.is_wanted = False
        self.caller: Caller | None = None
        self._kernel = kernel
        self._addresses: dict[int, int] = {}  # of a struct bpf_map that holds nothing, by the map's id

    def made(self, command: str) -> AbstractContextManager[None]:
        """Around what bpf(2) does that concerns no map."""
        return self.caller(_COMMANDS[command]) if self.is_wanted and self.caller is not None else _NOTHING

    def around(self, operation: str, map_id: int, type: MapType, key: bytes | None, value: bytes = b"") -> AbstractContextManager[None]:
        """Around one operation on a map."""
        return self._around(operation, map_id, type, key or b"", value) if self.is_wanted else _NOTHING

    @contextmanager
    def _around(self, operation: str, map_id: int, type: MapType, key: bytes, value: bytes) -> Iterator[None]:
        function = f"htab_map_{operation}_elem"
        with self.made(operation):
            if type is not MapType.HASH or not self._kernel.has_function(function):
                yield
                return
            kernel, memory = self._kernel, self._kernel.memory
            held = [(memory.take_bytes(one), len(one)) for one in (key, value) if one]
            places = dict(zip(("si", "dx"), (address for address, _ in held), strict=False))
            kernel.set_stack((kernel.function_address(function),))
            try:
                kernel.fire_kprobe(function, {"di": self._address(map_id), **places})
                yield
                kernel.fire_kretprobe(function, {})
            finally:
                kernel.set_stack(())
                for address, size in held:
                    memory.give(address, size)

    def _address(self, map_id: int) -> int:
        if map_id not in self._addresses:
            self._addresses[map_id] = self._kernel.memory.take(_POINTER_BYTES)
        return self._addresses[map_id]
