"""`python -m benchmarks.footprint`: `--help` tells the sizes, `--smoke` makes all of them small."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from benchmarks.figures import Measured, conclude, measure_all
from benchmarks.footprint import agents, images, installs, operators, options
from benchmarks.footprint.options import Options
from berth_dev.progress import Say, timed_lines

_PARTS: dict[str, Callable[[Options, Say], Awaitable[Measured]]] = {
    "a": images.measure,
    "b": operators.measure,
    "c": agents.measure,
    "d": installs.measure,
}


def main() -> None:
    """Measure, print, and end with status 1 where a target is missed."""
    chosen = options.parse(sys.argv[1:])
    try:
        targets, figures = asyncio.run(run(chosen, timed_lines()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("interrupted; what was started has been ended")
    conclude("footprint", targets, **figures)


async def run(chosen: Options, say: Say) -> Measured:
    """Run the parts."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure_all(chosen.parts, lambda part: _PARTS[part](chosen, say), say)


if __name__ == "__main__":
    main()
