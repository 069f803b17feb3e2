"""How long to wait after failures."""

from dataclasses import dataclass
from random import Random

_MOST_DOUBLINGS = 32
"""More than any wait takes to its longest; after months of failures a float could not hold the power of two."""


def doubled(first: float, times: int, most: float) -> float:
    """A wait that doubles with each failure, in seconds: `first`, doubled so many times, at most `most`."""
    return min(most, first * 2.0 ** min(times, _MOST_DOUBLINGS))


@dataclass(frozen=True)
class Backoff:
    """Pauses after failures, in seconds: `first`, doubled each time up to `most`, less up to half of it at random."""

    first: float = 0.1
    most: float = 30.0

    def pause(self, failures: int, random: Random) -> float:
        """Pause after this many failures in a row, from 1."""
        return doubled(self.first, failures - 1, self.most) * (1 - random.random() / 2)
