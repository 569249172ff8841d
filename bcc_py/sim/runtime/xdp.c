/* Packets before the stack: struct xdp and the helpers that move its ends.

   The first buffer is a page: room for the driver's notes (FRAME_NOTES bytes) and head room, the packet, tail room in
   front of what the kernel keeps at the page's end. What is longer goes on in whole pages (frags). */

enum { XDP_HEADROOM = 256, FRAME_NOTES = 40, XDP_END = PAGE - SHARED_INFO, XDP_FRAGS = 17, XDP_META_MOST = 252 };

static u32 xdp_linear(const struct xdp *xdp)
{
    return (u32)(xdp->data_end - xdp->data);
}

void xdp_free(struct cpu *cpu, struct xdp *xdp)
{
    if (xdp->is_owned)
        disown(cpu->sim, xdp->head);
    if (xdp->frags)
        disown(cpu->sim, xdp->frags);
    free(xdp->head);
    free(xdp->frags);
    free(xdp);
}

static s32 xdp_take_frags(struct cpu *cpu, struct xdp *xdp, const u8 *bytes, u32 size)
{
    u32 pages = (size + PAGE - 1) / PAGE;
    if (!pages)
        return 0;
    if (pages > XDP_FRAGS)
        return -ENOMEM;
    xdp->frags = (u8 *)calloc(pages, PAGE);
    if (!xdp->frags)
        return -ENOMEM;
    memcpy(xdp->frags, bytes, size);
    xdp->frag_bytes = size;
    return own(cpu->sim, xdp->frags, (u64)pages * PAGE);
}

/* A packet of size bytes, of which the first meta are metadata and at most linear lie in the first buffer. Null when it
   is too long or there is no room. */
struct xdp *xdp_new(struct cpu *cpu, const u8 *bytes, u32 size, u32 linear, u32 meta)
{
    struct xdp *xdp;
    u32 room = XDP_END - XDP_HEADROOM + meta;
    if (linear > room)
        linear = room;
    xdp = (struct xdp *)calloc(1, sizeof(struct xdp));
    if (!xdp)
        return xdp;
    xdp->head = (u8 *)calloc(1, PAGE);
    if (xdp->head && !own(cpu->sim, xdp->head, PAGE))
        xdp->is_owned = 1;
    if (!xdp->is_owned || xdp_take_frags(cpu, xdp, bytes + linear, size - linear)) {
        xdp_free(cpu, xdp);
        return (struct xdp *)0;
    }
    xdp->data = xdp->head + XDP_HEADROOM;
    xdp->data_meta = xdp->data - meta;
    xdp->data_end = xdp->data_meta + linear;
    memcpy(xdp->data_meta, bytes, linear);
    return xdp;
}

/* The packet with its metadata as it is now: its first size bytes. How many there are. */
u32 xdp_read(const struct xdp *xdp, u8 *to, u32 size)
{
    u32 linear = (u32)(xdp->data_end - xdp->data_meta);
    u32 first = linear < size ? linear : size;
    u32 more = size - first < xdp->frag_bytes ? size - first : xdp->frag_bytes;
    memcpy(to, xdp->data_meta, first);
    if (more)
        memcpy(to + first, xdp->frags, more);
    return linear + xdp->frag_bytes;
}

s64 xdp_bpf_xdp_adjust_head(struct cpu *cpu, struct xdp *xdp, u64 difference)
{
    s64 more = (s32)difference;
    u64 meta = (u64)(xdp->data - xdp->data_meta);
    s64 place = (s64)(xdp->data - xdp->head) + more;
    (void)cpu;
    if (place < (s64)(FRAME_NOTES + meta) || place > (s64)(xdp->data_end - xdp->head) - ETHERNET_BYTES)
        return -EINVAL;
    if (meta)
        memmove(xdp->data_meta + more, xdp->data_meta, meta);
    xdp->data_meta += more;
    xdp->data += more;
    return 0;
}

s64 xdp_bpf_xdp_adjust_meta(struct cpu *cpu, struct xdp *xdp, u64 difference)
{
    s64 place = (s64)(xdp->data_meta - xdp->head) + (s32)difference;
    s64 size = (s64)(xdp->data - xdp->head) - place;
    (void)cpu;
    if (place < FRAME_NOTES || size < 0)
        return -EINVAL;
    if ((size & 3) || size > XDP_META_MOST)
        return -EACCES;
    xdp->data_meta = xdp->head + place;
    return 0;
}

/* The last page's end is as far as a packet of several buffers grows. */
static s64 xdp_frags_grow(struct xdp *xdp, u32 size)
{
    u32 used = (xdp->frag_bytes - 1) % PAGE + 1;
    if (size > PAGE - used)
        return -EINVAL;
    memset(xdp->frags + xdp->frag_bytes, 0, size);
    xdp->frag_bytes += size;
    return 0;
}

static s64 xdp_frags_shrink(struct xdp *xdp, u32 size)
{
    u32 from_frags = size < xdp->frag_bytes ? size : xdp->frag_bytes;
    if ((s64)size > (s64)xdp_linear(xdp) + xdp->frag_bytes - ETHERNET_BYTES)
        return -EINVAL;
    xdp->frag_bytes -= from_frags;
    xdp->data_end -= size - from_frags;
    return 0;
}

s64 xdp_bpf_xdp_adjust_tail(struct cpu *cpu, struct xdp *xdp, u64 difference)
{
    s64 more = (s32)difference;
    s64 end = (s64)(xdp->data_end - xdp->head) + more;
    (void)cpu;
    if (xdp->frag_bytes)
        return more < 0 ? xdp_frags_shrink(xdp, (u32)-more) : xdp_frags_grow(xdp, (u32)more);
    if (end > XDP_END || end < (s64)(xdp->data - xdp->head) + ETHERNET_BYTES)
        return -EINVAL;
    if (more > 0)
        memset(xdp->data_end, 0, (u64)more);
    xdp->data_end = xdp->head + end;
    return 0;
}

u64 xdp_bpf_xdp_get_buff_len(struct cpu *cpu, const struct xdp *xdp)
{
    (void)cpu;
    return (u64)xdp_linear(xdp) + xdp->frag_bytes;
}

/* How far offset..offset+size is wrong, 0 if it lies within the packet. */
static s64 xdp_bounds(const struct xdp *xdp, u32 offset, u32 size)
{
    if (offset > 0xffff || size > 0xffff)
        return -EFAULT;
    return offset + size > xdp_linear(xdp) + xdp->frag_bytes ? -EINVAL : 0;
}

/* The first bytes of these that lie in the first buffer. */
static u32 xdp_share(const struct xdp *xdp, u32 offset, u32 size)
{
    u32 linear = xdp_linear(xdp);
    if (offset >= linear)
        return 0;
    return linear - offset < size ? linear - offset : size;
}

static void xdp_copy_out(const struct xdp *xdp, u32 offset, u8 *to, u32 size)
{
    u32 first = xdp_share(xdp, offset, size);
    memcpy(to, xdp->data + offset, first);
    if (size > first)
        memcpy(to + first, xdp->frags + (offset + first - xdp_linear(xdp)), size - first);
}

s64 xdp_bpf_xdp_load_bytes(struct cpu *cpu, const struct xdp *xdp, u64 offset, u8 *to, u64 size)
{
    s64 error = xdp_bounds(xdp, (u32)offset, (u32)size);
    (void)cpu;
    if (!error)
        xdp_copy_out(xdp, (u32)offset, to, (u32)size);
    return error;
}

s64 xdp_bpf_xdp_store_bytes(struct cpu *cpu, struct xdp *xdp, u64 offset, const u8 *from, u64 size)
{
    s64 error = xdp_bounds(xdp, (u32)offset, (u32)size);
    u32 first = error ? 0 : xdp_share(xdp, (u32)offset, (u32)size);
    (void)cpu;
    if (error)
        return error;
    memmove(xdp->data + (u32)offset, from, first);
    if ((u32)size > first)
        memmove(xdp->frags + ((u32)offset + first - xdp_linear(xdp)), from + first, (u32)size - first);
    return 0;
}

s64 xdp_bpf_perf_event_output(struct cpu *cpu, struct xdp *xdp, struct map *map, u64 flags, const u8 *bytes, u64 size)
{
    u32 more = (u32)((flags & CONTEXT_BYTES_MASK) >> 32);
    u8 *packet;
    s64 error;
    if (flags & ~(CONTEXT_BYTES_MASK | INDEX_MASK))
        return -EINVAL;
    if (more > xdp_linear(xdp) + xdp->frag_bytes)
        return -EFAULT;
    if (more <= xdp_linear(xdp))
        return output_with(cpu, map, flags, bytes, size, xdp->data, more);
    packet = (u8 *)calloc(1, more);
    if (!packet)
        return -ENOMEM;
    xdp_copy_out(xdp, 0, packet, more);
    error = output_with(cpu, map, flags, bytes, size, packet, more);
    free(packet);
    return error;
}
