/* Queues, stacks and bloom filters: values without keys. */

static int is_queue(u32 type)
{
    return type == MAP_QUEUE || type == MAP_STACK;
}

static s32 queue_new(struct map *map)
{
    map->node_size = map->stride;
    map->slot_bytes = (u64)map->stride * map->max_entries;
    map->slots = pages_take(map->slot_bytes);
    return map->slots ? 0 : -ENOMEM;
}

static s64 queue_push(struct map *map, const u8 *value, u64 flags)
{
    if (flags != BPF_ANY && flags != BPF_EXIST)
        return -EINVAL;
    return hot_queue_push(map, value, map->value_size, flags == BPF_EXIST);
}

static s64 queue_take(struct map *map, u8 *value, u32 is_pop)
{
    return hot_queue_take(map, value, map->value_size, map->type == MAP_STACK, is_pop);
}

/* ---- bloom filter: bits that say "not there" or "maybe there" ---- */

enum { BLOOM_DEFAULT_HASHES = 5 };
#define LN2_TIMES_2_32 2977044472ull

/* About max_entries * hashes / ln 2 bits, the next power of two. */
static s32 bloom_new(struct map *map)
{
    u64 wanted;
    u64 bits = 64;
    map->extra = map->extra ? map->extra : BLOOM_DEFAULT_HASHES;
    wanted = map->max_entries * map->extra;
    wanted = wanted > 0xffffffffull ? 0xffffffffull : wanted * 7 / 5;
    while (bits < wanted && bits < 0x100000000ull)
        bits <<= 1;
    map->bit_mask = (u32)(bits - 1);
    map->slot_bytes = bits / 8;
    map->slots = pages_take(map->slot_bytes);
    map->bits = (u64 *)map->slots;
    return map->slots ? 0 : -ENOMEM;
}

static u32 bloom_bit(struct map *map, const u8 *value, u32 number)
{
    u64 hash = hot_hash(value, map->value_size) + (u64)number * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ull;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebull;
    return (u32)(hash ^ hash >> 31) & map->bit_mask;
}

static s64 bloom_push(struct map *map, const u8 *value, u64 flags)
{
    u32 i;
    if (flags != BPF_ANY)
        return -EINVAL;
    for (i = 0; i < map->extra; i++) {
        u32 bit = bloom_bit(map, value, i);
        __atomic_fetch_or(map->bits + bit / 64, 1ull << bit % 64, RELAXED);
    }
    return 0;
}

static s64 bloom_peek(struct map *map, const u8 *value)
{
    u32 i;
    for (i = 0; i < map->extra; i++) {
        u32 bit = bloom_bit(map, value, i);
        if (!(__atomic_load_n(map->bits + bit / 64, RELAXED) >> bit % 64 & 1))
            return -ENOENT;
    }
    return 0;
}
