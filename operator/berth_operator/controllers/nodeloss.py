"""Nodes that fell silent while VMs are bound to them: which are lost, and of which that is certain.

A heartbeat that is missing says little: the node may be cut off, and its guests run on. So a VM of a lost node keeps
its claim and its finalizer, and only says where it stands. *Certain* is a loss that somebody stated: the Node object is
deleted, or carries the taint by which an administrator says that the machine is off
(https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/, "Non-graceful node shutdown handling").

Silence may be ours, too: a watch that hangs, clocks that differ, an API server that nobody could reach. So a node has
to be silent for a while under our own eyes, and the Leases are read anew before one is called lost. And certain is only
what the API server answers when it is asked, never what a watch does not show.
"""

import logging
from collections.abc import Callable

from berth_api import logs
from berth_api.client import Api, ApiError, NotFound
from berth_api.kinds import LEASE, NODE
from berth_operator.cluster import Cluster
from berth_operator.inventory import Inventory
from berth_operator.objects import Node
from berth_operator.scheduling.ledger import Ledger

_LOGGER = logging.getLogger(__name__)
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Key of the taint that says that a machine is off."""


def out_of_service(node: Node) -> bool:
    """Whether somebody says that the machine is off."""
    return any(taint.key == OUT_OF_SERVICE for taint in node.taints)


class NodeLoss:
    """Keeps in mind which nodes are lost.

    Args:
        confirm: Seconds for which a node must be seen silent, after its heartbeat has timed out, to be lost.
    """

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        inventory: Inventory,
        ledger: Ledger,
        *,
        confirm: float,
        clock: Callable[[], float],
    ) -> None:
        self._api, self._cluster, self._inventory, self._ledger = api, cluster, inventory, ledger
        self._confirm, self._clock = confirm, clock
        self._silent_since: dict[str, float] = {}
        self._standings: dict[str, bool] = {}

    def reset(self) -> None:
        """A new term begins by watching."""
        self._silent_since.clear()
        self._standings.clear()

    def lost(self, node: str) -> bool:
        """Whether the node has been silent for too long."""
        return node in self._standings

    async def look(self) -> frozenset[str]:
        """Look at all nodes that hold anything.

        Returns:
            Nodes that since the last look are lost, or lost no longer, or about whose loss something else is known.
        """
        now = self._clock()
        silent = {name for name in self._ledger.nodes if not self._inventory.alive(name)}
        self._silent_since = {name: self._silent_since.get(name, now) for name in silent}
        lost = {name for name, since in self._silent_since.items() if now - since >= self._confirm}
        if not lost <= self._standings.keys():
            lost = await self._still_silent(lost)
        before, self._standings = self._standings, {name: self._seems_certain(name) for name in lost}
        changed = frozenset(name for name in before.keys() | lost if before.get(name) != self._standings.get(name))
        for name in sorted(changed):
            what = "lost: it has been silent for too long" if name in lost else "no longer lost"
            with logs.tagged(node=name):
                _LOGGER.warning("node %s is %s", name, what)
        return changed

    async def certain(self, node: str) -> str | None:
        """Why a silent node's loss is certain; None where it is not.

        Raises:
            ApiError: it cannot be said now.
        """
        if self._inventory.alive(node):
            return None
        try:
            found = Node.from_api(await self._api.get(NODE, node))
        except NotFound:
            return f"Node {node} does not exist any more"
        return f"Node {node} carries the taint {OUT_OF_SERVICE}" if out_of_service(found) else None

    async def _still_silent(self, lost: set[str]) -> set[str]:
        """Those that the API server knows no newer heartbeat of."""
        leases = self._cluster.leases
        try:
            leases.replace(await self._api.list(LEASE, leases.namespace))
        except ApiError as error:
            _LOGGER.warning("nodes are silent, and their Leases cannot be listed: %s", error)
            return lost & self._standings.keys()
        return {name for name in lost if not self._inventory.alive(name)}

    def _seems_certain(self, name: str) -> bool:
        node = self._cluster.nodes.get(name)
        return node is None or out_of_service(node)
