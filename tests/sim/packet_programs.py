"""Random programs of packet helpers: the same instructions for Linux and for the simulated kernel.

A program calls helpers with numbers that are often at an edge, adds each answer to what it returns, and looks at its
context in between: the sum tells where two kernels disagree, the packet that comes back tells the rest."""

from __future__ import annotations

import random
from collections.abc import Callable

from bcc_py.isa import assemble
from bcc_py.spec import ProgramSpec
from cfront.uapi import HELPER_IDS, ProgType

__all__ = ["SKB_TYPES", "packet", "skb_context", "skb_program", "xdp_context", "xdp_program"]

_P = ProgType
SKB_TYPES = (_P.SCHED_CLS, _P.SCHED_ACT, _P.SOCKET_FILTER, _P.CGROUP_SKB, _P.LWT_IN, _P.LWT_OUT, _P.LWT_XMIT)
_EDGES = (0, 1, 2, 3, 4, 7, 8, 12, 13, 14, 15, 16, 18, 20, 24, 33, 34, 38, 40, 54, 60, 64, 100, 255, 256, 1500, 4095, 4096, 0xFFFF,
          0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _call(name: str) -> str:
    return f"call bpf_{name}#{HELPER_IDS[name]}"


def _number(dice: random.Random, most: int = 80) -> int:
    return dice.choice(_EDGES) if dice.random() < 0.25 else dice.randrange(most)


def _length(dice: random.Random) -> int:
    """For a packet: too little, or its headers and more. In between, adjust_room moves headers that are not there, which
    Linux fills with what its memory held."""
    return dice.choice((*range(14), 20000, *range(110, 250)))


def _signed(dice: random.Random, most: int = 60) -> int:
    value = dice.randrange(-most, most) if dice.random() < 0.85 else dice.choice((-4096, -4095, -256, -64, -1, 0, 1, 4, 256, 3000, 4095, 4096))
    return value


def _imm(value: int) -> int:
    """value as the signed 32 bits of an instruction."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def _fill(dice: random.Random, words: int = 8) -> str:
    """words * 8 bytes of the stack, from r10 - 64 on."""
    return "\n".join(f"*(u64 *)(r10 -{64 - 8 * n}) = {_imm(dice.getrandbits(32))}" for n in range(words))


def _add(reg: str = "r0") -> str:
    return f"r7 *= 31\nr7 += {reg}"


def _load(dice: random.Random, prefix: str) -> str:
    size = dice.choice((1, 2, 4, 8, 14, 16, 64))
    return f"""{_fill(dice, 1)}
        r1 = r6
        r2 = {_imm(_number(dice))}
        r3 = r10
        r3 += -64
        r4 = {size}
        {_call(prefix + "_load_bytes")}
        {_add()}
        r1 = *(u8 *)(r10 -64)
        {_add("r1")}"""


def _load_relative(dice: random.Random) -> str:
    return f"""r1 = r6
        r2 = {_imm(_number(dice))}
        r3 = r10
        r3 += -64
        r4 = {dice.choice((1, 2, 4, 16))}
        r5 = {dice.choice((0, 0, 1, 1, 2))}
        {_call("skb_load_bytes_relative")}
        {_add()}
        r1 = *(u8 *)(r10 -64)
        {_add("r1")}"""


def _store(dice: random.Random) -> str:
    return f"""{_fill(dice)}
        r1 = r6
        r2 = {_imm(_number(dice))}
        r3 = r10
        r3 += -64
        r4 = {dice.choice((1, 2, 4, 14, 33, 64))}
        r5 = {dice.choice((0, 0, 1, 2, 3, 4))}
        {_call("skb_store_bytes")}
        {_add()}"""


def _xdp_store(dice: random.Random) -> str:
    return f"""{_fill(dice)}
        r1 = r6
        r2 = {_imm(dice.choice((_number(dice), dice.randrange(3400, 3800))))}
        r3 = r10
        r3 += -64
        r4 = {dice.choice((1, 2, 4, 14, 33, 64))}
        {_call("xdp_store_bytes")}
        {_add()}"""


def _csum(dice: random.Random, name: str, flags: tuple[int, ...]) -> str:
    return f"""r1 = r6
        r2 = {_imm(dice.choice((24, 24, 36, 50, 16, _number(dice))))}
        r3 = {dice.choice((0, 0, _imm(dice.getrandbits(32)), dice.getrandbits(16)))}
        r4 = {dice.choice((0, _imm(dice.getrandbits(32)), dice.getrandbits(16)))}
        r5 = {dice.choice(flags) | (dice.choice((0, 2, 4, 2, 4, 1, 6)))}
        {_call(name)}
        {_add()}"""


def _csum_diff(dice: random.Random) -> str:
    first, second = dice.choice((0, 4, 8, 16, 32, 3)), dice.choice((0, 4, 8, 16, 32, 2))
    return f"""{_fill(dice) if dice.random() < 0.8 else chr(10).join(f"*(u64 *)(r10 -{8 * n}) = {dice.choice((0, -1))}" for n in range(1, 9))}
        r1 = {"r10" if first else 0}
        {"r1 += -64" if first else ""}
        r2 = {first}
        r3 = {"r10" if second else 0}
        {"r3 += -32" if second else ""}
        r4 = {second}
        r5 = {dice.choice((0, -1, _imm(dice.getrandbits(32))))}
        {_call("csum_diff")}
        {_add()}"""


def _call1(name: str, dice: random.Random) -> str:
    return f"r1 = r6\n{_call(name)}\n{_add()}"


def _call2(name: str, dice: random.Random, values: Callable[[], int]) -> str:
    return f"r1 = r6\nr2 = {_imm(values())}\n{_call(name)}\n{_add()}"


def _call3(name: str, dice: random.Random, first: int, second: int) -> str:
    return f"r1 = r6\nr2 = {_imm(first)}\nr3 = {_imm(second)}\n{_call(name)}\n{_add()}"


def _room(dice: random.Random) -> str:
    flags = 0
    for bit in (0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100):
        flags |= bit if dice.random() < 0.12 else 0
    flags |= dice.choice((0, 0, 0, 14, 20, 255)) << 56
    flags |= 0x200 if dice.random() < 0.03 else 0
    return f"""r1 = r6
        r2 = {_signed(dice)}
        r3 = {dice.choice((0, 0, 1, 1, 2))}
        r4 = {flags} ll
        {_call("skb_adjust_room")}
        {_add()}"""


def _tunnel(dice: random.Random) -> str:
    size = dice.choice((44, 44, 44, 28, 24, 22, 8, 40))
    flags = dice.choice((0, 0, 1, 1, 2, 4, 8, 32, 16, 64))
    zero = "\n".join(f"*(u32 *)(r10 -{64 - at}) = 0" for at in (20, 24)) if dice.random() < 0.7 else ""
    return f"""{_fill(dice)}
        {zero}
        r1 = r6
        r2 = r10
        r2 += -64
        r3 = {size}
        r4 = {flags}
        {_call("skb_set_tunnel_key")}
        {_add()}"""


def _tunnel_back(dice: random.Random) -> str:
    size = dice.choice((44, 44, 44, 28, 24, 22, 8, 40))
    reads = "\n".join(f"r1 = *(u8 *)(r10 -{64 - at})\n{_add('r1')}" for at in range(size))
    return f"""r1 = r6
        r2 = r10
        r2 += -64
        r3 = {size}
        r4 = {dice.choice((0, 0, 1, 1, 16, 17, 2))}
        {_call("skb_get_tunnel_key")}
        {_add()}
        {reads}"""


def _option(dice: random.Random, name: str) -> str:
    return f"""{_fill(dice)}
        r1 = r6
        r2 = r10
        r2 += -64
        r3 = {dice.choice((4, 8, 16, 60, 64, 3, 1))}
        {_call(name)}
        {_add()}
        r1 = *(u64 *)(r10 -64)
        {_add("r1")}"""


def _mtu(dice: random.Random) -> str:
    return f"""*(u64 *)(r10 -8) = 0
        *(u32 *)(r10 -8) = {dice.choice((0, 0, 100, 65536, 65537, 70000))}
        r1 = r6
        r2 = {dice.choice((0, 0, 1, 1, 77))}
        r3 = r10
        r3 += -8
        r4 = {dice.choice((0, 0, 20, -20, 65536, 66000))}
        r5 = {dice.choice((0, 0, 0, 1, 2))}
        {_call("check_mtu")}
        {_add()}
        r1 = *(u32 *)(r10 -8)
        {_add("r1")}"""


def _redirect(dice: random.Random, name: str) -> str:
    return f"r1 = {dice.choice((1, 2))}\nr2 = {dice.choice((0, 0, 1, 2, 3))}\n{_call(name)}\n{_add()}"


def _neigh(dice: random.Random) -> str:
    size = dice.choice((0, 20, 16, 4, 24))
    where = "r2 = r10\nr2 += -64" if size else "r2 = 0"
    return f"{_fill(dice)}\nr1 = 1\n{where}\nr3 = {size}\nr4 = {dice.choice((0, 0, 1))}\n{_call('redirect_neigh')}\n{_add()}"


def _look(dice: random.Random, fields: tuple[int, ...]) -> str:
    return "\n".join(f"r1 = *(u32 *)(r6 +{off})\n{_add('r1')}" for off in dice.sample(fields, min(3, len(fields))))


def _direct(dice: random.Random, data: int, end: int, label: str, writes: bool) -> str:
    size, at = dice.choice((1, 2, 4, 8)), dice.randrange(40)
    store = f"*(u{8 * size} *)(r2 +{at}) = r7" if writes and dice.random() < 0.5 else ""
    return f"""r2 = *(u32 *)(r6 +{data})
        r3 = *(u32 *)(r6 +{end})
        r4 = r2
        r4 += {at + size}
        if r4 > r3 goto {label}
        r1 = *(u{8 * size} *)(r2 +{at})
        {_add("r1")}
        {store}
        {label}:"""


def _field_store(dice: random.Random, fields: tuple[int, ...]) -> str:
    value = dice.choice((0, 1, dice.getrandbits(15), dice.getrandbits(31)))
    off = dice.choice(fields)
    if off == 12:
        value &= 0x7FFF
    return f"r1 = {value}\n*(u32 *)(r6 +{off}) = r1"


def _legacy(dice: random.Random) -> str:
    size = dice.choice((1, 2, 4))
    base = dice.choice((0, 0, 0, -0x100000, -0x200000, -0x1000))
    if dice.random() < 0.5:
        return f"r0 = *(u{8 * size} *)skb[{base + _number(dice, 40)}]\n{_add()}" if base >= 0 else (
            f"r0 = *(u{8 * size} *)skb[{base + dice.randrange(40)}]\n{_add()}")
    return f"r8 = {dice.randrange(20)}\nr0 = *(u{8 * size} *)skb[r8 + {base + dice.randrange(20)}]\n{_add()}"


_SKB_FIELDS = (0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 64, 84, 164, 176)
_HASH = (68,)


def _skb_choices(type: ProgType, dice: random.Random, at: int) -> list[Callable[[], str]]:
    """What a program of this type may do, as functions that write it."""
    lwt_common: list[Callable[[], str]] = [
        lambda: _load(dice, "skb"), lambda: _csum_diff(dice), lambda: _call2("skb_pull_data", dice, lambda: _number(dice)),
        lambda: _call1("get_route_realm", dice),
    ]
    frame: list[Callable[[], str]] = [
        lambda: _load(dice, "skb"), lambda: _load_relative(dice), lambda: _store(dice),
        lambda: _csum(dice, "l3_csum_replace", (0, 0, 0, 0x10)), lambda: _csum(dice, "l4_csum_replace", (0, 0x10, 0x20, 0x60, 0x80, 0xF0, 0x100)),
        lambda: _csum_diff(dice), lambda: _call2("csum_update", dice, lambda: dice.getrandbits(32)),
        lambda: _call2("csum_level", dice, lambda: dice.randrange(6)),
        lambda: _call3("skb_vlan_push", dice, dice.choice((0x0081, 0xA888, 0x0008)), dice.choice((0, 1, 0x1FFF, dice.getrandbits(16)))),
        lambda: _call1("skb_vlan_pop", dice), lambda: _call1("skb_vlan_pop", dice),
        lambda: _call3("skb_change_proto", dice, dice.choice((0x0008, 0xDD86, 0x0608)), dice.choice((0, 0, 0, 1))),
        lambda: _call2("skb_change_type", dice, lambda: dice.randrange(9)),
        lambda: _call3("skb_change_tail", dice, _length(dice), dice.choice((0, 0, 0, 0, 1))),
        lambda: _call3("skb_change_head", dice, _number(dice, 60), dice.choice((0, 0, 0, 0, 1))),
        lambda: _room(dice), lambda: _room(dice), lambda: _room(dice),
        lambda: _call2("skb_pull_data", dice, lambda: _number(dice)),
        lambda: _tunnel(dice), lambda: _tunnel_back(dice), lambda: _option(dice, "skb_set_tunnel_opt"), lambda: _option(dice, "skb_get_tunnel_opt"),
        lambda: _call2("set_hash", dice, lambda: dice.getrandbits(32)) + "\n" + _call1("get_hash_recalc", dice),
        lambda: _call1("set_hash_invalid", dice) + "\n" + _look(dice, _HASH),
        lambda: _call1("skb_ecn_set_ce", dice), lambda: _call1("get_route_realm", dice), lambda: _call1("get_cgroup_classid", dice),
        lambda: _call1("get_socket_uid", dice), lambda: _mtu(dice),
        lambda: _call3("skb_set_tstamp", dice, dice.choice((0, 5, 1 << 30)), dice.randrange(4)),
        lambda: _redirect(dice, "redirect"), lambda: _redirect(dice, "redirect_peer"), lambda: _neigh(dice),
        lambda: _look(dice, _SKB_FIELDS), lambda: _look(dice, (*_SKB_FIELDS, 72)), lambda: _direct(dice, 76, 80, f"l{at}", True),
        lambda: _field_store(dice, (8, 12, 32, 44, 48, 56, 72)), lambda: _legacy(dice),
    ]
    seen: list[Callable[[], str]] = [lambda: _look(dice, _SKB_FIELDS), lambda: _load(dice, "skb"), lambda: _load_relative(dice)]
    if type in (_P.SCHED_CLS, _P.SCHED_ACT):
        return frame
    if type is _P.SOCKET_FILTER:
        return [*seen, lambda: _legacy(dice), lambda: _call1("get_socket_uid", dice), lambda: _field_store(dice, (48, 52))]
    if type is _P.CGROUP_SKB:
        return [*seen, lambda: _look(dice, (88, 92, 96, 100, 104, 112, 116, 120, 128, 132, 136)), lambda: _direct(dice, 76, 80, f"l{at}", False),
                lambda: _field_store(dice, (8, 32, 48)), lambda: _call1("skb_ecn_set_ce", dice)]
    looks = [lambda: _look(dice, _SKB_FIELDS), lambda: _direct(dice, 76, 80, f"l{at}", type is _P.LWT_XMIT), lambda: _field_store(dice, (8, 32, 48))]
    if type is not _P.LWT_XMIT:
        return [*looks, *lwt_common]
    return [
        *looks, *lwt_common, lambda: _store(dice), lambda: _csum(dice, "l3_csum_replace", (0,)), lambda: _csum(dice, "l4_csum_replace", (0, 0x20)),
        lambda: _call3("skb_change_tail", dice, _length(dice), 0), lambda: _call3("skb_change_head", dice, _number(dice, 60), 0),
        lambda: _tunnel(dice), lambda: _tunnel_back(dice), lambda: _redirect(dice, "redirect"),
    ]


def _spec(name: str, type: ProgType, parts: list[str], end: str) -> ProgramSpec:
    text = "r6 = r1\nr7 = 0\n" + "\n".join(parts) + "\n" + end
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ProgramSpec(name, "", type, assemble("\n".join(lines)))


def skb_program(seed: int, type: ProgType) -> ProgramSpec:
    """A program of this type, the same for the same seed."""
    dice = random.Random(f"skb {seed} {type}")
    parts = [dice.choice(_skb_choices(type, dice, at))() for at in range(dice.randrange(2, 14))]
    end = "r0 = r7\nr0 &= 1\nexit" if type is _P.CGROUP_SKB else "r0 = r7\nr1 = r7\nr1 >>= 32\nr0 ^= r1\nexit"
    if type is _P.CGROUP_SKB:
        parts.append("*(u32 *)(r6 +48) = r7\nr7 >>= 32\n*(u32 *)(r6 +52) = r7")
    return _spec(f"skb{seed}", type, parts, end)


def xdp_program(seed: int) -> ProgramSpec:
    dice = random.Random(f"xdp {seed}")
    choices: list[Callable[[int], str]] = [
        lambda at: _load(dice, "xdp"), lambda at: _xdp_store(dice), lambda at: _call1("xdp_get_buff_len", dice),
        lambda at: _call2("xdp_adjust_head", dice, lambda: dice.choice((_signed(dice), _signed(dice), -216, -217, 216))),
        lambda at: _call2("xdp_adjust_tail", dice, lambda: dice.choice((_signed(dice), _signed(dice, 4000)))),
        lambda at: _call2("xdp_adjust_meta", dice, lambda: dice.choice((-4, 4, -8, -32, -252, -256, _signed(dice)))),
        lambda at: _csum_diff(dice), lambda at: _mtu(dice), lambda at: _redirect(dice, "redirect"),
        lambda at: _direct(dice, 0, 4, f"l{at}", True), lambda at: _direct(dice, 8, 0, f"l{at}", True), lambda at: _look(dice, (12, 16)),
    ]
    parts = [dice.choice(choices)(at) for at in range(dice.randrange(2, 14))]
    return _spec(f"xdp{seed}", _P.XDP, parts, "r0 = r7\nr1 = r7\nr1 >>= 32\nr0 ^= r1\nexit")


def packet(seed: int, most: int = 300) -> bytes:
    """A frame: IPv4, IPv6, tagged once or twice, something else, or noise; sometimes cut."""
    dice = random.Random(f"packet {seed}")
    tags = b"".join(dice.choice((b"\x81\x00", b"\x88\xa8")) + dice.randbytes(2) for _ in range(dice.choice((0, 0, 0, 1, 2))))
    kind = dice.random()
    address = dice.choice((bytes(6), b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01", b"\x02\xaa\xbb\xcc\xdd\xee"))
    head = address + dice.randbytes(6) + tags
    if kind < 0.45:
        body = b"\x08\x00" + bytes((0x45, dice.getrandbits(8))) + dice.randbytes(18) + dice.randbytes(dice.randrange(most))
    elif kind < 0.8:
        body = b"\x86\xdd" + bytes((0x60 | dice.getrandbits(4), dice.getrandbits(8))) + dice.randbytes(38) + dice.randbytes(dice.randrange(most))
    elif kind < 0.9:
        body = dice.choice((b"\x08\x06", b"\x00\x20\xff\xff", b"\x00\x20\xaa\xaa", b"\x05\xdc", b"\x06\x00")) + dice.randbytes(dice.randrange(most))
    else:
        body = dice.randbytes(dice.randrange(2, most))
    whole = head + body
    return whole[: dice.randrange(10, len(whole) + 1)] if dice.random() < 0.1 and not tags else whole


def skb_context(seed: int, size: int) -> bytes:
    """None, a good one, or one with something in it that Linux refuses."""
    dice = random.Random(f"context {seed}")
    if dice.random() < 0.5:
        return b""
    image = bytearray(192)
    for at, bits in ((8, 32), (32, 32), (36, 32), (48, 32), (52, 32), (64, 32), (152, 32), (156, 32), (184, 32), (164, 15)):
        if dice.random() < 0.4:
            image[at : at + 4] = dice.getrandbits(bits).to_bytes(4, "little")
    if dice.random() < 0.2:
        image[176:180] = dice.choice((1, 100, 65535, 65536)).to_bytes(4, "little")
    if dice.random() < 0.3:
        image[160:164] = dice.choice((size, size - 1, size + 1, 65536, 65537)).to_bytes(4, "little")
    if dice.random() < 0.2:
        image[40:44] = dice.choice((0, 1, 1, 77)).to_bytes(4, "little")
    if dice.random() < 0.1:
        image[4 * dice.randrange(48)] = 1
    return bytes(image)[: dice.choice((192, 192, 192, 160, 100, 64))] + bytes(dice.choice((0, 0, 0, 8))) + dice.choice((b"", b"", b"", b"\1"))


def xdp_context(seed: int, size: int) -> bytes:
    dice = random.Random(f"xdp context {seed}")
    if dice.random() < 0.5:
        return b""
    meta = dice.choice((0, 0, 4, 32, 216, 220, 252, 256, 3))
    end = dice.choice((size, size, size, size - 1, size // 2, size + 1, 14, 13))
    words = [meta, max(end, 0), 0, dice.choice((0, 0, 1, 77)), dice.choice((0, 0, 0, 1)), dice.choice((0, 0, 0, 0, 1))]
    if dice.random() < 0.05:
        words[2] = 4
    return b"".join(word.to_bytes(4, "little") for word in words)
