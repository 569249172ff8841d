struct bucket { u64 tokens, stamp; };
BPF_HASH(buckets, u32, struct bucket, 1024);
struct xdp_md { u32 data, data_end; };
SEC("xdp") int limit(struct xdp_md *ctx) {
    u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 34 > end)
        return 2;
    u32 from = *(u32 *)(data + 26);
    u64 now = bpf_ktime_get_ns();
    struct bucket *b = bpf_map_lookup_elem(&buckets, &from);
    if (!b) {
        struct bucket fresh = { 99, now };
        bpf_map_update_elem(&buckets, &from, &fresh, BPF_ANY);
        return 2;
    }
    u64 gained = (now - b->stamp) / 10000000;
    if (gained) {
        b->tokens = b->tokens + gained > 100 ? 100 : b->tokens + gained;
        b->stamp = now;
    }
    if (b->tokens == 0)
        return 1;
    b->tokens--;
    return 2;
}
