/* Values with parts that the kernel keeps for itself: locks, timers, pointers to objects. Copies into and out of a map
   leave them out, a reader gets zeros for them, and a value that goes away gives up what they hold. */

enum { FIELD_SPIN_LOCK = 1, FIELD_TIMER = 2, FIELD_POINTER = 3, FIELD_OTHER = 4, FIELD_WORK = 5 };

static void timer_drop(struct sim *sim, u8 *place);

static void copy_around(struct map *map, u8 *to, const u8 *from)
{
    u32 at = 0;
    u32 i;
    for (i = 0; i < map->field_count; i++) {
        memmove(to + at, from + at, map->fields[i].offset - at);
        at = map->fields[i].offset + map->fields[i].size;
    }
    memmove(to + at, from + at, map->value_size - at);
}

static inline __attribute__((always_inline)) void copy_in_value(struct map *map, u8 *to, const u8 *from)
{
    u64 word;
    if (map->field_count) {
        copy_around(map, to, from);
    } else if (map->value_size == 8) {
        memcpy(&word, from, 8);
        memcpy(to, &word, 8);
    } else {
        memmove(to, from, map->value_size);
    }
}

static void zero_fields(struct map *map, u8 *value)
{
    u32 i;
    for (i = 0; i < map->field_count; i++)
        memset(value + map->fields[i].offset, 0, map->fields[i].size);
}

static void copy_out_value(struct map *map, u8 *to, const u8 *from)
{
    memcpy(to, from, map->value_size);
    zero_fields(map, to);
}

/* What value's fields hold is given up; its lock stays as it is, for somebody may hold it. */
static void free_fields(struct map *map, u8 *value)
{
    u32 i;
    for (i = 0; i < map->field_count; i++) {
        if (map->fields[i].kind == FIELD_TIMER || map->fields[i].kind == FIELD_WORK)
            timer_drop(map->sim, value + map->fields[i].offset);
        if (map->fields[i].kind != FIELD_SPIN_LOCK)
            memset(value + map->fields[i].offset, 0, map->fields[i].size);
    }
}

/* The value's spin lock, or null. */
static u32 *lock_in(struct map *map, u8 *value)
{
    u32 i;
    for (i = 0; i < map->field_count; i++)
        if (map->fields[i].kind == FIELD_SPIN_LOCK)
            return (u32 *)(value + map->fields[i].offset);
    return (u32 *)0;
}

static void copy_locked(struct map *map, u8 *to, const u8 *from, u32 is_out)
{
    u32 *lock = lock_in(map, is_out ? (u8 *)from : to);
    lock_take(lock);
    if (is_out)
        copy_out_value(map, to, from);
    else
        copy_around(map, to, from);
    lock_give(lock);
}

/* Where the kernel's parts of a value are, ascending. */
s32 map_set_fields(struct map *map, const struct field *fields, u32 count)
{
    map->fields = (struct field *)calloc(count, sizeof(struct field));
    if (!map->fields)
        return -ENOMEM;
    memcpy(map->fields, fields, count * sizeof(struct field));
    map->field_count = count;
    return 0;
}

s64 bpf_spin_lock(struct cpu *cpu, u32 *lock)
{
    (void)cpu;
    lock_take(lock);
    return 0;
}

s64 bpf_spin_unlock(struct cpu *cpu, u32 *lock)
{
    (void)cpu;
    lock_give(lock);
    return 0;
}

/* The pointer that was in a value; the new one is there instead. */
u64 bpf_kptr_xchg(struct cpu *cpu, u64 *place, u64 pointer)
{
    (void)cpu;
    return __atomic_exchange_n(place, pointer, ORDERED);
}
