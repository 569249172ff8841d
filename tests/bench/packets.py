"""python -m tests.bench.packets: what a packet helper costs, in ns a call: the simulated kernel beside Linux.

Each program calls its helper (or the pair that undoes itself) fifty times on one packet; both kernels repeat it in a test
run and time that themselves. The best of three is printed. Prints "-" where there is no Linux."""

from __future__ import annotations

from bcc_py.bpf import kernel_from_spec
from bcc_py.errors import BpfError
from bcc_py.isa import assemble
from bcc_py.kernel import Kernel
from bcc_py.spec import ProgramSpec
from cfront.uapi import HELPER_IDS, ProgType

CALLS, REPEAT, ROUNDS = 50, 100_000, 3
PACKET = bytes(12) + b"\x08\x00\x45" + bytes(60)


def _call(name: str, *arguments: str) -> str:
    moves = "\n".join(f"r{at} = {one}" if one != "stack" else f"r{at} = r10\nr{at} += -16" for at, one in enumerate(arguments, 1))
    return f"{moves}\ncall bpf_{name}#{HELPER_IDS[name]}"


_TC, _XDP = ProgType.SCHED_CLS, ProgType.XDP
CASES: dict[str, tuple[ProgType, str]] = {
    "skb_load_bytes, 16": (_TC, _call("skb_load_bytes", "r6", "14", "stack", "16")),
    "skb_store_bytes, 16": (_TC, _call("skb_store_bytes", "r6", "14", "stack", "16", "0")),
    "l3_csum_replace": (_TC, _call("l3_csum_replace", "r6", "24", "1", "2", "2")),
    "csum_diff, 16": (_TC, _call("csum_diff", "stack", "16", "stack", "16", "0")),
    "skb_vlan_push and _pop": (_TC, _call("skb_vlan_push", "r6", "129", "5") + "\n" + _call("skb_vlan_pop", "r6")),
    "skb_adjust_room, +20 and -20": (
        _TC, _call("skb_adjust_room", "r6", "20", "1", "0") + "\n" + _call("skb_adjust_room", "r6", "-20", "1", "0")),
    "xdp_adjust_head, -20 and +20": (_XDP, _call("xdp_adjust_head", "r6", "-20") + "\n" + _call("xdp_adjust_head", "r6", "20")),
    "xdp_load_bytes, 16": (_XDP, _call("xdp_load_bytes", "r6", "14", "stack", "16")),
}


def _spec(type: ProgType, body: str) -> ProgramSpec:
    head = "r6 = r1\n*(u64 *)(r10 -16) = 1\n*(u64 *)(r10 -8) = 2"
    return ProgramSpec("bench", "", type, assemble("\n".join([head, *[body] * CALLS, "r0 = 0", "exit"])))


def ns_per_call(kernel: Kernel, spec: ProgramSpec) -> float:
    """The best mean of ROUNDS test runs."""
    program = kernel.load_program(spec)
    try:
        return min(program.test_run(PACKET, repeat=REPEAT).duration_ns for _ in range(ROUNDS)) / CALLS
    finally:
        program.close()


def main() -> None:
    sim = kernel_from_spec("sim:shell")
    print(f"{'ns a call':32}{'sim':>8}{'linux':>8}{'ratio':>8}")
    for name, (type, body) in CASES.items():
        spec = _spec(type, body)
        ours = ns_per_call(sim, spec)
        try:
            linux = kernel_from_spec("linux")
            real = ns_per_call(linux, spec)
            linux.close()
            print(f"{name:32}{ours:8.2f}{real:8.2f}{ours / real:8.2f}")
        except BpfError:
            print(f"{name:32}{ours:8.2f}{'-':>8}{'-':>8}")
    sim.close()


if __name__ == "__main__":
    main()
