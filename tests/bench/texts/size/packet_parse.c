struct xdp_md { u32 data, data_end; };
struct eth { u8 dst[6], src[6]; u16 type; } __attribute__((packed));
struct ip { u8 ihl : 4, version : 4; u8 tos; u16 len, id, off; u8 ttl, proto; u16 sum; u32 src, dst; };
struct tcp { u16 src, dst; u32 seq, ack; u16 flags, window, sum, urgent; };
struct flow { u32 src, dst; u16 sport, dport; };
BPF_HASH(bytes, struct flow, u64, 8192);
SEC("xdp") int count(struct xdp_md *ctx) {
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct eth *eth = data;
    if ((void *)(eth + 1) > end || eth->type != __builtin_bswap16(0x0800))
        return 2;
    struct ip *ip = (void *)(eth + 1);
    if ((void *)(ip + 1) > end || ip->proto != 6 || ip->ihl != 5)
        return 2;
    struct tcp *tcp = (void *)(ip + 1);
    if ((void *)(tcp + 1) > end)
        return 2;
    struct flow flow = { ip->src, ip->dst, __builtin_bswap16(tcp->src), __builtin_bswap16(tcp->dst) };
    u64 length = __builtin_bswap16(ip->len), *found = bpf_map_lookup_elem(&bytes, &flow);
    if (found)
        __sync_fetch_and_add(found, length);
    else
        bpf_map_update_elem(&bytes, &flow, &length, BPF_ANY);
    return 2;
}
