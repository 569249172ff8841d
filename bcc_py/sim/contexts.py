"""What the context of each program type is in this process, as data.

A context begins with the bytes of include/uapi/linux/bpf.h, so a program's loads and stores are plain ones, with two
exceptions that plain code cannot be: fields of 32 bits that stand for a pointer are loaded from a 64-bit place behind
those bytes (WIDE_FIELDS, for the JIT), and fields that Linux keeps in 16 bits are stored in 16 (NARROW_FIELDS, which
native_program sees to; no instruction is added or taken away).

FAMILIES says whose variant of a helper a type calls (native.py): the last family that has one wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bcc_py.verifier import VerifiedProgram
from cfront.uapi import ProgType

__all__ = ["FAMILIES", "NARROW_FIELDS", "SKB_BYTES", "SKB_TYPES", "WIDE_FIELDS", "XDP_BYTES", "native_program"]

SKB_BYTES, XDP_BYTES = 192, 24

_ST, _STX, _CLASS, _SIZE = 2, 3, 0x07, 0x18
_WORD, _HALF = 0x00, 0x08
_P = ProgType

# types whose context is a struct __sk_buff of a packet
SKB_TYPES = frozenset((_P.SOCKET_FILTER, _P.SCHED_CLS, _P.SCHED_ACT, _P.CGROUP_SKB, _P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT,
                       _P.LWT_SEG6LOCAL, _P.SK_SKB))
# of these, those that may not write to the packet
_READERS = (_P.SOCKET_FILTER, _P.CGROUP_SKB, _P.LWT_IN, _P.LWT_OUT, _P.LWT_SEG6LOCAL)

FAMILIES: Mapping[ProgType | None, tuple[str, ...]] = {
    **dict.fromkeys(SKB_TYPES, ("skb",)), **dict.fromkeys(_READERS, ("skb", "reader")), _P.SK_SKB: ("skb", "sk_skb"),
    _P.XDP: ("xdp",), _P.FLOW_DISSECTOR: ("flow",),
    _P.SK_MSG: ("msg",), _P.SOCK_OPS: ("ops",), _P.CGROUP_SOCK_ADDR: ("addr",), _P.CGROUP_SOCK: ("sock",),
    _P.CGROUP_SOCKOPT: ("sockopt",), _P.CGROUP_SYSCTL: ("sysctl",), _P.SK_REUSEPORT: ("reuseport",), _P.SK_LOOKUP: ("lookup",),
}

# (offset, bytes) of a load -> where the pointer is
_SKB_POINTERS: Mapping[tuple[int, int], int] = {(76, 4): 192, (80, 4): 200, (140, 4): 208}
WIDE_FIELDS: Mapping[ProgType, Mapping[tuple[int, int], int]] = {
    **dict.fromkeys((*SKB_TYPES, _P.FLOW_DISSECTOR), _SKB_POINTERS), _P.XDP: {(0, 4): 24, (4, 4): 32, (8, 4): 40},
}

# offsets of words of which a store changes the low half: queue_mapping, tc_index, tc_classid
NARROW_FIELDS: Mapping[ProgType, frozenset[int]] = dict.fromkeys(SKB_TYPES, frozenset((12, 44, 72)))


def native_program(program: VerifiedProgram) -> VerifiedProgram:
    """The program with the stores to its context as wide as Linux keeps what they write."""
    narrow = NARROW_FIELDS.get(program.spec.type)
    if not narrow:
        return program
    insns = list(program.insns)
    for slot, kind in program.memory_kinds.items():
        one = insns[slot]
        if kind == "ctx" and one.code & _CLASS in (_ST, _STX) and one.code & _SIZE == _WORD and one.off in narrow:
            insns[slot] = one._replace(code=one.code & ~_SIZE | _HALF)
    return replace(program, insns=tuple(insns))
