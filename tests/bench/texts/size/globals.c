u64 calls, misses;
u32 by_kind[16];
const volatile int verbose = 0;
static const u8 weight[8] = { 1, 2, 4, 8, 16, 32, 64, 128 };
struct ctx { u64 pad; u32 kind; int err; };
SEC("tracepoint/a/b") int note(struct ctx *ctx) {
    calls++;
    if (ctx->err)
        __sync_fetch_and_add(&misses, 1);
    if (ctx->kind < 16)
        by_kind[ctx->kind] += weight[ctx->kind & 7];
    if (verbose > 1)
        calls += verbose;
    return 0;
}
