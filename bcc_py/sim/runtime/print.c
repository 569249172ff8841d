/* bpf_trace_printk, bpf_trace_vprintk and bpf_snprintf: formats, and the trace pipe.

   Input: a format and up to twelve 64-bit arguments. Output: text of at most PRINT_BYTES with its zero
   byte, or -EINVAL where kernel/bpf/helpers.c (bpf_bprintf_prepare) gives it: a character that is not
   printable ASCII, an unknown conversion, more conversions than arguments. One pass over the format;
   the text goes into a buffer of fixed size and what does not fit is counted but not kept.

   A line of the trace pipe is a record of a perf ring: struct trace_line, then the text. */

enum { PRINT_BYTES = 1024, NUMBER_BYTES = 24 };
enum { PAD_ZERO = 1, PAD_RIGHT = 2, SIGN_PLUS = 4, SIGN_SPACE = 8 };

struct trace_line {
    u64 time_ns;
    u32 cpu;
    u32 pid;
    u8 comm[16];
};

struct text {
    u8 *bytes;
    u64 size; /* of bytes */
    u64 length; /* wanted so far, without the zero byte */
};

/* One conversion as written: %[flags][width][l or ll]letter, all that bpf_bprintf_prepare takes */
struct conversion {
    u32 flags;
    u32 width;
    u32 length; /* bytes of the argument: 4 or 8 */
    u8 letter;
};

static void put(struct text *text, u8 byte)
{
    if (text->length + 1 < text->size)
        text->bytes[text->length] = byte;
    text->length++;
}

static void put_pad(struct text *text, u8 byte, u64 have, u64 want)
{
    while (have < want) {
        put(text, byte);
        have++;
    }
}

static void put_padded(struct text *text, const u8 *bytes, u64 size, struct conversion *how)
{
    u64 i;
    if (!(how->flags & PAD_RIGHT))
        put_pad(text, ' ', size, how->width);
    for (i = 0; i < size; i++)
        put(text, bytes[i]);
    if (how->flags & PAD_RIGHT)
        put_pad(text, ' ', size, how->width);
}

static u64 sized(u64 value, u32 length, int is_signed)
{
    if (length == 8)
        return value;
    return is_signed ? (u64)(s64)(s32)value : (u32)value;
}

/* The digits of value, at the end of buffer; how many. */
static u32 digits_of(u64 value, u32 base, int is_upper, u8 *buffer)
{
    u32 count = 0;
    do {
        u32 digit = (u32)(value % base);
        u8 letter = (u8)(digit < 10 ? '0' + digit : (is_upper ? 'A' : 'a') + (digit - 10));
        buffer[NUMBER_BYTES - 1 - count] = letter;
        count++;
        value /= base;
    } while (value);
    return count;
}

static u32 prefix_of(struct conversion *how, int is_negative, u8 *prefix)
{
    u32 count = 0;
    if (is_negative)
        prefix[count++] = '-';
    else if (how->letter == 'd' && (how->flags & SIGN_PLUS))
        prefix[count++] = '+';
    else if (how->letter == 'd' && (how->flags & SIGN_SPACE))
        prefix[count++] = ' ';
    return count;
}

static void put_number(struct text *text, u64 value, struct conversion *how)
{
    u8 buffer[NUMBER_BYTES];
    u8 prefix[2];
    int is_signed = how->letter == 'd';
    u32 base = how->letter == 'x' || how->letter == 'X' ? 16 : 10;
    u32 digits;
    u32 front;
    u32 i;
    u32 wanted = 0;
    int is_negative;
    value = sized(value, how->length, is_signed);
    is_negative = is_signed && (s64)value < 0;
    digits = digits_of(is_negative ? 0 - value : value, base, how->letter == 'X', buffer);
    front = prefix_of(how, is_negative, prefix);
    if ((how->flags & PAD_ZERO) && !(how->flags & PAD_RIGHT) && how->width > front && wanted < how->width - front)
        wanted = how->width - front;
    if (wanted < digits)
        wanted = digits;
    if (!(how->flags & PAD_RIGHT))
        put_pad(text, ' ', front + wanted, how->width);
    for (i = 0; i < front; i++)
        put(text, prefix[i]);
    put_pad(text, '0', digits, wanted);
    for (i = 0; i < digits; i++)
        put(text, buffer[NUMBER_BYTES - digits + i]);
    if (how->flags & PAD_RIGHT)
        put_pad(text, ' ', front + wanted, how->width);
}

static void put_pointer(struct text *text, u64 value, struct conversion *how)
{
    struct conversion plain;
    plain.flags = PAD_ZERO;
    plain.width = 16;
    plain.length = 8;
    plain.letter = 'x';
    put_pad(text, ' ', 16, how->flags & PAD_RIGHT ? 0 : how->width);
    put_number(text, value, &plain);
    put_pad(text, ' ', 16, how->flags & PAD_RIGHT ? how->width : 0);
}

/* kind: 'k' kernel, 'u' user, 's' either. A string that cannot be read prints as nothing. */
static void put_string(struct cpu *cpu, struct text *text, u64 address, u8 kind, struct conversion *how)
{
    u64 room = 0;
    u64 size = 0;
    u8 *from = kind == 'k' ? in_kernel(cpu, address, &room) :
        kind == 'u' ? in_user(cpu, address, &room) : in_any(cpu, address, &room);
    while (from && size < room && size < PRINT_BYTES / 2 && from[size])
        size++;
    put_padded(text, from, from ? size : 0, how);
}

/* A part of an address, in at least so many digits. */
static void put_part(struct text *text, u32 value, u32 base, u32 least)
{
    u8 buffer[NUMBER_BYTES];
    u32 digits = digits_of(value, base, 0, buffer);
    u32 i;
    put_pad(text, '0', digits, least);
    for (i = 0; i < digits; i++)
        put(text, buffer[NUMBER_BYTES - digits + i]);
}

/* %pI4, %pi4, %pI6, %pi6: the bytes at a kernel address, zeros where there are none. */
static void put_internet(struct cpu *cpu, struct text *text, u64 address, u8 kind, u8 version, struct conversion *how)
{
    u8 bytes[16];
    u8 content[48];
    struct text part;
    u32 i;
    part.bytes = content;
    part.size = sizeof(content);
    part.length = 0;
    bpf_probe_read_kernel(cpu, bytes, version == '4' ? 4 : 16, address);
    for (i = 0; i < 4 && version == '4'; i++) {
        if (i)
            put(&part, '.');
        put_part(&part, bytes[i], 10, kind == 'i' ? 3 : 1);
    }
    for (i = 0; i < 8 && version == '6'; i++) {
        if (i && kind == 'I')
            put(&part, ':');
        put_part(&part, (u32)bytes[2 * i] << 8 | bytes[2 * i + 1], 16, 4);
    }
    put_padded(text, content, part.length, how);
}

/* %ps, %pS, %pB: an address whose symbol is not known, as all are to programs here. */
static void put_symbol(struct text *text, u64 value, struct conversion *how)
{
    u8 content[NUMBER_BYTES];
    u8 buffer[NUMBER_BYTES];
    u32 digits = digits_of(value, 16, 0, buffer);
    content[0] = '0';
    content[1] = 'x';
    memcpy(content + 2, buffer + NUMBER_BYTES - digits, digits);
    put_padded(text, content, digits + 2, how);
}

static int is_digit(u8 byte)
{
    return byte >= '0' && byte <= '9';
}

static const u8 *read_number(const u8 *at, u32 *number)
{
    *number = 0;
    while (is_digit(*at)) {
        if (*number < 10000)
            *number = *number * 10 + (u32)(*at - '0');
        at++;
    }
    return at;
}

static u32 flag_of(u8 byte)
{
    switch (byte) {
    case '0':
        return PAD_ZERO;
    case '-':
        return PAD_RIGHT;
    case '+':
        return SIGN_PLUS;
    case ' ':
        return SIGN_SPACE;
    default:
        return 0;
    }
}

/* at: behind the %. The place behind the letter; the letter is 0 where there is none. */
static const u8 *read_conversion(const u8 *at, struct conversion *how)
{
    u32 flag;
    how->flags = 0;
    how->length = 4;
    for (flag = flag_of(*at); flag; flag = flag_of(*at)) {
        how->flags |= flag;
        at++;
    }
    at = read_number(at, &how->width);
    if (*at == 'l') {
        how->length = 8;
        at++;
        if (*at == 'l')
            at++;
    }
    how->letter = *at;
    if (*at)
        at++;
    return at;
}

/* Behind %p there may be k or u with s, x, K, s, S, B, i or I with 4 or 6; the place behind them, null if it is another. */
static const u8 *put_pointer_kind(struct cpu *cpu, struct text *text, const u8 *at, u64 value, struct conversion *how)
{
    if ((*at == 'k' || *at == 'u') && at[1] == 's') {
        put_string(cpu, text, value, *at, how);
        return at + 2;
    }
    if (*at == 'i' || *at == 'I') {
        if (at[1] != '4' && at[1] != '6')
            return (const u8 *)0;
        how->width = 0; /* these, and %pB, are printed before the width is looked at */
        put_internet(cpu, text, value, *at, at[1], how);
        return at + 2;
    }
    if (*at == 's' || *at == 'S' || *at == 'B') {
        how->width = *at == 'B' ? 0 : how->width;
        put_symbol(text, value, how);
        return at + 1;
    }
    put_pointer(text, value, how);
    return *at == 'x' || *at == 'K' ? at + 1 : at;
}

/* One conversion with its argument; the place behind it, null if it is not a known one. */
static const u8 *put_conversion(struct cpu *cpu, struct text *text, const u8 *at, u64 value, struct conversion *how)
{
    u8 byte = (u8)value;
    if (how->length == 8 && (how->letter == 'c' || how->letter == 's' || how->letter == 'p'))
        return (const u8 *)0;
    switch (how->letter) {
    case 'd':
    case 'i':
        how->letter = 'd';
        put_number(text, value, how);
        return at;
    case 'u':
    case 'x':
    case 'X':
        put_number(text, value, how);
        return at;
    case 'c':
        put_padded(text, &byte, 1, how);
        return at;
    case 's':
        put_string(cpu, text, value, 's', how);
        return at;
    case 'p':
        return put_pointer_kind(cpu, text, at, value, how);
    default:
        return (const u8 *)0;
    }
}

static int is_text(u8 byte)
{
    return (byte >= 32 && byte < 127) || (byte >= 9 && byte <= 13);
}

/* The whole format. How long the text wants to be, without its zero byte, or -EINVAL. */
static s64 print(struct cpu *cpu, struct text *text, const u8 *format, const u8 *values, u32 count)
{
    struct conversion how;
    u32 used = 0;
    u64 value;
    const u8 *at = format;
    while (*at) {
        if (!is_text(*at))
            return -EINVAL;
        if (*at != '%') {
            put(text, *at);
            at++;
        } else if (at[1] == '%') {
            put(text, '%');
            at += 2;
        } else {
            if (used == count)
                return -EINVAL;
            memcpy(&value, values + (u64)used * 8, 8);
            used++;
            at = read_conversion(at + 1, &how);
            at = put_conversion(cpu, text, at, value, &how);
            if (!at)
                return -EINVAL;
        }
    }
    if (text->size)
        text->bytes[text->length < text->size ? text->length : text->size - 1] = 0;
    return (s64)text->length;
}

/* Is there a zero byte in format[0..size)? */
static int has_end(const u8 *format, u64 size)
{
    u64 i;
    for (i = 0; i < size; i++)
        if (!format[i])
            return 1;
    return 0;
}

static s64 trace_text(struct cpu *cpu, const u8 *format, const u8 *values, u32 count)
{
    u8 bytes[sizeof(struct trace_line) + PRINT_BYTES];
    struct trace_line line;
    struct text text;
    s64 length;
    text.bytes = bytes + sizeof(struct trace_line);
    text.size = PRINT_BYTES;
    text.length = 0;
    length = print(cpu, &text, format, values, count);
    if (length < 0)
        return length;
    if (length >= PRINT_BYTES)
        length = PRINT_BYTES - 1;
    line.time_ns = cpu->time_ns;
    line.cpu = cpu->number;
    line.pid = cpu->pid;
    memcpy(line.comm, cpu->comm, 16);
    memcpy(bytes, &line, sizeof(struct trace_line));
    lock_take(&cpu->sim->trace_lock);
    perf_write(&cpu->sim->trace, bytes, sizeof(struct trace_line) + (u64)length + 1);
    lock_give(&cpu->sim->trace_lock);
    return length;
}

s64 bpf_trace_printk(struct cpu *cpu, const u8 *format, u64 size, u64 one, u64 two, u64 three)
{
    u64 values[3];
    values[0] = one;
    values[1] = two;
    values[2] = three;
    if (!has_end(format, (u32)size))
        return -EINVAL;
    return trace_text(cpu, format, (const u8 *)values, 3);
}

s64 bpf_trace_vprintk(struct cpu *cpu, const u8 *format, u64 size, const u8 *values, u64 bytes)
{
    if (((u32)bytes & 7) || (u32)bytes > 96 || ((u32)bytes && !values) || !has_end(format, (u32)size))
        return -EINVAL;
    return trace_text(cpu, format, values, (u32)bytes / 8);
}

s64 bpf_snprintf(struct cpu *cpu, u8 *to, u64 size, const u8 *format, const u8 *values, u64 bytes)
{
    struct text text;
    s64 length;
    u64 room = 0;
    /* the format is in a map, which Python may have written to since the program was verified */
    if (!in_kernel(cpu, (u64)format, &room) || !has_end(format, room))
        return -EINVAL;
    if (((u32)bytes & 7) || (u32)bytes > 96 || ((u32)bytes && !values))
        return -EINVAL;
    text.bytes = to;
    text.size = (u32)size;
    text.length = 0;
    length = print(cpu, &text, format, values, (u32)bytes / 8);
    return length < 0 ? length : length + 1;
}
