/* What programs do most, as functions that take what is constant for a map as plain arguments: the JIT puts them into
   programs whose maps it knows, the helpers call the same. They use no globals; those that the JIT may take (sim/hot.py) are
   not static.

   A look-up in a hash takes no lock. A node is never given back while its map lives, and a chain ends with the number of
   its bucket: a reader that a reused node led into another chain notices at its end, and starts again. What a writer fills
   in before it publishes a node is seen by whoever finds it there (acquire and release). */

void *memcpy(void *to, const void *from, unsigned long size);
void *memmove(void *to, const void *from, unsigned long size);
void *memset(void *to, int byte, unsigned long size);
int memcmp(const void *one, const void *other, unsigned long size);
s32 sched_yield(void);

enum { RELAXED = 0, ACQUIRE = 2, RELEASE = 3, ORDERED = 5, SPINS = 200 };
enum { NODE_BYTES = 16 };

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

static inline __attribute__((always_inline)) u32 hot_hash(const u8 *key, u32 key_size)
{
    u64 hash = key_size;
    u64 word;
    u32 half;
    u32 left = key_size;
    while (left >= 8) {
        memcpy(&word, key, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
        key += 8;
        left -= 8;
    }
    if (left >= 4) {
        memcpy(&half, key, 4);
        hash = (hash ^ half) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
        key += 4;
        left -= 4;
    }
    while (left) {
        hash = (hash ^ *key) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
        key++;
        left--;
    }
    return (u32)hash;
}

static inline __attribute__((always_inline)) u32 hot_equal(const u8 *one, const u8 *other, u32 size)
{
    u64 here;
    u64 there;
    u32 half;
    u32 other_half;
    if (size == 8) {
        memcpy(&here, one, 8);
        memcpy(&there, other, 8);
        return here == there;
    }
    if (size == 4) {
        memcpy(&half, one, 4);
        memcpy(&other_half, other, 4);
        return half == other_half;
    }
    return !memcmp(one, other, size);
}

static inline __attribute__((always_inline)) u8 *hot_key(struct node *node)
{
    return (u8 *)node + NODE_BYTES;
}

/* The node of key in its chain, or null. */
static inline __attribute__((always_inline)) struct node *hot_find(struct bucket *bucket, u64 end, const u8 *key, u32 key_size, u32 hash)
{
    u64 link;
    do {
        link = __atomic_load_n(&bucket->first, ACQUIRE);
        if (!link)
            return (struct node *)0;
        while (!(link & 1)) {
            struct node *node = (struct node *)link;
            if (node->hash == hash && hot_equal(hot_key(node), key, key_size))
                return node;
            link = __atomic_load_n(&node->next, ACQUIRE);
        }
    } while (link != end);
    return (struct node *)0;
}

static inline __attribute__((always_inline)) struct node *hot_hash_node(struct map *map, const u8 *key, u32 key_size)
{
    u32 hash = hot_hash(key, key_size);
    u32 number = hash & map->bucket_mask;
    return hot_find(map->buckets + number, (u64)number * 2 + 1, key, key_size, hash);
}

static inline __attribute__((always_inline)) u32 hot_key_room(u32 key_size)
{
    return (key_size + 7) & ~7u;
}

__attribute__((always_inline)) u8 *hot_hash_lookup(struct map *map, const u8 *key, u32 key_size)
{
    struct node *node = hot_hash_node(map, key, key_size);
    return node ? hot_key(node) + hot_key_room(key_size) : (u8 *)0;
}

__attribute__((always_inline)) u8 *hot_lru_lookup(struct map *map, const u8 *key, u32 key_size)
{
    struct node *node = hot_hash_node(map, key, key_size);
    if (!node)
        return (u8 *)0;
    if (!node->was_used)
        node->was_used = 1;
    return hot_key(node) + hot_key_room(key_size);
}

/* The value of one CPU; the node holds where the value of the first one is. */
static inline __attribute__((always_inline)) u8 *hot_percpu_value(struct map *map, struct node *node, u32 key_size, u32 cpu)
{
    u64 offset = *(u64 *)(hot_key(node) + hot_key_room(key_size));
    return map->cpu_values + offset + (u64)cpu * map->cpu_stride;
}

__attribute__((always_inline)) u8 *hot_percpu_hash_lookup(struct cpu *cpu, struct map *map, const u8 *key, u32 key_size)
{
    struct node *node = hot_hash_node(map, key, key_size);
    return node ? hot_percpu_value(map, node, key_size, cpu->number) : (u8 *)0;
}

__attribute__((always_inline)) u8 *hot_lru_percpu_hash_lookup(struct cpu *cpu, struct map *map, const u8 *key, u32 key_size)
{
    struct node *node = hot_hash_node(map, key, key_size);
    if (!node)
        return (u8 *)0;
    if (!node->was_used)
        node->was_used = 1;
    return hot_percpu_value(map, node, key_size, cpu->number);
}

static inline __attribute__((always_inline)) u8 *hot_array_lookup(struct map *map, const u8 *key)
{
    u32 index;
    memcpy(&index, key, 4);
    return index < map->max_entries ? map->slots + (u64)index * map->node_size : (u8 *)0;
}

static inline __attribute__((always_inline)) u8 *hot_percpu_array_lookup(struct cpu *cpu, struct map *map, const u8 *key)
{
    u8 *value = hot_array_lookup(map, key);
    return value ? value + (u64)cpu->number * map->cpu_stride : value;
}

/* ---- ring buffer ---- */

#define RINGBUF_BUSY 0x80000000u
#define RINGBUF_DISCARD 0x40000000u
#define RINGBUF_LENGTH 0x3fffffffu

/* Room for a record of size bytes, or null; the reader stops at it until it is submitted. */
static inline __attribute__((always_inline)) u8 *hot_ringbuf_reserve(struct ring *ring, u64 size)
{
    u64 total = (size + 8 + 7) & ~7ull;
    u8 *at = (u8 *)0;
    u64 head;
    if (size > RINGBUF_LENGTH || total > ring->size) {
        __atomic_fetch_add(&ring->lost, 1, RELAXED);
        return at;
    }
    lock_take(&ring->lock);
    head = ring->head;
    if (head + total - __atomic_load_n(&ring->tail, ACQUIRE) <= ring->size - 1) {
        at = ring->bytes + (head & (ring->size - 1)) + 8;
        *(u64 *)(at - 8) = (u32)size | RINGBUF_BUSY;
        __atomic_store_n(&ring->head, head + total, RELEASE);
    } else {
        __atomic_fetch_add(&ring->lost, 1, RELAXED);
    }
    lock_give(&ring->lock);
    return at;
}

static inline __attribute__((always_inline)) void hot_ringbuf_commit(u8 *record, u32 discard)
{
    u32 *header = (u32 *)(record - 8);
    __atomic_store_n(header, (*header & RINGBUF_LENGTH) | discard, RELEASE);
}

__attribute__((always_inline)) s64 hot_ringbuf_output(struct ring *ring, const u8 *bytes, u64 size)
{
    u8 *record = hot_ringbuf_reserve(ring, size);
    if (!record)
        return -11; /* -EAGAIN */
    memcpy(record, bytes, size);
    hot_ringbuf_commit(record, 0);
    return 0;
}

/* ---- queue and stack: value_size is the map's ---- */

enum { HOT_E2BIG = 7, HOT_ENOENT = 2 };

static inline __attribute__((always_inline)) u8 *hot_element(struct map *map, u32 index)
{
    u64 at = (u64)map->head + index;
    if (at >= map->max_entries)
        at -= map->max_entries;
    return map->slots + at * map->node_size;
}

/* is_forced: the oldest element makes room. */
__attribute__((always_inline)) s64 hot_queue_push(struct map *map, const u8 *value, u32 value_size, u32 is_forced)
{
    s64 error = 0;
    lock_take(&map->lock);
    if (map->count == map->max_entries && is_forced) {
        map->head = map->head + 1 == map->max_entries ? 0 : map->head + 1;
        map->count--;
    }
    if (map->count == map->max_entries)
        error = -HOT_E2BIG;
    else
        memcpy(hot_element(map, map->count++), value, value_size);
    lock_give(&map->lock);
    return error;
}

/* The oldest element (the newest of a stack) into value, which is zeroed where there is none. */
__attribute__((always_inline)) s64 hot_queue_take(struct map *map, u8 *value, u32 value_size, u32 is_stack, u32 is_pop)
{
    s64 error = 0;
    lock_take(&map->lock);
    if (!map->count) {
        memset(value, 0, value_size);
        error = -HOT_ENOENT;
    } else {
        memcpy(value, hot_element(map, is_stack ? map->count - 1 : 0), value_size);
        if (is_pop) {
            map->count--;
            if (!is_stack)
                map->head = map->head + 1 == map->max_entries ? 0 : map->head + 1;
        }
    }
    lock_give(&map->lock);
    return error;
}
