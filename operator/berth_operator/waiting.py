"""Which VMs wait for what, so that only an event that could help a VM wakes it.

A VM that could not be bound waits for objects by name, for room (any node that changes, any claim that is freed), or
both. What it waits for is forgotten as soon as it is looked at again.
"""

from collections.abc import Callable, Iterable

from berth_operator.controllers.references import Reference
from berth_operator.store import Key


class WaitingRoom:
    """VMs that wait, and their waking."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._by_reference: dict[Reference, set[Key]] = {}
        self._references: dict[Key, tuple[Reference, ...]] = {}
        self._for_room: set[Key] = set()

    def wait(self, key: Key, references: Iterable[Reference] = (), *, room: bool = False) -> None:
        """Wake this VM when one of these changes, or there may be room."""
        self.leave(key)
        self._references[key] = tuple(references)
        for reference in self._references[key]:
            self._by_reference.setdefault(reference, set()).add(key)
        if room:
            self._for_room.add(key)

    def leave(self, key: Key) -> None:
        """The VM no longer waits."""
        self._for_room.discard(key)
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

    def room(self) -> None:
        """A node changed, or a claim was freed."""
        for key in sorted(self._for_room):
            self._wake(key)
