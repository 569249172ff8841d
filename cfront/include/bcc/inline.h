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
