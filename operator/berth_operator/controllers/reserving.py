"""Room kept for VMs that waited long for it: who gets it, where, and what the snapshot is told.

The queue says who has waited long enough, the snapshot knows nodes, and only a VM's wish says how much is to be kept.
"""

import logging
from collections.abc import Hashable

from berth_api import logs
from berth_operator.cluster import Cluster
from berth_operator.controllers.deciding import Deciding, Wish
from berth_operator.controllers.references import Unbindable
from berth_operator.controllers.telling import Note
from berth_operator.scheduling.entries import Entry, State
from berth_operator.scheduling.keeping import room_to_keep
from berth_operator.scheduling.queue import SchedulingQueue
from berth_operator.scheduling.reservations import Reservations
from berth_operator.scheduling.snapshot import Reservation, Snapshot

_LOGGER = logging.getLogger(__name__)


class Reserving:
    """Keeps a snapshot's reservations in step with the queue's.

    Args:
        reservations: Who gets room kept, and for how long.
        queue: Where VMs wait: one that is being bound needs no room kept elsewhere.
        cluster: What there is.
        deciding: Says what a VM asks for.
    """

    def __init__(
        self,
        reservations: Reservations,
        queue: SchedulingQueue[Hashable, Note],
        cluster: Cluster,
        deciding: Deciding,
    ) -> None:
        self._reservations, self._queue = reservations, queue
        self._cluster, self._deciding = cluster, deciding
        self._kept: tuple[tuple[str, Entry], ...] | None = None

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Keep room for whoever has waited long for it, and for nobody whose time for that is over."""
        entry = self._reservations.due(now, len(snapshot))
        if entry is not None:
            self._reserve(snapshot, entry, now)
        active = self._reservations.active(now)
        held = tuple((node, each.entry) for node, each in active.items())
        if held == self._kept and snapshot.reservations.keys() <= snapshot.index.keys():
            return
        self._kept = held
        kept: dict[str, Reservation] = {}
        for node, each in held:
            if node not in snapshot.index:
                self._reservations.node_gone(node, now)
                continue
            wish = self._wish(each)
            if wish is not None:
                request = wish.request
                memory = int(snapshot.memory_wanted(request)[snapshot.index[node]])
                kept[node] = Reservation(request.claimant, request.cpu, memory, dict(request.pools))
        snapshot.reserve(kept)

    def _wish(self, entry: Entry) -> Wish | None:
        """What the VM asks for; None where that cannot be said now."""
        namespace, name = entry.key
        vm = self._cluster.machines.get(name, namespace)
        if vm is None:
            return None
        try:
            return self._deciding.wish(vm)
        except Unbindable:
            return None

    def _reserve(self, snapshot: Snapshot, entry: Entry, now: float) -> None:
        wish = self._wish(entry) if self._queue.state(entry.key) is State.PARKED else None
        node = None
        if wish is not None:
            node = room_to_keep(
                snapshot, wish.request, lambda name: self._reservations.available(name, now), wish.profile
            )
        if node is None:
            self._reservations.pass_over(entry.uid, now)
            return
        self._reservations.reserve(entry.uid, node, now)
        with logs.tagged(vm="/".join(entry.key), uid=entry.uid, node=node):
            _LOGGER.info("room on node %s is kept for %s", node, "/".join(entry.key))
