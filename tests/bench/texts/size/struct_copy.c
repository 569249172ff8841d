struct point { u64 x, y, z; };
struct box { struct point low, high; u32 tag; };
BPF_TABLE_ARRAY(boxes, struct box, 4);
struct ctx { u64 pad; u64 x, y, z; };
static __always_inline struct point larger(struct point a, struct point b) {
    struct point r = { a.x > b.x ? a.x : b.x, a.y > b.y ? a.y : b.y, a.z > b.z ? a.z : b.z };
    return r;
}
SEC("tracepoint/a/b") int grow(struct ctx *ctx) {
    u32 key = 1;
    struct box *b = bpf_map_lookup_elem(&boxes, &key);
    if (!b)
        return 0;
    struct point p = { ctx->x, ctx->y, ctx->z };
    struct box copy = *b;
    copy.high = larger(copy.high, p);
    copy.tag++;
    *b = copy;
    return copy.tag;
}
