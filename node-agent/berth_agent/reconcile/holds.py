"""Waiting after a failure, without missing a change that makes trying again worthwhile.

Reporting a failure changes the object, which comes back by the watch; without a hold that would be the next attempt,
and the next. A hold lets a VM rest until its time is up, unless what it was held for has changed: the spec, the claim,
its deletion, or an object that it refers to (whose watcher lifts the hold).
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from berth_api.backoffs import doubled
from berth_api.virtualmachines import VirtualMachine

FIRST_WAIT = 1.0
"""Seconds after the first failure; each further one doubles them."""
LONGEST_WAIT = 60.0
PERMANENT_WAIT = 300.0
"""Seconds after a failure that somebody has to mend: a look now and then, in case it was mended unseen."""
_JITTER = 0.25


@dataclass(frozen=True)
class _Hold:
    fingerprint: tuple[object, ...]
    attempts: int
    until: float


class Holds:
    """VMs that wait, by UID. `clock` gives monotonic seconds; `random` spreads retries."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self._clock = clock
        self._random = random
        self._holds: dict[str, _Hold] = {}

    def hold(self, vm: VirtualMachine, *, retryable: bool, state: tuple[object, ...] = ()) -> float:
        """Hold the VM after a failure, as long as its guest is in this state; returns the seconds to wait."""
        uid = vm.metadata.uid
        mark = (*fingerprint(vm), *state)
        before = self._holds.get(uid)
        attempts = before.attempts + 1 if before is not None and before.fingerprint == mark else 1
        wait = doubled(FIRST_WAIT, attempts - 1, LONGEST_WAIT) if retryable else PERMANENT_WAIT
        wait *= 1 + _JITTER * self._random.random()
        self._holds[uid] = _Hold(mark, attempts, self._clock() + wait)
        return wait

    def remaining(self, vm: VirtualMachine, *, state: tuple[object, ...] = ()) -> float:
        """Seconds that the VM still has to wait; 0 if it may be worked on, as when its guest has ended meanwhile."""
        hold = self._holds.get(vm.metadata.uid)
        if hold is None or hold.fingerprint != (*fingerprint(vm), *state):
            return 0.0
        return max(0.0, hold.until - self._clock())

    def lift(self, uid: str) -> None:
        """Let the VM be tried at once; the count of its failures stays."""
        hold = self._holds.get(uid)
        if hold is not None:
            self._holds[uid] = _Hold(hold.fingerprint, hold.attempts, self._clock())

    def forget(self, uid: str) -> None:
        """The VM succeeded, or is gone."""
        self._holds.pop(uid, None)


def fingerprint(vm: VirtualMachine) -> tuple[object, ...]:
    """What a change of makes trying again worthwhile."""
    claim = vm.status.claim
    return vm.metadata.generation, vm.metadata.deletion_timestamp, claim.id if claim is not None else None
