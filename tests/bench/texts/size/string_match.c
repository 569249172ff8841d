struct args { u64 pad; u64 name; };
static __always_inline int starts(const char *text, const char *with, int n) {
    for (int i = 0; i < n; i++)
        if (text[i] != with[i])
            return 0;
    return 1;
}
SEC("tracepoint/syscalls/x") int match(struct args *ctx) {
    char name[32];
    if (bpf_probe_read_user_str(name, sizeof(name), (void *)ctx->name) < 0)
        return 0;
    if (starts(name, "/etc/", 5))
        return 1;
    if (starts(name, "/proc/self", 10))
        return 2;
    if (name[0] == '.' && name[1] == '/')
        return 3;
    return __builtin_memcmp(name, "/dev/null", 9) == 0 ? 4 : 0;
}
