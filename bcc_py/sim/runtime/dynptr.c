/* Dynptrs: memory whose size is only known when the program runs. Helpers and kernel functions.

   struct bpf_dynptr is 16 bytes of the program's stack: where the memory is, its size with the kind and whether it may
   only be read, and how far into it the dynptr begins. Null memory is a dynptr that nothing can be done with. Errors as
   kernel/bpf/helpers.c of Linux 6.18 has them.

   One over a packet names the packet, whose ends and places may change while the dynptr's size stays: each access asks
   the packet anew. A packet that goes on in pages is not all in one piece: what lies on both sides of an edge is copied
   (dynptr_get, dynptr_put), or has no address that a program could be given (dynptr_piece). */

enum { DYNPTR_SKB = 3, DYNPTR_XDP = 4, DYNPTR_SKB_META = 5, DYNPTR_CHUNK = 256 };
static const u32 DYNPTR_READ_ONLY = 0x80000000u;

/* Reads so many bytes, or a string of so many, from an address of the simulated machine. */
typedef s64 (*address_reader)(struct cpu *cpu, u8 *to, u64 size, u64 address);

static u32 dynptr_size(const struct dynptr *dynptr)
{
    return dynptr->size & DYNPTR_MAX_BYTES;
}

static u32 dynptr_kind(const struct dynptr *dynptr)
{
    return dynptr->size >> DYNPTR_TYPE_SHIFT & 7;
}

static int dynptr_is_read_only(const struct dynptr *dynptr)
{
    return (dynptr->size & DYNPTR_READ_ONLY) != 0;
}

static void dynptr_clear(struct dynptr *dynptr)
{
    memset(dynptr, 0, sizeof(struct dynptr));
}

static void dynptr_begin(struct dynptr *dynptr, const void *memory, u32 size, u32 kind)
{
    dynptr->bytes = (u64)memory;
    dynptr->offset = 0;
    dynptr->size = size | kind << DYNPTR_TYPE_SHIFT;
}

static int dynptr_has(const struct dynptr *dynptr, u32 offset, u32 length)
{
    u32 size = dynptr_size(dynptr);
    return length <= size && offset <= size - length;
}

/* Without a buffer Linux subtracts what has no sign: of a packet that was cut since, what begins behind its end is given
   all the same; here, as far as there is memory. */
static u8 *skb_piece(const struct skb *skb, u32 offset, u32 length, const u8 *buffer)
{
    int is_behind = !buffer && offset > skb->len && (u64)skb_headroom(skb) + offset + length <= skb->room;
    return skb_has(skb, offset, length) || is_behind ? skb->data + offset : (u8 *)0;
}

/* What lies in one buffer of the packet. */
static u8 *xdp_piece(const struct xdp *xdp, u32 offset, u32 length)
{
    u32 linear = xdp_linear(xdp);
    if (xdp_bounds(xdp, offset, length))
        return (u8 *)0;
    if (offset < linear || !xdp->frag_bytes)
        return offset + length <= linear ? xdp->data + offset : (u8 *)0;
    offset -= linear;
    if (offset == xdp->frag_bytes)
        return xdp->data;
    return offset % PAGE + length <= PAGE ? xdp->frags + offset : (u8 *)0;
}

/* Copies what is there of these bytes. */
static void xdp_copy_some(const struct xdp *xdp, u32 offset, u8 *to, u32 size)
{
    u32 whole = xdp_linear(xdp) + xdp->frag_bytes;
    if (offset < whole)
        xdp_copy_out(xdp, offset, to, size < whole - offset ? size : whole - offset);
}

/* Where length bytes at offset are. Those of a packet that are not in one piece are copied into the program's buffer, if
   it gave one. Null if they do not lie in the dynptr, or not in the packet any more. */
static u8 *dynptr_piece(const struct dynptr *dynptr, u32 offset, u32 length, u8 *buffer)
{
    u8 *place;
    if (!dynptr->bytes || !dynptr_has(dynptr, offset, length))
        return (u8 *)0;
    offset += dynptr->offset;
    switch (dynptr_kind(dynptr)) {
    case DYNPTR_SKB:
        return skb_piece((struct skb *)dynptr->bytes, offset, length, buffer);
    case DYNPTR_SKB_META:
        return ((struct skb *)dynptr->bytes)->data_meta + offset;
    case DYNPTR_XDP:
        place = xdp_piece((struct xdp *)dynptr->bytes, offset, length);
        if (!place && buffer)
            xdp_copy_some((struct xdp *)dynptr->bytes, offset, buffer, length);
        return place ? place : buffer;
    default:
        return (u8 *)dynptr->bytes + offset;
    }
}

/* The same to be written to. */
static u8 *dynptr_piece_to_write(const struct dynptr *dynptr, u32 offset, u32 length, u8 *buffer)
{
    return dynptr_is_read_only(dynptr) ? (u8 *)0 : dynptr_piece(dynptr, offset, length, buffer);
}

/* Reads what lies in the dynptr. */
static s64 dynptr_get(struct cpu *cpu, u8 *to, u32 size, const struct dynptr *from, u32 offset)
{
    if (!from->bytes)
        return -EINVAL;
    if (!dynptr_has(from, offset, size))
        return -E2BIG;
    if (dynptr_kind(from) == DYNPTR_SKB)
        return skb_bpf_skb_load_bytes(cpu, (struct skb *)from->bytes, offset + from->offset, to, size);
    if (dynptr_kind(from) == DYNPTR_XDP)
        return xdp_bpf_xdp_load_bytes(cpu, (struct xdp *)from->bytes, offset + from->offset, to, size);
    memmove(to, dynptr_piece(from, offset, size, (u8 *)0), size);
    return 0;
}

/* flags: what bpf_skb_store_bytes takes. */
static s64 dynptr_put(struct cpu *cpu, const struct dynptr *to, u32 offset, const u8 *from, u32 size, u64 flags)
{
    if (!to->bytes || dynptr_is_read_only(to))
        return -EINVAL;
    if (!dynptr_has(to, offset, size))
        return -E2BIG;
    if (dynptr_kind(to) == DYNPTR_SKB)
        return skb_bpf_skb_store_bytes(cpu, (struct skb *)to->bytes, offset + to->offset, from, size, flags);
    if (flags)
        return -EINVAL;
    if (dynptr_kind(to) == DYNPTR_XDP)
        return xdp_bpf_xdp_store_bytes(cpu, (struct xdp *)to->bytes, offset + to->offset, from, size);
    memmove(dynptr_piece(to, offset, size, (u8 *)0), from, size);
    return 0;
}

s64 bpf_dynptr_from_mem(struct cpu *cpu, u8 *memory, u64 size, u64 flags, struct dynptr *to)
{
    (void)cpu;
    dynptr_clear(to);
    if ((u32)size > DYNPTR_MAX_BYTES)
        return -E2BIG;
    if (flags)
        return -EINVAL;
    dynptr_begin(to, memory, (u32)size, DYNPTR_LOCAL);
    return 0;
}

/* Where length bytes at offset are in a dynptr that is not over a packet; null where it is, or where they are not. */
static u8 *dynptr_place(const struct dynptr *dynptr, u32 offset, u32 length)
{
    if (!dynptr->bytes || dynptr_kind(dynptr) >= DYNPTR_SKB || !dynptr_has(dynptr, offset, length))
        return (u8 *)0;
    return (u8 *)dynptr->bytes + dynptr->offset + offset;
}

/* Packets, and what cannot be done: apart, so that the helpers themselves are short. */

__attribute__((noinline)) s64 dynptr_read_slowly(struct cpu *cpu, u8 *to, u32 size, const struct dynptr *from, u32 offset, u64 flags)
{
    return flags ? -EINVAL : dynptr_get(cpu, to, size, from, offset);
}

__attribute__((noinline)) s64 dynptr_write_slowly(struct cpu *cpu, const struct dynptr *to, u32 offset, const u8 *from, u32 size, u64 flags)
{
    return dynptr_put(cpu, to, offset, from, size, flags);
}

s64 bpf_dynptr_read(struct cpu *cpu, u8 *to, u64 size, const struct dynptr *from, u64 offset, u64 flags)
{
    u8 *place = dynptr_place(from, (u32)offset, (u32)size);
    if (!place || flags)
        return dynptr_read_slowly(cpu, to, (u32)size, from, (u32)offset, flags);
    memmove(to, place, (u32)size);
    return 0;
}

s64 bpf_dynptr_write(struct cpu *cpu, const struct dynptr *to, u64 offset, const u8 *from, u64 size, u64 flags)
{
    u8 *place = dynptr_place(to, (u32)offset, (u32)size);
    if (!place || flags || dynptr_is_read_only(to))
        return dynptr_write_slowly(cpu, to, (u32)offset, from, (u32)size, flags);
    memmove(place, from, (u32)size);
    return 0;
}

/* Packets have no such pointers: a slice is what a program asks for. */
u8 *bpf_dynptr_data(struct cpu *cpu, const struct dynptr *dynptr, u64 offset, u64 size)
{
    (void)cpu;
    return dynptr_is_read_only(dynptr) ? (u8 *)0 : dynptr_place(dynptr, (u32)offset, (u32)size);
}

/* ---- kernel functions ---- */

static s64 dynptr_over(struct dynptr *to, const void *packet, u32 size, u32 kind, u64 flags)
{
    dynptr_clear(to);
    if (flags)
        return -EINVAL;
    dynptr_begin(to, packet, size, kind);
    return 0;
}

s64 kfunc_bpf_dynptr_from_skb(struct cpu *cpu, const struct skb *skb, u64 flags, struct dynptr *to)
{
    (void)cpu;
    return dynptr_over(to, skb, skb->len, DYNPTR_SKB, flags);
}

/* Of program types that may not write to packets. */
s64 reader_kfunc_bpf_dynptr_from_skb(struct cpu *cpu, const struct skb *skb, u64 flags, struct dynptr *to)
{
    s64 error = kfunc_bpf_dynptr_from_skb(cpu, skb, flags, to);
    if (!error)
        to->size |= DYNPTR_READ_ONLY;
    return error;
}

s64 kfunc_bpf_dynptr_from_skb_meta(struct cpu *cpu, const struct skb *skb, u64 flags, struct dynptr *to)
{
    (void)cpu;
    return dynptr_over(to, skb, (u32)(skb->data - skb->data_meta), DYNPTR_SKB_META, flags);
}

s64 kfunc_bpf_dynptr_from_xdp(struct cpu *cpu, const struct xdp *xdp, u64 flags, struct dynptr *to)
{
    (void)cpu;
    return dynptr_over(to, xdp, xdp_linear(xdp) + xdp->frag_bytes, DYNPTR_XDP, flags);
}

s64 kfunc_bpf_dynptr_adjust(struct cpu *cpu, struct dynptr *dynptr, u64 start, u64 end)
{
    u32 size = dynptr_size(dynptr);
    (void)cpu;
    if (!dynptr->bytes || start > end)
        return -EINVAL;
    if (start > size || end > size)
        return -ERANGE;
    dynptr->offset += (u32)start;
    dynptr->size = (dynptr->size & ~(u32)DYNPTR_MAX_BYTES) | (u32)(end - start);
    return 0;
}

u64 kfunc_bpf_dynptr_is_null(struct cpu *cpu, const struct dynptr *dynptr)
{
    (void)cpu;
    return !dynptr->bytes;
}

u64 kfunc_bpf_dynptr_is_rdonly(struct cpu *cpu, const struct dynptr *dynptr)
{
    (void)cpu;
    return dynptr->bytes && dynptr_is_read_only(dynptr);
}

s64 kfunc_bpf_dynptr_size(struct cpu *cpu, const struct dynptr *dynptr)
{
    (void)cpu;
    return dynptr->bytes ? (s64)dynptr_size(dynptr) : -EINVAL;
}

s64 kfunc_bpf_dynptr_clone(struct cpu *cpu, const struct dynptr *dynptr, struct dynptr *clone)
{
    (void)cpu;
    dynptr_clear(clone);
    if (!dynptr->bytes)
        return -EINVAL;
    *clone = *dynptr;
    return 0;
}

u8 *kfunc_bpf_dynptr_slice(struct cpu *cpu, const struct dynptr *dynptr, u64 offset, u8 *buffer, u64 size)
{
    (void)cpu;
    return dynptr_piece(dynptr, (u32)offset, (u32)size, buffer);
}

u8 *kfunc_bpf_dynptr_slice_rdwr(struct cpu *cpu, const struct dynptr *dynptr, u64 offset, u8 *buffer, u64 size)
{
    (void)cpu;
    return dynptr_piece_to_write(dynptr, (u32)offset, (u32)size, buffer);
}

/* Between two dynptrs of which neither is in one piece. */
static s64 dynptr_copy_chunks(struct cpu *cpu, const struct dynptr *to, u32 to_offset, const struct dynptr *from, u32 from_offset,
    u32 size)
{
    u8 chunk[DYNPTR_CHUNK];
    u32 done;
    u32 more;
    s64 error = 0;
    if (!dynptr_has(to, to_offset, size) || !dynptr_has(from, from_offset, size))
        return -E2BIG;
    for (done = 0; !error && done < size; done += more) {
        more = size - done < DYNPTR_CHUNK ? size - done : DYNPTR_CHUNK;
        error = dynptr_get(cpu, chunk, more, from, from_offset + done);
        if (!error)
            error = dynptr_put(cpu, to, to_offset + done, chunk, more, 0);
    }
    return error;
}

s64 kfunc_bpf_dynptr_copy(struct cpu *cpu, const struct dynptr *to, u64 to_offset, const struct dynptr *from, u64 from_offset,
    u64 size)
{
    u8 *source = dynptr_piece(from, (u32)from_offset, (u32)size, (u8 *)0);
    u8 *target = dynptr_piece_to_write(to, (u32)to_offset, (u32)size, (u8 *)0);
    if (source && target) {
        memmove(target, source, (u32)size);
        return 0;
    }
    if (source)
        return dynptr_put(cpu, to, (u32)to_offset, source, (u32)size, 0);
    if (target)
        return dynptr_get(cpu, target, (u32)size, from, (u32)from_offset);
    return dynptr_copy_chunks(cpu, to, (u32)to_offset, from, (u32)from_offset, (u32)size);
}

s64 kfunc_bpf_dynptr_memset(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 byte)
{
    u8 *place = dynptr_piece_to_write(to, (u32)offset, (u32)size, (u8 *)0);
    u8 chunk[DYNPTR_CHUNK];
    u32 done;
    u32 more;
    s64 error = 0;
    if (place) {
        memset(place, (u8)byte, (u32)size);
        return 0;
    }
    if (dynptr_is_read_only(to))
        return -EINVAL;
    if (!dynptr_has(to, (u32)offset, (u32)size))
        return -E2BIG;
    memset(chunk, (u8)byte, DYNPTR_CHUNK);
    for (done = 0; !error && done < (u32)size; done += more) {
        more = (u32)size - done < DYNPTR_CHUNK ? (u32)size - done : DYNPTR_CHUNK;
        error = dynptr_put(cpu, to, (u32)offset + done, chunk, more, 0);
    }
    return error;
}

/* ---- into a dynptr, what the helper of that name reads into memory ---- */

static s64 dynptr_read_into(struct cpu *cpu, const struct dynptr *to, u32 offset, u32 size, u64 address, address_reader read)
{
    u8 *place = dynptr_piece_to_write(to, offset, size, (u8 *)0);
    u8 chunk[DYNPTR_CHUNK];
    u32 done;
    u32 more;
    s64 error = 0;
    if (place)
        return read(cpu, place, size, address);
    if (!dynptr_has(to, offset, size))
        return -E2BIG;
    for (done = 0; !error && done < size; done += more) {
        more = size - done < DYNPTR_CHUNK ? size - done : DYNPTR_CHUNK;
        error = read(cpu, chunk, more, address + done);
        if (!error)
            error = dynptr_put(cpu, to, offset + done, chunk, more, 0);
    }
    return error;
}

/* Each chunk ends with a zero byte, which the next one covers. */
static s64 dynptr_read_string_into(struct cpu *cpu, const struct dynptr *to, u32 offset, u32 size, u64 address, address_reader read)
{
    u8 *place = dynptr_piece_to_write(to, offset, size, (u8 *)0);
    u8 chunk[DYNPTR_CHUNK];
    u32 done;
    u32 more;
    if (place)
        return read(cpu, place, size, address);
    if (!dynptr_has(to, offset, size))
        return -E2BIG;
    for (done = 0; done < size; done += more - 1) {
        s64 length;
        s64 error;
        more = size - done < DYNPTR_CHUNK ? size - done : DYNPTR_CHUNK;
        length = read(cpu, chunk, more, address + done);
        if (length < 0)
            return length;
        error = dynptr_put(cpu, to, offset + done, chunk, (u32)length, 0);
        if (error)
            return error;
        if (length < (s64)more || more == 1)
            return (s64)done + length;
    }
    return (s64)done;
}

/* Where a helper leaves zeros when it fails, these leave what was there, and of a string what could be read. */

static s64 leave_user(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_user(cpu, address, &room);
    if (size && (!from || room < size))
        return -EFAULT;
    return bpf_probe_read_user(cpu, to, size, address);
}

static s64 leave_kernel(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_kernel(cpu, address, &room);
    if (size && (!from || room < size))
        return kernel_answer(-EFAULT, from, address, 1);
    return bpf_probe_read_kernel(cpu, to, size, address);
}

static s64 leave_string(u8 *to, u64 size, const u8 *from, u64 room)
{
    u64 i;
    for (i = 0; from && i < size && i < room; i++)
        if (!from[i])
            return copy_string(to, size, from, room);
    if (i == size)
        return copy_string(to, size, from, room);
    if (i)
        memcpy(to, from, i);
    return -EFAULT;
}

static s64 leave_user_string(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_user(cpu, address, &room);
    return leave_string(to, size, from, room);
}

static s64 leave_kernel_string(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_kernel(cpu, address, &room);
    s64 answer = kernel_answer(leave_string(to, size, from, room), from, address, size != 0);
    if (answer == -EFAULT)
        to[0] = 0;
    return answer;
}

s64 kfunc_bpf_probe_read_kernel_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    return dynptr_read_into(cpu, to, (u32)offset, (u32)size, address, leave_kernel);
}

s64 kfunc_bpf_probe_read_user_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    return dynptr_read_into(cpu, to, (u32)offset, (u32)size, address, leave_user);
}

s64 kfunc_bpf_probe_read_kernel_str_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    return dynptr_read_string_into(cpu, to, (u32)offset, (u32)size, address, leave_kernel_string);
}

s64 kfunc_bpf_probe_read_user_str_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    return dynptr_read_string_into(cpu, to, (u32)offset, (u32)size, address, leave_user_string);
}
