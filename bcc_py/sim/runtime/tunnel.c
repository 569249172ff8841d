/* Tunnels: what a program asks for the packet to be sent through, and is told of it again. */

enum { TUNNEL_IP6 = 1, TUNNEL_ZERO_CSUM = 2, TUNNEL_NO_FRAGMENT = 4, TUNNEL_SEQUENCE = 8, TUNNEL_NO_KEY = 16, TUNNEL_FLAGS = 16 };
/* struct bpf_tunnel_key and how much of it older programs know */
enum { KEY_REMOTE = 4, KEY_TOS = 20, KEY_TTL = 21, KEY_EXT = 22, KEY_LABEL = 24, KEY_LOCAL = 28, KEY_BYTES = 44, KEY_OLDEST = 8 };

static int is_tunnel_key_size(u32 size)
{
    return size == KEY_BYTES || size == KEY_LOCAL || size == KEY_LABEL || size == KEY_EXT || size == KEY_OLDEST;
}

s64 skb_bpf_skb_set_tunnel_key(struct cpu *cpu, struct skb *skb, const u8 *from, u64 size, u64 flags)
{
    u8 key[KEY_BYTES];
    (void)cpu;
    if ((flags & ~(u64)(TUNNEL_IP6 | TUNNEL_ZERO_CSUM | TUNNEL_NO_FRAGMENT | TUNNEL_SEQUENCE | TUNNEL_NO_KEY))
        || !is_tunnel_key_size((u32)size))
        return -EINVAL;
    memset(key, 0, KEY_BYTES);
    memcpy(key, from, (u32)size);
    if ((!(flags & TUNNEL_IP6) && load32(key + KEY_LABEL)) || load16(key + KEY_EXT))
        return -EINVAL;
    memcpy(skb->tunnel, key, KEY_BYTES);
    skb->tunnel_flags = (u8)flags;
    skb->tunnel_option_bytes = 0;
    skb->has_tunnel = 1;
    return 0;
}

/* The flags as the header of a tunnel has them: checksum, key, sequence, do not fragment, not cached, any option. */
static u16 tunnel_wire_flags(const struct skb *skb)
{
    u32 flags = 0;
    if (!(skb->tunnel_flags & TUNNEL_ZERO_CSUM))
        flags |= 0x0001;
    if (!(skb->tunnel_flags & TUNNEL_NO_KEY))
        flags |= 0x0004;
    if (skb->tunnel_flags & TUNNEL_SEQUENCE)
        flags |= 0x0008;
    if (skb->tunnel_flags & TUNNEL_NO_FRAGMENT)
        flags |= 0x0100;
    if (skb->tunnel_option_bytes)
        flags |= 0xd800;
    return swap16((u16)(flags | 0x2000));
}

/* The key as whoever receives from the tunnel sees it: where it is sent to is local there, its sender remote. */
static void tunnel_key(const struct skb *skb, u8 *key, u64 flags)
{
    u32 size = skb->tunnel_flags & TUNNEL_IP6 ? 16 : 4;
    memset(key + KEY_REMOTE, 0, KEY_BYTES - KEY_REMOTE);
    memcpy(key, skb->tunnel, 4);
    memcpy(key + KEY_REMOTE, skb->tunnel + KEY_LOCAL, size);
    memcpy(key + KEY_LOCAL, skb->tunnel + KEY_REMOTE, size);
    key[KEY_TOS] = skb->tunnel[KEY_TOS];
    key[KEY_TTL] = skb->tunnel[KEY_TTL];
    if (flags & TUNNEL_FLAGS)
        store16(key + KEY_EXT, tunnel_wire_flags(skb));
    if (skb->tunnel_flags & TUNNEL_IP6) {
        u32 label = load32(skb->tunnel + KEY_LABEL) & 0xfffff;
        memcpy(key + KEY_LABEL, &label, 4);
    }
}

static s64 tunnel_error(const struct skb *skb, u32 size, u64 flags)
{
    if (!skb->has_tunnel || (flags & ~(u64)(TUNNEL_IP6 | TUNNEL_FLAGS)))
        return -EINVAL;
    if ((skb->tunnel_flags & TUNNEL_IP6) != (flags & TUNNEL_IP6))
        return -EPROTO;
    if (!is_tunnel_key_size(size) || (size == KEY_OLDEST && (flags & TUNNEL_IP6)))
        return -EINVAL;
    return 0;
}

s64 skb_bpf_skb_get_tunnel_key(struct cpu *cpu, struct skb *skb, u8 *to, u64 size, u64 flags)
{
    u8 key[KEY_BYTES];
    s64 error = tunnel_error(skb, (u32)size, flags);
    (void)cpu;
    if (error) {
        memset(to, 0, (u32)size);
        return error;
    }
    tunnel_key(skb, key, flags);
    memcpy(to, key, (u32)size);
    return 0;
}

s64 skb_bpf_skb_set_tunnel_opt(struct cpu *cpu, struct skb *skb, const u8 *from, u64 size)
{
    (void)cpu;
    if (!skb->has_tunnel || ((u32)size & 3))
        return -EINVAL;
    if ((u32)size > TUNNEL_OPTION_BYTES)
        return -ENOMEM;
    memcpy(skb->tunnel_option, from, (u32)size);
    skb->tunnel_option_bytes = (u8)size;
    return 0;
}

s64 skb_bpf_skb_get_tunnel_opt(struct cpu *cpu, struct skb *skb, u8 *to, u64 size)
{
    u32 have = skb->tunnel_option_bytes;
    (void)cpu;
    memset(to, 0, (u32)size);
    if (!skb->has_tunnel || !have)
        return -ENOENT;
    if ((u32)size < have)
        return -ENOMEM;
    memcpy(to, skb->tunnel_option, have);
    return have;
}

/* Nothing here is encrypted. */
s64 skb_bpf_skb_get_xfrm_state(struct cpu *cpu, struct skb *skb, u64 index, u8 *to, u64 size, u64 flags)
{
    (void)cpu;
    (void)skb;
    (void)index;
    (void)flags;
    memset(to, 0, (u32)size);
    return -EINVAL;
}
