"""Child processes that are measured, and that end with the benchmark however it ends.

The kernel kills them when the thread that started them is gone (PR_SET_PDEATHSIG), so start them from the main thread.
A session of their own keeps a terminal's Ctrl-C from them: they are stopped in order.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MORTAL = ("setpriv", "--pdeathsig", "KILL")
_TAIL = 2000
_KILL_TIMEOUT = 10.0


class EndedError(RuntimeError):
    """A process that should run has ended; the message has the end of its log."""


class Child:
    """A process of the benchmark.

    Args:
        argv: Its argument list.
        log: Where its output goes; emptied first.
        env: Its whole environment.
    """

    def __init__(self, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self.started = time.perf_counter()
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*_MORTAL, *argv],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={"PATH": os.environ["PATH"], **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            EndedError: It has.
        """
        status = self._process.poll()
        if status is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
            raise EndedError(f"{self.log.stem} has ended with status {status}; the end of its log:\n{tail}")

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used, user and system, all threads."""
        return cpu_of(Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8"))

    @property
    def peak_mib(self) -> float:
        """The most memory that was ever resident, in MiB."""
        return _kib(Path(f"/proc/{self.pid}/status"), "VmHWM") / 1024

    @property
    def resident_mib(self) -> float:
        """Resident memory, in MiB."""
        return _kib(Path(f"/proc/{self.pid}/smaps_rollup"), "Rss") / 1024

    @property
    def proportional_mib(self) -> float:
        """Resident memory, in MiB, what is shared with other processes divided by their number."""
        return _kib(Path(f"/proc/{self.pid}/smaps_rollup"), "Pss") / 1024

    def stop(self, grace: float = 10.0) -> None:
        """Ask it to end, and kill it after `grace` seconds; doing so again does nothing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_KILL_TIMEOUT)


def cpu_of(stat: str) -> float:
    """Seconds of processor time in a line of /proc/PID/stat: fields 14 and 15, see proc(5)."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _kib(path: Path, name: str) -> int:
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise ValueError(f"{path} has no line {name}")
