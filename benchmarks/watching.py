"""What an event costs the process that is told of it: kopf's `on.event` beside our own reflector.

Both are told of the same objects by the same stand-in of the API server: a list in pages, then one modification of each
object. The handler only notes the version. Each run is a process of its own; what counts is all the CPU that it uses
from its first request to the last event, TLS, parsing and start included, divided by the number of events.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import kopf
import uvloop

from benchmarks.figures import Target, conclude, table
from benchmarks.localapi import VERSION, serving
from berth_api.client import ApiClient, ObjectList, Reflector
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.watching import connection_info, watch_settings

OBJECTS = 2000
EVENTS = 2 * OBJECTS
RUNS = 5
PATIENCE = 120.0
RATIO_LIMIT = 0.2
SOURCES = ("kopf", "Reflector")
LOOPS = ("asyncio", "uvloop")


def main() -> None:
    """Measure, print, and say whether the reflector is as cheap as it has to be."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    series: dict[str, list[float]] = {f"{source}, {loop}": [] for source in SOURCES for loop in LOOPS}
    with serving(OBJECTS, OBJECTS) as kubeconfig:
        for _ in range(runs):
            for name, samples in series.items():
                samples.append(in_another_process(name, kubeconfig))
    table(f"CPU per event, {OBJECTS} objects listed and modified once", series, "ms")
    medians = {name: median(samples) for name, samples in series.items()}
    ratio = medians["Reflector, uvloop"] / medians["kopf, uvloop"]
    conclude("watching", [Target("ratio", ratio, RATIO_LIMIT)])


def in_another_process(name: str, kubeconfig: Path) -> float:
    """CPU milliseconds per event of one run."""
    argv = [sys.executable, "-m", "benchmarks.watching", name, str(kubeconfig)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=2 * PATIENCE)
    return float(done.stdout)


class Noted:
    """Notes versions until every object was told of in the list's version or a later one and then modified."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self._modified: set[str] = set()

    def upsert(self, body: Mapping[str, Any]) -> None:
        """An object was told of."""
        metadata = body["metadata"]
        if int(metadata["resourceVersion"]) > VERSION:
            self._modified.add(metadata["name"])
            if len(self._modified) == OBJECTS:
                self.done.set()

    def remove(self, body: Mapping[str, Any]) -> None:
        """Nothing is deleted."""

    def replace(self, listed: ObjectList) -> None:
        """A complete list."""


async def with_reflector(client: ApiClient, noted: Noted) -> None:
    """Follow by list and watch of our own."""
    following = asyncio.create_task(Reflector(client, VIRTUAL_MACHINE, noted).run())
    await noted.done.wait()
    following.cancel()
    await asyncio.wait({following})


async def with_kopf(client: ApiClient, noted: Noted) -> None:
    """Follow as the operator's other kinds are followed."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(await client.connection())

    @kopf.on.event(VIRTUAL_MACHINE.group, VIRTUAL_MACHINE.version, VIRTUAL_MACHINE.plural, registry=registry)
    async def take(body: kopf.Body, **_: Any) -> None:
        noted.upsert(body)

    stop = asyncio.Event()
    operator = asyncio.create_task(
        kopf.operator(registry=registry, settings=watch_settings({}), clusterwide=True, stop_flag=stop)
    )
    await noted.done.wait()
    stop.set()
    await operator


async def measured(follow: Callable[[ApiClient, Noted], Awaitable[None]], kubeconfig: Path) -> None:
    """Follow until all events are there, and print what it cost."""
    noted = Noted()
    async with await ApiClient.connect(kubeconfig, user_agent="bench/1") as client:
        begun = time.process_time()
        following = asyncio.ensure_future(follow(client, noted))
        async with asyncio.timeout(PATIENCE):
            await noted.done.wait()
        print(1000 * (time.process_time() - begun) / EVENTS)
        await following


def run_one(name: str, kubeconfig: Path) -> None:
    """One run, in this process."""
    source, loop = name.split(", ")
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run if loop == "uvloop" else asyncio.run
    run(measured(with_kopf if source == "kopf" else with_reflector, kubeconfig))


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 - a run's name and its kubeconfig
        run_one(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
