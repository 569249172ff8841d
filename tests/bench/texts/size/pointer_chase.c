struct file { u64 pad[3]; struct inode *inode; u64 flags; };
struct super { u64 pad[2]; u32 dev; };
struct inode { u64 pad; struct super *super; u64 number; u16 mode; u64 size; };
struct key { u32 dev; u16 mode; u64 number; };
BPF_HASH(files, struct key, u64, 10240);
SEC("kprobe/vfs_write") int write(struct regs *ctx) {
    struct file *file = (void *)ctx->di;
    struct inode *inode = 0;
    struct super *super = 0;
    struct key key = {};
    bpf_probe_read_kernel(&inode, sizeof(inode), &file->inode);
    bpf_probe_read_kernel(&super, sizeof(super), &inode->super);
    bpf_probe_read_kernel(&key.number, sizeof(key.number), &inode->number);
    bpf_probe_read_kernel(&key.mode, sizeof(key.mode), &inode->mode);
    bpf_probe_read_kernel(&key.dev, sizeof(key.dev), &super->dev);
    if ((key.mode & 0170000) != 0100000)
        return 0;
    u64 count = ctx->dx, *found = bpf_map_lookup_elem(&files, &key);
    if (found)
        *found += count;
    else
        bpf_map_update_elem(&files, &key, &count, BPF_ANY);
    return 0;
}
