"""Requests as an attacker sends them, with the standard library alone.

The source of this module also runs where a thief would be: in an agent's Pod, by the Python of its image, which knows
nothing of the tests. There it reads a list of shots from its standard input, and prints what came back.
"""

import http.client
import json
import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

JSON = "application/json"
_TIMEOUT = 30.0
_MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")


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
    """What came back.

    Attributes:
        status: Of HTTP; 0 where nobody answered.
        message: The Status object's where there is one, the body where not; of nobody, the error.
        body: What was parsed of it.
    """

    status: int
    message: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """Where a request goes.

    Attributes:
        host: A name or an address; empty: the files of whoever sends.
        port: TCP port.
        authority: Path of the certificates to trust; empty: any, as a thief does not care; None: no TLS.
    """

    host: str
    port: int = 0
    authority: str | None = None

    @classmethod
    def mounted(cls) -> Self:
        """The API server as every Pod is told of it."""
        port = int(os.environ["KUBERNETES_SERVICE_PORT"])
        return cls(os.environ["KUBERNETES_SERVICE_HOST"], port, str(_MOUNTED / "ca.crt"))


@dataclass(frozen=True)
class Shot:
    """A request from inside a Pod.

    Attributes:
        request: What is sent.
        target: Where to; None: the API server as the Pod knows it.
        token: In whose name; None: the Pod's own; empty: nobody's.
    """

    request: Request
    target: Target | None = None
    token: str | None = None


class Session:
    """Requests of one caller over one connection."""

    def __init__(self, target: Target, token: str) -> None:
        self._connection = _connection(target)
        self._token = token

    def send(self, request: Request) -> Answer:
        """Send a request and read the whole answer."""
        body = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
        bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers = {**bearer, "Content-Type": request.content, **request.headers}
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


def send(target: Target, token: str, request: Request) -> Answer:
    """Send one request in the name of whoever the token belongs to."""
    session = Session(target, token)
    try:
        return session.update(request) if request.method == "PUT" else session.send(request)
    finally:
        session.close()


def fire(shots: str) -> str:
    """Send each of a JSON list of shots, and return the answers as another."""
    own = (_MOUNTED / "token").read_text(encoding="ascii")
    return json.dumps([asdict(_outcome(_parsed(shot), own)) for shot in json.loads(shots)])


def _parsed(shot: Mapping[str, Any]) -> Shot:
    target = shot["target"]
    return Shot(Request(**shot["request"]), None if target is None else Target(**target), shot["token"])


def _outcome(shot: Shot, own: str) -> Answer:
    target = Target.mounted() if shot.target is None else shot.target
    try:
        if not target.host:
            return Answer(1, _looked_into(Path(shot.request.path)), {})
        return send(target, own if shot.token is None else shot.token, shot.request)
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, f"{type(error).__name__}: {error}", {})


def _looked_into(path: Path) -> str:
    """What a folder or the beginning of a file holds."""
    if path.is_dir():
        return " ".join(entry.name for entry in path.iterdir())
    with path.open("rb") as stream:
        return stream.read(100).hex()


def _connection(target: Target) -> http.client.HTTPConnection:
    if target.authority is None:
        return http.client.HTTPConnection(target.host, target.port, timeout=_TIMEOUT)
    context = ssl.create_default_context(cafile=target.authority or None)
    if not target.authority:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(target.host, target.port, timeout=_TIMEOUT, context=context)


def _answer(status: int, content: bytes) -> Answer:
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = {}
    if not isinstance(parsed, dict):
        parsed = {}
    return Answer(status, str(parsed.get("message", content.decode(errors="replace"))), parsed)


if __name__ == "__main__":
    sys.stdout.write(fire(sys.stdin.read()))
