/* What the simulated kernel's C and its Python share: the structs, once. Python reads this text with
   cffi, so it holds declarations only: no preprocessor, no function bodies.

   Addresses. A kernel address (struct sim.kernel_start and up) and a user address are numbers of the
   simulated machine; kernel_bytes and segment.bytes say where their memory is in this process. The
   context, the stack, map values and ring records that a program works on are native pointers. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

/* The memory behind addresses start <= a < end. */
struct segment {
    u64 start;
    u64 end;
    u8 *bytes;
};

/* A part of a file that is mapped at addresses start <= a < end, from offset in the file on. */
struct file_part {
    u64 start;
    u64 end;
    u64 offset;
    u8 build_id[20];
    u32 has_build_id;
};

/* A byte ring: perf event array (one for each CPU), ring buffer, or the trace pipe. head and tail only
   grow; a byte's place is its position modulo size (a power of two). bytes has room for 2 * size, so a
   record that begins below size is contiguous. The producer stores head with release order when the record
   is written, the consumer tail when it has read it. */
struct ring {
    u64 size;
    u8 *bytes;
    u64 tail;
    u64 apart[5]; /* the reader's line, and the writers' */
    u64 head;
    u64 lost;         /* records that found no room, ever */
    u64 lost_pending; /* of these, not yet told to the reader (perf) */
    u32 lock;         /* of the writers */
    u32 busy;         /* a program drains it (user ring buffer); it was deleted from its map (perf) */
};

/* What a reader may take out of a ring at once: bytes, of which count are samples and lost tells of losses behind them.
   first, size: the first sample's offset and length; if is_even, the others follow it stride bytes apart. */
struct taken {
    u64 bytes;
    u64 count;
    u64 lost;
    u64 first;
    u64 size;
    u64 stride;
    u64 is_even;
};

struct sim;
struct net;
struct cpu;
struct map;
struct checks;

/* One chain of a hash. first, and each node's next: a node, or where the chain ends its bucket's number * 2 + 1;
   0 is a bucket that never held anything. */
struct bucket {
    u64 first;
    u32 lock;
    u32 unused;
};

/* In front of each key of a hash. In an LRU hash a struct links stands before it. */
struct node {
    u64 next;
    u32 hash;
    u8 was_used;
    u8 list; /* LRU: which list it is in */
    u16 cpu; /* LRU: whose list */
};

struct links {
    struct links *next;
    struct links *before;
};

/* Free nodes that one CPU gave back, through node.next. spare takes the place of a node that is replaced. */
struct pool {
    u64 free;
    u64 spare;
    u32 lock;
    u32 unused;
    u64 apart[5];
};

struct lru_list {
    struct links lists[3]; /* active, inactive, free */
    struct links *rotation;
    u32 counts[2]; /* active, inactive */
    u32 fresh;     /* the first of the nodes that nobody took yet, */
    u32 fresh_end; /* and their end */
    u32 lock;
    u32 unused;
    u64 apart[6];
};

struct lru_local {
    struct links lists[2]; /* free, pending */
    u32 lock;
    u32 next_steal;
    u64 apart[3];
};

struct lru {
    struct lru_list *lists; /* one, or one for each CPU (NO_COMMON_LRU) */
    struct lru_local *locals; /* one for each CPU, or null */
    u32 target;               /* how many free nodes a CPU takes at a time */
    u32 scans;
};

/* What the kernel keeps for itself in a value: kind is one of FIELD_*. */
struct field {
    u32 kind;
    u32 offset;
    u32 size;
    u32 unused;
};

/* The free pages of an arena, as ranges that follow each other nowhere. For the first page of each: how many they are, and
   1 + the first pages of its neighbours among those of its size. */
struct ranges {
    u32 *sizes;
    u32 *next;
    u32 *before;
    u32 *heads; /* by size: 1 + the first page of the range that was put there last */
    u64 *starts; /* sets of numbers: the first pages, */
    u64 *by_size; /* and the sizes there are */
};

/* Pages that programs share by address. window: aligned to 4 GiB, what a program's 32 bits count from. user: the address
   of the first page as the processes that map it have it. taken: for each page of the window, 1 where there is one. */
struct arena {
    u8 *window;
    u8 *taken;
    u64 user;
    u32 is_viewed; /* Python may touch pages by itself */
    u32 unused;
    struct ranges free;
};

/* One map. slots: the values (array), the nodes (hash, storage), the elements (queue, stack), the pointers (maps of
   objects). Where a value has one copy for each CPU, they are cpu_stride bytes apart: an array's begin at slots, a hash's
   at cpu_values, and its node holds the offset. */
struct map {
    u32 type;
    u32 key_size;
    u32 value_size;
    u32 max_entries;
    u32 flags;
    u32 cpus;      /* copies of a value: 1, or the number of CPUs of a per-CPU map */
    u32 stride;    /* bytes of one value, rounded up to 8 */
    u32 node_size; /* from one slot to the next */
    u8 *slots;
    u64 cpu_stride;
    u8 *cpu_values;
    struct bucket *buckets;
    u32 bucket_mask;
    u32 key_room; /* bytes of a key in a node, rounded up to 8 */
    u32 node_count;
    u32 used; /* nodes ever taken */
    struct pool *pools; /* one for each CPU, one for callers outside programs */
    struct lru *lru;
    u32 lock;    /* queue, trie, storage */
    u32 outside; /* held by a caller that is no program */
    u32 count;
    u32 head; /* queue: the oldest element */
    u64 extra; /* bloom filter: hash functions; hash of objects: bytes that a reader is shown */
    struct ring *rings; /* perf event array: max_entries of them; ring buffers: one */
    u64 root;           /* trie: the topmost node */
    u64 *bits;          /* bloom filter */
    u32 bit_mask;
    u32 field_count;
    struct field *fields;
    struct sim *sim;
    u64 slot_bytes;
    u64 cpu_bytes;
    u64 bucket_bytes;
    u32 id;
    u32 is_orphan; /* only programs know it */
    struct map *next_of_sockets; /* maps of sockets */
    struct arena *arena;
};

/* A timer, or work that can be put off, in a map's value. */
struct timer {
    struct timer *made; /* the one before it, of all */
    struct timer **made_by; /* what points at this one */
    struct map *map;
    u8 *value;
    u8 *place; /* in it */
    u64 callback;
    u64 due_ns;
    u64 turn;    /* of those with the same time, the one that was set first fires first */
    u64 base_ns; /* how far its clock is ahead of the kernel's */
    u32 is_set; /* 1 + its place among sim.timers, or 0 */
    u32 is_running; /* 1 + the CPU where its callback runs, or 0 */
    u32 cpu;        /* where it was set */
    u32 unused;
};

/* A dynptr, as it lies on a program's stack. */
struct dynptr {
    u64 bytes;
    u32 size; /* with the kind, and whether it may only be read, in the top four bits */
    u32 offset;
};

/* Memory that is given back when no program runs. bytes: of a mapping; 0 for what calloc gave. */
struct grave {
    struct grave *next;
    void *memory;
    u64 bytes;
};

/* A function of a program, given to a helper to be called. */
typedef u64 (*callback)(struct cpu *cpu, u64 one, u64 two, u64 three, u64 four, u64 five);

/* One CPU as the program that runs on it sees it: its clock, its current task, its stack. The first argument
   of every helper, and of every function that is made from a BPF function. */
struct cpu {
    struct sim *sim;
    u32 number;
    u32 tail_calls; /* made by the running program */
    u64 time_ns;
    u64 stack_top; /* the running program's frames are below this native address */
    u8 *context;   /* what the running program was given: context_size bytes */
    u64 context_size;
    u64 random;
    u32 pid;
    u32 tgid;
    u32 uid;
    u32 gid;
    u8 comm[16];
    u64 task;
    u64 cgroup_id;
    struct segment *user; /* the current task's memory, ascending */
    u32 user_count;
    u32 file_count;
    struct file_part *files; /* mapped in that memory, ascending */
    u8 *page; /* page_size bytes: where a hook may put what the program gets */
    u64 page_size;
    struct checks *checks; /* null unless programs are checked */
    u32 fault;             /* set when a checked access, call or turn failed: the program ends */
    u32 fault_slot;
    u64 fault_address;
    u64 fault_bytes;
    u64 redirect_map; /* where bpf_redirect_map sends the packet: a map's address, 0 for nowhere */
    u32 redirect_index;
    u32 redirect_flags;
    u64 redirect_socket; /* the cookie of the socket that is sent to, 0 for none */
    s64 retval; /* bpf_get_retval, bpf_set_retval: what the system call is going to return */
    const u64 *kernel_ips; /* the stacks of the current event, innermost first */
    const u64 *user_ips;
    u32 kernel_depth;
    u32 user_depth;
    u64 cookie;   /* of the attachment that runs */
    u64 function; /* the kernel address of the function whose entry or return this is, or 0 */
    u32 arguments; /* that function's, in the context */
    u32 has_result;     /* its result lies behind them */
    u64 override;       /* what it is to return instead */
    u32 is_overridden;
    u32 distributed;    /* the CPU that a mask was asked for last */
    u32 is_in_callback; /* a timer's */
    u32 unused_too;
    u64 apart[7]; /* two CPUs share no cache line */
};

/* What a checked program may touch of its own: the frames of the functions that are running. turns: how many jumps
   back it may still make, of limit. */
struct checks {
    struct segment frames[512];
    u32 depth;
    u32 unused;
    u64 turns;
    u64 limit;
};

/* A loaded program. enter: its code, which takes a CPU and r1 to r5. */
struct program {
    u64 (*enter)(struct cpu *cpu, u64 ctx, u64 r2, u64 r3, u64 r4, u64 r5);
    u64 runs;
    u64 run_time_ns; /* counted while sim.has_stats */
    u64 context_bytes; /* how far it reaches into its context */
};

/* Who runs, as it lies in struct cpu from pid on. */
struct who {
    u32 pid;
    u32 tgid;
    u32 uid;
    u32 gid;
    u8 comm[16];
    u64 task;
    u64 cgroup_id;
    struct segment *user;
    u32 user_count;
    u32 file_count;
    struct file_part *files; /* mapped in that memory, ascending */
};

/* Events first to end of an array, those of one CPU where cpus says so, one after the other. Where times, tasks, cpus or
   offsets is null, the clock stays, the task stays, all events are meant, and contexts lie stride bytes apart. */
struct batch {
    struct program **programs;
    u64 program_count;
    u64 first;
    u64 end;
    u64 runs; /* of each program, when it is over */
    u8 *contexts;
    u64 stride;
    u64 *offsets; /* where each context begins, and behind the last one its end */
    u64 *times;
    u32 *tasks; /* indices of who */
    u32 *cpus;
    struct who *who;
    u64 context_bytes; /* a shorter context is followed by zeros */
    u32 must_stop;
    u32 unused;
};

/* A task that exists. */
struct task_row {
    u32 pid;
    u32 tgid;
    u64 task; /* the kernel address of its task_struct */
};

struct signal_row {
    u32 pid;
    u32 signal;
};

/* Where the fields of kernel.h are, in bytes: STRUCT__FIELD. */
struct layout {
    u32 path__dentry;
    u32 dentry__d_parent;
    u32 dentry__d_name__name;
    u32 task_struct__pid;
    u32 task_struct__tgid;
    u32 task_struct__stack;
    u32 task_struct__cgroups;
    u32 css_set__dfl_cgrp;
    u32 cgroup__level;
    u32 cgroup__kn;
    u32 cgroup__self__parent;
    u32 kernfs_node__id;
    u32 sock_common__skc_cookie__counter;
};

/* Memory that kernel functions hand out: blocks of powers of two, each with a list of those given back. */
struct heap {
    u32 lock;
    u32 blocks; /* handed out and not given back */
    u64 at;     /* offset of what was never handed out, in the simulated kernel's memory */
    u64 end;
    u64 free[16];
};

/* One simulated kernel: its CPUs, its memory, its trace pipe. */
struct sim {
    u64 boot_offset_ns;
    u64 tai_offset_ns;
    struct layout layout;
    struct heap heap;
    struct task_row *tasks; /* in the order in which they began */
    u32 task_count;
    u32 task_room;
    u32 task_lock;
    u32 signal_lock;
    struct signal_row *signals; /* sent by programs, not yet told to Python */
    u32 signal_count;
    u32 signal_room;
    u64 cgroups[64]; /* kernel addresses of the control groups there are, parents first */
    u32 cgroup_count;
    u64 pid_ns_dev;
    u64 pid_ns_ino;
    u64 kernel_start;
    u64 kernel_size; /* bytes handed out from kernel_start on */
    u8 *kernel_bytes;
    u32 cpus;
    u32 maps; /* alive */
    u32 running; /* threads that run programs */
    u32 grave_lock;
    struct grave *graves;
    u32 next_map;
    u32 timer_lock;
    struct timer **timers; /* those that are set: a heap of timer_count, with room for all */
    struct timer *made;    /* all of them */
    u64 timer_turn;
    u32 timer_count;
    u32 timer_room;
    u32 made_count;
    u32 also_unused;
    u32 owned_lock;
    u32 trace_lock;
    u32 owned_count;
    u32 owned_room;
    struct segment *owned; /* native memory a program may be shown, ascending */
    struct ring trace;
    u32 has_stats;
    u32 unused;
    struct net *net;
    struct cpu *cpu; /* cpus of them */
};
