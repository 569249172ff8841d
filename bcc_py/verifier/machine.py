"""What all rules look at: the state of the path that is followed, and what exploration learns.

Machine is the lowest of the classes that make up the explorer, one floor a file: arith.py, memory.py, branch.py,
calls.py and explore.py stand on it, each on those before. Here are registers, frames, ids, and the paths
that are left for later."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from bcc_py.spec import ProgramSpec
from bcc_py.verifier.callgraph import catching_slot, sleepers
from bcc_py.verifier.domain import UNKNOWN, UNKNOWN32, Pointer, Value, unsigned_range
from bcc_py.verifier.env import VerifierEnv
from bcc_py.verifier.form import Shape
from bcc_py.verifier.functions import global_functions, static_functions
from bcc_py.verifier.hooks import Hook, hook_of
from bcc_py.verifier.limits import attach_type_of
from bcc_py.verifier.log import Log
from bcc_py.verifier.precision import Checkpoint, need
from bcc_py.verifier.prune import Pruner
from bcc_py.verifier.rules import GPL_LICENSES, Refusal
from bcc_py.verifier.state import Frame, Ref, State
from cfront.btf import Btf

__all__ = ["LOADED", "M32", "MAX_STACK_BYTES", "MAX_VAR_OFF", "NO_MASK", "PATH_ENDS", "SEVERAL_MAPS", "SIZES", "Finding", "Machine"]

MAX_STACK_BYTES = 512
MAX_VAR_OFF = 1 << 29
PATH_ENDS = -1
SEVERAL_MAPS = -1
# what masks holds for a sum of numbers
NO_MASK = (False, False, False, -1)
M32 = (1 << 32) - 1
SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
LOADED = {1: unsigned_range(0, 0xFF), 2: unsigned_range(0, 0xFFFF), 4: UNKNOWN32, 8: UNKNOWN}
BPF_F_STRICT_ALIGNMENT, BPF_F_ANY_ALIGNMENT, BPF_F_TEST_STATE_FREQ, BPF_F_SLEEPABLE = 1 << 0, 1 << 1, 1 << 3, 1 << 4
_MAX_PENDING = 8192


@dataclass(slots=True)
class Finding:
    """What exploration learnt. insns_processed: instructions looked at, on all paths; stack_bytes: depth for
    each function, a multiple of 8; kinds: slot of a load or store -> kind of memory ("fp", "ctx",
    "map_value", "ringbuf_mem", "pkt", ...; several joined by "|"); reached: slots some path executes;
    async_functions: what timers call; callbacks: all that the
    kernel calls; call_maps: slot of a helper's call -> fd of the map it is about, SEVERAL_MAPS where paths differ; context_bytes: how far
    into its context it reaches.

    What code for a loader without CAP_PERFMON has to defend against speculation: nospec: slots before which a barrier
    stands, nospec_after: stores behind which one stands; masks: slot of a sum -> (is what is added negative, is it a
    constant, is the pointer in dst, how far it may move)."""

    insns_processed: int = 0
    peak_states: int = 0
    stack_bytes: list[int] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)
    async_functions: set[int] = field(default_factory=set)
    callbacks: set[int] = field(default_factory=set)
    nospec: set[int] = field(default_factory=set)
    nospec_after: set[int] = field(default_factory=set)
    masks: dict[int, tuple[bool, bool, bool, int]] = field(default_factory=dict)
    call_maps: dict[int, int] = field(default_factory=dict)
    context_bytes: int = 0


class Machine:
    """The state of one exploration of one program."""

    def __init__(self, program: ProgramSpec, shape: Shape, env: VerifierEnv, log: Log | None) -> None:
        self.program = program
        self.insns = program.insns
        self.shape = shape
        self.weighed = shape.weighed
        self.type = program.type
        self.attach_type = attach_type_of(program.type, program.expected_attach_type) or program.expected_attach_type
        self.is_gpl = program.license in GPL_LICENSES
        self.maps = env.maps
        self.insn_limit = env.insn_limit
        self.privileges = env.privileges
        self.may_leak = self.allow_uninit_stack = self.is_spec_bypassed = env.privileges.perfmon
        # what is left of a pointer that is no longer good for anything
        self._nothing = UNKNOWN if self.may_leak else None
        self.is_strict = program.flags & (BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT) == BPF_F_STRICT_ALIGNMENT
        self.is_frequent = bool(program.flags & BPF_F_TEST_STATE_FREQ)
        self.is_sleepable = bool(program.flags & BPF_F_SLEEPABLE)
        self.cpus = env.cpus
        self.types = env.types
        self.log = log
        self.finding = Finding(stack_bytes=[0] * len(shape.starts))
        # global functions: their calls are held to their prototypes only
        self.globals = global_functions(program, shape)
        self.static = static_functions(program, shape)
        self.called_globals: list[int] = []
        self.slot = 0
        self._ids = 0
        self._pruner = Pruner(shape, env.privileges.perfmon)
        self._parent: Checkpoint | None = None
        self._pending: list[tuple[State, int, int, Checkpoint | None]] = []
        self._met: set[int] = set()
        self._jumps = 0
        self._last_jumps = 0
        self._last_insns = 0
        regs: list[Value | None] = [None] * 11
        regs[1] = Pointer("ctx")
        regs[10] = Pointer("fp")
        self.state = State([Frame(regs, {}, -1, 0, [0] * 11, {})])
        self.frame = self.state.frames[0]
        self.regs = regs
        self.sources = self.frame.sources
        self._loaded_from = 0
        # some slot of a stack may be more than bytes: a dynptr, an iterator
        self._has_special_slots = False

    @cached_property
    def own_types(self) -> Btf | None:
        """The program's types."""
        return Btf(self.program.btf) if self.program.btf else None

    @cached_property
    def hook(self) -> Hook | None:
        """What the program is attached to, where the kernel's types describe it."""
        return hook_of(self.program, self.types) if self.types is not None else None

    @cached_property
    def catcher(self) -> int:
        """The index of the function that catches exceptions, -1 where there is none."""
        slot = catching_slot(self.program)
        return self.shape.starts.index(slot) if slot >= 0 else -1

    @cached_property
    def sleepers(self) -> frozenset[int]:
        """The functions that may sleep."""
        return sleepers(self.program, self.shape)

    def _enter_frame(self) -> None:
        self.frame = self.state.frames[-1]
        self.regs = self.frame.regs
        self.sources = self.frame.sources

    def _push(self, state: State, slot: int) -> None:
        if len(self._pending) >= _MAX_PENDING:
            raise Refusal(f"The sequence of {len(self._pending) + 1} jumps is too complex.")
        if self.log:
            self.log.put_by(len(self._pending))
        self._pending.append((state, self.slot, slot, self._parent))
        if self._parent is not None:
            self._parent.unfinished += 1

    def _push_speculative(self, slot: int) -> None:
        """Leaves the current state for later as one that only a processor's guess gets to."""
        state = self.state.copy()
        state.is_speculative = True
        self._push(state, slot)

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    def _acquire(self) -> int:
        """A new id of something that has to be released."""
        ref = self._new_id()
        self.state.refs += (Ref(ref, self.slot),)
        return ref

    def _deepen(self, frame: Frame, low: int) -> None:
        """The function's stack goes down to low."""
        depth = -low + 7 & ~7
        if depth > self.finding.stack_bytes[frame.function]:
            self.finding.stack_bytes[frame.function] = depth

    # ---- registers

    def _read(self, number: int) -> Value:
        value = self.regs[number]
        if value is None:
            raise Refusal(f"R{number} !read_ok")
        return value

    def _check_writable(self, number: int) -> None:
        if number == 10:
            raise Refusal("frame pointer is read only")

    def _need(self, regno: int) -> None:
        """The number in this register decides something."""
        places = self.sources[regno]
        if places:
            need(self._parent, places)
