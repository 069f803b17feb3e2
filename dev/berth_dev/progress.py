"""What whoever waits gets to see."""

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]


def timed_lines() -> Say:
    """A function that prints a line to stderr with the seconds since now, so that stdout stays for results."""
    start = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - start:6.1f} s] {line}", file=sys.stderr, flush=True)

    return say


def silent(_: str) -> None:
    """Print nothing: for tests."""
