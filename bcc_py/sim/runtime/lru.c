/* LRU hashes: which node gives way. The algorithm of kernel/bpf/bpf_lru_list.c, so that the same operations leave the same
   keys as in Linux.

   A list (one, or with NO_COMMON_LRU one for each CPU) has active, inactive and free nodes, newest first. A look-up in a
   program sets a node's was_used; rotating moves used inactive nodes to the active ones, and active nodes that were not
   used back; shrinking takes unused nodes from the end of the inactive ones. With the one list, each CPU takes free nodes
   for its own in bulk, and keeps the nodes of new keys as pending until it needs more.

   A lock of a list may be held while a bucket's lock is taken, never the other way round. */

enum { LRU_ACTIVE = 0, LRU_INACTIVE = 1, LRU_FREE = 2, LRU_LOCAL_FREE = 3, LRU_LOCAL_PENDING = 4 };
enum { LOCAL_FREE = 0, LOCAL_PENDING = 1 };
enum { LOCAL_TARGET = 128, PERCPU_TARGET = 4 };

static void links_init(struct links *head)
{
    head->next = head;
    head->before = head;
}

static void links_add(struct links *head, struct links *one)
{
    one->next = head->next;
    one->before = head;
    head->next->before = one;
    head->next = one;
}

static void links_remove(struct links *one)
{
    one->before->next = one->next;
    one->next->before = one->before;
}

static void links_move(struct links *head, struct links *one)
{
    links_remove(one);
    links_add(head, one);
}

static struct node *node_of(struct links *one)
{
    return (struct node *)(one + 1);
}

static struct links *links_of(struct node *node)
{
    return (struct links *)node - 1;
}

static void lru_count(struct lru_list *list, u32 kind, s32 by)
{
    if (kind <= LRU_INACTIVE)
        list->counts[kind] += (u32)by;
}

/* The next rotation begins elsewhere if one is where it would have. */
static void lru_leave(struct lru_list *list, struct links *one)
{
    if (list->rotation == one)
        list->rotation = one->before;
}

static void lru_move_to_free(struct lru_list *list, struct links *one, struct links *to, u32 kind)
{
    lru_leave(list, one);
    lru_count(list, node_of(one)->list, -1);
    node_of(one)->list = (u8)kind;
    links_move(to, one);
}

static void lru_move_in(struct lru_list *list, struct links *one, u32 kind)
{
    lru_count(list, kind, 1);
    node_of(one)->list = (u8)kind;
    node_of(one)->was_used = 0;
    links_move(list->lists + kind, one);
}

static void lru_move(struct lru_list *list, struct links *one, u32 kind)
{
    lru_count(list, node_of(one)->list, -1);
    lru_count(list, kind, 1);
    node_of(one)->list = (u8)kind;
    node_of(one)->was_used = 0;
    lru_leave(list, one);
    links_move(list->lists + kind, one);
}

/* Takes the node out of its bucket; 0 if it is not in one (its writer has not come so far). */
static u32 lru_unhash(struct map *map, struct node *node)
{
    struct bucket *bucket = bucket_of(map, node->hash);
    u64 *link = &bucket->first;
    u32 is_found;
    lock_take(&bucket->lock);
    while (is_node(*link) && *link != (u64)node)
        link = &((struct node *)*link)->next;
    is_found = *link == (u64)node;
    if (is_found)
        chain_cut(link);
    lock_give(&bucket->lock);
    if (is_found)
        free_node_fields(map, node);
    return is_found;
}

static void lru_rotate_active(struct lru *lru, struct lru_list *list)
{
    struct links *head = list->lists + LRU_ACTIVE;
    struct links *first = head->next;
    struct links *one = head->before;
    struct links *before;
    u32 left = lru->scans;
    for (; one != head; one = before) {
        before = one->before;
        lru_move(list, one, node_of(one)->was_used ? LRU_ACTIVE : LRU_INACTIVE);
        if (!--left || one == first)
            break;
    }
}

static void lru_rotate_inactive(struct lru *lru, struct lru_list *list)
{
    struct links *head = list->lists + LRU_INACTIVE;
    struct links *last = list->rotation->next;
    struct links *one = list->rotation;
    struct links *following = one;
    u32 left = lru->scans;
    if (head->next == head)
        return;
    if (last == head)
        last = head->next;
    while (left) {
        if (one == head) {
            one = one->before;
            continue;
        }
        following = one->before;
        if (node_of(one)->was_used)
            lru_move(list, one, LRU_ACTIVE);
        if (one == last)
            break;
        one = following;
        left--;
    }
    list->rotation = following;
}

static void lru_rotate(struct lru *lru, struct lru_list *list)
{
    if (list->counts[LRU_INACTIVE] < list->counts[LRU_ACTIVE])
        lru_rotate_active(lru, list);
    lru_rotate_inactive(lru, list);
}

static u32 lru_shrink_inactive(struct map *map, struct lru_list *list, u32 target, struct links *to, u32 kind)
{
    struct links *head = list->lists + LRU_INACTIVE;
    struct links *one = head->before;
    struct links *before;
    u32 left = map->lru->scans;
    u32 shrunk = 0;
    for (; one != head; one = before) {
        before = one->before;
        if (node_of(one)->was_used) {
            lru_move(list, one, LRU_ACTIVE);
        } else if (lru_unhash(map, node_of(one))) {
            lru_move_to_free(list, one, to, kind);
            if (++shrunk == target)
                break;
        }
        if (!--left)
            break;
    }
    return shrunk;
}

/* At least one node becomes free if any can, used or not. */
static void lru_shrink(struct map *map, struct lru_list *list, u32 target, struct links *to, u32 kind)
{
    struct links *head = list->lists + LRU_INACTIVE;
    struct links *one;
    if (lru_shrink_inactive(map, list, target, to, kind))
        return;
    if (head->next == head)
        head = list->lists + LRU_ACTIVE;
    for (one = head->before; one != head; one = one->before) {
        if (lru_unhash(map, node_of(one))) {
            lru_move_to_free(list, one, to, kind);
            return;
        }
    }
}

/* A node that nobody took yet, in no list, or null. */
static struct links *lru_fresh(struct map *map, struct lru_list *list)
{
    return list->fresh < list->fresh_end ? links_of(node_prepared(map, list->fresh++)) : (struct links *)0;
}

/* ---- one list for all ---- */

static void lru_flush_pending(struct lru_list *list, struct lru_local *local)
{
    struct links *head = local->lists + LOCAL_PENDING;
    struct links *one = head->before;
    struct links *before;
    for (; one != head; one = before) {
        before = one->before;
        lru_move_in(list, one, node_of(one)->was_used ? LRU_ACTIVE : LRU_INACTIVE);
    }
}

static void lru_refill(struct map *map, struct lru_local *local)
{
    struct lru_list *list = map->lru->lists;
    struct links *to = local->lists + LOCAL_FREE;
    struct links *head = list->lists + LRU_FREE;
    struct links *one;
    u32 target = map->lru->target;
    lock_take(&list->lock);
    lru_flush_pending(list, local);
    lru_rotate(map->lru, list);
    while (target && head->next != head) {
        lru_move_to_free(list, head->next, to, LRU_LOCAL_FREE);
        target--;
    }
    while (target && (one = lru_fresh(map, list))) {
        node_of(one)->list = LRU_LOCAL_FREE;
        links_add(to, one);
        target--;
    }
    if (target)
        lru_shrink(map, list, target, to, LRU_LOCAL_FREE);
    lock_give(&list->lock);
}

static struct links *lru_pop_local(struct lru_local *local)
{
    struct links *head = local->lists + LOCAL_FREE;
    struct links *one = head->next;
    if (one == head)
        return (struct links *)0;
    links_remove(one);
    return one;
}

/* The oldest pending node that was not used; is_forced: used or not. */
static struct links *lru_pop_pending(struct map *map, struct lru_local *local, u32 is_forced)
{
    struct links *head = local->lists + LOCAL_PENDING;
    struct links *one;
    for (one = head->before; one != head; one = one->before) {
        if ((is_forced || !node_of(one)->was_used) && lru_unhash(map, node_of(one))) {
            links_remove(one);
            return one;
        }
    }
    return (struct links *)0;
}

static void lru_pend(struct lru_local *local, struct links *one, u32 cpu, u32 hash)
{
    struct node *node = node_of(one);
    node->hash = hash;
    node->cpu = (u16)cpu;
    node->list = LRU_LOCAL_PENDING;
    node->was_used = 0;
    links_add(local->lists + LOCAL_PENDING, one);
}

/* From the CPUs' own nodes, one CPU after the other. */
static struct links *lru_steal(struct map *map, struct lru_local *local)
{
    u32 first = local->next_steal;
    u32 at = first;
    struct links *one;
    do {
        struct lru_local *other = map->lru->locals + at;
        lock_take(&other->lock);
        one = lru_pop_local(other);
        if (!one)
            one = lru_pop_pending(map, other, 0);
        if (!one)
            one = lru_pop_pending(map, other, 1);
        lock_give(&other->lock);
        at = at + 1 == map->sim->cpus ? 0 : at + 1;
    } while (!one && at != first);
    local->next_steal = at;
    return one;
}

static struct links *lru_take_common(struct map *map, u32 cpu, u32 hash)
{
    struct lru_local *local = map->lru->locals + cpu;
    struct links *one;
    lock_take(&local->lock);
    one = lru_pop_local(local);
    if (!one) {
        lru_refill(map, local);
        one = lru_pop_local(local);
    }
    if (one)
        lru_pend(local, one, cpu, hash);
    lock_give(&local->lock);
    if (one)
        return one;
    one = lru_steal(map, local);
    if (one) {
        lock_take(&local->lock);
        lru_pend(local, one, cpu, hash);
        lock_give(&local->lock);
    }
    return one;
}

/* ---- a list for each CPU ---- */

static struct links *lru_take_percpu(struct map *map, u32 cpu, u32 hash)
{
    struct lru_list *list = map->lru->lists + cpu;
    struct links *head = list->lists + LRU_FREE;
    struct links *one;
    lock_take(&list->lock);
    lru_rotate(map->lru, list);
    if (head->next == head && (one = lru_fresh(map, list))) {
        node_of(one)->list = LRU_FREE;
        links_add(head, one);
    }
    if (head->next == head)
        lru_shrink(map, list, PERCPU_TARGET, head, LRU_FREE);
    one = head->next == head ? (struct links *)0 : head->next;
    if (one) {
        node_of(one)->hash = hash;
        node_of(one)->cpu = (u16)cpu;
        lru_move(list, one, LRU_INACTIVE);
    }
    lock_give(&list->lock);
    return one;
}

/* ---- what hashes call ---- */

/* A node for a new key, which has given up another one if need be. who: outside programs, CPU 0 stands for the caller. */
static struct node *lru_take(struct map *map, u32 who, u32 hash)
{
    struct links *one;
    u32 cpu = who < map->sim->cpus ? who : 0;
    one = map->lru->locals ? lru_take_common(map, cpu, hash) : lru_take_percpu(map, cpu, hash);
    return one ? node_of(one) : (struct node *)0;
}

static u32 lru_give_local(struct map *map, struct node *node)
{
    struct lru_local *local = map->lru->locals + node->cpu;
    u32 is_pending;
    lock_take(&local->lock);
    is_pending = node->list == LRU_LOCAL_PENDING;
    if (is_pending) {
        node->list = LRU_LOCAL_FREE;
        node->was_used = 0;
        links_move(local->lists + LOCAL_FREE, links_of(node));
    }
    lock_give(&local->lock);
    return is_pending;
}

static void lru_give(struct map *map, struct node *node)
{
    struct lru_list *list = map->lru->lists + (map->lru->locals ? 0 : node->cpu);
    if (map->lru->locals && __atomic_load_n(&node->list, RELAXED) == LRU_LOCAL_PENDING && lru_give_local(map, node))
        return;
    lock_take(&list->lock);
    lru_move(list, links_of(node), LRU_FREE);
    lock_give(&list->lock);
}

/* The new node is taken before anybody knows whether the key is there, as in Linux: even an update that fails may make
   room. */
static s32 lru_update(struct map *map, u32 who, const u8 *key, const u8 *value, u64 flags)
{
    u32 hash = hot_hash(key, map->key_size);
    struct bucket *bucket = bucket_of(map, hash);
    struct node *old = (struct node *)0;
    struct node *node = lru_take(map, who, hash);
    u64 *link;
    s32 error;
    if (!node)
        return -ENOMEM;
    memcpy(hot_key(node), key, map->key_size);
    copy_in_value(map, node_value(map, node), value);
    lock_take(&bucket->lock);
    link = chain_find(bucket, key, map->key_size, hash);
    error = existence(!!link, flags);
    if (!error && link) {
        old = (struct node *)*link;
        node->was_used = 1;
        node->next = old->next;
        __atomic_store_n(link, (u64)node, RELEASE);
    } else if (!error) {
        chain_push(map, bucket, node);
    }
    lock_give(&bucket->lock);
    if (old)
        free_node_fields(map, old);
    if (error || old)
        lru_give(map, error ? node : old);
    return error;
}

static s32 lru_percpu_update(struct map *map, u32 who, const u8 *key, const u8 *value, u64 flags, u32 is_all)
{
    u32 hash = hot_hash(key, map->key_size);
    struct bucket *bucket = bucket_of(map, hash);
    struct node *node = (struct node *)0;
    u64 *link;
    s32 error;
    if (flags != BPF_EXIST) {
        node = lru_take(map, who, hash);
        if (!node)
            return -ENOMEM;
        memcpy(hot_key(node), key, map->key_size);
    }
    lock_take(&bucket->lock);
    link = chain_find(bucket, key, map->key_size, hash);
    error = existence(!!link, flags);
    if (!error && link) {
        ((struct node *)*link)->was_used = 1;
        write_percpu(map, (struct node *)*link, value, who, is_all);
    } else if (!error) {
        write_new(map, node, value, who, is_all);
        chain_push(map, bucket, node);
        node = (struct node *)0;
    }
    lock_give(&bucket->lock);
    if (node)
        lru_give(map, node);
    return error;
}

static void lru_list_init(struct lru_list *list, u32 fresh, u32 fresh_end)
{
    u32 i;
    for (i = 0; i < 3; i++)
        links_init(list->lists + i);
    list->rotation = list->lists + LRU_INACTIVE;
    list->fresh = fresh;
    list->fresh_end = fresh_end;
}

static void lru_init(struct map *map, u32 lists)
{
    u32 i;
    u32 share = map->max_entries / lists;
    u32 target = map->max_entries / map->sim->cpus / 2;
    struct lru *lru = map->lru;
    for (i = 0; i < lists; i++)
        lru_list_init(lru->lists + i, i * share, (i + 1) * share);
    lru->target = !target ? 1 : target > LOCAL_TARGET ? LOCAL_TARGET : target;
    lru->scans = lru->locals ? LOCAL_TARGET : PERCPU_TARGET;
    for (i = 0; lru->locals && i < map->sim->cpus; i++) {
        links_init(lru->locals[i].lists + LOCAL_FREE);
        links_init(lru->locals[i].lists + LOCAL_PENDING);
        lru->locals[i].next_steal = i;
    }
}

static s32 lru_new(struct map *map)
{
    u32 lists = map->flags & NO_COMMON_LRU ? map->sim->cpus : 1;
    map->lru = (struct lru *)calloc(1, sizeof(struct lru));
    if (!map->lru)
        return -ENOMEM;
    map->lru->lists = (struct lru_list *)calloc(lists, sizeof(struct lru_list));
    if (!(map->flags & NO_COMMON_LRU))
        map->lru->locals = (struct lru_local *)calloc(map->sim->cpus, sizeof(struct lru_local));
    if (!map->lru->lists || (lists == 1 && !(map->flags & NO_COMMON_LRU) && !map->lru->locals))
        return -ENOMEM;
    lru_init(map, lists);
    return hash_new(map, sizeof(struct links));
}

static void lru_free(struct map *map)
{
    if (!map->lru)
        return;
    bury(map->sim, map->lru->lists, 0);
    bury(map->sim, map->lru->locals, 0);
    bury(map->sim, map->lru, 0);
}
