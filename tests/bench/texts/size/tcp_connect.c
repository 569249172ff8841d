struct sock { u64 pad; u32 daddr, saddr; u16 dport, sport; u16 family; u8 state; };
struct event { u64 ts; u32 pid, saddr, daddr; u16 sport, dport; char comm[16]; };
BPF_HASH(socks, u32, struct sock *, 4096);
BPF_EVENTS(events);
SEC("kprobe/tcp_v4_connect") int entry(struct regs *ctx) {
    u32 tid = bpf_get_current_pid_tgid();
    struct sock *sk = (void *)ctx->di;
    bpf_map_update_elem(&socks, &tid, &sk, BPF_ANY);
    return 0;
}
SEC("kretprobe/tcp_v4_connect") int leave(struct regs *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    u32 tid = id;
    struct sock **found = bpf_map_lookup_elem(&socks, &tid);
    if (!found)
        return 0;
    if ((int)ctx->ax == 0) {
        struct sock sk = {};
        bpf_probe_read_kernel(&sk, sizeof(sk), *found);
        struct event e = { .ts = bpf_ktime_get_ns(), .pid = id >> 32, .saddr = sk.saddr, .daddr = sk.daddr };
        e.sport = sk.sport;
        e.dport = __builtin_bswap16(sk.dport);
        bpf_get_current_comm(&e.comm, sizeof(e.comm));
        bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));
    }
    bpf_map_delete_elem(&socks, &tid);
    return 0;
}
