"""Keeps nodes that VMs hold from being drained: a PodDisruptionBudget for the anchor of each, there while VMs run.

Nobody who drains nodes knows VMs, and all of them heed budgets: an anchor that has one is not evicted, so its node is
not called empty while guests run there. A node whose VMs are gone, or stopped, has none, and is drained like any other.

One for each such node, rather than one for all that is never satisfied: whoever watches budgets is to be told of one
that is not satisfied, and their list is the list of nodes that cannot be drained. No budget is ever changed, so nobody
needs the right to.

A budget is there before the first claim of its node is written, and an API server refuses evictions from the moment it
has it, whether or not its controller has come to it (it has not observed the budget's generation yet). What is evicted
before that was empty. One that is lifted while a VM is bound is made again before the binding is written: `cover` waits
for `lift`. What nobody sees at once is a removal that a former leader has sent and that comes late: until the watch
tells of it, the node can be drained.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from berth_api.anchors import LABEL, NODE_LABEL, anchor_name, node_label
from berth_api.client import AlreadyExists, Api, Conflict, NotFound
from berth_api.kinds import POD_DISRUPTION_BUDGET
from berth_operator.controllers.anchorpods import reference_to
from berth_operator.leases import Leadership
from berth_operator.store import Collection

_LOGGER = logging.getLogger(__name__)


class BudgetCounts(Protocol):
    """Is told what happens to budgets."""

    def anchor_written(self, action: str) -> None:
        """One was made or lifted."""


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget of an anchor, as far as the operator looks at it."""

    name: str
    uid: str
    node: str
    deleting: bool = False

    @classmethod
    def from_api(cls, body: Mapping[str, Any]) -> "Budget":
        """Read one that the API server sent."""
        metadata = body["metadata"]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            node=next((each["name"] for each in metadata.get("ownerReferences") or ()), ""),
            deleting="deletionTimestamp" in metadata,
        )


def budget(node: str, *, owner: str, namespace: str) -> dict[str, Any]:
    """The budget by which a node's anchor may not be evicted.

    Args:
        node: Name of the Node, and of the Hypervisor.
        owner: UID of the Hypervisor.
        namespace: Berth's own.
    """
    return {
        "metadata": {
            "name": anchor_name(node),
            "namespace": namespace,
            "labels": {LABEL: "true", NODE_LABEL: node_label(node)},
            "ownerReferences": [reference_to(node, owner)],
        },
        "spec": {
            # A number: of a share, as of maxUnavailable, the disruption controller asks the owner's scale.
            "minAvailable": 1,
            "selector": {"matchLabels": {LABEL: "true", NODE_LABEL: node_label(node)}},
            "unhealthyPodEvictionPolicy": "IfHealthyBudget",
        },
    }


class Budgets:
    """Makes and lifts budgets, a node at a time."""

    def __init__(self, api: Api, known: Collection[Budget], *, namespace: str, counts: BudgetCounts) -> None:
        """Get ready.

        Args:
            api: The API server.
            known: What the watch tells.
            namespace: Berth's own: where the budgets are.
            counts: Is told what is written.
        """
        self._api, self._known, self._namespace, self._counts = api, known, namespace, counts
        self._locks: dict[str, asyncio.Lock] = {}
        self._lifting: set[str] = set()

    def covers(self, node: str) -> bool:
        """Whether the node's anchor has one that is to stay."""
        found = self._known.get(anchor_name(node), self._namespace)
        return found is not None and not found.deleting and node not in self._lifting

    async def cover(self, node: str, owner: str, leadership: Leadership) -> None:
        """See to it that there is one.

        Args:
            node: Of which.
            owner: UID of its Hypervisor.
            leadership: In which this is done.

        Raises:
            ApiError: it was not made.
            NotLeadingError: the leadership ended.
        """
        async with self._lock(node):
            if self.covers(node):
                return
            leadership.check()
            body = budget(node, owner=owner, namespace=self._namespace)
            try:
                made = await self._api.create(POD_DISRUPTION_BUDGET, body, self._namespace)
            except AlreadyExists:
                made = await self._api.get(POD_DISRUPTION_BUDGET, anchor_name(node), self._namespace)
            else:
                self._counts.anchor_written("cover")
                _LOGGER.debug("node %s: VMs hold it, its anchor is not to be evicted", node)
            self._known.upsert(made)

    async def lift(self, node: str, leadership: Leadership) -> None:
        """See to it that there is none.

        Raises:
            ApiError: it may still be there.
            NotLeadingError: the leadership ended.
        """
        found = self._known.get(anchor_name(node), self._namespace)
        if found is None:
            return
        self._lifting.add(node)
        try:
            async with self._lock(node):
                leadership.check()
                await self._delete(found.name, found.uid)
                _LOGGER.debug("node %s: no VM holds it, its anchor may be evicted", node)
        finally:
            self._lifting.discard(node)

    async def lift_all(self, leadership: Leadership) -> None:
        """Take away all that there are, known or not.

        Raises:
            ApiError: some may still be there.
            NotLeadingError: the leadership ended.
        """
        listed = await self._api.list(POD_DISRUPTION_BUDGET, self._namespace, label_selector=f"{LABEL}=true")
        for body in listed.items:
            leadership.check()
            await self._delete(body["metadata"]["name"], body["metadata"]["uid"])

    async def _delete(self, name: str, uid: str) -> None:
        with suppress(NotFound, Conflict):
            await self._api.delete(POD_DISRUPTION_BUDGET, name, self._namespace, uid=uid)
            self._counts.anchor_written("lift")
        self._known.remove({"metadata": {"name": name, "namespace": self._namespace, "uid": uid}})

    def _lock(self, node: str) -> asyncio.Lock:
        return self._locks.setdefault(node, asyncio.Lock())
