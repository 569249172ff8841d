"""bcc.containers: C text that leaves out tasks that are not in the containers asked for."""

from __future__ import annotations

from typing import Any

__all__ = ["filter_by_containers"]

_NO_FILTER = "static inline int container_should_be_filtered() { return 0; }\n"
_CGROUP = """
BPF_TABLE_PINNED("hash", u64, u64, cgroupset, 1024, "CGROUP_PATH");
static inline int task_is_outside_cgroups() { u64 id = bpf_get_current_cgroup_id(); return cgroupset.lookup(&id) == NULL; }
"""
_MOUNTS = """
#include <linux/nsproxy.h>
#include <linux/mount.h>
#include <linux/ns_common.h>
BPF_TABLE_PINNED("hash", u64, u32, mount_ns_set, 1024, "MOUNT_NS_PATH");
static inline int task_is_outside_mount_namespaces()
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u64 id = task->nsproxy->mnt_ns->ns.inum;
    return mount_ns_set.lookup(&id) == NULL;
}
"""


def filter_by_containers(args: Any) -> str:
    """C text that defines container_should_be_filtered(), which is 1 for a task that is to be left out: one whose control
    group is not in the map pinned at args.cgroupmap, or whose mount namespace is not in that at args.mntnsmap. Without these
    it is 0 for all."""
    texts, tests = [], []
    cgroups, mounts = getattr(args, "cgroupmap", None), getattr(args, "mntnsmap", None)
    if cgroups:
        texts.append(_CGROUP.replace("CGROUP_PATH", cgroups))
        tests.append("task_is_outside_cgroups()")
    if mounts:
        texts.append(_MOUNTS.replace("MOUNT_NS_PATH", mounts))
        tests.append("task_is_outside_mount_namespaces()")
    if not tests:
        return _NO_FILTER
    return "".join(texts) + f"static inline int container_should_be_filtered() {{ return {' || '.join(tests)}; }}\n"
