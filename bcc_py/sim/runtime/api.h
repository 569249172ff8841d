/* The functions that Python calls. Errors are negative Linux errno values. Read with cffi, like state.h. */

struct sim *sim_new(u32 cpus, u64 kernel_start, u8 *kernel_bytes, u64 seed);
void sim_free(struct sim *sim);

s32 sim_check(struct sim *sim, u64 turns);
u64 program_run(struct cpu *cpu, struct program *program, u64 ctx);
void sim_enter(struct sim *sim);
void sim_leave(struct sim *sim);
void batch_run(struct cpu *cpu, struct batch *batch);
s32 check_offsets(const u64 *offsets, u64 count, u64 size);
s32 check_below(const u32 *numbers, u64 count, u32 limit);
s32 is_named(const u32 *numbers, u64 count, u32 wanted);

void sim_reclaim(struct sim *sim);

struct map *map_new(struct sim *sim, u32 type, u32 key_size, u32 value_size, u32 max_entries, u32 flags, u64 extra, s32 *error);
void map_free(struct sim *sim, struct map *map);
s32 map_set_fields(struct map *map, const struct field *fields, u32 count);
s32 map_read(struct map *map, const u8 *key, u8 *value, u64 flags);
s32 map_write(struct map *map, const u8 *key, const u8 *value, u64 flags);
s32 map_take(struct map *map, const u8 *key, u8 *value, u64 flags);
s32 map_next(struct map *map, const u8 *key, u8 *next);
s32 map_batch(struct map *map, u32 *number, u8 *keys, u8 *values, u32 *count, u32 is_delete);
s32 object_put(struct map *map, const u8 *key, u64 pointer, u64 shown, u64 flags);
s32 sock_map_put(struct map *map, const u8 *key, struct sock *sk, u64 flags);
s32 sock_map_take(struct map *map, const u8 *key);
s32 sock_map_read(struct map *map, const u8 *key, u8 *value, u32 size);
void sockets_leave(struct sim *sim, struct sock *sk);
void socket_map_began(struct map *map);
void socket_map_ends(struct map *map);
s64 stack_map_store(struct map *map, const u64 *ips, u32 count, u64 flags);

void storage_drop(struct map *map, u64 owner);

u64 timers_next(struct sim *sim, u32 *cpu);
u32 timers_ready(struct sim *sim);
void map_orphan(struct sim *sim, struct map *map);
u32 timers_run(struct cpu *cpu, u64 now_ns);

s32 perf_open(struct map *map, u32 cpu, u64 size);
s32 perf_delete(struct map *map, u32 cpu);
void perf_close(struct map *map, u32 cpu);
s32 perf_next(struct ring *ring, u64 end, u8 **record, u64 *size);
void perf_advance(struct ring *ring, u64 size);
s32 ring_look(struct ring *ring, u32 is_perf, u64 end, u64 room, struct taken *taken);
void ring_take(struct ring *ring, u32 is_perf, u64 bytes, u8 *out);
void ring_places(u8 *records, u64 bytes, u32 is_perf, u64 *offsets, u64 *sizes);
s32 user_ring_reserve(struct ring *ring, u64 size, u8 **record);
void user_ring_submit(u8 *record, u32 is_discard);

struct skb *skb_new(struct cpu *cpu, const u8 *frame, u32 size, u32 is_frame, const u8 *address);
s32 skb_add_header(struct cpu *cpu, struct skb *skb);
void skb_free(struct cpu *cpu, struct skb *skb);
struct xdp *xdp_new(struct cpu *cpu, const u8 *bytes, u32 size, u32 linear, u32 meta);
u32 xdp_read(const struct xdp *xdp, u8 *to, u32 size);
void xdp_free(struct cpu *cpu, struct xdp *xdp);
struct sock *sock_new(struct sim *sim);
void sock_list(struct sim *sim, struct sock *sk);
void sock_unlist(struct sim *sim, struct sock *sk);
void sock_put(struct sim *sim, struct sock *sk);
u8 *bytes_take(struct sim *sim, const u8 *content, u64 size, u64 room);
void bytes_give(struct sim *sim, u8 *bytes);
s32 task_add(struct sim *sim, u32 pid, u32 tgid, u64 task);
void task_remove(struct sim *sim, u32 pid);
s32 signal_take(struct sim *sim, u32 *pid, u32 *signal);
