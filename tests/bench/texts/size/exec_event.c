struct event { u32 pid; u32 uid; char comm[16]; char file[64]; };
BPF_EVENTS(events);
SEC("kprobe/execve") int trace(struct regs *ctx) {
    struct event e = {};
    e.pid = bpf_get_current_pid_tgid() >> 32;
    e.uid = bpf_get_current_uid_gid();
    bpf_get_current_comm(&e.comm, sizeof(e.comm));
    bpf_probe_read_user_str(&e.file, sizeof(e.file), (void *)ctx->di);
    bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));
    return 0;
}
