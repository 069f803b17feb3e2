"""`python -m benchmarks.scheduling`: `--help` tells the sizes, `--smoke` makes all of them small."""

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.scheduling import binding, decisions, latency, memory, options, profiles, reports
from benchmarks.scheduling.controlplane import ControlPlane, running
from benchmarks.scheduling.objects import furnish
from benchmarks.scheduling.options import Options
from benchmarks.scheduling.reports import Goal
from berth_dev.progress import Say, timed_lines

_ON_CLUSTER = {"b": binding.measure, "c": latency.measure, "d": memory.measure}


def main() -> None:
    """Measure, print, and end with status 1 where a goal is missed."""
    chosen = options.parse(sys.argv[1:])
    try:
        is_met = asyncio.run(run(chosen, timed_lines()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("interrupted; what was started has been ended")
    sys.exit(0 if is_met else 1)


async def run(chosen: Options, say: Say) -> bool:
    """Run the parts; whether all goals are met."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    goals: list[Goal] = []
    figures: dict[str, float] = {}
    if "a" in chosen.parts:
        found_goals, found_figures = decisions.measure(chosen, say)
        goals += found_goals
        figures |= found_figures
    parts = [part for part in chosen.parts if part in _ON_CLUSTER]
    if parts:
        with tempfile.TemporaryDirectory(prefix="berth-benchmark-") as folder:
            async with running(Path(folder), chosen.tree, say) as control_plane:
                async for found_goals, found_figures in _measure(control_plane, chosen, parts, say):
                    goals += found_goals
                    figures |= found_figures
    if chosen.profile is not None:
        profiles.print_all(chosen.profile)
    return reports.conclude(goals, figures)


async def _measure(
    control_plane: ControlPlane, chosen: Options, parts: list[str], say: Say
) -> AsyncIterator[tuple[list[Goal], dict[str, float]]]:
    say(f"creating {chosen.nodes} nodes")
    await furnish(control_plane.client, chosen.nodes)
    for part in parts:
        say(f"part {part}")
        yield await _ON_CLUSTER[part](control_plane, chosen, say)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
