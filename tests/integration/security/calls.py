"""Raw requests to an API server: an attacker sends what no client of ours would."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from tests.integration.api.apiserver import ApiServer
from tests.integration.security import wire
from tests.integration.security.wire import JSON, Answer, Request, Session, Target

from berth_api.customresources import CUSTOM_RESOURCES

__all__ = ["JSON", "Answer", "Request"]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_KINDS = {
    **{resource.kind.plural: resource.kind.kind for resource in CUSTOM_RESOURCES},
    "nodes": "Node",
    "pods": "Pod",
    "leases": "Lease",
    "events": "Event",
    "token": "TokenRequest",
    "eviction": "Eviction",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "clusterrolebindings": "ClusterRoleBinding",
    "certificatesigningrequests": "CertificateSigningRequest",
}


def open_session(server: ApiServer, token: str) -> Session:
    """A session with the server in the name of whoever the token belongs to."""
    return Session(_target(server), token)


def send(server: ApiServer, token: str, request: Request) -> Answer:
    """Send one request in the name of whoever the token belongs to."""
    return wire.send(_target(server), token, typed(request))


def _target(server: ApiServer) -> Target:
    where = urlsplit(server.url)
    return Target(str(where.hostname), int(where.port or 0), str(server.certificate))


def typed(request: Request) -> Request:
    """The request with the API version and kind in its body that its path asks for, where that is a whole object."""
    _, root, *parts = urlsplit(request.path).path.split("/")
    kind = next((_KINDS[part] for part in reversed(parts) if part in _KINDS), None)
    if kind is None or not isinstance(request.body, dict) or request.content == MERGE:
        return request
    version = "policy/v1" if kind == "Eviction" else "authentication.k8s.io/v1" if kind == "TokenRequest" else ""
    of_path = "/".join(parts[: 1 if root == "api" else 2])
    return replace(request, body={"apiVersion": version or of_path, "kind": kind, **request.body})


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
