/* Maps: arrays, hashes, their per-CPU and LRU kinds, queues and stacks.

   Input: keys and values as native bytes. Output: native pointers to values, or negative errno, chosen
   as kernel/bpf/{arraymap,hashtab,queue_stack_maps}.c choose them. All memory of a map is taken when it
   is made, so a value's address never changes while its key lives. A hash keeps the order of insertion
   in a list: iteration is repeatable, and deleting one key never makes another be skipped or seen twice.
   An LRU hash that is full gives up the least recently inserted entry that was not looked up since the
   last search (second chance). */

enum {
    ENOENT = 2, E2BIG = 7, EAGAIN = 11, ENOMEM = 12, EFAULT = 14, EBUSY = 16, EEXIST = 17,
    EINVAL = 22, ENOSPC = 28, EOPNOTSUPP = 95, ENOTSUPP = 524
};

enum {
    MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERF_EVENT_ARRAY = 4, MAP_PERCPU_HASH = 5, MAP_PERCPU_ARRAY = 6,
    MAP_LRU_HASH = 9, MAP_LRU_PERCPU_HASH = 10, MAP_QUEUE = 22, MAP_STACK = 23, MAP_RINGBUF = 27
};

enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };

/* map flags: NO_PREALLOC, NO_COMMON_LRU, NUMA_NODE, RDONLY, WRONLY, ZERO_SEED, RDONLY_PROG, WRONLY_PROG, MMAPABLE */
enum { NO_PREALLOC = 1 };
enum { FLAGS_HASH = 0x1fd, FLAGS_LRU = 0x1fe, FLAGS_ARRAY = 0x59c, FLAGS_PERCPU_ARRAY = 0x19c, FLAGS_RING = 0x4 };

/* what one kernel allocation can be, without a hash element's head */
enum { KMALLOC_BYTES = 4194304 - 48 };

/* in front of each key of a hash */
struct node {
    u32 chain; /* the next of the bucket, or of the free list */
    u32 hash;
    u32 before;
    u32 after;
    u32 is_live;
    u32 was_used;
};

void *calloc(unsigned long count, unsigned long size);
void free(void *memory);
void *memcpy(void *to, const void *from, unsigned long size);
void *memmove(void *to, const void *from, unsigned long size);
void *memset(void *to, int byte, unsigned long size);
int memcmp(const void *one, const void *other, unsigned long size);

s32 sched_yield(void);

/* ---- locks ---- */

enum { RELAXED = 0, ACQUIRE = 2, RELEASE = 3, SPINS = 200 };

/* A lock is a u32, 0 when free. Whoever holds one does little and never waits; a thread that lost its CPU while
   holding one is given it back by the others' yielding. */
static inline __attribute__((always_inline)) void lock_take(u32 *lock)
{
    u32 spins = 0;
    while (__atomic_exchange_n(lock, 1, ACQUIRE))
        while (__atomic_load_n(lock, RELAXED))
            if (++spins > SPINS)
                sched_yield();
}

static inline __attribute__((always_inline)) void lock_give(u32 *lock)
{
    __atomic_store_n(lock, 0, RELEASE);
}

/* ---- native memory that programs may be shown ---- */

static u32 owned_after(struct sim *sim, u64 address)
{
    u32 low = 0;
    u32 high = sim->owned_count;
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (sim->owned[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static s32 own_locked(struct sim *sim, void *memory, u64 size)
{
    u32 at;
    u32 i;
    if (sim->owned_count == sim->owned_room) {
        u32 room = sim->owned_room * 2 + 16;
        struct segment *larger = (struct segment *)calloc(room, sizeof(struct segment));
        if (!larger)
            return -ENOMEM;
        if (sim->owned_count)
            memcpy(larger, sim->owned, sim->owned_count * sizeof(struct segment));
        free(sim->owned);
        sim->owned = larger;
        sim->owned_room = room;
    }
    at = owned_after(sim, (u64)memory);
    for (i = sim->owned_count; i > at; i--)
        sim->owned[i] = sim->owned[i - 1];
    sim->owned[at].start = (u64)memory;
    sim->owned[at].end = (u64)memory + size;
    sim->owned[at].bytes = (u8 *)memory;
    sim->owned_count++;
    return 0;
}

static s32 own(struct sim *sim, void *memory, u64 size)
{
    s32 error;
    lock_take(&sim->owned_lock);
    error = own_locked(sim, memory, size);
    lock_give(&sim->owned_lock);
    return error;
}

static void disown(struct sim *sim, void *memory)
{
    u32 at;
    u32 i;
    lock_take(&sim->owned_lock);
    at = owned_after(sim, (u64)memory);
    if (at && sim->owned[at - 1].start == (u64)memory) {
        for (i = at; i < sim->owned_count; i++)
            sim->owned[i - 1] = sim->owned[i];
        sim->owned_count--;
    }
    lock_give(&sim->owned_lock);
}

/* ---- the making of maps ---- */

static int is_hash(u32 type)
{
    return type == MAP_HASH || type == MAP_PERCPU_HASH || type == MAP_LRU_HASH || type == MAP_LRU_PERCPU_HASH;
}

static int is_array(u32 type)
{
    return type == MAP_ARRAY || type == MAP_PERCPU_ARRAY;
}

static int is_lru(u32 type)
{
    return type == MAP_LRU_HASH || type == MAP_LRU_PERCPU_HASH;
}

static int is_percpu(u32 type)
{
    return type == MAP_PERCPU_HASH || type == MAP_PERCPU_ARRAY || type == MAP_LRU_PERCPU_HASH;
}

static int is_queue(u32 type)
{
    return type == MAP_QUEUE || type == MAP_STACK;
}

static u32 allowed_flags(u32 type)
{
    switch (type) {
    case MAP_HASH:
    case MAP_PERCPU_HASH:
        return FLAGS_HASH;
    case MAP_LRU_HASH:
    case MAP_LRU_PERCPU_HASH:
        return FLAGS_LRU;
    case MAP_ARRAY:
        return FLAGS_ARRAY;
    case MAP_PERCPU_ARRAY:
    case MAP_PERF_EVENT_ARRAY:
    case MAP_QUEUE:
    case MAP_STACK:
        return FLAGS_PERCPU_ARRAY;
    default:
        return FLAGS_RING;
    }
}

static s32 check_sizes(u32 type, u32 key_size, u32 value_size, u32 max_entries)
{
    if (!max_entries)
        return -EINVAL;
    if (type == MAP_RINGBUF) {
        if (key_size || value_size || (max_entries & (max_entries - 1)) || max_entries % 4096)
            return -EINVAL;
        return 0;
    }
    if (is_hash(type)) {
        if (!key_size || !value_size)
            return -EINVAL;
        return (u64)key_size + value_size >= KMALLOC_BYTES ? -E2BIG : 0;
    }
    if (is_queue(type)) {
        if (key_size || !value_size)
            return -EINVAL;
        return value_size > KMALLOC_BYTES ? -E2BIG : 0;
    }
    if (key_size != 4 || !value_size)
        return -EINVAL;
    if (type == MAP_PERF_EVENT_ARRAY)
        return value_size == 4 ? 0 : -EINVAL;
    if (value_size > 0x7fffffffu - 7)
        return -E2BIG;
    return type == MAP_PERCPU_ARRAY && value_size > 32768 ? -E2BIG : 0;
}

static u32 power_of_two_from(u32 n)
{
    u32 power = 1;
    while (power < n && power < 0x80000000u)
        power <<= 1;
    return power;
}

/* The storage of a hash, an array or a queue. */
static s32 take_slots(struct sim *sim, struct map *map)
{
    map->stride = (map->value_size + 7) & ~7u;
    map->cpus = is_percpu(map->type) ? sim->cpus : 1;
    if ((u64)map->stride * map->cpus > 0x40000000)
        return -E2BIG;
    map->node_size = map->stride * map->cpus;
    if (is_hash(map->type)) {
        map->key_room = (map->key_size + 7) & ~7u;
        map->node_size += sizeof(struct node) + map->key_room;
    }
    map->slot_bytes = (u64)map->node_size * map->max_entries;
    if (map->slot_bytes > 0x100000000ull)
        return -ENOMEM;
    if (is_hash(map->type)) {
        map->buckets = power_of_two_from(map->max_entries);
        map->heads = (u32 *)calloc(map->buckets, sizeof(u32));
        if (!map->heads)
            return -ENOMEM;
    }
    map->slots = (u8 *)calloc(map->max_entries, map->node_size);
    if (!map->slots)
        return -ENOMEM;
    return own(sim, map->slots, map->slot_bytes);
}

static s32 take_ring(struct sim *sim, struct map *map)
{
    map->rings = (struct ring *)calloc(1, sizeof(struct ring));
    if (!map->rings)
        return -ENOMEM;
    map->rings->size = map->max_entries;
    map->rings->bytes = (u8 *)calloc(2, map->max_entries);
    if (!map->rings->bytes)
        return -ENOMEM;
    return own(sim, map->rings->bytes, 2 * map->rings->size);
}

static s32 take_memory(struct sim *sim, struct map *map)
{
    if (map->type == MAP_RINGBUF)
        return take_ring(sim, map);
    if (map->type != MAP_PERF_EVENT_ARRAY)
        return take_slots(sim, map);
    if (map->max_entries > 65536)
        return -ENOMEM;
    map->rings = (struct ring *)calloc(map->max_entries, sizeof(struct ring));
    return map->rings ? 0 : -ENOMEM;
}

void map_free(struct sim *sim, struct map *map)
{
    u32 cpu;
    if (!map)
        return;
    if (map->slots)
        disown(sim, map->slots);
    free(map->slots);
    free(map->heads);
    if (map->rings && map->type == MAP_RINGBUF) {
        if (map->rings->bytes)
            disown(sim, map->rings->bytes);
        free(map->rings->bytes);
    }
    if (map->rings && map->type == MAP_PERF_EVENT_ARRAY)
        for (cpu = 0; cpu < map->max_entries; cpu++)
            free(map->rings[cpu].bytes);
    free(map->rings);
    free(map);
    sim->maps--;
}

/* The map, or null with the reason in error. */
struct map *map_new(struct sim *sim, u32 type, u32 key_size, u32 value_size, u32 max_entries, u32 flags, s32 *error)
{
    struct map *map;
    *error = check_sizes(type, key_size, value_size, max_entries);
    if (!*error && is_lru(type) && (flags & NO_PREALLOC))
        *error = -ENOTSUPP;
    if (!*error && (flags & ~allowed_flags(type)))
        *error = -EINVAL;
    if (*error)
        return (struct map *)0;
    map = (struct map *)calloc(1, sizeof(struct map));
    if (!map) {
        *error = -ENOMEM;
        return map;
    }
    map->type = type;
    map->key_size = key_size;
    map->value_size = value_size;
    map->max_entries = max_entries;
    map->flags = flags;
    sim->maps++;
    *error = take_memory(sim, map);
    if (*error) {
        map_free(sim, map);
        return (struct map *)0;
    }
    return map;
}

/* ---- hash ---- */

static struct node *node_at(struct map *map, u32 number)
{
    return (struct node *)(map->slots + (u64)(number - 1) * map->node_size);
}

static u8 *node_key(struct node *node)
{
    return (u8 *)node + sizeof(struct node);
}

static u8 *node_value(struct map *map, struct node *node)
{
    return (u8 *)node + sizeof(struct node) + map->key_room;
}

static u32 hash_of(const u8 *key, u32 size)
{
    u64 hash = 0x243f6a8885a308d3ull ^ size;
    u64 word;
    while (size >= 8) {
        memcpy(&word, key, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
        key += 8;
        size -= 8;
    }
    if (size >= 4) {
        u32 half;
        memcpy(&half, key, 4);
        hash = (hash ^ half) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
        key += 4;
        size -= 4;
    }
    while (size) {
        hash = (hash ^ *key) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
        key++;
        size--;
    }
    return (u32)(hash ^ hash >> 32);
}

static int same_key(const u8 *one, const u8 *other, u32 size)
{
    if (size == 4) {
        u32 a;
        u32 b;
        memcpy(&a, one, 4);
        memcpy(&b, other, 4);
        return a == b;
    }
    if (size == 8) {
        u64 a;
        u64 b;
        memcpy(&a, one, 8);
        memcpy(&b, other, 8);
        return a == b;
    }
    return memcmp(one, other, size) == 0;
}

static u32 hash_find(struct map *map, const u8 *key, u32 hash)
{
    u32 number = map->heads[hash & (map->buckets - 1)];
    while (number) {
        struct node *node = node_at(map, number);
        if (node->hash == hash && same_key(node_key(node), key, map->key_size))
            return number;
        number = node->chain;
    }
    return 0;
}

static void list_append(struct map *map, u32 number)
{
    struct node *node = node_at(map, number);
    node->before = map->last;
    node->after = 0;
    if (map->last)
        node_at(map, map->last)->after = number;
    else
        map->first = number;
    map->last = number;
}

static void list_remove(struct map *map, u32 number)
{
    struct node *node = node_at(map, number);
    if (node->before)
        node_at(map, node->before)->after = node->after;
    else
        map->first = node->after;
    if (node->after)
        node_at(map, node->after)->before = node->before;
    else
        map->last = node->before;
}

static void hash_drop(struct map *map, u32 number)
{
    struct node *node = node_at(map, number);
    u32 *link = &map->heads[node->hash & (map->buckets - 1)];
    while (*link != number)
        link = &node_at(map, *link)->chain;
    *link = node->chain;
    list_remove(map, number);
    node->is_live = 0;
    node->chain = map->free;
    map->free = number;
    map->count--;
}

static void lru_evict(struct map *map)
{
    u32 left = map->count;
    while (left && node_at(map, map->first)->was_used) {
        u32 number = map->first;
        node_at(map, number)->was_used = 0;
        list_remove(map, number);
        list_append(map, number);
        left--;
    }
    hash_drop(map, map->first);
}

/* A node that holds key and zeroed values, or 0 when the map is full. */
static u32 hash_insert(struct map *map, const u8 *key, u32 hash)
{
    struct node *node;
    u32 number;
    u32 *head = &map->heads[hash & (map->buckets - 1)];
    if (map->count == map->max_entries) {
        if (!is_lru(map->type))
            return 0;
        lru_evict(map);
    }
    if (map->free) {
        number = map->free;
        map->free = node_at(map, number)->chain;
    } else {
        number = ++map->used;
    }
    node = node_at(map, number);
    node->hash = hash;
    node->chain = *head;
    *head = number;
    node->is_live = 1;
    node->was_used = 0;
    memcpy(node_key(node), key, map->key_size);
    memset(node_value(map, node), 0, (u64)map->stride * map->cpus);
    list_append(map, number);
    map->count++;
    return number;
}

/* Where to write the value of key (of its first CPU); null with the reason in error. */
static u8 *hash_place(struct map *map, const u8 *key, u64 flags, s32 *error)
{
    u32 hash = hash_of(key, map->key_size);
    u32 number = hash_find(map, key, hash);
    *error = 0;
    if (number && flags == BPF_NOEXIST)
        *error = -EEXIST;
    else if (!number && flags == BPF_EXIST)
        *error = -ENOENT;
    else if (!number && !(number = hash_insert(map, key, hash)))
        *error = -E2BIG;
    if (*error)
        return (u8 *)0;
    return node_value(map, node_at(map, number));
}

/* ---- any map: the place of a value ---- */

/* The value of the first CPU, or null. */
static u8 *find_value(struct map *map, const u8 *key)
{
    if (is_array(map->type)) {
        u32 index;
        memcpy(&index, key, 4);
        return index < map->max_entries ? map->slots + (u64)index * map->node_size : (u8 *)0;
    }
    if (is_hash(map->type)) {
        u32 number = hash_find(map, key, hash_of(key, map->key_size));
        if (!number)
            return (u8 *)0;
        node_at(map, number)->was_used = 1;
        return node_value(map, node_at(map, number));
    }
    return (u8 *)0;
}

static u8 *place_value(struct map *map, const u8 *key, u64 flags, s32 *error)
{
    u32 index;
    *error = -EINVAL;
    if (flags > BPF_EXIST)
        return (u8 *)0;
    if (is_hash(map->type))
        return hash_place(map, key, flags, error);
    if (!is_array(map->type))
        return (u8 *)0;
    memcpy(&index, key, 4);
    *error = index >= map->max_entries ? -E2BIG : flags == BPF_NOEXIST ? -EEXIST : 0;
    return *error ? (u8 *)0 : map->slots + (u64)index * map->node_size;
}

/* ---- queue and stack ---- */

static u8 *element(struct map *map, u32 index)
{
    return map->slots + (u64)((map->head + index) % map->max_entries) * map->node_size;
}

static s32 queue_push(struct map *map, const u8 *value, u64 flags)
{
    if (!is_queue(map->type) || (flags != BPF_ANY && flags != BPF_EXIST))
        return -EINVAL;
    if (map->count == map->max_entries) {
        if (flags != BPF_EXIST)
            return -E2BIG;
        map->head = (map->head + 1) % map->max_entries;
        map->count--;
    }
    memmove(element(map, map->count), value, map->value_size);
    map->count++;
    return 0;
}

static s32 queue_peek(struct map *map, u8 *value)
{
    if (!is_queue(map->type))
        return -EINVAL;
    if (!map->count) {
        memset(value, 0, map->value_size);
        return -ENOENT;
    }
    memmove(value, element(map, map->type == MAP_STACK ? map->count - 1 : 0), map->value_size);
    return 0;
}

static s32 queue_pop(struct map *map, u8 *value)
{
    s32 error = queue_peek(map, value);
    if (error)
        return error;
    if (map->type == MAP_QUEUE)
        map->head = (map->head + 1) % map->max_entries;
    map->count--;
    return 0;
}

/* ---- what Python calls: whole values, all CPUs of a per-CPU map ---- */

s32 map_read(struct sim *sim, struct map *map, const u8 *key, u8 *value)
{
    u8 *found;
    (void)sim;
    if (is_queue(map->type))
        return queue_peek(map, value);
    if (!is_hash(map->type) && !is_array(map->type))
        return -EOPNOTSUPP;
    found = find_value(map, key);
    if (!found)
        return -ENOENT;
    memcpy(value, found, is_percpu(map->type) ? (u64)map->stride * map->cpus : map->value_size);
    return 0;
}

s32 map_write(struct sim *sim, struct map *map, const u8 *key, const u8 *value, u64 flags)
{
    s32 error;
    u8 *place;
    (void)sim;
    if (is_queue(map->type))
        return queue_push(map, value, flags);
    place = place_value(map, key, flags, &error);
    if (place)
        memcpy(place, value, is_percpu(map->type) ? (u64)map->stride * map->cpus : map->value_size);
    return error;
}

s32 map_remove(struct sim *sim, struct map *map, const u8 *key)
{
    u32 number;
    (void)sim;
    if (!is_hash(map->type))
        return -EINVAL;
    number = hash_find(map, key, hash_of(key, map->key_size));
    if (!number)
        return -ENOENT;
    hash_drop(map, number);
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

/* The key after key (null, or a key that is not there: the first) into next. */
s32 map_next(struct map *map, const u8 *key, u8 *next)
{
    u32 number = 0;
    u32 after;
    if (is_array(map->type) || map->type == MAP_PERF_EVENT_ARRAY)
        return array_next(map, key, next);
    if (!is_hash(map->type))
        return -EINVAL;
    if (key)
        number = hash_find(map, key, hash_of(key, map->key_size));
    after = number ? node_at(map, number)->after : map->first;
    if (!after)
        return -ENOENT;
    memcpy(next, node_key(node_at(map, after)), map->key_size);
    return 0;
}

/* ---- what programs call ---- */

u8 *bpf_map_lookup_elem(struct cpu *cpu, struct map *map, const u8 *key)
{
    u8 *value = find_value(map, key);
    if (value && map->cpus > 1)
        value += (u64)cpu->number * map->stride;
    return value;
}

u8 *bpf_map_lookup_percpu_elem(struct cpu *cpu, struct map *map, const u8 *key, u64 number)
{
    u8 *value = find_value(map, key);
    (void)cpu;
    if (!is_percpu(map->type) || (u32)number >= map->cpus || !value)
        return (u8 *)0;
    return value + (u64)(u32)number * map->stride;
}

s64 bpf_map_update_elem(struct cpu *cpu, struct map *map, const u8 *key, const u8 *value, u64 flags)
{
    s32 error;
    u8 *place = place_value(map, key, flags, &error);
    if (!place)
        return error;
    if (map->cpus > 1)
        place += (u64)cpu->number * map->stride;
    memmove(place, value, map->value_size);
    return 0;
}

s64 bpf_map_delete_elem(struct cpu *cpu, struct map *map, const u8 *key)
{
    return map_remove(cpu->sim, map, key);
}

s64 bpf_map_push_elem(struct cpu *cpu, struct map *map, const u8 *value, u64 flags)
{
    (void)cpu;
    return queue_push(map, value, flags);
}

s64 bpf_map_pop_elem(struct cpu *cpu, struct map *map, u8 *value)
{
    (void)cpu;
    return queue_pop(map, value);
}

s64 bpf_map_peek_elem(struct cpu *cpu, struct map *map, u8 *value)
{
    (void)cpu;
    return queue_peek(map, value);
}
