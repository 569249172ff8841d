"""A refusal in plain words: what is wrong where, where the value came from, on which way, and what to write.

In: a VerifierError of either kernel. What it says is read from its sentence, its log (trail.py) and the program's C
lines; without those, instructions are named by their numbers. Out: text of a few lines, the first the fault itself. For
a sentence that no row of _STORIES knows, what can be said of every refusal. Invariant: never another error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from bcc_py.errors import VerifierError
from bcc_py.isa import PSEUDO_CALL, Insn
from bcc_py.spec import ProgramSpec
from bcc_py.verifier.trail import Origin, Step, Trail, read_trail
from cfront.uapi import HELPER_IDS, MapType, ProgType

__all__ = ["explain"]

_MAX_BRANCHES = 6
_CALL, _EXIT, _LDDW = 0x85, 0x95, 0x18
_HELPER_NAME = {number: f"bpf_{name}()" for name, number in HELPER_IDS.items()}
_ASSIGNED = re.compile(r"(?<![\w.>])([A-Za-z_]\w*)(?:\[[^\]]*\])?\s*=(?!=)")
_LEAVES = {ProgType.XDP: "return XDP_PASS;", ProgType.SCHED_CLS: "return TC_ACT_OK;", ProgType.SCHED_ACT: "return TC_ACT_OK;"}
_GIVEN_NULL = {
    "map_lookup_elem": "NULL if the map has no such key", "ringbuf_reserve": "NULL if the buffer is full",
    "task_storage_get": "NULL if there is none", "sk_lookup_tcp": "NULL if there is no such socket",
    "sk_lookup_udp": "NULL if there is no such socket",
}


def explain(error: VerifierError) -> str:
    """The story of error. Several lines, the first of which says what is wrong."""
    case = _Case(error)
    for pattern, tell in _STORIES:
        found = pattern.search(case.words)
        if found:
            rows = tell(case, found)
            break
    else:
        rows = [f"the verifier refuses {case.here()}: {error.sentence}", *_about_registers(case)]
    first, *rest = [*rows, *case.way()]
    return "\n".join([first, *(f"  {one}" for one in rest if one)])


class _Case:
    """One refusal and what can be found out about it. index: of the refused step in the trail."""

    def __init__(self, error: VerifierError) -> None:
        self.error = error
        self.spec: ProgramSpec | None = error.spec
        self.trail: Trail = read_trail(error.path, error.spec)
        rows = [one for one in error.path.splitlines() if one and not one.startswith(("processed ", "verification time", "stack depth"))]
        last = next((at for at in range(len(rows) - 1, -1, -1) if re.match(r"\d+: \(", rows[at])), -1)
        self.words = "\n".join([*rows[max(last + 1, len(rows) - 8) :], error.sentence])
        steps = self.trail.steps
        self.slot = error.insn
        self.index = len(steps) - 1
        if self.slot >= 0 and (not steps or steps[-1].slot != self.slot):
            self.index = next((at for at in range(len(steps) - 1, -1, -1) if steps[at].slot == self.slot), len(steps) - 1)
        self.insn = steps[self.index].insn if steps else self._insn_at(self.slot)
        self.leave = _LEAVES.get(self.spec.type, "return 0;") if self.spec else "return 0;"

    def _insn_at(self, slot: int) -> Insn:
        return self.spec.insns[slot] if self.spec and 0 <= slot < len(self.spec.insns) else Insn(0)

    # ---- places

    def at(self, slot: int) -> str:
        """ "line 5", with the file if it is not the program's first; "instruction 5" without line info."""
        line = self.trail.line(slot)
        if line is None:
            return f"instruction {slot}"
        first = self.spec.lines[0].file if self.spec and self.spec.lines else line.file
        return f"line {line.line}" if line.file == first else f"{line.file.rpartition('/')[2]}:{line.line}"

    def quoted(self, slot: int) -> str:
        """The place with the words that stand there."""
        text = self.trail.c_text(slot).strip()
        return f"{self.at(slot)}: `{text or self.trail.insn_text(slot)}`"

    def here(self) -> str:
        return self.quoted(self.slot) if self.slot >= 0 else "the program as a whole"

    # ---- values

    def name(self, regno: int, index: int | None = None) -> str:
        """What C calls the value of a register before the step at index, else the register."""
        variable = self.variable(self.origin(regno, index))
        return variable or f"r{regno}"

    def origin(self, regno: int, index: int | None = None) -> Origin:
        return self.trail.origin(regno, self.index if index is None else index)

    def variable(self, origin: Origin) -> str:
        """The variable to which the value is assigned where it is made, "" if there is none to be seen."""
        if origin.index < 0:
            return ""
        slot = self.trail.steps[origin.index].slot
        line = self.trail.line(slot)
        found = list(_ASSIGNED.finditer(self.trail.c_text(slot)))
        if line is None or not found:
            return ""
        before = [one for one in found if one.end() <= max(line.col, 1)]
        return str((before[-1] if before else found[0])[1]) if before or len(found) == 1 else ""

    def made(self, origin: Origin) -> str:
        """Where a value came from, as the end of "it is ..."."""
        if origin.index < 0:
            return "the program's context (its argument)" if origin.regno == 1 else "what it was at the beginning"
        step = self.trail.steps[origin.index]
        insn, where = step.insn, self.quoted(step.slot)
        if insn.code == _CALL:
            return f"what {self.called(insn, step.slot)} gave at {where}"
        if insn.code == _LDDW:
            return f"the address or number loaded at {where}"
        if insn.code & 7 in (4, 7):
            return f"the number set at {where}" if insn.code & 0xF8 == 0xB0 else f"computed at {where}"
        return f"read from memory at {where}"

    def called(self, insn: Insn, slot: int) -> str:
        if insn.src != PSEUDO_CALL:
            return f"kernel function {insn.imm}" if insn.src else _HELPER_NAME.get(insn.imm) or f"helper {insn.imm}"
        target = slot + 1 + insn.imm
        names = [one.name for one in self.spec.functions if one.slot == target] if self.spec else []
        return f"{names[0]}()" if names else f"the function at instruction {target}"

    # ---- the way

    def way(self) -> list[str]:
        """The branches of the path, each C line once."""
        rows: list[str] = []
        for step, after in self.trail.branches():
            if self.trail.line(step.slot) is None:
                target = step.slot + 1 + step.insn.off
                words = "jumps" if after.slot == target else "does not jump"
                row = f"instruction {step.slot}: `{self.trail.insn_text(step.slot)}` {words}"
            elif self.at(step.slot) == self.at(after.slot):
                continue
            else:
                row = f"{self.quoted(step.slot)} goes on at {self.at(after.slot)}"
            if row in rows:
                rows.remove(row)
            rows.append(row)
        if not rows:
            return []
        left_out = len(rows) - _MAX_BRANCHES
        shown = [*([f"({left_out} branches before)"] if left_out > 0 else []), *rows[-_MAX_BRANCHES:]]
        return ["the way there:", *(f"  {one}" for one in shown)]


_Story = Callable[[_Case, re.Match[str]], list[str]]


def _about_registers(case: _Case) -> list[str]:
    """Where the registers that the sentence names came from."""
    rows = []
    for number in dict.fromkeys(int(one) for one in re.findall(r"\bR(10|\d)\b", case.error.sentence)):
        if case.trail.steps and number != 10:
            rows.append(f"r{number} is {case.made(case.origin(number))}")
    return rows


def _write(advice: str) -> str:
    return f"write: {advice}"


def _after(case: _Case, origin: Origin) -> str:
    return f" after {case.at(case.trail.steps[origin.index].slot)}" if origin.index >= 0 else ""


# ---- null


def _null(case: _Case, found: re.Match[str]) -> list[str]:
    regno = int(found["reg"])
    origin = case.origin(regno)
    name = case.variable(origin) or f"r{regno}"
    step = case.trail.steps[origin.index] if origin.index >= 0 else None
    reason = ""
    if step is not None and step.insn.code == _CALL and not step.insn.src:
        why = next((words for key, words in _GIVEN_NULL.items() if HELPER_IDS[key] == step.insn.imm), "")
        reason = f", {why}" if why else ""
    return [
        f"{name} may be NULL at {case.here()}",
        f"it is {case.made(origin)}{reason}, and no comparison with NULL is on the way",
        f"add `if (!{name}) {case.leave}`{_after(case, origin)}",
    ]


def _scalar_access(case: _Case, found: re.Match[str]) -> list[str]:
    regno = int(found["reg"])
    origin = case.origin(regno)
    name = case.variable(origin) or f"r{regno}"
    value = case.trail.value(regno, case.index)
    if value in ("0", "P0") and origin.index >= 0 and case.trail.steps[origin.index].insn.code == _CALL:
        return [f"{name} is NULL at {case.here()}: on this way it was compared with NULL and found to be it",
                _write(f"use {name} only where it is not NULL: `if (!{name}) {case.leave}`")]
    if value in ("0", "P0"):
        return [f"{name} is NULL at {case.here()}", f"it is {case.made(origin)}",
                _write(f"point {name} at something before it is used, on every way that leads here")]
    released = _released(case, regno)
    if released is not None:
        return [f"{name} is used at {case.here()}, but it was given back at {case.quoted(released)}",
                _write("use the record before it is submitted or discarded, not after")]
    return [
        f"{name} is a number, not a pointer that a program may follow, at {case.here()}",
        f"it is {case.made(origin)}",
        _write("to read the kernel's memory: `bpf_probe_read_kernel(&copy, sizeof(copy), address);` (for a process's "
               "memory bpf_probe_read_user()), and use the copy"),
    ]


def _released(case: _Case, regno: int) -> int | None:
    """The slot of the call that gave back what a register points at, if one did."""
    givers = {HELPER_IDS[name] for name in ("ringbuf_submit", "ringbuf_discard", "sk_release")}
    origin = case.origin(regno)
    for at in range(case.index - 1, origin.index, -1):
        insn = case.trail.steps[at].insn
        if insn.code == _CALL and not insn.src and insn.imm in givers and case.origin(1, at) == origin:
            return case.trail.steps[at].slot
    return None


def _other_access(case: _Case, found: re.Match[str]) -> list[str]:
    regno = int(found["reg"])
    return [f"{case.name(regno)} is a {found['kind']}, which a program may not follow itself, at {case.here()}",
            f"it is {case.made(case.origin(regno))}"]


# ---- bounds


def _value_range(case: _Case, found: re.Match[str]) -> list[str]:
    size, off, width = int(found["total"]), int(found["off"]), int(found["size"])
    what = "the map's value" if found["what"].startswith("map value") else "the memory"
    regno = _base_register(case)
    index = _index_of(case, regno)
    if index is None:
        return [f"{width} {_bytes(width)} at offset {off} do not lie in {what} of {size} bytes, at {case.here()}",
                _write(f"use an offset from 0 to {max(size - width, 0)}, or make {what} larger")]
    name, step, known = index
    fixed = _fixed_offset(case, regno)
    count = max((size - fixed - width) // step + 1, 0)
    rows = [f"{name} may be too large for {what} of {size} bytes at {case.here()}"
            if off >= 0 else f"{name} may be negative at {case.here()}"]
    if known:
        rows.append(known)
    rows.append(f"compare {name} with {count} before {case.at(case.slot)}: add `if ({name} >= {count}) {case.leave}`"
                       f"{' (with an unsigned ' + name + ')' if off < 0 else ''}")
    return rows


def _bytes(number: int) -> str:
    return "byte" if number == 1 else "bytes"


def _base_register(case: _Case) -> int:
    """The register through which the refused instruction reaches memory."""
    named = re.search(r"\bR(\d+)", case.words)
    if named:
        return int(named[1])
    return case.insn.src if case.insn.code & 7 == 1 else case.insn.dst


def _index_of(case: _Case, regno: int) -> tuple[str, int, str] | None:
    """(name, bytes it is scaled by, what is known of it) of the number that was added to a pointer last."""
    at = case.index
    for _ in range(32):
        made = case.trail.maker(regno, at)
        if made.index < 0 or made.is_argument:
            return None
        insn = case.trail.steps[made.index].insn
        if insn.code == 0x0F:
            return _index_added(case, made.index, regno)
        if insn.code == 0xBF:
            regno = insn.src
        elif insn.code & 0xF7 != 0x07:
            return None
        at = made.index
    return None


def _index_added(case: _Case, at: int, regno: int) -> tuple[str, int, str]:
    insn = case.trail.steps[at].insn
    # of the two registers the number is the one that is no pointer
    value = case.trail.value(insn.src, at)
    number = insn.src if value.lstrip("P").startswith(("scalar", "inv", "-")) or value.lstrip("P").isdigit() else regno
    name = _subscript(case, case.slot) or _subscript(case, case.trail.steps[at].slot)
    origin, step = _unscaled(case, number, at)
    name = name or case.variable(origin) or f"r{number}"
    known = case.trail.value(number, at)
    return name, step, f"it is {case.made(origin)}, and may be {_extent(known, step)}"


def _extent(known: str, step: int) -> str:
    """The range that the log gives for a number, of which each unit counts as step bytes."""
    limits = {names: int(value, 0) for names, value in re.findall(r"((?:[su](?:min|max)(?:32)?=)+)(-?0x[0-9a-f]+|-?\d+)", known)}
    high = next((value for names, value in limits.items() if "umax=" in names), None)
    if high is None or high >> 63:
        return "any number, a negative one too"
    return f"up to {high // step}"


def _subscript(case: _Case, slot: int) -> str:
    found = re.findall(r"\[\s*([A-Za-z_]\w*)\s*\]", case.trail.c_text(slot))
    return found[0] if len(set(found)) == 1 else ""


def _unscaled(case: _Case, number: int, at: int) -> tuple[Origin, int]:
    """(what a number was made of before constants shifted and multiplied it, bytes for each of it)."""
    factor, shift = 1, 0
    origin = case.trail.origin(number, at)
    for _ in range(8):
        insn = case.trail.steps[origin.index].insn if origin.index >= 0 else Insn(0)
        if insn.code in (0x67, 0x64):
            shift += insn.imm
        elif insn.code in (0x77, 0x74, 0xC7, 0xC4):
            shift -= insn.imm
        elif insn.code in (0x27, 0x24) and insn.imm > 0:
            factor *= insn.imm
        elif not _is_truncation(case, insn, origin.index):
            break
        origin = case.trail.origin(insn.dst, origin.index)
    return origin, factor << shift if 0 < shift < 64 else factor


def _is_truncation(case: _Case, insn: Insn, at: int) -> bool:
    """Whether an instruction only keeps some low bits of a number, shifted or not."""
    if insn.code == 0x57:
        mask = insn.imm
    elif insn.code == 0x5F and re.fullmatch(r"P?(0x[0-9a-f]+|\d+)", case.trail.value(insn.src, at)):
        mask = int(case.trail.value(insn.src, at).lstrip("P"), 0)
    else:
        return False
    ones = mask // (mask & -mask) if mask > 0 else -1
    return ones > 0 and not ones & ones + 1


def _fixed_offset(case: _Case, regno: int) -> int:
    value = case.trail.value(regno, case.index)
    off = re.search(r"\boff=(-?\d+)", value)
    access = case.insn.off if case.insn.code & 7 in (1, 2, 3) else 0
    return (int(off[1]) if off else 0) + access


def _unbounded(case: _Case, found: re.Match[str]) -> list[str]:
    regno = int(found["reg"])
    index = _index_of(case, regno)
    name = index[0] if index else case.name(regno)
    why = "may be negative" if "negative" in found[0] else "has no upper bound"
    value = case.trail.value(regno, case.index)
    size = re.search(r"\b(?:vs|sz)=(\d+)", value)
    limit = int(size[1]) // (index[1] if index else 1) if size else None
    bound = str(limit) if limit is not None else "LIMIT"
    return [f"{name} {why} where it is added to a pointer, at {case.here()}", index[2] if index else "",
            f"make {name} unsigned and compare it before {case.at(case.slot)}: add `if ({name} >= {bound}) {case.leave}`"]


def _packet(case: _Case, found: re.Match[str]) -> list[str]:
    off, size, regno = int(found["off"]), int(found["size"]), int(found["reg"])
    reach = off + size
    data, end = _packet_names(case)
    is_moved = found["id"] not in ("", "0")
    pointer = _pointer_name(case) if is_moved else data
    rows = [f"the packet may end before byte {reach} of what {pointer or 'it'} points at, at {case.here()}" if is_moved
            else f"the packet may be shorter than {reach} bytes at {case.here()}"]
    known = int(found["range"], 0)
    if 0 < known < 1 << 16:
        rows.append(f"{known} {_bytes(known)} are known to be there on this way, {reach} are needed")
    else:
        rows.append(f"no comparison with {end} on this way shows that they are there")
    pointer = pointer or f"r{regno}"
    cast = "(void *)" if is_moved else ""
    rows.append(f"add `if ({cast}{pointer} + {reach} > {end}) {case.leave}` before {case.at(case.slot)}")
    return rows


def _packet_names(case: _Case) -> tuple[str, str]:
    """What the program calls the packet's first byte and the byte behind its last."""
    text = "\n".join(one.text for one in case.spec.lines) if case.spec else ""
    data = re.search(r"(\w+)\s*=[^=;]*->\s*data\s*;", text)
    end = re.search(r"(\w+)\s*=[^=;]*->\s*data_end\b", text)
    return (data[1] if data else "data"), (end[1] if end else "data_end")


def _pointer_name(case: _Case) -> str:
    found = re.findall(r"\b([A-Za-z_]\w*)\s*->", case.trail.c_text(case.slot))
    return found[0] if len(set(found)) == 1 else ""


# ---- the stack and registers


def _stack_unset(case: _Case, found: re.Match[str]) -> list[str]:
    off, at = int(found["off"]), int(found["at"])
    name = _address_taken(case)
    what = f"a byte of {name}" if name else f"the stack byte r10{off + at:+d}"
    return [
        f"{what} is read at {case.here()}, but nothing was written to it on this way",
        f"it is byte {at} of the {found['size']} that are read; a struct may have gaps between its members",
        _write(f"set all of it first: `__builtin_memset(&{name or 'variable'}, 0, sizeof({name or 'variable'}));`"
               + (f", or `= {{}}` where {name} is declared" if name else "")),
    ]


def _address_taken(case: _Case) -> str:
    found = re.findall(r"&\s*([A-Za-z_]\w*)", case.trail.c_text(case.slot))
    return found[0] if len(set(found)) == 1 else ""


def _stack_outside(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"memory outside of the function's stack is used at {case.here()}",
            f"the stack has the 512 bytes from r10-512 to r10-1; this is {found['size']} bytes at r10{int(found['off']):+d}",
            _write("check the index of the array, or the size given to the helper, against the array's size")]


def _unset_register(case: _Case, found: re.Match[str]) -> list[str]:
    regno = int(found["reg"])
    if case.insn.code == _EXIT:
        return [f"the program ends without a value at {case.here()}", _write("`return 0;` at the end of every way")]
    made = case.trail.maker(regno, case.index) if case.trail.steps else Origin(-1, regno)
    if made.index >= 0 and not made.is_argument:
        step = case.trail.steps[made.index]
        if step.insn.code == _CALL:
            return [f"r{regno} is used at {case.here()}, but the call at {case.quoted(step.slot)} left nothing in it",
                    "a call destroys r1 to r5 and gives its result in r0, if it has one",
                    _write("keep the value in r6 to r9 or on the stack over the call")]
    if made.index < 0 and 1 < regno < 6:
        return [f"r{regno} is used at {case.here()}, but nothing was written to it on this way",
                "a program begins with its context in r1, and with nothing in r2 to r5",
                _write("take what is wanted out of ctx, a function's arguments by `PT_REGS_PARM2(ctx)` and so on")]
    return [f"r{regno} is used at {case.here()}, but nothing was written to it on this way",
            _write("give the variable a value where it is declared, or on every way that leads here")]


# ---- helpers


def _size(case: _Case, found: re.Match[str]) -> list[str]:
    regno = int(found["reg"])
    origin, _ = _unscaled(case, regno, case.index) if case.trail.steps else (Origin(-1, regno), 1)
    name = case.variable(origin) or f"r{regno}"
    why = {"negative": "may be negative", "zero": "may be 0"}.get(
        next((one for one in ("negative", "zero") if one in found[0]), ""), "has no upper bound")
    limit = _room(case, regno - 1)
    if case.trail.steps and why == "has no upper bound":
        why = f"may be {_extent(case.trail.value(regno, case.index), 1)}, which is too much"
    rows = [f"the size {name} {why} for {case.called(case.insn, case.slot)} at {case.here()}", f"it is {case.made(origin)}"]
    if why == "may be 0":
        rows.append(f"add `if (!{name}) {case.leave}` before {case.at(case.slot)}")
    else:
        bound = str(limit) if limit else "SIZE_OF_BUFFER"
        rows.append(f"{'make it unsigned and bound' if 'negative' in why else 'bound'} {name} before {case.at(case.slot)}: add `if ({name} > {bound}) {case.leave}`")
    return rows


def _room(case: _Case, regno: int) -> int:
    """Bytes behind the pointer in a register, 0 if that is not known."""
    value = case.trail.value(regno, case.index)
    stack = re.match(r"fp-(\d+)", value)
    if stack:
        return int(stack[1])
    size, off = re.search(r"\b(?:vs|sz)=(\d+)", value), re.search(r"\boff=(\d+)", value)
    return int(size[1]) - (int(off[1]) if off else 0) if size else 0


def _argument(case: _Case, found: re.Match[str]) -> list[str]:
    regno, given, wanted = int(found["reg"]), found["given"], found["wanted"]
    if given.rstrip("_").endswith("_or_null"):
        return _null(case, found)
    return [
        f"argument {regno} of {case.called(case.insn, case.slot)} is of the wrong kind at {case.here()}",
        f"it is {_kind_words(given)}, and should be one of: {', '.join(_kind_words(one) for one in wanted.split(', '))}",
        f"it is {case.made(case.origin(regno))}" if case.trail.steps else "",
    ]


_KIND_WORDS = {
    "scalar": "a number", "inv": "a number", "fp": "the address of a variable on the stack", "ctx": "the program's context",
    "map_ptr": "a map", "map_value": "memory of a map's value", "map_key": "memory of a map's key", "pkt": "packet memory",
    "ringbuf_mem": "a record of a ring buffer", "pkt_meta": "packet metadata", "mem": "memory", "buf": "a buffer",
    "pkt_end": "the packet's end",
}


def _kind_words(kind: str) -> str:
    if kind.startswith("trusted_ptr_"):
        return "a pointer to a kernel object"
    return _KIND_WORDS.get(kind.strip(), kind.strip())


def _not_for_type(case: _Case, found: re.Match[str]) -> list[str]:
    kind = case.spec.type.name.lower() if case.spec else "this"
    return [f"{kind} programs may not call {found['helper'].partition('#')[0]}(), as {case.here()} does",
            _write("attach the code where the helper is to be had, or do without it")]


def _not_gpl(case: _Case, found: re.Match[str]) -> list[str]:
    license = repr(case.spec.license) if case.spec else "what it is"
    return [f"{case.called(case.insn, case.slot)} at {case.here()} is for programs with a license compatible with the GPL; "
            f"this one's is {license}", _write('`char _license[] SEC("license") = "GPL";` (BCC: `#define BPF_LICENSE GPL`)')]


def _sleeping(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"{case.called(case.insn, case.slot)} at {case.here()} may sleep, and this program may not",
            _write("use the helper's form that does not sleep (bpf_probe_read_user() for bpf_copy_from_user())")]


def _map_and_helper(case: _Case, found: re.Match[str]) -> list[str]:
    number = int(found["type"])
    kind = MapType(number).name.lower() if number in MapType.__members__.values() else f"type {number}"
    name = re.search(r"\bmap=(\w+)", " ".join(case.trail.value(one, case.index) for one in (1, 2)))
    return [f"a map of type {kind} cannot be given to {found['helper'].partition('#')[0]}(), at {case.here()}",
            f"it is the map {name[1]}" if name else ""]


# ---- references, loops, the graph


def _unreleased(case: _Case, found: re.Match[str]) -> list[str]:
    slot = int(found["slot"])
    at = next((one for one in range(len(case.trail.steps) - 1, -1, -1) if case.trail.steps[one].slot == slot), -1)
    name = case.variable(Origin(at, 0)) or "it"
    insn = case.trail.steps[at].insn if at >= 0 else case._insn_at(slot)
    is_ring = insn.code == _CALL and not insn.src and insn.imm == HELPER_IDS["ringbuf_reserve"]
    giver = case.called(insn, slot) if insn.code == _CALL else "the call"
    if is_ring:
        return [f"the record that {giver} gave at {case.quoted(slot)} is neither submitted nor discarded on a way that ends "
                f"at {case.here()}",
                f"add `bpf_ringbuf_discard({name}, 0);` (or bpf_ringbuf_submit) before {case.at(case.slot)}, on this way too"]
    return [f"what {giver} gave at {case.quoted(slot)} is not given back on a way that ends at {case.here()}",
            _write(f"release {name} before {case.at(case.slot)}, on this way too")]


def _loop(case: _Case, found: re.Match[str]) -> list[str]:
    is_endless = "infinite" in found[0] or "back-edge" in found[0]
    rows = ["the program has a loop that never ends" if is_endless else
            "the verifier gave up: the program has too many ways through it, or loops that turn too often"]
    edge = re.search(r"back-edge from insn (\d+) to (\d+)", found[0])
    steps = case.trail.steps
    if steps and steps[-1].slot != case.slot:
        steps = [*steps, Step(case.slot, Insn(0), steps[-1].depth)]
    loop = (int(edge[2]), int(edge[1]), 0) if edge else _busiest_loop(steps)
    if loop is not None:
        first, last, turns = loop
        places = case.at(first) if case.at(first) == case.at(last) else f"{case.at(first)} to {case.at(last)}"
        rows.append(f"the loop is {places} (instructions {first} to {last})" + (f", followed {turns} times on this way" if turns > 1 and not is_endless else ""))
        text = case.trail.c_text(last).strip() or case.trail.c_text(first).strip()
        rows += [f"it goes back at {case.quoted(last)}"] if text else []
    rows.append(_write("a counter with a constant bound, which changes in every turn: `for (u32 i = 0; i < 16; i++)`"
                       + ("" if is_endless else "; or fewer turns, or a body with fewer branches")))
    return rows


def _busiest_loop(steps: Sequence[Step]) -> tuple[int, int, int] | None:
    """(first slot, last slot, turns) of the loop that the path followed most often."""
    turns: Counter[tuple[int, int]] = Counter()
    for step, after in pairwise(steps):
        if after.slot <= step.slot and after.depth == step.depth and step.insn.code != _EXIT:
            turns[after.slot, step.slot] += 1
    if not turns:
        return None
    (first, last), count = turns.most_common(1)[0]
    return first, last, count


def _endless(case: _Case, found: re.Match[str]) -> list[str]:
    return _loop(case, found)


def _unreachable(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"no way leads to {case.quoted(int(found['slot']))}",
            _write("leave the code out, or the `return` or jump that stands before it")]


def _graph(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"the program's jumps do not stay inside it, at {case.here()}: {case.error.sentence}",
            _write("every function ends with `return`, and jumps go to instructions of the same function")]


# ---- contexts, results, memory


def _context(case: _Case, found: re.Match[str]) -> list[str]:
    kind = f"the context of {case.spec.type.name.lower()} programs" if case.spec else "the context"
    is_write = case.insn.code & 7 in (2, 3)
    doing = "written" if is_write else "read"
    size = int(found["size"])
    return [f"{size} {_bytes(size)} at offset {found['off']} of {kind} may not be {doing}, at {case.here()}",
            "a context has members of fixed offset and size, of which some may only be read, and some only as a whole",
            _write("use the members that the program type has; for anything else read the kernel's struct with "
                   "bpf_probe_read_kernel()")]


def _context_moved(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"the context is used at another address than its first byte, at {case.here()}",
            _write("pass ctx itself, and use its members by name with constant offsets")]


def _result(case: _Case, found: re.Match[str]) -> list[str]:
    kind = f"{case.spec.type.name.lower()} programs" if case.spec else "programs of this type"
    return [f"{kind} must return a value of {found['range']}, at {case.here()}: {case.error.sentence}",
            f"it is {case.made(case.origin(0))}" if case.trail.steps else "",
            _write("return constants from this range on every way")]


def _misaligned(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"{found['size']} bytes are used at an address that is not a multiple of {found['size']}, at {case.here()}",
            _write("keep members at their natural alignment (no `packed`), or copy byte by byte with __builtin_memcpy()")]


def _map_rights(case: _Case, found: re.Match[str]) -> list[str]:
    is_write = "write" in found[0]
    return [f"the program may not {'write to' if is_write else 'read from'} this map, at {case.here()}",
            "the map was created for programs to read only, as constants are" if is_write else
            "the map was created for programs to write only",
            _write("use a map without " + ("BPF_F_RDONLY_PROG; a variable that is not const is writable" if is_write else "BPF_F_WRONLY_PROG"))]


def _stack_deep(case: _Case, found: re.Match[str]) -> list[str]:
    rows = [f"the functions that call each other need more than 512 bytes of stack: {case.error.sentence}"
            if "stack size" in found[0] else f"functions call each other more than 8 deep: {case.error.sentence}"]
    if case.spec and case.spec.functions:
        sizes = _stack_bytes(case.spec)
        rows += [f"{name}(): {size} bytes" for name, size in sizes]
    rows.append(_write("keep large variables in a per-CPU array map, or in fewer functions at a time"))
    return rows


def _stack_bytes(spec: ProgramSpec) -> list[tuple[str, int]]:
    """(name, bytes below r10 that its instructions name) of each function."""
    ends = [*(one.slot for one in spec.functions[1:]), len(spec.insns)]
    return [(one.name, _deepest(spec.insns[one.slot : end])) for one, end in zip(spec.functions, ends, strict=True)]


def _deepest(insns: Sequence[Insn]) -> int:
    lowest = 0
    copies: set[int] = set()
    for insn in insns:
        base = insn.src if insn.code & 7 == 1 else insn.dst if insn.code & 7 in (2, 3) else -1
        if base == 10:
            lowest = min(lowest, insn.off)
        if insn.code == 0xBF and insn.src == 10:
            copies.add(insn.dst)
        elif insn.code == 0x07 and insn.dst in copies:
            lowest = min(lowest, insn.imm)
            copies.discard(insn.dst)
    return -lowest + 7 & ~7


def _leak(case: _Case, found: re.Match[str]) -> list[str]:
    regno = int(found["reg"])
    return [f"{case.name(regno)} is an address, and would get where its number could be read, at {case.here()}",
            f"it is {case.made(case.origin(regno))}" if case.trail.steps else "",
            _write("store a number; addresses of the kernel stay in registers and on the stack of a program without CAP_PERFMON, "
                   "and never get into memory by atomics")]


def _arithmetic(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"arithmetic that would make a pointer useless, at {case.here()}: {case.error.sentence}", *_about_registers(case),
            _write("add numbers with known bounds to pointers, and subtract only pointers into the same memory")]


def _moved_too_far(case: _Case, found: re.Match[str]) -> list[str]:
    """A pointer to which a number without bounds is added."""
    insn = case.insn
    if insn.code != 0x0F or not case.trail.steps:
        return _arithmetic(case, found)
    name, step, known = _index_added(case, case.index, insn.dst)
    size = re.search(r"\b(?:vs|sz)=(\d+)", case.trail.value(insn.dst, case.index))
    bound = str(int(size[1]) // step) if size else "LIMIT"
    is_negative = "value -" in found[0] or "min value" in found[0]
    return [f"{name} {'may be negative' if is_negative else 'may be too large'} where it is added to a pointer, at {case.here()}", known,
            f"make {name} unsigned and compare it before {case.at(case.slot)}: add `if ({name} >= {bound}) {case.leave}`"]


def _null_argument(case: _Case, found: re.Match[str]) -> list[str]:
    """arg counts from 0 for kernel functions, from 1 for helpers."""
    regno = int(found["arg"]) + (found["which"] == "trusted")
    as_register = re.match(r"(?P<reg>\d+)", str(regno))
    return _null(case, as_register) if as_register and 1 <= regno <= 5 else _told(case, "an argument may be NULL", "")


def _unbounded_stack(case: _Case, found: re.Match[str]) -> list[str]:
    index = _index_of(case, int(found["reg"]))
    name = index[0] if index else case.name(int(found["reg"]))
    return [f"{name} has no bound where it is an index of an array on the stack, at {case.here()}", index[2] if index else "",
            f"compare {name} with the array's length before {case.at(case.slot)}, as an unsigned number"]


def _told(case: _Case, words: str, advice: str) -> list[str]:
    """words, which need nothing but the place, and Linux's sentence with them."""
    return [f"{words}, at {case.here()}: {case.error.sentence}", *_about_registers(case), _write(advice) if advice else ""]


def _teller(words: str, advice: str) -> _Story:
    return lambda case, _: _told(case, words, advice)


def _unsupported(case: _Case, found: re.Match[str]) -> list[str]:
    return [f"this verifier cannot judge {case.here()}: {case.error.sentence}",
            "that says nothing about what Linux does with it: kernel=\"linux\" asks the running kernel"]


# (sentence, what it means, what to write) where the place is all there is to find out
_PLAIN_STORIES = (
    (r"invalid func unknown#", "there is no helper of this number", "check that the object is for this kernel, and the helper's number"),
    (r"calling kernel function \w+ is not allowed", "this program type may not call this kernel function", "use a helper instead"),
    (r"same insn cannot be used with different pointers", "one instruction reaches the context on one way and other memory on another",
     "read through each of the pointers in its own branch (a barrier(), or different sizes, keep the compiler from joining them)"),
    (r"tried to subtract pointer from scalar", "a pointer cannot be taken from a number", "subtract numbers from pointers"),
    (r"div by zero|invalid shift", "an instruction with a constant that it cannot have", "check the constant: the compiler knew it"),
    (r"bpf_ld_imm64 insn|uses reserved fields|unknown opcode|R\d+ is invalid|invalid BPF_LD_ABS|BPF_ATOMIC uses invalid",
     "the instruction is not well-formed", "see RFC 9669 for its fields; of those that are not used all bits are 0"),
    (r"frame pointer is read only", "r10 cannot be written to", "copy r10 to another register and change that"),
    (r"invalid size of register (?:fill|spill)", "a pointer on the stack is read or written in parts", "move pointers with 8-byte loads and stores"),
    (r"[Ee]xpected an initialized|unacquired reference", "an object on the stack is used before it is made, or after it was given back",
     "call its constructor first (bpf_dynptr_from_mem(), bpf_iter_num_new(), ...), on every way that leads here"),
    (r"expected uninitialized|has to be an uninitialized|cannot overwrite referenced dynptr",
     "an object on the stack is made where one is already", "give the first one back before, or use another variable"),
    (r"potential write to dynptr|cannot be accessed directly by load/store", "memory is touched that only helpers may change",
     "use the helpers that go with it, and keep other writes away from it"),
    (r"not allowed while holding a lock|-ed region|-ed section", "a lock is held, or a region is open, where that is not allowed",
     "end the region (bpf_spin_unlock(), bpf_rcu_read_unlock(), ...) before, on every way"),
    (r"must be referenced|must be a rcu pointer|No referenced pointer|untrusted_ptr|not a trusted",
     "a pointer to a kernel object is not one that the kernel vouches for here",
     "get it from a function that acquires it and check it for NULL, or use it inside bpf_rcu_read_lock()"),
    (r"(?:kptr|uptr) (?:access|in map|cannot)|to referenced kptr|storing to kptr|point to kptr|referenced kptr|valid kptr|bpf_kptr_xchg",
     "a pointer to a kernel object that lies in a map's value is used as if it were bytes, or as one of another kind",
     "load it whole, check it for NULL, and put another one there with bpf_kptr_xchg()"),
    (r"valid bpf_\w+$|point to 'struct bpf_|in order to use bpf_|at the constant offset|timer pointer in R1",
     "a lock or a timer is not where the map's value has one", "give the address of that very member of the value, and its own map"),
    (r"only read is supported|R\d+ cannot write into|may write into memory",
     "memory that may only be read is written", "copy it to the stack, and change that"),
    (r"helper access to the packet is not allowed", "this helper may not be given packet memory", "copy the bytes to the stack first"),
    (r"fd \d+ is not pointing to valid bpf_map", "the program names a map that is not there", "give as many maps as the program names"),
    (r"cannot write into packet|does not allow writes to packet data", "programs of this type may only read packets", "use a helper such as bpf_skb_store_bytes()"),
    (r"offset is outside of the packet", "bytes before the packet's first or behind its last known one are used",
     "compare the pointer with data_end first, and add to it rather than subtract"),
    (r"invalid sock access|access beyond struct|cannot access ptr member", "these bytes of a kernel object may not be read or written", "use the members that are there"),
)

_STORIES: tuple[tuple[re.Pattern[str], _Story], ...] = tuple((re.compile(pattern), tell) for pattern, tell in (
    (r"R(?P<reg>\d+) invalid mem access '\w*_or_null_?", _null),
    (r"R(?P<reg>\d+) pointer arithmetic on \w+ prohibited, null-check it first", _null),
    (r"R(?P<reg>\d+) invalid mem access '(?:scalar|inv)'", _scalar_access),
    (r"R(?P<reg>\d+) invalid mem access '(?P<kind>\w+)'", _other_access),
    (r"invalid access to (?P<what>map value|memory), (?:value|mem)_size=(?P<total>\d+) off=(?P<off>-?\d+) size=(?P<size>\d+)", _value_range),
    (r"invalid access to packet, off=(?P<off>-?\d+) size=(?P<size>\d+), R(?P<reg>\d+)\(id=(?P<id>\d+),off=-?\d+,r=(?P<range>-?\w+)\)", _packet),
    (r"R(?P<reg>\d+) (?:unbounded memory access, make sure|min value is negative, either use unsigned index)", _unbounded),
    (r"R(?P<reg>\d+) (?:unbounded memory access, use|min value is negative, either use unsigned or|invalid zero-sized read)", _size),
    (r"invalid (?:indirect )?read from stack (?:R\d+ )?(?:off|var_off) (?P<off>-?\d+)\+(?P<at>\d+) size (?P<size>\d+)", _stack_unset),
    (r"invalid (?:read from|write to|.*-offset.*) stack R\d+ (?:var_off=\([^)]*\) )?off=(?P<off>-?\d+) size=(?P<size>\d+)", _stack_outside),
    (r"R(?P<reg>\d+) !read_ok", _unset_register),
    (r"Unreleased reference id=\d+ alloc_insn=(?P<slot>\d+)", _unreleased),
    (r"infinite loop detected|back-edge from insn \d+ to \d+", _endless),
    (r"BPF program is too large|jumps is too complex", _loop),
    (r"unreachable insn (?P<slot>\d+)", _unreachable),
    (r"jump out of range|last insn is not an exit|jump into the middle|call to invalid destination", _graph),
    (r"(?:program of this type cannot use helper|unknown func) (?P<helper>\w+#?\d*)", _not_for_type),
    (r"cannot call GPL-restricted function", _not_gpl),
    (r"helper call might sleep", _sleeping),
    (r"cannot pass map_type (?P<type>\d+) into func (?P<helper>\w+#?\d*)", _map_and_helper),
    (r"R(?P<reg>\d+) type=(?P<given>\w+) expected=(?P<wanted>[\w, ]+)", _argument),
    (r"invalid bpf_context access off=(?P<off>-?\d+) size=(?P<size>\d+)", _context),
    (r"dereference of modified ctx ptr|variable ctx access", _context_moved),
    (r"should have been in (?P<range>\[[^\]]*\])", _result),
    (r"misaligned .*access off .* size (?P<size>\d+)", _misaligned),
    (r"(?:write into|read from) map forbidden", _map_rights),
    (r"combined stack size of|the call stack of \d+ frames is too deep", _stack_deep),
    (r"R(?P<reg>\d+) leaks addr", _leak),
    (r"math between \w+ pointer and register with unbounded min value|value -?\d+ makes \w+ pointer be out of bounds", _moved_too_far),
    (r"pointer (?:arithmetic|[^ ]+ pointer) |bitwise operator .* on pointer|math between|32-bit pointer arithmetic|makes \w+ pointer be out of bounds", _arithmetic),
    (r"not supported by this verifier yet", _unsupported),
    (r"Possibly NULL pointer passed to (?P<which>trusted|helper) arg(?P<arg>\d)", _null_argument),
    (r"invalid unbounded variable-offset .*stack R(?P<reg>\d+)", _unbounded_stack),
    *((pattern, _teller(words, advice)) for pattern, words, advice in _PLAIN_STORIES),
))
