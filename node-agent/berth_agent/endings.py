"""Ending in time. An agent may be killed between any two steps, so it need not wait for what does not end.

A thread that hangs (a file system that is away, a libvirtd that does not answer) cannot be ended, and Python waits for
it. Who stops the agent waits as long as it was told to (a Pod's grace, a service's time-out), and guests are not
concerned either way: so after a few seconds of ending properly the process just ends.
"""

import os
import sys
from collections.abc import Callable
from threading import Timer

END_WITHIN = 8.0
"""Seconds from being told to stop: less than ten, which is what an impatient stop waits."""


def end_within(seconds: float = END_WITHIN, leave: Callable[[int], object] = os._exit) -> Timer:
    """End the process after so many seconds if it has not ended by itself; returns the timer, to be cancelled.

    Args:
        seconds: From now.
        leave: Ends the process with a status, at once.
    """

    def end() -> None:
        print(f"not all had ended after {seconds:g} s; ending all the same", file=sys.stderr, flush=True)  # noqa: T201 - the last words
        leave(0)

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer
