/* Arenas: pages that programs share by address. The window is reserved when the map is made and aligned to 4 GiB, so that
   an address's low half is its offset; a page takes memory when it is written to. */

enum { ARENA_PAGE = 4096, DONT_NEED = 4 };
#define ARENA_ALIGNMENT 0x100000000ull

static s32 arena_new(struct map *map)
{
    u8 *window = pages_take(2 * ARENA_ALIGNMENT);
    u8 *pages;
    u64 aligned;
    if (!window)
        return -ENOMEM;
    aligned = ((u64)window + ARENA_ALIGNMENT - 1) & ~(ARENA_ALIGNMENT - 1);
    if (aligned != (u64)window)
        munmap(window, aligned - (u64)window);
    munmap((u8 *)aligned + ARENA_ALIGNMENT, (u64)window + ARENA_ALIGNMENT - aligned);
    map->slots = (u8 *)aligned;
    map->slot_bytes = ARENA_ALIGNMENT;
    map->bucket_bytes = map->max_entries;
    pages = pages_take(map->bucket_bytes); /* 1 for each page that is taken */
    map->buckets = (struct bucket *)pages;
    return pages ? own(map->sim, map->slots, (u64)map->max_entries * ARENA_PAGE) : -ENOMEM;
}

static u32 arena_is_free(const u8 *taken, u64 first, u64 count)
{
    u64 i;
    for (i = 0; i < count; i++)
        if (taken[first + i])
            return 0;
    return 1;
}

/* The first of count free pages in a row, at wanted unless that is past the end; as many as there are pages: none. */
static u64 arena_place(struct map *map, u64 wanted, u64 count)
{
    u8 *taken = (u8 *)map->buckets;
    u64 first = 0;
    u64 run = 0;
    u64 at;
    if (wanted < map->max_entries)
        return wanted + count <= map->max_entries && arena_is_free(taken, wanted, count) ? wanted : map->max_entries;
    for (at = 0; at < map->max_entries && run < count; at++) {
        run = taken[at] ? 0 : run + 1;
        if (run == 1)
            first = at;
    }
    return run == count ? first : map->max_entries;
}

/* The address of count zeroed pages in a row, at address unless that is 0; 0 where there are none. */
u64 arena_alloc_pages(struct cpu *cpu, struct map *map, u64 address, u64 count, u64 node, u64 flags)
{
    u64 wanted = map->max_entries;
    u64 first;
    (void)cpu;
    (void)node;
    count = (u32)count;
    if (map->type != MAP_ARENA || flags || (address & (ARENA_PAGE - 1)) || !count || count > map->max_entries)
        return 0;
    if (address) {
        wanted = (u32)address / ARENA_PAGE;
        if (wanted + count > map->max_entries)
            return 0;
    }
    lock_take(&map->lock);
    first = arena_place(map, wanted, count);
    if (first < map->max_entries)
        memset((u8 *)map->buckets + first, 1, count);
    lock_give(&map->lock);
    return first < map->max_entries ? (u64)map->slots + first * ARENA_PAGE : 0;
}

/* Those of the pages that are taken become free, and zeros. */
void arena_free_pages(struct cpu *cpu, struct map *map, u64 address, u64 count)
{
    u64 first = (u32)address / ARENA_PAGE;
    (void)cpu;
    count = (u32)count;
    if (map->type != MAP_ARENA || !count || (address & (ARENA_PAGE - 1)) || first >= map->max_entries)
        return;
    if (first + count > map->max_entries)
        count = map->max_entries - first;
    lock_take(&map->lock);
    madvise(map->slots + first * ARENA_PAGE, count * ARENA_PAGE, DONT_NEED);
    memset((u8 *)map->buckets + first, 0, count);
    lock_give(&map->lock);
}
