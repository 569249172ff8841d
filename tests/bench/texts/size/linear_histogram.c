struct ctx { u64 pad; u64 bytes; int cpu; };
BPF_TABLE_ARRAY(hist, u64, 101);
SEC("tracepoint/a/b") int add(struct ctx *ctx) {
    u64 slot = ctx->bytes / 4096;
    u32 key = slot > 100 ? 100 : slot;
    u64 *found = bpf_map_lookup_elem(&hist, &key);
    if (!found)
        return 0;
    *found += 1;
    return 0;
}
