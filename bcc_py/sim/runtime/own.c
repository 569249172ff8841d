/* What everything else stands on: errno values, the C library, locks, and memory that programs may be shown or may still
   be using. */

enum {
    EPERM = 1, ENOENT = 2, E2BIG = 7, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14, EBUSY = 16,
    EEXIST = 17, ENODEV = 19, EINVAL = 22, EFBIG = 27, ENOSPC = 28, ERANGE = 34, EDEADLK = 35,
    ENAMETOOLONG = 36, ENOMSG = 42, ENODATA = 61, EPROTO = 71, EBADMSG = 74, EPROTOTYPE = 91,
    EPROTONOSUPPORT = 93, ESOCKTNOSUPPORT = 94, EOPNOTSUPP = 95, EAFNOSUPPORT = 97, EADDRNOTAVAIL = 99,
    ENETUNREACH = 101, EALREADY = 114, ENOTSUPP = 524
};

void *calloc(unsigned long count, unsigned long size);
void free(void *memory);
void *mmap(void *address, unsigned long size, int protection, int flags, int fd, long offset);
int munmap(void *memory, unsigned long size);
int madvise(void *memory, unsigned long size, int advice);

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

/* ---- memory whose pages exist once touched ---- */

enum { PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x4022 };
#define MAP_FAILED_ADDRESS 0xffffffffffffffffull
#define PAGE_MASK 4095ull

static u8 *pages_take(u64 size)
{
    void *memory = mmap((void *)0, (size + PAGE_MASK) & ~PAGE_MASK, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0);
    return (u64)memory == MAP_FAILED_ADDRESS ? (u8 *)0 : (u8 *)memory;
}

/* ---- memory that a running program may still use ---- */

static void grave_empty(void *memory, u64 bytes)
{
    if (bytes)
        munmap(memory, (bytes + PAGE_MASK) & ~PAGE_MASK);
    else
        free(memory);
}

/* Gives back what was buried, if no program runs. Whoever stops a program calls it. */
void sim_reclaim(struct sim *sim)
{
    struct grave *grave;
    struct grave *next;
    lock_take(&sim->grave_lock);
    grave = __atomic_load_n(&sim->running, 5) ? (struct grave *)0 : sim->graves;
    if (grave)
        sim->graves = (struct grave *)0;
    lock_give(&sim->grave_lock);
    for (; grave; grave = next) {
        next = grave->next;
        grave_empty(grave->memory, grave->bytes);
        free(grave);
    }
}

/* Nobody finds this memory any more; it is given back when those who may have found it have ended. Without room to note
   it, it stays. */
static void bury(struct sim *sim, void *memory, u64 bytes)
{
    struct grave *grave;
    if (!memory)
        return;
    if (!__atomic_load_n(&sim->running, 5)) {
        grave_empty(memory, bytes);
        return;
    }
    grave = (struct grave *)calloc(1, sizeof(struct grave));
    if (!grave)
        return;
    grave->memory = memory;
    grave->bytes = bytes;
    lock_take(&sim->grave_lock);
    grave->next = sim->graves;
    sim->graves = grave;
    lock_give(&sim->grave_lock);
}
