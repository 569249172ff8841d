"""The kernel's description of a tracepoint's record, and the C struct that stands for it.

Input: the text of a `format` file (tracefs, or the tracing data of a perf.data file). Output: a frozen
TracepointFormat, and by record_from_format the struct that BCC calls `tracepoint__CATEGORY__EVENT`.

Invariant: fields keep the order of the text, and a field's offset and size are those of the record,
never what the C declaration would suggest: `int flags` of a system call is eight bytes wide.

A format is lines of `field:DECLARATION;\toffset:N;\tsize:N;\tsigned:N;`, one for each field. A
declaration begins with __data_loc when the record holds only where the bytes are (offset in the low,
length in the high 16 bits, the offset counted from the record's start; __rel_loc: counted from the
end of the field). The print fmt line is kept as text; it is not evaluated here.

Source: kernel/trace/trace_events.c, f_show and f_next (Linux 6.18)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cfront.btf import TypeSource
from cfront.ctype import (
    BOOL,
    CHAR,
    INT,
    LLONG,
    LONG,
    SCHAR,
    SHORT,
    UCHAR,
    UINT,
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
    Pointer,
    Record,
    round_up,
)
from cfront.errors import ObjectError

__all__ = ["TracepointField", "TracepointFormat", "TracepointTypes", "parse_format", "record_from_format", "struct_name"]

# no record is larger than the kernel's buffer page, whatever a format says
_MAX_RECORD_BYTES = 1 << 16

_FIELD = re.compile(r"\s*field:(?P<decl>[^;]*);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);(?:\s*signed:(?P<signed>[01]);)?\s*$")
_DECL = re.compile(r"(?P<type>.*?[\s*])(?P<name>[A-Za-z_]\w*)\s*(?P<array>\[[^\]]*\](?:\s*\[[^\]]*\])*)?$", re.DOTALL)
_LOC = re.compile(r"__(?P<kind>data|rel)_loc\s+(?P<rest>.*)$", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w.-]*$")


@dataclass(frozen=True, slots=True)
class TracepointField:
    """One field of a record.

    type: the declared type without name and dimensions ("const char *", "unsigned long"); of a dynamic
    array, its element. offset and size: bytes in the record (4 for a dynamic array). array: the text
    between the brackets ("16", "TASK_COMM_LEN", ""), None if it is not an array."""

    name: str
    type: str
    offset: int
    size: int
    signed: bool = False
    array: str | None = None
    is_data_loc: bool = False
    is_rel_loc: bool = False

    @property
    def is_common(self) -> bool:
        """Whether every event has it (common_type, common_flags, ...)."""
        return self.name.startswith("common_")

    @property
    def is_pointer(self) -> bool:
        return self.type.endswith("*")

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class TracepointFormat:
    """How the records of one event are laid out. id: common_type in each record, of one running kernel."""

    name: str
    category: str
    id: int
    fields: tuple[TracepointField, ...]
    print_fmt: str = ""

    @property
    def full_name(self) -> str:
        """ "category:event", as hooks are named."""
        return f"{self.category}:{self.name}"

    @property
    def size(self) -> int:
        """Bytes of the fixed part; dynamic arrays follow it."""
        return max((one.end for one in self.fields), default=0)

    def field(self, name: str) -> TracepointField | None:
        """The field of this name, or None."""
        return next((one for one in self.fields if one.name == name), None)


def struct_name(category: str, event: str) -> str:
    """The tag that BCC gives an event's struct."""
    return f"tracepoint__{category}__{event}"


def parse_format(text: str, category: str = "") -> TracepointFormat:
    """The format that text describes. category: the event's system, which the text does not say.

    Raises ObjectError (section "format NAME", offset: of the line) for anything the kernel does not write."""
    name, event_id = "", -1
    fields: list[TracepointField] = []
    offset = 0
    head, _, print_fmt = text.partition("print fmt:")
    for line in head.splitlines(keepends=True):
        word = line.strip()
        if word.startswith("name:"):
            name = _event_name(word[5:].strip(), offset)
        elif word.startswith("ID:"):
            event_id = _number(word[3:].strip(), name, offset)
        elif word.startswith("field:"):
            fields.append(_field(word, name, offset))
        elif word and word != "format:":
            raise _malformed(f"expected a field, found {word[:40]!r}", name, offset)
        offset += len(line)
    if not name or event_id < 0 or not fields:
        raise _malformed("a format needs a name, an ID and fields", name, offset)
    return TracepointFormat(name, category, event_id, tuple(fields), print_fmt.strip())


def _malformed(message: str, name: str, offset: int) -> ObjectError:
    return ObjectError(f"reading an event's format: {message}", f"format {name}".strip(), offset)


def _event_name(text: str, offset: int) -> str:
    if not _NAME.match(text):
        raise _malformed(f"{text[:40]!r} is not an event's name", "", offset)
    return text


def _number(text: str, name: str, offset: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _malformed(f"{text[:40]!r} is not a number", name, offset)
    return int(text)


def _field(line: str, name: str, offset: int) -> TracepointField:
    found = _FIELD.match(line)
    if not found:
        raise _malformed(f"cannot read {line[:80]!r}", name, offset)
    start, size = (_number(found[part], name, offset) for part in ("offset", "size"))
    if start + size > _MAX_RECORD_BYTES:
        raise _malformed(f"a field ends at byte {start + size}, beyond any record", name, offset)
    declaration = found["decl"].strip()
    location = _LOC.match(declaration)
    if location and size != 4:
        raise _malformed(f"the place of a dynamic array takes 4 bytes, not {size}", name, offset)
    type_text, field_name, array = _split(location["rest"] if location else declaration, name, offset)
    kind = location["kind"] if location else ""
    return TracepointField(field_name, type_text, start, size, found["signed"] == "1", array, kind == "data", kind == "rel")


def _split(declaration: str, name: str, offset: int) -> tuple[str, str, str | None]:
    """type, name and dimensions; the kernel writes `char[] name` for a dynamic array, else `char name[16]`."""
    found = _DECL.match(declaration)
    if not found:
        raise _malformed(f"cannot read the declaration {declaration[:80]!r}", name, offset)
    type_text, array = found["type"].strip(), found["array"]
    if type_text.endswith("]") and array is None:
        type_text, _, rest = type_text.partition("[")
        array = "[" + rest
    return " ".join(type_text.split()), found["name"], None if array is None else array.strip("[] \t")


# ---- the C struct ----

_C_NAMES: dict[str, Integer] = {
    "char": CHAR, "signed char": SCHAR, "unsigned char": UCHAR, "s8": SCHAR, "__s8": SCHAR, "int8_t": SCHAR, "u8": UCHAR,
    "__u8": UCHAR, "uint8_t": UCHAR, "bool": BOOL, "short": SHORT, "unsigned short": USHORT, "s16": SHORT, "__s16": SHORT,
    "int16_t": SHORT, "u16": USHORT, "__u16": USHORT, "uint16_t": USHORT, "int": INT, "unsigned int": UINT, "unsigned": UINT,
    "s32": INT, "__s32": INT, "int32_t": INT, "u32": UINT, "__u32": UINT, "uint32_t": UINT, "long": LONG,
    "unsigned long": ULONG, "long long": LLONG, "unsigned long long": ULLONG, "s64": LLONG, "__s64": LLONG,
    "int64_t": LLONG, "u64": ULLONG, "__u64": ULLONG, "uint64_t": ULLONG, "size_t": ULONG, "ssize_t": LONG, "pid_t": INT,
    "uid_t": UINT, "gid_t": UINT, "__be16": USHORT, "__be32": UINT, "__le16": USHORT, "__le32": UINT,
}
_BY_SIZE = {(1, True): SCHAR, (1, False): UCHAR, (2, True): SHORT, (2, False): USHORT, (4, True): INT, (4, False): UINT,
            (8, True): LLONG, (8, False): ULLONG}
_COMMON_BYTES = 8  # what BCC covers with __do_not_use__; a tracepoint program may not read it


def record_from_format(fmt: TracepointFormat, types: TypeSource | None = None) -> Record:
    """`struct tracepoint__CATEGORY__EVENT`: u64 __do_not_use__, then the event's own fields at their offsets.

    A dynamic array NAME becomes `int data_loc_NAME` (or rel_loc_NAME). A scalar is as wide as the record says,
    with the signedness of its declared type. types: where the structs that pointers point at and enums are looked
    up; one that is unknown stays incomplete."""
    fields = [Field("__do_not_use__", ULLONG, 0)]
    end = _COMMON_BYTES
    for one in fmt.fields:
        if one.offset >= end and not one.is_common:
            type = _field_type(one, types)
            name = "data_loc_" * one.is_data_loc + "rel_loc_" * one.is_rel_loc + one.name
            fields.append(Field(name, type, one.offset))
            end = one.offset + type.size
    return Record("struct", struct_name(fmt.category, fmt.name), fields, round_up(max(end, fmt.size), 8), 8)


def _field_type(field: TracepointField, types: TypeSource | None) -> CType:
    if field.is_data_loc or field.is_rel_loc:
        return INT
    if field.array is not None:
        type: CType = _array_type(field, types)
    elif field.is_pointer and field.size == 8:
        type = _pointer_type(field.type, types)
    else:
        type = _scalar_type(field.type, field.size, field.signed, types)
    # a member that C could not put there is left as bytes
    return type if field.offset % type.align == 0 else Array(UCHAR, field.size)


def _array_type(field: TracepointField, types: TypeSource | None) -> Array:
    if field.size == 0:
        return Array(_scalar_type(field.type, _size_of(field.type), field.signed, types), None)
    size = _size_of(field.type)
    digits = field.array or ""
    if not size and digits.isascii() and digits.isdigit() and int(digits) and field.size % int(digits) == 0:
        size = field.size // int(digits)
    if not size or field.size % size:
        return Array(UCHAR, field.size)
    element = _pointer_type(field.type, types) if field.is_pointer else _scalar_type(field.type, size, field.signed, types)
    return Array(element, field.size // element.size)


def _size_of(type_text: str) -> int:
    """Bytes of a type that needs no looking up, 0 for others."""
    if type_text.endswith("*"):
        return 8
    known = _C_NAMES.get(_unqualified(type_text))
    return known.size if known else 0


def _unqualified(type_text: str) -> str:
    return " ".join(word for word in type_text.split() if word not in ("const", "volatile", "__user"))


def _scalar_type(type_text: str, size: int, signed: bool, types: TypeSource | None) -> CType:
    name = _unqualified(type_text)
    known = _C_NAMES.get(name)
    if known is not None:
        return known if known.size == size else _BY_SIZE.get((size, known.is_signed), Array(UCHAR, size))
    found = _named_type(name, types) if types is not None else None
    if isinstance(found, (Record, Enum, Pointer)) and found.size == size:
        return found
    return _BY_SIZE.get((size, signed), Array(UCHAR, size))


def _named_type(name: str, types: TypeSource) -> CType | None:
    """What the kernel declares under "struct X", "union X", "enum X" or a typedef's name."""
    tag, _, tag_name = name.partition(" ")
    if tag in ("struct", "union", "enum"):
        return types.find(tag, tag_name)
    return None if tag_name else types.find("typedef", name)


def _pointer_type(type_text: str, types: TypeSource | None) -> Pointer:
    inner = type_text[:-1].rstrip()
    while inner.endswith(("const", "volatile")):
        inner = inner.removesuffix("const").removesuffix("volatile").rstrip()
    if inner.endswith("*"):
        return Pointer(_pointer_type(inner, types))
    name = _unqualified(inner)
    tag, _, tag_name = name.partition(" ")
    if tag in ("struct", "union") and tag_name:
        found = types.find(tag, tag_name) if types is not None else None
        return Pointer(found if found is not None else Record(tag, tag_name))
    return Pointer(_C_NAMES.get(name, VOID))


class TracepointTypes:
    """A TypeSource of the structs `tracepoint__CATEGORY__EVENT` alone, each made when it is first named.

    formats: gives the format of (category, event), None if there is no such tracepoint. types: as for
    record_from_format."""

    def __init__(self, formats: Callable[[str, str], TracepointFormat | None], types: TypeSource | None = None) -> None:
        self._formats = formats
        self._types = types
        self._records: dict[str, Record] = {}

    def find(self, tag: str, name: str) -> CType | None:
        """The struct of a tracepoint; both halves of the name may themselves contain a double underscore."""
        if tag != "struct" or not name.startswith("tracepoint__"):
            return None
        if name not in self._records:
            fmt = self._format(name.removeprefix("tracepoint__"))
            if fmt is None:
                return None
            self._records[name] = record_from_format(fmt, self._types)
        return self._records[name]

    def _format(self, rest: str) -> TracepointFormat | None:
        at = rest.find("__", 1)
        while at > 0:
            fmt = self._formats(rest[:at], rest[at + 2:])
            if fmt is not None:
                return fmt
            at = rest.find("__", at + 1)
        return None

    def enumerator(self, name: str) -> int | None:
        return None

    def function(self, name: str) -> Function | None:
        return None

    def variable(self, name: str) -> CType | None:
        return None

    def similar(self, tag: str, name: str) -> list[str]:
        """None: the kernel's types name every tracepoint too, as btf_trace_EVENT."""
        return []
