"""Hollow nodes as a program: they play until a signal, tell what happens, and leave nothing behind."""

import asyncio
import json
import resource
import signal
from pathlib import Path
from time import process_time
from typing import Any

import uvloop

from berth_api.client import ApiClient, ApiError
from berth_api.logs import configure
from berth_dev.errors import DevError
from berth_dev.hollow.nodes import HollowNodes
from berth_dev.hollow.options import HollowOptions
from berth_dev.progress import Say

_DEADLINE = 30.0
"""Seconds that a call may take: a server that has to take in a thousand nodes at once is slow."""


def play(kubeconfig: Path, options: HollowOptions, *, every: float, report: Path | None, say: Say) -> None:
    """Play the nodes until SIGINT or SIGTERM; a second one does not wait for their removal.

    Args:
        kubeconfig: An administrator's.
        options: What the nodes are.
        every: Seconds between two lines of progress.
        report: Where to write what was counted, as JSON.
        say: Takes progress lines.

    Raises:
        DevError: The nodes could not be made, played or removed.
    """
    configure("WARNING", "text")
    try:
        uvloop.run(_play(kubeconfig, options, every=every, report=report, say=say))
    except* ApiError as failed:
        raise DevError(f"hollow nodes: the API server: {failed.exceptions[0]}") from failed


async def _play(kubeconfig: Path, options: HollowOptions, *, every: float, report: Path | None, say: Say) -> None:
    stop = _signals()
    async with await ApiClient.connect(kubeconfig, user_agent="berth-hollow", deadline=_DEADLINE) as api:
        nodes = HollowNodes(api, options)
        say(f"registering {options.count} hollow nodes")
        playing = asyncio.create_task(nodes.run())
        tasks = {playing, asyncio.create_task(stop.wait()), asyncio.create_task(_tell(nodes, every, say))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            say("leaving the nodes' objects" if options.keep else "removing the nodes")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        finally:
            say(nodes.report.line())
            if report is not None:
                _write(report, nodes.report.to_json())
        if not playing.cancelled():
            playing.result()


async def _tell(nodes: HollowNodes, every: float, say: Say) -> None:
    """Say what happened, where anything but heartbeats did."""
    await nodes.ready.wait()
    say(f"the nodes are there after {nodes.report.registered_in:.1f} s")
    before = ""
    while True:
        now = nodes.report.line().partition(";")[0]
        if now != before:
            say(now)
        before = now
        await asyncio.sleep(every)


def _signals() -> asyncio.Event:
    """An event that is set by the first signal to end; a second one ends the process as usual."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    return stop


def _write(path: Path, counts: dict[str, Any]) -> None:
    costs = {"cpu_seconds": round(process_time(), 2), "max_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    path.write_text(json.dumps({**counts, **costs}, indent=2) + "\n", encoding="utf-8")
