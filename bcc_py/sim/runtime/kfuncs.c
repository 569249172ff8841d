/* Kernel functions: iterators, tasks, control groups, and what only changes what the verifier knows.

   An iterator's state lies on the program's stack, in as many words as kernel.h gives it. Objects go by their kernel
   addresses. Source of each meaning: kernel/bpf/{helpers,task_iter,cgroup_iter}.c of Linux 6.18. */

enum { SEQUENCE_MAX = 8388608, BITS_WORDS_MAX = 511, INTERRUPTS_ON = 0x200 };
enum { ALL_PROCS = 0, ALL_THREADS = 1, PROC_THREADS = 2 };
enum { DESCENDANTS_PRE = 2, DESCENDANTS_POST = 3, ANCESTORS_UP = 4 };
enum { CSS_TASK_PROCS = 1, CSS_TASK_THREADED = 2 };
enum { CGROUPS_MAX = 64 };

/* ---- numbers ---- */

struct iter_num {
    s32 current;
    s32 end;
};

s64 kfunc_bpf_iter_num_new(struct cpu *cpu, struct iter_num *iter, u64 start, u64 end)
{
    s32 first = (s32)start;
    s32 last = (s32)end;
    (void)cpu;
    iter->current = 0;
    iter->end = 0;
    if (first > last)
        return -EINVAL;
    if ((s64)last - first > SEQUENCE_MAX)
        return -E2BIG;
    iter->current = (s32)((u32)first - 1);
    iter->end = last;
    return 0;
}

s32 *kfunc_bpf_iter_num_next(struct cpu *cpu, struct iter_num *iter)
{
    (void)cpu;
    if ((s64)(s32)((u32)iter->current + 1) >= iter->end) {
        iter->current = 0;
        iter->end = 0;
        return (s32 *)0;
    }
    iter->current = (s32)((u32)iter->current + 1);
    return &iter->current;
}

void kfunc_bpf_iter_num_destroy(struct cpu *cpu, struct iter_num *iter)
{
    (void)cpu;
    iter->current = 0;
    iter->end = 0;
}

/* ---- bits ---- */

struct iter_bits {
    u64 bits; /* one word of them, or where they are */
    s32 count;
    s32 bit;
};

s64 kfunc_bpf_iter_bits_new(struct cpu *cpu, struct iter_bits *iter, u64 address, u64 words)
{
    u8 *copy;
    u64 bytes = (u64)(u32)words * 8;
    memset(iter, 0, sizeof(struct iter_bits));
    iter->bit = -1;
    if (!address || !bytes)
        return -EINVAL;
    if ((u32)words > BITS_WORDS_MAX)
        return -E2BIG;
    copy = bytes == 8 ? (u8 *)&iter->bits : heap_take(cpu->sim, bytes);
    if (!copy)
        return -ENOMEM;
    if (bpf_probe_read_kernel(cpu, copy, bytes, address)) {
        if (bytes > 8)
            heap_give(cpu->sim, copy);
        return -EFAULT;
    }
    if (bytes > 8)
        iter->bits = (u64)copy;
    iter->count = (s32)bytes * 8;
    return 0;
}

s32 *kfunc_bpf_iter_bits_next(struct cpu *cpu, struct iter_bits *iter)
{
    const u64 *words = iter->count > 64 ? (const u64 *)iter->bits : &iter->bits;
    s32 bit = iter->bit + 1;
    (void)cpu;
    if (iter->bit >= iter->count)
        return (s32 *)0;
    while (bit < iter->count && !(words[bit / 64] >> (bit % 64) & 1))
        bit++;
    iter->bit = bit;
    return bit < iter->count ? &iter->bit : (s32 *)0;
}

void kfunc_bpf_iter_bits_destroy(struct cpu *cpu, struct iter_bits *iter)
{
    if (iter->count > 64)
        heap_give(cpu->sim, (u8 *)iter->bits);
    iter->count = 0;
}

/* ---- tasks ---- */

struct iter_task {
    u64 process; /* the row of the process, and of the thread, that comes next; task_room and more when there is none */
    u64 thread;
    u64 flags;
};

static const u64 NO_ROW = 0xffffffffull;

static u64 row_of_task(struct sim *sim, u64 task)
{
    u64 i = 0;
    while (i < sim->task_count && sim->tasks[i].task != task)
        i++;
    return i < sim->task_count ? i : NO_ROW;
}

static u64 process_after(struct sim *sim, u64 row)
{
    while (row < sim->task_count && sim->tasks[row].pid != sim->tasks[row].tgid)
        row++;
    return row < sim->task_count ? row : NO_ROW;
}

static u64 thread_after(struct sim *sim, u64 row)
{
    u32 tgid = sim->tasks[row].tgid;
    for (row++; row < sim->task_count; row++)
        if (sim->tasks[row].tgid == tgid)
            return row;
    return NO_ROW;
}

s64 kfunc_bpf_iter_task_new(struct cpu *cpu, struct iter_task *iter, u64 task, u64 flags)
{
    struct sim *sim = cpu->sim;
    iter->process = NO_ROW;
    iter->thread = NO_ROW;
    iter->flags = (u32)flags;
    if ((u32)flags > PROC_THREADS || ((u32)flags == PROC_THREADS && !task))
        return -EINVAL;
    lock_take(&sim->task_lock);
    iter->process = (u32)flags == PROC_THREADS ? row_of_task(sim, task) : process_after(sim, 0);
    iter->thread = iter->process;
    lock_give(&sim->task_lock);
    return 0;
}

/* The task that comes next, 0 at the end. Tasks that begin or end meanwhile may be missed. */
u64 kfunc_bpf_iter_task_next(struct cpu *cpu, struct iter_task *iter)
{
    struct sim *sim = cpu->sim;
    u64 task = 0;
    lock_take(&sim->task_lock);
    if (iter->thread < sim->task_count && iter->process < sim->task_count) {
        task = sim->tasks[iter->thread].task;
        iter->thread = iter->flags == ALL_PROCS ? NO_ROW : thread_after(sim, iter->thread);
        if (iter->thread == NO_ROW && iter->flags != PROC_THREADS) {
            iter->process = process_after(sim, iter->process + 1);
            iter->thread = iter->process;
        }
    }
    lock_give(&sim->task_lock);
    return task;
}

void kfunc_bpf_iter_task_destroy(struct cpu *cpu, struct iter_task *iter)
{
    (void)cpu;
    iter->thread = NO_ROW;
}

/* A task whose time has come cannot be held any more. */
u64 kfunc_bpf_task_acquire(struct cpu *cpu, u64 task)
{
    struct sim *sim = cpu->sim;
    u64 row;
    lock_take(&sim->task_lock);
    row = row_of_task(sim, task);
    lock_give(&sim->task_lock);
    return row == NO_ROW ? 0 : task;
}

/* A task's memory is Python's to give back. */
void kfunc_bpf_task_release(struct cpu *cpu, u64 task)
{
    (void)cpu;
    (void)task;
}

u64 kfunc_bpf_task_from_pid(struct cpu *cpu, u64 pid)
{
    return (s32)pid > 0 ? task_of(cpu->sim, (u32)pid) : 0;
}

/* There is one namespace of pids. */
u64 kfunc_bpf_task_from_vpid(struct cpu *cpu, u64 pid)
{
    return kfunc_bpf_task_from_pid(cpu, pid);
}

enum { TO_THREAD = 0, TO_PROCESS = 1 };

s64 kfunc_bpf_send_signal_task(struct cpu *cpu, u64 signal, u64 task, u64 type, u64 value)
{
    struct layout *layout = &cpu->sim->layout;
    u32 place = (u32)type == TO_THREAD ? layout->task_struct__pid : layout->task_struct__tgid;
    (void)value;
    if ((u32)type != TO_THREAD && (u32)type != TO_PROCESS)
        return -EINVAL;
    if (kernel_field(cpu, task, layout->task_struct__tgid, 4) <= 1)
        return -EPERM;
    return send(cpu, (u32)kernel_field(cpu, task, place, 4), (u32)signal);
}

/* ---- control groups: the root and those below it, parents first ---- */

static u64 parent_of(struct cpu *cpu, u64 cgroup)
{
    return kernel_field(cpu, cgroup, cpu->sim->layout.cgroup__self__parent, 8);
}

static int is_below(struct cpu *cpu, u64 cgroup, u64 ancestor)
{
    u32 steps;
    for (steps = 0; cgroup && cgroup != ancestor && steps < CGROUPS_MAX; steps++)
        cgroup = parent_of(cpu, cgroup);
    return cgroup == ancestor;
}

u64 kfunc_bpf_cgroup_acquire(struct cpu *cpu, u64 cgroup)
{
    (void)cpu;
    return cgroup;
}

void kfunc_bpf_cgroup_release(struct cpu *cpu, u64 cgroup)
{
    (void)cpu;
    (void)cgroup;
}

u64 kfunc_bpf_cgroup_ancestor(struct cpu *cpu, u64 cgroup, u64 level)
{
    s32 here = (s32)kernel_field(cpu, cgroup, cpu->sim->layout.cgroup__level, 4);
    if ((s32)level < 0 || (s32)level > here)
        return 0;
    for (; here > (s32)level; here--)
        cgroup = parent_of(cpu, cgroup);
    return cgroup;
}

u64 kfunc_bpf_cgroup_from_id(struct cpu *cpu, u64 id)
{
    struct sim *sim = cpu->sim;
    u32 i;
    for (i = 0; i < sim->cgroup_count; i++) {
        u64 node = kernel_field(cpu, sim->cgroups[i], sim->layout.cgroup__kn, 8);
        if (kernel_field(cpu, node, sim->layout.kernfs_node__id, 8) == id)
            return sim->cgroups[i];
    }
    return 0;
}

static u64 cgroup_of(struct cpu *cpu, u64 task)
{
    struct layout *layout = &cpu->sim->layout;
    return kernel_field(cpu, kernel_field(cpu, task, layout->task_struct__cgroups, 8), layout->css_set__dfl_cgrp, 8);
}

u64 kfunc_bpf_task_under_cgroup(struct cpu *cpu, u64 task, u64 ancestor)
{
    return (u64)is_below(cpu, cgroup_of(cpu, task), ancestor);
}

/* There is one hierarchy, and it is of version 2. */
u64 kfunc_bpf_task_get_cgroup1(struct cpu *cpu, u64 task, u64 hierarchy)
{
    (void)cpu;
    (void)task;
    (void)hierarchy;
    return 0;
}

struct iter_css {
    u64 start; /* a struct cgroup's address is that of its first member, self */
    u64 flags;
    u64 next; /* a row of sim->cgroups, or the next address upwards */
};

s64 kfunc_bpf_iter_css_new(struct cpu *cpu, struct iter_css *iter, u64 start, u64 flags)
{
    iter->start = 0;
    iter->flags = (u32)flags;
    if ((u32)flags < DESCENDANTS_PRE || (u32)flags > ANCESTORS_UP)
        return -EINVAL;
    iter->start = start;
    iter->next = (u32)flags == ANCESTORS_UP ? start : (u32)flags == DESCENDANTS_PRE ? 0 : cpu->sim->cgroup_count;
    return 0;
}

u64 kfunc_bpf_iter_css_next(struct cpu *cpu, struct iter_css *iter)
{
    struct sim *sim = cpu->sim;
    u64 found = 0;
    if (!iter->start)
        return 0;
    if (iter->flags == ANCESTORS_UP) {
        found = iter->next;
        iter->next = found ? parent_of(cpu, found) : 0;
    } else if (iter->flags == DESCENDANTS_PRE) {
        while (iter->next < sim->cgroup_count && !found) {
            found = is_below(cpu, sim->cgroups[iter->next], iter->start) ? sim->cgroups[iter->next] : 0;
            iter->next++;
        }
    } else {
        while (iter->next && iter->next <= sim->cgroup_count && !found) {
            iter->next--;
            found = is_below(cpu, sim->cgroups[iter->next], iter->start) ? sim->cgroups[iter->next] : 0;
        }
    }
    return found;
}

void kfunc_bpf_iter_css_destroy(struct cpu *cpu, struct iter_css *iter)
{
    (void)cpu;
    iter->start = 0;
}

struct iter_css_task {
    u64 state; /* heap memory: the css, flags, the next row */
};

s64 kfunc_bpf_iter_css_task_new(struct cpu *cpu, struct iter_css_task *iter, u64 css, u64 flags)
{
    u64 *state;
    iter->state = 0;
    if ((u32)flags > (CSS_TASK_PROCS | CSS_TASK_THREADED) || (u32)flags == CSS_TASK_THREADED)
        return -EINVAL;
    state = (u64 *)heap_take(cpu->sim, 24);
    if (!state)
        return -ENOMEM;
    state[0] = css;
    state[1] = (u32)flags;
    iter->state = (u64)state;
    return 0;
}

u64 kfunc_bpf_iter_css_task_next(struct cpu *cpu, struct iter_css_task *iter)
{
    struct sim *sim = cpu->sim;
    u64 *state = (u64 *)iter->state;
    u64 task = 0;
    if (!state)
        return 0;
    lock_take(&sim->task_lock);
    while (!task && state[2] < sim->task_count) {
        struct task_row *row = sim->tasks + state[2];
        if (cgroup_of(cpu, row->task) == state[0] && (row->pid == row->tgid || !(state[1] & CSS_TASK_PROCS)))
            task = row->task;
        state[2]++;
    }
    lock_give(&sim->task_lock);
    return task;
}

void kfunc_bpf_iter_css_task_destroy(struct cpu *cpu, struct iter_css_task *iter)
{
    if (iter->state)
        heap_give(cpu->sim, (u8 *)iter->state);
    iter->state = 0;
}

/* ---- what changes only what is known of a pointer or of the time ---- */

u64 kfunc_bpf_rdonly_cast(struct cpu *cpu, u64 object, u64 type)
{
    (void)cpu;
    (void)type;
    return object;
}

/* Of programs whose context is the same to the kernel (SimKernel sees to it). */
u64 kfunc_bpf_cast_to_kern_ctx(struct cpu *cpu, u64 context)
{
    (void)cpu;
    return context;
}

void kfunc_bpf_rcu_read_lock(struct cpu *cpu)
{
    (void)cpu;
}

void kfunc_bpf_rcu_read_unlock(struct cpu *cpu)
{
    (void)cpu;
}

void kfunc_bpf_preempt_disable(struct cpu *cpu)
{
    (void)cpu;
}

void kfunc_bpf_preempt_enable(struct cpu *cpu)
{
    (void)cpu;
}

void kfunc_bpf_local_irq_save(struct cpu *cpu, u64 *flags)
{
    (void)cpu;
    *flags = INTERRUPTS_ON;
}

void kfunc_bpf_local_irq_restore(struct cpu *cpu, u64 *flags)
{
    (void)cpu;
    (void)flags;
}

/* ---- user memory ---- */

enum { PAD_WITH_ZEROS = 1 };

s64 kfunc_bpf_copy_from_user_str(struct cpu *cpu, u8 *to, u64 size, u64 address, u64 flags)
{
    s64 length;
    if (flags & ~(u64)PAD_WITH_ZEROS)
        return -EINVAL;
    if (!(u32)size)
        return 0;
    length = bpf_probe_read_user_str(cpu, to, size, address);
    if (length > 0 && (flags & PAD_WITH_ZEROS))
        memset(to + length, 0, (u32)size - (u64)length);
    return length;
}

/* The memory of another task than the current one is not to be had. */
s64 kfunc_bpf_copy_from_user_task_str(struct cpu *cpu, u8 *to, u64 size, u64 address, u64 task, u64 flags)
{
    if (flags & ~(u64)PAD_WITH_ZEROS)
        return -EINVAL;
    if (task == cpu->task || !(u32)size)
        return kfunc_bpf_copy_from_user_str(cpu, to, size, address, flags);
    memset(to, 0, (u32)size);
    return -EFAULT;
}

/* ---- the same, into dynptrs ---- */

s64 kfunc_bpf_copy_from_user_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    return dynptr_read_into(cpu, to, (u32)offset, (u32)size, address, bpf_probe_read_user);
}

s64 kfunc_bpf_copy_from_user_str_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address)
{
    return dynptr_read_string_into(cpu, to, (u32)offset, (u32)size, address, bpf_probe_read_user_str);
}

s64 kfunc_bpf_copy_from_user_task_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address, u64 task)
{
    u64 nowhere = task == cpu->task ? address : 0;
    return dynptr_read_into(cpu, to, (u32)offset, (u32)size, nowhere, bpf_probe_read_user);
}

s64 kfunc_bpf_copy_from_user_task_str_dynptr(struct cpu *cpu, const struct dynptr *to, u64 offset, u64 size, u64 address,
    u64 task)
{
    u64 nowhere = task == cpu->task ? address : 0;
    return dynptr_read_string_into(cpu, to, (u32)offset, (u32)size, nowhere, bpf_probe_read_user_str);
}
