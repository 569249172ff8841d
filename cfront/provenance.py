"""Which pointers are native, and what that makes of loads: BCC's implicit kernel reads, as typing.

Input: the checked functions. Output: instances of those that programs reach, in which every load through a
kernel pointer is a KernelRead. A pointer is *native* when it comes from the stack, a global, ctx, a map
look-up, a ring-buffer reservation, packet data or a string; every other pointer (a register's value, a
member of a kernel struct, an integer) is a *kernel* pointer, and memory behind it is read by a helper and
never written. One that may be both is read by the helper too, which can read either.

A forward analysis on a lattice of height two, flow-insensitive within a function: a variable is the join
of all that is assigned to it, so the fixed point is reached after at most two rounds per chain of copies.
A static function gets one instance for each combination of its arguments' provenance; there is no recursion,
so there are finitely many. Refuses with CompileError a store through a kernel pointer."""

from __future__ import annotations

import enum
from typing import Any

from cfront.ctype import Integer, Pointer, Record
from cfront.errors import MAX_DIAGNOSTICS, CompileError, Diagnostic
from cfront.source import Span
from cfront.spell import spelled
from cfront.tree import (
    AddressOf,
    Assign,
    Atomic,
    Binary,
    CallFunction,
    CallHelper,
    Cast,
    Comma,
    Conditional,
    Const,
    CopyRecord,
    Deref,
    Expr,
    FunctionAddress,
    FunctionDef,
    GlobalVar,
    Intrinsic,
    KernelRead,
    Load,
    LocalVar,
    MapAddress,
    MapDef,
    MemberRef,
    PointerAdd,
    Return,
    StmtExpr,
    StringAddress,
    Unit,
    Update,
    VarRef,
    Zero,
)
from cfront.uapi import HELPER_BY_ID, Ret

__all__ = ["called_functions", "instantiate"]


class Origin(enum.IntFlag):
    """Where a pointer may come from. NOTHING: a constant, or not a pointer at all."""

    NOTHING = 0
    NATIVE = 1
    KERNEL = 2
    BOTH = 3


_PACKET_CONTEXTS = {"xdp_md", "__sk_buff", "sk_msg_md"}
_PACKET_FIELDS = ("data", "data_end", "data_meta")
# contexts whose pointers the verifier follows: what is behind them is loaded, and helpers take them
_TYPED_CONTEXTS = {*_PACKET_CONTEXTS, "bpf_sock_ops", "bpf_sock_addr", "bpf_sk_lookup", "sk_reuseport_md", "bpf_sockopt", "bpf_iter_meta"}
_NODE_FIELDS: dict[type, tuple[str, ...]] = {}
_LEAVES = (str, int, bytes, Span, LocalVar, GlobalVar, MapDef, FunctionDef, type(None))


def _fields(node: Any) -> tuple[str, ...]:
    kind = type(node)
    found = _NODE_FIELDS.get(kind)
    if found is None:
        skip = ("type", "span", "var", "map", "function", "compute")
        found = _NODE_FIELDS[kind] = tuple(one for one in kind.FIELDS if one not in skip)
    return found


def _is_node(value: Any) -> bool:
    return hasattr(value, "span") and not isinstance(value, _LEAVES)


def _walk(node: Any) -> Any:
    """node and every node below it."""
    stack = [node]
    while stack:
        one = stack.pop()
        yield one
        for name in _fields(one):
            value = getattr(one, name)
            if isinstance(value, tuple):
                stack += [item for item in value if _is_node(item)]
            elif _is_node(value):
                stack.append(value)


class _Facts:
    """What is known of one function's variables, for given arguments."""

    def __init__(self, owner: _Analysis, function: FunctionDef, args: tuple[Origin, ...]) -> None:
        self.owner = owner
        self.function = function
        self.called_from: tuple[_Facts, CallFunction] | None = None  # one call, for messages
        self.of: dict[LocalVar, Origin] = dict(zip(function.params, args, strict=False))
        self.why: dict[LocalVar, Expr] = {}  # what made a variable a kernel pointer
        flows, returns = owner.flows(function)
        for var in (*function.params, *function.locals):
            if var.is_address_taken and isinstance(var.type, Pointer):
                self.of[var] = Origin.KERNEL
        changed = True
        while changed:
            changed = False
            for target, value in flows:
                joined = self.of.get(target, Origin.NOTHING) | self.origin(value)
                if joined != self.of.get(target, Origin.NOTHING):
                    if joined & Origin.KERNEL and target not in self.why:
                        self.why[target] = value
                    self.of[target] = joined
                    changed = True
        self.result = Origin.NOTHING
        for value in returns:
            self.result |= self.origin(value)

    def origin(self, expr: Expr) -> Origin:
        """Where the value of expr may come from, seen as a pointer."""
        if isinstance(expr, (AddressOf,)):
            return self.place_origin(expr.place)
        if isinstance(expr, Load):
            return self.loaded(expr)
        if isinstance(expr, Cast):
            inner = self.origin(expr.operand)
            from_integer = isinstance(expr.type, Pointer) and isinstance(expr.operand.type, Integer)
            if from_integer and inner is Origin.NOTHING and not isinstance(expr.operand, Const):
                return Origin.KERNEL
            return inner
        if isinstance(expr, PointerAdd):
            return self.origin(expr.pointer)
        if isinstance(expr, Binary):
            return self.origin(expr.left) | self.origin(expr.right) if expr.op in "+-&|" else Origin.NOTHING
        if isinstance(expr, Conditional):
            return self.origin(expr.condition if expr.yes is None else expr.yes) | self.origin(expr.no)
        if isinstance(expr, Comma):
            return self.origin(expr.right)
        if isinstance(expr, (Assign, Update)):
            return self.origin(expr.value) if isinstance(expr, Assign) else self.loaded(Load(expr.type, expr.span, expr.place))
        if isinstance(expr, StmtExpr):
            return Origin.NOTHING if expr.result is None else self.origin(expr.result)
        if isinstance(expr, CallHelper):
            return self.helper_result(expr)
        if isinstance(expr, CallFunction):
            if expr.function.is_kernels:  # what it gives is what the verifier knows
                return Origin.NATIVE if isinstance(expr.type, Pointer) else Origin.NOTHING
            return self.owner.result(expr.function, self.arguments(expr))
        if isinstance(expr, (StringAddress, MapAddress, FunctionAddress)):
            return Origin.NATIVE
        if isinstance(expr, Intrinsic) and isinstance(expr.type, Pointer) and expr.args:
            return self.origin(expr.args[0])
        is_address = isinstance(expr.type, Pointer) and not (isinstance(expr, Const) and expr.value == 0)
        return Origin.KERNEL if is_address else Origin.NOTHING

    def arguments(self, call: CallFunction) -> tuple[Origin, ...]:
        return tuple(Origin.NOTHING if isinstance(one.type, Record) else self.origin(one) for one in call.args)

    def loaded(self, expr: Load) -> Origin:
        place = expr.place
        if isinstance(place, VarRef) and isinstance(place.var, LocalVar):
            return self.of.get(place.var, Origin.NOTHING)
        if isinstance(place, MemberRef) and isinstance(place.base.type, Record):
            record = place.base.type
            if record.name in _PACKET_CONTEXTS:
                named = (record.member(name) for name in _PACKET_FIELDS)
                if any(one is not None and one.offset == place.offset for one in named):
                    return Origin.NATIVE
            if isinstance(expr.type, Pointer) and (record.name in _TYPED_CONTEXTS or record.name.startswith("bpf_iter__")):
                return Origin.NATIVE
        return Origin.KERNEL if isinstance(expr.type, Pointer) else Origin.NOTHING

    @staticmethod
    def helper_result(expr: CallHelper) -> Origin:
        if not isinstance(expr.type, Pointer):
            return Origin.NOTHING
        return Origin.KERNEL if HELPER_BY_ID[expr.id].ret in (Ret.KERNEL_ADDRESS, Ret.BTF_TASK) else Origin.NATIVE

    def place_origin(self, place: Expr) -> Origin:
        """Whose memory place lies in."""
        while isinstance(place, MemberRef):
            place = place.base
        if isinstance(place, Deref):
            return self.origin(place.pointer)
        if isinstance(place, Conditional):
            return self.place_origin(place.yes or place.condition) | self.place_origin(place.no)
        if isinstance(place, Comma):
            return self.place_origin(place.right)
        if isinstance(place, StmtExpr) and place.result is not None:
            return self.place_origin(place.result)
        return Origin.NATIVE


class _Analysis:
    def __init__(self, unit: Unit, sources: dict[str, str]) -> None:
        self.unit = unit
        self.sources = sources
        self.diagnostics: list[Diagnostic] = []
        self.instances: dict[tuple[FunctionDef, tuple[Origin, ...]], FunctionDef] = {}
        self.order: list[FunctionDef] = []
        self.facts: dict[tuple[FunctionDef, tuple[Origin, ...]], _Facts] = {}
        self.flow_cache: dict[FunctionDef, tuple[list[tuple[LocalVar, Expr]], list[Expr]]] = {}
        self.names: dict[str, int] = {}

    def flows(self, function: FunctionDef) -> tuple[list[tuple[LocalVar, Expr]], list[Expr]]:
        """(variable, value) for every assignment that may carry a pointer, and the returned pointers."""
        found = self.flow_cache.get(function)
        if found is None:
            assigned: list[tuple[LocalVar, Expr]] = []
            returned: list[Expr] = []
            for node in _walk(function.body):
                if isinstance(node, Assign) and isinstance(node.place, VarRef) and isinstance(node.place.var, LocalVar):
                    if node.type.size == 8:
                        assigned.append((node.place.var, node.value))
                elif isinstance(node, Return) and node.value is not None and node.value.type.size == 8:
                    returned.append(node.value)
            found = self.flow_cache[function] = (assigned, returned)
        return found

    def known(self, function: FunctionDef, args: tuple[Origin, ...]) -> _Facts:
        key = (function, args)
        found = self.facts.get(key)
        if found is None:
            found = self.facts[key] = _Facts(self, function, args)
        return found

    def result(self, function: FunctionDef, args: tuple[Origin, ...]) -> Origin:
        return self.known(function, args).result if isinstance(function.type.result, (Pointer, Integer)) else Origin.NOTHING

    def instance(self, function: FunctionDef, args: tuple[Origin, ...]) -> FunctionDef:
        key = (function, args)
        found = self.instances.get(key)
        if found is None:
            found = FunctionDef(self.new_name(function.name), function.type, function.span, function.is_static)
            self.instances[key] = found
            found.is_noinline, found.section = function.is_noinline, function.section
            found.params, found.locals = function.params, function.locals
            assert function.body is not None
            found.body = _Rewriter(self, self.known(function, args)).rewrite(function.body)
            self.order.append(found)
        return found

    def new_name(self, name: str) -> str:
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return name if not count else f"{name}.{count}"

    def report(self, message: str, span: Span, hint: str) -> None:
        lines = self.sources.get(span.file, "").split("\n")
        line = lines[span.line - 1] if 0 < span.line <= len(lines) else ""
        one = Diagnostic(message, span, hint=hint, source_line=line)
        if one not in self.diagnostics and len(self.diagnostics) < MAX_DIAGNOSTICS:
            self.diagnostics.append(one)


class _Rewriter:
    """Makes a function's instance: reads become KernelReads, calls name instances."""

    def __init__(self, owner: _Analysis, facts: _Facts) -> None:
        self.owner = owner
        self.facts = facts

    def rewrite(self, node: Any) -> Any:
        if isinstance(node, CallFunction) and node.function.is_kernels:
            return CallFunction(node.type, node.span, node.function, tuple(self.value(one) for one in node.args))
        if isinstance(node, CallFunction):
            origins = self.facts.arguments(node)
            called = self.owner.known(node.function, origins)
            called.called_from = called.called_from or (self.facts, node)
            function = self.owner.instance(node.function, origins)
            args = tuple(self.value(one) for one in node.args)
            return CallFunction(node.type, node.span, function, args)
        if isinstance(node, FunctionAddress) and node.function.is_kernels:
            return node
        if isinstance(node, FunctionAddress):  # what a helper calls it with is memory of the program's
            given = tuple(Origin.NATIVE if isinstance(one.type, Pointer) else Origin.NOTHING for one in node.function.params)
            return FunctionAddress(node.type, node.span, self.owner.instance(node.function, given))
        if isinstance(node, Load):
            is_kernel = self.facts.place_origin(node.place) & Origin.KERNEL
            place = self.rewrite(node.place)
            return KernelRead(node.type, node.span, place) if is_kernel else Load(node.type, node.span, place)
        if isinstance(node, Binary) and node.op in "&|^":
            self.check_bits(node)
        elif isinstance(node, (Assign, Update, Zero)):
            self.check_store(node.place)
        elif isinstance(node, CopyRecord):
            self.check_store(node.place)
            return CopyRecord(node.type, node.span, self.rewrite(node.place), self.value(node.source))
        elif isinstance(node, Atomic):
            self.check_pointer(node.pointer, "an atomic operation on")
        elif isinstance(node, Intrinsic) and node.name in ("memcpy", "memmove", "memset", "memcmp"):
            return self.memory(node)
        elif isinstance(node, Return) and node.value is not None:
            return Return(node.span, self.value(node.value))
        return self.children(node)

    def value(self, expr: Expr) -> Expr:
        """expr, and if it is a record in kernel memory, a copy of it."""
        if isinstance(expr.type, Record) and self.facts.place_origin(expr) & Origin.KERNEL:
            return KernelRead(expr.type, expr.span, self.rewrite(expr))
        result: Expr = self.rewrite(expr)
        return result

    def children(self, node: Any) -> Any:
        changed = False
        values = []
        for name in node.FIELDS:
            value = getattr(node, name)
            made = value
            if isinstance(value, tuple) and not isinstance(value, Span):
                made = tuple(self.rewrite(item) if _is_node(item) else item for item in value)
                changed |= any(a is not b for a, b in zip(made, value, strict=True))
            elif name not in ("type", "span", "var", "map", "function", "compute") and _is_node(value):
                made = self.rewrite(value)
                changed |= made is not value
            values.append(made)
        return type(node)(*values) if changed else node

    def memory(self, node: Intrinsic) -> Expr:
        target, source, length = node.args
        if node.name == "memcmp":
            for one in (target, source):
                if self.facts.origin(one) & Origin.KERNEL:
                    self.owner.report("comparing kernel memory in place is not supported", one.span,
                                      "copy it to a variable with bpf_probe_read_kernel first")
            return self.children(node)  # type: ignore[no-any-return]
        self.check_pointer(target, "writing to")
        if node.name != "memset" and self.facts.origin(source) & Origin.KERNEL:
            args = (self.rewrite(target), self.rewrite(source), self.rewrite(length))
            return Intrinsic(node.type, node.span, "kernel_copy", args)
        return self.children(node)  # type: ignore[no-any-return]

    def check_bits(self, node: Binary) -> None:
        for one in (node.left, node.right):
            if self.facts.origin(one) is Origin.NATIVE:
                self.owner.report(f"'{node.op}' on an address: BPF has only + and - on pointers", node.span,
                                  "keep flags in a variable of their own")

    def check_store(self, place: Expr) -> None:
        root = place
        while isinstance(root, MemberRef):
            root = root.base
        if isinstance(root, Deref):
            self.check_pointer(root.pointer, "storing to", place.span)

    def check_pointer(self, pointer: Expr, doing: str, span: Span | None = None) -> None:
        if self.facts.origin(pointer) is Origin.KERNEL:
            self.owner.report(
                f"{doing} kernel memory: it can be read, not written", span or pointer.span,
                f"{self.history(pointer)}keep your own copy in a variable or a table",
            )

    def history(self, pointer: Expr) -> str:
        """"'sk' came from skb->sk at line 8; ": the variable that the pointer is in, and what first gave it its value,
        through other variables and the calls that passed it."""
        facts: _Facts | None = self.facts
        var = first = _variable(pointer)
        seen: set[LocalVar] = set()
        value: Expr | None = None
        while facts is not None and var is not None and var not in seen:
            seen.add(var)
            if var in facts.why:
                value = facts.why[var]
            elif facts.called_from is None or var not in facts.function.params:
                break
            else:
                facts, call = facts.called_from
                value = call.args[call.function.params.index(var)]
            var = _variable(value)
        if first is None or value is None:
            words = spelled(pointer)
            return words and f"'{words}' is a pointer of the kernel's; "
        words = spelled(value)
        if value.span in [one.span for one in seen]:  # the registers that a parameter was bound to
            words = "the parameter"
        return f"'{first.name}' came from {words + ' at ' if words else ''}line {value.span.line}; "


def _variable(pointer: Expr | None) -> LocalVar | None:
    """The local variable that a pointer is in, itself or moved on from."""
    while isinstance(pointer, (Cast, PointerAdd)):
        pointer = pointer.operand if isinstance(pointer, Cast) else pointer.pointer
    if isinstance(pointer, Load) and isinstance(pointer.place, VarRef) and isinstance(pointer.place.var, LocalVar):
        return pointer.place.var
    return None


def called_functions(function: FunctionDef) -> list[str]:
    """The names of the functions that an instance calls, each once."""
    return list(dict.fromkeys(one.function.name for one in _walk(function.body) if isinstance(one, CallFunction)))


def instantiate(unit: Unit, sources: dict[str, str], is_program: Any) -> list[FunctionDef]:
    """The functions to generate code for, callees first. is_program(function): it is an entry point."""
    analysis = _Analysis(unit, sources)
    for one in unit.functions:
        if is_program(one):
            analysis.instance(one, (Origin.NATIVE,) * min(1, len(one.params)))
    if analysis.diagnostics:
        raise CompileError(analysis.diagnostics)
    return analysis.order
