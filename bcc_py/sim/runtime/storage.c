/* Storages: a value for each socket, inode, task or control group, found by the object's address; and the older storages of
   control groups, found by the group's id. A storage is a hash whose keys are those 64-bit numbers.

   Whoever ends an object calls storage_drop for each storage: its address may be another object's later. */

enum { ROOT_CGROUP = 1 };
enum { STORAGE_CREATE = 1, STORAGE_ENTRIES = 65536, OWNER_BYTES = 8 };

static u32 is_storage(u32 type)
{
    return type == MAP_SK_STORAGE || type == MAP_INODE_STORAGE || type == MAP_TASK_STORAGE || type == MAP_CGRP_STORAGE;
}

static u32 is_cgroup_storage(u32 type)
{
    return type == MAP_CGROUP_STORAGE || type == MAP_PERCPU_CGROUP_STORAGE;
}

static s32 storage_new(struct map *map)
{
    map->key_size = OWNER_BYTES;
    map->max_entries = STORAGE_ENTRIES;
    return hash_new(map, 0);
}

/* A new value, a copy of initial or, where that is null, of zeros. */
static s32 storage_insert(struct map *map, u32 who, u64 owner, const u8 *initial)
{
    u8 *zeros;
    s32 error;
    if (initial)
        return hash_update(map, who, (const u8 *)&owner, initial, BPF_NOEXIST, 0);
    zeros = (u8 *)calloc(1, map->stride);
    if (!zeros)
        return -ENOMEM;
    error = hash_update(map, who, (const u8 *)&owner, zeros, BPF_NOEXIST, 0);
    free(zeros);
    return error;
}

static u8 *storage_get(struct cpu *cpu, struct map *map, u64 owner, const u8 *initial, u64 flags)
{
    u8 *value;
    if (!owner || (flags & ~(u64)STORAGE_CREATE))
        return (u8 *)0;
    value = hot_hash_lookup(map, (const u8 *)&owner, OWNER_BYTES);
    if (value || !(flags & STORAGE_CREATE))
        return value;
    storage_insert(map, cpu->number, owner, initial);
    return hot_hash_lookup(map, (const u8 *)&owner, OWNER_BYTES);
}

static s64 storage_delete(struct cpu *cpu, struct map *map, u64 owner)
{
    return owner ? hash_delete(map, cpu->number, (const u8 *)&owner, (u8 *)0, 0) : -EINVAL;
}

/* The object at this address is gone. */
void storage_drop(struct map *map, u64 owner)
{
    lock_take(&map->outside);
    hash_delete(map, map->sim->cpus, (const u8 *)&owner, (u8 *)0, 0);
    lock_give(&map->outside);
}

u8 *bpf_sk_storage_get(struct cpu *cpu, struct map *map, u64 sk, const u8 *value, u64 flags)
{
    return storage_get(cpu, map, sk, value, flags);
}

s64 bpf_sk_storage_delete(struct cpu *cpu, struct map *map, u64 sk)
{
    return storage_delete(cpu, map, sk);
}

u8 *bpf_inode_storage_get(struct cpu *cpu, struct map *map, u64 inode, const u8 *value, u64 flags)
{
    return storage_get(cpu, map, inode, value, flags);
}

s64 bpf_inode_storage_delete(struct cpu *cpu, struct map *map, u64 inode)
{
    return storage_delete(cpu, map, inode);
}

u8 *bpf_task_storage_get(struct cpu *cpu, struct map *map, u64 task, const u8 *value, u64 flags)
{
    return storage_get(cpu, map, task, value, flags);
}

s64 bpf_task_storage_delete(struct cpu *cpu, struct map *map, u64 task)
{
    return storage_delete(cpu, map, task);
}

u8 *bpf_cgrp_storage_get(struct cpu *cpu, struct map *map, u64 cgroup, const u8 *value, u64 flags)
{
    return storage_get(cpu, map, cgroup, value, flags);
}

s64 bpf_cgrp_storage_delete(struct cpu *cpu, struct map *map, u64 cgroup)
{
    return storage_delete(cpu, map, cgroup);
}

/* The current control group's value, made of zeros at its first use. */
u8 *bpf_get_local_storage(struct cpu *cpu, struct map *map, u64 flags)
{
    struct node *node = hot_hash_node(map, (const u8 *)&cpu->cgroup_id, OWNER_BYTES);
    (void)flags;
    if (!node) {
        storage_insert(map, cpu->number, cpu->cgroup_id, (const u8 *)0);
        node = hot_hash_node(map, (const u8 *)&cpu->cgroup_id, OWNER_BYTES);
    }
    return node ? node_value_on(map, node, cpu->number) : (u8 *)0;
}

/* Is the current task in the control group at this index, or below it? */
s64 bpf_current_task_under_cgroup(struct cpu *cpu, struct map *map, u64 key)
{
    u32 index = (u32)key;
    struct object *place;
    u64 group;
    if (index >= map->max_entries)
        return -E2BIG;
    place = (struct object *)map->slots + index;
    group = __atomic_load_n(&place->pointer, ACQUIRE);
    if (!group)
        return -EAGAIN;
    return group == ROOT_CGROUP || group == cpu->cgroup_id;
}
