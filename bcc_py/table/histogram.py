"""Tables as histograms: a key is a slot, or a struct of a bucket and a slot, which gives one histogram for each bucket."""

from __future__ import annotations

import abc
import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bcc_py.hist import LINEAR_SLOTS, LOG2_SLOTS, json_hist, linear_hist, log2_hist
from bcc_py.table.ctype_class import is_hidden

__all__ = ["Histograms"]


class Histograms(abc.ABC):
    """The histograms of a table."""

    Key: Any

    @abc.abstractmethod
    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        """(Key, Leaf) of every entry."""

    def print_log2_hist(
        self, val_type: str = "value", section_header: str = "Bucket ptr",
        section_print_fn: Callable[[Any], Any] | None = None, bucket_fn: Callable[[Any], Any] | None = None,
        strip_leading_zero: bool | None = None, bucket_sort_fn: Callable[[list[Any]], list[Any]] | None = None,
    ) -> None:
        """Prints a power-of-two histogram of the table: its keys are slots (BPF_HISTOGRAM and bpf_log2l), or structs of
        a bucket and a slot, which give one histogram for each bucket under a line of its own.

        val_type: the word over the ranges. section_header: the word before a bucket. section_print_fn: what to print
        for a bucket; bucket_fn: what to group it by; bucket_sort_fn: puts a list of buckets in order."""
        self._print_hist(
            lambda counts: log2_hist(counts, val_type, bool(strip_leading_zero)), LOG2_SLOTS, "print_log2_hist",
            section_header, section_print_fn, bucket_fn, bucket_sort_fn)

    def print_linear_hist(
        self, val_type: str = "value", section_header: str = "Bucket ptr",
        section_print_fn: Callable[[Any], Any] | None = None, bucket_fn: Callable[[Any], Any] | None = None,
        strip_leading_zero: bool | None = None, bucket_sort_fn: Callable[[list[Any]], list[Any]] | None = None,
    ) -> None:
        """Prints a linear histogram; the arguments as of print_log2_hist. At most LINEAR_SLOTS slots: IndexError."""
        self._print_hist(
            lambda counts: linear_hist(counts, val_type, bool(strip_leading_zero)), LINEAR_SLOTS, "print_linear_hist",
            section_header, section_print_fn, bucket_fn, bucket_sort_fn)

    def print_json_hist(
        self, val_type: str = "value", section_header: str = "Bucket ptr",
        section_print_fn: Callable[[Any], Any] | None = None, bucket_fn: Callable[[Any], Any] | None = None,
        bucket_sort_fn: Callable[[list[Any]], list[Any]] | None = None,
    ) -> None:
        """Prints a power-of-two histogram as a Python dict, one line for each bucket; the arguments as of
        print_log2_hist."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        for bucket, counts in self._sections(LOG2_SLOTS, "print_json_hist", bucket_fn, bucket_sort_fn):
            section = None
            if self._has_buckets:
                section = (section_header, section_print_fn(bucket) if section_print_fn else bucket)
            sys.stdout.write(f"{json_hist(counts, val_type, now, section)}\n")

    def _print_hist(
        self, lines: Callable[[Sequence[int]], list[str]], slots: int, caller: str, section_header: str,
        section_print_fn: Callable[[Any], Any] | None, bucket_fn: Callable[[Any], Any] | None,
        bucket_sort_fn: Callable[[list[Any]], list[Any]] | None,
    ) -> None:
        out: list[str] = []
        for bucket, counts in self._sections(slots, caller, bucket_fn, bucket_sort_fn):
            if self._has_buckets:
                shown = f"{section_print_fn(bucket)}" if section_print_fn else f"{bucket!r}"
                out.append(f"\n{section_header} = {shown}")
            out += lines(counts)
        sys.stdout.write("".join(f"{line}\n" for line in out))

    @property
    def _has_buckets(self) -> bool:
        return issubclass(self.Key, ctypes.Structure)

    def _sections(
        self, slots: int, caller: str, bucket_fn: Callable[[Any], Any] | None,
        bucket_sort_fn: Callable[[list[Any]], list[Any]] | None,
    ) -> list[tuple[Any, list[int]]]:
        """(bucket, counts) in order; one without a bucket where keys are slots."""
        if not self._has_buckets:
            counts = [0] * slots
            for key, leaf in self.iteritems():
                _count(counts, key.value, leaf, caller)
            return [(None, counts)]
        counts_of = self._counts_by_bucket(slots, caller, bucket_fn)
        buckets = [bucket for bucket, _ in counts_of.values()]
        return [(one, counts_of[_identity(one)][1]) for one in (bucket_sort_fn(buckets) if bucket_sort_fn else buckets)]

    def _counts_by_bucket(
        self, slots: int, caller: str, bucket_fn: Callable[[Any], Any] | None
    ) -> dict[Any, tuple[Any, list[int]]]:
        """(bucket, its counts) by what identifies the bucket. The first member of the key is the bucket, the next one
        that is not padding is the slot."""
        bucket_name, slot_name = [name for name, *_ in self.Key._fields_ if not is_hidden(name)][:2]
        found: dict[Any, tuple[Any, list[int]]] = {}
        for key, leaf in self.iteritems():
            bucket = getattr(key, bucket_name)
            bucket = bucket_fn(bucket) if bucket_fn else bucket
            _, counts = found.setdefault(_identity(bucket), (bucket, [0] * slots))
            _count(counts, getattr(key, slot_name), leaf, caller)
        return found


def _identity(bucket: Any) -> Any:
    """What makes two buckets the same: the bytes of a ctypes value, else the value."""
    return bytes(bucket) if isinstance(bucket, (ctypes.Structure, ctypes.Union, ctypes.Array)) else bucket


def _count(counts: list[int], slot: int, leaf: Any, caller: str) -> None:
    if not 0 <= slot < len(counts):
        raise IndexError(f"Index in {caller}() of {slot} exceeds max of {len(counts)}.")
    counts[slot] = sum(leaf) if isinstance(leaf, ctypes.Array) else leaf.value if hasattr(leaf, "value") else leaf
