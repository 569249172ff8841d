/* Cases of test_kfuncs.py: what follows a line with a name is the body of a program that leaves its answer in r. */
#define A(x) r = r * 131 + (s64)(x)
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *unsafe_ptr__ign, u32 nr_words) __ksym;
extern int *bpf_iter_bits_next(struct bpf_iter_bits *it) __ksym;
extern void bpf_iter_bits_destroy(struct bpf_iter_bits *it) __ksym;
extern int bpf_dynptr_adjust(struct bpf_dynptr *p, u32 start, u32 end) __ksym;
extern bool bpf_dynptr_is_null(struct bpf_dynptr *p) __ksym;
extern bool bpf_dynptr_is_rdonly(struct bpf_dynptr *p) __ksym;
extern u32 bpf_dynptr_size(struct bpf_dynptr *p) __ksym;
extern int bpf_dynptr_clone(struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit) __ksym;
extern int bpf_dynptr_copy(struct bpf_dynptr *dst_ptr, u32 dst_off, struct bpf_dynptr *src_ptr, u32 src_off, u32 size) __ksym;
extern int bpf_dynptr_memset(struct bpf_dynptr *p, u32 offset, u32 size, u8 val) __ksym;
extern void *bpf_dynptr_slice(struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk) __ksym;
extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym;
extern struct bpf_cpumask *bpf_cpumask_acquire(struct bpf_cpumask *cpumask) __ksym;
extern void bpf_cpumask_release(struct bpf_cpumask *cpumask) __ksym;
extern void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym;
extern void bpf_cpumask_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym;
extern bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *cpumask) __ksym;
extern bool bpf_cpumask_test_and_set_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym;
extern bool bpf_cpumask_test_and_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym;
extern u32 bpf_cpumask_first(const struct cpumask *cpumask) __ksym;
extern u32 bpf_cpumask_first_zero(const struct cpumask *cpumask) __ksym;
extern u32 bpf_cpumask_first_and(const struct cpumask *src1, const struct cpumask *src2) __ksym;
extern u32 bpf_cpumask_weight(const struct cpumask *cpumask) __ksym;
extern bool bpf_cpumask_and(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2) __ksym;
extern void bpf_cpumask_or(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2) __ksym;
extern void bpf_cpumask_xor(struct bpf_cpumask *dst, const struct cpumask *src1, const struct cpumask *src2) __ksym;
extern void bpf_cpumask_copy(struct bpf_cpumask *dst, const struct cpumask *src) __ksym;
extern void bpf_cpumask_clear(struct bpf_cpumask *cpumask) __ksym;
extern void bpf_cpumask_setall(struct bpf_cpumask *cpumask) __ksym;
extern bool bpf_cpumask_empty(const struct cpumask *cpumask) __ksym;
extern bool bpf_cpumask_full(const struct cpumask *cpumask) __ksym;
extern bool bpf_cpumask_equal(const struct cpumask *src1, const struct cpumask *src2) __ksym;
extern bool bpf_cpumask_intersects(const struct cpumask *src1, const struct cpumask *src2) __ksym;
extern bool bpf_cpumask_subset(const struct cpumask *src1, const struct cpumask *src2) __ksym;
extern u32 bpf_cpumask_any_distribute(const struct cpumask *cpumask) __ksym;
extern int bpf_cpumask_populate(struct cpumask *cpumask, void *src, unsigned long src__sz) __ksym;
extern int bpf_strcmp(const char *s1__ign, const char *s2__ign) __ksym;
extern int bpf_strcasecmp(const char *s1__ign, const char *s2__ign) __ksym;
extern int bpf_strchr(const char *s__ign, char c) __ksym;
extern int bpf_strnchr(const char *s__ign, unsigned long count, char c) __ksym;
extern int bpf_strchrnul(const char *s__ign, char c) __ksym;
extern int bpf_strrchr(const char *s__ign, int c) __ksym;
extern int bpf_strlen(const char *s__ign) __ksym;
extern int bpf_strnlen(const char *s__ign, unsigned long count) __ksym;
extern int bpf_strspn(const char *s__ign, const char *accept__ign) __ksym;
extern int bpf_strcspn(const char *s__ign, const char *reject__ign) __ksym;
extern int bpf_strstr(const char *s1__ign, const char *s2__ign) __ksym;
extern int bpf_strnstr(const char *s1__ign, const char *s2__ign, unsigned long len) __ksym;
extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;

static int add(u32 index, u64 *sum) { *sum = *sum * 7 + index; return index == 11; }
static s64 sum_of(int from, int to)
{
    struct bpf_iter_num it;
    s64 sum = 0;
    int *v;
    sum = bpf_iter_num_new(&it, from, to);
    while ((v = bpf_iter_num_next(&it)))
        sum = sum * 3 + *v;
    bpf_iter_num_destroy(&it);
    return sum;
}
static s64 hash_of(const char *text, int size)
{
    s64 h = 0;
    int i;
    for (i = 0; i < size; i++)
        h = h * 131 + (unsigned char)text[i];
    return h;
}

// numbers up
    A(sum_of(0, 10)); A(sum_of(-5, 7)); A(sum_of(3, 4));
// numbers empty
    A(sum_of(5, 5)); A(sum_of(0, 0)); A(sum_of(-1, -1));
// numbers backwards
    A(sum_of(6, 5)); A(sum_of(2147483647, -2147483647));
// numbers too many
    A(sum_of(0, 8388609)); A(sum_of(-2147483647, 2147483647));
// numbers at the ends
    A(sum_of(2147483640, 2147483647)); A(sum_of(-2147483648, -2147483644));
// bits
    u64 words[3] = {0x8000000000000005ull, 0, 0x40ull};
    struct bpf_iter_bits it;
    int *v;
    A(bpf_iter_bits_new(&it, words, 3));
    while ((v = bpf_iter_bits_next(&it)))
        A(*v);
    bpf_iter_bits_destroy(&it);
// bits of one word
    u64 words[1] = {0x8100000000000001ull};
    struct bpf_iter_bits it;
    int *v;
    A(bpf_iter_bits_new(&it, words, 1));
    while ((v = bpf_iter_bits_next(&it)))
        A(*v);
    bpf_iter_bits_destroy(&it);
// bits of none
    struct bpf_iter_bits it;
    u64 word = 1;
    A(bpf_iter_bits_new(&it, &word, 0));
    A(bpf_iter_bits_next(&it) != 0);
    bpf_iter_bits_destroy(&it);
// bits of too many
    struct bpf_iter_bits it;
    u64 word = 1;
    A(bpf_iter_bits_new(&it, &word, 512));
    A(bpf_iter_bits_next(&it) != 0);
    bpf_iter_bits_destroy(&it);
// loop
    u64 sum = 0;
    A(bpf_loop(10, add, &sum, 0)); A(sum);
// loop left
    u64 sum = 0;
    A(bpf_loop(100, add, &sum, 0)); A(sum);
// loop not at all
    u64 sum = 0;
    A(bpf_loop(0, add, &sum, 0)); A(bpf_loop(1, add, &sum, 1)); A((int)bpf_loop(8388609, add, &sum, 0)); A(sum);
// strcmp
    A(bpf_strcmp("abc", "abc")); A(bpf_strcmp("abc", "abd")); A(bpf_strcmp("b", "abd")); A(bpf_strcmp("", "")); A(bpf_strcmp("", "a"));
    A(bpf_strcmp("\xe9", "a"));
// strcasecmp
    A(bpf_strcasecmp("ABC", "abc")); A(bpf_strcasecmp("a[", "A{")); A(bpf_strcasecmp("ABd", "aBc")); A(bpf_strcasecmp("\xc9", "\xe9"));
    A(bpf_strcasecmp("\xd7", "\xf7"));
// strings that are not there
    A(bpf_strcmp("a", (void *)0)); A(bpf_strlen((void *)0)); A(bpf_strlen((void *)16)); A(bpf_strchr((void *)4096, 'a'));
    A(bpf_strcmp((void *)0xffff800000000000ull, "a")); A(bpf_strlen((void *)0x8000000000000000ull)); A(bpf_strstr("a", (void *)1));
    A(bpf_strspn((void *)1, "a")); A(bpf_strrchr((void *)1, 0)); A(bpf_strchrnul((void *)1, 1));
// strchr
    A(bpf_strchr("hello", 'l')); A(bpf_strchr("hello", 'x')); A(bpf_strchr("hello", 0)); A(bpf_strchr("", 'a'));
// strnchr
    A(bpf_strnchr("hello", 2, 'l')); A(bpf_strnchr("hello", 3, 'l')); A(bpf_strnchr("hello", 0, 'h')); A(bpf_strnchr("hi", 9, 0));
    A(bpf_strnchr("hi", 9, 'x'));
// strchrnul
    A(bpf_strchrnul("hello", 'l')); A(bpf_strchrnul("hello", 'x')); A(bpf_strchrnul("hello", 0));
// strrchr
    A(bpf_strrchr("hello", 'l')); A(bpf_strrchr("hello", 'x')); A(bpf_strrchr("hello", 0)); A(bpf_strrchr("hello", 'h'));
// strlen
    A(bpf_strlen("hello")); A(bpf_strlen("")); A(bpf_strnlen("hello", 3)); A(bpf_strnlen("hello", 30)); A(bpf_strnlen("hello", 0));
// strspn
    A(bpf_strspn("aabbc", "ab")); A(bpf_strspn("aabb", "ab")); A(bpf_strspn("xaa", "ab")); A(bpf_strspn("aa", "")); A(bpf_strspn("", "a"));
// strcspn
    A(bpf_strcspn("aabbc", "cb")); A(bpf_strcspn("aabb", "xy")); A(bpf_strcspn("xaa", "x")); A(bpf_strcspn("aa", "")); A(bpf_strcspn("", "a"));
// strstr
    A(bpf_strstr("hello world", "wor")); A(bpf_strstr("hello", "help")); A(bpf_strstr("hello", "")); A(bpf_strstr("", ""));
    A(bpf_strstr("", "a")); A(bpf_strstr("aaab", "aab")); A(bpf_strstr("abc", "abc")); A(bpf_strstr("ab", "abc"));
// strnstr
    A(bpf_strnstr("hello world", "wor", 8)); A(bpf_strnstr("hello world", "wor", 9)); A(bpf_strnstr("hello", "lo", 5));
    A(bpf_strnstr("hello", "lo", 4)); A(bpf_strnstr("hello", "", 0)); A(bpf_strnstr("hello", "h", 0)); A(bpf_strnstr("he", "e", 99));
// strncmp
    char text[8] = "abc";
    A(bpf_strncmp(text, 8, "abc")); A(bpf_strncmp(text, 2, "abd")); A(bpf_strncmp(text, 3, "abd")); A(bpf_strncmp(text, 8, "ab"));
    A(bpf_strncmp(text, 4, "abcd"));
// strtol
    char a[8] = "-123abc", b[8] = " \t0x1F", c[8] = "077", d[8] = "9", e[8] = "zz", f[8] = "0x";
    s64 v = 1;
    A(bpf_strtol(a, 8, 0, &v)); A(v); A(bpf_strtol(b, 8, 0, &v)); A(v); A(bpf_strtol(c, 8, 0, &v)); A(v); A(bpf_strtol(d, 8, 8, &v)); A(v);
    A(bpf_strtol(e, 8, 16, &v)); A(v); A(bpf_strtol(f, 8, 0, &v)); A(v); A(bpf_strtol(f, 8, 16, &v)); A(v);
// strtol flags
    char a[8] = "123", b[8] = "  ", c[8] = "-";
    s64 v = 1;
    A(bpf_strtol(a, 3, 7, &v)); A(v); A(bpf_strtol(a, 3, 32, &v)); A(v); A(bpf_strtol(a, 2, 10, &v)); A(v); A(bpf_strtol(b, 2, 10, &v)); A(v);
    A(bpf_strtol(c, 1, 10, &v)); A(v); A(bpf_strtol(a, 3, 16, &v)); A(v);
// strtol large
    char a[24] = "9223372036854775807", b[24] = "9223372036854775808", c[24] = "-9223372036854775808", d[24] = "-9223372036854775809";
    char e[24] = "18446744073709551616";
    s64 v = 1;
    A(bpf_strtol(a, 24, 10, &v)); A(v); A(bpf_strtol(b, 24, 10, &v)); A(v); A(bpf_strtol(c, 24, 10, &v)); A(v); A(bpf_strtol(d, 24, 10, &v)); A(v);
    A(bpf_strtol(e, 24, 10, &v)); A(v);
// strtoul
    char a[24] = "18446744073709551615", b[24] = "18446744073709551616", c[8] = "-1", d[8] = "-0", e[8] = "+1", f[8] = "0Xfg";
    u64 v = 1;
    A(bpf_strtoul(a, 24, 0, &v)); A(v); A(bpf_strtoul(b, 24, 0, &v)); A(v); A(bpf_strtoul(c, 8, 0, &v)); A(v); A(bpf_strtoul(d, 8, 0, &v)); A(v);
    A(bpf_strtoul(e, 8, 0, &v)); A(v); A(bpf_strtoul(f, 8, 0, &v)); A(v);
// snprintf numbers
    char out[64] = {};
    u64 args[5] = {-5, 255, 0xdeadbeefcafeull, -7, 42};
    A(bpf_snprintf(out, sizeof(out), "%d|%x|%llx|%5ld|%-5u|%%", args, sizeof(args))); A(hash_of(out, 64));
// snprintf strings
    char out[64] = {}, word[8] = "word";
    u64 args[3] = {(u64)word, 'c', (u64)word};
    A(bpf_snprintf(out, sizeof(out), "[%s] %c {%8s}", args, sizeof(args))); A(hash_of(out, 64));
// snprintf addresses
    char out[64] = {};
    u8 four[4] = {127, 0, 0, 1}, six[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0x40};
    u64 args[3] = {(u64)four, (u64)four, (u64)six};
    A(bpf_snprintf(out, sizeof(out), "%pI4 %pi4 %pI6", args, sizeof(args))); A(hash_of(out, 64));
// snprintf addresses without colons
    char out[64] = {};
    u8 six[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0x40};
    u64 args[1] = {(u64)six};
    A(bpf_snprintf(out, sizeof(out), "%pi6", args, sizeof(args))); A(hash_of(out, 64));
// snprintf cut
    char out[8] = {};
    u64 args[1] = {1234567};
    A(bpf_snprintf(out, sizeof(out), "value %d", args, sizeof(args))); A(hash_of(out, 8)); A(bpf_snprintf(out, 1, "x%d", args, 8));
    A(bpf_snprintf((void *)0, 0, "x%d", args, 8));
// snprintf px
    char out[40] = {};
    u64 args[2] = {0x1234, 0xffffffff81000000ull};
    A(bpf_snprintf(out, sizeof(out), "%px %px", args, sizeof(args))); A(hash_of(out, 40));
// snprintf symbols that there are none of
    char out[64] = {};
    u64 args[3] = {16, 0, 0x123456789abcdefull};
    A(bpf_snprintf(out, sizeof(out), "%pS %ps %20pB|", args, sizeof(args))); A(hash_of(out, 64));
// snprintf widths that count and that do not
    char out[64] = {};
    u8 four[4] = {10, 0, 0, 1};
    u64 args[4] = {7, (u64)four, 0, 0};
    A(bpf_snprintf(out, sizeof(out), "%+5d|%20pI4|%-20pB|%-8pS|", args, sizeof(args))); A(hash_of(out, 64));
// dynptr
    char memory[16] = "0123456789abcde", out[8] = {};
    struct bpf_dynptr p;
    static char buffer[16];
    A(bpf_dynptr_from_mem(buffer, 16, 0, &p)); A(bpf_dynptr_size(&p)); A(bpf_dynptr_is_null(&p)); A(bpf_dynptr_is_rdonly(&p));
    A(bpf_dynptr_write(&p, 0, memory, 16, 0)); A(bpf_dynptr_write(&p, 1, memory, 16, 0)); A(bpf_dynptr_write(&p, 8, memory, 8, 0));
    A(bpf_dynptr_write(&p, 8, memory, 8, 1)); A(bpf_dynptr_read(out, 4, &p, 6, 0)); A(hash_of(out, 8)); A(bpf_dynptr_read(out, 8, &p, 9, 0));
    A(bpf_dynptr_read(out, 8, &p, 0, 1)); A(hash_of(out, 8));
// dynptr adjusted
    struct bpf_dynptr p, q;
    static char buffer[16];
    char out[4] = {};
    A(bpf_dynptr_from_mem(buffer, 16, 0, &p)); A(bpf_dynptr_memset(&p, 2, 5, 'x')); A(bpf_dynptr_memset(&p, 12, 5, 'x'));
    A(bpf_dynptr_adjust(&p, 2, 10)); A(bpf_dynptr_size(&p)); A(bpf_dynptr_adjust(&p, 5, 4)); A(bpf_dynptr_adjust(&p, 0, 9));
    A(bpf_dynptr_adjust(&p, 9, 9)); A(bpf_dynptr_clone(&p, &q)); A(bpf_dynptr_adjust(&q, 1, 3)); A(bpf_dynptr_size(&q)); A(bpf_dynptr_size(&p));
    A(bpf_dynptr_read(out, 2, &q, 0, 0)); A(hash_of(out, 4)); A(bpf_dynptr_read(out, 3, &q, 0, 0));
    A(bpf_dynptr_copy(&p, 5, &q, 0, 2)); A(bpf_dynptr_copy(&p, 7, &q, 0, 2)); A(bpf_dynptr_read(out, 4, &p, 4, 0)); A(hash_of(out, 4));
// dynptr data
    struct bpf_dynptr p;
    static char buffer[16];
    char *at;
    bpf_dynptr_from_mem(buffer, 16, 0, &p);
    at = bpf_dynptr_data(&p, 4, 8);
    if (at)
        at[0] = 9;
    A(at != 0); A(buffer[4]); A(bpf_dynptr_data(&p, 12, 8) != 0); A(bpf_dynptr_data(&p, 16, 0) != 0);
    at = bpf_dynptr_slice(&p, 4, 0, 8);
    A(at != 0); A(at ? at[0] : 1); A(bpf_dynptr_slice(&p, 4, 0, 13) != 0);
// dynptr refused
    struct bpf_dynptr p;
    static char buffer[16];
    char out[4];
    A(bpf_dynptr_from_mem(buffer, 16, 1, &p)); A(bpf_dynptr_is_null(&p)); A(bpf_dynptr_size(&p)); A(bpf_dynptr_read(out, 1, &p, 0, 0));
    A(bpf_dynptr_adjust(&p, 0, 0)); A(bpf_dynptr_is_rdonly(&p));
// mask
    struct bpf_cpumask *m = bpf_cpumask_create();
    if (m) {
        A(bpf_cpumask_empty((void *)m)); A(bpf_cpumask_weight((void *)m)); bpf_cpumask_set_cpu(1, m); bpf_cpumask_set_cpu(100000, m);
        A(bpf_cpumask_test_cpu(1, (void *)m)); A(bpf_cpumask_test_cpu(0, (void *)m)); A(bpf_cpumask_test_cpu(100000, (void *)m));
        A(bpf_cpumask_first((void *)m)); A(bpf_cpumask_first_zero((void *)m)); A(bpf_cpumask_weight((void *)m)); A(bpf_cpumask_empty((void *)m));
        A(bpf_cpumask_test_and_set_cpu(0, m)); A(bpf_cpumask_test_and_set_cpu(0, m)); A(bpf_cpumask_full((void *)m));
        A(bpf_cpumask_test_and_clear_cpu(1, m)); A(bpf_cpumask_test_and_clear_cpu(1, m)); A(bpf_cpumask_test_and_set_cpu(100000, m));
        bpf_cpumask_setall(m); A(bpf_cpumask_weight((void *)m)); A(bpf_cpumask_full((void *)m)); bpf_cpumask_clear_cpu(0, m);
        A(bpf_cpumask_first((void *)m)); A(bpf_cpumask_any_distribute((void *)m)); bpf_cpumask_clear(m); A(bpf_cpumask_empty((void *)m));
        bpf_cpumask_release(m);
    }
// masks
    struct bpf_cpumask *a = bpf_cpumask_create(), *b = bpf_cpumask_create(), *c = bpf_cpumask_create();
    if (a && b && c) {
        bpf_cpumask_set_cpu(0, a); bpf_cpumask_set_cpu(0, b); bpf_cpumask_set_cpu(1, b);
        A(bpf_cpumask_and(c, (void *)a, (void *)b)); A(bpf_cpumask_weight((void *)c)); bpf_cpumask_or(c, (void *)a, (void *)b); A(bpf_cpumask_weight((void *)c));
        bpf_cpumask_xor(c, (void *)a, (void *)b); A(bpf_cpumask_first((void *)c)); A(bpf_cpumask_intersects((void *)a, (void *)c));
        A(bpf_cpumask_intersects((void *)b, (void *)c)); A(bpf_cpumask_subset((void *)a, (void *)b)); A(bpf_cpumask_subset((void *)b, (void *)a));
        A(bpf_cpumask_equal((void *)a, (void *)b)); bpf_cpumask_copy(c, (void *)b); A(bpf_cpumask_equal((void *)c, (void *)b));
        A(bpf_cpumask_first_and((void *)a, (void *)b)); bpf_cpumask_clear(c); A(bpf_cpumask_and(c, (void *)c, (void *)b));
    }
    if (a) bpf_cpumask_release(a);
    if (b) bpf_cpumask_release(b);
    if (c) bpf_cpumask_release(c);
// mask from bits
    struct bpf_cpumask *m = bpf_cpumask_create();
    u64 bits[1] = {2};
    u32 half[1] = {1};
    if (m) {
        A(bpf_cpumask_populate((void *)m, bits, 8)); A(bpf_cpumask_weight((void *)m)); A(bpf_cpumask_first((void *)m));
        A(bpf_cpumask_populate((void *)m, half, 4)); A(bpf_cpumask_first((void *)m));
        bpf_cpumask_release(m);
    }
// regions
    bpf_rcu_read_lock(); bpf_preempt_disable(); A(1); bpf_preempt_enable(); bpf_rcu_read_unlock();
// tasks
    struct task_struct *t = bpf_task_from_pid(0);
    A(t != 0);
    if (t)
        bpf_task_release(t);
    t = bpf_task_from_pid(-5);
    A(t != 0);
    if (t)
        bpf_task_release(t);
// branches
    char out[24];
    A(bpf_get_branch_snapshot(out, 24, 1));
