/* Maps of what is not bytes: programs, maps, perf events, control groups, devices, CPUs, sockets.

   A slot holds what programs get and what a reader outside is shown (an id). Who changes a slot keeps the object alive for
   as long as it is there and a program may still run that found it. */

struct object {
    u64 pointer; /* 0: nothing there */
    u64 shown;
};

static u32 is_objects(u32 type)
{
    switch (type) {
    case MAP_PROG_ARRAY:
    case MAP_CGROUP_ARRAY:
    case MAP_ARRAY_OF_MAPS:
    case MAP_DEVMAP:
    case MAP_CPUMAP:
    case MAP_XSKMAP:
    case MAP_SOCKMAP:
    case MAP_REUSEPORT_SOCKARRAY:
        return 1;
    default:
        return 0;
    }
}

static u32 is_object_hash(u32 type)
{
    return type == MAP_HASH_OF_MAPS || type == MAP_DEVMAP_HASH || type == MAP_SOCKHASH;
}

static u32 holds_sockets(u32 type)
{
    return type == MAP_SOCKMAP || type == MAP_SOCKHASH || type == MAP_REUSEPORT_SOCKARRAY || type == MAP_XSKMAP;
}

static struct object *object_find(struct map *map, const u8 *key)
{
    u32 index;
    if (is_object_hash(map->type))
        return (struct object *)hot_hash_lookup(map, key, map->key_size);
    index = index_of(key);
    return index < map->max_entries ? (struct object *)map->slots + index : (struct object *)0;
}

/* Puts an object where key says; pointer 0: takes it away (an array's). */
s32 object_put(struct map *map, const u8 *key, u64 pointer, u64 shown, u64 flags)
{
    struct object object;
    struct object *place;
    s32 error;
    object.pointer = pointer;
    object.shown = shown;
    if (is_object_hash(map->type)) {
        lock_take(&map->outside);
        error = hash_update(map, map->sim->cpus, key, (const u8 *)&object, flags, 0);
        lock_give(&map->outside);
        return error;
    }
    place = object_find(map, key);
    if (!place)
        return -E2BIG;
    __atomic_store_n(&place->pointer, pointer, RELEASE);
    place->shown = shown;
    return 0;
}

/* What key's object is shown as; -ENOENT where there is none. */
static s32 object_read(struct map *map, const u8 *key, u8 *value)
{
    struct object *place;
    u32 size = is_object_hash(map->type) ? (u32)map->extra : map->value_size;
    if (holds_sockets(map->type))
        return sock_map_read(map, key, value, size);
    place = object_find(map, key);
    if (!place || !place->pointer)
        return -ENOENT;
    memcpy(value, &place->shown, size);
    return 0;
}

static s32 object_delete(struct map *map, const u8 *key)
{
    struct object *place;
    s32 error;
    if (holds_sockets(map->type))
        return sock_map_take(map, key);
    if (is_object_hash(map->type)) {
        lock_take(&map->outside);
        error = hash_delete(map, map->sim->cpus, key, (u8 *)0, 0);
        lock_give(&map->outside);
        return error;
    }
    place = object_find(map, key);
    if (!place)
        return map->type == MAP_DEVMAP || map->type == MAP_CPUMAP ? -EINVAL : -E2BIG;
    if (!__atomic_exchange_n(&place->pointer, 0, ORDERED))
        return map->type == MAP_DEVMAP || map->type == MAP_CPUMAP ? 0 : -ENOENT;
    return 0;
}

static s32 objects_new(struct map *map)
{
    map->node_size = sizeof(struct object);
    map->slot_bytes = (u64)map->node_size * map->max_entries;
    map->slots = pages_take(map->slot_bytes);
    return map->slots ? 0 : -ENOMEM;
}

/* A hash's values are struct objects here; extra is how many bytes of them a reader is shown. */
static s32 object_hash_new(struct map *map)
{
    map->extra = map->value_size;
    map->value_size = sizeof(struct object);
    map->stride = sizeof(struct object);
    return hash_new(map, 0);
}

/* One more reference of a socket that was found in a map, unless it is ending: then null. */
static u8 *socket_found(struct sock *sk)
{
    u32 seen = __atomic_load_n(&sk->references, RELAXED);
    while (seen)
        if (__atomic_compare_exchange_n(&sk->references, &seen, seen + 1, 0, ORDERED, RELAXED))
            return (u8 *)sk;
    return (u8 *)0;
}

/* What a program's look-up gives: the object, a socket with a reference, or of a device or a CPU where its value is. */
static u8 *object_lookup(struct map *map, const u8 *key)
{
    struct object *place = object_find(map, key);
    u64 pointer = place ? __atomic_load_n(&place->pointer, ACQUIRE) : 0;
    if (!pointer)
        return (u8 *)0;
    switch (map->type) {
    case MAP_DEVMAP:
    case MAP_DEVMAP_HASH:
    case MAP_CPUMAP:
        return (u8 *)&place->shown;
    case MAP_SOCKMAP:
    case MAP_SOCKHASH:
        return socket_found((struct sock *)pointer);
    case MAP_XSKMAP:
        return (u8 *)&((struct sock *)pointer)->queue_id;
    default:
        return (u8 *)pointer;
    }
}

/* Where a tail call to the program at index goes on, or null. */
void *tail_target(struct cpu *cpu, struct map *map, u32 index)
{
    struct object *place = (struct object *)map->slots + index;
    struct program *program;
    (void)cpu;
    if (map->type != MAP_PROG_ARRAY || index >= map->max_entries)
        return (void *)0;
    program = (struct program *)__atomic_load_n(&place->pointer, ACQUIRE);
    return program ? (void *)program->enter : (void *)0;
}

/* ---- where a packet is to go ---- */

enum { XDP_ABORTED = 0, XDP_REDIRECT = 4, ACTION_MASK = 3, REDIRECT_BROADCAST = 8, REDIRECT_EXCLUDE_INGRESS = 16 };

s64 bpf_redirect_map(struct cpu *cpu, struct map *map, u64 key, u64 flags)
{
    u32 index = (u32)key;
    u32 is_device = map->type == MAP_DEVMAP || map->type == MAP_DEVMAP_HASH;
    u64 known = ACTION_MASK | (is_device ? REDIRECT_BROADCAST | REDIRECT_EXCLUDE_INGRESS : 0);
    if (flags & ~known)
        return XDP_ABORTED;
    cpu->redirect_map = 0;
    if (!object_lookup(map, (const u8 *)&index) && !(flags & REDIRECT_BROADCAST))
        return (s64)(flags & ACTION_MASK);
    cpu->redirect_map = (u64)map;
    cpu->redirect_index = index;
    cpu->redirect_flags = (u32)flags;
    return XDP_REDIRECT;
}
