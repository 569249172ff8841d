"""What a kernel knows that a program does not say: its maps, its types, and what the loader may do.

Source: include/linux/bpf.h and kernel/bpf/verifier.c of Linux 6.18 (what each capability allows)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bcc_py.spec import MapSpec
from cfront.btf import TypeSource

__all__ = ["ALL_PRIVILEGES", "CAPABILITIES", "NO_PRIVILEGES", "Privileges", "VerifierEnv"]

CAPABILITIES = ("CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN")


@dataclass(frozen=True, slots=True)
class Privileges:
    """What the loader may do. bpf: CAP_BPF; perfmon: CAP_PERFMON (pointers may be seen and compared, stack bytes
    that nobody wrote may be read, no defence against speculation is needed); net_admin: CAP_NET_ADMIN; sys_admin:
    CAP_SYS_ADMIN, which implies the three others."""

    bpf: bool = False
    perfmon: bool = False
    net_admin: bool = False
    sys_admin: bool = False

    @staticmethod
    def of(names: Iterable[str]) -> Privileges:
        """From capabilities by name ("CAP_BPF", "bpf"). Raises ValueError for any other name."""
        wanted = set()
        for name in names:
            full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
            if full not in CAPABILITIES:
                raise ValueError(f"{name!r} is no capability that matters here (write one of {', '.join(CAPABILITIES)})")
            wanted.add(full)
        is_admin = "CAP_SYS_ADMIN" in wanted
        return Privileges(*(is_admin or name in wanted for name in CAPABILITIES))


ALL_PRIVILEGES = Privileges(True, True, True, True)
NO_PRIVILEGES = Privileges()


@dataclass(frozen=True, slots=True)
class VerifierEnv:
    """What the kernel knows that the program does not say.

    maps: by the descriptor that map loads name. insn_limit: instructions looked at, on all paths together.
    privileges: the loader's. cpus: possible CPUs, 0 if not known. types: the kernel's, None where there are none (then
    nothing is known of its structs and functions). has_log: a log even for what is accepted."""

    maps: Mapping[int, MapSpec] = field(default_factory=dict)
    insn_limit: int = 1_000_000
    privileges: Privileges = ALL_PRIVILEGES
    cpus: int = 0
    types: TypeSource | None = None
    has_log: bool = False
