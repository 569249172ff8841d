"""Objects: what libbpf, bpftool, the kernel and our own reader find in them; and where kernel memory is read.

A kernel read is counted in the object (calls of helper 4, probe_read) and checked by running: each program
reads the same value a second time by bpf_probe_read_kernel, which the compiler leaves alone, and compares."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bcc_py import BPF, VerifierError
from bcc_py.elf import read_object
from bcc_py.isa import Insn
from bcc_py.kernel import Kernel
from bcc_py.sim.native import kernel_types
from bcc_py.spec import ObjectSpec
from cfront import Btf, compile, compile_unit
from cfront.uapi import HELPER_IDS, MapType, ProgType

TEXT = """
struct event { u32 pid; u64 when; char comm[16]; };
BPF_HASH(counts, u32);
BPF_PERCPU_ARRAY(scratch, struct event, 1);
BPF_HISTOGRAM(dist);
BPF_PERF_OUTPUT(events);
BPF_RINGBUF_OUTPUT(ring, 8);
static const int limit = 5;
static int total;
static __noinline int half(int x) { return x / 2 + bpf_get_prandom_u32(); }
int kprobe__do_sys_openat2(struct pt_regs *ctx, int dfd) {
    struct event e = {};
    u32 key = bpf_get_current_pid_tgid() >> 32;
    counts.increment(key);
    e.pid = half(key) + limit;
    total += dfd;
    events.perf_submit(ctx, &e, sizeof(e));
    return 0;
}
RAW_TRACEPOINT_PROBE(sched_switch) {
    u64 *slot = ring.ringbuf_reserve(8);
    if (!slot)
        return 0;
    *slot = ctx->args[0];
    ring.ringbuf_submit(slot, 0);
    dist.atomic_increment(bpf_log2l(bpf_ktime_get_ns()));
    return 0;
}
#define BPF_LICENSE Dual BSD/GPL
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    return compile(TEXT, filename="t.c", types=kernel_types())


def test_our_reader_finds_programs_maps_and_license(content: bytes) -> None:
    found = read_object(content)
    assert isinstance(found, ObjectSpec)
    assert {name: (one.section, one.type) for name, one in found.programs.items()} == {
        "kprobe__do_sys_openat2": ("kprobe/do_sys_openat2", ProgType.KPROBE),
        "raw_tracepoint__sched_switch": ("raw_tracepoint/sched_switch", ProgType.RAW_TRACEPOINT),
    }
    maps = {name: (one.type, one.key_size, one.value_size, one.max_entries) for name, one in found.maps.items() if not name.startswith(".")}
    assert maps == {
        "counts": (MapType.HASH, 4, 8, 10240), "scratch": (MapType.PERCPU_ARRAY, 4, 32, 1), "dist": (MapType.ARRAY, 4, 8, 64),
        "events": (MapType.PERF_EVENT_ARRAY, 4, 4, 0), "ring": (MapType.RINGBUF, 0, 0, 32768),
    }
    assert found.license == "Dual BSD/GPL"
    program = found.programs["kprobe__do_sys_openat2"]
    assert [one.name for one in program.functions] == ["kprobe__do_sys_openat2", "half"]
    assert {TEXT.splitlines()[one.line - 1].strip() for one in program.lines} >= {"counts.increment(key);", "total += dfd;"}


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed: it is what reads the object")
def test_libbpf_opens_the_object(tmp_path: Path) -> None:
    """Without output calls: those leave `event`, a member of our own, in their table's definition."""
    path = tmp_path / "t.o"
    quiet = TEXT.replace("    events.perf_submit(ctx, &e, sizeof(e));\n", "").replace("ringbuf_submit", "ringbuf_discard")
    path.write_bytes(compile(quiet + "BPF_HASH(kept, u32, struct event);\n", filename="t.c", types=kernel_types()))
    skeleton = subprocess.run(["bpftool", "gen", "skeleton", path], capture_output=True, text=True, check=False, timeout=60)
    assert skeleton.returncode == 0, skeleton.stderr
    for name in ("counts", "scratch", "dist", "events", "ring", "bss", "rodata", "kprobe__do_sys_openat2", "raw_tracepoint__sched_switch"):
        assert f"*{name};" in skeleton.stdout, name
    dump = subprocess.run(["bpftool", "btf", "dump", "file", path], capture_output=True, text=True, check=True, timeout=60).stdout
    for piece in ("FUNC 'half'", "FUNC 'kprobe__do_sys_openat2'", "STRUCT 'event' size=32 vlen=3", "DATASEC '.maps'", "VAR 'total'"):
        assert piece in dump, dump


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed: it is what lists the sections")
def test_sections_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.o").write_bytes(content)
    rows = subprocess.run(["readelf", "-SW", tmp_path / "t.o"], capture_output=True, text=True, check=True, timeout=60).stdout
    for name in ("kprobe/do_sys_openat2", "raw_tracepoint/sched_switch", ".maps", "license", ".BTF", ".BTF.ext", ".bss", ".text"):
        assert f" {name} " in rows, name


def test_types_of_tables_are_in_the_btf(content: bytes) -> None:
    types = Btf(read_object(content).btf)
    event = types.find("struct", "event")
    assert event is not None and event.size == 32


def test_the_kernel_takes_the_object_and_its_debug_information(kernel: Kernel) -> None:
    with BPF(text=TEXT.replace("kprobe__", "on_"), kernel=kernel) as bpf:
        assert bpf.load_func("on_do_sys_openat2", BPF.KPROBE).program is not None
        assert bpf.load_func("raw_tracepoint__sched_switch", BPF.RAW_TRACEPOINT).program is not None


def test_the_verifier_names_our_line(kernel: Kernel) -> None:
    text = "BPF_HASH(h, u32);\nint p(void *ctx) {\n    u32 key = 1;\n    u64 *leaf = h.lookup(&key);\n    *leaf += 1;\n    return 0;\n}\n"
    with BPF(text=text, kernel=kernel) as bpf, pytest.raises(VerifierError) as caught:
        bpf.load_func("p", BPF.RAW_TRACEPOINT)
    assert ":5:" in caught.value.span or ":5" in caught.value.span, caught.value.span
    assert "*leaf += 1;" in caught.value.log or "*leaf += 1;" in str(caught.value)


# -- kernel reads: (statements that set `u64 got` implicitly, statements that set `u64 wanted` by hand, reads)
BY_HAND = """
static u64 word(u64 base, u64 offset) { u64 v = 0; bpf_probe_read_kernel(&v, 8, (void *)(base + offset)); return v; }
static u32 half(u64 base, u64 offset) { u32 v = 0; bpf_probe_read_kernel(&v, 4, (void *)(base + offset)); return v; }
#define AT(member) __builtin_offsetof(struct task_struct, member)
#define PARENT word(task, AT(real_parent))
"""
READS = {
    "a member": ("got = t->tgid;", "wanted = half(task, AT(tgid));", 1),
    "a chain": ("got = t->real_parent->tgid;", "wanted = half(PARENT, AT(tgid));", 2),
    "a long chain": ("got = t->real_parent->real_parent->real_parent->pid;",
                     "wanted = half(word(word(PARENT, AT(real_parent)), AT(real_parent)), AT(pid));", 4),
    "through a variable": ("struct task_struct *p = t->real_parent; got = p->tgid + p->pid;",
                           "wanted = half(PARENT, AT(tgid)) + half(PARENT, AT(pid));", 3),
    "read once": ("u32 id = t->tgid; got = id + id;", "wanted = 2 * half(task, AT(tgid));", 1),
    "through a static function": ("got = tgid_of(t->real_parent);", "wanted = half(PARENT, AT(tgid));", 2),
    "a static function on both kinds": ("struct task_struct own; own.tgid = 5; got = tgid_of(&own) + tgid_of(t);",
                                        "wanted = 5 + half(task, AT(tgid));", 1),
    "a parenthesised and cast pointer": ("got = ((struct task_struct *)(u64)t)->tgid;", "wanted = half(task, AT(tgid));", 1),
    "star and member": ("got = (*t).tgid + (*&t)->tgid;", "wanted = 2 * half(task, AT(tgid));", 2),
    "an element of an array": ("got = t->comm[1];", "wanted = half(task, AT(comm)) >> 8 & 255;", 1),
    "an element by index": ("for (int i = 0; i < 3; i++) got += t->comm[i];",
                            "u32 c = half(task, AT(comm)); wanted = (c & 255) + (c >> 8 & 255) + (c >> 16 & 255);", None),
    "the address of a member is not read": ("got = (u64)&t->comm - (u64)t; got += (u64)t->comm - (u64)t;", "wanted = 2 * AT(comm);", 0),
    "sizeof and typeof are not read": ("typeof(t->tgid) x = 3; got = sizeof(t->comm) + sizeof(t->real_parent->tgid) + x;", "wanted = 23;", 0),
    "a nested struct": ("got = t->se.vruntime;", "wanted = word(task, AT(se) + __builtin_offsetof(struct sched_entity, vruntime));", 1),
    "a bit-field": ("got = t->in_iowait * 2 + t->in_execve;", "wanted = 0;", 2),
    "a macro": ("#define UP(t) ((t)->real_parent)\n    got = UP(UP(t))->tgid;", "wanted = half(word(PARENT, AT(real_parent)), AT(tgid));", 3),
    "a condition": ("got = t->mm ? 1 : 2;", "wanted = word(task, AT(mm)) ? 1 : 2;", 1),
    "short circuit": ("got = t && t->mm && t->real_parent;", "wanted = word(task, AT(mm)) && PARENT;", 2),
    "a comma and a conditional pointer": ("struct task_struct *p = (got = 1, bpf_get_prandom_u32() ? t : t); got = p->tgid;",
                                          "wanted = half(task, AT(tgid));", 1),
    "a whole struct": ("struct list_head l = t->children; got = (u64)l.next;", "wanted = word(task, AT(children));", 1),
    "a copy by hand stays": ("u32 id; bpf_probe_read_kernel(&id, sizeof(id), &t->tgid); got = id;", "wanted = half(task, AT(tgid));", 0),
    "a copy by memcpy": ("char c[16]; __builtin_memcpy(c, t->comm, 16); got = c[1];", "wanted = half(task, AT(comm)) >> 8 & 255;", 1),
    "the stack is not read": ("struct task_struct *p; struct { u32 a; u32 b; } s = {1, 2}; u32 *q = &s.b; got = *q + s.a;", "wanted = 3;", 0),
    "a table's leaf is not, what it points at is": (
        "u32 key = 1; tasks.update(&key, &t); struct task_struct **slot = tasks.lookup(&key); if (slot) got = (*slot)->tgid;",
        "wanted = half(task, AT(tgid));", 1),
    "a pointer kept in a struct": ("struct { struct task_struct *t; } keep = {t}; got = keep.t->tgid;", "wanted = half(task, AT(tgid));", 1),
    "pointer arithmetic": ("u32 *p = &t->pid; got = p[1] + *(p + 1);", "wanted = 2 * half(task, AT(pid) + 4);", 2),
    "container_of": ("struct list_head *l = &t->children; got = container_of(l, struct task_struct, children)->tgid;",
                     "wanted = half(task, AT(tgid));", 1),
    "in a loop": ("struct task_struct *p = t; for (int i = 0; i < 2; i++) p = p->real_parent; got = p->pid;",
                  "wanted = half(word(PARENT, AT(real_parent)), AT(pid));", None),
    "a union's member": ("got = t->thread_pid ? t->thread_pid->level : 9;",
                         "u64 p = word(task, AT(thread_pid)); wanted = p ? half(p, __builtin_offsetof(struct pid, level)) : 9;", None),
    "an element of an array of structs": (
        "got = (u64)t->thread_pid->numbers[0].ns;",
        "wanted = word(word(task, AT(thread_pid)), __builtin_offsetof(struct pid, numbers) + __builtin_offsetof(struct upid, ns));", 2),
    "an element of an array of an array": (
        "got = t->pid_links[1].next == 0 ? 1 : 2;",
        "wanted = word(task, AT(pid_links) + sizeof(struct hlist_node)) == 0 ? 1 : 2;", 1),
    "a pointer to a pointer": ("struct task_struct **p = &t->real_parent; got = (*p)->tgid;", "wanted = half(PARENT, AT(tgid));", 2),
    "what a static function returns": ("got = parent_of(parent_of(t))->tgid;", "wanted = half(word(PARENT, AT(real_parent)), AT(tgid));", 3),
    "a pointer of either kind": (
        "struct list_head own; own.next = (void *)7; struct list_head *p = t->mm ? &t->children : &own; got = (u64)p->next;",
        "wanted = word(task, AT(mm)) ? word(task, AT(children)) : 7;", 2),
    "a statement expression": ("got = ({ struct task_struct *p = t->real_parent; p; })->tgid;", "wanted = half(PARENT, AT(tgid));", 2),
    "an index that is read": ("u32 row[4] = {1, 2, 3, 4}; got = row[t->in_execve & 3];", "wanted = 1;", 1),
    "in an initialiser": ("struct { u32 a; u64 b; } s = { .a = t->tgid, .b = (u64)t->real_parent }; got = s.a + s.b;",
                          "wanted = half(task, AT(tgid)) + PARENT;", 2),
    "in a table's method": ("u32 k = 3; ids.update(&k, &(u64){t->tgid}); u64 *v = ids.lookup(&k); if (v) got = *v;",
                            "wanted = half(task, AT(tgid));", 1),
    "a compound assignment's right side": ("got = 1; got += t->tgid; got <<= t->in_iowait;", "wanted = 1 + half(task, AT(tgid));", 2),
    "a struct in a struct copied": ("struct sched_entity se = t->se; got = se.vruntime;",
                                    "wanted = word(task, AT(se) + __builtin_offsetof(struct sched_entity, vruntime));", 1),
    "in an argument": ("got = add(t->tgid, t->pid);", "wanted = half(task, AT(tgid)) + half(task, AT(pid));", 2),
}


def _reads_text(implicit: str, by_hand: str) -> str:
    return (
        f"BPF_HASH(tasks, u32, struct task_struct *);\nBPF_HASH(ids, u32, u64);{BY_HAND}"
        "static struct task_struct *parent_of(struct task_struct *t) { return t->real_parent; }\n"
        "static int tgid_of(struct task_struct *t) { return t->tgid; }\nstatic u64 add(u64 a, u64 b) { return a + b; }\n"
        "static u64 implicitly(struct task_struct *t) {\n"
        f"    u64 got = 0;\n    {implicit}\n    return got;\n}}\n"
        f"static u64 manually(u64 task) {{\n    u64 wanted = 0;\n    {by_hand}\n    return wanted;\n}}\n"
        "int reads(void *ctx) {\n    u64 task = bpf_get_current_task();\n"
        "    return implicitly((struct task_struct *)task) == manually(task) ? 1 : 2;\n}\n"
    )


def _calls(insns: tuple[Insn, ...], id: int) -> int:
    return sum(one.code == 0x85 and one.src == 0 and one.imm == id for one in insns)


@pytest.mark.parametrize("name", READS)
def test_kernel_memory_is_read_where_it_must_be(name: str, kernel: Kernel) -> None:
    implicit, by_hand, count = READS[name]
    text = _reads_text(implicit, by_hand)
    found = read_object(compile(text, types=kernel.types))
    if count is not None:
        assert _calls(found.programs["reads"].insns, HELPER_IDS["probe_read"]) == count
    with BPF(text=text, kernel=kernel) as bpf:
        assert bpf.load_func("reads", BPF.RAW_TRACEPOINT).program.test_run(ctx=bytes(96)).retval == 1


@pytest.mark.parametrize("text, direct, reads", [
    ("int p(struct pt_regs *ctx, int a, u64 b) { return a + b; }", ["di", "si"], 0),
    ("int p(struct pt_regs *ctx, int a, u64 b) { return b; }", ["si"], 0),
    ("int p(struct pt_regs *ctx, struct file *f) { return f->f_flags; }", ["di"], 1),
    ("int p(struct pt_regs *ctx) { return PT_REGS_PARM3(ctx) + PT_REGS_RC(ctx); }", ["dx", "ax"], 0),
    ("int syscall__open(struct pt_regs *ctx, int a, char *b, u64 c, u64 d) { return a + (u64)b + d; }", ["di"], 3),
    ("int kprobe____x64_sys_open(struct pt_regs *ctx, char *name) { return (u64)name; }", ["di"], 1),
])
def test_parameters_come_from_registers(text: str, direct: list[str], reads: int) -> None:
    (program,) = read_object(compile(text, types=kernel_types())).programs.values()
    regs = kernel_types().find("struct", "pt_regs")
    offsets = {regs.member(one).offset for one in direct}  # type: ignore[union-attr]
    ctx_loads = {one.off for one in program.insns if one.code & 7 == 1 and one.src != 10}
    assert offsets <= ctx_loads
    assert _calls(program.insns, HELPER_IDS["probe_read"]) == reads


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3", "v4"])
def test_every_cpu_gives_an_object(cpu: str) -> None:
    text = TEXT.replace("dist.atomic_increment", "dist.increment")
    assert read_object(compile_unit(text, types=kernel_types(), cpu=cpu).object).programs


def test_variables_of_scopes_apart_share_the_stack() -> None:
    """300 and 280 bytes would not fit BPF's 512 together."""
    text = (
        "struct a { char x[300]; }; struct b { char y[280]; };\nBPF_PERF_OUTPUT(ev);\n"
        "int p(struct pt_regs *ctx, int w) {\n"
        "    if (w) { struct a v = {}; bpf_get_current_comm(&v.x, 16); ev.perf_submit(ctx, &v, sizeof(v)); }\n"
        "    else { struct b v = {}; bpf_get_current_comm(&v.y, 16); ev.perf_submit(ctx, &v, sizeof(v)); }\n"
        "    for (int i = 0; i < 3; i++) { struct b v = {}; if (w == i) continue; ev.perf_submit(ctx, &v, sizeof(v)); if (w > 9) break; }\n"
        "    { struct a v = {}; ev.perf_submit(ctx, &v, sizeof(v)); }\n    return 0;\n}\n"
    )
    assert read_object(compile(text, types=kernel_types())).programs
