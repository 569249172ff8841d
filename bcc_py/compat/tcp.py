"""bcc.tcp: states and flags of TCP in words.

Source: include/net/tcp_states.h, RFC 9293 section 3.1."""

from __future__ import annotations

__all__ = [
    "TCPHDR_ACK", "TCPHDR_CWR", "TCPHDR_ECE", "TCPHDR_FIN", "TCPHDR_PSH", "TCPHDR_RST", "TCPHDR_SYN", "TCPHDR_URG", "flags2str",
    "state2str", "tcpstate",
]

_STATES = ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"]
_FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"]

(TCPHDR_FIN, TCPHDR_SYN, TCPHDR_RST, TCPHDR_PSH, TCPHDR_ACK, TCPHDR_URG, TCPHDR_ECE, TCPHDR_CWR) = (1 << bit for bit in range(8))

tcpstate: dict[int, str] = dict(enumerate(_STATES, 1))


def state2str(state: int) -> str:
    """A state's name; of a number that is none, the number."""
    return tcpstate.get(state, str(state))


def flags2str(flags: int) -> str:
    """The flags that are set, by name, the lowest bit first, with | between them."""
    return "|".join(name for bit, name in enumerate(_FLAGS) if flags >> bit & 1)
