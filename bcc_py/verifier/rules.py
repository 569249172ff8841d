"""A broken rule, and the few facts that all rules share.

The rules themselves: form.py (instructions and the shape of their graph), contexts.py (what a program may read
and write of its context), helpers.py (which helper goes with what), limits.py (attach types, return values, maps)."""

from __future__ import annotations

__all__ = ["BPF_F_RDONLY_PROG", "BPF_F_WRONLY_PROG", "GPL_LICENSES", "Refusal"]

BPF_F_RDONLY_PROG = 1 << 7
BPF_F_WRONLY_PROG = 1 << 8
# license strings that Linux counts as compatible with the GPL (include/linux/license.h)
GPL_LICENSES = frozenset(("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"))


class Refusal(Exception):
    """A rule is broken. sentences: what the log says, the last one is the reason; insn: the slot, -1 for
    the one being looked at."""

    def __init__(self, *sentences: str, insn: int = -1, errno: int = 0) -> None:
        super().__init__(sentences[-1])
        self.errno = errno
        self.sentences = sentences
        self.insn = insn
