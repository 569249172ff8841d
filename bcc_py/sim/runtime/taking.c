/* The reading side of rings: many records at a time. ring_look says what may be taken, ring_take copies it out and gives
   the room back; ring_places finds the records in what was copied. One reader at a time. */

/* A record's bytes in the ring, with its header; 0 where it is not finished yet. What is no sample has no length. */
static u64 record_bytes(const u8 *at, u32 is_perf, u32 *length, u32 *head)
{
    u32 header;
    u32 type;
    u16 total;
    *head = 8;
    *length = 0;
    if (!is_perf) {
        header = __atomic_load_n((u32 *)at, ACQUIRE);
        if (header & RINGBUF_BUSY)
            return 0;
        *length = header & RINGBUF_DISCARD ? ~0u : header & RINGBUF_LENGTH;
        return ((header & RINGBUF_LENGTH) + 8 + 7) & ~7ull;
    }
    memcpy(&type, at, 4);
    memcpy(&total, at + 6, 2);
    *head = 12;
    *length = type == PERF_RECORD_SAMPLE ? total - 12u : ~0u;
    return total;
}

/* Of the records that are finished and begin before end: as many as begin within room bytes (0: no limit), up to one
   that tells of losses. */
s32 ring_look(struct ring *ring, u32 is_perf, u64 end, u64 room, struct taken *taken)
{
    u64 at = ring->tail;
    u64 head = __atomic_load_n(&ring->head, ACQUIRE);
    u32 length;
    u32 skip;
    memset(taken, 0, sizeof(struct taken));
    taken->is_even = 1;
    if (!ring->bytes)
        return 0;
    while (at < end && at < head && (!room || taken->bytes < room)) {
        u8 *record = ring_at(ring, at);
        u64 total = record_bytes(record, is_perf, &length, &skip);
        if (!total)
            break;
        if (length != ~0u) {
            if (!taken->count) {
                taken->first = taken->bytes + skip;
                taken->size = length;
                taken->stride = total;
            } else if (length != taken->size || taken->bytes + skip != taken->first + taken->count * taken->stride) {
                taken->is_even = 0;
            }
            taken->count++;
        }
        taken->bytes += total;
        at += total;
        if (is_perf && length == ~0u) {
            memcpy(&taken->lost, record + 16, 8);
            break;
        }
    }
    return taken->bytes != 0;
}

/* Copies bytes, which ring_look gave, and gives their room back. */
void ring_take(struct ring *ring, u32 is_perf, u64 bytes, u8 *out)
{
    u64 done = 0;
    u64 begin = ring->tail & (ring->size - 1);
    u32 length;
    u32 head;
    /* what lies behind the end belongs to the record that began before it; the next one is at the beginning */
    if (begin + bytes > ring->size) {
        while (done < bytes && begin + done < ring->size)
            done += record_bytes(ring->bytes + begin + done, is_perf, &length, &head);
        memcpy(out, ring->bytes + begin, done);
        begin = (begin + done) & (ring->size - 1);
    }
    memcpy(out + done, ring->bytes + begin, bytes - done);
    __atomic_store_n(&ring->tail, ring->tail + bytes, RELEASE);
}

/* Where each sample among bytes of records begins, and how long it is. */
void ring_places(u8 *records, u64 bytes, u32 is_perf, u64 *offsets, u64 *sizes)
{
    u64 at = 0;
    u64 count = 0;
    u32 length;
    u32 head;
    while (at < bytes) {
        u64 total = record_bytes(records + at, is_perf, &length, &head);
        if (length != ~0u) {
            offsets[count] = at + head;
            sizes[count] = length;
            count++;
        }
        at += total;
    }
}
