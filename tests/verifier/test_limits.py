"""What Linux refuses of a program before and after its instructions, and of maps: our tables against it."""

from __future__ import annotations

import os

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.isa import Insn
from bcc_py.spec import MapSpec
from bcc_py.verifier.env import Privileges
from bcc_py.verifier.limits import (
    attach_type_of,
    check_map_and_program,
    check_sleepable,
    load_errno,
    map_fault,
    return_range,
)
from bcc_py.verifier.rules import Refusal
from cfront.uapi import AttachType, MapType, ProgType
from tests.verifier.linux_oracle import maps_of
from tests.verifier.probe import SLEEPABLE, Prober, asked_as

_BY_BTF = (ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.EXT, ProgType.LSM)
# not in the kernel that is asked
_MISSING = (ProgType.LIRC_MODE2,)
TYPES = [type for type in ProgType if type not in (*_BY_BTF, *_MISSING)]
_ONE = [Insn(0xB7, imm=1), Insn(0x95)]


@pytest.fixture(scope="module")
def prober(linux: None) -> Prober:
    """Of the Linux that the tables are of."""
    if not os.uname().release.startswith("6.18."):
        raise NotSupportedError("the tables are those of Linux 6.18", feature="6.18")
    return Prober()


def _last(log: str) -> str:
    rows = [row for row in log.splitlines() if row and not row.startswith("processed ")]
    return rows[-1] if rows else ""


def _errnos(prober: Prober) -> list[int]:
    return [
        prober.load(_ONE, type, hook, flags=SLEEPABLE if type is ProgType.SYSCALL else 0, log_level=0)[0]
        for type in TYPES for hook in AttachType
    ]


@pytest.mark.linux
@pytest.mark.parametrize("names", ["sys_admin", "bpf net_admin", "bpf perfmon", "bpf"])
def test_attach_types_and_privileges_are_linux_s(names: str, prober: Prober) -> None:
    pairs = [(type, hook) for type in TYPES for hook in AttachType]
    expected = [load_errno(type, hook, 2, Privileges.of(names.split())) for type, hook in pairs]
    assert asked_as(frozenset(names.split()), _errnos) == expected


def test_zero_stands_for_an_attach_type() -> None:
    assert attach_type_of(ProgType.CGROUP_SOCK, AttachType.NONE) is AttachType.CGROUP_INET_SOCK_CREATE
    assert attach_type_of(ProgType.SK_REUSEPORT, AttachType.NONE) is AttachType.SK_REUSEPORT_SELECT
    assert attach_type_of(ProgType.CGROUP_SKB, AttachType.NONE) is AttachType.CGROUP_INET_INGRESS
    assert attach_type_of(ProgType.SK_LOOKUP, AttachType.NONE) is None
    assert attach_type_of(ProgType.XDP, AttachType.XDP_CPUMAP) is AttachType.XDP_CPUMAP


def test_unprivileged() -> None:
    nobody = Privileges()
    assert load_errno(ProgType.SOCKET_FILTER, AttachType.NONE, 4096, nobody) == 0
    assert load_errno(ProgType.CGROUP_SKB, AttachType.CGROUP_INET_EGRESS, 1, nobody) == 0
    assert load_errno(ProgType.SOCKET_FILTER, AttachType.NONE, 4097, nobody) == 7
    assert load_errno(ProgType.XDP, AttachType.NONE, 2, nobody) == 1
    assert load_errno(ProgType.KPROBE, AttachType.NONE, 0) == 7


@pytest.mark.linux
def test_return_ranges_are_linux_s(prober: Prober) -> None:
    """What a program with an unknown r0 is told, and constants at the bounds."""
    for type in TYPES:
        for hook in AttachType:
            if load_errno(type, hook, 2):
                continue
            flags, limits = SLEEPABLE if type is ProgType.SYSCALL else 0, return_range(type, attach_type_of(type, hook) or hook)
            sentence = _last(prober.load([Insn(0x85, imm=7), Insn(0x95)], type, hook, flags=flags)[1])
            told = f"At program exit the register R0 has unknown scalar value should have been in [{limits[0]}, {limits[1]}]" if limits else ""
            assert sentence == told, f"{type.name} {hook.name}"


@pytest.mark.linux
def test_who_may_sleep_is_linux_s(prober: Prober) -> None:
    for type in TYPES:
        for hook in AttachType:
            for is_sleepable in (False, True):
                if load_errno(type, hook, 2):
                    continue
                errno, log = prober.load(_ONE, type, hook, flags=SLEEPABLE if is_sleepable else 0)
                ours = ""
                try:
                    check_sleepable(type, hook, is_sleepable)
                except Refusal as refusal:
                    ours = str(refusal)
                assert ours == (_last(log) if errno else ""), f"{type.name} {hook.name} {is_sleepable}"


_WORDS = (
    MapType.HASH, MapType.ARRAY, MapType.PROG_ARRAY, MapType.PERF_EVENT_ARRAY, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY,
    MapType.CGROUP_ARRAY, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH, MapType.DEVMAP, MapType.SOCKMAP, MapType.CPUMAP,
    MapType.SOCKHASH, MapType.REUSEPORT_SOCKARRAY, MapType.DEVMAP_HASH,
)
_KEYLESS, _RINGS = (MapType.QUEUE, MapType.STACK, MapType.BLOOM_FILTER), (MapType.RINGBUF, MapType.USER_RINGBUF)
_MAKEABLE = [
    *(MapSpec("m", type, 4, 4, 4) for type in _WORDS), *(MapSpec("m", type, 0, 4, 4) for type in _KEYLESS),
    *(MapSpec("m", type, 0, 0, 4096) for type in _RINGS), MapSpec("m", MapType.STACK_TRACE, 4, 8, 4),
    MapSpec("m", MapType.LPM_TRIE, 8, 4, 4, 1),
]


@pytest.mark.linux
def test_maps_of_sleepers_are_linux_s(prober: Prober) -> None:
    with maps_of(_MAKEABLE) as fds:
        for spec, fd in zip(_MAKEABLE, fds, strict=True):
            insns = [Insn(0x18, 2, 1, 0, fd), Insn(0), *_ONE]
            for type, flags in ((ProgType.KPROBE, 0), (ProgType.KPROBE, SLEEPABLE), (ProgType.SOCKET_FILTER, 0)):
                errno, log = prober.load(insns, type, flags=flags)
                ours = ""
                try:
                    check_map_and_program(spec.type, (), type, bool(flags))
                except Refusal as refusal:
                    ours = str(refusal)
                assert ours == (_last(log) if errno else ""), spec


@pytest.mark.parametrize(("field", "type", "sentence"), [
    ("spin_lock", ProgType.SOCKET_FILTER, "socket filter progs cannot use bpf_spin_lock yet"),
    ("spin_lock", ProgType.KPROBE, "tracing progs cannot use bpf_spin_lock yet"),
    ("timer", ProgType.RAW_TRACEPOINT, "tracing progs cannot use bpf_timer yet"),
    ("wq", ProgType.PERF_EVENT, "tracing progs cannot use bpf_wq yet"),
    ("rb_root", ProgType.TRACEPOINT, "tracing progs cannot use bpf_{list_head,rb_root} yet"),
])
def test_special_fields(field: str, type: ProgType, sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_map_and_program(MapType.ARRAY, {field}, type, False)
    assert str(refused.value) == sentence
    check_map_and_program(MapType.ARRAY, {field}, ProgType.SCHED_CLS, False)


def _is_made(spec: MapSpec) -> bool:
    try:
        with maps_of([spec]):
            return True
    except OSError:
        return False


@pytest.mark.linux
@pytest.mark.parametrize("plain", _MAKEABLE, ids=lambda one: one.type.name)
def test_map_rules_are_linux_s(plain: MapSpec, prober: Prober) -> None:
    for key_size in (0, 1, 4, 5, 8, 260, 261):
        for value_size in (0, 1, 4, 8, 16, 1016, 1024, 40000):
            for entries in (0, 1, 4096, 5000):
                if plain.type is MapType.CPUMAP and entries > 1:
                    continue  # as many as the kernel was built for
                spec = MapSpec("m", plain.type, key_size, value_size, entries, plain.flags)
                assert _is_made(spec) == (not map_fault(spec)), f"{spec}: {map_fault(spec)}"
