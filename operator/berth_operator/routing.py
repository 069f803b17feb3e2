"""Where a change in the store goes: to the ledger at once, to the scheduler, or as a task into the work queue.

Watches feed the store whether we lead or not: what only a leader may see to or count is left out until we do.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from berth_api import kinds
from berth_api.hypervisors import Hypervisor, HypervisorRemains
from berth_api.virtualmachines import VirtualMachine
from berth_api.workqueues import WorkQueue
from berth_operator.cluster import Cluster
from berth_operator.controllers.aims import is_bound
from berth_operator.controllers.anchorplans import Anchor
from berth_operator.controllers.anchors import Anchors
from berth_operator.controllers.binding import Binding
from berth_operator.controllers.budgets import Budget
from berth_operator.controllers.machines import Machines
from berth_operator.controllers.references import Reference
from berth_operator.controllers.refusals import Pauses, Refusals
from berth_operator.inventory import Inventory
from berth_operator.metrics import Metrics
from berth_operator.scheduler import Scheduler
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.holdings import Holding, held_by
from berth_operator.scheduling.ledger import Ledger
from berth_operator.store import Change, Collection, Key
from berth_operator.waiting import WaitingRoom

_FAILED = frozenset({"Failed", "CrashLoopBackOff"})


class Task(NamedTuple):
    """An object of a kind (its plural) to look at."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Routing:
    """Listens to every collection of the cluster.

    Args:
        cluster: What is listened to.
        queue: Takes the tasks.
        ledger: Follows every claim.
        inventory: Is told of starts that failed and of migrations.
        scheduler: Is told of what may help somebody who waits.
        machines: Says of a VM whether there is anything to do.
        anchors: Are told of claims that changed.
        waiting: Who waits for which object.
        forgetful: Keep something by UID, which goes with the VM.
        metrics: Count VMs' lives.
        delay: Seconds within which changes that concern one network, image or pool become one task.
    """

    def __init__(
        self,
        cluster: Cluster,
        queue: WorkQueue[Task],
        *,
        ledger: Ledger,
        inventory: Inventory,
        scheduler: Scheduler,
        machines: Machines,
        anchors: Anchors,
        waiting: WaitingRoom,
        forgetful: tuple[Binding, Refusals, Pauses],
        metrics: Metrics,
        delay: float,
    ) -> None:
        self._cluster, self._queue, self._ledger, self._inventory = cluster, queue, ledger, inventory
        self._scheduler, self._machines, self._anchors, self._waiting = scheduler, machines, anchors, waiting
        self._forgetful, self._metrics, self._delay = forgetful, metrics, delay
        self.leads = False
        """Whether VMs are to be seen to: whoever leads does so, counts it, and tells of it."""
        self._listen()

    def _listen(self) -> None:
        cluster = self._cluster
        cluster.machines.listen(self._route_machine)
        cluster.hypervisors.listen(self._route_hypervisor)
        cluster.nodes.listen(lambda change: self._add(cluster.nodes, change.key))
        if cluster.anchored:
            self._ledger.tell(self._route_claims)
            cluster.hypervisors.listen(lambda change: self._look_at_anchor(change.key[1]))
            cluster.nodes.listen(lambda change: self._look_at_anchor(change.key[1]))
            cluster.anchors.listen(self._route_kept)
            cluster.budgets.listen(self._route_kept)
        cluster.priority_classes.listen(self._route_priority)
        for referred in (cluster.classes, cluster.networks, cluster.images, cluster.cluster_images, cluster.pools):
            referred.listen(partial(self._route_referred, referred))

    def _route_claims(self, node: str) -> None:
        self._anchors.claims_changed(node)
        self._look_at_anchor(node)

    def _route_kept(self, change: Change[Anchor] | Change[Budget]) -> None:
        kept = change.new or change.old
        if kept is not None:
            self._look_at_anchor(kept.node)

    def _look_at_anchor(self, node: str) -> None:
        self._queue.add(Task(kinds.POD.plural, "", node))

    def _attend(self, vm: VirtualMachine) -> None:
        if self.leads and self._machines.attend(vm):
            self._add(self._cluster.machines, vm.key)

    def attend_on(self, node: str) -> None:
        """VMs that are bound to the node have to be looked at."""
        self._attend_all(lambda vm: vm.status.node_name == node)

    def _attend_all(self, which: Callable[[VirtualMachine], bool]) -> None:
        for vm in self._cluster.machines:
            if which(vm):
                self._attend(vm)

    def _attend_named(self, guests: Iterable[HypervisorRemains]) -> None:
        """VMs whose guest a node has told of: one that is Halted wants to be bound where its disks are."""
        for guest in guests:
            vm = self._cluster.machines.get(guest.name, guest.namespace)
            if vm is not None and not is_bound(vm):
                self._attend(vm)

    def _add(self, collection: Collection[Any], key: Key) -> None:
        self._queue.add(Task(collection.kind.plural, *key))

    def _add_later(self, collection: Collection[Any], key: Key) -> None:
        self._queue.add_after(Task(collection.kind.plural, *key), self._delay)

    def enqueue_all(self) -> None:
        """Everything has to be looked at."""
        cluster = self._cluster
        for vm in cluster.machines:
            self._attend(vm)
        for hypervisor in cluster.hypervisors if cluster.anchored else ():
            self._look_at_anchor(hypervisor.metadata.name)
        for collection in (cluster.nodes, cluster.networks, cluster.pools, cluster.images, cluster.cluster_images):
            for key in collection.all_keys():
                self._add(collection, key)

    def _route_machine(self, change: Change[VirtualMachine]) -> None:
        """The ledger follows at once; the VM is looked at; so are networks whose counts changed."""
        before = held_by(change.old) if change.old else None
        after = held_by(change.new) if change.new else None
        vm = change.new or change.old
        assert vm is not None  # noqa: S101 - a change has an object, for the type checker
        uid = vm.metadata.uid
        assumed = self._ledger.assumed(uid)
        freed = self._ledger.observe(uid, after)
        if freed:
            self._scheduler.happened(Cure.CLAIM_FREED)
        if after is not None and after != before and assumed != after.claim_id:
            self._scheduler.happened(Cure.CLAIM_ADDED)
        self._recount(before, after)
        self._note_phase(change)
        self._metrics.lives.changed(change.old, change.new)
        if change.new is not None:
            self._attend(change.new)
            return
        self._scheduler.leave(change.key)
        for each in self._forgetful:
            each.forget(uid)

    def _note_phase(self, change: Change[VirtualMachine]) -> None:
        """What a node's fitness is judged by: starts that failed there, migrations that run."""
        old, new = change.old.status if change.old else None, change.new.status if change.new else None
        if old is not None and old.phase == "Migrating" and old.node_name:
            self._inventory.note_migration(old.node_name, -1)
        if new is None or not new.node_name:
            return
        if new.phase == "Migrating":
            self._inventory.note_migration(new.node_name, 1)
        if old is not None and new.phase in _FAILED and old.phase not in _FAILED:
            self._inventory.note_failure(new.node_name)

    def _recount(self, before: Holding | None, after: Holding | None) -> None:
        if before is not None and after is not None and before.claim_id == after.claim_id:
            return
        for holding in (before, after):
            for nic in holding.interfaces if holding else ():
                self._add_later(self._cluster.networks, ("", nic.network_name))

    def _route_hypervisor(self, change: Change[Hypervisor]) -> None:
        """Its Node's labels, the images and pools that it told of, and VMs that its accelerator gives another size."""
        self._add(self._cluster.nodes, change.key)
        old, new = change.old.status if change.old else None, change.new.status if change.new else None
        if new is not None and (old is None or old.accelerator != new.accelerator):
            self.attend_on(change.key[1])
        if new is not None and (old is None or old.remains != new.remains):
            self._attend_named(new.remains)
        if (old.images if old else ()) != (new.images if new else ()):
            for collection in (self._cluster.images, self._cluster.cluster_images):
                for key in collection.all_keys():
                    self._add_later(collection, key)
        if (old.storage_pools if old else ()) != (new.storage_pools if new else ()):
            for key in self._cluster.pools.all_keys():
                self._add_later(self._cluster.pools, key)

    def _route_priority(self, change: Change[Any]) -> None:
        """VMs that wait for the class, and those whose turn it changes."""
        self._waiting.changed(Reference(kinds.PRIORITY_CLASS, change.key[1]))
        self._attend_all(lambda vm: vm.status.claim is None)

    def _route_referred(self, collection: Collection[Any], change: Change[Any]) -> None:
        """VMs that wait for it, those that it gives another size, and its own status."""
        namespace, name = change.key
        self._waiting.changed(Reference(collection.kind, name, namespace))
        if collection.kind == kinds.VIRTUAL_MACHINE_CLASS and change.new is not None:
            self._attend_all(lambda vm: vm.spec.class_name == name and vm.status.claim is not None)
        self._add_later(collection, change.key)
