"""The last known state of everything the operator looks at, fed by watches, by complete lists and by our own writes.

These three overtake one another: a watch may deliver an object older than the answer to our own write, and a list taken
before a deletion may arrive after it. Every object carries a resource version, and the API server's are comparable
integers (KEP-5504), so an older state never replaces a newer one; a deleted UID stays deleted.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from berth_api import kinds, logs
from berth_api.client import ObjectList
from berth_api.kinds import Kind

_LOGGER = logging.getLogger(__name__)
_TOMBSTONES = 20_000
Key = tuple[str, str]
"""Namespace and name; the namespace of a cluster-wide object is empty."""
T = TypeVar("T")


@dataclass(frozen=True)
class Change(Generic[T]):
    """An object appeared (`old` is None), changed, or vanished (`new` is None)."""

    key: Key
    old: T | None
    new: T | None


@dataclass(frozen=True)
class _Entry(Generic[T]):
    version: int
    uid: str
    value: T


class Collection(Generic[T]):
    """All objects of one kind, read into `T`. What `read` cannot read (ValueError) is logged and left alone.

    A listener that fails is logged and counted: no object that anybody wrote may end whoever leads, and all after him.
    Where it has a namespace or a label selector, it is of those only that are in there and that it selects.
    """

    def __init__(
        self, kind: Kind, read: Callable[[Mapping[str, Any]], T], namespace: str = "", label_selector: str = ""
    ) -> None:
        self.kind, self.namespace, self.label_selector = kind, namespace, label_selector
        self._read = read
        self._entries: dict[Key, _Entry[T]] = {}
        self._tombstones: OrderedDict[str, None] = OrderedDict()
        self._listeners: list[Callable[[Change[T]], None]] = []
        self.failures = 0
        """How often a listener failed."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        return iter([entry.value for entry in self._entries.values()])

    def all_keys(self) -> list[Key]:
        """Keys of all objects."""
        return list(self._entries)

    def get(self, name: str, namespace: str = "") -> T | None:
        """The object, if it is known."""
        entry = self._entries.get((namespace, name))
        return entry.value if entry else None

    def listen(self, listener: Callable[[Change[T]], None]) -> None:
        """Call `listener` at each change, after it is in the store."""
        self._listeners.append(listener)

    def upsert(self, body: Mapping[str, Any]) -> None:
        """Take in an object that the API server sent; one older than what is known, or deleted, changes nothing."""
        metadata = body["metadata"]
        key, uid, version = _key(metadata), metadata.get("uid", ""), int(metadata["resourceVersion"])
        known = self._entries.get(key)
        if uid in self._tombstones or (known is not None and known.version >= version):
            return
        try:
            value = self._read(body)
        except (ValueError, ArithmeticError):
            about = {"vm": "/".join(key), "uid": uid} if self.kind == kinds.VIRTUAL_MACHINE else {}
            with logs.tagged(**about):
                _LOGGER.exception("%s %s cannot be read and is left alone", self.kind.kind, "/".join(key))
            return
        self._entries[key] = _Entry(version, uid, value)
        if known is not None and known.uid != uid:
            self._bury(known.uid)
            self._tell(Change(key, known.value, None))
            known = None
        self._tell(Change(key, known.value if known else None, value))

    def remove(self, body: Mapping[str, Any]) -> None:
        """Take in that an object was deleted."""
        metadata = body["metadata"]
        key, uid = _key(metadata), metadata.get("uid", "")
        self._bury(uid)
        known = self._entries.get(key)
        if known is not None and known.uid == uid:
            self._drop(key, known)

    def replace(self, listed: ObjectList) -> None:
        """Take in a complete list: what it does not name, and is not newer than it, has vanished."""
        named = {_key(item["metadata"]) for item in listed.items}
        version = int(listed.resource_version)
        for key, entry in list(self._entries.items()):
            if key not in named and entry.version <= version:
                self._bury(entry.uid)
                self._drop(key, entry)
        for item in listed.items:
            self.upsert(item)

    def _drop(self, key: Key, entry: _Entry[T]) -> None:
        del self._entries[key]
        self._tell(Change(key, entry.value, None))

    def _bury(self, uid: str) -> None:
        self._tombstones[uid] = None
        if len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _tell(self, change: Change[T]) -> None:
        for listener in self._listeners:
            try:
                listener(change)
            except Exception:
                self.failures += 1
                _LOGGER.exception("a bug in taking in %s %s: it is left out", self.kind.kind, "/".join(change.key))


def _key(metadata: Mapping[str, Any]) -> Key:
    return metadata.get("namespace", ""), metadata["name"]
