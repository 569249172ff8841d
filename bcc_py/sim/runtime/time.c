/* Helpers about time, chance and the CPU: all from the CPU's own state, so two runs with one seed are the same. */

enum { TICK_NS = 4000000 };
enum { BRANCHES_BYTES_FLAG = 1, MAX_LOOPS = 8388608 };

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

/* The clock of the world outside, without leap seconds. */
u64 bpf_ktime_get_tai_ns(struct cpu *cpu)
{
    return cpu->time_ns + cpu->sim->tai_offset_ns;
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

/* A simulated CPU records no branches, as a virtual machine's does not. */
s64 bpf_get_branch_snapshot(struct cpu *cpu, u8 *to, u64 size, u64 flags)
{
    (void)cpu;
    (void)to;
    (void)size;
    return flags ? -EINVAL : -ENOENT;
}

s64 bpf_read_branch_records(struct cpu *cpu, u8 *context, u8 *to, u64 size, u64 flags)
{
    (void)cpu;
    (void)context;
    (void)to;
    (void)size;
    return flags & ~(u64)BRANCHES_BYTES_FLAG ? -EINVAL : -ENOENT;
}

/* What the attachment was made with. */
u64 bpf_get_attach_cookie(struct cpu *cpu, u8 *context)
{
    (void)context;
    return cpu->cookie;
}

/* The function at whose entry or return this is. */
u64 bpf_get_func_ip(struct cpu *cpu, u8 *context)
{
    (void)context;
    return cpu->function;
}

u64 bpf_get_func_arg_cnt(struct cpu *cpu, u8 *context)
{
    (void)context;
    return cpu->arguments;
}

s64 bpf_get_func_arg(struct cpu *cpu, const u8 *context, u64 index, u8 *to)
{
    if ((u32)index >= cpu->arguments)
        return -EINVAL;
    memcpy(to, context + (u64)(u32)index * 8, 8);
    return 0;
}

s64 bpf_get_func_ret(struct cpu *cpu, const u8 *context, u8 *to)
{
    if (!cpu->has_result)
        return -EOPNOTSUPP;
    memcpy(to, context + (u64)cpu->arguments * 8, 8);
    return 0;
}

s64 bpf_override_return(struct cpu *cpu, u8 *context, u64 result)
{
    (void)context;
    cpu->override = result;
    cpu->is_overridden = 1;
    return 0;
}

/* A callback that gives 1 ends the loop. How often it was called. */
s64 bpf_loop(struct cpu *cpu, u64 count, callback body, u64 context, u64 flags)
{
    u32 i;
    if (flags)
        return -EINVAL;
    if ((u32)count > MAX_LOOPS)
        return -E2BIG;
    for (i = 0; i < (u32)count; i++)
        if (body(cpu, i, context, 0, 0, 0))
            return (s64)i + 1;
    return i;
}
