"""Global functions: what their prototypes say of their arguments, and what a call must give.

Input: the program with its BTF. Output: by index, the global functions; the values of r1-r5 at their start. A global
function is verified once, for any arguments that fit, and a call is only held to the prototype.

Source: kernel/bpf/btf.c of Linux 6.18, btf_prepare_func_args (behaviour and sentences)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bcc_py.spec import ProgramSpec
from bcc_py.verifier.form import Shape
from bcc_py.verifier.rules import Refusal
from cfront.btf import Btf
from cfront.ctype import Array, CType, Enum, Function, Integer, Pointer, Record, Void
from cfront.uapi import ProgType

__all__ = ["GlobalFunction", "Parameter", "global_functions", "is_context", "returns_int", "static_functions"]

_P = ProgType
_SKB = (_P.SOCKET_FILTER, _P.SCHED_CLS, _P.SCHED_ACT, _P.CGROUP_SKB, _P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT, _P.LWT_SEG6LOCAL,
        _P.SK_SKB, _P.FLOW_DISSECTOR)
# the struct that a program type's context is to C
_CONTEXT_OF: Mapping[ProgType, tuple[str, ...]] = {
    **dict.fromkeys(_SKB, ("__sk_buff",)),
    _P.XDP: ("xdp_md",), _P.KPROBE: ("pt_regs", "bpf_user_pt_regs_t"), _P.PERF_EVENT: ("bpf_perf_event_data",),
    _P.RAW_TRACEPOINT: ("bpf_raw_tracepoint_args",), _P.RAW_TRACEPOINT_WRITABLE: ("bpf_raw_tracepoint_args",),
    _P.CGROUP_SOCK: ("bpf_sock",), _P.CGROUP_SOCK_ADDR: ("bpf_sock_addr",), _P.SOCK_OPS: ("bpf_sock_ops",),
    _P.SK_MSG: ("sk_msg_md",), _P.CGROUP_DEVICE: ("bpf_cgroup_dev_ctx",), _P.CGROUP_SYSCTL: ("bpf_sysctl",),
    _P.CGROUP_SOCKOPT: ("bpf_sockopt",), _P.SK_REUSEPORT: ("sk_reuseport_md",), _P.SK_LOOKUP: ("bpf_sk_lookup",),
    _P.NETFILTER: ("bpf_nf_ctx",),
}
_MAX_ARGUMENTS = 5


@dataclass(frozen=True, slots=True)
class Parameter:
    """What an argument is. kind: "scalar", "ctx", "mem", "mem_or_null", "dynptr", "arena", or "trusted_ptr"
    (_or_null); size: bytes of memory; type: the struct of a trusted pointer."""

    kind: str
    size: int = 0
    type: str = ""


@dataclass(frozen=True, slots=True)
class GlobalFunction:
    """A global function. parameters may be a sentence: why it cannot be one."""

    name: str
    parameters: tuple[Parameter, ...]
    fault: str = ""


def static_functions(program: ProgramSpec, shape: Shape) -> frozenset[int] | None:
    """The indices of static functions, None where the program does not say (it has no BTF of functions)."""
    linkages = _linkages(program, shape)
    return None if linkages is None else frozenset(index for index, (_, linkage) in linkages.items() if not linkage)


def global_functions(program: ProgramSpec, shape: Shape) -> dict[int, GlobalFunction]:
    """The functions that are global, but for the main one, by index in shape.starts."""
    linkages = _linkages(program, shape) or {}
    btf = Btf(program.btf) if linkages else None
    found = {}
    for index, (id, linkage) in linkages.items():
        if index and linkage == 1 and btf is not None:
            found[index] = _read(btf, id, program.type)
    return found


def returns_int(program: ProgramSpec, shape: Shape, index: int) -> bool | None:
    """Whether a function gives a number, None where the program does not say."""
    found = (_linkages(program, shape) or {}).get(index)
    if found is None:
        return None
    proto = Btf(program.btf).type(found[0])
    return isinstance(proto, Function) and isinstance(proto.result, Integer | Enum)


def _linkages(program: ProgramSpec, shape: Shape) -> dict[int, tuple[int, int]] | None:
    """By index of the function: (id of its BTF FUNC, linkage: 0 static, 1 global)."""
    if not program.btf or not program.functions or not all(one.type_id for one in program.functions):
        return None
    btf = Btf(program.btf)
    index_of = {start: index for index, start in enumerate(shape.starts)}
    return {
        index_of[one.slot]: (one.type_id, btf.linkage(one.type_id)) for one in program.functions if one.slot in index_of
    }


def _read(btf: Btf, id: int, type: ProgType) -> GlobalFunction:
    proto, name = btf.type(id), btf.name(id)
    if not isinstance(proto, Function):
        return GlobalFunction(name, (), f"Invalid type of function {name}()")
    if len(proto.params) > _MAX_ARGUMENTS:
        return GlobalFunction(
            name, (), f"Global function {name}() with {len(proto.params)} > {_MAX_ARGUMENTS} args. Buggy compiler.")
    if not isinstance(proto.result, Integer | Enum):
        return GlobalFunction(name, (), f"Global function {name}() doesn't return scalar. Only those are supported.")
    try:
        parameters = tuple(
            _parameter(index, one.type, btf.argument_tags(id, index), type, name) for index, one in enumerate(proto.params)
        )
    except Refusal as refusal:
        return GlobalFunction(name, (), refusal.sentences[-1])
    return GlobalFunction(name, parameters)


def _parameter(index: int, one: CType, tags: frozenset[str], type: ProgType, name: str) -> Parameter:
    if tags - {"ctx", "trusted", "untrusted", "nonnull", "nullable", "arena"}:
        raise Refusal(f"arg#{index} has unsupported set of tags")
    if isinstance(one, Pointer):
        return _pointer(index, one.target, tags, type)
    if tags:
        raise Refusal(f"arg#{index} has pointer tag, but is not a pointer type")
    if isinstance(one, Integer | Enum):
        return Parameter("scalar")
    raise Refusal(f"Arg#{index} type {_word(one)} in {name}() is not supported yet.")


def _pointer(index: int, target: CType, tags: frozenset[str], type: ProgType) -> Parameter:
    wrong = Refusal(f"arg#{index} has invalid combination of tags")
    if "ctx" in tags or is_context(target, type):
        if tags - {"ctx"}:
            raise wrong
        return Parameter("ctx")
    name = target.name if isinstance(target, Record) else ""
    if name == "bpf_dynptr":
        if tags:
            raise wrong
        return Parameter("dynptr")
    if tags & {"trusted", "untrusted"}:
        if "nonnull" in tags:
            raise wrong
        kind, name = "trusted_ptr" if "trusted" in tags else "untrusted_ptr", name.partition("___")[0]
        return Parameter(f"{kind}_or_null" if "nullable" in tags else kind, type=name)
    if "arena" in tags:
        return Parameter("arena")
    if "nullable" in tags:
        raise wrong
    size = getattr(target, "size", 0)
    if isinstance(target, Void) or not size:
        raise Refusal(f"arg#{index} reference type('{_word(target)} {name}') size cannot be determined: -22")
    return Parameter("mem" if "nonnull" in tags else "mem_or_null", size)


def is_context(target: CType, type: ProgType) -> bool:
    """The struct is what such a program's context is to C."""
    names = _CONTEXT_OF.get(type, ())
    return isinstance(target, Record) and target.name in names


def _word(type: CType) -> str:
    """The kind of a type as BTF calls it."""
    if isinstance(type, Record):
        return "STRUCT" if type.tag == "struct" else "UNION"
    if isinstance(type, Array):
        return "ARRAY"
    return "FWD" if isinstance(type, Void) else "UNKNOWN"
