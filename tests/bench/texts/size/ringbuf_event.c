struct event { u64 ts; u32 pid, tid; u64 args[4]; char comm[16]; };
BPF_RING(ring, 65536);
SEC("kprobe/f") int send(struct regs *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    struct event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
    if (!e)
        return 0;
    e->ts = bpf_ktime_get_ns();
    e->pid = id >> 32;
    e->tid = id;
    e->args[0] = ctx->di;
    e->args[1] = ctx->si;
    e->args[2] = ctx->dx;
    e->args[3] = ctx->cx;
    bpf_get_current_comm(e->comm, sizeof(e->comm));
    bpf_ringbuf_submit(e, 0);
    return 0;
}
