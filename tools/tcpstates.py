"""tcpstates: every change of a TCP connection's state, and how long the old state lasted.

sock:inet_sock_set_state has the addresses, ports and both states; the socket's address is the key under
which the time of its last change is kept, until it closes."""

from __future__ import annotations

import socket
from typing import Any

import click

from bcc_py import cli
from bcc_py.cli import clock_text, flag_values, follow, number_of, opened, shown, tool

__all__ = ["main"]

TEXT = r"""
struct event_t {
    u64 time_ns;
    u64 socket;
    u64 since_ns;
    u32 pid;
    u16 local_port;
    u16 remote_port;
    u16 family;
    u8 old_state;
    u8 new_state;
    u8 local[16];
    u8 remote[16];
    char comm[TASK_COMM_LEN];
};

BPF_HASH(last, u64, u64);
BPF_RINGBUF_OUTPUT(events, 64);
BPF_PERCPU_ARRAY(lost, u64, 1);

#ifdef LOCAL_PORTS
static inline int is_local_port(u16 port) { return LOCAL_PORTS; }
#endif
#ifdef REMOTE_PORTS
static inline int is_remote_port(u16 port) { return REMOTE_PORTS; }
#endif

TRACEPOINT_PROBE(sock, inet_sock_set_state)
{
    if (args->protocol != IPPROTO_TCP)
        return 0;
    u64 now = bpf_ktime_get_ns();
    u64 socket = (u64)args->skaddr;
    u64 *before = last.lookup(&socket);
    u64 since_ns = before ? now - *before : 0;
    if (args->newstate == TCP_CLOSE)
        last.delete(&socket);
    else
        last.update(&socket, &now);
#ifdef ONLY_FAMILY
    if (args->family != ONLY_FAMILY)
        return 0;
#endif
#ifdef LOCAL_PORTS
    if (!is_local_port(args->sport))
        return 0;
#endif
#ifdef REMOTE_PORTS
    if (!is_remote_port(args->dport))
        return 0;
#endif
    struct event_t event = {.time_ns = now, .socket = socket, .since_ns = since_ns};
    event.pid = bpf_get_current_pid_tgid() >> 32;
    event.local_port = args->sport;
    event.remote_port = args->dport;
    event.family = args->family;
    event.old_state = args->oldstate;
    event.new_state = args->newstate;
    if (args->family == AF_INET) {
        __builtin_memcpy(event.local, args->saddr, 4);
        __builtin_memcpy(event.remote, args->daddr, 4);
    } else {
        __builtin_memcpy(event.local, args->saddr_v6, 16);
        __builtin_memcpy(event.remote, args->daddr_v6, 16);
    }
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    if (events.ringbuf_output(&event, sizeof(event), 0)) {
        int zero = 0;
        u64 *count = lost.lookup(&zero);
        if (count)
            *count += 1;
    }
    return 0;
}
"""

# enum tcp_state, include/net/tcp_states.h
_STATES = ("", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
           "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV")


def _ports(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A C condition on port for a list of ports such as "80,443"."""
    if value is None:
        return None
    ports = [number_of(one, 1 << 16) for one in value.split(",")]
    if not all(ports):
        raise click.BadParameter(f"{value!r} is no list of ports (write e.g. 80,443)")
    return "||".join(f"port=={one}" for one in ports)


def _state(number: int) -> str:
    return _STATES[number] if 0 < number < len(_STATES) else f"[{number}]"


def _address(raw: Any, family: int) -> str:
    size = 4 if family == socket.AF_INET else 16
    return socket.inet_ntop(family, bytes(raw)[:size]) if family in (socket.AF_INET, socket.AF_INET6) else f"family {family}"


@tool()
@click.option("-T", "--time", "show_time", is_flag=True, help="Show the time of day (HH:MM:SS).")
@click.option("-t", "--timestamp", is_flag=True, help="Show the seconds since the first row.")
@click.option("-w", "--wide", is_flag=True, help="Columns wide enough for IPv6 addresses.")
@click.option("-s", "--csv", is_flag=True, help="Print comma-separated values.")
@click.option("-L", "--localport", callback=_ports, metavar="PORTS", help="Only these local ports (e.g. 80,443).")
@click.option("-D", "--remoteport", callback=_ports, metavar="PORTS", help="Only these remote ports.")
@click.option("-4", "--ipv4", is_flag=True, help="Only IPv4.")
@click.option("-6", "--ipv6", is_flag=True, help="Only IPv6.")
@click.option("-d", "--duration", type=cli.seconds, help="Stop after this many seconds.")
def main(
    kernel: str, show_time: bool, timestamp: bool, wide: bool, csv: bool, localport: str | None, remoteport: str | None,
    ipv4: bool, ipv6: bool, duration: float | None,
) -> None:
    """Show every change of a TCP connection's state, with how long the old one lasted."""
    if ipv4 and ipv6:
        raise click.UsageError("-4 and -6 exclude each other")
    flags = flag_values(ONLY_FAMILY=socket.AF_INET if ipv4 else socket.AF_INET6 if ipv6 else None)
    flags += [f"-D{name}={value}" for name, value in (("LOCAL_PORTS", localport), ("REMOTE_PORTS", remoteport)) if value]
    width = 39 if wide else 15
    with opened("tcpstates", TEXT, kernel, flags) as bpf:
        names = ["TIME"] * show_time + ["TIME(s)"] * timestamp
        names += ["SKADDR", "PID", "COMM", "LADDR", "LPORT", "RADDR", "RPORT", "OLDSTATE", "NEWSTATE", "MS"]
        widths = [8] * show_time + [9] * timestamp + [16, 6, 10, width, 5, width, 5, 11, 11, 0]

        def print_row(row: list[str], arrow: str) -> None:
            if csv:
                print(",".join(row), flush=True)
                return
            cells = [f"{cell[:10] if size == 10 else cell:{size}}" for cell, size in zip(row, widths, strict=True)]
            print(" ".join([*cells[:-2], arrow, *cells[-2:]]).rstrip(), flush=True)

        print_row(names, "->")
        start = 0

        def on_event(_ctx: Any, data: Any, _size: int) -> None:
            nonlocal start
            event = bpf["events"].event(data)
            start = start or event.time_ns
            row = [clock_text(bpf)] * show_time + [f"{(event.time_ns - start) / 1e9:.6f}"] * timestamp
            row += [
                f"{event.socket:x}", str(event.pid), shown(event.comm),
                _address(event.local, event.family), str(event.local_port), _address(event.remote, event.family),
                str(event.remote_port), _state(event.old_state), _state(event.new_state), f"{event.since_ns / 1e6:.3f}",
            ]
            print_row(row, "->")

        bpf["events"].open_ring_buffer(on_event)
        follow("tcpstates", bpf, duration)


if __name__ == "__main__":
    main()
