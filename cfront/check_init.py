"""Initialisers: which bytes of an object each item of a brace list initialises (C11 6.7.9).

leaves() walks a type and its initialiser together, brace elision and designators included, and gives one
Leaf for each scalar, string or record that is set. Locals become assignments behind a Zero; globals become
bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pycparser import c_ast
from pycparserext.ext_c_parser import RangeExpression

from cfront.check_expr import PART, ExprChecker
from cfront.ctype import CHAR, Array, CType, Enum, Integer, Pointer, Record, compatible, value_type
from cfront.fold import fold
from cfront.source import Span
from cfront.tree import (
    AddressOf,
    Assign,
    Cast,
    CopyRecord,
    Deref,
    Expr,
    FunctionAddress,
    FunctionDef,
    GlobalVar,
    LocalVar,
    MemberRef,
    PointerAdd,
    StringAddress,
    VarRef,
    Zero,
)

__all__ = ["InitChecker"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One initialised part, offset bytes into the object. node: its expression; None where a brace list begins that a
    designator names, which drops what was said of the part before."""

    offset: int
    type: CType
    node: Any
    bit_offset: int = 0
    bit_size: int | None = None

    @property
    def end(self) -> int:
        """Where the part ends, in bytes from the start of the object; an array without a length has none."""
        return self.offset + (self.type.size if self.bit_size is None else (self.bit_offset + self.bit_size + 7) // 8)


def _is_string(node: Any) -> bool:
    return isinstance(node, c_ast.Constant) and node.type == "string"


def _is_char_array(type: CType) -> bool:
    return isinstance(type, Array) and isinstance(type.element, Integer) and type.element.size == 1


class InitChecker(ExprChecker):
    """Initialisers."""

    def complete_array(self, type: CType, node: Any) -> CType:
        """type with the length that its initialiser decides, if it had none."""
        if not isinstance(type, Array) or type.count is not None or node is None:
            return type
        if _is_string(node):
            return Array(type.element, len(self.string_bytes(node)) + 1)
        if not isinstance(node, c_ast.InitList):
            self.error("an array needs a brace-enclosed initialiser", node)
        size = type.element.size or 1
        end = max((one.offset // size + 1 for one in self.leaves(type, node)), default=0)
        return Array(type.element, end)

    def leaves(self, type: CType, node: Any, offset: int = 0) -> Iterator[Leaf]:
        """The initialised parts of an object of this type at offset, in order."""
        if _is_char_array(type):
            inner = node.exprs[0] if isinstance(node, c_ast.InitList) and len(node.exprs) == 1 else node
            if _is_string(inner):
                yield Leaf(offset, type, inner)
                return
        if not isinstance(node, c_ast.InitList):
            yield Leaf(offset, type, node)
        elif isinstance(type, (Array, Record)):
            items = list(reversed(node.exprs or []))
            yield from self.fill(type, offset, items, True)
        else:
            if not node.exprs:
                self.error(f"'{type}' takes one initialiser", node, "write {0}")
            if len(node.exprs) > 1:
                self.too_many(type, node.exprs[1])
            yield from self.leaves(type, node.exprs[0], offset)

    def too_many(self, type: CType, node: Any) -> None:
        """Warns of an initialiser that is dropped, and those behind it."""
        self.warn(f"too many initialisers for '{type}'", self.span(node), "excess-initializers")

    def fill(self, type: CType, offset: int, items: list[Any], is_braced: bool, is_named: bool = False) -> Iterator[Leaf]:
        """Takes items (reversed) off for the parts of an aggregate; without braces, only as many as it has. is_named: the
        first of them says which part it is for, as the rest of a designator."""
        if isinstance(type, Array):
            yield from self.fill_array(type, offset, items, is_braced, is_named)
            return
        assert isinstance(type, Record)
        fields = [one for one in type.fields or () if one.name or isinstance(one.type, Record)]
        if type.fields is None:
            self.error(f"'{type}' is not defined", items[-1] if items else None, self.why_undefined(type))
        at = 0
        while items:
            node = items[-1]
            if isinstance(node, c_ast.NamedInitializer):
                if not is_braced and not is_named:
                    return
                items.pop()
                is_named = False
                at = yield from self.designated(type, offset, node, fields, items)
                continue
            if at >= len(fields) or (type.tag == "union" and at > 0):
                if not is_braced:
                    return
                self.too_many(type, items.pop())
                continue
            one = fields[at]
            if one.bit_size is None:
                yield from self.element(one.type, offset + one.offset, items)
            else:
                yield Leaf(offset + one.offset, one.type, items.pop(), one.bit_offset, one.bit_size)
            at += 1

    def fill_array(self, type: Array, offset: int, items: list[Any], is_braced: bool, is_named: bool) -> Iterator[Leaf]:
        at = 0
        while items:
            node = items[-1]
            if isinstance(node, c_ast.NamedInitializer):
                if not is_braced and not is_named:
                    return
                items.pop()
                is_named = False
                at = yield from self.designated_element(type, offset, node, items)
                continue
            if type.count is not None and at >= type.count:
                if not is_braced:
                    return
                self.too_many(type, items.pop())
                continue
            yield from self.element(type.element, offset + at * type.element.size, items)
            at += 1

    def element(self, type: CType, offset: int, items: list[Any]) -> Iterator[Leaf]:
        node = items[-1]
        aggregate = isinstance(type, (Array, Record))
        if not aggregate or isinstance(node, c_ast.InitList) or (_is_char_array(type) and _is_string(node)):
            items.pop()
            yield from self.leaves(type, node, offset)
        elif isinstance(type, Record) and compatible(self.type_of_expression(node), type):
            items.pop()
            yield Leaf(offset, type, node)
        else:
            yield from self.fill(type, offset, items, False)

    def designated(self, type: Record, offset: int, node: c_ast.NamedInitializer, fields: list[Any], items: list[Any]) -> Any:
        """The part that .name... names, and what follows in it; gives the index of the field behind it."""
        first, rest = node.name[0], node.name[1:]
        if not isinstance(first, c_ast.ID):
            self.error(f"'{type}' is not an array", first, "write .NAME = ...")
        if type.member(first.name) is None:
            self.error(f"no member named '{first.name}' in '{type}'", first, self.did_you_mean(first.name, type.member_names()))
        at, found = next((at, one) for at, one in enumerate(fields) if one.name == first.name or (not one.name and one.type.member(first.name)))
        if not found.name:
            yield from self.named_part(found.type, offset + found.offset, node.name, node, items)
        elif rest:
            yield from self.named_part(found.type, offset + found.offset, rest, node, items)
        elif found.bit_size is None:
            items.append(node.expr)
            yield from self.dropped(found.type, offset + found.offset, node)
            yield from self.element(found.type, offset + found.offset, items)
        else:
            yield Leaf(offset + found.offset, found.type, node.expr, found.bit_offset, found.bit_size)
        return at + 1

    def designated_element(self, type: Array, offset: int, node: c_ast.NamedInitializer, items: list[Any]) -> Any:
        """The elements that [index]... names, and what follows in the last; gives the index behind it."""
        first, rest = node.name[0], node.name[1:]
        if isinstance(first, c_ast.ID) and self.lookup(first.name) is None:
            self.error(f"'{type}' has no member '{first.name}'", first, "write [INDEX] = ...")
        if isinstance(first, RangeExpression):
            low, high = self.constant(first.first, "an index"), self.constant(first.last, "an index")
        else:
            low = high = self.constant(first, "an index")
        if low < 0 or high < low or (type.count is not None and high >= type.count) or high - low > 1 << 16:
            self.error(f"index {low if low == high else f'{low} ... {high}'} is outside '{type}'", node.expr)
        for at in range(low, high + 1):
            following = items if at == high else []
            place = offset + at * type.element.size
            if rest:
                yield from self.named_part(type.element, place, rest, node, following)
            else:
                following.append(node.expr)
                yield from self.dropped(type.element, place, node)
                yield from self.element(type.element, place, following)
        return high + 1

    @staticmethod
    def dropped(type: CType, offset: int, node: c_ast.NamedInitializer) -> Iterator[Leaf]:
        if isinstance(type, (Array, Record)) and isinstance(node.expr, c_ast.InitList):
            yield Leaf(offset, type, None)

    def named_part(self, type: CType, offset: int, names: list[Any], node: c_ast.NamedInitializer, items: list[Any]) -> Iterator[Leaf]:
        """The part of an aggregate that names designate, and what follows of items in it."""
        if not isinstance(type, (Array, Record)):
            self.error(f"'{type}' has no parts to designate", names[0])
        items.append(c_ast.NamedInitializer(names, node.expr, node.coord))
        yield from self.fill(type, offset, items, False, True)

    # -- locals

    def initialise_local(self, var: LocalVar, node: Any) -> list[Expr]:
        """The expressions that initialise var; sets its array length if the initialiser decides it."""
        var.type = self.complete_array(var.type, node)
        base = VarRef(var.type, var.span, var)
        exprs: list[Expr] = []
        is_list = isinstance(node, c_ast.InitList) and isinstance(var.type, (Array, Record))
        if is_list or (_is_string(node) and isinstance(var.type, Array)):
            exprs.append(Zero(var.type, self.span(node), base))
        elif isinstance(var.type, Array):
            self.error(f"'{var.type}' needs a brace-enclosed initialiser", node)
        end = 0
        for one in self.leaves(var.type, node):
            if one.node is None:
                if one.offset < end:
                    exprs.append(Zero(one.type, var.span, MemberRef(one.type, var.span, base, one.offset)))
                continue
            end = max(end, one.end)
            if one.end > var.type.size or (isinstance(one.type, Array) and one.type.count is None):
                self.error("a flexible array of a local variable cannot be initialised", one.node, "give it a length, or fill a map's value")
            exprs.append(self.store_leaf(base, one))
        return exprs

    def store_leaf(self, base: VarRef, leaf: Leaf) -> Expr:
        span = self.span(leaf.node)
        whole = leaf.offset == 0 and leaf.type == base.type
        place: Expr = base if whole else MemberRef(leaf.type, span, base, leaf.offset, leaf.bit_offset, leaf.bit_size)
        if isinstance(leaf.type, Array):
            return self.store_string(place, leaf)
        value = self.convert(self.constant_or_value(leaf.node), leaf.type, "initialiser" if whole else PART, span, leaf.bit_size)
        if isinstance(leaf.type, Record):
            return CopyRecord(leaf.type, span, place, value)
        return Assign(value_type(leaf.type), span, place, value)

    def store_string(self, place: Expr, leaf: Leaf) -> Expr:
        if not _is_string(leaf.node):
            self.error(f"'{leaf.type}' needs a brace-enclosed initialiser", leaf.node)
        assert isinstance(leaf.type, Array)
        content = self.string_bytes(leaf.node) + b"\0"
        self.check_string(leaf, content)
        content = content if leaf.type.count is None else content[: leaf.type.count]
        span = self.span(leaf.node)
        type = Array(CHAR, len(content))
        return CopyRecord(type, span, place, Deref(type, span, StringAddress(Pointer(CHAR), span, content)))

    def check_string(self, leaf: Leaf, content: bytes) -> None:
        """Warns of a string that is cut; its terminator is dropped without a word, as C has it."""
        assert isinstance(leaf.type, Array)
        if leaf.type.count is not None and len(content) - 1 > leaf.type.count:
            self.warn(f"string of {len(content) - 1} bytes is too long for '{leaf.type}', and is cut", self.span(leaf.node),
                      "excess-initializers")

    # -- globals

    def global_literal(self, type: CType, init: Any, span: Span) -> Expr:
        """A compound literal outside functions: a variable of its own."""
        self.literal_count += 1
        var = GlobalVar(f".literal.{self.literal_count}", type, span)
        self.initialise_global(var, init)
        self.unit.globals.append(var)
        return VarRef(var.type, span, var)

    def initialise_global(self, var: GlobalVar, node: Any) -> None:
        """Sets var.init (and var.addresses on the host target)."""
        node = node.init if isinstance(node, c_ast.CompoundLiteral) and isinstance(var.type, (Array, Record)) else node
        var.type = self.complete_array(var.type, node)
        content = bytearray(var.type.size)
        for one in self.leaves(var.type, node):
            is_flexible = isinstance(one.type, Array) and one.type.count is None and _is_string(one.node)
            end = one.end + (len(self.string_bytes(one.node)) + 1 if is_flexible else 0)
            content += bytes(max(0, end - len(content)))  # of a flexible array
            self.store_constant(var, content, one)
        var.init = bytes(content)

    def store_constant(self, var: GlobalVar, content: bytearray, leaf: Leaf) -> None:
        if leaf.node is None:
            content[leaf.offset : leaf.end] = bytes(leaf.end - leaf.offset)
            part = range(leaf.offset, leaf.end)
            for at in part if len(part) < len(var.addresses) else [one for one in var.addresses if one in part]:
                var.addresses.pop(at, None)
            return
        if isinstance(leaf.type, Array) and _is_string(leaf.node):
            text = self.string_bytes(leaf.node) + b"\0"
            self.check_string(leaf, text)
            text = text if leaf.type.count is None else text[: leaf.type.size]
            content[leaf.offset : leaf.offset + len(text)] = text
            return
        if isinstance(leaf.node, c_ast.CompoundLiteral) and isinstance(leaf.type, Record):
            for one in self.leaves(leaf.type, leaf.node.init, leaf.offset):
                self.store_constant(var, content, one)
            return
        what = "initialiser" if leaf.type == var.type else PART
        expr = self.convert(self.constant_or_value(leaf.node), leaf.type, what, bit_size=leaf.bit_size)
        value = fold(expr)
        if value is None:
            if leaf.bit_size is None and self.store_address(var, expr, leaf.offset):
                return
            self.error("a global's initialiser must be a constant", leaf.node, "assign it in a function")
        if not isinstance(leaf.type, (Integer, Enum, Pointer)):
            self.error(f"cannot initialise '{leaf.type}' with this", leaf.node)
        var.addresses.pop(leaf.offset, None)  # of an initialiser that this one overrides
        size = leaf.type.size
        if leaf.bit_size is not None:
            size = (leaf.bit_offset + leaf.bit_size + 7) // 8
            unit = int.from_bytes(content[leaf.offset : leaf.offset + size], "little")
            mask = (1 << leaf.bit_size) - 1
            value = unit & ~(mask << leaf.bit_offset) | (value & mask) << leaf.bit_offset
        content[leaf.offset : leaf.offset + size] = (value & ((1 << size * 8) - 1)).to_bytes(size, "little")

    def store_address(self, var: GlobalVar, expr: Expr, offset: int) -> bool:
        """Notes that the pointer at offset is the address of a global; False if expr is no such address."""
        found = _address(expr)
        if found is None:
            return False
        target, addend = found
        if isinstance(target, bytes):
            literal = GlobalVar("", Array(CHAR, len(target)), expr.span, is_const=True)
            literal.init = target
            target = literal
        if self.target == "bpf":
            self.error(f"'{var.name}' cannot hold an address: nothing has one before a BPF program is loaded", expr.span,
                       "take the address in a function, where it is used")
        var.addresses[offset] = (target, addend)
        return True


def _address(expr: Expr) -> tuple[GlobalVar | FunctionDef | bytes, int] | None:
    """The global (or the bytes of a literal) that a pointer points into, and how far; None if not constant."""
    if isinstance(expr, Cast):
        return _address(expr.operand)
    if isinstance(expr, PointerAdd):
        base, index = _address(expr.pointer), fold(expr.index)
        return None if base is None or index is None else (base[0], base[1] + index * expr.scale)
    if isinstance(expr, FunctionAddress):
        return expr.function, 0
    if isinstance(expr, StringAddress):
        return expr.content, 0
    return _place_address(expr.place) if isinstance(expr, AddressOf) else None


def _place_address(place: Expr) -> tuple[GlobalVar | FunctionDef | bytes, int] | None:
    if isinstance(place, MemberRef):
        base = _place_address(place.base)
        return None if base is None else (base[0], base[1] + place.offset)
    if isinstance(place, Deref):
        return _address(place.pointer)
    return (place.var, 0) if isinstance(place, VarRef) and isinstance(place.var, GlobalVar) else None
