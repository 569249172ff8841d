"""The shell workload: somebody at a terminal, for a minute.

bash (child of sshd) reads a command, forks, the child executes a program, bash waits. What the programs do
is what their namesakes do first: the loader's files, then their own. Every command comes once, in an order
drawn by the seed, and then as often as its weight says. Among them are a pipeline, a build with several
compilers, commands that do not exist, a download over TCP and one that is refused, a program that crashes
and a background job that is killed.

The session ends after the given seconds of virtual time, plus what the last command needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bcc_py.sim.world.machine import ENOENT, SIGTERM, Block, Machine, Main, Process, Run

__all__ = ["ShellWorkload"]

_START_NS = 100_000_000_000
_MS = 1_000_000
_SSHD_PID, _BASH_PID, _FIRST_PID = 941, 1017, 1200
_UID = 1000
_EXIT_NOT_FOUND = 127
_SOURCES = ("main.c", "parse.c", "lex.c", "emit.c", "table.c", "hash.c")
_FILES = ("notes.txt", "todo.md", "report.csv", "setup.cfg", "main.c", "Makefile", "words.txt")
_HOSTS = (("192.0.2.10", 80), ("198.51.100.7", 443), ("203.0.113.25", 8080))


class ShellWorkload(Machine):
    """sim:shell. seconds of virtual time; the same seed, seconds and cpus give the same events."""

    def __init__(self, *, seed: int = 0, seconds: int = 60, cpus: int = 2) -> None:
        super().__init__(seed=seed, cpus=cpus, start_ns=_START_NS, first_pid=_FIRST_PID)
        self._end_ns = _START_NS + seconds * 1_000_000_000

    def boot(self) -> None:
        tasks = self.kernel.tasks
        sshd = tasks.spawn(_SSHD_PID, "sshd", parent=tasks.init, start_time_ns=_START_NS // 4)
        bash = tasks.spawn(_BASH_PID, "bash", parent=sshd, uid=_UID, gid=_UID, start_time_ns=_START_NS // 2)
        process = self.add(bash, _not_yet(), 0, 20 * _MS)
        process.main = self._session(process)

    def _session(self, bash: Process) -> Main:
        first = self.random.sample(_COMMANDS, len(_COMMANDS))
        while self._now_ns < self._end_ns:
            yield from self.read(0, 1, waits=True, us=self.random.randrange(200_000, 1_500_000), ret=1)
            yield from self.write(bash, 2, b"\r\n")
            command = first.pop() if first else self.random.choices(_COMMANDS, _WEIGHTS)[0]
            yield from command(self, bash)
            yield from self.write(bash, 2, b"user@sim:~/project$ ")

    # -- bash

    def run_program(self, bash: Process, path: str, argv: Sequence[str], body: Body) -> Main:
        """fork, exec, wait."""
        child = yield from self.fork(bash, lambda new: self.program(new, path, argv, body))
        yield from self.wait(bash, child)

    def program(self, process: Process, path: str, argv: Sequence[str], body: Body) -> Main:
        """A child's main: executes path, loads its libraries, does body, and exits with 0 unless body exits."""
        yield from self.exec(process, path, argv)
        yield from self.load_libraries(process)
        yield from body(self, process)
        if not process.is_dead:
            yield from self.exit(process, 0)

    def load_libraries(self, process: Process) -> Main:
        yield from self.call("brk", 0, ret=0x55D3C0021000, us=1)
        yield from self.call("access", self.put_text(process, "/etc/ld.so.preload"), 4, ret=-ENOENT, us=2)
        for path in ("/etc/ld.so.cache", "/lib/x86_64-linux-gnu/libc.so.6"):
            fd = yield from self.open(process, path)
            yield from self.read(fd, 832)
            yield from self.call("mmap", 0, 0x1D5000, 1, 2, fd, 0, ret=0x3FFDC0000000, us=5)
            yield from self.close(process, fd)

    def read_file(self, process: Process, path: str, chunks: int = 2) -> Main:
        fd = yield from self.open(process, path)
        for at in range(chunks):
            yield from self.read(fd, 131072, ret=4096 if at + 1 < chunks else 0, us=6)
        yield from self.close(process, fd)

    def pick_file(self) -> str:
        return self.random.choice(_FILES)


Body = Callable[[ShellWorkload, Process], Main]
_Command = Callable[[ShellWorkload, Process], Main]


def _not_yet() -> Main:
    yield from ()


# ---- what programs do


def _print_listing(world: ShellWorkload, process: Process) -> Main:
    fd = yield from world.open(process, ".", 0x90800)
    yield from world.call("getdents64", fd, 0x3FFDD0000000, 32768, ret=528, us=9)
    yield from world.call("getdents64", fd, 0x3FFDD0000000, 32768, ret=0, us=2)
    yield from world.close(process, fd)
    yield from world.write(process, 1, b"Makefile  main.c  notes.txt  report.csv  todo.md\n")


def _print_file(name: str) -> Body:
    def body(world: ShellWorkload, process: Process) -> Main:
        yield from world.read_file(process, name)
        yield from world.write(process, 1, b"one line of text\n" * 20)

    return body


def _search_files(world: ShellWorkload, process: Process) -> Main:
    for name in _FILES:
        yield from world.read_file(process, name)
        yield Run(world.random.randrange(50_000, 400_000))
    yield from world.write(process, 1, b"main.c:12:    /* look here */\n")


def _fail_to_open(world: ShellWorkload, process: Process) -> Main:
    yield from world.open(process, "missing.txt", error=ENOENT)
    yield from world.write(process, 2, b"cat: missing.txt: No such file or directory\n")
    yield from world.exit(process, 1)


def _run_script(world: ShellWorkload, process: Process) -> Main:
    for name in ("os", "re", "json"):
        yield from world.open(process, f"/home/user/.local/lib/{name}.py", error=ENOENT)
        yield from world.read_file(process, f"/usr/lib/python3.11/{name}.py", 3)
    yield Run(world.random.randrange(5, 25) * _MS)
    yield from world.write(process, 1, b"processed 1274 rows\n")


def _show_status(world: ShellWorkload, process: Process) -> Main:
    for name in (".git/HEAD", ".git/config", ".git/index"):
        yield from world.read_file(process, name)
    yield from world.open(process, ".gitignore", error=ENOENT)
    yield from world.write(process, 1, b"nothing to commit, working tree clean\n")


def _sleep_for(seconds: float) -> Body:
    def body(world: ShellWorkload, process: Process) -> Main:
        world.enter("clock_nanosleep", 0, 0, 0x3FFDE0001000, 0)
        yield Block(round(seconds * 1e9))
        world.leave("clock_nanosleep", 0)

    return body


def _download(refused: bool) -> Body:
    def body(world: ShellWorkload, process: Process) -> Main:
        yield from world.read_file(process, "/etc/resolv.conf")
        address, port = ("127.0.0.1", 9999) if refused else world.random.choice(_HOSTS)
        socket = yield from world.connect(process, address, port, refused=refused)
        if not refused:
            request = world.put(process, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
            yield from world.call("sendto", socket.fd, request, 37, 0x4000, ret=37, us=20)
            for size in (1448, 1448, 912):
                yield from world.call("recvfrom", socket.fd, 0x3FFDD0000000, 16384, 0, ret=size, us=9000, waits=True)
            yield from world.write(process, 1, b"<html>...</html>\n")
        yield from world.disconnect(process, socket)
        if refused:
            yield from world.exit(process, 7)

    return body


def _crash(world: ShellWorkload, process: Process) -> Main:
    yield Run(2 * _MS)
    yield from world.crash(process)


def _compile(source: str) -> Body:
    def body(world: ShellWorkload, process: Process) -> Main:
        for name in (source, "project.h", "/usr/include/stdio.h"):
            yield from world.read_file(process, name)
        yield from world.open(process, "/usr/local/include/stdint.h", error=ENOENT)
        yield Run(world.random.randrange(20, 80) * _MS)
        fd = yield from world.open(process, f"/tmp/{source}.s", 0x241)
        yield from world.write(process, fd, b"\t.text\n" * 100)
        yield from world.close(process, fd)

    return body


def _drive_compiler(source: str) -> Body:
    """cc forks cc1 and as."""

    def body(world: ShellWorkload, process: Process) -> Main:
        yield from world.run_program(process, "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", ["cc1", "-quiet", source], _compile(source))
        yield from world.run_program(process, "/usr/bin/as", ["as", "-o", source[:-1] + "o", f"/tmp/{source}.s"],
                                     _print_file(f"/tmp/{source}.s"))
        yield from world.call("unlink", world.put_text(process, f"/tmp/{source}.s"), us=8)

    return body


def _make(sources: Sequence[str]) -> Body:
    def body(world: ShellWorkload, process: Process) -> Main:
        yield from world.read_file(process, "Makefile")
        for one in sources:
            yield from world.run_program(process, "/usr/bin/cc", ["cc", "-O2", "-c", one], _drive_compiler(one))

    return body


# ---- what bash does for a command


def _simple(path: str, argv: Sequence[str], body: Body) -> _Command:
    def command(world: ShellWorkload, bash: Process) -> Main:
        yield from world.run_program(bash, path, argv, body)

    return command


def _cat(world: ShellWorkload, bash: Process) -> Main:
    name = world.pick_file()
    yield from world.run_program(bash, "/usr/bin/cat", ["cat", name], _print_file(name))


def _pause(world: ShellWorkload, bash: Process) -> Main:
    tenths = world.random.randrange(1, 12)
    yield from world.run_program(bash, "/usr/bin/sleep", ["sleep", f"{tenths / 10}"], _sleep_for(tenths / 10))


def _build(world: ShellWorkload, bash: Process) -> Main:
    sources = world.random.sample(_SOURCES, world.random.randrange(1, 4))
    yield from world.run_program(bash, "/usr/bin/make", ["make", *(one[:-1] + "o" for one in sources)], _make(sources))


def _pipeline(world: ShellWorkload, bash: Process) -> Main:
    """sort words.txt | uniq -c: both ends run at once."""
    yield from world.call("pipe2", 0x3FFDE0002000, 0, us=6)
    name = world.pick_file()
    first = yield from world.fork(bash, lambda new: world.program(new, "/usr/bin/sort", ["sort", name], _print_file(name)))
    second = yield from world.fork(bash, lambda new: world.program(new, "/usr/bin/uniq", ["uniq", "-c"], _count_lines))
    yield from world.close(bash, 4)
    yield from world.close(bash, 3)
    yield from world.wait(bash, first)
    yield from world.wait(bash, second)


def _count_lines(world: ShellWorkload, process: Process) -> Main:
    yield from world.call("dup2", 3, 0, us=1)
    yield from world.read(0, 4096, waits=True, us=4000)
    yield from world.read(0, 4096, ret=0)
    yield from world.write(process, 1, b"      3 one line of text\n")


def _mistype(world: ShellWorkload, bash: Process) -> Main:
    """env tries each directory of PATH: three times ENOENT, then status 127."""
    word = world.random.choice(("gti", "sl", "maek", "pyhton"))

    def main(child: Process) -> Main:
        yield from world.exec(child, "/usr/bin/env", ["env", word])
        yield from world.load_libraries(child)
        for directory in ("/usr/local/bin", "/usr/bin", "/bin"):
            yield from world.exec(child, f"{directory}/{word}", [word], error=ENOENT)
        yield from world.write(child, 2, f"env: '{word}': No such file or directory\n".encode())
        yield from world.exit(child, _EXIT_NOT_FOUND)

    child = yield from world.fork(bash, main)
    yield from world.wait(bash, child)


def _kill_job(world: ShellWorkload, bash: Process) -> Main:
    """sleep 100 & sleep for a while; kill %1."""
    job = yield from world.fork(bash, lambda new: world.program(new, "/usr/bin/sleep", ["sleep", "100"], _sleep_for(100)))
    yield Block(world.random.randrange(300, 900) * _MS)
    yield from world.kill(bash, job, SIGTERM)
    yield from world.wait(bash, job)


_WEIGHTED: tuple[tuple[int, _Command], ...] = (
    (14, _simple("/usr/bin/ls", ["ls", "--color=auto", "-la"], _print_listing)),
    (12, _cat),
    (8, _simple("/usr/bin/grep", ["grep", "-rn", "look here", "."], _search_files)),
    (8, _simple("/usr/bin/git", ["git", "status"], _show_status)),
    (6, _simple("/usr/bin/python3", ["python3", "report.py", "--year", "2026"], _run_script)),
    (8, _build),
    (8, _pipeline),
    (8, _pause),
    (8, _simple("/usr/bin/curl", ["curl", "-s", "http://example.org/"], _download(refused=False))),
    (4, _simple("/usr/bin/curl", ["curl", "http://localhost:9999/"], _download(refused=True))),
    (6, _simple("/usr/bin/cat", ["cat", "missing.txt"], _fail_to_open)),
    (6, _mistype),
    (4, _simple("/home/user/project/demo", ["./demo"], _crash)),
    (5, _kill_job),
)
_WEIGHTS = tuple(weight for weight, _ in _WEIGHTED)
_COMMANDS = tuple(command for _, command in _WEIGHTED)
