"""What a map's value holds that the kernel keeps for itself, read from BTF that is written here."""

from __future__ import annotations

from bcc_py.spec import MapSpec
from bcc_py.verifier.fields import has_lock, special_fields
from cfront.uapi import MapType
from tests.verifier.btf_writer import value_types


def fields_of(text: str) -> list[tuple[str, int, str]]:
    btf, _, id = value_types(text)
    return [(one.kind, one.off, one.target) for one in special_fields(MapSpec("m", MapType.ARRAY, 4, 8, 1, btf=btf, value_type=id))]


def test_structs_and_pointers_by_offset() -> None:
    assert fields_of("n:u64 lock:bpf_spin_lock task:kptr:task_struct free:kptr_untrusted:cgroup timer:bpf_timer") == [
        ("bpf_spin_lock", 8, ""), ("kptr", 16, "task_struct"), ("kptr_untrusted", 24, "cgroup"), ("bpf_timer", 32, ""),
    ]


def test_other_tags_mean_nothing() -> None:
    assert fields_of("name:user:string there:rcu:task_struct") == []


def test_the_kernel_keeps_eleven_and_no_more() -> None:
    assert len(fields_of(" ".join(f"p{number}:kptr:task_struct" for number in range(11)))) == 11
    assert fields_of(" ".join(f"p{number}:kptr:task_struct" for number in range(12))) == []


def test_without_types_there_are_none() -> None:
    spec = MapSpec("m", MapType.ARRAY, 4, 8, 1)
    assert special_fields(spec) == () and not has_lock(spec)
