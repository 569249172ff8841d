/* The life of a struct sim.

   A helper (time.c, task.c, text.c, stack.c, dynptr.c) is called bpf_ and its kernel name, a kernel function kfunc_ and
   its name; the first argument is always the CPU, the others are the program's r1 to r5. Source of each meaning:
   include/uapi/linux/bpf.h. */

enum { TRACE_BYTES = 4194304, PAGE_BYTES = 65536 };

/* TAI when the machine started: the beginning of 2026. */
enum { TAI_START_S = 1767225637 };

void sim_free(struct sim *sim)
{
    u32 i;
    if (!sim)
        return;
    sim_reclaim(sim);
    for (i = 0; sim->cpu && i < sim->cpus; i++)
        free(sim->cpu[i].page);
    free(sim->cpu);
    net_free(sim->net);
    free(sim->trace.bytes);
    free(sim->owned);
    free(sim->tasks);
    free(sim->timers);
    free(sim->signals);
    free(sim);
}

static s32 cpus_new(struct sim *sim, u64 seed)
{
    u32 i;
    sim->cpu = (struct cpu *)calloc(sim->cpus, sizeof(struct cpu));
    if (!sim->cpu)
        return -ENOMEM;
    for (i = 0; i < sim->cpus; i++) {
        struct cpu *cpu = sim->cpu + i;
        cpu->sim = sim;
        cpu->number = i;
        cpu->random = (seed + i * 0x632be59bd9b4e019ull) * 0x9e3779b97f4a7c15ull + 0x853c49e6748fea9bull;
        cpu->page = (u8 *)calloc(1, PAGE_BYTES);
        cpu->page_size = PAGE_BYTES;
        if (!cpu->page)
            return -ENOMEM;
    }
    return 0;
}

/* A kernel with no maps and no memory handed out, or null when there is no room. */
struct sim *sim_new(u32 cpus, u64 kernel_start, u8 *kernel_bytes, u64 seed)
{
    struct sim *sim = (struct sim *)calloc(1, sizeof(struct sim));
    if (!sim)
        return sim;
    sim->cpus = cpus;
    sim->kernel_start = kernel_start;
    sim->kernel_bytes = kernel_bytes;
    sim->tai_offset_ns = TAI_START_S * 1000000000ull;
    sim->trace.size = TRACE_BYTES;
    sim->trace.bytes = (u8 *)calloc(2, TRACE_BYTES);
    sim->net = net_new();
    if (!sim->trace.bytes || !sim->net || cpus_new(sim, seed)) {
        sim_free(sim);
        return (struct sim *)0;
    }
    return sim;
}
