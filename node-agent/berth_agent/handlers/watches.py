"""The watches, as kopf keeps them: which kinds, with which server-side selectors, and where their events go.

kopf re-lists after a 410 Gone without telling of objects that vanished meanwhile; the audit finds those. Only
`on.event` is used: every other handler would add finalizers and annotations of kopf's own, which an agent may not.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from berth_agent.handlers.intake import REFERENCES, Intake
from berth_api.client import ApiClient
from berth_api.kinds import HYPERVISOR, VIRTUAL_MACHINE, Kind


def build_registry(api: ApiClient, intake: Intake) -> kopf.OperatorRegistry:
    """A registry of its own, so that two agents can live in one process."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        connection = await api.connection()
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=connection.ca_path,
            insecure=connection.insecure,
            scheme="Bearer" if connection.token else None,
            token=connection.token,
            certificate_path=connection.certificate_path,
            private_key_path=connection.private_key_path,
        )

    for kind in (VIRTUAL_MACHINE, HYPERVISOR, *REFERENCES):
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(_taker(kind, intake))
    return registry


def watch_settings(node_name: str) -> kopf.OperatorSettings:
    """Only what is bound to this node, and the node's own Hypervisor; no events, no peering."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.field_selectors[VIRTUAL_MACHINE.group, VIRTUAL_MACHINE.plural] = f"status.nodeName={node_name}"
    settings.watching.field_selectors[HYPERVISOR.group, HYPERVISOR.plural] = f"metadata.name={node_name}"
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 60
    return settings


def _taker(kind: Kind, intake: Intake) -> Callable[..., Awaitable[None]]:
    async def take(event: Any, **_: Any) -> None:
        intake.take(kind, event["type"], event["object"])

    return take
