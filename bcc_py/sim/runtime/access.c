/* Reading memory that a program names by address: the simulated kernel's, the current task's, and the
   native memory that programs are shown (map values, ring records, the context, the running program's
   stack). Memory that kernel functions hand out to be written to is the simulated kernel's, by its native address.
   Everything else is -EFAULT, and the destination is then zeroed, as Linux does.

   Each region is contiguous in this process; a read must lie within one. A map's memory is given back only while
   no program runs (map_free), so a place that was found stays good. */


/* The native place of address and how many bytes follow it, or null. */
static u8 *in_segments(struct segment *segments, u32 count, u64 address, u64 *room)
{
    u32 low = 0;
    u32 high = count;
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (segments[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == count || address < segments[low].start)
        return (u8 *)0;
    *room = segments[low].end - address;
    return segments[low].bytes + (address - segments[low].start);
}

static u8 *in_owned(struct sim *sim, u64 address, u64 *room)
{
    u8 *place;
    lock_take(&sim->owned_lock);
    place = in_segments(sim->owned, sim->owned_count, address, room);
    lock_give(&sim->owned_lock);
    return place;
}

static u8 *in_user(struct cpu *cpu, u64 address, u64 *room)
{
    return in_segments(cpu->user, cpu->user_count, address, room);
}

static u8 *in_kernel(struct cpu *cpu, u64 address, u64 *room)
{
    u8 here;
    u64 offset = address - cpu->sim->kernel_start;
    if (address >= cpu->sim->kernel_start) {
        if (offset >= cpu->sim->kernel_size)
            return (u8 *)0;
        *room = cpu->sim->kernel_size - offset;
        return cpu->sim->kernel_bytes + offset;
    }
    if (address > (u64)&here && address < cpu->stack_top) {
        *room = cpu->stack_top - address;
        return (u8 *)address;
    }
    if (address - (u64)cpu->sim->kernel_bytes < cpu->sim->kernel_size) {
        *room = (u64)cpu->sim->kernel_bytes + cpu->sim->kernel_size - address;
        return (u8 *)address;
    }
    if (address - (u64)cpu->context < cpu->context_size) {
        *room = (u64)cpu->context + cpu->context_size - address;
        return (u8 *)address;
    }
    return in_owned(cpu->sim, address, room);
}

/* probe_read without a suffix takes either kind. */
static u8 *in_any(struct cpu *cpu, u64 address, u64 *room)
{
    u8 *place = in_user(cpu, address, room);
    return place ? place : in_kernel(cpu, address, room);
}

static s64 copy_in(u8 *to, u64 size, const u8 *from, u64 room)
{
    if (!size)
        return 0;
    if (!from || room < size) {
        memset(to, 0, size);
        return -EFAULT;
    }
    memmove(to, from, size);
    return 0;
}

/* Copies up to and with the zero byte; always ends to with one. The length with it, or -EFAULT. */
static s64 copy_string(u8 *to, u64 size, const u8 *from, u64 room)
{
    u64 i;
    if (!size)
        return 0;
    for (i = 0; from && i < size && i < room; i++) {
        to[i] = from[i];
        if (!from[i])
            return (s64)(i + 1);
    }
    if (from && i == size) {
        to[size - 1] = 0;
        return (s64)size;
    }
    memset(to, 0, size);
    return -EFAULT;
}

/* What nothing is mapped at is -EFAULT; what cannot be a kernel address at all is -ERANGE
   (copy_from_kernel_nofault_allowed), of however few bytes; a string of none is not even looked for. */
static const u64 KERNEL_HALF = 0xffff800000000000ull;
static const u64 USER_END = 0x7ffffffff000ull;

static s64 kernel_answer(s64 answer, const u8 *from, u64 address, u32 is_asked)
{
    return is_asked && !from && address < KERNEL_HALF ? -ERANGE : answer;
}

/* Of a read that takes either kind of address. */
static s64 any_answer(s64 answer, const u8 *from, u64 address, u32 is_asked)
{
    return address < USER_END ? answer : kernel_answer(answer, from, address, is_asked);
}

s64 bpf_probe_read(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_any(cpu, address, &room);
    return any_answer(copy_in(to, (u32)size, from, room), from, address, 1);
}

s64 bpf_probe_read_kernel(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_kernel(cpu, address, &room);
    return kernel_answer(copy_in(to, (u32)size, from, room), from, address, 1);
}

s64 bpf_probe_read_user(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_user(cpu, address, &room);
    s64 answer = copy_in(to, (u32)size, from, room);
    return !from && address > USER_END ? -EFAULT : answer;
}

s64 bpf_copy_from_user(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    return bpf_probe_read_user(cpu, to, size, address);
}

s64 bpf_probe_read_str(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_any(cpu, address, &room);
    return any_answer(copy_string(to, (u32)size, from, room), from, address, (u32)size != 0);
}

s64 bpf_probe_read_kernel_str(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_kernel(cpu, address, &room);
    return kernel_answer(copy_string(to, (u32)size, from, room), from, address, (u32)size != 0);
}

s64 bpf_probe_read_user_str(struct cpu *cpu, u8 *to, u64 size, u64 address)
{
    u64 room = 0;
    u8 *from = in_user(cpu, address, &room);
    return copy_string(to, (u32)size, from, room);
}

/* The task's memory that is not the current one's is not to be had. */
s64 bpf_copy_from_user_task(struct cpu *cpu, u8 *to, u64 size, u64 address, u64 task, u64 flags)
{
    if (flags)
        return -EINVAL;
    if (task == cpu->task)
        return bpf_probe_read_user(cpu, to, size, address);
    if (!(u32)size)
        return 0;
    memset(to, 0, (u32)size);
    return -EFAULT;
}

/* The idle task and the kernel's threads have no memory to write to. */
s64 bpf_probe_write_user(struct cpu *cpu, u64 address, const u8 *from, u64 size)
{
    u64 room = 0;
    u8 *to;
    if (!cpu->user)
        return -EPERM;
    to = in_user(cpu, address, &room);
    if (!to || room < (u32)size)
        return -EFAULT;
    memmove(to, from, (u32)size);
    return 0;
}

/* What a program finds behind a pointer of the kernel's: 1, 2, 4 or 8 bytes, or 0 where there is nothing, as a load that
   faults in Linux gives. */
u64 kernel_load(struct cpu *cpu, u64 address, u32 bytes)
{
    u64 value = 0;
    u64 room = 0;
    u8 *from = in_kernel(cpu, address, &room);
    if (from && room >= bytes && bytes <= 8)
        memcpy(&value, from, bytes);
    return value;
}
