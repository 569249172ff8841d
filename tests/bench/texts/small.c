// How often each process reads.
BPF_HASH(counts, u32, u64);

int count_read(struct pt_regs *ctx)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;

    counts.increment(pid);
    return 0;
}
