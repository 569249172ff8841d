"""Random C functions of integers: seeded, free of undefined behaviour but for wrapping, which both sides are
told to do. Expressions over variables of every width, over members, bit-fields and elements; statements with bounded
loops, switches, goto and structs by value.

No operand of an operator has an effect that another one sees: effects are in statements, in the left side of a comma,
in statement expressions' own variables and in the function that is called."""

from __future__ import annotations

import random

__all__ = ["random_function"]

_TYPES = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
_OPERATORS = ("+", "-", "*", "&", "|", "^", "<", ">", "<=", ">=", "==", "!=", "&&", "||")
_NUMBERS = (0, 1, 2, 3, 7, 10, 100, 255, 256, 65535, 2147483647, 4294967295)
_BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "s8": 8, "s16": 16, "s32": 32, "s64": 64}
_COUNTS = ("popcount", "popcountll", "parity", "ffs", "ffsll", "clrsb", "bswap16", "bswap32", "bswap64")


def _number(chance: random.Random) -> str:
    return f"{chance.choice([*_NUMBERS, chance.getrandbits(31)])}{chance.choice(['', 'u', 'ull'])}"


def _expression(chance: random.Random, names: list[str], depth: int) -> str:
    if depth == 0 or chance.random() < 0.15:
        return _number(chance) if chance.random() < 0.3 else chance.choice(names)
    kind = chance.random()
    left, right = (_expression(chance, names, depth - 1) for _ in range(2))
    if kind < 0.45:
        return f"({left} {chance.choice(_OPERATORS)} {right})"
    if kind < 0.53:
        return f"(({left}) {chance.choice(['<<', '>>'])} (({right}) & {chance.choice([7, 15, 31])}))"
    if kind < 0.56:
        return f"((u64)({left}) {chance.choice(['<<', '>>'])} (({right}) & 63))"
    if kind < 0.63:
        return _quotient(chance, left, right)
    if kind < 0.71:
        return f"({chance.choice(_TYPES)})({left})"
    if kind < 0.78:
        return f"({left} ? {right} : {_expression(chance, names, depth - 1)})"
    if kind < 0.81:
        return f"({left} ?: {right})"
    if kind < 0.88:
        return f"({chance.choice('-~!')}({left}))"
    if kind < 0.93:
        return f"__builtin_{chance.choice(_COUNTS)}({left})"
    if kind < 0.96:
        return f"({left}, {right})"
    own = f"t{chance.getrandbits(24)}"
    return f"({{ {chance.choice(_TYPES)} {own} = {left}; {own} += {right}; {own}; }})"


def _quotient(chance: random.Random, left: str, right: str) -> str:
    """A division whose divisor is neither 0 nor, for signed ones, such that the quotient overflows."""
    op = chance.choice("/%")
    if chance.random() < 0.3:
        return f"((u{chance.choice([32, 64])})({left}) {op} (u32)(({right}) | 1))"
    if chance.random() < 0.3:
        return f"((s32)({left}) {op} ((s16)({right}) & 0x7ff | 2))"
    if chance.random() < 0.3:
        return f"((s64)({left}) {op} {chance.choice([-7, -3, 3, 10, 1000, 1 << 20])})"
    return f"((s64)({left}) {op} (s64)((({right}) & 0xffff) + 1))"


class _Body:
    """Statements over what can be read (names) and written (targets)."""

    def __init__(self, chance: random.Random, names: list[str], targets: list[str]) -> None:
        self.chance = chance
        self.names = names
        self.targets = targets
        self.labels = 0

    def statement(self, depth: int) -> str:
        chance = self.chance
        kind = chance.random()
        target, value = chance.choice(self.targets), _expression(chance, self.names, 3)
        if kind < 0.33:
            return f"{target} = {value};"
        if kind < 0.46:
            return f"{target} {chance.choice(['+', '-', '*', '&', '|', '^'])}= {value};"
        if kind < 0.5:
            return f"{target} {chance.choice(['<<', '>>'])}= ({value}) & 7;"
        if kind < 0.53:
            return f"{target} {chance.choice('/%')}= (u8)({value}) + 1u;"
        if kind < 0.6:
            return f"{chance.choice(['++', '--'])}{target};"
        if kind < 0.64:
            return f"q = {'r' if chance.random() < 0.5 else f'mix(q, {value})'};"
        if kind < 0.67:
            return f"a ^= sum({chance.choice('qr')}, {value});"
        if kind < 0.7:
            return f"e[at({value})] = {target};"
        return self.compound(depth, value)

    def compound(self, depth: int, value: str) -> str:
        chance = self.chance
        if depth >= 2:
            return f"if ({value}) {{ {self.statement(depth + 1)} }}"
        inner = " ".join(self.statement(depth + 1) for _ in range(2))
        other = self.statement(depth + 1)
        kind = chance.random() * (1 if depth == 0 else 0.65)  # one loop in another is too many paths for a verifier
        if kind < 0.35:
            return f"if ({value}) {{ {inner} }} else {{ {other} }}"
        if kind < 0.55:
            rows = f"case 0: {inner} break; case 1 ... 3: {other} case 4: a++; {chance.choice(['break;', ''])}"
            return f"switch ({value} & 7) {{ {rows} default: b--; }}"
        if kind < 0.65:
            self.labels += 1
            return f"if ({value}) goto l{self.labels}; {inner} l{self.labels}: {other}"
        counter = f"i{depth}"
        leave = chance.choice(["", f"if ({counter} == 3) break;", f"if ({counter} == 1) continue;"])
        if kind < 0.8:
            return f"for (int {counter} = 0; {counter} < {chance.randrange(1, 5)}; {counter}++) {{ {leave} {inner} }}"
        leave = leave.replace("continue", "break")
        return f"{{ int {counter} = 0; do {{ {leave} {inner} }} while (++{counter} < {chance.randrange(1, 5)}); }}"


def _field(chance: random.Random, name: str) -> str:
    type = chance.choice(_TYPES)
    return f"{type} {name} : {chance.randrange(1, min(_BITS[type], 32) + 1)};" if chance.random() < 0.5 else f"{type} {name};"


def random_function(chance: random.Random) -> str:
    """`static u64 f(u64 a, u64 b)` with a body of its own, and the struct and functions that it uses."""
    fields = ["x", "y", "z", "w"]
    packed = chance.choice(["", "", " __attribute__((packed))"])
    rows = [f"struct s {{ {' '.join(_field(chance, one) for one in fields)} u16 v[2]; }}{packed};"]
    # hidden, or the optimiser may know better than the kernel's verifier why the mask is not needed
    rows.append('static u32 at(u32 i) { asm volatile("" : "+r"(i)); return i & 3; }')
    rows.append("static struct s mix(struct s p, u64 by) { p.x += by; p.w ^= p.y; p.v[at(by) / 2] -= by; return p; }")
    rows.append("static u64 sum(struct s p, u64 by) { return by + p.x * 3 + p.y * 5 + p.z * 7 + p.w + p.v[0] - p.v[1]; }")
    rows.append("static u64 f(u64 a, u64 b) {")
    names = ["a", "b"]
    for number in range(4):
        rows.append(f"    {chance.choice(_TYPES)} v{number} = {_expression(chance, names, 2)};")
        names.append(f"v{number}")
    initial = ", ".join(f".{one} = {_expression(chance, names, 1)}" for one in fields)
    rows.append(f"    struct s q = {{ {initial} }}, r = {{ {_expression(chance, names, 1)} }};")
    rows.append(f"    {chance.choice(_TYPES)} e[4] = {{ [1 ... 2] = {_expression(chance, names, 1)}, v1 }};")
    places = [*(f"{record}.{one}" for record in "qr" for one in fields), "q.v[1]", "r.v[0]"]
    # a bit-field wider than int has its own width in gcc and its type's in clang: those here are at most 32 bits wide
    targets = [*names, *places, "e[0]", "e[3]"]
    body = _Body(chance, [*names, *places, "e[at(a)]", "e[at(v0)]"], targets)
    rows += [f"    {body.statement(0)}" for _ in range(6)]
    rows.append("    a += sum(q, e[0] + e[1] * 3u) + sum(r, e[2] ^ e[3]);")
    rows.append("    return a * 3 + b * 5 + v0 * 7 + v1 * 11 + v2 * 13 + (u64)v3;")
    return "\n".join([*rows, "}", ""])
