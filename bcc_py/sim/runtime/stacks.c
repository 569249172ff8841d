/* Stack traces by number: the number is the hash of the addresses, as in Linux (kernel/bpf/stackmap.c), so that a stack has
   the same number in every kernel. A place holds one stack, and keeps it unless its user says otherwise. */

enum { STACK_SKIP = 0xff, STACK_USER = 0x100, STACK_FAST_COMPARE = 0x200, STACK_REUSE = 0x400, STACK_WITH_BUILD_IDS = 1 << 5 };

struct stack {
    u32 hash;
    u32 bytes; /* 0: nothing there */
};

static u32 rotate(u32 word, u32 by)
{
    return word << by | word >> (32 - by);
}

/* Bob Jenkins's lookup3 (2006) over 32-bit words. */
static u32 jenkins_words(const u32 *words, u32 count, u32 seed)
{
    u32 a = 0xdeadbeef + (count << 2) + seed;
    u32 b = a;
    u32 c = a;
    for (; count > 3; count -= 3, words += 3) {
        a += words[0];
        b += words[1];
        c += words[2];
        a -= c; a ^= rotate(c, 4); c += b;
        b -= a; b ^= rotate(a, 6); a += c;
        c -= b; c ^= rotate(b, 8); b += a;
        a -= c; a ^= rotate(c, 16); c += b;
        b -= a; b ^= rotate(a, 19); a += c;
        c -= b; c ^= rotate(b, 4); b += a;
    }
    if (count == 3)
        c += words[2];
    if (count >= 2)
        b += words[1];
    if (!count)
        return c;
    a += words[0];
    c ^= b; c -= rotate(b, 14);
    a ^= c; a -= rotate(c, 11);
    b ^= a; b -= rotate(a, 25);
    c ^= b; c -= rotate(b, 16);
    a ^= c; a -= rotate(c, 4);
    b ^= a; b -= rotate(a, 14);
    c ^= b; c -= rotate(b, 24);
    return c;
}

static struct stack *stack_at(struct map *map, u32 number)
{
    return (struct stack *)(map->slots + (u64)number * map->node_size);
}

static u8 *stack_entries(struct stack *stack)
{
    return (u8 *)(stack + 1);
}

/* The number under which bytes (addresses, or build ids) are stored, -EEXIST where another stack is in their place. */
static s64 stack_store(struct map *map, const u8 *bytes, u32 size, u32 hash, u64 flags)
{
    u32 number = hash & map->bucket_mask;
    struct stack *stack = stack_at(map, number);
    s64 answer = number;
    lock_take(&map->lock);
    if (stack->bytes && stack->hash == hash && (flags & STACK_FAST_COMPARE)) {
        answer = number;
    } else if (stack->bytes == size && stack->hash == hash && !memcmp(stack_entries(stack), bytes, size)) {
        answer = number;
    } else if (stack->bytes && !(flags & STACK_REUSE)) {
        answer = -EEXIST;
    } else {
        map->count += !stack->bytes;
        memcpy(stack_entries(stack), bytes, size);
        stack->bytes = size;
        stack->hash = hash;
    }
    lock_give(&map->lock);
    return answer;
}

/* What bpf_get_stackid does with count addresses, of which it has skipped those that flags says. -EFAULT for none. rows:
   what is kept instead of the addresses, row_bytes for each. */
static s64 stack_rows_store(struct map *map, const u64 *ips, const u8 *rows, u32 row_bytes, u32 count, u64 flags)
{
    u32 most = map->value_size / row_bytes;
    if (map->type != MAP_STACK_TRACE)
        return -EINVAL;
    if (!count)
        return -EFAULT;
    count = count < most ? count : most;
    return stack_store(map, rows, count * row_bytes, jenkins_words((const u32 *)ips, count * 2, 0), flags);
}

s64 stack_map_store(struct map *map, const u64 *ips, u32 count, u64 flags)
{
    return stack_rows_store(map, ips, (const u8 *)ips, 8, count, flags);
}

static s32 stack_read(struct map *map, const u8 *key, u8 *value, u32 is_delete)
{
    u32 number = index_of(key);
    struct stack *stack = stack_at(map, number);
    s32 error = -ENOENT;
    if (number > map->bucket_mask)
        return error;
    lock_take(&map->lock);
    if (stack->bytes) {
        memcpy(value, stack_entries(stack), stack->bytes);
        memset(value + stack->bytes, 0, map->value_size - stack->bytes);
        error = 0;
        if (is_delete)
            stack->bytes = 0;
    }
    lock_give(&map->lock);
    return error;
}

static s32 stack_delete(struct map *map, const u8 *key)
{
    u32 number = index_of(key);
    s32 error = -ENOENT;
    if (number > map->bucket_mask)
        return -E2BIG;
    lock_take(&map->lock);
    if (stack_at(map, number)->bytes) {
        stack_at(map, number)->bytes = 0;
        error = 0;
    }
    lock_give(&map->lock);
    return error;
}

/* The first number with a stack after key's; from the start where key's has none. */
static s32 stack_next(struct map *map, const u8 *key, u8 *next)
{
    u64 number = 0;
    if (key) {
        number = index_of(key);
        number = number > map->bucket_mask || !stack_at(map, (u32)number)->bytes ? 0 : number + 1;
    }
    while (number <= map->bucket_mask && !stack_at(map, (u32)number)->bytes)
        number++;
    if (number > map->bucket_mask)
        return -ENOENT;
    memcpy(next, &number, 4);
    return 0;
}

static s32 stacks_new(struct map *map)
{
    u32 places = power_of_two_from(map->max_entries);
    map->bucket_mask = places - 1;
    map->node_size = sizeof(struct stack) + map->stride;
    map->slot_bytes = (u64)map->node_size * places;
    map->slots = pages_take(map->slot_bytes);
    return map->slots ? 0 : -ENOMEM;
}
