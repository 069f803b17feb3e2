"""What is to be done on a node, from what runs there: pure, so that every case can be tried without a node.

libvirtd is replaced when it runs from another tree than the one that is wanted: guests are not its business while it is
away, and the new one finds them. virtlogd holds the pipes into which QEMU writes what a guest says, and nobody can take
those over; so it stays for as long as guests do, whichever tree it runs from.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from berth_libvirt.processes import LIBVIRTD, VIRTLOGD, Process, daemons


@dataclass(frozen=True)
class Decision:
    """What to do, in this order.

    Attributes:
        stop: Daemons that are not the wanted ones.
        start: Names of daemons that are missing.
        keep: Trees that something runs from, or will.
        stranger: A process that serves libvirt's socket and is none of ours: nothing is started beside it.
    """

    stop: tuple[Process, ...] = ()
    start: tuple[str, ...] = ()
    keep: frozenset[str] = field(default_factory=frozenset)
    stranger: int | None = None


def decide(wanted: str, found: Iterable[Process], server: int | None) -> Decision:
    """Decide what to do on a node.

    Args:
        wanted: The tree that daemons are to run from.
        found: What runs from any tree.
        server: The process that listens at libvirt's socket, if any does.
    """
    processes = list(found)
    guests = [process for process in processes if process.is_guest]
    keep = frozenset({wanted, *(process.tree for process in processes)})
    ours = {process.pid for process in processes}
    stranger = server if server is not None and server not in ours else None
    stop: list[Process] = []
    start: list[str] = []
    for name in (VIRTLOGD, LIBVIRTD):
        running = daemons(processes, name)
        stays = [each for each in running if each.tree == wanted or (name == VIRTLOGD and guests)]
        stop += [each for each in running if each not in stays[:1]]
        if not stays and stranger is None:
            start.append(name)
    return Decision(tuple(stop), tuple(start), keep, stranger)


@dataclass
class Restarts:
    """How long to wait before a daemon that does not stay is started again: twice as long each time.

    Attributes:
        first: Seconds before the second start.
        most: Seconds that it never waits longer than.
        calm: Seconds for which a daemon has to have run to be started at once again.
    """

    first: float = 1.0
    most: float = 30.0
    calm: float = 60.0
    _started: float | None = None
    _pause: float = 0.0

    def next_at(self) -> float:
        """The earliest time of the next start, on the clock that `started` is told."""
        return float("-inf") if self._started is None else self._started + self._pause

    def started(self, now: float) -> None:
        """Tell that it was started.

        Args:
            now: Seconds, of a clock that only goes forward.
        """
        if self._started is None or now - self._started >= self.calm:
            self._pause = self.first
        else:
            self._pause = min(self.most, self._pause * 2)
        self._started = now
