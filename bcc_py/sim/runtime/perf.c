/* Reading the counters of a perf event array. What lies in one here is a software event, whose counter is its CPU's and
   stays 0; a place without an event is -ENOENT, another CPU's event -EINVAL (kernel/trace/bpf_trace.c). */

enum { COUNTER_BYTES = 24 };

static s64 counter_of(struct cpu *cpu, struct map *map, u64 flags)
{
    u32 index = (u32)flags;
    if (flags > INDEX_MASK)
        return -EINVAL;
    if (index == INDEX_MASK)
        index = cpu->number;
    if (index >= map->max_entries)
        return -E2BIG;
    if (!map->rings[index].bytes)
        return -ENOENT;
    return index == cpu->number ? 0 : -EINVAL;
}

s64 bpf_perf_event_read(struct cpu *cpu, struct map *map, u64 flags)
{
    return counter_of(cpu, map, flags);
}

s64 bpf_perf_event_read_value(struct cpu *cpu, struct map *map, u64 flags, u8 *to, u64 size)
{
    s64 error = (u32)size == COUNTER_BYTES ? counter_of(cpu, map, flags) : -EINVAL;
    memset(to, 0, (u32)size);
    return error;
}
