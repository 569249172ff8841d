/* Arrays of values. An array that programs may use without a call has its values at slots, one after the other; a per-CPU
   array has the values of each CPU together, so that two CPUs share no cache line. */

static u32 index_of(const u8 *key)
{
    u32 index;
    memcpy(&index, key, 4);
    return index;
}

static u8 *array_value_on(struct map *map, u32 index, u32 cpu)
{
    return map->slots + (u64)index * map->node_size + (u64)cpu * map->cpu_stride;
}

static s32 array_check(struct map *map, u32 index, u64 flags)
{
    if (index >= map->max_entries)
        return -E2BIG;
    return flags & BPF_NOEXIST ? -EEXIST : 0;
}

static s32 array_update(struct map *map, u32 who, const u8 *key, const u8 *value, u64 flags, u32 is_all)
{
    u32 index = index_of(key);
    s32 error = array_check(map, index, flags);
    u32 i;
    u8 *place;
    if (error)
        return error;
    if (is_all && map->cpu_stride) {
        for (i = 0; i < map->cpus; i++)
            memcpy(array_value_on(map, index, i), value + (u64)i * map->stride, map->stride);
        return 0;
    }
    place = array_value_on(map, index, map->cpu_stride ? who : 0);
    if (flags & BPF_F_LOCK) {
        copy_locked(map, place, value, 0);
        return 0;
    }
    copy_in_value(map, place, value);
    if (map->field_count)
        free_fields(map, place);
    return 0;
}

static s32 array_read(struct map *map, const u8 *key, u8 *value, u64 flags)
{
    u32 index = index_of(key);
    u32 i;
    if (index >= map->max_entries)
        return -ENOENT;
    if (map->cpu_stride) {
        for (i = 0; i < map->cpus; i++)
            memcpy(value + (u64)i * map->stride, array_value_on(map, index, i), map->stride);
        return 0;
    }
    if (flags & BPF_F_LOCK)
        copy_locked(map, value, array_value_on(map, index, 0), 1);
    else
        copy_out_value(map, value, array_value_on(map, index, 0));
    return 0;
}

static s32 array_next(struct map *map, const u8 *key, u8 *next)
{
    u32 index = 0;
    if (key) {
        memcpy(&index, key, 4);
        if (index == map->max_entries - 1)
            return -ENOENT;
        index = index < map->max_entries ? index + 1 : 0;
    }
    memcpy(next, &index, 4);
    return 0;
}

static s32 array_new(struct map *map)
{
    map->node_size = map->stride;
    map->slot_bytes = (u64)map->stride * map->max_entries;
    if (map->cpu_stride) {
        map->cpu_stride = (map->slot_bytes + PAGE_MASK) & ~PAGE_MASK;
        map->slot_bytes = map->cpu_stride * map->cpus;
    }
    map->slots = pages_take(map->slot_bytes);
    return map->slots ? own(map->sim, map->slots, map->slot_bytes) : -ENOMEM;
}

s64 for_each_array(struct cpu *cpu, struct map *map, u64 callback, u64 context)
{
    u64 (*call)(struct cpu *cpu, u64 map, u64 key, u64 value, u64 context, u64 zero);
    u32 index;
    u32 key;
    call = (u64 (*)(struct cpu *, u64, u64, u64, u64, u64))callback;
    for (index = 0; index < map->max_entries; index++) {
        key = index;
        if (call(cpu, (u64)map, (u64)&key, (u64)array_value_on(map, index, cpu->number), context, 0))
            return (s64)index + 1;
    }
    return map->max_entries;
}
