"""Nodes that refused a VM: not asked again for a while, for this VM only, nor at once where there is no other.

Kept in memory only: a new leader that asks such a node once more is refused once more, and no harm is done.
"""

from collections.abc import Callable
from random import Random

from berth_api.workqueues import Backoff


class Refusals:
    """Who refused whom, and until when that counts. Times are of the injected clock, in seconds."""

    def __init__(self, exclusion: float, clock: Callable[[], float]) -> None:
        self._exclusion, self._clock = exclusion, clock
        self._until: dict[str, dict[str, float]] = {}
        self._noted: dict[str, str] = {}

    def note(self, uid: str, node: str, claim_id: str) -> bool:
        """The node refused the VM's claim just now. False: that was noted before."""
        if self._noted.get(uid) == claim_id:
            return False
        self._noted[uid] = claim_id
        self._until.setdefault(uid, {})[node] = self._clock() + self._exclusion
        return True

    def of(self, uid: str) -> frozenset[str]:
        """Nodes that count as refusing the VM."""
        now = self._clock()
        left = {node: until for node, until in self._until.get(uid, {}).items() if until > now}
        if left:
            self._until[uid] = left
        else:
            self._until.pop(uid, None)
        return frozenset(left)

    def until_over(self, uid: str) -> float | None:
        """Seconds until the first of them may be asked again; None where none refuses."""
        if not self.of(uid):
            return None
        return max(0.0, min(self._until[uid].values()) - self._clock())

    def forget(self, uid: str) -> None:
        """The VM is gone."""
        self._until.pop(uid, None)
        self._noted.pop(uid, None)


class Pauses:
    """Before the next try to start a VM on the one node that it is bound to, after that did not take its claim."""

    def __init__(self, backoff: Backoff, clock: Callable[[], float], random: Random) -> None:
        self._backoff, self._clock, self._random = backoff, clock, random
        self._refused: dict[str, tuple[str, int, float]] = {}

    def note(self, uid: str, claim_id: str) -> bool:
        """The node did not take the VM's claim. False: that was noted before."""
        noted, failures, _ = self._refused.get(uid, ("", 0, 0.0))
        if noted == claim_id:
            return False
        failures += 1
        self._refused[uid] = claim_id, failures, self._clock() + self._backoff.pause(failures, self._random)
        return True

    def left(self, uid: str) -> float:
        """Seconds until it may be tried again."""
        refused = self._refused.get(uid)
        return max(0.0, refused[2] - self._clock()) if refused is not None else 0.0

    def forget(self, uid: str) -> None:
        """The VM is gone, or it started."""
        self._refused.pop(uid, None)
