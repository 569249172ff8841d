struct key { u32 pid; int user, kernel; char comm[16]; };
BPF_HASH(counts, struct key, u64, 40960);
BPF_STACKS(stacks);
struct pe { struct regs regs; u64 period, addr; };
SEC("perf_event") int sample(struct pe *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    if (id >> 32 == 0)
        return 0;
    struct key key = { .pid = id >> 32 };
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    key.user = bpf_get_stackid(ctx, &stacks, 256);
    key.kernel = bpf_get_stackid(ctx, &stacks, 0);
    if (key.kernel < 0 && key.user < 0)
        return 0;
    u64 zero = 0, *n = bpf_map_lookup_elem(&counts, &key);
    if (!n) {
        bpf_map_update_elem(&counts, &key, &zero, BPF_NOEXIST);
        n = bpf_map_lookup_elem(&counts, &key);
    }
    if (n)
        __sync_fetch_and_add(n, 1);
    return 0;
}
