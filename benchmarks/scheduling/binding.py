"""(b) Bound objects per second, from objects that wait to objects that have a node, beside kube-scheduler.

The objects are there before a scheduler starts; both are then timed alike, by a watch of their own on what has a node:
from the first that it shows to the last, and from the start of the process to the last. Processor time is read
once the scheduler is quiet, so Events that it writes later are counted, too.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.scheduling.clients import Arrivals, Client
from benchmarks.scheduling.controlplane import ControlPlane
from benchmarks.scheduling.objects import CPU
from benchmarks.scheduling.options import Options
from benchmarks.scheduling.processes import Child
from benchmarks.scheduling.profiles import profile_path, sample_apiserver
from benchmarks.scheduling.reports import Goal, markdown, range_of
from benchmarks.scheduling.schedulers import BERTH, KUBE_SCHEDULER, SCHEDULERS, Scheduler
from benchmarks.scheduling.writes import count_writes, tell
from berth_dev.progress import Say

RATIO = 1.3
_FIRST = 90.0
"""Seconds that a scheduler may take from its start to its first binding."""
_STALL = 30.0
"""Seconds without a binding after which a round is over, complete or not."""
_LOOK = 1.0
_QUIET_LOOK, _QUIET_LOOKS, _QUIET_CPU, _QUIET_LIMIT = 0.5, 3, 0.03, 20.0
"""A process is quiet that three times in a row used under 30 ms of half a second: once, it may have been starved."""
_WARM_UP = 50


@dataclass(frozen=True)
class Round:
    """One scheduler binding one set of objects; times in seconds since the start of its process.

    Attributes:
        wanted: Objects that there were.
        bound: Objects that got a node.
        first: When the first had one.
        last: When the last had one.
        cpu: Processor time of the scheduler, in seconds, until it was quiet.
        apiserver_cpu: Of the API server, meanwhile.
        etcd_cpu: Of etcd, meanwhile.
        peak_mib: The most memory that was resident in the scheduler.
        writes: What the API server was asked to write, meanwhile.
    """

    wanted: int
    bound: int
    first: float
    last: float
    cpu: float
    apiserver_cpu: float
    etcd_cpu: float
    peak_mib: float
    writes: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Bound per second between the first and the last; 0 where not all were bound."""
        return self.bound / (self.last - self.first) if self.bound == self.wanted and self.last > self.first else 0.0

    @property
    def rate_from_start(self) -> float:
        """Bound per second between the start of the process and the last; 0 where not all were bound."""
        return self.bound / self.last if self.bound == self.wanted else 0.0


async def measure(control_plane: ControlPlane, options: Options, say: Say) -> tuple[list[Goal], dict[str, float]]:
    """Run the rounds, print the tables, and return the goals and the figures."""
    await warm_up(control_plane, say)
    plain = await alternate(control_plane, options, rounds=options.rounds, mixed=False, say=say)
    _print(f"(b) bound per second: {options.objects} objects on {options.nodes} nodes", plain)
    ratio = _ratio(plain)
    figures = {
        "berth_bound_per_s": median(one.rate for one in plain[BERTH]),
        "kube_scheduler_bound_per_s": median(one.rate for one in plain[KUBE_SCHEDULER]),
        "ratio_from_start": _ratio(plain, from_start=True),
    }
    print(f"\nBerth / kube-scheduler: {ratio:.2f}, from the start of the process: {figures['ratio_from_start']:.2f}")
    if options.mixed_rounds:
        mixed = await alternate(control_plane, options, rounds=options.mixed_rounds, mixed=True, say=say)
        _print("(b) the same where 20 % keep apart in groups of 10 (required anti-affinity, by host name)", mixed)
        figures["mixed_berth_bound_per_s"] = median(one.rate for one in mixed[BERTH])
        figures["mixed_kube_scheduler_bound_per_s"] = median(one.rate for one in mixed[KUBE_SCHEDULER])
        figures["mixed_ratio"] = _ratio(mixed)
        print(f"\nBerth / kube-scheduler: {figures['mixed_ratio']:.2f}")
    return [Goal("bound_ratio", ratio, RATIO, at_least=True)], figures


async def warm_up(control_plane: ControlPlane, say: Say) -> None:
    """One small round of each: the operator labels the nodes when it first sees them, and Python compiles it."""
    for scheduler in SCHEDULERS:
        say(f"warming up: {scheduler.name}")
        await one_round(control_plane, scheduler, _WARM_UP, mixed=False, profile=None)


async def alternate(
    control_plane: ControlPlane, options: Options, *, rounds: int, mixed: bool, say: Say
) -> dict[Scheduler, list[Round]]:
    """Rounds of each scheduler, in turn."""
    found: dict[Scheduler, list[Round]] = {scheduler: [] for scheduler in SCHEDULERS}
    for number in range(1, rounds + 1):
        for scheduler in SCHEDULERS:
            profile = profile_path(
                options.profile, f"{scheduler.name.lower()}-{'mixed' if mixed else 'plain'}-{number}"
            )
            one = await one_round(control_plane, scheduler, options.objects, mixed=mixed, profile=profile)
            found[scheduler].append(one)
            kind = " (mixed)" if mixed else ""
            say(f"round {number}{kind}: {scheduler.name} bound {one.bound} of {one.wanted}, {one.rate:.0f}/s")
    return found


async def one_round(
    control_plane: ControlPlane, scheduler: Scheduler, count: int, *, mixed: bool, profile: Path | None
) -> Round:
    """Make the objects, start the scheduler, wait, stop it, see that it broke no rule, and remove the objects."""
    client = control_plane.client
    await scheduler.create(client, count, mixed=mixed)
    before = await _writes(client)
    async with client.arrivals(scheduler.path, scheduler.bound) as seen:
        apiserver, etcd = control_plane.apiserver.cpu_seconds, control_plane.etcd.cpu_seconds
        child = scheduler.start(control_plane, profile)
        sampling = asyncio.create_task(sample_apiserver(client, profile))
        try:
            await wait_bound(seen, count, child)
            await quiet(child)
            cpu, peak = child.cpu_seconds, child.peak_mib
            apiserver = control_plane.apiserver.cpu_seconds - apiserver
            etcd = control_plane.etcd.cpu_seconds - etcd
            await sampling
        finally:
            child.stop()
            sampling.cancel()
        times = [at - child.started for at in seen.times]
    after = await _writes(client)
    await scheduler.check(client, int(CPU))
    await scheduler.remove_all(client)
    return Round(
        wanted=count,
        bound=len(times),
        first=min(times, default=0.0),
        last=max(times, default=0.0),
        cpu=cpu,
        apiserver_cpu=apiserver,
        etcd_cpu=etcd,
        peak_mib=peak,
        writes=after - before,
    )


async def wait_bound(seen: Arrivals, count: int, child: Child) -> bool:
    """Wait until this many are bound; False if nothing more comes.

    Raises:
        EndedError: The scheduler has ended.
    """
    deadline = time.monotonic() + _FIRST
    known = 0
    while len(seen.times) < count:
        await seen.news(_LOOK)
        child.check()
        if len(seen.times) > known:
            known = len(seen.times)
            deadline = time.monotonic() + _STALL
        elif time.monotonic() > deadline:
            return False
    return True


async def quiet(child: Child) -> None:
    """Wait until a process has nothing more to do, but no longer than `_QUIET_LIMIT` seconds."""
    deadline = time.monotonic() + _QUIET_LIMIT
    used, looks = child.cpu_seconds, 0
    while looks < _QUIET_LOOKS and time.monotonic() < deadline:
        await asyncio.sleep(_QUIET_LOOK)
        child.check()
        before, used = used, child.cpu_seconds
        looks = looks + 1 if used - before < _QUIET_CPU else 0


async def _writes(client: Client) -> Counter[str]:
    return count_writes((await client.send("GET", "/metrics")).decode())


def _ratio(rounds: Mapping[Scheduler, list[Round]], *, from_start: bool = False) -> float:
    """Berth's median rate over kube-scheduler's; 0 where either did not bind all."""
    rates = {
        scheduler: median(one.rate_from_start if from_start else one.rate for one in series)
        for scheduler, series in rounds.items()
    }
    return rates[BERTH] / rates[KUBE_SCHEDULER] if rates[KUBE_SCHEDULER] else 0.0


def _print(title: str, rounds: Mapping[Scheduler, list[Round]]) -> None:
    head = (
        "",
        "rounds",
        "bound/s (min to max)",
        "start to last, s",
        "CPU s",
        "API server CPU s",
        "etcd CPU s",
        "peak MiB",
    )
    rows = []
    for scheduler, series in rounds.items():
        incomplete = min((one for one in series if one.bound < one.wanted), key=lambda one: one.bound, default=None)
        rate = (
            f"only {incomplete.bound} of {incomplete.wanted} bound"
            if incomplete
            else range_of([one.rate for one in series], digits=0)
        )
        rows.append(
            (
                scheduler.name,
                str(len(series)),
                rate,
                f"{median(one.last for one in series):.2f}",
                f"{median(one.cpu for one in series):.2f}",
                f"{median(one.apiserver_cpu for one in series):.2f}",
                f"{median(one.etcd_cpu for one in series):.2f}",
                f"{max(one.peak_mib for one in series):.0f}",
            )
        )
    markdown(title, head, rows)
    print("\nWrites in the last round:")
    for scheduler, series in rounds.items():
        print(f"- {scheduler.name}: {tell(series[-1].writes, least=max(1, series[-1].wanted // 100))}")
