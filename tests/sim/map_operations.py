"""Operations on maps that two kernels, or a kernel and a model, are given alike: what each gives, as a value, or an errno."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bcc_py.errors import KeyNotFound, MapError
from bcc_py.kernel import Map
from bcc_py.spec import MapSpec
from cfront.uapi import MapType

__all__ = ["PERCPU", "Operation", "apply", "keys_of", "operations", "value_of"]

PERCPU = (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)
_VERBS = ("lookup", "update", "update", "update", "delete", "take", "next")


@dataclass(frozen=True, slots=True)
class Operation:
    verb: str
    key: bytes
    seed: int
    flags: int


def value_of(spec: MapSpec, seed: int, cpus: int) -> bytes:
    """Bytes that seed gives; a per-CPU value's padding is zeros."""
    if spec.type not in PERCPU:
        return bytes(seed + at & 0xFF for at in range(spec.value_size))
    stride = (spec.value_size + 7) // 8 * 8
    return bytes(seed + at & 0xFF if at % stride < spec.value_size else 0 for at in range(stride * cpus))


def apply(map: Map, one: Operation, cpus: int) -> object:
    """What the operation gives: a value, None, or the errno."""
    try:
        if one.verb == "lookup":
            return map.lookup(one.key)
        if one.verb == "next":
            return map.next_key(one.key)
        if one.verb == "delete":
            return map.delete(one.key)
        if one.verb == "take":
            return map.lookup_and_delete(one.key)
        return map.update(one.key, value_of(map.spec, one.seed, cpus), one.flags)
    except KeyNotFound:
        return errno.ENOENT
    except MapError as error:
        return error.errno


def keys_of(map: Map) -> list[bytes]:
    """All keys, in the map's order."""
    keys = []
    key = map.next_key(None)
    while key is not None:
        keys.append(key)
        key = map.next_key(key)
    return keys


def _key(spec: MapSpec, draw: random.Random, spread: int) -> bytes:
    if spec.type is MapType.LPM_TRIE:
        bits = (spec.key_size - 4) * 8
        length = draw.choice((draw.randrange(bits + 1), bits, draw.randrange(4), bits + (draw.random() < 0.05)))
        return length.to_bytes(4, "little") + bytes(draw.choice((0, 0x80, 0xC0, 0xFF, draw.randrange(256))) for _ in range(spec.key_size - 4))
    return draw.randrange(spread).to_bytes(max(spec.key_size, 4), "little")[: spec.key_size]


def operations(spec: MapSpec, draw: random.Random, count: int, spread: int) -> Iterator[Operation]:
    """count operations on such a map, on spread keys."""
    for _ in range(count):
        flags = draw.choice((0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 8))
        yield Operation(draw.choice(_VERBS), _key(spec, draw, spread), draw.randrange(251), flags)
