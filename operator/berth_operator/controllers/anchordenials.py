"""What kubelets that resize no Pods have turned down, so that a node is not opened to Pods for it again and again.

Where Pods cannot be resized an anchor has to go before a larger one comes, and of what is too large such a kubelet
takes nothing: it ends the Pod. Then the next one asks for what admitted VMs hold, which had its room a moment ago. One
for all claims is tried again only after a pause, ever longer, and where by the agent's report it fits beside the node's
Pods; at once, though, when claims have become fewer than what was turned down. The smaller anchor bears what the
kubelet said (`berth_api.anchors.DENIED`), by which the agent knows that claims are not covered, and refuses them.

A new leader knows nothing of it and may try once more.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from berth_api.anchors import Size
from berth_api.backoffs import Backoff
from berth_operator.controllers.anchorplans import Anchor, Wanted

_LOGGER = logging.getLogger(__name__)
_PAUSES = Backoff(30.0, 600.0)
"""At first longer than agents wait before they refuse what is denied: most claims are gone by then."""
_AGAIN = 15.0
"""Seconds after which to look again whether Pods have left enough."""


@dataclass(frozen=True)
class _Denial:
    """One anchor that was turned down."""

    size: Size
    why: str
    until: float
    """By the clock."""
    times: int
    """How many there were since the node last took as much."""


class Denials:
    """Knows what each node's kubelet has turned down."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        """Get ready.

        Args:
            clock: Monotonic seconds.
            random: Spreads retries.
        """
        self._clock, self._random = clock, random
        self._known: dict[str, _Denial] = {}

    def note(self, node: str, anchor: Anchor, first: Size) -> bool:
        """Remember one that has ended, if it was turned down.

        Args:
            node: Whose.
            anchor: As it ended.
            first: What the next one will ask for.

        Returns:
            Whether it was turned down, and the next one asks for less.
        """
        if not anchor.turned_down:
            return False
        times = self._known[node].times + 1 if node in self._known else 1
        until = self._clock() + _PAUSES.pause(times, self._random)
        self._known[node] = _Denial(anchor.requests, f"{anchor.reason}: {anchor.requests}", until, times)
        less = not first.covers(anchor.requests)
        if less:
            _LOGGER.warning("node %s: no room for an anchor for all claims (%s)", node, self._known[node].why)
        return less

    def settle(self, node: str, anchor: Anchor) -> None:
        """Forget what was turned down once the kubelet has taken as much."""
        denial = self._known.get(node)
        if denial is not None and anchor.stands_for(denial.size):
            del self._known[node]

    def rest(self, node: str, wanted: Wanted) -> float | None:
        """Seconds after which to look again whether to try one for all claims; None: now."""
        denial = self._known.get(node)
        if denial is None or not wanted.claimed.covers(denial.size):
            return None
        rest = denial.until - self._clock()
        if rest > 0:
            return rest
        return None if wanted.fits else _AGAIN

    def why(self, node: str) -> str:
        """What the kubelet said last; empty: nothing is known."""
        denial = self._known.get(node)
        return denial.why if denial is not None else ""

    def forget(self, node: str) -> None:
        """The node is gone."""
        self._known.pop(node, None)
