"""Whether a guest's agent counts as connected: a guest that opens and closes its port must not be a stream of writes.

That its agent is there counts at once. That it is gone counts only when it has stayed away for a while, which a reboot
does not take; and each time that was told of, the next has to be twice as long. So what the worst guest can cause is
two writes in ten minutes. It is memory and may be lost: an agent that is started anew takes what it sees.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from berth_api.backoffs import doubled

LINGER = 60.0
"""Seconds for which a guest's agent is away before it counts as gone."""
LONGEST_LINGER = 600.0


@dataclass
class _Presence:
    counts: bool
    """Whether the agent counts as connected."""
    told: int = 0
    """How often it has counted as gone."""
    timer: asyncio.TimerHandle | None = None
    """Runs while the agent is away and still counts as connected."""

    def stay(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Presences:
    """The guests' agents of this node. All methods return at once, and belong to the loop's thread.

    Args:
        changed: called with the VM's UID when its guest's agent counts as gone.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._presences: dict[str, _Presence] = {}

    def see(self, uid: str, *, connected: bool) -> None:
        """Take note of what was seen just now."""
        presence = self._presences.setdefault(uid, _Presence(connected))
        if connected:
            presence.counts = True
            presence.stay()
        elif presence.counts and presence.timer is None:
            linger = doubled(LINGER, presence.told, LONGEST_LINGER)
            presence.timer = asyncio.get_running_loop().call_later(linger, self._leave, uid, presence)

    def counts(self, uid: str) -> bool:
        """Whether the guest's agent counts as connected."""
        presence = self._presences.get(uid)
        return presence is not None and presence.counts

    def forget(self, uid: str) -> None:
        """The guest is off, or is not this node's any more."""
        presence = self._presences.pop(uid, None)
        if presence is not None:
            presence.stay()

    def close(self) -> None:
        """Forget them all."""
        for uid in list(self._presences):
            self.forget(uid)

    def _leave(self, uid: str, presence: _Presence) -> None:
        presence.counts, presence.timer, presence.told = False, None, presence.told + 1
        self._changed(uid)
