/* Helpers of programs that stand where sockets and knobs are used: their contexts are events, not packets. */

enum { OP_LENGTH = 14, OP_WRITE = 15, OPTION_END = 0, OPTION_NOTHING = 1, OPTION_EXPERIMENT = 253, OPTION_EXPERIMENT2 = 254, TCP_HEADER = 20 };

s64 bpf_get_retval(struct cpu *cpu)
{
    return (s32)cpu->retval;
}

s64 bpf_set_retval(struct cpu *cpu, u64 retval)
{
    cpu->retval = (s32)retval;
    return 0;
}

/* ---- cookies of whose hook it is ---- */

u64 addr_bpf_get_socket_cookie(struct cpu *cpu, struct sock_addr *addr)
{
    return sock_cookie(cpu, addr->sk);
}

u64 sock_bpf_get_socket_cookie(struct cpu *cpu, struct sock *sk)
{
    return sock_cookie(cpu, sk);
}

u64 ops_bpf_get_socket_cookie(struct cpu *cpu, struct sock_ops *ops)
{
    return sock_cookie(cpu, ops->sk);
}

/* There is one name space: also where no context was given. */
static u64 netns_cookie(struct cpu *cpu)
{
    return cpu->sim->net->netns_cookie;
}

u64 addr_bpf_get_netns_cookie(struct cpu *cpu, void *context)
{
    (void)context;
    return netns_cookie(cpu);
}

u64 sock_bpf_get_netns_cookie(struct cpu *cpu, void *context)
{
    (void)context;
    return netns_cookie(cpu);
}

u64 ops_bpf_get_netns_cookie(struct cpu *cpu, void *context)
{
    (void)context;
    return netns_cookie(cpu);
}

u64 sockopt_bpf_get_netns_cookie(struct cpu *cpu, void *context)
{
    (void)context;
    return netns_cookie(cpu);
}

u64 msg_bpf_get_netns_cookie(struct cpu *cpu, void *context)
{
    (void)context;
    return netns_cookie(cpu);
}

/* ---- connect: where from ---- */

/* struct sockaddr_in and sockaddr_in6: family, port, address */
s64 addr_bpf_bind(struct cpu *cpu, struct sock_addr *addr, const u8 *name, u64 size)
{
    u32 i;
    u32 ip4 = 0;
    (void)cpu;
    if ((s32)size < 2)
        return -EINVAL;
    if (load16(name) == AF_INET6) {
        if ((s32)size < 24)
            return -EINVAL;
        if (!addr->sk || addr->sk->family != AF_INET6)
            return -EAFNOSUPPORT;
        memcpy(addr->sk->source_ip6, name + 8, 16);
    } else {
        if (load16(name) != AF_INET)
            return -EAFNOSUPPORT;
        if ((s32)size < 16)
            return -EINVAL;
        ip4 = load32(name + 4);
        for (i = 0; ip4 && (ip4 & 0xff) != 127 && i < cpu->sim->net->interface_count; i++)
            if (cpu->sim->net->interfaces[i].ip4 == ip4)
                break;
        if (i == cpu->sim->net->interface_count)
            return -EADDRNOTAVAIL;
        if (!addr->sk)
            return -EINVAL;
        addr->sk->source_ip4 = ip4;
    }
    if (load16(name + 2))
        sock_move(cpu->sim, addr->sk, swap16(load16(name + 2)));
    return 0;
}

/* ---- TCP's events and options ---- */

s64 ops_bpf_sock_ops_cb_flags_set(struct cpu *cpu, struct sock_ops *ops, u64 flags)
{
    (void)cpu;
    if (!ops->sk || !is_full_sock(ops->sk))
        return -EINVAL;
    ops->sk->callback_flags = (u32)flags & ALL_CALLBACK_FLAGS;
    ops->callback_flags = ops->sk->callback_flags;
    return (s32)flags & ~ALL_CALLBACK_FLAGS;
}

/* An option of this kind (with these bytes behind its length) from at on: found is set, 0; or a negative errno. */
static s64 option_find(const u8 *at, const u8 *end, u32 kind, const u8 *magic, u32 magic_bytes, const u8 **found, u32 *is_ended)
{
    *is_ended = 0;
    while (at < end) {
        if (*at == OPTION_END) {
            *is_ended = 1;
            return -ENOMSG;
        }
        if (*at == OPTION_NOTHING) {
            at++;
            continue;
        }
        if (end - at < 2 || end - at < at[1] || at[1] < 2)
            return -EFAULT;
        if (*at == kind) {
            if (magic_bytes + 2 > at[1] && magic_bytes)
                return -ENOMSG;
            if (!magic_bytes || !memcmp(at + 2, magic, magic_bytes)) {
                *found = at;
                return 0;
            }
        }
        at += at[1];
    }
    return -ENOMSG;
}

static int is_experiment(u32 kind)
{
    return kind == OPTION_EXPERIMENT || kind == OPTION_EXPERIMENT2;
}

s64 ops_bpf_load_hdr_opt(struct cpu *cpu, struct sock_ops *ops, u8 *wanted, u64 size, u64 flags)
{
    u32 kind;
    u32 magic_bytes = 0;
    u32 is_ended;
    const u8 *found;
    s64 error;
    (void)cpu;
    if ((u32)size < 2 || (flags & ~1ull))
        return -EINVAL;
    kind = wanted[0];
    if (wanted[1] > (u32)size || kind == OPTION_NOTHING || kind == OPTION_END)
        return -EINVAL;
    if (is_experiment(kind) ? wanted[1] != 4 && wanted[1] != 6 : wanted[1] != 0)
        return -EINVAL;
    if (is_experiment(kind))
        magic_bytes = (u32)wanted[1] - 2;
    if (flags)
        return -ENOENT;
    if (!ops->packet || ops->op == OP_LENGTH)
        return -EPERM;
    error = option_find(ops->packet + TCP_HEADER, ops->packet_end, kind, wanted + 2, magic_bytes, &found, &is_ended);
    if (error)
        return error;
    if (found[1] > (u32)size) {
        memcpy(wanted, found, (u32)size);
        return -ENOSPC;
    }
    memcpy(wanted, found, found[1]);
    return found[1];
}

s64 ops_bpf_store_hdr_opt(struct cpu *cpu, struct sock_ops *ops, const u8 *option, u64 size, u64 flags)
{
    u32 is_ended;
    const u8 *found;
    s64 error;
    (void)cpu;
    if (ops->op != OP_WRITE || !ops->packet)
        return -EPERM;
    if ((u32)size < 2 || flags)
        return -EINVAL;
    if (option[1] > (u32)size || option[0] == OPTION_NOTHING || option[0] == OPTION_END || option[1] < 2)
        return -EINVAL;
    if (option[1] > ops->option_room)
        return -ENOSPC;
    if (is_experiment(option[0]) && option[1] < 4)
        return -EINVAL;
    error = option_find(ops->packet + TCP_HEADER, ops->packet_end, option[0], option + 2, is_experiment(option[0]) ? 2 : 0, &found, &is_ended);
    if (!error)
        return -EEXIST;
    if (error != -ENOMSG)
        return error;
    if (is_ended)
        return -ENOSPC;
    memcpy(ops->packet_end, option, option[1]);
    ops->option_room -= option[1];
    ops->packet_end += option[1];
    return 0;
}

s64 ops_bpf_reserve_hdr_opt(struct cpu *cpu, struct sock_ops *ops, u64 size, u64 flags)
{
    (void)cpu;
    if (ops->op != OP_LENGTH)
        return -EPERM;
    if (flags || (u32)size < 2)
        return -EINVAL;
    if ((u32)size > ops->option_room)
        return -ENOSPC;
    ops->option_room -= (u32)size;
    return 0;
}

/* ---- choosing among sockets of one port ---- */

s64 reuseport_bpf_skb_load_bytes(struct cpu *cpu, const struct reuseport *choice, u64 offset, u8 *to, u64 size)
{
    return skb_bpf_skb_load_bytes(cpu, choice->skb, offset, to, size);
}

s64 reuseport_bpf_skb_load_bytes_relative(struct cpu *cpu, const struct reuseport *choice, u64 offset, u8 *to, u64 size, u64 start)
{
    return skb_bpf_skb_load_bytes_relative(cpu, choice->skb, offset, to, size, start);
}

u64 reuseport_bpf_get_socket_cookie(struct cpu *cpu, struct reuseport *choice)
{
    return sock_cookie(cpu, choice->sk);
}

/* ---- knobs ---- */

static u32 text_bytes(const u8 *text, u32 most)
{
    u32 i;
    for (i = 0; i < most && text[i]; i++)
        ;
    return i;
}

s64 sysctl_bpf_sysctl_get_name(struct cpu *cpu, struct sysctl *sysctl, u8 *to, u64 size, u64 flags)
{
    u32 directory = flags & 1 ? 0 : text_bytes(sysctl->directory, 128);
    u32 name = text_bytes(sysctl->name, 64);
    u64 i;
    (void)cpu;
    if (!to)
        return -EINVAL;
    for (i = 0; i + 1 < size && i < directory + name; i++)
        to[i] = i < directory ? sysctl->directory[i] : sysctl->name[i - directory];
    if (size)
        to[i] = 0;
    return size > directory + name ? (s64)(directory + name) : -E2BIG;
}

static s64 sysctl_copy(u8 *to, u64 size, const u8 *from, u32 have)
{
    if (!to)
        return -EINVAL;
    if (!size)
        return -E2BIG;
    memset(to, 0, size);
    if (!have)
        return -EINVAL;
    memcpy(to, from, size < have ? size : have);
    if (size > have)
        return have;
    to[size - 1] = 0;
    return -E2BIG;
}

s64 sysctl_bpf_sysctl_get_current_value(struct cpu *cpu, struct sysctl *sysctl, u8 *to, u64 size)
{
    (void)cpu;
    return sysctl_copy(to, size, sysctl->current, sysctl->current_bytes);
}

s64 sysctl_bpf_sysctl_get_new_value(struct cpu *cpu, struct sysctl *sysctl, u8 *to, u64 size)
{
    (void)cpu;
    return sysctl_copy(to, size, sysctl->new_value, sysctl->is_write ? sysctl->new_bytes : 0);
}

s64 sysctl_bpf_sysctl_set_new_value(struct cpu *cpu, struct sysctl *sysctl, const u8 *from, u64 size)
{
    (void)cpu;
    if (!sysctl->is_write || !sysctl->new_bytes || !from || !size)
        return -EINVAL;
    if (size > PAGE - 1)
        return -E2BIG;
    memcpy(sysctl->new_value, from, size);
    sysctl->new_value[size] = 0;
    sysctl->new_bytes = (u32)size;
    sysctl->is_changed = 1;
    return 0;
}

/* ---- messages before they are sent ---- */

s64 msg_bpf_msg_apply_bytes(struct cpu *cpu, struct msg *msg, u64 bytes)
{
    (void)cpu;
    msg->apply_bytes = (u32)bytes;
    return 0;
}

s64 msg_bpf_msg_cork_bytes(struct cpu *cpu, struct msg *msg, u64 bytes)
{
    (void)cpu;
    msg->cork_bytes = (u32)bytes;
    return 0;
}

static void msg_show(struct msg *msg, u32 first, u32 end)
{
    msg->data = msg->bytes + first;
    msg->data_end = msg->bytes + end;
}

s64 msg_bpf_msg_pull_data(struct cpu *cpu, struct msg *msg, u64 start, u64 end, u64 flags)
{
    (void)cpu;
    if (flags || (u32)end <= (u32)start || (u32)end > msg->size)
        return -EINVAL;
    msg_show(msg, (u32)start, (u32)end);
    return 0;
}

/* What is inserted or cut divides the message in pieces, of which programs see the first. */
s64 msg_bpf_msg_push_data(struct cpu *cpu, struct msg *msg, u64 start, u64 size, u64 flags)
{
    u32 at = (u32)start;
    u32 more = (u32)size;
    u8 *larger;
    if (flags)
        return -EINVAL;
    if (!more)
        return 0;
    if (at > msg->size)
        return -EINVAL;
    if ((u64)msg->size + more > MAX_SKB_ROOM)
        return -ENOMEM;
    larger = bytes_take(cpu->sim, msg->bytes, 0, msg->size + more);
    if (!larger)
        return -ENOMEM;
    memcpy(larger, msg->bytes, at);
    memcpy(larger + at + more, msg->bytes + at, msg->size - at);
    bytes_give(cpu->sim, msg->bytes);
    msg->bytes = larger;
    msg->size += more;
    msg_show(msg, 0, at ? at : more);
    return 0;
}

s64 msg_bpf_msg_pop_data(struct cpu *cpu, struct msg *msg, u64 start, u64 size, u64 flags)
{
    u32 at = (u32)start;
    u32 less = (u32)size;
    (void)cpu;
    if (flags)
        return -EINVAL;
    if (!less)
        return 0;
    if (at >= msg->size || (u64)at + less > msg->size)
        return -EINVAL;
    memmove(msg->bytes + at, msg->bytes + at + less, msg->size - at - less);
    msg->size -= less;
    msg_show(msg, 0, at ? at : msg->size);
    return 0;
}
