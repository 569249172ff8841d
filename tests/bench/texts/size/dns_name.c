struct xdp_md { u32 data, data_end; };
SEC("xdp") int dns(struct xdp_md *ctx) {
    u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    u8 *at = data + 54;
    u32 hash = 5381;
    for (int i = 0; i < 40; i++) {
        if (at + 1 > end)
            return 1;
        u8 c = *at++;
        if (c == 0)
            break;
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        hash = hash * 33 + c;
    }
    return hash == 0xb8bc9b53 ? 1 : 2;
}
