"""Kernel functions, iterators, sections and hooks: our verifier with a small kernel's types, Linux with its own.

The cases (tests/cases/kernel_functions) are read as those of test_cases.py; a call of what is no helper is one of the kernel's
functions, by name. TRACING programs are attached to task_newtask or to the iterator over tasks."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from bcc_py.errors import NotSupportedError, VerifierError
from bcc_py.isa import Insn, assemble, encode
from bcc_py.spec import MapSpec, ProgramSpec
from bcc_py.verifier import VerifierEnv, verify
from bcc_py.verifier.hooks import hook_of
from bcc_py.verifier.kernel_functions_table import kernel_function
from cfront import types_from_c
from cfront.btf import Btf, TypeSource
from cfront.ctype import Integer, Pointer
from cfront.uapi import HELPER_IDS, AttachType, MapType, ProgType
from tests.verifier.btf_writer import list_types
from tests.verifier.linux_oracle import maps_of, with_fds
from tests.verifier.probe import SLEEPABLE, Prober
from tests.verifier.test_cases import Case, read_cases, reasons

CASES = Path(__file__).parents[1] / "cases" / "kernel_functions"
ALL = [one for path in sorted(CASES.glob("*.case")) for one in read_cases(path)]
HEADER = Path(__file__).parents[1] / "data" / "kernel_functions.h"
_CALL = re.compile(r"^call (bpf_\w+)$", re.M)
_HOOKS = {AttachType.TRACE_RAW_TP: "btf_trace_task_newtask", AttachType.TRACE_ITER: "bpf_iter_task"}
# one program type for each set of the kernel's that can be loaded here
_TYPES = (
    ProgType.XDP, ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.TRACEPOINT, ProgType.PERF_EVENT, ProgType.SYSCALL,
    ProgType.CGROUP_SKB, ProgType.SK_SKB, ProgType.SOCKET_FILTER, ProgType.LWT_IN, ProgType.KPROBE, ProgType.RAW_TRACEPOINT,
)


@pytest.fixture(scope="module")
def small() -> Btf:
    return Btf(types_from_c(HEADER.read_text(), "kernel_functions.h"))


@pytest.fixture(scope="module")
def running() -> Btf:
    """The types of the kernel that runs."""
    path = Path("/sys/kernel/btf/vmlinux")
    if not path.exists():
        raise NotSupportedError("this kernel has no BTF", feature="btf")
    return Btf(path.read_bytes())


def _named(asm: str, types: Btf) -> tuple[tuple[Insn, ...], dict[int, str]]:
    """The instructions, and the kernel functions that they call, by slot; each call names the function's id in types."""
    called: dict[int, str] = {}

    def call(match: re.Match[str]) -> str:
        name = match[1]
        if name.removeprefix("bpf_") in HELPER_IDS:
            return match[0]
        id = types.function_id(name)
        assert id is not None, f"{name} is not among the types"
        called[id] = name
        return f"call kernel-function#{id}"

    insns = assemble(_CALL.sub(call, asm))
    return insns, {slot: called[one.imm] for slot, one in enumerate(insns) if one.code == 0x85 and one.src == 2}


def _program(case: Case, types: Btf) -> ProgramSpec:
    insns, functions = _named(case.asm, types)
    return ProgramSpec("case", "", case.type, insns, case.license, case.attach_type, attach_to=_HOOKS.get(case.attach_type, ""),
                       kernel_functions=functions)


@pytest.mark.parametrize("case", ALL, ids=lambda one: one.name)
def test_case(case: Case, small: Btf) -> None:
    env, program = VerifierEnv(dict(enumerate(case.maps, 1)), types=small), _program(case, small)
    if case.is_accepted:
        assert verify(program, env).insns_processed > 0
        return
    with pytest.raises(VerifierError) as caught:
        verify(program, env)
    assert case.reject in reasons(caught.value.log)


@pytest.mark.linux
@pytest.mark.parametrize("case", ALL, ids=lambda one: one.name)
def test_case_on_linux(case: Case, running: Btf, linux: None) -> None:
    program = _program(case, running)
    with maps_of(case.maps) as fds:
        errno, log = Prober().load(list(with_fds(program.insns, fds)), case.type, case.attach_type,
                                   license=case.license.encode(), attach_btf_id=_hook_id(running, program.attach_to))
    if case.is_accepted:
        assert not errno, log
    else:
        assert errno and case.reject in reasons(log)


def _hook_id(types: Btf, name: str) -> int:
    if not name:
        return 0
    return (types.id_of("typedef", name) if name.startswith("btf_trace_") else types.function_id(name)) or 0


def test_nothing_is_known_without_types() -> None:
    program = ProgramSpec("p", "", ProgType.XDP, (Insn(0x85, 0, 2, 0, 5), Insn(0xB7), Insn(0x95)),
                          kernel_functions={0: "bpf_rcu_read_lock"})
    with pytest.raises(VerifierError, match="not in this kernel's types"):
        verify(program, VerifierEnv())


def test_what_a_hook_hands_out(small: Btf) -> None:
    program = ProgramSpec("p", "", ProgType.TRACING, (), expected_attach_type=AttachType.TRACE_ITER, attach_to="bpf_iter_task")
    hook = hook_of(program, small)
    assert hook is not None
    assert [(one.off, one.kind, one.struct) for one in hook.arguments] == [
        (0, "trusted_ptr", "bpf_iter_meta"), (8, "trusted_ptr_or_null", "task_struct")]


_NEW = "r1 = {item}\nr2 = 0\ncall bpf_obj_new_impl\nif r0 == 0 goto out\nr6 = r0\n"
_LOCK = "r7 = map[fd:1][0]+0\nr1 = r7\ncall bpf_spin_lock\n"
_UNLOCK = "r1 = r7\ncall bpf_spin_unlock\n"
_PUSH = "r1 = r7\nr1 += 8\nr2 = r6\nr2 += 8\nr3 = 0\nr4 = 0\ncall bpf_list_push_front_impl\n"
_POP = "r1 = r7\nr1 += 8\ncall bpf_list_pop_front\nr6 = r0\n"
_DROP = "r1 = r6\nr2 = 0\ncall bpf_obj_drop_impl\n"
_OUT = "out:\nr0 = 0\nexit\n"
_LEAK = "BPF_EXIT instruction in main prog would lead to reference leak"


# what Linux says of these it says of the like in its own tests (linked_list_fail.c, refcounted_kptr_fail.c)
@pytest.mark.parametrize("asm, sentence", [
    (_NEW + _DROP + _OUT, ""),
    (_NEW + _OUT, _LEAK),
    (_NEW + _LOCK + _PUSH + _UNLOCK + _OUT, ""),
    (_NEW + "r7 = map[fd:1][0]+0\n" + _PUSH + _OUT, "bpf_spin_lock at off=0 must be held for bpf_list_head"),
    (_NEW + _LOCK + _PUSH + "r1 = *(u64 *)(r6 +0)\n" + _UNLOCK + _OUT, ""),
    (_NEW + _LOCK + _PUSH + _UNLOCK + "r1 = *(u64 *)(r6 +0)\n" + _OUT, "R6 invalid mem access 'scalar'"),
    (_NEW + _LOCK + _PUSH + _PUSH + _UNLOCK + _OUT, "arg#1 expected pointer to allocated object"),
    (_LOCK + _POP + _UNLOCK + "if r6 == 0 goto out\nr6 -= 8\n" + _DROP + _OUT, ""),
    (_LOCK + _POP + _UNLOCK + _OUT, _LEAK),
    (_LOCK + _POP + _UNLOCK + "if r6 == 0 goto out\n" + _DROP + _OUT,
     "R1 must have zero offset when passed to release func or trusted arg to kfunc"),
    (_NEW + "*(u64 *)(r6 +0) = 1\n" + _DROP + _OUT, ""),
    (_NEW + "*(u64 *)(r6 +8) = 1\n" + _DROP + _OUT, "direct access to bpf_list_node is disallowed"),
    (_NEW + "r1 = *(u64 *)(r6 +32)\n" + _DROP + _OUT, "access beyond struct item at off 32 size 8"),
    (_NEW + _LOCK + _DROP + _UNLOCK + _OUT, "function calls are not allowed while holding a lock"),
    (_NEW + _DROP + _DROP + _OUT, "R1 must be referenced or trusted"),
])
def test_lists_of_objects(asm: str, sentence: str, small: Btf) -> None:
    btf, value, item = list_types()
    spec = MapSpec("lists", MapType.ARRAY, 4, 24, 1, key_type=1, value_type=value, btf=btf)
    insns, functions = _named(asm.replace("{item}", str(item)), small)
    program = ProgramSpec("p", "", ProgType.SCHED_CLS, insns, btf=btf, kernel_functions=functions)
    assert _verdict(program, VerifierEnv({1: spec}, types=small)) == sentence


@pytest.mark.linux
def test_who_may_call_what(running: Btf, linux: None) -> None:
    """Every kernel function that the running kernel has, in programs of each kind."""
    prober = Prober()
    wrong = []
    for name in _functions_of(running):
        if name.startswith("bpf_xdp_metadata_"):
            continue  # asked only of programs bound to a device
        for type in _TYPES:
            code = [*(Insn(0xB7, one) for one in range(1, 6)), Insn(0x85, 0, 2, 0, running.function_id(name) or 0), Insn(0xB7), Insn(0x95)]
            _, log = prober.load(code, type, flags=SLEEPABLE if type is ProgType.SYSCALL else 0)
            is_allowed = f"calling kernel function {name} is not allowed" not in log
            if is_allowed != (kernel_function(name, type, AttachType.NONE) is not None):
                wrong.append((name, type.name, is_allowed))
    assert not wrong


def _functions_of(types: Btf) -> list[str]:
    return sorted({types.name(id) for id in types.tagged("bpf_kfunc")})


@pytest.mark.linux
def test_random_calls(running: Btf, linux: None) -> None:
    """Calls in a row with arguments that half fit: never accepted where Linux refuses, refused in the same words."""
    chance = random.Random(20)
    prober, names = Prober(), [one for one in _functions_of(running) if running.function(one) is not None]
    env = VerifierEnv(types=running)
    other = []
    for _ in range(400):
        type = chance.choice((ProgType.SCHED_CLS, ProgType.XDP, ProgType.SYSCALL, ProgType.TRACING))
        attach_type = AttachType.TRACE_RAW_TP if type is ProgType.TRACING else AttachType.NONE
        insns, functions = _random_program(chance, names, running)
        flags = SLEEPABLE if type is ProgType.SYSCALL else 0
        program = ProgramSpec("p", "", type, tuple(insns), expected_attach_type=attach_type, flags=flags,
                              attach_to=_HOOKS.get(attach_type, ""), kernel_functions=functions)
        errno, log = prober.load(insns, type, attach_type, flags=flags, attach_btf_id=_hook_id(running, program.attach_to))
        ours = _verdict(program, env)
        assert errno or not ours, (ours, encode(insns).hex(), functions)
        if errno:
            assert ours, (log, encode(insns).hex(), functions)
            if _plain(reasons(log)[-1]) != _plain(ours):
                other.append((reasons(log)[-1], ours))
    assert len(other) <= 8, other


def _verdict(program: ProgramSpec, env: VerifierEnv) -> str:
    try:
        verify(program, env)
    except VerifierError as error:
        return reasons(error.log)[-1]
    return ""


def _plain(sentence: str) -> str:
    return re.sub(r"\bid=\d+", "id=N", sentence)


def _random_program(chance: random.Random, names: list[str], types: TypeSource) -> tuple[list[Insn], dict[int, str]]:
    insns, functions = [Insn(0xBF, 6, 1), Insn(0x85, imm=HELPER_IDS["get_current_task_btf"]), Insn(0xBF, 7)], {}
    assert isinstance(types, Btf)
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(names)
        proto = types.function(name)
        assert proto is not None
        for number, one in enumerate(proto.params[:5], 1):
            if isinstance(one.type, Integer) and chance.random() < 0.9:
                insns.append(Insn(0xB7, number, imm=chance.choice((0, 1, 8, 64))))
            elif isinstance(one.type, Pointer):
                is_task = getattr(one.type.target, "name", "") == "task_struct"
                source = 7 if is_task and chance.random() < 0.8 else chance.choice((6, 7, 10, 10, 10))
                insns.append(Insn(0xBF, number, source))
                insns += [Insn(0x07, number, imm=chance.choice((-64, -64, -128)))] if source == 10 else []
        functions[len(insns)] = name
        insns.append(Insn(0x85, 0, 2, 0, types.function_id(name) or 0))
        if isinstance(proto.result, Pointer) and chance.random() < 0.7:
            insns += [Insn(0xBF, 7), Insn(0x55, 7, 0, 2), Insn(0xB7), Insn(0x95)]
    return [*insns, Insn(0xB7), Insn(0x95)], functions
