// Slow reads and writes of regular files: who, how many bytes, how long, which name.
#include <linux/fs.h>
#include <linux/dcache.h>
#include <linux/sched.h>

#define MIN_NS 1000000

struct started_t {
    u64 ts_ns;
    u64 bytes;
    struct file *file;
};

struct event_t {
    u32 pid;
    u32 uid;
    u64 bytes;
    u64 delta_us;
    char comm[TASK_COMM_LEN];
    char name[32];
};

BPF_HASH(started, u64, struct started_t);
BPF_PERF_OUTPUT(events);

int enter(struct pt_regs *ctx, struct file *file, char __user *buf, size_t count)
{
    struct started_t start = {};
    u64 id = bpf_get_current_pid_tgid();

    if (count == 0 || file->f_path.dentry->d_inode->i_size == 0)
        return 0;
    start.ts_ns = bpf_ktime_get_ns();
    start.bytes = count;
    start.file = file;
    started.update(&id, &start);
    return 0;
}

int leave(struct pt_regs *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    struct started_t *start = started.lookup(&id);
    struct event_t event = {};
    u64 delta_ns;

    if (!start)
        return 0;
    delta_ns = bpf_ktime_get_ns() - start->ts_ns;
    if (delta_ns >= MIN_NS) {
        struct qstr name = {};
        struct file *file = start->file;

        event.pid = id >> 32;
        event.uid = bpf_get_current_uid_gid();
        event.bytes = start->bytes;
        event.delta_us = delta_ns / 1000;
        bpf_get_current_comm(&event.comm, sizeof(event.comm));
        name = file->f_path.dentry->d_name;
        bpf_probe_read_kernel(&event.name, sizeof(event.name), name.name);
        events.perf_submit(ctx, &event, sizeof(event));
    }
    started.delete(&id);
    return 0;
}
