"""python -m tests.bench.run: what one run of a program costs, in ns: native code of the simulated kernel
beside the real kernel's own JIT, both on the same bytecode.

Each text is compiled once and its object loaded into both kernels as an XDP program that does not read its
packet; both repeat it a million times in a test run and time that themselves (Linux: BPF_PROG_TEST_RUN's
duration). The best of five is printed: noise only ever adds. The row "nothing" is the repeating itself, which
the ratio leaves out. Prints "-" where there is no Linux."""

from __future__ import annotations

from bcc_py.bpf import kernel_from_spec
from bcc_py.elf import read_object
from bcc_py.errors import BpfError
from bcc_py.kernel import Kernel
from bcc_py.load import load
from cfront import compile
from cfront.uapi import ProgType

REPEAT = 1_000_000
ROUNDS = 5
PACKET = bytes(64)

PROGRAMS = {
    "nothing": "int run(void *ctx) { return 2; }",
    "256 rounds of arithmetic": """
        BPF_ARRAY(state, u64, 1);
        int run(void *ctx) {
            int zero = 0;
            u64 *kept = state.lookup(&zero);
            if (!kept) return 0;
            u64 x = *kept | 1;
            for (int i = 0; i < 256; i++) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; }
            *kept = x;
            return 2;
        }""",
    "array: increment": "BPF_ARRAY(n, u64, 4); int run(void *ctx) { n.increment(1); return 2; }",
    "per-CPU array: add": """
        BPF_PERCPU_ARRAY(n, u64, 1);
        int run(void *ctx) { int zero = 0; u64 *one = n.lookup(&zero); if (one) *one += 1; return 2; }""",
    "hash: increment": "BPF_HASH(n, u64, u64); int run(void *ctx) { n.increment(42); return 2; }",
    "hash: update, look up, delete": """
        BPF_HASH(n, u64, u64);
        int run(void *ctx) {
            u64 key = 9, value = 1, *found;
            n.update(&key, &value);
            found = n.lookup(&key);
            if (!found) return 0;
            n.delete(&key);
            return 2;
        }""",
    "time and log2 histogram": """
        BPF_HISTOGRAM(h);
        int run(void *ctx) { u64 now = bpf_ktime_get_ns(); h.increment(bpf_log2l(now & 0xffff)); return 2; }""",
}


def ns_per_run(content: bytes, kernel: Kernel) -> int:
    """The best mean of ROUNDS test runs of the object's only program."""
    loaded = load(read_object(content), kernel, {"run": ProgType.XDP})
    try:
        return min(loaded.programs["run"].test_run(PACKET, repeat=REPEAT).duration_ns for _ in range(ROUNDS))
    finally:
        loaded.close()


def main() -> None:
    sim = kernel_from_spec("sim")
    linux: Kernel | None = None
    try:
        linux = kernel_from_spec("linux")
    except BpfError as error:
        print(f"no Linux to compare with: {error}")
    print(f"{'program':32} {'sim ns':>8} {'linux ns':>9} {'sim/linux':>10}")
    empty = (0, 0)
    for name, text in PROGRAMS.items():
        content = compile(text)
        ours, theirs = ns_per_run(content, sim), 0 if linux is None else ns_per_run(content, linux)
        empty = empty if any(empty) else (ours, theirs)
        net = theirs - empty[1]
        ratio = f"{(ours - empty[0]) / net:.2f}" if net > 0 else "-"
        print(f"{name:32} {ours:>8} {theirs or '-':>9} {ratio:>10}")
    for kernel in (sim, linux):
        if kernel is not None:
            kernel.close()


if __name__ == "__main__":
    main()
