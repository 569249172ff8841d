struct pair { u64 a, b; };
BPF_HASH(sums, u64, struct pair, 128);
static __attribute__((noinline)) int add(u64 key, u64 a, u64 b) {
    struct pair *p = bpf_map_lookup_elem(&sums, &key), fresh = { a, b };
    if (!p)
        return bpf_map_update_elem(&sums, &key, &fresh, BPF_ANY);
    p->a += a;
    p->b += b;
    return 0;
}
SEC("kprobe/f") int first(struct regs *ctx) { return add(ctx->di, ctx->si, ctx->dx); }
SEC("kprobe/g") int second(struct regs *ctx) { return add(ctx->si & 0xff, 1, ctx->di) + add(1, 2, 3); }
