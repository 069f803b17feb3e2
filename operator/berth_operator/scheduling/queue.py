"""Whose turn it is: VMs that want a berth, by priority, then age; the rejected wait until something could help them.

kube-scheduler's queue, rethought for VMs that are interchangeable. Rejected VMs wait in a *line* per shape, and only a
line's head is tried again: after an event of a kind that could cure its rejection, after `Pace.retry` anyway, or
because a node took the one before it. What is found out about the head holds for those behind it, so that 180 VMs
which do not fit cost one decision, and n freed berths take n of them with n + 1. A head that is due for a trial
competes with newcomers by the same order, and `pop` gives whichever is first: nobody younger or lesser takes the berth
that an event freed for somebody who waits.

How one VM goes through it; the caller decides between two awaits, and writes whenever it likes:

    entry = queue.pop(now)
    if queue.join(entry.key, shape, now) is not None:  parked beside its like without a decision
    elif a node takes it:                              queue.placed(...), write, then queue.done(...)
    else:                                              queue.park(..., Verdict(causes, note, room), now)

and `back_off` instead of any of these after an error. What `untold` gives is written to the VMs' conditions.

The races: watch events come at any moment, so `add` and `remove` hold at any moment, too. While a VM is in flight they
are remembered, and take effect when it is settled: nobody is ever in flight twice. Events that happen between a
decision and its `park` count as after it. The queue is never the truth: a new leader fills a new one from the API.

No clock, no I/O: `now` is in seconds of any clock that never goes back. Every operation takes O(log n) amortised,
whether the n VMs are of one shape or of n; `happened` takes O(1).
"""

from collections.abc import Iterator, Mapping
from typing import Generic

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.entries import Entry, Key, Order, State
from berth_operator.scheduling.lines import N, S, Ticket, Verdict
from berth_operator.scheduling.parking import Pace, Parking
from berth_operator.scheduling.ranks import Ranked
from berth_operator.scheduling.reservations import Reservations


class SchedulingQueue(Generic[S, N]):
    """VMs to be placed. `S`: their shapes, hashable; `N`: what is told of a rejection, comparable.

    A shape holds everything that a decision looks at except who the VM is and how old it is; see `lines`.
    """

    def __init__(self, pace: Pace | None = None, reservations: Reservations | None = None) -> None:
        self._tickets: dict[Key, Ticket[S, N]] = {}
        self._active: Ranked[Ticket[S, N], Order] = Ranked()
        self._backoff: Ranked[Ticket[S, N], float] = Ranked()
        self._parking: Parking[S, N] = Parking(pace or Pace())
        self._in_flight = 0
        self.reservations = reservations or Reservations()
        """For large VMs; the queue tells it who waits for room, and takes its endings as freed room."""

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, key: Key) -> bool:
        return key in self._tickets

    def add(self, entry: Entry, now: float) -> None:
        """This VM wants a berth: call it whenever it is seen without one, however often.

        An entry equal to the one that the queue has changes nothing, so that the echo of a condition does not bring a
        parked VM back. A different one is tried at once, wherever it waited. One that comes while its VM is in flight
        is tried after that: if `done` settles it (it was bound, and refused meanwhile), or if it differs.
        """
        ticket = self._tickets.get(entry.key)
        if ticket is None:
            self._activate(Ticket(entry))
        elif ticket.state is State.IN_FLIGHT:
            ticket.again, ticket.gone = entry, False
        elif ticket.entry != entry:
            self._withdraw(ticket)
            self._renew(ticket, entry, now)

    def remove(self, key: Key, now: float) -> None:
        """The VM is gone, or needs no berth. One in flight is forgotten when it is settled."""
        ticket = self._tickets.get(key)
        if ticket is None:
            return
        if ticket.state is State.IN_FLIGHT:
            ticket.gone = True
            return
        self._withdraw(ticket)
        self._forget(ticket, now)

    def retry(self, key: Key) -> None:
        """Try the VM again at once, whatever it waits for; one in flight, after that. Unknown ones are ignored."""
        ticket = self._tickets.get(key)
        if ticket is None:
            return
        if ticket.state is State.IN_FLIGHT:
            ticket.again, ticket.forced = ticket.again or ticket.entry, True
            return
        self._withdraw(ticket)
        self._activate(ticket)

    def happened(self, cure: Cure) -> None:
        """Something took place that may help those whose rejection it cures. Call `pop` soon after."""
        self._parking.happened(cure)

    def pop(self, now: float) -> Entry | None:
        """The VM whose turn it is, now in flight; None if all wait (until `next_time`, or something happens)."""
        if self.reservations.ended(now):
            self.happened(Cure.CLAIM_FREED)
        for rested in self._backoff.due(now):
            self._activate(rested)
        self._parking.advance(now)
        ticket, head = self._active.first(), self._parking.first()
        if head is not None and (ticket is None or head.order < ticket.order):
            ticket = self._parking.take()
        if ticket is None:
            return None
        self._active.discard(ticket)
        ticket.state, ticket.seen = State.IN_FLIGHT, self._parking.events
        ticket.again, ticket.forced, ticket.gone = None, False, False
        self._in_flight += 1
        return ticket.entry

    def join(self, key: Key, shape: S, now: float) -> Verdict[N] | None:
        """Settle the VM without a decision if it may wait beside its like: then the verdict that it shares.

        So it may while a rejection of somebody before it holds, that is: nothing happened that could cure it; and
        while somebody before it in the line waits for a trial. None: decide now; what happened up to this call counts
        as seen by the decision.

        Raises:
            LookupError: the VM is not in flight.
        """
        ticket = self._flying(key)
        ticket.seen = self._parking.events
        line = self._parking.covering(ticket, shape)
        if line is None:
            return None
        verdict = line.verdict
        if self._lands(ticket, now):
            self._parking.join(line, ticket)
            self._wait_for_room(ticket, verdict, now)
        return verdict

    def park(self, key: Key, shape: S, verdict: Verdict[N], now: float) -> None:
        """The VM was rejected: it waits in the line of its shape, with the age it always had.

        Raises:
            LookupError: the VM is not in flight.
        """
        ticket = self._flying(key)
        if self._lands(ticket, now):
            self._parking.judge(ticket, shape, verdict, now)
            self._wait_for_room(ticket, verdict, now)

    def placed(self, key: Key, shape: S, now: float) -> None:
        """A node was found, and the claim assumed; the VM stays in flight. The next of its shape may be tried at once.

        Raises:
            LookupError: the VM is not in flight.
        """
        ticket = self._flying(key)
        self.reservations.met(ticket.entry.uid, now)
        self._parking.placed(ticket, shape)

    def back_off(self, key: Key, delay: float, now: float) -> None:
        """Something failed: try the VM again after `delay` seconds, or at once if it changed meanwhile.

        Raises:
            LookupError: the VM is not in flight.
        """
        ticket = self._flying(key)
        if self._lands(ticket, now):
            self._parking.end(ticket)
            ticket.state = State.BACKOFF
            self._backoff.set(ticket, now + delay)

    def done(self, key: Key, now: float) -> None:
        """The VM is settled: bound, or it needs nothing. It is forgotten, unless it was added again meanwhile.

        Raises:
            LookupError: the VM is not in flight.
        """
        ticket = self._flying(key)
        ticket.forced = True
        if self._lands(ticket, now):
            self._parking.end(ticket)
            self._forget(ticket, now)

    def untold(self, now: float, most: int = 100) -> list[tuple[Entry, N]]:
        """Parked VMs that are to be told (another) reason, longest waiting first; they count as told.

        A newly parked VM is to be told at once, one whose line's note changed at most once per `Pace.retell`.
        """
        return self._parking.untold(now, most)

    def tell_again(self, key: Key) -> None:
        """The VM could not be told: give it again after `Pace.retell`, if it is still parked."""
        ticket = self._tickets.get(key)
        if ticket is not None:
            self._parking.tell_again(ticket)

    def next_time(self, now: float) -> float | None:
        """When to call `pop` and `untold` again though nothing happens: not before `now`; None: no need to."""
        if self._active:
            return now
        times = (self._backoff.first_rank(), self._parking.next_time(now), self.reservations.next_time())
        known = [time for time in times if time is not None]
        return max(now, min(known)) if known else None

    def state(self, key: Key) -> State | None:
        """Where the VM is; None: not in the queue."""
        ticket = self._tickets.get(key)
        return None if ticket is None else ticket.state

    def verdict(self, shape: S) -> Verdict[N] | None:
        """Why VMs of this shape wait; None if none does."""
        line = self._parking.line(shape)
        return None if line is None else line.verdict

    def parked(self, shape: S) -> int:
        """How many VMs of this shape wait."""
        line = self._parking.line(shape)
        return 0 if line is None else len(line.members)

    def sizes(self) -> Mapping[State, int]:
        """How many VMs are in each state."""
        active, backoff, flying = len(self._active), len(self._backoff), self._in_flight
        return {
            State.ACTIVE: active,
            State.BACKOFF: backoff,
            State.PARKED: len(self._tickets) - active - backoff - flying,
            State.IN_FLIGHT: flying,
        }

    def waiting(self) -> Iterator[tuple[Verdict[N], int]]:
        """Why VMs wait, and how many for each reason, a shape at a time."""
        for line in self._parking.lines():
            yield line.verdict, len(line.members)

    @property
    def shapes(self) -> int:
        """How many shapes wait."""
        return len(self._parking)

    def _flying(self, key: Key) -> Ticket[S, N]:
        ticket = self._tickets.get(key)
        if ticket is None or ticket.state is not State.IN_FLIGHT:
            raise LookupError(f"VM {key[0]}/{key[1]} is not in flight: only what pop gave can be settled, and once")
        return ticket

    def _lands(self, ticket: Ticket[S, N], now: float) -> bool:
        """End the flight. True: the VM is the caller's to put somewhere; else what came meanwhile decided it."""
        self._in_flight -= 1
        if ticket.gone:
            self._parking.end(ticket)
            self._forget(ticket, now)
            return False
        if ticket.again is None or (ticket.again == ticket.entry and not ticket.forced):
            return True
        self._parking.end(ticket)
        self._renew(ticket, ticket.again, now)
        return False

    def _withdraw(self, ticket: Ticket[S, N]) -> None:
        """Take a VM that is not in flight out of where it waits."""
        if ticket.state is State.PARKED:
            self._parking.leave(ticket)
        self._active.discard(ticket)
        self._backoff.discard(ticket)

    def _renew(self, ticket: Ticket[S, N], entry: Entry, now: float) -> None:
        if entry.uid == ticket.entry.uid:
            ticket.entry, ticket.told = entry, None  # whoever changed it may have said something else on it
            self._activate(ticket)
            return
        self.reservations.leave(ticket.entry.uid, now)
        self._activate(Ticket(entry))

    def _activate(self, ticket: Ticket[S, N]) -> None:
        ticket.state = State.ACTIVE
        self._tickets[ticket.entry.key] = ticket
        self._active.set(ticket, ticket.order)

    def _forget(self, ticket: Ticket[S, N], now: float) -> None:
        self.reservations.leave(ticket.entry.uid, now)
        del self._tickets[ticket.entry.key]

    def _wait_for_room(self, ticket: Ticket[S, N], verdict: Verdict[N], now: float) -> None:
        if verdict.room:
            self.reservations.wait(ticket.entry, now)
        else:
            self.reservations.leave(ticket.entry.uid, now)
