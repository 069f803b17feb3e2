"""One term of leadership: read everything, then work until the term ends.

Changes in the store go three ways: the ledger and the snapshot follow at once; VMs that want a berth go to the
scheduler; everything else becomes keys in a work queue (`_route…`), and keys become calls of a controller (`_work`).
Watches feed the store whether we lead or not; only a leader empties the queues.
"""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, NamedTuple

from berth_api import kinds, logs
from berth_api.client import Api, ApiError
from berth_api.hypervisors import Hypervisor, HypervisorRemains
from berth_api.virtualmachines import VirtualMachine
from berth_api.workqueues import Backoff, WorkQueue
from berth_operator.cluster import Cluster
from berth_operator.controllers.aggregates import image_status, network_status, pool_status, write_status
from berth_operator.controllers.aims import Aims, is_bound
from berth_operator.controllers.anchorplans import Anchor
from berth_operator.controllers.anchors import Anchors
from berth_operator.controllers.asking import Asking
from berth_operator.controllers.binding import Binding, at_once
from berth_operator.controllers.budgets import Budget
from berth_operator.controllers.deciding import Deciding
from berth_operator.controllers.interfaces import Interfaces
from berth_operator.controllers.machines import Machines
from berth_operator.controllers.nodelabels import NodeLabels
from berth_operator.controllers.nodeloss import NodeLoss
from berth_operator.controllers.references import Reference
from berth_operator.controllers.refusals import Pauses, Refusals
from berth_operator.events import Events
from berth_operator.inventory import Inventory
from berth_operator.leases import Leadership, NotLeadingError
from berth_operator.metrics import Levels, Metrics
from berth_operator.pacing import Pacing
from berth_operator.scheduler import Scheduler
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.holdings import Holding, held_by
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.profiles import Profile
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.settings import Settings
from berth_operator.store import Change, Collection, Key
from berth_operator.waiting import WaitingRoom

_LOGGER = logging.getLogger(__name__)
_LOOK = 1.0
"""Seconds between looks at the heartbeats of nodes that VMs are bound to."""
_FAILED = frozenset({"Failed", "CrashLoopBackOff"})


class Task(NamedTuple):
    """An object of a kind (its plural) to look at."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Operation:
    """The operator's whole work, apart from watching and from being elected."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        *,
        profiles: Mapping[str, Profile],
        metrics: Metrics,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Random | None = None,
    ) -> None:
        self._api, self._settings, self._metrics = api, settings, metrics
        random = random or Random()  # noqa: S311 - jitter, not secrecy
        self.cluster = Cluster(settings.namespace, anchored=settings.anchor)
        snapshot = Snapshot()
        self.ledger = Ledger(snapshot)
        self.queue: WorkQueue[Task] = WorkQueue(Backoff(settings.backoff_first, settings.backoff_most), random)
        self.queue.close()
        self.events = Events(api, instance=settings.identity, now=now, busy=self._is_busy)
        self._waiting = WaitingRoom(self._wake)
        self._inventory = Inventory(
            self.cluster,
            snapshot,
            heartbeat_timeout=settings.heartbeat_timeout,
            clock=clock,
            now=now,
            happened=self._happened,
        )
        self._refusals = refusals = Refusals(settings.refusal_exclusion, clock)
        starts = Backoff(settings.start_backoff_first, settings.start_backoff_most)
        self._pauses = pauses = Pauses(starts, clock, random)
        self._loss = NodeLoss(
            api, self.cluster, self._inventory, self.ledger, confirm=settings.node_loss_confirm, clock=clock
        )
        self._aims = aims = Aims(
            self.cluster, self._inventory.accelerator, self._loss.lost, self._inventory.leftovers.of
        )
        self._anchors = Anchors(
            api,
            self.cluster,
            self.ledger,
            namespace=settings.namespace,
            image=settings.anchor_image,
            pull_secrets=settings.anchor_pull_secrets,
            clock=clock,
            random=random,
            counts=metrics,
        )
        self._binding = Binding(
            api,
            self.cluster,
            self.ledger,
            events=self.events,
            happened=self._happened,
            before=self._anchors.before_binding if settings.anchor else at_once,
            now=now,
        )
        self.scheduler = Scheduler(
            self.cluster,
            self._inventory,
            Deciding(
                self.cluster,
                self.ledger,
                self._inventory,
                interfaces=Interfaces(
                    self.ledger, settings.mac_prefix, self._inventory.leftovers.shunned, Asking(self.cluster.machines)
                ),
                refusals=refusals,
                profiles=profiles,
            ),
            self._binding,
            aims=aims,
            refusals=refusals,
            pauses=pauses,
            waiting=self._waiting,
            metrics=metrics,
            clock=clock,
            pacing=Pacing.of(settings),
            random=random,
        )
        self._machines = Machines(
            api,
            self.cluster,
            self._inventory,
            self.scheduler,
            self._binding,
            aims=aims,
            loss=self._loss,
            refusals=refusals,
            pauses=pauses,
            events=self.events,
            metrics=metrics,
            now=now,
        )
        self._labels = NodeLabels(api, self.cluster)
        metrics.follow(self._levels)
        self._leads = False
        self._listen()

    async def lead(self, leadership: Leadership) -> None:
        """Read everything anew, then work until cancelled."""
        self._leads = True
        self.queue.open()
        self.scheduler.open()
        self._loss.reset()
        self._anchors.reset()
        self._metrics.leads(leadership.epoch)
        try:
            await self._take_over(leadership)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.scheduler.run(leadership))
                group.create_task(self.queue.run(partial(self._work, leadership=leadership), self._settings.workers))
                group.create_task(self._audit())
                group.create_task(self._anchors.remove_where_off(leadership))
                group.create_task(self._watch_nodes())
                group.create_task(self.events.run())
        finally:
            self._leads = False
            self._metrics.leads(None)
            self.queue.close()
            self.scheduler.close()

    async def _take_over(self, leadership: Leadership) -> None:
        """The ledger of a new leader comes from complete lists alone."""
        random, failures = Random(), 0  # noqa: S311 - jitter, not secrecy
        while True:
            try:
                await self.cluster.refresh(self._api)
            except ApiError as error:
                failures += 1
                _LOGGER.warning("cannot list the cluster yet, nothing is decided: %s", error)
                await asyncio.sleep(Backoff(0.2, 5.0).pause(failures, random))
            else:
                break
        held = (held_by(vm) for vm in self.cluster.machines)
        self.ledger.rebuild(holding for holding in held if holding is not None)
        gc.collect()
        gc.freeze()  # a full collection over 10,000 VMs takes a third of a second; these live as long as their objects
        self._enqueue_all()
        _LOGGER.info(
            "took over in epoch %d: %d VMs, %d of them bound, %d nodes",
            leadership.epoch,
            len(self.cluster.machines),
            len(self.ledger),
            len(self.cluster.hypervisors),
        )

    async def _audit(self) -> None:
        """Repair, now and then, what a watch missed."""
        while True:
            await asyncio.sleep(self._settings.audit_interval)
            try:
                await self.cluster.refresh(self._api)
            except ApiError as error:
                _LOGGER.warning("the audit could not list the cluster and is put off: %s", error)
                continue
            self._enqueue_all()

    async def _watch_nodes(self) -> None:
        """VMs of nodes that are lost, or are back, have to be looked at: no watch tells of silence."""
        while True:
            for name in await self._loss.look():
                self._attend_on(name)
            await asyncio.sleep(_LOOK)

    async def _work(self, task: Task, leadership: Leadership) -> float | None:
        try:
            return await self._dispatch(task, leadership)
        except NotLeadingError as error:
            _LOGGER.info("%s: %s; another leader will see to it", task, error)
            return None

    async def _dispatch(self, task: Task, leadership: Leadership) -> float | None:
        key: Key = (task.namespace, task.name)
        cluster = self.cluster
        if task.kind in {kinds.NODE.plural, kinds.POD.plural}:  # the anchors' tasks have their nodes' names
            logs.tag(node=task.name)
        match task.kind:
            case kinds.VIRTUAL_MACHINE.plural:
                return await self._machines.reconcile(key, leadership)
            case kinds.NODE.plural:
                await self._labels.reconcile(task.name, leadership)
            case kinds.POD.plural:
                return await self._anchors.reconcile(task.name, leadership)
            case kinds.VIRTUAL_NETWORK.plural if network := cluster.networks.get(task.name):
                status = network_status(network, self.ledger.taken(task.name))
                await write_status(self._api, cluster.networks, key, status, leadership)
            case kinds.STORAGE_POOL.plural if pool := cluster.pools.get(task.name):
                await write_status(self._api, cluster.pools, key, pool_status(pool, cluster.hypervisors), leadership)
            case kinds.VIRTUAL_MACHINE_IMAGE.plural if image := cluster.images.get(task.name, task.namespace):
                await write_status(self._api, cluster.images, key, image_status(image, cluster.hypervisors), leadership)
            case kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE.plural if golden := cluster.cluster_images.get(task.name):
                status = image_status(golden, cluster.hypervisors)
                await write_status(self._api, cluster.cluster_images, key, status, leadership)
        return None

    def _listen(self) -> None:
        cluster = self.cluster
        cluster.machines.listen(self._route_machine)
        cluster.hypervisors.listen(self._route_hypervisor)
        cluster.nodes.listen(lambda change: self._add(cluster.nodes, change.key))
        if cluster.anchored:
            self.ledger.tell(self._route_claims)
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
        self.queue.add(Task(kinds.POD.plural, "", node))

    def _happened(self, cure: Cure) -> None:
        self.scheduler.happened(cure)

    def _is_busy(self) -> bool:
        return self.scheduler.busy

    def _levels(self) -> Levels:
        levels = self.scheduler.levels(len(self.ledger))
        phases: Counter[str] = Counter(vm.status.phase or "Pending" for vm in self.cluster.machines)
        return replace(levels, phases=phases, tasks=len(self.queue), anchors=self._anchors.levels())

    def _wake(self, key: Key) -> None:
        self.scheduler.retry(key)

    def _attend(self, vm: VirtualMachine) -> None:
        if not self._leads:  # whoever does sees to it, counts it, and tells of it
            return
        if self._machines.attend(vm):
            self._add(self.cluster.machines, vm.key)

    def _attend_on(self, node: str) -> None:
        self._attend_all(lambda vm: vm.status.node_name == node)

    def _attend_all(self, which: Callable[[VirtualMachine], bool]) -> None:
        for vm in self.cluster.machines:
            if which(vm):
                self._attend(vm)

    def _attend_named(self, guests: Iterable[HypervisorRemains]) -> None:
        """VMs whose guest a node has told of: one that is Halted wants to be bound where its disks are."""
        for guest in guests:
            vm = self.cluster.machines.get(guest.name, guest.namespace)
            if vm is not None and not is_bound(vm):
                self._attend(vm)

    def _add(self, collection: Collection[Any], key: Key) -> None:
        self.queue.add(Task(collection.kind.plural, *key))

    def _add_later(self, collection: Collection[Any], key: Key) -> None:
        self.queue.add_after(Task(collection.kind.plural, *key), self._settings.aggregation_delay)

    def _enqueue_all(self) -> None:
        cluster = self.cluster
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
        assumed = self.ledger.assumed(uid)
        freed = self.ledger.observe(uid, after)
        if freed:
            self._happened(Cure.CLAIM_FREED)
        if after is not None and after != before and assumed != after.claim_id:
            self._happened(Cure.CLAIM_ADDED)
        self._recount(before, after)
        self._note_phase(change)
        self._metrics.lives.changed(change.old, change.new)
        if change.new is not None:
            self._attend(change.new)
            return
        self.scheduler.leave(change.key)
        self._binding.forget(uid)
        self._refusals.forget(uid)
        self._pauses.forget(uid)

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
                self._add_later(self.cluster.networks, ("", nic.network_name))

    def _route_hypervisor(self, change: Change[Hypervisor]) -> None:
        """Its Node's labels, the images and pools that it told of, and VMs that its accelerator gives another size."""
        self._add(self.cluster.nodes, change.key)
        old, new = change.old.status if change.old else None, change.new.status if change.new else None
        if new is not None and (old is None or old.accelerator != new.accelerator):
            self._attend_on(change.key[1])
        if new is not None and (old is None or old.remains != new.remains):
            self._attend_named(new.remains)
        if (old.images if old else ()) != (new.images if new else ()):
            for collection in (self.cluster.images, self.cluster.cluster_images):
                for key in collection.all_keys():
                    self._add_later(collection, key)
        if (old.storage_pools if old else ()) != (new.storage_pools if new else ()):
            for key in self.cluster.pools.all_keys():
                self._add_later(self.cluster.pools, key)

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
