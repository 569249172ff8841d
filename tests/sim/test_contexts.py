"""Programs at the hooks of sockets and knobs: their contexts' fields, and what helpers answer there.

Options of sockets are compared with Linux: the same program stands at connect() of a socket in a cgroup of its own, for as
long as one child process connects there. options.txt holds what Linux 6.18 answered."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.isa import assemble
from bcc_py.kernel import Kernel, Map
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.program import SimProgram
from bcc_py.sim.sockets import CLOSE, TCP, UDP, Endpoint
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import HELPER_IDS, AttachType, MapType, ProgType

_STORED = Path(__file__).parent.parent / "data" / "options.txt"
_UNIFIED = Path("/sys/fs/cgroup/unified")
_SYS_BPF, _LINK_CREATE = 321, 28
_P, _A = ProgType, AttachType
_SOCKET, _IP, _TCP, _IP6 = 1, 0, 6, 41
# level, option, values that are set one after the other and read back
_OPTIONS = (
    (_SOCKET, 7, (1000, 5000, 100000, 300000, -1)), (_SOCKET, 8, (500, 5000, 300000)), (_SOCKET, 2, (0, 5)), (_SOCKET, 9, (1, 0)),
    (_SOCKET, 12, (3, 6)), (_SOCKET, 15, (1, 0)), (_SOCKET, 18, (0, 7, -3)), (_SOCKET, 36, (77,)), (_SOCKET, 47, (100000,)),
    (_SOCKET, 62, (0, 1, 99999, -1)), (_SOCKET, 74, (0, 1, -1, 2)), (_SOCKET, 3, (1,)), (_SOCKET, 200, (1,)),
    (_IP, 1, (0x10, 0x13, 0xFF, 300)), (_IP, 2, (64,)), (_IP6, 67, (3,)), (99, 1, (1,)),
    (_TCP, 1, (1, 0, 9)), (_TCP, 4, (0, 60, 32767, 32768)), (_TCP, 5, (10, 0)), (_TCP, 6, (1, 127, 128)), (_TCP, 7, (3, 0, 128)),
    (_TCP, 18, (5000, -1)), (_TCP, 25, (4096,)), (_TCP, 27, (1, 2, 3)), (_TCP, 16, (1, 2)), (_TCP, 1001, (5, 0)), (_TCP, 1002, (10, 0)),
    (_TCP, 1003, (100000, 300000, 0)), (_TCP, 1004, (100000, 300000, 0)), (_TCP, 1008, (0x7F, 0x80, 3)), (_TCP, 999, (1,)),
)
_ROOM = 256


def _lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _keep(slot: int, map_fd: int, reg: str) -> str:
    """The map's value at slot becomes the register's."""
    return f"""*(u32 *)(r10 -20) = {slot}
        *(u64 *)(r10 -16) = {reg}
        r1 = map[fd:{map_fd}]
        r2 = r10
        r2 += -20
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem#2"""


def _asked() -> list[tuple[int, int, int | None]]:
    """Level, option, and the value to set; None: read it as it is."""
    rows: list[tuple[int, int, int | None]] = []
    for level, option, values in _OPTIONS:
        rows.append((level, option, None))
        rows += [(level, option, value) for value in values]
    return rows


def _option_program(map_fd: int) -> ProgramSpec:
    """Each answer, and what the option is then, into the map."""
    parts = []
    for at, (level, option, value) in enumerate(_asked()):
        head = f"r1 = r6\nr2 = {level}\nr3 = {option}\nr4 = r10\nr4 += -8\nr5 = 4"
        setting = "r8 = 0" if value is None else f"*(u32 *)(r10 -8) = {value}\n{head}\ncall bpf_setsockopt#{HELPER_IDS['setsockopt']}\nr8 = r0"
        parts.append(f"""*(u64 *)(r10 -8) = 0
            {setting}
            {head}
            call bpf_getsockopt#{HELPER_IDS['getsockopt']}
            r9 = r0
            r9 <<= 32
            r1 = *(u32 *)(r10 -8)
            r9 |= r1
            {_keep(2 * at, map_fd, "r8")}
            {_keep(2 * at + 1, map_fd, "r9")}""")
    text = "r6 = r1\n" + "\n".join(parts) + "\nr0 = 1\nexit"
    return ProgramSpec("options", "", _P.CGROUP_SOCK_ADDR, assemble(_lines(text)), expected_attach_type=_A.CGROUP_INET4_CONNECT)


def _results(kept: Map) -> list[str]:
    rows = []
    for at, (level, option, value) in enumerate(_asked()):
        answers = []
        for slot in (2 * at, 2 * at + 1):
            content = kept.lookup(struct.pack("<I", slot))
            assert content is not None
            answers.append(content)
        set_ = struct.unpack("<q", answers[0])[0]
        got, error = struct.unpack("<ii", answers[1])
        rows.append(f"{level} {option} {'-' if value is None else value}: {set_} {error} {got}")
    return rows


def _map(kernel: Kernel) -> Map:
    return kernel.create_map(MapSpec("kept", MapType.ARRAY, 4, 8, _ROOM))


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup that nobody is in."""
    if not (_UNIFIED / "cgroup.procs").exists():
        raise NotSupportedError("making a cgroup: there is no cgroup2 at /sys/fs/cgroup/unified", "cgroup2")
    made = Path(tempfile.mkdtemp(dir=_UNIFIED))
    yield made
    made.rmdir()


def _connected_in(cgroup: Path, program_fd: int, kind: str) -> None:
    """A child in the cgroup connects, while the program is attached there."""
    directory = os.open(cgroup, os.O_RDONLY)
    attr = ctypes.create_string_buffer(struct.pack("<4I", program_fd, directory, _A.CGROUP_INET4_CONNECT, 0), 64)
    link = ctypes.CDLL(None, use_errno=True).syscall(_SYS_BPF, _LINK_CREATE, attr, 64)
    if link < 0:
        os.close(directory)
        raise NotSupportedError(f"attaching to a cgroup: {os.strerror(ctypes.get_errno())}", "cgroup link")
    code = (f"import os, socket; open({str(cgroup / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
            f"s = socket.socket(socket.AF_INET, socket.{kind}); s.connect_ex(('127.0.0.1', 9))")
    try:
        subprocess.run([sys.executable, "-c", code], check=True)
    finally:
        os.close(link)
        os.close(directory)


def _sim_results(kernel: SimKernel, protocol: int) -> list[str]:
    kept = _map(kernel)
    program = kernel.load_program(_option_program(kept.fd))
    assert isinstance(program, SimProgram)
    one = kernel.sockets.add(Endpoint("", 0), None, protocol=protocol, state=CLOSE)
    context: Any = kernel.runtime.ffi.new("struct sock_addr *", {"sk": one.pointer, "user_family": 2, "family": 2})
    assert program.run_on(context) == (1, 0)
    return _results(kept)


def _live_results(cgroup: Path, kind: str) -> list[str]:
    live = LinuxKernel()
    try:
        kept = _map(live)
        _connected_in(cgroup, live.load_program(_option_program(kept.fd)).fd, kind)
        return _results(kept)
    finally:
        live.close()


@pytest.mark.linux
@pytest.mark.parametrize("kind,protocol", [("SOCK_STREAM", TCP), ("SOCK_DGRAM", UDP)])
def test_options_are_bounded_as_on_linux(kernel: SimKernel, cgroup: Path, kind: str, protocol: int) -> None:
    assert _sim_results(kernel, protocol) == _live_results(cgroup, kind)


@pytest.mark.parametrize("kind,protocol", [("SOCK_STREAM", TCP), ("SOCK_DGRAM", UDP)])
def test_options_are_bounded_as_linux_had_them(kernel: SimKernel, kind: str, protocol: int) -> None:
    stored = [line.removeprefix(f"{kind} ") for line in _STORED.read_text().splitlines() if line.startswith(kind)]
    assert _sim_results(kernel, protocol) == stored


@pytest.mark.linux
def test_what_is_stored_is_what_linux_says(request: pytest.FixtureRequest, cgroup: Path) -> None:
    text = "".join(f"{kind} {row}\n" for kind in ("SOCK_STREAM", "SOCK_DGRAM") for row in _live_results(cgroup, kind))
    if request.config.getoption("--update"):
        _STORED.write_text(text)
    assert text == _STORED.read_text()


def _loaded(kernel: SimKernel, type: ProgType, attach_type: AttachType, text: str) -> SimProgram:
    program = kernel.load_program(ProgramSpec("p", "", type, assemble(_lines(text)), expected_attach_type=attach_type))
    assert isinstance(program, SimProgram)
    return program


def test_a_connection_is_sent_elsewhere(kernel: SimKernel) -> None:
    program = _loaded(kernel, _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_CONNECT, """
        r2 = *(u32 *)(r1 +4)
        r3 = *(u16 *)(r1 +24)
        r2 += r3
        *(u32 *)(r1 +4) = r2
        r2 = 8080
        *(u32 *)(r1 +24) = r2
        r0 = 1
        exit""")
    context: Any = kernel.runtime.ffi.new("struct sock_addr *", {"user_ip4": 1000, "user_port": 23})
    assert program.run_on(context) == (1, 0)
    assert (context.user_ip4, context.user_port) == (1023, 8080)


def test_what_a_system_call_returns_is_a_programs_to_change(kernel: SimKernel) -> None:
    program = _loaded(kernel, _P.CGROUP_SOCK_ADDR, _A.CGROUP_INET4_CONNECT, f"""
        call bpf_get_retval#{HELPER_IDS["get_retval"]}
        r1 = r0
        r1 += -10
        call bpf_set_retval#{HELPER_IDS["set_retval"]}
        r0 = 0
        exit""")
    assert program.run_on(kernel.runtime.ffi.new("struct sock_addr *"), -3) == (0, -13)


@pytest.mark.parametrize("size,flags,text,answer", [
    (20, 0, b"net/ipv4/ip_forward", 19), (24, 0, b"net/ipv4/ip_forward", 19), (20, 1, b"ip_forward", 10), (8, 0, b"net/ipv", -7), (1, 1, b"", -7),
])
def test_a_knob_says_its_name(kernel: SimKernel, size: int, flags: int, text: bytes, answer: int) -> None:
    """As tools/testing/selftests/bpf/prog_tests/test_sysctl.c of Linux has it."""
    kept = _map(kernel)
    words = "\n".join(f"r7 = *(u64 *)(r10 -{48 - 8 * at})\n{_keep(at, kept.fd, 'r7')}" for at in range(3))
    zeros = "\n".join(f"*(u64 *)(r10 -{48 - 8 * at}) = 0" for at in range(3))
    program = _loaded(kernel, _P.CGROUP_SYSCTL, _A.CGROUP_SYSCTL, f"""
        {zeros}
        r2 = r10
        r2 += -48
        r3 = {size}
        r4 = {flags}
        call bpf_sysctl_get_name#{HELPER_IDS["sysctl_get_name"]}
        r8 = r0
        {words}
        {_keep(3, kept.fd, "r8")}
        r0 = 1
        exit""")
    program.run_on(kernel.runtime.ffi.new("struct sysctl *", {"directory": list(b"net/ipv4/"), "name": list(b"ip_forward")}))
    rows = [kept.lookup(struct.pack("<I", at)) or b"" for at in range(4)]
    assert b"".join(rows[:3])[: len(text) + 1] == text + b"\0"
    assert struct.unpack("<q", rows[3])[0] == answer


def _message(kernel: SimKernel, content: bytes) -> Any:
    runtime = kernel.runtime
    made: Any = runtime.ffi.new("struct msg *", {"size": len(content), "room": len(content)})
    made.bytes = runtime.bytes_take(kernel.state, content, len(content), len(content))
    made.data, made.data_end = made.bytes, made.bytes + len(content)
    return made


def test_a_message_grows_and_shrinks(kernel: SimKernel) -> None:
    """Against Python's slices."""
    content = bytearray(range(100))
    steps = [("push", 0, 4), ("push", 50, 7), ("pop", 0, 10), ("pop", 30, 5), ("push", 96, 1), ("pop", 80, 100), ("push", 500, 3), ("pop", 3, 0)]
    text, expected = ["r6 = r1", "r7 = 0"], []
    for verb, start, size in steps:
        is_wrong = start > len(content) if verb == "push" else start + size > len(content)
        expected.append(-22 if is_wrong and size else 0)
        if not is_wrong and verb == "push":
            content[start:start] = bytes(size)
        elif not is_wrong:
            del content[start : start + size]
        name = f"msg_{verb}_data"
        text.append(f"r1 = r6\nr2 = {start}\nr3 = {size}\nr4 = 0\ncall bpf_{name}#{HELPER_IDS[name]}\nr7 += r0")
    program = _loaded(kernel, _P.SK_MSG, _A.NONE, "\n".join([*text, "r0 = r7", "exit"]))
    message = _message(kernel, bytes(range(100)))
    assert program.run_on(message)[0] == sum(expected) & 0xFFFFFFFF
    assert kernel.runtime.copy_out(message.bytes, message.size) == bytes(content)
    kernel.runtime.bytes_give(kernel.state, message.bytes)


def test_a_cookie_is_known_again(kernel: SimKernel) -> None:
    """What was made for a SYN is accepted in the ACK that answers it, and in no other."""
    addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    ip = bytes([0x45]) + bytes(11) + addresses
    def tcp(sequence: int, ack: int, flags: int) -> bytes:
        return struct.pack(">HHIIBBHHH", 1234, 80, sequence, ack, 0x50, flags, 0, 0, 0)
    def answer(header: bytes, name: str, *sizes: int) -> int:
        words = "\n".join(f"*(u32 *)(r10 -{40 - at}) = {struct.unpack_from('<i', ip + header, at)[0]}" for at in range(0, 40, 4))
        size = f"r3 = {sizes[0]}" if sizes else ""
        program = _loaded(kernel, _P.SCHED_CLS, _A.NONE, f"""
            {words}
            r1 = r10
            r1 += -40
            r2 = r10
            r2 += -20
            {size}
            call bpf_{name}#{HELPER_IDS[name]}
            exit""")
        return program.test_run(bytes(64)).retval & 0xFFFFFFFF
    cookie = answer(tcp(77, 0, 2), "tcp_raw_gen_syncookie_ipv4", 20)
    assert answer(tcp(78, (cookie + 1) & 0xFFFFFFFF, 16), "tcp_raw_check_syncookie_ipv4") == 0
    assert answer(tcp(79, (cookie + 1) & 0xFFFFFFFF, 16), "tcp_raw_check_syncookie_ipv4") == -13 & 0xFFFFFFFF
    assert answer(tcp(78, (cookie + 5) & 0xFFFFFFFF, 16), "tcp_raw_check_syncookie_ipv4") == -13 & 0xFFFFFFFF
    assert answer(tcp(77, 0, 2), "tcp_raw_gen_syncookie_ipv4", 19) == -22 & 0xFFFFFFFF


def test_whoever_chooses_a_socket_reads_the_packet(kernel: SimKernel) -> None:
    program = _loaded(kernel, _P.SK_REUSEPORT, _A.NONE, f"""
        r6 = r1
        r2 = 2
        r3 = r10
        r3 += -4
        r4 = 1
        call bpf_skb_load_bytes#{HELPER_IDS["skb_load_bytes"]}
        r7 = *(u8 *)(r10 -4)
        r1 = r6
        r2 = 3
        r3 = r10
        r3 += -4
        r4 = 1
        r5 = 1
        call bpf_skb_load_bytes_relative#{HELPER_IDS["skb_load_bytes_relative"]}
        r1 = *(u8 *)(r10 -4)
        r7 += r1
        r2 = *(u64 *)(r6 +0)
        r3 = *(u64 *)(r6 +8)
        r4 = r2
        r4 += 1
        if r4 > r3 goto end
        r1 = *(u8 *)(r2 +0)
        r7 += r1
        end:
        r0 = 1
        if r7 == 14 goto good
        r0 = 0
        good:
        exit""")
    runtime = kernel.runtime
    frame = bytes(12) + b"\x08\0" + bytes(range(3, 40))
    skb: Any = runtime.skb_new(kernel.state.cpu, frame, len(frame), 0, bytes(8))
    context: Any = runtime.ffi.new("struct reuseport *", {"data": skb.data, "data_end": skb.data_end, "skb": skb})
    context.len = skb.len
    assert program.run_on(context) == (1, 0)
    runtime.skb_free(kernel.state.cpu, skb)


def _route(kernel: Kernel, type: ProgType, fib: bytes, size: int = 64, flags: int = 0) -> tuple[int, bytes]:
    """The helper's answer, and the struct afterwards; in the packet, which it is written to."""
    words = "\n".join(f"*(u32 *)(r10 -{64 - at}) = {struct.unpack_from('<i', fib, at)[0]}" for at in range(0, 64, 4))
    store = f"r1 = r6\nr2 = 0\nr3 = r10\nr3 += -64\nr4 = 64\nr5 = 0\ncall bpf_skb_store_bytes#{HELPER_IDS['skb_store_bytes']}"
    text = f"""
        r6 = r1
        {words}
        r2 = r10
        r2 += -64
        r3 = {size}
        r4 = {flags}
        call bpf_fib_lookup#{HELPER_IDS["fib_lookup"]}
        r7 = r0
        {store if type is _P.SCHED_CLS else ""}
        r0 = r7
        exit"""
    program = kernel.load_program(ProgramSpec("route", "", type, assemble(_lines(text))))
    made = program.test_run(bytes(100))
    program.close()
    return made.retval & 0xFFFFFFFF, made.data[:64]


def _fib(family: int, ifindex: int, target: bytes, length: int = 0) -> bytes:
    return struct.pack("<BBHHHI4x16s16s16x", family, 6, 0, 0, length, ifindex, bytes(16), target.ljust(16, b"\0"))


@pytest.mark.linux
@pytest.mark.parametrize("type", [_P.SCHED_CLS, _P.XDP])
@pytest.mark.parametrize("fib,size,flags", [
    (_fib(2, 1, b"\x0a\0\0\x01"), 64, 0), (_fib(10, 1, b"\x20\x01"), 64, 0), (_fib(2, 99999, b"\x0a\0\0\x01"), 64, 0),
    (_fib(7, 1, b""), 64, 0), (_fib(2, 1, b""), 63, 0), (_fib(2, 1, b""), 64, 64),
])
def test_routes_are_refused_as_on_linux(kernel: SimKernel, type: ProgType, fib: bytes, size: int, flags: int) -> None:
    live = LinuxKernel()
    assert _route(kernel, type, fib, size, flags) == _route(live, type, fib, size, flags)
    live.close()


def test_a_packet_is_forwarded(kernel: SimKernel) -> None:
    """By the default route: the gateway's address, both Ethernet addresses, the interface."""
    kernel.state.net.interfaces[1].is_forwarding = 1
    answer, after = _route(kernel, _P.SCHED_CLS, _fib(2, 2, bytes([8, 8, 8, 8])))
    assert answer == 0
    assert struct.unpack_from("<HI", after, 6) == (1500, 2)
    assert (after[32:36], after[52:58], after[58:64]) == (bytes([10, 0, 2, 2]), b"\x02\0\0\0\x02\x0f", b"\x02\0\0\0\x02\x02")
    assert _route(kernel, _P.SCHED_CLS, _fib(2, 2, bytes([10, 0, 2, 77])))[0] == 7
    assert _route(kernel, _P.SCHED_CLS, _fib(2, 2, bytes([10, 0, 2, 15])))[0] == 4
    assert _route(kernel, _P.XDP, _fib(2, 2, bytes([8, 8, 8, 8]), 1501))[0] == 8
