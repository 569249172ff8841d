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
#define fallthrough __attribute__((__fallthrough__))
#define __aligned(n) __attribute__((aligned(n)))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __hidden
#define noinline __attribute__((noinline))
#define __weak __attribute__((weak))
#define __ksym __attribute__((section(".ksyms")))
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
#define MIN(a, b) min(a, b)
#define MAX(a, b) max(a, b)
#define ilog2(n) (sizeof(n) <= 4 ? __ilog2_u32(n) : __ilog2_u64(n))
#define roundup_pow_of_two(n) __roundup_pow_of_two(n)
#define folio_page(folio, n) (&(folio)->page + (n))
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))

/* an option of the kernel's configuration is a macro that expands to 1 where it is set; "m" sets OPTION_MODULE */
#define __BCC_SET_1 0,
#define __BCC_SECOND(first, second, ...) second
#define __BCC_IS_SET3(word) __BCC_SECOND(word 1, 0)
#define __BCC_IS_SET2(value) __BCC_IS_SET3(__BCC_SET_##value)
#define __BCC_IS_SET(option) __BCC_IS_SET2(option)
#define IS_BUILTIN(option) __BCC_IS_SET(option)
#define IS_MODULE(option) __BCC_IS_SET(option##_MODULE)
#define IS_ENABLED(option) (IS_BUILTIN(option) || IS_MODULE(option))
#define IS_REACHABLE(option) IS_BUILTIN(option)

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
#define bpf_ntoh128(x) bpf_swap128(x)
#define bpf_hton128(x) bpf_swap128(x)
#define MASK(bits) ((bits) < 64 ? (1ULL << (bits)) - 1 : ~0ULL)
#define MASK128(bits) ((bits) < 128 ? ((unsigned __int128)1 << (bits)) - 1 : ~(unsigned __int128)0)

/* structs that the kernel's headers call otherwise than its types do */
#define rcu_head callback_head
#define sockaddr_storage __kernel_sockaddr_storage

/* tables: a struct whose members give the types of key and leaf, and an attribute that gives the rest */
#define BPF_F_TABLE(table_type, key_type, leaf_type, name, entries, table_flags) \
    struct name##_table_t { key_type key; leaf_type leaf; } name __attribute__((bpf_table(table_type, entries, table_flags)))
#define BPF_TABLE(table_type, key_type, leaf_type, name, entries) \
    BPF_F_TABLE(table_type, key_type, leaf_type, name, entries, 0)
#define __BCC_SCOPED(table_type, key_type, leaf_type, name, entries, table_flags, scope) \
    struct name##_table_t { key_type key; leaf_type leaf; } name \
    __attribute__((bpf_table(table_type, entries, table_flags, scope)))
#define BPF_TABLE_PUBLIC(table_type, key_type, leaf_type, name, entries) \
    __BCC_SCOPED(table_type, key_type, leaf_type, name, entries, 0, "public")
#define __BCC_SHARED5(t, k, l, name, n) __BCC_SCOPED(t, k, l, name, n, 0, "shared")
#define __BCC_SHARED6(t, k, l, name, n, f) __BCC_SCOPED(t, k, l, name, n, f, "shared")
#define __BCC_SIXTH(a, b, c, d, e, f, g, ...) g
#define BPF_TABLE_SHARED(...) __BCC_SIXTH(__VA_ARGS__, __BCC_SHARED6, __BCC_SHARED5)(__VA_ARGS__)
#define __BCC_PINNED6(t, k, l, name, n, path) BPF_F_TABLE(t ":" path, k, l, name, n, 0)
#define __BCC_PINNED7(t, k, l, name, n, path, f) BPF_F_TABLE(t ":" path, k, l, name, n, f)
#define __BCC_SEVENTH(a, b, c, d, e, f, g, h, ...) h
#define BPF_TABLE_PINNED(...) __BCC_SEVENTH(__VA_ARGS__, __BCC_PINNED7, __BCC_PINNED6)(__VA_ARGS__)

#define __BCC_FOURTH(a, b, c, d, ...) d
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

#define BPF_STACK_TRACE(name, n) BPF_TABLE("stacktrace", int, struct bpf_stacktrace, name, n)
#define BPF_STACK_TRACE_BUILDID(name, n) BPF_F_TABLE("stacktrace", int, struct bpf_stacktrace_buildid, name, n, 1 << 5)
#define BPF_PERF_ARRAY(name, n) BPF_TABLE("perf_array", int, u32, name, n)
#define BPF_CGROUP_ARRAY(name, n) BPF_TABLE("cgroup_array", int, u32, name, n)
#define BPF_PROG_ARRAY(name, n) BPF_TABLE("prog", u32, u32, name, n)
#define BPF_DEVMAP(name, n) BPF_TABLE("devmap", int, int, name, n)
#define BPF_CPUMAP(name, n) BPF_TABLE("cpumap", int, u32, name, n)
#define __BCC_XSKMAP2(name, n) BPF_TABLE("xskmap", u32, int, name, n)
#define __BCC_XSKMAP3(name, n, path) BPF_TABLE("xskmap:" path, u32, int, name, n)
#define BPF_XSKMAP(...) __BCC_FOURTH(__VA_ARGS__, __BCC_XSKMAP3, __BCC_XSKMAP2)(__VA_ARGS__)
#define BPF_ARRAY_OF_MAPS(name, inner, n) BPF_TABLE("array_of_maps$" inner, int, int, name, n)
#define __BCC_HASH_OF2(name, inner) BPF_TABLE("hash_of_maps$" inner, int, int, name, 10240)
#define __BCC_HASH_OF3(name, k, inner) BPF_TABLE("hash_of_maps$" inner, k, int, name, 10240)
#define __BCC_HASH_OF4(name, k, inner, n) BPF_TABLE("hash_of_maps$" inner, k, int, name, n)
#define BPF_HASH_OF_MAPS(...) __BCC_FIFTH(__VA_ARGS__, __BCC_HASH_OF4, __BCC_HASH_OF3, __BCC_HASH_OF2)(__VA_ARGS__)
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
#define __BCC_NO_KEY struct { }
#define BPF_QUEUESTACK(kind, name, l, n, f) BPF_F_TABLE(kind, __BCC_NO_KEY, l, name, n, f)
#define BPF_QUEUESTACK_PINNED(kind, name, l, n, f, path) BPF_QUEUESTACK(kind ":" path, name, l, n, f)
#define BPF_QUEUESTACK_PUBLIC(kind, name, l, n, f) __BCC_SCOPED(kind, __BCC_NO_KEY, l, name, n, f, "public")
#define BPF_QUEUESTACK_SHARED(kind, name, l, n, f) __BCC_SCOPED(kind, __BCC_NO_KEY, l, name, n, f, "shared")
#define __BCC_QUEUE3(name, l, n) BPF_QUEUESTACK("queue", name, l, n, 0)
#define __BCC_QUEUE4(name, l, n, f) BPF_QUEUESTACK("queue", name, l, n, f)
#define BPF_QUEUE(...) __BCC_FIFTH(__VA_ARGS__, __BCC_QUEUE4, __BCC_QUEUE3, , )(__VA_ARGS__)
#define __BCC_STACK3(name, l, n) BPF_QUEUESTACK("stack", name, l, n, 0)
#define __BCC_STACK4(name, l, n, f) BPF_QUEUESTACK("stack", name, l, n, f)
#define BPF_STACK(...) __BCC_FIFTH(__VA_ARGS__, __BCC_STACK4, __BCC_STACK3, , )(__VA_ARGS__)
#define BPF_SK_STORAGE(name, l) BPF_TABLE("sk_storage", int, l, name, 0)
#define BPF_INODE_STORAGE(name, l) BPF_TABLE("inode_storage", int, l, name, 0)
#define BPF_TASK_STORAGE(name, l) BPF_TABLE("task_storage", int, l, name, 0)
#define BPF_CGROUP_STORAGE(name, l) BPF_TABLE("cgroup_storage", struct bpf_cgroup_storage_key, l, name, 0)
#define BPF_PERCPU_CGROUP_STORAGE(name, l) BPF_TABLE("percpu_cgroup_storage", struct bpf_cgroup_storage_key, l, name, 0)

#define BPF_PACKET_HEADER __attribute__((packed)) __attribute__((deprecated("packet")))
#define cursor_advance(cursor, length) ({ void *__cursor_at = (cursor); (cursor) += (length); __cursor_at; })

#define __BCC_WORDS(words...) #words
#define __BCC_LICENSE(words...) __BCC_WORDS(words)
#define bpf_tail_call_(table, ctx, index) bpf_tail_call(ctx, table, index)
#define bcc_get_stackid(table, ctx, flags) bpf_get_stackid(ctx, table, flags)
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

/* registers: members that cfront/dialect.py finds in the struct pt_regs of the kernel's machine */
#define PT_REGS_PARM1(regs) ((regs)->__bcc_reg_parm1)
#define PT_REGS_PARM2(regs) ((regs)->__bcc_reg_parm2)
#define PT_REGS_PARM3(regs) ((regs)->__bcc_reg_parm3)
#define PT_REGS_PARM4(regs) ((regs)->__bcc_reg_parm4)
#define PT_REGS_PARM5(regs) ((regs)->__bcc_reg_parm5)
#define PT_REGS_PARM6(regs) ((regs)->__bcc_reg_parm6)
#define PT_REGS_RET(regs) ((regs)->__bcc_reg_ret)
#define PT_REGS_FP(regs) ((regs)->__bcc_reg_fp)
#define PT_REGS_RC(regs) ((regs)->__bcc_reg_rc)
#define PT_REGS_IP(regs) ((regs)->__bcc_reg_ip)
#define PT_REGS_SP(regs) ((regs)->__bcc_reg_sp)
#define PT_REGS_SYSCALL_CTX(regs) ((struct pt_regs *)(regs)->__bcc_reg_syscall)
#define PT_REGS_PARM1_SYSCALL(regs) ((regs)->__bcc_reg_parm1_syscall)
#define PT_REGS_PARM2_SYSCALL(regs) ((regs)->__bcc_reg_parm2_syscall)
#define PT_REGS_PARM3_SYSCALL(regs) ((regs)->__bcc_reg_parm3_syscall)
#define PT_REGS_PARM4_SYSCALL(regs) ((regs)->__bcc_reg_parm4_syscall)
#define PT_REGS_PARM5_SYSCALL(regs) ((regs)->__bcc_reg_parm5_syscall)
#define PT_REGS_PARM6_SYSCALL(regs) ((regs)->__bcc_reg_parm6_syscall)

/* constants that are macros in the kernel, so that its BTF has none of them */
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_UNSPEC 0
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_VSOCK 40
#define AF_XDP 44
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_TYPE_MASK 0xf
#define SOCK_NONBLOCK O_NONBLOCK
#define SOCK_CLOEXEC O_CLOEXEC
#define IPPROTO_ICMPV6 58
#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define ETH_P_IPV6 0x86DD
#define ETH_P_ALL 0x0003
#define ETH_P_LOOP 0x0060
#define ETH_P_RARP 0x8035
#define ETH_P_MPLS_UC 0x8847
#define ETH_P_PPP_SES 0x8864
#define ETH_P_PAE 0x888E
#define ETH_P_LLDP 0x88CC
#define ETH_P_TEB 0x6558
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
#define __PAGE_OFFSET_BASE_L4 0xffff888000000000UL
#define __PAGE_OFFSET_BASE_L5 0xff11000000000000UL
#define __START_KERNEL_map 0xffffffff80000000UL
#define REQ_OP_BITS 8
#define REQ_OP_MASK ((1 << REQ_OP_BITS) - 1)
#define FMODE_CREATED (1U << 20)
#define FMODE_OPENED (1U << 19)
#define FMODE_READ (1U << 0)
#define FMODE_WRITE (1U << 1)
#define FMODE_EXEC (1U << 5)
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
#define __TASK_STOPPED 4
#define __TASK_TRACED 8
#define TASK_PARKED 0x40
#define TASK_DEAD 0x80
#define TASK_NOLOAD 0x400
#define TASK_IDLE (TASK_UNINTERRUPTIBLE | TASK_NOLOAD)
#define PF_KTHREAD 0x00200000
#define PF_IDLE 0x00000002
#define PF_EXITING 0x00000004
#define PF_WQ_WORKER 0x00000020
#define PF_FORKNOEXEC 0x00000040
#define PF_MEMALLOC 0x00000800
#define TC_ACT_OK 0
#define TC_ACT_SHOT 2
#define TC_ACT_REDIRECT 7
#define TC_ACT_UNSPEC (-1)
#define TC_ACT_RECLASSIFY 1
#define TC_ACT_PIPE 3
#define TC_ACT_STOLEN 4
#define TC_ACT_QUEUED 5
#define TC_ACT_REPEAT 6
#define TC_ACT_TRAP 8
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
#define ENXIO 6
#define ENOEXEC 8
#define ENOTBLK 15
#define EXDEV 18
#define ENODEV 19
#define ENFILE 23
#define EMFILE 24
#define ENOTTY 25
#define ETXTBSY 26
#define EFBIG 27
#define ESPIPE 29
#define EROFS 30
#define EMLINK 31
#define EDOM 33
#define EDEADLK 35
#define EDEADLOCK EDEADLK
#define ENAMETOOLONG 36
#define ENOLCK 37
#define ENOTEMPTY 39
#define ELOOP 40
#define ENOMSG 42
#define EIDRM 43
#define ECHRNG 44
#define EL2NSYNC 45
#define EL3HLT 46
#define EL3RST 47
#define ELNRNG 48
#define EUNATCH 49
#define ENOCSI 50
#define EL2HLT 51
#define EBADE 52
#define EBADR 53
#define EXFULL 54
#define ENOANO 55
#define EBADRQC 56
#define EBADSLT 57
#define EBFONT 59
#define ENOSTR 60
#define ENODATA 61
#define ETIME 62
#define ENOSR 63
#define ENONET 64
#define ENOPKG 65
#define EREMOTE 66
#define ENOLINK 67
#define EADV 68
#define ESRMNT 69
#define ECOMM 70
#define EPROTO 71
#define EMULTIHOP 72
#define EDOTDOT 73
#define EBADMSG 74
#define EOVERFLOW 75
#define ENOTUNIQ 76
#define EBADFD 77
#define EREMCHG 78
#define ELIBACC 79
#define ELIBBAD 80
#define ELIBSCN 81
#define ELIBMAX 82
#define ELIBEXEC 83
#define EILSEQ 84
#define ERESTART 85
#define ESTRPIPE 86
#define EUSERS 87
#define ENOTSOCK 88
#define EDESTADDRREQ 89
#define EMSGSIZE 90
#define EPROTOTYPE 91
#define ENOPROTOOPT 92
#define EPROTONOSUPPORT 93
#define ESOCKTNOSUPPORT 94
#define EOPNOTSUPP 95
#define EPFNOSUPPORT 96
#define EAFNOSUPPORT 97
#define EADDRINUSE 98
#define EADDRNOTAVAIL 99
#define ENETDOWN 100
#define ENETUNREACH 101
#define ENETRESET 102
#define ECONNABORTED 103
#define ECONNRESET 104
#define ENOBUFS 105
#define EISCONN 106
#define ENOTCONN 107
#define ESHUTDOWN 108
#define ETOOMANYREFS 109
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTDOWN 112
#define EHOSTUNREACH 113
#define EALREADY 114
#define EINPROGRESS 115
#define ESTALE 116
#define EUCLEAN 117
#define ENOTNAM 118
#define ENAVAIL 119
#define EISNAM 120
#define EREMOTEIO 121
#define EDQUOT 122
#define ENOMEDIUM 123
#define EMEDIUMTYPE 124
#define ECANCELED 125
#define ENOKEY 126
#define EKEYEXPIRED 127
#define EKEYREVOKED 128
#define EKEYREJECTED 129
#define EOWNERDEAD 130
#define ENOTRECOVERABLE 131
#define ERFKILL 132
#define EWOULDBLOCK EAGAIN
#define ERESTARTSYS 512
#define ENOTSUPP 524
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
#define O_ACCMODE 3
#define O_NOCTTY 0400
#define O_DSYNC 010000
#define O_DIRECT 040000
#define O_LARGEFILE 0100000
#define O_NOFOLLOW 0400000
#define O_NOATIME 01000000
#define O_PATH 010000000
#define __O_SYNC 04000000
#define O_SYNC (__O_SYNC | O_DSYNC)
#define AT_FDCWD -100
#define AT_REMOVEDIR 0x200
#define AT_EMPTY_PATH 0x1000
#define CLONE_NEWTIME 0x00000080
#define CLONE_VM 0x00000100
#define CLONE_FS 0x00000200
#define CLONE_FILES 0x00000400
#define CLONE_SIGHAND 0x00000800
#define CLONE_PIDFD 0x00001000
#define CLONE_PTRACE 0x00002000
#define CLONE_VFORK 0x00004000
#define CLONE_PARENT 0x00008000
#define CLONE_THREAD 0x00010000
#define CLONE_NEWNS 0x00020000
#define CLONE_SYSVSEM 0x00040000
#define CLONE_SETTLS 0x00080000
#define CLONE_PARENT_SETTID 0x00100000
#define CLONE_CHILD_CLEARTID 0x00200000
#define CLONE_UNTRACED 0x00800000
#define CLONE_CHILD_SETTID 0x01000000
#define CLONE_NEWCGROUP 0x02000000
#define CLONE_NEWUTS 0x04000000
#define CLONE_NEWIPC 0x08000000
#define CLONE_NEWUSER 0x10000000
#define CLONE_NEWPID 0x20000000
#define CLONE_NEWNET 0x40000000
#define CLONE_IO 0x80000000
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#define CLONE_INTO_CGROUP 0x200000000ULL
#define CGROUP_SUPER_MAGIC 0x27e0eb
#define CGROUP2_SUPER_MAGIC 0x63677270
#define PROC_SUPER_MAGIC 0x9fa0
#define SYSFS_MAGIC 0x62656572
#define TMPFS_MAGIC 0x01021994
#define EXT4_SUPER_MAGIC 0xEF53
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
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
