static __always_inline u32 rol(u32 v, int n) { return v << n | v >> (32 - n); }
static __always_inline u32 jhash3(u32 a, u32 b, u32 c, u32 seed) {
    a += 0xdeadbeef + seed; b += 0xdeadbeef + seed; c += seed;
    c ^= b; c -= rol(b, 14);
    a ^= c; a -= rol(c, 11);
    b ^= a; b -= rol(a, 25);
    c ^= b; c -= rol(b, 16);
    a ^= c; a -= rol(c, 4);
    b ^= a; b -= rol(a, 14);
    c ^= b; c -= rol(b, 24);
    return c;
}
struct xdp_md { u32 data, data_end; };
SEC("xdp") int spread(struct xdp_md *ctx) {
    u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 42 > end)
        return 0;
    u32 *at = (u32 *)(data + 26);
    return jhash3(at[0], at[1], at[2], 7) % 16;
}
