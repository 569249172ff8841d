"""The programs of tests/bench/engine.py: text, type, packet. What they compute depends on a map that they change, or on the
packet, so that nothing folds.

PROGRAMS: whole programs, one for each kind of work. OPERATIONS: a loop of ROUNDS turns around one operation on a map;
"nothing" is the loop alone."""

from __future__ import annotations

from cfront.uapi import ProgType

__all__ = ["OPERATIONS", "PACKET", "PROGRAMS", "ROUNDS", "TYPE"]

TYPE = ProgType.XDP
ROUNDS = 1000
# Ethernet, IPv4 (192.168.1.77 -> 10.0.0.1), TCP (51820 -> 443), 12 bytes of payload
PACKET = bytes.fromhex("0200000000010200000000020800" "450000340001400040060000c0a8014d0a000001" "ca6c01bb0000000100000000501020000000"
                       "0000") + b"twelve bytes"

_STATE = "BPF_ARRAY(state, u64, 1);\n"
_BEGIN = "int zero = 0; u64 *kept = state.lookup(&zero); if (!kept) return 0; u64 x = *kept + 1;\n"
_HEADERS = """
struct eth { u8 to[6]; u8 from[6]; __be16 proto; } __attribute__((packed));
struct ip4 { u8 vihl; u8 tos; __be16 len; __be16 id; __be16 frag; u8 ttl; u8 proto; __be16 sum; __be32 from; __be32 to; };
struct tcp { __be16 from; __be16 to; __be32 seq; };
"""

PROGRAMS = {
    "trivial": "int run(struct xdp_md *ctx) { return 2; }",
    "ALU loop": _STATE + "int run(struct xdp_md *ctx) {" + _BEGIN + """
        for (int i = 0; i < 1000; i++) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; x += i; }
        *kept = x; return x & 3; }""",
    "branches": _STATE + "int run(struct xdp_md *ctx) {" + _BEGIN + """
        u64 n = 0;
        for (int i = 0; i < 200; i++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            u32 dice = x >> 33;
            if (dice & 1) n += 3; else if (dice & 2) n ^= dice; else if (dice & 4) n -= 7; else n += dice & 15;
            if (n > 100000) n >>= 3;
        }
        *kept = x + n; return n & 3; }""",
    "prime": _STATE + "int run(struct xdp_md *ctx) {" + _BEGIN + """
        u32 n = 3967 + (x & 127), is = 1;
        for (u32 i = 2; i < 64; i++) { if (n % i == 0) { is = 0; break; } }
        *kept = x + is; return is; }""",
    "subnet": _HEADERS + """
        BPF_ARRAY(hits, u64, 4);
        int run(struct xdp_md *ctx) {
            void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
            struct eth *eth = data;
            struct ip4 *ip = data + sizeof(*eth);
            if ((void *)(ip + 1) > end || eth->proto != bpf_htons(0x0800)) return 2;
            if ((ip->from & bpf_htonl(0xffffff00)) == bpf_htonl(0xc0a80100)) { hits.increment(1); return 1; }
            hits.increment(0); return 2; }""",
    "packet filter": _HEADERS + """
        BPF_ARRAY(ports, u64, 1024);
        int run(struct xdp_md *ctx) {
            void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
            struct eth *eth = data;
            struct ip4 *ip = data + sizeof(*eth);
            struct tcp *tcp = (void *)ip + 20;
            u32 sum = 0;
            if ((void *)(tcp + 1) > end || eth->proto != bpf_htons(0x0800) || ip->vihl != 0x45 || ip->proto != 6) return 2;
            u16 *word = (u16 *)ip;
            for (int i = 0; i < 10; i++) sum += word[i];
            sum = (sum & 0xffff) + (sum >> 16);
            u32 port = bpf_ntohs(tcp->to);
            if (port < 1024) { ports.increment(port); }
            return (sum & 1) + 1; }""",
    "hash update": _STATE + "BPF_HASH(h, u64, u64, 4096);\nint run(struct xdp_md *ctx) {" + _BEGIN + """
        u64 key = x & 1023; h.update(&key, &x); *kept = x; return 2; }""",
    "array and per-CPU": _STATE + "BPF_ARRAY(a, u64, 256); BPF_PERCPU_ARRAY(p, u64, 256);\nint run(struct xdp_md *ctx) {" + _BEGIN + """
        int at = x & 255; a.increment(at); u64 *own = p.lookup(&at); if (own) *own += x; *kept = x; return 2; }""",
    "histogram": _STATE + "BPF_HISTOGRAM(h);\nint run(struct xdp_md *ctx) {" + _BEGIN + """
        h.increment(bpf_log2l(x * 2654435761ull & 0xffffff)); *kept = x; return 2; }""",
    "ring output": _STATE + """
        struct record { u64 x; u32 pid; char comm[16]; };
        BPF_RINGBUF_OUTPUT(ring, 1024);
        int run(struct xdp_md *ctx) {""" + _BEGIN + """
        struct record *r = ring.ringbuf_reserve(sizeof(*r));
        *kept = x;
        if (!r) return 1;
        r->x = x; r->pid = x >> 3; __builtin_memset(r->comm, 1, 16);
        ring.ringbuf_discard(r, 0); return 2; }""",
    "tail call": _STATE + """
        BPF_PROG_ARRAY(next, 4);
        int target(struct xdp_md *ctx) {""" + _BEGIN + """ *kept = x; return 2; }
        int run(struct xdp_md *ctx) { next.call(ctx, 1); return 1; }""",
    "calls": _STATE + """
        static __attribute__((noinline)) u64 mix(u64 x, u64 y) { return (x ^ y) * 0x9e3779b97f4a7c15ull; }
        static __attribute__((noinline)) u64 twice(u64 x) { u64 a = mix(x, 7); return mix(a, x >> 3); }
        int run(struct xdp_md *ctx) {""" + _BEGIN + """
        for (int i = 0; i < 20; i++) x = twice(x) + i;
        *kept = x; return x & 3; }""",
}


def _loop(maps: str, body: str) -> str:
    return _STATE + maps + "\nint run(struct xdp_md *ctx) {" + _BEGIN + f"""
        u64 sum = 0, one = 1, *found, value; u32 at; int i; u64 key;
        for (i = 0; i < {ROUNDS}; i++) {{ {body} }}
        *kept = x + sum; return sum & 3; }}"""


OPERATIONS = {
    "nothing": _loop("", "x += i; sum ^= x;"),
    "array lookup": _loop("BPF_ARRAY(m, u64, 1024);", "x += i; sum ^= x; at = x & 1023; found = m.lookup((int *)&at); if (found) sum += *found;"),
    "per-CPU array lookup": _loop(
        "BPF_PERCPU_ARRAY(m, u64, 1024);", "x += i; sum ^= x; at = x & 1023; found = m.lookup((int *)&at); if (found) sum += *found;"),
    "hash hit": _loop("BPF_HASH(m, u64, u64, 4096);", "x += i; sum ^= x; key = i & 511; found = m.lookup(&key); if (found) sum += *found;"),
    "hash update": _loop("BPF_HASH(m, u64, u64, 4096);", "x += i; sum ^= x; key = x & 1023; m.update(&key, &x);"),
    "hash update and delete": _loop("BPF_HASH(m, u64, u64, 4096);", "x += i; sum ^= x; key = x & 1023; m.update(&key, &x); m.delete(&key);"),
    "per-CPU hash hit": _loop(
        'BPF_PERCPU_HASH(m, u64, u64, 4096);', "x += i; sum ^= x; key = i & 511; found = m.lookup(&key); if (found) sum += *found;"),
    "per-CPU hash update": _loop("BPF_PERCPU_HASH(m, u64, u64, 4096);", "x += i; sum ^= x; key = x & 1023; m.update(&key, &x);"),
    "LRU hit": _loop(
        'BPF_TABLE("lru_hash", u64, u64, m, 4096);', "x += i; sum ^= x; key = i & 511; found = m.lookup(&key); if (found) sum += *found;"),
    "LRU update": _loop('BPF_TABLE("lru_hash", u64, u64, m, 4096);', "x += i; sum ^= x; key = x & 0xffff; m.update(&key, &x);"),
    "queue push and pop": _loop("BPF_QUEUE(m, u64, 64);", "x += i; sum ^= x; m.push(&x, 0); m.pop(&value); sum += value;"),
    "ring output": _loop("BPF_RINGBUF_OUTPUT(m, 64);", "x += i; sum ^= x; sum += m.ringbuf_output(&x, 8, 0);"),
    "ring reserve and discard": _loop(
        "BPF_RINGBUF_OUTPUT(m, 64);",
        "x += i; sum ^= x; { u64 *r = m.ringbuf_reserve(8); if (r) { *r = x; m.ringbuf_discard(r, 0); } }"),
    "LPM lookup": _loop(
        "struct k { u32 bits; u32 ip; }; BPF_LPM_TRIE(m, struct k, u64, 1024);",
        "x += i; sum ^= x; struct k one_key = { 32, (u32)x }; found = m.lookup(&one_key); if (found) sum += *found;"),
}
