"""The watches: which kinds, with which server-side selectors, and where their events go."""

from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from berth_agent.handlers.intake import REFERENCES, Intake
from berth_api.client import ApiClient
from berth_api.kinds import HYPERVISOR, POD, VIRTUAL_MACHINE, Kind
from berth_api.watching import connection_info


async def _nothing() -> None:
    """Nothing has to end with the watches."""


def build_registry(
    api: ApiClient, intake: Intake, *, stop: Callable[[], Awaitable[None]] = _nothing
) -> kopf.OperatorRegistry:
    """A registry of its own, so that two agents can live in one process.

    Args:
        api: Whose credentials the watches use.
        intake: Where their events go.
        stop: Ends the work. Called when kopf is told to end: it takes every task that was made since its start for one
            of its own, waits 5 s for it, and then cancels it.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(await api.connection())

    @kopf.on.cleanup(registry=registry)
    async def clean_up(**_: Any) -> None:
        await stop()

    for kind in (VIRTUAL_MACHINE, HYPERVISOR, POD, *REFERENCES):
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(_taker(kind, intake))
    return registry


def selectors(node_name: str) -> dict[Kind, str]:
    """Only what is bound to this node, and the node's own Hypervisor."""
    return {
        VIRTUAL_MACHINE: f"status.nodeName={node_name}",
        HYPERVISOR: f"metadata.name={node_name}",
        POD: f"spec.nodeName={node_name}",
    }


def _taker(kind: Kind, intake: Intake) -> Callable[..., Awaitable[None]]:
    async def take(event: Any, **_: Any) -> None:
        intake.take(kind, event["type"], event["object"])

    return take
