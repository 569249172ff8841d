"""The running kernel's configuration, as its own C sees it: CONFIG_NAME is a macro where the option is set.

Input: names of options. Output: those of them that are set, with their value. The kernel's own list is asked
(/proc/config.gz, /boot/config-RELEASE, the file beside the modules); where there is none that may be read, a few
options are told from the kernel's types, which have a member or a struct only with the option. An option that
neither says anything about is not set.

Source: Documentation/kbuild/kconfig.rst; scripts/kconfig writes "m" as NAME_MODULE."""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Iterable

from cfront.btf import TypeSource
from cfront.ctype import Record

__all__ = ["config"]

# (struct, member) that the kernel's types have only with the option; without a member the struct itself
_WITNESSES = {
    "CONFIG_BLK_CGROUP": ("bio", "bi_blkg"), "CONFIG_CGROUPS": ("task_struct", "cgroups"),
    "CONFIG_FAIR_GROUP_SCHED": ("cfs_rq", "tg"), "CONFIG_IPV6": ("sock_common", "skc_v6_daddr"),
    "CONFIG_MEMCG": ("mem_cgroup", ""), "CONFIG_NET": ("sk_buff", ""), "CONFIG_NET_NS": ("net", "ns"),
    "CONFIG_NUMA": ("zone", "node"), "CONFIG_PREEMPT_RCU": ("task_struct", "rcu_read_lock_nesting"),
    "CONFIG_SCHED_CLASS_EXT": ("task_struct", "scx"), "CONFIG_SECURITY": ("file", "f_security"),
    "CONFIG_SMP": ("task_struct", "on_cpu"), "CONFIG_THREAD_INFO_IN_TASK": ("task_struct", "thread_info"),
    "CONFIG_UPROBES": ("task_struct", "utask"),
}
_MOST_BYTES = 1 << 24
_GZIP = 31  # zlib's wbits for a gzip header and a window of any size


def config(names: Iterable[str], types: TypeSource) -> dict[str, str]:
    """Of these options those that are set: "1", a number, or a string in quotes."""
    told = _told(os.uname().release)
    if told is not None:
        return {one: told[one] for one in names if one in told}
    return {one: "1" for one in names if _is_witnessed(one, types)}


def _is_witnessed(name: str, types: TypeSource) -> bool:
    record, member = _WITNESSES.get(name, ("", ""))
    found = types.find("struct", record) if record else None
    return isinstance(found, Record) and found.is_complete and (not member or found.member(member) is not None)


@functools.cache
def _told(release: str) -> dict[str, str] | None:
    """Every option that is set, by the kernel's own list; None if there is none."""
    for path in ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        content = _read(path)
        if content and "CONFIG_" in content:
            return dict(_options(content))
    return None


def _read(path: str) -> str:
    """A file's text, unpacked; "" if it cannot be had."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES)
        if path.endswith(".gz"):
            content = zlib.decompressobj(_GZIP).decompress(content, _MOST_BYTES)
    except (OSError, zlib.error):
        return ""
    return content.decode("utf-8", "replace")


def _options(content: str) -> Iterable[tuple[str, str]]:
    for line in content.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith("CONFIG_"):
            if value == "m":
                yield f"{name}_MODULE", "1"
            else:
                yield name, "1" if value == "y" else value
