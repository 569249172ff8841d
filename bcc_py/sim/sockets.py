"""Sockets of the simulated kernel, as Python makes them and programs find them.

A Socket is the runtime's struct sock: what look-ups return, what skb->sk points at. Addresses are written as people write
them ("10.0.2.15", "::1"), ports are numbers. A socket that was added is found until it is closed; programs that hold it
longer keep its memory, not its place in the table or in maps. Its descriptor is what maps of sockets and storages are told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bcc_py.errors import LoadError
from bcc_py.sim.memory import Runtime

__all__ = ["CLOSE", "ESTABLISHED", "LISTEN", "TCP", "UDP", "Endpoint", "Socket", "SocketTable"]

TCP, UDP = 6, 17
_STREAM, _DATAGRAM = 1, 2
_IP4, _IP6 = 2, 10
# what stands in the IPv4 addresses of a socket that is bound to an IPv6 address: 127.0.0.6
_LOOPBACK4_IPV6 = 0x0600007F
# what a caller may say of a socket beside its addresses
_FIELDS = frozenset(("bound_dev_if", "cgroup_id", "class_id", "cookie", "is_ip6_only", "is_reuseport", "is_transparent", "mark",
                     "priority", "queue_id", "rx_queue", "type", "uid"))
_MAX_PORT, _EBADF = 65535, 9
# states of include/net/tcp_states.h
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
# struct bpf_tcp_sock's fields and where they are
_TCP_FIELDS = (
    "snd_cwnd", "srtt_us", "rtt_min", "snd_ssthresh", "rcv_nxt", "snd_nxt", "snd_una", "mss_cache", "ecn_flags", "rate_delivered",
    "rate_interval_us", "packets_out", "retrans_out", "total_retrans", "segs_in", "data_segs_in", "segs_out", "data_segs_out",
    "lost_out", "sacked_out")
_TCP_WIDE = {"bytes_received": 80, "bytes_acked": 88}
_TCP_LAST = {"dsack_dups": 96, "delivered": 100, "delivered_ce": 104, "icsk_retransmits": 108}
_TCP_PLACES = {name: (4 * at, 4) for at, name in enumerate(_TCP_FIELDS)} | {
    **{name: (at, 8) for name, at in _TCP_WIDE.items()}, **{name: (at, 4) for name, at in _TCP_LAST.items()}}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port. address: "" for any."""

    address: str
    port: int

    def packed(self, family: int) -> bytes:
        if not self.address:
            return bytes(4 if family == _IP4 else 16)
        return socket.inet_pton(socket.AF_INET if family == _IP4 else socket.AF_INET6, self.address)


class Socket:
    """One socket. pointer: the struct sock, which this object holds until close. fd: its descriptor."""

    def __init__(self, table: SocketTable, pointer: Any, fd: int) -> None:
        self._table = table
        self.fd = fd
        self.pointer = pointer

    @property
    def address(self) -> int:
        """Native, as programs see it."""
        return self._table.runtime.address_of(self.pointer)

    @property
    def references(self) -> int:
        """Who holds it: this object, the table, programs that have not released it."""
        return int(self.pointer.references)

    @property
    def cookie(self) -> int:
        """What bpf_get_socket_cookie gave, 0 if nobody asked."""
        return int(self.pointer.cookie)

    def set_tcp(self, **fields: int) -> None:
        """Fields of struct bpf_tcp_sock. Raises KeyError for a name that it lacks."""
        for name, value in fields.items():
            at, size = _TCP_PLACES[name]
            self.pointer.tcp[at : at + size] = list((value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def close(self) -> None:
        """Look-ups no longer find it, and no map holds it. Idempotent."""
        self._table.forget(self)

    def put_in(self, map: Any, key: bytes, flags: int) -> int:
        """Puts it in a map of sockets, the runtime's struct map; 0 or a negative errno."""
        with self._table.lock:
            return -_EBADF if self.pointer is None else int(self._table.runtime.sock_map_put(map, key, self.pointer, flags))


class SocketTable:
    """The sockets of one simulated kernel. take_fd: gives a new descriptor. forget_owner: told the address of each that goes."""

    def __init__(self, runtime: Runtime, state: Any, take_fd: Callable[[], int], forget_owner: Callable[[int], None]) -> None:
        self.runtime = runtime
        self.lock = threading.RLock()
        self._state = state
        self._take_fd = take_fd
        self._forget_owner = forget_owner
        self._sockets: dict[int, Socket] = {}

    def __len__(self) -> int:
        return len(self._sockets)

    def __iter__(self) -> Iterator[Socket]:
        return iter(tuple(self._sockets.values()))

    def find(self, fd: int) -> Socket | None:
        """The open socket with this descriptor."""
        return self._sockets.get(fd)

    def listen(self, local: Endpoint, *, protocol: int = TCP, **fields: int) -> Socket:
        """A TCP socket that waits for connections, or a UDP socket that is bound."""
        return self.add(local, None, protocol=protocol, state=LISTEN if protocol == TCP else CLOSE, **fields)

    def connect(self, local: Endpoint, remote: Endpoint, *, protocol: int = TCP, **fields: int) -> Socket:
        """A connection."""
        return self.add(local, remote, protocol=protocol, state=ESTABLISHED, **fields)

    def add(
        self, local: Endpoint, remote: Endpoint | None = None, *, protocol: int = TCP, state: int = CLOSE, family: int = 0, **fields: int,
    ) -> Socket:
        """A socket that look-ups find. family: AF_INET or AF_INET6, by default as the addresses are written. fields: members
        of the runtime's struct sock (mark, priority, uid, bound_dev_if, cgroup_id, is_ip6_only, ...). Raises ValueError for
        an address, a port or a member that is none, LoadError if the kernel is closed, MemoryError."""
        if self._state is None:
            raise LoadError("adding a socket: the simulated kernel is closed", errno=_EBADF)
        strange = set(fields) - _FIELDS
        if strange:
            raise ValueError(f"adding a socket: it has no {', '.join(sorted(strange))} (there are {', '.join(sorted(_FIELDS))})")
        for one in (local, remote or local):
            if not 0 <= one.port <= _MAX_PORT:
                raise ValueError(f"adding a socket: port {one.port} (0 to {_MAX_PORT} are possible)")
        family = family or (_IP6 if ":" in local.address or (remote is not None and ":" in remote.address) else _IP4)
        try:
            addresses = local.packed(family), (remote or Endpoint("", 0)).packed(family)
        except OSError as error:
            raise ValueError(f"adding a socket at {local} to {remote}: no addresses of family {family}") from error
        pointer = self.runtime.sock_new(self._state)
        if not pointer:
            raise MemoryError("adding a socket to the simulated kernel")
        pointer.family, pointer.protocol, pointer.state = family, protocol, state
        pointer.type = _STREAM if protocol == TCP else _DATAGRAM
        pointer.source_port = local.port
        pointer.target_port = socket.htons(remote.port if remote is not None else 0)
        self._put_addresses(pointer, family, *addresses)
        for name, value in fields.items():
            setattr(pointer, name, value)
        self.runtime.sock_list(self._state, pointer)
        made = Socket(self, pointer, self._take_fd())
        self._sockets[made.fd] = made
        return made

    @staticmethod
    def _put_addresses(pointer: Any, family: int, source: bytes, target: bytes) -> None:
        if family == _IP4:
            pointer.source_ip4, pointer.target_ip4 = (struct.unpack("<I", one)[0] for one in (source, target))
        else:
            pointer.source_ip6, pointer.target_ip6 = (struct.unpack("<4I", one) for one in (source, target))
            pointer.source_ip4, pointer.target_ip4 = (_LOOPBACK4_IPV6 if any(one) else 0 for one in (source, target))

    def forget(self, one: Socket) -> None:
        """For Socket.close. It leaves the table first, then the maps: no program can put it back in between."""
        with self.lock:
            if self._sockets.pop(one.fd, None) is None:
                return
            pointer, one.pointer = one.pointer, None
            self.runtime.sock_unlist(self._state, pointer)
            self.runtime.sockets_leave(self._state, pointer)
        self._forget_owner(self.runtime.address_of(pointer))
        self.runtime.sock_put(self._state, pointer)
        self.runtime.sim_reclaim(self._state)

    @property
    def live(self) -> int:
        """Sockets whose memory is still there: those of the table, and what programs and packets hold."""
        return int(self._state.net.live) if self._state is not None else 0

    def close(self) -> None:
        """Closes all of them; there will be no others. Idempotent."""
        for one in self:
            one.close()
        self._state = None
