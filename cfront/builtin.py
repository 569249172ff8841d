"""Functions that need no declaration: the compiler's __builtin_, __sync_ and __atomic_ families, the
memory functions, and the kernel's helpers by name.

Each becomes an Intrinsic, an Atomic or a CallHelper. What BPF has no instruction for is refused here, with
what to write instead: a memset of unknown length, an atomic on a byte."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from typing import Any

from pycparser import c_ast

from cfront.check_init import InitChecker
from cfront.ctype import (
    BOOL,
    CHAR,
    INT,
    INT128,
    LLONG,
    LONG,
    UCHAR,
    UINT,
    UINT128,
    ULLONG,
    ULONG,
    USHORT,
    VOID,
    Array,
    CType,
    Enum,
    Function,
    Integer,
    Param,
    Pointer,
    Record,
    compatible,
    value_type,
)
from cfront.errors import counted
from cfront.fold import fold
from cfront.tree import (
    AddressOf,
    Assign,
    Atomic,
    Binary,
    Block,
    CallHelper,
    Cast,
    Comma,
    Const,
    Declare,
    Deref,
    Expr,
    ExprStmt,
    FunctionAddress,
    FunctionDef,
    If,
    Intrinsic,
    Load,
    MapAddress,
    MemberRef,
    PointerAdd,
    StmtExpr,
    StringAddress,
    VarRef,
)
from cfront.uapi import HELPER_BY_ID, HELPER_IDS, Arg, Helper

__all__ = ["BuiltinChecker"]

_SYNC = re.compile(r"__sync_(?:fetch_and_(add|sub|and|or|xor)|(add|sub|and|or|xor)_and_fetch)$")
_ATOMIC = re.compile(r"__atomic_(?:fetch_(add|sub|and|or|xor)|(add|sub|and|or|xor)_fetch)$")
_BITS: dict[str, tuple[str, Integer, Integer]] = {
    "__builtin_bswap16": ("bswap", USHORT, USHORT), "__builtin_bswap32": ("bswap", UINT, UINT),
    "__builtin_bswap64": ("bswap", ULONG, ULONG),
    "__builtin_ffs": ("ffs", UINT, INT), "__builtin_ffsl": ("ffs", ULONG, INT), "__builtin_ffsll": ("ffs", ULLONG, INT),
    "__builtin_clrsb": ("clrsb", INT, INT), "__builtin_clrsbl": ("clrsb", LONG, INT), "__builtin_clrsbll": ("clrsb", LLONG, INT),
    "__builtin_abs": ("abs", INT, INT), "__builtin_labs": ("abs", LONG, LONG), "__builtin_llabs": ("abs", LLONG, LLONG),
    "__builtin_bitreverse8": ("bitreverse", UCHAR, UCHAR), "__builtin_bitreverse16": ("bitreverse", USHORT, USHORT),
    "__builtin_bitreverse32": ("bitreverse", UINT, UINT), "__builtin_bitreverse64": ("bitreverse", ULLONG, ULLONG),
    "__builtin_clz": ("ctlz", UINT, INT), "__builtin_clzl": ("ctlz", ULONG, INT), "__builtin_clzll": ("ctlz", ULLONG, INT),
    "__builtin_ctz": ("cttz", UINT, INT), "__builtin_ctzl": ("cttz", ULONG, INT), "__builtin_ctzll": ("cttz", ULLONG, INT),
    "__builtin_popcount": ("ctpop", UINT, INT), "__builtin_popcountl": ("ctpop", ULONG, INT),
    "__builtin_popcountll": ("ctpop", ULLONG, INT),
}
_ROTATE = re.compile(r"__builtin_(rotateleft|rotateright)(8|16|32|64)$")
_ROTATED = {"8": UCHAR, "16": USHORT, "32": UINT, "64": ULLONG}
_PARITY = re.compile(r"__builtin_parity(l|ll)?$")
_OVERFLOW = re.compile(r"__builtin_([us]?)(add|sub|mul)(l|ll)?_overflow$")
_SIZED: dict[tuple[str, str], Integer] = {
    ("s", ""): INT, ("s", "l"): LONG, ("s", "ll"): LLONG, ("u", ""): UINT, ("u", "l"): ULONG, ("u", "ll"): ULLONG,
}
# what clang has a name for and BPF no way to do, with what to write instead
_REFUSED = {
    "__builtin_alloca": "declare an array of constant size", "__builtin_frame_address": "there is no frame to walk",
    "__builtin_return_address": "read the address from the context", "__builtin_va_start": "pass an array or a struct",
    "__builtin_va_arg": "pass an array or a struct", "__builtin_longjmp": "return a status", "__builtin_setjmp": "return a status",
    "__builtin_preserve_type_info": "types are the running kernel's: use sizeof",
    "__builtin_preserve_enum_value": "enumerators are the running kernel's: use its name",
    "__builtin_btf_type_id": "types are the running kernel's: name the type",
    "__builtin_strcmp": "compare bytes with __builtin_memcmp", "__builtin_strncmp": "compare bytes with __builtin_memcmp",
    "__builtin_strcpy": "use __builtin_memcpy of a constant length", "__builtin_strchr": "loop over the bytes",
}
_RETURN_TYPES: dict[str, CType] = {
    "u64": ULLONG, "u32": UINT, "s64": LLONG, "long": LONG, "int": INT, "void": VOID, "void *": Pointer(VOID),
    "__u64": ULLONG, "__s64": LLONG,
}
_MAX_HELPER_ARGS = 5
# a copy or fill of more bytes than this becomes a loop
MAX_MEMORY_BYTES = 1 << 24


class BuiltinChecker(InitChecker):
    """Undeclared functions with a meaning."""

    def known_functions(self) -> list[str]:
        own = [*(f"bpf_{name}" for name in HELPER_IDS), *_OWN_NAMES] if self.target == "bpf" else []
        return [*own, *_BUILTINS, *_BITS]

    def builtin_call(self, name: str, node: c_ast.FuncCall) -> Expr | None:
        library = name.removeprefix("__builtin_")
        if self.target == "host" and library != name and library in _LIBRARY:
            return self.libc_call(library, node)
        method = _BUILTINS.get(name)
        if method is not None:
            return method(self, node)
        if name in _BITS:
            return self.bit_operation(name, node)
        if name in _REFUSED:
            self.error(f"'{name}' is not supported", node, _REFUSED[name])
        match = _OVERFLOW.match(name)
        if match:
            return self.overflow(node, *match.groups(""))
        match = _PARITY.match(name)
        if match:
            return self.parity(node, _SIZED["u", match.group(1) or ""])
        match = _ROTATE.match(name)
        if match:
            return self.rotate(node, match.group(1), _ROTATED[match.group(2)])
        if name.startswith(("__sync_", "__atomic_")):
            return self.atomic_call(name, node)
        if name.startswith("bpf_") and name[4:] in HELPER_IDS and self.target == "bpf":
            return self.helper_call(name, node)
        return None

    def libc_call(self, name: str, node: c_ast.FuncCall) -> Expr:
        """A function of C's library by the compiler's name for it, whatever the text calls by its own."""
        nodes = self.args_of(node)
        if name == "strlen" and len(nodes) == 1 and isinstance(nodes[0], c_ast.Constant) and nodes[0].type == "string":
            return self.string_length(node)
        known = self.scopes[0].get(name, self.libc.get(name))
        if not isinstance(known, FunctionDef):
            types = [_LETTERS[one] for one in _LIBRARY[name].removesuffix(".")]
            type = Function(types[0], tuple(Param("", one) for one in types[1:]), _LIBRARY[name].endswith("."))
            known = self.libc[name] = FunctionDef(name, type, self.span(node), False)
        return self.call_function(node, known)

    def classify_type(self, node: c_ast.FuncCall) -> Expr:
        type = self.type_of_expression(self.exactly(node, 1)[0])
        names = {Integer: 4 if type is BOOL else 1, Enum: 1, Record: 13 if isinstance(type, Record) and type.tag == "union" else 12}
        return Const(INT, self.span(node), 0 if type is VOID else names.get(builtins.type(type), 5))

    def exactly(self, node: c_ast.FuncCall, count: int) -> list[c_ast.Node]:
        nodes = self.args_of(node)
        if len(nodes) != count:
            self.error(f"'{node.name.name}' takes {counted(count, 'argument')}, {len(nodes)} given", node)
        return nodes

    # -- helpers

    def helper_call(self, name: str, node: c_ast.FuncCall) -> Expr:
        helper = HELPER_BY_ID[HELPER_IDS[name[4:]]]
        nodes = self.args_of(node)
        needed = len(helper.args)
        most = _MAX_HELPER_ARGS if "..." in helper.prototype else needed
        if not needed <= len(nodes) <= most:
            wanted = counted(needed, "argument") if needed == most else f"{needed} to {most} arguments"
            self.error(f"'{name}' takes {wanted}, {len(nodes)} given", node,
                       f"its prototype is {helper.prototype.replace('(*)', name)}")
        args = tuple(self.helper_argument(helper, at, one) for at, one in enumerate(nodes))
        return CallHelper(self.helper_result(helper), self.span(node), helper.id, args)

    def helper_argument(self, helper: Helper, at: int, node: c_ast.Node) -> Expr:
        if at >= len(helper.args):  # of a variadic one
            return self.to_u64(self.value(node))
        if "callback_fn" in helper.prototype.split(",")[at]:
            return self.callback(node, f"argument {at + 1} of 'bpf_{helper.name}'")
        expr = self.value(node)
        if helper.args[at] is Arg.CONST_MAP_PTR and not isinstance(expr, MapAddress):
            inner = expr.operand if isinstance(expr, Cast) else expr
            if isinstance(inner, MapAddress):
                return inner
        return self.to_u64(expr)

    def callback(self, node: Any, what: str) -> Expr:
        """The address of a static function that a helper calls."""
        given = node
        while isinstance(given, c_ast.Cast) or (isinstance(given, c_ast.UnaryOp) and given.op == "&"):
            given = given.expr
        function = self.lookup(given.name) if isinstance(given, c_ast.ID) else None
        if not isinstance(function, FunctionDef):
            self.error(f"{what} must be the name of a static function", node)
        name, type = function.name, function.type
        if not function.is_static or function.section:
            self.error(f"{what}: '{name}' is not static", node, f"write static int {name}(...)")
        if not isinstance(type.result, (Integer, Enum)) or any(isinstance(one.type, Record) for one in type.params):
            self.error(f"{what}: '{name}' must take pointers and integers and return an integer", node)
        function.is_noinline = True
        self.note_call(function, self.span(node))
        return FunctionAddress(Pointer(type), self.span(node), function)

    def helper_result(self, helper: Helper) -> CType:
        text = helper.prototype.split("(*)")[0].strip()
        known = _RETURN_TYPES.get(text)
        if known is not None:
            return known
        match = re.fullmatch(r"struct (\w+) \*", text)
        if match:
            return Pointer(self.lookup_tag("struct", match.group(1)) or Record("struct", match.group(1)))
        return Pointer(VOID) if text.endswith("*") else LONG

    # -- memory

    def memory_length(self, node: c_ast.Node, name: str) -> Expr:
        length = self.cast(self.integer(self.value(node), name), ULONG, self.span(node))
        if self.target == "bpf":
            value = fold(length)
            if value is None and name.endswith("memmove"):
                self.error(f"'{name}' of variable length is not supported in BPF", node,
                           "give a constant length, or use __builtin_memcpy if the two do not overlap")
            if value is None:
                return length
            if value > MAX_MEMORY_BYTES:
                self.error(f"'{name}' of {value} bytes is too long", node)
            return Const(ULONG, self.span(node), value)
        return length

    def pointer(self, node: c_ast.Node, name: str) -> Expr:
        expr = self.value(node)
        if not isinstance(expr.type, Pointer):
            return self.convert(expr, Pointer(VOID), f"argument of '{name}'")
        return expr

    def copy_memory(self, node: c_ast.FuncCall) -> Expr:
        name = node.name.name
        to, source, length = self.exactly(node, 3)
        target = self.pointer(to, name)
        word = "memmove" if name.endswith("memmove") else "memcpy"
        return Intrinsic(target.type, self.span(node), word, (target, self.pointer(source, name), self.memory_length(length, name)))

    def fill_memory(self, node: c_ast.FuncCall) -> Expr:
        name = node.name.name
        to, fill, length = self.exactly(node, 3)
        target = self.pointer(to, name)
        byte = self.cast(self.integer(self.value(fill), name), _BYTE, self.span(fill))
        return Intrinsic(target.type, self.span(node), "memset", (target, byte, self.memory_length(length, name)))

    def compare_memory(self, node: c_ast.FuncCall) -> Expr:
        name = node.name.name
        left, right, length = self.exactly(node, 3)
        args = (self.pointer(left, name), self.pointer(right, name), self.memory_length(length, name))
        return Intrinsic(INT, self.span(node), "memcmp", args)

    # -- the compiler's own

    def expect(self, node: c_ast.FuncCall) -> Expr:
        nodes = self.args_of(node)
        if len(nodes) < 2:
            self.exactly(node, 2)
        values = [self.value(one) for one in nodes[:2]]
        for at, one in enumerate(values):
            if not isinstance(one.type, (Integer, Enum)):
                return values[0]  # a pointer, as in likely(p): worth what it is
            values[at] = self.cast(self.integer(one, node.name.name), LONG, one.span)
        value, likely = values
        if fold(likely) is None:
            return Comma(LONG, likely.span, likely, value)
        if fold(value) is not None:
            return value
        return Intrinsic(LONG, self.span(node), "expect", (value, likely))

    def constant_p(self, node: c_ast.FuncCall) -> Expr:
        self.unevaluated += 1
        try:
            value = self.value(self.exactly(node, 1)[0])
        finally:
            self.unevaluated -= 1
        return Const(INT, self.span(node), int(fold(value) is not None or isinstance(value, StringAddress)))

    def overflow(self, node: c_ast.FuncCall, sign: str, op: str, size: str) -> Expr:
        """Both operands and the result in a type that holds the values of all three."""
        name = node.name.name
        one, two, to = self.exactly(node, 3)
        values = [self.value(one), self.value(two)]
        pointer = self.value(to)
        result = pointer.type.target if isinstance(pointer.type, Pointer) else None
        if sign or size:
            own = _SIZED[sign, size]
            values = [self.convert(value, own, f"argument of '{name}'") for value in values]
        types = [value_type(one) for one in (*(value.type for value in values), result or VOID)]
        integers = [one for one in types if isinstance(one, Integer) and one != BOOL]
        if len(integers) < 3:
            self.error(f"'{name}' takes two integers and a pointer to an integer", node)
        wide = self.overflow_type(op, integers, node)
        args = tuple(self.cast(value, wide, value.span) for value in values)
        return Intrinsic(BOOL, self.span(node), f"{op}_overflow", (*args, pointer))

    def overflow_type(self, op: str, types: list[Integer], node: c_ast.FuncCall) -> Integer:
        """What the two operands are worked on in, for a result of the third type."""
        operands, result = types[:2], types[2]
        if any(one.size == 16 for one in operands):
            if self.target == "bpf" or any(one.is_signed != types[0].is_signed for one in types):
                self.error(f"'{node.name.name}' of 128-bit integers is not supported{'' if self.target == 'host' else ' in BPF'}"
                           f"{' if their signs differ' if self.target == 'host' else ''}", node, "use 64-bit operands")
            return INT128 if types[0].is_signed else UINT128
        if result.size == 16:
            return UINT128 if op == "mul" and not any(one.is_signed for one in operands) else INT128
        wide = _holder(types)
        if op == "mul" and wide.size == 8 and self.target == "bpf":  # which has no flag, nor half of a product
            return INT128 if wide.is_signed else UINT128
        return wide

    def parity(self, node: c_ast.FuncCall, type: Integer) -> Expr:
        span = self.span(node)
        operand = self.cast(self.integer(self.value(self.exactly(node, 1)[0]), node.name.name), type, span)
        count = Intrinsic(type, span, "ctpop", (operand,))
        return self.cast(Binary(type, span, "&", count, Const(type, span, 1)), INT, span)

    def rotate(self, node: c_ast.FuncCall, word: str, type: Integer) -> Expr:
        span = self.span(node)
        value, count = (self.cast(self.integer(self.value(one), node.name.name), type, span) for one in self.exactly(node, 2))
        return Intrinsic(type, span, word, (value, count))

    def string_length(self, node: c_ast.FuncCall) -> Expr:
        text = self.value(self.exactly(node, 1)[0])
        if not isinstance(text, StringAddress):
            self.error("'__builtin_strlen' of anything but a literal is not supported", node,
                       "bpf_probe_read_kernel_str() returns the length it copied")
        return Const(ULONG, self.span(node), text.content.index(0))

    def object_size(self, node: c_ast.FuncCall) -> Expr:
        """What is left of the variable that the pointer points into; -1 (0 for a lower bound) if that is not known."""
        pointer, kind = self.exactly(node, 2)
        self.unevaluated += 1
        try:
            left = _room(self.value(pointer))
        finally:
            self.unevaluated -= 1
        unknown = 0 if self.constant(kind, "the second argument") & 2 else (1 << 64) - 1
        return Const(ULONG, self.span(node), unknown if left is None else left)

    def assume_aligned(self, node: c_ast.FuncCall) -> Expr:
        nodes = self.args_of(node)
        if not 2 <= len(nodes) <= 3:
            self.exactly(node, 2)
        return self.cast(self.pointer(nodes[0], node.name.name), Pointer(VOID), self.span(node))

    def assume(self, node: c_ast.FuncCall) -> Expr:
        self.unevaluated += 1
        try:
            self.condition(self.exactly(node, 1)[0])
        finally:
            self.unevaluated -= 1
        return Cast(VOID, self.span(node), Const(INT, self.span(node), 0))

    def prefetch(self, node: c_ast.FuncCall) -> Expr:
        nodes = self.args_of(node)
        if not 1 <= len(nodes) <= 3:
            self.exactly(node, 1)
        return Cast(VOID, self.span(node), self.value(nodes[0]))

    def field_info(self, node: c_ast.FuncCall) -> Expr:
        """What CO-RE asks of a member: its record is the running kernel's, so the answer is known."""
        what, kind_node = self.exactly(node, 2)
        self.unevaluated += 1
        try:
            place = self.expression(what)
        finally:
            self.unevaluated -= 1
        kind = self.constant(kind_node, "the kind")
        if not isinstance(place, MemberRef) or not 0 <= kind <= 5:
            self.error("'__builtin_preserve_field_info' takes a member and a kind from 0 to 5", node)
        bits, offset, base = place.bit_size, place.offset, place.base
        while isinstance(base, MemberRef):
            offset += base.offset
            base = base.base
        type = value_type(place.type)
        size = type.size * 8
        answers = (offset, place.type.size, 1, int(isinstance(type, Integer) and type.is_signed),
                   64 - (size if bits is None else place.bit_offset + bits), 64 - (size if bits is None else bits))
        return Const(UINT, self.span(node), max(0, answers[kind]))

    def zero_memory(self, node: c_ast.FuncCall) -> Expr:
        to, length = self.exactly(node, 2)
        name, span = node.name.name, self.span(node)
        args = (self.pointer(to, name), Const(_BYTE, span, 0), self.memory_length(length, name))
        return Cast(VOID, span, Intrinsic(args[0].type, span, "memset", args))

    def choose(self, node: c_ast.FuncCall) -> Expr:
        condition, yes, no = self.exactly(node, 3)
        return self.expression(yes if self.constant(condition, "the first argument") else no)

    def same_type(self, node: c_ast.FuncCall) -> Expr:
        one, two = (self.type_of(arg) for arg in self.exactly(node, 2))
        return Const(INT, self.span(node), int(one == two or (isinstance(one, Record) and compatible(one, two))))

    def transparent(self, node: c_ast.FuncCall) -> Expr:
        return self.expression(self.exactly(node, 1)[0])

    def unreachable(self, node: c_ast.FuncCall) -> Expr:
        return Intrinsic(VOID, self.span(node), "unreachable", ())

    def offset_of(self, node: c_ast.FuncCall) -> Expr:
        type_node, designator = self.exactly(node, 2)
        type = self.type_of(type_node)
        base = Deref(type, self.span(node), Const(Pointer(type), self.span(node), 0))
        place = self.designated_place(base, designator)
        value = fold(AddressOf(Pointer(place.type), self.span(node), place))
        assert value is not None, "every subscript was a constant"
        return Const(ULONG, self.span(node), value)

    def designated_place(self, base: Expr, node: Any) -> Expr:
        if isinstance(node, c_ast.ID):
            if not isinstance(base.type, Record):
                self.error(f"'{base.type}' has no members", node)
            return self.member_of(base, base.type, node.name, node)
        if isinstance(node, c_ast.StructRef):
            return self.designated_place(self.designated_place(base, node.name), node.field)
        place = self.designated_place(base, node.name)
        if not isinstance(place.type, Array):
            self.error(f"'{place.type}' cannot be subscripted", node)
        index = self.constant(node.subscript, "the subscript")
        pointer = AddressOf(Pointer(place.type.element), self.span(node), place)
        at = PointerAdd(pointer.type, pointer.span, pointer, Const(LONG, pointer.span, index), place.type.element.size)
        return Deref(place.type.element, pointer.span, at)

    def bit_operation(self, name: str, node: c_ast.FuncCall) -> Expr:
        word, operand_type, result_type = _BITS[name]
        span = self.span(node)
        operand = self.cast(self.integer(self.value(self.exactly(node, 1)[0]), name), operand_type, span)
        value = Intrinsic(operand_type, span, word, (operand,))
        known = fold(operand)
        if known is not None and word == "bswap":
            return Const(result_type, span, int.from_bytes(known.to_bytes(operand_type.size, "little"), "big"))
        return self.cast(value, result_type, span)

    # -- atomics

    def atomic_call(self, name: str, node: c_ast.FuncCall) -> Expr | None:
        span = self.span(node)
        if name in ("__sync_synchronize", "__atomic_thread_fence"):
            return Intrinsic(VOID, span, "fence", ())
        if name == "__atomic_signal_fence":
            return Intrinsic(VOID, span, "barrier", ())
        nodes = self.args_of(node)
        if "nand" in name:
            self.error(f"'{name}' has no instruction", node, "loop over __sync_val_compare_and_swap")
        if name in ("__atomic_always_lock_free", "__atomic_is_lock_free"):
            return Const(INT, span, int(self.constant(self.exactly(node, 2)[0], "a size") in (1, 2, 4, 8)))
        if name in ("__atomic_load", "__atomic_store", "__atomic_exchange", "__atomic_compare_exchange",
                    "__atomic_compare_exchange_n"):
            return self.atomic_by_address(name, node)
        if name == "__sync_lock_release":
            pointer = self.atomic_pointer(nodes, node)
            target = pointer.type.target  # type: ignore[attr-defined]
            return Intrinsic(VOID, span, "atomic_store", (pointer, Const(value_type(target), span, 0)))
        match = _SYNC.match(name) or _ATOMIC.match(name)
        if match:
            old, new = match.groups()
            return self.atomic(nodes, old or new, 1, new is not None, node)
        if name in ("__sync_lock_test_and_set", "__atomic_exchange_n"):
            return self.atomic(nodes, "xchg", 1, False, node)
        if name == "__sync_val_compare_and_swap":
            return self.atomic(nodes, "cmpxchg", 2, False, node)
        if name == "__sync_bool_compare_and_swap":
            old = self.atomic(nodes, "cmpxchg", 2, False, node)
            expected = self.cast(self.value(nodes[1]), old.type, span)
            return Binary(INT, span, "==", old, expected)
        if name == "__atomic_load_n":
            pointer = self.atomic_pointer(nodes, node)
            return Intrinsic(value_type(pointer.type.target), span, "atomic_load", (pointer,))  # type: ignore[attr-defined]
        if name == "__atomic_store_n":
            pointer = self.atomic_pointer(nodes, node)
            value = self.convert(self.value(nodes[1]), pointer.type.target, "the value")  # type: ignore[attr-defined]
            return Intrinsic(VOID, span, "atomic_store", (pointer, value))
        return None

    def atomic_by_address(self, name: str, node: c_ast.FuncCall) -> Expr:
        """The forms of __atomic_ that take operands, or give results, by address."""
        counts = {"__atomic_load": 3, "__atomic_store": 3, "__atomic_exchange": 4}
        nodes, span = self.exactly(node, counts.get(name, 6)), self.span(node)
        pointer = self.atomic_pointer(nodes, node)
        assert isinstance(pointer.type, Pointer)
        target = value_type(pointer.type.target)

        def operand(at: int) -> Expr:
            given = self.convert(self.value(nodes[at]), Pointer(target), f"argument {at + 1} of '{name}'")
            return Deref(target, span, given)

        def load(place: Expr) -> Expr:
            return Load(target, span, place)

        if name == "__atomic_load":
            loaded = Intrinsic(target, span, "atomic_load", (pointer,))
            return Cast(VOID, span, Assign(target, span, operand(1), loaded))
        if name == "__atomic_store":
            return Intrinsic(VOID, span, "atomic_store", (pointer, load(operand(1))))
        type = ULONG if isinstance(target, Pointer) else target
        if name == "__atomic_exchange":
            old: Expr = Atomic(type, span, "xchg", pointer, (self.cast(load(operand(1)), type, span),))
            return Cast(VOID, span, Assign(target, span, operand(2), self.cast(old, target, span)))
        wanted = self.new_local("", Pointer(target), span)
        before, found = self.new_local("", type, span), self.new_local("", type, span)
        desired = load(operand(2)) if name == "__atomic_compare_exchange" else self.convert(
            self.value(nodes[2]), target, f"argument 3 of '{name}'")
        place = Deref(target, span, Load(wanted.type, span, VarRef(wanted.type, span, wanted)))
        one, two = (VarRef(type, span, var) for var in (before, found))
        expected = self.convert(self.value(nodes[1]), wanted.type, f"argument 2 of '{name}'")
        swap = Atomic(type, span, "cmpxchg", pointer, (Load(type, span, one), self.cast(desired, type, span)))
        is_same = Binary(INT, span, "==", Load(type, span, one), Load(type, span, two))
        body = (
            Declare(span, wanted, (Assign(wanted.type, span, VarRef(wanted.type, span, wanted), expected),)),
            Declare(span, before, (Assign(type, span, one, self.cast(load(place), type, span)),)),
            Declare(span, found, (Assign(type, span, two, swap),)),
            If(span, is_same, Block(span, ()),
               ExprStmt(span, Assign(target, span, place, self.cast(Load(type, span, two), target, span)))),
        )
        return StmtExpr(BOOL, span, body, self.cast(is_same, BOOL, span))

    def atomic_pointer(self, nodes: list[c_ast.Node], node: c_ast.FuncCall) -> Expr:
        if not nodes:
            self.error(f"'{node.name.name}' needs a pointer", node)
        pointer = self.value(nodes[0])
        target = pointer.type.target if isinstance(pointer.type, Pointer) else None
        if not isinstance(target, (Integer, Enum, Pointer)):
            self.error(f"'{node.name.name}' needs a pointer to an integer, this is '{pointer.type}'", node)
        if self.target == "bpf" and target.size not in (4, 8):
            self.error(f"atomic operations on {counted(target.size, 'byte')} are not supported in BPF", node, "use a 4- or 8-byte integer")
        return pointer

    def atomic(self, nodes: list[c_ast.Node], op: str, count: int, is_new: bool, node: c_ast.FuncCall) -> Expr:
        pointer = self.atomic_pointer(nodes, node)
        if len(nodes) < count + 1:
            self.error(f"'{node.name.name}' takes {counted(count + 1, 'argument')}, {len(nodes)} given", node)
        assert isinstance(pointer.type, Pointer)
        target = value_type(pointer.type.target)
        # a pointer is exchanged as the number that it is
        type = ULONG if isinstance(target, Pointer) else target
        values = tuple(self.cast(self.convert(self.value(one), target, f"argument {at} of '{node.name.name}'"), type, self.span(one))
                       for at, one in enumerate(nodes[1 : count + 1], 2))
        return self.cast(Atomic(type, self.span(node), op, pointer, values, is_new), target, self.span(node))

    def locked_add(self, node: c_ast.FuncCall) -> Expr:
        nodes = self.exactly(node, 2)
        return Cast(VOID, self.span(node), self.atomic(nodes, "add", 1, False, node))


def _holder(types: list[Integer]) -> Integer:
    """An integer type that holds the values of all types."""
    is_signed = any(one.is_signed for one in types)
    bits = max(one.size * 8 + (is_signed and not one.is_signed) for one in types)
    for type in (INT, LONG, INT128) if is_signed else (UINT, ULONG):
        if bits <= type.size * 8:
            return type
    return UINT128


def _room(pointer: Expr) -> int | None:
    """The bytes from where pointer points up to the end of the variable; None if that is not known."""
    if isinstance(pointer, Cast):
        return _room(pointer.operand)
    if isinstance(pointer, PointerAdd):
        room, index = _room(pointer.pointer), fold(pointer.index)
        return None if room is None or index is None else max(0, room - index * pointer.scale)
    if isinstance(pointer, StringAddress):
        return len(pointer.content)
    if not isinstance(pointer, AddressOf):
        return None
    place, offset = pointer.place, 0
    while isinstance(place, MemberRef):
        offset += place.offset
        place = place.base
    return place.type.size - offset if isinstance(place, VarRef) else None


# result, parameters, and a dot for more: v void, i int, l long, z size_t, p void *, s char *
_LETTERS: dict[str, CType] = {"v": VOID, "i": INT, "l": LONG, "z": ULONG, "p": Pointer(VOID), "s": Pointer(CHAR)}
_LIBRARY = {
    "abort": "v", "exit": "vi", "printf": "is.", "sprintf": "iss.", "snprintf": "iszs.", "puts": "is", "putchar": "ii",
    "malloc": "pz", "calloc": "pzz", "realloc": "ppz", "free": "vp", "strlen": "zs", "strnlen": "zsz", "strcpy": "sss",
    "strncpy": "sssz", "stpcpy": "sss", "strcat": "sss", "strncat": "sssz", "strcmp": "iss", "strncmp": "issz", "strchr": "ssi",
    "strrchr": "ssi", "strstr": "sss", "strspn": "zss", "strcspn": "zss", "strpbrk": "sss", "strdup": "ss", "strndup": "ssz",
    "memchr": "ppiz", "mempcpy": "pppz", "index": "ssi", "rindex": "ssi", "bcmp": "ippz", "bcopy": "vppz", "isdigit": "ii",
    "isprint": "ii", "isspace": "ii", "isalpha": "ii", "isalnum": "ii", "isupper": "ii", "islower": "ii", "toupper": "ii",
    "tolower": "ii",
}
_BYTE = Integer("unsigned char", 1, False, 1)
_OWN_NAMES = ("bpf_trace_printk", "bpf_log2", "bpf_log2l", "bpf_num_cpus")
_BUILTINS: dict[str, Callable[[BuiltinChecker, c_ast.FuncCall], Expr]] = {
    "__builtin_memcpy": BuiltinChecker.copy_memory, "memcpy": BuiltinChecker.copy_memory,
    "__builtin_memmove": BuiltinChecker.copy_memory, "memmove": BuiltinChecker.copy_memory,
    "__builtin_memset": BuiltinChecker.fill_memory, "memset": BuiltinChecker.fill_memory,
    "__builtin_memcmp": BuiltinChecker.compare_memory, "memcmp": BuiltinChecker.compare_memory,
    "__builtin_expect": BuiltinChecker.expect, "__builtin_constant_p": BuiltinChecker.constant_p,
    "__builtin_choose_expr": BuiltinChecker.choose, "__builtin_types_compatible_p": BuiltinChecker.same_type,
    "__builtin_preserve_access_index": BuiltinChecker.transparent, "__builtin_unreachable": BuiltinChecker.unreachable,
    "__builtin_trap": BuiltinChecker.unreachable, "__builtin_offsetof": BuiltinChecker.offset_of,
    "lock_xadd": BuiltinChecker.locked_add, "__builtin_expect_with_probability": BuiltinChecker.expect,
    "__builtin_strlen": BuiltinChecker.string_length, "__builtin_object_size": BuiltinChecker.object_size,
    "__builtin_dynamic_object_size": BuiltinChecker.object_size, "__builtin_assume_aligned": BuiltinChecker.assume_aligned,
    "__builtin_classify_type": BuiltinChecker.classify_type, "__builtin_assume": BuiltinChecker.assume, "__builtin_prefetch": BuiltinChecker.prefetch,
    "__builtin_preserve_field_info": BuiltinChecker.field_info, "__builtin_memcpy_inline": BuiltinChecker.copy_memory,
    "__builtin_memset_inline": BuiltinChecker.fill_memory, "__builtin_bzero": BuiltinChecker.zero_memory,
}
