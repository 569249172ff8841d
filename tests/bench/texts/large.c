// TCP connections from open to close, run queue latency and the stacks of those that wait.
#include <linux/sched.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/inet_sock.h>

#define MAX_STATES 16

struct flow_t {
    u32 saddr;
    u32 daddr;
    u16 sport;
    u16 dport;
};

struct life_t {
    u64 begun_ns;
    u64 state_ns[MAX_STATES];
    u32 pid;
    u32 state;
    char comm[TASK_COMM_LEN];
};

struct closed_t {
    struct flow_t flow;
    u32 pid;
    u32 family;
    u64 life_us;
    u64 sent;
    u64 received;
    u64 longest_us;
    u32 longest_state;
    char comm[TASK_COMM_LEN];
};

struct wait_key_t {
    u32 pid;
    int kernel_stack;
    int user_stack;
    char comm[TASK_COMM_LEN];
};

struct slot_t {
    u32 cpu;
    u64 slot;
};

BPF_HASH(lives, struct sock *, struct life_t);
BPF_HASH(woken, u32, u64);
BPF_HASH(waits, struct wait_key_t, u64, 4096);
BPF_HISTOGRAM(latency, struct slot_t);
BPF_STACK_TRACE(stacks, 4096);
BPF_PERCPU_ARRAY(totals, u64, 4);
BPF_PERF_OUTPUT(closings);

static inline void count(int what, u64 by)
{
    u64 *total = totals.lookup(&what);

    if (total)
        *total += by;
}

static inline void flow_of(struct sock *sk, struct flow_t *flow)
{
    u16 dport = sk->__sk_common.skc_dport;

    flow->saddr = sk->__sk_common.skc_rcv_saddr;
    flow->daddr = sk->__sk_common.skc_daddr;
    flow->sport = sk->__sk_common.skc_num;
    flow->dport = ntohs(dport);
}

static void submit(struct pt_regs *ctx, struct sock *sk, struct life_t *life, u64 now)
{
    struct tcp_sock *tp = (struct tcp_sock *)sk;
    struct closed_t closed = {};
    u64 longest = 0;

#pragma unroll
    for (int i = 0; i < MAX_STATES; i++) {
        if (life->state_ns[i] > longest) {
            longest = life->state_ns[i];
            closed.longest_state = i;
        }
    }
    flow_of(sk, &closed.flow);
    closed.pid = life->pid;
    closed.family = sk->__sk_common.skc_family;
    closed.life_us = (now - life->begun_ns) / 1000;
    closed.longest_us = longest / 1000;
    closed.sent = tp->bytes_acked;
    closed.received = tp->bytes_received;
    __builtin_memcpy(closed.comm, life->comm, sizeof(closed.comm));
    closings.perf_submit(ctx, &closed, sizeof(closed));
    count(0, 1);
    count(1, closed.sent);
    count(2, closed.received);
}

int set_state(struct pt_regs *ctx, struct sock *sk, int state)
{
    u64 now = bpf_ktime_get_ns();
    struct life_t *life = lives.lookup(&sk);
    struct life_t fresh = {};
    u16 family = sk->__sk_common.skc_family;

    if (family != AF_INET && family != AF_INET6)
        return 0;
    if (!life) {
        if (state == TCP_CLOSE)
            return 0;
        fresh.begun_ns = now;
        fresh.state = state;
        fresh.pid = bpf_get_current_pid_tgid() >> 32;
        bpf_get_current_comm(&fresh.comm, sizeof(fresh.comm));
        lives.update(&sk, &fresh);
        return 0;
    }
    if (life->state < MAX_STATES)
        life->state_ns[life->state & (MAX_STATES - 1)] += now - life->begun_ns;
    life->state = state;
    if (state == TCP_CLOSE) {
        submit(ctx, sk, life, now);
        lives.delete(&sk);
    }
    return 0;
}

int wake(struct pt_regs *ctx, struct task_struct *task)
{
    u32 pid = task->pid;
    u64 now = bpf_ktime_get_ns();

    if (pid != 0 && task->tgid != 0)
        woken.update(&pid, &now);
    return 0;
}

int switched(struct pt_regs *ctx, struct task_struct *prev)
{
    u32 pid = bpf_get_current_pid_tgid();
    u64 *since = woken.lookup(&pid);
    struct wait_key_t key = {};
    struct slot_t slot = {};
    u64 delta_us;

    if (!since)
        return 0;
    delta_us = (bpf_ktime_get_ns() - *since) / 1000;
    woken.delete(&pid);
    slot.cpu = bpf_get_smp_processor_id();
    slot.slot = bpf_log2l(delta_us);
    latency.increment(slot);
    if (delta_us < 1000)
        return 0;
    key.pid = prev->tgid;
    key.kernel_stack = stacks.get_stackid(ctx, 0);
    key.user_stack = stacks.get_stackid(ctx, BPF_F_USER_STACK);
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    waits.increment(key, delta_us);
    return 0;
}
