BPF_HASH(counts, u32, u64, 10240);
SEC("kprobe/vfs_read") int count(struct regs *ctx) {
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u64 one = 1, *found = bpf_map_lookup_elem(&counts, &pid);
    if (found)
        __sync_fetch_and_add(found, 1);
    else
        bpf_map_update_elem(&counts, &pid, &one, BPF_NOEXIST);
    return 0;
}
