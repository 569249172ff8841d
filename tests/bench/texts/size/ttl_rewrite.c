struct xdp_md { u32 data, data_end; };
SEC("xdp") int ttl(struct xdp_md *ctx) {
    u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 34 > end)
        return 2;
    if (data[12] != 8 || data[13] != 0)
        return 2;
    if (data[22] <= 1)
        return 1;
    data[22]--;
    u32 sum = (data[24] << 8 | data[25]) + 0x100;
    sum = (sum & 0xffff) + (sum >> 16);
    data[24] = sum >> 8;
    data[25] = sum;
    u8 swap[6];
    __builtin_memcpy(swap, data, 6);
    __builtin_memcpy(data, data + 6, 6);
    __builtin_memcpy(data + 6, swap, 6);
    return 3;
}
