"""Expressions: AST -> typed values and places, with C's conversions written out.

expression(node) gives a place or a value; value(node) reads places, decays arrays and functions. convert()
is implicit conversion as by assignment. Integer arithmetic happens in the promoted common type; comparisons
give int; pointer arithmetic carries its scale. Calls go to dialect.py and builtin.py for what they know."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from pycparser import c_ast
from pycparserext.ext_c_parser import TypeList

from cfront.check_type import EnumConst, Symbol, Table, TypeChecker
from cfront.ctype import (
    BOOL,
    CHAR,
    INT,
    LLONG,
    LONG,
    UINT,
    ULLONG,
    ULONG,
    VOID,
    Array,
    CType,
    Enum,
    Function,
    Integer,
    Pointer,
    Record,
    arithmetic_type,
    compatible,
    is_scalar,
    promote,
    value_type,
)
from cfront.doubt import changed_value, enum_of, is_decided, overflowed, room_in_elements
from cfront.errors import counted
from cfront.fold import fold, wrap
from cfront.preprocess import host_headers
from cfront.source import Span
from cfront.tree import (
    AddressOf,
    Assign,
    Binary,
    CallFunction,
    CallPointer,
    Cast,
    Comma,
    Conditional,
    Const,
    CopyRecord,
    Deref,
    Expr,
    FloatConst,
    FunctionAddress,
    FunctionDef,
    GlobalVar,
    KernelRead,
    Load,
    LocalVar,
    Logical,
    MemberRef,
    PointerAdd,
    PointerDiff,
    Stmt,
    StmtExpr,
    StringAddress,
    Unary,
    Update,
    VarRef,
)

__all__ = ["PART", "ExprChecker", "bytes_of_string"]

PART = "initialiser in a list"  # what convert() is said to convert there

_MAX_ARGUMENTS = 5  # of a call in BPF
_ESCAPES = {"n": 10, "t": 9, "r": 13, "0": 0, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, "'": 39, '"': 34, "?": 63, "e": 27}
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]+)|([0-7]{1,3})|(.))", re.DOTALL)
_INT_LITERAL = re.compile(r"(0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)([uUlL]*)")
_FUNCTION_NAMES = ("__func__", "__FUNCTION__", "__PRETTY_FUNCTION__")
_MAX_CHAIN = 512  # operators; LLVM's time to allocate registers grows with the cube
_COMPARISONS = frozenset({"<", ">", "<=", ">=", "==", "!="})
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_DOUBLE = Integer("double", 8, True, 99)  # of a FloatConst
# what there is in BPF for functions of user space and of the kernel
_INSTEAD = {
    "printf": "use bpf_trace_printk(), or send an event with perf_submit()", "printk": "use bpf_trace_printk()",
    "puts": "use bpf_trace_printk()", "sprintf": "format in Python: send the values in an event",
    "snprintf": "use bpf_snprintf(), or send the values in an event", "malloc": "use a BPF_PERCPU_ARRAY of one element",
    "free": "use a BPF_PERCPU_ARRAY of one element", "strlen": "bpf_probe_read_kernel_str() returns the length it copied",
    "strcpy": "use bpf_probe_read_kernel_str()", "strncpy": "use bpf_probe_read_kernel_str()",
    "strcmp": "use __builtin_memcmp() of a constant length", "strncmp": "use __builtin_memcmp() of a constant length",
    "current": "use bpf_get_current_task()", "time": "use bpf_ktime_get_ns()", "getpid": "use bpf_get_current_pid_tgid() >> 32",
    "copy_from_user": "use bpf_probe_read_user()", "usleep": "a BPF program cannot sleep", "sleep": "a BPF program cannot sleep",
}


# members by (struct, name) that programs still ask for, and where newer kernels have them
_RENAMED = {
    ("task_struct", "state"): "__state", ("request", "rq_disk"): "q->disk", ("bio", "bi_disk"): "bi_bdev->bd_disk",
    ("iov_iter", "type"): "iter_type", ("dentry", "d_iname"): "d_shortname.string", ("mm_struct", "mmap_sem"): "mmap_lock",
    ("inode", "i_ctime"): "i_ctime_sec", ("inode", "i_mtime"): "i_mtime_sec", ("inode", "i_atime"): "i_atime_sec",
}


def bytes_of_string(spelling: str) -> bytes:
    """The bytes of adjacent string literals as spelled, without a terminator."""
    out = bytearray()
    for part in re.findall(r'"((?:[^"\\]|\\.)*)"', spelling, re.DOTALL):
        out += _unescape(part)
    return bytes(out)


def _unescape(text: str) -> bytes:
    """The bytes that a literal's text stands for; of an unknown escape sequence its letter."""
    def replace(match: re.Match[bytes]) -> bytes:
        hexadecimal, octal, letter = match.groups()
        if hexadecimal is not None:
            return bytes([int(hexadecimal, 16) & 255])
        if octal is not None:
            return bytes([int(octal, 8) & 255])
        return bytes([_ESCAPES.get(letter.decode("latin-1"), letter[0])])

    return _ESCAPE.sub(replace, text.encode())


def is_place(expr: Expr) -> bool:
    """Whether expr denotes storage; record values always do."""
    return isinstance(expr, (VarRef, Deref, MemberRef)) or isinstance(expr.type, Record)


def field_bits(place: Expr) -> int | None:
    """How many bits a bit-field has; None for other places."""
    return place.bit_size if isinstance(place, MemberRef) else None


def promoted_bits(expr: Expr) -> int | None:
    """How many bits the bit-field has that a value was read from or stored in; None if it was none."""
    while isinstance(expr, Comma):
        expr = expr.right
    return field_bits(expr.place) if isinstance(expr, (Load, Assign, Update)) else None


def promoted_type(expr: Expr, type: Integer) -> Integer:
    """What an integer value of this type is promoted to, as the bit-field that it may have been read from."""
    return promote(type, promoted_bits(expr))


def is_volatile(place: Expr) -> bool:
    """Whether every access of a place is to be kept."""
    if isinstance(place, MemberRef):
        return place.is_volatile or is_volatile(place.base)
    if isinstance(place, Deref):
        return isinstance(place.pointer.type, Pointer) and place.pointer.type.is_volatile
    return isinstance(place, VarRef) and place.var.is_volatile


class ExprChecker(TypeChecker):
    """Expressions."""

    # -- the parts above this one

    def compound_statements(self, node: c_ast.Compound) -> tuple[list[Stmt], Expr | None]:
        raise AssertionError("implemented by Checker")

    def initialise_local(self, var: LocalVar, node: Any) -> list[Expr]:
        raise AssertionError("implemented by InitChecker")

    def dialect_call(self, node: c_ast.FuncCall) -> Expr | None:
        raise AssertionError("implemented by DialectChecker")

    def builtin_call(self, name: str, node: c_ast.FuncCall) -> Expr | None:
        raise AssertionError("implemented by BuiltinChecker")

    def new_local(self, name: str, type: CType, span: Span) -> LocalVar:
        raise AssertionError("implemented by Checker")

    def global_literal(self, type: CType, init: Any, span: Span) -> Expr:
        raise AssertionError("implemented by InitChecker")

    # -- entry points

    def expression(self, node: c_ast.Node) -> Expr:
        method = _METHODS.get(type(node))
        if method is None:
            if isinstance(node, (c_ast.Struct, c_ast.Union, c_ast.IdentifierType)):
                self.error("expected an expression, found a type", node)
            self.error("this kind of expression is not supported", node)
        result: Expr = getattr(self, method)(node)
        return result

    def value(self, node: c_ast.Node) -> Expr:
        return self.rvalue(self.expression(node))

    def constant_or_value(self, node: c_ast.Node) -> Expr:
        """A value, which may be a floating constant: who asks makes an integer of it."""
        expr = self.expression(node)
        return expr if isinstance(expr, FloatConst) else self.rvalue(expr)

    @contextmanager
    def unless(self, is_left_out: bool) -> Iterator[None]:
        """Warns of nothing in what is never evaluated."""
        self.unreached += is_left_out
        try:
            yield
        finally:
            self.unreached -= is_left_out

    def rvalue(self, expr: Expr) -> Expr:
        """What expr is worth: a place is read, an array or function becomes its address."""
        if isinstance(expr, FloatConst):
            self.refuse_float(expr.span, expr.value)
        if isinstance(expr.type, Function):
            assert isinstance(expr, FunctionAddress)
            self.check_function_address(expr)
            self.note_call(expr.function, expr.span)
            return FunctionAddress(Pointer(expr.type), expr.span, expr.function)
        if not is_place(expr) or isinstance(expr.type, Record):
            return expr
        if isinstance(expr.type, Array):
            self.note_address(expr)
            return AddressOf(Pointer(expr.type.element, is_volatile=is_volatile(expr)), expr.span, expr)
        if expr.type is VOID:
            if isinstance(expr, Deref):
                self.error("what a 'void *' points at cannot be read", expr.span, "cast the pointer first, e.g. *(u32 *)p")
            self.error("a void value cannot be used", expr.span)
        known = self.known_values.get(expr.var) if isinstance(expr, VarRef) else None
        if known is not None:
            return Const(value_type(expr.type), expr.span, known)
        return Load(value_type(expr.type), expr.span, expr)

    def refuse_float(self, span: Span, value: float | None = None) -> NoReturn:
        hint = "use integers, scaled (e.g. by 1000)"
        if value and value.is_integer() and abs(value) < 1 << 64:
            hint = f"write {int(value)}"
        self.error(f"floating point is not supported{self.in_bpf}", span, hint)

    def check_function_address(self, expr: FunctionAddress) -> None:
        if self.target == "bpf" and not self.unevaluated and not expr.function.is_kernels:
            self.error(f"the address of function '{expr.function.name}' cannot be used in BPF", expr.span,
                       f"call it: {expr.function.name}(...)")

    def scalar(self, node: c_ast.Node, what: str) -> Expr:
        expr = self.value(node)
        if not is_scalar(expr.type):
            self.error(f"{what} has type '{expr.type}', which is not a scalar", node)
        return expr

    def condition(self, node: c_ast.Node) -> Expr:
        return self.scalar(node, "the condition")

    def integer(self, expr: Expr, op: str) -> Expr:
        """expr promoted; an error if it is not an integer."""
        if not isinstance(expr.type, (Integer, Enum)):
            self.error(f"operand of '{op}' has type '{expr.type}', which is not an integer", expr.span)
        base = expr.type.base if isinstance(expr.type, Enum) else expr.type
        return self.cast(expr, promoted_type(expr, base), expr.span)

    # -- conversions

    def cast(self, expr: Expr, type: CType, span: Span) -> Expr:
        """expr as another scalar type; nothing is checked."""
        if expr.type == type:
            return expr
        if isinstance(expr, Const) and is_scalar(type):
            return Const(type, span, wrap(expr.value, type if not isinstance(type, Pointer) else ULONG))
        return Cast(type, span, expr)

    def convert(self, expr: Expr, type: CType, what: str, span: Span | None = None, bit_size: int | None = None) -> Expr:
        """expr converted as by assignment to an object of this type, of bit_size bits if that is a bit-field. what: for
        the message, e.g. "argument 2 of 'f'"."""
        span = span or expr.span
        if isinstance(expr, FloatConst):
            expr = self.truncated(expr, type, is_explicit=False)
        if isinstance(expr, Const):
            self.check_constant(expr, type, bit_size, what, span)
        type = value_type(type) if not isinstance(type, (Array, Record)) else type
        source = expr.type
        if isinstance(type, Record) or isinstance(source, Record):
            if not compatible(source, type):
                self.error(f"{what} needs '{type}', not '{source}'", span)
            return expr
        if source is VOID:
            self.error(f"{what} needs '{type}', but this gives no value", span)
        if type is VOID or isinstance(type, Array):
            self.error(f"{what} cannot have type '{type}'", span)
        if isinstance(type, Pointer) and isinstance(source, Pointer):
            if not self.points_alike(type, source) and not self.is_null(expr):
                self.warn(f"{what}: '{source}' converted to incompatible '{type}'", span, "incompatible-pointer-types")
        elif isinstance(type, Pointer) and not self.is_null(expr):
            self.warn(f"{what}: integer '{source}' made '{type}' without a cast", span, "int-conversion")
        elif isinstance(source, Pointer) and not isinstance(type, Pointer) and type is not BOOL:
            self.warn(f"{what}: pointer '{source}' made '{type}' without a cast", span, "int-conversion")
        return self.cast(expr, type, span)

    def check_constant(self, expr: Const, type: CType, bit_size: int | None, what: str, span: Span) -> None:
        """Warns of a constant that an object of this type cannot hold."""
        changed = changed_value(expr, type, bit_size, what == PART)
        if changed is not None and bit_size is None:
            self.warn(f"{expr.value} does not fit '{type}': it becomes {changed}", span, "constant-conversion")
        elif changed is not None:
            self.warn(f"{expr.value} does not fit {counted(bit_size or 0, 'bit')}: it becomes {changed}", span,
                      "bitfield-constant-conversion")

    def truncated(self, expr: FloatConst, type: CType, is_explicit: bool) -> Const:
        """A floating constant as an integer: its fraction is dropped."""
        target = value_type(type)
        if not isinstance(target, Integer):
            self.error(f"a floating constant cannot become '{type}'", expr.span)
        whole = int(expr.value) if math.isfinite(expr.value) else 1 << 128
        if target is BOOL:
            return Const(BOOL, expr.span, int(expr.value != 0))
        if wrap(whole, target) != whole:
            self.error(f"{expr.value:g} does not fit '{type}'", expr.span)
        if not is_explicit and whole != expr.value:
            self.warn(f"{expr.value:g} becomes {whole}", expr.span, "literal-conversion")
        return Const(target, expr.span, whole)

    @staticmethod
    def is_null(expr: Expr) -> bool:
        while isinstance(expr, Cast):
            expr = expr.operand
        return isinstance(expr, Const) and expr.value == 0

    def to_u64(self, expr: Expr) -> Expr:
        """An integer or pointer as a helper's register takes it: integers sign- or zero-extended by their type."""
        if isinstance(expr.type, Pointer):
            return expr
        if isinstance(expr.type, Record) or not is_scalar(expr.type):
            self.error(f"a helper's argument cannot be '{expr.type}'", expr.span, "pass its address")
        wide: CType = LLONG if isinstance(expr.type, Integer) and expr.type.is_signed else ULLONG
        return self.cast(self.cast(expr, wide, expr.span), ULLONG, expr.span)

    # -- primaries

    def constant_node(self, node: c_ast.Constant) -> Expr:
        span = self.span(node)
        if node.type == "string":
            return StringAddress(Pointer(CHAR), span, self.string_bytes(node) + b"\0")
        if node.type == "char":
            return Const(INT, span, self.char_value(node))
        if "int" not in node.type:
            return FloatConst(_DOUBLE, span, float(node.value.rstrip("fFlL")))
        match = _INT_LITERAL.fullmatch(node.value)
        assert match is not None, "the parser takes no other number"
        digits, suffix = match.group(1), match.group(2).lower()
        octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
        value = int(digits, 8 if octal else 0)
        type = _literal_type(value, suffix, is_decimal=digits.isdigit() and not octal)
        if type is None:
            self.error(f"integer {digits} does not fit 64 bits", node)
        return Const(type, span, value)

    def string_bytes(self, node: c_ast.Constant) -> bytes:
        self.check_escapes(node)
        return bytes_of_string(node.value)

    def check_escapes(self, node: c_ast.Constant) -> None:
        for letter in re.findall(r"\\(.)", node.value, re.DOTALL):
            if letter not in _ESCAPES and letter not in "01234567x":
                self.warn(f"unknown escape sequence '\\{letter}' is '{letter}'", self.span(node), "unknown-escape-sequence")

    def char_value(self, node: c_ast.Constant) -> int:
        self.check_escapes(node)
        content = _unescape(node.value[1:-1])
        if not 1 <= len(content) <= 4:
            self.error("a character constant holds one character", node)
        if len(content) > 1:  # gcc's and clang's meaning: the first is the highest
            self.warn("a character constant of several characters", self.span(node), "multichar")
            return wrap(int.from_bytes(content, "big"), INT)
        return wrap(content[0], CHAR)

    def name(self, node: c_ast.ID) -> Expr:
        span = self.span(node)
        symbol = self.lookup(node.name)
        if symbol is None and self.function is not None and node.name in _FUNCTION_NAMES:
            return self.literal_array(self.function.name.encode(), span)
        if symbol is None:
            return self.unknown_name(node, span)
        return self.symbol_value(node, symbol, span)

    @staticmethod
    def literal_array(text: bytes, span: Span) -> Expr:
        """A string literal as the array that it is."""
        content = text + b"\0"
        return Deref(Array(CHAR, len(content)), span, StringAddress(Pointer(CHAR), span, content))

    def symbol_value(self, node: c_ast.ID, symbol: Symbol, span: Span) -> Expr:
        if isinstance(symbol, (LocalVar, GlobalVar)):
            self.note_use(symbol)
            return VarRef(symbol.type, span, symbol)
        if isinstance(symbol, EnumConst):
            return Const(symbol.type, span, symbol.value)
        if isinstance(symbol, FunctionDef):
            return FunctionAddress(symbol.type, span, symbol)
        if isinstance(symbol, Table):
            if not self.unevaluated:
                self.error(f"table '{node.name}' used as a value", node, f"call a method, e.g. {node.name}.lookup(&key)")
            return VarRef(symbol.record, span, GlobalVar(node.name, symbol.record, span))
        self.error(f"'{node.name}' is a type, an expression is needed", node)

    def note_use(self, var: LocalVar | GlobalVar) -> None:
        """A hook for the checker above: var is named in an expression."""

    def unknown_name(self, node: c_ast.ID, span: Span) -> Expr:
        if self.types is not None:
            value = self.types.enumerator(node.name)
            if value is not None:
                return Const(INT if -(1 << 31) <= value < 1 << 31 else LONG, span, value)
        known = [name for scope in self.scopes for name in scope]
        hint = f"write struct {node.name}" if self.lookup_tag("struct", node.name) is not None else self.host_header(node.name)
        hint = hint or self.did_you_mean(node.name, known) or self.did_you_mean(node.name, self.macros, 0.8)
        hint = hint or self.did_you_mean(node.name, self.similar_types("enumerator", node.name), 0.8)
        self.error(f"use of undeclared name '{node.name}'", node, hint or "declare it before its use, or #define it")

    def host_header(self, name: str) -> str:
        """The hint to include what declares a name of the C library, for programs for this machine."""
        headers = host_headers() if self.target == "host" else {}
        found = next((one for one, text in sorted(headers.items()) if re.search(rf"\b{re.escape(name)}\b", text)), "")
        return f"#include <{found}>" if found else ""

    def note_address(self, place: Expr) -> None:
        while isinstance(place, MemberRef):
            place = place.base
        if isinstance(place, VarRef) and isinstance(place.var, LocalVar):
            place.var.is_address_taken = True

    # -- members and subscripts

    def member(self, node: c_ast.StructRef) -> Expr:
        name = node.field.name
        if node.type == "->":
            pointer = self.value(node.name)
            if not isinstance(pointer.type, Pointer):
                hint = "write '.'" if isinstance(pointer.type, Record) else ""
                self.error(f"'->{name}' needs a pointer, this is '{pointer.type}'", node.field, hint)
            base: Expr = Deref(pointer.type.target, pointer.span, pointer)
        else:
            base = self.expression(node.name)
            if isinstance(base.type, Pointer):
                self.error(f"'.{name}' needs a struct, this is '{base.type}'", node.field, "write '->'")
        record = base.type
        if not isinstance(record, Record):
            self.error(f"'{record}' has no members", node.field)
        return self.member_of(base, record, name, node.field)

    def member_of(self, base: Expr, record: Record, name: str, node: c_ast.Node) -> Expr:
        found = record.member(name)
        if found is None:
            if not record.is_complete:
                self.error(f"'{record}' is not defined", node, self.why_undefined(record))
            self.error(f"no member named '{name}' in '{record}'", node, self.member_hint(record, name))
        return MemberRef(found.type, self.span(node), base, found.offset, found.bit_offset, found.bit_size, found.is_volatile)

    def member_hint(self, record: Record, name: str) -> str:
        """What may be meant by a name that no member has: what it is called now, one that is spelled nearly so, or one
        of a struct that a member is, or points at."""
        moved = _RENAMED.get((record.name, name), "")
        if moved and record.member(re.split(r"\W", moved)[0]) is not None:
            return f"newer kernels have '{moved}'"
        names = record.member_names()
        spellings = (name, f"__{name}", f"_{name}", re.sub("^sk_", "skc_", name))
        written = next((one for one in spellings[1:] if one in names), "")
        if written:
            return f"did you mean '{written}'?"
        reached = [(one, two) for one in names for two in spellings if _reaches(record, one, two)]
        inside = [(one, two) for one, two in reached if not isinstance(_member_type(record, one), Pointer)]
        close = self.did_you_mean(name, names, 0.8)
        if inside or (reached and not close):
            one, two = (inside or reached)[0]
            return f"did you mean '{one}{'.' if inside else '->'}{two}'?"
        return close or self.did_you_mean(name, names)

    def subscript(self, node: c_ast.ArrayRef) -> Expr:
        past_end, self.past_end = self.past_end, False
        left, right = self.value(node.name), self.value(node.subscript)
        if isinstance(right.type, Pointer):
            left, right = right, left
        if not isinstance(left.type, Pointer) or isinstance(left.type.target, Function):
            self.error(f"'{left.type}' cannot be subscripted", node)
        element = left.type.target
        self.check_subscript(left, right, self.span(node.subscript), past_end)
        return Deref(element, self.span(node), self.pointer_add(left, right, "+", self.span(node)))

    def check_subscript(self, pointer: Expr, index: Expr, span: Span, past_end: bool) -> None:
        room = room_in_elements(pointer) if isinstance(index, Const) else None
        if room is None or not isinstance(index, Const):
            return
        if index.value < 0:
            self.warn(f"index {index.value} is before the beginning of the array", span, "array-bounds")
        elif index.value >= room + past_end:
            self.warn(f"index {index.value} is past the end of an array of {counted(room, 'element')}", span, "array-bounds")

    def pointer_add(self, pointer: Expr, index: Expr, op: str, span: Span) -> Expr:
        assert isinstance(pointer.type, Pointer)
        scale = self.pointer_scale(pointer, span)
        index = self.integer(index, op)
        assert isinstance(index.type, Integer)
        index = self.cast(index, LONG if index.type.is_signed else ULONG, span)
        if op == "-":
            index = Unary(LONG, span, "-", self.cast(index, LONG, span))
            value = fold(index)
            index = index if value is None else Const(LONG, span, value)
        if isinstance(index, Const) and index.value == 0:
            return pointer
        return PointerAdd(pointer.type, span, pointer, index, scale)

    def pointer_scale(self, pointer: Expr, span: Span) -> int:
        assert isinstance(pointer.type, Pointer)
        target = pointer.type.target
        if target is VOID or isinstance(target, Function):
            return 1
        if not target.is_complete:
            self.error(f"arithmetic on '{pointer.type}', whose target is not defined", span, self.why_undefined(target))
        return target.size

    # -- operators

    def unary(self, node: c_ast.UnaryOp) -> Expr:
        op, span = node.op, self.span(node)
        if op in ("sizeof", "_Alignof", "__alignof__", "__alignof"):
            return self.size_of(node)
        if op == "&":
            return self.address_of(node, span)
        if op == "*":
            pointer = self.value(node.expr)
            if not isinstance(pointer.type, Pointer):
                self.error(f"'*' needs a pointer, this is '{pointer.type}'", node)
            if isinstance(pointer.type.target, Function):
                if not isinstance(pointer, FunctionAddress):
                    return pointer  # *p and p call the same
                return FunctionAddress(pointer.type.target, span, pointer.function)
            return Deref(pointer.type.target, span, pointer)
        if op in ("++", "--", "p++", "p--"):
            return self.step(node, span)
        if op == "!":
            return Unary(INT, span, "!", self.scalar(node.expr, "operand of '!'"))
        given = self.constant_or_value(node.expr)
        if isinstance(given, FloatConst) and op in "+-":
            return FloatConst(_DOUBLE, span, -given.value if op == "-" else given.value)
        operand = self.integer(given, op)
        if op == "+":
            return operand
        return self.folded(Unary(operand.type, span, op, operand))

    def folded(self, expr: Unary | Binary) -> Expr:
        """expr, or the constant it is. Looks no deeper than its operands, which were folded before: a chain is long."""
        operands = (expr.operand,) if isinstance(expr, Unary) else (expr.left, expr.right)
        value = fold(expr) if all(isinstance(one, Const) for one in operands) else None
        if isinstance(expr, Binary) and overflowed(expr):
            self.warn(f"the result overflows '{expr.type}': it becomes {value}", expr.span, "integer-overflow",
                      "make one operand 64 bits wide, e.g. 1000ULL")
        return expr if value is None else Const(expr.type, expr.span, value)

    def size_of(self, node: c_ast.UnaryOp) -> Expr:
        span, asked = self.span(node), 0
        if isinstance(node.expr, c_ast.Typename):
            type = self.type_of(node.expr)
        elif isinstance(node.expr, c_ast.Constant) and node.expr.type == "string":
            return Const(ULONG, span, len(self.string_bytes(node.expr)) + 1)
        else:
            self.unevaluated += 1
            try:
                expr = self.expression(node.expr)
            finally:
                self.unevaluated -= 1
            type, asked = expr.type, expr.var.align if isinstance(expr, VarRef) else 0
        if node.op != "sizeof" and isinstance(type, Function):
            self.error("the alignment of a function is not known here", node)
        if node.op != "sizeof":
            return Const(ULONG, span, max(type.align, asked))
        if type is VOID or isinstance(type, Function):
            return Const(ULONG, span, 1)
        if not type.is_complete:
            self.error(f"size of incomplete type '{type}'", node, self.why_undefined(type))
        return Const(ULONG, span, type.size)

    def address_of(self, node: c_ast.UnaryOp, span: Span) -> Expr:
        self.past_end = isinstance(node.expr, c_ast.ArrayRef)  # whose address may be that of the end
        place = self.expression(node.expr)
        self.past_end = False
        if isinstance(place, FunctionAddress):
            self.check_function_address(place)
            self.note_call(place.function, span)
            return FunctionAddress(Pointer(place.type), span, place.function)
        if not is_place(place) or isinstance(place, (CallFunction, KernelRead)):
            self.error("'&' needs something in memory", node, "store the value in a variable first")
        if isinstance(place, MemberRef) and place.bit_size is not None:
            self.error("a bit-field has no address", node, "copy it to a variable first")
        self.note_address(place)
        if isinstance(place, Deref):
            return self.cast(place.pointer, Pointer(place.type, is_volatile=is_volatile(place)), span)
        return AddressOf(Pointer(place.type, is_volatile=is_volatile(place)), span, place)

    def step(self, node: c_ast.UnaryOp, span: Span) -> Expr:
        place = self.modifiable(node.expr)
        op = node.op[-1]
        if isinstance(place.type, Pointer):
            scale = self.pointer_scale(place_pointer(place), span)
            one: Expr = Const(LONG, span, 1 if op == "+" else -1)
            return Update(place.type, span, place, "+", one, place.type, scale, node.op[0] == "p")
        if not isinstance(place.type, (Integer, Enum)):
            self.error(f"'{node.op[-2:]}' on '{place.type}'", node)
        type = value_type(place.type)
        assert isinstance(type, Integer)
        compute = promote(type, field_bits(place))
        return Update(type, span, place, op, Const(compute, span, 1), compute, 0, node.op[0] == "p")

    def modifiable(self, node: c_ast.Node) -> Expr:
        place = self.expression(node)
        if not is_place(place) or isinstance(place, (CallFunction, StmtExpr)):
            self.error("this cannot be assigned to", node)
        if isinstance(place.type, Array):
            self.error(f"array type '{place.type}' cannot be assigned to", node, "use __builtin_memcpy")
        if isinstance(place, VarRef) and (place.var in self.constants or getattr(place.var, "is_const", False)):
            self.error(f"'{place.var.name}' is const", node, "drop the const where it is declared")
        return place

    def binary(self, node: c_ast.BinaryOp) -> Expr:
        # a chain of left-associative operators is as deep as it is long: walked, not recursed into
        chain = []
        while isinstance(node, c_ast.BinaryOp):
            chain.append(node)
            node = node.left
        if len(chain) > _MAX_CHAIN and self.target == "bpf":
            self.error(f"{len(chain)} operators in a row are too many: at most {_MAX_CHAIN}", chain[0],
                       "split the expression into several statements")
        left = self.constant_or_value(node)
        for one in reversed(chain):
            self.check_precedence(one)
            left = self.binary_values(one.op, left, self.constant_or_value(one.right), self.span(one))
        return left

    def check_precedence(self, node: c_ast.BinaryOp) -> None:
        """Warns of a & b == c and of !a == b, which mean a & (b == c) and (!a) == b."""
        at: int = node.coord.line
        before, behind = self.tokens[at - 1].text, self.tokens[at + 1].text
        if node.op in ("&", "|", "^"):
            for side, bracket in ((node.left, before), (node.right, behind)):
                if isinstance(side, c_ast.BinaryOp) and side.op in _COMPARISONS and bracket not in ("(", ")"):
                    self.warn(f"'{side.op}' binds tighter than '{node.op}'", self.span(node), "parentheses",
                              f"put the '{node.op}' into parentheses, or the '{side.op}' if it is meant")
        if node.op in _COMPARISONS and isinstance(node.left, c_ast.UnaryOp) and node.left.op == "!" and before != ")":
            self.warn(f"'!' binds tighter than '{node.op}'", self.span(node.left), "logical-not-parentheses",
                      f"write !(a {node.op} b), or (!a) {node.op} b if that is meant")

    def binary_values(self, op: str, left: Expr, right: Expr, span: Span) -> Expr:
        if isinstance(left, FloatConst) or isinstance(right, FloatConst):
            return self.float_values(op, left, right, span)
        if op in ("&&", "||"):
            for one in (left, right):
                if not is_scalar(one.type):
                    self.error(f"operand of '{op}' has type '{one.type}', which is not a scalar", one.span)
            return Logical(INT, span, op, left, right)
        if isinstance(left.type, Pointer) or isinstance(right.type, Pointer):
            return self.pointer_binary(op, left, right, span)
        enums = enum_of(left), enum_of(right)
        if op in _COMPARISONS and None not in enums and enums[0] is not enums[1]:
            self.warn(f"comparison of '{enums[0]}' and '{enums[1]}'", span, "enum-compare")
        left, right = self.integer(left, op), self.integer(right, op)
        assert isinstance(left.type, Integer) and isinstance(right.type, Integer)
        if op in ("<<", ">>"):
            self.check_shift(right, left.type, span)
            return self.folded(Binary(left.type, span, op, left, right))
        common = arithmetic_type(left.type, right.type)
        left, right = self.cast(left, common, left.span), self.cast(right, common, right.span)
        if op in _COMPARISONS and is_decided(op, left, right):
            self.warn(f"'{op}' has the same result for every value of its narrower side", span,
                      "tautological-constant-out-of-range-compare")
        self.check_wide(op, common, span)
        if op in ("/", "%") and isinstance(right, Const) and right.value == 0:
            return self.divided_by_zero(op, left, span)
        return self.folded(Binary(INT if op in _COMPARISONS else common, span, op, left, right))

    def divided_by_zero(self, op: str, left: Expr, span: Span) -> Expr:
        """What BPF's instructions give: 0, and for a remainder the left side."""
        self.warn("division by zero", span, "division-by-zero")
        zero = Const(left.type, span, 0)
        return Comma(left.type, span, left, zero) if op == "/" else Comma(left.type, span, zero, left)

    def check_shift(self, count: Expr, type: Integer, span: Span) -> None:
        if isinstance(count, Const) and count.value < 0:
            self.warn(f"shift by {count.value}", span, "shift-count-negative")
        elif isinstance(count, Const) and count.value >= type.size * 8:
            self.warn(f"shift by {count.value}, and '{type}' has {type.size * 8} bits", span, "shift-count-overflow",
                      "cast the left side to u64" if type.size < 8 and count.value < 64 else "")

    def float_values(self, op: str, left: Expr, right: Expr, span: Span) -> Expr:
        """Arithmetic on constants of which one is floating, or the comparison of an integer with one."""
        values = [float(one.value) for one in (left, right) if isinstance(one, (Const, FloatConst))]
        if len(values) == 2 and op in "+-*/" and (op != "/" or values[1]):
            with contextlib.suppress(OverflowError):
                first, second = values
                made = {"+": first + second, "-": first - second, "*": first * second, "/": first / (second or 1)}[op]
                return FloatConst(_DOUBLE, span, made)
        if op not in _COMPARISONS or (isinstance(left, FloatConst) and isinstance(right, FloatConst)):
            self.refuse_float(span, next((one.value for one in (left, right) if isinstance(one, FloatConst)), None))
        if isinstance(left, FloatConst):
            op, left, right = _MIRRORED.get(op, op), right, left
        assert isinstance(right, FloatConst)
        return self.compared_with_float(op, self.integer(left, op), right.value, span)

    def compared_with_float(self, op: str, left: Expr, bound: float, span: Span) -> Expr:
        """The comparison of integers that says the same: x >= 2.5 is x >= 3, x > 2.5 is x > 2."""
        type = left.type
        assert isinstance(type, Integer)
        bound = max(-1e30, min(bound, 1e30))
        limit = math.ceil(bound) if op in (">=", "<") else math.floor(bound)
        low = -(1 << (type.bits - 1)) if type.is_signed else 0
        high = low + (1 << type.bits) - 1
        if op in ("==", "!=") and (limit != bound or not low <= limit <= high):
            return Comma(INT, span, left, Const(INT, span, int(op == "!=")))
        if not low <= limit <= high:
            return Comma(INT, span, left, Const(INT, span, int((limit < low) == (op in (">", ">=")))))
        return self.folded(Binary(INT, span, op, left, Const(type, span, limit)))

    def check_wide(self, op: str, type: CType, span: Span) -> None:
        """Refuses what 128-bit integers cannot do in BPF: LLVM would call its library for it."""
        if type.size != 16 or self.target != "bpf":
            return
        if op in ("/", "%"):
            self.error(f"'{op}' on 128-bit integers is not supported in BPF", span, "use 64-bit arithmetic")

    def pointer_binary(self, op: str, left: Expr, right: Expr, span: Span) -> Expr:
        if op == "+" and isinstance(left.type, Pointer) != isinstance(right.type, Pointer):
            pointer, index = (left, right) if isinstance(left.type, Pointer) else (right, left)
            return self.pointer_add(pointer, index, op, span)
        if op == "-" and isinstance(left.type, Pointer):
            if not isinstance(right.type, Pointer):
                return self.pointer_add(left, right, op, span)
            scale = self.pointer_scale(left, span)
            if scale == 0:
                self.error(f"difference of '{left.type}', whose target has no size", span)
            return PointerDiff(LONG, span, left, right, scale)
        if op in _COMPARISONS and is_scalar(left.type) and is_scalar(right.type):
            self.check_compared(left, right, span)
            return self.folded(
                Binary(INT, span, op, self.cast(left, ULONG, span), self.cast(right, ULONG, span))
            )
        self.error(f"'{op}' on '{left.type}' and '{right.type}'", span)

    def check_compared(self, left: Expr, right: Expr, span: Span) -> None:
        """Warns of the comparison of a pointer with what is no pointer, or one to something else."""
        one, two = left.type, right.type
        if self.is_null(left) or self.is_null(right):
            return
        if not isinstance(one, Pointer) or not isinstance(two, Pointer):
            self.warn(f"comparison of a pointer and an integer, '{one}' and '{two}'", span, "pointer-integer-compare")
        elif not self.points_alike(one, two):
            self.warn(f"comparison of pointers to different types, '{one}' and '{two}'", span, "compare-distinct-pointer-types")

    @staticmethod
    def points_alike(one: Pointer, two: Pointer) -> bool:
        return compatible(one, two) or VOID in (one.target, two.target) or _differ_in_sign(one.target, two.target)

    def assignment(self, node: c_ast.Assignment) -> Expr:
        span = self.span(node)
        special = self.dialect_assignment(node)
        if special is not None:
            return special
        place = self.modifiable(node.lvalue)
        if node.op == "=":
            value = self.convert(self.constant_or_value(node.rvalue), place.type, "assignment", span, field_bits(place))
            if isinstance(place.type, Record):
                return CopyRecord(place.type, span, place, value)
            return Assign(value_type(place.type), span, place, value)
        op = node.op[:-1]
        value = self.value(node.rvalue)
        if isinstance(place.type, Pointer) and op in ("+", "-"):
            added = self.pointer_add(place_pointer(place), value, op, span)
            index = added.index if isinstance(added, PointerAdd) else Const(LONG, span, 0)
            scale = added.scale if isinstance(added, PointerAdd) else 1
            return Update(place.type, span, place, "+", index, place.type, scale)
        if not isinstance(place.type, (Integer, Enum)):
            self.error(f"'{node.op}' on '{place.type}'", node)
        type = value_type(place.type)
        assert isinstance(type, Integer)
        value = self.integer(value, node.op)
        assert isinstance(value.type, Integer)
        promoted = promote(type, field_bits(place))
        compute = promoted if op in ("<<", ">>") else arithmetic_type(promoted, value.type)
        self.check_wide(op, compute, span)
        if op in ("<<", ">>"):
            self.check_shift(value, compute, span)
            return Update(type, span, place, op, value, compute)
        value = self.cast(value, compute, span)
        if op in ("/", "%") and isinstance(value, Const) and value.value == 0:
            self.warn("division by zero", span, "division-by-zero")
            op = "*" if op == "/" else "+"  # what BPF's instructions give: 0, and for a remainder what was there
        return Update(type, span, place, op, value, compute)

    def dialect_assignment(self, node: c_ast.Assignment) -> Expr | None:
        """A hook for BCC's packet headers."""
        return None

    def conditional(self, node: c_ast.TernaryOp) -> Expr:
        span = self.span(node)
        condition = self.condition(node.cond)
        if node.iftrue is None:
            yes, no = condition, self.value(node.iffalse)
        else:
            known = fold(condition)
            with self.unless(known == 0):
                yes = self.value(node.iftrue)
            with self.unless(bool(known)):
                no = self.value(node.iffalse)
        type = self.common(yes, no, span)
        if type is VOID:
            yes, no = self.cast(yes, VOID, span), self.cast(no, VOID, span)
        elif not isinstance(type, Record):
            yes, no = self.cast(yes, type, yes.span), self.cast(no, type, no.span)
        if node.iftrue is None:
            if yes is not condition:
                condition = yes
            return Conditional(type, span, condition, None, no)
        return Conditional(type, span, condition, yes, no)

    def common(self, yes: Expr, no: Expr, span: Span) -> CType:
        one, two = value_type(yes.type), value_type(no.type)
        if isinstance(one, Integer) and isinstance(two, Integer):
            return arithmetic_type(promoted_type(yes, one), promoted_type(no, two))
        if one is VOID or two is VOID:
            return VOID
        if isinstance(one, Pointer) and isinstance(two, Pointer):
            if not self.points_alike(one, two) and not self.is_null(yes) and not self.is_null(no):
                self.warn(f"the two sides of '?:' have types '{one}' and '{two}'", span, "pointer-type-mismatch")
                return Pointer(VOID)
            if self.is_null(yes):
                return two
            return one if one.target is not VOID or self.is_null(no) else two
        if isinstance(one, Pointer) or isinstance(two, Pointer):
            if not self.is_null(yes) and not self.is_null(no):
                self.warn(f"the two sides of '?:' have types '{one}' and '{two}'", span, "conditional-type-mismatch")
            return one if isinstance(one, Pointer) else two
        if compatible(one, two):
            return one
        self.error(f"the two sides of '?:' have types '{one}' and '{two}'", span)

    def cast_node(self, node: c_ast.Cast) -> Expr:
        span = self.span(node)
        type = self.type_of(node.to_type)
        expr = self.constant_or_value(node.expr)
        if isinstance(expr, FloatConst):
            return self.truncated(expr, type, is_explicit=True)
        if type is VOID:
            return Cast(VOID, span, expr)
        if isinstance(type, Record):
            if compatible(type, expr.type):
                return expr
            self.error(f"cannot cast '{expr.type}' to '{type}'", node)
        if isinstance(type, Array) or not is_scalar(type) or not is_scalar(expr.type):
            self.error(f"cannot cast '{expr.type}' to '{type}'", node)
        self.check_cast(expr, type, span)
        if promoted_bits(expr) is not None:  # no bit-field any more, even of the same type
            return Cast(value_type(type), span, expr)
        return self.cast(expr, value_type(type), span)

    def check_cast(self, expr: Expr, type: CType, span: Span) -> None:
        """Warns of half a pointer."""
        source = expr.type
        if isinstance(source, Pointer) and isinstance(type, Integer) and type.size < 8 and type is not BOOL:
            if fold(expr) is None:
                self.warn(f"'{type}' holds half of a '{source}'", span, "pointer-to-int-cast", "cast to u64 first")
        elif isinstance(type, Pointer) and isinstance(source, Integer) and source.size < 8 and not isinstance(expr, Const):
            self.warn(f"'{type}' made of '{source}', which holds half of a pointer", span, "int-to-pointer-cast")

    def comma(self, node: c_ast.ExprList) -> Expr:
        exprs = [self.expression(one) for one in node.exprs]
        result = self.rvalue(exprs[-1])
        for one in reversed(exprs[:-1]):
            result = Comma(result.type, result.span, self.rvalue(one), result)
        return result

    def statement_expression(self, node: c_ast.Compound) -> Expr:
        with self.scope():
            body, result = self.compound_statements(node)
        if result is not None:
            result = self.rvalue(result) if result.type is not VOID else result
        return StmtExpr(VOID if result is None else result.type, self.span(node), tuple(body), result)

    def compound_literal(self, node: c_ast.CompoundLiteral) -> Expr:
        span = self.span(node.type)
        if self.function is None and not self.unevaluated:
            return self.global_literal(self.type_of(node.type), node.init, span)
        var = self.new_local("", self.type_of(node.type), span)
        var.is_address_taken = True
        # a literal is storage: it denotes its variable, behind its initialisers
        address: Expr = AddressOf(Pointer(var.type), span, VarRef(var.type, span, var))
        for one in reversed(self.initialise_local(var, node.init)):
            address = Comma(address.type, span, one, address)
        return Deref(var.type, span, address)

    def generic(self, node: c_ast.GenericSelection) -> Expr:
        self.unevaluated += 1
        try:
            type = self.value(node.expr).type
        finally:
            self.unevaluated -= 1
        default, chosen = None, []
        for one in node.associations:
            if one.type is None:
                default = one.expr
            elif self.is_selected(self.type_of(one.type), type) and not getattr(one.type.type, "quals", None):  # no value is qualified
                chosen.append(one.expr)
        if len(chosen) > 1:
            self.error(f"_Generic has two associations for '{type}'", node, "const makes no difference here")
        if chosen:
            return self.expression(chosen[0])
        if default is None:
            self.error(f"_Generic has no association for '{type}'", node)
        return self.expression(default)

    @staticmethod
    def is_selected(association: CType, type: CType) -> bool:
        """Whether two types are the same; functions may name their parameters otherwise."""
        is_function = isinstance(type, Pointer) and isinstance(type.target, Function)
        return compatible(association, type) if is_function else association == type

    # -- calls

    def call(self, node: c_ast.FuncCall) -> Expr:
        special = self.dialect_call(node)
        if special is not None:
            return special
        if isinstance(node.name, c_ast.ID):
            symbol = self.lookup(node.name.name)
            if isinstance(symbol, FunctionDef):
                return self.call_function(node, symbol)
            if symbol is None:
                found = self.builtin_call(node.name.name, node)
                if found is not None:
                    return found
                self.unknown_function(node)
        named = self.expression(node.name)
        if isinstance(named, FunctionAddress):
            return self.call_function(node, named.function)
        callee = self.rvalue(named)
        if isinstance(callee.type, Pointer) and isinstance(callee.type.target, Function):
            called = callee.type.target
            if self.target == "host" and not any(isinstance(one, Record) for one in (called.result, *(p.type for p in called.params))):
                args = self.arguments(node, "the function", called)
                return CallPointer(called.result, self.span(node), callee, called, args)
            self.error("calls through function pointers are not supported in BPF", node, "use a switch over direct calls")
        self.error(f"'{callee.type}' cannot be called", node)

    def unknown_function(self, node: c_ast.FuncCall) -> None:
        name = node.name.name
        if name in self.defined_later:
            self.error(f"call of function '{name}' before its definition", node, "move the definition up, or declare it first")
        known = [one for scope in self.scopes for one, symbol in scope.items() if isinstance(symbol, FunctionDef)]
        hint = self.host_header(name) if self.target == "host" else _INSTEAD.get(name, "")
        hint = hint or self.did_you_mean(name, [*known, *self.known_functions()]) or self.did_you_mean(name, self.macros, 0.8)
        self.error(f"call of undeclared function '{name}'", node, hint or (
            "define it as a static inline function" if self.target == "bpf" else "declare it, or define it"))

    def known_functions(self) -> list[str]:
        return []

    @staticmethod
    def args_of(node: c_ast.FuncCall) -> list[c_ast.Node]:
        if node.args is None:
            return []
        return list(node.args.types) if isinstance(node.args, TypeList) else list(node.args.exprs)

    def arguments(self, node: c_ast.FuncCall, name: str, type: Function) -> tuple[Expr, ...]:
        nodes = self.args_of(node)
        is_ended = not type.is_variadic and not type.is_open
        if len(nodes) < len(type.params) or (len(nodes) > len(type.params) and is_ended):
            self.error(f"'{name}' takes {counted(len(type.params), 'argument')}, {len(nodes)} given", node)
        values = [self.constant_or_value(one) for one in nodes]
        for at, param in enumerate(type.params):
            values[at] = self.convert(values[at], param.type, f"argument {at + 1} of '{name}'")
        for at in range(len(type.params), len(values)):
            values[at] = self.rvalue(values[at])
            if isinstance(values[at].type, Record):
                self.error(f"argument {at + 1} of '{name}' is a struct, and its parameters are not known", nodes[at], "pass its address")
            if isinstance(values[at].type, (Integer, Enum)):
                values[at] = self.integer(values[at], "argument")
        return tuple(values)

    def call_function(self, node: c_ast.FuncCall, function: FunctionDef) -> Expr:
        if function.is_kernels:
            args = tuple(self.kernel_argument(one, at, function) for at, one in enumerate(self.kernel_arguments(node, function)))
            return CallFunction(function.type.result, self.span(node), function, args)
        if self.target == "bpf" and not function.is_static and not function.is_noinline:
            self.error(f"cannot call non-static function '{function.name}'", node, "make it static inline")
        if function.type.is_open and node.args is not None and (function.body is not None or self.target == "bpf"):
            return self.call_without_prototype(node, function)
        args = self.arguments(node, function.name, function.type)
        self.note_call(function, self.span(node))
        return CallFunction(function.type.result, self.span(node), function, args)

    def kernel_arguments(self, node: c_ast.FuncCall, function: FunctionDef) -> list[c_ast.Node]:
        """The arguments of a call of the kernel's, as many as it takes."""
        nodes, wanted = self.args_of(node), len(function.type.params)
        if len(nodes) != wanted:
            self.error(f"'{function.name}' takes {counted(wanted, 'argument')}, {len(nodes)} given", node)
        if wanted > _MAX_ARGUMENTS:
            self.error(f"'{function.name}' takes {wanted} arguments, a call in BPF has at most {_MAX_ARGUMENTS}", node)
        return nodes

    def kernel_argument(self, node: c_ast.Node, at: int, function: FunctionDef) -> Expr:
        type, what = function.type.params[at].type, f"argument {at + 1} of '{function.name}'"
        if isinstance(type, Pointer) and isinstance(type.target, Function):
            return self.callback(node, what)
        return self.convert(self.constant_or_value(node), type, what)

    def callback(self, node: c_ast.Node, what: str) -> Expr:
        """A hook for the checker above: the address of a function of the text that the kernel calls."""
        self.error(f"{what} must be the name of a static function", node)

    def call_without_prototype(self, node: c_ast.FuncCall, function: FunctionDef) -> Expr:
        """A call, with arguments, of what takes none and says so by (): they are computed and dropped."""
        span = self.span(node)
        self.warn(f"'{function.name}' takes no arguments", span, "deprecated-non-prototype", "write (void) where it is defined")
        self.note_call(function, span)
        call: Expr = CallFunction(function.type.result, span, function, ())
        for one in reversed(self.args_of(node)):
            call = Comma(call.type, span, self.value(one), call)
        return call

    def note_call(self, function: FunctionDef, span: Span) -> None:
        """A hook for the checker above: the function being checked calls function."""


def place_pointer(place: Expr) -> Expr:
    """The pointer stored in place, as a value."""
    return Load(place.type, place.span, place)


def _member_type(record: Record, name: str) -> CType:
    found = record.member(name)
    assert found is not None, name
    return found.type


def _reaches(record: Record, step: str, name: str) -> bool:
    """Whether record.step is, or points at, a record with a member of that name."""
    type = _member_type(record, step)
    target = type.target if isinstance(type, Pointer) else type
    return isinstance(target, Record) and target.member(name) is not None


def _differ_in_sign(a: CType, b: CType) -> bool:
    """Whether a and b are the same integers but for their sign; kernel code mixes pointers to such freely."""
    return isinstance(a, Integer) and isinstance(b, Integer) and a.size == b.size


def _literal_type(value: int, suffix: str, is_decimal: bool) -> Integer | None:
    """The type of an integer constant (C11 6.4.4.1); None if none holds it."""
    signed = [INT, LONG, LLONG]
    unsigned = [UINT, ULONG, ULLONG]
    start = 2 if "ll" in suffix else 1 if "l" in suffix else 0
    if "u" in suffix:
        candidates = unsigned[start:]
    elif is_decimal:
        candidates = [*signed[start:], ULLONG]
    else:
        candidates = [one for pair in zip(signed[start:], unsigned[start:], strict=True) for one in pair]
    for one in candidates:
        bits = one.size * 8 - one.is_signed
        if value < 1 << bits:
            return one
    return None


_METHODS: dict[type, str] = {
    c_ast.Constant: "constant_node", c_ast.ID: "name", c_ast.StructRef: "member", c_ast.ArrayRef: "subscript",
    c_ast.UnaryOp: "unary", c_ast.BinaryOp: "binary", c_ast.Assignment: "assignment", c_ast.TernaryOp: "conditional",
    c_ast.Cast: "cast_node", c_ast.ExprList: "comma", c_ast.Compound: "statement_expression",
    c_ast.CompoundLiteral: "compound_literal", c_ast.GenericSelection: "generic", c_ast.FuncCall: "call",
}
