"""Random programs of dynptrs over packets: the same instructions for Linux and for the simulated kernel.

A program has three dynptrs: over its packet, a clone of that, and one over a map's value. Each answer is added to what it
returns; what it reads goes in too, so that the sum tells where two kernels disagree, and the packet that comes back tells
the rest."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from bcc_py.isa import Insn, assemble
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import HELPER_IDS, MapType, ProgType

__all__ = ["TYPES", "VALUE", "dynptr_program", "long_packet"]

_P = ProgType
TYPES = (_P.XDP, _P.SCHED_CLS, _P.SCHED_ACT, _P.CGROUP_SKB, _P.SOCKET_FILTER, _P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT)
VALUE = MapSpec("value", MapType.ARRAY, 4, 600, 1)
_WRITERS = (_P.XDP, _P.SCHED_CLS, _P.SCHED_ACT, _P.LWT_XMIT)
_XDP_FRAGS = 1 << 5
_PACKET, _CLONE, _LOCAL, _META, _BUFFER = -16, -32, -48, -64, -192  # places in the frame
_BUFFER_BYTES = 64
_CALL = re.compile(r"^call (bpf_\w+)$")
_EDGES = (0, 1, 2, 14, 33, 34, 60, 255, 256, 3000, 3520, 3521, 4095, 4096, 7615, 7616, 0xFFFF, 0x10000, 0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0xFFFFFFFF)


def _imm(value: int) -> int:
    """value as the signed 32 bits of an instruction."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def _helper(name: str) -> str:
    return f"call bpf_{name}#{HELPER_IDS[name]}"


def _add(reg: str = "r0") -> str:
    """An answer counts with its low 32 bits, for that is what a C program sees of an int."""
    return f"r1 = {reg}\nw1 = w1\nr7 *= 31\nr7 += r1"


class _Writer:
    """One program's text. r6: the context; r7: the sum; r9: the map's value."""

    def __init__(self, seed: int, type: ProgType) -> None:
        self.dice = random.Random(f"dynptr {seed} {type}")
        self.type, self.labels = type, 0

    def _offset(self) -> int:
        kind = self.dice.random()
        if kind < 0.2:
            return self.dice.choice(_EDGES)
        return self.dice.randrange(90) if kind < 0.6 or self.type is not _P.XDP else self.dice.choice((3500, 7600, 11700)) + self.dice.randrange(120)

    def _size(self) -> int:
        return self.dice.choice((0, 1, 2, 4, 8, 14, 40, 64, self.dice.randrange(600), self.dice.choice(_EDGES)))

    def _some(self) -> int:
        return self.dice.choice((_PACKET, _PACKET, _CLONE, _CLONE, _LOCAL, *((_META,) if self.has_meta else ())))

    @property
    def has_meta(self) -> bool:
        return self.type in (_P.SCHED_CLS, _P.SCHED_ACT)

    def _fill(self) -> str:
        return "\n".join(f"*(u64 *)(r10 {_BUFFER + 8 * n}) = {_imm(self.dice.getrandbits(32))}" for n in range(_BUFFER_BYTES // 8))

    def _pointer(self, reg: str, place: int) -> str:
        return f"{reg} = r10\n{reg} += {place}"

    def _label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def make(self) -> str:
        """Makes the dynptr over the packet anew."""
        name = "xdp" if self.type is _P.XDP else "skb"
        return f"r1 = r6\nr2 = {self.dice.choice((0, 0, 0, 0, 0, 0, 1))}\n{self._pointer('r3', _PACKET)}\ncall bpf_dynptr_from_{name}\n{_add()}"

    def meta(self) -> str:
        return f"r1 = r6\nr2 = {self.dice.choice((0, 0, 0, 1))}\n{self._pointer('r3', _META)}\ncall bpf_dynptr_from_skb_meta\n{_add()}"

    def clone(self) -> str:
        source = self.dice.choice((_PACKET, _PACKET, _LOCAL))
        return f"{self._pointer('r1', source)}\n{self._pointer('r2', _CLONE)}\ncall bpf_dynptr_clone\n{_add()}"

    def local(self) -> str:
        """Over the map's value."""
        return f"r1 = r9\nr2 = {self.dice.choice((600, 600, 300, 16))}\nr3 = 0\n{self._pointer('r4', _LOCAL)}\n{_helper('dynptr_from_mem')}\n{_add()}"

    def ask(self) -> str:
        name = self.dice.choice(("size", "is_null", "is_rdonly"))
        byte = "r0 &= 255\n" if name != "size" else ""  # of a bool no more is said
        return f"{self._pointer('r1', self._some())}\ncall bpf_dynptr_{name}\n{byte}{_add()}"

    def adjust(self) -> str:
        start = self.dice.choice((0, 0, 4, 14, self._offset()))
        end = self.dice.choice((start, start + self._size(), start + 60, start + 4000, start + 9000))
        return f"{self._pointer('r1', self._some())}\nr2 = {_imm(start)}\nr3 = {_imm(end & 0xFFFFFFFF)}\ncall bpf_dynptr_adjust\n{_add()}"

    def read(self) -> str:
        size = self.dice.choice((1, 2, 4, 8, 14, 33, 64))
        return f"""{self._fill()}
            {self._pointer('r1', _BUFFER)}
            r2 = {size}
            {self._pointer('r3', self._some())}
            r4 = {_imm(self._offset())}
            r5 = {self.dice.choice((0, 0, 0, 0, 0, 1))}
            {_helper('dynptr_read')}
            {_add()}
            {self._sum_buffer()}"""

    def _sum_buffer(self) -> str:
        at = sorted(self.dice.sample(range(_BUFFER_BYTES // 8), 2))
        return "\n".join(f"r2 = *(u64 *)(r10 {_BUFFER + 8 * n})\nr7 *= 31\nr7 += r2" for n in at)

    def write(self) -> str:
        return f"""{self._fill()}
            {self._pointer('r1', self._some())}
            r2 = {_imm(self._offset())}
            {self._pointer('r3', _BUFFER)}
            r4 = {self.dice.choice((1, 2, 4, 8, 14, 33, 64))}
            r5 = {self.dice.choice((0, 0, 0, 0, 1, 2, 3, 4))}
            {_helper('dynptr_write')}
            {_add()}"""

    def data(self) -> str:
        out = self._label()
        return f"""{self._pointer('r1', self._some())}
            r2 = {_imm(self._offset())}
            r3 = 8
            {_helper('dynptr_data')}
            if r0 == 0 goto {out}
            r2 = *(u64 *)(r0 +0)
            r7 *= 31
            r7 += r2
            {out}:
            r7 *= 31
            r0 = 0"""

    def slice(self) -> str:
        """Reads it, or writes to it; the buffer's content counts too, for a slice may be there."""
        writes = self.type in _WRITERS and self.dice.random() < 0.5
        size, out = self.dice.choice((1, 2, 4, 8, 14, 33, 64)), self._label()
        width = max(one for one in (1, 2, 4, 8) if one <= size)
        at = self.dice.randrange(size - width + 1)
        buffer = self.dice.random() < 0.7
        store = f"*(u{8 * width} *)(r0 +{at}) = r7" if writes else ""
        return f"""{self._fill()}
            {self._pointer('r1', self._some())}
            r2 = {_imm(self._offset())}
            {self._pointer('r3', _BUFFER) if buffer else 'r3 = 0'}
            r4 = {size}
            call bpf_dynptr_slice{'_rdwr' if writes else ''}
            if r0 == 0 goto {out}
            r7 += 1
            r2 = *(u{8 * width} *)(r0 +{at})
            r7 *= 31
            r7 += r2
            {store}
            {out}:
            r7 *= 31
            {self._sum_buffer()}"""

    def copy(self) -> str:
        return f"""{self._pointer('r1', self._some())}
            r2 = {_imm(self._offset())}
            {self._pointer('r3', self._some())}
            r4 = {_imm(self._offset())}
            r5 = {_imm(self._size())}
            call bpf_dynptr_copy
            {_add()}"""

    def memset(self) -> str:
        return f"""{self._pointer('r1', self._some())}
            r2 = {_imm(self._offset())}
            r3 = {_imm(self._size())}
            r4 = {self.dice.randrange(256)}
            call bpf_dynptr_memset
            {_add()}"""

    def probe(self) -> str:
        """From where nothing is: nothing but errors."""
        name = self.dice.choice(("kernel", "user", "kernel_str", "user_str"))
        return f"""{self._pointer('r1', self._some())}
            r2 = {_imm(self._offset())}
            r3 = {_imm(self._size())}
            r4 = 0
            call bpf_probe_read_{name}_dynptr
            {_add()}"""

    def move(self) -> str:
        """What moves the packet's ends while there are dynptrs over it."""
        number = self.dice.choice((0, 4, 20, -20, -4, -100, 100))
        if self.type is _P.XDP:
            return f"r1 = r6\nr2 = {number}\n{_helper(self.dice.choice(('xdp_adjust_head', 'xdp_adjust_tail')))}\n{_add()}"
        if self.type in (_P.SCHED_CLS, _P.SCHED_ACT):
            return (f"r1 = r6\nr2 = {abs(number) + 14 * self.dice.randrange(12)}\nr3 = 0\n{_helper('skb_change_tail')}\n{_add()}"
                    if self.dice.random() < 0.5 else f"r1 = r6\nr2 = {abs(number)}\nr3 = 0\n{_helper('skb_change_head')}\n{_add()}")
        return self.ask()

    def text(self) -> str:
        """The whole program."""
        end = "r0 = r7\nr0 &= 1\nexit" if self.type is _P.CGROUP_SKB else "r0 = r7\nr1 = r7\nr1 >>= 32\nr0 ^= r1\nexit"
        if self.type is _P.CGROUP_SKB:
            end = "*(u32 *)(r6 +48) = r7\nr7 >>= 32\n*(u32 *)(r6 +52) = r7\n" + end
        begin = [
            "r6 = r1\nr7 = 0", "*(u32 *)(r10 -4) = 0\nr1 = map[fd:{fd}]\nr2 = r10\nr2 += -4",
            f"{_helper('map_lookup_elem')}\nif r0 != 0 goto there\nr0 = 0\nexit\nthere:\nr9 = r0", self.make(), self.clone_of_packet(), self.local()]
        begin += [self.meta()] if self.has_meta else []
        choices: list[Callable[[], str]] = [
            self.ask, self.ask, self.adjust, self.read, self.read, self.write, self.write, self.data, self.slice, self.slice, self.slice, self.copy,
            self.copy, self.copy, self.memset, self.memset, self.probe, self.move, self.make, self.clone, self.local]
        parts = [self.dice.choice(choices)() for _ in range(self.dice.randrange(3, 12))]
        return "\n".join([*begin, *parts, end])

    def clone_of_packet(self) -> str:
        return f"{self._pointer('r1', _PACKET)}\n{self._pointer('r2', _CLONE)}\ncall bpf_dynptr_clone\n{_add()}"


def dynptr_program(seed: int, type: ProgType, fd: int) -> ProgramSpec:
    """A program of this type, the same for the same seed. fd: of a map like VALUE."""
    lines = [line.strip() for line in _Writer(seed, type).text().replace("{fd}", str(fd)).splitlines() if line.strip()]
    names: list[str] = []

    def number(line: str) -> str:
        called = _CALL.match(line)
        if not called:
            return line
        names.append(called[1])
        return f"call kernel-function#{len(names)}"

    insns = assemble("\n".join(number(line) for line in lines))
    functions = {slot: names[one.imm - 1] for slot, one in enumerate(insns) if one.code == 0x85 and one.src == 2}
    insns = tuple(Insn(0x85, 0, 2) if slot in functions else one for slot, one in enumerate(insns))
    return ProgramSpec(f"dynptr{seed}", "GPL", type, insns, flags=_XDP_FRAGS if type is _P.XDP else 0, kernel_functions=functions)


def long_packet(seed: int, type: ProgType) -> bytes:
    """Noise behind a header that is IPv4's or nobody's; of XDP sometimes several buffers long."""
    dice = random.Random(f"long packet {seed}")
    size = dice.choice((40, 60, 130, 400, 1000, *((3520, 3600, 5000, 7700, 12000, 20000) if type is _P.XDP else (3600,))))
    return dice.randbytes(12) + dice.choice((b"\x08\x00\x45", b"\x88\xb5\x00")) + dice.randbytes(size - 15)
