/* Functions that every text may call without including anything. Only those named in a text are parsed. */

static inline __attribute__((always_inline)) unsigned int bpf_log2(unsigned int v)
{
    unsigned int r = 0;
    if (v >= 1U << 16) { v >>= 16; r += 16; }
    if (v >= 1U << 8) { v >>= 8; r += 8; }
    if (v >= 1U << 4) { v >>= 4; r += 4; }
    if (v >= 1U << 2) { v >>= 2; r += 2; }
    return r + (v >> 1) + 1;
}

static inline __attribute__((always_inline)) unsigned int bpf_log2l(unsigned long v)
{
    unsigned int high = v >> 32;
    return high ? bpf_log2(high) + 32 : bpf_log2((unsigned int)v);
}

static inline __attribute__((always_inline)) int __ilog2_u32(u32 n)
{
    return (int)bpf_log2(n) - (n == 0 ? 2 : 1);
}

static inline __attribute__((always_inline)) int __ilog2_u64(u64 n)
{
    return (int)bpf_log2l(n) - (n == 0 ? 2 : 1);
}

static inline __attribute__((always_inline)) unsigned long __roundup_pow_of_two(unsigned long n)
{
    return n <= 1 ? 1 : 1UL << bpf_log2l(n - 1);
}

static inline __attribute__((always_inline)) struct inet_sock *inet_sk(const struct sock *sk)
{
    return (struct inet_sock *)sk;
}

static inline __attribute__((always_inline)) struct inet_connection_sock *inet_csk(const struct sock *sk)
{
    return (struct inet_connection_sock *)sk;
}

static inline __attribute__((always_inline)) struct tcp_sock *tcp_sk(const struct sock *sk)
{
    return (struct tcp_sock *)sk;
}

static inline __attribute__((always_inline)) u64 div_u64(u64 dividend, u32 divisor)
{
    return dividend / divisor;
}

static inline __attribute__((always_inline)) bool skb_rx_queue_recorded(const struct sk_buff *skb)
{
    return skb->queue_mapping != 0;
}

static inline __attribute__((always_inline)) u16 skb_get_rx_queue(const struct sk_buff *skb)
{
    return skb->queue_mapping - 1;
}

static inline __attribute__((always_inline)) bool sg_is_chain(const struct scatterlist *sg)
{
    return sg->page_link & 1UL;
}

static inline __attribute__((always_inline)) bool sg_is_last(const struct scatterlist *sg)
{
    return sg->page_link & 2UL;
}

static inline __attribute__((always_inline)) struct scatterlist *sg_chain_ptr(const struct scatterlist *sg)
{
    return (struct scatterlist *)(sg->page_link & ~3UL);
}

static inline __attribute__((always_inline)) unsigned __int128 bpf_swap128(unsigned __int128 v)
{
    return (unsigned __int128)__builtin_bswap64((u64)v) << 64 | __builtin_bswap64((u64)(v >> 64));
}

static inline __attribute__((always_inline)) u64 load_dword(void *packet, u64 offset)
{
    return (u64)load_word(packet, offset) << 32 | load_word(packet, offset + 4);
}

static inline __attribute__((always_inline)) u64 bpf_dext_pkt(void *packet, u64 offset, u64 bit, u64 bits)
{
    u64 end = bit + bits;
    if (end <= 8)
        return (u64)load_byte(packet, offset) >> (8 - end) & (~0ULL >> (64 - bits));
    if (end <= 16)
        return (u64)load_half(packet, offset) >> (16 - end) & (~0ULL >> (64 - bits));
    if (end <= 32)
        return (u64)load_word(packet, offset) >> (32 - end) & (~0ULL >> (64 - bits));
    return load_dword(packet, offset) >> (64 - end) & (~0ULL >> (64 - bits));
}

static inline __attribute__((always_inline)) void bpf_dins_pkt(void *packet, u64 offset, u64 bit, u64 bits, u64 value)
{
    u64 end = bit + bits;
    u64 mask = (~0ULL >> (64 - bits));
    if (end <= 8) {
        u8 byte = bits == 8 ? value : (load_byte(packet, offset) & ~(mask << (8 - end))) | (value & mask) << (8 - end);
        bpf_skb_store_bytes(packet, offset, &byte, sizeof(byte), 0);
    } else if (end <= 16) {
        u16 half = bits == 16 ? value : (load_half(packet, offset) & ~(mask << (16 - end))) | (value & mask) << (16 - end);
        half = __builtin_bswap16(half);
        bpf_skb_store_bytes(packet, offset, &half, sizeof(half), 0);
    } else if (end <= 32) {
        u32 word = bits == 32 ? value : (load_word(packet, offset) & ~(mask << (32 - end))) | (value & mask) << (32 - end);
        word = __builtin_bswap32(word);
        bpf_skb_store_bytes(packet, offset, &word, sizeof(word), 0);
    } else {
        u64 dword = bits == 64 ? value : (load_dword(packet, offset) & ~(mask << (64 - end))) | (value & mask) << (64 - end);
        dword = __builtin_bswap64(dword);
        bpf_skb_store_bytes(packet, offset, &dword, sizeof(dword), 0);
    }
}
