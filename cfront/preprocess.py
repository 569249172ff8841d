"""C text -> expanded tokens, each with its place and the macro it came from.

Input: a text, -D/-U/-I flags, and a resolver for #include. Output: a flat list of Token without white
space, directives executed. A token from a macro's body carries the place where the macro was used and that
macro's name; a token that was an argument keeps its own place, so carets point at what the user wrote.

Expansion is Dave Prosser's algorithm (X3J11/86-196): every token carries the set of macros it may not
expand again; each step either emits a token or grows that set, so it ends. Expansion is bounded by
MAX_EXPANDED all the same, because arguments can be duplicated exponentially. GNU: named variadics (`args...`)
and `, ## __VA_ARGS__`. #include of a kernel header that we do not ship is empty on purpose: its types come
from BTF, its macros from cfront/include."""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cfront.errors import CompileError, Diagnostic, counted
from cfront.source import Span

__all__ = [
    "Flags",
    "Preprocessed",
    "Token",
    "host_headers",
    "macro_names",
    "parse_flags",
    "preprocess",
    "shipped_tokens",
    "text_from_tokens",
]

MAX_TOKENS = 2_000_000
MAX_EXPANDED = 400_000  # of those, made by macros
_MAX_INCLUDE_DEPTH = 64
_MAX_ORIGIN = 3  # further macros that a token remembers it came through
_INCLUDE_DIR = Path(__file__).parent / "include"

_LEX = re.compile(
    r"""(?P<ws>(?:[ \t\f\v\r]|\\[ \t]*\r?\n|//(?:\\[ \t]*\r?\n|[^\n])*|/\*(?s:.*?)\*/)+)
      |(?P<nl>\n)
      |(?P<open>/\*)
      |(?P<str>(?:u8|[LuU])?"(?:\\(?s:.)|[^"\\\n])*")
      |(?P<chr>[LuU]?'(?:\\(?s:.)|[^'\\\n])+')
      |(?P<id>[A-Za-z_$][A-Za-z_0-9$]*)
      |(?P<num>\.?[0-9](?:[eEpP][+-]|[A-Za-z_0-9.])*)
      |(?P<punct>\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||\+=|-=|\*=|/=|%=|&=|\|=|\^=|\#\#|[-+*/%&|^~!<>=?:;,.(){}\[\]\#])
      |(?P<bad>(?s:.))""",
    re.VERBOSE,
)
_DEFINITION = re.compile(r"^#define[ \t]+(\w+)[^\\\n]*(?:\\[\s\S][^\\\n]*)*", re.MULTILINE)
_WITHOUT_LINES = re.compile(r"\\\r?\n")


class Token:
    """kind: "id", "num", "str", "chr", "punct", "pragma", or while preprocessing "nl" and "bad"."""

    __slots__ = ("col", "file", "hide", "kind", "line", "macro", "space", "text")

    def __init__(
        self, kind: str, text: str, file: str, line: int, col: int, space: bool = False, macro: str = "",
        hide: frozenset[str] = frozenset(),
    ) -> None:
        self.kind = kind
        self.text = text
        self.file = file
        self.line = line
        self.col = col
        self.space = space
        self.macro = macro
        self.hide = hide

    @property
    def span(self) -> Span:
        return Span(self.file, self.line, self.col, self.macro)

    def __repr__(self) -> str:
        return f"{self.kind}:{self.text}@{self.line}:{self.col}"


@dataclass(frozen=True, slots=True)
class Macro:
    """params is None for an object-like macro; variadic: the name of the last parameter, which takes the rest."""

    name: str
    params: tuple[str, ...] | None
    body: tuple[Token, ...]
    variadic: str = ""


class _Unread:
    """The definition of a macro in a shipped header, lexed when it is first used. line: of those above it."""

    __slots__ = ("file", "line", "macro", "text")

    def __init__(self, file: str, line: int, text: str) -> None:
        self.file = file
        self.line = line
        self.text = text
        self.macro: Macro | None = None


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """tokens: what the parser sees. sources: the text of every file read, by name, for diagnostics.
    warnings: what is doubtful."""

    tokens: list[Token]
    sources: dict[str, str]
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Flags:
    """Compiler flags that mean something here. defines: "NAME=VALUE" or "-NAME" to undefine, in order."""

    defines: tuple[str, ...] = ()
    include_dirs: tuple[str, ...] = ()
    is_quiet: bool = False
    warnings: tuple[str, ...] = ()  # what follows each -W, in order


def parse_flags(cflags: Iterable[str]) -> Flags:
    """The flags in clang's spelling; -O*, -f*, -g*, -m* and -std* are accepted and change nothing.
    Raises CompileError on any other."""
    defines: list[str] = []
    dirs: list[str] = []
    quiet = False
    warnings: list[str] = []
    rest = [one for one in cflags if one]
    while rest:
        flag = rest.pop(0)
        kind, value = flag[:2], flag[2:]
        if kind in ("-D", "-U", "-I"):
            if not value:
                if not rest:
                    raise CompileError([Diagnostic(f"flag {flag} needs a value", None)])
                value = rest.pop(0)
            if kind == "-I":
                dirs.append(value)
            elif kind == "-U":
                defines.append("-" + value)
            else:
                defines.append(value if "=" in value else value + "=1")
        elif flag == "-w":
            quiet = True
        elif kind == "-W":
            warnings.append(value)
        elif kind not in ("-O", "-f", "-g", "-s", "-m") and not flag.startswith("-std"):
            raise CompileError([Diagnostic(f"unknown flag {flag}", None, hint="use -D, -U, -I, -W or -w")])
    return Flags(tuple(defines), tuple(dirs), quiet, tuple(warnings))


def _lex(text: str, file: str) -> list[Token]:
    tokens: list[Token] = []
    append = tokens.append
    line, start, space = 1, 0, False
    for match in _LEX.finditer(text):
        kind = match.lastgroup or "bad"
        at = match.start()
        if kind == "ws":
            space = True
            breaks = match.group().count("\n")
            if breaks:
                line += breaks
                start = at + match.group().rfind("\n") + 1
            continue
        word = match.group()
        append(Token("bad" if kind == "open" else kind, word, file, line, at - start + 1, space))
        space = False
        if kind == "nl":
            line += 1
            start = match.end()
        elif kind in ("str", "chr") and "\n" in word:
            tokens[-1].text = _WITHOUT_LINES.sub("", word)
            line += word.count("\n")
            start = at + word.rfind("\n") + 1
    append(Token("nl", "\n", file, line, len(text) - start + 1))
    return tokens


def _resolve(name: str, is_system: bool, includer: str, dirs: Sequence[str]) -> tuple[str, str] | None:
    """(file name, text) of an include; None if there is no such file. Kernel headers that we do not ship
    are empty."""
    places: list[Path] = [] if is_system else [Path(includer).parent]
    places += [Path(one) for one in dirs]
    for one in places:
        path = one / name
        if path.is_file():
            return os.path.normpath(path), path.read_text(errors="replace")
    shipped = name.removeprefix("uapi/")
    path = _INCLUDE_DIR / shipped
    if ".." not in shipped and path.is_file():
        return f"<{name}>", _shipped_text(shipped)
    if is_system or name.split("/")[0] in _KERNEL_DIRS:
        return f"<{name}>", ""
    return None


_KERNEL_DIRS = {"linux", "uapi", "net", "asm", "asm-generic", "bcc", "crypto", "rdma", "scsi", "sound", "trace", "video",
                "drivers", "fs", "kernel", "mm", "block"}


@functools.cache
def _shipped_text(name: str) -> str:
    return (_INCLUDE_DIR / name).read_text()


_UNTERMINATED = {'"': "unterminated string literal", "'": "unterminated character constant", "/*": "unterminated comment"}
_DIRECTIVES = ("include", "define", "undef", "if", "ifdef", "ifndef", "elif", "else", "endif", "error", "warning", "pragma", "line")


class _Preprocessor:
    def __init__(self, flags: Flags, macros: dict[str, Macro | _Unread], headers: Mapping[str, str] | None = None) -> None:
        self.headers = headers or {}
        self.flags = flags
        self.macros = macros
        self.sources: dict[str, str] = {}
        self.warnings: list[Diagnostic] = []
        self.once: set[str] = set()
        self.pushed: dict[str, list[Macro | _Unread | None]] = {}
        self.out: list[Token] = []
        self.depth = 0
        self.counter = 0
        self.made = 0  # tokens made by expansion

    # -- errors

    def fail(self, message: str, token: Token, hint: str = "") -> CompileError:
        lines = self.sources.get(token.file, "").split("\n")
        source = lines[token.line - 1] if token.line <= len(lines) else ""
        return CompileError([Diagnostic(message, token.span, hint=hint, source_line=source)])

    # -- files and directives

    def run_file(self, file: str, text: str) -> None:
        self.sources.setdefault(file, text)
        self.run(_lex(text, file))

    def run(self, tokens: list[Token]) -> None:
        """Executes the directives of tokens and emits everything else, expanded."""
        tokens.reverse()
        conditions: list[_Condition] = []
        at_line_start = True
        while tokens:
            token = tokens.pop()
            if token.kind == "nl":
                at_line_start = True
            elif at_line_start and token.text == "#" and token.kind == "punct" and not token.macro:
                self.directive(token, tokens, conditions)
            else:
                at_line_start = False
                if token.kind != "id" or not self.expand(token, tokens):
                    self.emit(token)
        if conditions:
            raise self.fail("unterminated conditional directive", conditions[-1].token, "add the missing #endif")

    def emit(self, token: Token) -> None:
        if token.kind == "bad":
            message = _UNTERMINATED.get(token.text, f"stray {_shown(token.text)} in program")
            raise self.fail(message, token)
        if token.kind == "id" and token.text == "_Pragma":
            token = Token("id", token.text, token.file, token.line, token.col, token.space, token.macro)
        self.out.append(token)
        if len(self.out) > MAX_TOKENS:
            raise self.fail(f"more than {MAX_TOKENS} tokens after macro expansion", token)

    @staticmethod
    def line(tokens: list[Token]) -> list[Token]:
        """Takes the rest of the line off tokens (which is reversed)."""
        row = []
        while tokens and tokens[-1].kind != "nl":
            row.append(tokens.pop())
        return row

    def directive(self, hash: Token, tokens: list[Token], conditions: list[_Condition]) -> None:
        row = self.line(tokens)
        if not row:
            return
        name, rest = row[0].text, row[1:]
        if name in ("if", "ifdef", "ifndef"):
            is_true = self.condition(name, row[0], rest)
            conditions.append(_Condition(row[0], is_true))
            if not is_true:
                self.skip(tokens, conditions)
        elif name in ("elif", "else"):
            if not conditions:
                raise self.fail(f"#{name} without #if", row[0])
            if conditions[-1].has_else:
                raise self.fail(f"#{name} after #else", row[0])
            conditions[-1].has_else = name == "else"
            self.skip(tokens, conditions)
        elif name == "endif":
            if not conditions:
                raise self.fail("#endif without #if", row[0])
            conditions.pop()
        elif name == "define":
            self.define(row[0], rest)
        elif name == "undef":
            if not rest or rest[0].kind != "id":
                raise self.fail("#undef needs a name", row[0])
            self.macros.pop(rest[0].text, None)
        elif name == "include":
            self.include(row[0], rest)
        elif name == "error":
            raise self.fail("#error " + _spell(rest), row[0])
        elif name == "warning":
            self.warnings.append(Diagnostic("#warning " + _spell(rest), row[0].span, "warning", group="#warnings"))
        elif name == "pragma":
            self.pragma(row[0], rest)
        elif name not in ("line", "ident") and row[0].kind != "num":
            close = difflib.get_close_matches(name, _DIRECTIVES, 1)
            raise self.fail(f"unknown directive #{name}", row[0], f"did you mean #{close[0]}?" if close else "")

    def pragma(self, token: Token, rest: list[Token]) -> None:
        if rest and rest[0].text == "once":
            self.once.add(token.file)
        elif len(rest) >= 3 and rest[0].text in ("push_macro", "pop_macro") and rest[2].kind == "str":
            self.push_or_pop(rest[0].text == "push_macro", rest[2].text[1:-1])
        elif rest and rest[0].text in ("unroll", "nounroll", "pack", "clang", "GCC"):
            self.out.append(Token("pragma", _spell(rest), token.file, token.line, token.col))

    def push_or_pop(self, is_push: bool, name: str) -> None:
        """#pragma push_macro("NAME") and pop_macro: the macro's meaning, or that it has none, set aside and back again."""
        kept = self.pushed.setdefault(name, [])
        if is_push:
            kept.append(self.macros.get(name))
        elif kept:
            macro = kept.pop()
            self.macros.pop(name, None)
            if macro is not None:
                self.macros[name] = macro

    def skip(self, tokens: list[Token], conditions: list[_Condition]) -> None:
        """Drops the groups of the innermost conditional that are not taken, up to the one that is or to
        its #endif."""
        here = conditions[-1]
        depth = 0
        at_line_start = True
        while tokens:
            token = tokens.pop()
            if token.kind == "nl":
                at_line_start = True
                continue
            if not (at_line_start and token.text == "#"):
                at_line_start = False
                continue
            row = self.line(tokens)
            name = row[0].text if row else ""
            if name in ("if", "ifdef", "ifndef"):
                depth += 1
            elif name == "endif":
                if depth == 0:
                    conditions.pop()
                    return
                depth -= 1
            elif depth == 0 and name in ("elif", "else"):
                if here.has_else:
                    raise self.fail(f"#{name} after #else", row[0])
                here.has_else = name == "else"
                if not here.is_done and (name == "else" or self.condition("if", row[0], row[1:])):
                    here.is_done = True
                    return
        raise self.fail("unterminated conditional directive", here.token, "add the missing #endif")

    def condition(self, name: str, token: Token, rest: list[Token]) -> bool:
        if name == "if":
            return self.evaluate(token, rest) != 0
        if not rest or rest[0].kind != "id":
            raise self.fail(f"#{name} needs a name", token)
        return self.is_defined(rest[0].text) == (name == "ifdef")

    def is_defined(self, name: str) -> bool:
        return name in self.macros or name in ("__LINE__", "__FILE__", "__COUNTER__")

    def include(self, token: Token, rest: list[Token]) -> None:
        if rest and rest[0].kind == "id":
            rest = self.expand_all(rest)
        if rest and rest[0].kind == "str":
            name, is_system = rest[0].text[1:-1], False
        elif len(rest) >= 3 and rest[0].text == "<":
            words = [one.text for one in rest[1:]]
            name, is_system = "".join(words[: words.index(">")] if ">" in words else words), True
        else:
            raise self.fail('#include needs "file" or <file>', token)
        given = self.headers.get(name)
        found = (name, given) if given is not None else _resolve(name, is_system, token.file, self.flags.include_dirs)
        if found is None:
            close = difflib.get_close_matches(name, self.headers, 1)
            raise self.fail(f"'{name}' file not found", rest[0],
                            f"did you mean '{close[0]}'?" if close else "give its directory with -I")
        file, text = found
        if file in self.once:
            return
        self.depth += 1
        if self.depth > _MAX_INCLUDE_DEPTH:
            raise self.fail(f"#include nested more than {_MAX_INCLUDE_DEPTH} deep", token)
        self.run_file(file, text)
        self.depth -= 1

    def define(self, token: Token, rest: list[Token]) -> Macro:
        if not rest or rest[0].kind != "id":
            raise self.fail("#define needs a name", token)
        name = rest[0].text
        if name == "defined":
            raise self.fail("'defined' cannot be a macro's name", rest[0])
        if len(rest) > 1 and rest[1].text == "(" and not rest[1].space:
            params, variadic, used = self.parameters(rest)
            macro = Macro(name, params, tuple(rest[used:]), variadic)
        else:
            macro = Macro(name, None, tuple(rest[1:]))
        self.macros[name] = macro
        body = macro.body
        if body and (body[0].text == "##" or body[-1].text == "##"):
            raise self.fail("'##' cannot be at either end of a macro's body", body[0] if body[0].text == "##" else body[-1])
        given = macro.params
        for one, after in zip(body, (*body[1:], None), strict=False):
            if given is not None and one.text == "#" and one.kind == "punct" and (after is None or after.text not in given):
                raise self.fail("'#' is not followed by a macro's parameter", one)
        return macro

    def read(self, unread: _Unread) -> Macro:
        """The macro of a shipped header, at its first use."""
        if unread.macro is None:
            row = _lex(unread.text, unread.file)[:-1]
            for one in row:
                one.line += unread.line
            unread.macro = self.define(row[1], row[2:])
        return unread.macro

    def parameters(self, rest: list[Token]) -> tuple[tuple[str, ...], str, int]:
        """(names, the variadic one or "", index behind the parenthesis) of a function-like macro."""
        names: list[str] = []
        variadic = ""
        at = 2
        if at < len(rest) and rest[at].text == ")":
            return (), "", at + 1
        while at < len(rest):
            if variadic:
                break
            if rest[at].text == "...":
                variadic = "__VA_ARGS__"
                names.append(variadic)
            elif rest[at].kind == "id":
                names.append(rest[at].text)
                if at + 1 < len(rest) and rest[at + 1].text == "...":
                    variadic = rest[at].text
                    at += 1
            else:
                break
            at += 1
            if at < len(rest) and rest[at].text == ")":
                return tuple(names), variadic, at + 1
            if at >= len(rest) or rest[at].text != ",":
                break
            at += 1
        raise self.fail("malformed macro parameters", rest[min(at, len(rest) - 1)])

    # -- expansion

    def expand(self, token: Token, tokens: list[Token]) -> bool:
        """If token is a macro that may expand here, puts its expansion on tokens (reversed) and says True."""
        name = token.text
        macro = self.macros.get(name)
        if isinstance(macro, _Unread):
            macro = self.read(macro)
        if macro is None:
            return self.builtin(token, tokens) if name.startswith("__") or name == "_Pragma" else False
        if name in token.hide:
            return False
        if macro.params is None:
            result = self.substitute(macro, {}, {}, token, token.hide | {name})
        else:
            at = len(tokens) - 1
            while at >= 0 and tokens[at].kind == "nl":
                at -= 1
            if at < 0 or tokens[at].text != "(" or tokens[at].kind != "punct":
                return False
            del tokens[at:]
            args, close = self.arguments(macro, token, tokens)
            expanded: dict[str, list[Token]] = {}
            result = self.substitute(macro, args, expanded, token, (token.hide & close.hide) | {name})
        self.made += len(result)
        if self.made > MAX_EXPANDED:
            raise self.fail(f"macro {name}: more than {MAX_EXPANDED} tokens are made by macros", token)
        result.reverse()
        tokens += result
        return True

    def builtin(self, token: Token, tokens: list[Token]) -> bool:
        name = token.text
        if name == "__LINE__":
            tokens.append(self.made_from(token, "num", str(token.line)))
        elif name == "__FILE__":
            tokens.append(self.made_from(token, "str", '"' + token.file.replace("\\", "\\\\").replace('"', '\\"') + '"'))
        elif name == "__COUNTER__":
            tokens.append(self.made_from(token, "num", str(self.counter)))
            self.counter += 1
        elif name == "_Pragma":
            row = [tokens.pop() for _ in range(min(3, len(tokens)))]
            if len(row) != 3 or row[1].kind != "str":
                raise self.fail("_Pragma needs one string literal in parentheses", token)
            inner = _lex(row[1].text[1:-1].replace('\\"', '"'), token.file)[:-1]
            self.pragma(token, inner)
        else:
            return False
        return True

    @staticmethod
    def made_from(token: Token, kind: str, text: str) -> Token:
        return Token(kind, text, token.file, token.line, token.col, token.space, token.macro or token.text)

    def arguments(self, macro: Macro, token: Token, tokens: list[Token]) -> tuple[dict[str, list[Token]], Token]:
        """The arguments by parameter, and the closing parenthesis. tokens is reversed, behind the opening one."""
        assert macro.params is not None
        rows: list[list[Token]] = [[]]
        depth = 0
        while True:
            if not tokens:
                raise self.fail(f"unterminated argument list of macro {macro.name}", token)
            one = tokens.pop()
            text = one.text
            if one.kind == "nl":
                if tokens and tokens[-1].text == "#" and tokens[-1].kind == "punct":
                    raise self.fail("a directive inside a macro's arguments is not supported", tokens[-1])
                if tokens:
                    tokens[-1].space = True
                continue
            if one.kind == "punct":
                if text == ")" and depth == 0:
                    break
                if text in "([{":
                    depth += text != "{" and text != "["
                elif text == ")":
                    depth -= 1
                elif text == "," and depth == 0 and not (macro.variadic and len(rows) == len(macro.params)):
                    rows.append([])
                    continue
            rows[-1].append(one)
        wanted = len(macro.params)
        if wanted == 0 and rows == [[]]:
            rows = []
        if macro.variadic and len(rows) == wanted - 1:
            rows.append(_ELIDED)
        elif macro.variadic and wanted == 1 and not rows[0]:
            rows[0] = _ELIDED
        if len(rows) != wanted:
            raise self.fail(f"macro {macro.name} takes {counted(wanted, 'argument')}, {len(rows)} given", token)
        return dict(zip(macro.params, rows, strict=True)), one

    def expand_all(self, row: Sequence[Token]) -> list[Token]:
        """row completely macro-expanded, on its own."""
        tokens = list(reversed(row))
        result: list[Token] = []
        while tokens:
            one = tokens.pop()
            if one.kind == "nl":
                continue
            if one.kind != "id" or not self.expand(one, tokens):
                result.append(one)
        return result

    def substitute(
        self, macro: Macro, args: Mapping[str, list[Token]], expanded: dict[str, list[Token]], token: Token,
        hide: frozenset[str],
    ) -> list[Token]:
        """The body with arguments put in, # and ## done, hide added."""
        body = macro.body
        result: list[Token] = []
        origin = f"{token.macro} {token.text}" if token.macro.count(" ") < _MAX_ORIGIN else token.macro
        origin = origin.lstrip()
        at = 0
        while at < len(body):
            one = body[at]
            after = body[at + 1] if at + 1 < len(body) else None
            if one.text == "#" and macro.params is not None and after is not None and after.text in args:
                result.append(self.made_from(token, "str", _stringify(args[after.text])))
                at += 2
                continue
            if one.text == "##" and after is not None and result is not None:
                at += 2
                pasted = args.get(after.text) if after.kind == "id" else None
                if pasted is None:
                    self.paste(result, after, token)
                elif macro.variadic and after.text == macro.variadic and result and result[-1].text == ",":
                    if pasted:
                        result += [self.copy(two, origin, hide) for two in self.expanded(after.text, args, expanded)]
                    elif pasted is _ELIDED:
                        result.pop()
                elif pasted:
                    self.paste(result, pasted[0], token)
                    result += [self.copy(two, origin, hide) for two in pasted[1:]]
                continue
            if one.kind == "id" and one.text in args:
                raw = after is not None and after.text == "##"
                row = args[one.text] if raw else self.expanded(one.text, args, expanded)
                if raw and not row:
                    result.append(Token("placemarker", "", token.file, token.line, token.col))
                first = len(result)
                result += [self.copy(two, origin, hide) for two in row]
                if len(result) > first:
                    result[first].space = one.space
            else:
                result.append(
                    Token(one.kind, one.text, token.file, token.line, token.col, one.space, origin, hide | one.hide)
                )
            at += 1
        return [one for one in result if one.kind != "placemarker"]

    def expanded(self, name: str, args: Mapping[str, list[Token]], cache: dict[str, list[Token]]) -> list[Token]:
        if name not in cache:
            cache[name] = self.expand_all(args[name])
        return cache[name]

    @staticmethod
    def copy(token: Token, origin: str, hide: frozenset[str]) -> Token:
        return Token(
            token.kind, token.text, token.file, token.line, token.col, token.space, token.macro or origin, token.hide | hide
        )

    def paste(self, result: list[Token], right: Token, token: Token) -> None:
        if not result:
            result.append(self.made_from(token, right.kind, right.text))
            return
        left = result.pop()
        text = left.text + right.text
        match = _LEX.fullmatch(text) if text else None
        if match is None or match.lastgroup in ("bad", "ws", "nl"):
            raise self.fail(f"pasting {left.text!r} and {right.text!r} does not give a token", token)
        result.append(
            Token(match.lastgroup or "", text, token.file, token.line, token.col, left.space, token.macro or token.text,
                  left.hide & right.hide)
        )

    # -- #if

    def evaluate(self, token: Token, rest: list[Token]) -> int:
        row: list[Token] = []
        words = list(reversed(rest))
        while words:
            one = words.pop()
            if one.kind == "id" and one.text in ("defined", "__has_include", "__has_attribute", "__has_builtin",
                                                 "__has_feature"):
                row.append(self.made_from(one, "num", str(int(self.ask(one, words)))))
            elif one.kind != "id" or not self.expand(one, words):
                row.append(one)
        if not row:
            raise self.fail("#if needs an expression", token)
        return _Expression(self, token, row).value()

    def ask(self, one: Token, words: list[Token]) -> bool:
        """defined X, defined(X), __has_include(<x>) and the like; takes the operand off words."""
        operand: list[Token] = []
        if words and words[-1].text == "(":
            words.pop()
            while words and words[-1].text != ")":
                operand.append(words.pop())
            if not words:
                raise self.fail(f"missing ')' after {one.text}", one)
            words.pop()
        elif words and one.text == "defined":
            operand.append(words.pop())
        if not operand:
            raise self.fail(f"{one.text} needs an operand", one)
        if one.text == "defined":
            return self.is_defined(operand[0].text)
        if one.text == "__has_include":
            is_system = operand[0].text == "<"
            name = "".join(two.text for two in operand[1:-1]) if is_system else operand[0].text[1:-1]
            return _resolve(name, is_system, one.file, self.flags.include_dirs) is not None
        return False


_ELIDED: list[Token] = []  # variable arguments that are not there, unlike ones that are empty


class _Condition:
    """An open #if. is_done: one of its groups was taken."""

    __slots__ = ("has_else", "is_done", "token")

    def __init__(self, token: Token, is_done: bool) -> None:
        self.token = token
        self.is_done = is_done
        self.has_else = False


def _shown(character: str) -> str:
    """A character for a message; what is none, or cannot be seen, by its number."""
    if 0xDC80 <= ord(character[0]) <= 0xDCFF:  # how a byte that is no UTF-8 comes here
        return f"byte {ord(character[0]) - 0xDC00:#x}"
    return f"'{character}'" if character.isprintable() else f"character {ord(character[0]):#x}"


def _spell(row: Iterable[Token]) -> str:
    return "".join((" " if one.space else "") + one.text for one in row).strip()


def _stringify(row: Sequence[Token]) -> str:
    words = []
    for at, one in enumerate(row):
        text = one.text.replace("\\", "\\\\").replace('"', '\\"') if one.kind in ("str", "chr") else one.text
        words.append((" " if one.space and at else "") + text)
    return '"' + "".join(words) + '"'


_BINARY: dict[str, tuple[int, Callable[[int, int], int]]] = {
    "||": (1, lambda a, b: int(bool(a or b))), "&&": (2, lambda a, b: int(bool(a and b))), "|": (3, lambda a, b: a | b),
    "^": (4, lambda a, b: a ^ b), "&": (5, lambda a, b: a & b), "==": (6, lambda a, b: int(a == b)),
    "!=": (6, lambda a, b: int(a != b)), "<": (7, lambda a, b: int(a < b)), ">": (7, lambda a, b: int(a > b)),
    "<=": (7, lambda a, b: int(a <= b)), ">=": (7, lambda a, b: int(a >= b)), "<<": (8, lambda a, b: a << (b & 63)),
    ">>": (8, lambda a, b: a >> (b & 63)), "+": (9, lambda a, b: a + b), "-": (9, lambda a, b: a - b),
    "*": (10, lambda a, b: a * b),
    "/": (10, lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)),
    "%": (10, lambda a, b: abs(a) % abs(b) * (-1 if a < 0 else 1)),
}
_COMPARISONS = {"==", "!=", "<", ">", "<=", ">=", "&&", "||"}


class _Expression:
    """The integer expression of an #if, by precedence climbing in 64 bits (C11 6.10.1). A value is
    (number, is it unsigned)."""

    def __init__(self, owner: _Preprocessor, token: Token, row: list[Token]) -> None:
        self.owner = owner
        self.token = token
        self.row = row
        self.at = 0
        self.unneeded = 0  # operands around here whose value decides nothing

    def value(self) -> int:
        result, _ = self.ternary()
        if self.at != len(self.row):
            raise self.owner.fail(f"unexpected {self.row[self.at].text!r} in #if", self.row[self.at])
        return result

    def take(self, text: str) -> bool:
        if self.at < len(self.row) and self.row[self.at].text == text:
            self.at += 1
            return True
        return False

    def need(self, text: str) -> None:
        if not self.take(text):
            raise self.owner.fail(f"expected {text!r} in #if", self.row[min(self.at, len(self.row) - 1)])

    def ternary(self) -> tuple[int, bool]:
        condition = self.binary(1)
        if not self.take("?"):
            return condition
        yes = self.needed_if(bool(condition[0]), self.ternary)
        self.need(":")
        no = self.needed_if(not condition[0], self.ternary)
        return yes if condition[0] else no

    def needed_if(self, is_needed: bool, parse: Callable[[], tuple[int, bool]]) -> tuple[int, bool]:
        """What parse gives; where it is not needed a division by zero is none (C11 6.6p4)."""
        self.unneeded += not is_needed
        value = parse()
        self.unneeded -= not is_needed
        return value

    def binary(self, floor: int) -> tuple[int, bool]:
        left = self.unary()
        while self.at < len(self.row) and (row := _BINARY.get(self.row[self.at].text)) and row[0] >= floor:
            op = self.row[self.at]
            self.at += 1
            decided = (op.text == "&&" and not left[0]) or (op.text == "||" and bool(left[0]))
            right = self.needed_if(not decided, functools.partial(self.binary, row[0] + 1))
            if op.text in ("/", "%") and right[0] == 0:
                if not self.unneeded:
                    raise self.owner.fail("division by zero in #if", op)
                right = (1, right[1])
            is_unsigned = left[1] or (right[1] and op.text not in ("<<", ">>"))
            mask = (1 << 64) - 1
            if is_unsigned:
                left, right = (left[0] & mask, True), (right[0] & mask, True)
            number = row[1](left[0], right[0])
            left = (number, False) if op.text in _COMPARISONS else (_wrap(number, is_unsigned), is_unsigned)
        return left

    def unary(self) -> tuple[int, bool]:
        if self.at >= len(self.row):
            raise self.owner.fail("#if ends too early", self.token)
        one = self.row[self.at]
        self.at += 1
        if one.text in ("-", "+", "~", "!"):
            number, is_unsigned = self.unary()
            if one.text == "!":
                return int(not number), False
            number = {"-": -number, "+": number, "~": ~number}[one.text]
            return _wrap(number, is_unsigned), is_unsigned
        if one.text == "(" and one.kind == "punct":
            result = self.ternary()
            self.need(")")
            return result
        if one.kind == "num":
            match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)([uUlL]*)", one.text)
            if match is None:
                raise self.owner.fail(f"{one.text!r} is not an integer", one)
            digits = match.group(1)
            octal = digits[0] == "0" and digits.isdigit() and len(digits) > 1
            if octal and ("8" in digits or "9" in digits):
                raise self.owner.fail(f"{one.text!r} is not an octal number", one)
            return int(digits, 8 if octal else 0), "u" in match.group(2).lower()
        if one.kind == "chr":
            return ord(one.text[-2]), False
        if one.kind == "id":
            if self.at < len(self.row) and self.row[self.at].text == "(":
                raise self.owner.fail(f"macro {one.text} is not defined", one, "define it, or ask defined(...) first")
            return 0, False
        raise self.owner.fail(f"unexpected {one.text!r} in #if", one)


def _wrap(number: int, is_unsigned: bool) -> int:
    number &= (1 << 64) - 1
    return number if is_unsigned or number < 1 << 63 else number - (1 << 64)


@functools.cache
def _macros_of(header: str) -> dict[str, Macro | _Unread]:
    """The macros that a shipped header of nothing else defines, none of them read yet."""
    text = _shipped_text(header)
    found: dict[str, Macro | _Unread] = {}
    line = at = 0
    for match in _DEFINITION.finditer(text):
        line, at = line + text.count("\n", at, match.start()), match.start()
        found[match.group(1)] = _Unread(f"<{header}>", line, match.group())
    return found


def macro_names(header: str) -> list[str]:
    """The names of a shipped header's macros that a text may use."""
    return [one for one in _macros_of(header) if not one.startswith("_")]


def shipped_tokens(header: str) -> list[Token]:
    """The expanded tokens of a shipped header of functions."""
    worker = _Preprocessor(Flags(), {})
    worker.run_file(f"<{header}>", _shipped_text(header))
    return worker.out


@functools.cache
def host_headers() -> dict[str, str]:
    """What we ship of the C library's headers for programs for this machine, by name."""
    return {one.name: one.read_text() for one in (_INCLUDE_DIR / "host").iterdir() if one.suffix == ".h"}


def text_from_tokens(tokens: Sequence[Token]) -> str:
    """Expanded tokens as a text that lexes to the same tokens: each on its line, apart where it was apart or
    would otherwise run together. Lines with nothing left are dropped."""
    rows: list[str] = []
    before: Token | None = None
    for one in tokens:
        text = f"#pragma {one.text}" if one.kind == "pragma" else one.text
        if before is None or (one.file, one.line) != (before.file, before.line) or "pragma" in (one.kind, before.kind):
            rows.append(" " * (one.col - 1 if before is None or one.line != before.line else 0) + text)
        else:
            whole = _LEX.match(before.text[-3:] + text)
            runs_on = before.kind == one.kind or whole is None or whole.end() > len(before.text[-3:])
            rows[-1] += (" " if one.space or runs_on or one.macro != before.macro else "") + text
        before = one
    return "\n".join(rows) + "\n" if rows else ""


_LICENSE = "BPF_LICENSE"  # a macro of the text: the words of its license
_LICENSE_TEXT = 'char _license[] __attribute__((section("license"))) = __BCC_LICENSE(BPF_LICENSE);'


def preprocess(
    text: str, *, filename: str, flags: Flags = Flags(), defines: Mapping[str, str] | None = None, prelude: str = "",
    headers: Mapping[str, str] | None = None,
) -> Preprocessed:
    """Expands text. defines: macros beforehand, by name; prelude: a shipped header of macros only, included
    first; headers: the text of includes by name, asked before files, one whose name is in angle brackets stands before the
    text as it is. Raises CompileError."""
    worker = _Preprocessor(flags, dict(_macros_of(prelude)) if prelude else {}, headers)
    given = [f"{name}={value}" for name, value in (defines or {}).items()] + list(flags.defines)
    rows = ["#undef " + one[1:] if one[0] == "-" else "#define " + " ".join(one.split("=", 1)) for one in given]
    if rows:
        worker.run_file("<command line>", "\n".join(rows))
    is_bpf = prelude.startswith("bcc/")
    if is_bpf and worker.is_defined(_LICENSE):
        raise CompileError([Diagnostic(f"{_LICENSE} cannot be specified through cflags", None, hint=f"#define {_LICENSE} in the text")])
    try:
        for name, content in (headers or {}).items():
            if name.startswith("<"):
                worker.run_file(name, content)
        worker.run_file(filename, text)
        if is_bpf and worker.is_defined(_LICENSE):
            worker.run_file("<license>", _LICENSE_TEXT)
    except RecursionError:
        raise CompileError([Diagnostic("macros or includes are nested too deeply", Span(filename, 1, 1))]) from None
    except OSError as error:
        raise CompileError([Diagnostic(f"reading an include: {error}", Span(filename, 1, 1))]) from error
    return Preprocessed(worker.out, worker.sources, tuple(worker.warnings))
