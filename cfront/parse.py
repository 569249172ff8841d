"""Expanded tokens -> AST, by pycparser's recursive descent with pycparserext's GNU extensions.

The parser is fed our tokens, not text: nothing is lexed twice, and a node's coord.line is the index of its
token, so every node has an exact place. What the two libraries do not parse is added here: `a ?: b`,
operators after a statement expression, __auto_type, __builtin_offsetof. A name is a type if the text made
it one, or if is_type says so (the kernel's typedefs); a declaration in the text hides the latter.

Refuses with one CompileError, at the token where the grammar was left."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from pycparser import c_ast
from pycparser.c_lexer import Token as ParserToken
from pycparser.c_lexer import _fixed_tokens, _keyword_map
from pycparser.c_parser import _BINARY_PRECEDENCE, ParseError
from pycparserext.ext_c_lexer import GnuCLexer
from pycparserext.ext_c_parser import AttributeSpecifier, GnuCParser, TypeDeclExt

from cfront.errors import MAX_DIAGNOSTICS, CompileError, Diagnostic
from cfront.preprocess import Token
from cfront.source import Span

__all__ = ["parse"]

_KEYWORDS: dict[str, str] = {
    **_keyword_map, **GnuCLexer._extra_keywords, "__signed__": "SIGNED", "__signed": "SIGNED",
    "__builtin_offsetof": "OFFSETOF", "__alignof": "__ALIGNOF__", "__auto_type": "TYPEID", "__inline": "INLINE",
    "__inline__": "INLINE", "__const": "CONST", "__const__": "CONST", "__volatile__": "VOLATILE",
    "__volatile": "VOLATILE", "__restrict": "RESTRICT", "__restrict__": "RESTRICT",
}
_KEYWORDS.pop("offsetof", None)  # a macro of ours
_PUNCTUATION: dict[str, str] = {one.literal: one.tok_type for one in _fixed_tokens}
_NUMBER = re.compile(r"(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|(0[0-7]*)|([1-9][0-9]*))(?:[uU]?(?:l|L|ll|LL)?|(?:l|L|ll|LL)[uU])")
_FLOAT = re.compile(r"(?:[0-9]*\.[0-9]+|[0-9]+\.)(?:[eE][+-]?[0-9]+)?[fFlL]?|[0-9]+(?:[eE][+-]?[0-9]+[fFlL]?|[fF])")
_NUMBER_KINDS = ("INT_CONST_HEX", "INT_CONST_BIN", "INT_CONST_OCT", "INT_CONST_DEC")
_SPELLING = {kind: text for text, kind in _PUNCTUATION.items()} | {"ID": "a name"}


class _SyntaxError(Exception):
    """Leaves the parser: index of the token, sentence."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message


class _Feed:
    """What the parser takes for its lexer: hands out our tokens with their index as line number."""

    def __init__(
        self, error_func: object, on_lbrace_func: Callable[[], None], on_rbrace_func: Callable[[], None],
        type_lookup_func: Callable[[str], bool],
    ) -> None:
        self.on_lbrace = on_lbrace_func
        self.on_rbrace = on_rbrace_func
        self.is_type = type_lookup_func
        self.tokens: Sequence[Token] = ()
        self.at = 0
        self.filename = ""
        self.pending: ParserToken | None = None

    def input(self, text: str, filename: str = "") -> None:
        self.filename = filename

    def token(self) -> ParserToken | None:
        if self.pending is not None:
            made, self.pending = self.pending, None
            return made
        if self.at >= len(self.tokens):
            return None
        index = self.at
        one = self.tokens[index]
        self.at += 1
        text = one.text
        if one.kind == "id":
            kind = _KEYWORDS.get(text)
            if kind is None:
                kind = "TYPEID" if self.is_type(text) else "ID"
            return ParserToken(kind, text, index, 0)
        if one.kind == "punct":
            kind = _PUNCTUATION.get(text)
            if kind is None:
                raise _SyntaxError(index, f"stray '{text}' in program")
            if kind == "LBRACE":
                self.on_lbrace()
            elif kind == "RBRACE":
                self.on_rbrace()
            return ParserToken(kind, text, index, 0)
        if one.kind == "num":
            return ParserToken(self.number_kind(index, text), text, index, 0)
        if one.kind == "str":
            if text[0] != '"':
                raise _SyntaxError(index, "wide string literals are not supported")
            return ParserToken("STRING_LITERAL", text, index, 0)
        if one.kind == "chr":
            if text[0] != "'":
                raise _SyntaxError(index, "wide character constants are not supported")
            return ParserToken("CHAR_CONST", text, index, 0)
        assert one.kind == "pragma", one
        self.pending = ParserToken("PPPRAGMASTR", text, index, 0)
        return ParserToken("PPPRAGMA", "pragma", index, 0)

    @staticmethod
    def number_kind(index: int, text: str) -> str:
        match = _NUMBER.fullmatch(text)
        if match is not None:
            return _NUMBER_KINDS[(match.lastindex or 1) - 1]
        if _FLOAT.fullmatch(text):
            return "FLOAT_CONST"
        raise _SyntaxError(index, f"invalid number {text!r}")


class _AttributedStruct(c_ast.Struct):  # type: ignore[misc]
    """A struct definition with attributes: .attrib is a list of AttributeSpecifier."""

    def __init__(self, plain: c_ast.Struct, attrib: list[AttributeSpecifier]) -> None:
        super().__init__(plain.name, plain.decls, plain.coord)
        self.attrib = [*attrib, *([plain.attrib] if hasattr(plain, "attrib") else [])]


class _AttributedUnion(c_ast.Union):  # type: ignore[misc]
    """A union definition with attributes."""

    def __init__(self, plain: c_ast.Union, attrib: list[AttributeSpecifier]) -> None:
        super().__init__(plain.name, plain.decls, plain.coord)
        self.attrib = [*attrib, *getattr(plain, "attrib", ())]


class _AttributedEnum(c_ast.Enum):  # type: ignore[misc]
    """An enum definition with attributes."""

    def __init__(self, plain: c_ast.Enum, attrib: list[AttributeSpecifier]) -> None:
        super().__init__(plain.name, plain.values, plain.coord)
        self.attrib = attrib


class _Parser(GnuCParser):  # type: ignore[misc]
    lexer_class = _Feed

    def __init__(self, tokens: Sequence[Token], is_type: Callable[[str], bool]) -> None:
        super().__init__()
        self.clex.tokens = tokens
        self.is_external_type = is_type
        self.takes_attributes = True
        self.refused: list[tuple[int, str, str]] = []  # attributes: (index of the token, sentence, hint)

    def _is_type_in_scope(self, name: str) -> bool:
        for scope in reversed(self._scope_stack):
            if name in scope:
                return bool(scope[name])
        return self.is_external_type(name)

    def _parse_error(self, msg: str, coord: Any) -> NoReturn:
        index = coord.line if hasattr(coord, "line") else self.here()
        raise _SyntaxError(index, msg)

    def here(self) -> int:
        tok = self._peek()
        return len(self.clex.tokens) - 1 if tok is None else tok.lineno

    def _expect(self, token_type: str) -> ParserToken:
        tok = self._peek()
        if tok is None or tok.type != token_type:
            wanted = _SPELLING.get(token_type, token_type)
            wanted = wanted if wanted == "a name" else f"'{wanted}'"
            found = "the end of the text" if tok is None else f"'{tok.value}'"
            raise _SyntaxError(self.here() if tok is not None else len(self.clex.tokens), f"expected {wanted} before {found}")
        return self._advance()

    def _parse_assignment_expression(self) -> c_ast.Node:
        expr = self._parse_conditional_expression()
        if self._is_assignment_op():
            op = self._advance()
            rhs = self._parse_assignment_expression()
            return c_ast.Assignment(op.value, expr, rhs, self._tok_coord(op))
        return expr

    def _parse_binary_expression(self, min_prec: int = 0, lhs: c_ast.Node | None = None) -> c_ast.Node:
        """Precedence climbing; the place of an operation is that of its operator."""
        left = self._parse_cast_expression() if lhs is None else lhs
        while True:
            tok = self._peek()
            prec = None if tok is None else _BINARY_PRECEDENCE.get(tok.type)
            if prec is None or prec < min_prec:
                return left
            self._advance()
            left = c_ast.BinaryOp(tok.value, left, self._parse_binary_expression(prec + 1), self._tok_coord(tok))

    def _parse_postfix_expression(self) -> c_ast.Node:
        """What the two libraries parse, and operators behind a compound literal or statement expression."""
        expr = super()._parse_postfix_expression()
        while True:
            kind = self._peek_type()
            if kind == "LBRACKET":
                tok = self._advance()
                index = self._parse_expression()
                self._expect("RBRACKET")
                expr = c_ast.ArrayRef(expr, index, self._tok_coord(tok))
            elif kind in ("PERIOD", "ARROW"):
                op = self._advance()
                name = self._peek()
                if name is None or name.type not in ("ID", "TYPEID"):
                    raise _SyntaxError(self.here(), "expected a member's name")
                self._advance()
                expr = c_ast.StructRef(expr, op.value, c_ast.ID(name.value, self._tok_coord(name)), expr.coord)
            elif kind in ("PLUSPLUS", "MINUSMINUS"):
                tok = self._advance()
                expr = c_ast.UnaryOp("p" + tok.value, expr, expr.coord)
            else:
                return expr

    def _parse_conditional_expression(self) -> c_ast.Node:
        expr = self._parse_binary_expression()
        question = self._accept("CONDOP")
        if question:
            coord = self._tok_coord(question)
            if self._accept("COLON"):
                return c_ast.TernaryOp(expr, None, self._parse_conditional_expression(), coord)
            yes = self._parse_expression()
            self._expect("COLON")
            return c_ast.TernaryOp(expr, yes, self._parse_conditional_expression(), coord)
        return expr

    def _parse_unary_expression(self) -> c_ast.Node:
        kind = self._peek_type()
        if kind in ("__EXTENSION__",):
            self._advance()
            return self._parse_cast_expression()
        if kind in ("__ALIGNOF__", "_ALIGNOF"):
            tok = self._advance()
            made = self._try_parse_paren_type_name()
            return c_ast.UnaryOp(tok.value, self._parse_unary_expression() if made is None else made[0], self._tok_coord(tok))
        if kind == "LAND":
            raise _SyntaxError(self.here(), "label addresses are not supported (use a switch)")
        return super()._parse_unary_expression()

    def _parse_initializer_item(self) -> c_ast.Node:
        """Also GNU's old designators: `name: value` and `[index] value`."""
        name = self._peek()
        if name is not None and name.type in ("ID", "TYPEID") and self._peek_type(2) == "COLON":
            self._advance()
            self._advance()
            return c_ast.NamedInitializer([c_ast.ID(name.value, self._tok_coord(name))], self._parse_initializer())
        made: c_ast.Node = super()._parse_initializer_item()
        return made

    def _parse_designation(self) -> list[c_ast.Node]:
        designators: list[c_ast.Node] = self._parse_designator_list()
        if not self._accept("EQUALS") and not (len(designators) == 1 and not isinstance(designators[0], c_ast.ID)):
            self._expect("EQUALS")
        return designators

    def _parse_attribute(self) -> c_ast.Node:
        """A macro such as noinline may put a whole attribute inside another's parentheses."""
        if self._peek_type() in ("__ATTRIBUTE__", "__ATTRIBUTE"):
            inner = self._parse_attribute_decl()
            return inner.exprs[0] if inner.exprs else c_ast.ID(name="", coord=inner.coord)
        at = self.here()
        made = super()._parse_attribute()
        named = made.name if isinstance(made, c_ast.FuncCall) else made
        name = str(getattr(named, "name", "")).strip("_")
        if name in _REFUSED_ATTRIBUTES:
            self.refused.append((at, *_REFUSED_ATTRIBUTES[name]))
        return made

    def _parse_struct_or_union_specifier(self) -> Any:
        """Keeps the attributes in front of the name and behind the members; those behind the name of a struct that is not
        defined here belong to what is declared."""
        word = self._advance()
        kind = self._select_struct_union_class(word.value)
        attributes = self._parse_attributes_opt().exprs
        name = self._advance() if self._peek_type() in ("ID", "TYPEID") else None
        if name is None and self._peek_type() != "LBRACE":
            raise _SyntaxError(self.here(), f"expected a name or '{{' behind '{word.value}'")
        coord = self._tok_coord(name or self._peek())
        tag = None if name is None else name.value
        if not self._accept("LBRACE"):
            return kind(tag, None, coord)
        decls = [] if self._peek_type() == "RBRACE" else self._parse_struct_declaration_list()
        self._expect("RBRACE")
        made = kind(tag, decls, coord)
        attributes += self._parse_attributes_opt().exprs
        attributed = _AttributedStruct if kind is c_ast.Struct else _AttributedUnion
        return attributed(made, [AttributeSpecifier(c_ast.ExprList(attributes))]) if attributes else made

    def _parse_type_name(self) -> c_ast.Typename:
        before, self.takes_attributes = self.takes_attributes, False  # which nothing would heed there
        try:
            return super()._parse_type_name()
        finally:
            self.takes_attributes = before

    def _parse_specifier_qualifier_list(self) -> Any:
        """Also attributes between a member's type and its name."""
        spec = super()._parse_specifier_qualifier_list()
        while self.takes_attributes and self._peek_type() in (*_ATTRIBUTE_WORDS, *_QUALIFIERS):
            is_qualifier = self._peek_type() in _QUALIFIERS
            one = self._advance().value if is_qualifier else AttributeSpecifier(self._parse_attribute_decl())
            spec = self._add_declaration_specifier(spec, one, "qual" if is_qualifier else "function", append=True)
        return spec

    def _parse_struct_declaration(self) -> Any:
        if self._peek_type() == "_STATIC_ASSERT":
            return [self._parse_static_assert()]
        return super()._parse_struct_declaration()

    def _parse_block_item(self) -> Any:
        """What begins with an attribute is a statement if only a ';' follows: __attribute__((fallthrough));"""
        self._name_label(1, 2)
        return self._parse_statement() if self._is_attribute_statement() else super()._parse_block_item()

    def _starts_statement(self) -> bool:
        starts: bool = super()._starts_statement()
        return starts or self._is_attribute_statement()

    def _is_attribute_statement(self) -> bool:
        if self._peek_type() not in _ATTRIBUTE_WORDS or self._peek_type(2) != "LPAREN":
            return False
        depth, at = 1, 3
        while depth:
            kind = self._peek_type(at)
            if kind is None:
                return False
            depth += {"LPAREN": 1, "RPAREN": -1}.get(kind, 0)
            at += 1
        return bool(self._peek_type(at) == "SEMI")

    def _name_label(self, at: int, colon: int) -> None:
        """A type's name in front of a colon, or behind goto, is a label's."""
        tok = self._peek(at)
        if tok is not None and tok.type == "TYPEID" and (not colon or self._peek_type(colon) == "COLON"):
            tok.type = "ID"

    def _parse_jump_statement(self) -> Any:
        if self._peek_type() == "GOTO":
            self._name_label(2, 0)
        return super()._parse_jump_statement()

    def _parse_asm_argument_expression_list(self) -> c_ast.ExprList | None:
        """Operands may have names: [result] "r"(x)."""
        if self._peek_type() in ("COLON", "RPAREN"):
            return None
        coord = self._tok_coord(self._peek())
        found: list[c_ast.Node] = []
        while not found or self._accept("COMMA"):
            if self._accept("LBRACKET"):
                self._advance()
                self._expect("RBRACKET")
            found.append(self._parse_assignment_expression())
        return c_ast.ExprList(found, coord)

    def _parse_enum_specifier(self) -> c_ast.Enum:
        """Also attributes, in front of the name and behind the enumerators."""
        coord = self._tok_coord(self._advance())
        attributes = self._parse_attributes_opt().exprs
        name = self._advance().value if self._peek_type() in ("ID", "TYPEID") else None
        if name is not None and self._peek_type() != "LBRACE":
            return c_ast.Enum(name, None, coord)
        self._expect("LBRACE")
        values = self._parse_enumerator_list()
        self._expect("RBRACE")
        attributes += self._parse_attributes_opt().exprs
        made = c_ast.Enum(name, values, coord)
        return _AttributedEnum(made, [AttributeSpecifier(c_ast.ExprList(attributes))]) if attributes else made

    def _parse_statement(self) -> Any:
        self._name_label(1, 2)
        if self._is_attribute_statement():
            self._parse_attributes_opt()
            return c_ast.EmptyStatement(self._tok_coord(self._expect("SEMI")))
        return super()._parse_statement()

    def _parse_struct_declarator(self) -> Any:
        """Keeps the attributes behind a bit-field's width, as those of its declarator."""
        made = super()._parse_struct_declarator()
        if made["bitsize"] is not None and self._peek_type() in ("__ATTRIBUTE__", "__ATTRIBUTE"):
            decl = TypeDeclExt.from_pycparser(made["decl"])
            decl.attributes = AttributeSpecifier(self._parse_attributes_opt())
            made["decl"] = decl
        return made

    def _starts_expression(self, tok: ParserToken | None = None) -> bool:
        tok = tok or self._peek()
        if tok is not None and tok.type in ("__ALIGNOF__", "__EXTENSION__", "__BUILTIN_TYPES_COMPATIBLE_P"):
            return True
        return bool(super()._starts_expression(tok))


_VECTORS = ("vector types are not supported", "use an array")
# attributes that change what a declaration means, wherever they stand
_REFUSED_ATTRIBUTES: dict[str, tuple[str, str]] = {
    "vector_size": _VECTORS, "ext_vector_type": _VECTORS, "neon_vector_type": _VECTORS, "altivec": _VECTORS,
    **{one: (f"attribute '{one}' is not supported", hint) for one, hint in {
        "mode": "name a type of that size, e.g. long long", "alias": "define a function that calls the other",
        "ifunc": "define a function that calls the other", "weakref": "declare the function itself",
        "cleanup": "call the function where the scope ends", "constructor": "call it at the start of main()",
        "destructor": "call it at the end of main()", "scalar_storage_order": "swap the bytes with __builtin_bswap",
        "transparent_union": "pass a pointer", "ms_struct": "lay the members out with padding", "naked": "",
        "vectorcall": "", "ms_abi": "", "sysv_abi": "", "pcs": "",
    }.items()},
}
_QUALIFIERS = ("CONST", "VOLATILE", "RESTRICT")
_ATTRIBUTE_WORDS = ("__ATTRIBUTE__", "__ATTRIBUTE")
_ASSEMBLY = ("asm", "__asm", "__asm__")
_KNOWN = {
    "Invalid expression": "expected an expression", "At end of input": "unexpected end of the text",
    "Invalid declaration": "expected a declaration", "Missing type in declaration": "a type is missing here",
    "Invalid multiple types specified": "two types in one declaration",
    "Invalid specifier list": "expected a type", "Invalid declarator": "expected a name",
}
_STATEMENT_WORDS = {"return", "if", "for", "while", "do", "switch", "case", "default", "break", "continue", "goto", "else"}


def _open_braces(tokens: Sequence[Token], index: int) -> list[Token]:
    """The braces that are open in front of tokens[index]."""
    found: list[Token] = []
    for one in tokens[:index]:
        if one.kind == "punct" and one.text == "{":
            found.append(one)
        elif one.kind == "punct" and one.text == "}" and found:
            found.pop()
    return found


def _is_name(tokens: Sequence[Token], index: int) -> bool:
    return 0 <= index < len(tokens) and tokens[index].kind == "id" and tokens[index].text not in _KEYWORDS


def _item_start(tokens: Sequence[Token], index: int) -> int:
    """Where the declaration that tokens[index] is in begins."""
    at = min(index, len(tokens)) - 1
    while at >= 0 and tokens[at].text not in (";", "{", "}"):
        at -= 1
    return at + 1


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    alike = [one for one in known if one.isupper() == name.isupper()]
    close = difflib.get_close_matches(name, alike, 1, 0.7)
    return f"did you mean '{close[0]}'?" if close else otherwise


def _type_hint(name: str, tokens: Sequence[Token], types: Iterable[str], is_struct: Callable[[str], bool]) -> str:
    """What may be meant by a name where a type stands: a tag without its word, or a type that is spelled nearly so."""
    for word, one in pairwise(tokens):
        if one.text == name and word.text in ("struct", "union", "enum"):
            return f"write {word.text} {name}"
    if is_struct(name):
        return f"write struct {name}"
    return _nearest(name, types, "declare the type before its use, or write struct NAME")


def _explain(
    tokens: Sequence[Token], error: _SyntaxError, types: Iterable[str], is_struct: Callable[[str], bool]
) -> tuple[int, str, str]:
    """(index of the token, sentence, hint) in the user's words for what the parser said."""
    index, message = error.index, error.message
    text = tokens[index].text if index < len(tokens) else ""
    before = tokens[index - 1].text if index else ""
    open_braces = _open_braces(tokens, index)
    unknown = index - 1 if _is_name(tokens, index) and _is_name(tokens, index - 1) else (
        index if _is_name(tokens, index) and (_is_name(tokens, index + 1) or message == "Invalid declaration") else -1)
    start = _item_start(tokens, index)
    is_macro = _is_name(tokens, start) and tokens[start].text.isupper() and start + 1 < len(tokens) and tokens[start + 1].text == "("
    if is_macro and not open_braces:
        return start, f"unknown macro '{tokens[start].text}'", _nearest(tokens[start].text, types, "define it, or include what does")
    if text in _ASSEMBLY and not open_braces:
        return index, "assembly code is not supported", ""
    if "__label__" in (text, before):
        return index, "local labels are not supported", "give each label of the function a name of its own"
    if unknown >= 0:
        name = tokens[unknown].text
        return unknown, f"unknown type name '{name}'", _type_hint(name, tokens, types, is_struct)
    if index >= len(tokens) or message == "At end of input":
        hint = f"the '{{' in line {open_braces[-1].line} is not closed" if open_braces else ""
        return index, _KNOWN.get(message, message[:1].lower() + message[1:]), hint
    if text in _STATEMENT_WORDS and not open_braces:
        return index, f"'{text}' outside a function", "is there a '}' too many above?"
    if text == "else" and before in (";", "}", "{"):
        return index, "'else' without 'if'", ""
    if text == "*" and before == "goto":
        return index, "computed goto is not supported", "use a switch"
    if text == "{" and before == ")" and open_braces:
        return index, "a function inside a function is not supported", "move it out, or add the missing ';'"
    if message == "Invalid function definition":
        return index, f"a type is missing before '{text}'", "write int in front of it"
    if message == "Missing type in declaration":
        return index, _KNOWN[message], "write e.g. int in front of the name"
    if message.startswith("expected ';' before") and index and tokens[index - 1].line < tokens[index].line:
        return index - 1, f"expected ';' after '{before}'", ""
    if message.startswith("before: "):
        return index, f"syntax error before '{message[8:]}'", ""
    return index, _KNOWN.get(message, message[:1].lower() + message[1:]), ""


def _following_item(tokens: Sequence[Token], index: int) -> int:
    """Where the next declaration or function at the top level seems to begin: at a word in a line's first column behind
    a '}' or ';'. The number of tokens if there is none."""
    for at in range(max(index, 1), len(tokens)):
        one, before = tokens[at], tokens[at - 1]
        if one.col == 1 and one.kind == "id" and before.text in ("}", ";") and before.line != one.line:
            return at
    return len(tokens)


def _attempt(
    parser: _Parser, filename: str, types: Iterable[str], is_struct: Callable[[str], bool]
) -> c_ast.FileAST | tuple[int, str, str]:
    """The AST of what is in front of the parser, or (index of a token, sentence, hint)."""
    tokens = parser.clex.tokens
    try:
        return parser.parse("", filename)
    except _SyntaxError as error:
        if error.message == "Invalid expression" and parser._peek_type() == "TYPEID":
            return error.index, f"'{tokens[error.index].text}' is a type, an expression is needed", ""
        return _explain(tokens, error, [*types, *(one for scope in parser._scope_stack for one in scope if scope[one])], is_struct)
    except ParseError as error:
        return _explain(tokens, _SyntaxError(len(tokens), str(error)), types, is_struct)
    except RecursionError:
        return 0, "the text is nested too deeply", "split the expression or block"
    except (AttributeError, AssertionError, ValueError, TypeError, IndexError) as error:
        # pycparserext's tree surgery on declarations that are not C
        return parser.clex.at, f"syntax error ({error})", ""


def parse(
    tokens: Sequence[Token], *, filename: str, is_type: Callable[[str], bool], sources: dict[str, str], types: Iterable[str] = (),
    is_struct: Callable[[str], bool] = lambda name: False,
) -> c_ast.FileAST:
    """The AST of tokens; a node's coord.line is the index of its token. types: names of types and macros to suggest for
    one that is unknown; is_struct: whether a name is the tag of a struct that the text need not define. Raises CompileError, with the first error in each function or declaration."""
    diagnostics: list[Diagnostic] = []
    known: dict[str, bool] = {}

    def is_known(name: str) -> bool:
        return known[name] if name in known else is_type(name)

    start = 0
    while start < len(tokens) or not diagnostics:
        parser = _Parser(tokens, is_known)
        parser.clex.at = start
        made = _attempt(parser, filename, types, is_struct)
        found = [*parser.refused, *(() if isinstance(made, c_ast.FileAST) else (made,))]
        for at, message, hint in found[: MAX_DIAGNOSTICS - len(diagnostics)]:
            span = tokens[min(at, len(tokens) - 1)].span if tokens else Span(filename, 1, 1)
            lines = sources.get(span.file, "").split("\n")
            line = lines[span.line - 1] if span.line <= len(lines) else ""
            diagnostics.append(Diagnostic(message, span, hint=hint, source_line=line))
        if isinstance(made, c_ast.FileAST):
            if not diagnostics:
                return made
            break
        if len(diagnostics) == MAX_DIAGNOSTICS:
            break
        known.update(parser._scope_stack[0])
        start = _following_item(tokens, max(parser.clex.at, start + 1))
    raise CompileError(diagnostics)
