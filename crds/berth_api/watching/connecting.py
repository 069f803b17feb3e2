"""kopf's settings and credentials, the same for both halves."""

from collections.abc import Iterator

import kopf

from berth_api.client import Connection
from berth_api.kinds import Kind
from berth_api.watching.storages import NoProgress, NothingStored

_LIST_BACKOFFS = (0.2, 0.5, 1.0, 2.0, 3.0)


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
