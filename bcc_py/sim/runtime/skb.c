/* Helpers on the packets of struct __sk_buff: bytes, VLAN tags, room, protocol, hash, tunnel.

   Names: skb_bpf_NAME is bpf_NAME for the program types whose context is a __sk_buff, sk_skb_bpf_NAME for stream
   parsers and verdicts where they differ (native.py knows who is who). */

enum { STORE_RECOMPUTE_CSUM = 1, STORE_INVALIDATE_HASH = 2 };
enum { START_MAC = 0, START_NET = 1 };
enum { ROOM_NET = 0, ROOM_MAC = 1, ROOM_MOST = 0xfff };
enum {
    ROOM_FIXED_GSO = 0x1, ROOM_ENCAP_IP4 = 0x2, ROOM_ENCAP_IP6 = 0x4, ROOM_ENCAP_GRE = 0x8, ROOM_ENCAP_UDP = 0x10,
    ROOM_KEEP_CSUM = 0x20, ROOM_ENCAP_ETHERNET = 0x40, ROOM_DECAP_IP4 = 0x80, ROOM_DECAP_IP6 = 0x100
};
#define ROOM_ENCAP_L2 0xff00000000000000ull
#define ROOM_ENCAP_L3 (ROOM_ENCAP_IP4 | ROOM_ENCAP_IP6)
#define ROOM_DECAP_L3 (ROOM_DECAP_IP4 | ROOM_DECAP_IP6)
#define ROOM_FLAGS (ROOM_ENCAP_L2 | 0x1ff)

/* ---- bytes ---- */

s64 skb_bpf_skb_load_bytes(struct cpu *cpu, const struct skb *skb, u64 offset, u8 *to, u64 size)
{
    (void)cpu;
    if ((u32)offset > 0x7fffffff || !skb_has(skb, (u32)offset, (u32)size)) {
        memset(to, 0, (u32)size);
        return -EFAULT;
    }
    memcpy(to, skb->data + (u32)offset, (u32)size);
    return 0;
}

s64 skb_bpf_skb_load_bytes_relative(struct cpu *cpu, const struct skb *skb, u64 offset, u8 *to, u64 size, u64 start)
{
    u32 header = (u32)start == START_MAC ? skb->mac_header : skb->network_header;
    (void)cpu;
    if ((u32)offset > 0xffff || (u32)start > START_NET
        || (u64)header + (u32)offset + (u32)size > (u64)skb_headroom(skb) + skb->len) {
        memset(to, 0, (u32)size);
        return -EFAULT;
    }
    memcpy(to, skb->head + header + (u32)offset, (u32)size);
    return 0;
}

static void skb_forget_hash(struct skb *skb)
{
    skb->hash = 0;
    skb->has_hash = 0;
}

s64 skb_bpf_skb_store_bytes(struct cpu *cpu, struct skb *skb, u64 offset, const u8 *from, u64 size, u64 flags)
{
    (void)cpu;
    if (flags & ~3ull)
        return -EINVAL;
    if ((u32)offset > 0x7fffffff || !skb_has(skb, (u32)offset, (u32)size))
        return -EFAULT;
    memmove(skb->data + (u32)offset, from, (u32)size);
    if (flags & STORE_INVALIDATE_HASH)
        skb_forget_hash(skb);
    return 0;
}

/* The packet is one piece, and its own: there is nothing to pull. */
s64 skb_bpf_skb_pull_data(struct cpu *cpu, struct skb *skb, u64 size)
{
    (void)cpu;
    return (u32)size > skb->len ? -ENOMEM : 0;
}

/* ---- room ---- */

/* size bytes of zeros behind the first keep bytes; the headers' places are to follow where they move. */
static void skb_insert(struct skb *skb, u32 keep, u32 size)
{
    skb_push(skb, size);
    memmove(skb->data, skb->data + size, keep);
    memset(skb->data + keep, 0, size);
}

static void skb_headers_move(struct skb *skb, u32 distance)
{
    int is_same = skb->transport_header == skb->network_header;
    skb->mac_header += distance;
    skb->network_header += distance;
    if (is_same)
        skb->transport_header = skb->network_header;
}

static u32 skb_mac_bytes(const struct skb *skb)
{
    return (u32)skb->network_header - (u32)skb->mac_header;
}

/* keep may be longer than a packet that was cut short: what was there before is taken along, as in Linux, as far as
   there is memory. */
static s64 skb_insert_header(struct skb *skb, u32 keep, u32 size)
{
    if ((u64)skb_headroom(skb) + keep > (u64)skb->room + SKB_SLACK)
        return -ENOMEM;
    skb_insert(skb, keep, size);
    skb_headers_move(skb, (u32)0 - size);
    return 0;
}

static s64 skb_remove_header(struct skb *skb, u32 keep, u32 size)
{
    u8 *before = skb->data;
    if (!skb_has(skb, keep, size))
        return -ENOMEM;
    skb_pull(skb, size);
    memmove(skb->data, before, keep);
    skb_headers_move(skb, size);
    return 0;
}

static void skb_become(struct skb *skb, u32 protocol)
{
    skb->protocol = protocol;
    skb->has_tunnel = 0;
}

static s64 skb_change_version(struct cpu *cpu, struct skb *skb, u32 protocol)
{
    u32 more = IP6_BYTES - IP4_BYTES;
    s64 error;
    if (skb->protocol == P_IP && protocol == P_IP6) {
        error = skb_make_headroom(cpu, skb, more);
        if (!error)
            error = skb_insert_header(skb, skb_mac_bytes(skb), more);
    } else if (skb->protocol == P_IP6 && protocol == P_IP) {
        error = skb_remove_header(skb, skb_mac_bytes(skb), more);
    } else {
        return -ENOTSUPP;
    }
    if (error)
        return error;
    skb->is_dodgy |= skb->gso_size != 0;
    skb_become(skb, protocol);
    skb_forget_hash(skb);
    return 0;
}

s64 skb_bpf_skb_change_proto(struct cpu *cpu, struct skb *skb, u64 protocol, u64 flags)
{
    s64 error;
    if (flags)
        return -EINVAL;
    error = skb_change_version(cpu, skb, (u16)protocol);
    skb_renew(skb);
    return error;
}

s64 skb_bpf_skb_change_type(struct cpu *cpu, struct skb *skb, u64 type)
{
    (void)cpu;
    if (skb->pkt_type > 3 || (u32)type > 3)
        return -EINVAL;
    skb->pkt_type = (u32)type;
    return 0;
}

static s64 room_encapsulation(const struct skb *skb, u32 size, u64 flags)
{
    u32 inner = (u32)(flags >> 56);
    if (skb->protocol != P_IP && skb->protocol != P_IP6)
        return -ENOTSUPP;
    if ((flags & ROOM_ENCAP_L3) == ROOM_ENCAP_L3)
        return -EINVAL;
    if ((flags & ROOM_ENCAP_GRE) && (flags & ROOM_ENCAP_UDP))
        return -EINVAL;
    if ((flags & ROOM_ENCAP_ETHERNET) && inner < ETHERNET_BYTES)
        return -EINVAL;
    if (skb->is_encapsulated)
        return -EALREADY;
    return inner > size ? -EINVAL : 0;
}

static s64 room_grow(struct cpu *cpu, struct skb *skb, u32 keep, u32 size, u64 flags)
{
    u16 mac = (u16)(skb->network_header - skb->mac_header);
    s64 error;
    if (skb->gso_size)
        return -ENOTSUPP;
    error = skb_make_headroom(cpu, skb, size);
    if (!error && (flags & ROOM_ENCAP_L3))
        error = room_encapsulation(skb, size, flags);
    if (!error)
        error = skb_insert_header(skb, keep, size);
    if (error || !(flags & ROOM_ENCAP_L3))
        return error;
    skb->is_encapsulated = 1;
    skb->network_header = (u16)(skb_headroom(skb) + mac);
    if (flags & (ROOM_ENCAP_GRE | ROOM_ENCAP_UDP))
        skb->transport_header = (u16)(skb->network_header + (flags & ROOM_ENCAP_IP6 ? IP6_BYTES : IP4_BYTES));
    if (skb->protocol != (flags & ROOM_ENCAP_IP6 ? P_IP6 : P_IP))
        skb_become(skb, flags & ROOM_ENCAP_IP6 ? P_IP6 : P_IP);
    return 0;
}

static s64 room_shrink(struct skb *skb, u32 keep, u32 size, u64 flags)
{
    s64 error;
    if (flags & ~(u64)(ROOM_FIXED_GSO | ROOM_DECAP_L3 | ROOM_KEEP_CSUM))
        return -EINVAL;
    if (skb->gso_size)
        return -ENOTSUPP;
    error = skb_remove_header(skb, keep, size);
    if (error)
        return error;
    if (skb->protocol == P_IP && (flags & ROOM_DECAP_IP6))
        skb_become(skb, P_IP6);
    else if (skb->protocol == P_IP6 && (flags & ROOM_DECAP_IP4))
        skb_become(skb, P_IP);
    return 0;
}

/* How many bytes there must stay of the network's part: below zero, this cannot be. */
static s64 room_least(const struct skb *skb, int is_less, u64 flags)
{
    switch (flags & ROOM_DECAP_L3) {
    case 0:
        return skb->protocol == P_IP ? IP4_BYTES : IP6_BYTES;
    case ROOM_DECAP_IP4:
        return is_less ? IP4_BYTES : -EINVAL;
    case ROOM_DECAP_IP6:
        return is_less ? IP6_BYTES : -EINVAL;
    default:
        return -EINVAL;
    }
}

static s64 room_adjust(struct cpu *cpu, struct skb *skb, s32 difference, u32 mode, u64 flags)
{
    u32 size = (u32)(difference < 0 ? -(s64)difference : difference);
    u32 keep = skb_mac_bytes(skb);
    u32 behind;
    s64 least;
    if (flags & ~ROOM_FLAGS)
        return -EINVAL;
    if (size > ROOM_MOST)
        return -EFAULT;
    if ((skb->protocol != P_IP && skb->protocol != P_IP6) || mode > ROOM_MAC)
        return -ENOTSUPP;
    if (mode == ROOM_NET)
        keep += skb->protocol == P_IP ? IP4_BYTES : IP6_BYTES;
    least = room_least(skb, difference < 0, flags);
    if (least < 0)
        return least;
    behind = skb->len - ((u32)skb->network_header - skb_headroom(skb));
    if (difference < 0 ? size >= behind || behind - size < (u32)least : skb->len + size > MAX_SKB && !skb->gso_size)
        return -ENOTSUPP;
    return difference < 0 ? room_shrink(skb, keep, size, flags) : room_grow(cpu, skb, keep, size, flags);
}

s64 skb_bpf_skb_adjust_room(struct cpu *cpu, struct skb *skb, u64 difference, u64 mode, u64 flags)
{
    s64 error = room_adjust(cpu, skb, (s32)difference, (u32)mode, flags);
    if (!error && !(flags & ROOM_KEEP_CSUM))
        csum_reset(skb);
    skb_renew(skb);
    return error;
}

s64 sk_skb_bpf_skb_adjust_room(struct cpu *cpu, struct skb *skb, u64 difference, u64 mode, u64 flags)
{
    s32 more = (s32)difference;
    u32 size = (u32)(more < 0 ? -(s64)more : more);
    if (flags || (u32)mode)
        return -EINVAL;
    if (size > ROOM_MOST)
        return -EFAULT;
    if (more < 0 ? size > skb->len : skb_make_headroom(cpu, skb, size) != 0)
        return -ENOMEM;
    if (more < 0)
        skb_pull(skb, size);
    else
        skb_insert(skb, 0, size);
    skb_renew(skb);
    return 0;
}

static u32 skb_least(const struct skb *skb)
{
    s32 head = (s32)skb_headroom(skb);
    s32 network = (s32)skb->network_header - head;
    s32 transport = (s32)skb->transport_header - head;
    if (skb->transport_header != NOT_SET && transport > 0)
        return (u32)transport;
    return network > 0 ? (u32)network : 0;
}

s64 skb_bpf_skb_change_tail(struct cpu *cpu, struct skb *skb, u64 length, u64 flags)
{
    u32 wanted = (u32)length;
    u32 room = skb->room - skb_headroom(skb);
    if (flags || wanted > MAX_SKB || wanted < skb_least(skb))
        return -EINVAL;
    if (skb->is_encapsulated)
        return -ENOTSUPP;
    if (wanted > room && skb_expand(cpu, skb, 0, wanted - room))
        return -ENOMEM;
    if (wanted > skb->len)
        memset(skb->data + skb->len, 0, wanted - skb->len);
    skb->len = wanted;
    if (skb->gso_size) {
        skb->gso_size = 0;
        skb->gso_segs = 0;
        skb->is_dodgy = 0;
    }
    skb_renew(skb);
    return 0;
}

s64 skb_bpf_skb_change_head(struct cpu *cpu, struct skb *skb, u64 size, u64 flags)
{
    u32 more = (u32)size;
    u64 length = (u64)skb->len + more;
    if (flags || (!skb->gso_size && length > MAX_SKB) || length > 0xffffffffull)
        return -EINVAL;
    if (skb_make_headroom(cpu, skb, more))
        return -ENOMEM;
    skb_insert(skb, 0, more);
    skb->mac_header = (u16)skb_headroom(skb);
    skb->mac_bytes = (u16)skb_mac_bytes(skb);
    skb_renew(skb);
    return 0;
}

/* ---- VLAN tags: the outermost is beside the packet, the others are in it ---- */

static int is_vlan(u32 protocol)
{
    return protocol == P_VLAN || protocol == P_QINQ;
}

static void vlan_beside(struct skb *skb, u32 protocol, u32 tag)
{
    skb->vlan_proto = protocol;
    skb->vlan_tci = tag;
    skb->vlan_present = (protocol | tag) != 0;
}

static int is_at_frame(const struct skb *skb)
{
    return (u16)skb_headroom(skb) == skb->mac_header;
}

static s64 vlan_insert(struct cpu *cpu, struct skb *skb)
{
    if (!is_at_frame(skb))
        return -EINVAL;
    if (skb->len < ETHERNET_BYTES)
        return -EINVAL;
    if (skb_make_headroom(cpu, skb, VLAN_BYTES))
        return -ENOMEM;
    skb_insert(skb, 12, VLAN_BYTES);
    store16(skb->data + 12, (u16)skb->vlan_proto);
    store16(skb->data + 14, swap16((u16)skb->vlan_tci));
    skb->mac_header -= VLAN_BYTES;
    skb->network_header -= VLAN_BYTES;
    skb->protocol = skb->vlan_proto;
    return 0;
}

s64 skb_bpf_skb_vlan_push(struct cpu *cpu, struct skb *skb, u64 protocol, u64 tag)
{
    s64 error = skb->vlan_present ? vlan_insert(cpu, skb) : 0;
    if (!error)
        vlan_beside(skb, is_vlan((u16)protocol) ? (u16)protocol : P_VLAN, (u16)tag);
    skb->mac_bytes = (u16)skb_mac_bytes(skb);
    skb_renew(skb);
    return error;
}

/* Takes the tag out of the packet; what it was. */
static s64 vlan_remove(struct skb *skb, u32 *tag)
{
    u8 *frame = skb->data;
    if (!is_at_frame(skb))
        return -EINVAL;
    if (skb->len < ETHERNET_BYTES + VLAN_BYTES)
        return -ENOMEM;
    *tag = swap16(load16(frame + 14));
    skb->protocol = frame_protocol(load16(frame + 16), frame + 18, 2);
    memmove(frame + VLAN_BYTES, frame, 12);
    skb_pull(skb, VLAN_BYTES);
    skb->mac_header += VLAN_BYTES;
    if ((s32)skb->network_header - (s32)skb_headroom(skb) < ETHERNET_BYTES)
        skb->network_header = (u16)(skb_headroom(skb) + ETHERNET_BYTES);
    skb->mac_bytes = (u16)skb_mac_bytes(skb);
    return 0;
}

static s64 vlan_pop(struct skb *skb)
{
    u32 protocol;
    u32 tag = 0;
    s64 error = 0;
    if (skb->vlan_present)
        vlan_beside(skb, 0, 0);
    else if (is_vlan(skb->protocol))
        error = vlan_remove(skb, &tag);
    if (error || !is_vlan(skb->protocol))
        return error;
    protocol = skb->protocol;
    error = vlan_remove(skb, &tag);
    if (!error)
        vlan_beside(skb, protocol, tag);
    return error;
}

s64 skb_bpf_skb_vlan_pop(struct cpu *cpu, struct skb *skb)
{
    s64 error = vlan_pop(skb);
    (void)cpu;
    skb_renew(skb);
    return error;
}

/* ---- hash, time, congestion ---- */

/* Linux hashes with a secret of the machine's; here it is one of the packet's bytes (FNV-1a), and never 0. */
u64 skb_bpf_get_hash_recalc(struct cpu *cpu, struct skb *skb)
{
    u32 hash = 0x811c9dc5;
    u32 i;
    (void)cpu;
    if (!skb->has_hash) {
        for (i = 0; i < skb->len && i < 128; i++)
            hash = (hash ^ skb->data[i]) * 0x01000193;
        skb->hash = hash ? hash : 1;
        skb->has_hash = 1;
    }
    return skb->hash;
}

s64 skb_bpf_set_hash_invalid(struct cpu *cpu, struct skb *skb)
{
    (void)cpu;
    skb_forget_hash(skb);
    return 0;
}

s64 skb_bpf_set_hash(struct cpu *cpu, struct skb *skb, u64 hash)
{
    (void)cpu;
    skb->hash = (u32)hash;
    skb->has_hash = 1;
    return 0;
}

s64 skb_bpf_skb_set_tstamp(struct cpu *cpu, struct skb *skb, u64 tstamp, u64 type)
{
    (void)cpu;
    if (skb->protocol != P_IP && skb->protocol != P_IP6)
        return -EOPNOTSUPP;
    if ((u32)type > 2 || ((u32)type && !tstamp))
        return -EINVAL;
    skb->tstamp = tstamp;
    skb->tstamp_type = (u32)type;
    return 0;
}

/* The protocol behind the tags that are in the packet, 0 where it ends before or has too many. */
static u32 protocol_behind_tags(const struct skb *skb)
{
    u32 protocol = skb->protocol;
    u32 at = skb->mac_bytes ? (u32)skb->mac_bytes - VLAN_BYTES : ETHERNET_BYTES;
    u32 depth;
    for (depth = 0; is_vlan(protocol); depth++) {
        if (depth == 7 || !skb_has(skb, at, VLAN_BYTES))
            return 0;
        protocol = load16(skb->data + at + 2);
        at += VLAN_BYTES;
    }
    return protocol;
}

/* Of the two bits, 0 (no congestion control) and 3 (marked already) stay, 1 and 2 become 3, with the checksum. */
static u64 ecn_mark4(u8 *header)
{
    u32 next = (header[1] + 1) & 3;
    if (!(next & 2))
        return !next;
    store16(header + 10, csum16_add(load16(header + 10), (u16)(0xfbff + (next << 8))));
    header[1] |= 3;
    return 1;
}

static u64 ecn_mark6(u8 *header)
{
    if (!(header[1] & 0x30))
        return 0;
    header[1] |= 0x30;
    return 1;
}

/* 1 where the packet says that there was congestion, now or before. */
u64 skb_bpf_skb_ecn_set_ce(struct cpu *cpu, struct skb *skb)
{
    u32 protocol = protocol_behind_tags(skb);
    u32 size = protocol == P_IP ? IP4_BYTES : IP6_BYTES;
    u8 *header = skb->head + skb->network_header;
    (void)cpu;
    if ((protocol != P_IP && protocol != P_IP6) || skb->len < size)
        return 0;
    if ((u64)skb->network_header + size > (u64)skb_headroom(skb) + skb->len)
        return 0;
    return protocol == P_IP ? ecn_mark4(header) : ecn_mark6(header);
}

/* A flow dissector sees headers before there is a packet: these bytes it reads directly or not at all. */
s64 flow_bpf_skb_load_bytes(struct cpu *cpu, const struct skb *skb, u64 offset, u8 *to, u64 size)
{
    (void)cpu;
    (void)skb;
    (void)offset;
    memset(to, 0, (u32)size);
    return -EFAULT;
}

/* ---- records about a packet ---- */

#define CONTEXT_BYTES_MASK 0xfffff00000000ull

/* The bytes given, and behind them as many of the packet's as bits 32 to 51 of flags say. */
static s64 output_with(struct cpu *cpu, struct map *map, u64 flags, const u8 *bytes, u64 size, const u8 *packet, u32 more)
{
    u8 *record;
    s64 error;
    if (!more)
        return bpf_perf_event_output(cpu, (void *)0, map, flags & INDEX_MASK, bytes, size);
    record = (u8 *)calloc(1, size + more);
    if (!record)
        return -ENOMEM;
    memcpy(record, bytes, size);
    memcpy(record + size, packet, more);
    error = bpf_perf_event_output(cpu, (void *)0, map, flags & INDEX_MASK, record, size + more);
    free(record);
    return error;
}

s64 skb_bpf_perf_event_output(struct cpu *cpu, struct skb *skb, struct map *map, u64 flags, const u8 *bytes, u64 size)
{
    u32 more = (u32)((flags & CONTEXT_BYTES_MASK) >> 32);
    if (flags & ~(CONTEXT_BYTES_MASK | INDEX_MASK))
        return -EINVAL;
    if (more > skb->len)
        return -EFAULT;
    return output_with(cpu, map, flags, bytes, size, skb->data, more);
}
