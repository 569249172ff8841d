/* Maps of sockets: sockmaps, sockhashes, arrays of SO_REUSEPORT sockets and of AF_XDP sockets.

   A slot holds no reference. A socket that ends leaves all these maps first (sockets_leave), and its memory lasts as long as
   a program runs that may have found it there. The lock of the net guards every change, so a hash's nodes always come from
   the pool of callers outside programs.

   As Linux keeps one word of a socket for both, a socket is in sockmaps and sockhashes or in one reuseport array.

   Source: net/core/sock_map.c, kernel/bpf/reuseport_array.c, net/xdp/xskmap.c, net/core/filter.c (sk_select_reuseport). */

enum { AF_UNIX = 1, AF_XDP = 44, SOCK_STREAM = 1, SOCK_DGRAM = 2, EBADFD = 77, TO_INGRESS = 1 };
enum { OPS_ACTIVE_ESTABLISHED = 4, OPS_PASSIVE_ESTABLISHED = 5, OPS_LISTEN = 11 };

static int is_inet(const struct sock *sk)
{
    return sk->family == AF_INET || sk->family == AF_INET6;
}

static int is_tcp(const struct sock *sk)
{
    return is_inet(sk) && sk->protocol == IPPROTO_TCP;
}

static int is_udp(const struct sock *sk)
{
    return is_inet(sk) && sk->protocol == IPPROTO_UDP;
}

/* Do packets find it by its own address? A listener or a bound UDP socket. */
static int is_bound(const struct sock *sk)
{
    return is_tcp(sk) ? sk->state == TCP_LISTEN : is_udp(sk) && sk->source_port != 0;
}

static int is_redirectable_kind(const struct sock *sk)
{
    return is_tcp(sk) || is_udp(sk) || sk->family == AF_UNIX;
}

static int has_mapped_state(const struct sock *sk)
{
    if (is_tcp(sk))
        return sk->state == TCP_ESTABLISHED || sk->state == TCP_LISTEN;
    if (is_udp(sk))
        return sk->source_port != 0;
    return sk->type != SOCK_STREAM || sk->state == TCP_ESTABLISHED;
}

/* ---- changes, under the net's lock ---- */

static void sock_entered(const struct map *map, struct sock *sk)
{
    if (map->type == MAP_REUSEPORT_SOCKARRAY)
        sk->is_in_array = 1;
    else
        sk->map_slots++;
}

static void sock_left(const struct map *map, struct sock *sk)
{
    if (map->type == MAP_REUSEPORT_SOCKARRAY)
        sk->is_in_array = 0;
    else
        sk->map_slots--;
}

static struct sock *sock_in(struct object *place)
{
    return place ? (struct sock *)__atomic_load_n(&place->pointer, ACQUIRE) : (struct sock *)0;
}

/* The socket goes where key says, in place of who is there. */
static s32 slot_fill(struct map *map, const u8 *key, struct sock *sk, u64 flags)
{
    struct object *place = object_find(map, key);
    struct sock *old = sock_in(place);
    struct object object;
    s32 error;
    object.pointer = (u64)sk;
    object.shown = cookie_of(map->sim->net, sk);
    if (map->type == MAP_SOCKHASH) {
        error = hash_update(map, map->sim->cpus, key, (const u8 *)&object, flags, 0);
        if (error)
            return error;
    } else {
        place->shown = object.shown;
        __atomic_store_n(&place->pointer, object.pointer, RELEASE);
    }
    sock_entered(map, sk);
    if (old)
        sock_left(map, old);
    return 0;
}

static s32 slot_existence(struct map *map, const u8 *key, u64 flags)
{
    struct sock *old = sock_in(object_find(map, key));
    if (old && flags == BPF_NOEXIST)
        return -EEXIST;
    return !old && flags == BPF_EXIST ? -ENOENT : 0;
}

static s32 slot_link(struct map *map, const u8 *key, struct sock *sk, u64 flags)
{
    s32 error;
    if (flags > BPF_EXIST)
        return -EINVAL;
    if (map->type == MAP_SOCKMAP && index_of(key) >= map->max_entries)
        return -E2BIG;
    if (sk->is_in_array)
        return -EBUSY;
    error = slot_existence(map, key, flags);
    return error ? error : slot_fill(map, key, sk, flags);
}

static s32 put_reuseport(struct map *map, const u8 *key, struct sock *sk, u64 flags)
{
    s32 error = slot_existence(map, key, flags);
    if (error)
        return error;
    if ((!is_tcp(sk) && !is_udp(sk)) || (sk->type != SOCK_STREAM && sk->type != SOCK_DGRAM))
        return -ENOTSUPP;
    if (!sk->is_reuseport || !is_bound(sk))
        return -EINVAL;
    return sk->is_in_array || sk->map_slots ? -EBUSY : slot_fill(map, key, sk, flags);
}

static s32 put_xdp(struct map *map, const u8 *key, struct sock *sk, u64 flags)
{
    s32 error;
    if (sk->family != AF_XDP)
        return -EOPNOTSUPP;
    if (sock_in(object_find(map, key)) == sk)
        return 0;
    error = slot_existence(map, key, flags);
    return error ? error : slot_fill(map, key, sk, flags);
}

static s32 put_socket(struct map *map, const u8 *key, struct sock *sk, u64 flags)
{
    if (map->type == MAP_SOCKMAP || map->type == MAP_SOCKHASH) {
        if (!is_full_sock(sk))
            return -EINVAL;
        return is_redirectable_kind(sk) && has_mapped_state(sk) ? slot_link(map, key, sk, flags) : -EOPNOTSUPP;
    }
    if (flags > BPF_EXIST)
        return -EINVAL;
    if (index_of(key) >= map->max_entries)
        return -E2BIG;
    return map->type == MAP_XSKMAP ? put_xdp(map, key, sk, flags) : put_reuseport(map, key, sk, flags);
}

/* Puts a socket where key says. One that is being closed is in no map any more, and stays so. A struct sock of the simulated
   kernel's memory, which an iterator may have, is no socket of ours. */
s32 sock_map_put(struct map *map, const u8 *key, struct sock *sk, u64 flags)
{
    s32 error = -EINVAL;
    if (!sk || (u64)sk >= map->sim->kernel_start)
        return error;
    lock_take(&map->sim->net->lock);
    error = sk->is_listed ? put_socket(map, key, sk, flags) : -EOPNOTSUPP;
    lock_give(&map->sim->net->lock);
    return error;
}

static s32 take_socket(struct map *map, const u8 *key)
{
    struct object *place = object_find(map, key);
    struct sock *sk = sock_in(place);
    if (!sk) {
        if (map->type == MAP_SOCKHASH || (place && map->type == MAP_REUSEPORT_SOCKARRAY))
            return -ENOENT;
        return map->type == MAP_REUSEPORT_SOCKARRAY ? -E2BIG : place && map->type == MAP_XSKMAP ? 0 : -EINVAL;
    }
    sock_left(map, sk);
    if (map->type == MAP_SOCKHASH)
        return hash_delete(map, map->sim->cpus, key, (u8 *)0, 0);
    __atomic_store_n(&place->pointer, 0, RELEASE);
    return 0;
}

s32 sock_map_take(struct map *map, const u8 *key)
{
    s32 error;
    lock_take(&map->sim->net->lock);
    error = take_socket(map, key);
    lock_give(&map->sim->net->lock);
    return error;
}

/* What key's socket is shown as; -ENOENT where there is none. */
s32 sock_map_read(struct map *map, const u8 *key, u8 *value, u32 size)
{
    struct object *place;
    s32 error = -ENOENT;
    lock_take(&map->sim->net->lock);
    place = object_find(map, key);
    if (sock_in(place)) {
        memcpy(value, &place->shown, size);
        error = 0;
    }
    lock_give(&map->sim->net->lock);
    return error;
}

/* ---- the end of a socket, and of a map ---- */

static void array_leave(struct map *map, struct sock *sk)
{
    u32 i;
    for (i = 0; i < map->max_entries; i++) {
        struct object *place = (struct object *)map->slots + i;
        struct sock *found = sock_in(place);
        if (!found || (sk && found != sk))
            continue;
        sock_left(map, found);
        __atomic_store_n(&place->pointer, 0, RELEASE);
    }
}

static void hash_leave(struct map *map, struct sock *sk)
{
    u32 number;
    for (number = 0; number <= map->bucket_mask; number++) {
        u64 link = __atomic_load_n(&map->buckets[number].first, ACQUIRE);
        while (is_node(link)) {
            struct node *node = (struct node *)link;
            struct sock *found = sock_in((struct object *)node_value(map, node));
            link = __atomic_load_n(&node->next, ACQUIRE);
            if (sk && found != sk)
                continue;
            sock_left(map, found);
            hash_delete(map, map->sim->cpus, hot_key(node), (u8 *)0, 0);
            /* the node's link is now the pool's: once more from the front */
            link = __atomic_load_n(&map->buckets[number].first, ACQUIRE);
        }
    }
}

/* sk, or where that is null every socket, leaves the map. */
static void map_leave(struct map *map, struct sock *sk)
{
    if (map->type == MAP_SOCKHASH)
        hash_leave(map, sk);
    else
        array_leave(map, sk);
}

/* The socket is in no map any more. It has left the table of sockets before, so no program puts it back. */
void sockets_leave(struct sim *sim, struct sock *sk)
{
    struct map *map;
    lock_take(&sim->net->lock);
    for (map = sim->net->socket_maps; map && (sk->map_slots || sk->is_in_array); map = map->next_of_sockets)
        map_leave(map, sk);
    lock_give(&sim->net->lock);
}

/* A new map of sockets, whose memory is there. */
void socket_map_began(struct map *map)
{
    struct net *net = map->sim->net;
    if (!holds_sockets(map->type))
        return;
    lock_take(&net->lock);
    map->next_of_sockets = net->socket_maps;
    net->socket_maps = map;
    lock_give(&net->lock);
}

void socket_map_ends(struct map *map)
{
    struct net *net = map->sim->net;
    struct map **at;
    if (!holds_sockets(map->type))
        return;
    lock_take(&net->lock);
    for (at = &net->socket_maps; *at && *at != map; at = &(*at)->next_of_sockets)
        ;
    if (*at) {
        *at = map->next_of_sockets;
        map_leave(map, (struct sock *)0);
    }
    lock_give(&net->lock);
}

/* ---- what programs call ---- */

static s64 ops_update(struct sock_ops *ops, struct map *map, const u8 *key, u64 flags)
{
    struct sock *sk = ops->sk;
    s32 error = -EOPNOTSUPP;
    if (!sk || !is_redirectable_kind(sk))
        return error;
    if (ops->op != OPS_ACTIVE_ESTABLISHED && ops->op != OPS_PASSIVE_ESTABLISHED && ops->op != OPS_LISTEN)
        return error;
    lock_take(&map->sim->net->lock);
    if (sk->is_listed)
        error = slot_link(map, key, sk, flags);
    lock_give(&map->sim->net->lock);
    return error;
}

s64 ops_bpf_sock_map_update(struct cpu *cpu, struct sock_ops *ops, struct map *map, const u8 *key, u64 flags)
{
    (void)cpu;
    return ops_update(ops, map, key, flags);
}

s64 ops_bpf_sock_hash_update(struct cpu *cpu, struct sock_ops *ops, struct map *map, const u8 *key, u64 flags)
{
    (void)cpu;
    return ops_update(ops, map, key, flags);
}

/* Who gets the packet or the message: the cookie of key's socket is kept. What an earlier call kept stays where this fails. */
static s64 redirect_to_socket(struct cpu *cpu, struct map *map, const u8 *key, u64 flags, int is_message)
{
    struct sock *sk;
    if (flags & ~(u64)TO_INGRESS)
        return SK_DROP;
    sk = sock_in(object_find(map, key));
    if (!sk || (is_tcp(sk) ? sk->state == TCP_LISTEN : sk->state != TCP_ESTABLISHED))
        return SK_DROP;
    if (is_message && !(flags & TO_INGRESS) && !is_tcp(sk))
        return SK_DROP;
    cpu->redirect_map = (u64)map;
    cpu->redirect_socket = cookie_of(cpu->sim->net, sk);
    cpu->redirect_flags = (u32)flags;
    return SK_PASS;
}

s64 sk_skb_bpf_sk_redirect_map(struct cpu *cpu, struct skb *skb, struct map *map, u64 key, u64 flags)
{
    u32 index = (u32)key;
    (void)skb;
    return redirect_to_socket(cpu, map, (const u8 *)&index, flags, 0);
}

s64 sk_skb_bpf_sk_redirect_hash(struct cpu *cpu, struct skb *skb, struct map *map, const u8 *key, u64 flags)
{
    (void)skb;
    return redirect_to_socket(cpu, map, key, flags, 0);
}

s64 msg_bpf_msg_redirect_map(struct cpu *cpu, struct msg *msg, struct map *map, u64 key, u64 flags)
{
    u32 index = (u32)key;
    (void)msg;
    return redirect_to_socket(cpu, map, (const u8 *)&index, flags, 1);
}

s64 msg_bpf_msg_redirect_hash(struct cpu *cpu, struct msg *msg, struct map *map, const u8 *key, u64 flags)
{
    (void)msg;
    return redirect_to_socket(cpu, map, key, flags, 1);
}

static int is_in_group(const struct sock *sk)
{
    return sk->is_listed && sk->is_reuseport && is_bound(sk);
}

/* Do these two share one address, as SO_REUSEPORT lets them? */
static int is_same_group(const struct sock *one, const struct sock *other)
{
    return one->protocol == other->protocol && one->family == other->family && one->source_port == other->source_port
           && one->bound_dev_if == other->bound_dev_if
           && !memcmp(sock_source(one), sock_source(other), one->family == AF_INET ? 4 : 16);
}

s64 reuseport_bpf_sk_select_reuseport(struct cpu *cpu, struct reuseport *choice, struct map *map, const u8 *key, u64 flags)
{
    struct sock *sk = sock_in(object_find(map, key));
    const struct sock *own = choice->sk;
    (void)flags;
    if (!sk)
        return -ENOENT;
    if (!is_in_group(sk))
        return map->type == MAP_REUSEPORT_SOCKARRAY ? -ENOENT : -EINVAL;
    if (!own || !is_in_group(own))
        return -ENOENT;
    if (!is_same_group(sk, own))
        return sk->protocol != own->protocol ? -EPROTOTYPE : sk->family != own->family ? -EAFNOSUPPORT : -EBADFD;
    choice->selected_cookie = cookie_of(cpu->sim->net, sk);
    return 0;
}
