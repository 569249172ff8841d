/* bpf_fib_lookup: struct bpf_fib_lookup goes in with a packet's addresses and comes out with its next hop.

   The routes are those of the interfaces: each one's own network, and the default route by the interface that has a
   gateway. An interface that does not forward (they do not, until they are told to) says so. */

enum { FIB_DIRECT = 1, FIB_OUTPUT = 2, FIB_SKIP_NEIGH = 4, FIB_TBID = 8, FIB_SRC = 16, FIB_MARK = 32, FIB_FLAGS = 63 };
enum { FIB_OK = 0, FIB_NOT_FORWARDED = 4, FIB_FORWARDING_OFF = 5, FIB_NO_NEIGHBOUR = 7, FIB_TOO_LONG = 8 };
/* struct bpf_fib_lookup */
enum { FIB_FAMILY = 0, FIB_LENGTH = 6, FIB_IFINDEX = 8, FIB_METRIC = 12, FIB_FROM = 16, FIB_TO = 32, FIB_VLAN = 48, FIB_SMAC = 52,
       FIB_DMAC = 58, FIB_BYTES = 64 };

static const struct interface *route_of(struct net *net, u32 target)
{
    const struct interface *way = (const struct interface *)0;
    u32 i;
    for (i = 0; i < net->interface_count; i++) {
        const struct interface *one = net->interfaces + i;
        u32 broadcast = one->ip4 | ~one->mask4;
        if (target == one->ip4 || target == broadcast || (target & 0xff) == 127)
            return (const struct interface *)0;
        if (!((target ^ one->ip4) & one->mask4))
            return one;
        if (one->gateway4)
            way = one;
    }
    return way;
}

static const u8 *neighbour_of(struct net *net, u32 interface, u32 target)
{
    u32 i;
    for (i = 0; i < net->neighbour_count; i++)
        if (net->neighbours[i].interface == interface && net->neighbours[i].ip4 == target)
            return net->neighbours[i].address;
    return (const u8 *)0;
}

/* length: the packet's, where the caller gave none and it is to be checked; 0: not. */
static s64 fib_lookup4(struct cpu *cpu, u8 *fib, u32 flags, u32 length)
{
    struct net *net = cpu->sim->net;
    u32 target = load32(fib + FIB_TO);
    const struct interface *way = route_of(net, target);
    const u8 *neighbour;
    u32 metric = 0;
    if (!way)
        return FIB_NOT_FORWARDED;
    if (load16(fib + FIB_LENGTH) > way->mtu) {
        store16(fib + FIB_LENGTH, (u16)way->mtu);
        return FIB_TOO_LONG;
    }
    memcpy(fib + FIB_METRIC, &metric, 4);
    memcpy(fib + FIB_IFINDEX, &way->index, 4);
    if (flags & FIB_SRC)
        memcpy(fib + FIB_FROM, &way->ip4, 4);
    if ((target ^ way->ip4) & way->mask4) {
        target = way->gateway4;
        memcpy(fib + FIB_TO, &target, 4);
    }
    if (!(flags & FIB_SKIP_NEIGH)) {
        neighbour = neighbour_of(net, way->index, target);
        if (!neighbour)
            return FIB_NO_NEIGHBOUR;
        memcpy(fib + FIB_DMAC, neighbour, 6);
        memcpy(fib + FIB_SMAC, way->address, 6);
    }
    memset(fib + FIB_VLAN, 0, 4);
    store16(fib + FIB_LENGTH, (u16)way->mtu);
    return length > way->mtu + way->header_bytes ? FIB_TOO_LONG : FIB_OK;
}

static s64 fib_lookup(struct cpu *cpu, u8 *fib, u64 size, u64 flags, u32 length)
{
    const struct interface *in;
    if ((s32)size < FIB_BYTES || ((u32)flags & ~(u32)FIB_FLAGS))
        return -EINVAL;
    if (fib[FIB_FAMILY] != AF_INET && fib[FIB_FAMILY] != AF_INET6)
        return -EAFNOSUPPORT;
    in = interface_of(cpu, load32(fib + FIB_IFINDEX));
    if (!in)
        return -ENODEV;
    if (!in->is_forwarding)
        return FIB_FORWARDING_OFF;
    return fib[FIB_FAMILY] == AF_INET ? fib_lookup4(cpu, fib, (u32)flags, length) : FIB_NOT_FORWARDED;
}

s64 skb_bpf_fib_lookup(struct cpu *cpu, struct skb *skb, u8 *fib, u64 size, u64 flags)
{
    u32 length = (s32)size >= FIB_BYTES && load16(fib + FIB_LENGTH) ? 0 : skb->len;
    return fib_lookup(cpu, fib, size, flags, length);
}

s64 xdp_bpf_fib_lookup(struct cpu *cpu, struct xdp *xdp, u8 *fib, u64 size, u64 flags)
{
    (void)xdp;
    return fib_lookup(cpu, fib, size, flags, 0);
}
