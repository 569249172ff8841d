struct switched { u64 pad; char prev_comm[16]; int prev_pid, prev_prio; u64 prev_state; char next_comm[16]; int next_pid, next_prio; };
BPF_HASH(queued, u32, u64, 10240);
BPF_TABLE_ARRAY(hist, u64, 27);
static __always_inline void enqueue(u32 pid) {
    u64 now = bpf_ktime_get_ns();
    if (pid)
        bpf_map_update_elem(&queued, &pid, &now, BPF_ANY);
}
SEC("tracepoint/sched/sched_switch") int switched(struct switched *ctx) {
    if (ctx->prev_state == 0)
        enqueue(ctx->prev_pid);
    u32 pid = ctx->next_pid;
    u64 *since = bpf_map_lookup_elem(&queued, &pid);
    if (!since)
        return 0;
    u64 micro = (bpf_ktime_get_ns() - *since) / 1000;
    u32 slot = 0;
    for (int i = 0; i < 26; i++)
        if (micro >> i)
            slot = i;
    u64 *found = bpf_map_lookup_elem(&hist, &slot);
    if (found)
        __sync_fetch_and_add(found, 1);
    bpf_map_delete_elem(&queued, &pid);
    return 0;
}
