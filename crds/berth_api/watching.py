"""kopf as both halves use it: it watches and serves the liveness probe, and never writes.

What bites in kopf 1.45: handlers other than `on.event` put finalizers and annotations of kopf's own on objects; after a
410 Gone it lists again and does not tell of objects that vanished meanwhile; a watch that the server refuses (anything
but 410) is a task that ends with an error which nobody awaits, and kopf goes on without it, alive and blind. So only
`on.event` is used, each half audits with complete lists, and `supervise` ends the process when a watch has died;
whoever runs it starts it again.
"""

import asyncio
from collections.abc import Iterator
from weakref import WeakSet

import kopf

from berth_api.client import Connection
from berth_api.kinds import Kind

_LIST_BACKOFFS = (0.2, 0.5, 1.0, 2.0, 3.0)
_WATCH_TASK = "watcher for "
PERIOD = 1.0
"""Seconds between looks for new watches: they come and go with the CRDs."""


class WatchDied(Exception):
    """A watch of kopf's ended with an error."""


class Forever:
    """Pauses between kopf's tries, without end: while the API server is away there is nothing better to do."""

    def __init__(self, last: float = 5.0) -> None:
        self._last = last

    def __iter__(self) -> Iterator[float]:
        yield from _LIST_BACKOFFS
        while True:
            yield self._last


def watch_settings(field_selectors: dict[Kind, str]) -> kopf.OperatorSettings:
    """Settings of kopf: no peering, no Events, no giving up, and server-side selectors for some kinds."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.networking.error_backoffs = Forever()
    settings.networking.connect_timeout = 10.0
    settings.networking.request_timeout = 60.0
    settings.watching.server_timeout = 600
    settings.queueing.exit_timeout = 1.0
    settings.queueing.idle_timeout = 1.0
    for kind, selector in field_selectors.items():
        settings.watching.field_selectors[kind.group, kind.version, kind.plural] = selector
    return settings


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


async def supervise() -> None:
    """Run until a watch dies.

    Raises:
        WatchDied: the watch died.
    """
    died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    known: WeakSet[asyncio.Task[object]] = WeakSet()

    def note(task: asyncio.Task[object]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not died.done():
            died.set_result(f"{task.get_name()}: {error!r}")

    while not died.done():
        for task in asyncio.all_tasks():
            if task.get_name().startswith(_WATCH_TASK) and task not in known:
                known.add(task)
                task.add_done_callback(note)
        await asyncio.wait({died}, timeout=PERIOD)
    raise WatchDied(died.result())
