"""Which helper goes with which program, license, privilege and map, and what its arguments must be: our tables
against Linux, one small program for each question."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.isa import Insn
from bcc_py.spec import MapSpec
from bcc_py.verifier.env import ALL_PRIVILEGES, Privileges
from bcc_py.verifier.helpers import (
    HELPERS_BY_TYPE,
    check_format,
    check_helper,
    check_map_and_helper,
    helpers_of,
)
from bcc_py.verifier.rules import Refusal
from cfront.btf import Btf
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, HELPERS, Arg, AttachType, Helper, MapType, ProgType, Ret
from tests.verifier.linux_oracle import maps_of
from tests.verifier.probe import SLEEPABLE, Prober, asked_as

# this kernel may lack them by configuration (CONFIG_BPF_KPROBE_OVERRIDE, lockdown)
BY_CONFIGURATION = {HELPER_IDS["override_return"], HELPER_IDS["probe_write_user"]}
# programs of these types need a kernel type's number to be loaded
_WITH_BTF = (ProgType.TRACING, ProgType.STRUCT_OPS, ProgType.EXT, ProgType.LSM)
_A = AttachType
_HOOKS = {
    ProgType.KPROBE: (_A.NONE, _A.TRACE_KPROBE_MULTI, _A.TRACE_UPROBE_MULTI, _A.TRACE_KPROBE_SESSION, _A.TRACE_UPROBE_SESSION),
    ProgType.CGROUP_SKB: (_A.CGROUP_INET_INGRESS, _A.CGROUP_INET_EGRESS),
    ProgType.CGROUP_SOCK: (
        _A.CGROUP_INET_SOCK_CREATE, _A.CGROUP_INET4_POST_BIND, _A.CGROUP_INET6_POST_BIND, _A.CGROUP_INET_SOCK_RELEASE,
    ),
    ProgType.CGROUP_SOCK_ADDR: (
        _A.CGROUP_INET4_BIND, _A.CGROUP_INET6_BIND, _A.CGROUP_INET4_CONNECT, _A.CGROUP_INET6_CONNECT,
        _A.CGROUP_UDP4_SENDMSG, _A.CGROUP_UDP6_SENDMSG, _A.CGROUP_UDP4_RECVMSG, _A.CGROUP_UDP6_RECVMSG,
        _A.CGROUP_INET4_GETPEERNAME, _A.CGROUP_INET6_GETPEERNAME, _A.CGROUP_INET4_GETSOCKNAME,
        _A.CGROUP_INET6_GETSOCKNAME, _A.CGROUP_UNIX_CONNECT, _A.CGROUP_UNIX_SENDMSG, _A.CGROUP_UNIX_RECVMSG,
        _A.CGROUP_UNIX_GETPEERNAME, _A.CGROUP_UNIX_GETSOCKNAME,
    ),
    ProgType.SK_REUSEPORT: (_A.SK_REUSEPORT_SELECT, _A.SK_REUSEPORT_SELECT_OR_MIGRATE),
    ProgType.CGROUP_SOCKOPT: (_A.CGROUP_GETSOCKOPT, _A.CGROUP_SETSOCKOPT),
    ProgType.SK_LOOKUP: (_A.SK_LOOKUP,),
    ProgType.NETFILTER: (_A.NETFILTER,),
}
POINTS = [(type, hook) for type in HELPERS_BY_TYPE if type not in _WITH_BTF for hook in _HOOKS.get(type, (_A.NONE,))]
_RULES = re.compile(
    "invalid func|cannot use helper|GPL-restricted|not allowed in probe|might sleep|supported only for|not supported for program"
)
_RETURN = [Insn(0xB7, imm=1), Insn(0x95)]


def _flags(type: ProgType) -> int:
    return SLEEPABLE if type is ProgType.SYSCALL else 0


def _last(log: str) -> str:
    rows = [row for row in log.splitlines() if row and not row.startswith("processed ")]
    return rows[-1] if rows else ""


def _answers(prober: Prober, points: list[tuple[ProgType, AttachType]] = POINTS, btf_id: int = 0) -> dict[str, str]:
    """Linux's sentence about each helper for each point and license; "" where no rule of ours is concerned."""
    found = {}
    for type, hook in points:
        if prober.load(_RETURN, type, hook, flags=_flags(type), attach_btf_id=btf_id, log_level=0)[0]:
            continue
        for number in range(1, max(HELPER_IDS.values()) + 3):
            for license in ("GPL", "Proprietary"):
                call = [Insn(0x85, imm=number), *_RETURN]
                sentence = _last(prober.load(call, type, hook, license=license.encode(), flags=_flags(type), attach_btf_id=btf_id)[1])
                found[f"{type} {hook} {number} {license}"] = sentence if _RULES.search(sentence) else ""
    return found


def _ours(key: str, privileges: Privileges) -> str:
    type, hook, number, license = key.split()
    try:
        check_helper(
            int(number), ProgType(int(type)), AttachType(int(hook)), license == "GPL",
            is_sleepable=bool(_flags(ProgType(int(type)))), privileges=privileges,
        )
    except Refusal as refusal:
        return str(refusal)
    return ""


def _differences(linux_said: dict[str, str], privileges: Privileges) -> dict[str, tuple[str, str]]:
    return {
        key: (_ours(key, privileges), sentence) for key, sentence in linux_said.items()
        if _ours(key, privileges) != sentence and int(key.split()[2]) not in BY_CONFIGURATION
    }


@pytest.mark.linux
@pytest.mark.parametrize("names", ["sys_admin", "bpf net_admin", "bpf perfmon", "bpf"])
def test_table_is_linux_s(names: str, linux: None) -> None:
    """A helper's place in the table, its GPL condition and the privilege that it needs."""
    if not os.uname().release.startswith("6.18."):
        raise NotSupportedError("the table is that of Linux 6.18", feature="6.18")
    linux_said = asked_as(frozenset(names.split()), _answers)
    privileges = Privileges.of(names.split())
    assert len(linux_said) > 1000
    assert not _differences(linux_said, privileges)


@pytest.mark.linux
def test_iterators_are_linux_s(linux: None) -> None:
    """Of the programs whose context BTF describes, the one that is permitted here."""
    types = Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())
    linux_said = _answers(Prober(), [(ProgType.TRACING, AttachType.TRACE_ITER)], types.function_id("bpf_iter_task") or 0)
    assert len(linux_said) > 400
    assert not _differences(linux_said, ALL_PRIVILEGES)


def test_every_type_is_listed() -> None:
    assert set(HELPERS_BY_TYPE) == set(ProgType) - {ProgType.UNSPEC}


def test_rows_are_consistent() -> None:
    assert len(HELPER_BY_ID) == len(HELPERS) == len(HELPER_IDS) and [one.id for one in HELPERS] == sorted(HELPER_BY_ID)
    assert set(EXPECTED) == set(Arg) - {Arg.ANYTHING, Arg.UNUSED}
    for one in HELPERS:
        named = one.prototype[one.prototype.index("(*)(") + 4 : -1]
        count = 0 if named == "void" else len([part for part in named.split(",") if "..." not in part])
        assert count == len(one.args) <= 5, one.name
        has_fixed = any(arg in (Arg.FIXED_MEM, Arg.FIXED_WRITE) for arg in one.args)
        assert len(one.arg_bytes) == (len(one.args) if has_fixed else 0), one.name
        assert bool(one.arg_btf) == any(arg in (Arg.BTF, Arg.BTF_OR_NULL) for arg in one.args), one.name
        assert bool(one.ret_btf) == (one.ret in (Ret.BTF, Ret.BTF_OR_NULL, Ret.BTF_TASK)), one.name
        sizes = [at for at, arg in enumerate(one.args) if arg in (Arg.SIZE, Arg.SIZE_OR_ZERO)]
        assert all(one.args[at - 1].name.endswith(("MEM", "MEM_OR_NULL", "WRITE", "WRITE_OR_NULL")) for at in sizes), one.name


# ---- arguments

_MEMORY = "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"
_SOCKS = "sock_common, sock, tcp_sock, xdp_sock"
_BTF = "ptr_, trusted_ptr_, rcu_ptr_"
_STACK_DYNPTR = "fp, dynptr_ptr"
# what the log says an argument's register should have been, by kind; "_OR_NULL" makes no difference
EXPECTED: dict[Arg, str] = {
    **dict.fromkeys((
        Arg.MAP_KEY, Arg.MAP_VALUE, Arg.MAP_VALUE_OR_NULL, Arg.UNINIT_MAP_VALUE, Arg.MEM, Arg.MEM_OR_NULL,
        Arg.UNINIT_MEM, Arg.MEM_WRITE, Arg.MEM_WRITE_OR_NULL, Arg.FIXED_MEM, Arg.FIXED_WRITE, Arg.UNINIT_LONG,
    ), _MEMORY),
    **dict.fromkeys((Arg.SIZE, Arg.SIZE_OR_ZERO, Arg.CONST_ALLOC_SIZE), "scalar"),
    **dict.fromkeys((Arg.CTX, Arg.CTX_OR_NULL), "ctx"),
    **dict.fromkeys((Arg.BTF, Arg.BTF_OR_NULL, Arg.KPTR_OR_NULL), _BTF),
    **dict.fromkeys((Arg.BTF_SOCK_COMMON, Arg.BTF_SOCK_COMMON_OR_NULL), f"{_SOCKS}, ptr_, trusted_ptr_"),
    **dict.fromkeys((
        Arg.DYNPTR, Arg.RINGBUF_DYNPTR, Arg.UNINIT_LOCAL_DYNPTR, Arg.UNINIT_RINGBUF_DYNPTR,
    ), _STACK_DYNPTR),
    **dict.fromkeys((Arg.SPIN_LOCK, Arg.KPTR_DEST), "map_value, ptr_"),
    **dict.fromkeys((Arg.CONST_STR, Arg.TIMER), "map_value"),
    Arg.CONST_MAP_PTR: "map_ptr",
    Arg.ALLOC_MEM: "ringbuf_mem",
    Arg.PERCPU_BTF: "percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_",
    Arg.SOCK_COMMON: _SOCKS,
    Arg.SOCKET_OR_NULL: "sock",
    Arg.FUNC: "func",
    Arg.STACK_OR_NULL: "fp",
}

_MAPS = {
    MapType.ARRAY: MapSpec("a", MapType.ARRAY, 4, 64, 4),
    MapType.PROG_ARRAY: MapSpec("p", MapType.PROG_ARRAY, 4, 4, 4),
    MapType.PERF_EVENT_ARRAY: MapSpec("e", MapType.PERF_EVENT_ARRAY, 4, 4, 4),
    MapType.RINGBUF: MapSpec("r", MapType.RINGBUF, 0, 0, 4096),
    MapType.USER_RINGBUF: MapSpec("u", MapType.USER_RINGBUF, 0, 0, 4096),
    MapType.STACK_TRACE: MapSpec("t", MapType.STACK_TRACE, 4, 8 * 16, 4),
    MapType.CGROUP_ARRAY: MapSpec("c", MapType.CGROUP_ARRAY, 4, 4, 4),
    MapType.DEVMAP: MapSpec("d", MapType.DEVMAP, 4, 4, 4),
    MapType.SOCKMAP: MapSpec("s", MapType.SOCKMAP, 4, 4, 4),
    MapType.SOCKHASH: MapSpec("h", MapType.SOCKHASH, 4, 4, 4),
    MapType.REUSEPORT_SOCKARRAY: MapSpec("o", MapType.REUSEPORT_SOCKARRAY, 4, 4, 4),
    MapType.QUEUE: MapSpec("q", MapType.QUEUE, 0, 64, 4),
    MapType.PERCPU_ARRAY: MapSpec("n", MapType.PERCPU_ARRAY, 4, 8, 4),
}
# read-only to the program, and with a 0 in it; not among them, a second array
_FROZEN = MapSpec("f", MapType.ARRAY, 4, 64, 1, flags=1 << 7, initial=bytes(64))
_READ = (Arg.MAP_KEY, Arg.MAP_VALUE, Arg.MAP_VALUE_OR_NULL, Arg.MEM, Arg.MEM_OR_NULL, Arg.FIXED_MEM)
_WRITTEN = (Arg.UNINIT_MAP_VALUE, Arg.UNINIT_MEM, Arg.MEM_WRITE, Arg.MEM_WRITE_OR_NULL, Arg.FIXED_WRITE, Arg.UNINIT_LONG)
_SIZES = (Arg.SIZE, Arg.SIZE_OR_ZERO)
_FDS = [*_MAPS, None]


def _value(fd: int, regno: int) -> list[Insn]:
    """The address of the first value of an array."""
    return [Insn(0x18, regno, 2, 0, fd), Insn(0)]


def _valid(arg: Arg, regno: int, map_fd: int, frozen_fd: int) -> list[Insn] | None:
    """Instructions that put what arg asks for into the register; None where that takes BTF or a socket."""
    if arg in (*_READ, *_WRITTEN):
        return [Insn(0xBF, regno, 10), Insn(0x07, regno, imm=-64)]
    if arg in (*_SIZES, Arg.ANYTHING, Arg.CONST_ALLOC_SIZE):
        return [Insn(0xB7, regno, imm=8)]
    if arg in (Arg.CTX, Arg.CTX_OR_NULL):
        return [Insn(0xBF, regno, 6)]
    if arg is Arg.CONST_MAP_PTR:
        return [Insn(0x18, regno, 1, 0, map_fd), Insn(0)] if map_fd else None
    if arg is Arg.CONST_STR:
        return _value(frozen_fd, regno)
    if arg in (Arg.BTF_OR_NULL, Arg.BTF_SOCK_COMMON_OR_NULL, Arg.SOCKET_OR_NULL, Arg.STACK_OR_NULL):
        return [Insn(0xB7, regno, imm=0)]
    return None


def _wrong(arg: Arg, regno: int) -> tuple[list[Insn], str]:
    """Instructions for something else, and what Linux says of it."""
    if arg is Arg.ANYTHING:
        return [], f"R{regno} !read_ok"
    if arg in (Arg.CONST_ALLOC_SIZE, *_SIZES):
        return [Insn(0xBF, regno, 10)], f"R{regno} type=fp expected=scalar"
    if arg is Arg.FUNC:
        return [Insn(0xB7, regno, imm=1)], f"R{regno} type=scalar expected=func"
    return [Insn(0xB7, regno, imm=1)], f"R{regno} type=scalar expected={EXPECTED[arg]}"


def _rows_at(type: ProgType, hook: AttachType) -> Iterator[Helper]:
    for number in sorted(helpers_of(type, hook) - BY_CONFIGURATION):
        try:
            yield check_helper(number, type, hook, True, is_sleepable=bool(_flags(type)))
        except Refusal:
            continue


@contextmanager
def _live_maps() -> Iterator[dict[MapType | None, int]]:
    with maps_of([*_MAPS.values(), _FROZEN]) as fds:
        yield dict(zip(_FDS, fds, strict=True))


def _map_for(helper: Helper, fds: dict[MapType | None, int]) -> int:
    for type, fd in fds.items():
        if type is not None:
            try:
                check_map_and_helper(type, 0, helper.id, ProgType.SOCK_OPS, AttachType.NONE)
            except Refusal:
                continue
            return fd
    return 0


def _prelude() -> list[Insn]:
    """r6 is the context, 64 bytes of stack are 0, r1 to r5 are not to be read."""
    store = [Insn(0x7A, 10, 0, -8 * at, 0) for at in range(1, 9)]
    return [Insn(0xBF, 6, 1), *store, Insn(0x85, imm=HELPER_IDS["ktime_get_ns"])]


@pytest.mark.linux
def test_arguments_are_linux_s(linux: None) -> None:
    """Each argument of each variant: what else Linux says it should have been, whether 0 is taken, whether
    read-only memory is; and the call as a whole is accepted where all that it takes can be had."""
    prober, asked, whole = Prober(), set(), 0
    with _live_maps() as fds:
        for type, hook in POINTS:
            if prober.load(_RETURN, type, hook, flags=_flags(type), log_level=0)[0]:
                continue
            for helper in _rows_at(type, hook):
                if helper in asked:
                    continue
                asked.add(helper)
                whole += _ask_arguments(prober, type, hook, helper, fds)
    assert len(asked) > 200
    assert whole > 120


def _ask_arguments(prober: Prober, type: ProgType, hook: AttachType, helper: Helper, fds: dict[MapType | None, int]) -> bool:
    """True when the whole call could be made."""
    map_fd, frozen_fd = _map_for(helper, fds), fds[None]
    call = [Insn(0x85, imm=helper.id), *_RETURN]

    def said(given: list[Insn]) -> str:
        errno, log = prober.load([*_prelude(), *given, *call], type, hook, flags=_flags(type))
        return _last(log) if errno else ""

    given: list[Insn] = []
    for at, arg in enumerate(helper.args):
        if arg is Arg.UNUSED:
            continue
        where = f"{helper.name} in {type.name}, argument {at + 1}, {arg.name}"
        wrong, sentence = _wrong(arg, at + 1)
        assert said(given + wrong) == sentence, where
        if arg is not Arg.ANYTHING and EXPECTED[arg] != "scalar":
            is_null_taken = "type=scalar" not in said([*given, Insn(0xB7, at + 1, imm=0)])
            assert is_null_taken == arg.name.endswith("_OR_NULL"), where
        if arg in (*_READ, *_WRITTEN):
            is_refused = said(_sized(given + _value(frozen_fd, at + 1), helper, at)).startswith("write into map forbidden")
            assert is_refused == (arg in _WRITTEN), where
        valid = _valid(arg, at + 1, map_fd, frozen_fd)
        if valid is None:
            return False
        given += valid
    sentence = said(given)
    assert not re.search(r"expected=|read_ok|cannot pass map_type", sentence), f"{helper.name} in {type.name}: {sentence}"
    return not sentence


def _sized(given: list[Insn], helper: Helper, at: int) -> list[Insn]:
    """With the size behind a memory argument."""
    follows = helper.args[at + 1 : at + 2]
    return [*given, Insn(0xB7, at + 2, imm=8)] if follows and follows[0] in _SIZES else given

# where the packet's start and end are, and how wide they are there
_PACKETS = {
    ProgType.SCHED_CLS: (76, 80, 0x61), ProgType.XDP: (0, 4, 0x61), ProgType.LWT_XMIT: (76, 80, 0x61), ProgType.LWT_IN: (76, 80, 0x61),
    ProgType.LWT_SEG6LOCAL: (76, 80, 0x61), ProgType.SK_SKB: (76, 80, 0x61), ProgType.SK_MSG: (0, 8, 0x79),
}


@pytest.mark.linux
@pytest.mark.parametrize("type", list(_PACKETS), ids=lambda one: one.name)
def test_packet_arguments_are_linux_s(type: ProgType, linux: None) -> None:
    """Which helpers take memory in the packet, and after which its pointers are no pointers any more."""
    prober, (start, end, load), asked = Prober(), _PACKETS[type], 0
    # r7 is the packet, 64 bytes of which are there
    packet = [
        *_prelude(), Insn(load, 7, 6, start), Insn(load, 8, 6, end), Insn(0xBF, 1, 7), Insn(0x07, 1, imm=64), Insn(0xBD, 1, 8, 2),
        *_RETURN, Insn(0x85, imm=HELPER_IDS["ktime_get_ns"]),
    ]
    with _live_maps() as fds:
        for helper in _rows_at(type, AttachType.NONE):
            given: list[Insn] | None = []
            for at, arg in enumerate(helper.args):
                valid = _valid(arg, at + 1, _map_for(helper, fds), fds[None])
                if valid is None or given is None:
                    given = None
                elif arg in _READ:
                    moved = _sized([*packet, *given, Insn(0xBF, at + 1, 7)], helper, at)
                    log = prober.load([*moved, Insn(0x85, imm=helper.id), *_RETURN], type)[1]
                    is_refused = "helper access to the packet is not allowed" in log
                    assert is_refused != helper.reads_packet, f"{helper.name}: {_last(log)}"
                    asked += 1
                if given is not None and valid is not None:
                    given = given + valid
            # a tail call that comes back did nothing; its caller's caller sees that the packet may have moved
            if given is not None and helper.name != "tail_call":
                errno, log = prober.load([*packet, *given, Insn(0x85, imm=helper.id), Insn(0x71, 2, 7), *_RETURN], type)
                assert ("R7 invalid mem access 'scalar'" in log) == helper.moves_packet or (errno and "R7" not in _last(log)), helper.name
                asked += 1
    assert asked > 40


# ---- maps


@pytest.mark.linux
@pytest.mark.parametrize("type", [ProgType.SCHED_CLS, ProgType.SOCK_OPS, ProgType.SK_SKB, ProgType.SK_MSG, ProgType.XDP, ProgType.KPROBE])
def test_maps_and_helpers_are_linux_s(type: ProgType, linux: None) -> None:
    """Every kind of map that can be made without BTF, given to every helper that takes a map."""
    prober, pairs = Prober(), 0
    with _live_maps() as fds:
        for helper in _rows_at(type, AttachType.NONE):
            if Arg.CONST_MAP_PTR not in helper.args:
                continue
            for map_type, fd in fds.items():
                given = [_valid(arg, at + 1, fd, 0) for at, arg in enumerate(helper.args)]
                if map_type is None or None in given:
                    continue
                pairs += 1
                insns = [*_prelude(), *(insn for one in given for insn in one or ()), Insn(0x85, imm=helper.id), *_RETURN]
                errno, log = prober.load(insns, type, flags=_flags(type))
                ours = ""
                try:
                    check_map_and_helper(map_type, 0, helper.id, type, AttachType.NONE)
                except Refusal as refusal:
                    ours = "\n".join(refusal.sentences)
                where = f"{helper.name}, {map_type.name}: {_last(log)}"
                if "cannot pass map_type" in log or not errno:
                    assert bool(ours) == bool(errno) and ours in log, where
                # else the key or value of such a map was wrong, which Linux looks at first
    assert pairs > 100


def test_read_only_maps_are_not_written() -> None:
    with pytest.raises(Refusal, match="write into map forbidden"):
        check_map_and_helper(MapType.HASH, 1 << 7, HELPER_IDS["map_update_elem"], ProgType.XDP, AttachType.NONE)
    check_map_and_helper(MapType.HASH, 1 << 7, HELPER_IDS["map_lookup_elem"], ProgType.XDP, AttachType.NONE)


# ---- formats

_PIECES = [
    b"%d", b"%s", b"%p", b"%pK", b"%pI4", b"%pi6", b"%pB", b"%pks", b"%pus ", b"%pS", b"%lld", b"%lu", b"%llx", b"%c", b"%i",
    b"%5d", b"%-08x", b"%0+ 3u", b"%%", b"%", b"%l", b"%lll", b"%hd", b"%o", b"%n", b"%f", b"%sx", b"%pz", b"%pI", b"%pI5", b"%p,",
    b"%s.", b"%pksx", b"a", b" ", b"\n", b"\t", b"\x01", b"\x7f", b"\x80", b"\xc3\xa9", b"%\xc3", b"%1", b"% d", b"%pB4", b"%pSx",
]
_FORMATS = [(one + two, args) for one in _PIECES for two in (*_PIECES, b"") for args in (0, 1, 2) if args < 2 or b"%" in two]


@pytest.mark.linux
def test_formats_are_linux_s(linux: None) -> None:
    """All pairs of pieces, with no value, one, or two."""
    prober, differs = Prober(), {}
    texts = sorted({text for text, _ in _FORMATS})
    start = {text: 8 * at for at, text in enumerate(texts)}
    content = bytearray(8 * len(texts) + 8)
    for text, at in start.items():
        content[at : at + len(text)] = text
    spec = MapSpec("f", MapType.ARRAY, 4, len(content), 1, flags=1 << 7, initial=bytes(content))
    with maps_of([spec]) as fds:
        for text, args in _FORMATS:
            if len(text) > 7:
                continue
            call = [
                *_prelude(), Insn(0xBF, 1, 10), Insn(0x07, 1, imm=-32), Insn(0xB7, 2, imm=16), Insn(0x18, 3, 2, 0, fds[0]),
                Insn(0, imm=start[text]), Insn(0xBF, 4, 10), Insn(0x07, 4, imm=-64), Insn(0xB7, 5, imm=8 * args),
                Insn(0x85, imm=HELPER_IDS["snprintf"]), *_RETURN,
            ]
            errno, log = prober.load(call, ProgType.TRACEPOINT)
            sentence = _last(log) if errno else ""
            if sentence != check_format(text, args):
                differs[text, args] = sentence
    assert not differs


@pytest.mark.parametrize(("text", "args"), [(b"pid %d of %-16s: %llx %%\n", 3), (b"", 0), (b"%pI4 %pB", 2), (b"%05d", 1)])
def test_formats_that_are_taken(text: bytes, args: int) -> None:
    assert check_format(text, args) == ""


@pytest.mark.parametrize(("text", "args"), [(b"%d", 0), (b"%", 1), (b"%hd", 1), (b"%sx", 1), (b"\x01", 0), (b"%pI5", 1)])
def test_formats_that_are_refused(text: bytes, args: int) -> None:
    assert check_format(text, args) == "Invalid format string"
