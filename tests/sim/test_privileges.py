"""Loaders of lesser privilege: what Linux refuses to them a simulated kernel refuses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from bcc_py.errors import MapError, VerifierError
from bcc_py.isa import assemble
from bcc_py.kernel import Program
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.loading import verified_for_sim
from bcc_py.sim.world import sim_kernel_from_spec
from bcc_py.spec import MapSpec, ProgramSpec
from bcc_py.verifier import VerifierEnv
from cfront.uapi import MapType, ProgType
from tests.sim.quiet import Script

RETURN = "r0 = 0\nexit"
SUM = "*(u32 *)(r10 -4) = 0\nr1 = map[fd:{fd}]\nr2 = r10\nr2 += -4\ncall map_lookup_elem\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 +0)\nif r1 > 7 goto out\nr0 += r1\nr0 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit"


def kernel(privileges: Iterable[str]) -> SimKernel:
    return SimKernel(Script(), spec="sim:test", privileges=privileges)


def load(on: SimKernel, text: str, type: ProgType = ProgType.SOCKET_FILTER) -> Program:
    return on.load_program(ProgramSpec("p", "", type, assemble(text)))


def test_an_ordinary_user_may_load_a_socket_filter_only() -> None:
    on = kernel(())
    load(on, RETURN).close()
    with pytest.raises(VerifierError, match="loading a program of type KPROBE needs CAP_BPF and CAP_PERFMON") as caught:
        load(on, RETURN, ProgType.KPROBE)
    assert caught.value.errno == 1
    on.close()


def test_an_ordinary_user_has_no_loops_and_no_calls() -> None:
    on = kernel(())
    with pytest.raises(VerifierError, match="back-edge from insn 2 to 1"):
        load(on, "r1 = 0\nagain:\nr1 += 1\nif r1 < 3 goto again\nr0 = 0\nexit")
    with pytest.raises(VerifierError, match="are allowed for CAP_BPF and CAP_SYS_ADMIN"):
        load(on, "call f\nexit\nf:\nr0 = 0\nexit")
    with pytest.raises(VerifierError, match=r"a program of 4097 instructions \(write 1 to 4096\)"):
        load(on, "r0 = 0\n" * 4096 + "exit")
    on.close()


def test_pointers_do_not_leave_without_perfmon() -> None:
    on = kernel(("CAP_BPF",))
    with pytest.raises(VerifierError, match="R0 leaks addr as return value"):
        load(on, "r0 = r10\nexit")
    everything = kernel(("CAP_SYS_ADMIN",))
    load(everything, "r0 = r10\nexit").close()
    on.close()
    everything.close()


def test_maps_that_need_a_capability() -> None:
    on = kernel(())
    on.create_map(MapSpec("plain", MapType.HASH, 4, 8, 4)).close()
    with pytest.raises(MapError, match="maps of type LRU_HASH need CAP_BPF") as caught:
        on.create_map(MapSpec("lru", MapType.LRU_HASH, 4, 8, 4))
    assert caught.value.errno == 1
    on.close()


def test_sums_that_the_code_is_to_mask() -> None:
    """What is noted for the code: the sum of a pointer and a number that was only checked."""
    on = kernel(("bpf",))
    values = on.create_map(MapSpec("h", MapType.HASH, 4, 16, 4))
    spec = ProgramSpec("p", "", ProgType.SOCKET_FILTER, assemble(SUM.format(fd=values.fd)))
    env = VerifierEnv({values.fd: values.spec}, privileges=on.privileges, types=native.kernel_types())
    verified = verified_for_sim(spec, env)
    again = verified_for_sim(replace(spec, name="q"), env)  # from the cache
    assert set(verified.masks) == {9} and verified.masks[9][3] > 0
    assert again.masks == verified.masks and again.reached == verified.reached and again.functions == verified.functions
    on.close()


def test_privileges_in_the_spec() -> None:
    on = sim_kernel_from_spec("sim:shell,privileges=bpf+perfmon")
    assert on.privileges.bpf and on.privileges.perfmon and not on.privileges.net_admin
    on.close()
    with pytest.raises(ValueError, match="'root' is no capability that matters here"):
        sim_kernel_from_spec("sim:shell,privileges=root")
