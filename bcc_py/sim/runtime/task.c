/* Helpers about tasks: the one that runs here, and those that exist.

   task_struct and its like lie in the simulated kernel's memory where kernel.h says; struct layout has the places of the
   fields that are read here. The table of tasks is Python's to fill; whoever looks into it holds task_lock. */

enum { THREAD_BYTES = 16384, PT_REGS_BYTES = 168, MAX_SIGNAL = 64, MAX_SIGNALS = 65536 };

void *realloc(void *memory, unsigned long size);

/* The native place of size bytes at a kernel address, or null. */
static u8 *kernel_place(struct cpu *cpu, u64 address, u64 size)
{
    u64 room = 0;
    u8 *place = address ? in_kernel(cpu, address, &room) : (u8 *)0;
    return place && room >= size ? place : (u8 *)0;
}

static u64 kernel_field(struct cpu *cpu, u64 address, u32 offset, u32 size)
{
    u64 value = 0;
    u8 *place = kernel_place(cpu, address + offset, size);
    if (place)
        memcpy(&value, place, size);
    return value;
}

u64 bpf_get_current_pid_tgid(struct cpu *cpu)
{
    return (u64)cpu->tgid << 32 | cpu->pid;
}

u64 bpf_get_current_uid_gid(struct cpu *cpu)
{
    return (u64)cpu->gid << 32 | cpu->uid;
}

s64 bpf_get_current_comm(struct cpu *cpu, u8 *to, u64 size)
{
    u32 room = (u32)size;
    u32 i;
    if (!room)
        return -EINVAL;
    for (i = 0; i < room && i < 16 && cpu->comm[i]; i++)
        to[i] = cpu->comm[i];
    if (i == room)
        i--;
    memset(to + i, 0, room - i);
    return 0;
}

u64 bpf_get_current_task(struct cpu *cpu)
{
    return cpu->task;
}

u64 bpf_get_current_cgroup_id(struct cpu *cpu)
{
    return cpu->cgroup_id;
}

/* There is one cgroup below the root. */
u64 bpf_get_current_ancestor_cgroup_id(struct cpu *cpu, u64 level)
{
    return (u32)level == 0 ? 1 : (u32)level == 1 ? cpu->cgroup_id : 0;
}

s64 bpf_get_ns_current_pid_tgid(struct cpu *cpu, u64 dev, u64 ino, u8 *to, u64 size)
{
    if ((u32)size != 8 || dev != cpu->sim->pid_ns_dev || ino != cpu->sim->pid_ns_ino) {
        memset(to, 0, (u32)size);
        return -EINVAL;
    }
    memcpy(to, &cpu->pid, 4);
    memcpy(to + 4, &cpu->tgid, 4);
    return 0;
}

/* No task has a class for its packets. */
u64 bpf_get_cgroup_classid(struct cpu *cpu)
{
    (void)cpu;
    return 0;
}

u64 bpf_get_current_task_btf(struct cpu *cpu)
{
    return cpu->task;
}

/* A task's stack ends with the registers that it entered the kernel with. */
u64 bpf_task_pt_regs(struct cpu *cpu, u64 task)
{
    return kernel_field(cpu, task, cpu->sim->layout.task_struct__stack, 8) + THREAD_BYTES - PT_REGS_BYTES;
}

/* ---- signals ---- */

static s64 send(struct cpu *cpu, u32 pid, u32 signal)
{
    struct sim *sim = cpu->sim;
    struct signal_row *rows = sim->signals;
    s64 error = 0;
    if (signal > MAX_SIGNAL)
        return -EINVAL;
    lock_take(&sim->signal_lock);
    if (sim->signal_count == sim->signal_room && sim->signal_room < MAX_SIGNALS) {
        u32 room = sim->signal_room ? 2 * sim->signal_room : 16;
        rows = (struct signal_row *)realloc(sim->signals, room * sizeof(struct signal_row));
        if (rows) {
            sim->signals = rows;
            sim->signal_room = room;
        }
    }
    if (sim->signal_count < sim->signal_room) {
        sim->signals[sim->signal_count].pid = pid;
        sim->signals[sim->signal_count].signal = signal;
        sim->signal_count++;
    } else {
        error = -EBUSY;
    }
    lock_give(&sim->signal_lock);
    return error;
}

/* The idle task and init take no signals from programs. */
s64 bpf_send_signal(struct cpu *cpu, u64 signal)
{
    return cpu->tgid <= 1 ? -EPERM : send(cpu, cpu->tgid, (u32)signal);
}

s64 bpf_send_signal_thread(struct cpu *cpu, u64 signal)
{
    return cpu->tgid <= 1 ? -EPERM : send(cpu, cpu->pid, (u32)signal);
}

/* The oldest signal that a program sent; 0 when all were taken. */
s32 signal_take(struct sim *sim, u32 *pid, u32 *signal)
{
    u32 i;
    s32 found = 0;
    lock_take(&sim->signal_lock);
    if (sim->signal_count) {
        *pid = sim->signals[0].pid;
        *signal = sim->signals[0].signal;
        for (i = 1; i < sim->signal_count; i++)
            sim->signals[i - 1] = sim->signals[i];
        sim->signal_count--;
        found = 1;
    }
    lock_give(&sim->signal_lock);
    return found;
}

/* ---- the table of tasks ---- */

static u32 task_row_of(struct sim *sim, u32 pid)
{
    u32 i = 0;
    while (i < sim->task_count && sim->tasks[i].pid != pid)
        i++;
    return i;
}

s32 task_add(struct sim *sim, u32 pid, u32 tgid, u64 task)
{
    struct task_row *rows;
    s32 error = 0;
    lock_take(&sim->task_lock);
    if (sim->task_count == sim->task_room) {
        u32 room = sim->task_room ? 2 * sim->task_room : 64;
        rows = (struct task_row *)realloc(sim->tasks, room * sizeof(struct task_row));
        if (rows) {
            sim->tasks = rows;
            sim->task_room = room;
        }
    }
    if (sim->task_count < sim->task_room) {
        sim->tasks[sim->task_count].pid = pid;
        sim->tasks[sim->task_count].tgid = tgid;
        sim->tasks[sim->task_count].task = task;
        sim->task_count++;
    } else {
        error = -ENOMEM;
    }
    lock_give(&sim->task_lock);
    return error;
}

void task_remove(struct sim *sim, u32 pid)
{
    u32 at;
    lock_take(&sim->task_lock);
    at = task_row_of(sim, pid);
    if (at < sim->task_count) {
        memmove(sim->tasks + at, sim->tasks + at + 1, (u64)(sim->task_count - at - 1) * sizeof(struct task_row));
        sim->task_count--;
    }
    lock_give(&sim->task_lock);
}

/* The task_struct of that pid, or 0. */
static u64 task_of(struct sim *sim, u32 pid)
{
    u64 task = 0;
    u32 at;
    lock_take(&sim->task_lock);
    at = task_row_of(sim, pid);
    if (at < sim->task_count)
        task = sim->tasks[at].task;
    lock_give(&sim->task_lock);
    return task;
}

/* ---- paths ---- */

/* The name of a dentry goes before at; where it begins then, or null where there is no room or no name. */
static u8 *put_name(struct cpu *cpu, u8 *start, u8 *at, u64 dentry)
{
    struct layout *layout = &cpu->sim->layout;
    u64 room = 0;
    u64 size = 0;
    u64 address = kernel_field(cpu, dentry, layout->dentry__d_name__name, 8);
    const u8 *name = address ? in_kernel(cpu, address, &room) : (const u8 *)0;
    if (!name)
        return (u8 *)0;
    while (size < room && name[size])
        size++;
    if ((u64)(at - start) < size + 1)
        return (u8 *)0;
    at -= size + 1;
    at[0] = '/';
    memcpy(at + 1, name, size);
    return at;
}

/* struct path -> its name from the root, at the end of to; how many bytes with the zero byte. */
static s64 path_text(struct cpu *cpu, u64 path, u8 *to, u64 size)
{
    struct layout *layout = &cpu->sim->layout;
    u64 dentry = kernel_field(cpu, path, layout->path__dentry, 8);
    u8 *at = to + size - 1;
    u64 parent;
    u64 length;
    *at = 0;
    parent = kernel_field(cpu, dentry, layout->dentry__d_parent, 8);
    while (dentry && parent && parent != dentry) {
        at = put_name(cpu, to, at, dentry);
        if (!at)
            return -ENAMETOOLONG;
        dentry = parent;
        parent = kernel_field(cpu, dentry, layout->dentry__d_parent, 8);
    }
    if (!*at) {
        if (at == to)
            return -ENAMETOOLONG;
        *--at = '/';
    }
    length = (u64)(to + size - at);
    memmove(to, at, length);
    return (s64)length;
}

s64 bpf_d_path(struct cpu *cpu, u64 path, u8 *to, u64 size)
{
    return (u32)size ? path_text(cpu, path, to, (u32)size) : 0;
}
