/* bpf_setsockopt and bpf_getsockopt: the options that programs may touch, with the bounds that Linux puts on them. */

enum { SOL_SOCKET = 1, SOL_IP = 0, SOL_TCP = 6, SOL_IPV6 = 41 };
enum {
    SO_REUSEADDR = 2, SO_SNDBUF = 7, SO_RCVBUF = 8, SO_KEEPALIVE = 9, SO_PRIORITY = 12, SO_REUSEPORT = 15, SO_RCVLOWAT = 18,
    SO_MARK = 36, SO_MAX_PACING_RATE = 47, SO_BINDTOIFINDEX = 62, SO_TXREHASH = 74
};
enum {
    TCP_NODELAY = 1, TCP_MAXSEG = 2, TCP_KEEPIDLE = 4, TCP_KEEPINTVL = 5, TCP_KEEPCNT = 6, TCP_SYNCNT = 7, TCP_WINDOW_CLAMP = 10,
    TCP_CONGESTION = 13, TCP_THIN_LINEAR_TIMEOUTS = 16, TCP_USER_TIMEOUT = 18, TCP_NOTSENT_LOWAT = 25, TCP_SAVE_SYN = 27
};
enum { TCP_BPF_IW = 1001, TCP_BPF_CLAMP = 1002, TCP_BPF_DELACK_MAX = 1003, TCP_BPF_RTO_MIN = 1004, TCP_BPF_CB_FLAGS = 1008 };
/* microseconds; where a socket keeps what only programs know of */
enum { TIMEOUT_MOST = 200000, TCP_OWN = 28, TCP_BUFFER_MOST = 33554432 };
enum { IP_TOS = 1, IPV6_TCLASS = 67, IPV6_AUTOFLOWLABEL = 70, ALL_CALLBACK_FLAGS = 0x7f, BUFFER_USUAL = 212992, BUFFER_MOST = 4194304 };

static s32 at_least(s32 value, s32 least)
{
    return value < least ? least : value;
}

/* A TCP socket waits for no more than fits in half of its buffer. */
static s32 low_water(const struct sock *sk, s32 value)
{
    s32 most = 0x7fffffff;
    if (sk->protocol == IPPROTO_TCP)
        most = (sk->options[SO_RCVBUF] ? sk->options[SO_RCVBUF] : TCP_BUFFER_MOST) >> 1;
    if (value < 0)
        value = 0x7fffffff;
    value = value ? value : 1;
    return value > most ? most : value;
}

static s64 set_socket_option(struct sock *sk, u32 option, s32 value)
{
    s32 bounded = (u32)value > BUFFER_MOST ? BUFFER_MOST : value;
    switch (option) {
    case SO_SNDBUF:
        sk->options[option] = at_least(2 * bounded, 4608);
        return 0;
    case SO_RCVBUF:
        sk->options[option] = at_least(2 * bounded, 2304);
        return 0;
    case SO_REUSEADDR:
    case SO_KEEPALIVE:
        sk->options[option] = value != 0;
        return 0;
    case SO_REUSEPORT:
        sk->is_reuseport = value != 0;
        return 0;
    case SO_PRIORITY:
        sk->priority = (u32)value;
        return 0;
    case SO_MARK:
        sk->mark = (u32)value;
        return 0;
    case SO_RCVLOWAT:
        sk->options[option] = low_water(sk, value);
        return 0;
    case SO_MAX_PACING_RATE:
        sk->options[option] = value;
        return 0;
    case SO_BINDTOIFINDEX:
        if (value < 0)
            return -EINVAL;
        sk->bound_dev_if = (u32)value;
        return 0;
    case SO_TXREHASH:
        if (sk->protocol != IPPROTO_TCP)
            return -EOPNOTSUPP;
        if (value < -1 || value > 1)
            return -EINVAL;
        /* kept one higher than it is, so that 0 means that nobody set it */
        sk->options[option] = value == -1 ? 2 : value + 1;
        return 0;
    default:
        return -EINVAL;
    }
}

static s64 get_socket_option(struct sock *sk, u32 option, s32 *value)
{
    switch (option) {
    case SO_SNDBUF:
        *value = sk->options[option] ? sk->options[option] : sk->protocol == IPPROTO_TCP ? 16384 : BUFFER_USUAL;
        return 0;
    case SO_RCVBUF:
        *value = sk->options[option] ? sk->options[option] : sk->protocol == IPPROTO_TCP ? 131072 : BUFFER_USUAL;
        return 0;
    case SO_RCVLOWAT:
        *value = sk->options[option] ? sk->options[option] : 1;
        return 0;
    case SO_MAX_PACING_RATE:
        *value = sk->options[option] ? sk->options[option] : -1;
        return 0;
    case SO_REUSEADDR:
    case SO_KEEPALIVE:
        *value = sk->options[option];
        return 0;
    case SO_TXREHASH:
        if (sk->protocol != IPPROTO_TCP)
            return -EOPNOTSUPP;
        *value = sk->options[option] ? sk->options[option] - 1 : 1;
        return 0;
    case SO_REUSEPORT:
        *value = (s32)sk->is_reuseport;
        return 0;
    case SO_PRIORITY:
        *value = (s32)sk->priority;
        return 0;
    case SO_MARK:
        *value = (s32)sk->mark;
        return 0;
    case SO_BINDTOIFINDEX:
        *value = (s32)sk->bound_dev_if;
        return 0;
    default:
        return -EINVAL;
    }
}

/* Least, most and what it is when nobody set it. */
struct bounds {
    s32 option;
    s32 least;
    s32 most;
    s32 unset;
    s32 is_flag;
};

static const struct bounds tcp_bounds[11] = {
    {TCP_NODELAY, 0, 0, 0, 1}, {TCP_MAXSEG, 88, 32767, 536, 0}, {TCP_KEEPIDLE, 1, 32767, 7200, 0}, {TCP_KEEPINTVL, 1, 32767, 75, 0},
    {TCP_KEEPCNT, 1, 127, 9, 0}, {TCP_SYNCNT, 1, 127, 6, 0}, {TCP_WINDOW_CLAMP, 0, 0x7fffffff, 0, 0},
    {TCP_THIN_LINEAR_TIMEOUTS, 0, 1, 0, 0}, {TCP_USER_TIMEOUT, 0, 0x7fffffff, 0, 0}, {TCP_NOTSENT_LOWAT, -0x7fffffff, 0x7fffffff, 0, 0},
    {TCP_SAVE_SYN, 0, 2, 0, 0}
};

static const struct bounds *tcp_bounds_of(u32 option)
{
    u32 i;
    for (i = 0; i < 11; i++)
        if (tcp_bounds[i].option == (s32)option)
            return tcp_bounds + i;
    return (const struct bounds *)0;
}

static s64 set_tcp_option(struct sock *sk, u32 option, s32 value)
{
    const struct bounds *bounds = tcp_bounds_of(option);
    if (bounds) {
        if (bounds->is_flag)
            value = value != 0;
        else if (value < bounds->least || value > bounds->most)
            return -EINVAL;
        /* kept one higher than it is, so that 0 means that nobody set it */
        sk->tcp_options[option] = value + 1;
        return 0;
    }
    switch (option) {
    case TCP_BPF_IW:
        if (value <= 0)
            return -EINVAL;
        memcpy(sk->tcp, &value, 4);
        return 0;
    case TCP_BPF_CLAMP:
        if (value <= 0)
            return -EINVAL;
        memcpy(sk->tcp + 12, &value, 4);
        return 0;
    case TCP_BPF_DELACK_MAX:
    case TCP_BPF_RTO_MIN:
        if (value <= 4000 || value > TIMEOUT_MOST)
            return -EINVAL;
        sk->tcp_options[option - TCP_BPF_IW + TCP_OWN] = value;
        return 0;
    case TCP_BPF_CB_FLAGS:
        if (value & ~ALL_CALLBACK_FLAGS)
            return -EINVAL;
        sk->callback_flags = (u32)value;
        return 0;
    default:
        return -EINVAL;
    }
}

static s64 get_tcp_option(struct sock *sk, u32 option, s32 *value)
{
    const struct bounds *bounds = tcp_bounds_of(option);
    if (bounds)
        *value = sk->tcp_options[option] ? sk->tcp_options[option] - 1 : bounds->unset;
    else if (option == TCP_BPF_CB_FLAGS)
        *value = (s32)sk->callback_flags;
    else if (option == TCP_BPF_DELACK_MAX || option == TCP_BPF_RTO_MIN)
        *value = sk->tcp_options[option - TCP_BPF_IW + TCP_OWN] ? sk->tcp_options[option - TCP_BPF_IW + TCP_OWN] : TIMEOUT_MOST;
    else
        return -EINVAL;
    return 0;
}

static int is_name(const u8 *name, u32 size, const char *known, u32 length)
{
    return size >= length && !memcmp(name, known, length) && (size == length || !name[length]);
}

static s64 set_congestion(struct sock *sk, const u8 *name, u32 size)
{
    if (size < 2)
        return -EINVAL;
    if (is_name(name, size, "cdg", 3))
        return -ENOTSUPP;
    if (!is_name(name, size, "cubic", 5) && !is_name(name, size, "reno", 4))
        return -ENOENT;
    memset(sk->congestion_name, 0, 16);
    memcpy(sk->congestion_name, name, name[0] == 'c' ? 5 : 4);
    return 0;
}

static s64 get_congestion(struct sock *sk, u8 *name, u32 size)
{
    if (size < 2)
        return -EINVAL;
    memset(name, 0, size);
    if (sk->congestion_name[0])
        memcpy(name, sk->congestion_name, size - 1 < 16 ? size - 1 : 16);
    else
        memcpy(name, "cubic", size - 1 < 5 ? size - 1 : 5);
    return 0;
}

static s32 *ip_option(struct sock *sk, s32 level, u32 option)
{
    if (level == SOL_IP && option == IP_TOS && !(sk->family == AF_INET6 && sk->is_ip6_only))
        return &sk->tos;
    if (level == SOL_IPV6 && sk->family == AF_INET6 && option == IPV6_TCLASS)
        return &sk->traffic_class;
    if (level == SOL_IPV6 && sk->family == AF_INET6 && option == IPV6_AUTOFLOWLABEL)
        return &sk->auto_flow_label;
    return (s32 *)0;
}

static s64 set_ip_option(struct sock *sk, s32 level, u32 option, s32 value)
{
    s32 *place = ip_option(sk, level, option);
    if (!place)
        return -EINVAL;
    if (option == IPV6_TCLASS && level == SOL_IPV6 && (value < -1 || value > 255))
        return -EINVAL;
    *place = level == SOL_IP ? value & 255 & ~(sk->protocol == IPPROTO_TCP ? 3 : 0) : option == IPV6_AUTOFLOWLABEL ? value != 0
        : value == -1 ? 0 : value;
    return 0;
}

static s64 sock_set(struct sock *sk, s32 level, u32 option, const u8 *place, u32 size)
{
    if (!sk || !is_full_sock(sk))
        return -EINVAL;
    if (level == SOL_TCP && sk->protocol != IPPROTO_TCP)
        return -EINVAL;
    if (level == SOL_TCP && option == TCP_CONGESTION)
        return set_congestion(sk, place, size);
    if (size != 4)
        return -EINVAL;
    if (level == SOL_SOCKET)
        return set_socket_option(sk, option, (s32)load32(place));
    if (level == SOL_TCP)
        return set_tcp_option(sk, option, (s32)load32(place));
    return set_ip_option(sk, level, option, (s32)load32(place));
}

static s64 sock_get(struct sock *sk, s32 level, u32 option, u8 *place, u32 size)
{
    s32 value = 0;
    s32 *stored;
    s64 error = -EINVAL;
    if (sk && is_full_sock(sk) && level == SOL_TCP && sk->protocol == IPPROTO_TCP && option == TCP_CONGESTION) {
        error = get_congestion(sk, place, size);
        if (!error)
            return 0;
    } else if (sk && is_full_sock(sk) && size == 4) {
        stored = ip_option(sk, level, option);
        if (stored)
            value = *stored;
        error = stored ? 0 : level == SOL_SOCKET ? get_socket_option(sk, option, &value)
            : level == SOL_TCP && sk->protocol == IPPROTO_TCP ? get_tcp_option(sk, option, &value) : -EINVAL;
    }
    memset(place, 0, size);
    if (!error)
        memcpy(place, &value, 4);
    return error;
}

s64 addr_bpf_setsockopt(struct cpu *cpu, struct sock_addr *addr, u64 level, u64 option, const u8 *place, u64 size)
{
    (void)cpu;
    return sock_set(addr->sk, (s32)level, (u32)option, place, (u32)size);
}

s64 addr_bpf_getsockopt(struct cpu *cpu, struct sock_addr *addr, u64 level, u64 option, u8 *place, u64 size)
{
    (void)cpu;
    return sock_get(addr->sk, (s32)level, (u32)option, place, (u32)size);
}

s64 ops_bpf_setsockopt(struct cpu *cpu, struct sock_ops *ops, u64 level, u64 option, const u8 *place, u64 size)
{
    (void)cpu;
    return sock_set(ops->sk, (s32)level, (u32)option, place, (u32)size);
}

s64 ops_bpf_getsockopt(struct cpu *cpu, struct sock_ops *ops, u64 level, u64 option, u8 *place, u64 size)
{
    (void)cpu;
    return sock_get(ops->sk, (s32)level, (u32)option, place, (u32)size);
}

s64 sockopt_bpf_setsockopt(struct cpu *cpu, struct sockopt *sockopt, u64 level, u64 option, const u8 *place, u64 size)
{
    (void)cpu;
    return sock_set(sockopt->sk, (s32)level, (u32)option, place, (u32)size);
}

s64 sockopt_bpf_getsockopt(struct cpu *cpu, struct sockopt *sockopt, u64 level, u64 option, u8 *place, u64 size)
{
    (void)cpu;
    return sock_get(sockopt->sk, (s32)level, (u32)option, place, (u32)size);
}
