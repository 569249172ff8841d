"""Types and lines -> LLVM debug metadata, which the BPF target turns into .BTF and .BTF.ext.

Gives metadata text for the module that lower.py writes: a subprogram for each function (its BTF FUNC), a
location for each line (line_info), and for each table a variable of libbpf's map-definition struct, whose
members point at the key and the value, and for a buffer a variable in .bcc.events whose pointer names what
its last output call carries (libbpf passes over that section). Records are emitted once and by reference, so cycles are no trouble."""

from __future__ import annotations

from collections.abc import Mapping

from cfront.ctype import BOOL, CHAR, INT, SCHAR, UCHAR, Array, CType, Enum, Function, Integer, Pointer, Record
from cfront.source import Span
from cfront.tree import FunctionDef, GlobalVar, MapDef
from cfront.uapi import MapType

__all__ = ["Debug"]

_MAX_COLUMN = 1023  # what the ten bits of a line_info record hold


def quoted(text: str) -> str:
    """text as LLVM spells strings in metadata."""
    return '"' + "".join(chr(one) if 32 <= one < 127 and one not in (34, 92) else f"\\{one:02X}" for one in text.encode()) + '"'


class Debug:
    """The metadata of one module. sources: text by file name, kept in the object for the verifier's log."""

    def __init__(self, filename: str, sources: Mapping[str, str]) -> None:
        self._lines: list[str] = []
        self._types: dict[object, int] = {}
        self._files: dict[str, int] = {}
        self._places: dict[tuple[int, int, int], int] = {}
        self._sources = sources
        self._globals: list[int] = []
        flags = [self.add("!{i32 7, !\"Dwarf Version\", i32 5}"), self.add("!{i32 2, !\"Debug Info Version\", i32 3}")]
        self._flags = flags
        self._unit = self._reserve()
        self._file = self.file(filename)

    def _reserve(self) -> int:
        self._lines.append("")
        return len(self._lines) - 1

    def add(self, text: str) -> int:
        self._lines.append(text)
        return len(self._lines) - 1

    def file(self, name: str) -> int:
        found = self._files.get(name)
        if found is None:
            source = self._sources.get(name, "")
            found = self.add(f'!DIFile(filename: {quoted(name)}, directory: "", source: {quoted(source)})')
            self._files[name] = found
        return found

    def function(self, function: FunctionDef, name: str, is_local: bool) -> int:
        """The subprogram of a function under its link name."""
        nothing = self.add("!{null}") if function.type.result.size == 0 else self.add(f"!{{!{self.type(INT)}}}")
        params = [f"!{self._param(one.type, function.is_global)}" for one in function.type.params]
        if function.section:
            params = params[:1]
        result = "null" if function.type.result.size == 0 else f"!{self.type(_debuggable(function.type.result))}"
        self._lines[nothing] = f"!{{{', '.join([result, *params])}}}"
        signature = self.add(f"!DISubroutineType(types: !{nothing})")
        flags = "DISPFlagDefinition | DISPFlagOptimized" + (" | DISPFlagLocalToUnit" if is_local else "")
        file = self.file(function.span.file)
        found = self.add(
            f"distinct !DISubprogram(name: {quoted(name)}, scope: !{file}, file: !{file}, line: {function.span.line}, "
            f"type: !{signature}, scopeLine: {function.span.line}, flags: DIFlagPrototyped, spFlags: {flags}, "
            f"unit: !{self._unit}, retainedNodes: !{{}})"
        )
        # an argument is named in BTF only if a variable says so
        names = [one.name or f"arg{at}" for at, one in enumerate(function.params)][: len(params)]
        variables = [
            self.add(f"!DILocalVariable(name: {quoted(one)}, arg: {at + 1}, scope: !{found}, file: !{file}, "
                     f"line: {function.span.line}, type: {params[at]})")
            for at, one in enumerate(names)
        ]
        nodes = ", ".join(f"!{one}" for one in variables)
        self._lines[found] = self._lines[found].replace("retainedNodes: !{}", f"retainedNodes: !{{{nodes}}}")
        return found

    def kernel_function(self, function: FunctionDef) -> int:
        """The declaration of a function of the kernel's: LLVM puts it into the section of BTF that loaders look into."""
        type = function.type
        result = "null" if type.result.size == 0 else f"!{self.type(_debuggable(type.result))}"
        rows = self.add(f"!{{{', '.join([result, *(f'!{self._param(one.type, True)}' for one in type.params)])}}}")
        signature = self.add(f"!DISubroutineType(types: !{rows})")
        file = self.file(function.span.file)
        return self.add(f"!DISubprogram(name: {quoted(function.name)}, scope: !{file}, file: !{file}, line: {function.span.line}, "
                        f"type: !{signature}, flags: DIFlagPrototyped, spFlags: DISPFlagOptimized)")

    def kernel_variable(self, var: GlobalVar) -> int:
        """The declaration of a variable of the kernel's."""
        file = self.file(var.span.file)
        type = "" if var.type.size == 0 and not isinstance(var.type, Record) else f", type: !{self.type(var.type)}"
        found = self.add(f"!DIGlobalVariable(name: {quoted(var.name)}, scope: !{self._unit}, file: !{file}, "
                         f"line: {var.span.line}{type}, isLocal: false, isDefinition: false)")
        return self.add(f"!DIGlobalVariableExpression(var: !{found}, expr: !DIExpression())")

    def _param(self, type: CType, is_whole: bool) -> int:
        """A parameter's type; pointers are told apart only where the kernel asks what they point at."""
        if not isinstance(type, Pointer):
            return self.type(type)
        return self.add(self._pointer_text(type.target, is_whole=True)) if is_whole else self.type(_VOID_POINTER)

    def place(self, span: Span, scope: int) -> int:
        """The location of span inside a subprogram."""
        column = span.col if span.col <= _MAX_COLUMN else 0
        key = (span.line, column, scope)
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = self.add(f"!DILocation(line: {span.line}, column: {column}, scope: !{scope})")
        return found

    def loop(self, wish: str) -> int:
        """The metadata of a loop that is to be treated as wish says: a node whose first operand is itself."""
        inner = self.add(f"!{{{wish}}}")
        found = self._reserve()
        self._lines[found] = f"distinct !{{!{found}, !{inner}}}"
        return found

    # -- types

    def type(self, type: CType) -> int:
        """The metadata of a type; of a pointer to void, of "void *"."""
        found = self._types.get(type)
        if found is None:
            found = self._types[type] = self._reserve()
            self._lines[found] = self._type_text(type)
        return found

    def _type_text(self, type: CType) -> str:
        if isinstance(type, Integer):
            encoding = "DW_ATE_boolean" if type is BOOL else "DW_ATE_signed_char" if type in (CHAR, SCHAR) else (
                "DW_ATE_unsigned_char" if type is UCHAR else "DW_ATE_signed" if type.is_signed else "DW_ATE_unsigned")
            return f"!DIBasicType(name: {quoted(type.name)}, size: {type.size * 8}, encoding: {encoding})"
        if isinstance(type, Pointer):
            return self._pointer_text(type.target, is_whole=False)
        if isinstance(type, Array):
            count = self.add(f"!DISubrange(count: {type.count or 0})")
            elements = self.add(f"!{{!{count}}}")
            return (f"!DICompositeType(tag: DW_TAG_array_type, baseType: !{self.type(type.element)}, size: {type.size * 8}, "
                    f"elements: !{elements})")
        if isinstance(type, Enum):
            return self._enum_text(type)
        if isinstance(type, Record):
            return self._record_text(type)
        assert isinstance(type, Function), type
        return "!DISubroutineType(types: !{null})"

    def _pointer_text(self, target: CType, is_whole: bool) -> str:
        """A pointer. What a table holds is described whole; what is behind a pointer in it only by name, or
        one pointer to a kernel struct would bring along a thousand others."""
        if not _is_object(target):
            base = "null"
        elif isinstance(target, Record) and target.name and not is_whole:
            base = f"!{self._forward(target)}"
        else:
            base = f"!{self.type(target)}"
        return f"!DIDerivedType(tag: DW_TAG_pointer_type, baseType: {base}, size: 64)"

    def _forward(self, record: Record) -> int:
        """The declaration of a record without its members."""
        key = (record.tag, record.name)
        found = self._types.get(key)
        if found is None:
            found = self._types[key] = self.add(f"!DICompositeType(tag: {_tag(record)}, name: {quoted(record.name)}, "
                                                f"file: !{self._file}, flags: DIFlagFwdDecl)")
        return found

    def _enum_text(self, type: Enum) -> str:
        rows = [self.add(f"!DIEnumerator(name: {quoted(name)}, value: {value}{'' if type.base.is_signed else ', isUnsigned: true'})")
                for name, value in (type.values or {}).items()]
        elements = self.add("!{" + ", ".join(f"!{one}" for one in rows) + "}")
        name = f"name: {quoted(type.name)}, " if type.name else ""
        return (f"!DICompositeType(tag: DW_TAG_enumeration_type, {name}file: !{self._file}, baseType: !{self.type(type.base)}, "
                f"size: {type.size * 8}, elements: !{elements})")

    def _record_text(self, type: Record) -> str:
        name, tag = f"name: {quoted(type.name)}, " if type.name else "", _tag(type)
        if type.fields is None:
            return f"!DICompositeType(tag: {tag}, {name}file: !{self._file}, flags: DIFlagFwdDecl)"
        rows = []
        for one in type.fields:
            base = self.type(one.type if _is_object(one.type) else _VOID_POINTER)
            label = f"name: {quoted(one.name)}, " if one.name else ""
            if one.bit_size is None:
                rows.append(self.add(f"!DIDerivedType(tag: DW_TAG_member, {label}baseType: !{base}, "
                                     f"size: {one.type.size * 8}, offset: {one.offset * 8})"))
            else:
                rows.append(self.add(
                    f"!DIDerivedType(tag: DW_TAG_member, {label}baseType: !{base}, size: {one.bit_size}, "
                    f"offset: {one.offset * 8 + one.bit_offset}, flags: DIFlagBitField, extraData: i64 {one.offset * 8})"))
        elements = self.add("!{" + ", ".join(f"!{one}" for one in rows) + "}")
        return f"!DICompositeType(tag: {tag}, {name}file: !{self._file}, size: {type.size * 8}, elements: !{elements})"

    # -- variables

    def _variable(self, name: str, type: int, span: Span) -> int:
        file = self.file(span.file)
        var = self.add(f"distinct !DIGlobalVariable(name: {quoted(name)}, scope: !{self._unit}, file: !{file}, "
                       f"line: {span.line}, type: !{type}, isLocal: false, isDefinition: true)")
        found = self.add(f"!DIGlobalVariableExpression(var: !{var}, expr: !DIExpression())")
        self._globals.append(found)
        return found

    def variable(self, var: GlobalVar) -> int:
        return self._variable(var.name, self.type(var.type), var.span)

    def map(self, map: MapDef) -> tuple[int, int]:
        """(metadata, size in bytes) of a table's definition: one pointer for each of its properties."""
        type, rows = self._definition(map)
        return self._variable(map.name, type, map.span), rows * 8

    def _definition(self, map: MapDef) -> tuple[int, int]:
        """(metadata, number of members) of the struct that defines a map."""
        rows: list[tuple[str, Pointer]] = [("type", Pointer(Array(INT, int(map.type))))]
        if map.type is MapType.PERF_EVENT_ARRAY:
            rows += [("key_size", Pointer(Array(INT, 4))), ("value_size", Pointer(Array(INT, 4)))]
        if map.key is not None:
            rows.append(("key", Pointer(map.key)))
        if map.value is not None:
            rows.append(("value", Pointer(map.value)))
        if map.max_entries:
            rows.append(("max_entries", Pointer(Array(INT, map.max_entries))))
        if map.flags:
            rows.append(("map_flags", Pointer(Array(INT, map.flags))))
        members = [
            self.add(f"!DIDerivedType(tag: DW_TAG_member, name: {quoted(name)}, size: 64, offset: {at * 64}, "
                     f"baseType: !{self.add(self._pointer_text(type.target, is_whole=True))})")
            for at, (name, type) in enumerate(rows)
        ]
        if map.inner is not None:
            members.append(self._values(map.inner, len(rows)))
        elements = self.add("!{" + ", ".join(f"!{one}" for one in members) + "}")
        type = self.add(f"!DICompositeType(tag: DW_TAG_structure_type, file: !{self._file}, size: {len(rows) * 64}, "
                        f"elements: !{elements})")
        return type, len(rows)

    def _values(self, inner: MapDef, at: int) -> int:
        """The member of a table of tables that says what it holds: an array without a size of pointers to definitions."""
        definition, _ = self._definition(inner)
        pointer = self.add(f"!DIDerivedType(tag: DW_TAG_pointer_type, baseType: !{definition}, size: 64)")
        none = self.add(f"!{{!{self.add('!DISubrange(count: 0)')}}}")
        array = self.add(f"!DICompositeType(tag: DW_TAG_array_type, baseType: !{pointer}, size: 0, elements: !{none})")
        return self.add(f'!DIDerivedType(tag: DW_TAG_member, name: "values", size: 0, offset: {at * 64}, baseType: !{array})')

    def event(self, map: MapDef, name: str) -> int:
        """The metadata of the variable that says what a buffer carries: a pointer to it."""
        assert map.event is not None
        return self._variable(name, self.add(self._pointer_text(map.event, is_whole=True)), map.span)

    def text(self) -> str:
        """All metadata, named roots first."""
        globals = self.add("!{" + ", ".join(f"!{one}" for one in self._globals) + "}")
        self._lines[self._unit] = (
            f"distinct !DICompileUnit(language: DW_LANG_C11, file: !{self._file}, producer: \"cfront\", isOptimized: true, "
            f"runtimeVersion: 0, emissionKind: FullDebug, globals: !{globals})"
        )
        roots = [f"!llvm.dbg.cu = !{{!{self._unit}}}", "!llvm.module.flags = !{" + ", ".join(f"!{one}" for one in self._flags) + "}"]
        return "\n".join(roots + [f"!{at} = {line}" for at, line in enumerate(self._lines)])


_VOID_POINTER = Pointer(Function(INT, ()))


def _is_object(type: CType) -> bool:
    return not isinstance(type, Function) and (type.is_complete or isinstance(type, Record))


def _tag(record: Record) -> str:
    return "DW_TAG_structure_type" if record.tag == "struct" else "DW_TAG_union_type"


def _debuggable(type: CType) -> CType:
    return _VOID_POINTER if isinstance(type, Pointer) else type
