"""A small machine for workloads: processes as generators, on CPUs, over a virtual clock.

Input: a main generator for each process. It yields Run(ns) while it computes and Block(ns) while it waits;
between two yields it happens at one instant. Output: the events Linux would fire, in Linux's order, through
SimKernel's firing side: system calls, fork, exec, exit, signals, scheduler and TCP states.

Machine is an EventSource: a heap of (time, number, process) with one step for each resumption, so the same
seed gives the same events. counts says how many of each were fired, by "category:event"; it is kept
independently of any program, for tests.

Not modelled: preemption by time slice, threads, page faults. A process stays on the CPU it was forked to."""

from __future__ import annotations

import abc
import heapq
import random
import struct
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from bcc_py.sim.formats import KernelFormats, kernel_functions, record
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.memory import Fields, UserMemory
from bcc_py.sim.task import Task
from bcc_py.syscalls import SYSCALL_NUMBERS
from cfront.ctype import Record
from cfront.tracepoint import TracepointFormat

__all__ = ["Block", "Machine", "Main", "Process", "Run"]

SIGINT, SIGKILL, SIGSEGV, SIGTERM, SIGCHLD = 2, 9, 11, 15, 17
ENOENT, ECHILD, ECONNREFUSED = 2, 10, 111
AF_INET, SOCK_STREAM, IPPROTO_TCP = 2, 1, 6
ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE = 1, 2, 4, 5, 7

_FORK_FLAGS = 0x1200011  # CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD
_AT_FDCWD = -100 & 0xFFFFFFFFFFFFFFFF
_DATA = 0x55D3C0000000  # user addresses: strings a process passes to system calls
_DATA_BYTES = 4096
_STACK = 0x3FFDE0000000
_CLD_EXITED, _CLD_KILLED, _SEGV_MAPERR = 1, 2, 1
_STATE_RUNNING, _STATE_SLEEPING, _STATE_ZOMBIE = 0, 1, 0x20
_US = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """Computes for ns: the CPU stays with the process."""

    ns: int


@dataclass(frozen=True, slots=True)
class Block:
    """Waits for ns, or until woken when None: the CPU becomes idle."""

    ns: int | None = None


Main = Generator[Run | Block, None, None]


@dataclass(eq=False, slots=True)
class Process:
    """One process of the machine. ticket: of its entry in the heap that counts; older ones are void."""

    task: Task
    cpu: int
    main: Main
    memory: UserMemory
    ticket: int = 0
    is_blocked: bool = False
    is_dead: bool = False
    fatal_signal: int = 0
    next_fd: int = 3
    data_at: int = 0
    waiter: Process | None = None
    children: list[Process] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.task.pid


class Machine(abc.ABC):
    """An EventSource whose events are made by processes. Subclasses start the first ones in boot."""

    def __init__(self, *, seed: int, cpus: int, start_ns: int, first_pid: int) -> None:
        self.cpus = cpus
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.kernel: SimKernel
        self._formats = KernelFormats()
        self._heap: list[tuple[int, int, Process]] = []
        self._tickets = 0
        self._now_ns = start_ns
        self._next_pid = first_pid
        self._on_cpu: list[Task] = []
        self._layouts: dict[str, Fields] = {}

    # -- EventSource

    def start(self, kernel: SimKernel) -> None:
        self.kernel = kernel
        kernel.set_context(0, self._now_ns, None)
        self._on_cpu = [kernel.tasks.idle] * self.cpus
        self.boot()

    @abc.abstractmethod
    def boot(self) -> None:
        """Makes the processes that are there at the start."""

    def next_time_ns(self) -> int | None:
        while self._heap and self._heap[0][2].ticket != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def step(self, kernel: SimKernel) -> None:
        due = self.next_time_ns()
        assert due is not None, "step is called while something is left to happen"
        self._now_ns = due
        self._resume(heapq.heappop(self._heap)[2])

    def tracepoint_formats(self) -> Mapping[str, TracepointFormat]:
        return self._formats

    def functions(self) -> Iterable[str]:
        return kernel_functions()

    # -- scheduling

    def add(self, task: Task, main: Main, cpu: int, delay_ns: int = 0) -> Process:
        """A process that is there already and begins to run main after delay_ns."""
        process = Process(task, cpu, main, self._new_memory())
        task.memory = process.memory
        process.is_blocked = True
        self._schedule(process, delay_ns)
        return process

    def _schedule(self, process: Process, delay_ns: int) -> None:
        self._tickets += 1
        process.ticket = self._tickets
        heapq.heappush(self._heap, (self._now_ns + max(delay_ns, 1), self._tickets, process))

    def _resume(self, process: Process) -> None:
        if process.is_blocked:
            process.is_blocked = False
            self._enter_idle(process.cpu)
            self.fire("sched:sched_wakeup", (process.task.address,), comm=_comm(process.task), pid=process.pid, prio=120,
                      target_cpu=process.cpu)
        self._switch_to(process.cpu, process.task, _STATE_RUNNING)
        if process.fatal_signal and not process.is_dead:
            process.main.close()
            process.main = self._die_of(process, process.fatal_signal)
            process.fatal_signal = 0
        wanted = next(process.main, None)
        if wanted is None:
            self._switch_to(process.cpu, self.kernel.tasks.idle, _STATE_ZOMBIE)
        elif isinstance(wanted, Run):
            self._schedule(process, wanted.ns)
        else:
            process.is_blocked = True
            process.ticket = 0
            self._switch_to(process.cpu, self.kernel.tasks.idle, _STATE_SLEEPING)
            if wanted.ns is not None:
                self._schedule(process, wanted.ns)

    def _enter_idle(self, cpu: int) -> None:
        """Interrupt context: whoever is on the CPU is the current task."""
        self.kernel.set_context(cpu, self._now_ns, self._on_cpu[cpu])

    def _switch_to(self, cpu: int, task: Task, state: int) -> None:
        before = self._on_cpu[cpu]
        if before is not task:
            self.kernel.set_context(cpu, self._now_ns, before)
            self.kernel.fire_kprobe("schedule", {})
            self.kernel.switched()
            self.fire("sched:sched_switch", (0, before.address, task.address, state),
                      prev_comm=_comm(before), prev_pid=before.pid, prev_prio=120, prev_state=state,
                      next_comm=_comm(task), next_pid=task.pid, next_prio=120)
            self._on_cpu[cpu] = task
        self.kernel.set_context(cpu, self._now_ns, task)
        if before is not task:
            self.kernel.fire_kprobe("finish_task_switch.isra.0", {"di": before.address})
            self.kernel.fire_kretprobe("schedule", {})

    # -- events

    def fire(self, name: str, raw_args: tuple[int, ...] | None = None, /, **values: int | bytes) -> None:
        """One tracepoint "category:event": its raw form with raw_args, then its record with values."""
        self.counts[name] += 1
        if raw_args is not None:
            self.kernel.fire_raw_tracepoint(name.partition(":")[2], raw_args)
        if self.kernel.wants_tracepoint(name):
            self.kernel.fire_tracepoint(name, record(self._formats[name], self.kernel.common_fields(name), values))

    def enter(self, name: str, *args: int) -> None:
        words = (*(value & 0xFFFFFFFFFFFFFFFF for value in args), 0, 0, 0, 0, 0, 0)[:6]
        self.counts[f"syscalls:sys_enter_{name}"] += 1
        self.kernel.syscall_enter(SYSCALL_NUMBERS[name], (words[0], words[1], words[2], words[3], words[4], words[5]))

    def leave(self, name: str, ret: int) -> None:
        self.counts[f"syscalls:sys_exit_{name}"] += 1
        self.kernel.syscall_exit(SYSCALL_NUMBERS[name], ret)

    def call(self, name: str, *args: int, ret: int = 0, us: float = 2, waits: bool = False) -> Main:
        """A system call that takes us microseconds, waiting (off the CPU) or computing."""
        self.enter(name, *args)
        ns = max(round(us * _US * self.random.uniform(0.7, 1.6)), 1)
        yield Block(ns) if waits else Run(ns)
        self.leave(name, ret)

    # -- a process's memory

    def _new_memory(self) -> UserMemory:
        return UserMemory(self.kernel.runtime, [(_DATA, bytes(_DATA_BYTES))])

    def put(self, process: Process, content: bytes) -> int:
        """content in the process's data, where it stays until 4 KiB more were put; its user address."""
        if process.data_at + len(content) > _DATA_BYTES:
            process.data_at = 0
        address = _DATA + process.data_at
        process.memory.write(address, content)
        process.data_at += (len(content) + 7) & ~7
        return address

    def put_text(self, process: Process, text: str) -> int:
        return self.put(process, text.encode() + b"\0")

    def put_strings(self, process: Process, texts: Sequence[str]) -> int:
        """A null-terminated array of pointers to strings, as execve takes it."""
        places = [self.put_text(process, one) for one in texts]
        return self.put(process, struct.pack(f"<{len(places) + 1}Q", *places, 0))

    # -- life of processes

    def fork(self, parent: Process, make_main: Callable[[Process], Main]) -> Generator[Run | Block, None, Process]:
        """make_main(child) is the child's main. Gives the child."""
        self.enter("clone", _FORK_FLAGS, 0, 0, 0, 0)
        yield Run(self.random.randrange(40, 120) * _US)
        while self.kernel.tasks.get(self._next_pid) is not None:
            self._next_pid += 1
        pid, self._next_pid = self._next_pid, self._next_pid + 1
        task = self.kernel.tasks.fork(parent.task, pid, time_ns=self._now_ns)
        child = Process(task, self.random.randrange(self.cpus), _nothing(), self._new_memory())
        task.memory = child.memory
        child.main = self._first_steps(make_main(child))
        child.is_blocked = False
        parent.children.append(child)
        self.fire("task:task_newtask", (task.address, _FORK_FLAGS), pid=pid, comm=_comm(task), clone_flags=_FORK_FLAGS,
                  oom_score_adj=0)
        self.fire("sched:sched_process_fork", (parent.task.address, task.address), parent_comm=_text(parent.task),
                  parent_pid=parent.pid, child_comm=_text(task), child_pid=pid)
        self.fire("sched:sched_wakeup_new", (task.address,), comm=_comm(task), pid=pid, prio=120, target_cpu=child.cpu)
        self._schedule(child, self.random.randrange(15, 60) * _US)
        self.leave("clone", pid)
        return child

    def _first_steps(self, main: Main) -> Main:
        """A child comes out of its parent's clone with 0."""
        self.leave("clone", 0)
        yield from main

    def exec(self, process: Process, path: str, argv: Sequence[str], *, error: int = 0) -> Main:
        """execve; error: the errno it fails with, 0 for success."""
        filename = self.put_text(process, path)
        pointers = self.put_strings(process, argv)
        environment = self.put_strings(process, ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/user"])
        self.enter("execve", filename, pointers, environment)
        yield Run(self.random.randrange(20, 40) * _US if error else self.random.randrange(250, 900) * _US)
        if not error:
            self._become(process, path, argv)
        self.leave("execve", -error)

    def _become(self, process: Process, path: str, argv: Sequence[str]) -> None:
        task = process.task
        old = _comm(task)
        process.memory = self._new_memory()
        process.memory.map(_STACK, b"\0".join(one.encode() for one in argv) + b"\0")
        process.data_at, process.next_fd = 0, 3
        self.kernel.tasks.exec(task, PurePosixPath(path).name, process.memory)
        self.kernel.set_context(process.cpu, self._now_ns, task)
        self.fire("task:task_rename", (task.address, 0), pid=task.pid, oldcomm=old, newcomm=_comm(task), oom_score_adj=0)
        memory = self.kernel.memory
        name = memory.take_bytes(path.encode() + b"\0")
        program = self._layout("linux_binprm")
        place = memory.take_bytes(program.image(filename=name, interp=name, argc=len(argv), mm=task.mm))
        self.fire("sched:sched_process_exec", (task.address, task.pid, place), filename=path.encode(), pid=task.pid,
                  old_pid=task.pid)
        memory.give(place, program.size)
        memory.give(name, len(path.encode()) + 1)

    def exit(self, process: Process, status: int = 0) -> Main:
        """exit_group with status; the process's main ends with it."""
        self.enter("exit_group", status)
        yield Run(self.random.randrange(30, 90) * _US)
        self._finish(process, status << 8)

    def _die_of(self, process: Process, signal: int) -> Main:
        self.fire("signal:signal_deliver", (signal, 0, 0), sig=signal, errno=0, code=0, sa_handler=0, sa_flags=0)
        yield Run(self.random.randrange(30, 90) * _US)
        self._finish(process, signal)

    def _finish(self, process: Process, code: int) -> None:
        task = process.task
        process.is_dead = True
        self.kernel.tasks.exit(task, code)
        self.fire("sched:sched_process_exit", (task.address, 1), comm=_comm(task), pid=task.pid, prio=120, group_dead=1)
        if task.parent is not None:
            self._tell(SIGCHLD, _CLD_KILLED if code & 0x7F else _CLD_EXITED, task.parent, result=1)
        waiter, process.waiter = process.waiter, None
        if waiter is not None:
            self._schedule(waiter, self.random.randrange(5, 20) * _US)

    def _tell(self, signal: int, code: int, target: Task, result: int = 0) -> None:
        self.fire("signal:signal_generate", (signal, 0, target.address, 1, result), sig=signal, errno=0, code=code,
                  comm=_comm(target), pid=target.pid, group=1, result=result)

    def wait(self, process: Process, child: Process) -> Main:
        """wait4 for child, which is then gone."""
        self.enter("wait4", child.pid, 0, 0, 0)
        if not child.is_dead:
            child.waiter = process
            yield Block()
        else:
            yield Run(2 * _US)
        pid = child.pid
        process.children.remove(child)
        self.fire("sched:sched_process_free", (child.task.address,), comm=_text(child.task), pid=pid, prio=120)
        self.kernel.tasks.reap(child.task)
        self.leave("wait4", pid)

    def kill(self, process: Process, target: Process, signal: int) -> Main:
        """kill(2) with a signal that target does not catch."""
        self.enter("kill", target.pid, signal)
        yield Run(3 * _US)
        if not target.is_dead:
            self._tell(signal, 0, target.task)
            target.fatal_signal = signal
            self._schedule(target, self.random.randrange(10, 40) * _US)
        self.leave("kill", 0)

    def crash(self, process: Process) -> Main:
        """A bad memory access: SIGSEGV from the fault itself."""
        self._tell(SIGSEGV, _SEGV_MAPERR, process.task)
        yield from self._die_of(process, SIGSEGV)

    # -- files

    def open(self, process: Process, path: str, flags: int = 0x80000, *, error: int = 0) -> Generator[Run | Block, None, int]:
        """openat; gives the descriptor, or -error."""
        address = self.put_text(process, path)
        result = -error
        if not error:
            result, process.next_fd = process.next_fd, process.next_fd + 1
        yield from self.call("openat", _AT_FDCWD, address, flags, 0o644 if flags & 0o100 else 0, ret=result, us=4)
        return result

    def read(self, fd: int, size: int, *, ret: int | None = None, waits: bool = False, us: float = 3) -> Main:
        yield from self.call("read", fd, _DATA + _DATA_BYTES // 2, size, ret=size if ret is None else ret, us=us, waits=waits)

    def write(self, process: Process, fd: int, content: bytes) -> Main:
        address = self.put(process, content[: _DATA_BYTES // 2])
        yield from self.call("write", fd, address, len(content), ret=len(content), us=5)

    def close(self, process: Process, fd: int) -> Main:
        process.next_fd = max(3, min(process.next_fd, fd))
        yield from self.call("close", fd, us=1)

    # -- TCP, one end

    def connect(self, process: Process, address: str, port: int, *, refused: bool = False) -> Generator[Run | Block, None, Socket]:
        """socket and connect over IPv4 from 10.0.0.2; gives the socket, connected unless refused."""
        fd = process.next_fd
        process.next_fd += 1
        yield from self.call("socket", AF_INET, SOCK_STREAM, IPPROTO_TCP, ret=fd, us=8)
        socket = Socket(fd, _ipv4("10.0.0.2"), _ipv4(address), self.random.randrange(32768, 60999), port, CLOSE, process.cpu)
        self._make_sock(socket)
        packed = struct.pack(">2sH4s8x", struct.pack("<H", AF_INET), port, socket.remote)
        self.enter("connect", fd, self.put(process, packed), 16)
        self.kernel.fire_kprobe("tcp_v4_connect", {"di": socket.address, "dx": 16})
        self.set_state(socket, SYN_SENT)
        self.kernel.fire_kretprobe("tcp_v4_connect", {"ax": 0})
        yield Block(self.random.randrange(8_000, 40_000) * _US)
        self._enter_idle(process.cpu)
        self.set_state(socket, CLOSE if refused else ESTABLISHED)
        self.kernel.set_context(process.cpu, self._now_ns, process.task)
        self.leave("connect", -ECONNREFUSED if refused else 0)
        return socket

    def disconnect(self, process: Process, socket: Socket) -> Main:
        """close(2), then the rest of the shutdown, which the kernel does on its own."""
        self.enter("close", socket.fd)
        if socket.state == ESTABLISHED:
            self.set_state(socket, FIN_WAIT1)
            yield Run(4 * _US)
            self.leave("close", 0)
            yield Block(self.random.randrange(8_000, 30_000) * _US)
            self._enter_idle(process.cpu)
            self.set_state(socket, FIN_WAIT2)
            self.set_state(socket, CLOSE)
            self.kernel.set_context(process.cpu, self._now_ns, process.task)
        else:
            yield Run(4 * _US)
            self.leave("close", 0)
        self.kernel.memory.give(socket.address, self._layout("tcp_sock").size)

    def _layout(self, name: str) -> Fields:
        if name not in self._layouts:
            found = self.kernel.types.find("struct", name)
            assert isinstance(found, Record), f"kernel.h declares struct {name}"
            self._layouts[name] = Fields(found)
        return self._layouts[name]

    def _make_sock(self, socket: Socket) -> None:
        image = self._sock_image(socket)
        socket.address = self.kernel.memory.take(self._layout("tcp_sock").size)
        self.kernel.memory.write(socket.address, image)

    def _sock_image(self, socket: Socket) -> bytes:
        mapped = b"\0" * 10 + b"\xff\xff"
        return self._layout("sock_common").image(
            skc_daddr=socket.remote, skc_rcv_saddr=socket.local, skc_dport=struct.pack(">H", socket.remote_port),
            skc_num=socket.local_port, skc_family=AF_INET, skc_state=socket.state,
            skc_v6_daddr=mapped + socket.remote, skc_v6_rcv_saddr=mapped + socket.local)

    def set_state(self, socket: Socket, state: int) -> None:
        """One inet_sock_set_state, in whatever context is current."""
        before, socket.state = socket.state, state
        mapped = b"\0" * 10 + b"\xff\xff"
        self.kernel.fire_kprobe("tcp_set_state", {"di": socket.address, "si": state})
        self.fire("sock:inet_sock_set_state", (socket.address, before, state), skaddr=socket.address, oldstate=before,
                  newstate=state, sport=socket.local_port, dport=socket.remote_port, family=AF_INET, protocol=IPPROTO_TCP,
                  saddr=socket.local, daddr=socket.remote, saddr_v6=mapped + socket.local, daddr_v6=mapped + socket.remote)
        self.kernel.memory.write(socket.address, self._sock_image(socket))


@dataclass(slots=True)
class Socket:
    """One TCP socket. local, remote: four address bytes; address: of its struct tcp_sock."""

    fd: int
    local: bytes
    remote: bytes
    local_port: int
    remote_port: int
    state: int
    cpu: int
    address: int = 0


def _nothing() -> Main:
    yield from ()


def _text(task: Task) -> bytes:
    return task.comm.encode(errors="surrogateescape")


def _comm(task: Task) -> bytes:
    return _text(task).ljust(16, b"\0")


def _ipv4(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))
