"""Objects that a program allocates, and the lists and trees that it keeps them in.

Input: the arguments of the kernel functions that allocate, drop, link and unlink objects. Output: the kinds of their
pointers. An object is the program's own ("alloc_ptr", with a reference to be released) until it is linked; from then on
the program may look at it ("nonown_ptr") for as long as it holds the lock of the list or tree.

Invariant: lists and trees are only touched while the lock beside them is held, and with objects of the struct, and by the
member, that their declaration names.

Source: kernel/bpf/verifier.c of Linux 6.18, __process_kf_arg_ptr_to_graph_root, __process_kf_arg_ptr_to_graph_node,
ref_convert_owning_non_owning (behaviour and sentences)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from bcc_py.verifier.domain import UNKNOWN, Pointer, Value
from bcc_py.verifier.fields import Special, special_fields, struct_fields
from bcc_py.verifier.objects import is_allocated
from bcc_py.verifier.rules import Refusal
from bcc_py.verifier.stack_objects import StackObjects
from cfront.btf import Btf
from cfront.ctype import Array, CType, Record

__all__ = ["Graphs", "Root"]

_CONTAINS = "contains:"
_LOCKS = ("bpf_spin_lock", "bpf_res_spin_lock")
_NO_LOCK = -22
# (the map's descriptor, the map's uid, ...) of the lock beside an object that the program allocated
_OWN_LOCK = (-1, 0)
# what tells locks that may fail from others: added to the descriptor
_RESILIENT, _WITH_IRQS = 1 << 40, 1 << 41
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Root:
    """What a list or a tree holds. kind: "bpf_list_head" or "bpf_rb_root"; struct: its objects'; node_off: where in them
    their node lies."""

    kind: str
    struct: str
    node_off: int


class Graphs(StackObjects):
    """How objects are owned."""

    def _is_adding(self) -> bool:
        """The path is in the function by which a tree compares two objects, when one is added."""
        names = self.program.kernel_functions
        return any(one.is_callback and names.get(one.call_slot) == "bpf_rbtree_add_impl" for one in self.state.frames)

    # ---- locks

    def _lock_argument(self, regno: int, value: Pointer, is_lock: bool) -> None:
        if self._is_adding():
            raise Refusal("can't spin_{lock,unlock} in rbtree cb")
        if not is_allocated(value):
            super()._lock_argument(regno, value, is_lock)
        else:
            self._lock_object(regno, value, is_lock)
        if not is_lock:
            self._pop_lock()
            self._forget_lent()

    def _resilient_lock_argument(self, function: str, index: int, value: Value) -> None:
        """A lock that may fail to be taken, and several of which may be held."""
        if not isinstance(value, Pointer) or value.kind not in ("map_value", "alloc_ptr"):
            raise Refusal(f"arg#{index} doesn't point to map value or allocated object")
        if is_allocated(value):
            self._own_field_at(index + 1, value, "bpf_res_spin_lock")
        else:
            self._field_at(index + 1, value, "bpf_res_spin_lock")
        state = self.state
        tag = _WITH_IRQS if function.endswith(("_irqsave", "_irqrestore")) else _RESILIENT
        place = (*_OWN_LOCK, value.id) if is_allocated(value) else (value.fd, value.uid, value.id)
        mine = (place[0] + tag, *place[1:])
        held = (*state.lower_locks, state.lock) if state.lock is not None else ()
        if "unlock" not in function:
            if any((place[0] + one, *place[1:]) in held for one in (_RESILIENT, _WITH_IRQS)):
                raise Refusal("Acquiring the same lock again, AA deadlock detected")
            state.lower_locks, state.lock = held, mine
            return
        if not held:
            raise Refusal("bpf_res_spin_unlock without taking a lock")
        if mine not in held:
            raise Refusal("bpf_res_spin_unlock of different lock")
        if state.lock != mine:
            raise Refusal("bpf_res_spin_unlock cannot be out of order")
        state.lock = None
        self._pop_lock()
        self._forget_lent()

    def _pop_lock(self) -> None:
        state = self.state
        if state.lower_locks:
            state.lower_locks, state.lock = state.lower_locks[:-1], state.lower_locks[-1]

    def _forget_lent(self) -> None:
        """What the program could look at under a lock is nothing any more."""
        nothing = UNKNOWN if self.may_leak else None
        self.state.replace(lambda one: nothing if isinstance(one, Pointer) and one.kind.startswith("nonown_") else one)

    def _lock_object(self, regno: int, value: Pointer, is_lock: bool) -> None:
        self._own_field_at(regno, value, "bpf_spin_lock")
        state, mine = self.state, (*_OWN_LOCK, value.id)
        if is_lock:
            if state.lock is not None:
                raise Refusal("Locking two bpf_spin_locks are not allowed")
            state.lock = mine
            return
        if state.lock is None:
            raise Refusal("bpf_spin_unlock without taking a lock")
        if state.lock != mine:
            raise Refusal("bpf_spin_unlock of different lock")
        state.lock = None

    def _own_field_at(self, regno: int, value: Pointer, kind: str) -> None:
        """value points to the lock of this kind in an object of the program's own. Raises Refusal."""
        if value.var is not None:
            raise Refusal(f"R{regno} doesn't have constant offset. {kind} has to be at the constant offset")
        at = [one.off for one in self._fields_of(value) if one.kind == kind]
        if not at:
            raise Refusal(f"local 'kptr' has no valid {kind}")
        if at[0] != value.off:
            raise Refusal(f"off {value.off} doesn't point to 'struct {kind}' that is at {at[0]}")

    def _check_locked(self, value: Pointer, root: str) -> None:
        """The lock beside a list or tree is held. Raises Refusal."""
        lock = self.state.lock
        first, *rest = (*_OWN_LOCK, value.id) if is_allocated(value) else (value.fd, value.uid, value.id)
        if any(lock == (first + tag, *rest) for tag in (0, _RESILIENT, _WITH_IRQS)):
            return
        off = next((one.off for one in self._fields_of(value) if one.kind in _LOCKS), _NO_LOCK)
        apart = () if lock is None else ("held lock and object are not in the same allocation",)
        raise Refusal(*apart, f"bpf_spin_lock at off={off} must be held for {root}")

    def _fields_of(self, value: Pointer) -> tuple[Special, ...]:
        if is_allocated(value):
            return struct_fields(self.program.btf, value.type)
        return special_fields(value.map) if value.map is not None else ()

    # ---- arguments

    def _dropped_argument(self, index: int, value: Value, function: str) -> Pointer:
        """An object of the program's own, which ends."""
        takers = {"alloc_ptr": "bpf_obj_drop_impl", "alloc_percpu_ptr": "bpf_percpu_obj_drop_impl"}
        if not isinstance(value, Pointer) or value.kind not in takers:
            raise Refusal(f"arg#{index} expected pointer to allocated object")
        if takers[value.kind] != function:
            raise Refusal(f"arg#{index} expected for {takers[value.kind]}()")
        if not value.ref:
            raise Refusal("allocated object must be referenced")
        return value

    def _counted_argument(self, index: int, value: Value) -> Pointer:
        """An object whose references are counted."""
        if not isinstance(value, Pointer) or not is_allocated(value):
            raise Refusal(f"arg#{index} is neither owning or non-owning ref")
        if not self._is_counted(value.type):
            raise Refusal(f"arg#{index} doesn't point to a type with bpf_refcount field")
        return value

    def _is_counted(self, struct: str) -> bool:
        return any(one.kind == "bpf_refcount" for one in struct_fields(self.program.btf, struct))

    def _root_argument(self, index: int, kind: str, value: Value) -> Root:
        """A list or a tree, in a map's value or in an object of the program's own."""
        if not isinstance(value, Pointer) or value.kind not in ("map_value", "alloc_ptr"):
            raise Refusal(f"arg#{index} expected pointer to map value or allocated object")
        if value.kind == "alloc_ptr" and not value.ref:
            raise Refusal("allocated object must be referenced")
        if value.var is not None:
            raise Refusal(f"R{index + 1} doesn't have constant offset. {kind} has to be at the constant offset")
        if value.map is not None:
            found = _root_in_map(value.map.btf, value.map.value_type, value.off)
        else:
            found = _root_in_struct(self.program.btf, value.type, value.off)
        if found is None or found.kind != kind:
            raise Refusal(f"{kind} not found at offset={value.off}")
        self._check_locked(value, kind)
        return found

    def _node_argument(self, function: str, index: int, kind: str, value: Value, root: Root) -> Pointer:
        """An object by its node: the program's own to be linked, one of a tree's to be taken out."""
        if function.endswith(("_push_front_impl", "_push_back_impl", "_add_impl")):
            if not isinstance(value, Pointer) or value.kind != "alloc_ptr":
                raise Refusal(f"arg#{index} expected pointer to allocated object")
            if not value.ref:
                raise Refusal("allocated object must be referenced")
        else:
            if not isinstance(value, Pointer) or not (value.kind.startswith("nonown_") or value.ref):
                raise Refusal(f"{function} can only take non-owning or refcounted bpf_rb_node pointer")
            if self._is_adding():
                raise Refusal(f"{function} not allowed in rbtree cb")
        self._check_node(index, kind, value, root)
        return value

    def _check_node(self, index: int, kind: str, value: Pointer, root: Root) -> None:
        if value.var is not None:
            raise Refusal(f"R{index + 1} doesn't have constant offset. {kind} has to be at the constant offset")
        if not any(one.kind == kind and one.off == value.off for one in self._fields_of(value)):
            raise Refusal(f"{kind} not found at offset={value.off}")
        if value.type != root.struct:
            raise Refusal(f"operation on {root.kind} expects arg#1 {kind} at offset={root.node_off} in struct {root.struct}, "
                          f"but arg is at offset={value.off} in struct {value.type}")
        if value.off != root.node_off:
            raise Refusal(f"arg#1 offset={value.off}, but expected {kind} at offset={root.node_off} in struct {root.struct}")

    # ---- results

    def _looked_at(self, root: Root) -> Pointer:
        """A pointer to an object's node, while the lock is held."""
        kind = "nonown_rcu_ptr" if self._is_counted(root.struct) else "nonown_ptr"
        return Pointer(kind, off=root.node_off, type=root.struct)

    def _link(self, ref: int) -> None:
        """The object with this reference is not the program's own any more."""
        def lent(value: Value) -> Value:
            if not isinstance(value, Pointer) or value.ref != ref:
                return value
            return value.named("nonown_rcu_ptr" if self._is_counted(value.type) else "nonown_ptr", value.id, 0)

        self.state.replace(lent)
        self._release(ref)


# ---- declarations


@functools.lru_cache(maxsize=256)
def _root_in_map(btf: bytes, value_type: int, off: int) -> Root | None:
    """The list or tree at off of a map's value."""
    if not btf or not value_type:
        return None
    source = Btf(btf)
    variables = source.variables(value_type)
    if not variables:
        return _find(source, source.type(value_type), off, [], 0)
    for id, start in variables:
        type = source.type(id)
        if start <= off < start + type.size:
            return _find(source, type, off - start, source.declaration_tags(id), 0)
    return None


@functools.lru_cache(maxsize=256)
def _root_in_struct(btf: bytes, struct: str, off: int) -> Root | None:
    source = Btf(btf)
    type = source.find("struct", struct)
    return _find(source, type, off, [], 0) if type is not None else None


def _find(source: Btf, type: CType, off: int, tags: list[str], depth: int) -> Root | None:
    """The root at off of type; tags: those of what has that type."""
    while isinstance(type, Array) and type.element.size:
        off %= type.element.size
        type = type.element
    if not isinstance(type, Record) or depth > _MAX_DEPTH:
        return None
    if type.name in ("bpf_list_head", "bpf_rb_root"):
        return None if off else _declared(source, type.name, tags)
    id = source.id_of(type.tag, type.name)
    for index, one in enumerate(type.fields or ()):
        if one.bit_size is None and one.offset <= off < one.offset + one.type.size:
            return _find(source, one.type, off - one.offset, source.declaration_tags(id, index) if id else [], depth + 1)
    return None


def _declared(source: Btf, kind: str, tags: list[str]) -> Root | None:
    for tag in tags:
        struct, colon, node = tag.removeprefix(_CONTAINS).partition(":")
        found = source.find("struct", struct) if colon and tag.startswith(_CONTAINS) else None
        for one in (found.fields or ()) if isinstance(found, Record) else ():
            if one.name == node:
                return Root(kind, struct, one.offset)
    return None
