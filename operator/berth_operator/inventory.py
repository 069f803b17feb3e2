"""From what the API tells of the nodes to what a decision sees of them, row by row as it changes.

Whether a node is alive is a matter of time: a heartbeat counts from when *we* saw it change, so clocks that differ
between machines do no harm. Only the first sight of a Lease has to trust the node's clock, or a node that died last
week would look alive to every new leader.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any

from berth_api.fields import CONDITION_LIBVIRT_READY
from berth_api.hypervisors import Hypervisor
from berth_api.quantities import to_bytes
from berth_api.storagepools import StoragePool
from berth_operator.cluster import Cluster
from berth_operator.leftovers import Leftovers
from berth_operator.objects import Heartbeat, Node
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.nodes import HeldImage, NodeFacts, allocatable_of
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.sealing import can_seal_to
from berth_operator.store import Change

FAILURE_WINDOW = 600.0
"""Seconds for which a refusal or a failed start counts against a node."""


def facts_of(hypervisor: Hypervisor, node: Node | None, *, anchored: bool = False) -> NodeFacts:
    """What a decision may know of a node. Without a Node object there are no labels, and no cordon."""
    status, spec = hypervisor.status, hypervisor.spec
    return NodeFacts(
        name=hypervisor.metadata.name,
        allocatable=allocatable_of(hypervisor, node.allocatable if node else None, anchored=anchored),
        slots=spec.max_virtual_machines,
        accelerator=status.accelerator or "" if status.capacity else "",
        schedulable=spec.schedulable and not spec.maintenance and not (node is not None and node.cordoned),
        libvirt=not any(c.type == CONDITION_LIBVIRT_READY and c.status != "True" for c in status.conditions),
        labels=node.labels if node else {},
        taints=node.taints if node else (),
        cpu_models=frozenset(status.cpu_models),
        cpu_features=frozenset(status.cpu_features),
        machine_types=frozenset(status.machine_types),
        firmware=frozenset(status.firmware),
        failing_networks={network.name: network.message for network in status.networks if not network.ready},
        images=frozenset(HeldImage(image.digest, to_bytes(image.size)) for image in status.images),
        public_key=status.public_key if status.public_key and can_seal_to(status.public_key) else "",
    )


@dataclass(frozen=True)
class HeartbeatTimes:
    """Seconds."""

    timeout: float = 40.0
    look: float = 0.5
    """How often the ages of all heartbeats are looked at."""


class Inventory:
    """Keeps a snapshot up to date. `happened` is told what kinds of changes may help VMs that wait."""

    def __init__(
        self,
        cluster: Cluster,
        snapshot: Snapshot,
        *,
        heartbeat_timeout: float,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        happened: Callable[[Cure], None] = lambda _cure: None,
    ) -> None:
        self._cluster, self._snapshot = cluster, snapshot
        self._times = HeartbeatTimes(heartbeat_timeout)
        self._clock, self._now, self._happened = clock, now, happened
        self._facts: dict[str, NodeFacts] = {}
        self._seen: dict[str, float] = {}
        self._failures: dict[str, list[float]] = {}
        self._migrations: Counter[str] = Counter()
        self._leftovers = Leftovers(cluster, snapshot)
        self._next_look = -inf
        cluster.hypervisors.listen(self._on_hypervisor)
        cluster.nodes.listen(self._on_node)
        cluster.leases.listen(self._on_lease)
        cluster.pools.listen(self._on_pool)
        cluster.namespaces.listen(self._on_namespace)

    def facts(self, name: str) -> NodeFacts | None:
        """What is known of a node."""
        return self._facts.get(name)

    def accelerator(self, name: str) -> str | None:
        """What guests run under on the node: `kvm` or `tcg`; nothing where that is not known."""
        facts = self._facts.get(name)
        return facts.accelerator or None if facts is not None else None

    @property
    def leftovers(self) -> Leftovers:
        """What nodes hold of another cluster."""
        return self._leftovers

    def alive(self, name: str) -> bool:
        """Whether the node's heartbeat is fresh."""
        return self._clock() - self._seen.get(name, -inf) < self._times.timeout

    def snapshot(self) -> Snapshot:
        """What a decision sees now. Valid until the next await."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + self._times.look
            self._age(now)
        return self._snapshot

    def note_failure(self, name: str) -> None:
        """The node refused a VM, or failed to start one."""
        self._failures.setdefault(name, []).append(self._clock())
        self._count_failures(name, self._clock())

    def note_migration(self, name: str, change: int) -> None:
        """So many more VMs migrate from or to the node."""
        self._migrations[name] += change
        self._snapshot.set_migrations(name, self._migrations[name])
        if not self._migrations[name]:
            del self._migrations[name]

    def _age(self, now: float) -> None:
        for name in self._facts:
            self._snapshot.set_ready(name, ready=now - self._seen.get(name, -inf) < self._times.timeout)
        for name in list(self._failures):
            self._count_failures(name, now)

    def _count_failures(self, name: str, now: float) -> None:
        recent = [moment for moment in self._failures[name] if now - moment < FAILURE_WINDOW]
        self._snapshot.set_failures(name, len(recent))
        if recent:
            self._failures[name] = recent
        else:
            del self._failures[name]

    def _refresh(self, name: str, *, news: bool = False) -> None:
        """Take what is known of a node now, and tell of it once if that, or something else about it, is new."""
        hypervisor = self._cluster.hypervisors.get(name)
        before = self._facts.get(name)
        node, anchored = self._cluster.nodes.get(name), self._cluster.anchored
        after = facts_of(hypervisor, node, anchored=anchored) if hypervisor else None
        if after == before:
            if news:
                self._happened(Cure.NODE_CHANGED)
            return
        if after is None:
            del self._facts[name]
            self._snapshot.remove(name)
        else:
            self._facts[name] = after
            self._snapshot.upsert(after)
            self._snapshot.set_ready(name, ready=self.alive(name))
            if before is None:
                self._snapshot.set_failures(name, len(self._failures.get(name, ())))
                self._snapshot.set_migrations(name, self._migrations[name])
        self._happened(Cure.NODE_CHANGED)

    def _on_hypervisor(self, change: Change[Hypervisor]) -> None:
        self._refresh(change.key[1], news=self._leftovers.on_hypervisor(change))

    def _on_node(self, change: Change[Node]) -> None:
        self._refresh(change.key[1], news=self._leftovers.on_node(change))

    def _on_pool(self, _change: Change[StoragePool]) -> None:
        self._snapshot.share_pools(pool.metadata.name for pool in self._cluster.pools if pool.spec.shared)
        self._happened(Cure.NODE_CHANGED)

    def _on_namespace(self, change: Change[Mapping[str, Any]]) -> None:
        if self._snapshot.name_space(change.key[1], change.new):
            for cure in (Cure.CLAIM_ADDED, Cure.CLAIM_FREED):
                self._happened(cure)

    def _on_lease(self, change: Change[Heartbeat]) -> None:
        name = change.key[1]
        if change.new is None or change.new.renewed_at is None:
            self._seen.pop(name, None)
        elif change.old is None:
            age = max(0.0, (self._now() - change.new.renewed_at).total_seconds())
            self._seen[name] = self._clock() - age
        elif change.old.renewed_at != change.new.renewed_at:
            self._seen[name] = self._clock()
        else:
            return
        row = self._snapshot.index.get(name)
        if row is None:
            return
        alive, was_alive = self.alive(name), bool(self._snapshot.ready[row])
        self._snapshot.set_ready(name, ready=alive)
        if alive and not was_alive:
            self._happened(Cure.NODE_CHANGED)
