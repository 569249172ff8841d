enum state { IDLE, HELLO, DATA, BYE };
struct conn { u32 state; u32 errors; u64 bytes; };
struct ctx { u64 pad; u32 id; u8 kind; u32 length; };
BPF_HASH(conns, u32, struct conn, 4096);
SEC("tracepoint/a/b") int step(struct ctx *ctx) {
    u32 id = ctx->id;
    struct conn fresh = {}, *c = bpf_map_lookup_elem(&conns, &id);
    if (!c) {
        bpf_map_update_elem(&conns, &id, &fresh, BPF_ANY);
        return 0;
    }
    switch (c->state) {
    case IDLE:
        if (ctx->kind == 1) c->state = HELLO; else c->errors++;
        break;
    case HELLO:
        if (ctx->kind == 2) c->state = DATA; else { c->state = IDLE; c->errors++; }
        break;
    case DATA:
        if (ctx->kind == 3) c->state = BYE; else c->bytes += ctx->length;
        break;
    default:
        bpf_map_delete_elem(&conns, &id);
    }
    return c->errors > 3;
}
