/* Helpers about stacks: those that the event's source said the current event has (SimKernel.set_stack), innermost address
   first. Another task than the current one has no kernel stack that anybody knows. Errors, and what is left of the
   destination, as kernel/bpf/stackmap.c of Linux 6.18 has them. */

enum { SKIP_MASK = 255, USER_STACK = 1 << 8, COMPARE_HASH = 1 << 9, REUSE_ID = 1 << 10, BUILD_IDS = 1 << 11, BUILD_ID_BYTES = 32, BUILD_ID_VALID = 1, BUILD_ID_IS_IP = 2, MAX_DEPTH = 127 };

/* The part of a file with a build id that the address lies in, or null. */
static const struct file_part *part_of(struct cpu *cpu, u64 ip)
{
    u32 i;
    for (i = 0; i < cpu->file_count; i++)
        if (ip >= cpu->files[i].start && ip < cpu->files[i].end)
            return cpu->files[i].has_build_id ? cpu->files + i : (const struct file_part *)0;
    return (const struct file_part *)0;
}

/* One address as struct bpf_stack_build_id: what of which file, or, where that is not known, the address. */
static void put_build_id(struct cpu *cpu, u8 *to, u64 ip, int is_user)
{
    const struct file_part *part = is_user ? part_of(cpu, ip) : (const struct file_part *)0;
    s32 status = part ? BUILD_ID_VALID : BUILD_ID_IS_IP;
    memset(to, 0, BUILD_ID_BYTES);
    memcpy(to, &status, 4);
    if (part) {
        memcpy(to + 4, part->build_id, 20);
        ip = ip - part->start + part->offset;
    }
    memcpy(to + 24, &ip, 8);
}

static s64 put_stack(struct cpu *cpu, const u64 *ips, u32 depth, u8 *to, u64 size, u64 flags)
{
    u32 each = flags & BUILD_IDS ? BUILD_ID_BYTES : 8;
    u32 skip = (u32)flags & SKIP_MASK;
    u64 count = size / each;
    u64 i;
    if (depth > MAX_DEPTH)
        depth = MAX_DEPTH;
    if (count + skip > MAX_DEPTH)
        count = MAX_DEPTH > skip ? MAX_DEPTH - skip : 0;
    if (depth < skip) {
        memset(to, 0, size);
        return -EFAULT;
    }
    if (count > depth - skip)
        count = depth - skip;
    for (i = 0; i < count; i++) {
        if (flags & BUILD_IDS)
            put_build_id(cpu, to + i * each, ips[skip + i], 1);
        else
            memcpy(to + i * each, ips + skip + i, 8);
    }
    memset(to + count * each, 0, size - count * each);
    return (s64)(count * each);
}

static s64 stack_of(struct cpu *cpu, u8 *to, u64 size, u64 flags)
{
    int is_user = (flags & USER_STACK) != 0;
    int is_wrong = (flags & ~(u64)(SKIP_MASK | USER_STACK | BUILD_IDS)) || (!is_user && (flags & BUILD_IDS));
    if (is_wrong || size % (flags & BUILD_IDS ? BUILD_ID_BYTES : 8)) {
        memset(to, 0, size);
        return -EINVAL;
    }
    return is_user ? put_stack(cpu, cpu->user_ips, cpu->user_depth, to, size, flags) :
        put_stack(cpu, cpu->kernel_ips, cpu->kernel_depth, to, size, flags);
}

s64 bpf_get_stack(struct cpu *cpu, u8 *context, u8 *to, u64 size, u64 flags)
{
    (void)context;
    return stack_of(cpu, to, (u32)size, flags);
}

s64 bpf_get_task_stack(struct cpu *cpu, u64 task, u8 *to, u64 size, u64 flags)
{
    if (task == cpu->task)
        return stack_of(cpu, to, (u32)size, flags);
    memset(to, 0, (u32)size);
    if (flags & ~(u64)(SKIP_MASK | USER_STACK | BUILD_IDS))
        return -EINVAL;
    return flags & USER_STACK ? -EOPNOTSUPP : flags & SKIP_MASK ? -EFAULT : 0;
}

static s64 store_with_build_ids(struct cpu *cpu, struct map *map, const u64 *ips, u32 count, u64 flags)
{
    u8 rows[MAX_DEPTH * BUILD_ID_BYTES];
    u32 i;
    if (count > map->value_size / BUILD_ID_BYTES)
        count = map->value_size / BUILD_ID_BYTES;
    for (i = 0; i < count; i++)
        put_build_id(cpu, rows + i * BUILD_ID_BYTES, ips[i], (flags & USER_STACK) != 0);
    return stack_rows_store(map, ips, rows, BUILD_ID_BYTES, count, flags);
}

/* The id of the stack in a map of stacks, which the map gives it. */
s64 bpf_get_stackid(struct cpu *cpu, u8 *context, struct map *map, u64 flags)
{
    int is_user = (flags & USER_STACK) != 0;
    const u64 *ips = is_user ? cpu->user_ips : cpu->kernel_ips;
    u32 depth = is_user ? cpu->user_depth : cpu->kernel_depth;
    u32 skip = (u32)flags & SKIP_MASK;
    (void)context;
    if (flags & ~(u64)(SKIP_MASK | USER_STACK | COMPARE_HASH | REUSE_ID))
        return -EINVAL;
    if (depth <= skip)
        return -EFAULT;
    return map->flags & STACK_WITH_BUILD_IDS ? store_with_build_ids(cpu, map, ips + skip, depth - skip, flags) :
        stack_map_store(map, ips + skip, depth - skip, flags);
}
