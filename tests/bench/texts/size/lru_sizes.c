struct key { u32 pid; char comm[16]; u8 op; };
struct value { u64 n, bytes, errors; };
BPF_HASH(io, struct key, struct value, 2048);
static __always_inline int account(struct regs *ctx, u8 op) {
    struct key key = { .op = op };
    struct value fresh = {}, *v;
    long ret = ctx->ax;
    key.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(key.comm, sizeof(key.comm));
    v = bpf_map_lookup_elem(&io, &key);
    if (!v) {
        bpf_map_update_elem(&io, &key, &fresh, BPF_NOEXIST);
        v = bpf_map_lookup_elem(&io, &key);
        if (!v)
            return 0;
    }
    v->n++;
    if (ret < 0)
        v->errors++;
    else
        v->bytes += ret;
    return 0;
}
SEC("kretprobe/vfs_read") int on_read(struct regs *ctx) { return account(ctx, 0); }
SEC("kretprobe/vfs_write") int on_write(struct regs *ctx) { return account(ctx, 1); }
