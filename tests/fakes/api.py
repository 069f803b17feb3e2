"""An API server in memory, for unit tests: it keeps objects, records calls and fails when told to.

It knows what callers rely on: resource versions that move only with a change, generations, preconditions, field
ownership of server-side apply, finalizers, the status subresource, selectors. It knows no schemas, no admission and
no authorization: tests of those run against the real one.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.fakes import ownership

from berth_api.client.errors import AlreadyExists, Conflict, Invalid, NotFound
from berth_api.client.ports import ObjectList
from berth_api.kinds import Kind

_T = TypeVar("_T")
_Key = tuple[str, str, str]
TIMESTAMP = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Call:
    """A call that was made, failed ones included."""

    verb: str
    kind: str
    name: str = ""
    namespace: str = ""
    subresource: str = ""
    body: Any = None
    field_manager: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it could change an object."""
        return self.verb not in {"get", "list"}


@dataclass
class _Fault:
    error: Exception
    verb: str | None
    kind: str | None
    name: str | None
    times: int
    after: bool

    def matches(self, call: Call) -> bool:
        wanted = ((self.verb, call.verb), (self.kind, call.kind), (self.name, call.name))
        return self.times > 0 and all(want is None or want == got for want, got in wanted)


@dataclass
class FakeApi:
    """Implements `berth_api.client.Api`.

    Attributes:
        calls: Every call in order.
        prunes: A field of statuses that the definitions do not know: it is dropped from what is written.
    """

    calls: list[Call] = field(default_factory=list)
    prunes: str = ""
    _objects: dict[_Key, dict[str, Any]] = field(default_factory=dict)
    _owned: dict[tuple[_Key, str, str], set[ownership.Path]] = field(default_factory=dict)
    _faults: list[_Fault] = field(default_factory=list)
    _version: int = 100
    _uids: int = 0

    # What tests ask and arrange

    @property
    def writes(self) -> list[Call]:
        """Calls that could change an object."""
        return [call for call in self.calls if call.is_write]

    def add(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        """Put an object there as it is, with its status; nothing is recorded."""
        stored = deepcopy(body)
        metadata = stored.setdefault("metadata", {})
        key = (kind.plural, metadata.get("namespace", ""), metadata["name"])
        return deepcopy(self._insert(kind, key, stored))

    def remove(self, kind: Kind, name: str, namespace: str = "") -> None:
        """Take an object away, whatever its finalizers; nothing is recorded."""
        self._drop((kind.plural, namespace, name))

    def peek(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any] | None:
        """The object as it is, None if there is none; nothing is recorded."""
        return deepcopy(self._objects.get((kind.plural, namespace, name)))

    def managers(self, kind: Kind, name: str, namespace: str = "") -> set[str]:
        """Field managers that own something of the object's status."""
        key = (kind.plural, namespace, name)
        return {
            manager
            for (owned, part, manager), paths in self._owned.items()
            if (owned, part) == (key, "status") and paths
        }

    def fail(
        self,
        error: Exception,
        *,
        verb: str | None = None,
        kind: Kind | None = None,
        name: str | None = None,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Let the next `times` matching calls raise `error`; with `after`, once the server has done its part."""
        self._faults.append(_Fault(error, verb, kind.kind if kind else None, name, times, after))

    # berth_api.client.Api

    async def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        fault = self._record(Call("get", kind.kind, name, namespace))
        return self._answer(deepcopy(self._existing(kind, name, namespace)), fault)

    async def list(
        self, kind: Kind, namespace: str = "", *, field_selector: str = "", label_selector: str = ""
    ) -> ObjectList:
        fault = self._record(Call("list", kind.kind, namespace=namespace))
        found = [
            deepcopy(body)
            for (plural, where, _), body in sorted(self._objects.items())
            if plural == kind.plural
            and namespace in {"", where}
            and all(_field(body, path) == value for path, value in _pairs(field_selector))
            and all(body["metadata"].get("labels", {}).get(label) == value for label, value in _pairs(label_selector))
        ]
        return self._answer(ObjectList(found, str(self._version)), fault)

    async def create(self, kind: Kind, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
        name = body["metadata"]["name"]
        fault = self._record(Call("create", kind.kind, name, namespace, body=deepcopy(body)))
        key = (kind.plural, namespace, name)
        if key in self._objects:
            raise AlreadyExists(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        stored = deepcopy(body)
        if kind.group.endswith("berth.dev"):
            stored.pop("status", None)
        if namespace:
            stored["metadata"]["namespace"] = namespace
        return self._answer(deepcopy(self._insert(kind, key, stored)), fault)

    async def apply(
        self,
        kind: Kind,
        name: str,
        namespace: str,
        body: dict[str, Any],
        *,
        field_manager: str,
        subresource: str = "",
        resource_version: str | None = None,
    ) -> dict[str, Any]:
        call = Call("apply", kind.kind, name, namespace, subresource, deepcopy(body), field_manager)
        fault = self._record(call)
        key = (kind.plural, namespace, name)
        if not subresource and key not in self._objects:
            metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
            self._insert(kind, key, {"metadata": metadata})
        live = self._existing(kind, name, namespace)
        uid = body.get("metadata", {}).get("uid")
        _check_preconditions(live, resource_version, None if subresource else uid)
        changed = deepcopy(live)
        parts = ("status",) if subresource == "status" else tuple(part for part in body if part != "status")
        for part in {*parts, *self._parts_owned(key, field_manager, subresource)}:
            self._apply_part(key, field_manager, part, changed, body.get(part, {}))
        stored = self._store(key, changed)
        _check_preconditions(stored, None, uid)
        return self._answer(stored, fault)

    async def patch_json(
        self, kind: Kind, name: str, namespace: str, operations: Sequence[dict[str, Any]], *, subresource: str = ""
    ) -> dict[str, Any]:
        fault = self._record(Call("patch_json", kind.kind, name, namespace, subresource, deepcopy([*operations])))
        changed = deepcopy(self._existing(kind, name, namespace))
        for operation in operations:
            _patch(changed, operation)
        return self._answer(self._store((kind.plural, namespace, name), changed), fault)

    async def update(
        self, kind: Kind, name: str, namespace: str, body: dict[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        fault = self._record(Call("update", kind.kind, name, namespace, subresource, deepcopy(body)))
        live = self._existing(kind, name, namespace)
        metadata = body.get("metadata", {})
        _check_preconditions(live, metadata.get("resourceVersion"), metadata.get("uid"))
        if subresource == "status":
            changed = {**deepcopy(live), "status": deepcopy(body.get("status", {}))}
        else:
            kept = {name: live["metadata"][name] for name in ("uid", "creationTimestamp", "generation")}
            changed = deepcopy(body) | {"metadata": {**deepcopy(metadata), **kept}}
            if kind.group.endswith("berth.dev") and "status" in live:
                changed["status"] = deepcopy(live["status"])
        return self._answer(self._store((kind.plural, namespace, name), changed), fault)

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str | None = None, grace: int | None = None
    ) -> None:
        fault = self._record(Call("delete", kind.kind, name, namespace, body={"uid": uid, "grace": grace}))
        live = self._existing(kind, name, namespace)
        _check_preconditions(live, None, uid)
        changed = deepcopy(live)
        changed["metadata"].setdefault("deletionTimestamp", TIMESTAMP)
        self._store((kind.plural, namespace, name), changed)
        self._answer(None, fault)

    # Storage

    def _record(self, call: Call) -> _Fault | None:
        self.calls.append(call)
        fault = next((fault for fault in self._faults if fault.matches(call)), None)
        if fault is None:
            return None
        fault.times -= 1
        if not fault.after:
            raise fault.error
        return fault

    def _answer(self, value: _T, fault: _Fault | None) -> _T:
        if fault is not None:
            raise fault.error
        return value

    def _insert(self, kind: Kind, key: _Key, body: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        self._uids += 1
        body.setdefault("apiVersion", kind.api_version)
        body.setdefault("kind", kind.kind)
        metadata = body["metadata"]
        metadata.setdefault("uid", f"00000000-0000-4000-8000-{self._uids:012d}")
        metadata.setdefault("creationTimestamp", TIMESTAMP)
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(self._version)
        self._objects[key] = body
        return body

    def _existing(self, kind: Kind, name: str, namespace: str) -> dict[str, Any]:
        try:
            return self._objects[(kind.plural, namespace, name)]
        except KeyError:
            raise NotFound(404, "NotFound", f'{kind.plural} "{name}" not found') from None

    def _store(self, key: _Key, changed: dict[str, Any]) -> dict[str, Any]:
        live = self._objects[key]
        metadata = changed["metadata"]
        changed.get("status", {}).pop(self.prunes, None)
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._drop(key)
        elif changed != live:
            self._version += 1
            metadata["resourceVersion"] = str(self._version)
            if changed.get("spec") != live.get("spec"):
                metadata["generation"] = live["metadata"]["generation"] + 1
            self._objects[key] = changed
        return deepcopy(changed)

    def _drop(self, key: _Key) -> None:
        self._objects.pop(key, None)
        for owned in [owned for owned in self._owned if owned[0] == key]:
            del self._owned[owned]

    def _parts_owned(self, key: _Key, manager: str, subresource: str) -> set[str]:
        parts = {part for (owned, part, who) in self._owned if (owned, who) == (key, manager)}
        return {part for part in parts if (part == "status") == (subresource == "status")}

    def _apply_part(self, key: _Key, manager: str, part: str, changed: dict[str, Any], applied: Any) -> None:
        if not isinstance(applied, dict):
            changed[part] = deepcopy(applied)
            return
        if part == "metadata":
            applied = {name: applied[name] for name in ("labels", "annotations") if name in applied}
        others = {
            path
            for (owned, p, who), paths in self._owned.items()
            if (owned, p) == (key, part) and who != manager
            for path in paths
        }
        paths = set(ownership.leaves(applied))
        result = deepcopy(changed.get(part, {}))
        for path in self._owned.get((key, part, manager), set()) - paths - others:
            ownership.remove(result, path)
        changed[part] = ownership.merge(result, applied)
        self._owned[(key, part, manager)] = paths


def _check_preconditions(live: dict[str, Any], resource_version: str | None, uid: str | None) -> None:
    metadata = live["metadata"]
    if resource_version is not None and resource_version != metadata["resourceVersion"]:
        raise Conflict(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
    if uid is not None and uid != metadata["uid"]:
        raise Conflict(
            409, "Conflict", f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        )


def _pairs(selector: str) -> Iterator[tuple[str, str]]:
    for term in filter(None, selector.split(",")):
        name, _, value = term.replace("==", "=").partition("=")
        yield name, value


def _field(body: dict[str, Any], path: str) -> str:
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def _patch(body: dict[str, Any], operation: dict[str, Any]) -> None:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    target: Any = body
    try:
        for parent in parents:
            target = target[int(parent)] if isinstance(target, list) else target[parent]
        _patch_value(target, last, operation)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Invalid(
            422, "Invalid", f"the server rejected our request: {operation} does not apply: {error!r}"
        ) from error


def _patch_value(target: Any, last: str, operation: dict[str, Any]) -> None:
    value = deepcopy(operation.get("value"))
    is_list = isinstance(target, list)
    index: Any = int(last) if is_list and last != "-" else last
    match operation["op"]:
        case "test":
            if target[index] != value:
                raise ValueError("testing value failed")
        case "add" if is_list:
            target.insert(len(target) if last == "-" else index, value)
        case "add":
            target[index] = value
        case "replace":
            del target[index]
            target.insert(index, value) if is_list else target.update({index: value})
        case "remove":
            del target[index]
        case other:
            raise ValueError(f"unknown operation {other}")
