/* What the cases of kernel functions need of a kernel's types. */
typedef unsigned int u32;
typedef unsigned long long u64;

struct bpf_iter_num { u64 opaque; };
struct bpf_iter_task { u64 opaque[3]; };
struct bpf_iter_bits { u64 opaque[2]; };
struct bpf_dynptr { u64 opaque[2]; };
struct __sk_buff { u32 len; };
struct sk_buff { u64 next; };
struct cpumask { u64 bits[16]; };
struct bpf_cpumask { struct cpumask cpumask; u32 usage; };
struct css_set { u64 refcount; };
struct pid;
struct bpf_list_head { u64 opaque[2]; };
struct bpf_list_node { u64 opaque[3]; };
struct task_struct {
	u32 pid;
	struct task_struct *group_leader;
	struct task_struct *last_wakee;
};
struct seq_file { char *buf; };
struct bpf_iter_meta { struct seq_file *seq; u64 session_id; u64 seq_num; };
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };

typedef void (*btf_trace_task_newtask)(void *, struct task_struct *, unsigned long);
int bpf_iter_task(struct bpf_iter_meta *meta, struct task_struct *task);

int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
int *bpf_iter_num_next(struct bpf_iter_num *it);
void bpf_iter_num_destroy(struct bpf_iter_num *it);
int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *unsafe_ptr__ign, u32 nr_words);
int *bpf_iter_bits_next(struct bpf_iter_bits *it);
void bpf_iter_bits_destroy(struct bpf_iter_bits *it);
int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, unsigned int flags);
struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it);
void bpf_iter_task_destroy(struct bpf_iter_task *it);
void *bpf_obj_new_impl(u64 local_type_id__k, void *meta__ign);
void bpf_obj_drop_impl(void *p__alloc, void *meta__ign);
int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off);
struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head);
void bpf_rcu_read_lock(void);
void bpf_rcu_read_unlock(void);
void bpf_preempt_disable(void);
void bpf_preempt_enable(void);
void bpf_local_irq_save(unsigned long *flags__irq_flag);
void bpf_local_irq_restore(unsigned long *flags__irq_flag);
void bpf_throw(u64 cookie);
void *bpf_rdonly_cast(const void *obj__ign, u32 btf_id__k);
struct task_struct *bpf_task_acquire(struct task_struct *p);
struct task_struct *bpf_task_from_pid(int pid);
void bpf_task_release(struct task_struct *p);
struct bpf_cpumask *bpf_cpumask_create(void);
void bpf_cpumask_release(struct bpf_cpumask *cpumask);
void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *cpumask);
u32 bpf_cpumask_first(const struct cpumask *cpumask);
int bpf_copy_from_user_str(void *dst, u32 dst__sz, const void *unsafe_ptr__ign, u64 flags);
int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit);
void *bpf_dynptr_slice(const struct bpf_dynptr *p, u64 offset, void *buffer__opt, u64 buffer__szk);
