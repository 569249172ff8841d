/* Any map: what programs and Python call, by the type of the map.

   The meanings and the errors are those of kernel/bpf/syscall.c and of each type's map_ops. A caller outside programs has
   one spare node of its own in each hash, so only one of them changes a map at a time. */

static int is_hash(u32 type)
{
    return type == MAP_HASH || type == MAP_PERCPU_HASH || type == MAP_LRU_HASH || type == MAP_LRU_PERCPU_HASH;
}

/* What Python reads and writes as a hash: a storage by the number of its owner. */
static int is_keyed(u32 type)
{
    return is_hash(type) || is_storage(type) || is_cgroup_storage(type);
}

static int is_array(u32 type)
{
    return type == MAP_ARRAY || type == MAP_PERCPU_ARRAY;
}

/* Whose values, as programs give them, are sockets themselves. */
static int is_sockmap(u32 type)
{
    return type == MAP_SOCKMAP || type == MAP_SOCKHASH;
}

static s32 any_update(struct map *map, u32 who, const u8 *key, const u8 *value, u64 flags, u32 is_all)
{
    switch (map->type) {
    case MAP_HASH:
    case MAP_PERCPU_HASH:
        return hash_update(map, who, key, value, flags, is_all);
    case MAP_LRU_HASH:
        return lru_update(map, who, key, value, flags);
    case MAP_LRU_PERCPU_HASH:
        return lru_percpu_update(map, who, key, value, flags, is_all);
    case MAP_ARRAY:
    case MAP_PERCPU_ARRAY:
        return array_update(map, who, key, value, flags, is_all);
    case MAP_LPM_TRIE:
        return trie_update(map, key, value, flags);
    case MAP_SOCKMAP:
    case MAP_SOCKHASH:
        return sock_map_put(map, key, (struct sock *)value, flags);
    default:
        return is_keyed(map->type) ? hash_update(map, who, key, value, flags, is_all) : -EINVAL;
    }
}

static u32 has_lock(struct map *map)
{
    u32 i;
    for (i = 0; i < map->field_count; i++)
        if (map->fields[i].kind == FIELD_SPIN_LOCK)
            return 1;
    return 0;
}

/* Flags are judged first, but a socket's state before them; an array's index comes before the question whether its values have a lock. */
static s32 update_checked(struct map *map, u32 who, const u8 *key, const u8 *value, u64 flags, u32 is_all)
{
    u32 may_lock = map->type == MAP_HASH || is_array(map->type) || is_storage(map->type) || map->type == MAP_CGROUP_STORAGE;
    s32 error = 0;
    if ((may_lock ? flags & ~(u64)BPF_F_LOCK : flags) > BPF_EXIST)
        return is_sockmap(map->type) ? sock_map_put(map, key, (struct sock *)value, flags) : -EINVAL;
    if (flags & BPF_F_LOCK) {
        if (is_array(map->type))
            error = array_check(map, index_of(key), flags);
        if (error || !has_lock(map))
            return error ? error : -EINVAL;
    }
    return any_update(map, who, key, value, flags, is_all);
}

/* ---- what Python calls: whole values, all CPUs of a per-CPU map ---- */

s32 map_read(struct map *map, const u8 *key, u8 *value, u64 flags)
{
    if (is_keyed(map->type))
        return hash_read(map, key, value, flags);
    if (is_array(map->type))
        return array_read(map, key, value, flags);
    switch (map->type) {
    case MAP_LPM_TRIE:
        return trie_read(map, key, value);
    case MAP_STACK_TRACE:
        return stack_read(map, key, value, 0);
    case MAP_QUEUE:
    case MAP_STACK:
        return (s32)queue_take(map, value, 0);
    case MAP_BLOOM_FILTER:
        return (s32)bloom_peek(map, value);
    default:
        return is_objects(map->type) || is_object_hash(map->type) ? object_read(map, key, value) : -EOPNOTSUPP;
    }
}

s32 map_write(struct map *map, const u8 *key, const u8 *value, u64 flags)
{
    s32 error;
    if (is_queue(map->type))
        return (s32)queue_push(map, value, flags);
    if (map->type == MAP_BLOOM_FILTER)
        return (s32)bloom_push(map, value, flags);
    lock_take(&map->outside);
    error = update_checked(map, map->sim->cpus, key, value, flags, 1);
    lock_give(&map->outside);
    return error;
}

/* Takes key out; its value goes to value, unless that is null. */
s32 map_take(struct map *map, const u8 *key, u8 *value, u64 flags)
{
    s32 error;
    if (is_queue(map->type))
        return value ? (s32)queue_take(map, value, 1) : -EINVAL;
    if (map->type == MAP_STACK_TRACE)
        return value ? stack_read(map, key, value, 1) : stack_delete(map, key);
    if (map->type == MAP_LPM_TRIE && !value)
        return trie_delete(map, key);
    if (map->type == MAP_PERF_EVENT_ARRAY && !value)
        return index_of(key) < map->max_entries ? perf_delete(map, index_of(key)) : -E2BIG;
    if (!is_keyed(map->type))
        return value ? -ENOTSUPP : is_objects(map->type) || is_object_hash(map->type) ? object_delete(map, key) : -EINVAL;
    lock_take(&map->outside);
    error = hash_delete(map, map->sim->cpus, key, value, flags);
    lock_give(&map->outside);
    return error;
}

/* The key after key (null, or a key that is not there: the first) into next. */
s32 map_next(struct map *map, const u8 *key, u8 *next)
{
    if (is_keyed(map->type) || is_object_hash(map->type))
        return hash_next(map, key, next);
    if (map->type == MAP_LPM_TRIE)
        return trie_next(map, key, next);
    if (map->type == MAP_STACK_TRACE)
        return stack_next(map, key, next);
    if (is_array(map->type) || is_objects(map->type) || map->type == MAP_PERF_EVENT_ARRAY)
        return array_next(map, key, next);
    return -EINVAL;
}

s32 map_batch(struct map *map, u32 *number, u8 *keys, u8 *values, u32 *count, u32 is_delete)
{
    s32 error;
    lock_take(&map->outside);
    error = hash_batch(map, map->sim->cpus, number, keys, values, count, is_delete);
    lock_give(&map->outside);
    return error;
}

/* ---- what programs call ---- */

static inline __attribute__((always_inline)) u8 *lookup_sized(struct cpu *cpu, struct map *map, const u8 *key, u32 key_size)
{
    switch (map->type) {
    case MAP_HASH:
        return hot_hash_lookup(map, key, key_size);
    case MAP_PERCPU_HASH:
        return hot_percpu_hash_lookup(cpu, map, key, key_size);
    case MAP_LRU_HASH:
        return hot_lru_lookup(map, key, key_size);
    default:
        return hot_lru_percpu_hash_lookup(cpu, map, key, key_size);
    }
}

static u8 *lookup_other(struct map *map, const u8 *key)
{
    struct prefix *found;
    if (map->type == MAP_LPM_TRIE) {
        found = trie_find(map, key);
        return found ? prefix_value(map, found) : (u8 *)0;
    }
    return is_objects(map->type) || is_object_hash(map->type) ? object_lookup(map, key) : (u8 *)0;
}

u8 *bpf_map_lookup_elem(struct cpu *cpu, struct map *map, const u8 *key)
{
    if (map->type == MAP_ARRAY)
        return hot_array_lookup(map, key);
    if (map->type == MAP_PERCPU_ARRAY)
        return hot_percpu_array_lookup(cpu, map, key);
    if (!is_hash(map->type))
        return lookup_other(map, key);
    if (map->key_size == 8)
        return lookup_sized(cpu, map, key, 8);
    if (map->key_size == 4)
        return lookup_sized(cpu, map, key, 4);
    return lookup_sized(cpu, map, key, map->key_size);
}

u8 *bpf_map_lookup_percpu_elem(struct cpu *cpu, struct map *map, const u8 *key, u64 number)
{
    struct node *node;
    u8 *value;
    (void)cpu;
    if (!map->cpu_stride || (u32)number >= map->cpus)
        return (u8 *)0;
    if (map->type == MAP_PERCPU_ARRAY) {
        value = hot_array_lookup(map, key);
        return value ? value + (u64)(u32)number * map->cpu_stride : value;
    }
    node = hot_hash_node(map, key, map->key_size);
    if (node && map->lru)
        node->was_used = 1;
    return node ? hot_percpu_value(map, node, map->key_size, (u32)number) : (u8 *)0;
}

s64 bpf_map_update_elem(struct cpu *cpu, struct map *map, const u8 *key, const u8 *value, u64 flags)
{
    return update_checked(map, cpu->number, key, value, flags, 0);
}

s64 bpf_map_delete_elem(struct cpu *cpu, struct map *map, const u8 *key)
{
    if (is_hash(map->type))
        return hash_delete(map, cpu->number, key, (u8 *)0, 0);
    if (map->type == MAP_LPM_TRIE)
        return trie_delete(map, key);
    return map->type == MAP_SOCKMAP || map->type == MAP_SOCKHASH ? object_delete(map, key) : -EINVAL;
}

s64 bpf_map_push_elem(struct cpu *cpu, struct map *map, const u8 *value, u64 flags)
{
    (void)cpu;
    if (map->type == MAP_BLOOM_FILTER)
        return bloom_push(map, value, flags);
    return is_queue(map->type) ? queue_push(map, value, flags) : -EINVAL;
}

s64 bpf_map_pop_elem(struct cpu *cpu, struct map *map, u8 *value)
{
    (void)cpu;
    return is_queue(map->type) ? queue_take(map, value, 1) : map->type == MAP_BLOOM_FILTER ? -EOPNOTSUPP : -EINVAL;
}

s64 bpf_map_peek_elem(struct cpu *cpu, struct map *map, u8 *value)
{
    (void)cpu;
    if (map->type == MAP_BLOOM_FILTER)
        return bloom_peek(map, value);
    return is_queue(map->type) ? queue_take(map, value, 0) : -EINVAL;
}

/* callback(map, key, value, context) for each element, until it answers 1: how many it was called for. */
s64 bpf_for_each_map_elem(struct cpu *cpu, struct map *map, u64 callback, u64 context, u64 flags)
{
    if (flags || (!is_hash(map->type) && !is_array(map->type)))
        return -EINVAL;
    return is_array(map->type) ? for_each_array(cpu, map, callback, context) : for_each_hash(cpu, map, callback, context);
}
