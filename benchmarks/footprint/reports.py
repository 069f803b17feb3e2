"""Tables of what processes take."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agent.processes import cpu_seconds
from benchmarks.figures import machine

HEAD = ("", "resident MiB", "proportional MiB", "CPU % of a core")


@dataclass(frozen=True)
class Footprint:
    """What a process takes.

    Attributes:
        resident: Memory in MiB, every page that is there.
        proportional: Memory in MiB, what other processes have, too, divided by their number.
        cpu_percent: Of a core, its children included.
    """

    resident: float
    proportional: float
    cpu_percent: float

    def row(self, name: str) -> tuple[str, ...]:
        """A line of a table with `HEAD`."""
        return name, f"{self.resident:.0f}", f"{self.proportional:.0f}", f"{self.cpu_percent:.2f}"

    def figures(self, name: str) -> dict[str, float]:
        """The figures, for programs."""
        return {f"{name}_mib": self.resident, f"{name}_pss_mib": self.proportional, f"{name}_cpu": self.cpu_percent}


async def watch(pid: int, seconds: float, check: Callable[[], object]) -> Footprint:
    """Count a process's time for so many seconds, then read its memory.

    Args:
        pid: The process.
        seconds: For how long.
        check: Called at the end; raises if the process is not what it was.
    """
    begun, before = time.monotonic(), cpu_seconds(pid)
    await asyncio.sleep(seconds)
    used = cpu_seconds(pid) - before
    took = time.monotonic() - begun
    check()
    rollup = await asyncio.to_thread(Path(f"/proc/{pid}/smaps_rollup").read_text, encoding="utf-8")
    fields = {line.split(":")[0]: line.split()[1] for line in rollup.splitlines()[1:]}
    return Footprint(int(fields["Rss"]) / 1024, int(fields["Pss"]) / 1024, 100 * used / took)


def markdown(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    print(f"\n### {title}\n\n{machine()}\n")
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")
