"""Random C functions of integers: seeded, free of undefined behaviour but for wrapping, which both sides are
told to do. Expressions over variables of every width, statements with bounded loops."""

from __future__ import annotations

import random

__all__ = ["random_function"]

_TYPES = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
_OPERATORS = ("+", "-", "*", "&", "|", "^", "<", ">", "<=", ">=", "==", "!=", "&&", "||")


def _expression(chance: random.Random, names: list[str], depth: int) -> str:
    if depth == 0 or chance.random() < 0.15:
        if chance.random() < 0.3:
            return f"{chance.choice([0, 1, 2, 3, 7, 10, 100, 255, 256, 65535, 2147483647, 4294967295, chance.getrandbits(31)])}" + (
                chance.choice(["", "u", "ull"]))
        return chance.choice(names)
    kind = chance.random()
    left, right = (_expression(chance, names, depth - 1) for _ in range(2))
    if kind < 0.55:
        return f"({left} {chance.choice(_OPERATORS)} {right})"
    if kind < 0.65:
        return f"(({left}) {chance.choice(['<<', '>>'])} (({right}) & {chance.choice([7, 15, 31])}))"
    if kind < 0.75:
        # a positive 64-bit divisor, so that no quotient is undefined
        return f"((s64)({left}) {chance.choice('/%')} (s64)((({right}) & 0xffff) + 1))"
    if kind < 0.85:
        return f"({chance.choice(_TYPES)})({left})"
    if kind < 0.93:
        return f"({left} ? {right} : {_expression(chance, names, depth - 1)})"
    return f"({chance.choice('-~!')}({left}))"


def _statement(chance: random.Random, names: list[str], loops: int) -> str:
    kind = chance.random()
    target = chance.choice(names)
    value = _expression(chance, names, 3)
    if kind < 0.5:
        return f"{target} = {value};"
    if kind < 0.65:
        return f"{target} {chance.choice(['+', '-', '*', '&', '|', '^'])}= {value};"
    if kind < 0.75:
        return f"{chance.choice(['++', '--'])}{target};"
    inner = " ".join(_statement(chance, names, loops + 1) for _ in range(2))
    if kind < 0.88 or loops:
        other = _statement(chance, names, loops + 1)
        return f"if ({value}) {{ {inner} }} else {{ {other} }}"
    counter = f"i{loops}"
    return f"for (int {counter} = 0; {counter} < {chance.randrange(1, 9)}; {counter}++) {{ {inner} }}"


def random_function(chance: random.Random) -> str:
    """`static u64 f(u64 a, u64 b)` with a body of its own."""
    rows = ["static u64 f(u64 a, u64 b) {"]
    names = ["a", "b"]
    for number in range(4):
        rows.append(f"    {chance.choice(_TYPES)} v{number} = {_expression(chance, names, 2)};")
        names.append(f"v{number}")
    rows += [f"    {_statement(chance, names, 0)}" for _ in range(6)]
    rows.append("    return a * 3 + b * 5 + v0 * 7 + v1 * 11 + v2 * 13 + (u64)v3;")
    return "\n".join([*rows, "}", ""])
