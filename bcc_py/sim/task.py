"""Tasks: who runs in the simulated kernel, and the kernel objects that say so.

A Task is Python's side of one thread; its struct task_struct, with the mm_struct, signal_struct, pid and
cred it points at, lives in kernel memory, laid out by kernel.h. Invariant: whatever a Task's attributes
say, its task_struct says too; they change only through TaskTable.

Namespaces, the root directory and the cgroup are made once and shared by all. When a task exits, its
children go to pid 1; its memory is given back when it is reaped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bcc_py.errors import MapError
from bcc_py.sim.memory import Fields, KernelMemory, Runtime, UserMemory
from cfront.btf import TypeSource
from cfront.ctype import Record

__all__ = ["CGROUP_ID", "PID_NS_INO", "ROOT_CGROUP_ID", "Task", "TaskTable"]

PID_NS_INO = 0xEFFFFFFC  # PROC_PID_INIT_INO
CGROUP_ID = 2
ROOT_CGROUP_ID = 1
_THREAD_BYTES = 16384  # a task's kernel stack, at whose end its user registers are
_NS_INO = {"uts_namespace": 0xEFFFFFFE, "ipc_namespace": 0xEFFFFFFF, "user_namespace": 0xEFFFFFFD, "mnt_namespace": 0xF0000000,
           "net": 0xF0000098, "cgroup_namespace": 0xEFFFFFFB, "time_namespace": 0xEFFFFFFA}
_PF_KTHREAD, _PF_EXITING = 0x00200000, 0x00000004
_EXIT_ZOMBIE = 0x20
_SIGCHLD = 17
_NODE = b"simulated"


class Task:
    """One thread. pid: the thread's id, tgid: the process's. address: of its struct task_struct.
    memory: what is mapped of its process, None if nothing. regs: where its user registers are kept."""

    __slots__ = ("address", "children", "comm", "exit_code", "gid", "is_exited", "memory", "mm", "parent", "pid", "pid_struct",
                 "regs", "signal", "start_time_ns", "tgid", "uid")

    def __init__(self, pid: int, tgid: int, comm: str, parent: Task | None, uid: int, gid: int, start_time_ns: int) -> None:
        self.pid = pid
        self.tgid = tgid
        self.comm = comm
        self.parent = parent
        self.uid = uid
        self.gid = gid
        self.start_time_ns = start_time_ns
        self.exit_code = 0
        self.is_exited = False
        self.children: list[Task] = []
        self.memory: UserMemory | None = None
        self.address = self.mm = self.signal = self.pid_struct = self.regs = 0

    @property
    def ppid(self) -> int:
        """The parent process's id, 0 if it has no parent."""
        return self.parent.tgid if self.parent else 0

    def __repr__(self) -> str:
        return f"Task(pid={self.pid}, tgid={self.tgid}, comm={self.comm!r}, ppid={self.ppid})"


class TaskTable:
    """All tasks by pid. There are always idle (pid 0, "swapper/0") and init (pid 1, "systemd").

    runtime, state: the C side, which is told of every task and of the places of the fields that it reads."""

    def __init__(self, memory: KernelMemory, types: TypeSource, runtime: Runtime, state: Any) -> None:
        self.forget: Callable[[int], None] = lambda address: None  # told the address of each task_struct that goes
        self._memory = memory
        self._types = types
        self._runtime = runtime
        self._state = state
        self._layouts: dict[str, Fields] = {}
        self._tasks: dict[int, Task] = {}
        self._creds: dict[tuple[int, int], int] = {}
        self._task = self.fields("task_struct")
        self._tell_layout()
        self._nsproxy = self._make_namespaces()
        self._fs = self._make_root()
        self._cgroups = self._make_cgroup()
        self.idle = self.spawn(0, "swapper/0")
        self.init = self.spawn(1, "systemd")
        self.init.memory = None

    def fields(self, name: str) -> Fields:
        """The layout of kernel.h's struct of this name."""
        hit = self._layouts.get(name)
        if hit is None:
            record = self._types.find("struct", name)
            assert isinstance(record, Record), f"kernel.h declares struct {name}"
            hit = self._layouts[name] = Fields(record)
        return hit

    def _tell_layout(self) -> None:
        """struct layout: its fields are named STRUCT__FIELD__INNER."""
        layout = self._state.layout
        for name in dir(layout):
            struct, _, field = name.partition("__")
            setattr(layout, name, self.fields(struct).place(field.replace("__", "."))[0])

    def __iter__(self) -> Iterator[Task]:
        return iter(tuple(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, pid: int) -> Task | None:
        """The task with this thread id that was not reaped yet, or None."""
        return self._tasks.get(pid)

    # -- life

    def spawn(
        self, pid: int, comm: str, *, tgid: int | None = None, parent: Task | None = None, uid: int = 0, gid: int = 0,
        start_time_ns: int = 0,
    ) -> Task:
        """Registers a task that is there without a fork having been seen. parent: None for one that has none
        (its task_struct then names itself... the idle task). A task of that pid that was left over is replaced."""
        old = self._tasks.get(pid)
        if old is not None:
            self.reap(old)
        task = Task(pid, pid if tgid is None else tgid, comm[:15], parent, uid, gid, start_time_ns)
        self._tasks[pid] = task
        if parent is not None:
            parent.children.append(task)
        self._make_objects(task)
        if self._runtime.task_add(self._state, pid, task.tgid, task.address):
            raise MapError(f"starting task {pid}: out of memory", errno=12)
        return task

    def fork(self, parent: Task, pid: int, *, tgid: int | None = None, time_ns: int = 0) -> Task:
        """A child of parent, or with tgid=parent.tgid another thread of it (whose parent is parent's parent)."""
        is_thread = tgid is not None and tgid == parent.tgid
        above = parent.parent if is_thread else parent
        task = self.spawn(pid, parent.comm, tgid=tgid, parent=above, uid=parent.uid, gid=parent.gid, start_time_ns=time_ns)
        task.memory = parent.memory
        return task

    def exec(self, task: Task, comm: str, memory: UserMemory | None = None) -> None:
        """task runs another program: a new comm and new memory."""
        task.memory = memory
        self.rename(task, comm)

    def rename(self, task: Task, comm: str) -> None:
        """comm is cut to 15 bytes."""
        task.comm = comm.encode(errors="surrogateescape")[:15].decode(errors="surrogateescape")
        self._set(task, comm=task.comm.encode(errors="surrogateescape") + b"\0")

    def set_ids(self, task: Task, uid: int, gid: int) -> None:
        task.uid, task.gid = uid, gid
        cred = self._cred(uid, gid)
        self._set(task, cred=cred, real_cred=cred)

    def set_parent(self, task: Task, parent: Task) -> None:
        if task.parent is not None and task in task.parent.children:
            task.parent.children.remove(task)
        task.parent = parent
        parent.children.append(task)
        self._set(task, real_parent=parent.address, parent=parent.address)

    def set_exit_code(self, task: Task, code: int) -> None:
        """What task will have ended with, while it still runs. code: as for exit."""
        task.exit_code = code
        self._set(task, exit_code=code)

    def exit(self, task: Task, code: int) -> None:
        """code: as wait gives it: exit status << 8, or the signal's number; negative if nobody knows it. The task
        stays until reaped."""
        self.set_exit_code(task, code)
        task.is_exited = True
        self._set(task, exit_state=_EXIT_ZOMBIE, flags=_PF_EXITING, mm=0)
        for child in tuple(task.children):
            if child is not self.init and task is not self.init:
                self.set_parent(child, self.init)

    def reap(self, task: Task) -> None:
        """Forgets task and gives its memory back."""
        if self._tasks.get(task.pid) is task:
            del self._tasks[task.pid]
            if self._state is not None:
                self._runtime.task_remove(self._state, task.pid)
        if task.parent is not None and task in task.parent.children:
            task.parent.children.remove(task)
        self.forget(task.address)
        for address, name in ((task.mm, "mm_struct"), (task.signal, "signal_struct"), (task.pid_struct, "pid"),
                              (task.regs, "pt_regs"), (task.address, "task_struct")):
            if address:
                self._memory.give(address, self.fields(name).size)
        task.address = task.mm = task.signal = task.pid_struct = task.regs = 0
        for child in tuple(task.children):
            self.set_parent(child, self.init)

    def close(self) -> None:
        """The C side is gone."""
        self._state = None

    # -- objects in kernel memory

    def _set(self, task: Task, **values: int | bytes) -> None:
        if task.address:
            for name, value in values.items():
                offset, size = self._task.place(name)
                raw = value[:size].ljust(size, b"\0") if isinstance(value, bytes) else (value & (1 << 8 * size) - 1).to_bytes(size, "little")
                self._memory.write(task.address + offset, raw)

    def _make(self, struct: str, /, **values: int | bytes) -> int:
        """The address of a new struct with these fields."""
        return self._memory.take_bytes(self.fields(struct).image(**values))

    def _make_objects(self, task: Task) -> None:
        leader = self._tasks.get(task.tgid, task)
        is_kernel = task.pid == 0
        task.address = self._memory.take(self._task.size)
        task.pid_struct = self._make("pid", count__refs__counter=1, level=0)
        self._write_upid(task)
        task.signal = self._make("signal_struct", nr_threads=1, live__counter=1)
        task.mm = 0 if is_kernel else self._make("mm_struct", mm_users__counter=1, mm_count__counter=1)
        regs_size = self.fields("pt_regs").size
        task.regs = self._memory.take(regs_size)
        above = task.parent or task
        cred = self._cred(task.uid, task.gid)
        self._memory.write(task.address, self._task.image(
            stack=task.regs + regs_size - _THREAD_BYTES, usage__refs__counter=1, flags=_PF_KTHREAD if is_kernel else 0, prio=120, static_prio=120, normal_prio=120,
            nr_cpus_allowed=1, mm=task.mm, active_mm=task.mm, exit_signal=_SIGCHLD if task.pid == task.tgid else -1,
            pid=task.pid, tgid=task.tgid, real_parent=above.address, parent=above.address, group_leader=leader.address,
            thread_pid=task.pid_struct, start_time=task.start_time_ns, start_boottime=task.start_time_ns,
            cred=cred, real_cred=cred, comm=task.comm.encode(errors="surrogateescape") + b"\0", fs=self._fs,
            nsproxy=self._nsproxy, signal=task.signal, loginuid=task.uid, cgroups=self._cgroups,
        ))

    def _write_upid(self, task: Task) -> None:
        """numbers[0], the id in the only pid namespace: struct upid is {int nr; struct pid_namespace *ns}."""
        offset, _ = self.fields("pid").place("numbers")
        self._memory.write(task.pid_struct + offset, self.fields("upid").image(nr=task.pid, ns=self._pid_ns))

    def _cred(self, uid: int, gid: int) -> int:
        known = self._creds.get((uid, gid))
        if known is None:
            known = self._creds[uid, gid] = self._make(
                "cred", usage__counter=1, uid=uid, gid=gid, suid=uid, sgid=gid, euid=uid, egid=gid, fsuid=uid, fsgid=gid,
                cap_effective=0 if uid else 0x1FFFFFFFFFF, cap_permitted=0 if uid else 0x1FFFFFFFFFF)
        return known

    def _make_namespaces(self) -> int:
        made = {name: self._make(name, ns__inum=ino) for name, ino in _NS_INO.items()}
        self._pid_ns = self._make("pid_namespace", ns__inum=PID_NS_INO, level=0, user_ns=made["user_namespace"])
        offset, _ = self.fields("uts_namespace").place("name.nodename")
        self._memory.write(made["uts_namespace"] + offset, _NODE)
        return self._make(
            "nsproxy", count__refs__counter=1, uts_ns=made["uts_namespace"], ipc_ns=made["ipc_namespace"],
            mnt_ns=made["mnt_namespace"], pid_ns_for_children=self._pid_ns, net_ns=made["net"], time_ns=made["time_namespace"],
            time_ns_for_children=made["time_namespace"], cgroup_ns=made["cgroup_namespace"])

    def _make_root(self) -> int:
        name = self._memory.take_bytes(b"/\0")
        dentry = self._make("dentry", d_name__name=name, d_name__len=1, d_shortname=b"/\0")
        parent, _ = self.fields("dentry").place("d_parent")
        self._memory.write(dentry + parent, dentry.to_bytes(8, "little"))
        mount = self._make("vfsmount", mnt_root=dentry)
        return self._make("fs_struct", users=1, umask=0o22, root__mnt=mount, root__dentry=dentry, pwd__mnt=mount, pwd__dentry=dentry)

    def _make_cgroup(self) -> int:
        root = self._cgroup(b"\0", ROOT_CGROUP_ID, 0, 0)
        cgroup = self._cgroup(b"user.slice\0", CGROUP_ID, 1, root)
        self._state.cgroups[0], self._state.cgroups[1] = root, cgroup
        self._state.cgroup_count = 2
        return self._make("css_set", dfl_cgrp=cgroup)

    def _cgroup(self, name: bytes, id: int, level: int, parent: int) -> int:
        """A control group; parent: the address of the one above it, whose first member is its own state."""
        node = self._make("kernfs_node", name=self._memory.take_bytes(name), id=id)
        made = self._make("cgroup", level=level, kn=node, self__parent=parent)
        offset, _ = self.fields("cgroup").place("self.cgroup")
        self._memory.write(made + offset, made.to_bytes(8, "little"))
        return made
