"""`ApiClient`: the `Api` port on a real API server.

Objects change under us all the time, so nothing here reads, changes and writes back: callers apply what is theirs,
or name the version that they mean.
"""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

from berth_api.client.credentials import Connection, Credentials
from berth_api.client.errors import Conflict, Gone, Invalid, Unavailable
from berth_api.client.ports import ObjectList
from berth_api.client.streams import ADDED, BOOKMARK, DELETED, MODIFIED, Lines, WatchEvent, event_of
from berth_api.client.transports import CONNECTIONS, Transport
from berth_api.kinds import Kind

PAGE = 500
"""Objects per page of a list: what client-go asks for."""
_APPLY = "application/apply-patch+yaml"
_JSON_PATCH = "application/json-patch+json"
_SILENCE = 15.0
"""Seconds after the time at which the server was to end a watch, until a silent one counts as lost."""
_KNOWN_EVENTS = frozenset({ADDED, MODIFIED, DELETED, BOOKMARK})
_LOGGER = logging.getLogger(__name__)


class ApiClient:
    """Reads and writes objects as plain JSON; see `Api` for the meaning of the methods."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    async def connect(
        cls, kubeconfig: Path | None, *, user_agent: str, deadline: float = 10.0, connections: int = CONNECTIONS
    ) -> Self:
        """Get ready to talk to the API server; no request is sent yet.

        Args:
            kubeconfig: Path of a kubeconfig; None inside a Pod.
            user_agent: Who we are, for the server's logs and metrics.
            deadline: Seconds that each call may take in all (a list: each page of it).
            connections: Requests under way at the same time, watches included; more of them wait their turn, and
                waiting counts towards the deadline.

        Raises:
            Unauthorized: There are no credentials.
        """
        credentials = await Credentials.read(kubeconfig)
        return cls(Transport(credentials, user_agent=user_agent, deadline=deadline, connections=connections))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connection(self) -> Connection:
        """The server and credentials in use, for another client in this process (kopf)."""
        return await self._transport.connection()

    async def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        """The object."""
        return await self._transport.send("GET", _object_path(kind, name, namespace))

    async def list(
        self, kind: Kind, namespace: str = "", *, field_selector: str = "", label_selector: str = ""
    ) -> ObjectList:
        """All objects, page by page.

        Where the version that the pages belong to vanishes halfway (410), the list starts over, whole and unpaged.
        """
        query = _selectors(field_selector, label_selector)
        path = _collection_path(kind, namespace)
        try:
            return await self._pages(path, {**query, "limit": str(PAGE)})
        except Gone:
            return await self._pages(path, query)

    async def _pages(self, path: str, query: dict[str, str]) -> ObjectList:
        items: list[dict[str, Any]] = []
        while True:
            page = await self._transport.send("GET", path, query=query)
            metadata = page.get("metadata")
            if not isinstance(metadata, dict) or "resourceVersion" not in metadata:
                raise Unavailable(200, "", f"GET {path}: the answer is no list of objects")
            items.extend(page.get("items") or ())
            if not metadata.get("continue"):
                return ObjectList(items, metadata["resourceVersion"])
            query = {**query, "continue": metadata["continue"]}

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str,
        field_selector: str = "",
        label_selector: str = "",
        timeout_seconds: int = 300,
    ) -> AsyncGenerator[WatchEvent, None]:
        """What happens after a version, with bookmarks where the server has them; see `Watcher`."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
            **_selectors(field_selector, label_selector),
        }
        path = _collection_path(kind, namespace)
        lines = Lines()
        async with aclosing(self._transport.stream(path, query=query, silence=timeout_seconds + _SILENCE)) as pieces:
            async for piece in pieces:
                for line in lines.feed(piece):
                    event = event_of(line)
                    if event.type in _KNOWN_EVENTS:
                        yield event
                    else:
                        _LOGGER.warning("a watch of %s told of an unknown event %.40r", kind.plural, event.type)
        lines.end()

    async def create(self, kind: Kind, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
        """Make an object."""
        whole = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        return await self._transport.send("POST", _collection_path(kind, namespace), body=whole)

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
        """Server-side apply, forced."""
        metadata = {**body.get("metadata", {}), "name": name}
        if resource_version is not None:
            metadata["resourceVersion"] = resource_version
        uid = metadata.get("uid")
        try:
            applied = await self._transport.send(
                "PATCH",
                _object_path(kind, name, namespace, subresource),
                query={"fieldManager": field_manager, "force": "true"},
                body={**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata},
                content_type=_APPLY,
            )
        except Invalid as error:
            if uid is not None and "metadata.uid: Invalid value" in error.message:
                raise Conflict(error.status, error.reason, error.message) from error
            raise
        if uid is not None and applied.get("metadata", {}).get("uid") != uid:
            raise Conflict(409, "Conflict", f"{kind.kind} {name!r} is another one by now: its uid is no longer {uid}")
        return applied

    async def patch_json(
        self, kind: Kind, name: str, namespace: str, operations: Sequence[dict[str, Any]], *, subresource: str = ""
    ) -> dict[str, Any]:
        """JSON Patch."""
        path = _object_path(kind, name, namespace, subresource)
        return await self._transport.send("PATCH", path, body=[*operations], content_type=_JSON_PATCH)

    async def update(
        self, kind: Kind, name: str, namespace: str, body: dict[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        """Replace the whole object."""
        whole = {**body, "apiVersion": kind.api_version, "kind": kind.kind}
        return await self._transport.send("PUT", _object_path(kind, name, namespace, subresource), body=whole)

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str | None = None, grace: int | None = None
    ) -> None:
        """Ask for deletion, in the background."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        await self._transport.send("DELETE", _object_path(kind, name, namespace), body=options)


def _selectors(field_selector: str, label_selector: str) -> dict[str, str]:
    selectors = {"fieldSelector": field_selector, "labelSelector": label_selector}
    return {name: value for name, value in selectors.items() if value}


def _collection_path(kind: Kind, namespace: str) -> str:
    return kind.path(namespace=_segment(namespace) if namespace else "")


def _object_path(kind: Kind, name: str, namespace: str, subresource: str = "") -> str:
    if kind.namespaced != bool(namespace):
        must = "needs a" if kind.namespaced else "has no"
        raise ValueError(f"{kind.kind} {name!r} {must} namespace")
    return kind.path(_segment(name), _segment(namespace) if namespace else "", subresource)


def _segment(name: str) -> str:
    """A name that cannot reach another path of the API: an empty one would mean the whole collection.

    Source: k8s.io/apimachinery/pkg/api/validation/path, "IsValidPathSegmentName".
    """
    if name in {"", ".", ".."} or "/" in name or "%" in name:
        raise ValueError(f"{name!r} is no name of an object")
    return name
