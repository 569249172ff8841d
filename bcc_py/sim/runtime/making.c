/* The life of a map. Whether such a map may be made is decided before (sim/creation.py); here its memory is taken, and
   given back when no program can know it any more. */

static s32 ring_new(struct map *map)
{
    map->rings = (struct ring *)calloc(1, sizeof(struct ring));
    if (!map->rings)
        return -ENOMEM;
    map->rings->size = map->max_entries;
    map->slot_bytes = 2 * (u64)map->max_entries;
    map->slots = pages_take(map->slot_bytes);
    map->rings->bytes = map->slots;
    return map->slots ? own(map->sim, map->slots, map->slot_bytes) : -ENOMEM;
}

static s32 take_memory(struct map *map)
{
    switch (map->type) {
    case MAP_RINGBUF:
    case MAP_USER_RINGBUF:
        return ring_new(map);
    case MAP_PERF_EVENT_ARRAY:
        map->rings = (struct ring *)calloc(map->max_entries, sizeof(struct ring));
        return map->rings ? 0 : -ENOMEM;
    case MAP_LRU_HASH:
    case MAP_LRU_PERCPU_HASH:
        return lru_new(map);
    case MAP_HASH_OF_MAPS:
    case MAP_DEVMAP_HASH:
    case MAP_SOCKHASH:
        return object_hash_new(map);
    case MAP_HASH:
    case MAP_PERCPU_HASH:
        return hash_new(map, 0);
    case MAP_ARRAY:
    case MAP_PERCPU_ARRAY:
    case MAP_STRUCT_OPS:
        return array_new(map);
    case MAP_LPM_TRIE:
        return trie_new(map);
    case MAP_STACK_TRACE:
        return stacks_new(map);
    case MAP_QUEUE:
    case MAP_STACK:
        return queue_new(map);
    case MAP_BLOOM_FILTER:
        return bloom_new(map);
    case MAP_ARENA:
        return arena_new(map);
    default:
        if (is_storage(map->type) || is_cgroup_storage(map->type))
            return storage_new(map);
        return is_objects(map->type) ? objects_new(map) : -ENOTSUPP;
    }
}

void map_free(struct sim *sim, struct map *map)
{
    u32 cpu;
    socket_map_ends(map);
    if (map->slots)
        disown(sim, map->slots);
    if (map->cpu_values)
        disown(sim, map->cpu_values);
    timers_forget(sim, map);
    bury(sim, map->slots, map->slot_bytes);
    bury(sim, map->buckets, map->bucket_bytes);
    bury(sim, map->cpu_values, map->cpu_bytes);
    for (cpu = 0; map->rings && map->type == MAP_PERF_EVENT_ARRAY && cpu < map->max_entries; cpu++)
        bury(sim, map->rings[cpu].bytes, 0);
    bury(sim, map->rings, 0);
    bury(sim, map->pools, 0);
    lru_free(map);
    bury(sim, map->fields, 0);
    bury(sim, map->arena, 0);
    bury(sim, map, 0);
    sim->maps--;
    sim_reclaim(sim);
}

/* The map, or null with the reason in error. */
struct map *map_new(struct sim *sim, u32 type, u32 key_size, u32 value_size, u32 max_entries, u32 flags, u64 extra, s32 *error)
{
    struct map *map = (struct map *)calloc(1, sizeof(struct map));
    u32 is_percpu = type == MAP_PERCPU_HASH || type == MAP_PERCPU_ARRAY || type == MAP_LRU_PERCPU_HASH
                    || type == MAP_PERCPU_CGROUP_STORAGE;
    *error = -ENOMEM;
    if (!map)
        return map;
    map->sim = sim;
    map->type = type;
    map->key_size = key_size;
    map->value_size = value_size;
    map->max_entries = max_entries;
    map->flags = flags;
    map->extra = extra;
    map->id = ++sim->next_map;
    map->cpus = is_percpu ? sim->cpus : 1;
    map->stride = (value_size + 7) & ~7u;
    map->cpu_stride = is_percpu;
    sim->maps++;
    *error = take_memory(map);
    if (*error) {
        map_free(sim, map);
        return (struct map *)0;
    }
    socket_map_began(map);
    return map;
}
