"""What the scheduling queue knows of a VM, and the states that it may be in."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto

Key = tuple[str, str]
"""Namespace and name."""
Order = tuple[int, float, Key]
"""Whose turn is first: the lower."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A VM that wants a berth. Two that are equal say that nothing changed for the queue."""

    key: Key
    uid: str
    priority: int
    created: float
    """creationTimestamp, in seconds since the epoch: its age, which no failed attempt takes away."""
    revision: Hashable = 0
    """Differs whenever something of the VM changed that a decision looks at: its generation and labels, say."""

    @property
    def order(self) -> Order:
        """Highest priority first, then the oldest; the name makes it total."""
        return (-self.priority, self.created, self.key)


class State(Enum):
    """Where a VM is in the queue: in exactly one of these."""

    ACTIVE = auto()
    """To be decided."""
    BACKOFF = auto()
    """To be decided after a pause: something failed."""
    PARKED = auto()
    """Rejected: no node takes it, as far as is known."""
    IN_FLIGHT = auto()
    """Given out by `pop`, and not settled yet."""
