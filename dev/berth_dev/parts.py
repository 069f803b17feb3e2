"""The long-running parts of a cluster, each as one process that can be stopped, killed and started again by name.

A part keeps its state in its folder, so a part that comes back finds what it left: fault tests need nothing else.
"""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from berth_dev import processes, runs
from berth_dev.errors import DevError, PartFailedError
from berth_dev.processes import ProcessIdentity, poll_until
from berth_dev.states import Run

READY_TIMEOUT = 60.0
STOP_GRACE = 10.0


@dataclass(frozen=True)
class Program:
    """How a part is started.

    Attributes:
        name: The part's name, unique in the cluster: `kube-apiserver`, `node-1.libvirtd`.
        argv: Its argument list; the program an absolute path.
        env: What its environment has besides this process's own.
        is_ready: Whether it does its work already; asked again and again until it does.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] = field(default=lambda: True)


class Part:
    """A part of a cluster that exists, running or not.

    Args:
        run: The cluster's run.
        program: Makes the program: arguments may depend on what runs now (a node's namespaces).
        name: The part's name.
    """

    def __init__(self, run: Run, name: str, program: Callable[[], Program]) -> None:
        self._run = run
        self._program = program
        self.name = name
        self.log: Path = run.log(name)

    @property
    def _record(self) -> Path:
        return self._run.state / "processes" / f"{self.name}.json"

    @property
    def identity(self) -> ProcessIdentity | None:
        """The process, if it runs."""
        identity = processes.load(self._record)
        return identity if identity is not None and identity.is_alive() else None

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            DevError: The part does not run.
        """
        identity = self.identity
        if identity is None:
            raise DevError(f"{self.name} does not run; its log: {self.log}")
        return identity.pid

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.identity is not None

    def start(self) -> None:
        """Start it; whether it is ready is for `wait_ready`.

        Raises:
            DevError: It runs already, or cannot be started.
        """
        if self.is_running:
            raise DevError(f"{self.name} runs already, as process {self.pid}")
        program = self._program()
        environment = runs.environment(self._run.run_id, program.env)
        processes.save(processes.spawn(program.argv, env=environment, log=self.log), self._record)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal and, if that is SIGKILL, wait until it is gone."""
        identity = self.identity
        if identity is None:
            return
        identity.send(number)
        if number == signal.SIGKILL and not identity.wait_gone(STOP_GRACE):
            raise DevError(f"{self.name} survives SIGKILL")

    def stop(self, grace: float = STOP_GRACE) -> None:
        """Ask it to end, and kill it after `grace` seconds; its state stays."""
        identity = self.identity
        if identity is not None:
            identity.end(grace)

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until it does its work.

        Args:
            timeout: Seconds.

        Raises:
            PartFailedError: It ended, or is still not ready; the message has the end of its log.
        """
        deadline = time.monotonic() + timeout
        is_ready = self._program().is_ready
        while True:
            if not self.is_running:
                raise PartFailedError(self.name, "has ended", self.log)
            if is_ready():
                return
            if not poll_until(deadline):
                raise PartFailedError(self.name, f"is not ready after {timeout:g} s", self.log)
