"""Saying that libvirt is away before the agent knows anything of its node: one that starts while libvirt is away.

What the node's Hypervisor said is left as it is, since nothing else is known; only its conditions change.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from berth_agent.node.conditions import Trouble, conditions_of
from berth_api.client import Api, ApiError, NotFound
from berth_api.fields import AGENT
from berth_api.hypervisors import Hypervisor
from berth_api.kinds import HYPERVISOR

log = structlog.get_logger()


def _now() -> datetime:
    """Now, in whole seconds, as the API's times are."""
    return datetime.now(UTC).replace(microsecond=0)


class OutageReporter:
    """Writes on the node's Hypervisor that libvirt is away, once for each reason."""

    def __init__(self, api: Api, node_name: str, *, now: Callable[[], datetime] = _now) -> None:
        self._api, self._node, self._now = api, node_name, now
        self._told: str | None = None

    async def tell(self, error: Exception) -> None:
        """Say it, if it is news. Never fails: the agent waits for libvirt, and not for this."""
        trouble = Trouble.of(error)
        if trouble.reason == self._told:
            return
        try:
            await self._write(trouble)
        except (ApiError, ValidationError) as refused:
            log.warning("cannot report that libvirt is away", node=self._node, error=str(refused))
        else:
            self._told = trouble.reason

    async def _write(self, trouble: Trouble) -> None:
        try:
            found = await self._api.get(HYPERVISOR, self._node)
        except NotFound:
            found = await self._api.create(HYPERVISOR, {"metadata": {"name": self._node}, "spec": {}})
        status = Hypervisor.from_api(found).status
        conditions = conditions_of(status.conditions, libvirt=trouble, node=None, now=self._now())
        if conditions == status.conditions:
            return
        body = {"status": status.model_copy(update={"conditions": conditions}).to_api()}
        await self._api.apply(HYPERVISOR, self._node, "", body, field_manager=AGENT, subresource="status")
