"""`python -m benchmarks.footprint`: `--help` tells the sizes, `--smoke` makes all of them small."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from benchmarks.figures import Target, conclude
from benchmarks.footprint import agents, images, operators, options
from benchmarks.footprint.options import Options
from berth_dev.progress import Say, timed_lines

_PARTS: dict[str, Callable[[Options, Say], Awaitable[tuple[list[Target], dict[str, float]]]]] = {
    "a": images.measure,
    "b": operators.measure,
    "c": agents.measure,
}


def main() -> None:
    """Measure, print, and end with status 1 where a target is missed."""
    chosen = options.parse(sys.argv[1:])
    try:
        targets, figures = asyncio.run(run(chosen, timed_lines()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("interrupted; what was started has been ended")
    conclude("footprint", targets, **figures)


async def run(chosen: Options, say: Say) -> tuple[list[Target], dict[str, float]]:
    """Run the parts."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    targets: list[Target] = []
    figures: dict[str, float] = {}
    for part in chosen.parts:
        say(f"part {part}")
        found_targets, found_figures = await _PARTS[part](chosen, say)
        targets += found_targets
        figures |= found_figures
        sys.stdout.flush()
    return targets, figures


if __name__ == "__main__":
    main()
