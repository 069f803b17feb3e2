"""Watching over a node's libvirtd, for as long as the container lives, and leaving it alone when that ends.

Each round looks at what runs and does what is missing, so it does not matter who ended what: a crash, a signal, an
administrator, or the former Pod. Between rounds the daemons' own ends are waited for, so that a libvirtd that dies is
back at once. SIGTERM ends this program as it ends any other: there is nothing to put away.
"""

import fcntl
import json
import os
import shutil
import socket
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from berth_libvirt import configurations, contents, launches, mounts, processes, trees
from berth_libvirt.decisions import Decision, Restarts, decide
from berth_libvirt.errors import LaunchFailed, NodeUnsuited
from berth_libvirt.processes import LIBVIRTD, VIRTLOGD, Process
from berth_libvirt.settings import Settings

Say = Callable[..., None]
"""Writes a line of the log: an event, and what belongs to it."""

_ROUND = 5.0
_SHORTEST = 0.1
_GRACE = 15.0
_ANSWER = 2.0
_LOCK_TIMEOUT = 120.0
_LOG_LIMIT = 8 << 20
_LOG_LINE = 1 << 16


def say_for(node: str) -> Say:
    """A log of JSON lines on standard output, as the other parts of Berth write it."""

    def say(event: str, **fields: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"timestamp": now, "level": "info", "event": event, "node": node, **fields}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    return say


@contextmanager
def held(folder: Path, timeout: float = _LOCK_TIMEOUT) -> Iterator[None]:
    """Hold a node's libvirt against another container that would look after it; the kernel lets go when this one dies.

    Raises:
        NodeUnsuited: Another one holds it for longer than `timeout` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise NodeUnsuited(f"another container looks after {folder}: end that first") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def prepare(settings: Settings, say: Say) -> None:
    """Make the folders that libvirt keeps things in, and write its configuration.

    Raises:
        OSError: Something that it takes is not there, and cannot be made.
    """

    def tell(name: str, error: OSError) -> None:
        say("the former configuration stays: it cannot be written", file=name, error=str(error))

    for name in mounts.STATE_FOLDERS:
        (settings.state / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    (settings.state / "log").chmod(0o700)
    configurations.write(settings.state / "etc", settings.devices, tell)


def server_of(path: Path) -> int | None:
    """The process that listens at a Unix socket; None when none does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER)
        try:
            connection.connect(str(path))
        except OSError:
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


class Watch:
    """One container's watch over a node's libvirtd.

    Args:
        settings: Where things are.
        wanted: The name of the tree that daemons are to run from.
        say: Takes lines of the log.
        start: Starts a daemon by name.
        remove: Removes a folder with all that is in it.
        clock: Seconds, of a clock that only goes forward.
    """

    def __init__(
        self,
        settings: Settings,
        wanted: str,
        say: Say,
        *,
        start: Callable[[str], None] = launches.start,
        remove: Callable[[Path], None] = shutil.rmtree,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._wanted = wanted
        self._say = say
        self._start = start
        self._remove = remove
        self._clock = clock
        self._restarts: Mapping[str, Restarts] = {name: Restarts() for name in (VIRTLOGD, LIBVIRTD)}
        self._known: set[Process] = set()
        self._stranger: int | None = None
        self._unremoved: set[str] = set()
        self._read = {name: self._size_of_log(name) for name in (VIRTLOGD, LIBVIRTD)}
        """Up to where each log was passed on: what stands there already is a former watch's to tell."""

    def look(self) -> tuple[list[Process], Decision]:
        """What runs, and what is to be done.

        The socket is asked only when no libvirtd is known to serve it: a libvirtd logs every caller that hangs up.
        """
        found = processes.find(trees.trees(self._settings.folder))
        served = bool(processes.daemons(found, LIBVIRTD))
        return found, decide(self._wanted, found, None if served else server_of(self._settings.socket))

    def round(self) -> list[Process]:
        """Look, do what is missing, and return the daemons that run then."""
        _, decision = self.look()
        for process in decision.stop:
            gone = processes.end(process, _GRACE)
            self._say("stopped" if gone else "does not end", daemon=process.name, pid=process.pid, tree=process.tree)
        self.tell_stranger(decision.stranger)
        for name in decision.start:
            self._start_if_due(name)
        found, decision = self.look()
        removed = trees.remove_unused(self._settings.folder, decision.keep, self._tell_unremoved, self._remove)
        for name in removed:
            self._unremoved.discard(name)
            self._say("removed a tree that nothing runs from", tree=name)
        running = [each for name in (VIRTLOGD, LIBVIRTD) for each in processes.daemons(found, name)]
        for process in set(running) - self._known:
            guests = sum(each.is_guest for each in found)
            self._say("runs", daemon=process.name, pid=process.pid, tree=process.tree, guests=guests)
        self._known = set(running)
        self.mark(serves=any(each.name == LIBVIRTD for each in running))
        return running

    def tell_stranger(self, pid: int | None) -> None:
        """Say once who else serves libvirt's socket; None when nobody does."""
        if pid is not None and pid != self._stranger:
            who = "systemd (process 1: libvirtd.socket)" if pid == 1 else f"process {pid}"
            error = f"{who} serves {self._settings.socket}: end the node's own libvirtd, or use libvirt.mode: host"
            self._say("another libvirtd runs on this node", error=error)
        self._stranger = pid

    def mark(self, *, serves: bool) -> None:
        """Have the link by which the readiness probe asks libvirtd be there only while that is ours."""
        link = self._settings.serving
        try:
            if not serves:
                link.unlink(missing_ok=True)
            elif not link.is_symlink() or link.readlink() != self._settings.socket:
                link.unlink(missing_ok=True)
                link.symlink_to(self._settings.socket)
        except OSError as error:
            self._say("cannot tell the readiness probe", error=str(error))

    def wait(self, running: list[Process]) -> None:
        """Wait for one of the daemons to end, or for the next round; pass on what they log meanwhile."""
        with ExitStack() as stack:
            handles = [stack.enter_context(processes.opened(process)) for process in running]
            if None in handles:
                return
            processes.wait_any([each for each in handles if each is not None], self.pause(running))
        self.pass_on()

    def pass_on(self) -> None:
        """Write what the daemons have logged since the last time."""
        for name in (VIRTLOGD, LIBVIRTD):
            self._pass_on(name)

    def pause(self, running: Collection[Process]) -> float:
        """How long the next round may wait, in seconds: until the first daemon that is missing may be started again."""
        if self._stranger is not None:
            return _ROUND
        names = {process.name for process in running}
        due = [each.next_at() - self._clock() for name, each in self._restarts.items() if name not in names]
        return min(_ROUND, max(_SHORTEST, min(due))) if due else _ROUND

    def _start_if_due(self, name: str) -> None:
        restarts = self._restarts[name]
        if self._clock() < restarts.next_at():
            return
        restarts.started(self._clock())
        try:
            self._start(name)
        except LaunchFailed as error:
            self._say("was not started", daemon=name, error=str(error))

    def _tell_unremoved(self, tree: str, error: OSError) -> None:
        """Once for each tree: it is tried again in every round."""
        if tree not in self._unremoved:
            self._unremoved.add(tree)
            self._say("a tree that nothing runs from cannot be removed", tree=tree, error=str(error))

    def _log_of(self, name: str) -> Path:
        return self._settings.state / "log" / f"{name}.log"

    def _size_of_log(self, name: str) -> int:
        try:
            return self._log_of(name).stat().st_size
        except FileNotFoundError:
            return 0

    def _pass_on(self, name: str) -> None:
        """Write what a daemon has logged since the last time; a log that has become long is emptied."""
        with suppress(FileNotFoundError), self._log_of(name).open("r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            begin = self._read[name]
            stream.seek(begin if begin <= size else 0)
            while stream.tell() < size and (line := stream.readline(_LOG_LINE)):
                self._say("logged", daemon=name, line=line.decode(errors="replace").rstrip("\n"))
            self._read[name] = stream.tell()
            if stream.tell() > _LOG_LIMIT:
                stream.truncate(0)
                self._read[name] = 0


def watch(settings: Settings, image: Path) -> None:
    """Watch over a node's libvirtd until this process ends.

    Raises:
        LibvirtError: The image or the node is not as it has to be.
    """
    wanted, _ = contents.load(image)
    say = say_for(settings.node)
    with held(settings.folder):
        if not (settings.folder / wanted).is_dir():
            raise NodeUnsuited(f"{settings.folder / wanted} is not there: the init container lays it out")
        prepare(settings, say)
        one = Watch(settings, wanted, say)
        while True:
            one.wait(one.round())
