struct key { u32 pid; u32 slot; };
BPF_HASH(start, u32, u64, 10240);
BPF_HASH(latency, struct key, u64, 4096);

static __always_inline u32 log2_32(u32 v) {
    u32 r = (v > 0xffff) << 4, s;
    v >>= r;
    s = (v > 0xff) << 3; v >>= s; r |= s;
    s = (v > 0xf) << 2; v >>= s; r |= s;
    s = (v > 3) << 1; v >>= s; r |= s;
    return r | (v >> 1);
}

static __always_inline u32 log2_64(u64 v) {
    u32 high = v >> 32;
    return high ? log2_32(high) + 32 : log2_32(v);
}

SEC("kprobe/f") int entry(struct regs *ctx) {
    u32 tid = bpf_get_current_pid_tgid();
    u64 now = bpf_ktime_get_ns();
    bpf_map_update_elem(&start, &tid, &now, BPF_ANY);
    return 0;
}

SEC("kretprobe/f") int leave(struct regs *ctx) {
    u64 id = bpf_get_current_pid_tgid();
    u32 tid = id;
    u64 *began = bpf_map_lookup_elem(&start, &tid);
    if (!began)
        return 0;
    u64 delta = bpf_ktime_get_ns() - *began;
    bpf_map_delete_elem(&start, &tid);
    struct key key = { .pid = id >> 32, .slot = log2_64(delta / 1000) };
    u64 one = 1, *found = bpf_map_lookup_elem(&latency, &key);
    if (found)
        __sync_fetch_and_add(found, 1);
    else
        bpf_map_update_elem(&latency, &key, &one, BPF_ANY);
    return 0;
}
