/* Sockets: their life, the table that look-ups find them in, and what helpers tell of one.

   A program holds a struct sock itself: it begins with struct bpf_sock. Whoever holds one counts in references; who
   takes the last one away frees it. The table's own reference lasts from sock_list to sock_unlist. */

enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17 };
enum { TCP_ESTABLISHED = 1, TCP_TIME_WAIT = 6, TCP_CLOSE = 7, TCP_LISTEN = 10, TCP_NEW_SYN_RECV = 12 };
enum { TUPLE4_BYTES = 12, TUPLE6_BYTES = 36, OVERFLOW_UID = 65534 };
enum { SK_DROP = 0, SK_PASS = 1 };

/* The loopback and one Ethernet, as a machine has them behind a router: 10.0.2.15/24 with 10.0.2.2 as its gateway. */
static void net_connect(struct net *net)
{
    static const u8 own[6] = {0x02, 0, 0, 0, 0x02, 0x0f};
    static const u8 router[6] = {0x02, 0, 0, 0, 0x02, 0x02};
    struct interface *lo = net->interfaces;
    struct interface *ethernet = net->interfaces + 1;
    net->interface_count = 2;
    lo->index = 1;
    lo->mtu = 65536;
    lo->header_bytes = 14;
    lo->queues = 1;
    lo->ip4 = 0x0100007f;
    lo->mask4 = 0x000000ff;
    *ethernet = *lo;
    ethernet->index = 2;
    ethernet->mtu = 1500;
    ethernet->ip4 = 0x0f02000a;
    ethernet->mask4 = 0x00ffffff;
    ethernet->gateway4 = 0x0202000a;
    memcpy(ethernet->address, own, 6);
    net->neighbour_count = 1;
    net->neighbours[0].interface = 2;
    net->neighbours[0].ip4 = ethernet->gateway4;
    memcpy(net->neighbours[0].address, router, 6);
}

static struct net *net_new(void)
{
    struct net *net = (struct net *)calloc(1, sizeof(struct net));
    if (net) {
        net->netns_cookie = 1;
        net_connect(net);
    }
    return net;
}

static void net_free(struct net *net)
{
    u32 i;
    for (i = 0; net && i < SOCKET_BUCKETS; i++) {
        struct sock *sk = net->buckets[i];
        while (sk) {
            struct sock *next = sk->next;
            free(sk);
            sk = next;
        }
    }
    free(net);
}

/* A socket that only the caller holds: closed, bound to nothing. Null when there is no room. */
struct sock *sock_new(struct sim *sim)
{
    struct sock *sk = (struct sock *)calloc(1, sizeof(struct sock));
    if (!sk || own(sim, sk, sizeof(struct sock))) {
        free(sk);
        return (struct sock *)0;
    }
    sk->references = 1;
    sk->state = TCP_CLOSE;
    sk->rx_queue = -1;
    sk->netns_cookie = sim->net->netns_cookie;
    __atomic_fetch_add(&sim->net->live, 1, RELAXED);
    return sk;
}

static void sock_hold(struct sock *sk)
{
    __atomic_fetch_add(&sk->references, 1, RELAXED);
}

void sock_put(struct sim *sim, struct sock *sk)
{
    if (__atomic_fetch_sub(&sk->references, 1, ORDERED) != 1)
        return;
    if (sk->listener)
        sock_put(sim, sk->listener);
    __atomic_fetch_sub(&sim->net->live, 1, RELAXED);
    disown(sim, sk);
    bury(sim, sk, 0);
}

static struct sock **sock_bucket(struct net *net, u32 port)
{
    return net->buckets + port % SOCKET_BUCKETS;
}

/* Look-ups find it from now on, by its local port as it is now. */
void sock_list(struct sim *sim, struct sock *sk)
{
    lock_take(&sim->net->lock);
    if (!sk->is_listed) {
        struct sock **bucket = sock_bucket(sim->net, sk->source_port);
        sock_hold(sk);
        sk->is_listed = 1;
        sk->bucket = sk->source_port;
        sk->next = *bucket;
        *bucket = sk;
    }
    lock_give(&sim->net->lock);
}

void sock_unlist(struct sim *sim, struct sock *sk)
{
    struct sock **at;
    int was_listed;
    lock_take(&sim->net->lock);
    was_listed = sk->is_listed != 0;
    if (was_listed) {
        at = sock_bucket(sim->net, sk->bucket);
        while (*at != sk)
            at = &(*at)->next;
        *at = sk->next;
        sk->is_listed = 0;
    }
    lock_give(&sim->net->lock);
    if (was_listed)
        sock_put(sim, sk);
}

/* The port of a socket that may be in the table. */
static void sock_move(struct sim *sim, struct sock *sk, u32 port)
{
    int was_listed;
    sock_hold(sk);
    was_listed = sk->is_listed != 0;
    if (was_listed)
        sock_unlist(sim, sk);
    sk->source_port = port;
    if (was_listed)
        sock_list(sim, sk);
    sock_put(sim, sk);
}

static int is_full_sock(const struct sock *sk)
{
    return sk->state != TCP_TIME_WAIT && sk->state != TCP_NEW_SYN_RECV;
}

/* ---- looking up ---- */

/* Who a packet is from and for: ports and addresses as they lie in it. */
struct endpoints {
    u32 family;
    u32 protocol;
    u32 interface;
    u8 source[16];
    u8 target[16];
    u16 source_port;
    u16 target_port;
};

static int is_zero(const u8 *bytes, u32 size)
{
    u32 i;
    for (i = 0; i < size; i++)
        if (bytes[i])
            return 0;
    return 1;
}

/* Does the socket's address (any: all zeros) take this one? 0: no, 1: as any, 2: as itself. */
static u32 address_score(const struct sock *sk, const u8 *own, const u8 *wanted, u32 family)
{
    u32 size = family == AF_INET ? 4 : 16;
    if (is_zero(own, sk->family == AF_INET ? 4 : 16))
        return 1;
    return sk->family == family && !memcmp(own, wanted, size) ? 2 : 0;
}

static const u8 *sock_source(const struct sock *sk)
{
    return sk->family == AF_INET6 ? (const u8 *)sk->source_ip6 : (const u8 *)&sk->source_ip4;
}

static const u8 *sock_target(const struct sock *sk)
{
    return sk->family == AF_INET6 ? (const u8 *)sk->target_ip6 : (const u8 *)&sk->target_ip4;
}

/* How well the socket fits: 0 not at all; a connected one beats any other. */
static u32 sock_score(const struct sock *sk, const struct endpoints *wanted)
{
    u32 local;
    u32 remote = 0;
    if (sk->protocol != wanted->protocol || sk->source_port != swap16(wanted->target_port))
        return 0;
    if (sk->family != wanted->family && (sk->family != AF_INET6 || sk->is_ip6_only))
        return 0;
    if (sk->bound_dev_if && sk->bound_dev_if != wanted->interface)
        return 0;
    if (sk->protocol == IPPROTO_TCP && sk->state == TCP_CLOSE)
        return 0;
    local = address_score(sk, sock_source(sk), wanted->target, wanted->family);
    if (!local)
        return 0;
    if (sk->target_port) {
        if (sk->target_port != wanted->source_port)
            return 0;
        remote = address_score(sk, sock_target(sk), wanted->source, wanted->family);
        if (remote != 2)
            return 0;
    }
    return 1 + (sk->bound_dev_if != 0) + 2 * (local == 2) + 4 * (sk->family == wanted->family) + 8 * remote;
}

/* The socket that a packet is for, with a reference, or null. */
static struct sock *sock_find(struct net *net, const struct endpoints *wanted)
{
    struct sock *best = (struct sock *)0;
    struct sock *sk;
    u32 best_score = 0;
    lock_take(&net->lock);
    for (sk = *sock_bucket(net, swap16(wanted->target_port)); sk; sk = sk->next) {
        u32 score = sock_score(sk, wanted);
        if (score > best_score) {
            best = sk;
            best_score = score;
        }
    }
    if (best)
        sock_hold(best);
    lock_give(&net->lock);
    return best;
}

/* struct bpf_sock_tuple: both addresses, then both ports. There is one name space, of which -1 and 0 to 2^31-1 may be asked;
   a name space by number is none of the sim's. */
static struct sock *sock_of_tuple(struct cpu *cpu, u32 interface, const u8 *tuple, u32 size, u32 protocol, u64 netns, u64 flags)
{
    struct endpoints wanted;
    u32 width = size == TUPLE4_BYTES ? 4 : 16;
    if ((size != TUPLE4_BYTES && size != TUPLE6_BYTES) || flags || (s32)netns >= 0)
        return (struct sock *)0;
    memset(&wanted, 0, sizeof(struct endpoints));
    wanted.family = width == 4 ? AF_INET : AF_INET6;
    wanted.protocol = protocol;
    wanted.interface = interface;
    memcpy(wanted.source, tuple, width);
    memcpy(wanted.target, tuple + width, width);
    memcpy(&wanted.source_port, tuple + 2 * width, 2);
    memcpy(&wanted.target_port, tuple + 2 * width + 2, 2);
    return sock_find(cpu->sim->net, &wanted);
}

/* The same, but a request counts as its listener, and what is about to be forgotten as nobody. */
static struct sock *full_sock_of_tuple(struct cpu *cpu, u32 interface, const u8 *tuple, u32 size, u32 protocol, u64 netns, u64 flags)
{
    struct sock *sk = sock_of_tuple(cpu, interface, tuple, size, protocol, netns, flags);
    struct sock *full = sk;
    if (!sk || is_full_sock(sk))
        return sk;
    full = sk->state == TCP_NEW_SYN_RECV ? sk->listener : (struct sock *)0;
    if (full)
        sock_hold(full);
    sock_put(cpu->sim, sk);
    return full;
}

struct sock *skb_bpf_skc_lookup_tcp(struct cpu *cpu, const struct skb *skb, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    return sock_of_tuple(cpu, skb->ifindex, tuple, (u32)size, IPPROTO_TCP, netns, flags);
}

struct sock *skb_bpf_sk_lookup_tcp(struct cpu *cpu, const struct skb *skb, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    return full_sock_of_tuple(cpu, skb->ifindex, tuple, (u32)size, IPPROTO_TCP, netns, flags);
}

struct sock *skb_bpf_sk_lookup_udp(struct cpu *cpu, const struct skb *skb, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    return full_sock_of_tuple(cpu, skb->ifindex, tuple, (u32)size, IPPROTO_UDP, netns, flags);
}

struct sock *xdp_bpf_skc_lookup_tcp(struct cpu *cpu, const struct xdp *xdp, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    return sock_of_tuple(cpu, xdp->ingress_ifindex, tuple, (u32)size, IPPROTO_TCP, netns, flags);
}

struct sock *xdp_bpf_sk_lookup_tcp(struct cpu *cpu, const struct xdp *xdp, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    return full_sock_of_tuple(cpu, xdp->ingress_ifindex, tuple, (u32)size, IPPROTO_TCP, netns, flags);
}

struct sock *xdp_bpf_sk_lookup_udp(struct cpu *cpu, const struct xdp *xdp, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    return full_sock_of_tuple(cpu, xdp->ingress_ifindex, tuple, (u32)size, IPPROTO_UDP, netns, flags);
}

/* from hooks of sockets, where no interface is meant */
struct sock *addr_bpf_skc_lookup_tcp(struct cpu *cpu, void *context, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    (void)context;
    return sock_of_tuple(cpu, 0, tuple, (u32)size, IPPROTO_TCP, netns, flags);
}

struct sock *addr_bpf_sk_lookup_tcp(struct cpu *cpu, void *context, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    (void)context;
    return full_sock_of_tuple(cpu, 0, tuple, (u32)size, IPPROTO_TCP, netns, flags);
}

struct sock *addr_bpf_sk_lookup_udp(struct cpu *cpu, void *context, const u8 *tuple, u64 size, u64 netns, u64 flags)
{
    (void)context;
    return full_sock_of_tuple(cpu, 0, tuple, (u32)size, IPPROTO_UDP, netns, flags);
}

/* ---- one socket ---- */

s64 bpf_sk_release(struct cpu *cpu, struct sock *sk)
{
    if (sk)
        sock_put(cpu->sim, sk);
    return 0;
}

struct sock *bpf_sk_fullsock(struct cpu *cpu, struct sock *sk)
{
    (void)cpu;
    return sk && is_full_sock(sk) ? sk : (struct sock *)0;
}

u8 *bpf_tcp_sock(struct cpu *cpu, struct sock *sk)
{
    (void)cpu;
    if (sk && sk->state == TCP_NEW_SYN_RECV)
        sk = sk->listener;
    return sk && is_full_sock(sk) && sk->protocol == IPPROTO_TCP ? sk->tcp : (u8 *)0;
}

struct sock *bpf_get_listener_sock(struct cpu *cpu, struct sock *sk)
{
    (void)cpu;
    if (sk && sk->state == TCP_NEW_SYN_RECV)
        sk = sk->listener;
    return sk && sk->state == TCP_LISTEN ? sk : (struct sock *)0;
}

u64 bpf_sk_cgroup_id(struct cpu *cpu, struct sock *sk)
{
    (void)cpu;
    return sk && is_full_sock(sk) ? sk->cgroup_id : 0;
}

/* There is one cgroup below the root. */
u64 bpf_sk_ancestor_cgroup_id(struct cpu *cpu, struct sock *sk, u64 level)
{
    (void)cpu;
    if (!sk || !is_full_sock(sk))
        return 0;
    return (u32)level == 0 ? 1 : (u32)level == 1 ? sk->cgroup_id : 0;
}

static u64 cookie_of(struct net *net, struct sock *sk)
{
    u64 none = 0;
    u64 cookie = __atomic_load_n(&sk->cookie, RELAXED);
    if (cookie)
        return cookie;
    cookie = __atomic_add_fetch(&net->last_cookie, 1, RELAXED);
    if (__atomic_compare_exchange_n(&sk->cookie, &none, cookie, 0, RELAXED, RELAXED))
        return cookie;
    return none;
}

static u64 sock_cookie(struct cpu *cpu, struct sock *sk)
{
    return sk ? cookie_of(cpu->sim->net, sk) : 0;
}

/* Is this native address a socket's of the table? */
static int is_listed_sock(struct net *net, u64 address)
{
    const struct sock *sk = (const struct sock *)0;
    u32 i;
    lock_take(&net->lock);
    for (i = 0; i < SOCKET_BUCKETS && (u64)sk != address; i++)
        for (sk = net->buckets[i]; sk && (u64)sk != address; sk = sk->next)
            ;
    lock_give(&net->lock);
    return sk != (const struct sock *)0;
}

/* Of tracing programs: a socket of the table, or a struct sock in the simulated kernel's memory, which keeps its cookie. */
u64 bpf_get_socket_cookie(struct cpu *cpu, u64 sk)
{
    u64 room = 0;
    u64 none = 0;
    u64 cookie;
    u64 *place;
    if (!sk)
        return 0;
    if (is_listed_sock(cpu->sim->net, sk))
        return sock_cookie(cpu, (struct sock *)sk);
    if (sk < cpu->sim->kernel_start)
        return 0;
    place = (u64 *)in_kernel(cpu, sk + cpu->sim->layout.sock_common__skc_cookie__counter, &room);
    if (!place || room < 8)
        return 0;
    cookie = __atomic_load_n(place, RELAXED);
    if (cookie)
        return cookie;
    cookie = __atomic_add_fetch(&cpu->sim->net->last_cookie, 1, RELAXED);
    return __atomic_compare_exchange_n(place, &none, cookie, 0, RELAXED, RELAXED) ? cookie : none;
}

/* ---- the socket that a packet belongs to ---- */

static void skb_sees_sock(struct skb *skb)
{
    const struct sock *sk = skb->sk;
    skb->family = sk->family;
    skb->remote_ip4 = sk->target_ip4;
    skb->local_ip4 = sk->source_ip4;
    memcpy(skb->remote_ip6, sk->target_ip6, 16);
    memcpy(skb->local_ip6, sk->source_ip6, 16);
    skb->remote_port = (u32)sk->target_port << 16;
    skb->local_port = sk->source_port;
}

u64 skb_bpf_get_socket_cookie(struct cpu *cpu, struct skb *skb)
{
    return sock_cookie(cpu, skb->sk);
}

u64 skb_bpf_get_socket_uid(struct cpu *cpu, struct skb *skb)
{
    (void)cpu;
    return skb->sk && is_full_sock(skb->sk) ? skb->sk->uid : OVERFLOW_UID;
}

u64 skb_bpf_get_netns_cookie(struct cpu *cpu, struct skb *skb)
{
    (void)skb;
    return cpu->sim->net->netns_cookie;
}

u64 skb_bpf_skb_cgroup_id(struct cpu *cpu, struct skb *skb)
{
    return bpf_sk_cgroup_id(cpu, skb->sk);
}

u64 skb_bpf_skb_ancestor_cgroup_id(struct cpu *cpu, struct skb *skb, u64 level)
{
    return bpf_sk_ancestor_cgroup_id(cpu, skb->sk, level);
}

/* Is the packet's socket in the control group at this index, or below it? */
s64 skb_bpf_skb_under_cgroup(struct cpu *cpu, struct skb *skb, struct map *map, u64 key)
{
    u64 group;
    (void)cpu;
    if (!skb->sk || !is_full_sock(skb->sk))
        return -ENOENT;
    if ((u32)key >= map->max_entries)
        return -E2BIG;
    group = __atomic_load_n(&((struct object *)map->slots + (u32)key)->pointer, ACQUIRE);
    if (!group)
        return -EAGAIN;
    return group == ROOT_CGROUP || group == skb->sk->cgroup_id;
}

u64 skb_bpf_get_cgroup_classid(struct cpu *cpu, struct skb *skb)
{
    (void)cpu;
    return skb->sk ? skb->sk->class_id : 0;
}

u64 skb_bpf_skb_cgroup_classid(struct cpu *cpu, struct skb *skb)
{
    return skb_bpf_get_cgroup_classid(cpu, skb);
}

/* No route here belongs to a realm. */
u64 skb_bpf_get_route_realm(struct cpu *cpu, struct skb *skb)
{
    (void)cpu;
    (void)skb;
    return 0;
}

/* To whom the stack is to give the packet: only where it has not yet been decided. */
s64 skb_bpf_sk_assign(struct cpu *cpu, struct skb *skb, struct sock *sk, u64 flags)
{
    if (!sk || flags)
        return -EINVAL;
    if (!skb->is_ingress)
        return -EOPNOTSUPP;
    if (!sk->is_listed)
        return -EOPNOTSUPP;
    sock_hold(sk);
    if (skb->sk)
        sock_put(cpu->sim, skb->sk);
    skb->sk = sk;
    skb_sees_sock(skb);
    return 0;
}

/* ---- choosing the socket for a packet: SK_LOOKUP programs ---- */

enum { LOOKUP_REPLACE = 1, LOOKUP_ALONE = 2 };

static s64 lookup_fits(const struct lookup *lookup, const struct sock *sk)
{
    if (sk->protocol == IPPROTO_TCP && sk->state != TCP_LISTEN)
        return -ESOCKTNOSUPPORT;
    if (sk->protocol == IPPROTO_UDP && sk->state != TCP_CLOSE)
        return -ESOCKTNOSUPPORT;
    if (sk->protocol != lookup->protocol)
        return -EPROTOTYPE;
    return sk->family != lookup->family && (sk->family == AF_INET || sk->is_ip6_only) ? -EAFNOSUPPORT : 0;
}

/* The chosen socket stays in the table for as long as the program runs: whoever runs it holds it from there. */
s64 lookup_bpf_sk_assign(struct cpu *cpu, struct lookup *lookup, struct sock *sk, u64 flags)
{
    s64 error;
    (void)cpu;
    if (flags & ~(u64)(LOOKUP_REPLACE | LOOKUP_ALONE))
        return -EINVAL;
    error = sk ? lookup_fits(lookup, sk) : 0;
    if (error)
        return error;
    if (lookup->sk && !(flags & LOOKUP_REPLACE))
        return -EEXIST;
    lookup->sk = sk;
    lookup->is_alone = (flags & LOOKUP_ALONE) != 0;
    return 0;
}
