"""What every table has: a live map's names and numbers, and the C types and ctypes classes of its keys and values.

Invariant: a Key, a Leaf and an sLeaf have exactly the map's sizes, so bytes and instances are interchangeable."""

from __future__ import annotations

import ctypes
import importlib
import operator
from typing import Any

from bcc_py.errors import BpfError, MapError
from bcc_py.kernel import Kernel, Map
from bcc_py.table.ctype_class import ctypes_from_ctype
from cfront.ctype import UCHAR, UINT, ULLONG, USHORT, Array, CType

__all__ = ["MapView", "descriptor_of", "number_of"]

_PLAIN = {1: UCHAR, 2: USHORT, 4: UINT, 8: ULLONG}
_SHOWN = 4  # entries in repr()


class MapView:
    """A map from Python. Key, Leaf: ctypes classes (of a per-CPU table, Leaf is an array of sLeaf, one for each CPU). bpf:
    the BPF object it belongs to, None if there is none; map_id: its number in that object.

    key_type, leaf_type: the C types, None if they are not known. key_class, leaf_class: ctypes classes that the user wants
    instead of those that the C types give; MapError where they have another size."""

    def __init__(
        self, map: Map, kernel: Kernel, key_type: CType | None = None, leaf_type: CType | None = None, *,
        key_class: Any = None, leaf_class: Any = None, bpf: Any = None, map_id: int = 0,
    ) -> None:
        self.map = map
        self.kernel = kernel
        self.bpf = bpf
        self.map_id = map_id
        self._key_type = key_type or _plain(map.spec.key_size)
        self._leaf_type = leaf_type or _plain(map.spec.value_size)
        self.Key = self._class_for("key", self._key_type, key_class, map.spec.key_size)
        self.sLeaf = self._class_for("value", self._leaf_type, leaf_class, map.spec.value_size)
        self.Leaf: Any = self.sLeaf

    def _class_for(self, what: str, type: CType, wanted: Any, size: int) -> Any:
        if wanted is None:
            return ctypes_from_ctype(type)
        if size and ctypes.sizeof(wanted) != size:
            raise MapError(
                f"opening table {self.name}: a {what} of type {wanted.__name__} has {ctypes.sizeof(wanted)} bytes (the map's have {size})",
                self.name)
        return wanted

    @property
    def name(self) -> str:
        return self.map.spec.name

    @property
    def map_fd(self) -> int:
        return self.map.fd

    def get_fd(self) -> int:
        return self.map.fd

    @property
    def ttype(self) -> int:
        """The kernel's number of the map's type."""
        return int(self.map.spec.type)

    @property
    def flags(self) -> int:
        return self.map.spec.flags

    @property
    def max_entries(self) -> int:
        return self.map.spec.max_entries

    # keys and leaves

    def _key_bytes(self, key: Any) -> bytes:
        return self._bytes_of(key, self.Key, "key")

    def _leaf_bytes(self, leaf: Any) -> bytes:
        return self._bytes_of(leaf, self.Leaf, "value")

    def _leaf(self, value: bytes) -> Any:
        return self.Leaf.from_buffer_copy(value)

    def _bytes_of(self, given: Any, kind: Any, what: str) -> bytes:
        """The bytes of a key or value given as a ctypes instance, as bytes, or as a number where kind is one. A number of
        another width is converted as C does it."""
        if type(given) is kind:
            return bytes(given)
        number = number_of(given)
        if number is not None and issubclass(kind, ctypes._SimpleCData) and number_of(kind()) is not None:
            raw = bytes(kind(number))
        elif isinstance(given, (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData, bytes, bytearray)):
            raw = bytes(given)
        else:
            raise TypeError(f"a {what} of table {self.name} is a {kind.__name__}, not {type(given).__name__}")
        if len(raw) != ctypes.sizeof(kind):
            raise MapError(f"using map {self.name}: a {what} of {len(raw)} bytes (it takes {ctypes.sizeof(kind)})", self.name)
        return raw

    # text

    def key_sprintf(self, key: Any) -> bytes:
        """The key as text: `0x1`, `{ 0x1 "sh" }`."""
        return _text_of(self._key_type, self._key_bytes(key))

    def leaf_sprintf(self, leaf: Any) -> bytes:
        """The leaf as text; of a per-CPU table, the leaf of one CPU."""
        return _text_of(self._leaf_type, self._bytes_of(leaf, self.sLeaf, "value"))

    def key_scanf(self, key_str: str | bytes) -> Any:
        """The Key that text stands for. Raises MapError."""
        return self.Key.from_buffer_copy(self._scanned(self._key_type, key_str, "key"))

    def leaf_scanf(self, leaf_str: str | bytes) -> Any:
        """The leaf that text stands for. Raises MapError."""
        return self.sLeaf.from_buffer_copy(self._scanned(self._leaf_type, leaf_str, "leaf"))

    def _scanned(self, type: CType, text: str | bytes, what: str) -> bytes:
        raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        value: bytes | None = _texts().value_of_text(type, raw)
        if value is None:
            form = _text_of(type, bytes(type.size)).decode()
            raise MapError(f"Could not scanf {what}: {raw[:80]!r} is no {what} of table {self.name} (it looks like {form[:80]})", self.name)
        return value

    # for people

    def _first_contents(self, count: int) -> list[str]:
        """The first entries as repr() shows them, at most count."""
        return []

    def __repr__(self) -> str:
        head = f"{type(self).__name__} {self.name!r}: {self.map.spec.type.name.lower()}"
        entries = f", {self.max_entries} entries" if self.max_entries else ""
        try:
            rows = self._first_contents(_SHOWN + 1)
        except BpfError:  # closed, or not to be read from here
            rows = []
        more = ["..."] if len(rows) > _SHOWN else []
        contents = f" {{{', '.join(rows[:_SHOWN] + more)}}}" if rows else ""
        return f"<{head}{entries}{contents}>"


def _texts() -> Any:
    """bcc_py.table.text, which few scripts need."""
    return importlib.import_module("bcc_py.table.text")


def _text_of(type: CType, value: bytes) -> bytes:
    made: bytes = _texts().text_of_value(type, value)
    return made


def _plain(size: int) -> CType:
    """The type of bytes of which nothing else is known: an integer of that size, or an array of bytes."""
    return _PLAIN.get(size) or Array(UCHAR, size)


def number_of(given: Any) -> int | None:
    """The number that is given, as an int or a ctypes integer; None for anything else."""
    value = given.value if isinstance(given, ctypes._SimpleCData) else given
    return operator.index(value) if hasattr(value, "__index__") else None


def descriptor_of(given: Any) -> Any:
    """The descriptor of what has one (a program, a table, a file, a socket); anything else as it is."""
    for name in ("fd", "map_fd"):
        found = getattr(given, name, None)
        if isinstance(found, int):
            return found
    fileno = getattr(given, "fileno", None)
    return fileno() if callable(fileno) else given
