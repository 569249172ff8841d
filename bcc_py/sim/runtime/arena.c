/* Arenas: pages that programs share by address.

   The window of 4 GiB is there from the start and readable all over, a page takes memory when it is written to. Whether a
   page was allocated stands in a table in front of the window, a byte for each: code asks it before each access
   (jit/memory.py). A page that is not there reads as 0 and drops what is written, as on Linux, where the access faults and
   the instruction is skipped; here nothing faults. An access over the edge of a page needs both.

   A process that touches its mapping on Linux allocates the page. Python's view of an arena is the window itself, so what
   it touched is found when somebody asks: these pages are in memory, and programs touch no others.

   What differs: a page that Python touched in a view counts as allocated from when a program meets it, so such pages
   become taken in ascending order; with BPF_F_SEGV_ON_FAULT, where Linux ends the process, Python reads zeros, and what
   it writes is lost when the page is allocated. A program that still writes to a page while another frees it may leave
   its bytes there until the page is allocated again. A touched page that was swapped out is not found. */

enum { ARENA_PAGE = 4096, ARENA_PAGES = 1 << 20, DONT_NEED = 4, NO_HUGE_PAGE = 15, FOUND_AT_ONCE = 512 };
enum { ARENA_LOW = 0x10000, ARENA_GUARD = 0x10000, ARENA_FRONT = 0x4000000, ARENA_TABLE = 0x300000, SEGV_ON_FAULT = 1 << 17 };
#define ARENA_ALIGNMENT 0x100000000ull
#define ARENA_BYTES (ARENA_FRONT + ARENA_ALIGNMENT + ARENA_GUARD)

s32 mincore(void *memory, unsigned long size, u8 *is_there);

/* Where a process would map it: not from a multiple of 4 GiB on if that can be, for its first page would then be where
   programs have their null. */
static u64 arena_address(const struct map *map)
{
    u64 room = ARENA_ALIGNMENT - (u64)map->max_entries * ARENA_PAGE;
    return (u64)map->arena->window + (room < ARENA_LOW ? room : ARENA_LOW);
}

static void arena_lay_out(struct map *map)
{
    struct ranges *free = &map->arena->free;
    u32 *numbers = (u32 *)map->slots;
    free->sizes = numbers;
    free->next = numbers + RANGE_PAGES;
    free->before = numbers + 2 * RANGE_PAGES;
    free->heads = numbers + 3 * RANGE_PAGES;
    free->starts = (u64 *)(numbers + 5 * RANGE_PAGES);
    free->by_size = free->starts + SET_WORDS;
    map->arena->window = map->slots + ARENA_FRONT;
    map->arena->taken = map->arena->window - ARENA_TABLE;
    map->arena->user = map->extra ? map->extra : arena_address(map);
    range_put(free, 0, map->max_entries);
}

/* The mapping: ranges, the table, the window with room on both sides for what an instruction's offset reaches. */
static s32 arena_new(struct map *map)
{
    u8 *found = pages_take(ARENA_BYTES + ARENA_ALIGNMENT);
    u64 front;
    if (!found)
        return -ENOMEM;
    front = (((u64)found + ARENA_FRONT + ARENA_ALIGNMENT - 1) & ~(ARENA_ALIGNMENT - 1)) - ARENA_FRONT - (u64)found;
    if (front)
        munmap(found, front);
    if (front < ARENA_ALIGNMENT)
        munmap(found + front + ARENA_BYTES, ARENA_ALIGNMENT - front);
    map->slots = found + front;
    map->slot_bytes = ARENA_BYTES;
    madvise(map->slots, ARENA_BYTES, NO_HUGE_PAGE); /* a page that is touched brings no others */
    map->arena = (struct arena *)calloc(1, sizeof(struct arena));
    if (!map->arena)
        return -ENOMEM;
    arena_lay_out(map);
    return 0;
}

/* ---- pages that Python touched ---- */

static u32 arena_place(const struct arena *arena, u32 page)
{
    return ((u32)arena->user / ARENA_PAGE + page) & (ARENA_PAGES - 1);
}

static void arena_mark(struct arena *arena, u32 place, u32 count, u8 is_taken)
{
    u32 i;
    for (i = 0; i < count; i++)
        __atomic_store_n(arena->taken + place + i, is_taken, RELEASE);
}

/* Those among page to page + count, at most FOUND_AT_ONCE, that are in memory without being taken become taken. */
static void arena_find(struct map *map, u32 page, u32 count)
{
    struct arena *arena = map->arena;
    u32 place = arena_place(arena, page);
    u8 is_there[FOUND_AT_ONCE];
    u32 i;
    if (mincore(arena->window + (u64)place * ARENA_PAGE, (u64)count * ARENA_PAGE, is_there))
        return;
    for (i = 0; i < count; i++) {
        if (!(is_there[i] & 1) || arena->taken[place + i])
            continue;
        ranges_remove(&arena->free, page + i, 1);
        arena_mark(arena, place + i, 1, 1);
    }
}

static int arena_is_touched(const struct map *map)
{
    return __atomic_load_n(&map->arena->is_viewed, ACQUIRE) && !(map->flags & SEGV_ON_FAULT);
}

static void arena_find_all(struct map *map)
{
    u32 page;
    if (!arena_is_touched(map))
        return;
    for (page = 0; page < map->max_entries; page += FOUND_AT_ONCE)
        arena_find(map, page, map->max_entries - page < FOUND_AT_ONCE ? map->max_entries - page : FOUND_AT_ONCE);
}

static int arena_has_page(struct map *map, s64 place)
{
    struct arena *arena = map->arena;
    u32 page;
    if (place < 0 || place >= ARENA_PAGES)
        return 0;
    page = ((u32)place - (u32)arena->user / ARENA_PAGE) & (ARENA_PAGES - 1);
    if (page < map->max_entries && arena_is_touched(map)) {
        lock_take(&map->lock);
        arena_find(map, page, 1);
        lock_give(&map->lock);
    }
    return __atomic_load_n(arena->taken + place, ACQUIRE);
}

/* Whether bytes at this place of the window, which may lie outside of it, may be accessed: what code asks where the table
   does not say so at once. */
u64 arena_has(struct cpu *cpu, struct map *map, s64 at, u64 bytes)
{
    (void)cpu;
    return arena_has_page(map, at >> 12) && arena_has_page(map, (at + (s64)bytes - 1) >> 12);
}

/* ---- kernel functions ---- */

/* How far address is behind the arena's first page, in pages; one in front of it is far behind. */
static u32 arena_page(const struct arena *arena, u64 address)
{
    return ((u32)address - (u32)arena->user) / ARENA_PAGE;
}

/* Whether the window has nothing at these pages. They are another's after an address in front of the arena was freed. */
static int arena_is_empty(const struct arena *arena, u32 place, u32 count)
{
    u32 i;
    for (i = 0; i < count; i++)
        if (place + i >= ARENA_PAGES || arena->taken[place + i])
            return 0;
    return 1;
}

static u32 arena_take(struct map *map, u64 address, u32 count)
{
    struct arena *arena = map->arena;
    u32 page = address ? arena_page(arena, address) : ranges_find(&arena->free, count);
    u32 place;
    if (page == NO_RANGE || (address && !ranges_have(&arena->free, page, count)))
        return NO_RANGE;
    place = arena_place(arena, page);
    ranges_remove(&arena->free, page, count);
    if (!arena_is_empty(arena, place, count)) {
        ranges_add(&arena->free, page, count);
        return NO_RANGE;
    }
    madvise(arena->window + (u64)place * ARENA_PAGE, (u64)count * ARENA_PAGE, DONT_NEED);
    arena_mark(arena, place, count, 1);
    return page;
}

/* The address of count zeroed pages in a row, at address unless that is 0; 0 where there are none. */
u64 kfunc_bpf_arena_alloc_pages(struct cpu *cpu, struct map *map, u64 address, u64 pages, u64 node, u64 flags)
{
    u32 count = (u32)pages;
    u32 page;
    (void)cpu;
    (void)node;
    if (map->type != MAP_ARENA || flags || !count || count > map->max_entries)
        return 0;
    if ((address & (ARENA_PAGE - 1)) || (address && arena_page(map->arena, address) > map->max_entries - count))
        return 0;
    lock_take(&map->lock);
    arena_find_all(map);
    page = arena_take(map, address, count);
    lock_give(&map->lock);
    if (page == NO_RANGE)
        return 0;
    return (map->arena->user & ~(ARENA_ALIGNMENT - 1)) + (u32)(map->arena->user + (u64)page * ARENA_PAGE);
}

/* Those of the pages that are there become free. An address in front of the arena is one as far behind it for what is
   free then, as on Linux. */
void kfunc_bpf_arena_free_pages(struct cpu *cpu, struct map *map, u64 address, u64 pages)
{
    u64 first;
    u64 end;
    u32 count;
    u32 place = (u32)address / ARENA_PAGE;
    (void)cpu;
    if (map->type != MAP_ARENA || !(u32)pages || !address)
        return;
    first = (map->arena->user & ~(ARENA_ALIGNMENT - 1)) + ((u32)address & ~(u32)(ARENA_PAGE - 1));
    end = map->arena->user + (u64)map->max_entries * ARENA_PAGE;
    if (first + (u64)(u32)pages * ARENA_PAGE < end)
        end = first + (u64)(u32)pages * ARENA_PAGE;
    if (first >= end)
        return;
    count = (u32)((end - first) / ARENA_PAGE);
    lock_take(&map->lock);
    arena_find_all(map);
    ranges_add(&map->arena->free, arena_page(map->arena, (u32)address & ~(u32)(ARENA_PAGE - 1)), count);
    arena_mark(map->arena, place, count, 0);
    madvise(map->arena->window + (u64)place * ARENA_PAGE, (u64)count * ARENA_PAGE, DONT_NEED);
    lock_give(&map->lock);
}

/* Nobody is given these pages, until they are freed. They are not there either. */
s64 kfunc_bpf_arena_reserve_pages(struct cpu *cpu, struct map *map, u64 address, u64 pages)
{
    u32 count = (u32)pages;
    u32 page;
    s64 error;
    (void)cpu;
    if (map->type != MAP_ARENA)
        return -EINVAL;
    if (!count || (address & (ARENA_PAGE - 1)))
        return 0;
    page = arena_page(map->arena, address);
    if ((u64)page + count > map->max_entries)
        return -EINVAL;
    lock_take(&map->lock);
    arena_find_all(map);
    error = ranges_have(&map->arena->free, page, count) ? 0 : -EBUSY;
    if (!error)
        ranges_remove(&map->arena->free, page, count);
    lock_give(&map->lock);
    return error;
}
