"""Preferred affinity to, and anti-affinity from, placed VMs; both ways, as what they prefer counts too.

Source: kube-scheduler's InterPodAffinity: own preferred terms by the VMs that match them, and of each placed VM the
preferred terms that name this one, and with a weight of 1 its required affinity.
"""

from collections.abc import Iterator

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray, IntArray
from berth_operator.scheduling.plugins import Score, extremes
from berth_operator.scheduling.populations import Tally
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def rate(snapshot: Snapshot, request: Request, feasible: BoolArray) -> FloatArray | None:
    """The sum, from the least to the most among feasible nodes."""
    sums: dict[str, IntArray] = {}
    for weight, key, tally in _named(snapshot, request):
        if tally:
            amounts = weight * tally.per_domain(snapshot.label(key))
            sums[key] = sums[key] + amounts if key in sums else amounts
    if not sums:
        return None
    parts = [amounts.take(snapshot.label(key).codes) for key, amounts in sums.items()]
    raw = sum(parts[1:], parts[0])
    low, high = extremes(raw, feasible)
    return np.asarray((raw - low) / (high - low)) if high > low else None


def _named(snapshot: Snapshot, request: Request) -> Iterator[tuple[int, str, Tally]]:
    """The preferences that concern the VM: the weight of each, its topology key, and where the others are."""
    populations = snapshot.populations
    for each in request.member.preferred:
        yield each.weight, each.term.topology_key, populations.tally(each.term.group)
    for term, held in populations.attracting.naming(request.member):
        yield 1, term.topology_key, held


SCORE = Score("VMAffinity", rate, weight=2.0)
