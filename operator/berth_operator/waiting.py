"""Which VMs wait for which objects by name, or for a time, so that only what could help a VM wakes it.

What a VM waits for is forgotten as soon as it is looked at again. VMs that wait for room are the scheduling queue's.
"""

import asyncio
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from berth_operator.controllers.references import Reference, Unbindable
from berth_operator.scheduling.entries import Entry
from berth_operator.store import Key


class WaitingRoom:
    """VMs that wait, and their waking."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._by_reference: dict[Reference, set[Key]] = {}
        self._references: dict[Key, tuple[Reference, ...]] = {}

    def wait(self, key: Key, references: Iterable[Reference]) -> None:
        """Wake this VM when one of these changes."""
        self.leave(key)
        self._references[key] = tuple(references)
        for reference in self._references[key]:
            self._by_reference.setdefault(reference, set()).add(key)

    def leave(self, key: Key) -> None:
        """The VM no longer waits."""
        for reference in self._references.pop(key, ()):
            waiting = self._by_reference.get(reference)
            if waiting is not None:
                waiting.discard(key)
                if not waiting:
                    del self._by_reference[reference]

    def changed(self, reference: Reference) -> None:
        """An object appeared or changed."""
        for key in sorted(self._by_reference.get(reference, ())):
            self._wake(key)


class Aside:
    """VMs about which nothing can be decided for now: not in the queue, but waiting by name, or for a time.

    Args:
        waiting: Who waits by name.
        retry: Tries a VM again.
        poll: Seconds between looks for what is not watched.
    """

    def __init__(self, waiting: WaitingRoom, retry: Callable[[Key], None], poll: float) -> None:
        self._waiting, self._retry, self._poll = waiting, retry, poll
        self._entries: dict[Key, Entry] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def keys(self) -> AbstractSet[Key]:
        """Those that wait here."""
        return self._entries.keys()

    def holds(self, entry: Entry) -> bool:
        """Whether the VM waits here just as it is now."""
        return self._entries.get(entry.key) == entry

    def put(self, entry: Entry, why: Unbindable) -> None:
        """No decision can be made before something else changes: it waits for that."""
        self._entries[entry.key] = entry
        self._waiting.wait(entry.key, why.waits_for)
        if why.polls:
            self.retry_later(entry.key, self._poll)

    def forgive(self, key: Key) -> None:
        """What it waits for could not even be told: it is in the queue's hands again."""
        self._entries.pop(key, None)

    def take(self, key: Key) -> None:
        """The VM waits for nothing by name any longer, nor for a time."""
        self._waiting.leave(key)
        self._entries.pop(key, None)
        self._stop(key)

    def retry_later(self, key: Key, delay: float) -> None:
        """Try the VM again after so many seconds, whatever else happens."""
        self._stop(key)
        self._timers[key] = asyncio.get_running_loop().call_later(delay, self._retry, key)

    def clear(self) -> None:
        """Nobody waits here any longer, nor for a time."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._entries.clear()

    def _stop(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
