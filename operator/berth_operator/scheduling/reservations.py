"""Room kept for large VMs, so that a stream of small ones, each taking what just got free, does not starve them.

A VM that was rejected for want of room for longer than `after` may get a node's room reserved: from then on nobody of
no higher priority, or younger at the same one, is placed there unless both fit, until enough has left for the large
one. It is a bet that enough will leave in time, so a reservation lapses after `hold`, and then

- its VM gets another only after as long a pause, held twice as long (up to `longest`), so that even a VM that
  outlasts everything on the node gets in at last;
- in the order of those who wait, it counts as younger by what it has had, so that one that never fits keeps nobody
  else from a reservation;
- its node rests for half of the time that it was held, for the sake of the small ones, whoever asks next: a large VM
  that never fits, or many of them in turn, never shut small ones out for good. Half: so that others that wait get
  their turn before the same VM comes again.

At most `most(nodes)` at a time, one per node. Where to is not decided here: the caller asks `due`, chooses a node
which would have the room if it were empty of others, and either calls `reserve` or `pass_over`.

Times are in seconds of the queue's clock; creation times, in seconds since the epoch, are compared among themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from berth_operator.scheduling.entries import Entry, Key, Order
from berth_operator.scheduling.ranks import Ranked


@dataclass(frozen=True, slots=True)
class Reservation:
    """A node's room, kept for a VM from `since` until before `until`, seconds."""

    entry: Entry
    node: str
    since: float
    until: float

    def yields_to(self, entry: Entry) -> bool:
        """Whether this VM may take the room: the one it is for, and those before it in the queue's order."""
        return entry.order <= self.entry.order


@dataclass(slots=True)
class _Candidate:
    """A VM that waits for room."""

    entry: Entry
    hold: float
    """Of its next reservation."""
    had: float = 0.0
    """Seconds by which it counts as younger."""

    @property
    def order(self) -> Order:
        return (-self.entry.priority, self.entry.created + self.had, self.entry.key)


class Reservations:
    """Who waits for room, who has it reserved, and which nodes rest. Every operation takes O(log n) amortised."""

    def __init__(
        self, *, after: float = 30.0, hold: float = 300.0, longest: float = 3600.0, nodes_per_reservation: int = 20
    ) -> None:
        self._after, self._hold, self._longest, self._per = after, hold, longest, nodes_per_reservation
        self._candidates: dict[str, _Candidate] = {}
        self._later: Ranked[str, float] = Ranked()
        self._eligible: Ranked[str, tuple[int, float, Key]] = Ranked()
        self._nodes: dict[str, str] = {}
        self._active: dict[str, Reservation] = {}
        self._lapses: Ranked[str, float] = Ranked()
        self._resting: Ranked[str, float] = Ranked()
        self._ended = False

    def most(self, nodes: int) -> int:
        """How many reservations there may be at a time, of this many nodes."""
        return max(1, nodes // self._per)

    def wait(self, entry: Entry, now: float) -> None:
        """The VM was rejected for want of room. Repeated rejections do not start its waiting anew."""
        candidate = self._candidates.get(entry.uid)
        if candidate is None:
            self._candidates[entry.uid] = _Candidate(entry, self._hold)
            self._later.set(entry.uid, now + self._after)
            return
        candidate.entry = entry
        if entry.uid in self._eligible:
            self._eligible.set(entry.uid, candidate.order)

    def leave(self, uid: str, now: float) -> None:
        """The VM is bound or gone, or room is not what it lacks: forget it, and end its reservation."""
        self._advance(now)
        if self._candidates.pop(uid, None) is None:
            return
        self._later.discard(uid)
        self._eligible.discard(uid)
        reservation = self._end(uid)
        if reservation is not None:
            self._rest(reservation, now)

    def met(self, uid: str, now: float) -> None:
        """A node was found for the VM, and its claim counts: its reservation ends.

        Should the write fail, it may have the next at once.
        """
        self._advance(now)
        if self._end(uid) is not None:
            self._later.set(uid, now)

    def due(self, now: float, nodes: int) -> Entry | None:
        """The VM that should get a reservation now: of the highest priority the oldest, if there may be one more."""
        self._advance(now)
        uid = self._eligible.first()
        return None if uid is None or len(self._active) >= self.most(nodes) else self._candidates[uid].entry

    def available(self, node: str, now: float) -> bool:
        """Whether the node's room may be reserved: it neither is already nor rests."""
        self._advance(now)
        return node not in self._active and node not in self._resting

    def reserve(self, uid: str, node: str, now: float) -> Reservation:
        """Reserve the node's room for a VM that is due.

        Raises:
            ValueError: the VM does not wait for a reservation, or the node is not available.
        """
        if not self.available(node, now):
            raise ValueError(f"node {node} is reserved, or rests from being so: ask `available` first")
        if uid not in self._eligible:
            raise ValueError(f"the VM with uid {uid} is not due for a reservation: ask `due` first")
        candidate = self._candidates[uid]
        self._eligible.discard(uid)
        reservation = Reservation(candidate.entry, node, now, now + candidate.hold)
        self._active[node], self._nodes[uid] = reservation, node
        self._lapses.set(uid, reservation.until)
        return reservation

    def pass_over(self, uid: str, now: float) -> None:
        """There is no node to reserve for the VM that was due: others first, and this one again after `after`.

        Not ever more rarely, lest it misses the times between a node's rest and the next turn of another.
        """
        if uid in self._eligible:
            self._eligible.discard(uid)
            self._later.set(uid, now + self._after)

    def node_gone(self, node: str, now: float) -> None:
        """The node is no longer there: a VM that had it reserved may have the next at once, no worse than before."""
        self._resting.discard(node)
        reservation = self._active.get(node)
        if reservation is not None:
            self.met(reservation.entry.uid, now)

    def active(self, now: float) -> Mapping[str, Reservation]:
        """Reservations by node, as a live view; whom one `yields_to`, a filter lets through."""
        self._advance(now)
        return MappingProxyType(self._active)

    def ended(self, now: float) -> bool:
        """Whether any ended since this was last asked: others may fit where it was."""
        self._advance(now)
        ended, self._ended = self._ended, False
        return ended

    def next_time(self) -> float | None:
        """When the next one lapses, or somebody is due."""
        times = [time for time in (self._lapses.first_rank(), self._later.first_rank()) if time is not None]
        return min(times, default=None)

    def _advance(self, now: float) -> None:
        for uid in self._lapses.due(now):
            self._lapse(uid)
        for uid in self._later.due(now):
            self._eligible.set(uid, self._candidates[uid].order)
        for _node in self._resting.due(now):
            pass

    def _lapse(self, uid: str) -> None:
        reservation, candidate = self._end(uid), self._candidates[uid]
        if reservation is None:
            return
        self._rest(reservation, reservation.until)
        self._later.set(uid, reservation.until + candidate.hold)
        candidate.had += 2 * candidate.hold
        candidate.hold = min(self._longest, 2 * candidate.hold)

    def _rest(self, reservation: Reservation, ended: float) -> None:
        self._resting.set(reservation.node, ended + (ended - reservation.since) / 2)

    def _end(self, uid: str) -> Reservation | None:
        node = self._nodes.pop(uid, None)
        if node is None:
            return None
        self._lapses.discard(uid)
        self._ended = True
        return self._active.pop(node)
