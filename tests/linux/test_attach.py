"""Kinds of hooks of the running Linux beside tracepoints: perf events, packet sockets, devices, control groups."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcc_py.bpf import BPF
from bcc_py.errors import AttachError, NotSupportedError
from cfront.uapi import AttachType, ProgType

pytestmark = pytest.mark.linux

_SOFTWARE, _CPU_CLOCK, _PAGE_FAULTS, _CONTEXT_SWITCHES = 1, 0, 2, 3
_PING = b"a packet of bcc_py's tests"


def _fds() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a pair of devices of our own."""
    name = f"bpt{os.getpid() % 100000}"
    made = subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no veth devices here: {made.stderr.strip()}")
    for one in (name, f"{name}p"):
        subprocess.run(["ip", "link", "set", one, "up"], check=True)
    yield name
    subprocess.run(["ip", "link", "del", name], check=True)


def _send(device: str, payload: bytes) -> None:
    """A frame of a private EtherType out of a device."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((device, 0))
        out.send(b"\xff" * 6 + b"\x02\0\0\0\0\1" + struct.pack(">H", 0x88B5) + payload)


def test_perf_events_of_this_process() -> None:
    text = """
    #include <uapi/linux/bpf_perf_event.h>
    BPF_HASH(counts, u32, u64);
    int on_fault(struct bpf_perf_event_data *ctx) { counts.increment(bpf_get_current_pid_tgid() >> 32); return 0; }"""
    before = _fds()
    with BPF(text=text, kernel="linux") as bpf:
        bpf.attach_perf_event(_SOFTWARE, _PAGE_FAULTS, fn_name="on_fault", sample_period=1, pid=os.getpid())
        with mmap.mmap(-1, 4096 * 300) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            for at in range(0, len(memory), 4096):
                memory[at] = 1
        found = {key.value: leaf.value for key, leaf in bpf["counts"].items()}
        assert found.keys() == {os.getpid()} and found[os.getpid()] >= 300
        bpf.detach_perf_event(_SOFTWARE, _PAGE_FAULTS)
        with pytest.raises(AttachError, match="it is not attached"):
            bpf.detach_perf_event(_SOFTWARE, _PAGE_FAULTS)
    assert _fds() == before


def test_perf_events_by_frequency_and_raw() -> None:
    text = """
    #include <uapi/linux/bpf_perf_event.h>
    BPF_ARRAY(count, u64, 2);
    int by_clock(struct bpf_perf_event_data *ctx) { if (bpf_get_current_pid_tgid() >> 32 == WANTED) count.increment(0); return 0; }
    int by_attr(struct bpf_perf_event_data *ctx) { if (bpf_get_current_pid_tgid() >> 32 == WANTED) count.increment(1); return 0; }"""
    with BPF(text=text.replace("WANTED", str(os.getpid())), kernel="linux") as bpf:
        bpf.attach_perf_event(_SOFTWARE, _CPU_CLOCK, fn_name="by_clock", sample_freq=997)
        attr = struct.pack("<IIQQ88x", _SOFTWARE, 112, _CPU_CLOCK, 1_000_000)  # every ms of a CPU's time
        bpf.attach_perf_event_raw(attr=(ctypes.c_char * len(attr)).from_buffer_copy(attr), fn_name="by_attr", pid=-1, cpu=-1)
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass
        clock, raw = (bpf["count"][at].value for at in (0, 1))
    assert clock >= 60 and raw >= 60


def test_what_an_event_needs() -> None:
    with BPF(text="int f(void *ctx) { return 0; }", kernel="linux") as bpf:
        for more in ({}, {"sample_period": 1, "sample_freq": 1}):
            with pytest.raises(AttachError, match="exactly one of sample_period and sample_freq"):
                bpf.attach_perf_event(_SOFTWARE, _CPU_CLOCK, fn_name="f", **more)  # type: ignore[arg-type]
        with pytest.raises(AttachError, match="are attached to by other calls"):
            bpf.attach_perf_event(2, 1, fn_name="f", sample_period=1)
        with pytest.raises((AttachError, NotSupportedError), match="attaching to perf event 99:7"):
            bpf.attach_perf_event(99, 7, fn_name="f", sample_period=1)


def test_a_packet_socket_receives_what_its_filter_lets_through(device: str) -> None:
    text = """
    #include <bcc/proto.h>
    BPF_ARRAY(seen, u64, 1);
    int only_ours(struct __sk_buff *skb)
    {
        u8 *cursor = 0;
        struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
        seen.increment(0);
        return ethernet->type == 0x88b5 ? -1 : 0;
    }"""
    before = _fds()
    with BPF(text=text, kernel="linux") as bpf:
        function = bpf.load_func("only_ours", BPF.SOCKET_FILTER)
        BPF.attach_raw_socket(function, device)
        _send(f"{device}p", _PING)
        deadline, got = time.monotonic() + 5, b""
        while _PING not in got and time.monotonic() < deadline:
            try:
                got = os.read(function.sock, 2048)
            except BlockingIOError:
                time.sleep(0.01)
        assert _PING in got and bpf["seen"][0].value >= 1
        with pytest.raises(AttachError, match="there is no such device"):
            BPF.attach_raw_socket(function, "no-such-device")
    assert _fds() == before


def test_a_program_on_a_device(device: str) -> None:
    text = """
    BPF_ARRAY(dropped, u64, 1);
    int drop_ours(struct xdp_md *ctx)
    {
        void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
        struct ethhdr *ethernet = data;
        if (data + sizeof(*ethernet) > end) return XDP_PASS;
        if (ethernet->h_proto != htons(0x88b5)) return XDP_PASS;
        dropped.increment(0);
        return XDP_DROP;
    }"""
    with BPF(text=text, kernel="linux") as bpf:
        function = bpf.load_func(b"drop_ours", BPF.XDP)
        bpf.attach_xdp(device, function, BPF.XDP_FLAGS_SKB_MODE)
        with pytest.raises(AttachError):
            BPF.attach_xdp(device, bpf.load_func("drop_ours", BPF.XDP), BPF.XDP_FLAGS_SKB_MODE)
        _send(f"{device}p", _PING)
        deadline = time.monotonic() + 5
        while not bpf["dropped"][0].value and time.monotonic() < deadline:
            time.sleep(0.01)
        assert bpf["dropped"][0].value == 1
        BPF.remove_xdp(device)
        with pytest.raises(AttachError, match="this process has no program on it"):
            bpf.remove_xdp(device)
        _send(f"{device}p", _PING)
        time.sleep(0.05)
        assert bpf["dropped"][0].value == 1


def test_a_program_of_a_control_group(tmp_path: Path) -> None:
    root = next((line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"), "")
    if not root:
        pytest.skip("no control groups (cgroup2) are mounted here")
    group = Path(root) / f"bcc_py-{os.getpid()}"
    group.mkdir()
    text = """
    BPF_ARRAY(sockets, u64, 1);
    int on_socket(struct bpf_sock *ctx) { sockets.increment(0); return ctx->family != AF_INET6; }"""
    try:
        with BPF(text=text, kernel="linux") as bpf:
            function = bpf.load_func("on_socket", ProgType.CGROUP_SOCK)
            descriptor = os.open(group, os.O_RDONLY)
            try:
                bpf.attach_func(function, descriptor, AttachType.CGROUP_INET_SOCK_CREATE)
                made = subprocess.run(
                    ["python3", "-c", f"""
import os, socket
open({str(group / "cgroup.procs")!r}, "w").write(str(os.getpid()))
socket.socket(socket.AF_INET)
try:
    socket.socket(socket.AF_INET6)
except PermissionError:
    print("refused")
"""], capture_output=True, text=True, check=True)
                assert made.stdout == "refused\n" and bpf["sockets"][0].value == 2
                bpf.detach_func(function, descriptor, AttachType.CGROUP_INET_SOCK_CREATE)
                with pytest.raises(AttachError, match="it is not attached"):
                    bpf.detach_func(function, descriptor, AttachType.CGROUP_INET_SOCK_CREATE)
            finally:
                os.close(descriptor)
    finally:
        deadline = time.monotonic() + 5
        while group.exists() and time.monotonic() < deadline:
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.05)


def test_a_poll_ends_where_everything_was_discarded() -> None:
    """A wake-up for a record that the program took back is no record, and the next one may never come."""
    text = """
    BPF_RINGBUF_OUTPUT(events, 1);
    int syscall__getppid(struct pt_regs *ctx) {
        u64 *one;
        if (bpf_get_current_pid_tgid() >> 32 != WANTED) return 0;
        one = events.ringbuf_reserve(8);
        if (one) { *one = 1; events.ringbuf_discard(one, 0); }
        return 0;
    }"""
    with BPF(text=text.replace("WANTED", str(os.getpid())), kernel="linux") as bpf:
        bpf.attach_kprobe(event=bpf.get_syscall_fnname("getppid"), fn_name="syscall__getppid")
        seen: list[int] = []
        bpf["events"].open_ring_buffer(lambda ctx, data, size: seen.append(size))
        os.getppid()
        assert bpf.ring_buffer_poll(60_000) == 0 and seen == []
