/* SYN cookies: a sequence number from which, when it comes back, the connection's beginning is known again.

   Linux's are made with secrets of the machine's; here the mixing is a fixed one. What holds is that what was made for a
   SYN is accepted in the ACK that answers it, and nothing else. */

enum { FLAG_FIN = 1, FLAG_SYN = 2, FLAG_RST = 4, FLAG_ACK = 16, OPTION_MSS = 2 };

static const u16 mss4[4] = {536, 1300, 1440, 1460};
static const u16 mss6[4] = {1220, 1420, 1440, 8940};

static u32 cookie_mix(const u8 *addresses, u32 size, const u8 *tcp, u32 sequence)
{
    u32 mixed = sequence * 0x9e3779b9u + 0x7f4a7c15u;
    u32 i;
    for (i = 0; i < size + 4; i++)
        mixed = (mixed ^ (i < size ? addresses[i] : tcp[i - size])) * 0x01000193u + (mixed >> 15);
    return mixed & ~3u;
}

/* What a SYN says of the longest segment, 0: nothing. */
static u32 mss_option(const u8 *tcp, u32 size)
{
    u32 at = TCP_HEADER;
    while (at + 1 < size && tcp[at] != OPTION_END) {
        if (tcp[at] == OPTION_NOTHING) {
            at++;
            continue;
        }
        if (tcp[at + 1] < 2 || at + tcp[at + 1] > size)
            return 0;
        if (tcp[at] == OPTION_MSS && tcp[at + 1] == 4)
            return swap16(load16(tcp + at + 2));
        at += tcp[at + 1];
    }
    return 0;
}

static s64 cookie_make(const u8 *addresses, u32 size, const u8 *tcp, u64 tcp_size, const u16 *table, u32 usual)
{
    u32 length = (u32)tcp_size;
    u32 index = 3;
    u32 mss;
    if (length < TCP_HEADER || length != (u32)(tcp[12] >> 4) * 4)
        return -EINVAL;
    mss = mss_option(tcp, length);
    if (!mss)
        mss = usual;
    while (index && mss < table[index])
        index--;
    return (s64)((u64)table[index] << 32 | (cookie_mix(addresses, size, tcp, swap32(load32(tcp + 4))) | index));
}

static s64 cookie_check(const u8 *addresses, u32 size, const u8 *tcp)
{
    u32 sequence = swap32(load32(tcp + 4)) - 1;
    u32 cookie = swap32(load32(tcp + 8)) - 1;
    return (cookie & ~3u) == cookie_mix(addresses, size, tcp, sequence) ? 0 : -EACCES;
}

s64 bpf_tcp_raw_gen_syncookie_ipv4(struct cpu *cpu, const u8 *ip, const u8 *tcp, u64 size)
{
    (void)cpu;
    return cookie_make(ip + 12, 8, tcp, size, mss4, 536);
}

s64 bpf_tcp_raw_gen_syncookie_ipv6(struct cpu *cpu, const u8 *ip, const u8 *tcp, u64 size)
{
    (void)cpu;
    return cookie_make(ip + 8, 32, tcp, size, mss6, 1220);
}

s64 bpf_tcp_raw_check_syncookie_ipv4(struct cpu *cpu, const u8 *ip, const u8 *tcp)
{
    (void)cpu;
    return cookie_check(ip + 12, 8, tcp);
}

s64 bpf_tcp_raw_check_syncookie_ipv6(struct cpu *cpu, const u8 *ip, const u8 *tcp)
{
    (void)cpu;
    return cookie_check(ip + 8, 32, tcp);
}

/* Is this a header of IP that the listener takes packets of? 0, or a negative errno. */
static s64 cookie_version(const struct sock *sk, const u8 *ip, u32 size)
{
    if (ip[0] >> 4 == 4)
        return sk->family == AF_INET6 && sk->is_ip6_only ? -EINVAL : 0;
    if (ip[0] >> 4 == 6)
        return size < IP6_BYTES || sk->family != AF_INET6 ? -EINVAL : 0;
    return -EPROTONOSUPPORT;
}

static int is_listener(const struct sock *sk)
{
    return sk && sk->state == TCP_LISTEN && sk->protocol == IPPROTO_TCP;
}

/* No queue here overflows: a listener never makes cookies, and takes none. */
s64 bpf_tcp_gen_syncookie(struct cpu *cpu, struct sock *sk, const u8 *ip, u64 ip_size, const u8 *tcp, u64 tcp_size)
{
    s64 error;
    (void)cpu;
    if ((u32)tcp_size < TCP_HEADER || (u32)tcp_size != (u32)(tcp[12] >> 4) * 4 || !is_listener(sk))
        return -EINVAL;
    if ((tcp[13] & (FLAG_SYN | FLAG_ACK | FLAG_FIN | FLAG_RST)) != FLAG_SYN || (u32)ip_size < IP4_BYTES)
        return -EINVAL;
    error = cookie_version(sk, ip, (u32)ip_size);
    return error ? error : -ENOENT;
}

s64 bpf_tcp_check_syncookie(struct cpu *cpu, struct sock *sk, const u8 *ip, u64 ip_size, const u8 *tcp, u64 tcp_size)
{
    (void)cpu;
    (void)ip;
    if ((u32)tcp_size < TCP_HEADER || !is_listener(sk))
        return -EINVAL;
    if ((tcp[13] & (FLAG_ACK | FLAG_RST | FLAG_SYN)) != FLAG_ACK)
        return -ENOENT;
    return (u32)ip_size < IP4_BYTES ? -EINVAL : -ENOENT;
}
