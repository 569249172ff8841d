/* What checked programs ask before every access to memory, every call and every jump back: the tests' sanitizer. What a
   program may touch here is the used part of its functions' frames, its context, and native memory that is the kernel's own
   (map values, records, packets). That is more than a verified program has at each moment: an access behind the end of one
   map value is found where no other element of that map, and no other memory of the kernel, lies there. */

enum { CHECKED_FRAMES = 512 };

/* Makes programs on every CPU checked ones: each run may make that many jumps back. */
s32 sim_check(struct sim *sim, u64 turns)
{
    u32 i;
    for (i = 0; i < sim->cpus; i++) {
        if (!sim->cpu[i].checks)
            sim->cpu[i].checks = (struct checks *)calloc(1, sizeof(struct checks));
        if (!sim->cpu[i].checks)
            return -ENOMEM;
        sim->cpu[i].checks->limit = turns;
    }
    return 0;
}

static s64 fault(struct cpu *cpu, u64 address, u64 bytes, u64 slot)
{
    if (!cpu->fault) {
        cpu->fault = 1;
        cpu->fault_slot = (u32)slot;
        cpu->fault_address = address;
        cpu->fault_bytes = bytes;
    }
    return -EFAULT;
}

static int lies_in(u64 start, u64 end, u64 address, u64 bytes)
{
    return address >= start && address <= end && end - address >= bytes;
}

s64 check_access(struct cpu *cpu, u64 address, u64 bytes, u64 slot)
{
    struct checks *checks = cpu->checks;
    u64 room = 0;
    u32 i;
    for (i = checks->depth; i; i--)
        if (lies_in(checks->frames[i - 1].start, checks->frames[i - 1].end, address, bytes))
            return 0;
    if (lies_in((u64)cpu->context, (u64)cpu->context + cpu->context_size, address, bytes))
        return 0;
    if (in_owned(cpu->sim, address, &room) && room >= bytes)
        return 0;
    return fault(cpu, address, bytes, slot);
}

/* A program accessed a page of an arena that is not there, as Linux tells it by the program's stream: at that place of the
   window, that is, at the address that a process would say. */
s64 arena_fault(struct cpu *cpu, struct map *map, s64 at, u64 bytes, u64 slot)
{
    return fault(cpu, (map->arena->user & ~(ARENA_ALIGNMENT - 1)) + (u64)at, bytes, slot);
}

/* A run begins. */
s64 check_begin(struct cpu *cpu)
{
    cpu->checks->depth = 0;
    cpu->checks->turns = cpu->checks->limit;
    return 0;
}

/* A function begins, with this much of its frame in use. */
s64 check_enter(struct cpu *cpu, u64 low, u64 bytes, u64 slot)
{
    struct checks *checks = cpu->checks;
    if (checks->depth == CHECKED_FRAMES)
        return fault(cpu, low, 0, slot);
    checks->frames[checks->depth].start = low;
    checks->frames[checks->depth].end = low + bytes;
    checks->depth++;
    return 0;
}

s64 check_leave(struct cpu *cpu)
{
    cpu->checks->depth--;
    return 0;
}

/* A jump back. */
s64 check_turn(struct cpu *cpu, u64 slot)
{
    if (!cpu->checks->turns)
        return fault(cpu, 0, 0, slot);
    cpu->checks->turns--;
    return 0;
}
