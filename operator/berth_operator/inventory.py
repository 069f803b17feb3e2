"""From what the API tells of the nodes to what a decision sees of them, kept up as it changes.

Whether a node is alive is a matter of time: a heartbeat counts from when *we* saw it change, so clocks that differ
between machines do no harm. Only the first sight of a Lease has to trust the node's clock, or a node that died last
week would look alive to every new leader.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from berth_api.hypervisors import Hypervisor
from berth_api.storagepools import StoragePool
from berth_operator.cluster import Cluster
from berth_operator.objects import Heartbeat, Node
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.nodes import BoolArray, NodeFacts, Nodes, allocatable_of
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.store import Change


def facts_of(hypervisor: Hypervisor, node: Node | None) -> NodeFacts:
    """What a decision may know of a node. Without a Node object there are no labels, and no cordon."""
    status, spec = hypervisor.status, hypervisor.spec
    return NodeFacts(
        name=hypervisor.metadata.name,
        allocatable=allocatable_of(hypervisor),
        accelerator=status.accelerator or "" if status.capacity else "",
        schedulable=spec.schedulable and not spec.maintenance and not (node is not None and node.cordoned),
        labels=node.labels if node else {},
        taints=node.taints if node else (),
        cpu_models=frozenset(status.cpu_models),
        failing_networks={network.name: network.message for network in status.networks if not network.ready},
        public_key=status.public_key or "",
    )


class Inventory:
    """The nodes as a decision sees them. `on_room` is called when a node may take what it could not before."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        *,
        heartbeat_timeout: float,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster, self._ledger = cluster, ledger
        self._timeout, self._clock, self._now, self._on_room = heartbeat_timeout, clock, now, on_room
        self._facts: dict[str, NodeFacts] = {}
        self._seen: dict[str, float] = {}
        self._nodes: Nodes | None = None
        cluster.hypervisors.listen(self._on_hypervisor)
        cluster.nodes.listen(self._on_node)
        cluster.leases.listen(self._on_lease)
        cluster.pools.listen(self._on_pool)

    def facts(self, name: str) -> NodeFacts | None:
        """What is known of a node."""
        return self._facts.get(name)

    def alive(self, name: str) -> bool:
        """Whether the node's heartbeat is fresh."""
        return self._clock() - self._seen.get(name, -np.inf) < self._timeout

    def snapshot(self) -> Snapshot:
        """What a decision sees now. Valid until the next await."""
        if self._nodes is None:
            shared = (pool.metadata.name for pool in self._cluster.pools if pool.spec.shared)
            self._nodes = Nodes.of(self._facts.values(), shared)
            self._ledger.reindex(self._nodes)
        return Snapshot(self._nodes, self._ledger.usage, self._ready(self._nodes))

    def _ready(self, nodes: Nodes) -> BoolArray:
        seen = np.array([self._seen.get(row.name, -np.inf) for row in nodes.facts], dtype=np.float64)
        return np.asarray(self._clock() - seen < self._timeout)

    def _refresh(self, name: str) -> None:
        hypervisor = self._cluster.hypervisors.get(name)
        before = self._facts.get(name)
        after = facts_of(hypervisor, self._cluster.nodes.get(name)) if hypervisor else None
        if after == before:
            return
        if after is None:
            del self._facts[name]
        else:
            self._facts[name] = after
        self._nodes = None
        self._on_room()

    def _on_hypervisor(self, change: Change[Hypervisor]) -> None:
        self._refresh(change.key[1])

    def _on_node(self, change: Change[Node]) -> None:
        self._refresh(change.key[1])

    def _on_pool(self, _change: Change[StoragePool]) -> None:
        self._nodes = None
        self._on_room()

    def _on_lease(self, change: Change[Heartbeat]) -> None:
        name = change.key[1]
        if change.new is None or change.new.renewed_at is None:
            self._seen.pop(name, None)
            return
        was_alive = self.alive(name)
        if change.old is None:
            age = max(0.0, (self._now() - change.new.renewed_at).total_seconds())
            self._seen[name] = self._clock() - age
        elif change.old.renewed_at != change.new.renewed_at:
            self._seen[name] = self._clock()
        if not was_alive and self.alive(name):
            self._on_room()
