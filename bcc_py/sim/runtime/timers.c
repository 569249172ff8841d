/* Timers in map values: they fire in virtual time, on the CPU that runs when the time has come.

   A value's struct bpf_timer holds the address of a struct timer, which lives until its value goes away. The list of those
   that are set is kept in order of time under one lock, which no callback runs under. */

enum { TIMER_ABSOLUTE = 1, TIMER_PINNED = 2, TIMER_REALTIME = 0, TIMER_MONOTONIC = 1, TIMER_BOOTTIME = 7 };
#define NEVER 0xffffffffffffffffull

static u32 timer_unset(struct sim *sim, struct timer *timer)
{
    struct timer **link = &sim->timers;
    if (!timer->is_set)
        return 0;
    while (*link != timer)
        link = &(*link)->next;
    *link = timer->next;
    timer->is_set = 0;
    return 1;
}

static void timer_set(struct sim *sim, struct timer *timer, u64 due_ns)
{
    struct timer **link = &sim->timers;
    timer_unset(sim, timer);
    timer->due_ns = due_ns;
    while (*link && (*link)->due_ns <= due_ns)
        link = &(*link)->next;
    timer->next = *link;
    *link = timer;
    timer->is_set = 1;
}

static void timer_forget_locked(struct sim *sim, struct timer *timer)
{
    struct timer **link = &sim->made;
    timer_unset(sim, timer);
    while (*link != timer)
        link = &(*link)->made;
    *link = timer->made;
    bury(sim, timer, 0);
}

/* The value at place goes away: its timer, if it has one, will not fire again. */
static void timer_drop(struct sim *sim, u8 *place)
{
    struct timer *timer;
    lock_take(&sim->timer_lock);
    timer = *(struct timer **)place;
    if (timer)
        timer_forget_locked(sim, timer);
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
        if (timer->map == map)
            timer_forget_locked(sim, timer);
    }
    lock_give(&sim->timer_lock);
}

/* The value that place lies in. */
static u8 *value_around(struct map *map, u8 *place)
{
    u32 i;
    for (i = 0; i < map->field_count; i++)
        if (map->fields[i].kind == FIELD_TIMER)
            return place - map->fields[i].offset;
    return place;
}

s64 bpf_timer_init(struct cpu *cpu, u8 *place, struct map *map, u64 flags)
{
    struct sim *sim = cpu->sim;
    struct timer *timer;
    if (flags != TIMER_MONOTONIC && flags != TIMER_REALTIME && flags != TIMER_BOOTTIME)
        return -EINVAL;
    timer = (struct timer *)calloc(1, sizeof(struct timer));
    if (!timer)
        return -ENOMEM;
    timer->map = map;
    timer->value = value_around(map, place);
    lock_take(&sim->timer_lock);
    if (*(struct timer **)place) {
        lock_give(&sim->timer_lock);
        free(timer);
        return -EBUSY;
    }
    timer->made = sim->made;
    sim->made = timer;
    *(struct timer **)place = timer;
    lock_give(&sim->timer_lock);
    return 0;
}

s64 bpf_timer_set_callback(struct cpu *cpu, u8 *place, u64 callback)
{
    struct timer *timer;
    lock_take(&cpu->sim->timer_lock);
    timer = *(struct timer **)place;
    if (timer)
        timer->callback = callback;
    lock_give(&cpu->sim->timer_lock);
    return timer ? 0 : -EINVAL;
}

s64 bpf_timer_start(struct cpu *cpu, u8 *place, u64 ns, u64 flags)
{
    struct timer *timer;
    s64 error = 0;
    if (flags & ~(u64)(TIMER_ABSOLUTE | TIMER_PINNED))
        return -EINVAL;
    lock_take(&cpu->sim->timer_lock);
    timer = *(struct timer **)place;
    if (!timer || !timer->callback)
        error = -EINVAL;
    else
        timer_set(cpu->sim, timer, flags & TIMER_ABSOLUTE ? ns : cpu->time_ns + ns);
    lock_give(&cpu->sim->timer_lock);
    return error;
}

/* 1 if it was set. Its callback may be running: on another CPU it ends before this returns, in itself it cannot. */
s64 bpf_timer_cancel(struct cpu *cpu, u8 *place)
{
    struct timer *timer;
    s64 answer = -EINVAL;
    lock_take(&cpu->sim->timer_lock);
    timer = *(struct timer **)place;
    if (timer && timer->is_running == cpu->number + 1) {
        answer = -EDEADLK;
    } else if (timer) {
        answer = timer_unset(cpu->sim, timer);
        timer->callback = 0;
    }
    lock_give(&cpu->sim->timer_lock);
    return answer;
}

/* When the next timer is due, in ns of the kernel's clock; the greatest number if none is set. */
u64 timers_next(struct sim *sim)
{
    u64 due;
    lock_take(&sim->timer_lock);
    due = sim->timers ? sim->timers->due_ns : NEVER;
    lock_give(&sim->timer_lock);
    return due;
}

/* The first timer that is due, as running on cpu, or null. */
static struct timer *timer_due(struct cpu *cpu, u64 now_ns)
{
    struct timer *timer;
    lock_take(&cpu->sim->timer_lock);
    timer = cpu->sim->timers;
    if (timer && timer->due_ns <= now_ns) {
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

/* Runs on cpu what is due at now_ns; how many. The caller counts as a running program. */
u32 timers_run(struct cpu *cpu, u64 now_ns)
{
    u64 (*call)(struct cpu *cpu, u64 map, u64 key, u64 value, u64 four, u64 five);
    struct timer *timer;
    u32 index;
    u32 count = 0;
    while ((timer = timer_due(cpu, now_ns))) {
        call = (u64 (*)(struct cpu *, u64, u64, u64, u64, u64))timer->callback;
        call(cpu, (u64)timer->map, timer_key(timer->map, timer->value, &index), (u64)timer->value, 0, 0);
        timer->is_running = 0;
        count++;
    }
    return count;
}
