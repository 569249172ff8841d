"""Inert blueprints: what an object file says, before any kernel is asked. Frozen, comparable, no I/O.

read_object (elf.py) makes an ObjectSpec; load (load.py) turns it into live handles on a Kernel."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from bcc_py.isa import Insn
from cfront.uapi import AttachType, MapType, ProgType

__all__ = [
    "FuncInfo", "Hook", "HookKind", "LineInfo", "MapSpec", "ObjectSpec", "PerfEvent", "ProgramSpec", "Reloc", "RelocKind", "Sharing",
]


class HookKind(enum.Enum):
    """Kinds of places to attach. The value is the word used in messages."""

    TRACEPOINT = "tracepoint"
    RAW_TRACEPOINT = "raw tracepoint"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    BTF_TRACEPOINT = "typed tracepoint"
    FENTRY = "fentry"
    FEXIT = "fexit"
    LSM = "security hook"
    ITER = "iterator"
    FMOD_RET = "fmod_ret"
    UPROBE = "uprobe"
    URETPROBE = "uretprobe"
    PERF_EVENT = "perf event"
    XDP = "device"
    SOCKET = "packet socket"
    TARGET = "descriptor"  # of a control group, a socket map, a network namespace


@dataclass(frozen=True, slots=True)
class PerfEvent:
    """An event that the CPU or the kernel counts. attr: struct perf_event_attr, its size word included. pid: whose, -1 for
    everybody's. cpu: -1 for every CPU that is online. group_fd: of the group's leader, -1 for none."""

    attr: bytes
    pid: int = -1
    cpu: int = -1
    group_fd: int = -1


@dataclass(frozen=True, slots=True)
class Hook:
    """A place to attach. name: "category:event" for a tracepoint, the event for a raw or a typed tracepoint, the
    function for kprobes, fentry and fexit, the file for uprobes, the device for XDP and packet sockets ("": all),
    "type:config" for a perf event, the descriptor's number. offset: bytes into the function (kprobe), into the file (uprobe).
    cookie: what bpf_get_attach_cookie gives a program that runs here. event: of a perf event. attach_type, flags: as what a program is attached to a descriptor, and
    BPF_F_*; of XDP, XDP_FLAGS_*. pid: the process that an uprobe is for, -1 for all. counter_offset: where in the file a
    16-bit number is that the kernel counts up while an uprobe is attached (a USDT probe's semaphore), 0 for none."""

    kind: HookKind
    name: str
    offset: int = 0
    cookie: int = 0
    event: PerfEvent | None = None
    attach_type: AttachType = AttachType.NONE
    flags: int = 0
    pid: int = -1
    counter_offset: int = 0

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}" + (f"+{self.offset:#x}" if self.offset else "")


class Sharing(enum.Enum):
    """Whose a map is. The value is the word in the object."""

    OWN = ""  # this object's alone
    PUBLIC = "public"  # this object's, and others on the same kernel may open it by name
    EXTERN = "extern"  # another object's, public under this name


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map to create. Sizes in bytes; key_type and value_type: BTF type ids in the object's .BTF, 0
    if it has none; event_type: the BTF id of what a perf or ring buffer carries (the pointee), 0 if unknown.
    inner: what the maps that a map of maps holds are like. extra: map_extra (a bloom filter's number of hash functions).
    kernel_value: the kernel's struct that the value of a STRUCT_OPS map is. pin: the path under which the map outlives its
    users, "" for none. type is UNSPEC where sharing is EXTERN: the map that is found has one."""

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    key_type: int = 0
    value_type: int = 0
    event_type: int = 0
    inner: MapSpec | None = None
    initial: bytes = b""  # .data, .rodata: the one value
    pin: str = ""
    sharing: Sharing = Sharing.OWN
    btf: bytes = field(default=b"", repr=False, compare=False)  # the .BTF that the type ids are of
    extra: int = 0
    kernel_value: str = ""


class RelocKind(enum.Enum):
    MAP = "map"  # 64-bit immediate load of a map's address
    MAP_VALUE = "map value"  # the same, of an address inside the map's one value (.data, .rodata, .bss)
    CALL = "call"  # call of a function in another section
    FUNC = "func"  # 64-bit immediate load of a function's address (a callback)


@dataclass(frozen=True, slots=True)
class Reloc:
    """slot: the instruction to patch; symbol: the map's or the function's name; addend: bytes into the
    value for MAP_VALUE."""

    slot: int
    kind: RelocKind
    symbol: str
    addend: int = 0


@dataclass(frozen=True, slots=True)
class LineInfo:
    """From slot on, instructions come from this place. text: the C line."""

    slot: int
    file: str
    line: int
    col: int
    text: str
    # the BTF string offsets, for handing the record to the kernel again
    file_off: int = 0
    text_off: int = 0


@dataclass(frozen=True, slots=True)
class FuncInfo:
    """A function begins at slot. type_id: its BTF FUNC, 0 if unknown."""

    slot: int
    name: str
    type_id: int = 0


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """One loadable function with everything it calls in the same object appended behind it, so calls
    between them are resolved (src=PSEUDO_CALL, imm relative to the next slot) and only MAP and MAP_VALUE
    relocations are open. functions[0] begins at slot 0. flags: BPF_F_* of the loading (include/uapi/linux/bpf.h);
    attach_to: the kernel function whose arguments are the context of a TRACING or LSM program.
    kernel_functions, kernel_variables: by slot, the kernel functions that it calls, and the kernel's variables and functions
    whose addresses it loads; their relocations are open too, until the kernel they are loaded into closes them. weak: the
    names of those that the kernel may lack: such an address is then 0."""

    name: str
    section: str
    type: ProgType
    insns: tuple[Insn, ...]
    license: str = "GPL"
    expected_attach_type: AttachType = AttachType.NONE
    hook: Hook | None = None  # where its section or name asks to be attached
    relocs: tuple[Reloc, ...] = ()
    functions: tuple[FuncInfo, ...] = ()
    lines: tuple[LineInfo, ...] = ()
    btf: bytes = field(default=b"", repr=False)  # the object's .BTF, whole
    flags: int = 0
    attach_to: str = ""
    kernel_functions: Mapping[int, str] = field(default_factory=dict)
    kernel_variables: Mapping[int, str] = field(default_factory=dict)
    weak: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """All that one ELF object holds. programs and maps in the order of the file, by name."""

    programs: dict[str, ProgramSpec]
    maps: dict[str, MapSpec]
    license: str = ""
    btf: bytes = field(default=b"", repr=False)
