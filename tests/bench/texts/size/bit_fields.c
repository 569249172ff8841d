struct header { u32 version : 4, kind : 6, length : 14, flags : 8; };
struct ctx { u64 pad; u32 raw; u32 out; };
union view { u32 word; struct header h; };
SEC("tracepoint/a/b") int decode(struct ctx *ctx) {
    union view v = { .word = ctx->raw };
    if (v.h.version != 4)
        return -1;
    if (v.h.flags & 0x80)
        v.h.length += 8;
    v.h.kind ^= 1;
    v.h.flags = 0;
    return v.word + v.h.length;
}
