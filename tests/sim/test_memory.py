"""Simulated memory: checked, repeatable, given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.errors import FaultError, MapError
from bcc_py.sim import native
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.memory import KERNEL_BYTES, KERNEL_START, Fields, UserMemory
from cfront.ctype import Record
from tests.sim.quiet import Script


@pytest.fixture(scope="module")
def shared() -> Iterator[SimKernel]:
    made = SimKernel(Script(), spec="sim:test")
    yield made
    made.close()


def test_addresses_are_the_same_in_every_kernel(shared: SimKernel) -> None:
    other = SimKernel(Script(), spec="sim:test")
    third = SimKernel(Script(), spec="sim:test")
    assert [other.memory.take(n) for n in (10, 100, 1000)] == [third.memory.take(n) for n in (10, 100, 1000)]
    assert other.tasks.init.address == third.tasks.init.address == shared.tasks.init.address
    other.close()
    third.close()


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5000)), max_size=80))
@settings(max_examples=60, deadline=None)
def test_blocks_never_overlap_and_begin_as_zeros(shared: SimKernel, steps: list[tuple[bool, int]]) -> None:
    memory = shared.memory
    live: dict[int, int] = {}
    for is_give, size in steps:
        if is_give and live:
            address = next(iter(live))
            memory.give(address, live.pop(address))
            continue
        address = memory.take(size)
        assert memory.read(address, size) == bytes(size)
        assert all(address + size <= other or other + length <= address for other, length in live.items())
        memory.write(address, b"\xaa" * size)
        live[address] = size
    for address, size in live.items():
        memory.give(address, size)


@pytest.mark.parametrize(("address", "size"), [(0, 1), (KERNEL_START - 1, 1), (KERNEL_START + KERNEL_BYTES, 1), (KERNEL_START, KERNEL_BYTES + 1),
                                               (KERNEL_START, -1)])
def test_what_was_not_handed_out_faults(shared: SimKernel, address: int, size: int) -> None:
    with pytest.raises(FaultError, match="not mapped") as caught:
        shared.memory.read(address, size)
    assert (caught.value.address, caught.value.size) == (address, size)


def test_memory_has_an_end() -> None:
    kernel = SimKernel(Script(), spec="sim:test")
    with pytest.raises(MapError, match="bytes are in use"):
        for _ in range(3):
            kernel.memory.take(KERNEL_BYTES // 2)
    kernel.close()


def test_user_memory(shared: SimKernel) -> None:
    user = UserMemory(shared.runtime, [(0x2000, b"second"), (0x1000, b"first")])
    user.map(0x3000, b"third")
    assert [user.segments[at].start for at in range(user.count)] == [0x1000, 0x2000, 0x3000]
    assert (user.read(0x2001, 5), user.read(0x2001, 6), user.read(0, 1)) == (b"econd", None, None)
    with pytest.raises(ValueError, match="is mapped there"):
        user.map(0x2fff, b"xy")
    user.write(0x1001, b"IR")
    assert user.read(0x1000, 5) == b"fIRst"
    with pytest.raises(FaultError):
        user.write(0x1003, b"toolong")
    user.unmap(0x1000)
    user.unmap(0x1000)
    assert user.read(0x1000, 1) is None


def test_fields() -> None:
    record = native.kernel_types().find("struct", "task_struct")
    assert isinstance(record, Record)
    fields = Fields(record)
    image = fields.image(pid=-1, comm=b"a name that is longer than sixteen", thread_info__cpu=3, __state=2)
    assert image[slice(*_span(fields, "pid"))] == b"\xff" * 4
    assert image[slice(*_span(fields, "comm"))] == b"a name that is l"
    assert image[slice(*_span(fields, "thread_info.cpu"))] == b"\x03\0\0\0"
    assert image[slice(*_span(fields, "__state"))] == b"\x02\0\0\0"
    with pytest.raises(KeyError, match="has no field nonsense"):
        fields.place("nonsense")
    with pytest.raises(KeyError, match=r"pid of pid\.x is not a struct"):
        fields.place("pid.x")


def _span(fields: Fields, name: str) -> tuple[int, int]:
    offset, size = fields.place(name)
    return offset, offset + size
