/* Longest prefix match: a trie in which a node stands for a prefix, and only where two prefixes part.

   A key is the prefix's length in bits (u32) and its bytes, highest bit first. Writers hold the map's lock and keep head
   odd while they change something; a reader who saw it change looks again, and after some tries takes the lock. Nodes are
   never given back while the map lives, so the worst that a reader meets is a wrong turn. */

enum { TRIE_TRIES = 16 };

struct prefix {
    struct prefix *child[2];
    u32 length;     /* bits */
    u32 is_between; /* no entry of its own */
};

static u8 *prefix_bits(struct prefix *node)
{
    return (u8 *)node + sizeof(struct prefix);
}

static u8 *prefix_value(struct map *map, struct prefix *node)
{
    return prefix_bits(node) + map->key_room;
}

static u32 trie_max_length(struct map *map)
{
    return (map->key_size - 4) * 8;
}

static u32 key_length(const u8 *key)
{
    u32 length;
    memcpy(&length, key, 4);
    return length;
}

static u32 bit_at(const u8 *bits, u32 at)
{
    return bits[at / 8] >> (7 - at % 8) & 1;
}

/* How many leading bits the two have in common, at most most. */
static u32 common_length(const u8 *one, const u8 *other, u32 most)
{
    u32 here;
    u32 there;
    u32 at = 0;
    for (; at + 32 <= most; at += 32) {
        memcpy(&here, one + at / 8, 4);
        memcpy(&there, other + at / 8, 4);
        if (here != there)
            return at + (u32)__builtin_clz(__builtin_bswap32(here ^ there));
    }
    for (; at < most; at += 8) {
        here = one[at / 8] ^ other[at / 8];
        if (here) {
            at += (u32)__builtin_clz(here) - 24;
            return at < most ? at : most;
        }
    }
    return most;
}

static u32 node_match(struct prefix *node, const u8 *key)
{
    u32 length = key_length(key);
    return common_length(prefix_bits(node), key + 4, node->length < length ? node->length : length);
}

static void trie_lock(struct map *map)
{
    lock_take(&map->lock);
    __atomic_fetch_add(&map->head, 1, ORDERED);
}

static void trie_unlock(struct map *map)
{
    __atomic_fetch_add(&map->head, 1, ORDERED);
    lock_give(&map->lock);
}

/* ---- look-ups ---- */

static struct prefix *trie_descend(struct map *map, const u8 *key)
{
    struct prefix *node = (struct prefix *)__atomic_load_n(&map->root, ACQUIRE);
    struct prefix *found = (struct prefix *)0;
    u32 left = trie_max_length(map) + 2;
    u32 length = key_length(key);
    for (; node && left; left--) {
        u32 match = node_match(node, key);
        if (match < node->length)
            break;
        if (!node->is_between)
            found = node;
        if (node->length >= length)
            break;
        node = (struct prefix *)__atomic_load_n((u64 *)&node->child[bit_at(key + 4, node->length)], ACQUIRE);
    }
    return found;
}

static struct prefix *trie_find(struct map *map, const u8 *key)
{
    struct prefix *found;
    u32 version;
    u32 left;
    if (key_length(key) > trie_max_length(map))
        return (struct prefix *)0;
    for (left = TRIE_TRIES; left; left--) {
        version = __atomic_load_n(&map->head, ACQUIRE);
        found = trie_descend(map, key);
        __atomic_thread_fence(ACQUIRE);
        if (!(version & 1) && version == __atomic_load_n(&map->head, RELAXED))
            return found;
    }
    lock_take(&map->lock);
    found = trie_descend(map, key);
    lock_give(&map->lock);
    return found;
}

static s32 trie_read(struct map *map, const u8 *key, u8 *value)
{
    struct prefix *found;
    if (key_length(key) > trie_max_length(map))
        return -ENOENT;
    lock_take(&map->lock);
    found = trie_descend(map, key);
    if (found)
        copy_out_value(map, value, prefix_value(map, found));
    lock_give(&map->lock);
    return found ? 0 : -ENOENT;
}

/* ---- changes, under the lock ---- */

static struct prefix *prefix_take(struct map *map)
{
    struct prefix *node = (struct prefix *)map->pools->free;
    if (node) {
        map->pools->free = (u64)node->child[0];
    } else if (map->used < map->node_count) {
        node = (struct prefix *)(map->slots + (u64)map->used++ * map->node_size);
    }
    return node;
}

static void prefix_give(struct map *map, struct prefix *node)
{
    if (node) {
        node->child[0] = (struct prefix *)map->pools->free;
        map->pools->free = (u64)node;
    }
}

static void prefix_fill(struct map *map, struct prefix *node, const u8 *bits, u32 length)
{
    node->child[0] = (struct prefix *)0;
    node->child[1] = (struct prefix *)0;
    node->length = length;
    node->is_between = 0;
    memcpy(prefix_bits(node), bits, map->key_size - 4);
}

static void link_set(struct prefix **link, struct prefix *node)
{
    __atomic_store_n((u64 *)link, (u64)node, RELEASE);
}

/* Where the node of key is or would be: the link that leads there; *match: how much of it agrees. */
static struct prefix **trie_place(struct map *map, const u8 *key, u32 *match)
{
    struct prefix **link = (struct prefix **)&map->root;
    u32 length = key_length(key);
    *match = 0;
    while (*link) {
        *match = node_match(*link, key);
        if (*match < (*link)->length || (*link)->length == length)
            break;
        link = &(*link)->child[bit_at(key + 4, (*link)->length)];
    }
    return link;
}

/* A new entry: 0 or why there is none. is_there is an entry that it replaces. */
static s32 trie_admit(struct map *map, u32 is_there, u64 flags)
{
    s32 error = existence(is_there, flags);
    if (error || is_there)
        return error;
    return map->count == map->max_entries ? -ENOSPC : 0;
}

/* made goes to where link leads; between is used if two prefixes part there. */
static void trie_insert(struct map *map, struct prefix **link, u32 match, struct prefix *made, struct prefix *between)
{
    struct prefix *old = *link;
    if (!old) {
        link_set(link, made);
    } else if (old->length == match && old->length == made->length) {
        made->child[0] = old->child[0];
        made->child[1] = old->child[1];
        link_set(link, made);
        prefix_give(map, old);
    } else if (match == made->length) {
        made->child[bit_at(prefix_bits(old), match)] = old;
        link_set(link, made);
    } else {
        prefix_fill(map, between, prefix_bits(made), match);
        between->is_between = 1;
        between->child[bit_at(prefix_bits(old), match)] = old;
        between->child[bit_at(prefix_bits(made), match)] = made;
        link_set(link, between);
        return;
    }
    prefix_give(map, between);
}

static s32 trie_update_locked(struct map *map, const u8 *key, const u8 *value, u64 flags)
{
    u32 match;
    u32 length = key_length(key);
    struct prefix **link = trie_place(map, key, &match);
    u32 is_there = *link && (*link)->length == match && match == length && !(*link)->is_between;
    struct prefix *made;
    struct prefix *between;
    s32 error = trie_admit(map, is_there, flags);
    if (error)
        return error;
    made = prefix_take(map);
    between = made ? prefix_take(map) : made;
    if (!between) {
        prefix_give(map, made);
        return -ENOMEM;
    }
    prefix_fill(map, made, key + 4, length);
    copy_in_value(map, prefix_value(map, made), value);
    trie_insert(map, link, match, made, between);
    map->count += !is_there;
    return 0;
}

static s32 trie_update(struct map *map, const u8 *key, const u8 *value, u64 flags)
{
    s32 error;
    if (key_length(key) > trie_max_length(map))
        return -EINVAL;
    trie_lock(map);
    error = trie_update_locked(map, key, value, flags);
    trie_unlock(map);
    return error;
}

/* The node at link has no entry any more: it goes, unless two prefixes part there; then perhaps its parent goes. */
static void trie_remove(struct map *map, struct prefix **link, struct prefix **parent_link)
{
    struct prefix *node = *link;
    struct prefix *parent = parent_link ? *parent_link : (struct prefix *)0;
    if (node->child[0] && node->child[1]) {
        node->is_between = 1;
        return;
    }
    if (parent && parent->is_between && !node->child[0] && !node->child[1]) {
        link_set(parent_link, parent->child[parent->child[0] == node]);
        prefix_give(map, parent);
    } else {
        link_set(link, node->child[0] ? node->child[0] : node->child[1]);
    }
    prefix_give(map, node);
}

static s32 trie_delete_locked(struct map *map, const u8 *key)
{
    struct prefix **link = (struct prefix **)&map->root;
    struct prefix **parent = (struct prefix **)0;
    u32 length = key_length(key);
    u32 match = 0;
    while (*link) {
        match = node_match(*link, key);
        if (match < (*link)->length || (*link)->length == length)
            break;
        parent = link;
        link = &(*link)->child[bit_at(key + 4, (*link)->length)];
    }
    if (!*link || (*link)->length != length || match != length || (*link)->is_between)
        return -ENOENT;
    trie_remove(map, link, parent);
    map->count--;
    return 0;
}

static s32 trie_delete(struct map *map, const u8 *key)
{
    s32 error;
    if (key_length(key) > trie_max_length(map))
        return -EINVAL;
    trie_lock(map);
    error = trie_delete_locked(map, key);
    trie_unlock(map);
    return error;
}

/* ---- the order: what is below a prefix before it, 0 before 1 ---- */

static struct prefix *trie_leftmost(struct prefix *node)
{
    while (node && (node->child[0] || node->child[1]))
        node = node->child[0] ? node->child[0] : node->child[1];
    return node;
}

/* The first entry after the one of key, which is below node; null where node itself ends the walk. *is_here: it is. */
static struct prefix *trie_after(struct map *map, const u8 *key, u32 *is_here)
{
    struct prefix *node = (struct prefix *)map->root;
    struct prefix *after = (struct prefix *)0;
    u32 length = key_length(key);
    *is_here = 0;
    while (node) {
        u32 side;
        if (node_match(node, key) < node->length)
            return after;
        if (node->length == length) {
            *is_here = !node->is_between;
            return after;
        }
        side = bit_at(key + 4, node->length);
        if (!side && node->child[1])
            after = trie_leftmost(node->child[1]);
        else if (!node->is_between)
            after = node;
        node = node->child[side];
    }
    return after;
}

static s32 trie_next(struct map *map, const u8 *key, u8 *next)
{
    struct prefix *node = (struct prefix *)0;
    u32 is_here = 0;
    lock_take(&map->lock);
    if (key && key_length(key) <= trie_max_length(map))
        node = trie_after(map, key, &is_here);
    if (!is_here)
        node = trie_leftmost((struct prefix *)map->root);
    if (node) {
        memcpy(next, &node->length, 4);
        memcpy(next + 4, prefix_bits(node), map->key_size - 4);
    }
    lock_give(&map->lock);
    return node ? 0 : -ENOENT;
}

/* One node for each entry, and one where two prefixes part; as many as the address space has room for. */
static s32 trie_new(struct map *map)
{
    u64 count = (u64)map->max_entries * 2 + 1;
    map->key_room = hot_key_room(map->key_size - 4);
    map->node_size = sizeof(struct prefix) + map->key_room + map->stride;
    if (count > RESERVED_BYTES / map->node_size)
        count = RESERVED_BYTES / map->node_size;
    map->node_count = count > 0xffffffffull ? 0xffffffffu : (u32)count;
    map->slot_bytes = (u64)map->node_size * map->node_count;
    map->slots = pages_take(map->slot_bytes);
    map->pools = (struct pool *)calloc(1, sizeof(struct pool));
    return map->slots && map->pools ? own(map->sim, map->slots, map->slot_bytes) : -ENOMEM;
}
