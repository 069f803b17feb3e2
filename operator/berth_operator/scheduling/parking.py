"""Where rejected VMs wait, a line per shape, until something happened that could help them.

An event must cost nothing, however many wait: it only raises a counter. Lines that the same kinds of events could cure
wait together, so that at the next `advance` they are stirred all at once, not one by one. An event that falls between
a VM's decision and its being parked is not lost: a rejection carries the number of the last event it has seen.

Events may come by the thousand a second. A line therefore pauses after a rejection, for longer the more lines there
are, so that all attempts together cost a bounded share of the decisions; one event after the pause is answered at
once, and any number during it when it is over.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Generic

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.entries import Entry, Order
from berth_operator.scheduling.lines import Line, N, S, Ticket, Verdict
from berth_operator.scheduling.ranks import Ranked, Turns

_GOLDEN = 0.618033988749895
"""Multiples of it, modulo 1, are spread evenly however many there are."""


@dataclass(frozen=True)
class Pace:
    """How often what waits is tried and told. Seconds."""

    retry: float = 300.0
    """A line that nothing helped is tried anyway after this long, and up to a quarter more to spread the lines:
    against causes that no filter named, as kube-scheduler flushes its leftovers."""
    pause: float = 0.05
    """How long a rejected line is left alone, whatever happens."""
    trials: float = 500.0
    """Attempts per second of all lines together: with more than `pause` times this many lines the pause gets longer,
    so that newcomers get the greater part of the decisions even if something happens all the time."""
    retell: float = 30.0
    """A VM is told of changed reasons at most this often."""


class Parking(Generic[S, N]):
    """All lines. A line that has members is ready, or waits for a time, or is being tried, never two of these."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._lines: dict[S, Line[S, N]] = {}
        self._ready: Ranked[Line[S, N], Order] = Ranked()
        self._times: Ranked[Line[S, N], float] = Ranked()
        self._waiting: dict[frozenset[Cure], Turns[Line[S, N], Order]] = {}
        self._untold: Ranked[Line[S, N], float] = Ranked()
        self._last: dict[Cure, int] = {}
        self._dirty: set[Cure] = set()
        self._numbers = count()
        self.events = 0
        """The number of the last event."""

    def __len__(self) -> int:
        return len(self._lines)

    def lines(self) -> Iterable[Line[S, N]]:
        """All lines."""
        return self._lines.values()

    def line(self, shape: S) -> Line[S, N] | None:
        """The line of a shape, if any VM of it is parked or being tried."""
        return self._lines.get(shape)

    def happened(self, cure: Cure) -> None:
        """Count an event."""
        self.events += 1
        self._last[cure] = self.events
        self._dirty.add(cure)

    def advance(self, now: float) -> None:
        """Find the lines that events or time have made ready."""
        for causes, lines in self._waiting.items():
            if not self._dirty.isdisjoint(causes):
                lines.renew()
            self._weed(lines, now)
        self._dirty.clear()
        for line in self._times.due(now):
            self._make_ready(line)

    def first(self) -> Ticket[S, N] | None:
        """The best head of all lines that are ready, as of the last `advance`."""
        line = self._first()
        return None if line is None else line.head

    def next_time(self, now: float) -> float | None:
        """When a line gets ready by time, or somebody is to be told; now, if there may be one already."""
        if self._dirty or self._first() is not None:
            return now
        times = [time for time in (self._times.first_rank(), self._untold.first_rank()) if time is not None]
        return min(times, default=None)

    def covering(self, ticket: Ticket[S, N], shape: S) -> Line[S, N] | None:
        """The line that the VM may join without a decision: somebody better waits there, or its rejection holds."""
        line = self._lines.get(shape)
        if line is None or line.leads(ticket):
            return line
        holds = line in self._beside(line) and not self._stirred(line)
        return line if holds and line.judged < ticket.order else None

    def join(self, line: Line[S, N], ticket: Ticket[S, N]) -> None:
        """Stand in a line that covers the VM."""
        tried = self._end_own(line, ticket)
        line.enter(ticket)
        self._tell_later(line)
        if tried:
            self._make_ready(line)
        else:
            self._rerank(line)

    def judge(self, ticket: Ticket[S, N], shape: S, verdict: Verdict[N], now: float) -> None:
        """Park a VM that a decision rejected; what was found holds for all of its line that it comes before."""
        line = self._lines.get(shape)
        if line is None:
            line = self._lines[shape] = Line(shape, next(self._numbers), verdict, ticket.order)
        if line.head is not None and line.head.order < ticket.order:
            self.join(line, ticket)
            return
        self._end_own(line, ticket)
        self._withdraw(line)
        line.judge(verdict, ticket)
        line.enter(ticket)
        self._tell_later(line)
        line.not_before = now + max(self._pace.pause, len(self._lines) / self._pace.trials)
        if line.trial is None:
            self._settle(line, ticket.order, now)

    def leave(self, ticket: Ticket[S, N]) -> None:
        """A parked VM waits no longer."""
        line = ticket.line
        if line is None:
            raise LookupError(f"{ticket.entry.key} is not parked")
        line.leave(ticket)
        self._tell_later(line)
        if line.head is None:
            self._close(line)
        else:
            self._rerank(line)

    def take(self) -> Ticket[S, N]:
        """Take the best head of the lines that are ready, to try it for its line."""
        line, ticket = self._first(), self.first()
        if line is None or ticket is None:
            raise LookupError("no line is ready")
        line.leave(ticket)
        self._withdraw(line)
        self._tell_later(line)
        line.trial, ticket.line = ticket, line
        return ticket

    def end(self, ticket: Ticket[S, N]) -> None:
        """A trial, if it was one, ended without a rejection: the next of its line may have what it did not take."""
        line, ticket.line = ticket.line, None
        if line is None:
            return
        line.trial = None
        if line.head is None:
            self._close(line)
        else:
            self._make_ready(line)

    def placed(self, ticket: Ticket[S, N], shape: S) -> None:
        """A node took one of this shape: the next head is tried at once."""
        self.end(ticket)
        line = self._lines.get(shape)
        if line is not None and line.trial is None:
            self._make_ready(line)

    def untold(self, now: float, most: int) -> list[tuple[Entry, N]]:
        """Whom to tell what, now; they count as told."""
        told: list[tuple[Entry, N]] = []
        while len(told) < most:
            line, due = self._untold.first(), self._untold.first_rank()
            ticket = None if line is None else line.telling.open.first()
            if line is None or ticket is None or due is None or due > now:
                break
            line.tell(ticket, now)
            self._tell_later(line)
            told.append((ticket.entry, line.verdict.note))
        return told

    def tell_again(self, ticket: Ticket[S, N]) -> None:
        """A parked VM could not be told."""
        line = ticket.line
        if line is not None and ticket in line.telling:
            line.tell_again(ticket)
            self._tell_later(line)

    def _end_own(self, line: Line[S, N], ticket: Ticket[S, N]) -> bool:
        """End the VM's trial; True if it was for this line, whose state the caller then settles."""
        if ticket.line is not line:
            self.end(ticket)
            return False
        line.trial = ticket.line = None
        return True

    def _stirred(self, line: Line[S, N]) -> bool:
        return any(self._last.get(cure, 0) > line.seen for cure in line.verdict.causes)

    def _settle(self, line: Line[S, N], order: Order, now: float) -> None:
        if self._stirred(line):
            self._defer(line)
            return
        self._beside(line).take(line, order)
        self._times.set(line, now + self._pace.retry * (1 + (line.number * _GOLDEN) % 1 / 4))

    def _weed(self, lines: Turns[Line[S, N], Order], now: float) -> None:
        """Have a line come first that can be tried now."""
        while (line := lines.open.first()) is not None:
            if line.head is not None and not self._stirred(line):
                lines.take(line, line.head.order)
            elif now < line.not_before:
                self._defer(line)
            else:
                return

    def _defer(self, line: Line[S, N]) -> None:
        self._withdraw(line)
        self._times.set(line, line.not_before)

    def _first(self) -> Line[S, N] | None:
        rivals = [self._ready.first(), *(lines.open.first() for lines in self._waiting.values())]
        heads = [line.head for line in rivals if line is not None]
        best = min((head for head in heads if head is not None), key=lambda head: head.order, default=None)
        return None if best is None else best.line

    def _beside(self, line: Line[S, N]) -> Turns[Line[S, N], Order]:
        return self._waiting.setdefault(line.verdict.causes, Turns())

    def _make_ready(self, line: Line[S, N]) -> None:
        if line.head is not None:
            self._withdraw(line)
            self._ready.set(line, line.head.order)

    def _rerank(self, line: Line[S, N]) -> None:
        """The line may have another head."""
        if line.head is not None:
            self._beside(line).move(line, line.head.order)
            if line in self._ready:
                self._ready.set(line, line.head.order)

    def _withdraw(self, line: Line[S, N]) -> None:
        self._ready.discard(line)
        self._times.discard(line)
        self._beside(line).discard(line)

    def _close(self, line: Line[S, N]) -> None:
        """Nobody stands in the line; unless somebody is tried for it, it is gone."""
        self._withdraw(line)
        if line.trial is None:
            del self._lines[line.shape]

    def _tell_later(self, line: Line[S, N]) -> None:
        at = line.tell_at(self._pace.retell)
        if at is None:
            self._untold.discard(line)
        else:
            self._untold.set(line, at)
