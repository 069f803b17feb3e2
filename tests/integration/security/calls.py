"""Raw requests to an API server: an attacker sends what no client of ours would."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from tests.integration.api.apiserver import ApiServer

from berth_api.customresources import CUSTOM_RESOURCES

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_TIMEOUT = 30.0
_KINDS = {
    **{resource.kind.plural: resource.kind.kind for resource in CUSTOM_RESOURCES},
    "nodes": "Node",
    "pods": "Pod",
    "leases": "Lease",
    "events": "Event",
    "token": "TokenRequest",
    "eviction": "Eviction",
    "clusterrolebindings": "ClusterRoleBinding",
    "certificatesigningrequests": "CertificateSigningRequest",
}


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: Any = None
    content: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came back. `message` is the Status object's where there is one, and the body where not."""

    status: int
    message: str
    body: Mapping[str, Any]


class Session:
    """Requests of one caller over one connection."""

    def __init__(self, server: ApiServer, token: str) -> None:
        context = ssl.create_default_context(cafile=str(server.certificate))
        where = urlsplit(server.url)
        self._connection = http.client.HTTPSConnection(
            str(where.hostname), where.port, timeout=_TIMEOUT, context=context
        )
        self._token = token

    def send(self, request: Request) -> Answer:
        """Send a request and read the whole answer."""
        body = request.body if isinstance(request.body, bytes) else json.dumps(_typed(request)).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": request.content, **request.headers}
        self._connection.request(request.method, request.path, None if request.body is None else body, headers)
        content = self._connection.getresponse()
        return _answer(content.status, content.read())

    def update(self, request: Request) -> Answer:
        """Send a whole object as whoever has just read it would."""
        current = self.send(Request("GET", request.path)).body
        version = current.get("metadata", {}).get("resourceVersion", "")
        metadata = {**request.body["metadata"], "resourceVersion": version}
        return self.send(replace(request, body={**request.body, "metadata": metadata}))

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def send(server: ApiServer, token: str, request: Request) -> Answer:
    """Send one request in the name of whoever the token belongs to."""
    session = Session(server, token)
    try:
        return session.update(request) if request.method == "PUT" else session.send(request)
    finally:
        session.close()


def _answer(status: int, content: bytes) -> Answer:
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = {}
    return Answer(status, str(parsed.get("message", content.decode(errors="replace"))), parsed)


def _typed(request: Request) -> Any:
    """The body with the API version and kind that its path asks for, where it is a whole object."""
    _, root, *parts = urlsplit(request.path).path.split("/")
    kind = next((_KINDS[part] for part in reversed(parts) if part in _KINDS), None)
    if kind is None or not isinstance(request.body, dict) or request.content == MERGE:
        return request.body
    version = "policy/v1" if kind == "Eviction" else "authentication.k8s.io/v1" if kind == "TokenRequest" else ""
    return {"apiVersion": version or "/".join(parts[: 1 if root == "api" else 2]), "kind": kind, **request.body}


def apply(path: str, manager: str, body: Mapping[str, Any]) -> Request:
    """A forced server-side apply."""
    query = "&" if "?" in path else "?"
    return Request("PATCH", f"{path}{query}fieldManager={manager}&force=true", body, APPLY)


def merge(path: str, body: Mapping[str, Any]) -> Request:
    """A merge patch."""
    return Request("PATCH", path, body, MERGE)


def patch(path: str, *operations: tuple[str, str] | tuple[str, str, Any]) -> Request:
    """A JSON patch of (operation, path[, value])."""
    body = [dict(zip(("op", "path", "value"), each, strict=False)) for each in operations]
    return Request("PATCH", path, body, JSON_PATCH)
