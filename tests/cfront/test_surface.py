"""Every name that BCC gives to a C text has a case here: the text that uses it compiles, and Linux takes its maps and
its program, or it is refused with the sentence that the case says.

The lists of names are BCC's interface, typed in; a case belongs to the name it is filed under and must contain it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from bcc_py.elf import read_object
from bcc_py.errors import LoadError
from bcc_py.kernel import Kernel
from bcc_py.load import load
from cfront import CompileError
from cfront.driver import compile_unit
from cfront.uapi import HELPERS, Arg, ProgType

# ---- the names


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DECLARATIONS = _words("""
    BPF_TABLE BPF_F_TABLE BPF_TABLE_PINNED BPF_TABLE_PUBLIC BPF_TABLE_SHARED "extern" BPF_HASH BPF_PERCPU_HASH "lru_hash"
    "lru_percpu_hash" BPF_ARRAY BPF_PERCPU_ARRAY BPF_HISTOGRAM BPF_LPM_TRIE BPF_STACK_TRACE BPF_STACK_TRACE_BUILDID
    BPF_PERF_OUTPUT BPF_RINGBUF_OUTPUT BPF_PERF_ARRAY BPF_CGROUP_ARRAY BPF_PROG_ARRAY BPF_DEVMAP BPF_CPUMAP BPF_XSKMAP
    BPF_ARRAY_OF_MAPS BPF_HASH_OF_MAPS BPF_QUEUE BPF_STACK BPF_QUEUESTACK BPF_QUEUESTACK_PINNED BPF_QUEUESTACK_PUBLIC
    BPF_QUEUESTACK_SHARED BPF_SOCKMAP BPF_SOCKHASH BPF_SK_STORAGE BPF_INODE_STORAGE BPF_TASK_STORAGE BPF_CGROUP_STORAGE
    BPF_PERCPU_CGROUP_STORAGE""")
METHODS = _words("""
    lookup lookup_or_try_init lookup_or_init update insert delete increment atomic_increment perf_submit perf_submit_skb
    ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query get_stackid call perf_read
    perf_counter_value check_current_task redirect_map sk_storage_get sk_storage_delete inode_storage_get
    inode_storage_delete task_storage_get task_storage_delete get_local_storage push pop peek sock_map_update
    sock_hash_update msg_redirect_hash sk_redirect_hash""")
NAMES = _words("""
    bpf_trace_printk bpf_num_cpus bpf_usdt_readarg bpf_usdt_readarg_p incr_cksum_l3 incr_cksum_l4 lock_xadd cursor_advance
    load_byte load_half load_word load_dword bpf_dext_pkt bpf_dins_pkt MASK MASK128 bpf_log2 bpf_log2l bpf_ntohs bpf_htons
    bpf_ntohl bpf_htonl bpf_ntohll bpf_htonll bpf_ntoh128 bpf_hton128 ntohs htons ntohl htonl TP_DATA_LOC_READ_CONST
    TP_DATA_LOC_READ TP_DATA_LOC_READ_STR PT_REGS_PARM1 PT_REGS_PARM2 PT_REGS_PARM3 PT_REGS_PARM4 PT_REGS_PARM5 PT_REGS_PARM6
    PT_REGS_RC PT_REGS_IP PT_REGS_SP PT_REGS_FP PT_REGS_RET PT_REGS_SYSCALL_CTX PT_REGS_PARM1_SYSCALL PT_REGS_PARM2_SYSCALL
    PT_REGS_PARM3_SYSCALL PT_REGS_PARM4_SYSCALL PT_REGS_PARM5_SYSCALL PT_REGS_PARM6_SYSCALL BPF_MAX_STACK_DEPTH
    bpf_stacktrace bpf_tail_call_ bcc_get_stackid CUR_CPU_IDENTIFIER BCC_SEC _version _license BPF_LICENSE container_of
    offsetof min_t likely unlikely KERNEL_VERSION LINUX_VERSION_CODE NULL ethernet_t dot1q_t arp_t ip_t icmp_t ip6_t ip6_opt_t
    icmp6_t udp_t tcp_t vxlan_t vxlan_gbp_t""")
FORMS = _words("""
    kprobe__ kretprobe__ tracepoint__ TRACEPOINT_PROBE raw_tracepoint__ RAW_TRACEPOINT_PROBE KFUNC_PROBE KRETFUNC_PROBE
    MODULE_KFUNC_PROBE MODULE_KRETFUNC_PROBE KMOD_RET LSM_PROBE BPF_ITER syscall__ kprobe____x64_sys_ plain static six seven
    unnamed non-static""")
READS = _words("""
    parameter context-member current-task assigned through-member static-function returned-by-function map-value arrow
    dotted chained deref deref-twice subscript array-member parenthesised address-of array-result probe-read-argument
    other-helper inside-macro bit-field first-parameter context-pointer store""")
REWRITES = _words("""
    printk-literal printk-nested printk-in-macro printk-no-literal printk-too-many printk-specifier printk-three
    printk-strings printk-count num-cpus checksum packet-read packet-write packet-in-macro packet-macro-at-the-end
    usdt-none table-not-struct table-unknown-type leaf-zero table-kind unknown-table unknown-method method-in-macro histogram-leaf
    array-insert stackid-elsewhere nested-inner unknown-inner license-by-flag cpus-unknown relative-pin""")


@dataclass(frozen=True, slots=True)
class Case:
    """type: what Linux loads f as, None if it is only compiled. word: what the text must contain instead of the name.
    refused: the first error; warned: a warning."""

    name: str
    text: str
    type: ProgType | None = None
    word: str | None = None
    refused: str = ""
    warned: str = ""
    flags: tuple[str, ...] = ()
    loads: bool = True  # Linux makes the maps, and loads the programs whose names say their type


K, X, S, T, R = ProgType.KPROBE, ProgType.XDP, ProgType.SCHED_CLS, ProgType.TRACEPOINT, ProgType.RAW_TRACEPOINT
CONTEXT = {
    K: "struct pt_regs", X: "struct xdp_md", S: "struct __sk_buff", T: "void", R: "struct bpf_raw_tracepoint_args",
    ProgType.SOCK_OPS: "struct bpf_sock_ops", ProgType.SK_SKB: "struct __sk_buff", ProgType.SK_MSG: "struct sk_msg_md",
    ProgType.CGROUP_SKB: "struct __sk_buff", ProgType.LSM: "void", ProgType.PERF_EVENT: "struct bpf_perf_event_data",
}


def program(body: str, type: ProgType = K, before: str = "") -> str:
    return f"{before}\nint f({CONTEXT[type]} *ctx) {{ {body} return 0; }}\n"


def declared(name: str, text: str, loads: bool = True) -> Case:
    return Case(name, program("", K, text), loads=loads)


DECLARED = [
    declared("BPF_TABLE", 'BPF_TABLE("hash", u32, u64, t, 8);'),
    Case("BPF_TABLE", program("", K, "BPF_TABLE(MAPTYPE, u32, u64, t, 8);"), flags=('-DMAPTYPE="lru_hash"',)),
    declared("BPF_F_TABLE", 'BPF_F_TABLE("lpm_trie", u64, u64, t, 8, BPF_F_NO_PREALLOC);'),
    declared("BPF_TABLE_PINNED", 'BPF_TABLE_PINNED("hash", u32, u64, t, 8, "/sys/fs/bpf/none");', loads=False),
    declared("BPF_TABLE_PINNED", 'BPF_TABLE_PINNED("hash", u32, u64, t, 8, "/sys/fs/bpf/none", 1);', loads=False),
    declared("BPF_TABLE_PUBLIC", 'BPF_TABLE_PUBLIC("hash", u32, u64, t, 8);'),
    declared("BPF_TABLE_SHARED", 'BPF_TABLE_SHARED("hash", u32, u64, t, 8); BPF_TABLE_SHARED("hash", u32, u64, t2, 8, 1);'),
    declared('"extern"', 'BPF_TABLE("extern", u32, u64, t, 8);', loads=False),
    declared("BPF_HASH", "BPF_HASH(a); BPF_HASH(b, u32); BPF_HASH(c, u32, u8); BPF_HASH(d, u32, u8, 7);"),
    declared("BPF_PERCPU_HASH", "BPF_PERCPU_HASH(a); BPF_PERCPU_HASH(b, u32); BPF_PERCPU_HASH(c, u32, u8, 7);"),
    declared('"lru_hash"', 'BPF_TABLE("lru_hash", u32, u64, t, 8);'),
    declared('"lru_percpu_hash"', 'BPF_TABLE("lru_percpu_hash", u32, u64, t, 8);'),
    declared("BPF_ARRAY", "BPF_ARRAY(a); BPF_ARRAY(b, u32); BPF_ARRAY(c, u32, 7);"),
    declared("BPF_PERCPU_ARRAY", "BPF_PERCPU_ARRAY(a); BPF_PERCPU_ARRAY(b, u32); BPF_PERCPU_ARRAY(c, u32, 7);"),
    declared("BPF_HISTOGRAM", "BPF_HISTOGRAM(a); BPF_HISTOGRAM(b, u32); BPF_HISTOGRAM(c, int, 7);"),
    declared("BPF_LPM_TRIE", "BPF_LPM_TRIE(a); BPF_LPM_TRIE(b, struct { u32 len; u32 ip; }, u32, 7);"),
    declared("BPF_STACK_TRACE", "BPF_STACK_TRACE(t, 100);"),
    declared("BPF_STACK_TRACE_BUILDID", "BPF_STACK_TRACE_BUILDID(t, 128);"),
    declared("BPF_PERF_OUTPUT", "BPF_PERF_OUTPUT(t);"),
    declared("BPF_RINGBUF_OUTPUT", "BPF_RINGBUF_OUTPUT(t, 8);"),
    declared("BPF_PERF_ARRAY", "BPF_PERF_ARRAY(t, 4);"),
    declared("BPF_CGROUP_ARRAY", "BPF_CGROUP_ARRAY(t, 1);"),
    declared("BPF_PROG_ARRAY", "BPF_PROG_ARRAY(t, 10);"),
    declared("BPF_DEVMAP", "BPF_DEVMAP(t, 10);"),
    declared("BPF_CPUMAP", "BPF_CPUMAP(t, 2);"),
    declared("BPF_XSKMAP", "BPF_XSKMAP(t, 4);"),
    declared("BPF_XSKMAP", 'BPF_XSKMAP(t, 4, "/sys/fs/bpf/none");', loads=False),
    declared("BPF_ARRAY_OF_MAPS", 'BPF_ARRAY_OF_MAPS(t, "in", 4); BPF_ARRAY(in, u64, 8);'),
    declared("BPF_HASH_OF_MAPS", """BPF_HASH(in, u32, u64, 8);
    BPF_HASH_OF_MAPS(a, "in"); BPF_HASH_OF_MAPS(b, u64, "in"); BPF_HASH_OF_MAPS(c, u64, "in", 4);"""),
    declared("BPF_QUEUE", "BPF_QUEUE(a, u32, 7); BPF_QUEUE(b, u32, 7, 0);"),
    declared("BPF_STACK", "BPF_STACK(a, u32, 7); BPF_STACK(b, u32, 7, 0);"),
    declared("BPF_QUEUESTACK", 'BPF_QUEUESTACK("queue", a, u32, 7, 0); BPF_QUEUESTACK("stack", b, u32, 7, 0);'),
    declared("BPF_QUEUESTACK_PINNED", 'BPF_QUEUESTACK_PINNED("queue", t, u32, 7, 0, "/sys/fs/bpf/none");', loads=False),
    declared("BPF_QUEUESTACK_PUBLIC", 'BPF_QUEUESTACK_PUBLIC("queue", t, u32, 7, 0);'),
    declared("BPF_QUEUESTACK_SHARED", 'BPF_QUEUESTACK_SHARED("stack", t, u32, 7, 0);'),
    declared("BPF_SOCKMAP", "BPF_SOCKMAP(t, 3);"),
    declared("BPF_SOCKHASH", "BPF_SOCKHASH(a); BPF_SOCKHASH(b, u64); BPF_SOCKHASH(c, u64, 3);"),
    declared("BPF_SK_STORAGE", "BPF_SK_STORAGE(t, u64);"),
    declared("BPF_INODE_STORAGE", "BPF_INODE_STORAGE(t, u64);", loads=False),
    declared("BPF_TASK_STORAGE", "BPF_TASK_STORAGE(t, u64);"),
    declared("BPF_CGROUP_STORAGE", "BPF_CGROUP_STORAGE(t, u64);"),
    declared("BPF_PERCPU_CGROUP_STORAGE", "BPF_PERCPU_CGROUP_STORAGE(t, u64);"),
]


def method(name: str, tables: str, body: str, type: ProgType = K, loads: bool = True) -> Case:
    return Case(name, program(body, type, tables), type if loads else None, loads=loads)


_HASH, _BYTES = "BPF_HASH(t, u32, u64);", "u32 k = 1; u64 v = 2;"
METHOD_CASES = [
    method("lookup", _HASH, _BYTES + "u64 *p = t.lookup(&k); if (p) *p += 1;"),
    method("lookup", 'BPF_HASH(in, u32, u64, 8); BPF_HASH_OF_MAPS(t, u32, "in", 4);',
           _BYTES + "void *m = t.lookup(&k); if (!m) return 0; u64 *p = bpf_map_lookup_elem(m, &k);"
           "if (p) *p += 1; else bpf_map_update_elem(m, &k, &v, BPF_ANY);"),
    method("lookup", "BPF_XSKMAP(t, 4);", "u32 k = ctx->rx_queue_index; return t.lookup(&k) != NULL;", X),
    method("lookup_or_try_init", _HASH, _BYTES + "u64 *p = t.lookup_or_try_init(&k, &v); if (p) ++*p;"),
    method("lookup_or_init", _HASH, _BYTES + "u64 *p = t.lookup_or_init(&k, &v); ++*p;"),
    method("update", _HASH, _BYTES + "t.update(&k, &v);"),
    method("insert", _HASH, _BYTES + "return t.insert(&k, &v);"),
    method("delete", _HASH, _BYTES + "t.delete(&k);"),
    method("increment", _HASH, "t.increment(1); t.increment(2, 3);"),
    method("increment", "struct key_t { u32 a, b; }; BPF_HASH(t, struct key_t);", "struct key_t k = {1, 2}; t.increment(k);"),
    method("atomic_increment", _HASH, "t.atomic_increment(1); t.atomic_increment(2, 3);"),
    method("perf_submit", "BPF_PERF_OUTPUT(t);", "u64 v = 1; t.perf_submit(ctx, &v, sizeof(v));"),
    method("perf_submit_skb", "BPF_PERF_OUTPUT(t);", "u64 v = 1; t.perf_submit_skb(ctx, ctx->len, &v, sizeof(v));", S),
    method("ringbuf_output", "BPF_RINGBUF_OUTPUT(t, 2);", "u64 v = 1; t.ringbuf_output(&v, sizeof(v), 0);"),
    method("ringbuf_reserve", "BPF_RINGBUF_OUTPUT(t, 2);",
           "u64 *p = t.ringbuf_reserve(sizeof(u64)); if (!p) return 0; *p = 1; t.ringbuf_submit(p, 0);"),
    method("ringbuf_submit", "BPF_RINGBUF_OUTPUT(t, 2);",
           "u64 *p = t.ringbuf_reserve(8); if (!p) return 0; *p = 1; t.ringbuf_submit(p, BPF_RB_FORCE_WAKEUP);"),
    method("ringbuf_discard", "BPF_RINGBUF_OUTPUT(t, 2);", "u64 *p = t.ringbuf_reserve(8); if (p) t.ringbuf_discard(p, 0);"),
    method("ringbuf_query", "BPF_RINGBUF_OUTPUT(t, 2);", "return t.ringbuf_query(BPF_RB_RING_SIZE);"),
    method("get_stackid", "BPF_STACK_TRACE(t, 64);", "return t.get_stackid(ctx, BPF_F_REUSE_STACKID);"),
    method("call", "enum { FIRST, SECOND }; BPF_PROG_ARRAY(t, 4);", "t.call(ctx, SECOND);"),
    method("perf_read", "BPF_PERF_ARRAY(t, 4);", "return t.perf_read(CUR_CPU_IDENTIFIER);"),
    method("perf_counter_value", "BPF_PERF_ARRAY(t, 4);",
           "struct bpf_perf_event_value v; return t.perf_counter_value(0, &v, sizeof(v));"),
    method("check_current_task", "BPF_CGROUP_ARRAY(t, 1);", "return t.check_current_task(0);"),
    method("redirect_map", "BPF_DEVMAP(t, 4); BPF_CPUMAP(c, 2); BPF_XSKMAP(x, 4);",
           "if (ctx->rx_queue_index) return x.redirect_map(ctx->rx_queue_index, 0);"
           "return ctx->ingress_ifindex ? t.redirect_map(1, 0) : c.redirect_map(0, 0);", X),
    method("sk_storage_get", "BPF_SK_STORAGE(t, u64);", """struct bpf_sock *sk = ctx->sk; if (!sk) return 0; sk = bpf_sk_fullsock(sk);
           if (!sk) return 0; u64 *p = t.sk_storage_get(sk, 0, BPF_SK_STORAGE_GET_F_CREATE); if (p) ++*p;""", S),
    method("sk_storage_delete", "BPF_SK_STORAGE(t, u64);", """struct bpf_sock *sk = ctx->sk; if (!sk) return 0;
           sk = bpf_sk_fullsock(sk); if (sk) t.sk_storage_delete(sk);""", S),
    method("inode_storage_get", "BPF_INODE_STORAGE(t, u64);",
           "u64 *p = t.inode_storage_get((struct inode *)ctx, 0, BPF_LOCAL_STORAGE_GET_F_CREATE); if (p) ++*p;", ProgType.LSM, False),
    method("inode_storage_delete", "BPF_INODE_STORAGE(t, u64);", "t.inode_storage_delete(ctx);", ProgType.LSM, False),
    method("task_storage_get", "BPF_TASK_STORAGE(t, u64);",
           "u64 *p = t.task_storage_get(bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE); if (p) ++*p;"),
    method("task_storage_delete", "BPF_TASK_STORAGE(t, u64);", "t.task_storage_delete(bpf_get_current_task_btf());"),
    method("get_local_storage", "BPF_CGROUP_STORAGE(t, u64);", "u64 *p = t.get_local_storage(0); *p += 1;", ProgType.CGROUP_SKB),
    method("push", "BPF_QUEUE(t, u64, 4);", "u64 v = 1; t.push(&v, BPF_EXIST);"),
    method("pop", "BPF_STACK(t, u64, 4);", "u64 v; return t.pop(&v);"),
    method("peek", "BPF_QUEUE(t, u64, 4);", "u64 v; return t.peek(&v);"),
    method("sock_map_update", "BPF_SOCKMAP(t, 4);", "u32 k = 1; t.sock_map_update(ctx, &k, BPF_ANY);", ProgType.SOCK_OPS),
    method("sock_hash_update", "BPF_SOCKHASH(t, u64);", "u64 k = 1; t.sock_hash_update(ctx, &k, BPF_ANY);", ProgType.SOCK_OPS),
    method("msg_redirect_hash", "BPF_SOCKHASH(t, u64);", "u64 k = 1; return t.msg_redirect_hash(ctx, &k, BPF_F_INGRESS);", ProgType.SK_MSG),
    method("sk_redirect_hash", "BPF_SOCKHASH(t, u64);", "u64 k = 1; return t.sk_redirect_hash(ctx, &k, 0);", ProgType.SK_SKB),
]


def named(name: str, body: str, type: ProgType | None = K, before: str = "", context: ProgType = K) -> Case:
    return Case(name, program(body, type or context, before), type)


def _packet(name: str, field: str) -> Case:
    body = f"u8 *cursor = 0; struct {name} *h = cursor_advance(cursor, sizeof(*h)); return h->{field};"
    return named(name, body, S, "#include <bcc/proto.h>")


_READER = """static inline int _bpf_readarg_f_1(struct pt_regs *ctx, void *dest, size_t len) {
    if (len != sizeof(int)) return -1; *(int *)dest = ctx->ax; return 0; }
static inline int _bpf_readarg_f_2(struct pt_regs *ctx, void *dest, size_t len) {
    if (len != sizeof(u64)) return -1; *(u64 *)dest = ctx->bx; return 0; }"""
_TRACEPOINT = "TRACEPOINT_PROBE(sched, sched_process_exec) { char to[16] = {}; %s return to[0]; }"
NAME_CASES = [
    named("bpf_trace_printk", 'bpf_trace_printk("%d %s\\n", 1, "x");'),
    Case("bpf_num_cpus", program("return bpf_num_cpus();"), K, flags=("-Dbpf_num_cpus()=2",)),
    named("bpf_usdt_readarg", "int v = 0; bpf_usdt_readarg(1, ctx, &v); return v;", K, _READER),
    named("bpf_usdt_readarg_p", "char v[8] = {}; bpf_usdt_readarg_p(2, ctx, &v, sizeof(v)); return v[0];", K, _READER),
    named("incr_cksum_l3", "incr_cksum_l3(24, (u32)1, (u32)2);", S),
    named("incr_cksum_l4", "incr_cksum_l4(50, (u16)1, (u16)2, 1);", S),
    named("lock_xadd", "u64 *p = t.lookup(&(u32){1}); if (p) lock_xadd(p, 2);", K, _HASH),
    named("cursor_advance", "u8 *cursor = 0; void *at = cursor_advance(cursor, 14); return (u64)at + (u64)cursor;", S),
    *[named(f"load_{one}", f"return load_{one}(ctx, 2);", S) for one in ("byte", "half", "word", "dword")],
    named("bpf_dext_pkt", "return bpf_dext_pkt(ctx, 14, 4, 4);", S),
    named("bpf_dins_pkt", "bpf_dins_pkt(ctx, 14, 4, 4, 5);", S),
    named("MASK", '_Static_assert(MASK(5) == 31, ""); _Static_assert(MASK(64) == ~0ull, "");'),
    named("MASK128", "return (u64)(MASK128(70) >> 64);"),
    *[named(one, f"return {one}(bpf_ktime_get_ns());") for one in ("bpf_log2", "bpf_log2l")],
    *[named(f"{one}{size}", f"return {one}{size}(bpf_ktime_get_ns());")
      for size in ("s", "l", "ll", "128") for one in ("bpf_ntoh", "bpf_hton")],
    *[named(one, f"return {one}(bpf_ktime_get_ns());") for one in ("ntohs", "htons", "ntohl", "htonl")],
    Case("TP_DATA_LOC_READ_CONST", _TRACEPOINT % "TP_DATA_LOC_READ_CONST(to, filename, 8);"),
    Case("TP_DATA_LOC_READ", "BPF_ARRAY(t, struct { char bytes[65536]; }, 1);\n" + _TRACEPOINT % (
        "void *all = t.lookup(&(int){0}); if (all) TP_DATA_LOC_READ(all, filename);")),
    Case("TP_DATA_LOC_READ_STR", _TRACEPOINT % "TP_DATA_LOC_READ_STR(to, filename, sizeof(to));"),
    *[named(f"PT_REGS_{one}", f"return PT_REGS_{one}(ctx);")
      for one in ("PARM1", "PARM2", "PARM3", "PARM4", "PARM5", "PARM6", "RC", "IP", "SP", "FP", "RET")],
    named("PT_REGS_SYSCALL_CTX", "struct pt_regs *regs = PT_REGS_SYSCALL_CTX(ctx); return PT_REGS_PARM4_SYSCALL(regs);"),
    *[named(f"PT_REGS_PARM{n}_SYSCALL", f"return PT_REGS_PARM{n}_SYSCALL(PT_REGS_SYSCALL_CTX(ctx));") for n in range(1, 7)],
    named("BPF_MAX_STACK_DEPTH", '_Static_assert(BPF_MAX_STACK_DEPTH == 127, "");'),
    named("bpf_stacktrace", '_Static_assert(sizeof(struct bpf_stacktrace) == 127 * 8, "");'),
    named("bpf_tail_call_", "bpf_tail_call_(&t, ctx, 1);", K, "BPF_PROG_ARRAY(t, 4);"),
    named("bcc_get_stackid", "return bcc_get_stackid(&t, ctx, 0);", K, "BPF_STACK_TRACE(t, 4);"),
    named("CUR_CPU_IDENTIFIER", "u64 v = 1; bpf_perf_event_output(ctx, &t, CUR_CPU_IDENTIFIER, &v, 8);", K, "BPF_PERF_OUTPUT(t);"),
    Case("BCC_SEC", 'BCC_SEC("xdp") int f(struct xdp_md *ctx) { return 2; }'),
    named("_version", "", K, 'u32 _version SEC("version") = LINUX_VERSION_CODE;\n#define LINUX_VERSION_CODE 1'),
    named("_license", "", K, 'char _license[] SEC("license") = "Dual MIT/GPL";'),
    named("BPF_LICENSE", "", K, "#define BPF_LICENSE Dual BSD/GPL"),
    named("container_of", "struct two v = {1, 2}; u32 *p = &v.b; return container_of(p, struct two, b)->a;", K, "struct two { u32 a, b; };"),
    named("offsetof", "return offsetof(struct two, b);", K, "struct two { u32 a, b; };"),
    named("min_t", "return min_t(u64, 1, bpf_ktime_get_ns());"),
    named("likely", "return likely(ctx->ax) ? 1 : 2;"),
    named("unlikely", "return unlikely(ctx->ax) ? 1 : 2;"),
    named("KERNEL_VERSION", '_Static_assert(KERNEL_VERSION(6, 18, 1) == 0x61201, "");'),
    Case("LINUX_VERSION_CODE", program("\n#if LINUX_VERSION_CODE < KERNEL_VERSION(4, 14, 0)\n#error old\n#endif\n"), K,
         flags=("-DLINUX_VERSION_CODE=0x61201",)),
    named("NULL", "return (void *)ctx->ax == NULL;"),
    _packet("ethernet_t", "type"), _packet("dot1q_t", "vlanid"), _packet("arp_t", "oper"), _packet("ip_t", "ttl"),
    _packet("icmp_t", "code"), _packet("ip6_t", "flow_label"), _packet("ip6_opt_t", "ext_len"), _packet("icmp6_t", "checksum"),
    _packet("udp_t", "dport"), _packet("tcp_t", "flag_syn"), _packet("vxlan_t", "key"), _packet("vxlan_gbp_t", "tag"),
]
FORM_CASES = [
    Case("kprobe__", "int kprobe__do_exit(struct pt_regs *ctx, long code) { return code; }"),
    Case("kretprobe__", "int kretprobe__do_exit(struct pt_regs *ctx) { return PT_REGS_RC(ctx); }"),
    Case("tracepoint__", "int tracepoint__sched__sched_switch(struct tracepoint__sched__sched_switch *args) { return args->prev_pid; }"),
    Case("TRACEPOINT_PROBE", "TRACEPOINT_PROBE(sched, sched_switch) { return args->next_pid; }"),
    Case("raw_tracepoint__", "int raw_tracepoint__sched_switch(struct bpf_raw_tracepoint_args *ctx) { return ctx->args[0]; }"),
    Case("RAW_TRACEPOINT_PROBE",
         "RAW_TRACEPOINT_PROBE(sched_switch) { struct task_struct *p = (struct task_struct *)ctx->args[1]; return p->tgid; }"),
    Case("KFUNC_PROBE", "KFUNC_PROBE(do_unlinkat, int dfd, struct filename *name) { return dfd; }", loads=False),
    Case("KRETFUNC_PROBE", "KRETFUNC_PROBE(do_unlinkat, int dfd, struct filename *name, int ret) { return ret; }", loads=False),
    Case("MODULE_KFUNC_PROBE", "MODULE_KFUNC_PROBE(nf_nat, nf_nat_setup_info, struct nf_conn *ct) { return ct != NULL; }", loads=False),
    Case("MODULE_KRETFUNC_PROBE", "MODULE_KRETFUNC_PROBE(nf_nat, nf_nat_setup_info, struct nf_conn *ct, int ret) { return ret; }", loads=False),
    Case("KMOD_RET", "KMOD_RET(bpf_modify_return_test, int a, int *b, int ret) { return ret + a; }", loads=False),
    Case("LSM_PROBE", "LSM_PROBE(bpf, int cmd, union bpf_attr *attr, unsigned int size) { return cmd == 1 ? -EPERM : 0; }", loads=False),
    Case("BPF_ITER", """BPF_ITER(task) { struct task_struct *task = ctx->task; char text[] = "pid"; if (!task) return 0;
    bpf_seq_printf(ctx->meta->seq, text, sizeof(text), NULL, 0); return task->pid == 1 && task->real_parent->pid == 1; }"""),
    Case("syscall__", "int syscall__openat(struct pt_regs *ctx, int dfd, const char __user *name, int flags) { return dfd + flags; }"),
    Case("kprobe____x64_sys_", "int kprobe____x64_sys_openat(struct pt_regs *ctx, int dfd, const char __user *name) { return dfd; }"),
    Case("plain", "int do_entry(struct pt_regs *ctx) { return 0; }", word="do_entry"),
    Case("static", "static u64 half(u64 v) { return v / 2; }\nint f(struct pt_regs *ctx) { return half(ctx->ax); }", K),
    Case("six", "int f(struct pt_regs *ctx, int a, int b, int c, int d, int e, int g) { return a + b + c + d + e + g; }", K, "int g"),
    Case("seven", "int f(struct pt_regs *ctx, int a, int b, int c, int d, int e, int g, int h) { return 0; }", word="int h",
         refused="too many arguments: only those in registers can be bound"),
    Case("unnamed", "int f(struct pt_regs *) { return 0; }", word="*)", refused="arguments to BPF program definition must be named"),
    Case("non-static", "int g(void *ctx) { return 1; }\nint f(void *ctx) { return g(ctx); }", word="g(ctx)",
         refused="cannot call non-static function 'g'"),
]


def read(name: str, body: str, word: str, params: str = "struct task_struct *p", before: str = "") -> Case:
    """A program which only loads in Linux if the kernel's memory is read by a helper."""
    return Case(name, f"{before}\nint f(struct pt_regs *ctx{params and ', '}{params}) {{ {body} return 0; }}\n", K, word)


READ_CASES = [
    read("parameter", "return p->pid;", "p->pid"),
    read("context-member", "struct sock *sk = (struct sock *)PT_REGS_PARM1(ctx); return sk->sk_protocol;", "sk->sk_protocol", ""),
    Case("context-member", "int f(struct bpf_raw_tracepoint_args *ctx) { return ((struct task_struct *)ctx->args[1])->pid; }", R, "args[1]"),
    read("current-task", "struct task_struct *t = (struct task_struct *)bpf_get_current_task(); return t->tgid;", "t->tgid", ""),
    read("assigned", "struct task_struct *t; t = p; struct task_struct *u = t + 0; return u->pid;", "u->pid"),
    read("through-member", "struct pair q; q.a = p; return q.a->pid;", "q.a->pid", before="struct pair { struct task_struct *a; };"),
    read("static-function", "return pid_of(p);", "t->pid", before="static int pid_of(struct task_struct *t) { return t->pid; }"),
    read("returned-by-function", "return parent(p)->pid;", "parent(p)->pid",
         before="static struct task_struct *parent(struct task_struct *t) { return t->real_parent; }"),
    read("map-value", "u32 k = 1; t.update(&k, &p); struct task_struct **q = t.lookup(&k); if (!q) return 0; struct task_struct *r = *q;"
         "return r->pid + (*q)->tgid;", "(*q)->tgid", before="BPF_HASH(t, u32, struct task_struct *);"),
    read("arrow", "return p->prio;", "p->prio"),
    read("dotted", "return p->se.vruntime;", "p->se.vruntime"),
    read("chained", "return p->nsproxy->net_ns->ns.inum;", "net_ns->ns.inum"),
    read("deref", "return *p;", "*p", "int *p"),
    read("deref-twice", "return **p;", "**p", "int **p"),
    read("subscript", "return p[3];", "p[3]", "int *p"),
    read("array-member", "return p->comm[2];", "p->comm[2]"),
    read("parenthesised", "return ((struct task_struct *)(p))->pid;", "))->pid"),
    read("address-of", "return (u64)&p->pid != 0;", "&p->pid"),
    read("array-result", "char to[16]; bpf_probe_read_kernel(&to, sizeof(to), p->comm); return to[0];", "p->comm)"),
    read("probe-read-argument", "u32 v; bpf_probe_read(&v, sizeof(v), &p->real_parent->pid); return v;", "&p->real_parent->pid"),
    read("probe-read-argument", "u32 v; bpf_probe_read(&v, sizeof(v), p); return v;", "p);"),
    read("other-helper", "u32 v; bpf_probe_read_kernel(&v, sizeof(v), &p->real_parent->pid); return v;", "&p->real_parent->pid"),
    read("inside-macro", "return PID_OF(p);", "PID_OF(p)", before="#define PID_OF(t) ((t)->real_parent->pid)"),
    read("bit-field", "return p->in_execve;", "p->in_execve"),
    read("first-parameter", "return ctx->ip;", "ctx->ip", ""),
    Case("context-pointer", program("return ctx->sk ? ctx->sk->family : 0;", S), S, "ctx->sk->family"),
    Case("store", "int f(struct pt_regs *ctx, struct task_struct *p) { p->pid = 1; return 0; }", word="p->pid = 1",
         refused="storing to kernel memory: it can be read, not written"),
]


def refused(name: str, text: str, sentence: str, word: str) -> Case:
    return Case(name, text, word=word, refused=sentence)


def warned(name: str, body: str, sentence: str, before: str = "") -> Case:
    return Case(name, program(body, K, before), word="", warned=sentence)


_SKB = "#include <bcc/proto.h>\n#define SRC(h) (h)->src\n#define PORT 80\nint f(struct __sk_buff *ctx) { u8 *cursor = 0; struct %s *h = cursor_advance(cursor, sizeof(*h)); %s return 0; }"
REWRITE_CASES = [
    Case("printk-literal", program('bpf_trace_printk("%d %x %llu\\n", 1, 2, 3ull);'), K, "bpf_trace_printk"),
    Case("printk-nested", program('return bpf_trace_printk("%d\\n", bpf_trace_printk("in\\n"));'), K, "bpf_trace_printk"),
    Case("printk-in-macro", program('SAY(1);', K, '#define SAY(x) bpf_trace_printk("%d\\n", x)'), K, "SAY(1)"),
    refused("printk-no-literal", program("bpf_trace_printk(ctx->ax);"), "bpf_trace_printk needs a literal format", "printk"),
    refused("printk-too-many", program('bpf_trace_printk("%d %d %d", 1, 2, 3, 4);'), "bpf_trace_printk takes a format and at most 3 values",
            "printk"),
    warned("printk-specifier", 'bpf_trace_printk("%f", 1);', "conversion specifiers allowed, not %f"),
    warned("printk-three", 'bpf_trace_printk("%d %d %d %d", 1, 2, 3);', "more than 3 conversion specifiers"),
    warned("printk-strings", 'bpf_trace_printk("%s %s", "a", "b");', "cannot use several %s"),
    warned("printk-count", 'bpf_trace_printk("%d");', "1 conversion specifiers, 0 values"),
    Case("num-cpus", program("u64 a[bpf_num_cpus()]; a[0] = 1; return a[0];"), K, "bpf_num_cpus", flags=("-Dbpf_num_cpus()=2",)),
    Case("checksum", program("u16 old = load_half(ctx, 24); incr_cksum_l3(24, old, (u16)7);", S), S, "incr_cksum_l3"),
    Case("packet-read", _SKB % ("ip_t", "return h->src + h->ver;"), S, "h->ver"),
    Case("packet-write", _SKB % ("ip_t", "h->src = 5; h->ttl = h->ttl - 1;"), S, "h->src = 5"),
    Case("packet-in-macro", _SKB % ("ip_t", "return SRC(h);"), S, "SRC(h)"),
    Case("packet-macro-at-the-end", _SKB % ("tcp_t", "h->dst_port = PORT;"), S, "= PORT;"),
    warned("usdt-none", "int v; bpf_usdt_readarg(1, ctx, &v);", "function 'f' has no USDT probe enabled: reading its arguments gives -1"),
    refused("table-not-struct", 'int t __attribute__((bpf_table("hash", 1, 0)));',
            "a table is a struct with the members key and leaf", "bpf_table"),
    refused("table-unknown-type", "BPF_HASH(t, u32, struct nowhere);\n", "member 'leaf' of struct t_table_t has incomplete type 'struct nowhere'", "struct nowhere"),
    refused("leaf-zero", "struct none {};\nBPF_HASH(t, u32, struct none);", "table 't' has a leaf of no size ('struct none')", "none"),
    refused("table-kind", 'BPF_TABLE("hush", u32, u32, t, 4);', "unknown table type 'hush'", "hush"),
    refused("unknown-table", program("counts.lookup(&ctx);"), "unknown table 'counts'", "counts"),
    refused("unknown-method", program("t.lookupp(&ctx);", K, _HASH), "table 't' has no method 'lookupp'", "lookupp"),
    Case("method-in-macro", program("ADD(3);", K, _HASH + "\n#define ADD(k) t.increment(k)"), K, "ADD(3)"),
    refused("histogram-leaf", 'BPF_TABLE("histogram", int, u32, t, 64);', "a histogram's leaf is u64, not 'unsigned int'", "histogram"),
    warned("array-insert", "int k = 0; u64 v = 1; t.insert(&k, &v);", "insert() has no effect", "BPF_ARRAY(t, u64, 4);"),
    refused("stackid-elsewhere", program("t.get_stackid(ctx, 0);", K, _HASH), "method 'get_stackid' is not for a table of type 'hash'", "stackid"),
    refused("nested-inner", 'BPF_ARRAY(a, u64, 2);\nBPF_ARRAY_OF_MAPS(b, "a", 2);\nBPF_ARRAY_OF_MAPS(c, "b", 2);',
            "inner map b has inner map a", "OF_MAPS"),
    refused("unknown-inner", 'BPF_ARRAY_OF_MAPS(b, "a", 2);', "table 'b' holds tables like 'a', which is not declared", "OF_MAPS"),
    Case("license-by-flag", program(""), word="", refused="BPF_LICENSE cannot be specified through cflags", flags=("-DBPF_LICENSE=GPL",)),
    refused("cpus-unknown", program("return bpf_num_cpus();"), "the number of CPUs is not known here", "num_cpus"),
    refused("relative-pin", 'BPF_TABLE_PINNED("hash", u32, u32, t, 4, "here");',
            "table 't' is pinned at 'here', which is not an absolute path", "here"),
]

GROUPS = [
    (DECLARATIONS, DECLARED), (METHODS, METHOD_CASES), (NAMES, NAME_CASES), (FORMS, FORM_CASES), (READS, READ_CASES),
    (REWRITES, REWRITE_CASES),
]
CASES = [one for _, cases in GROUPS for one in cases]
NUMBERED = [pytest.param(one, id=f"{one.name}-{at}") for at, one in enumerate(CASES)]


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_every_name_has_its_case(group: int) -> None:
    names, cases = GROUPS[group]
    assert len(set(names)) == len(names)
    assert {one.name for one in cases} == set(names)
    for one in cases:
        wanted = re.escape(one.name if one.word is None else one.word)
        assert re.search(wanted, one.text), f"{one.name}: its case does not use it"


@pytest.mark.linux
def test_program_for_a_function_that_is_not_there(linux: Kernel) -> None:
    spec = read_object(compile_unit("KFUNC_PROBE(no_such_function, int a) { return a; }", types=linux.types).object)
    with pytest.raises(LoadError, match="no_such_function is not found in vmlinux BTF"):
        load(spec, linux)


def test_every_helper_has_a_prototype() -> None:
    assert [one.id for one in HELPERS] == list(range(1, 212))


@pytest.mark.linux
def test_every_helper_can_be_called(linux: Kernel) -> None:
    rows = []
    for one in HELPERS:
        count = 2 if "..." in one.prototype else len(one.args)
        params = one.prototype.partition("(*)(")[2].split(", ")
        words = ["&t" if arg is Arg.CONST_MAP_PTR else "each" if "callback_fn" in param else "ctx"
                 for arg, param in zip(one.args[:count], params, strict=False)]
        rows.append(f"int call_{one.name}(void *ctx) {{ bpf_{one.name}({', '.join(words)}); return 0; }}")
    programs = read_object(compile_unit(f"{_HASH}\nstatic long each(void *a) {{ return 0; }}\n" + "\n".join(rows), types=linux.types).object).programs
    assert [one.removeprefix("call_") for one in programs] == [one.name for one in HELPERS]


@pytest.mark.linux
@pytest.mark.parametrize("case", NUMBERED)
def test_case(case: Case, linux: Kernel) -> None:
    if case.refused:
        with pytest.raises(CompileError) as caught:
            compile_unit(case.text, cflags=case.flags, types=linux.types)
        assert case.refused in caught.value.diagnostics[0].message
        return
    made = compile_unit(case.text, cflags=case.flags, types=linux.types)
    assert [one.message for one in made.warnings if case.warned in one.message] if case.warned else not made.warnings
    spec = read_object(made.object)
    assert spec.programs
    if case.loads:
        load(spec, linux, {"f": case.type} if case.type is not None else {}).close()
