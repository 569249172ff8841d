"""Accesses of volatile objects are kept: as many loads and stores as the text has, where plain ones fold into few."""

from __future__ import annotations

import re

import pytest

from cfront.driver import compile_unit

HEAD = "struct device { volatile u32 status; u32 plain; };\ntypedef volatile u64 shared;\n"


def accesses(body: str) -> int:
    """The volatile loads and stores in the optimised code of a program."""
    ir = compile_unit(f"{HEAD}int prog(struct device *ctx) {{ {body} return 0; }}", form="ir").object.decode()
    return len(re.findall(r"\b(?:load|store) volatile\b", ir))


@pytest.mark.parametrize("body, count", [
    ("volatile int x = 1; x = 2; x = 3;", 3),
    ("volatile int x; x; x; (void)x;", 3),
    ("int x = 1; x = 2; x = 3;", 0),
    ("ctx->status; ctx->status;", 2),
    ("ctx->plain; ctx->plain;", 0),
    ("volatile u32 *p = &ctx->plain; *p; *p;", 2),
    ("*(volatile u32 *)&ctx->plain; *(const volatile u32 *)&ctx->plain;", 2),
    ("shared x = 1; x++;", 3),
    ("struct device d; d.status = 1; d.plain = 2; d.status = 3;", 2),
    ("volatile struct device d; d.plain = 2; d.plain = 3;", 2),
    ("volatile u8 a[4]; a[1] = 1; a[1] = 2;", 2),
    ("int x = 0; int *volatile p = &x; p; p;", 3),
])
def test_kept(body: str, count: int) -> None:
    assert accesses(body) == count
