"""Long-running processes that outlive whoever started them, and are never mistaken for others.

A process id is reused once its process is gone. So a process is remembered together with the time it started (in clock
ticks since boot), and signals go through a pidfd that was opened before that time was compared: between the comparison
and the signal the id cannot change its owner.
"""

import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from berth_dev.errors import DevError

_KILL_TIMEOUT = 10.0


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, told apart from any later one with the same id.

    Attributes:
        pid: Process id.
        start_ticks: Field 22 of /proc/PID/stat, see proc(5).
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Identify a running process; None when there is none, or only its zombie is left."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        return parse_stat(pid, stat)

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        reap(self.pid)
        return ProcessIdentity.of(self.pid) == self

    def send(self, number: int) -> bool:
        """Send a signal to this very process; False when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if ProcessIdentity.of(self.pid) != self:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def wait_gone(self, timeout: float) -> bool:
        """Wait until the process has ended, `timeout` seconds at most; False when it still runs."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if ProcessIdentity.of(self.pid) == self:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(timeout * 1000)
        finally:
            os.close(descriptor)
        return not self.is_alive()

    def end(self, grace: float) -> None:
        """Ask the process to end, and kill it after `grace` seconds.

        Raises:
            DevError: It is still there after SIGKILL (it hangs in the kernel).
        """
        if self.send(signal.SIGTERM) and not self.wait_gone(grace):
            self.send(signal.SIGKILL)
            if not self.wait_gone(_KILL_TIMEOUT):
                raise DevError(f"process {self.pid} survives SIGKILL: look at /proc/{self.pid}/stack")


def parse_stat(pid: int, stat: str) -> ProcessIdentity | None:
    """Read a /proc/PID/stat line; the name in parentheses may itself hold parentheses and spaces.

    Returns:
        None for a process that has ended and only waits for its parent.
    """
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], int(fields[19])
    return None if state in {"Z", "X"} else ProcessIdentity(pid, start_ticks)


def reap(pid: int) -> None:
    """Collect the exit status if the process is an ended child of this one; anything else is left alone."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def spawn(argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> ProcessIdentity:
    """Start a program in a session of its own, so that neither our end nor a terminal's takes it along.

    Args:
        argv: The argument list, the program an absolute path.
        env: Its whole environment.
        log: Where its output is appended.

    Raises:
        DevError: It could not be started, or ended at once.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
    except OSError as error:
        raise DevError(f"{argv[0]} cannot be started: {error}") from error
    identity = ProcessIdentity.of(pid)
    if identity is None:
        reap(pid)
        raise DevError(f"{argv[0]} ended at once; see {log}")
    return identity


def save(identity: ProcessIdentity, path: Path) -> None:
    """Record a process, atomically: a reader sees the whole record or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(asdict(identity)), encoding="utf-8")
    scratch.replace(path)


def load(path: Path) -> ProcessIdentity | None:
    """Read a record that `save` wrote; None when there is none."""
    try:
        return ProcessIdentity(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def poll_until(deadline: float, interval: float = 0.05) -> bool:
    """Sleep `interval` seconds between two looks at something that cannot be awaited; False past `deadline`.

    Args:
        deadline: A value of `time.monotonic`.
        interval: Seconds.
    """
    if time.monotonic() >= deadline:
        return False
    time.sleep(interval)
    return True
