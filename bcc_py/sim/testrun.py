"""Test runs: a program on a packet and a context, as BPF_PROG_TEST_RUN does it.

Input: the program, the packet's bytes, the context as include/uapi/linux/bpf.h has it. Output: a TestRun, or the error
that Linux gives for such bytes, with its errno. What a type takes, and what it gives back, is one function for each kind
of context. Types whose context is the event's bytes (kprobes and their like) have no test run in Linux; here those bytes
are the program's context as they are.

Source: net/bpf/test_run.c of Linux 6.18, compared with the running kernel by tests/sim/test_testrun.py."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bcc_py.errors import LoadError, NotSupportedError
from bcc_py.jit import NativeProgram
from bcc_py.kernel import TestRun
from bcc_py.sim.contexts import SKB_BYTES, SKB_TYPES, XDP_BYTES
from bcc_py.sim.cpu import SimCpu
from bcc_py.sim.memory import Runtime
from bcc_py.spec import ProgramSpec
from cfront.uapi import AttachType, ProgType

__all__ = ["TestBench", "run_on", "test_run"]

_EINVAL, _E2BIG, _ENOMEM, _ENODEV, _ERANGE, _EAFNOSUPPORT = 22, 7, 12, 19, 34, 97
_ETHERNET_BYTES, _PAGE, _SHARED_INFO, _SKB_PAD = 14, 4096, 320, 64
_MAX_FRAME = _PAGE - _SKB_PAD - _SHARED_INFO
_XDP_HEADROOM, _FRAME_NOTES, _MAX_FRAGS = 256, 40, 17
_MAX_REPEAT = 0xFFFFFFFF
_EVENT_BYTES = 65536
_MAX_RAW_ARGS = 12
_HEADER_BYTES = {0x0008: 20, 0xDD86: 40}  # by protocol, as it lies in a packet
_WIRE_MAX, _SEGMENTS_MAX = 65536, 65535
# struct __sk_buff: what of it a test run takes; the rest must be zero
_SKB_GIVEN = ((8, 12), (32, 44), (48, 68), (152, 168), (176, 180), (184, 192))
_AF_INET, _AF_INET6 = 2, 10
# struct bpf_flow_keys: nhoff, thoff, n_proto, flags
_FLOW_KEYS, _FLOW_FLAGS = struct.Struct("<HH6xH36xI4x"), 48
# struct bpf_sk_lookup: its bytes, and up to where a test run takes them
_LOOKUP_BYTES, _LOOKUP_GIVEN = 72, 64
_P = ProgType
_FRAME_TYPES = frozenset((_P.SCHED_CLS, _P.SCHED_ACT))
_EVENT_TYPES = frozenset((_P.KPROBE, _P.TRACEPOINT, _P.PERF_EVENT))


@dataclass(frozen=True, slots=True)
class TestBench:
    """Where a test run happens. cpu: its lock is the caller's to hold. state: the struct sim."""

    runtime: Runtime
    cpu: SimCpu
    state: Any


@dataclass(frozen=True, slots=True)
class _Run:
    """One test run that was asked for."""

    bench: TestBench
    spec: ProgramSpec
    code: NativeProgram
    context_bytes: int  # how much of its context the program reads
    repeat: int

    def error(self, what: str, errno: int) -> LoadError:
        return LoadError(f"test run of {self.spec.name}: {what}", self.spec.name, errno)

    def on(self, address: int) -> tuple[int, int]:
        """(r0, ns for each run) of the program on the context at this address."""
        start = time.perf_counter_ns()
        with self._running():
            result = self.code.repeat(self.bench.cpu.address, address, self.repeat)
        spent = time.perf_counter_ns() - start
        return result & 0xFFFFFFFF, spent // max(self.repeat, 1)

    def once(self, address: int) -> tuple[int, int]:
        """The same for one run, where the context is laid out anew for each."""
        start = time.perf_counter_ns()
        with self._running():
            result = self.code.run(self.bench.cpu.address, address)
        spent = time.perf_counter_ns() - start
        return result & 0xFFFFFFFF, spent

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """A program runs: what it may have found stays in memory. Raises FaultError for a checked one that did wrong."""
        self.bench.runtime.sim_enter(self.bench.state)
        try:
            yield
        finally:
            self.bench.runtime.sim_leave(self.bench.state)
        self._check_fault()

    def _check_fault(self) -> None:
        if self.bench.cpu.pointer.fault:
            self.bench.cpu.raise_fault(self.spec.name)


def test_run(
    bench: TestBench, spec: ProgramSpec, code: NativeProgram, context_bytes: int, data: bytes, ctx: bytes, repeat: int
) -> TestRun:
    """Raises LoadError with Linux's errno, NotSupportedError for a type that has no test run."""
    run = _Run(bench, spec, code, context_bytes, repeat)
    if not 0 <= repeat <= _MAX_REPEAT:
        raise run.error(f"repeat {repeat}", _EINVAL)
    how = _HOW.get(spec.type)
    if how is None:
        raise NotSupportedError(f"test run of {spec.name}: programs of type {spec.type.name.lower()} have none", "prog_test_run")
    return how(run, data, ctx)


def run_on(bench: TestBench, spec: ProgramSpec, code: NativeProgram, context: Any, retval: int = 0) -> tuple[int, int]:
    """One run on a context that is a struct of the runtime ("struct sock_addr *", "struct sysctl *", ...): how programs of
    types that have no test run are run. retval: what the system call is going to return. (r0, retval afterwards)"""
    run = _Run(bench, spec, code, 0, 1)
    bench.cpu.pointer.retval, bench.cpu.pointer.redirect_socket = retval, 0
    bench.cpu.show(context)
    try:
        r0, _ = run.once(bench.runtime.address_of(context))
    finally:
        bench.cpu.show(None)
    return r0, int(bench.cpu.pointer.retval)


def _padded(run: _Run, ctx: bytes, size: int) -> bytearray:
    """The context given, with zeros for what is not."""
    if any(ctx[size:]):
        raise run.error(f"a context of {len(ctx)} bytes that are not all zero behind {size}", _E2BIG)
    return bytearray(ctx[:size].ljust(size, b"\0"))


# ---- struct __sk_buff


def _run_skb(run: _Run, data: bytes, ctx: bytes) -> TestRun:
    if not _ETHERNET_BYTES <= len(data) <= _MAX_FRAME:
        raise run.error(f"a packet of {len(data)} bytes ({_ETHERNET_BYTES} to {_MAX_FRAME} are possible)", _EINVAL)
    image = _padded(run, ctx, SKB_BYTES)
    index = struct.unpack_from("<I", image, 40)[0]
    address = _interface_address(run, index if index > 1 else 1)
    is_frame = run.spec.type in _FRAME_TYPES
    runtime = run.bench.runtime
    skb: Any = runtime.skb_new(run.bench.cpu.pointer, data, len(data), is_frame, address)
    if not skb:
        raise run.error("out of memory", _ENOMEM)
    try:
        least = _HEADER_BYTES.get(skb.protocol, 0)
        if len(data) < _ETHERNET_BYTES + least:
            raise run.error(f"a packet of {len(data)} bytes, whose protocol has a header of {least}", _EINVAL)
        skb.ifindex = max(index, 1)
        skb.sk.cgroup_id = run.bench.cpu.pointer.cgroup_id
        if ctx:
            _put_skb(run, skb, image)
        run.bench.cpu.show(skb)
        retval, duration_ns = run.on(runtime.address_of(skb))
        if not is_frame and runtime.skb_add_header(run.bench.cpu.pointer, skb):
            raise run.error("out of memory", _ENOMEM)
        return TestRun(retval, runtime.copy_out(skb.data, skb.len), _skb_image(skb, image) if ctx else b"", duration_ns)
    finally:
        run.bench.cpu.show(None)
        runtime.skb_free(run.bench.cpu.pointer, skb)


def _interface_address(run: _Run, index: int) -> bytes:
    net = run.bench.state.net
    for one in net.interfaces[0 : net.interface_count]:
        if one.index == index:
            return bytes(one.address)
    raise run.error(f"there is no interface {index}", _ENODEV)


def _put_skb(run: _Run, skb: Any, image: bytearray) -> None:
    given = bytearray(image)
    for first, end in _SKB_GIVEN:
        given[first:end] = bytes(end - first)
    if any(given):
        raise run.error("a context with fields that cannot be chosen", _EINVAL)
    wire_len, segments = struct.unpack_from("<2I", image, 160)
    if (wire_len and not skb.len <= wire_len <= _WIRE_MAX) or segments > _SEGMENTS_MAX:
        raise run.error(f"wire_len {wire_len}, gso_segs {segments}", _EINVAL)
    skb.mark, skb.priority, skb.ingress_ifindex = (struct.unpack_from("<I", image, at)[0] for at in (8, 32, 36))
    skb.cb = struct.unpack_from("<5I", image, 48)
    skb.tstamp, skb.hwtstamp = (struct.unpack_from("<Q", image, at)[0] for at in (152, 184))
    skb.wire_len, skb.gso_segs = wire_len or skb.len, segments
    skb.gso_size = struct.unpack_from("<I", image, 176)[0] & 0xFFFF


def _skb_image(skb: Any, image: bytearray) -> bytes:
    for at, value in ((8, skb.mark), (32, skb.priority), (36, skb.ingress_ifindex), (40, skb.ifindex), (160, skb.wire_len),
                      (164, skb.gso_segs)):
        struct.pack_into("<I", image, at, value)
    struct.pack_into("<5I", image, 48, *skb.cb)
    struct.pack_into("<Q", image, 152, skb.tstamp)
    struct.pack_into("<Q", image, 184, skb.hwtstamp)
    return bytes(image)


# ---- struct xdp_md


def _run_xdp(run: _Run, data: bytes, ctx: bytes) -> TestRun:
    if run.spec.expected_attach_type in (AttachType.XDP_DEVMAP, AttachType.XDP_CPUMAP):
        raise run.error("programs of maps of devices and CPUs have none", _EINVAL)
    image = _padded(run, ctx, XDP_BYTES)
    meta, linear, interface, queue = _xdp_layout(run, data, image) if ctx else (0, len(data), 0, 0)
    if len(data) - meta < _ETHERNET_BYTES:
        raise run.error(f"a packet of {len(data)} bytes, {linear} in its first buffer, {meta} of metadata", _EINVAL)
    runtime = run.bench.runtime
    xdp: Any = runtime.xdp_new(run.bench.cpu.pointer, data, len(data), linear, meta)
    if not xdp:
        raise run.error(f"a packet of {len(data)} bytes (at most {_MAX_FRAGS} pages behind its first buffer)", _ENOMEM)
    try:
        xdp.ingress_ifindex, xdp.rx_queue_index = interface or 1, queue
        run.bench.cpu.show(xdp)
        retval, duration_ns = run.on(runtime.address_of(xdp))
        size = int(runtime.xdp_read(xdp, runtime.ffi.NULL, 0))
        after = runtime.ffi.new("u8[]", max(size, 1))
        runtime.xdp_read(xdp, after, size)
        struct.pack_into("<2I", image, 0, xdp.data - xdp.data_meta, xdp.data_end - xdp.data_meta)
        return TestRun(retval, runtime.copy_out(after, size), bytes(image) if ctx else b"", duration_ns)
    finally:
        run.bench.cpu.show(None)
        runtime.xdp_free(run.bench.cpu.pointer, xdp)


def _xdp_layout(run: _Run, data: bytes, image: bytearray) -> tuple[int, int, int, int]:
    """(bytes of metadata, bytes up to the first buffer's end, interface, queue) as the context asks for them."""
    meta, end, data_meta, interface, queue, egress = struct.unpack("<6I", image)
    if data_meta or end > len(data) or meta > end or meta & 3 or meta > _XDP_HEADROOM - _FRAME_NOTES:
        raise run.error(f"a context with data {meta}, data_end {end}, data_meta {data_meta}", _EINVAL)
    if egress or (queue and not interface):
        raise run.error(f"a context with queue {queue} of interface {interface}, egress interface {egress}", _EINVAL)
    if interface:
        _interface_address(run, interface)
        if queue:
            raise run.error(f"interface {interface} has no queue {queue}", _EINVAL)
    return meta, end, interface, queue


# ---- a flow dissector's


def _run_flow(run: _Run, data: bytes, ctx: bytes) -> TestRun:
    if not _ETHERNET_BYTES <= len(data) <= _PAGE:
        raise run.error(f"a packet of {len(data)} bytes ({_ETHERNET_BYTES} to {_PAGE} are possible)", _EINVAL)
    given = _padded(run, ctx, _FLOW_KEYS.size)
    flags = struct.unpack_from("<I", given, _FLOW_FLAGS)[0]
    if any(given[:_FLOW_FLAGS]) or any(given[_FLOW_FLAGS + 4 :]):
        raise run.error("flow keys with anything but flags", _EINVAL)
    runtime, cpu = run.bench.runtime, run.bench.cpu
    packet = runtime.bytes_take(run.bench.state, data, len(data), len(data))
    keys = runtime.bytes_take(run.bench.state, bytes(_FLOW_KEYS.size), _FLOW_KEYS.size, _FLOW_KEYS.size)
    skb: Any = runtime.ffi.new("struct skb *")
    skb.data, skb.data_end, skb.flow_keys = packet, packet + len(data), keys
    first = _FLOW_KEYS.pack(_ETHERNET_BYTES, _ETHERNET_BYTES, struct.unpack_from("<H", data, 12)[0], flags)
    try:
        if not (packet and keys):
            raise run.error("out of memory", _ENOMEM)
        cpu.show(skb)
        retval = duration_ns = 0
        for _ in range(max(run.repeat, 1)):
            runtime.ffi.memmove(keys, first, len(first))
            retval, one_ns = run.once(runtime.address_of(skb))
            duration_ns += one_ns
        found = bytearray(runtime.copy_out(keys, _FLOW_KEYS.size))
    finally:
        cpu.show(None)
        runtime.bytes_give(run.bench.state, packet)
        runtime.bytes_give(run.bench.state, keys)
    network, transport = struct.unpack_from("<2H", found)
    network = min(max(network, _ETHERNET_BYTES), len(data))
    struct.pack_into("<2H", found, 0, network, min(max(transport, network), len(data)))
    return TestRun(retval, bytes(found), bytes(given) if ctx else b"", duration_ns // max(run.repeat, 1))


# ---- struct bpf_sk_lookup


def _run_lookup(run: _Run, data: bytes, ctx: bytes) -> TestRun:
    if data or not ctx:
        raise run.error("it takes a context and no packet", _EINVAL)
    image = _padded(run, ctx, _LOOKUP_BYTES)
    if any(image[:8]) or any(image[_LOOKUP_GIVEN:]):
        raise run.error("a context with fields that cannot be chosen", _EINVAL)
    family, protocol, port = (struct.unpack_from("<I", image, at)[0] for at in (8, 12, 60))
    if port > 0xFFFF:
        raise run.error(f"local port {port}", _ERANGE)
    if family & 0xFFFF not in (_AF_INET, _AF_INET6):
        raise run.error(f"family {family}", _EAFNOSUPPORT)
    lookup: Any = run.bench.runtime.ffi.new("struct lookup *")
    lookup.family, lookup.protocol, lookup.local_port = family & 0xFFFF, protocol & 0xFFFF, port
    lookup.remote_port = struct.unpack_from("<H", image, 36)[0]
    if family & 0xFFFF == _AF_INET:
        lookup.remote_ip4, lookup.local_ip4 = (struct.unpack_from("<I", image, at)[0] for at in (16, 40))
    else:
        lookup.remote_ip6, lookup.local_ip6 = (struct.unpack_from("<4I", image, at) for at in (20, 44))
    address = run.bench.runtime.address_of(lookup)
    try:
        run.bench.cpu.show(lookup)
        retval = duration_ns = 0
        for _ in range(max(run.repeat, 1)):
            lookup.sk = run.bench.runtime.ffi.NULL
            retval, one_ns = run.once(address)
            duration_ns += one_ns
    finally:
        run.bench.cpu.show(None)
    image[:8] = struct.pack("<Q", lookup.sk.cookie if lookup.sk and retval else 0)
    return TestRun(retval, b"", bytes(image), duration_ns // max(run.repeat, 1))


# ---- contexts that are bytes


def _run_arguments(run: _Run, data: bytes, ctx: bytes) -> TestRun:
    """A raw tracepoint's arguments, or whatever the caller of a SYSCALL program has for it, which comes back."""
    most = _MAX_RAW_ARGS * 8 if run.spec.type is _P.RAW_TRACEPOINT else 0xFFFF
    if data or not run.context_bytes <= len(ctx) <= most:
        raise run.error(f"a context of {len(ctx)} bytes ({run.context_bytes} to {most} are possible), a packet of {len(data)}", _EINVAL)
    return _run_event(run, b"", ctx)


def _run_event(run: _Run, data: bytes, ctx: bytes) -> TestRun:
    if data and run.context_bytes:
        raise NotSupportedError(
            f"test run of {run.spec.name}: {len(data)} bytes of packet data for a {run.spec.type.name.lower()} program "
            "(give ctx, its context)", "packet data")
    if len(ctx) > _EVENT_BYTES:
        raise run.error(f"a context of {len(ctx)} bytes", _E2BIG)
    cpu = run.bench.cpu
    cpu.put(ctx)
    retval, duration_ns = run.on(cpu.page_address)
    return TestRun(retval, data, cpu.content(len(ctx)), duration_ns)


_HOW: dict[ProgType, Callable[[_Run, bytes, bytes], TestRun]] = {
    **dict.fromkeys(_EVENT_TYPES, _run_event), _P.RAW_TRACEPOINT: _run_arguments, _P.SYSCALL: _run_arguments,
    _P.FLOW_DISSECTOR: _run_flow, _P.SK_LOOKUP: _run_lookup,
    **dict.fromkeys(SKB_TYPES - {_P.SK_SKB, _P.LWT_SEG6LOCAL}, _run_skb), _P.XDP: _run_xdp,
}
