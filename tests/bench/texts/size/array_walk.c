struct config { u32 n; u32 ports[16]; };
BPF_TABLE_ARRAY(configs, struct config, 1);
struct ctx { u64 pad; u16 port; };
SEC("tracepoint/a/b") int allowed(struct ctx *ctx) {
    u32 zero = 0;
    struct config *c = bpf_map_lookup_elem(&configs, &zero);
    if (!c)
        return 0;
    for (u32 i = 0; i < 16 && i < c->n; i++)
        if (c->ports[i] == ctx->port)
            return 1;
    return 0;
}
