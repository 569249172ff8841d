/* Macros that every text has without including anything: BCC's declarations of tables and programs,
   registers, constants that a kernel's BTF does not carry. Only #defines may stand here. */

#define __BPF__ 1
#define __bpf__ 1
#define __BPF_TRACING__ 1
#define __KERNEL__ 1
#define __LP64__ 1
#define __x86_64__ 1
#define __x86_64 1
#define __BYTE_ORDER__ 1234
#define __ORDER_LITTLE_ENDIAN__ 1234
#define __ORDER_BIG_ENDIAN__ 4321
#define __LITTLE_ENDIAN 1234
#define __LITTLE_ENDIAN_BITFIELD 1
#define __STDC__ 1
#define __STDC_VERSION__ 201112L
#define __GNUC__ 12
#define __GNUC_MINOR__ 2
#define __clang__ 1
#define __clang_major__ 19
#define __SIZEOF_INT128__ 16
#define __CHAR_BIT__ 8
#define __SIZEOF_POINTER__ 8
#define __SIZEOF_LONG__ 8
#define CONFIG_64BIT 1
#define CONFIG_X86_64 1
#define CONFIG_SMP 1
#define CONFIG_ARCH_HAS_SYSCALL_WRAPPER 1
#define KBUILD_MODNAME "bcc"

#define __user
#define __kernel
#define __percpu
#define __rcu
#define __force
#define __iomem
#define __init
#define __exit
#define __maybe_unused __attribute__((unused))
#define __always_unused __attribute__((unused))
#define __packed __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __hidden
#define noinline __attribute__((noinline))
#define __weak __attribute__((weak))
#define asmlinkage
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() asm volatile("" ::: "memory")
#define barrier_var(x) asm volatile("" : "+r"(x))
#define READ_ONCE(x) (x)
#define WRITE_ONCE(x, v) ((x) = (v))

#define NULL ((void *)0)
#define true 1
#define false 0
#define offsetof(type, member) __builtin_offsetof(type, member)
#define container_of(pointer, type, member) ((type *)((char *)(pointer) - __builtin_offsetof(type, member)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(n) (1UL << (n))
#define min(a, b) ({ __typeof__(a) _min_a = (a); __typeof__(b) _min_b = (b); _min_a < _min_b ? _min_a : _min_b; })
#define max(a, b) ({ __typeof__(a) _max_a = (a); __typeof__(b) _max_b = (b); _max_a > _max_b ? _max_a : _max_b; })
#define min_t(type, a, b) ({ type _min_a = (a); type _min_b = (b); _min_a < _min_b ? _min_a : _min_b; })
#define max_t(type, a, b) ({ type _max_a = (a); type _max_b = (b); _max_a > _max_b ? _max_a : _max_b; })
#define folio_page(folio, n) (&(folio)->page + (n))
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define IS_ENABLED(option) 0

#define ntohs(x) ((u16)__builtin_bswap16((u16)(x)))
#define htons(x) ((u16)__builtin_bswap16((u16)(x)))
#define ntohl(x) ((u32)__builtin_bswap32((u32)(x)))
#define htonl(x) ((u32)__builtin_bswap32((u32)(x)))
#define be16_to_cpu(x) ntohs(x)
#define be32_to_cpu(x) ntohl(x)
#define be64_to_cpu(x) ((u64)__builtin_bswap64((u64)(x)))
#define cpu_to_be16(x) htons(x)
#define cpu_to_be32(x) htonl(x)
#define bpf_ntohs(x) ntohs(x)
#define bpf_htons(x) htons(x)
#define bpf_ntohl(x) ntohl(x)
#define bpf_htonl(x) htonl(x)
#define bpf_ntohll(x) be64_to_cpu(x)
#define bpf_htonll(x) be64_to_cpu(x)

/* tables: a struct whose members give the types of key and leaf, and an attribute that gives the rest */
#define BPF_F_TABLE(table_type, key_type, leaf_type, name, entries, table_flags) \
    struct name##_table_t { key_type key; leaf_type leaf; } name __attribute__((bpf_table(table_type, entries, table_flags)))
#define BPF_TABLE(table_type, key_type, leaf_type, name, entries) \
    BPF_F_TABLE(table_type, key_type, leaf_type, name, entries, 0)

#define __BCC_FIFTH(a, b, c, d, e, ...) e
#define __BCC_HASH1(name) BPF_TABLE("hash", u64, u64, name, 10240)
#define __BCC_HASH2(name, k) BPF_TABLE("hash", k, u64, name, 10240)
#define __BCC_HASH3(name, k, l) BPF_TABLE("hash", k, l, name, 10240)
#define __BCC_HASH4(name, k, l, n) BPF_TABLE("hash", k, l, name, n)
#define BPF_HASH(...) __BCC_FIFTH(__VA_ARGS__, __BCC_HASH4, __BCC_HASH3, __BCC_HASH2, __BCC_HASH1)(__VA_ARGS__)
#define __BCC_PHASH1(name) BPF_TABLE("percpu_hash", u64, u64, name, 10240)
#define __BCC_PHASH2(name, k) BPF_TABLE("percpu_hash", k, u64, name, 10240)
#define __BCC_PHASH3(name, k, l) BPF_TABLE("percpu_hash", k, l, name, 10240)
#define __BCC_PHASH4(name, k, l, n) BPF_TABLE("percpu_hash", k, l, name, n)
#define BPF_PERCPU_HASH(...) __BCC_FIFTH(__VA_ARGS__, __BCC_PHASH4, __BCC_PHASH3, __BCC_PHASH2, __BCC_PHASH1)(__VA_ARGS__)
#define __BCC_ARRAY1(name) BPF_TABLE("array", int, u64, name, 10240)
#define __BCC_ARRAY2(name, l) BPF_TABLE("array", int, l, name, 10240)
#define __BCC_ARRAY3(name, l, n) BPF_TABLE("array", int, l, name, n)
#define BPF_ARRAY(...) __BCC_FIFTH(__VA_ARGS__, , __BCC_ARRAY3, __BCC_ARRAY2, __BCC_ARRAY1)(__VA_ARGS__)
#define __BCC_PARRAY1(name) BPF_TABLE("percpu_array", int, u64, name, 10240)
#define __BCC_PARRAY2(name, l) BPF_TABLE("percpu_array", int, l, name, 10240)
#define __BCC_PARRAY3(name, l, n) BPF_TABLE("percpu_array", int, l, name, n)
#define BPF_PERCPU_ARRAY(...) __BCC_FIFTH(__VA_ARGS__, , __BCC_PARRAY3, __BCC_PARRAY2, __BCC_PARRAY1)(__VA_ARGS__)
#define __BCC_HIST1(name) BPF_TABLE("histogram", int, u64, name, 64)
#define __BCC_HIST2(name, k) BPF_TABLE("histogram", k, u64, name, 64)
#define __BCC_HIST3(name, k, n) BPF_TABLE("histogram", k, u64, name, n)
#define BPF_HISTOGRAM(...) __BCC_FIFTH(__VA_ARGS__, , __BCC_HIST3, __BCC_HIST2, __BCC_HIST1)(__VA_ARGS__)
#define BPF_PERF_OUTPUT(name) BPF_TABLE("perf_output", int, u32, name, 0)
#define BPF_RINGBUF_OUTPUT(name, pages) BPF_TABLE("ringbuf", int, int, name, pages)

#define BPF_STACK_TRACE(name, n) \
    BPF_TABLE("stacktrace", int, struct { u64 ip[BPF_MAX_STACK_DEPTH]; }, name, n)
#define BPF_STACK_TRACE_BUILDID(name, n) \
    BPF_F_TABLE("stacktrace", int, struct { struct bpf_stack_build_id trace[BPF_MAX_STACK_DEPTH]; }, name, n, 1 << 5)
#define BPF_PERF_ARRAY(name, n) BPF_TABLE("perf_array", int, u32, name, n)
#define BPF_CGROUP_ARRAY(name, n) BPF_TABLE("cgroup_array", int, u32, name, n)
#define BPF_PROG_ARRAY(name, n) BPF_TABLE("prog", u32, u32, name, n)
#define BPF_DEVMAP(name, n) BPF_TABLE("devmap", int, int, name, n)
#define BPF_CPUMAP(name, n) BPF_TABLE("cpumap", int, u32, name, n)
#define BPF_XSKMAP(name, n, ...) BPF_TABLE("xskmap", int, int, name, n)
#define BPF_SOCKMAP(name, n) BPF_TABLE("sockmap", int, int, name, n)
#define __BCC_SOCKHASH1(name) BPF_TABLE("sockhash", u32, int, name, 10240)
#define __BCC_SOCKHASH2(name, k) BPF_TABLE("sockhash", k, int, name, 10240)
#define __BCC_SOCKHASH3(name, k, n) BPF_TABLE("sockhash", k, int, name, n)
#define BPF_SOCKHASH(...) __BCC_FIFTH(__VA_ARGS__, , __BCC_SOCKHASH3, __BCC_SOCKHASH2, __BCC_SOCKHASH1)(__VA_ARGS__)
#define __BCC_LPM1(name) BPF_TABLE("lpm_trie", u64, u64, name, 10240)
#define __BCC_LPM2(name, k) BPF_TABLE("lpm_trie", k, u64, name, 10240)
#define __BCC_LPM3(name, k, l) BPF_TABLE("lpm_trie", k, l, name, 10240)
#define __BCC_LPM4(name, k, l, n) BPF_TABLE("lpm_trie", k, l, name, n)
#define BPF_LPM_TRIE(...) __BCC_FIFTH(__VA_ARGS__, __BCC_LPM4, __BCC_LPM3, __BCC_LPM2, __BCC_LPM1)(__VA_ARGS__)
#define __BCC_QUEUE3(name, l, n) BPF_TABLE("queue", int, l, name, n)
#define __BCC_QUEUE4(name, l, n, f) BPF_F_TABLE("queue", int, l, name, n, f)
#define BPF_QUEUE(...) __BCC_FIFTH(__VA_ARGS__, __BCC_QUEUE4, __BCC_QUEUE3, , )(__VA_ARGS__)
#define __BCC_STACK3(name, l, n) BPF_TABLE("stack", int, l, name, n)
#define __BCC_STACK4(name, l, n, f) BPF_F_TABLE("stack", int, l, name, n, f)
#define BPF_STACK(...) __BCC_FIFTH(__VA_ARGS__, __BCC_STACK4, __BCC_STACK3, , )(__VA_ARGS__)
#define BPF_QUEUESTACK(kind, name, l, n, f) BPF_F_TABLE(kind, int, l, name, n, f)
#define BPF_SK_STORAGE(name, l) BPF_TABLE("sk_storage", int, l, name, 0)
#define BPF_INODE_STORAGE(name, l) BPF_TABLE("inode_storage", int, l, name, 0)
#define BPF_TASK_STORAGE(name, l) BPF_TABLE("task_storage", int, l, name, 0)
#define BPF_CGROUP_STORAGE(name, l) BPF_TABLE("cgroup_storage", struct bpf_cgroup_storage_key, l, name, 0)
#define BPF_PERCPU_CGROUP_STORAGE(name, l) BPF_TABLE("percpu_cgroup_storage", struct bpf_cgroup_storage_key, l, name, 0)

#define BPF_PACKET_HEADER __attribute__((packed)) __attribute__((deprecated("packet")))
#define cursor_advance(cursor, length) ({ void *__cursor_at = (cursor); (cursor) += (length); __cursor_at; })

#define BPF_LICENSE(words) char _license[] __attribute__((section("license"))) = #words
#define BCC_SEC(name) __attribute__((section(name), used))
#define SEC(name) __attribute__((section(name), used))

#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_EXIST 2
#define BPF_F_CURRENT_CPU 0xffffffffULL
#define CUR_CPU_IDENTIFIER BPF_F_CURRENT_CPU
#define BPF_RB_NO_WAKEUP (1ULL << 0)
#define BPF_RB_FORCE_WAKEUP (1ULL << 1)

/* programs */
#define TRACEPOINT_PROBE(category, event) \
    int tracepoint__##category##__##event(struct tracepoint__##category##__##event *args)
#define RAW_TRACEPOINT_PROBE(event) int raw_tracepoint__##event(struct bpf_raw_tracepoint_args *ctx)

#define KFUNC_PROBE(event, args...) int kfunc__vmlinux__##event(unsigned long long *ctx, ##args)
#define KRETFUNC_PROBE(event, args...) int kretfunc__vmlinux__##event(unsigned long long *ctx, ##args)
#define MODULE_KFUNC_PROBE(module, event, args...) int kfunc__##module##__##event(unsigned long long *ctx, ##args)
#define MODULE_KRETFUNC_PROBE(module, event, args...) int kretfunc__##module##__##event(unsigned long long *ctx, ##args)
#define KMOD_RET(event, args...) int kmod_ret__##event(unsigned long long *ctx, ##args)
#define LSM_PROBE(event, args...) int lsm__##event(unsigned long long *ctx, ##args)
#define BPF_ITER(target) int bpf_iter__##target(struct bpf_iter__##target *ctx)

#define TP_DATA_LOC_READ_CONST(dst, field, length) \
    do { \
        unsigned short __offset = args->data_loc_##field & 0xffff; \
        bpf_probe_read((void *)(dst), (length), (char *)args + __offset); \
    } while (0)
#define TP_DATA_LOC_READ(dst, field) \
    do { \
        unsigned short __offset = args->data_loc_##field & 0xffff; \
        unsigned short __length = args->data_loc_##field >> 16; \
        bpf_probe_read((void *)(dst), __length, (char *)args + __offset); \
    } while (0)
#define TP_DATA_LOC_READ_STR(dst, field, length) \
    do { \
        unsigned short __offset = args->data_loc_##field & 0xffff; \
        bpf_probe_read_str((void *)(dst), (length), (char *)args + __offset); \
    } while (0)

/* x86-64 registers */
#define PT_REGS_PARM1(regs) ((regs)->di)
#define PT_REGS_PARM2(regs) ((regs)->si)
#define PT_REGS_PARM3(regs) ((regs)->dx)
#define PT_REGS_PARM4(regs) ((regs)->cx)
#define PT_REGS_PARM5(regs) ((regs)->r8)
#define PT_REGS_PARM6(regs) ((regs)->r9)
#define PT_REGS_RET(regs) ((regs)->sp)
#define PT_REGS_FP(regs) ((regs)->bp)
#define PT_REGS_RC(regs) ((regs)->ax)
#define PT_REGS_IP(regs) ((regs)->ip)
#define PT_REGS_SP(regs) ((regs)->sp)
#define PT_REGS_SYSCALL_CTX(regs) ((struct pt_regs *)PT_REGS_PARM1(regs))
#define PT_REGS_PARM1_SYSCALL(regs) PT_REGS_PARM1(regs)
#define PT_REGS_PARM2_SYSCALL(regs) PT_REGS_PARM2(regs)
#define PT_REGS_PARM3_SYSCALL(regs) PT_REGS_PARM3(regs)
#define PT_REGS_PARM4_SYSCALL(regs) ((regs)->r10)
#define PT_REGS_PARM5_SYSCALL(regs) PT_REGS_PARM5(regs)
#define PT_REGS_PARM6_SYSCALL(regs) PT_REGS_PARM6(regs)

/* constants that are macros in the kernel, so that its BTF has none of them */
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_ICMPV6 58
#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define ETH_P_IPV6 0x86DD
#define ETH_ALEN 6
#define ETH_HLEN 14
#define IFNAMSIZ 16
#define NAME_MAX 255
#define PATH_MAX 4096
#define DNAME_INLINE_LEN 40
#define DISK_NAME_LEN 32
#define NSEC_PER_USEC 1000L
#define NSEC_PER_MSEC 1000000L
#define NSEC_PER_SEC 1000000000L
#define USEC_PER_SEC 1000000L
#define PAGE_OFFSET 0xffff888000000000UL
#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define REQ_OP_BITS 8
#define REQ_OP_MASK ((1 << REQ_OP_BITS) - 1)
#define FMODE_CREATED (1U << 20)
#define FMODE_OPENED (1U << 19)
/* the kind of a file, in the top four of its mode's sixteen bits */
#define S_IFMT 0xf000
#define S_IFIFO 0x1000
#define S_IFCHR 0x2000
#define S_IFDIR 0x4000
#define S_IFBLK 0x6000
#define S_IFREG 0x8000
#define S_IFLNK 0xa000
#define S_IFSOCK 0xc000
#define S_ISLNK(mode) (((mode) & S_IFMT) == S_IFLNK)
#define S_ISREG(mode) (((mode) & S_IFMT) == S_IFREG)
#define S_ISDIR(mode) (((mode) & S_IFMT) == S_IFDIR)
#define S_ISCHR(mode) (((mode) & S_IFMT) == S_IFCHR)
#define S_ISBLK(mode) (((mode) & S_IFMT) == S_IFBLK)
#define S_ISFIFO(mode) (((mode) & S_IFMT) == S_IFIFO)
#define S_ISSOCK(mode) (((mode) & S_IFMT) == S_IFSOCK)
#define MINORBITS 20
#define MAJOR(dev) ((unsigned int)((dev) >> MINORBITS))
#define MINOR(dev) ((unsigned int)((dev) & ((1U << MINORBITS) - 1)))
#define SCM_RIGHTS 1
#define BPF_F_USER_STACK (1ULL << 8)
#define BPF_F_REUSE_STACKID (1ULL << 10)
#define BPF_F_FAST_STACK_CMP (1ULL << 9)
#define BPF_F_NO_PREALLOC (1U << 0)
#define BPF_F_NO_COMMON_LRU (1U << 1)
#define TASK_RUNNING 0
#define TASK_INTERRUPTIBLE 1
#define TASK_UNINTERRUPTIBLE 2
#define PF_KTHREAD 0x00200000
#define TC_ACT_OK 0
#define TC_ACT_SHOT 2
#define TC_ACT_REDIRECT 7
#define EPERM 1
#define ENOENT 2
#define ESRCH 3
#define EINTR 4
#define EIO 5
#define E2BIG 7
#define EBADF 9
#define ECHILD 10
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EBUSY 16
#define EEXIST 17
#define ENOTDIR 20
#define EISDIR 21
#define EINVAL 22
#define ENOSPC 28
#define EPIPE 32
#define ERANGE 34
#define ENOSYS 38
#define O_RDONLY 0
#define O_WRONLY 1
#define O_RDWR 2
#define O_CREAT 0100
#define O_EXCL 0200
#define O_TRUNC 01000
#define O_APPEND 02000
#define O_NONBLOCK 04000
#define O_DIRECTORY 0200000
#define O_CLOEXEC 02000000
#define __O_TMPFILE 020000000
#define O_TMPFILE (__O_TMPFILE | O_DIRECTORY)
#define SIGHUP 1
#define SIGINT 2
#define SIGKILL 9
#define SIGTERM 15
#define U8_MAX 0xff
#define U16_MAX 0xffff
#define U32_MAX 0xffffffffU
#define U64_MAX 0xffffffffffffffffULL
#define UINT_MAX 0xffffffffU
#define INT_MAX 0x7fffffff
#define LONG_MAX 0x7fffffffffffffffL
#define ULONG_MAX 0xffffffffffffffffUL
#define BPF_MAX_STACK_DEPTH 127
