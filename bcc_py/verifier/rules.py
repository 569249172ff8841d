"""What must hold before an instruction: the facts that need no path to be checked, as data and pure functions.

Input: instructions, program types, map types, helper numbers. Output: nothing, or a Refusal that
carries Linux's own sentence. Invariant: whatever is not listed here as allowed is refused; a program
type, map type or helper argument that this verifier does not know is refused in words, never let by.

Three parts: the form of each instruction (opcodes and reserved fields) and the shape of the control
flow graph; the context of each program type (which bytes may be read or written, and what a read
gives); which helper goes with which program type and map type.

Source: kernel/bpf/verifier.c (check_cfg, check_map_func_compatibility), kernel/trace/bpf_trace.c,
net/core/filter.c of Linux 6.18. HELPERS_BY_TYPE was read off that kernel by loading, for each program
type, one program for each helper; override_return and probe_write_user are by its source, since they
depend on its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bcc_py.isa import PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, Insn
from bcc_py.verifier.flow import LOAD_ACQUIRE, STORE_RELEASE, liveness, weights
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Helper, MapType, ProgType

__all__ = [
    "CONTEXTS",
    "HELPERS_BY_TYPE",
    "PACKET_CHANGERS",
    "Context",
    "Refusal",
    "Shape",
    "check_form",
    "check_helper",
    "check_map_and_helper",
    "context_access",
    "shape_of",
]

BPF_F_RDONLY_PROG = 1 << 7
BPF_F_WRONLY_PROG = 1 << 8
MAX_INSNS = 1_000_000
_LDDW, _CALL, _EXIT, _JA, _GOTOL = 0x18, 0x85, 0x95, 0x05, 0x06


class Refusal(Exception):
    """A rule is broken. sentences: what the log says, the last one is the reason; insn: the slot, -1 for
    the one being looked at."""

    def __init__(self, *sentences: str, insn: int = -1) -> None:
        super().__init__(sentences[-1])
        self.sentences = sentences
        self.insn = insn


# ---- the form of instructions

_ALU_OPS = frozenset(range(0x00, 0xE0, 0x10))
_JMP_OPS = frozenset((0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0))
_ATOMICS = frozenset((0x00, 0x40, 0x50, 0xA0, 0x01, 0x41, 0x51, 0xA1, 0xE1, 0xF1))


def check_form(insns: Sequence[Insn]) -> None:
    """Every slot is an instruction of RFC 9669 with its reserved fields 0. Raises Refusal."""
    if not insns:
        raise Refusal("a program without instructions", insn=0)
    if len(insns) > MAX_INSNS:
        raise Refusal(f"BPF program is too large: {len(insns)} instructions", insn=0)
    slot = 0
    while slot < len(insns):
        insn = insns[slot]
        if insn.code == _LDDW:
            _check_lddw(insns, slot)
            slot += 2
            continue
        sentence = _fault(insn)
        if sentence:
            raise Refusal(sentence, insn=slot)
        slot += 1


def _check_lddw(insns: Sequence[Insn], slot: int) -> None:
    insn = insns[slot]
    if slot + 1 >= len(insns) or insns[slot + 1][:4] != (0, 0, 0, 0) or insn.off:
        raise Refusal("invalid bpf_ld_imm64 insn", insn=slot)
    if insn.src not in (0, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_FUNC):
        raise Refusal("unrecognized bpf_ld_imm64 insn", insn=slot)
    if insn.src == PSEUDO_FUNC:
        raise Refusal("taking a function's address is not supported by this verifier yet", insn=slot)
    if insn.src == PSEUDO_MAP_FD and insns[slot + 1].imm:
        raise Refusal("unrecognized bpf_ld_imm64 insn", insn=slot)
    if insn.dst > 9:
        raise Refusal("frame pointer is read only" if insn.dst == 10 else f"R{insn.dst} is invalid", insn=slot)


def _fault(insn: Insn) -> str:
    """What is wrong with the form of one instruction, "" if nothing."""
    code, dst, src, _, _ = insn
    if dst > 10 or src > 10:
        return f"R{dst if dst > 10 else src} is invalid"
    cls = code & 7
    if cls in (4, 7):
        return _alu_fault(insn)
    if cls in (5, 6):
        return _jump_fault(insn)
    if cls == 1:
        return _load_fault(insn)
    if cls in (2, 3):
        return _store_fault(insn)
    if code & 0xE0 in (0x20, 0x40) and code & 0x18 != 0x18:
        return "loads from the packet by BPF_LD_ABS and BPF_LD_IND are not supported by this verifier yet"
    return f"unknown opcode {code:02x}"


def _alu_fault(insn: Insn) -> str:
    code, _, src, off, imm = insn
    op, is_wide, by_reg = code & 0xF0, code & 7 == 7, code & 8
    if op == 0xD0:
        if src or off or imm not in (16, 32, 64) or (is_wide and by_reg):
            return "BPF_END uses reserved fields"
        return ""
    if op == 0x80:
        return "BPF_NEG uses reserved fields" if src or off or imm or by_reg else ""
    if op not in _ALU_OPS:
        return f"unknown opcode {code:02x}"
    if op == 0xB0:
        casts = ((0, 8, 16, 32) if is_wide else (0, 8, 16)) if by_reg else (0,)
        return "BPF_MOV uses reserved fields" if off not in casts or (imm if by_reg else src) else ""
    signed_too = (0, 1) if op in (0x30, 0x90) else (0,)
    if off not in signed_too or (imm if by_reg else src):
        return "BPF_ALU uses reserved fields"
    if op in (0x30, 0x90) and not by_reg and not imm:
        return "div by zero"
    if op in (0x60, 0x70, 0xC0) and not by_reg and not 0 <= imm < (64 if is_wide else 32):
        return f"invalid shift {imm}"
    return ""


def _jump_fault(insn: Insn) -> str:
    code, dst, src, off, imm = insn
    if code == _CALL:
        if dst or off or src > 2:
            return "BPF_CALL uses reserved fields"
        return "calling kernel functions is not supported by this verifier yet" if src == 2 else ""
    if code == _EXIT:
        return "BPF_EXIT uses reserved fields" if dst or src or off or imm else ""
    if code == _JA:
        return "BPF_JA uses reserved fields" if dst or src or imm else ""
    if code == _GOTOL:
        return "BPF_JA uses reserved fields" if dst or src or off else ""
    if code & 0xF0 not in _JMP_OPS:
        return f"unknown opcode {code:02x}"
    return "BPF_JMP/JMP32 uses reserved fields" if (imm if code & 8 else src) else ""


def _load_fault(insn: Insn) -> str:
    mode = insn.code & 0xE0
    if mode not in (0x60, 0x80) or (mode == 0x80 and insn.code & 0x18 == 0x18):
        return f"unknown opcode {insn.code:02x}"
    return "BPF_LDX uses reserved fields" if insn.imm else ""


def _store_fault(insn: Insn) -> str:
    code, _, src, _, imm = insn
    mode = code & 0xE0
    if code & 7 == 2:
        if mode != 0x60:
            return f"unknown opcode {code:02x}"
        return "BPF_ST uses reserved fields" if src else ""
    if mode == 0x60:
        return "BPF_STX uses reserved fields" if imm else ""
    if mode != 0xC0:
        return f"unknown opcode {code:02x}"
    if imm in (LOAD_ACQUIRE, STORE_RELEASE):
        return ""
    if imm not in _ATOMICS:
        return f"BPF_ATOMIC uses invalid atomic opcode {imm & 0xFFFFFFFF:02x}"
    return "" if code & 0x18 in (0x00, 0x18) else "invalid atomic operand size"


# ---- the shape of the graph


@dataclass(frozen=True, slots=True)
class Shape:
    """The static structure. starts: first slot of each function, ascending; function_of[slot]: its index
    there; prune_points: slots where paths meet; live[slot]: bit r is set when register r may be read
    before it is written from slot on, within its function (a caller's registers live in the caller's frame);
    weighed[slot]: registers and stack slots whose numeric value may still decide something (flow.py)."""

    starts: tuple[int, ...]
    function_of: tuple[int, ...]
    prune_points: frozenset[int]
    live: tuple[int, ...]
    weighed: tuple[int, ...]


def _width(insn: Insn) -> int:
    return 2 if insn.code == _LDDW else 1


def _target(insns: Sequence[Insn], slot: int) -> int | None:
    """Where the jump at slot goes, None if it is no jump."""
    insn = insns[slot]
    if insn.code == _GOTOL:
        return slot + 1 + insn.imm
    if insn.code & 7 in (5, 6) and insn.code not in (_CALL, _EXIT):
        return slot + 1 + insn.off
    return None


def _successors(insns: Sequence[Insn], slot: int) -> tuple[int, ...]:
    code = insns[slot].code
    if code == _EXIT:
        return ()
    target = _target(insns, slot)
    if target is None:
        return (slot + _width(insns[slot]),)
    return (target,) if code in (_JA, _GOTOL) else (slot + 1, target)


def _heads(insns: Sequence[Insn]) -> list[int]:
    heads, slot = [], 0
    while slot < len(insns):
        heads.append(slot)
        slot += _width(insns[slot])
    return heads


def shape_of(insns: Sequence[Insn]) -> Shape:
    """The graph of well-formed insns. Raises Refusal: a jump or call to nowhere, between functions or into
    the middle of a 64-bit load; a function that runs off its end; an instruction no path reaches."""
    heads = _heads(insns)
    head_set = frozenset(heads)
    starts = {0}
    for slot in heads:
        insn = insns[slot]
        if insn.code == _CALL and insn.src == PSEUDO_CALL:
            target = slot + 1 + insn.imm
            if not 0 <= target < len(insns):
                raise Refusal("call to invalid destination", insn=slot)
            if target not in head_set:
                raise Refusal(f"jump into the middle of ldimm64 insn {target - 1}", insn=slot)
            starts.add(target)
    ordered = tuple(sorted(starts))
    if len(ordered) > 256:
        raise Refusal("too many subprograms", insn=0)
    function_of: list[int] = []
    for index, start in enumerate(ordered):
        end = ordered[index + 1] if index + 1 < len(ordered) else len(insns)
        function_of += [index] * (end - start)
        _check_function(insns, start, end, head_set)
    _check_reached(insns, heads, ordered)
    edges = {slot: _successors(insns, slot) for slot in heads}
    return Shape(
        ordered, tuple(function_of), _prune_points(insns, heads), liveness(insns, heads, edges),
        weights(insns, heads, edges, ordered, function_of),
    )


def _check_function(insns: Sequence[Insn], start: int, end: int, heads: frozenset[int]) -> None:
    last = max(slot for slot in range(max(start, end - 2), end) if slot in heads)
    for slot in range(start, end):
        if slot not in heads:
            continue
        target = _target(insns, slot)
        if target is None:
            continue
        if not start <= target < end:
            raise Refusal(f"jump out of range from insn {slot} to {target}", insn=slot)
        if target not in heads:
            raise Refusal(f"jump into the middle of ldimm64 insn {target - 1}", insn=slot)
    if insns[last].code not in (_EXIT, _JA, _GOTOL):
        raise Refusal("last insn is not an exit or jmp", insn=last)


def _check_reached(insns: Sequence[Insn], heads: list[int], starts: tuple[int, ...]) -> None:
    """Every instruction lies on a way from the first one, following calls."""
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        slot = waiting.pop()
        if slot in seen:
            continue
        seen.add(slot)
        waiting += _successors(insns, slot)
        if insns[slot].code == _CALL and insns[slot].src == PSEUDO_CALL:
            waiting.append(slot + 1 + insns[slot].imm)
    for slot in heads:
        if slot not in seen:
            raise Refusal(f"unreachable insn {slot}", insn=slot)


def _prune_points(insns: Sequence[Insn], heads: list[int]) -> frozenset[int]:
    points = set()
    for slot in heads:
        target = _target(insns, slot)
        if target is not None:
            points.add(target)
            if insns[slot].code not in (_JA, _GOTOL):
                points.add(slot + 1)
        elif insns[slot].code == _CALL and insns[slot].src == PSEUDO_CALL:
            points.add(slot + 1)
    return frozenset(points)


# ---- contexts


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a context struct. gives: "" a number, else the kind of pointer that a load gives; write: it
    may be stored to; is_narrow: parts of it may be read."""

    off: int
    size: int
    gives: str = ""
    write: bool = False
    is_narrow: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """A program type's context. Either a range of plain bytes (first <= off < end, aligned to the access), or fields."""

    first: int = 0
    end: int = 0
    fields: tuple[Field, ...] = ()


def _words(off: int, count: int = 1, write: bool = False, is_narrow: bool = True) -> tuple[Field, ...]:
    return tuple(Field(off + 4 * i, 4, "", write, is_narrow) for i in range(count))


_SKB_READ = (0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 68, 84, 164, 176)
_CB = _words(48, 5, write=True)
_SOCKET_FILTER = tuple(Field(off, 4) for off in _SKB_READ) + _CB
_SCHED_CLS = (
    *(Field(off, 4, write=off in (8, 12, 32, 44)) for off in _SKB_READ), *_CB, Field(72, 4, write=True),
    Field(76, 4, "pkt", is_narrow=False), Field(80, 4, "pkt_end", is_narrow=False),
    Field(140, 4, "pkt_meta", is_narrow=False), Field(152, 8, write=True, is_narrow=False), Field(160, 4),
)
_XDP = (Field(0, 4, "pkt", is_narrow=False), Field(4, 4, "pkt_end", is_narrow=False),
        Field(8, 4, "pkt_meta", is_narrow=False), *_words(12, 2, is_narrow=False))
_PT_REGS_BYTES = 21 * 8

CONTEXTS: Mapping[ProgType, Context] = {
    ProgType.KPROBE: Context(0, _PT_REGS_BYTES),
    ProgType.TRACEPOINT: Context(8, 8192),
    ProgType.RAW_TRACEPOINT: Context(0, 12 * 8),
    ProgType.PERF_EVENT: Context(fields=(*(Field(8 * i, 8, is_narrow=False) for i in range(21)), Field(168, 8), Field(176, 8))),
    ProgType.SOCKET_FILTER: Context(fields=_SOCKET_FILTER),
    ProgType.SCHED_CLS: Context(fields=_SCHED_CLS),
    ProgType.SCHED_ACT: Context(fields=_SCHED_CLS),
    ProgType.XDP: Context(fields=_XDP),
}


def context_access(type: ProgType, off: int, size: int, is_write: bool) -> str:
    """What a load of size bytes at off gives ("" a number, else a pointer's kind). Raises Refusal."""
    context = CONTEXTS[type]
    refusal = Refusal(f"invalid bpf_context access off={off} size={size}")
    if off % size:
        raise refusal
    if not context.fields:
        if is_write or not context.first <= off or off + size > context.end:
            raise refusal
        return ""
    for one in context.fields:
        if one.off <= off and off + size <= one.off + one.size:
            is_whole = size == one.size
            if (is_write and not (one.write and is_whole)) or not (is_whole or one.is_narrow):
                raise refusal
            return one.gives
    raise refusal


# ---- helpers

_TRACING = (ProgType.KPROBE, ProgType.TRACEPOINT, ProgType.RAW_TRACEPOINT, ProgType.PERF_EVENT)
_TC = (ProgType.SCHED_CLS, ProgType.SCHED_ACT)
_EVERY = """map_lookup_elem map_update_elem map_delete_elem ktime_get_ns trace_printk get_prandom_u32
    get_smp_processor_id tail_call get_current_pid_tgid get_current_uid_gid get_current_comm perf_event_read
    perf_event_output get_current_task current_task_under_cgroup get_numa_node_id perf_event_read_value
    get_current_cgroup_id map_push_elem map_pop_elem map_peek_elem spin_lock spin_unlock strtol strtoul send_signal
    probe_read_user probe_read_kernel probe_read_user_str probe_read_kernel_str send_signal_thread jiffies64
    get_ns_current_pid_tgid get_current_ancestor_cgroup_id ktime_get_boot_ns ringbuf_output ringbuf_reserve
    ringbuf_submit ringbuf_discard ringbuf_query get_task_stack copy_from_user snprintf_btf per_cpu_ptr this_cpu_ptr
    task_storage_get task_storage_delete get_current_task_btf for_each_map_elem snprintf timer_init timer_set_callback
    timer_start timer_cancel task_pt_regs get_branch_snapshot trace_vprintk find_vma loop strncmp copy_from_user_task
    kptr_xchg map_lookup_percpu_elem dynptr_from_mem ringbuf_reserve_dynptr ringbuf_submit_dynptr
    ringbuf_discard_dynptr dynptr_read dynptr_write dynptr_data ktime_get_tai_ns user_ringbuf_drain cgrp_storage_get
    cgrp_storage_delete"""
_BY_TYPES: tuple[tuple[tuple[ProgType, ...], str], ...] = (
    (tuple(CONTEXTS), _EVERY),
    (_TRACING, "probe_read get_stackid probe_read_str get_stack get_attach_cookie probe_write_user"),
    ((ProgType.KPROBE,), "override_return get_func_ip"),
    ((ProgType.PERF_EVENT,), "perf_prog_read_value read_branch_records"),
    ((*_TC, ProgType.SOCKET_FILTER), """skb_load_bytes get_socket_uid skb_load_bytes_relative get_netns_cookie
        get_socket_cookie get_cgroup_classid"""),
    ((*_TC, ProgType.SOCKET_FILTER, ProgType.XDP), "ktime_get_coarse_ns"),
    (_TC, """skb_store_bytes l3_csum_replace l4_csum_replace clone_redirect skb_vlan_push skb_vlan_pop
        skb_get_tunnel_key skb_set_tunnel_key get_route_realm skb_get_tunnel_opt skb_set_tunnel_opt skb_change_proto
        skb_change_type skb_under_cgroup get_hash_recalc skb_change_tail skb_pull_data csum_update set_hash_invalid
        skb_change_head set_hash skb_adjust_room skb_get_xfrm_state csum_level skb_cgroup_classid redirect_neigh
        redirect_peer skb_set_tstamp skb_cgroup_id skb_ancestor_cgroup_id skb_ecn_set_ce"""),
    ((*_TC, ProgType.XDP), "redirect csum_diff fib_lookup check_mtu"),
    ((ProgType.XDP,), """xdp_adjust_head redirect_map xdp_adjust_meta xdp_adjust_tail xdp_load_bytes xdp_store_bytes
        xdp_get_buff_len"""),
)


def _helpers_of(type: ProgType) -> frozenset[int]:
    return frozenset(HELPER_IDS[name] for types, names in _BY_TYPES if type in types for name in names.split())


HELPERS_BY_TYPE: Mapping[ProgType, frozenset[int]] = {type: _helpers_of(type) for type in CONTEXTS}
_HELPER_NAME = {number: name for name, number in HELPER_IDS.items()}
_SLEEPING = frozenset(HELPER_IDS[name] for name in ("copy_from_user", "copy_from_user_task"))
# after these a packet pointer may point at freed memory
PACKET_CHANGERS = frozenset(
    HELPER_IDS[name]
    for name in ["skb_store_bytes", "l3_csum_replace", "l4_csum_replace", "clone_redirect", "skb_vlan_push", "skb_vlan_pop", "skb_change_proto", "skb_change_tail", "skb_pull_data", "skb_change_head", "skb_adjust_room", "skb_set_tunnel_key", "xdp_adjust_head", "xdp_adjust_meta", "xdp_adjust_tail", "tail_call"]
)


def helper_text(number: int) -> str:
    return f"bpf_{_HELPER_NAME[number]}#{number}" if number in _HELPER_NAME else f"unknown#{number}"


def check_helper(number: int, type: ProgType, is_gpl: bool) -> Helper:
    """The helper's row, if a program of this type and license may call it. Raises Refusal."""
    if number not in _HELPER_NAME:
        raise Refusal(f"invalid func unknown#{number}")
    if number not in HELPERS_BY_TYPE[type]:
        raise Refusal(f"program of this type cannot use helper {helper_text(number)}")
    helper = HELPER_BY_ID.get(number)
    if helper is None:
        raise Refusal(f"helper {helper_text(number)} is not supported by this verifier yet")
    if helper.gpl_only and not is_gpl:
        raise Refusal("cannot call GPL-restricted function from non-GPL compatible program")
    if number == HELPER_IDS["snprintf"]:
        raise Refusal(f"checking the format of {helper_text(number)} is not supported by this verifier yet")
    if number in _SLEEPING:
        raise Refusal("helper call might sleep in a non-sleepable prog")
    return helper


# license strings that Linux counts as compatible with the GPL (include/linux/license.h)
GPL_LICENSES = frozenset(("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"))

_LOOKUP = "map_lookup_elem map_update_elem map_delete_elem for_each_map_elem"
_PLAIN = (MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, MapType.LPM_TRIE)
_PER_CPU = (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)
_RING_HELPERS = "ringbuf_output ringbuf_reserve ringbuf_query ringbuf_reserve_dynptr"
_BY_MAP: Mapping[MapType, str] = {
    **dict.fromkeys(_PLAIN, _LOOKUP),
    **dict.fromkeys(_PER_CPU, f"{_LOOKUP} map_lookup_percpu_elem"),
    MapType.PROG_ARRAY: "tail_call",
    MapType.PERF_EVENT_ARRAY: "perf_event_read perf_event_output perf_event_read_value",
    MapType.STACK_TRACE: "get_stackid",
    MapType.CGROUP_ARRAY: "skb_under_cgroup current_task_under_cgroup",
    MapType.DEVMAP: "redirect_map map_lookup_elem",
    MapType.DEVMAP_HASH: "redirect_map map_lookup_elem",
    MapType.CPUMAP: "redirect_map",
    MapType.QUEUE: "map_peek_elem map_pop_elem map_push_elem",
    MapType.STACK: "map_peek_elem map_pop_elem map_push_elem",
    MapType.BLOOM_FILTER: "map_peek_elem map_push_elem",
    MapType.RINGBUF: _RING_HELPERS,
    MapType.TASK_STORAGE: "task_storage_get task_storage_delete",
}
_HELPERS_BY_MAP = {type: frozenset(HELPER_IDS[name] for name in names.split()) for type, names in _BY_MAP.items()}
_WRITERS = frozenset(HELPER_IDS[name] for name in ("map_update_elem", "map_delete_elem", "map_push_elem", "map_pop_elem"))


def check_map_and_helper(type: MapType, flags: int, number: int) -> None:
    """A map of this type may be given to this helper. Raises Refusal."""
    allowed = _HELPERS_BY_MAP.get(type)
    if allowed is None:
        raise Refusal(f"maps of type {type.name} are not supported by this verifier yet")
    if number not in allowed:
        raise Refusal(f"cannot pass map_type {type} into func {helper_text(number)}")
    if number in _WRITERS and flags & BPF_F_RDONLY_PROG:
        raise Refusal("write into map forbidden")
