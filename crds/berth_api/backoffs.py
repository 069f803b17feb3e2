"""How long to wait after failures."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Backoff:
    """Pauses after failures, in seconds: `first`, doubled each time up to `most`, less up to half of it at random."""

    first: float = 0.1
    most: float = 30.0

    def pause(self, failures: int, random: Random) -> float:
        """Pause after this many failures in a row, from 1."""
        whole = min(self.most, self.first * 2.0 ** min(failures - 1, 32))
        return whole * (1 - random.random() / 2)
