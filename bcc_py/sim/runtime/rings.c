/* Rings: perf event arrays and ring buffers, both sides.

   A perf ring holds what perf's mmap holds: records with an 8-byte header (type, misc, size), samples
   with a 4-byte raw size before the bytes, lost records told as soon as there is room again
   (kernel/events/ring_buffer.c, __perf_output_begin). A ring buffer holds records with the 8-byte
   header of kernel/bpf/ringbuf.c. Space is counted as Linux counts it, so a program loses the same
   records as it would there. */

enum { PERF_RECORD_LOST = 2, PERF_RECORD_SAMPLE = 9 };
enum { LOST_BYTES = 24 };
#define RINGBUF_BUSY 0x80000000u
#define RINGBUF_DISCARD 0x40000000u

/* perf_event_output: the CPU's number is the map's index */
#define INDEX_MASK 0xffffffffu

static u8 *ring_at(struct ring *ring, u64 position)
{
    return ring->bytes + (position & (ring->size - 1));
}

/* What lies above size belongs to the record that began below it; the next lap begins at 0. */
static u64 perf_room(struct ring *ring)
{
    return (ring->tail - ring->head - 1) & (ring->size - 1);
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
    ring->head += LOST_BYTES;
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
    ring->head += total;
    return 0;
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
    if (!map->rings[index].bytes)
        return -ENOENT;
    if (index != cpu->number)
        return -EOPNOTSUPP;
    return perf_write(&map->rings[index], bytes, size);
}

/* Opens a CPU's ring of size bytes, a power of two. */
s32 perf_open(struct map *map, u32 cpu, u64 size)
{
    struct ring *ring;
    if (map->type != MAP_PERF_EVENT_ARRAY || cpu >= map->max_entries)
        return -E2BIG;
    ring = &map->rings[cpu];
    if (ring->bytes)
        return -EBUSY;
    if (size < 4096 || size > 0x40000000 || (size & (size - 1)))
        return -EINVAL;
    memset(ring, 0, sizeof(struct ring));
    ring->bytes = (u8 *)calloc(2, size);
    if (!ring->bytes)
        return -ENOMEM;
    ring->size = size;
    return 0;
}

void perf_close(struct map *map, u32 cpu)
{
    free(map->rings[cpu].bytes);
    memset(&map->rings[cpu], 0, sizeof(struct ring));
}

/* The oldest record before position end: its type (0: none left), its bytes without the header, and in
   size how many bytes to advance. Of a sample record points at the raw size. */
s32 perf_next(struct ring *ring, u64 end, u8 **record, u64 *size)
{
    u32 type;
    u16 total;
    u8 *at = ring_at(ring, ring->tail);
    if (!ring->bytes || ring->tail >= end)
        return 0;
    memcpy(&type, at, 4);
    memcpy(&total, at + 6, 2);
    *record = at + 8;
    *size = total;
    return (s32)type;
}

void perf_advance(struct ring *ring, u64 size)
{
    ring->tail += size;
}

/* ---- ring buffer ---- */

static u8 *ringbuf_take(struct ring *ring, u64 size)
{
    u64 total = (size + 8 + 7) & ~7ull;
    u32 header = (u32)size | RINGBUF_BUSY;
    u8 *at;
    if (size > 0x3fffffff || total > ring->size || ring->head + total - ring->tail > ring->size - 1) {
        ring->lost++;
        return (u8 *)0;
    }
    at = ring_at(ring, ring->head);
    memcpy(at, &header, 4);
    memset(at + 4, 0, 4);
    ring->head += total;
    return at + 8;
}

u8 *bpf_ringbuf_reserve(struct cpu *cpu, struct map *map, u64 size, u64 flags)
{
    (void)cpu;
    return flags || map->type != MAP_RINGBUF ? (u8 *)0 : ringbuf_take(map->rings, size);
}

static void ringbuf_commit(u8 *record, u32 discard)
{
    u32 header;
    memcpy(&header, record - 8, 4);
    header = (header & ~RINGBUF_BUSY) | discard;
    memcpy(record - 8, &header, 4);
}

void bpf_ringbuf_submit(struct cpu *cpu, u8 *record, u64 flags)
{
    (void)cpu;
    (void)flags;
    ringbuf_commit(record, 0);
}

void bpf_ringbuf_discard(struct cpu *cpu, u8 *record, u64 flags)
{
    (void)cpu;
    (void)flags;
    ringbuf_commit(record, RINGBUF_DISCARD);
}

s64 bpf_ringbuf_output(struct cpu *cpu, struct map *map, const u8 *bytes, u64 size, u64 flags)
{
    u8 *record;
    (void)cpu;
    if ((flags & ~3ull) || map->type != MAP_RINGBUF)
        return -EINVAL;
    record = ringbuf_take(map->rings, size);
    if (!record)
        return -EAGAIN;
    memcpy(record, bytes, size);
    ringbuf_commit(record, 0);
    return 0;
}

u64 bpf_ringbuf_query(struct cpu *cpu, struct map *map, u64 flags)
{
    struct ring *ring = map->rings;
    (void)cpu;
    if (map->type != MAP_RINGBUF)
        return 0;
    switch (flags) {
    case 0:
        return ring->head - ring->tail;
    case 1:
        return ring->size;
    case 2:
        return ring->tail;
    case 3:
        return ring->head;
    default:
        return 0;
    }
}

/* The oldest record before end: 1 with its bytes and length, 2 if it was discarded, 0 if there is none
   or its program has not finished it. ringbuf_advance takes the same length. */
s32 ringbuf_next(struct ring *ring, u64 end, u8 **record, u64 *size)
{
    u32 header;
    u8 *at = ring_at(ring, ring->tail);
    if (ring->tail >= end)
        return 0;
    memcpy(&header, at, 4);
    if (header & RINGBUF_BUSY)
        return 0;
    *record = at + 8;
    *size = header & 0x3fffffff;
    return header & RINGBUF_DISCARD ? 2 : 1;
}

void ringbuf_advance(struct ring *ring, u64 size)
{
    ring->tail += (size + 8 + 7) & ~7ull;
}
