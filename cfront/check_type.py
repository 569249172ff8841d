"""The checker's ground floor: scopes, diagnostics, and C types from declarations.

Context holds what all of the checker shares; TypeChecker turns declaration specifiers and declarators into
CTypes. A name that the text does not declare is asked of the kernel's types; the text's own wins."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from pycparser import c_ast
from pycparserext.ext_c_parser import AttributeSpecifier, FuncDeclExt, TypeOfDeclaration, TypeOfExpression

from cfront.btf import TypeSource
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
    Function,
    Integer,
    Param,
    Pointer,
    Record,
    RecordMember,
    lay_out,
)
from cfront.errors import MAX_DIAGNOSTICS, CompileError, Diagnostic
from cfront.fold import fold
from cfront.preprocess import Token
from cfront.source import Span
from cfront.tree import Expr, FloatConst, FunctionDef, GlobalVar, LocalVar, MapDef, Unit

__all__ = [
    "BUILTIN_TYPEDEFS",
    "Attributes",
    "Broken",
    "Context",
    "EnumConst",
    "Skip",
    "Symbol",
    "Table",
    "TypeChecker",
    "Typedef",
]

_MAX_DECLARATORS = 256  # pointers and arrays in one declaration
_COMMON_PREFIXES = ("__builtin_", "__sync_", "__atomic_", "bpf_")
_MAX_OBJECT_BYTES = 1 << 32
_MAX_WARNINGS = 100

# names that are types without any declaration; the kernel's own typedefs come from BTF
BUILTIN_TYPEDEFS: dict[str, CType] = {
    "u8": UCHAR, "u16": USHORT, "u32": UINT, "u64": ULLONG, "s8": SCHAR, "s16": SHORT, "s32": INT, "s64": LLONG,
    "__u8": UCHAR, "__u16": USHORT, "__u32": UINT, "__u64": ULLONG, "__s8": SCHAR, "__s16": SHORT, "__s32": INT,
    "__s64": LLONG, "__le16": USHORT, "__le32": UINT, "__le64": ULLONG, "__be16": USHORT, "__be32": UINT,
    "__be64": ULLONG, "__wsum": UINT, "uint8_t": UCHAR, "uint16_t": USHORT, "uint32_t": UINT, "uint64_t": ULONG,
    "int8_t": SCHAR, "int16_t": SHORT, "int32_t": INT, "int64_t": LONG, "size_t": ULONG, "ssize_t": LONG,
    "uintptr_t": ULONG, "intptr_t": LONG, "ptrdiff_t": LONG, "bool": BOOL, "pid_t": INT, "uid_t": UINT, "gid_t": UINT,
    "mode_t": UINT, "dev_t": UINT, "loff_t": LLONG, "off_t": LONG, "sector_t": ULLONG, "gfp_t": UINT, "uint": UINT,
    "ulong": ULONG, "ushort": USHORT, "__builtin_va_list": Pointer(VOID), "__auto_type": VOID,
    "__int128_t": INT128, "__uint128_t": UINT128,
}

_SPECIFIERS: dict[tuple[str, ...], CType] = {}
for _words, _type in {
    "void": VOID, "_Bool": BOOL, "char": CHAR, "signed char": SCHAR, "unsigned char": UCHAR, "short": SHORT,
    "unsigned short": USHORT, "int": INT, "unsigned int": UINT, "long": LONG, "unsigned long": ULONG, "long long": LLONG,
    "unsigned long long": ULLONG, "__int128": INT128, "unsigned __int128": UINT128,
}.items():
    _SPECIFIERS[tuple(sorted(_words.split()))] = _type

# a dot begins the compiler's own sections, of which a text may name those of data, of plain code and of what the kernel has
_SECTION_NAME = re.compile(r"(?!\.)[!#-\[\]-~]+|\.(?:text|rodata|data|bss)[\w.]*|\.ksyms")
_IGNORED_ATTRIBUTES = {
    "unused", "used", "always_inline", "maybe_unused", "may_alias", "preserve_access_index", "const", "pure", "cold",
    "hot", "warn_unused_result", "nonnull", "noreturn", "deprecated", "visibility", "no_sanitize", "flatten", "gnu_inline",
    "btf_decl_tag", "btf_type_tag", "address_space", "format", "optimize", "malloc", "fallthrough", "externally_visible",
}


@dataclass(frozen=True, slots=True)
class Typedef:
    """align: what an attribute of the typedef asks for, 0 if none does."""

    type: CType
    align: int = 0
    is_volatile: bool = False


@dataclass(frozen=True, slots=True)
class EnumConst:
    value: int
    type: Integer


@dataclass(frozen=True, slots=True)
class Broken:
    """A name whose declaration was refused: uses of it are given up without another word."""


@dataclass(frozen=True, slots=True)
class Table:
    """A map of the text; record has the members key and leaf, for typeof."""

    map: MapDef
    record: Record


Symbol = LocalVar | GlobalVar | FunctionDef | Typedef | EnumConst | Table | Broken


@dataclass(slots=True)
class Attributes:
    """What attributes of one declaration ask for."""

    is_packed: bool = False
    align: int = 0
    section: str = ""
    is_noinline: bool = False
    is_packet: bool = False
    is_weak: bool = False
    table: tuple[c_ast.Node, ...] | None = None


class Skip(Exception):
    """A diagnostic was recorded; the statement or declaration around it is given up."""


class Context:
    """What all parts of the checker share. target: "bpf" or "host"."""

    def __init__(
        self, tokens: list[Token], sources: dict[str, str], filename: str, types: TypeSource | None, target: str
    ) -> None:
        self.tokens = tokens
        self.sources = sources
        self.types = types
        self.target = target
        self.unit = Unit(filename)
        self.function: FunctionDef | None = None  # whose body is being checked
        self.diagnostics: list[Diagnostic] = []
        self.scopes: list[dict[str, Symbol]] = [{}]
        self.tags: list[dict[str, Record | Enum]] = [{}]
        self.unevaluated = 0
        self.unreached = 0  # open branches that a constant decides against
        self.past_end = False  # the subscript being read may be that of the end
        self.macros: Iterable[str] = ()  # that a misspelled name may have meant
        self.constants: set[LocalVar] = set()  # declared const
        self.known_values: dict[LocalVar | GlobalVar, int] = {}  # of those that are declared const
        self.block_externs: dict[str, GlobalVar] = {}  # declared in a block, and nowhere else so far
        self.libc: dict[str, FunctionDef] = {}  # called by __builtin_ names, and not declared when they were
        self.literal_count = 0  # compound literals outside functions
        self.warnings: dict[tuple[str, Span], Diagnostic] = {}
        self.loose_enums: list[Enum] = []  # at the top level, without a tag
        self.defined_later: set[str] = set()  # functions of the text that were not reached yet
        self.open_records: list[Record] = []  # whose members are being read
        self.specified: dict[Any, Record | Enum] = {}  # by the specifier that defines it; many declarators share one
        self.pack = 0  # the bound of #pragma pack, 0 for none
        self.packs: list[int] = []  # those that it pushed

    @property
    def in_bpf(self) -> str:
        """Behind "is not supported": where it is not."""
        return " in BPF" if self.target == "bpf" else ""

    # -- the parts above this one

    def expression(self, node: c_ast.Node) -> Expr:
        raise AssertionError("implemented by ExprChecker")

    def rvalue(self, expr: Expr) -> Expr:
        raise AssertionError("implemented by ExprChecker")

    def refuse_float(self, span: Span, value: float | None = None) -> NoReturn:
        raise AssertionError("implemented by ExprChecker")

    # -- places and errors

    def span(self, node: Any) -> Span:
        coord = getattr(node, "coord", None)
        if coord is None or not hasattr(coord, "line") or not self.tokens:
            return self.tokens[0].span if self.tokens else Span(self.unit.filename, 1, 1)
        index: int = coord.line
        return self.tokens[min(index, len(self.tokens) - 1)].span

    def source_line(self, span: Span) -> str:
        lines = self.sources.get(span.file, "").split("\n")
        return lines[span.line - 1] if 0 < span.line <= len(lines) else ""

    def report(self, message: str, span: Span, hint: str = "") -> None:
        """Records an error and goes on."""
        self.diagnostics.append(Diagnostic(message, span, "error", hint, self.source_line(span)))
        if len(self.diagnostics) >= MAX_DIAGNOSTICS:
            self.give_up()

    def warn(self, message: str, span: Span, group: str, hint: str = "") -> None:
        """Records a warning, once, about what may be evaluated. group: see Diagnostic."""
        if self.unevaluated or self.unreached or (message, span) in self.warnings or len(self.warnings) >= _MAX_WARNINGS:
            return
        if not span.file.startswith("<bcc/"):
            self.warnings[message, span] = Diagnostic(message, span, "warning", hint, self.source_line(span), group)

    def give_up(self) -> NoReturn:
        raise CompileError(self.diagnostics)

    def error(self, message: str, where: c_ast.Node | Span | Any, hint: str = "") -> NoReturn:
        """Records an error and leaves the statement."""
        self.report(message, where if isinstance(where, Span) else self.span(where), hint)
        raise Skip

    @contextmanager
    def recovering(self) -> Iterator[None]:
        """Goes on behind what was given up."""
        try:
            yield
        except Skip:
            pass

    def did_you_mean(self, name: str, known: Iterable[str], likeness: float = 0.6) -> str:
        # what many names begin with says nothing of their likeness
        known = [one for one in known if one]
        prefix = next((one for one in _COMMON_PREFIXES if name.startswith(one)), "")
        rest = {one.removeprefix(prefix): one for one in known if one.startswith(prefix)}
        close = difflib.get_close_matches(name.removeprefix(prefix), rest, 1, likeness)
        return f"did you mean '{rest[close[0]]}'?" if close else ""

    def similar_types(self, tag: str, name: str) -> list[str]:
        """Tags or typedefs of the text and of the kernel's types that are spelled nearly so."""
        own = [one for scope in self.tags for one in scope if one != name]
        return [*difflib.get_close_matches(name, own, 1, 0.75), *(self.types.similar(tag, name) if self.types is not None else ())]

    def why_undefined(self, type: CType) -> str:
        """The hint for a type that is named and nowhere defined."""
        if not isinstance(type, (Record, Enum)) or not type.name:
            return ""
        tag = type.tag if isinstance(type, Record) else "enum"
        event = re.fullmatch(r"tracepoint__([a-z0-9]+(?:_[a-z0-9]+)*)__(\w+)", type.name)
        if event is not None and self.types is not None:
            return self.why_no_tracepoint(event[1], event[2])
        similar = self.similar_types(tag, type.name)
        if similar:
            return f"did you mean '{tag} {similar[0]}'?"
        if self.types is not None and self.target == "bpf":
            return f"the kernel's types have no {tag} of that name: write its definition"
        return "write its definition" + (", or compile with a kernel's types" if self.target == "bpf" else "")

    def why_no_tracepoint(self, category: str, event: str) -> str:
        assert self.types is not None
        near = [one.removeprefix("btf_trace_") for one in self.similar_types("typedef", f"btf_trace_{event}")]
        for one in (*near, event):
            for place in (category, one.split("_")[0]):
                if self.types.find("struct", f"tracepoint__{place}__{one}") is not None:
                    return f"did you mean 'struct tracepoint__{place}__{one}'?"
        return f"the kernel's types have no tracepoint {category}:{event}"

    # -- scopes

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.scopes.append({})
        self.tags.append({})
        try:
            yield
        finally:
            self.scopes.pop()
            self.tags.pop()

    def lookup(self, name: str) -> Symbol | None:
        """What name stands for; gives up the statement if its declaration was refused."""
        for one in reversed(self.scopes):
            if name in one:
                if isinstance(one[name], Broken):
                    raise Skip
                return one[name]
        return None

    @contextmanager
    def declaring(self, name: str | None) -> Iterator[None]:
        """What is refused in here leaves name broken, not undeclared."""
        try:
            yield
        except Skip:
            if name:
                self.scopes[-1].setdefault(name, Broken())
            raise

    def declare(self, name: str, symbol: Symbol, node: Any) -> None:
        if name in self.scopes[-1] and not isinstance(symbol, Typedef):
            self.error(f"redefinition of '{name}'", node)
        self.scopes[-1][name] = symbol

    def lookup_tag(self, tag: str, name: str) -> Record | Enum | None:
        for one in reversed(self.tags):
            if name in one:
                return one[name]
        found = self.types.find(tag, name) if self.types else None
        return found if isinstance(found, (Record, Enum)) else None


class TypeChecker(Context):
    """Types from declarations."""

    # -- attributes

    def attributes(self, *lists: Any) -> Attributes:
        """The attributes in pycparserext's several containers."""
        result = Attributes()
        for container in lists:
            for one in _flatten(container):
                self.attribute(one, result)
        return result

    def attribute(self, node: c_ast.Node, into: Attributes) -> None:
        call = isinstance(node, c_ast.FuncCall)
        name = node.name.name if call else getattr(node, "name", "")
        args = list(node.args.exprs) if call and node.args is not None else []
        name = name.strip("_") if isinstance(name, str) else ""
        if name == "packed":
            into.is_packed = True
        elif name == "aligned":
            into.align = self.constant(args[0], "an alignment") if args else 16
            if into.align <= 0 or into.align & (into.align - 1) or into.align > 4096:
                self.error(f"alignment {into.align} is not a power of two up to 4096", node)
        elif name == "weak":
            into.is_weak = True
        elif name == "section":
            if len(args) != 1 or not isinstance(args[0], c_ast.Constant) or args[0].type != "string":
                self.error("section needs one string", node)
            into.section = args[0].value[1:-1]
            if not _SECTION_NAME.fullmatch(into.section):
                self.error(f"'{into.section}' cannot be a section's name", args[0], 'write e.g. "kprobe/do_sys_open" or "xdp"')
        elif name == "noinline":
            into.is_noinline = True
        elif name == "deprecated" and args and getattr(args[0], "value", "") == '"packet"':
            into.is_packet = True
        elif name == "bpf_table":
            into.table = tuple(args)
        elif name and name not in _IGNORED_ATTRIBUTES:
            self.warn(f"unknown attribute '{name}' ignored", self.span(node), "unknown-attributes")

    def constant(self, node: c_ast.Node, what: str) -> int:
        """The value of an integer constant expression."""
        expr = self.rvalue(self.expression(node))
        value = fold(expr) if isinstance(expr.type, (Integer, Enum)) else None
        if value is None:
            self.error(f"{what} must be an integer constant", node)
        return value

    # -- specifiers

    def type_of(self, node: c_ast.Node, attributes: Attributes | None = None) -> CType:
        """The type that a declarator chain (TypeDecl, PtrDecl, ArrayDecl, FuncDecl) or specifier denotes."""
        depth, inner = 0, node
        while isinstance(inner, (c_ast.PtrDecl, c_ast.ArrayDecl)):
            depth, inner = depth + 1, inner.type
        if depth > _MAX_DECLARATORS:
            self.error(f"a declaration of {depth} pointers and arrays in a row", node)
        if isinstance(node, c_ast.TypeDecl):
            return self.specifier(node.type, attributes)
        if isinstance(node, c_ast.PtrDecl):
            return Pointer(self.type_of(node.type, attributes), is_volatile=self.is_volatile(node.type))
        if isinstance(node, c_ast.ArrayDecl):
            return self.array_type(node, attributes)
        if isinstance(node, (c_ast.FuncDecl, FuncDeclExt)):
            return self.function_type(node, attributes)
        if isinstance(node, (c_ast.Typename, c_ast.Decl, c_ast.Typedef)):
            return self.type_of(node.type, attributes)
        return self.specifier(node, attributes)

    def specifier(self, node: c_ast.Node, attributes: Attributes | None) -> CType:
        if isinstance(node, c_ast.IdentifierType):
            return self.named_type(node)
        if isinstance(node, (c_ast.Struct, c_ast.Union)):
            return self.record_type(node, attributes)
        if isinstance(node, c_ast.Enum):
            return self.enum_type(node)
        if isinstance(node, TypeOfDeclaration):
            return self.type_of(node.declaration)
        if isinstance(node, TypeOfExpression):
            return self.type_of_expression(node.expr)
        self.error("this kind of type is not supported", node)

    def type_of_expression(self, node: Any) -> CType:
        """The type of what is not evaluated."""
        self.unevaluated += 1
        try:
            expr = self.expression(node)
        finally:
            self.unevaluated -= 1
        if isinstance(expr, FloatConst):
            self.refuse_float(expr.span, expr.value)
        return expr.type

    def named_type(self, node: c_ast.IdentifierType) -> CType:
        names = list(node.names)
        if len(names) == 1:
            found = self.typedef(names[0])
            if found is not None:
                return found
        words = [one for one in names if one not in ("signed",) or "char" in names]
        if len(words) > 1 and "int" in words:
            rest = [one for one in words if one != "int"]
            if rest != ["unsigned"]:
                words = rest
        if not words:
            words = ["int"]
        if words == ["unsigned"]:
            words = ["unsigned", "int"]
        hit = _SPECIFIERS.get(tuple(sorted(words)))
        if hit is not None:
            return hit
        if "float" in names or "double" in names or "_Complex" in names:
            self.refuse_float(self.span(node))
        self.error(f"unknown type '{' '.join(names)}'", node, "these words do not go together")

    def typedef(self, name: str) -> CType | None:
        for one in reversed(self.scopes):
            if name in one:
                symbol = one[name]
                return symbol.type if isinstance(symbol, Typedef) else None
        if name in BUILTIN_TYPEDEFS:
            return BUILTIN_TYPEDEFS[name]
        return self.types.find("typedef", name) if self.types else None

    # -- records and enums

    def record_type(self, node: Any, attributes: Attributes | None) -> Record:
        tag = "struct" if isinstance(node, c_ast.Struct) else "union"
        name = node.name or ""
        if node.decls is None:
            found = self.lookup_tag(tag, name)
            if isinstance(found, Record):
                if found.tag != tag:
                    self.error(f"'{name}' is a {found.tag}, not a {tag}", node)
                return found
            if isinstance(found, Enum):
                self.error(f"'{name}' is an enum, not a {tag}", node)
            record = Record(tag, name)
            self.tags[0][name] = record
            return record
        known = self.specified.get(node)
        if isinstance(known, Record) and (not name or self.tags[-1].get(name) is known):
            return known
        record = self.new_record(tag, name, node)
        self.specified[node] = record
        own = self.attributes(getattr(node, "attrib", None))
        self.open_records.append(record)
        try:
            members = self.members(record, node.decls)
        finally:
            self.open_records.pop()
        record.complete(*lay_out(tag, members, own.is_packed, own.align, self.pack))
        record.is_packet = own.is_packet or bool(attributes and attributes.is_packet)
        if record.size > _MAX_OBJECT_BYTES:
            self.error(f"{record} is too large: {record.size} bytes", node)
        return record

    def new_record(self, tag: str, name: str, node: Any) -> Record:
        known = self.tags[-1].get(name) if name else None
        if isinstance(known, Record) and not known.is_complete and known.tag == tag and known not in self.open_records:
            return known
        if known is not None and name:
            self.error(f"redefinition of '{tag} {name}'", node)
        record = Record(tag, name)
        if name:
            self.tags[-1][name] = record
        return record

    def members(self, record: Record, decls: Iterable[Any]) -> list[RecordMember]:
        rows: list[RecordMember] = []
        seen: set[str] = set()
        decls = list(decls)
        for at, decl in enumerate(decls):
            if isinstance(decl, (c_ast.Pragma, c_ast.EmptyStatement)):
                self.pragma(decl)
                continue
            if isinstance(decl, c_ast.StaticAssert):
                self.static_assert(decl)
                continue
            attributes = self.attributes(getattr(decl, "funcspec", None), _declarator_attributes(decl.type))
            type = self.type_of(decl.type, attributes)
            self.note_alignment(decl, attributes)
            name = decl.name or ""
            if name in seen:
                self.error(f"duplicate member '{name}' in {record}", decl)
            seen.add(name) if name else None
            for inner in type.member_names() if not name and isinstance(type, Record) else ():
                if inner in seen:
                    self.error(f"duplicate member '{inner}' in {record}", decl)
                seen.add(inner)
            self.check_member(record, name, type, decl, at == len(decls) - 1)
            bits = None if decl.bitsize is None else self.bit_width(name, type, decl)
            rows.append(RecordMember(name, type, bits, attributes.align, attributes.is_packed, self.is_volatile(decl.type)))
        return rows

    def pragma(self, node: c_ast.Node) -> None:
        """Heeds #pragma pack."""
        words = re.findall(r"\w+", getattr(node, "string", None) or "")
        if words[:1] != ["pack"]:
            return
        if "push" in words:
            self.packs.append(self.pack)
        elif "pop" in words:
            if not self.packs:
                self.error("#pragma pack(pop) without a push", node)
            self.pack = self.packs.pop()
        sizes = [int(one) for one in words if one.isdigit()]
        if any(one not in (0, 1, 2, 4, 8, 16) for one in sizes):
            self.error(f"#pragma pack({sizes[0]}): only 1, 2, 4, 8 and 16 are alignments", node)
        if sizes or len(words) == 1:
            self.pack = sizes[0] if sizes else 0

    def named_typedef(self, node: Any) -> Typedef | None:
        """The text's own typedef that a declarator's object is of, behind its arrays."""
        while isinstance(node, c_ast.ArrayDecl):
            node = node.type
        inner = node.type if isinstance(node, c_ast.TypeDecl) else None
        if not isinstance(inner, c_ast.IdentifierType) or len(inner.names) != 1:
            return None
        found = next((scope[inner.names[0]] for scope in reversed(self.scopes) if inner.names[0] in scope), None)
        return found if isinstance(found, Typedef) else None

    def is_volatile(self, node: Any) -> bool:
        """Whether what a declarator declares is volatile, not what it points at."""
        while isinstance(node, c_ast.ArrayDecl):
            node = node.type
        quals = {one.strip("_") for one in getattr(node, "quals", None) or ()}
        if "Atomic" in quals:
            self.error("_Atomic is not supported", node, "use the __sync_ functions on a plain integer")
        named = self.named_typedef(node)
        return "volatile" in quals or (named is not None and named.is_volatile)

    def note_alignment(self, node: Any, into: Attributes) -> None:
        """Takes into account what _Alignas and the declared type's typedef ask for."""
        named = self.named_typedef(node.type)
        into.align = max(into.align, named.align if named else 0)
        for one in getattr(node, "align", None) or ():
            wanted = one.alignment
            into.align = max(into.align, self.type_of(wanted).align if isinstance(wanted, c_ast.Typename)
                             else self.constant(wanted, "an alignment"))
        if into.align & (into.align - 1) or into.align > 4096:
            self.error(f"alignment {into.align} is not a power of two up to 4096", node)

    def check_member(self, record: Record, name: str, type: CType, decl: Any, is_last: bool) -> None:
        what = f"member '{name}'" if name else "an unnamed member"
        if isinstance(type, Function):
            self.error(f"{what} of {record} is a function", decl, "make it a pointer")
        if isinstance(type, Array) and type.count is None:
            if not is_last and record.tag == "struct":
                self.error(f"flexible array {what} must be the last of {record}", decl)
            return
        if not type.is_complete:
            hint = "make it a pointer" if type is record else self.why_undefined(type) or "define the type before its use"
            self.error(f"{what} of {record} has incomplete type '{type}'", decl, hint)

    def bit_width(self, name: str, type: CType, decl: Any) -> int:
        width = self.constant(decl.bitsize, "a bit-field's width")
        base = type.base if isinstance(type, Enum) else type
        if not isinstance(base, Integer):
            self.error(f"bit-field '{name}' has type '{type}', which is not an integer", decl)
        if not 0 <= width <= base.bits or (width == 0 and name):
            self.error(f"bit-field '{name}' cannot have {width} bits of '{type}'", decl)
        return width

    def enum_type(self, node: c_ast.Enum) -> Enum:
        name = node.name or ""
        if node.values is None:
            found = self.lookup_tag("enum", name)
            if isinstance(found, Enum):
                return found
            enum = Enum(name, None, UINT)  # GNU C: it may be defined later
            self.tags[-1][name] = enum
            return enum
        shared = self.specified.get(node)
        if isinstance(shared, Enum) and all(one.name in self.scopes[-1] for one in node.values.enumerators):
            return shared
        values: dict[str, int] = {}
        following = 0
        for one in node.values.enumerators:
            value = following if one.value is None else self.constant(one.value, "an enumerator")
            values[one.name] = value
            following = value + 1
            base = LONG if value > 0x7FFFFFFF or value < -(1 << 31) else INT
            self.declare(one.name, EnumConst(value, base), one)
        is_packed = self.attributes(getattr(node, "attrib", None)).is_packed
        enum = self.specified[node] = Enum(name, values, _enum_base(values.values(), is_packed))
        known = self.tags[-1].get(name) if name else None
        if isinstance(known, Enum) and known.values is None:
            known.values, known.base = values, enum.base
            self.specified[node] = known
            return known
        if name:
            self.tags[-1][name] = enum
        elif len(self.tags) == 1:
            self.loose_enums.append(enum)
        return enum

    def static_assert(self, node: c_ast.StaticAssert) -> None:
        if not self.constant(node.cond, "a static assertion"):
            message = f": {node.message.value[1:-1]}" if node.message is not None else ""
            self.error("static assertion failed" + message, node)

    # -- declarators

    def array_type(self, node: c_ast.ArrayDecl, attributes: Attributes | None) -> Array:
        element = self.type_of(node.type, attributes)
        if isinstance(element, Function) or (not element.is_complete):
            self.error(f"array of '{element}', which has no size", node, self.why_undefined(element))
        if node.dim is None or (isinstance(node.dim, c_ast.ID) and node.dim.name == "*"):
            return Array(element, None)
        expr = self.rvalue(self.expression(node.dim))
        count = fold(expr)
        if count is None:
            self.error(f"variable-length arrays are not supported{self.in_bpf}", node.dim, "use a constant size")
        if not isinstance(expr.type, (Integer, Enum)) or count < 0:
            self.error(f"array size {count} is not a positive integer", node.dim)
        if count * element.size > _MAX_OBJECT_BYTES:
            self.error(f"array of {count} * {element.size} bytes is too large", node.dim)
        return Array(element, count)

    def function_type(self, node: Any, attributes: Attributes | None) -> Function:
        result = self.type_of(node.type, attributes)
        if isinstance(result, (Array, Function)):
            self.error(f"a function cannot return '{result}'", node)
        params: list[Param] = []
        variadic = False
        for one in node.args.params if node.args is not None else ():
            if isinstance(one, c_ast.EllipsisParam):
                variadic = True
                continue
            if isinstance(one, c_ast.ID):
                self.error(f"parameter '{one.name}' has no type", one)
            type = self.type_of(one.type)
            if type is VOID and len(node.args.params) == 1 and not one.name:
                continue
            if isinstance(type, Array):
                type = Pointer(type.element)
            elif isinstance(type, Function):
                type = Pointer(type)
            params.append(Param(one.name or "", type))
        return Function(result, tuple(params), variadic, is_open=node.args is None)


def _enum_base(values: Iterable[int], is_packed: bool) -> Integer:
    """The type of an enum: of int's size, or the smallest, or what holds its values if that is larger."""
    low, high = min(values, default=0), max(values, default=0)
    for one in ((UCHAR, USHORT) if low >= 0 else (SCHAR, SHORT)) if is_packed else ():
        if max(high, -low - 1).bit_length() <= one.bits - one.is_signed:
            return one
    if low >= 0:
        return UINT if high <= 0xFFFFFFFF else ULONG
    return INT if low >= -(1 << 31) and high <= 0x7FFFFFFF else LONG


def _flatten(container: Any) -> Iterator[c_ast.Node]:
    if container is None:
        return
    if isinstance(container, (list, tuple)):
        for one in container:
            if isinstance(one, (AttributeSpecifier, c_ast.ExprList, list, tuple)):
                yield from _flatten(one)
    elif isinstance(container, AttributeSpecifier):
        yield from _flatten(container.exprlist)
    elif isinstance(container, c_ast.ExprList):
        for one in container.exprs:
            if isinstance(one, (AttributeSpecifier, c_ast.ExprList)):
                yield from _flatten(one)
            else:
                yield one


def _declarator_attributes(node: Any) -> Any:
    """The attributes written behind a declarator's name, wherever pycparserext put them."""
    found = []
    while node is not None and not isinstance(node, (c_ast.IdentifierType, c_ast.Struct, c_ast.Union, c_ast.Enum)):
        attributes = getattr(node, "attributes", None)
        if attributes is not None:
            found.append(attributes)
        node = getattr(node, "type", None)
    return found
