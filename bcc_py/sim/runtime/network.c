/* Where packets go: interfaces, redirects, and what a program learns of routes. */

enum { TC_ACT_SHOT = 2, TC_ACT_REDIRECT = 7, REDIRECT_INGRESS = 1, NEIGH_BYTES = 20 };

static struct interface *interface_of(struct cpu *cpu, u32 index)
{
    struct net *net = cpu->sim->net;
    u32 i;
    for (i = 0; i < net->interface_count; i++)
        if (net->interfaces[i].index == index)
            return net->interfaces + i;
    return (struct interface *)0;
}

static void redirect_to(struct cpu *cpu, u64 interface, u64 flags)
{
    cpu->redirect_map = 0;
    cpu->redirect_index = (u32)interface;
    cpu->redirect_flags = (u32)flags;
}

u64 skb_bpf_redirect(struct cpu *cpu, u64 interface, u64 flags)
{
    if (flags & ~(u64)REDIRECT_INGRESS)
        return TC_ACT_SHOT;
    redirect_to(cpu, interface, flags);
    return TC_ACT_REDIRECT;
}

u64 skb_bpf_redirect_peer(struct cpu *cpu, u64 interface, u64 flags)
{
    if (flags)
        return TC_ACT_SHOT;
    redirect_to(cpu, interface, flags);
    return TC_ACT_REDIRECT;
}

u64 skb_bpf_redirect_neigh(struct cpu *cpu, u64 interface, const u8 *next, u64 size, u64 flags)
{
    (void)next;
    if (flags || ((s32)size && (u32)size < NEIGH_BYTES))
        return TC_ACT_SHOT;
    redirect_to(cpu, interface, flags);
    return TC_ACT_REDIRECT;
}

u64 xdp_bpf_redirect(struct cpu *cpu, u64 interface, u64 flags)
{
    if (flags)
        return XDP_ABORTED;
    redirect_to(cpu, interface, flags);
    return XDP_REDIRECT;
}

/* A copy leaves by the interface at once; nobody here looks at it. */
s64 skb_bpf_clone_redirect(struct cpu *cpu, struct skb *skb, u64 interface, u64 flags)
{
    if (flags & ~(u64)REDIRECT_INGRESS)
        return -EINVAL;
    if (skb->gso_size && !skb->is_dodgy)
        return -EBADMSG;
    return interface_of(cpu, (u32)interface) ? 0 : -EINVAL;
}

/* ---- how long a packet may be ---- */

enum { MTU_OK = 0, MTU_TOO_LONG = 1, MTU_SEGMENTS = 1 };

static s64 mtu_check(const struct interface *to, u8 *length, u32 packet, s32 difference)
{
    u32 given = load32(length);
    s32 size = (s32)(given ? given + to->header_bytes : packet) + difference;
    memcpy(length, &to->mtu, 4);
    return size <= (s32)(to->mtu + to->header_bytes) ? MTU_OK : MTU_TOO_LONG;
}

s64 skb_bpf_check_mtu(struct cpu *cpu, struct skb *skb, u64 interface, u8 *length, u64 difference, u64 flags)
{
    const struct interface *to = interface_of(cpu, (u32)interface ? (u32)interface : skb->ifindex);
    u8 given[4];
    s64 result;
    if (flags & ~(u64)MTU_SEGMENTS)
        return -EINVAL;
    if (flags && ((s32)difference || load32(length)))
        return -EINVAL;
    if (!to)
        return -ENODEV;
    memcpy(given, length, 4);
    result = mtu_check(to, length, skb->len, (s32)difference);
    if (result == MTU_OK || !skb->gso_size)
        return result;
    if (!flags || skb->transport_header != NOT_SET)
        return MTU_OK;
    memcpy(length, given, 4);
    return -EINVAL;
}

s64 xdp_bpf_check_mtu(struct cpu *cpu, struct xdp *xdp, u64 interface, u8 *length, u64 difference, u64 flags)
{
    const struct interface *to = interface_of(cpu, (u32)interface ? (u32)interface : xdp->ingress_ifindex);
    if (flags)
        return -EINVAL;
    if (!to)
        return -ENODEV;
    return mtu_check(to, length, xdp_linear(xdp), (s32)difference);
}
