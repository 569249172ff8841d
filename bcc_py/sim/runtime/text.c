/* Helpers about text in memory: numbers out of it, and comparing it. Source of what is a number, and of every error:
   kernel/bpf/helpers.c (bpf_strtol, bpf_strtoul) and lib/kstrtox.c of Linux 6.18. */

enum { DIGITS_BYTES = 63 };

s64 bpf_strncmp(struct cpu *cpu, const u8 *one, u64 size, const u8 *other)
{
    u64 room = 0;
    u32 i;
    if (!in_kernel(cpu, (u64)other, &room))
        return -EFAULT;
    for (i = 0; i < (u32)size && i < room; i++) {
        if (one[i] != other[i])
            return one[i] < other[i] ? -1 : 1;
        if (!one[i])
            return 0;
    }
    return 0;
}

/* Blanks as Linux has them: ASCII's, and the no-break space of Latin-1. */
static int is_blank(u8 byte)
{
    return byte == 32 || byte == 160 || (byte >= 9 && byte <= 13);
}

/* The value of a digit, 255 for what is none. */
static u32 digit_of(u8 byte)
{
    u8 small = byte | 32;
    if (byte >= '0' && byte <= '9')
        return (u32)(byte - '0');
    return small >= 'a' && small <= 'f' ? (u32)(small - 'a') + 10 : 255;
}

/* digits[0..size) -> a number. How many bytes were it; 0 if there is no digit, -ERANGE where it is too large. */
static s64 read_digits(const u8 *digits, u64 size, u32 base, u64 *number)
{
    u64 at = 0;
    u64 first;
    s64 error = 0;
    int has_prefix = size > 1 && digits[0] == '0' && (digits[1] | 32) == 'x';
    if (!base)
        base = !size || digits[0] != '0' ? 10 : has_prefix && size > 2 && digit_of(digits[2]) < 16 ? 16 : 8;
    if (base == 16 && has_prefix)
        at = 2;
    *number = 0;
    for (first = at; at < size && digit_of(digits[at]) < base; at++) {
        u32 digit = digit_of(digits[at]);
        if (*number > (~0ull - digit) / base)
            error = -ERANGE;
        *number = *number * base + digit;
    }
    return error ? error : at > first ? (s64)at : 0;
}

/* A number that may have a sign. How many bytes it took, or an error. */
static s64 read_signed(const u8 *text, u64 size, u64 base, u64 *number, int *is_negative)
{
    u64 at = 0;
    s64 used;
    *is_negative = 0;
    if (!size || (base != 0 && base != 8 && base != 10 && base != 16))
        return -EINVAL;
    while (at < size && is_blank(text[at]))
        at++;
    if (at < size && text[at] == '-') {
        *is_negative = 1;
        at++;
    }
    size -= at;
    if (!size)
        return -EINVAL;
    used = read_digits(text + at, size < DIGITS_BYTES ? size : DIGITS_BYTES, (u32)base, number);
    return used > 0 ? (s64)at + used : used ? used : -EINVAL;
}

s64 bpf_strtol(struct cpu *cpu, const u8 *text, u64 size, u64 flags, u8 *to)
{
    u64 number = 0;
    int is_negative;
    s64 used = read_signed(text, (u32)size, flags, &number, &is_negative);
    (void)cpu;
    memset(to, 0, 8);
    if (used < 0)
        return used;
    if (number > 0x7fffffffffffffffull + (u64)is_negative)
        return -ERANGE;
    if (is_negative)
        number = 0 - number;
    memcpy(to, &number, 8);
    return used;
}

s64 bpf_strtoul(struct cpu *cpu, const u8 *text, u64 size, u64 flags, u8 *to)
{
    u64 number = 0;
    int is_negative;
    s64 used = read_signed(text, (u32)size, flags, &number, &is_negative);
    (void)cpu;
    memset(to, 0, 8);
    if (used < 0)
        return used;
    if (is_negative)
        return -EINVAL;
    memcpy(to, &number, 8);
    return used;
}
