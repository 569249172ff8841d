"""Mutants of C texts, and a child process that compiles them: what ends the child is a defect.

mutants() changes a text by bytes, tokens and lines, seeded. compile_all() compiles texts in a forked child
that answers each with a line; where the child dies (LLVM ends a process on what its BPF target cannot do),
hangs, or lets an exception out that is no CompileError, the text is in the result, and a new child goes on
behind it."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cfront import CompileError, TypeSource, compile_unit

__all__ = ["Outcome", "compile_all", "mutants"]

_WORD = re.compile(r"[A-Za-z_]\w*|0[xX][0-9a-fA-F]+|\d+|\"(?:\\.|[^\"\\\n])*\"|\s+|<<=|>>=|->|\+\+|--|<<|>>|[<>=!]=|&&|\|\||.")
_INTERESTING = (
    "0", "1", "-1", "8", "63", "64", "255", "511", "4096", "0x7fffffff", "0x80000000", "0xffffffffffffffffULL", "1.5", "u8", "s16",
    "u32", "u64", "s64", "char", "int", "long", "__int128", "unsigned __int128", "double", "void", "struct task_struct *", "_Bool",
    "*", "&", "->", ".", "[", "]", "(", ")", "{", "}", ";", ",", "?", ":", "==", "=", "<<", ">>", "/", "%", "-", "~", "!", "++",
    "return", "if", "else", "while", "for", "do", "switch", "case", "default", "break", "continue", "goto", "sizeof", "static",
    "inline", "const", "volatile", "struct", "union", "enum", "typedef", "__noinline", "__attribute__((packed))", "...", "#", "##",
    "\\", "\"", "'", "\n", "/*", "*/", "//", "#if 1\n", "#endif\n", "#define X X\n", "__builtin_memcpy", "__builtin_memset", "asm",
    "__sync_fetch_and_add", "__atomic_exchange_n", "__sync_val_compare_and_swap", "bpf_probe_read_kernel", "NULL", "ctx",
)


# tokens that stand for one another, so that many mutants are still programs
_CLASSES = (
    ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "char", "int", "long", "_Bool", "__int128", "unsigned __int128", "short"),
    ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=", "==", "!=", "&&", "||", ","),
    ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="),
    ("0", "1", "2", "3", "7", "8", "15", "16", "31", "32", "63", "64", "100", "127", "128", "255", "256", "511", "512", "513", "1000",
     "4096", "65535", "0x7fffffff", "0x80000000", "0xffffffffULL", "0x7fffffffffffffffLL", "0xffffffffffffffffULL"),
    ("if", "while", "switch"), ("break", "continue", "return 1"), (";", ""), ("->", "."), ("++", "--"), ("!", "~", "-", "*", "&", "+", ""),
    ("static", "static inline", "static __noinline", "static volatile", "static const"),
)
_CLASS_OF = {word: row for row in reversed(_CLASSES) for word in row if word}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A text that was not answered with an object or a CompileError. how: in words, with the traceback."""

    text: str
    how: str


def _bytes_changed(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    kind = chance.randrange(3)
    if kind == 0:
        return text[:at] + chr(chance.choice([chance.randrange(32, 127), chance.randrange(256), 0x20AC])) + text[at:]
    end = at + chance.choice([1, 1, 2, 8])
    return text[:at] + text[end:] if kind == 1 else text[:at] + text[at:end] * 2 + text[end:]


def _tokens_changed(chance: random.Random, text: str) -> str:
    words = _WORD.findall(text)
    real = [at for at, one in enumerate(words) if not one.isspace()]
    if not real:
        return text
    at = chance.choice(real)
    kind = chance.randrange(5)
    if kind == 0:
        words[at] = ""
    elif kind == 1:
        words[at] = chance.choice(_INTERESTING)
    elif kind == 2:
        words[at] = words[chance.choice(real)]
    elif kind == 3:
        words[at] += " " + chance.choice(_INTERESTING) + " "
    else:
        other = chance.choice(real)
        words[at], words[other] = words[other], words[at]
    return "".join(words)


def _alike_changed(chance: random.Random, text: str) -> str:
    words = _WORD.findall(text)
    known = [at for at, one in enumerate(words) if one in _CLASS_OF]
    names = [at for at, one in enumerate(words) if one.isidentifier() and one not in _CLASS_OF]
    if known and (not names or chance.random() < 0.8):
        at = chance.choice(known)
        words[at] = f" {chance.choice(_CLASS_OF[words[at]])} "
    elif names:
        words[chance.choice(names)] = words[chance.choice(names)]
    return "".join(words)


def _lines_changed(chance: random.Random, text: str, other: str) -> str:
    lines, others = text.split("\n"), other.split("\n")
    at = chance.randrange(len(lines))
    kind = chance.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, chance.choice(others))
    elif kind == 2:
        to = chance.randrange(len(lines))
        lines[at], lines[to] = lines[to], lines[at]
    else:
        lines[at:at] = lines[at : at + 3]
    return "\n".join(lines)


def mutants(seed: int, count: int, texts: Sequence[str]) -> Iterator[str]:
    """count changed texts; most are changed in one or two places, so that many still compile."""
    chance = random.Random(seed)
    for _ in range(count):
        text = chance.choice(texts)
        for _ in range(chance.choice([1, 1, 1, 2, 2, 4])):
            kind = chance.random()
            if kind < 0.08:
                text = _bytes_changed(chance, text)
            elif kind < 0.7:
                text = _alike_changed(chance, text)
            elif kind < 0.9:
                text = _tokens_changed(chance, text)
            else:
                text = _lines_changed(chance, text, chance.choice(texts))
        yield text


def _answer(text: str, types: TypeSource | None, cpu: str, target: str) -> str:
    try:
        compile_unit(text, types=types, cpu=cpu, target=target)
    except CompileError as error:
        str(error)
        assert error.diagnostics
        return "refused"
    except BaseException:  # a test's child: every way out is an answer
        return "raised " + traceback.format_exc()
    return "compiled"


def _child(texts: Sequence[str], types: TypeSource | None, cpu: str, target: str, pipe: int) -> None:
    for text in texts:
        os.write(pipe, b"?")
        answer = _answer(text, types, cpu, target).encode("utf-8", "replace")
        while answer:
            answer = answer[os.write(pipe, answer) :]
        os.write(pipe, b"\0")


def compile_all(
    texts: Sequence[str], *, types: TypeSource | None = None, cpu: str = "v3", target: str = "bpf", limit_s: float = 10
) -> tuple[list[Outcome], dict[str, int]]:
    """(what went wrong, how many texts were compiled and refused)."""
    bad: list[Outcome] = []
    counts = {"compiled": 0, "refused": 0}
    at = 0
    while at < len(texts):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 2)
                _child(texts[at:], types, cpu, target, writer)
            finally:
                os._exit(0)
        os.close(writer)
        content = b""
        while True:
            ready, _, _ = select.select([reader], [], [], limit_s)
            piece = os.read(reader, 1 << 16) if ready else b""
            if not piece:
                break
            content += piece
            while b"\0" in content:
                answer, _, content = content.partition(b"\0")
                word = answer.decode().removeprefix("?")
                if word in counts:
                    counts[word] += 1
                else:
                    bad.append(Outcome(texts[at], word))
                at += 1
        os.close(reader)
        if not ready:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if content:
            bad.append(Outcome(texts[at], "hangs" if not ready else f"ends the process, status {status:#x}"))
            at += 1
    return bad, counts
