"""A storage of inodes as programs and descriptors use it together: a plain model says what each of them finds.

Programs reach an inode by its address, whoever is outside by a descriptor; on Linux only programs of security hooks do the
first, which need more than a test may do to the machine. tests/sim/test_objects_model.py asks Linux about the second."""

from __future__ import annotations

import errno

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from bcc_py.errors import KeyNotFound, MapError
from bcc_py.sim import native
from bcc_py.sim.inodes import File
from bcc_py.sim.kernel import SimKernel
from bcc_py.sim.maps import SimMap
from cfront.uapi import MapType
from tests.sim.object_worlds import asked, storage_spec, word
from tests.sim.quiet import Script

_CREATE = 1
_value = st.integers(0, 1 << 63).map(lambda number: number.to_bytes(8, "little"))


class InodeStorage(RuleBasedStateMachine):
    """rows: what each inode's value is, by the address of its struct inode."""

    files = Bundle("files")

    @initialize()
    def begin(self) -> None:
        self.kernel = SimKernel(Script(), spec="sim:test")
        made = self.kernel.create_map(storage_spec(MapType.INODE_STORAGE))
        assert isinstance(made, SimMap)
        self.map, self.rows, self.counts = made, dict[int, bytes](), dict[int, int]()
        self.blocks = self.kernel.memory.blocks
        ffi = self.kernel.runtime.ffi
        self._get = ffi.cast("u8 *(*)(void *, void *, u64, u8 *, u64)", native.function("bpf_inode_storage_get"))
        self._delete = ffi.cast("s64 (*)(void *, void *, u64)", native.function("bpf_inode_storage_delete"))

    @rule(target=files)
    def create(self) -> File:
        made = self.kernel.files.create()
        assert made.address not in self.counts
        self.counts[made.address] = 1
        return made

    @rule(target=files, file=files)
    def open_again(self, file: File) -> File:
        self.counts[file.address] += 1
        return self.kernel.files.reopen(file)

    @rule(file=consumes(files))
    def close(self, file: File) -> None:
        self.kernel.files.close(file)
        self.counts[file.address] -= 1
        if not self.counts[file.address]:
            del self.counts[file.address]
            self.rows.pop(file.address, None)
        assert asked(lambda: self.map.lookup(word(file.fd))) == errno.EBADF
        with pytest.raises(MapError):
            self.kernel.files.reopen(file)

    @rule(file=files, value=_value, flags=st.integers(0, 3))
    def update(self, file: File, value: bytes, flags: int) -> None:
        is_there = file.address in self.rows
        wanted = (errno.EINVAL if flags == 3 else errno.EEXIST if flags == 1 and is_there else errno.ENOENT if flags == 2 and not is_there else None)
        assert asked(lambda: self.map.update(word(file.fd), value, flags)) == wanted
        if wanted is None:
            self.rows[file.address] = value

    @rule(file=files)
    def delete(self, file: File) -> None:
        if self.rows.pop(file.address, None) is None:
            with pytest.raises(KeyNotFound):
                self.map.delete(word(file.fd))
        else:
            self.map.delete(word(file.fd))

    @rule(file=files, value=st.none() | _value, flags=st.integers(0, 2))
    def program_gets(self, file: File, value: bytes | None, flags: int) -> None:
        """It makes a value where there is none if it says so, of zeros if it gives none."""
        ffi = self.kernel.runtime.ffi
        given = ffi.NULL if value is None else ffi.new("u8[]", value)
        place = self._get(self.kernel.cpu(0).pointer, self.map.pointer, file.address, given, flags)
        if flags == _CREATE:
            self.rows.setdefault(file.address, value or bytes(8))
        if flags <= _CREATE and file.address in self.rows:
            assert bytes(ffi.buffer(place, 8)) == self.rows[file.address]
        else:
            assert place == ffi.NULL

    @rule(file=files, value=_value)
    def program_writes(self, file: File, value: bytes) -> None:
        ffi = self.kernel.runtime.ffi
        place = self._get(self.kernel.cpu(0).pointer, self.map.pointer, file.address, ffi.NULL, _CREATE)
        ffi.memmove(place, value, 8)
        self.rows[file.address] = value

    @rule(file=files)
    def program_deletes(self, file: File) -> None:
        wanted = 0 if self.rows.pop(file.address, None) is not None else -errno.ENOENT
        assert self._delete(self.kernel.cpu(0).pointer, self.map.pointer, file.address) == wanted

    @rule()
    def program_has_no_inode(self) -> None:
        pointer, ffi = self.kernel.cpu(0).pointer, self.kernel.runtime.ffi
        assert self._get(pointer, self.map.pointer, 0, ffi.NULL, _CREATE) == ffi.NULL
        assert self._delete(pointer, self.map.pointer, 0) == -errno.EINVAL

    @rule(file=files)
    def each_descriptor_finds_the_same(self, file: File) -> None:
        assert self.map.lookup(word(file.fd)) == self.rows.get(file.address)
        assert asked(lambda: self.map.next_key(word(file.fd))) == 524

    @invariant()
    def no_more_is_held_than_there_is(self) -> None:
        assert self.kernel.memory.blocks == self.blocks + len(self.counts)

    def teardown(self) -> None:
        self.map.close()
        self.kernel.close()


InodeStorage.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
test_programs_and_descriptors_find_the_same = InodeStorage.TestCase
