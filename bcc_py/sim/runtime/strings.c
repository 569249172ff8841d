/* Kernel functions about strings that lie anywhere: the kernel's memory, map values, the stack. Each looks at no more than
   STRING_MAX bytes (-E2BIG behind them); an address that cannot be the kernel's is -ERANGE, one where nothing is -EFAULT.
   Source: kernel/bpf/helpers.c of Linux 6.18. */

enum { STRING_MAX = 65536 };


/* A string as it is walked over: bytes that are known to be there, and where they are. */
struct walk {
    const u8 *bytes;
    u64 room;
};

static s64 walk_begin(struct cpu *cpu, struct walk *walk, u64 address)
{
    walk->room = 0;
    walk->bytes = in_kernel(cpu, address, &walk->room);
    return walk->bytes || address >= KERNEL_HALF ? 0 : -ERANGE;
}

/* The byte at an index, or -EFAULT. */
static s64 byte_at(const struct walk *walk, u64 index)
{
    return walk->bytes && index < walk->room ? walk->bytes[index] : -EFAULT;
}

static s64 small_letter(s64 byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 0xc0 && byte <= 0xde && byte != 0xd7) ? byte + 32 : byte;
}

static s64 compare(struct cpu *cpu, u64 one, u64 other, int ignores_case)
{
    struct walk left;
    struct walk right;
    u64 i;
    if (walk_begin(cpu, &left, one) || walk_begin(cpu, &right, other))
        return -ERANGE;
    for (i = 0; i < STRING_MAX; i++) {
        s64 a = byte_at(&left, i);
        s64 b = byte_at(&right, i);
        if (a < 0 || b < 0)
            return -EFAULT;
        if (ignores_case) {
            a = small_letter(a);
            b = small_letter(b);
        }
        if (a != b)
            return a < b ? -1 : 1;
        if (!a)
            return 0;
    }
    return -E2BIG;
}

s64 kfunc_bpf_strcmp(struct cpu *cpu, u64 one, u64 other)
{
    return compare(cpu, one, other, 0);
}

s64 kfunc_bpf_strcasecmp(struct cpu *cpu, u64 one, u64 other)
{
    return compare(cpu, one, other, 1);
}

s64 kfunc_bpf_strnchr(struct cpu *cpu, u64 text, u64 count, u64 wanted)
{
    struct walk walk;
    u64 i;
    if (walk_begin(cpu, &walk, text))
        return -ERANGE;
    for (i = 0; i < count && i < STRING_MAX; i++) {
        s64 byte = byte_at(&walk, i);
        if (byte < 0)
            return -EFAULT;
        if (byte == (u8)wanted)
            return (s64)i;
        if (!byte)
            return -ENOENT;
    }
    return i == STRING_MAX ? -E2BIG : -ENOENT;
}

s64 kfunc_bpf_strchr(struct cpu *cpu, u64 text, u64 wanted)
{
    return kfunc_bpf_strnchr(cpu, text, STRING_MAX, wanted);
}

s64 kfunc_bpf_strchrnul(struct cpu *cpu, u64 text, u64 wanted)
{
    struct walk walk;
    u64 i;
    if (walk_begin(cpu, &walk, text))
        return -ERANGE;
    for (i = 0; i < STRING_MAX; i++) {
        s64 byte = byte_at(&walk, i);
        if (byte <= 0 || byte == (u8)wanted)
            return byte < 0 ? -EFAULT : (s64)i;
    }
    return -E2BIG;
}

s64 kfunc_bpf_strrchr(struct cpu *cpu, u64 text, u64 wanted)
{
    struct walk walk;
    s64 last = -ENOENT;
    u64 i;
    if (walk_begin(cpu, &walk, text))
        return -ERANGE;
    for (i = 0; i < STRING_MAX; i++) {
        s64 byte = byte_at(&walk, i);
        if (byte < 0)
            return -EFAULT;
        if (byte == (u8)wanted)
            last = (s64)i;
        if (!byte)
            return last;
    }
    return -E2BIG;
}

s64 kfunc_bpf_strnlen(struct cpu *cpu, u64 text, u64 count)
{
    struct walk walk;
    u64 i;
    if (walk_begin(cpu, &walk, text))
        return -ERANGE;
    for (i = 0; i < count && i < STRING_MAX; i++) {
        s64 byte = byte_at(&walk, i);
        if (byte <= 0)
            return byte < 0 ? -EFAULT : (s64)i;
    }
    return i == STRING_MAX ? -E2BIG : (s64)i;
}

s64 kfunc_bpf_strlen(struct cpu *cpu, u64 text)
{
    return kfunc_bpf_strnlen(cpu, text, STRING_MAX);
}

/* 1 if a string has this byte, 0 if not, or an error. */
static s64 has_byte(const struct walk *set, s64 wanted)
{
    u64 i;
    for (i = 0; i < STRING_MAX; i++) {
        s64 byte = byte_at(set, i);
        if (byte < 0)
            return -EFAULT;
        if (byte == wanted || !byte)
            return byte != 0;
    }
    return -E2BIG;
}

/* How many bytes at the beginning are all in the set, or all not in it. */
static s64 span(struct cpu *cpu, u64 text, u64 accepted, s64 is_in)
{
    struct walk walk;
    struct walk set;
    u64 i;
    if (walk_begin(cpu, &walk, text) || walk_begin(cpu, &set, accepted))
        return -ERANGE;
    for (i = 0; i < STRING_MAX; i++) {
        s64 byte = byte_at(&walk, i);
        s64 found;
        if (byte <= 0)
            return byte < 0 ? -EFAULT : (s64)i;
        found = has_byte(&set, byte);
        if (found < 0)
            return found;
        if (found != is_in)
            return (s64)i;
    }
    return -E2BIG;
}

s64 kfunc_bpf_strspn(struct cpu *cpu, u64 text, u64 accepted)
{
    return span(cpu, text, accepted, 1);
}

s64 kfunc_bpf_strcspn(struct cpu *cpu, u64 text, u64 rejected)
{
    return span(cpu, text, rejected, 0);
}

/* Does part begin at text[at], all of it before length? 1 yes, 0 no, or an error: -ENOENT where text ends before. */
static s64 begins_at(const struct walk *text, u64 at, const struct walk *part, u64 length)
{
    u64 i;
    for (i = 0; at + i <= length && i < STRING_MAX; i++) {
        s64 wanted = byte_at(part, i);
        s64 byte;
        if (wanted <= 0)
            return wanted < 0 ? -EFAULT : 1;
        if (at + i == length)
            return -ENOENT;
        byte = byte_at(text, at + i);
        if (byte <= 0)
            return byte < 0 ? -EFAULT : -ENOENT;
        if (byte != wanted)
            return 0;
    }
    return i == STRING_MAX ? -E2BIG : -ENOENT;
}

s64 kfunc_bpf_strnstr(struct cpu *cpu, u64 text, u64 part, u64 length)
{
    struct walk walk;
    struct walk wanted;
    u64 i;
    if (walk_begin(cpu, &walk, text) || walk_begin(cpu, &wanted, part))
        return -ERANGE;
    for (i = 0; i < STRING_MAX; i++) {
        s64 found = begins_at(&walk, i, &wanted, length);
        if (found)
            return found < 0 ? found : (s64)i;
    }
    return -E2BIG;
}

s64 kfunc_bpf_strstr(struct cpu *cpu, u64 text, u64 part)
{
    return kfunc_bpf_strnstr(cpu, text, part, STRING_MAX);
}
