/* Dynptrs: memory whose size is only known when the program runs. Helpers and kernel functions.

   struct bpf_dynptr is 16 bytes of the program's stack: where the memory is, its size with the kind and whether it may
   only be read, and how far into it the dynptr begins. Null memory is a dynptr that nothing can be done with. Errors as
   kernel/bpf/helpers.c of Linux 6.18 has them. */

static const u32 DYNPTR_READ_ONLY = 0x80000000u;

static u32 dynptr_size(const struct dynptr *dynptr)
{
    return dynptr->size & DYNPTR_MAX_BYTES;
}

static int dynptr_is_read_only(const struct dynptr *dynptr)
{
    return (dynptr->size & DYNPTR_READ_ONLY) != 0;
}

static void dynptr_clear(struct dynptr *dynptr)
{
    memset(dynptr, 0, sizeof(struct dynptr));
}

static void dynptr_begin(struct dynptr *dynptr, u8 *memory, u32 size, u32 kind)
{
    dynptr->bytes = (u64)memory;
    dynptr->offset = 0;
    dynptr->size = size | kind << DYNPTR_TYPE_SHIFT;
}

/* Where length bytes at offset are, null if they do not lie in the dynptr. */
static u8 *dynptr_place(const struct dynptr *dynptr, u64 offset, u64 length)
{
    u32 size = dynptr_size(dynptr);
    if (!dynptr->bytes || length > size || offset > size - length)
        return (u8 *)0;
    return (u8 *)dynptr->bytes + dynptr->offset + offset;
}

/* 0 where length bytes at offset may be written, and *place is where they lie. */
static s64 dynptr_room(const struct dynptr *to, u64 offset, u64 length, u8 **place)
{
    *place = dynptr_place(to, (u32)offset, (u32)length);
    if (!to->bytes || dynptr_is_read_only(to))
        return -EINVAL;
    return *place ? 0 : -E2BIG;
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

s64 bpf_dynptr_read(struct cpu *cpu, u8 *to, u64 size, const struct dynptr *from, u64 offset, u64 flags)
{
    u8 *place = dynptr_place(from, (u32)offset, (u32)size);
    (void)cpu;
    if (!from->bytes || flags)
        return -EINVAL;
    if (!place)
        return -E2BIG;
    memmove(to, place, (u32)size);
    return 0;
}

s64 bpf_dynptr_write(struct cpu *cpu, const struct dynptr *to, u64 offset, const u8 *from, u64 size, u64 flags)
{
    u8 *place = dynptr_place(to, (u32)offset, (u32)size);
    (void)cpu;
    if (!to->bytes || dynptr_is_read_only(to))
        return -EINVAL;
    if (!place)
        return -E2BIG;
    if (flags)
        return -EINVAL;
    memmove(place, from, (u32)size);
    return 0;
}

u8 *bpf_dynptr_data(struct cpu *cpu, const struct dynptr *dynptr, u64 offset, u64 size)
{
    (void)cpu;
    return dynptr_is_read_only(dynptr) ? (u8 *)0 : dynptr_place(dynptr, (u32)offset, (u32)size);
}

/* ---- kernel functions ---- */

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

/* The bytes themselves; the program's buffer is for memory that is not in one piece, which none is here. */
u8 *kfunc_bpf_dynptr_slice(struct cpu *cpu, const struct dynptr *dynptr, u64 offset, u8 *buffer, u64 size)
{
    (void)cpu;
    (void)buffer;
    return dynptr_place(dynptr, (u32)offset, (u32)size);
}

u8 *kfunc_bpf_dynptr_slice_rdwr(struct cpu *cpu, const struct dynptr *dynptr, u64 offset, u8 *buffer, u64 size)
{
    return dynptr_is_read_only(dynptr) ? (u8 *)0 : kfunc_bpf_dynptr_slice(cpu, dynptr, offset, buffer, size);
}

s64 kfunc_bpf_dynptr_copy(struct cpu *cpu, const struct dynptr *to, u64 to_offset, const struct dynptr *from, u64 from_offset,
    u64 size)
{
    u8 *target = dynptr_place(to, (u32)to_offset, (u32)size);
    u8 *source = dynptr_place(from, (u32)from_offset, (u32)size);
    (void)cpu;
    if (!to->bytes || !from->bytes || dynptr_is_read_only(to))
        return -EINVAL;
    if (!target || !source)
        return -E2BIG;
    memmove(target, source, (u32)size);
    return 0;
}

s64 kfunc_bpf_dynptr_memset(struct cpu *cpu, const struct dynptr *dynptr, u64 offset, u64 size, u64 byte)
{
    u8 *place;
    s64 error = dynptr_room(dynptr, offset, size, &place);
    (void)cpu;
    if (!error)
        memset(place, (u8)byte, (u32)size);
    return error;
}

/* Reads into a dynptr what the helper of that name reads into memory. */
s64 kfunc_bpf_probe_read_kernel_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    u8 *place;
    s64 error = dynptr_room(to, offset, size, &place);
    return error ? error : bpf_probe_read_kernel(cpu, place, size, address);
}

s64 kfunc_bpf_probe_read_user_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    u8 *place;
    s64 error = dynptr_room(to, offset, size, &place);
    return error ? error : bpf_probe_read_user(cpu, place, size, address);
}

s64 kfunc_bpf_probe_read_kernel_str_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    u8 *place;
    s64 error = dynptr_room(to, offset, size, &place);
    return error ? error : bpf_probe_read_kernel_str(cpu, place, size, address);
}

s64 kfunc_bpf_probe_read_user_str_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    u8 *place;
    s64 error = dynptr_room(to, offset, size, &place);
    return error ? error : bpf_probe_read_user_str(cpu, place, size, address);
}
