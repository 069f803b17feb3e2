"""Which VMs wait for which objects by name, so that only an object that could help a VM wakes it.

What a VM waits for is forgotten as soon as it is looked at again. VMs that wait for room are the scheduling queue's.
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
