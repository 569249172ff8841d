/* The Internet's checksum (RFC 1071, RFC 1624): one's complement sums of 16-bit words in the machine's byte order. */

enum { CHECKSUM_NONE = 0, CHECKSUM_UNNECESSARY = 1, MAX_CSUM_LEVEL = 3 };
enum { CSUM_FIELD = 0xf, CSUM_PSEUDO = 0x10, CSUM_MANGLED_0 = 0x20, CSUM_ENFORCE = 0x40, CSUM_IP6 = 0x80 };
enum { CSUM_LEVEL_QUERY = 0, CSUM_LEVEL_INC = 1, CSUM_LEVEL_DEC = 2, CSUM_LEVEL_RESET = 3 };

static u32 csum_add(u32 one, u32 other)
{
    u64 sum = (u64)one + other;
    return (u32)(sum + (sum >> 32));
}

static u16 csum_fold(u32 sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16)sum;
}

/* The sum of size bytes; what is behind the last word counts as if zeros followed. */
static u32 csum_bytes(const u8 *bytes, u32 size, u32 sum)
{
    u64 wide = sum;
    u32 rest = 0;
    u32 i;
    for (i = 0; i + 4 <= size; i += 4)
        wide += load32(bytes + i);
    memcpy(&rest, bytes + i, size - i);
    wide += rest;
    wide = (wide & 0xffffffffull) + (wide >> 32);
    return (u32)(wide + (wide >> 32));
}

s64 bpf_csum_diff(struct cpu *cpu, const u8 *from, u64 from_size, const u8 *to, u64 to_size, u64 seed)
{
    u32 less = (u32)from_size;
    u32 more = (u32)to_size;
    u32 sum = (u32)seed;
    (void)cpu;
    if (less && more)
        sum = csum_add(csum_bytes(to, more, sum), ~csum_bytes(from, less, 0));
    else if (more)
        sum = csum_bytes(to, more, sum);
    else if (less)
        sum = ~csum_bytes(from, less, ~sum);
    return csum_fold(sum);
}

/* Replaces what went into the checksum at place, which is kept complemented, by what goes in now. */
static void csum_change(u8 *place, u32 from, u32 to)
{
    store16(place, (u16)~csum_fold(csum_add(csum_add((u32)~(u32)load16(place), ~from), to)));
}

/* The same with 16-bit arithmetic from the beginning, which gives the other zero at times. */
static u16 csum16_add(u16 one, u16 other)
{
    u32 sum = (u32)one + other;
    return (u16)(sum + (sum >> 16));
}

static u8 *csum_place(struct skb *skb, u32 offset)
{
    return offset > 0xffff || (offset & 1) || !skb_has(skb, offset, 2) ? (u8 *)0 : skb->data + offset;
}

s64 skb_bpf_l3_csum_replace(struct cpu *cpu, struct skb *skb, u64 offset, u64 from, u64 to, u64 flags)
{
    u8 *place;
    (void)cpu;
    if (flags & ~(u64)CSUM_FIELD)
        return -EINVAL;
    place = csum_place(skb, (u32)offset);
    if (!place)
        return -EFAULT;
    switch (flags) {
    case 0:
        if (from)
            return -EINVAL;
        store16(place, (u16)~csum_fold(csum_add((u32)to, ~(u32)load16(place))));
        return 0;
    case 2:
        store16(place, (u16)~csum16_add(csum16_add((u16)~load16(place), (u16)~from), (u16)to));
        return 0;
    case 4:
        csum_change(place, (u32)from, (u32)to);
        return 0;
    default:
        return -EINVAL;
    }
}

s64 skb_bpf_l4_csum_replace(struct cpu *cpu, struct skb *skb, u64 offset, u64 from, u64 to, u64 flags)
{
    u8 *place;
    (void)cpu;
    if (flags & ~(u64)(CSUM_FIELD | CSUM_PSEUDO | CSUM_MANGLED_0 | CSUM_ENFORCE | CSUM_IP6))
        return -EINVAL;
    place = csum_place(skb, (u32)offset);
    if (!place)
        return -EFAULT;
    if ((flags & (CSUM_MANGLED_0 | CSUM_ENFORCE)) == CSUM_MANGLED_0 && !load16(place))
        return 0;
    switch (flags & CSUM_FIELD) {
    case 0:
        if (from)
            return -EINVAL;
        store16(place, (u16)~csum_fold(csum_add((u32)to, ~(u32)load16(place))));
        break;
    case 2:
        csum_change(place, (u16)from, (u16)to);
        break;
    case 4:
        csum_change(place, (u32)from, (u32)to);
        break;
    default:
        return -EINVAL;
    }
    if ((flags & CSUM_MANGLED_0) && !load16(place))
        store16(place, 0xffff);
    return 0;
}

/* Only where the device gave a sum of the whole packet, which none here does. */
s64 skb_bpf_csum_update(struct cpu *cpu, struct skb *skb, u64 csum)
{
    (void)cpu;
    (void)skb;
    (void)csum;
    return -ENOTSUPP;
}

static void csum_reset(struct skb *skb)
{
    if (skb->csum_kind == CHECKSUM_UNNECESSARY) {
        skb->csum_kind = CHECKSUM_NONE;
        skb->csum_level = 0;
    }
}

static void csum_increase(struct skb *skb)
{
    if (skb->csum_kind == CHECKSUM_NONE) {
        skb->csum_kind = CHECKSUM_UNNECESSARY;
        skb->csum_level = 0;
    } else if (skb->csum_level < MAX_CSUM_LEVEL) {
        skb->csum_level++;
    }
}

s64 skb_bpf_csum_level(struct cpu *cpu, struct skb *skb, u64 level)
{
    (void)cpu;
    switch (level) {
    case CSUM_LEVEL_INC:
        csum_increase(skb);
        return 0;
    case CSUM_LEVEL_DEC:
        if (skb->csum_kind == CHECKSUM_UNNECESSARY && skb->csum_level)
            skb->csum_level--;
        else
            csum_reset(skb);
        return 0;
    case CSUM_LEVEL_RESET:
        csum_reset(skb);
        return 0;
    case CSUM_LEVEL_QUERY:
        return skb->csum_kind == CHECKSUM_UNNECESSARY ? (s64)skb->csum_level : -EACCES;
    default:
        return -EINVAL;
    }
}
