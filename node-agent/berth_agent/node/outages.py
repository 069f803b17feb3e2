"""Saying that libvirt is away before the agent knows anything of its node: one that starts while libvirt is away.

What the node's Hypervisor said is left as it is, since nothing else is known; only its conditions change.

A node may have no libvirt at all, or none today: there an agent that has said so has done what it can, and a rollout
that waited for more would never reach the other nodes. But where libvirt answered the agent before this one, it may be
this agent that is broken, and the rollout has to stop.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from berth_agent.node.conditions import LIBVIRT_READY, Trouble, conditions_of
from berth_api.client import Api, ApiError, NotFound
from berth_api.fields import AGENT
from berth_api.hypervisors import Hypervisor
from berth_api.kinds import HYPERVISOR

log = structlog.get_logger()


def _now() -> datetime:
    """Now, in whole seconds, as the API's times are."""
    return datetime.now(UTC).replace(microsecond=0)


class OutageReporter:
    """Writes on the node's Hypervisor that libvirt is away, once for each reason.

    Args:
        api: The API server.
        node_name: Of the node, and of its Hypervisor.
        known: called when the Hypervisor says so and already did, or never said that libvirt answers.
        now: gives the present time, in whole seconds.
    """

    def __init__(
        self, api: Api, node_name: str, *, known: Callable[[], object], now: Callable[[], datetime] = _now
    ) -> None:
        self._api, self._node, self._known, self._now = api, node_name, known, now
        self._answered_before = False
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
            if not self._answered_before:
                self._known()

    async def _write(self, trouble: Trouble) -> None:
        try:
            found = await self._api.get(HYPERVISOR, self._node)
        except NotFound:
            found = await self._api.create(HYPERVISOR, {"metadata": {"name": self._node}, "spec": {}})
        status = Hypervisor.from_api(found).status
        if any(each.type == LIBVIRT_READY and each.status == "True" for each in status.conditions):
            self._answered_before = True
        conditions = conditions_of(status.conditions, libvirt=trouble, node=None, now=self._now())
        if conditions == status.conditions:
            return
        body = {"status": status.model_copy(update={"conditions": conditions}).applied()}
        await self._api.apply(HYPERVISOR, self._node, "", body, field_manager=AGENT, subresource="status")
