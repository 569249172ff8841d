"""BTF bytes <-> C types.

Btf reads: one scan notes where each type begins and which names it has (a vmlinux has 126,000 types; a
program names 50), which is an index that can be kept; everything else is decoded when asked for. Records are lazy, so cycles through pointers
end there. BtfWriter writes the types it is given and all they reach.

TypeSource is what the compiler asks for types that the text does not define: a kernel is described to it
by one of these and by nothing else. Source: Documentation/bpf/btf.rst."""

from __future__ import annotations

import bisect
import difflib
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from cfront.ctype import (
    BOOL,
    CHAR,
    INT,
    INT128,
    LLONG,
    LONG,
    SCHAR,
    SHORT,
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
    Field,
    Function,
    Integer,
    Param,
    Pointer,
    Record,
    Void,
)
from cfront.errors import ObjectError

__all__ = ["Btf", "BtfWriter", "JoinedTypes", "TypeSource", "btf_from_types"]


class TypeSource(Protocol):
    """Types by name. tag: "struct", "union", "enum" or "typedef" (a typedef gives the type it stands for)."""

    def find(self, tag: str, name: str) -> CType | None: ...
    def enumerator(self, name: str) -> int | None: ...
    def function(self, name: str) -> Function | None: ...
    def variable(self, name: str) -> CType | None: ...
    def similar(self, tag: str, name: str) -> list[str]: ...  # spelled nearly so; what names it does not list it leaves out


class JoinedTypes:
    """Several sources as one; the first that knows a name answers."""

    def __init__(self, *sources: TypeSource) -> None:
        self._sources = sources

    def find(self, tag: str, name: str) -> CType | None:
        return next((hit for one in self._sources if (hit := one.find(tag, name)) is not None), None)

    def enumerator(self, name: str) -> int | None:
        return next((hit for one in self._sources if (hit := one.enumerator(name)) is not None), None)

    def function(self, name: str) -> Function | None:
        return next((hit for one in self._sources if (hit := one.function(name)) is not None), None)

    def variable(self, name: str) -> CType | None:
        return next((hit for one in self._sources if (hit := one.variable(name)) is not None), None)

    def similar(self, tag: str, name: str) -> list[str]:
        return [hit for one in self._sources for hit in one.similar(tag, name)]


(_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO, _VAR,
 _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64) = range(1, 20)
_MAGIC = 0xEB9F
# 32-bit words after the 3-word head, and for each of vlen entries
_EXTRA = {_INT: 1, _ARRAY: 3, _VAR: 1, _DECL_TAG: 1}
_EACH = {_STRUCT: 3, _UNION: 3, _ENUM: 2, _FUNC_PROTO: 2, _DATASEC: 3, _ENUM64: 3}
_TAGS = {"struct": (_STRUCT,), "union": (_UNION,), "enum": (_ENUM, _ENUM64), "typedef": (_TYPEDEF,)}
_FINDABLE = frozenset((_STRUCT, _UNION, _ENUM, _ENUM64, _TYPEDEF, _FUNC))
_INDEX_HEAD = struct.Struct("<II")  # types, names
_MAX_DEPTH = 64  # of qualifiers and typedefs in a row; more means a cycle

_NAMED_INTS = {
    "char": CHAR, "signed char": SCHAR, "unsigned char": UCHAR, "short int": SHORT, "short": SHORT,
    "short unsigned int": USHORT, "unsigned short": USHORT, "int": INT, "unsigned int": UINT, "long int": LONG,
    "long": LONG, "long unsigned int": ULONG, "unsigned long": ULONG, "long long int": LLONG, "long long": LLONG,
    "long long unsigned int": ULLONG, "unsigned long long": ULLONG, "_Bool": BOOL, "__int128": INT128,
    "unsigned __int128": UINT128, "__int128 unsigned": UINT128,
}
_SIZED_INTS = {(1, True): SCHAR, (1, False): UCHAR, (2, True): SHORT, (2, False): USHORT, (4, True): INT,
               (4, False): UINT, (8, True): LONG, (8, False): ULONG, (16, True): INT128, (16, False): UINT128}


class Btf:
    """The types in BTF bytes, by name and by id. Id 0 is void. Raises ObjectError
    where they are malformed.

    index: what index() gave for the same bytes, where a caller kept it; it is made otherwise."""

    def __init__(self, content: bytes | memoryview, index: bytes = b"") -> None:
        if len(content) < 24:
            raise ObjectError(f"reading BTF: {len(content)} bytes are too few for a header", ".BTF")
        magic, version, _flags, hdr_len, type_off, type_len, str_off, str_len = struct.unpack_from("<HBBIIIII", content)
        if magic != _MAGIC or version != 1:
            raise ObjectError(f"reading BTF: magic {magic:#x} version {version} (expected 0xeb9f 1)", ".BTF")
        if hdr_len + type_off + type_len > len(content) or hdr_len + str_off + str_len > len(content) or type_len % 4:
            raise ObjectError("reading BTF: a section lies outside the file", ".BTF", 8)
        start = hdr_len + type_off
        self._words = memoryview(content)[start : start + type_len].cast("I")
        self._content = content
        self._strings_at = hdr_len + str_off
        self._strings_end = self._strings_at + str_len
        self._types: dict[int, CType] = {}
        self._index = index or self._make_index()
        types, names = _INDEX_HEAD.unpack_from(self._index)
        body = memoryview(self._index)[_INDEX_HEAD.size :]
        self._names = body[: names * 8].cast("Q")  # crc32 of a name, kind, id; sorted
        self._at = body[names * 8 : names * 8 + types * 4].cast("I")  # word index of each type, by id

    def index(self) -> bytes:
        """Where the types begin and which names they have: for vmlinux 2 MB, found in 0.2 s."""
        return self._index

    def _make_index(self) -> bytes:
        """One scan over all types, and the names of those that can be asked for by name."""
        words = self._words
        extra = [_EXTRA.get(kind, 0) + 3 for kind in range(32)]
        each = [_EACH.get(kind, 0) for kind in range(32)]
        at = array("I", [0])
        named: list[tuple[int, int]] = []  # name offset; kind and id
        pos, end = 0, len(words)
        while pos + 3 <= end:
            info = words[pos + 1]
            kind = info >> 24 & 31
            if kind == 0 or kind > _ENUM64:
                raise ObjectError(f"reading BTF: type {len(at)} has unknown kind {kind}", ".BTF", pos * 4)
            if kind in _FINDABLE:
                if words[pos]:
                    named.append((words[pos], kind << 27 | len(at)))
                if kind in (_ENUM, _ENUM64):
                    last = min(pos + 3 + each[kind] * (info & 0xFFFF), end)
                    named += [(words[one], len(at)) for one in range(pos + 3, last, each[kind])]
            at.append(pos)
            pos += extra[kind] + each[kind] * (info & 0xFFFF)
        if pos != end:
            raise ObjectError(f"reading BTF: type {len(at) - 1} is cut off", ".BTF", min(pos, end) * 4)
        strings = bytes(self._content[self._strings_at : self._strings_end]).split(b"\0")
        digests = dict(zip(accumulate([len(one) + 1 for one in strings], initial=0), map(zlib.crc32, strings), strict=False))
        for offset, _ in named:
            if offset not in digests:  # the end of another name
                digests[offset] = zlib.crc32(self._bytes(offset))
        names = array("Q", sorted([digests[offset] << 32 | rest for offset, rest in named]))
        return _INDEX_HEAD.pack(len(at), len(names)) + names.tobytes() + at.tobytes()

    def __len__(self) -> int:
        return len(self._at)

    def _string(self, offset: int) -> str:
        return self._bytes(offset).decode("utf-8", "replace")

    def _bytes(self, offset: int) -> bytes:
        start, end = self._strings_at + offset, self._strings_end
        for stop in (start + 64, end):  # few names are longer
            name, nul, _ = bytes(self._content[start : min(stop, end)]).partition(b"\0")
            if nul:
                return name
        raise ObjectError(f"reading BTF: name offset {offset} outside the strings", ".BTF", offset)

    def _ids(self, kind: int, name: bytes) -> Iterator[int]:
        """The types of this kind that may have that name: their digests agree. Kind 0: the enums with an
        enumerator of that name."""
        wanted = zlib.crc32(name) << 5 | kind
        at = bisect.bisect_left(self._names, wanted << 27)
        while at < len(self._names) and self._names[at] >> 27 == wanted:
            yield self._names[at] & 0x7FFFFFF
            at += 1

    def _id(self, kinds: Iterable[int], name: str) -> int | None:
        key = name.encode()
        return next((id for kind in kinds for id in self._ids(kind, key) if self._bytes(self._words[self._at[id]]) == key), None)

    def find(self, tag: str, name: str) -> CType | None:
        """The struct, union, enum or typedef of that name; None if there is none."""
        id = self._id(_TAGS[tag], name)
        return None if id is None else self.type(id)

    def function(self, name: str) -> Function | None:
        """The prototype of the kernel function of that name."""
        id = self._id((_FUNC,), name)
        if id is None:
            return None
        proto = self.type(self._words[self._at[id] + 2])
        return proto if isinstance(proto, Function) else None

    def similar(self, tag: str, name: str) -> list[str]:
        """The names of this tag's types, or of enumerators (tag "enumerator"), that are spelled nearly so, the nearest
        first. For messages: looks at every string there is, which takes 0.1 s for vmlinux."""
        strings = bytes(self._content[self._strings_at : self._strings_end]).decode("utf-8", "replace").split("\0")
        begins, size = name[:2], len(name)
        near = {one for one in strings if one[:2] == begins and abs(len(one) - size) <= 3}
        close = difflib.get_close_matches(name, near, 8, 0.75)
        if tag == "enumerator":
            return [one for one in close if self.enumerator(one) is not None]
        return [one for one in close if self._id(_TAGS[tag], one) is not None]

    def function_id(self, name: str) -> int | None:
        """The id of the function of that name; None if there is none."""
        return self._id((_FUNC,), name)

    def struct_id(self, name: str) -> int | None:
        """The id of the struct of that name; None if there is none."""
        return self._id((_STRUCT,), name)

    def name(self, id: int) -> str:
        """The name of the type with that id, "" if it has none."""
        return self._string(self._words[self._at[id]]) if 0 < id < len(self._at) else ""

    def variable(self, name: str) -> CType | None:
        """The type of the variable of that name; None if there is none. Looks at every type there is."""
        id = self.variable_id(name)
        return None if id is None else self.type(self._words[self._at[id] + 2])

    def variable_id(self, name: str) -> int | None:
        """The id of the variable of that name; None if there is none. Looks at every type there is."""
        words, key = self._words, name.encode()
        for id in range(1, len(self._at)):
            pos = self._at[id]
            if words[pos + 1] >> 24 & 31 == _VAR and self._bytes(words[pos]) == key:
                return id
        return None

    def section(self, id: int) -> list[tuple[CType, int]]:
        """The variables of a section (.data) with their offsets; none where the type is no section."""
        words, pos = self._words, self._at[id] if 0 < id < len(self._at) else 0
        if not pos or words[pos + 1] >> 24 & 31 != _DATASEC:
            return []
        count = words[pos + 1] & 0xFFFF
        return [(self.type(words[at]), words[at + 1]) for at in range(pos + 3, pos + 3 + 3 * count, 3)]

    def variables(self, id: int) -> list[tuple[int, int]]:
        """The ids of a section's variables with their offsets; none where the type is no section."""
        words, pos = self._words, self._at[id] if 0 < id < len(self._at) else 0
        if not pos or words[pos + 1] >> 24 & 31 != _DATASEC:
            return []
        count = words[pos + 1] & 0xFFFF
        return [(words[at], words[at + 1]) for at in range(pos + 3, pos + 3 + 3 * count, 3)]

    def id_of(self, tag: str, name: str) -> int | None:
        """The id of the struct, union, enum or typedef of that name; None if there is none."""
        return self._id(_TAGS[tag], name)

    def linkage(self, id: int) -> int:
        """Of a function: 0 static, 1 global, 2 defined elsewhere."""
        return self._words[self._at[id] + 1] & 0xFFFF if 0 < id < len(self._at) else 0

    def argument_tags(self, id: int, index: int) -> frozenset[str]:
        """What `__arg_...` marks the source has at one argument of a function ("ctx", "nonnull", ...)."""
        words, found = self._words, set()
        for pos in self._at[1:]:
            if words[pos + 1] >> 24 & 31 == _DECL_TAG and words[pos + 2] == id and words[pos + 3] == index:
                text = self._string(words[pos])
                if text.startswith("arg:"):
                    found.add(text[4:])
        return frozenset(found)

    def tagged(self, tag: str) -> list[int]:
        """The ids of what the source has tagged so, members and parameters aside."""
        words = self._words
        return [
            words[pos + 2] for pos in self._at[1:]
            if words[pos + 1] >> 24 & 31 == _DECL_TAG and words[pos + 3] == 0xFFFFFFFF and self._string(words[pos]) == tag
        ]

    def declaration_tags(self, id: int, index: int = -1) -> list[str]:
        """What the source has tagged a type with; or one of its members, or parameters, from 0."""
        words, wanted = self._words, index & 0xFFFFFFFF
        return [
            self._string(words[pos]) for pos in self._at[1:]
            if words[pos + 1] >> 24 & 31 == _DECL_TAG and words[pos + 2] == id and words[pos + 3] == wanted
        ]

    def enumerator(self, name: str) -> int | None:
        """The value of an enumerator."""
        key = name.encode()
        for id in self._ids(0, key):
            for at, value in self._enum_values(id).items():
                if self._bytes(at) == key:
                    return value
        return None

    def _enum_values(self, id: int) -> dict[int, int]:
        words, pos = self._words, self._at[id]
        info = words[pos + 1]
        signed, count, step = info >> 31, info & 0xFFFF, 2 if info >> 24 & 31 == _ENUM else 3
        values = {}
        for at in range(pos + 3, pos + 3 + count * step, step):
            value = words[at + 1] | (words[at + 2] << 32 if step == 3 else 0)
            bits = 32 if step == 2 else 64
            if signed and value >> (bits - 1):
                value -= 1 << bits
            values[words[at]] = value
        return values

    def type(self, id: int, _depth: int = 0) -> CType:
        """The type with that id."""
        if id == 0:
            return VOID
        hit = self._types.get(id)
        if hit is None:
            if id >= len(self._at):
                raise ObjectError(f"reading BTF: type id {id} of {len(self._at) - 1}", ".BTF")
            if _depth > _MAX_DEPTH:
                raise ObjectError(f"reading BTF: type {id} refers to itself", ".BTF", self._at[id] * 4)
            hit = self._types[id] = self._decode(id, _depth + 1)
        return hit

    def _decode(self, id: int, depth: int) -> CType:
        words, pos = self._words, self._at[id]
        info, third = words[pos + 1], words[pos + 2]
        kind, count = info >> 24 & 31, info & 0xFFFF
        if kind == _INT:
            return self._integer(self._string(words[pos]), third, words[pos + 3])
        if kind == _PTR:
            return Pointer(self.type(third, depth), tag=self._type_tag(third))
        if kind == _ARRAY:
            return Array(self.type(words[pos + 3], depth), words[pos + 5])
        if kind in (_STRUCT, _UNION):
            tag = "struct" if kind == _STRUCT else "union"
            return Record(tag, self._string(words[pos]), loader=lambda: self._record(id))
        if kind in (_ENUM, _ENUM64):
            values = {self._string(name): value for name, value in self._enum_values(id).items()}
            return Enum(self._string(words[pos]), values, _SIZED_INTS.get((third, bool(info >> 31)), UINT))
        if kind == _FWD:
            tag, name = ("union" if info >> 31 else "struct"), self._string(words[pos])
            return self.find(tag, name) or Record(tag, name)
        if kind == _FUNC_PROTO:
            rows = [(words[at], words[at + 1]) for at in range(pos + 3, pos + 3 + count * 2, 2)]
            variadic = bool(rows) and rows[-1] == (0, 0)
            params = rows[:-1] if variadic else rows
            return Function(
                self.type(third, depth),
                tuple(Param(self._string(name) if name else "", self.type(one, depth)) for name, one in params),
                variadic,
            )
        if kind == _FLOAT:
            return Array(UCHAR, third)
        if kind in (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG, _FUNC, _VAR):
            return self.type(third, depth)
        raise ObjectError(f"reading BTF: type {id} of kind {kind} is not a C type", ".BTF", pos * 4)

    def _type_tag(self, id: int) -> str:
        """What a tag says of the type with that id, "" if it is no tag."""
        words, pos = self._words, self._at[id] if 0 < id < len(self._at) else 0
        return self._string(words[pos]) if pos and words[pos + 1] >> 24 & 31 == _TYPE_TAG else ""

    @staticmethod
    def _integer(name: str, size: int, encoding: int) -> Integer:
        hit = _NAMED_INTS.get(name)
        if hit is not None and hit.size == size:
            return hit
        if encoding >> 24 & 4:
            return BOOL
        return _SIZED_INTS.get((size, bool(encoding >> 24 & 1)), ULONG)

    def _record(self, id: int) -> tuple[list[Field], int, int]:
        words, pos = self._words, self._at[id]
        info, size = words[pos + 1], words[pos + 2]
        has_bits = info >> 31
        fields, align = [], 1
        for at in range(pos + 3, pos + 3 + (info & 0xFFFF) * 3, 3):
            type = self.type(words[at + 1])
            bits = words[at + 2]
            width = bits >> 24 if has_bits else 0
            bits = bits & 0xFFFFFF if has_bits else bits
            name = self._string(words[at])
            if width:
                unit = type.size * 8
                whole = unit and bits // unit == (bits + width - 1) // unit
                start = bits // unit * unit if whole else bits // 8 * 8
                fields.append(Field(name, type, start // 8, bits - start, width))
            else:
                fields.append(Field(name, type, bits // 8))
            if type.align > align and bits % (type.align * 8) == 0 and size % type.align == 0:
                align = type.align
        return fields, size, align


class BtfWriter:
    """Collects types and gives BTF bytes. add() returns a type's id and takes along everything it reaches."""

    def __init__(self) -> None:
        self._strings = bytearray(b"\0")
        self._string_at: dict[str, int] = {"": 0}
        self._rows: list[bytes] = [b""]
        self._ids: dict[object, int] = {}

    def _string(self, text: str) -> int:
        at = self._string_at.get(text)
        if at is None:
            at = self._string_at[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return at

    def _new(self, key: object) -> int:
        self._ids[key] = len(self._rows)
        self._rows.append(b"")
        return self._ids[key]

    def _head(self, name: str, kind: int, vlen: int, third: int, flag: int = 0) -> bytes:
        return struct.pack("<III", self._string(name), flag << 31 | kind << 24 | vlen, third)

    def typedef(self, name: str, type: CType) -> int:
        id = self._new(("typedef", name))
        self._rows[id] = self._head(name, _TYPEDEF, 0, self.add(type))
        return id

    def func(self, name: str, type: Function) -> int:
        id = self._new(("func", name))
        self._rows[id] = self._head(name, _FUNC, 0, self.add(type))
        return id

    def add(self, type: CType) -> int:
        """The id of type, 0 for void."""
        if isinstance(type, Void):
            return 0
        hit = self._ids.get(type)
        if hit is not None:
            return hit
        id = self._new(type)
        self._rows[id] = self._encode(type)
        return id

    def _encode(self, type: CType) -> bytes:
        if isinstance(type, Integer):
            encoding = 4 if type is BOOL else 1 if type.is_signed else 0
            return self._head(type.name, _INT, 0, type.size) + struct.pack("<I", encoding << 24 | type.size * 8)
        if isinstance(type, Pointer):
            return self._head("", _PTR, 0, self.add(type.target))
        if isinstance(type, Array):
            return self._head("", _ARRAY, 0, 0) + struct.pack("<III", self.add(type.element), self.add(INT), type.count or 0)
        if isinstance(type, Enum):
            return self._encode_enum(type)
        if isinstance(type, Function):
            params = [(self._string(one.name), self.add(one.type)) for one in type.params]
            params += [(0, 0)] if type.is_variadic else []
            rows = b"".join(struct.pack("<II", *one) for one in params)
            return self._head("", _FUNC_PROTO, len(params), self.add(type.result)) + rows
        assert isinstance(type, Record), type
        return self._encode_record(type)

    def _encode_enum(self, type: Enum) -> bytes:
        wide = type.size == 8
        rows = b""
        for name, value in (type.values or {}).items():
            rows += struct.pack("<II", self._string(name), value & 0xFFFFFFFF)
            rows += struct.pack("<I", value >> 32 & 0xFFFFFFFF) if wide else b""
        kind = _ENUM64 if wide else _ENUM
        return self._head(type.name, kind, len(type.values or {}), type.size, int(type.base.is_signed)) + rows

    def _encode_record(self, type: Record) -> bytes:
        fields = type.fields
        if fields is None:
            return self._head(type.name, _FWD, 0, 0, int(type.tag == "union"))
        has_bits = any(one.bit_size is not None for one in fields)
        rows = b""
        for one in fields:
            bits = one.offset * 8 + one.bit_offset
            if has_bits:
                bits |= (one.bit_size or 0) << 24
            rows += struct.pack("<III", self._string(one.name), self.add(one.type), bits)
        kind = _STRUCT if type.tag == "struct" else _UNION
        return self._head(type.name, kind, len(fields), type.size, int(has_bits)) + rows

    def content(self) -> bytes:
        """The BTF bytes."""
        types = b"".join(self._rows)
        head = struct.pack("<HBBIIIII", _MAGIC, 1, 0, 24, 0, len(types), len(types), len(self._strings))
        return head + types + bytes(self._strings)


def btf_from_types(
    types: Sequence[CType], typedefs: Mapping[str, CType] | None = None, functions: Mapping[str, Function] | None = None
) -> bytes:
    """BTF bytes of types and all they reach, with typedefs and functions by name."""
    writer = BtfWriter()
    for one in types:
        writer.add(one)
    for name, target in (typedefs or {}).items():
        writer.typedef(name, target)
    for name, proto in (functions or {}).items():
        writer.func(name, proto)
    return writer.content()
