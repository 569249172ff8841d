"""The system calls that tracing needs: bpf(2), perf_event_open(2), and the memory they share.

Input: numbers, bytes and descriptors. Output: descriptors, bytes, mappings; every refusal is a typed
error with the errno, words, and what to do about it. Nothing here knows a spec or a handle.

Invariant: a descriptor returned here is owned by the caller; one opened by a call that fails is closed
before the error leaves. Descriptors are close-on-exec.

cffi is used in ABI mode: the C library of the running process is opened and `syscall` is declared with
six long arguments. It is variadic in C, but for integers and pointers the x86-64 and the aarch64 Linux
procedure call standards pass variadic and named arguments alike, and libc's syscall copies all six.

Memory order: a ring's producer writes the record, then the head; the reader must load the head before
the record, and finish with the record before it stores the tail. x86-64 keeps loads in order and
does not move a store before an earlier load, and cffi reads and writes an aligned 64-bit word with
one move, so there plain accesses are right (Intel SDM vol. 3A, 8.2.2). On weaker machines
load_acquire and store_release go through an uncontended mutex twice, whose release and acquire order
everything before with everything after.

Source: include/uapi/linux/bpf.h, include/uapi/linux/perf_event.h; man bpf(2), perf_event_open(2)."""

from __future__ import annotations

import errno
import functools
import importlib
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import cffi

from bcc_py.cache import cached
from bcc_py.errors import AttachError, BpfError, KeyNotFound, LoadError, MapError, NotSupportedError, VerifierError
from bcc_py.kernel import RunStats, TestRun
from cfront.uapi import AttachType

__all__ = [
    "Mapping", "btf_load", "close", "device_link", "enable_stats", "ioctl", "is_linux", "kernel_name", "link_refusal",
    "map_batch", "map_contains", "map_create", "map_delete", "map_freeze", "map_info", "map_info_id", "map_lookup", "map_next_key", "map_take", "map_update", "map_write_batch",
    "obj_get", "obj_pin", "online_cpus", "perf_event_attr", "perf_event_open", "perf_link", "perf_set_bpf", "possible_cpus", "probe_event_open", "prog_attach", "prog_detach", "prog_load",
    "prog_load_with_log", "prog_stats", "prog_test_run", "raw_tracepoint_open",
]

# enum bpf_cmd
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY, _PROG_LOAD = range(6)
_OBJ_PIN, _OBJ_GET, _PROG_ATTACH, _PROG_DETACH = 6, 7, 8, 9
# how much a packet may grow in a test run, and the longest context that comes back from one
_PACKET_GROWTH, _CONTEXT_BYTES = 20480, 256
_PROG_TEST_RUN, _OBJ_GET_INFO, _RAW_TRACEPOINT_OPEN, _BTF_LOAD, _MAP_FREEZE, _LINK_CREATE = 10, 15, 17, 18, 22, 28
_MAP_TAKE, _BATCH_LOOKUP, _BATCH_TAKE, _BATCH_UPDATE, _BATCH_DELETE = 21, 24, 25, 26, 27
_ENABLE_STATS, _STATS_RUN_TIME = 32, 0
_BPF_PERF_EVENT = 41  # the attach type of a link with a perf event

# PERF_EVENT_IOC_*: _IO('$', n), and _IOW('$', 8, __u32)
IOC_ENABLE, IOC_DISABLE, IOC_SET_BPF = 0x2400, 0x2401, 0x40042408
_PERF_FLAG_FD_CLOEXEC = 8

# (bpf, perf_event_open) by machine
_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241), "riscv64": (280, 241), "loongarch64": (280, 241)}
_STRONG_ORDER = frozenset({"x86_64"})

_LOG_BYTES = 1 << 18
_MAX_LOG_BYTES = 1 << 26  # the kernel takes up to UINT_MAX / 4
_NAME_BYTES = 15  # BPF_OBJ_NAME_LEN - 1

_PRIVILEGE_HINT = "run as root or with CAP_BPF and CAP_PERFMON, or use --kernel sim"

_CDEF = """
long syscall(long number, long a, long b, long c, long d, long e, long f);
void *mmap(void *address, size_t length, int prot, int flags, int fd, long offset);
int munmap(void *address, size_t length);
int pthread_mutex_lock(void *mutex);
int pthread_mutex_unlock(void *mutex);

struct map_create_attr { uint32_t type, key_size, value_size, max_entries, flags, inner_fd, numa_node; char name[16];
    uint32_t ifindex, btf_fd, key_type, value_type, vmlinux_value_type; uint64_t extra; };
struct map_elem_attr { uint32_t fd; const void *key; const void *value; uint64_t flags; };
struct map_batch_attr { uint64_t in_batch, out_batch, keys, values; uint32_t count, fd; uint64_t elem_flags, flags; };
struct prog_load_attr { uint32_t type, insn_count; uint64_t insns, license; uint32_t log_level, log_size;
    uint64_t log_buf; uint32_t kern_version, flags; char name[16]; uint32_t ifindex, expected_attach_type, btf_fd,
    func_info_size; uint64_t func_info; uint32_t func_info_count, line_info_size; uint64_t line_info;
    uint32_t line_info_count, attach_btf_id, attach_fd, core_relo_count; uint64_t fd_array, core_relos;
    uint32_t core_relo_size, log_true_size; };
struct test_run_attr { uint32_t fd, retval, data_size_in, data_size_out; uint64_t data_in, data_out;
    uint32_t repeat, duration, ctx_size_in, ctx_size_out; uint64_t ctx_in, ctx_out; uint32_t flags, cpu, batch_size; };
struct obj_attr { uint64_t path; uint32_t fd, flags; };
struct info_attr { uint32_t fd, size; uint64_t info; };
struct stats_attr { uint32_t type; };
struct raw_tp_attr { uint64_t name; uint32_t fd; uint64_t cookie; };
struct perf_link_attr { uint32_t program_fd, event_fd, attach_type, flags; uint64_t cookie; };
struct prog_attach_attr { uint32_t target_fd, program_fd, attach_type, flags, replace_fd; };
struct btf_load_attr { uint64_t btf, log_buf; uint32_t size, log_size, log_level, log_true_size; };
"""


def is_linux() -> bool:
    """Whether this process runs on Linux at all."""
    return sys.platform.startswith("linux")


@functools.cache
def _c() -> tuple[Any, Any, int, int]:
    """cffi's FFI, the C library, and the numbers of bpf(2) and perf_event_open(2)."""
    if not is_linux():
        raise NotSupportedError(
            f"calling bpf(2): this is {platform.system() or 'not Linux'} (use --kernel sim)", "linux")
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None:
        raise NotSupportedError(
            f"calling bpf(2): its number on {platform.machine()} is not known (use --kernel sim)", "linux")
    made: dict[str, Any] = {}
    exec(cached("ffi", (cffi.__version__, _CDEF), _declared), made)
    ffi = made["ffi"]
    return ffi, ffi.dlopen(None), *numbers


def _declared() -> bytes:
    """The source of an FFI with what _CDEF declares: parsing C takes 8 ms, running this a tenth of that."""
    ffi = cffi.FFI()
    ffi.cdef(_CDEF)
    ffi.set_source("calls", None)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "calls.py")
        importlib.import_module("cffi.recompiler").make_py_source(ffi, "calls", path)
        with open(path, "rb") as file:
            return file.read()


def _address(pointer: Any) -> int:
    return int(_c()[0].cast("uintptr_t", pointer))


def _bpf(command: int, attr: Any) -> int:
    """bpf(2); the result, or minus errno."""
    ffi, lib, number, _ = _c()
    result = int(lib.syscall(number, command, int(ffi.cast("uintptr_t", attr)), ffi.sizeof(attr[0]), 0, 0, 0))
    return -ffi.errno if result < 0 else result


def _words(error: int) -> str:
    return f"{os.strerror(error)} (errno {error})"


def _no_privilege(doing: str, error: int) -> NotSupportedError:
    return NotSupportedError(f"{doing}: {_words(error)} ({_PRIVILEGE_HINT})", "bpf")


def close(fd: int) -> None:
    """Closes a descriptor that the caller owns; one that is closed already is left alone."""
    try:
        os.close(fd)
    except OSError:
        pass


def _cpu_list(name: str) -> tuple[int, ...]:
    try:
        with open(f"/sys/devices/system/cpu/{name}", encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return tuple(range(os.cpu_count() or 1))
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


@functools.cache
def possible_cpus() -> int:
    """How many slots a per-CPU map's value has: the highest possible CPU's number, plus one."""
    return max(_cpu_list("possible")) + 1


def online_cpus() -> tuple[int, ...]:
    """The CPUs that run now."""
    return _cpu_list("online")


# ---- maps ----


def map_create(
    type: int, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = "", *,
    btf_fd: int = 0, key_type: int = 0, value_type: int = 0, inner_fd: int = 0, extra: int = 0, kernel_value_type: int = 0,
) -> int:
    """A new map's descriptor. Sizes in bytes; extra: map_extra; kernel_value_type: of vmlinux's BTF; name: cut to 15 characters of [A-Za-z0-9_.].

    Raises MapError with the errno, NotSupportedError where bpf(2) is not permitted.
    Source: kernel/bpf/syscall.c, map_create."""
    ffi = _c()[0]
    attr = ffi.new("struct map_create_attr *", {
        "type": type, "key_size": key_size, "value_size": value_size, "max_entries": max_entries, "flags": flags,
        "inner_fd": inner_fd, "name": kernel_name(name), "btf_fd": btf_fd, "key_type": key_type,
        "value_type": value_type, "vmlinux_value_type": kernel_value_type, "extra": extra})
    fd = _bpf(_MAP_CREATE, attr)
    if fd >= 0:
        return fd
    doing = f"creating map {name or type}"
    if -fd == errno.EPERM:
        raise _no_privilege(doing, -fd)
    hint = {errno.EINVAL: f" (type {type}, key {key_size} bytes, value {value_size} bytes, {max_entries} entries: this"
                          " kernel does not take the combination)",
            errno.E2BIG: " (too many entries or bytes for this kernel)",
            errno.ENOMEM: " (not enough memory, or over the memory lock limit: ulimit -l)"}.get(-fd, "")
    raise MapError(doing + hint, name, -fd)


def kernel_name(name: str) -> bytes:
    """name as the kernel takes it: at most 15 of [A-Za-z0-9_.], others as _."""
    cut = "".join(one if one.isascii() and (one.isalnum() or one in "_.") else "_" for one in name)
    return cut[:_NAME_BYTES].encode("ascii")


def map_lookup(fd: int, key: bytes, value_size: int, name: str = "", flags: int = 0) -> bytes | None:
    """The value_size bytes stored at key, or None. value_size: of all CPUs together for per-CPU maps.

    key and value_size are the map's own sizes, or memory is overrun: callers check."""
    return _map_read(_MAP_LOOKUP, "looking up in", fd, key, value_size, name, flags)


def map_take(fd: int, key: bytes, value_size: int, name: str = "", flags: int = 0) -> bytes | None:
    """The same, and the key is deleted."""
    return _map_read(_MAP_TAKE, "taking out of", fd, key, value_size, name, flags)


def map_contains(fd: int, value: bytes, name: str = "") -> bool:
    """Whether a bloom filter may hold value."""
    ffi = _c()[0]
    result = _bpf(_MAP_LOOKUP, ffi.new("struct map_elem_attr *", (fd, ffi.NULL, ffi.from_buffer(value), 0)))
    if result < 0 and result != -errno.ENOENT:
        raise MapError(f"looking up in map {name or fd}", name, -result)
    return result >= 0


def _map_read(command: int, doing: str, fd: int, key: bytes, size: int, name: str, flags: int) -> bytes | None:
    ffi = _c()[0]
    value = ffi.new("char[]", size or 1)
    result = _bpf(command, ffi.new("struct map_elem_attr *", (fd, _key_of(key), value, flags)))
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise MapError(f"{doing} map {name or fd}", name, -result)
    return bytes(ffi.buffer(value, size))


def _key_of(key: bytes | None) -> Any:
    """Where the key lies, for as long as the caller keeps it; a map without keys is given none."""
    ffi = _c()[0]
    return ffi.from_buffer(key) if key else ffi.NULL


def map_update(fd: int, key: bytes, value: bytes, flags: int = 0, name: str = "") -> None:
    """Stores value at key; flags: BPF_ANY 0, BPF_NOEXIST 1, BPF_EXIST 2."""
    ffi = _c()[0]
    attr = ffi.new("struct map_elem_attr *", (fd, _key_of(key), ffi.from_buffer(value), flags & (1 << 64) - 1))
    result = _bpf(_MAP_UPDATE, attr)
    if result < 0:
        hint = " (the map is full)" if -result == errno.E2BIG else ""
        raise MapError(f"updating map {name or fd}{hint}", name, -result)


def map_delete(fd: int, key: bytes, name: str = "") -> None:
    """Removes key. Raises KeyNotFound if it is not there."""
    ffi = _c()[0]
    result = _bpf(_MAP_DELETE, ffi.new("struct map_elem_attr *", (fd, _key_of(key), ffi.NULL, 0)))
    if result == -errno.ENOENT:
        raise KeyNotFound(f"deleting from map {name or fd}: no such key {key.hex()}", name, key)
    if result < 0:
        raise MapError(f"deleting from map {name or fd}", name, -result)


def map_next_key(fd: int, key: bytes | None, key_size: int, name: str = "") -> bytes | None:
    """The key after key (None: the first), or None at the end. A key that is gone starts again."""
    ffi = _c()[0]
    following = ffi.new("char[]", max(key_size, 1))
    result = _bpf(_MAP_NEXT_KEY, ffi.new("struct map_elem_attr *", (fd, _key_of(key), following, 0)))
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise MapError(f"walking map {name or fd}", name, -result)
    return bytes(ffi.buffer(following, key_size))


def map_batch(
    fd: int, cursor: bytes | None, count: int, key_size: int, value_size: int, is_delete: bool, name: str = "",
) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    """At most count rows, and where the next batch goes on (None: this was the last); is_delete: and out of the map.

    key_size and value_size are the map's own sizes, as for map_lookup. Raises MapError: ENOSPC where the rows that go
    together are more than count."""
    ffi = _c()[0]
    cursor_bytes = max(key_size, 4)
    before, after = ffi.new("char[]", (cursor or b"").ljust(cursor_bytes, b"\0")), ffi.new("char[]", cursor_bytes)
    keys, values = ffi.new("char[]", max(count * key_size, 1)), ffi.new("char[]", max(count * value_size, 1))
    attr = ffi.new("struct map_batch_attr *", (
        _address(before) if cursor is not None else 0, _address(after), _address(keys), _address(values), count, fd, 0, 0))
    result = _bpf(_BATCH_TAKE if is_delete else _BATCH_LOOKUP, attr)
    if result < 0 and -result != errno.ENOENT:
        raise MapError(f"reading rows of map {name or fd}", name, -result)
    all_keys, all_values = bytes(ffi.buffer(keys, attr.count * key_size)), bytes(ffi.buffer(values, attr.count * value_size))
    rows = [(all_keys[at * key_size : (at + 1) * key_size], all_values[at * value_size : (at + 1) * value_size])
            for at in range(attr.count)]
    return rows, None if result < 0 else bytes(ffi.buffer(after, cursor_bytes))


def map_write_batch(fd: int, keys: Sequence[bytes], values: Sequence[bytes] | None, flags: int = 0, name: str = "") -> None:
    """Stores the values at the keys; values None: deletes the keys. Rows before one that fails are done."""
    ffi = _c()[0]
    key_memory, value_memory = ffi.from_buffer(b"".join(keys)), ffi.from_buffer(b"".join(values or ()))
    attr = ffi.new("struct map_batch_attr *", (0, 0, _address(key_memory), _address(value_memory), len(keys), fd, flags, 0))
    result = _bpf(_BATCH_DELETE if values is None else _BATCH_UPDATE, attr)
    doing = "deleting from" if values is None else "updating"
    if values is None and result == -errno.ENOENT:
        raise KeyNotFound(f"deleting from map {name or fd}: no such key {keys[attr.count].hex()}", name, keys[attr.count])
    if result < 0:
        raise MapError(f"{doing} map {name or fd}", name, -result)


def map_info_id(fd: int) -> int:
    """The number under which the kernel lists the object (struct bpf_map_info and bpf_prog_info: id is the second
    word of both), 0 if it does not say."""
    ffi = _c()[0]
    info = ffi.new("uint32_t[64]")
    attr = ffi.new("struct info_attr *", (fd, 8, _address(info)))
    return int(info[1]) if _bpf(_OBJ_GET_INFO, attr) >= 0 else 0


def map_info(fd: int) -> tuple[int, int, int, int, int]:
    """(type, key bytes, value bytes, entries, flags) of a map. Raises MapError.

    Source: struct bpf_map_info, in which the id stands behind the type."""
    ffi = _c()[0]
    info = ffi.new("uint32_t[64]")
    attr = ffi.new("struct info_attr *", (fd, ffi.sizeof(info), _address(info)))
    result = _bpf(_OBJ_GET_INFO, attr)
    if result < 0:
        raise MapError(f"asking what map {fd} is", "", -result)
    return int(info[0]), int(info[2]), int(info[3]), int(info[4]), int(info[5])


def prog_stats(fd: int, name: str) -> RunStats:
    """How often a program ran, and for how long, while somebody had statistics on. Raises LoadError.

    Source: struct bpf_prog_info, whose words 24 and 25 of 64 bits are run_time_ns and run_cnt."""
    ffi = _c()[0]
    info = ffi.new("uint64_t[26]")
    attr = ffi.new("struct info_attr *", (fd, ffi.sizeof(info), _address(info)))
    result = _bpf(_OBJ_GET_INFO, attr)
    if result < 0:
        raise LoadError(f"asking how often program {name} ran: {_words(-result)}", name, -result)
    return RunStats(int(info[25]), int(info[24]))


def enable_stats() -> int:
    """A descriptor; while it is open, the kernel counts runs and their time. Raises NotSupportedError."""
    result = _bpf(_ENABLE_STATS, _c()[0].new("struct stats_attr *", (_STATS_RUN_TIME,)))
    if result == -errno.EINVAL:
        raise NotSupportedError("counting runs: this kernel cannot", "BPF_ENABLE_STATS", "5.8")
    if result < 0:
        raise _no_privilege("counting runs", -result)
    return result


def obj_pin(fd: int, path: str, name: str = "") -> None:
    """Gives the object a path in a BPF file system. Raises MapError, whose errno is EEXIST where something is there."""
    ffi = _c()[0]
    text = ffi.new("char[]", os.fsencode(path))
    result = _bpf(_OBJ_PIN, ffi.new("struct obj_attr *", (_address(text), fd, 0)))
    if result < 0:
        hint = " (not in a BPF file system? mount -t bpf bpf /sys/fs/bpf)" if -result in (errno.EPERM, errno.EINVAL) else ""
        raise MapError(f"pinning map {name or fd} at {path}{hint}", name, -result)


def obj_get(path: str, name: str = "") -> int:
    """A descriptor of what is pinned at path, -1 if nothing is. Raises MapError."""
    ffi = _c()[0]
    text = ffi.new("char[]", os.fsencode(path))
    result = _bpf(_OBJ_GET, ffi.new("struct obj_attr *", (_address(text), 0, 0)))
    if result < 0 and -result not in (errno.ENOENT, errno.ENOTDIR):
        raise MapError(f"opening map {name} pinned at {path}", name, -result)
    return max(result, -1)


def btf_load(btf: bytes) -> int:
    """A descriptor of BTF given to the kernel. Raises LoadError; NotSupportedError if not permitted."""
    ffi = _c()[0]
    memory, log = ffi.from_buffer(btf), ffi.new("char[]", 1 << 16)
    attr = ffi.new("struct btf_load_attr *", (_address(memory), 0, len(btf), 0, 0, 0))
    fd = _bpf(_BTF_LOAD, attr)
    if fd >= 0:
        return fd
    if -fd == errno.EPERM:
        raise _no_privilege("loading BTF", -fd)
    attr.log_buf, attr.log_size, attr.log_level = _address(log), 1 << 16, 1
    again = _bpf(_BTF_LOAD, attr)
    if again >= 0:
        return again
    words = _log_text(ffi, log).strip().rpartition("\n")[2]
    raise LoadError(f"loading BTF{': ' + words if words else ''}", "", -fd)


# ---- programs ----


def prog_load(
    type: int, insns: bytes, *, license: bytes = b"GPL", log_level: int = 0, name: str = "", flags: int = 0,
    expected_attach_type: int = 0, attach_btf_id: int = 0, attach_fd: int = 0, btf_fd: int = 0,
    func_info: bytes = b"", line_info: bytes = b"",
) -> int:
    """A loaded program's descriptor. insns: 8 bytes each; func_info: 8 bytes a record, line_info: 16.

    Raises VerifierError with the whole log in .log (of level log_level, or 1), LoadError where the kernel
    refuses without a word, NotSupportedError where bpf(2) or the program's type is not permitted.
    Source: kernel/bpf/syscall.c, bpf_prog_load."""
    return prog_load_with_log(
        type, insns, license=license, log_level=log_level, name=name, flags=flags,
        expected_attach_type=expected_attach_type, attach_btf_id=attach_btf_id, attach_fd=attach_fd, btf_fd=btf_fd,
        func_info=func_info, line_info=line_info)[0]


def prog_load_with_log(
    type: int, insns: bytes, *, license: bytes = b"GPL", log_level: int = 1, name: str = "", flags: int = 0,
    expected_attach_type: int = 0, attach_btf_id: int = 0, attach_fd: int = 0, btf_fd: int = 0,
    func_info: bytes = b"", line_info: bytes = b"",
) -> tuple[int, str]:
    """prog_load's descriptor, and the verifier's log ("" at log_level 0; 2 tells every instruction's state)."""
    ffi = _c()[0]
    if not insns or len(insns) % 8:
        raise LoadError(f"loading program {name}: {len(insns)} bytes are not instructions of 8 bytes", name)
    held = [ffi.from_buffer(one) for one in (insns, license + b"\0", func_info, line_info)]
    attr = ffi.new("struct prog_load_attr *", {
        "type": type, "insn_count": len(insns) // 8, "insns": _address(held[0]), "license": _address(held[1]),
        "flags": flags, "name": kernel_name(name), "expected_attach_type": expected_attach_type,
        "attach_btf_id": attach_btf_id, "attach_fd": attach_fd, "btf_fd": btf_fd})
    if func_info:
        attr.func_info_size, attr.func_info, attr.func_info_count = 8, _address(held[2]), len(func_info) // 8
    if line_info:
        attr.line_info_size, attr.line_info, attr.line_info_count = 16, _address(held[3]), len(line_info) // 16
    fd, log = _load_with_log(attr, log_level) if log_level else (_load(attr), "")
    if fd < 0 and not log_level and -fd != errno.EPERM:
        fd, log = _load_with_log(attr, 1)
    if fd < 0:
        raise _load_error(name, -fd, log, type)
    return fd, log


def _load(attr: Any) -> int:
    """BPF_PROG_LOAD, again a few times on EAGAIN (the verifier was interrupted by a signal)."""
    result = -errno.EAGAIN
    for _ in range(6):
        result = _bpf(_PROG_LOAD, attr)
        if result != -errno.EAGAIN:
            break
    return result


def _load_with_log(attr: Any, log_level: int) -> tuple[int, str]:
    ffi = _c()[0]
    size = _LOG_BYTES
    while True:
        log = ffi.new("char[]", size)
        attr.log_level, attr.log_size, attr.log_buf = log_level, size, _address(log)
        result = _load(attr)
        if result != -errno.ENOSPC or size >= _MAX_LOG_BYTES:
            return result, _log_text(ffi, log)
        size *= 4


def _log_text(ffi: Any, log: Any) -> str:
    return bytes(ffi.string(log)).decode("utf-8", "replace")


def _load_error(name: str, error: int, log: str, type: int) -> BpfError:
    """The error for a refused load; a log without a sentence (only statistics) counts as none."""
    doing = f"loading program {name}".rstrip()
    has_words = any(line and not line.startswith("processed ") for line in log.splitlines())
    if has_words:
        sentence = _last_words(log)
        return VerifierError(f"{doing}: {sentence}", name, log=log, errno=error, sentence=sentence)
    if error in (errno.EPERM, errno.EACCES):
        return _no_privilege(f"{doing} (type {type})", error)
    if error == errno.E2BIG:
        return LoadError(f"{doing}: too many instructions", name, error)
    return LoadError(doing, name, error)


def _last_words(log: str) -> str:
    """The verifier's sentence: its last line that is neither an instruction, a state nor statistics."""
    for line in reversed(log.splitlines()):
        text = line.strip()
        if text and not text.startswith(("processed ", "verification time", "stack depth", "max_states", "cur state:", "old state:")):
            return text
    return "refused"


def prog_test_run(fd: int, data: bytes = b"", ctx: bytes = b"", repeat: int = 1, *, data_out_bytes: int | None = None) -> TestRun:
    """Runs a loaded program on data and ctx. data_out_bytes: room for what it leaves of the data; by default as much
    as a packet can grow to.

    Raises LoadError with the errno (EINVAL: the size of data or ctx; ENOTSUPP 524: a type that has no test run)."""
    ffi = _c()[0]
    room = (len(data) + _PACKET_GROWTH if data else 0) if data_out_bytes is None else data_out_bytes
    data_out, ctx_out = ffi.new("char[]", max(room, 1)), ffi.new("char[]", len(ctx) + _CONTEXT_BYTES)
    # a SYSCALL program's context comes back in place
    held = ffi.from_buffer(data), ffi.new("char[]", ctx)
    attr = ffi.new("struct test_run_attr *", {"fd": fd, "repeat": repeat})
    if data:
        attr.data_size_in, attr.data_in, attr.data_size_out, attr.data_out = len(data), _address(held[0]), room, _address(data_out)
    if ctx:
        attr.ctx_size_in, attr.ctx_in = len(ctx), _address(held[1])
        # a raw tracepoint's arguments are not given back, and the kernel refuses room for them
        attr.ctx_size_out, attr.ctx_out = len(ctx) + _CONTEXT_BYTES, _address(ctx_out)
    result = _bpf(_PROG_TEST_RUN, attr)
    is_plain = result == -errno.EINVAL and not data
    if is_plain:
        attr.ctx_size_out, attr.ctx_out, attr.repeat = 0, 0, 0
        result = _bpf(_PROG_TEST_RUN, attr)
    if result < 0:
        raise _test_run_error(-result)
    return TestRun(
        int(attr.retval), bytes(ffi.buffer(data_out, min(attr.data_size_out, room))),
        _context_after(ctx, is_plain, held[1], ctx_out, int(attr.ctx_size_out)), int(attr.duration))


def _context_after(ctx: bytes, is_plain: bool, given: Any, after: Any, after_bytes: int) -> bytes:
    if not ctx:
        return b""
    ffi = _c()[0]
    return bytes(ffi.buffer(given, len(ctx))) if is_plain else bytes(ffi.buffer(after, after_bytes))


def _test_run_error(error: int) -> BpfError:
    if error == 524:
        return NotSupportedError("running a test: this program type has none on this kernel", "prog_test_run")
    if error == errno.EPERM:
        return _no_privilege("running a test", error)
    return LoadError("running a test", "", error)


# ---- attaching ----


def link_refusal(hook: str, error: int, hint: str = "") -> BpfError:
    """The error for a hook that was refused with this errno."""
    if error in (errno.EPERM, errno.EACCES) and not hint:
        return _no_privilege(f"attaching to {hook}", error)
    return AttachError(f"attaching to {hook}{' (' + hint + ')' if hint else ''}", hook, error)


def raw_tracepoint_open(fd: int, name: str, hook: str = "", cookie: int = 0) -> int:
    """Attaches program fd to a raw tracepoint ("" for one whose target is fixed by its BTF id); closing the
    returned descriptor detaches."""
    ffi = _c()[0]
    text = ffi.new("char[]", name.encode("utf-8"))
    attr = ffi.new("struct raw_tp_attr *", (_address(text) if name else 0, fd, cookie))
    result = _bpf(_RAW_TRACEPOINT_OPEN, attr)
    if result < 0:
        hint = "this kernel has no such raw tracepoint" if -result == errno.ENOENT else ""
        raise link_refusal(hook or f"raw tracepoint {name}", -result, hint)
    return result


def perf_event_open(attr: bytes, pid: int, cpu: int, what: str, group_fd: int = -1, flags: int = 0) -> int:
    """A perf event's descriptor. attr: struct perf_event_attr, its size word included; what: for messages."""
    ffi, lib, _, number = _c()
    memory = ffi.from_buffer(attr)
    fd = int(lib.syscall(number, _address(memory), pid, cpu, group_fd, flags | _PERF_FLAG_FD_CLOEXEC, 0))
    if fd < 0:
        hint = {errno.EMFILE: "too many open files: ulimit -n", errno.ENOENT: "this kernel has no such event"}
        raise link_refusal(what, ffi.errno, hint.get(ffi.errno, ""))
    return fd


def perf_event_attr(type: int, config: int, *, sample_type: int = 0, sample_period: int = 0, wakeup_events: int = 0,
                    config1: int = 0, config2: int = 0, flags: int = 0) -> bytes:
    """struct perf_event_attr of 112 bytes (PERF_ATTR_SIZE_VER5). flags: its word of bits."""
    # wakeup_events is what matters without the `watermark` bit
    return struct.pack("<IIQQQQQIIQQQQIiQII", type, 112, config, sample_period, sample_type, 0, flags,
                       wakeup_events, 0, config1, config2, 0, 0, 0, 0, 0, 0, 0)


def probe_event_open(pmu_type: int, config: int, place: bytes, offset: int, pid: int, what: str) -> int:
    """A perf event of the kprobe PMU (place: a function) or of the uprobe PMU (place: a path) at offset bytes into it.

    pmu_type and the bits of config: from /sys/bus/event_source/devices. pid: a process, -1 for all (kprobes: for all).
    Source: kernel/events/core.c, perf_kprobe and perf_uprobe."""
    text = _c()[0].new("char[]", place)
    attr = perf_event_attr(pmu_type, config, config1=_address(text), config2=offset)
    return perf_event_open(attr, pid, 0 if pid < 0 else -1, what)


def map_freeze(fd: int, name: str = "") -> None:
    """Forbids changes from user space, after which the verifier may take the values of a read-only map as
    constants. Raises MapError."""
    result = _bpf(_MAP_FREEZE, _c()[0].new("struct info_attr *", (fd, 0, 0)))
    if result < 0:
        raise MapError(f"freezing map {name or fd}", name, -result)


def ioctl(fd: int, request: int, argument: int, what: str) -> None:
    """ioctl(2) with an integer argument."""
    ffi, lib, _, _ = _c()
    number = 16 if platform.machine() == "x86_64" else 29
    if int(lib.syscall(number, fd, request, argument, 0, 0, 0)) < 0:
        raise link_refusal(what, ffi.errno)


def perf_set_bpf(event_fd: int, program_fd: int, what: str) -> None:
    """Has program_fd run whenever the event happens, and starts the event."""
    ioctl(event_fd, IOC_SET_BPF, program_fd, what)
    ioctl(event_fd, IOC_ENABLE, 0, what)


def perf_link(event_fd: int, program_fd: int, cookie: int, what: str) -> int:
    """The descriptor of a link that has program_fd run, with this cookie, whenever the event happens; starts the event."""
    attr = _c()[0].new("struct perf_link_attr *", (program_fd, event_fd, _BPF_PERF_EVENT, 0, cookie))
    fd = _bpf(_LINK_CREATE, attr)
    if fd < 0:
        raise link_refusal(what, -fd)
    try:
        ioctl(event_fd, IOC_ENABLE, 0, what)
    except BpfError:
        close(fd)
        raise
    return fd


def device_link(program_fd: int, device: int, flags: int, what: str) -> int:
    """The descriptor of a link that has program_fd look at every packet that the device (its index) receives. flags:
    XDP_FLAGS_*_MODE. Closing it detaches."""
    attr = _c()[0].new("struct perf_link_attr *", (program_fd, device, AttachType.XDP, flags, 0))
    fd = _bpf(_LINK_CREATE, attr)
    if fd < 0:
        raise link_refusal(what, -fd, "a program is on it already" if fd in (-errno.EBUSY, -errno.EEXIST) else "")
    return fd


def prog_attach(target_fd: int, program_fd: int, type: int, flags: int, what: str) -> None:
    """Attaches a program to a control group, a socket map or the like, until prog_detach or the target's end."""
    result = _bpf(_PROG_ATTACH, _c()[0].new("struct prog_attach_attr *", (target_fd, program_fd, type, flags, 0)))
    if result < 0:
        raise link_refusal(what, -result)


def prog_detach(target_fd: int, program_fd: int, type: int, what: str) -> None:
    result = _bpf(_PROG_DETACH, _c()[0].new("struct prog_attach_attr *", (target_fd, program_fd, type, 0, 0)))
    if result < 0:
        raise link_refusal(what, -result)


# ---- shared memory ----


class Mapping:
    """Memory mapped from a descriptor. `view` is valid until close(), which is idempotent."""

    __slots__ = ("_pointer", "size", "view")

    def __init__(self, fd: int, size: int, offset: int, is_writable: bool, what: str, is_shared: bool = True) -> None:
        """Maps size bytes of fd from offset (both multiples of the page size). Raises MapError."""
        ffi, lib, _, _ = _c()
        protection = 3 if is_writable else 1  # PROT_READ | PROT_WRITE
        pointer = lib.mmap(ffi.NULL, size, protection, 1 if is_shared else 2, fd, offset)  # MAP_SHARED, MAP_PRIVATE
        if _address(pointer) == (1 << 64) - 1:
            raise MapError(f"mapping {what} ({size} bytes)", what, ffi.errno)
        self._pointer = ffi.cast("char *", pointer)
        self.size = size
        self.view = memoryview(ffi.buffer(pointer, size)).cast("B")

    def load_acquire(self, offset: int) -> int:
        """The 64-bit word at offset; reads that follow see what was written before it."""
        value = int(_c()[0].cast("uint64_t *", self._pointer + offset)[0])
        _order()
        return value

    def load_acquire_u32(self, offset: int) -> int:
        """The same, of a 32-bit word."""
        value = int(_c()[0].cast("uint32_t *", self._pointer + offset)[0])
        _order()
        return value

    def store_release(self, offset: int, value: int) -> None:
        """Writes the 64-bit word at offset after all reads before it."""
        _order()
        _c()[0].cast("uint64_t *", self._pointer + offset)[0] = value

    def close(self) -> None:
        """Unmaps."""
        if self._pointer is None:
            return
        self.view.release()
        _c()[1].munmap(self._pointer, self.size)
        self._pointer = None


@functools.cache
def _mutex() -> Any:
    """An initialised pthread_mutex_t: all zero bytes on Linux's C libraries, never more than 64 of them."""
    return None if platform.machine() in _STRONG_ORDER else _c()[0].new("uint64_t[8]")


def _order() -> None:
    mutex = _mutex()
    if mutex is not None:
        lib = _c()[1]
        for _ in range(2):
            lib.pthread_mutex_lock(mutex)
            lib.pthread_mutex_unlock(mutex)
