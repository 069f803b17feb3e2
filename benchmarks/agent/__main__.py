"""`python -m benchmarks.agent`: `--help` tells the sizes."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from benchmarks.agent import idling, options, profiling, starting
from benchmarks.agent.nodes import Bench, bench_on, cluster_of
from benchmarks.agent.options import Options
from benchmarks.figures import Target, conclude
from berth_dev.clusters import Cluster
from berth_dev.progress import Say, timed_lines

_PARTS: dict[str, Callable[[Bench], Awaitable[tuple[list[Target], dict[str, float]]]]] = {
    "a": starting.measure,
    "b": idling.measure,
    "c": profiling.measure,
}


def main() -> None:
    """Measure, print, and end with status 1 where a target is missed."""
    chosen, say = options.parse(sys.argv[1:]), timed_lines()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with cluster_of(chosen, say) as cluster:
        targets, figures = asyncio.run(run(cluster, chosen, say))
    conclude("agent", targets, **figures)


async def run(cluster: Cluster, chosen: Options, say: Say) -> tuple[list[Target], dict[str, float]]:
    """Run the parts on one cluster."""
    targets: list[Target] = []
    figures: dict[str, float] = {}
    async with bench_on(cluster, chosen, say) as bench:
        for part in chosen.parts:
            say(f"part {part}")
            found_targets, found_figures = await _PARTS[part](bench)
            targets += found_targets
            figures |= found_figures
            sys.stdout.flush()
    return targets, figures


if __name__ == "__main__":
    main()
