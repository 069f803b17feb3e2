"""Small VMs and rejections for the tests of the scheduling queue."""

from collections.abc import Hashable

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.entries import Entry
from berth_operator.scheduling.lines import Verdict
from berth_operator.scheduling.queue import SchedulingQueue

Queue = SchedulingQueue[str, str]
FULL = Verdict(frozenset({Cure.CLAIM_FREED}), "full")
NOBODY = Verdict[str](frozenset(), "nothing cures it")


def entry(name: str, *, priority: int = 0, created: float = 0.0, uid: str = "", revision: Hashable = 0) -> Entry:
    return Entry(("default", name), uid or f"uid-{name}", priority, created, revision)


def popped(queue: Queue, now: float = 0.0) -> list[str]:
    """Names of all that `pop` gives, in order; they stay in flight."""
    names: list[str] = []
    while (one := queue.pop(now)) is not None:
        names.append(one.key[1])
    return names


def parked(queue: Queue, *entries: Entry, verdict: Verdict[str] = FULL, shape: str = "shape", now: float = 0.0) -> None:
    """Add all, reject the first, and let the others join it."""
    for one in entries:
        queue.add(one, now)
    while (one_popped := queue.pop(now)) is not None:
        if queue.join(one_popped.key, shape, now) is None:
            queue.park(one_popped.key, shape, verdict, now)
