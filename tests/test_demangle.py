"""C++ names, against c++filt."""

from __future__ import annotations

import pytest

from bcc_py import demangle as module
from bcc_py.demangle import demangle
from tests.programs import need, run

NAMES = [
    "_ZN14some_namespace13some_functionEii", "_ZNSt6vectorIiSaIiEE9push_backERKi", "_ZNKSt9bad_alloc4whatEv",
    "_Z3addIdEDTplfp_fp0_ET_S0_", "_ZN1AC1Ev", "_ZTV9Something", "_Zda", "_ZZ4mainENKUlvE_clEv", "_ZN3foo3barB5cxx11Ev",
    "_RNvC6_123foo3bar", "main", "_Znot a name", "__libc_start_main", "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
]


@pytest.mark.parametrize("name", NAMES)
def test_as_cxxfilt_does(name: str) -> None:
    need("c++filt")
    expected = name if name.startswith("_R") else run("c++filt", "--format=gnu-v3", name).rstrip("\n")
    if module._demangler() is None:
        pytest.skip("no C++ library here")
    assert demangle(name.encode()).decode() == expected


def test_without_a_cxx_library_names_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_demangler", lambda: None)
    assert demangle(b"_ZN5naked6withoutEv") == b"_ZN5naked6withoutEv"
    assert module._demangler_of("libnosuchlibrary.so") is None
