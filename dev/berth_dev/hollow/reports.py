"""What hollow nodes have seen and done, counted: what a test or a benchmark looks at in the end."""

from dataclasses import asdict, dataclass, field
from typing import Any

MAX_KEPT = 1000
"""Violations that are kept whole; the count goes on."""


@dataclass(frozen=True)
class Violation:
    """A claim that the operator bound to a node that had no room for it."""

    node: str
    vm: str
    claim_id: str
    reason: str
    message: str


@dataclass
class Report:
    """Counts since the nodes were made. Times are of the event loop's clock, in seconds.

    Attributes:
        nodes: How many there are.
        registered_in: Seconds that it took to make all their objects.
        offered: Claims that were bound to the nodes.
        over_capacity: How many of these went beyond what the node had to offer at that moment.
        admitted: Claims that were admitted.
        refused: Claims that were refused, by reason.
        started: Guests that were said to run.
        released: Claims that were released.
        heartbeats: Leases that were renewed.
        missed_heartbeats: Renewals that failed.
        first_admission: When the first claim was admitted; None before.
        last_admission: When the last one was.
        violations: The first of those that went over capacity.
    """

    nodes: int = 0
    registered_in: float = 0.0
    offered: int = 0
    over_capacity: int = 0
    admitted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    started: int = 0
    stopped: int = 0
    released: int = 0
    heartbeats: int = 0
    missed_heartbeats: int = 0
    first_admission: float | None = None
    last_admission: float | None = None
    violations: list[Violation] = field(default_factory=list)

    @property
    def admissions_per_second(self) -> float:
        """From the first to the last; 0 where there were fewer than two."""
        if self.first_admission is None or self.last_admission is None or self.last_admission <= self.first_admission:
            return 0.0
        return (self.admitted - 1) / (self.last_admission - self.first_admission)

    def note_admission(self, when: float) -> None:
        """A claim was admitted."""
        self.admitted += 1
        self.first_admission = when if self.first_admission is None else self.first_admission
        self.last_admission = when

    def note_refusal(self, reason: str) -> None:
        """A claim was refused."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def note_violation(self, violation: Violation) -> None:
        """A claim was bound beyond a node's room."""
        self.over_capacity += 1
        if len(self.violations) < MAX_KEPT:
            self.violations.append(violation)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return {**asdict(self), "admissions_per_second": round(self.admissions_per_second, 1)}

    def line(self) -> str:
        """All of it, on one line."""
        refused = ", ".join(f"{reason} {count}" for reason, count in sorted(self.refused.items()))
        return (
            f"{self.nodes} nodes: {self.offered} claims offered, {self.over_capacity} over capacity, "
            f"{self.admitted} admitted ({self.admissions_per_second:.0f}/s), "
            f"{sum(self.refused.values())} refused{f' ({refused})' if refused else ''}, "
            f"{self.started} started, {self.stopped} stopped, {self.released} released; "
            f"{self.heartbeats} heartbeats, {self.missed_heartbeats} missed"
        )
