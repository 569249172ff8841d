"""Programs find the simulated sockets as they find real ones: the same sockets are opened here, in this process under Linux,
and the same program looks for them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bcc_py.errors import LoadError
from bcc_py.isa import assemble
from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.program import SimProgram
from bcc_py.sim.sockets import TCP, UDP, Endpoint
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import HELPER_IDS, AttachType, MapType, ProgType

_P = ProgType
_LOCAL4, _LOCAL6 = "127.0.0.1", "::1"
_FRAME = bytes(12) + b"\x08\x00" + b"\x45" + bytes(60)
_FULL_FIELDS = (0, 4, 8, 12, 16, 20, 24, 44, 52, 72)


def _tuple(remote: Endpoint, local: Endpoint) -> bytes:
    family = 10 if ":" in local.address else 2
    return remote.packed(family) + local.packed(family) + struct.pack(">HH", remote.port, local.port)


def _words(content: bytes) -> str:
    """content on the stack from r10 - 64 on."""
    padded = content.ljust((len(content) + 3) // 4 * 4, b"\0")
    return "\n".join(f"*(u32 *)(r10 -{64 - at}) = {struct.unpack_from('<i', padded, at)[0]}" for at in range(0, len(padded), 4))


def _program(type: ProgType, helper: str, tuple_: bytes, netns: int = -1, flags: int = 0) -> ProgramSpec:
    """r0: 0 where nobody was found, else what the socket says, folded."""
    fields = (4, 24, 44, 52, 72) if helper == "skc_lookup_tcp" else _FULL_FIELDS
    text = f"""
        {_words(tuple_)}
        r2 = r10
        r2 += -64
        r3 = {len(tuple_)}
        r4 = {netns}
        r5 = {flags}
        call bpf_{helper}#{HELPER_IDS[helper]}
        if r0 == 0 goto none
        r6 = r0
        r7 = 1
        {chr(10).join(f"r1 = *(u32 *)(r6 +{off}){chr(10)}r7 *= 31{chr(10)}r7 += r1" for off in fields if off != 44)}
        r1 = *(u32 *)(r6 +44)
        r7 += r1
        r1 = *(u16 *)(r6 +48)
        r7 += r1
        r1 = r6
        call bpf_sk_release#86
        r0 = r7
        none:
        exit"""
    lines = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return ProgramSpec("find", "", type, assemble(lines))


def _found(kernel: Kernel, spec: ProgramSpec) -> int:
    program = kernel.load_program(spec)
    answer = program.test_run(_FRAME).retval & 0xFFFFFFFF
    program.close()
    return answer


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Real sockets: listeners of TCP (IPv4, IPv6 for both, IPv6 alone), UDP bound and connected, a connection."""
    with ExitStack() as stack:
        def bound(family: int, kind: int, address: str, only6: bool = False) -> socket.socket:
            one = stack.enter_context(socket.socket(family, kind))
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only6)
            one.bind((address, 0))
            if kind == socket.SOCK_STREAM:
                one.listen()
            return one
        listener = bound(socket.AF_INET, socket.SOCK_STREAM, _LOCAL4)
        made = [
            listener, bound(socket.AF_INET, socket.SOCK_STREAM, ""), bound(socket.AF_INET6, socket.SOCK_STREAM, "::"),
            bound(socket.AF_INET6, socket.SOCK_STREAM, "::", only6=True), bound(socket.AF_INET6, socket.SOCK_STREAM, _LOCAL6),
            bound(socket.AF_INET, socket.SOCK_DGRAM, _LOCAL4), bound(socket.AF_INET6, socket.SOCK_DGRAM, "::"),
        ]
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        connected = bound(socket.AF_INET, socket.SOCK_DGRAM, _LOCAL4)
        connected.connect((_LOCAL4, 9))
        yield [*made, client, connected, stack.enter_context(listener.accept()[0])]


def _copy(kernel: SimKernel, one: socket.socket) -> None:
    name = one.getsockname()
    any_address = name[0] in ("0.0.0.0", "::")
    protocol = TCP if one.type == socket.SOCK_STREAM else UDP
    local = Endpoint("" if any_address else name[0], name[1])
    fields = {"family": int(one.family)}
    if one.family == socket.AF_INET6:
        fields["is_ip6_only"] = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    try:
        peer = one.getpeername()
    except OSError:
        kernel.sockets.listen(local, protocol=protocol, **fields)
    else:
        kernel.sockets.connect(local, Endpoint(peer[0], peer[1]), protocol=protocol, **fields)


def _questions(opened: list[socket.socket]) -> list[tuple[str, bytes]]:
    rows = []
    for one in opened:
        port = one.getsockname()[1]
        for address, other in ((_LOCAL4, _LOCAL4), (_LOCAL4, "127.0.0.2"), (_LOCAL6, _LOCAL6)):
            peers = [opened[7].getsockname()[1], opened[0].getsockname()[1], 9, 40000]
            rows += [(helper, _tuple(Endpoint(other, peer), Endpoint(address, port)))
                     for helper in ("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp") for peer in peers]
    return rows


@pytest.mark.linux
@pytest.mark.parametrize("type", [_P.SCHED_CLS, _P.XDP])
def test_sockets_are_found_as_on_linux(kernel: SimKernel, opened: list[socket.socket], type: ProgType) -> None:
    live = LinuxKernel()
    for one in opened:
        _copy(kernel, one)
    before = kernel.sockets.live
    wrong, found = [], 0
    for helper, tuple_ in _questions(opened):
        spec = _program(type, helper, tuple_)
        here, there = _found(kernel, spec), _found(live, spec)
        found += there != 0
        if here != there:
            wrong.append((helper, tuple_.hex(), here, there))
    live.close()
    assert not wrong
    assert found > 20
    assert kernel.sockets.live == before
    assert all(one.references == 2 for one in kernel.sockets)


def test_what_no_look_up_takes_finds_nobody(kernel: SimKernel) -> None:
    kernel.sockets.listen(Endpoint(_LOCAL4, 80))
    asked = _tuple(Endpoint(_LOCAL4, 5), Endpoint(_LOCAL4, 80))
    assert _found(kernel, _program(_P.SCHED_CLS, "sk_lookup_tcp", asked))
    for tuple_, netns, flags in ((asked + bytes(4), -1, 0), (asked, 5, 0), (asked, -1, 1)):
        assert not _found(kernel, _program(_P.SCHED_CLS, "sk_lookup_tcp", tuple_, netns, flags))


def test_a_closed_socket_is_not_found_and_gone(kernel: SimKernel) -> None:
    asked = _program(_P.SCHED_CLS, "sk_lookup_tcp", _tuple(Endpoint(_LOCAL4, 5), Endpoint(_LOCAL4, 80)))
    one = kernel.sockets.listen(Endpoint(_LOCAL4, 80))
    assert _found(kernel, asked)
    one.close()
    one.close()
    assert not _found(kernel, asked)
    assert kernel.sockets.live == 0


def test_what_is_no_socket_is_refused(kernel: SimKernel) -> None:
    with pytest.raises(ValueError, match="no addresses of family 2"):
        kernel.sockets.listen(Endpoint("localhost.", 80))
    with pytest.raises(ValueError, match="port 65536"):
        kernel.sockets.listen(Endpoint(_LOCAL4, 65536))
    with pytest.raises(ValueError, match="it has no references"):
        kernel.sockets.listen(Endpoint(_LOCAL4, 80), references=0)
    kernel.close()
    with pytest.raises(LoadError, match="is closed"):
        kernel.sockets.listen(Endpoint(_LOCAL4, 80))
    assert kernel.sockets.live == 0


def test_a_socket_that_is_bound_elsewhere_is_found_there(kernel: SimKernel) -> None:
    one = kernel.sockets.listen(Endpoint(_LOCAL4, 80))
    name = struct.pack("<H", 2) + struct.pack(">H", 81) + bytes([127, 0, 0, 1]) + bytes(8)
    text = f"""
        {_words(name)}
        r2 = r10
        r2 += -64
        r3 = 16
        call bpf_bind#{HELPER_IDS["bind"]}
        r1 = r0
        r0 = 1
        if r1 == 0 goto good
        r0 = 0
        good:
        exit"""
    lines = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    program = kernel.load_program(ProgramSpec("binds", "", _P.CGROUP_SOCK_ADDR, assemble(lines), expected_attach_type=AttachType.CGROUP_INET4_CONNECT))
    assert isinstance(program, SimProgram)
    context: Any = kernel.runtime.ffi.new("struct sock_addr *", {"sk": one.pointer})
    assert program.run_on(context) == (1, 0)
    for port, is_there in ((80, False), (81, True)):
        asked = _program(_P.SCHED_CLS, "sk_lookup_tcp", _tuple(Endpoint(_LOCAL4, 5), Endpoint(_LOCAL4, port)))
        assert bool(_found(kernel, asked)) is is_there
    one.close()
    assert kernel.sockets.live == 0


def test_a_packets_bytes_follow_a_record(kernel: SimKernel) -> None:
    events = kernel.create_map(MapSpec("events", MapType.PERF_EVENT_ARRAY, 4, 4, 0))
    got: list[bytes] = []
    ring = kernel.open_perf_buffer(events, lambda cpu, record: got.append(bytes(record)), lambda cpu, count: None)
    text = f"""
        r6 = r1
        *(u64 *)(r10 -8) = 7
        r2 = map[fd:{events.fd}]
        r3 = {20 << 32 | 0xFFFFFFFF} ll
        r4 = r10
        r4 += -8
        r5 = 8
        call bpf_perf_event_output#25
        exit"""
    lines = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    for type in (_P.SCHED_CLS, _P.XDP):
        kernel.load_program(ProgramSpec("tells", "", type, assemble(lines))).test_run(_FRAME)
    assert ring.consume() == 2
    assert [one[:28] for one in got] == [struct.pack("<Q", 7) + _FRAME[:20]] * 2
