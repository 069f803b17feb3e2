"""`python -m benchmarks.agent`: `--help` tells the sizes."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from benchmarks.agent import idling, options, profiling, starting
from benchmarks.agent.nodes import Bench, bench_on, cluster_of
from benchmarks.agent.options import Options
from benchmarks.figures import Measured, conclude, measure_all
from berth_dev.clusters import Cluster
from berth_dev.progress import Say, timed_lines

_PARTS: dict[str, Callable[[Bench], Awaitable[Measured]]] = {
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


async def run(cluster: Cluster, chosen: Options, say: Say) -> Measured:
    """Run the parts on one cluster."""
    async with bench_on(cluster, chosen, say) as bench:
        return await measure_all(chosen.parts, lambda part: _PARTS[part](bench), say)


if __name__ == "__main__":
    main()
