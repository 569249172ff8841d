struct stats { u64 count, total, min, max, squares; };
struct ctx { u64 pad; u64 value; u32 kind; };
BPF_HASH(all, u32, struct stats, 256);
SEC("tracepoint/a/b") int add(struct ctx *ctx) {
    u32 kind = ctx->kind;
    u64 value = ctx->value;
    struct stats *s = bpf_map_lookup_elem(&all, &kind);
    if (!s) {
        struct stats first = { 1, value, value, value, value * value };
        bpf_map_update_elem(&all, &kind, &first, BPF_NOEXIST);
        return 0;
    }
    s->count++;
    s->total += value;
    if (value < s->min)
        s->min = value;
    if (value > s->max)
        s->max = value;
    s->squares += value * value;
    return 0;
}
