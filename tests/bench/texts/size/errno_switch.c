struct leave { u64 pad; long nr; long ret; };
BPF_TABLE_ARRAY(kinds, u64, 8);
SEC("tracepoint/raw_syscalls/sys_exit") int leave(struct leave *ctx) {
    u32 kind;
    switch (ctx->ret) {
    case -1: case -13: kind = 1; break;
    case -2: kind = 2; break;
    case -4: kind = 3; break;
    case -11: kind = 4; break;
    case -12: kind = 5; break;
    case -512 ... -500: kind = 6; break;
    default: kind = ctx->ret < 0 ? 7 : 0;
    }
    u64 *n = bpf_map_lookup_elem(&kinds, &kind);
    if (n)
        (*n)++;
    return 0;
}
