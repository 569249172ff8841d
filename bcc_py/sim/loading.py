"""From a program's instructions to what the JIT is given: the verdict, and what this kernel adds to it.

The verifier says what Linux would take. What a simulated kernel cannot run of that is refused here, in words; addresses of
kernel functions are put in, and NativeTarget says where the runtime, the maps and the contexts are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bcc_py.cache import cached
from bcc_py.errors import NotSupportedError
from bcc_py.jit import NativeTarget
from bcc_py.sim import native
from bcc_py.sim.contexts import WIDE_FIELDS, native_program
from bcc_py.sim.cpu import CPU_FIELDS
from bcc_py.sim.maps import SimMap
from bcc_py.spec import ProgramSpec
from bcc_py.verifier import VerifiedProgram, VerifierEnv, verdicts, verify
from cfront.uapi import ProgType

__all__ = ["native_target", "runnable", "verified_for_sim"]

_CALL = 0x85
_KERNEL_FUNCTIONS_START = 0xFFFFFFFFA0000000  # those that programs call
_FUNCTION_BYTES = 64
# what the machine code reaches by loads and stores of its own
_NATIVE_KINDS = frozenset((
    "fp", "ctx", "map_value", "map_key", "ringbuf_mem", "mem", "rdonly_mem", "buf", "rdonly_buf", "pkt", "pkt_meta", "flow_keys",
    "sock", "sock_common", "tcp_sock", "xdp_sock", "alloc_ptr", "nonown_ptr", "nonown_rcu_ptr", "alloc_rcu_ptr", "arena"))
# what it reads by kernel_load, for the addresses are the simulated machine's
_KERNEL_KINDS = frozenset(("ptr", "trusted_ptr", "untrusted_ptr", "rcu_ptr", "rdonly_untrusted_mem"))


def verified_for_sim(spec: ProgramSpec, env: VerifierEnv) -> VerifiedProgram:
    """The verdict on spec, from the cache if the same program has had one. env's types are native.kernel_types().

    Raises VerifierError, and NotSupportedError for what Linux would run and a simulated kernel cannot."""
    made: list[VerifiedProgram] = []

    def build() -> bytes:
        made.append(verify(spec, env))
        return verdicts.to_bytes(made[0])

    kept = cached("verdict", verdicts.key_of(spec, env, native.kernel_key()), build)
    verified = made[0] if made else verdicts.from_bytes(spec, kept)
    if "bpf_cast_to_kern_ctx" in spec.kernel_functions.values() and spec.type not in (ProgType.KPROBE, ProgType.RAW_TRACEPOINT):
        raise NotSupportedError(
            f"loading {spec.name}: bpf_cast_to_kern_ctx: a simulated kernel has no other context of a {spec.type.name.lower()} "
            "program than the one that the program sees", "bpf_cast_to_kern_ctx")
    given = [slot for slot in verified.memory_kinds if verified.insns[slot].code == _CALL]
    if given:
        raise NotSupportedError(
            f"loading {spec.name}: insn {given[0]}: a function is given one of the kernel's objects as memory, which a simulated "
            "kernel cannot do yet (read it with bpf_probe_read_kernel first)", spec.type.name)
    strange = {kind for kinds in verified.memory_kinds.values() for kind in kinds.split("|")} - _NATIVE_KINDS - _KERNEL_KINDS
    if strange:
        raise NotSupportedError(
            f"loading {spec.name}: it reads through pointers of kind {', '.join(sorted(strange))}, "
            "which a simulated kernel cannot follow yet", spec.type.name)
    return verified


def runnable(verified: VerifiedProgram) -> VerifiedProgram:
    """verified as this kernel's machine code is made from it."""
    return native_program(_with_addresses(verified))


def native_target(type: ProgType, maps: Mapping[int, SimMap], *, is_hardened: bool, is_checked: bool) -> NativeTarget:
    """What code for programs of this type is made for. maps: by descriptor."""
    known, hot, runtime = {}, dict(native.hot(type)), native.runtime()
    for fd, one in maps.items():
        inline = {}
        for helper, how in one.native.inline.items():
            inline[helper], texts = native.specialised(how.function, how.constants, how.takes_cpu)
            hot |= texts
        known[fd] = dataclasses.replace(one.native, inline=inline)
    return NativeTarget(
        cpu_fields={name: runtime.offset_of("struct cpu", name) for name in CPU_FIELDS}, helpers=native.helpers(type), maps=known,
        function=native.function, kernel_functions=native.kernel_functions(type), hot=hot, key=native.runtime_key(type),
        wide_fields=WIDE_FIELDS.get(type, {}), is_hardened=is_hardened, is_checked=is_checked)


def _with_addresses(verified: VerifiedProgram) -> VerifiedProgram:
    """verified with the addresses of the kernel functions whose addresses it loads: they are compared and nothing else."""
    insns, types = list(verified.insns), native.kernel_types()
    for slot, name in verified.spec.kernel_variables.items():
        address = _KERNEL_FUNCTIONS_START + (types.function_id(name) or 0) * _FUNCTION_BYTES
        insns[slot] = insns[slot]._replace(src=0, imm=_low32(address))
        insns[slot + 1] = insns[slot + 1]._replace(imm=_low32(address >> 32))
    return dataclasses.replace(verified, insns=tuple(insns)) if verified.spec.kernel_variables else verified


def _low32(value: int) -> int:
    """value's low 32 bits as an instruction's number."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)
