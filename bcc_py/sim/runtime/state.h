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

/* A byte ring: perf event array (one for each CPU), ring buffer, or the trace pipe. head and tail only
   grow; a byte's place is its position modulo size (a power of two). bytes has room for 2 * size, so a
   record that begins below size is contiguous. */
struct ring {
    u64 size;
    u64 head;
    u64 tail;
    u64 lost;         /* records that found no room, ever */
    u64 lost_pending; /* of these, not yet told to the reader (perf) */
    u8 *bytes;
};

/* One map. slots: the values (array), the nodes (hash) or the elements (queue, stack). In a hash, node
   numbers count from 1 and 0 means none; first..last is the order of insertion. */
struct map {
    u32 type;
    u32 key_size;
    u32 value_size;
    u32 max_entries;
    u32 flags;
    u32 cpus;      /* values in a slot: 1, or the number of CPUs of a per-CPU map */
    u32 stride;    /* bytes of one value, rounded up to 8 */
    u32 node_size; /* bytes of one slot */
    u32 key_room;  /* bytes of a key in a node, rounded up to 8 */
    u32 buckets;   /* a power of two */
    u32 count;
    u32 used; /* nodes ever taken */
    u32 free; /* first free node */
    u32 first;
    u32 last;
    u32 head;      /* queue: the oldest element */
    u8 *slots;
    u32 *heads;
    u64 slot_bytes;
    struct ring *rings; /* perf event array: max_entries of them; ring buffer: one */
};

struct sim;
struct checks;

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
    u32 unused;
    u8 *page; /* page_size bytes: where a hook may put what the program gets */
    u64 page_size;
    struct checks *checks; /* null unless programs are checked */
    u32 fault;             /* set when a checked access, call or turn failed: the program ends */
    u32 fault_slot;
    u64 fault_address;
    u64 fault_bytes;
    u64 apart[8]; /* two CPUs share no cache line */
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

/* A loaded program. run: what the kernel calls; enter: what a tail call calls. */
struct program {
    u64 (*enter)(struct cpu *cpu, u64 ctx);
    u64 (*run)(struct cpu *cpu, u64 ctx);
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
    u32 unused;
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

/* One simulated kernel: its CPUs, its memory, its trace pipe. */
struct sim {
    u64 boot_offset_ns;
    u64 pid_ns_dev;
    u64 pid_ns_ino;
    u64 kernel_start;
    u64 kernel_size; /* bytes handed out from kernel_start on */
    u8 *kernel_bytes;
    u32 cpus;
    u32 maps; /* alive */
    u32 owned_lock;
    u32 trace_lock;
    u32 owned_count;
    u32 owned_room;
    struct segment *owned; /* native memory a program may be shown, ascending */
    struct ring trace;
    u32 has_stats;
    u32 running; /* threads that are inside a batch or a program */
    struct cpu *cpu; /* cpus of them */
};
