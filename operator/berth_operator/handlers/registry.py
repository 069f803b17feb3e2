"""kopf's part: it logs in and watches. Each event goes into the store, and that is all.

Only `on.event` is used: handlers of other sorts make kopf put finalizers and annotations of its own on objects. kopf's
`patch` stays untouched, so kopf never writes. After a 410 Gone kopf lists again and does not tell of objects that
vanished meanwhile; the audit finds those. What changes all the time has a reflector each instead: see decision 0008.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from berth_api.client import Connection
from berth_api.watching import connection_info
from berth_operator.cluster import Cluster
from berth_operator.store import Collection


def build_registry(
    cluster: Cluster,
    *,
    login: Callable[[], Awaitable[Connection]],
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
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

    for collection in cluster.quiet:
        _watch(registry, collection)
    return registry


def _watch(registry: kopf.OperatorRegistry, collection: Collection[Any]) -> None:
    kind = collection.kind

    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"watch-{kind.plural}")
    async def take_in(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] == "DELETED":
            collection.remove(event["object"])
        else:
            collection.upsert(event["object"])
