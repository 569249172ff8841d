"""AST -> typed tree: declarations, statements, functions; every diagnostic that needs no provenance.

Input: the AST of one text with its tokens (for places), and the kernel's types. Output: a Unit. The work is
stacked in files, each a class above the one before: check_type (scopes, types), check_expr (expressions),
check_init (initialisers), builtin (undeclared functions), dialect (BCC), and here statements and functions.
A statement or declaration with an error is given up and the next one checked, up to MAX_DIAGNOSTICS.
Refuses with CompileError holding all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pycparser import c_ast
from pycparserext.ext_c_parser import Asm as AsmNode
from pycparserext.ext_c_parser import FuncDeclExt, PreprocessorLine, RangeExpression

from cfront.btf import TypeSource
from cfront.check_type import Attributes, Typedef, _declarator_attributes
from cfront.ctype import (
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
    is_scalar,
    value_type,
)
from cfront.dialect import section_from_name
from cfront.doubt import falls_through, local_behind
from cfront.fold import fold, wrap
from cfront.packet import PacketChecker
from cfront.preprocess import Token
from cfront.source import Span
from cfront.tree import (
    Asm,
    Assign,
    Block,
    Break,
    Case,
    Const,
    Continue,
    Declare,
    Expr,
    ExprStmt,
    FunctionDef,
    GlobalVar,
    Goto,
    If,
    Intrinsic,
    Label,
    LocalVar,
    Loop,
    Return,
    Stmt,
    Switch,
    Unit,
)

__all__ = ["check"]

_LICENSE_NAME = "the name '_license' is taken: it holds the license of the programs"
_LICENSE_HINT = "write #define BPF_LICENSE GPL, or choose another name"
_MAX_GLOBAL_BYTES = 1 << 22  # of one variable; a section is one value of an array map

MAX_BPF_ARGS = 5


class _Switch:
    """An open switch: what its cases have named so far."""

    __slots__ = ("has_default", "ranges", "type")

    def __init__(self, type: Integer) -> None:
        self.type = type
        self.ranges: list[tuple[int, int]] = []
        self.has_default = False


class Checker(PacketChecker):
    """The whole checker."""

    def __init__(
        self, tokens: list[Token], sources: dict[str, str], filename: str, types: TypeSource | None, target: str
    ) -> None:
        super().__init__(tokens, sources, filename, types, target)
        self.used: set[LocalVar] = set()
        self.used_globals: set[GlobalVar] = set()
        self.loops = 0
        self.switches: list[_Switch] = []
        self.labels: dict[str, Span] = {}
        self.gotos: list[tuple[str, Span]] = []
        self.unroll: int | None = None
        self.calls: dict[FunctionDef, dict[FunctionDef, Span]] = {}
        self.static_count = 0

    # -- the text

    def translation_unit(self, ast: c_ast.FileAST) -> Unit:
        self.defined_later = {node.decl.name for node in ast.ext if isinstance(node, c_ast.FuncDef)}
        for node in ast.ext:
            if isinstance(node, c_ast.FuncDef):
                self.defined_later.discard(node.decl.name)
            with self.recovering():
                self.external(node)
        self.check_lengths()
        self.finish_tables()
        self.check_bodies()
        self.check_externs()
        self.check_recursion()
        if self.diagnostics:
            self.give_up()
        return self.unit

    def external(self, node: Any) -> None:
        if isinstance(node, c_ast.FuncDef):
            self.define_function(node)
        elif isinstance(node, c_ast.Decl):
            self.global_declaration(node)
        elif isinstance(node, c_ast.Typedef):
            self.declare_typedef(node)
        elif isinstance(node, c_ast.StaticAssert):
            self.static_assert(node)
        elif isinstance(node, c_ast.Pragma):
            self.pragma(node)
        elif not isinstance(node, PreprocessorLine) and node is not None:
            self.error("expected a declaration", node)

    def declare_typedef(self, node: c_ast.Typedef) -> None:
        attributes = self.attributes(_declarator_attributes(node.type))
        type = self.type_of(node.type, attributes)
        self.note_alignment(node, attributes)
        self.declare(node.name, Typedef(type, attributes.align, self.is_volatile(node.type)), node)

    # -- globals

    def declared(self, node: c_ast.Decl) -> tuple[CType, Attributes]:
        """The type and attributes of a declaration."""
        functions = node.type if isinstance(node.type, FuncDeclExt) else None
        attributes = self.attributes(node.funcspec, _declarator_attributes(node.type), getattr(functions, "attributes", None))
        if node.name and isinstance(node.type, c_ast.TypeDecl) and "__auto_type" in getattr(node.type.type, "names", ()):
            if node.init is None:
                self.error("__auto_type needs an initialiser", node)
            return value_type(self.type_of_expression(node.init)), attributes
        type = self.type_of(node.type, attributes)
        self.note_alignment(node, attributes)
        return type, attributes

    def global_declaration(self, node: c_ast.Decl) -> None:
        with self.declaring(node.name):
            self.declare_globally(node)

    def declare_globally(self, node: c_ast.Decl) -> None:
        type, attributes = self.declared(node)
        if not node.name:
            return
        span = self.span(node)
        if isinstance(type, Function):
            self.declare_function(node, type, attributes)
        elif self.target == "bpf" and node.name == "_license" and attributes.section != "license":
            self.error(_LICENSE_NAME, node, _LICENSE_HINT)
        elif attributes.table is not None:
            self.declare(node.name, self.declare_table(node.name, type, attributes, span, node), node)
        elif attributes.section == "license":
            self.declare_license(node)
        elif attributes.section == "version":
            return
        else:
            self.declare_global(node, type, attributes, span)

    def declare_license(self, node: c_ast.Decl) -> None:
        init = node.init
        if not isinstance(init, c_ast.Constant) or init.type != "string":
            self.error("the license is a string literal", node)
        self.unit.license = self.string_bytes(init).decode("utf-8", "replace")

    def declare_global(self, node: c_ast.Decl, type: CType, attributes: Attributes, span: Span) -> None:
        is_extern = "extern" in node.storage
        known = self.scopes[0].get(node.name)
        if known is None and node.name in self.block_externs:
            known = self.scopes[0][node.name] = self.block_externs.pop(node.name)
        if isinstance(known, GlobalVar) and (known.init is None or node.init is None):
            var = known
            self.check_same_variable(var, type, span)
            var.is_extern = var.is_extern and is_extern
            var.section, var.align = attributes.section or var.section, max(var.align, attributes.align)
            var.is_weak |= attributes.is_weak
        else:
            var = GlobalVar(node.name, type, span, _is_const(node.type), is_extern)
            var.section, var.is_weak = attributes.section, attributes.is_weak
            var.align, var.is_volatile = attributes.align, self.is_volatile(node.type)
            self.declare(node.name, var, node)
            self.unit.globals.append(var)
        self.check_global_size(var)
        if node.init is not None:
            self.initialise_global(var, node.init)
            self.note_global_value(var)
        if not var.type.is_complete and not is_extern and not isinstance(type, Array):
            self.error(f"'{node.name}' has incomplete type '{var.type}'", node, self.why_undefined(var.type))
        self.check_global_size(var)

    def check_same_variable(self, var: GlobalVar, type: CType, span: Span) -> None:
        """Refuses another type than a variable was declared with; takes over the length of an array that had none."""
        if not compatible(var.type, type):
            self.report(f"'{var.name}' was declared as '{var.type}' before, this is '{type}'", span)
        elif isinstance(var.type, Array) and var.type.count is None:
            var.type = type

    def extern_local(self, node: c_ast.Decl, type: CType) -> None:
        """A block's declaration of a variable of the file, or of another text."""
        if node.init is not None:
            self.error("an extern variable in a block has no initialiser", node)
        span, known = self.span(node), self.scopes[0].get(node.name)
        var = known if isinstance(known, GlobalVar) else self.block_externs.get(node.name)
        if var is None:
            var = self.block_externs[node.name] = GlobalVar(node.name, type, span, _is_const(node.type), True)
            var.is_volatile = self.is_volatile(node.type)
            self.unit.globals.append(var)
        self.check_same_variable(var, type, span)
        self.declare(node.name, var, node)

    def note_global_value(self, var: GlobalVar) -> None:
        if var.is_const and var.init is not None and not var.addresses and not var.section:
            type = value_type(var.type)
            self.note_value(var, int.from_bytes(var.init, "little", signed=isinstance(type, Integer) and type.is_signed))

    def check_global_size(self, var: GlobalVar) -> None:
        if self.target == "bpf" and var.type.size > _MAX_GLOBAL_BYTES:
            self.error(f"global '{var.name}' of {var.type.size} bytes is too large: at most {_MAX_GLOBAL_BYTES}", var.span,
                       "use a BPF_ARRAY of many elements")

    # -- functions

    def declare_function(self, node: c_ast.Decl, type: Function, attributes: Attributes) -> FunctionDef:
        known = self.scopes[0].get(node.name, self.libc.get(node.name))
        if isinstance(known, FunctionDef):
            self.scopes[0][node.name] = known
            self.check_redeclared(node, known.type, type)
            if known.type.is_open and known.body is None:
                known.type = type
            function = known
        elif self.target == "host":
            function = self.new_function(node, type, attributes)
            if known is not None:
                self.error(f"redefinition of '{node.name}'", node)
            self.scopes[0][node.name] = function
        else:
            function = self.new_function(node, type, attributes)
            self.declare(node.name, function, node)
        if self.scopes[-1].get(node.name) is not function and self.target == "host":
            self.declare(node.name, function, node)  # in a block, where it may hide another of its name
        return function

    def check_redeclared(self, node: c_ast.Decl, before: Function, now: Function) -> None:
        """Refuses a function of another type than it was declared with; on the host, () says nothing of parameters."""
        is_late = self.target == "bpf" and before.is_open and bool(now.params)  # calls may have been without
        if is_late or not compatible(before, now):
            self.report(f"'{node.name}' was declared as '{before}' before, this is '{now}'", self.span(node))

    def new_function(self, node: c_ast.Decl, type: Function, attributes: Attributes) -> FunctionDef:
        is_static = "static" in node.storage or ("inline" in node.funcspec and "extern" not in node.storage)
        function = FunctionDef(node.name, type, self.span(node), is_static)
        function.is_noinline = attributes.is_noinline
        function.section, function.is_weak = attributes.section, attributes.is_weak
        return function

    def define_function(self, node: c_ast.FuncDef) -> None:
        with self.declaring(node.decl.name):
            self.define(node)

    def define(self, node: c_ast.FuncDef) -> None:
        decl = node.decl
        if node.param_decls:
            _give_types(decl, node.param_decls)
        type, attributes = self.declared(decl)
        if not isinstance(type, Function) or not hasattr(decl.type, "args"):
            self.error(f"'{decl.name}' is not declared as a function", decl, f"write {decl.name}(...) with its parameters")
        if type.is_variadic:
            self.error(f"'{decl.name}' takes variable arguments, which is not supported{self.in_bpf}", decl, "pass an array or a struct")
        known = self.scopes[0].get(decl.name, self.libc.get(decl.name))
        if isinstance(known, FunctionDef):
            self.scopes[0][decl.name] = known
            if known.body is not None:
                self.error(f"redefinition of '{decl.name}'", decl)
            self.check_redeclared(decl, known.type, type)
            function = known
            function.type = type
            function.is_noinline |= attributes.is_noinline
        else:
            function = self.new_function(decl, type, attributes)
            if known is not None:
                self.error(f"redefinition of '{decl.name}'", decl)
            self.scopes[0][decl.name] = function
        self.unit.functions.append(function)
        function.body = Block(function.span, ())
        self.check_signature(function, decl)
        self.function_body(function, decl, node.body)

    def is_program(self, function: FunctionDef) -> bool:
        return self.target == "bpf" and not function.is_static and not (function.is_noinline and not function.section)

    def check_signature(self, function: FunctionDef, decl: c_ast.Decl) -> None:
        if self.target == "host":
            return
        type = function.type
        if function.name == "_license":
            self.error(_LICENSE_NAME, decl, _LICENSE_HINT)
        if self.is_program(function):
            function.section = function.section or section_from_name(function.name)
            if function.section.startswith(".") or function.section in ("license", "version", "maps"):
                self.error(f"program '{function.name}' cannot be in section '{function.section}'", decl,
                           'write e.g. SEC("kprobe/do_sys_open")')
            if isinstance(type.result, Record) or type.result.size > 8:
                self.error(f"program '{function.name}' returns '{type.result}'", decl, "return int")
            if type.params and not (is_scalar(type.params[0].type) and type.params[0].type.size <= 8):
                self.error(f"program '{function.name}' takes '{type.params[0].type}', but gets the address of a context", decl,
                           "write struct pt_regs *ctx")
            return
        for at, one in enumerate((Param("", type.result), *type.params)):
            if function.is_noinline and one.type.size == 16 and isinstance(one.type, Integer):
                self.error(f"noinline function '{function.name}' {'takes' if at else 'returns'} '{one.type}'", decl,
                           "pass its address, or drop noinline")
        for one in type.params:
            if isinstance(one.type, Record) and function.is_noinline:
                self.error(f"noinline function '{function.name}' takes '{one.type}' by value", decl, "pass its address")
        if function.is_global and not isinstance(type.result, (Integer, Enum)):
            self.error(f"noinline function '{function.name}' returns '{type.result}', and is not static", decl,
                       "make it static, or return an integer")
        if function.is_noinline and isinstance(type.result, Record):
            self.error(f"noinline function '{function.name}' returns '{type.result}'", decl, "drop noinline")
        if function.is_noinline and len(type.params) > MAX_BPF_ARGS:
            self.error(
                f"noinline function '{function.name}' takes {len(type.params)} arguments, BPF passes at most {MAX_BPF_ARGS}",
                decl, "pass a pointer to a struct, or drop noinline",
            )

    def function_body(self, function: FunctionDef, decl: c_ast.Decl, body: c_ast.Compound) -> None:
        self.function = function
        self.used = set()
        self.labels, self.gotos = {}, []
        self.loops, self.switches, self.unroll = 0, [], None
        try:
            with self.scope():
                self.declare_parameters(function, decl)
                statements: list[Stmt] = []
                with self.recovering(), self.scope():
                    statements = self.block_items(body)
                    self.check_end(function, statements, body)
                if self.is_program(function):
                    statements = self.bind_parameters(function, self.used) + statements
            for name, span in self.gotos:
                if name not in self.labels:
                    self.report(f"label '{name}' is not defined", span, self.did_you_mean(name, self.labels))
            function.body = Block(self.span(body), tuple(statements))
        finally:
            self.function = None

    def check_end(self, function: FunctionDef, statements: list[Stmt], body: c_ast.Compound) -> None:
        """Warns of a function that may end without giving what it returns; main() gives 0."""
        if function.type.result is VOID or self.diagnostics or (function.name == "main" and self.target == "host"):
            return
        if falls_through(Block(function.span, tuple(statements))):
            self.warn(f"'{function.name}' may end without returning a value", self.end_of(body), "return-type",
                      "end it with a return statement")

    def end_of(self, body: c_ast.Compound) -> Span:
        """The brace that closes a block."""
        at: int = body.coord.line
        depth = 0
        while at < len(self.tokens) - 1:
            depth += {"{": 1, "}": -1}.get(self.tokens[at].text, 0)
            if not depth:
                break
            at += 1
        return self.tokens[at].span

    def declare_parameters(self, function: FunctionDef, decl: c_ast.Decl) -> None:
        nodes = decl.type.args.params if decl.type.args is not None else []
        for at, one in enumerate(function.type.params):
            node = nodes[at]
            if not one.name and self.is_program(function):
                self.error("arguments to BPF program definition must be named", node, "write struct pt_regs *ctx")
            var = LocalVar(one.name, one.type, self.span(node), is_param=True)
            var.is_volatile = self.is_volatile(node.type)
            if not one.type.is_complete:
                self.error(f"parameter '{one.name}' has incomplete type '{one.type}'", node, self.why_undefined(one.type))
            function.params.append(var)
            if one.name:
                self.declare(one.name, var, node)

    def new_local(self, name: str, type: CType, span: Span) -> LocalVar:
        var = LocalVar(name, type, span)
        if self.function is not None and not self.unevaluated:
            self.function.locals.append(var)
        return var

    def note_use(self, var: LocalVar | GlobalVar) -> None:
        if isinstance(var, GlobalVar):
            self.used_globals.add(var)
        elif var.is_param and not self.unevaluated:
            self.used.add(var)

    def note_call(self, function: FunctionDef, span: Span) -> None:
        if self.function is not None and not self.unevaluated:
            self.calls.setdefault(self.function, {}).setdefault(function, span)

    def declared_functions(self) -> list[FunctionDef]:
        """The functions that the text declares without a body."""
        return [one for one in self.scopes[0].values() if isinstance(one, FunctionDef) and one.body is None and not one.is_static]

    def check_externs(self) -> None:
        """Refuses variables of other texts that are used; a mere declaration is forgotten."""
        if self.target != "bpf":
            return
        self.unit.globals = [one for one in self.unit.globals if not one.is_extern or one in self.used_globals]
        for one in self.unit.globals:
            if one.is_extern and not one.is_kernels:
                self.report(f"extern variable '{one.name}' has no definition here", one.span, "define it in this text, or declare it __ksym if it is the kernel's")

    def check_lengths(self) -> None:
        """Refuses arrays that no declaration gave a length."""
        for one in self.unit.globals:
            if not one.type.is_complete and not one.is_extern and isinstance(one.type, Array):
                self.report(f"'{one.name}' has incomplete type '{one.type}'", one.span, "write its length")

    def check_bodies(self) -> None:
        for called in self.calls.values():
            for function, span in called.items():
                if function.body is not None or function.is_kernels:
                    continue
                if self.target == "bpf" or function.is_static:
                    self.report(f"function '{function.name}' is declared but has no body", span, "define it in this text")
                    function.body = Block(span, ())
                elif any(isinstance(one, Record) for one in (function.type.result, *(param.type for param in function.type.params))):
                    self.report(f"function '{function.name}' takes or returns a struct by value, and is not defined here", span,
                                "pass its address")

    def check_recursion(self) -> None:
        """BPF has no recursion: a cycle of calls is reported where it closes."""
        if self.target == "host":
            return
        state: dict[FunctionDef, int] = {}
        for root in list(self.calls):
            stack: list[tuple[FunctionDef, list[FunctionDef]]] = [(root, list(self.calls.get(root, ())))]
            if state.get(root):
                continue
            state[root] = 1
            while stack:
                function, rest = stack[-1]
                if not rest:
                    state[function] = 2
                    stack.pop()
                    continue
                callee = rest.pop()
                if state.get(callee) == 1:
                    span = self.calls[function][callee]
                    cycle = [one.name for one, _ in stack]
                    cycle = [*cycle[cycle.index(callee.name) :], callee.name]
                    self.report(f"recursion is not supported in BPF: {' calls '.join(cycle)}", span,
                                "use a loop with a constant bound")
                    return
                if not state.get(callee):
                    state[callee] = 1
                    stack.append((callee, list(self.calls.get(callee, ()))))

    # -- statements

    def block_items(self, node: c_ast.Compound) -> list[Stmt]:
        statements: list[Stmt] = []
        for one in node.block_items or ():
            with self.recovering():
                statements += self.statements(one)
        return statements

    def compound_statements(self, node: c_ast.Compound) -> tuple[list[Stmt], Expr | None]:
        items = list(node.block_items or ())
        last = items[-1] if items and not isinstance(items[-1], _STATEMENTS) else None
        statements: list[Stmt] = []
        for one in items[:-1] if last is not None else items:
            statements += self.statements(one)
        return statements, None if last is None else self.expression(last)

    def statements(self, node: Any) -> list[Stmt]:
        if isinstance(node, c_ast.Pragma):
            self.pragma(node)
            self.unroll = _unroll_count(node.string)
            return []
        if isinstance(node, c_ast.Decl):
            return self.local_declaration(node)
        if isinstance(node, c_ast.DeclList):
            return [one for decl in node.decls for one in self.local_declaration(decl)]
        if isinstance(node, c_ast.Typedef):
            self.declare_typedef(node)
            return []
        if isinstance(node, c_ast.StaticAssert):
            self.static_assert(node)
            return []
        return [self.statement(node)]

    def body(self, node: Any) -> Stmt:
        """A statement that is a scope of its own (of an if or a loop)."""
        with self.scope():
            found = self.statements(node)
            return found[0] if len(found) == 1 else Block(self.span(node), tuple(found))

    def statement(self, node: Any) -> Stmt:
        method = _STATEMENT_METHODS.get(type(node))
        if method is not None:
            result: Stmt = getattr(self, method)(node)
            return result
        expr = self.expression(node)
        return ExprStmt(self.span(node), expr if expr.type is VOID or isinstance(expr.type, Record) else self.rvalue(expr))

    def compound(self, node: c_ast.Compound) -> Stmt:
        with self.scope():
            return Block(self.span(node), tuple(self.block_items(node)))

    def empty(self, node: c_ast.EmptyStatement) -> Stmt:
        return Block(self.span(node), ())

    def local_declaration(self, node: c_ast.Decl) -> list[Stmt]:
        with self.declaring(node.name):
            return self.declare_locally(node)

    def declare_locally(self, node: c_ast.Decl) -> list[Stmt]:
        type, attributes = self.declared(node)
        if not node.name:
            return []
        if isinstance(type, Function):
            self.declare_function(node, type, attributes)
            return []
        if attributes.table is not None:
            self.error("a table cannot be declared in a function", node, "move it in front of the function")
        if "static" in node.storage:
            return self.static_local(node, type, attributes)
        if "extern" in node.storage:
            self.extern_local(node, type)
            return []
        span = self.span(node)
        var = self.new_local(node.name, type, span)
        var.align, var.is_volatile = attributes.align, self.is_volatile(node.type)
        if _is_const(node.type):
            self.constants.add(var)
        if node.init is None and isinstance(type, Array) and type.count is None:
            self.error(f"'{node.name}' has no size", node)
        if type.is_complete is False and not isinstance(type, Array):
            self.error(f"'{node.name}' has incomplete type '{type}'", node, self.why_undefined(type))
        self.declare(node.name, var, node)
        init = tuple(self.initialise_local(var, node.init)) if node.init is not None else ()
        if var in self.constants and len(init) == 1 and isinstance(init[0], Assign) and isinstance(init[0].value, Const):
            self.note_value(var, init[0].value.value)
        return [Declare(span, var, init)]

    def note_value(self, var: LocalVar | GlobalVar, value: int) -> None:
        """A const integer is worth its initialiser wherever it is named, as an array's size too."""
        if isinstance(var.type, (Integer, Enum)) and not var.is_volatile:
            self.known_values[var] = value

    def static_local(self, node: c_ast.Decl, type: CType, attributes: Attributes) -> list[Stmt]:
        assert self.function is not None
        self.static_count += 1
        var = GlobalVar(f"{self.function.name}.{node.name}.{self.static_count}", type, self.span(node), _is_const(node.type))
        var.align, var.is_volatile = attributes.align, self.is_volatile(node.type)
        self.declare(node.name, var, node)
        self.check_global_size(var)
        if node.init is not None:
            self.initialise_global(var, node.init)
            self.note_global_value(var)
        self.check_global_size(var)
        if not var.type.is_complete:
            self.error(f"'{node.name}' has incomplete type '{var.type}'", node, self.why_undefined(var.type))
        self.unit.globals.append(var)
        return []

    def if_statement(self, node: c_ast.If) -> Stmt:
        self.check_condition(node)
        condition = self.condition(node.cond)
        known = fold(condition)
        with self.unless(known == 0):
            yes = self.body(node.iftrue)
        with self.unless(bool(known)):
            no = None if node.iffalse is None else self.body(node.iffalse)
        self.check_empty(node)
        return If(self.span(node), condition, yes, no)

    def check_condition(self, node: Any) -> None:
        """Warns of if (a = b); two pairs of parentheses say that it is meant."""
        at: int = node.coord.line
        if isinstance(node.cond, c_ast.Assignment) and node.cond.op == "=" and self.tokens[at + 2].text != "(":
            self.warn("an assignment is the condition", self.span(node.cond), "parentheses",
                      "write == to compare, or ((a = b)) if it is meant")

    def check_empty(self, node: c_ast.If) -> None:
        """Warns of if (a); with nothing between."""
        if not isinstance(node.iftrue, c_ast.EmptyStatement) or node.iffalse is not None:
            return
        at: int = node.iftrue.coord.line
        before, here = self.tokens[at - 1], self.tokens[at]
        if before.text == ")" and not here.macro and before.span.line == here.span.line:
            self.warn("the 'if' has an empty body", here.span, "empty-body", "drop the ';', or write {} if it is meant")

    def loop(self, node: Any) -> Stmt:
        unroll, self.unroll = self.unroll, None
        with self.scope():
            init: tuple[Stmt, ...] = ()
            step = None
            if isinstance(node, c_ast.For):
                if isinstance(node.init, c_ast.DeclList):
                    init = tuple(self.statements(node.init))
                elif node.init is not None:
                    init = (self.statement(node.init),)
                step = None if node.next is None else self.expression(node.next)
            if isinstance(node, c_ast.While):
                self.check_condition(node)
            condition = None if node.cond is None else self.condition(node.cond)
            self.loops += 1
            try:
                body = self.body(node.stmt)
            finally:
                self.loops -= 1
        return Loop(self.span(node), init, condition, step, body, isinstance(node, c_ast.DoWhile), unroll)

    def switch(self, node: c_ast.Switch) -> Stmt:
        value = self.value(node.cond)
        if not isinstance(value.type, (Integer, Enum)):
            self.error(f"switch needs an integer, this is '{value.type}'", node)
        value = self.integer(value, "switch")
        assert isinstance(value.type, Integer)
        self.switches.append(_Switch(value.type))
        try:
            body = self.body(node.stmt)
        finally:
            self.switches.pop()
        return Switch(self.span(node), value, body)

    def case(self, node: Any) -> Stmt:
        if not self.switches:
            self.error("case outside a switch", node)
        here = self.switches[-1]
        if isinstance(node.expr, RangeExpression):
            low, high = self.constant(node.expr.first, "a case"), self.constant(node.expr.last, "a case")
        else:
            low = high = self.constant(node.expr, "a case")
        low, high = wrap(low, here.type), wrap(high, here.type)
        if low > high:
            self.error("an empty case range", node)
        if any(low <= b and a <= high for a, b in here.ranges):
            self.error(f"duplicate case {low}", node)
        here.ranges.append((low, high))
        return Case(self.span(node), low, high, self.case_body(node))

    def default(self, node: c_ast.Default) -> Stmt:
        if not self.switches:
            self.error("default outside a switch", node)
        if self.switches[-1].has_default:
            self.error("a second default", node)
        self.switches[-1].has_default = True
        return Case(self.span(node), None, None, self.case_body(node))

    def case_body(self, node: Any) -> tuple[Stmt, ...]:
        statements: list[Stmt] = []
        for one in node.stmts or ():
            with self.recovering():
                statements += self.statements(one)
        return tuple(statements)

    def break_statement(self, node: c_ast.Break) -> Stmt:
        if not self.loops and not self.switches:
            self.error("break outside a loop or switch", node)
        return Break(self.span(node))

    def continue_statement(self, node: c_ast.Continue) -> Stmt:
        if not self.loops:
            self.error("continue outside a loop", node)
        return Continue(self.span(node))

    def goto(self, node: c_ast.Goto) -> Stmt:
        self.gotos.append((node.name, self.span(node)))
        return Goto(self.span(node), node.name)

    def label(self, node: c_ast.Label) -> Stmt:
        span = self.span(node)
        if node.name in self.labels:
            self.error(f"label '{node.name}' is defined twice", node)
        self.labels[node.name] = span
        statements = self.statements(node.stmt)
        return Label(span, node.name, statements[0] if len(statements) == 1 else Block(span, tuple(statements)))

    def return_statement(self, node: c_ast.Return) -> Stmt:
        assert self.function is not None
        span, result = self.span(node), self.function.type.result
        if node.expr is None:
            if result is not VOID:
                self.error(f"'{self.function.name}' returns '{result}', this gives nothing", node)
            return Return(span, None)
        value = self.constant_or_value(node.expr)
        if result is VOID:
            if value.type is VOID:
                return Block(span, (ExprStmt(span, value), Return(span, None)))
            self.error(f"'{self.function.name}' returns nothing, this gives '{value.type}'", node)
        converted = self.convert(value, result, "return value", self.span(node.expr))
        local = local_behind(converted)
        if local is not None and isinstance(result, Pointer):
            self.warn(f"the address of local variable '{local.name}' is returned, and it ends with its function",
                      self.span(node.expr), "return-stack-address")
        return Return(span, converted)

    def asm(self, node: Any) -> Stmt:
        template = node.template
        text = ""
        if template is not None:
            texts = [one.value for one in getattr(template, "exprs", [template]) if isinstance(one, c_ast.Constant)]
            text = "".join(texts).replace('"', "").strip()
        if text:
            self.error("assembly code is not supported", node, 'only the compiler barrier asm volatile("" ::: "memory") is')
        return Block(self.span(node), tuple(self.asm_operands(node)))

    def asm_operands(self, node: Any) -> list[Stmt]:
        """Empty code: its outputs become what nothing is known of, its inputs are computed, memory is what it is."""
        span = self.span(node)
        outputs, inputs = (_asm_pairs(getattr(node, one, None)) for one in ("output_operands", "input_operands"))
        tied = {constraint: operand for constraint, operand in inputs if constraint.isdigit()}
        kept = [self.asm_input(constraint, operand) for constraint, operand in inputs if not constraint.isdigit()]
        statements: list[Stmt] = []
        if any(constraint.startswith("[") for constraint, _ in inputs):
            self.error("an operand of asm that is tied to another by its name is not supported", node, "tie it by its number")
        for at, (constraint, operand) in enumerate(outputs):
            place = self.modifiable(operand)
            if constraint.startswith("+") and _has_effect(operand):
                self.error("an operand of asm that is read and written has side effects", operand, "store its address in a variable first")
            if "m" in constraint:
                kept.append(self.asm_input(constraint, operand))
                continue
            if not is_scalar(place.type):
                self.error(f"an operand of asm has type '{place.type}', which is not a scalar", operand)
            type, source = value_type(place.type), tied.get(str(at), operand)
            value = Intrinsic(type, span, "hide", (self.convert(self.value(source), type, "an operand of asm"),))
            statements.append(ExprStmt(span, Assign(type, span, place, value)))
        return [Asm(span, tuple(kept)), *statements]

    def asm_input(self, constraint: str, node: Any) -> Expr:
        if "m" in constraint and "r" not in constraint:
            return self.address_of(c_ast.UnaryOp("&", node, node.coord), self.span(node))
        return self.scalar(node, "an operand of asm")


def _give_types(decl: c_ast.Decl, typed: list[c_ast.Decl]) -> None:
    """Puts the declarations between a function's head and its body (K&R's C) where the names of its parameters are."""
    rows = {one.name: one for one in typed}
    decl.type.args.params = [rows.get(getattr(one, "name", ""), one) for one in decl.type.args.params]


def _is_const(node: Any) -> bool:
    """Whether the object itself is const, not what it points at."""
    while isinstance(node, c_ast.ArrayDecl):
        node = node.type
    return "const" in (getattr(node, "quals", None) or ())


def _has_effect(node: Any) -> bool:
    """Whether an expression calls or assigns something."""
    if isinstance(node, (c_ast.FuncCall, c_ast.Assignment)) or getattr(node, "op", "") in ("++", "--", "p++", "p--"):
        return True
    return any(_has_effect(one) for _, one in node.children())


def _asm_pairs(operands: Any) -> list[tuple[str, Any]]:
    """(constraint, expression) of each operand."""
    found = []
    for one in getattr(operands, "exprs", None) or ():
        if isinstance(one, c_ast.FuncCall) and isinstance(one.name, c_ast.Constant) and one.args is not None:
            found.append((one.name.value.strip('"'), one.args.exprs[0]))
    return found


def _unroll_count(text: str) -> int | None:
    """What a pragma in front of a loop asks for: see Loop.unroll."""
    words = [one for one in re.findall(r"\w+", text) if one not in ("clang", "GCC", "loop")]
    if words[:1] == ["nounroll"] or words[:2] in (["unroll", "disable"], ["unroll", "1"]):
        return 1
    if words[:1] not in (["unroll"], ["unroll_count"]):
        return None
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


_STATEMENT_METHODS: dict[type, str] = {
    c_ast.Compound: "compound", c_ast.EmptyStatement: "empty", c_ast.If: "if_statement", c_ast.For: "loop",
    c_ast.While: "loop", c_ast.DoWhile: "loop", c_ast.Switch: "switch", c_ast.Case: "case", c_ast.Default: "default",
    c_ast.Break: "break_statement", c_ast.Continue: "continue_statement", c_ast.Goto: "goto", c_ast.Label: "label",
    c_ast.Return: "return_statement", AsmNode: "asm",
}
_STATEMENTS = (*[one for one in _STATEMENT_METHODS if one is not c_ast.Compound], c_ast.Decl, c_ast.DeclList, c_ast.Typedef,
               c_ast.Pragma)


def check(
    ast: c_ast.FileAST, *, tokens: list[Token], sources: dict[str, str], filename: str, types: TypeSource | None, target: str,
    macros: Iterable[str] = (),
) -> tuple[Unit, Checker]:
    """The typed tree of ast, and the checker that made it (it knows the text's declarations). macros: names to suggest."""
    checker = Checker(tokens, sources, filename, types, target)
    checker.macros = macros
    return checker.translation_unit(ast), checker
