/* Helpers that answer from the current state, and the life of a struct sim.

   A helper's name is bpf_ and its kernel name; its first argument is always the kernel, the others are
   the program's r1 to r5. Source of each meaning: include/uapi/linux/bpf.h. */

enum { TRACE_BYTES = 4194304, CONTEXT_BYTES = 65536, TICK_NS = 4000000 };

void sim_free(struct sim *sim)
{
    if (!sim)
        return;
    free(sim->trace.bytes);
    free(sim->context);
    free(sim->owned);
    free(sim);
}

/* A kernel with no maps and no memory handed out, or null when there is no room. */
struct sim *sim_new(u32 cpus, u64 kernel_start, u8 *kernel_bytes, u64 seed)
{
    struct sim *sim = (struct sim *)calloc(1, sizeof(struct sim));
    if (!sim)
        return sim;
    sim->cpus = cpus;
    sim->kernel_start = kernel_start;
    sim->kernel_bytes = kernel_bytes;
    sim->random = seed * 0x9e3779b97f4a7c15ull + 0x853c49e6748fea9bull;
    sim->trace.size = TRACE_BYTES;
    sim->trace.bytes = (u8 *)calloc(2, TRACE_BYTES);
    sim->context = (u8 *)calloc(1, CONTEXT_BYTES);
    sim->context_size = CONTEXT_BYTES;
    if (!sim->trace.bytes || !sim->context || own(sim, sim->context, CONTEXT_BYTES)) {
        sim_free(sim);
        return (struct sim *)0;
    }
    return sim;
}

u64 bpf_ktime_get_ns(struct sim *sim)
{
    return sim->time_ns;
}

u64 bpf_ktime_get_boot_ns(struct sim *sim)
{
    return sim->time_ns + sim->boot_offset_ns;
}

/* The time of the last tick. */
u64 bpf_ktime_get_coarse_ns(struct sim *sim)
{
    return sim->time_ns - sim->time_ns % TICK_NS;
}

u64 bpf_jiffies64(struct sim *sim)
{
    return 0xffff8ad0ull + sim->time_ns / TICK_NS;
}

/* PCG-like: a multiplicative step and a folded output. */
u64 bpf_get_prandom_u32(struct sim *sim)
{
    u64 mixed;
    sim->random = sim->random * 0x5851f42d4c957f2dull + 0x14057b7ef767814full;
    mixed = (sim->random ^ (sim->random >> 31)) * 0x9e3779b97f4a7c15ull;
    return mixed >> 32;
}

u64 bpf_get_smp_processor_id(struct sim *sim)
{
    return sim->cpu;
}

u64 bpf_get_numa_node_id(struct sim *sim)
{
    (void)sim;
    return 0;
}

u64 bpf_get_current_pid_tgid(struct sim *sim)
{
    return (u64)sim->tgid << 32 | sim->pid;
}

u64 bpf_get_current_uid_gid(struct sim *sim)
{
    return (u64)sim->gid << 32 | sim->uid;
}

s64 bpf_get_current_comm(struct sim *sim, u8 *to, u64 size)
{
    u32 room = (u32)size;
    u32 i;
    if (!room)
        return -EINVAL;
    for (i = 0; i < room && i < 16 && sim->comm[i]; i++)
        to[i] = sim->comm[i];
    if (i == room)
        i--;
    memset(to + i, 0, room - i);
    return 0;
}

u64 bpf_get_current_task(struct sim *sim)
{
    return sim->task;
}

u64 bpf_get_current_cgroup_id(struct sim *sim)
{
    return sim->cgroup_id;
}

/* There is one cgroup below the root. */
u64 bpf_get_current_ancestor_cgroup_id(struct sim *sim, u64 level)
{
    return (u32)level == 0 ? 1 : (u32)level == 1 ? sim->cgroup_id : 0;
}

s64 bpf_get_ns_current_pid_tgid(struct sim *sim, u64 dev, u64 ino, u8 *to, u64 size)
{
    if ((u32)size != 8 || dev != sim->pid_ns_dev || ino != sim->pid_ns_ino) {
        memset(to, 0, (u32)size);
        return -EINVAL;
    }
    memcpy(to, &sim->pid, 4);
    memcpy(to + 4, &sim->tgid, 4);
    return 0;
}

s64 bpf_strncmp(struct sim *sim, const u8 *one, u64 size, const u8 *other)
{
    u64 room = 0;
    u32 i;
    if (!in_kernel(sim, (u64)other, &room))
        return -EFAULT;
    for (i = 0; i < (u32)size && i < room; i++) {
        if (one[i] != other[i])
            return (s64)one[i] - (s64)other[i];
        if (!one[i])
            return 0;
    }
    return 0;
}
