/* A packet under way in the stack: struct skb, its bytes, and what every helper that moves them does.

   head holds room bytes: head room, the packet, tail room. Where its headers are is counted from head in 16 bits, as
   in Linux, and wraps around as there: what a program asks afterwards depends on it. The packet is one piece.
   After each move the image (len) and the hidden pointers are renewed (skb_renew). */

enum { ETHERNET_BYTES = 14, VLAN_BYTES = 4, IP4_BYTES = 20, IP6_BYTES = 40, SKB_PAD = 64, PAGE = 4096, SHARED_INFO = 320 };
enum { MAX_SKB = 16384 - SHARED_INFO, MAX_SKB_ROOM = 4194304, SKB_SLACK = 64, NOT_SET = 0xffff };

static u32 skb_headroom(const struct skb *skb)
{
    return (u32)(skb->data - skb->head);
}

static void skb_renew(struct skb *skb)
{
    skb->data_end = skb->data + skb->len;
    skb->data_meta = skb->data;
}

/* Makes room for more in front of and behind the packet. The headers move with it. */
static s64 skb_expand(struct cpu *cpu, struct skb *skb, u32 front, u32 back)
{
    u64 room = (u64)skb->room + front + back;
    u32 used = skb_headroom(skb) + skb->len;
    u8 *larger;
    if (room > MAX_SKB_ROOM)
        return -ENOMEM;
    larger = (u8 *)calloc(1, room + SKB_SLACK);
    if (!larger)
        return -ENOMEM;
    if (own(cpu->sim, larger, room)) {
        free(larger);
        return -ENOMEM;
    }
    memcpy(larger + front, skb->head, used);
    skb->data = larger + front + skb_headroom(skb);
    disown(cpu->sim, skb->head);
    free(skb->head);
    skb->head = larger;
    skb->room = (u32)room;
    skb->mac_header += front;
    skb->network_header += front;
    skb->transport_header += front;
    return 0;
}

/* At least so much head room; what is missing is taken in steps of SKB_PAD. */
static s64 skb_make_headroom(struct cpu *cpu, struct skb *skb, u32 wanted)
{
    u32 missing;
    if (wanted <= skb_headroom(skb))
        return 0;
    missing = wanted - skb_headroom(skb);
    if (missing > MAX_SKB_ROOM)
        return -ENOMEM;
    return skb_expand(cpu, skb, (missing + SKB_PAD - 1) & ~(u32)(SKB_PAD - 1), 0);
}

static void skb_push(struct skb *skb, u32 size)
{
    skb->data -= size;
    skb->len += size;
}

static void skb_pull(struct skb *skb, u32 size)
{
    skb->data += size;
    skb->len -= size;
}

static int skb_has(const struct skb *skb, u32 offset, u32 size)
{
    return (u64)offset + size <= skb->len;
}

/* ---- the packet of a test run ---- */

/* What kind of frame it is, by its 13th byte on: a protocol, or a length with LLC behind it. */
static u16 frame_protocol(u16 type, const u8 *behind, u32 size)
{
    if ((type & 0xff) >= 6)
        return type;
    return size >= 2 && load16(behind) == 0xffff ? P_802_3 : P_802_2;
}

static u32 frame_kind(const u8 *frame, const u8 *address)
{
    if (!memcmp(frame, address, 6))
        return 0;
    return frame[0] & 1 ? 2 : 3;
}

/* The addresses of the socket that a test run's packet belongs to are the packet's. */
static void sock_from_packet(struct sock *sk, const struct skb *skb, const u8 *header)
{
    if (skb->protocol == P_IP) {
        sk->family = AF_INET;
        sk->source_ip4 = load32(header + 12);
        sk->target_ip4 = load32(header + 16);
    } else if (skb->protocol == P_IP6) {
        sk->family = AF_INET6;
        memcpy(sk->source_ip6, header + 8, 16);
        memcpy(sk->target_ip6, header + 24, 16);
    }
}

void skb_free(struct cpu *cpu, struct skb *skb)
{
    if (skb->head)
        disown(cpu->sim, skb->head);
    free(skb->head);
    if (skb->assigned)
        sock_put(cpu->sim, skb->assigned);
    if (skb->sk)
        sock_put(cpu->sim, skb->sk);
    free(skb);
}

/* The packet that a frame becomes when it arrives at an interface with this address: head room, no header of
   transport known. is_frame: programs see it from its Ethernet header on, otherwise from what is behind that.
   It belongs to a socket that nobody else has. Null when there is no room, or for less than a frame. */
struct skb *skb_new(struct cpu *cpu, const u8 *frame, u32 size, u32 is_frame, const u8 *address)
{
    struct skb *skb;
    if (size < ETHERNET_BYTES || size > MAX_SKB)
        return (struct skb *)0;
    skb = (struct skb *)calloc(1, sizeof(struct skb));
    if (!skb)
        return skb;
    skb->room = SKB_PAD + size;
    skb->head = (u8 *)calloc(1, skb->room + SKB_SLACK);
    skb->sk = sock_new(cpu->sim);
    if (!skb->head || !skb->sk || own(cpu->sim, skb->head, skb->room)) {
        skb_free(cpu, skb);
        return (struct skb *)0;
    }
    memcpy(skb->head + SKB_PAD, frame, size);
    skb->data = skb->head + SKB_PAD;
    skb->len = size;
    skb->wire_len = 0; /* what a queue would set, or a test run's context */
    skb->mac_header = SKB_PAD;
    skb->network_header = SKB_PAD + ETHERNET_BYTES;
    skb->transport_header = NOT_SET;
    skb->pkt_type = frame_kind(frame, address);
    skb->protocol = frame_protocol(load16(frame + 12), frame + ETHERNET_BYTES, size - ETHERNET_BYTES);
    if (size >= ETHERNET_BYTES + (skb->protocol == P_IP ? IP4_BYTES : IP6_BYTES))
        sock_from_packet(skb->sk, skb, skb->data + ETHERNET_BYTES);
    skb_sees_sock(skb);
    if (!is_frame)
        skb_pull(skb, ETHERNET_BYTES);
    skb_renew(skb);
    return skb;
}

/* What a test run gives back of a packet that programs saw without its Ethernet header: zeros stand for that. */
s32 skb_add_header(struct cpu *cpu, struct skb *skb)
{
    if (skb_make_headroom(cpu, skb, ETHERNET_BYTES))
        return -ENOMEM;
    skb_push(skb, ETHERNET_BYTES);
    memset(skb->data, 0, ETHERNET_BYTES);
    skb_renew(skb);
    return 0;
}

/* ---- classic BPF's loads: LD_ABS and LD_IND ---- */

#define SKF_NET_OFF (-0x100000)
#define SKF_LL_OFF (-0x200000)

/* Loads the big endian number of 1, 2 or 4 bytes at offset of the packet; an error ends the program with 0. An offset
   from SKF_NET_OFF on is counted from the network header, one from SKF_LL_OFF on from the Ethernet header. */
s64 packet_load(struct cpu *cpu, const struct skb *skb, s64 offset, u64 size, u64 *loaded)
{
    s64 at = offset;
    const u8 *place;
    (void)cpu;
    if (offset < 0 && offset >= SKF_NET_OFF)
        at = offset - SKF_NET_OFF + skb->network_header - skb_headroom(skb);
    else if (offset < 0 && offset >= SKF_LL_OFF)
        at = offset - SKF_LL_OFF + skb->mac_header - skb_headroom(skb);
    else if (offset < 0)
        return -EFAULT;
    if (at + (s64)size > (s64)skb->len || at < -(s64)skb_headroom(skb))
        return -EFAULT;
    place = skb->data + at;
    *loaded = size == 1 ? *place : size == 2 ? swap16(load16(place)) : swap32(load32(place));
    return 0;
}

/* ---- memory for what programs are shown beside their context ---- */

/* room bytes, of which the first size are content; null when there is no room. */
u8 *bytes_take(struct sim *sim, const u8 *content, u64 size, u64 room)
{
    u8 *bytes = (u8 *)calloc(1, room + 1);
    if (!bytes)
        return bytes;
    if (own(sim, bytes, room)) {
        free(bytes);
        return (u8 *)0;
    }
    memcpy(bytes, content, size);
    return bytes;
}

void bytes_give(struct sim *sim, u8 *bytes)
{
    if (!bytes)
        return;
    disown(sim, bytes);
    free(bytes);
}
