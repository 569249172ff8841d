/* Hashes: chains of nodes that are never given back while the map lives.

   A writer holds its bucket's lock. An update puts a new node in the place of the old one, so whoever found the old one
   goes on reading the old value: each CPU has one spare node for this, and the old node becomes the next spare. A new key
   takes a node that its CPU gave back, one that nobody took yet, or one of another CPU's; so all max_entries are reached
   from every CPU. Values of per-CPU hashes are written in place.

   who: a CPU's number, or the number of CPUs for a caller that is no program. */

/* The number under which the end of a bucket's chain is known. */
static u64 chain_end(struct map *map, struct bucket *bucket)
{
    return (u64)(bucket - map->buckets) * 2 + 1;
}

static u32 is_node(u64 link)
{
    return link && !(link & 1);
}

static struct node *node_at(struct map *map, u32 index)
{
    return (struct node *)(map->slots + (u64)index * map->node_size + (map->lru ? sizeof(struct links) : 0));
}

static u8 *node_value(struct map *map, struct node *node)
{
    return hot_key(node) + map->key_room;
}

/* Where a per-CPU node's values are, from a CPU's cpu_values on. */
static u64 *node_offset(struct map *map, struct node *node)
{
    return (u64 *)node_value(map, node);
}

static u8 *node_value_on(struct map *map, struct node *node, u32 cpu)
{
    return map->cpu_stride ? map->cpu_values + *node_offset(map, node) + (u64)cpu * map->cpu_stride : node_value(map, node);
}

static struct node *node_prepared(struct map *map, u32 index)
{
    struct node *node = node_at(map, index);
    if (map->cpu_stride)
        *node_offset(map, node) = (u64)index * map->stride;
    return node;
}

/* ---- nodes that are free ---- */

/* Readers may still stand on a free node: its next and key stay. */
static u64 *free_link(struct node *node)
{
    return (u64 *)&node->hash;
}

static struct node *pool_pop(struct pool *pool)
{
    struct node *node;
    if (!__atomic_load_n(&pool->free, RELAXED))
        return (struct node *)0;
    lock_take(&pool->lock);
    node = (struct node *)pool->free;
    if (node)
        __atomic_store_n(&pool->free, *free_link(node), RELAXED);
    lock_give(&pool->lock);
    return node;
}

static void pool_push(struct pool *pool, struct node *node)
{
    lock_take(&pool->lock);
    *free_link(node) = pool->free;
    __atomic_store_n(&pool->free, (u64)node, RELAXED);
    lock_give(&pool->lock);
}

static struct node *node_fresh(struct map *map)
{
    u32 index;
    if (__atomic_load_n(&map->used, RELAXED) >= map->max_entries)
        return (struct node *)0;
    index = __atomic_fetch_add(&map->used, 1, RELAXED);
    return index < map->max_entries ? node_prepared(map, index) : (struct node *)0;
}

static struct node *node_take(struct map *map, u32 who)
{
    u32 i;
    struct node *node = pool_pop(map->pools + who);
    if (!node)
        node = node_fresh(map);
    for (i = 0; !node && i <= map->sim->cpus; i++)
        node = pool_pop(map->pools + i);
    return node;
}

/* ---- a chain, under its bucket's lock ---- */

/* What leads to the node of key, or null. */
static inline __attribute__((always_inline)) u64 *chain_find(struct bucket *bucket, const u8 *key, u32 key_size, u32 hash)
{
    u64 *link = &bucket->first;
    while (is_node(*link)) {
        struct node *node = (struct node *)*link;
        if (node->hash == hash && hot_equal(hot_key(node), key, key_size))
            return link;
        link = &node->next;
    }
    return (u64 *)0;
}

static void chain_push(struct map *map, struct bucket *bucket, struct node *node)
{
    node->next = bucket->first ? bucket->first : chain_end(map, bucket);
    __atomic_store_n(&bucket->first, (u64)node, RELEASE);
}

static void chain_cut(u64 *link)
{
    __atomic_store_n(link, ((struct node *)*link)->next, RELEASE);
}

static struct bucket *bucket_of(struct map *map, u32 hash)
{
    return map->buckets + (hash & map->bucket_mask);
}

/* ---- values ---- */

/* value: of one CPU, or is_all: of all, each padded to 8 bytes. */
static void write_percpu(struct map *map, struct node *node, const u8 *value, u32 cpu, u32 is_all)
{
    u32 i;
    if (!is_all) {
        copy_in_value(map, node_value_on(map, node, cpu), value);
        return;
    }
    for (i = 0; i < map->cpus; i++)
        memcpy(node_value_on(map, node, i), value + (u64)i * map->stride, map->stride);
}

static void write_new(struct map *map, struct node *node, const u8 *value, u32 cpu, u32 is_all)
{
    u32 i;
    if (!map->cpu_stride) {
        copy_in_value(map, node_value(map, node), value);
        return;
    }
    if (!is_all)
        for (i = 0; i < map->cpus; i++)
            if (i != cpu)
                memset(node_value_on(map, node, i), 0, map->stride);
    write_percpu(map, node, value, cpu, is_all);
}

static void read_node(struct map *map, struct node *node, u8 *value, u64 flags)
{
    u32 i;
    if (!map->cpu_stride) {
        if (flags & BPF_F_LOCK)
            copy_locked(map, value, node_value(map, node), 1);
        else
            copy_out_value(map, value, node_value(map, node));
        return;
    }
    for (i = 0; i < map->cpus; i++) {
        memcpy(value + (u64)i * map->stride, node_value_on(map, node, i), map->stride);
        zero_fields(map, value + (u64)i * map->stride);
    }
}

static void free_node_fields(struct map *map, struct node *node)
{
    u32 i;
    if (map->field_count)
        for (i = 0; i < map->cpus; i++)
            free_fields(map, node_value_on(map, node, i));
}

/* ---- updates ---- */

static s32 existence(u32 is_there, u64 flags)
{
    if (is_there && (flags & ~BPF_F_LOCK) == BPF_NOEXIST)
        return -EEXIST;
    return !is_there && (flags & ~BPF_F_LOCK) == BPF_EXIST ? -ENOENT : 0;
}

static inline __attribute__((always_inline)) void node_fill(struct node *node, const u8 *key, u32 key_size, u32 hash)
{
    node->hash = hash;
    memcpy(hot_key(node), key, key_size);
}

/* The spare node takes the place of the one that link leads to. */
static inline __attribute__((always_inline)) struct node *
hash_replace(struct map *map, struct pool *pool, u64 *link, const u8 *key, const u8 *value, u32 key_size, u32 hash)
{
    struct node *old = (struct node *)*link;
    struct node *node = (struct node *)pool->spare;
    node_fill(node, key, key_size, hash);
    copy_in_value(map, node_value(map, node), value);
    node->next = old->next;
    __atomic_store_n(link, (u64)node, RELEASE);
    pool->spare = (u64)old;
    return old;
}

static inline __attribute__((always_inline)) s32
hash_update_sized(struct map *map, u32 who, const u8 *key, const u8 *value, u64 flags, u32 key_size, u32 is_all)
{
    u32 hash = hot_hash(key, key_size);
    struct bucket *bucket = bucket_of(map, hash);
    struct node *old = (struct node *)0;
    struct node *node;
    u64 *link;
    s32 error;
    lock_take(&bucket->lock);
    link = chain_find(bucket, key, key_size, hash);
    error = existence(!!link, flags);
    if (error) {
        lock_give(&bucket->lock);
        return error;
    }
    if (link && map->cpu_stride) {
        write_percpu(map, (struct node *)*link, value, who, is_all);
    } else if (link && (flags & BPF_F_LOCK)) {
        copy_locked(map, node_value(map, (struct node *)*link), value, 0);
    } else if (link) {
        old = hash_replace(map, map->pools + who, link, key, value, key_size, hash);
    } else {
        node = node_take(map, who);
        if (node) {
            node_fill(node, key, key_size, hash);
            write_new(map, node, value, who, is_all);
            chain_push(map, bucket, node);
        }
        error = node ? 0 : -E2BIG;
    }
    lock_give(&bucket->lock);
    if (old && map->field_count)
        free_node_fields(map, old);
    return error;
}

static s32 hash_update(struct map *map, u32 who, const u8 *key, const u8 *value, u64 flags, u32 is_all)
{
    if (map->key_size == 8)
        return hash_update_sized(map, who, key, value, flags, 8, is_all);
    if (map->key_size == 4)
        return hash_update_sized(map, who, key, value, flags, 4, is_all);
    return hash_update_sized(map, who, key, value, flags, map->key_size, is_all);
}

/* ---- deletion, and what needs the lock to read ---- */

static void lru_give(struct map *map, struct node *node);

static void node_give(struct map *map, u32 who, struct node *node)
{
    if (map->lru)
        lru_give(map, node);
    else
        pool_push(map->pools + who, node);
}

/* Takes key out; its value goes to value, unless that is null. */
static inline __attribute__((always_inline)) s32
hash_delete_sized(struct map *map, u32 who, const u8 *key, u8 *value, u64 flags, u32 key_size)
{
    u32 hash = hot_hash(key, key_size);
    struct bucket *bucket = bucket_of(map, hash);
    struct node *node;
    u64 *link;
    lock_take(&bucket->lock);
    link = chain_find(bucket, key, key_size, hash);
    if (!link) {
        lock_give(&bucket->lock);
        return -ENOENT;
    }
    node = (struct node *)*link;
    if (value)
        read_node(map, node, value, flags);
    chain_cut(link);
    lock_give(&bucket->lock);
    if (map->field_count)
        free_node_fields(map, node);
    node_give(map, who, node);
    return 0;
}

static s32 hash_delete(struct map *map, u32 who, const u8 *key, u8 *value, u64 flags)
{
    if (map->key_size == 8)
        return hash_delete_sized(map, who, key, value, flags, 8);
    if (map->key_size == 4)
        return hash_delete_sized(map, who, key, value, flags, 4);
    return hash_delete_sized(map, who, key, value, flags, map->key_size);
}

static s32 hash_read(struct map *map, const u8 *key, u8 *value, u64 flags)
{
    u32 hash = hot_hash(key, map->key_size);
    struct bucket *bucket = bucket_of(map, hash);
    u64 *link;
    lock_take(&bucket->lock);
    link = chain_find(bucket, key, map->key_size, hash);
    if (link)
        read_node(map, (struct node *)*link, value, flags);
    lock_give(&bucket->lock);
    return link ? 0 : -ENOENT;
}

/* The first key of the first bucket from number on that has one. */
static s32 hash_first_from(struct map *map, u64 number, u8 *next)
{
    struct bucket *bucket;
    u32 is_found;
    for (; number <= map->bucket_mask; number++) {
        bucket = map->buckets + number;
        if (!is_node(__atomic_load_n(&bucket->first, ACQUIRE)))
            continue;
        lock_take(&bucket->lock);
        is_found = is_node(bucket->first);
        if (is_found)
            memcpy(next, hot_key((struct node *)bucket->first), map->key_size);
        lock_give(&bucket->lock);
        if (is_found)
            return 0;
    }
    return -ENOENT;
}

/* The key after key; after none, or after one that is gone, the first. */
static s32 hash_next(struct map *map, const u8 *key, u8 *next)
{
    u32 hash;
    struct bucket *bucket;
    u64 *link;
    u64 after = 0;
    if (!key)
        return hash_first_from(map, 0, next);
    hash = hot_hash(key, map->key_size);
    bucket = bucket_of(map, hash);
    lock_take(&bucket->lock);
    link = chain_find(bucket, key, map->key_size, hash);
    if (link) {
        after = ((struct node *)*link)->next;
        if (is_node(after))
            memcpy(next, hot_key((struct node *)after), map->key_size);
    }
    lock_give(&bucket->lock);
    if (!link)
        return hash_first_from(map, 0, next);
    return is_node(after) ? 0 : hash_first_from(map, (u64)(bucket - map->buckets) + 1, next);
}

/* ---- whole buckets ---- */

static u32 chain_length(struct bucket *bucket)
{
    u32 count = 0;
    u64 link;
    for (link = bucket->first; is_node(link); link = ((struct node *)link)->next)
        count++;
    return count;
}

/* The bucket's rows to keys and values, at most room of them or -ENOSPC; is_delete: and out of the map. How many. */
static s32 batch_bucket(struct map *map, u32 who, struct bucket *bucket, u8 *keys, u8 *values, u32 room, u32 is_delete)
{
    u64 value_bytes = map->cpu_stride ? (u64)map->stride * map->cpus : map->value_size;
    u64 link;
    u64 following;
    u32 count;
    u32 at = 0;
    lock_take(&bucket->lock);
    count = chain_length(bucket);
    if (count > room) {
        lock_give(&bucket->lock);
        return -ENOSPC;
    }
    for (link = bucket->first; is_node(link); link = ((struct node *)link)->next) {
        memcpy(keys + (u64)at * map->key_size, hot_key((struct node *)link), map->key_size);
        read_node(map, (struct node *)link, values + (u64)at * value_bytes, 0);
        at++;
    }
    link = bucket->first;
    if (is_delete && is_node(link))
        __atomic_store_n(&bucket->first, chain_end(map, bucket), RELEASE);
    lock_give(&bucket->lock);
    for (; is_delete && is_node(link); link = following) {
        following = ((struct node *)link)->next;
        free_node_fields(map, (struct node *)link);
        node_give(map, who, (struct node *)link);
    }
    return (s32)count;
}

/* Rows of whole buckets from *number on, where it goes on later. *count: the room in rows, then how many there are. -ENOENT
   when the map is at its end, -ENOSPC when the first bucket has more rows than there is room for. */
static s32 hash_batch(struct map *map, u32 who, u32 *number, u8 *keys, u8 *values, u32 *count, u32 is_delete)
{
    u64 value_bytes = map->cpu_stride ? (u64)map->stride * map->cpus : map->value_size;
    u32 room = *count;
    s32 got;
    *count = 0;
    for (; *number <= map->bucket_mask; (*number)++) {
        if (!is_node(__atomic_load_n(&map->buckets[*number].first, ACQUIRE)))
            continue;
        got = batch_bucket(map, who, map->buckets + *number, keys + (u64)*count * map->key_size,
                           values + *count * value_bytes, room - *count, is_delete);
        if (got < 0)
            return *count ? 0 : got;
        *count += (u32)got;
    }
    return -ENOENT;
}

/* ---- making ---- */

static u32 power_of_two_from(u32 n)
{
    u32 power = 1;
    while (power < n && power < 0x80000000u)
        power <<= 1;
    return power;
}

/* Nodes beyond max_entries are the spares. */
static s32 hash_new(struct map *map, u32 head_bytes)
{
    u32 i;
    u32 buckets = power_of_two_from(map->max_entries);
    map->key_room = hot_key_room(map->key_size);
    map->node_size = head_bytes + NODE_BYTES + map->key_room + (map->cpu_stride ? 8 : map->stride);
    map->node_count = map->max_entries + map->sim->cpus + 1;
    map->slot_bytes = (u64)map->node_size * map->node_count;
    map->bucket_mask = buckets - 1;
    map->bucket_bytes = (u64)buckets * sizeof(struct bucket);
    map->slots = pages_take(map->slot_bytes);
    map->buckets = (struct bucket *)pages_take(map->bucket_bytes);
    map->pools = (struct pool *)calloc(map->sim->cpus + 1, sizeof(struct pool));
    if (!map->slots || !map->buckets || !map->pools)
        return -ENOMEM;
    for (i = 0; i <= map->sim->cpus; i++)
        map->pools[i].spare = (u64)(map->slots + head_bytes + (u64)(map->max_entries + i) * map->node_size);
    if (map->cpu_stride) {
        map->cpu_stride = ((u64)map->node_count * map->stride + PAGE_MASK) & ~PAGE_MASK;
        map->cpu_bytes = map->cpu_stride * map->cpus;
        map->cpu_values = pages_take(map->cpu_bytes);
        return map->cpu_values ? own(map->sim, map->cpu_values, map->cpu_bytes) : -ENOMEM;
    }
    return own(map->sim, map->slots, map->slot_bytes);
}

s64 for_each_hash(struct cpu *cpu, struct map *map, u64 callback, u64 context)
{
    u64 (*call)(struct cpu *cpu, u64 map, u64 key, u64 value, u64 context, u64 zero);
    u64 number;
    u64 link;
    u64 following;
    s64 count = 0;
    call = (u64 (*)(struct cpu *, u64, u64, u64, u64, u64))callback;
    for (number = 0; number <= map->bucket_mask; number++) {
        for (link = __atomic_load_n(&map->buckets[number].first, ACQUIRE); is_node(link); link = following) {
            struct node *node = (struct node *)link;
            following = __atomic_load_n(&node->next, ACQUIRE);
            count++;
            if (call(cpu, (u64)map, (u64)hot_key(node), (u64)node_value_on(map, node, cpu->number), context, 0))
                return count;
        }
    }
    return count;
}
