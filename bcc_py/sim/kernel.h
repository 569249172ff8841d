/* The simulated kernel's types, written down here and nowhere else: their BTF describes this kernel to
   the compiler, and the simulator lays its own objects out by it.

   Names are Linux's (x86-64, 6.18), so a program's field accesses compile unchanged; a struct holds the
   fields that the simulator fills or that tracing programs commonly name, in Linux's order, and no
   others. Offsets are therefore this kernel's own, which is what BTF is for. C99 declarations, no
   preprocessor. */

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u8 u8, uint8_t;
typedef __u16 u16, uint16_t;
typedef __u32 u32, uint32_t;
typedef __u64 u64, uint64_t;
typedef __s8 s8, int8_t;
typedef __s16 s16, int16_t;
typedef __s32 s32, int32_t;
typedef __s64 s64, int64_t;
typedef __u16 __be16, __le16, __sum16;
typedef __u32 __be32, __le32, __wsum;
typedef __u64 __be64, __le64;
typedef __u8 u_int8_t;
typedef __u16 u_int16_t;
typedef __u32 u_int32_t;
typedef __u64 u_int64_t;
typedef _Bool bool;
typedef unsigned char unchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef long __kernel_long_t;
typedef unsigned long __kernel_ulong_t;
typedef int __kernel_pid_t;
typedef unsigned int __kernel_uid32_t;
typedef unsigned int __kernel_gid32_t;
typedef __kernel_ulong_t __kernel_size_t;
typedef __kernel_long_t __kernel_ssize_t;
typedef long long __kernel_loff_t;
typedef __kernel_long_t __kernel_old_time_t;
typedef __kernel_pid_t pid_t;
typedef __kernel_uid32_t uid_t;
typedef __kernel_gid32_t gid_t;
typedef __kernel_size_t size_t;
typedef __kernel_ssize_t ssize_t;
typedef __kernel_loff_t loff_t;
typedef unsigned long uintptr_t;
typedef long long ktime_t;
typedef long long time64_t;
typedef u64 sector_t;
typedef u64 blkcnt_t;
typedef u32 __kernel_dev_t;
typedef __kernel_dev_t dev_t;
typedef unsigned short umode_t;
typedef unsigned int gfp_t;
typedef unsigned int fmode_t;
typedef unsigned int slab_flags_t;
typedef unsigned int blk_opf_t;
typedef unsigned long sigset_word_t;
typedef int key_serial_t;
typedef u64 phys_addr_t;
typedef u32 errseq_t;
typedef unsigned short sa_family_t;
typedef unsigned short __kernel_sa_family_t;

enum { false = 0, true = 1 };

enum { TASK_COMM_LEN = 16 };

enum pid_type { PIDTYPE_PID = 0, PIDTYPE_TGID = 1, PIDTYPE_PGID = 2, PIDTYPE_SID = 3, PIDTYPE_MAX = 4 };

enum {
    TCP_ESTABLISHED = 1,
    TCP_SYN_SENT = 2,
    TCP_SYN_RECV = 3,
    TCP_FIN_WAIT1 = 4,
    TCP_FIN_WAIT2 = 5,
    TCP_TIME_WAIT = 6,
    TCP_CLOSE = 7,
    TCP_CLOSE_WAIT = 8,
    TCP_LAST_ACK = 9,
    TCP_LISTEN = 10,
    TCP_CLOSING = 11,
    TCP_NEW_SYN_RECV = 12,
    TCP_BOUND_INACTIVE = 13,
    TCP_MAX_STATES = 14
};

enum {
    IPPROTO_IP = 0, IPPROTO_ICMP = 1, IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_IPV6 = 41, IPPROTO_ICMPV6 = 58,
    IPPROTO_RAW = 255
};

enum sock_type { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_RDM = 4, SOCK_SEQPACKET = 5, SOCK_DCCP = 6, SOCK_PACKET = 10 };

enum tcp_ca_state { TCP_CA_Open = 0, TCP_CA_Disorder = 1, TCP_CA_CWR = 2, TCP_CA_Recovery = 3, TCP_CA_Loss = 4 };

enum {
    HI_SOFTIRQ = 0, TIMER_SOFTIRQ = 1, NET_TX_SOFTIRQ = 2, NET_RX_SOFTIRQ = 3, BLOCK_SOFTIRQ = 4, IRQ_POLL_SOFTIRQ = 5,
    TASKLET_SOFTIRQ = 6, SCHED_SOFTIRQ = 7, HRTIMER_SOFTIRQ = 8, RCU_SOFTIRQ = 9, NR_SOFTIRQS = 10
};

enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0, BPF_RB_RING_SIZE = 1, BPF_RB_CONS_POS = 2, BPF_RB_PROD_POS = 3 };

enum skb_drop_reason { SKB_NOT_DROPPED_YET = 0, SKB_CONSUMED = 1, SKB_DROP_REASON_NOT_SPECIFIED = 2 };

enum hrtimer_restart { HRTIMER_NORESTART = 0, HRTIMER_RESTART = 1 };

/* ---- lists, locks, counters ---- */

struct list_head {
    struct list_head *next;
    struct list_head *prev;
};

struct hlist_node {
    struct hlist_node *next;
    struct hlist_node **pprev;
};

struct hlist_head {
    struct hlist_node *first;
};

struct callback_head {
    struct callback_head *next;
    void (*func)(struct callback_head *head);
};

typedef struct {
    int counter;
} atomic_t;

typedef struct {
    s64 counter;
} atomic64_t;

typedef atomic64_t atomic_long_t;

typedef struct refcount_struct {
    atomic_t refs;
} refcount_t;

struct kref {
    refcount_t refcount;
};

typedef struct spinlock {
    u32 slock;
} spinlock_t;

typedef struct {
    uid_t val;
} kuid_t;

typedef struct {
    gid_t val;
} kgid_t;

typedef struct {
    u64 val;
} kernel_cap_t;

typedef struct {
    unsigned long sig[1];
} sigset_t;

typedef struct {
    struct net *net;
} possible_net_t;

struct timespec64 {
    time64_t tv_sec;
    long tv_nsec;
};

/* ---- registers ---- */

struct pt_regs {
    unsigned long r15;
    unsigned long r14;
    unsigned long r13;
    unsigned long r12;
    unsigned long bp;
    unsigned long bx;
    unsigned long r11;
    unsigned long r10;
    unsigned long r9;
    unsigned long r8;
    unsigned long ax;
    unsigned long cx;
    unsigned long dx;
    unsigned long si;
    unsigned long di;
    unsigned long orig_ax;
    unsigned long ip;
    union {
        u16 cs;
        u64 csx;
    };
    unsigned long flags;
    unsigned long sp;
    union {
        u16 ss;
        u64 ssx;
    };
};

typedef struct pt_regs bpf_user_pt_regs_t;

struct bpf_raw_tracepoint_args {
    __u64 args[0];
};

struct bpf_perf_event_data {
    bpf_user_pt_regs_t regs;
    __u64 sample_period;
    __u64 addr;
};

struct perf_sample_data {
    u64 sample_flags;
    u64 period;
    u64 time;
    u64 id;
    u64 ip;
    u64 addr;
};

struct bpf_perf_event_data_kern {
    bpf_user_pt_regs_t *regs;
    struct perf_sample_data *data;
    struct perf_event *event;
};

struct bpf_perf_event_value {
    __u64 counter;
    __u64 enabled;
    __u64 running;
};

struct bpf_pidns_info {
    __u32 pid;
    __u32 tgid;
};

struct trace_entry {
    unsigned short type;
    unsigned char flags;
    unsigned char preempt_count;
    int pid;
};

/* ---- namespaces and identities ---- */

struct proc_ns_operations;

struct ns_common {
    u32 ns_type;
    struct dentry *stashed;
    const struct proc_ns_operations *ops;
    unsigned int inum;
    refcount_t __ns_ref;
};

struct new_utsname {
    char sysname[65];
    char nodename[65];
    char release[65];
    char version[65];
    char machine[65];
    char domainname[65];
};

struct uts_namespace {
    struct new_utsname name;
    struct ns_common ns;
};

struct ipc_namespace {
    struct ns_common ns;
};

struct mnt_namespace {
    struct ns_common ns;
    struct mount *root;
};

struct net {
    refcount_t passive;
    unsigned int ifindex;
    struct ns_common ns;
    u64 net_cookie;
};

struct user_namespace {
    struct user_namespace *parent;
    int level;
    struct ns_common ns;
};

struct time_namespace {
    struct ns_common ns;
};

struct cgroup_namespace {
    struct ns_common ns;
};

struct pid_namespace {
    unsigned int pid_allocated;
    struct task_struct *child_reaper;
    unsigned int level;
    struct pid_namespace *parent;
    struct user_namespace *user_ns;
    struct ns_common ns;
};

struct nsproxy {
    refcount_t count;
    struct uts_namespace *uts_ns;
    struct ipc_namespace *ipc_ns;
    struct mnt_namespace *mnt_ns;
    struct pid_namespace *pid_ns_for_children;
    struct net *net_ns;
    struct time_namespace *time_ns;
    struct time_namespace *time_ns_for_children;
    struct cgroup_namespace *cgroup_ns;
};

struct upid {
    int nr;
    struct pid_namespace *ns;
};

struct pid {
    refcount_t count;
    unsigned int level;
    struct hlist_head tasks[4];
    struct upid numbers[1];
};

struct user_struct {
    refcount_t __count;
    kuid_t uid;
};

struct cred {
    atomic_long_t usage;
    kuid_t uid;
    kgid_t gid;
    kuid_t suid;
    kgid_t sgid;
    kuid_t euid;
    kgid_t egid;
    kuid_t fsuid;
    kgid_t fsgid;
    unsigned int securebits;
    kernel_cap_t cap_inheritable;
    kernel_cap_t cap_permitted;
    kernel_cap_t cap_effective;
    kernel_cap_t cap_bset;
    kernel_cap_t cap_ambient;
    struct user_struct *user;
    struct user_namespace *user_ns;
};

/* ---- files ---- */

struct qstr {
    union {
        struct {
            u32 hash;
            u32 len;
        };
        u64 hash_len;
    };
    const unsigned char *name;
};

struct vfsmount {
    struct dentry *mnt_root;
    struct super_block *mnt_sb;
    int mnt_flags;
};

struct mount {
    struct hlist_node mnt_hash;
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
    const char *mnt_devname;
    struct mnt_namespace *mnt_ns;
    int mnt_id;
};

struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
};

union shortname_store {
    unsigned char string[40];
    unsigned long words[5];
};

struct dentry {
    unsigned int d_flags;
    struct hlist_node d_hash;
    struct dentry *d_parent;
    struct qstr d_name;
    struct inode *d_inode;
    union shortname_store d_shortname;
    struct super_block *d_sb;
    unsigned long d_time;
    struct list_head d_sib;
};


struct file_system_type {
    const char *name;
    int fs_flags;
};

struct super_block {
    struct list_head s_list;
    dev_t s_dev;
    unsigned char s_blocksize_bits;
    unsigned long s_blocksize;
    loff_t s_maxbytes;
    struct file_system_type *s_type;
    unsigned long s_flags;
    unsigned long s_magic;
    struct dentry *s_root;
    struct block_device *s_bdev;
    char s_id[32];
};

struct inode {
    umode_t i_mode;
    unsigned short i_opflags;
    kuid_t i_uid;
    kgid_t i_gid;
    unsigned int i_flags;
    struct super_block *i_sb;
    struct address_space *i_mapping;
    unsigned long i_ino;
    unsigned int i_nlink;
    dev_t i_rdev;
    loff_t i_size;
    blkcnt_t i_blocks;
};

struct address_space {
    struct inode *host;
    unsigned long nrpages;
};

struct iov_iter {
    u8 iter_type;
    bool nofault;
    bool data_source;
    size_t iov_offset;
    void *ubuf;
    size_t count;
    unsigned long nr_segs;
};

struct file_operations {
    struct module *owner;
    loff_t (*llseek)(struct file *, loff_t, int);
    ssize_t (*read)(struct file *, char *, size_t, loff_t *);
    ssize_t (*write)(struct file *, const char *, size_t, loff_t *);
    ssize_t (*read_iter)(struct kiocb *, struct iov_iter *);
    ssize_t (*write_iter)(struct kiocb *, struct iov_iter *);
    long (*unlocked_ioctl)(struct file *, unsigned int, unsigned long);
    int (*open)(struct inode *, struct file *);
    int (*release)(struct inode *, struct file *);
    int (*fsync)(struct file *, loff_t, loff_t, int);
};

struct file {
    fmode_t f_mode;
    const struct file_operations *f_op;
    struct address_space *f_mapping;
    void *private_data;
    struct inode *f_inode;
    unsigned int f_flags;
    const struct cred *f_cred;
    struct path f_path;
    loff_t f_pos;
};

struct fdtable {
    unsigned int max_fds;
    struct file **fd;
};

struct files_struct {
    atomic_t count;
    struct fdtable *fdt;
    struct fdtable fdtab;
    unsigned int next_fd;
};

struct fs_struct {
    int users;
    int umask;
    int in_exec;
    struct path root;
    struct path pwd;
};

struct filename {
    const char *name;
    const char *uptr;
    atomic_t refcnt;
    const char iname[0];
};

struct open_flags {
    int open_flag;
    umode_t mode;
    int acc_mode;
    int intent;
    int lookup_flags;
};

struct open_how {
    __u64 flags;
    __u64 mode;
    __u64 resolve;
};

struct kiocb {
    struct file *ki_filp;
    loff_t ki_pos;
    void *private;
    int ki_flags;
};

struct iovec {
    void *iov_base;
    __kernel_size_t iov_len;
};

struct renamedata {
    struct dentry *old_parent;
    struct dentry *old_dentry;
    struct dentry *new_parent;
    struct dentry *new_dentry;
};

/* ---- memory and programs ---- */

enum { MM_FILEPAGES = 0, MM_ANONPAGES = 1, MM_SWAPENTS = 2, MM_SHMEMPAGES = 3, NR_MM_COUNTERS = 4 };

struct percpu_counter {
    struct spinlock lock;
    s64 count;
    struct list_head list;
    s32 *counters;
};

struct mm_struct {
    atomic_t mm_users;
    atomic_t mm_count;
    unsigned long task_size;
    int map_count;
    unsigned long total_vm;
    unsigned long start_code;
    unsigned long end_code;
    unsigned long start_data;
    unsigned long end_data;
    unsigned long start_brk;
    unsigned long brk;
    unsigned long start_stack;
    unsigned long arg_start;
    unsigned long arg_end;
    unsigned long env_start;
    unsigned long env_end;
    struct percpu_counter rss_stat[4];
    struct file *exe_file;
};

struct linux_binprm {
    struct mm_struct *mm;
    unsigned long p;
    struct file *executable;
    struct file *interpreter;
    struct file *file;
    struct cred *cred;
    unsigned int per_clear;
    int argc;
    int envc;
    const char *filename;
    const char *interp;
    const char *fdpath;
    unsigned long exec;
};

/* ---- control groups ---- */

struct kernfs_node {
    atomic_t count;
    struct kernfs_node *__parent;
    const char *name;
    u64 id;
};

struct cgroup_subsys_state {
    struct cgroup *cgroup;
    int id;
    struct cgroup_subsys_state *parent;
};

struct cgroup {
    struct cgroup_subsys_state self;
    unsigned long flags;
    int level;
    struct kernfs_node *kn;
};

struct css_set {
    struct cgroup *dfl_cgrp;
    refcount_t refcount;
};

/* ---- tasks ---- */

struct thread_info {
    unsigned long flags;
    unsigned long syscall_work;
    u32 status;
    u32 cpu;
};

struct load_weight {
    unsigned long weight;
    u32 inv_weight;
};

struct cfs_rq {
    struct load_weight load;
    unsigned int nr_queued;
    unsigned int h_nr_queued;
    unsigned int h_nr_runnable;
    unsigned int h_nr_idle;
};

struct sched_avg {
    u64 last_update_time;
    u64 load_sum;
    u64 runnable_sum;
    u32 util_sum;
    u32 period_contrib;
    unsigned long load_avg;
    unsigned long runnable_avg;
    unsigned long util_avg;
    unsigned int util_est;
};

struct sched_entity {
    struct load_weight load;
    unsigned char on_rq;
    u64 exec_start;
    u64 sum_exec_runtime;
    u64 prev_sum_exec_runtime;
    u64 vruntime;
    u64 nr_migrations;
    int depth;
    struct sched_entity *parent;
    struct cfs_rq *cfs_rq;
    struct cfs_rq *my_q;
    unsigned long runnable_weight;
    struct sched_avg avg;
};

struct task_io_accounting {
    u64 rchar;
    u64 wchar;
    u64 read_bytes;
    u64 write_bytes;
};

struct signal_struct {
    refcount_t sigcnt;
    atomic_t live;
    int nr_threads;
    int group_exit_code;
    unsigned int flags;
    struct pid *pids[4];
    struct tty_struct *tty;
    int leader;
    unsigned long nvcsw;
    unsigned long nivcsw;
    short oom_score_adj;
};

struct tty_struct {
    struct kref kref;
    int index;
    char name[64];
};

struct sighand_struct {
    spinlock_t siglock;
    refcount_t count;
};

struct task_struct {
    struct thread_info thread_info;
    unsigned int __state;
    void *stack;
    refcount_t usage;
    unsigned int flags;
    unsigned int ptrace;
    int on_cpu;
    int on_rq;
    int prio;
    int static_prio;
    int normal_prio;
    unsigned int rt_priority;
    struct sched_entity se;
    unsigned int policy;
    int nr_cpus_allowed;
    struct list_head tasks;
    struct mm_struct *mm;
    struct mm_struct *active_mm;
    int exit_state;
    int exit_code;
    int exit_signal;
    int pdeath_signal;
    unsigned int personality;
    unsigned int in_execve : 1;
    unsigned int in_iowait : 1;
    pid_t pid;
    pid_t tgid;
    struct task_struct *real_parent;
    struct task_struct *parent;
    struct list_head children;
    struct list_head sibling;
    struct task_struct *group_leader;
    struct pid *thread_pid;
    struct hlist_node pid_links[4];
    struct list_head thread_node;
    u64 utime;
    u64 stime;
    u64 gtime;
    unsigned long nvcsw;
    unsigned long nivcsw;
    u64 start_time;
    u64 start_boottime;
    unsigned long min_flt;
    unsigned long maj_flt;
    const struct cred *ptracer_cred;
    const struct cred *real_cred;
    const struct cred *cred;
    char comm[16];
    struct fs_struct *fs;
    struct files_struct *files;
    struct nsproxy *nsproxy;
    struct signal_struct *signal;
    struct sighand_struct *sighand;
    sigset_t blocked;
    unsigned int sessionid;
    kuid_t loginuid;
    struct task_io_accounting ioac;
    struct css_set *cgroups;
};

struct kernel_clone_args {
    u64 flags;
    int *pidfd;
    int *child_tid;
    int *parent_tid;
    const char *name;
    int exit_signal;
    unsigned long stack;
    unsigned long stack_size;
};

struct kernel_siginfo {
    int si_signo;
    int si_errno;
    int si_code;
};

/* ---- network ---- */

struct in_addr {
    __be32 s_addr;
};

struct in6_addr {
    union {
        __u8 u6_addr8[16];
        __be16 u6_addr16[8];
        __be32 u6_addr32[4];
    } in6_u;
};

struct sockaddr {
    sa_family_t sa_family;
    union {
        char sa_data_min[14];
        struct {
            struct {
            } __empty_sa_data;
            char sa_data[0];
        };
    };
};

struct sockaddr_in {
    __kernel_sa_family_t sin_family;
    __be16 sin_port;
    struct in_addr sin_addr;
    unsigned char __pad[8];
};

struct sockaddr_in6 {
    unsigned short int sin6_family;
    __be16 sin6_port;
    __be32 sin6_flowinfo;
    struct in6_addr sin6_addr;
    __u32 sin6_scope_id;
};

struct proto {
    char name[32];
};

struct sock_common {
    union {
        u64 skc_addrpair;
        struct {
            __be32 skc_daddr;
            __be32 skc_rcv_saddr;
        };
    };
    union {
        unsigned int skc_hash;
        __u16 skc_u16hashes[2];
    };
    union {
        u32 skc_portpair;
        struct {
            __be16 skc_dport;
            __u16 skc_num;
        };
    };
    unsigned short skc_family;
    volatile unsigned char skc_state;
    unsigned char skc_reuse : 4;
    unsigned char skc_reuseport : 1;
    unsigned char skc_ipv6only : 1;
    unsigned char skc_net_refcnt : 1;
    int skc_bound_dev_if;
    struct proto *skc_prot;
    possible_net_t skc_net;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
    atomic64_t skc_cookie;
};

struct sk_buff_head {
    struct sk_buff *next;
    struct sk_buff *prev;
    u32 qlen;
};

struct sock {
    struct sock_common __sk_common;
    struct sk_buff_head sk_receive_queue;
    int sk_rcvbuf;
    int sk_err;
    struct socket *sk_socket;
    int sk_wmem_queued;
    struct sk_buff_head sk_write_queue;
    unsigned long sk_pacing_rate;
    u32 sk_priority;
    u32 sk_mark;
    kuid_t sk_uid;
    u16 sk_protocol;
    u16 sk_type;
    u16 sk_gso_type;
    u16 sk_gso_max_segs;
    unsigned int sk_gso_max_size;
    int sk_sndbuf;
    u32 sk_ack_backlog;
    u32 sk_max_ack_backlog;
    void *sk_user_data;
};

struct inet_sock {
    struct sock sk;
    unsigned long inet_flags;
    __be32 inet_saddr;
    __s16 uc_ttl;
    __be16 inet_sport;
    atomic_t inet_id;
    __u8 tos;
    __u8 min_ttl;
    __u8 mc_ttl;
    __u8 pmtudisc;
    __u8 rcv_tos;
    __u8 convert_csum;
};

struct inet_connection_sock {
    struct inet_sock icsk_inet;
    __u8 icsk_ca_state : 5;
    __u8 icsk_ca_initialized : 1;
    __u8 icsk_ca_setsockopt : 1;
    __u8 icsk_ca_dst_locked : 1;
    __u8 icsk_retransmits;
};

struct tcp_sock {
    struct inet_connection_sock inet_conn;
    u64 bytes_received;
    u64 bytes_sent;
    u64 bytes_acked;
    u32 segs_in;
    u32 segs_out;
    u32 rcv_nxt;
    u32 snd_nxt;
    u32 snd_una;
    u32 srtt_us;
    u32 snd_cwnd;
    u32 total_retrans;
};

enum tcp_ca_event { CA_EVENT_TX_START, CA_EVENT_CWND_RESTART, CA_EVENT_COMPLETE_CWR, CA_EVENT_LOSS, CA_EVENT_ECN_NO_CE, CA_EVENT_ECN_IS_CE };

struct ack_sample {
    u32 pkts_acked;
    s32 rtt_us;
    u32 in_flight;
};

struct rate_sample {
    u64 prior_mstamp;
    u32 prior_delivered;
    u32 prior_delivered_ce;
    s32 delivered;
    s32 delivered_ce;
    long interval_us;
    u32 snd_interval_us;
    u32 rcv_interval_us;
    long rtt_us;
    int losses;
    u32 acked_sacked;
    u32 prior_in_flight;
    u32 last_end_seq;
    bool is_app_limited;
    bool is_retrans;
    bool is_ack_delayed;
};

union tcp_cc_info;

struct tcp_congestion_ops {
    u32 (*ssthresh)(struct sock *sk);
    void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
    void (*set_state)(struct sock *sk, u8 new_state);
    void (*cwnd_event)(struct sock *sk, enum tcp_ca_event ev);
    void (*in_ack_event)(struct sock *sk, u32 flags);
    void (*pkts_acked)(struct sock *sk, const struct ack_sample *sample);
    u32 (*min_tso_segs)(struct sock *sk);
    void (*cong_control)(struct sock *sk, u32 ack, int flag, const struct rate_sample *rs);
    u32 (*undo_cwnd)(struct sock *sk);
    u32 (*sndbuf_expand)(struct sock *sk);
    size_t (*get_info)(struct sock *sk, u32 ext, int *attr, union tcp_cc_info *info);
    char name[16];
    struct module *owner;
    struct list_head list;
    u32 key;
    u32 flags;
    void (*init)(struct sock *sk);
    void (*release)(struct sock *sk);
} __attribute__((aligned(64)));

struct bpf_dummy_ops_state {
    int val;
};

struct bpf_dummy_ops {
    int (*test_1)(struct bpf_dummy_ops_state *cb);
    int (*test_2)(struct bpf_dummy_ops_state *cb, int a1, unsigned short a2, char a3, unsigned long a4);
    int (*test_sleepable)(struct bpf_dummy_ops_state *cb);
};

enum bpf_struct_ops_state { BPF_STRUCT_OPS_STATE_INIT, BPF_STRUCT_OPS_STATE_INUSE, BPF_STRUCT_OPS_STATE_TOBEFREE, BPF_STRUCT_OPS_STATE_READY };

struct bpf_struct_ops_common_value {
    refcount_t refcnt;
    enum bpf_struct_ops_state state;
};

struct bpf_struct_ops_tcp_congestion_ops {
    struct bpf_struct_ops_common_value common;
    struct tcp_congestion_ops data __attribute__((aligned(64)));
};

struct bpf_struct_ops_bpf_dummy_ops {
    struct bpf_struct_ops_common_value common;
    struct bpf_dummy_ops data __attribute__((aligned(64)));
};

struct socket {
    int state;
    short type;
    unsigned long flags;
    struct file *file;
    struct sock *sk;
};

struct net_device {
    unsigned int mtu;
    int ifindex;
    char name[16];
    possible_net_t nd_net;
};

struct sk_buff {
    struct sk_buff *next;
    struct sk_buff *prev;
    struct net_device *dev;
    struct sock *sk;
    ktime_t tstamp;
    char cb[48];
    unsigned int len;
    unsigned int data_len;
    __u16 mac_len;
    __u16 hdr_len;
    __u16 queue_mapping;
    __u8 pkt_type : 3;
    __u8 ignore_df : 1;
    __u8 ip_summed : 2;
    __u16 tc_index;
    __u32 priority;
    int skb_iif;
    __u32 hash;
    __be16 vlan_proto;
    __u16 vlan_tci;
    unsigned int napi_id;
    __u32 mark;
    __be16 protocol;
    u16 transport_header;
    u16 network_header;
    u16 mac_header;
    unsigned int tail;
    unsigned int end;
    unsigned char *head;
    unsigned char *data;
    unsigned int truesize;
    refcount_t users;
};

struct iphdr {
    __u8 ihl : 4;
    __u8 version : 4;
    __u8 tos;
    __be16 tot_len;
    __be16 id;
    __be16 frag_off;
    __u8 ttl;
    __u8 protocol;
    __sum16 check;
    __be32 saddr;
    __be32 daddr;
};

struct ipv6hdr {
    __u8 priority : 4;
    __u8 version : 4;
    __u8 flow_lbl[3];
    __be16 payload_len;
    __u8 nexthdr;
    __u8 hop_limit;
    struct in6_addr saddr;
    struct in6_addr daddr;
};

struct ethhdr {
    unsigned char h_dest[6];
    unsigned char h_source[6];
    __be16 h_proto;
};

struct tcphdr {
    __be16 source;
    __be16 dest;
    __be32 seq;
    __be32 ack_seq;
    __u16 ae : 1;
    __u16 res1 : 3;
    __u16 doff : 4;
    __u16 fin : 1;
    __u16 syn : 1;
    __u16 rst : 1;
    __u16 psh : 1;
    __u16 ack : 1;
    __u16 urg : 1;
    __u16 ece : 1;
    __u16 cwr : 1;
    __be16 window;
    __sum16 check;
    __be16 urg_ptr;
};

struct udphdr {
    __be16 source;
    __be16 dest;
    __be16 len;
    __sum16 check;
};

struct tcp_skb_cb {
    __u32 seq;
    __u32 end_seq;
    union {
        u32 tcp_tw_isn;
        struct {
            u16 tcp_gso_segs;
            u16 tcp_gso_size;
        };
    };
    __u16 tcp_flags;
    __u8 sacked;
    __u8 ip_dsfield;
    __u8 txstamp_ack : 2;
    __u8 eor : 1;
    __u8 has_rxtstamp : 1;
    __u8 unused : 4;
    __u32 ack_seq;
};

struct msghdr {
    void *msg_name;
    int msg_namelen;
    struct iov_iter msg_iter;
    union {
        void *msg_control;
        void *msg_control_user;
    };
    unsigned int msg_flags;
    __kernel_size_t msg_controllen;
    struct kiocb *msg_iocb;
};

struct user_msghdr {
    void *msg_name;
    int msg_namelen;
    struct iovec *msg_iov;
    __kernel_size_t msg_iovlen;
    void *msg_control;
    __kernel_size_t msg_controllen;
    unsigned int msg_flags;
};

struct cmsghdr {
    __kernel_size_t cmsg_len;
    int cmsg_level;
    int cmsg_type;
};

struct scm_fp_list {
    short count;
    short count_unix;
    short max;
    struct user_struct *user;
    struct file *fp[253];
};

struct scm_cookie {
    struct pid *pid;
    struct scm_fp_list *fp;
    u32 secid;
};

struct __sk_buff {
    __u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
    __u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end, napi_id;
    __u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port, data_meta;
    struct bpf_flow_keys *flow_keys;
    __u64 tstamp;
    __u32 wire_len, gso_segs;
    struct bpf_sock *sk;
    __u32 gso_size;
    __u8 tstamp_type;
    __u64 hwtstamp;
};

struct bpf_tunnel_key {
    __u32 tunnel_id;
    union {
        __u32 remote_ipv4;
        __u32 remote_ipv6[4];
    };
    __u8 tunnel_tos;
    __u8 tunnel_ttl;
    union {
        __u16 tunnel_ext;
        __be16 tunnel_flags;
    };
    __u32 tunnel_label;
    union {
        __u32 local_ipv4;
        __u32 local_ipv6[4];
    };
};

struct xdp_md {
    __u32 data;
    __u32 data_end;
    __u32 data_meta;
    __u32 ingress_ifindex;
    __u32 rx_queue_index;
    __u32 egress_ifindex;
};

enum xdp_action { XDP_ABORTED = 0, XDP_DROP = 1, XDP_PASS = 2, XDP_TX = 3, XDP_REDIRECT = 4 };

/* ---- what programs keep of the kernel's on their stacks ---- */

struct bpf_dynptr {
    __u64 __opaque[2];
};

struct bpf_iter_num {
    __u64 __opaque[1];
};

struct bpf_iter_bits {
    __u64 __opaque[2];
};

struct bpf_iter_task {
    __u64 __opaque[3];
};

struct bpf_iter_css {
    __u64 __opaque[3];
};

struct bpf_iter_css_task {
    __u64 __opaque[1];
};

struct cpumask {
    unsigned long bits[16];
};

typedef struct cpumask cpumask_t;

struct bpf_cpumask {
    cpumask_t cpumask;
    refcount_t usage;
};

/* ---- kernel functions that programs may call: runtime/{kfuncs,cpumask,strings,dynptr}.c ---- */

void *bpf_arena_alloc_pages(void *p__map, void *addr__ign, u32 page_cnt, int node_id, u64 flags);
void bpf_arena_free_pages(void *p__map, void *ptr__ign, u32 page_cnt);
int bpf_arena_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt);
void *bpf_cast_to_kern_ctx(void *obj);
void *bpf_rdonly_cast(void *obj__ign, u32 btf_id__k);
int bpf_copy_from_user_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign);
int bpf_copy_from_user_str_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign);
int bpf_copy_from_user_task_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign, struct task_struct *tsk);
int bpf_copy_from_user_task_str(void *dst, u32 dst__sz, void *unsafe_ptr__ign, struct task_struct *tsk, u64 flags);
int bpf_copy_from_user_task_str_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign, struct task_struct *tsk);
int bpf_copy_from_user_str(void *dst, u32 dst__sz, void *unsafe_ptr__ign, u64 flags);
int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit);
int bpf_dynptr_from_skb_meta(struct __sk_buff *skb_, u64 flags, struct bpf_dynptr *ptr__uninit);
int bpf_dynptr_from_xdp(struct xdp_md *x, u64 flags, struct bpf_dynptr *ptr__uninit);
int bpf_dynptr_adjust(struct bpf_dynptr *p, u32 start, u32 end);
int bpf_dynptr_clone(struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit);
int bpf_dynptr_copy(struct bpf_dynptr *dst_ptr, u32 dst_off, struct bpf_dynptr *src_ptr, u32 src_off, u32 size);
bool bpf_dynptr_is_null(struct bpf_dynptr *p);
bool bpf_dynptr_is_rdonly(struct bpf_dynptr *p);
int bpf_dynptr_memset(struct bpf_dynptr *p, u32 offset, u32 size, u8 val);
u32 bpf_dynptr_size(struct bpf_dynptr *p);
void *bpf_dynptr_slice(struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
void *bpf_dynptr_slice_rdwr(struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
int bpf_iter_bits_new(struct bpf_iter_bits *it, u64 *unsafe_ptr__ign, u32 nr_words);
int *bpf_iter_bits_next(struct bpf_iter_bits *it);
void bpf_iter_bits_destroy(struct bpf_iter_bits *it);
int bpf_iter_css_new(struct bpf_iter_css *it, struct cgroup_subsys_state *start, u32 flags);
struct cgroup_subsys_state *bpf_iter_css_next(struct bpf_iter_css *it);
void bpf_iter_css_destroy(struct bpf_iter_css *it);
int bpf_iter_css_task_new(struct bpf_iter_css_task *it, struct cgroup_subsys_state *css, u32 flags);
struct task_struct *bpf_iter_css_task_next(struct bpf_iter_css_task *it);
void bpf_iter_css_task_destroy(struct bpf_iter_css_task *it);
int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
int *bpf_iter_num_next(struct bpf_iter_num *it);
void bpf_iter_num_destroy(struct bpf_iter_num *it);
int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, u32 flags);
struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it);
void bpf_iter_task_destroy(struct bpf_iter_task *it);
void bpf_local_irq_save(unsigned long *flags__irq_flag);
void bpf_local_irq_restore(unsigned long *flags__irq_flag);
void bpf_preempt_disable(void);
void bpf_preempt_enable(void);
int bpf_probe_read_kernel_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign);
int bpf_probe_read_kernel_str_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign);
int bpf_probe_read_user_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign);
int bpf_probe_read_user_str_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, void *unsafe_ptr__ign);
void bpf_rcu_read_lock(void);
void bpf_rcu_read_unlock(void);
int bpf_strcasecmp(char *s1__ign, char *s2__ign);
int bpf_strchr(char *s__ign, char c);
int bpf_strchrnul(char *s__ign, char c);
int bpf_strcmp(char *s1__ign, char *s2__ign);
int bpf_strcspn(char *s__ign, char *reject__ign);
int bpf_strlen(char *s__ign);
int bpf_strnchr(char *s__ign, unsigned long count, char c);
int bpf_strnlen(char *s__ign, unsigned long count);
int bpf_strnstr(char *s1__ign, char *s2__ign, unsigned long len);
int bpf_strrchr(char *s__ign, int c);
int bpf_strspn(char *s__ign, char *accept__ign);
int bpf_strstr(char *s1__ign, char *s2__ign);
struct cgroup *bpf_cgroup_acquire(struct cgroup *cgrp);
struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level);
struct cgroup *bpf_cgroup_from_id(u64 cgid);
void bpf_cgroup_release(struct cgroup *cgrp);
int bpf_send_signal_task(struct task_struct *task, int sig, enum pid_type type, u64 value);
struct task_struct *bpf_task_acquire(struct task_struct *p);
struct task_struct *bpf_task_from_pid(int pid);
struct task_struct *bpf_task_from_vpid(int vpid);
struct cgroup *bpf_task_get_cgroup1(struct task_struct *task, int hierarchy_id);
void bpf_task_release(struct task_struct *p);
long bpf_task_under_cgroup(struct task_struct *task, struct cgroup *ancestor);
struct bpf_cpumask *bpf_cpumask_acquire(struct bpf_cpumask *cpumask);
struct bpf_cpumask *bpf_cpumask_create(void);
void bpf_cpumask_release(struct bpf_cpumask *cpumask);
bool bpf_cpumask_and(struct bpf_cpumask *dst, struct cpumask *src1, struct cpumask *src2);
u32 bpf_cpumask_any_and_distribute(struct cpumask *src1, struct cpumask *src2);
u32 bpf_cpumask_any_distribute(struct cpumask *cpumask);
void bpf_cpumask_clear(struct bpf_cpumask *cpumask);
void bpf_cpumask_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask);
void bpf_cpumask_copy(struct bpf_cpumask *dst, struct cpumask *src);
bool bpf_cpumask_empty(struct cpumask *cpumask);
bool bpf_cpumask_equal(struct cpumask *src1, struct cpumask *src2);
u32 bpf_cpumask_first(struct cpumask *cpumask);
u32 bpf_cpumask_first_and(struct cpumask *src1, struct cpumask *src2);
u32 bpf_cpumask_first_zero(struct cpumask *cpumask);
bool bpf_cpumask_full(struct cpumask *cpumask);
bool bpf_cpumask_intersects(struct cpumask *src1, struct cpumask *src2);
void bpf_cpumask_or(struct bpf_cpumask *dst, struct cpumask *src1, struct cpumask *src2);
int bpf_cpumask_populate(struct cpumask *cpumask, void *src, unsigned long src__sz);
void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *cpumask);
void bpf_cpumask_setall(struct bpf_cpumask *cpumask);
bool bpf_cpumask_subset(struct cpumask *src1, struct cpumask *src2);
bool bpf_cpumask_test_and_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask);
bool bpf_cpumask_test_and_set_cpu(u32 cpu, struct bpf_cpumask *cpumask);
bool bpf_cpumask_test_cpu(u32 cpu, struct cpumask *cpumask);
u32 bpf_cpumask_weight(struct cpumask *cpumask);
void bpf_cpumask_xor(struct bpf_cpumask *dst, struct cpumask *src1, struct cpumask *src2);
struct bpf_stack_build_id {
    __s32 status;
    unsigned char build_id[20];
    union {
        __u64 offset;
        __u64 ip;
    };
};
struct bpf_timer { __u64 __opaque[2]; } __attribute__((aligned(8)));
struct bpf_wq { __u64 __opaque[2]; } __attribute__((aligned(8)));
int bpf_wq_init(struct bpf_wq *wq, void *p__map, unsigned int flags);
int bpf_wq_set_callback_impl(struct bpf_wq *wq, int (*callback_fn)(void *, int *, void *), unsigned int flags, void *aux__prog);
int bpf_wq_start(struct bpf_wq *wq, unsigned int flags);

struct trace_event_raw_kfree_skb {
    struct trace_entry ent;
    void *skbaddr;
    void *location;
    void *rx_sk;
    unsigned short protocol;
    enum skb_drop_reason reason;
    char __data[0];
};

/* ---- disks ---- */

enum req_op {
    REQ_OP_READ = 0, REQ_OP_WRITE = 1, REQ_OP_FLUSH = 2, REQ_OP_DISCARD = 3, REQ_OP_SECURE_ERASE = 5, REQ_OP_ZONE_APPEND = 7,
    REQ_OP_WRITE_ZEROES = 9, REQ_OP_ZONE_OPEN = 11, REQ_OP_ZONE_CLOSE = 13, REQ_OP_ZONE_FINISH = 15, REQ_OP_ZONE_RESET = 17,
    REQ_OP_ZONE_RESET_ALL = 19, REQ_OP_DRV_IN = 34, REQ_OP_DRV_OUT = 35, REQ_OP_LAST = 36
};

struct gendisk {
    int major;
    int first_minor;
    int minors;
    char disk_name[32];
    unsigned short events;
    unsigned short event_flags;
    struct block_device *part0;
    struct request_queue *queue;
    void *private_data;
    int flags;
    unsigned long state;
    int node_id;
    u64 diskseq;
};

struct block_device {
    sector_t bd_start_sect;
    sector_t bd_nr_sectors;
    struct gendisk *bd_disk;
    struct request_queue *bd_queue;
    unsigned long bd_stamp;
    atomic_t __bd_flags;
    dev_t bd_dev;
    struct address_space *bd_mapping;
    atomic_t bd_openers;
    int bd_holders;
    int bd_writers;
};

struct request_queue {
    void *queuedata;
    unsigned long queue_flags;
    unsigned int rq_timeout;
    unsigned int queue_depth;
    refcount_t refs;
    unsigned int nr_hw_queues;
    struct request *last_merge;
    spinlock_t queue_lock;
    struct gendisk *disk;
    int id;
    unsigned long nr_requests;
    int node;
};

struct bvec_iter {
    sector_t bi_sector;
    unsigned int bi_size;
    unsigned int bi_idx;
    unsigned int bi_bvec_done;
} __attribute__((packed));

struct bio_vec {
    struct page *bv_page;
    unsigned int bv_len;
    unsigned int bv_offset;
};

struct bio {
    struct bio *bi_next;
    struct block_device *bi_bdev;
    blk_opf_t bi_opf;
    unsigned short bi_flags;
    unsigned short bi_ioprio;
    u8 bi_status;
    struct bvec_iter bi_iter;
    void *bi_private;
    unsigned short bi_vcnt;
    unsigned short bi_max_vecs;
    struct bio_vec *bi_io_vec;
};

struct request {
    struct request_queue *q;
    blk_opf_t cmd_flags;
    __u32 rq_flags;
    int tag;
    int internal_tag;
    unsigned int timeout;
    unsigned int __data_len;
    sector_t __sector;
    struct bio *bio;
    struct bio *biotail;
    struct block_device *part;
    u64 alloc_time_ns;
    u64 start_time_ns;
    u64 io_start_time_ns;
    unsigned short stats_sectors;
    unsigned short nr_phys_segments;
    int state;
    unsigned long deadline;
    u64 fifo_time;
    void *end_io_data;
};

/* ---- pages ---- */

enum compact_result {
    COMPACT_NOT_SUITABLE_ZONE = 0, COMPACT_SKIPPED = 1, COMPACT_DEFERRED = 2, COMPACT_NO_SUITABLE_PAGE = 3, COMPACT_CONTINUE = 4,
    COMPACT_COMPLETE = 5, COMPACT_PARTIAL_SKIPPED = 6, COMPACT_CONTENDED = 7, COMPACT_SUCCESS = 8
};

enum compact_priority { COMPACT_PRIO_SYNC_FULL = 0, COMPACT_PRIO_SYNC_LIGHT = 1, COMPACT_PRIO_ASYNC = 2 };

struct zone {
    unsigned long _watermark[4];
    unsigned long watermark_boost;
    int node;
    struct pglist_data *zone_pgdat;
    unsigned long zone_start_pfn;
    atomic_long_t managed_pages;
    unsigned long spanned_pages;
    unsigned long present_pages;
    const char *name;
    unsigned long flags;
    atomic_long_t vm_stat[11];
};

struct pglist_data {
    struct zone node_zones[5];
    int nr_zones;
    unsigned long node_start_pfn;
    unsigned long node_present_pages;
    unsigned long node_spanned_pages;
    int node_id;
};

struct page {
    unsigned long flags;
    struct address_space *mapping;
    unsigned long private;
};

struct folio {
    struct page page;
};

struct oom_control {
    gfp_t gfp_mask;
    int order;
    unsigned long totalpages;
    struct task_struct *chosen;
    long chosen_points;
};

/* ---- devices ---- */

enum irqreturn { IRQ_NONE = 0, IRQ_HANDLED = 1, IRQ_WAKE_THREAD = 2 };

struct kobject {
    const char *name;
    struct kobject *parent;
};

struct device_driver {
    const char *name;
};

struct device {
    struct kobject kobj;
    struct device *parent;
    struct device_driver *driver;
};

struct virtio_device {
    int index;
    bool failed;
    struct device dev;
};

struct virtqueue {
    const char *name;
    struct virtio_device *vdev;
    unsigned int index;
    unsigned int num_free;
    unsigned int num_max;
    void *priv;
};

struct scatterlist {
    unsigned long page_link;
    unsigned int offset;
    unsigned int length;
    u64 dma_address;
    unsigned int dma_length;
};

/* ---- what happens, as typed tracepoints and fentry see it ---- */

struct k_sigaction;

typedef void (*btf_trace_sys_enter)(void *, struct pt_regs *regs, long id);
typedef void (*btf_trace_sys_exit)(void *, struct pt_regs *regs, long ret);
typedef void (*btf_trace_sched_switch)(void *, bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state);
typedef void (*btf_trace_sched_wakeup)(void *, struct task_struct *p);
typedef void (*btf_trace_sched_wakeup_new)(void *, struct task_struct *p);
typedef void (*btf_trace_sched_process_fork)(void *, struct task_struct *parent, struct task_struct *child);
typedef void (*btf_trace_sched_process_exec)(void *, struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm);
typedef void (*btf_trace_sched_process_exit)(void *, struct task_struct *p, bool group_dead);
typedef void (*btf_trace_sched_process_free)(void *, struct task_struct *p);
typedef void (*btf_trace_signal_generate)(void *, int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result);
typedef void (*btf_trace_signal_deliver)(void *, int sig, struct kernel_siginfo *info, struct k_sigaction *ka);
typedef void (*btf_trace_task_newtask)(void *, struct task_struct *task, u64 clone_flags);
typedef void (*btf_trace_task_rename)(void *, struct task_struct *task, const char *comm);
typedef void (*btf_trace_inet_sock_set_state)(void *, const struct sock *sk, const int oldstate, const int newstate);
typedef void (*btf_trace_tcp_retransmit_skb)(void *, const struct sock *sk, const struct sk_buff *skb, int err);

typedef void *fl_owner_t;

int filp_close(struct file *filp, fl_owner_t id);
int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len);
void tcp_set_state(struct sock *sk, int state);
int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len);
int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len);
int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size);
void tcp_enter_cwr(struct sock *sk);
void tcp_enter_loss(struct sock *sk);
void tcp_enter_recovery(struct sock *sk, bool ece_ack);
void tcp_process_tlp_ack(struct sock *sk, u32 ack, int flag);
ssize_t tty_write(struct kiocb *iocb, struct iov_iter *from);
void mutex_lock(struct mutex *lock);
void mutex_unlock(struct mutex *lock);
int vfs_open(const struct path *path, struct file *file);
ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos);
ssize_t vfs_write(struct file *file, const char *buf, size_t count, loff_t *pos);
int vfs_fsync_range(struct file *file, loff_t start, loff_t end, int datasync);
int vfs_create(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, bool want_excl);
struct dentry *vfs_mkdir(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode);
int vfs_rmdir(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry);
int vfs_unlink(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, struct inode **delegated_inode);
struct folio *filemap_alloc_folio_noprof(gfp_t gfp, unsigned int order);
void folio_mark_accessed(struct folio *folio);
void page_cache_ra_order(struct readahead_control *ractl, struct file_ra_state *ra);
void *htab_map_lookup_elem(struct bpf_map *map, void *key);
long htab_map_update_elem(struct bpf_map *map, void *key, void *value, u64 map_flags);
long htab_map_delete_elem(struct bpf_map *map, void *key);
