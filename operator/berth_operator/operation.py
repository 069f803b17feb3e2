"""One term of leadership: read everything, then work until the term ends.

Changes in the store become tasks in a work queue (`routing.py`), and tasks become calls of a controller (`_work`).
Watches feed the store whether we lead or not; only a leader empties the queues.
"""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random

from berth_api import kinds, logs
from berth_api.client import Api, ApiError
from berth_api.workqueues import Backoff, WorkQueue
from berth_operator.cluster import Cluster
from berth_operator.controllers.aggregates import image_status, network_status, pool_status, write_status
from berth_operator.controllers.aims import Aims
from berth_operator.controllers.anchors import Anchors
from berth_operator.controllers.asking import Asking
from berth_operator.controllers.binding import Binding, at_once
from berth_operator.controllers.deciding import Deciding
from berth_operator.controllers.interfaces import Interfaces
from berth_operator.controllers.machines import Machines
from berth_operator.controllers.nodelabels import NodeLabels
from berth_operator.controllers.nodeloss import NodeLoss
from berth_operator.controllers.refusals import Pauses, Refusals
from berth_operator.events import Events
from berth_operator.inventory import Inventory
from berth_operator.leases import Leadership, NotLeadingError
from berth_operator.metrics import Levels, Metrics
from berth_operator.pacing import Pacing
from berth_operator.routing import Routing, Task
from berth_operator.scheduler import Scheduler
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.holdings import held_by
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.profiles import Profile
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.settings import Settings
from berth_operator.store import Key
from berth_operator.waiting import WaitingRoom

_LOGGER = logging.getLogger(__name__)
_LOOK = 1.0
"""Seconds between looks at the heartbeats of nodes that VMs are bound to."""


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
        self._routing = Routing(
            self.cluster,
            self.queue,
            ledger=self.ledger,
            inventory=self._inventory,
            scheduler=self.scheduler,
            machines=self._machines,
            anchors=self._anchors,
            waiting=self._waiting,
            forgetful=(self._binding, refusals, pauses),
            metrics=metrics,
            delay=settings.aggregation_delay,
        )

    async def lead(self, leadership: Leadership) -> None:
        """Read everything anew, then work until cancelled."""
        self._routing.leads = True
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
            self._routing.leads = False
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
        self._routing.enqueue_all()
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
            self._routing.enqueue_all()

    async def _watch_nodes(self) -> None:
        """VMs of nodes that are lost, or are back, have to be looked at: no watch tells of silence."""
        while True:
            for name in await self._loss.look():
                self._routing.attend_on(name)
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

    def _happened(self, cure: Cure) -> None:
        self.scheduler.happened(cure)

    def _wake(self, key: Key) -> None:
        self.scheduler.retry(key)

    def _is_busy(self) -> bool:
        return self.scheduler.busy

    def _levels(self) -> Levels:
        levels = self.scheduler.levels(len(self.ledger))
        phases: Counter[str] = Counter(vm.status.phase or "Pending" for vm in self.cluster.machines)
        return replace(levels, phases=phases, tasks=len(self.queue), anchors=self._anchors.levels())
