"""A loaded program of the simulated kernel: its machine code, who uses it, and running it.

It lives until it is closed and detached everywhere, and no timer may call it any more. Its code goes back only when no
program runs, for one may have come there by a tail call: that is the kernel's to see (RunsPrograms)."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from bcc_py.errors import LoadError
from bcc_py.jit import NativeProgram
from bcc_py.kernel import RunStats, TestRun
from bcc_py.sim.cpu import SimCpu
from bcc_py.sim.maps import SimMap
from bcc_py.sim.testrun import TestBench, run_on, test_run
from bcc_py.spec import ProgramSpec
from cfront.uapi import HELPER_IDS, ProgType

__all__ = ["RunsPrograms", "SimProgram"]

_CALL = 0x85
_SET_TIMER, _SET_WORK = HELPER_IDS["timer_set_callback"], "bpf_wq_set_callback_impl"
_EBADF = 9


class RunsPrograms(Protocol):
    """The kernel, as its programs know it (SimKernel)."""

    @property
    def lock(self) -> threading.RLock: ...
    @property
    def state(self) -> Any: ...
    @property
    def runtime(self) -> Any: ...
    @property
    def current_cpu(self) -> SimCpu: ...
    def cpu(self, number: int) -> SimCpu: ...
    def retire(self, code: NativeProgram) -> None: ...
    def is_needed(self, program: SimProgram) -> bool: ...
    def forget(self, program: SimProgram) -> None: ...


class SimProgram:
    """A verified, compiled program. It lives until it is closed and detached everywhere."""

    def __init__(
        self, spec: ProgramSpec, fd: int, code: NativeProgram, maps: list[SimMap], kernel: RunsPrograms, context_bytes: int
    ) -> None:
        self.spec = spec
        self.fd = fd
        self.kernel = kernel
        self.context_bytes = context_bytes  # how much of its context it reads and writes
        self.sets_timers = any(one.code == _CALL and one.src == 0 and one.imm == _SET_TIMER for one in spec.insns) or (
            _SET_WORK in spec.kernel_functions.values())
        self._native: Any = kernel.runtime.ffi.new("struct program *")
        self._native.enter = kernel.runtime.ffi.cast("u64 (*)(struct cpu *, u64, u64, u64, u64, u64)", code.entry)
        self._code = code
        self._maps = maps
        self._users = 1
        self._is_open = True
        for one in maps:
            one.retain()

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def id(self) -> int:
        """The number under which the kernel lists the program."""
        return self.fd

    @property
    def address(self) -> int:
        """Of its struct program."""
        return int(self.kernel.runtime.address_of(self._native))

    @property
    def type(self) -> ProgType:
        return self.spec.type

    @property
    def native(self) -> Any:
        """The runtime's struct program."""
        return self._native

    @property
    def stats(self) -> RunStats:
        """How often it ran, and for how long while the kernel's stats were on."""
        return RunStats(int(self._native.runs), int(self._native.run_time_ns))

    def run(self, cpu: SimCpu) -> int:
        """r0 of one run on this CPU, on what was put there."""
        r0 = int(self.kernel.runtime.program_run(cpu.pointer, self._native, cpu.page_address))
        if cpu.pointer.fault:
            cpu.raise_fault(self.spec.name)
        return r0

    def test_run(self, data: bytes = b"", ctx: bytes = b"", repeat: int = 1) -> TestRun:
        """Runs on a packet and a context, as BPF_PROG_TEST_RUN (testrun.py); repeat runs follow each other natively.

        Raises LoadError with Linux's errno for bytes that the type does not take, or if closed; NotSupportedError for
        a type that has no test run."""
        self.check_open("test run")
        with self.kernel.lock:
            return test_run(self._bench(), self.spec, self._code, self.context_bytes, data, ctx, repeat)

    def run_on(self, context: Any, retval: int = 0) -> tuple[int, int]:
        """One run on a struct of the runtime that is this type's context; (r0, what bpf_set_retval made of retval).
        Raises LoadError if closed."""
        self.check_open("run")
        with self.kernel.lock:
            return run_on(self._bench(), self.spec, self._code, context, retval)

    def _bench(self) -> TestBench:
        """The current CPU."""
        return TestBench(self.kernel.runtime, self.kernel.current_cpu, self.kernel.state)

    def check_open(self, doing: str) -> None:
        if not self._is_open:
            raise LoadError(f"{doing}: program {self.spec.name} is closed", self.spec.name, _EBADF)

    def repeat_on(self, cpu: int, count: int) -> int:
        """Runs it count times on this CPU, beside what runs on others; the last return value. The caller is the only one
        on the CPU."""
        self.check_open("running")
        one, runtime, state = self.kernel.cpu(cpu), self.kernel.runtime, self.kernel.state
        runtime.sim_enter(state)
        try:
            return self._code.repeat(one.address, one.page_address, count)
        finally:
            runtime.sim_leave(state)

    def retain(self) -> None:
        self._users += 1

    def release(self) -> None:
        self._users -= 1
        if not self._users and not self.kernel.is_needed(self):
            self.kernel.retire(self._code)
            for one in self._maps:
                one.release()
            self.kernel.forget(self)

    def close(self) -> None:
        with self.kernel.lock:
            if self._is_open:
                self._is_open = False
                self.release()
