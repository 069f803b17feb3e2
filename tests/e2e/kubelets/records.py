"""Every change of some kinds, as the API server's watch tells it: what was so for a moment only is seen as well.

All kinds' versions are of one count in the API server's store, so what several watches brought has one order.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from ssl import create_default_context
from types import TracebackType
from typing import Any, Self

from tests.integration.security.wire import Request, Session, Target

from berth_dev.clusters import Cluster
from berth_dev.controlplane import API_PORT

PODS = "/api/v1/pods"
VMS = "/apis/berth.dev/v1alpha1/virtualmachines"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/berth-system/leases"
_WATCH_SECONDS = 600
_JOIN_SECONDS = 10.0
Key = tuple[str, str, str]
"""Collection, namespace, name."""


@dataclass(frozen=True)
class Change:
    """What a watch told.

    Attributes:
        version: By which all changes have their order.
        at: When it was told, on the monotonic clock.
        key: Whose.
        thing: The object as it is from then on; None: it is gone.
        former: What was deleted, as it was at last.
    """

    version: int
    at: float
    key: Key
    thing: Mapping[str, Any] | None
    former: Mapping[str, Any] = field(default_factory=dict)


class Recorder:
    """Follows collections until it is left, and keeps all that it is told.

    Attributes:
        changes: What was told so far, in the order in which it came.
    """

    def __init__(self, cluster: Cluster, *collections: str) -> None:
        self._cluster, self._collections = cluster, collections
        self.changes: list[Change] = []
        self._now: dict[Key, Mapping[str, Any]] = {}
        self._told = threading.Condition()
        self._connections: list[HTTPSConnection] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[str] = []
        self._ending = False

    def __enter__(self) -> Self:
        for collection in self._collections:
            listed = self._list(collection)
            version = int(listed["metadata"]["resourceVersion"])
            for thing in listed["items"]:
                self._tell(Change(version, time.monotonic(), _key(collection, thing), thing))
            thread = threading.Thread(target=self._follow, args=(collection, version), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        for connection in self._connections:
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
            assert not thread.is_alive()
        assert not self._errors, self._errors

    def get(self, collection: str, name: str, namespace: str = "default") -> Mapping[str, Any]:
        """An object as it was told last; nothing where there is none."""
        return self._now.get((collection, namespace, name), {})

    def every(self, collection: str) -> list[Mapping[str, Any]]:
        """All objects of a collection as they were told last."""
        with self._told:
            return [thing for key, thing in self._now.items() if key[0] == collection]

    def wait(self, holds: Callable[[], bool], title: str, seconds: float = 60.0) -> float:
        """Wait until something is so; it is asked after each change. Returns when it was, on the monotonic clock."""
        with self._told:
            assert self._told.wait_for(holds, seconds), f"after {seconds:g} s: {title}; {self._errors}"
            return self.changes[-1].at

    def moments(self) -> Iterator[tuple[Change, Mapping[Key, Mapping[str, Any]]]]:
        """Each change in the store's own order, with all that was there after it."""
        there: dict[Key, Mapping[str, Any]] = {}
        for change in sorted(self.changes, key=lambda each: each.version):
            if change.thing is None:
                there.pop(change.key, None)
            else:
                there[change.key] = change.thing
            yield change, there

    def _list(self, collection: str) -> Mapping[str, Any]:
        session = administrator(self._cluster)
        try:
            return session.send(Request("GET", collection)).body
        finally:
            session.close()

    def _follow(self, collection: str, version: int) -> None:
        target, token = _credentials(self._cluster)
        context = create_default_context(cafile=target.authority)
        connection = HTTPSConnection(target.host, target.port, timeout=_WATCH_SECONDS, context=context)
        self._connections.append(connection)
        try:
            query = f"watch=1&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}"
            connection.request("GET", f"{collection}?{query}", headers={"Authorization": f"Bearer {token}"})
            for line in connection.getresponse():
                self._heard(collection, json.loads(line))
            ended = "the watch has ended"
        except (OSError, HTTPException, ValueError) as error:
            ended = repr(error)
        if not self._ending:
            self._errors.append(f"{collection}: {ended}")
        connection.close()

    def _heard(self, collection: str, event: Mapping[str, Any]) -> None:
        thing = event["object"]
        if event["type"] == "ERROR":
            raise ValueError(thing)
        version, gone = int(thing["metadata"]["resourceVersion"]), event["type"] == "DELETED"
        key = _key(collection, thing)
        self._tell(Change(version, time.monotonic(), key, None if gone else thing, thing if gone else {}))

    def _tell(self, change: Change) -> None:
        with self._told:
            self.changes.append(change)
            if change.thing is None:
                self._now.pop(change.key, None)
            else:
                self._now[change.key] = change.thing
            self._told.notify_all()


def administrator(cluster: Cluster) -> Session:
    """A connection to the API server: a request by it takes a millisecond, kubectl a tenth of a second."""
    return Session(*_credentials(cluster))


def _credentials(cluster: Cluster) -> tuple[Target, str]:
    folder = cluster.run.state / "control-plane"
    token = (folder / "tokens.csv").read_text(encoding="utf-8").partition(",")[0]
    return Target(str(cluster.run.plan.control_plane), API_PORT, str(folder / "certs" / "apiserver.crt")), token


def _key(collection: str, thing: Mapping[str, Any]) -> Key:
    return collection, thing["metadata"].get("namespace", ""), thing["metadata"]["name"]
