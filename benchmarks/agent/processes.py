"""What processes take of the machine, read off /proc."""

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scheduling.processes import cpu_of
from berth_dev import runs

_LOOK = 5.0
"""Seconds over which processor time is taken."""
_CALM = 0.4
"""Cores: thirty guests that have booted use a tenth of one, thirty that boot all there are."""
QEMU = "qemu-system-x86"
"""As /proc shows it: fifteen characters."""
_TICKS_FIELDS = (11, 12, 13, 14)


@dataclass(frozen=True)
class Memory:
    """Memory in MiB: resident, and with what is shared divided by the number of its users."""

    resident: float
    proportional: float

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.resident + other.resident, self.proportional + other.proportional)


def cpu_with_children(stat: str) -> float:
    """Seconds of processor time in a line of /proc/PID/stat, those of children that have ended and been waited for too.

    Source: proc(5), fields 14 to 17.
    """
    name, _, rest = stat.rpartition(")")
    fields = rest.split()
    own, children = _TICKS_FIELDS[:2], _TICKS_FIELDS[2:]
    moved = [*fields]
    for mine, theirs in zip(own, children, strict=True):
        moved[mine] = str(int(fields[mine]) + int(fields[theirs]))
    return cpu_of(f"{name}) {' '.join(moved)}")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    return cpu_with_children(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"))


def cpu_by_program(run_id: str) -> Counter[str]:
    """Processor seconds of all processes of a cluster's run, by program."""
    found: Counter[str] = Counter()
    for identity in runs.find(run_id):
        try:
            stat = Path(f"/proc/{identity.pid}/stat").read_text(encoding="utf-8")
        except OSError:  # it has ended
            continue
        found[_comm(stat)] += cpu_with_children(stat)  # type: ignore[assignment]  # a Counter of seconds
    return found


async def until_calm(run_id: str, program: str, *, patience: float) -> float:
    """Return when the processes of a program use little of the machine; seconds that it took.

    Args:
        run_id: The cluster's run.
        program: Its name, as /proc/PID/stat has it.
        patience: Seconds after which to return all the same.
    """
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < patience:
        before = cpu_by_program(run_id)[program]
        await asyncio.sleep(min(_LOOK, patience))
        if (cpu_by_program(run_id)[program] - before) / _LOOK < _CALM:
            break
    return waited


def differences(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used between two readings, most first; programs of which processes have ended are left at zero."""
    used = {name: max(0.0, seconds - before.get(name, 0.0)) for name, seconds in after.items()}
    return dict(sorted(used.items(), key=lambda item: -item[1]))


def memory_by_program(run_id: str) -> dict[str, Memory]:
    """Memory of all processes of a cluster's run, by program."""
    found: dict[str, Memory] = {}
    for identity in runs.find(run_id):
        folder = Path(f"/proc/{identity.pid}")
        try:
            name = _comm((folder / "stat").read_text(encoding="utf-8"))
            memory = memory_in((folder / "smaps_rollup").read_text(encoding="utf-8"))
        except OSError:  # it has ended
            continue
        found[name] = found.get(name, Memory(0.0, 0.0)) + memory
    return found


def memory_in(smaps_rollup: str) -> Memory:
    """What /proc/PID/smaps_rollup says."""
    values = {line.partition(":")[0]: line.split()[1] for line in smaps_rollup.splitlines()[1:]}
    return Memory(int(values["Rss"]) / 1024, int(values["Pss"]) / 1024)


def reaping_seconds(patience: float = 30.0) -> float:
    """Seconds for which a process without a parent stays a zombie, until whoever has adopted it takes note of its end.

    libvirt leaves its QEMUs to the machine's init, and calls a guest gone only when that has reaped it (libvirt asks by
    kill(2), signal 0). Most machines' init does so at once; there are some that look once a second.

    Raises:
        TimeoutError: Nobody has reaped it.
    """
    orphan = int(subprocess.run(["sh", "-c", "sleep 0 >&- & echo $!"], stdout=subprocess.PIPE, check=True).stdout)
    begun = time.monotonic()
    while Path(f"/proc/{orphan}").exists():
        if time.monotonic() - begun > patience:
            raise TimeoutError(f"nobody has reaped process {orphan} in {patience:g} s")
        time.sleep(0.01)
    return time.monotonic() - begun


def _comm(stat: str) -> str:
    return stat.partition("(")[2].rpartition(")")[0]
