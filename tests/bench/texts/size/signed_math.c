struct ctx { u64 pad; int a, b; long c; s16 d; s8 e; };
SEC("tracepoint/a/b") int math(struct ctx *ctx) {
    int x = ctx->a - ctx->b;
    if (x < 0)
        x = -x;
    long y = ctx->c >> 3;
    y += (s16)x * ctx->d;
    if (ctx->e < -5 || y > 1000000)
        y -= ctx->e;
    return (int)(y ^ (y >> 32)) + (x >> 2);
}
