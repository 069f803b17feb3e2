"""Which guests ran, where and when: seen in the kernel's process table, many times a second.

A VM that ran twice at the same time is seen if both of its processes lived for longer than the time between two looks.
"""

import os
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.faults.timelines import Timeline

from berth_dev import guests
from berth_dev.clusters import Cluster
from berth_dev.guests import GuestProcess
from berth_dev.processes import ProcessIdentity

INTERVAL = 0.2
"""Seconds between two looks."""


@dataclass(frozen=True)
class Sighting:
    """A guest's process, as it was seen first."""

    guest: GuestProcess
    node: str


class GuestWatcher:
    """Looks at the guests of all nodes until it is left.

    Attributes:
        overlaps: What was seen of VMs that ran twice at the same time.
    """

    def __init__(self, cluster: Cluster, timeline: Timeline) -> None:
        self.overlaps: list[str] = []
        self._cluster, self._timeline = cluster, timeline
        self._seen: dict[ProcessIdentity, Sighting] = {}
        self._alive: set[ProcessIdentity] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)

    def starts(self, domain: str) -> int:
        """How many processes have run a domain so far."""
        return sum(sighting.guest.domain == domain for sighting in list(self._seen.values()))

    def running(self) -> dict[str, list[Sighting]]:
        """Who runs now, by domain."""
        found: dict[str, list[Sighting]] = defaultdict(list)
        for sighting in self._look():
            found[sighting.guest.domain].append(sighting)
        return found

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            now = self._look()
            self._note(now)
            by_uuid: dict[str, list[Sighting]] = defaultdict(list)
            for sighting in now:
                by_uuid[sighting.guest.uuid].append(sighting)
            for uuid, twice in by_uuid.items():
                if len(twice) > 1 and all(one.guest.identity.is_alive() for one in twice):
                    where = ", ".join(f"{one.node} (process {one.guest.identity.pid})" for one in twice)
                    self._say_once(f"{twice[0].guest.domain} ({uuid}) runs twice: {where}")

    def _look(self) -> list[Sighting]:
        holders = {identity.pid: node.name for node in self._cluster.nodes if (identity := node.holder.identity)}
        return [Sighting(guest, holders[guest.holder]) for guest in guests.find(holders)]

    def _note(self, now: list[Sighting]) -> None:
        alive = {sighting.guest.identity for sighting in now}
        for sighting in now:
            if sighting.guest.identity not in self._seen:
                self._seen[sighting.guest.identity] = sighting
                pid = sighting.guest.identity.pid
                self._timeline.add(f"    {sighting.guest.domain} runs on {sighting.node} (process {pid})")
        for gone in self._alive - alive:
            self._timeline.add(f"    {self._seen[gone].guest.domain} has ended (process {gone.pid})")
        self._alive = alive

    def _say_once(self, text: str) -> None:
        if text not in self.overlaps:
            self.overlaps.append(text)
            self._timeline.add(f"!!! {text}")


def age(identity: ProcessIdentity) -> float:
    """Seconds since a process was started."""
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return uptime - identity.start_ticks / os.sysconf("SC_CLK_TCK")
