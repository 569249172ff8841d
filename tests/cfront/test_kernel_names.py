"""What texts take from the kernel's headers without defining it: every constant, macro, function and type that
upstream's programs name is answered by the kernel's types or by cfront/include, and the values are those of the
system's own headers, of the kernel's types, or of Linux."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bcc_py import BPF
from bcc_py.kernel import Kernel
from cfront import compile


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VALUES = _words("""
    NULL AF_INET AF_INET6 DNAME_INLINE_LEN ETH_P_IP IPPROTO_TCP PF_KTHREAD ETH_P_8021Q __START_KERNEL_map REQ_OP_MASK ETH_P_IPV6
    NSEC_PER_MSEC TC_ACT_OK ETH_P_ARP TASK_RUNNING __PAGE_OFFSET_BASE_L4 __PAGE_OFFSET_BASE_L5 NSEC_PER_USEC TC_ACT_SHOT
    ETH_P_8021AD IPPROTO_UDP O_CREAT O_TMPFILE FMODE_CREATED ENOMEM SCM_RIGHTS DISK_NAME_LEN NAME_MAX CGROUP2_SUPER_MAGIC EIO
    EPROTONOSUPPORT ETH_ALEN IFNAMSIZ IPPROTO_ICMPV6 IPPROTO_MPTCP PAGE_SIZE SOCK_TYPE_MASK PAGE_OFFSET AT_FDCWD
    TASK_COMM_LEN true false REQ_OP_WRITE TCP_CLOSE TCP_SYN_SENT ITER_IOVEC REQ_OP_DISCARD REQ_OP_FLUSH REQ_OP_READ
    COMPACT_CONTINUE SOCK_STREAM NR_FREE_PAGES NR_WMARK WMARK_HIGH WMARK_LOW WMARK_MIN TCP_CA_CWR TCP_CA_Disorder TCP_CA_Loss
    TCP_CA_Open TCP_CA_Recovery TCP_FIN_WAIT1 TCP_LAST_ACK SKB_DROP_REASON_NOT_SPECIFIED TCP_ESTABLISHED TCP_NEW_SYN_RECV
    TCP_SYN_RECV IRQ_NONE ITER_UBUF NR_VM_ZONE_STAT_ITEMS NR_SOFTIRQS TCP_CLOSE_WAIT NFPROTO_IPV4 NF_INET_LOCAL_IN PIDTYPE_PID
    MM_ANONPAGES BPF_F_USER_STACK BPF_F_NO_PREALLOC XDP_PASS XDP_DROP XDP_TX BPF_F_REUSE_STACKID BPF_F_STACK_BUILD_ID
    BPF_LOCAL_STORAGE_GET_F_CREATE BPF_F_CURRENT_CPU BPF_F_INGRESS BPF_F_NO_COMMON_LRU BPF_NOEXIST BPF_RB_RING_SIZE
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB SK_PASS""")
# what the kernel's headers have on other versions only, and texts ask for with #ifdef
ABSENT = _words("REQ_WRITE REQ_OP_SHIFT __PAGE_OFFSET_BASE VA_START")
TYPES = _words("""
    pt_regs task_struct sock qstr dentry file inode ns_common nsproxy request sk_buff kiocb inet_sock ethhdr gendisk
    bpf_perf_event_data iphdr user_namespace tcphdr msghdr ipv6hdr socket vfsmount path tcp_sock iov_iter tcp_skb_cb pglist_data
    renamedata zone page rq timespec64 list_head bio load_weight oom_control sched_entity vlan_hdr cred open_how kvec pid upid
    kstat kmem_cache folio fs_struct hlist_node cmsghdr inet_connection_sock nf_hook_state perf_branch_entry scatterlist virtqueue
    irq_desc irqaction sockaddr udphdr __kernel_sockaddr_storage sockaddr_storage block_device bpf_perf_event_data_kern callback_head
    rcu_head mm_struct net_device perf_sample_data sockaddr_in6 sockaddr_in super_block bpf_pidns_info bpf_raw_tracepoint_args
    bpf_tunnel_key xdp_md bpf_sock_ops sk_msg_md __sk_buff""")
TYPEDEFS = _words("""
    u8 u16 u32 u64 s8 s16 s32 s64 __u8 __u16 __u32 __u64 __be16 __be32 size_t bool uint8_t uint16_t uint32_t uint64_t dev_t
    blk_opf_t gfp_t pid_t sector_t u_int8_t uintptr_t fmode_t loff_t atomic_t ssize_t umode_t""")
FUNCTIONS = {
    "ntohs": "ntohs(1)", "htons": "htons(1)", "ntohl": "ntohl(1)", "htonl": "htonl(1)", "offsetof": "offsetof(struct file, f_path)",
    "min_t": "min_t(u64, v, 2)", "max_t": "max_t(u64, v, 2)", "S_ISREG": "S_ISREG(v)", "S_ISSOCK": "S_ISSOCK(v)",
    "container_of": "(u64)container_of((struct list_head *)v, struct task_struct, tasks)", "unlikely": "unlikely(v)",
    "folio_page": "(u64)folio_page((struct folio *)v, 1)", "MIN": "MIN(v, 2)", "div_u64": "div_u64(v, 3)",
    "__ilog2_u32": "__ilog2_u32(v)", "__ilog2_u64": "__ilog2_u64(v)", "__roundup_pow_of_two": "__roundup_pow_of_two(v)",
    "inet_csk": "(u64)inet_csk((struct sock *)v)", "sg_chain_ptr": "(u64)sg_chain_ptr((struct scatterlist *)v)",
    "sg_is_chain": "sg_is_chain((struct scatterlist *)v)", "sg_is_last": "sg_is_last((struct scatterlist *)v)",
    "skb_get_rx_queue": "skb_get_rx_queue((struct sk_buff *)v)", "memcmp": 'memcmp(&v, "12345678", 8)',
    "skb_rx_queue_recorded": "skb_rx_queue_recorded((struct sk_buff *)v)", "__sync_fetch_and_add": "__sync_fetch_and_add(&v, 1)",
    "__sync_fetch_and_sub": "__sync_fetch_and_sub(&v, 1)", "MAJOR": "MAJOR(v)", "BIT": "BIT(3)", "IS_ENABLED": "IS_ENABLED(CONFIG_NONE)",
}
WITH_HEADER = {
    "inet_dport": ("net/inet_sock.h", "((struct inet_sock *)v)->inet_dport"), "sk_dport": ("net/sock.h", "((struct sock *)v)->sk_dport"),
    "inet_daddr": ("net/inet_sock.h", "((struct inet_sock *)v)->inet_daddr"), "sk_state": ("net/sock.h", "((struct sock *)v)->sk_state"),
    "s6_addr": ("linux/in6.h", "((struct in6_addr *)v)->s6_addr[3]"), "sk_daddr": ("net/sock.h", "((struct sock *)v)->sk_daddr"),
    "TCP_SKB_CB": ("net/tcp.h", "TCP_SKB_CB((struct sk_buff *)v)->seq"), "WRITE": ("linux/fs.h", "WRITE"),
    "inet_rcv_saddr": ("net/inet_sock.h", "((struct inet_sock *)v)->inet_rcv_saddr"),
}


@pytest.mark.linux
@pytest.mark.parametrize("name", VALUES)
def test_constant(name: str, linux: Kernel) -> None:
    assert compile(f"u64 f(void *ctx) {{ return (u64){name}; }}", types=linux.types)


@pytest.mark.linux
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str, linux: Kernel) -> None:
    assert compile(f"u64 f(struct pt_regs *ctx) {{ u64 v = ctx->ax; return {FUNCTIONS[name]}; }}", types=linux.types)


@pytest.mark.linux
@pytest.mark.parametrize("name", WITH_HEADER)
def test_name_of_a_header(name: str, linux: Kernel) -> None:
    header, use = WITH_HEADER[name]
    assert compile(f"#include <{header}>\nu64 f(struct pt_regs *ctx) {{ u64 v = ctx->ax; return {use}; }}", types=linux.types)


@pytest.mark.linux
def test_types(linux: Kernel) -> None:
    rows = [*(f"struct {name}" for name in TYPES), *TYPEDEFS]
    text = "\n".join(f"int f{at}(void *ctx) {{ return sizeof({name}); }}" for at, name in enumerate(rows))
    assert compile(text, types=linux.types)


def test_names_of_other_kernels_are_not_defined() -> None:
    asked = "\n".join(f"#ifdef {name}\n#error {name}\n#endif" for name in ABSENT)
    assert compile(asked + "\nint f(void *ctx) { return 0; }")


@pytest.mark.linux
def test_sizes_that_are_constants_are_those_of_the_kernel(linux: Kernel) -> None:
    rows = {
        "DISK_NAME_LEN": "sizeof(((struct gendisk *)0)->disk_name)", "IFNAMSIZ": "sizeof(((struct net_device *)0)->name)",
        "TASK_COMM_LEN": "sizeof(((struct task_struct *)0)->comm)", "DNAME_INLINE_LEN": "sizeof(((struct dentry *)0)->d_shortname)",
        "1ull << REQ_OP_BITS": "REQ_OP_MASK + 1ull",
    }
    text = "\n".join(f'_Static_assert({name} == {size}, "");' for name, size in rows.items())
    assert compile(text + "\nint f(void *ctx) { return 0; }", types=linux.types)


HEADERS = {
    "linux/if_ether.h": "ETH_P_ ETH_ALEN ETH_HLEN", "linux/pkt_cls.h": "TC_ACT_", "linux/magic.h": "_MAGIC", "linux/sched.h": "CLONE_",
    "linux/fcntl.h": "O_ AT_", "linux/stat.h": "S_IF", "errno.h": "E", "linux/limits.h": "NAME_MAX PATH_MAX", "sys/socket.h": "AF_",
    "linux/in6.h": "IPPROTO_ICMPV6", "linux/if.h": "IFNAMSIZ", "signal.h": "SIG",
}
KERNEL_ONLY = ("ERESTARTSYS", "ENOTSUPP", "ETH_P_LOOPBACK", "O_LARGEFILE")


def test_values_are_those_of_the_systems_headers(tmp_path: Path) -> None:
    """Every constant that the prelude shares with a header of the system is the same there."""
    if shutil.which("gcc") is None or not Path("/usr/include/linux/if_ether.h").exists():
        pytest.skip("no gcc, or no headers")
    prelude = (Path(__file__).parents[2] / "cfront/include/bcc/prelude.h").read_text()
    names = [line.split()[1] for line in prelude.splitlines() if line.startswith("#define ") and "(" not in line.split()[1]]
    checked = 0
    for header, words in HEADERS.items():
        ours = [one for one in names if one not in KERNEL_ONLY and any(one.startswith(word) or one.endswith(word) for word in words.split())]
        source = tmp_path / "values.c"
        rows = "".join(f'#ifdef {one}\nprintf("#if %lld != {one}\\n#error {one}\\n#endif\\n", (long long)({one}));\n#endif\n' for one in ours)
        source.write_text(f"#define _GNU_SOURCE\n#include <{header}>\n#include <stdio.h>\nint main(void) {{\n{rows}return 0; }}\n")
        subprocess.run(["gcc", "-w", "-o", tmp_path / "values", source], check=True, timeout=60)
        asked = subprocess.run([tmp_path / "values"], capture_output=True, text=True, check=True, timeout=60).stdout
        assert compile(asked + "int f(void *ctx) { return 0; }")
        checked += asked.count("#error")
    assert checked > 150


def value_of(kernel: Kernel, words: str, before: str = "") -> int:
    text = f"{before}\nu32 f(struct xdp_md *ctx) {{ {words} }}"
    with BPF(text=text, kernel=kernel) as bpf:
        return bpf.load_func("f", BPF.XDP).program.test_run(bytes(64)).retval


@pytest.mark.linux
@pytest.mark.parametrize(("argument", "log2", "log2l"), [
    (0, 1, 1), (1, 1, 1), (2, 2, 2), (3, 2, 2), (4, 3, 3), (5, 3, 3), (0x80000000, 32, 32), (0x100000000, 1, 33), (2**64 - 1, 32, 64)])
def test_log2(argument: int, log2: int, log2l: int, linux: Kernel) -> None:
    before = f"static __noinline u64 given(void) {{ return {argument}ull; }}"
    assert value_of(linux, "return bpf_log2(given()) << 8 | bpf_log2l(given());", before) == log2 << 8 | log2l


@pytest.mark.linux
@pytest.mark.parametrize(("expression", "expected"), [
    ("bpf_htons(0x0102)", 0x0201), ("bpf_ntohl(0x01020304)", 0x04030201), ("bpf_htonll(0x0102030405060708ull) >> 32", 0x08070605),
    ("(u64)(bpf_hton128((unsigned __int128)0x0102 << 112) & 0xffff)", 0x0201), ("MASK(7)", 127), ("(u32)(MASK128(65) >> 60)", 31),
    ("ilog2(1000u)", 9), ("roundup_pow_of_two(1000ul)", 1024), ("roundup_pow_of_two(1024ul)", 1024), ("div_u64(1000, 7)", 142),
    ("KERNEL_VERSION(5, 4, 300)", (5 << 16) + (4 << 8) + 255), ("MAJOR(0x800003)", 8), ("MINOR(0x800003)", 3),
])
def test_value(expression: str, expected: int, linux: Kernel) -> None:
    assert value_of(linux, f"return {expression};") == expected


@pytest.mark.parametrize("text", [
    "static u64 div_u64(u64 a, u32 b) { return a; }\nint f(void *ctx) { return div_u64(4, 2); }",
    "static u64 load_dword(u64 a);\nstatic u64 load_dword(u64 a) { return a; }\nint f(void *ctx) { return load_dword(4); }",
    "struct s { int tcp_sk; };\nint f(void *ctx) { struct s inet_sk = {1}; int MASK = 2, ilog2 = 3; return inet_sk.tcp_sk + MASK + ilog2; }",
    "#define MIN(a, b) a\nenum { READ, WRITE };\nint f(void *ctx) { return MIN(WRITE, 2); }",
])
def test_the_texts_own_definitions_win(text: str) -> None:
    assert compile(text)
