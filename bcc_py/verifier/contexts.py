"""What a program may read and write of its context, and of the sockets that it reaches from there.

Input: program type, expected attach type, offset, width, direction. Output: an Access (a number, or a kind
of pointer), or a Refusal with Linux's sentence. Invariant: bytes that no run below allows are refused.

A layout is a tuple of runs: an access of one of a run's widths that is aligned to its own width and lies
inside the run is allowed. A width is a bit of a mask (1, 2, 4, 8), which is also its number of bytes.
Programs whose context is described by BTF (BTF_CONTEXTS) have no layout here.

Source: the is_valid_access functions of net/core/filter.c, kernel/bpf/cgroup.c, kernel/trace/bpf_trace.c,
net/netfilter/nf_bpf_link.c, drivers/media/rc/bpf-lirc.c of Linux; every byte was compared with 6.18."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from bcc_py.verifier.env import ALL_PRIVILEGES, Privileges
from bcc_py.verifier.rules import Refusal
from cfront.uapi import AttachType, ProgType

__all__ = [
    "BTF_CONTEXTS",
    "CONTEXTS",
    "FLOW_KEYS_BYTES",
    "SOCKETS",
    "Access",
    "Run",
    "context_access",
    "flow_keys_access",
    "socket_access",
]

FLOW_KEYS_BYTES = 56


@dataclass(frozen=True, slots=True)
class Access:
    """What a load gives. kind: "" a number as wide as the load, else the kind of pointer in the log's words;
    btf: the struct behind a "trusted_ptr"."""

    kind: str = ""
    btf: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes first <= off < end. reads, writes: masks of the widths that are allowed; gives: what a load
    gives; btf: its struct; needs_bpf: without CAP_BPF none of it is there."""

    first: int
    end: int
    reads: int = 7
    writes: int = 0
    gives: str = ""
    btf: str = ""
    needs_bpf: bool = False


_Layout = tuple[Run, ...]
_NUMBER = Access()


def _pointer(off: int, gives: str, width: int = 8, btf: str = "", needs_bpf: bool = False) -> Run:
    return Run(off, off + width, width, 0, gives, btf, needs_bpf)


def _writable(*offs: int, reads: int = 0) -> _Layout:
    """Words that may be written whole."""
    return tuple(Run(off, off + 4, reads, 4) for off in offs)


_DATA, _DATA_END = _pointer(76, "pkt", 4), _pointer(80, "pkt_end", 4)
_SKB_SOCKET = _pointer(168, "sock_common_or_null")
# cb[5]: any width may be written, two words at once too
_CB = Run(48, 68, 15, 15)
_SKB: _Layout = (Run(0, 72), Run(84, 88), Run(164, 168), Run(176, 180), _CB, _SKB_SOCKET)
_SKB_ADDRESSES: _Layout = (Run(84, 92), Run(92, 132, 4), Run(132, 140))
_TSTAMP_READ, _TSTAMP, _HWTSTAMP = Run(152, 160, 8), Run(152, 160, 0, 8, needs_bpf=True), Run(184, 192, 8)

_SCHED: _Layout = (
    *_SKB, Run(72, 76), Run(152, 160, 8, 8), Run(160, 164), Run(180, 181, 1), _HWTSTAMP, _DATA, _DATA_END,
    _pointer(140, "pkt_meta", 4), *_writable(8, 12, 32, 44, 72),
)
_LWT: _Layout = (*_SKB, _DATA, _DATA_END, *_writable(8, 32))
_CGROUP_SKB: _Layout = (
    *_SKB, *_SKB_ADDRESSES, _TSTAMP_READ, _TSTAMP, _HWTSTAMP, _pointer(76, "pkt", 4, needs_bpf=True),
    _pointer(80, "pkt_end", 4, needs_bpf=True), *_writable(8, 32),
)
_SK_SKB: _Layout = (
    Run(0, 8), Run(12, 72), Run(48, 68, 8), *_SKB_ADDRESSES, Run(164, 168), Run(176, 180), _DATA, _DATA_END,
    _SKB_SOCKET, *_writable(32, 44),
)
_XDP: _Layout = (_pointer(0, "pkt", 4), _pointer(4, "pkt_end", 4), _pointer(8, "pkt_meta", 4), Run(12, 20, 4))
_SK_MSG: _Layout = (_pointer(0, "pkt"), _pointer(8, "pkt_end"), Run(16, 72, 4), _pointer(72, "sock"))
_SOCK_OPS: _Layout = (
    Run(0, 168, 4), Run(168, 184, 8), _pointer(184, "sock_or_null"), _pointer(192, "pkt"), _pointer(200, "pkt_end"),
    Run(208, 216, 4), Run(212, 213, 1), Run(212, 214, 2), Run(216, 224, 8), *_writable(4, 164),
)
_SK_REUSEPORT: _Layout = (
    _pointer(0, "pkt"), _pointer(8, "pkt_end"), Run(16, 20), Run(20, 24, 6), Run(24, 32), Run(32, 36, 4),
    _pointer(40, "sock"), _pointer(48, "sock_common_or_null"),
)
_SK_LOOKUP: _Layout = (_pointer(0, "sock_or_null"), Run(8, 68))
_SOCKOPT: _Layout = (_pointer(0, "sock"), _pointer(8, "pkt"), _pointer(16, "pkt_end"))
_FLOW_DISSECTOR: _Layout = (_DATA, _DATA_END, _pointer(144, "flow_keys"))
_NETFILTER: _Layout = (
    _pointer(0, "trusted_ptr", btf="nf_hook_state"), _pointer(8, "trusted_ptr", btf="sk_buff"),
)

# struct bpf_sock: words of which only the first byte or half may be read alone
_SOCK_HEADS: _Layout = tuple(Run(off, off + width, width) for off in (4, 8, 12, 76) for width in (1, 2, 4))
_SRC_IP4, _SRC_IP6 = Run(24, 28), Run(28, 44)
_SRC_PORT: _Layout = (Run(44, 45, 1), Run(44, 46, 2), Run(44, 48, 4))
_DST: _Layout = (Run(48, 50, 3), Run(48, 52, 4), Run(52, 72), Run(72, 73, 1), Run(72, 74, 2), Run(72, 76, 4))
_SOCK_PLAIN: _Layout = (*_SOCK_HEADS, *_DST)
_SOCK_MADE: _Layout = (*_SOCK_PLAIN, *_writable(0, 16, 20, reads=4))
_SOCK: _Layout = (*_SOCK_PLAIN, Run(0, 4, 4), Run(16, 24, 4), _SRC_IP4, _SRC_IP6, *_SRC_PORT)
_SOCK_COMMON: _Layout = tuple(run for run in _SOCK if run.first >= 24 or run.end <= 8)

_ADDR: _Layout = (Run(0, 4, 4), Run(24, 28, 7, 4), Run(28, 40, 4), _pointer(64, "sock"))
_ADDR4: _Layout = (*_ADDR, Run(4, 8, 7, 4))
_ADDR6: _Layout = (*_ADDR, Run(8, 24, 15, 12))
_A = AttachType
_ADDR_HOOKS: Mapping[AttachType, _Layout] = {
    **dict.fromkeys((_A.CGROUP_INET4_BIND, _A.CGROUP_INET4_CONNECT, _A.CGROUP_UDP4_RECVMSG,
                     _A.CGROUP_INET4_GETPEERNAME, _A.CGROUP_INET4_GETSOCKNAME), _ADDR4),
    **dict.fromkeys((_A.CGROUP_INET6_BIND, _A.CGROUP_INET6_CONNECT, _A.CGROUP_UDP6_RECVMSG,
                     _A.CGROUP_INET6_GETPEERNAME, _A.CGROUP_INET6_GETSOCKNAME), _ADDR6),
    _A.CGROUP_UDP4_SENDMSG: (*_ADDR4, Run(40, 44, 7, 4)),
    _A.CGROUP_UDP6_SENDMSG: (*_ADDR6, Run(44, 60, 7, 4), Run(48, 56, 8, 8)),
    **dict.fromkeys((_A.CGROUP_UNIX_CONNECT, _A.CGROUP_UNIX_SENDMSG, _A.CGROUP_UNIX_RECVMSG,
                     _A.CGROUP_UNIX_GETPEERNAME, _A.CGROUP_UNIX_GETSOCKNAME), _ADDR),
}
_SOCK_HOOKS: Mapping[AttachType, _Layout] = {
    _A.CGROUP_INET_SOCK_CREATE: _SOCK_MADE,
    _A.CGROUP_INET_SOCK_RELEASE: _SOCK_MADE,
    _A.CGROUP_INET4_POST_BIND: (*_SOCK_PLAIN, _SRC_IP4, *_SRC_PORT),
    _A.CGROUP_INET6_POST_BIND: (*_SOCK_PLAIN, _SRC_IP6, *_SRC_PORT),
}
_SOCKOPT_HOOKS: Mapping[AttachType, _Layout] = {
    _A.CGROUP_GETSOCKOPT: (*_SOCKOPT, Run(24, 40, 4), *_writable(32, 36)),
    _A.CGROUP_SETSOCKOPT: (*_SOCKOPT, Run(24, 36, 4, 4)),
}

# struct pt_regs of x86-64, and behind it what a sample of perf adds
_PT_REGS = 21 * 8
_P = ProgType
CONTEXTS: Mapping[ProgType, _Layout | Mapping[AttachType, _Layout]] = {
    _P.SOCKET_FILTER: _SKB,
    _P.KPROBE: (Run(0, _PT_REGS, 15),),
    _P.SCHED_CLS: _SCHED,
    _P.SCHED_ACT: _SCHED,
    # Linux takes an offset below 0 here too, by an oversight in a comparison; we do not
    _P.TRACEPOINT: (Run(8, 8192, 15),),
    _P.XDP: _XDP,
    _P.PERF_EVENT: (Run(0, _PT_REGS, 8), Run(_PT_REGS, _PT_REGS + 16, 15)),
    _P.CGROUP_SKB: _CGROUP_SKB,
    _P.CGROUP_SOCK: _SOCK_HOOKS,
    _P.LWT_IN: _LWT,
    _P.LWT_OUT: _LWT,
    _P.LWT_XMIT: _LWT,
    _P.LWT_SEG6LOCAL: _LWT,
    _P.SOCK_OPS: _SOCK_OPS,
    _P.SK_SKB: _SK_SKB,
    _P.CGROUP_DEVICE: (Run(0, 4), Run(4, 12, 4)),
    _P.SK_MSG: _SK_MSG,
    _P.RAW_TRACEPOINT: (Run(0, 96, 15),),
    _P.CGROUP_SOCK_ADDR: _ADDR_HOOKS,
    _P.LIRC_MODE2: (Run(0, 4, 4),),
    _P.SK_REUSEPORT: _SK_REUSEPORT,
    _P.FLOW_DISSECTOR: _FLOW_DISSECTOR,
    _P.CGROUP_SYSCTL: (Run(0, 8), *_writable(4)),
    _P.RAW_TRACEPOINT_WRITABLE: (_pointer(0, "tp_buffer"), Run(8, 96, 15), Run(1, 8)),
    _P.CGROUP_SOCKOPT: _SOCKOPT_HOOKS,
    _P.SK_LOOKUP: _SK_LOOKUP,
    # the context is memory of the caller, its size is known when it runs
    _P.SYSCALL: (Run(0, 65536, 14, 14), Run(0, 65535, 1, 1)),
    _P.NETFILTER: _NETFILTER,
}
BTF_CONTEXTS = frozenset((_P.TRACING, _P.STRUCT_OPS, _P.EXT, _P.LSM))

# by kind of pointer, "or null" taken off
SOCKETS: Mapping[str, _Layout] = {
    "sock": _SOCK,
    "sock_common": _SOCK_COMMON,
    "tcp_sock": (Run(0, 80, 4), Run(80, 96, 8), Run(96, 112, 4)),
    "xdp_sock": (Run(0, 4, 4),),
}


def context_access(
    type: ProgType, attach_type: AttachType, off: int, size: int, is_write: bool, is_signed: bool = False,
    privileges: Privileges = ALL_PRIVILEGES,
) -> Access:
    """What size bytes at off of the context are. is_signed: a sign-extending load, which a pointer does not
    survive. Raises Refusal. type: one that has a layout here, with an attach type that it takes."""
    access = _context_access(type, attach_type, off, size, is_write, is_signed, privileges.bpf)
    if access is None:
        raise Refusal(f"invalid bpf_context access off={off} size={size}")
    return access


@lru_cache(maxsize=4096)
def _context_access(
    type: ProgType, attach_type: AttachType, off: int, size: int, is_write: bool, is_signed: bool, has_bpf: bool,
) -> Access | None:
    layout = CONTEXTS[type]
    if isinstance(layout, Mapping):
        layout = layout.get(attach_type, ())
    run = _run_of(layout, off, size, is_write, has_bpf)
    if run is None or (is_signed and run.gives):
        return None
    return Access(run.gives, run.btf) if run.gives and not is_write else _NUMBER


def _run_of(layout: _Layout, off: int, size: int, is_write: bool, has_bpf: bool = True) -> Run | None:
    if off % size:
        return None
    for run in layout:
        is_inside = run.first <= off and off + size <= run.end
        if is_inside and size & (run.writes if is_write else run.reads) and (has_bpf or not run.needs_bpf):
            return run
    return None


def socket_access(kind: str, off: int, size: int, is_write: bool, regno: int) -> None:
    """size bytes at off of a socket that register regno points to may be read; kind: without "_or_null".
    Raises Refusal."""
    if is_write:
        raise Refusal(f"R{regno} cannot write into {kind}")
    if off < 0 or _run_of(SOCKETS[kind], off, size, is_write) is None:
        raise Refusal(f"R{regno} invalid {kind} access off={off} size={size}")


def flow_keys_access(off: int, size: int) -> None:
    """size bytes at off of struct bpf_flow_keys may be read and written. Raises Refusal."""
    if off < 0 or off + size > FLOW_KEYS_BYTES:
        raise Refusal(f"invalid access to flow keys off={off} size={size}")
