// Programs of the kind BCC tools are made of; tools.o is what clang-19 -O2 -g -mcpu=v3 -target bpf makes of it.
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64; typedef long long s64; typedef int s32;
#define SEC(n) __attribute__((section(n), used))
#define __uint(name,val) int (*name)[val]
#define __type(name,val) val *name
static void *(*bpf_map_lookup_elem)(void *, const void *) = (void *)1;
static long (*bpf_map_update_elem)(void *, const void *, const void *, u64) = (void *)2;
static long (*bpf_map_delete_elem)(void *, const void *) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_trace_printk)(const char *fmt, u32 size, ...) = (void *)6;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_uid_gid)(void) = (void *)15;
static long (*bpf_get_current_comm)(void *, u32) = (void *)16;
static long (*bpf_perf_event_output)(void *, void *, u64, void *, u64) = (void *)25;
static long (*bpf_get_stackid)(void *, void *, u64) = (void *)27;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_user)(void *, u32, const void *) = (void *)112;
static long (*bpf_probe_read_kernel)(void *, u32, const void *) = (void *)113;
static long (*bpf_probe_read_user_str)(void *, u32, const void *) = (void *)114;
static long (*bpf_probe_read_kernel_str)(void *, u32, const void *) = (void *)115;
static void *(*bpf_ringbuf_reserve)(void *, u64, u64) = (void *)131;
static void (*bpf_ringbuf_submit)(void *, u64) = (void *)132;
static void (*bpf_ringbuf_discard)(void *, u64) = (void *)133;
static long (*bpf_strncmp)(const char*, u32, const char*) = (void*)182;
char LICENSE[] SEC("license") = "GPL";
#define MAP(n,t,k,v,m) struct { __uint(type,t); __uint(max_entries,m); __type(key,k); __type(value,v); } n SEC(".maps")
struct key { u32 pid; char comm[16]; };
struct ev { u64 ts; u32 pid; u32 ret; char comm[16]; char fname[64]; };
MAP(counts,1,struct key,u64,1024);
MAP(start,1,u32,u64,1024);
MAP(hist,2,u32,u64,64);
struct { __uint(type,4); __uint(key_size,4); __uint(value_size,4); __uint(max_entries,2); __type(event, struct ev);} events SEC(".maps");
struct { __uint(type,27); __uint(max_entries,4096);} rb SEC(".maps");
int target = 5; const volatile int ro = 7; u64 total;
static __attribute__((noinline)) u32 log2_(u32 v){ u32 r,s; r=(v>0xffff)<<4; v>>=r; s=(v>0xff)<<3; v>>=s; r|=s; s=(v>0xf)<<2; v>>=s; r|=s; s=(v>3)<<1; v>>=s; r|=s; r|=(v>>1); return r;}
static __attribute__((noinline)) u32 log2l_(u64 v){ u32 hi=v>>32; if(hi) return log2_(hi)+33; return log2_(v)+1; }
SEC("tracepoint/syscalls/sys_enter_openat") int tp_enter(void *ctx){
  u64 id=bpf_get_current_pid_tgid(); u32 pid=id>>32; u64 ts=bpf_ktime_get_ns();
  bpf_map_update_elem(&start,&pid,&ts,0);
  struct key k={}; k.pid=pid; bpf_get_current_comm(k.comm,16);
  u64 *v=bpf_map_lookup_elem(&counts,&k), one=1; if(v) __sync_fetch_and_add(v,1); else bpf_map_update_elem(&counts,&k,&one,1);
  if (pid==target+ro) total++;
  return 0; }
SEC("tracepoint/syscalls/sys_exit_openat") int tp_exit(void *ctx){
  u32 pid=bpf_get_current_pid_tgid()>>32; u64 *t=bpf_map_lookup_elem(&start,&pid); if(!t) return 0;
  u64 d=bpf_ktime_get_ns()-*t; bpf_map_delete_elem(&start,&pid);
  u32 slot=log2l_(d/1000); if (slot>=64) slot=63;
  u64 *h=bpf_map_lookup_elem(&hist,&slot); if(h) (*h)++;
  return 0; }
SEC("kprobe/do_sys_openat2") int kp(u64 *ctx){
  struct ev e; __builtin_memset(&e,0,sizeof e); e.ts=bpf_ktime_get_ns(); e.pid=bpf_get_current_pid_tgid()>>32; bpf_get_current_comm(e.comm,sizeof e.comm);
  bpf_probe_read_user_str(e.fname,sizeof e.fname,(void*)ctx[13]);
  bpf_perf_event_output(ctx,&events,0xffffffffULL,&e,sizeof e); return 0; }
SEC("raw_tp/sched_process_exit") int rt(u64 *ctx){
  struct ev *e=bpf_ringbuf_reserve(&rb,sizeof *e,0); if(!e) return 0;
  e->ts=bpf_ktime_get_ns(); e->pid=ctx[0]; e->ret=0; bpf_get_current_comm(e->comm,16);
  long n=bpf_probe_read_kernel_str(e->fname,sizeof e->fname,(void*)(ctx[1]+8));
  if (n<0) { bpf_ringbuf_discard(e,0); return 0;}
  bpf_ringbuf_submit(e,0); return 0; }
SEC("tracepoint/syscalls/sys_enter_execve") int loopy(u64 *ctx){
  char buf[32]; const char **argv=(const char**)ctx[3]; u64 sum=0;
  for (int i=0;i<20;i++){ const char *p=0; bpf_probe_read_user(&p,8,&argv[i]); if(!p) break; long n=bpf_probe_read_user_str(buf,32,p); if(n<=0) break; if (n>32) break; for(int j=0;j<n&&j<32;j++) sum=sum*31+buf[j&31]; }
  total+=sum; char fmt[]="sum %llu\n"; bpf_trace_printk(fmt,sizeof fmt,sum); return 0; }
#define __always_inline inline __attribute__((always_inline))
struct data_t { u32 pid; u32 ppid; u64 ts; char comm[16]; char args[128]; int type; };
MAP(birth,1,u32,u64,10240);
struct lkey { u64 slot; char name[32]; };
MAP(dist,1,struct lkey,u64,10240);
struct { __uint(type,7); __uint(key_size,4); __uint(value_size,127*8); __uint(max_entries,1024);} stacks SEC(".maps");
struct { __uint(type,4); __uint(key_size,4); __uint(value_size,4); __uint(max_entries,2);} events2 SEC(".maps");
struct { __uint(type,6); __uint(max_entries,1); __type(key,u32); __type(value, struct data_t);} heap SEC(".maps");
struct { __uint(type,27); __uint(max_entries,4096);} rb2 SEC(".maps");
MAP(arr,2,u32,u64,4);
const volatile u32 filter_pid=0; const volatile u64 min_ns = 5; 
static __always_inline u32 lg(u32 v){ u32 s,r; r=(v>0xFFFF)<<4; v>>=r; s=(v>0xFF)<<3; v>>=s; r|=s; s=(v>0xF)<<2; v>>=s; r|=s; s=(v>3)<<1; v>>=s; r|=s; r|=(v>>1); return r; }
static __always_inline u32 lgl(u64 v){ u32 hi=v>>32; if(hi) return lg(hi)+32; return lg(v); }
SEC("kprobe/a1") int heap_use(u64 *ctx){ u32 z=0; struct data_t *d=bpf_map_lookup_elem(&heap,&z); if(!d) return 0; d->pid=bpf_get_current_pid_tgid()>>32; if(filter_pid && d->pid!=filter_pid) return 0; d->ts=bpf_ktime_get_ns(); bpf_get_current_comm(&d->comm,16); bpf_probe_read_kernel_str(d->args,sizeof d->args,(void*)ctx[14]); bpf_perf_event_output(ctx,&events2,0xffffffffULL,d,sizeof *d); return 0; }
SEC("kprobe/a2") int stackid(u64 *ctx){ struct lkey k; __builtin_memset(&k,0,sizeof k); k.slot=bpf_get_stackid(ctx,&stacks,0); if ((s64)k.slot<0) return 0; bpf_get_current_comm(k.name,16); u64 *v=bpf_map_lookup_elem(&dist,&k); if(v){ __sync_fetch_and_add(v,1);} else { u64 one=1; bpf_map_update_elem(&dist,&k,&one,1);} return 0; }
SEC("kretprobe/a3") int latency(u64 *ctx){ u32 t=bpf_get_current_pid_tgid(); u64 *ts=bpf_map_lookup_elem(&birth,&t); if(!ts) return 0; u64 d=bpf_ktime_get_ns()-*ts; bpf_map_delete_elem(&birth,&t); if(d<min_ns) return 0; struct lkey k={}; k.slot=lgl(d/1000); bpf_probe_read_kernel(k.name,32,(void*)ctx[10]); u64 zero=0; u64 *v=bpf_map_lookup_elem(&dist,&k); if(!v){ bpf_map_update_elem(&dist,&k,&zero,1); v=bpf_map_lookup_elem(&dist,&k); if(!v) return 0;} (*v)++; return 0;}
SEC("tracepoint/sched/sched_switch") int sw(void *ctx){ struct { u64 pad; char prev_comm[16]; int prev_pid; int prio; long state; char next_comm[16]; int next_pid; } *a=ctx; u32 pid=a->prev_pid; u64 ts=bpf_ktime_get_ns(); if(a->state==0) bpf_map_update_elem(&birth,&pid,&ts,0); pid=a->next_pid; u64 *tp=bpf_map_lookup_elem(&birth,&pid); if(!tp) return 0; u64 d=ts-*tp; u32 s=lgl(d)&3; u64 *c=bpf_map_lookup_elem(&arr,&s); if(c) *c+=d; bpf_map_delete_elem(&birth,&pid); return 0;}
SEC("kprobe/a4") int argv(u64 *ctx){ u32 z=0; struct data_t *d=bpf_map_lookup_elem(&heap,&z); if(!d) return 0; u32 off=0; const char **av=(const char**)ctx[13];
 #pragma unroll
 for(int i=0;i<8;i++){ const char *p=0; bpf_probe_read_user(&p,8,&av[i]); if(!p) break; if(off>128-16) break; long n=bpf_probe_read_user_str(&d->args[off],16,p); if(n<0||n>16) break; off+=n; }
 d->type=off; off&=127; bpf_perf_event_output(ctx,&events2,0xffffffffULL,d,__builtin_offsetof(struct data_t,args)+off); return 0;}
SEC("kprobe/a5") int rbo(u64 *ctx){ struct data_t *d=bpf_ringbuf_reserve(&rb2,sizeof *d,0); if(!d) return 1; u64 id=bpf_get_current_pid_tgid(); d->pid=id>>32; d->ppid=0; for(int i=0;i<64;i++) d->args[i]='a'+i; if((u32)id==5){ bpf_ringbuf_discard(d,0); return 0;} bpf_ringbuf_submit(d,0); return 0;}
SEC("kprobe/a6") int cmp(u64 *ctx){ char c[16]; bpf_get_current_comm(c,16); char want[]="python3"; for(int i=0;i<7;i++) if(c[i]!=want[i]) return 0; u32 k=1; u64 *v=bpf_map_lookup_elem(&arr,&k); if(v) *v+=1; return bpf_strncmp(c,16,"hello")==0; }
SEC("kprobe/a7") int sw2(u64 *ctx){ u64 r=0; switch(ctx[0]&15){case 0:r=1;break;case 1:r=7;break;case 2:r=9;break;case 3:r=ctx[1];break;case 5:r=5;break;case 9:r=3;break; default: r=2;} u32 k=r; if(k<4){u64*v=bpf_map_lookup_elem(&arr,&k); if(v)*v=r;} u64 a[8]; for(int i=0;i<8;i++) a[i]=ctx[i]; u64 s=0; for(int i=0;i<8;i++) s+=a[(s+i)&7]; return s; }
static __attribute__((noinline)) int fill(struct lkey *k, u64 x){ k->slot=x; for(int i=0;i<32;i++) k->name[i]=x>>i; return x; }
SEC("kprobe/a8") int sub(u64 *ctx){ struct lkey k; fill(&k, ctx[3]); u64 one=1; bpf_map_update_elem(&dist,&k,&one,0); return 0; }
SEC("raw_tracepoint/sys_enter") int rawe(u64 *ctx){ u64 nr=ctx[1]; if(nr>500) return 0; u32 k=nr&3; u64 *v=bpf_map_lookup_elem(&arr,&k); if(v) __sync_fetch_and_add(v,1); u64 di=0; bpf_probe_read_kernel(&di,8,(void*)(ctx[0]+112)); if(di>3){ u32 p=di; u64 t=bpf_ktime_get_ns(); bpf_map_update_elem(&birth,&p,&t,0);} return 0; }
SEC("perf_event") int pe(u64 *ctx){ u32 k=ctx[16]&3; u64*v=bpf_map_lookup_elem(&arr,&k); if(v) *v+=ctx[21]; return 0;}
struct xdp_md { u32 data,data_end,meta,ifi,rxq,eg; };
SEC("xdp") int x(struct xdp_md *m){ unsigned char *d=(void*)(long)m->data,*e=(void*)(long)m->data_end; if(d+34>e) return 2; if(d[12]!=8||d[13]!=0) return 2; u32 ihl=(d[14]&15)*4; if(d+14+ihl+8>e) return 2; u32 p=d[23]; u32 k=p&3; u64 *v=bpf_map_lookup_elem(&arr,&k); if(v) __sync_fetch_and_add(v,1); u16 port=*(u16*)(d+14+ihl+2); return port==0x5000?1:2; }
