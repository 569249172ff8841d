"""Helpers answer what Linux's answer: the same program, run by both, returns the same.

RESULTS is what Linux 6.18 returned; a test under the linux mark asks the running kernel again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bcc_py.kernel import Kernel
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import MapSpec
from cfront.uapi import MapType, ProgType
from tests.sim.quiet import Script, program

_MAPS = {
    "hash": MapSpec("hash", MapType.HASH, 8, 8, 2), "array": MapSpec("array", MapType.ARRAY, 4, 8, 2),
    "pcpu": MapSpec("pcpu", MapType.PERCPU_HASH, 8, 8, 2), "queue": MapSpec("queue", MapType.QUEUE, 0, 8, 2),
    "stack": MapSpec("stack", MapType.STACK, 0, 8, 2), "ring": MapSpec("ring", MapType.RINGBUF, 0, 0, 4096),
    "perf": MapSpec("perf", MapType.PERF_EVENT_ARRAY, 4, 4, 0), "lru": MapSpec("lru", MapType.LRU_HASH, 8, 8, 2),
}


def _update(map: str, key: int, flags: int, helper: str = "update_elem#2") -> str:
    """r0 = the update's answer; the value is key + 100."""
    return f"""
        *(u64 *)(r10 -8) = {key}
        *(u64 *)(r10 -16) = {key + 100}
        r1 = ${map}
        r2 = r10
        r2 += -8
        r3 = r10
        r3 += -16
        r4 = {flags}
        call bpf_map_{helper}"""


def _push(map: str, value: int, flags: int = 0) -> str:
    return f"""
        *(u64 *)(r10 -8) = {value}
        r1 = ${map}
        r2 = r10
        r2 += -8
        r3 = {flags}
        call bpf_map_push_elem#87"""


def _take(map: str, helper: str) -> str:
    """r0 = the answer * 1000 + the value."""
    return f"""
        *(u64 *)(r10 -8) = -1
        r1 = ${map}
        r2 = r10
        r2 += -8
        call bpf_map_{helper}
        r0 *= 1000
        r1 = *(u64 *)(r10 -8)
        r0 += r1"""


def _string(text: bytes, at: int) -> str:
    """The eight bytes of text at r10+at."""
    return f"r1 = {int.from_bytes(text.ljust(8, bytes(1)), 'little'):#x} ll\n*(u64 *)(r10 {at}) = r1\n"


def _read_string(size: int) -> str:
    """r0 = answer * 256 + the last byte written."""
    return _string(b"hello", -8) + f"""
        *(u64 *)(r10 -16) = -1
        r1 = r10
        r1 += -16
        r2 = {size}
        r3 = r10
        r3 += -8
        call bpf_probe_read_kernel_str#115
        r0 <<= 8
        r1 = *(u8 *)(r10 -{16 - size + 1})
        r0 |= r1"""


def _ring(size: int, flags: int, count: int = 1) -> str:
    one = f"""
        *(u64 *)(r10 -8) = 1
        r1 = $ring
        r2 = r10
        r2 += -{(size + 7) // 8 * 8}
        r3 = {size}
        r4 = {flags}
        call bpf_ringbuf_output#130"""
    return "*(u64 *)(r10 -512) = 0\n" + one * count


def _query(flags: int) -> str:
    return f"r1 = $ring\nr2 = {flags}\ncall bpf_ringbuf_query#134"


_PERF = """
        *(u64 *)(r10 -8) = 0
        r1 = r6
        r2 = $perf
        r3 = {flags} ll
        r4 = r10
        r4 += -8
        r5 = 8
        call bpf_perf_event_output#25"""

_COMM = """
        *(u64 *)(r10 -8) = -1
        r1 = r10
        r1 += -8
        r2 = {size}
        call bpf_get_current_comm#16"""

CASES: dict[str, str] = {
    "hash add": _update("hash", 1, 0),
    "hash add existing": _update("hash", 1, 0) + _update("hash", 1, 1),
    "hash change missing": _update("hash", 1, 2),
    "hash full": _update("hash", 1, 0) + _update("hash", 2, 0) + _update("hash", 3, 0),
    "hash change when full": _update("hash", 1, 0) + _update("hash", 2, 0) + _update("hash", 2, 2),
    "hash unknown flags": _update("hash", 1, 8),
    "array unknown index": _update("array", 5, 0),
    "array noexist": _update("array", 1, 1),
    "array exist": _update("array", 1, 2),
    "array unknown flags": _update("array", 1, 9),
    "array delete": "*(u64 *)(r10 -8) = 0\nr1 = $array\nr2 = r10\nr2 += -8\ncall bpf_map_delete_elem#3",
    "hash delete missing": "*(u64 *)(r10 -8) = 0\nr1 = $hash\nr2 = r10\nr2 += -8\ncall bpf_map_delete_elem#3",
    "hash delete": _update("hash", 7, 0) + "\nr1 = $hash\nr2 = r10\nr2 += -8\ncall bpf_map_delete_elem#3",
    "percpu full": _update("pcpu", 1, 0) + _update("pcpu", 2, 0) + _update("pcpu", 3, 0),
    "lru never full": _update("lru", 1, 0) + _update("lru", 2, 0) + _update("lru", 3, 0),
    "queue order": _push("queue", 5) + _push("queue", 6) + _take("queue", "pop_elem#88"),
    "stack order": _push("stack", 5) + _push("stack", 6) + _take("stack", "pop_elem#88"),
    "queue full": _push("queue", 5) + _push("queue", 6) + _push("queue", 7),
    "queue overwrite": _push("queue", 5) + _push("queue", 6) + _push("queue", 7, 2) + _take("queue", "peek_elem#89"),
    "stack overwrite": _push("stack", 5) + _push("stack", 6) + _push("stack", 7, 2) + _take("stack", "pop_elem#88") + _take("stack", "peek_elem#89"),
    "queue empty": _take("queue", "pop_elem#88"),
    "queue bad flags": _push("queue", 5, 1),
    "read string": _read_string(8),
    "read string cut": _read_string(3),
    "read string one": _read_string(1),
    "ring output": _ring(8, 0),
    "ring bad flags": _ring(8, 4),
    "ring no wakeup": _ring(8, 1),
    "ring used": _ring(8, 0, 3) + "\n" + _query(0),
    "ring used odd": _ring(5, 0, 2) + "\n" + _query(0),
    "ring size": _query(1),
    "ring producer": _ring(500, 0, 2) + "\n" + _query(3),
    "ring consumer": _ring(500, 0, 2) + "\n" + _query(2),
    "ring unknown query": _query(9),
    "ring full": _ring(504, 0, 9),
    "ring just fits": _ring(504, 0, 7),
    "perf not opened": _PERF.format(flags=0xFFFFFFFF),
    "perf bad index": _PERF.format(flags=5000),
    "comm": _COMM.format(size=8),
}
RESULTS: dict[str, int] = {
    "hash add": 0,
    "hash add existing": -17,
    "hash change missing": -2,
    "hash full": -7,
    "hash change when full": 0,
    "hash unknown flags": -22,
    "array unknown index": -7,
    "array noexist": -17,
    "array exist": 0,
    "array unknown flags": -22,
    "array delete": -22,
    "hash delete missing": -2,
    "hash delete": 0,
    "percpu full": -7,
    "lru never full": 0,
    "queue order": 5,
    "stack order": 6,
    "queue full": -7,
    "queue overwrite": 6,
    "stack overwrite": 6,
    "queue empty": -2000,
    "queue bad flags": -22,
    "read string": 1791,
    "read string cut": 768,
    "read string one": 256,
    "ring output": 0,
    "ring bad flags": -22,
    "ring no wakeup": 0,
    "ring used": 48,
    "ring used odd": 32,
    "ring size": 4096,
    "ring producer": 1024,
    "ring consumer": 0,
    "ring unknown query": 0,
    "ring full": -11,
    "ring just fits": 0,
    "perf not opened": -2,
    "perf bad index": -7,
    "comm": 0,
}


def _run(kernel: Kernel, name: str) -> int:
    text = CASES[name]
    maps = {word: kernel.create_map(spec) for word, spec in _MAPS.items() if f"${word}" in text}
    type = ProgType.SOCKET_FILTER
    made = kernel.load_program(program(f"r6 = r1\n{text}\nexit", type, **{word: one.fd for word, one in maps.items()}))
    try:
        answer = made.test_run(bytes(64)).retval
        return answer - (1 << 32) if answer >> 31 else answer
    finally:
        made.close()
        for one in maps.values():
            one.close()


@pytest.mark.parametrize("name", CASES)
def test_the_simulated_kernel_answers_as_linux_did(kernel: SimKernel, name: str) -> None:
    assert _run(kernel, name) == RESULTS[name]


@pytest.mark.linux
def test_linux_still_answers_the_same() -> None:
    linux = LinuxKernel()
    linux.create_map(_MAPS["hash"]).close()
    answers = {name: _run(linux, name) for name in CASES}
    linux.close()
    assert answers == RESULTS


# as the running 6.18 answers: addresses at the edges of what a process and a kernel may have
_NOWHERE = {
    0: (-14, -34), 0x1000: (-14, -34), 0x7FFFFFFFF001: (-34, -34), 0x800000000000: (-34, -34),
    0xDEAD000000000000: (-34, -34), 0xFFFF7FFFFFFFFFFF: (-34, -34), 0xFFFF800000000000: (-14, -14), 0xFFFFFFFFFFFFFFFF: (-14, -14),
}
_READERS = ("probe_read", "probe_read_kernel", "probe_read_str", "probe_read_kernel_str", "probe_read_user")


def _answers(kernel: Kernel, size: int) -> dict[int, tuple[int, ...]]:
    """What each reader says of size bytes at each address."""
    answers = {}
    for address in _NOWHERE:
        row = []
        for helper in _READERS:
            text = f"r1 = r10\nr1 += -8\nr2 = {size}\nr3 = {address:#x} ll\ncall {helper}\nexit"
            loaded = kernel.load_program(program(text, ProgType.RAW_TRACEPOINT))
            row.append((loaded.test_run(ctx=bytes(96)).retval + (1 << 31)) % (1 << 32) - (1 << 31))
            loaded.close()
        answers[address] = tuple(row)
    return answers


@pytest.mark.parametrize("open_kernel", [lambda: SimKernel(Script(), spec="sim:test"), pytest.param(LinuxKernel, marks=pytest.mark.linux)])
def test_addresses_where_nothing_is(open_kernel: Callable[[], Kernel]) -> None:
    kernel = open_kernel()
    found = _answers(kernel, 8)
    nothing = _answers(kernel, 0)
    kernel.close()
    assert found == {address: (any, own, any, own, -14) for address, (any, own) in _NOWHERE.items()}
    is_process = {address: address < 0x7FFFFFFFF000 for address in _NOWHERE}
    assert nothing == {
        address: (any if any == -34 else 0, own if own == -34 else 0, 0, 0, 0 if is_process[address] else -14)
        for address, (any, own) in _NOWHERE.items()}
