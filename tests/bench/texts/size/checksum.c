struct xdp_md { u32 data, data_end; };
SEC("xdp") int sum(struct xdp_md *ctx) {
    u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    u32 total = 0;
    if (data + 34 > end)
        return 1;
    u16 *half = (u16 *)(data + 14);
#pragma unroll
    for (int i = 0; i < 10; i++)
        total += half[i];
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    return (u16)~total == 0 ? 2 : 1;
}
