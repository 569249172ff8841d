"""BCC's packet headers: p->field on a struct marked deprecated("packet") reads and writes the packet itself.

Such a pointer is no address but an offset into the packet (a cursor that began at 0), and the packet is
the program's first argument. A field's bits count from the most significant bit of the packet's bytes, in
the order of declaration, whatever the machine's byte order. Reads become the BPF target's packet loads
(load_byte, load_half, load_word, also by name), writes bpf_skb_store_bytes; incr_cksum_l3 and _l4 become
the checksum helpers, which take values in network order.

Source: facts of BCC's interface (bcc/proto.h); Documentation/bpf/standardization/instruction-set.rst,
"Legacy BPF Packet access instructions"."""

from __future__ import annotations

from typing import Any

from pycparser import c_ast

from cfront.ctype import (
    INT,
    LONG,
    UCHAR,
    UINT,
    ULLONG,
    USHORT,
    VOID,
    CType,
    Integer,
    Pointer,
    Record,
    value_type,
)
from cfront.dialect import DialectChecker
from cfront.source import Span
from cfront.tree import (
    AddressOf,
    Assign,
    Binary,
    Cast,
    Const,
    Declare,
    Expr,
    ExprStmt,
    Intrinsic,
    Load,
    LocalVar,
    PointerAdd,
    StmtExpr,
    VarRef,
)

__all__ = ["PacketChecker"]

_WORDS: dict[int, Integer] = {8: UCHAR, 16: USHORT, 32: UINT, 64: ULLONG}
_LOADS = {8: "load_byte", 16: "load_half", 32: "load_word"}


class PacketChecker(DialectChecker):
    """Fields of packet headers."""

    # -- what is a packet field

    def packet_field(self, node: Any) -> tuple[Expr, Record, c_ast.ID] | None:
        """(offset pointer, header, field) if node is p->f on a packet header."""
        if not isinstance(node, c_ast.StructRef) or node.type != "->" or self.target != "bpf":
            return None
        record = self.header_behind(node.name)
        return None if record is None else (self.value(node.name), record, node.field)

    def header_behind(self, node: Any) -> Record | None:
        """The header that a variable or cast points at; None for any other expression, which is not looked into."""
        type: CType | None = None
        if isinstance(node, c_ast.ID):
            symbol = self.lookup(node.name)
            type = symbol.type if isinstance(symbol, LocalVar) else None
        elif isinstance(node, c_ast.Cast):
            type = self.type_of(node.to_type)
        record = type.target if isinstance(type, Pointer) else None
        return record if isinstance(record, Record) and record.is_packet else None

    def field_bits(self, record: Record, field: c_ast.ID) -> tuple[int, int, CType]:
        """(first bit in the header, bits, type) of a field."""
        found = record.member(field.name)
        if found is None:
            self.error(f"no member named '{field.name}' in '{record}'", field, self.did_you_mean(field.name, record.member_names()))
        if not isinstance(found.type, Integer) or found.type.size > 8:
            self.error(f"field '{field.name}' of a packet header is '{found.type}', only integers can be read", field)
        bits = found.type.size * 8 if found.bit_size is None else found.bit_size
        return found.offset * 8 + found.bit_offset, bits, found.type

    def word_for(self, start: int, bits: int, field: c_ast.ID) -> tuple[int, int, int]:
        """(byte, bits of the word to load there, right shift) that hold a field."""
        size = next((one for one in _WORDS if start % 8 + bits <= one), 0)
        if not size:
            self.error(f"field '{field.name}' spans more than 8 bytes", field)
        return start // 8, size, size - (start % 8 + bits)

    def packet(self, node: Any) -> Expr:
        """The program's first argument, the packet."""
        params = self.function.params if self.function is not None else []
        if not params or not isinstance(params[0].type, Pointer):
            self.error("packet fields need the packet as the function's first argument", node, "pass struct __sk_buff *skb first")
        span = self.span(node)
        return Load(params[0].type, span, VarRef(params[0].type, span, params[0]))

    def packet_word(self, node: Any, offset: Expr, bits: int, span: Span) -> Expr:
        """bits of the packet at offset in host order, as 64 bits."""
        skb = self.packet(node)
        if bits < 64:
            return Intrinsic(ULLONG, span, _LOADS[bits], (skb, offset))
        high = Intrinsic(ULLONG, span, "load_word", (skb, offset))
        low = Intrinsic(ULLONG, span, "load_word", (skb, self.plus(offset, 4, span)))
        return Binary(ULLONG, span, "|", Binary(ULLONG, span, "<<", high, Const(INT, span, 32)), low)

    @staticmethod
    def plus(offset: Expr, count: int, span: Span) -> Expr:
        return Binary(ULLONG, span, "+", offset, Const(ULLONG, span, count)) if count else offset

    # -- reading

    def member(self, node: c_ast.StructRef) -> Expr:
        found = self.packet_field(node)
        if found is None:
            return super().member(node)
        pointer, record, field = found
        start, bits, type = self.field_bits(record, field)
        span = self.span(node.field)
        byte, size, shift = self.word_for(start, bits, field)
        word = self.packet_word(node, self.plus(Cast(ULLONG, span, pointer), byte, span), size, span)
        if shift:
            word = Binary(ULLONG, span, ">>", word, Const(INT, span, shift))
        if bits < size:
            word = Binary(ULLONG, span, "&", word, Const(ULLONG, span, (1 << bits) - 1))
        return self.cast(word, value_type(type), span)

    def address_of(self, node: c_ast.UnaryOp, span: Span) -> Expr:
        """&p->field is the field's offset in the packet."""
        found = self.packet_field(node.expr)
        if found is None:
            return super().address_of(node, span)
        pointer, record, field = found
        start, _, type = self.field_bits(record, field)
        return PointerAdd(Pointer(type), span, pointer, Const(LONG, span, start // 8), 1)

    # -- writing

    def dialect_assignment(self, node: c_ast.Assignment) -> Expr | None:
        found = self.packet_field(node.lvalue)
        if found is None:
            return super().dialect_assignment(node)
        if node.op != "=":
            self.error(f"'{node.op}' on a packet field is not supported", node, "write p->f = p->f + ...")
        pointer, record, field = found
        start, bits, type = self.field_bits(record, field)
        span = self.span(node.lvalue.field)
        byte, size, shift = self.word_for(start, bits, field)
        offset = self.plus(Cast(ULLONG, span, pointer), byte, span)
        value = self.cast(self.convert(self.value(node.rvalue), type, "assignment"), ULLONG, span)
        if bits < size:
            mask = (1 << bits) - 1
            kept = Binary(ULLONG, span, "&", self.packet_word(node.lvalue, offset, size, span),
                          Const(ULLONG, span, ~(mask << shift) & (1 << size) - 1))
            put: Expr = Binary(ULLONG, span, "&", value, Const(ULLONG, span, mask))
            put = Binary(ULLONG, span, "<<", put, Const(INT, span, shift)) if shift else put
            value = Binary(ULLONG, span, "|", kept, put)
        word = _WORDS[size]
        stored: Expr = self.cast(value, word, span)
        if size > 8:
            stored = Intrinsic(word, span, "bswap", (stored,))
        var, place = self.temporary(word, span)
        self.note_address(place)
        args = (self.packet(node.lvalue), self.cast(offset, ULLONG, span), AddressOf(Pointer(word), span, place),
                self.number(size // 8, span), self.number(0, span))
        keep = Declare(span, var, (Assign(word, span, place, stored),))
        call = self.helper("skb_store_bytes", LONG, span, *args)
        return StmtExpr(VOID, span, (keep, ExprStmt(span, call)), None)

    # -- functions

    def dialect_call(self, node: c_ast.FuncCall) -> Expr | None:
        name = node.name.name if isinstance(node.name, c_ast.ID) else ""
        if name and self.lookup(name) is None and self.target == "bpf":
            if name in _LOADS.values():
                return self.packet_load(name, node)
            if name in ("incr_cksum_l3", "incr_cksum_l4"):
                return self.checksum(name, node)
        return super().dialect_call(node)

    def packet_load(self, name: str, node: c_ast.FuncCall) -> Expr:
        skb, offset = self.exactly(node, 2)
        context = self.value(skb)
        if not isinstance(context.type, Pointer):
            self.error(f"{name} takes the packet first, this is '{context.type}'", skb)
        where = self.cast(self.to_u64(self.value(offset)), ULLONG, self.span(offset))
        return Intrinsic(ULLONG, self.span(node), name, (context, where))

    def checksum(self, name: str, node: c_ast.FuncCall) -> Expr:
        """incr_cksum_l3(offset, old, new) and incr_cksum_l4(offset, old, new, is_pseudo)."""
        is_l4 = name.endswith("4")
        nodes = self.exactly(node, 4 if is_l4 else 3)
        span = self.span(node)
        old, new = self.value(nodes[1]), self.value(nodes[2])
        size = new.type.size
        if not isinstance(new.type, Integer) or size not in (2, 4):
            self.error(f"{name} takes 2- or 4-byte values, this is '{new.type}'", nodes[2], "cast it to u16 or u32")
        word = _WORDS[size * 8]
        swapped = [self.to_u64(Intrinsic(word, span, "bswap", (self.cast(self.integer(one, name), word, span),)))
                   for one in (old, new)]
        flags: Expr = self.number(size, span)
        if is_l4:
            pseudo = self.cast(self.integer(self.value(nodes[3]), name), ULLONG, span)
            bit = Binary(ULLONG, span, "&", pseudo, Const(ULLONG, span, 1))
            flags = Binary(ULLONG, span, "|", Binary(ULLONG, span, "<<", bit, Const(INT, span, 4)), flags)
        offset = self.cast(self.to_u64(self.value(nodes[0])), ULLONG, span)
        helper = "l4_csum_replace" if is_l4 else "l3_csum_replace"
        return self.helper(helper, LONG, span, self.packet(node), offset, *swapped, flags)
