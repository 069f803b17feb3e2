"""(c) One object on an idle cluster, from sending it to seeing it bound, beside kube-scheduler.

Timestamps of the server are whole seconds. So one client takes both times: just before it sends the object, and when
its watch shows that the object has a node.
"""

import asyncio
import time

from benchmarks.scheduling.binding import quiet, wait_bound
from benchmarks.scheduling.clients import Arrivals
from benchmarks.scheduling.controlplane import ControlPlane
from benchmarks.scheduling.options import Options
from benchmarks.scheduling.reports import Goal, markdown, percentile
from benchmarks.scheduling.schedulers import BERTH, KUBE_SCHEDULER, SCHEDULERS, Scheduler
from berth_dev.progress import Say

P99_MS = 100.0
_BLOCKS = 2
_WARM_UP = 5
_PAUSE = 0.05
"""Seconds between one object and the next, in which Events are written."""
_PATIENCE = 30.0


async def measure(control_plane: ControlPlane, options: Options, say: Say) -> tuple[list[Goal], dict[str, float]]:
    """Measure in blocks, in turn; print the table; return the goals and the figures."""
    found: dict[Scheduler, list[float]] = {scheduler: [] for scheduler in SCHEDULERS}
    size = max(2, options.latency_objects // _BLOCKS)
    for _ in range(_BLOCKS):
        for scheduler in SCHEDULERS:
            found[scheduler] += await one_block(control_plane, scheduler, size)
            say(f"{scheduler.name}: {len(found[scheduler])} objects bound one by one")
    head = ("", "objects", "p50 ms", "p90 ms", "p99 ms", "max ms")
    rows = [
        (
            scheduler.name,
            str(len(series)),
            *(f"{percentile(series, percent):.1f}" for percent in (50, 90, 99)),
            f"{max(series):.1f}",
        )
        for scheduler, series in found.items()
    ]
    markdown(f"(c) one object on an idle cluster of {options.nodes} nodes, from create to bound", head, rows)
    figures = {
        "berth_p50_ms": percentile(found[BERTH], 50),
        "kube_scheduler_p50_ms": percentile(found[KUBE_SCHEDULER], 50),
        "kube_scheduler_p99_ms": percentile(found[KUBE_SCHEDULER], 99),
    }
    return [Goal("berth_p99_ms", percentile(found[BERTH], 99), P99_MS, at_least=False)], figures


async def one_block(control_plane: ControlPlane, scheduler: Scheduler, count: int) -> list[float]:
    """Milliseconds of each of `count` objects, after a few that warm up.

    Raises:
        TimeoutError: One is not bound in time.
    """
    client = control_plane.client
    async with client.arrivals(scheduler.path, scheduler.bound) as seen:
        seen.names = {}
        child = scheduler.start(control_plane, None)
        try:
            await scheduler.create(client, _WARM_UP)
            if not await wait_bound(seen, _WARM_UP, child):
                raise TimeoutError(f"{scheduler.name} binds nothing; see {child.log}")
            await quiet(child)
            taken = []
            for number in range(_WARM_UP, _WARM_UP + count):
                await asyncio.sleep(_PAUSE)
                taken.append(await _one(control_plane, scheduler, f"object-{number:06d}", seen))
        finally:
            child.stop()
    await scheduler.remove_all(client)
    return taken


async def _one(control_plane: ControlPlane, scheduler: Scheduler, name: str, seen: Arrivals) -> float:
    body = scheduler.body(name, None)
    begun = time.perf_counter()
    await control_plane.client.send("POST", scheduler.path, body=body)
    async with asyncio.timeout(_PATIENCE):
        while name not in (seen.names or {}):
            await seen.news(_PATIENCE)
    return ((seen.names or {})[name] - begun) * 1000
