struct zoned { u64 pad; u32 dev; u32 sectors; u64 sector; };
BPF_TABLE_ARRAY(hist, u64, 64);
static __always_inline int bucket(u64 v) {
    int n = 0;
    if (v >> 32) { n += 32; v >>= 32; }
    if (v >> 16) { n += 16; v >>= 16; }
    if (v >> 8) { n += 8; v >>= 8; }
    if (v >> 4) { n += 4; v >>= 4; }
    if (v >> 2) { n += 2; v >>= 2; }
    return n + (v >> 1);
}
SEC("tracepoint/block/block_rq_issue") int issue(struct zoned *ctx) {
    u32 slot = bucket(ctx->sectors * 512ull);
    u64 *found = bpf_map_lookup_elem(&hist, &slot);
    if (found)
        __sync_fetch_and_add(found, 1);
    return 0;
}
