"""Maps of structs of functions: what a simulated kernel and Linux refuse alike, and how one is registered and taken back."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_py.errors import KeyNotFound, MapError, NotSupportedError
from bcc_py.isa import assemble
from bcc_py.kernel import Kernel, Program
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.sim.kernel import SimKernel
from bcc_py.spec import MapSpec, ProgramSpec
from cfront.uapi import AttachType, MapType, ProgType
from tests.sim.object_worlds import asked, storage_spec, word
from tests.sim.quiet import Script

_TCP, _DUMMY = "bpf_struct_ops_tcp_congestion_ops", "bpf_struct_ops_bpf_dummy_ops"
_FIRST, _NAME = 64, 64 + 88
# where the functions are that a congestion control needs: member, its number
_SSTHRESH, _CONG_AVOID, _UNDO = 0, 1, 8


def _spec(name: str = _TCP) -> MapSpec:
    return MapSpec("ops", MapType.STRUCT_OPS, 4, 256 if name == _TCP else 128, 1, btf=storage_spec(MapType.SK_STORAGE).btf, kernel_value=name)


@pytest.fixture(scope="module", params=["sim", pytest.param("linux", marks=pytest.mark.linux)])
def any_kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    made: Kernel = SimKernel(Script(), spec="sim:test") if request.param == "sim" else LinuxKernel()
    yield made
    made.close()


@pytest.mark.parametrize("change,wanted", [
    ({}, 0), ({"key_size": 8}, errno.EINVAL), ({"max_entries": 2}, errno.EINVAL), ({"value_size": 8}, errno.EINVAL), ({"flags": 1}, errno.EINVAL),
    ({"kernel_value": "task_struct"}, 524), ({"key_type": 1, "value_type": 1, "kernel_value": ""}, errno.EINVAL),
])
def test_which_may_be_made(any_kernel: Kernel, change: dict[str, int], wanted: int) -> None:
    for name in (_TCP, _DUMMY):
        spec = dataclasses.replace(_spec(name), **change)  # type: ignore[arg-type]
        if wanted:
            with pytest.raises(MapError) as caught:
                any_kernel.create_map(spec)
            assert caught.value.errno == wanted
        else:
            any_kernel.create_map(spec).close()


def _value(name: bytes = b"ours", functions: dict[int, int] | None = None, **bytes_at: int) -> bytes:
    value = bytearray(256)
    value[_NAME : _NAME + len(name)] = name
    for index, fd in (functions or {}).items():
        value[_FIRST + 8 * index : _FIRST + 8 * index + 8] = struct.pack("<q", fd)
    for at, byte in bytes_at.items():
        value[int(at[2:])] = byte
    return bytes(value)


def test_what_is_not_registered(any_kernel: Kernel) -> None:
    """Nothing is without its functions; every other fault has its errno, in Linux's order; an owner is none to Linux."""
    with contextlib.closing(any_kernel.create_map(_spec())) as map:
        rows = [
            (_value(), 0, 0, errno.EINVAL), (_value(), 1, 0, errno.E2BIG), (_value(), 0, 1, errno.EINVAL), (_value(at4=1), 0, 0, errno.EINVAL),
            (_value(at12=1), 0, 0, errno.EINVAL), (_value(functions={0: 9999}), 0, 0, errno.EBADF), (_value(functions={0: -1}), 0, 0, errno.EBADF),
            (_value(functions={0: map.fd}), 0, 0, errno.EINVAL), (_value(b"z-z", {1: 9999}), 0, 0, errno.EBADF), (_value(b"z-z"), 0, 0, errno.EINVAL),
            (_value(b"z-z", {17: 9999}), 0, 0, errno.EINVAL), (_value(at168=1), 0, 0, None), (_value(at196=4), 0, 0, errno.EINVAL),
        ]
        for value, key, flags, wanted in rows:
            assert asked(lambda key=key, value=value, flags=flags: map.update(word(key), value, flags)) == wanted  # type: ignore[misc]
        _check_empty(any_kernel, map.spec)
    with contextlib.closing(any_kernel.create_map(_spec(_DUMMY))) as map:
        for at, wanted in ((None, errno.EOPNOTSUPP), (4, errno.EINVAL), (12, errno.EINVAL), (64, errno.EOPNOTSUPP)):
            value = bytearray(128)
            if at is not None:
                value[at] = 1
            assert asked(lambda value=value: map.update(word(0), bytes(value))) == wanted  # type: ignore[misc]


def _check_empty(kernel: Kernel, spec: MapSpec) -> None:
    with contextlib.closing(kernel.create_map(spec)) as map:
        assert map.lookup(word(0)) == bytes(256) and map.lookup(word(1)) is None
        assert (map.next_key(None), map.next_key(word(0)), map.next_key(word(7))) == (word(0), None, word(0))
        for key in (0, 1):
            with pytest.raises(KeyNotFound):
                map.delete(word(key))
        assert asked(lambda: map.lookup_and_delete(word(0))) == 524


def _function(kernel: SimKernel, index: int, result: str = "r0 = 1\n") -> Program:
    spec = ProgramSpec("f", "", ProgType.STRUCT_OPS, assemble(f"{result}exit"), attach_to="tcp_congestion_ops", expected_attach_type=AttachType(index))
    return kernel.load_program(spec)


def test_a_program_of_another_member_is_refused(kernel: SimKernel) -> None:
    map = kernel.create_map(_spec())
    undo = _function(kernel, _UNDO)
    assert asked(lambda: map.update(word(0), _value(functions={_SSTHRESH: undo.fd}))) == errno.EINVAL
    with pytest.raises(NotSupportedError, match="no links of structs"):
        kernel.create_map(dataclasses.replace(_spec(), flags=1 << 13))


@given(steps=st.lists(st.tuples(st.sampled_from(("update", "update", "delete", "lookup")), st.integers(0, 2), st.sampled_from((b"one", b"two", b"cubic"))), max_size=15))
@settings(max_examples=60, deadline=None)
def test_a_struct_is_registered_and_taken_back(steps: list[tuple[str, int, bytes]]) -> None:
    """States as Linux counts them: 0 new, 1 in use, 2 to be freed. A name is one map's at a time, and "cubic" the kernel's."""
    with contextlib.closing(SimKernel(Script(), spec="sim:test")) as kernel:
        maps = [kernel.create_map(_spec()) for _ in range(3)]
        made = {index: _function(kernel, index) for index in (_SSTHRESH, _CONG_AVOID, _UNDO)}
        functions = {index: one.fd for index, one in made.items()}
        states, names = [0, 0, 0], {0: b"", 1: b"", 2: b""}
        for verb, at, name in steps:
            got = asked(lambda verb=verb, at=at, name=name: (  # type: ignore[misc]
                maps[at].update(word(0), _value(name, functions)) if verb == "update" else maps[at].delete(word(0)) if verb == "delete" else None))
            if verb == "update":
                in_use = {names[one] for one in range(3) if states[one] == 1} | {b"cubic"}
                assert got == (errno.EBUSY if states[at] else errno.EEXIST if name in in_use else None)
                if got is None:
                    states[at], names[at] = 1, name
            elif verb == "delete":
                assert got == {0: errno.ENOENT, 1: None, 2: errno.EINPROGRESS}[states[at]]
                states[at] = 2 if states[at] else 0
            value = maps[at].lookup(word(0))
            assert value is not None and struct.unpack_from("<iI", value) == (int(states[at] == 1), states[at])
            if states[at]:
                assert value[_NAME : _NAME + 16].rstrip(b"\0") == names[at]
                assert struct.unpack_from("<Q", value, _FIRST)[0] == getattr(made[_SSTHRESH], "id")  # noqa: B009
        for one in (*made.values(), *maps):
            one.close()
        assert kernel.live_objects() == (0, 0, 0, 0)
