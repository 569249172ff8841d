"""BCC's packet headers on the real kernel: what a program reads and writes in a packet that Python made."""

from __future__ import annotations

import struct

import pytest

from bcc_py import BPF
from bcc_py.kernel import Kernel

ETHERNET = bytes.fromhex("aabbccddeeff 102030405060 0800")
IP = struct.pack(">BBHHHBBH4s4s", 0x45, 3, 40, 7, 0x4005, 64, 6, 0xBEEF, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
TCP = struct.pack(">HHIIBBHHH", 1234, 80, 0xDEADBEEF, 2, 0x50, 0x12, 100, 0xCAFE, 0)
PACKET = ETHERNET + IP + TCP + bytes(20)

HEAD = """
#include <bcc/proto.h>
int run(struct __sk_buff *skb) {
    u8 *cursor = 0;
    struct ethernet_t *eth = cursor_advance(cursor, sizeof(*eth));
    struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
    struct tcp_t *tcp = cursor_advance(cursor, sizeof(*tcp));
"""


def run(kernel: Kernel, body: str) -> tuple[int, bytes]:
    with BPF(text=HEAD + body + "}", kernel=kernel) as bpf:
        result = bpf.load_func("run", BPF.SCHED_CLS).program.test_run(PACKET)
    return result.retval & 0xFFFFFFFF, result.data


READS = [
    ("(u32)(eth->dst >> 16)", 0xAABBCCDD), ("(u32)eth->dst", 0xCCDDEEFF), ("(u32)eth->src", 0x30405060), ("eth->type", 0x800),
    ("ip->ver", 4), ("ip->hlen", 5), ("ip->tos", 3), ("ip->tlen", 40), ("ip->identification", 7), ("ip->df", 1), ("ip->mf", 0),
    ("ip->foffset", 5), ("ip->ttl", 64), ("ip->nextp", 6), ("ip->hchecksum", 0xBEEF), ("ip->src", 0x0A000001),
    ("tcp->src_port", 1234), ("tcp->dst_port", 80), ("tcp->seq_num", 0xDEADBEEF), ("tcp->offset", 5), ("tcp->flag_syn", 1),
    ("tcp->flag_ack", 1), ("tcp->flag_fin", 0), ("tcp->flag_cwr", 0), ("tcp->cksum", 0xCAFE), ("(u32)&ip->hchecksum", 24),
    ("load_byte(skb, 1)", 0xBB), ("load_half(skb, 12)", 0x800), ("load_word(skb, 0)", 0xAABBCCDD), ("(u32)(u64)cursor", 54),
]


@pytest.mark.linux
@pytest.mark.parametrize(("expression", "expected"), READS)
def test_field_is_read_from_the_packet(expression: str, expected: int, linux: Kernel) -> None:
    assert run(linux, f"return {expression};")[0] == expected


WRITES = [
    ("eth->dst = 0x112233445566ull;", 0, "112233445566"), ("ip->ttl = 9;", 22, "09"), ("ip->hlen = 7;", 14, "47"),
    ("ip->ver = 6;", 14, "65"), ("ip->dst = 0x01020304;", 30, "01020304"), ("ip->foffset = 0x1234;", 20, "5234"),
    ("tcp->dst_port = ip->ttl + 8000;", 36, "1f80"), ("tcp->flag_fin = 1;", 47, "13"), ("eth->src = eth->dst;", 6, "aabbccddeeff"),
]


@pytest.mark.linux
@pytest.mark.parametrize(("statement", "offset", "expected"), WRITES)
def test_field_is_written_to_the_packet_and_nothing_else(statement: str, offset: int, expected: str, linux: Kernel) -> None:
    changed = bytearray(PACKET)
    new = bytes.fromhex(expected)
    changed[offset : offset + len(new)] = new
    assert run(linux, statement + " return 0;")[1] == bytes(changed)


def _checksum(header: bytes) -> int:
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.mark.linux
def test_checksum_follows_a_changed_address(linux: Kernel) -> None:
    body = """
    u32 old = ip->src, new = 0x0b0c0d0e;
    incr_cksum_l3(&ip->hchecksum, old, new);
    ip->src = new;
    return 0;"""
    good = IP[:10] + struct.pack(">H", _checksum(IP[:10] + bytes(2) + IP[12:])) + IP[12:]
    with BPF(text=HEAD + body + "}", kernel=linux) as bpf:
        after = bpf.load_func("run", BPF.SCHED_CLS).program.test_run(ETHERNET + good + TCP + bytes(20)).data[14:34]
    assert after[12:16] == bytes([11, 12, 13, 14])
    assert struct.unpack(">H", after[10:12])[0] == _checksum(after[:10] + bytes(2) + after[12:])
