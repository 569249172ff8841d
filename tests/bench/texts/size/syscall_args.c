struct enter { u64 pad; long nr; u64 args[6]; };
struct leave { u64 pad; long nr; long ret; };
struct call { u64 ts, args[6]; };
struct event { struct call call; long ret; u32 pid; u64 took; };
BPF_HASH(open, u64, struct call, 4096);
BPF_EVENTS(events);
SEC("tracepoint/raw_syscalls/sys_enter") int enter(struct enter *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    struct call c = { .ts = bpf_ktime_get_ns() };
    for (int i = 0; i < 6; i++)
        c.args[i] = ctx->args[i];
    bpf_map_update_elem(&open, &id, &c, BPF_ANY);
    return 0;
}
SEC("tracepoint/raw_syscalls/sys_exit") int leave(struct leave *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    struct call *c = bpf_map_lookup_elem(&open, &id);
    if (!c)
        return 0;
    struct event e = { .call = *c, .ret = ctx->ret, .pid = id >> 32 };
    e.took = bpf_ktime_get_ns() - c->ts;
    bpf_map_delete_elem(&open, &id);
    if (e.ret < 0 && e.ret != -11)
        bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));
    return 0;
}
