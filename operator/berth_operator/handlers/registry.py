"""kopf's part: it logs in, watches, and serves the liveness probe. Each event goes into the store, and that is all.

Only `on.event` is used: handlers of other sorts make kopf put finalizers and annotations of its own on objects. kopf's
`patch` stays untouched, so kopf never writes. After a 410 Gone kopf lists again and does not tell of objects that
vanished meanwhile; the audit finds those.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from berth_api.client import Connection
from berth_operator.cluster import Cluster
from berth_operator.handlers.storages import NoProgress, NothingStored
from berth_operator.store import Collection

_LIST_BACKOFFS = (0.2, 0.5, 1.0, 2.0, 3.0)


class Forever:
    """Pauses between kopf's tries, without end: while the API server is away there is nothing better to do."""

    def __init__(self, last: float = 5.0) -> None:
        self._last = last

    def __iter__(self) -> Iterator[float]:
        yield from _LIST_BACKOFFS
        while True:
            yield self._last


def build_settings(cluster: Cluster) -> kopf.OperatorSettings:
    """Settings of kopf: no peering, no Events, no giving up, and Leases of one namespace only."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NothingStored()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.networking.error_backoffs = Forever()
    settings.networking.connect_timeout = 10.0
    settings.networking.request_timeout = 60.0
    settings.watching.server_timeout = 600
    settings.queueing.exit_timeout = 1.0
    settings.queueing.idle_timeout = 1.0
    for collection in cluster.collections:
        if collection.namespace:
            resource = (collection.kind.group, collection.kind.version, collection.kind.plural)
            settings.watching.field_selectors[resource] = f"metadata.namespace={collection.namespace}"
    return settings


def build_registry(
    cluster: Cluster,
    *,
    login: Callable[[], Awaitable[Connection]],
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    probe: Callable[[], Awaitable[str]],
) -> kopf.OperatorRegistry:
    """A registry that feeds `cluster`. Built anew for each operator, so that two can live in one process."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(await login())

    @kopf.on.startup(registry=registry)
    async def start_up(**_: Any) -> None:
        await start()

    @kopf.on.cleanup(registry=registry)
    async def clean_up(**_: Any) -> None:
        await stop()

    @kopf.on.probe(registry=registry, id="operator", retries=1)
    async def tell_health(**_: Any) -> str:
        return await probe()

    for collection in cluster.collections:
        _watch(registry, collection)
    return registry


def connection_info(connection: Connection) -> kopf.ConnectionInfo:
    """The same server and credentials, for kopf."""
    return kopf.ConnectionInfo(
        server=connection.server,
        token=connection.token,
        ca_path=connection.ca_path,
        certificate_path=connection.certificate_path,
        private_key_path=connection.private_key_path,
        insecure=connection.insecure,
    )


def _watch(registry: kopf.OperatorRegistry, collection: Collection[Any]) -> None:
    kind = collection.kind

    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"watch-{kind.plural}")
    async def take_in(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] == "DELETED":
            collection.remove(event["object"])
        else:
            collection.upsert(event["object"])
