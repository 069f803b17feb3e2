"""VMs of one shape are interchangeable for placing: they wait in one line, and what its head learns holds for all.

That rests on rejections being *monotone*: what no node takes of a VM at the head, no node takes of one behind it. A
shape therefore holds everything that filters look at except identity and age, and the only filter that looks at age,
the one that keeps others off reserved room, favours the older.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.entries import Entry, Order, State
from berth_operator.scheduling.ranks import Ranked, Turns

S = TypeVar("S")
N = TypeVar("N")


@dataclass(frozen=True)
class Verdict(Generic[N]):
    """Why no node takes a shape, and what may change that."""

    causes: frozenset[Cure]
    """Kinds of events that could cure it; of none, only time has it tried again."""
    note: N
    """What is told of it. Kept for as long as the line, and compared to see whether there is something new to tell:
    keep it as small as what is told, say a reason and a message, not a map of all nodes."""
    room: bool = False
    """It is for want of room: a reservation could help."""


@dataclass(eq=False, slots=True)
class Ticket(Generic[S, N]):
    """The queue's record of one VM."""

    entry: Entry
    state: State = State.ACTIVE
    line: "Line[S, N] | None" = None
    """Parked: the line it stands in. In flight: the line that it is tried for, until that is known."""
    seen: int = 0
    """In flight: the number of the last event that its decision has seen."""
    again: Entry | None = None
    """In flight: it was added again meanwhile."""
    forced: bool = False
    """In flight: it is to be tried again even if nothing of it changed."""
    gone: bool = False
    """In flight: it was removed meanwhile."""
    told: N | None = None
    told_at: float = -inf

    @property
    def order(self) -> Order:
        """The order of its entry."""
        return self.entry.order


@dataclass(eq=False, slots=True)
class Line(Generic[S, N]):
    """The parked VMs of one shape, best first, and what was found out about them."""

    shape: S
    number: int
    """Spreads what is done by time: consecutive lines are apart."""
    verdict: Verdict[N]
    judged: Order
    """The VM whose rejection it is: the rejection holds for those behind it."""
    seen: int = 0
    """The number of the last event that the rejection has seen."""
    members: Ranked[Ticket[S, N], Order] = field(default_factory=Ranked)
    telling: Turns[Ticket[S, N], float] = field(default_factory=Turns)
    """Members by when they were last told anything; open: not the present note."""
    trial: Ticket[S, N] | None = None
    """The VM that was taken from the head and is being decided."""
    not_before: float = -inf
    """No event has it tried again before this time."""

    @property
    def head(self) -> Ticket[S, N] | None:
        """The best of those that stand in it."""
        return self.members.first()

    def leads(self, ticket: Ticket[S, N]) -> bool:
        """Somebody of this shape, parked or being tried, comes before this one."""
        return any(rival is not None and rival.order < ticket.order for rival in (self.head, self.trial))

    def judge(self, verdict: Verdict[N], ticket: Ticket[S, N]) -> None:
        """Take in that the VM was rejected."""
        if verdict.note != self.verdict.note:
            self.telling.renew()
        self.verdict, self.judged, self.seen = verdict, ticket.order, ticket.seen

    def enter(self, ticket: Ticket[S, N]) -> None:
        """Stand in the line, at the place of its order."""
        ticket.state, ticket.line = State.PARKED, self
        self.members.set(ticket, ticket.order)
        if ticket.told_at > -inf and ticket.told == self.verdict.note:
            self.telling.take(ticket, ticket.told_at)
        else:
            self.telling.give(ticket, ticket.told_at)

    def leave(self, ticket: Ticket[S, N]) -> None:
        """Stand in it no longer."""
        self.members.discard(ticket)
        self.telling.discard(ticket)
        ticket.line = None

    def tell(self, ticket: Ticket[S, N], now: float) -> None:
        """The VM is being told the note."""
        ticket.told, ticket.told_at = self.verdict.note, now
        self.telling.take(ticket, now)

    def tell_again(self, ticket: Ticket[S, N]) -> None:
        """The member could not be told."""
        ticket.told = None
        self.telling.give(ticket, ticket.told_at)

    def tell_at(self, retell: float) -> float | None:
        """When the next of its members is to be told; None if all know."""
        told_at = self.telling.open.first_rank()
        return None if told_at is None else told_at + retell
