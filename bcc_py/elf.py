"""ELF object -> ObjectSpec: what cfront emits, and what clang 14 and later emit for the BPF target.

Input: the bytes of a relocatable 64-bit little-endian BPF object. Output: its programs, each linked
with every function it can reach, and its maps. Invariant: whatever the bytes are, the answer is an
ObjectSpec or an ObjectError; every offset, index and size is checked before it is used, and sizes
are bounded by the file's length (.bss, which has no bytes, by MAX_DATA_BYTES).

How: functions are the FUNC symbols of executable sections. Global ones in a section that
uapi.SECTIONS knows are programs; the others are there to be called. A call names its target by a
relocation (imm is -1 for a function symbol, byte offset / 8 - 1 for a section symbol: both are
symbol + imm + 1) or, within one section, by imm alone. Linking walks the calls from the program's
first slot, appends each function once, in the order of discovery, and rewrites calls, FuncInfo and
LineInfo. Maps are the variables of the BTF data section `.maps`, written as libbpf has it; each
.data, .rodata and .bss section is an array map of one value. Not done: CO-RE relocations, legacy
`maps` sections, extern variables (but for the kernel's: .ksyms), pointers in initialised data; each is refused in words.

Source: Documentation/bpf/{llvm_reloc,btf,libbpf/program_types}.rst of Linux 6.18; System V ABI, ch. 4."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from bcc_py.errors import ObjectError
from bcc_py.isa import PSEUDO_CALL, PSEUDO_FUNC, Insn, decode
from bcc_py.spec import FuncInfo, Hook, HookKind, LineInfo, MapSpec, ObjectSpec, ProgramSpec, Reloc, RelocKind, Sharing
from cfront.uapi import SECTIONS, AttachType, MapType, SectionRule

__all__ = ["MAX_DATA_BYTES", "read_object"]

MAX_DATA_BYTES = 1 << 26
BPF_F_RDONLY_PROG = 1 << 7

_ELF_MAGIC = int.from_bytes(b"\x7fELF", "little")
_EM_BPF = 247
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA, _SHT_NOBITS, _SHT_REL = 1, 2, 4, 8, 9
_SHF_ALLOC, _SHF_EXECINSTR = 2, 4
_STT_FUNC, _STT_SECTION = 2, 3
_STB_WEAK = 2
_R_64_64, _R_64_32 = 1, 10
_CALL, _LDDW = 0x85, 0x18
_MAX_FUNCTIONS = 256


def read_object(data: bytes) -> ObjectSpec:
    """The programs and maps of the ELF object in data.

    Programs come in the order of sections and offsets, maps in the order of `.maps`, then the data
    sections. Raises ObjectError, with section and offset, for anything malformed or not supported."""
    elf = _Elf(data)
    btf_section = elf.named(".BTF")
    btf = _Btf(btf_section.data if btf_section else b"")
    maps = _Maps(elf, btf)
    license_text = _license(elf)
    ext_section = elf.named(".BTF.ext")
    ext = _read_ext(ext_section.data, btf) if ext_section else _Ext({}, {})
    unit = _Unit(elf, maps, ext, btf.kernel_names())
    programs: dict[str, ProgramSpec] = {}
    for function, rule in unit.programs():
        spec = _link(unit, function, rule, license_text, btf.raw)
        if spec.name in programs:
            raise ObjectError(f"two programs are called {spec.name}", spec.section)
        programs[spec.name] = spec
    typed = {name: _with_btf(one, btf.raw) for name, one in maps.specs.items()}
    return ObjectSpec(programs, typed, license_text, btf.raw)


def _with_btf(spec: MapSpec, btf: bytes) -> MapSpec:
    inner = spec.inner and dataclasses.replace(spec.inner, btf=btf)
    return dataclasses.replace(spec, btf=btf, inner=inner)


# ---- bytes


class _Bytes:
    """A section's bytes; every read is checked."""

    def __init__(self, data: bytes, section: str) -> None:
        self.data = data
        self.section = section

    def unpack(self, layout: struct.Struct, at: int) -> tuple[int, ...]:
        if at < 0 or at + layout.size > len(self.data):
            raise ObjectError(f"ends {at + layout.size - len(self.data)} bytes too early", self.section, max(at, 0))
        return layout.unpack_from(self.data, at)

    def text(self, at: int) -> str:
        end = self.data.find(b"\0", at) if 0 <= at < len(self.data) else -1
        if end < 0:
            raise ObjectError("a string without an end", self.section, max(at, 0))
        return self.data[at:end].decode("utf-8", "replace")

    def slice(self, at: int, size: int) -> bytes:
        if at < 0 or size < 0 or at + size > len(self.data):
            raise ObjectError(f"{size} bytes are not there", self.section, max(at, 0))
        return self.data[at : at + size]


_EHDR = struct.Struct("<IBBB9xHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_REL = struct.Struct("<QQ")
_RELA = struct.Struct("<QQq")
_U32 = struct.Struct("<I")
_U32X2 = struct.Struct("<II")
_U32X3 = struct.Struct("<III")
_U32X4 = struct.Struct("<IIII")


@dataclass(slots=True)
class _Section:
    index: int
    name: str
    type: int
    flags: int
    size: int
    link: int
    info: int
    entsize: int
    data: bytes = field(repr=False)

    @property
    def is_code(self) -> bool:
        return bool(self.type == _SHT_PROGBITS and self.flags & _SHF_EXECINSTR and self.size)


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    type: int
    is_global: bool
    section: int
    value: int
    size: int
    is_weak: bool = False


class _Elf:
    """Sections, symbols and relocations."""

    def __init__(self, data: bytes) -> None:
        self.file = _Bytes(data, "file")
        header = self.file.unpack(_EHDR, 0)
        magic, bits, order, _, kind, machine = header[:6]
        if magic != _ELF_MAGIC or bits != 2 or order != 1:
            raise ObjectError("not a little-endian 64-bit ELF file")
        if kind != 1 or machine != _EM_BPF:
            raise ObjectError("not a relocatable BPF object", offset=16)
        shoff, shentsize, shnum, shstrndx = header[9], header[14], header[15], header[16]
        if shentsize != _SHDR.size:
            raise ObjectError(f"section headers of {shentsize} bytes", offset=58)
        self.sections = [self._section(shoff, index) for index in range(shnum)]
        names = self._string_table(shstrndx)
        for one, (name_off, *_) in zip(self.sections, self._headers(shoff, shnum), strict=True):
            one.name = names.text(name_off)
        self.symbols = self._symbols()

    def _headers(self, shoff: int, shnum: int) -> Iterator[tuple[int, ...]]:
        return (self.file.unpack(_SHDR, shoff + index * _SHDR.size) for index in range(shnum))

    def _section(self, shoff: int, index: int) -> _Section:
        _, kind, flags, _, offset, size, link, info, _, entsize = self.file.unpack(_SHDR, shoff + index * _SHDR.size)
        if kind == _SHT_NOBITS or kind == 0:
            content = b""
        else:
            content = self.file.slice(offset, size)
        return _Section(index, "", kind, flags, size, link, info, entsize, content)

    def _string_table(self, index: int) -> _Bytes:
        if index >= len(self.sections):
            raise ObjectError(f"section {index} is not there")
        return _Bytes(self.sections[index].data, self.sections[index].name or "strings")

    def _symbols(self) -> list[_Symbol]:
        table = next((one for one in self.sections if one.type == _SHT_SYMTAB), None)
        if table is None:
            return []
        content, names = _Bytes(table.data, table.name), self._string_table(table.link)
        symbols = []
        for at in range(0, len(table.data) - _SYM.size + 1, _SYM.size):
            name_off, info, _, shndx, value, size = content.unpack(_SYM, at)
            name = names.text(name_off)
            if info & 15 == _STT_SECTION and shndx < len(self.sections):
                name = self.sections[shndx].name
            symbols.append(_Symbol(name, info & 15, info >> 4 != 0, shndx, value, size, info >> 4 == _STB_WEAK))
        return symbols

    def named(self, name: str) -> _Section | None:
        return next((one for one in self.sections if one.name == name), None)

    def relocations(self, target: _Section) -> Iterator[tuple[int, int, _Symbol, int]]:
        """(offset, type, symbol, addend) of each relocation of target; the addend of SHT_REL is 0."""
        for one in self.sections:
            if one.type not in (_SHT_REL, _SHT_RELA) or one.info != target.index:
                continue
            layout = _REL if one.type == _SHT_REL else _RELA
            content = _Bytes(one.data, one.name)
            for at in range(0, len(one.data) - layout.size + 1, layout.size):
                offset, info, *addend = content.unpack(layout, at)
                if info >> 32 >= len(self.symbols):
                    raise ObjectError(f"symbol {info >> 32} is not there", one.name, at)
                yield offset, info & 0xFFFFFFFF, self.symbols[info >> 32], addend[0] if addend else 0


def _license(elf: _Elf) -> str:
    section = elf.named("license")
    return section.data.split(b"\0")[0].decode("utf-8", "replace") if section else ""


# ---- BTF, as far as map definitions need it

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT = range(1, 12)
_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64 = range(12, 20)
_BTF_HEADER = struct.Struct("<HBBIIIII")
_MODIFIERS = frozenset((_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG))
# bytes behind the 12-byte record: fixed, and for each of its vlen entries
_TAIL = {_INT: (4, 0), _PTR: (0, 0), _ARRAY: (12, 0), _STRUCT: (0, 12), _UNION: (0, 12), _ENUM: (0, 8), _FWD: (0, 0),
         _TYPEDEF: (0, 0), _VOLATILE: (0, 0), _CONST: (0, 0), _RESTRICT: (0, 0), _FUNC: (0, 0), _FUNC_PROTO: (0, 8),
         _VAR: (4, 0), _DATASEC: (0, 12), _FLOAT: (0, 0), _DECL_TAG: (4, 0), _TYPE_TAG: (0, 0), _ENUM64: (0, 12)}
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    kind: int
    vlen: int
    size_or_type: int
    at: int  # of what follows the record, in the section


class _Btf:
    """The types of .BTF by id; id 0 is void."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.types: list[_Type] = [_Type("", 0, 0, 0, 0)]
        self._bytes = _Bytes(raw, ".BTF")
        self._strings = _Bytes(b"\0", ".BTF")
        if raw:
            self._scan()

    def _scan(self) -> None:
        magic, version, _, size, type_off, type_len, str_off, str_len = self._bytes.unpack(_BTF_HEADER, 0)
        if magic != 0xEB9F or version != 1:
            raise ObjectError("not BTF version 1, little-endian", ".BTF")
        self._bytes.slice(size + type_off, type_len)
        self._strings = _Bytes(self._bytes.slice(size + str_off, str_len), ".BTF")
        at, end = size + type_off, size + type_off + type_len
        while at < end:
            name_off, info, size_or_type = self._bytes.unpack(_U32X3, at)
            kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
            if kind not in _TAIL:
                raise ObjectError(f"type of unknown kind {kind}", ".BTF", at)
            fixed, each = _TAIL[kind]
            self.types.append(_Type(self._strings.text(name_off), kind, vlen, size_or_type, at + 12))
            at += 12 + fixed + each * vlen
        if at != end:
            raise ObjectError("the last type is cut off", ".BTF", at)

    def text(self, offset: int) -> str:
        return self._strings.text(offset)

    def type(self, number: int) -> _Type:
        if number >= len(self.types):
            raise ObjectError(f"type {number} is not there", ".BTF")
        return self.types[number]

    def resolve(self, number: int) -> tuple[int, _Type]:
        """The type behind typedefs and qualifiers."""
        for _ in range(_MAX_DEPTH):
            one = self.type(number)
            if one.kind not in _MODIFIERS:
                return number, one
            number = one.size_or_type
        raise ObjectError("a chain of types without an end", ".BTF")

    def size_bytes(self, number: int, depth: int = 0) -> int:
        _, one = self.resolve(number)
        if one.kind == _PTR:
            return 8
        if one.kind == _ARRAY:
            if depth > _MAX_DEPTH:
                raise ObjectError("arrays nested too deep", ".BTF", one.at)
            element, _, count = self._bytes.unpack(_U32X3, one.at)
            return count * self.size_bytes(element, depth + 1)
        if one.kind in (_INT, _STRUCT, _UNION, _ENUM, _ENUM64, _FLOAT, _DATASEC):
            return one.size_or_type
        raise ObjectError(f"type {number} has no size", ".BTF", one.at)

    def pointee(self, number: int) -> int:
        _, one = self.resolve(number)
        if one.kind != _PTR:
            raise ObjectError(f"type {number} is not a pointer", ".BTF", one.at)
        return one.size_or_type

    def count(self, number: int) -> int:
        """N of `int (*name)[N]`."""
        _, one = self.resolve(self.pointee(number))
        if one.kind != _ARRAY:
            raise ObjectError(f"type {number} is not a pointer to an array", ".BTF", one.at)
        return self._bytes.unpack(_U32X3, one.at)[2]

    def element(self, number: int) -> int:
        _, one = self.resolve(number)
        if one.kind != _ARRAY:
            raise ObjectError(f"type {number} is not an array", ".BTF", one.at)
        return self._bytes.unpack(_U32X3, one.at)[0]

    def members(self, one: _Type) -> Iterator[tuple[str, int]]:
        for index in range(one.vlen):
            name_off, type_id, _ = self._bytes.unpack(_U32X3, one.at + 12 * index)
            yield self.text(name_off), type_id

    def datasec(self, name: str) -> int:
        """The id of the data section called name, 0 if there is none."""
        return next((i for i, one in enumerate(self.types) if one.kind == _DATASEC and one.name == name), 0)

    def kernel_names(self) -> frozenset[str]:
        """What the object declares as the kernel's: the functions and variables of the section .ksyms."""
        number = self.datasec(".ksyms")
        one = self.type(number)
        rows = (self._bytes.unpack(_U32X3, one.at + 12 * at)[0] for at in range(one.vlen if number else 0))
        return frozenset(self.type(row).name for row in rows)

    def variables(self, number: int) -> Iterator[tuple[str, int, int]]:
        """(name, type, offset) of each variable of a data section."""
        section = self.type(number)
        for index in range(section.vlen):
            var_id, offset, _ = self._bytes.unpack(_U32X3, section.at + 12 * index)
            var = self.type(var_id)
            if var.kind != _VAR:
                raise ObjectError(f"type {var_id} is not a variable", ".BTF", section.at + 12 * index)
            yield var.name, var.size_or_type, offset


# ---- maps


class _Maps:
    """specs by name; at: (section, offset) -> name for what .maps holds; values: section -> name of the data maps."""

    def __init__(self, elf: _Elf, btf: _Btf) -> None:
        self.specs: dict[str, MapSpec] = {}
        self.at: dict[tuple[int, int], str] = {}
        self.values: dict[int, str] = {}
        if elf.named("maps"):
            raise ObjectError("legacy map definitions are not supported (write SEC(\".maps\") with BTF)", "maps")
        section = elf.named(".maps")
        if section and section.size:
            self._definitions(elf, section, btf)
            self._events(btf)
            self._notes(elf)
        for one in elf.sections:
            if one.flags & _SHF_ALLOC and one.size and one.name.startswith((".data", ".rodata", ".bss")):
                self._data(elf, one, btf)

    def _add(self, spec: MapSpec) -> None:
        if spec.name in self.specs:
            raise ObjectError(f"two maps are called {spec.name}", ".maps")
        self.specs[spec.name] = spec

    def _definitions(self, elf: _Elf, section: _Section, btf: _Btf) -> None:
        number = btf.datasec(".maps")
        if not number:
            raise ObjectError("map definitions need .BTF (compile with -g)", ".maps")
        if next(elf.relocations(section), None) is not None:
            raise ObjectError("maps initialised with maps or functions are not supported", ".maps")
        offsets = {s.name: s.value for s in elf.symbols if s.section == section.index and s.type != _STT_SECTION}
        for name, type_id, _ in btf.variables(number):
            if name not in offsets:
                raise ObjectError(f"map {name} has no symbol", ".maps")
            self._add(_definition(btf, name, type_id))
            self.at[section.index, offsets[name]] = name

    def _events(self, btf: _Btf) -> None:
        """What buffers carry: __event_NAME in .bcc.events is a pointer to it."""
        number = btf.datasec(".bcc.events")
        for name, type_id, _ in btf.variables(number) if number else ():
            map = self.specs.get(name.removeprefix("__event_"))
            _, pointer = btf.resolve(type_id)
            if map is None or pointer.kind != _PTR:
                raise ObjectError(f"{name} names no map's records", ".bcc.events")
            self.specs[map.name] = dataclasses.replace(map, event_type=pointer.size_or_type)

    def _notes(self, elf: _Elf) -> None:
        """What a definition has no member for: __table_NAME in .bcc.tables is a string of lines, "public", "extern",
        "shared" (public too: the namespaces that BCC has besides are not reached from Python) or "pin=PATH"."""
        section = elf.named(".bcc.tables")
        for one in elf.symbols if section else ():
            if section is None or one.section != section.index or not one.name.startswith("__table_"):
                continue
            map = self.specs.get(one.name.removeprefix("__table_"))
            if map is None:
                raise ObjectError(f"{one.name} notes nothing about a map", ".bcc.tables", one.value)
            for line in _Bytes(section.data, section.name).text(one.value).split("\n"):
                map = _noted(map, line)
            self.specs[map.name] = map

    def _data(self, elf: _Elf, section: _Section, btf: _Btf) -> None:
        if next(elf.relocations(section), None) is not None:
            raise ObjectError("pointers in initialised data are not supported", section.name)
        if section.size > MAX_DATA_BYTES:
            raise ObjectError(f"{section.size} bytes of data", section.name)
        initial = section.data if section.type != _SHT_NOBITS else bytes(section.size)
        flags = BPF_F_RDONLY_PROG if section.name.startswith(".rodata") else 0
        datasec = btf.datasec(section.name)
        if datasec and btf.type(datasec).size_or_type != section.size:
            datasec = 0
        self._add(MapSpec(section.name, MapType.ARRAY, 4, section.size, 1, flags, value_type=datasec, initial=initial))
        self.values[section.index] = section.name


def _noted(map: MapSpec, line: str) -> MapSpec:
    if line in ("public", "shared"):
        return dataclasses.replace(map, sharing=Sharing.PUBLIC)
    if line == "extern":
        return dataclasses.replace(map, sharing=Sharing.EXTERN)
    if line.startswith("pin=/") and len(line) < _MAX_PATH:
        return dataclasses.replace(map, pin=line.removeprefix("pin="))
    raise ObjectError(f"map {map.name}: unknown note {line[:40]!r}", ".bcc.tables")


_MAX_PATH = 4096
_COUNTS = frozenset(("type", "max_entries", "key_size", "value_size", "map_flags", "pinning", "numa_node", "map_extra"))


def _definition(btf: _Btf, name: str, type_id: int, is_inner: bool = False) -> MapSpec:
    _, struct_type = btf.resolve(type_id)
    if struct_type.kind != _STRUCT:
        raise ObjectError(f"map {name} is not a struct", ".maps")
    counts: dict[str, int] = {}
    types: dict[str, int] = {}
    inner: MapSpec | None = None
    for member, member_type in btf.members(struct_type):
        if member in _COUNTS:
            counts[member] = btf.count(member_type)
        elif member in ("key", "value", "event"):
            types[member] = btf.pointee(member_type)
        elif member == "values" and not is_inner:
            inner = _definition(btf, f"{name}.inner", btf.pointee(btf.element(member_type)), is_inner=True)
        else:
            raise ObjectError(f"map {name}: member '{member}' is not supported", ".maps")
    for member in ("pinning", "numa_node", "map_extra"):
        if counts.get(member):
            raise ObjectError(f"map {name}: {member} is not supported", ".maps")
    kind = counts.get("type", 0)
    if kind not in MapType.__members__.values():
        raise ObjectError(f"map {name}: unknown type {kind}", ".maps")
    sizes = {which: _side(btf, name, which, counts, types) for which in ("key", "value")}
    if inner:
        sizes["value"] = 4
    return MapSpec(
        name, MapType(kind), sizes["key"], sizes["value"], counts.get("max_entries", 0), counts.get("map_flags", 0),
        types.get("key", 0), types.get("value", 0), types.get("event", 0), inner,
    )


def _side(btf: _Btf, name: str, which: str, counts: dict[str, int], types: dict[str, int]) -> int:
    by_count = counts.get(f"{which}_size")
    by_type = btf.size_bytes(types[which]) if types.get(which) else None
    if by_count is not None and by_type is not None and by_count != by_type:
        raise ObjectError(f"map {name}: {which}_size {by_count} but a {which} of {by_type} bytes", ".maps")
    size = by_count if by_count is not None else by_type or 0
    if size > 0xFFFFFFFF:
        raise ObjectError(f"map {name}: a {which} of {size} bytes", ".maps")
    return size


# ---- .BTF.ext


@dataclass(frozen=True, slots=True)
class _Ext:
    """By section name: slot -> BTF FUNC id, and LineInfo in the order of slots."""

    functions: dict[str, dict[int, int]]
    lines: dict[str, list[LineInfo]]


def _read_ext(raw: bytes, btf: _Btf) -> _Ext:
    content = _Bytes(raw, ".BTF.ext")
    magic, size = content.unpack(_U32X2, 0)
    if magic & 0xFFFFFF != 0x01EB9F:
        raise ObjectError("not BTF.ext version 1, little-endian", ".BTF.ext")
    func_off, func_len, line_off, line_len = content.unpack(_U32X4, 8)
    if size >= 32:
        core_off, core_len = content.unpack(_U32X2, 24)
        for section, _, _ in _ext_records(content, btf, size + core_off, core_len, 16):
            raise ObjectError(f"CO-RE relocations (in {section}) are not supported", ".BTF.ext", size + core_off)
    functions: dict[str, dict[int, int]] = {}
    for section, at, _ in _ext_records(content, btf, size + func_off, func_len, 8):
        offset, type_id = content.unpack(_U32X2, at)
        btf.type(type_id)
        functions.setdefault(section, {})[offset // 8] = type_id
    lines: dict[str, list[LineInfo]] = {}
    for section, at, _ in _ext_records(content, btf, size + line_off, line_len, 16):
        offset, file_off, text_off, place = content.unpack(_U32X4, at)
        line = LineInfo(offset // 8, btf.text(file_off), place >> 10, place & 0x3FF, btf.text(text_off).strip(),
                        file_off, text_off)
        lines.setdefault(section, []).append(line)
    for rows in lines.values():
        rows.sort(key=lambda one: one.slot)
    return _Ext(functions, lines)


def _ext_records(content: _Bytes, btf: _Btf, at: int, length: int, least: int) -> Iterator[tuple[str, int, int]]:
    """(section, offset of the record, its size) of one of the tables of .BTF.ext."""
    if not length:
        return
    end = at + length
    (each,) = content.unpack(_U32, at)
    if each < least or each % 4:
        raise ObjectError(f"records of {each} bytes", ".BTF.ext", at)
    at += 4
    while at < end:
        name_off, count = content.unpack(_U32X2, at)
        at += 8
        if at + count * each > end:
            raise ObjectError(f"{count} records are not there", ".BTF.ext", at)
        section = btf.text(name_off)
        for _ in range(count):
            yield section, at, each
            at += each


# ---- functions and linking


@dataclass(frozen=True, slots=True)
class _Function:
    """A function symbol. start and end: slots in its section."""

    name: str
    section: int
    start: int
    end: int
    is_global: bool


class _Unit:
    """The code of the object: functions, instructions and what each instruction refers to."""

    def __init__(self, elf: _Elf, maps: _Maps, ext: _Ext, kernel_names: frozenset[str]) -> None:
        self.elf = elf
        self.ext = ext
        self.kernel_names = kernel_names
        # (section, slot) of what names something of the kernel's
        self.kernel_calls: dict[tuple[int, int], _Symbol] = {}
        self.kernel_loads: dict[tuple[int, int], _Symbol] = {}
        self.insns: dict[int, tuple[Insn, ...]] = {}
        self.functions: dict[int, list[_Function]] = {}
        self.relocs: dict[int, dict[int, Reloc]] = {}
        # (section, slot) of a call or a function's address -> (section, slot) it goes to
        self.targets: dict[tuple[int, int], tuple[int, int]] = {}
        for section in elf.sections:
            if section.is_code:
                self._read(section, maps)
        for section in elf.sections:
            if section.is_code:
                self._local_calls(section)

    def _read(self, section: _Section, maps: _Maps) -> None:
        if section.size % 8:
            raise ObjectError(f"{section.size} bytes of code, not a multiple of 8", section.name)
        self.insns[section.index] = decode(section.data)
        self.functions[section.index] = self._functions(section)
        self.relocs[section.index] = {}
        for offset, kind, symbol, addend in self.elf.relocations(section):
            if offset % 8 or offset >= section.size:
                raise ObjectError(f"a relocation at {offset:#x}", section.name, min(offset, section.size))
            self._relocate(section, offset // 8, kind, symbol, addend, maps)

    def _functions(self, section: _Section) -> list[_Function]:
        found: dict[int, _Function] = {}
        for one in self.elf.symbols:
            if one.type != _STT_FUNC or one.section != section.index:
                continue
            if one.value % 8 or one.size % 8 or not one.size or one.value + one.size > section.size:
                raise ObjectError(f"function {one.name} does not lie in its section", section.name, one.value)
            start = one.value // 8
            found.setdefault(start, _Function(one.name, section.index, start, start + one.size // 8, one.is_global))
        rows = sorted(found.values(), key=lambda one: one.start)
        for left, right in pairwise(rows):
            if left.end > right.start:
                raise ObjectError(f"functions {left.name} and {right.name} overlap", section.name, right.start * 8)
        return rows

    def _relocate(self, section: _Section, slot: int, kind: int, symbol: _Symbol, addend: int, maps: _Maps) -> None:
        insn = self.insns[section.index][slot]
        if symbol.section == 0 and symbol.name in self.kernel_names:
            self._relocate_kernel(section, slot, kind, symbol)
            return
        if symbol.section == 0:
            what = "calls" if insn.code == _CALL else "refers to"
            raise ObjectError(f"{what} {symbol.name}, which is not in the object", section.name, slot * 8)
        if kind == _R_64_32 and insn.code == _CALL and insn.src == PSEUDO_CALL:
            target = symbol.value // 8 + insn.imm + 1 + addend // 8
            self.targets[section.index, slot] = (symbol.section, target)
        elif kind == _R_64_64 and insn.code == _LDDW:
            self._relocate_load(section, slot, insn.imm + addend, symbol, maps)
        else:
            raise ObjectError(f"relocation of type {kind} on opcode {insn.code:#04x}", section.name, slot * 8)

    def _relocate_kernel(self, section: _Section, slot: int, kind: int, symbol: _Symbol) -> None:
        insn = self.insns[section.index][slot]
        if kind == _R_64_32 and insn.code == _CALL:
            self.kernel_calls[section.index, slot] = symbol
        elif kind == _R_64_64 and insn.code == _LDDW:
            self.kernel_loads[section.index, slot] = symbol
        else:
            raise ObjectError(f"relocation of type {kind} on opcode {insn.code:#04x}", section.name, slot * 8)

    def _relocate_load(self, section: _Section, slot: int, addend: int, symbol: _Symbol, maps: _Maps) -> None:
        where = symbol.value + addend
        if symbol.section in self._code_sections():
            self.targets[section.index, slot] = (symbol.section, where // 8)
            return
        if symbol.section in maps.values:
            name = maps.values[symbol.section]
            if not 0 <= where <= maps.specs[name].value_size:
                raise ObjectError(f"refers to byte {where} of {name}", section.name, slot * 8)
            self.relocs[section.index][slot] = Reloc(slot, RelocKind.MAP_VALUE, name, where)
            return
        map_name = maps.at.get((symbol.section, where))
        if map_name is None:
            raise ObjectError(f"refers to {symbol.name}, which is no map and no data", section.name, slot * 8)
        self.relocs[section.index][slot] = Reloc(slot, RelocKind.MAP, map_name)

    def _code_sections(self) -> set[int]:
        return {one.index for one in self.elf.sections if one.is_code}

    def _local_calls(self, section: _Section) -> None:
        for slot, insn in enumerate(self.insns[section.index]):
            if insn.code == _CALL and insn.src == PSEUDO_CALL and (section.index, slot) not in self.kernel_calls:
                self.targets.setdefault((section.index, slot), (section.index, slot + insn.imm + 1))

    def function_at(self, section: int, slot: int, caller: _Function) -> _Function:
        for one in self.functions.get(section, ()):
            if one.start == slot:
                return one
        where = self.elf.sections[caller.section].name
        raise ObjectError(f"{caller.name} calls slot {slot}, where no function begins", where, caller.start * 8)

    def programs(self) -> Iterator[tuple[_Function, SectionRule]]:
        for section in self.elf.sections:
            if not section.is_code or section.name.startswith(".text"):
                continue
            entries = [one for one in self.functions[section.index] if one.is_global]
            if not entries:
                continue
            rule = _rule(section.name)
            if rule is None:
                raise ObjectError("the section's name is no known program type", section.name)
            for one in entries:
                yield one, rule


def _rule(section: str) -> SectionRule | None:
    """The row of SECTIONS with the longest prefix that ends where a word of the name ends."""
    best = None
    for one in SECTIONS:
        rest = section[len(one.prefix):] if section.startswith(one.prefix) else None
        if rest is None or not (one.prefix.endswith("/") or not rest[:1].isalpha()):
            continue
        if best is None or len(one.prefix) > len(best.prefix):
            best = one
    return best


def _hook(section: str, rule: SectionRule) -> Hook | None:
    name = section[len(rule.prefix):]
    if not rule.hook or not name:
        return None
    kind = HookKind(rule.hook)
    if kind is HookKind.TRACEPOINT:
        category, slash, event = name.partition("/")
        if not slash or not event:
            raise ObjectError("a tracepoint is named category/event", section)
        return Hook(kind, f"{category}:{event}")
    function, plus, offset = name.partition("+")
    if not plus or kind is not HookKind.KPROBE:
        return Hook(kind, name)
    try:
        return Hook(kind, function, int(offset, 0))
    except ValueError:
        raise ObjectError(f"'{offset}' is no offset", section) from None


# what the function whose arguments are the context is called, by the attach type
_TARGETS = {
    AttachType.TRACE_RAW_TP: "", AttachType.TRACE_FENTRY: "", AttachType.TRACE_FEXIT: "", AttachType.MODIFY_RETURN: "",
    AttachType.LSM_MAC: "bpf_lsm_", AttachType.TRACE_ITER: "bpf_iter_",
}


def _attach_to(section: str, rule: SectionRule) -> str:
    name, prefix = section[len(rule.prefix):], _TARGETS.get(rule.attach_type)
    return prefix + name if prefix is not None and name else ""


def _link(unit: _Unit, entry: _Function, rule: SectionRule, license_text: str, btf: bytes) -> ProgramSpec:
    section = unit.elf.sections[entry.section].name
    placed: dict[tuple[int, int], int] = {}
    order: list[_Function] = []
    waiting = [entry]
    size = 0
    while waiting:
        one = waiting.pop(0)
        if (one.section, one.start) in placed:
            continue
        placed[one.section, one.start] = size
        order.append(one)
        size += one.end - one.start
        if len(order) > _MAX_FUNCTIONS:
            raise ObjectError(f"{entry.name} calls more than {_MAX_FUNCTIONS} functions", section)
        waiting += _callees(unit, one)
    insns: list[Insn] = []
    relocs: list[Reloc] = []
    functions: list[FuncInfo] = []
    lines: list[LineInfo] = []
    calls: dict[int, _Symbol] = {}
    loads: dict[int, _Symbol] = {}
    for one in order:
        base = placed[one.section, one.start]
        insns += _code(unit, one, base, placed)
        name = unit.elf.sections[one.section].name
        functions.append(FuncInfo(base, one.name, unit.ext.functions.get(name, {}).get(one.start, 0)))
        moved = base - one.start
        for found, known in ((calls, unit.kernel_calls), (loads, unit.kernel_loads)):
            found |= {slot + moved: known[one.section, slot] for slot in range(one.start, one.end) if (one.section, slot) in known}
        for reloc in sorted(unit.relocs[one.section].values(), key=lambda r: r.slot):
            if one.start <= reloc.slot < one.end:
                relocs.append(Reloc(reloc.slot + moved, reloc.kind, reloc.symbol, reloc.addend))
        for line in unit.ext.lines.get(name, ()):
            if one.start <= line.slot < one.end:
                lines.append(LineInfo(line.slot + moved, line.file, line.line, line.col, line.text, line.file_off,
                                      line.text_off))
    return ProgramSpec(
        entry.name, section, rule.type, tuple(insns), license_text, rule.attach_type, _hook(section, rule),
        tuple(relocs), tuple(functions), tuple(lines), btf,
        attach_to=_attach_to(section, rule), kernel_functions={slot: one.name for slot, one in calls.items()},
        kernel_variables={slot: one.name for slot, one in loads.items()},
        weak=frozenset(one.name for one in (*calls.values(), *loads.values()) if one.is_weak),
    )


def _callees(unit: _Unit, one: _Function) -> list[_Function]:
    targets = (unit.targets.get((one.section, slot)) for slot in range(one.start, one.end))
    return [unit.function_at(*target, caller=one) for target in targets if target is not None]


def _code(unit: _Unit, one: _Function, base: int, placed: dict[tuple[int, int], int]) -> Iterator[Insn]:
    for slot in range(one.start, one.end):
        insn = unit.insns[one.section][slot]
        target = unit.targets.get((one.section, slot))
        if target is not None:
            distance = placed[target] - (base + slot - one.start) - 1
            insn = insn._replace(imm=distance, src=PSEUDO_FUNC if insn.code == _LDDW else insn.src)
        elif slot in unit.relocs[one.section]:
            insn = insn._replace(imm=0)
        yield insn
