/* Events by the thousand: an array of contexts goes through the programs of a hook without Python in between. One thread
   a CPU; what threads share (maps, rings, the trace pipe) takes care of itself. */

enum { CLOCK_MONOTONIC = 1 };

struct timespec {
    s64 seconds;
    s64 ns;
};

s32 clock_gettime(s32 clock, struct timespec *now);

static u64 real_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.seconds * 1000000000ull + (u64)now.ns;
}

/* The program's frames lie below this one. */
static __attribute__((noinline)) u64 launch(struct cpu *cpu, struct program *program, u64 ctx)
{
    u64 here = 0;
    cpu->stack_top = (u64)&here;
    cpu->tail_calls = 0;
    if (cpu->checks)
        check_begin(cpu);
    return program->enter(cpu, ctx, here, here, here, here);
}

static u64 run_timed(struct cpu *cpu, struct program *program, u64 ctx)
{
    u64 begin;
    u64 r0;
    if (!cpu->sim->has_stats)
        return launch(cpu, program, ctx);
    begin = real_ns();
    r0 = launch(cpu, program, ctx);
    __atomic_fetch_add(&program->run_time_ns, real_ns() - begin, RELAXED);
    return r0;
}

/* Around whatever runs programs by other ways than program_run and batch_run. */
void sim_enter(struct sim *sim)
{
    __atomic_fetch_add(&sim->running, 1, ACQUIRE);
}

void sim_leave(struct sim *sim)
{
    __atomic_fetch_sub(&sim->running, 1, RELEASE);
    if (__atomic_load_n(&sim->graves, RELAXED))
        sim_reclaim(sim);
}

/* One run; its r0. */
u64 program_run(struct cpu *cpu, struct program *program, u64 ctx)
{
    u64 r0;
    __atomic_fetch_add(&cpu->sim->running, 1, ACQUIRE);
    r0 = run_timed(cpu, program, ctx);
    __atomic_fetch_add(&program->runs, 1, RELAXED);
    __atomic_fetch_sub(&cpu->sim->running, 1, RELEASE);
    return r0;
}

static void enter_event(struct cpu *cpu, struct batch *batch, u64 at)
{
    if (batch->offsets) {
        cpu->context = batch->contexts + batch->offsets[at];
        cpu->context_size = batch->offsets[at + 1] - batch->offsets[at];
    } else {
        cpu->context = batch->contexts + at * batch->stride;
        cpu->context_size = batch->stride;
    }
    if (cpu->context_size < batch->context_bytes) {
        memcpy(cpu->page, cpu->context, cpu->context_size);
        memset(cpu->page + cpu->context_size, 0, batch->context_bytes - cpu->context_size);
        cpu->context = cpu->page;
        cpu->context_size = batch->context_bytes;
    }
    if (batch->times && batch->times[at] > cpu->time_ns)
        cpu->time_ns = batch->times[at];
    if (batch->tasks)
        memcpy(&cpu->pid, &batch->who[batch->tasks[at]], sizeof(struct who));
}

void batch_run(struct cpu *cpu, struct batch *batch)
{
    u64 at;
    u64 one;
    __atomic_fetch_add(&cpu->sim->running, 1, ACQUIRE);
    for (at = batch->first; at < batch->end && !__atomic_load_n(&batch->must_stop, RELAXED); at++) {
        if (batch->cpus && batch->cpus[at] != cpu->number)
            continue;
        enter_event(cpu, batch, at);
        for (one = 0; one < batch->program_count; one++)
            run_timed(cpu, batch->programs[one], (u64)cpu->context);
        batch->runs++;
    }
    for (one = 0; one < batch->program_count; one++)
        __atomic_fetch_add(&batch->programs[one]->runs, batch->runs, RELAXED);
    cpu->context = cpu->page;
    cpu->context_size = cpu->page_size;
    __atomic_fetch_sub(&cpu->sim->running, 1, RELEASE);
}

/* Is it false that offsets ascend and end within size? */
s32 check_offsets(const u64 *offsets, u64 count, u64 size)
{
    u64 at;
    for (at = 0; at < count; at++)
        if (offsets[at] > offsets[at + 1])
            return 1;
    return offsets[count] > size;
}

/* Is one of numbers not below limit? */
s32 check_below(const u32 *numbers, u64 count, u32 limit)
{
    u64 at;
    for (at = 0; at < count; at++)
        if (numbers[at] >= limit)
            return 1;
    return 0;
}

s32 is_named(const u32 *numbers, u64 count, u32 wanted)
{
    u64 at;
    for (at = 0; at < count; at++)
        if (numbers[at] == wanted)
            return 1;
    return 0;
}
