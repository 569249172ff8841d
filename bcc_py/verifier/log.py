"""The log of an exploration in Linux's format: what was executed, what was known after it, and why paths ended.

In: the steps that the explorer takes, each with the state that it leaves. Out: text(), Linux's log of level 2 (all paths)
or of level 1 (the path that is followed), and path(), always the latter: instructions with what they read and wrote behind
them, "from X to Y:" where another path begins, frames, the C lines between. Not in it: what Linux adds about its own ways
(mark_precise, liveness).

Values are immutable, so a row keeps them and becomes text only if it is read: a step costs little, and of a long path
the beginning is let go.

Source: kernel/bpf/log.c and kernel/bpf/verifier.c (do_check) of Linux 6.18, behaviour and words."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bcc_py.isa import PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_KFUNC_CALL, Insn, text_of
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.domain import M32, M64, S32_MAX, S32_MIN, S64_MAX, S64_MIN, Pointer, Scalar, Value
from bcc_py.verifier.state import Frame, Slot, State

__all__ = ["Log", "slot_text", "value_text"]

_MAX_PATH_ROWS = 20_000
_MAX_ROWS = 100_000
# the column of what is known after an instruction, and how it grows
_STATE_COL, _STATE_STEP = 40, 8
_CALL, _EXIT, _LDDW, _JA, _GOTOL, _CMPXCHG, _LOAD_ACQUIRE = 0x85, 0x95, 0x18, 0x05, 0x06, 0xF1, 0x100
_MAP_NAME_CHARS = 15
_MAX_STACK_BYTES = 512


class _State(NamedTuple):
    """Registers and stack slots of one frame, and the numbers of the registers that are to be shown."""

    depth: int
    regs: tuple[Value | None, ...]
    numbers: tuple[int, ...]
    stack: tuple[tuple[int, Slot], ...]
    refs: tuple[int, ...]
    suffix: str = ""

    def __str__(self) -> str:
        rows = [f" frame{self.depth}:"] if self.depth else []
        for number in self.numbers:
            value = self.regs[number]
            if value is not None:
                rows.append(f" R{number}={value_text(value, self.depth)}")
        rows += [f" fp{-8 * number - 8}={slot_text(slot, self.depth)}" for number, slot in self.stack if not _is_upper(slot)]
        if self.refs:
            rows.append(f" refs={','.join(map(str, self.refs))}")
        return "".join(rows) + self.suffix


class _Row(NamedTuple):
    """A line: words, or an instruction (slot >= 0), and a state."""

    words: str
    slot: int = -1
    state: _State | None = None


class Log:
    """Rows of one exploration. has_all: of all its paths, not only of the one that is followed."""

    def __init__(self, program: ProgramSpec, has_all: bool) -> None:
        self._program = program
        self._has_all = has_all
        self._path = _Rows(_MAX_PATH_ROWS)
        self._all = _Rows(_MAX_ROWS)
        self._marks: list[int] = []
        # (origin, slot) of a jump to a path left over, or back to a caller, that no row tells of yet
        self._from: tuple[int, int] | None = None
        self._is_whole = True  # the next row shows everything that is known
        self._line: tuple[str, int] | None = None
        self._starts: Sequence[int] = ()
        self._shown: dict[int, _Shown] = {}
        self._line_slots = [one.slot for one in program.lines]

    def add(self, words: str) -> None:
        self._add(_Row(words))

    def text(self) -> str:
        return self._text(self._all if self._has_all else self._path)

    def path(self) -> str:
        """The rows of the path that is followed."""
        return self._text(self._path)

    def begin(self, starts: Sequence[int]) -> None:
        """starts: the first slot of each function."""
        self._starts = starts
        if self._has_all:
            for index, slot in enumerate(starts):
                self._all.add(_Row(f"func#{index} @{slot}"))

    def validate(self, start: int) -> None:
        """A global function is looked at on its own."""
        self._path.cut(0)
        self._marks.clear()
        self._from, self._is_whole = None, True
        index, name = self._function(start)
        self.add(f"Validating {name}() func#{index}...")

    def validated(self, start: int) -> None:
        index, name = self._function(start)
        self.add(f"Func#{index} ('{name}') is safe for any args that match its prototype")

    def _function(self, start: int) -> tuple[int, str]:
        name = next((one.name for one in self._program.functions if one.slot == start), "")
        return self._starts.index(start), name

    def put_by(self, count: int) -> None:
        """A path is left for later; count: how many were before it."""
        self._marks[count:] = [self._path.end]

    def resume(self, count: int, origin: int, slot: int) -> None:
        """The path that was left last goes on: count others are still left."""
        self._path.cut(self._marks[count])
        self._from = (origin, slot)
        self._is_whole = True

    def safe(self, state: State, slot: int) -> None:
        """The rest of this path is known."""
        if self._from is not None:
            kind = " (speculative execution)" if state.is_speculative else ""
            self._all_only(_Row(""))
            self._all_only(_Row(f"from {self._from[0]} to {slot}{kind}: safe"))
            self._from = None
        else:
            self._add(_Row(f"{slot}: safe"))

    def step(self, state: State, slot: int, insn: Insn, run: Callable[[Insn], int]) -> int:
        """Does run(insn), which changes state, and writes it down; what it gives."""
        if self._from is not None or self._is_whole or self._line_slots:
            self._before(state, slot)
        row = _Row("", slot)
        self._add(row)
        frame, depth = state.frames[-1], len(state.frames)
        shown = self._shown.get(slot) or self._new_shown(slot, insn)
        slots = _slots_used(frame.regs[shown.base], insn.off) if shown.base >= 0 else _NO_SLOTS
        before = [(one, one.stack.copy()) for one in state.frames] if shown.is_helper else ()
        after = run(insn)
        if len(state.frames) != depth:
            self._changed_frame(state, frame, depth, slot, after)
        elif insn.code == _CALL and insn.src == PSEUDO_CALL:
            index, name = self._function(slot + 1 + insn.imm)
            self.add(f"Func#{index} ('{name}') is global and assumed valid.")
            self._add(_Row(f"{after}:", state=_state(state, frame, depth - 1, (0,), ())))
        elif shown.regs or shown.base >= 0:
            for one, stack in before:
                slots = slots | {number for number, held in one.stack.items() if stack.get(number) is not held}
            self._replace(row, _Row("", slot, _state(state, frame, depth - 1, shown.regs, slots)))
        return after

    def _new_shown(self, slot: int, insn: Insn) -> _Shown:
        made = self._shown[slot] = _Shown(_registers(insn), _base_of(insn), insn.code == _CALL and insn.src != PSEUDO_CALL)
        return made

    def _changed_frame(self, state: State, frame: Frame, depth: int, origin: int, slot: int) -> None:
        if len(state.frames) > depth:
            self._called(state)
        else:
            self._returned(state, frame, origin, slot)

    def _before(self, state: State, slot: int) -> None:
        """The rows between the last instruction and the one at slot."""
        if self._from is not None:
            self._all_only(_Row(""))
            kind = " (speculative execution)" if state.is_speculative else ""
            self._all_only(_Row(f"from {self._from[0]} to {slot}{kind}:", state=_whole(state)))
            self._from = None
        if self._is_whole:
            self._add(_Row(f"{slot}:", state=_whole(state)))
            self._is_whole = False
        at = bisect_right(self._line_slots, slot)
        if not at:
            return
        line = self._program.lines[at - 1]
        if self._line != (line.file, line.line):
            self._line = (line.file, line.line)
            self._add(_Row(f"; {line.text.lstrip()} @ {line.file.rpartition('/')[2]}:{line.line}"))

    def _called(self, state: State) -> None:
        depth = len(state.frames) - 1
        self.add("caller:")
        self._add(_Row("", state=_frame_state(state, state.frames[-2], depth - 1)))
        self.add("callee:")
        self._add(_Row("", state=_whole(state)))
        self._is_whole = True

    def _returned(self, state: State, callee: Frame, origin: int, slot: int) -> None:
        self.add("returning from callee:")
        self._add(_Row("", state=_frame_state(state, callee, len(state.frames))))
        self.add(f"to caller at {slot}:")
        self._add(_Row("", state=_whole(state)))
        self._from = (origin, slot)

    def _add(self, row: _Row) -> None:
        self._path.add(row)
        self._all_only(row)

    def _all_only(self, row: _Row) -> None:
        if self._has_all:
            self._all.add(row)

    def _replace(self, row: _Row, new: _Row) -> None:
        """new in the place of row, if it is still the last one."""
        self._path.replace_last(row, new)
        if self._has_all:
            self._all.replace_last(row, new)

    def _insn_text(self, slot: int) -> str:
        """As Linux writes it: a kernel function has its name, a function of the program is a number."""
        insn, text = self._program.insns[slot], text_of(self._program.insns, slot)
        if insn.code == _CALL and insn.src == PSEUDO_KFUNC_CALL and slot in self._program.kernel_functions:
            return f"({insn.code:02x}) call {self._program.kernel_functions[slot]}#{insn.imm}"
        if insn.code == _LDDW and insn.src == PSEUDO_FUNC:
            return f"({insn.code:02x}) r{insn.dst} = {insn.imm & M32:#x}"
        return text

    def _text(self, rows: _Rows) -> str:
        texts: dict[int, str] = {}
        found = [f"({rows.dropped} lines before these are left out)"] if rows.dropped else []
        for row in rows.kept:
            if row.slot < 0:
                found.append(f"{row.words}{row.state or ''}")
                continue
            words = texts.get(row.slot)
            if words is None:
                words = texts[row.slot] = f"{row.slot}: {self._insn_text(row.slot)}"
            found.append(f"{words}{' ' * (_state_col(len(words)) - len(words))};{row.state}" if row.state else words)
        return "\n".join(found) + "\n"


class _Rows:
    """Rows of which the last ones are kept. end: how many there were."""

    def __init__(self, limit: int) -> None:
        self.kept: list[_Row] = []
        self.dropped = 0
        self._limit = limit

    @property
    def end(self) -> int:
        return self.dropped + len(self.kept)

    def add(self, row: _Row) -> None:
        self.kept.append(row)
        if len(self.kept) > 2 * self._limit:
            del self.kept[: self._limit]
            self.dropped += self._limit

    def cut(self, end: int) -> None:
        """Forgets all rows from end on."""
        del self.kept[max(end - self.dropped, 0) :]
        self.dropped = min(self.dropped, end)

    def replace_last(self, row: _Row, new: _Row) -> None:
        if self.kept and self.kept[-1] is row:
            self.kept[-1] = new


def _state_col(width: int) -> int:
    """Where the state begins behind an instruction of width characters (which ends with a newline)."""
    at = max(width + 1 + _STATE_STEP // 2, _STATE_COL)
    return -(-at // _STATE_STEP) * _STATE_STEP - 2


# ---- which registers and slots an instruction shows


class _Shown(NamedTuple):
    """What is shown of one instruction. base: the register through which it may reach the stack, -1 for none."""

    regs: tuple[int, ...]
    base: int
    is_helper: bool


_NO_SLOTS: frozenset[int] = frozenset()
_ALL_REGS = tuple(range(11))


def _base_of(insn: Insn) -> int:
    cls = insn.code & 7
    base = insn.dst if cls in (2, 3) else insn.src if cls == 1 else -1
    return base if base <= 10 else -1


def _slots_used(base: Value | None, off: int) -> frozenset[int]:
    """The stack slots that a load or store through base may touch."""
    if not isinstance(base, Pointer) or base.kind != "fp":
        return _NO_SLOTS
    low = high = base.off + off
    if base.var is not None:
        low, high = max(low + base.var.smin, -_MAX_STACK_BYTES), min(high + base.var.smax, -1)
    return frozenset(range((-high - 1) // 8, (-low - 1) // 8 + 1))


def _is_written(frame: Frame, number: int) -> bool:
    slot = frame.stack.get(number)
    return slot is not None and slot[0] != "--------"


def _registers(insn: Insn) -> tuple[int, ...]:
    """The registers that Linux looks at one by one for insn, ascending."""
    code, cls = insn.code, insn.code & 7
    if code in (_JA, _GOTOL, _EXIT):
        return ()
    if code == _CALL:
        return () if insn.src == PSEUDO_CALL else (0,)
    if cls == 0:
        return (insn.dst,) if code == _LDDW else tuple(sorted({0, 6, insn.src})) if code & 0xE0 == 0x40 else (0, 6)
    found = {insn.dst}
    if cls in (1, 3) or (cls in (4, 5, 6, 7) and code & 8 and code & 0xF7 != 0xD4):
        found.add(insn.src)
    if cls == 3 and code & 0xE0 == 0xC0 and insn.imm == _CMPXCHG:
        found.add(0)
    return tuple(sorted(found))


def _whole(state: State) -> _State:
    return _frame_state(state, state.frames[-1], len(state.frames) - 1)


def _frame_state(state: State, frame: Frame, depth: int) -> _State:
    return _state(state, frame, depth, _ALL_REGS, frame.stack)


def _state(state: State, frame: Frame, depth: int, numbers: tuple[int, ...], slots: Iterable[int]) -> _State:
    stack = tuple([(number, frame.stack[number]) for number in sorted(slots) if _is_written(frame, number)]) if slots else ()
    return _State(depth, tuple(frame.regs), numbers, stack, _refs(state), _suffix(state, frame))


def _refs(state: State) -> tuple[int, ...]:
    """Ids of what is not released: references, and the held lock's."""
    if not state.refs and not state.lock:
        return ()
    return tuple(one.id for one in state.refs) + ((state.lock[2],) if state.lock else ())


def _suffix(state: State, frame: Frame) -> str:
    return (" cb" if frame.is_callback else "") + (" async_cb" if state.is_async else "")


# ---- values in words


def value_text(value: Value, depth: int = 0) -> str:
    """A register's value as Linux prints it; depth: the frame whose register it is."""
    if isinstance(value, Scalar):
        return _scalar_text(value)
    if value.kind == "fp":
        frame = f"[{value.frame}]" if value.frame != depth else ""
        if value.var is None:
            return f"fp{frame}{_signed(value.off)}"
        return f"fp{frame}({','.join(_pointer_fields(value))})"
    type = "" if "mem" in value.kind else value.type
    return f"{value.kind_text}{type}({','.join(_pointer_fields(value))})"


def slot_text(slot: Slot, depth: int = 0) -> str:
    """A stack slot: its bytes from the highest address down, or what was spilled there."""
    types, value = slot
    if isinstance(value, Pointer) and value.kind.startswith("dynptr_") and types[0] == "d":
        return f"{value.kind}(id={value.id}{f',ref_id={value.ref}' if value.ref else ''},dynptr_id={value.id})"
    if isinstance(value, Pointer) and types[0] == "i":
        kind = value.kind.removeprefix("rcu_").removeprefix("untrusted_")
        return f"{kind}(ref_id={value.ref},state={value.type},depth={value.range})"
    shown = types[::-1].replace("-", "?")
    if types[0] == "r" and value is not None:
        return f"{shown.partition('r')[0]}{value_text(value, depth)}"
    return shown.replace("r", "m")


def _is_upper(slot: Slot) -> bool:
    """Whether this is the upper half of what is shown at the lower one."""
    types, value = slot
    return isinstance(value, Pointer) and ((types[0] == "d" and not value.size) or (types[0] == "i" and not value.ref))


def _scalar_text(value: Scalar) -> str:
    if not value.mask:
        return _signed(value.smin)
    fields = []
    if value.id:
        fields.append(f"id={value.id}{f'{value.plus[0]:+d}' if value.plus else ''}")
    return f"scalar({','.join([*fields, *_range_fields(value)])})"


def _pointer_fields(value: Pointer) -> list[str]:
    fields = []
    id = value.ref or value.id
    if id:
        fields.append(f"id={id}" if value.id else "")
    if value.ref:
        fields.append(f"ref_obj_id={value.ref}")
    if value.kind.startswith("nonown_"):
        fields.append("non_own_ref")
    if value.map is not None:
        fields += [f"map={value.map.name[:_MAP_NAME_CHARS]}"] if value.map.name else []
        fields.append(f"ks={value.map.key_size},vs={value.map.value_size}")
    if value.off:
        fields.append(f"off={_signed(value.off)}")
    if value.kind in ("pkt", "pkt_meta"):
        fields.append(f"r={_unsigned(value.range & M64)}")
    if "mem" in value.kind:
        fields.append(f"sz={_unsigned(value.size)}")
    if value.var is not None:
        fields += _range_fields(value.var)
    return [one for one in fields if one]


def _range_fields(value: Scalar) -> list[str]:
    """The bounds that say something, equal ones of one sign together, then the known bits."""
    s32min = value.s32min if _is_short(value.s32min) else value.s32min & M32
    s32max = value.s32max if _is_short(value.s32max) else value.s32max & M32
    bounds = (
        ("smin", value.smin, value.smin != S64_MIN), ("smax", value.smax, value.smax != S64_MAX),
        ("umin", value.umin, value.umin != 0), ("umax", value.umax, value.umax != M64),
        ("smin32", s32min, value.s32min != S32_MIN), ("smax32", s32max, value.s32max != S32_MAX),
        ("umin32", value.u32min, value.u32min != 0), ("umax32", value.u32max, value.u32max != M32),
    )
    fields = []
    said: set[str] = set()
    for index, (name, bound, is_telling) in enumerate(bounds):
        if not is_telling or name in said:
            continue
        names = [name]
        for other, same, is_telling_too in bounds[index + 2 :: 2]:
            if is_telling_too and other not in said and same == bound:
                said.add(other)
                names.append(other)
        fields.append(f"{'='.join(names)}={_signed(bound) if name[0] == 's' else _unsigned(bound)}")
    if value.mask != M64:
        fields.append(f"var_off=({value.value:#x}; {value.mask:#x})")
    return fields


def _is_short(number: int) -> bool:
    return -(1 << 15) <= number < 1 << 15


def _signed(number: int) -> str:
    return str(number) if _is_short(number) else f"{number & M64:#x}"


def _unsigned(number: int) -> str:
    return str(number) if number < 1 << 16 else f"{number:#x}"
