/* Helpers that answer from the current state, and the life of a struct sim.

   A helper's name is bpf_ and its kernel name; its first argument is always the kernel, the others are
   the program's r1 to r5. Source of each meaning: include/uapi/linux/bpf.h. */

enum { TRACE_BYTES = 4194304, PAGE_BYTES = 65536, TICK_NS = 4000000 };

void sim_free(struct sim *sim)
{
    u32 i;
    if (!sim)
        return;
    sim_reclaim(sim);
    for (i = 0; sim->cpu && i < sim->cpus; i++)
        free(sim->cpu[i].page);
    free(sim->cpu);
    net_free(sim->net);
    free(sim->trace.bytes);
    free(sim->owned);
    free(sim);
}

static s32 cpus_new(struct sim *sim, u64 seed)
{
    u32 i;
    sim->cpu = (struct cpu *)calloc(sim->cpus, sizeof(struct cpu));
    if (!sim->cpu)
        return -ENOMEM;
    for (i = 0; i < sim->cpus; i++) {
        struct cpu *cpu = sim->cpu + i;
        cpu->sim = sim;
        cpu->number = i;
        cpu->random = (seed + i * 0x632be59bd9b4e019ull) * 0x9e3779b97f4a7c15ull + 0x853c49e6748fea9bull;
        cpu->page = (u8 *)calloc(1, PAGE_BYTES);
        cpu->page_size = PAGE_BYTES;
        if (!cpu->page)
            return -ENOMEM;
    }
    return 0;
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
    sim->trace.size = TRACE_BYTES;
    sim->trace.bytes = (u8 *)calloc(2, TRACE_BYTES);
    sim->net = net_new();
    if (!sim->trace.bytes || !sim->net || cpus_new(sim, seed)) {
        sim_free(sim);
        return (struct sim *)0;
    }
    return sim;
}

u64 bpf_ktime_get_ns(struct cpu *cpu)
{
    return cpu->time_ns;
}

u64 bpf_ktime_get_boot_ns(struct cpu *cpu)
{
    return cpu->time_ns + cpu->sim->boot_offset_ns;
}

/* The time of the last tick. */
u64 bpf_ktime_get_coarse_ns(struct cpu *cpu)
{
    return cpu->time_ns - cpu->time_ns % TICK_NS;
}

u64 bpf_jiffies64(struct cpu *cpu)
{
    return 0xffff8ad0ull + cpu->time_ns / TICK_NS;
}

/* PCG-like: a multiplicative step and a folded output. */
u64 bpf_get_prandom_u32(struct cpu *cpu)
{
    u64 mixed;
    cpu->random = cpu->random * 0x5851f42d4c957f2dull + 0x14057b7ef767814full;
    mixed = (cpu->random ^ (cpu->random >> 31)) * 0x9e3779b97f4a7c15ull;
    return mixed >> 32;
}

u64 bpf_get_smp_processor_id(struct cpu *cpu)
{
    return cpu->number;
}

u64 bpf_get_numa_node_id(struct cpu *cpu)
{
    (void)cpu;
    return 0;
}

u64 bpf_get_current_pid_tgid(struct cpu *cpu)
{
    return (u64)cpu->tgid << 32 | cpu->pid;
}

u64 bpf_get_current_uid_gid(struct cpu *cpu)
{
    return (u64)cpu->gid << 32 | cpu->uid;
}

s64 bpf_get_current_comm(struct cpu *cpu, u8 *to, u64 size)
{
    u32 room = (u32)size;
    u32 i;
    if (!room)
        return -EINVAL;
    for (i = 0; i < room && i < 16 && cpu->comm[i]; i++)
        to[i] = cpu->comm[i];
    if (i == room)
        i--;
    memset(to + i, 0, room - i);
    return 0;
}

u64 bpf_get_current_task(struct cpu *cpu)
{
    return cpu->task;
}

u64 bpf_get_current_cgroup_id(struct cpu *cpu)
{
    return cpu->cgroup_id;
}

/* There is one cgroup below the root. */
u64 bpf_get_current_ancestor_cgroup_id(struct cpu *cpu, u64 level)
{
    return (u32)level == 0 ? 1 : (u32)level == 1 ? cpu->cgroup_id : 0;
}

s64 bpf_get_ns_current_pid_tgid(struct cpu *cpu, u64 dev, u64 ino, u8 *to, u64 size)
{
    if ((u32)size != 8 || dev != cpu->sim->pid_ns_dev || ino != cpu->sim->pid_ns_ino) {
        memset(to, 0, (u32)size);
        return -EINVAL;
    }
    memcpy(to, &cpu->pid, 4);
    memcpy(to + 4, &cpu->tgid, 4);
    return 0;
}

s64 bpf_strncmp(struct cpu *cpu, const u8 *one, u64 size, const u8 *other)
{
    u64 room = 0;
    u32 i;
    if (!in_kernel(cpu, (u64)other, &room))
        return -EFAULT;
    for (i = 0; i < (u32)size && i < room; i++) {
        if (one[i] != other[i])
            return (s64)one[i] - (s64)other[i];
        if (!one[i])
            return 0;
    }
    return 0;
}
