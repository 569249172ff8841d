/* Timers and work queues in map values. A timer fires in virtual time, on the CPU that set it; queued work is a timer that
   is due at once. SimKernel calls timers_run when the time has come, one CPU after the other.

   A value's struct bpf_timer or bpf_wq holds the address of a struct timer, which lives until its value goes away or
   nobody outside programs holds the map any more. Those that are set are a heap, the next one on top (Williams 1964), under
   one lock, which no callback runs under. */

enum { TIMER_ABSOLUTE = 1, TIMER_PINNED = 2, TIMER_REALTIME = 0, TIMER_MONOTONIC = 1, TIMER_BOOTTIME = 7 };
#define NEVER 0xffffffffffffffffull
#define TAI_AHEAD_NS 37000000000ull /* of CLOCK_REALTIME */
#define LATEST 0x7fffffffffffffffull /* what the kernel's clocks can show */
/* What is set by a callback fires this much later at the soonest: else virtual time would stand still for ever. */
#define CALLBACK_NS 1000ull

s64 check_begin(struct cpu *cpu);
void *realloc(void *memory, unsigned long size);

static int is_sooner(const struct timer *one, const struct timer *other)
{
    return one->due_ns != other->due_ns ? one->due_ns < other->due_ns : one->turn < other->turn;
}

static void timer_put(struct sim *sim, struct timer *timer, u32 at)
{
    sim->timers[at] = timer;
    timer->is_set = at + 1;
}

/* timer takes the place at, or one above it or below it, where it is in order. */
static void timer_settle(struct sim *sim, struct timer *timer, u32 at)
{
    u32 next;
    while (at && is_sooner(timer, sim->timers[(at - 1) / 2])) {
        timer_put(sim, sim->timers[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    while ((next = 2 * at + 1) < sim->timer_count) {
        if (next + 1 < sim->timer_count && is_sooner(sim->timers[next + 1], sim->timers[next]))
            next++;
        if (!is_sooner(sim->timers[next], timer))
            break;
        timer_put(sim, sim->timers[next], at);
        at = next;
    }
    timer_put(sim, timer, at);
}

static u32 timer_unset(struct sim *sim, struct timer *timer)
{
    u32 at = timer->is_set;
    if (!at)
        return 0;
    timer->is_set = 0;
    sim->timer_count--;
    if (at - 1 < sim->timer_count)
        timer_settle(sim, sim->timers[sim->timer_count], at - 1);
    return 1;
}

static void timer_set(struct sim *sim, struct timer *timer, u64 due_ns)
{
    u32 at = timer->is_set ? timer->is_set - 1 : sim->timer_count++;
    timer->due_ns = due_ns;
    timer->turn = ++sim->timer_turn;
    timer_settle(sim, timer, at);
}

/* There is room for one timer more, which may be set any time. */
static s32 timer_room(struct sim *sim)
{
    struct timer **larger;
    u32 room = sim->timer_room ? 2 * sim->timer_room : 64;
    if (sim->made_count < sim->timer_room)
        return 0;
    larger = (struct timer **)realloc(sim->timers, (u64)room * sizeof(struct timer *));
    if (!larger)
        return -ENOMEM;
    sim->timers = larger;
    sim->timer_room = room;
    return 0;
}

static void timer_forget_locked(struct sim *sim, struct timer *timer)
{
    timer_unset(sim, timer);
    *timer->made_by = timer->made;
    if (timer->made)
        timer->made->made_by = timer->made_by;
    sim->made_count--;
    bury(sim, timer, 0);
}

static struct timer *timer_at(const u8 *place)
{
    return *(struct timer *const *)place;
}

/* The value at place goes away: its timer, if it has one, will not fire again. */
static void timer_drop(struct sim *sim, u8 *place)
{
    lock_take(&sim->timer_lock);
    if (timer_at(place))
        timer_forget_locked(sim, timer_at(place));
    *(struct timer **)place = (struct timer *)0;
    lock_give(&sim->timer_lock);
}

static void timers_forget(struct sim *sim, struct map *map)
{
    struct timer *timer;
    struct timer *following;
    lock_take(&sim->timer_lock);
    for (timer = sim->made; timer; timer = following) {
        following = timer->made;
        if (timer->map == map) {
            *(struct timer **)timer->place = (struct timer *)0;
            timer_forget_locked(sim, timer);
        }
    }
    lock_give(&sim->timer_lock);
}

/* Nobody outside programs holds the map any more: its timers end, and no new ones begin. */
void map_orphan(struct sim *sim, struct map *map)
{
    lock_take(&sim->timer_lock);
    map->is_orphan = 1;
    lock_give(&sim->timer_lock);
    timers_forget(sim, map);
}

/* How far into its map's values a field of this kind lies. */
static u32 field_offset(struct map *map, u32 kind)
{
    u32 i;
    for (i = 0; i < map->field_count; i++)
        if (map->fields[i].kind == kind)
            return map->fields[i].offset;
    return 0;
}

static s64 timer_make(struct sim *sim, u8 *place, struct map *map, u32 kind, u64 base_ns)
{
    struct timer *timer = (struct timer *)calloc(1, sizeof(struct timer));
    s64 error = 0;
    if (!timer)
        return -ENOMEM;
    timer->map = map;
    timer->place = place;
    timer->value = place - field_offset(map, kind);
    timer->base_ns = base_ns;
    lock_take(&sim->timer_lock);
    error = timer_at(place) ? -EBUSY : map->is_orphan ? -EPERM : timer_room(sim);
    if (error) {
        free(timer);
    } else {
        timer->made = sim->made;
        timer->made_by = &sim->made;
        if (timer->made)
            timer->made->made_by = &timer->made;
        sim->made = timer;
        sim->made_count++;
        *(struct timer **)place = timer;
    }
    lock_give(&sim->timer_lock);
    return error;
}

s64 bpf_timer_init(struct cpu *cpu, u8 *place, struct map *map, u64 flags)
{
    struct sim *sim = cpu->sim;
    if (flags != TIMER_MONOTONIC && flags != TIMER_REALTIME && flags != TIMER_BOOTTIME)
        return -EINVAL;
    return timer_make(sim, place, map, FIELD_TIMER, flags == TIMER_BOOTTIME ? sim->boot_offset_ns :
        flags == TIMER_REALTIME ? sim->tai_offset_ns - TAI_AHEAD_NS : 0);
}

s64 bpf_timer_set_callback(struct cpu *cpu, u8 *place, u64 callback)
{
    struct sim *sim = cpu->sim;
    s64 error = -EINVAL;
    lock_take(&sim->timer_lock);
    if (timer_at(place)) {
        error = timer_at(place)->map->is_orphan ? -EPERM : 0;
        if (!error)
            timer_at(place)->callback = callback;
    }
    lock_give(&sim->timer_lock);
    return error;
}

/* When ns from now is, on the kernel's clock. */
static u64 time_after(struct cpu *cpu, u64 ns)
{
    if (cpu->is_in_callback && ns < CALLBACK_NS)
        ns = CALLBACK_NS;
    return ns > LATEST - cpu->time_ns ? LATEST : cpu->time_ns + ns;
}

/* When it is ns by the timer's clock: never, for what lies before its beginning, as Linux has it. */
static u64 time_at(struct cpu *cpu, struct timer *timer, u64 ns)
{
    u64 soonest = time_after(cpu, 0);
    if (ns > LATEST)
        return LATEST;
    if (ns < timer->base_ns + soonest)
        return soonest;
    return ns - timer->base_ns;
}

s64 bpf_timer_start(struct cpu *cpu, u8 *place, u64 ns, u64 flags)
{
    struct timer *timer;
    s64 error = 0;
    if (flags & ~(u64)(TIMER_ABSOLUTE | TIMER_PINNED))
        return -EINVAL;
    lock_take(&cpu->sim->timer_lock);
    timer = timer_at(place);
    if (!timer || !timer->callback) {
        error = -EINVAL;
    } else {
        timer->cpu = cpu->number;
        timer_set(cpu->sim, timer, flags & TIMER_ABSOLUTE ? time_at(cpu, timer, ns) : time_after(cpu, ns));
    }
    lock_give(&cpu->sim->timer_lock);
    return error;
}

/* 1 if it was set. Its callback may be running: on another CPU it ends before this returns, in itself it cannot. */
s64 bpf_timer_cancel(struct cpu *cpu, u8 *place)
{
    struct sim *sim = cpu->sim;
    struct timer *timer;
    s64 answer = -EINVAL;
    lock_take(&sim->timer_lock);
    while ((timer = timer_at(place)) && timer->is_running && timer->is_running != cpu->number + 1) {
        lock_give(&sim->timer_lock);
        sched_yield();
        lock_take(&sim->timer_lock);
    }
    if (timer && timer->is_running) {
        answer = -EDEADLK;
    } else if (timer) {
        answer = timer_unset(sim, timer);
        timer->callback = 0;
    }
    lock_give(&sim->timer_lock);
    return answer;
}

/* ---- work that is put off ---- */

s64 kfunc_bpf_wq_init(struct cpu *cpu, u8 *place, struct map *map, u64 flags)
{
    return (u32)flags ? -EINVAL : timer_make(cpu->sim, place, map, FIELD_WORK, 0);
}

s64 kfunc_bpf_wq_set_callback_impl(struct cpu *cpu, u8 *place, u64 callback, u64 flags, void *program)
{
    (void)program;
    return (u32)flags ? -EINVAL : bpf_timer_set_callback(cpu, place, callback);
}

/* Work that is queued already stays where it is in the queue. */
s64 kfunc_bpf_wq_start(struct cpu *cpu, u8 *place, u64 flags)
{
    struct sim *sim = cpu->sim;
    struct timer *work;
    s64 error = 0;
    if ((u32)flags)
        return -EINVAL;
    lock_take(&sim->timer_lock);
    work = timer_at(place);
    if (!work || !work->callback) {
        error = -EINVAL;
    } else if (!work->is_set) {
        work->cpu = cpu->number;
        timer_set(sim, work, time_after(cpu, 0));
    }
    lock_give(&sim->timer_lock);
    return error;
}

/* ---- their time has come ---- */

/* When the next timer is due, in ns of the kernel's clock, and on which CPU; the greatest number if none is set, or only
   what would fire at the end of time. */
u64 timers_next(struct sim *sim, u32 *cpu)
{
    u64 due = NEVER;
    lock_take(&sim->timer_lock);
    if (sim->timer_count && sim->timers[0]->due_ns < LATEST) {
        due = sim->timers[0]->due_ns;
        *cpu = sim->timers[0]->cpu;
    }
    lock_give(&sim->timer_lock);
    return due;
}

/* How many timers know what to call: while there are any, the code that they call must stay. */
u32 timers_ready(struct sim *sim)
{
    struct timer *timer;
    u32 count = 0;
    lock_take(&sim->timer_lock);
    for (timer = sim->made; timer; timer = timer->made)
        count += timer->callback != 0;
    lock_give(&sim->timer_lock);
    return count;
}

/* The next timer of all, as running, if it is cpu's and due; or null. */
static struct timer *timer_due(struct cpu *cpu, u64 now_ns)
{
    struct timer *timer;
    lock_take(&cpu->sim->timer_lock);
    timer = cpu->sim->timer_count ? cpu->sim->timers[0] : (struct timer *)0;
    if (timer && timer->cpu == cpu->number && timer->due_ns <= now_ns) {
        timer_unset(cpu->sim, timer);
        timer->is_running = cpu->number + 1;
    } else {
        timer = (struct timer *)0;
    }
    lock_give(&cpu->sim->timer_lock);
    return timer;
}

static u64 timer_key(struct map *map, u8 *value, u32 *index)
{
    if (map->type != MAP_ARRAY)
        return (u64)(value - map->key_room);
    *index = (u32)((u64)(value - map->slots) / map->node_size);
    return (u64)index;
}

/* One callback, whose frames lie below this one. */
static __attribute__((noinline)) void timer_call(struct cpu *cpu, struct timer *timer)
{
    u32 index = 0;
    u64 here = 0;
    cpu->stack_top = (u64)&here;
    cpu->tail_calls = 0;
    if (cpu->checks)
        check_begin(cpu);
    ((callback)timer->callback)(cpu, (u64)timer->map, timer_key(timer->map, timer->value, &index), (u64)timer->value, 0, 0);
}

/* Runs what is due at now_ns for as long as cpu has set it; how many. */
u32 timers_run(struct cpu *cpu, u64 now_ns)
{
    struct timer *timer;
    u32 count = 0;
    __atomic_fetch_add(&cpu->sim->running, 1, ACQUIRE);
    cpu->is_in_callback = 1;
    while (!cpu->fault && (timer = timer_due(cpu, now_ns))) {
        timer_call(cpu, timer);
        __atomic_store_n(&timer->is_running, 0, RELEASE);
        count++;
    }
    cpu->is_in_callback = 0;
    __atomic_fetch_sub(&cpu->sim->running, 1, RELEASE);
    return count;
}
