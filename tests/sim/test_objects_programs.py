"""What programs do with maps of objects, by a test run in a simulated kernel and on Linux: the same answers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bcc_py.errors import MapError
from bcc_py.isa import assemble
from bcc_py.kernel import Map, Program
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.program import SimProgram
from bcc_py.sim.sockets import TCP, UDP, Endpoint
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.ctype import Record
from cfront.uapi import HELPER_IDS, AttachType, MapType, ProgType
from tests.sim.object_worlds import SOCKETS, LinuxWorld, SimWorld, World, word

_M, _P = MapType, ProgType
_FRAME = bytes(12) + b"\x08\x00" + b"\x45" + bytes(60)
_SO_ATTACH_REUSEPORT_EBPF = 52
_MAPPED = ("listener", "connected", "udp_group", "udp_bound", "unix")


@pytest.fixture(scope="module", params=["sim", pytest.param("linux", marks=pytest.mark.linux)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        yield SimWorld(stack) if request.param == "sim" else LinuxWorld(stack)


def _spec(text: str, type: ProgType, attach: AttachType = AttachType.CGROUP_INET_INGRESS) -> ProgramSpec:
    lines = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return ProgramSpec("test", "", type, assemble(lines), expected_attach_type=attach)


def _answer(world: World, text: str, type: ProgType = _P.XDP) -> int:
    """r0 of one test run, as a signed number."""
    with contextlib.closing(world.kernel.load_program(_spec(text, type))) as program:
        return (program.test_run(_FRAME).retval + (1 << 31)) % (1 << 32) - (1 << 31)


def _made(world: World, kind: MapType, value_size: int = 4, key_size: int = 4) -> Map:
    return world.kernel.create_map(MapSpec("m", kind, key_size, value_size, 4))


def _call(name: str) -> str:
    return f"call bpf_{name}#{HELPER_IDS[name]}"


# ---- redirects


def _redirect(map: Map, index: int, flags: int) -> str:
    return f"r1 = map[fd:{map.fd}]\nr2 = {index}\nr3 = {flags}\n{_call('redirect_map')}\nexit"


@pytest.mark.parametrize("kind", [_M.DEVMAP, _M.DEVMAP_HASH, _M.CPUMAP, _M.XSKMAP])
def test_a_redirect_answers_as_the_slot_and_the_flags_say(world: World, kind: MapType) -> None:
    """XDP_REDIRECT (4) where somebody is; else what the flags' low bits say; XDP_ABORTED for flags that are none."""
    with contextlib.closing(_made(world, kind)) as map:
        map.update(word(1), word(world.fd("xdp") if kind is _M.XSKMAP else 1))
        broadcast = kind in (_M.DEVMAP, _M.DEVMAP_HASH)
        for index, is_there in ((1, True), (0, False), (4, False), (99, False)):
            for flags in (0, 1, 2, 3):
                assert _answer(world, _redirect(map, index, flags)) == (4 if is_there else flags), (index, flags)
            assert _answer(world, _redirect(map, index, 4)) == 0
            assert _answer(world, _redirect(map, index, 8)) == (4 if broadcast else 0)
            assert _answer(world, _redirect(map, index, 32)) == 0


def test_what_a_redirect_remembers(kernel: SimKernel) -> None:
    map = kernel.create_map(MapSpec("m", _M.DEVMAP, 4, 4, 4))
    map.update(word(2), word(1))
    kernel.load_program(_spec(_redirect(map, 2, 3), _P.XDP)).test_run(_FRAME)
    cpu = kernel.current_cpu.pointer
    assert (cpu.redirect_map, cpu.redirect_index, cpu.redirect_flags) == (kernel.runtime.address_of(map.pointer), 2, 3)  # type: ignore[attr-defined]
    kernel.load_program(_spec(_redirect(map, 3, 1), _P.XDP)).test_run(_FRAME)
    assert cpu.redirect_map == 0


def test_a_program_reads_what_a_slot_holds(world: World) -> None:
    """struct bpf_devmap_val: the interface and the program's id. struct bpf_xdp_sock: the queue of a socket, here bound to none."""
    for kind in (_M.DEVMAP, _M.DEVMAP_HASH):
        with contextlib.closing(_made(world, kind, 8)) as map:
            map.update(word(1), word(1) + word(world.fd("device_program")))
            for off, wanted in ((0, 1), (4, world.object_id("device_program"))):
                assert _answer(world, _look(map, word(1), f"r0 = *(u32 *)(r0 +{off})")) == wanted
            assert _answer(world, _look(map, word(0), "r0 = *(u32 *)(r0 +0)")) == -1
    with contextlib.closing(_made(world, _M.XSKMAP)) as map:
        map.update(word(1), word(world.fd("xdp")))
        assert _answer(world, _look(map, word(1), "r0 = *(u32 *)(r0 +0)")) == 0
        assert _answer(world, _look(map, word(0), "r0 = *(u32 *)(r0 +0)")) == -1


def _look(map: Map, key: bytes, then: str) -> str:
    """The lookup of key; then: what is done with r0 where it is not 0."""
    return f"""*(u32 *)(r10 -8) = {struct.unpack_from("<i", key)[0]}
        *(u32 *)(r10 -4) = 0
        r1 = map[fd:{map.fd}]
        r2 = r10
        r2 += -8
        {_call("map_lookup_elem")}
        if r0 == 0 goto none
        {then}
        exit
        none:
        r0 = -1
        exit"""


# ---- sockmaps

_STATE = f"""r6 = r0
    r7 = *(u32 *)(r6 +72)
    r8 = *(u32 *)(r6 +12)
    r1 = r6
    {_call("sk_release")}
    r0 = r7
    r0 <<= 8
    r0 |= r8"""


@pytest.mark.parametrize("kind,key_size", [(_M.SOCKMAP, 4), (_M.SOCKHASH, 8)])
@pytest.mark.parametrize("type", [_P.XDP, _P.SCHED_CLS])
def test_a_program_finds_sockets_in_a_map(world: World, kind: MapType, key_size: int, type: ProgType) -> None:
    states = {"listener": 10 << 8 | TCP, "connected": 1 << 8 | TCP, "udp_group": 7 << 8 | UDP, "unix": 1 << 8}
    with contextlib.closing(_made(world, kind, 8, key_size)) as map:
        for name, wanted in states.items():
            map.update(bytes(key_size), world.fd(name).to_bytes(8, "little"))
            assert _answer(world, _look(map, bytes(4), _STATE), type) == wanted
        map.delete(bytes(key_size))
        assert _answer(world, _look(map, bytes(4), _STATE), type) == -1
    if isinstance(world, SimWorld):
        assert {one.references for one in world.sim.sockets} == {2}


def test_a_program_puts_and_deletes_sockets(world: World) -> None:
    """The socket found in one map goes into another: the errno for flags, indexes and states is Linux's."""
    with contextlib.closing(_made(world, _M.SOCKMAP, 8)) as source, contextlib.closing(_made(world, _M.SOCKMAP, 8)) as target:
        for name in _MAPPED:
            source.update(word(1), world.fd(name).to_bytes(8, "little"))
            for index, flags, wanted in ((2, 2, -2), (2, 0, 0), (2, 1, -17), (9, 0, -7), (2, 3, -22), (2, 2, 0)):
                assert _answer(world, _look(source, word(1), _put(target, index, flags)), _P.SCHED_CLS) == wanted
            assert world.lookup(target, word(2)) == name
            for wanted in (0, -22):
                assert _answer(world, f"""*(u32 *)(r10 -4) = 2
                    r1 = map[fd:{target.fd}]
                    r2 = r10
                    r2 += -4
                    {_call("map_delete_elem")}
                    exit""", _P.SCHED_CLS) == wanted


def _put(map: Map, index: int, flags: int) -> str:
    return f"""r6 = r0
        *(u32 *)(r10 -8) = {index}
        r1 = map[fd:{map.fd}]
        r2 = r10
        r2 += -8
        r3 = r6
        r4 = {flags}
        {_call("map_update_elem")}
        r7 = r0
        r1 = r6
        {_call("sk_release")}
        r0 = r7"""


def test_a_closed_socket_is_no_longer_found(world: World) -> None:
    with contextlib.closing(_made(world, _M.SOCKMAP, 8)) as map:
        map.update(word(1), world.fd("connected").to_bytes(8, "little"))
        world.reopen("connected")
        assert _answer(world, _look(map, word(1), _STATE)) == -1


@pytest.mark.parametrize("kind", [_M.SOCKMAP, _M.SOCKHASH])
def test_sockets_end_while_programs_find_them(kernel: SimKernel, kind: MapType) -> None:
    """One CPU's program looks sockets up and another's deletes them, while Python puts in new ones and closes old ones: nobody
    holds one at the end, and the memory of all is given back."""
    map = kernel.create_map(MapSpec("m", kind, 4, 8, 4))
    finds = kernel.load_program(_spec(_look(map, word(1), _STATE), _P.XDP))
    deletes = kernel.load_program(_spec(f"""*(u32 *)(r10 -4) = 1
        r1 = map[fd:{map.fd}]
        r2 = r10
        r2 += -4
        {_call("map_delete_elem")}
        exit""", _P.SCHED_CLS))
    must_stop = threading.Event()

    def run(program: Program, cpu: int) -> None:
        assert isinstance(program, SimProgram)
        while not must_stop.is_set():
            program.repeat_on(cpu, 1000)

    threads = [threading.Thread(target=run, args=row) for row in ((finds, 0), (deletes, 1))]
    for one in threads:
        one.start()
    for turn in range(3000):
        made = kernel.sockets.connect(Endpoint("127.0.0.1", turn), Endpoint("127.0.0.1", 80))
        map.update(word(1), made.fd.to_bytes(8, "little"))
        made.close()
        with contextlib.suppress(KeyError, MapError):
            map.delete(word(1))
    must_stop.set()
    for one in threads:
        one.join()
    assert map.lookup(word(1)) is None
    assert kernel.sockets.live == 0


# ---- choosing among SO_REUSEPORT sockets

_CHOICE = """*(u32 *)(r10 -4) = {index}
    r2 = map[fd:{map}]
    r3 = r10
    r3 += -4
    r4 = 0
    {select}
    *(u64 *)(r10 -16) = r0
    *(u32 *)(r10 -4) = 0
    r1 = map[fd:{answers}]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem#2
    r0 = 1
    exit"""
_CHOICES = [(_M.REUSEPORT_SOCKARRAY, one) for one in ("", "listener", "udp_group")] + [
    (_M.SOCKMAP, one) for one in ("", "connected", "listener", "udp_group", "udp_bound", "unix")]


def _selected(world: World, kind: MapType, name: str) -> int:
    """What the helper answers at a UDP socket of a group, where this socket is in the map; "group": one of that group."""
    with contextlib.ExitStack() as stack:
        map, answers = _made(world, kind, 8), world.kernel.create_map(MapSpec("a", _M.ARRAY, 4, 8, 1))
        stack.callback(map.close)
        if name:
            map.update(word(0), world.fd(name).to_bytes(8, "little"))
        text = _CHOICE.format(index=0, map=map.fd, answers=answers.fd, select=_call("sk_select_reuseport"))
        program = world.kernel.load_program(_spec(text, _P.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT))
        if isinstance(world, SimWorld):
            own = world.sim.sockets.add(Endpoint("127.0.0.1", 7), protocol=UDP, is_reuseport=1)
            stack.callback(own.close)
            assert isinstance(program, SimProgram)
            context: Any = world.sim.runtime.ffi.new("struct reuseport *", {"sk": own.pointer})
            program.run_on(context)
        else:
            own_socket = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            own_socket.bind(("127.0.0.1", 0))
            own_socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_EBPF, program.fd)
            sender = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            sender.sendto(b"x", own_socket.getsockname())
            own_socket.recv(1)
        if name:
            map.delete(word(0))
        found = answers.lookup(word(0))
        assert found is not None
        return int.from_bytes(found, "little", signed=True)


_SELECTED = {
    (_M.REUSEPORT_SOCKARRAY, ""): -2, (_M.REUSEPORT_SOCKARRAY, "listener"): -91, (_M.REUSEPORT_SOCKARRAY, "udp_group"): -77,
    (_M.SOCKMAP, ""): -2, (_M.SOCKMAP, "connected"): -22, (_M.SOCKMAP, "listener"): -91, (_M.SOCKMAP, "udp_group"): -77,
    (_M.SOCKMAP, "udp_bound"): -22, (_M.SOCKMAP, "unix"): -22,
}


@pytest.mark.parametrize("kind,name", _CHOICES, ids=lambda one: one.name.lower() if isinstance(one, MapType) else one or "empty")
def test_a_socket_of_another_group_is_not_chosen(world: World, kind: MapType, name: str) -> None:
    assert _selected(world, kind, name) == _SELECTED[kind, name]


def test_a_socket_of_the_group_is_chosen(kernel: SimKernel) -> None:
    one, other = (kernel.sockets.add(Endpoint("127.0.0.1", 7), protocol=UDP, is_reuseport=1) for _ in range(2))
    for kind in (_M.SOCKMAP, _M.REUSEPORT_SOCKARRAY):
        map, answers = kernel.create_map(MapSpec("m", kind, 4, 8, 4)), kernel.create_map(MapSpec("a", _M.ARRAY, 4, 8, 1))
        map.update(word(0), other.fd.to_bytes(8, "little"))
        text = _CHOICE.format(index=0, map=map.fd, answers=answers.fd, select=_call("sk_select_reuseport"))
        program = kernel.load_program(_spec(text, _P.SK_REUSEPORT, AttachType.SK_REUSEPORT_SELECT))
        assert isinstance(program, SimProgram)
        context: Any = kernel.runtime.ffi.new("struct reuseport *", {"sk": one.pointer})
        assert program.run_on(context) == (1, 0)
        assert context.selected_cookie == other.cookie != 0
        assert answers.lookup(word(0)) == bytes(8)
        map.delete(word(0))


# ---- verdicts of stream parsers and of messages, sockets' events: what nothing test-runs on Linux


def _verdict(kernel: SimKernel, type: ProgType, helper: str, map: Map, key: int, flags: int) -> tuple[int, int]:
    """(the helper's answer, the cookie of whom the packet is sent to)"""
    by_key = helper.endswith("hash")
    text = f"""*(u64 *)(r10 -8) = {key}
        r2 = map[fd:{map.fd}]
        {"r3 = r10" if by_key else f"r3 = {key}"}
        {"r3 += -8" if by_key else ""}
        r4 = {flags}
        {_call(helper)}
        exit"""
    program = kernel.load_program(_spec(text, type))
    assert isinstance(program, SimProgram)
    kind = "struct skb *" if type is _P.SK_SKB else "struct msg *"
    answer, _ = program.run_on(kernel.runtime.ffi.new(kind))
    program.close()
    return answer, int(kernel.current_cpu.pointer.redirect_socket)


@pytest.mark.parametrize("type,verb", [(_P.SK_SKB, "sk"), (_P.SK_MSG, "msg")])
@pytest.mark.parametrize("kind,key_size,what", [(_M.SOCKMAP, 4, "map"), (_M.SOCKHASH, 8, "hash")])
def test_a_verdict_sends_to_a_socket(type: ProgType, verb: str, kind: MapType, key_size: int, what: str) -> None:
    """To connected sockets and to no listener; a message leaves by TCP only, unless it goes to the receiving side."""
    with contextlib.ExitStack() as stack:
        world = SimWorld(stack)
        map = _made(world, kind, 8, key_size)
        goes = {("connected", 0): True, ("connected", 1): True, ("unix", 1): True, ("unix", 0): verb == "sk"}
        for name in _MAPPED:
            map.update((2).to_bytes(key_size, "little"), world.fd(name).to_bytes(8, "little"))
            for flags in (0, 1, 2):
                answer, cookie = _verdict(world.sim, type, f"{verb}_redirect_{what}", map, 2, flags)
                is_sent = goes.get((name, flags), False)
                assert (answer, cookie) == (int(is_sent), world.cookie(name) if is_sent else 0), (name, flags)
        assert _verdict(world.sim, type, f"{verb}_redirect_{what}", map, 3, 0) == (0, 0)
        assert _verdict(world.sim, type, f"{verb}_redirect_{what}", map, 77, 0) == (0, 0)


@pytest.mark.parametrize("kind,key_size,helper", [(_M.SOCKMAP, 4, "sock_map_update"), (_M.SOCKHASH, 8, "sock_hash_update")])
def test_a_sockets_event_puts_it_in_a_map(kind: MapType, key_size: int, helper: str) -> None:
    """When a connection begins or a listener does; at other events and for sockets that are gone it does not."""
    with contextlib.ExitStack() as stack:
        world = SimWorld(stack)
        map = _made(world, kind, 8, key_size)
        text = f"""r6 = r1
            *(u64 *)(r10 -8) = 2
            r2 = map[fd:{map.fd}]
            r3 = r10
            r3 += -8
            r4 = 0
            {_call(helper)}
            *(u32 *)(r6 +4) = r0
            r0 = 1
            exit"""
        program = world.kernel.load_program(_spec(text, _P.SOCK_OPS, AttachType.CGROUP_SOCK_OPS))
        assert isinstance(program, SimProgram)
        for name in ("connected", "listener"):
            for op, wanted in ((4, 0), (5, 0), (11, 0), (3, -95), (10, -95)):
                context: Any = world.sim.runtime.ffi.new("struct sock_ops *", {"sk": world.socket(name).pointer, "op": op})
                program.run_on(context)
                assert context.args[0] == wanted % (1 << 32)  # its reply
                key = (2).to_bytes(key_size, "little")
                assert world.lookup(map, key) == (name if wanted == 0 else None)
                if not wanted:
                    map.delete(key)


# ---- control groups


def test_control_groups_answer_whether_somebody_is_below_them(world: World) -> None:
    """At a packet's socket and at the current task, which are in the root's group or below, and not in an empty one."""
    with contextlib.closing(_made(world, _M.CGROUP_ARRAY)) as map:
        map.update(word(1), word(world.fd("root")))
        for index, wanted in ((1, 1), (0, -11), (4, -7)):
            packet = f"r2 = map[fd:{map.fd}]\nr3 = {index}\n{_call('skb_under_cgroup')}\nexit"
            task = f"r1 = map[fd:{map.fd}]\nr2 = {index}\n{_call('current_task_under_cgroup')}\nexit"
            assert _answer(world, packet, _P.SCHED_CLS) == wanted
            assert _answer(world, task, _P.XDP) == wanted


@pytest.mark.parametrize("type", [_P.XDP, _P.SCHED_CLS, _P.FLOW_DISSECTOR])
def test_nobody_here_has_a_class(world: World, type: ProgType) -> None:
    assert _answer(world, f"{_call('get_cgroup_classid')}\nexit", type) == 0


def test_tracing_programs_learn_cookies(kernel: SimKernel) -> None:
    """Of a socket of the table, and of a struct sock of the kernel's memory, which keeps it; no other address has one."""
    ask = kernel.runtime.ffi.cast("u64 (*)(struct cpu *, u64)", kernel.runtime.address("bpf_get_socket_cookie"))
    one = kernel.sockets.listen(Endpoint("127.0.0.1", 80))
    record = native.kernel_types().find("struct", "sock_common")
    member = record.member("skc_cookie") if isinstance(record, Record) else None
    assert member is not None
    address = kernel.memory.take_bytes(bytes(1024))
    asked = [int(ask(kernel.cpu(0).pointer, at)) for at in (one.address, address, one.address, address)]
    assert asked == [one.cookie, asked[1]] * 2 and len({0, *asked}) == 3
    assert kernel.memory.read(address + member.offset, 8) == asked[1].to_bytes(8, "little")
    for at in (0, 12345, one.address + 8, (1 << 64) - 8):
        assert ask(kernel.cpu(0).pointer, at) == 0


# ---- perf event arrays


def test_a_deleted_event_gets_no_more_records(kernel: SimKernel) -> None:
    """What was written stays readable; deleting again finds nothing."""
    events = kernel.create_map(MapSpec("events", _M.PERF_EVENT_ARRAY, 4, 4, 0))
    got: list[bytes] = []
    ring = kernel.open_perf_buffer(events, lambda cpu, record: got.append(bytes(record)), lambda cpu, count: None)
    program = kernel.load_program(_spec(f"""*(u64 *)(r10 -8) = 7
        r2 = map[fd:{events.fd}]
        r3 = {0xFFFFFFFF} ll
        r4 = r10
        r4 += -8
        r5 = 8
        call bpf_perf_event_output#25
        exit""", _P.XDP))
    assert program.test_run(_FRAME).retval == 0
    events.delete(word(0))
    assert program.test_run(_FRAME).retval == (1 << 32) - 2
    assert ring.consume() == 1 and len(got) == 1
    with pytest.raises(KeyError):
        events.delete(word(0))
    ring.close()
    with contextlib.closing(kernel.open_perf_buffer(events, lambda cpu, record: None, lambda cpu, count: None)):
        assert program.test_run(_FRAME).retval == 0


def test_every_socket_has_a_name() -> None:
    assert set(_MAPPED) < set(SOCKETS)
