"""What runs from the trees of a node, read from the kernel.

A process that runs from a tree has it as its root, and /proc/PID/root leads to the very folder, whatever mount
namespace it is in. So no pidfile has to be right, and nobody else's libvirtd can be mistaken for ours. Signals go
through a pidfd that was opened before the process was looked at a second time: its id cannot have a new owner then.
"""

import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LIBVIRTD, VIRTLOGD = "libvirtd", "virtlogd"
_GUEST = "qemu-system-"
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process that runs from a tree.

    Attributes:
        pid: Its id.
        start: Field 22 of /proc/PID/stat: with the id it tells the process from any later one.
        parent: Its parent's id: another one once its container has ended.
        name: The kernel's name of it, 15 characters at most.
        tree: The name of its tree.
    """

    pid: int
    start: int
    parent: int = field(compare=False)
    name: str
    tree: str

    @property
    def is_guest(self) -> bool:
        """Whether it is a QEMU."""
        return self.name.startswith(_GUEST)


def find(trees: Iterable[Path], proc: Path = _PROC) -> list[Process]:
    """Every process that runs from one of these trees, in the order of ids."""
    names = {_identity(tree): tree.name for tree in trees}
    numbers = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    found = (_read(proc / str(number), names) for number in numbers)
    return [process for process in found if process is not None]


def daemons(found: Iterable[Process], name: str) -> list[Process]:
    """The daemons of a name, without the children that they are about to replace by another program."""
    named = [process for process in found if process.name == name]
    ids = {process.pid for process in named}
    return [process for process in named if process.parent not in ids]


def parse_stat(text: str) -> tuple[str, str, int, int]:
    """Read a /proc/PID/stat line, see proc(5): name, state, parent, start; the name may hold anything."""
    before, _, after = text.rpartition(")")
    fields = after.split()
    return before.partition("(")[2], fields[0], int(fields[1]), int(fields[19])


def end(process: Process, grace: float) -> bool:
    """Ask a process to end, and kill it after `grace` seconds; False when it does not go.

    Args:
        process: From `find`.
        grace: Seconds, for each of the two.
    """
    with opened(process) as handle:
        if handle is None:
            return True
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return True
            if wait_any([handle], grace):
                return True
    return False


@contextmanager
def opened(process: Process) -> Iterator[int | None]:
    """A pidfd of the very process, readable once it has ended; None when it has already."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle if _is_still(process) else None
    finally:
        os.close(handle)


def wait_any(handles: Iterable[int], seconds: float) -> bool:
    """Wait until one of these processes has ended, or the time is over; whether one has."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _is_still(process: Process) -> bool:
    try:
        *_, start = parse_stat((_PROC / str(process.pid) / "stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False
    return start == process.start


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _read(entry: Path, trees: dict[tuple[int, int], str]) -> Process | None:
    try:
        tree = trees.get(_identity(entry / "root"))
        if tree is None:
            return None
        name, state, parent, start = parse_stat((entry / "stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:  # it has ended meanwhile
        return None
    return None if state in {"Z", "X"} else Process(int(entry.name), start, parent, name, tree)
