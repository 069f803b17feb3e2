"""(a) `place` alone: decisions per second in a cluster that stays half full, and how the time of one grows with it.

A decision here is what the operator does between two awaits: choose, note the claim in the snapshot; and, so that the
cluster stays as it is, give the oldest claim of the same sort back. Requests are made beforehand, batch by batch.
"""

import cProfile
import gc
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from benchmarks.scheduling.options import Options
from benchmarks.scheduling.profiles import profile_path
from benchmarks.scheduling.reports import Goal, markdown, percentile
from benchmarks.scheduling.workloads import SHARES, Workload, holding
from berth_dev.progress import Say
from berth_operator.scheduling.place import Placement, place
from berth_operator.scheduling.requests import Request

RATE = 5000.0
RATE_NODES = 5000
_BATCH = 500
_WARM_UP = 500


@dataclass
class Series:
    """Decisions of one size of cluster.

    Attributes:
        nodes: How many.
        held: Claims in it.
        seconds: By sort of VM, what each decision took.
        cpu: Processor seconds that all decisions took together: less than the time, where others want the processor.
        rejected: VMs that no node took.
    """

    nodes: int
    held: int
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: float = 0.0
    rejected: int = 0

    @property
    def all_seconds(self) -> list[float]:
        """What each decision took, of all sorts."""
        return [one for series in self.seconds.values() for one in series]

    @property
    def rate(self) -> float:
        """Decisions per second."""
        return len(self.all_seconds) / sum(self.all_seconds)

    @property
    def rate_of_cpu(self) -> float:
        """Decisions per second of processor time."""
        return len(self.all_seconds) / self.cpu


def measure(options: Options, say: Say) -> tuple[list[Goal], dict[str, float]]:
    """Measure each size, print the table, and return the goals and the figures."""
    found = []
    for nodes in options.decision_nodes:
        say(f"filling {nodes} nodes")
        workload = Workload.of(nodes)
        profile = cProfile.Profile() if options.profile else None
        one = run(workload, options.decision_seconds, profile)
        if profile is not None and (path := profile_path(options.profile, f"place-{nodes}")):
            profile.dump_stats(path)
        found.append(one)
        say(f"{nodes} nodes: {one.rate:.0f} decisions/s, {one.rejected} rejected")
        del workload
        gc.collect()
    _print(found)
    goals = [Goal("decisions_per_s", one.rate, RATE, at_least=True) for one in found if one.nodes == RATE_NODES]
    return goals, {f"decisions_per_s_{one.nodes}": one.rate for one in found}


def run(workload: Workload, seconds: float, profile: cProfile.Profile | None = None) -> Series:
    """Decide for so many seconds, at least, after a few decisions that are not counted."""
    found = Series(len(workload.snapshot), sum(len(queue) for queue in workload.held.values()))
    arrivals = workload.arrivals()
    _decide(workload, islice(arrivals, _WARM_UP), Series(0, 0))
    spent = 0.0
    while spent < seconds:
        batch = [*islice(arrivals, _BATCH)]
        if profile is not None:
            profile.enable()
        begun, cpu = time.perf_counter(), time.thread_time()
        _decide(workload, batch, found)
        found.cpu += time.thread_time() - cpu
        spent += time.perf_counter() - begun
        if profile is not None:
            profile.disable()
    return found


def _decide(workload: Workload, batch: Iterable[tuple[int, str, Request]], found: Series) -> None:
    snapshot, clock = workload.snapshot, time.perf_counter
    for number, sort, request in batch:
        queue = workload.held[sort]
        begun = clock()
        placement = place(snapshot, request)
        if isinstance(placement, Placement):
            held = holding(request, number, placement.node, placement.memory)
            snapshot.take(held)
            queue.append(held)
        else:
            found.rejected += 1
        if queue:
            snapshot.give_back(queue.popleft())
        found.seconds[sort].append(clock() - begun)


def _print(found: list[Series]) -> None:
    head = (
        "nodes",
        "claims",
        "decisions",
        "decisions/s",
        "per CPU second",
        "p50 µs",
        "p99 µs",
        *(f"{sort} p50 µs" for sort in SHARES),
    )
    rows = [
        (
            f"{one.nodes}",
            f"{one.held}",
            f"{len(one.all_seconds)}",
            f"{one.rate:.0f}",
            f"{one.rate_of_cpu:.0f}",
            f"{median(one.all_seconds) * 1e6:.0f}",
            f"{percentile(one.all_seconds, 99) * 1e6:.0f}",
            *(f"{median(one.seconds[sort] or [0.0]) * 1e6:.0f}" for sort in SHARES),
        )
        for one in found
    ]
    markdown("(a) place() alone, half-full nodes, claims taken and given back", head, rows)
    shares = ", ".join(f"{share} % {sort}" for sort, share in SHARES.items())
    print(f"\nMix: {shares}. Rejected: {sum(one.rejected for one in found)}.")
    first = found[0]
    for one in found[1:]:
        growth = first.rate_of_cpu / one.rate_of_cpu
        print(f"{one.nodes / first.nodes:g} times the nodes: {growth:.2f} times the processor time.")
