"""Which bytes of a context each program type may touch: our table, the golden text, and Linux, each in full.

The golden text (tests/data/contexts.txt) is what Linux 6.18 said; `python -m tests.verifier.test_contexts`
asks it again and writes the file. A row: what is done and its width, then the offsets in runs of that
width, behind "=" the kind of pointer that a load gives."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bcc_py.errors import NotSupportedError
from bcc_py.isa import Insn
from bcc_py.verifier.contexts import (
    BTF_CONTEXTS,
    CONTEXTS,
    SOCKETS,
    context_access,
    flow_keys_access,
    socket_access,
)
from bcc_py.verifier.env import ALL_PRIVILEGES, Privileges
from bcc_py.verifier.rules import Refusal
from cfront.uapi import AttachType, ProgType
from tests.verifier.probe import SLEEPABLE, Prober

GOLDEN = Path(__file__).parent.parent / "data" / "contexts.txt"
_WIDTHS = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_MODES = {"read": 0x61, "signed": 0x81, "write": 0x63}
_ONLY_HOOK = {ProgType.SK_LOOKUP: AttachType.SK_LOOKUP, ProgType.NETFILTER: AttachType.NETFILTER}
_REACHES = {
    # how to come by each kind of socket, in a program of this type: r1 is it afterwards
    "sock": (ProgType.SK_MSG, [Insn(0x79, 1, 1, 72)]),
    "sock_common": (ProgType.SCHED_CLS, [Insn(0x79, 1, 1, 168), Insn(0x55, 1, 0, 2, 0), Insn(0xB7, imm=1), Insn(0x95)]),
    "tcp_sock": (ProgType.SCHED_CLS, [
        Insn(0x79, 1, 1, 168), Insn(0x55, 1, 0, 2, 0), Insn(0xB7, imm=1), Insn(0x95), Insn(0x85, imm=96),
        Insn(0x55, 0, 0, 2, 0), Insn(0xB7, imm=1), Insn(0x95), Insn(0xBF, 1, 0),
    ]),
}
# the kind that a load gives, and whether it is allowed at all
_Asked = Callable[[str, int, int], "str | None"]


def _points() -> Iterator[tuple[ProgType, AttachType]]:
    for type, layout in CONTEXTS.items():
        if isinstance(layout, Mapping):
            yield from ((type, hook) for hook in layout)
        else:
            yield type, _ONLY_HOOK.get(type, AttachType.NONE)


def _offsets(width: int, mode: str) -> list[int]:
    """Each aligned place where contexts have something and beyond, and some that are not aligned."""
    near = [off for off in range(-8, 304) if off % width == 0 or off < 16]
    return near + [8184, 8188, 8190, 8191, 8192] if mode == "read" else near


def _runs(width: int, found: list[tuple[int, str]]) -> str:
    words: list[str] = []
    first = 0
    for at, (off, kind) in enumerate(found):
        if at + 1 < len(found) and found[at + 1] == (off + width, kind):
            continue
        words.append((str(off) if first == at else f"{found[first][0]}-{off}") + (f"={kind}" if kind else ""))
        first = at + 1
    return " ".join(words)


def _rows(asked: _Asked, lowest: int = -8) -> str:
    rows = []
    for mode in _MODES:
        for width in _WIDTHS:
            if (mode, width) != ("signed", 8):
                found = [(off, kind) for off in _offsets(width, mode) if off >= lowest and (kind := asked(mode, width, off)) is not None]
                if found:
                    rows.append(f"{mode} {width}: {_runs(width, found)}\n")
    return "".join(rows)


def _by_our_table(type: ProgType, hook: AttachType) -> _Asked:
    def asked(mode: str, width: int, off: int) -> str | None:
        try:
            access = context_access(type, hook, off, width, mode == "write", mode == "signed")
        except Refusal as refusal:
            assert str(refusal) == f"invalid bpf_context access off={off} size={width}"
            return None
        return f"{access.kind}_{access.btf}" if access.btf else access.kind

    return asked


def _socket_by_our_table(kind: str) -> _Asked:
    def asked(mode: str, width: int, off: int) -> str | None:
        try:
            socket_access(kind, off, width, mode == "write", 1)
        except Refusal:
            return None
        return ""

    return asked


def _by_linux(prober: Prober, type: ProgType, hook: AttachType, reach: list[Insn]) -> _Asked:
    flags = SLEEPABLE if type is ProgType.SYSCALL else 0

    def asked(mode: str, width: int, off: int) -> str | None:
        code = _MODES[mode] | _WIDTHS[width]
        touch = [Insn(0xB7, 2), Insn(code, 1, 2, off)] if mode == "write" else [Insn(code, 2, 1, off)]
        insns = [*reach, *touch, Insn(0xB7, imm=1), Insn(0x95)]
        errno, _ = prober.load(insns, type, hook, flags=flags, log_level=0)
        if errno or mode == "write" or width < 4 or reach:
            return None if errno else ""
        _, log = prober.load(insns, type, hook, flags=flags, log_level=2)
        found = re.search(r"R2(?:_w)?=([a-z_]+)", log)
        return "" if found is None or found[1] == "scalar" else found[1]

    return asked


def _as_known(prober: Prober, type: ProgType, hook: AttachType) -> bool:
    """False for a program type that this kernel was built without."""
    flags = SLEEPABLE if type is ProgType.SYSCALL else 0
    return prober.load([Insn(0xB7, imm=1), Insn(0x95)], type, hook, flags=flags, log_level=0)[0] == 0


def _chapters(by: Callable[[ProgType, AttachType], _Asked | None], socket_by: Callable[[str], _Asked | None]) -> dict[str, str]:
    """Rows by title; without those that nobody answers for."""
    asked = {f"{type.name} {hook.name}": by(type, hook) for type, hook in _points()}
    asked |= {kind: socket_by(kind) for kind in SOCKETS}
    # Linux lets a tracepoint's program read in front of its context; we differ there on purpose
    return {
        title: _rows(one, 0 if title.startswith("TRACEPOINT") else -8) for title, one in asked.items() if one is not None
    }


def _linux_chapters() -> dict[str, str]:
    if not os.uname().release.startswith("6.18."):
        raise NotSupportedError("the table is that of Linux 6.18", feature="6.18")
    prober = Prober()
    if not _as_known(prober, ProgType.SOCKET_FILTER, AttachType.NONE):
        raise NotSupportedError("loading a program is not permitted", feature="bpf")
    return _chapters(
        lambda type, hook: _by_linux(prober, type, hook, []) if _as_known(prober, type, hook) else None,
        lambda kind: _by_linux(prober, _REACHES[kind][0], AttachType.NONE, _REACHES[kind][1]) if kind in _REACHES else None,
    )


def _golden() -> dict[str, str]:
    chapters: dict[str, str] = {}
    for part in GOLDEN.read_text().split("== ")[1:]:
        title, _, rows = part.partition("\n")
        chapters |= dict.fromkeys(title.split(", "), rows)
    return chapters


def _written(chapters: dict[str, str]) -> str:
    titles: dict[str, list[str]] = {}
    for title, rows in chapters.items():
        titles.setdefault(rows, []).append(title)
    return "".join(f"== {', '.join(names)}\n{rows}" for rows, names in titles.items())


def test_table_is_golden() -> None:
    ours, golden = _chapters(_by_our_table, _socket_by_our_table), _golden()
    assert {title: rows for title, rows in ours.items() if title in golden} == golden
    # not in the kernel that was asked, or not to be come by without a special program
    assert set(ours) - set(golden) <= {"LIRC_MODE2 NONE", "xdp_sock"}


@pytest.mark.linux
def test_golden_is_linux_s(linux: None) -> None:
    assert _linux_chapters() == _golden()


def test_every_type_has_a_context() -> None:
    assert set(CONTEXTS) | BTF_CONTEXTS == set(ProgType) - {ProgType.UNSPEC}


@pytest.mark.parametrize(("type", "off", "is_write"), [
    (ProgType.CGROUP_SKB, 76, False), (ProgType.CGROUP_SKB, 80, False), (ProgType.CGROUP_SKB, 152, True),
])
def test_without_privileges_the_packet_is_out_of_reach(type: ProgType, off: int, is_write: bool) -> None:
    hook, size = AttachType.CGROUP_INET_INGRESS, 8 if off == 152 else 4
    for privileges in (ALL_PRIVILEGES, Privileges.of(["bpf"]), Privileges.of(["sys_admin"])):
        context_access(type, hook, off, size, is_write, privileges=privileges)
    with pytest.raises(Refusal, match=f"invalid bpf_context access off={off} size={size}"):
        context_access(type, hook, off, size, is_write, privileges=Privileges.of(["net_admin"]))


def test_flow_keys() -> None:
    flow_keys_access(0, 8)
    flow_keys_access(52, 4)
    for off, size in ((-1, 1), (56, 1), (52, 8)):
        with pytest.raises(Refusal, match=f"invalid access to flow keys off={off} size={size}"):
            flow_keys_access(off, size)


if __name__ == "__main__":
    GOLDEN.write_text(_written(_linux_chapters()))
    sys.stdout.write(f"{GOLDEN}\n")
