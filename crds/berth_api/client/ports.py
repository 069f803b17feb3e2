"""The ports through which operator and agent see the API server."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from berth_api.client.streams import WatchEvent
from berth_api.kinds import Kind


@dataclass(frozen=True)
class ObjectList:
    """A complete list, as of one resource version."""

    items: Sequence[dict[str, Any]]
    resource_version: str


class Api(Protocol):
    """Reads and writes objects as plain JSON. Every method raises `ApiError` or one of its kinds, and nothing else."""

    async def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        """The object; `NotFound` if there is none."""
        ...

    async def list(
        self, kind: Kind, namespace: str = "", *, field_selector: str = "", label_selector: str = ""
    ) -> ObjectList:
        """All objects of the kind, of all namespaces where none is given. Complete, or it raises."""
        ...

    async def create(self, kind: Kind, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
        """Make an object; `AlreadyExists` if there is one. `apiVersion` and `kind` are filled in."""
        ...

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
        """Server-side apply, forced: `body` is everything that `field_manager` wants to own here.

        What this manager applied earlier and leaves out now is removed, unless another manager owns it too.
        `apiVersion`, `kind` and `metadata.name` are filled in.

        `resource_version` is a precondition: `Conflict` where the object has another one, and nothing is written. So
        is a `metadata.uid` in the body; but on /status the server does not look at it (seen in 1.36), and the same
        `Conflict` comes only after the status of a namesake was written. What is written there must be harmless to
        one: claims carry an id of their own.
        """
        ...

    async def patch_json(
        self, kind: Kind, name: str, namespace: str, operations: Sequence[dict[str, Any]], *, subresource: str = ""
    ) -> dict[str, Any]:
        """JSON Patch (RFC 6902); `Invalid` where a `test` operation fails or a path is not there."""
        ...

    async def update(
        self, kind: Kind, name: str, namespace: str, body: dict[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        """Replace the whole object; `Conflict` where the body's `metadata.resourceVersion` is not the current one."""
        ...

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str | None = None, grace: int | None = None
    ) -> None:
        """Ask for deletion; `Conflict` where `uid` is given and is not the object's.

        `grace`: seconds that a Pod gets instead of its own; with 0 it is gone from the server at once.
        """
        ...


class Watcher(Protocol):
    """What can be followed: a complete list, and what changes after it. Raises `ApiError` and its kinds."""

    async def list(
        self, kind: Kind, namespace: str = "", *, field_selector: str = "", label_selector: str = ""
    ) -> ObjectList:
        """As in `Api`."""
        ...

    def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str,
        field_selector: str = "",
        label_selector: str = "",
        timeout_seconds: int = 300,
    ) -> AsyncGenerator[WatchEvent, None]:
        """What happens after a version, until the server ends the watch, after `timeout_seconds` or earlier.

        Raises `Gone` where the version is too old: list anew. After any other error the watch may be started again
        from the last version that was told, also after `DeadlineExceeded`: silence for clearly longer than the time
        after which the server was to end it.
        """
        ...


class Sink(Protocol):
    """Who takes in what a `Reflector` sees. Called from the event loop, one call at a time."""

    def upsert(self, body: Mapping[str, Any]) -> None:
        """An object is there, in this state; it may be known already."""
        ...

    def remove(self, body: Mapping[str, Any]) -> None:
        """An object was deleted, or no longer matches the selectors; this was its last state."""
        ...

    def replace(self, listed: ObjectList) -> None:
        """This is everything there is, as of the list's version: what it does not name has vanished."""
        ...
