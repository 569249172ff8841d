"""BTF on its way to the kernel: what a compiler leaves open is closed, and the kernel then takes it."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcc_py.elf import read_object
from bcc_py.errors import LoadError, ObjectError, VerifierError
from bcc_py.linux import sys
from bcc_py.linux.btf_walk import first_function, loadable
from bcc_py.linux.kernel import LinuxKernel
from bcc_py.load import load
from cfront import compile_unit
from cfront.btf import Btf, btf_from_types
from cfront.ctype import INT, Function, Param, Pointer, Record

TEXT = """
BPF_HASH(counts, u32, u64);
TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
    u32 key = bpf_get_current_pid_tgid() >> 32;
    u64 *value = counts.lookup(&key);
    LAST
    return 0;
}
"""


def test_first_function_is_found_by_walking() -> None:
    function = Function(INT, (Param("a", Pointer(INT)),))
    btf = btf_from_types([Record("struct", "s", [], 0)], {"t": INT}, {"f": function})
    index = first_function(btf)
    assert Btf(btf).type(index) == function and index > 1
    assert first_function(btf_from_types([INT])) == 0


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_walked_or_refused(content: bytes, has_head: bool) -> None:
    given = struct.pack("<HBBIII", 0xEB9F, 1, 0, 24, 0, len(content)) + bytes(8) + content if has_head else content
    try:
        assert len(loadable(given)) == len(given)
    except ObjectError:
        pass


def compiled(kernel: LinuxKernel, last: str) -> bytes:
    return compile_unit(TEXT.replace("LAST", last), filename="x.c", types=kernel.types).object


@pytest.mark.linux
def test_the_kernel_takes_the_compilers_btf_with_functions_and_lines(kernel: LinuxKernel) -> None:
    spec = read_object(compiled(kernel, "if (value) *value += 1;"))
    fd = sys.btf_load(loadable(spec.btf))
    sys.close(fd)
    made = load(spec, kernel)
    assert all(fd >= 0 for fd in kernel._btf_fds.values()) and kernel._btf_fds
    made.close()


@pytest.mark.linux
def test_a_refusal_shows_the_c_line_in_the_sentence_and_in_the_kernels_log(kernel: LinuxKernel) -> None:
    with pytest.raises(VerifierError) as caught:
        load(read_object(compiled(kernel, "*value += 1;")), kernel)
    error = caught.value
    first, line, caret = str(error).splitlines()
    assert re.fullmatch(r".*: R0 invalid mem access 'map_value_or_null' \(insn \d+ at x\.c:6\)", first)
    assert line.strip() == "*value += 1;" and caret.strip() == "^"
    assert error.span.startswith("x.c:6:") and "; *value += 1; @ x.c:6" in error.log


@pytest.mark.linux
def test_wild_btf_is_an_error(kernel: LinuxKernel) -> None:
    with pytest.raises(LoadError, match="loading BTF"):
        sys.btf_load(b"not BTF at all, but long enough")
