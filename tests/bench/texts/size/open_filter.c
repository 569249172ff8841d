struct args { u64 pad; int nr; int fd; u64 name; u64 flags; u64 mode; };
struct event { u64 ts; u32 pid; int flags; char comm[16]; char name[48]; };
BPF_EVENTS(events);
const volatile u32 wanted = 0;
SEC("tracepoint/syscalls/sys_enter_openat") int trace(struct args *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    u32 pid = id >> 32;
    if (wanted && pid != wanted)
        return 0;
    if (!(ctx->flags & 3) && ctx->mode == 0)
        return 0;
    struct event e = { .ts = bpf_ktime_get_ns(), .pid = pid, .flags = ctx->flags };
    bpf_get_current_comm(&e.comm, sizeof(e.comm));
    bpf_probe_read_user_str(&e.name, sizeof(e.name), (void *)ctx->name);
    bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));
    return 0;
}
