/* Rings: perf event arrays and ring buffers, both sides.

   A perf ring holds what perf's mmap holds: records with an 8-byte header (type, misc, size), samples
   with a 4-byte raw size before the bytes, lost records told as soon as there is room again
   (kernel/events/ring_buffer.c, __perf_output_begin). A ring buffer holds records with the 8-byte
   header of kernel/bpf/ringbuf.c. Space is counted as Linux counts it, so a program loses the same
   records as it would there. */

enum { PERF_RECORD_LOST = 2, PERF_RECORD_SAMPLE = 9 };
enum { LOST_BYTES = 24 };
enum { RING_WAKEUP_FLAGS = 3, MOST_SAMPLES = 131072 };
enum { DYNPTR_MAX_BYTES = 0xffffff, DYNPTR_TYPE_SHIFT = 28, DYNPTR_LOCAL = 1, DYNPTR_RINGBUF = 2 };

/* perf_event_output: the CPU's number is the map's index */
#define INDEX_MASK 0xffffffffu

static u8 *ring_at(struct ring *ring, u64 position)
{
    return ring->bytes + (position & (ring->size - 1));
}

/* What lies above size belongs to the record that began below it; the next lap begins at 0. */
static u64 perf_room(struct ring *ring)
{
    return (__atomic_load_n(&ring->tail, ACQUIRE) - ring->head - 1) & (ring->size - 1);
}

static void perf_header(u8 *at, u32 type, u32 size)
{
    u16 half = (u16)size;
    memcpy(at, &type, 4);
    memset(at + 4, 0, 2);
    memcpy(at + 6, &half, 2);
}

static void perf_tell_lost(struct ring *ring)
{
    u8 *at = ring_at(ring, ring->head);
    perf_header(at, PERF_RECORD_LOST, LOST_BYTES);
    memset(at + 8, 0, 8);
    memcpy(at + 16, &ring->lost_pending, 8);
    ring->lost_pending = 0;
    __atomic_store_n(&ring->head, ring->head + LOST_BYTES, RELEASE);
}

static s64 perf_write(struct ring *ring, const u8 *bytes, u64 size)
{
    u64 total = (8 + 4 + size + 7) & ~7ull;
    u64 needed = total + (ring->lost_pending ? LOST_BYTES : 0);
    u32 raw = (u32)(total - 8 - 4);
    u8 *at;
    if (total > 65535)
        return -E2BIG;
    if (needed > perf_room(ring)) {
        ring->lost++;
        ring->lost_pending++;
        return -ENOSPC;
    }
    if (ring->lost_pending)
        perf_tell_lost(ring);
    at = ring_at(ring, ring->head);
    perf_header(at, PERF_RECORD_SAMPLE, (u32)total);
    memcpy(at + 8, &raw, 4);
    memcpy(at + 12, bytes, size);
    memset(at + 12 + size, 0, raw - size);
    __atomic_store_n(&ring->head, ring->head + total, RELEASE);
    return 0;
}

/* The lock keeps the ring open. */
static s64 perf_write_open(struct ring *ring, const u8 *bytes, u64 size)
{
    s64 error;
    lock_take(&ring->lock);
    error = ring->bytes && !ring->busy ? perf_write(ring, bytes, size) : -ENOENT;
    lock_give(&ring->lock);
    return error;
}

s64 bpf_perf_event_output(struct cpu *cpu, void *context, struct map *map, u64 flags, const u8 *bytes, u64 size)
{
    u32 index = (u32)flags;
    (void)context;
    if (flags > INDEX_MASK || map->type != MAP_PERF_EVENT_ARRAY)
        return -EINVAL;
    if (index == INDEX_MASK)
        index = cpu->number;
    if (index >= map->max_entries)
        return -E2BIG;
    if (!map->rings[index].bytes || map->rings[index].busy)
        return -ENOENT;
    if (index != cpu->number)
        return -EOPNOTSUPP;
    return perf_write_open(&map->rings[index], bytes, size);
}

/* Opens a CPU's ring of size bytes, a power of two. */
s32 perf_open(struct map *map, u32 cpu, u64 size)
{
    struct ring *ring;
    u8 *bytes;
    s32 error = 0;
    if (map->type != MAP_PERF_EVENT_ARRAY || cpu >= map->max_entries)
        return -E2BIG;
    if (size < 4096 || size > 0x40000000 || (size & (size - 1)))
        return -EINVAL;
    bytes = (u8 *)calloc(2, size);
    if (!bytes)
        return -ENOMEM;
    ring = &map->rings[cpu];
    lock_take(&ring->lock);
    if (ring->bytes) {
        error = -EBUSY;
    } else {
        ring->head = ring->tail = ring->lost = ring->lost_pending = 0;
        ring->size = size;
        ring->busy = 0;
        ring->bytes = bytes;
    }
    lock_give(&ring->lock);
    if (error)
        free(bytes);
    return error;
}

void perf_close(struct map *map, u32 cpu)
{
    struct ring *ring = &map->rings[cpu];
    u8 *bytes;
    lock_take(&ring->lock);
    bytes = ring->bytes;
    ring->bytes = (u8 *)0;
    lock_give(&ring->lock);
    free(bytes);
}

/* Programs no longer reach the CPU's ring; what is in it stays for its reader. */
s32 perf_delete(struct map *map, u32 cpu)
{
    struct ring *ring = &map->rings[cpu];
    s32 error = -ENOENT;
    lock_take(&ring->lock);
    if (ring->bytes && !ring->busy) {
        ring->busy = 1;
        error = 0;
    }
    lock_give(&ring->lock);
    return error;
}

/* The oldest record before position end: its type (0: none left), its bytes without the header, and in
   size how many bytes to advance. Of a sample record points at the raw size. */
s32 perf_next(struct ring *ring, u64 end, u8 **record, u64 *size)
{
    u32 type;
    u16 total;
    u8 *at = ring_at(ring, ring->tail);
    if (!ring->bytes || ring->tail >= end || end > __atomic_load_n(&ring->head, ACQUIRE))
        return 0;
    memcpy(&type, at, 4);
    memcpy(&total, at + 6, 2);
    *record = at + 8;
    *size = total;
    return (s32)type;
}

void perf_advance(struct ring *ring, u64 size)
{
    __atomic_store_n(&ring->tail, ring->tail + size, RELEASE);
}

/* ---- ring buffer ---- */

u8 *bpf_ringbuf_reserve(struct cpu *cpu, struct map *map, u64 size, u64 flags)
{
    (void)cpu;
    return flags || map->type != MAP_RINGBUF ? (u8 *)0 : hot_ringbuf_reserve(map->rings, size);
}

void bpf_ringbuf_submit(struct cpu *cpu, u8 *record, u64 flags)
{
    (void)cpu;
    (void)flags;
    hot_ringbuf_commit(record, 0);
}

void bpf_ringbuf_discard(struct cpu *cpu, u8 *record, u64 flags)
{
    (void)cpu;
    (void)flags;
    hot_ringbuf_commit(record, RINGBUF_DISCARD);
}

s64 bpf_ringbuf_output(struct cpu *cpu, struct map *map, const u8 *bytes, u64 size, u64 flags)
{
    (void)cpu;
    if ((flags & ~(u64)RING_WAKEUP_FLAGS) || map->type != MAP_RINGBUF)
        return -EINVAL;
    return hot_ringbuf_output(map->rings, bytes, size);
}

u64 bpf_ringbuf_query(struct cpu *cpu, struct map *map, u64 flags)
{
    struct ring *ring = map->rings;
    (void)cpu;
    if (map->type != MAP_RINGBUF)
        return 0;
    switch (flags) {
    case 0:
        return __atomic_load_n(&ring->head, ACQUIRE) - __atomic_load_n(&ring->tail, ACQUIRE);
    case 1:
        return ring->size;
    case 2:
        return __atomic_load_n(&ring->tail, ACQUIRE);
    case 3:
        return __atomic_load_n(&ring->head, ACQUIRE);
    default:
        return 0;
    }
}

/* A dynptr without memory is what a program gets where there is none, and hands back. */
s64 bpf_ringbuf_reserve_dynptr(struct cpu *cpu, struct map *map, u64 size, u64 flags, struct dynptr *made)
{
    u8 *record = (u8 *)0;
    s64 error = 0;
    (void)cpu;
    memset(made, 0, sizeof(struct dynptr));
    if (flags || map->type != MAP_RINGBUF)
        error = -EINVAL;
    else if ((u32)size > DYNPTR_MAX_BYTES)
        error = -E2BIG;
    else if (!(record = hot_ringbuf_reserve(map->rings, (u32)size)))
        error = -EINVAL;
    if (error)
        return error;
    made->bytes = (u64)record;
    made->size = (u32)size | DYNPTR_RINGBUF << DYNPTR_TYPE_SHIFT;
    return 0;
}

static void dynptr_commit(struct dynptr *dynptr, u32 discard)
{
    if (!dynptr->bytes)
        return;
    hot_ringbuf_commit((u8 *)dynptr->bytes, discard);
    memset(dynptr, 0, sizeof(struct dynptr));
}

void bpf_ringbuf_submit_dynptr(struct cpu *cpu, struct dynptr *dynptr, u64 flags)
{
    (void)cpu;
    (void)flags;
    dynptr_commit(dynptr, 0);
}

void bpf_ringbuf_discard_dynptr(struct cpu *cpu, struct dynptr *dynptr, u64 flags)
{
    (void)cpu;
    (void)flags;
    dynptr_commit(dynptr, RINGBUF_DISCARD);
}

static void ringbuf_advance(struct ring *ring, u64 size)
{
    __atomic_store_n(&ring->tail, ring->tail + ((size + 8 + 7) & ~7ull), RELEASE);
}

/* ---- user ring buffer: written outside, drained by programs ---- */

/* Room for size bytes, -ENOSPC where there is none. Its writer fills in *record and calls user_ring_submit. One at a time. */
s32 user_ring_reserve(struct ring *ring, u64 size, u8 **record)
{
    u64 total = (size + 8 + 7) & ~7ull;
    u8 *at;
    if (size > RINGBUF_LENGTH || total > ring->size)
        return -E2BIG;
    if (ring->head + total - __atomic_load_n(&ring->tail, ACQUIRE) > ring->size)
        return -ENOSPC;
    at = ring_at(ring, ring->head);
    *(u64 *)at = (u32)size | RINGBUF_BUSY;
    __atomic_store_n(&ring->head, ring->head + total, RELEASE);
    *record = at + 8;
    return 0;
}

void user_ring_submit(u8 *record, u32 is_discard)
{
    hot_ringbuf_commit(record, is_discard ? RINGBUF_DISCARD : 0);
}

/* The oldest record: its header, 0 with *error for none. */
static u32 user_ring_peek(struct ring *ring, s64 *error)
{
    u64 left = __atomic_load_n(&ring->head, ACQUIRE) - ring->tail;
    u32 header;
    *error = -ENODATA;
    if (!left)
        return 0;
    header = __atomic_load_n((u32 *)ring_at(ring, ring->tail), ACQUIRE);
    if (header & RINGBUF_BUSY)
        return 0;
    *error = (header & RINGBUF_LENGTH) > DYNPTR_MAX_BYTES ? -E2BIG : 0;
    return header;
}

/* callback(dynptr, context) for each sample, until it answers 1: how many. */
s64 bpf_user_ringbuf_drain(struct cpu *cpu, struct map *map, u64 callback, u64 context, u64 flags)
{
    u64 (*call)(struct cpu *cpu, u64 dynptr, u64 context, u64 three, u64 four, u64 five);
    struct ring *ring = map->rings;
    struct dynptr sample;
    s64 count = 0;
    s64 error = 0;
    u32 left;
    u32 is_over = 0;
    if ((flags & ~(u64)RING_WAKEUP_FLAGS) || map->type != MAP_USER_RINGBUF)
        return -EINVAL;
    if (__atomic_exchange_n(&ring->busy, 1, ACQUIRE))
        return -EBUSY;
    call = (u64 (*)(struct cpu *, u64, u64, u64, u64, u64))callback;
    for (left = MOST_SAMPLES; left && !is_over; left--) {
        u32 header = user_ring_peek(ring, &error);
        if (error)
            break;
        if (!(header & RINGBUF_DISCARD)) {
            sample.bytes = (u64)ring_at(ring, ring->tail) + 8;
            sample.size = (header & RINGBUF_LENGTH) | DYNPTR_LOCAL << DYNPTR_TYPE_SHIFT;
            sample.offset = 0;
            is_over = (u32)call(cpu, (u64)&sample, context, 0, 0, 0);
            count++;
        }
        ringbuf_advance(ring, header & RINGBUF_LENGTH);
    }
    __atomic_store_n(&ring->busy, 0, RELEASE);
    return error && error != -ENODATA ? error : count;
}
